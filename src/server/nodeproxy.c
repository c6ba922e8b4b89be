#include "server/nodeproxy.h"
#include "api/codec.h"
#include "base/log.h"
#include "server/aggregate.h"
#include "server/aim.h"
#include "server/authn.h"
#include "server/encode.h"
#include "server/fail.h"
#include "server/html_page.h"
#include "server/limits.h"
#include "server/path.h"
#include "server/proxy.h"

bool nodeproxy_wanted(const struct request *r)
{
    return aim_row_of(r);
}

bool nodeproxy_connects(const struct request *r)
{
    const struct aim_row *row = aim_row_of(r);
    return row && (row->upgrade || !row->path.n);
}

bool nodeproxy_any_method(const struct request *r)
{
    const struct aim_row *row = aim_row_of(r);
    return row && !row->path.n;
}

#define COLLECTED_MOST 65536 /* bytes of a body of which the target is to see only the whole */

/* What is to be passed on by pieces: a body that is large, or says nothing of its length, of whom is known. The path
 * alone decides: whether all that is right is looked at when the request is started, as with any other. */
bool nodeproxy_streams(struct server *s, const struct http_request *h)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct path_info p;
    int64_t length;
    bool chunked = !str_to_i64(http_header(&h->headers, S("Content-Length")), 0, INT64_MAX, &length);
    if ((!chunked && length <= COLLECTED_MOST) || http_header(&h->headers, S("Upgrade")).n)
        return false;
    if (aggregate_serves(s, h->path))
        return true;
    if (!path_parse(&a, h->method, h->path, &p) || !p.is_resource || !aim_proxies(p.group, p.resource, p.sub))
        return false;
    return !str_eqz(p.resource, "nodes") ||
           str_find_char(p.name, ':') >= 0; /* the relay itself takes no large ones */
}

/* To whom a request goes. */
enum nodeproxy_way {
    WAY_NODE,   /* the relay: the fields that it needs */
    WAY_PORT,   /* a port of a pod or a node: every field but those that tell who asks */
    WAY_SERVER, /* the server behind an APIService: the same, and who asks, as we say it */
};

/* One request on its way through. */
struct nodeproxy_session {
    struct proxy proxy;
    struct list node;
    struct server *server;
    enum nodeproxy_way way;
    struct str user, share; /* who asked; with whom they share what one may take */
    struct tls_client *tls;
    struct outbound_line *line; /* of WAY_SERVER; NULL else */
    struct timer timer;         /* of WAY_SERVER: an answer has its end by then, unless it is to last */
    bool upgrade;               /* it asked for one */
    bool redirects;             /* the server behind an APIService wanted to lead elsewhere */
    bool refusals;              /* a plain answer that is an error becomes a Status */
    struct str asked;           /* host:port of a pod, to which every header goes; "": a node */
    struct str told;            /* where it heard that it was asked */
    struct str prefix;          /* what stands before the pod's own paths */
    struct html_page *page;     /* of a pod, whose links go through the proxy; NULL: it is none */
    struct arena arena;
};

static struct list sessions = LIST_HEAD(sessions);
static size_t nsessions;

size_t nodeproxy_sessions(void)
{
    return nsessions;
}

static size_t sessions_of(struct str share)
{
    size_t n = 0;
    list_each (s, &sessions, struct nodeproxy_session, node)
        n += str_eq(s->share, share);
    return n;
}

static void session_free(struct nodeproxy_session *s)
{
    timer_stop(&s->timer);
    tls_client_free(s->tls);
    outbound_line_unref(s->line);
    html_page_free(s->page);
    arena_fini(&s->arena);
    list_del(&s->node);
    mem_free(s);
    nsessions--;
}

static struct nodeproxy_session *session_of(struct proxy *p)
{
    return container_of(p, struct nodeproxy_session, proxy);
}

static void respond_status(struct http_request *h, struct request *r)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    struct val v = status_of(r);
    if (r->answer.fail.retry_after_s)
        http_set(h, S("Retry-After"), arena_fmt(&r->arena, "%d", r->answer.fail.retry_after_s));
    encode_tree(&b, MEDIA_JSON, T(meta_v1_Status), &v);
    http_respond(h, r->answer.fail.code, S("application/json"), strbuf_str(&b));
}

