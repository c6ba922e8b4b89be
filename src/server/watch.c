#include "server/watch.h"
#include "api/custom.h"
#include "server/conversion.h"
#include "server/fail.h"
#include "server/int.h"
#include "server/limits.h"
#include "server/room.h"
#include "server/scan.h"

enum { QUEUE_MOST = 100000 };

/* What is there only at the beginning and at the end of a watch is apart, as a watch lasts long and there are many.
 */
struct watch_first { /* initial events, the owner's loop */
    struct watch_core *core;
    struct soon more;
    struct published published; /* what they are of */
    struct old_reader reader;
    struct scan scan;
    struct store_entry *next;
    struct watch_portion *portion; /* what a webhook converts; NULL: nothing */
};
enum { PORTION_OBJECTS = 500 };
struct watch_portion {
    struct obj *items[PORTION_OBJECTS]; /* counted, from `at` on */
    size_t at, n;
    struct conversion *conversion; /* under way; NULL: they are as they are told */
};
struct watch_past { /* until it has caught up, the store's loop */
    struct watch_core *core;
    struct store_history history;
};
struct watch_fail {
    struct failure fail;
    char text[300];
};
/* Lives on the heap between two loops: counted. */
struct watch_core {
    int refs;
    struct server *server;
    struct loop *loop;
    struct arena arena;
    struct watch_past *past;  /* NULL: it has caught up, ... */
    struct interest interest; /* ... and is told of what is committed */
    struct list node;         /* in server->watches */
    const struct kind *kind;
    struct filter filter;
    struct str prefix, ns, user;
    bool bookmarks, initial_bookmark, running;
    bool mark_wanted; /* once it has caught up */
    bool hooked;      /* what is in another version is told as a webhook converts it */
    int64_t from, seconds;
    int64_t told; /* up to this revision, while it catches up */
    struct timer end, mark;
    struct watch_first *first; /* NULL: initial events have been told */
    /* between the loops */
    pthread_mutex_t lock;
    struct watching *owner; /* NULL: stopped. Read and written in its own loop only */
    ARRAY(struct notice *) queue;
    bool posted, over;
    struct watch_fail *fail; /* with over */
    /* the owner's loop: of the queue, what it is being told */
    ARRAY(struct notice *) taken;
    size_t next_taken;
};

static void core_unref(struct watch_core *c)
{
    if (__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL))
        return;
    for (size_t i = c->next_taken; i < c->taken.n; i++)
        notice_unref(c->taken.p[i]);
    array_each (it, &c->queue)
        notice_unref(*it);
    array_fini(&c->taken);
    array_fini(&c->queue);
    kind_unref(c->kind);
    pthread_mutex_destroy(&c->lock);
    arena_fini(&c->arena);
    mem_free(c->fail);
    mem_free(c);
}

static struct watch_core *core_ref(struct watch_core *c)
{
    __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
    return c;
}

/* --- the owner's side --- */

static void core_deliver(void *arg);

static void core_post(struct watch_core *c) /* locked */
{
    if (!c->posted) {
        c->posted = true;
        loop_post(c->loop, core_deliver, core_ref(c));
    }
}

static void core_take(struct watch_core *c)
{
    pthread_mutex_lock(&c->lock);
    c->posted = false;
    if (!c->taken.p) {
        c->taken.p = c->queue.p;
        c->taken.n = c->queue.n;
        c->taken.cap = c->queue.cap;
        c->queue.p = NULL;
        c->queue.n = c->queue.cap = 0;
    }
    pthread_mutex_unlock(&c->lock);
}

