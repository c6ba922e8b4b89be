/* validate_workload.c - Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController, ControllerRevision
 * (pkg/apis/apps/validation and the older pkg/apis/core/validation of upstream).
 *
 * What they share is a selector that must select the template's labels (check_match; a selector that is bad by
 * itself is told of once, and not again for not matching), and a template whose pods are restarted always. Bounds
 * given as a number or a percentage are compared by their digits, as upstream does. The pods of a StatefulSet have a
 * volume for each claim template, so its template is checked with them put in.
 *
 * Status is checked too, because anybody with the right may write it: counts are not negative and not above one
 * another.
 */
#include "api/rules_int.h"
#include "api/selector.h"

static void check_selector_of(ERRS, const struct val *spec, const char *what, const char *invalid)
{
    const struct val *selector = V(spec, selector);
    const struct at *here = AT(at, "selector");
    if (!is_set(selector))
        return bad_required(e, here, "");
    size_t bad = check_label_selector(e, here, selector);
    if (val_len(V(selector, matchLabels)) + val_len(V(selector, matchExpressions)) == 0)
        bad_struct(e, here, T(meta_v1_LabelSelector), selector, "empty selector is invalid for %s", what);
    else if (bad && invalid)
        bad_struct(e, here, T(meta_v1_LabelSelector), selector, "%s", invalid);
}

static bool selector_valid(const struct val *selector)
{
    struct arena a = ARENA;
    struct field_errors ignored = {.arena = &a};
    check_label_selector(&ignored, NULL, selector);
    bool ok = ignored.list.n == 0;
    field_errors_fini(&ignored);
    arena_fini(&a);
    return ok;
}

static void check_match(ERRS, const struct val *template, const struct val *selector)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct selector *s;
    struct err ignored = ERR; /* a bad selector has been told of by its own check */
    const struct val *labels = val_at(template, N(metadata), N(labels));
    bool empty = is_set(selector) && val_len(V(selector, matchLabels)) + val_len(V(selector, matchExpressions)) == 0;
    if (empty || !selector_valid(selector) || !selector_of(&a, selector, &s, &ignored))
        return;
    if (!selector_matches(s, labels))
        bad_value(e, AT(AT(at, "metadata"), "labels"), labels, "`selector` does not match template `labels`");
}

static void check_always(ERRS, const struct val *template, const char *kind)
{
    const struct val *spec = V(template, spec);
    if (!str_eq(TEXT(spec, restartPolicy), S("Always")) &&
        (str_eq(TEXT(spec, restartPolicy), S("OnFailure")) || str_eq(TEXT(spec, restartPolicy), S("Never"))))
        bad_enum(e, AT(AT(at, "spec"), "restartPolicy"), TEXT(spec, restartPolicy), SET("Always"));
    if (HAS(spec, activeDeadlineSeconds))
        bad_forbidden(e, AT(AT(at, "spec"), "activeDeadlineSeconds"), "activeDeadlineSeconds in %s is not Supported",
                      kind);
}

/* A disk that is written to is in one place. */
static void check_disks(ERRS, const struct val *template)
{
    const struct val *volumes = V(V(template, spec), volumes), no = val_bool(false);
    each (volume, volumes)
        if (HAS(volume, gcePersistentDisk) && !val_true(V(V(volume, gcePersistentDisk), readOnly)))
            bad_value(
                e,
                AT(AT(ITEM(AT(AT(at, "spec"), "volumes"), INDEX(volumes, volume)), "gcePersistentDisk"), "readOnly"),
                &no,
                "must be true for replicated pods > 1; GCE PD can only be mounted on multiple machines if it is "
                "read-only");
}

/* Of those that keep a number of the same pod. */
static void check_replica_template(ERRS, const struct val *template, const struct val *selector, int64_t replicas)
{
    check_match(e, at, template, selector);
    check_template(e, at, template);
    if (replicas > 1)
        check_disks(e, at, template);
    check_always(e, at, template, "ReplicaSet"); /* a Deployment's, too */
}

