/* One request over HTTP, in the order in which it may be refused: who asks (before a body is read), as whom, and may
 * they; is there such a thing; can it be answered in a form that is accepted; is the body what it should be. Then it
 * is a page (sites.c), a way to a node (nodeproxy.c), a watch, or a request (request.c) whose answer goes out here:
 * in one piece, lists a piece a turn of the loop and only as fast as their client takes them. */
#include "server/front.h"
#include "server/aggregate.h"
#include "server/authn.h"
#include "server/encode.h"
#include "server/fail.h"
#include "server/front_ask.h"
#include "server/front_body.h"
#include "server/front_watch.h"
#include "server/impersonate.h"
#include "server/limits.h"
#include "server/listing.h"
#include "server/metrics.h"
#include "server/negotiate.h"
#include "server/nodeproxy.h"
#include "server/options.h"
#include "server/path.h"
#include "server/rbac.h"
#include "server/sites.h"
#include "server/write.h"
#include "wire/gzip.h"

#define MAX_ANSWER ((size_t)1 << 31)

/* One request over HTTP. */
struct exchange {
    struct request r;
    struct http_request *http;
    struct user user;
    struct negotiated form;
    enum include include;
    struct str rest; /* of the path, behind the subresource */
    /* a list on its way out */
    struct listing listing;
    struct soon more;
    struct old_reader reader;
    struct buf *whole; /* NULL: the pieces are the listing's */
    size_t next;       /* byte of it */
    struct gzip *gzip; /* NULL: as it is */
};

#define GZIP_FROM (128u << 10) /* bytes of a body, as upstream; smaller ones are quicker as they are */
#define PIECE     (256u << 10)

/* Where the client takes it and there are not too many others. */
static void compress_begin(struct exchange *x)
{
    struct server *s = x->r.server;
    if (x->gzip || s->ngzips >= LIMIT_COMPRESSED ||
        !gzip_accepted(http_header(&x->http->headers, S("Accept-Encoding"))))
        return;
    s->ngzips++;
    x->gzip = gzip_new();
    http_set(x->http, S("Content-Encoding"), S("gzip"));
    http_set(x->http, S("Vary"), S("Accept-Encoding"));
}

static void compress_end(struct exchange *x)
{
    x->r.server->ngzips -= x->gzip != NULL;
    gzip_free(TAKE(x->gzip));
}

static void answer_compress(struct exchange *x, struct strbuf *b, bool last)
{
    if (!x->gzip || (!b->n && !last))
        return;
    AUTO(strbuf_fini) struct strbuf plain = *b;
    *b = STRBUF(plain.max);
    gzip_piece(x->gzip, b, strbuf_str(&plain), last);
    b->over |= plain.over;
}

static void exchange_free(struct exchange *x)
{
    soon_stop(&x->more);
    reader_end(&x->reader);
    buf_unref(x->whole);
    compress_end(x);
    request_fini(&x->r);
    mem_free(x);
}

/* --- answers --- */

static void set_warnings(struct exchange *x)
{
    array_each (it, &x->r.answer.warnings) {
        AUTO(strbuf_fini) struct strbuf w = STRBUF(STRBUF_TEXT);
        strbuf_addz(&w, "299 - \"");
        for (size_t i = 0; i < it->n; i++) {
            if (it->p[i] == '"' || it->p[i] == '\\')
                strbuf_addc(&w, '\\');
            strbuf_addc(&w, (unsigned char)it->p[i] < 32 ? ' ' : it->p[i]);
        }
        strbuf_addc(&w, '"');
        http_set(x->http, S("Warning"), strbuf_str(&w));
    }
}

static void list_go_on(struct soon *s);
static void list_more(struct exchange *x);

static void exchange_respond(struct exchange *x, int status, struct str type, struct strbuf *body)
{
    struct http_request *h = x->http;
    if (body->n > GZIP_FROM && !body->over)
        compress_begin(x);
    if (x->gzip && body->n > PIECE && !x->listing.begun) { /* a piece a turn of the loop, as a list */
        x->whole = buf_take(body);
        x->r.answer.code = status;
        x->listing.media = x->form.media;
        soon_init(&x->more, x->r.loop, list_go_on);
        list_more(x);
        return;
    }
    answer_compress(x, body, true);
    set_warnings(x);
    if (body->over) {
        http_respond(h, 500, S("text/plain"), S("the answer is too large: ask for less, with limit and selectors\n"));
    } else {
        struct buf *b = buf_take(body);
        http_respond_buf(h, status, type, b);
        buf_unref(b);
    }
    exchange_free(x);
}

