/* defaults_workload.c - the defaults of what makes and scales pods. */
#include "api/defaults_int.h"

void default_rc(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    const struct val *labels = val_at(spec, N(template), N(metadata), N(labels));
    if (val_len(labels) > 0) {
        if (val_len(V(spec, selector)) == 0)
            val_set(a, spec, N(selector), val_copy(a, labels));
        if (val_len(val_at(v, N(metadata), N(labels))) == 0)
            val_set(a, val_need_map(a, v, N(metadata)), N(labels), val_copy(a, labels));
    }
    DEF_NUM(a, spec, replicas, 1);
    struct val *template = MUT(spec, template);
    if (val_is(template, VAL_MAP))
        default_pod_spec(a, val_need_map(a, template, N(spec)));
}

void default_deployment(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_NUM(a, spec, replicas, 1);
    struct val *strategy = val_need_map(a, spec, N(strategy));
    DEF_TEXT(a, strategy, type, "RollingUpdate");
    if (str_eq(TEXT(strategy, type), S("RollingUpdate"))) {
        struct val *rolling = val_need_map(a, strategy, N(rollingUpdate));
        if (!V(rolling, maxUnavailable))
            val_set_text(a, rolling, N(maxUnavailable), S("25%"));
        if (!V(rolling, maxSurge))
            val_set_text(a, rolling, N(maxSurge), S("25%"));
    }
    DEF_NUM(a, spec, revisionHistoryLimit, 10);
    DEF_NUM(a, spec, progressDeadlineSeconds, 600);
    default_pod_spec(a, val_need_map(a, spec, N(template), N(spec)));
}

void default_replicaset(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_NUM(a, spec, replicas, 1);
    default_pod_spec(a, val_need_map(a, spec, N(template), N(spec)));
}

void default_daemonset(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    struct val *strategy = val_need_map(a, spec, N(updateStrategy));
    DEF_TEXT(a, strategy, type, "RollingUpdate");
    if (str_eq(TEXT(strategy, type), S("RollingUpdate"))) {
        struct val *rolling = val_need_map(a, strategy, N(rollingUpdate));
        if (!V(rolling, maxUnavailable))
            val_set_num(a, rolling, N(maxUnavailable), 1);
        if (!V(rolling, maxSurge))
            val_set_num(a, rolling, N(maxSurge), 0);
    }
    DEF_NUM(a, spec, revisionHistoryLimit, 10);
    default_pod_spec(a, val_need_map(a, spec, N(template), N(spec)));
}

void default_statefulset(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_TEXT(a, spec, podManagementPolicy, "OrderedReady");
    struct val *strategy = val_need_map(a, spec, N(updateStrategy));
    if (TEXT(strategy, type).n == 0) {
        val_set_text(a, strategy, N(type), S("RollingUpdate"));
        DEF_MAP(a, strategy, rollingUpdate);
    }
    struct val *rolling = MUT(strategy, rollingUpdate);
    if (str_eq(TEXT(strategy, type), S("RollingUpdate")) && val_is(rolling, VAL_MAP))
        DEF_NUM(a, rolling, partition, 0);
    struct val *retention = val_need_map(a, spec, N(persistentVolumeClaimRetentionPolicy));
    DEF_TEXT(a, retention, whenDeleted, "Retain");
    DEF_TEXT(a, retention, whenScaled, "Retain");
    DEF_NUM(a, spec, replicas, 1);
    DEF_NUM(a, spec, revisionHistoryLimit, 10);
    each_mut (claim, MUT(spec, volumeClaimTemplates)) {
        DEF_TEXT(a, claim, apiVersion, "v1");
        DEF_TEXT(a, claim, kind, "PersistentVolumeClaim");
        default_pvc(a, claim);
    }
    default_pod_spec(a, val_need_map(a, spec, N(template), N(spec)));
}

