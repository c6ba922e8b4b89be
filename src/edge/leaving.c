/* leaving.c - a pod that goes is told to end only when the front door has forgotten it, too. What the proxy has is
 * published in one small object, Lease kube-system/wherry-edge-NODE: its annotation wherry.dev/applied is the highest
 * resourceVersion of an EndpointSlice that is in the proxy; nodes wait for it (node/doors.h). It is written when
 * something that is not ready any more has been taken in - not for what comes, so that a rollout is few writes and a
 * cluster at rest none - and is there only while there is a pool. */
#include "base/log.h"
#include "edge/edge.h"

#define AGAIN (NS_PER_S)

struct edge_leaving {
    struct edge *edge;
    struct call call;
    struct timer again;
    int64_t seen; /* the newest slice */
    bool due;     /* to be published, as of `seen` */
    bool pending; /* put, and not applied yet: */
    uint64_t pending_commit;
    int64_t pending_slice;
    int64_t applied, written; /* 0: nothing */
    bool there, calling;      /* the object, as far as is known; a call is under way */
    bool serves;
    enum call_verb verb;
};

static bool slice_lets_go(const struct obj *slice)
{
    val_each_item (e, val_get(&slice->tree, N(endpoints))) {
        const struct val *ready = val_at(e, N(conditions), N(ready));
        if (ready && !val_true(ready))
            return true;
    }
    return false;
}

static void leaving_changed(void *state, const struct kind *k, const struct obj *was UNUSED, const struct obj *now)
{
    struct edge_leaving *l = state;
    if (k != K(EndpointSlice) || !now)
        return;
    l->seen = MAX(l->seen, now->rev);
    l->due |= slice_lets_go(now);
}

static struct str lease_name(const struct edge_leaving *l, struct arena *a)
{
    return arena_fmt(a, "wherry-edge-" STR_FMT, STR_ARG(l->edge->config->node));
}

static struct val lease_body(const struct edge_leaving *l, struct arena *a, bool whole)
{
    struct val body = val_map();
    struct val *meta = val_need_map(a, &body, N(metadata)), *map = val_need_map(a, meta, N(annotations));
    val_set_str(a, map, S("wherry.dev/applied"), val_str(a, arena_fmt(a, "%lld", (long long)l->applied)));
    if (!whole)
        return body;
    val_set_text(a, &body, N(apiVersion), S("coordination.k8s.io/v1"));
    val_set_text(a, &body, N(kind), S("Lease"));
    meta = val_need_map(a, &body, N(metadata));
    val_set_text(a, meta, N(name), lease_name(l, a));
    val_set_text(a, meta, N(namespace), S("kube-system"));
    map = val_need_map(a, meta, N(labels));
    val_set_str(a, map, S("wherry.dev/edge"), val_str_borrowed(S("true")));
    val_set_text(a, val_need_map(a, &body, N(spec)), N(holderIdentity), l->edge->config->node);
    return body;
}

static void lease_call(struct edge_leaving *l, enum call_verb verb)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val body = verb == CALL_DELETE ? val_map() : lease_body(l, &a, verb == CALL_CREATE);
    struct call_options o = CALL_OPTIONS(.verb = verb, .kind = K(Lease), .ns = S("kube-system"));
    if (verb != CALL_CREATE)
        o.name = lease_name(l, &a);
    if (verb != CALL_DELETE)
        o.body = &body;
    if (verb == CALL_PATCH)
        o.patch = PATCH_MERGE;
    l->verb = verb;
    l->calling = true;
    if (verb != CALL_DELETE)
        l->written = l->applied;
    call_start(&l->call, l->edge->config->transport, &o);
}

/* What is to be there, one call after the other. */
static void lease_write(struct edge_leaving *l)
{
    if (l->calling || timer_is_set(&l->again))
        return;
    if (!l->serves && l->there)
        lease_call(l, CALL_DELETE);
    else if (l->serves && l->applied && l->applied != l->written)
        lease_call(l, l->there ? CALL_PATCH : CALL_CREATE);
}

static void lease_written(struct call *c)
{
    struct edge_leaving *l = container_of(c, struct edge_leaving, call);
    bool gone = c->err.kind == E_NOT_FOUND, there = c->err.kind == E_ALREADY_EXISTS;
    l->calling = false;
    if (c->ok || (l->verb == CALL_DELETE && gone)) {
        l->there = l->verb != CALL_DELETE;
        if (!l->there)
            l->written = 0;
    } else {
        l->written = 0;
        l->there = (l->there || there) && !gone;
        if (!gone && !there) {
            log_warn("edge.applied", "pods that end wait in vain for the front door: error=\"%s\"", c->err.text);
            timer_set(&l->again, AGAIN);
        }
    }
    lease_write(l);
}

static void again_over(struct timer *t)
{
    lease_write(container_of(t, struct edge_leaving, again));
}

static bool leaving_decide(void *state)
{
    struct edge_leaving *l = state;
    l->serves = pools_any(l->edge->pools);
    if (!l->serves) {
        l->due = true; /* from the first pool on */
        l->pending = false;
        l->applied = 0;
        lease_write(l);
        return false;
    }
    if (!l->due)
        return false;
    l->due = false;
    l->pending = true;
    l->pending_commit = l->edge->revision;
    l->pending_slice = l->seen;
    return true; /* also where no pool has changed: what was committed before may not be applied yet */
}

static void leaving_applied(void *state, uint64_t revision)
{
    struct edge_leaving *l = state;
    if (!l->pending || revision < l->pending_commit)
        return;
    l->pending = false;
    l->applied = MAX(l->applied, l->pending_slice);
    lease_write(l);
}

static void *leaving_start(struct edge *e)
{
    struct edge_leaving *l = NEW(struct edge_leaving);
    l->edge = e;
    l->due = true;
    l->there = true; /* of an earlier life: the first word says */
    l->call.done = lease_written;
    timer_init(&l->again, e->loop, again_over);
    return l;
}

static void leaving_stop(void *state)
{
    struct edge_leaving *l = state;
    timer_stop(&l->again);
    call_cancel(&l->call);
    mem_free(l);
}

const struct edge_source edge_leaving = {
    .name = "EndpointSlice",
    .start = leaving_start,
    .stop = leaving_stop,
    .changed = leaving_changed,
    .decide = leaving_decide,
    .applied = leaving_applied,
};
