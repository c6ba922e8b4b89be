/* Jobs over the fake API, with pods that end as they like, calls that fail, answers that are lost, and controllers
 * that are killed: what a Job promises is looked at after every write. */
#include "api/codec.h"
#include "control/job_int.h"
#include "control/world_test.h"
#include "sys/loop.h"

/* What has truly become of the pods of the one Job, told from every write. */
struct truth {
    struct map ended; /* uid -> how, of those that had the finalizer then */
    int64_t succeeded, failed;
    size_t job_writes;
    int64_t parallelism, completions; /* the most that was asked for so far */
    int64_t least;                    /* completions: an index from there on was beyond them for a while */
};
static struct truth truth;
static char succeeded_mark, failed_mark;

static struct obj *job_get(struct world *w)
{
    return fake_get(w->api, K(Job), S("default"), S("j"));
}

static int64_t job_num(struct world *w, const struct name *name)
{
    return val_num_at(obj_status(job_get(w)), 0, name);
}

static size_t job_listed(struct world *w, const struct name *list)
{
    return val_len(val_at(obj_status(job_get(w)), N(uncountedTerminatedPods), list));
}

static bool is_listed(struct world *w, struct str uid)
{
    const struct name *const lists[] = {N(succeeded), N(failed)};
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (it, val_at(obj_status(job_get(w)), N(uncountedTerminatedPods), lists[i]))
            if (str_eq(val_text(it), uid))
                return true;
    return false;
}

static bool index_is_done(struct world *w, const struct obj *pod)
{
    AUTO(arena_fini) struct arena a = ARENA;
    return indexes_have(indexes_parse(&a, val_text_at(obj_status(job_get(w)), N(completedIndexes)), INT32_MAX),
                        pod_index_of(pod));
}

static bool replaces_only_failed(struct world *w)
{
    return str_eqz(val_text_at(obj_spec(job_get(w)), N(podReplacementPolicy)), "Failed");
}

/* The end of a pod counts if it was tracked then; who is told to go has failed where that is the policy. */
static void end_note(struct world *w, const struct obj *was, const struct obj *now)
{
    bool over = pod_is_over(now) || (obj_deleting(now) && !replaces_only_failed(w));
    if (!over || !pod_is_tracked(now) || map_get(&truth.ended, now->uid))
        return;
    bool good = str_eqz(val_text_at(obj_status(now), N(phase)), "Succeeded");
    (void)was;
    (void)map_put(&truth.ended, now->uid, good ? &succeeded_mark : &failed_mark);
    truth.succeeded += good;
    truth.failed += !good;
}

/* The finalizer goes when its end stands in status, or from one that is let go while it runs. */
static void untrack_check(struct world *w, const struct obj *was, const struct obj *now)
{
    struct obj *job = job_get(w);
    if (!was || !pod_is_tracked(was) || (now && pod_is_tracked(now)) || !job || obj_deleting(job))
        return;
    if (!pod_is_over(was) && !(obj_deleting(was) && !replaces_only_failed(w)))
        return;
    bool met = job_condition_is(job, "SuccessCriteriaMet"); /* whoever is stopped then counts as nothing */
    if (!is_listed(w, was->uid) && !index_is_done(w, was) && !met && pod_index_of(was) < truth.least)
        test_failed(__FILE__, __LINE__, "pod " STR_FMT " lost its finalizer and is not counted", STR_ARG(was->name));
}

static void pods_check(struct world *w)
{
    bool only_failed = replaces_only_failed(w);
    int64_t live = 0;
    struct obj *pod;
    AUTO(map_fini) struct map indexes = MAP;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (pod = objset_next(&it));) {
        if (pod_is_over(pod) || (obj_deleting(pod) && !only_failed))
            continue;
        live++;
        struct str index = val_text(val_get_str(obj_labels(pod), S("batch.kubernetes.io/job-completion-index")));
        if (index.n > 0 && map_put(&indexes, index, pod))
            test_failed(__FILE__, __LINE__, "two pods of index " STR_FMT, STR_ARG(index));
    }
    if (live > truth.parallelism)
        test_failed(__FILE__, __LINE__, "%lld pods run, %lld may", (long long)live, (long long)truth.parallelism);
}

