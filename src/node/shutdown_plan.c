#include "node/shutdown_plan.h"

static bool add_group(struct shutdown_rules *r, struct str part, struct err *err)
{
    struct shutdown_group g;
    struct str priority, period;
    if (!str_split(part, '=', &priority, &period) || !str_to_i64(priority, INT32_MIN, INT32_MAX, &g.priority) ||
        !str_to_i64(period, 0, SHUTDOWN_PERIOD_MOST, &g.period_s))
        return err_set(err, E_INVALID, "\"" STR_FMT "\": it is PRIORITY=SECONDS, of at most a day", STR_ARG(part));
    if (r->n == SHUTDOWN_GROUPS_MOST)
        return err_set(err, E_INVALID, "more than %d ranges", SHUTDOWN_GROUPS_MOST);
    size_t at = r->n;
    while (at > 0 && r->groups[at - 1].priority > g.priority)
        at--;
    if (at > 0 && r->groups[at - 1].priority == g.priority)
        return err_set(err, E_INVALID, "priority %lld stands there twice", (long long)g.priority);
    memmove(&r->groups[at + 1], &r->groups[at], (r->n - at) * sizeof g);
    r->groups[at] = g;
    r->n++;
    return true;
}

bool shutdown_rules_read(struct str text, struct shutdown_rules *out, struct err *err)
{
    struct str rest = str_trim(text), part;
    *out = (struct shutdown_rules){.n = 0};
    while (rest.n && str_cut(&rest, ',', &part))
        if (!add_group(out, str_trim(part), err))
            return false;
    return true;
}

size_t shutdown_group_of(const struct shutdown_rules *r, int64_t priority)
{
    size_t at = 0;
    while (at + 1 < r->n && r->groups[at + 1].priority <= priority)
        at++;
    return at;
}

int64_t shutdown_longest_s(const struct shutdown_rules *r)
{
    int64_t sum = 0;
    for (size_t i = 0; i < r->n; i++)
        sum += r->groups[i].period_s;
    return sum;
}

int64_t shutdown_grace_s(const struct shutdown_rules *r, int64_t priority, int64_t own_s)
{
    return MIN(own_s, r->groups[shutdown_group_of(r, priority)].period_s);
}
