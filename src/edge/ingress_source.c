/* Ingresses as one of the edge's sources: which have to be worked out again, and what each wanted before. */
#include "control/cert_shim.h"
#include "edge/edge.h"
#include "edge/ingress_route.h"

/* What is held for one Ingress: counted by the pools and by the feed. */
struct ingress_held {
    struct arena arena;
    ARRAY(struct str) pools;
    ARRAY(struct ingress_need) needs;
};
struct ingress_state {
    struct edge *edge;
    struct map held;    /* "NS/NAME" -> struct ingress_held */
    struct map marked;  /* "NS/NAME" -> itself */
    struct map checked; /* of Secrets: ingress_wish_shared */
    bool shared;        /* listeners and certificates, too */
    bool wanting;       /* the kinds behind Ingresses are watched */
};

static void *ingress_start(struct edge *e)
{
    struct ingress_state *s = NEW(struct ingress_state);
    s->edge = e;
    s->held = s->marked = s->checked = MAP;
    feed_want(e->feed, K(Ingress));
    feed_want(e->feed, K(IngressClass));
    return s;
}

static void held_drop(struct ingress_state *s, struct ingress_held *h)
{
    if (!h)
        return;
    array_each (key, &h->pools)
        pools_drop(s->edge->pools, *key);
    array_each (n, &h->needs)
        feed_drop_object(s->edge->feed, n->kind, n->ns, n->name);
    array_fini(&h->pools);
    array_fini(&h->needs);
    arena_fini(&h->arena);
    mem_free(h);
}

static void ingress_stop(void *state)
{
    struct ingress_state *s = state;
    map_each (it, &s->held) {
        struct ingress_held *h = it->value;
        array_fini(&h->pools);
        array_fini(&h->needs);
        arena_fini(&h->arena);
        mem_free(h);
    }
    map_fini(&s->held);
    map_fini(&s->marked);
    map_fini(&s->checked);
    mem_free(s);
}

/* ---- marking ---- */

/* Whether it has to do with what all share. */
static bool is_sharing(const struct obj *o)
{
    return val_get(obj_spec(o), N(tls)) || cert_tls_implied(o) ||
           obj_has_note(o, INGRESS_PREFIX_NGINX "auth-tls-secret") ||
           obj_has_note(o, INGRESS_PREFIX_NGINX "ssl-passthrough");
}

/* Of a change: whether it can be seen in that. */
static bool changes_shared(const struct obj *was, const struct obj *now)
{
    static const char *const notes[] = {"auth-tls-secret", "auth-tls-verify-client", "ssl-passthrough",
                                        "server-alias",    "from-to-www-redirect",   "canary"};
    if (!was || !now || obj_deleting(was) != obj_deleting(now) || !val_equal(obj_spec(was), obj_spec(now)) ||
        !str_eq(obj_note(was, "kubernetes.io/ingress.class"), obj_note(now, "kubernetes.io/ingress.class")))
        return (was && is_sharing(was)) || (now && is_sharing(now));
    if (cert_is_asked(was) != cert_is_asked(now) || cert_tls_implied(was) != cert_tls_implied(now))
        return true; /* Secrets that its entries do not name */
    for (size_t i = 0; i < countof(notes); i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        strbuf_addf(&b, INGRESS_PREFIX_NGINX "%s", notes[i]);
        if (!str_eq(obj_note(was, b.p), obj_note(now, b.p)))
            return true;
    }
    return false;
}

static void mark_add(struct ingress_state *s, const struct obj *o)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    map_put(&s->marked, objset_key_of(&b, o), s);
}

static void mark_with(struct ingress_state *s, const struct objindex *index, struct str key)
{
    struct obj *o;
    struct objset_iter it = view_with(feed_view(s->edge->feed), K(Ingress), index, key);
    while ((o = objset_next(&it)))
        mark_add(s, o);
}

static void mark_host(void *arg, struct str host)
{
    struct ingress_state *s = arg;
    mark_with(s, &index_ingress_host, host);
    if (host.n == 0 || str_starts(host, S("*.")))
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    bool www = str_starts(host, S("www.")); /* whose redirect it ends or lets be */
    strbuf_addf(&b, "%s" STR_FMT, www ? "" : "www.", STR_ARG(www ? str_sub(host, 4, host.n) : host));
    mark_with(s, &index_ingress_host, strbuf_str(&b));
}

static void mark_all(struct ingress_state *s)
{
    struct obj *o;
    s->shared = true;
    for (struct objset_iter it = view_all(feed_view(s->edge->feed), K(Ingress)); (o = objset_next(&it));)
        mark_add(s, o);
}

/* A change of the status alone is none. */
static bool is_same(const struct obj *was, const struct obj *now)
{
    return was && now && str_eq(was->uid, now->uid) && val_equal(obj_spec(was), obj_spec(now)) &&
           obj_deleting(was) == obj_deleting(now) &&
           val_equal(val_get(obj_meta(was), N(annotations)), val_get(obj_meta(now), N(annotations)));
}

struct sharing_look {
    struct ingress_state *s;
    const struct obj *but;
    bool found;
};

