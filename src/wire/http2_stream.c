/* Requests and answers on the streams of an HTTP/2 line.
 *
 * Windows: a stream's opens as its handler takes the body, the line's at once, so that no stream waits for another.
 * Of a body that is paused no more than a stream's window is there. Answers wait in their stream's queue; a producer
 * is held back over QUEUE_HIGH.
 *
 * Everything here is called by nghttp2 from inside of http2_feed and http2_flush, or by an exchange's handler; when a
 * handler has ended the line, nothing of the session is touched any more and nghttp2 is told to stop. */
#include "wire/http2_stream.h"

#define STREAM_WINDOW 131072
#define LINE_WINDOW   (1u << 20)
#define QUEUE_HIGH    65536
#define QUEUE_LOW     16384
#define METHOD_MOST   32

static struct http2_server_session *session_of_ng(void *arg)
{
    return container_of(arg, struct http2_server_session, h);
}
static struct http2_server_session *session_by(const struct http_exchange *e)
{
    return http2_session_of(e->session);
}
static struct http2_stream *stream_by(const struct http_exchange *e)
{
    return container_of((struct http_exchange *)(uintptr_t)e, struct http2_exchange, e)->stream;
}
static struct http2_stream *stream_at(const struct http2_server_session *c, int32_t id)
{
    return nghttp2_session_get_stream_user_data(c->h.ng, id);
}
/* ---- streams */

static void queue_counts(struct http2_server_session *c, size_t more, size_t less)
{
    c->queued += more - less;
    c->server->waiting += more - less;
}

static void stream_empty(struct http2_server_session *c, struct http2_stream *q)
{
    queue_counts(c, 0, q->out.bytes);
    http2_queue_clear(&q->out);
    strbuf_fini(&q->held);
}

static struct http2_stream *stream_open(struct http2_server_session *c, int32_t id)
{
    struct http2_stream *q = NEW(struct http2_stream);
    q->id = id;
    q->held = STRBUF(STREAM_WINDOW);
    q->began = q->moved = http2_now_of(c);
    list_init(&q->wait);
    list_init(&q->drained);
    list_add_tail(&c->streams, &q->node);
    if (c->nstreams++ == 0)
        http_line_work(c->s.line);
    (void)nghttp2_session_set_stream_user_data(c->h.ng, id, q);
    /* each has its turn, whatever the client says of them */
    static const nghttp2_extpri fair = {NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1};
    (void)nghttp2_session_change_extpri_stream_priority(c->h.ng, id, &fair, 1);
    return q;
}

/* Its exchange is nobody's any more, or its handler's alone. */
void http2_stream_leave(struct http2_stream *q, bool tell)
{
    struct http2_exchange *x = TAKE(q->x);
    list_del(&q->wait);
    if (x && x->e.given)
        http_exchange_gone(&x->e, tell);
    else if (x)
        http_exchange_drop(&x->e);
}

void http2_stream_end(struct http2_server_session *c, struct http2_stream *q, bool tell)
{
    list_del(&q->node);
    list_del(&q->drained);
    stream_empty(c, q);
    c->nstreams--;
    http2_stream_leave(q, tell);
    mem_free(q);
}

void http2_stream_reset(struct http2_server_session *c, struct http2_stream *q, uint32_t code)
{
    stream_empty(c, q);
    q->reset = true;
    (void)nghttp2_submit_rst_stream(c->h.ng, NGHTTP2_FLAG_NONE, q->id, code);
    soon_set(&c->soon);
}

/* ---- answers */

static ssize_t answer_read(UNUSED nghttp2_session *ng, UNUSED int32_t id, UNUSED uint8_t *p, size_t most,
                           uint32_t *flags, nghttp2_data_source *from, void *arg)
{
    if (http2_is_over(session_of_ng(arg)))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    struct http2_stream *q = container_of(from->ptr, struct http2_stream, out);
    size_t n = MIN(most, q->out.bytes);
    q->idle = q->reset || (n == 0 && !q->ended);
    if (q->idle)
        return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY | (q->ended && n == q->out.bytes ? NGHTTP2_DATA_FLAG_EOF : 0);
    return (ssize_t)n;
}

