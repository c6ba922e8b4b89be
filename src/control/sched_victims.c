#include "control/sched_victims.h"
#include "base/log.h"
#include "control/pods.h"

struct victim {
    struct victims *all;
    struct obj *pod; /* counted, as it was when it was chosen */
    struct call call;
    bool settled;
};
struct victims {
    struct transport *transport;
    const struct view *view;
    struct events *events;
    struct sched *state;
    struct obj *preemptor; /* counted */
    char *node;
    void (*done)(void *arg, const struct err *err);
    void *arg;
    size_t n, left; /* not settled yet */
    struct err err; /* the first one */
    struct victim each[];
};

struct victims *victims_new(const struct victims_options *o, struct sched_pod *const *pods, size_t n)
{
    struct victims *v = mem_alloc(sizeof *v + n * sizeof *v->each);
    *v = (struct victims){.transport = o->transport,
                          .view = o->view,
                          .events = o->events,
                          .state = o->state,
                          .preemptor = obj_ref(o->preemptor),
                          .node = str_dupz(o->node),
                          .done = o->done,
                          .arg = o->arg,
                          .n = n,
                          .left = n};
    for (size_t i = 0; i < n; i++) {
        v->each[i] = (struct victim){.all = v, .pod = obj_ref(pods[i]->obj)};
        sched_pod_sent(v->state, pods[i]->obj, 0);
    }
    return v;
}

void victims_free(struct victims *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->n; i++) {
        call_cancel(&v->each[i].call);
        if (!v->each[i].settled)
            sched_pod_spared(v->state, v->each[i].pod, false);
        obj_unref(v->each[i].pod);
    }
    obj_unref(v->preemptor);
    mem_free(v->node);
    mem_free(v);
}

/* The API is there, and does not want it. */
static bool is_refusal(const struct err *err)
{
    return err->kind != E_UNAVAILABLE && err->kind != E_IO && err->kind != E_TIMEOUT && err->kind != E_INTERNAL &&
           err->kind != E_TOO_MANY_REQUESTS && err->kind != E_CONFLICT;
}

static void victim_settled(struct victim *x, const struct err *err)
{
    struct victims *v = x->all;
    x->settled = true;
    if (err) {
        sched_pod_spared(v->state, x->pod, is_refusal(err));
        log_warn("schedule.preempt", "pod=" STR_FMT "/" STR_FMT " for=" STR_FMT "/" STR_FMT " error=%s",
                 STR_ARG(x->pod->ns), STR_ARG(x->pod->name), STR_ARG(v->preemptor->ns), STR_ARG(v->preemptor->name),
                 err->text);
        if (v->err.kind == E_NONE)
            v->err = *err;
    }
    if (--v->left == 0)
        v->done(v->arg, v->err.kind == E_NONE ? NULL : &v->err);
}

static void victim_deleted(struct call *c)
{
    struct victim *x = container_of(c, struct victim, call);
    struct victims *v = x->all;
    if (!c->ok) {
        victim_settled(x, c->err.kind == E_NOT_FOUND ? NULL : &c->err);
        return;
    }
    AUTO(arena_fini) struct arena a = ARENA;
    sched_pod_sent(v->state, x->pod, c->rev);
    events_record_related(
        v->events, x->pod, v->preemptor, "Normal", "Preempted", "Preempting",
        arena_fmt(&a, "Preempted by pod " STR_FMT " on node %s", STR_ARG(v->preemptor->uid), v->node));
    victim_settled(x, NULL);
}

static void victim_delete(struct victim *x)
{
    x->call.done = victim_deleted;
    struct call_options o = CALL_OPTIONS(.verb = CALL_DELETE, .kind = K(Pod), .ns = x->pod->ns, .name = x->pod->name,
                                         .expect_uid = x->pod->uid);
    call_start(&x->call, x->all->transport, &o);
}

static void victim_told(struct call *c)
{
    struct victim *x = container_of(c, struct victim, call);
    if (c->ok)
        victim_delete(x);
    else
        victim_settled(x, c->err.kind == E_NOT_FOUND ? NULL : &c->err);
}

static struct val order_with(struct arena *a, const struct obj *pod, const char *type)
{
    struct val list = val_list(), last = val_map();
    val_each_item (it, val_get(obj_status(pod), N(conditions))) {
        struct val one = val_map();
        val_set(a, &one, N(type), val_copy(a, val_get(it, N(type))));
        if (!str_eqz(val_text_at(it, N(type)), type))
            val_add(a, &list, one);
    }
    val_set(a, &last, N(type), val_str(a, str_of(type)));
    val_add(a, &list, last);
    return list;
}

static void victim_go(struct victim *x)
{
    struct victims *v = x->all;
    const struct obj *pod = view_get(v->view, K(Pod), x->pod->ns, x->pod->name);
    if (!pod || !str_eq(pod->uid, x->pod->uid) || obj_deleting(pod)) {
        victim_settled(x, NULL);
        return;
    }
    AUTO(arena_fini) struct arena a = ARENA;
    struct str by = val_text_at(obj_spec(v->preemptor), N(schedulerName));
    struct condition c = {.type = "DisruptionTarget",
                          .status = "True",
                          .reason = "PreemptionByScheduler",
                          .message = arena_fmt(&a, STR_FMT ": preempting to accommodate a higher priority pod",
                                               STR_ARG(by.n ? by : S("default-scheduler"))),
                          .observed = OBSERVED_OF_POD,
                          .generation = obj_generation(pod)};
    const struct val *was = condition_get(obj_status(pod), c.type);
    struct val made = condition_make(&a, &c, was, clock_real());
    if (was && val_equal(was, &made)) {
        victim_delete(x);
        return;
    }
    struct val patch = val_map(), list = val_list();
    val_add(&a, &list, made);
    struct val *status = val_set(&a, &patch, N(status), val_map());
    val_set(&a, status, N(conditions), list);
    val_set_str(&a, status, S("$setElementOrder/conditions"), order_with(&a, pod, c.type)); /* it stands last */
    x->call.done = victim_told;
    struct call_options o = CALL_OPTIONS(.verb = CALL_PATCH, .kind = K(Pod), .ns = pod->ns, .name = pod->name,
                                         .sub = S("status"), .patch = PATCH_STRATEGIC, .body = &patch,
                                         .expect_uid = pod->uid);
    call_start(&x->call, v->transport, &o);
}

void victims_go(struct victims *v)
{
    size_t n = v->n;
    for (size_t i = 0; i < n; i++)
        victim_go(&v->each[i]); /* the last one that is settled at once may free v */
}
