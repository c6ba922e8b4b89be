/* validate_batch.c - Job and CronJob (pkg/apis/batch/validation of upstream).
 *
 * A Job's labels and selector are made by the server (strategy.c) unless manualSelector is set, and are checked to
 * be as they were made. The pods that its template describes may change only while the job is suspended and nothing
 * of it runs, and then only in where they are placed; completions only of an indexed job, together with parallelism.
 *
 * The status of a Job has rules of its own, as controllers of others may write it (managedBy). What was allowed to
 * be wrong once must not stop a later write that does not touch it: so a rule is applied only where what it speaks
 * of changes (struct job_change), and what stood already is let be. Index lists ("1,3-5") are walked as intervals,
 * so their cost is that of the text and not of the number of indexes.
 *
 * A schedule is only read (format_cron). Whether a time zone exists is asked of the machine's zoneinfo: the one
 * place in this room that looks at a file.
 */
#include "api/rules_int.h"
#include "api/selector.h"
#include "base/zone.h"
#include <fcntl.h>
#include <time.h>

#define INDEXED_MAX 100000

static bool job_is_indexed(const struct val *spec)
{
    return str_eq(TEXT(spec, completionMode), S("Indexed"));
}

static void needs_index(ERRS, const struct val *spec, const struct name *field)
{
    const struct val *v = val_get(spec, field);
    if (is_set(v) && !job_is_indexed(spec))
        bad_value(e, AT(at, field->s.p), v, "requires indexed completion mode");
}

static bool container_named(const struct val *spec, struct str name)
{
    const struct val *pod = val_at(spec, N(template), N(spec));
    return val_find(V(pod, containers), N(name), name) || val_find(V(pod, initContainers), N(name), name);
}

static void check_exit_codes(ERRS, const struct val *codes, const struct val *spec)
{
    const struct val *values = V(codes, values);
    struct str op = TEXT(codes, operator), container = TEXT(codes, containerName);
    if (op.n == 0)
        bad_required(e, AT(at, "operator"), "valid values: [\"In\" \"NotIn\"]");
    else
        check_enum(e, AT(at, "operator"), op, "In", "NotIn");
    if (HAS(codes, containerName) && !container_named(spec, container))
        bad_text(e, AT(at, "containerName"), container,
                 "must be one of the container or initContainer names in the pod template");
    if (val_len(values) == 0) {
        struct val none = val_list();
        bad_value(e, AT(at, "values"), &none, "at least one value is required");
    } else if (val_len(values) > 255) {
        bad_too_many(e, AT(at, "values"), (int64_t)val_len(values), 255);
    }
    bool ordered = true;
    AUTO(seen_fini) struct seen seen = SEEN;
    each (value, values) {
        const struct at *here = ITEM(AT(at, "values"), INDEX(values, value));
        if (str_eq(op, S("In")) && value->i == 0)
            bad_num(e, here, 0, "must not be 0 for the In operator");
        if (seen_value(&seen, value))
            bad_duplicate_number(e, here, value->i);
        ordered &= value == values->list || value[-1].i <= value->i;
    }
    if (!ordered)
        bad_value(e, AT(at, "values"), values, "must be ordered");
}

