#include "base/zone.h"

#define DAY          86400
#define MAX_TIMES    (ZONE_FILE_MAX / 9)
#define MAX_OFFSET   (26 * 3600 - 1) /* RFC 8536: -89999 to 93599; taken in both directions */
#define MAX_RULE_AT  (167 * 3600 + 3599)
#define HEADER       44
#define BLOCK_COUNTS 6

/* When a rule's change comes, every year. */
struct change {
    enum { CHANGE_JULIAN, CHANGE_DAY, CHANGE_WEEKDAY } how; /* Jn: without February 29; n: from 0; Mm.w.d */
    int month, week, day;
    int64_t at; /* seconds after local midnight */
};
struct zone_rule {
    bool set, summer; /* summer: it has two offsets */
    int64_t standard, other;
    struct change start, end; /* of `other` */
};
struct zone {
    struct zone_rule rule; /* after the last of times */
    int64_t first;         /* the offset before the first of times */
    size_t n;
    struct shift {
        int64_t from, offset;
    } shifts[];
};

/* ---- POSIX TZ ---- */

static bool number_cut(struct str *s, int64_t max, int64_t *out)
{
    size_t n = 0;
    while (n < s->n && n < 4 && s->p[n] >= '0' && s->p[n] <= '9')
        n++;
    if (!str_to_i64(str_sub(*s, 0, n), 0, max, out))
        return false;
    *s = str_sub(*s, n, s->n);
    return true;
}

static bool mark_cut(struct str *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = str_sub(*s, 1, s->n);
    return true;
}

/* [+-]hh[:mm[:ss]] in seconds. */
static bool span_cut(struct str *s, int64_t most_hours, int64_t *out)
{
    int64_t hours, minutes = 0, seconds = 0;
    bool minus = mark_cut(s, '-');
    if (!minus)
        (void)mark_cut(s, '+');
    if (!number_cut(s, most_hours, &hours))
        return false;
    if (mark_cut(s, ':') && (!number_cut(s, 59, &minutes) || (mark_cut(s, ':') && !number_cut(s, 59, &seconds))))
        return false;
    *out = (hours * 3600 + minutes * 60 + seconds) * (minus ? -1 : 1);
    return true;
}

/* Three letters or more, or anything in < >. */
static bool name_cut(struct str *s)
{
    size_t n = 0;
    if (mark_cut(s, '<')) {
        ptrdiff_t end = str_find_char(*s, '>');
        if (end < 0)
            return false;
        *s = str_sub(*s, (size_t)end + 1, s->n);
        return true;
    }
    while (n < s->n && ((s->p[n] | 32) >= 'a' && (s->p[n] | 32) <= 'z'))
        n++;
    *s = str_sub(*s, n, s->n);
    return n >= 3;
}

static bool change_cut(struct str *s, struct change *c)
{
    int64_t month = 1, week = 1, day;
    c->at = 2 * 3600;
    if (mark_cut(s, 'M')) {
        c->how = CHANGE_WEEKDAY;
        if (!number_cut(s, 12, &month) || month < 1 || !mark_cut(s, '.') || !number_cut(s, 5, &week) || week < 1 ||
            !mark_cut(s, '.') || !number_cut(s, 6, &day))
            return false;
    } else {
        c->how = mark_cut(s, 'J') ? CHANGE_JULIAN : CHANGE_DAY;
        if (!number_cut(s, 365, &day) || (c->how == CHANGE_JULIAN && day < 1))
            return false;
    }
    c->month = (int)month, c->week = (int)week, c->day = (int)day;
    return !mark_cut(s, '/') || (span_cut(s, 167, &c->at) && c->at <= MAX_RULE_AT);
}

