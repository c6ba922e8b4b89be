#include "server/nodeproxy.h"
#include "api/codec.h"
#include "api/formats.h"
#include "base/log.h"
#include "server/authn.h"
#include "server/encode.h"
#include "server/fail.h"
#include "server/limits.h"
#include "wire/http_client.h"
#include <netinet/in.h>

/* --- what goes to a node --- */

static const struct {
    struct str resource, sub, path;
    bool upgrade, container;
} rows[] = {
    {S_INIT("pods"), S_INIT("log"), S_INIT("containerLogs"), false, true},
    {S_INIT("pods"), S_INIT("exec"), S_INIT("exec"), true, true},
    {S_INIT("pods"), S_INIT("attach"), S_INIT("attach"), true, true},
    {S_INIT("pods"), S_INIT("portforward"), S_INIT("portForward"), true, false},
    {S_INIT("nodes"), S_INIT("proxy"), S_INIT(""), false, false},
};

static int row_of(const struct request *r)
{
    if (!r->group.n)
        for (size_t i = 0; i < countof(rows); i++)
            if (str_eq(rows[i].resource, r->resource) && str_eq(rows[i].sub, r->sub))
                return (int)i;
    return -1;
}

bool nodeproxy_wanted(const struct request *r)
{
    return row_of(r) >= 0;
}

