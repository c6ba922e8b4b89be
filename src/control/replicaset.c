/* Keeps the number of pods of a ReplicaSet or a ReplicationController: adopts and releases by selector, creates in
 * growing batches, removes the least useful first, and counts. Upstream: pkg/controller/replicaset, replication. */
#include "control/children.h"
#include "control/pods.h"

#define BURST         500 /* pods created or removed by one plan, as upstream */
#define FAILED_FIRST  (10 * NS_PER_S)
#define FAILED_MOST   (300 * NS_PER_S)
#define FAILED_FORGET (600 * NS_PER_S) /* a pod that failed this long ago holds nothing back */

struct ranked_pod {
    struct obj *pod;
    int64_t rank; /* pods of the same family on its node */
    int64_t now;
};

/* Where equal by everything else, those of about the same age (by powers of two) go by uid, so that scaling down does
 * not always hit the newest (KEP-2185). */
static int age_cmp(int64_t a, int64_t b, int64_t now, struct str uid_a, struct str uid_b)
{
    int64_t da = now - a, db = now - b;
    int ra = da <= 0 ? -1 : 63 - __builtin_clzll((unsigned long long)da);
    int rb = db <= 0 ? -1 : 63 - __builtin_clzll((unsigned long long)db);
    return ra != rb ? ra - rb : str_cmp(uid_a, uid_b);
}

static int64_t deletion_cost(const struct obj *pod)
{
    struct str s = obj_note(pod, "controller.kubernetes.io/pod-deletion-cost");
    int64_t cost;
    return str_to_i64(s, INT32_MIN, INT32_MAX, &cost) ? cost : 0;
}

/* Smaller goes first. Upstream: controller.ActivePodsWithRanks. */
static int ranked_cmp(const void *pa, const void *pb)
{
    const struct ranked_pod *a = pa, *b = pb;
    const struct obj *x = a->pod, *y = b->pod;
    int64_t d;
    if ((d = (pod_node(x).n > 0) - (pod_node(y).n > 0)))
        return d < 0 ? -1 : 1;
    if ((d = pod_phase_rank(x) - pod_phase_rank(y)))
        return d < 0 ? -1 : 1;
    if ((d = pod_is_ready(x) - pod_is_ready(y)))
        return d < 0 ? -1 : 1;
    if ((d = deletion_cost(x) - deletion_cost(y)))
        return d < 0 ? -1 : 1;
    if ((d = b->rank - a->rank))
        return d < 0 ? -1 : 1;
    if (pod_is_ready(x) && pod_ready_since(x) != pod_ready_since(y))
        return age_cmp(pod_ready_since(x), pod_ready_since(y), a->now, x->uid, y->uid);
    if ((d = pod_restarts(y) - pod_restarts(x)))
        return d < 0 ? -1 : 1;
    if (obj_created(x) != obj_created(y))
        return age_cmp(obj_created(x), obj_created(y), a->now, x->uid, y->uid);
    return str_cmp(x->uid, y->uid);
}

static void nodes_count(const struct view *v, const struct obj *rs, struct map *nodes)
{
    struct obj *pod;
    for (struct objset_iter it = view_with(v, K(Pod), &index_controller, rs->uid); (pod = objset_next(&it));)
        if (pod_is_active(pod) && pod_node(pod).n > 0)
            map_put(nodes, pod_node(pod), (void *)((intptr_t)map_get(nodes, pod_node(pod)) + 1));
}

/* Active pods, by node, of all sets of the same kind and owner: of two pods the one with more kin beside it goes. */
static void family_count(const struct view *v, const struct obj *rs, struct map *nodes)
{
    const struct val *owner = obj_controller(rs);
    if (!owner) {
        nodes_count(v, rs, nodes);
        return;
    }
    struct obj *kin;
    struct objset_iter it = view_with(v, rs->kind, &index_controller, val_text_at(owner, N(uid)));
    while ((kin = objset_next(&it)))
        nodes_count(v, kin, nodes);
}

