/* Rollouts over the fake API: the bounds hold at every write, whatever the order in which things are seen. */
#include "control/deployment.h"
#include "control/pods.h"
#include "control/world_test.h"
#include "sys/loop.h"

#define WEB                                                                                                          \
    "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, generation: 1}, spec: {replicas: 4, selector: "   \
    "{matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: "    \
    "i1}]}}}}"
#define SVC                                                                                                          \
    "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ipFamilies: [IPv4], selector: {app: web}, "       \
    "ports: "                                                                                                        \
    "[{port: 80}]}}"

static struct obj *web_get(struct world *w)
{
    return fake_get(w->api, K(Deployment), S("default"), S("web"));
}

static int64_t web_status(struct world *w, const struct name *name)
{
    return val_num(val_get(obj_status(web_get(w)), name), 0);
}

static int64_t web_wanted(struct world *w)
{
    return val_num_at(obj_spec(web_get(w)), 1, N(replicas));
}

static bool rolled_out(struct world *w)
{
    return web_status(w, N(observedGeneration)) == obj_generation(web_get(w)) &&
           web_status(w, N(updatedReplicas)) == web_wanted(w) && web_status(w, N(replicas)) == web_wanted(w) &&
           web_status(w, N(availableReplicas)) == web_wanted(w);
}

static void web_counts(struct world *w, int64_t *pods, int64_t *available)
{
    struct obj *pod;
    *pods = *available = 0;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (pod = objset_next(&it));) {
        *pods += pod_is_active(pod);
        *available += pod_is_active(pod) && pod_is_ready(pod);
    }
}

static void bounds_hold(struct world *w)
{
    int64_t pods, available, surge, unavailable;
    web_counts(w, &pods, &available);
    deployment_bounds(web_get(w), &surge, &unavailable);
    if (pods > web_wanted(w) + surge)
        test_failed(__FILE__, __LINE__, "%lld pods, %lld + %lld are allowed", (long long)pods,
                    (long long)web_wanted(w), (long long)surge);
    if (available < web_wanted(w) - unavailable)
        test_failed(__FILE__, __LINE__, "%lld pods available, %lld - %lld must be", (long long)available,
                    (long long)web_wanted(w), (long long)unavailable);
}

static void web_begin(struct world *w, uint64_t seed)
{
    world_init(w, seed, 5 * NS_PER_MS);
    world_node(w, "n1", "8");
    world_node(w, "n2", "8");
    world_put(w, SVC);
    world_put(w, WEB);
    world_start(w);
    world_run(w, rolled_out, 60 * NS_PER_S);
}

static void web_image(struct world *w, const char *name)
{
    AUTO(arena_fini) struct arena a = ARENA;
    world_patch(w, K(Deployment), "web", "",
                arena_fmt(&a, "{spec: {template: {spec: {containers: [{name: c, image: %s}]}}}}", name).p);
}

static struct str web_revision(struct world *w)
{
    return val_text(
        val_get_str(val_get(obj_meta(web_get(w)), N(annotations)), S("deployment.kubernetes.io/revision")));
}

static int64_t ready_endpoints(struct world *w)
{
    int64_t n = 0;
    struct obj *o;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(EndpointSlice))); (o = objset_next(&it));)
        val_each_item (e, val_get(&o->tree, N(endpoints)))
            n += val_true(val_at(e, N(conditions), N(ready)));
    return n;
}

TEST(a_deployment_becomes_ready_is_rolled_and_undone)
{
    struct world w;
    web_begin(&w, 1);
    CHECK_STR(web_revision(&w), S("1"));
    CHECK_INT(world_events(&w, "ScalingReplicaSet"), 1);
    CHECK_INT(world_events(&w, "SuccessfulCreate"), 4);
    CHECK_INT(world_events(&w, "Scheduled"), 4);
    web_image(&w, "i2");
    world_run(&w, rolled_out, 60 * NS_PER_S);
    CHECK_STR(web_revision(&w), S("2"));
    CHECK_INT(objset_len(fake_set(w.api, K(ReplicaSet))), 2);
    web_image(&w, "i1"); /* what kubectl rollout undo sends */
    world_run(&w, rolled_out, 60 * NS_PER_S);
    CHECK_STR(web_revision(&w), S("3"));
    CHECK_INT(objset_len(fake_set(w.api, K(ReplicaSet))), 2);
    world_run_for(&w, NS_PER_S);
    CHECK_INT(ready_endpoints(&w), 4);
    CHECK_INT(objset_len(fake_set(w.api, K(Pod))), 4);
    CHECK(condition_is(obj_status(web_get(&w)), "Progressing", "True"));
    CHECK(condition_is(obj_status(web_get(&w)), "Available", "True"));
    world_fini(&w);
}

