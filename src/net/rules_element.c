/* rules_element.c - elements of maps: which a Service needs, and how they and their chains read. */
#include "net/rules.h"

#define OUTSIDE_SLOT 32768 /* where the slots for clients from outside begin */

static const struct {
    const char *name;
    uint8_t key_n, data_n;
} maps[RULE_MAPS] = {
#define X(id, name, key, data) [RULE_##id] = {name, key, data},
    RULE_MAP_TABLE(X)
#undef X
};

const char *rule_map_name(int map)
{
    return maps[map].name;
}

bool rule_map_is_verdict(int map)
{
    return map <= RULE_NPLEARN;
}

bool rule_map_is_ranges(int map)
{
    return map == RULE_ALLOW || map == RULE_NPALLOW;
}

bool rule_map_is_shared(int map)
{
    return map == RULE_HAIRPIN || map == RULE_VIPS;
}

bool rule_chain_is(struct rule_chain c)
{
    return c.learns || c.count;
}

void rule_chain_name(struct rule_chain c, char name[RULE_CHAIN_N])
{
    if (c.learns) {
        (void)snprintf(name, RULE_CHAIN_N, "t%u", c.affinity_s);
        return;
    }
    int n = snprintf(name, RULE_CHAIN_N, "%c%s%u", c.by_address ? 's' : 'n', c.outside ? "x" : "", c.count);
    if (c.affinity_s)
        (void)snprintf(name + n, RULE_CHAIN_N - (size_t)n, "a%u", c.affinity_s);
}

/* "s03" is no name of ours, though it reads like one. */
static bool is_name_of(struct rule_chain r, const char *name, struct rule_chain *c)
{
    char ours[RULE_CHAIN_N];
    rule_chain_name(r, ours);
    if (strcmp(ours, name) != 0)
        return false;
    *c = r;
    return true;
}

bool rule_chain_parse(const char *name, struct rule_chain *c)
{
    struct str s = str_of(name), count, affinity;
    uint64_t n = 0, a = 0;
    struct rule_chain r = {0};
    if (s.n > 1 && s.p[0] == 't' && str_to_u64(str_sub(s, 1, s.n), AFFINITY_S_MAX, &a) && a) {
        r = (struct rule_chain){.learns = true, .affinity_s = (uint32_t)a};
        return is_name_of(r, name, c);
    }
    if (s.n < 2 || (s.p[0] != 's' && s.p[0] != 'n'))
        return false;
    r.by_address = s.p[0] == 's';
    r.outside = s.p[1] == 'x';
    s = str_sub(s, 1 + r.outside, s.n);
    if (str_split(s, 'a', &count, &affinity) && (!str_to_u64(affinity, AFFINITY_S_MAX, &a) || a == 0))
        return false;
    if (!str_to_u64(count, SERVICE_ENDPOINTS_MAX, &n) || n == 0)
        return false;
    r.count = (uint16_t)n;
    r.affinity_s = (uint32_t)a;
    return is_name_of(r, name, c);
}

/* ---- what one Service needs ---- */

static void key_add(struct rule_element *e, const void *p, size_t n)
{
    ASSERT(e->key_n + 4 <= RULE_KEY_MAX && n <= 4);
    (void)memcpy(e->key + e->key_n, p, n);
    e->key_n += 4;
}

static void key_ip(struct rule_element *e, uint32_t ip)
{
    ip = __builtin_bswap32(ip);
    key_add(e, &ip, 4);
}

static void key_port(struct rule_element *e, uint16_t port)
{
    port = __builtin_bswap16(port);
    key_add(e, &port, 2);
}

/* ip 0: any local address */
static struct rule_element frontend_element(int map, const struct net_service *s, uint32_t ip, uint16_t port)
{
    struct rule_element e = {.map = (uint8_t)map};
    key_add(&e, &s->proto, 1);
    if (ip)
        key_ip(&e, ip);
    key_port(&e, port);
    return e;
}

