/* rules.c - service rules as data: the text of the table, what one Service needs of its maps, and the difference
 * between what is wanted and what the kernel has. rules.h tells what the maps are.
 *
 * The text. Chains name no Service; a packet's protocol, address and port are looked up in a map whose answer is a
 * chain, and that chain takes a random number below its number of slots and looks it up in the map of endpoints. So
 * the cost of a packet does not depend on the number of Services, and a Service that changes is some elements.
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
#include "net/ipam.h"

#define OUTSIDE_SLOT 32768 /* where the slots for clients from outside begin */
#define IDLE_CHAINS  64    /* kept for the next time that number of endpoints comes up */

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

void rules_table_name(struct instance in, char name[16])
{
    (void)snprintf(name, 16, "wherry-%s", in.id);
}

/* Chains that no element needs to know. $X stands for what the configuration says. */
static const char base[] =
    "table ip $TABLE {\n"
    "\tcomment \"Service rules of Wherry. Changes made here by hand are undone.\"\n"
    "\tmap svc { typeof meta l4proto . ip daddr . th dport : verdict; }\n"
    "\tmap svcx { typeof meta l4proto . ip daddr . th dport : verdict; }\n"
    "\tmap np { typeof meta l4proto . th dport : verdict; }\n"
    "\tmap npx { typeof meta l4proto . th dport : verdict; }\n"
    "\tmap learn { typeof meta l4proto . ip daddr . th dport : verdict; }\n"
    "\tmap nplearn { typeof meta l4proto . th dport : verdict; }\n"
    "\tmap eps { typeof meta l4proto . ip daddr . th dport . numgen random mod 65536 : ip daddr . th dport; }\n"
    "\tmap npeps { typeof meta l4proto . th dport . numgen random mod 65536 : ip daddr . th dport; }\n"
    "\tmap aff { typeof meta l4proto . ip daddr . th dport . ip saddr : ip daddr . th dport; "
    "flags dynamic,timeout; timeout 3h; size 262144; }\n"
    "\tset hairpin { typeof ip saddr . ip daddr; }\n"
    "\tset dead { typeof meta l4proto . ip daddr . th dport; }\n"
    "\tset npdead { typeof meta l4proto . th dport; }\n"
    /* every address of the service range counts as local, see ranges.c */
    "\tchain outside {\n"
    "$OWN"
    "\t\tmeta l4proto . ip daddr . th dport vmap @svcx\n"
    "\t\tip daddr != $SERVICES fib daddr type local meta l4proto . th dport vmap @npx\n"
    "\t}\n"
    "\tchain services {\n"
    "$OWN"
    "\t\tmeta l4proto . ip daddr . th dport vmap @svc\n"
    "\t\tip daddr != $SERVICES fib daddr type local meta l4proto . th dport vmap @np\n"
    "\t}\n"
    "\tchain nat-prerouting {\n"
    "\t\ttype nat hook prerouting priority -105; policy accept;\n"
    "\t\tip saddr != $PODS jump outside\n"
    "\t\tjump services\n"
    "\t}\n"
    "\tchain nat-output {\n"
    "\t\ttype nat hook output priority -105; policy accept;\n"
    "\t\tjump services\n"
    "\t}\n"
    /* an endpoint on another node must answer by way of us; a client that is a pod or this node keeps its address */
    "\tchain nat-postrouting {\n"
    "\t\ttype nat hook postrouting priority 95; policy accept;\n"
    /* not the node's address: connections of the host to ClusterIPs have that, with other clocks in their timestamps;
     * an endpoint that remembers one of either would not answer the other's SYN for a second */
    "\t\tct status dnat ip saddr 127.0.0.0/8 ip daddr $NODEPODS oifname != \"lo\" snat to 169.254.1.1\n"
    "\t\tct status dnat ip saddr 127.0.0.0/8 oifname != \"lo\" snat to $NODE\n"
    /* a third address for the same reason; nobody has it, answers are translated back before they are routed */
    "\t\tct status dnat ip saddr . ip daddr @hairpin oifname != \"lo\" snat to 169.254.1.2\n"
    "\t\tip saddr $PODS ip daddr != $PODS oifname != \"lo\" masquerade fully-random\n"
    "\t\tct status dnat ip saddr != $PODS ip daddr != $NODEPODS fib saddr type != local masquerade fully-random\n"
    "\t}\n"
    /* after translation; the rules of `learn` are made by nft.c */
    "\tchain learn {\n"
    "\t}\n"
    "\tchain learn-prerouting {\n"
    "\t\ttype filter hook prerouting priority -95; policy accept;\n"
    "\t\tct state new ct status dnat jump learn\n"
    "\t}\n"
    "\tchain learn-output {\n"
    "\t\ttype filter hook output priority -95; policy accept;\n"
    "\t\tct state new ct status dnat jump learn\n"
    "\t}\n"
    /* route_localnet is on for links of pods, so that answers to 127.0.0.1:NODEPORT come home; nothing else may */
    "\tchain raw-prerouting {\n"
    "\t\ttype filter hook prerouting priority -300; policy accept;\n"
    "\t\tiifname \"$LINKS*\" ip daddr 127.0.0.0/8 drop\n"
    "\t}\n"
    /* a reset is not rate-limited as ICMP is */
    "\tchain refuse {\n"
    "\t\tmeta l4proto tcp reject with tcp reset\n"
    "\t\treject with icmp port-unreachable\n"
    "\t}\n"
    /* what no rule translated */
    "\tchain untranslated {\n"
    "\t\tip daddr $SERVICES jump refuse\n"
    "$OWN"
    "\t\tct state new meta l4proto . ip daddr . th dport @dead jump refuse\n"
    "\t}\n"
    "\tchain filter-prerouting {\n"
    "\t\ttype filter hook prerouting priority 0; policy accept;\n"
    "\t\tct state new ip daddr $PODS fib daddr type != local fib daddr oif missing jump refuse\n"
    "\t}\n"
    "\tchain filter-forward {\n"
    "\t\ttype filter hook forward priority 0; policy accept;\n"
    "\t\tjump untranslated\n"
    /* a packet that conntrack gave up on would reach its client untranslated and end the connection */
    "\t\tct state invalid ip saddr $PODS drop\n"
    "\t}\n"
    "\tchain filter-output {\n"
    "\t\ttype filter hook output priority 0; policy accept;\n"
    "$OWN"
    "\t\tct state new meta l4proto . ip daddr . th dport @dead jump refuse\n"
    "\t}\n"
    "\tchain filter-input {\n"
    "\t\ttype filter hook input priority 0; policy accept;\n"
    "\t\tjump untranslated\n"
    "$OWN"
    "\t\tct state new fib daddr type local meta l4proto . th dport @npdead jump refuse\n"
    "\t}\n"
    "}\n";

