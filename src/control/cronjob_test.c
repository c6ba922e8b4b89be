/* CronJobs over the fake API: of one time no two Jobs are ever made, with Forbid no two ever run, whatever fails and
 * whichever way the clock is set. */
#include "base/array.h"
#include "control/cronjob.h"
#include "control/world_test.h"
#include "sys/loop.h"

#define MINUTE (60 * NS_PER_S)

/* What was ever made, and with what faults. */
struct cron_seen {
    struct map names; /* of Jobs, ever */
    size_t doubles, most_active;
    bool forbid;
};
static struct cron_seen *seen; /* of the test that runs: each is a process of its own */

static bool of_cron(const struct obj *job)
{
    return obj_controller(job) != NULL;
}

/* uid by name: a Job that comes again under its name is another. */
static void jobs_check(struct world *w)
{
    struct obj *job;
    size_t active = 0;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Job))); (job = objset_next(&it));) {
        if (!of_cron(job))
            continue;
        struct str uid = str_of(map_get(&seen->names, job->name));
        if (uid.n == 0)
            (void)map_put(&seen->names, job->name, str_dupz(job->uid)); /* none was there */
        else if (!str_eq(uid, job->uid))
            test_failed(__FILE__, __LINE__, "%.*s was made twice", STR_ARG(job->name));
        active += !cron_job_end(job);
    }
    seen->most_active = MAX(seen->most_active, active);
    if (seen->forbid && active > 1)
        test_failed(__FILE__, __LINE__, "%zu Jobs run at once", active);
}

static void cron_begin(struct world *w, uint64_t seed, const char *spec, struct cron_seen *s)
{
    AUTO(arena_fini) struct arena a = ARENA;
    seen = s;
    world_init(w, seed, 5 * NS_PER_MS);
    w->check = jobs_check;
    world_put(w,
              arena_fmt(&a,
                        "{apiVersion: batch/v1, kind: CronJob, metadata: {name: tick, generation: 1, "
                        "creationTimestamp: '2026-01-01T00:00:00Z'}, spec: {schedule: '* * * * *', "
                        "successfulJobsHistoryLimit: 3, failedJobsHistoryLimit: 1, %s jobTemplate: {spec: {suspend: "
                        "true, template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}}}",
                        spec)
                  .p);
    world_start(w);
}

static void cron_end(struct world *w)
{
    w->check = NULL;
    world_fini(w);
    map_each (it, &seen->names)
        mem_free(it->value);
    map_fini(&seen->names);
}

/* The oldest Job that runs ends so. */
static void job_finish(struct world *w, const char *type)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct obj *job, *first = NULL;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Job))); (job = objset_next(&it));)
        if (!cron_job_end(job) && !obj_deleting(job) && (!first || str_cmp(job->name, first->name) < 0))
            first = job;
    if (!first)
        return;
    struct val tree = val_copy(&a, &first->tree), condition = val_map();
    struct val *status = val_need_map(&a, &tree, N(status));
    val_set_text(&a, &condition, N(type), str_of(type));
    val_set_text(&a, &condition, N(status), S("True"));
    struct val *list = val_set(&a, status, N(conditions), val_list());
    val_add(&a, list, condition);
    if (str_eqz(S("Complete"), type))
        val_set(&a, status, N(completionTime), val_str(&a, time_text(&a, clock_real())));
    fake_put(w->api, K(Job), &tree);
}

static struct obj *cron_get(struct world *w)
{
    return fake_get(w->api, K(CronJob), S("default"), S("tick"));
}

static size_t jobs_ever(void)
{
    return map_len(&seen->names);
}

TEST(cron_jobs_start_every_minute_and_history_is_kept)
{
    struct world w;
    struct cron_seen s = {.names = MAP};
    cron_begin(&w, 1, "", &s);
    for (int i = 0; i < 10; i++) {
        world_run_for(&w, MINUTE);
        job_finish(&w, i % 4 == 3 ? "Failed" : "Complete");
    }
    world_run_for(&w, NS_PER_S);
    CHECK(jobs_ever() >= 9 && jobs_ever() <= 11);
    CHECK(objset_len(fake_set(w.api, K(Job))) <= 5);
    CHECK(val_text_at(obj_status(cron_get(&w)), N(lastSuccessfulTime)).n > 0);
    CHECK_INT(world_events(&w, "SuccessfulCreate"), (int64_t)jobs_ever());
    CHECK_INT(world_events(&w, "UnexpectedJob") + world_events(&w, "MissingJob"), 0);
    cron_end(&w);
}

