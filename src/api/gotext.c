#include "api/codec_int.h"

struct timeparse {
    struct str all, rest;
    const char *layout;
    struct err *err;
};

static bool element_refuse(struct timeparse *p, const char *element)
{
    return err_set(p->err, E_BAD_REQUEST,
                   "parsing time \"" STR_FMT "\" as \"%s\": cannot parse \"" STR_FMT "\" as \"%s\"", STR_ARG(p->all),
                   p->layout, STR_ARG(p->rest), element);
}

static bool range_refuse(struct timeparse *p, const char *what)
{
    return err_set(p->err, E_BAD_REQUEST, "parsing time \"" STR_FMT "\": %s out of range", STR_ARG(p->all), what);
}

static bool is_digit(struct str s, size_t i)
{
    return i < s.n && s.p[i] >= '0' && s.p[i] <= '9';
}

/* A literal, then a number of `width` digits (or of one, where `loose`). */
static bool part_parse(struct timeparse *p, const char *literal, const char *element, size_t width, bool loose,
                       int *out)
{
    if (*literal) {
        if (!p->rest.n || p->rest.p[0] != *literal)
            return element_refuse(p, literal);
        p->rest = str_sub(p->rest, 1, p->rest.n);
    }
    size_t n = 0;
    int v = 0;
    while (n < width && is_digit(p->rest, n))
        v = v * 10 + (p->rest.p[n++] - '0');
    if (n < width && !(loose && n == 1))
        return element_refuse(p, element);
    *out = v;
    p->rest = str_sub(p->rest, n, p->rest.n);
    return true;
}

/* Days since 1970-01-01 of a day of the Gregorian calendar, and back (http://howardhinnant.github.io). */
static int64_t days_of(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400, doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

bool gotime_parse(struct str s, bool micro, int64_t *seconds, int32_t *nanos, struct err *err)
{
    struct timeparse t = {s, s, micro ? "2006-01-02T15:04:05.000000Z07:00" : "2006-01-02T15:04:05Z07:00", err};
    int year, month, day, hour, minute, second, frac = 0;
    if (!part_parse(&t, "", "2006", 4, false, &year) || !part_parse(&t, "-", "01", 2, false, &month))
        return false;
    if (month < 1 || month > 12)
        return range_refuse(&t, "month");
    if (!part_parse(&t, "-", "02", 2, false, &day) || !part_parse(&t, "T", "15", 2, true, &hour))
        return false;
    if (hour > 23)
        return range_refuse(&t, "hour");
    if (!part_parse(&t, ":", "04", 2, false, &minute))
        return false;
    if (minute > 59)
        return range_refuse(&t, "minute");
    if (!part_parse(&t, ":", "05", 2, false, &second))
        return false;
    if (second > 59)
        return range_refuse(&t, "second");
    bool point = t.rest.n && (t.rest.p[0] == '.' || (!micro && t.rest.p[0] == ','));
    if (micro || (point && is_digit(t.rest, 1))) {
        size_t n = 1;
        int scale = 100000000;
        for (; is_digit(t.rest, n) && (!micro || n <= 6); n++, scale /= 10)
            frac += (t.rest.p[n] - '0') * scale;
        if (micro && (!point || n != 7))
            return element_refuse(&t, ".000000");
        t.rest = str_sub(t.rest, n, t.rest.n);
    }
    int offset = 0;
    if (t.rest.n && t.rest.p[0] == 'Z') {
        t.rest = str_sub(t.rest, 1, t.rest.n);
    } else {
        struct str z = t.rest;
        if (z.n < 6 || (z.p[0] != '+' && z.p[0] != '-') || z.p[3] != ':' || !is_digit(z, 1) || !is_digit(z, 2) ||
            !is_digit(z, 4) || !is_digit(z, 5))
            return element_refuse(&t, "Z07:00");
        int h = (z.p[1] - '0') * 10 + z.p[2] - '0', m = (z.p[4] - '0') * 10 + z.p[5] - '0';
        if (h > 24)
            return range_refuse(&t, "time zone offset hour");
        if (m > 60)
            return range_refuse(&t, "time zone offset minute");
        offset = (h * 60 + m) * (z.p[0] == '-' ? -60 : 60);
        t.rest = str_sub(z, 6, z.n);
    }
    if (t.rest.n)
        return err_set(err, E_BAD_REQUEST, "parsing time \"" STR_FMT "\": extra text: \"" STR_FMT "\"", STR_ARG(s),
                       STR_ARG(t.rest));
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day < 1 || day > days[month - 1] + (month == 2 && leap))
        return range_refuse(&t, "day");
    *seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
    *nanos = micro ? frac / 1000 * 1000 : frac;
    return true;
}

void gotime_add(struct strbuf *b, int64_t seconds, int32_t nanos, bool micro)
{
    int64_t day = seconds / 86400, rest = seconds % 86400;
    if (rest < 0) {
        rest += 86400;
        day--;
    }
    int64_t z = day + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    int month = (int)(mp < 10 ? mp + 3 : mp - 9);
    strbuf_addf(b, "%04lld-%02d-%02dT%02d:%02d:%02d", (long long)(yoe + era * 400 + (month <= 2)), month,
                (int)(doy - (153 * mp + 2) / 5 + 1), (int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60));
    if (micro)
        strbuf_addf(b, ".%06d", nanos / 1000);
    strbuf_addc(b, 'Z');
}

