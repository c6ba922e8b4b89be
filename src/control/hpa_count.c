/* From what pods use to how many there should be: upstream's ReplicaCalculator, with its caution where something is
 * not known. A pod of which nothing is heard counts as idle when there should be more, and as busy when there should
 * be fewer; one that is not ready is left out, and counts as idle when there should be more. So what is not known
 * never moves the number further, and never turns its direction.
 *
 * Unlike upstream, a pod that has ended well (a Job's, taken by a selector that is too wide) counts like one that
 * failed: not at all, so that it neither holds scaling down up nor needs requests. */
#include "api/quantity.h"
#include "control/hpa_int.h"
#include "control/pods.h"

#define WHOLE                                                                                                        \
    NS_PER_S /* both times are told in whole seconds, rounded down: what was ready at once counts at once            \
              */

int64_t hpa_milli_add(int64_t a, int64_t b)
{
    int64_t sum;
    return !__builtin_add_overflow(a, b, &sum) ? sum : b < 0 ? INT64_MIN : INT64_MAX;
}

static int64_t round_up(double d)
{
    const double most = (double)(INT64_MAX / 2);
    int64_t n = (int64_t)MAX(-most, MIN(d, most));
    return n + (d > (double)n && d <= most);
}

/* As many replicas as a number holds, at most. */
static int64_t replicas_of(double d)
{
    return d < (double)INT32_MAX ? MAX(0, round_up(d)) : INT32_MAX;
}

static bool is_within(const struct hpa_count *c, double ratio)
{
    return 1.0 - c->down <= ratio && ratio <= 1.0 + c->up;
}

/* Of use of cpu alone: what starts uses more than it will. */
static bool pod_is_unready(const struct hpa_count *c, const struct hpa_pod *p)
{
    const struct val *status = obj_status(p->pod), *ready = condition_get(status, "Ready");
    int64_t started = val_time(val_get(status, N(startTime)));
    if (!ready || !started)
        return true;
    int64_t since = val_time(val_get(ready, N(lastTransitionTime)));
    bool no = str_eqz(val_text_at(ready, N(status)), "False");
    if (started + HPA_CPU_INITIAL > c->now)
        return no || p->at + WHOLE < since + p->window;
    return no && started + HPA_READY_DELAY > since;
}

static void pods_group(struct hpa_count *c)
{
    for (size_t i = 0; i < c->n; i++) {
        struct hpa_pod *p = &c->pods[i];
        struct str phase = val_text_at(obj_status(p->pod), N(phase));
        p->group = obj_deleting(p->pod) || pod_is_over(p->pod)           ? HPA_IGNORED
                   : str_eqz(phase, "Pending")                           ? HPA_UNREADY
                   : !p->known                                           ? HPA_MISSING
                   : str_eqz(c->resource, "cpu") && pod_is_unready(c, p) ? HPA_UNREADY
                                                                         : HPA_COUNTED;
        if (p->group == HPA_IGNORED || p->group == HPA_UNREADY)
            p->known = false;
    }
}

static size_t pods_of(const struct hpa_count *c, int group)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        n += (int)c->pods[i].group == group;
    return n;
}

static size_t pods_known(const struct hpa_count *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        n += c->pods[i].known;
    return n;
}

/* --- what they request --- */

static bool container_adds(const struct hpa_count *c, struct hpa_pod *p, const struct val *container, struct err *err)
{
    struct str name = val_text_at(container, N(name));
    const struct val *request = val_get_str(val_at(container, N(resources), N(requests)), c->resource);
    if (c->container.n && !str_eq(c->container, name))
        return true;
    if (!request)
        return err_set(err, E_INVALID, "missing request for " STR_FMT " in container " STR_FMT " of Pod " STR_FMT,
                       STR_ARG(c->resource), STR_ARG(name), STR_ARG(p->pod->name));
    p->request = hpa_milli_add(p->request, quantity_milli(val_text(request)));
    return true;
}

static bool pod_requests(const struct hpa_count *c, struct hpa_pod *p, struct err *err)
{
    const struct val *spec = obj_spec(p->pod);
    const struct val *whole = val_get_str(val_at(spec, N(resources), N(requests)), c->resource);
    p->request = 0;
    if (whole && !c->container.n) {
        p->request = quantity_milli(val_text(whole));
        return true;
    }
    val_each_item (it, val_get(spec, N(containers)))
        if (!container_adds(c, p, it, err))
            return false;
    val_each_item (it, val_get(spec, N(initContainers)))
        if (str_eqz(val_text_at(it, N(restartPolicy)), "Always") && !container_adds(c, p, it, err))
            return false;
    return true;
}

