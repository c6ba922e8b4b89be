#include "client/http.h"
#include "api/codec.h"
#include "base/clock.h"
#include "sys/loop.h"
#include "wire/http_client.h"
#include "wire/websocket.h"

#define MAX_EVENT (8u << 20) /* one event of a watch: twice the largest object */
#define MAX_URL   (64u << 10)

struct https {
    struct transport t;
    struct http_client *client;
    struct tls_client *tls;
    char *bearer; /* "Bearer ..."; NULL: none */
    char *agent;
    char *impersonate; /* NULL: nobody */
};
struct https_call {
    struct https *h;
    struct call *call;
    struct http_call *http;
    enum call_verb verb;
    const struct kind *kind;
    bool typed;            /* the answer is an object of the kind */
    bool good;             /* the head said 2xx */
    struct strbuf refusal; /* the body of another answer to a streamed call */
};
struct https_watch {
    struct https *h;
    struct watch *watch;
    struct http_call *http;
    const struct kind *kind;
    struct strbuf line;
    int status;
    struct err err;
};

static struct https *https_of(struct transport *t)
{
    return container_of(t, struct https, t);
}

/* ---- the question ---- */

static void query_add(struct strbuf *b, const char *name, struct str value)
{
    if (value.n == 0)
        return;
    strbuf_addf(b, "%c%s=", str_find_char(strbuf_str(b), '?') < 0 ? '?' : '&', name);
    http_escape(b, value);
}

static void query_num(struct strbuf *b, const char *name, int64_t n)
{
    if (n > 0)
        strbuf_addf(b, "%c%s=%lld", str_find_char(strbuf_str(b), '?') < 0 ? '?' : '&', name, (long long)n);
}

static void path_add(struct strbuf *b, const struct kind *k, struct str ns, struct str name, struct str sub)
{
    strbuf_addz(b, k->group.n ? "/apis/" : "/api/");
    strbuf_add(b, k->api_version);
    if (k->namespaced && ns.n > 0) {
        strbuf_addz(b, "/namespaces/");
        http_escape(b, ns);
    }
    strbuf_addf(b, "/" STR_FMT, STR_ARG(k->plural));
    if (name.n > 0) {
        strbuf_addc(b, '/');
        http_escape(b, name);
    }
    if (sub.n > 0)
        strbuf_addf(b, "/" STR_FMT, STR_ARG(sub));
}

static void target_add(struct strbuf *b, const struct call_options *o)
{
    if (o->verb == CALL_RAW) {
        strbuf_add(b, o->path);
    } else {
        bool unnamed = o->verb == CALL_LIST || o->verb == CALL_DELETE_COLLECTION ||
                       (o->verb == CALL_CREATE && o->sub.n == 0);
        path_add(b, o->kind, o->ns, unnamed ? S("") : o->name, o->sub);
        query_add(b, "labelSelector", o->label_selector);
        query_add(b, "fieldSelector", o->field_selector);
        query_add(b, "resourceVersion", o->resource_version);
        query_add(b, "resourceVersionMatch", o->resource_version_match);
        query_add(b, "continue", o->continue_token);
        query_num(b, "limit", o->limit);
        if (o->marks)
            query_add(b, "allowWatchBookmarks", S("true"));
        query_add(b, "fieldManager", o->field_manager);
        query_add(b, "fieldValidation", o->field_validation);
        if (o->dry_run && o->verb != CALL_DELETE)
            query_add(b, "dryRun", S("All"));
        if (o->force)
            query_add(b, "force", S("true"));
    }
    if (o->query.n > 0)
        strbuf_addf(b, "%c" STR_FMT, str_find_char(strbuf_str(b), '?') < 0 ? '?' : '&', STR_ARG(o->query));
}