bool goduration_parse(struct str s, int64_t *ns, struct err *err)
{
    static const struct {
        struct str name;
        int64_t ns;
    } units[] = {{S_INIT("ns"), 1},          {S_INIT("us"), 1000},        {S_INIT("ms"), 1000000},
                 {S_INIT("\u00b5s"), 1000},  {S_INIT("\u03bcs"), 1000},   {S_INIT("s"), 1000000000},
                 {S_INIT("m"), 60000000000}, {S_INIT("h"), 3600000000000}};
    struct str rest = s;
    bool negative = rest.n && rest.p[0] == '-', any = false;
    if (rest.n && (rest.p[0] == '-' || rest.p[0] == '+'))
        rest = str_sub(rest, 1, rest.n);
    __int128 total = 0;
    if (str_eqz(rest, "0"))
        any = true, rest.n = 0;
    while (rest.n) {
        __int128 number = 0, scale = 1;
        size_t i = 0, digits = 0;
        for (; is_digit(rest, i) && digits < 18; i++, digits++)
            number = number * 10 + (rest.p[i] - '0');
        if (i < rest.n && rest.p[i] == '.')
            for (i++; is_digit(rest, i) && digits < 18; i++, digits++, scale *= 10)
                number = number * 10 + (rest.p[i] - '0');
        size_t from = i;
        while (i < rest.n && !is_digit(rest, i) && rest.p[i] != '.')
            i++;
        struct str unit = str_sub(rest, from, i);
        size_t u = 0;
        while (u < countof(units) && !str_eq(units[u].name, unit))
            u++;
        if (!digits)
            return err_set(err, E_BAD_REQUEST, "time: invalid duration \"" STR_FMT "\"", STR_ARG(s));
        if (!unit.n)
            return err_set(err, E_BAD_REQUEST, "time: missing unit in duration \"" STR_FMT "\"", STR_ARG(s));
        if (u == countof(units))
            return err_set(err, E_BAD_REQUEST, "time: unknown unit \"" STR_FMT "\" in duration \"" STR_FMT "\"",
                           STR_ARG(unit), STR_ARG(s));
        total += number * units[u].ns / scale;
        any = true;
        rest = str_sub(rest, i, rest.n);
    }
    if (!any || total > INT64_MAX)
        return err_set(err, E_BAD_REQUEST, "time: invalid duration \"" STR_FMT "\"", STR_ARG(s));
    *ns = negative ? -(int64_t)total : (int64_t)total;
    return true;
}

/* A number with its fraction, without zeros at the end. */
static void add_fraction(struct strbuf *b, uint64_t v, uint64_t unit, const char *name)
{
    strbuf_addf(b, "%llu", (unsigned long long)(v / unit));
    uint64_t frac = v % unit;
    if (frac) {
        strbuf_addc(b, '.');
        for (uint64_t u = unit / 10; frac; u /= 10) {
            strbuf_addc(b, (char)('0' + frac / u));
            frac %= u;
        }
    }
    strbuf_addz(b, name);
}

void goduration_add(struct strbuf *b, int64_t ns)
{
    uint64_t v = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
    if (ns < 0)
        strbuf_addc(b, '-');
    if (v == 0) {
        strbuf_addz(b, "0s");
    } else if (v < 1000000000) {
        uint64_t unit = v < 1000 ? 1 : v < 1000000 ? 1000 : 1000000;
        add_fraction(b, v, unit, unit == 1 ? "ns" : unit == 1000 ? "\xc2\xb5s" : "ms");
    } else {
        if (v >= 3600000000000)
            strbuf_addf(b, "%lluh", (unsigned long long)(v / 3600000000000));
        if (v >= 60000000000)
            strbuf_addf(b, "%llum", (unsigned long long)(v / 60000000000 % 60));
        add_fraction(b, v % 60000000000, 1000000000, "s");
    }
}

static int base64_digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

static size_t skip_line_ends(struct str s, size_t i)
{
    while (i < s.n && (s.p[i] == '\n' || s.p[i] == '\r'))
        i++;
    return i;
}

bool gobase64_parse(struct arena *a, struct str s, struct str *out, struct err *err)
{
    char *to = arena_alloc(a, s.n / 4 * 3 + 4);
    size_t i = 0, n = 0, bad;
    uint32_t bits = 0;
    for (size_t j = 0;; i++) {
        i = skip_line_ends(s, i);
        if (i == s.n) {
            bad = s.n - j;
            if (j)
                break;
            *out = (struct str){to, n};
            return true;
        }
        int digit = base64_digit(s.p[i]);
        if (digit >= 0) {
            bits = bits << 6 | (uint32_t)digit;
            if (++j == 4) {
                to[n++] = (char)(bits >> 16);
                to[n++] = (char)(bits >> 8);
                to[n++] = (char)bits;
                bits = 0;
                j = 0;
            }
            continue;
        }
        bad = i;
        if (s.p[i] != '=' || j < 2)
            break;
        size_t next = skip_line_ends(s, i + 1);
        if (j == 2) {
            if (next == s.n) {
                bad = s.n;
                break;
            }
            if (s.p[next] != '=') {
                bad = next - 1;
                break;
            }
            next = skip_line_ends(s, next + 1);
        }
        bad = next;
        if (next < s.n)
            break;
        bits <<= 6 * (4 - j);
        to[n++] = (char)(bits >> 16);
        if (j == 3)
            to[n++] = (char)(bits >> 8);
        *out = (struct str){to, n};
        return true;
    }
    return err_set(err, E_BAD_REQUEST, "illegal base64 data at input byte %zu", bad);
}
