/* Starts the Jobs of a CronJob when they are due, and keeps count of them. Upstream: pkg/controller/cronjob.
 *
 * A Job is named after its CronJob and the minute of its time, so that two who start it collide. What a CronJob has
 * started is read off its Jobs, by that name and the annotation that goes with it: status is written once the Job is
 * seen, and nothing is lost or doubled when this process ends in between. */
#include "control/cronjob.h"
#include "api/cron.h"
#include "control/manager.h"
#include "control/pods.h"

#define SCHEDULED "batch.kubernetes.io/cronjob-scheduled-timestamp"
#define AHEAD     (60 * NS_PER_S) /* more than a clock is corrected by in passing */
#define FAR       (100LL * 366 * 86400)

/* One plan. */
struct cron_work {
    const struct view *v;
    struct obj *cj;
    struct plan *out;
    ARRAY(struct obj *) jobs; /* all that it controls */
    struct val active;        /* what status.active becomes */
    struct val last;          /* what status.lastScheduleTime becomes; VAL_NULL: it is not set */
    const struct val *success;
    struct obj *running; /* one of the active, as far as it is seen */
};

const char *cron_job_end(const struct obj *job)
{
    return condition_is(obj_status(job), "Complete", "True") ? "Complete"
           : condition_is(obj_status(job), "Failed", "True") ? "Failed"
                                                             : NULL;
}

static struct str job_name(struct arena *a, const struct obj *cj, int64_t at)
{
    return arena_fmt(a, STR_FMT "-%lld", STR_ARG(cj->name), (long long)(at / 60));
}

/* For which time it was started, in seconds; 0: it was made by somebody else, as kubectl create job --from does. */
static int64_t job_time(struct arena *a, const struct obj *cj, const struct obj *job)
{
    int64_t ns = val_time(val_get_str(val_get(obj_meta(job), N(annotations)), S(SCHEDULED)));
    return ns > 0 && str_eq(job->name, job_name(a, cj, ns / NS_PER_S)) ? ns / NS_PER_S : 0;
}

/* ---- what runs, and what has run ---- */

static struct val job_ref(struct arena *a, const struct obj *job)
{
    struct val ref = val_map();
    val_set_text(a, &ref, N(kind), S("Job"));
    val_set_text(a, &ref, N(namespace), job->ns);
    val_set_text(a, &ref, N(name), job->name);
    val_set_text(a, &ref, N(uid), job->uid);
    val_set_text(a, &ref, N(apiVersion), S("batch/v1"));
    val_set(a, &ref, N(resourceVersion), val_str(a, arena_fmt(a, "%lld", (long long)job->rev)));
    return ref;
}

/* Of status.active: those that go on. */
static void active_keep(struct cron_work *w)
{
    val_each_item (ref, val_get(obj_status(w->cj), N(active))) {
        struct str name = val_text_at(ref, N(name)), uid = val_text_at(ref, N(uid));
        struct obj *job = view_get(w->v, K(Job), w->cj->ns, name);
        const char *end = job ? cron_job_end(job) : NULL;
        if (!job || !str_eq(job->uid, uid)) {
            plan_check_gone(w->out, K(Job), w->cj->ns, name, uid)->done = plan_event_of(
                w->out, w->cj, "Normal", "MissingJob", "Active job went missing: " STR_FMT, STR_ARG(name));
        } else if (end) {
            plan_event(w->out, w->cj, "Normal", "SawCompletedJob", "Saw completed job: " STR_FMT ", condition: %s",
                       STR_ARG(name), end);
        } else {
            val_add(&w->out->arena, &w->active, val_copy(&w->out->arena, ref));
            w->running = job;
        }
    }
}

static bool active_has(const struct cron_work *w, struct str uid)
{
    return val_find(&w->active, N(uid), uid) || val_find(val_get(obj_status(w->cj), N(active)), N(uid), uid);
}

