/* The session of HTTP/2 (RFC 9113), client's side: many calls at a time, each on a stream of its own. A call whose
 * stream was refused, or is above the last one that a GOAWAY names, was not looked at: it begins anew on another
 * line, whatever it asks for. Of an answer that is paused no more than a stream's window is held. */
#include "wire/http1.h"
#include "wire/http2.h"
#include "wire/http_client_session.h"

#define CALLS_MOST    2500 /* on a line, whatever the server allows */
#define CALLS_FIRST   100  /* before it has said */
#define STREAM_WINDOW (256 * 1024)
#define LINE_WINDOW   (4 << 20)
#define QUEUE_HIGH    65536
#define QUEUE_LOW     16384

struct http2_client_session {
    struct http_client_session s;
    struct http2 h;
    struct list ways, woken;
    size_t ncalls;
    struct soon soon;
    int busy;
    bool greeted, going; /* going: no call begins any more */
};
struct http2_way { /* a call's stream; stays until the stream is closed */
    struct list node, woken;
    struct http_call *call; /* NULL: it is over */
    struct http2_queue out;
    struct strbuf held;
    int32_t id;
    bool over, ended, idle, reset, whole; /* of the request as in http2_server.c; whole: the answer has come */
};

static struct http2_client_session *session_of(const struct http_client_session *s)
{
    return container_of((struct http_client_session *)(uintptr_t)s, struct http2_client_session, s);
}
static struct http2_client_session *session_of_ng(void *arg)
{
    return container_of(arg, struct http2_client_session, h);
}
static struct http2_client_session *session_by(const struct http_call *k)
{
    return session_of(k->line->session);
}
static bool is_over(const struct http2_client_session *n)
{
    return !n->s.line;
}

