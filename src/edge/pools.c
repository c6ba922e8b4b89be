/* A pool is worked out again when a Service that it names or one of that Service's slices changes, and put when the
 * role decides; what is the same as before the door finds out by itself. */
#include "edge/pools.h"
#include "base/map.h"

#define WHOLE 1000000000u /* of all shares of a pool that has several Services */

struct pools_pool {
    struct pool_want want;
    struct arena arena; /* of what it borrows */
    size_t count;
    bool dirty;
};
/* The pools that name a Service. */
struct pools_users {
    ARRAY(struct pools_pool *) list;
};
struct pools {
    struct feed *feed;
    struct door *door;
    struct map by_key;     /* -> struct pools_pool */
    struct map by_service; /* "NS/NAME" -> struct pools_users */
    ARRAY(struct pools_pool *) marked;
    bool dropped; /* the door is to be told */
};
extern const struct objindex index_slices; /* of EndpointSlices, by "NS/SERVICE" (control/endpointslice.c) */

/* --- a Service's port and what stands behind it: pure --- */

static bool port_is(const struct val *port, const struct pool_ref *r, bool only)
{
    struct str protocol = val_text_at(port, N(protocol));
    if (protocol.n && !str_eqz(protocol, "TCP"))
        return false;
    if (r->port_name.n)
        return str_eq(val_text_at(port, N(name)), r->port_name);
    return r->port ? val_num_at(port, 0, N(port)) == r->port : only;
}

static const struct val *service_port(const struct obj *service, const struct pool_ref *r)
{
    const struct val *ports = val_get(obj_spec(service), N(ports));
    val_each_item (port, ports)
        if (port_is(port, r, val_len(ports) == 1))
            return port;
    return NULL;
}

static bool is_external(const struct obj *service)
{
    return str_eqz(val_text_at(obj_spec(service), N(type)), "ExternalName");
}

/* ready 1; terminating and serving, for where none is ready, 2; else 0 */
static int endpoint_standing(const struct val *endpoint)
{
    const struct val *c = val_get(endpoint, N(conditions)), *ready = val_get(c, N(ready));
    if (!val_is(ready, VAL_BOOL) || ready->b)
        return 1;
    return val_true(val_get(c, N(serving))) && val_true(val_get(c, N(terminating))) ? 2 : 0;
}

struct pools_found {
    ARRAY(struct door_server) list; /* host and port alone; borrowed from the slices */
};

static void found_add(struct pools_found *f, struct str host, int64_t port)
{
    array_each (s, &f->list)
        if (str_eq(s->host, host) && s->port == port)
            return; /* in two slices while it moves */
    array_push(&f->list, ((struct door_server){.host = host, .port = (uint16_t)port}));
}

static void slices_walk(const struct view *v, const struct obj *service, const struct val *port, int standing,
                        struct pools_found *f)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    struct str name = val_text_at(port, N(name));
    struct objset_iter it = view_with(v, K(EndpointSlice), &index_slices, objset_key_of(&key, service));
    for (struct obj *slice; (slice = objset_next(&it));) {
        const struct val *own = NULL;
        if (str_eqz(val_text_at(&slice->tree, N(addressType)), "FQDN"))
            continue;
        val_each_item (p, val_get(&slice->tree, N(ports)))
            if (str_eq(val_text_at(p, N(name)), name) && val_num_at(p, 0, N(port)) > 0)
                own = p;
        val_each_item (e, val_get(&slice->tree, N(endpoints)))
            if (own && endpoint_standing(e) == standing)
                found_add(f, val_text(val_item(val_get(e, N(addresses)), 0)), val_num_at(own, 0, N(port)));
    }
}

static void endpoints_find(const struct view *v, const struct obj *service, const struct val *port,
                           struct pools_found *f)
{
    if (is_external(service)) {
        found_add(f, val_text_at(obj_spec(service), N(externalName)), val_num_at(port, 0, N(port)));
        return;
    }
    slices_walk(v, service, port, 1, f);
    if (f->list.n == 0)
        slices_walk(v, service, port, 2, f);
}

/* Of an ExternalName Service any port may be meant, as it needs to name none. */
static const struct val *port_meant(struct arena *a, const struct obj *service, const struct pool_ref *r)
{
    const struct val *port = service_port(service, r);
    if (port || !is_external(service) || !r->port || val_len(val_get(obj_spec(service), N(ports))) > 0)
        return port;
    struct val made = val_map();
    val_set_num(a, &made, N(port), r->port);
    return arena_dup(a, &made, sizeof made);
}

