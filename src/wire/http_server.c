#include "wire/http_server.h"
#include "base/fault.h"
#include "base/map.h"
#include "sys/pulse.h"
#include "wire/http1.h"
#include "wire/http_int.h"
#include <time.h>

#define PENDING_MOST 65536 /* bytes of further requests that are read while one is served */
#define HEAD_TEXT    (256 * 1024)
#define BODY_SMALL   65536 /* bytes of a body that are taken however many others wait */

struct http_server {
    struct loop *loop;
    struct http_server_config c;
    struct http_server_counts counts;
    struct list connections, listeners;
    struct list idle; /* connections between requests, the longest so first */
    struct map peers; /* address -> how many connections come from there */
    size_t bodies;    /* bytes of bodies that are collected or being worked on */
    size_t little;    /* bytes of those of HTTP_LITTLE */
    bool draining, paused;
    void (*drained)(struct http_server *s, void *arg);
    void *drained_arg;
    struct soon soon;
    time_t date_of;
    char date[48];
};
struct door {
    struct list node;
    struct http_server *server;
    struct listener listener;
};

struct request;
struct peer_count {
    size_t n;
    char address[64];
};
struct connection {
    struct list node, idle; /* idle: linked while nothing is asked */
    struct http_server *server;
    struct stream *stream; /* NULL: taken by an upgrade, or gone */
    struct http1 parser;
    struct request *now;   /* being served */
    struct str rest;       /* of the bytes at hand, while they are looked at */
    struct strbuf pending; /* came while they could not be */
    struct timer timer;    /* the head, or idleness */
    struct soon soon;      /* looks at pending */
    struct http_peer peer;
    struct arena arena;
    int busy;
    bool dead, last, eof;    /* last: nothing is served after this one */
    struct peer_count *from; /* NULL: a unix socket, or nobody counts */
};
struct request {
    struct http_request r;
    struct connection *c; /* NULL: gone */
    struct strbuf body;
    size_t seen; /* bytes of a body that is thrown away */
    bool collect, little, given, body_done, paused, chunked, keep_alive, end_told;
    int64_t length;
};

static const struct http_writer http1_writer;
static const struct http_peer nobody = {.address = S_INIT("gone")};
static void look(struct connection *c);

static struct request *request_of(const struct http_request *r)
{
    return container_of((struct http_request *)(uintptr_t)r, struct request, r);
}

/* ---- connections come and go */

static void doors_pause(struct http_server *s, bool pause)
{
    if (s->paused == pause)
        return;
    s->paused = pause;
    list_each (d, &s->listeners, struct door, node)
        listener_pause(&d->listener, pause);
}

/* One address may not take all the connections there are. False: it has as many as it may. */
static bool peer_counted(struct connection *c, struct str address)
{
    struct http_server *s = c->server;
    ptrdiff_t port = str_rfind_char(address, ':');
    struct str host = str_sub(address, 0, port < 0 ? address.n : (size_t)port);
    if (!s->c.peer_connections_most || host.n >= sizeof c->from->address)
        return true;
    struct peer_count *p = map_get(&s->peers, host);
    if (!p) {
        p = NEW(struct peer_count);
        memcpy(p->address, host.p, host.n);
        (void)map_put(&s->peers, host, p);
    }
    if (p->n >= s->c.peer_connections_most)
        return false;
    p->n++;
    c->from = p;
    return true;
}

static void peer_forgotten(struct connection *c)
{
    struct peer_count *p = TAKE(c->from);
    if (!p || --p->n)
        return;
    (void)map_del(&c->server->peers, str_of(p->address));
    mem_free(p);
}

static void connection_release(struct connection *c)
{
    http1_fini(&c->parser);
    strbuf_fini(&c->pending);
    arena_fini(&c->arena);
    mem_free(c);
}

