/* BackendTLSPolicies at the front door: each is a part with the authorities that it trusts. They are watched by their
 * names, from the first policy on. */
#include "api/custom.h"
#include "base/log.h"
#include "base/map.h"
#include "control/backend_tls.h"
#include "edge/edge.h"
#include "edge/stream_route.h"
#include "sys/file.h"
#include <fcntl.h>

#define SYSTEM_CAS "/etc/ssl/certs/ca-certificates.crt"

/* What is wanted for one policy. */
struct policy_put {
    struct arena arena;
    ARRAY(struct str) wanted; /* "KIND/NS/NAME" of what it refers to */
    bool dirty;
};
struct policy_door {
    struct edge *edge;
    struct map puts; /* "NS/NAME" -> struct policy_put */
    ARRAY(struct str) marked;
};

static void mark_add(void *arg, struct str ns, struct str name)
{
    struct policy_door *d = arg;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str key = objset_key(&b, ns, name);
    struct policy_put *p = map_get(&d->puts, key);
    if (!p) {
        p = NEW(struct policy_put);
        (void)map_put(&d->puts, key, p); /* none was there */
    }
    if (p->dirty)
        return;
    p->dirty = true;
    array_push(&d->marked, str_of(mem_dupz(key.p)));
}

static void source_changed(void *state, const struct kind *k, const struct obj *was, const struct obj *now)
{
    struct policy_door *d = state;
    if (k == K(ConfigMap) || k == K(Secret) || (k->custom && str_eqz(k->custom->definition, GATEWAYS_TLS_POLICIES)))
        keys_of_policy(feed_view(d->edge->feed), was, now, mark_add, d);
}

/* Of "Secret/NS/NAME" the kind, and the rest. */
static const struct kind *reference_split(struct str key, struct str *ns, struct str *name)
{
    struct str word, rest;
    if (!str_split(key, '/', &word, &rest) || !str_split(rest, '/', ns, name))
        return NULL;
    return str_eqz(word, "Secret") ? K(Secret) : str_eqz(word, "ConfigMap") ? K(ConfigMap) : NULL;
}

struct policy_wanting {
    struct policy_door *door;
    struct policy_put *put;
};

static void reference_want(void *arg, struct str key)
{
    struct policy_wanting *w = arg;
    struct str ns, name;
    const struct kind *k = reference_split(key, &ns, &name);
    if (!k)
        return;
    array_push(&w->put->wanted, str_dup(&w->put->arena, key));
    feed_want_object(w->door->edge->feed, k, ns, name);
}

static void put_drop(struct policy_door *d, struct policy_put *p)
{
    array_each (it, &p->wanted) {
        struct str ns, name;
        const struct kind *k = reference_split(*it, &ns, &name);
        feed_drop_object(d->edge->feed, k, ns, name);
    }
    array_fini(&p->wanted);
    arena_fini(&p->arena);
}

/* The machine's own; "": it has none, so that nobody is trusted. */
static struct str system_read(struct strbuf *b)
{
    struct err err = ERR;
    if (!file_read(AT_FDCWD, SYSTEM_CAS, b, &err))
        log_warn("edge.authorities", "error=\"%s\"", err.text);
    return strbuf_str(b);
}

static void policy_put(struct policy_door *d, const struct obj *policy)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(door_part_fini) struct door_part part = {0};
    AUTO(strbuf_fini) struct strbuf text = STRBUF(1u << 20);
    struct backend_policy p;
    struct str key = backend_ca_key(&a, policy);
    backend_policy_read(feed_view(d->edge->feed), &a, policy, &p);
    struct str chain = p.system ? system_read(&text) : p.authorities;
    if (chain.n)
        array_push(&part.certificates, ((struct door_certificate){.key = key, .chain = chain}));
    door_part_put(d->edge->door, key, &part);
}

static void marked_put(struct policy_door *d, struct str key)
{
    const struct view *v = feed_view(d->edge->feed);
    const struct kind *k = view_defined(v, GATEWAYS_TLS_POLICIES);
    struct str ns, name;
    bool split = str_split(key, '/', &ns, &name);
    const struct obj *policy = k && split ? view_get(v, k, ns, name) : NULL;
    struct policy_put *p = map_get(&d->puts, key), old = *p;
    struct policy_wanting w = {d, p};
    *p = (struct policy_put){0};
    if (policy) {
        index_policy_ca.keys(policy, reference_want, &w);
        policy_put(d, policy);
    }
    put_drop(d, &old);
    if (policy)
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addf(&b, "BackendTLSPolicy/" STR_FMT, STR_ARG(key));
    door_part_del(d->edge->door, strbuf_str(&b));
    mem_free(map_del(&d->puts, key));
}

static bool source_decide(void *state)
{
    struct policy_door *d = state;
    if (!d->marked.n || !feed_synced(d->edge->feed))
        return false;
    array_each (it, &d->marked) {
        marked_put(d, *it);
        mem_free((char *)it->p);
    }
    d->marked.n = 0;
    return true;
}

static void *source_start(struct edge *e)
{
    struct policy_door *d = NEW(struct policy_door);
    d->edge = e;
    return d; /* policies are wanted together with routes (gateway_route.c) */
}

static void source_stop(void *state)
{
    struct policy_door *d = state;
    map_each (it, &d->puts) {
        struct policy_put *p = it->value;
        array_fini(&p->wanted);
        arena_fini(&p->arena);
        mem_free(p);
    }
    map_fini(&d->puts);
    array_each (it, &d->marked)
        mem_free((char *)it->p);
    array_fini(&d->marked);
    mem_free(d);
}

const struct edge_source edge_backends = {
    .name = "BackendTLSPolicy",
    .start = source_start,
    .stop = source_stop,
    .changed = source_changed,
    .decide = source_decide,
};