static bool rule_read(struct str s, struct zone_rule *r)
{
    struct str american = S("M3.2.0,M11.1.0"); /* where a summer time has no dates */
    int64_t west;
    *r = (struct zone_rule){.set = true};
    if (!name_cut(&s) || !span_cut(&s, 24, &west))
        return false;
    r->standard = -west;
    if (s.n == 0)
        return true;
    r->summer = true;
    r->other = r->standard + 3600;
    if (!name_cut(&s))
        return false;
    if (s.n > 0 && s.p[0] != ',') {
        if (!span_cut(&s, 24, &west))
            return false;
        r->other = -west;
    }
    if (s.n == 0)
        s = american;
    else if (!mark_cut(&s, ','))
        return false;
    return change_cut(&s, &r->start) && mark_cut(&s, ',') && change_cut(&s, &r->end) && s.n == 0;
}

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static struct tm tm_of(int64_t local)
{
    struct tm tm = {0};
    time_t t = local;
    if (!gmtime_r(&t, &tm)) /* a year that no int holds */
        tm = (struct tm){.tm_year = 70, .tm_mday = 1, .tm_wday = 4};
    return tm;
}

/* Seconds after the start of that year, by the clocks that stand before the change. */
static int64_t change_in(const struct change *c, int64_t year)
{
    struct tm tm = {.tm_year = (int)(year - 1900), .tm_mday = 1};
    int64_t jan1 = timegm(&tm);
    if (c->how == CHANGE_DAY)
        return (int64_t)c->day * DAY + c->at;
    if (c->how == CHANGE_JULIAN)
        return (c->day - 1 + (is_leap(year) && c->day >= 60)) * (int64_t)DAY + c->at;
    tm = (struct tm){.tm_year = (int)(year - 1900), .tm_mon = c->month - 1, .tm_mday = 1};
    int64_t first = timegm(&tm);
    int day = (c->day - tm.tm_wday + 7) % 7 + 7 * (c->week - 1);
    tm = (struct tm){.tm_year = (int)(year - 1900), .tm_mon = c->month, .tm_mday = 1};
    int64_t days = (timegm(&tm) - first) / DAY;
    while (day >= days) /* the fifth is the last */
        day -= 7;
    return first - jan1 + (int64_t)day * DAY + c->at;
}

static int64_t rule_offset(const struct zone_rule *r, int64_t t)
{
    if (!r->summer)
        return r->standard;
    struct tm now = tm_of(t), tm = {.tm_year = now.tm_year, .tm_mday = 1};
    int64_t in_year = t - timegm(&tm), year = now.tm_year + 1900LL;
    int64_t start = change_in(&r->start, year) - r->standard, end = change_in(&r->end, year) - r->other;
    bool other = start <= end ? in_year >= start && in_year < end : in_year >= start || in_year < end;
    return other ? r->other : r->standard;
}

struct zone *zone_of_rule(struct str rule, struct err *err)
{
    struct zone_rule r;
    if (!rule_read(rule, &r)) {
        err_set(err, E_INVALID, "\"" STR_FMT "\" is no rule of a time zone (POSIX TZ)", STR_ARG(rule));
        return NULL;
    }
    struct zone *z = NEW(struct zone);
    z->rule = r;
    z->first = r.standard;
    return z;
}

/* ---- TZif ---- */

struct block {
    struct str bytes; /* of the data */
    uint32_t isut, isstd, leap, times, types, chars;
    size_t wide; /* bytes of a time */
};

static int64_t big_endian(const char *p, size_t n)
{
    uint64_t v = (unsigned char)p[0] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | (unsigned char)p[i];
    return (int64_t)v;
}

/* Cuts a header and the data behind it off the file. */
static bool block_cut(struct str *file, size_t wide, struct block *b, char *version)
{
    uint32_t counts[BLOCK_COUNTS];
    if (file->n < HEADER || !str_starts(*file, S("TZif")))
        return false;
    for (size_t i = 0; i < BLOCK_COUNTS; i++) {
        counts[i] = (uint32_t)big_endian(file->p + 20 + 4 * i, 4);
        if (counts[i] > ZONE_FILE_MAX)
            return false;
    }
    *version = file->p[4];
    *b = (struct block){.isut = counts[0],
                        .isstd = counts[1],
                        .leap = counts[2],
                        .times = counts[3],
                        .types = counts[4],
                        .chars = counts[5],
                        .wide = wide};
    size_t size = b->times * (wide + 1) + b->types * 6u + b->chars + b->leap * (wide + 4) + b->isstd + b->isut;
    if (file->n - HEADER < size)
        return false;
    b->bytes = str_sub(*file, HEADER, HEADER + size);
    *file = str_sub(*file, HEADER + size, file->n);
    return true;
}

