#include "net/dns_feed.h"
#include "client/cache.h"
#include "net/model.h"
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

static void service_put(struct dns_feed *f, const struct obj *o, struct str key)
{
    struct arena a = ARENA;
    ARRAY(const struct val *) slices = {0};
    struct dns_service s;
    struct objset_iter it = objset_with(cache_set(f->slices), &index_service, key);
    for (struct obj *slice; (slice = objset_next(&it));)
        array_push(&slices, &slice->tree);
    if (model_dns(&a, &o->tree, slices.p, slices.n, &s))
        dns_zone_put(f->zone, &s);
    else
        dns_zone_del(f->zone, o->ns, o->name);
    array_fini(&slices);
    arena_fini(&a);
}

static bool feed_is_synced(const struct dns_feed *f)
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
            service_put(f, o, e->key);
        else
            dns_zone_del(f->zone, ns, name);
    }
    map_fini(&f->dirty);
    if (!f->told && feed_is_synced(f)) {
        f->told = true;
        f->heard(f->arg);
    }
}

static void service_mark(void *arg, struct str key)
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
    service_mark(f, arena_fmt(&a, STR_FMT "/" STR_FMT, STR_ARG(o->ns), STR_ARG(o->name)));
    arena_fini(&a);
}

static void on_slice(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct dns_feed *f = container_of(h, struct dns_feed, on_slices);
    if (was)
        slice_service(was, service_mark, f);
    if (now)
        slice_service(now, service_mark, f);
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
