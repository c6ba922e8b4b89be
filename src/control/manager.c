/* From changes to writes:
 *
 *   cache of a kind -> source_changed -> each controller's `keys` -> its work queue -> running_work: plan(view, key)
 *     -> turn_go: the actions of a step at once, the next step when all have succeeded
 *     -> turn_settle: waits until the caches have what was written -> turn_end: the key may be planned again
 *
 * A turn (struct manager_turn) is one key on this way. It ends early where an action fails; the key then comes again
 * after a back-off, with the error in view->trouble. What a turn waits for at the end (struct await) is what makes
 * plans simple: none is made of a picture in which its own last writes are missing, so nothing is done twice, and no
 * count of expected events is kept. A write is seen once the cache of its kind has reached the revision that it was
 * answered with; a delete also where the object is gone or going, since it may have been going already, and then no
 * revision comes. Of a create that was not answered the API is asked until it says whether the object is there.
 *
 * A key rests nine times as long as its last plan took (workqueue.h): the plan of a set of thousand pods looks at all
 * of them, and each of them changes several times in a rollout.
 *
 * Time. view->now is the machine's clock, which others set. Whoever was silent while this process did not run, or
 * while that clock jumped, is given time again (manager_woke); signs of life are counted by our own clock (`heard`).
 */
#include "control/manager.h"
#include "api/custom.h"
#include "base/fault.h"
#include "base/log.h"
#include "client/cache.h"
#include "client/events.h"
#include "client/pause.h"
#include "client/workqueue.h"
#include "control/quota.h"
#include "control/replies.h"
#include "control/scheduler.h"

#define NAP           (5 * NS_PER_S)    /* longer than a loop may be late, shorter than anybody's grace */
#define STEP          (50 * NS_PER_MS)  /* more than two looks at two clocks differ by */
#define REFUSED_AGAIN (100 * NS_PER_MS) /* what a quota's status lags behind is less */

/* Something a finished plan wrote and that is to be seen before its key is planned again. */
struct await {
    const struct kind *kind;
    struct str ns, name, uid;
    int64_t rev; /* seen once the cache is there */
    bool gone;   /* a delete: seen once the object is away, going, or another */
};

/* One key on its way: planned, being applied, or waiting until what it wrote is seen. */
struct manager_turn {
    struct running *running;
    char *key;
    struct plan plan;
    const struct kind_set *kinds; /* that its plan speaks of; counted */
    struct turn_call *calls;
    size_t next;        /* the first action that is not begun */
    int open;           /* calls under way */
    bool failed, asked; /* asked: what it asked is answered, and the key is planned again at once */
    struct str trouble; /* the first error that is more than having looked too early; in the plan's arena */
    ARRAY(struct await) awaits;
    struct list node; /* in manager->waiting while only awaits are left */
    struct list all;
};
struct turn_call {
    struct call call;
    struct manager_turn *turn;
    struct action *action;
    struct pause pause;       /* until it is asked what has become of it, since it was not answered */
    struct action_work *work; /* that made its body, or is about to; NULL: none */
    bool working;
};

/* A sign of life, by our own clock: nobody can set that. */
struct heard {
    int64_t at, real; /* clock_mono, clock_real */
};
struct stuck {
    int64_t since;
    char text[];
};

/* A controller that runs. */
struct running {
    struct manager *manager;
    const struct controller *row;
    struct transport *transport;
    struct events *events;
    struct workqueue *queue;
    struct map heard;   /* key -> struct heard */
    struct map why;     /* key -> struct stuck, where a plan could not proceed */
    struct map trouble; /* key -> text, where the last one could not be applied */
    struct replies replies;
};

/* One kind that somebody watches. */
struct manager_source {
    struct manager *manager;
    const struct kind *kind; /* counted */
    bool synced;
    struct cache *cache;
    struct cache_handler handler;
    struct running *who[32]; /* with the watch of the row that names this kind */
    void (*what[32])(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, void *arg);
    size_t n;
};

/* Between the publisher's thread and the manager's loop: counted. */
struct news {
    struct kind_listener listener;
    struct transport *transport;
    int refs;          /* atomic */
    struct manager *m; /* of the manager's loop; NULL: it is gone */
};

