/* Jobs: to what end they came and by which pod, what holds them, and behind that the pod that is worst off. */
#include "control/job_int.h"
#include "control/why_int.h"

extern const struct controller job_controller;

static int64_t job_status_num(const struct obj *job, const struct name *name)
{
    return val_num_at(obj_status(job), 0, name);
}

/* "2 of 5 pods"; of a work queue, where any success is enough, "2 pods". */
static struct str job_done(struct question *q, const struct obj *job)
{
    int64_t done = job_status_num(job, N(succeeded)), all = val_num_at(obj_spec(job), -1, N(completions));
    if (all < 0)
        return arena_fmt(q->a, "%lld pod%s", (long long)done, done == 1 ? "" : "s");
    return arena_fmt(q->a, "%lld of %lld pods", (long long)done, (long long)all);
}

static bool job_fails(const struct obj *job)
{
    return job_condition_is(job, "Failed") || job_condition_is(job, "FailureTarget");
}

struct str job_head(struct question *q, const struct obj *job)
{
    if (job_fails(job))
        return arena_fmt(q->a, "Job " STR_FMT " has failed", STR_ARG(job->name));
    return arena_fmt(q->a, "Job " STR_FMT " has " STR_FMT " done", STR_ARG(job->name), STR_ARG(job_done(q, job)));
}

static void job_chain(struct question *q, const struct obj *job, struct finding *f)
{
    struct str failed = val_text_at(obj_status(job), N(failedIndexes));
    why_chain(q, f, "Job " STR_FMT ": " STR_FMT " succeeded, %lld run or wait, %lld failed%s" STR_FMT,
              STR_ARG(job->name), STR_ARG(job_done(q, job)), (long long)job_status_num(job, N(active)),
              (long long)job_status_num(job, N(failed)), failed.n ? ", failed indexes " : "", STR_ARG(failed));
}

/* ---- its end ---- */

/* The pod that failed last. */
static const struct obj *job_last_failed(struct question *q, const struct obj *job)
{
    const struct obj *last = NULL;
    struct obj *pod;
    for (struct objset_iter it = view_with(q->v, K(Pod), &index_controller, job->uid); (pod = objset_next(&it));)
        if (str_eqz(val_text_at(obj_status(pod), N(phase)), "Failed") &&
            (!last || obj_created(pod) >= obj_created(last)))
            last = pod;
    return last;
}

static const struct saying ends[] = {
    {"BackoffLimitExceeded", "BackoffLimit",
     "{count} of its pods failed, and backoffLimit allows {limit}{restarts}{last}", ""},
    {"DeadlineExceeded", "DeadlineExceeded", "it ran longer than activeDeadlineSeconds allows ({deadline} s)",
     "Make it anew with more time: kubectl delete {target}, then create it with a larger activeDeadlineSeconds"},
    {"PodFailurePolicy", "PodFailurePolicy", "a rule of podFailurePolicy ends it: {message}{last}", ""},
    {"MaxFailedIndexesExceeded", "MaxFailedIndexes",
     "its indexes {indexes} failed for good, and maxFailedIndexes allows {most}{last}", ""},
    {"FailedIndexes", "FailedIndexes",
     "its indexes {indexes} failed for good, more often than backoffLimitPerIndex ({perindex}) allows{last}", ""},
    {"", "JobFailed", "{message}{last}", ""},
};

static struct str field_text(struct question *q, const struct obj *job, const struct name *name)
{
    return arena_fmt(q->a, "%lld", (long long)val_num_at(obj_spec(job), 0, name));
}

static void end_explain(struct question *q, const struct obj *job, struct finding *f)
{
    const char *type = job_condition_is(job, "Failed") ? "Failed" : "FailureTarget";
    const struct val *c = condition_get(obj_status(job), type);
    const struct obj *pod = job_last_failed(q, job);
    struct finding one = {0};
    struct str last = S("");
    if (pod) {
        why_pod(q, pod, &one);
        last = arena_fmt(q->a, "; pod " STR_FMT " " STR_FMT, STR_ARG(pod->name), STR_ARG(one.reason));
    }
    bool again = str_eqz(val_text_at(obj_spec(job), N(template), N(spec), N(restartPolicy)), "OnFailure");
    const struct word words[] = {{"count", arena_fmt(q->a, "%lld", (long long)job_status_num(job, N(failed)))},
                                 {"limit", field_text(q, job, N(backoffLimit))},
                                 {"restarts", again ? S(" (restarts of containers count, too)") : S("")},
                                 {"deadline", field_text(q, job, N(activeDeadlineSeconds))},
                                 {"most", field_text(q, job, N(maxFailedIndexes))},
                                 {"perindex", field_text(q, job, N(backoffLimitPerIndex))},
                                 {"indexes", val_text_at(obj_status(job), N(failedIndexes))},
                                 {"message", val_text_at(c, N(message))},
                                 {"last", last}};
    why_saying(q, f, ends, val_text_at(c, N(reason)), words, countof(words));
    if (one.way.n > 0)
        why_way(q, f, STR_FMT, STR_ARG(one.way));
    why_way(q, f, "Mend that and make it anew: kubectl delete " STR_FMT ", then create it",
            STR_ARG(why_target(q, job)));
    one.state = WHY_FINE; /* its chain alone */
    why_behind(q, f, S(""), &one);
}

