#include "base/clock.h"
#include "base/test.h"
#include "base/zone.h"

static int64_t time_at(const char *text)
{
    int64_t ns = 0;
    CHECK(time_parse(str_of(text), &ns));
    return ns / NS_PER_S;
}

static struct zone *zone_ruled(const char *rule)
{
    struct err err = ERR;
    struct zone *z = zone_of_rule(str_of(rule), &err);
    CHECK_OK(z, err);
    return z;
}

TEST(zone_rules_say_when_clocks_change)
{
    static const struct {
        const char *rule, *time;
        int64_t offset;
    } rows[] = {
        {"UTC0", "2024-07-01T00:00:00Z", 0},
        {"<+0530>-5:30", "2024-07-01T00:00:00Z", 19800},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "2024-03-31T00:59:59Z", 3600},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "2024-03-31T01:00:00Z", 7200},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "2024-10-27T00:59:59Z", 7200},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "2024-10-27T01:00:00Z", 3600},
        {"EST5EDT", "2024-03-10T06:59:59Z", -18000}, /* dates as in America */
        {"EST5EDT", "2024-03-10T07:00:00Z", -14400},
        {"EST5EDT,M3.2.0,M11.1.0", "2024-11-03T05:59:59Z", -14400},
        {"EST5EDT,M3.2.0,M11.1.0", "2024-11-03T06:00:00Z", -18000},
        {"AEST-10AEDT,M10.1.0,M4.1.0/3", "2024-01-15T00:00:00Z", 39600}, /* summer goes over the year's end */
        {"AEST-10AEDT,M10.1.0,M4.1.0/3", "2024-07-15T00:00:00Z", 36000},
        {"IST-1GMT0,M10.5.0,M3.5.0/1", "2024-07-15T00:00:00Z", 3600}, /* winter is the other time */
        {"IST-1GMT0,M10.5.0,M3.5.0/1", "2024-12-15T00:00:00Z", 0},
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2024-03-31T00:59:59Z", -7200}, /* on the day before */
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2024-03-31T01:00:00Z", -3600},
        {"XST0XDT,J60,J100", "2024-03-01T02:00:00Z", 3600}, /* March 1, in a leap year too */
        {"XST0XDT,J60,J100", "2024-03-01T01:59:59Z", 0},
        {"XST0XDT,59,100", "2024-02-29T02:00:00Z", 3600},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(zone_free) struct zone *z = zone_ruled(rows[i].rule);
        if (zone_offset(z, time_at(rows[i].time)) != rows[i].offset)
            test_failed(__FILE__, __LINE__, "%s at %s: %lld", rows[i].rule, rows[i].time,
                        (long long)zone_offset(z, time_at(rows[i].time)));
    }
    CHECK_INT(zone_offset(NULL, time_at("2024-07-01T00:00:00Z")), 0);
}

TEST(zone_rules_that_are_none_are_refused)
{
    static const char *const rules[] = {"",
                                        "X0",
                                        "UTC",
                                        "UTC25",
                                        "EST5EDT,",
                                        "EST5EDT,M3.2",
                                        "EST5EDT,M13.2.0,M11.1.0",
                                        "<UTC0",
                                        "EST5EDT,J0,J5",
                                        "EST5EDT,M3.2.0,M11.1.0x",
                                        "EST5EDT;M3",
                                        "EST5EDT,M3.2.0/168,M11.1.0"};
    for (size_t i = 0; i < countof(rules); i++) {
        struct err err = ERR;
        if (zone_of_rule(str_of(rules[i]), &err))
            test_failed(__FILE__, __LINE__, "%s is taken", rules[i]);
        CHECK(err.text[0]);
    }
}

