/* The status of a pod: what it is, whether the server has it, writing it. One write is under way at a time, against
 * the version that is known; a conflict means that a newer one is coming. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "node/agent_int.h"
#include "node/fences.h"
#include "node/static_pods.h"

#define SETTLE_MOST (2 * NS_PER_S)

const struct obj *agent_shown(const struct agent_pod *ap)
{
    return ap->of_file ? statics_shown(ap) : ap->pod->obj;
}

/* Volumes of the downward API show labels and annotations. */
void agent_take_news(struct agent_pod *ap, struct obj *now)
{
    const struct val *was = obj_meta(ap->pod->obj), *is = obj_meta(now);
    bool shown = !val_equal(val_get(was, N(labels)), val_get(is, N(labels))) ||
                 !val_equal(val_get(was, N(annotations)), val_get(is, N(annotations)));
    pod_wanted(ap->facts, now, clock_mono());
    if (shown) {
        volumes_refresh(ap);
        agent_fence_news(ap);
    }
}

void agent_status_done(struct call *c)
{
    fault_pass("node.saw.status");
    struct agent_pod *ap = container_of(c, struct agent_pod, status_call);
    ap->status_retry_at = 0;
    if (c->ok) {
        AUTO(obj_unref) struct obj *o = call_take_obj(c);
        if (o && ap->of_file)
            statics_written(ap, o);
        else if (o && o->rev > ap->pod->obj->rev)
            agent_take_news(ap, o); /* the next write builds on this one */
        if (ap->pod->wanted)
            timer_set(&ap->agent->resizes, 0);
        agent_pod_kick(ap);
        return;
    }
    arena_fini(&ap->written_arena); /* what the server has is not known any more */
    ap->written = VAL_NONE;
    if (c->err.kind == E_NOT_FOUND)
        return; /* the object is gone: the cache will say so */
    if (c->err.kind != E_CONFLICT)
        log_warn("pod.status", "pod=" NAMED_FMT " retry_s=1 error=\"%s\"", NAMED_ARG(ap->pod), c->err.text);
    /* after a conflict a newer object is on its way */
    ap->status_retry_at = clock_mono() + (c->err.kind == E_CONFLICT ? 20 * NS_PER_MS : NS_PER_S);
    agent_pod_kick(ap);
}

/* In the midst of its start, or the next one to be started. */
static bool is_coming(const struct pod_container *c)
{
    return c->run == RUN_STARTING ||
           (c->run == RUN_NONE && c->image != PART_BUSY && !c->image_reason.n && !c->config_reason.n);
}

/* Not worth a write each: containers that come up together, and the moment between a run that was ended for a probe
 * and the next. */
static bool is_settling(struct agent_pod *ap, int64_t now)
{
    bool up = false, starting = false, replaced = false;
    array_each (c, &ap->pod->containers) {
        up = up || (c->role == CONTAINER_MAIN && (c->run == RUN_RUNNING || c->run == RUN_EXITED));
        starting = starting || (c->role == CONTAINER_MAIN && is_coming(c));
        replaced = replaced || (c->replacing && !c->backing_off && !c->image_reason.n && !c->config_reason.n &&
                                c->role != CONTAINER_EPHEMERAL);
    }
    if (!replaced && !(up && starting))
        ap->settling_since = 0;
    else if (!ap->settling_since)
        ap->settling_since = now;
    return ap->settling_since && now < ap->settling_since + SETTLE_MOST && ap->pod->state == POD_ACTIVE;
}

/* Containers that end one after another are told of when all have, as a kubelet does: until then the pod is as ready
 * as its probes say. */
static bool is_stopping(const struct pod *p)
{
    array_each (c, &p->containers)
        if (p->state == POD_STOPPING &&
            ((p->stop_since && c->ended_mono >= p->stop_since) || (p->finished_at && c->ended_mono > p->finished_at)))
            return true;
    return false;
}

static bool is_zero(const struct val *v)
{
    if (val_is(v, VAL_MAP)) {
        val_each_member (it, v)
            if (!is_zero(&it->v))
                return false;
        return true;
    }
    return !v || v->type == VAL_NULL || (v->type == VAL_BOOL && !v->b) || (v->type == VAL_INT && v->i == 0) ||
           ((v->type == VAL_STRING || v->type == VAL_LIST) && v->n == 0);
}

