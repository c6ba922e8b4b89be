/* /openapi/v2 and /openapi/v3: documents of some megabytes, made in a pool thread each time they are asked for, a
 * piece at a time as the client takes them, and not kept; clients keep them by their ETag. Upstream:
 * k8s.io/kube-openapi/pkg/handler3. */
#include "api/openapi.h"
#include "base/clock.h"
#include "server/limits.h"
#include "server/remotes.h"
#include "server/sites.h"
#include "wire/gzip.h"

/* ROOM is what the allocator gives back to the system when it is freed; only what is used of it costs anything. */
enum { PIECE = 64 << 10, ROOM = 192 << 10, PIECE_MOST = 1 << 22 };

/* Belongs to the job while one runs, else to the loop. */
struct page {
    struct job job;
    struct loop *loop;
    struct http_request *http;    /* path in its arena */
    const struct kind_set *kinds; /* counted */
    struct openapi_pieces *pieces;
    struct gzip *gzip; /* NULL: plain */
    bool protobuf;
    bool last;    /* `piece` ends the document */
    bool waiting; /* for the client; no job runs */
    struct strbuf piece;
};

static struct str two_types[] = {S_INIT("application/com.github.proto-openapi.spec.v2.v1.0+protobuf"),
                                 S_INIT("application/com.github.proto-openapi.spec.v2@v1.0+protobuf")};

static void page_free(struct page *p)
{
    openapi_pieces_free(p->pieces);
    gzip_free(p->gzip);
    strbuf_fini(&p->piece);
    kind_set_unref(p->kinds);
    mem_free(p);
}

static void page_work(struct job *j)
{
    struct page *p = container_of(j, struct page, job);
    AUTO(strbuf_fini) struct strbuf text = STRBUF(PIECE_MOST);
    p->piece = (struct strbuf)STRBUF(PIECE_MOST);
    (void)strbuf_room(&p->piece, ROOM);
    (void)strbuf_room(&text, ROOM);
    while (!p->last && p->piece.n < PIECE) {
        strbuf_reset(&text);
        p->last = !openapi_pieces_next(p->pieces, p->gzip ? &text : &p->piece);
        if (p->gzip)
            gzip_piece(p->gzip, &p->piece, strbuf_str(&text), p->last);
    }
    ASSERT(!p->piece.over && !text.over);
}

static void page_done(struct job *j);

static void page_next(struct page *p)
{
    p->waiting = false;
    job_start(&p->job, p->loop, page_work, page_done);
}

static void page_done(struct job *j)
{
    struct page *p = container_of(j, struct page, job);
    struct http_request *h = p->http;
    struct str content_type = p->protobuf ? two_types[0] : S("application/json");
    bool whole = p->last && !h->status; /* a small one */
    if (h->gone) {
        http_abort(h);
        page_free(p);
        return;
    }
    if (whole) {
        http_respond(h, 200, content_type, strbuf_str(&p->piece));
        page_free(p);
        return;
    }
    if (!h->status)
        http_start(h, 200, content_type, -1);
    http_write(h, strbuf_str(&p->piece));
    strbuf_fini(&p->piece);
    if (p->last) {
        http_end(h);
        page_free(p);
        return;
    }
    p->waiting = http_over_high(h);
    if (!p->waiting)
        page_next(p);
}

static void page_drained(struct http_request *h)
{
    struct page *p = h->user;
    if (p->waiting)
        page_next(p);
}

static void page_gone(struct http_request *h)
{
    struct page *p = h->user;
    if (!p->waiting)
        return; /* the job's end sees it */
    http_abort(h);
    page_free(p);
}

/* It is over before anybody could leave. */
static void head_gone(struct http_request *h UNUSED)
{
}

static void hash_elsewhere(struct strbuf *hash, struct openapi_remote *const *list, size_t n)
{
    uint64_t h = 0;
    for (size_t i = 0; i < n; i++)
        h = h * 31 + list[i]->hash;
    if (n)
        strbuf_addf(hash, "-%016llX", (unsigned long long)h);
}