static void check_deployment(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec"), *strategy_at = AT(at, "strategy"),
                    *rolling_at = AT(strategy_at, "rollingUpdate");
    const struct val *spec = V(v, spec), *strategy = V(spec, strategy), *rolling = V(strategy, rollingUpdate);
    struct str type = TEXT(strategy, type);
    NOT_NEGATIVE(e, at, spec, replicas);
    check_selector_of(e, at, spec, "deployment", "invalid label selector");
    check_replica_template(e, AT(at, "template"), V(spec, template), V(spec, selector), NUM(spec, replicas));
    if (str_eq(type, S("Recreate"))) {
        if (is_set(rolling))
            bad_forbidden(e, rolling_at, "may not be specified when strategy `type` is 'Recreate'");
    } else if (str_eq(type, S("RollingUpdate"))) {
        if (!is_set(rolling)) {
            bad_required(e, rolling_at, "this should be defaulted and never be nil");
        } else {
            const struct val *unavailable = V(rolling, maxUnavailable), *surge = V(rolling, maxSurge);
            check_percent_or_number(e, AT(rolling_at, "maxUnavailable"), unavailable);
            check_percent_or_number(e, AT(rolling_at, "maxSurge"), surge);
            if (number_or_percent(unavailable) == 0 && number_or_percent(surge) == 0)
                bad_value(e, AT(rolling_at, "maxUnavailable"), unavailable, "may not be 0 when `maxSurge` is 0");
            check_not_over_100_percent(e, AT(rolling_at, "maxUnavailable"), unavailable);
        }
    } else {
        bad_enum_struct(e, strategy_at, T(apps_v1_DeploymentStrategy), strategy, SET("Recreate", "RollingUpdate"));
    }
    NOT_NEGATIVE(e, at, spec, minReadySeconds);
    NOT_NEGATIVE(e, at, spec, revisionHistoryLimit);
    if (HAS(spec, progressDeadlineSeconds)) {
        NOT_NEGATIVE(e, at, spec, progressDeadlineSeconds);
        if (NUM(spec, progressDeadlineSeconds) <= NUM(spec, minReadySeconds))
            bad_num(e, AT(at, "progressDeadlineSeconds"), NUM(spec, progressDeadlineSeconds),
                    "must be greater than minReadySeconds");
    }
}

static void immutable_selector(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct val *now = V(V(v, spec), selector), *was = V(V(old, spec), selector);
    if (is_set(now) != is_set(was) || !val_unchanged(now, was))
        bad_struct(e, AT(AT(NULL, "spec"), "selector"), T(meta_v1_LabelSelector), now, "field is immutable");
}

static void not_above(ERRS, const struct val *s, const struct name *field, const struct name *bound, const char *what)
{
    int64_t n = val_num(val_get(s, field), 0);
    if (n > val_num(val_get(s, bound), 0))
        bad_num(e, AT(at, field->s.p), n, "cannot be greater than %s", what);
}
#define NOT_ABOVE(field, bound, what) not_above(e, at, s, N(field), N(bound), what)

static void check_collisions(ERRS, const struct val *s, const struct val *was)
{
    NOT_NEGATIVE(e, at, s, collisionCount);
    if (val_is(V(was, collisionCount), VAL_INT) &&
        (!val_is(V(s, collisionCount), VAL_INT) || NUM(s, collisionCount) < NUM(was, collisionCount)))
        bad_value(e, AT(at, "collisionCount"), V(s, collisionCount), "cannot be decremented");
    else if (!HAS(was, collisionCount) && NUM(s, collisionCount) < 0)
        bad_num(e, AT(at, "collisionCount"), NUM(s, collisionCount), "cannot be decremented");
}

static void status_deployment(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "status");
    const struct val *s = V(v, status), *was = V(old, status);
    NOT_NEGATIVE(e, at, s, observedGeneration);
    NOT_NEGATIVE(e, at, s, replicas);
    NOT_NEGATIVE(e, at, s, updatedReplicas);
    NOT_NEGATIVE(e, at, s, readyReplicas);
    NOT_NEGATIVE(e, at, s, availableReplicas);
    NOT_NEGATIVE(e, at, s, unavailableReplicas);
    NOT_NEGATIVE(e, at, s, terminatingReplicas);
    NOT_NEGATIVE(e, at, s, collisionCount);
    NOT_ABOVE(updatedReplicas, replicas, "status.replicas");
    NOT_ABOVE(readyReplicas, replicas, "status.replicas");
    NOT_ABOVE(availableReplicas, replicas, "status.replicas");
    NOT_ABOVE(availableReplicas, readyReplicas, "readyReplicas");
    if (HAS(was, collisionCount) && NUM(s, collisionCount) < NUM(was, collisionCount))
        bad_value(e, AT(at, "collisionCount"), V(s, collisionCount), "cannot be decremented");
}

static void check_replicaset(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec);
    NOT_NEGATIVE(e, at, spec, replicas);
    NOT_NEGATIVE(e, at, spec, minReadySeconds);
    check_selector_of(e, at, spec, "deployment", "invalid label selector");
    check_replica_template(e, AT(at, "template"), V(spec, template), V(spec, selector), NUM(spec, replicas));
}