static void check_failure_policy(ERRS, const struct val *policy, const struct val *spec)
{
    const struct val *rules = V(policy, rules);
    if (val_len(rules) > 20)
        bad_too_many(e, AT(at, "rules"), (int64_t)val_len(rules), 20);
    each (rule, rules) {
        const struct at *here = ITEM(AT(at, "rules"), INDEX(rules, rule));
        const struct val *codes = V(rule, onExitCodes), *patterns = V(rule, onPodConditions);
        struct str action = TEXT(rule, action);
        if (action.n == 0)
            bad_required(e, AT(here, "action"), "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
        else if (check_enum(e, AT(here, "action"), action, "Count", "FailIndex", "FailJob", "Ignore") &&
                 str_eq(action, S("FailIndex")) && !HAS(spec, backoffLimitPerIndex))
            bad_text(e, AT(here, "action"), action, "requires the backoffLimitPerIndex to be set");
        if (is_set(codes))
            check_exit_codes(e, AT(here, "onExitCodes"), codes, spec);
        each (pattern, patterns) {
            const struct at *place = ITEM(AT(here, "onPodConditions"), INDEX(patterns, pattern));
            check_format(e, AT(place, "type"), TEXT(pattern, type), format_qualified_name);
            check_enum(e, AT(place, "status"), TEXT(pattern, status), "False", "True", "Unknown");
        }
        if (is_set(codes) && val_len(patterns) > 0)
            bad_plain(e, here, "specifying both OnExitCodes and OnPodConditions is not supported");
        if (!is_set(codes) && val_len(patterns) == 0)
            bad_plain(e, here, "specifying one of OnExitCodes and OnPodConditions is required");
    }
}

/* "1,3-5": the complaint, or NULL; how many indexes it names. */
static const char *check_indexes(struct arena *a, struct str s, int64_t completions, int64_t *total)
{
    struct str part, rest = s, low, high;
    int64_t last = -1, x, y;
    *total = 0;
    if (s.n == 0)
        return NULL;
    while (str_cut(&rest, ',', &part)) {
        bool range = str_split(part, '-', &low, &high);
        if (range && str_find_char(high, '-') >= 0)
            return arena_fmt(a,
                             "the fragment \"" STR_FMT "\" violates the requirement that an index interval can have "
                             "at most two parts separated by '-'",
                             STR_ARG(part))
                .p;
        struct str bad = !str_to_i64(low, 0, INT32_MAX, &x) ? low : STR_NONE;
        if (!bad.p && range && !str_to_i64(high, 0, INT32_MAX, &y))
            bad = high;
        if (bad.p)
            return arena_fmt(a, "cannot convert string to integer for index: \"" STR_FMT "\"", STR_ARG(bad)).p;
        if (!range)
            y = x;
        if (x <= last)
            return arena_fmt(a, "non-increasing order, previous: %lld, current: %lld", (long long)last, (long long)x)
                .p;
        if (x >= completions)
            return arena_fmt(a, "too large index: \"" STR_FMT "\"", STR_ARG(low)).p;
        if (range && y >= completions)
            return arena_fmt(a, "too large index: \"" STR_FMT "\"", STR_ARG(high)).p;
        if (range && x >= y)
            return arena_fmt(a, "non-increasing order, previous: %lld, current: %lld", (long long)x, (long long)y).p;
        *total += y - x + 1;
        last = y;
    }
    return NULL;
}

static void check_success_policy(ERRS, const struct val *policy, const struct val *spec)
{
    const struct val *rules = V(policy, rules);
    const struct at *list = AT(at, "rules");
    int64_t completions = NUM(spec, completions);
    if (val_len(rules) == 0)
        bad_required(e, list, "at least one rules must be specified when the successPolicy is specified");
    if (val_len(rules) > 20)
        bad_too_many(e, list, (int64_t)val_len(rules), 20);
    each (rule, rules) {
        const struct at *here = ITEM(list, INDEX(rules, rule));
        int64_t total = 0;
        if (!HAS(rule, succeededCount) && !HAS(rule, succeededIndexes))
            bad_required(e, here, "at least one of succeededCount or succeededIndexes must be specified");
        if (HAS(rule, succeededIndexes)) {
            const char *why = check_indexes(e->arena, TEXT(rule, succeededIndexes), completions, &total);
            if (why)
                bad_text(e, AT(here, "succeededIndexes"), TEXT(rule, succeededIndexes),
                         "error parsing succeededIndexes: %s", why);
        }
        if (!HAS(rule, succeededCount))
            continue;
        int64_t count = NUM(rule, succeededCount);
        NOT_NEGATIVE(e, here, rule, succeededCount);
        if (count > completions)
            bad_num(e, AT(here, "succeededCount"), count,
                    "must be less than or equal to %lld (the number of specified completions)",
                    (long long)completions);
        if (HAS(rule, succeededIndexes) && count > total)
            bad_num(
                e, AT(here, "succeededCount"), count,
                "must be less than or equal to %lld (the number of indexes in the specified succeededIndexes field)",
                (long long)total);
    }
}

static void check_job_spec(ERRS, const struct val *spec)
{
    const struct val *template = V(spec, template), *pod = V(template, spec), *failure = V(spec, podFailurePolicy);
    const struct at *pod_at = AT(AT(at, "template"), "spec");
    int64_t completions = NUM(spec, completions);
    NOT_NEGATIVE(e, at, spec, parallelism);
    NOT_NEGATIVE(e, at, spec, completions);
    NOT_NEGATIVE(e, at, spec, activeDeadlineSeconds);
    NOT_NEGATIVE(e, at, spec, backoffLimit);
    NOT_NEGATIVE(e, at, spec, ttlSecondsAfterFinished);
    NOT_NEGATIVE(e, at, spec, backoffLimitPerIndex);
    NOT_NEGATIVE(e, at, spec, maxFailedIndexes);
    needs_index(e, at, spec, N(backoffLimitPerIndex));
    if (HAS(spec, maxFailedIndexes)) {
        if (!HAS(spec, backoffLimitPerIndex))
            bad_required(e, AT(at, "backoffLimitPerIndex"), "when maxFailedIndexes is specified");
        needs_index(e, at, spec, N(maxFailedIndexes));
    }
    if (HAS(spec, managedBy)) {
        struct str manager = TEXT(spec, managedBy), host, path;
        if (manager.n == 0)
            bad_required(e, AT(at, "managedBy"), "");
        else if (!str_split(manager, '/', &host, &path) || host.n == 0 || path.n == 0)
            bad_text(e, AT(at, "managedBy"), manager, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        else
            check_format(e, AT(at, "managedBy"), host, format_dns1123_subdomain);
        if (manager.n > 63)
            bad_too_long(e, AT(at, "managedBy"), 63);
    }
    if (HAS(spec, completionMode))
        check_enum(e, AT(at, "completionMode"), TEXT(spec, completionMode), "NonIndexed", "Indexed");
    if (job_is_indexed(spec)) {
        if (!HAS(spec, completions))
            bad_required(e, AT(at, "completions"), "when completion mode is Indexed");
        if (NUM(spec, parallelism) > INDEXED_MAX)
            bad_num(e, AT(at, "parallelism"), NUM(spec, parallelism),
                    "must be less than or equal to %d when completion mode is Indexed", INDEXED_MAX);
        if (HAS(spec, completions) && NUM(spec, maxFailedIndexes) > completions)
            bad_num(e, AT(at, "maxFailedIndexes"), NUM(spec, maxFailedIndexes),
                    "must be less than or equal to completions");
        if (NUM(spec, maxFailedIndexes) > INDEXED_MAX)
            bad_num(e, AT(at, "maxFailedIndexes"), NUM(spec, maxFailedIndexes), "must be less than or equal to %d",
                    INDEXED_MAX);
        if (completions > INDEXED_MAX && HAS(spec, backoffLimitPerIndex)) {
            if (!HAS(spec, maxFailedIndexes))
                bad_required(e, AT(at, "maxFailedIndexes"), "must be specified when completions is above 100000");
            if (NUM(spec, parallelism) > 10000)
                bad_num(e, AT(at, "parallelism"), NUM(spec, parallelism),
                        "must be less than or equal to 10000 when completions are above 100000 and used with backoff "
                        "limit per index");
            if (NUM(spec, maxFailedIndexes) > 10000)
                bad_num(e, AT(at, "maxFailedIndexes"), NUM(spec, maxFailedIndexes),
                        "must be less than or equal to 10000 when completions are above 100000 and used with backoff "
                        "limit per index");
        }
    }
    if (is_set(failure))
        check_failure_policy(e, AT(at, "podFailurePolicy"), failure, spec);
    if (HAS(spec, successPolicy)) {
        if (!job_is_indexed(spec))
            bad_struct(e, AT(at, "successPolicy"), T(batch_v1_SuccessPolicy), V(spec, successPolicy),
                       "requires indexed completion mode");
        else
            check_success_policy(e, AT(at, "successPolicy"), V(spec, successPolicy), spec);
    }
    if (HAS(spec, podReplacementPolicy)) {
        struct str policy = TEXT(spec, podReplacementPolicy);
        if (is_set(failure))
            check_enum(e, AT(at, "podReplacementPolicy"), policy, "Failed");
        else
            check_enum(e, AT(at, "podReplacementPolicy"), policy, "Failed", "TerminatingOrFailed");
    }
    check_template(e, AT(at, "template"), template);
    struct str restart = TEXT(pod, restartPolicy);
    if (restart.n == 0 || str_eq(restart, S("Always")))
        bad_required(e, AT(pod_at, "restartPolicy"), "valid values: \"OnFailure\", \"Never\"");
    else if (!str_eq(restart, S("OnFailure")) && !str_eq(restart, S("Never")))
        bad_enum(e, AT(pod_at, "restartPolicy"), restart, SET("OnFailure", "Never"));
    else if (is_set(failure) && !str_eq(restart, S("Never")))
        bad_text(e, AT(pod_at, "restartPolicy"), restart,
                 "only \"Never\" is supported when podFailurePolicy is specified");
}

static bool text_is(const struct val *map, struct str key, struct str value)
{
    return str_eq(val_text(val_get_str(map, key)), value);
}

static void check_generated(ERRS, const struct val *v)
{
    const struct val *spec = V(v, spec), *meta = V(v, metadata), *selector = V(spec, selector);
    const struct val *labels = val_at(spec, N(template), N(metadata), N(labels));
    const struct at *labels_at = AT(AT(AT(at, "template"), "metadata"), "labels");
    struct str uid = TEXT(meta, uid), name = TEXT(meta, name);
    if (val_true(V(spec, manualSelector)))
        return;
    const struct {
        struct str key, value;
    } wanted[] = {{S("batch.kubernetes.io/controller-uid"), uid},
                  {S("controller-uid"), uid},
                  {S("batch.kubernetes.io/job-name"), name},
                  {S("job-name"), name}};
    for (size_t i = 0; i < countof(wanted); i++) {
        if (!val_get_str(labels, wanted[i].key))
            bad_required(e, KEY(labels_at, wanted[i].key),
                         arena_fmt(e->arena, "must be '" STR_FMT "'", STR_ARG(wanted[i].value)).p);
        else if (!text_is(labels, wanted[i].key, wanted[i].value))
            bad_value(e, labels_at, labels, "must be '" STR_FMT "'", STR_ARG(wanted[i].value));
    }
    const struct val *match = V(selector, matchLabels);
    if (val_len(match) != 1 || val_len(V(selector, matchExpressions)) > 0 ||
        !text_is(match, S("batch.kubernetes.io/controller-uid"), uid))
        bad_struct(e, AT(at, "selector"), T(meta_v1_LabelSelector), selector, "`selector` not auto-generated");
}

static void check_selected(ERRS, const struct val *spec)
{
    const struct val *labels = val_at(spec, N(template), N(metadata), N(labels));
    struct selector *selector;
    struct err ignored = ERR; /* a bad selector has been told of by its own check */
    if (selector_of(e->arena, V(spec, selector), &selector, &ignored) && !selector_matches(selector, labels))
        bad_value(e, AT(AT(AT(at, "template"), "metadata"), "labels"), labels,
                  "`selector` does not match template `labels`");
}

static void check_job(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec);
    struct str name = TEXT(V(v, metadata), name);
    check_generated(e, at, v);
    if (!HAS(spec, selector))
        bad_required(e, AT(at, "selector"), "");
    else
        check_label_selector(e, AT(at, "selector"), V(spec, selector));
    check_job_spec(e, at, spec);
    check_selected(e, at, spec);
    if (!job_is_indexed(spec) || NUM(spec, completions) <= 0)
        return;
    struct str pod = arena_fmt(e->arena, STR_FMT "-%lld", STR_ARG(name), (long long)NUM(spec, completions) - 1);
    if (pod.n > 63)
        bad_text(e, AT(AT(NULL, "metadata"), "name"), name,
                 "will not able to create pod with invalid DNS label: " STR_FMT, STR_ARG(pod));
}

static bool template_mutable(const struct val *old)
{
    const struct val *status = V(old, status), *suspended = val_find(V(status, conditions), N(type), S("Suspended"));
    return val_true(V(V(old, spec), suspend)) && NUM(status, active) == 0 &&
           (!HAS(status, startTime) || str_eq(TEXT(suspended, status), S("True")));
}

/* What may change in a pod's spec while the Job is suspended: where the pods go, and what they ask for. */
static struct val without_mutable(struct arena *a, const struct val *pod_spec)
{
    static const struct name *const free[] = {N(nodeSelector), N(tolerations), N(schedulingGates)};
    static const struct name *const lists[] = {N(initContainers), N(containers)};
    struct val rest = val_copy(a, pod_spec);
    for (size_t i = 0; i < countof(free); i++)
        val_del(&rest, free[i]);
    struct val *affinity = val_get_mut(&rest, N(affinity));
    if (affinity)
        val_del(affinity, N(nodeAffinity));
    if (affinity && affinity->n == 0)
        val_del(&rest, N(affinity));
    for (size_t i = 0; i < countof(lists); i++) {
        struct val *list = val_get_mut(&rest, lists[i]);
        for (size_t k = 0; k < val_len(list); k++)
            val_del(&list->list[k], N(resources));
    }
    return rest;
}

static void check_template_change(ERRS, const struct val *spec, const struct val *was, bool mutable)
{
    const struct val *template = V(spec, template), *before = V(was, template);
    if (!mutable) {
        if (!val_unchanged(template, before))
            bad_struct(e, AT(at, "template"), T(core_v1_PodTemplateSpec), template, "field is immutable");
        return;
    }
    struct val now = without_mutable(e->arena, V(template, spec)), old = without_mutable(e->arena, V(before, spec));
    if (!val_unchanged(&now, &old))
        bad_struct(e, AT(AT(at, "template"), "spec"), T(core_v1_PodSpec), V(template, spec), "field is immutable");
}

static void update_job(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec), *was = V(old, spec), *count = V(spec, completions);
    static const struct {
        const struct name *field;
        const struct type *type;
    } fixed[] = {{N(completionMode), NULL},
                 {N(podFailurePolicy), T(batch_v1_PodFailurePolicy)},
                 {N(backoffLimitPerIndex), NULL},
                 {N(managedBy), NULL},
                 {N(successPolicy), T(batch_v1_SuccessPolicy)}};
    check_job_spec(e, at, spec);
    check_selected(e, at, spec);
    if (!val_unchanged(count, V(was, completions))) {
        bool tandem = NUM(spec, completions) == NUM(spec, parallelism) && HAS(spec, completions);
        if (!job_is_indexed(spec))
            bad_immutable(e, AT(at, "completions"), count);
        else if (is_set(count) && !tandem)
            bad_value(e, AT(at, "completions"), count, "can only be modified in tandem with spec.parallelism");
    }
    if (!val_unchanged(V(spec, selector), V(was, selector)))
        bad_struct(e, AT(at, "selector"), T(meta_v1_LabelSelector), V(spec, selector), "field is immutable");
    check_template_change(e, at, spec, was, template_mutable(old));
    for (size_t i = 0; i < countof(fixed); i++) {
        const struct val *now = val_get(spec, fixed[i].field);
        if (val_unchanged(now, val_get(was, fixed[i].field)))
            continue;
        if (fixed[i].type)
            bad_struct(e, AT(at, fixed[i].field->s.p), fixed[i].type, now, "field is immutable");
        else
            bad_immutable(e, AT(at, fixed[i].field->s.p), now);
    }
}

