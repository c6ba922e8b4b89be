/* Hosts that changed become entries of the proxy's maps: what they want is put, what they wanted before and no longer
 * want is taken away. */
#include "base/log.h"
#include "edge/door_state.h"
#include "edge/spoa.h"

#define SHARDS_MOST 64
#define FIELDS_MOST                                                                                                  \
    1000 /* names of headers, of all routes: each is a line of the configuration, and a start reads all */

/* --- rules --- */

static void props_put(struct door *d, const struct door_rule *r)
{
    AUTO_FREE struct err *err = NEW(struct err);
    array_each (p, &r->props)
        if (!haproxy_map_put(d->proxy, p->map, p->key, p->value, err) && d->events.failed)
            d->events.failed(d->arg, err);
    AUTO(arena_fini) struct arena a = ARENA;
    if (!haproxy_map_put(d->proxy, "owner", DOOR_NAME(r->name), STR_JOIN(&a, S("="), r->owner), err))
        log_warn("door.owner", "err=" ERR_FMT, ERR_ARG(*err));
}

static void fields_count(struct door *d, const struct door_rule *r, bool more)
{
    array_each (f, &r->fields) {
        char name[64];
        door_field_map(name, f);
        struct door_field_count *c = map_get(&d->fields, str_of(name));
        if (!c) {
            c = NEW(struct door_field_count);
            c->use = *f;
            c->use.name = str_dup(&d->own, f->name);
            map_put(&d->fields, str_of(name), c);
        }
        d->shape_changed |= more && !c->written;
        d->nfields += more && !c->refs;
        c->refs += more ? 1 : (size_t)-1;
        d->nfields -= !more && !c->refs;
    }
}

/* Before the rule is one of ours: whoever may write a ConfigMap could hold up the changes of all. */
static bool fields_fit(struct door *d, const struct door_rule *r, struct err *err)
{
    size_t n = d->nfields;
    array_each (f, &r->fields) {
        char name[64];
        door_field_map(name, f);
        const struct door_field_count *c = map_get(&d->fields, str_of(name));
        n += !c || !c->refs;
    }
    return n <= FIELDS_MOST ||
           err_set(err, E_TOO_LARGE, "all routes together would change over %d headers", FIELDS_MOST);
}

static void status_know(struct door *d, int status)
{
    array_each (s, &d->statuses)
        if (*s == status)
            return;
    array_push(&d->statuses, status);
    d->shape_changed = true;
}

/* What HAProxy asks about it is answered by its name. */
static void asks_put(struct door *d, struct door_rule *r)
{
    const struct door_action *a = r->asks;
    if (!a || !d->agent)
        return;
    spoa_put(d->agent, &(struct spoa_rule){.name = DOOR_NAME(r->name),
                                           .owner = r->owner,
                                           .auth = a->auth,
                                           .variables = r->variables,
                                           .mirrors = a->mirrors,
                                           .nmirrors = a->nmirrors,
                                           .errors_pool = a->errors_pool});
    for (size_t i = 0; i < a->nerrors; i++)
        status_know(d, a->errors[i]);
    d->shape_changed |= !d->agent_ever;
    d->agent_ever = true;
    r->asks = NULL; /* it is the agent's now, and the route's may go */
}

static void rule_is_new(struct door *d, struct door_rule *r)
{
    map_put(&d->rules, DOOR_NAME(r->name), r);
    props_put(d, r);
    asks_put(d, r);
    fields_count(d, r, true);
    if (r->status)
        status_know(d, r->status);
    if (r->depth > d->depth) {
        d->depth = MAX(r->depth, d->depth * 2);
        d->shape_changed = true;
    }
}

void door_rule_unref(struct door *d, struct door_rule *r)
{
    if (--r->refs)
        return;
    map_del(&d->rules, DOOR_NAME(r->name));
    array_each (p, &r->props)
        haproxy_map_del(d->proxy, p->map, p->key);
    haproxy_map_del(d->proxy, "owner", DOOR_NAME(r->name));
    if (d->agent)
        spoa_del(d->agent, DOOR_NAME(r->name));
    fields_count(d, r, false);
    door_rule_free(r);
}

/* The rule of a placed route, made at the first look; NULL: it cannot be kept. */
static struct door_rule *placed_rule(struct door *d, struct door_placed *p)
{
    if (p->rule || p->refused)
        return p->rule;
    const struct door_socket *s = door_socket_of(d, p->listener);
    struct door_place place = {.tls = s->bind.has & DOOR_HAS_HTTPS,
                               .port = s->bind.port,
                               .verifies = p->listener->client_ca.n && p->listener->hostname.n,
                               .requires = p->listener->client_ca.n && !p->listener->client_ca_optional,
                               .server_ns = door_pool_server_ns(d, p->route->action.pool)};
    struct err err = ERR;
    struct door_rule *r = door_rule_new(p->route, &place, &err);
    struct door_rule *have = r ? map_get(&d->rules, DOOR_NAME(r->name)) : NULL;
    if (!r || (!have && !fields_fit(d, r, &err))) {
        door_refused(d, p, &err);
        if (r)
            door_rule_free(r);
        return NULL;
    }
    if (have)
        door_rule_free(r);
    else
        rule_is_new(d, r);
    p->rule = have ? have : r;
    p->rule->refs++;
    return p->rule;
}

