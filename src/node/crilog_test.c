#include "base/clock.h"
#include "base/test.h"
#include "node/crilog.h"

TEST(crilog_lines)
{
    static const struct {
        const char *line, *want; /* "STREAM TAG TEXT"; NULL: no line of a log */
    } rows[] = {
        {"2026-01-01T00:00:00.123456789Z stdout F hello", "out F hello"},
        {"2026-01-01T00:00:00Z stderr P part", "err P part"},
        {"2026-01-01T00:00:00Z stdout F ", "out F "},
        {"2026-01-01T00:00:00Z stdout F", "out F "},
        {"2026-01-01T00:00:00Z stdout F  two  spaces ", "out F  two  spaces "},
        {"2026-01-01T00:00:00Z stdout F:x tagged", "out F tagged"}, /* tags are separated by ':' */
        {"2026-01-01T00:00:00Z stdin F x", NULL},
        {"2026-01-01T00:00:00Z stdout X x", NULL},
        {"2026-01-01T00:00:00Z stdout", NULL},
        {"2026-01-01T00:00:00Z", NULL},
        {" stdout F x", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct crilog_line l;
        struct arena a = ARENA;
        bool ok = crilog_parse(str_of(rows[i].line), &l);
        CHECK_STR(ok ? arena_fmt(&a, "%s %s " STR_FMT, l.err ? "err" : "out", l.full ? "F" : "P", STR_ARG(l.text))
                     : S("-"),
                  str_of(rows[i].want ? rows[i].want : "-"));
        arena_fini(&a);
    }
}

TEST(crilog_shows_what_was_asked_for)
{
    static const char *const log[] = {
        "2026-01-01T00:00:01Z stdout P one ",
        "2026-01-01T00:00:02Z stdout F line",
        "2026-01-01T00:00:03Z stderr F bad",
        "2026-01-01T00:00:04Z stdout F last",
    };
    int64_t third;
    CHECK(time_parse(S("2026-01-01T00:00:03Z"), &third));
    const struct {
        struct crilog_filter f;
        const char *want;
    } rows[] = {
        {{.tail = -1, .bytes = -1}, "one line\nbad\nlast\n"},
        {{.only_out = true}, "one line\nlast\n"},
        {{.only_err = true}, "bad\n"},
        {{.since = third}, "bad\nlast\n"},
        {{.timestamps = true},
         "2026-01-01T00:00:01Z one line\n2026-01-01T00:00:03Z bad\n2026-01-01T00:00:04Z last\n"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(strbuf_fini) struct strbuf out = STRBUF(STRBUF_TEXT);
        bool at_start = true;
        for (size_t k = 0; k < countof(log); k++) {
            struct crilog_line l;
            CHECK(crilog_parse(str_of(log[k]), &l));
            crilog_show(&l, &rows[i].f, at_start, &out);
            at_start = l.full;
        }
        CHECK_STR(strbuf_str(&out), str_of(rows[i].want));
    }
}
