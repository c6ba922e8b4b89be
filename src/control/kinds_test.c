/* Controllers that want every kind (garbage, namespaces), over kinds that come and go. */
#include "api/codec.h"
#include "api/kindset_test.h"
#include "base/test.h"
#include "client/fake.h"
#include "control/manager.h"
#include "control/plan_test.h"
#include "sys/loop.h"

static const char *const captain[] = {"captainsName"};

struct port {
    struct loop *loop;
    struct transport *api;
    struct kind_publisher kinds;
    struct manager *manager;
};

static void port_init(struct port *p)
{
    p->loop = loop_new_simulated(7);
    p->api = fake_new(p->loop, 5 * NS_PER_MS);
    kind_publisher_init(&p->kinds);
    struct manager_options o = {.transport = p->api, .kinds = &p->kinds, .root_ca = S("PEM")};
    p->manager = manager_new(&o);
    manager_start(p->manager);
}

static void port_fini(struct port *p)
{
    manager_free(p->manager);
    transport_free(p->api);
    kind_publisher_fini(&p->kinds);
    while (loop_run_once(p->loop, 0))
        ;
    loop_free(p->loop);
    CHECK_INT(kinds_alive(), 0);
}

/* Borrowed from the published set. */
static const struct kind *boats_are(struct port *p, const char *made_of)
{
    const struct kind *k = boat_kind("v1", made_of, captain, 1);
    kind_publish(&p->kinds, kind_set_new(&k, 1));
    kind_unref(k);
    return k;
}

static void port_put(struct port *p, const struct kind *k, const char *name, const char *meta)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val untyped, v;
    struct err err = ERR;
    struct str json = arena_fmt(&a,
                                "{\"kind\":\"" STR_FMT "\",\"apiVersion\":\"" STR_FMT
                                "\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\",\"uid\":\"u-%s\"%s}}",
                                STR_ARG(k->kind), STR_ARG(k->api_version), name, k->namespaced ? "default" : "", name,
                                meta);
    CHECK_OK(json_decode(&a, json, &untyped, &err) && type_decode_val(&a, k->type, &untyped, &v, NULL, &err), err);
    if (!k->namespaced)
        (void)val_del(val_get_mut(&v, N(metadata)), N(namespace));
    fake_put(p->api, k, &v);
}

static bool port_has(struct port *p, const struct kind *k, const char *name)
{
    return fake_get(p->api, k, k->namespaced ? S("default") : S(""), str_of(name));
}

static void until_gone(struct port *p, const struct kind *k, const char *name)
{
    for (int64_t end = clock_mono() + 600 * NS_PER_S; port_has(p, k, name);) {
        CHECK(loop_run_once(p->loop, NS_PER_S) && clock_mono() < end);
    }
}

static void run_for(struct port *p, int64_t ns)
{
    for (int64_t end = clock_mono() + ns; clock_mono() < end;)
        if (!loop_run_once(p->loop, end - clock_mono()))
            return;
}

#define OWNED_BY(kind, version, name)                                                                                \
    ",\"ownerReferences\":[{\"kind\":\"" kind "\",\"apiVersion\":\"" version "\",\"name\":\"" name                   \
    "\",\"uid\":\"u-" name "\"}]"

TEST(garbage_of_kinds_that_came_is_collected)
{
    struct port p;
    port_init(&p);
    port_put(&p, K(ConfigMap), "cargo", OWNED_BY("Boat", "ship.example/v1", "a"));
    run_for(&p, 60 * NS_PER_S);
    CHECK(port_has(&p, K(ConfigMap), "cargo")); /* of a kind that nobody knows: not ours to judge */
    const struct kind *boat = boats_are(&p, "one");
    port_put(&p, boat, "a", "");
    port_put(&p, boat, "b", OWNED_BY("ConfigMap", "v1", "dock"));
    port_put(&p, K(ConfigMap), "more", OWNED_BY("Boat", "ship.example/v1", "a"));
    until_gone(&p, boat, "b"); /* its owner was never there */
    CHECK(port_has(&p, K(ConfigMap), "more") && port_has(&p, boat, "a"));
    fake_remove(p.api, boat, S("default"), S("a"));
    until_gone(&p, K(ConfigMap), "cargo");
    until_gone(&p, K(ConfigMap), "more");
    port_fini(&p);
}

TEST(a_namespace_takes_what_is_of_kinds_that_came)
{
    struct port p;
    port_init(&p);
    const struct kind *boat = boats_are(&p, "one");
    port_put(&p, boat, "a", "");
    fake_put_yaml(p.api, S("{apiVersion: v1, kind: Namespace, metadata: {name: default, uid: u-n, deletionTimestamp: "
                           "'2026-01-01T00:00:00Z'}, spec: {finalizers: [kubernetes]}}"));
    until_gone(&p, boat, "a");
    until_gone(&p, K(Namespace), "default");
    port_fini(&p);
}

