/* What a failed pod means (podFailurePolicy), and when an Indexed Job has done enough (successPolicy). */
#include "control/job_int.h"

static bool code_matches(const struct val *wanted, int64_t code)
{
    bool in = false;
    val_each_item (it, val_get(wanted, N(values)))
        in |= val_num(it, -1) == code;
    return str_eqz(val_text_at(wanted, N(operator)), "In") ? in : !in;
}

/* The status of the first container that ended with such a code. */
static const struct val *exit_match(const struct val *statuses, const struct val *wanted)
{
    struct str name = val_text_at(wanted, N(containerName));
    val_each_item (it, statuses) {
        const struct val *ended = val_at(it, N(state), N(terminated));
        int64_t code = val_num_at(ended, 0, N(exitCode));
        if (ended && code != 0 && (name.n == 0 || str_eq(name, val_text_at(it, N(name)))) &&
            code_matches(wanted, code))
            return it;
    }
    return NULL;
}

static const struct val *condition_match(const struct val *conditions, const struct val *patterns)
{
    val_each_item (c, conditions)
        val_each_item (pattern, patterns) {
            struct str status = val_text_at(pattern, N(status));
            if (str_eq(val_text_at(c, N(type)), val_text_at(pattern, N(type))) &&
                str_eq(val_text_at(c, N(status)), status.n > 0 ? status : S("True")))
                return c;
        }
    return NULL;
}

static enum policy_action action_of(const struct val *rule)
{
    static const struct {
        const char *name;
        enum policy_action action;
    } rows[] = {{"Ignore", POLICY_IGNORE},
                {"Count", POLICY_COUNT},
                {"FailIndex", POLICY_FAIL_INDEX},
                {"FailJob", POLICY_FAIL_JOB}};
    for (size_t i = 0; i < countof(rows); i++)
        if (str_eqz(val_text_at(rule, N(action)), rows[i].name))
            return rows[i].action;
    return POLICY_NONE;
}

struct policy_match policy_of_pod(struct arena *a, const struct val *policy, const struct obj *pod)
{
    const struct val *status = obj_status(pod);
    int number = -1;
    val_each_item (rule, val_get(policy, N(rules))) {
        const struct val *codes = val_get(rule, N(onExitCodes)), *seen = NULL;
        struct policy_match m = {.action = action_of(rule)};
        number++;
        if (codes) {
            seen = exit_match(val_get(status, N(containerStatuses)), codes);
            seen = seen ? seen : exit_match(val_get(status, N(initContainerStatuses)), codes);
        } else {
            seen = condition_match(val_get(status, N(conditions)), val_get(rule, N(onPodConditions)));
        }
        if (!seen || m.action == POLICY_NONE)
            continue;
        if (m.action == POLICY_FAIL_JOB && codes)
            m.message = arena_fmt(a,
                                  "Container " STR_FMT " for pod " STR_FMT "/" STR_FMT
                                  " failed with exit code %lld matching FailJob rule at index %d",
                                  STR_ARG(val_text_at(seen, N(name))), STR_ARG(pod->ns), STR_ARG(pod->name),
                                  (long long)val_num_at(seen, 0, N(state), N(terminated), N(exitCode)), number);
        else if (m.action == POLICY_FAIL_JOB)
            m.message = arena_fmt(
                a, "Pod " STR_FMT "/" STR_FMT " has condition " STR_FMT " matching FailJob rule at index %d",
                STR_ARG(pod->ns), STR_ARG(pod->name), STR_ARG(val_text_at(seen, N(type))), number);
        return m;
    }
    return (struct policy_match){0};
}

static bool rule_holds(struct arena *a, const struct val *rule, int64_t completions, struct indexes done)
{
    const struct val *which = val_get(rule, N(succeededIndexes)), *count = val_get(rule, N(succeededCount));
    int64_t enough = val_num(count, INT64_MAX);
    if (!which)
        return indexes_total(done) >= enough;
    struct indexes asked = indexes_parse(a, val_text(which), completions);
    int64_t have = indexes_common(asked, done);
    return asked.n > 0 && (have == indexes_total(asked) || have >= enough);
}

bool success_policy_holds(struct arena *a, const struct val *policy, int64_t completions, struct indexes done,
                          struct str *message)
{
    int number = 0;
    if (done.n == 0)
        return false;
    val_each_item (rule, val_get(policy, N(rules))) {
        if (rule_holds(a, rule, completions, done)) {
            *message = arena_fmt(a, "Matched rules at index %d", number);
            return true;
        }
        number++;
    }
    return false;
}
