/* statefulset_update.c - replacing the pods of a StatefulSet whose template has changed, and what its status says. */
#include "control/statefulset_int.h"

bool stateful_rolls(const struct obj *set)
{
    return str_eqz(val_text_at(obj_spec(set), N(updateStrategy), N(type)), "RollingUpdate");
}

int64_t stateful_partition(const struct obj *set)
{
    return val_num_at(obj_spec(set), 0, N(updateStrategy), N(rollingUpdate), N(partition));
}

int64_t stateful_max_unavailable(const struct obj *set)
{
    const struct val *most = val_at(obj_spec(set), N(updateStrategy), N(rollingUpdate), N(maxUnavailable));
    return MAX(1, int_or_percent(most, val_num_at(obj_spec(set), 1, N(replicas)), false));
}

/* What bounds a step of the update. */
struct update_room {
    int64_t serving; /* pods that may still be taken out of service */
    int64_t
        under_way; /* replacements that have not proved themselves: going, or of the newest revision and not ready */
    int64_t most;  /* of them at a time */
};

static struct update_room room_count(struct stateful *s)
{
    int64_t serve = 0, under_way = s->made, most = stateful_max_unavailable(s->set);
    array_each (p, &s->placed) {
        bool serves = stateful_pod_serves(s, p->pod);
        serve += serves;
        under_way += obj_deleting(p->pod) || (!serves && !stateful_pod_is_old(s, p));
    }
    if (serve == 0 && !s->ordered)
        most = INT64_MAX; /* nothing is there to be spared, and they may be waiting for one another */
    return (struct update_room){most == INT64_MAX ? 0 : most - (s->wanted - serve), under_way, most};
}

static void broken_tell(struct stateful *s, const struct obj *pod)
{
    plan_event(s->out, (struct obj *)s->set, "Normal", "ReplacingBrokenPod",
               "Pod " STR_FMT " of revision " STR_FMT
               " does not become ready: it is replaced by one of revision " STR_FMT,
               STR_ARG(pod->name), STR_ARG(stateful_revision(pod)), STR_ARG(s->update.name));
}

/* From the highest ordinal down to the partition. A pod that serves goes while maxUnavailable has room for it. One
 * that does not serve costs nothing by going; it goes when no replacement is under way that may turn out no better:
 * so at most maxUnavailable pods are ever of a revision that has not shown that it works. */
void stateful_update(struct stateful *s, bool all)
{
    if (!stateful_rolls(s->set))
        return;
    struct update_room room = room_count(s);
    for (size_t i = s->placed.n; i-- > 0;) {
        const struct stateful_pod *p = &s->placed.p[i];
        if (p->ordinal < s->first + stateful_partition(s->set))
            return;
        if (obj_deleting(p->pod) || pod_is_over(p->pod) || !stateful_pod_is_old(s, p))
            continue;
        bool serves = stateful_pod_serves(s, p->pod), broken = stateful_pod_is_broken(s, p->pod);
        if (serves ? !all || room.serving <= 0 : room.under_way >= room.most || !(broken || (all && !s->ordered)))
            continue;
        if (!serves)
            room.under_way++;
        else
            room.serving--;
        if (broken) {
            broken_tell(s, p->pod);
            s->waits_for = NULL;
        }
        stateful_pod_delete(s, p->pod);
    }
}

/* ---- status ---- */

struct tally {
    int64_t replicas, ready, available, current, updated;
};

static void pod_tally(struct stateful *s, const struct obj *pod, struct tally *t)
{
    struct str revision = stateful_revision(pod);
    int64_t at = 0;
    t->replicas++;
    if (stateful_pod_runs(pod)) {
        t->ready++;
        t->available += pod_is_available(pod, s->min_ready, s->view->now, &at);
    }
    if (at)
        plan_again(s->out, at);
    if (obj_deleting(pod))
        return;
    t->current += str_eq(revision, s->current_name);
    t->updated += str_eq(revision, s->update.name);
}

static void count_put(struct arena *a, struct val *status, const struct name *name, int64_t n)
{
    if (n > 0 || name == N(replicas) || name == N(availableReplicas))
        val_set_num(a, status, name, n);
    else
        val_del(status, name);
}

void stateful_status(struct stateful *s)
{
    struct arena *a = &s->out->arena;
    struct tally t = {0};
    array_each (p, &s->placed)
        pod_tally(s, p->pod, &t);
    array_each (p, &s->condemned)
        pod_tally(s, p->pod, &t);
    struct str current = s->current_name;
    if (stateful_rolls(s->set) && t.updated == s->wanted && t.ready == s->wanted && t.replicas == s->wanted) {
        current = s->update.name; /* the update is through */
        t.current = t.updated;
    }
    struct val tree = plan_edit_status(s->out, s->set), *status = val_need_map(a, &tree, N(status));
    val_set_num(a, status, N(observedGeneration), obj_generation(s->set));
    count_put(a, status, N(replicas), t.replicas);
    count_put(a, status, N(readyReplicas), t.ready);
    count_put(a, status, N(availableReplicas), t.available);
    count_put(a, status, N(currentReplicas), t.current);
    count_put(a, status, N(updatedReplicas), t.updated);
    if (s->update.name.n > 0) { /* else it went before it had any */
        val_set_text(a, status, N(currentRevision), current.n > 0 ? current : s->update.name);
        val_set_text(a, status, N(updateRevision), s->update.name);
    }
    val_set_num(a, status, N(collisionCount), s->collisions);
    plan_update(s->out, s->set, S("status"), tree);
}