/* Equal, where what is zero may as well be absent: on its way here it is left out. */
static bool val_says_same(const struct val *a, const struct val *b)
{
    if (is_zero(a) || is_zero(b))
        return is_zero(a) && is_zero(b);
    if (a->type != b->type || a->type == VAL_LIST) {
        if (a->type != b->type || a->n != b->n)
            return false;
        for (uint32_t i = 0; i < a->n; i++)
            if (!val_says_same(&a->list[i], &b->list[i]))
                return false;
        return true;
    }
    if (a->type != VAL_MAP)
        return val_equal(a, b);
    val_each_member (it, a)
        if (!val_says_same(&it->v, val_get(b, it->name)))
            return false;
    val_each_member (it, b)
        if (!val_get(a, it->name) && !is_zero(&it->v))
            return false;
    return true;
}

/* In whatever order: those of others come in between, and that alone is nothing to write. */
static bool conditions_same(const struct val *a, const struct val *b)
{
    if (val_len(a) != val_len(b))
        return false;
    val_each_item (it, a)
        if (!val_says_same(it, val_find(b, N(type), val_text_at(it, N(type)))))
            return false;
    return true;
}

/* What others wrote into the status is in both. */
static bool status_same(const struct val *status, const struct val *have)
{
    val_each_member (it, status) {
        const struct val *other = val_get(have, it->name);
        if (it->name == N(conditions) ? !conditions_same(&it->v, other) : !val_says_same(&it->v, other))
            return false;
    }
    val_each_member (it, have)
        if (!val_get(status, it->name) && !is_zero(&it->v))
            return false;
    return true;
}

void agent_send_status(struct agent_pod *ap)
{
    const struct pod *p = ap->pod;
    const struct obj *shown = agent_shown(ap);
    int64_t now = clock_mono();
    bool undecided = ap->admitted && pod_resize_undecided(p); /* it will say what came of it */
    if (!shown || undecided || is_stopping(p) || p->concluded || ap->delete_sent || call_active(&ap->status_call) ||
        now < ap->status_retry_at || is_settling(ap, now))
        return;
    ap->status_retry_at = 0; /* this is the retry, also where there is nothing to write any more */
    struct arena a = ARENA;
    struct val status = pod_status(p, &a, clock_real());
    const struct val *have = ap->written.type == VAL_MAP && ap->written_rev >= shown->rev ? &ap->written
                                                                                          : obj_status(shown);
    if (status_same(&status, have)) {
        arena_fini(&a);
        return;
    }
    arena_fini(&ap->written_arena);
    ap->written_arena = a;
    ap->written = status;
    ap->written_rev = shown->rev;
    struct val body = val_map();
    val_set(&ap->written_arena, &body, N(status), status);
    call_start(&ap->status_call, ap->agent->cfg.transport,
               &CALL_OPTIONS(.verb = CALL_PATCH, .kind = K(Pod), .ns = p->ns, .name = p->name, .sub = S("status"),
                             .patch = PATCH_MERGE, .body = &body, .expect_rev = shown->rev,
                             .expect_uid = shown->uid));
}

bool agent_status_written(const struct agent_pod *ap)
{
    return !call_active(&ap->status_call) && !ap->status_retry_at;
}

/* At the first of what has a time. One that has passed without effect (the status cannot be written just now) is no
 * reason to step at once again, and again. */
void agent_wake_later(struct agent_pod *ap, int64_t at)
{
    int64_t now = clock_mono();
    const int64_t others[] = {ap->status_retry_at, ap->settling_since ? ap->settling_since + SETTLE_MOST : 0};
    for (size_t i = 0; i < countof(others); i++) {
        int64_t then = others[i] > now ? others[i] : now + NS_PER_S;
        if (others[i] && (!at || then < at))
            at = then;
    }
    if (ap->kicked)
        timer_set(&ap->wake, 0);
    else if (at)
        timer_set(&ap->wake, at - now);
}
