/* Three versions of HTTP under the same handlers and the same calls: HTTP/1.1, HTTP/2, and the toy of toy_test.c. */
#include "base/test.h"
#include "sys/cert.h"
#include "wire/toy_test.h"

/* One server with a small service, and whoever calls it. */
struct world {
    struct loop *loop;
    struct http_server *server;
    struct http_client *client;
    struct timer limit, later;
    struct strbuf log;
    struct http_request *held[8];
    size_t nheld, release_at;
    size_t up_bytes;
    struct http_call *paused;
    char address[64];
    void (*gone)(struct http_request *r); /* of /up; NULL: on_gone */
    int done, want_done;
};
static struct world w;

static void log_say(const char *fmt, ...) PRINTF(1, 2);
static void log_say(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    strbuf_addvf(&w.log, fmt, args);
    va_end(args);
}

static void too_late(UNUSED struct timer *t)
{
    test_failed(__FILE__, __LINE__, "the story does not end; log: %s", w.log.p ? w.log.p : "");
}

static void held_forget(const struct http_request *r)
{
    for (size_t i = 0; i < w.nheld; i++)
        if (w.held[i] == r)
            w.held[i] = w.held[--w.nheld];
}
static void on_gone(struct http_request *r)
{
    log_say("gone " STR_FMT ";", STR_ARG(r->path));
    held_forget(r);
    http_abort(r);
    loop_stop(w.loop);
}
static void up_data(struct http_request *r, struct str b)
{
    w.up_bytes += b.n;
    if (w.up_bytes == b.n && w.release_at) { /* the first piece: the rest waits a while */
        http_body_pause(r, true);
        w.held[w.nheld++] = r;
    }
}
static void up_end(struct http_request *r)
{
    char text[32];
    http_respond(r, 200, S("text/plain"), (struct str){text, (size_t)snprintf(text, sizeof text, "%zu", w.up_bytes)});
}

static void last_data(struct http_request *r, struct str b);
static void last_end(struct http_request *r);
static void never_end(struct http_request *r)
{
    log_say("an end of " STR_FMT ";", STR_ARG(r->path));
}

static void service_request(struct http_request *r, UNUSED void *arg)
{
    if (str_eq(r->path, S("/hello"))) {
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
    } else if (str_eq(r->path, S("/short"))) {
        r->on_gone = on_gone;
        http_start(r, 200, S(""), 10);
        http_write(r, S("five!"));
        http_end(r);
    } else if (str_eq(r->path, S("/up"))) {
        r->on_gone = w.gone ? w.gone : on_gone;
        r->on_data = up_data;
        r->on_data_end = up_end;
    } else if (str_eq(r->path, S("/last"))) {
        r->on_data = last_data;
        r->on_data_end = last_end;
    } else if (str_eq(r->path, S("/collected"))) { /* there is no body to come, whatever is done with it */
        http_body_pause(r, true);
        http_body_pause(r, false);
        r->on_data_end = never_end;
        w.held[w.nheld++] = r;
    } else if (str_eq(r->path, S("/upgrade"))) {
        struct stream *s = http_upgrade(r, S("echo"));
        if (s)
            stream_close(s);
    } else if (str_starts(r->path, S("/hold"))) {
        r->on_gone = on_gone;
        http_start(r, 200, S("text/plain"), -1);
        w.held[w.nheld++] = r;
        while (w.nheld && w.nheld == w.release_at) { /* the last first */
            struct http_request *last = w.held[--w.nheld];
            w.release_at--;
            http_write(last, last->path);
            http_end(last);
        }
        if (w.nheld)
            http_write(r, S(".")); /* something to hear */
    } else {
        http_respond(r, 404, S("text/plain"), S("no"));
    }
}
static enum http_body service_head(struct http_request *r, UNUSED void *arg)
{
    return str_eq(r->path, S("/up")) || str_eq(r->path, S("/last")) ? HTTP_STREAM : HTTP_COLLECT;
}

