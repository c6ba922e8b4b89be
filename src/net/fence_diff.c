/* fence_diff.c - the difference between what the fences want and what the kernel was told.
 *
 * Only what is on a list of dirty things is looked at. What the kernel was told is believed from the moment it is in
 * a difference: one that fails is followed by a new generation, in which nothing is there.
 *
 * The order within the two transactions: sets with their elements, counters, chains of policies, chains of groups;
 * then elements out, elements in, rules of chains that changed, and what nobody needs. Where no chain is new, one
 * transaction does. */
#include "net/fence_int.h"
#include "net/service.h"
#include <stdlib.h>

/* ---- names ---- */

void fence_name_text(struct fence_name n, uint32_t gen, char text[FENCE_NAME_N])
{
    const char *fixed = n.kind == FENCE_MAP_EGRESS    ? "egress"
                        : n.kind == FENCE_MAP_INGRESS ? "ingress"
                        : n.kind == FENCE_OWN         ? "own"
                                                      : NULL;
    if (fixed)
        (void)snprintf(text, FENCE_NAME_N, "%s", fixed);
    else
        (void)snprintf(text, FENCE_NAME_N, "%c%u.%u", n.kind, n.id, gen);
}

bool fence_name_parse(const char *text, struct fence_name *n, uint32_t *gen)
{
    static const char letters[] = {FENCE_CHAIN,  FENCE_GROUP,  FENCE_COUNTER, FENCE_ADDRS,
                                   FENCE_HOSTED, FENCE_BLOCKS, FENCE_PORTS,   FENCE_NAMED};
    struct str s = str_of(text), id, g;
    uint64_t x, y;
    char again[FENCE_NAME_N];
    if (s.n < 4 || !memchr(letters, s.p[0], sizeof letters) || !str_split(str_sub(s, 1, s.n), '.', &id, &g) ||
        !str_to_u64(id, UINT32_MAX, &x) || !str_to_u64(g, UINT32_MAX, &y))
        return false;
    *n = (struct fence_name){(uint8_t)s.p[0], (uint32_t)x};
    *gen = (uint32_t)y;
    fence_name_text(*n, *gen, again);
    return strcmp(again, text) == 0;
}

/* ---- groups ---- */

struct fence_diffing {
    struct fences *f;
    struct fence_diff *out;
    ARRAY(struct fence_op) chains, dels, adds, rules, removes; /* put together at the end */
};

void fence_map_gone(struct fences *f, enum fence_kind kind, uint32_t ip)
{
    struct fence_op op = {.what = FENCE_DEL, .key_n = 4, .on = {(uint8_t)kind, 0}};
    ip = __builtin_bswap32(ip);
    (void)memcpy(op.key, &ip, 4);
    if (kind == FENCE_OWN) {
        (void)memcpy(op.key + 4, &ip, 4);
        op.key_n = 8;
    }
    array_push(&f->gone, op);
}

static void map_come(struct fence_diffing *d, enum fence_kind kind, uint32_t ip, struct fence_name to)
{
    struct fence_op op = {.what = FENCE_ADD, .key_n = 4, .on = {(uint8_t)kind, 0}};
    ip = __builtin_bswap32(ip);
    (void)memcpy(op.key, &ip, 4);
    if (kind == FENCE_OWN) {
        (void)memcpy(op.key + 4, &ip, 4);
        op.key_n = 8;
    }
    op.to = to;
    array_push(&d->adds, op);
}

void fence_group_free(struct fence_group *g)
{
    list_del(&g->idle);
    mem_free(g->key);
    mem_free(g);
}

void fence_group_release(struct fences *f, struct fence_group *g)
{
    if (--g->refs == 0 && list_empty(&g->idle))
        list_add_tail(&f->idle_groups, &g->idle);
}

static int chain_cmp(const void *a, const void *b)
{
    const struct fence_chain *const *x = a, *const *y = b;
    return ((*x)->name.id > (*y)->name.id) - ((*x)->name.id < (*y)->name.id);
}