TEST(nothing_is_written_once_all_is_as_wished)
{
    struct world w;
    web_begin(&w, 2);
    world_run_for(&w, 5 * NS_PER_S);
    size_t writes = fake_writes(w.api) - w.renewals;
    world_run_for(&w, 600 * NS_PER_S);
    CHECK_INT(fake_writes(w.api) - w.renewals, writes);
    CHECK(manager_idle(w.manager));
    world_fini(&w);
}

TEST(surge_and_unavailable_bound_every_moment_of_a_rollout)
{
    static const char *const strategies[] = {
        "{spec: {strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}}}",
        "{spec: {strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}}}",
        "{spec: {strategy: {rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}}}",
        "{spec: {strategy: {rollingUpdate: {maxSurge: 100%, maxUnavailable: 0}}}}",
        "{spec: {strategy: {rollingUpdate: {maxSurge: 3, maxUnavailable: 2}}}}",
    };
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct world w;
        web_begin(&w, seed);
        world_patch(&w, K(Deployment), "web", "", strategies[seed % countof(strategies)]);
        world_run_for(&w, NS_PER_S);
        w.check = bounds_hold;
        static const char *const images[] = {"i2", "i3", "i1", "i4"};
        for (size_t i = 0; i < countof(images); i++) {
            web_image(&w, images[i]);
            world_run_for(&w, (int64_t)random_below(200) * NS_PER_MS); /* the next comes in the middle of it */
        }
        world_run(&w, rolled_out, 120 * NS_PER_S);
        w.check = NULL;
        world_fini(&w);
    }
}

TEST(it_survives_lost_lines_failed_calls_and_compaction)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world w;
        web_begin(&w, 100 + seed);
        w.check = bounds_hold;
        web_image(&w, "i2");
        for (int i = 0; i < 10; i++) {
            world_run_for(&w, (int64_t)random_below(60) * NS_PER_MS);
            world_disturb(&w);
        }
        world_run(&w, rolled_out, 300 * NS_PER_S);
        int64_t pods, available;
        web_counts(&w, &pods, &available);
        CHECK_INT(pods, 4);
        w.check = NULL;
        world_fini(&w);
    }
}

TEST(scaling_up_and_down_makes_no_pod_too_many)
{
    struct world w;
    web_begin(&w, 7);
    static const int sizes[] = {9, 2, 7, 0, 3};
    for (size_t i = 0; i < countof(sizes); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        world_patch(&w, K(Deployment), "web", "", arena_fmt(&a, "{spec: {replicas: %d}}", sizes[i]).p);
        world_run(&w, rolled_out, 60 * NS_PER_S);
        int64_t pods, available;
        web_counts(&w, &pods, &available);
        CHECK_INT(pods, sizes[i]);
        CHECK_INT(available, sizes[i]);
    }
    CHECK_STR(web_revision(&w), S("1"));
    world_fini(&w);
}

static bool all_gone(struct world *w)
{
    return !web_get(w) && objset_len(fake_set(w->api, K(ReplicaSet))) == 0 &&
           objset_len(fake_set(w->api, K(Pod))) == 0;
}

static void delete_web(struct world *w, enum propagation_policy policy)
{
    struct call c = {0};
    struct err err = ERR;
    struct call_options o = CALL_OPTIONS(.verb = CALL_DELETE, .kind = K(Deployment), .ns = S("default"),
                                         .name = S("web"), .propagation = policy);
    CHECK_OK(call_run(&c, w->api, &o, &err), err);
    call_fini(&c);
}

TEST(what_it_owned_goes_with_it)
{
    const enum propagation_policy policies[] = {PROPAGATION_BACKGROUND, PROPAGATION_FOREGROUND};
    for (size_t i = 0; i < countof(policies); i++) {
        struct world w;
        web_begin(&w, 11 + i);
        delete_web(&w, policies[i]);
        world_run(&w, all_gone, 60 * NS_PER_S);
        world_fini(&w);
    }
}

static bool web_is_gone(struct world *w)
{
    return !web_get(w);
}

TEST(orphans_stay_and_are_adopted_again)
{
    struct world w;
    web_begin(&w, 21);
    delete_web(&w, PROPAGATION_ORPHAN);
    world_run(&w, web_is_gone, 60 * NS_PER_S);
    world_run_for(&w, 10 * NS_PER_S);
    CHECK_INT(objset_len(fake_set(w.api, K(ReplicaSet))), 1);
    CHECK_INT(objset_len(fake_set(w.api, K(Pod))), 4);
    world_put(&w, WEB);
    world_run(&w, rolled_out, 60 * NS_PER_S);
    CHECK_INT(objset_len(fake_set(w.api, K(ReplicaSet))), 1);
    world_fini(&w);
}