static void elements_push(struct rule_elements *out, const struct rule_element *e)
{
    ASSERT(e->key_n == maps[e->map].key_n && e->data_n == maps[e->map].data_n);
    array_push(&out->list, *e);
}

static bool endpoint_is_chosen(const struct net_endpoint *ep, bool local)
{
    return local ? ep->local : !ep->fallback;
}

/* The endpoints of a frontend, numbered from `slot`; how many there are. */
static uint16_t add_slots(const struct net_service *s, uint32_t ip, uint16_t port, bool local, uint32_t slot,
                          struct rule_elements *out)
{
    uint16_t n = 0;
    for (size_t i = 0; i < s->nendpoints; i++) {
        const struct net_endpoint *ep = &s->endpoints[i];
        if (!endpoint_is_chosen(ep, local))
            continue;
        struct rule_element e = frontend_element(ip ? RULE_EPS : RULE_NPEPS, s, ip, port);
        uint32_t number = slot + n++; /* the kernel's numgen gives it in host order */
        uint32_t addr = __builtin_bswap32(ep->ip);
        uint16_t eport = __builtin_bswap16(ep->port);
        key_add(&e, &number, 4);
        (void)memcpy(e.data, &addr, 4);
        (void)memcpy(e.data + 4, &eport, 2);
        e.data_n = 8;
        elements_push(out, &e);
    }
    return n;
}

static void add_frontend(const struct net_service *s, uint32_t ip, uint16_t port, bool local, bool outside,
                         struct rule_elements *out)
{
    struct rule_element e = frontend_element(ip            ? outside ? RULE_SVCX : RULE_SVC
                                             : outside     ? s->balances ? RULE_LBX : RULE_NPX
                                             : s->balances ? RULE_LB
                                                           : RULE_NP,
                                             s, ip, port);
    e.chain = (struct rule_chain){.outside = outside, .by_address = ip != 0, .affinity_s = s->affinity_s};
    e.chain.count = add_slots(s, ip, port, local, outside ? OUTSIDE_SLOT : 0, out);
    if (e.chain.count == 0)
        e.chain = (struct rule_chain){0};
    elements_push(out, &e);
    if (!s->affinity_s || outside)
        return;
    e = frontend_element(ip ? RULE_LEARN : RULE_NPLEARN, s, ip, port);
    e.chain = (struct rule_chain){.learns = true, .affinity_s = s->affinity_s};
    elements_push(out, &e);
}

static void add_dead(const struct net_service *s, uint32_t ip, uint16_t port, struct rule_elements *out)
{
    struct rule_element e = frontend_element(ip ? RULE_DEAD : RULE_NPDEAD, s, ip, port);
    elements_push(out, &e);
}

static void add_outer(const struct net_service *s, uint32_t ip, uint16_t port, struct rule_elements *out)
{
    if (s->nendpoints == 0) {
        if (ip || !s->balances) /* something of loopback may listen there */
            add_dead(s, ip, port, out);
        return;
    }
    add_frontend(s, ip, port, false, false, out);
    if (s->external_local)
        add_frontend(s, ip, port, true, true, out);
}

static bool has_ip(const uint32_t *ips, size_t n, uint32_t ip)
{
    for (size_t i = 0; i < n; i++)
        if (ips[i] == ip)
            return true;
    return false;
}

/* ip 0: any local address */
static void add_guard(const struct net_service *s, uint32_t ip, uint16_t port, struct rule_elements *out)
{
    struct rule_element e = frontend_element(ip ? RULE_GUARD : RULE_NPGUARD, s, ip, port);
    elements_push(out, &e);
    for (size_t i = 0; i < s->nsources; i++) {
        e = frontend_element(ip ? RULE_ALLOW : RULE_NPALLOW, s, ip, port);
        key_ip(&e, s->sources[i].from);
        key_ip(&e, s->sources[i].to);
        elements_push(out, &e);
    }
}

