/* rollout_state.c - what a rollout still waits for, in kubectl's words and order.
 *
 * The words differ by kind (and not always in a way that makes sense: a StatefulSet without a partition has a
 * "partitioned roll out", because the partition's default is 0). They are kept, because scripts look for them.
 *
 * A progress deadline that has passed is an error, but only once the controller has seen the newest generation:
 * before, it speaks of the last change.
 */
#include "cli/fields.h"
#include "cli/rollout.h"

static bool is_observed(const struct val *o)
{
    return field_num(o, "metadata.generation", 0) <= field_num(o, "status.observedGeneration", 0);
}

static bool deadline_passed(const struct val *d)
{
    val_each_item (it, field_at(d, "status.conditions"))
        if (str_eqz(field_text(it, "type"), "Progressing") &&
            str_eqz(field_text(it, "reason"), "ProgressDeadlineExceeded"))
            return true;
    return false;
}

static enum rollout_state deployment_state(struct arena *a, const struct val *d, struct str *text, struct err *err)
{
    long long wanted = field_num(d, "spec.replicas", 1), all = field_num(d, "status.replicas", 0),
              updated = field_num(d, "status.updatedReplicas", 0),
              available = field_num(d, "status.availableReplicas", 0);
    struct str name = field_text(d, "metadata.name");
    struct str head = arena_fmt(a, "Waiting for deployment \"" STR_FMT "\" rollout to finish: ", STR_ARG(name));
    if (!is_observed(d)) {
        *text = S("Waiting for deployment spec update to be observed...");
        return ROLLOUT_ON;
    }
    if (updated < wanted)
        *text = arena_fmt(a, STR_FMT "%lld out of %lld new replicas have been updated...", STR_ARG(head), updated,
                          wanted);
    else if (all > updated)
        *text = arena_fmt(a, STR_FMT "%lld old replicas are pending termination...", STR_ARG(head), all - updated);
    else if (available < updated)
        *text = arena_fmt(a, STR_FMT "%lld of %lld updated replicas are available...", STR_ARG(head), available,
                          updated);
    else {
        *text = arena_fmt(a, "deployment \"" STR_FMT "\" successfully rolled out", STR_ARG(name));
        return ROLLOUT_DONE;
    }
    if (!deadline_passed(d))
        return ROLLOUT_ON;
    err_set(err, E_TIMEOUT,
            "deployment \"" STR_FMT "\" exceeded its progress deadline (" STR_FMT "); wherry why deploy/" STR_FMT
            " tells what is in the way",
            STR_ARG(name), STR_ARG(*text), STR_ARG(name));
    return ROLLOUT_FAILED;
}

/* With OnDelete nothing rolls by itself, so there is no end to wait for. */
static bool is_rolling(const struct val *o, struct err *err)
{
    struct str type = field_text(o, "spec.updateStrategy.type");
    return str_eqz(type, "RollingUpdate") ||
           err_set(err, E_INVALID,
                   "rollout status is only available for RollingUpdate strategy type (spec.updateStrategy.type is "
                   "\"" STR_FMT "\": a pod changes when it is deleted)",
                   STR_ARG(type));
}

static enum rollout_state daemons_state(struct arena *a, const struct val *d, struct str *text, struct err *err)
{
    long long wanted = field_num(d, "status.desiredNumberScheduled", 0),
              updated = field_num(d, "status.updatedNumberScheduled", 0),
              available = field_num(d, "status.numberAvailable", 0);
    struct str name = field_text(d, "metadata.name");
    struct str head = arena_fmt(a, "Waiting for daemon set \"" STR_FMT "\" rollout to finish: ", STR_ARG(name));
    if (!is_rolling(d, err))
        return ROLLOUT_FAILED;
    if (!is_observed(d))
        *text = S("Waiting for daemon set spec update to be observed...");
    else if (updated < wanted)
        *text = arena_fmt(a, STR_FMT "%lld out of %lld new pods have been updated...", STR_ARG(head), updated,
                          wanted);
    else if (available < wanted)
        *text = arena_fmt(a, STR_FMT "%lld of %lld updated pods are available...", STR_ARG(head), available, wanted);
    else {
        *text = arena_fmt(a, "daemon set \"" STR_FMT "\" successfully rolled out", STR_ARG(name));
        return ROLLOUT_DONE;
    }
    return ROLLOUT_ON;
}

static enum rollout_state stateful_state(struct arena *a, const struct val *s, struct str *text, struct err *err)
{
    long long wanted = field_num(s, "spec.replicas", 1), ready = field_num(s, "status.readyReplicas", 0),
              updated = field_num(s, "status.updatedReplicas", 0),
              rolled = wanted - field_num(s, "spec.updateStrategy.rollingUpdate.partition", 0);
    struct str newest = field_text(s, "status.updateRevision"), current = field_text(s, "status.currentRevision");
    bool parted = field_at(s, "spec.updateStrategy.rollingUpdate");
    if (!is_rolling(s, err))
        return ROLLOUT_FAILED;
    if (!is_observed(s) || !field_num(s, "status.observedGeneration", 0))
        *text = S("Waiting for statefulset spec update to be observed...");
    else if (ready < wanted)
        *text = arena_fmt(a, "Waiting for %lld pods to be ready...", wanted - ready);
    else if (parted && updated < rolled)
        *text = arena_fmt(
            a, "Waiting for partitioned roll out to finish: %lld out of %lld new pods have been updated...", updated,
            rolled);
    else if (!parted && !str_eq(newest, current))
        *text = arena_fmt(a,
                          "waiting for statefulset rolling update to complete %lld pods at revision " STR_FMT "...",
                          updated, STR_ARG(newest));
    else {
        *text = parted ? arena_fmt(a, "partitioned roll out complete: %lld new pods have been updated...", updated)
                       : arena_fmt(a, "statefulset rolling update complete %lld pods at revision " STR_FMT "...",
                                   (long long)field_num(s, "status.currentReplicas", 0), STR_ARG(current));
        return ROLLOUT_DONE;
    }
    return ROLLOUT_ON;
}

enum rollout_state rollout_state_of(struct arena *a, struct str kind, const struct val *object, struct str *text,
                                    struct err *err)
{
    *text = S("");
    if (str_eqz(kind, "Deployment"))
        return deployment_state(a, object, text, err);
    if (str_eqz(kind, "DaemonSet"))
        return daemons_state(a, object, text, err);
    if (str_eqz(kind, "StatefulSet"))
        return stateful_state(a, object, text, err);
    err_set(err, E_INVALID, "a " STR_FMT " has no rollout", STR_ARG(kind));
    return ROLLOUT_FAILED;
}