static void status_replicaset(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "status");
    const struct val *s = V(v, status);
    (void)old;
    NOT_NEGATIVE(e, at, s, replicas);
    NOT_NEGATIVE(e, at, s, fullyLabeledReplicas);
    NOT_NEGATIVE(e, at, s, readyReplicas);
    NOT_NEGATIVE(e, at, s, availableReplicas);
    NOT_NEGATIVE(e, at, s, terminatingReplicas);
    NOT_NEGATIVE(e, at, s, observedGeneration);
    NOT_ABOVE(fullyLabeledReplicas, replicas, "status.replicas");
    NOT_ABOVE(readyReplicas, replicas, "status.replicas");
    NOT_ABOVE(availableReplicas, replicas, "status.replicas");
    NOT_ABOVE(availableReplicas, readyReplicas, "readyReplicas");
}

static void check_rc(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec"), *template_at = AT(at, "template");
    const struct val *spec = V(v, spec), *template = V(spec, template), *selector = V(spec, selector);
    const struct val *labels = val_at(template, N(metadata), N(labels));
    NOT_NEGATIVE(e, at, spec, minReadySeconds);
    if (val_len(selector) == 0)
        bad_required(e, AT(at, "selector"), "");
    if (!HAS(spec, replicas))
        bad_required(e, AT(at, "replicas"), "");
    NOT_NEGATIVE(e, at, spec, replicas);
    if (!is_set(template))
        return bad_required(e, template_at, "");
    bool match = true;
    val_each_member (m, selector)
        match &= str_eq(val_text(val_get(labels, m->name)), val_text(&m->v));
    if (val_len(selector) > 0 && !match)
        bad_value(e, AT(AT(template_at, "metadata"), "labels"), labels,
                  "`selector` does not match template `labels`");
    check_template(e, template_at, template);
    if (NUM(spec, replicas) > 1)
        check_disks(e, template_at, template);
    check_always(e, template_at, template, "ReplicationController");
}

static void check_daemonset(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec"), *template_at = AT(at, "template");
    const struct at *strategy_at = AT(at, "updateStrategy"), *rolling_at = AT(strategy_at, "rollingUpdate");
    const struct val *spec = V(v, spec), *template = V(spec, template), *strategy = V(spec, updateStrategy);
    const struct val *selector = V(spec, selector);
    check_label_selector(e, AT(at, "selector"), selector);
    check_match(e, template_at, template, selector);
    if (is_set(selector) && val_len(V(selector, matchLabels)) + val_len(V(selector, matchExpressions)) == 0)
        bad_value(e, AT(at, "selector"), selector, "empty selector is invalid for daemonset");
    check_template(e, template_at, template);
    check_disks(e, template_at, template);
    check_always(e, template_at, template, "DaemonSet");
    NOT_NEGATIVE(e, at, spec, minReadySeconds);
    if (str_eq(TEXT(strategy, type), S("RollingUpdate"))) {
        const struct val *rolling = V(strategy, rollingUpdate);
        const struct val *unavailable = V(rolling, maxUnavailable), *surge = V(rolling, maxSurge);
        if (!is_set(rolling)) {
            bad_required(e, rolling_at, "");
        } else {
            check_percent_or_number(e, AT(rolling_at, "maxUnavailable"), unavailable);
            check_percent_or_number(e, AT(rolling_at, "maxSurge"), surge);
            check_not_over_100_percent(e, AT(rolling_at, "maxUnavailable"), unavailable);
            check_not_over_100_percent(e, AT(rolling_at, "maxSurge"), surge);
            bool has_unavailable = number_or_percent(unavailable) != 0, has_surge = number_or_percent(surge) != 0;
            if (has_unavailable && has_surge)
                bad_value(e, AT(rolling_at, "maxSurge"), surge, "may not be set when maxUnavailable is non-zero");
            else if (!has_unavailable && !has_surge)
                bad_required(e, AT(rolling_at, "maxUnavailable"), "cannot be 0 when maxSurge is 0");
        }
    } else if (!str_eq(TEXT(strategy, type), S("OnDelete"))) {
        bad_enum_struct(e, strategy_at, T(apps_v1_DaemonSetUpdateStrategy), strategy,
                        SET("RollingUpdate", "OnDelete"));
    }
    NOT_NEGATIVE(e, at, spec, revisionHistoryLimit);
}

