#include "wire/http_client.h"
#include "wire/http1.h"

#define HEAD_TEXT  (256 * 1024)
#define EARLY_MOST (64u << 20) /* a streamed body before the connection stands */

struct http_client {
    struct loop *loop;
    struct http_client_config c;
    char *address, *server_name, *host;
    struct list idle, busy; /* connections */
    struct list waiting;    /* calls without one */
    size_t connections;
    struct soon soon; /* gives waiting calls connections */
    bool dead;
    int in_use;
};
struct connection {
    struct list node;
    struct http_client *client;
    struct stream *stream;
    struct http1 parser;
    struct http_call *call;
    bool opened, kept, heard; /* kept: served a call before; heard: a byte of this answer has come */
    bool dead;
    int busy;
};
struct http_call {
    struct list node; /* of waiting */
    struct http_client *client;
    struct connection *conn;
    const struct http_call_fns *fns;
    void *arg;
    struct arena arena;
    struct strbuf head, early, body;
    struct buf *sent_body;
    bool streamed, stream_ended, upgrade, answer_streamed, no_body, again, fresh, paused;
    bool head_told, keep_alive, cancelled;
    int busy;
    int64_t stall_ns;
    struct http_answer answer;
    struct timer timer;
    struct err err;
    char what[128]; /* for messages: "GET /version" */
};

static void pump(struct http_client *c)
{
    soon_set(&c->soon);
}

/* ---- calls */

static void call_release(struct http_call *k)
{
    strbuf_fini(&k->head);
    strbuf_fini(&k->early);
    strbuf_fini(&k->body);
    buf_unref(k->sent_body);
    arena_fini(&k->arena);
    mem_free(k);
}

static void connection_end(struct connection *n);

static void call_detach(struct http_call *k)
{
    timer_stop(&k->timer);
    list_del(&k->node);
    if (k->conn)
        k->conn->call = NULL;
    k->conn = NULL;
}

void http_cancel(struct http_call *k)
{
    if (!k || k->cancelled)
        return;
    struct connection *n = k->conn;
    k->cancelled = true;
    call_detach(k);
    if (n)
        connection_end(n);
    if (k->busy == 0)
        call_release(k);
}

/* Around every callback of a call: false when it was cancelled in it. */
static bool back(struct http_call *k)
{
    k->busy--;
    if (!k->cancelled)
        return true;
    if (k->busy == 0)
        call_release(k);
    return false;
}

/* The last of a call; its connection is dealt with already. */
static void call_done(struct http_call *k, struct err *err)
{
    call_detach(k);
    k->cancelled = true;
    k->busy++;
    k->answer.body = strbuf_str(&k->body);
    struct err none = ERR;
    k->fns->done(k, err ? NULL : &k->answer, err ? err : &none);
    (void)back(k);
}

static void call_timer(struct timer *t)
{
    struct http_call *k = container_of(t, struct http_call, timer);
    struct connection *n = k->conn;
    struct err err = ERR;
    if (k->err.kind)
        err = k->err;
    else
        (void)err_set(&err, E_TIMEOUT, "%s at %s: no answer in time", k->what, k->client->address);
    call_detach(k);
    if (n)
        connection_end(n);
    call_done(k, &err);
}

/* ---- connections */

static void connection_release(struct connection *n)
{
    http1_fini(&n->parser);
    mem_free(n);
}

static void connection_end(struct connection *n)
{
    if (n->dead)
        return;
    n->dead = true;
    list_del(&n->node);
    n->client->connections--;
    pump(n->client);
    stream_free(n->stream);
    n->stream = NULL;
    if (n->busy == 0)
        connection_release(n);
}

static bool idempotent(const struct http_call *k)
{
    static const char *const methods[] = {"GET ", "HEAD ", "PUT ", "DELETE ", "OPTIONS "};
    for (size_t i = 0; i < countof(methods); i++)
        if (str_starts(strbuf_str(&k->head), str_of(methods[i])))
            return !k->streamed;
    return false;
}

/* The line broke under a call. */
static void call_broken(struct connection *n, struct err *err)
{
    struct http_call *k = n->call;
    bool stale = n->kept && !n->heard && !k->again && idempotent(k);
    struct http_client *c = n->client;
    n->call = NULL;
    k->conn = NULL;
    connection_end(n);
    if (!stale) {
        if (err->kind == E_NONE)
            (void)err_set(err, E_UNAVAILABLE, "%s at %s: the connection was closed before a whole answer came",
                          k->what, c->address);
        call_done(k, err);
        return;
    }
    /* the other side had closed the kept connection meanwhile: once more, on a new one */
    k->again = k->fresh = true;
    list_add(&c->waiting, &k->node);
    pump(c);
}

