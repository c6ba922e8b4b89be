/* Keeps the pods of a StatefulSet: each has a number, a name made of it and claims of its own, and comes back under
 * the same after it is gone. Upstream: pkg/controller/statefulset.
 *
 * A plan goes through it in this order:
 *   1. the revision of the template as it is now is found or made (history.h), and pods are adopted and released by
 *      selector and name; those with ordinals first .. first + replicas - 1 are in their places, others condemned;
 *   2. status: sums over the pods. currentRevision follows updateRevision once all pods have it and are ready;
 *   3. places, from the lowest up: a pod that is over is deleted, one that is missing is made, its claims before it,
 *      labels and owners of claims are mended. OrderedReady stops at the first one that is not available yet;
 *   4. condemned pods go, from the highest down; OrderedReady one at a time, and only while the others are well;
 *   5. a rolling update replaces pods of other revisions (statefulset_update.c), from the highest down.
 *
 * Upstream gets stuck where a revision is broken: its pod never becomes ready, and OrderedReady waits for just that
 * before it replaces anything, also by the revision that mends it. Here a pod that is of no use and of an old
 * revision is replaced wherever the plan stops (stateful_pod_is_broken).
 *
 * Names are the lock: there cannot be two pods of one ordinal, and a place is filled only when the one before is
 * gone from the API. */
#include "control/statefulset_int.h"

#define FAILED_WAIT     (10 * NS_PER_S)  /* a pod that fails is not replaced sooner after it was made */
#define FAILED_FOR_GOOD (600 * NS_PER_S) /* the same of one whose node will never run it */

/* A pod that is over leaves its place to a new one. Upstream makes that as fast as it can, also of what fails at
 * once. */
static void over_replace(struct stateful *s, const struct obj *pod)
{
    bool for_good = pod_is_refused_for_good(pod);
    int64_t from = obj_created(pod) + (for_good ? FAILED_FOR_GOOD : FAILED_WAIT);
    bool failed = str_eqz(val_text_at(obj_status(pod), N(phase)), "Failed");
    bool old = stateful_rolls(s->set) && !stateful_takes_current(s, stateful_ordinal(s->set, pod->name)) &&
               !str_eq(stateful_revision(pod), s->update.name);
    if (!failed || old || from <= s->view->now) {
        stateful_pod_delete(s, pod);
        return;
    }
    plan_again(s->out, from);
    plan_why(s->out, "pod " STR_FMT " has failed (" STR_FMT ": " STR_FMT ") and is made anew at %s",
             STR_ARG(pod->name), STR_ARG(val_text_at(obj_status(pod), N(reason))),
             STR_ARG(val_text_at(obj_status(pod), N(message))), time_text(&s->out->arena, from).p);
}

/* True: OrderedReady goes no further. */
static bool pod_keep(struct stateful *s, const struct stateful_pod *p)
{
    const struct obj *pod = p->pod;
    s->waits_for = pod;
    if (obj_deleting(pod))
        return true;
    if (pod_is_over(pod)) {
        over_replace(s, pod);
        return true;
    }
    if (str_eqz(val_text_at(obj_status(pod), N(phase)), "Pending"))
        stateful_claims_make(s, p->ordinal);
    stateful_claims_own(s, p);
    stateful_identity_mend(s, p);
    return !stateful_pod_serves(s, pod);
}

static void wait_tell(struct stateful *s)
{
    const struct obj *pod = s->waits_for;
    if (pod && obj_deleting(pod))
        plan_why(s->out, "waits until pod " STR_FMT ", which is being deleted, is gone", STR_ARG(pod->name));
    else if (pod && !pod_is_over(pod))
        plan_why(s->out, "pod " STR_FMT " is not %s yet, and podManagementPolicy OrderedReady waits for it",
                 STR_ARG(pod->name), stateful_pod_runs(pod) ? "available (minReadySeconds)" : "ready");
}

static bool place_fill(struct stateful *s, int64_t ordinal)
{
    if (!stateful_pod_can_be_made(s, ordinal))
        return false;
    if (stateful_claims_missing(s, ordinal)) {
        stateful_claims_make(s, ordinal);
        plan_step(s->out);
    }
    stateful_pod_make(s, ordinal);
    return true;
}

