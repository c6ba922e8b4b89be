/* Preemption over the fake API: what one sees of it, and what holds at every write whatever happens in between. */
#include "api/placement.h"
#include "api/usage.h"
#include "control/pods.h"
#include "control/world_test.h"

static struct obj *pod_at(struct world *w, const char *name)
{
    return fake_get(w->api, K(Pod), S("default"), str_of(name));
}

static struct str pod_place(struct world *w, const char *name)
{
    struct obj *pod = pod_at(w, name);
    return pod ? pod_node(pod) : S("");
}

static void pod_make(struct world *w, const char *name, int priority, const char *cpu, const char *more)
{
    AUTO(arena_fini) struct arena a = ARENA;
    world_put(w,
              arena_fmt(&a,
                        "{apiVersion: v1, kind: Pod, metadata: {name: %s, generation: 1, labels: {app: %s}}, spec: "
                        "{priority: %d, schedulerName: default-scheduler, terminationGracePeriodSeconds: 30, "
                        "containers: [{name: c, image: i, resources: {requests: {cpu: '%s'}}}]%s}}",
                        name, name, priority, cpu, more)
                  .p);
}

TEST(a_pod_takes_the_place_of_a_less_important_one)
{
    struct world w;
    world_init(&w, 80, 2 * NS_PER_MS);
    w.stop_ns = 20 * NS_PER_S; /* by chance, up to that */
    world_node(&w, "n1", "2");
    world_start(&w);
    pod_make(&w, "low", 0, "1500m", "");
    world_run_for(&w, NS_PER_S);
    CHECK_STR(pod_place(&w, "low"), S("n1"));
    pod_make(&w, "high", 1000, "1500m", "");
    world_run_for(&w, 100 * NS_PER_MS);
    const struct val *c = condition_get(obj_status(pod_at(&w, "low")), "DisruptionTarget");
    CHECK_STR(val_text_at(c, N(reason)), S("PreemptionByScheduler"));
    CHECK_STR(val_text_at(c, N(message)), S("default-scheduler: preempting to accommodate a higher priority pod"));
    CHECK(obj_deleting(pod_at(&w, "low")));
    CHECK_STR(val_text_at(obj_status(pod_at(&w, "high")), N(nominatedNodeName)), S("n1"));
    CHECK_STR(val_text_at(condition_get(obj_status(pod_at(&w, "high")), "PodScheduled"), N(message)),
              S("0/1 nodes are available: 1 Insufficient cpu."));
    CHECK_INT(world_events(&w, "Preempted"), 1);
    CHECK_INT(world_events(&w, "FailedScheduling"), 1);
    world_run_for(&w, 30 * NS_PER_S);
    CHECK(!pod_at(&w, "low"));
    CHECK_STR(pod_place(&w, "high"), S("n1"));
    CHECK_INT(world_events(&w, "FailedScheduling"), 1); /* it was waited for, not asked again */
    world_fini(&w);
}

/* ---- at random ---- */

static int64_t pod_cpu(const struct obj *pod)
{
    return pod_request(pod, S("cpu"), POD_OVERHEAD);
}

static int64_t pod_rank(const struct obj *pod)
{
    return val_num_at(obj_spec(pod), 0, N(priority));
}

static bool is_victim(const struct obj *pod)
{
    const struct val *c = condition_get(obj_status(pod), "DisruptionTarget");
    return str_eqz(val_text_at(c, N(reason)), "PreemptionByScheduler");
}

static bool is_guarded(const struct obj *pod)
{
    return val_get_str(obj_labels(pod), S("guarded")) != NULL;
}

/* Somebody more important is known to be coming to its node. */
static bool somebody_comes(struct world *w, const struct obj *victim)
{
    struct obj *pod;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (pod = objset_next(&it));)
        if (pod_rank(pod) > pod_rank(victim) &&
            (str_eq(val_text_at(obj_status(pod), N(nominatedNodeName)), pod_node(victim)) ||
             str_eq(pod_node(pod), pod_node(victim))))
            return true;
    return false;
}