static void request_write(struct connection *n)
{
    struct http_call *k = n->call;
    stream_write(n->stream, strbuf_str(&k->head));
    if (k->sent_body)
        stream_write_buf(n->stream, k->sent_body);
    if (k->early.n)
        stream_write_take(n->stream, &k->early);
    n->parser.no_body = k->no_body;
}

static void connection_opened(struct stream *s)
{
    struct connection *n = stream_arg(s);
    n->opened = true;
    if (n->call)
        request_write(n);
}

/* An answer is whole: the connection is kept where both sides want it. */
static void connection_next(struct connection *n, bool keep)
{
    struct http_client *c = n->client;
    n->call = NULL;
    if (!keep || c->dead) {
        stream_close(TAKE(n->stream));
        connection_end(n);
        return;
    }
    n->kept = true;
    n->heard = false;
    list_del(&n->node);
    list_add(&c->idle, &n->node);
    stream_read_pause(n->stream, false);
    stream_idle(n->stream, c->c.idle_ns);
    pump(c);
}

static void answer_whole(struct connection *n)
{
    struct http_call *k = n->call;
    bool sent = stream_queued(n->stream) == 0 && (!k->streamed || k->stream_ended);
    bool keep = k->keep_alive && sent;
    call_detach(k);
    if (k->body.over) {
        struct err err = ERR;
        (void)err_set(&err, E_TOO_LARGE, "%s at %s: the answer is over %zu bytes", k->what, k->client->address,
                      k->body.max);
        connection_next(n, keep);
        call_done(k, &err);
        return;
    }
    connection_next(n, keep);
    call_done(k, NULL);
}

static void upgraded(struct connection *n, struct str rest)
{
    struct http_call *k = n->call;
    struct stream *s = TAKE(n->stream);
    stream_fns_set(s, NULL, NULL);
    stream_idle(s, 0);
    stream_unread(s, rest);
    call_detach(k);
    connection_end(n);
    k->cancelled = true;
    k->busy++;
    if (k->fns->upgraded)
        k->fns->upgraded(k, &k->answer, s);
    else
        stream_free(s);
    (void)back(k);
}

static void head_came(struct connection *n, const struct http1_head *h, struct arena *own_arena, struct str *rest)
{
    struct http_call *k = n->call;
    if (h->status / 100 == 1 && h->status != 101)
        return; /* the answer is yet to come */
    arena_fini(&k->arena);
    k->arena = *own_arena;
    *own_arena = ARENA;
    timer_stop(&k->timer);
    k->answer.status = h->status;
    k->answer.headers = h->headers;
    k->keep_alive = h->keep_alive;
    k->head_told = true;
    if (h->status == 101 && !k->upgrade) { /* bytes that nobody knows how to read would follow */
        struct err err = ERR;
        (void)err_set(&err, E_UNAVAILABLE, "%s at %s: the answer switches protocols, which was not asked for",
                      k->what, k->client->address);
        call_broken(n, &err);
        return;
    }
    if (h->status == 101) {
        struct str left = *rest;
        *rest = S("");
        upgraded(n, left);
        return;
    }
    stream_idle(n->stream, k->stall_ns);
    if (k->fns->head) {
        k->busy++;
        k->fns->head(k, &k->answer);
        (void)back(k);
    }
}

static void body_came(struct connection *n, struct str body)
{
    struct http_call *k = n->call;
    if (body.n == 0)
        return;
    if (!k->answer_streamed) {
        strbuf_add(&k->body, body);
    } else if (k->fns->data) {
        k->busy++;
        k->fns->data(k, body);
        (void)back(k);
    }
}

static void connection_data(struct stream *s, struct str bytes)
{
    struct connection *n = stream_arg(s);
    AUTO(arena_fini) struct arena arena = ARENA;
    struct http1_head head;
    struct str body;
    struct err err = ERR;
    n->busy++;
    n->heard = true;
    while (!n->dead && n->call && !n->call->paused) {
        enum http1_event e = http1_next(&n->parser, &arena, &bytes, &head, &body, &err);
        if (e == HTTP1_MORE)
            break;
        switch (e) {
        case HTTP1_HEAD: head_came(n, &head, &arena, &bytes); break;
        case HTTP1_BODY: body_came(n, body); break;
        case HTTP1_END:
            if (n->call->head_told) /* else that of a 100 */
                answer_whole(n);
            break;
        case HTTP1_BAD:
            (void)err_wrap(&err, "%s at %s: the answer is not HTTP/1.1", n->call->what, n->client->address);
            err.kind = E_UNAVAILABLE;
            call_broken(n, &err);
            break;
        case HTTP1_MORE: break;
        }
    }
    if (!n->dead && !n->call && (bytes.n || !http1_between(&n->parser)))
        connection_end(n); /* said something unasked */
    else if (!n->dead && n->call && bytes.n)
        stream_unread(n->stream, bytes); /* paused */
    n->busy--;
    if (n->dead && n->busy == 0)
        connection_release(n);
}

