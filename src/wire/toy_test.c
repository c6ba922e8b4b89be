/* A version of HTTP that is spoken in tests alone, for what another one than HTTP/1.1 needs of the parts around it.
 * Frames are "ID KIND LENGTH\n" and as many bytes; many exchanges share a line, and end in any order.
 *
 *   asked       REQ "METHOD PATH LENGTH"   DATA   END   STOP (the client wants no answer any more)
 *   answered    HEAD "STATUS TYPE"         DATA   END   STOP (the answer is not whole) */
#include "wire/toy_test.h"
#include "base/test.h"

#define FRAME_MOST (1u << 20)
#define AT_A_TIME  8

int toys;

struct frame {
    int64_t id;
    struct str kind, bytes;
};

static void frame_write(struct stream *s, int64_t id, const char *kind, struct str bytes)
{
    char head[64];
    stream_write(s, (struct str){head, (size_t)snprintf(head, sizeof head, "%d %s %zu\n", (int)id, kind, bytes.n)});
    stream_write(s, bytes);
}

/* One frame off *rest. False: there is no whole one. */
static bool frame_cut(struct str *rest, struct frame *f)
{
    struct str line, id, size;
    int64_t n;
    ptrdiff_t at = str_find_char(*rest, '\n');
    if (at < 0)
        return false;
    line = str_sub(*rest, 0, (size_t)at);
    CHECK(str_split(line, ' ', &id, &line) && str_split(line, ' ', &f->kind, &size));
    CHECK(str_to_i64(id, 0, 1 << 30, &f->id) && str_to_i64(size, 0, FRAME_MOST, &n));
    if (rest->n < (size_t)at + 1 + (size_t)n)
        return false;
    f->bytes = str_sub(*rest, (size_t)at + 1, (size_t)at + 1 + (size_t)n);
    *rest = str_sub(*rest, (size_t)at + 1 + (size_t)n, rest->n);
    return true;
}

/* Takes frames of what came before and of bytes as long as `take` says so. */
static void frames_take(struct strbuf *kept, struct str bytes, bool (*take)(void *arg, const struct frame *f),
                        void *arg)
{
    AUTO(strbuf_fini) struct strbuf all = *kept;
    *kept = STRBUF(2 * FRAME_MOST);
    strbuf_add(&all, bytes);
    struct str rest = strbuf_str(&all);
    struct frame f;
    while (frame_cut(&rest, &f))
        if (!take(arg, &f))
            return;
    strbuf_add(kept, rest);
}

/* ---- the server's side */

struct toy {
    struct http_session s;
    struct list exchanges;
    struct strbuf in;
    struct soon soon;
    int busy;
    bool draining;
};
struct toy_exchange {
    struct http_exchange e;
    struct list node;
    int64_t id;
};

static struct toy *toy_of(struct http_session *s)
{
    return container_of(s, struct toy, s);
}
static struct toy_exchange *toy_exchange_of(const struct http_exchange *e)
{
    return container_of((struct http_exchange *)(uintptr_t)e, struct toy_exchange, e);
}
static struct stream *toy_stream(const struct http_exchange *e)
{
    return e->session->line->stream;
}

static void toy_soon(struct soon *s)
{
    struct toy *t = container_of(s, struct toy, soon);
    if (t->draining && list_empty(&t->exchanges))
        http_line_close(t->s.line);
}

static struct http_session *toy_open(struct http_line *l)
{
    struct toy *t = NEW(struct toy);
    toys++;
    t->s = (struct http_session){&toy_session, l};
    t->in = STRBUF(2 * FRAME_MOST);
    list_init(&t->exchanges);
    soon_init(&t->soon, l->server->loop, toy_soon);
    http_line_rest(l);
    return &t->s;
}

static void toy_release(struct toy *t)
{
    if (t->busy || t->s.line)
        return;
    toys--;
    strbuf_fini(&t->in);
    mem_free(t);
}

static void toy_over(struct http_session *s, bool tell)
{
    struct toy *t = toy_of(s);
    soon_stop(&t->soon);
    t->busy++;
    for (struct toy_exchange *x; (x = list_first(&t->exchanges, struct toy_exchange, node));) {
        list_del(&x->node);
        if (x->e.given)
            http_exchange_gone(&x->e, tell);
        else
            http_exchange_drop(&x->e);
    }
    t->busy--;
    toy_release(t);
}

static void toy_left(struct toy *t)
{
    if (!list_empty(&t->exchanges))
        return;
    http_line_rest(t->s.line);
    soon_set(&t->soon);
}

