#include "api/codec.h"
#include "api/rules.h"
#include "base/test.h"
#include "control/manager.h"
#include "edge/pools.h"

struct pools_world {
    struct objset services, slices;
    const struct objset *sets[KIND_IDS];
    struct view view;
};

static void world_put(struct pools_world *w, const char *yaml)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val docs = val_list(), v;
    struct err err = ERR;
    CHECK_OK(yaml_decode_all(&a, str_of(yaml), &docs, &err), err);
    val_each_item (it, &docs) {
        bool service = str_eqz(val_text_at(it, N(kind)), "Service");
        const struct kind *k = service ? K(Service) : K(EndpointSlice);
        CHECK_OK(type_decode_val(&a, k->type, it, &v, NULL, &err), err);
        kind_default(&a, k, &v);
        val_set_text(&a, val_need_map(&a, &v, N(metadata)), N(namespace), S("ns"));
        AUTO(obj_unref) struct obj *o = obj_new(k, &v, 1);
        obj_unref(objset_put(service ? &w->services : &w->slices, o));
    }
}

static void world_init(struct pools_world *w)
{
    *w = (struct pools_world){.view = {.sets = w->sets}};
    objset_init(&w->services, K(Service), kind_indexes(K(Service)));
    objset_init(&w->slices, K(EndpointSlice), kind_indexes(K(EndpointSlice)));
    w->sets[K(Service)->id] = &w->services;
    w->sets[K(EndpointSlice)->id] = &w->slices;
    world_put(
        w, "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{name: http, port: 80}, {name: h2, "
           "port: "
           "81, appProtocol: kubernetes.io/h2c}]}}\n---\n"
           "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a-1, labels: "
           "{kubernetes.io/service-name: a}}, addressType: IPv4, ports: [{name: http, port: 8080}, {name: h2, port: "
           "8081}], endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2], conditions: {ready: false}}, "
           "{addresses: [10.0.0.3], conditions: {ready: true}}]}\n---\n"
           "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a-2, labels: "
           "{kubernetes.io/service-name: a}}, addressType: IPv4, ports: [{name: http, port: 8080}], endpoints: "
           "[{addresses: [10.0.0.3]}]}\n---\n"
           "{apiVersion: v1, kind: Service, metadata: {name: going, annotations: {wherry.dev/proxy-protocol: v2}}, "
           "spec: "
           "{ports: [{port: 80}]}}\n---\n"
           "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: going-1, labels: "
           "{kubernetes.io/service-name: going}}, addressType: IPv4, ports: [{name: '', port: 9}], endpoints: "
           "[{addresses: "
           "[10.0.1.1], conditions: {ready: false, serving: true, terminating: true}}, {addresses: [10.0.1.2], "
           "conditions: {ready: false, serving: false, terminating: true}}]}\n---\n"
           "{apiVersion: v1, kind: Service, metadata: {name: empty}, spec: {ports: [{port: 80}]}}\n---\n"
           "{apiVersion: v1, kind: Service, metadata: {name: far}, spec: {type: ExternalName, externalName: "
           "far.example}}\n");
}

static void world_fini(struct pools_world *w)
{
    objset_fini(&w->services);
    objset_fini(&w->slices);
}

/* "HOST:PORT*WEIGHT ..." and the lost share, in thousandths of the whole where there are several. */
static void pool_is(struct pools_world *w, const struct pool_ref *refs, size_t n, bool lose, const char *text)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf out = STRBUF(1 << 16);
    struct door_pool p;
    struct pool_want want = {.base = {.key = S("k")}, .refs = refs, .nrefs = n, .lose = lose};
    uint32_t unit = n > 1 ? 1000000 : 1;
    pools_make(&a, &w->view, &want, &p);
    for (size_t i = 0; i < p.nservers; i++)
        strbuf_addf(&out, STR_FMT ":%u*%u%s%s%s ", STR_ARG(p.servers[i].host), p.servers[i].port,
                    p.servers[i].weight / unit, p.servers[i].protocol == DOOR_TO_HTTP2 ? " h2" : "",
                    p.servers[i].tls ? " tls" : "", p.servers[i].send_proxy ? " proxy" : "");
    strbuf_addf(&out, "lost %u", p.lost_weight / unit);
    CHECK_STR(strbuf_str(&out), str_of(text));
}