static void request_gone(struct request *q, bool tell)
{
    struct connection *c = q->c;
    q->r.gone = true;
    q->c = NULL;
    if (c)
        c->now = NULL;
    q->r.peer = &nobody; /* what the log line of its end reads */
    if (tell && q->r.on_gone)
        q->r.on_gone(&q->r);
}

/* The line is cut (or was taken). on_gone of a request under way may run: only from callbacks. */
static void connection_end(struct connection *c, bool tell)
{
    if (c->dead)
        return;
    struct http_server *s = c->server;
    c->dead = true;
    timer_stop(&c->timer);
    soon_stop(&c->soon);
    list_del(&c->node);
    list_del(&c->idle);
    peer_forgotten(c);
    s->counts.connections--;
    if (s->counts.connections < s->c.connections_most)
        doors_pause(s, false);
    if (s->draining)
        soon_set(&s->soon);
    stream_free(c->stream);
    c->stream = NULL;
    if (c->now) {
        c->busy++;
        request_gone(c->now, tell);
        c->busy--;
    }
    if (c->busy == 0)
        connection_release(c);
}

/* What a request's body counts into. */
static size_t *bodies_of(struct http_server *s, const struct request *q)
{
    return q->little ? &s->little : &s->bodies;
}

static void request_free(struct request *q)
{
    if (q->c)
        q->c->now = NULL;
    if (q->r.server)
        *bodies_of(q->r.server, q) -= q->body.n;
    strbuf_fini(&q->body);
    arena_fini(&q->r.arena);
    mem_free(q);
}

/* The service has not heard of it. */
static void request_not_given(struct connection *c)
{
    if (!c->now || c->now->given)
        return;
    c->server->counts.requests--;
    request_free(c->now);
}

/* What is queued still goes out. */
static void connection_close(struct connection *c)
{
    if (c->stream)
        stream_close(c->stream);
    c->stream = NULL;
    connection_end(c, false);
}