/* The node's own sentence as a Status: reason and code follow from the HTTP status. */
static void respond_refusal(struct nodeproxy_session *s, struct http_request *h, int status, struct str text)
{
    AUTO(request_fini) struct request r;
    request_init(&r, s->server, s->server->loop, NULL);
    text = str_trim(text);
    if (status == 429)
        fail_too_many(&r, 1, STR_FMT, STR_ARG(text));
    else if (status >= 400 && status < 500)
        fail_plain(&r, status, STR_FMT, STR_ARG(text));
    else if (status == 503)
        fail_plain(&r, 503, STR_FMT, STR_ARG(text));
    else
        fail_internal(&r, STR_FMT, STR_ARG(text));
    if (!r.answer.fail.reason || !*r.answer.fail.reason)
        r.answer.fail.reason = err_reason(err_kind_of(S(""), status));
    respond_status(h, &r);
}

/* --- what comes back --- */

/* Fields that are about one connection, and those that tell a server who asks: they end here. */
static bool stays_here(const struct http_headers *all, struct str name)
{
    static const struct str never[] = {S_INIT("Connection"),
                                       S_INIT("Keep-Alive"),
                                       S_INIT("Proxy-Authenticate"),
                                       S_INIT("Proxy-Authorization"),
                                       S_INIT("Proxy-Connection"),
                                       S_INIT("TE"),
                                       S_INIT("Trailer"),
                                       S_INIT("Transfer-Encoding"),
                                       S_INIT("Upgrade"),
                                       S_INIT("Expect"),
                                       S_INIT("Content-Length"),
                                       S_INIT("Host"),
                                       S_INIT("Authorization"),
                                       S_INIT("Date"),
                                       S_INIT("Sec-WebSocket-Protocol")};
    static const struct str families[] = {S_INIT("Impersonate-"), S_INIT("X-Remote-"), S_INIT("X-Wherry-"),
                                          S_INIT("Access-Control-")};
    for (size_t i = 0; i < countof(never); i++)
        if (str_ieq(name, never[i]))
            return true;
    for (size_t i = 0; i < countof(families); i++)
        if (str_ieq(str_sub(name, 0, families[i].n), families[i]))
            return true;
    return http_header_token(all, S("Connection"), name);
}

/* Where a pod sends the client: into the proxy's paths, unless it is elsewhere. A pod says its own address, or the
 * one that the client asked at, which it was told. */
static void location_add(void *arg, struct str to, struct strbuf *out)
{
    const struct nodeproxy_session *s = arg;
    static const struct str schemes[] = {S_INIT("http://"), S_INIT("https://")};
    struct str path = to;
    for (size_t i = 0; i < countof(schemes); i++) {
        if (!str_starts(to, schemes[i]))
            continue;
        struct str host = str_sub(to, schemes[i].n, to.n);
        size_t n = 0;
        while (n < host.n && !memchr("/?#", host.p[n], 3))
            n++;
        path = str_sub(host, n, host.n);
        host = str_sub(host, 0, n);
        bool here = str_ieq(host, s->asked) || str_ieq(host, s->told);
        path = !here ? to : path.n ? path : S("/");
    }
    if (!str_starts(path, S("/")) || str_starts(path, S("//"))) {
        strbuf_add(out, to);
        return;
    }
    struct str below = str_starts(path, s->prefix) ? str_sub(path, s->prefix.n, path.n) : STR_NONE;
    bool there = below.p && (!below.n || memchr("/?#", below.p[0], 3)); /* the pod goes by X-Forwarded-Uri */
    strbuf_add(out, there ? S("") : s->prefix);
    strbuf_add(out, path);
}

/* A page says where it leads as a Location does, in many places. What is in another encoding stays as it is. */
static void page_begin(struct nodeproxy_session *s, const struct http_answer *a, const struct http_request *h,
                       int64_t *length)
{
    struct str type, rest, encoding = http_header(&a->headers, S("Content-Encoding"));
    str_split(http_header(&a->headers, S("Content-Type")), ';', &type, &rest);
    bool small = str_ieq(encoding, S("gzip")), part = a->status == 206;
    if (!str_ieq(str_trim(type), S("text/html")) || !(small || !encoding.n) || part || a->status == 101 ||
        http_header(&a->headers, S("Location")).n)
        return;
    *length = -1;
    if (str_eq(h->method, S("HEAD")))
        return;
    s->page = html_page_new(small, location_add, s);
    s->proxy.exchanges = true;
}

static bool page_body(struct proxy *p, struct str bytes, bool last, struct strbuf *out)
{
    return html_page_piece(session_of(p)->page, bytes, last, out);
}

