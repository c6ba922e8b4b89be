/* StatefulSets: what their plan waits for and behind that the pod that is worst off; updates that the partition, the
 * strategy or a broken revision holds up; claims that were there before and are not as the templates say. */
#include "api/quantity.h"
#include "control/statefulset_int.h"
#include "control/why_int.h"

extern const struct controller statefulset_controller;

static int64_t set_wanted(const struct obj *set)
{
    return val_num_at(obj_spec(set), 1, N(replicas));
}

static int64_t set_count(const struct obj *set, const struct name *name)
{
    return val_num_at(obj_status(set), 0, name);
}

static struct str set_update(const struct obj *set)
{
    return val_text_at(obj_status(set), N(updateRevision));
}

static bool is_updating(const struct obj *set)
{
    return set_update(set).n > 0 && !str_eq(set_update(set), val_text_at(obj_status(set), N(currentRevision)));
}

struct str stateful_head(struct question *q, const struct obj *set)
{
    return arena_fmt(q->a, "StatefulSet " STR_FMT " has %lld of %lld pods ready", STR_ARG(set->name),
                     (long long)set_count(set, N(readyReplicas)), (long long)set_wanted(set));
}

/* As the plan would see it, as far as telling broken pods needs it. */
static struct stateful seen_of(struct question *q, const struct obj *set)
{
    return (struct stateful){.view = q->v,
                             .set = set,
                             .first = val_num_at(obj_spec(set), 0, N(ordinals), N(start)),
                             .wanted = set_wanted(set),
                             .update = {.name = set_update(set)},
                             .current_name = val_text_at(obj_status(set), N(currentRevision))};
}

/* ---- what the API refuses ---- */

/* The newest attempt to make a pod, where it failed. */
static bool creation_say(struct question *q, const struct obj *set, struct finding *f)
{
    const struct obj *failed = why_event(q, set, "FailedCreate", S("create "), S(""));
    const struct obj *made = why_event(q, set, "SuccessfulCreate", S("create "), S(""));
    struct str message = why_event_text(failed), mark = S("failed error: ");
    ptrdiff_t at = str_find(message, mark);
    if (set_count(set, N(replicas)) >= set_wanted(set) || at < 0 ||
        (made && why_event_time(made) > why_event_time(failed)) || str_has(message, S("already exists")) ||
        str_has(message, S("is being deleted")))
        return false;
    why_pods_refused(q, set, str_sub(message, (size_t)at + mark.n, message.n), f);
    return true;
}

static const struct saying stops[] = {
    {"has the name that it needs", "PodNameTaken", "{message}",
     "Delete that pod, if nobody needs it: kubectl delete pod/{pod}{ns}"},
    {"is to have the template of an earlier revision", "RevisionUnreadable", "{message}",
     "Lower the partition, so that the newest template counts: {edit}"},
    {"spec.selector", "PlanStopped", "{message}", "Mend it: {edit}"},
    {"has failed", "PodFails", "{message}", "Mend what it names in the pod template: {edit}"},
    {"", "", "", ""},
};

/* What the plan itself cannot get past, other than a pod that is on its way. */
static void plan_say(struct question *q, struct str reason, struct finding *f)
{
    struct str pod = S(""), rest = reason, word;
    while (str_cut(&rest, ' ', &word))
        if (str_eqz(word, "pod") && pod.n == 0)
            (void)str_cut(&rest, ' ', &pod);
    const struct word words[] = {{"message", reason}, {"pod", pod}};
    if (str_has(reason, S("which is being deleted, is gone"))) {
        why_coming(q, f, str_has(reason, S("claim ")) ? "ClaimLeaving" : "PodLeaving", STR_FMT, STR_ARG(reason));
        return;
    }
    for (const struct saying *row = stops; row->says[0]; row++)
        if (str_has(reason, str_of(row->says))) {
            why_saying(q, f, row, reason, words, countof(words));
            return;
        }
}

/* ---- updates ---- */

