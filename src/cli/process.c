/* process.c - the transport inside the server's own process (process.h): the calls and watches of client/transport.h
 * as requests of server/request.h, without bytes in between.
 *
 * A call becomes a request with the user of an account, and passes everything that a request over HTTP passes from
 * authorization on; so a controller needs its rights here, too. Only the body is brought into the server's form:
 * decoded by type, with what is expected of the object (revision, uid) in its metadata. The answer's objects are
 * handed over as references.
 *
 * A call that is taken back before its answer lets the request go on: it may have written by then. It only loses its
 * listener (`call` NULL), and the request is freed when it is done.
 *
 * Paths that are no resources of this server (CALL_RAW: what another server serves behind an APIService) are asked
 * over HTTP, on a connection of this process to itself, with the rights of the same account.
 *
 * What cannot be begun is refused in a later turn and never from inside the caller's call, as with every transport:
 * calls by loop_post, watches by a timer, because a watch may be stopped in between and a timer can be taken back.
 */
#include "cli/process.h"
#include "api/codec.h"
#include "client/http.h"
#include "server/front.h"
#include "server/rbac.h"
#include "server/watch.h"
#include <errno.h>
#include <sys/socket.h>

struct process_transport {
    struct transport base;
    struct server *server;
    struct arena arena;
    struct user user;
    struct str groups[3];
    struct str agent;      /* whose fields they are: as upstream's program of that account */
    struct transport *raw; /* over HTTP; NULL: nobody has asked so yet */
};
struct process_asking { /* one call under way */
    struct request request;
    struct call *call; /* NULL: taken back; the request ends by itself */
    enum call_verb verb;
};
struct watch_run {
    struct watching watching;
    struct watch *watch;
    struct request request;
    struct timer refused; /* told in a later turn */
    struct failure fail;
};

static struct process_transport *process_of(struct transport *t)
{
    return container_of(t, struct process_transport, base);
}

static void fail_to_err(const struct failure *f, struct err *err)
{
    (void)err_set(err, err_kind_of(str_of(f->reason), f->code), STR_FMT, STR_ARG(f->message));
}

/* --- calls ----------------------------------------------------------------------------------------------- */

static void take_answer(struct process_asking *x, struct call *c)
{
    struct answer *a = &x->request.answer;
    c->http = a->code;
    c->ok = a->type != ANSWER_FAILED;
    switch (a->type) {
    case ANSWER_OBJECT:
        c->obj = obj_ref(a->obj);
        c->rev = a->obj->rev;
        break;
    case ANSWER_LIST:
        c->items = arena_alloc(&c->arena, (a->n + 1) * sizeof(struct obj *));
        for (; c->n < a->n; c->n++)
            c->items[c->n] = obj_ref(a->items[c->n]);
        c->rev = a->rev;
        c->continue_token = str_dup(&c->arena, a->continued);
        break;
    case ANSWER_TREE: {
        struct val *v = ARENA_NEW(&c->arena, struct val);
        *v = val_copy(&c->arena, &a->tree);
        c->tree = v;
        break;
    }
    case ANSWER_FAILED:
        fail_to_err(&a->fail, &c->err);
        c->retry_after_ns = a->fail.retry_after_s * NS_PER_S;
        break;
    case ANSWER_NONE: break;
    }
    AUTO(strbuf_fini) struct strbuf warnings = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < a->warnings.n; i++)
        strbuf_addf(&warnings, "%s" STR_FMT, i ? "\n" : "", STR_ARG(a->warnings.p[i]));
    if (warnings.n)
        c->warnings = arena_strz(&c->arena, strbuf_str(&warnings));
}

static void on_done(struct request *r)
{
    struct process_asking *x = container_of(r, struct process_asking, request);
    struct call *c = x->call;
    if (c)
        take_answer(x, c);
    request_fini(r);
    mem_free(x);
    if (c)
        call_finish(c);
}

static struct str str_borrow(struct request *r, struct str s)
{
    return s.p ? str_dup(&r->arena, s) : s;
}

static enum verb verb_of(enum call_verb v)
{
    switch (v) {
    case CALL_GET: return VERB_GET;
    case CALL_LIST: return VERB_LIST;
    case CALL_CREATE: return VERB_CREATE;
    case CALL_UPDATE: return VERB_UPDATE;
    case CALL_PATCH: return VERB_PATCH;
    case CALL_DELETE: return VERB_DELETE;
    case CALL_DELETE_COLLECTION: return VERB_DELETECOLLECTION;
    case CALL_RAW: break;
    }
    return 0;
}

