/* Values as text and back, in Go's forms. */
#include "cel/value.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NS = 1000000000 };

void cel_add_double(struct strbuf *b, double d)
{
    if (isnan(d) || isinf(d)) {
        strbuf_addz(b, isnan(d) ? "NaN" : d < 0 ? "-Inf" : "+Inf");
        return;
    }
    char text[40], digits[24];
    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, fabs(d));
        if (strtod(text, NULL) == fabs(d))
            break;
    }
    char *e = strchr(text, 'e');
    int exponent = (int)strtol(e + 1, NULL, 10), n = 0;
    for (char *p = text; p < e; p++)
        if (*p != '.')
            digits[n++] = *p;
    if (signbit(d))
        strbuf_addc(b, '-');
    if (exponent < -4 || exponent >= 6) {
        strbuf_addc(b, digits[0]);
        if (n > 1)
            strbuf_addf(b, ".%.*s", n - 1, digits + 1);
        strbuf_addf(b, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    if (exponent < 0)
        strbuf_addf(b, "0.%.*s%.*s", -exponent - 1, "0000", n, digits);
    for (int i = 0; exponent >= 0 && i < MAX(n, exponent + 1); i++) {
        if (i == exponent + 1)
            strbuf_addc(b, '.');
        strbuf_addc(b, i < n ? digits[i] : '0');
    }
}

static void add_fraction(struct strbuf *b, uint32_t nanoseconds)
{
    if (!nanoseconds)
        return;
    char text[16];
    int n = snprintf(text, sizeof text, "%09u", nanoseconds);
    while (n && text[n - 1] == '0')
        n--;
    strbuf_addf(b, ".%.*s", n, text);
}

void cel_add_duration(struct strbuf *b, int64_t nanoseconds)
{
    uint64_t u = nanoseconds < 0 ? -(uint64_t)nanoseconds : (uint64_t)nanoseconds;
    strbuf_addf(b, "%s%llu", nanoseconds < 0 ? "-" : "", (unsigned long long)(u / NS));
    add_fraction(b, (uint32_t)(u % NS));
    strbuf_addc(b, 's');
}

/* Days since 1970 of a day of the Gregorian calendar, and back. */
static int64_t days_of(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void cel_add_timestamp(struct strbuf *b, int64_t seconds, uint32_t nanoseconds)
{
    int64_t days = seconds / 86400, left = seconds % 86400;
    if (left < 0) {
        left += 86400;
        days--;
    }
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, of_era = z - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100), mp = (5 * of_year + 2) / 153;
    int d = (int)(of_year - (153 * mp + 2) / 5 + 1), m = (int)(mp < 10 ? mp + 3 : mp - 9);
    y += era * 400 + (m <= 2);
    strbuf_addf(b, "%04lld-%02d-%02dT%02d:%02d:%02d", (long long)y, m, d, (int)(left / 3600), (int)(left / 60 % 60),
                (int)(left % 60));
    add_fraction(b, nanoseconds);
    strbuf_addc(b, 'Z');
}

/* A number of exactly so many digits, and the mark behind it (0: none). */
static bool take_digits(struct str *s, size_t n, char mark, int *out)
{
    if (s->n < n + (mark != 0))
        return false;
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        if (s->p[i] < '0' || s->p[i] > '9')
            return false;
        *out = *out * 10 + (s->p[i] - '0');
    }
    if (mark && s->p[n] != mark)
        return false;
    *s = str_sub(*s, n + (mark != 0), s->n);
    return true;
}

static bool take_zone(struct str s, int *seconds)
{
    *seconds = 0;
    if (str_eqz(s, "Z"))
        return true;
    int hours, minutes;
    if (s.n != 6 || (*s.p != '+' && *s.p != '-'))
        return false;
    bool west = *s.p == '-';
    s = str_sub(s, 1, 6);
    if (!take_digits(&s, 2, ':', &hours) || !take_digits(&s, 2, 0, &minutes) || hours > 24 || minutes >= 60)
        return false;
    *seconds = (hours * 60 + minutes) * 60 * (west ? -1 : 1);
    return true;
}

