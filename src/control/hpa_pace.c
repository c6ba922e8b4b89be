/* How fast: what the metrics wish is bound by windows (the highest of recent wishes when there are to be fewer, the
 * lowest when more), by policies (so many pods or percent in so many seconds) and by minReplicas and maxReplicas.
 *
 * What was wished and changed lately is remembered in this process alone, as upstream's controller does: it would be
 * a write at every look otherwise. After a restart the number of now is taken for what was wished (so a window begins
 * anew, and nobody is scaled down because a server was updated). How much was changed before it is not known, only
 * when (status.lastScaleTime): a policy whose period reaches back so far lets nothing through until it is over, so
 * that no more is changed in any period than the behavior allows. */
#include "control/hpa_int.h"
#include "control/pods.h"

#define UNKNOWN (-1)
#define EARLY                                                                                                        \
    (NS_PER_S / 2) /* two looks are as much less apart than a period, at most: what a period allows comes each */

void hpa_memory_fini(struct hpa_memory *m)
{
    array_fini(&m->wished);
    array_fini(&m->ups);
    array_fini(&m->downs);
}

/* --- what is remembered --- */

static int64_t text_num(const struct val *v, const char *key)
{
    return val_num(val_get_str(v, str_of(key)), 0);
}

#define NOTES_READ(list, v, key)                                                                                     \
    val_each_item (it, val_get_str(v, S(key)))                                                                       \
    array_push(list, ((struct hpa_noted){text_num(it, "at"), text_num(it, "n")}))

static void memory_make_up(const struct view *v, const struct obj *hpa, int64_t current, struct hpa_memory *m)
{
    const struct val *status = obj_status(hpa);
    int64_t scaled = val_time(val_get(status, N(lastScaleTime)));
    scaled += scaled ? NS_PER_S : 0; /* it is told in whole seconds, rounded down */
    bool looked = condition_get(status, "AbleToScale");
    array_push(&m->wished, ((struct hpa_noted){v->now, current}));
    if (looked && val_num_at(status, current, N(desiredReplicas)) != current)
        scaled = v->now; /* by us, who did not come to write it down, or by somebody else */
    if (!scaled)
        return;
    array_push(&m->ups, ((struct hpa_noted){scaled, UNKNOWN}));
    array_push(&m->downs, ((struct hpa_noted){scaled, UNKNOWN}));
}

void hpa_memory_read(const struct view *v, const struct obj *hpa, int64_t current, struct hpa_memory *m)
{
    const struct val *was = v->memory;
    *m = (struct hpa_memory){0};
    if (!was || !str_eq(val_text(val_get_str(was, S("uid"))), hpa->uid)) {
        memory_make_up(v, hpa, current, m);
        return;
    }
    NOTES_READ(&m->wished, was, "wished");
    NOTES_READ(&m->ups, was, "ups");
    NOTES_READ(&m->downs, was, "downs");
    m->told = text_num(was, "told");
    const struct val *pending = val_get_str(was, S("pending"));
    if (pending) {
        m->pending = true;
        m->from = m->to = (struct hpa_noted){text_num(pending, "at"), text_num(pending, "from")};
        m->to.n = text_num(pending, "to");
        m->reason = val_text(val_get_str(pending, S("reason")));
    }
}

static struct val notes_write(struct arena *a, const struct hpa_noted *p, size_t n)
{
    struct val list = val_list();
    for (size_t i = 0; i < n; i++) {
        struct val one = val_map();
        val_set_str(a, &one, S("at"), val_int(p[i].at));
        val_set_str(a, &one, S("n"), val_int(p[i].n));
        val_add(a, &list, one);
    }
    return list;
}

struct val hpa_memory_write(struct arena *a, const struct obj *hpa, const struct hpa_memory *m)
{
    struct val v = val_map();
    val_set_str(a, &v, S("uid"), val_str(a, hpa->uid));
    val_set_str(a, &v, S("wished"), notes_write(a, m->wished.p, m->wished.n));
    val_set_str(a, &v, S("ups"), notes_write(a, m->ups.p, m->ups.n));
    val_set_str(a, &v, S("downs"), notes_write(a, m->downs.p, m->downs.n));
    if (m->told)
        val_set_str(a, &v, S("told"), val_int(m->told));
    if (m->pending) {
        struct val *p = val_set_str(a, &v, S("pending"), val_map());
        val_set_str(a, p, S("at"), val_int(m->to.at));
        val_set_str(a, p, S("from"), val_int(m->from.n));
        val_set_str(a, p, S("to"), val_int(m->to.n));
        val_set_str(a, p, S("reason"), val_str(a, m->reason));
    }
    return v;
}

/* --- windows --- */

static const struct val *rules_of(const struct hpa_pace *p, bool up)
{
    return up ? val_get(p->behavior, N(scaleUp)) : val_get(p->behavior, N(scaleDown));
}

static int64_t window_of(const struct hpa_pace *p, bool up)
{
    const struct val *s = val_get(rules_of(p, up), N(stabilizationWindowSeconds));
    return s ? val_num(s, 0) * NS_PER_S : up ? 0 : HPA_DOWN_WINDOW;
}

#define NOTES_AGE(list, before)                                                                                      \
    for (size_t i_ = (list)->n; i_-- > 0;)                                                                           \
        if ((list)->p[i_].at < (before))                                                                             \
    array_del(list, i_)

static int64_t longest_period(const struct val *rules)
{
    int64_t longest = 0;
    val_each_item (it, val_get(rules, N(policies)))
        longest = MAX(longest, val_num_at(it, 0, N(periodSeconds)) * NS_PER_S);
    return longest;
}

