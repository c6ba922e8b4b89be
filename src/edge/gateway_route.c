/* Gateways and their routes at the front door: each Gateway is a part with its listeners and certificates, each route
 * a part with what it asks for on the listeners where it attaches. What a change concerns the controllers' own
 * functions say (control/gateway_keys.c), so the door and the statuses are of one mind.
 *
 * Gateways and their classes are watched from the start; all else from the first Gateway of ours on. */
#include "api/custom.h"
#include "base/map.h"
#include "client/events.h"
#include "control/backend_tls.h"
#include "edge/edge.h"
#include "edge/stream_route.h"

#define AUTHORITIES_MAX (1u << 20)

/* What was put for one object, and what is wanted for it meanwhile. */
struct gateway_put {
    struct arena arena;
    ARRAY(struct str) pools;    /* keys that are wanted */
    ARRAY(uint64_t) signatures; /* of these */
    ARRAY(struct str) bundles;  /* "NS/NAME" of ConfigMaps */
    uint64_t serving;           /* of a Gateway: which listeners at which addresses */
    bool dirty;
};
struct gateway_door {
    struct edge *edge;
    struct events *events;
    bool wants;               /* all kinds are wanted */
    struct map puts;          /* "Gateway/NS/NAME", "HTTPRoute/NS/NAME" -> struct gateway_put */
    ARRAY(struct str) marked; /* keys of puts */
};

static struct gateway_put *put_of(struct gateway_door *d, struct str key)
{
    struct gateway_put *p = map_get(&d->puts, key);
    if (!p) {
        p = NEW(struct gateway_put);
        (void)map_put(&d->puts, key, p); /* none was there */
    }
    return p;
}

static void put_drop(struct gateway_door *d, struct gateway_put *p)
{
    array_each (it, &p->pools)
        pools_drop(d->edge->pools, *it);
    array_each (it, &p->bundles) {
        struct str ns, name;
        if (str_split(*it, '/', &ns, &name))
            feed_drop_object(d->edge->feed, K(ConfigMap), ns, name);
    }
    array_fini(&p->pools);
    array_fini(&p->signatures);
    array_fini(&p->bundles);
    arena_fini(&p->arena);
}

/* --- marking --- */

struct gateway_mark {
    struct gateway_door *door;
    const char *kind;
};

static void mark_add(void *arg, struct str ns, struct str name)
{
    const struct gateway_mark *m = arg;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addf(&b, "%s/" STR_FMT "/" STR_FMT, m->kind, STR_ARG(ns), STR_ARG(name));
    struct gateway_put *p = put_of(m->door, strbuf_str(&b));
    if (p->dirty)
        return;
    p->dirty = true;
    array_push(&m->door->marked, str_of(mem_dupz(strbuf_str(&b).p)));
}

static void all_want(struct gateway_door *d)
{
    struct feed *f = d->edge->feed;
    const struct kind *const built_in[] = {K(Namespace), K(Service), K(EndpointSlice), K(Secret), K(Node)};
    const char *const defined[] = {GATEWAYS_SETS, GATEWAYS_GRANTS, GATEWAYS_TLS_POLICIES, "addresspools.wherry.dev",
                                   "ipaddresspools.metallb.io"};
    d->wants = true;
    for (size_t i = 0; i < countof(built_in); i++)
        feed_want(f, built_in[i]);
    for (size_t i = 0; i < countof(defined); i++)
        feed_want_defined(f, defined[i]);
    for (size_t i = 0; i < ROUTE_KINDS; i++)
        feed_want_defined(f, route_rows[i].definition);
}

static void routes_mark(void *arg, struct str service)
{
    struct gateway_door *d = arg;
    const struct view *v = feed_view(d->edge->feed);
    struct gateway_mark m = {d, NULL};
    for (enum route_kind r = 0; r < ROUTE_KINDS; r++) {
        const struct kind *k = route_kind_of(v, r);
        struct objset_iter it = k ? view_with(v, k, &index_route_backend, service) : (struct objset_iter){0};
        struct obj *o;
        m.kind = route_rows[r].kind;
        while (k && (o = objset_next(&it)))
            mark_add(&m, o->ns, o->name);
    }
}