static void counts_check(struct world *w)
{
    int64_t good = job_num(w, N(succeeded)) + (int64_t)job_listed(w, N(succeeded));
    int64_t bad = job_num(w, N(failed)) + (int64_t)job_listed(w, N(failed));
    if (good > MIN(truth.succeeded, truth.completions))
        test_failed(__FILE__, __LINE__, "%lld successes are counted: %lld pods have succeeded, %lld shall",
                    (long long)good, (long long)truth.succeeded, (long long)truth.completions);
    if (bad > truth.failed)
        test_failed(__FILE__, __LINE__, "%lld failures are counted, %lld pods have failed", (long long)bad,
                    (long long)truth.failed);
}

static void job_written(struct world *w, const struct obj *was, const struct obj *now)
{
    const struct obj *o = now ? now : was;
    if (!job_get(w) || (o->kind != K(Pod) && o->kind != K(Job)))
        return;
    truth.parallelism = MAX(truth.parallelism, val_num_at(obj_spec(job_get(w)), 1, N(parallelism)));
    truth.completions = MAX(truth.completions, val_num_at(obj_spec(job_get(w)), INT64_MAX, N(completions)));
    truth.least = MIN(truth.least, val_num_at(obj_spec(job_get(w)), INT64_MAX, N(completions)));
    truth.job_writes += o->kind == K(Job);
    if (o->kind == K(Pod)) {
        if (now)
            end_note(w, was, now);
        untrack_check(w, was, now);
        pods_check(w);
    }
    counts_check(w);
}

/* A function of the pod alone, as a program's end mostly is: one in four fails. */
static int fate_mixed(struct world *w, const struct obj *pod)
{
    (void)w;
    return stable_hash(pod->name, 7) % 4 == 0;
}
static int fate_good(struct world *w, const struct obj *pod)
{
    (void)w, (void)pod;
    return 0;
}
static int fate_bad(struct world *w, const struct obj *pod)
{
    (void)w, (void)pod;
    return 1;
}
static int fate_none(struct world *w, const struct obj *pod)
{
    (void)w, (void)pod;
    return -1;
}

#define JOB(spec)                                                                                                    \
    "{apiVersion: batch/v1, kind: Job, metadata: {name: j, uid: uid-j}, spec: {" spec                                \
    "selector: {matchLabels: {batch.kubernetes.io/controller-uid: uid-j}}, template: {metadata: {labels: "           \
    "{batch.kubernetes.io/controller-uid: uid-j}}, spec: {restartPolicy: Never, containers: [{name: c, image: "      \
    "i}]}}}}"

static void jobs_begin(struct world *w, uint64_t seed, int (*fate)(struct world *w, const struct obj *pod),
                       const char *job)
{
    map_fini(&truth.ended);
    truth = (struct truth){.least = INT64_MAX};
    world_init(w, seed, 5 * NS_PER_MS);
    w->fate = fate;
    w->written = job_written;
    world_node(w, "n1", "64");
    world_node(w, "n2", "64");
    world_put(w, job);
    world_start(w);
}

static bool is_over(struct world *w)
{
    return job_is_finished(job_get(w));
}

/* Every end that was tracked is counted, none twice. */
static void all_counted(struct world *w)
{
    struct obj *job = job_get(w), *pod;
    CHECK_INT(job_listed(w, N(succeeded)) + job_listed(w, N(failed)), 0);
    CHECK_INT(job_num(w, N(succeeded)), truth.succeeded);
    if (!val_get(obj_spec(job), N(backoffLimitPerIndex)))
        CHECK_INT(job_num(w, N(failed)), truth.failed);
    CHECK_INT(job_num(w, N(active)) + job_num(w, N(terminating)), 0);
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (pod = objset_next(&it));)
        CHECK(!pod_is_tracked(pod));
}

