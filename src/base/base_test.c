#include "base/clock.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/test.h"
#include <errno.h>

TEST(strbuf_stops_at_its_maximum_and_says_so_once)
{
    AUTO(strbuf_fini)
    struct strbuf b = STRBUF(5);
    strbuf_addz(&b, "hello");
    CHECK(!b.over);
    strbuf_addz(&b, "!");
    CHECK(b.over);
    CHECK_STR(strbuf_str(&b), S("hello"));
    strbuf_drop(&b, 2);
    CHECK_STR(strbuf_str(&b), S("llo"));
    strbuf_addz(&b, "x");
    CHECK_STR(strbuf_str(&b), S("llo"));
}

TEST(str_cut_gives_every_part)
{
    struct str rest = S("a//b"), part;
    CHECK(str_cut(&rest, '/', &part) && str_eq(part, S("a")));
    CHECK(str_cut(&rest, '/', &part) && str_eq(part, S("")));
    CHECK(str_cut(&rest, '/', &part) && str_eq(part, S("b")));
    CHECK(!str_cut(&rest, '/', &part));
}

TEST(numbers_are_read_whole_or_not_at_all)
{
    int64_t v;
    CHECK(str_to_i64(S("-9223372036854775808"), INT64_MIN, INT64_MAX, &v) && v == INT64_MIN);
    CHECK(!str_to_i64(S("9223372036854775808"), INT64_MIN, INT64_MAX, &v));
    CHECK(!str_to_i64(S("12x"), 0, 100, &v) && !str_to_i64(S(""), 0, 100, &v) && !str_to_i64(S("101"), 0, 100, &v));
    CHECK(!str_to_i64(S("-1"), 0, 100, &v) && !str_to_i64(S("+1"), 0, 100, &v));
}

TEST(base64_is_strict)
{
    static const struct {
        struct str plain, text;
    } rows[] = {{S_INIT(""), S_INIT("")},
                {S_INIT("f"), S_INIT("Zg==")},
                {S_INIT("fo"), S_INIT("Zm8=")},
                {S_INIT("foobar"), S_INIT("Zm9vYmFy")}};
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(strbuf_fini)
        struct strbuf b = STRBUF(100);
        strbuf_add_base64(&b, rows[i].plain.p, rows[i].plain.n);
        CHECK_STR(strbuf_str(&b), rows[i].text);
        strbuf_reset(&b);
        CHECK(strbuf_add_unbase64(&b, rows[i].text));
        CHECK_STR(strbuf_str(&b), rows[i].plain);
    }
    static const char *const bad[] = {"Z", "Zg", "Zg=", "Zh==", "Zg==Zg==", "Z g=", "===="};
    for (size_t i = 0; i < countof(bad); i++) {
        AUTO(strbuf_fini)
        struct strbuf b = STRBUF(100);
        CHECK(!strbuf_add_unbase64(&b, str_of(bad[i])));
    }
}

TEST(times_read_back_and_nonsense_is_refused)
{
    int64_t ns;
    CHECK(time_parse(S("2026-02-28T23:59:59.5+01:30"), &ns));
    struct arena a = ARENA;
    CHECK_STR(time_text(&a, ns), S("2026-02-28T22:29:59Z"));
    CHECK_STR(time_text_micro(&a, ns), S("2026-02-28T22:29:59.500000Z"));
    arena_fini(&a);
    static const char *const bad[] = {"2026-02-29T00:00:00Z",
                                      "2026-13-01T00:00:00Z",
                                      "2026-01-01",
                                      "2026-01-01T24:00:00Z",
                                      "2026-01-01T00:00:00",
                                      "2026-01-01T00:00:00.Z",
                                      ""};
    for (size_t i = 0; i < countof(bad); i++)
        CHECK(!time_parse(str_of(bad[i]), &ns));
    int64_t first, last;
    CHECK(time_parse(S("0001-01-01T00:00:00Z"), &first) && time_parse(S("9999-12-31T23:59:59Z"), &last));
    CHECK(last + ns_of_seconds(INT64_MAX) > last && first + ns_of_seconds(INT64_MIN) < first);
    CHECK(clock_real() - first > 0 && ns_of_seconds(3) == 3 * NS_PER_S);
}