static void rule_push(struct fence_diffing *d, struct fence_name chain, struct fence_rule rule)
{
    array_push(&d->chains, ((struct fence_op){.what = FENCE_RULE, .on = chain, .rule = rule}));
}

/* Whatever one of its policies allows; then each of them counts what none has. */
static void group_rules(struct fence_diffing *d, struct fence_group *g, struct fence_chain **chains, size_t n,
                        int way)
{
    array_push(&d->chains, ((struct fence_op){.what = FENCE_CHAIN_NEW, .on = g->name}));
    for (size_t i = 0; i < n; i++)
        rule_push(d, g->name, (struct fence_rule){.act = FENCE_JUMP, .target = chains[i]->name});
    for (size_t i = 0; i < n; i++)
        rule_push(d, g->name, (struct fence_rule){.act = FENCE_COUNT, .target = chains[i]->policy->counters[way]});
    rule_push(d, g->name, (struct fence_rule){.act = FENCE_REFUSE});
}

static struct fence_group *group_for(struct fence_diffing *d, const struct fence_pod_state *p, int way)
{
    ARRAY(struct fence_chain *) chains = {0};
    ARRAY(uint32_t) ids = {0};
    list_each (m, &p->members, struct fence_member, of_pod)
        array_each (it, &m->set->subjects_of)
            if ((*it)->chains[way].name.kind)
                array_push(&chains, &(*it)->chains[way]);
    struct fence_group *g = NULL;
    if (chains.n) {
        qsort(chains.p, chains.n, sizeof(struct fence_chain *), chain_cmp);
        array_each (c, &chains)
            array_push(&ids, (*c)->name.id);
        struct str key = {(const char *)ids.p, ids.n * sizeof *ids.p};
        g = map_get(&d->f->groups, key);
        if (!g) {
            g = NEW(struct fence_group);
            g->key = mem_dup(key.p, key.n);
            g->key_n = key.n;
            g->name = (struct fence_name){FENCE_GROUP, d->f->next_id++};
            list_init(&g->idle);
            (void)map_put(&d->f->groups, key, g);
            group_rules(d, g, chains.p, chains.n, way);
        }
    }
    array_fini(&chains);
    array_fini(&ids);
    return g;
}

static void pod_diff(struct fence_diffing *d, struct fence_pod_state *p)
{
    struct fences *f = d->f;
    struct fence_group *want[2] = {NULL, NULL};
    bool fenced = false, was = p->have[0] || p->have[1], moved = p->ip != p->have_ip;
    for (int i = 0; i < 2 && p->local && p->ip; i++) {
        want[i] = group_for(d, p, i);
        fenced |= want[i] != NULL;
    }
    for (int i = 0; i < 2; i++) {
        enum fence_kind map = i ? FENCE_MAP_EGRESS : FENCE_MAP_INGRESS;
        if (want[i] == p->have[i] && !moved)
            continue;
        if (want[i]) {
            want[i]->refs++;
            map_come(d, map, p->ip, want[i]->name);
            if (p->seen)
                fence_cut(f, p->ip);
        }
        if (p->have[i]) {
            fence_map_gone(f, map, p->have_ip);
            fence_group_release(f, p->have[i]);
        }
        p->have[i] = want[i];
    }
    if (was && (!fenced || moved))
        fence_map_gone(f, FENCE_OWN, p->have_ip);
    if (fenced && (!was || moved))
        map_come(d, FENCE_OWN, p->ip, (struct fence_name){0});
    p->have_ip = p->ip;
    p->seen = p->ip != 0;
}

/* ---- sets ---- */

static void key_push(struct fence_diffing *d, enum fence_do what, const struct fence_view *v,
                     const struct fence_key *key, bool first)
{
    struct fence_op op = {.what = (uint8_t)what, .on = v->name, .key_n = v->name.kind == FENCE_ADDRS ? 4 : 12};
    (void)memcpy(op.key, key->b, op.key_n);
    if (first)
        array_push(&d->out->first, op);
    else if (what == FENCE_DEL)
        array_push(&d->dels, op);
    else
        array_push(&d->adds, op);
}

