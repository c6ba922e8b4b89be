/* The session of HTTP/1.1 and 1.0 (RFC 9112), server's side: one exchange at a time, in the order of the requests.
 *
 * Bytes go to the parser (http1.h) as long as they may be looked at: not while an answer is under way or a body is
 * paused. What comes meanwhile waits in `pending`; when that holds PENDING_MOST the stream is not read any more, so a
 * client that sends requests ahead is held back by TCP. An answer that has ended rings `soon`, and the next request
 * is read from `pending` first.
 *
 * Time is measured by one timer for what has a beginning - the head of a request from its first byte (or from when
 * the line opened), a collected body however slowly it trickles, rest between requests - and by the stream for what
 * must move: a body that comes, an answer that is taken.
 *
 * A client that leaves while its body is paused is looked for behind the bytes that nobody reads yet: once it has
 * written its last, all the kernel holds is taken into `pending`, and where the body cannot end in that it has gone.
 *
 * The line is kept for another request unless somebody wants its end, the length of the answer shows only in it, or
 * bytes of the request's body are left that could not be told from the next request. */
#include "wire/http1.h"
#include "wire/http_session.h"

#define PENDING_MOST 65536       /* bytes of further requests that are read while one is served */
#define LAST_MOST    (64u << 20) /* and of what a client that has written its last may have left with the kernel */
#define HEAD_TEXT    (256 * 1024)
#define A_TURN       8 /* requests of one line that are taken before others have their turn */

struct http1_exchange;
struct http1_server_session {
    struct http_session s;
    struct http1 parser;
    struct http1_exchange *now; /* being read or served */
    struct str rest;            /* of the bytes at hand, while they are looked at */
    struct strbuf pending;      /* came while they could not be */
    struct timer timer;         /* the head, a collected body, or rest */
    struct soon soon;           /* looks at pending */
    int busy;                   /* callbacks under way */
    bool last, eof;             /* last: nothing is served after this one */
    bool hung;                  /* the client has written its last, and all of it goes to pending */
};
struct http1_exchange {
    struct http_exchange e;
    bool paused, chunked, keep_alive, end_told;
};

static struct http1_server_session *session_of(struct http_session *s)
{
    return container_of(s, struct http1_server_session, s);
}

static struct http1_exchange *exchange_of(const struct http_exchange *e)
{
    return container_of((struct http_exchange *)(uintptr_t)e, struct http1_exchange, e);
}

static struct http1_server_session *session_by(const struct http_exchange *e)
{
    return session_of(e->session);
}

static struct stream *stream_of(const struct http_exchange *e)
{
    return e->session->line->stream;
}

static bool is_over(const struct http1_server_session *c)
{
    return !c->s.line;
}

static const struct http_server_config *config_of(const struct http1_server_session *c)
{
    return &c->s.line->server->c;
}

/* ---- it comes and goes */

static void session_timer(struct timer *t);
static void session_soon(struct soon *s);

static struct http_session *session_open(struct http_line *l)
{
    struct http1_server_session *c = NEW(struct http1_server_session);
    c->s = (struct http_session){&http1_session, l};
    http1_init(&c->parser, false);
    c->pending = STRBUF(PENDING_MOST + 128 * 1024);
    timer_init(&c->timer, l->server->loop, session_timer);
    soon_init(&c->soon, l->server->loop, session_soon);
    timer_set(&c->timer, l->server->c.head_ns);
    http_line_rest(l);
    if (l->server->draining)
        c->last = true;
    return &c->s;
}

static void session_release(struct http1_server_session *c)
{
    http1_fini(&c->parser);
    strbuf_fini(&c->pending);
    mem_free(c);
}

static void session_over(struct http_session *s, bool tell)
{
    struct http1_server_session *c = session_of(s);
    struct http1_exchange *q = TAKE(c->now);
    timer_stop(&c->timer);
    soon_stop(&c->soon);
    c->busy++;
    if (q && q->e.given)
        http_exchange_gone(&q->e, tell);
    else if (q)
        http_exchange_drop(&q->e);
    c->busy--;
    if (c->busy == 0)
        session_release(c);
}

