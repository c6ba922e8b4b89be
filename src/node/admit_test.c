#include "node/admit.h"
#include "node/test_world.h"

#define NODE                                                                                                         \
    "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {disk: hdd, kubernetes.io/os: linux}}\n"               \
    "spec: {taints: [{key: a, value: b, effect: NoSchedule}%s]}\n"                                                   \
    "status: {allocatable: {cpu: '2', memory: 1Gi, ephemeral-storage: 10Gi, pods: '3', hugepages-2Mi: 4Mi, "         \
    "example.com/gpu: '1'}}\n"
#define POD(name, spec)                                                                                              \
    "apiVersion: v1\nkind: Pod\nmetadata: {name: " name ", namespace: ns, uid: " name "}\nspec: {" spec "}\n"

/* What a pod of this spec hears on a node with one other pod (port 80, 500m, 100Mi); NULL: it is taken in. */
static const struct {
    const char *spec, *reason, *message;
} cases[] = {
    {"containers: [{name: c}]", NULL, NULL},
    {"containers: [{name: c, resources: {requests: {cpu: 1500m}}}]", NULL, NULL},
    {"containers: [{name: c, resources: {requests: {cpu: 1501m}}}]", "OutOfcpu",
     "Node didn't have enough resource: cpu, requested: 1501, used: 500, capacity: 2000"},
    {"containers: [{name: c, resources: {requests: {memory: 1000Mi}}}]", "OutOfmemory",
     "Node didn't have enough resource: memory, requested: 1048576000, used: 104857600, capacity: 1073741824"},
    {"containers: [{name: c, resources: {requests: {ephemeral-storage: 11Gi}}}]", "OutOfephemeral-storage",
     "Node didn't have enough resource: ephemeral-storage, requested: 11811160064, used: 0, capacity: 10737418240"},
    {"containers: [{name: c, resources: {requests: {hugepages-2Mi: 6Mi}}}]", "OutOfhugepages-2Mi",
     "Node didn't have enough resource: hugepages-2Mi, requested: 6291456, used: 0, capacity: 4194304"},
    {"containers: [{name: c, resources: {requests: {hugepages-1Gi: 1Gi}}}]", "OutOfhugepages-1Gi",
     "Node didn't have enough resource: hugepages-1Gi, requested: 1073741824, used: 0, capacity: 0"},
    {"containers: [{name: c, resources: {requests: {example.com/gpu: '2'}}}]", "OutOfexample.com/gpu",
     "Node didn't have enough resource: example.com/gpu, requested: 2, used: 0, capacity: 1"},
    {"containers: [{name: c, resources: {requests: {example.com/other: '2'}}}]", NULL, NULL},
    {"initContainers: [{name: i, resources: {requests: {cpu: '2'}}}], containers: [{name: c}]", "OutOfcpu",
     "Node didn't have enough resource: cpu, requested: 2000, used: 500, capacity: 2000"},
    {"initContainers: [{name: i, restartPolicy: Always, resources: {requests: {cpu: '1'}}}], "
     "containers: [{name: c, resources: {requests: {cpu: '1'}}}]",
     "OutOfcpu", "Node didn't have enough resource: cpu, requested: 2000, used: 500, capacity: 2000"},
    {"resources: {requests: {cpu: '4'}}, containers: [{name: c}]", "OutOfcpu",
     "Node didn't have enough resource: cpu, requested: 4000, used: 500, capacity: 2000"},
    {"overhead: {memory: 1Gi}, containers: [{name: c}]", "OutOfmemory",
     "Node didn't have enough resource: memory, requested: 1073741824, used: 104857600, capacity: 1073741824"},
    {"nodeSelector: {disk: ssd}, containers: [{name: c, resources: {requests: {cpu: '9'}}}]", "OutOfcpu",
     "Node didn't have enough resource: cpu, requested: 9000, used: 500, capacity: 2000"},
    {"nodeSelector: {disk: ssd}, containers: [{name: c}]", "NodeAffinity",
     "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"},
    {"nodeSelector: {disk: hdd}, containers: [{name: c}]", NULL, NULL},
    {"affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: "
     "[{matchExpressions: [{key: disk, operator: NotIn, values: [hdd]}]}]}}}, containers: [{name: c}]",
     "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"},
    {"containers: [{name: c, ports: [{containerPort: 1, hostPort: 80, protocol: TCP}]}]", "NodePorts",
     "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"},
    {"containers: [{name: c, ports: [{containerPort: 1, hostPort: 80, protocol: UDP}]}]", NULL, NULL},
    {"os: {name: windows}, containers: [{name: c}]", "PodOSNotSupported",
     "Failed to admit pod as the OS field doesn't match node OS"},
    {"os: {name: linux}, containers: [{name: c}]", NULL, NULL},
};

static struct obj *node_of(struct world *w, const char *more_taints)
{
    return world_obj(w, K(Node), arena_fmt(&w->arena, NODE, more_taints).p);
}

static void admit_expect(struct world *w, const struct obj *node, const char *spec, const char *reason,
                         const char *message)
{
    const struct obj *other = world_obj(
        w, K(Pod),
        POD("other", "containers: [{name: c, ports: [{containerPort: 80, hostPort: 80, protocol: TCP}], "
                     "resources: {requests: {cpu: 500m, memory: 100Mi}}}]"));
    struct str yaml = arena_fmt(
        &w->arena, "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: ns, uid: p}\nspec: {%s}\n", spec);
    struct refusal why = {.reason = "none"};
    bool ok = admit_pod(&w->arena, world_obj(w, K(Pod), yaml.p), node, &other, 1, &why);
    CHECK_STR(str_of(ok ? "taken in" : why.reason), str_of(reason ? reason : "taken in"));
    if (!ok)
        CHECK_STR(why.message, str_of(message));
}

TEST(a_node_holds_what_was_bound_to_it_against_itself)
{
    struct world w = {0};
    const struct obj *node = node_of(&w, "");
    for (size_t i = 0; i < countof(cases); i++)
        admit_expect(&w, node, cases[i].spec, cases[i].reason, cases[i].message);
    world_end(&w);
}

TEST(noexecute_is_a_nodes_matter_and_noschedule_is_not)
{
    struct world w = {0};
    const struct obj *node = node_of(&w, ", {key: e, effect: NoExecute}");
    admit_expect(&w, node, "containers: [{name: c}]", "TaintToleration",
                 "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate");
    admit_expect(&w, node, "tolerations: [{key: e, operator: Exists}], containers: [{name: c}]", NULL, NULL);
    world_end(&w);
}

TEST(a_full_node_takes_in_nobody)
{
    struct world w = {0};
    const struct obj *node = node_of(&w, ""), *pod = world_obj(&w, K(Pod), POD("p", "containers: [{name: c}]"));
    const struct obj *others[3];
    struct refusal why;
    for (size_t i = 0; i < countof(others); i++)
        others[i] = world_obj(&w, K(Pod), POD("o", "containers: [{name: c}]"));
    CHECK(admit_pod(&w.arena, pod, node, others, 2, &why));
    CHECK(!admit_pod(&w.arena, pod, node, others, 3, &why));
    CHECK_STR(str_of(why.reason), S("OutOfpods"));
    CHECK_STR(why.message, S("Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"));
    world_end(&w);
}