static void answer_go_on(struct http2_server_session *c, struct http2_stream *q)
{
    if (q->idle)
        (void)nghttp2_session_resume_data(c->h.ng, q->id);
    q->idle = false;
    soon_set(&c->soon);
}

static void head_submit(struct http2_server_session *c, struct http2_stream *q, const struct http2_nvs *head,
                        bool body)
{
    nghttp2_data_provider from = {.source.ptr = &q->out, .read_callback = answer_read};
    q->moved = http2_now_of(c);
    (void)nghttp2_submit_response(c->h.ng, q->id, head->all.p, head->all.n, body ? &from : NULL);
    soon_set(&c->soon);
}

static void status_add(struct http2_nvs *head, int status)
{
    char text[16];
    http2_nvs_add(head, S(":status"), (struct str){text, (size_t)snprintf(text, sizeof text, "%d", status)});
}

void http2_answer_start(struct http_exchange *e, struct str content_type, int64_t length)
{
    struct http2_server_session *c = session_by(e);
    const struct http_request *r = &e->r;
    AUTO(http2_nvs_fini) struct http2_nvs head = {0};
    bool none = r->status == 204 || r->status == 304;
    char text[32];
    status_add(&head, r->status);
    if (content_type.n)
        http2_nvs_add(&head, S("content-type"), content_type);
    for (size_t i = 0; i < r->answer.n; i++)
        http2_nvs_add(&head, r->answer.p[i].name, r->answer.p[i].value);
    http2_nvs_add(&head, S("date"), str_of(http_server_date(r->server)));
    if (length >= 0 && !none)
        http2_nvs_add(&head, S("content-length"),
                      (struct str){text, (size_t)snprintf(text, sizeof text, "%lld", (long long)length)});
    head_submit(c, stream_by(e), &head, !none && length != 0 && !str_eq(r->method, S("HEAD")));
}

static void answer_queued_more(struct http2_server_session *c, struct http2_stream *q, size_t n)
{
    if (q->out.bytes == n) { /* a stall begins with something to send */
        q->moved = http2_now_of(c);
        http2_due_at(c, q->moved + http2_config_of(c)->stall_ns);
    }
    queue_counts(c, n, 0);
    q->over |= q->out.bytes > QUEUE_HIGH;
    answer_go_on(c, q);
}

void http2_answer_write(struct http_exchange *e, struct str bytes)
{
    struct http2_stream *q = stream_by(e);
    if (q->reset)
        return;
    http2_queue_add(&q->out, bytes);
    answer_queued_more(session_by(e), q, bytes.n);
}

void http2_answer_write_buf(struct http_exchange *e, struct buf *b)
{
    struct http2_stream *q = stream_by(e);
    if (q->reset)
        return;
    http2_queue_add_buf(&q->out, b);
    answer_queued_more(session_by(e), q, b->n);
}

size_t http2_answer_queued(const struct http_exchange *e)
{
    return stream_by(e)->out.bytes;
}

bool http2_answer_over_high(const struct http_exchange *e)
{
    return stream_by(e)->out.bytes > QUEUE_HIGH;
}

/* RFC 9113 8.1: the answer is whole; what its request would still say is not needed. */
static void body_not_needed(struct http2_server_session *c, const struct http2_stream *q)
{
    if (q->sent && !q->body_done && !q->x)
        (void)nghttp2_submit_rst_stream(c->h.ng, NGHTTP2_FLAG_NONE, q->id, NGHTTP2_NO_ERROR);
}

void http2_answer_end(struct http_exchange *e)
{
    struct http2_server_session *c = session_by(e);
    struct http2_stream *q = stream_by(e);
    q->x = NULL;
    q->ended = true;
    list_del(&q->wait);
    body_not_needed(c, q);
    answer_go_on(c, q);
}

void http2_answer_abort(struct http_exchange *e)
{
    struct http2_stream *q = stream_by(e);
    q->x = NULL;
    list_del(&q->wait);
    http2_stream_reset(session_by(e), q, NGHTTP2_INTERNAL_ERROR);
}