static void connection_ended(struct stream *s)
{
    struct connection *n = stream_arg(s);
    struct err err = ERR;
    if (!n->call) {
        connection_end(n);
        return;
    }
    if (http1_eof(&n->parser, &err) == HTTP1_END && n->call->head_told) {
        n->call->keep_alive = false;
        answer_whole(n);
        return;
    }
    err = ERR;
    call_broken(n, &err);
}

static void connection_closed(struct stream *s, struct err *err)
{
    struct connection *n = stream_arg(s);
    struct err copy = *err;
    if (n->call)
        call_broken(n, &copy);
    else
        connection_end(n);
}

static void connection_drained(struct stream *s)
{
    struct connection *n = stream_arg(s);
    struct http_call *k = n->call;
    if (k && k->fns->drained) {
        k->busy++;
        k->fns->drained(k);
        (void)back(k);
    }
}

static const struct stream_fns connection_fns = {
    connection_opened, connection_data, connection_drained, connection_ended, connection_closed,
};

static void connection_new(struct http_client *c, struct http_call *k)
{
    struct connection *n = NEW(struct connection);
    n->client = c;
    n->call = k;
    k->conn = n;
    http1_init(&n->parser, true);
    list_add(&c->busy, &n->node);
    c->connections++;
    n->stream = stream_connect(c->loop,
                               &(struct stream_connect){.address = str_of(c->address),
                                                        .tls = c->c.tls,
                                                        .server_name = str_of(c->server_name),
                                                        .timeout_ns = c->c.connect_ns},
                               &connection_fns, n);
}

static void client_soon(struct soon *soon)
{
    struct http_client *c = container_of(soon, struct http_client, soon);
    for (struct http_call *k; (k = list_first(&c->waiting, struct http_call, node));) {
        struct connection *n = k->fresh ? NULL : list_first(&c->idle, struct connection, node);
        struct connection *spare = list_first(&c->idle, struct connection, node);
        if (!n && c->connections >= c->c.connections_most && spare)
            connection_end(spare);
        if (!n && c->connections >= c->c.connections_most)
            return; /* one that ends comes back here */
        list_del(&k->node);
        if (!n) {
            connection_new(c, k);
            continue;
        }
        list_del(&n->node);
        list_add(&c->busy, &n->node);
        stream_idle(n->stream, 0);
        n->call = k;
        k->conn = n;
        request_write(n);
    }
}

/* ---- what users call */

struct http_client *http_client_new(struct loop *l, const struct http_client_config *config)
{
    struct http_client *c = NEW(struct http_client);
    c->loop = l;
    c->c = *config;
    c->c.connections_most = config->connections_most ? config->connections_most : 64;
    c->c.idle_ns = config->idle_ns ? config->idle_ns : 90 * NS_PER_S;
    c->address = str_dupz(config->address);
    c->server_name = str_dupz(config->server_name);
    bool is_unix = str_starts(config->address, S("unix:"));
    c->host = str_dupz(config->host.n ? config->host : is_unix ? S("localhost") : config->address);
    list_init(&c->idle);
    list_init(&c->busy);
    list_init(&c->waiting);
    soon_init(&c->soon, l, client_soon);
    return c;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    c->dead = true;
    for (struct http_call *k; (k = list_first(&c->waiting, struct http_call, node));)
        http_cancel(k);
    for (struct connection *n; (n = list_first(&c->busy, struct connection, node));) {
        if (n->call)
            http_cancel(n->call);
        else
            connection_end(n);
    }
    for (struct connection *n; (n = list_first(&c->idle, struct connection, node));)
        connection_end(n);
    soon_stop(&c->soon);
    mem_free(c->address);
    mem_free(c->server_name);
    mem_free(c->host);
    mem_free(c);
}

static bool sendable(struct str method, struct str target)
{
    if (method.n == 0 || target.n == 0)
        return false;
    for (size_t i = 0; i < method.n; i++)
        if (method.p[i] < 'A' || method.p[i] > 'Z')
            return false;
    for (size_t i = 0; i < target.n; i++)
        if (target.p[i] <= ' ' || target.p[i] == 127)
            return false;
    return true;
}

