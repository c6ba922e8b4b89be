/* Runs pods until a number of them has succeeded. One plan looks at the Job's pods, decides whether the Job has come
 * to its end (job_judge), makes or takes away pods (job_pods.c, job_make.c), and writes down what has ended
 * (job_status.c). Upstream: pkg/controller/job. */
#include "control/job_int.h"

bool job_condition_is(const struct obj *job, const char *type)
{
    return condition_is(obj_status(job), type, "True");
}

bool job_is_finished(const struct obj *job)
{
    return job_condition_is(job, "Complete") || job_condition_is(job, "Failed");
}

struct str job_manager(const struct obj *job)
{
    struct str by = val_text_at(obj_spec(job), N(managedBy));
    return str_eqz(by, "kubernetes.io/job-controller") ? S("") : by;
}

/* ---- its end ---- */

static void end_set(struct job_state *s, enum job_end end, const char *reason, const char *message)
{
    s->end = end;
    s->reason = str_of(reason);
    s->message = str_of(message);
}

/* What stands already is not judged again. */
static bool end_stands(struct job_state *s)
{
    static const struct {
        const char *type;
        enum job_end end;
    } rows[] = {{"SuccessCriteriaMet", JOB_SUCCEEDS}, {"FailureTarget", JOB_FAILS}};
    for (size_t i = 0; i < countof(rows); i++) {
        const struct val *c = condition_get(s->status, rows[i].type);
        if (!str_eqz(val_text_at(c, N(status)), "True"))
            continue;
        s->end = rows[i].end;
        s->end_said = true;
        s->reason = val_text_at(c, N(reason));
        s->message = val_text_at(c, N(message));
        return true;
    }
    return false;
}

static bool policy_ends(struct job_state *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->pods[i].policy.action == POLICY_FAIL_JOB) {
            end_set(s, JOB_FAILS, "PodFailurePolicy", "");
            s->message = s->pods[i].policy.message;
            return true;
        }
    return false;
}

/* Containers that are started again where they are count like pods that are made again. */
static bool restarts_exceed(const struct job_state *s, int64_t limit)
{
    int64_t restarts = 0;
    if (!str_eqz(val_text_at(s->spec, N(template), N(spec), N(restartPolicy)), "OnFailure"))
        return false;
    for (size_t i = 0; i < s->n; i++) {
        const struct val *status = obj_status(s->pods[i].pod);
        struct str phase = val_text_at(status, N(phase));
        if (!str_eqz(phase, "Running") && !str_eqz(phase, "Pending"))
            continue;
        val_each_item (it, val_get(status, N(initContainerStatuses)))
            restarts += val_num_at(it, 0, N(restartCount));
        val_each_item (it, val_get(status, N(containerStatuses)))
            restarts += val_num_at(it, 0, N(restartCount));
    }
    return limit == 0 ? restarts > 0 : restarts >= limit;
}

static void time_judge(struct job_state *s)
{
    const struct val *most = val_get(s->spec, N(activeDeadlineSeconds));
    int64_t deadline = s->start + ns_of_seconds(val_num(most, 0));
    if (!most || s->suspended || !s->start)
        return;
    if (deadline <= s->v->now)
        end_set(s, JOB_FAILS, "DeadlineExceeded", "Job was active longer than specified deadline");
    else
        plan_again(s->out, deadline);
}

static void failed_indexes_judge(struct job_state *s)
{
    const struct val *most = val_get(s->spec, N(maxFailedIndexes));
    int64_t failed = indexes_total(s->given_up);
    if (most && failed > val_num(most, 0))
        end_set(s, JOB_FAILS, "MaxFailedIndexesExceeded",
                "Job has exceeded the specified maximal number of failed indexes");
    else if (failed > 0 && failed + indexes_total(s->done) >= s->completions)
        end_set(s, JOB_FAILS, "FailedIndexes", "Job has failed indexes");
}