/* A failure has a protobuf form, even where the objects that were asked for have none. */
static enum media media_of_failure(const struct exchange *x)
{
    struct err err = ERR;
    struct negotiated n;
    if (!x->r.kind || !x->r.kind->custom ||
        !media_negotiate(http_header(&x->http->headers, S("Accept")), OFFER_PLAIN, &n, &err))
        return x->form.media;
    return n.media;
}

static void respond_failed(struct exchange *x)
{
    struct failure *f = &x->r.answer.fail;
    AUTO(strbuf_fini) struct strbuf body = STRBUF(MAX_ANSWER);
    struct val v = status_of(&x->r);
    if (x->r.answer.continued.n)
        val_set_text(&x->r.arena, val_need_map(&x->r.arena, &v, N(metadata)), N(continue), x->r.answer.continued);
    enum media m = media_of_failure(x);
    if (f->retry_after_s) {
        char text[16];
        snprintf(text, sizeof text, "%d", f->retry_after_s);
        http_set(x->http, S("Retry-After"), str_of(text));
    }
    if (f->challenge)
        http_set(x->http, S("WWW-Authenticate"), str_of(f->challenge));
    encode_tree(&body, m, T(meta_v1_Status), &v);
    exchange_respond(x, f->code, media_name(m), &body);
}

static void page_not_found(struct exchange *x)
{
    http_respond(x->http, 404, S("text/plain; charset=utf-8"), S("404 page not found\n"));
    exchange_free(x);
}

/* --- lists, in pieces --- */

static void list_drained(struct http_request *h);
static void list_gone(struct http_request *h);

static void list_cut(struct old_reader *r)
{
    struct exchange *x = container_of(r, struct exchange, reader);
    http_abort(x->http);
    exchange_free(x);
}

static void list_begin(struct exchange *x)
{
    set_warnings(x);
    struct readers *all = &x->r.server->readers;
    size_t bytes = 0;
    for (size_t i = 0; i < x->r.answer.n; i++)
        bytes += x->r.answer.items[i]->bytes;
    reader_begin(all, &x->reader, bytes, list_cut);
    if (x->r.answer.old)
        readers_retired(all, bytes); /* nobody else holds these */
    x->http->on_drained = list_drained;
    x->http->on_gone = list_gone;
    http_start(x->http, x->r.answer.code, media_name(x->listing.media), -1);
}

/* A large answer is not begun while much waits for clients that do not take it. */
static bool may_begin(struct exchange *x)
{
    return http_server_queued(x->r.server->http) <= LIMIT_ANSWERS_BYTES ||
           fail_too_many(&x->r, 1, "more than %d bytes of answers wait for clients to take them; try again later",
                         LIMIT_ANSWERS_BYTES);
}

static bool whole_more(struct exchange *x, struct strbuf *b)
{
    size_t n = MIN(x->whole->n - x->next, (size_t)PIECE);
    strbuf_add(b, (struct str){x->whole->p + x->next, n});
    x->next += n;
    return x->next < x->whole->n;
}

/* A piece a turn of the loop, so that others have theirs, as long as the client takes them; what is one piece is a
 * whole answer. */
static void list_more(struct exchange *x)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(MAX_ANSWER);
    bool more = x->whole ? whole_more(x, &b) : listing_more(&x->listing, &b);
    if (!x->http->status) {
        if (!more) {
            exchange_respond(x, x->r.answer.code, media_name(x->listing.media), &b);
            return;
        }
        if (!x->whole && !may_begin(x)) {
            respond_failed(x);
            return;
        }
        compress_begin(x);
        list_begin(x);
    }
    answer_compress(x, &b, !more);
    struct buf *out = buf_take(&b);
    http_write_buf(x->http, out);
    buf_unref(out);
    if (!more) {
        http_end(x->http);
        exchange_free(x);
    } else if (!http_over_high(x->http)) {
        soon_set(&x->more); /* else: when it has drained */
    }
}

