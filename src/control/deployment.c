/* Rolls a Deployment: finds or makes the ReplicaSet of the current template, moves replicas from old to new within
 * maxSurge and maxUnavailable, keeps the history and tells how it goes. Upstream: pkg/controller/deployment.
 *
 * A plan does one thing, and the next is planned when what that led to is seen:
 *   1. sets_collect: which ReplicaSets are its own (adopting, releasing); the oldest one with the template, but for
 * the hash label, is the new set, the others are old;
 *   2. a Deployment that is paused, or whose spec.replicas has changed in the middle of a rollout, is only scaled
 *      (`scale`): sets that have pods change in proportion;
 *   3. rolling (`roll`): make the new set; or bring its annotations up to date; or grow it as far as maxSurge leaves
 * room (new_set_size); or else shrink old ones as far as maxUnavailable lets them (old_sets_reconcile), first pods
 * that do not serve, then others;
 *   4. recreating (`recreate`): old sets to 0, wait until their pods are gone, then the new set at full size;
 *   5. status: sums over the sets, the conditions Available and Progressing, and the failure of the set that is worst
 * off.
 *
 * The bounds hold for pods and not only for wishes. What a set has lies between its size and its status until it has
 * followed: for maxSurge the greater of both counts (sum_pods), for maxUnavailable the lesser (stays_available), and
 * nothing moves before each status speaks of the newest size (sizes_observed). rollout_test.c checks both bounds at
 * every write. */
#include "control/deployment.h"
#include "api/codec.h"
#include "api/selector.h"
#include "control/manager.h"
#include "control/pods.h"

#define REVISION  S("deployment.kubernetes.io/revision")
#define HISTORY   S("deployment.kubernetes.io/revision-history")
#define DESIRED   S("deployment.kubernetes.io/desired-replicas")
#define MOST      S("deployment.kubernetes.io/max-replicas")
#define HASH      S("pod-template-hash")
#define MAX_CHARS 2000 /* of revision-history */

#define NEVER INT32_MAX /* progressDeadlineSeconds: no deadline */

/* One rollout as the plan sees it. */
struct rollout {
    const struct view *view;
    struct plan *out;
    const struct obj *d;
    ARRAY(struct obj *) all, old; /* by creation, then name */
    struct obj *new;              /* NULL: not there yet */
    struct val tree;              /* of the deployment, being changed: status and revision annotation */
    struct val *status;
    bool scaled;
};

static int64_t replicas_of(const struct obj *o)
{
    return val_num_at(obj_spec(o), 1, N(replicas));
}

static int64_t status_num(const struct obj *o, const struct name *name)
{
    return val_num(val_get(obj_status(o), name), 0);
}

static struct str annotation_of(const struct obj *o, struct str key)
{
    return val_text(val_get_str(val_get(obj_meta(o), N(annotations)), key));
}

static int64_t number_of(struct str s)
{
    int64_t n;
    return str_to_i64(s, 0, INT64_MAX, &n) ? n : 0;
}

static bool strategy_is_rolling(const struct obj *d)
{
    return !str_eqz(val_text_at(obj_spec(d), N(strategy), N(type)), "Recreate");
}

void deployment_bounds(const struct obj *d, int64_t *surge, int64_t *unavailable)
{
    const struct val *r = val_at(obj_spec(d), N(strategy), N(rollingUpdate));
    *surge = *unavailable = 0;
    if (!strategy_is_rolling(d))
        return;
    *surge = int_or_percent(val_get(r, N(maxSurge)), replicas_of(d), true);
    *unavailable = int_or_percent(val_get(r, N(maxUnavailable)), replicas_of(d), false);
    if (*surge == 0 && *unavailable == 0)
        *unavailable = 1;
}

static int64_t max_surge(const struct obj *d)
{
    int64_t surge, unavailable;
    deployment_bounds(d, &surge, &unavailable);
    return surge;
}

static int64_t max_unavailable(const struct obj *d)
{
    int64_t surge, unavailable;
    deployment_bounds(d, &surge, &unavailable);
    return replicas_of(d) == 0 ? 0 : MIN(unavailable, replicas_of(d));
}

struct str template_hash(struct arena *a, const struct val *template, int64_t collisions)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(4u << 20);
    type_encode_json(&text, T(core_v1_PodTemplateSpec), template);
    if (collisions > 0)
        strbuf_addf(&text, "%lld", (long long)collisions);
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < text.n; i++)
        h = (h ^ (unsigned char)text.p[i]) * 16777619u;
    return safe_encode(a, arena_fmt(a, "%u", h));
}

