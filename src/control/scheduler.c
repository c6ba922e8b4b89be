/* The scheduler's shell: who waits, whom to look at next, binding. What it decides is sched_place() of sched.h.
 *
 * A pod without a node is in one of five places:
 *
 *   ACTIVE  -> looked at, the greatest priority first, then the oldest; ends as VOLUMES, BINDING or STUCK
 *   VOLUMES -> its claims are being bound for the node that was chosen (sched_bind.c), on which it counts already;
 *              then BINDING, or BACKING where that failed or took too long
 *   BINDING -> it counts on its node from now on (the assumed cache), while the call is under way; the watch brings
 *              the pod with its node, and it is no longer ours. A failed call takes it back: BACKING
 *   STUCK   -> it fits nowhere, and its condition and an event say why; what could help is a set of WAKE_* that
 *              sched_place() gave. When such a thing happens: ACTIVE, or BACKING where that is too soon
 *   BACKING -> until its back-off is over (doubling with each attempt), then ACTIVE
 *
 * One that is STUCK and may send others away (sched_preempt.c) first has it written that it is nominated for their
 * node, so that it is known after a restart, too; then they are ended (sched_victims.c). Until each of them is ending
 * it is not looked at; from then on the end of any pod wakes it, as it does others. What is nominated for a node
 * counts there for all that are no more important.
 *
 * No pod is looked at without a reason, and no node is scanned for its pods: sched_state.c keeps the sums. */
#include "control/scheduler.h"
#include "base/heap.h"
#include "base/log.h"
#include "client/events.h"
#include "client/workqueue.h"
#include "control/pods.h"
#include "control/sched_victims.h"
#include "control/sched_volume.h"
#include "control/volumes.h"

#define BACKOFF_MIN (50 * NS_PER_MS)
#define BACKOFF_MAX (10 * NS_PER_S)
#define TELL_EVERY  (60 * NS_PER_S)
#define VOLUMES_MAX (600 * NS_PER_S) /* for the claims of a pod; upstream's bindTimeoutSeconds */

const struct kind *const scheduler_kinds[] = {K(Pod),
                                              K(Node),
                                              K(Service),
                                              K(ReplicaSet),
                                              K(StatefulSet),
                                              K(ReplicationController),
                                              K(Namespace),
                                              K(PersistentVolumeClaim),
                                              K(PersistentVolume),
                                              K(StorageClass),
                                              K(PodDisruptionBudget),
                                              K(CSINode),
                                              K(CSIDriver),
                                              K(CSIStorageCapacity),
                                              K(VolumeAttachment),
                                              NULL};

/* A pod without a node. */
enum where {
    ACTIVE,  /* in scheduler->active, next by priority, then by when it came there */
    BACKING, /* in scheduler->backing until a time */
    STUCK,   /* until something in `wake` happens */
    VOLUMES, /* in scheduler->backing until its claims take too long */
    BINDING, /* it has a node in our state; the call is under way, or the watch is to bring it */
};
struct sched_waiting {
    struct scheduler *s;
    struct obj *pod; /* counted, the newest we know */
    enum where where;
    struct heap_node node;
    int64_t priority, since, until;
    int attempts;
    unsigned wake;
    struct call call;  /* the binding, or what is told of it */
    struct str chosen; /* the node's name, while binding */
    struct volume_binding volumes;
    struct arena arena;
    char *message;           /* why it is STUCK: what its condition is to say; NULL: nothing to say */
    int64_t told_at;         /* when an event said the same */
    int told;                /* how often since the message is this one */
    const char *reason;      /* the same, in a word */
    struct victims *victims; /* whom it sends away, until all of them are ending; NULL: nobody */
    bool going;              /* that has begun */
    bool woken;              /* something happened meanwhile that could help */
};
struct scheduler {
    struct transport *t;
    const struct view *view;
    struct sched state;
    struct events *events;
    struct map waiting; /* "ns/name" -> struct sched_waiting */
    struct heap active, backing;
    struct workqueue *ticks; /* one key: a turn of the scheduler is wanted, now or at a time */
    size_t calls;
    bool started;
};
#define TICK S("tick")

