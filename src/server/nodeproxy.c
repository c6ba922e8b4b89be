#include "server/nodeproxy.h"
#include "api/codec.h"
#include "base/log.h"
#include "server/encode.h"
#include "server/fail.h"
#include "server/limits.h"
#include "wire/http_client.h"

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

/* One request on its way through. */
struct session {
    struct server *server;
    struct http_client *client;
    struct http_call *call;
    struct http_request *http; /* until it was ended */
    struct stream *up, *down;  /* after an upgrade: the node's, the client's */
    bool up_ended, down_ended;
    struct arena arena;
};

static size_t sessions;

size_t nodeproxy_sessions(void)
{
    return sessions;
}

static void session_free(struct session *s)
{
    http_cancel(s->call);
    http_client_free(s->client);
    stream_free(s->up);
    stream_free(s->down);
    arena_fini(&s->arena);
    mem_free(s);
    sessions--;
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

static void respond_plain_error(struct session *s, enum err_kind kind, const char *text)
{
    AUTO(request_fini) struct request r;
    request_init(&r, s->server, s->server->loop, NULL);
    struct err err = ERR;
    err_set(&err, kind, "%s", text);
    fail_err(&r, &err);
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
    copy_headers(s->http, &a->headers);
    http_start(s->http, a->status, http_header(&a->headers, S("Content-Type")), -1);
}

static void node_data(struct http_call *c, struct str bytes)
{
    struct session *s = http_call_arg(c);
    if (!s->http)
        return;
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
    if (s->http && !s->http->status)
        respond_plain_error(s, E_INTERNAL, a ? "the node answered nothing" : err->text);
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

/* Which container of a pod: the one that is asked for, the one of the annotation, or the first where that is clear.
 */
static bool find_container(struct request *r, const struct obj *pod, struct str asked, struct str *out)
{
    const struct name *const lists[] = {N(containers), N(initContainers), N(ephemeralContainers)};
    if (asked.n) {
        *out = asked;
        for (size_t i = 0; i < countof(lists); i++)
            if (val_find(val_get(obj_spec(pod), lists[i]), N(name), asked))
                return true;
        return fail_bad_request(r, "container " STR_FMT " is not valid for pod " STR_FMT, STR_ARG(asked),
                                STR_ARG(pod->name));
    }
    const struct val *all = val_get(obj_spec(pod), N(containers));
    *out = val_text(val_get_str(val_at(obj_meta(pod), N(annotations)), S("kubectl.kubernetes.io/default-container")));
    if (out->n && val_find(all, N(name), *out))
        return true;
    if (val_len(all) == 1) {
        *out = val_text_at(val_item(all, 0), N(name));
        return true;
    }
    AUTO(strbuf_fini) struct strbuf list = STRBUF(STRBUF_TEXT);
    val_each_item (it, all)
        strbuf_addf(&list, "%s" STR_FMT, list.n ? " " : "", STR_ARG(val_text_at(it, N(name))));
    const struct val *init = val_get(obj_spec(pod), N(initContainers));
    if (val_len(init)) {
        AUTO(strbuf_fini) struct strbuf more = STRBUF(STRBUF_TEXT);
        val_each_item (it, init)
            strbuf_addf(&more, "%s" STR_FMT, more.n ? " " : "", STR_ARG(val_text_at(it, N(name))));
        return fail_bad_request(r,
                                "a container name must be specified for pod " STR_FMT ", choose one of: [" STR_FMT
                                "] or one of the init containers: [" STR_FMT "]",
                                STR_ARG(pod->name), STR_ARG(strbuf_str(&list)), STR_ARG(strbuf_str(&more)));
    }
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
    AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
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
    return !e.list.n || fail_invalid(r, S(""), S("PodLogOptions"), r->name, &e);
}

static bool find_target(struct request *r, struct http_request *h, struct str rest, struct strbuf *target,
                        struct str *uid)
{
    int i = row_of(r);
    AUTO(obj_unref) struct obj *o = object_get(r->server, r->kind, r->ns, r->name);
    if (!o)
        return fail_not_found(r);
    if (!rows[i].path.n) {
        strbuf_addf(target, "/" STR_FMT, STR_ARG(rest));
    } else {
        *uid = str_dup(&r->arena, o->uid);
        if (str_eq(rows[i].sub, S("log")) && !check_log_options(r, h->query))
            return false;
        struct str container = S("");
        if (rows[i].container && !find_container(r, o, query_get(&r->arena, h->query, "container"), &container))
            return false;
        if (!val_text_at(obj_spec(o), N(nodeName)).n) {
            if (!rows[i].upgrade) /* the log of a pod that runs nowhere is empty */
                return true;
            return fail_bad_request(r, "pod " STR_FMT " does not have a host assigned", STR_ARG(r->name));
        }
        strbuf_addf(target, "/" STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(rows[i].path), STR_ARG(r->ns),
                    STR_ARG(r->name));
        if (rows[i].container)
            strbuf_addf(target, "/" STR_FMT, STR_ARG(container));
    }
    if (h->query.n)
        strbuf_addf(target, "?" STR_FMT, STR_ARG(h->query));
    return true;
}

void nodeproxy_start(struct request *r, struct http_request *h, struct str rest)
{
    struct server *server = r->server;
    AUTO(strbuf_fini) struct strbuf target = STRBUF(LIMIT_URL_BYTES);
    struct str uid = S("");
    if (!find_target(r, h, rest, &target, &uid)) {
        respond_status(h, r);
        return;
    }
    if (!target.n) {
        http_respond(h, 204, S(""), S(""));
        return;
    }
    if (sessions >= LIMIT_PROXY_SESSIONS) {
        fail_too_many(r, 1, "%d sessions with nodes are open; try again later", LIMIT_PROXY_SESSIONS);
        respond_status(h, r);
        return;
    }
    struct session *s = NEW(struct session);
    sessions++;
    s->server = server;
    s->http = h;
    h->user = s;
    h->on_gone = client_gone;
    h->on_drained = client_drained;
    struct str upgrade = str_dup(&s->arena, http_header(&h->headers, S("Upgrade")));
    struct http_headers headers = {0};
    static const struct str passed[] = {S_INIT("Sec-WebSocket-Key"), S_INIT("Sec-WebSocket-Version"),
                                        S_INIT("Sec-WebSocket-Protocol"), S_INIT("X-Stream-Protocol-Version"),
                                        S_INIT("Accept")};
    for (size_t i = 0; i < countof(passed); i++)
        for (size_t k = 0; k < h->headers.n; k++)
            if (str_ieq(h->headers.p[k].name, passed[i]))
                http_header_add(&s->arena, &headers, h->headers.p[k].name, h->headers.p[k].value);
    http_header_add(&s->arena, &headers, S("X-Wherry-Pod-Uid"), uid);
    http_header_add(&s->arena, &headers, S("X-Wherry-User"), r->user->name);
    s->client = http_client_new(
        server->loop,
        &(struct http_client_config){.address = arena_fmt(&s->arena, "unix:%s", server->options.node_socket),
                                     .host = S("node")});
    struct http_outgoing o = {.method = h->method,
                              .target = strbuf_str(&target),
                              .headers = &headers,
                              .body = h->body,
                              .upgrade = upgrade,
                              .answer_streamed = true,
                              .head_ns = -1};
    s->call = http_send(s->client, &o, &node_fns, s);
}