static void member_add(struct fence_diffing *d, const struct fence_view *v, const struct fence_member *m, bool first)
{
    struct fence_key keys[FENCE_PORTS_OF_POD];
    size_t n = fence_view_keys(v, m->pod, keys, countof(keys));
    for (size_t i = 0; i < n; i++)
        key_push(d, FENCE_ADD, v, &keys[i], first);
}

static void podset_diff(struct fence_diffing *d, struct fence_podset *s)
{
    list_each (v, &s->views, struct fence_view, in) {
        array_each (key, &v->gone)
            key_push(d, FENCE_DEL, v, key, false);
        array_clear(&v->gone);
        if (!v->there)
            continue;
        list_each (m, &s->fresh, struct fence_member, fresh)
            member_add(d, v, m, false);
    }
    list_each (m, &s->fresh, struct fence_member, fresh)
        list_del(&m->fresh);
}

static void view_diff(struct fence_diffing *d, struct fence_view *v)
{
    array_push(&d->out->first, ((struct fence_op){.what = FENCE_SET_NEW, .on = v->name}));
    list_each (m, &v->set->members, struct fence_member, of_set)
        member_add(d, v, m, true);
    v->there = true;
}

static void key_put_u32(uint8_t *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    (void)memcpy(p, &v, 4);
}

static void key_put_u16(uint8_t *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    (void)memcpy(p, &v, 2);
}

static void content_diff(struct fence_diffing *d, struct fence_content *c)
{
    bool range = c->name.kind == FENCE_BLOCKS;
    array_each (s, &c->spans)
        range |= s->from != s->to;
    array_push(&d->out->first, ((struct fence_op){.what = FENCE_SET_NEW, .on = c->name, .range = range}));
    array_each (b, &c->blocks.list) {
        struct fence_op op = {.what = FENCE_ADD, .on = c->name, .key_n = 4, .range = true};
        key_put_u32(op.key, b->from);
        key_put_u32(op.end, b->to);
        array_push(&d->out->first, op);
    }
    array_each (s, &c->spans) {
        struct fence_op op = {.what = FENCE_ADD, .on = c->name, .key_n = 8, .range = range};
        op.key[0] = op.end[0] = s->proto;
        key_put_u16(op.key + 4, s->from);
        key_put_u16(op.end + 4, s->to);
        array_push(&d->out->first, op);
    }
    c->there = true;
}

/* ---- chains of policies ---- */

static struct fence_rule clause_rule(const struct fence_clause *c, bool egress)
{
    struct fence_rule r = {.act = FENCE_ACCEPT, .egress = egress};
    if (c->peers)
        r.peers = c->peers->name;
    else if (c->blocks)
        r.peers = c->blocks->name;
    if (c->ports)
        r.ports = c->ports->name;
    if (c->named)
        r.named = c->named->name;
    return r;
}

static void chain_diff(struct fence_diffing *d, struct fence_chain *c, bool fresh)
{
    struct fence_policy *p = c->policy;
    int way = c == &p->chains[1];
    if (fresh && !p->counter_there[way]) {
        array_push(&d->out->first, ((struct fence_op){.what = FENCE_COUNTER_NEW, .on = p->counters[way]}));
        p->counter_there[way] = true;
    }
    struct fence_op op = {.what = fresh ? FENCE_CHAIN_NEW : FENCE_CHAIN_FLUSH, .on = c->name};
    if (fresh)
        array_push(&d->out->first, op);
    else
        array_push(&d->rules, op);
    array_each (clause, &c->clauses) {
        op = (struct fence_op){.what = FENCE_RULE, .on = c->name, .rule = clause_rule(clause, way)};
        if (fresh)
            array_push(&d->out->first, op);
        else
            array_push(&d->rules, op);
    }
    c->there = true;
}

/* ---- what nobody needs ---- */

static void remove_push(struct fence_diffing *d, enum fence_do what, struct fence_name on)
{
    array_push(&d->removes, ((struct fence_op){.what = (uint8_t)what, .on = on}));
}

