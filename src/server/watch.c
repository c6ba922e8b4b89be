#include "server/watch.h"
#include "server/fail.h"
#include "server/int.h"
#include "server/limits.h"
#include "server/scan.h"

const char *const watch_type_names[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"};

/* One queued event towards another loop. */
struct queued {
    enum watch_type type;
    struct obj *obj;
    int64_t rev;
    bool initial_end;
};
enum { QUEUE_MOST = 100000 };

/* Lives on the heap between two loops: counted. */
struct watch_core {
    int refs;
    struct server *server;
    struct loop *loop;
    struct arena arena;
    struct store_watch watch;
    struct list node; /* in server->watches */
    const struct kind *kind;
    struct filter filter;
    struct str prefix;
    bool bookmarks, initial, initial_bookmark, running;
    int64_t from, seconds;
    struct timer end, mark;
    /* the owner's loop, while initial events are told */
    struct soon more;
    struct published published; /* what they are of */
    struct scan scan;
    struct store_entry *next;
    /* between the loops */
    pthread_mutex_t lock;
    struct watching *owner; /* NULL: stopped. Read and written in its own loop only */
    ARRAY(struct queued) queue;
    bool posted, over;
    struct failure fail;
    char fail_text[300];
};

static void core_unref(struct watch_core *c)
{
    if (__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL))
        return;
    array_each (it, &c->queue)
        if (it->obj)
            obj_unref(it->obj);
    array_fini(&c->queue);
    kind_unref(c->kind);
    pthread_mutex_destroy(&c->lock);
    arena_fini(&c->arena);
    mem_free(c);
}

static struct watch_core *core_ref(struct watch_core *c)
{
    __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
    return c;
}

/* --- the owner's side --- */

static void deliver(void *arg)
{
    struct watch_core *c = arg;
    ARRAY(struct queued) some = {0};
    pthread_mutex_lock(&c->lock);
    some.p = c->queue.p;
    some.n = c->queue.n;
    some.cap = c->queue.cap;
    c->queue.p = NULL;
    c->queue.n = c->queue.cap = 0;
    c->posted = false;
    bool over = c->over;
    pthread_mutex_unlock(&c->lock);
    array_each (it, &some) {
        if (c->owner)
            c->owner->event(c->owner, it->type, it->obj, it->rev, it->initial_end);
        if (it->obj)
            obj_unref(it->obj);
    }
    array_fini(&some);
    if (over && c->owner) {
        struct watching *w = TAKE(c->owner);
        w->core = NULL;
        w->ended(w, &c->fail);
        core_unref(c); /* the owner's */
    }
    core_unref(c); /* the post's */
}

/* --- the store's side --- */

static void post(struct watch_core *c)
{
    if (!c->posted) {
        c->posted = true;
        loop_post(c->loop, deliver, core_ref(c));
    }
}

static void core_stop(struct watch_core *c)
{
    if (!c->running)
        return;
    c->running = false;
    store_watch_stop(&c->watch);
    timer_stop(&c->end);
    timer_stop(&c->mark);
    list_del(&c->node);
    __atomic_sub_fetch(&c->server->nwatches, 1, __ATOMIC_RELAXED);
    core_unref(c); /* the store's */
}

static void finish(struct watch_core *c, int code, const char *reason, const char *text)
{
    pthread_mutex_lock(&c->lock);
    if (!c->over) {
        c->over = true;
        snprintf(c->fail_text, sizeof c->fail_text, "%s", text);
        c->fail = (struct failure){.code = code, .reason = reason, .message = str_of(c->fail_text)};
        post(c);
    }
    pthread_mutex_unlock(&c->lock);
    core_stop(c);
}

static void tell(struct watch_core *c, enum watch_type type, struct obj *o, int64_t rev, bool initial_end)
{
    pthread_mutex_lock(&c->lock);
    bool full = c->queue.n >= QUEUE_MOST;
    if (!full && !c->over) {
        array_push(&c->queue, ((struct queued){type, o ? obj_ref(o) : NULL, rev, initial_end}));
        post(c);
    }
    pthread_mutex_unlock(&c->lock);
    if (full)
        finish(c, 410, "Expired", "the watcher does not keep up: list again and watch from there");
}

