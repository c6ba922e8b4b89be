/* Gateways and ListenerSets: their status, and the Service by which a Gateway has an address of its own. */
#include "control/gateway_int.h"

bool gateway_settles(const struct view *v, struct plan *out)
{
    if (v->settling)
        plan_again(out, v->now + SETTLE_NS);
    return v->settling;
}

/* --- listeners --- */

static struct gateway_condition condition_of(const char *type, const struct gateway_fault *f, const char *good,
                                             const char *message)
{
    if (is_fault(f))
        return (struct gateway_condition){type, "False", f->reason, f->message};
    return (struct gateway_condition){type, "True", good, str_of(message)};
}

static struct val kinds_text(struct arena *a, unsigned may)
{
    struct val list = val_list();
    for (enum route_kind k = 0; k < ROUTE_KINDS; k++)
        if (may & 1u << k) {
            struct val one = val_map();
            val_set_str(a, &one, S("group"), val_str_borrowed(S(GATEWAY_GROUP)));
            val_set_text(a, &one, N(kind), str_of(route_rows[k].kind));
            val_add(a, &list, one);
        }
    return list;
}

static struct str listener_says(const struct gateway_listener *l)
{
    return is_fault(&l->accepted)   ? l->accepted.message
           : is_fault(&l->resolved) ? l->resolved.message
                                    : S("the Gateway is not accepted");
}

static void listener_conditions(struct plan *out, const struct gateway_model *g, const struct gateway_listener *l,
                                struct val *list, int64_t now)
{
    struct arena *a = &out->arena;
    int64_t generation = obj_generation(l->holder);
    struct gateway_condition c = condition_of("Accepted", &l->accepted, "Accepted", "The listener is valid");
    gateway_condition_put(a, list, &c, generation, now);
    c = is_fault(&l->conflicted)
            ? (struct gateway_condition){"Conflicted", "True", l->conflicted.reason, l->conflicted.message}
            : (struct gateway_condition){"Conflicted", "False", "NoConflicts", S("No other listener wants the same")};
    gateway_condition_put(a, list, &c, generation, now);
    c = condition_of("ResolvedRefs", &l->resolved, "ResolvedRefs", "All references are resolved");
    gateway_condition_put(a, list, &c, generation, now);
    struct gateway_fault f = {0};
    if (!l->serves)
        f = fault_make(a, is_fault(&l->conflicted) ? l->conflicted.reason : "Invalid", STR_FMT,
                       STR_ARG(listener_says(l)));
    else if (is_fault(&g->unusable) || g->naddresses == 0)
        f = fault_make(a, "Pending", "the Gateway has no address yet");
    c = condition_of("Programmed", &f, "Programmed", "The listener is served by the front door");
    gateway_condition_put(a, list, &c, generation, now);
    if (l->overlaps) {
        c = (struct gateway_condition){"OverlappingTLSConfig", "True", "OverlappingHostnames",
                                       S("Its hostname meets that of another HTTPS listener of this port")};
        gateway_condition_put(a, list, &c, generation, now);
    } else {
        for (size_t i = list->n; i-- > 0;)
            if (str_eqz(val_text_at(&list->list[i], N(type)), "OverlappingTLSConfig"))
                val_del_item(list, i);
    }
}

static struct val listeners_status(struct plan *out, const struct gateway_model *g, const struct obj *holder,
                                   const size_t *attached, const struct val *was, int64_t now)
{
    struct arena *a = &out->arena;
    struct val list = val_list();
    for (size_t i = 0; i < g->nlisteners; i++) {
        const struct gateway_listener *l = &g->listeners[i];
        if (l->holder != holder)
            continue;
        const struct val *had = val_get(val_find(was, N(name), l->name), N(conditions));
        struct val one = val_map(), conditions = val_is(had, VAL_LIST) ? val_copy(a, had) : val_list();
        listener_conditions(out, g, l, &conditions, now);
        val_set_text(a, &one, N(name), l->name);
        val_set_str(a, &one, S("supportedKinds"), kinds_text(a, l->kinds));
        val_set_str(a, &one, S("attachedRoutes"), val_int((int64_t)attached[i]));
        val_set(a, &one, N(conditions), conditions);
        val_add(a, &list, one);
    }
    return list;
}