struct manager {
    struct manager_options o;
    struct news *news; /* of kinds; NULL: the built-in ones stay as they are */
    struct running *running;
    size_t nrunning;
    struct manager_source *sources[KIND_IDS];
    const struct objset *sets[KIND_IDS];
    struct view view;
    int64_t ahead; /* of the machine's clock before what it had counted by itself; 0: not looked at yet */
    struct list waiting, turns;
    struct scheduler *scheduler;
    size_t unsynced;
    bool started, working; /* working: every set was in once */
};

static struct key key_of(struct str text)
{
    struct key k = {0};
    str_split(text, '/', &k.ns, &k.name);
    return k;
}

static void manager_woke(struct manager *m)
{
    m->view.woke = clock_real();
    log_info(
        "control.woke",
        "this process or its machine has slept, or the clock was set: whoever was silent meanwhile is given time "
        "again");
}

const struct view *manager_view(struct manager *m)
{
    m->view.now = clock_real();
    int64_t ahead = m->view.now - clock_mono(); /* the one goes on in a suspended machine, the other does not */
    if (m->ahead && (ahead - m->ahead > STEP || m->ahead - ahead > STEP))
        for (size_t i = 0; i < m->nrunning; i++)
            workqueue_hurry(m->running[i].queue); /* who wanted to look at a time looks when that is now */
    if (m->ahead && ahead - m->ahead > NAP)
        manager_woke(m);
    if (m->ahead && m->ahead - ahead > NAP) { /* the clock was set back: what we saw at that time is to come again */
        m->view.since = MIN(m->view.since, m->view.now);
        manager_woke(m);
    }
    m->ahead = ahead;
    return &m->view;
}

void manager_clock_set(struct manager *m)
{
    (void)manager_view(m); /* it looks at the clocks */
}

static void running_overslept(void *arg)
{
    struct running *r = arg;
    manager_woke(r->manager);
}

static void text_keep(struct map *m, struct str key, struct str text)
{
    if (text.n > 0)
        mem_free(map_put(m, key, str_dupz(text)));
    else
        mem_free(map_del(m, key));
}

static void stuck_keep(struct running *r, struct str key, struct str text, int64_t now)
{
    struct stuck *s = map_get(&r->why, key);
    int64_t since = s ? s->since : now;
    if (text.n == 0) {
        mem_free(map_del(&r->why, key));
        return;
    }
    struct stuck *fresh = mem_alloc(sizeof *fresh + text.n + 1);
    fresh->since = since;
    memcpy(fresh->text, text.p, text.n);
    mem_free(map_put(&r->why, key, fresh));
}

/* The quota that has refused it may have let go of something before this was over, and then nothing else would tell.
 */
static void refused_look(struct running *r, struct str key, struct str trouble)
{
    struct quota_refusal q;
    const struct manager *m = r->manager;
    if (!m->sets[K(ResourceQuota)->id] || !quota_refusal_read(trouble, &q) || q.missing.n)
        return;
    AUTO(arena_fini) struct arena a = ARENA;
    struct val given = val_map();
    const struct obj *quota = view_get(&m->view, K(ResourceQuota), key_of(key).ns, q.quota);
    if (!quota || refusal_ended(&a, trouble, quota, quota, &given))
        workqueue_add_after(r->queue, key, REFUSED_AGAIN);
}

void action_work_free(struct action_work *w)
{
    if (!w)
        return;
    arena_wipe(&w->arena);
    mem_free(w);
}

/* A plan that asked for work may hold what that is made of. */
static void works_free(struct manager_turn *t)
{
    bool any = false;
    for (size_t i = 0; i < t->plan.actions.n; i++) {
        any |= val_is(&t->plan.actions.p[i].work, VAL_MAP);
        action_work_free(t->calls[i].work);
    }
    if (any)
        arena_wipe(&t->plan.arena);
}

static void turn_end(struct manager_turn *t)
{
    struct running *r = t->running;
    AUTO_FREE char *key = t->key;
    bool ok = !t->failed, asked = t->asked;
    int64_t again = t->plan.again;
    text_keep(&r->trouble, str_of(key), t->trouble);
    list_del(&t->node);
    list_del(&t->all);
    works_free(t);
    plan_fini(&t->plan);
    kind_set_unref(t->kinds);
    mem_free(t->calls);
    array_fini(&t->awaits);
    mem_free(t);
    workqueue_done(r->queue, str_of(key), ok);
    refused_look(r, str_of(key), str_of(map_get(&r->trouble, str_of(key))));
    if (again > 0)
        workqueue_add_after(r->queue, str_of(key), again - clock_real());
    if (asked)
        workqueue_add(r->queue, str_of(key));
}

