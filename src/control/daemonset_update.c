/* How pods of an old template make way for new ones. Without surge an old pod is deleted, as many at a time as may be
 * missing, and the node gets a new one when it is gone; with surge the new one comes first, beside it, on so many
 * nodes at a time, and the old one goes once that is available. An old pod that is not available costs nobody
 * anything and goes at once; but it counts as missing, so that no other goes too many beside it (upstream lets that
 * happen). Upstream: pkg/controller/daemon/update.go. */
#include "control/daemonset_int.h"

void daemon_bounds(const struct obj *ds, int64_t nodes, int64_t *surge, int64_t *unavailable)
{
    const struct val *rolling = val_at(obj_spec(ds), N(updateStrategy), N(rollingUpdate));
    *surge = int_or_percent(val_get(rolling, N(maxSurge)), nodes, true);
    *unavailable = int_or_percent(val_get(rolling, N(maxUnavailable)), nodes, true);
    if (nodes > 0 && *surge == 0 && *unavailable == 0)
        *unavailable = 1; /* what cannot be is not obeyed */
}

/* At most one of each; false: more, which are taken away first. */
struct daemon_pair {
    struct obj *old, *fresh;
};
static bool pair_find(struct daemon_work *w, const struct daemon_pod *pods, size_t n, struct daemon_pair *pair)
{
    *pair = (struct daemon_pair){0};
    for (size_t i = 0; i < n; i++) {
        struct obj *pod = pods[i].pod;
        struct obj **place = daemon_pod_is_new(w->ds, pod, w->hash) ? &pair->fresh : &pair->old;
        if (obj_deleting(pod))
            continue;
        if (*place)
            return false;
        *place = pod;
    }
    return true;
}

/* What is known of the nodes, one after the other: those that should run a pod or have one. */
struct daemon_tally {
    int64_t missing, surging, available;
    ARRAY(struct obj *) candidates; /* old pods that are available */
    ARRAY(struct obj *) strays;     /* on nodes that are to have none any more */
};

static void node_tally(struct daemon_work *w, struct daemon_tally *t, const struct daemon_pair *pair, bool runs)
{
    bool new_ok = pair->fresh && daemon_pod_available(w, pair->fresh);
    bool old_ok = pair->old && daemon_pod_available(w, pair->old);
    t->available += pair->old ? old_ok : new_ok;
    if (!pair->old || (pair->fresh && w->surge == 0)) {
        t->missing += !pair->fresh || pair->old || !new_ok;
    } else if (pair->fresh) { /* beside it */
        if (new_ok)
            daemon_leave(w, pair->old);
        else
            t->surging++;
    } else if (old_ok) {
        array_push(&t->candidates, pair->old);
    } else if (w->surge == 0) {
        daemon_leave(w, pair->old);
        t->missing++;
    } else if (runs) {
        daemon_start(w, daemon_node(pair->old), 0);
    } else {
        array_push(&t->strays, pair->old);
    }
}

static void tally_use(struct daemon_work *w, struct daemon_tally *t)
{
    int64_t left = w->surge ? w->surge - t->surging : w->unavailable - t->missing;
    for (size_t i = 0; i < t->candidates.n && (int64_t)i < left; i++)
        if (w->surge)
            daemon_start(w, daemon_node(t->candidates.p[i]), 0);
        else
            daemon_leave(w, t->candidates.p[i]);
    for (size_t i = 0; i < t->strays.n && (int64_t)i < t->available - w->desired; i++)
        daemon_leave(w, t->strays.p[i]); /* what serves elsewhere is enough */
    if ((int64_t)t->candidates.n > MAX(left, 0) && left <= 0)
        plan_why(w->out, "the rollout waits: %lld of %lld pods are %s, and updateStrategy allows %lld (%s)",
                 (long long)(w->surge ? t->surging : t->missing), (long long)w->desired,
                 w->surge ? "new and not available yet" : "not available",
                 (long long)(w->surge ? w->surge : w->unavailable), w->surge ? "maxSurge" : "maxUnavailable");
}

void daemon_roll(struct daemon_work *w)
{
    struct daemon_tally t = {0};
    struct daemon_pair pair;
    size_t n;
    struct obj *node;
    for (struct objset_iter it = view_all(w->v, K(Node)); (node = objset_next(&it));) {
        const struct daemon_pod *pods = daemon_pods_on(&w->pods, node->name, &n);
        bool runs = daemon_wish(&w->rules, node) == DAEMON_RUNS;
        if (!runs && n == 0)
            continue;
        if (pair_find(w, pods, n, &pair))
            node_tally(w, &t, &pair, runs);
        else if (w->surge)
            t.surging++;
        else
            t.missing++;
    }
    tally_use(w, &t);
    array_fini(&t.candidates);
    array_fini(&t.strays);
}
