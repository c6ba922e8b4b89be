/* rules.c - service rules as data: what is wanted, what the kernel has, and the difference between them. rules.h
 * tells what the maps are; the table's text is in rules_base.c, what one Service needs of the maps in
 * rules_element.c.
 *
 * Wanted and there. Each element has a slot by its key, with what is wanted (`refs` counts the Services that want
 * it) and what the kernel was told (`there`, `have`). Whatever touches a slot puts it on the list of dirty ones;
 * rules_diff goes over that list only, so a change costs what it changes. Two Services cannot want one key, except
 * hairpins; the later one goes without (drop_held) or is refused as a whole, where it is a ClusterIP.
 *
 * Slots are numbered from 0 without gaps, as the chain draws from them evenly. An endpoint that stays keeps its
 * number and new ones fill the gaps (keep_places), so one that leaves costs two elements and not all behind it.
 *
 * What left a frontend is noted as pairs (`gone`), because connections to it are remembered elsewhere: datagrams in
 * conntrack, affinity in a map that packets write. After a time in which nobody looked - a restart, a failure -
 * pairs that left are not known; then everything that is right is listed instead, and what is not on that list goes
 * (find_left, `sweep`).
 *
 * Chains are made when a number of endpoints first comes up, and kept for a while when nothing uses them, as the
 * number may come back with the next pod.
 *
 * Costs: memory of some hundred bytes an element; rules_put walks the Service's endpoints, and note_gone compares
 * old with new for UDP and affinity, which is quadratic in the endpoints of one such Service. Not here: talking to
 * the kernel (nft.c).
 */
#include "net/rules.h"

#define IDLE_CHAINS 64 /* kept for the next time that number of endpoints comes up */

/* ---- wanted and there ---- */

struct rule_slot {
    struct rule_element e;    /* as wanted, where refs > 0 */
    struct rule_element have; /* as the kernel has it, where there */
    uint32_t refs;
    bool there;
    struct list dirty;
};

struct rule_service {
    ARRAY(struct rule_slot *) slots;
    struct net_service of; /* the frontends and endpoints of it, owned */
};

struct rule_chain_state {
    struct rule_chain chain;
};

static struct str slot_key(const struct rule_element *e, char buf[RULE_KEY_MAX + 1])
{
    buf[0] = (char)('A' + e->map);
    (void)memcpy(buf + 1, e->key, e->key_n);
    return (struct str){buf, e->key_n + 1u};
}

static bool value_eq(const struct rule_element *a, const struct rule_element *b)
{
    return a->chain.outside == b->chain.outside && a->chain.by_address == b->chain.by_address &&
           a->chain.count == b->chain.count && a->chain.learns == b->chain.learns &&
           a->chain.affinity_s == b->chain.affinity_s && memcmp(a->data, b->data, sizeof a->data) == 0;
}

static struct rule_slot *slot_get(struct rules *r, const struct rule_element *e)
{
    char buf[RULE_KEY_MAX + 1];
    struct str key = slot_key(e, buf);
    struct rule_slot *slot = map_get(&r->slots, key);
    if (slot)
        return slot;
    slot = NEW(struct rule_slot);
    slot->e = *e;
    list_init(&slot->dirty);
    (void)map_put(&r->slots, key, slot);
    return slot;
}

static void slot_touch(struct rules *r, struct rule_slot *slot)
{
    if (list_empty(&slot->dirty))
        list_add_tail(&r->dirty, &slot->dirty);
}

static void slot_drop_unused(struct rules *r, struct rule_slot *slot)
{
    char buf[RULE_KEY_MAX + 1];
    if (slot->refs || slot->there)
        return;
    list_del(&slot->dirty);
    (void)map_del(&r->slots, slot_key(&slot->e, buf));
    mem_free(slot);
}

void rules_init(struct rules *r)
{
    *r = (struct rules){0};
    list_init(&r->dirty);
}

static void service_free(struct rule_service *sv)
{
    array_fini(&sv->slots);
    mem_free((void *)sv->of.cluster_ips);
    mem_free((void *)sv->of.external_ips);
    mem_free((void *)sv->of.balancer_ips);
    mem_free((void *)sv->of.sources);
    mem_free((void *)sv->of.endpoints);
    mem_free(sv);
}

void rules_fini(struct rules *r)
{
    map_each (it, &r->services)
        service_free(it->value);
    map_each (it, &r->slots)
        mem_free(it->value);
    map_each (it, &r->chains)
        mem_free(it->value);
    map_fini(&r->services);
    map_fini(&r->slots);
    map_fini(&r->chains);
    array_fini(&r->gone);
    rules_init(r);
}