/* The document is known by its path, what is made of it by that and its form. */
static void document_answer(struct site_call *c, struct str path, bool protobuf)
{
    struct http_request *http = c->http;
    struct http_headers *h = &http->headers;
    AUTO(strbuf_fini) struct strbuf hash = STRBUF(STRBUF_TEXT);
    bool gzip = gzip_accepted(http_header(h, S("Accept-Encoding")));
    struct openapi_remote **elsewhere = NULL; /* what other servers have goes into the one of 2.0 */
    size_t n = str_eqz(path, "v2") ? remotes_openapi(c->server, c->arena, &elsewhere) : 0;
    strbuf_addc(&hash, '"');
    openapi_hash(&hash, c->kinds, path);
    hash_elsewhere(&hash, elsewhere, n);
    strbuf_addf(&hash, "%s%s\"", protobuf ? "P" : "", gzip ? "Z" : "");
    http_set(http, S("ETag"), strbuf_str(&hash));
    http_set(http, S("Vary"), S("Accept, Accept-Encoding"));
    if (str_has(http_header(h, S("If-None-Match")), strbuf_str(&hash))) {
        http_respond(http, 304, S(""), S(""));
        return;
    }
    if (gzip)
        http_set(http, S("Content-Encoding"), S("gzip"));
    if (str_eqz(http->method, "HEAD")) { /* its length would cost as much as itself */
        http->on_gone = head_gone;
        http_start(http, 200, protobuf ? two_types[0] : S("application/json"), -1);
        http_end(http);
        return;
    }
    struct page *p = NEW(struct page);
    *p = (struct page){.http = http,
                       .kinds = kind_set_ref(c->kinds),
                       .pieces = openapi_pieces_new(c->kinds, str_dup(&http->arena, path), protobuf),
                       .gzip = gzip ? gzip_new() : NULL,
                       .protobuf = protobuf,
                       .loop = c->server->loop};
    ASSERT(p->pieces); /* the caller looked */
    if (n)
        openapi_pieces_merge(p->pieces, elsewhere, n);
    http->user = p;
    http->on_drained = page_drained;
    http->on_gone = page_gone;
    page_next(p);
}

/* The first of the Accept that we have; nothing said is JSON. */
static bool two_form(struct str accept, bool *protobuf)
{
    struct str clause;
    *protobuf = false;
    if (!str_trim(accept).n)
        return true;
    while (str_cut(&accept, ',', &clause)) {
        struct str type, parameters;
        if (!str_split(clause, ';', &type, &parameters))
            type = clause;
        type = str_trim(type);
        *protobuf = str_ieq(type, two_types[0]) || str_ieq(type, two_types[1]);
        if (*protobuf || str_eqz(type, "*/*") || str_eqz(type, "application/*") ||
            str_ieq(type, S("application/json")))
            return true;
    }
    return false;
}

void site_openapi_two(struct site_call *c)
{
    bool protobuf;
    if (two_form(http_header(&c->http->headers, S("Accept")), &protobuf))
        document_answer(c, S("v2"), protobuf);
    else
        http_respond(c->http, 406, S(""), S(""));
}

/* The `hash` of a URL of the index. */
static bool hash_asked(struct site_call *c, struct str *hash)
{
    struct str rest = c->query, name, value;
    struct err err = ERR;
    while (http_query_next(c->arena, &rest, &name, &value, &err))
        if (str_eqz(name, "hash") && value.n) {
            *hash = value;
            return true;
        }
    return false;
}

/* A year from now, in HTTP's words. */
static void set_expires(struct http_request *h)
{
    char text[64];
    struct tm tm;
    time_t then = (time_t)(clock_real() / NS_PER_S) + 365 * 24 * 3600;
    (void)gmtime_r(&then, &tm);
    size_t n = strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    http_set(h, S("Expires"), (struct str){text, n});
}

/* --- documents that another server has --- */

struct relayed {
    struct outbound_call call;
    struct http_request *http; /* it lies in its arena */
};

static void relayed_gone(struct http_request *h)
{
    struct relayed *x = h->user;
    outbound_cancel(&x->call);
    http_abort(h);
}

static void relayed_answered(struct outbound_call *c, const struct http_answer *a, const struct err *err)
{
    static const struct str fields[] = {S_INIT("ETag"),    S_INIT("Vary"),          S_INIT("Location"),
                                        S_INIT("Expires"), S_INIT("Cache-Control"), S_INIT("Last-Modified")};
    struct relayed *x = container_of(c, struct relayed, call);
    struct http_request *h = x->http;
    h->on_gone = NULL;
    if (!a) {
        http_respond(h, 503, S("text/plain; charset=utf-8"),
                     arena_fmt(&h->arena, "error trying to reach service: %s\n", err->text));
        return;
    }
    for (size_t i = 0; i < countof(fields); i++) {
        struct str value = http_header(&a->headers, fields[i]);
        if (value.n)
            http_set(h, fields[i], value);
    }
    http_respond(h, a->status, http_header(&a->headers, S("Content-Type")), a->body);
}