TEST(map_keeps_order_through_deletion_and_growth)
{
    AUTO(map_fini)
    struct map m = MAP;
    char key[32];
    for (long i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof key, "k%ld", i);
        CHECK(!map_put(&m, str_of(key), (void *)(i + 1)));
        if (i % 3 == 0)
            CHECK(map_del(&m, str_of(key)) == (void *)(i + 1));
    }
    long last = 0, n = 0;
    map_each (e, &m) {
        CHECK((long)e->value > last && ((long)e->value - 1) % 3 != 0);
        last = (long)e->value;
        n++;
    }
    CHECK_INT(n, map_len(&m));
    CHECK(!map_get(&m, S("k3")) && map_get(&m, S("k4")) == (void *)5);
}

struct thing {
    struct heap_node node;
    int key;
};

static bool thing_less(const struct heap_node *a, const struct heap_node *b)
{
    return container_of(a, const struct thing, node)->key < container_of(b, const struct thing, node)->key;
}

TEST(heap_gives_the_smallest_after_any_removal)
{
    struct heap h = {.less = thing_less};
    struct thing things[100] = {0};
    for (int i = 0; i < 100; i++) {
        things[i].key = i * 37 % 100;
        heap_add(&h, &things[i].node);
    }
    for (int i = 0; i < 100; i += 2)
        heap_del(&h, &things[i].node);
    things[1].key = -1;
    heap_moved(&h, &things[1].node);
    int last = -2, n = 0;
    for (struct heap_node *top; (top = heap_top(&h)); n++) {
        CHECK(container_of(top, struct thing, node)->key > last);
        last = container_of(top, struct thing, node)->key;
        heap_del(&h, top);
    }
    CHECK_INT(n, 50);
    heap_fini(&h);
}

TEST(errors_carry_their_http_status_and_their_path)
{
    struct err err = ERR;
    CHECK(!err_set(&err, E_INVALID, "must be positive"));
    CHECK(!err_wrap(&err, "%s", "port"));
    CHECK_STR(str_of(err.text), S("port: must be positive"));
    CHECK_INT(err_http(err.kind), 422);
    CHECK_INT(err_kind_of(S("Conflict"), 409), E_CONFLICT);
    errno = ENOENT;
    CHECK(!err_errno(&err, "open %s", "/x"));
    CHECK_STR(str_of(err.text), S("open /x: No such file or directory"));
    CHECK_INT(err.kind, E_NOT_FOUND);
}

TEST(faults_fire_once_at_the_armed_place)
{
    fault_at(2);
    CHECK(!fault("a", EIO));
    CHECK(fault("b", ENOSPC) && errno == ENOSPC);
    CHECK(!fault("c", EIO) && fault_fired());
}

TEST(utf8_is_checked_strictly)
{
    CHECK(str_utf8_ok(S("h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80")));
    CHECK(!str_utf8_ok(S("\xc0\xaf")) && !str_utf8_ok(S("\xed\xa0\x80")) && !str_utf8_ok(S("\xf4\x90\x80\x80")));
    CHECK(!str_utf8_ok(S("\xe2\x82")) && !str_utf8_ok(S("\x80")));
    CHECK(!str_utf8_ok(S("\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91"))); /* nothing but tails */
}