static void list_go_on(struct soon *s)
{
    list_more(container_of(s, struct exchange, more));
}

static void list_drained(struct http_request *h)
{
    list_more(h->user);
}

static void list_gone(struct http_request *h)
{
    struct exchange *x = h->user;
    if (!h->gone)
        return; /* it has ended its side and may still read */
    http_abort(h);
    exchange_free(x);
}

static void respond_list(struct exchange *x)
{
    struct negotiated *form = &x->form;
    if (form->form == FORM_METADATA) {
        fail_plain(&x->r, 406,
                   "you requested PartialObjectMetadata, but the requested object is a list (*core." STR_FMT ")",
                   STR_ARG(x->r.kind->list_kind));
        x->r.answer.fail.reason = "NotAcceptable";
        respond_failed(x);
        return;
    }
    bool json = form->form == FORM_TABLE && form->media == MEDIA_PROTOBUF;
    x->listing = (struct listing){.arena = &x->r.arena,
                                  .kind = x->r.kind,
                                  .answer = &x->r.answer,
                                  .media = json ? MEDIA_JSON : form->media,
                                  .form = form->form,
                                  .beta = form->beta,
                                  .include = x->include};
    soon_init(&x->more, x->r.loop, list_go_on);
    list_more(x);
}

static void respond_obj(struct exchange *x)
{
    struct answer *ans = &x->r.answer;
    struct arena *a = &x->r.arena;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(MAX_ANSWER);
    struct val v;
    switch (x->form.form) {
    case FORM_TABLE:
        v = table_of(a, ans->obj->kind, &ans->obj, 1, x->include, true);
        if (ans->obj->rev)
            val_set_text(a, val_need_map(a, &v, N(metadata)), N(resourceVersion),
                         arena_fmt(a, "%lld", (long long)ans->obj->rev));
        meta_version_set(a, &v, x->form.beta);
        encode_tree(&b, x->form.media == MEDIA_PROTOBUF ? MEDIA_JSON : x->form.media, T(meta_v1_Table), &v);
        break;
    case FORM_METADATA:
        v = metadata_of(a, ans->obj);
        meta_version_set(a, &v, x->form.beta);
        encode_tree(&b, x->form.media, T(meta_v1_PartialObjectMetadata), &v);
        break;
    case FORM_METADATA_LIST:
        fail_plain(&x->r, 406,
                   "you requested PartialObjectMetadataList, but the requested object is not a list (*core." STR_FMT
                   ")",
                   STR_ARG(ans->obj->kind->kind));
        x->r.answer.fail.reason = "NotAcceptable";
        respond_failed(x);
        return;
    case FORM_PLAIN:
    case FORM_DISCOVERY: encode_obj(&b, x->form.media, ans->obj); break;
    }
    exchange_respond(x, ans->code, media_name(x->form.media), &b);
}

static void exchange_answered(struct request *r)
{
    struct exchange *x = container_of(r, struct exchange, r);
    switch (r->answer.type) {
    case ANSWER_OBJECT: respond_obj(x); return;
    case ANSWER_LIST: respond_list(x); return;
    case ANSWER_TREE: {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(MAX_ANSWER);
        if (x->form.form == FORM_TABLE && r->answer.tree_type == T(autoscaling_v1_Scale)) {
            r->answer.tree = table_of_scale(&r->arena, &r->answer.tree, x->include);
            meta_version_set(&r->arena, &r->answer.tree, x->form.beta);
            r->answer.tree_type = T(meta_v1_Table);
        }
        encode_tree(&b, x->form.media, r->answer.tree_type, &r->answer.tree);
        exchange_respond(x, r->answer.code, media_name(x->form.media), &b);
        return;
    }
    case ANSWER_FAILED:
    case ANSWER_NONE: respond_failed(x); return;
    }
}

/* --- one request --- */

