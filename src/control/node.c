/* A node that no longer renews its lease: its conditions become Unknown, taints follow the conditions, its pods are
 * no longer ready. Upstream: pkg/controller/nodelifecycle. */
#include "control/manager.h"
#include "control/pods.h"

#define GRACE (40 * NS_PER_S)
/* While a node is silent, it is looked at so often: a look that comes late tells that it was we who slept
 * (view.woke). A little more than the time between two renewals, so it costs nothing while they come. */
#define LOOK (12 * NS_PER_S)

/* What taints a condition stands for; `when` its status is this. */
static const struct condition_taint {
    const char *type, *when, *key;
    bool no_execute;
} condition_taints[] = {
    {"Ready", "False", "node.kubernetes.io/not-ready", true},
    {"Ready", "Unknown", "node.kubernetes.io/unreachable", true},
    {"MemoryPressure", "True", "node.kubernetes.io/memory-pressure", false},
    {"DiskPressure", "True", "node.kubernetes.io/disk-pressure", false},
    {"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable", false},
    {"PIDPressure", "True", "node.kubernetes.io/pid-pressure", false},
};
#define CORDON "node.kubernetes.io/unschedulable"

/* A time that a node's clock, or ours before it was set back, has put far into the future proves nothing. */
static int64_t time_believed(const struct view *v, int64_t at)
{
    return at <= v->now + GRACE ? at : 0;
}

static int64_t last_sign(const struct view *v, const struct obj *node)
{
    const struct obj *lease = view_get(v, K(Lease), S("kube-node-lease"), node->name);
    int64_t beat = val_time(val_get(condition_get(obj_status(node), "Ready"), N(lastHeartbeatTime))),
            seen = MAX(v->since, v->woke), /* before that we could not have heard it */
        renewed = lease ? time_believed(v, val_time(val_get(obj_spec(lease), N(renewTime)))) : 0;
    seen = MAX(seen, MAX(renewed, v->heard)); /* that a lease changes is a sign, whatever time stands in it */
    return MAX(seen, MAX(time_believed(v, obj_created(node)), time_believed(v, beat)));
}

static void unknown_set(const struct view *v, const struct obj *node, struct plan *out)
{
    static const char *const types[] = {"MemoryPressure", "DiskPressure", "PIDPressure", "Ready"};
    struct arena *a = &out->arena;
    struct val tree = plan_edit(out, node), *status = val_need_map(a, &tree, N(status));
    struct val *list = val_get_mut(status, N(conditions)), now = val_str(a, time_text(a, v->now));
    if (!list)
        list = val_set(a, status, N(conditions), val_list());
    for (size_t i = 0; i < countof(types); i++) {
        struct val *c = condition_get_mut(status, types[i]);
        bool never = !c;
        if (never) {
            val_add(a, list, val_map());
            c = &list->list[list->n - 1];
            val_set(a, c, N(type), val_str(a, str_of(types[i])));
            val_set(a, c, N(lastHeartbeatTime), val_str(a, time_text(a, obj_created(node))));
        }
        if (str_eqz(val_text_at(c, N(status)), "Unknown"))
            continue;
        val_set_text(a, c, N(status), S("Unknown"));
        val_set(a, c, N(lastTransitionTime), now);
        val_set_text(a, c, N(reason), never ? S("NodeStatusNeverUpdated") : S("NodeStatusUnknown"));
        val_set_text(a, c, N(message),
                     never ? S("Kubelet never posted node status.") : S("Kubelet stopped posting node status."));
    }
    struct action *act = plan_update(out, node, S("status"), tree);
    if (act)
        act->done = plan_event_of(out, node, "Normal", "NodeNotReady", "Node " STR_FMT " status is now: NodeNotReady",
                                  STR_ARG(node->name));
}

static bool taint_is_ours(struct str key)
{
    for (size_t i = 0; i < countof(condition_taints); i++)
        if (str_eqz(key, condition_taints[i].key))
            return true;
    return str_eqz(key, CORDON);
}

static void taint_want(struct plan *out, const struct view *v, const struct obj *node, struct val *list,
                       const char *key, const char *effect)
{
    struct arena *a = &out->arena;
    val_each_item (it, val_get(obj_spec(node), N(taints)))
        if (str_eqz(val_text_at(it, N(key)), key) && str_eqz(val_text_at(it, N(effect)), effect)) {
            val_add(a, list, val_copy(a, it));
            return;
        }
    struct val t = val_map();
    val_set(a, &t, N(key), val_str(a, str_of(key)));
    val_set(a, &t, N(effect), val_str(a, str_of(effect)));
    val_set(a, &t, N(timeAdded), val_str(a, time_text(a, v->now)));
    val_add(a, list, t);
}

