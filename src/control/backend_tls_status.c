/* The status of BackendTLSPolicies: one entry for each Gateway of ours with a route to what the policy is about. */
#include "api/custom.h"
#include "control/backend_tls.h"
#include "control/gateway_int.h"

enum { ANCESTORS_MOST = 16 }; /* the definition's bound */
struct ancestors {
    const struct obj *list[ANCESTORS_MOST]; /* Gateways, by namespace and name */
    size_t n;
};

/* --- the Gateways --- */

static void ancestor_add(struct ancestors *x, const struct obj *gateway)
{
    size_t at = 0;
    int order = 1;
    while (at < x->n && ((order = str_cmp(x->list[at]->ns, gateway->ns)) < 0 ||
                         (order == 0 && (order = str_cmp(x->list[at]->name, gateway->name)) < 0)))
        at++;
    if (at < x->n && order == 0)
        return;
    if (x->n == ANCESTORS_MOST) {
        if (at == x->n)
            return;
        x->n--;
    }
    memmove(&x->list[at + 1], &x->list[at], (x->n - at) * sizeof x->list[0]);
    x->list[at] = gateway;
    x->n++;
}

static void ancestors_of_service(const struct view *v, struct str ns, struct str service, struct ancestors *out)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str key = objset_key(&b, ns, service);
    for (enum route_kind r = 0; r < ROUTE_KINDS; r++) {
        const struct kind *k = route_kind_of(v, r);
        struct objset_iter it = k ? view_with(v, k, &index_route_backend, key) : (struct objset_iter){0};
        struct obj *route;
        while (k && (route = objset_next(&it)))
            val_each_item (ref, field_of(obj_spec(route), "parentRefs")) {
                const struct obj *set, *gateway = route_gateway(v, route, ref, &set);
                if (gateway)
                    ancestor_add(out, gateway);
            }
    }
}

/* --- the conditions --- */

static bool target_is_there(const struct view *v, const struct obj *policy, const struct val *target)
{
    struct str port = text_of(target, "sectionName");
    const struct obj *service = view_get(v, K(Service), policy->ns, text_of(target, "name"));
    val_each_item (it, service && port.n ? val_get(obj_spec(service), N(ports)) : NULL)
        if (str_eq(val_text_at(it, N(name)), port))
            return true;
    return service && !port.n;
}

/* Another that is about the very same and goes before it. */
static const struct obj *rival_of(const struct view *v, const struct obj *policy, const struct val *target)
{
    struct str port = text_of(target, "sectionName");
    const struct obj *first = backend_policy_of(v, policy->ns, text_of(target, "name"), port);
    val_each_item (it, first && first != policy ? field_of(obj_spec(first), "targetRefs") : NULL)
        if (str_eq(text_of(it, "name"), text_of(target, "name")) && str_eq(text_of(it, "sectionName"), port))
            return first;
    return NULL;
}

static struct gateway_fault targets_fault(const struct view *v, struct arena *a, const struct obj *policy)
{
    struct gateway_fault missing = {0}, conflicted = {0};
    size_t wrong = 0;
    const struct val *targets = field_of(obj_spec(policy), "targetRefs");
    val_each_item (it, targets) {
        struct str kind = text_of(it, "kind"), name = text_of(it, "name"), port = text_of(it, "sectionName");
        const struct obj *rival;
        if (text_of(it, "group").n || !str_eqz(kind, "Service") || !target_is_there(v, policy, it)) {
            fault_keep(&missing,
                       fault_make(a, "TargetNotFound", "there is no " STR_FMT " " STR_FMT "/" STR_FMT "%s" STR_FMT,
                                  STR_ARG(kind), STR_ARG(policy->ns), STR_ARG(name),
                                  port.n ? " with a port called " : "", STR_ARG(port)));
            wrong++;
        } else if ((rival = rival_of(v, policy, it))) {
            fault_keep(&conflicted, fault_make(a, "Conflicted",
                                               "BackendTLSPolicy " STR_FMT "/" STR_FMT
                                               ", which goes before this one, is about the same Service " STR_FMT,
                                               STR_ARG(rival->ns), STR_ARG(rival->name), STR_ARG(name)));
            wrong++;
        }
    }
    if (wrong < val_len(targets))
        return (struct gateway_fault){0};
    return is_fault(&conflicted) ? conflicted : missing;
}

static struct gateway_condition policy_condition(const char *type, const struct gateway_fault *f, const char *says)
{
    if (is_fault(f))
        return (struct gateway_condition){type, "False", f->reason, f->message};
    return (struct gateway_condition){type, "True", type, str_of(says)};
}

/* --- the plan --- */

static bool entry_is_ours(const struct val *entry)
{
    return str_eqz(text_of(entry, "controllerName"), GATEWAY_CONTROLLER);
}

static const struct val *entry_before(const struct obj *policy, const struct obj *gateway)
{
    val_each_item (it, field_of(obj_status(policy), "ancestors")) {
        const struct val *ref = field_of(it, "ancestorRef");
        if (entry_is_ours(it) && str_eq(text_of(ref, "namespace"), gateway->ns) &&
            str_eq(text_of(ref, "name"), gateway->name))
            return it;
    }
    return NULL;
}

static struct val ancestor_ref(struct arena *a, const struct obj *gateway)
{
    struct val ref = val_map();
    val_set_str(a, &ref, S("group"), val_str_borrowed(S(GATEWAY_GROUP)));
    val_set_text(a, &ref, N(kind), S("Gateway"));
    val_set_text(a, &ref, N(namespace), gateway->ns);
    val_set_text(a, &ref, N(name), gateway->name);
    return ref;
}