struct version { /* what both sides speak */
    const char *name;
    const struct http_session_type *server[3];
    const struct http_client_session_type *client[3];
};
static const struct version http1 = {"http/1.1", {&http1_session}, {&http1_client_session}},
                            http2 = {"h2", {&http2_session}, {&http2_client_session}},
                            toy = {"toy", {&toy_session}, {&toy_client_session}};
static const struct version *const versions[] = {&http1, &http2, &toy};

static void world_begin(const struct version *v, struct tls_server *tls, struct tls_client *trust)
{
    struct err err = ERR;
    struct addr at;
    w = (struct world){.loop = loop_new(&err), .log = STRBUF(1 << 20)};
    timer_init(&w.limit, w.loop, too_late);
    timer_set(&w.limit, 60 * NS_PER_S);
    CHECK_OK(addr_parse(S("127.0.0.1:0"), &at, &err), err);
    int fd = socket_listen(&at, 0, &err);
    CHECK(fd >= 0);
    CHECK_OK(socket_addr(fd, &at, &err), err);
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    addr_text(&at, &text);
    (void)snprintf(w.address, sizeof w.address, STR_FMT, STR_ARG(strbuf_str(&text)));
    w.server = http_server_new(
        w.loop, &(struct http_server_config){.service = {.head = service_head, .request = service_request},
                                             .sessions = v->server,
                                             .tls = tls,
                                             .body_most = 100000});
    http_server_listen(w.server, fd);
    w.client = http_client_new(w.loop, &(struct http_client_config){.address = strbuf_str(&text),
                                                                    .tls = trust,
                                                                    .connections_most = 1,
                                                                    .sessions = v->client[0] ? v->client : NULL});
}
static void world_end(void)
{
    http_client_free(w.client);
    http_server_free(w.server);
    while (w.nheld)
        http_abort(w.held[--w.nheld]); /* still their handlers' to end */
    timer_stop(&w.limit);
    loop_run(w.loop);
    loop_free(w.loop);
    strbuf_fini(&w.log);
    CHECK_INT(toys, 0);
}

static void call_done(UNUSED struct http_call *k, const struct http_answer *a, struct err *err)
{
    if (a)
        log_say("%d " STR_FMT ";", a->status, STR_ARG(a->body));
    else
        log_say("%s;", err_reason(err->kind));
    if (++w.done >= w.want_done)
        loop_stop(w.loop);
}
static const struct http_call_fns done_fns = {.done = call_done};

static struct http_call *call_send(const char *method, const char *target, struct str body)
{
    w.want_done++;
    return http_send(w.client,
                     &(struct http_outgoing){.method = str_of(method), .target = str_of(target), .body = body},
                     &done_fns, NULL);
}
#define CHECK_LOG(v, want)                                                                                           \
    do                                                                                                               \
        if (!str_eqz(strbuf_str(&w.log), want))                                                                      \
            test_failed(__FILE__, __LINE__, "%s: have %s, want %s", (v)->name, w.log.p, want);                       \
    while (0)

TEST(session_every_version_serves_the_same_handlers)
{
    for (size_t i = 0; i < countof(versions); i++) {
        const struct version *v = versions[i];
        world_begin(v, NULL, NULL);
        const char *const rows[][3] = {{"GET", "/hello", ""},  {"GET", "/pieces", ""}, {"POST", "/echo?a=b", "body"},
                                       {"HEAD", "/hello", ""}, {"GET", "/none", ""},   {"POST", "/short", ""},
                                       {"GET", "/hello", ""}};
        for (size_t n = 0; n < countof(rows); n++) {
            (void)call_send(rows[n][0], rows[n][1], str_of(rows[n][2]));
            loop_run(w.loop);
        }
        CHECK_LOG(v, "200 hello;200 one two;POST a=b;200 body;200 ;404 no;ServiceUnavailable;200 hello;");
        CHECK_INT(http_server_counts(w.server)->answered, 7);
        CHECK_INT(http_server_counts(w.server)->requests, 0);
        world_end();
    }
}

