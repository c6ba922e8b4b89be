/* What the plan of load balancers writes down: annotations and finalizer of a Service first, then, when that is seen,
 * its status with the conditions, and the event of it; and the status of pools. */
#include "control/loadbalancer_int.h"

#define MOST_AT_ONCE 500 /* writes of one plan; the rest follows when they are seen */

/* The annotations and the finalizer; false: they are right. */
static bool meta_plan(struct balancers *x, const struct balancer *b)
{
    struct val tree = plan_edit(x->out, b->svc);
    struct val *meta = val_need_map(x->a, &tree, N(metadata));
    const struct val *finalizers = val_get(meta, N(finalizers));
    if (!val_has_text(finalizers, S(BALANCER_FINALIZER))) {
        struct val list = finalizers ? *finalizers : val_list();
        val_add(x->a, &list, val_str_borrowed(S(BALANCER_FINALIZER)));
        val_set(x->a, meta, N(finalizers), list);
    }
    if (b->ip) {
        struct val *notes = val_need_map(x->a, meta, N(annotations));
        val_set_str(x->a, notes, S(BALANCER_ADDRESS), val_str(x->a, address_text(x->a, b->ip)));
        if (b->pool)
            val_set_str(x->a, notes, S(BALANCER_POOL), val_str(x->a, b->pool->obj->name));
    } else if (b->nodes) {
        struct val *notes = val_get_mut(meta, N(annotations));
        if (notes && val_is(notes, VAL_MAP)) {
            (void)val_del_str(notes, S(BALANCER_ADDRESS));
            (void)val_del_str(notes, S(BALANCER_POOL));
        }
    }
    return plan_update(x->out, b->svc, S(""), tree) != NULL;
}

static struct val with_condition(struct balancers *x, const struct val *status, const char *type, bool is,
                                 const char *reason, struct str message)
{
    const struct val *was = condition_get(status, type);
    const struct condition c = {.type = type, .status = is ? "True" : "False", .reason = reason, .message = message};
    if (was && str_eqz(val_text_at(was, N(status)), c.status) && str_eqz(val_text_at(was, N(reason)), reason) &&
        str_eq(val_text_at(was, N(message)), message))
        return val_copy(x->a, val_get(status, N(conditions)));
    return conditions_with(x->a, status, &c, x->v->now);
}

static void announced_set(struct balancers *x, const struct balancer *b, struct val *status)
{
    const struct val *was = condition_get(status, CONDITION_ANNOUNCED);
    const struct balancer *first = holders_of(x, b->ip)->list.p[0];
    struct str now = STR_NONE, interfaces, why, rest;
    (void)str_split(val_text_at(condition_get(obj_status(first->svc), CONDITION_ANNOUNCED), N(message)), ' ', &now,
                    &rest);
    struct str node = announcer_of(x->v, x->a, first->svc, b->pool, b->ip, now, &interfaces, &why);
    if (!node.n && now.n && str_eqz(val_text_at(was, N(status)), "True") && nodes_are_away(x->v, now))
        return;
    conditions_set(x->a, status,
                   node.n ? with_condition(x, status, CONDITION_ANNOUNCED, true, why.n ? "NoSubnet" : "ByNode",
                                           arena_fmt(x->a, STR_FMT " answers on " STR_FMT "%s" STR_FMT, STR_ARG(node),
                                                     STR_ARG(interfaces.n ? interfaces : S("all-interfaces")),
                                                     why.n ? "; " : "", STR_ARG(why)))
                          : with_condition(x, status, CONDITION_ANNOUNCED, false, "NoNode", why));
}

static void event_plan(struct balancers *x, const struct balancer *b, struct action *act)
{
    const struct val *was = condition_get(obj_status(b->svc), CONDITION_ASSIGNED);
    bool same = str_eqz(val_text_at(was, N(reason)), b->reason) && str_eq(val_text_at(was, N(message)), b->message);
    struct str had = val_text_at(val_item(val_at(obj_status(b->svc), N(loadBalancer), N(ingress)), 0), N(ip));
    struct str has = val_text_at(val_item(&b->ingress, 0), N(ip));
    if (b->failed && !same)
        act->done = plan_event_of(x->out, b->svc, "Warning", "AllocationFailed",
                                  "Failed to allocate IP for \"" STR_FMT "/" STR_FMT "\": " STR_FMT,
                                  STR_ARG(b->svc->ns), STR_ARG(b->svc->name), STR_ARG(b->message));
    else if (!b->failed && !str_eq(had, has))
        act->done = plan_event_of(x->out, b->svc, "Normal", "IPAllocated", "Assigned IP [\"" STR_FMT "\"]%s",
                                  STR_ARG(has), b->nodes ? " of the nodes" : "");
    else if (!same && strcmp(b->reason, "PoolGone") == 0)
        act->done = plan_event_of(x->out, b->svc, "Warning", "PoolGone", STR_FMT, STR_ARG(b->message));
}