static void *dup_or_null(const void *p, size_t n)
{
    return n ? mem_dup(p, n) : NULL;
}

static struct net_service numbers_of(const struct net_service *s) /* owned copies, no text */
{
    struct net_service c = *s;
    c.ns = c.name = c.port = STR_NONE;
    c.cluster_ips = dup_or_null(s->cluster_ips, s->ncluster_ips * sizeof *s->cluster_ips);
    c.external_ips = dup_or_null(s->external_ips, s->nexternal_ips * sizeof *s->external_ips);
    c.balancer_ips = dup_or_null(s->balancer_ips, s->nbalancer_ips * sizeof *s->balancer_ips);
    c.sources = dup_or_null(s->sources, s->nsources * sizeof *s->sources);
    c.endpoints = dup_or_null(s->endpoints, s->nendpoints * sizeof *s->endpoints);
    return c;
}

static struct str endpoint_key(const struct net_endpoint *ep, char buf[6])
{
    (void)memcpy(buf, &ep->ip, 4);
    (void)memcpy(buf + 4, &ep->port, 2);
    return (struct str){buf, 6};
}

/* Endpoints that stay keep their slots, others fill the gaps: what leaves or comes changes a slot or two, not all
 * behind it. */
static void keep_places(const struct net_service *was, struct net_service *now)
{
    AUTO(map_fini) struct map places = MAP;
    char buf[6];
    if (was->nendpoints == 0 || now->nendpoints == 0)
        return;
    for (size_t i = 0; i < was->nendpoints; i++)
        (void)map_put(&places, endpoint_key(&was->endpoints[i], buf), (void *)&was->endpoints[i]);
    struct net_endpoint *placed = mem_alloc(now->nendpoints * sizeof *placed);
    AUTO_FREE bool *taken = mem_alloc(now->nendpoints), *done = mem_alloc(now->nendpoints);
    for (size_t i = 0; i < now->nendpoints; i++) {
        const struct net_endpoint *old = map_get(&places, endpoint_key(&now->endpoints[i], buf));
        size_t at = old ? (size_t)(old - was->endpoints) : SIZE_MAX;
        if (at >= now->nendpoints || taken[at])
            continue;
        placed[at] = now->endpoints[i];
        taken[at] = done[i] = true;
    }
    for (size_t i = 0, at = 0; i < now->nendpoints; i++) {
        if (done[i])
            continue;
        while (taken[at])
            at++;
        placed[at] = now->endpoints[i];
        taken[at] = true;
    }
    mem_free((void *)now->endpoints);
    now->endpoints = placed;
}

static bool has_endpoint(const struct net_service *s, const struct net_endpoint *ep)
{
    for (size_t i = 0; i < s->nendpoints; i++)
        if (s->endpoints[i].ip == ep->ip && s->endpoints[i].port == ep->port)
            return true;
    return false;
}

static size_t frontends_count(const struct net_service *s)
{
    return s->ncluster_ips + s->nexternal_ips + (s->node_port != 0);
}

/* The i-th frontend of a Service with one endpoint of it. */
static struct rule_gone pair_of(const struct net_service *s, size_t i, const struct net_endpoint *ep)
{
    struct rule_gone g = {.proto = s->proto, .port = s->port_number, .endpoint = *ep, .affinity = s->affinity_s != 0};
    if (i < s->ncluster_ips)
        g.ip = s->cluster_ips[i];
    else if (i < s->ncluster_ips + s->nexternal_ips)
        g.ip = s->external_ips[i - s->ncluster_ips];
    else
        g.port = s->node_port;
    return g;
}

static void gone_from(struct rules *r, const struct net_service *s, const struct net_endpoint *ep)
{
    for (size_t i = 0; i < frontends_count(s); i++)
        array_push(&r->gone, pair_of(s, i, ep));
}

/* UDP has no end that conntrack could see; TCP connections of a leaving endpoint are drained, not cut. */
static void note_gone(struct rules *r, const struct net_service *was, const struct net_service *now)
{
    const struct net_service none = {0};
    was = was ? was : &none;
    now = now ? now : &none;
    for (size_t i = 0; i < was->nendpoints; i++)
        if ((was->proto == NET_UDP || was->affinity_s) && !has_endpoint(now, &was->endpoints[i]))
            gone_from(r, was, &was->endpoints[i]);
    if (now->proto == NET_UDP && now->nendpoints && !was->nendpoints)
        gone_from(r, now, &(struct net_endpoint){0});
}

static struct str service_key(struct strbuf *b, struct str ns, struct str name, struct str port)
{
    strbuf_addf(b, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name), STR_ARG(port));
    return strbuf_str(b);
}