/* At least one event, and more while the turn has time; the rest has the next turn. */
static void core_deliver(void *arg)
{
    struct watch_core *c = arg;
    core_take(c);
    while (c->next_taken < c->taken.n) {
        AUTO(notice_unref) struct notice *n = c->taken.p[c->next_taken++];
        if (!c->owner)
            continue;
        c->owner->event(c->owner, n);
        if (loop_turn_spent(c->loop))
            break;
    }
    if (c->next_taken == c->taken.n) {
        array_fini(&c->taken);
        c->next_taken = 0;
    }
    pthread_mutex_lock(&c->lock);
    bool more = c->taken.n || c->queue.n, over = c->over;
    if (more)
        core_post(c);
    pthread_mutex_unlock(&c->lock);
    if (over && !more && c->owner) {
        struct watching *w = TAKE(c->owner);
        w->core = NULL;
        w->ended(w, &c->fail->fail);
        core_unref(c); /* the owner's */
    }
    core_unref(c); /* the post's */
}

/* --- the store's side --- */

static void past_over(struct watch_core *c)
{
    if (c->past)
        store_history_cancel(&c->past->history);
    mem_free(TAKE(c->past));
}

static void core_stop(struct watch_core *c)
{
    if (!c->running)
        return;
    c->running = false;
    past_over(c);
    interest_del(&c->server->interests, &c->interest);
    timer_stop(&c->end);
    timer_stop(&c->mark);
    list_del(&c->node);
    __atomic_sub_fetch(&c->server->nwatches, 1, __ATOMIC_RELAXED);
    core_unref(c); /* the store's */
}

static void core_finish(struct watch_core *c, int code, const char *reason, const char *text)
{
    pthread_mutex_lock(&c->lock);
    if (!c->over) {
        c->over = true;
        c->fail = NEW(struct watch_fail);
        snprintf(c->fail->text, sizeof c->fail->text, "%s", text);
        c->fail->fail = (struct failure){.code = code, .reason = reason, .message = str_of(c->fail->text)};
        core_post(c);
    }
    pthread_mutex_unlock(&c->lock);
    core_stop(c);
}

static void core_tell(struct watch_core *c, struct notice *n)
{
    pthread_mutex_lock(&c->lock);
    bool full = c->queue.n >= QUEUE_MOST;
    if (!full && !c->over) {
        array_push(&c->queue, notice_ref(n));
        core_post(c);
    }
    pthread_mutex_unlock(&c->lock);
    if (full)
        core_finish(c, 410, "Expired", "the watcher does not keep up: list again and watch from there");
}

static struct watch_line *line_of(struct watch_core *c);

/* Not while there is something on its way that has an earlier revision. */
static void tell_bookmark(struct watch_core *c)
{
    if (line_of(c))
        return;
    AUTO(notice_unref) struct notice *n = notice_new(WATCH_TYPE_BOOKMARK, c->kind, NULL, store_rev(c->server->store));
    core_tell(c, n);
}

/* What a change is to those who watch it as one kind, of the few that are stored as one. */
struct watch_seen {
    const struct kind *kind;
    bool hooked;
    struct obj *was, *now;     /* counted */
    struct notice *notices[3]; /* by type; counted */
};
/* One change, as the watchers of each kind see it: converted once, and each way to tell of it made once. */
struct watch_change {
    const struct store_event *event;
    ARRAY(struct watch_seen) seen;
};

/* Valid until the next one is asked for. */
static struct watch_seen *seen_as(struct watch_change *x, const struct watch_core *c)
{
    const struct kind *k = c->kind;
    const struct kind_set *set = c->server->kinds.now;
    array_each (s, &x->seen)
        if (s->kind == k && s->hooked == c->hooked)
            return s;
    const struct store_event *e = x->event;
    array_push(&x->seen, ((struct watch_seen){.kind = k,
                                              .hooked = c->hooked,
                                              .was = e->was ? object_as(set, k, object_of(e->was)) : NULL,
                                              .now = e->now ? object_as(set, k, object_of(e->now)) : NULL}));
    return &x->seen.p[x->seen.n - 1];
}

/* A deleted object has the revision of its deletion. */
static struct notice *notice_of(struct watch_change *x, struct watch_seen *s, enum watch_type type)
{
    if (!s->notices[type]) {
        AUTO(obj_unref) struct obj *gone = type == WATCH_TYPE_DELETED ? object_at(s->was, x->event->rev) : NULL;
        s->notices[type] = notice_new(type, s->kind, gone ? gone : s->now, x->event->rev);
    }
    return s->notices[type];
}

