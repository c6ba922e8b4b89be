#include "base/test.h"
#include "sys/cert.h"
#include "sys/stream.h"
#include <fcntl.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* A server that echoes, and a client that says something and listens, over whatever they are given. */
struct story {
    struct loop *loop;
    struct listener listener;
    struct tls_server *tls;
    struct stream *server, *client;
    struct strbuf heard;
    struct err err;
    struct timer limit;
    bool opened, drained, client_closed, server_closed;
    size_t server_got, expect;
    struct tls_peer peer;
    struct arena arena;
    const char *const *alpn; /* what the client offers on this connection */
    char agreed[2][16];      /* and what was agreed on: the server's word, the client's */
    void (*on_server)(struct story *t);
};

static void too_late(UNUSED struct timer *t)
{
    CHECK(!"the story does not end");
}

static void server_data(struct stream *s, struct str b)
{
    struct story *t = stream_arg(s);
    t->server_got += b.n;
    stream_write(s, b);
}
static void server_ended(struct stream *s)
{
    stream_end(s);
}
static void server_closed(struct stream *s, struct err *err)
{
    struct story *t = stream_arg(s);
    t->server_closed = true;
    if (err->kind && !t->err.kind)
        t->err = *err;
    stream_free(s);
    t->server = NULL;
    if (err->kind || t->client_closed || !t->client)
        loop_stop(t->loop);
}
static void server_opened(struct stream *s)
{
    struct story *t = stream_arg(s);
    stream_peer(s, &t->arena, &t->peer);
    (void)snprintf(t->agreed[0], sizeof t->agreed[0], STR_FMT, STR_ARG(stream_alpn(s)));
    if (t->on_server)
        t->on_server(t);
}
static const struct stream_fns server_fns = {server_opened, server_data, NULL, server_ended, server_closed};

static void connection_accepted(struct listener *l, int fd, UNUSED const struct addr *peer)
{
    struct story *t = container_of(l, struct story, listener);
    t->server = stream_new(t->loop, fd, t->tls, &server_fns, t);
}

static void client_opened(struct stream *s)
{
    struct story *t = stream_arg(s);
    t->opened = true;
    (void)snprintf(t->agreed[1], sizeof t->agreed[1], STR_FMT, STR_ARG(stream_alpn(s)));
    stream_write(s, S("hello "));
    stream_write(s, S("there"));
}
static void client_data(struct stream *s, struct str b)
{
    struct story *t = stream_arg(s);
    strbuf_add(&t->heard, b);
    if (t->heard.n >= t->expect)
        stream_end(s);
}
static void client_drained(struct stream *s)
{
    ((struct story *)stream_arg(s))->drained = true;
}
static void client_closed(struct stream *s, struct err *err)
{
    struct story *t = stream_arg(s);
    t->client_closed = true;
    if (err->kind)
        t->err = *err;
    stream_free(s);
    t->client = NULL;
    if (err->kind || t->server_closed)
        loop_stop(t->loop);
}
static const struct stream_fns client_fns = {client_opened, client_data, client_drained, NULL, client_closed};

static void story_begin(struct story *t, const char *address, struct tls_server *tls)
{
    struct err err = ERR;
    *t = (struct story){.loop = loop_new(&err), .tls = tls, .heard = STRBUF(64 << 20), .expect = 11};
    timer_init(&t->limit, t->loop, too_late);
    timer_set(&t->limit, 20 * NS_PER_S);
    struct addr at;
    CHECK_OK(addr_parse(str_of(address), &at, &err), err);
    int fd = socket_listen(&at, 0600, &err);
    if (fd < 0)
        test_failed(__FILE__, __LINE__, "%s", err.text);
    listener_start(&t->listener, t->loop, fd, connection_accepted);
}

static void story_connect(struct story *t, struct tls_client *tls, const char *name, const struct stream_fns *fns)
{
    struct err err = ERR;
    struct addr at;
    CHECK_OK(socket_addr(t->listener.fd, &at, &err), err);
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    addr_text(&at, &text);
    struct stream_connect c = {
        .address = strbuf_str(&text), .tls = tls, .server_name = str_of(name), .alpn = t->alpn};
    t->client = stream_connect(t->loop, &c, fns, t);
    loop_run(t->loop);
}

