/* Pods leave a node with a NoExecute taint that they do not tolerate, or no longer. Upstream: pkg/controller/
 * tainteviction. */
#include "api/placement.h"
#include "control/manager.h"
#include "control/pods.h"

/* Since when the pod has had to leave. Few taints tell when they were added (kubectl's do not), so the first plan
 * that sees one counts, as upstream; it is remembered until no taint drives the pod away. */
static int64_t driven_since(const struct view *v, const struct obj *pod)
{
    const struct val *since = val_get_str(v->memory, pod->uid);
    return since ? val_num(since, 0) : v->now;
}

/* Until when the pod may stay; 0: at once, INT64_MAX: forever. */
static int64_t stays_until(const struct view *v, const struct obj *pod, const struct obj *node, int64_t since)
{
    int64_t until = INT64_MAX;
    val_each_item (taint, val_get(obj_spec(node), N(taints))) {
        if (!str_eqz(val_text_at(taint, N(effect)), "NoExecute"))
            continue;
        bool tolerated = false;
        int64_t least = INT64_MAX;
        val_each_item (t, val_get(obj_spec(pod), N(tolerations))) {
            struct val one = {.type = VAL_LIST, .n = 1, .list = (struct val *)t};
            if (!taint_tolerated(&one, taint))
                continue;
            tolerated = true;
            const struct val *s = val_get(t, N(tolerationSeconds));
            if (s)
                least = MIN(least, MAX(0, val_num(s, 0)));
        }
        if (!tolerated)
            return 0;
        const struct val *added = val_get(taint, N(timeAdded));
        if (least < INT64_MAX)
            until = MIN(until, MAX(added ? val_time(added) : since, v->woke) + ns_of_seconds(least));
    }
    return until;
}

static struct val status_disrupted(struct plan *out, const struct view *v, const struct obj *pod)
{
    struct val tree = plan_edit(out, pod);
    pod_disrupted(&out->arena, val_need_map(&out->arena, &tree, N(status)), pod, "DeletionByTaintManager",
                  S("Taint manager: deleting due to NoExecute taint"), v->now);
    return tree;
}

static void eviction_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *pod = view_get(v, K(Pod), key.ns, key.name);
    const struct obj *node = pod && pod_node(pod).n > 0 ? view_get(v, K(Node), S(""), pod_node(pod)) : NULL;
    if (!node || obj_deleting(pod) || pod_is_over(pod))
        return;
    int64_t since = driven_since(v, pod), until = stays_until(v, pod, node, since);
    if (until == INT64_MAX)
        return;
    out->memory = val_map();
    val_set_str(&out->arena, &out->memory, pod->uid, val_int(since));
    if (until > v->now) {
        plan_again(out, until);
        return;
    }
    plan_event(out, (struct obj *)pod, "Normal", "TaintManagerEviction",
               "Marking for deletion Pod " STR_FMT "/" STR_FMT, STR_ARG(pod->ns), STR_ARG(pod->name));
    if (!condition_is(obj_status(pod), "DisruptionTarget", "True"))
        plan_update(out, pod, S("status"), status_disrupted(out, v, pod));
    plan_step(out);
    plan_delete(out, pod);
}

static void keys_of_node(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                         void *arg)
{
    if (!now || (was && val_equal(val_get(obj_spec(was), N(taints)), val_get(obj_spec(now), N(taints)))))
        return;
    struct obj *pod;
    for (struct objset_iter it = view_with(v, K(Pod), &index_node, now->name); (pod = objset_next(&it));)
        add(arg, pod->ns, pod->name);
}

static void keys_of_pod(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    (void)v;
    if (now && pod_node(now).n > 0 &&
        (!was || pod_node(was).n == 0 ||
         !val_equal(val_get(obj_spec(was), N(tolerations)), val_get(obj_spec(now), N(tolerations)))))
        add(arg, now->ns, now->name);
}

static const struct controller_watch watches[] = {{K(Node), keys_of_node}, {K(Pod), keys_of_pod}, {0}};
const struct controller eviction_controller = {
    .name = "eviction",
    .component = "taint-eviction-controller",
    .account = "node-controller",
    .watches = watches,
    .plan = eviction_plan,
};