/* Equal but for the label that tells the sets apart. */
static bool same_template(struct arena *a, const struct val *x, const struct val *y)
{
    struct val v = val_copy(a, y), *labels = val_get_mut(val_need_map(a, &v, N(metadata)), N(labels));
    if (labels)
        val_del_str(labels, HASH);
    struct val u = val_copy(a, x), *own = val_get_mut(val_need_map(a, &u, N(metadata)), N(labels));
    if (own)
        val_del_str(own, HASH);
    return val_equal(&u, &v);
}

static int by_age(const void *pa, const void *pb)
{
    const struct obj *a = *(struct obj *const *)pa, *b = *(struct obj *const *)pb;
    int64_t d = obj_created(a) - obj_created(b);
    return d ? (d < 0 ? -1 : 1) : str_cmp(a->name, b->name);
}

static bool sets_collect(struct rollout *r)
{
    struct selector *selector;
    struct err err = ERR;
    if (!selector_of(&r->out->arena, val_get(obj_spec(r->d), N(selector)), &selector, &err)) {
        plan_why(r->out, "spec.selector: %s", err.text);
        return false;
    }
    if (selector_is_everything(selector)) {
        plan_event(r->out, (struct obj *)r->d, "Warning", "SelectingAll",
                   "This deployment is selecting all pods. A non-empty selector is required.");
        plan_why(r->out, "spec.selector: is empty and would select every pod");
        return false;
    }
    struct obj *rs;
    for (struct objset_iter it = view_with(r->view, K(ReplicaSet), &index_controller, r->d->uid);
         (rs = objset_next(&it));) {
        if (selector_matches(selector, obj_labels(rs)))
            array_push(&r->all, rs);
        else if (!obj_deleting(r->d))
            plan_release(r->out, rs, r->d);
    }
    for (struct objset_iter it = view_with(r->view, K(ReplicaSet), &index_orphans, r->d->ns);
         !obj_deleting(r->d) && (rs = objset_next(&it));)
        if (!obj_deleting(rs) && selector_matches(selector, obj_labels(rs))) {
            plan_adopt(r->out, rs, r->d);
            r->scaled = true; /* nothing else before it is ours */
        }
    if (r->all.n > 0)
        qsort(r->all.p, r->all.n, sizeof *r->all.p, by_age);
    const struct val *template = val_get(obj_spec(r->d), N(template));
    array_each (it, &r->all)
        if (!r->new &&same_template(&r->out->arena, template, val_get(obj_spec(*it), N(template))))
            r->new = *it;
    array_each (it, &r->all)
        if (*it != r->new)
            array_push(&r->old, *it);
    return true;
}

/* ---- conditions ---- */

static const struct val *cond_get(const struct rollout *r, const char *type)
{
    return condition_get(r->status, type);
}

static bool reason_is(const struct val *c, const char *reason)
{
    return c && str_eqz(val_text_at(c, N(reason)), reason);
}

static void cond_drop(struct rollout *r, const char *type)
{
    struct arena *a = &r->out->arena;
    conditions_set(a, r->status, conditions_without(a, r->status, type));
}

/* Nothing where status and reason stay; lastTransitionTime moves with status only. */
static void cond_set(struct rollout *r, const char *type, const char *status, const char *reason, struct str message,
                     bool refresh)
{
    struct arena *a = &r->out->arena;
    const struct val *old = cond_get(r, type);
    bool same = old && str_eqz(val_text_at(old, N(status)), status);
    if (same && reason_is(old, reason) && !refresh)
        return;
    struct condition c = {.type = type, .status = status, .reason = reason, .message = message, .updated = true};
    conditions_set(a, r->status, conditions_with(a, r->status, &c, r->view->now));
}

/* ---- status ---- */

static int64_t sum_spec(const struct rollout *r)
{
    int64_t n = 0;
    array_each (it, &r->all)
        n += replicas_of(*it);
    return n;
}

static int64_t sum_status(const struct rollout *r, const struct name *name)
{
    int64_t n = 0;
    array_each (it, &r->all)
        n += status_num(*it, name);
    return n;
}

static void count_set(struct rollout *r, const struct name *name, int64_t n)
{
    if (n > 0 || name == N(terminatingReplicas))
        val_set_num(&r->out->arena, r->status, name, n);
    else
        val_del(r->status, name);
}

static void status_count(struct rollout *r)
{
    int64_t available = sum_status(r, N(availableReplicas));
    count_set(r, N(replicas), sum_status(r, N(replicas)));
    count_set(r, N(updatedReplicas), r->new ? status_num(r->new, N(replicas)) : 0);
    count_set(r, N(readyReplicas), sum_status(r, N(readyReplicas)));
    count_set(r, N(availableReplicas), available);
    count_set(r, N(unavailableReplicas), MAX(0, sum_spec(r) - available));
    count_set(r, N(terminatingReplicas), sum_status(r, N(terminatingReplicas)));
    val_set_num(&r->out->arena, r->status, N(observedGeneration), obj_generation(r->d));
    if (available >= replicas_of(r->d) - max_unavailable(r->d))
        cond_set(r, "Available", "True", "MinimumReplicasAvailable", S("Deployment has minimum availability."),
                 false);
    else
        cond_set(r, "Available", "False", "MinimumReplicasUnavailable",
                 S("Deployment does not have minimum availability."), false);
}