static void story_end(struct story *t)
{
    stream_free(t->client);
    stream_free(t->server);
    listener_stop(&t->listener);
    timer_stop(&t->limit);
    loop_run(t->loop); /* those that linger */
    loop_free(t->loop);
    strbuf_fini(&t->heard);
    arena_fini(&t->arena);
}

TEST(stream_echo_over_tcp_and_unix)
{
    char path[128];
    (void)snprintf(path, sizeof path, "unix:%s/sock", test_dir());
    const char *addresses[] = {"127.0.0.1:0", "[::1]:0", path, path}; /* the last: a stale socket file is replaced */
    for (size_t i = 0; i < countof(addresses); i++) {
        struct story t;
        story_begin(&t, addresses[i], NULL);
        story_connect(&t, NULL, NULL, &client_fns);
        CHECK_INT(t.err.kind, E_NONE);
        CHECK_STR(strbuf_str(&t.heard), S("hello there"));
        CHECK(t.client_closed && t.server_closed);
        story_end(&t);
    }
    struct stat st;
    CHECK(stat(path + 5, &st) == 0 && (st.st_mode & 0777) == 0600);
}

/* ---- TLS */

struct pair {
    struct strbuf cert, key;
};
static struct strbuf ca = {.max = STRBUF_TEXT}, other_ca = {.max = STRBUF_TEXT};
static struct cert_key *ca_key, *other_ca_key;

static void pair_make(struct pair *p, struct cert_spec spec, struct strbuf *issuer, struct cert_key *issuer_key)
{
    struct err err = ERR;
    *p = (struct pair){STRBUF(STRBUF_TEXT), STRBUF(STRBUF_TEXT)};
    AUTO(key_free) struct cert_key *k = key_new();
    key_pem(k, &p->key);
    if (!spec.not_after)
        spec.not_after = clock_real() + 3600 * NS_PER_S;
    CHECK_OK(cert_make(&spec, k, strbuf_str(issuer), issuer_key, &p->cert, &err), err);
}
static void pair_fini(struct pair *p)
{
    strbuf_fini(&p->cert);
    strbuf_fini(&p->key);
}
static void authorities_make(void)
{
    struct err err = ERR;
    ca_key = key_new();
    other_ca_key = key_new();
    struct cert_spec spec = {.cn = S("the-ca"), .ca = true, .not_after = clock_real() + 3600 * NS_PER_S};
    CHECK_OK(cert_make(&spec, ca_key, STR_NONE, NULL, &ca, &err), err);
    spec.cn = S("other-ca");
    CHECK_OK(cert_make(&spec, other_ca_key, STR_NONE, NULL, &other_ca, &err), err);
}
static void authorities_end(void)
{
    key_free(ca_key);
    key_free(other_ca_key);
    strbuf_fini(&ca);
    strbuf_fini(&other_ca);
}

static const struct str server_dns[] = {S_INIT("api.test"), S_INIT("localhost")},
                        server_ips[] = {S_INIT("127.0.0.1")};
static const struct cert_spec server_spec = {
    .cn = S_INIT("server"), .dns = server_dns, .ndns = 2, .ips = server_ips, .nips = 1, .server = true};
static const char *const h1[] = {"http/1.1", NULL};

static struct tls_server *server_of(const struct pair *p)
{
    struct err err = ERR;
    struct tls_server *s = tls_server_new(
        &(struct tls_server_config){
            .cert = strbuf_str(&p->cert), .key = strbuf_str(&p->key), .client_ca = strbuf_str(&ca), .alpn = h1},
        &err);
    if (!s)
        test_failed(__FILE__, __LINE__, "%s", err.text);
    return s;
}
static struct tls_client *client_of(const struct strbuf *trust, const struct pair *p)
{
    struct err err = ERR;
    struct tls_client_config c = {.ca = strbuf_str(trust), .alpn = h1};
    if (p)
        c.cert = strbuf_str(&p->cert), c.key = strbuf_str(&p->key);
    struct tls_client *t = tls_client_new(&c, &err);
    if (!t)
        test_failed(__FILE__, __LINE__, "%s", err.text);
    return t;
}

