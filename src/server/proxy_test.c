/* A client, a proxy and a target in one loop: large bodies each way, slow readers, and whoever leaves at every stage.
 */
#include "base/test.h"
#include "server/proxy.h"
#include "sys/cert.h"

#define PIECE   ((size_t)65536)
#define LARGE   ((size_t)200 << 20)
#define SLOW_BY ((size_t)16 << 20) /* of this many bytes, who reads slowly rests once */
#define IN_SIGHT                                                                                                     \
    ((size_t)32 << 20) /* on its way through both halves, sockets included: far below what goes through */

struct through {
    struct proxy proxy;
    struct list node;
};
static struct world {
    struct loop *loop;
    struct http_server *front, *target;
    struct http_client *client;
    struct timer limit, rest, soon;
    struct strbuf log;
    struct list throughs;
    struct proxy_target to;
    char front_at[128], target_at[128];
    struct http_call *call;
    struct http_request *held; /* at the target */
    struct stream *raw;        /* a connection that the target, or the client, was made to */
    /* a large body */
    size_t size, sent, got, most, rested;
    bool slow, resting, known;
    /* who leaves */
    const struct leaving *leaving;
    bool over;
} w;

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
    test_failed(__FILE__, __LINE__, "the story does not end: sent %zu, got %zu; log: %s", w.sent, w.got,
                w.log.p ? w.log.p : "");
}

/* ---- the proxy, as a service */

static bool answer_head(UNUSED struct proxy *p, const struct http_answer *a, struct http_request *h,
                        UNUSED int64_t *length)
{
    http_set(h, S("X-Through"), S("yes"));
    return a->status != 418;
}
static void answer_refused(UNUSED struct proxy *p, struct http_request *h, int status, struct str text,
                           const struct err *err)
{
    log_say("refused %d;", status);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_add(&b, err ? str_of(err_reason(err->kind)) : text);
    http_respond(h, 503, S("text/plain"), strbuf_str(&b));
}
static void through_over(struct proxy *p)
{
    struct through *t = container_of(p, struct through, proxy);
    list_del(&t->node);
    mem_free(t);
    w.over = true;
}
static const struct proxy_fns proxy_fns = {.head = answer_head, .refused = answer_refused, .over = through_over};

static void front_request(struct http_request *h, UNUSED void *arg)
{
    struct through *t = NEW(struct through);
    struct http_outgoing o = {.method = h->method, .target = h->target};
    list_add(&w.throughs, &t->node);
    proxy_start(&t->proxy, w.loop, &w.to, h, &o, &proxy_fns);
}
static enum http_body all_streamed(UNUSED struct http_request *r, UNUSED void *arg)
{
    return HTTP_STREAM;
}

/* ---- large bodies */

static void on_the_way(void)
{
    w.most = MAX(w.most, w.sent - w.got);
    CHECK(w.sent - w.got < IN_SIGHT);
}

/* Whoever reads: rests now and then, if it is slow. True: now. */
static bool reader_rests(void)
{
    if (!w.slow || w.got / SLOW_BY == w.rested)
        return false;
    w.rested = w.got / SLOW_BY;
    w.resting = true;
    timer_set(&w.rest, 30 * NS_PER_MS);
    return true;
}

static void call_done(UNUSED struct http_call *k, const struct http_answer *a, struct err *err)
{
    if (a)
        log_say("%d " STR_FMT ";", a->status, STR_ARG(a->body));
    else
        log_say("%s;", err_reason(err->kind));
    w.call = NULL;
    loop_stop(w.loop);
}

static char piece[65536];
static void call_more(struct http_call *k)
{
    while (w.sent < w.size && !http_call_over_high(k)) {
        size_t n = MIN(w.size - w.sent, PIECE);
        http_call_write(k, (struct str){piece, n});
        w.sent += n;
    }
    on_the_way();
    if (w.sent == w.size && w.call) {
        w.sent++; /* said once */
        http_call_end(k);
    }
}
static void call_data(struct http_call *k, struct str b)
{
    w.got += b.n;
    if (reader_rests())
        http_call_pause(k, true);
}
static const struct http_call_fns up_fns = {.drained = call_more, .done = call_done},
                                  down_fns = {.data = call_data, .done = call_done};