bool nodeproxy_connects(const struct request *r)
{
    int i = row_of(r);
    return i >= 0 && (rows[i].upgrade || !rows[i].path.n);
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

static void copy_headers(struct http_request *to, const struct http_headers *from)
{
    static const struct str kept[] = {S_INIT("Warning"), S_INIT("Sec-WebSocket-Accept"),
                                      S_INIT("Sec-WebSocket-Protocol"), S_INIT("X-Stream-Protocol-Version")};
    for (size_t i = 0; i < countof(kept); i++) {
        struct str v = http_header(from, kept[i]);
        if (v.n)
            http_set(to, kept[i], v);
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
    copy_headers(h, &a->headers);
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
    if (s->refusals && a->status >= 300) {
        s->refused = a->status;
        return;
    }
    copy_headers(s->http, &a->headers);
    http_start(s->http, a->status, http_header(&a->headers, S("Content-Type")), -1);
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

static struct str query_get(struct arena *a, struct str query, const char *name)
{
    struct str n, v;
    struct err err = ERR;
    while (http_query_next(a, &query, &n, &v, &err))
        if (str_eqz(n, name))
            return v;
    return STR_NONE;
}

/* Which container of a pod: the one that is asked for, or the only one. The annotation for a default is kubectl's. */
static bool find_container(struct request *r, const struct obj *pod, struct str asked, struct str *out)
{
    const struct name *const lists[] = {N(initContainers), N(containers), N(ephemeralContainers)};
    if (asked.n) {
        *out = asked;
        for (size_t i = 0; i < countof(lists); i++)
            if (val_find(val_get(obj_spec(pod), lists[i]), N(name), asked))
                return true;
        return fail_bad_request(r, "container " STR_FMT " is not valid for pod " STR_FMT, STR_ARG(asked),
                                STR_ARG(pod->name));
    }
    const struct val *all = val_get(obj_spec(pod), N(containers));
    if (val_len(all) == 1) {
        *out = val_text_at(val_item(all, 0), N(name));
        return true;
    }
    AUTO(strbuf_fini) struct strbuf list = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (it, val_get(obj_spec(pod), lists[i]))
            strbuf_addf(&list, "%s" STR_FMT, list.n ? " " : "", STR_ARG(val_text_at(it, N(name))));
    return fail_bad_request(r, "a container name must be specified for pod " STR_FMT ", choose one of: [" STR_FMT "]",
                            STR_ARG(pod->name), STR_ARG(strbuf_str(&list)));
}

/* PodLogOptions, as far as its values can be wrong. */
static bool check_log_options(struct request *r, struct str query)
{
    static const struct {
        const char *name;
        int64_t least;
        const char *text;
    } numbers[] = {
        {"tailLines", 0, "must be greater than or equal to 0"},
        {"limitBytes", 1, "must be greater than 0"},
        {"sinceSeconds", 1, "must be greater than 0"},
    };
    struct str time = query_get(&r->arena, query, "sinceTime"), stream = query_get(&r->arena, query, "stream");
    int64_t at;
    AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
    if (time.n && !time_parse(time, &at))
        return fail_bad_request(r,
                                "parsing time \"" STR_FMT "\" as \"2006-01-02T15:04:05Z07:00\": it is no time of "
                                "RFC 3339",
                                STR_ARG(time));
    for (size_t i = 0; i < countof(numbers); i++) {
        struct str v = query_get(&r->arena, query, numbers[i].name);
        int64_t n;
        if (!v.n)
            continue;
        if (!str_to_i64(v, INT64_MIN, INT64_MAX, &n))
            return fail_bad_request(r, "strconv.ParseInt: parsing \"" STR_FMT "\": invalid syntax", STR_ARG(v));
        if (n < numbers[i].least)
            field_error_add(&e, FE_INVALID, numbers[i].name, "Invalid value: %lld: %s", (long long)n,
                            numbers[i].text);
    }
    if (query_get(&r->arena, query, "sinceSeconds").n && query_get(&r->arena, query, "sinceTime").n)
        field_error_add(&e, FE_FORBIDDEN, "",
                        "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified");
    if (stream.p && !str_eq(stream, S("All")) && !str_eq(stream, S("Stdout")) && !str_eq(stream, S("Stderr")))
        field_error_add(&e, FE_NOT_SUPPORTED, "stream",
                        "Unsupported value: \"" STR_FMT "\": supported values: \"All\", \"Stderr\", \"Stdout\"",
                        STR_ARG(stream));
    if (stream.p && !str_eq(stream, S("All")) && query_get(&r->arena, query, "tailLines").n)
        field_error_add(&e, FE_FORBIDDEN, "",
                        "Forbidden: `tailLines` and specific `stream` are mutually exclusive for now");
    return !e.list.n || fail_invalid(r, S(""), S("PodLogOptions"), r->name, &e);
}

/* Where a request goes. */
struct aim {
    struct strbuf target; /* path and query; empty: there is nothing to ask for */
    struct str uid;       /* of the pod */
    struct str address;   /* "": the relay */
    struct str host;
    bool tls;
};

static void aim_fini(struct aim *a)
{
    strbuf_fini(&a->target);
}
AUTO_VALUE(aim_fini, struct aim);

/* NAME, NAME:PORT or SCHEME:NAME:PORT, as in nodes/.../proxy. */
static bool split_node(struct str id, struct str *scheme, struct str *name, struct str *port)
{
    struct str part[4];
    size_t n = 0;
    while (n < countof(part) && str_cut(&id, ':', &part[n]))
        n++;
    *scheme = n == 3 ? part[0] : S("");
    *name = part[n == 3 ? 1 : 0];
    *port = n == 3 ? part[2] : n == 2 ? part[1] : S("");
    return n >= 1 && n <= 3 && name->n && (!scheme->n || str_eq(*scheme, S("http")) || str_eq(*scheme, S("https")));
}

static struct str address_of(const struct obj *node)
{
    val_each_item (it, val_at(obj_status(node), N(addresses)))
        if (str_eqz(val_text_at(it, N(type)), "InternalIP"))
            return val_text_at(it, N(address));
    return S("");
}

/* An address of a machine, as upstream asks for: not of this one, not of its links alone, not of many. A node says
 * itself where it is. */
static bool address_allowed(struct str text)
{
    uint8_t ip[16];
    bool v4;
    if (!ip_parse(text, ip, &v4))
        return false;
    const uint8_t *last = ip + 12;
    struct in6_addr six;
    memcpy(&six, ip, sizeof six);
    if (v4 || IN6_IS_ADDR_V4MAPPED(&six))
        return last[0] != 0 && last[0] != 127 && last[0] < 224 && !(last[0] == 169 && last[1] == 254);
    return !IN6_IS_ADDR_UNSPECIFIED(&six) && !IN6_IS_ADDR_LOOPBACK(&six) && !IN6_IS_ADDR_LINKLOCAL(&six) &&
           !IN6_IS_ADDR_MULTICAST(&six);
}

static bool aim_at_node(struct request *r, struct str rest, struct aim *aim)
{
    struct str scheme, name, port;
    int64_t number = 0;
    if (!split_node(r->name, &scheme, &name, &port))
        return fail_bad_request(r, "invalid node request \"" STR_FMT "\"", STR_ARG(r->name));
    AUTO(obj_unref) struct obj *o = object_get(r->server, r->kind, r->ns, name);
    if (!o)
        return fail_named_not_found(r, r->group, r->resource, name);
    strbuf_addf(&aim->target, "/" STR_FMT, STR_ARG(rest));
    int64_t relay = val_num(val_at(obj_status(o), N(daemonEndpoints), N(kubeletEndpoint), N(Port)), 0);
    if (!port.n || (str_to_i64(port, 1, 65535, &number) && number == relay))
        return true;
    struct str ip = address_of(o);
    if (!number)
        return fail_bad_request(r, "invalid node request \"" STR_FMT "\": \"" STR_FMT "\" is no port",
                                STR_ARG(r->name), STR_ARG(port));
    if (!address_allowed(ip))
        return fail_bad_request(r, "address not allowed");
    aim->address = aim->host = arena_fmt(&r->arena, STR_FMT ":%d", STR_ARG(ip), (int)number);
    aim->tls = str_eq(scheme, S("https"));
    return true;
}

static bool aim_at_pod(struct request *r, struct http_request *h, int i, struct aim *aim)
{
    struct str container = S("");
    if (str_eq(rows[i].sub, S("log")) && !check_log_options(r, h->query))
        return false;
    AUTO(obj_unref) struct obj *o = object_get(r->server, r->kind, r->ns, r->name);
    if (!o)
        return fail_not_found(r);
    aim->uid = str_dup(&r->arena, o->uid);
    if (rows[i].container && !find_container(r, o, query_get(&r->arena, h->query, "container"), &container))
        return false;
    if (!val_text_at(obj_spec(o), N(nodeName)).n) {
        if (!rows[i].upgrade) /* the log of a pod that runs nowhere is empty */
            return true;
        return fail_bad_request(r, "pod " STR_FMT " does not have a host assigned", STR_ARG(r->name));
    }
    if (rows[i].upgrade && !http_header_token(&h->headers, S("Connection"), S("upgrade")))
        return fail_bad_request(r, "Upgrade request required");
    strbuf_addf(&aim->target, "/" STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(rows[i].path), STR_ARG(r->ns),
                STR_ARG(r->name));
    if (rows[i].container)
        strbuf_addf(&aim->target, "/" STR_FMT, STR_ARG(container));
    return true;
}

static void copy_request_headers(struct session *s, const struct http_headers *from, struct http_headers *to)
{
    static const struct str passed[] = {S_INIT("Sec-WebSocket-Key"),
                                        S_INIT("Sec-WebSocket-Version"),
                                        S_INIT("Sec-WebSocket-Protocol"),
                                        S_INIT("X-Stream-Protocol-Version"),
                                        S_INIT("Accept"),
                                        S_INIT("Content-Type")};
    for (size_t i = 0; i < countof(passed); i++)
        for (size_t k = 0; k < from->n; k++)
            if (str_ieq(from->p[k].name, passed[i]))
                http_header_add(&s->arena, to, from->p[k].name, from->p[k].value);
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
    s->refusals = rows[row_of(r)].path.n;
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
    int i = row_of(r);
    AUTO(aim_fini) struct aim aim = {.target = STRBUF(LIMIT_URL_BYTES)};
    if (!(rows[i].path.n ? aim_at_pod(r, h, i, &aim) : aim_at_node(r, rest, &aim))) {
        respond_status(h, r);
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
