/* validate_affinity.c - where a pod may run: node selectors, affinity to nodes and pods, spreading, tolerations. */
#include "api/rules_int.h"

static void check_node_term(ERRS, const struct val *term)
{
    const struct val *expressions = V(term, matchExpressions), *fields = V(term, matchFields);
    each (x, expressions) {
        const struct at *here = ITEM(AT(at, "matchExpressions"), INDEX(expressions, x));
        struct str op = TEXT(x, operator);
        const struct val *values = V(x, values);
        size_t n = val_len(values);
        if (str_eq(op, S("In")) || str_eq(op, S("NotIn"))) {
            if (n == 0)
                bad_required(e, AT(here, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
        } else if (str_eq(op, S("Exists")) || str_eq(op, S("DoesNotExist"))) {
            if (n > 0)
                bad_forbidden(e, AT(here, "values"),
                              "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        } else if (str_eq(op, S("Gt")) || str_eq(op, S("Lt"))) {
            if (n != 1)
                bad_required(e, AT(here, "values"), "must be specified single value when `operator` is 'Lt' or 'Gt'");
        } else {
            bad_text(e, AT(here, "operator"), op, "not a valid selector operator");
        }
        check_format(e, AT(here, "key"), TEXT(x, key), format_qualified_name);
        each (value, values)
            check_format(e, ITEM(AT(here, "values"), INDEX(values, value)), val_text(value), format_label_value);
    }
    each (x, fields) {
        const struct at *here = ITEM(AT(at, "matchFields"), INDEX(fields, x));
        struct str op = TEXT(x, operator);
        const struct val *values = V(x, values);
        if (!str_eq(op, S("In")) && !str_eq(op, S("NotIn")))
            bad_text(e, AT(here, "operator"), op, "not a valid selector operator");
        else if (val_len(values) != 1)
            bad_required(e, AT(here, "values"),
                         "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
        if (!str_eq(TEXT(x, key), S("metadata.name")))
            bad_text(e, AT(here, "key"), TEXT(x, key), "not a valid field selector key");
        else
            each (value, values)
                check_format(e, ITEM(AT(here, "values"), INDEX(values, value)), val_text(value),
                             format_dns1123_subdomain);
    }
}

void check_node_selector(ERRS, const struct val *selector)
{
    const struct val *terms = V(selector, nodeSelectorTerms);
    if (val_len(terms) == 0)
        return bad_required(e, AT(at, "nodeSelectorTerms"), "must have at least one node selector term");
    each (term, terms)
        check_node_term(e, ITEM(AT(at, "nodeSelectorTerms"), INDEX(terms, term)), term);
}

static void check_label_keys(ERRS, const struct val *keys, const struct val *selector)
{
    if (val_len(keys) == 0)
        return;
    if (!is_set(selector))
        return bad_forbidden(e, at, "must not be specified when labelSelector is not set");
    each (key, keys)
        check_format(e, ITEM(at, INDEX(keys, key)), val_text(key), format_qualified_name);
}

static void check_affinity_term(ERRS, const struct val *term)
{
    const struct val *keys = V(term, matchLabelKeys), *others = V(term, mismatchLabelKeys);
    check_label_selector(e, AT(at, "labelSelector"), V(term, labelSelector));
    check_label_selector(e, AT(at, "namespaceSelector"), V(term, namespaceSelector));
    each (ns, V(term, namespaces))
        check_format(e, AT(at, "namespace"), val_text(ns), format_dns1123_label);
    check_label_keys(e, AT(at, "matchLabelKeys"), keys, V(term, labelSelector));
    check_label_keys(e, AT(at, "mismatchLabelKeys"), others, V(term, labelSelector));
    each (key, keys)
        each (other, others)
            if (str_eq(val_text(key), val_text(other)))
                bad_text(e, ITEM(AT(at, "matchLabelKeys"), INDEX(keys, key)), val_text(key),
                         "exists in both matchLabelKeys and mismatchLabelKeys");
    if (TEXT(term, topologyKey).n == 0)
        bad_required(e, AT(at, "topologyKey"), "can not be empty");
    check_format(e, AT(at, "topologyKey"), TEXT(term, topologyKey), format_qualified_name);
}

static void check_weight(ERRS, const struct val *term)
{
    int64_t weight = NUM(term, weight);
    if (weight <= 0 || weight > 100)
        bad_num(e, AT(at, "weight"), weight, "must be in the range 1-100");
}

static void check_pod_affinity(ERRS, const struct val *affinity)
{
    const struct val *required = V(affinity, requiredDuringSchedulingIgnoredDuringExecution);
    const struct val *preferred = V(affinity, preferredDuringSchedulingIgnoredDuringExecution);
    each (term, required)
        check_affinity_term(e, ITEM(AT(at, "requiredDuringSchedulingIgnoredDuringExecution"), INDEX(required, term)),
                            term);
    each (term, preferred) {
        const struct at *here = ITEM(AT(at, "preferredDuringSchedulingIgnoredDuringExecution"),
                                     INDEX(preferred, term));
        check_weight(e, here, term);
        check_affinity_term(e, AT(here, "podAffinityTerm"), V(term, podAffinityTerm));
    }
}

void check_affinity(ERRS, const struct val *affinity)
{
    const struct val *node = V(affinity, nodeAffinity);
    const struct val *required = V(node, requiredDuringSchedulingIgnoredDuringExecution);
    const struct val *preferred = V(node, preferredDuringSchedulingIgnoredDuringExecution);
    const struct at *here = AT(at, "nodeAffinity");
    if (is_set(required))
        check_node_selector(e, AT(here, "requiredDuringSchedulingIgnoredDuringExecution"), required);
    each (term, preferred) {
        const struct at *place = ITEM(AT(here, "preferredDuringSchedulingIgnoredDuringExecution"),
                                      INDEX(preferred, term));
        check_weight(e, place, term);
        check_node_term(e, AT(place, "preference"), V(term, preference));
    }
    check_pod_affinity(e, AT(at, "podAffinity"), V(affinity, podAffinity));
    check_pod_affinity(e, AT(at, "podAntiAffinity"), V(affinity, podAntiAffinity));
}

void check_spread(ERRS, const struct val *list)
{
    AUTO(map_fini) struct map last = MAP;
    each (c, list)
        (void)map_put(&last,
                      arena_fmt(e->arena, "{" STR_FMT ", " STR_FMT "}", STR_ARG(TEXT(c, topologyKey)),
                                STR_ARG(TEXT(c, whenUnsatisfiable))),
                      (void *)(uintptr_t)c);
    each (c, list) {
        const struct at *here = ITEM(at, INDEX(list, c));
        struct str when = TEXT(c, whenUnsatisfiable), key = TEXT(c, topologyKey);
        if (NUM(c, maxSkew) <= 0)
            bad_num(e, AT(here, "maxSkew"), NUM(c, maxSkew), "must be greater than zero");
        if (key.n == 0)
            bad_required(e, AT(here, "topologyKey"), "can not be empty");
        check_enum(e, AT(here, "whenUnsatisfiable"), when, "DoNotSchedule", "ScheduleAnyway");
        struct str pair = arena_fmt(e->arena, "{" STR_FMT ", " STR_FMT "}", STR_ARG(key), STR_ARG(when));
        if (map_get(&last, pair) != c) /* told of all but the last */
            bad_duplicate(e, AT(here, "{topologyKey, whenUnsatisfiable}"), pair);
        if (HAS(c, minDomains)) {
            if (NUM(c, minDomains) <= 0)
                bad_num(e, AT(here, "minDomains"), NUM(c, minDomains), "must be greater than zero");
            if (str_eq(when, S("ScheduleAnyway")))
                bad_num(e, AT(here, "minDomains"), NUM(c, minDomains),
                        "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway");
        }
        if (HAS(c, nodeAffinityPolicy))
            check_enum(e, AT(here, "nodeAffinityPolicy"), TEXT(c, nodeAffinityPolicy), "Honor", "Ignore");
        if (HAS(c, nodeTaintsPolicy))
            check_enum(e, AT(here, "nodeTaintsPolicy"), TEXT(c, nodeTaintsPolicy), "Honor", "Ignore");
        check_label_keys(e, AT(here, "matchLabelKeys"), V(c, matchLabelKeys), V(c, labelSelector));
        check_label_selector(e, AT(here, "labelSelector"), V(c, labelSelector));
    }
}

void check_tolerations(ERRS, const struct val *list)
{
    each (t, list) {
        const struct at *here = ITEM(at, INDEX(list, t));
        struct str key = TEXT(t, key), op = TEXT(t, operator), value = TEXT(t, value), effect = TEXT(t, effect);
        FORMAT_IF_SET(e, here, t, key, format_qualified_name);
        if (key.n == 0 && !str_eq(op, S("Exists")))
            bad_text(e, AT(here, "operator"), op,
                     "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
        if (HAS(t, tolerationSeconds) && !str_eq(effect, S("NoExecute")))
            bad_text(e, AT(here, "effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
        if (op.n == 0 || str_eq(op, S("Equal"))) {
            check_format(e, AT(here, "operator"), value, format_label_value);
        } else if (str_eq(op, S("Exists"))) {
            if (value.n > 0)
                bad_text(e, AT(here, "operator"), value, "value must be empty when `operator` is 'Exists'");
        } else {
            bad_enum(e, AT(here, "operator"), op, SET("Equal", "Exists"));
        }
        if (effect.n > 0)
            check_enum(e, AT(here, "effect"), effect, "NoSchedule", "PreferNoSchedule", "NoExecute");
    }
}
