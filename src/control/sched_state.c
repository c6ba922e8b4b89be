#include "api/placement.h"
#include "api/quantity.h"
#include "api/usage.h"
#include "control/pods.h"
#include "control/sched_int.h"

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
    array_fini(&n->nominated);
    mem_free(n->name);
    mem_free(n);
}

static void pod_free(struct sched_pod *p)
{
    arena_fini(&p->arena);
    mem_free(p->asks);
    obj_unref(p->obj);
    mem_free(p);
}

void sched_fini(struct sched *s)
{
    map_each (it, &s->pods)
        pod_free(it->value);
    map_each (it, &s->nominated)
        pod_free(it->value);
    map_each (it, &s->nodes)
        node_free(it->value);
    array_fini(&s->ranks);
    map_fini(&s->pods);
    map_fini(&s->nominated);
    map_fini(&s->nodes);
    map_fini(&s->resources);
    struct map *const notes[] = {&s->promised, &s->destined};
    for (size_t i = 0; i < countof(notes); i++) {
        map_each (it, notes[i])
            mem_free(it->value);
        map_fini(notes[i]);
    }
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
            ask[id] = pod_request(pod, it->key, POD_OVERHEAD | POD_STATUS);
    }
    ask[RES_PODS] = 1;
}

bool sched_asks_same(const struct obj *x, const struct obj *y)
{
    static const char *const resized[] = {"cpu", "memory"};
    for (size_t i = 0; i < countof(resized); i++)
        if (pod_request(x, str_of(resized[i]), POD_STATUS) != pod_request(y, str_of(resized[i]), POD_STATUS))
            return false;
    return true;
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
    if (n->obj || n->pods.n + n->nominated.n > 0)
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

static void rank_count(struct sched *s, int64_t priority, bool more)
{
    for (size_t i = 0; i < s->ranks.n; i++) {
        struct sched_rank *r = &s->ranks.p[i];
        if (r->priority != priority)
            continue;
        r->pods += more ? 1 : (size_t)-1;
        if (r->pods == 0)
            *r = array_pop(&s->ranks);
        return;
    }
    array_push(&s->ranks, ((struct sched_rank){.priority = priority, .pods = 1}));
}

static void pod_count(struct sched *s, struct sched_pod *p, int64_t sign)
{
    for (size_t i = 0; i < p->nasks; i++)
        p->node->requested[p->asks[i].id] += sign * p->asks[i].n;
    asked_add(p->node, p->obj, sign);
    if (p->port)
        p->node->ports += (size_t)sign;
    if (p->anti)
        s->nanti += (size_t)sign;
    if (p->sent)
        s->nsent += (size_t)sign;
    rank_count(s, p->priority, sign > 0);
}

static struct sched_pod *pod_new(struct sched *s, struct obj *o, struct sched_node *node)
{
    struct sched_pod *p = NEW(struct sched_pod);
    p->obj = obj_ref(o);
    p->node = node;
    p->priority = val_num_at(obj_spec(o), 0, N(priority));
    p->port = pod_has_host_port(o);
    p->anti = val_len(val_at(obj_spec(o), N(affinity), N(podAntiAffinity),
                             N(requiredDuringSchedulingIgnoredDuringExecution))) > 0;
    if (p->anti)
        sched_terms_keep(p);
    int64_t ask[SCHED_RESOURCES];
    sched_requests(s, o, ask);
    for (int i = 0; i < SCHED_RESOURCES; i++)
        p->nasks += ask[i] != 0;
    p->asks = mem_alloc(p->nasks * sizeof *p->asks);
    for (int i = 0, n = 0; i < SCHED_RESOURCES; i++)
        if (ask[i] != 0)
            p->asks[n++] = (struct sched_amount){.id = i, .n = ask[i]};
    return p;
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
    pod_free(p);
}

void sched_pod_set(struct sched *s, struct str ns, struct str name, struct obj *now, struct str node)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    struct str key = objset_key(&text, ns, name);
    struct sched_pod *p = map_get(&s->pods, key);
    bool there = now && node.n > 0 && !pod_is_over(now);
    if (p && there && str_eqz(node, p->node->name) && str_eq(p->obj->uid, now->uid) &&
        val_equal(obj_spec(p->obj), obj_spec(now)) && val_equal(obj_labels(p->obj), obj_labels(now)) &&
        sched_asks_same(p->obj, now)) {
        p->refused = p->refused && p->obj->rev == now->rev;
        obj_ref(now);
        obj_unref(p->obj);
        p->obj = now;
        return;
    }
    bool sent = p && now && p->sent && str_eq(p->obj->uid, now->uid);
    int64_t sent_rev = p ? p->sent_rev : 0;
    if (p) {
        map_del(&s->pods, key);
        pod_forget(s, p);
    }
    if (!there)
        return;
    p = pod_new(s, now, node_need(s, node));
    p->sent = sent;
    p->sent_rev = sent_rev;
    array_push(&p->node->pods, p);
    pod_count(s, p, 1);
    map_put(&s->pods, key, p);
}

void sched_pod_sent(struct sched *s, const struct obj *pod, int64_t rev)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    struct sched_pod *p = map_get(&s->pods, objset_key_of(&text, pod));
    if (!p || !str_eq(p->obj->uid, pod->uid))
        return;
    s->nsent += !p->sent;
    p->sent = true;
    p->sent_rev = rev;
}

void sched_pod_spared(struct sched *s, const struct obj *pod, bool refused)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    struct sched_pod *p = map_get(&s->pods, objset_key_of(&text, pod));
    if (!p || !str_eq(p->obj->uid, pod->uid))
        return;
    s->nsent -= p->sent;
    p->sent = false;
    p->refused = refused;
}

/* ---- who is to come ---- */

struct str sched_nominee(const struct sched *s, const struct obj *pod)
{
    if (map_len(&s->nominated) == 0)
        return S("");
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    const struct sched_pod *p = map_get(&s->nominated, objset_key_of(&text, pod));
    return p && str_eq(p->obj->uid, pod->uid) ? str_of(p->node->name) : S("");
}

void sched_nominate(struct sched *s, struct obj *pod, struct str node)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    struct str key = objset_key_of(&text, pod);
    struct sched_pod *p = map_del(&s->nominated, key);
    struct sched_node *at = node.n > 0 ? node_need(s, node) : NULL;
    if (at) { /* before the old one goes, which may be on the same */
        struct sched_pod *next = pod_new(s, pod, at);
        array_push(&at->nominated, next);
        map_put(&s->nominated, key, next);
    }
    for (size_t i = 0; p && i < p->node->nominated.n; i++)
        if (p->node->nominated.p[i] == p) {
            array_del(&p->node->nominated, i);
            node_settle(s, p->node);
            pod_free(p);
            return;
        }
}