TEST(what_a_terminal_would_obey_is_shown)
{
    static const struct {
        struct str from;
        const char *shown;
    } cases[] = {
        {S_INIT("plain, \tna\xc3\xafve \xe2\x82\xac \xf0\x9f\x9a\xa4\n"),
         "plain, \tna\xc3\xafve \xe2\x82\xac \xf0\x9f\x9a\xa4\n"},
        {S_INIT("\033[2Jgone"), "^[[2Jgone"},
        {S_INIT("good\rbad"), "good\\rbad"},
        {S_INIT("\a\b\0\x7f"), "^G^H^@^?"},
        {S_INIT("\xc2\x9b"
                "31m"),
         "\\u009b31m"},
        {S_INIT("\x9b"
                "31m\xff"),
         "\\x9b31m\\xff"},
        {S_INIT("\xe2\x80\xae"
                "gpj.exe\xe2\x81\xa6"),
         "\\u202egpj.exe\\u2066"},
        {S_INIT("cut \xe2\x82"), "cut \\xe2\\x82"},
        {S_INIT("\xc1\x9b\xed\xa0\x80"), "\\xc1\\x9b\\xed\\xa0\\x80"},
        {S_INIT(""), ""},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        strbuf_add_shown(&b, cases[i].from);
        CHECK_STR(strbuf_str(&b), str_of(cases[i].shown));
    }
    for (unsigned c = 0; c < 256; c++) { /* whatever bytes: nothing is left that is obeyed */
        char raw[3] = {'a', (char)c, 'b'};
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        strbuf_add_shown(&b, (struct str){raw, 3});
        for (size_t i = 0; i < b.n; i++)
            CHECK((b.p[i] >= ' ' && b.p[i] < 0x7f) || b.p[i] == '\n' || b.p[i] == '\t');
    }
    for (unsigned c = 0x80; c < 256; c += c == 0xc1 ? 0xf5 - 0xc1 : 1) { /* begins nothing, whatever is behind it */
        char raw[] = "?\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80";
        uint32_t code;
        raw[0] = (char)c;
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        CHECK(!str_rune(str_of(raw), &code));
        strbuf_add_shown(&b, str_of(raw));
        for (size_t i = 0; i < b.n; i++)
            CHECK(b.p[i] >= ' ' && b.p[i] < 0x7f);
    }
}

static PRINTF(2, 3) void log_gives(const char *want, const char *fmt, ...)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    va_list args;
    va_start(args, fmt);
    log_text(&b, fmt, args);
    va_end(args);
    CHECK_STR(strbuf_str(&b), str_of(want));
}

TEST(values_in_a_log_end_where_the_format_says)
{
    log_gives("pod=a/b error=\"no such file\" retry_s=1", "pod=%s/" STR_FMT " error=\"%s\" retry_s=%d", "a",
              STR_ARG(S("b")), "no such file", 1);
    log_gives("error=\"cannot \\\"x\\\"\\n\\tor \\\\\" level=\\", "error=\"%s\" level=\\", "cannot \"x\"\n\tor \\");
    log_gives("error=\"a \\\" forged=\\\"yes\" at=3", "error=\"%s\" at=%u", "a \" forged=\"yes", 3u);
    log_gives("error=\"read \\\"f\\\": no\"", "error=\"read %s: %.*s\"", "\"f\"", 2, "nothing");
    /* what needs quotes gets them, where it is the whole value */
    log_gives("path=/a name=\"two words\" of=\"\\\"\"", "path=%s name=%s of=" STR_FMT, "/a", "two words",
              STR_ARG(S("\"")));
    log_gives("it says: two words", "it says: %s", "two words");
    log_gives("a=1 b=-5000000000 c=18446744073709551615 d=7 e=0x2a f=007 g=  1.50 h=x 100%",
              "a=%d b=%lld c=%llu d=%zu e=%#x f=%03d g=%*.*f h=%c 100%%", 1, -5000000000LL, ~0ULL, (size_t)7, 42u, 7,
              6, 2, 1.5, 'x');
    log_gives("none= ", "none=%s " STR_FMT, "", STR_ARG(STR_NONE));
    char much[LOG_VALUE_MAX + 2], want[LOG_VALUE_MAX + 32];
    memset(much, 'y', sizeof much - 1);
    much[sizeof much - 1] = 0;
    (void)snprintf(want, sizeof want, "error=\"%.*s...\" more=1", LOG_VALUE_MAX, much);
    log_gives(want, "error=\"%s\" more=%d", much, 1);
}
