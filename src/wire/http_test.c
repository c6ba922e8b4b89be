#include "base/fault.h"
#include "base/test.h"
#include "sys/cert.h"
#include "wire/http_client.h"
#include "wire/http_server.h"

/* One server with a small service, and whoever talks to it. */
struct world {
    struct loop *loop;
    struct http_server *server;
    struct http_client *client;
    struct timer limit;
    char address[64];
    struct strbuf log;  /* what the service and the calls saw */
    struct strbuf said; /* what a raw client heard */
    struct stream *raw;
    struct http_request *held;
    struct http_call *call;
    int done, want_done;
};
static struct world w;

static void too_late(UNUSED struct timer *t)
{
    test_failed(__FILE__, __LINE__, "the story does not end; log: %s", w.log.p ? w.log.p : "");
}

static void log_say(const char *fmt, ...) PRINTF(1, 2);
static void log_say(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    strbuf_addvf(&w.log, fmt, args);
    va_end(args);
}

static void on_gone(struct http_request *r)
{
    log_say("gone;");
    w.held = NULL;
    if (r->status)
        http_end(r);
    else
        http_respond(r, 500, S(""), S("")); /* to nobody */
    loop_stop(w.loop);
}

static size_t big_left;
static void big_more(struct http_request *r)
{
    static char piece[10000];
    while (big_left && !http_over_high(r)) {
        size_t n = MIN(big_left, sizeof piece);
        http_write(r, (struct str){piece, n});
        big_left -= n;
    }
    if (big_left == 0)
        http_end(r);
}

static size_t up_bytes;
static void up_data(struct http_request *r, struct str b)
{
    up_bytes += b.n;
    if (up_bytes == b.n) { /* the first piece: the rest waits a while */
        http_body_pause(r, true);
        w.held = r;
    }
}
static void up_end(struct http_request *r)
{
    char text[32];
    http_respond(r, 200, S("text/plain"), (struct str){text, (size_t)snprintf(text, sizeof text, "%zu", up_bytes)});
}

static void echo_data(struct stream *s, struct str b)
{
    stream_write(s, b);
}
static void echo_ended(struct stream *s)
{
    stream_close(s);
}
static void echo_closed(struct stream *s, UNUSED struct err *err)
{
    stream_free(s);
}
static const struct stream_fns echo_fns = {NULL, echo_data, NULL, echo_ended, echo_closed};

static void service_request(struct http_request *r, UNUSED void *arg)
{
    if (str_eq(r->path, S("/hello"))) {
        http_set(r, S("X-Who"), r->peer->tls.verified ? r->peer->tls.cn : S("nobody"));
        http_respond(r, 200, S("text/plain"), S("hello"));
    } else if (str_eq(r->path, S("/echo"))) {
        log_say(STR_FMT " " STR_FMT ";", STR_ARG(r->method), STR_ARG(r->query));
        http_respond(r, 200, S("text/plain"), r->body);
    } else if (str_eq(r->path, S("/pieces"))) {
        r->on_gone = on_gone;
        http_start(r, 200, S("text/plain"), -1);
        http_write(r, S("one "));
        http_write(r, S("two"));
        http_end(r);
    } else if (str_eq(r->path, S("/hold"))) {
        w.held = r;
        r->on_gone = on_gone;
        http_start(r, 200, S("text/plain"), -1);
        http_write(r, S("wait"));
    } else if (str_eq(r->path, S("/never"))) {
        w.held = r;
        r->on_gone = on_gone;
    } else if (str_eq(r->path, S("/big"))) {
        big_left = 20u << 20;
        r->on_drained = big_more;
        r->on_gone = on_gone;
        http_start(r, 200, S(""), 20 << 20);
        big_more(r);
    } else if (str_eq(r->path, S("/up"))) {
        r->on_data = up_data;
        r->on_data_end = up_end;
    } else if (str_eq(r->path, S("/short"))) {
        r->on_gone = on_gone;
        http_start(r, 200, S(""), 10);
        http_write(r, S("five!"));
        http_end(r);
    } else if (str_eq(r->path, S("/upgrade"))) {
        struct stream *s = http_upgrade(r, S("echo"));
        if (s)
            stream_fns_set(s, &echo_fns, NULL);
    } else {
        http_respond(r, 404, S("text/plain"), S("no"));
    }
}