TEST(a_service_becomes_its_ready_endpoints)
{
    struct pools_world w;
    world_init(&w);
    struct pool_ref r = {.ns = S("ns"), .service = S("a"), .port_name = S("http"), .weight = 7};
    pool_is(&w, &r, 1, false, "10.0.0.1:8080*1 10.0.0.3:8080*1 lost 0"); /* in two slices: once */
    r.port_name = S("");
    r.port = 81;
    pool_is(&w, &r, 1, false, "10.0.0.1:8081*1 h2 10.0.0.3:8081*1 h2 lost 0");
    r.as_is = true;
    pool_is(&w, &r, 1, false, "10.0.0.1:8081*1 10.0.0.3:8081*1 lost 0");
    r = (struct pool_ref){.ns = S("ns"), .service = S("going"), .weight = 1};
    pool_is(&w, &r, 1, false, "10.0.1.1:9*1 proxy lost 0"); /* none is ready: who still serves */
    r = (struct pool_ref){.ns = S("ns"), .service = S("far"), .port = 443, .weight = 1};
    pool_is(&w, &r, 1, false, "far.example:443*1 lost 0");
    world_fini(&w);
}

TEST(shares_are_spread_and_lost)
{
    struct pools_world w;
    world_init(&w);
    struct pool_ref refs[] = {{.ns = S("ns"), .service = S("a"), .port = 80, .weight = 90},
                              {.ns = S("ns"), .service = S("going"), .weight = 10}};
    pool_is(&w, refs, 2, true, "10.0.0.1:8080*450 10.0.0.3:8080*450 10.0.1.1:9*100 proxy lost 0");
    refs[1].service = S("nobody");
    pool_is(&w, refs, 2, true, "10.0.0.1:8080*450 10.0.0.3:8080*450 lost 100");
    pool_is(&w, refs, 2, false, "10.0.0.1:8080*450 10.0.0.3:8080*450 lost 0");
    refs[1] = refs[0];
    refs[1].refused = true;
    pool_is(&w, refs, 2, true, "10.0.0.1:8080*250 10.0.0.3:8080*250 lost 500");
    refs[1] = (struct pool_ref){
        .ns = S("ns"), .service = S("empty"), .port = 80, .weight = 1}; /* it may come: no error */
    pool_is(&w, refs, 2, true, "10.0.0.1:8080*494 10.0.0.3:8080*494 lost 0");
    refs[0].weight = 0;
    pool_is(&w, refs, 2, true, "10.0.0.1:8080*0 10.0.0.3:8080*0 lost 0");
    world_fini(&w);
}

TEST(what_is_wrong_with_a_backend_is_told)
{
    struct pools_world w;
    world_init(&w);
    CHECK(pool_trouble_of(&w.view, &(struct pool_ref){.ns = S("ns"), .service = S("a"), .port = 80}) == POOL_FINE);
    CHECK(pool_trouble_of(&w.view, &(struct pool_ref){.ns = S("ns"), .service = S("a"), .port = 82}) == POOL_NO_PORT);
    CHECK(pool_trouble_of(&w.view, &(struct pool_ref){.ns = S("ns"), .service = S("a")}) ==
          POOL_NO_PORT); /* it has two */
    CHECK(pool_trouble_of(&w.view, &(struct pool_ref){.ns = S("ns"), .service = S("b")}) == POOL_NO_SERVICE);
    CHECK(pool_trouble_of(&w.view, &(struct pool_ref){.ns = S("ns"), .service = S("empty")}) == POOL_NO_ENDPOINT);
    world_fini(&w);
}