static void change_fini(struct watch_change *x)
{
    array_each (s, &x->seen) {
        for (size_t t = 0; t < countof(s->notices); t++)
            if (s->notices[t])
                notice_unref(s->notices[t]);
        obj_unref(s->was);
        obj_unref(s->now);
    }
    array_fini(&x->seen);
}
AUTO_VALUE(change_fini, struct watch_change);

/* A place may be that of two questions (scan.c), so the namespace is looked at as well. */
static bool core_selects(const struct watch_core *c, const struct obj *o)
{
    return o && (!c->kind->namespaced || !c->ns.n || str_eq(o->ns, c->ns)) && filter_matches(&c->filter, c->kind, o);
}

/* Whether the selection has the object now and had it before decides what it is told. */
static void core_tells(struct watch_core *c, struct watch_change *x)
{
    struct watch_seen *s = seen_as(x, c);
    bool before = core_selects(c, s->was), after = core_selects(c, s->now);
    if (after)
        core_tell(c, notice_of(x, s, before ? WATCH_TYPE_MODIFIED : WATCH_TYPE_ADDED));
    else if (before)
        core_tell(c, notice_of(x, s, WATCH_TYPE_DELETED));
}

/* --- changes that a webhook has to convert first: those of a kind wait in a line, so that each watch is told of all
 * in order. While a review is under way others gather, and go together. --- */

enum { LINE_MOST = 20000 };
struct watch_waiting {
    struct list node;      /* in the line */
    struct obj *was, *now; /* as they are stored; counted */
    int64_t rev;
    bool asked, selects;              /* selects: somebody has to know what it was before, too */
    ptrdiff_t was_at, now_at;         /* in the conversion; -1: it needs none */
    ARRAY(struct watch_core *) cores; /* counted */
};
struct watch_line {
    struct list node; /* in server->watch_lines; there while something waits */
    struct server *server;
    const struct kind *kind;
    struct list waiting;
    size_t n;
    struct soon begin;
    struct conversion *conversion;
};

static struct watch_line *line_of(struct watch_core *c)
{
    if (c->hooked)
        list_each (l, &c->server->watch_lines, struct watch_line, node)
            if (l->kind == c->kind)
                return l;
    return NULL;
}

static void waiting_free(struct watch_line *l, struct watch_waiting *x)
{
    l->n--;
    list_del(&x->node);
    if (x->was)
        obj_unref(x->was);
    if (x->now)
        obj_unref(x->now);
    array_each (it, &x->cores)
        core_unref(*it);
    array_fini(&x->cores);
    mem_free(x);
}

static void line_free(struct watch_line *l)
{
    soon_stop(&l->begin);
    conversion_free(l->conversion);
    list_each (x, &l->waiting, struct watch_waiting, node)
        waiting_free(l, x);
    list_del(&l->node);
    kind_unref(l->kind);
    mem_free(l);
}

static struct obj *waiting_seen(struct watch_line *l, ptrdiff_t at, struct obj *o)
{
    return !o       ? NULL
           : at < 0 ? object_as(l->server->kinds.now, l->kind, o)
                    : conversion_obj(l->conversion, (size_t)at, o);
}

static void waiting_tell(struct watch_line *l, struct watch_waiting *x)
{
    struct store_event event = {.rev = x->rev};
    AUTO(change_fini) struct watch_change change = {.event = &event};
    array_push(&change.seen, ((struct watch_seen){.kind = l->kind,
                                                  .hooked = true,
                                                  .was = waiting_seen(l, x->was_at, x->was),
                                                  .now = waiting_seen(l, x->now_at, x->now)}));
    array_each (it, &x->cores)
        if ((*it)->running)
            core_tells(*it, &change);
}

static void line_ask(struct watch_line *l);

