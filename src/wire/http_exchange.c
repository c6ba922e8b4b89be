/* One request and its answer, as handlers know them and whatever version of HTTP carries them.
 *
 * The way in: a session has read a head and begins an exchange with it; the service says what becomes of the body. It
 * is collected within two bounds, that of one body and that of all bodies of all clients together, where small ones
 * always find room; or it is given on piece by piece; or read and thrown away. Then the service has the request, and
 * the exchange is the handler's until it ends it, whether the client is still there or not.
 *
 * The way out: what is the same in every version stands here - an answer starts once, what has no body gets none, an
 * answer that is shorter than it said is broken off and not ended - and bytes go through the session's functions. */
#include "base/fault.h"
#include "sys/pulse.h"
#include "wire/http_session.h"

#define BODY_SMALL 65536 /* bytes of a body that are taken however many others wait */

static const struct http_peer nobody = {.address = S_INIT("gone")};

static struct http_exchange *exchange_of(const struct http_request *r)
{
    return container_of((struct http_request *)(uintptr_t)r, struct http_exchange, r);
}

/* ---- the way in */

static size_t *bodies_of(struct http_server *s, const struct http_exchange *e)
{
    return e->little ? &s->little : &s->bodies;
}

static void share_leave(struct http_exchange *e)
{
    struct http_share *p = TAKE(e->share);
    if (p)
        p->requests--;
    http_share_let_go(e->r.server, p);
}

static void exchange_free(struct http_exchange *e)
{
    share_leave(e);
    if (e->r.server)
        *bodies_of(e->r.server, e) -= e->body.n;
    strbuf_fini(&e->body);
    arena_fini(&e->r.arena);
    mem_free(e);
}

static bool refusal_set(struct http_refusal *to, int status, const char *why)
{
    to->status = status;
    (void)snprintf(to->why, sizeof to->why, "%.90s", why);
    return false;
}

struct str http_refusal_body(const struct http_server *s, const struct http_refusal *refusal, struct str *type)
{
    bool json = refusal->status == 413 && s->c.service.too_large.n;
    *type = json ? S("application/json") : S("text/plain; charset=utf-8");
    return json ? s->c.service.too_large : str_of(refusal->why);
}

static struct str text_lower(struct arena *a, struct str s)
{
    char *p = arena_dup(a, s.p, s.n);
    for (size_t i = 0; i < s.n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] - 'A' + 'a');
    return (struct str){p, s.n};
}

bool http_exchange_begin(struct http_exchange *e, struct http_session *session, const struct http_head *h,
                         struct arena *own_arena, struct http_refusal *refusal)
{
    struct http_server *s = session->line->server;
    struct http_request *r = &e->r;
    r->arena = *own_arena;
    *own_arena = ARENA;
    r->server = s;
    r->service_arg = s->c.service.arg;
    r->method = h->method;
    r->target = h->target;
    (void)str_split(h->target, '?', &r->path, &r->query);
    r->host = text_lower(&r->arena, h->host);
    r->headers = h->headers;
    r->peer = &session->line->peer;
    r->came = clock_mono();
    e->session = session;
    e->body = STRBUF(s->c.body_most);
    s->counts.requests++;
    e->share = session->line->share;
    if (e->share)
        e->share->requests++;
    enum http_body want = !h->length || !s->c.service.head ? HTTP_COLLECT : s->c.service.head(r, s->c.service.arg);
    e->little = want == HTTP_LITTLE;
    e->collect = want != HTTP_STREAM;
    r->streamed = !e->collect;
    r->unread = want == HTTP_NOTHING || (e->little && h->length > BODY_SMALL);
    if (!e->collect || h->length <= (int64_t)s->c.body_most)
        return true;
    refusal->status = 413;
    (void)snprintf(refusal->why, sizeof refusal->why, "the body is over the limit of %zu bytes", s->c.body_most);
    return false;
}

/* The bodies of all clients together have a bound; small ones always find room, so that nobody is locked out. */
static bool bodies_have_room(const struct http_server *s, const struct http_exchange *e, size_t n)
{
    if (e->little)
        return e->body.n + n <= BODY_SMALL && s->little + n <= s->c.bodies_most / 16;
    return e->body.n + n <= BODY_SMALL || s->bodies + n <= s->c.bodies_most;
}

static bool body_collect(struct http_exchange *e, struct str bytes, struct http_refusal *refusal)
{
    struct http_server *s = e->r.server;
    if (e->little && !bodies_have_room(s, e, bytes.n)) {
        e->r.unread = true;
        e->seen = e->body.n + bytes.n;
        *bodies_of(s, e) -= e->body.n;
        strbuf_fini(&e->body);
        e->body = STRBUF(s->c.body_most);
        return true;
    }
    if (!bodies_have_room(s, e, bytes.n))
        return refusal_set(refusal, 503, "the server holds as many large bodies as it may; try again later");
    size_t had = e->body.n;
    strbuf_add(&e->body, bytes);
    *bodies_of(s, e) += e->body.n - had;
    return !e->body.over || refusal_set(refusal, 413, "the body is over the limit");
}

bool http_exchange_body(struct http_exchange *e, struct str bytes, struct http_refusal *refusal)
{
    if (e->collect && !e->r.unread)
        return body_collect(e, bytes, refusal);
    if (e->collect) {
        e->seen += bytes.n;
        return e->seen <= e->r.server->c.body_most || refusal_set(refusal, 413, "the body is over the limit");
    }
    if (e->r.on_data)
        e->r.on_data(&e->r, bytes);
    return true;
}