static void jobs_end(struct world *w)
{
    w->written = NULL;
    map_fini(&truth.ended);
    world_fini(w);
}

TEST(a_job_of_one_pod_takes_few_writes)
{
    struct world w;
    jobs_begin(&w, 1, fate_good, JOB(""));
    world_run(&w, is_over, 60 * NS_PER_S);
    CHECK(job_condition_is(job_get(&w), "Complete"));
    all_counted(&w);
    CHECK_INT(truth.job_writes, 5); /* made, active, ready, succeeded but not counted, complete */
    world_run_for(&w, NS_PER_S);
    CHECK_INT(world_events(&w, "SuccessfulCreate"), 1);
    CHECK_INT(world_events(&w, "Completed"), 1);
    size_t writes = fake_writes(w.api) - w.renewals;
    world_run_for(&w, 600 * NS_PER_S);
    CHECK_INT(fake_writes(w.api) - w.renewals, writes);
    CHECK(manager_idle(w.manager));
    jobs_end(&w);
}

static const char *const shapes[] = {
    JOB("completions: 12, parallelism: 4, backoffLimit: 100, "),
    JOB("completions: 12, parallelism: 4, backoffLimit: 100, podReplacementPolicy: Failed, "),
    JOB("completionMode: Indexed, completions: 10, parallelism: 4, backoffLimit: 100, "),
    JOB("completionMode: Indexed, completions: 10, parallelism: 4, backoffLimit: 100, podReplacementPolicy: "
        "Failed, "),
    JOB("completionMode: Indexed, completions: 10, parallelism: 3, backoffLimitPerIndex: 3, "),
    JOB("completionMode: Indexed, completions: 10, parallelism: 5, backoffLimitPerIndex: 1, maxFailedIndexes: 9, "
        "podReplacementPolicy: Failed, "),
    JOB("completions: 9, parallelism: 3, backoffLimit: 2, "),
    JOB("parallelism: 3, backoffLimit: 100, "),
    JOB("completionMode: Indexed, completions: 12, parallelism: 3, backoffLimit: 100, successPolicy: {rules: "
        "[{succeededCount: 5}]}, "),
};

static void delete_some_pod(struct world *w)
{
    size_t n = objset_len(fake_set(w->api, K(Pod)));
    struct obj *pod;
    uint64_t which = n ? random_below(n) : 0;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (pod = objset_next(&it));)
        if (which-- == 0)
            break;
    if (!pod)
        return;
    AUTO_FREE char *name = str_dupz(pod->name);
    struct call c = {0};
    struct err err = ERR;
    struct call_options o = CALL_OPTIONS(.verb = CALL_DELETE, .kind = K(Pod), .ns = S("default"),
                                         .name = str_of(name));
    if (!call_run(&c, w->api, &o, &err))
        CHECK(err.kind == E_NOT_FOUND || err.kind == E_UNAVAILABLE);
    call_fini(&c);
}

/* A node is deleted, or comes (again). */
static void node_flips(struct world *w)
{
    if (fake_get(w->api, K(Node), S(""), S("n2")))
        fake_remove(w->api, K(Node), S(""), S("n2"));
    else
        world_node(w, "n2", "64");
}

static void one_fault(struct world *w)
{
    switch (random_below(7)) {
    case 0: fake_cut(w->api); break;
    case 1: fake_fail(w->api, 3, E_UNAVAILABLE); break;
    case 2: fake_lose(w->api, 3); break;
    case 3: world_restart(w); break;
    case 4: delete_some_pod(w); break;
    case 5: node_flips(w); break;
    default: fake_compact(w->api);
    }
}

TEST(no_end_is_lost_or_counted_twice_whatever_fails)
{
    for (uint64_t seed = 1; seed <= 6 * countof(shapes); seed++) {
        struct world w;
        jobs_begin(&w, seed, fate_mixed, shapes[seed % countof(shapes)]);
        for (int i = 0; i < 25 && !is_over(&w); i++) {
            world_run_for(&w, (int64_t)random_below(80) * NS_PER_MS);
            one_fault(&w);
        }
        world_run(&w, is_over, 40000 * NS_PER_S);
        if (!val_get(obj_spec(job_get(&w)), N(successPolicy)))
            all_counted(&w);
        jobs_end(&w);
    }
}