static void status_plan(struct balancers *x, const struct balancer *b)
{
    struct val tree = plan_edit_status(x->out, b->svc);
    struct val *status = val_need_map(x->a, &tree, N(status));
    struct val *lb = val_need_map(x->a, status, N(loadBalancer));
    if (b->ingress.n)
        val_set(x->a, lb, N(ingress), b->ingress);
    else
        val_del(lb, N(ingress));
    conditions_set(x->a, status,
                   with_condition(x, status, CONDITION_ASSIGNED, b->ingress.n > 0, b->reason, b->message));
    if (b->ip)
        announced_set(x, b, status);
    else
        conditions_set(x->a, status, conditions_without(x->a, status, CONDITION_ANNOUNCED));
    struct action *act = plan_update(x->out, b->svc, S("status"), tree);
    if (act)
        event_plan(x, b, act);
}

void balancer_write(struct balancers *x, const struct balancer *b)
{
    if (x->writes >= MOST_AT_ONCE)
        return;
    size_t before = x->out->actions.n;
    if (!meta_plan(x, b))
        status_plan(x, b);
    x->writes += x->out->actions.n - before;
}

/* It ends, or is another's now: what was written goes, the finalizer last. */
void balancer_release(struct balancers *x, const struct obj *svc)
{
    struct val tree = plan_edit(x->out, svc);
    struct val *meta = val_need_map(x->a, &tree, N(metadata)), *list = val_get_mut(meta, N(finalizers));
    const struct val *lb = val_at(obj_status(svc), N(loadBalancer), N(ingress));
    if (!obj_deleting(svc) &&
        (condition_get(obj_status(svc), CONDITION_ASSIGNED) || condition_get(obj_status(svc), CONDITION_ANNOUNCED))) {
        struct val to = plan_edit_status(x->out, svc);
        struct val *status = val_need_map(x->a, &to, N(status));
        if (lb)
            val_del(val_need_map(x->a, status, N(loadBalancer)), N(ingress));
        conditions_set(x->a, status, conditions_without(x->a, status, CONDITION_ASSIGNED));
        conditions_set(x->a, status, conditions_without(x->a, status, CONDITION_ANNOUNCED));
        plan_update(x->out, svc, S("status"), to);
        return;
    }
    for (size_t i = 0; i < val_len(list); i++)
        if (str_eqz(val_text(val_item(list, i)), BALANCER_FINALIZER))
            val_del_item(list, i--);
    if (list && !val_len(list))
        val_del(meta, N(finalizers));
    struct val *notes = val_get_mut(meta, N(annotations));
    if (notes && val_is(notes, VAL_MAP)) {
        (void)val_del_str(notes, S(BALANCER_ADDRESS));
        (void)val_del_str(notes, S(BALANCER_POOL));
        if (!val_len(notes))
            val_del(meta, N(annotations));
    }
    plan_update(x->out, svc, S(""), tree);
}

/* --- pools' status --- */

void pool_status_write(struct balancers *x, const struct balancer_pool *p)
{
    struct val tree = plan_edit_status(x->out, p->obj);
    struct val *status = val_need_map(x->a, &tree, N(status));
    uint64_t size = balancer_pool_size(p);
    struct str bad = p->bad;
    array_each (r, &p->ranges)
        array_each (t, &x->taboo)
            if (!bad.n && t->to != t->from && r->from <= t->to && t->from <= r->to)
                bad = arena_fmt(x->a,
                                "addresses from " STR_FMT " to " STR_FMT " are the cluster's own and are left out",
                                STR_ARG(address_text(x->a, MAX(r->from, t->from))),
                                STR_ARG(address_text(x->a, MIN(r->to, t->to))));
    const struct condition c = {.type = "Ready",
                                .status = bad.n ? "False" : "True",
                                .reason = bad.n ? "BadAddresses" : "Serving",
                                .message = bad,
                                .observed = OBSERVED,
                                .generation = obj_generation(p->obj)};
    val_set_str(x->a, status, S("assigned"), val_int(p->assigned));
    val_set_str(x->a, status, S("available"), val_int((int64_t)(size - MIN(size, p->assigned))));
    const struct val *was = condition_get(status, c.type);
    if (!was || !str_eqz(val_text_at(was, N(status)), c.status) || !str_eq(val_text_at(was, N(message)), bad) ||
        val_num_at(was, 0, N(observedGeneration)) != c.generation)
        conditions_set(x->a, status, conditions_with(x->a, status, &c, x->v->now));
    plan_update(x->out, p->obj, S("status"), tree);
}