static bool has_deadline(const struct obj *d)
{
    int64_t s = val_num_at(obj_spec(d), NEVER, N(progressDeadlineSeconds));
    return s != NEVER;
}

static int64_t now_num(const struct rollout *r, const struct name *name)
{
    return val_num(val_get(r->status, name), 0);
}

static bool rollout_is_complete(const struct rollout *r)
{
    return now_num(r, N(updatedReplicas)) == replicas_of(r->d) && now_num(r, N(replicas)) == replicas_of(r->d) &&
           now_num(r, N(availableReplicas)) == replicas_of(r->d) &&
           now_num(r, N(observedGeneration)) >= obj_generation(r->d);
}

static bool rollout_has_progressed(const struct rollout *r)
{
    const struct obj *d = r->d;
    return now_num(r, N(updatedReplicas)) > status_num(d, N(updatedReplicas)) ||
           now_num(r, N(replicas)) - now_num(r, N(updatedReplicas)) <
               status_num(d, N(replicas)) - status_num(d, N(updatedReplicas)) ||
           now_num(r, N(readyReplicas)) > status_num(d, N(readyReplicas)) ||
           now_num(r, N(availableReplicas)) > status_num(d, N(availableReplicas));
}

static int64_t deadline_of(const struct rollout *r)
{
    return MAX(val_time(val_get(cond_get(r, "Progressing"), N(lastUpdateTime))), r->view->woke) +
           ns_of_seconds(val_num_at(obj_spec(r->d), NEVER, N(progressDeadlineSeconds)));
}

static bool timed_out(const struct rollout *r)
{
    const struct val *c = cond_get(r, "Progressing");
    if (!c || reason_is(c, "NewReplicaSetAvailable"))
        return false;
    return reason_is(c, "ProgressDeadlineExceeded") || deadline_of(r) < r->view->now;
}

static struct str progress_text(const struct rollout *r, const char *how)
{
    return r->new ? arena_fmt(&r->out->arena, "ReplicaSet \"" STR_FMT "\" %s", STR_ARG(r->new->name), how)
                  : arena_fmt(&r->out->arena, "Deployment \"" STR_FMT "\" %s", STR_ARG(r->d->name), how);
}

static void failures_copy(struct rollout *r)
{
    const struct val *worst = NULL;
    if (r->new)
        worst = condition_get(obj_status(r->new), "ReplicaFailure");
    for (size_t i = 0; !worst && i < r->all.n; i++)
        worst = condition_get(obj_status(r->all.p[i]), "ReplicaFailure");
    if (!worst) {
        cond_drop(r, "ReplicaFailure");
        return;
    }
    struct str reason = val_text_at(worst, N(reason));
    cond_set(r, "ReplicaFailure", arena_strz(&r->out->arena, val_text_at(worst, N(status))),
             arena_strz(&r->out->arena, reason), val_text_at(worst, N(message)), false);
    plan_why(r->out, STR_FMT, STR_ARG(val_text_at(worst, N(message))));
}

static void status_write(struct rollout *r)
{
    plan_update(r->out, r->d, S("status"), r->tree);
}

static void status_rollout(struct rollout *r)
{
    /* what Progressing said before this plan touched it */
    const struct val *before = condition_get(obj_status(r->d), "Progressing");
    status_count(r);
    if (!has_deadline(r->d))
        cond_drop(r, "Progressing");
    bool settled = now_num(r, N(replicas)) == now_num(r, N(updatedReplicas)) &&
                   reason_is(before, "NewReplicaSetAvailable") &&
                   reason_is(cond_get(r, "Progressing"), "NewReplicaSetAvailable");
    if (has_deadline(r->d) && !settled) {
        if (rollout_is_complete(r))
            cond_set(r, "Progressing", "True", "NewReplicaSetAvailable",
                     progress_text(r, "has successfully progressed."), false);
        else if (rollout_has_progressed(r))
            cond_set(r, "Progressing", "True", "ReplicaSetUpdated", progress_text(r, "is progressing."), true);
        else if (timed_out(r))
            cond_set(r, "Progressing", "False", "ProgressDeadlineExceeded",
                     progress_text(r, "has timed out progressing."), false);
    }
    failures_copy(r);
    const struct val *c = cond_get(r, "Progressing");
    if (has_deadline(r->d) && c && !rollout_is_complete(r)) {
        if (reason_is(c, "ProgressDeadlineExceeded"))
            plan_why(r->out, STR_FMT, STR_ARG(val_text_at(c, N(message))));
        else if (!reason_is(c, "NewReplicaSetAvailable"))
            plan_again(r->out, deadline_of(r) + NS_PER_S); /* times are kept in whole seconds */
    }
    status_write(r);
}