static bool has_room(const struct http_client_session *s)
{
    struct http2_client_session *n = session_of(s);
    size_t most = n->greeted ? nghttp2_session_get_remote_settings(n->h.ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
                             : CALLS_FIRST;
    return !n->going && !n->h.broken && n->ncalls < MIN(most, (size_t)CALLS_MOST);
}

/* ---- requests */

static ssize_t body_read(UNUSED nghttp2_session *ng, UNUSED int32_t id, UNUSED uint8_t *p, size_t most,
                         uint32_t *flags, nghttp2_data_source *from, void *arg)
{
    if (is_over(session_of_ng(arg)))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    struct http2_way *w = container_of(from->ptr, struct http2_way, out);
    size_t n = MIN(most, w->out.bytes);
    w->idle = w->reset || (n == 0 && !w->ended);
    if (w->idle)
        return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY | (w->ended && n == w->out.bytes ? NGHTTP2_DATA_FLAG_EOF : 0);
    return (ssize_t)n;
}

static void request_go_on(struct http2_client_session *n, struct http2_way *w)
{
    if (w->idle)
        (void)nghttp2_session_resume_data(n->h.ng, w->id);
    w->idle = false;
    w->over |= w->out.bytes > QUEUE_HIGH;
    soon_set(&n->soon);
}

static void head_of(struct http2_nvs *head, const struct http_call *k)
{
    bool usual = str_eq(k->request.method, S("GET")) || str_eq(k->request.method, S("HEAD"));
    char text[32];
    http2_nvs_add(head, S(":method"), k->request.method);
    http2_nvs_add(head, S(":scheme"), k->client->c.tls ? S("https") : S("http"));
    http2_nvs_add(head, S(":authority"), str_of(k->client->host));
    http2_nvs_add(head, S(":path"), k->request.target);
    for (size_t i = 0; i < k->request.headers.n; i++)
        http2_nvs_add(head, k->request.headers.p[i].name, k->request.headers.p[i].value);
    if (k->request.content_type.n)
        http2_nvs_add(head, S("content-type"), k->request.content_type);
    if (k->request.length > 0 || (k->request.length == 0 && !usual))
        http2_nvs_add(head, S("content-length"),
                      (struct str){text, (size_t)snprintf(text, sizeof text, "%lld", (long long)k->request.length)});
}

static void way_free(struct http2_way *w)
{
    list_del(&w->node);
    list_del(&w->woken);
    http2_queue_clear(&w->out);
    strbuf_fini(&w->held);
    mem_free(w);
}

static void call_begin(struct http_client_session *s, struct http_call *k)
{
    struct http2_client_session *n = session_of(s);
    struct http2_way *w = NEW(struct http2_way);
    AUTO(http2_nvs_fini) struct http2_nvs head = {0};
    nghttp2_data_provider from = {.source.ptr = &w->out, .read_callback = body_read};
    w->call = k;
    w->held = STRBUF(STREAM_WINDOW);
    list_init(&w->woken);
    list_add_tail(&n->ways, &w->node);
    k->of_session = w;
    n->ncalls++;
    if (k->request.body)
        http2_queue_add_buf(&w->out, k->request.body);
    http2_queue_add(&w->out, strbuf_str(&k->early));
    strbuf_fini(&k->early);
    k->early = STRBUF(0);
    w->ended = !k->streamed || k->stream_ended;
    w->over = w->out.bytes > QUEUE_HIGH;
    head_of(&head, k);
    w->id = nghttp2_submit_request(n->h.ng, NULL, head.all.p, head.all.n, w->ended && !w->out.bytes ? NULL : &from,
                                   w);
    n->going |= w->id < 0; /* its numbers are used up: told so in the session's turn */
    soon_set(&n->soon);
}

static void call_write(struct http_call *k, struct str bytes)
{
    struct http2_way *w = k->of_session;
    if (w->reset)
        return;
    http2_queue_add(&w->out, bytes);
    request_go_on(session_by(k), w);
}

static void call_end(struct http_call *k)
{
    struct http2_way *w = k->of_session;
    w->ended = true;
    request_go_on(session_by(k), w);
}

static bool call_over_high(const struct http_call *k)
{
    const struct http2_way *w = k->of_session;
    return w->out.bytes > QUEUE_HIGH;
}

static void call_pause(struct http_call *k, bool pause)
{
    struct http2_client_session *n = session_by(k);
    struct http2_way *w = k->of_session;
    if (pause)
        return;
    list_del(&w->woken);
    list_add_tail(&n->woken, &w->woken);
    soon_set(&n->soon);
}

/* Nobody wants what is left of it. */
static void way_reset(struct http2_client_session *n, struct http2_way *w)
{
    w->reset = true;
    w->call = NULL;
    n->ncalls--;
    list_del(&w->woken);
    http2_queue_clear(&w->out);
    strbuf_fini(&w->held);
    if (w->id > 0)
        (void)nghttp2_submit_rst_stream(n->h.ng, NGHTTP2_FLAG_NONE, w->id, NGHTTP2_CANCEL);
    soon_set(&n->soon);
}

static void call_cancel(struct http_client_session *s, struct http_call *k)
{
    struct http2_client_session *n = session_of(s);
    n->going |= !k->cancelled && !k->heard; /* it was given up: the line may be dead */
    way_reset(n, k->of_session);
    http_client_line_left(s->line, true);
}

/* ---- answers */

/* Takes the call off the line. */
static struct http_call *call_leaves(struct http2_client_session *n, struct http2_way *w)
{
    struct http_call *k = TAKE(w->call);
    n->ncalls--;
    list_del(&w->woken);
    http_call_detach(k);
    http_client_line_left(n->s.line, true);
    return k;
}

static void answer_whole(struct http2_client_session *n, struct http2_way *w)
{
    bool sent = w->ended && !w->out.bytes;
    struct http_call *k = call_leaves(n, w);
    if (!sent) {
        w->reset = true;
        http2_queue_clear(&w->out);
        (void)nghttp2_submit_rst_stream(n->h.ng, NGHTTP2_FLAG_NONE, w->id, NGHTTP2_CANCEL);
    }
    http_call_whole(k);
}

static void stall_begins(struct http_call *k)
{
    if (k->stall_ns)
        timer_set(&k->timer, k->stall_ns);
}

/* What is held of an answer that was paused, and its end. False: the line is over. */
static bool answer_goes_on(struct http2_client_session *n, struct http2_way *w)
{
    if (w->held.n && !w->call->paused) {
        AUTO(strbuf_fini) struct strbuf b = w->held;
        w->held = STRBUF(STREAM_WINDOW);
        (void)nghttp2_session_consume_stream(n->h.ng, w->id, b.n);
        soon_set(&n->soon);
        stall_begins(w->call);
        http_call_body(w->call, strbuf_str(&b));
    }
    if (!is_over(n) && w->call && w->whole && !w->held.n)
        answer_whole(n, w);
    return !is_over(n);
}

static int body_came(nghttp2_session *ng, UNUSED uint8_t flags, int32_t id, const uint8_t *p, size_t size, void *arg)
{
    struct http2_client_session *n = session_of_ng(arg);
    if (is_over(n))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    struct http2_way *w = nghttp2_session_get_stream_user_data(ng, id);
    struct str bytes = {(const char *)p, size};
    (void)nghttp2_session_consume_connection(ng, size);
    if (w && w->call && (w->call->paused || w->held.n)) {
        strbuf_add(&w->held, bytes);
        return 0;
    }
    (void)nghttp2_session_consume_stream(ng, id, size);
    if (w && w->call) {
        stall_begins(w->call);
        http_call_body(w->call, bytes);
    }
    return is_over(n) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void head_came(struct http2_client_session *n, struct http2_way *w)
{
    AUTO(arena_fini) struct arena arena = ARENA;
    struct http2_head h;
    struct http_call *k = w->call;
    struct err err = ERR;
    if (k->head_told) { /* trailers */
        http2_fields_take(&n->h.fields, &k->arena, &h);
        k->answer.trailers = h.headers;
        return;
    }
    http2_fields_take(&n->h.fields, &arena, &h);
    if (h.status / 100 == 1)
        return; /* the answer is yet to come */
    if (!n->h.fields.too_large && h.status) {
        http_call_head(k, h.status, h.headers, &arena);
        if (!is_over(n) && w->call)
            stall_begins(k);
        return;
    }
    (void)err_set(&err, E_UNAVAILABLE, "%s at %s: the answer's header is too large", k->what, k->client->address);
    way_reset(n, w);
    http_call_detach(k);
    http_client_line_left(n->s.line, true);
    http_call_broken(k, &err, false);
}

static int head_begins(UNUSED nghttp2_session *ng, UNUSED const nghttp2_frame *frame, void *arg)
{
    struct http2_client_session *n = session_of_ng(arg);
    http2_fields_begin(&n->h.fields);
    return 0;
}

static int field_came(UNUSED nghttp2_session *ng, UNUSED const nghttp2_frame *frame, const uint8_t *name,
                      size_t nname, const uint8_t *value, size_t nvalue, UNUSED uint8_t flags, void *arg)
{
    struct http2_client_session *n = session_of_ng(arg);
    bool good = http2_fields_add(&n->h.fields, (struct str){(const char *)name, nname},
                                 (struct str){(const char *)value, nvalue});
    return good ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int frame_came(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct http2_client_session *n = session_of_ng(arg);
    if (is_over(n))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    int32_t id = frame->hd.stream_id;
    struct http2_way *w = id ? nghttp2_session_get_stream_user_data(ng, id) : NULL;
    if (frame->hd.type == NGHTTP2_SETTINGS)
        n->greeted = n->s.line->client->greeted = true;
    n->going |= frame->hd.type == NGHTTP2_GOAWAY;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        if (w && w->call) {
            w->call->heard = true;
            head_came(n, w);
        }
        http2_fields_fini(&n->h.fields);
    }
    bool last = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
                frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (!is_over(n) && w && w->call && last) {
        w->whole = true;
        (void)answer_goes_on(n, w);
    }
    return is_over(n) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int frame_gone(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct http2_client_session *n = session_of_ng(arg);
    if (is_over(n) || frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct http2_way *w = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
    if (w && w->call && w->over && w->out.bytes <= QUEUE_LOW) {
        list_del(&w->woken);
        list_add_tail(&n->woken, &w->woken);
    }
    return 0;
}

static int stream_closed(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
    struct http2_client_session *n = session_of_ng(arg);
    if (is_over(n))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    struct http2_way *w = nghttp2_session_get_stream_user_data(ng, id);
    if (!w)
        return 0;
    (void)nghttp2_session_set_stream_user_data(ng, id, NULL);
    struct err err = ERR;
    if (w->call && w->whole) { /* paused, and its end has come: the handler has the rest yet */
        w->id = 0;
        return 0;
    }
    struct http_call *k = w->call ? call_leaves(n, w) : NULL;
    way_free(w);
    if (!k)
        return 0;
    k->refused = code == NGHTTP2_REFUSED_STREAM;
    if (code)
        (void)err_set(&err, E_UNAVAILABLE, "%s at %s: the answer was broken off (%s)", k->what, k->client->address,
                      nghttp2_http2_strerror(code));
    http_call_broken(k, &err, false);
    return is_over(n) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* ---- a turn of it */

static void session_release(struct http2_client_session *n)
{
    for (struct http2_way *w; (w = list_first(&n->ways, struct http2_way, node));)
        way_free(w);
    http2_fini(&n->h);
    mem_free(n);
}

/* Whose queue fell, and whose answer goes on. True: somebody may have written more. */
static bool calls_go_on(struct http2_client_session *n)
{
    bool told = false;
    for (struct http2_way *w; !is_over(n) && (w = list_first(&n->woken, struct http2_way, woken));) {
        list_del(&w->woken);
        bool fell = w->over && w->out.bytes <= QUEUE_LOW;
        w->over &= !fell;
        told |= fell;
        if (fell)
            http_call_drained(w->call);
        if (is_over(n) || !w->call || !answer_goes_on(n, w))
            continue;
    }
    return told;
}

static void ways_sweep(struct http2_client_session *n)
{
    list_each (w, &n->ways, struct http2_way, node)
        if (w->id <= 0 && !w->call)
            way_free(w);
}

static void session_turn(struct http2_client_session *n)
{
    n->busy++;
    do
        (void)calls_go_on(n);
    while (!is_over(n) && http2_flush(&n->h) && !list_empty(&n->woken));
    n->busy--;
    if (is_over(n)) {
        if (n->busy == 0)
            session_release(n);
        return;
    }
    ways_sweep(n);
    bool none = !nghttp2_session_want_read(n->h.ng) && !nghttp2_session_want_write(n->h.ng);
    struct err err = ERR;
    if (n->h.broken && !list_empty(&n->s.line->calls))
        (void)err_set(&err, E_UNAVAILABLE, "%s: the server does not keep to HTTP/2", n->s.line->client->address);
    if (n->h.broken || none)
        http_client_line_broken(n->s.line, &err);
    else if (n->going && !n->ncalls)
        http_client_line_left(n->s.line, false);
}

static void session_soon(struct soon *s)
{
    session_turn(container_of(s, struct http2_client_session, soon));
}

static void session_data(struct http_client_session *s, struct str bytes)
{
    struct http2_client_session *n = session_of(s);
    bool had = has_room(s);
    n->busy++;
    (void)http2_feed(&n->h, bytes);
    n->busy--;
    if (!is_over(n) && had != has_room(s))
        http_client_line_changed(s->line);
    session_turn(n);
}

static void session_drained(struct http_client_session *s)
{
    session_turn(session_of(s));
}

static void session_ended(struct http_client_session *s)
{
    struct err err = ERR;
    http_client_line_broken(s->line, &err);
}

static void session_over(struct http_client_session *s)
{
    struct http2_client_session *n = session_of(s);
    n->h.stream = NULL;
    soon_stop(&n->soon);
    list_each (w, &n->ways, struct http2_way, node)
        w->call = NULL;
    if (n->busy == 0)
        session_release(n);
}

static nghttp2_session *ng_new(struct http2 *h)
{
    static const nghttp2_settings_entry ours[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                                  {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
                                                  {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP1_HEAD_MOST}};
    nghttp2_session_callbacks *f = http2_callbacks_new();
    nghttp2_option *o = http2_option_new();
    nghttp2_session *ng = NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(f, head_begins);
    nghttp2_session_callbacks_set_on_header_callback(f, field_came);
    nghttp2_session_callbacks_set_on_frame_recv_callback(f, frame_came);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(f, body_came);
    nghttp2_session_callbacks_set_on_frame_send_callback(f, frame_gone);
    nghttp2_session_callbacks_set_on_stream_close_callback(f, stream_closed);
    ASSERT(nghttp2_session_client_new3(&ng, f, h, o, http2_mem()) == 0);
    nghttp2_session_callbacks_del(f);
    nghttp2_option_del(o);
    ASSERT(nghttp2_submit_settings(ng, NGHTTP2_FLAG_NONE, ours, countof(ours)) == 0);
    ASSERT(nghttp2_session_set_local_window_size(ng, NGHTTP2_FLAG_NONE, 0, LINE_WINDOW) == 0);
    return ng;
}

static struct http_client_session *session_open(struct http_client_line *l)
{
    struct http2_client_session *n = NEW(struct http2_client_session);
    n->s = (struct http_client_session){&http2_client_session, l};
    list_init(&n->ways);
    list_init(&n->woken);
    soon_init(&n->soon, l->client->loop, session_soon);
    http2_begin(&n->h, ng_new(&n->h), l->stream, 0);
    soon_set(&n->soon);
    return &n->s;
}

const struct http_client_session_type http2_client_session = {
    .alpn = "h2",
    .many = true,
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