static void service_release(struct rules *r, struct rule_service *sv)
{
    array_each (at, &sv->slots) {
        struct rule_slot *slot = *at;
        slot->refs--;
        slot_touch(r, slot);
    }
    array_clear(&sv->slots);
}

static bool service_take(struct rules *r, struct rule_service *sv, const struct rule_elements *want, struct err *err)
{
    for (size_t i = 0; i < want->list.n; i++) {
        const struct rule_element *e = &want->list.p[i];
        struct rule_slot *slot = slot_get(r, e);
        if (slot->refs && !rule_map_is_shared(e->map)) {
            AUTO(strbuf_fini) struct strbuf text = STRBUF(512);
            rule_element_text(e, &text);
            service_release(r, sv);
            return err_set(err, E_CONFLICT, "another Service holds " STR_FMT, STR_ARG(strbuf_str(&text)));
        }
        slot->e = *e;
        slot->refs++;
        slot_touch(r, slot);
        array_push(&sv->slots, slot);
    }
    return true;
}

/* Whether another Service holds something of a part of this one, whose own slots are given back. */
static bool is_held(struct rules *r, const struct net_service *part, struct err *err)
{
    struct rule_elements want = {0};
    bool held = false;
    rules_of_service(part, &want);
    for (size_t i = 0; i < want.list.n && !held; i++) {
        char buf[RULE_KEY_MAX + 1];
        const struct rule_element *e = &want.list.p[i];
        const struct rule_slot *slot = map_get(&r->slots, slot_key(e, buf));
        held = slot && slot->refs && !rule_map_is_shared(e->map);
        if (held) {
            AUTO(strbuf_fini) struct strbuf text = STRBUF(512);
            rule_element_text(e, &text);
            (void)err_set(err, E_CONFLICT, "another Service holds " STR_FMT, STR_ARG(strbuf_str(&text)));
        }
    }
    array_fini(&want.list);
    return held;
}

/* External addresses and node ports may be written down for two: who comes later goes without, and keeps what nobody
 * else can have. */
static bool drop_held(struct rules *r, struct net_service *s, struct err *err)
{
    uint32_t *external = (uint32_t *)(uintptr_t)s->external_ips; /* owned */
    uint32_t *balancer = (uint32_t *)(uintptr_t)s->balancer_ips;
    struct net_service part = *s;
    size_t kept = 0;
    bool none = true;
    part.ncluster_ips = part.nexternal_ips = part.nbalancer_ips = 0;
    if (s->node_port && is_held(r, &part, err))
        none = false, s->node_port = 0;
    part.node_port = 0;
    part.nbalancer_ips = s->nbalancer_ips;
    for (size_t i = 0; i < s->nexternal_ips; i++) {
        part.external_ips = &external[i];
        part.nexternal_ips = 1;
        if (is_held(r, &part, err))
            none = false;
        else
            external[kept++] = external[i];
    }
    s->nexternal_ips = kept;
    kept = 0;
    for (size_t i = 0; i < s->nbalancer_ips && s->process; i++) {
        part.balancer_ips = &balancer[i];
        part.nbalancer_ips = 1;
        if (is_held(r, &part, err))
            none = false;
        else
            balancer[kept++] = balancer[i];
    }
    s->nbalancer_ips = s->process ? kept : s->nbalancer_ips;
    return none;
}

bool rules_put(struct rules *r, const struct net_service *s, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str key = service_key(&b, s->ns, s->name, s->port);
    if (s->nendpoints > SERVICE_ENDPOINTS_MAX) {
        rules_del(r, s->ns, s->name, s->port);
        return err_set(err, E_TOO_LARGE,
                       "Service " STR_FMT " has %zu endpoints; at most " SERVICE_ENDPOINTS_LIMIT " can be served",
                       STR_ARG(key), s->nendpoints);
    }
    struct rule_service *sv = map_get(&r->services, key);
    struct net_service was = {0};
    if (!sv) {
        sv = NEW(struct rule_service);
        (void)map_put(&r->services, key, sv);
    } else {
        was = sv->of;
    }
    struct rule_elements want = {0};
    struct net_service now = numbers_of(s);
    keep_places(&was, &now);
    service_release(r, sv);
    bool all = drop_held(r, &now, err);
    rules_of_service(&now, &want);
    sv->of = now;
    note_gone(r, &was, &now);
    mem_free((void *)was.cluster_ips);
    mem_free((void *)was.external_ips);
    mem_free((void *)was.balancer_ips);
    mem_free((void *)was.sources);
    mem_free((void *)was.endpoints);
    bool ok = service_take(r, sv, &want, err);
    array_fini(&want.list);
    if (!ok || !all)
        (void)err_wrap(err, "Service " STR_FMT, STR_ARG(key));
    if (!ok)
        rules_del(r, s->ns, s->name, s->port);
    return ok && all;
}

