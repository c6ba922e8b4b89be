/* Addresses of Services over the fake API: pools, Services and nodes that come, change and go at random, calls that
 * fail, answers that are lost, and controllers that begin anew. At every write: no two Services have the same
 * address, port and protocol, and nobody loses an address without a reason. */
#include "api/codec.h"
#include "base/test.h"
#include "client/fake.h"
#include "control/loadbalancer_int.h"
#include "control/plan_test.h"
#include "sys/loop.h"

extern const struct controller loadbalancer_controller;
static const struct controller *const rows[] = {&loadbalancer_controller, NULL};

struct town {
    struct loop *loop;
    struct transport *api;
    struct kind_publisher kinds;
    struct fixture f; /* of the definitions */
    struct manager *manager;
    bool ours; /* what is written now is the test's own */
    size_t given;
};

static const struct kind *pools_kind(const struct town *t)
{
    return t->f.defined[0];
}

static struct str first_ip(const struct obj *svc)
{
    return val_text_at(val_item(val_at(obj_status(svc), N(loadBalancer), N(ingress)), 0), N(ip));
}

static struct str reason_of(const struct obj *svc)
{
    return val_text_at(condition_get(obj_status(svc), CONDITION_ASSIGNED), N(reason));
}

static bool is_shared_well(const struct obj *a, const struct obj *b)
{
    struct str x = obj_note(a, "wherry.dev/allow-shared-ip"), y = obj_note(b, "wherry.dev/allow-shared-ip");
    return x.n && str_eq(x, y) && !ports_meet(a, b) && service_is_local(a) == service_is_local(b);
}

static void nobody_shares(struct town *t, const struct obj *now)
{
    struct obj *o;
    struct str ip = first_ip(now);
    for (struct objset_iter it = objset_all(fake_set(t->api, K(Service))); (o = objset_next(&it));) {
        bool nodes = str_eqz(reason_of(o), "FromNodes") && str_eqz(reason_of(now), "FromNodes");
        if (o == now || str_eq(o->uid, now->uid) || !str_eq(first_ip(o), ip))
            continue;
        if (nodes ? ports_meet(o, now) : !is_shared_well(o, now))
            test_failed(__FILE__, __LINE__, STR_FMT " and " STR_FMT " both have " STR_FMT, STR_ARG(o->name),
                        STR_ARG(now->name), STR_ARG(ip));
    }
}

static void nobody_loses(const struct obj *was, const struct obj *now)
{
    struct str had = first_ip(was), has = first_ip(now);
    const struct val *c = condition_get(obj_status(now), CONDITION_ASSIGNED);
    bool asks = obj_note(now, "wherry.dev/addresses").n || obj_note(now, "wherry.dev/address-pool").n;
    if (!had.n || str_eq(had, has) || obj_deleting(now) || !c)
        return;
    if (!has.n && !(str_eqz(val_text_at(c, N(status)), "False") && val_text_at(c, N(message)).n))
        test_failed(__FILE__, __LINE__, STR_FMT " lost " STR_FMT " and is told nothing", STR_ARG(now->name),
                    STR_ARG(had));
    if (has.n && !asks && !str_eqz(reason_of(was), "FromNodes") && !str_eqz(reason_of(now), "FromNodes") &&
        val_find(val_at(obj_status(was), N(conditions)), N(type), S(CONDITION_ASSIGNED)))
        test_failed(__FILE__, __LINE__, STR_FMT " had " STR_FMT " and has " STR_FMT ", unasked", STR_ARG(now->name),
                    STR_ARG(had), STR_ARG(has));
}

static void town_written(void *arg, struct obj *was, struct obj *now)
{
    struct town *t = arg;
    if (t->ours || !now || now->kind != K(Service) || obj_deleting(now))
        return;
    t->given += first_ip(now).n > 0;
    if (first_ip(now).n)
        nobody_shares(t, now);
    if (was)
        nobody_loses(was, now);
}

static void manager_begin(struct town *t)
{
    t->manager = manager_new(&(struct manager_options){.transport = t->api, .kinds = &t->kinds, .controllers = rows});
    manager_start(t->manager);
}

static void town_run(struct town *t, int64_t ns)
{
    for (int64_t end = clock_mono() + ns; clock_mono() < end;)
        if (!loop_run_once(t->loop, end - clock_mono()))
            return;
}