static bool active_less(const struct heap_node *a, const struct heap_node *b)
{
    const struct sched_waiting *x = container_of(a, struct sched_waiting, node),
                               *y = container_of(b, struct sched_waiting, node);
    if (x->priority != y->priority)
        return x->priority > y->priority;
    return x->since != y->since ? x->since < y->since : str_cmp(x->pod->name, y->pod->name) < 0;
}

static bool backing_less(const struct heap_node *a, const struct heap_node *b)
{
    return container_of(a, struct sched_waiting, node)->until < container_of(b, struct sched_waiting, node)->until;
}

static void waiting_leave(struct sched_waiting *w)
{
    heap_del(w->where == ACTIVE ? &w->s->active : &w->s->backing, &w->node);
}

static void waiting_activate(struct sched_waiting *w)
{
    struct scheduler *s = w->s;
    if (w->victims) {
        w->woken = true;
        return;
    }
    waiting_leave(w);
    int64_t now = clock_mono();
    if (w->until > now) {
        w->where = BACKING;
        heap_add(&s->backing, &w->node);
        workqueue_add_after(s->ticks, TICK, w->until - now);
    } else {
        w->where = ACTIVE;
        w->since = now; /* whoever was looked at in vain stands behind those who were not */
        heap_add(&s->active, &w->node);
        workqueue_add(s->ticks, TICK);
    }
}

static void back_off(struct sched_waiting *w)
{
    int64_t delay = BACKOFF_MIN;
    for (int i = 1; i < w->attempts && delay < BACKOFF_MAX; i++)
        delay *= 2;
    w->until = clock_mono() + MIN(delay, BACKOFF_MAX);
}

static void waiting_free(struct sched_waiting *w)
{
    struct scheduler *s = w->s;
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    map_del(&s->waiting, objset_key_of(&key, w->pod));
    waiting_leave(w);
    sched_nominate(&s->state, w->pod, S(""));
    victims_free(w->victims);
    mem_free(w->message);
    s->calls -= call_active(&w->call);
    call_cancel(&w->call);
    if (w->where == VOLUMES)
        volume_binding_fini(&w->volumes);
    obj_unref(w->pod);
    arena_fini(&w->arena);
    mem_free(w);
}

/* ---- what a decision leads to ---- */

static void tell_bound(struct sched_waiting *w)
{
    AUTO(arena_fini) struct arena a = ARENA;
    events_record(w->s->events, w->pod, S(""), "Normal", "Scheduled", "Binding",
                  arena_fmt(&a, "Successfully assigned " STR_FMT "/" STR_FMT " to " STR_FMT, STR_ARG(w->pod->ns),
                            STR_ARG(w->pod->name), STR_ARG(w->chosen)));
}

static void scheduler_wake(struct scheduler *s, unsigned what);

/* It is not on the node that was chosen any more, and tries again; what it held there is free for others. */
static void waiting_give_back(struct sched_waiting *w)
{
    sched_pod_set(&w->s->state, w->pod->ns, w->pod->name, NULL, S(""));
    back_off(w);
    waiting_activate(w);
    scheduler_wake(w->s, WAKE_POD_GONE | WAKE_VOLUME);
}

static void bind_done(struct call *c)
{
    struct sched_waiting *w = container_of(c, struct sched_waiting, call);
    struct scheduler *s = w->s;
    s->calls--;
    if (c->ok) {
        tell_bound(w);
        return; /* the watch brings the pod with its node and ends the waiting */
    }
    log_warn("schedule.bind", "pod=" STR_FMT "/" STR_FMT " error=%s", STR_ARG(w->pod->ns), STR_ARG(w->pod->name),
             c->err.text);
    waiting_give_back(w);
}