static void status_daemonset(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "status");
    const struct val *s = V(v, status), *was = V(old, status);
    NOT_NEGATIVE(e, at, s, currentNumberScheduled);
    NOT_NEGATIVE(e, at, s, numberMisscheduled);
    NOT_NEGATIVE(e, at, s, desiredNumberScheduled);
    NOT_NEGATIVE(e, at, s, numberReady);
    NOT_NEGATIVE(e, at, s, observedGeneration);
    NOT_NEGATIVE(e, at, s, updatedNumberScheduled);
    NOT_NEGATIVE(e, at, s, numberAvailable);
    NOT_NEGATIVE(e, at, s, numberUnavailable);
    NOT_NEGATIVE(e, at, s, collisionCount);
    if (HAS(was, collisionCount) && NUM(s, collisionCount) < NUM(was, collisionCount))
        bad_value(e, AT(at, "collisionCount"), V(s, collisionCount), "cannot be decremented");
}

/* The pods of a stateful set have a volume for each claim template: they are checked as if they had it. */
static struct val with_claims(struct arena *a, const struct val *template, const struct val *claims)
{
    struct val copy = val_copy(a, template ? template : &(struct val){.type = VAL_MAP});
    struct val *spec = val_need_map(a, &copy, N(spec)), volumes = val_list();
    each (c, claims) {
        struct val volume = val_map(), source = val_map();
        struct str name = val_text_at(c, N(metadata), N(name));
        val_set_text(a, &source, N(claimName), name);
        val_set_text(a, &volume, N(name), name);
        val_set(a, &volume, N(persistentVolumeClaim), source);
        val_add(a, &volumes, volume);
    }
    each (volume, V(spec, volumes))
        if (!val_find(&volumes, N(name), TEXT(volume, name)))
            val_add(a, &volumes, *volume);
    if (volumes.n > 0)
        val_set(a, spec, N(volumes), volumes);
    return copy;
}

static void check_statefulset(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec"), *template_at = AT(at, "template");
    const struct at *strategy_at = AT(at, "updateStrategy"), *rolling_at = AT(strategy_at, "rollingUpdate");
    const struct val *spec = V(v, spec), *strategy = V(spec, updateStrategy), *rolling = V(strategy, rollingUpdate);
    const struct val *claims = V(spec, volumeClaimTemplates), *selector = V(spec, selector);
    struct str policy = TEXT(spec, podManagementPolicy), type = TEXT(strategy, type);
    if (policy.n == 0)
        bad_required(e, AT(at, "podManagementPolicy"), "");
    else if (!str_eq(policy, S("OrderedReady")) && !str_eq(policy, S("Parallel")))
        bad_text(e, AT(at, "podManagementPolicy"), policy, "must be 'OrderedReady' or 'Parallel'");
    if (type.n == 0) {
        bad_required(e, strategy_at, "");
    } else if (str_eq(type, S("OnDelete"))) {
        if (is_set(rolling))
            bad_value(e, rolling_at, V(rolling, partition), "only allowed for updateStrategy 'RollingUpdate'");
    } else if (str_eq(type, S("RollingUpdate"))) {
        if (is_set(rolling)) {
            NOT_NEGATIVE(e, rolling_at, rolling, partition);
            const struct val *unavailable = V(rolling, maxUnavailable);
            if (is_set(unavailable)) {
                check_percent_or_number(e, AT(rolling_at, "maxUnavailable"), unavailable);
                if (number_or_percent(unavailable) == 0)
                    bad_value(e, AT(rolling_at, "maxUnavailable"), unavailable, "cannot be 0");
                check_not_over_100_percent(e, AT(rolling_at, "maxUnavailable"), unavailable);
            }
        }
    } else {
        bad_struct(e, strategy_at, T(apps_v1_StatefulSetUpdateStrategy), strategy,
                   "must be 'RollingUpdate' or 'OnDelete'");
    }
    const struct val *retention = V(spec, persistentVolumeClaimRetentionPolicy);
    if (is_set(retention)) {
        const struct at *here = AT(at, "persistentVolumeClaimRetentionPolicy");
        check_enum(e, AT(here, "whenDeleted"), TEXT(retention, whenDeleted), "Retain", "Delete");
        check_enum(e, AT(here, "whenScaled"), TEXT(retention, whenScaled), "Retain", "Delete");
    }
    NOT_NEGATIVE(e, at, spec, replicas);
    NOT_NEGATIVE(e, at, spec, minReadySeconds);
    if (HAS(V(spec, ordinals), start))
        check_not_negative(e, AT(AT(at, "ordinals"), "start"), V(V(spec, ordinals), start));
    FORMAT_IF_SET(e, at, spec, serviceName, format_dns1123_label);
    each (claim, claims)
        check_claim_spec(e, AT(ITEM(AT(at, "volumeClaimTemplates"), INDEX(claims, claim)), "spec"), V(claim, spec),
                         true);
    if (!is_set(selector)) {
        bad_required(e, AT(at, "selector"), "");
    } else {
        size_t bad = check_label_selector(e, AT(at, "selector"), selector);
        if (val_len(V(selector, matchLabels)) + val_len(V(selector, matchExpressions)) == 0)
            bad_struct(e, AT(at, "selector"), T(meta_v1_LabelSelector), selector,
                       "empty selector is invalid for statefulset");
        if (bad)
            bad_struct(e, AT(at, "selector"), T(meta_v1_LabelSelector), selector, "%s", "");
    }
    struct val template = with_claims(e->arena, V(spec, template), claims);
    check_match(e, template_at, &template, selector);
    check_labels(e, AT(template_at, "labels"), val_at(&template, N(metadata), N(labels))); /* upstream looks twice */
    check_annotations(e, AT(template_at, "annotations"), val_at(&template, N(metadata), N(annotations)));
    check_template(e, template_at, &template);
    const struct val *pod = V(&template, spec);
    struct str restart = TEXT(pod, restartPolicy);
    if (str_eq(restart, S("OnFailure")) || str_eq(restart, S("Never")))
        bad_enum(e, AT(AT(template_at, "spec"), "restartPolicy"), restart, SET("Always"));
    if (HAS(pod, activeDeadlineSeconds))
        bad_forbidden(e, AT(AT(template_at, "spec"), "activeDeadlineSeconds"),
                      "activeDeadlineSeconds in StatefulSet is not Supported");
}

