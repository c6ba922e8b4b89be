/* Fences over the fake API, whose watches are late at random, and over the kernel in a network of the test's own. */
#include "base/clock.h"
#include "base/test.h"
#include "client/fake.h"
#include "node/agent_int.h"
#include "node/fences.h"
#include "sys/loop.h"
#include <sched.h>
#include <unistd.h>

struct fence_world {
    struct loop *loop;
    struct transport *api;
    struct agent agent;
};

static struct agent_pod *the_released; /* the last one */
static bool was_isolated, was_refused;

static void fence_released(struct agent_pod *ap, const struct err *err)
{
    the_released = ap;
    was_isolated = agent_fence_isolates(ap);
    was_refused = err != NULL;
}

/* False: nobody lets us have a network of our own. */
static bool fence_world_init(struct fence_world *w, int64_t late)
{
    struct err err = ERR;
    if (geteuid() != 0)
        return false;
    CHECK(unshare(CLONE_NEWNET) == 0);
    *w = (struct fence_world){0};
    w->loop = loop_new(&err);
    CHECK_OK(w->loop != NULL, err);
    w->api = fake_new(w->loop, late);
    w->agent.cfg = (struct agent_config){.loop = w->loop,
                                         .transport = w->api,
                                         .name = "n1",
                                         .instance = {"1f3a9"},
                                         .cluster_pods = {IP4(10, 42, 0, 0), 16},
                                         .node_pods = {IP4(10, 42, 0, 0), 24}};
    w->agent.events = events_new(w->api, "kubelet", "n1");
    w->agent.fences = agent_fences_new(&w->agent, &err);
    CHECK_OK(w->agent.fences != NULL, err);
    agent_fences_start(w->agent.fences);
    agent_fences_heard(w->agent.fences);
    return true;
}

static void fence_world_turn(struct fence_world *w, int64_t ns)
{
    for (int64_t end = clock_mono() + ns; clock_mono() < end;)
        (void)loop_run_once(w->loop, NS_PER_MS);
}

static struct agent_pod *pod_comes(struct fence_world *w, const char *name, uint32_t ip)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct obj *o = fake_put_yaml(
        w->api, arena_fmt(&a,
                          "{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: shop, labels: {app: %s}}, "
                          "spec: {nodeName: n1, containers: [{name: c, image: i}]}}",
                          name, name));
    struct agent_pod *ap = NEW(struct agent_pod);
    ap->agent = &w->agent;
    ap->pod = ap->facts = pod_new(o, S("192.0.2.1"), clock_mono(), clock_real());
    ap->ip = ip;
    list_init(&ap->fence_node);
    (void)map_put(&w->agent.by_uid, o->uid, ap);
    agent_fence_expect(ap);
    return ap;
}

static void pod_goes(struct fence_world *w, struct agent_pod *ap)
{
    agent_fence_gone(ap);
    (void)map_del(&w->agent.by_uid, ap->pod->uid);
    pod_free(ap->facts);
    mem_free(ap);
}

static bool pod_waits(struct fence_world *w, struct agent_pod *ap)
{
    the_released = NULL;
    agent_fence_wait(ap, fence_released);
    CHECK(the_released == NULL);
    for (int64_t end = clock_mono() + 10 * NS_PER_S; the_released != ap && clock_mono() < end;)
        (void)loop_run_once(w->loop, NS_PER_MS);
    return the_released == ap && !was_refused;
}

static void policy_comes(struct fence_world *w, const char *app)
{
    AUTO(arena_fini) struct arena a = ARENA;
    (void)fake_put_yaml(
        w->api, arena_fmt(&a,
                          "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: %s, namespace: "
                          "shop}, spec: {podSelector: {matchLabels: {app: %s}}}}",
                          app, app));
}

static void fence_world_fini(struct fence_world *w)
{
    agent_fences_free(w->agent.fences);
    events_free(w->agent.events);
    map_fini(&w->agent.by_uid);
    transport_free(w->api);
    loop_free(w->loop);
}

/* The policy's own watch tells of it up to 30 ms later; the agent has the pod at once. */
TEST(a_pod_waits_for_a_policy_that_was_there_before_it)
{
    struct fence_world w;
    if (!fence_world_init(&w, 30 * NS_PER_MS))
        return;
    fence_world_turn(&w, 100 * NS_PER_MS);
    for (int i = 0; i < 20; i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        const char *name = arena_fmt(&a, "p%d", i).p;
        policy_comes(&w, name);
        struct agent_pod *ap = pod_comes(&w, name, IP4(10, 42, 0, 10));
        CHECK(pod_waits(&w, ap));
        CHECK(was_isolated);
        pod_goes(&w, ap);
    }
    fence_world_fini(&w);
}

TEST(a_pod_that_nothing_isolates_goes_on)
{
    struct fence_world w;
    if (!fence_world_init(&w, NS_PER_MS))
        return;
    struct agent_pod *ap = pod_comes(&w, "first", IP4(10, 42, 0, 10)); /* before anything is known */
    CHECK(pod_waits(&w, ap));
    CHECK(!was_isolated);
    policy_comes(&w, "other");
    struct agent_pod *more = pod_comes(&w, "second", IP4(10, 42, 0, 11));
    CHECK(pod_waits(&w, more));
    CHECK(!was_isolated);
    pod_goes(&w, ap);
    pod_goes(&w, more);
    fence_world_fini(&w);
}

TEST(one_that_is_to_end_waits_no_longer)
{
    struct fence_world w;
    if (!fence_world_init(&w, NS_PER_S))
        return;
    struct agent_pod *ap = pod_comes(&w, "first", IP4(10, 42, 0, 10));
    the_released = NULL;
    agent_fence_wait(ap, fence_released);
    agent_fence_let_go(ap);
    CHECK(the_released == ap && was_refused);
    agent_fence_let_go(ap); /* it is told once */
    pod_goes(&w, ap);
    fence_world_fini(&w);
}