static bool find_form(struct exchange *x, enum offer offer)
{
    struct err err = ERR;
    struct str accept = http_header(&x->http->headers, S("Accept"));
    struct negotiated n;
    if (media_negotiate(accept, offer, &n, &err)) {
        x->form = n;
        return true;
    }
    fail_plain(&x->r, 406, "%s", err.text);
    x->r.answer.fail.reason = "NotAcceptable";
    x->r.answer.fail.details = negotiate_first_layer(accept);
    return false;
}

static bool find_include(struct exchange *x)
{
    struct str i = front_query(&x->r, x->http, "includeObject");
    x->include = str_eq(i, S("None")) ? INCLUDE_NONE : str_eq(i, S("Object")) ? INCLUDE_OBJECT : INCLUDE_METADATA;
    if (x->form.form == FORM_TABLE && i.n && x->include == INCLUDE_METADATA && !str_eq(i, S("Metadata")))
        return fail_bad_request(&x->r,
                                "Unable to convert to Table as requested: includeObject: Invalid value: \"" STR_FMT
                                "\": must be 'Metadata', 'Object', 'None', or empty",
                                STR_ARG(i));
    return true;
}

/* Reviews, and what does something to an object without answering with it, are in no table. */
static bool answers_plainly(const struct request *r)
{
    static const char *const subs[] = {"binding", "eviction", "token"};
    bool plain = !r->sub.n && !(r->kind->verbs & (VERB_GET | VERB_LIST));
    for (size_t i = 0; i < countof(subs); i++)
        plain |= str_eqz(r->sub, subs[i]);
    return plain;
}

static bool exchange_prepare(struct exchange *x, const struct path_info *p)
{
    struct request *r = &x->r;
    if (!front_find_kind(r, x->http, p))
        return false;
    struct str agent = http_header(&x->http->headers, S("User-Agent"));
    r->user_agent = agent.p ? agent : S("");
    if (x->http->unread)
        return fail_plain(r, 413, "the body is larger than what is read of somebody without a name");
    if (nodeproxy_connects(r)) /* bodies and forms are a matter between the client and the node */
        return true;
    if (r->verb == VERB_PATCH && r->kind && !front_body_patch(r, x->http))
        return false;
    static const struct {
        const struct kind *kind;
        const char *text;
    } deprecated[] = {
        {K(Endpoints), "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"},
        {K(ComponentStatus), "v1 ComponentStatus is deprecated in v1.19+"},
    };
    for (size_t i = 0; i < countof(deprecated); i++)
        if (deprecated[i].kind == r->kind)
            answer_warn(r, str_of(deprecated[i].text));
    bool lists = r->verb == VERB_LIST || r->verb == VERB_WATCH, text = r->kind->custom && !str_eqz(r->sub, "scale");
    enum offer offer = text                 ? (lists ? OFFER_LIST_TEXT : OFFER_OBJECT_TEXT)
                       : lists              ? OFFER_LIST
                       : answers_plainly(r) ? OFFER_PLAIN
                                            : OFFER_OBJECT;
    if (!find_form(x, offer) || !find_include(x) || !options_of_query(r, x->http->query))
        return false;
    switch (r->verb) {
    case VERB_CREATE:
    case VERB_UPDATE: return front_body_object(r, x->http);
    case VERB_DELETE:
    case VERB_DELETECOLLECTION: return front_body_delete(r, x->http);
    case VERB_GET:
    case VERB_LIST:
    case VERB_WATCH:
    case VERB_PATCH: break;
    }
    return true;
}

/* Running something in a pod, or a stream to it, begins with a GET where it goes over a WebSocket: what it does is
 * asked for, too (upstream since 1.35: `create`). */
static bool authorize_action(struct exchange *x)
{
    static const struct {
        struct str resource, sub;
        bool always; /* else: where the connection is to be more than a GET's */
    } rows[] = {
        {S_INIT("pods"), S_INIT("exec"), true},        {S_INIT("pods"), S_INIT("attach"), true},
        {S_INIT("pods"), S_INIT("portforward"), true}, {S_INIT("pods"), S_INIT("proxy"), false},
        {S_INIT("services"), S_INIT("proxy"), false},  {S_INIT("nodes"), S_INIT("proxy"), false},
    };
    struct request *r = &x->r;
    bool acts = false, upgrade = http_header(&x->http->headers, S("Upgrade")).n > 0;
    for (size_t i = 0; i < countof(rows) && r->verb != VERB_CREATE; i++)
        acts |= (rows[i].always || upgrade) && str_eq(rows[i].resource, r->resource) && str_eq(rows[i].sub, r->sub);
    if (!acts)
        return true;
    struct str asked = r->verb_text;
    r->verb_text = S("create");
    bool may = request_authorize(r);
    r->verb_text = asked;
    return may;
}

