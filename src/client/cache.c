#include "client/cache.h"
#include "base/array.h"
#include "base/log.h"
#include "sys/loop.h"

#define BACKOFF_MIN (100 * NS_PER_MS)
#define BACKOFF_MAX (10 * NS_PER_S)
#define MARK_AGAIN  (200 * NS_PER_MS)
#define MARK_AWAY   NS_PER_S

struct cache {
    struct transport *transport;
    struct objset set;
    char *ns, *labels, *fields;
    int64_t page, rev;
    bool started, synced;
    struct call list;
    ARRAY(struct obj *) pages; /* of a list under way */
    int64_t list_rev;
    char *continue_token;
    struct watch watch;
    int64_t watch_since;
    struct timer again; /* list or watch after a back-off */
    bool relist;
    int64_t backoff;
    struct list handlers;
    struct timer tell; /* handlers that came late */
    struct obj *(*trim)(const struct obj *o);
    int64_t reach;       /* cache_rev is to come there; not above it: nobody waits */
    struct call mark;    /* asks for that */
    int64_t marked;      /* the server was there when it was last asked */
    struct timer remark; /* the answer to that may have been lost with the watch */
};

static void mark_ask(struct cache *c)
{
    if (!c->started || c->rev >= c->reach || call_active(&c->mark))
        return;
    call_start(&c->mark, c->transport,
               &CALL_OPTIONS(.verb = CALL_LIST, .kind = c->set.kind, .ns = str_of(c->ns),
                             .label_selector = str_of(c->labels), .field_selector = str_of(c->fields), .limit = 1,
                             .marks = true));
}

static void mark_done(struct call *call)
{
    struct cache *c = container_of(call, struct cache, mark);
    if (call->ok)
        c->marked = call->rev;
    if (c->rev >= c->reach)
        return;
    if (call->ok && call->rev < c->reach)
        mark_ask(c); /* who asked meanwhile has seen more */
    else
        timer_set(&c->remark, call->ok ? MARK_AGAIN : MARK_AWAY);
}

static void mark_again(struct timer *t)
{
    mark_ask(container_of(t, struct cache, remark));
}

void cache_reach(struct cache *c, int64_t rev)
{
    c->reach = MAX(c->reach, rev);
    if (!c->synced) /* the list that is to come is new enough, or asks again */
        return;
    if (c->marked < c->reach)
        mark_ask(c);
    else if (c->rev < c->reach && !timer_is_set(&c->remark))
        timer_set(&c->remark, MARK_AGAIN); /* it is on its way */
}

static void tell_changed(struct cache *c, struct obj *was, struct obj *now)
{
    list_each (h, &c->handlers, struct cache_handler, node)
        if (h->told)
            h->changed(h, was, now);
}

static void tell_moved(struct cache *c)
{
    if (c->rev >= c->reach)
        timer_stop(&c->remark);
    list_each (h, &c->handlers, struct cache_handler, node)
        if (h->told && h->moved)
            h->moved(h);
}

static void cache_del(struct cache *c, struct str ns, struct str name)
{
    AUTO(obj_unref) struct obj *was = objset_del(&c->set, ns, name);
    if (was)
        tell_changed(c, was, NULL);
}

/* The revision first: whoever is told of a change may ask cache_rev. Where events were missed an object may have
 * given way to another of its name: one has gone and one has come. */
static void cache_put(struct cache *c, struct obj *o)
{
    const struct obj *before = objset_get(&c->set, o->ns, o->name);
    if (before && !str_eq(before->uid, o->uid))
        cache_del(c, o->ns, o->name);
    AUTO(obj_unref) struct obj *was = objset_put(&c->set, o);
    if (!was || was->rev != o->rev)
        tell_changed(c, was, o);
}

/* What is kept of an object; a reference. */
static struct obj *cache_keep(const struct cache *c, struct obj *o)
{
    return c->trim ? c->trim(o) : obj_ref(o);
}

static void list_next(struct cache *c);
static void watch_next(struct cache *c);

static void again_soon(struct cache *c, bool relist)
{
    c->relist = relist;
    c->backoff = c->backoff ? MIN(c->backoff * 2, BACKOFF_MAX) : BACKOFF_MIN;
    timer_set(&c->again, c->backoff / 2 + (int64_t)random_below((uint64_t)c->backoff));
}

static void again_now(struct timer *t)
{
    struct cache *c = container_of(t, struct cache, again);
    if (c->relist)
        list_next(c);
    else
        watch_next(c);
}

static void pages_clear(struct cache *c)
{
    array_each (it, &c->pages)
        obj_unref(*it);
    array_clear(&c->pages);
    mem_free(c->continue_token);
    c->continue_token = NULL;
}

static void cache_replace(struct cache *c)
{
    AUTO(map_fini) struct map there = MAP;
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    array_each (it, &c->pages)
        map_put(&there, objset_key_of(&key, *it), *it);
    ARRAY(struct obj *) gone = {0};
    struct obj *o;
    for (struct objset_iter it = objset_all(&c->set); (o = objset_next(&it));)
        if (!map_get(&there, objset_key_of(&key, o)))
            array_push(&gone, obj_ref(o));
    c->rev = c->list_rev;
    array_each (it, &gone) {
        cache_del(c, (*it)->ns, (*it)->name);
        obj_unref(*it);
    }
    array_fini(&gone);
    array_each (it, &c->pages)
        cache_put(c, *it);
    pages_clear(c);
    if (!c->synced) {
        c->synced = true;
        mark_ask(c);
        list_each (h, &c->handlers, struct cache_handler, node)
            if (h->told && h->synced)
                h->synced(h);
    }
    tell_moved(c);
}