static int month_days(int y, int m)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    return m == 2 && leap ? 29 : days[m - 1];
}

bool cel_parse_timestamp(struct str s, int64_t *seconds, uint32_t *nanoseconds)
{
    int y, mo, d, h, mi, sec, zone;
    if (!take_digits(&s, 4, '-', &y) || !take_digits(&s, 2, '-', &mo) || !take_digits(&s, 2, 'T', &d) ||
        !take_digits(&s, 2, ':', &h) || !take_digits(&s, 2, ':', &mi) || !take_digits(&s, 2, 0, &sec))
        return false;
    uint32_t ns = 0;
    if (s.n > 1 && (*s.p == '.' || *s.p == ',') && s.p[1] >= '0' && s.p[1] <= '9') {
        size_t i = 1;
        for (uint32_t unit = NS / 10; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++, unit /= 10)
            ns += (uint32_t)(s.p[i] - '0') * unit;
        s = str_sub(s, i, s.n);
    }
    if (!take_zone(s, &zone) || mo < 1 || mo > 12 || d < 1 || d > month_days(y, mo) || h > 23 || mi > 59 || sec > 59)
        return false;
    int64_t t = days_of(y, mo, d) * 86400 + h * 3600 + mi * 60 + sec - zone;
    if (t < -62135596800 || t > 253402300799)
        return false;
    *seconds = t;
    *nanoseconds = ns;
    return true;
}

static const struct {
    const char *unit;
    int64_t nanoseconds;
} duration_units[] = {
    {"ns", 1},       {"us", 1000}, {"µs", 1000},     {"μs", 1000},
    {"ms", 1000000}, {"s", NS},    {"m", 60LL * NS}, {"h", 3600LL * NS},
};

static size_t digits_length(struct str s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n;
}

/* One number with its unit, added to *sum. */
static bool take_part(struct str *s, uint64_t *sum)
{
    size_t whole = digits_length(*s), part = 0;
    uint64_t v = 0, f = 0;
    double scale = 1;
    for (size_t i = 0; i < whole; i++)
        if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(s->p[i] - '0'), &v))
            return false;
    *s = str_sub(*s, whole, s->n);
    if (s->n && *s->p == '.') {
        *s = str_sub(*s, 1, s->n);
        part = digits_length(*s);
        for (size_t i = 0; i < part && f < UINT64_MAX / 20; i++) {
            f = f * 10 + (uint64_t)(s->p[i] - '0');
            scale *= 10;
        }
        *s = str_sub(*s, part, s->n);
    }
    size_t unit = 0;
    while (unit < s->n && s->p[unit] != '.' && (s->p[unit] < '0' || s->p[unit] > '9'))
        unit++;
    struct str name = str_sub(*s, 0, unit);
    *s = str_sub(*s, unit, s->n);
    for (size_t i = 0; i < countof(duration_units) && (whole || part); i++) {
        if (!str_eqz(name, duration_units[i].unit))
            continue;
        uint64_t ns = (uint64_t)duration_units[i].nanoseconds;
        return !__builtin_mul_overflow(v, ns, &v) &&
               !__builtin_add_overflow(v, (uint64_t)((double)f * ((double)ns / scale)), &v) &&
               !__builtin_add_overflow(*sum, v, sum) && *sum <= (uint64_t)INT64_MAX + 1;
    }
    return false;
}

bool cel_parse_duration(struct str s, int64_t *nanoseconds)
{
    bool minus = s.n && *s.p == '-';
    if (s.n && (*s.p == '-' || *s.p == '+'))
        s = str_sub(s, 1, s.n);
    uint64_t sum = 0;
    if (str_eqz(s, "0")) {
        *nanoseconds = 0;
        return true;
    }
    if (!s.n)
        return false;
    while (s.n)
        if (!take_part(&s, &sum))
            return false;
    if (!minus && sum > INT64_MAX)
        return false;
    *nanoseconds = (int64_t)(minus ? -sum : sum);
    return true;
}
