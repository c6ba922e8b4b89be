#include "api/codec.h"
#include "api/cron.h"
#include "api/formats.h"
#include "api/rules.h"
#include "base/clock.h"
#include "base/test.h"

#define NEW_YORK  "EST5EDT,M3.2.0,M11.1.0"
#define SAO_PAULO "<-03>3<-02>,M11.1.0/0,M2.3.0/0" /* clocks change at midnight */
#define BERLIN    "CET-1CEST,M3.5.0,M10.5.0/3"
#define NEVER     "never"

static int64_t time_at(const char *text)
{
    int64_t ns = 0;
    if (str_eqz(str_of(text), NEVER))
        return CRON_NEVER;
    CHECK(time_parse(str_of(text), &ns));
    return ns / NS_PER_S;
}

static struct str text_of_time(struct arena *a, int64_t t)
{
    return t == CRON_NEVER ? S(NEVER) : time_text(a, t * NS_PER_S);
}

static struct zone *zone_at(const char *rule)
{
    struct err err = ERR;
    struct zone *z = rule ? zone_of_rule(str_of(rule), &err) : NULL;
    CHECK(z || !rule);
    return z;
}

static struct cron cron_of(const char *schedule)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct cron c;
    struct str why = STR_NONE;
    if (!cron_read(&a, str_of(schedule), &c, &why))
        test_failed(__FILE__, __LINE__, "%s: " STR_FMT, schedule, STR_ARG(why));
    return c;
}

struct next_case {
    const char *rule, *after, *schedule, *next;
};

static void nexts_check(const struct next_case *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(zone_free) struct zone *z = zone_at(rows[i].rule);
        struct cron c = cron_of(rows[i].schedule);
        int64_t have = cron_next(&c, z, time_at(rows[i].after));
        if (have != time_at(rows[i].next))
            test_failed(__FILE__, __LINE__, "%s after %s: " STR_FMT ", want %s", rows[i].schedule, rows[i].after,
                        STR_ARG(text_of_time(&a, have)), rows[i].next);
    }
}

