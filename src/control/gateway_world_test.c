/* Gateways, ListenerSets and routes over random changes of all that they rest on. After each change every object is
 * planned: what a plan would write must be among the keys that the change was said to concern, or nobody would have
 * planned it. Then all plans are carried out until they are at rest, which they must come to. */
#include "api/codec.h"
#include "base/test.h"
#include "control/gateway.h"
#include "control/plan_test.h"
#include <stdlib.h>

#define STEPS   600
#define SETTLES 6

static const char *const planned[] = {"gateway", "listenerset", "httproute"};
static const char *const definitions[] = {GATEWAYS, GATEWAYS_SETS, "httproutes." GATEWAY_GROUP};

struct gateway_world {
    struct fixture f;
    char named[64][64]; /* "0/NS/NAME": which controller's, and whose */
    size_t nnamed;
    size_t as;
};

static void key_note(void *arg, struct str ns, struct str name)
{
    struct gateway_world *w = arg;
    CHECK(w->nnamed < countof(w->named));
    snprintf(w->named[w->nnamed++], 64, "%zu/" STR_FMT "/" STR_FMT, w->as, STR_ARG(ns), STR_ARG(name));
}

static void keys_ask(struct gateway_world *w, const struct obj *was, const struct obj *now)
{
    const struct kind *k = (now ? now : was)->kind;
    w->nnamed = 0;
    for (w->as = 0; w->as < countof(planned); w->as++) {
        const struct controller *c = controller_named(str_of(planned[w->as]));
        for (const struct controller_watch *i = c->watches; i->kind; i++)
            if (i->kind == k)
                i->keys(&w->f.view, was, now, key_note, w);
        for (const struct defined_watch *i = c->defined; i->definition; i++)
            if (k->custom && view_defined(&w->f.view, i->definition) == k)
                i->keys(&w->f.view, was, now, key_note, w);
    }
}

static bool key_noted(const struct gateway_world *w, size_t as, const struct obj *o)
{
    char key[64];
    snprintf(key, sizeof key, "%zu/" STR_FMT "/" STR_FMT, as, STR_ARG(o->ns), STR_ARG(o->name));
    for (size_t i = 0; i < w->nnamed; i++)
        if (strcmp(w->named[i], key) == 0)
            return true;
    return false;
}

/* Carries out what the plan writes; false: nothing. */
static bool plan_apply(struct gateway_world *w, const struct controller *c, const struct obj *o)
{
    AUTO(plan_fini) struct plan p = {0};
    c->plan(&w->f.view, (struct key){o->ns, o->name}, &p);
    array_each (a, &p.actions) {
        CHECK(a->verb == ACTION_UPDATE && str_eqz(a->sub, "status"));
        struct obj *now = obj_new(a->kind, &a->body, ++w->f.rev);
        obj_unref(objset_put(w->f.sets[a->kind->id], now));
        obj_unref(now);
    }
    return p.actions.n > 0;
}

static bool all_apply(struct gateway_world *w, bool first, const char *step)
{
    bool any = false;
    for (size_t as = 0; as < countof(planned); as++) {
        const struct kind *k = view_defined(&w->f.view, definitions[as]);
        struct obj *all[32], *o;
        size_t n = 0;
        for (struct objset_iter it = view_all(&w->f.view, k); (o = objset_next(&it)) && n < countof(all);)
            all[n++] = obj_ref(o);
        for (size_t i = 0; i < n; i++) {
            bool wrote = plan_apply(w, controller_named(str_of(planned[as])), all[i]);
            if (wrote && first && !key_noted(w, as, all[i]))
                test_failed(__FILE__, __LINE__,
                            "%s concerns " STR_FMT " " STR_FMT "/" STR_FMT ", and it was not told", step,
                            STR_ARG(all[i]->kind->kind), STR_ARG(all[i]->ns), STR_ARG(all[i]->name));
            any |= wrote;
            obj_unref(all[i]);
        }
    }
    return any;
}

