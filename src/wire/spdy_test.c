#include "base/test.h"
#include "wire/spdy.h"

/* Two ends and what they saw; bytes are carried between them in pieces. */
struct end {
    struct spdy *s;
    char name;
    struct strbuf got;
};
static struct end ends[2]; /* client, server */
static struct strbuf seen;
static struct http_headers no_fields;

static struct end *end_of(struct spdy *s)
{
    return spdy_arg(s);
}
static void stream_opened(struct spdy *s, uint32_t id, const struct http_headers *h)
{
    strbuf_addf(&seen, "%c open %u " STR_FMT "=" STR_FMT ";", end_of(s)->name, id, STR_ARG(h->p[0].name),
                STR_ARG(h->p[0].value));
    spdy_reply(s, id, &no_fields, false);
}
static void stream_replied(struct spdy *s, uint32_t id, const struct http_headers *h)
{
    strbuf_addf(&seen, "%c reply %u %zu;", end_of(s)->name, id, h->n);
}
static void data_came(struct spdy *s, uint32_t id, struct str b)
{
    strbuf_add(&end_of(s)->got, b);
    spdy_consumed(s, id, b.n);
}
static void stream_ended(struct spdy *s, uint32_t id)
{
    strbuf_addf(&seen, "%c end %u;", end_of(s)->name, id);
}
static void stream_reset(struct spdy *s, uint32_t id, int status)
{
    strbuf_addf(&seen, "%c reset %u %d;", end_of(s)->name, id, status);
}
static size_t rooms;
static void stream_room(UNUSED struct spdy *s, UNUSED uint32_t id)
{
    rooms++;
}
static void session_goaway(struct spdy *s)
{
    strbuf_addf(&seen, "%c goaway;", end_of(s)->name);
}

static void ends_begin(void)
{
    static const struct spdy_fns fns = {stream_opened, stream_replied, data_came,     stream_ended,
                                        stream_reset,  stream_room,    session_goaway};
    seen = STRBUF(1 << 20);
    for (int i = 0; i < 2; i++) {
        ends[i] = (struct end){.name = "cs"[i], .got = STRBUF(64 << 20)};
        ends[i].s = spdy_new(&(struct spdy_config){.server = i, .fns = fns, .arg = &ends[i]});
    }
}
static void ends_finish(void)
{
    for (int i = 0; i < 2; i++) {
        spdy_free(ends[i].s);
        strbuf_fini(&ends[i].got);
    }
    strbuf_fini(&seen);
}
static void ends_carry(size_t piece)
{
    struct err err = ERR;
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < 2; i++) {
            AUTO(strbuf_fini) struct strbuf b = *spdy_output(ends[i].s);
            *spdy_output(ends[i].s) = STRBUF(b.max);
            for (size_t at = 0; at < b.n; at += piece)
                CHECK_OK(spdy_read(ends[1 - i].s, str_sub(strbuf_str(&b), at, at + piece), &err), err);
            more |= b.n > 0;
        }
    }
}

TEST(spdy_streams_open_carry_and_end)
{
    static const size_t pieces[] = {1, 3, 100, 1 << 20};
    for (size_t i = 0; i < countof(pieces); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        ends_begin();
        struct http_headers h = {0};
        http_header_add(&a, &h, S("StreamType"), S("error"));
        http_header_add(&a, &h, S("port"), S("8080"));
        uint32_t error = spdy_open(ends[0].s, &h, true);
        h.p[0].value = S("data");
        uint32_t data = spdy_open(ends[0].s, &h, false);
        CHECK(error == 1 && data == 3);
        spdy_send(ends[0].s, data, S("ping"));
        ends_carry(pieces[i]);
        spdy_send(ends[1].s, data, S("pong"));
        spdy_end(ends[1].s, data);
        spdy_end(ends[1].s, error);
        spdy_end(ends[0].s, data);
        spdy_goaway(ends[0].s);
        ends_carry(pieces[i]);
        CHECK_STR(strbuf_str(&seen),
                  S("s open 1 streamtype=error;s end 1;s open 3 streamtype=data;c reply 1 0;c reply 3 0;"
                    "s end 3;s goaway;c end 3;c end 1;"));
        CHECK_STR(strbuf_str(&ends[1].got), S("ping"));
        CHECK_STR(strbuf_str(&ends[0].got), S("pong"));
        CHECK_INT(spdy_room(ends[1].s, data), 0);
        CHECK_INT(spdy_open(ends[0].s, &h, false), 0); /* after goaway */
        ends_finish();
    }
}