/* ---- sets ---- */

static bool skipped_annotation(struct str key)
{
    return str_eqz(key, "kubectl.kubernetes.io/last-applied-configuration") || str_eq(key, REVISION) ||
           str_eq(key, HISTORY) || str_eq(key, DESIRED) || str_eq(key, MOST) ||
           str_eqz(key, "deprecated.deployment.rollback.to");
}

static void annotation_set(struct arena *a, struct val *tree, struct str key, struct str value)
{
    struct val *map = val_need_map(a, tree, N(metadata), N(annotations));
    val_set_str(a, map, key, val_str(a, value));
}

static void annotate_num(struct arena *a, struct val *tree, struct str key, int64_t n)
{
    annotation_set(a, tree, key, arena_fmt(a, "%lld", (long long)n));
}

/* desired and max replicas: what proportional scaling starts from. Only with a set's scaling. */
static void annotate_size(const struct rollout *r, struct val *tree)
{
    annotate_num(&r->out->arena, tree, DESIRED, replicas_of(r->d));
    annotate_num(&r->out->arena, tree, MOST, replicas_of(r->d) + max_surge(r->d));
}

static void history_add(struct arena *a, struct val *tree, const struct obj *rs, struct str old)
{
    struct str have = annotation_of(rs, HISTORY), rest = have, part;
    while (have.n > 0 && str_cut(&rest, ',', &part))
        if (str_eq(part, old))
            return;
    while (have.n > 0 && have.n + 1 + old.n > MAX_CHARS)
        if (!str_split(have, ',', &part, &have))
            have = S("");
    annotation_set(a, tree, HISTORY,
                   have.n > 0 ? arena_fmt(a, STR_FMT "," STR_FMT, STR_ARG(have), STR_ARG(old)) : old);
}

static int64_t next_revision(const struct rollout *r)
{
    int64_t most = 0;
    array_each (it, &r->old)
        most = MAX(most, number_of(annotation_of(*it, REVISION)));
    return most + 1;
}

static void copy_annotations(const struct rollout *r, struct val *tree)
{
    val_each_member (it, val_get(obj_meta(r->d), N(annotations)))
        if (!skipped_annotation(it->name->s))
            annotation_set(&r->out->arena, tree, it->name->s, val_text(&it->v));
}

static void revision_set(struct rollout *r, struct str revision)
{
    if (revision.n > 0 && !str_eq(annotation_of(r->d, REVISION), revision))
        annotation_set(&r->out->arena, &r->tree, REVISION, revision);
}

/* The set of the current template carries the deployment's annotations and the newest revision. True: it had to be
 * changed, the rest comes when that is seen. */
static bool new_set_refresh(struct rollout *r)
{
    struct arena *a = &r->out->arena;
    struct val tree = plan_edit(r->out, r->new);
    struct str old = annotation_of(r->new, REVISION), now = old;
    int64_t next = next_revision(r);
    copy_annotations(r, &tree);
    if (number_of(old) < next) {
        now = arena_fmt(a, "%lld", (long long)next);
        annotation_set(a, &tree, REVISION, now);
        if (old.n > 0)
            history_add(a, &tree, r->new, old);
    }
    const struct val *min = val_get(obj_spec(r->d), N(minReadySeconds));
    if (val_num(min, 0) != val_num_at(obj_spec(r->new), 0, N(minReadySeconds)))
        val_set_num(a, val_need_map(a, &tree, N(spec)), N(minReadySeconds), val_num(min, 0));
    if (plan_update(r->out, r->new, S(""), tree))
        return true;
    revision_set(r, now);
    if (has_deadline(r->d) && !cond_get(r, "Progressing"))
        cond_set(r, "Progressing", "True", "FoundNewReplicaSet",
                 arena_fmt(a, "Found new replica set \"" STR_FMT "\"", STR_ARG(r->new->name)), false);
    return false;
}

/* Pods that are or will be: a set that was scaled down counts what it has until it has followed, so that maxSurge
 * bounds pods and not only wishes. */
static int64_t sum_pods(const struct rollout *r)
{
    int64_t n = 0;
    array_each (it, &r->all)
        n += MAX(replicas_of(*it), status_num(*it, N(replicas)));
    return n;
}

static int64_t new_set_size(const struct rollout *r, int64_t has)
{
    if (!strategy_is_rolling(r->d))
        return replicas_of(r->d);
    int64_t most = replicas_of(r->d) + max_surge(r->d), current = sum_pods(r);
    if (current >= most)
        return has;
    return has + MIN(most - current, replicas_of(r->d) - has);
}

