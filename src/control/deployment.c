/* Rolls a Deployment: finds or makes the ReplicaSet of the current template, moves replicas from old to new within
 * maxSurge and maxUnavailable, keeps the history and tells how it goes. Upstream: pkg/controller/deployment.
 *
 * A plan does one thing, and the next is planned when what that led to is seen:
 *   1. sets_collect: which ReplicaSets are its own (adopting, releasing); the oldest one with the template, but for
 * the hash label, is the new set, the others are old;
 *   2. a Deployment that is paused, or whose spec.replicas has changed in the middle of a rollout, is only scaled
 *      (rollout_scale): sets that have pods change in proportion;
 *   3. rolling (rollout_roll): make the new set; or bring its annotations up to date; or grow it as far as maxSurge
 * leaves room (new_set_size); or else shrink old ones as far as maxUnavailable lets them (old_sets_reconcile), first
 * pods that do not serve, then others;
 *   4. recreating (rollout_recreate): old sets to 0, wait until their pods are gone, then the new set at full size;
 *   5. status: sums over the sets, the conditions Available and Progressing, and the failure of the set that is worst
 * off.
 *
 * The bounds hold for pods and not only for wishes. What a set has lies between its size and its status until it has
 * followed: for maxSurge the greater of both counts (sum_pods), for maxUnavailable the lesser (stays_available), and
 * nothing moves before each status speaks of the newest size (sizes_observed). rollout_test.c checks both bounds at
 * every write. */
#include "control/deployment_int.h"
#include "control/pods.h"

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
    return set_scale_to(r, r->new, has > replicas_of(r->d) ? replicas_of(r->d) : new_set_size(r, has));
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
    int64_t least = replicas_of(r->d) - rollout_max_unavailable(r->d);
    int64_t new_unavailable = replicas_of(r->new) - stays_available(r->new);
    int64_t most = rollout_sum_spec(r) - least - new_unavailable;
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
            any |= set_scale_to(r, r->old.p[i], to[i]);
    return any;
}

static int by_revision(const void *pa, const void *pb)
{
    const struct obj *a = *(struct obj *const *)pa, *b = *(struct obj *const *)pb;
    int64_t d = number_of(annotation_of(a, REVISION)) - number_of(annotation_of(b, REVISION));
    return d ? (d < 0 ? -1 : 1) : set_by_age(pa, pb);
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
        rollout_tell(r);
        return;
    }
    if (new_set_refresh(r))
        return;
    if (sizes_observed(r) && !new_set_reconcile(r))
        old_sets_reconcile(r);
    rollout_tell(r);
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
            down |= set_scale_to(r, *it, 0);
    if (!down && sizes_observed(r) && !old_pods_run(r)) {
        if (!r->new) {
            new_set_create(r);
            return;
        }
        if (replicas_of(r->new) != replicas_of(r->d))
            set_scale_to(r, r->new, replicas_of(r->d));
    }
    rollout_tell(r);
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
    return a->up ? set_by_age(&b->rs, &a->rs) : set_by_age(&a->rs, &b->rs);
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
    int64_t x = replicas_of(rs) * (replicas_of(r->d) + rollout_max_surge(r->d));
    return (2 * x + most) / (2 * most) - replicas_of(rs); /* rounded half up, as RoundToInt32 of a positive number */
}

/* Upstream takes from each set in proportion, also pods that serve while others that do not stay: a Deployment that
 * is scaled down in the middle of a rollout that does not get ready falls below maxUnavailable. */
static bool falls_short(const struct rollout *r, const struct sized *sets, size_t n)
{
    int64_t serve = 0;
    for (size_t i = 0; i < n; i++)
        serve += MIN(sets[i].to, stays_available(sets[i].rs));
    return serve < MIN(sum_stays_available(r), replicas_of(r->d) - rollout_max_unavailable(r->d));
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
    int64_t have = 0, allowed = replicas_of(r->d) > 0 ? replicas_of(r->d) + rollout_max_surge(r->d) : 0, added = 0;
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
        set_scale_to(r, sets[i].rs, sets[i].to);
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
            set_scale_to(r, one, replicas_of(r->d));
        else if (one)
            set_scale_to(r, one, replicas_of(one)); /* its annotations */
        return;
    }
    if (new_set_is_saturated(r)) {
        array_each (it, &r->old)
            if (replicas_of(*it) > 0)
                set_scale_to(r, *it, 0);
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
    const struct val *c = rollout_cond(r, "Progressing");
    if (!rollout_has_deadline(r->d) || cond_reason_is(c, "ProgressDeadlineExceeded"))
        return;
    bool said = cond_reason_is(c, "DeploymentPaused");
    if (paused && !said)
        rollout_cond_set(r, "Progressing", "Unknown", "DeploymentPaused", S("Deployment is paused"), false);
    else if (!paused && said)
        rollout_cond_set(r, "Progressing", "Unknown", "DeploymentResumed", S("Deployment is resumed"), false);
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
        rollout_write_status(&r);
    } else if (obj_deleting(d)) {
        rollout_count(&r);
        rollout_write_status(&r);
    } else if (r.scaled) {
        /* sets are being adopted */
    } else {
        pause_conditions(&r, paused);
        if (paused || is_scaling(&r)) {
            rollout_scale(&r);
            if (paused)
                history_trim(&r);
            rollout_count(&r);
            rollout_write_status(&r);
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
