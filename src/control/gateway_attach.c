/* Where a route attaches: which listeners its parentRefs select, which of these let it in, and for which hosts. */
#include "control/gateway_int.h"

/* How much longer the name is than "*.example.org" says, at a border of labels; -1: it does not end so. */
static bool wildcard_takes(struct str wildcard, struct str name)
{
    struct str tail = str_sub(wildcard, 1, wildcard.n); /* ".example.org" */
    return name.n > tail.n && str_ieq(str_sub(name, name.n - tail.n, name.n), tail);
}

bool hostnames_meet(struct str a, struct str b, struct str *out)
{
    bool wild_a = str_starts(a, S("*.")), wild_b = str_starts(b, S("*."));
    if (a.n == 0 || b.n == 0)
        return *out = a.n ? a : b, true;
    if (str_ieq(a, b))
        return *out = a, true;
    if (wild_a && wildcard_takes(a, b))
        return *out = b, true;
    if (wild_b && wildcard_takes(b, a))
        return *out = a, true;
    return false;
}

const struct obj *route_gateway(const struct view *v, const struct obj *route, const struct val *ref,
                                const struct obj **set)
{
    struct str kind = text_or(ref, "kind", "Gateway"), ns = text_of(ref, "namespace"), name = text_of(ref, "name");
    const struct kind *gateways = view_defined(v, GATEWAYS), *sets = view_defined(v, GATEWAYS_SETS);
    *set = NULL;
    ns = ns.n ? ns : route->ns;
    if (!gateways || !str_eqz(text_or(ref, "group", GATEWAY_GROUP), GATEWAY_GROUP))
        return NULL;
    if (str_eqz(kind, "ListenerSet")) {
        if (!sets || !(*set = view_get(v, sets, ns, name)))
            return NULL;
        const struct val *parent = field_of(obj_spec(*set), "parentRef");
        ns = text_of(parent, "namespace");
        ns = ns.n ? ns : (*set)->ns;
        name = text_of(parent, "name");
    } else if (!str_eqz(kind, "Gateway")) {
        return NULL;
    }
    const struct obj *gateway = view_get(v, gateways, ns, name);
    return gateway && gateway_is_ours(v, gateway) ? gateway : NULL;
}

/* The hosts that the route has in common with the listener. */
static void hosts_read(struct arena *a, const struct obj *route, enum route_kind kind,
                       const struct gateway_listener *l, struct route_attached *out)
{
    const struct val *own = route_rows[kind].hosts ? field_of(obj_spec(route), "hostnames") : NULL;
    out->listener = l;
    out->hosts = arena_many(a, struct str, val_len(own) + 1);
    out->nhosts = 0;
    val_each_item (it, own)
        if (hostnames_meet(val_text(it), l->hostname, &out->hosts[out->nhosts]))
            out->nhosts++;
    if (val_len(own) == 0)
        out->hosts[out->nhosts++] = l->hostname;
}

void route_attach(const struct view *v, struct arena *a, const struct obj *route, enum route_kind kind,
                  const struct val *ref, const struct gateway_model *g, struct route_parent *out)
{
    struct str section = text_of(ref, "sectionName");
    int64_t port = val_num(field_of(ref, "port"), 0);
    bool of_set = str_eqz(text_or(ref, "kind", "Gateway"), "ListenerSet");
    struct str ns = text_of(ref, "namespace"), name = text_of(ref, "name");
    bool any = false, taken = false, allowed = false;
    *out = (struct route_parent){.ref = ref, .gateway = g->gateway};
    out->attached = arena_many(a, struct route_attached, g->nlisteners + 1);
    ns = ns.n ? ns : route->ns;
    for (size_t i = 0; i < g->nlisteners; i++) {
        const struct gateway_listener *l = &g->listeners[i];
        if (of_set != (l->holder != g->gateway) || !str_eq(l->holder->ns, ns) || !str_eq(l->holder->name, name) ||
            (section.n && !str_eq(section, l->name)) || (port && port != l->port))
            continue;
        any = true;
        taken |= (l->kinds & 1u << kind) != 0;
        if (!(l->kinds & 1u << kind) ||
            !namespaces_allow(v, field_of(field_of(l->spec, "allowedRoutes"), "namespaces"), S("Same"), l->holder->ns,
                              route->ns))
            continue;
        allowed = true;
        struct route_attached *at = &out->attached[out->nattached];
        hosts_read(a, route, kind, l, at);
        out->nattached += at->nhosts > 0;
    }
    if (!any)
        out->refused = fault_make(a, "NoMatchingParent",
                                  STR_FMT " " STR_FMT "/" STR_FMT " has no listener that sectionName and port select",
                                  STR_ARG(text_or(ref, "kind", "Gateway")), STR_ARG(ns), STR_ARG(name));
    else if (kind == ROUTE_UDP)
        out->refused = fault_make(a, "NotAllowedByListeners",
                                  "UDP is not served by Gateways here; a Service of type LoadBalancer takes it");
    else if (!taken)
        out->refused = fault_make(a, "NotAllowedByListeners",
                                  "no listener takes a %s: its protocol and allowedRoutes.kinds say what it takes",
                                  route_rows[kind].kind);
    else if (!allowed)
        out->refused = fault_make(a, "NotAllowedByListeners",
                                  "no listener's allowedRoutes takes a %s of namespace " STR_FMT,
                                  route_rows[kind].kind, STR_ARG(route->ns));
    else if (out->nattached == 0)
        out->refused = fault_make(a, "NoMatchingListenerHostname",
                                  "none of the route's hostnames is one of a listener");
}
