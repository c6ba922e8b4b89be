/* The controller of Ingresses over random changes and faults. After every write: what is of another controller's
 * class is never touched by ours. At rest: every one of ours has the address that counts now, and no other has it. */
#include "base/clock.h"
#include "control/ingress.h"
#include "control/world_test.h"
#include "sys/loop.h"
#include <stdlib.h>

#define SHOPS 5

static const char *const classes[] = {"wherry", "other", "gone", ""};

static void class_put(struct world *w, const char *name, const char *controller)
{
    AUTO(arena_fini) struct arena a = ARENA;
    world_put(w, arena_fmt(&a,
                           "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: %s}, spec: "
                           "{controller: %s}}",
                           name, controller)
                     .p);
}

/* What stands in its status stays, as with a user's apply. */
static void shop_put(struct world *w, int i, const char *class)
{
    AUTO(arena_fini) struct arena a = ARENA;
    char name[16];
    snprintf(name, sizeof name, "shop-%d", i);
    struct obj *was = fake_get(w->api, K(Ingress), S("default"), str_of(name));
    struct str at = was ? val_text_at(val_item(val_at(obj_status(was), N(loadBalancer), N(ingress)), 0), N(ip))
                        : S("");
    world_put(w,
              arena_fmt(&a,
                        "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: %s, namespace: default, "
                        "uid: u-%s}, spec: {%s%s%s rules: [{host: h%d.example.org, http: {paths: [{path: /, "
                        "pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}, status: "
                        "{loadBalancer: {%s" STR_FMT "%s}}}",
                        name, name, class[0] ? "ingressClassName: " : "", class, class[0] ? "," : "", i % 2,
                        at.n ? "ingress: [{ip: " : "", STR_ARG(at), at.n ? "}]" : "")
                  .p);
}

static void web_put(struct world *w)
{
    world_put(w, "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: default, uid: u-web}, spec: "
                 "{clusterIP: None, ports: [{port: 80}]}}");
}

/* How often a reason was told, by all of its events. */
static int64_t times_told(struct world *w, const char *reason)
{
    int64_t n = 0;
    struct obj *o;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Event))); (o = objset_next(&it));)
        if (str_eqz(val_text_at(&o->tree, N(reason)), reason))
            n += val_num_at(&o->tree, 1, N(count));
    return n;
}

static void node_put(struct world *w, int address)
{
    AUTO(arena_fini) struct arena a = ARENA;
    world_put(w,
              arena_fmt(&a,
                        "{apiVersion: v1, kind: Node, metadata: {name: n1, uid: u-n1}, status: {addresses: [{type: "
                        "InternalIP, address: 192.0.2.%d}]}}",
                        address)
                  .p);
}

static struct str address_of(const struct obj *o)
{
    return val_text_at(val_item(val_at(obj_status(o), N(loadBalancer), N(ingress)), 0), N(ip));
}

static struct str class_of(const struct obj *o)
{
    return val_text_at(obj_spec(o), N(ingressClassName));
}

static void other_is_left_alone(struct world *w UNUSED, const struct obj *was, const struct obj *now)
{
    if (was && now && now->kind == K(Ingress) && str_eqz(class_of(was), "other") && str_eqz(class_of(now), "other"))
        CHECK(str_eq(address_of(was), address_of(now)));
}

/* The user's part is written at once and goes through; the controller's is what fails. */
static void user_step(struct world *w, int *address)
{
    switch (rand() % 8) {
    case 0: node_put(w, *address = 1 + rand() % 9); break;
    case 1: world_restart(w); break;
    case 2: world_disturb(w); break;
    case 3: {
        AUTO(arena_fini) struct arena a = ARENA;
        struct str name = arena_fmt(&a, "shop-%d", rand() % SHOPS);
        if (fake_get(w->api, K(Ingress), S("default"), name))
            fake_remove(w->api, K(Ingress), S("default"), name);
        break;
    }
    default: shop_put(w, rand() % SHOPS, classes[(size_t)rand() % countof(classes)]);
    }
    world_run_for(w, rand() % 3 * 20 * NS_PER_MS);
}

static void settled_check(struct world *w, int address)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str at = arena_fmt(&a, "192.0.2.%d", address);
    struct obj *o;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Ingress))); (o = objset_next(&it));) {
        bool ours = str_eqz(class_of(o), "wherry");
        if (ours)
            CHECK_STR(address_of(o), at);
        else if (!str_eqz(class_of(o), "other"))
            CHECK(!str_eq(address_of(o), at));
    }
}

TEST(every_ingress_has_the_address_that_counts_whatever_fails)
{
    for (unsigned seed = 1; seed <= 6; seed++) {
        struct world w;
        int address = 1;
        srand(seed);
        world_init(&w, seed, 5 * NS_PER_MS);
        w.written = other_is_left_alone;
        class_put(&w, "wherry", "wherry.dev/ingress");
        class_put(&w, "other", "example.org/other");
        node_put(&w, address);
        web_put(&w);
        world_start(&w);
        for (int i = 0; i < 40; i++)
            user_step(&w, &address);
        fake_fail(w.api, 0, E_UNAVAILABLE);
        world_run_for(&w, 120 * NS_PER_S);
        settled_check(&w, address);
        node_put(&w, address = 10); /* and nothing else makes anybody look again */
        world_run_for(&w, 10 * NS_PER_S);
        settled_check(&w, address);
        world_fini(&w);
    }
}

/* The same trouble is told once, whatever else changes about the Ingress's address. */
TEST(what_an_ingress_lacks_is_told_once)
{
    struct world w;
    world_init(&w, 7, 2 * NS_PER_MS);
    class_put(&w, "wherry", "wherry.dev/ingress");
    node_put(&w, 1);
    world_start(&w);
    shop_put(&w, 0, "wherry");
    world_run_for(&w, 2 * NS_PER_S);
    CHECK_INT(times_told(&w, "ServiceMissing"), 0); /* it may be on its way */
    world_run_for(&w, 10 * NS_PER_S);
    CHECK_INT(times_told(&w, "ServiceMissing"), 1);
    for (int i = 2; i < 6; i++) {
        node_put(&w, i);
        world_run_for(&w, 5 * NS_PER_S);
    }
    CHECK_INT(times_told(&w, "ServiceMissing"), 1);
    CHECK_INT(times_told(&w, "Sync"), 1);
    world_fini(&w);
}
