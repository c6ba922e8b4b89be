/* Whom a change concerns: Gateways by what they rest on, ListenerSets and routes by their Gateways. */
#include "api/custom.h"
#include "control/gateway_int.h"

static bool defined_as(const struct kind *k, const char *definition)
{
    return k->custom && str_eqz(k->custom->definition, definition);
}

/* Only their status, or a label, is another. */
static bool same_spec(const struct obj *was, const struct obj *now)
{
    return was && now && str_eq(was->uid, now->uid) && obj_generation(was) == obj_generation(now) &&
           obj_deleting(was) == obj_deleting(now);
}

static void gateways_all(const struct view *v, keys_add_fn *add, void *arg)
{
    const struct kind *k = view_defined(v, GATEWAYS);
    struct obj *o;
    if (k)
        for (struct objset_iter it = view_all(v, k); (o = objset_next(&it));)
            add(arg, o->ns, o->name);
}

static void gateway_of_set(const struct obj *set, keys_add_fn *add, void *arg)
{
    const struct val *ref = set ? field_of(obj_spec(set), "parentRef") : NULL;
    struct str ns = text_of(ref, "namespace");
    if (set)
        add(arg, ns.n ? ns : set->ns, text_of(ref, "name"));
}

static void gateways_with(const struct view *v, const char *definition, const struct objindex *index, struct str key,
                          keys_add_fn *add, void *arg)
{
    const struct kind *k = view_defined(v, definition);
    bool sets = str_eqz(S(GATEWAYS_SETS), definition);
    struct obj *o;
    if (k)
        for (struct objset_iter it = view_with(v, k, index, key); (o = objset_next(&it));) {
            if (sets)
                gateway_of_set(o, add, arg);
            else
                add(arg, o->ns, o->name);
        }
}

static void gateways_of_secret(const struct view *v, const struct obj *o, keys_add_fn *add, void *arg)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str key = objset_key_of(&b, o);
    gateways_with(v, GATEWAYS, &index_gateway_secret, key, add, arg);
    gateways_with(v, GATEWAYS_SETS, &index_gateway_secret, key, add, arg);
}

static void gateways_of_route(const struct view *v, const struct obj *route, keys_add_fn *add, void *arg)
{
    const struct kind *sets = view_defined(v, GATEWAYS_SETS);
    val_each_item (ref, route ? field_of(obj_spec(route), "parentRefs") : NULL) {
        struct str ns = text_of(ref, "namespace"), name = text_of(ref, "name");
        ns = ns.n ? ns : route->ns;
        if (!str_eqz(text_of(ref, "kind"), "ListenerSet"))
            add(arg, ns, name);
        else if (sets)
            gateway_of_set(view_get(v, sets, ns, name), add, arg);
    }
}

/* What Gateways, their ListenerSets and routes share: classes, ListenerSets, namespaces' labels. */
static bool gateways_structure(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                               void *arg)
{
    const struct obj *o = now ? now : was;
    if (o->kind == K(Namespace)) {
        if (!was || !now || !val_equal(obj_labels(was), obj_labels(now)))
            gateways_all(v, add, arg);
    } else if (defined_as(o->kind, GATEWAYS_CLASSES)) {
        if (!same_spec(was, now))
            gateways_with(v, GATEWAYS, &index_gateway_class, o->name, add, arg);
    } else if (defined_as(o->kind, GATEWAYS_SETS)) {
        if (!same_spec(was, now)) {
            gateway_of_set(was, add, arg);
            gateway_of_set(now, add, arg);
        }
    } else {
        return false;
    }
    return true;
}