static void target_more(struct http_request *r)
{
    while (w.sent < w.size && !http_over_high(r)) {
        size_t n = MIN(w.size - w.sent, PIECE);
        http_write(r, (struct str){piece, n});
        w.sent += n;
    }
    on_the_way();
    if (w.sent == w.size)
        http_end(r);
}
static void target_data(struct http_request *r, struct str b)
{
    w.got += b.n;
    w.held = r;
    if (reader_rests())
        http_body_pause(r, true);
}
static void target_end(struct http_request *r)
{
    char text[32];
    w.held = NULL;
    CHECK(!w.known || http_header(&r->headers, S("Content-Length")).n); /* as the client said it */
    http_respond(r, 200, S("text/plain"), (struct str){text, (size_t)snprintf(text, sizeof text, "%zu", w.got)});
}
static void target_gone(struct http_request *r)
{
    log_say("target: gone;");
    w.held = NULL;
    http_abort(r);
    loop_stop(w.loop);
}
static void reader_rested(UNUSED struct timer *t)
{
    w.resting = false;
    if (w.held)
        http_body_pause(w.held, false);
    else if (w.call)
        http_call_pause(w.call, false);
}
static void target_request(struct http_request *r, UNUSED void *arg)
{
    r->on_gone = target_gone;
    if (str_eq(r->path, S("/down"))) {
        r->on_drained = target_more;
        http_start(r, 200, S(""), w.known ? (int64_t)w.size : -1);
        target_more(r);
    } else if (str_eq(r->path, S("/up"))) {
        r->on_data = target_data;
        r->on_data_end = target_end;
    } else {
        http_respond(r, str_eq(r->path, S("/tea")) ? 418 : 200, S("text/plain"), S("short and stout"));
    }
}

/* ---- a world */

static int listen_at(struct str at, char out[128])
{
    struct err err = ERR;
    struct addr a;
    CHECK_OK(addr_parse(at, &a, &err), err);
    int fd = socket_listen(&a, 0600, &err);
    if (fd < 0)
        test_failed(__FILE__, __LINE__, "%s", err.text);
    CHECK_OK(socket_addr(fd, &a, &err), err);
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    addr_text(&a, &text);
    (void)snprintf(out, 128, STR_FMT, STR_ARG(strbuf_str(&text)));
    return fd;
}

static void world_begin(struct tls_server *tls, struct tls_client *trust)
{
    struct err err = ERR;
    char socket[100];
    w = (struct world){.loop = loop_new(&err), .log = STRBUF(1 << 20)};
    list_init(&w.throughs);
    timer_init(&w.limit, w.loop, too_late);
    timer_set(&w.limit, 58 * NS_PER_S);
    timer_init(&w.rest, w.loop, reader_rested);
    (void)snprintf(socket, sizeof socket, "unix:%s/t.sock", test_dir());
    int front = listen_at(S("127.0.0.1:0"), w.front_at);
    int target = listen_at(tls ? S("127.0.0.1:0") : str_of(socket), w.target_at);
    w.front = http_server_new(
        w.loop, &(struct http_server_config){.service = {.head = all_streamed, .request = front_request}});
    http_server_listen(w.front, front);
    w.target = http_server_new(w.loop, &(struct http_server_config){
                                           .service = {.head = all_streamed, .request = target_request}, .tls = tls});
    http_server_listen(w.target, target);
    w.to = (struct proxy_target){.address = str_of(w.target_at), .tls = trust};
    w.client = http_client_new(w.loop, &(struct http_client_config){.address = str_of(w.front_at)});
}
static void world_end(void)
{
    http_client_free(w.client);
    http_server_free(w.front);
    while (!list_empty(&w.throughs)) /* their requests are gone without a word */
        http_abort(list_first(&w.throughs, struct through, node)->proxy.http), list_del(w.throughs.next);
    http_server_free(w.target);
    stream_free(w.raw);
    timer_stop(&w.limit);
    timer_stop(&w.rest);
    timer_stop(&w.soon);
    loop_run(w.loop);
    loop_free(w.loop);
    strbuf_fini(&w.log);
}