static bool type_offset(const struct block *b, size_t type, int64_t *out)
{
    *out = big_endian(b->bytes.p + b->times * (b->wide + 1) + type * 6, 4);
    return *out >= -MAX_OFFSET && *out <= MAX_OFFSET;
}

static struct zone *block_zone(const struct block *b)
{
    if (b->types == 0 || b->types > 256 || b->times > MAX_TIMES)
        return NULL;
    AUTO(zone_free) struct zone *z = mem_alloc(sizeof *z + b->times * sizeof *z->shifts);
    *z = (struct zone){.n = b->times};
    if (!type_offset(b, 0, &z->first))
        return NULL;
    for (size_t i = 0; i < z->n; i++) {
        size_t type = (unsigned char)b->bytes.p[b->times * b->wide + i];
        z->shifts[i].from = big_endian(b->bytes.p + i * b->wide, b->wide);
        if (type >= b->types || !type_offset(b, type, &z->shifts[i].offset) ||
            (i > 0 && z->shifts[i].from <= z->shifts[i - 1].from))
            return NULL;
    }
    return TAKE(z);
}

static bool footer_read(struct str rest, struct zone_rule *r)
{
    struct str text;
    if (!mark_cut(&rest, '\n') || !str_split(rest, '\n', &text, &rest))
        return false;
    return text.n == 0 || rule_read(text, r);
}

struct zone *zone_read(struct str file, struct err *err)
{
    struct block b;
    struct zone_rule rule = {0};
    char version, same;
    if (file.n > ZONE_FILE_MAX) {
        err_set(err, E_INVALID, "a file of a time zone has at most %u bytes, this one has %zu", ZONE_FILE_MAX,
                file.n);
        return NULL;
    }
    bool ok = block_cut(&file, 4, &b, &version);
    if (ok && version >= '2') /* the first block is for who knows no better */
        ok = block_cut(&file, 8, &b, &same) && same == version && footer_read(file, &rule);
    struct zone *z = ok ? block_zone(&b) : NULL;
    if (z)
        z->rule = rule;
    else
        err_set(err, E_INVALID, "it is no file of a time zone (TZif, RFC 8536), or is damaged");
    return z;
}

void zone_free(struct zone *z)
{
    mem_free(z);
}

/* ---- questions ---- */

int64_t zone_offset(const struct zone *z, int64_t t)
{
    if (!z)
        return 0;
    if (z->rule.set && (z->n == 0 || t >= z->shifts[z->n - 1].from))
        return rule_offset(&z->rule, t);
    size_t low = 0, high = z->n; /* how many shifts lie at or before t */
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (z->shifts[mid].from <= t)
            low = mid + 1;
        else
            high = mid;
    }
    return low > 0 ? z->shifts[low - 1].offset : z->first;
}

struct tm zone_civil(const struct zone *z, int64_t t)
{
    return tm_of(t + zone_offset(z, t));
}

int64_t zone_time(const struct zone *z, struct tm civil)
{
    int64_t local = timegm(&civil), offset = zone_offset(z, local);
    return offset ? local - zone_offset(z, local - offset) : local;
}

bool zone_name_ok(struct str name)
{
    if (name.n == 0 || name.n > 255 || name.p[0] == '/' || str_has(name, S("..")))
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] == '\\' || (unsigned char)name.p[i] <= ' ' || (unsigned char)name.p[i] >= 127)
            return false;
    return true;
}