static enum pool_trouble ref_look(struct arena *a, const struct view *v, const struct pool_ref *r,
                                  struct pools_found *f, const struct val **port)
{
    struct obj *service = view_get(v, K(Service), r->ns, r->service);
    *port = service ? port_meant(a, service, r) : NULL;
    if (!*port)
        return service ? POOL_NO_PORT : POOL_NO_SERVICE;
    endpoints_find(v, service, *port, f);
    return f->list.n ? POOL_FINE : POOL_NO_ENDPOINT;
}

enum pool_trouble pool_trouble_of(const struct view *v, const struct pool_ref *r)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct pools_found f = {0};
    const struct val *port;
    enum pool_trouble t = ref_look(&a, v, r, &f, &port);
    array_fini(&f.list);
    return t;
}

/* --- pools --- */

/* A Service whose pods want to hear by the PROXY protocol who connects says so itself. */
static struct door_server server_as(const struct view *v, const struct pool_ref *r, const struct val *port)
{
    struct door_server s = r->as;
    struct str app = val_text_at(port, N(appProtocol));
    const struct obj *service = view_get(v, K(Service), r->ns, r->service);
    if (service && str_eqz(obj_note(service, "wherry.dev/proxy-protocol"), "v2"))
        s.send_proxy = true;
    if (r->as_is)
        return s;
    if (str_eqz(app, "kubernetes.io/h2c") || str_eqz(app, "grpc"))
        s.protocol = DOOR_TO_HTTP2;
    if (str_eqz(app, "https") || str_eqz(app, "kubernetes.io/wss"))
        s.tls = true;
    return s;
}

/* Shares become weights of servers: a Service's share is spread over those that stand behind it. */
static uint32_t share_of(const struct pool_want *w, const struct pool_ref *r)
{
    uint64_t whole = 0;
    for (size_t i = 0; i < w->nrefs; i++)
        whole += w->refs[i].weight;
    if (!r->weight)
        return 0;
    return w->nrefs == 1 ? 1 : (uint32_t)MAX((uint64_t)r->weight * WHOLE / whole, 1);
}

void pools_make(struct arena *a, const struct view *v, const struct pool_want *w, struct door_pool *out)
{
    ARRAY(struct door_server) servers = {0};
    uint64_t lost = 0;
    *out = w->base;
    for (size_t i = 0; i < w->nrefs; i++) {
        const struct pool_ref *r = &w->refs[i];
        const struct val *port = NULL;
        struct pools_found f = {0};
        uint32_t share = share_of(w, r);
        enum pool_trouble t = r->refused ? POOL_NO_SERVICE : ref_look(a, v, r, &f, &port);
        if (t != POOL_FINE && t != POOL_NO_ENDPOINT && w->lose)
            lost += share;
        array_each (found, &f.list) {
            struct door_server s = server_as(v, r, port);
            s.host = found->host;
            s.port = found->port;
            s.weight = w->nrefs == 1 || !share ? share : MAX(share / (uint32_t)f.list.n, 1);
            array_push(&servers, s);
        }
        array_fini(&f.list);
    }
    out->lost_weight = (uint32_t)lost;
    out->servers = arena_dup(a, servers.p, servers.n * sizeof *servers.p);
    out->nservers = servers.n;
    array_fini(&servers);
}

static void pool_put(struct pools *p, struct pools_pool *pool)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct door_pool out;
    pools_make(&a, feed_view(p->feed), &pool->want, &out);
    door_pool_put(p->door, &out);
}

static void pool_mark(struct pools *p, struct pools_pool *pool)
{
    if (!pool->dirty)
        array_push(&p->marked, pool);
    pool->dirty = true;
}

static void service_mark(struct pools *p, struct str ns, struct str name)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    struct pools_users *u = map_get(&p->by_service, objset_key(&key, ns, name));
    if (!u)
        return;
    array_each (it, &u->list)
        pool_mark(p, *it);
}

void pools_changed(struct pools *p, const struct kind *k, const struct obj *was, const struct obj *now)
{
    const struct obj *both[] = {was, now};
    for (size_t i = 0; i < countof(both); i++) {
        if (both[i] && k == K(Service))
            service_mark(p, both[i]->ns, both[i]->name);
        if (both[i] && k == K(EndpointSlice))
            service_mark(p, both[i]->ns, val_text(val_get_str(obj_labels(both[i]), S("kubernetes.io/service-name"))));
    }
}

