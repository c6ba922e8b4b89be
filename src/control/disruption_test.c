/* Budgets over pods of controllers that a definition brings: by the scale that it declares. */
#include "api/codec.h"
#include "api/custom.h"
#include "base/test.h"
#include "client/fake.h"
#include "control/manager.h"
#include "sys/loop.h"

#define FLEET                                                                                                        \
    "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: fleets.ship.example, "   \
    "uid: "                                                                                                          \
    "u}, spec: {group: ship.example, scope: Namespaced, names: {plural: fleets, singular: fleet, kind: Fleet, "      \
    "listKind: FleetList}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: "     \
    "object, x-kubernetes-preserve-unknown-fields: true}}%s}]}, status: {storedVersions: [v1], acceptedNames: "      \
    "{plural: fleets, kind: Fleet}, conditions: [{type: Established, status: 'True'}, {type: NamesAccepted, "        \
    "status: "                                                                                                       \
    "'True'}]}}"
#define SCALE ", subresources: {scale: {specReplicasPath: .spec.boats, statusReplicasPath: .status.boats}}"

struct harbour {
    struct loop *loop;
    struct transport *api;
    struct kind_publisher kinds;
    struct manager *manager;
    const struct kind *fleet; /* borrowed from the published set */
};

static void harbour_init(struct harbour *h, const char *scale)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    h->loop = loop_new_simulated(9);
    h->api = fake_new(h->loop, 5 * NS_PER_MS);
    kind_publisher_init(&h->kinds);
    const struct kind *made[CUSTOM_VERSIONS];
    size_t n = 0;
    struct obj *definition = fake_put_yaml(h->api, arena_fmt(&a, FLEET, scale));
    CHECK_OK(custom_kinds(definition, made, &n, &err), err);
    CHECK_INT(n, 1);
    h->fleet = made[0];
    kind_publish(&h->kinds, kind_set_new(made, n));
    kind_unref(made[0]);
    struct manager_options o = {.transport = h->api, .kinds = &h->kinds, .root_ca = S("PEM")};
    h->manager = manager_new(&o);
    manager_start(h->manager);
}

static void harbour_fini(struct harbour *h)
{
    manager_free(h->manager);
    transport_free(h->api);
    kind_publisher_fini(&h->kinds);
    while (loop_run_once(h->loop, 0))
        ;
    loop_free(h->loop);
}

static void fleet_put(struct harbour *h, int boats)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v;
    struct err err = ERR;
    CHECK_OK(yaml_decode(&a,
                         arena_fmt(&a,
                                   "{apiVersion: ship.example/v1, kind: Fleet, metadata: {name: f, namespace: "
                                   "default, uid: u-f}, spec: {boats: %d}}",
                                   boats),
                         &v, &err),
             err);
    fake_put(h->api, h->fleet, &v);
}

static void pods_put(struct harbour *h, int n)
{
    for (int i = 0; i < n; i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        fake_put_yaml(h->api,
                      arena_fmt(&a,
                                "{apiVersion: v1, kind: Pod, metadata: {name: p%d, namespace: default, uid: "
                                "u-%d, labels: {app: f}, ownerReferences: [{apiVersion: ship.example/v1, kind: "
                                "Fleet, name: f, uid: u-f, controller: true}]}, spec: {nodeName: n1, containers: "
                                "[{name: c, image: i}]}, status: {phase: Running, conditions: [{type: Ready, "
                                "status: 'True'}]}}",
                                i, i));
    }
    fake_put_yaml(h->api,
                  S("{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b, namespace: default, "
                    "uid: u-b, generation: 1}, spec: {maxUnavailable: 1, selector: {matchLabels: {app: f}}}}"));
}

static const struct val *budget_status(struct harbour *h)
{
    return obj_status(fake_get(h->api, K(PodDisruptionBudget), S("default"), S("b")));
}

static void run_until(struct harbour *h, const struct name *field, int64_t n)
{
    for (int64_t end = clock_mono() + 60 * NS_PER_S; val_num(val_get(budget_status(h), field), -1) != n;)
        CHECK(loop_run_once(h->loop, NS_PER_S) && clock_mono() < end);
}

TEST(a_budget_counts_by_the_scale_that_a_definition_declares)
{
    struct harbour h;
    harbour_init(&h, SCALE);
    fleet_put(&h, 3);
    pods_put(&h, 3);
    run_until(&h, N(expectedPods), 3);
    run_until(&h, N(disruptionsAllowed), 1);
    fleet_put(&h, 5); /* two are missing */
    run_until(&h, N(expectedPods), 5);
    run_until(&h, N(disruptionsAllowed), 0);
    CHECK_INT(val_num(val_get(budget_status(&h), N(desiredHealthy)), 0), 4);
    harbour_fini(&h);
}

TEST(a_budget_over_what_has_no_scale_says_so)
{
    struct harbour h;
    harbour_init(&h, "");
    fleet_put(&h, 3);
    pods_put(&h, 3);
    run_until(&h, N(disruptionsAllowed), 0);
    const struct val *c = condition_get(budget_status(&h), "DisruptionAllowed");
    CHECK_STR(val_text_at(c, N(reason)), S("SyncFailed"));
    CHECK_STR(val_text_at(c, N(message)), S("fleets.ship.example does not implement the scale subresource"));
    harbour_fini(&h);
}
