/* Keeps one pod of a DaemonSet on each node that suits it: makes those that are missing, takes away those that are
 * too many, have ended or are where they should not be, replaces old ones, and counts. Upstream:
 * pkg/controller/daemon. */
#include "control/daemonset_int.h"

#define BURST        250 /* pods made or deleted by one plan, as upstream */
#define FAILED_FIRST (NS_PER_S)
#define FAILED_MOST  (900 * NS_PER_S)
#define FAILED_OVER  (2 * FAILED_MOST) /* who lived so long has failed for another reason */

bool daemon_pod_available(struct daemon_work *w, const struct obj *pod)
{
    int64_t at = 0;
    bool ok = pod_is_available(pod, w->min_ready, w->v->now, &at);
    if (at)
        plan_again(w->out, at);
    return ok;
}

void daemon_leave(struct daemon_work *w, struct obj *pod)
{
    if (obj_deleting(pod))
        return;
    array_each (it, &w->leave)
        if (*it == pod)
            return;
    array_push(&w->leave, pod);
}

void daemon_start(struct daemon_work *w, struct str node, int64_t failures)
{
    array_push(&w->starts, ((struct daemon_start){node, failures}));
}

/* ---- one node ---- */

/* A pod that has failed is replaced, at once the first time, then after a time that doubles. How often it was so
 * before stands on the pod, since those before it are gone. False: not yet. */
static bool failed_replace(struct daemon_work *w, const struct daemon_pod *p, int64_t *failures)
{
    int64_t before = daemon_failures(p->pod), wait = before ? FAILED_FIRST : 0;
    if (obj_created(p->pod) + FAILED_OVER <= w->v->now)
        before = wait = 0;
    for (int64_t i = 1; i < before && wait < FAILED_MOST; i++)
        wait *= 2;
    int64_t at = obj_created(p->pod) + MIN(wait, FAILED_MOST);
    if (at > w->v->now) {
        plan_again(w->out, at);
        plan_why(w->out, "pod " STR_FMT " on node " STR_FMT " has failed, %lld in a row: " STR_FMT ": " STR_FMT,
                 STR_ARG(p->pod->name), STR_ARG(p->node), (long long)before + 1,
                 STR_ARG(val_text_at(obj_status(p->pod), N(reason))),
                 STR_ARG(val_text_at(obj_status(p->pod), N(message))));
        return false;
    }
    plan_event(w->out, w->ds, "Warning", "FailedDaemonPod",
               "Found failed daemon pod " STR_FMT "/" STR_FMT " on node " STR_FMT ", will try to kill it",
               STR_ARG(p->pod->ns), STR_ARG(p->pod->name), STR_ARG(p->node));
    daemon_leave(w, p->pod);
    *failures = before + 1;
    return true;
}

/* Two stay where the new one is not available yet and the old one still is ready; all others go. */
static void surge_prune(struct daemon_work *w, struct obj **live, size_t n)
{
    struct obj *old = NULL, *fresh = NULL;
    for (size_t i = 0; i < n; i++) {
        struct obj **place = str_eq(val_text(val_get_str(obj_labels(live[i]), POD_REVISION)), w->hash) ? &fresh
                                                                                                       : &old;
        if (*place)
            daemon_leave(w, live[i]);
        else
            *place = live[i];
    }
    if (old && fresh && (!pod_is_ready(old) || daemon_pod_available(w, fresh)))
        daemon_leave(w, old);
}

/* Those that are ready first: of several with the same right to stay it is they who do. */
static void live_order(struct obj **live, size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k > 0 && pod_is_ready(live[k]) && !pod_is_ready(live[k - 1]); k--) {
            struct obj *ready = live[k];
            live[k] = live[k - 1];
            live[k - 1] = ready;
        }
}

static void node_keep(struct daemon_work *w, struct str node, const struct daemon_pod *pods, size_t n, bool runs)
{
    struct obj **live = arena_alloc(&w->out->arena, (n + 1) * sizeof *live);
    size_t nlive = 0, held = 0; /* held: what nothing is to come beside yet */
    int64_t failures = 0;
    for (size_t i = 0; i < n; i++) {
        struct str phase = val_text_at(obj_status(pods[i].pod), N(phase));
        bool failed = str_eqz(phase, "Failed");
        if (obj_deleting(pods[i].pod)) {
            held += w->surge == 0;
        } else if (failed && !failed_replace(w, &pods[i], &failures)) {
            held++;
        } else if (str_eqz(phase, "Succeeded")) {
            plan_event(w->out, w->ds, "Normal", "SucceededDaemonPod",
                       "Found succeeded daemon pod " STR_FMT "/" STR_FMT " on node " STR_FMT
                       ", will try to delete it",
                       STR_ARG(pods[i].pod->ns), STR_ARG(pods[i].pod->name), STR_ARG(node));
            daemon_leave(w, pods[i].pod);
            held += w->surge == 0;
        } else if (!failed) {
            live[nlive++] = pods[i].pod;
        }
    }
    live_order(live, nlive);
    if (nlive == 0 && held == 0 && runs)
        daemon_start(w, node, failures);
    else if (w->surge > 0)
        surge_prune(w, live, nlive);
    else
        for (size_t i = 1; i < nlive; i++) /* the oldest stays */
            daemon_leave(w, live[i]);
}

