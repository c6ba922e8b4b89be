#include "server/nodeproxy.h"
#include "api/codec.h"
#include "base/log.h"
#include "server/aim.h"
#include "server/authn.h"
#include "server/encode.h"
#include "server/fail.h"
#include "server/limits.h"
#include "wire/http_client.h"

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

#define REFUSAL_MOST 50000 /* bytes of a node's sentence, as upstream reads */

/* One request on its way through. */
struct session {
    struct list node;
    struct server *server;
    struct str user;
    struct http_client *client;
    struct http_call *call;
    struct http_request *http; /* until it was ended */
    struct tls_client *tls;
    bool refusals;            /* a plain answer that is an error becomes a Status */
    struct str asked;         /* host:port of a pod, to which every header goes; "": a node */
    struct str told;          /* where it heard that it was asked */
    struct str prefix;        /* what stands before the pod's own paths */
    int refused;              /* its status; 0: none */
    struct strbuf refusal;    /* and its text */
    struct stream *up, *down; /* after an upgrade: the node's, the client's */
    bool up_ended, down_ended;
    struct arena arena;
};

static struct list sessions = LIST_HEAD(sessions);
static size_t nsessions;

size_t nodeproxy_sessions(void)
{
    return nsessions;
}

static size_t sessions_of(struct str user)
{
    size_t n = 0;
    list_each (s, &sessions, struct session, node)
        n += str_eq(s->user, user);
    return n;
}

static void session_free(struct session *s)
{
    http_cancel(s->call);
    http_client_free(s->client);
    stream_free(s->up);
    stream_free(s->down);
    tls_client_free(s->tls);
    strbuf_fini(&s->refusal);
    arena_fini(&s->arena);
    list_del(&s->node);
    mem_free(s);
    nsessions--;
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
static void respond_refusal(struct session *s, int status, struct str text)
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
    struct http_request *h = TAKE(s->http);
    h->on_gone = NULL;
    respond_status(h, &r);
}

/* --- splicing --- */

static void splice_over(struct session *s)
{
    struct stream *up = TAKE(s->up), *down = TAKE(s->down);
    if (up)
        stream_close(up);
    if (down)
        stream_close(down);
    session_free(s);
}

static void spliced(struct stream *from, struct stream *to, struct str bytes)
{
    stream_write(to, bytes);
    if (stream_over_high(to))
        stream_read_pause(from, true);
}

static void up_data(struct stream *st, struct str bytes)
{
    struct session *s = stream_arg(st);
    spliced(st, s->down, bytes);
}
static void down_data(struct stream *st, struct str bytes)
{
    struct session *s = stream_arg(st);
    spliced(st, s->up, bytes);
}
static void up_drained(struct stream *st)
{
    struct session *s = stream_arg(st);
    stream_read_pause(s->down, false);
}
static void down_drained(struct stream *st)
{
    struct session *s = stream_arg(st);
    stream_read_pause(s->up, false);
}
static void up_ended(struct stream *st)
{
    struct session *s = stream_arg(st);
    stream_end(s->down);
}
static void down_ended(struct stream *st)
{
    struct session *s = stream_arg(st);
    stream_end(s->up);
}
static void side_closed(struct stream *st, struct err *err UNUSED)
{
    splice_over(stream_arg(st));
}
static const struct stream_fns up_fns = {
    .data = up_data, .drained = up_drained, .ended = up_ended, .closed = side_closed};
static const struct stream_fns down_fns = {
    .data = down_data, .drained = down_drained, .ended = down_ended, .closed = side_closed};

/* --- the call to the node --- */

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
static struct str location_of(struct session *s, struct str to)
{
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
        if (!str_ieq(host, s->asked) && !str_ieq(host, s->told))
            return to;
        path = path.n ? path : S("/");
    }
    if (!str_starts(path, S("/")) || str_starts(path, S("//")))
        return to;
    struct str below = str_starts(path, s->prefix) ? str_sub(path, s->prefix.n, path.n) : STR_NONE;
    bool there = below.p && (!below.n || memchr("/?#", below.p[0], 3)); /* the pod goes by X-Forwarded-Uri */
    return there ? path : arena_fmt(&s->arena, STR_FMT STR_FMT, STR_ARG(s->prefix), STR_ARG(path));
}