static void set_options(struct request *r, const struct call_options *o)
{
    static const enum patch_format formats[] = {[PATCH_JSON] = FORMAT_JSON_PATCH,
                                                [PATCH_MERGE] = FORMAT_MERGE_PATCH,
                                                [PATCH_STRATEGIC] = FORMAT_STRATEGIC_PATCH,
                                                [PATCH_APPLY] = FORMAT_APPLY_PATCH};
    static const char *const propagations[] = {"", "Background", "Foreground", "Orphan"};
    struct request_options *to = &r->options;
    to->dry_run = o->dry_run;
    to->field_manager = str_borrow(r, o->field_manager);
    to->resource_version = str_borrow(r, o->resource_version);
    to->resource_version_match = str_borrow(r, o->resource_version_match);
    to->continue_token = str_borrow(r, o->continue_token);
    to->label_selector = str_borrow(r, o->label_selector);
    to->field_selector = str_borrow(r, o->field_selector);
    to->limit = o->limit;
    to->bookmarks = o->marks;
    to->patch = formats[o->patch];
    to->grace_said = o->grace_s >= 0;
    to->grace_s = MAX(o->grace_s, 0);
    to->propagation = str_of(propagations[o->propagation]);
    if (o->verb == CALL_DELETE && o->expect_uid.n)
        to->expect_uid = str_borrow(r, o->expect_uid);
    if (o->verb == CALL_DELETE && o->expect_rev)
        to->expect_rev = arena_fmt(&r->arena, "%lld", (long long)o->expect_rev);
}

/* The body as the server wants it: decoded by type, what is expected of the object in its metadata. */
static bool set_body(struct request *r, const struct call_options *o, struct err *err)
{
    struct arena *a = &r->arena;
    struct val *v = ARENA_NEW(a, struct val);
    if (!o->body)
        return true;
    *v = val_copy(a, o->body);
    if ((o->verb == CALL_UPDATE || o->verb == CALL_PATCH) && v->type == VAL_MAP &&
        (o->expect_rev || o->expect_uid.n)) {
        struct val *meta = val_need_map(a, v, N(metadata));
        if (o->expect_rev)
            val_set(a, meta, N(resourceVersion), val_str(a, arena_fmt(a, "%lld", (long long)o->expect_rev)));
        if (o->expect_uid.n)
            val_set(a, meta, N(uid), val_str(a, o->expect_uid));
    }
    const struct type *sub = r->sub_row ? type_of_sub(r->sub_row) : NULL;
    const struct type *t = o->body_type ? o->body_type : sub ? sub : kind_type(r->kind);
    if (o->verb != CALL_PATCH) {
        struct val typed;
        if (!type_decode_val(a, t, v, &typed, NULL, err))
            return false;
        *v = typed;
    }
    r->body = v;
    r->body_name = val_text_at(v, N(metadata), N(name));
    return true;
}

static void asking_refuse(struct process_asking *x, const struct err *err)
{
    struct answer *a = &x->request.answer;
    a->type = ANSWER_FAILED;
    a->code = a->fail.code = err_http(err->kind);
    a->fail.reason = err_reason(err->kind);
    a->fail.message = str_dup(&x->request.arena, str_of(err->text));
}

static void asking_finish(void *arg)
{
    struct process_asking *x = arg;
    on_done(&x->request);
}

static int pair_make(void *arg, struct err *err)
{
    struct process_transport *t = arg;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        (void)err_errno(err, "a pair of sockets");
        return -1;
    }
    server_meet(t->server, pair[0]);
    return pair[1];
}

static struct transport *raw_of(struct process_transport *t, struct err *err)
{
    struct http_transport_config c = {.server = S("http://this-server"),
                                      .user_agent = t->agent,
                                      .impersonate = t->user.name,
                                      .dial = pair_make,
                                      .dial_arg = t};
    if (!t->raw)
        t->raw = http_transport_new(t->base.loop, &c, err);
    return t->raw;
}

static void call_start_process(struct transport *base, struct call *c, const struct call_options *o)
{
    struct process_transport *t = process_of(base);
    struct err none = ERR;
    if (o->verb == CALL_RAW && raw_of(t, &none)) { /* the address above is one: it is always made */
        c->transport = t->raw;
        t->raw->ops->call_start(t->raw, c, o);
        return;
    }
    struct process_asking *x = NEW(struct process_asking);
    struct request *r = &x->request;
    struct err err = ERR;
    x->call = c;
    x->verb = o->verb;
    c->impl = x;
    request_init(r, t->server, base->loop, on_done);
    r->user = &t->user;
    r->user_agent = t->agent;
    r->as_stored = true;
    request_for(r, verb_of(o->verb), o->kind, str_borrow(r, o->ns), str_borrow(r, o->name), str_borrow(r, o->sub));
    set_options(r, o);
    if (set_body(r, o, &err)) {
        request_start(r);
        return;
    }
    asking_refuse(x, &err);
    loop_post(base->loop, asking_finish, x);
}