static bool await_seen(const struct manager *m, const struct await *a)
{
    struct manager_source *s = m->sources[a->kind->id];
    if (!s || s->kind != a->kind)
        return true; /* nobody plans by it */
    if (a->gone) {
        struct obj *o = cache_peek(s->cache, a->ns, a->name);
        return !o || !str_eq(o->uid, a->uid) || obj_deleting(o) || (a->rev > 0 && cache_rev(s->cache) >= a->rev);
    }
    return cache_rev(s->cache) >= a->rev;
}

/* True where it is over (and freed). */
static bool turn_settle(struct manager_turn *t)
{
    struct manager *m = t->running->manager;
    for (size_t i = t->awaits.n; i-- > 0;)
        if (await_seen(m, &t->awaits.p[i]))
            array_del(&t->awaits, i);
    if (t->awaits.n > 0)
        return false;
    turn_end(t);
    return true;
}

static void settle_all(struct cache_handler *h)
{
    struct manager *m = container_of(h, struct manager_source, handler)->manager;
    list_each (t, &m->waiting, struct manager_turn, node)
        turn_settle(t);
}

static void event_record(struct running *r, const struct plan_event *e)
{
    if (e->about)
        events_record(r->events, e->about, S(""), e->type, e->reason, e->action, e->message);
}

static void turn_go(struct manager_turn *t);

static void fate_ask(struct turn_call *tc);

static void fate_told(struct call *c)
{
    struct turn_call *tc = container_of(c, struct turn_call, call);
    struct manager_turn *t = tc->turn;
    if (c->http == 0) {
        fate_ask(tc);
        return;
    }
    if (c->ok)
        array_push(&t->awaits, ((struct await){.kind = tc->action->kind, .rev = c->obj->rev}));
    if (--t->open == 0)
        turn_go(t);
}

static void fate_due(struct pause *p)
{
    struct turn_call *tc = container_of(p, struct turn_call, pause);
    struct action *a = tc->action;
    tc->call.done = fate_told;
    struct call_options o = CALL_OPTIONS(.verb = CALL_GET, .kind = a->kind, .ns = a->ns, .name = a->name);
    call_start(&tc->call, tc->turn->running->transport, &o);
}

/* A create that was not answered may have been carried out. */
static void fate_ask(struct turn_call *tc)
{
    pause_begin(&tc->pause, tc->turn->running->manager->o.transport->loop, fate_due);
}

static void action_failed(struct manager_turn *t, struct action *a, const struct err *err)
{
    t->failed = true;
    if (a->failed.about) {
        struct plan_event e = a->failed;
        e.message = arena_fmt(&t->plan.arena, STR_FMT "%s", STR_ARG(a->failed.message), err->text);
        event_record(t->running, &e);
    }
    /* a conflict only says that we looked too early: the event is on its way */
    if (err->kind != E_CONFLICT && err->kind != E_NOT_FOUND && t->trouble.n == 0)
        t->trouble = str_dup(&t->plan.arena, str_of(err->text));
    if (t->trouble.n > 0)
        log_warn("control.write", "controller=%s key=%s kind=" STR_FMT " name=" STR_FMT " error=%s",
                 t->running->row->name, t->key, STR_ARG(a->kind->kind), STR_ARG(a->name), err->text);
}

static void action_done(struct call *c)
{
    struct turn_call *tc = container_of(c, struct turn_call, call);
    struct manager_turn *t = tc->turn;
    struct action *a = tc->action;
    fault_pass("control.written");
    bool ok = c->ok || (a->absent_ok && c->err.kind == E_NOT_FOUND) ||
              (a->exists_ok && c->err.kind == E_ALREADY_EXISTS);
    if (a->verb == ACTION_CHECK_GONE) {
        ok = c->ok ? a->expect_uid.n > 0 && !str_eq(c->obj->uid, a->expect_uid) : c->err.kind == E_NOT_FOUND;
        if (c->ok && !ok)
            c->err.kind = E_CONFLICT; /* our sets lag: look again */
    }
    if (ok) {
        event_record(t->running, &a->done);
        int64_t rev = c->obj ? c->obj->rev : c->rev;
        if (!rev && !str_to_i64(val_text_at(c->tree, N(metadata), N(resourceVersion)), 0, INT64_MAX, &rev))
            rev = 0; /* the answer is no object, and no Scale */
        if (a->verb == ACTION_DELETE)
            array_push(
                &t->awaits,
                ((struct await){.kind = a->kind, .ns = a->ns, .name = a->name, .uid = a->was->uid, .gone = true}));
        else if (rev > 0 && a->verb <= ACTION_PATCH)
            array_push(&t->awaits, ((struct await){.kind = a->kind, .rev = rev}));
    } else {
        action_failed(t, a, &c->err);
    }
    if (a->verb == ACTION_CREATE && c->http == 0)
        fate_ask(tc);
    else if (--t->open == 0)
        turn_go(t);
}