/* --- who may take a host's requests --- */

struct candidates {
    ARRAY(struct door_candidate) list;
};

/* Of the listeners of this socket that a host belongs to, whether a narrower one has it. */
static bool is_kept_out(struct door *d, const struct door_placed *p, const struct door_host *h)
{
    const struct door_listener *l = p->listener;
    if (!l->isolated)
        return false;
    struct str host = str_of(h->suffix);
    array_each (other, &door_socket_of(d, l)->listeners) {
        struct str name = (*other)->hostname;
        if (name.n <= l->hostname.n || h->kind == DOOR_HOST_ALL)
            continue;
        bool star = str_starts(name, S("*."));
        struct str rest = star ? str_sub(name, 2, name.n) : name;
        bool below = host.n > rest.n && str_ends(host, rest) && host.p[host.n - rest.n - 1] == '.';
        if (star ? below || (h->kind != DOOR_HOST_EXACT && str_eq(host, rest))
                 : h->kind == DOOR_HOST_EXACT && str_eq(host, name))
            return true;
    }
    return false;
}

static void candidates_add(struct door *d, struct candidates *c, struct door_host *of, const struct door_host *h,
                           unsigned layer, bool all)
{
    array_each (at, &of->routes) {
        struct door_placed *p = *at;
        if ((!all && !p->route->host_falls) || is_kept_out(d, p, h))
            continue;
        const struct door_rule *r = placed_rule(d, p);
        if (r)
            array_push(&c->list,
                       ((struct door_candidate){p->route, r, door_backend_for(d, r->pool, r->retry), layer, p}));
    }
}

static unsigned layer_of(const struct door_host *wide)
{
    return wide->kind == DOOR_HOST_ALL ? 1000 : 999 - (unsigned)MIN(strlen(wide->suffix), (size_t)900);
}

static void candidates_gather(struct door *d, struct door_host *h, struct candidates *c)
{
    candidates_add(d, c, h, h, 0, true);
    const struct door_host *nearest = NULL;
    struct door_wider wider;
    door_host_widers(d, h, &wider);
    for (size_t i = 0; i < wider.n; i++)
        if (wider.p[i]->routes.n && (!nearest || layer_of(wider.p[i]) < layer_of(nearest)))
            nearest = wider.p[i];
    for (size_t i = 0; i < wider.n; i++) {
        struct door_host *wide = wider.p[i];
        if (!wide->routes.n)
            continue;
        bool same = h->kind == DOOR_HOST_ONE && wide->kind == DOOR_HOST_DEEP && !strcmp(h->suffix, wide->suffix);
        bool instead = !h->routes.n && layer_of(wide) == layer_of(nearest);
        candidates_add(d, c, wide, h, same ? 0 : layer_of(wide), same || instead);
    }
}

/* --- into the maps --- */

static void entry_put(struct door *d, const char *map, struct str key, struct str value)
{
    struct err err = ERR;
    if (!haproxy_map_put(d->proxy, map, key, value, &err) && d->events.failed)
        d->events.failed(d->arg, &err);
}

static void table_swap(struct door *d, struct door_host *h, struct door_table *made)
{
    AUTO(map_fini) struct map keys = MAP;
    array_each (e, &made->paths) {
        entry_put(d, "paths", e->key, e->value);
        map_put(&keys, e->key, d);
    }
    array_each (e, &h->made.paths)
        if (!map_get(&keys, e->key))
            haproxy_map_del(d->proxy, "paths", e->key);
    door_table_fini(&h->made);
    h->made = *made;
}

static struct door_host *twin_of(struct door *d, const struct door_host *h, enum door_host_kind kind)
{
    return door_host_get(d, h->socket.z, kind, str_of(h->suffix));
}