static struct val delete_options(struct arena *a, const struct call_options *o)
{
    static const char *const policies[] = {NULL, "Background", "Foreground", "Orphan"};
    struct val v = val_map();
    val_set_text(a, &v, N(apiVersion), S("v1"));
    val_set_text(a, &v, N(kind), S("DeleteOptions"));
    if (o->grace_s >= 0)
        val_set_num(a, &v, N(gracePeriodSeconds), o->grace_s);
    if (policies[o->propagation])
        val_set(a, &v, N(propagationPolicy), val_str(a, str_of(policies[o->propagation])));
    if (o->dry_run) {
        struct val list = val_list();
        val_add(a, &list, val_str_borrowed(S("All")));
        val_set(a, &v, N(dryRun), list);
    }
    if (o->expect_uid.n == 0 && o->expect_rev == 0)
        return v;
    struct val *p = val_set(a, &v, N(preconditions), val_map());
    if (o->expect_uid.n > 0)
        val_set_text(a, p, N(uid), o->expect_uid);
    if (o->expect_rev > 0)
        val_set(a, p, N(resourceVersion), val_str(a, arena_fmt(a, "%lld", (long long)o->expect_rev)));
    return v;
}

/* The body with what it is expected to meet; JSON patches are lists and cannot carry that. */
static struct val body_of(struct arena *a, const struct call_options *o)
{
    if (o->verb == CALL_DELETE || o->verb == CALL_DELETE_COLLECTION)
        return delete_options(a, o);
    struct val v = o->body ? val_copy(a, o->body) : VAL_NONE;
    if (!val_is(&v, VAL_MAP) || (o->verb != CALL_UPDATE && o->verb != CALL_PATCH))
        return v;
    if (o->expect_rev > 0)
        val_set(a, val_need_map(a, &v, N(metadata)), N(resourceVersion),
                val_str(a, arena_fmt(a, "%lld", (long long)o->expect_rev)));
    if (o->expect_uid.n > 0)
        val_set_text(a, val_need_map(a, &v, N(metadata)), N(uid), o->expect_uid);
    return v;
}

static void headers_add(struct https *h, struct arena *a, struct http_headers *to, struct str accept)
{
    http_header_add(a, to, S("User-Agent"), str_of(h->agent));
    http_header_add(a, to, S("Accept"), accept);
    if (h->bearer)
        http_header_add(a, to, S("Authorization"), str_of(h->bearer));
    if (h->impersonate)
        http_header_add(a, to, S("Impersonate-User"), str_of(h->impersonate));
}

static bool is_typed(const struct call_options *o)
{
    static const char *const same[] = {"", "status", "finalize", "ephemeralcontainers", "resize", "approval"};
    if (o->as_table || o->verb == CALL_RAW || o->verb == CALL_DELETE_COLLECTION)
        return false;
    for (size_t i = 0; i < countof(same); i++)
        if (str_eqz(o->sub, same[i]))
            return true;
    return false;
}

/* ---- the answer ---- */

/* A decoded tree becomes an object: its revision is taken out, type and kind are put in. */
static struct obj *obj_made(struct arena *a, const struct kind *k, struct val *v)
{
    struct val *meta = val_need_map(a, v, N(metadata));
    int64_t rev = 0;
    if (!str_to_i64(val_text(val_get(meta, N(resourceVersion))), 0, INT64_MAX, &rev))
        rev = 0;
    val_del(meta, N(resourceVersion));
    val_del(meta, N(managedFields));
    val_set_text(a, v, N(apiVersion), k->api_version);
    val_set_text(a, v, N(kind), k->kind);
    return obj_new(k, v, rev);
}

static bool one_decode(struct arena *a, const struct kind *k, struct str body, struct obj **out, struct err *err)
{
    struct val v;
    struct decode_notes notes = {.arena = a};
    bool ok = type_decode_json(a, kind_type(k), body, &v, &notes, err);
    array_fini(&notes.texts);
    if (ok)
        *out = obj_made(a, k, &v);
    return ok;
}

static bool list_decode(struct call *c, const struct kind *k, struct str body)
{
    struct arena trees = ARENA;
    struct val v;
    struct decode_notes notes = {.arena = &trees};
    bool ok = type_decode_json(&trees, kind_list_type(k), body, &v, &notes, &c->err);
    array_fini(&notes.texts);
    if (ok) {
        const struct val *items = val_get(&v, N(items)), *meta = val_get(&v, N(metadata));
        c->items = arena_alloc(&c->arena, (val_len(items) + 1) * sizeof *c->items);
        val_each_item (it, items)
            c->items[c->n++] = obj_made(&trees, k, (struct val *)it);
        if (!str_to_i64(val_text_at(meta, N(resourceVersion)), 0, INT64_MAX, &c->rev))
            c->rev = 0;
        c->continue_token = str_dup(&c->arena, val_text_at(meta, N(continue)));
    }
    arena_fini(&trees);
    return ok;
}

