/* validate_autoscaling.c - HorizontalPodAutoscaler of both versions. */
#include "api/quantity.h"
#include "api/rules_int.h"

static void check_segment(ERRS, struct str s)
{
    if (s.n == 0)
        bad_required(e, at, "");
    else
        check_format(e, at, s, format_path_segment);
}

static void check_reference(ERRS, const struct val *ref)
{
    check_segment(e, AT(at, "kind"), TEXT(ref, kind));
    check_segment(e, AT(at, "name"), TEXT(ref, name));
}

/* What is scaled says its group; only a ReplicationController has none. */
static void check_scaled(ERRS, const struct val *ref)
{
    struct str version = TEXT(ref, apiVersion);
    bool old = str_eq(version, S("v1")) && str_eq(TEXT(ref, kind), S("ReplicationController"));
    check_reference(e, at, ref);
    if (str_find_char(version, '/') <= 0 && !old)
        bad_text(e, AT(at, "apiVersion"), version, "apiVersion must specify API group");
}

static bool quantity_is_positive(struct str quantity)
{
    return quantity_cmp(quantity, S("0")) > 0;
}

static void check_target(ERRS, const struct val *t)
{
    struct str type = TEXT(t, type);
    if (type.n == 0)
        bad_required(e, AT(at, "type"), "must specify a metric target type");
    if (!str_eq(type, S("Utilization")) && !str_eq(type, S("Value")) && !str_eq(type, S("AverageValue")))
        bad_text(e, AT(at, "type"), type, "must be either Utilization, Value, or AverageValue");
    if (HAS(t, value) && !quantity_is_positive(TEXT(t, value)))
        bad_text(e, AT(at, "value"), TEXT(t, value), "must be positive");
    if (HAS(t, averageValue) && !quantity_is_positive(TEXT(t, averageValue)))
        bad_text(e, AT(at, "averageValue"), TEXT(t, averageValue), "must be positive");
    if (HAS(t, averageUtilization) && NUM(t, averageUtilization) < 1)
        bad_num(e, AT(at, "averageUtilization"), NUM(t, averageUtilization), "must be greater than 0");
}

static void check_resource(ERRS, const struct val *v, bool of_container)
{
    const struct at *target_at = AT(at, "target");
    const struct val *target = V(v, target);
    if (TEXT(v, name).n == 0)
        bad_required(e, AT(at, "name"), "must specify a resource name");
    if (of_container && TEXT(v, container).n == 0)
        bad_required(e, AT(at, "container"), "must specify a container");
    check_target(e, target_at, target);
    bool use = HAS(target, averageUtilization), raw = HAS(target, averageValue);
    if (!use && !raw)
        bad_required(e, AT(target_at, "averageUtilization"),
                     "must set either a target raw value or a target utilization");
    if (use && raw)
        bad_forbidden(e, AT(target_at, "averageValue"),
                      "may not set both a target raw value and a target utilization");
}

static void check_metric_name(ERRS, const struct val *metric)
{
    if (TEXT(metric, name).n == 0)
        bad_required(e, AT(at, "name"), "must specify a metric name");
    else
        check_format(e, AT(at, "name"), TEXT(metric, name), format_path_segment);
}

static void resource_metric(ERRS, const struct val *v)
{
    check_resource(e, at, v, false);
}

static void container_metric(ERRS, const struct val *v)
{
    check_resource(e, at, v, true);
}

static void pods_metric(ERRS, const struct val *v)
{
    const struct val *target = V(v, target);
    check_metric_name(e, AT(at, "metric"), V(v, metric));
    check_target(e, AT(at, "target"), target);
    if (!HAS(target, averageValue) || !quantity_is_positive(TEXT(target, averageValue)))
        bad_required(e, AT(AT(at, "target"), "averageValue"), "must specify a positive target averageValue");
}

static void object_metric(ERRS, const struct val *v)
{
    const struct val *target = V(v, target);
    check_reference(e, AT(at, "describedObject"), V(v, describedObject));
    check_metric_name(e, AT(at, "metric"), V(v, metric));
    check_target(e, AT(at, "target"), target);
    if (!HAS(target, value) && !HAS(target, averageValue))
        bad_required(e, AT(AT(at, "target"), "averageValue"), "must set either a target value or averageValue");
}

static void external_metric(ERRS, const struct val *v)
{
    const struct val *target = V(v, target);
    check_metric_name(e, AT(at, "metric"), V(v, metric));
    check_target(e, AT(at, "target"), target);
    if (!HAS(target, value) && !HAS(target, averageValue))
        bad_required(e, AT(AT(at, "target"), "averageValue"),
                     "must set either a target value for metric or a per-pod target");
    if (HAS(target, value) && HAS(target, averageValue))
        bad_forbidden(e, AT(AT(at, "target"), "value"),
                      "may not set both a target value for metric and a per-pod target");
}

static const struct {
    const char *type;
    const struct name *field;
    void (*check)(ERRS, const struct val *v);
} sources[] = {
    {"Object", N(object), object_metric},
    {"External", N(external), external_metric},
    {"Pods", N(pods), pods_metric},
    {"Resource", N(resource), resource_metric},
    {"ContainerResource", N(containerResource), container_metric},
};

