/* fence_sim_test.c - the kernel's table, simulated: refuses what nf_tables would, and judges packets by its rules. */
#include "net/fence_model_test.h"

static struct str sim_name(struct fence_name n, uint32_t gen)
{
    static char text[4][FENCE_NAME_N];
    static int at;
    fence_name_text(n, gen, text[++at % 4]);
    return str_of(text[at % 4]);
}

void sim_init(struct sim *s)
{
    static const struct fence_name maps[] = {{FENCE_MAP_EGRESS, 0}, {FENCE_MAP_INGRESS, 0}, {FENCE_OWN, 0}};
    *s = (struct sim){0};
    for (size_t i = 0; i < countof(maps); i++)
        (void)map_put(&s->sets, sim_name(maps[i], 0), NEW(struct sim_set));
}

static void set_free(struct sim_set *s)
{
    array_fini(&s->elements);
    mem_free(s);
}

static void chain_free(struct sim_chain *c)
{
    array_fini(&c->rules);
    mem_free(c);
}

void sim_fini(struct sim *s)
{
    map_each (it, &s->sets)
        set_free(it->value);
    map_each (it, &s->chains)
        chain_free(it->value);
    map_fini(&s->sets);
    map_fini(&s->chains);
    map_fini(&s->counters);
}

/* Rules hold the names with their generation in the number, so that one of another generation is another. */
static struct fence_name name_in(struct fence_name n, uint32_t gen)
{
    if (n.kind)
        n.id = n.id * 64 + gen;
    return n;
}

static bool same_name(struct fence_name a, struct fence_name b)
{
    return a.kind == b.kind && a.id == b.id;
}

static bool is_used(const struct sim *s, struct fence_name n)
{
    map_each (it, &s->chains) {
        const struct sim_chain *c = it->value;
        array_each (r, &c->rules)
            if (same_name(r->peers, n) || same_name(r->ports, n) || same_name(r->named, n) || same_name(r->target, n))
                return true;
    }
    map_each (it, &s->sets) {
        const struct sim_set *set = it->value;
        array_each (e, &set->elements)
            if (same_name(e->to, n))
                return true;
    }
    return false;
}

static void sim_rule(struct sim *s, const struct fence_op *op, uint32_t gen)
{
    struct sim_chain *c = map_get(&s->chains, sim_name(op->on, gen));
    struct fence_rule r = op->rule;
    CHECK(c);
    CHECK(!r.peers.kind || map_get(&s->sets, sim_name(r.peers, gen)));
    CHECK(!r.ports.kind || map_get(&s->sets, sim_name(r.ports, gen)));
    CHECK(!r.named.kind || map_get(&s->sets, sim_name(r.named, gen)));
    CHECK(r.act != FENCE_JUMP || map_get(&s->chains, sim_name(r.target, gen)));
    CHECK(r.act != FENCE_COUNT || map_get(&s->counters, sim_name(r.target, gen)));
    r.peers = name_in(r.peers, gen);
    r.ports = name_in(r.ports, gen);
    r.named = name_in(r.named, gen);
    r.target = name_in(r.target, gen);
    array_push(&c->rules, r);
}

static void sim_element(struct sim *s, const struct fence_op *op, uint32_t gen)
{
    struct sim_set *set = map_get(&s->sets, sim_name(op->on, gen));
    CHECK(set);
    size_t at = 0;
    while (at < set->elements.n && memcmp(set->elements.p[at].key, op->key, FENCE_KEY_MAX) != 0)
        at++;
    if (op->what == FENCE_DEL) {
        CHECK(at < set->elements.n);
        array_del(&set->elements, at);
        return;
    }
    CHECK(at == set->elements.n);
    CHECK(op->range == set->range);
    CHECK(!op->to.kind || map_get(&s->chains, sim_name(op->to, gen)));
    struct fence_op e = *op;
    e.to = name_in(e.to, gen);
    array_push(&set->elements, e);
}

static void sim_remove(struct sim *s, enum fence_kind kind, struct fence_name n, uint32_t gen)
{
    struct str name = sim_name(n, gen);
    (void)kind;
    if (n.kind == FENCE_CHAIN || n.kind == FENCE_GROUP) {
        struct sim_chain *c = map_del(&s->chains, name);
        CHECK(c);
        chain_free(c);
    } else if (n.kind == FENCE_COUNTER) {
        CHECK(map_del(&s->counters, name));
    } else {
        struct sim_set *set = map_del(&s->sets, name);
        CHECK(set);
        set_free(set);
    }
    CHECK(!is_used(s, name_in(n, gen)));
}

void sim_run(struct sim *s, const struct fence_op *ops, size_t n, uint32_t gen)
{
    for (size_t i = 0; i < n; i++) {
        const struct fence_op *op = &ops[i];
        struct str name = sim_name(op->on, gen);
        switch ((enum fence_do)op->what) {
        case FENCE_SET_NEW: {
            struct sim_set *set = NEW(struct sim_set);
            set->range = op->range;
            CHECK(!map_put(&s->sets, name, set));
            break;
        }
        case FENCE_COUNTER_NEW: CHECK(!map_put(&s->counters, name, s)); break;
        case FENCE_CHAIN_NEW: CHECK(!map_put(&s->chains, name, NEW(struct sim_chain))); break;
        case FENCE_CHAIN_FLUSH: {
            struct sim_chain *c = map_get(&s->chains, name);
            CHECK(c);
            array_clear(&c->rules);
            break;
        }
        case FENCE_RULE: sim_rule(s, op, gen); break;
        case FENCE_ADD:
        case FENCE_DEL: sim_element(s, op, gen); break;
        case FENCE_CHAIN_DEL:
        case FENCE_SET_DEL:
        case FENCE_COUNTER_DEL: sim_remove(s, FENCE_NONE, op->on, gen); break;
        }
    }
}