static void with_hash(struct arena *a, struct val *map_holder, struct str hash)
{
    val_set_str(a, map_holder, HASH, val_str(a, hash));
}

static struct val new_set_tree(struct rollout *r, struct str hash, int64_t size, struct str revision)
{
    struct arena *a = &r->out->arena;
    const struct val *from = obj_spec(r->d);
    struct val rs = val_map(), template = val_copy(a, val_get(from, N(template)));
    with_hash(a, val_need_map(a, &template, N(metadata), N(labels)), hash);
    struct val *meta = val_set(a, &rs, N(metadata), val_map());
    val_set(a, meta, N(labels), val_copy(a, val_at(&template, N(metadata), N(labels))));
    struct val owners = val_list();
    val_add(a, &owners, owner_ref(a, r->d));
    val_set(a, meta, N(ownerReferences), owners);
    struct val selector = val_copy(a, val_get(from, N(selector)));
    with_hash(a, val_need_map(a, &selector, N(matchLabels)), hash);
    struct val *spec = val_set(a, &rs, N(spec), val_map());
    val_set_num(a, spec, N(replicas), size);
    if (val_num(val_get(from, N(minReadySeconds)), 0) > 0)
        val_set_num(a, spec, N(minReadySeconds), val_num(val_get(from, N(minReadySeconds)), 0));
    val_set(a, spec, N(selector), selector);
    val_set(a, spec, N(template), template);
    copy_annotations(r, &rs);
    annotation_set(a, &rs, REVISION, revision);
    annotate_size(r, &rs);
    return rs;
}

static void new_set_create(struct rollout *r)
{
    struct arena *a = &r->out->arena;
    int64_t collisions = status_num(r->d, N(collisionCount));
    struct str hash = template_hash(a, val_get(obj_spec(r->d), N(template)), collisions);
    struct str name = arena_fmt(a, STR_FMT "-" STR_FMT, STR_ARG(r->d->name), STR_ARG(hash));
    const struct obj *there = view_get(r->view, K(ReplicaSet), r->d->ns, name);
    if (there) { /* another template or another owner has the name: hash again, once more collided */
        if (!obj_deleting(there))
            val_set_num(a, r->status, N(collisionCount), collisions + 1);
        else
            plan_why(r->out, "ReplicaSet " STR_FMT " of an earlier owner is still being deleted", STR_ARG(name));
        status_write(r);
        return;
    }
    int64_t size = new_set_size(r, 0);
    struct str revision = arena_fmt(a, "%lld", (long long)next_revision(r));
    struct action *act = plan_create(r->out, K(ReplicaSet), r->d->ns, name, new_set_tree(r, hash, size, revision));
    if (size > 0)
        act->done = plan_event_of(r->out, r->d, "Normal", "ScalingReplicaSet",
                                  "Scaled up replica set " STR_FMT " from 0 to %lld", STR_ARG(name), (long long)size);
    act->failed = plan_event_of(r->out, r->d, "Warning", "ReplicaSetCreateError",
                                "Failed to create new replica set \"" STR_FMT "\": ", STR_ARG(name));
    if (r->view->trouble.n > 0) {
        struct str text = arena_fmt(a, "Failed to create new replica set \"" STR_FMT "\": " STR_FMT, STR_ARG(name),
                                    STR_ARG(r->view->trouble));
        plan_why(r->out, STR_FMT, STR_ARG(text));
        cond_set(r, "Progressing", "False", "ReplicaSetCreateError", text, false);
        status_count(r);
        status_write(r);
        return;
    }
    plan_step(r->out);
    revision_set(r, revision);
    if (has_deadline(r->d))
        cond_set(r, "Progressing", "True", "NewReplicaSetCreated",
                 arena_fmt(a, "Created new replica set \"" STR_FMT "\"", STR_ARG(name)), false);
    status_count(r);
    status_write(r);
}

/* True where the set has to be changed for it. */
static bool scale_to(struct rollout *r, struct obj *rs, int64_t size)
{
    struct val tree = plan_edit(r->out, rs);
    int64_t has = replicas_of(rs);
    val_set_num(&r->out->arena, val_need_map(&r->out->arena, &tree, N(spec)), N(replicas), size);
    annotate_size(r, &tree);
    struct action *a = plan_update(r->out, rs, S(""), tree);
    if (!a)
        return false;
    if (size != has)
        a->done = plan_event_of(r->out, r->d, "Normal", "ScalingReplicaSet",
                                "Scaled %s replica set " STR_FMT " from %lld to %lld", size > has ? "up" : "down",
                                STR_ARG(rs->name), (long long)has, (long long)size);
    r->scaled = true;
    return size != has;
}