TEST(recreate_starts_nothing_before_the_old_are_gone)
{
    struct world w;
    web_begin(&w, 31);
    world_patch(&w, K(Deployment), "web", "", "{spec: {strategy: {$retainKeys: [type], type: Recreate}}}");
    world_run_for(&w, NS_PER_S);
    web_image(&w, "i2");
    for (int step = 0; !rolled_out(&w) && step < 100000; step++) {
        struct obj *pod;
        bool old = false, new = false;
        for (struct objset_iter it = objset_all(fake_set(w.api, K(Pod))); (pod = objset_next(&it));) {
            struct str img = val_text_at(val_item(val_get(obj_spec(pod), N(containers)), 0), N(image));
            old |= str_eqz(img, "i1");
            new |= str_eqz(img, "i2");
        }
        CHECK(!(old && new));
        CHECK(loop_run_once(w.loop, NS_PER_S));
    }
    CHECK(rolled_out(&w));
    world_fini(&w);
}

static bool nodes_ready(struct world *w)
{
    struct obj *o;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Node))); (o = objset_next(&it));)
        if (!condition_is(obj_status(o), "Ready", "True"))
            return false;
    return true;
}

static void renew_at(struct world *w, const char *node, int64_t at)
{
    AUTO(arena_fini) struct arena a = ARENA;
    fake_put_yaml(w->api,
                  arena_fmt(&a,
                            "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: %s, namespace: "
                            "kube-node-lease}, spec: {renewTime: '" STR_FMT "'}}",
                            node, STR_ARG(time_text_micro(&a, at))));
}

static void renew_now(struct world *w, const char *node)
{
    renew_at(w, node, clock_real());
}

/* Whoever slept 45 s has heard of nobody for 45 s: that is not the nodes' fault. */
static void sleep_and_judge(bool suspended)
{
    struct world w;
    web_begin(&w, 41);
    for (int n = 0; n < 3; n++) {
        renew_now(&w, "n1"), renew_now(&w, "n2");
        world_run_for(&w, 9 * NS_PER_S);
    }
    loop_simulate_sleep(w.loop, 45 * NS_PER_S, suspended);
    renew_now(&w, "n1"); /* the first one to say so is judged like the other */
    world_run_for(&w, 30 * NS_PER_S);
    CHECK(nodes_ready(&w));
    CHECK_INT(world_events(&w, "NodeNotReady"), 0);
    renew_now(&w, "n1");
    world_run_for(&w, 30 * NS_PER_S); /* but who stays silent is noticed in the end */
    CHECK(!nodes_ready(&w));
    world_fini(&w);
}
TEST(a_server_that_was_stopped_gives_nodes_time_again)
{
    sleep_and_judge(false);
}
TEST(a_machine_that_was_suspended_gives_nodes_time_again)
{
    sleep_and_judge(true);
}
TEST(a_clock_that_is_set_back_hides_no_lost_node)
{
    struct world w;
    web_begin(&w, 41);
    for (int n = 0; n < 6; n++) {
        if (n == 3)
            loop_simulate_sleep(w.loop, -3600 * NS_PER_S, true);
        renew_now(&w, "n1"), renew_now(&w, "n2");
        world_run_for(&w, 9 * NS_PER_S);
    }
    CHECK(nodes_ready(&w));
    world_run_for(&w, 60 * NS_PER_S);
    CHECK(!nodes_ready(&w));
    world_fini(&w);
}

/* A lease that says it is renewed an hour from now tells nothing by that; that it changes does. */
TEST(a_lease_from_the_future_counts_while_it_changes)
{
    struct world w;
    web_begin(&w, 43);
    renew_now(&w, "n1"), renew_now(&w, "n2");
    world_run_for(&w, 9 * NS_PER_S);
    loop_simulate_sleep(w.loop, -3600 * NS_PER_S,
                        true); /* both leases are from the future now, and are not renewed */
    world_run_for(&w, 60 * NS_PER_S);
    CHECK(!nodes_ready(&w));
    world_fini(&w);
    web_begin(&w, 44);
    for (int n = 0; n < 20; n++) { /* of a node whose clock is ahead: renewed all the time */
        renew_at(&w, "n1", clock_real() + 3600 * NS_PER_S), renew_at(&w, "n2", clock_real() - 3600 * NS_PER_S);
        world_run_for(&w, 9 * NS_PER_S);
    }
    CHECK(nodes_ready(&w));
    CHECK_INT(world_events(&w, "NodeNotReady"), 0);
    world_run_for(&w, 60 * NS_PER_S);
    CHECK(!nodes_ready(&w));
    world_fini(&w);
}