static void session_timer(struct timer *t)
{
    struct http1_server_session *c = container_of(t, struct http1_server_session, timer);
    struct http_line *l = c->s.line;
    if (c->now || !http1_between(&c->parser)) {
        l->server->counts.timeouts++;
        stream_write(l->stream, S("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
    }
    http_line_close(l);
}

static void session_drain(struct http_session *s)
{
    struct http1_server_session *c = session_of(s);
    c->last = true;
    if (!c->now)
        soon_set(&c->soon);
}

/* ---- writing */

static void add_head(struct strbuf *b, struct http1_exchange *q, struct str content_type, int64_t length)
{
    struct http_request *r = &q->e.r;
    strbuf_addf(b, "HTTP/1.1 %d %s\r\n", r->status, http_reason(r->status));
    if (content_type.n)
        http1_add_field(b, S("Content-Type"), content_type);
    for (size_t i = 0; i < r->answer.n; i++)
        http1_add_field(b, r->answer.p[i].name, r->answer.p[i].value);
    strbuf_addf(b, "Date: %s\r\n", http_server_date(r->server));
    bool none = r->status == 204 || r->status == 304;
    if (length >= 0 && !none)
        strbuf_addf(b, "Content-Length: %lld\r\n", (long long)length);
    if (q->chunked)
        strbuf_addz(b, "Transfer-Encoding: chunked\r\n");
    if (!q->keep_alive)
        strbuf_addz(b, "Connection: close\r\n");
    strbuf_addz(b, "\r\n");
}

static void answer_start(struct http_exchange *e, struct str content_type, int64_t length)
{
    struct http1_exchange *q = exchange_of(e);
    struct http1_server_session *c = session_by(e);
    bool none = e->r.status == 204 || e->r.status == 304;
    q->chunked = length < 0 && q->keep_alive && !none; /* also for HEAD: as GET would say */
    if (length < 0 && !q->chunked && !none)
        q->keep_alive = false; /* HTTP/1.0: the end of the line ends the body */
    if (!e->body_done || c->last || c->eof)
        q->keep_alive = false; /* what is not read of the request's body cannot be told from the next one */
    AUTO(strbuf_fini) struct strbuf head = STRBUF(HEAD_TEXT);
    add_head(&head, q, content_type, length);
    stream_idle(stream_of(e), 0);
    stream_stall(stream_of(e), config_of(c)->stall_ns);
    stream_write(stream_of(e), strbuf_str(&head));
}

static void chunk_begin(const struct http1_exchange *q, size_t n)
{
    char line[24];
    if (q->chunked)
        stream_write(stream_of(&q->e), (struct str){line, (size_t)snprintf(line, sizeof line, "%zx\r\n", n)});
}

static void chunk_end(const struct http1_exchange *q)
{
    if (q->chunked)
        stream_write(stream_of(&q->e), S("\r\n"));
}

static void answer_write(struct http_exchange *e, struct str bytes)
{
    struct http1_exchange *q = exchange_of(e);
    chunk_begin(q, bytes.n);
    stream_write(stream_of(e), bytes);
    chunk_end(q);
}

static void answer_write_buf(struct http_exchange *e, struct buf *b)
{
    struct http1_exchange *q = exchange_of(e);
    chunk_begin(q, b->n);
    if (b->n < 1024)
        stream_write(stream_of(e), buf_str(b)); /* small ones are cheaper together */
    else
        stream_write_buf(stream_of(e), b);
    chunk_end(q);
}

static size_t answer_queued(const struct http_exchange *e)
{
    return stream_queued(stream_of(e));
}

static bool answer_over_high(const struct http_exchange *e)
{
    return stream_over_high(stream_of(e));
}

static void answer_end(struct http_exchange *e)
{
    struct http1_exchange *q = exchange_of(e);
    struct http1_server_session *c = session_by(e);
    if (q->chunked && !str_eq(e->r.method, S("HEAD")))
        stream_write(stream_of(e), S("0\r\n\r\n"));
    c->now = NULL;
    if (!q->keep_alive) {
        http_line_close(c->s.line);
        return;
    }
    timer_set(&c->timer, config_of(c)->idle_ns);
    http_line_rest(c->s.line);
    soon_set(&c->soon);
}

static void answer_abort(struct http_exchange *e)
{
    struct http1_server_session *c = session_by(e);
    c->now = NULL;
    http_line_end(c->s.line, false);
}

static void body_pause(struct http_exchange *e, bool pause)
{
    struct http1_exchange *q = exchange_of(e);
    if (q->paused == pause)
        return;
    q->paused = pause;
    if (!session_by(e)->hung)
        stream_read_pause(stream_of(e), pause);
    if (!e->r.status && !e->body_done) /* while it is the handler that waits, the client stalls nothing */
        stream_idle(stream_of(e), pause ? 0 : config_of(session_by(e))->stall_ns);
    if (!pause)
        soon_set(&session_by(e)->soon);
}

static struct stream *exchange_upgrade(struct http_exchange *e, struct str protocol)
{
    struct http1_server_session *c = session_by(e);
    const struct http_headers *fields = &e->r.answer;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(HEAD_TEXT);
    strbuf_addz(&b, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n");
    http1_add_field(&b, S("Upgrade"), protocol);
    for (size_t i = 0; i < fields->n; i++)
        http1_add_field(&b, fields->p[i].name, fields->p[i].value);
    strbuf_addz(&b, "\r\n");
    struct stream *s = c->s.line->stream;
    stream_idle(s, 0);
    stream_stall(s, 0);
    stream_write(s, strbuf_str(&b));
    stream_unread(s, c->busy ? c->rest : strbuf_str(&c->pending));
    stream_read_pause(s, false);
    c->rest = S("");
    c->now = NULL;
    return http_line_take(c->s.line);
}

/* ---- reading */

/* Nothing that follows can be read: an answer in words, then the end. */
static void session_refuse(struct http1_server_session *c, const struct http_refusal *refusal)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct http_line *l = c->s.line;
    struct str type, body = http_refusal_body(l->server, refusal, &type);
    strbuf_addf(&b,
                "HTTP/1.1 %d %s\r\nContent-Type: " STR_FMT "\r\nConnection: close\r\n%s"
                "Content-Length: %zu\r\n\r\n" STR_FMT "\n",
                refusal->status, http_reason(refusal->status), STR_ARG(type),
                refusal->status == 503 ? "Retry-After: 1\r\n" : "", body.n + 1, STR_ARG(body));
    l->server->counts.refused++;
    stream_write(l->stream, strbuf_str(&b));
    http_line_close(l);
}

static void exchange_give(struct http1_server_session *c, struct http1_exchange *q)
{
    timer_stop(&c->timer);
    if (q->e.body_done) {
        stream_idle(c->s.line->stream, 0);
        stream_stall(c->s.line->stream, config_of(c)->stall_ns);
    }
    http_exchange_give(&q->e);
}

static void head_came(struct http1_server_session *c, const struct http1_head *h, struct arena *own_arena)
{
    struct http1_exchange *q = NEW(struct http1_exchange);
    struct http_head head = {h->method, h->target, h->host, h->headers, h->length};
    struct http_refusal refusal;
    timer_stop(&c->timer);
    http_line_work(c->s.line);
    q->keep_alive = h->keep_alive;
    c->now = q;
    if (!http_exchange_begin(&q->e, &c->s, &head, own_arena, &refusal)) {
        session_refuse(c, &refusal);
        return;
    }
    if (h->length == 0)
        return;
    stream_idle(c->s.line->stream, config_of(c)->stall_ns);
    if (h->expect_continue)
        stream_write(c->s.line->stream, S("HTTP/1.1 100 Continue\r\n\r\n"));
    if (q->e.collect)
        timer_set(&c->timer, config_of(c)->body_ns); /* however slowly it trickles */
    else
        exchange_give(c, q);
}

static void body_came(struct http1_server_session *c, struct str body)
{
    struct http_refusal refusal;
    if (c->now && body.n && !http_exchange_body(&c->now->e, body, &refusal))
        session_refuse(c, &refusal);
}

static void body_ended(struct http1_server_session *c)
{
    struct http1_exchange *q = c->now;
    if (!q)
        return;
    q->e.body_done = true;
    if (q->paused) {
        q->paused = false;
        stream_read_pause(c->s.line->stream, false);
    }
    if (q->e.collect) {
        exchange_give(c, q);
        return;
    }
    stream_idle(c->s.line->stream, 0);
    stream_stall(c->s.line->stream, config_of(c)->stall_ns);
    if (q->e.r.on_data_end)
        q->e.r.on_data_end(&q->e.r);
}

static void session_broken(struct http1_server_session *c, const struct err *err)
{
    if (c->now && c->now->e.given) {
        http_line_end(c->s.line, true);
        return;
    }
    struct http_refusal refusal = {.status = c->parser.refuse_status};
    (void)snprintf(refusal.why, sizeof refusal.why, "%.90s", err->text);
    session_refuse(c, &refusal);
}

static bool may_read(const struct http1_server_session *c)
{
    if (is_over(c))
        return false;
    if (!c->now)
        return !stream_over_high(c->s.line->stream); /* who does not read answers gets no further ones */
    if (c->now->paused)                              /* no byte would come to tell the end with */
        return http1_at_end(&c->parser);
    return !c->now->e.body_done;
}

/* Reads c->rest as far as may be; what must wait goes to pending. */
static void read_rest(struct http1_server_session *c)
{
    AUTO(arena_fini) struct arena arena = ARENA;
    struct http1_head head;
    struct str body;
    struct err err = ERR;
    for (int whole = 0; may_read(c) && whole < A_TURN;) {
        bool between = http1_between(&c->parser) && !c->now;
        enum http1_event e = http1_next(&c->parser, &arena, &c->rest, &head, &body, &err);
        if (e == HTTP1_MORE) {
            if (between && !http1_between(&c->parser))
                timer_set(&c->timer, config_of(c)->head_ns); /* the first byte of a head */
            break;
        }
        whole += e == HTTP1_END;
        switch (e) {
        case HTTP1_HEAD: head_came(c, &head, &arena); break;
        case HTTP1_BODY: body_came(c, body); break;
        case HTTP1_END: body_ended(c); break;
        case HTTP1_BAD: session_broken(c, &err); break;
        case HTTP1_MORE: break;
        }
    }
}

static void session_keep(struct http1_server_session *c, struct str bytes)
{
    strbuf_add(&c->pending, bytes);
    if (c->pending.n >= PENDING_MOST && !c->hung)
        stream_read_pause(c->s.line->stream, true);
}

/* It has ended its side, and no body that is being served can become whole any more. */
static bool has_left(const struct http1_server_session *c)
{
    const struct http1_exchange *q = c->now;
    bool waits = q && q->paused && !c->pending.over && http1_may_end_in(&c->parser, strbuf_str(&c->pending));
    return c->eof && q && !q->e.body_done && !waits;
}

/* The client has ended its side and has asked all: it may still read, but one of ours that has left looks the same.
 */
static void tell_end(struct http1_server_session *c)
{
    struct http1_exchange *q = c->now;
    if (!c->eof || !q || !q->e.given || !q->e.r.on_gone || q->end_told)
        return;
    q->end_told = true;
    q->e.r.on_gone(&q->e.r);
}

static void look_at(struct http1_server_session *c, struct str bytes)
{
    c->busy++;
    c->rest = bytes;
    read_rest(c);
    if (!is_over(c) && c->rest.n) {
        session_keep(c, c->rest);
        if (may_read(c)) /* it was stopped by its share of the turn */
            soon_set(&c->soon);
    }
    c->rest = S("");
    c->busy--;
    if (is_over(c) && c->busy == 0)
        session_release(c);
    else if (!is_over(c) && c->eof && !c->now && c->pending.n == 0)
        http_line_close(c->s.line); /* the client has ended in the midst of a head */
    else if (!is_over(c) && has_left(c))
        http_line_end(c->s.line, true);
    else if (!is_over(c))
        tell_end(c); /* to one that was given after that */
}

static void session_data(struct http_session *s, struct str bytes)
{
    struct http1_server_session *c = session_of(s);
    if (c->pending.n) {
        session_keep(c, bytes);
        soon_set(&c->soon);
        return;
    }
    look_at(c, bytes);
}

static void session_soon(struct soon *s)
{
    struct http1_server_session *c = container_of(s, struct http1_server_session, soon);
    if (c->pending.n && may_read(c)) {
        AUTO(strbuf_fini) struct strbuf b = c->pending;
        c->pending = STRBUF(b.max);
        stream_read_pause(c->s.line->stream, false);
        look_at(c, strbuf_str(&b)); /* may free c */
        return;
    }
    if (!c->now && (c->eof ? !c->pending.n : c->s.line->server->draining))
        http_line_close(c->s.line);
}

static void session_ended(struct http_session *s)
{
    struct http1_server_session *c = session_of(s);
    c->eof = c->last = true;
    struct http1_exchange *q = c->now;
    if (!q && c->pending.n == 0)
        http_line_close(c->s.line);
    else if (has_left(c))
        http_line_end(c->s.line, true);
    else
        tell_end(c);
}

static void session_hangup(struct http_session *s)
{
    struct http1_server_session *c = session_of(s);
    if (!c->now || !c->now->paused)
        return; /* who is served has said all, or is read on before long */
    c->hung = true;
    c->pending.max = LAST_MOST;
    stream_read_pause(s->line->stream, false);
}

static void session_drained(struct http_session *s)
{
    struct http1_server_session *c = session_of(s);
    if (!c->now)
        soon_set(&c->soon); /* further requests wait in pending */
    else if (c->now->e.r.on_drained)
        c->now->e.r.on_drained(&c->now->e.r);
}

const struct http_session_type http1_session = {
    .alpn = "http/1.1",
    .open = session_open,
    .data = session_data,
    .drained = session_drained,
    .ended = session_ended,
    .hangup = session_hangup,
    .drain = session_drain,
    .over = session_over,
    .start = answer_start,
    .write = answer_write,
    .write_buf = answer_write_buf,
    .queued = answer_queued,
    .over_high = answer_over_high,
    .end = answer_end,
    .abort = answer_abort,
    .body_pause = body_pause,
    .upgrade = exchange_upgrade,
};