static void binding_post(struct sched_waiting *w)
{
    struct scheduler *s = w->s;
    w->where = BINDING;
    struct val body = val_map();
    struct val *meta = val_set(&w->arena, &body, N(metadata), val_map());
    val_set_text(&w->arena, &body, N(apiVersion), S("v1"));
    val_set_text(&w->arena, &body, N(kind), S("Binding"));
    val_set_text(&w->arena, meta, N(name), w->pod->name);
    val_set_text(&w->arena, meta, N(namespace), w->pod->ns);
    val_set_text(&w->arena, meta, N(uid), w->pod->uid);
    struct val *target = val_set(&w->arena, &body, N(target), val_map());
    val_set_text(&w->arena, target, N(kind), S("Node"));
    val_set_text(&w->arena, target, N(name), w->chosen);
    w->call.done = bind_done;
    struct call_options o = CALL_OPTIONS(.verb = CALL_CREATE, .kind = K(Pod), .ns = w->pod->ns, .name = w->pod->name,
                                         .sub = S("binding"), .body = &body);
    s->calls++;
    call_start(&w->call, s->t, &o);
}

static void waiting_write(struct sched_waiting *w);
static void waiting_tell(struct sched_waiting *w, const char *reason, struct str message);

static void volumes_failed(struct sched_waiting *w, const char *error)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str message = S("");
    if (error[0]) {
        message = arena_fmt(&a, "running PreBind plugin \"VolumeBinding\": binding volumes: %s", error);
        log_warn("schedule.volumes", "pod=" STR_FMT "/" STR_FMT " error=%s", STR_ARG(w->pod->ns),
                 STR_ARG(w->pod->name), error);
    }
    volume_binding_fini(&w->volumes);
    waiting_give_back(w);
    if (message.n > 0)
        waiting_tell(w, "SchedulerError", message);
}

static void volumes_done(struct volume_binding *b, const char *error)
{
    struct sched_waiting *w = container_of(b, struct sched_waiting, volumes);
    if (error) {
        volumes_failed(w, error);
        return;
    }
    waiting_leave(w);
    volume_binding_fini(b);
    binding_post(w);
}

static void waiting_bind(struct sched_waiting *w, const struct decision *d)
{
    struct scheduler *s = w->s;
    waiting_leave(w);
    sched_nominate(&s->state, w->pod, S(""));
    mem_free(w->message);
    w->message = NULL;
    s->calls -= call_active(&w->call); /* that there is no room for it may still be on its way to be told */
    call_cancel(&w->call);
    arena_fini(&w->arena);
    w->chosen = str_dup(&w->arena, str_of(d->node->name));
    sched_pod_set(&s->state, w->pod->ns, w->pod->name, w->pod, w->chosen);
    if (d->nclaims == 0) {
        binding_post(w);
        return;
    }
    w->where = VOLUMES;
    w->until = clock_mono() + VOLUMES_MAX;
    heap_add(&s->backing, &w->node);
    workqueue_add_after(s->ticks, TICK, VOLUMES_MAX);
    w->volumes = (struct volume_binding){
        .t = s->t, .sched = &s->state, .view = s->view, .done = volumes_done, .node = w->chosen};
    volume_binding_start(&w->volumes, d->claims, d->nclaims);
}

/* Drops what it was about to do; it is looked at again later. */
static void waiting_retry(struct sched_waiting *w)
{
    victims_free(w->victims);
    w->victims = NULL;
    back_off(w);
    waiting_activate(w);
}

static void told_done(struct call *c)
{
    struct sched_waiting *w = container_of(c, struct sched_waiting, call);
    w->s->calls--;
    if (c->ok) {
        if (c->obj && str_eq(c->obj->uid, w->pod->uid) && c->obj->rev > w->pod->rev) {
            obj_unref(w->pod);
            w->pod = call_take_obj(c);
        }
        waiting_write(w); /* it may have become stuck for another reason meanwhile */
        return;
    }
    if (c->err.kind == E_NOT_FOUND)
        return; /* the watch will say so */
    log_debug("schedule.condition", "pod=" STR_FMT "/" STR_FMT " error=%s", STR_ARG(w->pod->ns),
              STR_ARG(w->pod->name), c->err.text);
    waiting_retry(w);
}