/* ---- what holds it ---- */

static bool held_say(struct question *q, const struct obj *job, struct finding *f)
{
    struct str by = job_manager(job), target = why_target(q, job);
    if (by.n > 0) {
        why_found(q, f, "ManagedByOther",
                  "it is left to " STR_FMT " (spec.managedBy), so no pods of it are made here", STR_ARG(by));
        why_way(q, f, "See whether that runs; or make the Job anew without managedBy, which cannot be changed");
    } else if (val_true(val_get(obj_spec(job), N(suspend)))) {
        why_found(q, f, "JobSuspended", "it is suspended (spec.suspend), so no pods run");
        why_way(q, f, "Let it go on: kubectl patch " STR_FMT " --type=merge -p '{\"spec\":{\"suspend\":false}}'",
                STR_ARG(target));
    } else if (val_num_at(obj_spec(job), 1, N(parallelism)) == 0) {
        why_found(q, f, "ParallelismZero", "its parallelism is 0, so no pods are made");
        why_way(q, f, "Let it go on: kubectl patch " STR_FMT " --type=merge -p '{\"spec\":{\"parallelism\":1}}'",
                STR_ARG(target));
    }
    return f->state != WHY_FINE;
}

/* The API's last answer, where no pod was made since. */
static struct str refusal_of(struct question *q, const struct obj *job)
{
    const struct obj *no = why_event(q, job, "FailedCreate", S("Error creating: "), S("")),
                     *yes = why_event(q, job, "SuccessfulCreate", S(""), S(""));
    if (!no || (yes && why_event_time(yes) >= why_event_time(no)))
        return S("");
    return str_sub(why_event_text(no), S("Error creating: ").n, SIZE_MAX);
}

static void wait_explain(struct question *q, const struct obj *job, struct str reason, struct finding *f)
{
    const struct obj *pod = job_last_failed(q, job);
    struct finding one = {0};
    if (pod)
        why_pod(q, pod, &one);
    struct str last = one.reason.n > 0
                          ? arena_fmt(q->a, "; pod " STR_FMT " " STR_FMT, STR_ARG(pod->name), STR_ARG(one.reason))
                          : S("");
    why_found(q, f, "JobBackOff", STR_FMT STR_FMT, STR_ARG(reason), STR_ARG(last));
    if (one.way.n > 0)
        why_way(q, f, STR_FMT, STR_ARG(one.way));
    one.state = WHY_FINE;
    why_behind(q, f, S(""), &one);
}

void why_job(struct question *q, const struct obj *job, struct finding *f)
{
    if (job_condition_is(job, "Complete")) {
        f->reason = arena_fmt(q->a, STR_FMT " succeeded", STR_ARG(job_done(q, job)));
        return;
    }
    job_chain(q, job, f);
    if (job_fails(job)) {
        end_explain(q, job, f);
        return;
    }
    if (held_say(q, job, f))
        return;
    if (job_condition_is(job, "SuccessCriteriaMet")) {
        why_coming(q, f, "PodsLeaving", "it has done enough, and its last pods are being stopped");
        return;
    }
    struct str refusal = refusal_of(q, job), reason = why_plan(q, &job_controller, job, S(""));
    if (refusal.n > 0)
        why_pods_refused(q, job, refusal, f);
    why_worst_pod(q, job, f);
    if (f->state != WHY_BLOCKED && reason.n > 0) {
        f->state = WHY_FINE; /* that another pod is on its way does not matter beside it */
        wait_explain(q, job, reason, f);
    }
    if (why_coming(q, f, "JobRuns", "%lld of its pods run", (long long)job_status_num(job, N(active))))
        why_way(q, f, "Follow it: kubectl logs -f " STR_FMT, STR_ARG(why_target(q, job)));
}