static void action_send(struct manager_turn *t, struct turn_call *tc, struct action *a, const struct val *body)
{
    static const enum call_verb verbs[] = {CALL_CREATE, CALL_UPDATE, CALL_PATCH, CALL_DELETE, CALL_DELETE_COLLECTION,
                                           CALL_GET};
    tc->call.done = action_done;
    struct call_options o = CALL_OPTIONS(.verb = verbs[a->verb], .kind = a->kind, .ns = a->ns, .name = a->name,
                                         .sub = a->sub, .expect_rev = a->expect_rev, .expect_uid = a->expect_uid,
                                         .patch = a->strategic ? PATCH_STRATEGIC : PATCH_MERGE,
                                         .propagation = a->propagation);
    o.grace_s = a->grace_s;
    if (a->verb <= ACTION_PATCH)
        o.body = body;
    if (a->verb == ACTION_CREATE || a->verb == ACTION_CHECK_GONE)
        o.expect_uid = STR_NONE;
    call_start(&tc->call, t->running->transport, &o);
}

static void action_worked(struct action_work *w)
{
    struct turn_call *tc = w->owner;
    if (!tc) {
        action_work_free(w);
        return;
    }
    struct manager_turn *t = tc->turn;
    tc->working = false;
    if (w->ok) {
        action_send(t, tc, tc->action, &w->body);
        return;
    }
    action_failed(t, tc->action, &w->err);
    if (--t->open == 0)
        turn_go(t);
}

static void action_start(struct manager_turn *t, struct turn_call *tc, struct action *a)
{
    const struct manager_options *o = &t->running->manager->o;
    tc->turn = t;
    tc->action = a;
    t->open++;
    if (!val_is(&a->work, VAL_MAP)) {
        action_send(t, tc, a, &a->body);
        return;
    }
    ASSERT(o->work); /* whoever runs such controllers hands it over */
    struct action_work *w = tc->work = NEW(struct action_work);
    w->ask = val_copy(&w->arena, &a->work);
    w->body = val_copy(&w->arena, &a->body);
    w->done = action_worked;
    w->owner = tc;
    tc->working = true;
    o->work(o->work_arg, w);
}

/* The next step, or the end. */
static void turn_go(struct manager_turn *t)
{
    if (!t->failed && t->next < t->plan.actions.n) {
        int step = t->plan.actions.p[t->next].step;
        for (; t->next < t->plan.actions.n && t->plan.actions.p[t->next].step == step; t->next++)
            action_start(t, &t->calls[t->next], &t->plan.actions.p[t->next]);
        return;
    }
    if (!turn_settle(t))
        list_add_tail(&t->running->manager->waiting, &t->node);
}

static void turn_told(void *arg)
{
    struct manager_turn *t = arg;
    if (--t->open == 0)
        turn_go(t);
}

static void running_work(void *arg, struct str key)
{
    struct running *r = arg;
    replies_age(&r->replies);
    struct manager_turn *t = NEW(struct manager_turn);
    t->running = r;
    t->key = str_dupz(key);
    list_init(&t->node);
    list_add_tail(&r->manager->turns, &t->all);
    t->kinds = kind_set_ref(view_kinds(&r->manager->view));
    struct view view = *manager_view(r->manager);
    struct stuck *stuck = map_get(&r->why, key);
    view.trouble = str_of(map_get(&r->trouble, key));
    view.why_since = stuck ? stuck->since : 0;
    view.why = stuck ? str_of(stuck->text) : S("");
    struct heard *heard = map_get(&r->heard, key);
    view.heard = heard ? view.now - (clock_mono() - heard->at) : 0;
    view.heard_real = heard ? heard->real : 0;
    view.memory = replies_memory(&r->replies, key);
    view.replies = &r->replies.kept;
    view.hpa_period = r->manager->o.hpa_period_ns;
    r->row->plan(&view, key_of(str_of(t->key)), &t->plan);
    stuck_keep(r, key, t->plan.why, view.now);
    array_each (e, &t->plan.events)
        event_record(r, e);
    t->calls = mem_alloc((t->plan.actions.n + 1) * sizeof *t->calls);
    if (t->plan.asks.n) {
        ASSERT(!t->plan.actions.n);
        t->asked = true;
        t->open = (int)t->plan.asks.n;
        array_each (path, &t->plan.asks)
            replies_ask(&r->replies, *path, turn_told, t);
        return;
    }
    replies_remember(&r->replies, key, &t->plan.memory);
    turn_go(t);
}