/* One after the other; true: all of them are there and available. */
static bool places_in_order(struct stateful *s)
{
    int64_t ordinal = s->first;
    array_each (p, &s->placed) {
        if (p->ordinal > ordinal)
            break;
        if (pod_keep(s, p))
            return false;
        ordinal++;
    }
    s->waits_for = NULL;
    if (ordinal == s->first + s->wanted)
        return true;
    place_fill(s, ordinal);
    return false;
}

/* All at once; the missing ones in growing batches, as where creating fails few calls find that out. */
static void places_at_once(struct stateful *s)
{
    ARRAY(int64_t) missing = {0};
    int64_t ordinal = s->first;
    array_each (p, &s->placed) {
        for (; ordinal < p->ordinal && missing.n < STATEFUL_BURST; ordinal++)
            array_push(&missing, ordinal);
        ordinal = p->ordinal + 1;
        pod_keep(s, p);
    }
    for (; place_is_of(s, ordinal) && missing.n < STATEFUL_BURST; ordinal++)
        array_push(&missing, ordinal);
    for (size_t from = 0, batch = 1; from < missing.n; from += batch, batch *= 2) {
        size_t n = MIN(batch, missing.n - from), fit = 0;
        for (size_t i = 0; i < n; i++)
            if (stateful_pod_can_be_made(s, missing.p[from + i]))
                missing.p[from + fit++] = missing.p[from + i];
        bool claims = false;
        for (size_t i = 0; i < fit; i++)
            claims |= stateful_claims_missing(s, missing.p[from + i]);
        if (from > 0)
            plan_step(s->out);
        for (size_t i = 0; i < fit && claims; i++)
            stateful_claims_make(s, missing.p[from + i]);
        if (claims)
            plan_step(s->out);
        for (size_t i = 0; i < fit; i++)
            stateful_pod_make(s, missing.p[from + i]);
    }
    array_fini(&missing);
}

/* The lowest one that does not serve may go whatever its state: it is what holds the others up. */
static const struct obj *first_unavailable(struct stateful *s)
{
    array_each (p, &s->placed)
        if (!stateful_pod_serves(s, p->pod))
            return p->pod;
    for (size_t i = s->condemned.n; i-- > 0;)
        if (!stateful_pod_serves(s, s->condemned.p[i].pod))
            return s->condemned.p[i].pod;
    return NULL;
}

/* True: one at a time, and this is not over. */
static bool condemned_remove(struct stateful *s)
{
    const struct obj *unavailable = first_unavailable(s);
    bool owned = false;
    array_each (p, &s->condemned)
        owned |= !obj_deleting(p->pod) && stateful_claims_own(s, p);
    if (owned)
        plan_step(s->out); /* the claims are to go with the pods: first they are told so */
    size_t n = 0;
    array_each (p, &s->condemned) {
        bool well = stateful_pod_serves(s, p->pod);
        if (s->ordered && obj_deleting(p->pod)) {
            s->waits_for = p->pod;
            return true;
        }
        if (s->ordered && !well && p->pod != unavailable) {
            plan_why(s->out,
                     "pod " STR_FMT " is not ready, and podManagementPolicy OrderedReady waits for it before "
                     "pods are taken away",
                     STR_ARG(unavailable->name));
            return true;
        }
        if (obj_deleting(p->pod) || n++ >= STATEFUL_BURST)
            continue;
        stateful_pod_delete(s, p->pod);
        if (s->ordered)
            return true;
    }
    return false;
}

static void places_settle(struct stateful *s)
{
    if (!s->ordered) {
        places_at_once(s);
        condemned_remove(s);
        stateful_update(s, true);
    } else if (!places_in_order(s)) {
        stateful_update(s, false);
    } else if (!condemned_remove(s)) {
        stateful_update(s, true);
    }
    if (s->ordered)
        wait_tell(s);
}

static bool revision_is_live(void *arg, const struct obj *revision)
{
    struct stateful *s = arg;
    if (str_eq(revision->name, s->update.name) || str_eq(revision->name, s->current_name))
        return true;
    array_each (p, &s->placed)
        if (str_eq(stateful_revision(p->pod), revision->name))
            return true;
    array_each (p, &s->condemned)
        if (str_eq(stateful_revision(p->pod), revision->name))
            return true;
    return false;
}