static void line_came(struct conversion *c, const struct err *err)
{
    struct watch_line *l = conversion_arg(c);
    list_each (x, &l->waiting, struct watch_waiting, node) {
        if (!x->asked)
            break;
        if (!err)
            waiting_tell(l, x);
        else if (!l->server->stopping)
            array_each (it, &x->cores)
                core_finish(*it, 500, "InternalError", err->text);
        waiting_free(l, x);
    }
    conversion_free(TAKE(l->conversion));
    if (l->n && !l->server->stopping)
        line_ask(l);
    else
        line_free(l);
}

static ptrdiff_t line_adds(struct watch_line *l, const struct obj *o)
{
    return o && conversion_needed(l->kind, o)
               ? (ptrdiff_t)conversion_add_obj(l->conversion, l->server->kinds.now, l->kind, o)
               : -1;
}

static void line_ask(struct watch_line *l)
{
    l->conversion = conversion_new(l->server, line_came, l);
    list_each (x, &l->waiting, struct watch_waiting, node) {
        if (conversion_len(l->conversion) >= PORTION_OBJECTS)
            break;
        x->asked = true;
        x->now_at = line_adds(l, x->now);
        x->was_at = x->selects || !x->now ? line_adds(l, x->was) : -1;
    }
    conversion_start(l->conversion);
}

static void line_asks(struct watch_line *l, struct watch_core *c, const struct store_event *e)
{
    struct obj *was = object_of(e->was), *now = object_of(e->now);
    struct watch_waiting *x = list_empty(&l->waiting) ? NULL
                                                      : container_of(l->waiting.prev, struct watch_waiting, node);
    if (!x || x->asked || x->rev != e->rev || x->was != was || x->now != now) {
        x = NEW(struct watch_waiting);
        *x = (struct watch_waiting){
            .was = was ? obj_ref(was) : NULL, .now = now ? obj_ref(now) : NULL, .rev = e->rev};
        list_add_tail(&l->waiting, &x->node);
        l->n++;
    }
    x->selects |= !filter_is_everything(&c->filter);
    array_push(&x->cores, core_ref(c));
}

static void line_begin(struct soon *s)
{
    line_ask(container_of(s, struct watch_line, begin));
}

static struct watch_line *line_new(struct watch_core *c)
{
    struct watch_line *l = NEW(struct watch_line);
    *l = (struct watch_line){.server = c->server, .kind = kind_ref(c->kind)};
    list_init(&l->waiting);
    list_add_tail(&c->server->watch_lines, &l->node);
    soon_init(&l->begin, c->server->loop, line_begin);
    soon_set(&l->begin);
    return l;
}

static void core_changed(struct watch_core *c, struct watch_change *x)
{
    const struct store_event *e = x->event;
    struct watch_line *l = line_of(c);
    if (!l && !(c->hooked && ((e->now && conversion_needed(c->kind, object_of(e->now))) ||
                              (e->was && conversion_needed(c->kind, object_of(e->was)))))) {
        core_tells(c, x);
        return;
    }
    if (l && l->n >= LINE_MOST)
        core_finish(c, 410, "Expired", "the watcher does not keep up: list again and watch from there");
    else
        line_asks(l ? l : line_new(c), c, e);
}

static void core_concerned(struct interest *i, void *arg)
{
    core_changed(container_of(i, struct watch_core, interest), arg);
}

void watches_committed(struct server *s, const struct store_event *events, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        AUTO(change_fini) struct watch_change x = {.event = &events[i]};
        interests_tell(&s->interests, &events[i], core_concerned, &x);
    }
}

static void core_failed(struct watch_core *c, const struct err *err)
{
    if (err->kind == E_EXPIRED || err->kind == E_GONE) {
        char text[200];
        snprintf(text, sizeof text, "too old resource version: %lld (%lld)", (long long)c->from,
                 (long long)store_floor(c->server->store));
        core_finish(c, 410, "Expired", text);
    } else {
        core_finish(c, err_http(err->kind), err_reason(err->kind), err->text);
    }
}

static void core_ends(struct timer *t)
{
    struct watch_core *c = container_of(t, struct watch_core, end);
    if (c->bookmarks)
        tell_bookmark(c);
    core_finish(c, 0, "", "");
}

