#include "api/placement.h"
#include "api/quantity.h"
#include "control/pods.h"
#include "control/sched.h"

void sched_init(struct sched *s)
{
    static const char *const first[] = {"cpu", "memory", "ephemeral-storage", "pods"};
    *s = (struct sched){0};
    for (; s->nresources < countof(first); s->nresources++)
        map_put(&s->resources, str_of(first[s->nresources]), (void *)(intptr_t)(s->nresources + 1));
}

static void node_free(struct sched_node *n)
{
    obj_unref(n->obj);
    array_fini(&n->pods);
    mem_free(n->name);
    mem_free(n);
}

void sched_fini(struct sched *s)
{
    map_each (it, &s->pods) {
        struct sched_pod *p = it->value;
        arena_fini(&p->arena);
        obj_unref(p->obj);
        mem_free(p);
    }
    map_each (it, &s->nodes)
        node_free(it->value);
    map_fini(&s->pods);
    map_fini(&s->nodes);
    map_fini(&s->resources);
}

/* -1: too many names. */
static int resource_id(struct sched *s, struct str name)
{
    intptr_t id = (intptr_t)map_get(&s->resources, name);
    if (id > 0)
        return (int)id - 1;
    if (s->nresources == SCHED_RESOURCES)
        return -1;
    map_put(&s->resources, name, (void *)(intptr_t)(s->nresources + 1));
    return (int)s->nresources++;
}

static void amounts_add(struct sched *s, int64_t *to, const struct val *map)
{
    val_each_member (it, map) {
        int id = resource_id(s, it->name->s);
        if (id >= 0)
            to[id] += id == RES_CPU ? quantity_milli(val_text(&it->v)) : quantity_value(val_text(&it->v));
    }
}

static void names_add(struct sched *s, const struct val *amounts, bool *asked)
{
    val_each_member (it, amounts) {
        int id = resource_id(s, it->name->s);
        if (id >= 0)
            asked[id] = true;
    }
}

void sched_requests(struct sched *s, const struct obj *pod, int64_t *ask)
{
    static const struct name *const lists[] = {N(containers), N(initContainers)};
    const struct val *spec = obj_spec(pod);
    bool asked[SCHED_RESOURCES] = {0};
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(spec, lists[i]))
            names_add(s, val_at(c, N(resources), N(requests)), asked);
    names_add(s, val_at(spec, N(resources), N(requests)), asked);
    names_add(s, val_get(spec, N(overhead)), asked);
    memset(ask, 0, SCHED_RESOURCES * sizeof *ask);
    map_each (it, &s->resources) {
        size_t id = (size_t)(intptr_t)it->value - 1;
        if (asked[id])
            ask[id] = pod_request(pod, it->key);
    }
    ask[RES_PODS] = 1;
}

static void asked_add(struct sched_node *n, const struct obj *pod, int64_t sign)
{
    val_each_item (c, val_get(obj_spec(pod), N(containers))) {
        const struct val *r = val_at(c, N(resources), N(requests));
        const struct val *cpu = val_get_str(r, S("cpu")), *memory = val_get_str(r, S("memory"));
        n->asked[0] += sign * (cpu ? quantity_milli(val_text(cpu)) : 100);
        n->asked[1] += sign * (memory ? quantity_value(val_text(memory)) : 200 * 1024 * 1024);
    }
}

static struct sched_node *node_need(struct sched *s, struct str name)
{
    struct sched_node *n = map_get(&s->nodes, name);
    if (!n) {
        n = NEW(struct sched_node);
        n->name = str_dupz(name);
        map_put(&s->nodes, name, n);
    }
    return n;
}

static void node_settle(struct sched *s, struct sched_node *n)
{
    if (n->obj || n->pods.n > 0)
        return;
    map_del(&s->nodes, str_of(n->name));
    node_free(n);
}

void sched_node_set(struct sched *s, struct obj *now)
{
    struct sched_node *n = node_need(s, now->name);
    s->nnodes += !n->obj;
    obj_ref(now);
    obj_unref(n->obj);
    n->obj = now;
    memset(n->allocatable, 0, sizeof n->allocatable);
    amounts_add(s, n->allocatable, val_get(obj_status(now), N(allocatable)));
}

void sched_node_del(struct sched *s, struct str name)
{
    struct sched_node *n = map_get(&s->nodes, name);
    if (!n || !n->obj)
        return;
    obj_unref(n->obj);
    n->obj = NULL;
    s->nnodes--;
    node_settle(s, n);
}

static void pod_count(struct sched *s, struct sched_pod *p, int64_t sign)
{
    int64_t ask[SCHED_RESOURCES];
    sched_requests(s, p->obj, ask);
    for (int i = 0; i < SCHED_RESOURCES; i++)
        p->node->requested[i] += sign * ask[i];
    asked_add(p->node, p->obj, sign);
    if (pod_has_host_port(p->obj))
        p->node->ports += (size_t)sign;
    if (p->anti)
        s->nanti += (size_t)sign;
}

static void pod_forget(struct sched *s, struct sched_pod *p)
{
    pod_count(s, p, -1);
    for (size_t i = 0; i < p->node->pods.n; i++)
        if (p->node->pods.p[i] == p) {
            p->node->pods.p[i] = array_pop(&p->node->pods);
            break;
        }
    node_settle(s, p->node);
    arena_fini(&p->arena);
    obj_unref(p->obj);
    mem_free(p);
}

void sched_pod_set(struct sched *s, struct str ns, struct str name, struct obj *now, struct str node)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    struct str key = objset_key(&text, ns, name);
    struct sched_pod *p = map_get(&s->pods, key);
    bool there = now && node.n > 0 && !pod_is_over(now);
    if (p && there && str_eqz(node, p->node->name) && str_eq(p->obj->uid, now->uid) &&
        val_equal(obj_spec(p->obj), obj_spec(now)) && val_equal(obj_labels(p->obj), obj_labels(now))) {
        obj_ref(now);
        obj_unref(p->obj);
        p->obj = now;
        return;
    }
    if (p) {
        map_del(&s->pods, key);
        pod_forget(s, p);
    }
    if (!there)
        return;
    p = NEW(struct sched_pod);
    p->obj = obj_ref(now);
    p->node = node_need(s, node);
    p->anti = val_len(val_at(obj_spec(now), N(affinity), N(podAntiAffinity),
                             N(requiredDuringSchedulingIgnoredDuringExecution))) > 0;
    if (p->anti)
        sched_terms_keep(p);
    array_push(&p->node->pods, p);
    pod_count(s, p, 1);
    map_put(&s->pods, key, p);
}