static int64_t guarded_alive(struct world *w)
{
    struct obj *pod;
    int64_t n = 0;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (pod = objset_next(&it));)
        n += is_guarded(pod) && !obj_deleting(pod);
    return n;
}

static int64_t guarded_least; /* as their budget has it */
static struct map told;       /* victims that were looked at, by uid */

static void preemption_holds(struct world *w)
{
    struct obj *pod, *node;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Node))); (node = objset_next(&it));) {
        int64_t used = 0;
        for (struct objset_iter p = objset_all(fake_set(w->api, K(Pod))); (pod = objset_next(&p));)
            used += str_eq(pod_node(pod), node->name) ? pod_cpu(pod) : 0;
        if (used > resource_amount(val_get(obj_status(node), N(allocatable)), S("cpu")))
            test_failed(__FILE__, __LINE__, STR_FMT " is overfull: %lld", STR_ARG(node->name), (long long)used);
    }
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (pod = objset_next(&it));)
        if (is_victim(pod) && !map_put(&told, pod->uid, &told) && !somebody_comes(w, pod))
            test_failed(__FILE__, __LINE__, STR_FMT " is a victim, and nobody more important comes",
                        STR_ARG(pod->name));
    if (guarded_alive(w) < guarded_least)
        test_failed(__FILE__, __LINE__, "the budget is broken: %lld left", (long long)guarded_alive(w));
}

static bool all_have_nodes(struct world *w)
{
    struct obj *pod;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (pod = objset_next(&it));)
        if (pod_node(pod).n == 0)
            return false;
    return true;
}

static bool all_are_ready(struct world *w)
{
    struct obj *pod;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (pod = objset_next(&it));)
        if (!pod_is_ready(pod))
            return false;
    return true;
}

/* Is it a restart? Then a deletion that was under way may still happen, and be one too many. */
static bool trouble_make(struct world *w, bool restarts)
{
    switch (random_below(8)) {
    case 0: fake_fail(w->api, 1 + (int)random_below(4), E_UNAVAILABLE); break;
    case 1: fake_cut(w->api); break;
    case 2: fake_compact(w->api); break;
    case 3:
        if (!restarts)
            break;
        world_restart(w);
        return true;
    default: break;
    }
    return false;
}

/* Three full nodes, half of each under a budget; what comes is as much as the others make room for. Every victim was
 * needed, none was as important as its preemptor, and the budget holds. */
TEST(victims_are_few_and_right_whatever_happens)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct world w;
        world_init(&w, seed, 5 * NS_PER_MS);
        w.stop_ns = (int64_t)random_below(3) * NS_PER_S;
        int64_t allowed = (int64_t)random_below(3);
        world_put(&w,
                  arena_fmt(&a,
                            "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b, generation: 1}, "
                            "spec: {minAvailable: %lld, selector: {matchExpressions: [{key: guarded, operator: "
                            "Exists}]}}}",
                            (long long)(12 - allowed))
                      .p);
        for (int i = 0; i < 24; i++) {
            bool guarded = i % 2;
            AUTO(arena_fini) struct arena b = ARENA;
            if (i < 3)
                world_node(&w, arena_fmt(&b, "n%d", i).p, "8");
            pod_make(&w, arena_fmt(&b, "%s%d", guarded ? "guarded" : "low", i).p, (int)random_below(3), "1",
                     arena_fmt(&b, ", nodeName: n%d", i % 3).p);
            if (guarded)
                world_patch(&w, K(Pod), arena_fmt(&b, "guarded%d", i).p, "",
                            "{metadata: {labels: {guarded: 'yes'}}}");
        }
        world_start(&w);
        world_run(&w, all_are_ready, 60 * NS_PER_S);
        world_run_for(&w, NS_PER_S);
        guarded_least = 12 - allowed;
        told = MAP;
        w.check = preemption_holds;
        int restarts = 0;
        for (int i = 0; i < 4; i++) {
            AUTO(arena_fini) struct arena b = ARENA;
            pod_make(&w, arena_fmt(&b, "high%d", i).p, 100 + 100 * (int)random_below(3), "2", "");
            restarts += trouble_make(&w, seed % 2);
            world_run_for(&w, (int64_t)random_below(1500) * NS_PER_MS);
            restarts += trouble_make(&w, seed % 2);
        }
        world_run(&w, all_have_nodes, 120 * NS_PER_S);
        world_run_for(&w, 10 * NS_PER_S);
        struct obj *pod;
        int64_t used = 0;
        for (struct objset_iter it = objset_all(fake_set(w.api, K(Pod))); (pod = objset_next(&it));)
            used += pod_cpu(pod);
        if (used > 24000 || used < 24000 - 2000 * restarts) /* whoever went was needed */
            test_failed(__FILE__, __LINE__, "%lld are used after %d restarts", (long long)used, restarts);
        world_fini(&w);
        map_fini(&told);
    }
}