/* One body of so many bytes. */
static void one_body(bool up, size_t size, bool slow, bool known)
{
    w.size = size;
    w.slow = slow;
    w.known = known;
    w.sent = w.got = w.most = w.rested = 0;
    strbuf_reset(&w.log);
    struct http_outgoing o = {.method = up ? S("PUT") : S("GET"),
                              .target = up ? S("/up") : S("/down"),
                              .body_streamed = up,
                              .length = up && known ? (int64_t)size : 0,
                              .answer_streamed = !up,
                              .head_ns = -1};
    w.call = http_send(w.client, &o, up ? &up_fns : &down_fns, NULL);
    if (up)
        call_more(w.call);
    loop_run(w.loop);
    CHECK_INT(w.got, size);
    if (slow)
        CHECK(w.rested > 0);
    CHECK(str_starts(strbuf_str(&w.log), S("200 ")));
    while (!w.over)
        CHECK(loop_run_once(w.loop, -1));
    w.over = false;
    CHECK_INT(http_server_counts(w.front)->requests, 0);
}

TEST(proxy_a_large_body_goes_up_in_bounded_memory)
{
    world_begin(NULL, NULL);
    one_body(true, LARGE, false, true);
    one_body(true, 3 * SLOW_BY, true, false);
    world_end();
}

TEST(proxy_a_large_body_comes_down_in_bounded_memory)
{
    world_begin(NULL, NULL);
    one_body(false, LARGE, false, true);
    one_body(false, 3 * SLOW_BY, true, false);
    world_end();
}

TEST(proxy_a_target_over_tls_is_the_same)
{
    struct err err = ERR;
    AUTO(key_free) struct cert_key *key = key_new();
    AUTO(strbuf_fini) struct strbuf cert = STRBUF(STRBUF_TEXT), pem = STRBUF(STRBUF_TEXT);
    const struct str ip = S_INIT("127.0.0.1");
    struct cert_spec spec = {
        .cn = S("both"), .ca = true, .ips = &ip, .nips = 1, .not_after = clock_real() + 3600 * NS_PER_S};
    CHECK_OK(cert_make(&spec, key, STR_NONE, NULL, &cert, &err), err);
    key_pem(key, &pem);
    AUTO(tls_server_free)
    struct tls_server *tls = tls_server_new(
        &(struct tls_server_config){.cert = strbuf_str(&cert), .key = strbuf_str(&pem)}, &err);
    AUTO(tls_client_free)
    struct tls_client *trust = tls_client_new(&(struct tls_client_config){.ca = strbuf_str(&cert)}, &err);
    CHECK(tls && trust);
    world_begin(tls, trust);
    one_body(true, 3 * SLOW_BY, true, true);
    one_body(false, 3 * SLOW_BY, true, false);
    world_end();
}

TEST(proxy_what_the_owner_does_not_want_is_told_by_it)
{
    world_begin(NULL, NULL);
    struct http_outgoing o = {.method = S("GET"), .target = S("/tea")};
    w.call = http_send(w.client, &o, &down_fns, NULL);
    loop_run(w.loop);
    CHECK_STR(strbuf_str(&w.log), S("refused 418;503 short and stout;"));
    world_end();
}

/* ---- whoever leaves */

enum who { CLIENT, TARGET };
struct leaving {
    const char *name;
    enum who who;
    const char *target_says; /* once it has heard the request's head; NULL: nothing */
    const char *client_says; /* its request */
    const char *want;        /* how the answer that the client heard begins; NULL: it is not there any more */
};
#define UP   "PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nsome"
#define GET  "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
#define TO   "GET /x HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
#define PART "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart"
#define SWAP "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
static const struct leaving leavings[] = {
    {"a client in the midst of its body", CLIENT, NULL, UP, NULL},
    {"a client that has said all", CLIENT, NULL, GET, NULL},
    {"a client in the midst of its body, and of the answer", CLIENT, PART, UP, NULL},
    {"a client in the midst of the answer", CLIENT, PART, GET, NULL},
    {"a client after an upgrade", CLIENT, SWAP, TO, NULL},
    {"a target in the midst of the body", TARGET, NULL, UP, "HTTP/1.1 503 "},
    {"a target that has heard all", TARGET, NULL, GET, "HTTP/1.1 503 "},
    {"a target in the midst of the body, and of its answer", TARGET, PART, UP, "HTTP/1.1 200 "},
    {"a target in the midst of its answer", TARGET, PART, GET, "HTTP/1.1 200 "},
    {"a target after an upgrade", TARGET, SWAP, TO, "HTTP/1.1 101 "},
};