/* Its revisions; while it is being deleted none are made any more. */
static bool revisions_find(struct stateful *s)
{
    const struct val *status = obj_status(s->set);
    s->current_name = val_text_at(status, N(currentRevision));
    s->collisions = val_num_at(status, 0, N(collisionCount));
    if (obj_deleting(s->set)) {
        s->update.name = val_text_at(status, N(updateRevision));
        return true;
    }
    if (!revisions_collect(s->view, s->set, s->out, &s->history))
        return false;
    s->update = revisions_current(&s->history, HISTORY_HASH, &s->collisions);
    s->current = revisions_named(&s->history, s->current_name);
    if (!s->current)
        s->current_name = s->update.name;
    if (str_eq(s->current_name, s->update.name))
        s->current = NULL; /* the same */
    return true;
}

static void set_settle(struct stateful *s)
{
    if (!revisions_find(s) || !stateful_claim(s))
        return;
    stateful_status(s);
    if (obj_deleting(s->set))
        return;
    if (s->view->trouble.n > 0)
        plan_why(s->out, STR_FMT, STR_ARG(s->view->trouble));
    places_settle(s);
    revisions_trim(&s->history, val_num_at(obj_spec(s->set), 10, N(revisionHistoryLimit)), revision_is_live, s);
}

static void statefulset_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *set = view_get(v, K(StatefulSet), key.ns, key.name);
    if (!set)
        return;
    struct stateful s = {
        .view = v,
        .out = out,
        .set = set,
        .first = val_num_at(obj_spec(set), 0, N(ordinals), N(start)),
        .wanted = val_num_at(obj_spec(set), 1, N(replicas)),
        .min_ready = val_num_at(obj_spec(set), 0, N(minReadySeconds)),
        .ordered = !str_eqz(val_text_at(obj_spec(set), N(podManagementPolicy)), "Parallel"),
    };
    set_settle(&s);
    revisions_fini(&s.history);
    array_fini(&s.placed);
    array_fini(&s.condemned);
}

/* ---- what concerns it ---- */

static void keys_of_owned(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                          void *arg)
{
    keys_of_child(v, was, now, K(StatefulSet), add, arg);
}

/* A pod of whomever with the name of one of a set: that set waits for the name. */
static void keys_of_pod(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    const struct obj *pod = now ? now : was;
    keys_of_owned(v, was, now, add, arg);
    ptrdiff_t dash = str_rfind_char(pod->name, '-');
    if (dash <= 0 || (was && now))
        return;
    const struct obj *set = view_get(v, K(StatefulSet), pod->ns, str_sub(pod->name, 0, (size_t)dash));
    if (set && stateful_ordinal(set, pod->name) >= 0)
        add(arg, set->ns, set->name);
}

/* Claims have no owner, mostly: TEMPLATE-SET-ORDINAL tells whose they are. */
static void keys_of_claim(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                          void *arg)
{
    const struct obj *claim = now ? now : was;
    ptrdiff_t dash = str_rfind_char(claim->name, '-');
    struct str rest = str_sub(claim->name, 0, dash > 0 ? (size_t)dash : 0);
    if (was && now && obj_deleting(was) == obj_deleting(now) &&
        val_equal(val_get(obj_meta(was), N(ownerReferences)), val_get(obj_meta(now), N(ownerReferences))))
        return;                                      /* nothing else of it is looked at */
    while ((dash = str_find_char(rest, '-')) >= 0) { /* a template's name may have a dash, and so may a set's */
        rest = str_sub(rest, (size_t)dash + 1, rest.n);
        const struct obj *set = view_get(v, K(StatefulSet), claim->ns, rest);
        if (set)
            add(arg, set->ns, set->name);
    }
}

/* An account that comes may be what sets of its namespace wait for: their next try may be minutes away. */
static void keys_of_account(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                            void *arg)
{
    struct obj *set;
    if (was)
        return;
    for (struct objset_iter it = view_with(v, K(StatefulSet), &index_namespace, now->ns); (set = objset_next(&it));)
        if (val_num_at(obj_status(set), 0, N(replicas)) < val_num_at(obj_spec(set), 1, N(replicas)))
            add(arg, set->ns, set->name);
}

static const struct controller_watch watches[] = {{K(StatefulSet), keys_self},
                                                  {K(Pod), keys_of_pod},
                                                  {K(ControllerRevision), keys_of_owned},
                                                  {K(PersistentVolumeClaim), keys_of_claim},
                                                  {K(ServiceAccount), keys_of_account},
                                                  {0}};
const struct controller statefulset_controller = {
    .name = "statefulset",
    .component = "statefulset-controller",
    .account = "statefulset-controller",
    .watches = watches,
    .plan = statefulset_plan,
};