static bool is_suspended(struct world *w)
{
    return is_over(w) || (job_condition_is(job_get(w), "Suspended") && job_num(w, N(active)) == 0 &&
                          job_num(w, N(terminating)) == 0);
}

TEST(suspended_and_resumed_whenever_it_comes)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world w;
        jobs_begin(&w, seed, fate_mixed, shapes[seed % 4]);
        for (int i = 0; i < 5 && !is_over(&w); i++) {
            world_run_for(&w, (int64_t)random_below(100) * NS_PER_MS);
            if (is_over(&w))
                break;
            world_patch(&w, K(Job), "j", "", "{spec: {suspend: true}}");
            if (random_below(2))
                world_run(&w, is_suspended, 60 * NS_PER_S);
            else
                world_run_for(&w, (int64_t)random_below(20) * NS_PER_MS);
            world_patch(&w, K(Job), "j", "", "{spec: {suspend: false}}");
        }
        world_run(&w, is_over, 40000 * NS_PER_S);
        all_counted(&w);
        jobs_end(&w);
    }
}

TEST(an_indexed_job_is_made_larger_and_smaller)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world w;
        AUTO(arena_fini) struct arena a = ARENA;
        int size = 6;
        jobs_begin(&w, seed, fate_mixed,
                   JOB("completionMode: Indexed, completions: 6, parallelism: 6, backoffLimit: 100, "));
        for (int i = 0; i < 6 && !is_over(&w); i++) {
            world_run_for(&w, (int64_t)random_below(60) * NS_PER_MS);
            if (job_condition_is(job_get(&w), "SuccessCriteriaMet")) /* nothing turns that round */
                break;
            size = 1 + (int)random_below(12);
            world_patch(&w, K(Job), "j", "",
                        arena_fmt(&a, "{spec: {completions: %d, parallelism: %d}}", size, size).p);
            if (random_below(3) == 0)
                world_restart(&w);
        }
        world_run(&w, is_over, 40000 * NS_PER_S);
        struct str done = val_text_at(obj_status(job_get(&w)), N(completedIndexes));
        CHECK_INT(indexes_total(indexes_parse(&a, done, INT32_MAX)), size);
        CHECK_INT(job_num(&w, N(succeeded)), size);
        jobs_end(&w);
    }
}

static bool nothing_left(struct world *w)
{
    return !job_get(w) && objset_len(fake_set(w->api, K(Pod))) == 0;
}

static void delete_job(struct world *w, enum propagation_policy policy)
{
    struct call c = {0};
    struct err err = ERR;
    struct call_options o = CALL_OPTIONS(.verb = CALL_DELETE, .kind = K(Job), .ns = S("default"), .name = S("j"),
                                         .propagation = policy);
    CHECK_OK(call_run(&c, w->api, &o, &err), err);
    call_fini(&c);
}

TEST(a_job_goes_with_its_pods_and_leaves_no_finalizer)
{
    const enum propagation_policy policies[] = {PROPAGATION_BACKGROUND, PROPAGATION_FOREGROUND};
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct world w;
        jobs_begin(&w, seed, seed % 3 ? fate_mixed : fate_none,
                   JOB("parallelism: 4, completions: 20, backoffLimit: 99, "));
        world_run_for(&w, (int64_t)random_below(300) * NS_PER_MS);
        if (seed % 4 == 3)
            world_restart(&w);
        delete_job(&w, policies[seed % 2]);
        world_run(&w, nothing_left, 600 * NS_PER_S);
        jobs_end(&w);
    }
}

static bool job_is_gone(struct world *w)
{
    return !job_get(w);
}