/* Only an answer in words; nobody hears of the request. */
void http2_stream_refuse(struct http2_server_session *c, struct http2_stream *q, const struct http_refusal *refusal)
{
    AUTO(http2_nvs_fini) struct http2_nvs head = {0};
    struct str type, body = http_refusal_body(c->server, refusal, &type);
    char text[32];
    status_add(&head, refusal->status);
    http2_nvs_add(&head, S("content-type"), type);
    if (refusal->status == 503)
        http2_nvs_add(&head, S("retry-after"), S("1"));
    http2_nvs_add(&head, S("content-length"),
                  (struct str){text, (size_t)snprintf(text, sizeof text, "%zu", body.n + 1)});
    c->server->counts.refused++;
    head_submit(c, q, &head, true);
    http2_queue_add(&q->out, body);
    http2_queue_add(&q->out, S("\n"));
    q->ended = true;
    answer_queued_more(c, q, q->out.bytes);
    http2_stream_leave(q, false);
}

/* ---- bodies */

static void stream_consumed(const struct http2_server_session *c, const struct http2_stream *q, size_t n)
{
    (void)nghttp2_session_consume_stream(c->h.ng, q->id, n);
}

/* To a handler that takes it by pieces: what is held, and the end. False: the line is over. */
bool http2_body_go_on(struct http2_server_session *c, struct http2_stream *q)
{
    if (q->held.n && !q->paused) {
        AUTO(strbuf_fini) struct strbuf b = q->held;
        struct http_refusal none;
        q->held = STRBUF(STREAM_WINDOW);
        stream_consumed(c, q, b.n);
        soon_set(&c->soon);
        ASSERT(http_exchange_body(&q->x->e, strbuf_str(&b), &none)); /* it has a bound only where it is collected */
    }
    if (http2_is_over(c))
        return false;
    if (q->x && q->body_done && !q->held.n && !q->end_told) {
        q->end_told = q->x->e.body_done = true;
        if (q->x->e.r.on_data_end)
            q->x->e.r.on_data_end(&q->x->e.r);
    }
    return !http2_is_over(c);
}

void http2_body_pause(struct http_exchange *e, bool pause)
{
    struct http2_server_session *c = session_by(e);
    struct http2_stream *q = stream_by(e);
    if (q->paused == pause)
        return;
    q->paused = pause;
    q->moved = http2_now_of(c); /* while it is the handler that waits, the client stalls nothing */
    if (pause)
        return;
    http2_due_at(c, q->moved + http2_config_of(c)->stall_ns);
    list_del(&q->wait);
    list_add_tail(&c->woken, &q->wait);
    soon_set(&c->soon);
}

static int body_came(UNUSED nghttp2_session *ng, UNUSED uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                     void *arg)
{
    struct http2_server_session *c = session_of_ng(arg);
    if (http2_is_over(c))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    struct http2_stream *q = stream_at(c, id);
    struct str bytes = {(const char *)p, n};
    struct http_refusal refusal;
    (void)nghttp2_session_consume_connection(c->h.ng, n);
    if (q)
        q->moved = http2_now_of(c);
    if (!q || !q->x) { /* nobody wants it */
        (void)nghttp2_session_consume_stream(c->h.ng, id, n);
    } else if (!q->x->e.collect) {
        strbuf_add(&q->held, bytes);
        if (q->x->e.given && !http2_body_go_on(c, q))
            return NGHTTP2_ERR_CALLBACK_FAILURE;
    } else {
        stream_consumed(c, q, n);
        if (!http_exchange_body(&q->x->e, bytes, &refusal))
            http2_stream_refuse(c, q, &refusal);
    }
    return 0;
}

/* False: the line is over. */
static bool body_ended(struct http2_server_session *c, struct http2_stream *q)
{
    q->body_done = true;
    if (!q->x)
        return true;
    if (!q->x->e.collect)
        return !q->x->e.given || http2_body_go_on(c, q);
    q->x->e.body_done = true;
    list_add_tail(&c->ready, &q->wait);
    return true;
}

/* ---- heads */

static bool refusal_set(struct http_refusal *to, int status, const char *why)
{
    to->status = status;
    (void)snprintf(to->why, sizeof to->why, "%s", why);
    return false;
}

static bool is_plain(struct str s) /* ASCII without spaces and control characters */
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] == 127)
            return false;
    return true;
}

