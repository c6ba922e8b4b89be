/* Aggregated ClusterRoles: the rules of one with an aggregationRule are those of the roles that its selectors choose,
 * in the order of their names, each once. Upstream: pkg/controller/clusterroleaggregation. */
#include "api/selector.h"
#include "control/manager.h"

static bool role_is_chosen(struct arena *a, const struct val *selectors, const struct obj *role)
{
    val_each_item (it, selectors) {
        struct selector *s;
        struct err ignored = ERR; /* validation has refused what is none */
        if (selector_of(a, it, &s, &ignored) && selector_matches(s, obj_labels(role)))
            return true;
    }
    return false;
}

static int by_name(const void *x, const void *y)
{
    return str_cmp((*(struct obj *const *)x)->name, (*(struct obj *const *)y)->name);
}

static bool has_rule(const struct val *rules, const struct val *rule)
{
    val_each_item (it, rules)
        if (val_equal(it, rule))
            return true;
    return false;
}

static void clusterroles_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *whole = view_get(v, K(ClusterRole), S(""), key.name);
    const struct val *selectors = whole ? val_at(&whole->tree, N(aggregationRule), N(clusterRoleSelectors)) : NULL;
    if (!val_len(selectors))
        return;
    struct arena *a = &out->arena;
    ARRAY(struct obj *) parts = {0};
    struct obj *o;
    for (struct objset_iter it = view_all(v, K(ClusterRole)); (o = objset_next(&it));)
        if (o != whole && role_is_chosen(a, selectors, o))
            array_push(&parts, o);
    if (parts.n)
        qsort(parts.p, parts.n, sizeof *parts.p, by_name);
    struct val rules = val_list();
    array_each (part, &parts)
        val_each_item (rule, val_get(&(*part)->tree, N(rules)))
            if (!has_rule(&rules, rule))
                val_add(a, &rules, val_copy(a, rule));
    array_fini(&parts);
    const struct val *have = val_get(&whole->tree, N(rules));
    if (have ? val_equal(have, &rules) : !val_len(&rules))
        return;
    struct val tree = plan_edit(out, whole);
    if (val_len(&rules))
        val_set(a, &tree, N(rules), rules);
    else
        val_del(&tree, N(rules));
    plan_update(out, whole, S(""), tree);
}

/* Any role may be part of any aggregated one; there are few of these. */
static void keys_of_wholes(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                           void *arg)
{
    (void)was, (void)now;
    struct obj *o;
    for (struct objset_iter it = view_all(v, K(ClusterRole)); (o = objset_next(&it));)
        if (val_get(&o->tree, N(aggregationRule)))
            add(arg, S(""), o->name);
}

static const struct controller_watch watches[] = {{K(ClusterRole), keys_of_wholes}, {0}};
const struct controller clusterroles_controller = {
    .name = "clusterroles",
    .component = "clusterrole-aggregation-controller",
    .account = "clusterrole-aggregation-controller",
    .watches = watches,
    .plan = clusterroles_plan,
};