void default_job(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    if (!val_is(V(spec, completions), VAL_INT) && !val_is(V(spec, parallelism), VAL_INT))
        val_set_num(a, spec, N(completions), 1);
    DEF_NUM(a, spec, parallelism, 1);
    DEF_NUM(a, spec, backoffLimit, val_is(V(spec, backoffLimitPerIndex), VAL_INT) ? INT32_MAX : 6);
    const struct val *labels = val_at(spec, N(template), N(metadata), N(labels));
    if (val_len(labels) > 0 && val_len(val_at(v, N(metadata), N(labels))) == 0)
        val_set(a, val_need_map(a, v, N(metadata)), N(labels), val_copy(a, labels));
    DEF_TEXT(a, spec, completionMode, "NonIndexed");
    DEF_BOOL(a, spec, suspend, false);
    const struct val *failure = V(spec, podFailurePolicy);
    if (TEXT(spec, podReplacementPolicy).n == 0)
        val_set_text(a, spec, N(podReplacementPolicy),
                     val_is(failure, VAL_MAP) ? S("Failed") : S("TerminatingOrFailed"));
    each_mut (rule, MUT(MUT(spec, podFailurePolicy), rules)) {
        each_mut (pattern, MUT(rule, onPodConditions))
            DEF_TEXT(a, pattern, status, "True");
    }
    DEF_BOOL(a, spec, manualSelector, false);
    default_pod_spec(a, val_need_map(a, spec, N(template), N(spec)));
}

void default_cronjob(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_TEXT(a, spec, concurrencyPolicy, "Allow");
    DEF_BOOL(a, spec, suspend, false);
    DEF_NUM(a, spec, successfulJobsHistoryLimit, 3);
    DEF_NUM(a, spec, failedJobsHistoryLimit, 1);
    default_pod_spec(a, val_need_map(a, spec, N(jobTemplate), N(spec), N(template), N(spec)));
}

static struct val scaling_policy(struct arena *a, const char *type, int value)
{
    struct val v = val_map();
    val_set_text(a, &v, N(type), str_of(type));
    val_set_num(a, &v, N(value), value);
    val_set_num(a, &v, N(periodSeconds), 15);
    return v;
}

static void default_scaling(struct arena *a, struct val *behavior, const struct name *way, bool up)
{
    struct val *rules = val_get_mut(behavior, way);
    if (!val_is(rules, VAL_MAP))
        rules = val_need_map_(a, behavior, (const struct name *const[]){way, NULL});
    if (up)
        DEF_NUM(a, rules, stabilizationWindowSeconds, 0);
    DEF_TEXT(a, rules, selectPolicy, "Max");
    if (!val_is(V(rules, policies), VAL_LIST)) {
        struct val list = val_list();
        if (up)
            val_add(a, &list, scaling_policy(a, "Pods", 4));
        val_add(a, &list, scaling_policy(a, "Percent", 100));
        val_set(a, rules, N(policies), list);
    }
}

void default_hpa(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_NUM(a, spec, minReplicas, 1);
    if (val_len(V(spec, metrics)) == 0) {
        struct val target = val_map(), resource = val_map(), metric = val_map(), list = val_list();
        val_set_text(a, &target, N(type), S("Utilization"));
        val_set_num(a, &target, N(averageUtilization), 80);
        val_set_text(a, &resource, N(name), S("cpu"));
        val_set(a, &resource, N(target), target);
        val_set_text(a, &metric, N(type), S("Resource"));
        val_set(a, &metric, N(resource), resource);
        val_add(a, &list, metric);
        val_set(a, spec, N(metrics), list);
    }
    struct val *behavior = MUT(spec, behavior);
    if (val_is(behavior, VAL_MAP)) {
        default_scaling(a, behavior, N(scaleUp), true);
        default_scaling(a, behavior, N(scaleDown), false);
    }
}

void default_hpa_v1(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_NUM(a, spec, minReplicas, 1);
    if (!val_get_str(val_at(v, N(metadata), N(annotations)), S("autoscaling.alpha.kubernetes.io/metrics")))
        DEF_NUM(a, spec, targetCPUUtilizationPercentage, 80);
}
