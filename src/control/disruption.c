/* The status of a PodDisruptionBudget: how many of its pods may be evicted now. Upstream: pkg/controller/disruption.
 */
#include "api/custom.h"
#include "api/selector.h"
#include "api/strategy.h"
#include "control/manager.h"
#include "control/pods.h"

#define FORGET (2 * 60 * NS_PER_S) /* an eviction that was granted and has not been seen by then did not happen */

static const struct obj *owner_found(const struct view *v, const struct kind *k, struct str ns, const struct val *ref)
{
    const struct obj *o = view_get(v, k, k->namespaced ? ns : S(""), val_text_at(ref, N(name)));
    return o && str_eq(o->uid, val_text_at(ref, N(uid))) ? o : NULL;
}

/* The object whose replicas are those of the pod's controller: of a ReplicaSet its Deployment, if it has one; else
 * whatever has a scale, be it of a definition. NULL, and why: nobody's that can be scaled. */
static const struct obj *scaler_of(const struct view *v, const struct obj *pod, const struct val *ref,
                                   struct plan *out)
{
    struct str version = val_text_at(ref, N(apiVersion)), kind = val_text_at(ref, N(kind));
    const struct kind *k = kind_set_of_api_version(view_kinds(v), version, kind);
    if (!k) {
        plan_why(out, "no matches for kind \"" STR_FMT "\" in version \"" STR_FMT "\"", STR_ARG(kind),
                 STR_ARG(version));
        return NULL;
    }
    if (!kind_is_scaled(k)) {
        plan_why(out, STR_FMT "%s" STR_FMT " does not implement the scale subresource", STR_ARG(k->plural),
                 k->group.n > 0 ? "." : "", STR_ARG(k->group));
        return NULL;
    }
    k = kind_watched(view_kinds(v), k);
    const struct obj *o = k ? owner_found(v, k, pod->ns, ref) : NULL;
    const struct val *up = o && k == K(ReplicaSet) ? obj_controller(o) : NULL;
    const struct obj *deployment = up && str_eqz(val_text_at(up, N(kind)), "Deployment")
                                       ? owner_found(v, K(Deployment), pod->ns, up)
                                       : NULL;
    if (!o)
        plan_why(out, "found no controllers for pod \"" STR_FMT "\"", STR_ARG(pod->name));
    return deployment ? deployment : o;
}

static int64_t replicas_wanted(struct arena *a, const struct obj *o)
{
    struct val scale;
    if (!o->kind->custom)
        return val_num_at(obj_spec(o), 1, N(replicas));
    return kind_scale_of(a, o->kind, &o->tree, &scale) ? val_num_at(&scale, 0, N(spec), N(replicas)) : 0;
}

struct counts {
    int64_t expected, healthy, desired;
    size_t pods, unmanaged;
    struct val disrupted; /* those still expected to go */
    struct map scalers;   /* uid of those already counted */
};

static bool counts_expect(const struct view *v, const struct obj *pod, struct counts *c, struct plan *out)
{
    const struct val *ref = obj_controller(pod);
    if (!ref) {
        c->unmanaged++;
        return true;
    }
    const struct obj *o = scaler_of(v, pod, ref, out);
    if (!o)
        return false;
    if (!map_put(&c->scalers, o->uid, (void *)(uintptr_t)o))
        c->expected += replicas_wanted(&out->arena, o);
    return true;
}

static void count_pod(const struct view *v, const struct obj *pdb, const struct obj *pod, struct counts *c,
                      struct plan *out)
{
    const struct val *when = val_get_str(val_get(obj_status(pdb), N(disruptedPods)), pod->name);
    if (obj_deleting(pod))
        return;
    if (when && val_time(when) + FORGET > v->now) {
        val_set_str(&out->arena, &c->disrupted, pod->name, val_copy(&out->arena, when));
        plan_again(out, val_time(when) + FORGET);
        return;
    }
    if (when)
        plan_event(out, (struct obj *)pod, "Warning", "NotDeleted",
                   "Pod was expected by PDB " STR_FMT "/" STR_FMT " to be deleted but it wasn't", STR_ARG(pdb->ns),
                   STR_ARG(pdb->name));
    c->healthy += pod_is_ready(pod);
}

