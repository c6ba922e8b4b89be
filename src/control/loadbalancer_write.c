/* What the plan of load balancers writes down: annotations and finalizer of a Service first, then, when that is seen,
 * its status with the conditions, and the event of it; and the status of pools. */
#include "control/loadbalancer_int.h"

#define MOST_AT_ONCE 500 /* writes of one plan; the rest follows when they are seen */

/* Most plans change one Service of many: what is right already is not even copied. */
static bool meta_is_right(struct balancers *x, const struct balancer *b)
{
    if (!val_has_text(val_get(obj_meta(b->svc), N(finalizers)), S(BALANCER_FINALIZER)))
        return false;
    if (b->ip)
        return str_eq(obj_note(b->svc, BALANCER_ADDRESS), address_text(x->a, b->ip)) &&
               (!b->pool || str_eq(obj_note(b->svc, BALANCER_POOL), b->pool->obj->name));
    return !b->nodes || (!obj_has_note(b->svc, BALANCER_ADDRESS) && !obj_has_note(b->svc, BALANCER_POOL));
}

static void meta_plan(struct balancers *x, const struct balancer *b)
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
    plan_update(x->out, b->svc, S(""), tree);
}

/* What a condition is to say; reason NULL: it is not to be there. */
struct said {
    const char *type, *reason;
    bool is;
    struct str message;
};

static bool is_said(const struct val *status, const struct said *c)
{
    const struct val *was = condition_get(status, c->type);
    if (!c->reason || !was)
        return !c->reason && !was;
    return str_eqz(val_text_at(was, N(status)), c->is ? "True" : "False") &&
           str_eqz(val_text_at(was, N(reason)), c->reason) && str_eq(val_text_at(was, N(message)), c->message);
}

static void condition_say(struct balancers *x, struct val *status, const struct said *c)
{
    const struct condition now = {
        .type = c->type, .status = c->is ? "True" : "False", .reason = c->reason, .message = c->message};
    if (is_said(status, c))
        return;
    conditions_set(x->a, status,
                   c->reason ? conditions_with(x->a, status, &now, x->v->now)
                             : conditions_without(x->a, status, c->type));
}

static struct said announced_say(struct balancers *x, const struct balancer *b)
{
    struct said c = {.type = CONDITION_ANNOUNCED};
    if (!b->ip)
        return c;
    const struct val *was = condition_get(obj_status(b->svc), c.type);
    const struct balancer *first = holders_of(x, b->ip)->list.p[0];
    struct str now = STR_NONE, interfaces, why, rest;
    (void)str_split(val_text_at(condition_get(obj_status(first->svc), c.type), N(message)), ' ', &now, &rest);
    struct str node = announcer_of(x->v, x->a, first->svc, b->pool, b->ip, now, &interfaces, &why);
    c.is = node.n > 0;
    c.reason = node.n ? (why.n ? "NoSubnet" : "ByNode") : "NoNode";
    c.message = node.n ? arena_fmt(x->a, STR_FMT " answers on " STR_FMT "%s" STR_FMT, STR_ARG(node),
                                   STR_ARG(interfaces.n ? interfaces : S("all-interfaces")), why.n ? "; " : "",
                                   STR_ARG(why))
                       : why;
    if (!node.n && now.n && str_eqz(val_text_at(was, N(status)), "True") && nodes_are_away(x->v, now)) {
        c.is = true;
        c.reason = arena_strz(x->a, val_text_at(was, N(reason)));
        c.message = val_text_at(was, N(message));
    }
    return c;
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
    const struct val *had = obj_status(b->svc), *ingress = val_at(had, N(loadBalancer), N(ingress));
    const struct said assigned = {CONDITION_ASSIGNED, b->reason, b->ingress.n > 0, b->message},
                      announced = announced_say(x, b);
    bool same = b->ingress.n ? val_equal(ingress, &b->ingress) : val_len(ingress) == 0;
    if (same && is_said(had, &assigned) && is_said(had, &announced))
        return;
    struct val tree = plan_edit_status(x->out, b->svc);
    struct val *status = val_need_map(x->a, &tree, N(status));
    struct val *lb = val_need_map(x->a, status, N(loadBalancer));
    if (b->ingress.n)
        val_set(x->a, lb, N(ingress), b->ingress);
    else
        val_del(lb, N(ingress));
    condition_say(x, status, &assigned);
    condition_say(x, status, &announced);
    struct action *act = plan_update(x->out, b->svc, S("status"), tree);
    if (act)
        event_plan(x, b, act);
}

void balancer_write(struct balancers *x, const struct balancer *b)
{
    if (x->writes >= MOST_AT_ONCE)
        return;
    size_t before = x->out->actions.n;
    if (meta_is_right(x, b))
        status_plan(x, b);
    else
        meta_plan(x, b);
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