/* What nghttp2 lets by; what is malformed in other ways it has answered with a stream error. */
static bool head_is_good(const struct http2_fields *f, const struct http2_head *h, struct http_refusal *why)
{
    struct str host = http_header(&h->headers, S("host")), expect = http_header(&h->headers, S("expect"));
    if (h->method.n + h->target.n > HTTP1_URI_MOST)
        return refusal_set(why, 414, "the request line is too long");
    if (f->too_large)
        return refusal_set(why, 431, "the header is too large");
    if (h->headers.n > HTTP1_FIELDS_MOST)
        return refusal_set(why, 431, "too many header fields");
    if (str_eq(h->method, S("CONNECT")))
        return refusal_set(why, 501, "malformed request target");
    if (h->method.n > METHOD_MOST || !h->target.n || !is_plain(h->target))
        return refusal_set(why, 400, "malformed request line");
    if (h->authority.n && host.n && !str_ieq(h->authority, host))
        return refusal_set(why, 400, "two different hosts");
    if (!is_plain(h->authority) || !is_plain(host) || str_find_char(h->authority, '@') >= 0)
        return refusal_set(why, 400, "malformed Host field");
    if (expect.n && !str_ieq(expect, S("100-continue")))
        return refusal_set(why, 417, "the only expectation known is 100-continue");
    return true;
}

/* Before a body comes; not where it is on its way already. */
static void say_continue(struct http2_server_session *c, const struct http2_stream *q)
{
    AUTO(http2_nvs_fini) struct http2_nvs head = {0};
    status_add(&head, 100);
    (void)nghttp2_submit_headers(c->h.ng, NGHTTP2_FLAG_NONE, q->id, NULL, head.all.p, head.all.n, NULL);
}

static void head_came(struct http2_server_session *c, struct http2_stream *q, bool body)
{
    AUTO(arena_fini) struct arena arena = ARENA;
    struct http2_head h;
    struct http_refusal refusal;
    http2_fields_take(&c->h.fields, &arena, &h);
    q->body_done = !body;
    if (!head_is_good(&c->h.fields, &h, &refusal)) {
        http2_stream_refuse(c, q, &refusal);
        return;
    }
    int64_t length = -1;
    if (!body)
        length = 0;
    else if (!str_to_i64(http_header(&h.headers, S("content-length")), 0, INT64_MAX, &length))
        length = -1;
    struct http_head head = {h.method, h.target, h.authority.n ? h.authority : http_header(&h.headers, S("host")),
                             h.headers, length};
    bool expects = body && http_header_has(&h.headers, S("expect"));
    q->x = NEW(struct http2_exchange);
    q->x->stream = q;
    q->x->e.body_done = !body;
    if (!http_exchange_begin(&q->x->e, &c->s, &head, &arena, &refusal)) {
        http2_stream_refuse(c, q, &refusal);
        return;
    }
    if (expects)
        say_continue(c, q);
    if (!body || !q->x->e.collect)
        list_add_tail(&c->ready, &q->wait);
    else
        http2_due_at(c, q->began + MIN(http2_config_of(c)->body_ns, http2_config_of(c)->stall_ns));
}