/* How many accepted routes each listener has. */
static size_t *routes_count(const struct view *v, struct arena *a, const struct gateway_model *g)
{
    size_t *n = arena_many(a, size_t, g->nlisteners + 1);
    const struct obj **last = arena_many(a, const struct obj *, g->nlisteners + 1);
    for (size_t h = 0; h <= g->nsets; h++) {
        const struct obj *holder = h ? g->sets[h - 1].set : g->gateway, *set;
        struct str key = arena_fmt(a, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(holder->kind->kind),
                                   STR_ARG(holder->ns), STR_ARG(holder->name));
        for (enum route_kind r = 0; r < ROUTE_KINDS; r++) {
            const struct kind *k = route_kind_of(v, r);
            struct obj *route;
            struct objset_iter it = k ? view_with(v, k, &index_route_parent, key) : (struct objset_iter){0};
            while (k && (route = objset_next(&it))) {
                AUTO(arena_fini) struct arena own = ARENA;
                struct route_judgement judged;
                route_judge(v, &own, route, r, &judged);
                if (obj_deleting(route) || (judged.nrules && judged.nrules == judged.nfaulty))
                    continue;
                val_each_item (ref, field_of(obj_spec(route), "parentRefs")) {
                    struct route_parent p;
                    if (route_gateway(v, route, ref, &set) != g->gateway || set != (h ? holder : NULL))
                        continue; /* it is of another holder, and counted there */
                    route_attach(v, &own, route, r, ref, g, &p);
                    for (size_t i = 0; i < p.nattached; i++) {
                        size_t at = (size_t)(p.attached[i].listener - g->listeners);
                        n[at] += last[at] != route; /* two of its references may select the same */
                        last[at] = route;
                    }
                }
            }
        }
    }
    return n;
}

/* How many listeners of a holder are accepted, and how many it has. One of a ListenerSet without a certificate is of
 * no more use than one that is refused. */
static size_t listeners_accepted(const struct gateway_model *g, const struct obj *holder, size_t *all,
                                 struct str *bad, struct arena *a)
{
    size_t good = 0;
    *all = 0;
    for (size_t i = 0; i < g->nlisteners; i++)
        if (g->listeners[i].holder == holder) {
            const struct gateway_listener *l = &g->listeners[i];
            ++*all;
            if (is_fault(&l->accepted) || (holder != g->gateway && l->terminate && !l->ncertificates))
                *bad = arena_fmt(a, STR_FMT "%s" STR_FMT, STR_ARG(*bad), bad->n ? ", " : "",
                                 STR_ARG(g->listeners[i].name));
            else
                good++;
        }
    return good;
}

static struct gateway_condition accepted_condition(struct arena *a, const struct gateway_fault *f, size_t good,
                                                   size_t all, struct str bad, const char *says)
{
    if (is_fault(f))
        return (struct gateway_condition){"Accepted", "False", f->reason, f->message};
    if (good == all)
        return (struct gateway_condition){"Accepted", "True", "Accepted", str_of(says)};
    return (struct gateway_condition){"Accepted", good ? "True" : "False", "ListenersNotValid",
                                      arena_fmt(a, "Not accepted: listeners " STR_FMT, STR_ARG(bad))};
}

/* --- the Gateway --- */

static size_t listeners_serving(const struct gateway_model *g, const struct obj *holder)
{
    size_t n = 0;
    for (size_t i = 0; i < g->nlisteners; i++)
        n += g->listeners[i].holder == holder && g->listeners[i].serves;
    return n;
}

static struct gateway_fault programmed_fault(struct arena *a, const struct gateway_model *g)
{
    size_t serving = 0;
    for (size_t i = 0; i < g->nlisteners; i++)
        serving += g->listeners[i].serves;
    if (is_fault(&g->accepted))
        return fault_make(a, "Invalid", "The Gateway is not accepted");
    if (is_fault(&g->unusable))
        return g->unusable;
    if (g->naddresses == 0)
        return fault_make(a, "AddressNotAssigned",
                          g->own_address ? "Waiting for an address of its Service" : "No node has an address yet");
    if (serving == 0 && g->nlisteners > 0)
        return fault_make(a, "Invalid", "None of its listeners can be served; " STR_FMT ": " STR_FMT,
                          STR_ARG(g->listeners[0].name), STR_ARG(listener_says(&g->listeners[0])));
    return (struct gateway_fault){0};
}

static struct gateway_fault resolved_fault(struct arena *a, const struct gateway_model *g)
{
    if (is_fault(&g->resolved))
        return g->resolved;
    for (size_t i = 0; i < g->nown; i++)
        if (is_fault(&g->listeners[i].resolved))
            return fault_make(a, "ListenersNotResolved", "Listener " STR_FMT ": " STR_FMT,
                              STR_ARG(g->listeners[i].name), STR_ARG(g->listeners[i].resolved.message));
    return (struct gateway_fault){0};
}