static struct val status_unschedulable(struct arena *a, const struct obj *pod, const char *reason, struct str message)
{
    struct condition c = {.type = "PodScheduled",
                          .status = "False",
                          .reason = reason,
                          .message = message,
                          .observed = OBSERVED_OF_POD,
                          .generation = obj_generation(pod)};
    return conditions_with(a, obj_status(pod), &c, clock_real());
}

static void victims_are_sent(void *arg, const struct err *err)
{
    struct sched_waiting *w = arg;
    victims_free(w->victims);
    w->victims = NULL;
    if (err)
        waiting_retry(w);
    else if (w->woken)
        waiting_activate(w);
}

/* Its condition and its nomination, where they are not yet as they are to be; then its victims. */
static void waiting_write(struct sched_waiting *w)
{
    struct scheduler *s = w->s;
    if (call_active(&w->call) || !w->message)
        return; /* the end of the one brings it here again */
    struct str message = str_of(w->message), nominee = sched_nominee(&s->state, w->pod);
    const struct val *status = obj_status(w->pod), *old = condition_get(status, "PodScheduled");
    bool told = str_eq(val_text_at(old, N(message)), message) && str_eqz(val_text_at(old, N(reason)), w->reason);
    bool nominated = str_eq(val_text_at(status, N(nominatedNodeName)), nominee);
    if (told && nominated) {
        if (w->victims && !w->going) {
            w->going = true;
            victims_go(w->victims);
        }
        return;
    }
    AUTO(arena_fini) struct arena a = ARENA;
    struct val patch = val_map(), *to = val_set(&a, &patch, N(status), val_map());
    if (!told)
        val_set(&a, to, N(conditions), status_unschedulable(&a, w->pod, w->reason, message));
    if (!nominated)
        val_set(&a, to, N(nominatedNodeName), nominee.n ? val_str(&a, nominee) : VAL_NONE);
    w->call.done = told_done;
    struct call_options o = CALL_OPTIONS(.verb = CALL_PATCH, .kind = K(Pod), .ns = w->pod->ns, .name = w->pod->name,
                                         .sub = S("status"), .patch = PATCH_MERGE, .body = &patch,
                                         .expect_rev = w->pod->rev, .expect_uid = w->pod->uid);
    s->calls++;
    call_start(&w->call, s->t, &o);
}

/* An event tells it for the first and the second time, and from then on once a minute. */
static void waiting_tell(struct sched_waiting *w, const char *reason, struct str message)
{
    bool same = w->message && str_eqz(message, w->message);
    int64_t now = clock_mono();
    w->told = same ? w->told + 1 : 1;
    if (w->told <= 2 || now >= w->told_at + TELL_EVERY) {
        events_record(w->s->events, w->pod, S(""), "Warning", "FailedScheduling", "Scheduling", message);
        w->told_at = now;
    }
    mem_free(w->message);
    w->message = str_dupz(message);
    w->reason = reason;
    waiting_write(w);
}

/* ---- sending others away ---- */

static void waiting_nominate(struct sched_waiting *w, struct str node)
{
    bool frees = sched_nominee(&w->s->state, w->pod).n > 0 && node.n == 0;
    sched_nominate(&w->s->state, w->pod, node);
    if (frees)
        scheduler_wake(w->s, WAKE_POD_GONE); /* room was kept for it */
}

/* Those that are to come to the node too, and are less important, look for another place at once. */
static void nominees_less_important(struct sched_waiting *w, struct sched_node *node)
{
    struct scheduler *s = w->s;
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    for (size_t i = node->nominated.n; i-- > 0;) {
        struct sched_pod *p = node->nominated.p[i];
        struct sched_waiting *other = map_get(&s->waiting, objset_key_of(&key, p->obj));
        if (!other || other == w || p->priority >= w->priority)
            continue;
        sched_nominate(&s->state, other->pod, S(""));
        other->until = 0;
        if (other->where == STUCK || other->where == BACKING)
            waiting_activate(other);
    }
}