TEST(session_bodies_have_their_bound_in_every_version)
{
    for (size_t i = 0; i < countof(versions); i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
        while (b.n < 100001)
            strbuf_addc(&b, 'x');
        world_begin(versions[i], NULL, NULL);
        (void)call_send("POST", "/echo", strbuf_str(&b));
        loop_run(w.loop);
        CHECK(str_starts(strbuf_str(&w.log), S("413 the body is over the limit of 100000 bytes")));
        CHECK_INT(http_server_counts(w.server)->refused, 1);
        CHECK_INT(http_server_counts(w.server)->requests, 0);
        CHECK_INT(http_server_bodies(w.server), 0);
        world_end();
    }
}

static void go_on(struct timer *t)
{
    if (!w.nheld) {
        timer_set(t, 20 * NS_PER_MS);
        return;
    }
    CHECK(w.up_bytes < 3000000);
    http_body_pause(w.held[--w.nheld], false);
}
TEST(session_a_streamed_body_waits_while_paused_in_every_version)
{
    static char piece[1000];
    for (size_t i = 0; i < 2 * countof(versions); i++) {
        struct http_outgoing o = {
            .method = S("PUT"), .target = S("/up"), .body_streamed = true, .length = i % 2 ? 3000000 : 0};
        world_begin(versions[i / 2], NULL, NULL);
        w.want_done = 1;
        w.release_at = 1;
        struct http_call *k = http_send(w.client, &o, &done_fns, NULL);
        for (int n = 0; n < 3000; n++)
            http_call_write(k, (struct str){piece, sizeof piece});
        CHECK(http_call_over_high(k));
        http_call_end(k);
        timer_init(&w.later, w.loop, go_on);
        timer_set(&w.later, 0);
        loop_run(w.loop);
        CHECK_LOG(versions[i / 2], "200 3000000;");
        timer_stop(&w.later);
        world_end();
    }
}

static void last_data(struct http_request *r, UNUSED struct str b)
{
    http_body_pause(r, true);
    w.held[w.nheld++] = r;
}
static void last_end(struct http_request *r)
{
    held_forget(r);
    http_respond(r, 200, S("text/plain"), S("all"));
}
static void answer_last(struct http_call *k, UNUSED struct str b)
{
    w.paused = k;
    http_call_pause(k, true);
}
static void answer_done(struct http_call *k, const struct http_answer *a, struct err *err)
{
    w.paused = NULL;
    call_done(k, a, err);
}
static void resume_all(struct timer *t)
{
    if (w.nheld)
        http_body_pause(w.held[0], false);
    if (w.paused)
        http_call_pause(w.paused, false);
    timer_set(t, 20 * NS_PER_MS);
}
static void held_answer(UNUSED struct timer *t)
{
    http_respond(w.held[--w.nheld], 200, S("text/plain"), S("all"));
}
TEST(session_a_body_that_is_there_ends_nowhere)
{
    static const char *const ways[] = {"GET", "PUT"};
    for (size_t i = 0; i < 2 * countof(versions); i++) {
        world_begin(versions[i / 2], NULL, NULL);
        timer_init(&w.later, w.loop, held_answer);
        timer_set(&w.later, 100 * NS_PER_MS);
        (void)call_send(ways[i % 2], "/collected", str_of(i % 2 ? "some" : ""));
        loop_run(w.loop);
        CHECK_LOG(versions[i / 2], "200 all;");
        world_end();
    }
}
TEST(session_a_pause_at_the_last_byte_ends_in_every_version)
{
    static const struct http_call_fns fns = {.data = answer_last, .done = answer_done};
    for (size_t i = 0; i < countof(versions); i++) {
        world_begin(versions[i], NULL, NULL);
        timer_init(&w.later, w.loop, resume_all);
        timer_set(&w.later, 20 * NS_PER_MS);
        for (int n = 0; n < 3; n++) { /* and the line is good for the next one */
            struct http_outgoing o = {
                .method = S("PUT"), .target = S("/last"), .body = S("some"), .answer_streamed = true};
            w.want_done++;
            (void)http_send(w.client, &o, &fns, NULL);
            loop_run(w.loop);
        }
        CHECK_LOG(versions[i], "200 ;200 ;200 ;");
        CHECK_INT(http_server_counts(w.server)->accepted, 1);
        timer_stop(&w.later);
        world_end();
    }
}