TEST(cron_the_next_time)
{
    static const struct next_case rows[] = {
        {NULL, "2012-07-09T14:45:00Z", "0/15 * * * *", "2012-07-09T15:00:00Z"},
        {NULL, "2012-07-09T14:59:59Z", "0/15 * * * *", "2012-07-09T15:00:00Z"},
        {NULL, "2012-07-09T15:00:00Z", "5/15 * * * *", "2012-07-09T15:05:00Z"},
        {NULL, "2012-07-09T15:45:00Z", "20-35/15 * * * *", "2012-07-09T16:20:00Z"},
        {NULL, "2012-07-09T23:46:00Z", "*/15 * * * *", "2012-07-10T00:00:00Z"},
        {NULL, "2012-07-09T23:45:00Z", "20-35/15 * * * *", "2012-07-10T00:20:00Z"},
        {NULL, "2012-07-09T23:35:51Z", "20-35/15 1/2 * * *", "2012-07-10T01:20:00Z"},
        {NULL, "2012-07-09T23:35:51Z", "20-35/15 10-12 * * *", "2012-07-10T10:20:00Z"},
        {NULL, "2012-07-09T23:35:51Z", "20-35/15 1/2 */2 * *", "2012-07-11T01:20:00Z"},
        {NULL, "2012-07-09T23:35:51Z", "20-35/15 * 9-20 Jul *", "2012-07-10T00:20:00Z"},
        {NULL, "2012-07-09T23:35:00Z", "0 0 9 Apr-Oct ?", "2012-08-09T00:00:00Z"},
        {NULL, "2012-07-09T23:35:00Z", "0 0 */5 Apr,Aug,Oct Mon", "2012-08-01T00:00:00Z"},
        {NULL, "2012-07-09T23:35:00Z", "0 0 */5 Oct Mon", "2012-10-01T00:00:00Z"},
        {NULL, "2012-07-09T23:35:00Z", "0 0 * Feb Mon", "2013-02-04T00:00:00Z"},
        {NULL, "2012-07-09T23:35:00Z", "0 0 * Feb Mon/2", "2013-02-01T00:00:00Z"},
        {NULL, "2012-12-31T23:59:45Z", "* * * * *", "2013-01-01T00:00:00Z"},
        {NULL, "2012-07-09T23:35:00Z", "0 0 29 Feb ?", "2016-02-29T00:00:00Z"},
        {NULL, "2012-07-09T23:35:00Z", "0 0 30 Feb ?", NEVER},
        {NULL, "2012-07-09T23:35:00Z", "0 0 31 Apr ?", NEVER},
        {NULL, "2012-07-09T23:35:00Z", ", * * * *", NEVER},
        {NULL, "2012-07-09T15:00:00Z", "@hourly", "2012-07-09T16:00:00Z"},
        {NULL, "2012-07-09T15:00:00Z", "@midnight", "2012-07-10T00:00:00Z"},
        {NULL, "2012-07-09T00:00:00Z", "@weekly", "2012-07-15T00:00:00Z"},
        {NULL, "2012-07-09T00:00:00Z", "@monthly", "2012-08-01T00:00:00Z"},
        {NULL, "2012-07-09T00:00:00Z", "@annually", "2013-01-01T00:00:00Z"},
        {NULL, "2012-07-09T14:45:01Z", "@every 1h30m", "2012-07-09T16:15:01Z"},
        {NULL, "2012-07-09T14:45:01Z", "@every 15ns", "2012-07-09T14:45:02Z"},
        {NULL, "2012-07-09T14:45:01Z", "@every 45.9s", "2012-07-09T14:45:46Z"},
        /* of day and weekday one is enough where neither is a star; a star that steps is none */
        {NULL, "2012-07-14T23:59:59Z", "* * 1,15 * Sun", "2012-07-15T00:00:00Z"},
        {NULL, "2012-06-14T23:59:59Z", "* * 1,15 * Sun", "2012-06-15T00:00:00Z"},
        {NULL, "2012-07-08T23:59:59Z", "0 0 1,15 * *", "2012-07-15T00:00:00Z"},
        {NULL, "2012-07-14T23:59:59Z", "0 0 * * Mon", "2012-07-16T00:00:00Z"},
        {NULL, "2012-07-13T23:59:59Z", "0 0 */10 * Sun", "2012-07-15T00:00:00Z"},
    };
    nexts_check(rows, countof(rows));
}

TEST(cron_where_clocks_change)
{
    static const struct next_case rows[] = {
        {NEW_YORK, "2012-03-11T00:00:00-05:00", "30 2 11 Mar ?", "2013-03-11T02:30:00-04:00"},
        {NEW_YORK, "2012-03-11T00:00:00-05:00", "0 * * * ?", "2012-03-11T01:00:00-05:00"},
        {NEW_YORK, "2012-03-11T01:00:00-05:00", "0 * * * ?", "2012-03-11T03:00:00-04:00"},
        {NEW_YORK, "2012-03-11T03:00:00-04:00", "0 * * * ?", "2012-03-11T04:00:00-04:00"},
        {NEW_YORK, "2012-03-11T01:00:00-05:00", "0 1 * * ?", "2012-03-12T01:00:00-04:00"},
        {NEW_YORK, "2012-03-11T00:00:00-05:00", "0 2 * * ?", "2012-03-12T02:00:00-04:00"}, /* there is no 2:00 */
        {NEW_YORK, "2012-11-04T00:00:00-04:00", "30 2 04 Nov ?", "2012-11-04T02:30:00-05:00"},
        {NEW_YORK, "2012-11-04T01:45:00-04:00", "30 1 04 Nov ?", "2012-11-04T01:30:00-05:00"},
        {NEW_YORK, "2012-11-04T00:00:00-04:00", "0 * * * ?", "2012-11-04T01:00:00-04:00"},
        {NEW_YORK, "2012-11-04T01:00:00-04:00", "0 * * * ?", "2012-11-04T01:00:00-05:00"},
        {NEW_YORK, "2012-11-04T01:00:00-05:00", "0 * * * ?", "2012-11-04T02:00:00-05:00"},
        {NEW_YORK, "2012-11-04T01:00:00-04:00", "0 1 * * ?", "2012-11-04T01:00:00-05:00"}, /* 1:00 comes twice */
        {NEW_YORK, "2012-11-04T01:00:00-05:00", "0 1 * * ?", "2012-11-05T01:00:00-05:00"},
        {NEW_YORK, "2012-11-04T00:00:00-04:00", "0 3 * * ?", "2012-11-04T03:00:00-05:00"},
        {NEW_YORK, "2012-11-04T00:00:00-04:00", "0 3 3 * ?", "2012-12-03T03:00:00-05:00"},
        {SAO_PAULO, "2018-10-17T05:00:00-04:00", "0 9 10 * ?", "2018-11-10T06:00:00-05:00"},
        {SAO_PAULO, "2018-02-14T05:00:00-05:00", "0 9 22 * ?", "2018-02-22T07:00:00-05:00"},
        {BERLIN, "2024-03-30T12:00:00Z", "30 2 * * *", "2024-04-01T02:30:00+02:00"},
        {BERLIN, "2024-10-27T00:30:00Z", "30 2 * * *", "2024-10-27T02:30:00+01:00"},
        {BERLIN, "2024-06-30T12:00:00Z", "0 8 * * 1-5", "2024-07-01T06:00:00Z"},
        {"<+0545>-5:45", "2024-06-30T12:00:00Z", "0 * * * *", "2024-06-30T12:15:00Z"},
    };
    nexts_check(rows, countof(rows));
}