static enum http_body service_head(struct http_request *r, UNUSED void *arg)
{
    return str_eq(r->path, S("/up")) ? HTTP_STREAM : HTTP_COLLECT;
}

static struct http_server_config config_usual(void)
{
    return (struct http_server_config){.service = {.head = service_head, .request = service_request},
                                       .body_most = 100000};
}

static void world_begin_with(const struct http_server_config *config, struct tls_client *tls)
{
    struct err err = ERR;
    struct addr at;
    w = (struct world){.loop = loop_new(&err), .log = STRBUF(1 << 20), .said = STRBUF(64 << 20)};
    timer_init(&w.limit, w.loop, too_late);
    timer_set(&w.limit, 20 * NS_PER_S);
    CHECK_OK(addr_parse(S("127.0.0.1:0"), &at, &err), err);
    int fd = socket_listen(&at, 0, &err);
    CHECK(fd >= 0);
    CHECK_OK(socket_addr(fd, &at, &err), err);
    (void)snprintf(w.address, sizeof w.address, "127.0.0.1:%d", addr_port(&at));
    w.server = http_server_new(w.loop, config);
    http_server_listen(w.server, fd);
    w.client = http_client_new(w.loop, &(struct http_client_config){.address = str_of(w.address), .tls = tls});
}
static void world_begin(void)
{
    struct http_server_config c = config_usual();
    world_begin_with(&c, NULL);
}
static void world_end(void)
{
    stream_free(w.raw);
    http_client_free(w.client);
    if (w.server) {
        http_server_free(w.server);
        if (w.held) { /* still its handler's to end */
            w.held->status = w.held->status ? w.held->status : 500;
            http_end(w.held);
        }
    }
    timer_stop(&w.limit);
    loop_run(w.loop);
    loop_free(w.loop);
    strbuf_fini(&w.log);
    strbuf_fini(&w.said);
}

static void call_done(UNUSED struct http_call *k, const struct http_answer *a, struct err *err)
{
    if (a)
        log_say("%d " STR_FMT ";", a->status, STR_ARG(a->body.n > 100 ? S("(much)") : a->body));
    else
        log_say("%s;", err_reason(err->kind));
    w.call = NULL;
    if (++w.done >= w.want_done)
        loop_stop(w.loop);
}
static const struct http_call_fns done_fns = {.done = call_done};

static void call_send(const char *method, const char *target, struct str body)
{
    w.want_done++;
    w.call = http_send(w.client,
                       &(struct http_outgoing){.method = str_of(method), .target = str_of(target), .body = body},
                       &done_fns, NULL);
}
#define CHECK_LOG(want) CHECK_STR(strbuf_str(&w.log), S(want))

TEST(http_requests_and_answers)
{
    world_begin();
    call_send("GET", "/hello", S(""));
    loop_run(w.loop);
    call_send("GET", "/pieces", S(""));
    loop_run(w.loop);
    call_send("POST", "/echo?a=b", S("body"));
    loop_run(w.loop);
    call_send("HEAD", "/hello", S(""));
    loop_run(w.loop);
    call_send("GET", "/none", S(""));
    loop_run(w.loop);
    CHECK_LOG("200 hello;200 one two;POST a=b;200 body;200 ;404 no;");
    CHECK_INT(http_server_counts(w.server)->accepted, 1); /* one kept connection */
    CHECK_INT(http_server_counts(w.server)->answered, 5);
    CHECK_INT(http_server_counts(w.server)->requests, 0);
    world_end();
}

TEST(http_many_at_once)
{
    world_begin();
    for (int i = 0; i < 200; i++)
        call_send("GET", "/hello", S(""));
    loop_run(w.loop);
    CHECK_INT(w.done, 200);
    CHECK_INT(http_server_counts(w.server)->accepted, 64);
    world_end();
}

TEST(http_a_big_answer_is_sent_as_it_is_taken)
{
    world_begin();
    call_send("GET", "/big", S(""));
    loop_run(w.loop);
    CHECK_LOG("200 (much);");
    world_end();
}