static void host_look(void *arg, struct str host)
{
    struct sharing_look *l = arg;
    struct obj *o;
    struct objset_iter it = view_with(feed_view(l->s->edge->feed), K(Ingress), &index_ingress_host, host);
    while (!l->found && (o = objset_next(&it)))
        l->found = o != l->but && is_sharing(o);
}

/* Who comes or goes may take a host from another's certificate, or leave it one: an alias, a younger Secret. */
static bool others_share(struct ingress_state *s, const struct obj *o)
{
    struct sharing_look l = {.s = s, .but = o};
    index_ingress_host.keys(o, host_look, &l);
    return l.found;
}

static void ingress_changed(void *state, const struct kind *k, const struct obj *was, const struct obj *now)
{
    struct ingress_state *s = state;
    const struct obj *o = now ? now : was;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    if (k == K(IngressClass)) {
        mark_all(s);
    } else if (k == K(Ingress) && !is_same(was, now)) {
        mark_add(s, o);
        s->shared |= changes_shared(was, now);
        if (was)
            index_ingress_host.keys(was, mark_host, s);
        if (now)
            index_ingress_host.keys(now, mark_host, s);
        if (!was || !now || !val_equal(obj_spec(was), obj_spec(now)))
            s->shared = s->shared || (was && others_share(s, was)) || (now && others_share(s, now));
    } else if (k == K(Secret) || k == K(ConfigMap)) {
        struct str key = ingress_names_key(&b, k == K(Secret) ? "Secret" : "ConfigMap", o->ns, o->name);
        struct objset_iter it = view_with(feed_view(s->edge->feed), K(Ingress), &index_ingress_names, key);
        for (struct obj *named; k == K(Secret) && !s->shared && (named = objset_next(&it));)
            s->shared = is_sharing(named);
        mark_with(s, &index_ingress_names, key);
    }
}

/* ---- deciding ---- */

static void source_name(struct strbuf *b, struct str key)
{
    strbuf_reset(b);
    strbuf_addf(b, "Ingress/" STR_FMT, STR_ARG(key));
}

/* What it wants now is wanted before what it wanted is dropped: what both have stays as it is. */
static void one_decide(struct ingress_state *s, struct str key)
{
    const struct view *v = feed_view(s->edge->feed);
    struct str ns, name;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    AUTO(ingress_wish_fini) struct ingress_wish w = {0};
    (void)str_split(key, '/', &ns, &name); /* made of both */
    const struct obj *o = view_get(v, K(Ingress), ns, name);
    if (o)
        ingress_wish_of(v, o, &w);
    struct ingress_held *now = NULL, *was = map_del(&s->held, key);
    if (w.part.routes.n > 0 || w.part.streams.n > 0 || w.pools.n > 0 || w.needs.n > 0) {
        now = NEW(struct ingress_held);
        array_each (p, &w.pools) {
            array_push(&now->pools, str_dup(&now->arena, p->base.key));
            pools_want(s->edge->pools, p);
        }
        array_each (n, &w.needs) {
            struct ingress_need own = {n->kind, str_dup(&now->arena, n->ns), str_dup(&now->arena, n->name)};
            array_push(&now->needs, own);
            feed_want_object(s->edge->feed, own.kind, own.ns, own.name);
        }
        (void)map_put(&s->held, key, now); /* its place was emptied above */
    }
    source_name(&b, key);
    if (now)
        door_part_put(s->edge->door, strbuf_str(&b), &w.part);
    else if (was)
        door_part_del(s->edge->door, strbuf_str(&b));
    held_drop(s, was);
}

static void shared_decide(struct ingress_state *s)
{
    AUTO(ingress_wish_fini) struct ingress_wish w = {0};
    ingress_wish_shared(feed_view(s->edge->feed), &s->checked, &w);
    if (w.part.listeners.n > 0)
        door_part_put(s->edge->door, S("Ingress"), &w.part);
    else
        door_part_del(s->edge->door, S("Ingress"));
    s->shared = false;
}

static bool any_is_ours(const struct view *v)
{
    struct obj *o;
    for (struct objset_iter it = view_all(v, K(Ingress)); (o = objset_next(&it));)
        if (ingress_is_ours(v, o))
            return true;
    return false;
}

static bool ingress_decide(void *state)
{
    struct ingress_state *s = state;
    const struct view *v = feed_view(s->edge->feed);
    if (!s->wanting && map_len(&s->marked) > 0 && any_is_ours(v)) {
        s->wanting = true;
        feed_want(s->edge->feed, K(Service));
        feed_want(s->edge->feed, K(EndpointSlice));
        feed_want(s->edge->feed, K(Secret));
        return false; /* again when these are in */
    }
    bool any = s->shared || map_len(&s->marked) > 0, had = map_len(&s->held) > 0;
    AUTO(map_fini) struct map marked = s->marked; /* what is dropped below may mark again */
    s->marked = MAP;
    map_each (it, &marked)
        one_decide(s, it->key);
    if (s->shared || had != (map_len(&s->held) > 0))
        shared_decide(s);
    return any;
}

const struct edge_source edge_ingress = {
    .name = "Ingress",
    .start = ingress_start,
    .stop = ingress_stop,
    .changed = ingress_changed,
    .decide = ingress_decide,
};
