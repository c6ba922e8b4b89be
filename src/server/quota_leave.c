/* Pods that are being deleted, of namespaces with quotas: one whose node does not answer may stay for long, and past
 * its time it uses nothing. */
#include "server/quota_int.h"

/* A pod that is being deleted, of a namespace with quotas: past its time it uses nothing. */
struct pod_leaving {
    struct heap_node node;
    int64_t at; /* clock_real */
    bool over;
    struct obj *pod;
};

static bool leaves_before(const struct heap_node *a, const struct heap_node *b)
{
    return container_of(a, struct pod_leaving, node)->at < container_of(b, struct pod_leaving, node)->at;
}

static void leaving_arm(struct quotas *all)
{
    struct heap_node *top = heap_top(&all->leaves);
    if (top)
        timer_set(&all->leave, MAX(container_of(top, struct pod_leaving, node)->at - clock_real(), 0) + NS_PER_MS);
    else
        timer_stop(&all->leave);
}

/* Whether it is past its time; until then it is looked at again. o NULL: it is gone, or not known any more. */
bool leaving_note(struct quotas *all, struct str name, struct obj *o)
{
    struct pod_leaving *l = map_get(&all->leaving, name);
    const struct val *grace = o ? val_get(obj_meta(o), N(deletionGracePeriodSeconds)) : NULL;
    int64_t at = 0;
    bool leaves = grace && time_parse(val_text_at(obj_meta(o), N(deletionTimestamp)), &at);
    at += leaves ? val_num(grace, 0) * NS_PER_S : 0;
    if (l) {
        heap_del(&all->leaves, &l->node);
        obj_unref(TAKE(l->pod));
    }
    if (!leaves) {
        mem_free(map_del(&all->leaving, name));
        leaving_arm(all);
        return false;
    }
    if (!l) {
        l = NEW(struct pod_leaving);
        (void)map_put(&all->leaving, name, l);
    }
    l->pod = obj_ref(o);
    l->at = at;
    l->over = at <= clock_real();
    if (!l->over)
        heap_add(&all->leaves, &l->node);
    leaving_arm(all);
    return l->over;
}

bool leaving_over(const struct quotas *all, struct str name)
{
    const struct pod_leaving *l = map_get(&all->leaving, name);
    return l && l->over;
}

static void pods_left(struct timer *t)
{
    struct quotas *all = container_of(t, struct quotas, leave);
    AUTO(arena_fini) struct arena a = ARENA;
    if (all->counting) { /* which rests on who is past his time */
        timer_set(t, RELEASE_AFTER);
        return;
    }
    for (struct heap_node *top; (top = heap_top(&all->leaves));) {
        struct pod_leaving *l = container_of(top, struct pod_leaving, node);
        const struct quota_space *space = space_of(all, l->pod->ns);
        struct quota_move s = {.resource = S("pods"), .was = &l->pod->tree, .now = &l->pod->tree, .a = &a};
        if (l->at > clock_real())
            break;
        heap_del(&all->leaves, top);
        l->over = true;
        if (space)
            space_move(all, space, &s, false, true);
    }
    leaving_arm(all);
}

void leaving_init(struct quotas *all)
{
    all->leaves.less = leaves_before;
    timer_init(&all->leave, all->server->loop, pods_left);
}

static void leaving_free(struct pod_leaving *l)
{
    obj_unref(l->pod);
    mem_free(l);
}

void leaving_forget(struct quotas *all, struct str ns)
{
    map_each (it, &all->leaving) {
        struct pod_leaving *l = it->value;
        if (!str_eq(l->pod->ns, ns))
            continue;
        heap_del(&all->leaves, &l->node);
        (void)map_del(&all->leaving, it->key);
        leaving_free(l);
    }
    leaving_arm(all);
}

void leaving_fini(struct quotas *all)
{
    map_each (it, &all->leaving)
        leaving_free(it->value);
    map_fini(&all->leaving);
    heap_fini(&all->leaves);
}
