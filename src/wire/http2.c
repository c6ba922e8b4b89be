/* nghttp2 and a stream, joined.
 *
 * Bytes that come are given to nghttp2 in slices, and where a turn of the loop is spent the rest waits for the next
 * one: frames are small, and what they ask for is not. Bytes that go leave nghttp2 only while the stream has room, so
 * that nothing is queued twice.
 *
 * Frames that carry nothing (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA, kinds that nobody knows) have an
 * allowance, which grows with time and with what is sent: two WINDOW_UPDATEs answer each piece of DATA. Errors of
 * streams cost more of it. Who overdraws it is told ENHANCE_YOUR_CALM and nothing else. nghttp2 itself has bounds for
 * streams that are reset, acknowledgements that are not taken, and CONTINUATIONs. */
#include "wire/http2.h"
#include "wire/http1.h"

#define SLICE         2048
#define BOMB          (4 * (size_t)HTTP1_HEAD_MOST)
#define CALM_MOST     10000
#define CALM_PER_S    1000
#define CALM_PER_DATA 2
#define OUTBOUND_MOST                                                                                                \
    1000 /* frames of nghttp2's own, such as RST_STREAM, above which a full line is read no further */
#define ACKS_MOST      1000
#define RESETS_MOST    4000 /* of streams, at once ... */
#define RESETS_PER_S   200  /* ... and for long */
#define SEND_HEAD_MOST ((size_t)256 * 1024)

/* ---- heads that come */

void http2_fields_fini(struct http2_fields *f)
{
    strbuf_fini(&f->text);
    array_fini(&f->all);
}

void http2_fields_begin(struct http2_fields *f)
{
    http2_fields_fini(f);
    *f = (struct http2_fields){.text = STRBUF(HTTP1_HEAD_MOST)};
}

bool http2_fields_add(struct http2_fields *f, struct str name, struct str value)
{
    f->size += name.n + value.n + 4;
    f->too_large |= f->size > HTTP1_HEAD_MOST || f->all.n >= HTTP1_FIELDS_MOST + 4; /* the pseudo header fields */
    if (!f->too_large) {
        array_push(&f->all, ((struct http2_field){f->text.n, f->text.n + name.n, value.n}));
        strbuf_add(&f->text, name);
        strbuf_add(&f->text, value);
    }
    return f->size <= BOMB;
}

static struct str *pseudo_of(struct http2_head *h, struct str name, struct str *status)
{
    return str_eq(name, S(":method"))      ? &h->method
           : str_eq(name, S(":path"))      ? &h->target
           : str_eq(name, S(":authority")) ? &h->authority
           : str_eq(name, S(":scheme"))    ? &h->scheme
                                           : status;
}

/* RFC 9113 8.2.3: a cookie may come in pieces, which belong together for everybody else. */
static bool cookie_joined(struct arena *a, struct http_headers *h, struct str value)
{
    for (size_t i = 0; i < h->n; i++)
        if (str_eq(h->p[i].name, S("cookie"))) {
            h->p[i].value = arena_fmt(a, STR_FMT "; " STR_FMT, STR_ARG(h->p[i].value), STR_ARG(value));
            return true;
        }
    return false;
}

void http2_fields_take(const struct http2_fields *f, struct arena *a, struct http2_head *out)
{
    *out = (struct http2_head){0};
    struct str text = str_dup(a, strbuf_str(&f->text)), status = STR_NONE;
    struct http_headers *h = &out->headers;
    int64_t code;
    h->cap = f->all.n;
    h->p = arena_alloc(a, f->all.n * sizeof *h->p);
    array_each (it, &f->all) {
        struct str name = {text.p + it->name, it->value - it->name}, value = {text.p + it->value, it->nvalue};
        if (str_starts(name, S(":")))
            *pseudo_of(out, name, &status) = value;
        else if (!str_eq(name, S("cookie")) || !cookie_joined(a, h, value))
            h->p[h->n++] = (struct http_header){name, value};
    }
    if (str_to_i64(status, 100, 999, &code))
        out->status = (int)code;
}

/* ---- heads that go */