/* Is said once for each generation, and when it has become so. */
static void events_plan(const struct obj *pdb, const struct counts *c, struct plan *out)
{
    const struct val *status = obj_status(pdb);
    bool fresh = val_num_at(status, 0, N(observedGeneration)) < obj_generation(pdb);
    bool had = val_num_at(status, 0, N(expectedPods)) > 0;
    if (!c->pods && (fresh || had))
        plan_event(out, (struct obj *)pdb, "Normal", "NoPods", "No matching pods found");
    if (c->unmanaged && (fresh || val_num_at(status, -1, N(expectedPods)) != c->expected))
        plan_event(
            out, (struct obj *)pdb, "Warning", "UnmanagedPods",
            "%zu of the pods that this PodDisruptionBudget selects have no controller and are not counted: its "
            "status cannot be calculated correctly. To account for these pods please set "
            "\".spec.minAvailable\" field of the PDB to an integer value.",
            c->unmanaged);
}

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
    c->disrupted = val_map();
    struct obj *pod;
    for (struct objset_iter it = view_with(v, K(Pod), &index_namespace, pdb->ns); (pod = objset_next(&it));) {
        if (!selector_matches(selector, obj_labels(pod)))
            continue;
        c->pods++;
        if (scaled)
            known = known && counts_expect(v, pod, c, out);
        else
            c->expected++;
        count_pod(v, pdb, pod, c, out);
    }
    map_fini(&c->scalers);
    if (!known) {
        plan_event(out, (struct obj *)pdb, "Warning", "CalculateExpectedPodCountFailed",
                   "Failed to calculate the number of expected pods: " STR_FMT, STR_ARG(out->why));
        return false;
    }
    events_plan(pdb, c, out);
    c->desired = most ? c->expected - int_or_percent(most, c->expected, true)
                      : int_or_percent(least, c->expected, true);
    c->desired = MAX(0, c->desired);
    return true;
}

static void condition_set(const struct view *v, const struct obj *pdb, struct plan *out, struct val *status, bool ok,
                          const char *reason, struct str message)
{
    struct arena *a = &out->arena;
    struct condition c = {.type = "DisruptionAllowed",
                          .status = ok ? "True" : "False",
                          .reason = reason,
                          .message = message,
                          .observed = OBSERVED,
                          .generation = val_num_at(status, 0, N(observedGeneration))};
    struct val list = val_list();
    val_add(a, &list, condition_make(a, &c, condition_get(obj_status(pdb), c.type), v->now));
    conditions_set(a, status, list);
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
        val_set_num(a, status, N(observedGeneration), obj_generation(pdb));
        if (c.disrupted.n > 0)
            val_set(a, status, N(disruptedPods), c.disrupted);
        else
            val_del(status, N(disruptedPods));
    }
    val_set_num(a, status, N(disruptionsAllowed), allowed); /* whatever failed: nobody is evicted meanwhile */
    condition_set(v, pdb, out, status, allowed > 0,
                  !ok           ? "SyncFailed"
                  : allowed > 0 ? "SufficientPods"
                                : "InsufficientPods",
                  ok ? S("") : out->why);
    plan_update(out, pdb, S("status"), tree);
}

static bool budget_selects(const struct obj *pdb, const struct obj *pod)
{
    return pod && label_selector_matches(val_get(obj_spec(pdb), N(selector)), obj_labels(pod));
}

/* What of a pod counts; other changes concern no budget. */
static bool counts_differ(const struct obj *was, const struct obj *now)
{
    return !was || !now || !str_eq(was->uid, now->uid) || pod_is_ready(was) != pod_is_ready(now) ||
           pod_is_over(was) != pod_is_over(now) || obj_deleting(was) != obj_deleting(now) ||
           !val_equal(obj_labels(was), obj_labels(now)) || !val_equal(obj_controller(was), obj_controller(now));
}

