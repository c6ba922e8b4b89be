/* The status of a Job, and how the end of a pod comes into it without being lost or counted twice:
 *
 *   1. the pod has ended, and has the finalizer: its uid is put into status.uncountedTerminatedPods (of a pod with an
 *      index that succeeded, the index into completedIndexes);
 *   2. when that is stored, the finalizer is taken away;
 *   3. when that is seen (another plan), the uid leaves the list, and the count grows.
 *
 * Whoever dies in between goes on where it stands. A Job is told to have come to its end by FailureTarget or
 * SuccessCriteriaMet first, and by Failed or Complete when all its pods have ended and are counted. */
#include "control/job_int.h"

#define UNCOUNTED_MOST 500 /* uids in status at once, as upstream */

struct job_ledger {
    struct job_state *s;
    struct val tree; /* the Job to be */
    struct val *status;
    struct val succeeded, failed;   /* uids that wait to be counted */
    ARRAY(const struct obj *) free; /* who may lose the finalizer once status is stored */
    int64_t listed;                 /* put into status by this plan */
    bool full;
};

static void num_set(struct arena *a, struct val *status, const struct name *name, int64_t n)
{
    if (n > 0)
        val_set_num(a, status, name, n);
    else
        val_del(status, name);
}

/* Step 3: whose finalizer is gone is counted. The number that stays in the list. */
static struct val uids_count(struct arena *a, const struct map *tracked, const struct val *uids, int64_t *counted)
{
    struct val left = val_list();
    val_each_item (it, uids)
        if (map_get(tracked, val_text(it)))
            val_add(a, &left, val_copy(a, it));
        else
            ++*counted;
    return left;
}

static void ledger_count(struct job_ledger *l)
{
    struct job_state *s = l->s;
    struct arena *a = &s->out->arena;
    AUTO(map_fini) struct map tracked = MAP;
    const struct val *uncounted = val_get(s->status, N(uncountedTerminatedPods));
    int64_t succeeded = val_num_at(s->status, 0, N(succeeded)), failed = val_num_at(s->status, 0, N(failed));
    for (size_t i = 0; i < s->n; i++)
        if (s->pods[i].tracked)
            (void)map_put(&tracked, s->pods[i].pod->uid, s->pods[i].pod); /* a uid is there once */
    l->succeeded = uids_count(a, &tracked, val_get(uncounted, N(succeeded)), &succeeded);
    l->failed = uids_count(a, &tracked, val_get(uncounted, N(failed)), &failed);
    num_set(a, l->status, N(succeeded), s->indexed ? indexes_total(s->done) : succeeded);
    num_set(a, l->status, N(failed), failed);
}

static bool may_be_freed(const struct job_state *s, const struct job_pod *p)
{
    if (p->succeeded || obj_deleting(s->job))
        return true;
    if (s->end != JOB_GOES_ON)
        return !(s->troubled && p->active); /* who runs on is told to stop first */
    return p->failed && !p->held;
}

/* Step 1, of one pod. */
static void ledger_list(struct job_ledger *l, const struct job_pod *p)
{
    struct job_state *s = l->s;
    struct arena *a = &s->out->arena;
    if (p->listed || !p->valid)
        return;
    if (p->succeeded && s->indexed) {
        l->listed += !indexes_have(s->were_done, p->index);
    } else if (p->succeeded) {
        val_add(a, &l->succeeded, val_str(a, p->pod->uid));
    } else if ((p->failed || s->end == JOB_FAILS) && p->policy.action != POLICY_IGNORE) {
        val_add(a, &l->failed, val_str(a, p->pod->uid));
    }
}

static void ledger_gather(struct job_ledger *l)
{
    struct job_state *s = l->s;
    for (size_t i = 0; i < s->n && !l->full; i++) {
        const struct job_pod *p = &s->pods[i];
        if (!p->tracked || !may_be_freed(s, p))
            continue;
        array_push(&l->free, p->pod);
        ledger_list(l, p);
        l->full = l->listed + (int64_t)(val_len(&l->succeeded) + val_len(&l->failed)) >= UNCOUNTED_MOST;
    }
}

/* ---- conditions ---- */

static void condition_put(struct job_ledger *l, const char *type, const char *status, struct str reason,
                          struct str message)
{
    struct arena *a = &l->s->out->arena;
    struct val c = val_map(), at = val_str(a, time_text(a, l->s->v->now));
    val_set_text(a, &c, N(type), str_of(type));
    val_set_text(a, &c, N(status), str_of(status));
    val_set(a, &c, N(lastProbeTime), at);
    val_set(a, &c, N(lastTransitionTime), at);
    if (reason.n > 0)
        val_set(a, &c, N(reason), val_str(a, reason));
    if (message.n > 0)
        val_set(a, &c, N(message), val_str(a, message));
    struct val *was = condition_get_mut(l->status, type), *list = val_get_mut(l->status, N(conditions));
    if (was) {
        *was = c;
        return;
    }
    if (!list)
        list = val_set(a, l->status, N(conditions), val_list());
    val_add(a, list, c);
}