TEST(orphans_of_a_job_run_on_without_its_finalizer)
{
    struct world w;
    struct obj *pod;
    jobs_begin(&w, 3, fate_none, JOB("parallelism: 4, "));
    world_run_for(&w, NS_PER_S);
    delete_job(&w, PROPAGATION_ORPHAN);
    world_run(&w, job_is_gone, 60 * NS_PER_S);
    world_run_for(&w, NS_PER_S);
    CHECK_INT(objset_len(fake_set(w.api, K(Pod))), 4);
    for (struct objset_iter it = objset_all(fake_set(w.api, K(Pod))); (pod = objset_next(&it));)
        CHECK(!pod_is_tracked(pod) && pod_is_active(pod));
    jobs_end(&w);
}

TEST(a_job_that_is_over_goes_when_its_time_is_over)
{
    struct world w;
    jobs_begin(&w, 4, fate_good, JOB("ttlSecondsAfterFinished: 100, "));
    world_run(&w, is_over, 60 * NS_PER_S);
    world_restart(&w);
    world_run_for(&w, 95 * NS_PER_S);
    CHECK(job_get(&w) != NULL);
    world_run(&w, nothing_left, 20 * NS_PER_S);
    jobs_end(&w);
}

TEST(a_pod_that_fails_each_time_is_made_ever_more_seldom)
{
    struct world w;
    jobs_begin(&w, 5, fate_bad, JOB("backoffLimit: 3, "));
    int64_t begin = clock_mono();
    world_run_for(&w, 5 * NS_PER_S);
    world_restart(&w); /* what was waited for is waited for on */
    world_run(&w, is_over, 600 * NS_PER_S);
    int64_t took = clock_mono() - begin; /* 10 s, 20 s, 40 s */
    CHECK(took > 69 * NS_PER_S && took < 76 * NS_PER_S);
    CHECK(job_condition_is(job_get(&w), "Failed"));
    CHECK_INT(job_num(&w, N(failed)), 4);
    all_counted(&w);
    jobs_end(&w);
}

static size_t plans;
static struct controller counted;
static void plan_counted(const struct view *v, struct key key, struct plan *out)
{
    plans++;
    counted.plan(v, key, out);
}

/* How many plans and writes one Job's life takes beside so many that are over. */
static void life_beside(size_t others, size_t *made_plans, size_t *writes)
{
    struct world w;
    jobs_begin(&w, 6, fate_good, JOB("parallelism: 2, completions: 2, "));
    manager_free(w.manager);
    extern const struct controller job_controller, joborphans_controller, jobttl_controller;
    counted = job_controller;
    struct controller row = job_controller;
    row.plan = plan_counted;
    const struct controller *const rows[] = {&row, &joborphans_controller, &jobttl_controller, NULL};
    struct manager_options m = {.transport = w.api, .schedule = true, .controllers = rows};
    w.manager = manager_new(&m);
    w.written = NULL;
    for (size_t i = 0; i < others; i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        world_put(&w, arena_fmt(&a,
                                "{apiVersion: batch/v1, kind: Job, metadata: {name: old-%zu, uid: old-%zu}, spec: {"
                                "selector: {matchLabels: {batch.kubernetes.io/controller-uid: old-%zu}}, template: "
                                "{metadata: {labels: {batch.kubernetes.io/controller-uid: old-%zu}}, spec: "
                                "{restartPolicy: Never, containers: [{name: c, image: i}]}}}, status: {conditions: "
                                "[{type: Complete, status: 'True'}]}}",
                                i, i, i, i)
                          .p);
    }
    size_t before = fake_writes(w.api) - w.renewals;
    plans = 0;
    manager_start(w.manager);
    world_run(&w, is_over, 60 * NS_PER_S);
    *writes = fake_writes(w.api) - w.renewals - before;
    *made_plans = plans - others; /* each is looked at once when the controllers start */
    jobs_end(&w);
}

TEST(a_job_costs_the_same_among_many)
{
    size_t few_plans, few_writes, many_plans, many_writes;
    life_beside(10, &few_plans, &few_writes);
    life_beside(2000, &many_plans, &many_writes);
    CHECK_INT(many_plans, few_plans);
    CHECK_INT(many_writes, few_writes);
}
