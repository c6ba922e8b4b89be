/* The status of a PodDisruptionBudget: how many of its pods may be evicted now. Upstream: pkg/controller/disruption.
 */
#include "api/selector.h"
#include "control/manager.h"
#include "control/pods.h"

#define FORGET (2 * 60 * NS_PER_S) /* an eviction that was granted and has not been seen by then did not happen */

/* What the pod's controller wants in all: its ReplicaSet's Deployment, or the set itself. *who: what is counted once.
 */
static int64_t scale_of(const struct view *v, const struct obj *pod, struct str *who)
{
    const struct val *ref = obj_controller(pod);
    const struct obj *o = ref && str_eqz(val_text_at(ref, N(kind)), "ReplicaSet")
                              ? view_get(v, K(ReplicaSet), pod->ns, val_text_at(ref, N(name)))
                              : NULL;
    if (!o)
        return -1;
    const struct val *up = obj_controller(o);
    const struct obj *d = up && str_eqz(val_text_at(up, N(kind)), "Deployment")
                              ? view_get(v, K(Deployment), pod->ns, val_text_at(up, N(name)))
                              : NULL;
    o = d ? d : o;
    *who = o->uid;
    return val_num_at(obj_spec(o), 1, N(replicas));
}

struct counts {
    int64_t expected, healthy, desired;
    struct val disrupted; /* those still expected to go */
};

static bool counts_make(const struct view *v, const struct obj *pdb, struct plan *out, struct counts *c)
{
    struct selector *selector;
    struct err err = ERR;
    if (!selector_of(&out->arena, val_get(obj_spec(pdb), N(selector)), &selector, &err)) {
        plan_why(out, "spec.selector: %s", err.text);
        return false;
    }
    const struct val *least = val_get(obj_spec(pdb), N(minAvailable)),
                     *most = val_get(obj_spec(pdb), N(maxUnavailable));
    bool scaled = most || val_is(least, VAL_STRING), known = true;
    AUTO(map_fini) struct map seen = MAP;
    c->disrupted = val_map();
    struct obj *pod;
    for (struct objset_iter it = view_with(v, K(Pod), &index_namespace, pdb->ns); (pod = objset_next(&it));) {
        if (pod_is_over(pod) || !selector_matches(selector, obj_labels(pod)))
            continue;
        struct str who = S("");
        int64_t scale = scaled ? scale_of(v, pod, &who) : 1;
        if (!scaled)
            c->expected++;
        else if (scale < 0)
            known = false;
        else if (!map_put(&seen, who, pod))
            c->expected += scale;
        const struct val *when = val_get_str(val_get(obj_status(pdb), N(disruptedPods)), pod->name);
        if (obj_deleting(pod))
            continue;
        if (when && val_time(when) + FORGET > v->now) {
            val_set_str(&out->arena, &c->disrupted, pod->name, val_copy(&out->arena, when));
            plan_again(out, val_time(when) + FORGET);
            continue;
        }
        c->healthy += pod_is_ready(pod);
    }
    if (!known) {
        plan_why(out,
                 "spec: a percentage or maxUnavailable needs pods of a ReplicaSet or Deployment; use a number in "
                 "minAvailable");
        return false;
    }
    c->desired = most ? c->expected - int_or_percent(most, c->expected, true)
                      : int_or_percent(least, c->expected, true);
    c->desired = MAX(0, c->desired);
    return true;
}

static void condition_set(const struct view *v, const struct obj *pdb, struct plan *out, struct val *status, bool ok,
                          const char *reason, struct str message)
{
    struct arena *a = &out->arena;
    const struct val *old = condition_get(obj_status(pdb), "DisruptionAllowed");
    bool same = old && str_eqz(val_text_at(old, N(status)), ok ? "True" : "False");
    const struct val *since = same ? val_get(old, N(lastTransitionTime)) : NULL;
    struct val c = val_map(), list = val_list();
    val_set_text(a, &c, N(type), S("DisruptionAllowed"));
    val_set(a, &c, N(status), val_str(a, ok ? S("True") : S("False")));
    val_set_num(a, &c, N(observedGeneration), obj_generation(pdb));
    val_set(a, &c, N(lastTransitionTime), since ? val_copy(a, since) : val_str(a, time_text(a, v->now)));
    val_set(a, &c, N(reason), val_str(a, str_of(reason)));
    val_set(a, &c, N(message), val_str(a, message));
    val_add(a, &list, c);
    val_set(a, status, N(conditions), list);
}

static void disruption_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *pdb = view_get(v, K(PodDisruptionBudget), key.ns, key.name);
    if (!pdb)
        return;
    struct counts c = {0};
    struct arena *a = &out->arena;
    bool ok = counts_make(v, pdb, out, &c);
    struct val tree = plan_edit(out, pdb), *status = val_need_map(a, &tree, N(status));
    int64_t allowed = ok && c.expected > 0 ? MAX(0, c.healthy - c.desired) : 0;
    if (ok) {
        val_set_num(a, status, N(currentHealthy), c.healthy);
        val_set_num(a, status, N(desiredHealthy), c.desired);
        val_set_num(a, status, N(expectedPods), c.expected);
    }
    val_set_num(a, status, N(disruptionsAllowed), allowed);
    val_set_num(a, status, N(observedGeneration), obj_generation(pdb));
    if (c.disrupted.n > 0)
        val_set(a, status, N(disruptedPods), c.disrupted);
    else
        val_del(status, N(disruptedPods));
    condition_set(v, pdb, out, status, allowed > 0,
                  !ok           ? "SyncFailed"
                  : allowed > 0 ? "SufficientPods"
                                : "InsufficientPods",
                  ok ? S("") : out->why);
    plan_update(out, pdb, S("status"), tree);
}

static void keys_of_pod(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    const struct obj *o = now ? now : was;
    struct obj *pdb;
    for (struct objset_iter it = view_with(v, K(PodDisruptionBudget), &index_namespace, o->ns);
         (pdb = objset_next(&it));)
        add(arg, pdb->ns, pdb->name);
}

static const struct controller_watch watches[] = {{K(PodDisruptionBudget), keys_self},
                                                  {K(Pod), keys_of_pod},
                                                  {K(ReplicaSet), keys_of_pod},
                                                  {K(Deployment), keys_of_pod},
                                                  {0}};
const struct controller disruption_controller = {
    .name = "disruption",
    .component = "controllermanager",
    .account = "disruption-controller",
    .watches = watches,
    .plan = disruption_plan,
};