static bool is_true(const struct val *conditions, const char *type)
{
    return str_eq(TEXT(val_find(conditions, N(type), str_of(type)), status), S("True"));
}

/* "1,3-5", known to be well-formed: the next interval. */
static bool next_interval(struct str *rest, int64_t *low, int64_t *high)
{
    struct str part, x, y;
    if (!str_cut(rest, ',', &part) || part.n == 0)
        return false;
    bool range = str_split(part, '-', &x, &y);
    return str_to_i64(range ? x : part, 0, INT32_MAX, low) && str_to_i64(range ? y : part, 0, INT32_MAX, high);
}

/* The first index that both name; -1: none. */
static int64_t indexes_overlap(struct str a, struct str b)
{
    int64_t low, high, other_low, other_high;
    bool more = next_interval(&a, &low, &high) && next_interval(&b, &other_low, &other_high);
    while (more) {
        if (low <= other_high && other_low <= high)
            return low > other_low ? low : other_low;
        more = high < other_low ? next_interval(&a, &low, &high) : next_interval(&b, &other_low, &other_high);
    }
    return -1;
}

/* What is told of a job's status only where it changes: what stood already is let be. */
struct job_change {
    bool complete, failed, target, met, finished, active, ready, terminating, start, end, uncounted, done, lost;
};

