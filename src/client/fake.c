#include "client/fake.h"
#include "api/codec.h"
#include "api/patch.h"
#include "api/selector.h"
#include "api/strategy.h"
#include "base/clock.h"
#include "client/objset.h"
#include "sys/loop.h"

#define MAX_KINDS 256

struct logged {
    int64_t rev;
    enum watch_event type;
    struct obj *obj;
};
struct fake {
    struct transport t;
    struct objset *sets[MAX_KINDS];
    ARRAY(struct logged) log;
    int64_t rev, floor, delay;
    struct list calls, watches;
    int failing, losing;
    enum err_kind fail_kind;
    void (*on_write)(void *arg, struct obj *was, struct obj *now);
    void *arg;
    int (*on_get)(void *arg, struct str path, struct strbuf *body);
    void *get_arg;
    size_t writes;
};
struct fake_call { /* the question, on its way; then the answer, on its way back */
    struct fake *fake;
    struct call *call;
    struct call_options o;
    struct val body;
    struct arena arena;
    struct timer timer;
    struct list node;
    bool answered;
};
struct fake_selection {
    struct selector *labels;  /* NULL: all */
    struct field_term *terms; /* of metadata.name and type */
    size_t nterms;
};
struct fake_watch {
    struct fake *fake;
    struct watch *watch;
    const struct kind *kind;
    struct fake_selection selection;
    struct str ns;
    int64_t rev;
    struct arena arena;
    struct timer timer;
    struct list node;
    bool cut;
};

static struct fake *fake_of(const struct transport *t)
{
    return container_of(t, struct fake, t);
}

static int64_t some_delay(struct fake *f)
{
    return f->delay > 0 ? (int64_t)random_below((uint64_t)f->delay) : 0;
}

static struct objset *set_of(struct fake *f, const struct kind *k)
{
    ASSERT(k->id >= 0 && k->id < MAX_KINDS);
    if (!f->sets[k->id]) {
        f->sets[k->id] = NEW(struct objset);
        static const struct objindex *const indexes[] = {&index_namespace, &index_controller, NULL};
        objset_init(f->sets[k->id], k, indexes);
    }
    return f->sets[k->id];
}

static void watch_due(struct timer *t);

static void watches_wake(struct fake *f, const struct kind *k)
{
    list_each (w, &f->watches, struct fake_watch, node)
        if (w->kind == k && !timer_is_set(&w->timer))
            timer_set(&w->timer, some_delay(f));
}

/* The one place where anything changes. now NULL: removed. */
static struct obj *object_commit(struct fake *f, struct obj *was, const struct kind *k, const struct val *tree)
{
    struct objset *s = set_of(f, k);
    f->rev++;
    f->writes++;
    struct obj *now = obj_new(k, tree ? tree : &was->tree, f->rev);
    AUTO(obj_unref) struct obj *old = NULL;
    if (tree)
        old = objset_put(s, now);
    else
        old = objset_del(s, was->ns, was->name);
    enum watch_event type = !tree ? WATCH_DELETED : old ? WATCH_MODIFIED : WATCH_ADDED;
    array_push(&f->log, ((struct logged){f->rev, type, now}));
    if (f->on_write)
        f->on_write(f->arg, old, tree ? now : NULL);
    watches_wake(f, k);
    return now;
}

static bool has_finalizers(const struct val *tree)
{
    return val_len(val_at(tree, N(metadata), N(finalizers))) > 0 || val_len(val_at(tree, N(spec), N(finalizers))) > 0;
}

static bool about_to_go(const struct val *tree)
{
    return val_at(tree, N(metadata), N(deletionTimestamp)) && !has_finalizers(tree) &&
           val_num_at(tree, 0, N(metadata), N(deletionGracePeriodSeconds)) == 0;
}

static struct obj *object_keep(struct fake *f, struct obj *was, const struct kind *k, struct val *tree)
{
    if (was && val_equal(&was->tree, tree))
        return was;
    struct obj *now = object_commit(f, was, k, tree);
    return was && about_to_go(tree) ? object_commit(f, now, k, NULL) : now;
}

