/* The front door: parts and pools in, one commit out. Hosts, sockets and backends that a change concerns are compiled
 * anew (door_places.c, door_emit.c, door_backends.c), the rest stays as it is. */
#include "edge/door_state.h"
#include "edge/spoa.h"

void door_refused(struct door *d, struct door_placed *p, const struct err *why)
{
    if (p->refused)
        return;
    p->refused = true;
    AUTO(arena_fini) struct arena a = ARENA;
    struct str what = arena_fmt(&a, STR_FMT "[%d] " STR_FMT STR_FMT, STR_ARG(p->route->owner), p->route->index,
                                STR_ARG(p->route->host), STR_ARG(str_sub(p->route->match.path, 0, 200)));
    if (d->events.refused)
        d->events.refused(d->arg, p->source->name, what, why);
}

static void proxy_applied(void *arg, uint64_t revision)
{
    struct door *d = arg;
    door_slots_applied(d, revision);
    if (d->events.applied)
        d->events.applied(d->arg, revision);
}

static void proxy_failed(void *arg, const struct err *err)
{
    struct door *d = arg;
    if (d->events.failed)
        d->events.failed(d->arg, err);
}

static void proxy_log(void *arg, struct str line)
{
    struct door *d = arg;
    struct str rest;
    if (!counters_line(&d->counters, line, &rest) || rest.n < 2 || rest.p[0] != '{')
        return;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(64 << 10);
    strbuf_addz(&text, "{\"time\":\"");
    time_add_micro(&text, clock_real());
    strbuf_addf(&text, "\"," STR_FMT "\n", STR_ARG(str_sub(rest, 1, rest.n)));
    (void)fwrite(text.p, 1, text.n, stderr); /* as the rest of the log: where it cannot be written nobody reads it */
}

void door_metrics(const struct door *d, struct strbuf *out)
{
    if (d->config.counters)
        counters_text(&d->counters, out);
}

static const struct door_pool *pool_named(void *arg, struct str key)
{
    struct door *d = arg;
    const struct door_pool_state *s = map_get(&d->pools, key);
    return s ? &s->pool : NULL;
}

static bool service_named(void *arg, struct str host, struct strbuf *out)
{
    struct door *d = arg;
    return d->events.resolve && d->events.resolve(d->arg, host, out);
}

static void auth_unasked(void *arg, struct str owner, const char *why)
{
    struct door *d = arg;
    if (d->events.unasked)
        d->events.unasked(d->arg, owner, why);
}

struct door *door_new(struct loop *l, const struct door_config *c, const struct door_events *e, void *arg,
                      struct err *err)
{
    struct door *d = NEW(struct door);
    d->loop = l;
    d->config = *c;
    d->config.run = str_dup(&d->own, c->run);
    d->config.haproxy = str_dup(&d->own, c->haproxy);
    d->events = *e;
    d->arg = arg;
    d->shards = 1;
    d->depth = 7;
    d->ipv6 = access("/proc/net/if_inet6", F_OK) == 0;
    static const int statuses[] = {200, 403, 404, 500, 503};
    for (size_t i = 0; i < countof(statuses); i++)
        array_push(&d->statuses, statuses[i]);
    struct haproxy_config proxy = {.run = d->config.run,
                                   .program = d->config.haproxy,
                                   .old_most_ns = c->old_most_ns,
                                   .log = c->access_log || c->counters};
    struct haproxy_events events = {.applied = proxy_applied, .failed = proxy_failed, .log = proxy_log};
    d->proxy = haproxy_new(l, &proxy, &events, d, err);
    struct spoa_config agent = {.run = c->agent_run,
                                .own_socket = c->own_agent_socket,
                                .pool = pool_named,
                                .resolve = service_named,
                                .unasked = auth_unasked,
                                .arg = d};
    if (d->proxy && c->agent_run.n)
        d->agent = spoa_new(l, &agent, err);
    if (!d->proxy || (c->agent_run.n && !d->agent)) {
        door_free(d);
        return NULL;
    }
    door_slots_load(d);
    return d;
}

/* --- parts --- */

static void source_free(struct door *d, struct door_source *s)
{
    door_unplace_source(d, s);
    door_part_fini(&s->part);
    arena_fini(&s->own);
    mem_free(s);
}

/* What was put since the last commit and is replaced before it has no routes placed. */
static void source_leave(struct door *d, struct door_source *s)
{
    for (size_t i = 0; i < d->fresh.n; i++)
        if (d->fresh.p[i] == s) {
            array_del(&d->fresh, i);
            break;
        }
    array_push(&d->gone, s);
}

void door_part_put(struct door *d, struct str source, const struct door_part *p)
{
    struct door_source *s = NEW(struct door_source);
    s->name = str_dup(&s->own, source);
    door_part_copy(&s->own, &s->part, p);
    door_certificates_judge(d, s);
    struct door_source *was = map_put(&d->sources, source, s);
    if (was)
        source_leave(d, was);
    array_push(&d->fresh, s);
}

void door_part_del(struct door *d, struct str source)
{
    struct door_source *was = map_del(&d->sources, source);
    if (was)
        source_leave(d, was);
}

static void pool_free(struct door_pool_state *s)
{
    arena_fini(&s->own);
    mem_free(s);
}

