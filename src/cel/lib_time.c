/* Parts of timestamps and durations. Zones are UTC, "+02:00", or a name: zones.h. */
#include "cel/eval.h"
#include "cel/libraries.h"
#include "cel/zones.h"

struct civil {
    int64_t year;
    int month, day, weekday, yearday; /* from 0, the day of the month too */
    int hour, minute, second;
};

static struct civil civil_of(int64_t seconds)
{
    struct civil c = {0};
    int64_t days = seconds / 86400, left = seconds % 86400;
    if (left < 0) {
        left += 86400;
        days--;
    }
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, of_era = z - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100), mp = (5 * of_year + 2) / 153;
    c.day = (int)(of_year - (153 * mp + 2) / 5);
    c.month = (int)(mp < 10 ? mp + 2 : mp - 10);
    c.year = y + era * 400 + (c.month < 2);
    bool leap = c.year % 4 == 0 && (c.year % 100 != 0 || c.year % 400 == 0);
    c.yearday = (int)(of_year < 306 ? of_year + 59 + leap : of_year - 306); /* the year of the sum begins in March */
    c.weekday = (int)((days % 7 + 11) % 7);
    c.hour = (int)(left / 3600);
    c.minute = (int)(left / 60 % 60);
    c.second = (int)(left % 60);
    return c;
}

/* The timestamp in its zone. False: there is no such zone. */
static bool local_civil(const struct cel_value *a, size_t n, struct civil *out)
{
    int64_t offset = 0;
    if (n == 2 && !cel_zone_offset(cel_text(a[1]), a[0].i, &offset))
        return false;
    *out = civil_of(a[0].i + offset);
    return true;
}

#define PART(name, expression)                                                                                       \
    static struct cel_value name(CEL_RUN)                                                                            \
    {                                                                                                                \
        struct civil c;                                                                                              \
        if (!local_civil(a, n, &c))                                                                                  \
            return cel_error(run, "unknown time zone " STR_FMT, STR_ARG(cel_text(a[1])));                            \
        return cel_int(expression);                                                                                  \
    }
PART(time_year, c.year)
PART(time_month, c.month)
PART(time_day_of_year, c.yearday)
PART(time_day_of_month, c.day)
PART(time_date, c.day + 1)
PART(time_weekday, c.weekday)
PART(time_hours, c.hour)
PART(time_minutes, c.minute)
PART(time_seconds, c.second)
PART(time_milliseconds, ((void)c, a[0].n / 1000000))

static struct cel_value duration_hours(CEL_RUN)
{
    return cel_int(a[0].i / 3600000000000);
}

static struct cel_value duration_minutes(CEL_RUN)
{
    return cel_int(a[0].i / 60000000000);
}

static struct cel_value duration_seconds(CEL_RUN)
{
    return cel_int(a[0].i / 1000000000);
}

static struct cel_value duration_milliseconds(CEL_RUN)
{
    return cel_int(a[0].i / 1000000);
}

#define TIMES(name, word, f)                                                                                         \
    {name, "timestamp_to_" word, "timestamp.() int", f, 0, 0, 0},                                                    \
    {                                                                                                                \
        name, "timestamp_to_" word "_with_tz", "timestamp.(string) int", f, 0, 0, 0                                  \
    }

static const struct cel_function times[] = {
    TIMES("getFullYear", "year", time_year),
    TIMES("getMonth", "month", time_month),
    TIMES("getDayOfYear", "day_of_year", time_day_of_year),
    TIMES("getDayOfMonth", "day_of_month", time_day_of_month),
    TIMES("getDate", "day_of_month_1_based", time_date),
    TIMES("getDayOfWeek", "day_of_week", time_weekday),
    TIMES("getHours", "hours", time_hours),
    {"getHours", "duration_to_hours", "duration.() int", duration_hours, 0, 0, 0},
    TIMES("getMinutes", "minutes", time_minutes),
    {"getMinutes", "duration_to_minutes", "duration.() int", duration_minutes, 0, 0, 0},
    TIMES("getSeconds", "seconds", time_seconds),
    {"getSeconds", "duration_to_seconds", "duration.() int", duration_seconds, 0, 0, 0},
    TIMES("getMilliseconds", "milliseconds", time_milliseconds),
    {"getMilliseconds", "duration_to_milliseconds", "duration.() int", duration_milliseconds, 0, 0, 0},
};

const struct cel_library cel_lib_time = CEL_LIBRARY("time", times);