/* Objects, some of one name; # is the generation. */
static const char *const texts[] = {
    "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: wherry, generation: #}, spec: "
    "{controllerName: wherry.dev/gateway}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: wherry, generation: #}, spec: "
    "{controllerName: example.org/other}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: a, generation: #}, spec: "
    "{gatewayClassName: wherry, allowedListeners: {namespaces: {from: Selector, selector: {matchLabels: {t: x}}}}, "
    "listeners: [{name: h, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: "
    "{matchLabels: {t: x}}}}}, {name: s, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: c, namespace: "
    "other}]}}], tls: {frontend: {default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: "
    "ca}]}}}}}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: a, generation: #}, spec: "
    "{gatewayClassName: wherry, listeners: [{name: h, port: 80, protocol: HTTP, hostname: x.example.org}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: b, generation: #, "
    "creationTimestamp: "
    "'2027-01-01T00:00:00Z'}, spec: {gatewayClassName: wherry, addresses: [{type: IPAddress, value: 192.0.2.1}], "
    "listeners: [{name: h, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: ListenerSet, metadata: {name: l, namespace: other, generation: "
    "#}, spec: {parentRef: {name: a, namespace: default}, listeners: [{name: m, port: 81, protocol: HTTP, "
    "allowedRoutes: {namespaces: {from: All}}}, {name: n1, port: 443, protocol: HTTPS, tls: {certificateRefs: "
    "[{name: "
    "d}]}}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: ListenerSet, metadata: {name: l, namespace: other, generation: "
    "#}, spec: {parentRef: {name: b, namespace: default}, listeners: [{name: m, port: 80, protocol: HTTP}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r, namespace: other, generation: "
    "#}, spec: {parentRefs: [{name: a, namespace: default}, {name: b, namespace: default}, {kind: ListenerSet, "
    "name: "
    "l}], rules: [{backendRefs: [{name: w, namespace: default, port: 80}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: q, generation: #}, spec: "
    "{parentRefs: [{name: a, sectionName: h}], hostnames: [x.example.org], rules: [{backendRefs: [{name: w, port: "
    "80}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: q, generation: #}, spec: "
    "{parentRefs: [{name: b}], rules: [{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: w, port: "
    "80}}}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, metadata: {name: g, namespace: default, "
    "generation: #}, spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: other}], to: "
    "[{group: '', kind: Service}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, metadata: {name: g, namespace: other, "
    "generation: #}, spec: {from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: default}], to: "
    "[{group: '', kind: Secret}]}}",
    "{apiVersion: v1, kind: Namespace, metadata: {name: other, generation: #, labels: {t: x}}}",
    "{apiVersion: v1, kind: Namespace, metadata: {name: other, generation: #, labels: {t: z}}}",
    "{apiVersion: v1, kind: Service, metadata: {name: w, generation: #}, spec: {ports: [{port: 80, protocol: "
    "TCP}]}}",
    "{apiVersion: v1, kind: Service, metadata: {name: w, generation: #}, spec: {ports: [{port: 81, protocol: "
    "TCP}]}}",
    "{apiVersion: v1, kind: Secret, metadata: {name: c, namespace: other, generation: #}, type: kubernetes.io/tls, "
    "data: {tls.crt: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUIKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=, tls.key: "
    "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JR0gKLS0tLS1FTkQgUFJJVkFURSBLRVktLS0tLQo=}}",
    "{apiVersion: v1, kind: Secret, metadata: {name: d, namespace: other, generation: #}, type: kubernetes.io/tls, "
    "data: {tls.crt: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUIKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=, tls.key: "
    "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JR0gKLS0tLS1FTkQgUFJJVkFURSBLRVktLS0tLQo=}}",
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: ca, generation: #}, data: {ca.crt: \"-----BEGIN "
    "CERTIFICATE-----\\nMIIB\\n-----END CERTIFICATE-----\\n\"}}",
    "{apiVersion: v1, kind: Node, metadata: {name: n1, generation: #}, status: {addresses: [{type: InternalIP, "
    "address: "
    "192.0.2.1}]}}",
    "{apiVersion: v1, kind: Node, metadata: {name: n1, generation: #}, status: {addresses: [{type: InternalIP, "
    "address: "
    "192.0.2.2}]}}",
};

/* A user's write leaves the status as it is. */
static void status_keep(struct gateway_world *w, const struct obj *was, const struct obj *now)
{
    AUTO(arena_fini) struct arena a = ARENA;
    if (!was || !now->kind->custom || !obj_status(was))
        return;
    struct val tree = val_copy(&a, &now->tree);
    val_set(&a, &tree, N(status), val_copy(&a, obj_status(was)));
    struct obj *kept = obj_new(now->kind, &tree, ++w->f.rev);
    obj_unref(objset_put(w->f.sets[now->kind->id], kept));
    obj_unref(kept);
}

/* Puts the object, or takes one of its name away; and asks whom that concerns. */
static void user_step(struct gateway_world *w, int step, const char **text)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val v;
    *text = texts[(size_t)rand() % countof(texts)];
    struct str head, tail;
    CHECK(str_split(str_of(*text), '#', &head, &tail));
    struct str yaml = arena_fmt(&a, STR_FMT "%d" STR_FMT, STR_ARG(head), step, STR_ARG(tail));
    CHECK_OK(yaml_decode(&a, yaml, &v, &err), err);
    const struct kind *k = kind_set_of_api_version(view_kinds(&w->f.view), val_text_at(&v, N(apiVersion)),
                                                   val_text_at(&v, N(kind)));
    struct str ns = val_text_at(&v, N(metadata), N(namespace)), name = val_text_at(&v, N(metadata), N(name));
    ns = k->namespaced && !ns.n ? S("default") : ns;
    struct objset *set = w->f.sets[k->id];
    struct obj *had = objset_get(set, ns, name);
    AUTO(obj_unref) struct obj *was = had ? obj_ref(had) : NULL;
    if (had && rand() % 4 == 0) {
        obj_unref(objset_del(set, ns, name));
        keys_ask(w, was, NULL);
        return;
    }
    fixture_add(&w->f, yaml);
    status_keep(w, was, objset_get(set, ns, name));
    keys_ask(w, was, objset_get(set, ns, name));
}

static void world_walk(int seed)
{
    static const char *const kinds_of_it[] = {"GatewayClass gatewayclasses cluster", "Gateway gateways",
                                              "ListenerSet listenersets", "HTTPRoute httproutes",
                                              "ReferenceGrant referencegrants"};
    AUTO(arena_fini) struct arena a = ARENA;
    struct gateway_world w = {0};
    const char *text = "";
    srand((unsigned)seed);
    fixture_init(&w.f);
    for (size_t i = 0; i < countof(kinds_of_it); i++)
        fixture_define(&w.f, arena_fmt(&a, GATEWAY_GROUP "/v1 %s", kinds_of_it[i]));
    for (int step = 1; step <= STEPS; step++) {
        int n = 0;
        user_step(&w, step, &text);
        while (all_apply(&w, n == 0, text))
            if (++n > SETTLES)
                test_failed(__FILE__, __LINE__, "seed %d, step %d: no rest after %s", seed, step, text);
    }
    fixture_fini(&w.f);
}

TEST(gateways_are_told_of_all_that_concerns_them)
{
    for (int seed = 1; seed <= 4; seed++)
        world_walk(seed);
}
