#include "api/cron.h"
#include "api/formats.h"
#include "base/clock.h"

#define STAR       (1ULL << 63)
#define YEARS_MOST 5
#define STEPS_MOST 200000 /* of the search; five years of hours are 43,800 */
#define JUMP_MOST  48     /* hours that a zone's clocks can be set by */
#define SPACES     " \t\n\r\v\f"

struct cron_field {
    const char *const *names;
    int64_t min, max;
};

/* strconv.Atoi, or a name. False: *why says what it is instead. */
static bool number_read(struct arena *a, struct str s, const struct cron_field *f, int64_t *out, struct str *why)
{
    for (int i = 0; f && f->names && f->names[i]; i++)
        if (str_ieq(s, str_of(f->names[i])))
            return *out = i + f->min, true;
    struct str digits = s.n > 1 && s.p[0] == '+' ? str_sub(s, 1, s.n) : s;
    bool number = digits.n > (size_t)(digits.n > 0 && digits.p[0] == '-');
    for (size_t i = digits.n > 0 && digits.p[0] == '-'; i < digits.n; i++)
        number = number && digits.p[i] >= '0' && digits.p[i] <= '9';
    if (!number || !str_to_i64(digits, INT64_MIN, INT64_MAX, out)) {
        *why = arena_fmt(a, "failed to parse int from " STR_FMT ": strconv.Atoi: parsing \"" STR_FMT "\": %s",
                         STR_ARG(s), STR_ARG(s), number ? "value out of range" : "invalid syntax");
        return false;
    }
    if (*out < 0) {
        *why = arena_fmt(a, "negative number (%lld) not allowed: " STR_FMT, (long long)*out, STR_ARG(s));
        return false;
    }
    return true;
}

static uint64_t bits_of(int64_t low, int64_t high, int64_t step)
{
    uint64_t bits = 0;
    for (int64_t i = low; i <= high; i += step)
        bits |= 1ULL << i;
    return bits;
}

static bool range_fits(struct arena *a, struct str s, const struct cron_field *f, int64_t low, int64_t high,
                       int64_t step, struct str *why)
{
    long long l = low, h = high;
    if (low < f->min)
        *why = arena_fmt(a, "beginning of range (%lld) below minimum (%lld): " STR_FMT, l, (long long)f->min,
                         STR_ARG(s));
    else if (high > f->max)
        *why = arena_fmt(a, "end of range (%lld) above maximum (%lld): " STR_FMT, h, (long long)f->max, STR_ARG(s));
    else if (low > high)
        *why = arena_fmt(a, "beginning of range (%lld) beyond end of range (%lld): " STR_FMT, l, h, STR_ARG(s));
    else if (step == 0)
        *why = arena_fmt(a, "step of range should be a positive number: " STR_FMT, STR_ARG(s));
    else
        return true;
    return false;
}

/* "*", "5", "1-5", with "/2" behind it. */
static bool range_read(struct arena *a, struct str s, const struct cron_field *f, uint64_t *bits, struct str *why)
{
    struct str range, steps, from, to;
    bool stepped = str_split(s, '/', &range, &steps), through = str_split(range, '-', &from, &to);
    int64_t low = f->min, high = f->max, step = 1;
    uint64_t star = 0;
    if (str_eq(from, S("*")) || str_eq(from, S("?"))) {
        star = STAR;
    } else {
        if (!number_read(a, from, f, &low, why))
            return false;
        high = low;
        if (through && str_find_char(to, '-') >= 0)
            return *why = arena_fmt(a, "too many hyphens: " STR_FMT, STR_ARG(s)), false;
        if (through && !number_read(a, to, f, &high, why))
            return false;
    }
    if (stepped) {
        if (str_find_char(steps, '/') >= 0)
            return *why = arena_fmt(a, "too many slashes: " STR_FMT, STR_ARG(s)), false;
        if (!number_read(a, steps, NULL, &step, why))
            return false;
        if (!through)
            high = f->max;
        if (step > 1)
            star = 0;
    }
    if (!range_fits(a, s, f, low, high, step, why))
        return false;
    *bits |= bits_of(low, high, MIN(step, f->max + 1)) | star;
    return true;
}

/* Empty parts of a list count for nothing. */
static bool field_read(struct arena *a, struct str s, const struct cron_field *f, uint64_t *bits, struct str *why)
{
    struct str part;
    *bits = 0;
    while (str_cut(&s, ',', &part))
        if (part.n > 0 && !range_read(a, part, f, bits, why))
            return false;
    return true;
}

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                          "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};
static const struct cron_field fields[] = {
    {NULL, 0, 59}, {NULL, 0, 23}, {NULL, 1, 31}, {month_names, 1, 12}, {day_names, 0, 6}};