static void routes_of_targets(struct gateway_door *d, const struct obj *policy)
{
    if (policy)
        index_policy_target.keys(policy, routes_mark, d);
}

static bool gateways_are_there(const struct view *v)
{
    const struct kind *k = view_defined(v, GATEWAYS);
    struct obj *o;
    if (k)
        for (struct objset_iter it = view_all(v, k); (o = objset_next(&it));)
            if (gateway_is_ours(v, o))
                return true;
    return false;
}

/* Routes to the Services that a policy is about: whether TLS is spoken to them is the pool's. */
static void routes_of_policy(void *arg, struct str ns, struct str name)
{
    struct gateway_door *d = arg;
    const struct view *v = feed_view(d->edge->feed);
    const struct kind *k = view_defined(v, GATEWAYS_TLS_POLICIES);
    const struct obj *policy = k ? view_get(v, k, ns, name) : NULL;
    if (policy)
        routes_of_targets(d, policy);
}

static void source_changed(void *state, const struct kind *k, const struct obj *was, const struct obj *now)
{
    struct gateway_door *d = state;
    const struct view *v = feed_view(d->edge->feed);
    struct gateway_mark m = {d, "Gateway"};
    if (k == K(EndpointSlice) || k == K(Ingress) || k == K(IngressClass))
        return;
    keys_of_gateway(v, was, now, mark_add, &m);
    for (enum route_kind r = 0; r < ROUTE_KINDS; r++) {
        m.kind = route_rows[r].kind;
        keys_of_route(v, r, was, now, mark_add, &m);
    }
    if (k->custom && str_eqz(k->custom->definition, GATEWAYS_TLS_POLICIES)) {
        routes_of_targets(d, was);
        routes_of_targets(d, now);
    } else if (k == K(ConfigMap) || k == K(Secret)) {
        keys_of_policy(v, was, now, routes_of_policy, d);
    }
}

/* --- a Gateway --- */

static struct str authorities_of(struct arena *a, const struct gateway_listener *l)
{
    struct str out = S("");
    for (size_t i = 0; i < l->ncas; i++) {
        struct str pem = text_of(val_get(&l->cas[i]->tree, N(data)), "ca.crt");
        if (out.n + pem.n < AUTHORITIES_MAX)
            out = STR_JOIN(a, out, pem, S("\n"));
    }
    return out;
}

/* A certificate of a listener with a hostname is shown for that, whatever names it holds itself. */
static void certificates_add(struct arena *a, const struct gateway_listener *l, struct str key,
                             struct door_listener *out, struct door_part *part)
{
    struct str *list = arena_alloc(a, (l->ncertificates + 1) * sizeof *list),
               *host = arena_dup(a, &l->hostname, sizeof *host);
    for (size_t i = 0; i < l->ncertificates; i++) {
        const struct val *data = val_get(&l->certificates[i]->tree, N(data));
        list[i] = STR_JOIN(a, key, S("/"), l->certificates[i]->ns, S("/"), l->certificates[i]->name);
        array_push(&part->certificates, ((struct door_certificate){
                                            .key = list[i],
                                            .chain = val_raw(field_of(data, "tls.crt")),
                                            .private = val_raw(field_of(data, "tls.key")),
                                            .hosts = host,
                                            .nhosts = l->hostname.n ? 1 : 0,
                                        }));
    }
    out->certificates = list;
    out->ncertificates = l->ncertificates;
    if (!l->verifies || !l->ncas)
        return;
    out->client_ca = STR_JOIN(a, key, S("/ca"));
    out->client_ca_optional = l->insecure;
    array_push(&part->certificates,
               ((struct door_certificate){.key = out->client_ca, .chain = authorities_of(a, l)}));
}

/* The key of a listener at one of its Gateway's addresses. */
static struct str key_at(struct arena *a, const struct gateway_listener *l, size_t address)
{
    struct str key = gateway_listener_key(a, l);
    return address ? arena_fmt(a, STR_FMT "@%zu", STR_ARG(key), address) : key;
}