/* A pod of a revision that never got ready, while a newer one is wanted. */
static void broken_say(struct question *q, const struct obj *set, struct finding *f)
{
    struct stateful s = seen_of(q, set);
    struct obj *pod;
    for (struct objset_iter it = view_with(q->v, K(Pod), &index_controller, set->uid); (pod = objset_next(&it));) {
        struct str revision = stateful_revision(pod);
        int64_t ordinal = stateful_ordinal(set, pod->name);
        if (!pod_is_active(pod) || str_eq(revision, s.update.name) || !stateful_pod_is_broken(&s, pod))
            continue;
        struct str begin = arena_fmt(q->a, "pod " STR_FMT " of revision " STR_FMT " does not become ready, and ",
                                     STR_ARG(pod->name), STR_ARG(revision));
        if (!stateful_rolls(set)) {
            why_found(q, f, "BrokenRevision", STR_FMT "updateStrategy OnDelete leaves it as it is", STR_ARG(begin));
            why_way(q, f, "Let it be made of the newest template: kubectl delete pod/" STR_FMT STR_FMT,
                    STR_ARG(pod->name), STR_ARG(why_ns_flag(q, pod->ns)));
        } else if (ordinal < s.first + stateful_partition(set)) {
            why_found(q, f, "BrokenRevision", STR_FMT "the partition (%lld) keeps the newest template from it",
                      STR_ARG(begin), (long long)stateful_partition(set));
            why_way(q, f, "Lower spec.updateStrategy.rollingUpdate.partition: " STR_FMT, STR_ARG(why_edit(q)));
        } else {
            why_coming(q, f, "BrokenRevisionMended", STR_FMT "is replaced by one of revision " STR_FMT,
                       STR_ARG(begin), STR_ARG(s.update.name));
        }
        return;
    }
}

/* A pod of the newest revision that stands in the way of the others. */
static void update_say(struct question *q, const struct obj *set, struct finding *f)
{
    if (f->state != WHY_BLOCKED || !is_updating(set))
        return;
    struct obj *pod;
    for (struct objset_iter it = view_with(q->v, K(Pod), &index_controller, set->uid); (pod = objset_next(&it));)
        if (str_eq(stateful_revision(pod), set_update(set)) && !stateful_pod_runs(pod)) {
            f->way = arena_fmt(q->a, STR_FMT "%s: kubectl rollout undo " STR_FMT, STR_ARG(f->way),
                               f->way.n > 0 ? "; or go back" : "Go back", STR_ARG(why_target(q, set)));
            return;
        }
}

/* Pods that keep the template before, as they are told to. */
static void held_say(struct question *q, const struct obj *set, struct finding *f)
{
    int64_t partition = stateful_partition(set), first = val_num_at(obj_spec(set), 0, N(ordinals), N(start));
    int64_t old = set_wanted(set) - set_count(set, N(updatedReplicas));
    if (!is_updating(set) || old <= 0)
        return;
    if (!stateful_rolls(set)) {
        why_found(q, f, "OnDelete",
                  "%lld of its pods are of the template before, and updateStrategy OnDelete replaces "
                  "only what somebody deletes",
                  (long long)old);
        why_way(q, f, "Delete them one by one, as kubectl delete pod/" STR_FMT STR_FMT,
                STR_ARG(stateful_pod_name(q->a, set, first)), STR_ARG(why_ns_flag(q, set->ns)));
    } else if (partition > 0 && old <= MIN(partition, set_wanted(set))) {
        why_found(q, f, "PartitionHolds",
                  "pods below " STR_FMT " keep the template before, as "
                  "spec.updateStrategy.rollingUpdate.partition is %lld",
                  STR_ARG(stateful_pod_name(q->a, set, first + partition)), (long long)partition);
        why_way(q, f,
                "Let the update go on: kubectl patch " STR_FMT
                " --type=merge -p '{\"spec\":{\"updateStrategy\":{\"rollingUpdate\":{\"partition\":0}}}}'",
                STR_ARG(why_target(q, set)));
    }
}