static bool pods_request(struct hpa_count *c, struct err *err)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->pods[i].group != HPA_IGNORED && !pod_requests(c, &c->pods[i], err))
            return false;
    return true;
}

/* --- the number --- */

static bool ratio_of(const struct hpa_count *c, double *ratio, int64_t *percent, int64_t *milli, struct err *err)
{
    __int128 used = 0, wanted = 0;
    int64_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        const struct hpa_pod *p = &c->pods[i];
        used += p->known ? p->milli : 0;
        wanted += p->known ? p->request : 0;
        n += p->known;
    }
    if (c->utilization && wanted == 0)
        return err_set(err, E_INVALID, "no metrics returned matched known pods");
    __int128 share = c->utilization ? used * 100 / wanted : 0;
    *milli = (int64_t)(used / MAX(n, 1));
    *percent = (int64_t)MAX(-INT32_MAX, MIN(share, INT32_MAX)); /* as much as the status holds */
    *ratio = (double)(c->utilization ? *percent : *milli) / (double)c->target;
    return true;
}

static int64_t request_share(int64_t request, int64_t percent)
{
    __int128 n = (__int128)request * percent / 100;
    return (int64_t)MIN(n, INT64_MAX);
}

/* Those of which nothing is known count so that they hold the change back. */
static void gaps_fill(struct hpa_count *c, double ratio)
{
    for (size_t i = 0; i < c->n; i++) {
        struct hpa_pod *p = &c->pods[i];
        bool missing = p->group == HPA_MISSING, up = ratio > 1.0;
        int64_t busy = c->utilization ? request_share(p->request, MAX(100, c->target)) : c->target;
        if (missing && ratio < 1.0)
            p->milli = busy, p->known = true;
        else if ((missing && (up || !c->utilization)) || (p->group == HPA_UNREADY && up))
            p->milli = 0, p->known = true;
    }
}

bool hpa_count_pods(struct hpa_count *c, struct err *err)
{
    double ratio, again;
    int64_t percent, milli; /* what is told is the use of those who are heard of */
    if (c->n == 0)
        return err_set(err, E_INVALID, "no pods returned by selector while calculating replica count");
    pods_group(c);
    if (!pods_known(c))
        return err_set(err, E_INVALID, "did not receive metrics for targeted pods (pods might be unready)");
    if ((c->utilization && !pods_request(c, err)) || !ratio_of(c, &ratio, &c->percent, &c->milli, err))
        return false;
    c->replicas = c->current;
    bool with_unready = pods_of(c, HPA_UNREADY) > 0 && ratio > 1.0;
    if (!with_unready && !pods_of(c, HPA_MISSING)) {
        if (!is_within(c, ratio))
            c->replicas = replicas_of(ratio * (double)pods_of(c, HPA_COUNTED));
        return true;
    }
    gaps_fill(c, ratio);
    if (!ratio_of(c, &again, &percent, &milli, err))
        return false;
    int64_t n = replicas_of(again * (double)pods_known(c));
    bool turned = (ratio < 1.0 && again > 1.0) || (ratio > 1.0 && again < 1.0) || (again < 1.0 && n > c->current) ||
                  (again > 1.0 && n < c->current);
    if (!is_within(c, again) && !turned)
        c->replicas = n;
    return true;
}

bool hpa_count_value(struct hpa_count *c, int64_t value, struct err *err)
{
    double ratio = (double)value / (double)c->target;
    size_t ready = 0;
    c->milli = value;
    c->replicas = c->current;
    if (c->current == 0) { /* from nothing: the ratio alone says how many */
        c->replicas = replicas_of(ratio);
        return true;
    }
    if (is_within(c, ratio))
        return true;
    if (c->n == 0)
        return err_set(
            err, E_INVALID,
            "unable to calculate ready pods: no pods returned by selector while calculating replica count");
    for (size_t i = 0; i < c->n; i++)
        ready += str_eqz(val_text_at(obj_status(c->pods[i].pod), N(phase)), "Running") &&
                 pod_is_ready(c->pods[i].pod);
    c->replicas = replicas_of(ratio * (double)ready);
    return true;
}

void hpa_count_average(struct hpa_count *c, int64_t value, int64_t status_replicas)
{
    double each = (double)c->target;
    c->replicas = status_replicas;
    if (status_replicas == 0 || !is_within(c, (double)value / (each * (double)status_replicas)))
        c->replicas = replicas_of((double)value / each);
    c->milli = status_replicas ? round_up((double)value / (double)status_replicas) : value;
}