static bool call_refused(struct call *c, int status, struct str body)
{
    struct val v;
    struct err ignored = ERR; /* no JSON: a proxy's page, whose text is shown below */
    if (body.n > 0 && json_decode(&c->arena, body, &v, &ignored) && str_eqz(val_text_at(&v, N(kind)), "Status")) {
        struct val *keep = ARENA_NEW(&c->arena, struct val);
        *keep = v;
        c->tree = keep;
        c->retry_after_ns = ns_of_seconds(val_num_at(&v, 0, N(details), N(retryAfterSeconds)));
        return err_set(&c->err, err_kind_of(val_text_at(&v, N(reason)), status), STR_FMT,
                       STR_ARG(val_text_at(&v, N(message))));
    }
    struct str said = str_trim(str_sub(body, 0, 300));
    return err_set(&c->err, err_kind_of(S(""), status), "the server answered %d %s%s" STR_FMT, status,
                   http_reason(status), said.n ? ": " : "", STR_ARG(said));
}

static bool delete_decode(struct call *c, const struct kind *k, struct val *v)
{
    if (str_eqz(val_text_at(v, N(kind)), "Status") || !str_eq(val_text_at(v, N(kind)), k->kind))
        return true;
    struct val typed;
    struct decode_notes notes = {.arena = &c->arena};
    bool ok = type_decode_val(&c->arena, kind_type(k), v, &typed, &notes, &c->err);
    array_fini(&notes.texts);
    if (ok)
        c->obj = obj_made(&c->arena, k, &typed);
    return ok;
}

static bool answer_decode(struct https_call *hc, struct str body)
{
    struct call *c = hc->call;
    if (hc->verb == CALL_RAW) {
        c->bytes = str_dup(&c->arena, body);
        return true;
    }
    if (hc->typed && hc->verb == CALL_LIST)
        return list_decode(c, hc->kind, body);
    if (hc->typed && hc->verb != CALL_DELETE) {
        struct arena a = ARENA;
        bool ok = one_decode(&a, hc->kind, body, &c->obj, &c->err);
        arena_fini(&a);
        c->rev = ok ? c->obj->rev : 0;
        return ok;
    }
    struct val *v = ARENA_NEW(&c->arena, struct val);
    if (!json_decode(&c->arena, body, v, &c->err))
        return false;
    c->tree = v;
    return hc->verb != CALL_DELETE || delete_decode(c, hc->kind, v);
}

static void https_call_free(struct https_call *hc)
{
    strbuf_fini(&hc->refusal);
    mem_free(hc);
}

/* 299 - "text, where \\" and \\\\ stand for themselves": the text of each, one a line. */
static const char *warnings_of(struct call *c, const struct http_answer *a)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str head, text;
    for (size_t i = 0; i < a->headers.n; i++) {
        const struct http_header *h = &a->headers.p[i];
        if (!str_ieq(h->name, S("Warning")) || !str_split(h->value, '"', &head, &text))
            continue;
        if (b.n)
            strbuf_addc(&b, '\n');
        for (size_t k = 0; k < text.n && text.p[k] != '"'; k++) {
            k += text.p[k] == '\\' && k + 1 < text.n;
            strbuf_addc(&b, text.p[k] == '\n' ? ' ' : text.p[k]);
        }
    }
    return b.n ? arena_strz(&c->arena, strbuf_str(&b)) : NULL;
}