static void last_raise(struct cron_work *w, int64_t at)
{
    if (at * NS_PER_S > val_time(&w->last))
        w->last = val_str(&w->out->arena, time_text(&w->out->arena, at * NS_PER_S));
}

static void jobs_read(struct cron_work *w)
{
    array_each (it, &w->jobs) {
        struct obj *job = *it;
        int64_t at = job_time(&w->out->arena, w->cj, job);
        const char *end = cron_job_end(job);
        const struct val *completed = val_get(obj_status(job), N(completionTime));
        if (end && str_eqz(str_of(end), "Complete") && val_time(completed) > val_time(w->success))
            w->success = completed;
        if (at)
            last_raise(w, at);
        if (end || active_has(w, job->uid) || obj_deleting(job))
            continue;
        if (at) {
            val_add(&w->out->arena, &w->active, job_ref(&w->out->arena, job));
            w->running = job;
        } else {
            plan_event(w->out, w->cj, "Warning", "UnexpectedJob",
                       "Saw a job that the controller did not create or forgot: " STR_FMT, STR_ARG(job->name));
        }
    }
}

static void status_write(struct cron_work *w)
{
    struct arena *a = &w->out->arena;
    if (!obj_status(w->cj) && val_len(&w->active) == 0 && val_text(&w->last).n == 0 && !w->success)
        return;
    struct val tree = plan_edit(w->out, w->cj);
    struct val *status = val_need_map(a, &tree, N(status));
    if (val_len(&w->active) > 0)
        val_set(a, status, N(active), w->active);
    else
        val_del(status, N(active));
    if (val_text(&w->last).n > 0)
        val_set(a, status, N(lastScheduleTime), w->last);
    if (w->success)
        val_set(a, status, N(lastSuccessfulTime), val_copy(a, w->success));
    plan_update(w->out, w->cj, S("status"), tree);
}

static void job_delete(struct cron_work *w, struct obj *job)
{
    struct action *a = plan_delete(w->out, job);
    a->propagation = PROPAGATION_BACKGROUND;
    a->done = plan_event_of(w->out, w->cj, "Normal", "SuccessfulDelete", "Deleted job " STR_FMT, STR_ARG(job->name));
    a->failed = plan_event_of(w->out, w->cj, "Warning", "FailedDelete", "Deleted job: ");
}

/* The earlier started first; those that never were come last. */
static int started_cmp(const void *pa, const void *pb)
{
    const struct obj *a = *(struct obj *const *)pa, *b = *(struct obj *const *)pb;
    int64_t x = val_time(val_get(obj_status(a), N(startTime))), y = val_time(val_get(obj_status(b), N(startTime)));
    if (x != y)
        return !y || (x && x < y) ? -1 : 1;
    return str_cmp(a->name, b->name);
}

/* Those that are over, but for the newest `keep` of each end. */
static void history_cut(struct cron_work *w, const char *end, const struct name *limit)
{
    const struct val *keep = val_get(obj_spec(w->cj), limit);
    ARRAY(struct obj *) over = {0};
    array_each (it, &w->jobs)
        if (cron_job_end(*it) && str_eqz(str_of(end), cron_job_end(*it)) && !obj_deleting(*it))
            array_push(&over, *it);
    if (over.n > 0)
        qsort(over.p, over.n, sizeof *over.p, started_cmp);
    for (size_t i = 0; keep && (int64_t)i < (int64_t)over.n - val_num(keep, 0); i++)
        job_delete(w, over.p[i]);
    array_fini(&over);
}

/* ---- what is due ---- */