static void conditions_drop(struct val *list, const char *type)
{
    for (size_t i = list->n; i-- > 0;)
        if (str_eqz(val_text_at(&list->list[i], N(type)), type))
            val_del_item(list, i);
}

static struct val *conditions_of(struct arena *a, struct val *status)
{
    struct val *list = val_get_mut(status, N(conditions));
    return val_is(list, VAL_LIST) ? list : val_set(a, status, N(conditions), val_list());
}

static void gateway_conditions(const struct view *v, struct plan *out, const struct gateway_model *g,
                               struct val *list)
{
    struct arena *a = &out->arena;
    int64_t generation = obj_generation(g->gateway);
    struct str bad = S("");
    size_t all, good = listeners_accepted(g, g->gateway, &all, &bad, a);
    struct gateway_condition c = accepted_condition(a, &g->accepted, good, all, bad, "The Gateway is accepted");
    gateway_condition_put(a, list, &c, generation, v->now);
    if (str_eqz(str_of(c.status), "False"))
        plan_why(out, "Gateway " STR_FMT "/" STR_FMT ": " STR_FMT, STR_ARG(g->gateway->ns), STR_ARG(g->gateway->name),
                 STR_ARG(c.message));
    struct gateway_fault f = programmed_fault(a, g);
    c = condition_of("Programmed", &f, "Programmed", "The Gateway is served by the front door");
    gateway_condition_put(a, list, &c, generation, v->now);
    if (is_fault(&f))
        plan_why(out, "Gateway " STR_FMT "/" STR_FMT ": " STR_FMT, STR_ARG(g->gateway->ns), STR_ARG(g->gateway->name),
                 STR_ARG(f.message));
    f = resolved_fault(a, g);
    c = condition_of("ResolvedRefs", &f, "ResolvedRefs", "All references are resolved");
    gateway_condition_put(a, list, &c, generation, v->now);
    bool insecure = false;
    for (size_t i = 0; i < g->nlisteners; i++)
        insecure |= g->listeners[i].insecure;
    conditions_drop(list, insecure ? "" : "InsecureFrontendValidationMode");
    if (insecure) {
        c = (struct gateway_condition){
            "InsecureFrontendValidationMode", "True", "ConfigurationChanged",
            S("AllowInsecureFallback: clients without a valid certificate are let through")};
        gateway_condition_put(a, list, &c, generation, v->now);
    }
}

static int64_t sets_attached(const struct gateway_model *g, struct arena *a)
{
    int64_t n = 0;
    struct str bad = S("");
    for (size_t i = 0; i < g->nsets; i++) {
        size_t all;
        n += !is_fault(&g->sets[i].refused) && listeners_accepted(g, g->sets[i].set, &all, &bad, a) > 0;
    }
    return n;
}

static void gateway_status(const struct view *v, const struct gateway_model *g, struct plan *out)
{
    struct arena *a = &out->arena;
    struct val tree = plan_edit_status(out, g->gateway), *status = val_need_map(a, &tree, N(status));
    gateway_conditions(v, out, g, conditions_of(a, status));
    struct val addresses = val_list();
    for (size_t i = 0; i < g->naddresses && !is_fault(&g->accepted); i++) {
        struct val one = val_map();
        val_set_text(a, &one, N(type), S("IPAddress"));
        val_set_text(a, &one, N(value), g->addresses[i]);
        val_add(a, &addresses, one);
    }
    if (addresses.n)
        val_set(a, status, N(addresses), addresses);
    else
        val_del(status, N(addresses));
    struct val listeners = listeners_status(out, g, g->gateway, routes_count(v, a, g),
                                            val_get_str(obj_status(g->gateway), S("listeners")), v->now);
    val_set_str(a, status, S("listeners"), listeners);
    if (g->nsets || val_get_str(status, S("attachedListenerSets")))
        val_set_str(a, status, S("attachedListenerSets"), val_int(sets_attached(g, a)));
    plan_update(out, g->gateway, S("status"), tree);
}

/* --- its Service --- */

static struct val ports_of(struct arena *a, const struct gateway_model *g)
{
    struct val ports = val_list();
    for (size_t i = 0; i < g->nlisteners; i++) {
        const struct gateway_listener *l = &g->listeners[i];
        bool there = !l->serves;
        val_each_item (it, &ports)
            there |= val_num_at(it, 0, N(port)) == l->port;
        if (there)
            continue;
        struct val p = val_map();
        val_set_text(a, &p, N(name), arena_fmt(a, "port-%u", l->port));
        val_set_text(a, &p, N(protocol), S("TCP"));
        val_set_num(a, &p, N(port), l->port);
        val_add(a, &ports, p);
    }
    return ports;
}