static void call_cancel_process(struct transport *base, struct call *c)
{
    (void)base;
    struct process_asking *x = c->impl;
    x->call = NULL;
}

/* --- watches --------------------------------------------------------------------------------------------- */

static void run_free(struct watch_run *w)
{
    timer_stop(&w->refused);
    request_fini(&w->request);
    mem_free(w);
}

static void on_event(struct watching *core, struct notice *n)
{
    static const enum watch_event types[] = {[WATCH_TYPE_ADDED] = WATCH_ADDED,
                                             [WATCH_TYPE_MODIFIED] = WATCH_MODIFIED,
                                             [WATCH_TYPE_DELETED] = WATCH_DELETED,
                                             [WATCH_TYPE_BOOKMARK] = WATCH_BOOKMARK};
    struct watch_run *w = container_of(core, struct watch_run, watching);
    w->watch->event(w->watch, types[n->type], n->obj, n->rev, n->initial_end);
}

static void watch_end(struct watch_run *w, const struct failure *fail)
{
    struct watch *watch = w->watch;
    struct err err = ERR;
    if (fail->code)
        fail_to_err(fail, &err);
    watch->transport = NULL;
    watch->impl = NULL;
    run_free(w);
    watch->ended(watch, &err);
}

static void on_ended(struct watching *core, const struct failure *fail)
{
    watch_end(container_of(core, struct watch_run, watching), fail);
}

static void on_refused(struct timer *t)
{
    struct watch_run *w = container_of(t, struct watch_run, refused);
    struct failure fail = w->request.answer.fail;
    watch_end(w, &fail);
}

static void never_done(struct request *r)
{
    (void)r; /* a watch is not answered by its request */
}

static void watch_start_process(struct transport *base, struct watch *watch, const struct watch_options *o)
{
    struct process_transport *t = process_of(base);
    struct watch_run *w = NEW(struct watch_run);
    struct request *r = &w->request;
    w->watch = watch;
    watch->impl = w;
    timer_init(&w->refused, base->loop, on_refused);
    request_init(r, t->server, base->loop, never_done);
    r->user = &t->user;
    r->as_stored = true;
    request_for(r, VERB_WATCH, o->kind, str_borrow(r, o->ns), STR_NONE, STR_NONE);
    r->options.watch = true;
    r->options.bookmarks = !o->no_bookmarks;
    r->options.label_selector = str_borrow(r, o->label_selector);
    r->options.field_selector = str_borrow(r, o->field_selector);
    r->options.timeout_s = o->timeout_s;
    if (o->rev)
        r->options.resource_version = arena_fmt(&r->arena, "%lld", (long long)o->rev);
    if (o->initial) {
        r->options.send_initial_events = SAID_YES;
        r->options.resource_version_match = S("NotOlderThan");
    }
    w->watching = (struct watching){.loop = base->loop, .event = on_event, .ended = on_ended};
    if (!request_authorize(r) || !watching_start(&w->watching, r))
        timer_set(&w->refused, 0);
}

static void watch_stop_process(struct transport *base, struct watch *watch)
{
    (void)base;
    struct watch_run *w = watch->impl;
    watching_stop(&w->watching);
    watch->impl = NULL;
    run_free(w);
}

/* --- the transport --------------------------------------------------------------------------------------- */

static void free_process(struct transport *base)
{
    struct process_transport *t = process_of(base);
    transport_free(t->raw);
    arena_fini(&t->arena);
    mem_free(t);
}

struct transport *process_transport_new(struct loop *l, struct server *s, const char *account)
{
    static const struct transport_ops ops = {.name = "process",
                                             .call_start = call_start_process,
                                             .call_cancel = call_cancel_process,
                                             .watch_start = watch_start_process,
                                             .watch_stop = watch_stop_process,
                                             .free = free_process};
    struct process_transport *t = NEW(struct process_transport);
    t->base = (struct transport){&ops, l};
    t->server = s;
    t->groups[0] = S("system:serviceaccounts");
    t->groups[1] = S("system:serviceaccounts:kube-system");
    t->groups[2] = S("system:authenticated");
    t->agent = !strcmp(account, "system:kube-scheduler") ? S("kube-scheduler")
               : !strcmp(account, "crd-controller")      ? S("kube-apiserver") /* upstream's is inside of it */
                                                         : S("kube-controller-manager");
    if (str_starts(str_of(account), S("system:")))
        t->user = (struct user){.name = str_of(account), .groups = t->groups + 2, .ngroups = 1};
    else
        t->user = (struct user){.name = arena_fmt(&t->arena, "system:serviceaccount:kube-system:%s", account),
                                .groups = t->groups,
                                .ngroups = 3};
    return &t->base;
}
