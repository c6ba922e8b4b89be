/* The session of HTTP/2 (RFC 9113), server's side: many exchanges at a time, each on a stream of its own.
 *
 * A request that is whole, or whose body its handler takes by pieces, waits in `ready` until it is given: as many as
 * a turn of the loop has time for, and none while the line has LINE_MOST bytes of answers waiting that its client
 * does not take (LINE_LITTLE where all lines together have too many). So a client that only asks holds up itself. How
 * many requests a line and its address may have under way, those included whose streams were reset while their
 * handlers still work, are the bounds that connections have in HTTP/1.1; over them a stream is refused, which tells
 * its client that nothing has happened.
 *
 * Time: one timer, for whatever is due first - the client's greeting, the rest of a head, a collected body, a body
 * that stalls, an answer that is not taken, rest - found by a walk over the streams when it comes.
 *
 * The end: GOAWAY with the highest number there is, then, when the client has certainly seen that (it has answered a
 * PING), with the last one that is served; what is under way is served, and the client closes. */
#include "wire/http2_stream.h"

#define LINE_MOST   (16u << 20)
#define LINE_LITTLE (256u * 1024)
#define A_TURN      32             /* requests that are given before their answers are looked at */
#define GOODBYE_NS  (NS_PER_S / 2) /* how long the client may take to answer a PING, and then to close */

/* ---- a turn of it */

/* Who does not read answers gets no further ones. */
static bool is_full(const struct http2_server_session *c)
{
    return c->queued > (c->server->waiting > c->server->c.answers_most ? LINE_LITTLE : LINE_MOST);
}

/* Requests, to their handlers. */
static void requests_give(struct http2_server_session *c)
{
    struct http2_stream *q;
    for (int n = 0; n < A_TURN && !is_full(c) && (q = list_first(&c->ready, struct http2_stream, wait)); n++) {
        list_del(&q->wait);
        if (!q->x->e.collect && !q->body_done)
            http2_due_at(c, http2_now_of(c) + http2_config_of(c)->stall_ns);
        http_exchange_give(&q->x->e);
        if (http2_is_over(c) || (q->x && !q->x->e.collect && !http2_body_go_on(c, q)) ||
            loop_turn_spent(c->server->loop))
            return;
    }
}

static void bodies_go_on(struct http2_server_session *c)
{
    for (struct http2_stream *q; !http2_is_over(c) && (q = list_first(&c->woken, struct http2_stream, wait));) {
        list_del(&q->wait);
        if (q->x && !q->x->e.collect)
            (void)http2_body_go_on(c, q);
    }
}

/* True: somebody may have written more. */
static bool producers_tell(struct http2_server_session *c)
{
    bool told = false;
    for (struct http2_stream *q; !http2_is_over(c) && (q = list_first(&c->drained, struct http2_stream, drained));) {
        list_del(&q->drained);
        if (q->x && q->x->e.r.on_drained) {
            told = true;
            q->x->e.r.on_drained(&q->x->e.r);
        }
    }
    return told;
}

static void session_release(struct http2_server_session *c)
{
    http2_fini(&c->h);
    mem_free(c);
}

/* What is queued still goes out; handlers of what is under way hear that nobody listens. */
static void session_close(struct http2_server_session *c)
{
    c->busy++;
    list_each (q, &c->streams, struct http2_stream, node) {
        http2_stream_leave(q, true);
        if (http2_is_over(c))
            break;
    }
    c->busy--;
    if (!http2_is_over(c))
        http_line_close(c->s.line);
    else if (c->busy == 0)
        session_release(c);
}

/* When the last stream has ended after the second GOAWAY: the client has all, and closes. */
static void session_goodbye(struct http2_server_session *c)
{
    if (!c->left || c->nstreams || !c->s.line || nghttp2_session_want_write(c->h.ng))
        return;
    if (c->closing)
        return;
    c->closing = http2_now_of(c) + GOODBYE_NS;
    http2_due_at(c, c->closing);
    stream_end(c->s.line->stream);
}

static void session_leave(struct http2_server_session *c)
{
    c->left = true;
    c->closing = 0;
    (void)nghttp2_submit_goaway(c->h.ng, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(c->h.ng),
                                NGHTTP2_NO_ERROR, NULL, 0);
}

/* All that is to be done after something has come, or was written. May end the line. */
static void session_turn(struct http2_server_session *c)
{
    c->busy++;
    bodies_go_on(c);
    if (!http2_is_over(c))
        requests_give(c);
    if (!http2_is_over(c) && c->leaving && !c->left && c->closing && c->closing <= http2_now_of(c))
        session_leave(c);
    while (!http2_is_over(c) && http2_flush(&c->h) && producers_tell(c))
        ;
    c->busy--;
    if (http2_is_over(c)) {
        if (c->busy == 0)
            session_release(c);
        return;
    }
    if (!list_empty(&c->ready) && !is_full(c))
        soon_set(&c->soon);
    session_goodbye(c);
    bool none = !c->left && !nghttp2_session_want_read(c->h.ng) && !nghttp2_session_want_write(c->h.ng);
    if (none || (c->h.broken && !stream_over_high(c->s.line->stream)))
        session_close(c);
}

static void session_soon(struct soon *s)
{
    session_turn(container_of(s, struct http2_server_session, soon));
}

static void session_data(struct http_session *s, struct str bytes)
{
    struct http2_server_session *c = http2_session_of(s);
    c->busy++;
    (void)http2_feed(&c->h, bytes);
    c->busy--;
    session_turn(c);
}