static void toy_refuse(struct toy *t, struct toy_exchange *x, const struct http_refusal *why)
{
    char head[64];
    struct str type, body = http_refusal_body(t->s.line->server, why, &type);
    (void)snprintf(head, sizeof head, "%d " STR_FMT, why->status, STR_ARG(type));
    t->s.line->server->counts.refused++;
    frame_write(t->s.line->stream, x->id, "HEAD", str_of(head));
    frame_write(t->s.line->stream, x->id, "DATA", body);
    frame_write(t->s.line->stream, x->id, "END", S(""));
    list_del(&x->node);
    http_exchange_drop(&x->e);
    toy_left(t);
}

static struct toy_exchange *toy_find(struct toy *t, int64_t id)
{
    list_each (x, &t->exchanges, struct toy_exchange, node)
        if (x->id == id)
            return x;
    return NULL;
}

static void toy_asked(struct toy *t, const struct frame *f)
{
    struct toy_exchange *x = NEW(struct toy_exchange);
    struct arena arena = ARENA;
    struct http_head head = {.host = S("toy")};
    struct http_refusal why;
    struct str rest, length;
    CHECK(str_split(str_dup(&arena, f->bytes), ' ', &head.method, &rest));
    CHECK(str_split(rest, ' ', &head.target, &length) && str_to_i64(length, -1, 1 << 30, &head.length));
    x->id = f->id;
    if (list_empty(&t->exchanges))
        http_line_work(t->s.line);
    list_add_tail(&t->exchanges, &x->node);
    if (!http_exchange_begin(&x->e, &t->s, &head, &arena, &why))
        toy_refuse(t, x, &why);
    else if (!x->e.collect)
        http_exchange_give(&x->e);
}

static bool toy_take(void *arg, const struct frame *f)
{
    struct toy *t = arg;
    struct toy_exchange *x = toy_find(t, f->id);
    struct http_refusal why;
    if (str_eqz(f->kind, "REQ")) {
        toy_asked(t, f);
    } else if (x && str_eqz(f->kind, "DATA")) {
        if (!http_exchange_body(&x->e, f->bytes, &why))
            toy_refuse(t, x, &why);
    } else if (x && str_eqz(f->kind, "END")) {
        x->e.body_done = true;
        stream_read_pause(t->s.line->stream, false); /* a handler that paused it need not say so any more */
        if (x->e.collect)
            http_exchange_give(&x->e);
        else if (x->e.r.on_data_end)
            x->e.r.on_data_end(&x->e.r);
    } else if (x && str_eqz(f->kind, "STOP")) {
        list_del(&x->node);
        toy_left(t);
        if (x->e.given)
            http_exchange_gone(&x->e, true);
        else
            http_exchange_drop(&x->e);
    }
    return t->s.line != NULL;
}

static void toy_data(struct http_session *s, struct str bytes)
{
    struct toy *t = toy_of(s);
    t->busy++;
    frames_take(&t->in, bytes, toy_take, t);
    t->busy--;
    toy_release(t);
}

static void toy_drained(struct http_session *s)
{
    list_each (x, &toy_of(s)->exchanges, struct toy_exchange, node)
        if (x->e.r.on_drained)
            x->e.r.on_drained(&x->e.r);
}
static void toy_ended(struct http_session *s)
{
    http_line_end(s->line, true);
}
static void toy_drain(struct http_session *s)
{
    toy_of(s)->draining = true;
    soon_set(&toy_of(s)->soon);
}

static void toy_start(struct http_exchange *e, struct str content_type, UNUSED int64_t length)
{
    char head[64];
    (void)snprintf(head, sizeof head, "%d " STR_FMT, e->r.status, STR_ARG(content_type));
    frame_write(toy_stream(e), toy_exchange_of(e)->id, "HEAD", str_of(head));
}
static void toy_write(struct http_exchange *e, struct str bytes)
{
    frame_write(toy_stream(e), toy_exchange_of(e)->id, "DATA", bytes);
}
static void toy_write_buf(struct http_exchange *e, struct buf *b)
{
    toy_write(e, buf_str(b));
}
static size_t toy_queued(const struct http_exchange *e)
{
    return stream_queued(toy_stream(e));
}
static bool toy_over_high(const struct http_exchange *e)
{
    return stream_over_high(toy_stream(e));
}
static void toy_finish(struct http_exchange *e, const char *kind)
{
    struct toy *t = toy_of(e->session);
    frame_write(toy_stream(e), toy_exchange_of(e)->id, kind, S(""));
    list_del(&toy_exchange_of(e)->node);
    toy_left(t);
}
static void toy_end(struct http_exchange *e)
{
    toy_finish(e, "END");
}
static void toy_abort(struct http_exchange *e)
{
    toy_finish(e, "STOP");
}
static void toy_pause(struct http_exchange *e, bool pause)
{
    stream_read_pause(toy_stream(e), pause);
}