void rules_del(struct rules *r, struct str ns, struct str name, struct str port)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct rule_service *sv = map_del(&r->services, service_key(&b, ns, name, port));
    if (!sv)
        return;
    note_gone(r, &sv->of, NULL);
    service_release(r, sv);
    service_free(sv);
}

size_t rules_elements(const struct rules *r)
{
    size_t n = 0;
    map_each (it, &r->slots)
        n += ((struct rule_slot *)it->value)->refs > 0;
    return n;
}

/* ---- the difference ---- */

static void need_chain(struct rules *r, struct rules_diff *out, struct rule_chain c)
{
    char name[RULE_CHAIN_N];
    if (!rule_chain_is(c))
        return;
    rule_chain_name(c, name);
    if (map_get(&r->chains, str_of(name)))
        return;
    struct rule_chain_state *state = NEW(struct rule_chain_state);
    state->chain = c;
    (void)map_put(&r->chains, str_of(name), state);
    array_push(&out->chains, c);
}

static bool chain_needed(const struct map *needed, const char *name)
{
    return map_get(needed, str_of(name)) != NULL;
}

static void find_idle(struct rules *r, struct rules_diff *out)
{
    if (map_len(&r->chains) <= IDLE_CHAINS)
        return;
    AUTO(map_fini) struct map needed = MAP;
    char name[RULE_CHAIN_N];
    map_each (it, &r->slots) {
        struct rule_slot *slot = it->value;
        if (!slot->refs || !rule_map_is_verdict(slot->e.map) || !rule_chain_is(slot->e.chain))
            continue;
        rule_chain_name(slot->e.chain, name);
        if (!map_get(&needed, str_of(name)))
            (void)map_put(&needed, str_of(name), slot);
    }
    if (map_len(&r->chains) < map_len(&needed) + IDLE_CHAINS)
        return;
    map_each (it, &r->chains)
        if (!chain_needed(&needed, it->key.p))
            array_push(&out->idle_chains, ((struct rule_chain_state *)it->value)->chain);
}

/* An endpoint that was once here keeps its hairpin: a packet that was just translated to it must find it there, or
 * the connection has the endpoint's own address at both ends for good. There are no more of them than addresses here.
 */
static bool is_kept(const struct rule_slot *slot)
{
    return slot->there && slot->e.map == RULE_HAIRPIN && memcmp(slot->e.key, slot->e.key + 4, 4) == 0;
}

struct str rule_pair_key(const struct rule_gone *g, char buf[RULE_PAIR_N])
{
    (void)memset(buf, 0, RULE_PAIR_N);
    buf[0] = (char)g->proto;
    (void)memcpy(buf + 1, &g->ip, 4);
    (void)memcpy(buf + 5, &g->port, 2);
    (void)memcpy(buf + 7, &g->endpoint.ip, 4);
    (void)memcpy(buf + 11, &g->endpoint.port, 2);
    return (struct str){buf, RULE_PAIR_N};
}

struct rule_gone rule_pair_in(const struct rule_element *e)
{
    struct rule_gone g = {.proto = e->key[0]};
    const uint8_t *port = e->key + (e->map == RULE_EPS ? 8 : 4), *to = e->data;
    if (e->map == RULE_EPS)
        g.ip = (uint32_t)e->key[4] << 24 | (uint32_t)e->key[5] << 16 | (uint32_t)e->key[6] << 8 | e->key[7];
    g.port = (uint16_t)(port[0] << 8 | port[1]);
    g.endpoint.ip = (uint32_t)to[0] << 24 | (uint32_t)to[1] << 16 | (uint32_t)to[2] << 8 | to[3];
    g.endpoint.port = (uint16_t)(to[4] << 8 | to[5]);
    return g;
}

/* What the kernel had before we looked may point to endpoints that left meanwhile. Whose rules are there still are
 * gone from now on; affinity that outlived even these is known by what is left of it. */
