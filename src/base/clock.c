#define WHERRY_CLOCK
#include "base/clock.h"
#include <sys/random.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;
    (void)clock_gettime(id, &ts);
    return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static int64_t real_mono(UNUSED void *arg)
{
    return read_clock(CLOCK_MONOTONIC);
}

static int64_t real_real(UNUSED void *arg)
{
    return read_clock(CLOCK_REALTIME);
}

static void real_random(UNUSED void *arg, void *p, size_t n)
{
    for (char *at = p; n;) {
        ssize_t got = getrandom(at, MIN(n, 256), 0);
        ASSERT(got > 0);
        at += got;
        n -= (size_t)got;
    }
}

static const struct clock_source real_source = {real_mono, real_real, real_random, NULL};
static const struct clock_source *source = &real_source;

void clock_install(const struct clock_source *s)
{
    source = s ? s : &real_source;
}

int64_t clock_mono(void)
{
    return source->mono(source->arg);
}

int64_t clock_real(void)
{
    return source->real(source->arg);
}

int64_t clock_thread_cpu(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

void random_bytes(void *p, size_t n)
{
    source->random(source->arg, p, n);
}

uint64_t random_below(uint64_t limit)
{
    ASSERT(limit > 0);
    uint64_t v, most = UINT64_MAX - UINT64_MAX % limit;
    do
        random_bytes(&v, sizeof v);
    while (v >= most);
    return v % limit;
}

static void add_time(struct strbuf *b, int64_t real_ns, bool micro)
{
    int64_t s = real_ns / NS_PER_S, rest = real_ns % NS_PER_S;
    if (rest < 0)
        s--, rest += NS_PER_S;
    struct tm tm;
    time_t t = s;
    if (!gmtime_r(&t, &tm))
        memset(&tm, 0, sizeof tm);
    strbuf_addf(b, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                tm.tm_min, tm.tm_sec);
    if (micro)
        strbuf_addf(b, ".%06lld", (long long)rest / 1000);
    strbuf_addc(b, 'Z');
}

void time_add(struct strbuf *b, int64_t real_ns)
{
    add_time(b, real_ns, false);
}

void time_add_micro(struct strbuf *b, int64_t real_ns)
{
    add_time(b, real_ns, true);
}

static struct str text_of(struct arena *a, int64_t real_ns, bool micro)
{
    AUTO(strbuf_fini)
    struct strbuf b = STRBUF(64);
    add_time(&b, real_ns, micro);
    return str_dup(a, strbuf_str(&b));
}

struct str time_text(struct arena *a, int64_t real_ns)
{
    return text_of(a, real_ns, false);
}

struct str time_text_micro(struct arena *a, int64_t real_ns)
{
    return text_of(a, real_ns, true);
}

static bool digits_cut(struct str *s, size_t n, int64_t min, int64_t max, int *out)
{
    int64_t v;
    if (s->n < n || !str_to_i64(str_sub(*s, 0, n), 0, INT32_MAX, &v) || v < min || v > max)
        return false;
    *s = str_sub(*s, n, s->n);
    *out = (int)v;
    return true;
}

static bool char_cut(struct str *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = str_sub(*s, 1, s->n);
    return true;
}

static bool days_fit(int year, int month, int day)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day <= days[month - 1] + (month == 2 && leap);
}

#define EARLIEST (-2303596800LL) /* 1897-01-01, in seconds since 1970 */
#define LATEST   6974294399LL    /* the end of 2190 */

bool time_parse(struct str s, int64_t *real_ns)
{
    struct tm tm = {0};
    int year, month;
    if (!digits_cut(&s, 4, 0, 9999, &year) || !char_cut(&s, '-') || !digits_cut(&s, 2, 1, 12, &month) ||
        !char_cut(&s, '-') || !digits_cut(&s, 2, 1, 31, &tm.tm_mday) || !char_cut(&s, 'T') ||
        !digits_cut(&s, 2, 0, 23, &tm.tm_hour) || !char_cut(&s, ':') || !digits_cut(&s, 2, 0, 59, &tm.tm_min) ||
        !char_cut(&s, ':') || !digits_cut(&s, 2, 0, 59, &tm.tm_sec) || !days_fit(year, month, tm.tm_mday))
        return false;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    int64_t fraction = 0;
    if (char_cut(&s, '.')) {
        int64_t unit = NS_PER_S / 10;
        size_t n = 0;
        for (; n < s.n && s.p[n] >= '0' && s.p[n] <= '9'; n++, unit /= 10)
            fraction += (s.p[n] - '0') * unit;
        if (n == 0)
            return false;
        s = str_sub(s, n, s.n);
    }
    int64_t offset = 0;
    if (!char_cut(&s, 'Z')) {
        int sign = s.n && s.p[0] == '-' ? -1 : 1, hours, minutes;
        if (!(char_cut(&s, '+') || char_cut(&s, '-')) || !digits_cut(&s, 2, 0, 23, &hours) || !char_cut(&s, ':') ||
            !digits_cut(&s, 2, 0, 59, &minutes))
            return false;
        offset = sign * (hours * 3600LL + minutes * 60LL);
    }
    if (s.n)
        return false;
    int64_t seconds = timegm(&tm) - offset;
    seconds = MIN(MAX(seconds, EARLIEST), LATEST);
    *real_ns = seconds * NS_PER_S + fraction;
    return true;
}

int64_t ns_of_seconds(int64_t s)
{
    return MIN(MAX(s, -(int64_t)INT32_MAX), (int64_t)INT32_MAX) * NS_PER_S;
}