static int head_begins(UNUSED nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct http2_server_session *c = session_of_ng(arg);
    if (http2_is_over(c))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    http2_fields_begin(&c->h.fields);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (http_line_may_ask(c->s.line)) {
        (void)stream_open(c, frame->hd.stream_id);
        return 0;
    }
    c->server->counts.turned_away++;
    (void)nghttp2_submit_rst_stream(c->h.ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
    return 0;
}

static int field_came(UNUSED nghttp2_session *ng, UNUSED const nghttp2_frame *frame, const uint8_t *name,
                      size_t nname, const uint8_t *value, size_t nvalue, UNUSED uint8_t flags, void *arg)
{
    struct http2_server_session *c = session_of_ng(arg);
    if (http2_is_over(c))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (!http2_fields_add(&c->h.fields, (struct str){(const char *)name, nname},
                          (struct str){(const char *)value, nvalue})) {
        c->server->counts.refused++;
        (void)nghttp2_session_terminate_session(c->h.ng, NGHTTP2_ENHANCE_YOUR_CALM);
        c->h.flooding = true;
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
}

static int frame_came(UNUSED nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct http2_server_session *c = session_of_ng(arg);
    if (http2_is_over(c))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    struct http2_stream *q = frame->hd.stream_id ? stream_at(c, frame->hd.stream_id) : NULL;
    bool last = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS: c->greeted = true; break;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK && c->leaving)
            c->closing = http2_now_of(c); /* now the last stream is known */
        break;
    case NGHTTP2_HEADERS:
        if (q && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
            head_came(c, q, !last);
        else if (q && last && !body_ended(c, q))
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        http2_fields_fini(&c->h.fields);
        break;
    case NGHTTP2_DATA:
        if (q && last && !body_ended(c, q))
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        break;
    default: break;
    }
    return 0;
}

static int frame_begins(UNUSED nghttp2_session *ng, const nghttp2_frame_hd *hd, void *arg)
{
    struct http2_server_session *c = session_of_ng(arg);
    if (http2_is_over(c))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    bool head = hd->type == NGHTTP2_HEADERS || hd->type == NGHTTP2_CONTINUATION;
    c->heading = !head || hd->flags & NGHTTP2_FLAG_END_HEADERS ? 0 : c->heading ? c->heading : http2_now_of(c);
    if (c->heading)
        http2_due_at(c, c->heading + http2_config_of(c)->head_ns);
    return 0;
}

static int frame_bad(UNUSED nghttp2_session *ng, UNUSED const nghttp2_frame *frame, UNUSED int why, void *arg)
{
    struct http2_server_session *c = session_of_ng(arg);
    if (http2_is_over(c))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    c->server->counts.refused++;
    http2_cost(&c->h, 4);
    return 0;
}

/* ---- frames that have gone */

static int frame_gone(UNUSED nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct http2_server_session *c = session_of_ng(arg);
    if (http2_is_over(c))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    struct http2_stream *q = frame->hd.stream_id ? stream_at(c, frame->hd.stream_id) : NULL;
    if (!q || (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS))
        return 0;
    q->moved = http2_now_of(c);
    if (frame->hd.type == NGHTTP2_DATA)
        queue_counts(c, 0, frame->hd.length);
    if (q->over && q->out.bytes <= QUEUE_LOW) {
        q->over = false;
        list_del(&q->drained);
        list_add_tail(&c->drained, &q->drained);
    }
    q->sent |= frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    body_not_needed(c, q);
    return 0;
}

static int stream_closed(UNUSED nghttp2_session *ng, int32_t id, UNUSED uint32_t code, void *arg)
{
    struct http2_server_session *c = session_of_ng(arg);
    if (http2_is_over(c))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    struct http2_stream *q = stream_at(c, id);
    if (!q)
        return 0;
    http2_stream_end(c, q, true);
    if (http2_is_over(c))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (c->nstreams == 0) {
        http_line_rest(c->s.line);
        c->rested = http2_now_of(c);
        http2_due_at(c, c->rested + http2_config_of(c)->idle_ns);
        soon_set(&c->soon);
    }
    return 0;
}

/* ---- nghttp2's session */

nghttp2_session *http2_server_ng_new(struct http2 *h)
{
    static const nghttp2_settings_entry ours[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP2_STREAMS_MOST},
                                                  {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
                                                  {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP1_HEAD_MOST},
                                                  {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1}};
    nghttp2_session_callbacks *f = http2_callbacks_new();
    nghttp2_option *o = http2_option_new();
    nghttp2_session *ng = NULL;
    nghttp2_session_callbacks_set_on_begin_frame_callback(f, frame_begins);
    nghttp2_session_callbacks_set_on_begin_headers_callback(f, head_begins);
    nghttp2_session_callbacks_set_on_header_callback(f, field_came);
    nghttp2_session_callbacks_set_on_frame_recv_callback(f, frame_came);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(f, frame_bad);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(f, body_came);
    nghttp2_session_callbacks_set_on_frame_send_callback(f, frame_gone);
    nghttp2_session_callbacks_set_on_stream_close_callback(f, stream_closed);
    ASSERT(nghttp2_session_server_new3(&ng, f, h, o, http2_mem()) == 0);
    nghttp2_session_callbacks_del(f);
    nghttp2_option_del(o);
    ASSERT(nghttp2_submit_settings(ng, NGHTTP2_FLAG_NONE, ours, countof(ours)) == 0);
    ASSERT(nghttp2_session_set_local_window_size(ng, NGHTTP2_FLAG_NONE, 0, LINE_WINDOW) == 0);
    return ng;
}