static void find_left(struct rules *r, struct rules_diff *out)
{
    AUTO(map_fini) struct map wanted = MAP;
    char buf[RULE_PAIR_N];
    map_each (it, &r->services) {
        const struct rule_service *sv = it->value;
        for (size_t f = 0; f < frontends_count(&sv->of); f++)
            for (size_t i = 0; i < sv->of.nendpoints; i++) {
                struct rule_gone pair = pair_of(&sv->of, f, &sv->of.endpoints[i]);
                (void)map_put(&wanted, rule_pair_key(&pair, buf), (void *)sv);
                if (pair.affinity)
                    array_push(&out->kept, pair);
                if (pair.proto == NET_UDP)
                    array_push(&out->kept_udp, pair);
            }
    }
    map_each (it, &r->slots) {
        const struct rule_slot *slot = it->value;
        if (!slot->there || (slot->have.map != RULE_EPS && slot->have.map != RULE_NPEPS) ||
            slot->have.key[0] != NET_UDP)
            continue;
        struct rule_gone pair = rule_pair_in(&slot->have);
        if (!map_get(&wanted, rule_pair_key(&pair, buf)))
            array_push(&r->gone, pair);
    }
    out->sweep = true;
    r->unsure = false;
}

void rules_diff(struct rules *r, struct rules_diff *out)
{
    *out = (struct rules_diff){0};
    if (r->unsure)
        find_left(r, out);
    list_each (slot, &r->dirty, struct rule_slot, dirty) {
        bool want = slot->refs > 0 || is_kept(slot);
        list_del(&slot->dirty);
        if (want && slot->there && value_eq(&slot->e, &slot->have))
            continue;
        struct rule_change c = {.e = want ? slot->e : slot->have, .add = want, .del = slot->there};
        if (!c.add && !c.del) {
            slot_drop_unused(r, slot);
            continue;
        }
        if (want && rule_map_is_verdict(slot->e.map))
            need_chain(r, out, slot->e.chain);
        array_push(&out->changes, c);
    }
    find_idle(r, out);
    for (size_t i = 0; i < r->gone.n; i++)
        array_push(&out->gone, r->gone.p[i]);
    array_clear(&r->gone);
}

void rules_diff_fini(struct rules_diff *d)
{
    array_fini(&d->changes);
    array_fini(&d->chains);
    array_fini(&d->idle_chains);
    array_fini(&d->gone);
    array_fini(&d->kept);
    array_fini(&d->kept_udp);
}

bool rules_diff_empty(const struct rules_diff *d)
{
    return d->changes.n == 0 && d->chains.n == 0 && d->idle_chains.n == 0;
}

void rules_applied(struct rules *r, const struct rules_diff *d)
{
    for (size_t i = 0; i < d->changes.n; i++) {
        const struct rule_change *c = &d->changes.p[i];
        struct rule_slot *slot = slot_get(r, &c->e);
        slot->there = c->add;
        slot->have = c->e;
        if (list_empty(&slot->dirty) && (slot->refs > 0) != slot->there)
            slot_touch(r, slot);
        slot_drop_unused(r, slot);
    }
    for (size_t i = 0; i < d->idle_chains.n; i++) {
        char name[RULE_CHAIN_N];
        rule_chain_name(d->idle_chains.p[i], name);
        mem_free(map_del(&r->chains, str_of(name)));
    }
}

void rules_gone_again(struct rules *r, const struct rules_diff *d)
{
    for (size_t i = 0; i < d->gone.n; i++)
        array_push(&r->gone, d->gone.p[i]);
    r->unsure |= d->sweep;
}

bool rules_believed(const struct rules *r, const struct rule_element *e, size_t n)
{
    char buf[RULE_KEY_MAX + 1];
    size_t there = 0;
    map_each (it, &r->slots)
        there += ((struct rule_slot *)it->value)->there;
    if (there != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct rule_slot *slot = map_get(&r->slots, slot_key(&e[i], buf));
        if (!slot || !slot->there || !value_eq(&slot->have, &e[i]))
            return false;
    }
    return true;
}

void rules_forget(struct rules *r)
{
    r->unsure = true;
    map_each (it, &r->slots) {
        struct rule_slot *slot = it->value;
        slot->there = false;
        slot_touch(r, slot);
    }
    map_each (it, &r->chains)
        mem_free(it->value);
    map_fini(&r->chains);
    r->chains = MAP;
}

void rules_seen(struct rules *r, const struct rule_element *e)
{
    struct rule_slot *slot = slot_get(r, e);
    slot->there = true;
    slot->have = *e;
    slot_touch(r, slot);
}

void rules_seen_chain(struct rules *r, const char *name)
{
    struct rule_chain c;
    if (!rule_chain_parse(name, &c) || map_get(&r->chains, str_of(name)))
        return;
    struct rule_chain_state *state = NEW(struct rule_chain_state);
    state->chain = c;
    (void)map_put(&r->chains, str_of(name), state);
}
