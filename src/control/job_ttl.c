/* Deletes Jobs some time after they are over (ttlSecondsAfterFinished). Upstream: pkg/controller/ttlafterfinished. */
#include "control/job_int.h"

static int64_t finished_at(const struct obj *job)
{
    const struct val *complete = condition_get(obj_status(job), "Complete");
    const struct val *which = str_eqz(val_text_at(complete, N(status)), "True")
                                  ? complete
                                  : condition_get(obj_status(job), "Failed");
    return val_time(val_get(which, N(lastTransitionTime)));
}

static bool is_to_go(const struct obj *job)
{
    return val_get(obj_spec(job), N(ttlSecondsAfterFinished)) && job_is_finished(job) && !obj_deleting(job);
}

static void jobttl_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *job = view_get(v, K(Job), key.ns, key.name);
    if (!job || !is_to_go(job))
        return;
    int64_t end = finished_at(job);
    int64_t at = end + ns_of_seconds(val_num_at(obj_spec(job), 0, N(ttlSecondsAfterFinished)));
    if (!end) {
        plan_why(out,
                 "the condition that says that Job " STR_FMT " is over has no lastTransitionTime, so nobody knows "
                 "since when: ttlSecondsAfterFinished cannot be kept",
                 STR_ARG(job->name));
        return;
    }
    if (at > v->now) {
        plan_again(out, at);
        return;
    }
    struct action *a = plan_delete(out, job);
    a->expect_rev = job->rev; /* whoever has just given it more time is heard */
    a->propagation = PROPAGATION_FOREGROUND;
}

static void keys_of_job(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    (void)v, (void)was;
    if (now && is_to_go(now))
        add(arg, now->ns, now->name);
}

static const struct controller_watch watches[] = {{K(Job), keys_of_job}, {0}};
const struct controller jobttl_controller = {
    .name = "ttlafterfinished",
    .component = "ttl-after-finished-controller",
    .account = "ttl-after-finished-controller",
    .watches = watches,
    .plan = jobttl_plan,
};