/* ---- what it rests on ---- */

static void service_say(struct question *q, const struct obj *set, struct finding *f)
{
    struct str name = val_text_at(obj_spec(set), N(serviceName));
    if (!q->v->sets[K(Service)->id] || name.n == 0 || view_get(q->v, K(Service), set->ns, name))
        return;
    why_found(q, f, "ServiceMissing",
              "its pods have no names in DNS, as Service " STR_FMT " (spec.serviceName) is not there", STR_ARG(name));
    why_way(q, f,
            "Create it: kubectl create service clusterip " STR_FMT " --clusterip=None" STR_FMT
            ", with the selector of the pods",
            STR_ARG(name), STR_ARG(why_ns_flag(q, set->ns)));
}

static void claim_compare(struct question *q, const struct val *template, const struct obj *claim, struct finding *f)
{
    const struct val *wish = val_get(template, N(spec)), *has = obj_spec(claim),
                     *class = val_get(wish, N(storageClassName));
    struct str most = val_text(val_get_str(val_at(wish, N(resources), N(requests)), S("storage")));
    struct str size = val_text(val_get_str(val_at(has, N(resources), N(requests)), S("storage")));
    if (quantity_cmp(size, most) < 0) {
        why_found(q, f, "ClaimDiffers",
                  "claim " STR_FMT " was there before and asks for " STR_FMT
                  ", and spec.volumeClaimTemplates for " STR_FMT,
                  STR_ARG(claim->name), STR_ARG(size), STR_ARG(most));
        why_way(q, f,
                "Let it grow, where its class can: kubectl patch pvc/" STR_FMT STR_FMT
                " --type=merge -p '{\"spec\":{\"resources\":{\"requests\":{\"storage\":\"" STR_FMT "\"}}}}'",
                STR_ARG(claim->name), STR_ARG(why_ns_flag(q, claim->ns)), STR_ARG(most));
    } else if (class && !val_equal(class, val_get(has, N(storageClassName)))) {
        why_found(q, f, "ClaimDiffers",
                  "claim " STR_FMT " was there before and is of the storage class \"" STR_FMT
                  "\", and spec.volumeClaimTemplates names \"" STR_FMT "\"",
                  STR_ARG(claim->name), STR_ARG(val_text_at(has, N(storageClassName))), STR_ARG(val_text(class)));
        why_way(q, f,
                "Keep it so, or take its data away and delete it and its pod: kubectl delete pvc/" STR_FMT STR_FMT,
                STR_ARG(claim->name), STR_ARG(why_ns_flag(q, claim->ns)));
    }
}

/* One that belongs to somebody else is neither kept nor deleted as the retention policy says. */
static void claim_owner_say(struct question *q, const struct obj *set, const struct obj *claim, struct finding *f)
{
    val_each_item (ref, val_get(obj_meta(claim), N(ownerReferences))) {
        struct str kind = val_text_at(ref, N(kind)), name = val_text_at(ref, N(name));
        bool ours = str_eq(val_text_at(ref, N(uid)), set->uid) || str_eqz(kind, "Pod");
        bool before = str_eqz(kind, "StatefulSet") && str_eq(name, set->name);
        if (ours || (!before && !val_true(val_get(ref, N(controller)))))
            continue;
        why_found(q, f, "ClaimOwned", "claim " STR_FMT " belongs to " STR_FMT " " STR_FMT "%s, and goes with that",
                  STR_ARG(claim->name), STR_ARG(kind), STR_ARG(name),
                  before ? ", which was there before this one" : "");
        why_way(q, f, "Take it out of the claim's metadata.ownerReferences: kubectl edit pvc/" STR_FMT STR_FMT,
                STR_ARG(claim->name), STR_ARG(why_ns_flag(q, claim->ns)));
        return;
    }
}