static void plan_removals(const struct view *v, const struct obj *rs, struct plan *out, struct children *pods,
                          size_t n)
{
    AUTO(map_fini) struct map nodes = MAP;
    family_count(v, rs, &nodes);
    struct ranked_pod *ranked = arena_alloc(&out->arena, pods->active.n * sizeof *ranked);
    for (size_t i = 0; i < pods->active.n; i++) {
        struct obj *pod = pods->active.p[i];
        ranked[i] = (struct ranked_pod){pod, (intptr_t)map_get(&nodes, pod_node(pod)), v->now};
    }
    qsort(ranked, pods->active.n, sizeof *ranked, ranked_cmp);
    for (size_t i = 0; i < MIN(n, BURST); i++)
        child_delete(out, rs, ranked[i].pod);
}

/* Pods that fail as a whole (a node that refuses them, a deadline) are replaced at once as many times as there are
 * replicas; from then on each round waits twice as long as the one before. What no node will ever run is not replaced
 * while that stands, but for a try after FAILED_FORGET. Upstream makes new ones as fast as it can. */
static bool hold_back(const struct view *v, const struct obj *rs, struct plan *out, struct children *pods,
                      int64_t wanted)
{
    int64_t failed = 0, newest = 0, wait = FAILED_FIRST;
    const struct obj *last = NULL;
    array_each (it, &pods->mine) {
        if (!str_eqz(val_text_at(obj_status(*it), N(phase)), "Failed") || obj_created(*it) + FAILED_FORGET <= v->now)
            continue;
        failed++;
        if (obj_created(*it) >= newest) {
            newest = obj_created(*it);
            last = *it;
        }
    }
    bool for_good = last && pod_is_refused_for_good(last);
    if (failed <= wanted && !for_good)
        return false;
    for (int64_t n = 2 * wanted; n < failed && wait < FAILED_MOST; n += wanted)
        wait *= 2;
    newest += for_good ? FAILED_FORGET : MIN(wait, FAILED_MOST);
    if (newest <= v->now)
        return false;
    plan_again(out, newest);
    plan_why(out, "%lld pods of " STR_FMT " " STR_FMT " have failed, " STR_FMT " last: " STR_FMT ": " STR_FMT,
             (long long)failed, STR_ARG(rs->kind->kind), STR_ARG(rs->name), STR_ARG(last->name),
             STR_ARG(val_text_at(obj_status(last), N(reason))), STR_ARG(val_text_at(obj_status(last), N(message))));
    return true;
}

/* held: the text of hold_back, "" where it does not. */
static void status_condition(struct plan *out, const struct view *v, struct val *status, int64_t diff,
                             struct str held)
{
    struct arena *a = &out->arena;
    struct str text = v->trouble.n > 0 ? v->trouble : held;
    const char *reason = v->trouble.n == 0 ? "PodsFailed" : diff < 0 ? "FailedCreate" : "FailedDelete";
    bool failing = text.n > 0 && diff != 0;
    const struct val *had = condition_get(status, "ReplicaFailure");
    if (had && failing && str_eqz(val_text_at(had, N(reason)), reason))
        return; /* as upstream: the first message stays until it is over */
    struct val list = conditions_without(a, status, "ReplicaFailure");
    if (failing) {
        struct condition c = {.type = "ReplicaFailure", .status = "True", .reason = reason, .message = text};
        val_add(a, &list, condition_make(a, &c, NULL, v->now)); /* another reason is another failure */
    }
    conditions_set(a, status, list);
}

static void count_set(struct arena *a, struct val *status, const struct name *name, int64_t n)
{
    if (n > 0 || name == N(replicas) || name == N(terminatingReplicas))
        val_set_num(a, status, name, n);
    else
        val_del(status, name);
}

static bool labels_carry(const struct val *labels, const struct val *wanted)
{
    val_each_member (it, wanted)
        if (!val_equal(val_get_str(labels, it->name->s), &it->v))
            return false;
    return true;
}