static void call_answered(struct http_call *http, const struct http_answer *a, struct err *err)
{
    struct https_call *hc = http_call_arg(http);
    struct call *c = hc->call;
    if (!a) {
        c->err = *err;
    } else {
        c->http = a->status;
        c->warnings = warnings_of(c, a);
        struct str body = c->data ? strbuf_str(&hc->refusal) : a->body;
        if (a->status < 200 || a->status > 299)
            c->ok = call_refused(c, a->status, body);
        else
            c->ok = c->data || answer_decode(hc, body);
        int64_t s;
        if (c->retry_after_ns == 0 && str_to_i64(http_header(&a->headers, S("Retry-After")), 0, 86400, &s))
            c->retry_after_ns = ns_of_seconds(s);
    }
    https_call_free(hc);
    call_finish(c);
}

static void call_head(struct http_call *http, const struct http_answer *a)
{
    struct https_call *hc = http_call_arg(http);
    hc->good = a->status >= 200 && a->status <= 299;
}

static void call_data(struct http_call *http, struct str bytes)
{
    struct https_call *hc = http_call_arg(http);
    if (hc->good)
        hc->call->data(hc->call, bytes);
    else
        strbuf_add(&hc->refusal, bytes);
}

static void https_call_start(struct transport *t, struct call *c, const struct call_options *o)
{
    static const struct str methods[] = {S_INIT("GET"),   S_INIT("GET"),    S_INIT("POST"),  S_INIT("PUT"),
                                         S_INIT("PATCH"), S_INIT("DELETE"), S_INIT("DELETE")};
    static const struct str patches[] = {
        S_INIT("application/json-patch+json"), S_INIT("application/merge-patch+json"),
        S_INIT("application/strategic-merge-patch+json"), S_INIT("application/apply-patch+yaml")};
    static const struct http_call_fns fns = {.done = call_answered},
                                      stream = {.head = call_head, .data = call_data, .done = call_answered};
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf target = STRBUF(MAX_URL), body = STRBUF(64u << 20);
    struct https *h = https_of(t);
    struct https_call *hc = NEW(struct https_call);
    *hc = (struct https_call){
        .h = h, .call = c, .verb = o->verb, .kind = o->kind, .typed = is_typed(o), .refusal = STRBUF(1u << 20)};
    target_add(&target, o);
    struct str accept = S("application/json");
    if (o->as_table)
        accept = S("application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
    struct http_headers headers = {0};
    headers_add(h, &a, &headers, o->accept.n > 0 ? o->accept : accept);
    struct http_outgoing out = {.method = o->verb == CALL_RAW ? str_of(o->method ? o->method : "GET")
                                                              : methods[o->verb],
                                .target = strbuf_str(&target),
                                .headers = &headers,
                                .content_type = o->content_type,
                                .body = o->bytes,
                                .answer_streamed = c->data != NULL,
                                .answer_most = c->max_bytes,
                                .head_ns = c->data ? -1 : 0};
    if (o->verb != CALL_RAW && o->verb != CALL_GET && o->verb != CALL_LIST) {
        struct val v = body_of(&a, o);
        if (o->body_type || (o->verb != CALL_PATCH && hc->typed && o->verb != CALL_DELETE))
            type_encode_json(&body, o->body_type ? o->body_type : kind_type(o->kind), &v);
        else
            json_encode(&body, &v);
        out.body = strbuf_str(&body);
        out.content_type = o->verb == CALL_PATCH ? patches[o->patch] : S("application/json");
    }
    c->impl = hc;
    hc->http = http_send(h->client, &out, c->data ? &stream : &fns, hc);
}

static void https_call_cancel(struct transport *t, struct call *c)
{
    struct https_call *hc = c->impl;
    (void)t;
    http_cancel(hc->http);
    https_call_free(hc);
}

/* ---- watches ---- */

static void https_watch_free(struct https_watch *w)
{
    strbuf_fini(&w->line);
    mem_free(w);
}

static void watch_done(struct http_call *http, const struct http_answer *a, struct err *err)
{
    struct https_watch *w = http_call_arg(http);
    struct watch *watch = w->watch;
    struct err end = w->err;
    if (end.kind == E_NONE && a && (a->status < 200 || a->status > 299)) {
        struct call c = {0};
        call_refused(&c, a->status, strbuf_str(&w->line));
        end = c.err;
        arena_fini(&c.arena);
    } else if (end.kind == E_NONE && !a) {
        end = *err;
    }
    https_watch_free(w);
    watch_over(watch, &end);
}

static enum watch_event event_type(struct str type)
{
    return str_eqz(type, "ADDED")      ? WATCH_ADDED
           : str_eqz(type, "MODIFIED") ? WATCH_MODIFIED
           : str_eqz(type, "DELETED")  ? WATCH_DELETED
                                       : WATCH_BOOKMARK;
}

/* False: the watch is over, w->err says why, or the callback stopped it (*gone). */
static bool event_take(struct https_watch *w, struct str line, bool *gone)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v, typed;
    struct decode_notes notes = {.arena = &a};
    if (!json_decode(&a, line, &v, &w->err))
        return false;
    struct str type = val_text_at(&v, N(type));
    const struct val *object = val_get(&v, N(object));
    if (str_eqz(type, "ERROR"))
        return err_set(&w->err, err_kind_of(val_text_at(object, N(reason)), (int)val_num_at(object, 500, N(code))),
                       STR_FMT, STR_ARG(val_text_at(object, N(message))));
    struct watch *watch = w->watch;
    if (str_eqz(type, "BOOKMARK")) {
        int64_t rev = 0;
        if (!str_to_i64(val_text_at(object, N(metadata), N(resourceVersion)), 0, INT64_MAX, &rev))
            return err_set(&w->err, E_BAD_REQUEST, "a bookmark without resourceVersion");
        const struct val *end = val_get_str(val_at(object, N(metadata), N(annotations)),
                                            S("k8s.io/initial-events-end"));
        watch->event(watch, WATCH_BOOKMARK, NULL, rev, str_eqz(val_text(end), "true"));
    } else {
        bool ok = type_decode_val(&a, kind_type(w->kind), object, &typed, &notes, &w->err);
        array_fini(&notes.texts);
        if (!ok)
            return false;
        AUTO(obj_unref) struct obj *obj = obj_made(&a, w->kind, &typed);
        watch->event(watch, event_type(type), obj, obj->rev, false);
    }
    *gone = !watch_active(watch) || watch->impl != w;
    return !*gone;
}

