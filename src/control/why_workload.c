/* Deployments, ReplicaSets and ReplicationControllers: what their plans cannot do, and behind that the pod that is
 * worst off. */
#include "control/why_int.h"

extern const struct controller deployment_controller, replicaset_controller, replication_controller;

static int64_t replicas_of(const struct obj *o)
{
    return val_num_at(obj_spec(o), 1, N(replicas));
}

static int64_t status_num(const struct obj *o, const struct name *name)
{
    return val_num_at(obj_status(o), 0, name);
}

static struct str counts_head(struct question *q, const struct obj *o)
{
    return arena_fmt(q->a, STR_FMT " " STR_FMT " has %lld of %lld pods ready", STR_ARG(o->kind->kind),
                     STR_ARG(o->name), (long long)status_num(o, N(readyReplicas)), (long long)replicas_of(o));
}

struct str replicaset_head(struct question *q, const struct obj *o)
{
    return counts_head(q, o);
}

static bool deadline_passed(const struct obj *d)
{
    return str_eqz(val_text_at(condition_get(obj_status(d), "Progressing"), N(reason)), "ProgressDeadlineExceeded");
}

static bool is_paused(const struct obj *d)
{
    return val_true(val_get(obj_spec(d), N(paused)));
}

/* ---- what the API refuses ---- */

/* What an admission step says when it refuses a pod, and how that is mended. */
static const struct saying refusals[] = {
    {"error looking up service account", "ServiceAccountMissing",
     "its service account {account} is not there, so the API refuses its pods",
     "Create it: kubectl create serviceaccount {account}{ns}, or name another in {spec}serviceAccountName: {edit}"},
    {"no PriorityClass with name", "PriorityClassMissing",
     "its PriorityClass {class} is not there, so the API refuses its pods",
     "Create it: kubectl create priorityclass {class} --value=1000, or leave {spec}priorityClassName out: {edit}"},
    {"ValidatingAdmissionPolicy '", "PolicyDenied",
     "ValidatingAdmissionPolicy {policy} refuses its pods (by binding {binding}): {said}",
     "Mend what it names in the pod template: {edit}, or the policy: kubectl edit validatingadmissionpolicy "
     "{policy}"},
    {"is being terminated", "NamespaceGoing", "its namespace is being deleted, so no pod can be made in it", ""},
    {"", "PodsRefused", "the API refuses its pods: {message}", "Mend what it names in the pod template: {edit}"},
};

/* What stands between the first place of one text and the next of another, or the end. */
static struct str part_after(struct str message, const char *before, const char *behind)
{
    ptrdiff_t at = str_find(message, str_of(before));
    if (at < 0)
        return S("?");
    struct str rest = str_sub(message, (size_t)at + strlen(before), message.n);
    ptrdiff_t end = behind ? str_find(rest, str_of(behind)) : -1;
    return end < 0 ? rest : str_sub(rest, 0, (size_t)end);
}

void why_pods_refused(struct question *q, const struct obj *rs, struct str message, struct finding *f)
{
    const struct val *spec = val_at(obj_spec(rs), N(template), N(spec));
    if (why_refused(q, message, S("its pods"), f))
        return;
    const struct word words[] = {{"account", val_text_at(spec, N(serviceAccountName))},
                                 {"class", val_text_at(spec, N(priorityClassName))},
                                 {"policy", part_after(message, "ValidatingAdmissionPolicy '", "'")},
                                 {"binding", part_after(message, "with binding '", "'")},
                                 {"said", part_after(message, "denied request: ", NULL)},
                                 {"message", message}};
    why_saying(q, f, refusals, message, words, countof(words));
}

/* ---- pods ---- */

static void set_chain(struct question *q, const struct obj *rs, struct finding *f)
{
    size_t failed = 0;
    struct obj *pod;
    for (struct objset_iter it = view_with(q->v, K(Pod), &index_controller, rs->uid); (pod = objset_next(&it));)
        failed += pod_is_over(pod);
    struct str text = arena_fmt(q->a, STR_FMT " " STR_FMT ": %lld of %lld pods exist, %lld ready",
                                STR_ARG(rs->kind->kind), STR_ARG(rs->name), (long long)status_num(rs, N(replicas)),
                                (long long)replicas_of(rs), (long long)status_num(rs, N(readyReplicas)));
    if (failed > 0)
        why_chain(q, f, STR_FMT ", %zu have failed", STR_ARG(text), failed);
    else
        why_chain(q, f, STR_FMT, STR_ARG(text));
}