static void plan_status(const struct view *v, const struct obj *rs, struct plan *out, struct children *pods,
                        int64_t diff, bool held)
{
    int64_t ready = 0, available = 0, labelled = 0, at = 0;
    int64_t min_ready = val_num_at(obj_spec(rs), 0, N(minReadySeconds));
    const struct val *labels = val_at(obj_spec(rs), N(template), N(metadata), N(labels));
    array_each (it, &pods->active) {
        labelled += labels_carry(obj_labels(*it), labels);
        ready += pod_is_ready(*it);
        available += pod_is_available(*it, min_ready, v->now, &at);
    }
    if (at)
        plan_again(out, at);
    struct val tree = plan_edit(out, rs);
    struct val *status = val_need_map(&out->arena, &tree, N(status));
    count_set(&out->arena, status, N(replicas), (int64_t)pods->active.n);
    count_set(&out->arena, status, N(fullyLabeledReplicas), labelled);
    count_set(&out->arena, status, N(readyReplicas), ready);
    count_set(&out->arena, status, N(availableReplicas), available);
    if (rs->kind == K(ReplicaSet))
        count_set(&out->arena, status, N(terminatingReplicas), pods->terminating);
    val_set_num(&out->arena, status, N(observedGeneration), obj_generation(rs));
    status_condition(out, v, status, diff, held ? out->why : S(""));
    plan_update(out, rs, S("status"), tree);
}

static void set_plan(const struct view *v, const struct obj *rs, struct plan *out)
{
    if (!rs)
        return;
    AUTO(children_fini) struct children pods = {0};
    children_claim(v, rs, NULL, out, &pods);
    int64_t wanted = val_num_at(obj_spec(rs), 1, N(replicas)), diff = (int64_t)pods.active.n - wanted;
    bool held = !obj_deleting(rs) && diff < 0 && hold_back(v, rs, out, &pods, wanted);
    plan_status(v, rs, out, &pods, diff, held);
    if (v->trouble.n > 0 && diff != 0)
        plan_why(out, "%lld of %lld pods: " STR_FMT, (long long)pods.active.n, (long long)wanted,
                 STR_ARG(v->trouble));
    if (!obj_deleting(rs) && diff < 0 && !held)
        children_create(v, rs, val_get(obj_spec(rs), N(template)), MIN((size_t)-diff, BURST), NULL, NULL, out);
    else if (!obj_deleting(rs) && diff > 0)
        plan_removals(v, rs, out, &pods, (size_t)diff);
}

/* An account that comes may be what sets of its namespace wait for: their next try may be minutes away. */
static void account_came(const struct view *v, const struct kind *k, const struct obj *account, keys_add_fn *add,
                         void *arg)
{
    struct obj *rs;
    for (struct objset_iter it = view_with(v, k, &index_namespace, account->ns); (rs = objset_next(&it));)
        if (str_eqz(val_text_at(condition_get(obj_status(rs), "ReplicaFailure"), N(reason)), "FailedCreate"))
            add(arg, rs->ns, rs->name);
}

/* The two kinds differ in their names and in how the selector is written (children.h). */
#define SET(name_, kind_, component_)                                                                                \
    static void name_##_plan(const struct view *v, struct key key, struct plan *out)                                 \
    {                                                                                                                \
        set_plan(v, view_get(v, K(kind_), key.ns, key.name), out);                                                   \
    }                                                                                                                \
    static void name_##_of_pod(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, \
                               void *arg)                                                                            \
    {                                                                                                                \
        keys_of_child(v, was, now, K(kind_), add, arg);                                                              \
    }                                                                                                                \
    static void name_##_of_account(const struct view *v, const struct obj *was, const struct obj *now,               \
                                   keys_add_fn *add, void *arg)                                                      \
    {                                                                                                                \
        if (!was)                                                                                                    \
            account_came(v, K(kind_), now, add, arg);                                                                \
    }                                                                                                                \
    static const struct controller_watch name_##_watches[] = {                                                       \
        {K(kind_), keys_self}, {K(Pod), name_##_of_pod}, {K(ServiceAccount), name_##_of_account}, {0}};              \
    const struct controller name_##_controller = {                                                                   \
        .name = #name_,                                                                                              \
        .component = component_,                                                                                     \
        .account = component_,                                                                                       \
        .watches = name_##_watches,                                                                                  \
        .plan = name_##_plan,                                                                                        \
    };

SET(replicaset, ReplicaSet, "replicaset-controller")
SET(replication, ReplicationController, "replication-controller")