/* Sets are dropped with their kind, and the next one's is read anew. */
TEST(a_kind_that_is_replaced_or_goes_is_read_no_more)
{
    struct port p;
    port_init(&p);
    const struct kind *boat = boats_are(&p, "one");
    run_for(&p, 10 * NS_PER_S);
    const struct view *v = manager_view(p.manager);
    int id = boat->id;
    CHECK(v->sets[id] && !v->settling);
    const struct kind *next = boats_are(&p, "two");
    int next_id = next->id;
    CHECK(next_id != id);
    run_for(&p, 10 * NS_PER_S);
    CHECK(!v->sets[id] && v->sets[next_id]);
    kind_publish(&p.kinds, kind_set_ref(&kind_set_builtin));
    kind_publish(&p.kinds, kind_set_ref(&kind_set_builtin)); /* once more: nothing happens */
    run_for(&p, 10 * NS_PER_S);
    CHECK(!v->sets[next_id] && v->sets[K(ConfigMap)->id]);
    port_fini(&p);
}

#define FERRIES "ferries.ship.example"

static void ferry_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct kind *k = view_defined(v, FERRIES);
    if (k && view_get(v, k, key.ns, key.name) && !view_get(v, K(ConfigMap), key.ns, key.name))
        plan_create(out, K(ConfigMap), key.ns, key.name, val_map());
}

static const struct controller_watch ferry_watches[] = {{K(ConfigMap), keys_self}, {0}};
static const struct defined_watch ferry_defined[] = {{FERRIES, keys_self}, {0}};
static const struct controller ferry_controller = {.name = "ferry",
                                                   .component = "ferry",
                                                   .account = "ferry",
                                                   .watches = ferry_watches,
                                                   .defined = ferry_defined,
                                                   .plan = ferry_plan};

/* A row names the definition; the kind comes, is replaced by another of that name, and goes. */
TEST(a_row_hears_of_kinds_that_a_definition_defines)
{
    static const struct controller *const rows[] = {&ferry_controller, NULL};
    AUTO(fixture_fini) struct fixture f, g;
    struct port p = {.loop = loop_new_simulated(7)};
    fixture_init(&f);
    fixture_init(&g);
    p.api = fake_new(p.loop, 5 * NS_PER_MS);
    kind_publisher_init(&p.kinds);
    p.manager = manager_new(&(struct manager_options){.transport = p.api, .kinds = &p.kinds, .controllers = rows});
    manager_start(p.manager);
    run_for(&p, NS_PER_S);
    CHECK(!view_defined(manager_view(p.manager), FERRIES));
    fixture_define(&f, S("ship.example/v1 Ferry ferries"));
    fake_put_yaml(p.api, S("{apiVersion: v1, kind: ConfigMap, metadata: {name: other, namespace: default}}"));
    kind_publish(&p.kinds, kind_set_new(f.defined, f.ndefined));
    struct val v = val_map();
    AUTO(arena_fini) struct arena a = ARENA;
    struct val *meta = val_need_map(&a, &v, N(metadata));
    val_set_text(&a, &v, N(apiVersion), S("ship.example/v1"));
    val_set_text(&a, &v, N(kind), S("Ferry"));
    val_set_text(&a, meta, N(name), S("a"));
    val_set_text(&a, meta, N(namespace), S("default"));
    fake_put(p.api, f.defined[0], &v);
    run_for(&p, 10 * NS_PER_S);
    CHECK(port_has(&p, K(ConfigMap), "a") && view_defined(manager_view(p.manager), FERRIES) == f.defined[0]);
    fixture_define(&g, S("ship.example/v1 Ferry ferries"));
    kind_publish(&p.kinds, kind_set_new(g.defined, g.ndefined));
    val_set_text(&a, meta, N(name), S("b"));
    fake_put(p.api, g.defined[0], &v);
    run_for(&p, 10 * NS_PER_S);
    CHECK(port_has(&p, K(ConfigMap), "b") && view_defined(manager_view(p.manager), FERRIES) == g.defined[0]);
    kind_publish(&p.kinds, kind_set_ref(&kind_set_builtin));
    run_for(&p, 10 * NS_PER_S);
    CHECK(!view_defined(manager_view(p.manager), FERRIES));
    manager_free(p.manager);
    transport_free(p.api);
    kind_publisher_fini(&p.kinds);
    while (loop_run_once(p.loop, 0))
        ;
    loop_free(p.loop);
}