static void cancel_it(struct http_call *k, struct str b)
{
    log_say(STR_FMT ";", STR_ARG(b));
    http_cancel(k);
}
TEST(session_who_cancels_is_gone_in_every_version)
{
    static const struct http_call_fns fns = {.data = cancel_it, .done = call_done};
    for (size_t i = 0; i < countof(versions); i++) {
        world_begin(versions[i], NULL, NULL);
        struct http_outgoing o = {.method = S("GET"), .target = S("/hold"), .answer_streamed = true};
        (void)http_send(w.client, &o, &fns, NULL);
        loop_run(w.loop);
        CHECK_LOG(versions[i], ".;gone /hold;");
        (void)call_send("GET", "/hello", S(""));
        loop_run(w.loop);
        CHECK_LOG(versions[i], ".;gone /hold;200 hello;");
        CHECK_INT(http_server_counts(w.server)->requests, 0);
        world_end();
    }
}

static void server_drained(UNUSED struct http_server *s, UNUSED void *arg)
{
    log_say("drained;");
    loop_stop(w.loop);
}
static void drain_when_held(struct timer *t)
{
    if (!w.nheld) {
        timer_set(t, 20 * NS_PER_MS);
        return;
    }
    http_server_drain(w.server, server_drained, NULL);
    http_end(w.held[--w.nheld]);
}
TEST(session_draining_serves_what_is_under_way_in_every_version)
{
    for (size_t i = 0; i < countof(versions); i++) {
        world_begin(versions[i], NULL, NULL);
        (void)call_send("GET", "/hold", S(""));
        w.want_done = 99;
        timer_init(&w.later, w.loop, drain_when_held);
        timer_set(&w.later, 0);
        loop_run(w.loop);
        while (!str_has(strbuf_str(&w.log), S("200 .;")))
            CHECK(loop_run_once(w.loop, -1));
        CHECK(str_has(strbuf_str(&w.log), S("drained;")));
        CHECK_INT(http_server_counts(w.server)->connections, 0);
        world_end();
    }
}

/* ---- who leaves while nobody reads its body (HTTP/1.1) */

static const struct hanging {
    const char *name, *head, *end;
    size_t size; /* what the handler does not take of it fits in the kernel: else its end is not to be seen */
    bool closes; /* or only ends its side */
    const char *want;
} hangings[] = {
    {"less than it said", "Content-Length: 300000", "", 100000, true, "gone /up;"},
    {"less than it said, and may still read", "Content-Length: 300000", "", 100000, false, "gone /up;"},
    {"a chunk and no more", "Transfer-Encoding: chunked", "", 100000, true, "gone /up;"},
    {"all of it", "Content-Length: 100000", "", 100000, false, "gone /up;HTTP/1.1 200 "},
    {"all of it in chunks", "Transfer-Encoding: chunked", "\r\n0\r\n\r\n", 100000, false, "gone /up;HTTP/1.1 200 "},
};
static const struct hanging *hanging;
static struct stream *raw;