TEST(http_a_short_answer_is_not_taken_for_whole)
{
    world_begin();
    call_send("GET", "/short", S(""));
    loop_run(w.loop);
    CHECK_LOG("ServiceUnavailable;");
    world_end();
}

TEST(http_a_body_over_the_limit_is_refused)
{
    world_begin();
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    for (int i = 0; i < 100001; i++)
        strbuf_addc(&b, 'x');
    call_send("POST", "/echo", strbuf_str(&b));
    loop_run(w.loop);
    CHECK_LOG("413 the body is over the limit of 100000 bytes\n;");
    CHECK_INT(http_server_counts(w.server)->refused, 1);
    world_end();
}

static struct timer later;
static void resume_up(UNUSED struct timer *t)
{
    CHECK(w.held && up_bytes < 1000000);
    http_body_pause(w.held, false);
    w.held = NULL;
}
static void resume_when_held(UNUSED struct timer *t)
{
    if (w.held)
        timer_init(&later, w.loop, resume_up);
    timer_set(&later, 20 * NS_PER_MS);
}
TEST(http_a_streamed_body_waits_while_paused)
{
    world_begin();
    up_bytes = 0;
    w.want_done = 1;
    struct http_call *k = http_send(
        w.client, &(struct http_outgoing){.method = S("PUT"), .target = S("/up"), .body_streamed = true}, &done_fns,
        NULL);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    for (int i = 0; i < 1000; i++)
        strbuf_addc(&b, 'x');
    for (int i = 0; i < 3000; i++)
        http_call_write(k, strbuf_str(&b));
    http_call_end(k);
    timer_init(&later, w.loop, resume_when_held);
    timer_set(&later, 0);
    loop_run(w.loop);
    CHECK_LOG("200 3000000;");
    timer_stop(&later);
    world_end();
}

static void streamed_head(UNUSED struct http_call *k, const struct http_answer *a)
{
    log_say("head %d;", a->status);
}
static void streamed_data(struct http_call *k, struct str b)
{
    log_say(STR_FMT ";", STR_ARG(b));
    http_cancel(k); /* from inside its own callback */
}
static const struct http_call_fns streamed_fns = {.head = streamed_head, .data = streamed_data, .done = call_done};
TEST(http_cancelling_a_call_tells_the_handler)
{
    world_begin();
    (void)http_send(w.client,
                    &(struct http_outgoing){.method = S("GET"), .target = S("/hold"), .answer_streamed = true},
                    &streamed_fns, NULL);
    loop_run(w.loop);
    CHECK_LOG("head 200;wait;gone;");
    world_end();
}

static void free_all(UNUSED struct http_call *k, const struct http_answer *a, UNUSED struct err *err)
{
    log_say("%d;", a ? a->status : 0);
    http_client_free(TAKE(w.client));
    loop_stop(w.loop);
}
static const struct http_call_fns free_fns = {.done = free_all};
TEST(http_a_client_may_be_freed_in_its_callback)
{
    static const char *const targets[] = {"/hello", "/short"};
    for (size_t i = 0; i < countof(targets); i++) {
        world_begin();
        for (int k = 0; k < 3; k++) /* two that are never told */
            (void)http_send(w.client, &(struct http_outgoing){.method = S("GET"), .target = str_of(targets[i])},
                            &free_fns, NULL);
        loop_run(w.loop);
        CHECK_STR(strbuf_str(&w.log), i ? S("0;") : S("200;"));
        world_end();
    }
}

TEST(http_an_answer_that_does_not_come_in_time)
{
    bool heard = false;
    for (int64_t wait = 30 * NS_PER_MS; !heard; wait *= 2) { /* where the time was over before it was asked: longer */
        world_begin();
        w.want_done = 1;
        struct http_outgoing o = {.method = S("GET"), .target = S("/never"), .head_ns = wait};
        (void)http_send(w.client, &o, &done_fns, NULL);
        loop_run(w.loop);
        if (w.held)
            loop_run(w.loop); /* its handler's gone stops it */
        heard = str_has(strbuf_str(&w.log), S("gone;"));
        CHECK_STR(strbuf_str(&w.log), heard ? S("Timeout;gone;") : S("Timeout;"));
        world_end();
    }
}