/* One whose volumes are just being bound has not begun: it only has to wait again. The others are left in the list;
 * the answer is how many. */
static size_t victims_called_back(struct scheduler *s, struct sched_pod **victims, size_t n)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        struct sched_waiting *other = map_get(&s->waiting, objset_key_of(&key, victims[i]->obj));
        if (other && other->where == VOLUMES)
            volumes_failed(other, "");
        else
            victims[left++] = victims[i];
    }
    return left;
}

static void waiting_preempt(struct sched_waiting *w, const struct decision *d)
{
    struct scheduler *s = w->s;
    size_t n = victims_called_back(s, d->victims, d->nvictims);
    struct victims_options o = {.transport = s->t,
                                .view = s->view,
                                .events = s->events,
                                .state = &s->state,
                                .preemptor = w->pod,
                                .node = str_of(d->nominee->name),
                                .done = victims_are_sent,
                                .arg = w};
    sched_nominate(&s->state, w->pod, o.node);
    nominees_less_important(w, d->nominee);
    w->victims = n > 0 ? victims_new(&o, d->victims, n) : NULL;
    w->going = false;
    w->woken = n < d->nvictims; /* there is more room already */
}

static void look_at(struct sched_waiting *w)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct decision d;
    sched_place(&w->s->state, w->s->view, w->pod, &a, &d);
    w->attempts++;
    if (d.node) {
        waiting_bind(w, &d);
        return;
    }
    waiting_leave(w);
    w->where = STUCK;
    w->wake = d.wake;
    w->woken = false;
    back_off(w);
    if (d.nominee)
        waiting_preempt(w, &d);
    else if (!d.waits)
        waiting_nominate(w, S(""));
    waiting_tell(w, "Unschedulable", d.message);
    if (w->woken && !w->victims)
        waiting_activate(w);
}

static void backing_over(struct sched_waiting *w)
{
    if (w->where == VOLUMES)
        volumes_failed(w, "context deadline exceeded");
    else
        waiting_activate(w);
}

static void scheduler_turn(void *arg, struct str key)
{
    struct scheduler *s = arg;
    int64_t now = clock_mono();
    struct heap_node *top;
    while ((top = heap_top(&s->backing)) && container_of(top, struct sched_waiting, node)->until <= now)
        backing_over(container_of(top, struct sched_waiting, node));
    while ((top = heap_top(&s->active))) {
        look_at(container_of(top, struct sched_waiting, node));
        if (workqueue_turn_spent(s->ticks))
            break; /* others get the loop */
    }
    if (heap_top(&s->active))
        workqueue_add(s->ticks, TICK);
    else if ((top = heap_top(&s->backing)))
        workqueue_add_after(s->ticks, TICK, container_of(top, struct sched_waiting, node)->until - now);
    workqueue_done(s->ticks, key, true);
}

/* ---- what happens outside ---- */

static void scheduler_wake(struct scheduler *s, unsigned what)
{
    struct sched_waiting *first = NULL;
    map_each (it, &s->waiting) {
        struct sched_waiting *w = it->value;
        if ((w->where == STUCK || w->where == BACKING) && (w->wake & what) &&
            (!first || active_less(&w->node, &first->node)))
            first = w;
    }
    if (!first)
        return;
    first->until = 0; /* whose turn it is takes the place at once; the others look when their back-off is over */
    if (first->where == BACKING)
        waiting_activate(first);
    map_each (it, &s->waiting) {
        struct sched_waiting *w = it->value;
        if (w->where == STUCK && (w->wake & what))
            waiting_activate(w);
    }
}