static bool object_missing(const struct call_options *o, struct err *err)
{
    return err_set(err, E_NOT_FOUND, STR_FMT " \"" STR_FMT "\" not found", STR_ARG(o->kind->plural),
                   STR_ARG(o->name));
}

static bool rev_expected(const struct call_options *o, const struct obj *have, struct err *err)
{
    if (o->expect_rev && o->expect_rev != have->rev)
        return err_set(err, E_CONFLICT,
                       "Operation cannot be fulfilled on " STR_FMT " \"" STR_FMT "\": the object has been modified; "
                       "please apply your changes to the latest version and try again",
                       STR_ARG(o->kind->plural), STR_ARG(o->name));
    if (o->expect_uid.n > 0 && !str_eq(o->expect_uid, have->uid))
        return err_set(err, E_CONFLICT,
                       "Precondition failed: UID in precondition: " STR_FMT ", UID in object meta: " STR_FMT,
                       STR_ARG(o->expect_uid), STR_ARG(have->uid));
    return true;
}

static void uid_set(struct arena *a, struct val *meta)
{
    unsigned char r[16];
    random_bytes(r, sizeof r);
    val_set(a, meta, N(uid),
            val_str(a, arena_fmt(a, "%02x%02x%02x%02x-%02x%02x-4%x%02x-a%x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1],
                                 r[2], r[3], r[4], r[5], r[6] & 15, r[7], r[8] & 15, r[9], r[10], r[11], r[12], r[13],
                                 r[14], r[15])));
}

static struct obj *object_create(struct fake *f, const struct call_options *o, struct arena *a, struct err *err)
{
    struct val tree = val_copy(a, o->body);
    struct val *meta = val_need_map(a, &tree, N(metadata));
    if (o->kind->namespaced)
        val_set_text(a, meta, N(namespace), o->ns);
    if (!val_get(meta, N(name)))
        val_set(a, meta, N(name),
                val_str(a, arena_fmt(a, STR_FMT "%05d", STR_ARG(val_text(val_get(meta, N(generateName)))),
                                     (int)random_below(100000))));
    struct str name = val_text(val_get(meta, N(name)));
    if (objset_get(set_of(f, o->kind), o->ns, name)) {
        err_set(err, E_ALREADY_EXISTS, STR_FMT " \"" STR_FMT "\" already exists", STR_ARG(o->kind->plural),
                STR_ARG(name));
        return NULL;
    }
    if (!val_get(meta, N(uid)))
        uid_set(a, meta);
    val_set(a, meta, N(creationTimestamp), val_str(a, time_text(a, clock_real())));
    kind_default(a, o->kind, &tree);
    kind_prepare_create(a, o->kind, &tree, clock_real());
    return object_keep(f, NULL, o->kind, &tree);
}

static struct obj *pod_bind(struct fake *f, struct obj *pod, const struct call_options *o, struct arena *a,
                            struct err *err)
{
    if (val_text_at(&pod->tree, N(spec), N(nodeName)).n > 0) {
        err_set(err, E_CONFLICT,
                "Operation cannot be fulfilled on pods/binding \"" STR_FMT "\": pod " STR_FMT
                " is already assigned to "
                "node \"" STR_FMT "\"",
                STR_ARG(pod->name), STR_ARG(pod->name), STR_ARG(val_text_at(&pod->tree, N(spec), N(nodeName))));
        return NULL;
    }
    if (obj_deleting(pod)) {
        err_set(err, E_CONFLICT,
                "Operation cannot be fulfilled on pods/binding \"" STR_FMT "\": pod " STR_FMT
                " is being deleted, cannot be assigned to a host",
                STR_ARG(pod->name), STR_ARG(pod->name));
        return NULL;
    }
    struct val tree = val_copy(a, &pod->tree);
    val_set_text(a, val_need_map(a, &tree, N(spec)), N(nodeName), val_text_at(o->body, N(target), N(name)));
    struct val c = val_map();
    val_set_text(a, &c, N(type), S("PodScheduled"));
    val_set_text(a, &c, N(status), S("True"));
    struct val *status = val_need_map(a, &tree, N(status)), list = val_list();
    val_each_item (it, val_get(status, N(conditions)))
        if (!str_eqz(val_text_at(it, N(type)), "PodScheduled"))
            val_add(a, &list, *it);
    val_add(a, &list, c);
    val_set(a, status, N(conditions), list);
    val_del(status, N(nominatedNodeName));
    return object_keep(f, pod, o->kind, &tree);
}

