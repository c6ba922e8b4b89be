/* columns_workload.c - the cells of what makes pods: Jobs, CronJobs, autoscalers, and the owner of a revision. */
#include "api/columns_int.h"
#include "base/clock.h"

struct val cell_ready_of_wanted(SOURCE)
{
    (void)path;
    return cell_of(s, arena_fmt(s->a, "%lld/%lld", (long long)val_num_at(s->v, 0, N(status), N(readyReplicas)),
                                (long long)val_num_at(s->v, 0, N(spec), N(replicas))));
}
struct val cell_job_status(SOURCE)
{
    static const char *const later[] = {"Suspended", "FailureTarget", "SuccessCriteriaMet"};
    (void)path;
    if (condition_holds(s->v, "Complete"))
        return cell_of(s, S("Complete"));
    if (condition_holds(s->v, "Failed"))
        return cell_of(s, S("Failed"));
    if (val_at(s->v, N(metadata), N(deletionTimestamp)))
        return cell_of(s, S("Terminating"));
    for (size_t i = 0; i < countof(later); i++)
        if (condition_holds(s->v, later[i]))
            return cell_of(s, str_of(later[i]));
    return cell_of(s, S("Running"));
}
struct val cell_job_completions(SOURCE)
{
    const struct val *wanted = val_at(s->v, N(spec), N(completions));
    int64_t done = val_num_at(s->v, 0, N(status), N(succeeded)),
            parallel = val_num_at(s->v, 0, N(spec), N(parallelism));
    (void)path;
    if (val_is(wanted, VAL_INT))
        return cell_of(s, arena_fmt(s->a, "%lld/%lld", (long long)done, (long long)wanted->i));
    if (parallel > 1)
        return cell_of(s, arena_fmt(s->a, "%lld/1 of %lld", (long long)done, (long long)parallel));
    return cell_of(s, arena_fmt(s->a, "%lld/1", (long long)done));
}
struct val cell_job_duration(SOURCE)
{
    int64_t from, to;
    (void)path;
    if (!time_parse(val_text_at(s->v, N(status), N(startTime)), &from))
        return cell_of(s, S(""));
    if (!time_parse(val_text_at(s->v, N(status), N(completionTime)), &to))
        to = s->now;
    return cell_of(s, human_duration(s->a, to - from));
}
struct val cell_cron_suspend(SOURCE)
{
    const struct val *v = column_value(s->v, path);
    return cell_of(s, !val_is(v, VAL_BOOL) ? S("<unset>") : v->b ? S("True") : S("False"));
}
struct val cell_revision_owner(SOURCE)
{
    (void)path;
    val_each_item (owner, val_at(s->v, N(metadata), N(ownerReferences))) {
        if (!val_true(V(owner, controller)))
            continue;
        struct str version = TEXT(owner, apiVersion), group, rest;
        bool grouped = str_split(version, '/', &group, &rest);
        char *kind = arena_strz(s->a, TEXT(owner, kind));
        for (char *p = kind; *p; p++)
            *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
        return cell_of(s, arena_fmt(s->a, "%s%s" STR_FMT "/" STR_FMT, kind, grouped ? "." : "",
                                    STR_ARG(grouped ? group : S("")), STR_ARG(TEXT(owner, name))));
    }
    return cell_of(s, S("<none>"));
}

static struct str metric_value(const struct val *of, const char *kind, struct str otherwise)
{
    struct str v = val_text(val_get_str(of, str_of(kind)));
    return v.n ? v : otherwise;
}
struct val cell_hpa_targets(SOURCE)
{
    const struct val *specs = val_at(s->v, N(spec), N(metrics)), *now = val_at(s->v, N(status), N(currentMetrics));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    size_t shown_ = 0;
    (void)path;
    if (val_len(specs) == 0)
        return cell_of(s, S("<none>"));
    for (size_t i = 0; i < val_len(specs) && shown_ < 2; i++, shown_++) {
        const struct val *m = val_item(specs, i), *c = val_item(now, i);
        struct str type = TEXT(m, type), unknown = S("<unknown>");
        strbuf_addz(&b, shown_ ? ", " : "");
        const struct name *member = str_eq(type, S("Resource"))            ? N(resource)
                                    : str_eq(type, S("ContainerResource")) ? N(containerResource)
                                    : str_eq(type, S("Pods"))              ? N(pods)
                                    : str_eq(type, S("Object"))            ? N(object)
                                                                           : N(external);
        const struct val *spec = val_get(m, member), *current = V(val_get(c, member), current),
                         *target = V(spec, target);
        if (member == N(resource) || member == N(containerResource)) {
            if (TEXT(target, averageValue).n) {
                strbuf_addf(&b, STR_FMT ": " STR_FMT "/" STR_FMT, STR_ARG(TEXT(spec, name)),
                            STR_ARG(metric_value(current, "averageValue", unknown)),
                            STR_ARG(TEXT(target, averageValue)));
                continue;
            }
            const struct val *have = V(current, averageUtilization), *want = V(target, averageUtilization);
            strbuf_addf(&b, STR_FMT ": ", STR_ARG(TEXT(spec, name)));
            if (val_is(have, VAL_INT))
                strbuf_addf(&b, "%lld%%/", (long long)have->i);
            else
                strbuf_addz(&b, "<unknown>/");
            if (val_is(want, VAL_INT))
                strbuf_addf(&b, "%lld%%", (long long)want->i);
            else
                strbuf_addz(&b, "<auto>");
        } else if (member == N(pods)) {
            strbuf_addf(&b, STR_FMT "/" STR_FMT, STR_ARG(metric_value(current, "averageValue", unknown)),
                        STR_ARG(TEXT(target, averageValue)));
        } else if (TEXT(target, averageValue).n) {
            strbuf_addf(&b, STR_FMT "/" STR_FMT " (avg)", STR_ARG(metric_value(current, "averageValue", unknown)),
                        STR_ARG(TEXT(target, averageValue)));
        } else {
            strbuf_addf(&b, STR_FMT "/" STR_FMT, STR_ARG(metric_value(current, "value", unknown)),
                        STR_ARG(TEXT(target, value)));
        }
    }
    if (val_len(specs) > 2)
        strbuf_addf(&b, " + %zu more...", val_len(specs) - 2);
    return cell_of(s, strbuf_str(&b));
}
struct val cell_hpa_v1_targets(SOURCE)
{
    const struct val *want = val_at(s->v, N(spec), N(targetCPUUtilizationPercentage)),
                     *have = val_at(s->v, N(status), N(currentCPUUtilizationPercentage));
    (void)path;
    if (!val_is(want, VAL_INT))
        return cell_of(s, S("<none>"));
    return cell_of(s, val_is(have, VAL_INT)
                          ? arena_fmt(s->a, "cpu: %lld%%/%lld%%", (long long)have->i, (long long)want->i)
                          : arena_fmt(s->a, "cpu: <unknown>/%lld%%", (long long)want->i));
}
struct val cell_hpa_reference(SOURCE)
{
    const struct val *ref = val_at(s->v, N(spec), N(scaleTargetRef));
    (void)path;
    return cell_of(s, arena_fmt(s->a, STR_FMT "/" STR_FMT, STR_ARG(TEXT(ref, kind)), STR_ARG(TEXT(ref, name))));
}