TEST(http_every_call_out_may_fail_once)
{
    for (int n = 1; n < 100; n++) {
        world_begin();
        fault_at(n);
        call_send("GET", "/hello", S(""));
        loop_run(w.loop);
        call_send("POST", "/echo?1", S("body"));
        loop_run(w.loop);
        bool fired = fault_fired();
        fault_at(0);
        CHECK_INT(w.done, 2); /* each call ends once, whatever failed */
        CHECK(fired || str_eq(strbuf_str(&w.log), S("200 hello;POST 1;200 body;")));
        size_t carried = 0; /* a POST is never carried out twice */
        for (struct str s = strbuf_str(&w.log); str_has(s, S("POST 1;")); carried++)
            s = str_sub(s, (size_t)str_find(s, S("POST 1;")) + 1, s.n);
        CHECK(carried <= 1);
        strbuf_reset(&w.log);
        call_send("GET", "/hello", S("")); /* and nothing is left behind that hurts the next */
        loop_run(w.loop);
        CHECK_LOG("200 hello;");
        CHECK_INT(http_server_counts(w.server)->requests, 0);
        world_end();
        if (!fired)
            return;
    }
    CHECK(!"there was always one more call out");
}

/* ---- raw */

static void raw_opened(struct stream *s)
{
    stream_write(s, str_of(stream_arg(s)));
}
static void raw_data(UNUSED struct stream *s, struct str b)
{
    strbuf_add(&w.said, b);
}
static void raw_ended(struct stream *s)
{
    stream_free(s);
    w.raw = NULL;
    loop_stop(w.loop);
}
static void raw_closed(struct stream *s, UNUSED struct err *err)
{
    raw_ended(s);
}
static const struct stream_fns raw_fns = {raw_opened, raw_data, NULL, raw_ended, raw_closed};

static void raw_start(const char *bytes)
{
    w.raw = stream_connect(w.loop, &(struct stream_connect){.address = str_of(w.address)}, &raw_fns,
                           (void *)(uintptr_t)bytes);
}

static void without_dates(struct strbuf *b)
{
    ptrdiff_t at;
    while ((at = str_find(strbuf_str(b), S("Date: "))) >= 0) {
        struct str s = strbuf_str(b);
        ptrdiff_t end = str_find(str_sub(s, (size_t)at, s.n), S("\n"));
        memmove(b->p + at, b->p + at + end + 1, s.n - (size_t)at - (size_t)end);
        b->n -= (size_t)end + 1;
    }
}

TEST(http_pipelined_requests_are_answered_in_order)
{
    world_begin();
    raw_start("GET /hello HTTP/1.1\r\nHost: h\r\n\r\nPOST /echo?x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab"
              "GET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    loop_run(w.loop);
    without_dates(&w.said);
    CHECK_STR(
        strbuf_str(&w.said),
        S("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Who: nobody\r\nContent-Length: 5\r\n\r\nhello"
          "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nab"
          "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"));
    world_end();
}

/* How many are answered in one turn of the loop, at most. */
struct turns {
    struct soon soon;
    size_t before, most;
};
static void turn_over(struct soon *soon)
{
    struct turns *t = container_of(soon, struct turns, soon);
    t->most = MAX(t->most, w.log.n - t->before);
    t->before = w.log.n;
    soon_set(soon);
}
TEST(http_pipelined_requests_of_one_connection_leave_turns_to_others)
{
    static const char one[] = "GET /echo?x HTTP/1.1\r\nHost: h\r\n\r\n", told[] = "GET x;";
    AUTO(strbuf_fini) struct strbuf many = STRBUF(1 << 20);
    world_begin();
    for (int i = 0; i < 499; i++)
        strbuf_addz(&many, one);
    strbuf_addz(&many, "GET /echo?x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    raw_start(many.p);
    struct turns t = {.before = 0};
    soon_init(&t.soon, w.loop, turn_over);
    soon_set(&t.soon);
    loop_run(w.loop);
    soon_stop(&t.soon);
    CHECK_INT((int64_t)(w.log.n / (sizeof told - 1)), 500);
    CHECK(t.most / (sizeof told - 1) <= 32);
    world_end();
}

static void raw_opened_and_over(struct stream *s)
{
    raw_opened(s);
    stream_end(s);
}
TEST(http_who_asks_twice_and_ends_is_gone_twice)
{
    static const struct stream_fns fns = {raw_opened_and_over, raw_data, NULL, NULL, raw_closed};
    world_begin();
    const char *asked = "GET /hold HTTP/1.1\r\nHost: h\r\n\r\nGET /hold HTTP/1.1\r\nHost: h\r\n\r\n";
    w.raw = stream_connect(w.loop, &(struct stream_connect){.address = str_of(w.address)}, &fns,
                           (void *)(uintptr_t)asked);
    while (!str_eqz(strbuf_str(&w.log), "gone;gone;")) /* the second is served after its client has ended */
        CHECK(loop_run_once(w.loop, -1));
    world_end();
}

TEST(http_bad_requests_are_refused_in_words)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"GET / HTTP/1.1\nHost: h\n\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
         "HTTP/1.1 400 Bad Request\r\n"},
        {"PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/3.0\r\nHost: h\r\n\r\n", "HTTP/1.1 505 HTTP Version Not Supported\r\n"},
        {"PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n", "HTTP/1.1 413 Content Too Large\r\n"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        world_begin();
        raw_start(rows[i].in);
        loop_run(w.loop);
        if (!str_starts(strbuf_str(&w.said), str_of(rows[i].want)))
            test_failed(__FILE__, __LINE__, "%zu: %s", i, w.said.p);
        CHECK_INT(http_server_counts(w.server)->refused, 1);
        CHECK_INT(http_server_counts(w.server)->requests, 0);
        world_end();
    }
}