static void pod_waits(struct scheduler *s, struct obj *was, struct obj *now)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    struct sched_waiting *w = map_get(&s->waiting, objset_key_of(&key, now));
    bool gated = val_len(val_get(obj_spec(now), N(schedulingGates))) > 0;
    if (!w && gated)
        return; /* its condition was set by the server; the update that lifts the gate brings it here */
    struct str nominee = val_text_at(obj_status(now), N(nominatedNodeName));
    if (w) {
        if (now->rev < w->pod->rev)
            return; /* what the answer to our own write brought is newer */
        bool nominated = !call_active(&w->call) && !str_eq(sched_nominee(&s->state, now), nominee) &&
                         !str_eq(val_text_at(obj_status(w->pod), N(nominatedNodeName)), nominee); /* by others */
        obj_ref(now);
        obj_unref(w->pod);
        w->pod = now;
        if (nominated && w->where != BINDING && w->where != VOLUMES && !w->victims)
            waiting_nominate(w, nominee);
        bool changed = was &&
                       (!val_equal(obj_spec(was), obj_spec(now)) || !val_equal(obj_labels(was), obj_labels(now)));
        if (w->where == STUCK && (changed || nominated))
            waiting_activate(w);
        return;
    }
    w = NEW(struct sched_waiting);
    *w = (struct sched_waiting){.s = s, .pod = obj_ref(now), .where = STUCK, .since = clock_mono()};
    w->priority = val_num_at(obj_spec(now), 0, N(priority));
    map_put(&s->waiting, strbuf_str(&key), w);
    sched_nominate(&s->state, now, nominee);
    waiting_activate(w);
}

static void waits_no_more(struct scheduler *s, const struct obj *pod)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    struct sched_waiting *w = map_get(&s->waiting, objset_key_of(&key, pod));
    if (!w)
        return;
    /* the watch may be faster than the answer to the binding */
    if (w->where == BINDING && call_active(&w->call) && str_eq(pod_node(pod), w->chosen))
        tell_bound(w);
    bool frees = pod_node(pod).n == 0 && sched_nominee(&s->state, w->pod).n > 0;
    waiting_free(w);
    if (frees)
        scheduler_wake(s, WAKE_POD_GONE); /* room was kept for it */
}

static bool is_ours(const struct obj *pod)
{
    struct str name = val_text_at(obj_spec(pod), N(schedulerName));
    return name.n == 0 || str_eqz(name, "default-scheduler");
}

static void pod_changed(struct scheduler *s, struct obj *was, struct obj *now)
{
    struct obj *o = now ? now : was;
    bool placed = now && pod_node(now).n > 0, was_placed = was && pod_node(was).n > 0;
    if (now && !placed && !pod_is_over(now) && !obj_deleting(now)) {
        if (is_ours(now))
            pod_waits(s, was, now);
        return;
    }
    waits_no_more(s, o);
    sched_pod_set(&s->state, o->ns, o->name, now, placed ? pod_node(now) : S(""));
    if (!now || pod_is_over(now) ||
        (was_placed && was && (!val_equal(obj_spec(was), obj_spec(now)) || !sched_asks_same(was, now))))
        scheduler_wake(s, WAKE_POD_GONE | WAKE_POD_CAME);
    else if (!was_placed || !was || !val_equal(obj_labels(was), obj_labels(now)) ||
             obj_deleting(was) != obj_deleting(now))
        scheduler_wake(s, WAKE_POD_CAME);
}

static void node_changed(struct scheduler *s, struct obj *was, struct obj *now)
{
    if (!now) {
        sched_node_del(&s->state, was->name);
        map_each (it, &s->waiting) {
            struct sched_waiting *w = it->value;
            if (w->where == VOLUMES && str_eq(w->chosen, was->name))
                volume_binding_look(&w->volumes);
        }
        return;
    }
    sched_node_set(&s->state, now);
    if (!was || !val_equal(obj_spec(was), obj_spec(now)) || !val_equal(obj_labels(was), obj_labels(now)) ||
        !val_equal(val_get(obj_status(was), N(allocatable)), val_get(obj_status(now), N(allocatable))))
        scheduler_wake(s, WAKE_NODE);
}