static void nodes_keep(struct daemon_work *w)
{
    struct obj *node;
    size_t n;
    for (struct objset_iter it = view_all(w->v, K(Node)); (node = objset_next(&it));) {
        enum daemon_wish wish = daemon_wish(&w->rules, node);
        const struct daemon_pod *pods = daemon_pods_on(&w->pods, node->name, &n);
        if (wish != DAEMON_NOT)
            node_keep(w, node->name, pods, n, wish == DAEMON_RUNS);
        else
            for (size_t i = 0; i < n; i++)
                daemon_leave(w, pods[i].pod);
    }
    array_each (it, &w->pods.all) /* for a node that is gone, and nobody will bind it */
        if (pod_node(it->pod).n == 0 && !view_get(w->v, K(Node), S(""), it->node))
            daemon_leave(w, it->pod);
}

/* ---- the whole ---- */

static void num_put(struct arena *a, struct val *status, const struct name *name, int64_t n, bool always)
{
    if (n > 0 || always)
        val_set_num(a, status, name, n);
    else
        val_del(status, name);
}

static void status_plan(struct daemon_work *w, int64_t collisions)
{
    int64_t current = 0, misplaced = 0, ready = 0, available = 0, updated = 0;
    struct obj *node;
    size_t n;
    for (struct objset_iter it = view_all(w->v, K(Node)); (node = objset_next(&it));) {
        const struct daemon_pod *pods = daemon_pods_on(&w->pods, node->name, &n);
        bool runs = daemon_wish(&w->rules, node) == DAEMON_RUNS;
        misplaced += !runs && n > 0;
        if (!runs || n == 0)
            continue;
        current++;
        ready += pod_is_ready(pods[0].pod);
        available += daemon_pod_available(w, pods[0].pod);
        updated += daemon_pod_is_new(w->ds, pods[0].pod, w->hash);
    }
    struct val tree = plan_edit(w->out, w->ds);
    struct arena *a = &w->out->arena;
    struct val *status = val_need_map(a, &tree, N(status));
    num_put(a, status, N(currentNumberScheduled), current, true);
    num_put(a, status, N(numberMisscheduled), misplaced, true);
    num_put(a, status, N(desiredNumberScheduled), w->desired, true);
    num_put(a, status, N(numberReady), ready, true);
    num_put(a, status, N(updatedNumberScheduled), updated, false);
    num_put(a, status, N(numberAvailable), available, false);
    num_put(a, status, N(numberUnavailable), w->desired - available, false);
    val_set_num(a, status, N(observedGeneration), obj_generation(w->ds));
    if (collisions > 0)
        val_set_num(a, status, N(collisionCount), collisions);
    plan_update(w->out, w->ds, S("status"), tree);
}

static bool revision_is_live(void *arg, const struct obj *revision)
{
    struct daemon_work *w = arg;
    struct str hash = val_text(val_get_str(obj_labels(revision), POD_REVISION));
    if (str_eq(hash, w->hash))
        return true;
    array_each (it, &w->pods.all)
        if (str_eq(val_text(val_get_str(obj_labels(it->pod), POD_REVISION)), hash))
            return true;
    return false;
}

/* Of the old ones so many are kept, those that pods still are of among them. */
static void history_trim(struct daemon_work *w, struct revisions *h)
{
    int64_t limit = val_num_at(obj_spec(w->ds), 10, N(revisionHistoryLimit)), live = 0;
    array_each (it, &h->all)
        live += revision_is_live(w, *it) && !str_eq(val_text(val_get_str(obj_labels(*it), POD_REVISION)), w->hash);
    revisions_trim(h, MAX(0, limit - live), revision_is_live, w);
}

static void nodes_count(struct daemon_work *w)
{
    struct obj *node;
    for (struct objset_iter it = view_all(w->v, K(Node)); (node = objset_next(&it));)
        w->desired += daemon_wish(&w->rules, node) == DAEMON_RUNS;
    daemon_bounds(w->ds, w->desired, &w->surge, &w->unavailable);
}

