#include "control/world_test.h"
#include "api/codec.h"
#include "api/strategy.h"
#include "base/array.h"
#include "client/cache.h"
#include "control/pods.h"
#include "sys/loop.h"

/* One thing that a node is to do to a pod. */
struct deed {
    struct kubelet *k;
    struct timer timer;
    struct list node;
    char *ns, *name, *uid;
    enum { DEED_START, DEED_END, DEED_GONE } what;
};
struct kubelet {
    struct world *w;
    struct cache *pods;
    struct cache_handler handler;
    struct list deeds;
    struct timer renew;
};

static void deed_free(struct deed *d)
{
    timer_stop(&d->timer);
    list_del(&d->node);
    mem_free(d->ns);
    mem_free(d->name);
    mem_free(d->uid);
    mem_free(d);
}

static struct obj *pod_of(struct deed *d)
{
    struct obj *pod = fake_get(d->k->w->api, K(Pod), str_of(d->ns), str_of(d->name));
    return pod && str_eqz(pod->uid, d->uid) ? pod : NULL;
}

static void pod_ready(struct world *w, struct obj *pod)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v = val_copy(&a, &pod->tree), conditions = val_list(), c = val_map();
    struct val *status = val_need_map(&a, &v, N(status));
    val_set_text(&a, status, N(phase), S("Running"));
    struct str ip = arena_fmt(&a, "10.42.%zu.%zu", w->ips / 250, w->ips % 250 + 1);
    w->ips++;
    val_set(&a, status, N(podIP), val_str(&a, ip));
    val_set_text(&a, &c, N(type), S("Ready"));
    val_set_text(&a, &c, N(status), S("True"));
    val_set(&a, &c, N(lastTransitionTime), val_str(&a, time_text(&a, clock_real())));
    val_add(&a, &conditions, c);
    val_each_item (it, val_get(obj_status(pod), N(conditions)))
        val_add(&a, &conditions, *it);
    val_set(&a, status, N(conditions), conditions);
    fake_put(w->api, K(Pod), &v);
}

/* By its own code, or because it was told to. */
static void pod_end(struct world *w, struct obj *pod, int code, bool going)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v = val_copy(&a, &pod->tree), list = val_list(), c = val_map();
    struct val *status = val_need_map(&a, &v, N(status)), *meta = val_need_map(&a, &v, N(metadata));
    if (!pod_is_over(pod)) {
        val_set_text(&a, status, N(phase), code == 0 ? S("Succeeded") : S("Failed"));
        val_set_text(&a, &c, N(name), S("c"));
        struct val *ended = val_need_map(&a, &c, N(state), N(terminated));
        val_set_num(&a, ended, N(exitCode), code);
        val_set(&a, ended, N(finishedAt), val_str(&a, time_text(&a, clock_real())));
        val_add(&a, &list, c);
        val_set(&a, status, N(containerStatuses), list);
        val_del(status, N(conditions));
    }
    if (going)
        val_set_num(&a, meta, N(deletionGracePeriodSeconds), 0);
    fake_put(w->api, K(Pod), &v);
}

static void deed_due(struct timer *t)
{
    struct deed *d = container_of(t, struct deed, timer);
    struct world *w = d->k->w;
    struct obj *pod = pod_of(d);
    if (pod && d->what == DEED_GONE && val_len(val_get(obj_meta(pod), N(finalizers))) > 0)
        pod_end(w, pod, 137, true);
    else if (pod && d->what == DEED_GONE)
        fake_remove(w->api, K(Pod), pod->ns, pod->name);
    else if (pod && d->what == DEED_END && !obj_deleting(pod) && !pod_is_over(pod))
        pod_end(w, pod, w->fate(w, pod), false);
    else if (pod && d->what == DEED_START && !obj_deleting(pod) && (!w->starts || w->starts(pod)))
        pod_ready(w, pod);
    deed_free(d);
}

static void deed_add(struct kubelet *k, struct obj *pod, int what, int64_t most)
{
    struct deed *d = NEW(struct deed);
    *d = (struct deed){
        .k = k, .ns = str_dupz(pod->ns), .name = str_dupz(pod->name), .uid = str_dupz(pod->uid), .what = what};
    list_add_tail(&k->deeds, &d->node);
    timer_init(&d->timer, k->w->loop, deed_due);
    timer_set(&d->timer, (int64_t)random_below((uint64_t)most + 1));
}

static void pod_seen(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct kubelet *k = container_of(h, struct kubelet, handler);
    if (!now || pod_node(now).n == 0)
        return;
    if (!was || pod_node(was).n == 0)
        deed_add(k, now, DEED_START, k->w->start_ns);
    if (k->w->fate && pod_is_ready(now) && (!was || !pod_is_ready(was)) && k->w->fate(k->w, now) >= 0)
        deed_add(k, now, DEED_END, k->w->run_ns);
    if (obj_deleting(now) && (!was || !obj_deleting(was)))
        deed_add(k, now, DEED_GONE, k->w->stop_ns);
}

static void world_written(void *arg, struct obj *was, struct obj *now)
{
    struct world *w = arg;
    if (w->written)
        w->written(w, was, now);
    if (w->check)
        w->check(w);
}

static void lease_put(struct world *w, const char *node)
{
    AUTO(arena_fini) struct arena a = ARENA;
    fake_put_yaml(w->api,
                  arena_fmt(&a,
                            "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: %s, namespace: "
                            "kube-node-lease}, spec: {renewTime: '2030-01-01T00:00:00.%06zuZ'}}",
                            node, w->renewals % 1000000));
    w->renewals++;
}