static void core_marks(struct timer *t)
{
    struct watch_core *c = container_of(t, struct watch_core, mark);
    /* everything up to the newest visible revision has been told: subscribers come before anything else sees it */
    if (c->interest.place)
        tell_bookmark(c);
    timer_set(&c->mark, LIMIT_BOOKMARK_SECONDS * NS_PER_S);
}

/* --- from a revision to the newest; what is committed from then on comes by watches_committed --- */

static void history_events(struct store_history *h, const struct store_event *events, size_t n)
{
    struct watch_core *c = container_of(h, struct watch_past, history)->core;
    for (size_t i = 0; i < n && c->running; i++) {
        AUTO(change_fini) struct watch_change x = {.event = &events[i]};
        core_changed(c, &x);
    }
}

static void history_done(struct store_history *h);

static void catch_up(struct watch_core *c)
{
    struct store *store = c->server->store;
    if (c->told == store_rev(store)) {
        past_over(c);
        interest_add(&c->server->interests, &c->interest, c->kind, c->ns, &c->filter);
        if (c->mark_wanted)
            tell_bookmark(c);
        return;
    }
    if (!c->past)
        c->past = NEW(struct watch_past);
    *c->past = (struct watch_past){
        c, {.after = c->told, .prefix = c->prefix, .fn = history_events, .done = history_done}};
    store_history(store, &c->past->history);
}

static void history_done(struct store_history *h)
{
    struct watch_core *c = container_of(h, struct watch_past, history)->core;
    struct err err = h->err;
    if (!h->ok) {
        core_failed(c, &err);
        return;
    }
    c->told = h->upto;
    catch_up(c);
}