static struct obj *object_change(struct fake *f, struct obj *was, const struct call_options *o, struct val tree,
                                 struct arena *a, struct err *err)
{
    (void)err;
    if (str_eqz(o->sub, "finalize")) {
        struct val now = val_copy(a, &was->tree);
        const struct val *list = val_at(&tree, N(spec), N(finalizers));
        val_set(a, val_need_map(a, &now, N(spec)), N(finalizers), list ? *list : val_list());
        return object_keep(f, was, o->kind, &now);
    }
    if (str_eqz(o->sub, "scale")) {
        struct val now = val_copy(a, &was->tree);
        kind_scale_apply(a, o->kind, &now, &tree);
        kind_prepare_update(a, o->kind, S(""), &now, &was->tree, clock_real());
        return object_keep(f, was, o->kind, &now);
    }
    kind_default(a, o->kind, &tree);
    kind_prepare_update(a, o->kind, o->sub, &tree, &was->tree, clock_real());
    return object_keep(f, was, o->kind, &tree);
}

static struct obj *object_remove(struct fake *f, struct obj *was, const struct call_options *o, struct arena *a)
{
    struct val tree = val_copy(a, &was->tree);
    struct val *meta = val_need_map(a, &tree, N(metadata));
    const char *finalizer = o->propagation == PROPAGATION_FOREGROUND ? "foregroundDeletion"
                            : o->propagation == PROPAGATION_ORPHAN   ? "orphan"
                                                                     : NULL;
    if (finalizer) {
        struct val *list = val_get_mut(meta, N(finalizers));
        if (!list)
            list = val_set(a, meta, N(finalizers), val_list());
        val_add(a, list, val_str(a, str_of(finalizer)));
    }
    int64_t grace = kind_delete_grace(o->kind, &tree, o->grace_s >= 0, o->grace_s);
    if (!has_finalizers(&tree) && grace == 0)
        return object_commit(f, was, o->kind, NULL);
    if (val_get(meta, N(deletionTimestamp)) && val_num_at(meta, 0, N(deletionGracePeriodSeconds)) <= grace)
        return was;
    val_set(a, meta, N(deletionTimestamp), val_str(a, time_text(a, clock_real() + grace * NS_PER_S)));
    val_set_num(a, meta, N(deletionGracePeriodSeconds), grace);
    val_set_num(a, meta, N(generation), val_num_at(meta, 0, N(generation)) + 1);
    if (str_eqz(o->kind->kind, "Namespace"))
        val_set_text(a, val_need_map(a, &tree, N(status)), N(phase), S("Terminating"));
    return object_keep(f, was, o->kind, &tree);
}

static struct obj *answer_one(struct fake *f, const struct call_options *o, struct arena *a, struct err *err)
{
    struct obj *have = objset_get(set_of(f, o->kind), o->ns, o->name);
    if (o->verb == CALL_CREATE && o->sub.n == 0)
        return object_create(f, o, a, err);
    if (!have || (o->verb != CALL_GET && !rev_expected(o, have, err)))
        return have ? NULL : (void)object_missing(o, err), NULL;
    struct val tree = VAL_NONE;
    switch (o->verb) {
    case CALL_GET: return have;
    case CALL_CREATE:
        if (str_eqz(o->sub, "binding"))
            return pod_bind(f, have, o, a, err);
        if (str_eqz(o->sub, "eviction"))
            return object_remove(f, have, o, a);
        break;
    case CALL_UPDATE: return object_change(f, have, o, val_copy(a, o->body), a, err);
    case CALL_PATCH:
        if (o->patch == PATCH_MERGE       ? patch_merge(a, &have->tree, o->body, &tree, err)
            : o->patch == PATCH_STRATEGIC ? patch_strategic(a, kind_type(o->kind), &have->tree, o->body, &tree, err)
                                          : patch_json(a, &have->tree, o->body, &tree, err))
            return object_change(f, have, o, tree, a, err);
        return NULL;
    case CALL_DELETE: return object_remove(f, have, o, a);
    case CALL_LIST:
    case CALL_DELETE_COLLECTION:
    case CALL_RAW: break;
    }
    err_set(err, E_NOT_IMPLEMENTED, "the fake does not know this call");
    return NULL;
}