static void dead_diff(struct fence_diffing *d)
{
    struct fences *f = d->f;
    list_each (g, &f->idle_groups, struct fence_group, idle) {
        list_del(&g->idle);
        if (g->refs)
            continue;
        remove_push(d, FENCE_CHAIN_DEL, g->name);
        (void)map_del(&f->groups, (struct str){g->key, g->key_n});
        fence_group_free(g);
    }
    array_each (n, &f->dead)
        if (n->kind == FENCE_CHAIN)
            remove_push(d, FENCE_CHAIN_DEL, *n);
    array_each (n, &f->dead)
        if (n->kind != FENCE_CHAIN)
            remove_push(d, n->kind == FENCE_COUNTER ? FENCE_COUNTER_DEL : FENCE_SET_DEL, *n);
    array_clear(&f->dead);
}

/* ---- all of it ---- */

#define DIRTY_EACH(it, head, type)                                                                                   \
    for (type * it; (it = list_first(head, type, dirty)) != NULL ? (list_del(&it->dirty), true) : false;)

void fences_diff(struct fences *f, struct fence_diff *out)
{
    struct fence_diffing d = {.f = f, .out = out};
    *out = (struct fence_diff){.gen = f->gen, .cut_all = f->cut_all};
    DIRTY_EACH(p, &f->dirty_pods, struct fence_pod_state)
    pod_diff(&d, p);
    DIRTY_EACH(s, &f->dirty_sets, struct fence_podset)
    podset_diff(&d, s);
    DIRTY_EACH(v, &f->dirty_views, struct fence_view)
    view_diff(&d, v);
    DIRTY_EACH(c, &f->dirty_contents, struct fence_content)
    content_diff(&d, c);
    DIRTY_EACH(c, &f->dirty_chains, struct fence_chain)
    chain_diff(&d, c, !c->there);
    dead_diff(&d);
    array_each (op, &d.chains)
        array_push(&out->first, *op);
    array_each (op, &f->gone)
        array_push(&out->then, *op);
    array_clear(&f->gone);
    array_each (op, &d.dels)
        array_push(&out->then, *op);
    array_each (op, &d.adds)
        array_push(&out->then, *op);
    array_each (op, &d.rules)
        array_push(&out->then, *op);
    array_each (op, &d.removes)
        array_push(&out->then, *op);
    array_each (s, &f->stale)
        array_push(&out->stale, *s);
    array_clear(&f->stale);
    map_each (it, &f->cut) {
        uint32_t ip;
        (void)memcpy(&ip, it->key.p, sizeof ip);
        array_push(&out->cut, ip);
    }
    map_fini(&f->cut);
    f->cut = MAP;
    f->cut_all = false;
    array_fini(&d.chains);
    array_fini(&d.dels);
    array_fini(&d.adds);
    array_fini(&d.rules);
    array_fini(&d.removes);
}

void fence_diff_fini(struct fence_diff *d)
{
    array_fini(&d->first);
    array_fini(&d->then);
    array_fini(&d->stale);
    array_fini(&d->cut);
}

bool fence_diff_empty(const struct fence_diff *d)
{
    return !d->first.n && !d->then.n && !d->stale.n;
}

void fence_kernel_fini(struct fence_kernel *k)
{
    array_fini(&k->stale);
    array_fini(&k->elements);
}

static void chain_begin(struct fences *f, struct fence_chain *c)
{
    c->there = false;
    if (c->name.kind && list_empty(&c->dirty))
        list_add_tail(&f->dirty_chains, &c->dirty);
}

static void podset_begin(struct fences *f, struct fence_podset *s)
{
    list_each (m, &s->fresh, struct fence_member, fresh)
        list_del(&m->fresh);
    list_each (v, &s->views, struct fence_view, in) {
        v->there = false;
        array_clear(&v->gone);
        if (list_empty(&v->dirty))
            list_add_tail(&f->dirty_views, &v->dirty);
    }
}

static void content_begin(struct fences *f, struct fence_content *c)
{
    c->there = false;
    if (list_empty(&c->dirty))
        list_add_tail(&f->dirty_contents, &c->dirty);
}