const struct http_session_type toy_session = {
    .alpn = "toy",
    .open = toy_open,
    .data = toy_data,
    .drained = toy_drained,
    .ended = toy_ended,
    .drain = toy_drain,
    .over = toy_over,
    .start = toy_start,
    .write = toy_write,
    .write_buf = toy_write_buf,
    .queued = toy_queued,
    .over_high = toy_over_high,
    .end = toy_end,
    .abort = toy_abort,
    .body_pause = toy_pause,
};

/* ---- the client's side */

struct toy_client {
    struct http_client_session s;
    struct strbuf in;
    size_t ncalls;
    int64_t last;
    int busy;
};

static struct toy_client *toy_client_of(const struct http_client_session *s)
{
    return container_of((struct http_client_session *)(uintptr_t)s, struct toy_client, s);
}
static int64_t id_of(const struct http_call *k)
{
    return (int64_t)(intptr_t)k->of_session;
}

static struct http_client_session *client_open(struct http_client_line *l)
{
    struct toy_client *t = NEW(struct toy_client);
    toys++;
    t->s = (struct http_client_session){&toy_client_session, l};
    t->in = STRBUF(2 * FRAME_MOST);
    return &t->s;
}
static void client_release(struct toy_client *t)
{
    if (t->busy || t->s.line)
        return;
    toys--;
    strbuf_fini(&t->in);
    mem_free(t);
}
static void client_over(struct http_client_session *s)
{
    client_release(toy_client_of(s));
}
static bool client_has_room(const struct http_client_session *s)
{
    return toy_client_of(s)->ncalls < AT_A_TIME;
}

static void call_write(struct http_call *k, struct str bytes)
{
    while (bytes.n) {
        struct str part = str_sub(bytes, 0, MIN(bytes.n, (size_t)FRAME_MOST));
        frame_write(k->line->stream, id_of(k), "DATA", part);
        bytes = str_sub(bytes, part.n, bytes.n);
    }
}
static void call_end(struct http_call *k)
{
    frame_write(k->line->stream, id_of(k), "END", S(""));
}
static void call_begin(struct http_client_session *s, struct http_call *k)
{
    struct toy_client *t = toy_client_of(s);
    char head[256];
    k->of_session = (void *)(intptr_t)++t->last;
    t->ncalls++;
    (void)snprintf(head, sizeof head, STR_FMT " " STR_FMT " %d", STR_ARG(k->request.method),
                   STR_ARG(k->request.target), (int)k->request.length);
    frame_write(s->line->stream, id_of(k), "REQ", str_of(head));
    if (k->request.body)
        call_write(k, buf_str(k->request.body));
    call_write(k, strbuf_str(&k->early));
    strbuf_fini(&k->early);
    if (!k->streamed || k->stream_ended)
        call_end(k);
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
    frame_write(s->line->stream, id_of(k), "STOP", S(""));
    toy_client_of(s)->ncalls--;
    http_client_line_left(s->line, true);
}

static bool answer_take(void *arg, const struct frame *f)
{
    struct toy_client *t = arg;
    struct http_call *k = NULL;
    list_each (one, &t->s.line->calls, struct http_call, node)
        k = id_of(one) == f->id ? one : k;
    if (!k)
        return true; /* it was cancelled */
    k->heard = true;
    if (str_eqz(f->kind, "HEAD")) {
        struct arena a = ARENA;
        struct str status, type;
        int64_t n;
        CHECK(str_split(str_dup(&a, f->bytes), ' ', &status, &type) && str_to_i64(status, 200, 599, &n));
        http_call_head(k, (int)n, (struct http_headers){0}, &a);
    } else if (str_eqz(f->kind, "DATA")) {
        http_call_body(k, f->bytes);
    } else {
        struct err err = ERR;
        bool whole = str_eqz(f->kind, "END");
        http_call_detach(k);
        t->ncalls--;
        http_client_line_left(t->s.line, true);
        if (whole)
            http_call_whole(k);
        else
            http_call_broken(k, &err, false);
    }
    return t->s.line != NULL;
}
static void client_data(struct http_client_session *s, struct str bytes)
{
    struct toy_client *t = toy_client_of(s);
    t->busy++;
    frames_take(&t->in, bytes, answer_take, t);
    t->busy--;
    client_release(t);
}
static void client_drained(struct http_client_session *s)
{
    list_each (k, &s->line->calls, struct http_call, node)
        http_call_drained(k);
}
static void client_ended(struct http_client_session *s)
{
    struct err err = ERR;
    http_client_line_broken(s->line, &err);
}

const struct http_client_session_type toy_client_session = {
    .alpn = "toy",
    .open = client_open,
    .data = client_data,
    .drained = client_drained,
    .ended = client_ended,
    .over = client_over,
    .has_room = client_has_room,
    .begin = call_begin,
    .write = call_write,
    .end = call_end,
    .over_high = call_over_high,
    .pause = call_pause,
    .cancel = call_cancel,
};