/* The leases that world_node made, and no test has written since. */
static void leases_renew(struct timer *t)
{
    struct world *w = container_of(t, struct kubelet, renew)->w;
    ARRAY(char *) all = {0};
    struct obj *o;
    for (struct objset_iter it = objset_all(fake_set(w->api, K(Lease))); (o = objset_next(&it));)
        if (str_starts(val_text_at(obj_spec(o), N(renewTime)), S("2030-")))
            array_push(&all, str_dupz(o->name));
    array_each (it, &all) {
        lease_put(w, *it);
        mem_free(*it);
    }
    array_fini(&all);
    timer_set(t, 10 * NS_PER_S);
}

static struct manager *world_manager(struct world *w)
{
    struct manager_options m = {.transport = w->api, .schedule = true, .root_ca = S("PEM")};
    return manager_new(&m);
}

void world_init(struct world *w, uint64_t seed, int64_t delay_ns)
{
    *w = (struct world){.start_ns = 50 * NS_PER_MS, .stop_ns = 50 * NS_PER_MS, .run_ns = 50 * NS_PER_MS};
    w->loop = loop_new_simulated(seed);
    w->api = fake_new(w->loop, delay_ns);
    fake_on_write(w->api, world_written, w);
    w->kubelet = NEW(struct kubelet);
    w->kubelet->w = w;
    list_init(&w->kubelet->deeds);
    timer_init(&w->kubelet->renew, w->loop, leases_renew);
    timer_set(&w->kubelet->renew, 10 * NS_PER_S);
    struct cache_options o = {.kind = K(Pod)};
    w->kubelet->pods = cache_new(w->api, &o);
    w->kubelet->handler.changed = pod_seen;
    cache_handler_add(w->kubelet->pods, &w->kubelet->handler);
    w->manager = world_manager(w);
}

void world_start(struct world *w)
{
    cache_start(w->kubelet->pods);
    manager_start(w->manager);
}

void world_restart(struct world *w)
{
    manager_free(w->manager);
    w->manager = world_manager(w);
    manager_start(w->manager);
}

void world_fini(struct world *w)
{
    manager_free(w->manager);
    cache_free(w->kubelet->pods);
    list_each (d, &w->kubelet->deeds, struct deed, node)
        deed_free(d);
    timer_stop(&w->kubelet->renew);
    mem_free(w->kubelet);
    transport_free(w->api);
    loop_free(w->loop);
}

void world_run(struct world *w, bool (*until)(struct world *w), int64_t limit_ns)
{
    int64_t end = clock_mono() + limit_ns;
    while (!until(w)) {
        if (!loop_run_once(w->loop, NS_PER_S) || clock_mono() > end)
            test_failed(__FILE__, __LINE__, "it does not come to pass within %lld ms",
                        (long long)(limit_ns / NS_PER_MS));
    }
}

void world_run_for(struct world *w, int64_t ns)
{
    for (int64_t end = clock_mono() + ns; clock_mono() < end;)
        if (!loop_run_once(w->loop, end - clock_mono()))
            return;
}

void world_node(struct world *w, const char *name, const char *cpu)
{
    AUTO(arena_fini) struct arena a = ARENA;
    fake_put_yaml(
        w->api, arena_fmt(&a,
                          "{apiVersion: v1, kind: Node, metadata: {name: %s, labels: {kubernetes.io/hostname: %s}}, "
                          "status: {allocatable: {cpu: '%s', memory: 16Gi, pods: '110'}, "
                          "conditions: [{type: Ready, status: 'True'}]}}",
                          name, name, cpu));
    lease_put(w, name);
}

struct obj *world_put(struct world *w, const char *yaml)
{
    return fake_put_yaml(w->api, str_of(yaml));
}

struct patching {
    struct call call;
    bool done;
};

static void patching_done(struct call *c)
{
    struct patching *p = container_of(c, struct patching, call);
    if (!c->ok)
        test_failed(__FILE__, __LINE__, "patch: %s", c->err.text);
    p->done = true;
}

void world_patch(struct world *w, const struct kind *k, const char *name, const char *sub, const char *json)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val patch;
    struct err err = ERR;
    CHECK_OK(yaml_decode(&a, str_of(json), &patch, &err), err);
    struct patching p = {.call = {.done = patching_done}};
    struct call_options o = CALL_OPTIONS(.verb = CALL_PATCH, .kind = k, .ns = k->namespaced ? S("default") : S(""),
                                         .name = str_of(name), .sub = str_of(sub), .patch = PATCH_STRATEGIC,
                                         .body = &patch);
    call_start(&p.call, w->api, &o);
    while (!p.done && loop_run_once(w->loop, NS_PER_S))
        ;
    CHECK(p.done);
}

size_t world_events(struct world *w, const char *reason)
{
    size_t n = 0;
    const struct kind *const both[] = {K(Event), K(events_k8s_io_Event)};
    for (size_t i = 0; i < countof(both); i++) {
        struct obj *o;
        for (struct objset_iter it = objset_all(fake_set(w->api, both[i])); (o = objset_next(&it));)
            n += str_eqz(val_text_at(&o->tree, N(reason)), reason);
    }
    return n;
}

void world_disturb(struct world *w)
{
    switch (random_below(3)) {
    case 0: fake_cut(w->api); break;
    case 1: fake_fail(w->api, 3, E_UNAVAILABLE); break;
    default: fake_compact(w->api);
    }
}