static void yaml_put(struct town *t, const struct kind *k, const char *fmt, ...) PRINTF(3, 4);
static void yaml_put(struct town *t, const struct kind *k, const char *fmt, ...)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val any, v;
    struct err err = ERR;
    va_list args;
    va_start(args, fmt);
    struct str text = arena_vfmt(&a, fmt, args);
    va_end(args);
    CHECK_OK(yaml_decode(&a, text, &any, &err) && type_decode_val(&a, kind_type(k), &any, &v, NULL, &err), err);
    t->ours = true;
    fake_put(t->api, k, &v);
    t->ours = false;
}

static void node_put(struct town *t, int n, bool ready)
{
    yaml_put(t, K(Node),
             "{apiVersion: v1, kind: Node, metadata: {name: n%d, annotations: {wherry.dev/subnets: "
             "'eth0=198.51.100.0/24'}}, "
             "spec: {podCIDR: 10.42.%d.0/24}, status: {addresses: [{type: InternalIP, address: 192.0.2.%d}], "
             "conditions: [{type: Ready, status: '%s'}]}}",
             n, n, n, ready ? "True" : "Unknown");
}

static void town_init(struct town *t, uint64_t seed)
{
    *t = (struct town){.loop = loop_new_simulated(seed)};
    t->api = fake_new(t->loop, 5 * NS_PER_MS);
    fake_on_write(t->api, town_written, t);
    fixture_init(&t->f);
    fixture_define(&t->f, S("wherry.dev/v1 AddressPool addresspools cluster"));
    kind_publisher_init(&t->kinds);
    kind_publish(&t->kinds, kind_set_new(t->f.defined, t->f.ndefined));
    for (int n = 1; n <= 2; n++)
        node_put(t, n, true);
    manager_begin(t);
}

static void town_fini(struct town *t)
{
    manager_free(t->manager);
    transport_free(t->api);
    kind_publisher_fini(&t->kinds);
    while (loop_run_once(t->loop, 0))
        ;
    loop_free(t->loop);
    fixture_fini(&t->f);
}

/* --- what happens --- */

static void deleting_done(struct call *c)
{
    mem_free(c); /* that it failed is another of the accidents */
}

static void service_delete(struct town *t, const char *name)
{
    struct call *c = NEW(struct call);
    c->done = deleting_done;
    call_start(c, t->api,
               &CALL_OPTIONS(.verb = CALL_DELETE, .kind = K(Service), .ns = S("default"), .name = str_of(name)));
}

static void service_make(struct town *t, const char *name)
{
    static const char *const ports[] = {"[{port: 80, protocol: TCP}]", "[{port: 81, protocol: TCP}]",
                                        "[{port: 80, protocol: UDP}]",
                                        "[{name: a, port: 80, protocol: TCP}, {name: b, port: 81, protocol: TCP}]"};
    static const char *const notes[] = {"a: b",
                                        "a: b",
                                        "wherry.dev/allow-shared-ip: k",
                                        "wherry.dev/addresses: 198.51.100.1",
                                        "wherry.dev/address-pool: p1",
                                        "wherry.dev/address-pool: nodes",
                                        "'wherry.dev/addresses': '198.51.100.2', wherry.dev/allow-shared-ip: k"};
    yaml_put(t, K(Service),
             "{apiVersion: v1, kind: Service, metadata: {name: %s, annotations: {%s}}, spec: {type: LoadBalancer, "
             "clusterIP: 10.43.0.9, externalTrafficPolicy: Cluster, ports: %s}}",
             name, notes[random_below(countof(notes))], ports[random_below(countof(ports))]);
}

/* Another asks for an address, or asks no more. */
static void service_ask(struct town *t, const struct obj *o)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v = val_copy(&a, &o->tree);
    struct val *meta = val_get_mut(&v, N(metadata)), *notes = val_need_map(&a, meta, N(annotations));
    (void)val_del_str(notes, S("wherry.dev/addresses"));
    (void)val_del_str(notes, S("wherry.dev/address-pool"));
    if (random_below(2))
        val_set_str(&a, notes, S("wherry.dev/addresses"),
                    val_str(&a, arena_fmt(&a, "198.51.100.%u", (unsigned)random_below(6))));
    t->ours = true;
    fake_put(t->api, K(Service), &v);
    t->ours = false;
}

static void status_lose(struct town *t, const struct obj *o)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v = val_copy(&a, &o->tree);
    (void)val_del(&v, N(status));
    t->ours = true;
    fake_put(t->api, K(Service), &v);
    t->ours = false;
}