static void update_statefulset(struct field_errors *e, const struct val *v, const struct val *old)
{
    static const struct name *const mutable[] = {N(replicas),
                                                 N(template),
                                                 N(updateStrategy),
                                                 N(minReadySeconds),
                                                 N(ordinals),
                                                 N(revisionHistoryLimit),
                                                 N(persistentVolumeClaimRetentionPolicy)};
    struct val now = val_copy(e->arena, V(v, spec)), was = val_copy(e->arena, V(old, spec));
    for (size_t i = 0; i < countof(mutable); i++) {
        val_del(&now, mutable[i]);
        val_del(&was, mutable[i]);
    }
    if (!val_unchanged(&now, &was))
        bad_forbidden(
            e, AT(NULL, "spec"),
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
            "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
}

static void status_statefulset(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "status");
    const struct val *s = V(v, status);
    NOT_NEGATIVE(e, at, s, replicas);
    NOT_NEGATIVE(e, at, s, readyReplicas);
    NOT_NEGATIVE(e, at, s, currentReplicas);
    NOT_NEGATIVE(e, at, s, updatedReplicas);
    NOT_NEGATIVE(e, at, s, availableReplicas);
    NOT_NEGATIVE(e, at, s, observedGeneration);
    check_collisions(e, at, s, V(old, status));
    NOT_ABOVE(readyReplicas, replicas, "status.replicas");
    NOT_ABOVE(currentReplicas, replicas, "status.replicas");
    NOT_ABOVE(updatedReplicas, replicas, "status.replicas");
    NOT_ABOVE(availableReplicas, replicas, "status.replicas");
    NOT_ABOVE(availableReplicas, readyReplicas, "status.readyReplicas");
}

static void check_revision(struct field_errors *e, const struct val *v)
{
    const struct val *data = V(v, data);
    if (!is_set(data))
        bad_required(e, AT(NULL, "data"), "data is mandatory");
    else if (data->type != VAL_MAP)
        bad_required(e, AT(NULL, "data"), "data must be a valid JSON object");
    NOT_NEGATIVE(e, NULL, v, revision);
}

static void update_revision(struct field_errors *e, const struct val *v, const struct val *old)
{
    IMMUTABLE(e, NULL, v, old, data);
}

const struct kind_rules rules_workload[] = {
    RULES(Deployment, format_dns1123_subdomain, check_deployment, immutable_selector, status_deployment),
    RULES(ReplicaSet, format_dns1123_subdomain, check_replicaset, immutable_selector, status_replicaset),
    RULES(StatefulSet, format_dns1123_label, check_statefulset, update_statefulset, status_statefulset),
    RULES(DaemonSet, format_dns1123_subdomain, check_daemonset, immutable_selector, status_daemonset,
          .update_first = true),
    RULES(ReplicationController, format_dns1123_subdomain, check_rc, NULL, status_replicaset),
    RULES(ControllerRevision, format_dns1123_subdomain, check_revision, update_revision, NULL),
    RULES_END,
};
