/* Pools in slots. A slot is a backend of the shape; some of the most usual kind stand ready, so that a new pool needs
 * no reload. What else a pool asks for is a kind of its own, made with the next shape. */
#include "edge/door_state.h"

static struct str backend_key(struct arena *a, struct str pool, struct str retry)
{
    return STR_JOIN(a, retry, S("\n\n"), pool);
}

static const struct door_pool *pool_find(const struct door *d, struct str key)
{
    const struct door_pool_state *s = map_get(&d->pools, key);
    return s ? &s->pool : NULL;
}

int64_t door_pool_server_ns(const struct door *d, struct str pool)
{
    const struct door_pool *p = pool_find(d, pool);
    return p ? p->server_ns : 0;
}

/* --- servers --- */

struct server_wanted {
    struct door_name name;
    struct str address, options;
    uint64_t weight;
};

/* What a server is to be verified by, or shown, is not there: it is left out, as nothing is sent to just anybody. Who
 * wants the certificate is told why it is none. */
static bool is_unverified(struct door *d, const struct door_server *s)
{
    const struct str keys[] = {s->tls_ca, s->tls_own};
    for (size_t i = 0; i < countof(keys) && s->tls; i++) {
        struct door_name name = door_cert_name(keys[i]);
        if (keys[i].n && !map_get(&d->certs, DOOR_NAME(name)))
            return true;
    }
    return false;
}

/* Two of one address and options are one, with the weight of both. */
static struct server_wanted *servers_wanted(struct door *d, struct arena *a, const struct door_pool *p, size_t *n)
{
    struct server_wanted *out = arena_alloc(a, MAX(p->nservers, (size_t)1) * sizeof *out);
    AUTO(map_fini) struct map known = MAP;
    *n = 0;
    for (size_t i = 0; i < p->nservers; i++) {
        const struct door_server *s = &p->servers[i];
        AUTO(strbuf_fini) struct strbuf options = STRBUF(4096);
        struct err err = ERR;
        if (is_unverified(d, s))
            continue;
        if (!door_server_options(s, &options, &err)) {
            if (d->events.refused)
                d->events.refused(d->arg, S(""), p->key, &err);
            continue;
        }
        bool v6 = str_find_char(s->host, ':') >= 0;
        struct server_wanted w = {
            .address = arena_fmt(a, "%s" STR_FMT "%s:%u", v6 ? "[" : "", STR_ARG(s->host), v6 ? "]" : "", s->port),
            .options = str_dup(a, strbuf_str(&options)),
            .weight = s->weight};
        w.name = door_name_of('s', STR_JOIN(a, w.address, S(" "), w.options));
        struct server_wanted *have = map_get(&known, DOOR_NAME(w.name));
        if (have) {
            have->weight += w.weight;
            continue;
        }
        out[*n] = w;
        map_put(&known, DOOR_NAME(w.name), &out[(*n)++]);
    }
    return out;
}

static void lost_put(struct door *d, const struct door_pool *p, const char *slot)
{
    uint64_t sum = p->lost_weight;
    for (size_t i = 0; i < p->nservers; i++)
        sum += p->servers[i].weight;
    if (!p->lost_weight) {
        haproxy_map_del(d->proxy, "lost", str_of(slot));
        return;
    }
    char share[16];
    snprintf(share, sizeof share, "%u", (unsigned)(10000 * (uint64_t)p->lost_weight / sum));
    struct err err = ERR;
    if (!haproxy_map_put(d->proxy, "lost", str_of(slot), str_of(share), &err) && d->events.failed)
        d->events.failed(d->arg, &err);
}