static void raw_opened(struct stream *s)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    strbuf_addf(&b, "PUT /up HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", hanging->head);
    if (str_has(str_of(hanging->head), S("chunked")))
        strbuf_addf(&b, "%zx\r\n", hanging->size);
    for (size_t i = 0; i < hanging->size; i++)
        strbuf_addc(&b, 'x');
    strbuf_addz(&b, hanging->end);
    stream_write(s, strbuf_str(&b));
    if (hanging->closes)
        stream_close(TAKE(raw)); /* what is queued still goes out */
    else
        stream_end(s);
}
static void raw_data(UNUSED struct stream *s, struct str b)
{
    log_say(STR_FMT, STR_ARG(str_sub(b, 0, 13)));
    loop_stop(w.loop);
}
static void raw_closed(struct stream *s, UNUSED struct err *err)
{
    stream_free(s);
    raw = NULL;
}
static void raw_ended(struct stream *s)
{
    raw_closed(s, NULL);
}
static const struct stream_fns raw_fns = {raw_opened, raw_data, NULL, raw_ended, raw_closed};

static void half_gone(struct http_request *r)
{
    log_say("gone /up;");
    if (r->gone) {
        held_forget(r);
        http_abort(r);
    }
    loop_stop(w.loop);
}

TEST(session_who_leaves_while_its_body_is_paused_is_noticed)
{
    for (size_t i = 0; i < countof(hangings); i++) {
        hanging = &hangings[i];
        world_begin(&http1, NULL, NULL);
        w.release_at = 1;
        w.gone = half_gone;
        raw = stream_connect(w.loop, &(struct stream_connect){.address = str_of(w.address)}, &raw_fns, NULL);
        loop_run(w.loop);
        if (w.nheld) { /* all is there: it is served when the handler goes on */
            CHECK(w.up_bytes < hanging->size);
            http_body_pause(w.held[--w.nheld], false);
            loop_run(w.loop);
        }
        if (!str_eqz(strbuf_str(&w.log), hanging->want))
            test_failed(__FILE__, __LINE__, "%s: %s", hanging->name, w.log.p);
        stream_free(TAKE(raw));
        world_end();
    }
}

/* ---- what only a version with many exchanges on a line does */

static const struct version *const many[] = {&http2, &toy};

static void many_share(const struct version *v)
{
    world_begin(v, NULL, NULL);
    w.release_at = 5;
    const char *const targets[] = {"/hold1", "/hold2", "/hold3", "/hold4", "/hold5"};
    for (size_t i = 0; i < countof(targets); i++)
        (void)call_send("GET", targets[i], S(""));
    loop_run(w.loop);
    CHECK_LOG(v, v == &toy ? "200 /hold5;200 ./hold4;200 ./hold3;200 ./hold2;200 ./hold1;"
                           : "200 ./hold1;200 ./hold2;200 ./hold3;200 ./hold4;200 /hold5;"); /* each has its turn */
    CHECK_INT(http_server_counts(w.server)->accepted, 1);
    for (int i = 0; i < 100; i++) /* more than there is room for: they wait */
        (void)call_send("GET", "/hello", S(""));
    loop_run(w.loop);
    CHECK_INT(w.done, 105);
    CHECK_INT(http_server_counts(w.server)->accepted, 1);
    world_end();
}

TEST(session_many_exchanges_share_a_line)
{
    for (size_t i = 0; i < countof(many); i++)
        many_share(many[i]);
}

static void free_server(UNUSED struct timer *t)
{
    if (w.nheld < 3) {
        timer_set(t, 20 * NS_PER_MS);
        return;
    }
    http_server_free(TAKE(w.server));
}
static void many_are_told(const struct version *v)
{
    world_begin(v, NULL, NULL);
    for (int i = 0; i < 3; i++)
        (void)call_send("POST", "/hold", S(""));
    timer_init(&w.later, w.loop, free_server);
    timer_set(&w.later, 0);
    loop_run(w.loop);
    CHECK_LOG(v, "ServiceUnavailable;ServiceUnavailable;ServiceUnavailable;");
    CHECK_INT(w.nheld, 3); /* and to their handlers by `gone`: the server is no more, and nobody calls */
    CHECK(w.held[0]->gone && w.held[2]->gone);
    world_end();
    world_begin(v, NULL, NULL); /* the other way round: the client goes with all its calls */
    for (int i = 0; i < 3; i++)
        (void)call_send("POST", "/hold", S(""));
    while (w.nheld < 3)
        CHECK(loop_run_once(w.loop, -1));
    http_client_free(TAKE(w.client));
    while (w.nheld)
        CHECK(loop_run_once(w.loop, -1));
    CHECK_LOG(v, "gone /hold;gone /hold;gone /hold;");
    CHECK_INT(http_server_counts(w.server)->requests, 0);
    world_end();
}