void sim_stale(struct sim *s, const struct fence_diff *d)
{
    static const char order[] = "gpcahnbq";
    for (const char *kind = order; *kind; kind++)
        array_each (it, &d->stale)
            if (it->name.kind == *kind)
                sim_remove(s, FENCE_NONE, it->name, it->gen);
}

void sim_read(const struct sim *s, struct fence_kernel *out)
{
    const struct map *maps[] = {&s->sets, &s->chains, &s->counters};
    *out = (struct fence_kernel){.gen = 1};
    for (size_t i = 0; i < countof(maps); i++) {
        map_each (it, maps[i]) {
            struct fence_stale x;
            if (!fence_name_parse(it->key.p, &x.name, &x.gen))
                continue;
            array_push(&out->stale, x);
            out->gen = MAX(out->gen, x.gen + 1);
        }
    }
    map_each (it, &s->sets) {
        const struct sim_set *set = it->value;
        struct fence_stale x;
        if (fence_name_parse(it->key.p, &x.name, &x.gen))
            continue;
        array_each (e, &set->elements) {
            struct fence_op op = *e;
            op.what = FENCE_DEL;
            array_push(&out->elements, op);
        }
    }
}

size_t sim_things(const struct sim *s)
{
    size_t n = map_len(&s->sets) + map_len(&s->chains) + map_len(&s->counters);
    map_each (it, &s->sets)
        n += ((const struct sim_set *)it->value)->elements.n;
    map_each (it, &s->chains)
        n += ((const struct sim_chain *)it->value)->rules.n;
    return n;
}

/* ---- judging ---- */

struct sim_packet {
    uint32_t from, to;
    uint8_t proto;
    uint16_t port;
};

static struct str sim_name_of(struct fence_name n) /* as rules hold it */
{
    return sim_name((struct fence_name){n.kind, n.id / 64}, n.id % 64);
}

static void key_put(uint8_t *key, size_t at, uint32_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        key[at + i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

static bool set_has(const struct sim *s, struct fence_name n, const uint8_t key[FENCE_KEY_MAX])
{
    const struct sim_set *set = map_get(&s->sets, sim_name_of(n));
    CHECK(set);
    array_each (e, &set->elements)
        if (e->range ? memcmp(key, e->key, FENCE_KEY_MAX) >= 0 && memcmp(key, e->end, FENCE_KEY_MAX) <= 0
                     : memcmp(key, e->key, FENCE_KEY_MAX) == 0)
            return true;
    return false;
}

static bool rule_matches(const struct sim *s, const struct fence_rule *r, const struct sim_packet *p)
{
    uint8_t address[FENCE_KEY_MAX] = {0}, whole[FENCE_KEY_MAX] = {0}, port[FENCE_KEY_MAX] = {0};
    key_put(address, 0, r->egress ? p->to : p->from, 4);
    key_put(whole, 0, p->to, 4);
    whole[4] = port[0] = p->proto;
    key_put(whole, 8, p->port, 2);
    key_put(port, 4, p->port, 2);
    if (r->peers.kind && !set_has(s, r->peers, r->peers.kind == FENCE_HOSTED ? whole : address))
        return false;
    return (!r->named.kind || set_has(s, r->named, whole)) && (!r->ports.kind || set_has(s, r->ports, port));
}

enum sim_verdict { SIM_RETURN, SIM_ACCEPTED, SIM_REFUSED };

static enum sim_verdict chain_judge(const struct sim *s, struct str name, const struct sim_packet *p)
{
    const struct sim_chain *c = map_get(&s->chains, name);
    CHECK(c);
    array_each (r, &c->rules) {
        if (!rule_matches(s, r, p))
            continue;
        switch ((enum fence_act)r->act) {
        case FENCE_ACCEPT: return SIM_ACCEPTED;
        case FENCE_REFUSE: return SIM_REFUSED;
        case FENCE_COUNT: break;
        case FENCE_JUMP: {
            enum sim_verdict v = chain_judge(s, sim_name_of(r->target), p);
            if (v != SIM_RETURN)
                return v;
        }
        }
    }
    return SIM_RETURN;
}

static bool base_judge(const struct sim *s, enum fence_kind map, uint32_t ip, const struct sim_packet *p)
{
    const struct sim_set *set = map_get(&s->sets, sim_name((struct fence_name){(uint8_t)map, 0}, 0));
    uint8_t key[FENCE_KEY_MAX] = {0};
    key_put(key, 0, ip, 4);
    array_each (e, &set->elements)
        if (memcmp(key, e->key, FENCE_KEY_MAX) == 0)
            return chain_judge(s, sim_name_of(e->to), p) != SIM_REFUSED;
    return true;
}

bool sim_allows(const struct sim *s, uint32_t from, uint32_t to, uint8_t proto, uint16_t port)
{
    struct sim_packet p = {from, to, proto, port};
    uint8_t own[FENCE_KEY_MAX] = {0};
    key_put(own, 0, from, 4);
    key_put(own, 4, to, 4);
    if (set_has(s, (struct fence_name){FENCE_OWN, 0}, own))
        return true;
    return base_judge(s, FENCE_MAP_EGRESS, from, &p) && base_judge(s, FENCE_MAP_INGRESS, to, &p);
}