TEST(cron_what_was_missed)
{
    static const struct {
        const char *schedule, *from, *now, *latest, *next;
        int count;
    } rows[] = {
        {"0 * * * *", "2016-05-19T10:00:00Z", "2016-05-19T10:00:30Z", NEVER, "2016-05-19T11:00:00Z", 0},
        {"0 * * * *", "2016-05-19T10:00:00Z", "2016-05-19T11:00:00Z", "2016-05-19T11:00:00Z", "2016-05-19T12:00:00Z",
         1},
        {"0 * * * *", "2016-05-19T10:00:10Z", "2016-05-19T15:01:00Z", "2016-05-19T15:00:00Z", "2016-05-19T16:00:00Z",
         5},
        {"30 6-16/4 * * 1-5", "2016-05-19T10:30:00Z", "2016-05-20T10:31:00Z", "2016-05-20T10:30:00Z",
         "2016-05-20T14:30:00Z", 3},
        {"30 10,11,12 * * 1-5", "2016-05-19T10:30:00Z", "2016-05-20T16:30:00Z", "2016-05-20T12:30:00Z",
         "2016-05-23T10:30:00Z", 5},
        {"30 6-16/4 * * 1-5", "2016-05-19T10:30:00Z", "2016-05-23T10:31:00Z", "2016-05-23T10:30:00Z",
         "2016-05-23T14:30:00Z", 6},
        {"@every 1h", "2016-05-19T10:01:00Z", "2016-05-26T10:00:00Z", "2016-05-26T09:01:00Z", "2016-05-26T10:01:00Z",
         CRON_MANY + 1},
        {"@every 1h", "2016-05-19T10:01:00Z", "2016-05-19T09:00:00Z", NEVER, "2016-05-19T11:01:00Z", 0},
        {"* * * * *", "2006-05-19T10:01:30Z", "2016-05-19T09:00:10Z", "2016-05-19T09:00:00Z", "2016-05-19T09:01:00Z",
         CRON_MANY + 1},
        {"* 1 1-5 1 *", "1996-05-19T10:01:30Z", "2016-05-19T09:00:10Z", "2016-01-05T01:59:00Z",
         "2017-01-01T01:00:00Z", CRON_MANY + 1},
        {"0 12 * * 4", "2016-05-19T12:00:00Z", "2016-06-07T11:30:00Z", "2016-06-02T12:00:00Z", "2016-06-09T12:00:00Z",
         2},
        {"59 23 31 2 *", "2016-05-19T10:00:10Z", "2016-05-19T11:00:00Z", NEVER, NEVER, 0},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct cron c = cron_of(rows[i].schedule);
        struct cron_due d = cron_due(&c, NULL, time_at(rows[i].from), time_at(rows[i].now));
        if (d.latest != time_at(rows[i].latest) || d.next != time_at(rows[i].next) || d.count != rows[i].count) {
            AUTO(arena_fini) struct arena a = ARENA;
            test_failed(__FILE__, __LINE__, "%s from %s to %s: " STR_FMT ", " STR_FMT ", %lld", rows[i].schedule,
                        rows[i].from, rows[i].now, STR_ARG(text_of_time(&a, d.latest)),
                        STR_ARG(text_of_time(&a, d.next)), (long long)d.count);
        }
    }
}