static void keys_of_pod(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    const struct obj *o = now ? now : was;
    struct obj *pdb;
    if (!counts_differ(was, now))
        return;
    for (struct objset_iter it = view_with(v, K(PodDisruptionBudget), &index_namespace, o->ns);
         (pdb = objset_next(&it));)
        if (budget_selects(pdb, was) || budget_selects(pdb, now))
            add(arg, pdb->ns, pdb->name);
}

static void keys_of_owner(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                          void *arg)
{
    const struct obj *o = now ? now : was;
    struct obj *pdb;
    if (was && now && val_equal(val_get(obj_spec(was), N(replicas)), val_get(obj_spec(now), N(replicas))))
        return;
    for (struct objset_iter it = view_with(v, K(PodDisruptionBudget), &index_namespace, o->ns);
         (pdb = objset_next(&it));)
        add(arg, pdb->ns, pdb->name);
}

/* Of a definition's kind that has a scale, how many it wants is told too. */
static void keys_of_any(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    const struct obj *o = now ? now : was;
    struct obj *pdb;
    if (!o->kind->custom || !kind_is_scaled(o->kind))
        return;
    AUTO(arena_fini) struct arena a = ARENA;
    if (was && now && replicas_wanted(&a, was) == replicas_wanted(&a, now))
        return;
    struct objset_iter it = o->kind->namespaced ? view_with(v, K(PodDisruptionBudget), &index_namespace, o->ns)
                                                : view_all(v, K(PodDisruptionBudget));
    while ((pdb = objset_next(&it)))
        add(arg, pdb->ns, pdb->name);
}

static const struct controller_watch watches[] = {{K(PodDisruptionBudget), keys_self},
                                                  {K(Pod), keys_of_pod},
                                                  {K(ReplicaSet), keys_of_owner},
                                                  {K(Deployment), keys_of_owner},
                                                  {K(StatefulSet), keys_of_owner},
                                                  {K(ReplicationController), keys_of_owner},
                                                  {0}};
const struct controller disruption_controller = {
    .name = "disruption",
    .component = "controllermanager",
    .account = "disruption-controller",
    .watches = watches,
    .any = keys_of_any,
    .plan = disruption_plan,
};

/* ---- a pod that was to be evicted and was not is no target any more ---- */

static void stale_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *pod = view_get(v, K(Pod), key.ns, key.name);
    const struct val *c = pod ? condition_get(obj_status(pod), "DisruptionTarget") : NULL;
    if (!c || obj_deleting(pod) || pod_is_over(pod) || !str_eqz(val_text_at(c, N(status)), "True") ||
        str_eqz(val_text_at(c, N(reason)), "TerminationByKubelet")) /* a node may take its time */
        return;
    int64_t until = val_time(val_get(c, N(lastTransitionTime))) + FORGET;
    if (until > v->now) {
        plan_again(out, until);
        return;
    }
    struct arena *a = &out->arena;
    struct val tree = plan_edit(out, pod);
    struct condition over = {.type = "DisruptionTarget", .status = "False"};
    *condition_get_mut(val_need_map(a, &tree, N(status)), over.type) = condition_make(a, &over, c, v->now);
    plan_update(out, pod, S("status"), tree);
}

static void keys_of_target(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                           void *arg)
{
    if (now && condition_is(obj_status(now), "DisruptionTarget", "True"))
        keys_self(v, was, now, add, arg);
}

static const struct controller_watch stale_watches[] = {{K(Pod), keys_of_target}, {0}};
const struct controller staletarget_controller = {
    .name = "staletarget",
    .component = "controllermanager",
    .account = "disruption-controller",
    .watches = stale_watches,
    .plan = stale_plan,
};