/* ---- rolling ---- */

/* A set that is being scaled down still counts pods that are about to go: what will be left at most is what counts.
 */
static int64_t stays_available(const struct obj *rs)
{
    return MIN(status_num(rs, N(availableReplicas)), replicas_of(rs));
}

static int64_t sum_stays_available(const struct rollout *r)
{
    int64_t n = 0;
    array_each (it, &r->all)
        n += stays_available(*it);
    return n;
}

/* Whether each set's status speaks of its newest size. Until then nobody knows what it has: it may have followed an
 * earlier wish half-way. A set plans only when it sees all it did, so once it has observed a size it has at most the
 * greater of that and status.replicas. Upstream goes on regardless and exceeds its bounds when wishes follow quickly.
 */
static bool sizes_observed(const struct rollout *r)
{
    array_each (it, &r->all)
        if (status_num(*it, N(observedGeneration)) < obj_generation(*it))
            return false;
    return true;
}

static bool new_set_reconcile(struct rollout *r)
{
    int64_t has = replicas_of(r->new);
    if (has == replicas_of(r->d))
        return false;
    return scale_to(r, r->new, has > replicas_of(r->d) ? replicas_of(r->d) : new_set_size(r, has));
}

/* Old pods that do not serve go first: they cost nothing. Sizes are kept in `to` until both rounds are done. */
static int64_t unhealthy_drop(const struct rollout *r, int64_t *to, int64_t most)
{
    int64_t dropped = 0;
    for (size_t i = 0; i < r->old.n && dropped < most; i++) {
        int64_t idle = to[i] - stays_available(r->old.p[i]);
        if (to[i] == 0 || idle <= 0)
            continue;
        int64_t n = MIN(most - dropped, idle);
        to[i] -= n;
        dropped += n;
    }
    return dropped;
}

static bool old_sets_reconcile(struct rollout *r)
{
    int64_t old_pods = 0;
    array_each (it, &r->old)
        old_pods += replicas_of(*it);
    if (old_pods == 0)
        return false;
    int64_t least = replicas_of(r->d) - max_unavailable(r->d);
    int64_t new_unavailable = replicas_of(r->new) - stays_available(r->new);
    int64_t most = sum_spec(r) - least - new_unavailable;
    if (most <= 0)
        return false;
    int64_t *to = arena_alloc(&r->out->arena, (r->old.n + 1) * sizeof *to);
    for (size_t i = 0; i < r->old.n; i++)
        to[i] = replicas_of(r->old.p[i]);
    int64_t dropped = unhealthy_drop(r, to, most);
    /* then those that serve, as far as what is left still does: never more than `most` in all */
    int64_t spare = MIN(sum_stays_available(r) - least, most - dropped);
    for (size_t i = 0; i < r->old.n && spare > 0; i++) {
        int64_t n = MIN(to[i], spare);
        to[i] -= n;
        spare -= n;
    }
    bool any = false;
    for (size_t i = 0; i < r->old.n; i++)
        if (to[i] != replicas_of(r->old.p[i]))
            any |= scale_to(r, r->old.p[i], to[i]);
    return any;
}

static int by_revision(const void *pa, const void *pb)
{
    const struct obj *a = *(struct obj *const *)pa, *b = *(struct obj *const *)pb;
    int64_t d = number_of(annotation_of(a, REVISION)) - number_of(annotation_of(b, REVISION));
    return d ? (d < 0 ? -1 : 1) : by_age(pa, pb);
}

static void history_trim(struct rollout *r)
{
    const struct val *limit = val_get(obj_spec(r->d), N(revisionHistoryLimit));
    if (!limit || val_num(limit, NEVER) == NEVER)
        return;
    ARRAY(struct obj *) alive = {0};
    array_each (it, &r->old)
        if (!obj_deleting(*it))
            array_push(&alive, *it);
    int64_t over = (int64_t)alive.n - val_num(limit, NEVER);
    if (over > 0)
        qsort(alive.p, alive.n, sizeof *alive.p, by_revision);
    for (int64_t i = 0; i < over; i++) {
        struct obj *rs = alive.p[i];
        if (status_num(rs, N(replicas)) == 0 && replicas_of(rs) == 0 &&
            obj_generation(rs) <= status_num(rs, N(observedGeneration)))
            plan_delete(r->out, rs)->propagation = PROPAGATION_BACKGROUND;
    }
    array_fini(&alive);
}

static void rollout_roll(struct rollout *r)
{
    if (!r->new &&sizes_observed(r)) {
        new_set_create(r);
        return;
    }
    if (!r->new) {
        status_rollout(r);
        return;
    }
    if (new_set_refresh(r))
        return;
    if (sizes_observed(r) && !new_set_reconcile(r))
        old_sets_reconcile(r);
    status_rollout(r);
    if (rollout_is_complete(r))
        history_trim(r);
}

