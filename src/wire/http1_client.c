/* The session of HTTP/1.1 (RFC 9112), client's side: one call at a time. An answer is whole where its length says so,
 * or where the line ends if it says nothing; the line is kept for the next call where both sides want that and the
 * whole request has gone out. A side that says something unasked is not listened to any further. */
#include "wire/http1.h"
#include "wire/http_client_session.h"

#define HEAD_TEXT (256 * 1024)

struct http1_client_session {
    struct http_client_session s;
    struct http1 parser;
    struct http_call *call;
    bool keep_alive;
    int busy;
};

static struct http1_client_session *session_of(const struct http_client_session *s)
{
    return container_of((struct http_client_session *)(uintptr_t)s, struct http1_client_session, s);
}

static bool is_over(const struct http1_client_session *n)
{
    return !n->s.line;
}

static struct http_client_session *session_open(struct http_client_line *l)
{
    struct http1_client_session *n = NEW(struct http1_client_session);
    n->s = (struct http_client_session){&http1_client_session, l};
    http1_init(&n->parser, true);
    return &n->s;
}

static void session_release(struct http1_client_session *n)
{
    http1_fini(&n->parser);
    mem_free(n);
}

static void session_over(struct http_client_session *s)
{
    struct http1_client_session *n = session_of(s);
    n->call = NULL;
    if (n->busy == 0)
        session_release(n);
}

static bool has_room(const struct http_client_session *s)
{
    return !session_of(s)->call;
}

/* ---- the request */

static void add_head(struct strbuf *b, const struct http_call *k)
{
    strbuf_addf(b, STR_FMT " " STR_FMT " HTTP/1.1\r\nHost: %s\r\n", STR_ARG(k->request.method),
                STR_ARG(k->request.target), k->client->host);
    for (size_t i = 0; i < k->request.headers.n; i++)
        http1_add_field(b, k->request.headers.p[i].name, k->request.headers.p[i].value);
    if (k->request.content_type.n)
        http1_add_field(b, S("Content-Type"), k->request.content_type);
    if (k->request.upgrade.n) {
        strbuf_addz(b, "Connection: Upgrade\r\n");
        http1_add_field(b, S("Upgrade"), k->request.upgrade);
    }
    bool usual = str_eq(k->request.method, S("GET")) || str_eq(k->request.method, S("HEAD"));
    if (k->request.length < 0)
        strbuf_addz(b, "Transfer-Encoding: chunked\r\n");
    else if (k->request.length || !usual)
        strbuf_addf(b, "Content-Length: %lld\r\n", (long long)k->request.length);
    strbuf_addz(b, "\r\n");
}

static void call_write(struct http_call *k, struct str bytes)
{
    char line[24];
    struct stream *s = k->line->stream;
    bool chunked = k->request.length < 0;
    if (chunked)
        stream_write(s, (struct str){line, (size_t)snprintf(line, sizeof line, "%zx\r\n", bytes.n)});
    stream_write(s, bytes);
    if (chunked)
        stream_write(s, S("\r\n"));
}

static void call_end(struct http_call *k)
{
    if (k->request.length < 0)
        stream_write(k->line->stream, S("0\r\n\r\n"));
}

static void call_begin(struct http_client_session *s, struct http_call *k)
{
    struct http1_client_session *n = session_of(s);
    struct stream *stream = s->line->stream;
    AUTO(strbuf_fini) struct strbuf head = STRBUF(HEAD_TEXT);
    n->call = k;
    n->parser.no_body = k->no_body;
    add_head(&head, k);
    stream_write(stream, strbuf_str(&head));
    if (k->request.body)
        stream_write_buf(stream, k->request.body);
    if (k->early.n)
        call_write(k, strbuf_str(&k->early));
    strbuf_fini(&k->early);
    k->early = STRBUF(0);
    if (k->stream_ended)
        call_end(k);
    if (k->paused)
        stream_read_pause(stream, true);
}

static bool call_over_high(const struct http_call *k)
{
    return stream_over_high(k->line->stream);
}

static void call_pause(struct http_call *k, bool pause)
{
    stream_read_pause(k->line->stream, pause);
}

static void call_cancel(struct http_client_session *s, struct http_call *k)
{
    (void)k; /* the one there is: what its answer still brings could be told from another's by nothing */
    http_client_line_end(s->line);
}