static void document_relay(struct site_call *c, const struct aggregated *g)
{
    struct http_request *h = c->http;
    if (!g->available) {
        http_respond(h, 503, S("text/plain; charset=utf-8"), S("service unavailable\n"));
        return;
    }
    struct relayed *x = ARENA_NEW(&h->arena, struct relayed);
    x->http = h;
    h->user = x;
    h->on_gone = relayed_gone;
    struct str target = arena_fmt(&h->arena, STR_FMT "%s" STR_FMT, STR_ARG(c->path), c->query.n ? "?" : "",
                                  STR_ARG(c->query));
    aggregate_ask(g, &x->call, &h->arena, target, http_header(&h->headers, S("Accept")),
                  http_header(&h->headers, S("If-None-Match")), LIMIT_REMOTE_OPENAPI_BYTES, 30, relayed_answered);
}

/* --- documents that are made of another server's 2.0 --- */

struct older {
    struct job job;
    struct openapi_remote *from; /* a reference */
    struct http_request *http;
    struct strbuf text;
};

static void older_work(struct job *j)
{
    struct older *x = container_of(j, struct older, job);
    openapi_remote_three(&x->text, x->from);
}

static void older_done(struct job *j)
{
    struct older *x = container_of(j, struct older, job);
    if (x->http->gone)
        http_abort(x->http);
    else if (x->text.over)
        http_respond(x->http, 500, S("text/plain; charset=utf-8"), S("the document is too large\n"));
    else
        http_respond(x->http, 200, S("application/json"), strbuf_str(&x->text));
    openapi_remote_unref(x->from);
    strbuf_fini(&x->text);
    mem_free(x);
}

static void older_answer(struct site_call *c, struct openapi_remote *from, struct str hash)
{
    struct http_request *h = c->http;
    struct str tag = arena_fmt(c->arena, "\"" STR_FMT "\"", STR_ARG(hash));
    http_set(h, S("ETag"), tag);
    http_set(h, S("Vary"), S("Accept, Accept-Encoding"));
    if (str_has(http_header(&h->headers, S("If-None-Match")), tag)) {
        http_respond(h, 304, S(""), S(""));
        return;
    }
    struct older *x = NEW(struct older);
    *x = (struct older){
        .from = openapi_remote_ref(from), .http = h, .text = STRBUF((size_t)2 * LIMIT_REMOTE_OPENAPI_BYTES)};
    h->on_gone = head_gone; /* the job's end sees it */
    job_start(&x->job, c->server->loop, older_work, older_done);
}

/* False: it was asked for by a hash that it does not have, and is answered. */
static bool hash_is_right(struct site_call *c, struct str path, struct str hash)
{
    struct str asked;
    if (!hash_asked(c, &asked))
        return true;
    if (str_eq(asked, hash)) { /* what is asked for by its hash never changes */
        http_set(c->http, S("Cache-Control"), S("public, immutable"));
        set_expires(c->http);
        return true;
    }
    http_set(c->http, S("Location"),
             arena_fmt(c->arena, "/openapi/v3/" STR_FMT "?hash=" STR_FMT, STR_ARG(path), STR_ARG(hash)));
    http_respond(c->http, 301, S(""), S(""));
    return false;
}

static void elsewhere_answer(struct site_call *c, struct str path)
{
    const struct aggregated *g = remotes_document(c->server, path);
    struct openapi_remote *older = remotes_older_document(c->server, path);
    struct str hash = arena_fmt(c->arena, "%016llX", (unsigned long long)(older ? older->hash : 0));
    if (g)
        document_relay(c, g);
    else if (!older)
        http_respond(c->http, 404, S(""), S(""));
    else if (hash_is_right(c, path, hash))
        older_answer(c, older, hash);
}

void site_openapi(struct site_call *c)
{
    struct str rest = str_sub(c->path, sizeof "/openapi/v3" - 1, c->path.n);
    if (!rest.n) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 24), more = STRBUF(1 << 24);
        remotes_index(c->server, &more, c->kinds);
        openapi_index(&b, c->kinds, strbuf_str(&more));
        http_respond(c->http, 200, S("application/json"), strbuf_str(&b));
        return;
    }
    rest = str_sub(rest, 1, rest.n);
    if (!openapi_known(c->kinds, rest)) {
        elsewhere_answer(c, rest);
        return;
    }
    AUTO(strbuf_fini) struct strbuf hash = STRBUF(STRBUF_TEXT);
    openapi_hash(&hash, c->kinds, rest);
    if (hash_is_right(c, rest, strbuf_str(&hash)))
        document_answer(c, rest, false);
}