static void copy_headers(struct nodeproxy_session *s, struct http_request *to, const struct http_answer *a)
{
    static const struct str kept[] = {S_INIT("Warning"), S_INIT("Sec-WebSocket-Accept"),
                                      S_INIT("Sec-WebSocket-Protocol"), S_INIT("X-Stream-Protocol-Version")};
    for (size_t i = 0; i < countof(kept) && s->way == WAY_NODE; i++) {
        struct str v = http_header(&a->headers, kept[i]);
        if (v.n)
            http_set(to, kept[i], v);
    }
    for (size_t i = 0; i < a->headers.n && s->way != WAY_NODE; i++) {
        struct http_header f = a->headers.p[i];
        AUTO(strbuf_fini) struct strbuf location = STRBUF(LIMIT_URL_BYTES);
        if (str_ieq(f.name, S("Location")) && s->prefix.n) {
            location_add(s, f.value, &location);
            f.value = location.over ? f.value : strbuf_str(&location);
        }
        bool agreed = a->status == 101 && str_ieq(f.name, S("Sec-WebSocket-Protocol"));
        if (agreed || (!str_ieq(f.name, S("Content-Type")) && !stays_here(&a->headers, f.name)))
            http_set(to, f.name, f.value);
    }
}

void nodeproxy_refuse(struct http_request *h, int status, struct str text)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addf(&b, STR_FMT "\n", STR_ARG(text));
    http_set(h, S("X-Content-Type-Options"), S("nosniff"));
    http_respond(h, status, S("text/plain; charset=utf-8"), strbuf_str(&b));
}

/* A server behind an APIService leads nobody elsewhere, and does what it is asked for: as upstream. */
static bool server_may_say(struct nodeproxy_session *s, const struct http_answer *a)
{
    if (a->status == 101)
        timer_stop(&s->timer);
    s->redirects = a->status >= 300 && a->status <= 399 && http_header(&a->headers, S("Location")).n;
    return !s->redirects && (!s->upgrade || a->status == 101 || a->status >= 400);
}

static void server_refused(struct nodeproxy_session *s, struct http_request *h, int status, const struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    if (s->redirects) {
        http_respond(h, 502, S("text/plain; charset=utf-8"),
                     S("the backend attempted to redirect this request, which is not permitted"));
        return;
    }
    if (status && s->upgrade) {
        strbuf_addf(&b, "invalid upgrade response: status code %d", status);
    } else {
        strbuf_addz(&b, "error trying to reach service: ");
        if (err)
            outbound_reason(&b, s->line, err);
        else
            strbuf_addf(&b, "its answer has the status %d", status);
    }
    nodeproxy_refuse(h, 503, strbuf_str(&b));
}

static bool answer_head(struct proxy *p, const struct http_answer *a, struct http_request *h, int64_t *length)
{
    struct nodeproxy_session *s = session_of(p);
    if (s->way == WAY_SERVER ? !server_may_say(s, a) : s->refusals && a->status >= 300)
        return false;
    if (s->way == WAY_NODE)
        *length = -1; /* a node's answers end where they end */
    if (s->way == WAY_PORT && s->prefix.n)
        page_begin(s, a, h, length);
    copy_headers(s, h, a);
    return true;
}

static void answer_refused(struct proxy *p, struct http_request *h, int status, struct str text,
                           const struct err *err)
{
    struct nodeproxy_session *s = session_of(p);
    if (s->way == WAY_SERVER)
        server_refused(s, h, status, err);
    else if (status)
        respond_refusal(s, h, status, text);
    else if (s->way == WAY_PORT)
        respond_refusal(s, h, 503,
                        arena_fmt(&s->arena, "error trying to reach service: %s", err ? err->text : "no answer"));
    else
        respond_refusal(s, h, 503, err ? str_of(err->text) : S("the node answered nothing"));
}

static void answer_over(struct proxy *p)
{
    session_free(session_of(p));
}

/* A server that takes too long: the client gets upstream's word, or an answer that is not whole. */
static void session_late(struct timer *t)
{
    struct nodeproxy_session *s = container_of(t, struct nodeproxy_session, timer);
    struct http_request *h = proxy_stop(&s->proxy);
    AUTO(request_fini) struct request r;
    request_init(&r, s->server, s->server->loop, NULL);
    if (h->status) {
        http_abort(h);
    } else {
        fail_plain(&r, 504, "Timeout: request did not complete within the allotted timeout");
        r.answer.fail.reason = "Timeout";
        r.answer.fail.details = true;
        respond_status(h, &r);
    }
    session_free(s);
}