static void check_metric(ERRS, const struct val *metric)
{
    static const char *const types[] = {"ContainerResource", "External", "Object", "Pods", "Resource", NULL};
    struct str type = TEXT(metric, type);
    size_t n = 0, wanted = countof(sources);
    if (type.n == 0)
        bad_required(e, AT(at, "type"), "must specify a metric source type");
    check_enum_(e, AT(at, "type"), type, types);
    for (size_t i = 0; i < countof(sources); i++) {
        const struct val *source = val_get(metric, sources[i].field);
        if (str_eqz(type, sources[i].type))
            wanted = i;
        if (is_set(source) && n++ == 0)
            sources[i].check(e, AT(at, sources[i].field->s.p), source);
    }
    if (wanted == countof(sources))
        bad_enum(e, AT(at, "type"), type, types);
    else if (!is_set(val_get(metric, sources[wanted].field)))
        bad_required(e, AT(at, sources[wanted].field->s.p), "must populate information for the given metric source");
    for (size_t i = 0; n > 1 && i < countof(sources); i++)
        if (i != wanted && is_set(val_get(metric, sources[i].field)))
            bad_forbidden(e, AT(at, sources[i].field->s.p), "must populate the given metric source only");
}

static void check_scaling(ERRS, const struct val *rules)
{
    const struct val *policies = V(rules, policies);
    if (!is_set(rules))
        return;
    if (HAS(rules, stabilizationWindowSeconds)) {
        int64_t n = NUM(rules, stabilizationWindowSeconds);
        if (n < 0)
            bad_num(e, AT(at, "stabilizationWindowSeconds"), n, "must be greater than or equal to zero");
        if (n > 3600)
            bad_num(e, AT(at, "stabilizationWindowSeconds"), n, "must be less than or equal to 3600");
    }
    if (HAS(rules, selectPolicy))
        check_enum(e, AT(at, "selectPolicy"), TEXT(rules, selectPolicy), "Disabled", "Max", "Min");
    if (val_len(policies) == 0)
        bad_required(e, AT(at, "policies"), "must specify at least one Policy");
    each (policy, policies) {
        const struct at *here = ITEM(AT(at, "policies"), INDEX(policies, policy));
        int64_t period = NUM(policy, periodSeconds);
        check_enum(e, AT(here, "type"), TEXT(policy, type), "Percent", "Pods");
        if (NUM(policy, value) <= 0)
            bad_num(e, AT(here, "value"), NUM(policy, value), "must be greater than zero");
        if (period <= 0)
            bad_num(e, AT(here, "periodSeconds"), period, "must be greater than zero");
        if (period > 1800)
            bad_num(e, AT(here, "periodSeconds"), period, "must be less than or equal to 1800");
    }
    if (HAS(rules, tolerance) && quantity_cmp(TEXT(rules, tolerance), S("0")) < 0)
        bad_text(e, AT(at, "tolerance"), TEXT(rules, tolerance), "must be greater than or equal to 0");
}

/* zero: something outside of the pods tells when there is work for one again. */
static void check_bounds(ERRS, const struct val *spec, bool zero)
{
    const struct val *low = V(spec, minReplicas);
    int64_t high = NUM(spec, maxReplicas);
    if (val_is(low, VAL_INT) && low->i < (zero ? 0 : 1))
        bad_num(e, AT(at, "minReplicas"), low->i, "must be greater than or equal to 1");
    if (high < 1)
        bad_num(e, AT(at, "maxReplicas"), high, "must be greater than 0");
    if (val_is(low, VAL_INT) && high < low->i)
        bad_num(e, AT(at, "maxReplicas"), high, "must be greater than or equal to `minReplicas`");
    check_scaled(e, AT(at, "scaleTargetRef"), V(spec, scaleTargetRef));
}

static void check_hpa(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec), *metrics = V(spec, metrics), *behavior = V(spec, behavior);
    bool outside = false;
    each (metric, metrics)
        outside |= HAS(metric, object) || HAS(metric, external);
    check_bounds(e, at, spec, outside);
    each (metric, metrics)
        check_metric(e, ITEM(AT(at, "metrics"), INDEX(metrics, metric)), metric);
    if (val_is(V(spec, minReplicas), VAL_INT) && NUM(spec, minReplicas) == 0 && !outside)
        bad_forbidden(e, AT(at, "metrics"),
                      "must specify at least one Object or External metric to support scaling to zero replicas");
    check_scaling(e, AT(AT(at, "behavior"), "scaleUp"), V(behavior, scaleUp));
    check_scaling(e, AT(AT(at, "behavior"), "scaleDown"), V(behavior, scaleDown));
}

static void check_hpa_v1(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec), *percent = V(spec, targetCPUUtilizationPercentage);
    struct str more = val_text(
        val_get_str(val_at(v, N(metadata), N(annotations)), S("autoscaling.alpha.kubernetes.io/metrics")));
    check_bounds(e, at, spec, str_has(more, S("\"External\"")) || str_has(more, S("\"Object\"")));
    if (val_is(percent, VAL_INT) && percent->i < 1) /* where it is in the stored form */
        bad_num(e, AT(AT(AT(ITEM(AT(at, "metrics"), 0), "resource"), "target"), "averageUtilization"), percent->i,
                "must be greater than 0");
}

static void status_hpa(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "status");
    const struct val *s = V(v, status);
    (void)old;
    NOT_NEGATIVE(e, at, s, currentReplicas);
    NOT_NEGATIVE(e, at, s, desiredReplicas);
}

const struct kind_rules rules_autoscaling[] = {
    RULES(HorizontalPodAutoscaler, format_dns1123_subdomain, check_hpa, NULL, status_hpa),
    RULES(autoscaling_v1_HorizontalPodAutoscaler, format_dns1123_subdomain, check_hpa_v1, NULL, status_hpa),
    RULES_END,
};