static void texts_copy(struct arena *a, struct val *to, const struct val *from)
{
    val_each_member (it, from)
        val_set_str(a, to, it->name->s, val_copy(a, &it->v));
}

/* What the API sets in a port by itself (targetPort, nodePort) stays. */
static struct val ports_kept(struct arena *a, const struct val *have, struct val want)
{
    val_each_item (p, &want)
        val_each_item (was, have)
            if (val_num_at(was, 0, N(port)) == val_num_at(p, 0, N(port))) {
                struct val kept = val_copy(a, was);
                val_set(a, &kept, N(name), val_copy(a, val_get(p, N(name))));
                want.list[p - want.list] = kept;
            }
    return want;
}

static void service_make(const struct gateway_model *g, const struct obj *have, struct str name, struct plan *out)
{
    struct arena *a = &out->arena;
    struct val tree = have ? plan_edit(out, have) : val_map(), ports = ports_of(a, g);
    struct val *meta = val_need_map(a, &tree, N(metadata)), *spec = val_need_map(a, &tree, N(spec));
    const struct val *infrastructure = field_of(obj_spec(g->gateway), "infrastructure");
    struct val *labels = val_need_map(a, meta, N(labels));
    texts_copy(a, labels, field_of(infrastructure, "labels"));
    val_set_str(a, labels, S(EDGE_SERVICE_LABEL), val_str_borrowed(S(EDGE_SERVICE_PROXY)));
    val_set_str(a, labels, S(GATEWAY_LABEL), val_str(a, g->gateway->name));
    val_set_str(a, labels, S(GATEWAY_CLASS_LABEL), val_str(a, text_of(obj_spec(g->gateway), "gatewayClassName")));
    if (val_len(field_of(infrastructure, "annotations")))
        texts_copy(a, val_need_map(a, meta, N(annotations)), field_of(infrastructure, "annotations"));
    struct val owners = val_list();
    val_add(a, &owners, owner_ref(a, g->gateway));
    val_set(a, meta, N(ownerReferences), owners);
    val_set_text(a, spec, N(type), S("LoadBalancer"));
    val_set_bool(a, spec, N(allocateLoadBalancerNodePorts), false);
    val_set(a, spec, N(ports), ports_kept(a, val_get(have ? obj_spec(have) : NULL, N(ports)), ports));
    val_del(spec, N(loadBalancerIP));
    val_each_item (it, field_of(obj_spec(g->gateway), "addresses"))
        if (text_of(it, "value").n && !val_get(spec, N(loadBalancerIP)))
            val_set_text(a, spec, N(loadBalancerIP), text_of(it, "value"));
    if (have)
        plan_update(out, have, S(""), tree);
    else
        plan_create(out, K(Service), g->gateway->ns, name, tree);
}

static void service_keep(const struct view *v, const struct gateway_model *g, struct plan *out)
{
    struct str name = gateway_service_name(&out->arena, g->gateway);
    const struct obj *have = view_get(v, K(Service), g->gateway->ns, name);
    bool ours = have && str_eq(val_text_at(obj_controller(have), N(uid)), g->gateway->uid);
    bool wanted = g->own_address && !is_fault(&g->accepted) && ports_of(&out->arena, g).n > 0;
    if (have && !ours)
        return;
    if (wanted && !(have && obj_deleting(have)))
        service_make(g, have, name, out);
    else if (have && !wanted && !obj_deleting(have))
        plan_delete(out, have);
}

static void gateway_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct kind *k = view_defined(v, GATEWAYS);
    const struct obj *gateway = k ? view_get(v, k, key.ns, key.name) : NULL;
    struct gateway_model g;
    if (!gateway || !gateway_is_ours(v, gateway) || gateway_settles(v, out))
        return;
    gateway_read(v, &out->arena, gateway, &g);
    service_keep(v, &g, out);
    gateway_status(v, &g, out);
}

/* --- ListenerSets --- */