static void old_complain(struct daemon_work *w)
{
    int64_t old = 0;
    array_each (it, &w->pods.all)
        old += !daemon_pod_is_new(w->ds, it->pod, w->hash);
    if (old > 0)
        plan_why(w->out, "%lld pods of an older template stay until somebody deletes them (updateStrategy OnDelete)",
                 (long long)old);
}

static void pods_move(struct daemon_work *w)
{
    nodes_keep(w);
    bool rolling = !str_eqz(val_text_at(obj_spec(w->ds), N(updateStrategy), N(type)), "OnDelete");
    if (w->leave.n + w->starts.n == 0 && rolling)
        daemon_roll(w);
    else if (!rolling)
        old_complain(w);
    w->leave.n = MIN(w->leave.n, BURST);
    w->starts.n = MIN(w->starts.n, BURST);
    array_each (it, &w->leave)
        child_delete(w->out, w->ds, *it);
    if (w->leave.n > 0)
        plan_step(w->out);
    if (w->starts.n > 0)
        daemon_pods_make(w);
}

static bool any_pod(const struct obj *pod)
{
    return !obj_deleting(pod);
}

static void daemonset_plan(const struct view *v, struct key key, struct plan *out)
{
    struct obj *ds = view_get(v, K(DaemonSet), key.ns, key.name);
    AUTO(revisions_fini) struct revisions history = {0};
    AUTO(children_fini) struct children children = {0};
    if (!ds || obj_deleting(ds))
        return;
    if (val_len(val_get(obj_spec(ds), N(selector))) == 0) {
        plan_event(out, ds, "Warning", "SelectingAll",
                   "This daemon set is selecting all pods. A non-empty selector is required.");
        plan_why(out, "spec.selector selects all pods; it must not be empty");
        return;
    }
    struct daemon_work w = {.v = v, .ds = ds, .out = out, .rules = daemon_rules_of(&out->arena, ds)};
    w.min_ready = val_num_at(obj_spec(ds), 0, N(minReadySeconds));
    int64_t collisions = val_num_at(obj_status(ds), 0, N(collisionCount));
    if (!revisions_collect(v, ds, out, &history) || !children_claim(v, ds, any_pod, out, &children))
        return;
    w.hash = revisions_current(&history, POD_REVISION, &collisions).hash;
    daemon_pods_sort(&w.pods, &children);
    nodes_count(&w);
    status_plan(&w, collisions);
    pods_move(&w);
    plan_step(out);
    history_trim(&w, &history);
    if (v->trouble.n > 0)
        plan_why(out, STR_FMT, STR_ARG(v->trouble));
    array_fini(&w.pods.all);
    array_fini(&w.leave);
    array_fini(&w.starts);
}

/* ---- what concerns whom ---- */

static void keys_of_pod(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    keys_of_child(v, was, now, K(DaemonSet), add, arg);
}

static enum daemon_wish wish_of(const struct daemon_rules *r, const struct obj *node)
{
    return node ? daemon_wish(r, node) : DAEMON_NOT;
}

/* Whom the node starts or ends to suit. */
static void keys_of_node(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                         void *arg)
{
    struct obj *ds;
    if (was && now && val_equal(obj_labels(was), obj_labels(now)) &&
        val_equal(val_get(obj_spec(was), N(taints)), val_get(obj_spec(now), N(taints))))
        return;
    for (struct objset_iter it = view_all(v, K(DaemonSet)); (ds = objset_next(&it));) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct daemon_rules r = daemon_rules_of(&a, ds);
        if (wish_of(&r, was) != wish_of(&r, now))
            add(arg, ds->ns, ds->name);
    }
}

/* An account that comes may be what pods of its namespace wait for: their next try may be minutes away. */
static void keys_of_account(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                            void *arg)
{
    struct obj *ds;
    if (was)
        return;
    for (struct objset_iter it = view_with(v, K(DaemonSet), &index_namespace, now->ns); (ds = objset_next(&it));)
        if (val_num_at(obj_status(ds), 0, N(currentNumberScheduled)) <
            val_num_at(obj_status(ds), 0, N(desiredNumberScheduled)))
            add(arg, ds->ns, ds->name);
}

static const struct controller_watch watches[] = {{K(DaemonSet), keys_self},
                                                  {K(Pod), keys_of_pod},
                                                  {K(Node), keys_of_node},
                                                  {K(ControllerRevision), keys_of_pod},
                                                  {K(ServiceAccount), keys_of_account},
                                                  {0}};
const struct controller daemonset_controller = {
    .name = "daemonset",
    .component = "daemonset-controller",
    .account = "daemon-set-controller",
    .watches = watches,
    .plan = daemonset_plan,
};