static void key_add(void *arg, struct str ns, struct str name)
{
    struct running *r = arg;
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    workqueue_add(r->queue, objset_key(&key, ns, name));
}

static void heard_note(void *arg, struct str ns, struct str name)
{
    struct running *r = arg;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    struct str key = objset_key(&text, ns, name);
    struct heard *heard = map_get(&r->heard, key);
    if (!heard) {
        heard = NEW(struct heard);
        (void)map_put(&r->heard, key, heard); /* none was there */
    }
    heard->at = clock_mono();
    heard->real = clock_real();
}

static void heard_forget(void *arg, struct str ns, struct str name)
{
    struct running *r = arg;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    mem_free(map_del(&r->heard, objset_key(&text, ns, name)));
}

/* Keys whose last writes were refused by a quota, a LimitRange or the labels of a namespace that has changed, as many
 * as there is room for now: their back-off may be minutes long. */
static void refused_wake(struct manager *m, const struct obj *was, const struct obj *now)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val given = val_map();
    const struct obj *o = now ? now : was;
    struct str ns = o->kind->namespaced ? o->ns : o->name;
    for (size_t i = 0; i < m->nrunning; i++)
        map_each (it, &m->running[i].trouble)
            if (str_eq(key_of(it->key).ns, ns) && refusal_ended(&a, str_of(it->value), was, now, &given))
                workqueue_add(m->running[i].queue, it->key);
}

static void source_changed(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct manager_source *s = container_of(h, struct manager_source, handler);
    const struct view *v = manager_view(s->manager);
    for (size_t i = 0; i < s->n; i++) {
        const struct controller *row = s->who[i]->row;
        if (row->sign == s->kind)
            (row->signs ? row->signs : s->what[i])(v, was, now, now ? heard_note : heard_forget, s->who[i]);
        s->what[i](v, was, now, key_add, s->who[i]);
    }
    if (s->kind == K(ResourceQuota) || s->kind == K(LimitRange) || s->kind == K(Namespace))
        refused_wake(s->manager, was, now);
    if (s->manager->scheduler)
        scheduler_changed(s->manager->scheduler, was, now);
}

static void one_less_unsynced(struct manager *m)
{
    if (--m->unsynced > 0)
        return;
    m->view.settling = false;
    if (m->working)
        return;
    m->working = true;
    for (size_t i = 0; i < m->nrunning; i++)
        workqueue_start(m->running[i].queue);
    if (m->scheduler)
        scheduler_start(m->scheduler);
    log_info("control.started", "controllers=%zu", m->nrunning);
}

static void source_synced(struct cache_handler *h)
{
    struct manager_source *s = container_of(h, struct manager_source, handler);
    s->synced = true;
    one_less_unsynced(s->manager);
}

static struct manager_source *source_of(struct manager *m, const struct kind *k)
{
    ASSERT(k->id >= 0 && k->id < KIND_IDS);
    struct manager_source *s = m->sources[k->id];
    if (s)
        return s;
    s = NEW(struct manager_source);
    s->manager = m;
    s->kind = kind_ref(k);
    struct cache_options o = {.kind = k, .indexes = kind_indexes(k)};
    s->cache = cache_new(m->o.transport, &o);
    s->handler = (struct cache_handler){.changed = source_changed, .synced = source_synced, .moved = settle_all};
    cache_handler_add(s->cache, &s->handler);
    m->sources[k->id] = s;
    m->sets[k->id] = cache_set(s->cache);
    m->unsynced++;
    return s;
}

