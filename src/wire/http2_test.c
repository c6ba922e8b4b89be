/* HTTP/2 where its sessions differ from others; what they have in common is told by http_session_test.c. */
#include "base/test.h"
#include "wire/http1.h"
#include "wire/http2.h"
#include "wire/http_client.h"
#include "wire/http_server.h"

static bool field_add(struct http2_fields *f, const char *name, const char *value)
{
    return http2_fields_add(f, str_of(name), str_of(value));
}

TEST(http2_heads_are_put_together)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct http2_fields f = {0};
    struct http2_head h;
    http2_fields_begin(&f);
    CHECK(field_add(&f, ":method", "GET") && field_add(&f, ":path", "/x") && field_add(&f, ":authority", "h:1"));
    CHECK(field_add(&f, "cookie", "a=1") && field_add(&f, "x", "") && field_add(&f, "cookie", "b=2"));
    http2_fields_take(&f, &a, &h);
    CHECK_STR(h.method, S("GET"));
    CHECK_STR(h.target, S("/x"));
    CHECK_STR(h.authority, S("h:1"));
    CHECK_INT(h.headers.n, 2);
    CHECK_STR(http_header(&h.headers, S("cookie")), S("a=1; b=2"));
    http2_fields_begin(&f);
    CHECK(field_add(&f, ":status", "204"));
    http2_fields_take(&f, &a, &h);
    CHECK_INT(h.status, 204);
    http2_fields_fini(&f);
}

TEST(http2_heads_have_the_bounds_of_others)
{
    static char large[8192];
    struct http2_fields f = {0};
    memset(large, 'x', sizeof large - 1);
    http2_fields_begin(&f);
    int n = 0;
    while (field_add(&f, "a", large)) { /* as an index of one byte may say, again and again */
        n++;
        CHECK(f.too_large == (n > 7) && f.text.n <= HTTP1_HEAD_MOST);
    }
    CHECK_INT(n, 31);
    http2_fields_begin(&f);
    for (int i = 0; i < HTTP1_FIELDS_MOST + 4; i++)
        CHECK(field_add(&f, "a", "b") && !f.too_large);
    CHECK(field_add(&f, "a", "b") && f.too_large);
    http2_fields_fini(&f);
}

TEST(http2_heads_that_go_are_of_no_connection)
{
    static const char *const rows[][3] = {{"Content-Type", " text/plain ", "content-type=text/plain;"},
                                          {"Connection", "close", ""},
                                          {"Transfer-Encoding", "chunked", ""},
                                          {"upgrade", "x", ""},
                                          {"Keep-Alive", "1", ""},
                                          {"proxy-connection", "1", ""},
                                          {"Warning", "a\r\nX: b", "warning=a  X: b;"}};
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(http2_nvs_fini) struct http2_nvs n = {0};
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        strbuf_addz(&b, "");
        http2_nvs_add(&n, str_of(rows[i][0]), str_of(rows[i][1]));
        array_each (it, &n.all)
            strbuf_addf(&b, "%.*s=%.*s;", (int)it->namelen, (const char *)it->name, (int)it->valuelen,
                        (const char *)it->value);
        CHECK_STR(strbuf_str(&b), str_of(rows[i][2]));
    }
}

/* ---- a call that the server has not looked at */

static struct {
    struct loop *loop;
    struct listener door;
    struct http_server *server;
    struct stream *first; /* the one that says goodbye at once */
    const char *goodbye;
    size_t ngoodbye;
    int connections, asked, status;
} w;

static void first_data(struct stream *s, struct str b)
{
    if (b.n && w.first) {
        stream_write(s, (struct str){w.goodbye, w.ngoodbye});
        stream_close(TAKE(w.first));
    }
}
static void first_closed(struct stream *s, UNUSED struct err *err)
{
    stream_free(s);
    w.first = NULL;
}
static const struct stream_fns first_fns = {.data = first_data, .closed = first_closed};

static void door_accepted(UNUSED struct listener *l, int own_fd, UNUSED const struct addr *peer)
{
    if (w.connections++ == 0)
        w.first = stream_new(w.loop, own_fd, NULL, &first_fns, NULL);
    else
        http_server_accept(w.server, own_fd);
}
static void request_came(struct http_request *r, UNUSED void *arg)
{
    w.asked++;
    http_respond(r, 201, S(""), r->body);
}
static void call_done(UNUSED struct http_call *k, const struct http_answer *a, struct err *err)
{
    w.status = a ? a->status : -(int)err->kind;
    loop_stop(w.loop);
}

#define NUMBER4(n)         "\0\0\0" n
#define SETTINGS           "\0\0\0\4\0\0\0\0\0"
#define GOAWAY(last, why)  "\0\0\10\7\0\0\0\0\0" NUMBER4(last) NUMBER4(why)
#define RESET(stream, why) "\0\0\4\3\0" NUMBER4(stream) NUMBER4(why)

TEST(http2_a_call_that_was_not_looked_at_is_made_again)
{
    static const struct http_session_type *const served[] = {&http2_session, NULL};
    static const struct http_client_session_type *const spoken[] = {&http2_client_session, NULL};
    static const struct http_call_fns fns = {.done = call_done};
    static const struct {
        const char *bytes;
        size_t n;
        int connections; /* 1: it is not safe to ask again */
    } rows[] = {
        {SETTINGS GOAWAY("\0", "\0"), 26, 2}, /* none was looked at */
        {SETTINGS RESET("\1", "\7"), 22, 2},  /* refused */
        {SETTINGS GOAWAY("\1", "\0"), 26, 1}, /* the first one may have been */
        {SETTINGS RESET("\1", "\2"), 22, 1},  /* an error */
        {"HTTP/1.1 400 No\r\n\r\n", 19, 1},   /* of another version */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct err err = ERR;
        struct addr at;
        AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
        memset(&w, 0, sizeof w);
        w.loop = loop_new(&err);
        w.goodbye = rows[i].bytes;
        w.ngoodbye = rows[i].n;
        CHECK_OK(addr_parse(S("127.0.0.1:0"), &at, &err), err);
        int fd = socket_listen(&at, 0, &err);
        CHECK_OK(fd >= 0 && socket_addr(fd, &at, &err), err);
        addr_text(&at, &text);
        listener_start(&w.door, w.loop, fd, door_accepted);
        w.server = http_server_new(
            w.loop, &(struct http_server_config){.service = {.request = request_came}, .sessions = served});
        struct http_client *c = http_client_new(
            w.loop, &(struct http_client_config){.address = strbuf_str(&text), .sessions = spoken});
        (void)http_send(c, &(struct http_outgoing){.method = S("POST"), .target = S("/"), .body = S("x")}, &fns,
                        NULL);
        loop_run(w.loop);
        CHECK_INT(w.connections, rows[i].connections);
        CHECK_INT(w.asked, rows[i].connections - 1);
        CHECK_INT(w.status, rows[i].connections == 2 ? 201 : -E_UNAVAILABLE);
        http_client_free(c);
        http_server_free(w.server);
        listener_stop(&w.door);
        stream_free(TAKE(w.first));
        loop_run(w.loop);
        loop_free(w.loop);
    }
}