/* What a process of this machine serves. */
static void process_elements(const struct net_service *s, struct rule_elements *out)
{
    for (size_t i = 0; i < s->nbalancer_ips; i++) {
        struct rule_element e = frontend_element(RULE_VIPPORTS, s, s->balancer_ips[i], s->port_number);
        elements_push(out, &e);
        if (s->guarded)
            add_guard(s, s->balancer_ips[i], s->port_number, out);
    }
    if (s->node_port && s->node_port_guarded)
        add_guard(s, 0, s->node_port, out);
}

void rules_of_service(const struct net_service *s, struct rule_elements *out)
{
    for (size_t i = 0; i < s->nbalancer_ips && s->pooled; i++) {
        struct rule_element e = {.map = RULE_VIPS};
        key_ip(&e, s->balancer_ips[i]);
        elements_push(out, &e);
    }
    if (s->process) {
        process_elements(s, out);
        return;
    }
    for (size_t i = 0; i < s->ncluster_ips; i++)
        if (s->nendpoints) /* without any, the service range refuses */
            add_frontend(s, s->cluster_ips[i], s->port_number, s->internal_local, false, out);
    for (size_t i = 0; i < s->nexternal_ips; i++) {
        add_outer(s, s->external_ips[i], s->port_number, out);
        if (s->guarded && has_ip(s->balancer_ips, s->nbalancer_ips, s->external_ips[i]))
            add_guard(s, s->external_ips[i], s->port_number, out);
    }
    if (s->node_port)
        add_outer(s, 0, s->node_port, out);
    if (s->node_port && s->node_port_guarded)
        add_guard(s, 0, s->node_port, out);
    if (!s->ncluster_ips && !s->nexternal_ips && !s->node_port)
        return;
    for (size_t i = 0; i < s->nendpoints; i++) {
        struct rule_element e = {.map = RULE_HAIRPIN};
        if (!s->endpoints[i].local)
            continue;
        key_ip(&e, s->endpoints[i].ip);
        key_ip(&e, s->endpoints[i].ip);
        elements_push(out, &e);
    }
}
/* ---- text ---- */

static const char *proto_name(uint8_t proto)
{
    return proto == NET_TCP ? "tcp" : proto == NET_UDP ? "udp" : proto == NET_SCTP ? "sctp" : "?";
}

void rule_element_text(const struct rule_element *e, struct strbuf *out)
{
    const uint8_t *k = e->key;
    strbuf_addz(out, maps[e->map].name);
    if (rule_map_is_shared(e->map)) {
        strbuf_addf(out, " %u.%u.%u.%u", k[0], k[1], k[2], k[3]);
        return;
    }
    bool by_address = maps[e->map].key_n - (e->data_n ? 4 : rule_map_is_ranges(e->map) ? 8 : 0) == 12;
    strbuf_addf(out, " %s ", proto_name(k[0]));
    k += 4;
    if (by_address) {
        strbuf_addf(out, "%u.%u.%u.%u:", k[0], k[1], k[2], k[3]);
        k += 4;
    } else {
        strbuf_addz(out, "*:");
    }
    strbuf_addf(out, "%u", (unsigned)(k[0] << 8 | k[1]));
    if (rule_map_is_ranges(e->map)) {
        strbuf_addf(out, " %u.%u.%u.%u-%u.%u.%u.%u", k[4], k[5], k[6], k[7], k[8], k[9], k[10], k[11]);
    } else if (e->data_n) {
        uint32_t slot;
        (void)memcpy(&slot, k + 4, sizeof slot);
        strbuf_addf(out, " #%u -> %u.%u.%u.%u:%u", slot, e->data[0], e->data[1], e->data[2], e->data[3],
                    (unsigned)(e->data[4] << 8 | e->data[5]));
    } else if (rule_map_is_verdict(e->map)) {
        char name[RULE_CHAIN_N] = "accept";
        if (rule_chain_is(e->chain))
            rule_chain_name(e->chain, name);
        strbuf_addf(out, " -> %s", name);
    }
}
