#include "control/pods.h"
#include "api/strategy.h"

bool pod_is_ready(const struct obj *pod)
{
    return condition_is(obj_status(pod), "Ready", "True");
}

bool pod_is_over(const struct obj *pod)
{
    return pod_has_ended(&pod->tree);
}

bool pod_is_active(const struct obj *pod)
{
    return !pod_is_over(pod) && !obj_deleting(pod);
}

struct str pod_node(const struct obj *pod)
{
    return val_text_at(obj_spec(pod), N(nodeName));
}

bool pod_is_refused_for_good(const struct obj *pod)
{
    return str_eqz(val_text_at(obj_status(pod), N(reason)), "UnsupportedField");
}

int pod_phase_rank(const struct obj *pod)
{
    struct str phase = val_text_at(obj_status(pod), N(phase));
    return str_eqz(phase, "Pending") ? 0 : str_eqz(phase, "Unknown") ? 1 : 2;
}

int64_t pod_restarts(const struct obj *pod)
{
    int64_t most = 0;
    val_each_item (it, val_get(obj_status(pod), N(containerStatuses)))
        most = MAX(most, val_num_at(it, 0, N(restartCount)));
    return most;
}

int64_t val_time(const struct val *v)
{
    int64_t t;
    return val_text(v).n > 0 && time_parse(val_text(v), &t) ? t : 0;
}

int64_t obj_created(const struct obj *o)
{
    return val_time(val_get(obj_meta(o), N(creationTimestamp)));
}

int64_t pod_ready_since(const struct obj *pod)
{
    return pod_is_ready(pod) ? val_time(val_get(condition_get(obj_status(pod), "Ready"), N(lastTransitionTime))) : 0;
}

bool pod_is_available(const struct obj *pod, int64_t min_ready_s, int64_t now, int64_t *at)
{
    if (!pod_is_ready(pod))
        return false;
    int64_t from = pod_ready_since(pod) + ns_of_seconds(min_ready_s);
    if (min_ready_s == 0 || from <= now)
        return true;
    *at = *at ? MIN(*at, from) : from;
    return false;
}

static void keys_orphans(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    if (!obj_controller(o))
        add(arg, o->ns);
}
const struct objindex index_orphans = {"orphans", keys_orphans};

void pod_disrupted(struct arena *a, struct val *status, const struct obj *pod, const char *reason, struct str message,
                   int64_t now)
{
    struct condition c = {.type = "DisruptionTarget",
                          .status = "True",
                          .reason = reason,
                          .message = message,
                          .observed = OBSERVED_OF_POD,
                          .generation = obj_generation(pod)};
    conditions_set(a, status, conditions_with(a, obj_status(pod), &c, now));
}

static struct val owners_patch(struct plan *p, struct val owners)
{
    struct val patch = val_map();
    struct val *meta = val_set(&p->arena, &patch, N(metadata), val_map());
    val_set(&p->arena, meta, N(ownerReferences), owners);
    return patch;
}

struct action *plan_adopt(struct plan *p, const struct obj *child, const struct obj *owner)
{
    const struct val *have = val_get(obj_meta(child), N(ownerReferences));
    struct val owners = have ? val_copy(&p->arena, have) : val_list();
    val_add(&p->arena, &owners, owner_ref(&p->arena, owner));
    struct action *a = plan_patch(p, child, S(""), owners_patch(p, owners));
    a->expect_rev = child->rev;
    return a;
}

struct action *plan_release(struct plan *p, const struct obj *child, const struct obj *owner)
{
    struct val owners = val_list();
    val_each_item (it, val_get(obj_meta(child), N(ownerReferences)))
        if (!str_eq(val_text_at(it, N(uid)), owner->uid))
            val_add(&p->arena, &owners, val_copy(&p->arena, it));
    struct action *a = plan_patch(p, child, S(""), owners_patch(p, owners));
    a->expect_rev = child->rev;
    return a;
}

int64_t int_or_percent(const struct val *v, int64_t total, bool round_up)
{
    if (val_is(v, VAL_INT))
        return val_num(v, 0);
    struct str s = val_text(v);
    int64_t percent;
    if (!str_ends(s, S("%")) || !str_to_i64(str_sub(s, 0, s.n - 1), 0, INT32_MAX, &percent))
        return 0;
    return (percent * total + (round_up ? 99 : 0)) / 100;
}