TEST(cron_jobs_start_within_a_tenth_of_a_second)
{
    struct world w;
    struct cron_seen s = {.names = MAP};
    cron_begin(&w, 2, "", &s);
    for (int i = 0; i < 5; i++) {
        int64_t due = (clock_real() / MINUTE + 1) * MINUTE;
        size_t before = jobs_ever();
        world_run_for(&w, due - clock_real() - NS_PER_MS);
        CHECK_INT(jobs_ever(), before);
        world_run_for(&w, 100 * NS_PER_MS);
        CHECK_INT(jobs_ever(), before + 1);
    }
    cron_end(&w);
}

static void faults_and_clocks(uint64_t seed, const char *spec, bool forbid)
{
    struct world w;
    struct cron_seen s = {.names = MAP, .forbid = forbid};
    cron_begin(&w, seed, spec, &s);
    for (int i = 0; i < 60; i++) {
        world_run_for(&w, (int64_t)random_below(40) * NS_PER_S);
        switch (random_below(8)) {
        case 0: fake_cut(w.api); break;
        case 1: fake_fail(w.api, 3, E_UNAVAILABLE); break;
        case 2: fake_compact(w.api); break;
        case 3: loop_simulate_sleep(w.loop, (int64_t)random_below(300) * NS_PER_S, true); break;
        case 4: loop_simulate_sleep(w.loop, -(int64_t)random_below(180) * NS_PER_S, true); break;
        case 5: job_finish(&w, "Failed"); break;
        default: job_finish(&w, "Complete");
        }
    }
    world_run_for(&w, 10 * MINUTE); /* whatever it was, it goes on */
    size_t before = jobs_ever();
    for (int i = 0; i < 5; i++) {
        job_finish(&w, "Complete");
        job_finish(&w, "Complete");
        world_run_for(&w, 2 * MINUTE);
    }
    CHECK(jobs_ever() > before);
    cron_end(&w);
}

TEST(cron_jobs_of_one_time_are_one_whatever_fails)
{
    for (uint64_t seed = 1; seed <= 6; seed++)
        faults_and_clocks(seed, "", false);
}

TEST(cron_jobs_that_forbid_never_run_beside_each_other)
{
    for (uint64_t seed = 1; seed <= 6; seed++)
        faults_and_clocks(100 + seed, "concurrencyPolicy: Forbid,", true);
}

TEST(cron_jobs_that_replace_go_on)
{
    for (uint64_t seed = 1; seed <= 6; seed++)
        faults_and_clocks(200 + seed, "concurrencyPolicy: Replace,", false);
}

TEST(cron_a_clock_set_back_an_hour_starts_nothing_twice)
{
    struct world w;
    struct cron_seen s = {.names = MAP};
    cron_begin(&w, 7, "", &s);
    world_node(&w, "n1", "8");
    world_run_for(&w, 5 * MINUTE + NS_PER_S);
    size_t before = jobs_ever();
    CHECK(before >= 5);
    loop_simulate_sleep(w.loop, -3600 * NS_PER_S, true);
    world_run_for(&w, 50 * MINUTE);
    CHECK_INT(jobs_ever(), before);
    CHECK(world_events(&w, "ClockSetBack") >= 1);
    world_run_for(&w, 15 * MINUTE);
    CHECK(jobs_ever() > before);
    cron_end(&w);
}

TEST(cron_a_clock_set_forward_is_noticed)
{
    struct world w;
    struct cron_seen s = {.names = MAP};
    cron_begin(&w, 8, "", &s);
    world_patch(&w, K(CronJob), "tick", "", "{spec: {schedule: '0 * * * *'}}");
    world_run_for(&w, NS_PER_S);
    loop_simulate_sleep(w.loop, 3600 * NS_PER_S, true); /* suspended */
    manager_clock_set(w.manager);
    world_run_for(&w, NS_PER_S);
    CHECK_INT(jobs_ever(), 1);
    cron_end(&w);
}

TEST(cron_nothing_is_written_between_two_times)
{
    struct world w;
    struct cron_seen s = {.names = MAP};
    cron_begin(&w, 9, "", &s);
    world_run_for(&w, 2 * MINUTE + 5 * NS_PER_S);
    world_patch(&w, K(CronJob), "tick", "", "{spec: {schedule: '0 0 1 1 *'}}");
    job_finish(&w, "Complete");
    job_finish(&w, "Complete");
    world_run_for(&w, 10 * NS_PER_S);
    size_t writes = fake_writes(w.api) - w.renewals;
    world_run_for(&w, 24 * 60 * MINUTE);
    CHECK_INT(fake_writes(w.api) - w.renewals, writes);
    CHECK(manager_idle(w.manager));
    cron_end(&w);
}