static size_t addresses_of(const struct gateway_model *g)
{
    return g->everywhere ? 1 : g->naddresses;
}

static void listener_add(struct arena *a, const struct gateway_model *g, const struct gateway_listener *l,
                         size_t address, struct door_part *part)
{
    static const enum door_protocol protocols[] = {
        [GATEWAY_HTTP] = DOOR_HTTP, [GATEWAY_HTTPS] = DOOR_HTTPS, [GATEWAY_TLS] = DOOR_TLS, [GATEWAY_TCP] = DOOR_TCP};
    struct door_listener out = {
        .key = key_at(a, l, address),
        .address = g->everywhere ? S("") : g->addresses[address],
        .port = l->port,
        .protocol = protocols[l->protocol],
        .terminate = l->terminate,
        .hostname = l->hostname,
        .isolated = true,
    };
    certificates_add(a, l, out.key, &out, part);
    array_push(&part->listeners, out);
}

static struct str shown_key(struct arena *a, const struct obj *gateway)
{
    return arena_fmt(a, "Gateway/" STR_FMT "/" STR_FMT, STR_ARG(gateway->ns), STR_ARG(gateway->name));
}

/* Without the Secret there is no certificate of that key, and its backends get nothing. */
static void shown_add(struct arena *a, const struct gateway_model *g, struct door_part *part)
{
    const struct val *data = g->shown ? val_get(&g->shown->tree, N(data)) : NULL;
    if (data)
        array_push(&part->certificates, ((struct door_certificate){.key = shown_key(a, g->gateway),
                                                                   .chain = val_raw(field_of(data, "tls.crt")),
                                                                   .private = val_raw(field_of(data, "tls.key"))}));
}

struct gateway_bundles {
    struct gateway_door *door;
    struct gateway_put *put;
};

static void bundle_want(void *arg, struct str key)
{
    struct gateway_bundles *b = arg;
    struct str ns, name;
    if (!str_split(key, '/', &ns, &name))
        return;
    array_push(&b->put->bundles, str_dup(&b->put->arena, key));
    feed_want_object(b->door->edge->feed, K(ConfigMap), ns, name);
}

/* Models of this turn, so that a Gateway with many routes is read once. */
struct gateway_turn {
    struct gateway_door *door;
    const struct view *view;
    struct arena arena;
    struct map models; /* "NS/NAME" -> struct gateway_model */
};

static const struct gateway_model *model_of(struct gateway_turn *t, const struct obj *gateway)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str key = objset_key_of(&b, gateway);
    struct gateway_model *m = map_get(&t->models, key);
    if (!m) {
        m = ARENA_NEW(&t->arena, struct gateway_model);
        gateway_read(t->view, &t->arena, gateway, m);
        (void)map_put(&t->models, key, m); /* none was there */
    }
    return m;
}

/* Where a route attaches is put only as far as it is served, so what serves now concerns the routes. */
static void attached_mark(struct gateway_turn *t, const struct obj *gateway)
{
    struct gateway_mark m = {t->door, NULL};
    for (enum route_kind r = 0; r < ROUTE_KINDS; r++) {
        m.kind = route_rows[r].kind;
        keys_of_gateways_routes(t->view, r, gateway->ns, gateway->name, mark_add, &m);
    }
}

static void gateway_put(struct gateway_turn *t, const struct gateway_put *old, struct gateway_put *p,
                        struct str source, const struct obj *gateway)
{
    AUTO(door_part_fini) struct door_part part = {0};
    const struct gateway_model *g = model_of(t, gateway);
    struct gateway_bundles b = {t->door, p};
    index_gateway_ca.keys(gateway, bundle_want, &b);
    shown_add(&t->arena, g, &part);
    for (size_t i = 0; i < g->nlisteners; i++)
        for (size_t at = 0; g->listeners[i].serves && at < addresses_of(g); at++)
            listener_add(&t->arena, g, &g->listeners[i], at, &part);
    array_each (l, &part.listeners)
        p->serving = stable_hash(l->address, stable_hash(l->key, p->serving));
    if (p->serving != old->serving)
        attached_mark(t, gateway);
    door_part_put(t->door->edge->door, source, &part);
}