static void watch_data(struct http_call *http, struct str bytes)
{
    struct https_watch *w = http_call_arg(http);
    strbuf_add(&w->line, bytes);
    if (w->status != 200)
        return;
    if (w->line.over) {
        err_set(&w->err, E_TOO_LARGE, "an event of more than %u bytes", MAX_EVENT);
    } else {
        /* what a callback stops is freed under our feet: the text goes along */
        struct strbuf line = w->line;
        w->line = STRBUF(MAX_EVENT);
        struct str rest = strbuf_str(&line), one;
        bool gone = false, ok = true;
        for (ptrdiff_t at; ok && (at = str_find_char(rest, '\n')) >= 0;) {
            one = str_trim(str_sub(rest, 0, (size_t)at));
            rest = str_sub(rest, (size_t)at + 1, rest.n);
            ok = one.n == 0 || event_take(w, one, &gone);
        }
        if (!gone && ok)
            strbuf_add(&w->line, rest);
        strbuf_fini(&line);
        if (gone || ok)
            return;
    }
    struct watch *watch = w->watch;
    struct err err = w->err;
    http_cancel(w->http);
    https_watch_free(w);
    watch_over(watch, &err);
}

static void watch_head(struct http_call *http, const struct http_answer *a)
{
    struct https_watch *w = http_call_arg(http);
    w->status = a->status;
}

