/* The status of routes: what each of their parents that is ours makes of them. Entries of other controllers are left
 * as they are; those of ours for parents that are no longer named, or no longer ours, go. */
#include "control/gateway_int.h"

static bool entry_is_ours(const struct val *entry)
{
    return str_eqz(text_of(entry, "controllerName"), GATEWAY_CONTROLLER);
}

static const struct val *entry_of(const struct obj *route, const struct val *ref)
{
    val_each_item (it, field_of(obj_status(route), "parents"))
        if (entry_is_ours(it) && val_equal(field_of(it, "parentRef"), ref))
            return it;
    return NULL;
}

static void partial_put(struct arena *a, struct val *list, const struct route_judgement *j, bool accepted,
                        int64_t generation, int64_t now)
{
    for (size_t i = list->n; i-- > 0;)
        if (str_eqz(val_text_at(&list->list[i], N(type)), "PartiallyInvalid") && !(accepted && j->nfaulty))
            val_del_item(list, i);
    if (!accepted || !j->nfaulty)
        return;
    struct gateway_condition c = {"PartiallyInvalid", "True", j->rules.reason,
                                  arena_fmt(a, "Dropped Rule " STR_FMT "; %zu: " STR_FMT, STR_ARG(j->faulty),
                                            j->first, STR_ARG(j->rules.message))};
    gateway_condition_put(a, list, &c, generation, now);
}

static struct val entry_make(const struct view *v, struct plan *out, const struct obj *route, enum route_kind kind,
                             const struct val *ref, const struct obj *gateway, const struct route_judgement *j)
{
    struct arena *a = &out->arena;
    struct gateway_model g;
    struct route_parent p;
    gateway_read(v, a, gateway, &g);
    route_attach(v, a, route, kind, ref, &g, &p);
    struct gateway_fault f = p.refused;
    if (j->nrules && j->nfaulty == j->nrules)
        fault_keep(&f, fault_make(a, j->rules.reason, "rule %zu: " STR_FMT, j->first, STR_ARG(j->rules.message)));
    const struct val *had = val_get(entry_of(route, ref), N(conditions));
    struct val entry = val_map(), list = val_is(had, VAL_LIST) ? val_copy(a, had) : val_list();
    struct gateway_condition accepted = {"Accepted", "True", "Accepted", S("The route is accepted")};
    struct gateway_condition resolved = {"ResolvedRefs", "True", "ResolvedRefs", S("All references are resolved")};
    if (is_fault(&f))
        accepted = (struct gateway_condition){"Accepted", "False", f.reason, f.message};
    if (is_fault(&j->resolved))
        resolved = (struct gateway_condition){"ResolvedRefs", "False", j->resolved.reason, j->resolved.message};
    gateway_condition_put(a, &list, &accepted, obj_generation(route), v->now);
    gateway_condition_put(a, &list, &resolved, obj_generation(route), v->now);
    partial_put(a, &list, j, !is_fault(&f), obj_generation(route), v->now);
    val_set_str(a, &entry, S("parentRef"), val_copy(a, ref));
    val_set_str(a, &entry, S("controllerName"), val_str_borrowed(S(GATEWAY_CONTROLLER)));
    val_set(a, &entry, N(conditions), list);
    if (is_fault(&f))
        plan_why(out, STR_FMT, STR_ARG(f.message));
    else if (is_fault(&j->resolved))
        plan_why(out, STR_FMT, STR_ARG(j->resolved.message));
    else if (is_fault(&j->rules))
        plan_why(out, STR_FMT, STR_ARG(j->rules.message));
    return entry;
}

/* The reference of the spec that an entry of ours is about; NULL: there is none, or it leads to nothing of ours. */
static const struct val *ref_of(const struct view *v, const struct obj *route, const struct val *entry,
                                const struct obj **gateway)
{
    const struct obj *set;
    val_each_item (ref, field_of(obj_spec(route), "parentRefs"))
        if (entry_of(route, ref) == entry && (*gateway = route_gateway(v, route, ref, &set)))
            return ref;
    return NULL;
}

void route_plan(const struct view *v, struct key key, enum route_kind kind, struct plan *out)
{
    const struct kind *k = route_kind_of(v, kind);
    const struct obj *route = k ? view_get(v, k, key.ns, key.name) : NULL;
    if (!route || obj_deleting(route) || gateway_settles(v, out))
        return;
    struct arena *a = &out->arena;
    struct val tree = plan_edit_status(out, route), parents = val_list();
    const struct val *had = field_of(obj_status(route), "parents");
    const struct obj *gateway, *set;
    struct route_judgement judged;
    route_judge(v, a, route, kind, &judged);
    val_each_item (it, had) { /* each keeps its place */
        const struct val *ref = entry_is_ours(it) ? ref_of(v, route, it, &gateway) : NULL;
        if (!entry_is_ours(it))
            val_add(a, &parents, val_copy(a, it));
        else if (ref)
            val_add(a, &parents, entry_make(v, out, route, kind, ref, gateway, &judged));
    }
    val_each_item (ref, field_of(obj_spec(route), "parentRefs"))
        if (!entry_of(route, ref) && (gateway = route_gateway(v, route, ref, &set)))
            val_add(a, &parents, entry_make(v, out, route, kind, ref, gateway, &judged));
    if (!had && parents.n == 0)
        return;
    val_set_str(a, val_need_map(a, &tree, N(status)), S("parents"), parents);
    plan_update(out, route, S("status"), tree);
}

#define ROUTES(what, row, label)                                                                                     \
    static void plan_##what(const struct view *v, struct key key, struct plan *out)                                  \
    {                                                                                                                \
        route_plan(v, key, row, out);                                                                                \
    }                                                                                                                \
    static void keys_##what(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,    \
                            void *arg)                                                                               \
    {                                                                                                                \
        keys_of_route(v, row, was, now, add, arg);                                                                   \
    }                                                                                                                \
    static const struct controller_watch watches_##what[] = {                                                        \
        {K(Service), keys_##what}, {K(Namespace), keys_##what}, {0}};                                                \
    static const struct defined_watch defined_##what[] = {                                                           \
        {label "s." GATEWAY_GROUP, keys_##what}, {GATEWAYS, keys_##what},                                            \
        {GATEWAYS_CLASSES, keys_##what},         {GATEWAYS_SETS, keys_##what},                                       \
        {GATEWAYS_GRANTS, keys_##what},          {0}};                                                               \
    const struct controller what##_controller = {                                                                    \
        .name = label,                                                                                               \
        .component = "gateway-controller",                                                                           \
        .account = "gateway-controller",                                                                             \
        .watches = watches_##what,                                                                                   \
        .defined = defined_##what,                                                                                   \
        .plan = plan_##what,                                                                                         \
    };

ROUTES(httproute, ROUTE_HTTP, "httproute")
ROUTES(grpcroute, ROUTE_GRPC, "grpcroute")
ROUTES(tlsroute, ROUTE_TLS, "tlsroute")
ROUTES(tcproute, ROUTE_TCP, "tcproute")
ROUTES(udproute, ROUTE_UDP, "udproute")