TEST(stream_tls_says_who_the_client_is)
{
    authorities_make();
    struct pair server, good, expired, foreign, hidden;
    const struct str orgs[] = {S_INIT("system:masters"), S_INIT("dev"), S_INIT("system:masters\0x")};
    struct cert_spec admin = {.cn = S("admin"), .orgs = orgs, .norgs = 2, .client = true};
    pair_make(&server, server_spec, &ca, ca_key);
    pair_make(&good, admin, &ca, ca_key);
    pair_make(&foreign, admin, &other_ca, other_ca_key);
    admin.norgs = 3;
    pair_make(&hidden, admin, &ca, ca_key);
    admin.norgs = 2;
    admin.not_before = clock_real() - 7200 * NS_PER_S;
    admin.not_after = clock_real() - 3600 * NS_PER_S;
    pair_make(&expired, admin, &ca, ca_key);
    struct {
        struct pair *pair;
        const char *problem; /* NULL: verified */
    } rows[] = {{&good, NULL},
                {&good, NULL}, /* resumed */
                {&expired, "the certificate expired at "},
                {&foreign, "the certificate is signed by an unknown authority (\"other-ca\")"},
                {&hidden, "a name in the certificate's subject holds a NUL"},
                {NULL, ""}};
    AUTO(tls_server_free) struct tls_server *tls = server_of(&server);
    struct tls_client *kept = client_of(&ca, &good);
    for (size_t i = 0; i < countof(rows); i++) {
        struct story t;
        struct tls_client *c = rows[i].pair == &good ? kept : client_of(&ca, rows[i].pair);
        story_begin(&t, "127.0.0.1:0", tls);
        story_connect(&t, c, i % 2 ? "api.test" : "", &client_fns);
        CHECK_STR(str_of(t.err.text), S(""));
        CHECK_STR(strbuf_str(&t.heard), S("hello there"));
        CHECK_INT(t.peer.shown, rows[i].pair != NULL);
        CHECK_INT(t.peer.verified, rows[i].pair && !rows[i].problem);
        if (rows[i].problem)
            CHECK(str_starts(t.peer.problem, str_of(rows[i].problem)));
        if (rows[i].pair) {
            CHECK_STR(t.peer.cn, S("admin"));
            CHECK_INT(t.peer.norgs, 2);
            CHECK_STR(t.peer.orgs[1], S("dev"));
        }
        story_end(&t);
        if (c != kept)
            tls_client_free(c);
    }
    tls_client_free(kept);
    pair_fini(&server), pair_fini(&good), pair_fini(&expired), pair_fini(&foreign), pair_fini(&hidden);
    authorities_end();
}

TEST(stream_tls_says_what_the_handshake_agreed_on)
{
    static const char *const two[] = {"two", "http/1.1", NULL}, *const other[] = {"other", NULL};
    static const struct {
        const char *const *always, *const *here; /* what the client offers, and on this connection instead */
        const char *want;
    } rows[] = {{NULL, NULL, ""},      {h1, NULL, "http/1.1"}, {two, NULL, "two"},
                {two, h1, "http/1.1"}, {NULL, two, "two"},     {other, NULL, ""}};
    authorities_make();
    struct err err = ERR;
    struct pair server;
    pair_make(&server, server_spec, &ca, ca_key);
    struct tls_server_config s = {.cert = strbuf_str(&server.cert), .key = strbuf_str(&server.key), .alpn = two};
    AUTO(tls_server_free) struct tls_server *tls = tls_server_new(&s, &err);
    CHECK(tls);
    for (size_t i = 0; i < countof(rows); i++) {
        struct story t;
        struct tls_client_config c = {.ca = strbuf_str(&ca), .alpn = rows[i].always};
        AUTO(tls_client_free) struct tls_client *trust = tls_client_new(&c, &err);
        story_begin(&t, "127.0.0.1:0", tls);
        t.alpn = rows[i].here;
        story_connect(&t, trust, "api.test", &client_fns);
        CHECK_STR(str_of(t.agreed[0]), str_of(rows[i].want));
        CHECK_STR(str_of(t.agreed[1]), str_of(rows[i].want));
        story_end(&t);
    }
    struct story t;
    story_begin(&t, "127.0.0.1:0", NULL); /* without TLS there is nothing to agree on */
    story_connect(&t, NULL, "", &client_fns);
    CHECK_STR(str_of(t.agreed[0]), S(""));
    story_end(&t);
    pair_fini(&server);
    authorities_end();
}