TEST(cron_what_is_no_schedule)
{
    static const struct {
        const char *schedule, *why;
    } rows[] = {
        {"", "empty spec string"},
        {"* * * *", "expected exactly 5 fields, found 4: [* * * *]"},
        {"60 * * * *", "end of range (60) above maximum (59): 60"},
        {"* * 0 * *", "beginning of range (0) below minimum (1): 0"},
        {"* * * * 7", "end of range (7) above maximum (6): 7"},
        {"*/0 * * * *", "step of range should be a positive number: */0"},
        {"*/-1 * * * *", "negative number (-1) not allowed: -1"},
        {"5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"},
        {"1-2-3 * * * *", "too many hyphens: 1-2-3"},
        {"1/2/3 * * * *", "too many slashes: 1/2/3"},
        {"- * * * *", "failed to parse int from : strconv.Atoi: parsing \"\": invalid syntax"},
        {"99999999999999999999 * * * *", "failed to parse int from 99999999999999999999: strconv.Atoi: parsing "
                                         "\"99999999999999999999\": value out of range"},
        {"* * * foo *", "failed to parse int from foo: strconv.Atoi: parsing \"foo\": invalid syntax"},
        {"@often", "unrecognized descriptor: @often"},
        {"@every x", "failed to parse duration @every x: time: invalid duration \"x\""},
        {"@every 5", "failed to parse duration @every 5: time: missing unit in duration \"5\""},
        {"@every 5d", "failed to parse duration @every 5d: time: unknown unit \"d\" in duration \"5d\""},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct cron c;
        struct str why = STR_NONE;
        if (cron_read(&a, str_of(rows[i].schedule), &c, &why))
            test_failed(__FILE__, __LINE__, "%s is taken", rows[i].schedule);
        CHECK_STR(why, str_of(rows[i].why));
        CHECK(!format_ok(format_cron, str_of(rows[i].schedule)));
    }
    CHECK(format_ok(format_cron, S("+5 */100 1,,2 jan-DEC SUN")));
}

static struct val cronjob_in(struct arena *a, const char *zone)
{
    struct val any, v;
    struct err err = ERR;
    struct decode_notes notes = {.arena = a};
    struct str yaml = arena_fmt(
        a,
        "{apiVersion: batch/v1, kind: CronJob, metadata: {name: c, namespace: test, resourceVersion: '1', uid: u}, "
        "spec: {schedule: '0 3 * * *', timeZone: %s, jobTemplate: {spec: {template: {spec: {restartPolicy: Never, "
        "containers: [{name: c, image: i}]}}}}}}",
        zone);
    CHECK_OK(yaml_decode(a, yaml, &any, &err), err);
    CHECK_OK(type_decode_val(a, K(CronJob)->type, &any, &v, &notes, &err), err);
    decode_notes_fini(&notes);
    kind_default(a, K(CronJob), &v);
    return v;
}

static bool zone_is_refused(struct arena *a, const struct val *v, const struct val *old)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    AUTO(field_errors_fini) struct field_errors e = {.arena = a};
    kind_validate(K(CronJob), S(""), v, old, &e);
    field_errors_text(&e, &text);
    return str_has(strbuf_str(&text), S("unknown time zone"));
}

TEST(cron_a_zone_that_went_away_lets_the_rest_be_changed)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val mars = cronjob_in(&a, "Mars/Olympus"), utc = cronjob_in(&a, "UTC");
    CHECK(zone_is_refused(&a, &mars, NULL));
    CHECK(zone_is_refused(&a, &mars, &utc));
    CHECK(!zone_is_refused(&a, &mars, &mars));
}