/* ---- the answer */

static void answer_whole(struct http1_client_session *n)
{
    struct http_client_line *l = n->s.line;
    struct http_call *k = n->call;
    bool sent = stream_queued(l->stream) == 0 && (!k->streamed || k->stream_ended);
    http_call_detach(k);
    n->call = NULL;
    http_client_line_left(l, n->keep_alive && sent);
    http_call_whole(k);
}

static void session_upgraded(struct http1_client_session *n, struct str *rest)
{
    struct http_call *k = n->call;
    struct str left = *rest;
    *rest = S("");
    http_call_detach(k);
    struct stream *s = http_client_line_take(n->s.line);
    stream_unread(s, left);
    http_call_upgraded(k, s);
}

static void head_came(struct http1_client_session *n, const struct http1_head *h, struct arena *own_arena,
                      struct str *rest)
{
    struct http_call *k = n->call;
    if (h->status / 100 == 1 && h->status != 101)
        return; /* the answer is yet to come */
    n->keep_alive = h->keep_alive;
    bool asked = k->request.upgrade.n > 0;
    if (h->status == 101 && !asked) { /* bytes that nobody knows how to read would follow */
        struct err err = ERR;
        (void)err_set(&err, E_UNAVAILABLE, "%s at %s: the answer switches protocols, which was not asked for",
                      k->what, k->client->address);
        http_client_line_broken(n->s.line, &err);
        return;
    }
    if (h->status != 101)
        stream_idle(n->s.line->stream, k->stall_ns);
    http_call_head(k, h->status, h->headers, own_arena);
    if (h->status == 101)
        session_upgraded(n, rest);
}

static void not_http(struct http1_client_session *n, struct err *err)
{
    (void)err_wrap(err, "%s at %s: the answer is not HTTP/1.1", n->call->what, n->call->client->address);
    err->kind = E_UNAVAILABLE;
    http_client_line_broken(n->s.line, err);
}

static void session_data(struct http_client_session *s, struct str bytes)
{
    struct http1_client_session *n = session_of(s);
    AUTO(arena_fini) struct arena arena = ARENA;
    struct http1_head head;
    struct str body;
    struct err err = ERR;
    n->busy++;
    if (n->call)
        n->call->heard = n->s.line->client->greeted = true;
    while (n->call && (!n->call->paused || http1_at_end(&n->parser))) { /* no byte would come to tell the end with */
        enum http1_event e = http1_next(&n->parser, &arena, &bytes, &head, &body, &err);
        if (e == HTTP1_MORE)
            break;
        switch (e) {
        case HTTP1_HEAD: head_came(n, &head, &arena, &bytes); break;
        case HTTP1_BODY: http_call_body(n->call, body); break;
        case HTTP1_END:
            if (n->call->head_told) /* else that of a 100 */
                answer_whole(n);
            break;
        case HTTP1_BAD: not_http(n, &err); break;
        case HTTP1_MORE: break;
        }
    }
    if (!is_over(n) && !n->call && (bytes.n || !http1_between(&n->parser)))
        http_client_line_end(s->line); /* said something unasked */
    else if (!is_over(n) && n->call && bytes.n)
        stream_unread(s->line->stream, bytes); /* paused */
    n->busy--;
    if (is_over(n) && n->busy == 0)
        session_release(n);
}

static void session_ended(struct http_client_session *s)
{
    struct http1_client_session *n = session_of(s);
    struct err err = ERR;
    if (n->call && http1_eof(&n->parser, &err) == HTTP1_END && n->call->head_told) {
        n->keep_alive = false;
        answer_whole(n);
        return;
    }
    err = ERR;
    http_client_line_broken(s->line, &err); /* or it was at rest */
}

static void session_drained(struct http_client_session *s)
{
    struct http1_client_session *n = session_of(s);
    if (n->call)
        http_call_drained(n->call);
}

const struct http_client_session_type http1_client_session = {
    .alpn = "http/1.1",
    .upgrades = true,
    .open = session_open,
    .data = session_data,
    .drained = session_drained,
    .ended = session_ended,
    .over = session_over,
    .has_room = has_room,
    .begin = call_begin,
    .write = call_write,
    .end = call_end,
    .over_high = call_over_high,
    .pause = call_pause,
    .cancel = call_cancel,
};