static bool may_get_everything(struct request *r)
{
    struct attributes all = {.user = r->user,
                             .verb = S("get"),
                             .group = S("*"),
                             .version = S("*"),
                             .resource = S("*"),
                             .is_resource = true};
    struct str why;
    return rbac_allows(r->server, &r->arena, &all, &why) || request_forbid(r, &all, why);
}

/* Also where it has only ended its side, which looks the same: as upstream, who wants an answer stays. */
static void asker_gone(struct http_request *h)
{
    struct exchange *x = h->user;
    request_cancel(&x->r);
}

/* Exec, attach, port-forward and proxies pass admission, and are then a matter of nodeproxy.c. */
static enum write_next step_connect(struct write *w)
{
    struct exchange *x = container_of(w->r, struct exchange, r);
    x->http->on_gone = NULL;
    http_body_pause(x->http, false);
    nodeproxy_start(&x->r, x->http, x->rest);
    exchange_free(x);
    return WRITE_LATER;
}

static void option_set(struct arena *a, struct val *options, const struct field *f, struct str value)
{
    int64_t n;
    struct val *list = val_get_mut(options, f->name);
    if (f->type->kind == TYPE_BOOL) {
        if (str_eqz(value, "true") || str_eqz(value, "1"))
            val_set(a, options, f->name, val_bool(true));
        return;
    }
    if (f->type->kind != TYPE_LIST) {
        val_set(a, options, f->name, val_str(a, value));
        return;
    }
    if (!list)
        list = val_set(a, options, f->name, val_list());
    if (f->type->of->kind == TYPE_STRING)
        val_add(a, list, val_str(a, value));
    else if (str_to_i64(value, INT32_MIN, INT32_MAX, &n))
        val_add(a, list, val_int(n));
}

/* PodExecOptions, NodeProxyOptions ...: what the query says, for admission. NULL: it has none. */
static struct val *connect_options(struct exchange *x)
{
    struct arena *a = &x->r.arena;
    const char *kind = x->r.sub_row ? x->r.sub_row->kind : NULL;
    const struct type *t = kind ? root_type_find(S("v1"), str_of(kind)) : NULL;
    if (!t)
        return NULL;
    struct val *options = ARENA_NEW(a, struct val);
    *options = val_map();
    val_set_text(a, options, N(kind), str_of(kind));
    val_set_text(a, options, N(apiVersion), S("v1"));
    struct str query = x->http->query, name, value;
    struct err err = ERR;
    while (http_query_next(a, &query, &name, &value, &err))
        type_fields_each (f, t)
            if (!(f->flags & FIELD_INLINE) && str_eq(f->name->s, name))
                option_set(a, options, f, value);
    if (x->rest.n)
        val_set_text(a, options, N(path), arena_fmt(a, "/" STR_FMT, STR_ARG(x->rest)));
    return options;
}

static void start_connect(struct exchange *x)
{
    static const struct write_step steps[] = {
        {"mutate", write_mutate}, {"admit", write_admit}, {"connect", step_connect}, {NULL, NULL}};
    struct write *w = write_new(&x->r, steps);
    x->http->on_gone = asker_gone;
    if (x->http->streamed) /* nobody is there to take it yet */
        http_body_pause(x->http, true);
    admit_begin(&w->admission, &x->r, ADMIT_CONNECT, connect_options(x), NULL);
    w->admission.apart = true;
    write_start(w);
}