void fences_begin(struct fences *f, struct fence_kernel *k)
{
    f->gen = k->gen;
    map_each (it, &f->policies) {
        struct fence_policy *p = it->value;
        for (int i = 0; i < 2; i++) {
            p->counter_there[i] = false;
            chain_begin(f, &p->chains[i]);
        }
    }
    map_each (it, &f->podsets)
        podset_begin(f, it->value);
    map_each (it, &f->contents)
        content_begin(f, it->value);
    map_each (it, &f->pods) {
        struct fence_pod_state *p = it->value;
        p->have[0] = p->have[1] = NULL;
        p->have_ip = 0;
        fence_pod_dirty(f, p);
    }
    map_each (it, &f->groups)
        fence_group_free(it->value);
    map_fini(&f->groups);
    f->groups = MAP;
    array_clear(&f->dead);
    array_clear(&f->gone);
    array_clear(&f->stale);
    array_each (op, &k->elements)
        array_push(&f->gone, *op);
    array_each (s, &k->stale)
        array_push(&f->stale, *s);
    f->cut_all = true;
}

/* ---- judging ---- */

static bool ranges_have(const struct netpolicy_ranges *r, uint32_t ip)
{
    size_t from = 0, to = r->list.n;
    while (from < to) {
        size_t mid = (from + to) / 2;
        if (ip > r->list.p[mid].to)
            from = mid + 1;
        else
            to = mid;
    }
    return from < r->list.n && ip >= r->list.p[from].from;
}

static bool spans_have(const struct fence_content *c, uint8_t proto, uint16_t port)
{
    array_each (s, &c->spans)
        if (s->proto == proto && port >= s->from && port <= s->to)
            return true;
    return false;
}

static bool clause_allows(const struct fence_clause *c, const struct fence_pod_state *peer, uint32_t peer_ip,
                          const struct fence_pod_state *to, uint8_t proto, uint16_t port)
{
    return (!c->peers || fence_view_has(c->peers, peer, proto, port)) &&
           (!c->blocks || ranges_have(&c->blocks->blocks, peer_ip)) &&
           (!c->ports || spans_have(c->ports, proto, port)) &&
           (!c->named || fence_view_has(c->named, to, proto, port));
}

static bool way_allows(const struct fence_pod_state *p, int way, const struct fence_pod_state *peer, uint32_t peer_ip,
                       const struct fence_pod_state *to, uint8_t proto, uint16_t port)
{
    bool isolated = false;
    if (!p || !p->local)
        return true;
    list_each (m, &p->members, struct fence_member, of_pod) {
        array_each (it, &m->set->subjects_of) {
            const struct fence_chain *chain = &(*it)->chains[way];
            isolated |= chain->about;
            array_each (c, &chain->clauses)
                if (clause_allows(c, peer, peer_ip, to, proto, port))
                    return true;
        }
    }
    return !isolated;
}

bool fences_allow(const struct fences *f, uint32_t from, uint32_t to, uint8_t proto, uint16_t port)
{
    const struct fence_pod_state *src = map_get(&f->ips, (struct str){(const char *)&from, sizeof from}),
                                 *dst = map_get(&f->ips, (struct str){(const char *)&to, sizeof to});
    return from == to ||
           (way_allows(src, 1, dst, to, dst, proto, port) && way_allows(dst, 0, src, from, dst, proto, port));
}

/* ---- counting, for tests ---- */

size_t fences_elements(const struct fences *f)
{
    size_t n = 0;
    struct fence_key keys[FENCE_PORTS_OF_POD];
    map_each (it, &f->podsets) {
        const struct fence_podset *s = it->value;
        list_each (v, &s->views, struct fence_view, in)
            list_each (m, &s->members, struct fence_member, of_set)
                n += fence_view_keys(v, m->pod, keys, countof(keys));
    }
    map_each (it, &f->contents) {
        const struct fence_content *c = it->value;
        n += c->blocks.list.n + c->spans.n;
    }
    map_each (it, &f->pods) {
        const struct fence_pod_state *p = it->value;
        n += (p->have[0] != NULL) + (p->have[1] != NULL) + (p->have[0] || p->have[1]);
    }
    return n;
}