/* ---- a client that has no manners */

struct rude {
    struct addr to;
    const char *groups; /* NULL: the library's own */
    int updates;        /* new keys, one after another, before it says anything */
    bool shaken;
    size_t heard;
};

static void send_all(int fd, const char *p, size_t n)
{
    for (ssize_t sent; n && (sent = send(fd, p, n, MSG_NOSIGNAL)) > 0; p += sent)
        n -= (size_t)sent;
}

static void *rude_client(void *arg)
{
    struct rude *r = arg;
    int fd = socket(r->to.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(connect(fd, &r->to.sa, r->to.n), 0);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    CHECK(!r->groups || SSL_CTX_set1_groups_list(ctx, r->groups) == 1);
    SSL *ssl = SSL_new(ctx);
    CHECK(SSL_set_fd(ssl, fd) == 1);
    r->shaken = SSL_connect(ssl) == 1;
    if (r->shaken) {
        BIO *kept = BIO_new(BIO_s_mem());
        SSL_set0_wbio(ssl, kept);
        for (int i = 0; i < r->updates; i++)
            CHECK(SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 && SSL_do_handshake(ssl) == 1);
        CHECK(SSL_write(ssl, "hello there", 11) == 11);
        char *p, heard[64];
        long n = BIO_get_mem_data(kept, &p);
        send_all(fd, p, (size_t)n);
        for (int got; r->heard < 11 && (got = SSL_read(ssl, heard, sizeof heard)) > 0;)
            r->heard += (size_t)got;
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    fd_close(fd);
    return NULL;
}

/* Looks how long the turns of the loop are. */
struct turns {
    struct soon soon;
    int64_t last, longest; /* ns of this thread's CPU */
};

static void turn_over(struct soon *s)
{
    struct turns *t = container_of(s, struct turns, soon);
    int64_t now = clock_thread_cpu();
    t->longest = MAX(t->longest, now - t->last);
    t->last = now;
    soon_set(s);
}

static struct turns rude_story(struct story *t, struct tls_server *tls, struct rude *r)
{
    struct err err = ERR;
    pthread_t thread;
    struct turns turns = {.last = clock_thread_cpu()};
    story_begin(t, "127.0.0.1:0", tls);
    CHECK_OK(socket_addr(t->listener.fd, &r->to, &err), err);
    CHECK_INT(pthread_create(&thread, NULL, rude_client, r), 0);
    soon_init(&turns.soon, t->loop, turn_over);
    soon_set(&turns.soon);
    loop_run(t->loop);
    soon_stop(&turns.soon);
    CHECK_INT(pthread_join(thread, NULL), 0);
    return turns;
}

/* However many records come that hold nothing for us, and however fast: others have their turn. */
TEST(stream_tls_new_keys_without_end_hold_nobody)
{
    authorities_make();
    struct pair server;
    pair_make(&server, server_spec, &ca, ca_key);
    AUTO(tls_server_free) struct tls_server *tls = server_of(&server);
    struct story t;
    struct rude few = {.updates = 1}, many = {.updates = 4000};
    (void)rude_story(&t, tls, &few);
    CHECK_INT(few.heard, 11);
    story_end(&t);
    int64_t start = clock_thread_cpu();
    struct turns turns = rude_story(&t, tls, &many);
    int64_t all = clock_thread_cpu() - start;
    CHECK_INT(many.heard, 11);
    CHECK(turns.longest < MAX(all / 20, 5 * NS_PER_MS));
    story_end(&t);
    pair_fini(&server);
    authorities_end();
}

/* An exchange of keys that takes the server tens of milliseconds, and a client only to ask for it. */
TEST(stream_tls_dear_key_exchanges_are_refused)
{
    authorities_make();
    struct pair server;
    pair_make(&server, server_spec, &ca, ca_key);
    AUTO(tls_server_free) struct tls_server *tls = server_of(&server);
    static const struct {
        const char *groups;
        bool good;
    } rows[] = {{"X25519", true},     {"P-256", true},           {"P-384", true},  {"ffdhe2048", false},
                {"ffdhe8192", false}, {"ffdhe8192:P-256", true}, {"P-521", false}, {"X448", false}};
    for (size_t i = 0; i < countof(rows); i++) {
        struct story t;
        struct rude r = {.groups = rows[i].groups};
        (void)rude_story(&t, tls, &r);
        CHECK_INT(r.shaken, rows[i].good);
        CHECK_INT(r.heard, rows[i].good ? 11 : 0);
        story_end(&t);
    }
    pair_fini(&server);
    authorities_end();
}

TEST(stream_tls_says_what_is_wrong_with_the_server)
{
    authorities_make();
    struct pair good, expired;
    pair_make(&good, server_spec, &ca, ca_key);
    struct cert_spec old = server_spec;
    old.not_before = clock_real() - 7200 * NS_PER_S;
    old.not_after = clock_real() - 3600 * NS_PER_S;
    pair_make(&expired, old, &ca, ca_key);
    struct {
        struct pair *pair;
        struct strbuf *trust;
        const char *name, *want;
    } rows[] = {
        {&good, &ca, "elsewhere.test",
         "elsewhere.test: the certificate is not for elsewhere.test but for api.test, localhost, 127.0.0.1"},
        {&good, &ca, "127.0.0.2",
         "127.0.0.2: the certificate is not for 127.0.0.2 but for api.test, localhost, 127.0.0.1"},
        {&good, &other_ca, "api.test", "api.test: the certificate is signed by an unknown authority (\"the-ca\")"},
        {&expired, &ca, "api.test", "api.test: the certificate expired at "},
        {NULL, &ca, "api.test", "api.test: "}, /* an echo, not TLS */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct story t;
        struct tls_server *tls = rows[i].pair ? server_of(rows[i].pair) : NULL;
        struct tls_client *c = client_of(rows[i].trust, NULL);
        story_begin(&t, "127.0.0.1:0", tls);
        story_connect(&t, c, rows[i].name, &client_fns);
        if (!str_starts(str_of(t.err.text), str_of(rows[i].want)))
            test_failed(__FILE__, __LINE__, "have \"%s\", want \"%s\"", t.err.text, rows[i].want);
        CHECK(!t.opened);
        story_end(&t);
        tls_server_free(tls);
        tls_client_free(c);
    }
    pair_fini(&good), pair_fini(&expired);
    authorities_end();
}

TEST(stream_tls_reload_shows_the_new_certificate)
{
    authorities_make();
    struct err err = ERR;
    struct pair first, second;
    pair_make(&first, server_spec, &ca, ca_key);
    pair_make(&second, server_spec, &other_ca, other_ca_key);
    AUTO(tls_server_free) struct tls_server *tls = server_of(&first);
    struct tls_server_config c = {.cert = strbuf_str(&second.cert), .key = strbuf_str(&first.key)};
    CHECK(!tls_server_reload(tls, &c, &err)); /* the wrong key: nothing changes */
    for (int i = 0; i < 2; i++) {
        struct story t;
        AUTO(tls_client_free) struct tls_client *client = client_of(i ? &other_ca : &ca, NULL);
        story_begin(&t, "127.0.0.1:0", tls);
        story_connect(&t, client, "api.test", &client_fns);
        CHECK_STR(str_of(t.err.text), S(""));
        story_end(&t);
        c.key = strbuf_str(&second.key);
        CHECK_OK(tls_server_reload(tls, &c, &err), err);
    }
    pair_fini(&first), pair_fini(&second);
    authorities_end();
}

/* ---- volume and backpressure */

#define MUCH (20u << 20)
static void much_opened(struct stream *s)
{
    struct story *t = stream_arg(s);
    t->opened = true;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(MUCH);
    char *room = strbuf_room(&b, MUCH / 4);
    for (size_t i = 0; i < MUCH / 4; i++)
        room[i] = (char)(i * 31 >> 3);
    strbuf_used(&b, MUCH / 4);
    AUTO(buf_unref) struct buf *shared = buf_take(&b);
    for (int i = 0; i < 4; i++)
        stream_write_buf(s, shared);
    CHECK_INT(stream_queued(s), MUCH);
    CHECK(stream_over_high(s));
}
static const struct stream_fns much_fns = {much_opened, client_data, client_drained, NULL, client_closed};

static void check_much(const struct story *t)
{
    CHECK_STR(str_of(t->err.text), S(""));
    CHECK_INT(t->heard.n, MUCH);
    CHECK(t->drained);
    for (size_t i = 0; i < MUCH; i += 4099)
        CHECK(t->heard.p[i] == (char)(i % (MUCH / 4) * 31 >> 3));
}

TEST(stream_moves_much_over_tcp)
{
    struct story t;
    story_begin(&t, "127.0.0.1:0", NULL);
    t.expect = MUCH;
    story_connect(&t, NULL, NULL, &much_fns);
    check_much(&t);
    story_end(&t);
}

TEST(stream_moves_much_over_tls)
{
    authorities_make();
    struct pair p;
    pair_make(&p, server_spec, &ca, ca_key);
    AUTO(tls_server_free) struct tls_server *tls = server_of(&p);
    AUTO(tls_client_free) struct tls_client *client = client_of(&ca, NULL);
    struct story t;
    story_begin(&t, "127.0.0.1:0", tls);
    t.expect = MUCH;
    story_connect(&t, client, "api.test", &much_fns);
    check_much(&t);
    story_end(&t);
    pair_fini(&p);
    authorities_end();
}

static struct timer resume;
static void resume_now(UNUSED struct timer *tm)
{
}
static void pause_reads(struct story *t)
{
    stream_read_pause(t->server, true);
}
static struct story *paused_story;
static void resume_server(UNUSED struct timer *tm)
{
    CHECK_INT(paused_story->server_got, 0);
    CHECK(!paused_story->drained);
    stream_unread(paused_story->server, S("<unread>"));
    stream_read_pause(paused_story->server, false);
}
TEST(stream_paused_reads_nothing_and_unread_comes_first)
{
    struct story t;
    story_begin(&t, "127.0.0.1:0", NULL);
    t.expect = MUCH + 8;
    t.on_server = pause_reads;
    paused_story = &t;
    timer_init(&resume, t.loop, resume_server);
    timer_set(&resume, 50 * NS_PER_MS);
    story_connect(&t, NULL, NULL, &much_fns);
    CHECK_INT(t.heard.n, MUCH + 8);
    CHECK_STR(str_sub(strbuf_str(&t.heard), 0, 8), S("<unread>"));
    timer_init(&resume, t.loop, resume_now);
    story_end(&t);
}

/* ---- ends */

static void close_at_once(struct stream *s)
{
    struct story *t = stream_arg(s);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4 << 20);
    CHECK(strbuf_room(&b, 3 << 20));
    memset(b.p, 'x', 3 << 20);
    strbuf_used(&b, 3 << 20);
    stream_write(s, strbuf_str(&b));
    stream_close(s); /* what is queued still goes */
    t->client = NULL;
}
static const struct stream_fns leaver_fns = {close_at_once, NULL, NULL, NULL, client_closed};
TEST(stream_close_sends_what_is_queued)
{
    struct story t;
    story_begin(&t, "127.0.0.1:0", NULL);
    story_connect(&t, NULL, NULL, &leaver_fns);
    CHECK_INT(t.server_got, 3 << 20);
    CHECK(t.server_closed);
    story_end(&t);
}

static void idle_server(struct story *t)
{
    stream_idle(t->server, 30 * NS_PER_MS);
}
static const struct stream_fns silent_fns = {NULL, NULL, NULL, NULL, client_closed};
TEST(stream_idle_is_closed)
{
    struct story t;
    story_begin(&t, "127.0.0.1:0", NULL);
    t.on_server = idle_server;
    story_connect(&t, NULL, NULL, &silent_fns);
    CHECK_STR(str_of(t.err.text), S("the client: nothing came or went for 30 ms"));
    story_end(&t);
}

static void stall_server(struct story *t)
{
    stream_stall(t->server, 100 * NS_PER_MS);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64 << 20);
    CHECK(strbuf_room(&b, 32 << 20));
    strbuf_used(&b, 32 << 20);
    stream_write(t->server, strbuf_str(&b));
}
static void stop_reading(struct stream *s)
{
    stream_read_pause(s, true);
}
static const struct stream_fns deaf_fns = {stop_reading, NULL, NULL, NULL, client_closed};
TEST(stream_a_reader_that_does_not_read_is_cut)
{
    struct story t;
    story_begin(&t, "127.0.0.1:0", NULL);
    t.on_server = stall_server;
    story_connect(&t, NULL, NULL, &deaf_fns);
    CHECK_INT(t.err.kind, E_TIMEOUT);
    story_end(&t);
}