/* The event of what changed, "" where nothing did. */
static const char *suspension_tell(struct job_ledger *l)
{
    struct job_state *s = l->s;
    bool was = condition_is(s->status, "Suspended", "True");
    if (s->suspended)
        val_del(l->status, N(startTime)); /* the time that it may take begins anew when it goes on */
    if (s->suspended == was)
        return "";
    if (s->suspended) {
        condition_put(l, "Suspended", "True", S("JobSuspended"), S("Job suspended"));
        return "Suspended";
    }
    condition_put(l, "Suspended", "False", S("JobResumed"), S("Job resumed"));
    val_set(&s->out->arena, l->status, N(startTime), val_str(&s->out->arena, time_text(&s->out->arena, s->v->now)));
    return "Resumed";
}

/* Nothing is left that could change the counts. */
static bool all_is_counted(const struct job_ledger *l)
{
    return l->free.n == 0 && val_len(&l->succeeded) == 0 && val_len(&l->failed) == 0 && l->s->terminating == 0 &&
           l->s->active == 0;
}

/* True where the Job is over with this. */
static bool end_tell(struct job_ledger *l)
{
    struct job_state *s = l->s;
    struct arena *a = &s->out->arena;
    bool fails = s->end == JOB_FAILS;
    if (s->end == JOB_GOES_ON)
        return false;
    if (!s->end_said) {
        condition_put(l, fails ? "FailureTarget" : "SuccessCriteriaMet", "True", s->reason, s->message);
        return false;
    }
    if (!all_is_counted(l))
        return false;
    condition_put(l, fails ? "Failed" : "Complete", "True", s->reason, s->message);
    struct val at = val_str(a, time_text(a, s->v->now));
    if (!fails)
        val_set(a, l->status, N(completionTime), at);
    if (!val_get(l->status, N(startTime)))
        val_set(a, l->status, N(startTime), at);
    return true;
}

static struct plan_event event_of_end(struct job_ledger *l)
{
    struct job_state *s = l->s;
    if (s->end == JOB_FAILS)
        return plan_event_of(s->out, s->job, "Warning", arena_strz(&s->out->arena, s->reason), STR_FMT,
                             STR_ARG(s->message));
    if (s->completions >= 0 && val_num_at(l->status, 0, N(succeeded)) > s->completions)
        plan_event(s->out, (struct obj *)s->job, "Warning", "TooManySucceededPods",
                   "Too many succeeded pods running after completion count reached");
    return plan_event_of(s->out, s->job, "Normal", "Completed", "Job completed");
}

static void indexes_put(struct job_ledger *l)
{
    struct job_state *s = l->s;
    struct arena *a = &s->out->arena;
    struct str done = s->indexed ? indexes_text(a, s->done) : S("");
    if (done.n > 0)
        val_set_text(a, l->status, N(completedIndexes), done);
    else
        val_del(l->status, N(completedIndexes));
    if (s->per_index)
        val_set(a, l->status, N(failedIndexes), val_str(a, indexes_text(a, s->given_up)));
    else
        val_del(l->status, N(failedIndexes));
}

static void uncounted_put(struct job_ledger *l)
{
    struct arena *a = &l->s->out->arena;
    struct val both = val_map();
    if (val_len(&l->succeeded) > 0)
        val_set(a, &both, N(succeeded), l->succeeded);
    if (val_len(&l->failed) > 0)
        val_set(a, &both, N(failed), l->failed);
    val_set(a, l->status, N(uncountedTerminatedPods), both);
}

void job_status_plan(struct job_state *s)
{
    struct arena *a = &s->out->arena;
    struct job_ledger l = {.s = s, .tree = plan_edit(s->out, s->job)};
    l.status = val_need_map(a, &l.tree, N(status));
    if (s->start && !val_get(l.status, N(startTime)))
        val_set(a, l.status, N(startTime), val_str(a, time_text(a, s->start)));
    ledger_count(&l);
    ledger_gather(&l);
    num_set(a, l.status, N(active), s->active);
    val_set_num(a, l.status, N(ready), s->ready);
    val_set_num(a, l.status, N(terminating), s->terminating);
    indexes_put(&l);
    uncounted_put(&l);
    const char *event = s->end == JOB_GOES_ON && !obj_deleting(s->job) ? suspension_tell(&l) : "";
    bool over = end_tell(&l);
    struct action *act = plan_update(s->out, s->job, S("status"), l.tree);
    if (act && over)
        act->done = event_of_end(&l);
    else if (act && event[0])
        act->done = plan_event_of(s->out, s->job, "Normal", event, "Job %s", s->suspended ? "suspended" : "resumed");
    plan_step(s->out);
    array_each (it, &l.free)
        plan_untrack(s->out, *it);
    array_fini(&l.free);
}