/* What listens here itself: no hostPort and no external address of this machine takes its connections. */
static void own_port(const struct rules_config *c, struct strbuf *out)
{
    if (c->own_port)
        strbuf_addf(out, "\t\ttcp dport %u ip daddr != " CIDR_FMT " fib daddr type local return\n", c->own_port,
                    CIDR_ARG(c->services));
}

void rules_base_text(const struct rules_config *c, struct strbuf *out)
{
    char table[16];
    rules_table_name(c->instance, table);
    strbuf_addf(out, "table ip %s {\n}\ndelete table ip %s\n", table, table);
    for (const char *p = base; *p;) {
        if (*p != '$') {
            strbuf_addc(out, *p++);
            continue;
        }
        struct str rest = str_of(p + 1);
        const struct {
            struct str name;
            struct cidr4 cidr;
        } ranges[] = {{S("PODS"), c->pods}, {S("NODEPODS"), c->node_pods}, {S("SERVICES"), c->services}};
        size_t used = 1;
        if (str_starts(rest, S("TABLE"))) {
            strbuf_addz(out, table);
            used += 5;
        } else if (str_starts(rest, S("LINKS"))) {
            strbuf_addf(out, "w%s-", c->instance.id);
            used += 5;
        } else if (str_starts(rest, S("OWN"))) {
            own_port(c, out);
            used += 3;
        } else if (str_starts(rest, S("NODE")) && !str_starts(rest, S("NODEPODS"))) {
            strbuf_addf(out, IP4_FMT, IP4_ARG(ipam_node_ip(c->node_pods)));
            used += 4;
        }
        for (size_t i = 0; i < countof(ranges); i++) {
            if (!str_starts(rest, ranges[i].name))
                continue;
            strbuf_addf(out, CIDR_FMT, CIDR_ARG(ranges[i].cidr));
            used += ranges[i].name.n;
            break;
        }
        ASSERT(used > 1);
        p += used;
    }
}

