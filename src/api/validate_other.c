/* validate_other.c - coordination, scheduling, policy, node and the kinds whose checks are few. */
#include "api/rules_int.h"

static void check_lease(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec);
    if (HAS(spec, leaseDurationSeconds) && NUM(spec, leaseDurationSeconds) <= 0)
        bad_num(e, AT(at, "leaseDurationSeconds"), NUM(spec, leaseDurationSeconds), "must be greater than 0");
    NOT_NEGATIVE(e, at, spec, leaseTransitions);
}

static void check_priorityclass(struct field_errors *e, const struct val *v)
{
    struct str name = TEXT(V(v, metadata), name);
    int64_t value = NUM(v, value);
    static const struct {
        const char *name;
        int64_t value;
        const char *text;
    } system[] = {{"system-node-critical", 2000001000, ""}, {"system-cluster-critical", 2000000000, ""}};
    if (str_starts(name, S("system-"))) {
        bool known = false;
        for (size_t i = 0; i < countof(system); i++) {
            if (!str_eqz(name, system[i].name))
                continue;
            known = true;
            if (value != system[i].value)
                bad_forbidden(e, AT(AT(NULL, "metadata"), "name"), "value of %s PriorityClass must be %lld",
                              system[i].name, (long long)system[i].value);
        }
        if (!known)
            bad_forbidden(
                e, AT(AT(NULL, "metadata"), "name"),
                "priority class names with 'system-' prefix are reserved for system use only. error: " STR_FMT
                " is not a known system priority class",
                STR_ARG(name));
    } else if (value > 1000000000) {
        bad_forbidden(e, AT(NULL, "value"), "maximum allowed value of a user defined priority is 1000000000");
    }
    if (HAS(v, preemptionPolicy))
        check_enum(e, AT(NULL, "preemptionPolicy"), TEXT(v, preemptionPolicy), "PreemptLowerPriority", "Never");
}

static void update_priorityclass(struct field_errors *e, const struct val *v, const struct val *old)
{
    if (NUM(v, value) != NUM(old, value))
        bad_forbidden(e, AT(NULL, "value"), "may not be changed in an update.");
    IMMUTABLE(e, NULL, v, old, preemptionPolicy);
}

static void check_pdb(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec), *low = V(spec, minAvailable), *high = V(spec, maxUnavailable);
    if (is_set(low) && is_set(high))
        bad_struct(e, at, T(policy_v1_PodDisruptionBudgetSpec), spec,
                   "minAvailable and maxUnavailable cannot be both set");
    if (is_set(low)) {
        check_percent_or_number(e, AT(at, "minAvailable"), low);
        check_not_over_100_percent(e, AT(at, "minAvailable"), low);
    }
    if (is_set(high)) {
        check_percent_or_number(e, AT(at, "maxUnavailable"), high);
        check_not_over_100_percent(e, AT(at, "maxUnavailable"), high);
    }
    check_label_selector(e, AT(at, "selector"), V(spec, selector));
    if (HAS(spec, unhealthyPodEvictionPolicy))
        check_enum(e, AT(at, "unhealthyPodEvictionPolicy"), TEXT(spec, unhealthyPodEvictionPolicy), "AlwaysAllow",
                   "IfHealthyBudget");
}

static void status_pdb(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "status");
    const struct val *s = V(v, status);
    (void)old;
    check_conditions(e, AT(at, "conditions"), V(s, conditions));
    NOT_NEGATIVE(e, at, s, disruptionsAllowed);
    NOT_NEGATIVE(e, at, s, currentHealthy);
    NOT_NEGATIVE(e, at, s, desiredHealthy);
    NOT_NEGATIVE(e, at, s, expectedPods);
}

static void check_runtimeclass(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "scheduling");
    const struct val *scheduling = V(v, scheduling), *fixed = V(V(v, overhead), podFixed),
                     *list = V(scheduling, tolerations);
    if (TEXT(v, handler).n == 0)
        bad_required(e, AT(NULL, "handler"), "");
    else
        check_format(e, AT(NULL, "handler"), TEXT(v, handler), format_dns1123_label);
    if (is_set(fixed)) {
        struct val requirements = val_map();
        val_set(e->arena, &requirements, N(limits), *fixed);
        check_resources(e, AT(NULL, "overhead"), &requirements, NULL, false);
    }
    check_labels(e, AT(at, "nodeSelector"), V(scheduling, nodeSelector));
    check_tolerations(e, AT(at, "tolerations"), list);
    each(t, list) for (const struct val *other = list->list; other < t; other++) if (unchanged(other, t))
    {
        bad_duplicate_struct(e, ITEM(AT(at, "tolerations"), INDEX(list, t)), T(core_v1_Toleration), t, "");
        break;
    }
}

static void update_runtimeclass(struct field_errors *e, const struct val *v, const struct val *old)
{
    if (!str_eq(TEXT(v, handler), TEXT(old, handler)))
        bad_text(e, AT(NULL, "handler"), TEXT(v, handler), "field is immutable");
}

const struct kind_rules rules_other[] = {
    RULES(Lease, format_dns1123_subdomain, check_lease, NULL, NULL),
    RULES(PriorityClass, format_dns1123_subdomain, check_priorityclass, update_priorityclass, NULL,
          .update_alone = true),
    RULES(PodDisruptionBudget, format_dns1123_subdomain, check_pdb, NULL, status_pdb),
    RULES(RuntimeClass, format_dns1123_subdomain, check_runtimeclass, update_runtimeclass, NULL),
    RULES(CertificateSigningRequest, format_path_segment, NULL, NULL, NULL),
    RULES_END,
};