static void copy_headers(struct session *s, struct http_request *to, const struct http_answer *a)
{
    static const struct str kept[] = {S_INIT("Warning"), S_INIT("Sec-WebSocket-Accept"),
                                      S_INIT("Sec-WebSocket-Protocol"), S_INIT("X-Stream-Protocol-Version")};
    for (size_t i = 0; i < countof(kept) && !s->prefix.n; i++) {
        struct str v = http_header(&a->headers, kept[i]);
        if (v.n)
            http_set(to, kept[i], v);
    }
    for (size_t i = 0; i < a->headers.n && s->prefix.n; i++) {
        struct http_header f = a->headers.p[i];
        if (str_ieq(f.name, S("Location")))
            f.value = location_of(s, f.value);
        bool agreed = a->status == 101 && str_ieq(f.name, S("Sec-WebSocket-Protocol"));
        if (agreed || (!str_ieq(f.name, S("Content-Type")) && !stays_here(&a->headers, f.name)))
            http_set(to, f.name, f.value);
    }
}

static void node_upgraded(struct http_call *c, const struct http_answer *a, struct stream *own_s)
{
    struct session *s = http_call_arg(c);
    s->call = NULL;
    s->up = own_s;
    struct http_request *h = TAKE(s->http);
    if (!h) {
        session_free(s);
        return;
    }
    h->on_gone = NULL;
    copy_headers(s, h, a);
    s->down = http_upgrade(h, http_header(&a->headers, S("Upgrade")));
    if (!s->down) {
        session_free(s);
        return;
    }
    stream_fns_set(s->up, &up_fns, s);
    stream_fns_set(s->down, &down_fns, s);
}

static void node_head(struct http_call *c, const struct http_answer *a)
{
    struct session *s = http_call_arg(c);
    if (!s->http)
        return;
    bool none = a->status < 200 || a->status > 599;
    if (none)
        strbuf_addf(&s->refusal, "the answer's status is %d", a->status);
    if (none || (s->refusals && a->status >= 300)) {
        s->refused = none ? 503 : a->status;
        return;
    }
    int64_t length = -1;
    if (s->prefix.n && !str_to_i64(http_header(&a->headers, S("Content-Length")), 0, INT64_MAX, &length))
        length = -1;
    copy_headers(s, s->http, a);
    http_start(s->http, a->status, http_header(&a->headers, S("Content-Type")), length);
}

static void node_data(struct http_call *c, struct str bytes)
{
    struct session *s = http_call_arg(c);
    if (!s->http)
        return;
    if (s->refused) {
        strbuf_add(&s->refusal, str_sub(bytes, 0, REFUSAL_MOST - s->refusal.n));
        return;
    }
    http_write(s->http, bytes);
    if (http_over_high(s->http))
        http_call_pause(c, true);
}

static void client_drained(struct http_request *h)
{
    struct session *s = h->user;
    if (s->call)
        http_call_pause(s->call, false);
}

static void client_gone(struct http_request *h)
{
    struct session *s = h->user;
    http_abort(TAKE(s->http));
    session_free(s);
}

static void node_done(struct http_call *c, const struct http_answer *a, struct err *err)
{
    struct session *s = http_call_arg(c);
    s->call = NULL;
    if (s->http && s->refused && a)
        respond_refusal(s, s->refused, strbuf_str(&s->refusal));
    else if (s->http && !s->http->status && s->prefix.n)
        respond_refusal(s, 503,
                        arena_fmt(&s->arena, "error trying to reach service: %s", a ? "no answer" : err->text));
    else if (s->http && !s->http->status)
        respond_refusal(s, 503, a ? S("the node answered nothing") : str_of(err->text));
    else if (s->http && a)
        http_end(TAKE(s->http));
    else if (s->http)
        http_abort(TAKE(s->http));
    session_free(s);
}