static void connection_timer(struct timer *t)
{
    struct connection *c = container_of(t, struct connection, timer);
    if (c->now || !http1_between(&c->parser)) {
        c->server->counts.timeouts++;
        stream_write(c->stream, S("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
    }
    request_not_given(c);
    connection_close(c);
}

/* ---- writing */

/* RFC 9110 6.6.1; the text of this second. */
static const char *date(struct http_server *s)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t now = (time_t)(clock_real() / NS_PER_S);
    struct tm tm;
    if (now == s->date_of || !gmtime_r(&now, &tm))
        return s->date;
    s->date_of = now;
    (void)snprintf(s->date, sizeof s->date, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday,
                   months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    return s->date;
}

static void add_head(struct strbuf *b, struct request *q, struct str content_type, int64_t length)
{
    struct http_request *r = &q->r;
    strbuf_addf(b, "HTTP/1.1 %d %s\r\n", r->status, http_reason(r->status));
    if (content_type.n)
        http1_add_field(b, S("Content-Type"), content_type);
    for (size_t i = 0; i < r->answer.n; i++)
        http1_add_field(b, r->answer.p[i].name, r->answer.p[i].value);
    strbuf_addf(b, "Date: %s\r\n", date(r->server));
    bool none = r->status == 204 || r->status == 304;
    if (length >= 0 && !none)
        strbuf_addf(b, "Content-Length: %lld\r\n", (long long)length);
    if (q->chunked)
        strbuf_addz(b, "Transfer-Encoding: chunked\r\n");
    if (!q->keep_alive)
        strbuf_addz(b, "Connection: close\r\n");
    strbuf_addz(b, "\r\n");
}

static void h1_start(struct http_request *r, struct str content_type, int64_t length)
{
    struct request *q = request_of(r);
    struct connection *c = q->c;
    bool none = r->status == 204 || r->status == 304;
    q->length = length;
    q->chunked = length < 0 && q->keep_alive && !none; /* also for HEAD: as GET would say */
    if (length < 0 && !q->chunked && !none)
        q->keep_alive = false; /* HTTP/1.0: the end of the line ends the body */
    if (!q->body_done || c->last || c->eof || c->server->draining)
        q->keep_alive = false; /* what is not read of the request's body cannot be told from the next one */
    AUTO(strbuf_fini) struct strbuf head = STRBUF(HEAD_TEXT);
    add_head(&head, q, content_type, length);
    stream_idle(c->stream, 0);
    stream_stall(c->stream, c->server->c.stall_ns);
    stream_write(c->stream, strbuf_str(&head));
}

static void chunk_begin(struct request *q, size_t n)
{
    char line[24];
    if (q->chunked)
        stream_write(q->c->stream, (struct str){line, (size_t)snprintf(line, sizeof line, "%zx\r\n", n)});
}

static void chunk_end(struct request *q)
{
    if (q->chunked)
        stream_write(q->c->stream, S("\r\n"));
}

static void h1_write(struct http_request *r, struct str bytes)
{
    struct request *q = request_of(r);
    chunk_begin(q, bytes.n);
    stream_write(q->c->stream, bytes);
    chunk_end(q);
}

static void h1_write_buf(struct http_request *r, struct buf *b)
{
    struct request *q = request_of(r);
    chunk_begin(q, b->n);
    if (b->n < 1024)
        stream_write(q->c->stream, buf_str(b)); /* small ones are cheaper together */
    else
        stream_write_buf(q->c->stream, b);
    chunk_end(q);
}

static size_t h1_queued(const struct http_request *r)
{
    return stream_queued(request_of(r)->c->stream);
}

static bool h1_over_high(const struct http_request *r)
{
    return stream_over_high(request_of(r)->c->stream);
}

static void request_ended(struct request *q)
{
    struct http_server *s = q->r.server;
    if (!s)
        return;
    s->counts.requests--;
    s->counts.answered++;
    if (s->c.service.ended)
        s->c.service.ended(&q->r, s->c.service.arg);
}

/* The connection is free for the next request, if there may be one. */
static void connection_next(struct connection *c, bool keep_alive)
{
    if (!keep_alive) {
        connection_close(c);
        return;
    }
    timer_set(&c->timer, c->server->c.idle_ns);
    list_add_tail(&c->server->idle, &c->idle);
    soon_set(&c->soon);
}

static void h1_end(struct http_request *r)
{
    struct request *q = request_of(r);
    struct connection *c = q->c;
    bool head = str_eq(r->method, S("HEAD"));
    bool short_of = q->length >= 0 && !head && r->status != 204 && r->status != 304 && r->sent != (uint64_t)q->length;
    bool keep_alive = q->keep_alive;
    request_ended(q);
    if (c && short_of) {
        request_free(q);
        connection_end(c, false); /* the client must not take it for whole */
        return;
    }
    if (c && q->chunked && !head)
        stream_write(c->stream, S("0\r\n\r\n"));
    request_free(q);
    if (c)
        connection_next(c, keep_alive);
}

static void h1_abort(struct http_request *r)
{
    struct request *q = request_of(r);
    struct connection *c = q->c;
    request_ended(q);
    request_free(q);
    if (c)
        connection_end(c, false);
}

static void h1_body_pause(struct http_request *r, bool pause)
{
    struct request *q = request_of(r);
    if (q->paused == pause)
        return;
    q->paused = pause;
    stream_read_pause(q->c->stream, pause);
    if (!pause)
        soon_set(&q->c->soon);
}

static struct stream *h1_upgrade(struct http_request *r, struct str protocol)
{
    struct request *q = request_of(r);
    struct connection *c = q->c;
    r->status = 101;
    request_ended(q);
    if (!c) {
        request_free(q);
        return NULL;
    }
    AUTO(strbuf_fini) struct strbuf b = STRBUF(HEAD_TEXT);
    strbuf_addz(&b, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n");
    http1_add_field(&b, S("Upgrade"), protocol);
    for (size_t i = 0; i < r->answer.n; i++)
        http1_add_field(&b, r->answer.p[i].name, r->answer.p[i].value);
    strbuf_addz(&b, "\r\n");
    struct stream *s = TAKE(c->stream);
    stream_fns_set(s, NULL, NULL);
    stream_idle(s, 0);
    stream_stall(s, 0);
    stream_write(s, strbuf_str(&b));
    stream_unread(s, c->busy ? c->rest : strbuf_str(&c->pending));
    stream_read_pause(s, false);
    c->rest = S("");
    request_free(q);
    connection_end(c, false);
    return s;
}

static const struct http_writer http1_writer = {
    h1_start, h1_write, h1_write_buf, h1_queued, h1_over_high, h1_end, h1_abort, h1_body_pause, h1_upgrade,
};

/* ---- reading */

/* Nothing that follows can be read: an answer in words, then the end. */
static void refuse(struct connection *c, int status, const char *why)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    bool json = status == 413 && c->server->c.service.too_large.n;
    struct str body = json ? c->server->c.service.too_large : str_of(why);
    strbuf_addf(&b,
                "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nConnection: close\r\n%s"
                "Content-Length: %zu\r\n\r\n" STR_FMT "\n",
                status, http_reason(status), json ? "application/json" : "text/plain; charset=utf-8",
                status == 503 ? "Retry-After: 1\r\n" : "", body.n + 1, STR_ARG(body));
    c->server->counts.refused++;
    stream_write(c->stream, strbuf_str(&b));
    request_not_given(c);
    connection_close(c);
}

static void give(struct request *q)
{
    struct http_server *s = q->r.server;
    q->given = true;
    timer_stop(&q->c->timer);
    if (q->collect)
        q->r.body = strbuf_str(&q->body);
    if (q->body_done) {
        stream_idle(q->c->stream, 0);
        stream_stall(q->c->stream, s->c.stall_ns);
    }
    pulse_doing(STR_FMT " " STR_FMT, STR_ARG(q->r.method), STR_ARG(q->r.path));
    fault_pass("http.request");
    s->c.service.request(&q->r, s->c.service.arg);
}

static struct str lower(struct arena *a, struct str s)
{
    char *p = arena_dup(a, s.p, s.n);
    for (size_t i = 0; i < s.n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] - 'A' + 'a');
    return (struct str){p, s.n};
}

static void head_came(struct connection *c, const struct http1_head *h, struct arena *own_arena)
{
    struct http_server *s = c->server;
    struct request *q = NEW(struct request);
    q->r.arena = *own_arena;
    *own_arena = ARENA;
    struct http_request *r = &q->r;
    r->server = s;
    r->service_arg = s->c.service.arg;
    r->method = h->method;
    r->target = h->target;
    (void)str_split(h->target, '?', &r->path, &r->query);
    r->host = lower(&r->arena, h->host);
    r->headers = h->headers;
    r->peer = &c->peer;
    r->came = clock_mono();
    r->writer = &http1_writer;
    q->c = c;
    q->body = STRBUF(s->c.body_most);
    q->keep_alive = h->keep_alive;
    c->now = q;
    s->counts.requests++;
    timer_stop(&c->timer);
    list_del(&c->idle);
    bool empty = h->length == 0;
    enum http_body want = empty || !s->c.service.head ? HTTP_COLLECT : s->c.service.head(r, s->c.service.arg);
    q->little = want == HTTP_LITTLE;
    q->collect = want != HTTP_STREAM;
    r->unread = want == HTTP_NOTHING || (q->little && h->length > BODY_SMALL);
    if (q->collect && h->length > (int64_t)s->c.body_most) {
        char why[64];
        (void)snprintf(why, sizeof why, "the body is over the limit of %zu bytes", s->c.body_most);
        refuse(c, 413, why);
        return;
    }
    if (empty)
        return;
    stream_idle(c->stream, s->c.stall_ns);
    if (h->expect_continue)
        stream_write(c->stream, S("HTTP/1.1 100 Continue\r\n\r\n"));
    if (q->collect)
        timer_set(&c->timer, s->c.body_ns); /* however slowly it trickles */
    else
        give(q);
}

/* The bodies of all clients together have a bound; small ones always find room, so that nobody is locked out. */
static bool bodies_have_room(const struct http_server *s, const struct request *q, size_t n)
{
    if (q->little)
        return q->body.n + n <= BODY_SMALL && s->little + n <= s->c.bodies_most / 16;
    return q->body.n + n <= BODY_SMALL || s->bodies + n <= s->c.bodies_most;
}

static void body_came(struct connection *c, struct str body)
{
    struct request *q = c->now;
    if (!q || body.n == 0)
        return;
    if (q->collect && q->r.unread) {
        q->seen += body.n;
        if (q->seen > c->server->c.body_most)
            refuse(c, 413, "the body is over the limit");
    } else if (q->collect) {
        struct http_server *s = c->server;
        if (q->little && !bodies_have_room(s, q, body.n)) {
            q->r.unread = true;
            q->seen = q->body.n + body.n;
            *bodies_of(s, q) -= q->body.n;
            strbuf_fini(&q->body);
            q->body = STRBUF(s->c.body_most);
            return;
        }
        if (!bodies_have_room(s, q, body.n)) {
            refuse(c, 503, "the server holds as many large bodies as it may; try again later");
            return;
        }
        size_t had = q->body.n;
        strbuf_add(&q->body, body);
        *bodies_of(s, q) += q->body.n - had;
        if (q->body.over)
            refuse(c, 413, "the body is over the limit");
    } else if (q->r.on_data) {
        q->r.on_data(&q->r, body);
    }
}

static void body_ended(struct connection *c)
{
    struct request *q = c->now;
    if (!q)
        return;
    q->body_done = true;
    if (q->collect) {
        give(q);
        return;
    }
    stream_idle(c->stream, 0);
    stream_stall(c->stream, c->server->c.stall_ns);
    if (q->r.on_data_end)
        q->r.on_data_end(&q->r);
}

static bool may_read(const struct connection *c)
{
    if (c->dead || !c->stream)
        return false;
    if (!c->now)
        return !stream_over_high(c->stream); /* who does not read answers gets no further ones */
    return !c->now->body_done && !c->now->paused;
}

/* Reads c->rest as far as may be; what must wait goes to pending. */
static void read_rest(struct connection *c)
{
    AUTO(arena_fini) struct arena arena = ARENA;
    struct http1_head head;
    struct str body;
    struct err err = ERR;
    while (may_read(c)) {
        bool between = http1_between(&c->parser) && !c->now;
        enum http1_event e = http1_next(&c->parser, &arena, &c->rest, &head, &body, &err);
        if (e == HTTP1_MORE) {
            if (between && !http1_between(&c->parser) && !c->dead)
                timer_set(&c->timer, c->server->c.head_ns); /* the first byte of a head */
            break;
        }
        switch (e) {
        case HTTP1_HEAD: head_came(c, &head, &arena); break;
        case HTTP1_BODY: body_came(c, body); break;
        case HTTP1_END: body_ended(c); break;
        case HTTP1_BAD:
            if (c->now && c->now->given)
                connection_end(c, true);
            else
                refuse(c, c->parser.refuse_status, err.text);
            break;
        case HTTP1_MORE: break;
        }
    }
}

static void look_at(struct connection *c, struct str bytes)
{
    c->busy++;
    c->rest = bytes;
    read_rest(c);
    if (!c->dead && c->rest.n) {
        strbuf_add(&c->pending, c->rest);
        if (c->pending.n >= PENDING_MOST)
            stream_read_pause(c->stream, true);
    }
    c->rest = S("");
    c->busy--;
    if (c->dead && c->busy == 0)
        connection_release(c);
    else if (!c->dead && c->eof && !c->now && c->pending.n == 0)
        connection_close(c); /* the client has ended in the midst of a head */
}

static void connection_data(struct stream *s, struct str bytes)
{
    struct connection *c = stream_arg(s);
    if (c->pending.n) {
        strbuf_add(&c->pending, bytes);
        if (c->pending.n >= PENDING_MOST)
            stream_read_pause(s, true);
        soon_set(&c->soon);
        return;
    }
    look_at(c, bytes);
}

static void look(struct connection *c)
{
    if (c->pending.n && may_read(c)) {
        AUTO(strbuf_fini) struct strbuf b = c->pending;
        c->pending = STRBUF(b.max);
        stream_read_pause(c->stream, false);
        look_at(c, strbuf_str(&b)); /* may free c */
        return;
    }
    if (!c->now && (c->eof ? !c->pending.n : c->server->draining))
        connection_close(c);
}

static void connection_soon(struct soon *s)
{
    look(container_of(s, struct connection, soon));
}

static void connection_ended(struct stream *s)
{
    struct connection *c = stream_arg(s);
    c->eof = c->last = true;
    struct request *q = c->now;
    if (!q) {
        if (c->pending.n == 0)
            connection_close(c);
        return;
    }
    if (!q->body_done) {
        if (q->given) {
            connection_end(c, true);
        } else {
            request_not_given(c);
            connection_end(c, false);
        }
        return;
    }
    if (q->r.on_gone && !q->end_told) { /* it may still read, but a client of ours that has left looks the same */
        q->end_told = true;
        q->r.on_gone(&q->r);
    }
}

static void connection_closed(struct stream *s, UNUSED struct err *err)
{
    struct connection *c = stream_arg(s);
    if (err->kind == E_TIMEOUT)
        c->server->counts.timeouts++;
    request_not_given(c);
    connection_end(c, true);
}

static void connection_drained(struct stream *s)
{
    struct connection *c = stream_arg(s);
    if (!c->now)
        soon_set(&c->soon); /* further requests wait in pending */
    else if (c->now->r.on_drained)
        c->now->r.on_drained(&c->now->r);
}

static void connection_opened(struct stream *s)
{
    struct connection *c = stream_arg(s);
    c->peer.is_tls = stream_is_tls(s);
    if (c->peer.is_tls)
        stream_peer(s, &c->arena, &c->peer.tls);
    timer_set(&c->timer, c->server->c.head_ns);
    list_add_tail(&c->server->idle, &c->idle);
}

static const struct stream_fns connection_fns = {
    connection_opened, connection_data, connection_drained, connection_ended, connection_closed,
};

/* All are taken: who has been idle longest makes room, and where nobody is, others wait in the backlog. */
static void make_room(struct http_server *s)
{
    struct connection *c = list_first(&s->idle, struct connection, idle);
    if (s->counts.connections < s->c.connections_most)
        return;
    if (c && s->c.peer_connections_most) {
        s->counts.evicted++;
        connection_close(c);
    } else {
        doors_pause(s, true);
    }
}

static void connection_new(struct http_server *s, int own_fd, const struct addr *peer)
{
    struct connection *c = NEW(struct connection);
    c->server = s;
    http1_init(&c->parser, false);
    c->pending = STRBUF(PENDING_MOST + 128 * 1024);
    timer_init(&c->timer, s->loop, connection_timer);
    soon_init(&c->soon, s->loop, connection_soon);
    struct err err = ERR;
    list_init(&c->idle);
    c->peer.is_unix = peer->sa.sa_family == AF_UNIX;
    if (c->peer.is_unix) {
        c->peer.address = S("unix");
        if (!socket_peer_cred(own_fd, &c->peer.cred, &err))
            c->peer.cred = (struct peer_cred){-1, (uid_t)-1, (gid_t)-1};
    } else {
        AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
        addr_text(peer, &text);
        c->peer.address = str_dup(&c->arena, strbuf_str(&text));
        if (!peer_counted(c, c->peer.address)) {
            s->counts.turned_away++;
            fd_close(own_fd);
            connection_release(c);
            return;
        }
    }
    list_add_tail(&s->connections, &c->node);
    s->counts.connections++;
    s->counts.accepted++;
    c->stream = stream_new(s->loop, own_fd, s->c.tls, &connection_fns, c);
    make_room(s);
}

/* ---- the server */

static void accepted(struct listener *l, int own_fd, const struct addr *peer)
{
    connection_new(container_of(l, struct door, listener)->server, own_fd, peer);
}

static void server_soon(struct soon *soon)
{
    struct http_server *s = container_of(soon, struct http_server, soon);
    if (s->counts.connections || !s->drained)
        return;
    void (*done)(struct http_server * s, void *arg) = s->drained;
    s->drained = NULL;
    done(s, s->drained_arg);
}

struct http_server *http_server_new(struct loop *l, const struct http_server_config *c)
{
    struct http_server *s = NEW(struct http_server);
    s->loop = l;
    s->c = *c;
    s->c.body_most = c->body_most ? c->body_most : 3u << 20;
    s->c.connections_most = c->connections_most ? c->connections_most : 10000;
    s->c.head_ns = c->head_ns ? c->head_ns : 10 * NS_PER_S;
    s->c.idle_ns = c->idle_ns ? c->idle_ns : 180 * NS_PER_S;
    s->c.stall_ns = c->stall_ns ? c->stall_ns : 60 * NS_PER_S;
    s->c.body_ns = c->body_ns ? c->body_ns : 60 * NS_PER_S;
    s->c.bodies_most = c->bodies_most ? c->bodies_most : 256u << 20;
    list_init(&s->idle);
    s->peers = MAP;
    list_init(&s->connections);
    list_init(&s->listeners);
    soon_init(&s->soon, l, server_soon);
    return s;
}

void http_server_listen(struct http_server *s, int own_fd)
{
    struct door *d = NEW(struct door);
    d->server = s;
    list_add_tail(&s->listeners, &d->node);
    listener_start(&d->listener, s->loop, own_fd, accepted);
    listener_pause(&d->listener, s->paused);
}

void http_server_accept(struct http_server *s, int own_fd)
{
    struct addr peer = {.n = sizeof peer.storage};
    if (getpeername(own_fd, &peer.sa, &peer.n) < 0)
        peer.sa.sa_family = AF_UNIX;
    connection_new(s, own_fd, &peer);
}

const struct http_server_counts *http_server_counts(const struct http_server *s)
{
    return &s->counts;
}

size_t http_server_bodies(const struct http_server *s)
{
    return s->bodies + s->little;
}

size_t http_server_queued(const struct http_server *s)
{
    size_t sum = 0;
    list_each (c, &s->connections, struct connection, node)
        sum += stream_queued(c->stream);
    return sum;
}

static void doors_close(struct http_server *s)
{
    for (struct door *d; (d = list_first(&s->listeners, struct door, node));) {
        list_del(&d->node);
        listener_stop(&d->listener);
        mem_free(d);
    }
}

void http_server_drain(struct http_server *s, void (*done)(struct http_server *s, void *arg), void *arg)
{
    s->draining = true;
    s->drained = done;
    s->drained_arg = arg;
    doors_close(s);
    list_each (c, &s->connections, struct connection, node) {
        c->last = true;
        if (!c->now)
            soon_set(&c->soon);
    }
    soon_set(&s->soon);
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    doors_close(s);
    s->draining = false;
    for (struct connection *c; (c = list_first(&s->connections, struct connection, node));) {
        struct request *q = c->now;
        if (q && !q->given) {
            request_free(q);
        } else if (q) {
            q->r.server = NULL;
        }
        connection_end(c, false);
    }
    soon_stop(&s->soon);
    map_fini(&s->peers);
    mem_free(s);
}