static const struct proxy_fns node_fns = {
    .head = answer_head, .refused = answer_refused, .body = page_body, .over = answer_over};

/* --- starting --- */

/* A pod or a server gets all that the client said, and where the client thinks it is; its token and names do not go
 * along. */
static void copy_all_headers(struct nodeproxy_session *s, const struct http_request *h, struct str path,
                             struct http_headers *to)
{
    struct str token, protocols = protocols_offered(&s->arena, &h->headers, &token);
    struct str forwarded[][2] = {
        {S("X-Forwarded-Uri"), arena_fmt(&s->arena, STR_FMT STR_FMT, STR_ARG(s->prefix), STR_ARG(path))},
        {S("X-Forwarded-Host"), s->line ? s->line->address : h->host},
        {S("X-Forwarded-Proto"), S("https")},
        {S("Sec-WebSocket-Protocol"), protocols}};
    for (size_t i = 0; i < h->headers.n; i++)
        if (!stays_here(&h->headers, h->headers.p[i].name) &&
            !str_ieq(str_sub(h->headers.p[i].name, 0, 12), S("X-Forwarded-")))
            http_header_add(&s->arena, to, h->headers.p[i].name, h->headers.p[i].value);
    for (size_t i = 0; i < countof(forwarded); i++)
        if (forwarded[i][1].n)
            http_header_add(&s->arena, to, forwarded[i][0], forwarded[i][1]);
}

/* Whose request it was, behind those that other proxies have named. */
static void add_forwarded_for(struct nodeproxy_session *s, const struct http_request *h, struct http_headers *to)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < h->headers.n; i++)
        if (str_ieq(h->headers.p[i].name, S("X-Forwarded-For")))
            strbuf_addf(&b, "%s" STR_FMT, b.n ? ", " : "", STR_ARG(h->headers.p[i].value));
    struct str ip = h->peer->is_unix ? S("127.0.0.1") : h->peer->address;
    ptrdiff_t colon = h->peer->is_unix ? -1 : str_rfind_char(ip, ':');
    ip = colon >= 0 ? str_sub(ip, 0, (size_t)colon) : ip;
    if (str_starts(ip, S("[")) && ip.n > 2)
        ip = str_sub(ip, 1, ip.n - 1);
    strbuf_addf(&b, "%s" STR_FMT, b.n ? ", " : "", STR_ARG(ip));
    http_header_add(&s->arena, to, S("X-Forwarded-For"), strbuf_str(&b));
}

static void copy_request_headers(struct nodeproxy_session *s, const struct http_headers *from,
                                 struct http_headers *to)
{
    static const struct str passed[] = {S_INIT("Sec-WebSocket-Key"), S_INIT("Sec-WebSocket-Version"),
                                        S_INIT("X-Stream-Protocol-Version"), S_INIT("Accept"),
                                        S_INIT("Content-Type")};
    for (size_t i = 0; i < countof(passed); i++)
        for (size_t k = 0; k < from->n; k++)
            if (str_ieq(from->p[k].name, passed[i]))
                http_header_add(&s->arena, to, from->p[k].name, from->p[k].value);
    struct str token, protocols = protocols_offered(&s->arena, from, &token); /* the token is for us alone */
    if (protocols.n)
        http_header_add(&s->arena, to, S("Sec-WebSocket-Protocol"), protocols);
}

/* The relay of this machine by its socket; what listens on an address, over TLS where that was asked for. */
static bool find_target(struct nodeproxy_session *s, const struct aim *aim, struct proxy_target *t, struct err *err)
{
    *t = (struct proxy_target){.address = aim->address, .host = aim->host};
    if (!aim->address.n) {
        t->address = arena_fmt(&s->arena, "unix:%s", s->server->options.node_socket);
        t->host = S("node");
    }
    /* as upstream: what serves on a port of a node has no certificate that anybody here could check */
    if (aim->tls && !(s->tls = tls_client_new(&(struct tls_client_config){.insecure = true}, err)))
        return false;
    t->tls = s->tls;
    return true;
}