TEST(stream_connect_says_why_not)
{
    static const struct {
        const char *address, *want;
    } rows[] = {
        {"unix:/no/such", "connect to unix:/no/such: No such file or directory"},
        {"127.0.0.1:1", "connect to 127.0.0.1:1: Connection refused"},
        {"localhost:1", "connect to "},
        {"no port", "\"no port\" is not an address: want HOST:PORT or unix:PATH"},
        {"no.such.host.invalid:80", "look up no.such.host.invalid: "},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct err err = ERR;
        struct story t = {.loop = loop_new(&err)};
        t.client = stream_connect(t.loop, &(struct stream_connect){.address = str_of(rows[i].address)}, &client_fns,
                                  &t);
        CHECK(!t.client_closed); /* never from inside the call */
        loop_run(t.loop);
        CHECK(t.client_closed && !t.opened);
        if (!str_starts(str_of(t.err.text), str_of(rows[i].want)))
            test_failed(__FILE__, __LINE__, "have \"%s\", want \"%s\"", t.err.text, rows[i].want);
        loop_free(t.loop);
    }
}

TEST(stream_freed_while_looking_up)
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    stream_free(stream_connect(l, &(struct stream_connect){.address = S("localhost:1")}, &client_fns, NULL));
    loop_run(l);
}