/* In the store's loop. */
static void core_start(void *arg)
{
    struct watch_core *c = arg;
    struct server *s = c->server;
    timer_init(&c->end, s->loop, core_ends);
    timer_init(&c->mark, s->loop, core_marks);
    timer_set(&c->end, ns_of_seconds(c->seconds));
    if (c->bookmarks)
        timer_set(&c->mark, LIMIT_BOOKMARK_SECONDS * NS_PER_S);
    list_add_tail(&s->watches, &c->node);
    c->running = true;
    c->told = c->from;
    struct err err = ERR;
    if (!kind_set_has(s->kinds.now, c->kind)) /* it went while the initial events were told */
        core_finish(c, 0, "", "");
    else if (store_resumable(s->store, c->from, &err))
        catch_up(c);
    else
        core_failed(c, &err);
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

static void portion_free(struct watch_portion *p)
{
    if (!p)
        return;
    conversion_free(p->conversion);
    while (p->at < p->n)
        obj_unref(p->items[p->at++]);
    mem_free(p);
}

static void initial_end(struct watch_core *c)
{
    struct watch_first *f = TAKE(c->first);
    portion_free(f->portion);
    reader_end(&f->reader);
    soon_stop(&f->more);
    published_fini(&f->published);
    mem_free(f);
}

static void initial_fail(struct watch_core *c, const struct failure *fail)
{
    struct watching *w = TAKE(c->owner);
    initial_end(c);
    __atomic_sub_fetch(&c->server->nwatches, 1, __ATOMIC_RELAXED);
    w->core = NULL;
    w->ended(w, fail);
    core_unref(c); /* the owner's */
    core_unref(c); /* what the store's side would have had */
}

/* Its client takes them too slowly. */
static void initial_cut(struct old_reader *r)
{
    static const struct failure fail = {
        .code = 410,
        .reason = "Expired",
        .message = S_INIT("the watcher does not keep up: list again and watch from there")};
    initial_fail(container_of(r, struct watch_first, reader)->core, &fail);
}

static void portion_came(struct conversion *c, const struct err *err)
{
    struct watch_core *core = conversion_arg(c);
    struct watch_portion *p = core->first->portion;
    if (err) {
        struct err why = *err; /* which goes with the conversion */
        struct failure fail = {.code = 500, .reason = "InternalError", .message = str_of(why.text)};
        if (core->server->stopping)
            fail = (struct failure){0};
        initial_fail(core, &fail);
        return;
    }
    for (size_t i = 0, n = 0; i < p->n; i++) {
        struct obj *was = p->items[i];
        if (!conversion_needed(core->kind, was))
            continue;
        p->items[i] = conversion_obj(c, n++, was);
        obj_unref(was);
    }
    conversion_free(TAKE(p->conversion));
    soon_set(&core->first->more);
}

/* False: they are on their way. */
static bool portion_fetch(struct watch_core *c)
{
    struct watch_first *f = c->first;
    struct server *s = c->server;
    struct watch_portion *p = f->portion ? f->portion : (f->portion = NEW(struct watch_portion));
    struct conversion *conversion = conversion_new(s, portion_came, c);
    p->at = p->n = 0;
    for (; f->next && p->n < PORTION_OBJECTS; f->next = scan_next(&f->scan)) {
        struct obj *o = object_of(f->next);
        bool needs = conversion_needed(c->kind, o);
        p->items[p->n++] = needs ? obj_ref(o) : object_as(s->kinds.now, c->kind, o);
        if (needs)
            (void)conversion_add_obj(conversion, s->kinds.now, c->kind, o);
    }
    if (!conversion_len(conversion)) {
        conversion_free(conversion);
        return true;
    }
    p->conversion = conversion;
    conversion_start(conversion);
    return false;
}

static bool initial_left(const struct watch_first *f)
{
    return f->next || (f->portion && f->portion->at < f->portion->n);
}

/* Counted; NULL: it is on its way. */
static struct obj *initial_next(struct watch_core *c, const struct kind_set *set)
{
    struct watch_first *f = c->first;
    if (c->hooked) {
        bool there = f->portion && f->portion->at < f->portion->n;
        return there || portion_fetch(c) ? f->portion->items[f->portion->at++] : NULL;
    }
    struct obj *o = object_as(set, c->kind, object_of(f->next));
    f->next = scan_next(&f->scan);
    return o;
}

static void initial_some(struct watch_core *c)
{
    struct watch_first *f = c->first;
    if (f->portion && f->portion->conversion)
        return;
    AUTO(kind_set_unref) const struct kind_set *set = kind_publisher_take(&c->server->kinds);
    for (int i = 0; initial_left(f) && i < INITIAL_AT_ONCE; i++) {
        if (c->owner->full && c->owner->full(c->owner))
            return; /* goes on when it says so */
        AUTO(obj_unref) struct obj *o = initial_next(c, set);
        if (!o)
            return;
        if (!filter_matches(&c->filter, c->kind, o))
            continue;
        AUTO(notice_unref) struct notice *n = notice_new(WATCH_TYPE_ADDED, c->kind, o, o->rev);
        c->owner->event(c->owner, n);
        if (!c->owner) /* stopped by it */
            return;
    }
    if (initial_left(f)) {
        soon_set(&f->more);
        return;
    }
    if (c->initial_bookmark) {
        AUTO(notice_unref) struct notice *n = notice_new(WATCH_TYPE_BOOKMARK, c->kind, NULL, c->from);
        n->initial_end = true;
        c->owner->event(c->owner, n);
    }
    if (!c->owner)
        return;
    initial_end(c);
    start_at_home(c);
}

static void initial_more(struct soon *s)
{
    struct watch_core *c = core_ref(container_of(s, struct watch_first, more)->core);
    initial_some(c);
    core_unref(c);
}

void watching_go_on(struct watching *w)
{
    if (w->core && w->core->first)
        soon_set(&w->core->first->more);
}

static void stop_at_home(void *arg)
{
    struct watch_core *c = arg;
    core_stop(c);
    core_unref(c); /* the post's */
}

/* --- starting and stopping, in the owner's loop --- */

/* A watch holds its own kind. With the set that its request took it would hold all of that time's, for days. */
static void kinds_let_go(struct request *r)
{
    kind_set_unref(r->kinds);
    r->kinds = &kind_set_builtin;
}

bool watching_start(struct watching *w, struct request *r)
{
    struct server *s = r->server;
    struct watch_core *c = NEW(struct watch_core);
    c->refs = 1; /* the store's side */
    pthread_mutex_init(&c->lock, NULL);
    c->server = s;
    c->loop = w->loop;
    c->kind = kind_ref(r->kind);
    c->hooked = r->kind->custom && r->kind->custom->webhook && !r->as_stored;
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
    c->ns = str_dup(&c->arena, r->ns);
    c->user = str_dup(&c->arena, r->user->name);
    if (r->kind->namespaced && r->ns.n)
        c->prefix = arena_fmt(&c->arena, STR_FMT STR_FMT "/", STR_ARG(c->prefix), STR_ARG(r->ns));
    c->bookmarks = o->bookmarks;
    bool initial = o->send_initial_events == SAID_YES || (o->send_initial_events == NOT_SAID && !c->from);
    c->initial_bookmark = o->send_initial_events == SAID_YES && o->bookmarks;
    c->seconds = o->timeout_s;
    if (c->seconds <= 0)
        c->seconds = LIMIT_WATCH_SECONDS_MIN +
                     (int64_t)random_below(LIMIT_WATCH_SECONDS_MAX - LIMIT_WATCH_SECONDS_MIN);
    c->owner = w;
    w->core = core_ref(c);
    kinds_let_go(r);
    if (!initial && c->from) {
        start_at_home(c);
        return true;
    }
    struct watch_first *f = c->first = NEW(struct watch_first);
    f->core = c;
    soon_init(&f->more, w->loop, initial_more);
    f->published = published_take(s);
    if (w->loop == s->loop)
        reader_begin(&s->readers, &f->reader, room_bytes(s->room), initial_cut);
    c->from = f->published.objects.rev;
    f->next = initial ? scan_first(&f->scan, &c->arena, &f->published, c->kind, r->ns, &c->filter, STR_NONE) : NULL;
    soon_set(&f->more);
    return true;
}

void watching_stop(struct watching *w)
{
    if (!w->core)
        return;
    struct watch_core *c = TAKE(w->core);
    c->owner = NULL;
    if (c->first) { /* not at home yet */
        initial_end(c);
        __atomic_sub_fetch(&c->server->nwatches, 1, __ATOMIC_RELAXED);
        core_unref(c); /* what the store's side would have had */
    } else if (w->loop == c->server->loop)
        core_stop(c);
    else
        loop_post(c->server->loop, stop_at_home, core_ref(c));
    core_unref(c);
}

struct watch_marking {
    struct server *server;
    const struct kind *kind; /* held */
    struct str user;
    struct arena arena;
};

/* In the store's loop. */
static void watches_mark_at_home(void *arg)
{
    struct watch_marking *m = arg;
    list_each (c, &m->server->watches, struct watch_core, node) {
        if (c->kind != m->kind || !c->bookmarks || !str_eq(c->user, m->user))
            continue;
        if (c->interest.place)
            tell_bookmark(c);
        else
            c->mark_wanted = true;
    }
    kind_unref(m->kind);
    arena_fini(&m->arena);
    mem_free(m);
}

void watches_mark(const struct request *r)
{
    struct watch_marking *m = NEW(struct watch_marking);
    m->server = r->server;
    m->kind = kind_ref(r->kind);
    m->user = str_dup(&m->arena, r->user->name);
    loop_post(m->server->loop, watches_mark_at_home, m);
}

void watches_of_gone(struct server *s, const struct kind_set *now)
{
    list_each (c, &s->watches, struct watch_core, node)
        if (!kind_set_has(now, c->kind))
            core_finish(c, 0, "", "");
}

void watches_stop(struct server *s)
{
    for (struct watch_core *c; (c = list_first(&s->watches, struct watch_core, node));)
        core_stop(c);
    for (struct watch_line *l; (l = list_first(&s->watch_lines, struct watch_line, node));)
        line_free(l);
}