static struct job_change job_change_of(const struct val *s, const struct val *was)
{
    const struct val *now = V(s, conditions), *old = V(was, conditions);
#define TURNED(type) (is_true(now, type) != is_true(old, type))
#define OTHER(field) (!val_unchanged(V(s, field), V(was, field)))
    struct job_change c = {.complete = TURNED("Complete"),
                           .failed = TURNED("Failed"),
                           .target = TURNED("FailureTarget"),
                           .met = TURNED("SuccessCriteriaMet"),
                           .active = NUM(s, active) != NUM(was, active),
                           .ready = OTHER(ready),
                           .terminating = OTHER(terminating),
                           .start = OTHER(startTime),
                           .end = OTHER(completionTime),
                           .uncounted = OTHER(uncountedTerminatedPods),
                           .done = !str_eq(TEXT(s, completedIndexes), TEXT(was, completedIndexes)),
                           .lost = OTHER(failedIndexes)};
#undef TURNED
#undef OTHER
    c.finished = (is_true(now, "Complete") || is_true(now, "Failed")) !=
                 (is_true(old, "Complete") || is_true(old, "Failed"));
    return c;
}

static void check_job_end(ERRS, const struct val *s, const struct job_change *c)
{
    const struct at *conditions_at = AT(at, "conditions");
    const struct val *conditions = V(s, conditions), *uncounted = V(s, uncountedTerminatedPods);
    bool complete = is_true(conditions, "Complete"), failed = is_true(conditions, "Failed"),
         target = is_true(conditions, "FailureTarget"), finished = complete || failed;
    if ((c->complete || c->failed) && complete && failed)
        bad_plain(e, conditions_at, "cannot set Complete=True and Failed=true conditions");
    if ((c->complete || c->target) && complete && target)
        bad_plain(e, conditions_at, "cannot set Complete=True and FailureTarget=true conditions");
    if ((c->complete || c->end) && !complete && HAS(s, completionTime))
        bad_value(e, AT(at, "completionTime"), V(s, completionTime),
                  "cannot set completionTime when there is no Complete=True condition");
    if ((c->complete || c->end) && complete && !HAS(s, completionTime))
        bad_required(e, AT(at, "completionTime"), "completionTime is required for Complete jobs");
    if ((c->start || c->end) && HAS(s, startTime) && HAS(s, completionTime) &&
        str_cmp(TEXT(s, completionTime), TEXT(s, startTime)) < 0)
        bad_value(e, AT(at, "completionTime"), V(s, completionTime), "completionTime cannot be set before startTime");
    if ((c->failed || c->target) && failed && !target)
        bad_plain(e, conditions_at, "cannot set Failed=True condition without the FailureTarget=true condition");
    if ((c->complete || c->met) && complete && !is_true(conditions, "SuccessCriteriaMet"))
        bad_plain(e, conditions_at,
                  "cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
    if ((c->finished || c->active) && finished && NUM(s, active) > 0)
        bad_num(e, AT(at, "active"), NUM(s, active), "active>0 is invalid for finished job");
    if ((c->finished || c->start) && finished && !HAS(s, startTime))
        bad_required(e, AT(at, "startTime"), "startTime is required for finished job");
    if ((c->finished || c->uncounted) && finished &&
        val_len(V(uncounted, failed)) + val_len(V(uncounted, succeeded)) > 0)
        bad_struct(e, AT(at, "uncountedTerminatedPods"), T(batch_v1_UncountedTerminatedPods), uncounted,
                   "uncountedTerminatedPods needs to be empty for finished job");
}

static void check_job_indexes(ERRS, const struct val *s, const struct val *spec, const struct job_change *c)
{
    struct str done = TEXT(s, completedIndexes), lost = TEXT(s, failedIndexes);
    const struct at *done_at = AT(at, "completedIndexes"), *lost_at = AT(at, "failedIndexes");
    int64_t completions = NUM(spec, completions), total;
    bool bounded = HAS(spec, completions), per_index = HAS(spec, backoffLimitPerIndex);
    const char *bad_done = bounded ? check_indexes(e->arena, done, completions, &total) : NULL;
    const char *bad_lost = bounded ? check_indexes(e->arena, lost, completions, &total) : NULL;
    if (c->done && bad_done)
        bad_text(e, done_at, done, "error parsing completedIndexes: %s", bad_done);
    if (c->lost && per_index && HAS(s, failedIndexes) && bad_lost)
        bad_text(e, lost_at, lost, "error parsing failedIndexes: %s", bad_lost);
    if (c->done && done.n > 0 && !job_is_indexed(spec))
        bad_text(e, done_at, done, "cannot set non-empty completedIndexes when non-indexed completion mode");
    if (c->lost && !per_index && HAS(s, failedIndexes))
        bad_text(e, lost_at, lost, "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
    int64_t both = (c->lost || c->done) && bounded && !bad_done && !bad_lost ? indexes_overlap(done, lost) : -1;
    if (both >= 0)
        bad_text(e, lost_at, lost, "failedIndexes and completedIndexes overlap at index: %lld", (long long)both);
}

static void check_job_moves(ERRS, const struct val *s, const struct val *was, const struct val *spec)
{
    static const char *const final[] = {"Failed", "Complete", "FailureTarget"};
    const struct at *conditions_at = AT(at, "conditions");
    const struct val *now = V(s, conditions), *old = V(was, conditions);
    bool met = is_true(now, "SuccessCriteriaMet"), met_before = is_true(old, "SuccessCriteriaMet");
    for (size_t i = 0; i < countof(final); i++)
        if (is_true(old, final[i]) && !is_true(now, final[i]))
            bad_plain(e, conditions_at,
                      arena_fmt(e->arena, "cannot disable the terminal %s=True condition", final[i]).p);
    if (NUM(s, failed) < NUM(was, failed))
        bad_num(e, AT(at, "failed"), NUM(s, failed), "cannot decrease the failed counter");
    /* what has as many workers as indexes may be made smaller */
    bool shrinks = job_is_indexed(spec) && val_unchanged(V(spec, completions), V(spec, parallelism));
    if (!shrinks && NUM(s, succeeded) < NUM(was, succeeded))
        bad_num(e, AT(at, "succeeded"), NUM(s, succeeded), "cannot decrease the succeeded counter");
    if (HAS(s, completionTime) && HAS(was, completionTime) &&
        !val_unchanged(V(s, completionTime), V(was, completionTime)))
        bad_value(e, AT(at, "completionTime"), V(s, completionTime), "completionTime cannot be mutated");
    if (HAS(was, startTime) && !val_unchanged(V(s, startTime), V(was, startTime)) && !val_true(V(spec, suspend)))
        bad_required(e, AT(at, "startTime"), "startTime cannot be removed for unsuspended job");
    if (met_before && !met)
        bad_plain(e, conditions_at, "cannot disable the SuccessCriteriaMet=True condition");
    if (is_true(old, "Complete") && !met_before && met)
        bad_plain(e, conditions_at,
                  "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
}

static void status_job(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "status"), *conditions_at = AT(at, "conditions");
    const struct val *s = V(v, status), *was = V(old, status), *spec = V(v, spec), *conditions = V(s, conditions);
    struct job_change c = job_change_of(s, was);
    bool finished = is_true(conditions, "Complete") || is_true(conditions, "Failed");
    NOT_NEGATIVE(e, at, s, active);
    NOT_NEGATIVE(e, at, s, succeeded);
    NOT_NEGATIVE(e, at, s, failed);
    NOT_NEGATIVE(e, at, s, ready);
    NOT_NEGATIVE(e, at, s, terminating);
    check_job_end(e, at, s, &c);
    check_job_indexes(e, at, s, spec, &c);
    if ((c.finished || c.terminating) && finished && NUM(s, terminating) > 0)
        bad_num(e, AT(at, "terminating"), NUM(s, terminating), "terminating>0 is invalid for finished job");
    if ((c.ready || c.active) && HAS(s, ready) && NUM(s, ready) > NUM(s, active))
        bad_num(e, AT(at, "ready"), NUM(s, ready), "cannot set more ready pods than active");
    if (is_true(conditions, "SuccessCriteriaMet")) {
        if (is_true(conditions, "Failed"))
            bad_plain(e, conditions_at, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
        if (is_true(conditions, "FailureTarget"))
            bad_plain(e, conditions_at, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
    } else if (HAS(spec, successPolicy) && is_true(conditions, "Complete")) {
        bad_plain(e, conditions_at,
                  "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True");
    }
    check_job_moves(e, at, s, was, spec);
}

/* Whether there is a zone of that name; where the machine has none at all, whoever runs the schedule says so. */
static bool zone_known(struct str s)
{
    AUTO(strbuf_fini) struct strbuf path = STRBUF(512);
    char magic[4];
    strbuf_addf(&path, "/usr/share/zoneinfo/" STR_FMT, STR_ARG(s));
    if (!zone_name_ok(s) || path.over)
        return false;
    if (str_eq(s, S("UTC")) || access("/usr/share/zoneinfo", R_OK) != 0)
        return true;
    int fd = open(path.p, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool is_zone = fd >= 0 && read(fd, magic, sizeof magic) == sizeof magic && memcmp(magic, "TZif", 4) == 0;
    if (fd >= 0)
        (void)close(fd); /* nothing was written */
    return is_zone;
}

/* A zone that was there when it was named need not be there any more. */
static void cronjob_judge(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "spec"), *job_at = AT(AT(at, "jobTemplate"), "spec");
    const struct val *spec = V(v, spec), *job = V(V(spec, jobTemplate), spec);
    struct str schedule = TEXT(spec, schedule), zone = TEXT(spec, timeZone), name = TEXT(V(v, metadata), name);
    if (schedule.n == 0)
        bad_required(e, AT(at, "schedule"), "");
    else if (str_has(schedule, S("TZ")))
        bad_text(e, AT(at, "schedule"), schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    else
        check_format(e, AT(at, "schedule"), schedule, format_cron);
    NOT_NEGATIVE(e, at, spec, startingDeadlineSeconds);
    if (HAS(spec, timeZone) && (!old || !val_unchanged(V(spec, timeZone), V(V(old, spec), timeZone)))) {
        const struct at *here = AT(at, "timeZone");
        if (zone.n == 0) {
            bad_text(e, here, zone, "timeZone must be nil or non-empty string");
        } else {
            if (str_ieq(zone, S("Local")))
                bad_text(e, here, zone,
                         "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
            if (!str_eq(zone, S("Local")) && !zone_known(zone))
                bad_text(e, here, zone, "unknown time zone " STR_FMT, STR_ARG(zone));
        }
    }
    if (TEXT(spec, concurrencyPolicy).n == 0)
        bad_required(e, AT(at, "concurrencyPolicy"), "");
    else
        check_enum(e, AT(at, "concurrencyPolicy"), TEXT(spec, concurrencyPolicy), "Allow", "Forbid", "Replace");
    if (HAS(job, selector))
        bad_struct(e, AT(job_at, "selector"), T(meta_v1_LabelSelector), V(job, selector),
                   "`selector` will be auto-generated");
    if (val_true(V(job, manualSelector)))
        bad_enum_value(e, AT(job_at, "manualSelector"), V(job, manualSelector), SET("nil", "false"));
    check_job_spec(e, job_at, job);
    NOT_NEGATIVE(e, at, spec, successfulJobsHistoryLimit);
    NOT_NEGATIVE(e, at, spec, failedJobsHistoryLimit);
    if (name.n > 52)
        bad_text(e, AT(AT(NULL, "metadata"), "name"), name, "must be no more than 52 characters");
}

static void check_cronjob(struct field_errors *e, const struct val *v)
{
    cronjob_judge(e, v, NULL);
}

const struct kind_rules rules_batch[] = {
    RULES(Job, format_dns1123_subdomain, check_job, update_job, status_job),
    RULES(CronJob, format_dns1123_subdomain, check_cronjob, cronjob_judge, NULL, .update_alone = true),
    RULES_END,
};