TEST(socket_descriptors_travel)
{
    struct err err = ERR;
    int sv[2], pipes[2], got[4];
    char text[16] = "";
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == 0 && pipe2(pipes, O_CLOEXEC) == 0);
    CHECK_OK(socket_send_fds(sv[0], S("take"), pipes, 2, &err), err);
    size_t n = 1; /* room for one: the other is closed, not leaked */
    CHECK_INT(socket_recv_fds(sv[1], text, sizeof text, got, &n, &err), 4);
    CHECK_INT(n, 1);
    CHECK(fcntl(got[0], F_GETFD) == FD_CLOEXEC);
    CHECK(write(pipes[1], "x", 1) == 1 && read(got[0], text, 1) == 1);
    struct peer_cred cred;
    CHECK_OK(socket_peer_cred(sv[0], &cred, &err), err);
    CHECK_INT(cred.uid, getuid());
    for (int i = 0; i < 2; i++)
        fd_close(sv[i]), fd_close(pipes[i]);
    fd_close(got[0]);
}

TEST(addr_text_and_back)
{
    static const char *good[] = {"127.0.0.1:80", "[::1]:6443", "0.0.0.0:0", "unix:/run/x.sock"};
    static const char *bad[] = {"",        "127.0.0.1", "::1:80", "127.0.0.1:65536",
                                "name:80", "[::1]",     "unix:",  "1.2.3.4:x"};
    for (size_t i = 0; i < countof(good); i++) {
        struct err err = ERR;
        struct addr a;
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        CHECK_OK(addr_parse(str_of(good[i]), &a, &err), err);
        addr_text(&a, &b);
        CHECK_STR(strbuf_str(&b), str_of(good[i]));
    }
    for (size_t i = 0; i < countof(bad); i++) {
        struct err err = ERR;
        struct addr a;
        CHECK(!addr_parse(str_of(bad[i]), &a, &err) && err.kind == E_INVALID);
    }
}