TEST(spdy_resets_reach_the_other_side)
{
    AUTO(arena_fini) struct arena a = ARENA;
    ends_begin();
    struct http_headers h = {0};
    http_header_add(&a, &h, S("a"), S("b"));
    uint32_t id = spdy_open(ends[0].s, &h, false);
    ends_carry(7);
    spdy_reset(ends[1].s, id, 5);
    spdy_send(ends[0].s, id, S("too late")); /* crosses it: passed over */
    ends_carry(7);
    CHECK_STR(strbuf_str(&seen), S("s open 1 a=b;c reply 1 0;c reset 1 5;"));
    CHECK_INT(ends[1].got.n, 0);
    ends_finish();
}

TEST(spdy_windows_are_kept_where_they_are_announced)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    ends_begin();
    /* SETTINGS: one entry, INITIAL_WINDOW_SIZE 1000 */
    static const char settings[] = "\x80\x03\x00\x04\x00\x00\x00\x0c\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x03\xe8";
    struct http_headers h = {0};
    http_header_add(&a, &h, S("a"), S("b"));
    uint32_t id = spdy_open(ends[0].s, &h, false);
    CHECK_INT(spdy_room(ends[0].s, id), SPDY_CHUNK);
    CHECK_OK(spdy_read(ends[0].s, (struct str){settings, sizeof settings - 1}, &err), err);
    CHECK_INT(spdy_room(ends[0].s, id), 1000);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096);
    CHECK(strbuf_room(&b, 1000));
    strbuf_used(&b, 1000);
    spdy_send(ends[0].s, id, strbuf_str(&b));
    CHECK_INT(spdy_room(ends[0].s, id), 0);
    static const char update[] = "\x80\x03\x00\x09\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x10";
    CHECK_OK(spdy_read(ends[0].s, (struct str){update, sizeof update - 1}, &err), err);
    CHECK_INT(rooms, 1);
    CHECK_INT(spdy_room(ends[0].s, id), 16);
    ends_finish();
}

TEST(spdy_pings_come_back)
{
    struct err err = ERR;
    ends_begin();
    static const char ping[] = "\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01";
    CHECK_OK(spdy_read(ends[1].s, (struct str){ping, sizeof ping - 1}, &err), err);
    CHECK_STR(strbuf_str(spdy_output(ends[1].s)), ((struct str){ping, sizeof ping - 1}));
    ends_finish();
}

TEST(spdy_a_broken_session_says_goaway)
{
    static const char *bad[] = {
        "\x80\x02\x00\x06\x00\x00\x00\x04....",                     /* version 2 */
        "\x00\x00\x00\x09\x00\x00\x00\x01x",                        /* data of no stream */
        "\x80\x03\x00\x01\x00\x00\x00\x0c\x00\x00\x00\x01........", /* a header block that is none */
    };
    static const size_t sizes[] = {12, 9, 20};
    for (size_t i = 0; i < countof(bad); i++) {
        struct err err = ERR;
        ends_begin();
        CHECK(!spdy_read(ends[1].s, (struct str){bad[i], sizes[i]}, &err));
        CHECK(str_starts(str_of(err.text), S("SPDY: ")));
        CHECK(str_starts(strbuf_str(spdy_output(ends[1].s)), ((struct str){"\x80\x03\x00\x07", 4})));
        CHECK(!spdy_read(ends[1].s, S("x"), &err));
        ends_finish();
    }
}