static struct nodeproxy_session *session_new(struct request *r, enum nodeproxy_way way)
{
    struct nodeproxy_session *s = NEW(struct nodeproxy_session);
    nsessions++;
    list_add_tail(&sessions, &s->node);
    s->server = r->server;
    s->way = way;
    s->user = str_dup(&s->arena, r->user->name);
    s->share = str_dup(&s->arena, user_share(r->user));
    timer_init(&s->timer, r->server->loop, session_late);
    return s;
}

static void session_start(struct request *r, struct http_request *h, const struct aim *aim)
{
    struct nodeproxy_session *s = session_new(r, aim->prefix.n ? WAY_PORT : WAY_NODE);
    struct http_headers headers = {0};
    struct proxy_target target;
    struct err err = ERR;
    s->refusals = aim_row_of(r)->path.n;
    if (!find_target(s, aim, &target, &err)) {
        respond_refusal(s, h, 500, str_of(err.text));
        session_free(s);
        return;
    }
    s->asked = str_dup(&s->arena, aim->address);
    s->told = str_dup(&s->arena, aim->host);
    s->prefix = str_dup(&s->arena, aim->prefix);
    struct str path = strbuf_str(&aim->target);
    if (str_find_char(path, '?') >= 0)
        path = str_sub(path, 0, (size_t)str_find_char(path, '?'));
    if (s->way == WAY_PORT)
        copy_all_headers(s, h, path, &headers);
    else
        copy_request_headers(s, &h->headers, &headers);
    if (!aim->address.n) {
        http_header_add(&s->arena, &headers, S("X-Wherry-Pod-Uid"), aim->uid);
        http_header_add(&s->arena, &headers, S("X-Wherry-User"), s->user);
    }
    struct http_outgoing o = {.method = h->method, .target = strbuf_str(&aim->target), .headers = &headers};
    proxy_start(&s->proxy, s->server->loop, &target, h, &o, &node_fns);
}

static bool has_room(struct request *r)
{
    if (nsessions >= LIMIT_PROXY_SESSIONS)
        return fail_too_many(r, 1, "%d sessions with nodes and other servers are open; try again later",
                             LIMIT_PROXY_SESSIONS);
    return sessions_of(user_share(r->user)) < LIMIT_PROXY_SESSIONS_PER_USER ||
           fail_too_many(r, 1,
                         "%d sessions (logs, exec, attach, port-forward, requests to other servers) of " STR_FMT
                         " are open; end some of them",
                         LIMIT_PROXY_SESSIONS_PER_USER, STR_ARG(user_share(r->user)));
}

void nodeproxy_pass(struct request *r, struct http_request *h, struct outbound_line *own_line, int64_t most_ns)
{
    AUTO(outbound_line_unref) struct outbound_line *line = own_line;
    if (!has_room(r)) {
        respond_status(h, r);
        return;
    }
    struct nodeproxy_session *s = session_new(r, WAY_SERVER);
    struct http_headers headers = {0};
    s->line = TAKE(line);
    s->upgrade = http_header_token(&h->headers, S("Connection"), S("upgrade"));
    copy_all_headers(s, h, h->path, &headers);
    add_forwarded_for(s, h, &headers);
    aggregate_identity(&s->arena, &headers, r->user);
    struct proxy_target target = {.client = s->line->client};
    struct http_outgoing o = {.method = h->method, .target = h->target, .headers = &headers};
    if (most_ns)
        timer_set(&s->timer, most_ns);
    proxy_start(&s->proxy, s->server->loop, &target, h, &o, &node_fns);
}

void nodeproxy_start(struct request *r, struct http_request *h, struct str rest)
{
    AUTO(aim_fini) struct aim aim = {.target = STRBUF(LIMIT_URL_BYTES)};
    if (!aim_find(r, h, rest, &aim)) {
        respond_status(h, r);
        return;
    }
    if (!aim.target.n && aim.prefix.n) {
        http_set(h, S("Location"),
                 arena_fmt(&r->arena, STR_FMT "/%s" STR_FMT, STR_ARG(aim.prefix), h->query.n ? "?" : "",
                           STR_ARG(h->query)));
        http_respond(h, 301, S(""), S(""));
        return;
    }
    if (!aim.target.n) {
        http_respond(h, 204, S(""), S(""));
        return;
    }
    if (h->query.n)
        strbuf_addf(&aim.target, "?" STR_FMT, STR_ARG(h->query));
    if (aim.target.over)
        fail_bad_request(r, "the request's path and query are over %d bytes", LIMIT_URL_BYTES);
    else if (has_room(r)) {
        session_start(r, h, &aim);
        return;
    }
    respond_status(h, r);
}