TEST(zone_clocks_that_skip_or_repeat_an_hour)
{
    AUTO(zone_free) struct zone *z = zone_ruled("EST5EDT,M3.2.0,M11.1.0");
    struct tm skipped = {.tm_year = 124, .tm_mon = 2, .tm_mday = 10, .tm_hour = 2, .tm_min = 30};
    CHECK_INT(zone_time(z, skipped), time_at("2024-03-10T01:30:00-05:00"));
    struct tm twice = {.tm_year = 124, .tm_mon = 10, .tm_mday = 3, .tm_hour = 1, .tm_min = 30};
    CHECK_INT(zone_time(z, twice), time_at("2024-11-03T01:30:00-04:00"));
    struct tm beyond = {.tm_year = 124, .tm_mon = 11, .tm_mday = 32};
    CHECK_INT(zone_time(z, beyond), time_at("2025-01-01T00:00:00-05:00"));
    struct tm civil = zone_civil(z, time_at("2024-11-03T06:10:00Z"));
    CHECK_INT(civil.tm_hour, 1);
    CHECK_INT(civil.tm_mday, 3);
    CHECK_INT(civil.tm_wday, 0);
}

/* A file of version 2: one shift of an hour at `from`, a first block without anything, and the footer. */
static void file_make(struct strbuf *b, char version, int64_t from, const char *footer)
{
    static const char zeros[64];
    const unsigned char narrow[24] = {[19] = 1, [23] = 4}, wide[24] = {[15] = 1, [19] = 2, [23] = 4};
    strbuf_addf(b, "TZif%c", version);
    strbuf_add(b, (struct str){zeros, 15});
    strbuf_add(b, (struct str){(const char *)narrow, 24});
    strbuf_add(b, (struct str){zeros, 6});
    strbuf_add(b, (struct str){"LMT", 4});
    strbuf_addf(b, "TZif%c", version);
    strbuf_add(b, (struct str){zeros, 15});
    strbuf_add(b, (struct str){(const char *)wide, 24});
    for (int i = 56; i >= 0; i -= 8)
        strbuf_addc(b, (char)((uint64_t)from >> i));
    strbuf_addc(b, 1);
    strbuf_add(b, (struct str){zeros, 6});
    strbuf_add(b, (struct str){"\0\0\x0e\x10\0\0", 6});
    strbuf_add(b, (struct str){"LMT", 4});
    strbuf_addf(b, "\n%s\n", footer);
}

TEST(zone_files_are_read_with_their_footers)
{
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf file = STRBUF(1000);
    file_make(&file, '2', time_at("2000-01-01T00:00:00Z"), "");
    AUTO(zone_free) struct zone *plain = zone_read(strbuf_str(&file), &err);
    CHECK_OK(plain, err);
    CHECK_INT(zone_offset(plain, time_at("1999-12-31T23:59:59Z")), 0);
    CHECK_INT(zone_offset(plain, time_at("2000-01-01T00:00:00Z")), 3600);
    CHECK_INT(zone_offset(plain, time_at("2100-01-01T00:00:00Z")), 3600);
    strbuf_reset(&file);
    file_make(&file, '4', time_at("2000-01-01T00:00:00Z"), "EST5EDT");
    AUTO(zone_free) struct zone *ruled = zone_read(strbuf_str(&file), &err);
    CHECK_OK(ruled, err);
    CHECK_INT(zone_offset(ruled, time_at("1999-12-31T23:59:59Z")), 0);
    CHECK_INT(zone_offset(ruled, time_at("2100-07-01T00:00:00Z")), -14400);
    for (size_t n = 0; n < file.n; n++) { /* cut anywhere, it is no file of a zone */
        struct zone *z = zone_read(str_sub(strbuf_str(&file), 0, n), &err);
        if (z)
            test_failed(__FILE__, __LINE__, "%zu of %zu bytes are taken", n, file.n);
    }
    file.p[4] = '1'; /* who says version 1 has nothing but the first block */
    AUTO(zone_free) struct zone *old = zone_read(strbuf_str(&file), &err);
    CHECK_OK(old, err);
    CHECK_INT(zone_offset(old, time_at("2100-07-01T00:00:00Z")), 0);
}

TEST(zone_names_stay_below_their_folder)
{
    static const char *const good[] = {"UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"};
    static const char *const bad[] = {"", "/etc/passwd", "../UTC", "Europe/../../x", "a\\b", " UTC", "UTC ", "a\nb"};
    for (size_t i = 0; i < countof(good); i++)
        CHECK(zone_name_ok(str_of(good[i])));
    for (size_t i = 0; i < countof(bad); i++)
        CHECK(!zone_name_ok(str_of(bad[i])));
}