static void policy_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct kind *k = view_defined(v, GATEWAYS_TLS_POLICIES);
    const struct obj *policy = k ? view_get(v, k, key.ns, key.name) : NULL;
    if (!policy || obj_deleting(policy) || gateway_settles(v, out))
        return;
    struct arena *a = &out->arena;
    struct val tree = plan_edit_status(out, policy), list = val_list();
    const struct val *had = field_of(obj_status(policy), "ancestors");
    struct ancestors found = {0};
    struct backend_policy read;
    val_each_item (it, field_of(obj_spec(policy), "targetRefs"))
        ancestors_of_service(v, policy->ns, text_of(it, "name"), &found);
    backend_policy_read(v, a, policy, &read);
    struct gateway_fault refused = targets_fault(v, a, policy);
    fault_keep(&refused, read.invalid);
    val_each_item (it, had)
        if (!entry_is_ours(it))
            val_add(a, &list, val_copy(a, it));
    for (size_t i = 0; i < found.n && list.n < ANCESTORS_MOST; i++) {
        const struct val *was = val_get(entry_before(policy, found.list[i]), N(conditions));
        struct val entry = val_map(), conditions = val_is(was, VAL_LIST) ? val_copy(a, was) : val_list();
        struct gateway_condition c = policy_condition("Accepted", &refused, "The policy is kept");
        gateway_condition_put(a, &conditions, &c, obj_generation(policy), v->now);
        c = policy_condition("ResolvedRefs", &read.resolved, "All references are resolved");
        gateway_condition_put(a, &conditions, &c, obj_generation(policy), v->now);
        val_set_str(a, &entry, S("ancestorRef"), ancestor_ref(a, found.list[i]));
        val_set_str(a, &entry, S("controllerName"), val_str_borrowed(S(GATEWAY_CONTROLLER)));
        val_set(a, &entry, N(conditions), conditions);
        val_add(a, &list, entry);
    }
    if (is_fault(&refused))
        plan_why(out, STR_FMT, STR_ARG(refused.message));
    else if (is_fault(&read.resolved))
        plan_why(out, STR_FMT, STR_ARG(read.resolved.message));
    if (!had && list.n == 0)
        return;
    val_set_str(a, val_need_map(a, &tree, N(status)), S("ancestors"), list);
    plan_update(out, policy, S("status"), tree);
}

/* --- whom a change concerns --- */

static bool defined_as(const struct kind *k, const char *definition)
{
    return k->custom && str_eqz(k->custom->definition, definition);
}

static void policies_with(const struct view *v, const struct objindex *index, struct str at, keys_add_fn *add,
                          void *arg)
{
    const struct kind *k = view_defined(v, GATEWAYS_TLS_POLICIES);
    struct obj *o;
    if (k)
        for (struct objset_iter it = view_with(v, k, index, at); (o = objset_next(&it));)
            add(arg, o->ns, o->name);
}

struct policies_relay {
    const struct view *v;
    keys_add_fn *add;
    void *arg;
};

static void policies_of_key(void *arg, struct str at)
{
    const struct policies_relay *r = arg;
    policies_with(r->v, &index_policy_target, at, r->add, r->arg);
}

void keys_of_policy(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, void *arg)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct policies_relay r = {v, add, arg};
    const struct obj *o = now ? now : was;
    if (defined_as(o->kind, GATEWAYS_TLS_POLICIES)) { /* and those that it goes before */
        add(arg, o->ns, o->name);
        if (was)
            index_policy_target.keys(was, policies_of_key, &r);
        if (now)
            index_policy_target.keys(now, policies_of_key, &r);
    } else if (o->kind == K(Service)) {
        policies_with(v, &index_policy_target, objset_key_of(&b, o), add, arg);
    } else if (o->kind == K(ConfigMap) || o->kind == K(Secret)) {
        strbuf_addf(&b, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(o->kind->kind), STR_ARG(o->ns), STR_ARG(o->name));
        policies_with(v, &index_policy_ca, strbuf_str(&b), add, arg);
    } else if (route_of(o->kind) != ROUTE_KINDS) {
        if (was && now && obj_generation(was) == obj_generation(now))
            return;
        if (was)
            index_route_backend.keys(was, policies_of_key, &r);
        if (now)
            index_route_backend.keys(now, policies_of_key, &r);
    } else if (!was || !now || obj_generation(was) != obj_generation(now) || obj_deleting(was) != obj_deleting(now)) {
        const struct kind *k = view_defined(v, GATEWAYS_TLS_POLICIES); /* Gateways, classes, ListenerSets */
        if (k)
            for (struct objset_iter it = view_all(v, k); (o = objset_next(&it));)
                add(arg, o->ns, o->name);
    }
}

static const struct controller_watch watches[] = {
    {K(Service), keys_of_policy}, {K(ConfigMap), keys_of_policy}, {K(Secret), keys_of_policy}, {0}};
static const struct defined_watch defined[] = {{GATEWAYS_TLS_POLICIES, keys_of_policy},
                                               {GATEWAYS, keys_of_policy},
                                               {GATEWAYS_CLASSES, keys_of_policy},
                                               {GATEWAYS_SETS, keys_of_policy},
                                               {"httproutes." GATEWAY_GROUP, keys_of_policy},
                                               {"grpcroutes." GATEWAY_GROUP, keys_of_policy},
                                               {"tlsroutes." GATEWAY_GROUP, keys_of_policy},
                                               {"tcproutes." GATEWAY_GROUP, keys_of_policy},
                                               {0}};
const struct controller backendtls_controller = {
    .name = "backendtlspolicy",
    .component = "gateway-controller",
    .account = "gateway-controller",
    .watches = watches,
    .defined = defined,
    .plan = policy_plan,
};