static void source_tells(struct manager_source *s, struct running *r,
                         void (*keys)(const struct view *v, const struct obj *was, const struct obj *now,
                                      keys_add_fn *add, void *arg))
{
    ASSERT(s->n < countof(s->who));
    s->who[s->n] = r;
    s->what[s->n++] = keys;
}

static void source_free(struct manager_source *s)
{
    cache_free(s->cache);
    kind_unref(s->kind);
    mem_free(s);
}

/* --- kinds that come and go --- */

static void source_drop(struct manager *m, struct manager_source *s)
{
    m->sources[s->kind->id] = NULL;
    m->sets[s->kind->id] = NULL;
    bool synced = s->synced;
    source_free(s);
    if (!synced)
        one_less_unsynced(m);
}

/* To rows that want every kind, and to those that name its definition. */
static void source_come(struct manager *m, const struct kind *k)
{
    if (!kind_is_watched(k) || m->sources[k->id])
        return;
    for (size_t i = 0; i < m->nrunning; i++) {
        const struct controller *row = m->running[i].row;
        if (row->any)
            source_tells(source_of(m, k), &m->running[i], row->any);
        for (const struct defined_watch *w = row->defined; w && w->definition; w++)
            if (k->custom && str_eqz(k->custom->definition, w->definition))
                source_tells(source_of(m, k), &m->running[i], w->keys);
    }
    if (m->sources[k->id] && m->started) {
        m->view.settling = true;
        cache_start(m->sources[k->id]->cache);
    }
}

static void kinds_take(struct manager *m)
{
    const struct kind_set *now = kind_publisher_take(m->o.kinds), *was = m->view.kinds;
    m->view.kinds = now;
    for (size_t i = nkinds; was && i < was->n; i++)
        if (!kind_set_has(now, was->kinds[i]) && m->sources[was->kinds[i]->id])
            source_drop(m, m->sources[was->kinds[i]->id]);
    for (size_t i = nkinds; i < now->n; i++)
        source_come(m, now->kinds[i]);
    list_each (t, &m->waiting, struct manager_turn, node) /* for a kind that is gone, perhaps */
        turn_settle(t);
    kind_set_unref(was);
}

static void news_unref(struct news *n)
{
    if (__atomic_sub_fetch(&n->refs, 1, __ATOMIC_ACQ_REL) == 0)
        mem_free(n);
}

static void news_come(void *arg)
{
    struct news *n = arg;
    if (n->m)
        kinds_take(n->m);
    news_unref(n);
}

static void kinds_changed(struct kind_listener *l, const struct kind_set *was UNUSED,
                          const struct kind_set *now UNUSED)
{
    struct news *n = container_of(l, struct news, listener);
    (void)__atomic_add_fetch(&n->refs, 1, __ATOMIC_RELAXED);
    transport_post(n->transport, news_come, n);
}

static void news_begin(struct manager *m)
{
    struct news *n = m->news = NEW(struct news);
    *n = (struct news){.listener = {.fn = kinds_changed}, .transport = m->o.transport, .refs = 1, .m = m};
    kind_listen(m->o.kinds, &n->listener);
    kinds_take(m);
}

static void news_end(struct manager *m)
{
    if (!m->news)
        return;
    kind_unlisten(m->o.kinds, &m->news->listener);
    m->news->m = NULL;
    news_unref(TAKE(m->news));
}

static void running_init(struct manager *m, struct running *r, const struct controller *row)
{
    r->manager = m;
    r->row = row;
    r->transport = m->o.transport_of ? m->o.transport_of(m->o.arg, row->account) : m->o.transport;
    replies_init(&r->replies, r->transport);
    r->events = events_new(r->transport, row->component, row->component);
    struct workqueue_options q = {.loop = m->o.transport->loop,
                                  .work = running_work,
                                  .overslept = running_overslept,
                                  .arg = r,
                                  .workers = 256,
                                  .rest = 9};
    r->queue = workqueue_new(&q);
    for (const struct controller_watch *w = row->watches; w->kind; w++)
        source_tells(source_of(m, w->kind), r, w->keys);
    for (size_t i = 0; row->any && i < nkinds; i++)
        if (kind_is_watched(kinds[i]))
            source_tells(source_of(m, kinds[i]), r, row->any);
}

