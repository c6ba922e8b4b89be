/* Pods that have the finalizer of a Job which will not count them: it is gone, or over, or there is none. They lose
 * it. Upstream: the orphan queue of pkg/controller/job. */
#include "control/job_int.h"

const struct obj *job_of_pod(const struct view *v, const struct obj *pod, bool *is_job)
{
    const struct val *ref = obj_controller(pod);
    *is_job = ref && str_eqz(val_text_at(ref, N(kind)), "Job") &&
              str_eqz(val_text_at(ref, N(apiVersion)), "batch/v1");
    const struct obj *job = *is_job ? view_get(v, K(Job), pod->ns, val_text_at(ref, N(name))) : NULL;
    return job && str_eq(job->uid, val_text_at(ref, N(uid))) ? job : NULL;
}

static bool is_left_over(const struct view *v, const struct obj *pod, const struct obj **job)
{
    bool of_job;
    *job = NULL;
    if (!pod_is_tracked(pod))
        return false;
    if (!obj_controller(pod))
        return true;
    *job = job_of_pod(v, pod, &of_job);
    return of_job && (!*job || (job_manager(*job).n == 0 && job_is_finished(*job)));
}

static void joborphans_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *pod = view_get(v, K(Pod), key.ns, key.name), *job;
    if (!pod || !is_left_over(v, pod, &job))
        return;
    const struct val *ref = obj_controller(pod);
    if (ref && !job) { /* it may be so new that we have not heard of it */
        plan_check_gone(out, K(Job), pod->ns, val_text_at(ref, N(name)), val_text_at(ref, N(uid)));
        plan_step(out);
    }
    plan_untrack(out, pod)->expect_rev = pod->rev; /* whoever adopts it meanwhile wants it */
}

static void keys_of_pod(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    const struct obj *job;
    (void)was;
    if (now && is_left_over(v, now, &job))
        add(arg, now->ns, now->name);
}

static void keys_of_job(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    const struct obj *job = now ? now : was;
    struct obj *pod;
    if (now && !job_is_finished(now))
        return;
    for (struct objset_iter it = view_with(v, K(Pod), &index_controller, job->uid); (pod = objset_next(&it));)
        if (pod_is_tracked(pod))
            add(arg, pod->ns, pod->name);
}

static const struct controller_watch watches[] = {{K(Pod), keys_of_pod}, {K(Job), keys_of_job}, {0}};
const struct controller joborphans_controller = {
    .name = "joborphans",
    .component = "job-controller",
    .account = "job-controller",
    .watches = watches,
    .plan = joborphans_plan,
};