static void memory_age(const struct hpa_pace *p, struct hpa_memory *m)
{
    int64_t window = MAX(window_of(p, true), window_of(p, false));
    int64_t period = MAX(longest_period(rules_of(p, true)), longest_period(rules_of(p, false)));
    NOTES_AGE(&m->wished, p->now - window);
    NOTES_AGE(&m->ups, p->now - period);
    NOTES_AGE(&m->downs, p->now - period);
}

/* The wish, brought to between the lowest and the highest of those that count. */
static int64_t wish_stabilize(struct hpa_pace *p, const struct hpa_memory *m, int64_t wish)
{
    int64_t low = wish, high = wish, up = p->now - window_of(p, true), down = p->now - window_of(p, false);
    array_each (it, &m->wished) {
        low = it->at > up ? MIN(low, it->n) : low;
        high = it->at > down || (!p->behavior && it->at == down) ? MAX(high, it->n) : high;
    }
    int64_t n = p->behavior ? MIN(MAX(p->current, low), high) : high;
    bool rising = p->behavior && wish >= p->current;
    p->stabilized = n != wish;
    p->stable_reason = !p->stabilized ? "ReadyForNewScale" : rising ? "ScaleUpStabilized" : "ScaleDownStabilized";
    p->stable_message = !p->stabilized ? "recommended size matches current size"
                        : rising ? "recent recommendations were lower than current one, applying the lowest recent "
                                   "recommendation"
                                 : "recent recommendations were higher than current one, applying the highest recent "
                                   "recommendation";
    return n;
}

/* --- policies --- */

/* By how much it was changed within the period; *unknown: that is not known. */
static int64_t changed_within(const struct hpa_noted *p, size_t n, int64_t since, bool *unknown)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        if (p[i].at > since) {
            sum += MAX(p[i].n, 0);
            *unknown |= p[i].n == UNKNOWN;
        }
    return sum;
}

/* Where this policy lets it go, at most or at least. */
static int64_t policy_bound(const struct hpa_pace *p, const struct hpa_memory *m, const struct val *policy, bool up)
{
    bool unknown = false;
    int64_t period = val_num_at(policy, 0, N(periodSeconds)) * NS_PER_S;
    int64_t since = p->now - period + MIN(EARLY, period / 8);
    int64_t value = val_num_at(policy, 0, N(value));
    int64_t began = p->current - changed_within(m->ups.p, m->ups.n, since, &unknown) +
                    changed_within(m->downs.p, m->downs.n, since, &unknown);
    if (unknown)
        return p->current;
    if (!str_eqz(val_text_at(policy, N(type)), "Percent"))
        return up ? began + value : began - value;
    double share = (double)began * (up ? 1 + (double)value / 100 : 1 - (double)value / 100);
    int64_t whole = share < (double)INT32_MAX ? (int64_t)share : INT32_MAX;
    return whole + (up && share > (double)whole);
}

static int64_t policies_bound(const struct hpa_pace *p, const struct hpa_memory *m, bool up)
{
    const struct val *rules = rules_of(p, up);
    struct str select = val_text_at(rules, N(selectPolicy));
    bool most = up != str_eqz(select, "Min"); /* of the bounds: the highest one counts */
    int64_t bound = most ? INT32_MIN : INT32_MAX;
    if (str_eqz(select, "Disabled"))
        return p->current;
    val_each_item (it, val_get(rules, N(policies))) {
        int64_t one = policy_bound(p, m, it, up);
        bound = most ? MAX(bound, one) : MIN(bound, one);
    }
    return up ? MAX(bound, p->current) : MIN(bound, p->current);
}

static int64_t pace_limit(struct hpa_pace *p, int64_t n, const char *reason, const char *message)
{
    p->limited = true;
    p->limit_reason = reason;
    p->limit_message = message;
    return n;
}

#define TOO_MANY "TooManyReplicas", "the desired replica count is more than the maximum replica count"
#define TOO_FEW  "TooFewReplicas", "the desired replica count is less than the minimum replica count"
#define TOO_FAST "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate"
#define TOO_SLOW "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate"

static int64_t pace_by_policies(struct hpa_pace *p, const struct hpa_memory *m, int64_t n)
{
    bool up = n > p->current;
    if (n == p->current)
        return n;
    int64_t bound = policies_bound(p, m, up);
    if (up && n > MIN(p->most, bound)) {
        if (p->most <= bound)
            return pace_limit(p, p->most, TOO_MANY);
        return pace_limit(p, bound, TOO_FAST);
    }
    if (!up && n < MAX(p->least, bound)) {
        if (p->least >= bound)
            return pace_limit(p, p->least, TOO_FEW);
        return pace_limit(p, bound, TOO_SLOW);
    }
    return n;
}

/* Without a behavior: at most twice as many, or four. */
static int64_t pace_plainly(struct hpa_pace *p, int64_t n)
{
    int64_t bound = MAX(2 * p->current, 4);
    if (n < p->least)
        return pace_limit(p, p->least, TOO_FEW);
    if (n > MIN(p->most, bound))
        return p->most > bound ? pace_limit(p, bound, TOO_FAST) : pace_limit(p, p->most, TOO_MANY);
    return n;
}

int64_t hpa_pace(struct hpa_pace *p, struct hpa_memory *m, int64_t wish)
{
    p->limit_reason = "DesiredWithinRange";
    p->limit_message = "the desired count is within the acceptable range";
    memory_age(p, m);
    int64_t n = wish_stabilize(p, m, wish);
    array_push(&m->wished, ((struct hpa_noted){p->now, wish}));
    return p->behavior ? pace_by_policies(p, m, n) : pace_plainly(p, n);
}