static bool selection_read(struct arena *a, struct str labels, struct str fields, struct fake_selection *s,
                           struct err *err)
{
    *s = (struct fake_selection){0};
    return (labels.n == 0 || selector_parse(a, labels, &s->labels, err)) &&
           (fields.n == 0 || field_selector_parse(a, fields, &s->terms, &s->nterms, err));
}

static bool object_selected(const struct obj *o, struct str ns, const struct fake_selection *s)
{
    for (size_t i = 0; i < s->nterms; i++) {
        bool name = str_eqz(s->terms[i].path, "metadata.name");
        struct str has = name ? o->name : val_text(val_get_str(&o->tree, s->terms[i].path));
        if (str_eq(has, s->terms[i].value) != s->terms[i].equal)
            return false;
    }
    return (ns.n == 0 || str_eq(ns, o->ns)) && (!s->labels || selector_matches(s->labels, obj_labels(o)));
}

static bool list_collect(struct fake *f, const struct call_options *o, struct arena *a, struct obj ***items,
                         size_t *n, struct err *err)
{
    struct objset *s = set_of(f, o->kind);
    struct fake_selection selection;
    if (!selection_read(a, o->label_selector, o->field_selector, &selection, err))
        return false;
    *items = arena_alloc(a, (objset_len(s) + 1) * sizeof **items);
    *n = 0;
    struct obj *obj;
    for (struct objset_iter it = objset_all(s); (obj = objset_next(&it));)
        if (object_selected(obj, o->ns, &selection))
            (*items)[(*n)++] = obj_ref(obj);
    return true;
}

static bool call_execute(struct fake *f, struct fake_call *fc)
{
    struct call *c = fc->call;
    const struct call_options *o = &fc->o;
    if (f->failing > 0) {
        f->failing--;
        return err_set(&c->err, f->fail_kind, "injected failure");
    }
    if (o->verb == CALL_RAW) {
        AUTO(strbuf_fini) struct strbuf body = STRBUF(1 << 20);
        c->http = f->on_get ? f->on_get(f->get_arg, o->path, &body) : 404;
        c->bytes = str_dup(&c->arena, strbuf_str(&body));
        return c->http == 200 || err_set(&c->err, err_kind_of(S(""), c->http), "the server answered %d", c->http);
    }
    if (o->verb == CALL_LIST) {
        c->rev = f->rev;
        if (o->marks)
            watches_wake(f, o->kind); /* they tell how far they are where they have nothing else to tell */
        return list_collect(f, o, &c->arena, &c->items, &c->n, &c->err);
    }
    if (o->verb == CALL_DELETE_COLLECTION) {
        struct obj **items;
        size_t n;
        if (!list_collect(f, o, &fc->arena, &items, &n, &c->err))
            return false;
        for (size_t i = 0; i < n; i++) {
            if (!obj_deleting(items[i]))
                object_remove(f, items[i], o, &fc->arena);
            obj_unref(items[i]);
        }
        return true;
    }
    struct obj *obj = answer_one(f, o, &fc->arena, &c->err);
    if (!obj)
        return false;
    c->obj = obj_ref(obj);
    c->rev = obj->rev;
    return true;
}

static void call_free(struct fake_call *fc)
{
    timer_stop(&fc->timer);
    list_del(&fc->node);
    arena_fini(&fc->arena);
    mem_free(fc);
}