/* The host's way to its table; there: it has one. */
static void host_way(struct door *d, struct door_host *h, bool there)
{
    char map[64];
    struct str key = str_of(h->suffix), table = DOOR_NAME(h->table);
    struct door_host *twin = NULL;
    const char *letter = h->kind == DOOR_HOST_EXACT ? "h" : "w";
    if (h->kind == DOOR_HOST_ALL)
        return;
    if (h->kind == DOOR_HOST_DEEP) {
        snprintf(map, sizeof map, "d_%s", h->socket.z);
        if (there)
            entry_put(d, map, key, table);
        else
            haproxy_map_del(d->proxy, map, key);
        if ((twin = twin_of(d, h, DOOR_HOST_ONE)) && (twin->routes.n || twin->wanted))
            return;
    }
    if (h->kind == DOOR_HOST_ONE && !there && (twin = twin_of(d, h, DOOR_HOST_DEEP)) &&
        (twin->routes.n || twin->wanted)) {
        table = DOOR_NAME(twin->table);
        there = true;
    }
    snprintf(map, sizeof map, "%s_%s", letter, h->socket.z);
    if (there)
        entry_put(d, map, key, table);
    else
        haproxy_map_del(d->proxy, map, key);
}

static void candidate_refused(void *arg, const struct door_candidate *c, const struct err *why)
{
    door_refused(arg, c->source, why);
}

static unsigned shard_of(const struct door *d, const struct door_host *h)
{
    unsigned sum = 0;
    for (const char *p = h->table.z; *p; p++)
        sum = sum * 31 + (uint8_t)*p;
    return sum % d->shards;
}

static void host_emit(struct door *d, struct door_host *h, bool *shards)
{
    struct candidates c = {0};
    struct door_table made = {0};
    struct door_host had = *h;
    bool there = h->routes.n || h->wanted;
    if (there)
        candidates_gather(d, h, &c);
    unsigned shard = shard_of(d, h);
    if (h->made.conditions.n)
        shards[h->shard] = true;
    door_table_make(&made, DOOR_NAME(h->table), shard, c.list.p, c.list.n, candidate_refused, d);
    h->shard = shard;
    if (made.conditions.n)
        shards[shard] = true;
    h->rules.p = NULL;
    h->rules.n = h->rules.cap = 0;
    array_each (x, &c.list) {
        struct door_rule *r = ((struct door_placed *)x->source)->rule;
        r->refs++;
        array_push(&h->rules, r);
    }
    table_swap(d, h, &made);
    host_way(d, h, there);
    array_each (r, &had.rules)
        door_rule_unref(d, *r);
    array_fini(&had.rules);
    array_fini(&c.list);
}

static void host_free(struct door *d, struct door_host *h)
{
    map_del(&d->hosts, str_of(h->key));
    array_each (r, &h->rules)
        door_rule_unref(d, *r);
    array_fini(&h->rules);
    array_fini(&h->routes);
    door_table_fini(&h->made);
    mem_free(h->key);
    mem_free(h->suffix);
    mem_free(h);
}

static void shard_put(struct door *d, unsigned shard)
{
    ARRAY(struct haproxy_entry) list = {0};
    map_each (e, &d->hosts) {
        const struct door_host *h = e->value;
        if (h->shard == shard)
            array_each (c, &h->made.conditions)
                array_push(&list, ((struct haproxy_entry){c->key, c->value}));
    }
    char map[16];
    snprintf(map, sizeof map, "k%02u", shard);
    struct err err = ERR;
    if (!haproxy_map_set(d->proxy, map, list.p, list.n, &err) && d->events.failed)
        d->events.failed(d->arg, &err);
    array_fini(&list);
}

/* More patterns than one map should be looked through for: all are dealt out anew. */
static bool shards_grow(struct door *d)
{
    size_t n = 0;
    map_each (e, &d->hosts)
        n += ((const struct door_host *)e->value)->made.conditions.n;
    unsigned want = n <= 100 ? 1 : n <= 1000 ? 8 : SHARDS_MOST;
    if (want <= d->shards)
        return false;
    d->shards = want;
    d->shape_changed = true;
    return true;
}

void door_hosts_emit(struct door *d)
{
    bool shards[SHARDS_MOST] = {0}, again = false;
    door_hosts_spread(d);
    do {
        for (size_t i = 0; i < d->dirty.n; i++) { /* rules that are refused may mark more */
            d->dirty.p[i]->dirty = false;
            host_emit(d, d->dirty.p[i], shards);
        }
        again = !again && shards_grow(d);
        if (again) {
            array_clear(&d->dirty);
            door_host_mark_all(d);
        }
    } while (again);
    for (unsigned i = 0; i < d->shards; i++)
        if (shards[i])
            shard_put(d, i);
    ARRAY(struct door_host *) done = {0};
    array_each (h, &d->dirty)
        if (!(*h)->routes.n && !(*h)->wanted)
            array_push(&done, *h);
    array_clear(&d->dirty);
    array_each (h, &done)
        host_free(d, *h);
    array_fini(&done);
}

void door_hosts_fini(struct door *d)
{
    map_each (e, &d->hosts)
        host_free(d, e->value);
    map_fini(&d->hosts);
}
