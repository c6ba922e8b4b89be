/* One call: what its user was promised, whatever version of HTTP carries it. It ends once. The user's callbacks may
 * cancel it, so each is bracketed by `busy` and call_back, and a call that is over is freed when the last one
 * returns.
 */
#include "wire/http_client_session.h"

#define HEAD_TEXT     ((size_t)256 * 1024)
#define EARLY_MOST    (64u << 20) /* a streamed body before the call has begun */
#define EARLY_HIGH    (256u * 1024)
#define REFUSALS_MOST 3

static void call_release(struct http_call *k)
{
    strbuf_fini(&k->early);
    strbuf_fini(&k->body);
    buf_unref(k->request.body);
    arena_fini(&k->arena);
    mem_free(k);
}

void http_call_detach(struct http_call *k)
{
    timer_stop(&k->timer);
    list_del(&k->node);
    k->line = NULL;
}

/* Unanswered; detached already. */
static void call_leaves_line(struct http_client_line *l, struct http_call *k)
{
    if (l && l->session && k->begun)
        l->session->type->cancel(l->session, k);
    else if (l && list_empty(&l->calls))
        http_client_line_end(l); /* it was being opened for this one */
}

void http_cancel(struct http_call *k)
{
    if (!k || k->cancelled)
        return;
    struct http_client_line *l = k->line;
    k->cancelled = true;
    http_call_detach(k);
    call_leaves_line(l, k);
    if (k->busy == 0)
        call_release(k);
}

/* Around every callback of a call: false when it was cancelled in it. */
static bool call_back(struct http_call *k)
{
    k->busy--;
    if (!k->cancelled)
        return true;
    if (k->busy == 0)
        call_release(k);
    return false;
}

/* The last of a call; its line is dealt with already. */
static void call_done(struct http_call *k, struct err *err)
{
    http_call_detach(k);
    k->cancelled = true;
    k->busy++;
    k->answer.body = strbuf_str(&k->body);
    struct err none = ERR;
    k->fns->done(k, err ? NULL : &k->answer, err ? err : &none);
    (void)call_back(k);
}

static void call_timer(struct timer *t)
{
    struct http_call *k = container_of(t, struct http_call, timer);
    struct http_client_line *l = k->line;
    struct err err = k->err;
    if (!err.kind)
        (void)err_set(&err, E_TIMEOUT, "%s at %s: no answer in time", k->what, k->client->address);
    http_call_detach(k);
    call_leaves_line(l, k);
    call_done(k, &err);
}

/* In a turn of its own. */
static void call_fails(struct http_call *k, const struct err *err)
{
    k->err = *err;
    k->line = NULL;
    list_del(&k->node);
    list_add_tail(&k->client->failed, &k->node);
    timer_set(&k->timer, 0);
}

/* ---- news of it */

void http_call_head(struct http_call *k, int status, struct http_headers headers, struct arena *own_arena)
{
    k->arena = *own_arena;
    *own_arena = ARENA;
    timer_stop(&k->timer);
    k->answer.status = status;
    k->answer.headers = headers;
    k->head_told = true;
    if (status == 101 || !k->fns->head)
        return;
    k->busy++;
    k->fns->head(k, &k->answer);
    (void)call_back(k);
}

void http_call_body(struct http_call *k, struct str bytes)
{
    if (bytes.n == 0)
        return;
    if (!k->answer_streamed) {
        strbuf_add(&k->body, bytes);
    } else if (k->fns->data) {
        k->busy++;
        k->fns->data(k, bytes);
        (void)call_back(k);
    }
}

void http_call_whole(struct http_call *k)
{
    if (!k->body.over) {
        call_done(k, NULL);
        return;
    }
    struct err err = ERR;
    (void)err_set(&err, E_TOO_LARGE, "%s at %s: the answer is over %zu bytes", k->what, k->client->address,
                  k->body.max);
    call_done(k, &err);
}

void http_call_upgraded(struct http_call *k, struct stream *own_s)
{
    k->cancelled = true;
    k->busy++;
    if (k->fns->upgraded)
        k->fns->upgraded(k, &k->answer, own_s);
    else
        stream_free(own_s);
    (void)call_back(k);
}

static bool is_idempotent(struct str method)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < countof(methods); i++)
        if (str_eqz(method, methods[i]))
            return true;
    return false;
}

void http_call_broken(struct http_call *k, struct err *err, bool later)
{
    struct http_client *c = k->client;
    bool stale = k->on_kept && !k->heard && !k->again && is_idempotent(k->request.method);
    bool refused = k->refused && k->refusals < REFUSALS_MOST;
    if ((stale || refused) && !k->streamed) {
        k->again |= !refused;
        k->refusals += refused;
        k->after = c->opened;
        k->begun = k->refused = false;
        list_add(&c->waiting, &k->node);
        http_client_pump(c);
        return;
    }
    if (err->kind == E_NONE)
        (void)err_set(err, E_UNAVAILABLE, "%s at %s: the connection was closed %s", k->what, c->address,
                      k->answer.status ? HTTP_CUT : "before a whole answer came");
    if (later)
        call_fails(k, err);
    else
        call_done(k, err);
}

