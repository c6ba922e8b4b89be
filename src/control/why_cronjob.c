/* CronJobs: why nothing is started, and what became of the Job that was started last. */
#include "control/cronjob.h"
#include "control/why_int.h"

extern const struct controller cronjob_controller;

/* What the plan says of it. */
static const struct saying sayings[] = {
    {"spec.timeZone: ", "TimeZoneUnknown", "nothing is started: {message}",
     "Name a zone as in https://www.iana.org/time-zones: {edit}"},
    {"names no time", "ScheduleNever", "nothing is started: {message}", "Give it a time that comes: {edit}"},
    {"spec.schedule", "ScheduleInvalid", "nothing is started: {message}",
     "Write minute, hour, day, month and weekday, such as \"0 3 * * 1-5\": {edit}"},
    {"the clock was set back", "ClockSetBack", "nothing is started: {message}",
     "Should it start before that, delete its Jobs of that time and forget it: kubectl patch {target} "
     "--subresource=status --type=merge -p '{forget}'"},
    {"startingDeadlineSeconds", "StartMissed", "{message}", "Allow more time: {edit}"},
    {"another one is called", "JobNameTaken", "{message}", "Delete that Job, or wait for the next time"},
    {"", "PlanStopped", "{message}", ""},
};

/* The Job that was started last; NULL: none is there. */
static const struct obj *newest_job(struct question *q, const struct obj *cj)
{
    struct obj *job;
    const struct obj *newest = NULL;
    for (struct objset_iter it = view_with(q->v, K(Job), &index_controller, cj->uid); (job = objset_next(&it));)
        if (!newest || obj_created(job) > obj_created(newest) ||
            (obj_created(job) == obj_created(newest) && str_cmp(job->name, newest->name) > 0))
            newest = job;
    return newest;
}

/* Its Jobs were refused after the last one was made. */
static bool jobs_refused(struct question *q, const struct obj *cj, struct finding *f)
{
    struct str begins = S("Error creating job: ");
    const struct obj *event = why_event(q, cj, "FailedCreate", begins, S(""));
    int64_t since = MAX(obj_created(cj), val_time(val_get(obj_status(cj), N(lastScheduleTime))));
    if (!event || why_event_time(event) < since)
        return false;
    struct str said = why_event_text(event);
    said = str_sub(said, begins.n, said.n);
    if (!why_refused(q, said, S("its Jobs"), f)) {
        why_found(q, f, "JobsRefused", "the API refuses its Jobs: " STR_FMT, STR_ARG(said));
        why_way(q, f, "Mend what it names: " STR_FMT, STR_ARG(why_edit(q)));
    }
    return true;
}

static void last_job_say(struct question *q, const struct obj *cj, struct finding *f)
{
    const struct obj *job = newest_job(q, cj);
    const char *end = job ? cron_job_end(job) : NULL;
    struct finding one = {0};
    if (!job || (end && str_eqz(str_of(end), "Complete")))
        return;
    struct question other = why_about(q, job);
    why_of(&other, job, &one);
    if (end && one.state != WHY_BLOCKED) {
        const struct val *failed = condition_get(obj_status(job), "Failed");
        why_found(q, f, "JobFailed", "its last Job " STR_FMT " failed: " STR_FMT ": " STR_FMT, STR_ARG(job->name),
                  STR_ARG(val_text_at(failed, N(reason))), STR_ARG(val_text_at(failed, N(message))));
        why_way(q, f, "Look at its pods: kubectl logs job/" STR_FMT STR_FMT, STR_ARG(job->name),
                STR_ARG(why_ns_flag(q, cj->ns)));
    } else if (one.state == WHY_BLOCKED) {
        why_behind(q, f, arena_fmt(q->a, "its last Job " STR_FMT ":", STR_ARG(job->name)), &one);
    }
    array_fini(&one.chain);
}

void why_cronjob(struct question *q, const struct obj *cj, struct finding *f)
{
    AUTO(plan_fini) struct plan p = {0};
    cronjob_controller.plan(q->v, (struct key){cj->ns, cj->name}, &p);
    struct str last = val_text_at(obj_status(cj), N(lastScheduleTime)), why = str_dup(q->a, p.why);
    why_chain(q, f, "CronJob " STR_FMT ": schedule \"" STR_FMT "\", %zu active, last started " STR_FMT,
              STR_ARG(cj->name), STR_ARG(val_text_at(obj_spec(cj), N(schedule))),
              val_len(val_get(obj_status(cj), N(active))), STR_ARG(last.n > 0 ? last : S("never")));
    if (str_has(why, S("concurrencyPolicy Forbid"))) {
        last_job_say(q, cj, f);
        why_coming(q, f, "ForbidWaits", STR_FMT, STR_ARG(why));
        why_way(q, f, "Wait for it, or allow both: " STR_FMT, STR_ARG(why_edit(q)));
    } else if (why.n > 0) {
        const struct word words[] = {{"message", why}, {"forget", S("{\"status\":{\"lastScheduleTime\":null}}")}};
        why_saying(q, f, sayings, why, words, countof(words));
    } else if (!jobs_refused(q, cj, f)) {
        last_job_say(q, cj, f);
    }
    const struct obj *many = why_event(q, cj, "TooManyMissedTimes", S(""), S(""));
    if (many && why_event_time(many) >= val_time(val_get(obj_status(cj), N(lastScheduleTime))))
        why_chain(q, f, "CronJob " STR_FMT ": " STR_FMT, STR_ARG(cj->name), STR_ARG(why_event_text(many)));
    if (f->state != WHY_FINE)
        return;
    if (val_true(val_get(obj_spec(cj), N(suspend))))
        f->reason = S("it is suspended (spec.suspend), so it starts nothing");
    else if (p.again > q->v->now)
        f->reason = arena_fmt(q->a, "its next Job is due at " STR_FMT, STR_ARG(time_text(q->a, p.again)));
}