static void job_judge(struct job_state *s)
{
    if (end_stands(s) || policy_ends(s))
        return;
    int64_t limit = val_num_at(s->spec, s->per_index ? INT32_MAX : 6, N(backoffLimit));
    if (s->failed > limit || restarts_exceed(s, limit))
        end_set(s, JOB_FAILS, "BackoffLimitExceeded", "Job has reached the specified backoff limit");
    else
        time_judge(s);
    if (s->end == JOB_GOES_ON && s->per_index)
        failed_indexes_judge(s);
    struct str message;
    if (s->end == JOB_GOES_ON && s->indexed &&
        success_policy_holds(&s->out->arena, val_get(s->spec, N(successPolicy)), s->completions, s->done, &message)) {
        end_set(s, JOB_SUCCEEDS, "SuccessPolicy", "");
        s->message = message;
    }
}

/* By the number of completions, when no pod runs any more. */
static void completions_judge(struct job_state *s)
{
    bool enough = s->completions < 0 ? s->succeeded > 0 : s->succeeded >= s->completions;
    if (enough && s->active == 0)
        end_set(s, JOB_SUCCEEDS, "CompletionsReached", "Reached expected number of succeeded pods");
}

/* ---- what is ---- */

static bool index_gives_up(const struct job_state *s, const struct job_pod *p)
{
    if (!p->failed || p->policy.action == POLICY_IGNORE)
        return false;
    if (p->policy.action == POLICY_FAIL_INDEX)
        return true;
    return pod_annotation_num(p->pod, JOB_INDEX_FAILED, 0) >= val_num_at(s->spec, 0, N(backoffLimitPerIndex));
}

static void indexes_read(struct job_state *s)
{
    struct arena *a = &s->out->arena;
    int64_t *done = arena_alloc(a, (s->n + 1) * sizeof *done), *failed = arena_alloc(a, (s->n + 1) * sizeof *failed);
    size_t ndone = 0, nfailed = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct job_pod *p = &s->pods[i];
        if (!p->valid || !p->tracked)
            continue;
        if (p->succeeded)
            done[ndone++] = p->index;
        else if (s->per_index && index_gives_up(s, p))
            failed[nfailed++] = p->index;
    }
    s->were_done = indexes_parse(a, val_text_at(s->status, N(completedIndexes)), s->completions);
    s->done = indexes_merge(a, s->were_done, indexes_of(a, done, ndone));
    s->succeeded = indexes_total(s->done);
    if (!s->per_index)
        return;
    struct indexes before = indexes_parse(a, val_text_at(s->status, N(failedIndexes)), s->completions);
    s->given_up = indexes_merge(a, before, indexes_of(a, failed, nfailed));
    job_pods_hold(s);
}

/* With those that wait to be counted, and those that have ended since. */
static void counts_read(struct job_state *s)
{
    const struct val *uncounted = val_get(s->status, N(uncountedTerminatedPods));
    s->succeeded = val_num_at(s->status, 0, N(succeeded)) + (int64_t)val_len(val_get(uncounted, N(succeeded)));
    s->failed = val_num_at(s->status, 0, N(failed)) + (int64_t)val_len(val_get(uncounted, N(failed)));
    for (size_t i = 0; i < s->n; i++) {
        const struct job_pod *p = &s->pods[i];
        if (!p->tracked || !p->valid || p->listed)
            continue;
        s->succeeded += p->succeeded;
        s->failed += p->failed && p->policy.action != POLICY_IGNORE;
    }
}

static struct job_state job_state_of(const struct view *v, const struct obj *job, struct plan *out)
{
    const struct val *spec = obj_spec(job), *status = obj_status(job);
    struct job_state s = {.v = v,
                          .job = job,
                          .out = out,
                          .spec = spec,
                          .status = status,
                          .indexed = str_eqz(val_text_at(spec, N(completionMode)), "Indexed"),
                          .per_index = val_get(spec, N(backoffLimitPerIndex)) != NULL,
                          .only_failed = val_get(spec, N(podFailurePolicy)) ||
                                         str_eqz(val_text_at(spec, N(podReplacementPolicy)), "Failed"),
                          .suspended = val_true(val_get(spec, N(suspend))),
                          .troubled = v->trouble.n > 0,
                          .completions = val_num_at(spec, -1, N(completions)),
                          .parallelism = val_num_at(spec, 1, N(parallelism)),
                          .start = val_time(val_get(status, N(startTime)))};
    if (!s.start && !s.suspended)
        s.start = v->now;
    return s;
}