struct manager *manager_new(const struct manager_options *o)
{
    struct manager *m = NEW(struct manager);
    m->o = *o;
    if (!m->o.controllers)
        m->o.controllers = controllers;
    list_init(&m->waiting);
    list_init(&m->turns);
    m->view = (struct view){.sets = m->sets,
                            .since = clock_real(),
                            .root_ca = o->root_ca,
                            .zone = o->zone,
                            .zone_arg = o->zone_arg,
                            .x509 = o->x509};
    while (m->o.controllers[m->nrunning])
        m->nrunning++;
    m->running = mem_alloc((m->nrunning + 1) * sizeof *m->running);
    for (size_t i = 0; i < m->nrunning; i++)
        running_init(m, &m->running[i], m->o.controllers[i]);
    if (o->schedule) {
        for (const struct kind *const *k = scheduler_kinds; *k; k++)
            source_of(m, *k);
        struct transport *t = o->transport_of ? o->transport_of(o->arg, "system:kube-scheduler") : o->transport;
        m->scheduler = scheduler_new(t, &m->view);
    }
    if (o->kinds)
        news_begin(m);
    return m;
}

void manager_start(struct manager *m)
{
    ASSERT(!m->started);
    m->started = true;
    m->view.since = clock_real();
    for (size_t i = 0; i < KIND_IDS; i++)
        if (m->sources[i])
            cache_start(m->sources[i]->cache);
}

static void values_free(struct map *m)
{
    map_each (it, m)
        mem_free(it->value);
    map_fini(m);
}

void manager_stop(struct manager *m)
{
    news_end(m);
    scheduler_free(m->scheduler);
    m->scheduler = NULL;
    list_each (t, &m->turns, struct manager_turn, all) {
        for (size_t i = 0; i < t->next; i++) {
            call_cancel(&t->calls[i].call);
            pause_end(&t->calls[i].pause);
            if (t->calls[i].working)
                TAKE(t->calls[i].work)->owner = NULL; /* it frees itself when it is home */
        }
        works_free(t);
        mem_free(t->key);
        plan_fini(&t->plan);
        kind_set_unref(t->kinds);
        mem_free(t->calls);
        array_fini(&t->awaits);
        mem_free(t);
    }
    list_init(&m->turns);
    list_init(&m->waiting);
    for (size_t i = 0; i < m->nrunning; i++) {
        workqueue_free(m->running[i].queue);
        events_free(m->running[i].events);
        values_free(&m->running[i].heard);
        values_free(&m->running[i].why);
        values_free(&m->running[i].trouble);
        replies_fini(&m->running[i].replies);
    }
    m->nrunning = 0;
    for (size_t i = 0; i < KIND_IDS; i++) {
        if (m->sources[i])
            source_free(TAKE(m->sources[i]));
    }
    kind_set_unref(TAKE(m->view.kinds));
}

void manager_free(struct manager *m)
{
    if (!m)
        return;
    manager_stop(m);
    mem_free(m->running);
    mem_free(m);
}

bool manager_idle(const struct manager *m)
{
    for (size_t i = 0; i < m->nrunning; i++)
        if (workqueue_len(m->running[i].queue) > 0 || !events_idle(m->running[i].events))
            return false;
    return m->unsynced == 0 && list_empty(&m->turns) && (!m->scheduler || scheduler_idle(m->scheduler));
}

void keys_none(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, void *arg)
{
    (void)v, (void)was, (void)now, (void)add, (void)arg;
}

void keys_self(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, void *arg)
{
    const struct obj *o = now ? now : was;
    (void)v;
    add(arg, o->ns, o->name);
}

static void owner_key(const struct obj *o, const struct kind *owner, keys_add_fn *add, void *arg)
{
    const struct val *ref = o ? obj_controller(o) : NULL;
    struct str group, version = STR_NONE, api = val_text_at(ref, N(apiVersion));
    if (!str_split(api, '/', &group, &version))
        group = S("");
    if (ref && str_eq(val_text_at(ref, N(kind)), owner->kind) && str_eq(group, owner->group))
        add(arg, owner->namespaced ? o->ns : S(""), val_text_at(ref, N(name)));
}

void keys_of_controller(const struct view *v, const struct obj *was, const struct obj *now, const struct kind *owner,
                        keys_add_fn *add, void *arg)
{
    (void)v;
    owner_key(now, owner, add, arg);
    if (was && (!now || !val_equal(obj_controller(was), obj_controller(now))))
        owner_key(was, owner, add, arg);
}
