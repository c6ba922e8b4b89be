/* deployment_status.c - what a Deployment tells of its rollout: the sums over its sets, and its conditions. */
#include "control/deployment_int.h"
#include "control/pods.h"

/* ---- conditions ---- */

const struct val *rollout_cond(const struct rollout *r, const char *type)
{
    return condition_get(r->status, type);
}

bool cond_reason_is(const struct val *c, const char *reason)
{
    return c && str_eqz(val_text_at(c, N(reason)), reason);
}

static void cond_drop(struct rollout *r, const char *type)
{
    struct arena *a = &r->out->arena;
    conditions_set(a, r->status, conditions_without(a, r->status, type));
}

/* Nothing where status and reason stay; lastTransitionTime moves with status only. */
void rollout_cond_set(struct rollout *r, const char *type, const char *status, const char *reason, struct str message,
                      bool refresh)
{
    struct arena *a = &r->out->arena;
    const struct val *old = rollout_cond(r, type);
    bool same = old && str_eqz(val_text_at(old, N(status)), status);
    if (same && cond_reason_is(old, reason) && !refresh)
        return;
    struct condition c = {.type = type, .status = status, .reason = reason, .message = message, .updated = true};
    conditions_set(a, r->status, conditions_with(a, r->status, &c, r->view->now));
}

/* ---- status ---- */

int64_t rollout_sum_spec(const struct rollout *r)
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

void rollout_count(struct rollout *r)
{
    int64_t available = sum_status(r, N(availableReplicas));
    count_set(r, N(replicas), sum_status(r, N(replicas)));
    count_set(r, N(updatedReplicas), r->new ? status_num(r->new, N(replicas)) : 0);
    count_set(r, N(readyReplicas), sum_status(r, N(readyReplicas)));
    count_set(r, N(availableReplicas), available);
    count_set(r, N(unavailableReplicas), MAX(0, rollout_sum_spec(r) - available));
    count_set(r, N(terminatingReplicas), sum_status(r, N(terminatingReplicas)));
    val_set_num(&r->out->arena, r->status, N(observedGeneration), obj_generation(r->d));
    if (available >= replicas_of(r->d) - rollout_max_unavailable(r->d))
        rollout_cond_set(r, "Available", "True", "MinimumReplicasAvailable",
                         S("Deployment has minimum availability."), false);
    else
        rollout_cond_set(r, "Available", "False", "MinimumReplicasUnavailable",
                         S("Deployment does not have minimum availability."), false);
}

bool rollout_has_deadline(const struct obj *d)
{
    int64_t s = val_num_at(obj_spec(d), NEVER, N(progressDeadlineSeconds));
    return s != NEVER;
}

static int64_t now_num(const struct rollout *r, const struct name *name)
{
    return val_num(val_get(r->status, name), 0);
}

bool rollout_is_complete(const struct rollout *r)
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
    return MAX(val_time(val_get(rollout_cond(r, "Progressing"), N(lastUpdateTime))), r->view->woke) +
           ns_of_seconds(val_num_at(obj_spec(r->d), NEVER, N(progressDeadlineSeconds)));
}

static bool timed_out(const struct rollout *r)
{
    const struct val *c = rollout_cond(r, "Progressing");
    if (!c || cond_reason_is(c, "NewReplicaSetAvailable"))
        return false;
    return cond_reason_is(c, "ProgressDeadlineExceeded") || deadline_of(r) < r->view->now;
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
    rollout_cond_set(r, "ReplicaFailure", arena_strz(&r->out->arena, val_text_at(worst, N(status))),
                     arena_strz(&r->out->arena, reason), val_text_at(worst, N(message)), false);
    plan_why(r->out, STR_FMT, STR_ARG(val_text_at(worst, N(message))));
}

void rollout_write_status(struct rollout *r)
{
    plan_update(r->out, r->d, S("status"), r->tree);
}

void rollout_tell(struct rollout *r)
{
    /* what Progressing said before this plan touched it */
    const struct val *before = condition_get(obj_status(r->d), "Progressing");
    rollout_count(r);
    if (!rollout_has_deadline(r->d))
        cond_drop(r, "Progressing");
    bool settled = now_num(r, N(replicas)) == now_num(r, N(updatedReplicas)) &&
                   cond_reason_is(before, "NewReplicaSetAvailable") &&
                   cond_reason_is(rollout_cond(r, "Progressing"), "NewReplicaSetAvailable");
    if (rollout_has_deadline(r->d) && !settled) {
        if (rollout_is_complete(r))
            rollout_cond_set(r, "Progressing", "True", "NewReplicaSetAvailable",
                             progress_text(r, "has successfully progressed."), false);
        else if (rollout_has_progressed(r))
            rollout_cond_set(r, "Progressing", "True", "ReplicaSetUpdated", progress_text(r, "is progressing."),
                             true);
        else if (timed_out(r))
            rollout_cond_set(r, "Progressing", "False", "ProgressDeadlineExceeded",
                             progress_text(r, "has timed out progressing."), false);
    }
    failures_copy(r);
    const struct val *c = rollout_cond(r, "Progressing");
    if (rollout_has_deadline(r->d) && c && !rollout_is_complete(r)) {
        if (cond_reason_is(c, "ProgressDeadlineExceeded"))
            plan_why(r->out, STR_FMT, STR_ARG(val_text_at(c, N(message))));
        else if (!cond_reason_is(c, "NewReplicaSetAvailable"))
            plan_again(r->out, deadline_of(r) + NS_PER_S); /* times are kept in whole seconds */
    }
    rollout_write_status(r);
}