TEST(session_a_line_that_breaks_is_told_to_all_on_it)
{
    for (size_t i = 0; i < countof(many); i++)
        many_are_told(many[i]);
}

TEST(session_an_upgrade_needs_a_version_that_has_it)
{
    for (size_t i = 0; i < countof(many); i++) {
        world_begin(many[i], NULL, NULL);
        (void)call_send("GET", "/upgrade", S(""));
        loop_run(w.loop);
        CHECK(str_starts(strbuf_str(&w.log), S("400 ")));
        world_end();
    }
}

/* ---- which one is spoken */

static void was_upgraded(UNUSED struct http_call *k, const struct http_answer *a, struct stream *own_s)
{
    log_say("%d;", a->status);
    stream_free(own_s);
    loop_stop(w.loop);
}

TEST(session_the_handshake_chooses_the_version)
{
    struct err err = ERR;
    AUTO(key_free) struct cert_key *key = key_new();
    AUTO(strbuf_fini) struct strbuf cert = STRBUF(STRBUF_TEXT), pem = STRBUF(STRBUF_TEXT);
    const struct str ip = S_INIT("127.0.0.1");
    struct cert_spec spec = {
        .cn = S("both"), .ca = true, .ips = &ip, .nips = 1, .not_after = clock_real() + 3600 * NS_PER_S};
    CHECK_OK(cert_make(&spec, key, STR_NONE, NULL, &cert, &err), err);
    key_pem(key, &pem);
    static const char *const offered[] = {"toy", "http/1.1", NULL};
    AUTO(tls_server_free)
    struct tls_server *tls = tls_server_new(
        &(struct tls_server_config){.cert = strbuf_str(&cert), .key = strbuf_str(&pem), .alpn = offered}, &err);
    AUTO(tls_client_free)
    struct tls_client *trust = tls_client_new(&(struct tls_client_config){.ca = strbuf_str(&cert)}, &err);
    CHECK(tls && trust);
    static const struct {
        struct version v;
        int toys; /* sessions of it, both sides */
        bool upgrade;
    } rows[] = {
        {{"both", {&toy_session, &http1_session}, {&toy_client_session, &http1_client_session}}, 2, false},
        {{"an old client", {&toy_session, &http1_session}, {&http1_client_session}}, 0, false},
        {{"one that offers nothing", {&toy_session, &http1_session}, {NULL}}, 0, false},
        {{"an upgrade", {&toy_session, &http1_session}, {&toy_client_session, &http1_client_session}}, 0, true},
    };
    static const struct http_call_fns fns = {.upgraded = was_upgraded, .done = call_done};
    for (size_t i = 0; i < countof(rows); i++) {
        world_begin(&rows[i].v, tls, trust);
        struct http_outgoing o = {.method = S("GET"), .target = S("/upgrade"), .upgrade = S("echo")};
        if (rows[i].upgrade)
            (void)http_send(w.client, &o, &fns, NULL);
        else
            (void)call_send("GET", "/hello", S(""));
        loop_run(w.loop);
        CHECK_LOG(&rows[i].v, rows[i].upgrade ? "101;" : "200 hello;");
        CHECK_INT(toys, rows[i].toys);
        world_end();
    }
}
