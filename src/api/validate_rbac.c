/* validate_rbac.c - Role, ClusterRole and their bindings. */
#include "api/rules_int.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"

static void check_rules(struct field_errors *e, const struct val *v, bool namespaced)
{
    const struct val *rules = V(v, rules);
    each (rule, rules) {
        const struct at *here = ITEM(AT(NULL, "rules"), INDEX(rules, rule));
        size_t urls = val_len(V(rule, nonResourceURLs)), groups = val_len(V(rule, apiGroups));
        size_t resources = val_len(V(rule, resources)), given = val_len(V(rule, resourceNames));
        if (val_len(V(rule, verbs)) == 0)
            bad_required(e, AT(here, "verbs"), "verbs must contain at least one value");
        if (urls > 0) {
            if (namespaced)
                bad_value(e, AT(here, "nonResourceURLs"), V(rule, nonResourceURLs),
                          "namespaced rules cannot apply to non-resource URLs");
            if (groups + resources + given > 0)
                bad_value(e, AT(here, "nonResourceURLs"), V(rule, nonResourceURLs),
                          "rules cannot apply to both regular resources and non-resource URLs");
            continue;
        }
        if (groups == 0)
            bad_required(e, AT(here, "apiGroups"), "resource rules must supply at least one api group");
        if (resources == 0)
            bad_required(e, AT(here, "resources"), "resource rules must supply at least one resource");
    }
}

static void check_role(struct field_errors *e, const struct val *v)
{
    check_rules(e, v, true);
}

static void check_clusterrole(struct field_errors *e, const struct val *v)
{
    const struct val *aggregation = V(v, aggregationRule), *selectors = V(aggregation, clusterRoleSelectors);
    const struct at *at = AT(AT(NULL, "aggregationRule"), "clusterRoleSelectors");
    check_rules(e, v, false);
    if (!is_set(aggregation))
        return;
    if (val_len(selectors) == 0)
        bad_required(e, at, "at least one clusterRoleSelector required if aggregationRule is non-nil");
    each (s, selectors) {
        const struct at *here = ITEM(at, INDEX(selectors, s));
        if (check_label_selector(e, here, s))
            bad_value(e, here, NULL, "invalid label selector.");
    }
}

static void check_binding(struct field_errors *e, const struct val *v, bool namespaced)
{
    const struct val *ref = V(v, roleRef), *subjects = V(v, subjects);
    const struct at *at = AT(NULL, "roleRef");
    if (!str_eq(TEXT(ref, apiGroup), S(RBAC_GROUP)))
        bad_enum(e, AT(at, "apiGroup"), TEXT(ref, apiGroup), SET(RBAC_GROUP));
    if (namespaced)
        check_enum(e, AT(at, "kind"), TEXT(ref, kind), "Role", "ClusterRole");
    else
        check_enum(e, AT(at, "kind"), TEXT(ref, kind), "ClusterRole");
    if (REQUIRED(e, at, ref, name))
        check_format(e, AT(at, "name"), TEXT(ref, name), format_path_segment);
    each (subject, subjects) {
        const struct at *here = ITEM(AT(NULL, "subjects"), INDEX(subjects, subject));
        struct str kind = TEXT(subject, kind), name = TEXT(subject, name), group = TEXT(subject, apiGroup);
        if (name.n == 0)
            bad_required(e, AT(here, "name"), "");
        if (str_eq(kind, S("ServiceAccount"))) {
            if (name.n > 0)
                check_format(e, AT(here, "name"), name, format_dns1123_subdomain);
            if (group.n > 0)
                bad_enum(e, AT(here, "apiGroup"), group, SET(""));
            if (!namespaced && TEXT(subject, namespace).n == 0)
                bad_required(e, AT(here, "namespace"), "");
        } else if (str_eq(kind, S("User")) || str_eq(kind, S("Group"))) {
            if (!str_eq(group, S(RBAC_GROUP)))
                bad_enum(e, AT(here, "apiGroup"), group, SET(RBAC_GROUP));
        } else {
            bad_enum(e, AT(here, "kind"), kind, SET("ServiceAccount", "User", "Group"));
        }
    }
}

static void check_rolebinding(struct field_errors *e, const struct val *v)
{
    check_binding(e, v, true);
}

static void check_clusterrolebinding(struct field_errors *e, const struct val *v)
{
    check_binding(e, v, false);
}

static void update_binding(struct field_errors *e, const struct val *v, const struct val *old)
{
    if (!val_unchanged(V(v, roleRef), V(old, roleRef)))
        bad_struct(e, AT(NULL, "roleRef"), T(rbac_v1_RoleRef), V(v, roleRef), "cannot change roleRef");
}

const struct kind_rules rules_rbac[] = {
    RULES(Role, format_path_segment, check_role, NULL, NULL),
    RULES(ClusterRole, format_path_segment, check_clusterrole, NULL, NULL),
    RULES(RoleBinding, format_path_segment, check_rolebinding, update_binding, NULL),
    RULES(ClusterRoleBinding, format_path_segment, check_clusterrolebinding, update_binding, NULL),
    RULES_END,
};
