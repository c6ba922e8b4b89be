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
    AUTO(seen_fini) struct seen seen = SEEN;
    each (t, list)
        if (seen_value(&seen, t))
            bad_duplicate_struct(e, ITEM(AT(at, "tolerations"), INDEX(list, t)), T(core_v1_Toleration), t, "");
}

static void update_runtimeclass(struct field_errors *e, const struct val *v, const struct val *old)
{
    if (!str_eq(TEXT(v, handler), TEXT(old, handler)))
        bad_text(e, AT(NULL, "handler"), TEXT(v, handler), "field is immutable");
}

/* As upstream: how many hands there are, in bits, bounds what shuffling costs. */
static bool too_many_hands(int64_t queues, int64_t hand)
{
    __int128 hands = 1;
    for (int64_t i = 0; i < hand && hands <= (__int128)1 << 60; i++)
        hands *= queues - i;
    return hands > (__int128)1 << 60;
}

static void check_queuing(ERRS, const struct val *q)
{
    int64_t queues = NUM(q, queues), hand = NUM(q, handSize);
    if (NUM(q, queueLengthLimit) <= 0)
        bad_num(e, AT(at, "queueLengthLimit"), NUM(q, queueLengthLimit), "must be positive");
    if (queues <= 0)
        bad_num(e, AT(at, "queues"), queues, "must be positive");
    if (hand <= 0)
        bad_num(e, AT(at, "handSize"), hand, "must be positive");
    else if (hand > queues)
        bad_num(e, AT(at, "handSize"), hand, "should not be greater than queues (%lld)", (long long)queues);
    else if (too_many_hands(queues, hand))
        bad_num(e, AT(at, "handSize"), hand,
                "required entropy bits of deckSize %lld and handSize %lld should not be greater than 60",
                (long long)queues, (long long)hand);
}

static void check_limited(ERRS, const struct val *limited)
{
    const struct at *response_at = AT(at, "limitResponse");
    const struct val *response = V(limited, limitResponse), *lendable = V(limited, lendablePercent);
    struct str type = TEXT(response, type);
    if (NUM(limited, nominalConcurrencyShares) < 0)
        bad_num(e, AT(at, "nominalConcurrencyShares"), NUM(limited, nominalConcurrencyShares),
                "must be a non-negative integer");
    if (str_eq(type, S("Reject")) && HAS(response, queuing))
        bad_forbidden(e, AT(response_at, "queuing"), "must be nil if limited.limitResponse.type is not Limited");
    else if (str_eq(type, S("Queue")) && !HAS(response, queuing))
        bad_required(e, AT(response_at, "queuing"), "must not be empty if limited.limitResponse.type is Limited");
    else if (str_eq(type, S("Queue")))
        check_queuing(e, AT(response_at, "queuing"), V(response, queuing));
    else
        check_enum(e, AT(response_at, "type"), type, "Queue", "Reject");
    check_range(e, AT(at, "lendablePercent"), lendable, 0, 100);
    if (NUM(limited, borrowingLimitPercent) < 0)
        bad_num(e, AT(at, "borrowingLimitPercent"), NUM(limited, borrowingLimitPercent),
                "if specified, must be a non-negative integer");
}

static void check_prioritylevel(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec);
    struct str type = TEXT(spec, type);
    bool exempt = str_eq(type, S("Exempt")), limited = str_eq(type, S("Limited"));
    if (exempt != str_eq(TEXT(V(v, metadata), name), S("exempt")))
        bad_text(e, AT(at, "type"), type, "must be 'Exempt' if and only if `name` is 'exempt'");
    if (exempt && HAS(spec, limited))
        bad_forbidden(e, AT(at, "limited"), "must be nil if the type is not Limited");
    if (limited && HAS(spec, exempt))
        bad_forbidden(e, AT(at, "exempt"), "must be nil if the type is Limited");
    if (limited && !HAS(spec, limited))
        bad_required(e, AT(at, "limited"), "must not be empty when type is Limited");
    else if (limited)
        check_limited(e, AT(at, "limited"), V(spec, limited));
    else if (!exempt)
        check_enum(e, AT(at, "type"), type, "Exempt", "Limited");
    if (exempt && NUM(V(spec, exempt), nominalConcurrencyShares) < 0)
        bad_num(e, AT(AT(at, "exempt"), "nominalConcurrencyShares"), NUM(V(spec, exempt), nominalConcurrencyShares),
                "must be a non-negative integer");
    if (exempt)
        check_range(e, AT(AT(at, "exempt"), "lendablePercent"), V(V(spec, exempt), lendablePercent), 0, 100);
}

const struct kind_rules rules_other[] = {
    RULES(Lease, format_dns1123_subdomain, check_lease, NULL, NULL),
    RULES(PriorityClass, format_dns1123_subdomain, check_priorityclass, update_priorityclass, NULL,
          .update_alone = true),
    RULES(PodDisruptionBudget, format_dns1123_subdomain, check_pdb, NULL, status_pdb),
    RULES(RuntimeClass, format_dns1123_subdomain, check_runtimeclass, update_runtimeclass, NULL),
    RULES(PriorityLevelConfiguration, format_dns1123_subdomain, check_prioritylevel, NULL, NULL),
    RULES_END,
};
