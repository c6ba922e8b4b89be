/* Preemption over the fake API. */
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
    w.stop_ns = 2 * NS_PER_S;
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
    world_run_for(&w, 3 * NS_PER_S);
    CHECK(!pod_at(&w, "low"));
    CHECK_STR(pod_place(&w, "high"), S("n1"));
    CHECK_INT(world_events(&w, "FailedScheduling"), 1); /* it was waited for, not asked again */
    world_fini(&w);
}
