#include "base/test.h"
#include "node/health.h"
#include "sys/stream.h"
#include <netinet/in.h>

TEST(what_is_answered_is_as_kube_proxy_has_it)
{
    AUTO(strbuf_fini) struct strbuf out = STRBUF(STRBUF_TEXT);
    health_answer(S("shop"), S("web"), 2, true, &out);
    CHECK_STR(
        strbuf_str(&out),
        S("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
          "X-Load-Balancing-Endpoint-Weight: 2\r\nContent-Length: 111\r\nConnection: close\r\n\r\n"
          "{\n\t\"service\": {\n\t\t\"namespace\": \"shop\",\n\t\t\"name\": \"web\"\n\t},\n\t\"localEndpoints\": 2,\n"
          "\t\"serviceProxyHealthy\": true\n}"));
    strbuf_reset(&out);
    health_answer(S("shop"), S("web"), 0, true, &out);
    CHECK(str_starts(strbuf_str(&out), S("HTTP/1.1 503 Service Unavailable\r\n")));
    strbuf_reset(&out);
    health_answer(S("shop"), S("web"), 2, false, &out);
    CHECK(str_starts(strbuf_str(&out), S("HTTP/1.1 503 ")) && str_has(strbuf_str(&out), S("Healthy\": false")));
}

struct asker {
    struct stream *stream;
    struct strbuf got;
    bool closed, refused;
};

static void asker_opened(struct stream *s)
{
    stream_write(s, S("anything"));
}

static void asker_data(struct stream *s, struct str bytes)
{
    strbuf_add(&((struct asker *)stream_arg(s))->got, bytes);
}

static void asker_ended(struct stream *s)
{
    stream_end(s);
}

static void asker_closed(struct stream *s, struct err *err)
{
    struct asker *a = stream_arg(s);
    a->closed = true;
    a->refused = err->kind != E_NONE && !a->got.n;
}

static const struct stream_fns asker_fns = {
    .opened = asker_opened, .data = asker_data, .ended = asker_ended, .closed = asker_closed};

static void port_ask(struct loop *l, uint16_t port, struct asker *a)
{
    AUTO(arena_fini) struct arena arena = ARENA;
    *a = (struct asker){.got = STRBUF(STRBUF_TEXT)};
    a->stream = stream_connect(l, &(struct stream_connect){.address = arena_fmt(&arena, "127.0.0.1:%u", port)},
                               &asker_fns, a);
    int64_t end = clock_mono() + 5 * NS_PER_S;
    while (!a->closed && clock_mono() < end)
        (void)loop_run_once(l, 100 * NS_PER_MS);
    CHECK(a->closed);
    stream_free(a->stream);
}

/* A port that is free just now. */
static uint16_t free_port(void)
{
    struct err err = ERR;
    struct addr a, at;
    CHECK_OK(addr_parse(S("127.0.0.1:0"), &a, &err), err);
    AUTO(fd_close) int fd = socket_listen(&a, 0, &err);
    CHECK_OK(fd >= 0 && socket_addr(fd, &at, &err), err);
    return (uint16_t)addr_port(&at);
}

TEST(a_port_answers_while_its_service_has_it)
{
    struct err err = ERR;
    struct loop *l = loop_new(&err);
    struct health *h = health_new(l);
    struct asker a;
    uint16_t port = free_port(), other = free_port();
    health_rules(h, true);
    health_put(h, S("shop"), S("web"), port, 0);
    port_ask(l, port, &a);
    CHECK(str_starts(strbuf_str(&a.got), S("HTTP/1.1 503 ")));
    strbuf_fini(&a.got);
    health_put(h, S("shop"), S("web"), port, 3);
    port_ask(l, port, &a);
    CHECK(str_starts(strbuf_str(&a.got), S("HTTP/1.1 200 ")) &&
          str_has(strbuf_str(&a.got), S("\"localEndpoints\": 3")));
    strbuf_fini(&a.got);
    health_put(h, S("shop"), S("web"), other, 3);
    port_ask(l, port, &a);
    CHECK(a.refused);
    strbuf_fini(&a.got);
    port_ask(l, other, &a);
    CHECK(str_starts(strbuf_str(&a.got), S("HTTP/1.1 200 ")));
    strbuf_fini(&a.got);
    health_put(h, S("shop"), S("web"), 0, 0);
    port_ask(l, other, &a);
    CHECK(a.refused);
    strbuf_fini(&a.got);
    health_free(h);
    while (loop_run_once(l, 0))
        ;
    loop_free(l);
}