static void start_site(struct exchange *x)
{
    struct http_request *h = x->http;
    struct str path = h->path;
    while (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    site_fn *fn = site_find(path);
    if (!fn) {
        page_not_found(x);
        return;
    }
    if (!str_eq(h->method, S("GET")) && !(str_eq(h->method, S("HEAD")) && site_has_head(path))) {
        fail_not_allowed(&x->r);
        respond_failed(x);
        return;
    }
    if (site_is_everything(path) && !may_get_everything(&x->r)) {
        respond_failed(x);
        return;
    }
    struct site_call c = {x->r.server, x->r.kinds, h, path, h->query, &x->r.arena};
    fn(&c);
    exchange_free(x);
}

/* Who asks, found out before a body is read: whoever is nobody has little to say, and who is refused nothing. */
struct front_asker {
    bool known;
    struct user user;
};

static enum http_body request_headed(struct http_request *h, void *arg)
{
    struct front_asker *who = ARENA_NEW(&h->arena, struct front_asker);
    who->known = user_authenticate(arg, &h->arena, h, &who->user);
    h->user = who;
    return !who->known                                              ? HTTP_NOTHING
           : user_in_group(&who->user, S("system:unauthenticated")) ? HTTP_LITTLE
           : nodeproxy_streams(arg, h)                              ? HTTP_STREAM
                                                                    : HTTP_COLLECT;
}

static bool find_asker(struct exchange *x, const struct front_asker *who)
{
    struct http_request *h = x->http;
    if (!who)
        return user_authenticate(x->r.server, &x->r.arena, h, &x->user) || fail_unauthorized(&x->r);
    x->user = who->user;
    return who->known || fail_unauthorized(&x->r);
}

static void request_began(struct http_request *h, void *arg)
{
    struct server *s = arg;
    struct exchange *x = NEW(struct exchange);
    metrics_request_began(s, h);
    request_init(&x->r, s, s->loop, exchange_answered);
    x->http = h;
    const struct front_asker *who = h->user;
    h->user = x;
    struct request *r = &x->r;
    struct path_info p;
    r->path = h->path;
    r->user = &x->user;
    if (!path_parse(&r->arena, h->method, h->path, &p)) {
        fail_bad_request(r, "the path holds a bad escape");
        respond_failed(x);
        return;
    }
    if (!find_asker(x, who)) {
        respond_failed(x);
        return;
    }
    if (p.is_resource) {
        front_ask(r, h, &p);
        x->rest = p.rest;
    } else {
        AUTO(strbuf_fini) struct strbuf lower = STRBUF(64);
        for (size_t i = 0; i < h->method.n; i++)
            strbuf_addc(&lower, (char)(h->method.p[i] | 32));
        r->verb_text = str_dup(&r->arena, strbuf_str(&lower));
    }
    int64_t most_ns;
    if (!user_impersonate(r, h, &x->user) || !front_timeout(r, h, &most_ns) || !request_authorize(r)) {
        respond_failed(x);
        return;
    }
    if (aggregate_serves(s, h->path)) {
        aggregate_pass(r, h, most_ns);
        exchange_free(x);
        return;
    }
    if (!p.is_resource) {
        start_site(x);
        return;
    }
    if (str_eq(p.prefix, S("apis")) && !front_has_route(r, &p)) {
        page_not_found(x);
        return;
    }
    bool head_only = str_eq(h->method, S("HEAD"));
    if (head_only)
        r->verb = 0;
    if (!r->verb && !((head_only || str_eq(h->method, S("OPTIONS"))) && nodeproxy_any_method(r))) {
        fail_not_allowed(r);
        respond_failed(x);
        return;
    }
    if (!exchange_prepare(x, &p) || !authorize_action(x)) {
        respond_failed(x);
        return;
    }
    if (nodeproxy_connects(r)) {
        start_connect(x);
    } else if (nodeproxy_wanted(r)) {
        nodeproxy_start(r, h, x->rest);
        exchange_free(x);
    } else if (r->verb == VERB_WATCH) {
        if (front_watch_start(r, h, &x->form, x->include))
            exchange_free(x);
        else
            respond_failed(x);
    } else {
        h->on_gone = asker_gone;
        request_start(r);
    }
}

static void request_ended(const struct http_request *h, void *arg)
{
    metrics_request(arg, h);
}

const struct http_service front_service = {.head = request_headed, .request = request_began, .ended = request_ended};