static void changed(struct store_watch *w, const struct store_event *events, size_t n)
{
    struct watch_core *c = container_of(w, struct watch_core, watch);
    for (size_t i = 0; i < n && c->running; i++) {
        const struct store_event *e = &events[i];
        AUTO(obj_unref) struct obj *was = e->was ? object_as(c->kind, object_of(e->was)) : NULL;
        AUTO(obj_unref) struct obj *now = e->now ? object_as(c->kind, object_of(e->now)) : NULL;
        bool before = was && filter_matches(&c->filter, c->kind, was);
        bool after = now && filter_matches(&c->filter, c->kind, now);
        if (after) {
            tell(c, before ? WATCH_TYPE_MODIFIED : WATCH_TYPE_ADDED, now, e->rev, false);
        } else if (before) {
            AUTO(obj_unref) struct obj *gone = object_gone(c->server, was, e->rev);
            tell(c, WATCH_TYPE_DELETED, gone, e->rev, false);
        }
    }
}

static void failed(struct store_watch *w, const struct err *err)
{
    struct watch_core *c = container_of(w, struct watch_core, watch);
    if (err->kind == E_EXPIRED || err->kind == E_GONE) {
        char text[200];
        snprintf(text, sizeof text, "too old resource version: %lld (%lld)", (long long)c->from,
                 (long long)store_floor(c->server->store));
        finish(c, 410, "Expired", text);
    } else {
        finish(c, err_http(err->kind), err_reason(err->kind), err->text);
    }
}

static void ends(struct timer *t)
{
    struct watch_core *c = container_of(t, struct watch_core, end);
    if (c->bookmarks)
        tell(c, WATCH_TYPE_BOOKMARK, NULL, store_rev(c->server->store), false);
    finish(c, 0, "", "");
}

static void marks(struct timer *t)
{
    struct watch_core *c = container_of(t, struct watch_core, mark);
    /* everything up to the newest visible revision has been told: subscribers come before anything else sees it */
    if (c->watch.synced)
        tell(c, WATCH_TYPE_BOOKMARK, NULL, store_rev(c->server->store), false);
    timer_set(&c->mark, LIMIT_BOOKMARK_SECONDS * NS_PER_S);
}

/* In the store's loop. */
static void core_start(void *arg)
{
    struct watch_core *c = arg;
    struct server *s = c->server;
    timer_init(&c->end, s->loop, ends);
    timer_init(&c->mark, s->loop, marks);
    timer_set(&c->end, ns_of_seconds(c->seconds));
    if (c->bookmarks)
        timer_set(&c->mark, LIMIT_BOOKMARK_SECONDS * NS_PER_S);
    list_add_tail(&s->watches, &c->node);
    c->running = true;
    c->watch = (struct store_watch){.prefix = c->prefix, .rev = c->from, .fn = changed, .failed = failed};
    list_init(&c->watch.node);
    struct err err = ERR;
    if (!kind_set_has(s->kinds.now, c->kind)) /* it went while the initial events were told */
        finish(c, 0, "", "");
    else if (!store_watch_start(s->store, &c->watch, &err))
        failed(&c->watch, &err);
}

static void start_at_home(struct watch_core *c)
{
    if (c->loop == c->server->loop)
        core_start(c);
    else
        loop_post(c->server->loop, core_start, c);
}

/* --- initial events, in the owner's loop --- */

enum { INITIAL_AT_ONCE = 200 };

static void initial_end(struct watch_core *c)
{
    soon_stop(&c->more);
    c->initial = false;
    c->next = NULL;
    published_fini(&c->published);
}

static void initial_some(struct watch_core *c)
{
    for (int i = 0; c->next && i < INITIAL_AT_ONCE; i++) {
        if (c->owner->full && c->owner->full(c->owner))
            return; /* goes on when it says so */
        AUTO(obj_unref) struct obj *o = object_as(c->kind, object_of(c->next));
        c->next = scan_next(&c->scan);
        if (!filter_matches(&c->filter, c->kind, o))
            continue;
        c->owner->event(c->owner, WATCH_TYPE_ADDED, o, o->rev, false);
        if (!c->owner) /* stopped by it */
            return;
    }
    if (c->next) {
        soon_set(&c->more);
        return;
    }
    if (c->initial_bookmark)
        c->owner->event(c->owner, WATCH_TYPE_BOOKMARK, NULL, c->from, true);
    if (!c->owner)
        return;
    initial_end(c);
    start_at_home(c);
}