static void set_status(const struct view *v, const struct gateway_model *g, const struct gateway_set *s,
                       struct plan *out)
{
    struct arena *a = &out->arena;
    struct val tree = plan_edit_status(out, s->set), *status = val_need_map(a, &tree, N(status));
    struct val *list = conditions_of(a, status);
    struct str bad = S("");
    size_t all, good = listeners_accepted(g, s->set, &all, &bad, a), serving = listeners_serving(g, s->set);
    struct gateway_condition c = accepted_condition(a, &s->refused, good, all, bad, "The ListenerSet is accepted");
    gateway_condition_put(a, list, &c, obj_generation(s->set), v->now);
    struct gateway_fault f = {0};
    if (str_eqz(str_of(c.status), "False"))
        f = (struct gateway_fault){c.reason, c.message};
    else if (g->naddresses == 0)
        f = fault_make(a, "Pending", "The Gateway has no address yet");
    else if (serving == 0)
        f = fault_make(a, "Invalid", "None of its listeners can be served; their conditions say why");
    c = condition_of("Programmed", &f, "Programmed", "The ListenerSet is served by the front door");
    gateway_condition_put(a, list, &c, obj_generation(s->set), v->now);
    struct val listeners = listeners_status(out, g, s->set, routes_count(v, a, g),
                                            val_get_str(obj_status(s->set), S("listeners")), v->now);
    val_set_str(a, status, S("listeners"), listeners);
    plan_update(out, s->set, S("status"), tree);
    if (is_fault(&f))
        plan_why(out, "ListenerSet " STR_FMT "/" STR_FMT ": " STR_FMT, STR_ARG(s->set->ns), STR_ARG(s->set->name),
                 STR_ARG(f.message));
}

static void set_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct kind *k = view_defined(v, GATEWAYS_SETS), *gateways = view_defined(v, GATEWAYS);
    const struct obj *set = k ? view_get(v, k, key.ns, key.name) : NULL;
    const struct val *ref = set ? field_of(obj_spec(set), "parentRef") : NULL;
    struct str ns = text_of(ref, "namespace");
    const struct obj *gateway = set && gateways ? view_get(v, gateways, ns.n ? ns : set->ns, text_of(ref, "name"))
                                                : NULL;
    struct gateway_model g;
    if (!gateway || !gateway_is_ours(v, gateway) || obj_deleting(set) || gateway_settles(v, out))
        return;
    gateway_read(v, &out->arena, gateway, &g);
    for (size_t i = 0; i < g.nsets; i++)
        if (g.sets[i].set == set)
            set_status(v, &g, &g.sets[i], out);
}

#define POOLS_OURS    "addresspools.wherry.dev"
#define POOLS_METALLB "ipaddresspools.metallb.io"

static const struct controller_watch watches[] = {{K(Secret), keys_of_gateway},    {K(ConfigMap), keys_of_gateway},
                                                  {K(Service), keys_of_gateway},   {K(Node), keys_of_gateway},
                                                  {K(Namespace), keys_of_gateway}, {0}};
static const struct defined_watch defined[] = {{GATEWAYS, keys_of_gateway},
                                               {GATEWAYS_CLASSES, keys_of_gateway},
                                               {GATEWAYS_SETS, keys_of_gateway},
                                               {GATEWAYS_GRANTS, keys_of_gateway},
                                               {POOLS_OURS, keys_of_gateway},
                                               {POOLS_METALLB, keys_of_gateway},
                                               {"httproutes." GATEWAY_GROUP, keys_of_gateway},
                                               {"grpcroutes." GATEWAY_GROUP, keys_of_gateway},
                                               {"tlsroutes." GATEWAY_GROUP, keys_of_gateway},
                                               {"tcproutes." GATEWAY_GROUP, keys_of_gateway},
                                               {0}};
const struct controller gateway_controller = {
    .name = "gateway",
    .component = "gateway-controller",
    .account = "gateway-controller",
    .watches = watches,
    .defined = defined,
    .plan = gateway_plan,
};

static const struct controller_watch set_watches[] = {{K(Secret), keys_of_set},    {K(ConfigMap), keys_of_set},
                                                      {K(Service), keys_of_set},   {K(Node), keys_of_set},
                                                      {K(Namespace), keys_of_set}, {0}};
static const struct defined_watch set_defined[] = {{GATEWAYS, keys_of_set},
                                                   {GATEWAYS_CLASSES, keys_of_set},
                                                   {GATEWAYS_SETS, keys_of_set},
                                                   {GATEWAYS_GRANTS, keys_of_set},
                                                   {POOLS_OURS, keys_of_set},
                                                   {POOLS_METALLB, keys_of_set},
                                                   {"httproutes." GATEWAY_GROUP, keys_of_set},
                                                   {"grpcroutes." GATEWAY_GROUP, keys_of_set},
                                                   {"tlsroutes." GATEWAY_GROUP, keys_of_set},
                                                   {"tcproutes." GATEWAY_GROUP, keys_of_set},
                                                   {0}};
const struct controller listenerset_controller = {
    .name = "listenerset",
    .component = "gateway-controller",
    .account = "gateway-controller",
    .watches = set_watches,
    .defined = set_defined,
    .plan = set_plan,
};
