#include "cel/zones.h"
#include <stdlib.h>
#include <string.h>

/* A rule being read: "CET-1CEST,M3.5.0,M10.5.0/3". */
struct zone_reader {
    const char *p;
};

static void skip_zone_name(struct zone_reader *r)
{
    if (*r->p == '<') {
        while (*r->p && *r->p != '>')
            r->p++;
        if (*r->p)
            r->p++;
        return;
    }
    while ((*r->p >= 'A' && *r->p <= 'Z') || (*r->p >= 'a' && *r->p <= 'z'))
        r->p++;
}

static int64_t read_number(struct zone_reader *r)
{
    char *end;
    int64_t n = strtol(r->p, &end, 10);
    r->p = end;
    return n;
}

/* [+-]hh[:mm[:ss]] */
static int64_t read_clock(struct zone_reader *r)
{
    bool minus = *r->p == '-';
    if (*r->p == '-' || *r->p == '+')
        r->p++;
    int64_t seconds = read_number(r) * 3600;
    for (int64_t unit = 60; *r->p == ':' && unit; unit /= 60) {
        r->p++;
        seconds += read_number(r) * unit;
    }
    return minus ? -seconds : seconds;
}

static int64_t days_before(int64_t year, int month) /* 1 to 12, since 1970 */
{
    int64_t y = year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* ",M3.5.0/2" or ",J60/2" or ",60": seconds of local time since 1970 at which it is in a year. */
static int64_t read_change(struct zone_reader *r, int64_t year)
{
    int64_t day;
    if (*r->p == ',')
        r->p++;
    if (*r->p == 'M') {
        r->p++;
        int month = (int)read_number(r);
        r->p += *r->p == '.';
        int week = (int)read_number(r);
        r->p += *r->p == '.';
        int weekday = (int)read_number(r);
        int64_t first = days_before(year, month),
                next = month == 12 ? days_before(year + 1, 1) : days_before(year, month + 1);
        day = first + (weekday - (first % 7 + 11) % 7 + 7) % 7 + (week - 1) * 7;
        while (day >= next)
            day -= 7;
    } else {
        bool julian = *r->p == 'J';
        r->p += julian;
        int64_t n = read_number(r);
        bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        day = days_before(year, 1) + (julian ? n - 1 + (leap && n >= 60) : n);
    }
    int64_t clock = 7200;
    if (*r->p == '/') {
        r->p++;
        clock = read_clock(r);
    }
    return day * 86400 + clock;
}

static int64_t rule_offset(const char *rule, int64_t seconds)
{
    struct zone_reader r = {rule};
    skip_zone_name(&r);
    int64_t standard = -read_clock(&r);
    if (!*r.p)
        return standard;
    skip_zone_name(&r);
    int64_t summer = *r.p && *r.p != ',' ? -read_clock(&r) : standard + 3600;
    int64_t local = seconds + standard, days = local / 86400 - (local % 86400 < 0);
    int64_t year = 1970 + days / 366 - 1;
    while (days_before(year + 1, 1) <= days)
        year++;
    int64_t begins = read_change(&r, year) - standard, ends = read_change(&r, year) - summer;
    bool in_summer = begins < ends ? seconds >= begins && seconds < ends : seconds >= begins || seconds < ends;
    return in_summer ? summer : standard;
}

static bool digits_at(struct str s, size_t at, int *out)
{
    if (s.p[at] < '0' || s.p[at] > '9' || s.p[at + 1] < '0' || s.p[at + 1] > '9')
        return false;
    *out = (s.p[at] - '0') * 10 + s.p[at + 1] - '0';
    return true;
}

bool cel_zone_offset(struct str zone, int64_t seconds, int64_t *offset)
{
    *offset = 0;
    if (!zone.n || str_eqz(zone, "UTC"))
        return true;
    bool sign = *zone.p == '-' || *zone.p == '+', west = *zone.p == '-';
    struct str clock = str_sub(zone, sign, zone.n);
    int hours, minutes;
    if (clock.n == 5 && clock.p[2] == ':' && digits_at(clock, 0, &hours) && digits_at(clock, 3, &minutes)) {
        *offset = (hours * 60 + minutes) * 60 * (west ? -1 : 1);
        return true;
    }
    for (size_t low = 0, high = zone_rows_n; low < high;) {
        size_t middle = (low + high) / 2;
        int order = str_cmp(zone, str_of(zone_rows[middle].name));
        if (!order) {
            *offset = rule_offset(zone_rows[middle].rule, seconds);
            return true;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}