/* Go's time.RFC1123Z, in UTC. */
static struct str mail_time(struct arena *a, int64_t t)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm tm = zone_civil(NULL, t);
    return arena_fmt(a, "%s, %02d %s %d %02d:%02d:%02d +0000", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
                     tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* RFC 3339, as clocks there show it. */
static struct str zone_time_text(struct arena *a, const struct zone *z, int64_t t)
{
    struct tm tm = zone_civil(z, t);
    int minutes = (int)(zone_offset(z, t) / 60), size = minutes < 0 ? -minutes : minutes;
    struct str day = arena_fmt(a, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                               tm.tm_hour, tm.tm_min, tm.tm_sec);
    return minutes ? arena_fmt(a, STR_FMT "%c%02d:%02d", STR_ARG(day), minutes < 0 ? '-' : '+', size / 60, size % 60)
                   : arena_fmt(a, STR_FMT "Z", STR_ARG(day));
}

static void job_start(struct cron_work *w, const struct zone *z, int64_t at)
{
    struct arena *a = &w->out->arena;
    const struct val *template = val_get(obj_spec(w->cj), N(jobTemplate)), *from = val_get(template, N(metadata));
    struct val job = val_map(), owners = val_list();
    struct val *meta = val_set(a, &job, N(metadata), val_map());
    if (val_get(from, N(labels)))
        val_set(a, meta, N(labels), val_copy(a, val_get(from, N(labels))));
    struct val *notes = val_set(a, meta, N(annotations),
                                val_get(from, N(annotations)) ? val_copy(a, val_get(from, N(annotations)))
                                                              : val_map());
    val_set_str(a, notes, S(SCHEDULED), val_str(a, zone_time_text(a, z, at)));
    val_add(a, &owners, owner_ref(a, w->cj));
    val_set(a, meta, N(ownerReferences), owners);
    if (val_get(template, N(spec)))
        val_set(a, &job, N(spec), val_copy(a, val_get(template, N(spec))));
    struct str name = job_name(a, w->cj, at);
    struct action *act = plan_create(w->out, K(Job), w->cj->ns, name, job);
    act->done = plan_event_of(w->out, w->cj, "Normal", "SuccessfulCreate", "Created job " STR_FMT, STR_ARG(name));
    act->failed = plan_event_of(w->out, w->cj, "Warning", "FailedCreate", "Error creating job: ");
}

/* Ends what runs, and forgets it before the next one is started. */
static void active_replace(struct cron_work *w)
{
    if (val_len(&w->active) == 0)
        return;
    val_each_item (ref, &w->active)
        job_delete(w, view_get(w->v, K(Job), w->cj->ns, val_text_at(ref, N(name))));
    w->active = val_list();
    w->running = NULL;
}

/* Whether it is started now, and if not, why. */
static bool may_start(struct cron_work *w, int64_t at)
{
    struct arena *a = &w->out->arena;
    const struct val *deadline = val_get(obj_spec(w->cj), N(startingDeadlineSeconds));
    struct str name = job_name(a, w->cj, at);
    const struct obj *there = view_get(w->v, K(Job), w->cj->ns, name);
    if (deadline && at + val_num(deadline, 0) < w->v->now / NS_PER_S) {
        plan_event(w->out, w->cj, "Warning", "MissSchedule", "Missed scheduled time to start a job: " STR_FMT,
                   STR_ARG(mail_time(a, at)));
        plan_why(w->out, "the Job of " STR_FMT " was not started in time (startingDeadlineSeconds %lld)",
                 STR_ARG(time_text(a, at * NS_PER_S)), (long long)val_num(deadline, 0));
        return false;
    }
    if (there) { /* of this minute, with schedules that are shorter */
        if (obj_controller(there) && str_eq(val_text_at(obj_controller(there), N(uid)), w->cj->uid))
            return false;
        plan_event(w->out, w->cj, "Warning", "FailedCreate",
                   "Error creating job: jobs.batch \"" STR_FMT "\" already exists and is not of this CronJob",
                   STR_ARG(name));
        plan_why(w->out, "the Job of " STR_FMT " is not started: another one is called " STR_FMT " already",
                 STR_ARG(time_text(a, at * NS_PER_S)), STR_ARG(name));
        return false;
    }
    if (str_eqz(val_text_at(obj_spec(w->cj), N(concurrencyPolicy)), "Forbid") && val_len(&w->active) > 0) {
        plan_event(w->out, w->cj, "Normal", "JobAlreadyActive",
                   "Not starting job because prior execution is running and concurrency policy is Forbid");
        plan_why(w->out,
                 "the Job of " STR_FMT " waits for Job " STR_FMT ", which still runs (concurrencyPolicy Forbid)",
                 STR_ARG(time_text(a, at * NS_PER_S)), STR_ARG(val_text_at(val_item(&w->active, 0), N(name))));
        return false;
    }
    return true;
}

/* More were missed than anybody would start: of those that are not too late. */
static void many_missed(struct cron_work *w, const struct cron *c, const struct zone *z, int64_t count)
{
    const struct val *deadline = val_get(obj_spec(w->cj), N(startingDeadlineSeconds));
    int64_t now = w->v->now / NS_PER_S;
    if (count > CRON_MANY && deadline)
        count = cron_due(c, z, now - MIN(val_num(deadline, 0), FAR), now).count;
    if (count > CRON_MANY)
        plan_event(w->out, w->cj, "Warning", "TooManyMissedTimes",
                   "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew");
}

/* What was started in a future that is not there any more is not started again before that comes. */
static void clock_complain(struct cron_work *w, int64_t base, int64_t next)
{
    struct arena *a = &w->out->arena;
    if (base <= w->v->now + AHEAD)
        return;
    struct str then = time_text(a, base), from = next == CRON_NEVER ? S("then") : time_text(a, next * NS_PER_S);
    plan_event(w->out, w->cj, "Warning", "ClockSetBack",
               "The clock was set back: Jobs up to " STR_FMT " were started already, the next one is due at " STR_FMT,
               STR_ARG(then), STR_ARG(from));
    plan_why(w->out,
             "the clock was set back: Jobs up to " STR_FMT " were started already, the next one is due at " STR_FMT,
             STR_ARG(then), STR_ARG(from));
}

/* The schedule and its zone; false: told what is wrong with them. */
static bool schedule_read(struct cron_work *w, struct cron *c, const struct zone **z)
{
    const struct val *spec = obj_spec(w->cj), *zone = val_get(spec, N(timeZone));
    struct str text = val_text_at(spec, N(schedule)), why;
    struct err err = ERR;
    if (!view_zone(w->v, val_text(zone), z, &err)) {
        plan_event(w->out, w->cj, "Warning", "UnknownTimeZone", "invalid timeZone: \"" STR_FMT "\": %s",
                   STR_ARG(val_text(zone)), err.text);
        plan_why(w->out, "spec.timeZone: %s", err.text);
        return false;
    }
    if (val_true(val_get(spec, N(suspend))))
        return false;
    if (!cron_read(&w->out->arena, text, c, &why)) {
        plan_event(w->out, w->cj, "Warning", "UnparseableSchedule",
                   "unparseable schedule: \"" STR_FMT "\" : " STR_FMT, STR_ARG(text), STR_ARG(why));
        plan_why(w->out, "spec.schedule: " STR_FMT, STR_ARG(why));
        return false;
    }
    return true;
}

/* Plans the start of what is due: after what has been, and after the schedule was changed last, so that a new one
 * does not make up for what it would have started before. */
static void due_plan(struct cron_work *w)
{
    struct cron c;
    const struct zone *z;
    if (!schedule_read(w, &c, &z))
        return;
    int64_t base = val_text(&w->last).n > 0 ? val_time(&w->last) : obj_created(w->cj), now = w->v->now / NS_PER_S;
    /* by whichever clock it is longer ago: the machine may have slept, or its clock was set back */
    int64_t from = base / NS_PER_S, edited = MIN(w->v->heard, w->v->heard_real) / NS_PER_S;
    struct cron_due due = cron_due(&c, z, c.every ? from : MAX(from, edited), now);
    if (due.next == CRON_NEVER && due.latest == CRON_NEVER) {
        plan_event(w->out, w->cj, "Warning", "InvalidSchedule",
                   "invalid schedule: " STR_FMT " : time difference between two schedules is less than 1 second",
                   STR_ARG(val_text_at(obj_spec(w->cj), N(schedule))));
        plan_why(w->out, "spec.schedule \"" STR_FMT "\" names no time within the next five years",
                 STR_ARG(val_text_at(obj_spec(w->cj), N(schedule))));
        return;
    }
    if (due.next != CRON_NEVER && due.next < now + FAR)
        plan_again(w->out, due.next * NS_PER_S);
    clock_complain(w, base, due.next);
    if (due.latest == CRON_NEVER || due.latest <= edited)
        return;
    many_missed(w, &c, z, due.count);
    if (!may_start(w, due.latest))
        return;
    if (str_eqz(val_text_at(obj_spec(w->cj), N(concurrencyPolicy)), "Replace"))
        active_replace(w);
    plan_step(w->out);
    status_write(w);
    plan_step(w->out);
    job_start(w, val_get(obj_spec(w->cj), N(timeZone)) ? z : NULL, due.latest);
}

static void cronjob_plan(const struct view *v, struct key key, struct plan *out)
{
    struct obj *cj = view_get(v, K(CronJob), key.ns, key.name), *job;
    if (!cj)
        return;
    const struct val *last = val_get(obj_status(cj), N(lastScheduleTime));
    struct cron_work w = {.v = v, .cj = cj, .out = out, .active = val_list()};
    w.last = last ? val_copy(&out->arena, last) : (struct val){0};
    w.success = val_get(obj_status(cj), N(lastSuccessfulTime));
    for (struct objset_iter it = view_with(v, K(Job), &index_controller, cj->uid); (job = objset_next(&it));)
        array_push(&w.jobs, job);
    active_keep(&w);
    jobs_read(&w);
    size_t checks = out->actions.n;
    if (!obj_deleting(cj))
        due_plan(&w);
    if (out->actions.n == checks) { /* nothing is started */
        plan_step(out);
        status_write(&w);
    }
    if (v->trouble.n > 0)
        plan_why(out, STR_FMT, STR_ARG(v->trouble));
    plan_step(out);
    history_cut(&w, "Complete", N(successfulJobsHistoryLimit));
    history_cut(&w, "Failed", N(failedJobsHistoryLimit));
    array_fini(&w.jobs);
}

/* Of a Job only its coming, its end and its going matter. */
static void keys_of_job(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    if (was && now && !cron_job_end(was) == !cron_job_end(now) && obj_deleting(was) == obj_deleting(now) &&
        val_equal(obj_controller(was), obj_controller(now)))
        return;
    keys_of_controller(v, was, now, K(CronJob), add, arg);
}

static bool same_text(const struct obj *a, const struct obj *b, const struct name *name)
{
    return str_eq(val_text_at(obj_spec(a), name), val_text_at(obj_spec(b), name));
}

/* That the schedule was changed. */
static void signs_of_edit(const struct view *v UNUSED, const struct obj *was, const struct obj *now, keys_add_fn *add,
                          void *arg)
{
    if (was && now && same_text(was, now, N(schedule)) && same_text(was, now, N(timeZone)))
        return;
    if (was)
        add(arg, was->ns, was->name);
}

static const struct controller_watch watches[] = {{K(CronJob), keys_self}, {K(Job), keys_of_job}, {0}};
const struct controller cronjob_controller = {
    .name = "cronjob",
    .component = "cronjob-controller",
    .account = "cronjob-controller",
    .watches = watches,
    .sign = K(CronJob),
    .signs = signs_of_edit,
    .plan = cronjob_plan,
};