void http_exchange_give(struct http_exchange *e)
{
    struct http_server *s = e->r.server;
    e->given = true;
    if (e->collect)
        e->r.body = strbuf_str(&e->body);
    pulse_doing(STR_FMT " " STR_FMT, STR_ARG(e->r.method), STR_ARG(e->r.path));
    fault_pass("http.request");
    s->c.service.request(&e->r, s->c.service.arg);
}

void http_exchange_drop(struct http_exchange *e)
{
    e->r.server->counts.requests--;
    exchange_free(e);
}

void http_exchange_gone(struct http_exchange *e, bool tell)
{
    e->r.gone = true;
    e->session = NULL;
    e->r.peer = &nobody; /* what the log line of its end reads */
    if (e->r.server->dying) {
        share_leave(e);
        e->r.server = NULL;
    }
    if (tell && e->r.on_gone)
        e->r.on_gone(&e->r);
}

/* ---- the way out */

void http_set(struct http_request *r, struct str name, struct str value)
{
    ASSERT(r->status == 0);
    http_header_add(&r->arena, &r->answer, name, value);
}

static void answer_start(struct http_request *r, int status, struct str content_type, int64_t length)
{
    ASSERT(r->status == 0 && status >= 200 && status < 600);
    struct http_exchange *e = exchange_of(r);
    r->status = status;
    e->length = length;
    if (e->session)
        e->session->type->start(e, content_type, length);
}

void http_start(struct http_request *r, int status, struct str content_type, int64_t length)
{
    ASSERT(r->on_gone); /* or what the answer holds would stay when its reader leaves in the midst of it */
    answer_start(r, status, content_type, length);
}

static bool has_body(const struct http_request *r)
{
    return r->status != 204 && r->status != 304 && !str_eq(r->method, S("HEAD"));
}

void http_write(struct http_request *r, struct str bytes)
{
    struct http_exchange *e = exchange_of(r);
    ASSERT(r->status != 0);
    if (bytes.n == 0 || !e->session || !has_body(r))
        return;
    r->sent += bytes.n;
    e->session->type->write(e, bytes);
}

void http_write_buf(struct http_request *r, struct buf *b)
{
    struct http_exchange *e = exchange_of(r);
    ASSERT(r->status != 0);
    if (b->n == 0 || !e->session || !has_body(r))
        return;
    r->sent += b->n;
    e->session->type->write_buf(e, b);
}

size_t http_queued(const struct http_request *r)
{
    const struct http_exchange *e = exchange_of(r);
    return e->session ? e->session->type->queued(e) : 0;
}

bool http_over_high(const struct http_request *r)
{
    const struct http_exchange *e = exchange_of(r);
    return e->session && e->session->type->over_high(e);
}

/* For logs and counters. */
static void count_end(struct http_exchange *e)
{
    struct http_server *s = e->r.server;
    if (!s)
        return;
    s->counts.requests--;
    s->counts.answered++;
    if (s->c.service.ended)
        s->c.service.ended(&e->r, s->c.service.arg);
}

void http_end(struct http_request *r)
{
    struct http_exchange *e = exchange_of(r);
    ASSERT(r->status != 0);
    bool is_short = e->length >= 0 && has_body(r) && r->sent != (uint64_t)e->length;
    count_end(e);
    if (e->session && is_short)
        e->session->type->abort(e); /* the client must not take it for whole */
    else if (e->session)
        e->session->type->end(e);
    exchange_free(e);
}

void http_abort(struct http_request *r)
{
    struct http_exchange *e = exchange_of(r);
    count_end(e);
    if (e->session)
        e->session->type->abort(e);
    exchange_free(e);
}

void http_body_pause(struct http_request *r, bool pause)
{
    struct http_exchange *e = exchange_of(r);
    if (e->session)
        e->session->type->body_pause(e, pause);
}

void http_forget(struct http_request *r)
{
    static const struct str methods[] = {S_INIT("GET"), S_INIT("POST"), S_INIT("PUT"), S_INIT("PATCH"),
                                         S_INIT("DELETE")};
    size_t i = 0;
    while (i < countof(methods) - 1 && !str_eq(methods[i], r->method))
        i++;
    if (r->status == 0 || !str_eq(methods[i], r->method))
        return;
    r->method = methods[i];
    r->target = r->path = r->query = r->host = S("");
    r->headers = r->answer = (struct http_headers){0};
    arena_fini(&r->arena);
}

struct stream *http_upgrade(struct http_request *r, struct str protocol)
{
    struct http_exchange *e = exchange_of(r);
    ASSERT(r->status == 0);
    if (e->session && !e->session->type->upgrade) {
        http_respond(r, 400, S("text/plain; charset=utf-8"),
                     S("a connection of this version of HTTP becomes no other\n"));
        return NULL;
    }
    r->status = 101;
    count_end(e);
    struct stream *s = e->session ? e->session->type->upgrade(e, protocol) : NULL;
    exchange_free(e);
    return s;
}

void http_respond(struct http_request *r, int status, struct str content_type, struct str body)
{
    answer_start(r, status, content_type, (int64_t)body.n);
    http_write(r, body);
    http_end(r);
}

void http_respond_buf(struct http_request *r, int status, struct str content_type, struct buf *body)
{
    answer_start(r, status, content_type, (int64_t)body->n);
    http_write_buf(r, body);
    http_end(r);
}