/* The pods of a claim: those that wait for it, and those whose volumes are being bound. */
static void claim_news(struct scheduler *s, struct str ns, struct str name)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    ARRAY(struct sched_waiting *) all = {0};
    struct obj *pod;
    for (struct objset_iter it = view_with(s->view, K(Pod), &index_pod_claims, claim_key(&a, ns, name));
         (pod = objset_next(&it));) {
        struct sched_waiting *w = map_get(&s->waiting, objset_key_of(&key, pod));
        if (w)
            array_push(&all, w);
    }
    array_each (it, &all) {
        struct sched_waiting *w = *it;
        if (w->where == VOLUMES)
            volume_binding_look(&w->volumes);
        else if (w->where == STUCK && (w->wake & (WAKE_CLAIM | WAKE_VOLUME)))
            waiting_activate(w);
    }
    array_fini(&all);
}

static void claim_changed(struct scheduler *s, struct obj *was, struct obj *now)
{
    const struct obj *o = now ? now : was;
    if (!was || !now || !val_equal(obj_spec(was), obj_spec(now)) || !val_equal(obj_status(was), obj_status(now)) ||
        !val_equal(val_get(obj_meta(was), N(annotations)), val_get(obj_meta(now), N(annotations))))
        claim_news(s, o->ns, o->name);
}

static void volume_changed(struct scheduler *s, struct obj *was, struct obj *now)
{
    const struct obj *const both[] = {was, now};
    for (size_t i = 0; i < countof(both); i++) {
        const struct val *ref = both[i] ? volume_claim(both[i]) : NULL;
        if (ref)
            claim_news(s, val_text_at(ref, N(namespace)), val_text_at(ref, N(name)));
    }
    if (now && (!was || !volume_is_free(was) || !val_equal(obj_spec(was), obj_spec(now)) ||
                !val_equal(obj_labels(was), obj_labels(now))))
        scheduler_wake(s, WAKE_VOLUME);
}

void scheduler_changed(struct scheduler *s, struct obj *was, struct obj *now)
{
    const struct kind *k = (now ? now : was)->kind;
    if (k == K(Pod))
        pod_changed(s, was, now);
    else if (k == K(Node))
        node_changed(s, was, now);
    else if (k == K(PersistentVolumeClaim))
        claim_changed(s, was, now);
    else if (k == K(PersistentVolume))
        volume_changed(s, was, now);
    else if (k == K(CSINode) || k == K(CSIDriver) || k == K(CSIStorageCapacity) || (k == K(VolumeAttachment) && !now))
        scheduler_wake(s, WAKE_VOLUME);
    else if (k == K(StorageClass))
        scheduler_wake(s, WAKE_CLAIM | WAKE_VOLUME);
}

struct scheduler *scheduler_new(struct transport *t, const struct view *view)
{
    struct scheduler *s = NEW(struct scheduler);
    s->t = t;
    s->view = view;
    sched_init(&s->state);
    s->events = events_new(t, "default-scheduler", "default-scheduler");
    s->active.less = active_less;
    s->backing.less = backing_less;
    struct workqueue_options o = {.loop = t->loop, .work = scheduler_turn, .arg = s, .workers = 1};
    s->ticks = workqueue_new(&o);
    return s;
}

void scheduler_start(struct scheduler *s)
{
    s->started = true;
    workqueue_start(s->ticks);
}

void scheduler_free(struct scheduler *s)
{
    if (!s)
        return;
    map_each (it, &s->waiting)
        waiting_free(it->value);
    map_fini(&s->waiting);
    heap_fini(&s->active);
    heap_fini(&s->backing);
    workqueue_free(s->ticks);
    events_free(s->events);
    sched_fini(&s->state);
    mem_free(s);
}

bool scheduler_idle(const struct scheduler *s)
{
    return !heap_top(&s->active) && !heap_top(&s->backing) && s->calls == 0 && workqueue_len(s->ticks) == 0 &&
           events_idle(s->events);
}