static void https_watch_start(struct transport *t, struct watch *watch, const struct watch_options *o)
{
    static const struct http_call_fns fns = {.head = watch_head, .data = watch_data, .done = watch_done};
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf target = STRBUF(MAX_URL);
    struct https *h = https_of(t);
    struct https_watch *w = NEW(struct https_watch);
    *w = (struct https_watch){.h = h, .watch = watch, .kind = o->kind, .line = STRBUF(MAX_EVENT)};
    path_add(&target, o->kind, o->ns, S(""), S(""));
    query_add(&target, "watch", S("true"));
    query_add(&target, "labelSelector", o->label_selector);
    query_add(&target, "fieldSelector", o->field_selector);
    query_num(&target, "resourceVersion", o->rev);
    /* so that a server that restarts is not asked by everybody at once */
    query_num(&target, "timeoutSeconds", o->timeout_s ? o->timeout_s : 300 + (int64_t)random_below(300));
    if (!o->no_bookmarks)
        query_add(&target, "allowWatchBookmarks", S("true"));
    if (o->initial) {
        query_add(&target, "sendInitialEvents", S("true"));
        query_add(&target, "resourceVersionMatch", S("NotOlderThan"));
    }
    struct http_headers headers = {0};
    headers_add(h, &a, &headers, S("application/json"));
    struct http_outgoing out = {.method = S("GET"),
                                .target = strbuf_str(&target),
                                .headers = &headers,
                                .answer_streamed = true,
                                .stall_ns = 900 * NS_PER_S};
    watch->impl = w;
    w->http = http_send(h->client, &out, &fns, w);
}

static void https_watch_stop(struct transport *t, struct watch *watch)
{
    struct https_watch *w = watch->impl;
    (void)t;
    http_cancel(w->http);
    https_watch_free(w);
}

/* ---- upgrades ---- */

struct https_upgrade {
    struct upgrade *u;
    struct websocket_dial *dial;
    struct websocket *socket;
    const char *protocols[8];
    struct websocket_config config;
    struct arena arena;
};

static void https_upgrade_free(struct https_upgrade *x)
{
    websocket_dial_cancel(x->dial);
    arena_fini(&x->arena);
    mem_free(x);
}

static void socket_message(struct websocket *s, int kind, struct str bytes)
{
    struct https_upgrade *x = websocket_arg(s);
    x->u->message(x->u, bytes, kind == WEBSOCKET_BINARY);
}

static void socket_drained(struct websocket *s)
{
    struct https_upgrade *x = websocket_arg(s);
    x->u->queued = websocket_queued(s);
    if (x->u->drained)
        x->u->drained(x->u);
}

static void upgrade_over(struct https_upgrade *x, const struct err *err)
{
    struct upgrade *u = x->u;
    websocket_free(x->socket);
    x->socket = NULL;
    https_upgrade_free(x);
    u->transport = NULL;
    u->impl = NULL;
    u->closed(u, err);
}

static void socket_closed(struct websocket *s, int code, struct str reason)
{
    struct err err = ERR;
    if (code != 1000 && code != 1005)
        err_set(&err, E_IO, "the connection was closed with %d%s" STR_FMT, code, reason.n ? ": " : "",
                STR_ARG(reason));
    upgrade_over(websocket_arg(s), &err);
}

static void socket_opened(struct websocket *s, const struct http_answer *a, struct err *err, void *arg)
{
    struct https_upgrade *x = arg;
    x->dial = NULL;
    if (!s) {
        struct err end = *err;
        if (a) {
            struct call c = {0};
            call_refused(&c, a->status, a->body);
            end = c.err;
            arena_fini(&c.arena);
        }
        upgrade_over(x, &end);
        return;
    }
    x->socket = s;
    x->u->opened(x->u, websocket_protocol(s));
}

static void https_upgrade_start(struct transport *t, struct upgrade *u, struct str target, const char *protocols)
{
    static const struct websocket_fns fns = {
        .message = socket_message, .drained = socket_drained, .closed = socket_closed};
    struct https *h = https_of(t);
    struct https_upgrade *x = NEW(struct https_upgrade);
    x->u = u;
    struct str rest = str_of(protocols), one;
    for (size_t n = 0; n + 1 < countof(x->protocols) && str_cut(&rest, ',', &one); n++)
        x->protocols[n] = arena_strz(&x->arena, str_trim(one));
    x->config = (struct websocket_config){.protocols = x->protocols, .message_most = 4u << 20};
    struct http_headers headers = {0};
    headers_add(h, &x->arena, &headers, S("*/*"));
    u->impl = x;
    x->dial = websocket_connect(h->client, target, &headers, &x->config, &fns, x, socket_opened);
}