/* ---- recreate ---- */

static bool old_pods_run(const struct rollout *r)
{
    struct obj *pod;
    array_each (rs, &r->old)
        if (status_num(*rs, N(replicas)) > 0)
            return true;
    array_each (rs, &r->old)
        for (struct objset_iter it = view_with(r->view, K(Pod), &index_controller, (*rs)->uid);
             (pod = objset_next(&it));)
            if (!pod_is_over(pod))
                return true;
    return false;
}

static void rollout_recreate(struct rollout *r)
{
    if (r->new &&new_set_refresh(r))
        return;
    bool down = false;
    array_each (it, &r->old)
        if (replicas_of(*it) > 0)
            down |= scale_to(r, *it, 0);
    if (!down && sizes_observed(r) && !old_pods_run(r)) {
        if (!r->new) {
            new_set_create(r);
            return;
        }
        if (replicas_of(r->new) != replicas_of(r->d))
            scale_to(r, r->new, replicas_of(r->d));
    }
    status_rollout(r);
    if (rollout_is_complete(r))
        history_trim(r);
}

/* ---- scaling and pausing ---- */

static bool new_set_is_saturated(const struct rollout *r)
{
    return r->new &&replicas_of(r->new) == replicas_of(r->d) &&
           number_of(annotation_of(r->new, DESIRED)) == replicas_of(r->d) &&
           status_num(r->new, N(availableReplicas)) == replicas_of(r->d);
}

struct sized {
    struct obj *rs;
    int64_t to;
    bool up;
};

static int by_size(const void *pa, const void *pb)
{
    const struct sized *a = pa, *b = pb;
    if (replicas_of(a->rs) != replicas_of(b->rs))
        return replicas_of(a->rs) > replicas_of(b->rs) ? -1 : 1;
    return a->up ? by_age(&b->rs, &a->rs) : by_age(&a->rs, &b->rs);
}

static int64_t set_fraction(const struct rollout *r, const struct obj *rs)
{
    if (replicas_of(r->d) == 0)
        return -replicas_of(rs);
    int64_t most = number_of(annotation_of(rs, MOST));
    if (annotation_of(rs, MOST).n == 0)
        most = status_num(r->d, N(replicas));
    if (most == 0)
        return 0;
    int64_t x = replicas_of(rs) * (replicas_of(r->d) + max_surge(r->d));
    return (2 * x + most) / (2 * most) - replicas_of(rs); /* rounded half up, as RoundToInt32 of a positive number */
}

/* Upstream takes from each set in proportion, also pods that serve while others that do not stay: a Deployment that
 * is scaled down in the middle of a rollout that does not get ready falls below maxUnavailable. */
static bool falls_short(const struct rollout *r, const struct sized *sets, size_t n)
{
    int64_t serve = 0;
    for (size_t i = 0; i < n; i++)
        serve += MIN(sets[i].to, stays_available(sets[i].rs));
    return serve < MIN(sum_stays_available(r), replicas_of(r->d) - max_unavailable(r->d));
}

/* Those that do not serve first, of every set; then the others. */
static void take_idle_first(struct sized *sets, size_t n, int64_t most)
{
    for (size_t i = 0; i < n; i++) {
        int64_t idle = replicas_of(sets[i].rs) - stays_available(sets[i].rs);
        sets[i].to = replicas_of(sets[i].rs) - MIN(most, idle);
        most -= MIN(most, idle);
    }
    for (size_t i = 0; i < n; i++) {
        int64_t part = MIN(most, sets[i].to);
        sets[i].to -= part;
        most -= part;
    }
}

/* Spreads a change of spec.replicas in the middle of a rollout over the sets that have pods, in proportion. */
static void scale_in_proportion(struct rollout *r, struct sized *sets, size_t n)
{
    int64_t have = 0, allowed = replicas_of(r->d) > 0 ? replicas_of(r->d) + max_surge(r->d) : 0, added = 0;
    for (size_t i = 0; i < n; i++)
        have += replicas_of(sets[i].rs);
    int64_t add = allowed - have;
    for (size_t i = 0; i < n; i++)
        sets[i].up = add > 0;
    qsort(sets, n, sizeof *sets, by_size);
    for (size_t i = 0; i < n; i++) {
        int64_t part = 0;
        if (replicas_of(sets[i].rs) > 0 && add != added)
            part = add > 0 ? MIN(set_fraction(r, sets[i].rs), add - added)
                           : MAX(set_fraction(r, sets[i].rs), add - added);
        if (add == 0)
            part = 0;
        sets[i].to = replicas_of(sets[i].rs) + part;
        added += part;
    }
    if (n > 0 && add != 0)
        sets[0].to = MAX(0, sets[0].to + add - added);
    if (add < 0 && falls_short(r, sets, n))
        take_idle_first(sets, n, -add);
    for (size_t i = 0; i < n; i++)
        scale_to(r, sets[i].rs, sets[i].to);
}