/* As it is where the last plan failed; else as it will be. */
static void pods_plan(struct job_state *s)
{
    if (s->end != JOB_GOES_ON)
        job_pods_stop(s);
    else if (!obj_deleting(s->job))
        job_pods_manage(s);
    plan_step(s->out);
}

static void trouble_tell(struct job_state *s)
{
    if (s->troubled)
        plan_why(s->out, "Job " STR_FMT " has %lld pods that run or wait: " STR_FMT, STR_ARG(s->job->name),
                 (long long)s->active, STR_ARG(s->v->trouble));
}

/* Of orphans: whoever has ended counts too. */
static bool pod_is_wanted(const struct obj *pod)
{
    return !obj_deleting(pod);
}

static void job_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *job = view_get(v, K(Job), key.ns, key.name);
    if (!job || job_manager(job).n > 0 || job_is_finished(job))
        return;
    AUTO(children_fini) struct children pods = {.finalizer = JOB_FINALIZER};
    if (!children_claim(v, job, pod_is_wanted, out, &pods) || out->actions.n > 0)
        return; /* what was adopted or let go is looked at when it is so */
    struct job_state s = job_state_of(v, job, out);
    job_pods_read(&s, &pods);
    counts_read(&s);
    if (s.indexed)
        indexes_read(&s);
    job_judge(&s);
    trouble_tell(&s);
    if (!s.troubled)
        pods_plan(&s);
    if (s.end == JOB_GOES_ON)
        completions_judge(&s);
    job_status_plan(&s);
    /* What is known is written down before what may fail again is tried; of that nothing stands in another's way. */
    if (s.troubled)
        pods_plan(&s);
}

/* ---- who is asked when ---- */

static void keys_by_selector(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    struct str uid = val_text(
        val_get_str(val_at(obj_spec(o), N(selector), N(matchLabels)), S("batch.kubernetes.io/controller-uid")));
    add(arg, uid.n > 0 ? uid : o->ns);
}
const struct objindex index_job_selector = {"job selector", keys_by_selector};

static void keys_that_take(const struct view *v, const struct obj *pod, struct str bucket, keys_add_fn *add,
                           void *arg)
{
    struct obj *job;
    for (struct objset_iter it = view_with(v, K(Job), &index_job_selector, bucket); (job = objset_next(&it));)
        if (str_eq(job->ns, pod->ns) && label_selector_matches(val_get(obj_spec(job), N(selector)), obj_labels(pod)))
            add(arg, job->ns, job->name);
}

/* An orphan concerns the Job that it was made for, and those of its namespace that choose pods by other labels. */
static void keys_of_pod(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    keys_of_controller(v, was, now, K(Job), add, arg);
    if (!now || obj_controller(now) || obj_deleting(now))
        return;
    struct str uid = val_text(val_get_str(obj_labels(now), S("batch.kubernetes.io/controller-uid")));
    if (uid.n > 0)
        keys_that_take(v, now, uid, add, arg);
    keys_that_take(v, now, now->ns, add, arg);
}

/* An account that comes may be what Jobs of its namespace wait for: their next try may be minutes away. */
static void keys_of_account(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                            void *arg)
{
    struct obj *job;
    if (was)
        return;
    for (struct objset_iter it = view_with(v, K(Job), &index_namespace, now->ns); (job = objset_next(&it));) {
        struct str name = val_text_at(obj_spec(job), N(template), N(spec), N(serviceAccountName));
        if (!job_is_finished(job) && str_eq(name.n > 0 ? name : S("default"), now->name))
            add(arg, job->ns, job->name);
    }
}

static const struct controller_watch watches[] = {
    {K(Job), keys_self}, {K(Pod), keys_of_pod}, {K(ServiceAccount), keys_of_account}, {0}};
const struct controller job_controller = {
    .name = "job",
    .component = "job-controller",
    .account = "job-controller",
    .watches = watches,
    .plan = job_plan,
};