void door_pool_put(struct door *d, const struct door_pool *p)
{
    struct door_pool_state *s = NEW(struct door_pool_state);
    door_pool_copy(&s->own, &s->pool, p);
    struct door_pool_state *was = map_put(&d->pools, p->key, s);
    if (was && was->pool.server_ns != p->server_ns)
        d->kinds_changed = true;
    if (was)
        pool_free(was);
    door_backends_put(d, p->key);
}

void door_pool_del(struct door *d, struct str key)
{
    struct door_pool_state *was = map_del(&d->pools, key);
    if (!was)
        return;
    pool_free(was);
    door_backends_put(d, key);
}

/* --- commit --- */

static bool listeners_changed(struct door *d)
{
    static const struct door_part empty;
    bool changed = false;
    array_each (s, &d->fresh) {
        const struct door_part *was = &empty;
        array_each (g, &d->gone)
            if (str_eq((*g)->name, (*s)->name))
                was = &(*g)->part;
        changed = changed || !door_listeners_same(&(*s)->part, was);
    }
    array_each (g, &d->gone)
        changed = changed || ((*g)->part.listeners.n && !map_get(&d->sources, (*g)->name));
    return changed;
}

/* Where listeners stay as they are, sockets still point to those of the part before. */
static bool listeners_lent(struct door *d)
{
    array_each (g, &d->gone)
        if ((*g)->part.listeners.n)
            return true;
    return false;
}

/* Rules hold what the pool said about time, targets hold the backend's name. */
static void kinds_renew(struct door *d)
{
    map_each (e, &d->sources)
        array_each (p, &((struct door_source *)e->value)->placed)
            if ((*p)->rule) {
                door_rule_unref(d, (*p)->rule);
                (*p)->rule = NULL;
            }
    door_host_mark_all(d);
    d->kinds_changed = false;
}

static void shape_put(struct door *d)
{
    struct door_shape s = {.slots = d->slots.p,
                           .nslots = d->slots.n,
                           .statuses = d->statuses.p,
                           .nstatuses = d->statuses.n,
                           .depth = d->depth,
                           .shards = d->shards,
                           .answers = d->answers_ever,
                           .agent = d->agent_ever,
                           .log = d->config.access_log,
                           .count = d->config.counters,
                           .ipv6 = d->ipv6,
                           .trusted = d->config.trusted};
    ARRAY(struct door_bind) binds = {0};
    ARRAY(struct door_field_use) fields = {0};
    map_each (e, &d->sockets)
        array_push(&binds, ((struct door_socket *)e->value)->bind);
    map_each (e, &d->fields) {
        struct door_field_count *c = e->value;
        c->written = c->refs > 0;
        if (c->written)
            array_push(&fields, c->use);
    }
    s.binds = binds.p;
    s.nbinds = binds.n;
    s.fields = fields.p;
    s.nfields = fields.n;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(64 << 20);
    if (binds.n)
        door_shape_write(&s, &text);
    haproxy_shape(d->proxy, strbuf_str(&text));
    array_fini(&binds);
    array_fini(&fields);
    d->shape_changed = false;
}

static void deep_look(struct door *d)
{
    map_each (e, &d->sockets) {
        struct door_socket *s = e->value;
        bool deep = s->bind.deep;
        map_each (h, &d->hosts) {
            const struct door_host *host = h->value;
            deep = deep || (host->kind == DOOR_HOST_DEEP && !strcmp(host->socket.z, s->bind.name.z));
        }
        if (deep != s->bind.deep)
            d->shape_changed = true;
        s->bind.deep = deep;
    }
}

void door_commit(struct door *d, uint64_t revision)
{
    bool anew = listeners_changed(d) || listeners_lent(d), certs = d->fresh.n || d->gone.n;
    array_each (g, &d->gone)
        door_unplace_source(d, *g);
    if (anew)
        door_places_make(d);
    else
        array_each (s, &d->fresh)
            door_place_source(d, *s);
    array_each (g, &d->gone)
        source_free(d, *g);
    array_clear(&d->gone);
    array_clear(&d->fresh);
    if (d->kinds_changed)
        kinds_renew(d);
    door_hosts_emit(d);
    door_streams_put(d);
    door_backends_sweep(d);
    door_spares_keep(d);
    if (certs) {
        door_certs_put(d);
        door_backends_verify(d);
    }
    deep_look(d);
    if (d->shape_changed)
        shape_put(d);
    door_slots_committed(d, revision);
    door_slots_keep(d);
    if (d->agent)
        spoa_begin(d->agent);
    haproxy_commit(d->proxy, revision);
}

void door_free(struct door *d)
{
    if (!d)
        return;
    array_each (g, &d->gone)
        source_free(d, *g);
    map_each (e, &d->sources)
        source_free(d, e->value);
    map_each (e, &d->pools)
        pool_free(e->value);
    door_hosts_fini(d);
    door_backends_fini(d);
    door_places_fini(d);
    map_each (e, &d->fields)
        mem_free(e->value);
    spoa_free(d->agent);
    if (d->proxy)
        haproxy_free(d->proxy);
    struct map *maps[] = {&d->sources, &d->pools,   &d->fields,  &d->rules,       &d->certs,
                          &d->lists,   &d->answers, &d->streams, &d->stream_users};
    for (size_t i = 0; i < countof(maps); i++)
        map_fini(maps[i]);
    array_fini(&d->fresh);
    array_fini(&d->gone);
    array_fini(&d->dirty);
    array_fini(&d->slots);
    array_fini(&d->statuses);
    mem_free(d->none_pem);
    counters_fini(&d->counters);
    arena_fini(&d->own);
    mem_free(d);
}