static void list_done(struct call *call)
{
    struct cache *c = container_of(call, struct cache, list);
    if (!call->ok) {
        /* an expired continue token starts over at once; the rest waits */
        log_warn("cache.list", "kind=" STR_FMT " error=%s", STR_ARG(c->set.kind->kind), call->err.text);
        pages_clear(c);
        again_soon(c, true);
        return;
    }
    for (size_t i = 0; i < call->n; i++)
        array_push(&c->pages, cache_keep(c, call->items[i]));
    c->list_rev = call->rev;
    mem_free(c->continue_token);
    c->continue_token = call->continue_token.n > 0 ? str_dupz(call->continue_token) : NULL;
    if (c->continue_token) {
        list_next(c);
        return;
    }
    c->backoff = 0;
    cache_replace(c);
    if (c->started)
        watch_next(c);
}

static void list_next(struct cache *c)
{
    struct call_options o = CALL_OPTIONS(.verb = CALL_LIST, .kind = c->set.kind, .ns = str_of(c->ns),
                                         .label_selector = str_of(c->labels), .field_selector = str_of(c->fields),
                                         .limit = c->page, .continue_token = str_of(c->continue_token));
    call_start(&c->list, c->transport, &o);
}

static void watch_event(struct watch *w, enum watch_event type, struct obj *obj, int64_t rev, bool initial_end)
{
    struct cache *c = container_of(w, struct cache, watch);
    (void)initial_end;
    c->backoff = 0;
    c->rev = MAX(c->rev, rev);
    switch (type) {
    case WATCH_ADDED:
    case WATCH_MODIFIED: {
        AUTO(obj_unref) struct obj *kept = cache_keep(c, obj);
        cache_put(c, kept);
        break;
    }
    case WATCH_DELETED: cache_del(c, obj->ns, obj->name); break;
    case WATCH_BOOKMARK: break;
    }
    tell_moved(c);
}

static void watch_ended(struct watch *w, const struct err *err)
{
    struct cache *c = container_of(w, struct cache, watch);
    if (err->kind == E_EXPIRED || err->kind == E_GONE) {
        list_next(c);
        return;
    }
    if (err->kind == E_NONE && clock_mono() - c->watch_since > NS_PER_S) {
        watch_next(c);
        return;
    }
    if (err->kind != E_NONE)
        log_debug("cache.watch", "kind=" STR_FMT " error=%s", STR_ARG(c->set.kind->kind), err->text);
    again_soon(c, false);
}

static void watch_next(struct cache *c)
{
    struct watch_options o = {.kind = c->set.kind,
                              .ns = str_of(c->ns),
                              .label_selector = str_of(c->labels),
                              .field_selector = str_of(c->fields),
                              .rev = c->rev};
    c->watch_since = clock_mono();
    watch_start(&c->watch, c->transport, &o);
}

static void tell_late(struct timer *t)
{
    struct cache *c = container_of(t, struct cache, tell);
    list_each (h, &c->handlers, struct cache_handler, node) {
        if (h->told)
            continue;
        h->told = true;
        struct obj *o;
        for (struct objset_iter it = objset_all(&c->set); (o = objset_next(&it));)
            h->changed(h, NULL, o);
        if (c->synced && h->synced)
            h->synced(h);
    }
}

struct cache *cache_new(struct transport *t, const struct cache_options *o)
{
    struct cache *c = NEW(struct cache);
    c->transport = t;
    objset_init(&c->set, o->kind, o->indexes);
    c->ns = str_dupz(o->ns);
    c->labels = str_dupz(o->label_selector);
    c->fields = str_dupz(o->field_selector);
    c->page = o->page;
    c->trim = o->trim;
    c->mark.done = mark_done;
    c->list.done = list_done;
    c->watch.event = watch_event;
    c->watch.ended = watch_ended;
    list_init(&c->handlers);
    timer_init(&c->again, t->loop, again_now);
    timer_init(&c->tell, t->loop, tell_late);
    timer_init(&c->remark, t->loop, mark_again);
    return c;
}

void cache_start(struct cache *c)
{
    ASSERT(!c->started);
    c->started = true;
    if (c->rev > 0)
        watch_next(c);
    else
        list_next(c);
}

void cache_stop(struct cache *c)
{
    c->started = false;
    call_cancel(&c->list);
    call_cancel(&c->mark);
    timer_stop(&c->remark);
    watch_stop(&c->watch);
    timer_stop(&c->again);
    pages_clear(c);
}

void cache_free(struct cache *c)
{
    if (!c)
        return;
    cache_stop(c);
    timer_stop(&c->tell);
    list_each (h, &c->handlers, struct cache_handler, node)
        cache_handler_del(h);
    objset_fini(&c->set);
    array_fini(&c->pages);
    mem_free(c->ns);
    mem_free(c->labels);
    mem_free(c->fields);
    mem_free(c);
}

const struct objset *cache_set(const struct cache *c)
{
    return &c->set;
}

struct obj *cache_get(const struct cache *c, struct str ns, struct str name)
{
    struct obj *o = objset_get(&c->set, ns, name);
    return o ? obj_ref(o) : NULL;
}

struct obj *cache_peek(const struct cache *c, struct str ns, struct str name)
{
    return objset_get(&c->set, ns, name);
}

bool cache_synced(const struct cache *c)
{
    return c->synced;
}

int64_t cache_rev(const struct cache *c)
{
    return c->rev;
}

void cache_handler_add(struct cache *c, struct cache_handler *h)
{
    h->cache = c;
    h->told = !c->synced && objset_len(&c->set) == 0;
    list_add_tail(&c->handlers, &h->node);
    if (!h->told)
        timer_set(&c->tell, 0);
}

void cache_handler_del(struct cache_handler *h)
{
    if (!h->cache)
        return;
    list_del(&h->node);
    h->cache = NULL;
}
