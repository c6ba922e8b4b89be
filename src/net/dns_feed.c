#include "net/dns_feed.h"
#include "client/cache.h"
#include "sys/loop.h"

static void slice_service(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    struct arena a = ARENA;
    struct str name = val_text(val_get_str(obj_labels(o), S("kubernetes.io/service-name")));
    add(arg, arena_fmt(&a, STR_FMT "/" STR_FMT, STR_ARG(o->ns), STR_ARG(name)));
    arena_fini(&a);
}
static const struct objindex index_service = {"service", slice_service};
static const struct objindex *const slice_indexes[] = {&index_service, NULL};

struct dns_feed {
    struct dns_zone *zone;
    struct cache *services, *slices, *namespaces;
    struct cache_handler on_services, on_slices, on_namespaces;
    struct map dirty; /* "NS/NAME" of Services */
    struct timer timer;
    bool told;
    void (*heard)(void *arg);
    void *arg;
};

static const struct dns_port *ports_of(struct arena *a, const struct val *list, size_t *n)
{
    struct dns_port *p = arena_alloc(a, (val_len(list) + 1) * sizeof *p);
    *n = 0;
    val_each_item (port, list) {
        char *proto = arena_strz(a, val_text_at(port, N(protocol)));
        for (char *c = proto; *c; c++)
            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
        p[(*n)++] = (struct dns_port){val_text_at(port, N(name)), str_of(proto),
                                      (uint16_t)val_num_at(port, 0, N(port))};
    }
    return p;
}

struct endpoints {
    ARRAY(struct dns_endpoint) list;
};

static void add_slice(struct arena *a, const struct obj *o, bool all, struct endpoints *out)
{
    size_t nports;
    const struct dns_port *ports = ports_of(a, val_get(&o->tree, N(ports)), &nports);
    val_each_item (e, val_get(&o->tree, N(endpoints))) {
        const struct val *ready = val_at(e, N(conditions), N(ready));
        struct dns_endpoint x = {.hostname = val_text_at(e, N(hostname)), .ports = ports, .nports = nports};
        if (!all && ready && !val_true(ready))
            continue;
        if (ip4_parse(val_text(val_item(val_get(e, N(addresses)), 0)), &x.ip))
            array_push(&out->list, x);
    }
}

static void put(struct dns_feed *f, const struct obj *o, struct str key)
{
    struct arena a = ARENA;
    struct endpoints eps = {0};
    const struct val *spec = obj_spec(o);
    struct str ip = val_text_at(spec, N(clusterIP));
    struct dns_service s = {.ns = o->ns, .name = o->name};
    uint32_t addresses[4];
    if (str_eq(val_text_at(spec, N(type)), S("ExternalName"))) {
        s.external_name = val_text_at(spec, N(externalName));
    } else if (str_eq(ip, S("None"))) {
        bool all = val_true(val_get(spec, N(publishNotReadyAddresses)));
        struct objset_iter it = objset_with(cache_set(f->slices), &index_service, key);
        for (struct obj *slice; (slice = objset_next(&it));)
            add_slice(&a, slice, all, &eps);
    } else {
        val_each_item (v, val_get(spec, N(clusterIPs))) {
            if (s.ncluster_ips < countof(addresses) && ip4_parse(val_text(v), &addresses[s.ncluster_ips]))
                s.ncluster_ips++;
        }
        s.cluster_ips = addresses;
    }
    s.ports = ports_of(&a, val_get(spec, N(ports)), &s.nports);
    s.endpoints = eps.list.p;
    s.nendpoints = eps.list.n;
    dns_zone_put(f->zone, &s);
    array_fini(&eps.list);
    arena_fini(&a);
}

static bool synced(const struct dns_feed *f)
{
    return cache_synced(f->services) && cache_synced(f->slices) && cache_synced(f->namespaces);
}

static void on_timer(struct timer *t)
{
    struct dns_feed *f = container_of(t, struct dns_feed, timer);
    map_each (e, &f->dirty) {
        struct str ns, name;
        (void)str_split(e->key, '/', &ns, &name);
        const struct obj *o = cache_peek(f->services, ns, name);
        if (o)
            put(f, o, e->key);
        else
            dns_zone_del(f->zone, ns, name);
    }
    map_fini(&f->dirty);
    if (!f->told && synced(f)) {
        f->told = true;
        f->heard(f->arg);
    }
}

static void mark(void *arg, struct str key)
{
    struct dns_feed *f = arg;
    (void)map_put(&f->dirty, key, f);
    timer_set(&f->timer, 0);
}

static void on_service(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct dns_feed *f = container_of(h, struct dns_feed, on_services);
    struct arena a = ARENA;
    const struct obj *o = now ? now : was;
    mark(f, arena_fmt(&a, STR_FMT "/" STR_FMT, STR_ARG(o->ns), STR_ARG(o->name)));
    arena_fini(&a);
}

static void on_slice(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct dns_feed *f = container_of(h, struct dns_feed, on_slices);
    if (was)
        slice_service(was, mark, f);
    if (now)
        slice_service(now, mark, f);
}

static void on_namespace(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct dns_feed *f = container_of(h, struct dns_feed, on_namespaces);
    dns_zone_namespace(f->zone, (now ? now : was)->name, now != NULL);
}

static void on_services_synced(struct cache_handler *h)
{
    timer_set(&container_of(h, struct dns_feed, on_services)->timer, 0);
}

static void on_slices_synced(struct cache_handler *h)
{
    timer_set(&container_of(h, struct dns_feed, on_slices)->timer, 0);
}

static void on_namespaces_synced(struct cache_handler *h)
{
    timer_set(&container_of(h, struct dns_feed, on_namespaces)->timer, 0);
}

struct dns_feed *dns_feed_new(struct transport *t, struct dns_zone *zone, void (*heard)(void *arg), void *arg)
{
    struct dns_feed *f = NEW(struct dns_feed);
    f->zone = zone;
    f->heard = heard;
    f->arg = arg;
    timer_init(&f->timer, t->loop, on_timer);
    f->services = cache_new(t, &(struct cache_options){.kind = K(Service)});
    f->slices = cache_new(t, &(struct cache_options){.kind = K(EndpointSlice), .indexes = slice_indexes});
    f->namespaces = cache_new(t, &(struct cache_options){.kind = K(Namespace)});
    f->on_services = (struct cache_handler){.changed = on_service, .synced = on_services_synced};
    f->on_slices = (struct cache_handler){.changed = on_slice, .synced = on_slices_synced};
    f->on_namespaces = (struct cache_handler){.changed = on_namespace, .synced = on_namespaces_synced};
    cache_handler_add(f->services, &f->on_services);
    cache_handler_add(f->slices, &f->on_slices);
    cache_handler_add(f->namespaces, &f->on_namespaces);
    cache_start(f->services);
    cache_start(f->slices);
    cache_start(f->namespaces);
    return f;
}

void dns_feed_free(struct dns_feed *f)
{
    if (!f)
        return;
    cache_handler_del(&f->on_services);
    cache_handler_del(&f->on_slices);
    cache_handler_del(&f->on_namespaces);
    cache_free(f->services);
    cache_free(f->slices);
    cache_free(f->namespaces);
    timer_stop(&f->timer);
    map_fini(&f->dirty);
    mem_free(f);
}