static void initial_more(struct soon *s)
{
    struct watch_core *c = core_ref(container_of(s, struct watch_core, more));
    initial_some(c);
    core_unref(c);
}

void watching_go_on(struct watching *w)
{
    if (w->core && w->core->initial)
        soon_set(&w->core->more);
}

static void stop_at_home(void *arg)
{
    struct watch_core *c = arg;
    core_stop(c);
    core_unref(c); /* the post's */
}

/* --- starting and stopping, in the owner's loop --- */

bool watching_start(struct watching *w, struct request *r)
{
    struct server *s = r->server;
    struct watch_core *c = NEW(struct watch_core);
    c->refs = 1; /* the store's side */
    pthread_mutex_init(&c->lock, NULL);
    c->server = s;
    c->loop = w->loop;
    c->kind = kind_ref(r->kind);
    struct request_options *o = &r->options;
    if (__atomic_add_fetch(&s->nwatches, 1, __ATOMIC_RELAXED) > LIMIT_WATCHERS)
        fail_too_many(r, 1, "%d watches are open; try again later", LIMIT_WATCHERS);
    else if (revision_of(r, o->resource_version, 500, &c->from))
        (void)!filter_parse(r, &c->arena, str_dup(&c->arena, o->label_selector),
                            str_dup(&c->arena, o->field_selector), &c->filter);
    if (r->answer.type == ANSWER_FAILED) {
        __atomic_sub_fetch(&s->nwatches, 1, __ATOMIC_RELAXED);
        core_unref(c);
        return false;
    }
    c->prefix = object_prefix(&c->arena, r->kind);
    if (r->kind->namespaced && r->ns.n)
        c->prefix = arena_fmt(&c->arena, STR_FMT STR_FMT "/", STR_ARG(c->prefix), STR_ARG(r->ns));
    c->bookmarks = o->bookmarks;
    c->initial = o->send_initial_events == SAID_YES || (o->send_initial_events == NOT_SAID && !c->from);
    c->initial_bookmark = o->send_initial_events == SAID_YES && o->bookmarks;
    c->seconds = o->timeout_s;
    if (c->seconds <= 0)
        c->seconds = LIMIT_WATCH_SECONDS_MIN +
                     (int64_t)random_below(LIMIT_WATCH_SECONDS_MAX - LIMIT_WATCH_SECONDS_MIN);
    c->owner = w;
    w->core = core_ref(c);
    if (!c->initial && c->from) {
        start_at_home(c);
        return true;
    }
    soon_init(&c->more, w->loop, initial_more);
    c->published = published_take(s);
    c->from = c->published.objects.rev;
    c->next = c->initial ? scan_first(&c->scan, &c->arena, &c->published, c->kind, r->ns, &c->filter, STR_NONE)
                         : NULL;
    c->initial = true;
    soon_set(&c->more);
    return true;
}

void watching_stop(struct watching *w)
{
    if (!w->core)
        return;
    struct watch_core *c = TAKE(w->core);
    c->owner = NULL;
    if (c->initial) { /* not at home yet */
        initial_end(c);
        __atomic_sub_fetch(&c->server->nwatches, 1, __ATOMIC_RELAXED);
        core_unref(c); /* what the store's side would have had */
    } else if (w->loop == c->server->loop)
        core_stop(c);
    else
        loop_post(c->server->loop, stop_at_home, core_ref(c));
    core_unref(c);
}

void watches_of_gone(struct server *s, const struct kind_set *now)
{
    list_each (c, &s->watches, struct watch_core, node)
        if (!kind_set_has(now, c->kind))
            finish(c, 0, "", "");
}

void watches_stop(struct server *s)
{
    for (struct watch_core *c; (c = list_first(&s->watches, struct watch_core, node));)
        core_stop(c);
}
