#include "base/test.h"
#include "wire/websocket.h"

/* A server that echoes each message with its kind, and a client. */
static struct loop *l;
static struct http_server *server;
static struct http_client *client;
static struct websocket *at_server, *at_client;
static struct strbuf seen;
static struct timer limit;
static char address[64];
static struct websocket_config server_config;
static size_t echoed;

static void too_late(UNUSED struct timer *t)
{
    test_failed(__FILE__, __LINE__, "the story does not end; seen: %s", seen.p ? seen.p : "");
}

static void server_message(struct websocket *w, int kind, struct str b)
{
    echoed += b.n;
    if (str_eq(b, S("bye")))
        websocket_close(at_server = w, 4001, S("as you wish"));
    else if (str_eq(b, S("drop")))
        websocket_free(w);
    else
        websocket_send2(w, kind, S("<"), b);
}
static void server_closed(struct websocket *w, int code, struct str reason)
{
    strbuf_addf(&seen, "server %d " STR_FMT ";", code, STR_ARG(reason));
    websocket_free(w);
    loop_stop(l);
}
static const struct websocket_fns server_fns = {server_message, NULL, server_closed};
static void service_request(struct http_request *r, UNUSED void *arg)
{
    at_server = websocket_accept(r, &server_config, &server_fns, NULL);
}

static size_t want_bytes, got_bytes;
static void client_message(struct websocket *w, int kind, struct str b)
{
    got_bytes += b.n;
    if (b.n < 100)
        strbuf_addf(&seen, "%d " STR_FMT ";", kind, STR_ARG(b));
    if (got_bytes >= want_bytes)
        loop_stop(l);
    (void)w;
}
static void client_closed(struct websocket *w, int code, struct str reason)
{
    strbuf_addf(&seen, "client %d " STR_FMT ";", code, STR_ARG(reason));
    websocket_free(w);
    at_client = NULL;
    loop_stop(l);
}
static const struct websocket_fns client_fns = {client_message, NULL, client_closed};
static void socket_opened(struct websocket *w, const struct http_answer *refused, struct err *err, UNUSED void *arg)
{
    at_client = w;
    if (w)
        strbuf_addf(&seen, "open " STR_FMT ";", STR_ARG(websocket_protocol(w)));
    else
        strbuf_addf(&seen, "%d %s;", refused ? refused->status : 0, err->text);
    loop_stop(l);
}

static void ends_make(const char *const *server_speaks, const char *const *client_speaks)
{
    struct err err = ERR;
    struct addr at;
    l = loop_new(&err);
    seen = STRBUF(1 << 20);
    got_bytes = 0;
    timer_init(&limit, l, too_late);
    timer_set(&limit, 20 * NS_PER_S);
    CHECK_OK(addr_parse(S("127.0.0.1:0"), &at, &err), err);
    int fd = socket_listen(&at, 0, &err);
    CHECK(fd >= 0);
    CHECK_OK(socket_addr(fd, &at, &err), err);
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", addr_port(&at));
    server_config.protocols = server_speaks;
    server = http_server_new(l, &(struct http_server_config){.service = {.request = service_request}});
    http_server_listen(server, fd);
    client = http_client_new(l, &(struct http_client_config){.address = str_of(address)});
    struct websocket_config c = {.protocols = client_speaks, .message_most = 4 << 20};
    (void)websocket_connect(client, S("/ws"), NULL, &c, &client_fns, NULL, socket_opened);
    loop_run(l);
}
static void ends_free(void)
{
    websocket_free(at_client);
    at_client = NULL;
    http_client_free(client);
    timer_set(&limit, 20 * NS_PER_S);
    if (at_server) /* hears of it, and frees itself */
        loop_run(l);
    http_server_free(server);
    timer_stop(&limit);
    loop_run(l);
    loop_free(l);
    strbuf_fini(&seen);
}
#define CHECK_LOG(want) CHECK_STR(strbuf_str(&seen), S(want))

static const char *const v5[] = {"v5.channel.k8s.io", "v4.channel.k8s.io", NULL},
                         *const v4[] = {"v4.channel.k8s.io", NULL}, *const other[] = {"other", NULL};

TEST(websocket_messages_go_both_ways)
{
    ends_make(v5, v4);
    want_bytes = 5;
    websocket_send(at_client, WEBSOCKET_TEXT, S("text"));
    loop_run(l);
    want_bytes = 15;
    websocket_send2(at_client, WEBSOCKET_BINARY, S("bin"), S("ary part"));
    loop_run(l);
    CHECK_LOG("open v4.channel.k8s.io;1 <text;2 <binary part;");
    ends_free();
}

TEST(websocket_messages_of_every_length)
{
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 1000000};
    ends_make(v5, v5);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(2 << 20);
    CHECK(strbuf_room(&b, 1000000));
    memset(b.p, 'x', 1000000);
    want_bytes = 0;
    for (size_t i = 0; i < countof(sizes); i++) {
        want_bytes += sizes[i] + 1;
        websocket_send(at_client, WEBSOCKET_BINARY, (struct str){b.p, sizes[i]});
    }
    loop_run(l);
    CHECK_INT(got_bytes, want_bytes);
    ends_free();
}

TEST(websocket_goodbyes)
{
    ends_make(v5, v5);
    want_bytes = SIZE_MAX;
    websocket_send(at_client, WEBSOCKET_TEXT, S("bye"));
    loop_run(l);
    CHECK_LOG("open v5.channel.k8s.io;client 4001 as you wish;");
    at_server = NULL;
    ends_free();
    ends_make(v5, v5);
    websocket_close(TAKE(at_client), 1000, S("done"));
    loop_run(l);
    CHECK_LOG("open v5.channel.k8s.io;server 1000 done;");
    at_server = NULL;
    ends_free();
    ends_make(v5, v5);
    websocket_send(at_client, WEBSOCKET_TEXT, S("drop"));
    loop_run(l);
    CHECK_LOG("open v5.channel.k8s.io;client 1006 the other side closed the connection without a goodbye;");
    at_server = NULL;
    ends_free();
}

TEST(websocket_too_big_a_message_ends_it)
{
    server_config.message_most = 1000;
    ends_make(v5, v5);
    want_bytes = SIZE_MAX;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(2 << 20);
    for (int i = 0; i < 1001; i++)
        strbuf_addc(&b, 'x');
    websocket_send(at_client, WEBSOCKET_BINARY, strbuf_str(&b));
    loop_run(l);
    if (!str_has(strbuf_str(&seen), S("client 1009")))
        loop_run(l);
    CHECK(str_has(strbuf_str(&seen), S("client 1009")));
    if (!str_has(strbuf_str(&seen), S("server 1009")))
        loop_run(l);
    CHECK(str_has(strbuf_str(&seen), S("server 1009")));
    at_server = NULL;
    ends_free();
}

TEST(websocket_no_protocol_in_common)
{
    ends_make(v5, other);
    CHECK_LOG(
        "403 WebSocket refused with 403 Forbidden: none of the offered WebSocket protocols is spoken here; these "
        "are: v5.channel.k8s.io v4.channel.k8s.io;");
    ends_free();
}