static struct stream *sides[2]; /* client, target */
static struct strbuf heard = STRBUF(1 << 20);
static bool target_told;

static void client_leaves(struct timer *t)
{
    const struct leaving *l = w.leaving;
    bool ready = l->target_says ? str_has(strbuf_str(&heard), S("\r\n\r\n")) : target_told;
    if (!ready || (l->target_says == NULL && !sides[TARGET])) {
        timer_set(t, 5 * NS_PER_MS);
        return;
    }
    stream_free(TAKE(sides[l->who]));
}
static void side_data(struct stream *s, struct str b)
{
    if (s == sides[CLIENT]) {
        strbuf_add(&heard, b);
        return;
    }
    if (!target_told && w.leaving->target_says)
        stream_write(s, str_of(w.leaving->target_says));
    target_told = true;
}
static void side_closed(struct stream *s, UNUSED struct err *err)
{
    for (size_t i = 0; i < countof(sides); i++)
        if (sides[i] == s)
            sides[i] = NULL;
    stream_free(s);
}
static void side_ended(struct stream *s)
{
    side_closed(s, NULL);
}
static void side_opened(struct stream *s)
{
    if (s == sides[CLIENT])
        stream_write(s, str_of(w.leaving->client_says));
}
static const struct stream_fns side_fns = {side_opened, side_data, NULL, side_ended, side_closed};
static void side_accept(struct listener *l, int fd, UNUSED const struct addr *peer)
{
    sides[TARGET] = stream_new(l->loop, fd, NULL, &side_fns, NULL);
}

TEST(proxy_whoever_leaves_takes_the_other_along)
{
    for (size_t i = 0; i < countof(leavings); i++) {
        struct listener l;
        char at[128];
        world_begin(NULL, NULL);
        w.leaving = &leavings[i];
        strbuf_reset(&heard);
        target_told = false;
        listener_start(&l, w.loop, listen_at(S("127.0.0.1:0"), at), side_accept);
        w.to.address = str_of(at);
        sides[CLIENT] = stream_connect(w.loop, &(struct stream_connect){.address = str_of(w.front_at)}, &side_fns,
                                       NULL);
        timer_init(&w.soon, w.loop, client_leaves);
        timer_set(&w.soon, 0);
        while (!w.over || sides[CLIENT] || sides[TARGET]) { /* each that stays hears of it, and goes too */
            CHECK(loop_run_once(w.loop, -1));
            bool whole = w.over && sides[CLIENT] && str_starts(strbuf_str(&heard), S("HTTP/1.1 503 "));
            if (whole) /* a kept line: the client was answered, and may ask again */
                stream_free(TAKE(sides[CLIENT]));
        }
        const char *want = leavings[i].want;
        if (want && !str_starts(strbuf_str(&heard), str_of(want)))
            test_failed(__FILE__, __LINE__, "%s: heard %s", leavings[i].name, heard.p ? heard.p : "nothing");
        if (want && leavings[i].target_says)
            CHECK(!str_has(strbuf_str(&heard), S("\r\n0\r\n\r\n"))); /* not taken for whole */
        CHECK_INT(http_server_counts(w.front)->requests, 0);
        listener_stop(&l);
        world_end();
    }
    strbuf_fini(&heard);
}

TEST(proxy_a_target_that_is_not_there_is_told)
{
    world_begin(NULL, NULL);
    w.to.address = S("unix:/nowhere/at/all");
    struct http_outgoing o = {.method = S("PUT"), .target = S("/up"), .body_streamed = true};
    w.call = http_send(w.client, &o, &up_fns, NULL);
    http_call_write(w.call, S("some"));
    loop_run(w.loop);
    CHECK(str_has(strbuf_str(&w.log), S("refused 0;503 ")));
    world_end();
}
