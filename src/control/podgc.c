/* Pods that no node will ever end: bound to one that is gone, or deleted before they had one.
 * Upstream: pkg/controller/podgc. */
#include "control/manager.h"
#include "control/pods.h"
#include <stdlib.h>

#define EVICTED_KEPT 5               /* of one owner */
#define QUARANTINE   (40 * NS_PER_S) /* a node that was deleted by mistake registers again within it */

static struct val status_lost(struct plan *out, const struct view *v, const struct obj *pod)
{
    struct arena *a = &out->arena;
    struct val patch = val_map(), *status = val_set(a, &patch, N(status), val_map());
    pod_disrupted(a, status, pod, "DeletionByPodGC", S("PodGC: node no longer exists"), v->now);
    val_set_text(a, status, N(phase), S("Failed"));
    return patch;
}

static struct val status_failed(struct plan *out)
{
    struct val patch = val_map();
    val_set_text(&out->arena, val_need_map(&out->arena, &patch, N(status)), N(phase), S("Failed"));
    return patch;
}

/* A set whose pods a node evicts again and again would leave hundreds that nobody looks at: a few tell as much. Those
 * of a Job are its own to count. */
static bool is_evicted_child(const struct obj *pod)
{
    const struct val *owner = obj_controller(pod);
    return owner && pod_is_over(pod) && !obj_deleting(pod) &&
           str_eqz(val_text_at(obj_status(pod), N(reason)), "Evicted") &&
           !str_eqz(val_text_at(owner, N(kind)), "Job");
}

static int by_age(const void *x, const void *y) /* the newest first */
{
    const struct obj *a = *(struct obj *const *)x, *b = *(struct obj *const *)y;
    int64_t at = obj_created(a), bt = obj_created(b);
    return at != bt ? (at > bt ? -1 : 1) : str_cmp(a->name, b->name);
}

static void evicted_plan(const struct view *v, const struct obj *pod, struct plan *out)
{
    struct str owner = val_text_at(obj_controller(pod), N(uid));
    ARRAY(struct obj *) all = {0};
    struct obj *o;
    for (struct objset_iter it = view_with(v, K(Pod), &index_controller, owner); (o = objset_next(&it));)
        if (is_evicted_child(o))
            array_push(&all, o);
    if (all.n > EVICTED_KEPT) {
        qsort(all.p, all.n, sizeof *all.p, by_age);
        for (size_t i = EVICTED_KEPT; i < all.n; i++)
            plan_delete(out, all.p[i]);
    }
    array_fini(&all);
}

static void podgc_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *pod = view_get(v, K(Pod), key.ns, key.name);
    if (!pod)
        return;
    struct str node = pod_node(pod);
    if (node.n == 0 && obj_deleting(pod)) {
        if (val_len(val_get(obj_meta(pod), N(finalizers))) > 0 && !pod_is_over(pod)) {
            /* who keeps it is told that it has ended */
            plan_patch(out, pod, S("status"), status_failed(out))->expect_rev = pod->rev;
            plan_step(out);
        }
        plan_delete(out, pod)->grace_s = 0;
        return;
    }
    if (node.n > 0 && view_get(v, K(Node), S(""), node) && is_evicted_child(pod))
        evicted_plan(v, pod, out);
    if (node.n == 0 || view_get(v, K(Node), S(""), node))
        return;
    plan_why(out, "node " STR_FMT " does not exist", STR_ARG(node));
    int64_t since = v->why_since ? v->why_since : v->now;
    if (v->now - since < QUARANTINE) {
        plan_again(out, since + QUARANTINE);
        return;
    }
    plan_check_gone(out, K(Node), S(""), node, S(""));
    plan_step(out);
    if (!pod_is_over(pod)) {
        plan_patch(out, pod, S("status"), status_lost(out, v, pod))->expect_rev = pod->rev;
        plan_step(out);
    }
    plan_delete(out, pod)->grace_s = 0;
}

static void keys_of_node(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                         void *arg)
{
    if (was && now)
        return;
    struct obj *pod;
    for (struct objset_iter it = view_with(v, K(Pod), &index_node, (now ? now : was)->name);
         (pod = objset_next(&it));)
        add(arg, pod->ns, pod->name);
}

static void keys_of_pod(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    (void)was;
    if (!now)
        return;
    bool homeless = pod_node(now).n > 0 ? !view_get(v, K(Node), S(""), pod_node(now)) : obj_deleting(now);
    if (homeless || is_evicted_child(now))
        add(arg, now->ns, now->name);
}

static const struct controller_watch watches[] = {{K(Node), keys_of_node}, {K(Pod), keys_of_pod}, {0}};
const struct controller podgc_controller = {
    .name = "podgc",
    .component = "pod-garbage-collector",
    .account = "pod-garbage-collector",
    .watches = watches,
    .plan = podgc_plan,
};