void keys_of_gateway(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, void *arg)
{
    const struct obj *o = now ? now : was;
    const struct kind *k = o->kind;
    if (gateways_structure(v, was, now, add, arg))
        return;
    if (defined_as(k, GATEWAYS)) {
        add(arg, o->ns, o->name); /* which may be gone */
        if (!same_spec(was, now)) /* others may want the same ports */
            gateways_all(v, add, arg);
    } else if (k == K(Secret)) {
        gateways_of_secret(v, o, add, arg);
    } else if (k == K(Service)) {
        struct str name = val_text(field_of(obj_labels(o), GATEWAY_LABEL));
        if (name.n)
            add(arg, o->ns, name);
    } else if (k == K(Node)) {
        if (!was || !now ||
            !val_equal(val_get(obj_status(was), N(addresses)), val_get(obj_status(now), N(addresses))))
            gateways_all(v, add, arg);
    } else if (k == K(ConfigMap)) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        const struct kind *gateways = view_defined(v, GATEWAYS);
        struct str key = objset_key_of(&b, o);
        struct objset_iter it = gateways ? view_with(v, gateways, &index_gateway_ca, key) : (struct objset_iter){0};
        if (gateways && objset_next(&it)) /* whether its listeners are accepted concerns others as well */
            gateways_all(v, add, arg);
    } else if (route_of(k) != ROUTE_KINDS) {
        if (same_spec(was, now))
            return;
        gateways_of_route(v, was, add, arg);
        gateways_of_route(v, now, add, arg);
    } else if (!same_spec(was, now)) { /* grants, pools */
        gateways_all(v, add, arg);
    }
}

struct keys_relay {
    const struct view *v;
    enum route_kind kind; /* ROUTE_KINDS: ListenerSets are meant */
    keys_add_fn *add;
    void *arg;
};

static void routes_with(const struct keys_relay *r, const struct objindex *index, struct str key)
{
    const struct kind *k = route_kind_of(r->v, r->kind);
    struct obj *o;
    if (k)
        for (struct objset_iter it = view_with(r->v, k, index, key); (o = objset_next(&it));)
            r->add(r->arg, o->ns, o->name);
}

static void relay_gateway(void *arg, struct str ns, struct str name)
{
    const struct keys_relay *r = arg;
    AUTO(strbuf_fini) struct strbuf own = STRBUF(STRBUF_TEXT), b = STRBUF(STRBUF_TEXT);
    const struct kind *sets = view_defined(r->v, GATEWAYS_SETS);
    struct obj *o;
    if (r->kind != ROUTE_KINDS) {
        strbuf_addf(&b, "Gateway/" STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
        routes_with(r, &index_route_parent, strbuf_str(&b));
    }
    if (!sets)
        return;
    struct str key = objset_key(&own, ns, name);
    for (struct objset_iter it = view_with(r->v, sets, &index_set_parent, key); (o = objset_next(&it));) {
        b.n = 0;
        strbuf_addf(&b, "ListenerSet/" STR_FMT "/" STR_FMT, STR_ARG(o->ns), STR_ARG(o->name));
        if (r->kind == ROUTE_KINDS)
            r->add(r->arg, o->ns, o->name);
        else
            routes_with(r, &index_route_parent, strbuf_str(&b));
    }
}

void keys_of_set(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, void *arg)
{
    struct keys_relay r = {v, ROUTE_KINDS, add, arg};
    const struct obj *o = now ? now : was;
    if (defined_as(o->kind, GATEWAYS_SETS))
        add(arg, o->ns, o->name);
    keys_of_gateway(v, was, now, relay_gateway, &r);
}

static void routes_of_set(struct keys_relay *r, const struct obj *set)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addf(&b, "ListenerSet/" STR_FMT "/" STR_FMT, STR_ARG(set->ns), STR_ARG(set->name));
    routes_with(r, &index_route_parent, strbuf_str(&b));
}

void keys_of_route(const struct view *v, enum route_kind kind, const struct obj *was, const struct obj *now,
                   keys_add_fn *add, void *arg)
{
    const struct obj *o = now ? now : was;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct keys_relay r = {v, kind, add, arg};
    if (route_of(o->kind) == kind)
        add(arg, o->ns, o->name);
    else if (defined_as(o->kind, GATEWAYS) && !same_spec(was, now))
        relay_gateway(&r, o->ns, o->name);
    else if (o->kind == K(Service))
        routes_with(&r, &index_route_backend, objset_key_of(&b, o));
    else if (defined_as(o->kind, GATEWAYS_GRANTS))
        routes_with(&r, &index_route_backend, objset_key(&b, o->ns, S("")));
    else
        (void)gateways_structure(v, was, now, relay_gateway, &r);
    if (defined_as(o->kind, GATEWAYS_SETS)) /* one that is gone is no Gateway's any more */
        routes_of_set(&r, o);
}

void keys_of_gateways_routes(const struct view *v, enum route_kind kind, struct str ns, struct str name,
                             keys_add_fn *add, void *arg)
{
    struct keys_relay r = {v, kind, add, arg};
    relay_gateway(&r, ns, name);
}