void why_worst_pod(struct question *q, const struct obj *rs, struct finding *f)
{
    struct finding worst = {0};
    const struct obj *which = NULL;
    struct obj *pod;
    for (struct objset_iter it = view_with(q->v, K(Pod), &index_controller, rs->uid); (pod = objset_next(&it));) {
        struct finding one = {0};
        if (pod_is_active(pod))
            why_pod(q, pod, &one);
        if (why_worse(&one, &worst)) {
            array_fini(&worst.chain);
            worst = one;
            which = pod;
        } else {
            array_fini(&one.chain);
        }
    }
    if (which)
        why_behind(q, f, arena_fmt(q->a, "pod " STR_FMT, STR_ARG(which->name)), &worst);
    array_fini(&worst.chain);
}

static const struct obj *last_failed(struct question *q, const struct obj *rs)
{
    const struct obj *last = NULL;
    struct obj *pod;
    for (struct objset_iter it = view_with(q->v, K(Pod), &index_controller, rs->uid); (pod = objset_next(&it));)
        if (pod_is_over(pod) && (!last || obj_created(pod) >= obj_created(last)))
            last = pod;
    return last;
}

/* Pods that were refused by the node or ended as a whole: the plan holds back with new ones. */
static void failed_pods(struct question *q, const struct obj *rs, struct str held, struct finding *f)
{
    const struct obj *pod = last_failed(q, rs);
    if (!pod || held.n == 0)
        return;
    struct finding one = {0};
    why_pod(q, pod, &one);
    why_behind(q, f, arena_fmt(q->a, "pod " STR_FMT, STR_ARG(pod->name)), &one);
}

static void set_say(struct question *q, const struct obj *rs, struct finding *f)
{
    const struct val *failure = condition_get(obj_status(rs), "ReplicaFailure");
    struct str refusal = str_eqz(val_text_at(failure, N(reason)), "PodsFailed") ? S("")
                                                                                : val_text_at(failure, N(message));
    const struct controller *row = rs->kind == K(ReplicationController) ? &replication_controller
                                                                        : &replicaset_controller;
    struct str reason = why_plan(q, row, rs, refusal);
    set_chain(q, rs, f);
    if (refusal.n > 0 && reason.n > 0)
        why_pods_refused(q, rs, refusal, f);
    why_worst_pod(q, rs, f);
    if (f->state != WHY_BLOCKED && refusal.n == 0 && reason.n > 0) {
        f->state = WHY_FINE; /* that another pod is on its way does not matter beside it */
        failed_pods(q, rs, reason, f);
        why_found(q, f, "PlanStopped", STR_FMT, STR_ARG(reason));
    }
}

void why_replicaset(struct question *q, const struct obj *rs, struct finding *f)
{
    set_say(q, rs, f);
    int64_t have = status_num(rs, N(replicas));
    if (have < replicas_of(rs))
        why_coming(q, f, "PodsComing", "its pods are being made (%lld of %lld exist)", (long long)have,
                   (long long)replicas_of(rs));
    if (have > replicas_of(rs))
        why_coming(q, f, "PodsLeaving", "%lld pods too many are being stopped", (long long)(have - replicas_of(rs)));
    if (f->state == WHY_FINE)
        f->reason = arena_fmt(q->a, "%lld of %lld pods ready", (long long)status_num(rs, N(readyReplicas)),
                              (long long)replicas_of(rs));
}

/* ---- Deployments ---- */

static bool is_complete(const struct obj *d)
{
    int64_t n = replicas_of(d);
    return status_num(d, N(observedGeneration)) >= obj_generation(d) && status_num(d, N(updatedReplicas)) == n &&
           status_num(d, N(availableReplicas)) == n && status_num(d, N(replicas)) == n &&
           status_num(d, N(readyReplicas)) == n;
}

static int64_t set_revision(const struct obj *rs)
{
    int64_t n = 0;
    struct str text = obj_note(rs, "deployment.kubernetes.io/revision");
    return str_to_i64(text, 0, INT64_MAX, &n) ? n : 0;
}

