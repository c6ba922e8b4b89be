/* ValidatingAdmissionPolicies: whether their expressions fit the objects that they are about (status.typeChecking),
 * once a generation. Upstream: pkg/controller/validatingadmissionpolicystatus. */
#include "cel/policy.h"
#include "control/manager.h"

enum { POLICY_KINDS = 10 }; /* as many as upstream looks at */

static bool is_wild(const struct val *list)
{
    val_each_item (it, list)
        if (str_find_char(val_text(it), '*') >= 0)
            return true;
    return false;
}

/* The kinds that the rules name, without those that they name by a wildcard. */
static size_t policy_kinds(const struct kind_set *set, const struct val *rules, const struct kind **out)
{
    size_t n = 0;
    val_each_item (rule, rules) {
        const struct val *groups = val_get(rule, N(apiGroups)), *versions = val_get(rule, N(apiVersions));
        if (is_wild(groups) || is_wild(versions))
            continue;
        val_each_item (group, groups)
            val_each_item (version, versions)
                val_each_item (resource, val_get(rule, N(resources))) {
                    const struct kind *k = kind_set_find_plural(set, val_text(group), val_text(version),
                                                                val_text(resource));
                    size_t i = 0;
                    while (i < n && out[i] != k)
                        i++;
                    if (k && i == n && n < POLICY_KINDS)
                        out[n++] = k;
                }
    }
    return n;
}

static int kind_order(const void *x, const void *y)
{
    const struct kind *a = *(const struct kind *const *)x, *b = *(const struct kind *const *)y;
    int order = str_cmp(a->group, b->group);
    order = order ? order : str_cmp(a->version, b->version);
    return order ? order : str_cmp(a->kind, b->kind);
}

static void policies_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *o = view_get(v, K(ValidatingAdmissionPolicy), S(""), key.name);
    if (!o || val_num_at(obj_status(o), 0, N(observedGeneration)) == obj_generation(o))
        return;
    struct arena *a = &out->arena;
    const struct val *spec = obj_spec(o), *param = val_get(spec, N(paramKind));
    const struct kind *found[POLICY_KINDS];
    const struct kind_set *set = view_kinds(v);
    size_t n = policy_kinds(set, val_at(spec, N(matchConstraints), N(resourceRules)), found);
    qsort(found, n, sizeof *found, kind_order);
    struct val list = cel_policy_warnings(
        a, spec, found, n,
        param ? kind_set_of_api_version(set, val_text_at(param, N(apiVersion)), val_text_at(param, N(kind))) : NULL);
    struct val tree = plan_edit(out, o);
    struct val *status = val_need_map(a, &tree, N(status)), *checked = val_set(a, status, N(typeChecking), val_map());
    if (val_len(&list))
        val_set(a, checked, N(expressionWarnings), list);
    val_set_num(a, status, N(observedGeneration), obj_generation(o));
    plan_update(out, o, S("status"), tree);
}

static const struct controller_watch watches[] = {{K(ValidatingAdmissionPolicy), keys_self}, {0}};
const struct controller policies_controller = {
    .name = "policies",
    .component = "validatingadmissionpolicy-status-controller",
    .account = "validatingadmissionpolicy-status-controller",
    .watches = watches,
    .plan = policies_plan,
};