static void servers_put(struct door *d, struct door_backend *b)
{
    const struct door_pool none = {0}, *p = pool_find(d, b->pool);
    if (!p)
        p = &none;
    AUTO(arena_fini) struct arena a = ARENA;
    size_t n;
    struct server_wanted *w = servers_wanted(d, &a, p, &n);
    const char *slot = door_slot_of(d, b->slot)->name;
    uint64_t most = 1;
    for (size_t i = 0; i < n; i++)
        most = MAX(most, w[i].weight);
    AUTO(map_fini) struct map now = MAP;
    for (size_t i = 0; i < n; i++) {
        uint32_t weight = w[i].weight ? (uint32_t)MAX(w[i].weight * 256 / most, 1u) : 0;
        struct haproxy_server s = {
            .backend = slot, .name = w[i].name.z, .address = w[i].address, .weight = weight, .options = w[i].options};
        haproxy_server_put(d->proxy, &s);
        map_put(&now, DOOR_NAME(w[i].name), d);
        map_put(&b->servers, DOOR_NAME(w[i].name), d);
    }
    map_each (e, &b->servers)
        if (!map_get(&now, e->key)) {
            haproxy_server_del(d->proxy, slot, e->key.p);
            map_del(&b->servers, e->key);
        }
    lost_put(d, p, slot);
}

static void backend_leave(struct door *d, struct door_backend *b)
{
    if (!b->slot)
        return;
    struct door_slot *s = door_slot_of(d, b->slot);
    map_each (e, &b->servers)
        haproxy_server_del(d->proxy, s->name, e->key.p);
    map_fini(&b->servers);
    b->servers = MAP;
    haproxy_map_del(d->proxy, "lost", str_of(s->name));
    door_slot_leave(d, b->slot);
    b->slot = 0;
}

/* --- backends --- */

static struct str kind_of(struct arena *a, const struct door *d, const struct door_backend *b)
{
    const struct door_pool none = {0}, *p = pool_find(d, b->pool);
    AUTO(strbuf_fini) struct strbuf kind = STRBUF(8192);
    door_kind_write(p ? p : &none, b->retry, &kind);
    return str_dup(a, strbuf_str(&kind));
}

const char *door_backend_for(struct door *d, struct str pool, struct str retry)
{
    if (!pool.n)
        return "-";
    AUTO(arena_fini) struct arena a = ARENA;
    struct str key = backend_key(&a, pool, retry);
    struct door_backend *b = map_get(&d->backends, key);
    if (!b) {
        b = NEW(struct door_backend);
        b->pool = str_dup(&b->own, pool);
        b->retry = str_dup(&b->own, retry);
        map_put(&d->backends, key, b);
        b->slot = door_slot_take(d, key, kind_of(&a, d, b));
        servers_put(d, b);
    }
    return door_slot_of(d, b->slot)->name;
}

void door_backends_put(struct door *d, struct str pool)
{
    map_each (e, &d->backends) {
        struct door_backend *b = e->value;
        AUTO(arena_fini) struct arena a = ARENA;
        if (!str_eq(b->pool, pool))
            continue;
        struct str kind = kind_of(&a, d, b);
        if (!str_eq(door_slot_of(d, b->slot)->kind, kind)) {
            backend_leave(d, b);
            b->slot = door_slot_take(d, e->key, kind);
            d->kinds_changed = true;
        }
        servers_put(d, b);
    }
}

void door_backends_verify(struct door *d)
{
    map_each (e, &d->backends) {
        struct door_backend *b = e->value;
        const struct door_pool *p = pool_find(d, b->pool);
        for (size_t i = 0; p && i < p->nservers; i++)
            if (p->servers[i].tls && (p->servers[i].tls_ca.n || p->servers[i].tls_own.n)) {
                servers_put(d, b);
                break;
            }
    }
}

static void backend_free(struct door *d, struct door_backend *b, struct str key)
{
    map_del(&d->backends, key);
    map_fini(&b->servers);
    arena_fini(&b->own);
    mem_free(b);
}

/* Backends that no rule leads to any more give their slots back. */
void door_backends_sweep(struct door *d)
{
    map_each (e, &d->backends)
        ((struct door_backend *)e->value)->users = 0;
    map_each (e, &d->rules) {
        const struct door_rule *r = e->value;
        AUTO(arena_fini) struct arena a = ARENA;
        struct door_backend *b = r->pool.n ? map_get(&d->backends, backend_key(&a, r->pool, r->retry)) : NULL;
        if (b)
            b->users++;
    }
    door_streams_use(d);
    map_each (e, &d->backends) {
        struct door_backend *b = e->value;
        if (b->users)
            continue;
        backend_leave(d, b);
        backend_free(d, b, e->key);
    }
}

void door_backends_fini(struct door *d)
{
    map_each (e, &d->backends)
        backend_free(d, e->value, e->key);
    map_fini(&d->backends);
}