/* The sets that want pods or have some, the newest revision first. */
static size_t sets_of(struct question *q, const struct obj *d, const struct obj **sets, size_t most)
{
    size_t n = 0;
    struct obj *rs;
    for (struct objset_iter it = view_with(q->v, K(ReplicaSet), &index_controller, d->uid);
         (rs = objset_next(&it)) && n < most;) {
        if (replicas_of(rs) == 0 && status_num(rs, N(replicas)) == 0)
            continue;
        size_t k = n++;
        for (; k > 0 && set_revision(sets[k - 1]) < set_revision(rs); k--)
            sets[k] = sets[k - 1];
        sets[k] = rs;
    }
    return n;
}

static void pause_say(struct question *q, const struct obj *d, struct finding *f)
{
    bool none = status_num(d, N(replicas)) == 0;
    why_found(q, f, "RolloutPaused", "its rollout is paused (spec.paused), so %s",
              none ? "no pods are made" : "what changed in its pod template waits");
    why_way(q, f, "Let it go on: kubectl rollout resume " STR_FMT, STR_ARG(why_target(q, d)));
}

#define SETS_MOST 16
void why_deployment(struct question *q, const struct obj *d, struct finding *f)
{
    if (is_complete(d)) {
        f->reason = arena_fmt(q->a, "%lld of %lld pods ready", (long long)status_num(d, N(readyReplicas)),
                              (long long)replicas_of(d));
        return;
    }
    why_chain(q, f, "Deployment " STR_FMT ": %lld of %lld pods updated, %lld ready, %lld available", STR_ARG(d->name),
              (long long)status_num(d, N(updatedReplicas)), (long long)replicas_of(d),
              (long long)status_num(d, N(readyReplicas)), (long long)status_num(d, N(availableReplicas)));
    struct str reason = why_plan(q, &deployment_controller, d, S(""));
    const struct obj *sets[SETS_MOST];
    size_t n = sets_of(q, d, sets, SETS_MOST);
    for (size_t i = 0; i < n && f->state != WHY_BLOCKED; i++) {
        struct finding one = {0};
        set_say(q, sets[i], &one);
        if (why_worse(&one, f))
            f->state = WHY_FINE;
        why_behind(q, f, S(""), &one);
    }
    if (f->state == WHY_BLOCKED) {
        if (n > 1 && status_num(sets[n - 1], N(readyReplicas)) > 0)
            f->way = arena_fmt(q->a, STR_FMT "%s: kubectl rollout undo " STR_FMT, STR_ARG(f->way),
                               f->way.n > 0 ? "; or go back" : "Go back", STR_ARG(why_target(q, d)));
        return;
    }
    if (is_paused(d) && (n == 0 || status_num(d, N(updatedReplicas)) < replicas_of(d))) {
        f->state = WHY_FINE;
        pause_say(q, d, f);
        return;
    }
    if (reason.n > 0 && !deadline_passed(d)) {
        f->state = WHY_FINE;
        why_found(q, f, "PlanStopped", STR_FMT, STR_ARG(reason));
        why_way(q, f, "Mend it: kubectl edit " STR_FMT, STR_ARG(why_target(q, d)));
        return;
    }
    int64_t min_ready = val_num_at(obj_spec(d), 0, N(minReadySeconds));
    if (min_ready > 0 && status_num(d, N(readyReplicas)) > status_num(d, N(availableReplicas)))
        why_coming(q, f, "MinReady", "they count as available after %lld s (minReadySeconds)", (long long)min_ready);
    why_coming(q, f, "RolloutGoesOn", "the rollout goes on");
    why_way(q, f, "Follow it: kubectl rollout status " STR_FMT, STR_ARG(why_target(q, d)));
}

/* Where old pods serve on, what counts is what the newest template has. */
struct str deployment_head(struct question *q, const struct obj *d)
{
    const struct obj *sets[SETS_MOST];
    size_t n = sets_of(q, d, sets, SETS_MOST);
    struct str head = counts_head(q, d);
    if (n > 1 && status_num(d, N(readyReplicas)) >= replicas_of(d) &&
        status_num(sets[0], N(readyReplicas)) < replicas_of(d))
        head = arena_fmt(q->a, "Deployment " STR_FMT " has %lld of %lld pods of its newest template ready",
                         STR_ARG(d->name), (long long)status_num(sets[0], N(readyReplicas)),
                         (long long)replicas_of(d));
    if (!is_paused(d) && deadline_passed(d))
        head = arena_fmt(q->a, STR_FMT " and made no progress for %lld s (progressDeadlineSeconds)", STR_ARG(head),
                         (long long)val_num_at(obj_spec(d), 600, N(progressDeadlineSeconds)));
    return head;
}