static void add_head(struct strbuf *b, const struct http_client *c, const struct http_outgoing *o, size_t length)
{
    strbuf_addf(b, STR_FMT " " STR_FMT " HTTP/1.1\r\nHost: %s\r\n", STR_ARG(o->method), STR_ARG(o->target), c->host);
    for (size_t i = 0; o->headers && i < o->headers->n; i++)
        http1_add_field(b, o->headers->p[i].name, o->headers->p[i].value);
    if (o->content_type.n)
        http1_add_field(b, S("Content-Type"), o->content_type);
    if (o->upgrade.n) {
        strbuf_addz(b, "Connection: Upgrade\r\n");
        http1_add_field(b, S("Upgrade"), o->upgrade);
    }
    bool usual = str_eq(o->method, S("GET")) || str_eq(o->method, S("HEAD"));
    if (o->body_streamed)
        strbuf_addz(b, "Transfer-Encoding: chunked\r\n");
    else if (length || !usual)
        strbuf_addf(b, "Content-Length: %zu\r\n", length);
    strbuf_addz(b, "\r\n");
}

struct http_call *http_send(struct http_client *c, const struct http_outgoing *o, const struct http_call_fns *fns,
                            void *arg)
{
    struct http_call *k = NEW(struct http_call);
    k->client = c;
    k->fns = fns;
    k->arg = arg;
    k->head = STRBUF(HEAD_TEXT);
    k->early = STRBUF(EARLY_MOST);
    k->body = STRBUF(o->answer_most ? o->answer_most : 64u << 20);
    k->streamed = o->body_streamed;
    k->upgrade = o->upgrade.n > 0;
    k->answer_streamed = o->answer_streamed;
    k->no_body = str_eq(o->method, S("HEAD"));
    k->stall_ns = o->stall_ns;
    k->sent_body = o->buf ? buf_ref(o->buf) : o->body.n ? buf_new(o->body) : NULL;
    (void)snprintf(k->what, sizeof k->what, STR_FMT " " STR_FMT, STR_ARG(o->method), STR_ARG(o->target));
    timer_init(&k->timer, c->loop, call_timer);
    list_init(&k->node);
    add_head(&k->head, c, o, k->sent_body ? k->sent_body->n : 0);
    if (!sendable(o->method, o->target) || k->head.over) {
        (void)err_set(&k->err, E_INVALID, "%s: this method or target cannot be sent in HTTP/1.1", k->what);
        timer_set(&k->timer, 0);
        return k;
    }
    if (o->head_ns >= 0)
        timer_set(&k->timer, o->head_ns ? o->head_ns : 60 * NS_PER_S);
    list_add_tail(&c->waiting, &k->node);
    pump(c);
    return k;
}

void *http_call_arg(const struct http_call *k)
{
    return k->arg;
}

static void body_write(struct http_call *k, struct str bytes)
{
    if (k->conn && k->conn->opened)
        stream_write(k->conn->stream, bytes);
    else
        strbuf_add(&k->early, bytes);
}

void http_call_write(struct http_call *k, struct str bytes)
{
    ASSERT(k->streamed && !k->stream_ended);
    if (bytes.n == 0)
        return;
    char line[24];
    body_write(k, (struct str){line, (size_t)snprintf(line, sizeof line, "%zx\r\n", bytes.n)});
    body_write(k, bytes);
    body_write(k, S("\r\n"));
}

void http_call_end(struct http_call *k)
{
    ASSERT(k->streamed && !k->stream_ended);
    body_write(k, S("0\r\n\r\n"));
    k->stream_ended = true;
}

void http_call_pause(struct http_call *k, bool pause)
{
    k->paused = pause;
    if (k->conn && k->conn->stream)
        stream_read_pause(k->conn->stream, pause);
}

/* ---- straight-line */

struct fetch {
    struct loop *loop;
    struct arena *a;
    struct http_answer *out;
    struct err *err;
    bool ok;
};

static void fetched(struct http_call *k, const struct http_answer *a, struct err *err)
{
    struct fetch *f = k->arg;
    f->ok = a != NULL;
    if (a) {
        *f->out = (struct http_answer){.status = a->status, .body = str_dup(f->a, a->body)};
        for (size_t i = 0; i < a->headers.n; i++)
            http_header_add(f->a, &f->out->headers, a->headers.p[i].name, a->headers.p[i].value);
    } else {
        *f->err = *err;
    }
    loop_stop(f->loop);
}

bool http_fetch(const struct http_client_config *config, const struct http_outgoing *o, struct arena *a,
                struct http_answer *out, struct err *err)
{
    static const struct http_call_fns fns = {.done = fetched};
    AUTO(loop_free) struct loop *l = loop_new(err);
    if (!l)
        return false;
    struct http_client *c = http_client_new(l, config);
    struct fetch f = {l, a, out, err, false};
    (void)http_send(c, o, &fns, &f);
    loop_run(l);
    http_client_free(c);
    loop_run(l); /* what lingers */
    return f.ok;
}
