/* DaemonSets over the fake API: at every write no node has a pod too many and no more miss theirs than may, whatever
 * the order in which things are seen; and what a change costs. */
#include "api/codec.h"
#include "base/array.h"
#include "control/daemonset_int.h"
#include "control/plan_test.h"
#include "control/world_test.h"
#include "sys/loop.h"

#define NODES 5
#define AGENT                                                                                                        \
    "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent, generation: 1}, spec: {selector: {matchLabels: " \
    "{app: agent}}, template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: c, image: i1}]}}}}"

static struct obj *agent_get(struct world *w)
{
    return fake_get(w->api, K(DaemonSet), S("default"), S("agent"));
}

static int64_t agent_status(struct world *w, const struct name *name)
{
    return val_num_at(obj_status(agent_get(w)), 0, name);
}

/* On each node that suits it a pod of the newest template, and on no other. */
static bool agents_settled(struct world *w)
{
    int64_t wanted = agent_status(w, N(desiredNumberScheduled));
    size_t pods = 0;
    struct obj *pod;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (pod = objset_next(&it));)
        pods += str_starts(pod->name, S("agent-"));
    return agent_status(w, N(observedGeneration)) == obj_generation(agent_get(w)) && (int64_t)pods == wanted &&
           agent_status(w, N(updatedNumberScheduled)) == wanted && agent_status(w, N(numberAvailable)) == wanted &&
           agent_status(w, N(numberMisscheduled)) == 0;
}

/* Live: neither over nor on its way out. */
static void node_counts(struct world *w, struct str node, int64_t *there, int64_t *live, int64_t *available)
{
    struct obj *pod;
    *there = *live = *available = 0;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Pod))); (pod = objset_next(&it));) {
        if (!str_eq(daemon_node(pod), node) || pod_is_over(pod))
            continue;
        ++*there;
        *live += !obj_deleting(pod);
        *available += !obj_deleting(pod) && pod_is_ready(pod);
    }
}

static void bounds_hold(struct world *w)
{
    int64_t surge, unavailable, missing = 0, there, live, available;
    daemon_bounds(agent_get(w), NODES, &surge, &unavailable);
    for (int i = 0; i < NODES; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        node_counts(w, str_of(name), &there, &live, &available);
        if (live > 1 + (surge > 0) || (surge == 0 && there > 1))
            test_failed(__FILE__, __LINE__, "%s has %lld pods, %lld of them going", name, (long long)there,
                        (long long)(there - live));
        missing += available == 0;
    }
    if (missing > unavailable)
        test_failed(__FILE__, __LINE__, "%lld nodes miss their pods, %lld may", (long long)missing,
                    (long long)unavailable);
}

static void agents_begin(struct world *w, uint64_t seed)
{
    world_init(w, seed, 5 * NS_PER_MS);
    for (int i = 0; i < NODES; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        world_node(w, name, "8");
    }
    world_put(w, AGENT);
    world_start(w);
    world_run(w, agents_settled, 60 * NS_PER_S);
}

static void agent_image(struct world *w, const char *name)
{
    AUTO(arena_fini) struct arena a = ARENA;
    world_patch(w, K(DaemonSet), "agent", "",
                arena_fmt(&a, "{spec: {template: {spec: {containers: [{name: c, image: %s}]}}}}", name).p);
}

TEST(daemons_are_on_every_node_and_go_back)
{
    struct world w;
    agents_begin(&w, 1);
    CHECK_INT(agent_status(&w, N(desiredNumberScheduled)), NODES);
    CHECK_INT(world_events(&w, "SuccessfulCreate"), NODES);
    agent_image(&w, "i2");
    world_run(&w, agents_settled, 60 * NS_PER_S);
    CHECK_INT(objset_len(fake_set(w.api, K(ControllerRevision))), 2);
    agent_image(&w, "i1"); /* what kubectl rollout undo sends */
    world_run(&w, agents_settled, 60 * NS_PER_S);
    CHECK_INT(objset_len(fake_set(w.api, K(ControllerRevision))), 2);
    world_node(&w, "n5", "8");
    world_run_for(&w, NS_PER_S);
    world_run(&w, agents_settled, 60 * NS_PER_S);
    CHECK_INT(agent_status(&w, N(desiredNumberScheduled)), NODES + 1);
    fake_remove(w.api, K(Node), S(""), S("n5"));
    world_run_for(&w, NS_PER_S);
    world_run(&w, agents_settled, 600 * NS_PER_S); /* its pod is taken away by who looks after pods without nodes */
    CHECK_INT(agent_status(&w, N(desiredNumberScheduled)), NODES);
    world_fini(&w);
}