static void taints_plan(const struct view *v, const struct obj *node, struct plan *out)
{
    struct arena *a = &out->arena;
    struct val list = val_list();
    const struct val *have = val_get(obj_spec(node), N(taints));
    val_each_item (it, have)
        if (!taint_is_ours(val_text_at(it, N(key))))
            val_add(a, &list, val_copy(a, it));
    for (size_t i = 0; i < countof(condition_taints); i++) {
        const struct condition_taint *t = &condition_taints[i];
        if (!condition_is(obj_status(node), t->type, t->when))
            continue;
        taint_want(out, v, node, &list, t->key, "NoSchedule");
        if (t->no_execute)
            taint_want(out, v, node, &list, t->key, "NoExecute");
    }
    if (val_true(val_get(obj_spec(node), N(unschedulable))))
        taint_want(out, v, node, &list, CORDON, "NoSchedule");
    bool same = val_len(have) == list.n;
    for (size_t i = 0; same && i < list.n; i++) {
        bool found = false;
        val_each_item (it, have)
            found |= val_equal(it, &list.list[i]);
        same = found;
    }
    if (same)
        return;
    struct val patch = val_map();
    val_set(a, val_set(a, &patch, N(spec), val_map()), N(taints), list.n > 0 ? list : VAL_NONE);
    plan_patch(out, node, S(""), patch)->expect_rev = node->rev;
}

/* Its pods cannot be reached: they must not be sent requests, whatever they last said of themselves. */
static void pods_unready(const struct view *v, const struct obj *node, struct plan *out)
{
    struct arena *a = &out->arena;
    struct obj *pod;
    for (struct objset_iter it = view_with(v, K(Pod), &index_node, node->name); (pod = objset_next(&it));) {
        if (!pod_is_ready(pod))
            continue;
        struct val tree = plan_edit(out, pod);
        struct val *ready = condition_get_mut(val_need_map(a, &tree, N(status)), "Ready");
        val_set_text(a, ready, N(status), S("False"));
        val_set(a, ready, N(lastTransitionTime), val_str(a, time_text(a, v->now)));
        struct action *act = plan_update(out, pod, S("status"), tree);
        if (act)
            act->done = plan_event_of(out, pod, "Warning", "NodeNotReady", "Node is not ready");
    }
}

static void node_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *node = view_get(v, K(Node), S(""), key.name);
    if (!node)
        return;
    const struct val *status = obj_status(node);
    int64_t seen = last_sign(v, node);
    bool lost = v->now - seen >= GRACE;
    if (lost && !(condition_is(status, "Ready", "Unknown") && condition_is(status, "MemoryPressure", "Unknown")))
        unknown_set(v, node, out); /* taints and pods follow when that is seen */
    else
        taints_plan(v, node, out);
    if (!lost)
        plan_again(out, MIN(seen + GRACE, v->now + LOOK));
    if (condition_get(status, "Ready") && !condition_is(status, "Ready", "True"))
        pods_unready(v, node, out);
    if (lost)
        plan_why(out, "the node has not renewed its lease for %lld s", (long long)((v->now - seen) / NS_PER_S));
}

static void keys_of_lease(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                          void *arg)
{
    const struct obj *o = now ? now : was;
    (void)v;
    if (str_eqz(o->ns, "kube-node-lease"))
        add(arg, S(""), o->name);
}

/* A pod that says it is ready on a node that is not. */
static void keys_of_pod(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    (void)was;
    const struct obj *node = now && pod_is_ready(now) ? view_get(v, K(Node), S(""), pod_node(now)) : NULL;
    if (node && !condition_is(obj_status(node), "Ready", "True"))
        add(arg, S(""), node->name);
}

static const struct controller_watch watches[] = {
    {K(Node), keys_self}, {K(Lease), keys_of_lease}, {K(Pod), keys_of_pod}, {0}};
const struct controller node_controller = {
    .name = "node",
    .component = "node-controller",
    .account = "node-controller",
    .watches = watches,
    .sign = K(Lease),
    .plan = node_plan,
};