static void https_upgrade_send(struct transport *t, struct upgrade *u, struct str message, bool binary)
{
    struct https_upgrade *x = u->impl;
    (void)t;
    if (!x->socket)
        return;
    websocket_send(x->socket, binary ? WEBSOCKET_BINARY : WEBSOCKET_TEXT, message);
    u->queued = websocket_queued(x->socket);
}

static void https_upgrade_close(struct transport *t, struct upgrade *u)
{
    struct https_upgrade *x = u->impl;
    (void)t;
    if (x->socket)
        websocket_close(x->socket, 1000, S(""));
    x->socket = NULL;
    https_upgrade_free(x);
}

/* ---- */

static void https_free(struct transport *t)
{
    struct https *h = https_of(t);
    http_client_free(h->client);
    tls_client_free(h->tls);
    mem_free(h->bearer);
    mem_free(h->agent);
    mem_free(h->impersonate);
    mem_free(h);
}

static const struct transport_ops https_ops = {
    .name = "https",
    .call_start = https_call_start,
    .call_cancel = https_call_cancel,
    .watch_start = https_watch_start,
    .watch_stop = https_watch_stop,
    .upgrade_start = https_upgrade_start,
    .upgrade_send = https_upgrade_send,
    .upgrade_close = https_upgrade_close,
    .free = https_free,
};

/* "https://host" without a port is port 443. */
static struct str address_of(struct arena *a, struct str server, bool *tls, struct err *err)
{
    *tls = str_starts(server, S("https://"));
    if (str_starts(server, S("unix:")))
        return str_starts(server, S("unix://")) ? arena_fmt(a, "unix:" STR_FMT, STR_ARG(str_sub(server, 7, server.n)))
                                                : server;
    if (!*tls && !str_starts(server, S("http://"))) {
        err_set(err, E_INVALID,
                "server: \"" STR_FMT "\" must begin with https://, http:// or unix:", STR_ARG(server));
        return STR_NONE;
    }
    struct str rest = str_sub(server, *tls ? 8 : 7, server.n), host;
    str_split(rest, '/', &host, &rest);
    ptrdiff_t colon = str_rfind_char(host, ':');
    if (colon < 0 || host.p[host.n - 1] == ']')
        return arena_fmt(a, STR_FMT ":%d", STR_ARG(host), *tls ? 443 : 80);
    return host;
}

struct transport *http_transport_new(struct loop *l, const struct http_transport_config *c, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    bool tls;
    struct str address = address_of(&a, c->server, &tls, err);
    if (address.n == 0)
        return NULL;
    struct https *h = NEW(struct https);
    h->t = (struct transport){&https_ops, l};
    if (tls) {
        struct tls_client_config t = {
            .ca = c->ca_pem, .cert = c->cert_pem, .key = c->key_pem, .insecure = c->insecure_skip_tls_verify};
        h->tls = tls_client_new(&t, err);
        if (!h->tls) {
            mem_free(h);
            return NULL;
        }
    }
    if (c->token.n > 0)
        h->bearer = str_dupz(arena_fmt(&a, "Bearer " STR_FMT, STR_ARG(c->token)));
    h->agent = str_dupz(c->user_agent.n > 0 ? c->user_agent : S("wherry"));
    h->impersonate = c->impersonate.n > 0 ? str_dupz(c->impersonate) : NULL;
    static const struct http_client_session_type *const spoken[] = {&http2_client_session, &http1_client_session,
                                                                    NULL};
    struct http_client_config hc = {.address = address,
                                    .tls = h->tls,
                                    .server_name = c->tls_server_name,
                                    .connections_most = 512,
                                    .sessions = c->dial ? NULL : spoken,
                                    .dial = c->dial,
                                    .dial_arg = c->dial_arg};
    h->client = http_client_new(l, &hc);
    return &h->t;
}

struct transport *http_transport_of(struct loop *l, const struct kubeconfig *k, struct err *err)
{
    struct http_transport_config c = {.server = k->server,
                                      .ca_pem = k->ca_pem,
                                      .cert_pem = k->cert_pem,
                                      .key_pem = k->key_pem,
                                      .token = k->token,
                                      .tls_server_name = k->tls_server_name,
                                      .insecure_skip_tls_verify = k->insecure_skip_tls_verify};
    return http_transport_new(l, &c, err);
}