TEST(daemons_roll_within_their_bounds)
{
    static const char *const strategies[] = {
        "{spec: {updateStrategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}}}",
        "{spec: {updateStrategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 50%}}}}",
        "{spec: {updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}}}",
        "{spec: {updateStrategy: {rollingUpdate: {maxSurge: 60%, maxUnavailable: 0}}}}",
    };
    static const char *const images[] = {"i2", "i3", "i1", "i4"};
    for (uint64_t seed = 1; seed <= 24; seed++) {
        struct world w;
        agents_begin(&w, seed);
        world_patch(&w, K(DaemonSet), "agent", "", strategies[seed % countof(strategies)]);
        world_run_for(&w, NS_PER_S);
        w.check = bounds_hold;
        for (size_t i = 0; i < countof(images); i++) {
            agent_image(&w, images[i]);
            world_run_for(&w, (int64_t)random_below(200) * NS_PER_MS); /* the next comes in the middle of it */
        }
        world_run(&w, agents_settled, 120 * NS_PER_S);
        w.check = NULL;
        world_fini(&w);
    }
}

TEST(daemons_survive_lost_lines_failed_calls_and_compaction)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world w;
        agents_begin(&w, 100 + seed);
        w.check = bounds_hold;
        agent_image(&w, "i2");
        for (int i = 0; i < 10; i++) {
            world_run_for(&w, (int64_t)random_below(60) * NS_PER_MS);
            world_disturb(&w);
        }
        world_run(&w, agents_settled, 300 * NS_PER_S);
        w.check = NULL;
        world_fini(&w);
    }
}

/* ---- what a change costs ---- */

static void keys_count(void *arg, struct str ns UNUSED, struct str name UNUSED)
{
    ++*(size_t *)arg;
}

static size_t daemons_concerned(struct fixture *f, const struct kind *k, struct obj *was, struct obj *now)
{
    size_t n = 0;
    for (const struct controller_watch *w = controller_named(S("daemonset"))->watches; w->kind; w++)
        if (w->kind == k)
            w->keys(&f->view, was, now, keys_count, &n);
    return n;
}

static struct obj *node_made(const char *more)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val tree;
    struct str yaml = arena_fmt(&a, "{apiVersion: v1, kind: Node, metadata: {name: n%s", more);
    CHECK_OK(yaml_decode(&a, yaml, &tree, &err), err);
    return obj_new(K(Node), &tree, 1);
}

TEST(daemons_a_change_concerns_whom_it_must)
{
    AUTO(fixture_fini) struct fixture f;
    fixture_init(&f);
    for (int i = 0; i < 100; i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        const char *selector = i < 3 ? ", nodeSelector: {disk: ssd}" : i < 5 ? ", tolerations: [{key: gpu}]" : "";
        fixture_add(&f, arena_fmt(&a,
                                  "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: d%d}, spec: {selector: "
                                  "{matchLabels: {app: d%d}}, template: {metadata: {labels: {app: d%d}}, spec: "
                                  "{containers: [{name: c, image: i}]%s}}}}",
                                  i, i, i, selector));
    }
    AUTO(obj_unref) struct obj *plain = node_made("}, status: {phase: a}}");
    AUTO(obj_unref) struct obj *beats = node_made("}, status: {phase: b}}");
    AUTO(obj_unref) struct obj *named = node_made(", labels: {name: x}}}");
    AUTO(obj_unref) struct obj *fast = node_made(", labels: {disk: ssd}}}");
    AUTO(obj_unref) struct obj *gpu = node_made("}, spec: {taints: [{key: gpu, effect: NoSchedule}]}}");
    AUTO(obj_unref)
    struct obj *sick = node_made("}, spec: {taints: [{key: node.kubernetes.io/not-ready, effect: NoExecute}]}}");
    CHECK_INT(daemons_concerned(&f, K(Node), plain, beats), 0);
    CHECK_INT(daemons_concerned(&f, K(Node), plain, named), 0);
    CHECK_INT(daemons_concerned(&f, K(Node), plain, sick), 0);
    CHECK_INT(daemons_concerned(&f, K(Node), plain, fast), 3);
    CHECK_INT(daemons_concerned(&f, K(Node), NULL, plain), 97);
    CHECK_INT(daemons_concerned(&f, K(Node), plain, NULL), 97);
    fixture_add(&f,
                S("{apiVersion: v1, kind: Pod, metadata: {name: p, labels: {app: d7}, ownerReferences: [{apiVersion: "
                  "apps/v1, kind: DaemonSet, name: d7, uid: u, controller: true}]}, spec: {containers: [{name: c, "
                  "image: i}]}}"));
    struct obj *pod = view_get(&f.view, K(Pod), S("default"), S("p"));
    CHECK_INT(daemons_concerned(&f, K(Pod), NULL, pod), 1);
    CHECK_INT(daemons_concerned(&f, K(Node), plain, gpu), 97 - 2);
}