static void session_drained(struct http_session *s)
{
    session_turn(http2_session_of(s));
}

static void session_ended(struct http_session *s)
{
    http_line_end(s->line, true); /* nothing that it could say of an answer would come */
}

/* ---- time */

/* When this stream has waited too long; 0: it waits for nothing. */
static int64_t stream_due(const struct http2_server_session *c, const struct http2_stream *q)
{
    const struct http_server_config *s = http2_config_of(c);
    if (q->out.bytes)
        return q->moved + s->stall_ns;
    if (!q->x || q->body_done || q->reset)
        return 0;
    if (q->x->e.collect)
        return MIN(q->began + s->body_ns, q->moved + s->stall_ns);
    return q->paused || q->x->e.r.status ? 0 : q->moved + s->stall_ns;
}

static void stream_expire(struct http2_server_session *c, struct http2_stream *q)
{
    struct http_refusal late = {408, "the body did not come in time"};
    c->server->counts.timeouts++;
    if (!q->out.bytes && q->x && q->x->e.collect) {
        http2_stream_refuse(c, q, &late);
        return;
    }
    http2_stream_reset(c, q, NGHTTP2_CANCEL);
    http2_stream_leave(q, true);
}

/* 0: nothing is due. */
static int64_t session_due(const struct http2_server_session *c)
{
    const struct http_server_config *s = http2_config_of(c);
    int64_t due = c->closing;
    int64_t others[] = {c->greeted ? 0 : c->opened + s->head_ns, c->heading ? c->heading + s->head_ns : 0,
                        c->nstreams || c->left ? 0 : c->rested + s->idle_ns};
    for (size_t i = 0; i < countof(others); i++)
        if (others[i] && (!due || others[i] < due))
            due = others[i];
    return due;
}

/* Something of the session is over its time. */
static void session_expire(struct http2_server_session *c)
{
    bool rest = c->greeted && !c->heading;
    if (c->leaving && !c->left && c->closing) { /* no answer to the PING; it has seen it by now */
        soon_set(&c->soon);
        return;
    }
    if (c->closing || !rest) {
        c->server->counts.timeouts += !rest;
        session_close(c);
        return;
    }
    session_leave(c);
    soon_set(&c->soon);
}

static void session_timer(struct timer *t)
{
    struct http2_server_session *c = container_of(t, struct http2_server_session, timer);
    int64_t now = http2_now_of(c), next = session_due(c);
    if (next && next <= now) {
        session_expire(c);
        return;
    }
    c->busy++;
    list_each (q, &c->streams, struct http2_stream, node) {
        int64_t due = stream_due(c, q);
        if (due && due <= now)
            stream_expire(c, q);
        else if (due && (!next || due < next))
            next = due;
        if (http2_is_over(c))
            break;
    }
    c->busy--;
    if (http2_is_over(c) && c->busy == 0)
        session_release(c);
    else if (!http2_is_over(c) && next)
        http2_due_at(c, next);
}

/* ---- it comes and goes */

static void session_drain(struct http_session *s)
{
    struct http2_server_session *c = http2_session_of(s);
    if (c->leaving || c->left)
        return;
    c->leaving = true;
    (void)nghttp2_submit_shutdown_notice(c->h.ng);
    (void)nghttp2_submit_ping(c->h.ng, NGHTTP2_FLAG_NONE, NULL);
    c->closing = http2_now_of(c) + GOODBYE_NS;
    http2_due_at(c, c->closing);
    soon_set(&c->soon);
}

static struct http_session *session_open(struct http_line *l)
{
    struct http2_server_session *c = NEW(struct http2_server_session);
    c->s = (struct http_session){&http2_session, l};
    c->server = l->server;
    c->opened = c->rested = loop_now(l->server->loop);
    http2_begin(&c->h, http2_server_ng_new(&c->h), l->stream, NGHTTP2_CLIENT_MAGIC_LEN);
    list_init(&c->streams);
    list_init(&c->ready);
    list_init(&c->woken);
    list_init(&c->drained);
    timer_init(&c->timer, l->server->loop, session_timer);
    soon_init(&c->soon, l->server->loop, session_soon);
    http2_due_at(c, c->opened + l->server->c.head_ns);
    stream_stall(l->stream, l->server->c.stall_ns);
    http_line_rest(l);
    if (l->server->draining)
        session_drain(&c->s);
    soon_set(&c->soon); /* our SETTINGS */
    return &c->s;
}

static void session_over(struct http_session *s, bool tell)
{
    struct http2_server_session *c = http2_session_of(s);
    c->h.stream = NULL;
    timer_stop(&c->timer);
    soon_stop(&c->soon);
    c->busy++;
    for (struct http2_stream *q; (q = list_first(&c->streams, struct http2_stream, node));)
        http2_stream_end(c, q, tell);
    c->busy--;
    if (c->busy == 0)
        session_release(c);
}

const struct http_session_type http2_session = {
    .alpn = "h2",
    .open = session_open,
    .data = session_data,
    .drained = session_drained,
    .ended = session_ended,
    .drain = session_drain,
    .over = session_over,
    .start = http2_answer_start,
    .write = http2_answer_write,
    .write_buf = http2_answer_write_buf,
    .queued = http2_answer_queued,
    .over_high = http2_answer_over_high,
    .end = http2_answer_end,
    .abort = http2_answer_abort,
    .body_pause = http2_body_pause,
};