TEST(http_expect_continue_is_answered)
{
    world_begin();
    raw_start(
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nab");
    loop_run(w.loop);
    without_dates(&w.said);
    CHECK(str_starts(strbuf_str(&w.said), S("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")));
    world_end();
}

TEST(http_old_clients_hear_until_the_end)
{
    world_begin();
    raw_start("GET /pieces HTTP/1.0\r\n\r\n");
    loop_run(w.loop);
    without_dates(&w.said);
    CHECK_STR(strbuf_str(&w.said),
              S("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\none two"));
    world_end();
}

TEST(http_slow_heads_and_idle_connections_are_closed)
{
    struct http_server_config c = config_usual();
    c.head_ns = 40 * NS_PER_MS;
    c.idle_ns = 40 * NS_PER_MS;
    world_begin_with(&c, NULL);
    raw_start("GET /hel");
    loop_run(w.loop);
    CHECK(str_starts(strbuf_str(&w.said), S("HTTP/1.1 408 ")));
    strbuf_reset(&w.said);
    raw_start("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"); /* then nothing */
    loop_run(w.loop);
    CHECK(str_starts(strbuf_str(&w.said), S("HTTP/1.1 200 ")) && str_ends(strbuf_str(&w.said), S("hello")));
    strbuf_reset(&w.said);
    raw_start(""); /* nothing at all */
    loop_run(w.loop);
    CHECK_INT(w.said.n, 0);
    CHECK_INT(http_server_counts(w.server)->connections, 0);
    CHECK_INT(http_server_counts(w.server)->timeouts, 1);
    world_end();
}

TEST(http_a_stalled_body_is_cut)
{
    struct http_server_config c = config_usual();
    c.stall_ns = 40 * NS_PER_MS;
    world_begin_with(&c, NULL);
    raw_start("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
    loop_run(w.loop);
    CHECK_INT(http_server_counts(w.server)->connections, 0);
    CHECK_INT(http_server_counts(w.server)->requests, 0);
    world_end();
}

TEST(http_connections_over_the_limit_wait)
{
    struct http_server_config c = config_usual();
    c.connections_most = 3;
    world_begin_with(&c, NULL);
    for (int i = 0; i < 30; i++) {
        w.want_done++;
        static const struct http_header closing[] = {{S_INIT("Connection"), S_INIT("close")}};
        struct http_headers h = {(struct http_header *)(uintptr_t)closing, 1, 1};
        (void)http_send(w.client, &(struct http_outgoing){.method = S("GET"), .target = S("/hello"), .headers = &h},
                        &done_fns, NULL);
    }
    loop_run(w.loop);
    CHECK_INT(w.done, 30);
    world_end();
}

static void server_drained(UNUSED struct http_server *s, UNUSED void *arg)
{
    log_say("drained;");
    if (++w.done >= w.want_done)
        loop_stop(w.loop);
}
static void drain_now(UNUSED struct timer *t)
{
    if (!w.held) {
        timer_set(&later, NS_PER_MS);
        return;
    }
    http_server_drain(w.server, server_drained, NULL);
    http_write(w.held, S("!"));
    http_end(w.held);
    w.held = NULL;
}
TEST(http_draining_answers_what_is_under_way)
{
    world_begin();
    call_send("GET", "/hello", S("")); /* leaves an idle connection */
    loop_run(w.loop);
    call_send("GET", "/hold", S(""));
    w.want_done++;
    timer_init(&later, w.loop, drain_now);
    timer_set(&later, 0);
    loop_run(w.loop);
    CHECK(str_has(strbuf_str(&w.log), S("200 wait!;")) && str_has(strbuf_str(&w.log), S("drained;")));
    CHECK_INT(http_server_counts(w.server)->connections, 0);
    call_send("GET", "/hello", S(""));
    loop_run(w.loop);
    CHECK(str_ends(strbuf_str(&w.log), S("ServiceUnavailable;")));
    world_end();
}

/* ---- a kept connection that the server had closed */

static struct stream *rude;
static int rude_connections;
static void rude_data(struct stream *s, struct str b)
{
    log_say("[" STR_FMT "]", STR_ARG(str_sub(b, 0, 6)));
    if (rude) { /* the second request on a connection: hangs up instead */
        stream_free(rude);
        rude = NULL;
        return;
    }
    stream_write(s, S("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nr"));
    rude = rude_connections == 1 ? s : NULL;
}
static const struct stream_fns rude_fns = {NULL, rude_data, NULL, NULL, echo_closed};
static struct stream *rude_open[4];
static void rude_accept(struct listener *l, int fd, UNUSED const struct addr *peer)
{
    rude_open[rude_connections++] = stream_new(l->loop, fd, NULL, &rude_fns, NULL);
}
TEST(http_a_stale_connection_is_tried_again_once_where_that_is_safe)
{
    static const struct {
        const char *method, *want;
    } rows[] = {{"GET", "[GET /a]200 r;[GET /b][GET /b]200 r;"},
                {"POST", "[GET /a]200 r;[POST /]ServiceUnavailable;"}};
    for (size_t i = 0; i < countof(rows); i++) {
        world_begin();
        struct err err = ERR;
        struct addr at;
        struct listener l;
        rude = NULL;
        rude_connections = 0;
        CHECK_OK(addr_parse(S("127.0.0.1:0"), &at, &err), err);
        int fd = socket_listen(&at, 0, &err);
        CHECK(fd >= 0);
        CHECK_OK(socket_addr(fd, &at, &err), err);
        listener_start(&l, w.loop, fd, rude_accept);
        AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
        addr_text(&at, &text);
        http_client_free(w.client);
        w.client = http_client_new(w.loop, &(struct http_client_config){.address = strbuf_str(&text)});
        call_send("GET", "/a", S(""));
        loop_run(w.loop);
        call_send(rows[i].method, "/b", S(""));
        loop_run(w.loop);
        CHECK_STR(strbuf_str(&w.log), str_of(rows[i].want));
        listener_stop(&l);
        if (rude_connections > 1)
            stream_free(rude_open[1]);
        world_end();
    }
}

/* ---- upgrades */

static struct stream *up_stream;
static void up_echo(struct stream *s, struct str b)
{
    strbuf_add(&w.said, b);
    if (w.said.n < 10)
        return;
    stream_close(s);
    loop_stop(w.loop);
}
static const struct stream_fns up_fns = {NULL, up_echo, NULL, NULL, echo_closed};
static void was_upgraded(UNUSED struct http_call *k, const struct http_answer *a, struct stream *s)
{
    log_say("%d " STR_FMT ";", a->status, STR_ARG(http_header(&a->headers, S("upgrade"))));
    up_stream = s;
    stream_fns_set(s, &up_fns, NULL);
    stream_write(s, S("0123456789"));
}
static const struct http_call_fns upgrade_fns = {.upgraded = was_upgraded, .done = call_done};
TEST(http_upgrades_hand_the_stream_over)
{
    world_begin();
    (void)http_send(w.client,
                    &(struct http_outgoing){.method = S("GET"), .target = S("/upgrade"), .upgrade = S("echo")},
                    &upgrade_fns, NULL);
    loop_run(w.loop);
    CHECK_LOG("101 echo;");
    CHECK_STR(strbuf_str(&w.said), S("0123456789"));
    CHECK_INT(http_server_counts(w.server)->connections, 0);
    strbuf_reset(&w.said);
    raw_start("GET /upgrade HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly bytes");
    while (!str_ends(strbuf_str(&w.said), S("\r\n\r\nearly bytes")))
        CHECK(loop_run_once(w.loop, -1));
    world_end();
}

static void switching_data(struct stream *s, UNUSED struct str b)
{
    stream_write(s, S("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n0123456789"));
}
static const struct stream_fns switching_fns = {NULL, switching_data, NULL, NULL, echo_closed};
static void switching_accept(struct listener *l, int fd, UNUSED const struct addr *peer)
{
    rude = stream_new(l->loop, fd, NULL, &switching_fns, NULL);
}
TEST(http_nobody_switches_protocols_unasked)
{
    world_begin();
    struct err err = ERR;
    struct addr at;
    struct listener l;
    CHECK_OK(addr_parse(S("127.0.0.1:0"), &at, &err), err);
    int fd = socket_listen(&at, 0, &err);
    CHECK(fd >= 0);
    CHECK_OK(socket_addr(fd, &at, &err), err);
    listener_start(&l, w.loop, fd, switching_accept);
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    addr_text(&at, &text);
    http_client_free(w.client);
    w.client = http_client_new(w.loop, &(struct http_client_config){.address = strbuf_str(&text)});
    (void)http_send(w.client, &(struct http_outgoing){.method = S("GET"), .target = S("/")}, &upgrade_fns, NULL);
    loop_run(w.loop);
    CHECK_LOG("ServiceUnavailable;");
    listener_stop(&l);
    stream_free(rude);
    rude = NULL;
    world_end();
}

/* ---- TLS */

TEST(http_over_tls_with_a_client_certificate)
{
    struct err err = ERR;
    AUTO(key_free) struct cert_key *ca_key = key_new(), *key = key_new();
    AUTO(strbuf_fini) struct strbuf ca = STRBUF(STRBUF_TEXT), cert = STRBUF(STRBUF_TEXT), pem = STRBUF(STRBUF_TEXT);
    int64_t end = clock_real() + 3600 * NS_PER_S;
    CHECK_OK(cert_make(&(struct cert_spec){.cn = S("ca"), .ca = true, .not_after = end}, ca_key, STR_NONE, NULL, &ca,
                       &err),
             err);
    const struct str ip = S_INIT("127.0.0.1");
    struct cert_spec spec = {
        .cn = S("both"), .ips = &ip, .nips = 1, .server = true, .client = true, .not_after = end};
    CHECK_OK(cert_make(&spec, key, strbuf_str(&ca), ca_key, &cert, &err), err);
    key_pem(key, &pem);
    struct http_server_config c = config_usual();
    AUTO(tls_server_free)
    struct tls_server *tls = c.tls = tls_server_new(
        &(struct tls_server_config){.cert = strbuf_str(&cert), .key = strbuf_str(&pem), .client_ca = strbuf_str(&ca)},
        &err);
    AUTO(tls_client_free)
    struct tls_client *client = tls_client_new(
        &(struct tls_client_config){.ca = strbuf_str(&ca), .cert = strbuf_str(&cert), .key = strbuf_str(&pem)}, &err);
    CHECK(tls && client);
    world_begin_with(&c, client);
    call_send("GET", "/hello", S(""));
    loop_run(w.loop);
    call_send("GET", "/big", S(""));
    loop_run(w.loop);
    CHECK_LOG("200 hello;200 (much);");
    raw_start("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"); /* plain where TLS is spoken */
    loop_run(w.loop);
    CHECK_STR(strbuf_str(&w.said),
              S("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"));
    world_end();
}