static void call_due(struct timer *t)
{
    struct fake_call *fc = container_of(t, struct fake_call, timer);
    struct call *c = fc->call;
    if (!fc->answered) {
        c->ok = call_execute(fc->fake, fc);
        if (c->ok && fc->fake->losing > 0) {
            fc->fake->losing--;
            c->ok = err_set(&c->err, E_UNAVAILABLE, "the answer is lost");
            c->http = 0;
        } else {
            c->http = c->http ? c->http : c->ok ? 200 : err_http(c->err.kind);
        }
        fc->answered = true;
        timer_set(&fc->timer, some_delay(fc->fake));
        return;
    }
    call_free(fc);
    call_finish(c);
}

static void fake_call_start(struct transport *t, struct call *c, const struct call_options *o)
{
    struct fake *f = fake_of(t);
    struct fake_call *fc = NEW(struct fake_call);
    fc->fake = f;
    fc->call = c;
    fc->o = *o;
    struct str *texts[] = {&fc->o.ns,         &fc->o.name,           &fc->o.sub,
                           &fc->o.expect_uid, &fc->o.label_selector, &fc->o.field_selector,
                           &fc->o.path};
    for (size_t i = 0; i < countof(texts); i++)
        *texts[i] = str_dup(&fc->arena, *texts[i]);
    if (o->body) {
        fc->body = val_copy(&fc->arena, o->body);
        fc->o.body = &fc->body;
    }
    c->impl = fc;
    timer_init(&fc->timer, t->loop, call_due);
    timer_set(&fc->timer, some_delay(f));
    list_add_tail(&f->calls, &fc->node);
}

static void fake_call_cancel(struct transport *t, struct call *c)
{
    (void)t;
    call_free(c->impl);
}

static void watch_free(struct fake_watch *w)
{
    timer_stop(&w->timer);
    list_del(&w->node);
    arena_fini(&w->arena);
    mem_free(w);
}

static void watch_due(struct timer *t)
{
    struct fake_watch *w = container_of(t, struct fake_watch, timer);
    struct fake *f = w->fake;
    struct watch *watch = w->watch;
    struct err err = ERR;
    if (w->rev < f->floor)
        err_set(&err, E_EXPIRED, "too old resource version: %lld (%lld)", (long long)w->rev, (long long)f->floor);
    else if (w->cut)
        err_set(&err, E_IO, "the line broke");
    if (err.kind) {
        watch_free(w);
        watch_over(watch, &err);
        return;
    }
    for (size_t i = 0; i < f->log.n; i++) {
        struct logged *l = &f->log.p[i];
        if (l->rev <= w->rev || l->obj->kind != w->kind || !object_selected(l->obj, w->ns, &w->selection))
            continue;
        w->rev = l->rev;
        timer_set(&w->timer, some_delay(f)); /* the next one, before the callback may stop the watch */
        AUTO(obj_unref) struct obj *obj = obj_ref(l->obj);
        watch->event(watch, l->type, obj, l->rev, false);
        return;
    }
    if (w->rev < f->rev) {
        w->rev = f->rev;
        watch->event(watch, WATCH_BOOKMARK, NULL, f->rev, false);
    }
}

static void fake_watch_start(struct transport *t, struct watch *watch, const struct watch_options *o)
{
    struct fake *f = fake_of(t);
    struct fake_watch *w = NEW(struct fake_watch);
    *w = (struct fake_watch){.fake = f, .watch = watch, .kind = o->kind, .rev = o->rev};
    struct err err = ERR;
    w->ns = str_dup(&w->arena, o->ns);
    ASSERT(selection_read(&w->arena, o->label_selector, o->field_selector, &w->selection, &err));
    watch->impl = w;
    timer_init(&w->timer, t->loop, watch_due);
    timer_set(&w->timer, some_delay(f));
    list_add_tail(&f->watches, &w->node);
}

static void fake_watch_stop(struct transport *t, struct watch *w)
{
    (void)t;
    watch_free(w->impl);
}

static void fake_free(struct transport *t)
{
    struct fake *f = fake_of(t);
    ASSERT(list_empty(&f->calls) && list_empty(&f->watches));
    array_each (l, &f->log)
        obj_unref(l->obj);
    array_fini(&f->log);
    for (size_t i = 0; i < MAX_KINDS; i++)
        if (f->sets[i]) {
            objset_fini(f->sets[i]);
            mem_free(f->sets[i]);
        }
    mem_free(f);
}