static bool of_one_connection(struct str name)
{
    static const struct str names[] = {S_INIT("connection"), S_INIT("keep-alive"), S_INIT("proxy-connection"),
                                       S_INIT("transfer-encoding"), S_INIT("upgrade")};
    for (size_t i = 0; i < countof(names); i++)
        if (str_ieq(name, names[i]))
            return true;
    return false;
}

void http2_nvs_add(struct http2_nvs *n, struct str name, struct str value)
{
    if (of_one_connection(name))
        return;
    value = str_trim(value);
    uint8_t *p = arena_alloc(&n->arena, name.n + value.n);
    for (size_t i = 0; i < name.n; i++)
        p[i] = (uint8_t)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] | 32 : name.p[i]);
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        p[name.n + i] = (uint8_t)(c == '\r' || c == '\n' || c == 0 ? ' ' : c);
    }
    array_push(&n->all, ((nghttp2_nv){p, p + name.n, name.n, value.n, NGHTTP2_NV_FLAG_NONE}));
}

void http2_nvs_fini(struct http2_nvs *n)
{
    arena_fini(&n->arena);
    array_fini(&n->all);
}

/* ---- bytes that wait */

void http2_queue_add_buf(struct http2_queue *q, struct buf *b)
{
    if (b->n == 0)
        return;
    array_push(&q->bufs, buf_ref(b));
    q->bytes += b->n;
}

void http2_queue_add(struct http2_queue *q, struct str copied)
{
    if (copied.n == 0)
        return;
    array_push(&q->bufs, buf_new(copied));
    q->bytes += copied.n;
}

void http2_queue_clear(struct http2_queue *q)
{
    for (size_t i = q->first; i < q->bufs.n; i++)
        buf_unref(q->bufs.p[i]);
    array_fini(&q->bufs);
    q->first = q->sent = q->bytes = 0;
}

void http2_queue_send(struct http2_queue *q, struct stream *to, size_t n)
{
    q->bytes -= n;
    while (n) {
        struct buf *b = q->bufs.p[q->first];
        size_t part = MIN(n, b->n - q->sent);
        if (part == b->n && part >= 1024) /* small ones are cheaper together */
            stream_write_buf(to, b);
        else
            stream_write(to, (struct str){b->p + q->sent, part});
        n -= part;
        q->sent += part;
        if (q->sent < b->n)
            continue;
        buf_unref(b);
        q->first++;
        q->sent = 0;
    }
    if (q->bytes == 0)
        http2_queue_clear(q);
}

/* ---- nghttp2's memory, which cannot fail either */

static void *ng_alloc(size_t n, UNUSED void *arg)
{
    return mem_alloc(n);
}
static void ng_free(void *p, UNUSED void *arg)
{
    mem_free(p);
}
static void *ng_calloc(size_t n, size_t size, UNUSED void *arg)
{
    size_t all;
    ASSERT(!__builtin_mul_overflow(n, size, &all));
    return mem_alloc(all);
}
static void *ng_realloc(void *p, size_t n, UNUSED void *arg)
{
    return mem_grow(p, n);
}

nghttp2_mem *http2_mem(void)
{
    static nghttp2_mem mem = {NULL, ng_alloc, ng_free, ng_calloc, ng_realloc};
    return &mem;
}

/* ---- frames */

void http2_cost(struct http2 *h, int much)
{
    int64_t now = loop_now(stream_loop(h->stream));
    int64_t more = (now - h->calm_at) / (NS_PER_S / CALM_PER_S);
    if (more > 0) {
        h->calm = (int)MIN((int64_t)CALM_MOST, h->calm + more);
        h->calm_at = now;
    }
    h->calm -= much;
    if (h->calm >= 0 || h->flooding)
        return;
    h->flooding = true;
    (void)nghttp2_session_terminate_session(h->ng, NGHTTP2_ENHANCE_YOUR_CALM);
}

static bool frame_means(const struct http2 *h)
{
    uint8_t kind = h->head[3], flags = h->head[4];
    if (kind == NGHTTP2_DATA)
        return (h->skip || flags & NGHTTP2_FLAG_END_STREAM) && !(flags & NGHTTP2_FLAG_PADDED);
    return kind == NGHTTP2_HEADERS || kind == NGHTTP2_CONTINUATION || kind == NGHTTP2_RST_STREAM;
}