bool pools_put(struct pools *p)
{
    bool any = p->dropped || p->marked.n > 0;
    array_each (it, &p->marked) {
        (*it)->dirty = false;
        pool_put(p, *it);
    }
    p->marked.n = 0;
    p->dropped = false;
    return any;
}

bool pools_any(const struct pools *p)
{
    return map_len(&p->by_key) > 0;
}

static void text_keep(struct arena *a, struct str *s)
{
    *s = str_dup(a, *s);
}

static void want_copy(struct pools_pool *pool, const struct pool_want *w)
{
    struct arena *a = &pool->arena;
    pool->want = *w;
    struct door_pool *b = &pool->want.base;
    struct str *texts[] = {&b->key,           &b->hash_on,         &b->cookie,        &b->cookie_path,
                           &b->cookie_domain, &b->cookie_samesite, &b->persist_header};
    for (size_t i = 0; i < countof(texts); i++)
        text_keep(a, texts[i]);
    b->servers = NULL;
    b->nservers = 0;
    struct pool_ref *refs = arena_dup(a, w->refs, w->nrefs * sizeof *refs);
    for (size_t i = 0; i < w->nrefs; i++) {
        struct pool_ref *r = &refs[i];
        struct str *own[] = {&r->ns, &r->service, &r->port_name, &r->as.tls_name, &r->as.tls_ca, &r->as.tls_own};
        for (size_t j = 0; j < countof(own); j++)
            text_keep(a, own[j]);
    }
    pool->want.refs = refs;
}

static void users_add(struct pools *p, struct pools_pool *pool)
{
    for (size_t i = 0; i < pool->want.nrefs; i++) {
        AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
        struct str key = objset_key(&text, pool->want.refs[i].ns, pool->want.refs[i].service);
        struct pools_users *u = map_get(&p->by_service, key);
        if (!u) {
            u = NEW(struct pools_users);
            (void)map_put(&p->by_service, key, u); /* none was there */
        }
        array_push(&u->list, pool);
    }
}

static void users_del(struct pools *p, struct pools_pool *pool)
{
    for (size_t i = 0; i < pool->want.nrefs; i++) {
        AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
        struct str key = objset_key(&text, pool->want.refs[i].ns, pool->want.refs[i].service);
        struct pools_users *u = map_get(&p->by_service, key);
        for (size_t j = u ? u->list.n : 0; j-- > 0;)
            if (u->list.p[j] == pool)
                array_del(&u->list, j);
        if (u && u->list.n == 0) {
            (void)map_del(&p->by_service, key);
            array_fini(&u->list);
            mem_free(u);
        }
    }
}

static void pool_free(struct pools_pool *pool)
{
    arena_fini(&pool->arena);
    mem_free(pool);
}

void pools_want(struct pools *p, const struct pool_want *w)
{
    struct pools_pool *pool = map_get(&p->by_key, w->base.key);
    if (pool) {
        pool->count++;
        return;
    }
    pool = NEW(struct pools_pool);
    pool->count = 1;
    want_copy(pool, w);
    (void)map_put(&p->by_key, pool->want.base.key, pool); /* none was there */
    users_add(p, pool);
    pool_mark(p, pool);
}

void pools_drop(struct pools *p, struct str key)
{
    struct pools_pool *pool = map_get(&p->by_key, key);
    if (!pool || --pool->count)
        return;
    (void)map_del(&p->by_key, key);
    users_del(p, pool);
    door_pool_del(p->door, pool->want.base.key);
    for (size_t i = p->marked.n; i-- > 0;)
        if (p->marked.p[i] == pool)
            array_del(&p->marked, i);
    pool_free(pool);
    p->dropped = true;
}

struct pools *pools_new(struct feed *f, struct door *d)
{
    struct pools *p = NEW(struct pools);
    *p = (struct pools){.feed = f, .door = d};
    return p;
}

void pools_free(struct pools *p)
{
    if (!p)
        return;
    map_each (it, &p->by_key) {
        struct pools_pool *pool = it->value;
        users_del(p, pool);
        pool_free(pool);
    }
    map_fini(&p->by_key);
    map_fini(&p->by_service);
    array_fini(&p->marked);
    mem_free(p);
}