static const struct transport_ops fake_ops = {
    .name = "fake",
    .call_start = fake_call_start,
    .call_cancel = fake_call_cancel,
    .watch_start = fake_watch_start,
    .watch_stop = fake_watch_stop,
    .free = fake_free,
};

struct transport *fake_new(struct loop *l, int64_t most_delay_ns)
{
    struct fake *f = NEW(struct fake);
    f->t = (struct transport){&fake_ops, l};
    f->delay = most_delay_ns;
    f->rev = 100;
    list_init(&f->calls);
    list_init(&f->watches);
    return &f->t;
}

struct obj *fake_put(struct transport *t, const struct kind *k, const struct val *tree)
{
    struct fake *f = fake_of(t);
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v = val_copy(&a, tree);
    kind_default(&a, k, &v);
    struct val *meta = val_need_map(&a, &v, N(metadata));
    if (k->namespaced && !val_get(meta, N(namespace)))
        val_set_text(&a, meta, N(namespace), S("default"));
    struct obj *was = objset_get(set_of(f, k), val_text(val_get(meta, N(namespace))),
                                 val_text(val_get(meta, N(name))));
    if (was && !val_get(meta, N(uid))) /* it is changed, and stays the one that it is */
        val_set(&a, meta, N(uid), val_str(&a, was->uid));
    else if (!val_get(meta, N(uid)))
        uid_set(&a, meta);
    if (!val_get(meta, N(creationTimestamp)))
        val_set(&a, meta, N(creationTimestamp), val_str(&a, time_text(&a, clock_real())));
    return object_keep(f, was, k, &v);
}

struct obj *fake_put_yaml(struct transport *t, struct str yaml)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val any, v;
    struct err err = ERR;
    struct decode_notes notes = {.arena = &a};
    if (!yaml_decode(&a, yaml, &any, &err))
        assert_failed(err.text, __FILE__, __LINE__);
    const struct kind *k = kind_of_api_version(val_text_at(&any, N(apiVersion)), val_text_at(&any, N(kind)));
    ASSERT(k);
    if (!type_decode_val(&a, kind_type(k), &any, &v, &notes, &err))
        assert_failed(err.text, __FILE__, __LINE__);
    array_fini(&notes.texts);
    return fake_put(t, k, &v);
}

struct obj *fake_get(struct transport *t, const struct kind *k, struct str ns, struct str name)
{
    return objset_get(set_of(fake_of(t), k), ns, name);
}

const struct objset *fake_set(struct transport *t, const struct kind *k)
{
    return set_of(fake_of(t), k);
}

void fake_remove(struct transport *t, const struct kind *k, struct str ns, struct str name)
{
    struct obj *was = fake_get(t, k, ns, name);
    if (was)
        object_commit(fake_of(t), was, k, NULL);
}

int64_t fake_rev(const struct transport *t)
{
    return fake_of(t)->rev;
}

void fake_compact(struct transport *t)
{
    struct fake *f = fake_of(t);
    array_each (l, &f->log)
        obj_unref(l->obj);
    array_clear(&f->log);
    f->floor = f->rev;
}

void fake_cut(struct transport *t)
{
    list_each (w, &fake_of(t)->watches, struct fake_watch, node) {
        w->cut = true;
        timer_set(&w->timer, 0);
    }
}

void fake_fail(struct transport *t, int n, enum err_kind kind)
{
    fake_of(t)->failing = n;
    fake_of(t)->fail_kind = kind;
}

void fake_lose(struct transport *t, int n)
{
    fake_of(t)->losing = n;
}

void fake_on_write(struct transport *t, void (*fn)(void *arg, struct obj *was, struct obj *now), void *arg)
{
    fake_of(t)->on_write = fn;
    fake_of(t)->arg = arg;
}

void fake_on_get(struct transport *t, int (*fn)(void *arg, struct str path, struct strbuf *body), void *arg)
{
    fake_of(t)->on_get = fn;
    fake_of(t)->get_arg = arg;
}

size_t fake_writes(const struct transport *t)
{
    return fake_of(t)->writes;
}