/* --- a route --- */

static uint64_t signature_of(const struct pool_want *w)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1u << 20);
    const struct door_pool *p = &w->base;
    strbuf_addf(&b, STR_FMT "|" STR_FMT "|" STR_FMT "|%lld", STR_ARG(p->cookie), STR_ARG(p->cookie_path),
                STR_ARG(p->persist_header), (long long)p->cookie_s);
    for (size_t i = 0; i < w->nrefs; i++) {
        const struct pool_ref *r = &w->refs[i];
        strbuf_addf(&b, "|" STR_FMT "/" STR_FMT ":%u=%u %d%d%d " STR_FMT " " STR_FMT " " STR_FMT, STR_ARG(r->ns),
                    STR_ARG(r->service), r->port, r->weight, r->as.protocol, r->as.tls, r->refused,
                    STR_ARG(r->as.tls_name), STR_ARG(r->as.tls_ca), STR_ARG(r->as.tls_own));
    }
    return stable_hash(strbuf_str(&b), 0);
}

/* Those that are as before stay; others are dropped before they are wanted anew. */
static void pools_swap(struct gateway_door *d, struct gateway_put *old, struct gateway_put *now,
                       const struct gateway_rules *g)
{
    array_each (w, &g->pools) {
        bool again = false;
        array_each (k, &now->pools)
            again |= str_eq(*k, w->base.key);
        if (again)
            continue;
        array_push(&now->pools, str_dup(&now->arena, w->base.key));
        array_push(&now->signatures, signature_of(w));
        size_t at = old->pools.n;
        for (size_t i = old->pools.n; i-- > 0;)
            if (str_eq(old->pools.p[i], w->base.key))
                at = i;
        bool same = at < old->pools.n && old->signatures.p[at] == now->signatures.p[now->signatures.n - 1];
        if (at < old->pools.n && !same)
            pools_drop(d->edge->pools, old->pools.p[at]);
        if (at < old->pools.n) {
            array_del(&old->pools, at);
            array_del(&old->signatures, at);
        }
        if (!same)
            pools_want(d->edge->pools, w);
    }
}

static void attached_add(struct gateway_turn *t, struct gateway_rules *g, const struct gateway_model *m,
                         const struct route_attached *at)
{
    for (size_t a = 0; at->listener->serves && a < addresses_of(m); a++) {
        g->listener = key_at(&t->arena, at->listener, a);
        g->terminates = at->listener->terminate;
        g->shown = m->shows ? shown_key(&t->arena, m->gateway) : S("");
        for (size_t h = 0; h < at->nhosts; h++) {
            g->host = at->hosts[h];
            if (g->kind == ROUTE_TLS || g->kind == ROUTE_TCP)
                stream_rules_add(g);
            else
                gateway_rules_add(g);
        }
    }
}

static void route_put(struct gateway_turn *t, struct gateway_put *old, struct gateway_put *now, struct str source,
                      const struct obj *route, enum route_kind kind)
{
    AUTO(door_part_fini) struct door_part part = {0};
    ARRAY(const struct gateway_listener *) seen = {0};
    const struct obj *set;
    struct gateway_rules g = {
        .view = t->view, .arena = &t->arena, .route = route, .kind = kind, .owner = source, .part = &part};
    val_each_item (ref, field_of(obj_spec(route), "parentRefs")) {
        const struct obj *gateway = route_gateway(t->view, route, ref, &set);
        const struct gateway_model *m = gateway ? model_of(t, gateway) : NULL;
        struct route_parent p = {0};
        if (m)
            route_attach(t->view, &t->arena, route, kind, ref, m, &p);
        for (size_t i = 0; i < p.nattached; i++) {
            bool again = false;
            array_each (l, &seen)
                again |= *l == p.attached[i].listener;
            if (again)
                continue;
            array_push(&seen, p.attached[i].listener);
            attached_add(t, &g, m, &p.attached[i]);
        }
    }
    array_fini(&seen);
    pools_swap(t->door, old, now, &g);
    array_fini(&g.pools);
    door_part_put(t->door->edge->door, source, &part);
}