uint64_t rules_base_version(const struct rules_config *c)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a: the same on every start */
    rules_base_text(c, &b);
    for (size_t i = 0; i < b.n; i++)
        h = (h ^ (uint8_t)b.p[i]) * 0x100000001b3u;
    return h;
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
    struct rule_element e = frontend_element(ip        ? outside ? RULE_SVCX : RULE_SVC
                                             : outside ? RULE_NPX
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
        add_dead(s, ip, port, out);
        return;
    }
    add_frontend(s, ip, port, false, false, out);
    if (s->external_local)
        add_frontend(s, ip, port, true, true, out);
}

void rules_of_service(const struct net_service *s, struct rule_elements *out)
{
    for (size_t i = 0; i < s->ncluster_ips; i++)
        if (s->nendpoints) /* without any, the service range refuses */
            add_frontend(s, s->cluster_ips[i], s->port_number, s->internal_local, false, out);
    for (size_t i = 0; i < s->nexternal_ips; i++)
        add_outer(s, s->external_ips[i], s->port_number, out);
    if (s->node_port)
        add_outer(s, 0, s->node_port, out);
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
    bool marked;
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
        if (slot->refs && (e->map != RULE_HAIRPIN)) {
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
        held = slot && slot->refs && e->map != RULE_HAIRPIN;
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
    struct net_service part = *s;
    size_t kept = 0;
    bool none = true;
    part.ncluster_ips = part.nexternal_ips = 0;
    if (s->node_port && is_held(r, &part, err))
        none = false, s->node_port = 0;
    part.node_port = 0;
    for (size_t i = 0; i < s->nexternal_ips; i++) {
        part.external_ips = &external[i];
        part.nexternal_ips = 1;
        if (is_held(r, &part, err))
            none = false;
        else
            external[kept++] = external[i];
    }
    s->nexternal_ips = kept;
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
    sv->marked = false;
    note_gone(r, &was, &now);
    mem_free((void *)was.cluster_ips);
    mem_free((void *)was.external_ips);
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

void rules_mark(struct rules *r)
{
    map_each (it, &r->services)
        ((struct rule_service *)it->value)->marked = true;
}

void rules_sweep(struct rules *r)
{
    map_each (it, &r->services) {
        struct rule_service *sv = it->value;
        if (!sv->marked)
            continue;
        note_gone(r, &sv->of, NULL);
        service_release(r, sv);
        service_free(sv);
        (void)map_del(&r->services, it->key);
    }
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

/* ---- text ---- */

static const char *proto_name(uint8_t proto)
{
    return proto == NET_TCP ? "tcp" : proto == NET_UDP ? "udp" : proto == NET_SCTP ? "sctp" : "?";
}

void rule_element_text(const struct rule_element *e, struct strbuf *out)
{
    const uint8_t *k = e->key;
    strbuf_addz(out, maps[e->map].name);
    if (e->map == RULE_HAIRPIN) {
        strbuf_addf(out, " %u.%u.%u.%u", k[0], k[1], k[2], k[3]);
        return;
    }
    bool by_address = maps[e->map].key_n - (e->data_n ? 4 : 0) == 12;
    strbuf_addf(out, " %s ", proto_name(k[0]));
    k += 4;
    if (by_address) {
        strbuf_addf(out, "%u.%u.%u.%u:", k[0], k[1], k[2], k[3]);
        k += 4;
    } else {
        strbuf_addz(out, "*:");
    }
    strbuf_addf(out, "%u", (unsigned)(k[0] << 8 | k[1]));
    if (e->data_n) {
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