static void claims_say(struct question *q, const struct obj *set, struct finding *f)
{
    int64_t first = val_num_at(obj_spec(set), 0, N(ordinals), N(start));
    val_each_item (template, val_get(obj_spec(set), N(volumeClaimTemplates)))
        for (int64_t i = first; i < first + MIN(set_wanted(set), STATEFUL_BURST) && f->state != WHY_BLOCKED; i++) {
            const struct obj *claim = view_get(q->v, K(PersistentVolumeClaim), set->ns,
                                               stateful_claim_name(q->a, set, template, i));
            if (claim)
                claim_owner_say(q, set, claim, f);
            if (claim && f->state != WHY_BLOCKED)
                claim_compare(q, template, claim, f);
        }
}

/* ---- all ---- */

static bool is_complete(const struct obj *set)
{
    int64_t n = set_wanted(set);
    return set_count(set, N(observedGeneration)) >= obj_generation(set) && set_count(set, N(replicas)) == n &&
           set_count(set, N(availableReplicas)) == n;
}

static void pods_say(struct question *q, const struct obj *set, struct str reason, struct finding *f)
{
    broken_say(q, set, f);
    if (f->state == WHY_FINE && !creation_say(q, set, f))
        plan_say(q, reason, f);
    if (f->state != WHY_BLOCKED) {
        struct finding worst = {0};
        why_worst_pod(q, set, &worst);
        if (worst.state == WHY_BLOCKED && !str_eqz(str_of(f->cause), "BrokenRevisionMended"))
            f->state = WHY_FINE; /* that others are on their way does not matter beside it */
        why_behind(q, f, S(""), &worst);
    }
    update_say(q, set, f);
}

void why_statefulset(struct question *q, const struct obj *set, struct finding *f)
{
    int64_t n = set_wanted(set);
    why_chain(q, f, "StatefulSet " STR_FMT ": %lld of %lld pods exist, %lld ready, %lld of the newest template",
              STR_ARG(set->name), (long long)set_count(set, N(replicas)), (long long)n,
              (long long)set_count(set, N(readyReplicas)), (long long)set_count(set, N(updatedReplicas)));
    struct str reason = why_plan(q, &statefulset_controller, set, S(""));
    pods_say(q, set, reason, f);
    if (f->state == WHY_BLOCKED)
        return;
    if (is_complete(set) || f->state == WHY_FINE) {
        held_say(q, set, f);
        service_say(q, set, f);
        claims_say(q, set, f);
    }
    if (!is_complete(set) || set_count(set, N(updatedReplicas)) < n) {
        int64_t min_ready = val_num_at(obj_spec(set), 0, N(minReadySeconds));
        if (min_ready > 0 && set_count(set, N(readyReplicas)) > set_count(set, N(availableReplicas)))
            why_coming(q, f, "MinReady", "its pods count as available after %lld s (minReadySeconds)",
                       (long long)min_ready);
        if (reason.n > 0)
            why_coming(q, f, "WaitsInOrder", STR_FMT, STR_ARG(reason));
        why_coming(q, f, "RolloutGoesOn", "the rollout goes on");
        why_way(q, f, "Follow it: kubectl rollout status " STR_FMT, STR_ARG(why_target(q, set)));
    }
    if (f->state == WHY_FINE)
        f->reason = arena_fmt(q->a, "%lld of %lld pods ready", (long long)set_count(set, N(readyReplicas)),
                              (long long)n);
}

bool why_stateful_refused(struct question *q, struct str message, struct finding *f)
{
    if (!str_has(message, S("updates to statefulset spec for fields other than")))
        return false;
    why_found(q, f, "FieldFixed",
              "of a StatefulSet only replicas, ordinals, template, updateStrategy, revisionHistoryLimit, "
              "persistentVolumeClaimRetentionPolicy and minReadySeconds can be changed");
    why_way(q, f,
            "Make it anew around its pods and claims, which stay: kubectl delete sts/NAME --cascade=orphan, then "
            "kubectl apply -f FILE");
    return true;
}