/* --- deciding --- */

/* The object of "HTTPRoute/NS/NAME"; NULL: it is not there, or not ours. kind: ROUTE_KINDS of a Gateway. */
static const struct obj *object_of(const struct view *v, struct str source, enum route_kind *kind)
{
    struct str word, rest, ns, name;
    if (!str_split(source, '/', &word, &rest) || !str_split(rest, '/', &ns, &name))
        return NULL;
    *kind = ROUTE_KINDS;
    for (enum route_kind r = 0; r < ROUTE_KINDS; r++)
        if (str_eqz(word, route_rows[r].kind))
            *kind = r;
    const struct kind *k = *kind == ROUTE_KINDS ? view_defined(v, GATEWAYS) : route_kind_of(v, *kind);
    const struct obj *o = k ? view_get(v, k, ns, name) : NULL;
    return o && !obj_deleting(o) && (*kind != ROUTE_KINDS || gateway_is_ours(v, o)) ? o : NULL;
}

static void marked_put(struct gateway_turn *t, struct str source)
{
    struct gateway_door *d = t->door;
    struct gateway_put *p = map_get(&d->puts, source), old = *p;
    enum route_kind kind;
    const struct obj *o = object_of(t->view, source, &kind);
    *p = (struct gateway_put){0};
    if (o && kind == ROUTE_KINDS)
        gateway_put(t, &old, p, source, o);
    else if (o)
        route_put(t, &old, p, source, o, kind);
    put_drop(d, &old);
    if (o)
        return;
    door_part_del(d->edge->door, source);
    mem_free(map_del(&d->puts, source));
}

static bool source_decide(void *state)
{
    struct gateway_door *d = state;
    struct gateway_turn t = {.door = d, .view = feed_view(d->edge->feed)};
    if (!d->wants && gateways_are_there(t.view))
        all_want(d);
    if (!d->marked.n || !feed_synced(d->edge->feed))
        return false;
    for (size_t i = 0; i < d->marked.n; i++) { /* Gateways mark their routes */
        marked_put(&t, d->marked.p[i]);
        mem_free((char *)d->marked.p[i].p);
    }
    d->marked.n = 0;
    map_fini(&t.models);
    arena_fini(&t.arena);
    return true;
}

static void *source_start(struct edge *e)
{
    struct gateway_door *d = NEW(struct gateway_door);
    d->edge = e;
    d->events = events_new(e->config->transport, "wherry-edge", "");
    feed_want_defined(e->feed, GATEWAYS_CLASSES);
    feed_want_defined(e->feed, GATEWAYS);
    return d;
}

static void source_stop(void *state)
{
    struct gateway_door *d = state;
    map_each (it, &d->puts) {
        struct gateway_put *p = it->value;
        array_fini(&p->pools);
        array_fini(&p->signatures);
        array_fini(&p->bundles);
        arena_fini(&p->arena);
        mem_free(p);
    }
    map_fini(&d->puts);
    array_each (it, &d->marked)
        mem_free((char *)it->p);
    array_fini(&d->marked);
    events_free(d->events);
    mem_free(d);
}

/* What conditions cannot say, as it is found out on this machine: a certificate that TLS does not take. */
static void source_refused(void *state, struct str about, struct str what, const struct err *why)
{
    struct gateway_door *d = state;
    enum route_kind kind;
    AUTO(arena_fini) struct arena a = ARENA;
    const struct obj *o = object_of(feed_view(d->edge->feed), about, &kind);
    if (o)
        events_record(d->events, o, S(""), "Warning", "ListenerNotServed", NULL,
                      arena_fmt(&a, STR_FMT ": %s", STR_ARG(what), why->text));
}

const struct edge_source edge_gateway = {
    .name = "Gateway",
    .start = source_start,
    .stop = source_stop,
    .changed = source_changed,
    .decide = source_decide,
    .refused = source_refused,
};