static bool fields_read(struct arena *a, struct str s, struct cron *out, struct str *why)
{
    uint64_t *const bits[] = {&out->minutes, &out->hours, &out->days, &out->months, &out->weekdays};
    struct str parts[countof(fields)];
    size_t n = 0;
    AUTO(strbuf_fini) struct strbuf all = STRBUF(1024);
    while (s.n > 0) {
        size_t end = 0;
        while (end < s.n && !strchr(SPACES, s.p[end]))
            end++;
        struct str part = str_sub(s, 0, end);
        s = str_sub(s, MAX(end, 1), s.n);
        if (part.n == 0)
            continue;
        strbuf_addf(&all, "%s" STR_FMT, n > 0 ? " " : "", STR_ARG(part));
        if (n < countof(parts))
            parts[n] = part;
        n++;
    }
    if (n != countof(parts)) {
        *why = arena_fmt(a, "expected exactly 5 fields, found %zu: [" STR_FMT "]", n, STR_ARG(strbuf_str(&all)));
        return false;
    }
    for (size_t i = 0; i < n; i++)
        if (!field_read(a, parts[i], &fields[i], bits[i], why))
            return false;
    return true;
}

static bool word_read(struct arena *a, struct str s, struct cron *out, struct str *why)
{
    static const struct {
        const char *word, *means;
    } words[] = {{"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
                 {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
                 {"@hourly", "0 * * * *"}};
    struct err err = ERR;
    int64_t ns;
    for (size_t i = 0; i < countof(words); i++)
        if (str_eqz(s, words[i].word))
            return fields_read(a, str_of(words[i].means), out, why);
    if (!str_starts(s, S("@every "))) {
        *why = arena_fmt(a, "unrecognized descriptor: " STR_FMT, STR_ARG(s));
        return false;
    }
    if (!goduration_parse(str_sub(s, 7, s.n), &ns, &err)) {
        *why = arena_fmt(a, "failed to parse duration " STR_FMT ": %s", STR_ARG(s), err.text);
        return false;
    }
    out->every = MAX(1, ns / NS_PER_S);
    return true;
}

bool cron_read(struct arena *a, struct str s, struct cron *out, struct str *why)
{
    *out = (struct cron){0};
    if (s.n == 0)
        return *why = S("empty spec string"), false;
    return s.p[0] == '@' ? word_read(a, s, out, why) : fields_read(a, s, out, why);
}

void format_cron(struct complaints *c, struct str s)
{
    AUTO(arena_fini) struct arena scratch = ARENA;
    struct cron cron;
    struct str why;
    if (cron_read(c->a ? c->a : &scratch, s, &cron, &why) || c->n == countof(c->texts))
        return;
    c->texts[c->n++] = c->a ? why : S("it is no schedule"); /* without an arena nobody reads it */
}

/* ---- when ---- */

/* A time, and what clocks there show. */
struct moment {
    const struct zone *zone;
    int64_t t;
    struct tm tm;
};

static void moment_set(struct moment *m, int64_t t)
{
    m->t = t;
    m->tm = zone_civil(m->zone, t);
}

static void moment_date(struct moment *m, int month, int day, int hour)
{
    moment_set(m, zone_time(m->zone, (struct tm){.tm_year = m->tm.tm_year,
                                                 .tm_mon = month,
                                                 .tm_mday = day,
                                                 .tm_hour = hour,
                                                 .tm_min = m->tm.tm_min,
                                                 .tm_sec = m->tm.tm_sec}));
}

/* The beginning of its month, day or hour. */
static void moment_begin(struct moment *m, int day, int hour)
{
    m->tm.tm_min = m->tm.tm_sec = 0;
    moment_date(m, m->tm.tm_mon, day, hour);
}

static bool has_bit(uint64_t bits, int n)
{
    return bits >> n & 1;
}

/* Where one of both is a star both must match, otherwise either is enough. */
static bool day_matches(const struct cron *c, const struct tm *tm)
{
    bool day = has_bit(c->days, tm->tm_mday), weekday = has_bit(c->weekdays, tm->tm_wday);
    return (c->days | c->weekdays) & STAR ? day && weekday : day || weekday;
}

/* The search goes through months, days, hours, minutes, seconds; where one of them wraps, what is above it is looked
 * at again. `began`: what is below was set to its beginning. */
struct search {
    const struct cron *cron;
    struct moment m;
    bool began;
    int steps;
};

/* The finer fields of the first moment do not count once a coarser one moves. */
static void search_begin(struct search *s, int day, int hour)
{
    if (!s->began)
        moment_begin(&s->m, day, hour);
    s->began = true;
}

static bool month_found(struct search *s)
{
    for (; !has_bit(s->cron->months, s->m.tm.tm_mon + 1); s->steps++) {
        search_begin(s, 1, 0);
        moment_date(&s->m, s->m.tm.tm_mon + 1, s->m.tm.tm_mday, s->m.tm.tm_hour);
        if (s->m.tm.tm_mon == 0)
            return false;
    }
    return true;
}

static bool day_found(struct search *s)
{
    for (; !day_matches(s->cron, &s->m.tm) && s->steps < STEPS_MOST; s->steps++) {
        search_begin(s, s->m.tm.tm_mday, 0);
        moment_date(&s->m, s->m.tm.tm_mon, s->m.tm.tm_mday + 1, s->m.tm.tm_hour);
        int hour = s->m.tm.tm_hour; /* where the clocks change at midnight */
        if (hour != 0)
            moment_set(&s->m, s->m.t + (hour > 12 ? 24 - hour : -hour) * 3600);
        if (s->m.tm.tm_mday == 1)
            return false;
    }
    return true;
}

static bool hour_found(struct search *s)
{
    for (; !has_bit(s->cron->hours, s->m.tm.tm_hour) && s->steps < STEPS_MOST; s->steps++) {
        search_begin(s, s->m.tm.tm_mday, s->m.tm.tm_hour);
        moment_set(&s->m, s->m.t + 3600);
        if (s->m.tm.tm_hour == 0)
            return false;
    }
    return true;
}

/* By `unit` seconds: 60 or 1. */
static bool part_found(struct search *s, uint64_t bits, int64_t unit)
{
    int *part = unit == 60 ? &s->m.tm.tm_min : &s->m.tm.tm_sec;
    for (; !has_bit(bits, *part) && s->steps < STEPS_MOST; s->steps++) {
        int64_t t = s->m.t;
        if (!s->began)
            t -= (t % unit + unit) % unit;
        s->began = true;
        moment_set(&s->m, t + unit);
        if (*part == 0)
            return false;
    }
    return true;
}

/* The first moment after `after` that the fields name; where clocks jump by half a day it may be an earlier one. */
static int64_t fields_next(const struct cron *c, const struct zone *z, int64_t after)
{
    struct search s = {.cron = c, .m = {.zone = z}};
    moment_set(&s.m, after + 1);
    int last = s.m.tm.tm_year + YEARS_MOST;
    for (; s.m.tm.tm_year <= last && s.steps < STEPS_MOST; s.steps++)
        if (month_found(&s) && day_found(&s) && hour_found(&s) && part_found(&s, c->minutes, 60) &&
            part_found(&s, 1, 1))
            return s.steps < STEPS_MOST ? s.m.t : CRON_NEVER;
    return CRON_NEVER;
}

int64_t cron_next(const struct cron *c, const struct zone *z, int64_t after)
{
    if (after > INT64_MAX / 4 || after < INT64_MIN / 4)
        return CRON_NEVER;
    if (c->every > 0)
        return after + c->every;
    if (!c->minutes || !c->hours || !c->months)
        return CRON_NEVER; /* ",": a field that nothing matches */
    for (int64_t hours = 0; hours <= JUMP_MOST; hours++) {
        int64_t t = fields_next(c, z, after + hours * 3600);
        if (t > after)
            return t;
    }
    return CRON_NEVER;
}

/* The last of more than CRON_MANY: of the seconds, the last whose next time is not after now. */
static int64_t latest_find(const struct cron *c, const struct zone *z, int64_t from, int64_t now)
{
    int64_t low = from, high = now;
    while (high - low > 1) {
        int64_t mid = low + (high - low) / 2;
        if (cron_next(c, z, mid) <= now)
            low = mid;
        else
            high = mid;
    }
    return cron_next(c, z, low);
}

struct cron_due cron_due(const struct cron *c, const struct zone *z, int64_t from, int64_t now)
{
    struct cron_due d = {.latest = CRON_NEVER, .next = CRON_NEVER};
    if (c->every > 0 && now >= from) {
        int64_t n = (now - from) / c->every;
        d.latest = n > 0 ? from + n * c->every : CRON_NEVER;
        d.count = MIN(n, CRON_MANY + 1);
        d.next = from + (n + 1) * c->every;
        return d;
    }
    int64_t t = cron_next(c, z, from);
    for (; t <= now && d.count <= CRON_MANY; t = cron_next(c, z, t)) {
        d.latest = t;
        d.count++;
    }
    if (t <= now)
        d.latest = latest_find(c, z, from, now);
    d.next = t <= now ? cron_next(c, z, d.latest) : t;
    return d;
}