static void rollout_scale(struct rollout *r)
{
    struct sized *sets = arena_alloc(&r->out->arena, (r->all.n + 1) * sizeof *sets);
    size_t n = 0;
    array_each (it, &r->all)
        if (replicas_of(*it) > 0)
            sets[n++].rs = *it;
    if (n <= 1) {
        struct obj *one = n == 1 ? sets[0].rs : r->new ? r->new : r->old.n > 0 ? r->old.p[r->old.n - 1] : NULL;
        if (one && replicas_of(one) != replicas_of(r->d))
            scale_to(r, one, replicas_of(r->d));
        else if (one)
            scale_to(r, one, replicas_of(one)); /* its annotations */
        return;
    }
    if (new_set_is_saturated(r)) {
        array_each (it, &r->old)
            if (replicas_of(*it) > 0)
                scale_to(r, *it, 0);
        return;
    }
    if (strategy_is_rolling(r->d) && sizes_observed(r))
        scale_in_proportion(r, sets, n);
}

static bool is_scaling(const struct rollout *r)
{
    array_each (it, &r->all)
        if (replicas_of(*it) > 0 && annotation_of(*it, DESIRED).n > 0 &&
            number_of(annotation_of(*it, DESIRED)) != replicas_of(r->d))
            return true;
    return false;
}

static void pause_conditions(struct rollout *r, bool paused)
{
    const struct val *c = cond_get(r, "Progressing");
    if (!has_deadline(r->d) || reason_is(c, "ProgressDeadlineExceeded"))
        return;
    bool said = reason_is(c, "DeploymentPaused");
    if (paused && !said)
        cond_set(r, "Progressing", "Unknown", "DeploymentPaused", S("Deployment is paused"), false);
    else if (!paused && said)
        cond_set(r, "Progressing", "Unknown", "DeploymentResumed", S("Deployment is resumed"), false);
}

static void deployment_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *d = view_get(v, K(Deployment), key.ns, key.name);
    if (!d)
        return;
    struct rollout r = {.view = v, .out = out, .d = d, .tree = plan_edit(out, d)};
    r.status = val_need_map(&out->arena, &r.tree, N(status));
    bool paused = val_true(val_get(obj_spec(d), N(paused)));
    if (!sets_collect(&r)) {
        val_set_num(&out->arena, r.status, N(observedGeneration), obj_generation(d));
        status_write(&r);
    } else if (obj_deleting(d)) {
        status_count(&r);
        status_write(&r);
    } else if (r.scaled) {
        /* sets are being adopted */
    } else {
        pause_conditions(&r, paused);
        if (paused || is_scaling(&r)) {
            rollout_scale(&r);
            if (paused)
                history_trim(&r);
            status_count(&r);
            status_write(&r);
        } else if (strategy_is_rolling(d)) {
            rollout_roll(&r);
        } else {
            rollout_recreate(&r);
        }
    }
    array_fini(&r.all);
    array_fini(&r.old);
}

/* ---- what concerns it ---- */

static void keys_of_set(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    keys_of_controller(v, was, now, K(Deployment), add, arg);
    if (!now || obj_controller(now))
        return;
    struct obj *d;
    for (struct objset_iter it = view_with(v, K(Deployment), &index_namespace, now->ns); (d = objset_next(&it));)
        if (label_selector_matches(val_get(obj_spec(d), N(selector)), obj_labels(now)))
            add(arg, d->ns, d->name);
}

/* Recreate waits for the last old pod to be gone or over. */
static void keys_of_pod(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    const struct val *ref = was ? obj_controller(was) : NULL;
    if (!ref || (now && !pod_is_over(now)))
        return;
    const struct obj *rs = view_get(v, K(ReplicaSet), was->ns, val_text_at(ref, N(name)));
    const struct val *owner = rs ? obj_controller(rs) : NULL;
    const struct obj *d = owner ? view_get(v, K(Deployment), rs->ns, val_text_at(owner, N(name))) : NULL;
    if (d && !strategy_is_rolling(d))
        add(arg, d->ns, d->name);
}

static const struct controller_watch watches[] = {
    {K(Deployment), keys_self}, {K(ReplicaSet), keys_of_set}, {K(Pod), keys_of_pod}, {0}};
const struct controller deployment_controller = {
    .name = "deployment",
    .component = "deployment-controller",
    .account = "deployment-controller",
    .watches = watches,
    .plan = deployment_plan,
};