static bool ranks_are_right(struct world *w)
{
    struct obj *pod;
    int64_t least = INT64_MAX, most = INT64_MIN;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (pod = objset_next(&it));) {
        if (obj_deleting(pod))
            return false;
        if (pod_node(pod).n > 0)
            least = MIN(least, pod_rank(pod));
        else
            most = MAX(most, pod_rank(pod));
    }
    return least >= most;
}

/* Thirty pods of all ranks want twelve places, come and go, and in the end nobody has one whom another outranks; then
 * all is still. */
TEST(in_the_end_the_most_important_ones_have_the_places)
{
    for (uint64_t seed = 100; seed < 120; seed++) {
        struct world w;
        world_init(&w, seed, 5 * NS_PER_MS);
        w.stop_ns = NS_PER_S;
        for (int i = 0; i < 3; i++) {
            AUTO(arena_fini) struct arena a = ARENA;
            world_node(&w, arena_fmt(&a, "n%d", i).p, "4");
        }
        world_start(&w);
        guarded_least = 0;
        w.check = NULL;
        for (int i = 0; i < 30; i++) {
            AUTO(arena_fini) struct arena a = ARENA;
            pod_make(&w, arena_fmt(&a, "p%d", i).p, (int)random_below(6) * 10, "1", "");
            (void)trouble_make(&w, true); /* how often does not matter here */
            world_run_for(&w, (int64_t)random_below(400) * NS_PER_MS);
            struct str name = arena_fmt(&a, "p%d", (int)random_below(30));
            if (i % 3 == 0 && fake_get(w.api, K(Pod), S("default"), name))
                fake_remove(w.api, K(Pod), S("default"), name);
        }
        world_run(&w, ranks_are_right, 120 * NS_PER_S);
        world_run_for(&w, 150 * NS_PER_S); /* what was told to victims of a pod that went is taken back */
        CHECK(ranks_are_right(&w));
        size_t writes = fake_writes(w.api) - w.renewals;
        world_run_for(&w, 60 * NS_PER_S);
        CHECK_INT(fake_writes(w.api) - w.renewals, writes);
        world_fini(&w);
    }
}

TEST(a_nomination_from_outside_is_heeded_and_one_that_fails_is_taken_back)
{
    struct world w;
    world_init(&w, 81, 2 * NS_PER_MS);
    world_node(&w, "n1", "2");
    world_node(&w, "n2", "8");
    world_start(&w);
    pod_make(&w, "big", 0, "9", "");
    world_run_for(&w, NS_PER_S);
    world_patch(&w, K(Pod), "big", "status", "{status: {nominatedNodeName: n1}}");
    world_run_for(&w, 2 * NS_PER_S);
    CHECK_STR(val_text_at(obj_status(pod_at(&w, "big")), N(nominatedNodeName)), S(""));
    pod_make(&w, "small", 0, "1", "}, status: {nominatedNodeName: n1");
    world_run_for(&w, NS_PER_S);
    CHECK_STR(pod_place(&w, "small"), S("n1"));
    world_fini(&w);
}