/* ---- what users call */

static bool head_is_sendable(struct str method, struct str target)
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

static struct str text_put(char **at, struct str s)
{
    char *p = *at;
    if (s.n)
        memcpy(p, s.p, s.n);
    *at += s.n;
    return (struct str){p, s.n};
}

/* A call with what is asked of it, in one piece; *fits: no more than a head may be. */
static struct http_call *call_new(struct http_client *c, const struct http_outgoing *o, bool *fits)
{
    static const struct http_headers none;
    const struct http_headers *h = o->headers ? o->headers : &none;
    size_t n = o->method.n + o->target.n + o->content_type.n + o->upgrade.n;
    for (size_t i = 0; i < h->n; i++)
        n += h->p[i].name.n + h->p[i].value.n + 4;
    struct http_call *k = mem_alloc(sizeof *k + h->n * sizeof *k->fields + n);
    char *at = (char *)(k->fields + h->n);
    k->client = c;
    k->request.method = text_put(&at, o->method);
    k->request.target = text_put(&at, o->target);
    k->request.content_type = text_put(&at, o->content_type);
    k->request.upgrade = text_put(&at, o->upgrade);
    k->request.headers = (struct http_headers){k->fields, h->n, h->n};
    for (size_t i = 0; i < h->n; i++)
        k->fields[i] = (struct http_header){text_put(&at, h->p[i].name), text_put(&at, h->p[i].value)};
    k->request.body = o->buf ? buf_ref(o->buf) : o->body.n ? buf_new(o->body) : NULL;
    k->request.length = !o->body_streamed ? (int64_t)(k->request.body ? k->request.body->n : 0)
                        : o->length       ? o->length
                                          : -1;
    *fits = n + strlen(c->host) + 512 <= HEAD_TEXT;
    return k;
}

struct http_call *http_send(struct http_client *c, const struct http_outgoing *o, const struct http_call_fns *fns,
                            void *arg)
{
    bool fits;
    struct http_call *k = call_new(c, o, &fits);
    k->fns = fns;
    k->arg = arg;
    k->early = STRBUF(EARLY_MOST);
    k->body = STRBUF(o->answer_most ? o->answer_most : 64u << 20);
    k->streamed = o->body_streamed;
    k->answer_streamed = o->answer_streamed;
    k->no_body = str_eq(o->method, S("HEAD"));
    k->stall_ns = o->stall_ns;
    (void)snprintf(k->what, sizeof k->what, STR_FMT " " STR_FMT, STR_ARG(o->method), STR_ARG(o->target));
    timer_init(&k->timer, c->loop, call_timer);
    list_init(&k->node);
    if (!fits || !head_is_sendable(o->method, o->target)) {
        struct err err = ERR;
        (void)err_set(&err, E_INVALID, "%s: this method or target cannot be sent in HTTP", k->what);
        call_fails(k, &err);
        return k;
    }
    if (o->head_ns >= 0)
        timer_set(&k->timer, o->head_ns ? o->head_ns : 60 * NS_PER_S);
    list_add_tail(&c->waiting, &k->node);
    http_client_pump(c);
    return k;
}

void *http_call_arg(const struct http_call *k)
{
    return k->arg;
}

static const struct http_client_session_type *call_has_begun(const struct http_call *k)
{
    return k->begun && k->line ? k->line->session->type : NULL;
}

void http_call_write(struct http_call *k, struct str bytes)
{
    ASSERT(k->streamed && !k->stream_ended);
    k->written += (int64_t)bytes.n;
    ASSERT(k->request.length < 0 || k->written <= k->request.length);
    if (bytes.n == 0)
        return;
    if (call_has_begun(k))
        call_has_begun(k)->write(k, bytes);
    else
        strbuf_add(&k->early, bytes);
    if (k->early.over && !k->err.kind) {
        struct err err = ERR;
        (void)err_set(&err, E_TOO_LARGE, "%s at %s: over %u bytes were written before it began", k->what,
                      k->client->address, EARLY_MOST);
        call_fails(k, &err);
    }
}

void http_call_end(struct http_call *k)
{
    ASSERT(k->streamed && !k->stream_ended && (k->request.length < 0 || k->written == k->request.length));
    k->stream_ended = true;
    if (call_has_begun(k))
        call_has_begun(k)->end(k);
}

bool http_call_over_high(const struct http_call *k)
{
    return call_has_begun(k) ? call_has_begun(k)->over_high(k) : k->early.n > EARLY_HIGH;
}

void http_call_pause(struct http_call *k, bool pause)
{
    k->paused = pause;
    if (call_has_begun(k))
        call_has_begun(k)->pause(k, pause);
}

void http_call_drained(struct http_call *k)
{
    if (!k->fns->drained)
        return;
    k->busy++;
    k->fns->drained(k);
    (void)call_back(k);
}