static void service_happens(struct town *t)
{
    static const char *const called[] = {"a", "b", "c", "d", "e", "f"};
    const char *name = called[random_below(countof(called))];
    const struct obj *o = fake_get(t->api, K(Service), S("default"), str_of(name));
    if (!o)
        service_make(t, name);
    else if (obj_deleting(o))
        return;
    else if (random_below(3) == 0)
        service_delete(t, name);
    else if (random_below(2))
        service_ask(t, o);
    else
        status_lose(t, o);
}

static void pool_happens(struct town *t)
{
    static const char *const ranges[] = {"198.51.100.0-198.51.100.1", "198.51.100.1-198.51.100.3", "198.51.100.2/31",
                                         "198.51.100.4/32"};
    unsigned n = (unsigned)random_below(2);
    AUTO(arena_fini) struct arena a = ARENA;
    struct str name = arena_fmt(&a, "p%u", n);
    if (random_below(4) == 0) {
        fake_remove(t->api, pools_kind(t), S(""), name);
        return;
    }
    yaml_put(
        t, pools_kind(t),
        "{apiVersion: wherry.dev/v1, kind: AddressPool, metadata: {name: p%u}, spec: {addresses: ['%s'], autoAssign: "
        "%s}}",
        n, ranges[random_below(countof(ranges))], random_below(4) ? "true" : "false");
}

static void accident_happens(struct town *t)
{
    switch (random_below(5)) {
    case 0: fake_cut(t->api); break;
    case 1: fake_fail(t->api, 3, E_UNAVAILABLE); break;
    case 2: fake_lose(t->api, 2); break;
    case 3: fake_compact(t->api); break;
    default: manager_free(t->manager); manager_begin(t);
    }
}

/* Everybody has an address or is told why not, and then there is peace. */
static void town_settles(struct town *t)
{
    struct obj *o;
    for (int n = 1; n <= 2; n++)
        node_put(t, n, true);
    town_run(t, 120 * NS_PER_S);
    for (struct objset_iter it = objset_all(fake_set(t->api, K(Service))); (o = objset_next(&it));) {
        const struct val *c = condition_get(obj_status(o), CONDITION_ASSIGNED);
        if (obj_deleting(o) || (!first_ip(o).n && !str_eqz(val_text_at(c, N(status)), "False")))
            test_failed(__FILE__, __LINE__, STR_FMT " has no address and no reason", STR_ARG(o->name));
        if (first_ip(o).n && !str_eqz(reason_of(o), "FromNodes") &&
            !condition_is(obj_status(o), CONDITION_ANNOUNCED, "True"))
            test_failed(__FILE__, __LINE__, "nobody answers for " STR_FMT, STR_ARG(o->name));
    }
    CHECK(manager_idle(t->manager));
    size_t writes = fake_writes(t->api);
    town_run(t, 600 * NS_PER_S);
    CHECK_INT(fake_writes(t->api), writes);
}

TEST(no_two_services_share_and_nobody_loses_an_address_without_a_reason)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct town t;
        town_init(&t, seed);
        for (int i = 0; i < 60; i++) {
            switch (random_below(8)) {
            case 0: pool_happens(&t); break;
            case 1: node_put(&t, 1 + (int)random_below(2), random_below(3) > 0); break;
            case 2: accident_happens(&t); break;
            default: service_happens(&t);
            }
            town_run(&t, (int64_t)random_below(30) * NS_PER_MS);
        }
        town_settles(&t);
        CHECK(t.given > 0);
        town_fini(&t);
    }
}

TEST(who_starts_anew_leaves_every_address_where_it_is)
{
    struct town t;
    town_init(&t, 7);
    yaml_put(
        &t, pools_kind(&t),
        "{apiVersion: wherry.dev/v1, kind: AddressPool, metadata: {name: p}, spec: {addresses: [198.51.100.0/28]}}");
    static const char *const called[] = {"a", "b", "c", "d", "e", "f"};
    for (size_t i = 0; i < countof(called); i++)
        yaml_put(
            &t, K(Service),
            "{apiVersion: v1, kind: Service, metadata: {name: %s}, spec: {type: LoadBalancer, clusterIP: 10.43.0.9, "
            "ports: [{port: 80}]}}",
            called[i]);
    town_run(&t, 10 * NS_PER_S);
    size_t writes = fake_writes(t.api);
    manager_free(t.manager);
    manager_begin(&t);
    town_run(&t, 60 * NS_PER_S);
    CHECK_INT(fake_writes(t.api), writes);
    town_fini(&t);
}