/* Also of kinds that nghttp2 passes over in silence. */
static void frames_count(struct http2 *h, struct str bytes)
{
    while (bytes.n) {
        size_t n = MIN(bytes.n, h->skip ? h->skip : sizeof h->head - h->nhead);
        if (h->skip) {
            h->skip -= n;
        } else {
            memcpy(h->head + h->nhead, bytes.p, n);
            h->nhead += n;
        }
        bytes = str_sub(bytes, n, bytes.n);
        if (h->nhead < sizeof h->head)
            continue;
        h->nhead = 0;
        h->skip = (size_t)h->head[0] << 16 | (size_t)h->head[1] << 8 | h->head[2];
        if (!frame_means(h))
            http2_cost(h, 1);
    }
}

static ssize_t bytes_go(UNUSED nghttp2_session *ng, const uint8_t *p, size_t n, UNUSED int flags, void *arg)
{
    struct http2 *h = arg;
    if (!h->stream)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (stream_over_high(h->stream))
        return NGHTTP2_ERR_WOULDBLOCK;
    stream_write(h->stream, (struct str){(const char *)p, n});
    return (ssize_t)n;
}

static int data_goes(UNUSED nghttp2_session *ng, UNUSED nghttp2_frame *frame, const uint8_t *head, size_t n,
                     nghttp2_data_source *from, void *arg)
{
    struct http2 *h = arg;
    if (!h->stream)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (stream_over_high(h->stream))
        return NGHTTP2_ERR_WOULDBLOCK;
    struct http2_queue *q = from->ptr;
    if (q->bytes < n)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* it was reset while the line was full */
    stream_write(h->stream, (struct str){(const char *)head, 9});
    http2_queue_send(q, h->stream, n);
    h->calm = MIN(CALM_MOST, h->calm + CALM_PER_DATA);
    return 0;
}

nghttp2_session_callbacks *http2_callbacks_new(void)
{
    nghttp2_session_callbacks *c = NULL;
    ASSERT(nghttp2_session_callbacks_new(&c) == 0);
    nghttp2_session_callbacks_set_send_callback(c, bytes_go);
    nghttp2_session_callbacks_set_send_data_callback(c, data_goes);
    return c;
}

nghttp2_option *http2_option_new(void)
{
    nghttp2_option *o = NULL;
    ASSERT(nghttp2_option_new(&o) == 0);
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_max_outbound_ack(o, ACKS_MOST);
    nghttp2_option_set_max_send_header_block_length(o, SEND_HEAD_MOST);
    nghttp2_option_set_stream_reset_rate_limit(o, RESETS_MOST, RESETS_PER_S);
    return o;
}

void http2_begin(struct http2 *h, nghttp2_session *own_ng, struct stream *s, size_t greeting)
{
    *h = (struct http2){
        .ng = own_ng, .stream = s, .calm = CALM_MOST, .calm_at = loop_now(stream_loop(s)), .skip = greeting};
}

bool http2_feed(struct http2 *h, struct str bytes)
{
    struct loop *l = stream_loop(h->stream);
    while (bytes.n && h->stream && !h->broken) {
        struct str slice = str_sub(bytes, 0, SLICE);
        frames_count(h, slice);
        h->busy++;
        ssize_t n = nghttp2_session_mem_recv(h->ng, (const uint8_t *)slice.p, slice.n);
        h->busy--;
        h->broken |= n < 0 || h->flooding;
        bytes = str_sub(bytes, slice.n, bytes.n);
        if (bytes.n && h->stream && !h->broken && loop_turn_spent(l)) {
            stream_unread(h->stream, bytes);
            break;
        }
    }
    return !h->broken;
}

bool http2_flush(struct http2 *h)
{
    h->busy++;
    bool ok = nghttp2_session_send(h->ng) == 0;
    h->busy--;
    if (!h->stream)
        return true;
    bool full = stream_over_high(h->stream) && nghttp2_session_get_outbound_queue_size(h->ng) > OUTBOUND_MOST;
    stream_read_pause(h->stream, full);
    h->broken |= !ok;
    return !h->broken;
}

void http2_fini(struct http2 *h)
{
    nghttp2_session_del(h->ng);
    http2_fields_fini(&h->fields);
}