static const struct http_call_fns node_fns = {
    .head = node_head, .data = node_data, .upgraded = node_upgraded, .done = node_done};

/* --- starting --- */

/* A pod gets all that the client said, and where the client thinks it is; its token and names do not go along. */
static void copy_all_headers(struct session *s, const struct http_request *h, struct str path,
                             struct http_headers *to)
{
    struct str token, protocols = protocols_offered(&s->arena, &h->headers, &token);
    struct str forwarded[][2] = {
        {S("X-Forwarded-Uri"), arena_fmt(&s->arena, STR_FMT STR_FMT, STR_ARG(s->prefix), STR_ARG(path))},
        {S("X-Forwarded-Host"), h->host},
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

static void copy_request_headers(struct session *s, const struct http_headers *from, struct http_headers *to)
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

static bool connect_to(struct session *s, const struct aim *aim, struct err *err)
{
    struct http_client_config c = {.address = aim->address, .host = aim->host};
    if (!aim->address.n) {
        c.address = arena_fmt(&s->arena, "unix:%s", s->server->options.node_socket);
        c.host = S("node");
    }
    /* as upstream: what serves on a port of a node has no certificate that anybody here could check */
    if (aim->tls && !(s->tls = tls_client_new(&(struct tls_client_config){.insecure = true}, err)))
        return false;
    c.tls = s->tls;
    s->client = http_client_new(s->server->loop, &c);
    return true;
}

static void session_start(struct request *r, struct http_request *h, const struct aim *aim)
{
    struct session *s = NEW(struct session);
    struct http_headers headers = {0};
    struct err err = ERR;
    nsessions++;
    list_add_tail(&sessions, &s->node);
    s->server = r->server;
    s->user = str_dup(&s->arena, r->user->name);
    s->refusals = aim_row_of(r)->path.n;
    s->refusal = STRBUF(REFUSAL_MOST);
    s->http = h;
    h->user = s;
    if (!connect_to(s, aim, &err)) {
        respond_refusal(s, 500, str_of(err.text));
        session_free(s);
        return;
    }
    h->on_gone = client_gone;
    h->on_drained = client_drained;
    s->asked = str_dup(&s->arena, aim->address);
    s->told = str_dup(&s->arena, aim->host);
    s->prefix = str_dup(&s->arena, aim->prefix);
    struct str path = strbuf_str(&aim->target);
    if (str_find_char(path, '?') >= 0)
        path = str_sub(path, 0, (size_t)str_find_char(path, '?'));
    if (aim->prefix.n)
        copy_all_headers(s, h, path, &headers);
    else
        copy_request_headers(s, &h->headers, &headers);
    if (!aim->address.n) {
        http_header_add(&s->arena, &headers, S("X-Wherry-Pod-Uid"), aim->uid);
        http_header_add(&s->arena, &headers, S("X-Wherry-User"), s->user);
    }
    bool upgrade = http_header_token(&h->headers, S("Connection"), S("upgrade"));
    struct http_outgoing o = {.method = h->method,
                              .target = strbuf_str(&aim->target),
                              .headers = &headers,
                              .body = h->body,
                              .upgrade = upgrade ? http_header(&h->headers, S("Upgrade")) : S(""),
                              .answer_streamed = true,
                              .head_ns = -1};
    s->call = http_send(s->client, &o, &node_fns, s);
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
    else if (nsessions >= LIMIT_PROXY_SESSIONS)
        fail_too_many(r, 1, "%d sessions with nodes are open; try again later", LIMIT_PROXY_SESSIONS);
    else if (sessions_of(r->user->name) >= LIMIT_PROXY_SESSIONS_PER_USER)
        fail_too_many(r, 1,
                      "%d sessions with nodes (logs, exec, attach, port-forward) of " STR_FMT
                      " are open; end some of them",
                      LIMIT_PROXY_SESSIONS_PER_USER, STR_ARG(r->user->name));
    else {
        session_start(r, h, &aim);
        return;
    }
    respond_status(h, r);
}
