/* nft.c - the rules in the kernel: messages of nf_tables for changes, and reading back what is there.
 *
 * The table as a whole is text (rules.c) and is loaded by the program nft, which knows the grammar; that happens
 * once, and again when somebody has damaged the table. All changes after that are elements of maps, chains that
 * spread over a number of endpoints, and nothing else, and those are written here as messages in one transaction:
 * chains first, then elements out, elements in, idle chains away. So a packet sees the rules before or after it, and
 * a change costs some microseconds an element whatever else is there.
 *
 * Two things are made here because nft has no words for them: the chains that spread (expressions with numgen and a
 * lookup), and those that learn session affinity from conntrack's original address (see README).
 *
 * After the transaction come two clean-ups that cannot be part of it: affinity entries, which the packet path
 * writes, and conntrack's entries of datagrams. They run when the new rules hold, because what would be learnt in
 * between would be learnt from the old ones.
 *
 * Reading back (nft_read) tells whether the table is ours as we left it: the names and hooks of chains and the
 * expressions of rules are hashed, without those of spreading chains, which are only counted; the hash and that of
 * the text are in the name of a chain, "v-BASE-RULES", made when the table was loaded. Tables, chains, rules and
 * elements are separate dumps: if any is interrupted by a change, all of it is read again.
 *
 * Watching: the kernel reports changes of all tables with the port of the socket that made them; ours are passed
 * over by that.
 */
#include "net/nft.h"
#include "base/fault.h"
#include "net/conntrack.h"
#include "sys/child.h"
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#define NFT_TIMEOUT_MS   20000
#define ELEMENTS_PER_MSG 400 /* an attribute holds 64 KiB, an element at most 80 bytes */
#define OUTSIDE_SLOT     32768
#define AFFINITY_TRIES   5
#define READ_TRIES       5
#define REG(i)           (NFT_REG32_00 + (i))
#define DATA_REG         REG(4) /* address and port of the endpoint: two registers */

enum { IP_SADDR = 12, IP_DADDR = 16, TH_DPORT = 2 }; /* offsets in their headers */

bool nft_open(struct nft *n, const struct rules_config *c, struct err *err)
{
    *n = (struct nft){.config = *c, .nl = NETLINK};
    return netlink_open(&n->nl, NETLINK_NETFILTER, err);
}

void nft_close(struct nft *n)
{
    netlink_close(&n->nl);
}

uint32_t nft_port(const struct nft *n)
{
    struct sockaddr_nl a = {0};
    socklen_t len = sizeof a;
    return getsockname(n->nl.fd, (struct sockaddr *)&a, &len) < 0 ? 0 : a.nl_pid;
}

static bool nft_reopen(struct nft *n, struct err *err)
{
    if (n->nl.fd >= 0 && !n->nl.broken)
        return true;
    netlink_close(&n->nl);
    return netlink_open(&n->nl, NETLINK_NETFILTER, err);
}

/* ---- messages ---- */

static void message_begin(struct nlbuf *b, int op, uint16_t flags)
{
    struct nfgenmsg g = {.nfgen_family = AF_INET, .version = NFNETLINK_V0};
    nlbuf_begin(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | op), flags, &g, sizeof g);
}

static void batch_mark(struct nlbuf *b, uint16_t type)
{
    struct nfgenmsg g = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0};
    g.res_id = __builtin_bswap16(NFNL_SUBSYS_NFTABLES);
    nlbuf_begin(b, type, 0, &g, sizeof g);
    nlbuf_end(b);
}

/* Closes a transaction. Only its last message is acknowledged: the answer comes after the commit, and any message may
 * answer with an error before. */
static bool batch_send(struct nft *n, struct nlbuf *b, struct err *err)
{
    struct nlmsghdr *last = (struct nlmsghdr *)(b->p + b->at);
    last->nlmsg_flags |= NLM_F_ACK;
    batch_mark(b, NFNL_MSG_BATCH_END);
    return netlink_send(&n->nl, b, NULL, NULL, NULL, err);
}

static size_t expr_begin(struct nlbuf *b, const char *name, size_t *data)
{
    size_t nest = nlbuf_nest(b, NFTA_LIST_ELEM);
    nlbuf_put_strz(b, NFTA_EXPR_NAME, name);
    *data = nlbuf_nest(b, NFTA_EXPR_DATA);
    return nest;
}

static void expr_end(struct nlbuf *b, size_t nest, size_t data)
{
    nlbuf_nest_end(b, data);
    nlbuf_nest_end(b, nest);
}

static void expr_l4proto(struct nlbuf *b, uint32_t reg)
{
    size_t data, nest = expr_begin(b, "meta", &data);
    nlbuf_put_be32(b, NFTA_META_KEY, NFT_META_L4PROTO);
    nlbuf_put_be32(b, NFTA_META_DREG, reg);
    expr_end(b, nest, data);
}

static void expr_payload(struct nlbuf *b, uint32_t header, uint32_t offset, uint32_t len, uint32_t reg)
{
    size_t data, nest = expr_begin(b, "payload", &data);
    nlbuf_put_be32(b, NFTA_PAYLOAD_DREG, reg);
    nlbuf_put_be32(b, NFTA_PAYLOAD_BASE, header);
    nlbuf_put_be32(b, NFTA_PAYLOAD_OFFSET, offset);
    nlbuf_put_be32(b, NFTA_PAYLOAD_LEN, len);
    expr_end(b, nest, data);
}

static void expr_numgen(struct nlbuf *b, uint32_t modulus, uint32_t offset, uint32_t reg)
{
    size_t data, nest = expr_begin(b, "numgen", &data);
    nlbuf_put_be32(b, NFTA_NG_DREG, reg);
    nlbuf_put_be32(b, NFTA_NG_MODULUS, modulus);
    nlbuf_put_be32(b, NFTA_NG_TYPE, NFT_NG_RANDOM);
    nlbuf_put_be32(b, NFTA_NG_OFFSET, offset);
    expr_end(b, nest, data);
}

static void expr_lookup(struct nlbuf *b, const char *set, uint32_t sreg, uint32_t dreg)
{
    size_t data, nest = expr_begin(b, "lookup", &data);
    nlbuf_put_strz(b, NFTA_LOOKUP_SET, set);
    nlbuf_put_be32(b, NFTA_LOOKUP_SREG, sreg);
    nlbuf_put_be32(b, NFTA_LOOKUP_DREG, dreg);
    nlbuf_put_be32(b, NFTA_LOOKUP_FLAGS, 0);
    expr_end(b, nest, data);
}

static void expr_dnat(struct nlbuf *b)
{
    size_t data, nest = expr_begin(b, "nat", &data);
    nlbuf_put_be32(b, NFTA_NAT_TYPE, NFT_NAT_DNAT);
    nlbuf_put_be32(b, NFTA_NAT_FAMILY, NFPROTO_IPV4);
    nlbuf_put_be32(b, NFTA_NAT_REG_ADDR_MIN, DATA_REG);
    nlbuf_put_be32(b, NFTA_NAT_REG_ADDR_MAX, DATA_REG);
    nlbuf_put_be32(b, NFTA_NAT_REG_PROTO_MIN, DATA_REG + 1);
    nlbuf_put_be32(b, NFTA_NAT_REG_PROTO_MAX, DATA_REG + 1);
    expr_end(b, nest, data);
}

static void expr_ct_original(struct nlbuf *b, uint32_t key, uint32_t reg)
{
    size_t data, nest = expr_begin(b, "ct", &data);
    nlbuf_put_be32(b, NFTA_CT_DREG, reg);
    nlbuf_put_be32(b, NFTA_CT_KEY, key);
    nlbuf_put_u8(b, NFTA_CT_DIRECTION, 0);
    expr_end(b, nest, data);
}

static void expr_update_affinity(struct nlbuf *b, uint32_t seconds)
{
    size_t data, nest = expr_begin(b, "dynset", &data);
    nlbuf_put_strz(b, NFTA_DYNSET_SET_NAME, "aff");
    nlbuf_put_be32(b, NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
    nlbuf_put_be32(b, NFTA_DYNSET_SREG_KEY, REG(0));
    nlbuf_put_be32(b, NFTA_DYNSET_SREG_DATA, DATA_REG);
    nlbuf_put_be64(b, NFTA_DYNSET_TIMEOUT, (uint64_t)seconds * 1000);
    expr_end(b, nest, data);
}

struct rule_text { /* where a rule under construction stands */
    size_t exprs;
};

static struct rule_text rule_begin(struct nlbuf *b, const char *table, const char *chain)
{
    message_begin(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    nlbuf_put_strz(b, NFTA_RULE_TABLE, table);
    nlbuf_put_strz(b, NFTA_RULE_CHAIN, chain);
    return (struct rule_text){nlbuf_nest(b, NFTA_RULE_EXPRESSIONS)};
}

static void rule_end(struct nlbuf *b, struct rule_text r)
{
    nlbuf_nest_end(b, r.exprs);
    nlbuf_end(b);
}

/* endpoint := eps[proto . address . port . random slot] into DATA_REG */
static void expr_endpoint(struct nlbuf *b, struct rule_chain c, uint32_t modulus)
{
    uint32_t reg = 0;
    expr_l4proto(b, REG(reg++));
    if (c.by_address)
        expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP_DADDR, 4, REG(reg++));
    expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_DPORT, 2, REG(reg++));
    expr_numgen(b, modulus, c.outside ? OUTSIDE_SLOT : 0, REG(reg));
    expr_lookup(b, c.by_address ? "eps" : "npeps", REG(0), DATA_REG);
}

static void expr_affinity_key(struct nlbuf *b)
{
    expr_l4proto(b, REG(0));
    expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP_DADDR, 4, REG(1));
    expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_DPORT, 2, REG(2));
    expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP_SADDR, 4, REG(3));
}

static void put_chain(struct nlbuf *b, const char *table, const char *name, uint16_t op, uint16_t flags)
{
    message_begin(b, op, flags);
    nlbuf_put_strz(b, NFTA_CHAIN_TABLE, table);
    nlbuf_put_strz(b, NFTA_CHAIN_NAME, name);
    nlbuf_end(b);
}

/* The packet has been translated: what it was sent to is known to conntrack alone, where it goes is its address. */
static void put_learning_chain(struct nlbuf *b, const char *table, const char *name, uint32_t seconds)
{
    struct rule_text r = rule_begin(b, table, name);
    expr_l4proto(b, REG(0));
    expr_ct_original(b, NFT_CT_DST_IP, REG(1));
    expr_ct_original(b, NFT_CT_PROTO_DST, REG(2));
    expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP_SADDR, 4, REG(3));
    expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP_DADDR, 4, DATA_REG);
    expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_DPORT, 2, DATA_REG + 1);
    expr_update_affinity(b, seconds);
    rule_end(b, r);
}

/* A slot may go between the packet's reading of the chain and of the map; then the second rule takes slot 0, which is
 * there as long as any is. */
static void put_chain_for_elements(struct nlbuf *b, const char *table, struct rule_chain c)
{
    char name[RULE_CHAIN_N];
    rule_chain_name(c, name);
    put_chain(b, table, name, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL);
    if (c.learns) {
        put_learning_chain(b, table, name, c.affinity_s);
        return;
    }
    if (c.affinity_s) {
        struct rule_text r = rule_begin(b, table, name);
        expr_affinity_key(b);
        expr_lookup(b, "aff", REG(0), DATA_REG);
        expr_dnat(b);
        rule_end(b, r);
    }
    uint32_t moduli[] = {c.count, 1};
    for (size_t i = 0; i < countof(moduli); i++) {
        struct rule_text r = rule_begin(b, table, name);
        expr_endpoint(b, c, moduli[i]);
        expr_dnat(b);
        rule_end(b, r);
    }
}

/* What nft's grammar has no words for (the original port of a connection in a key), though it lists it. */
static void put_learn_rules(struct nlbuf *b, const char *table)
{
    struct rule_text r = rule_begin(b, table, "learn");
    expr_l4proto(b, REG(0));
    expr_ct_original(b, NFT_CT_DST_IP, REG(1));
    expr_ct_original(b, NFT_CT_PROTO_DST, REG(2));
    expr_lookup(b, rule_map_name(RULE_LEARN), REG(0), NFT_REG_VERDICT);
    rule_end(b, r);
    r = rule_begin(b, table, "learn");
    expr_l4proto(b, REG(0));
    expr_ct_original(b, NFT_CT_PROTO_DST, REG(1));
    expr_lookup(b, rule_map_name(RULE_NPLEARN), REG(0), NFT_REG_VERDICT);
    rule_end(b, r);
}

static unsigned rules_in(struct rule_chain c)
{
    return c.learns ? 1 : c.affinity_s ? 3 : 2;
}

struct element_list {
    struct nlbuf *b;
    const char *table;
    int map, op;
    unsigned n; /* in the open message; 0: none is open */
    size_t nest;
};

static void elements_close(struct element_list *l)
{
    if (!l->n)
        return;
    nlbuf_nest_end(l->b, l->nest);
    nlbuf_end(l->b);
    l->n = 0;
}

static void elements_open(struct element_list *l, const char *set)
{
    if (l->n++)
        return;
    message_begin(l->b, l->op, l->op == NFT_MSG_NEWSETELEM ? NLM_F_CREATE | NLM_F_EXCL : 0);
    nlbuf_put_strz(l->b, NFTA_SET_ELEM_LIST_TABLE, l->table);
    nlbuf_put_strz(l->b, NFTA_SET_ELEM_LIST_SET, set);
    l->nest = nlbuf_nest(l->b, NFTA_SET_ELEM_LIST_ELEMENTS);
}

static void put_key(struct nlbuf *b, const void *key, size_t n)
{
    size_t nest = nlbuf_nest(b, NFTA_SET_ELEM_KEY);
    nlbuf_put(b, NFTA_DATA_VALUE, key, n);
    nlbuf_nest_end(b, nest);
}

static void put_verdict(struct nlbuf *b, struct rule_chain c)
{
    char name[RULE_CHAIN_N];
    size_t data = nlbuf_nest(b, NFTA_SET_ELEM_DATA), verdict = nlbuf_nest(b, NFTA_DATA_VERDICT);
    bool there = rule_chain_is(c);
    nlbuf_put_be32(b, NFTA_VERDICT_CODE, there ? (uint32_t)NFT_GOTO : NF_ACCEPT);
    if (there) {
        rule_chain_name(c, name);
        nlbuf_put_strz(b, NFTA_VERDICT_CHAIN, name);
    }
    nlbuf_nest_end(b, verdict);
    nlbuf_nest_end(b, data);
}

static void elements_add(struct element_list *l, const struct rule_element *e)
{
    if (l->n == ELEMENTS_PER_MSG || (l->n && l->map != e->map))
        elements_close(l);
    l->map = e->map;
    elements_open(l, rule_map_name(e->map));
    size_t elem = nlbuf_nest(l->b, NFTA_LIST_ELEM);
    put_key(l->b, e->key, e->key_n);
    if (l->op == NFT_MSG_NEWSETELEM && rule_map_is_verdict(e->map)) {
        put_verdict(l->b, e->chain);
    } else if (l->op == NFT_MSG_NEWSETELEM && e->data_n) {
        size_t data = nlbuf_nest(l->b, NFTA_SET_ELEM_DATA);
        nlbuf_put(l->b, NFTA_DATA_VALUE, e->data, e->data_n);
        nlbuf_nest_end(l->b, data);
    }
    nlbuf_nest_end(l->b, elem);
}

/* One map after the other, so that a message holds many. */
static void put_changes(struct nlbuf *b, const char *table, const struct rules_diff *d, int op)
{
    for (int map = 0; map < RULE_MAPS; map++) {
        struct element_list l = {.b = b, .table = table, .op = op};
        for (size_t i = 0; i < d->changes.n; i++) {
            const struct rule_change *c = &d->changes.p[i];
            if (c->e.map == map && (op == NFT_MSG_NEWSETELEM ? c->add : c->del))
                elements_add(&l, &c->e);
        }
        elements_close(&l);
    }
}

/* ---- affinity ---- */

struct affinity {
    uint8_t key[16], data[8];
};
struct affinities {
    const struct rules_diff *d;
    struct map kept; /* by rule_pair_key */
    ARRAY(struct affinity) stale;
};

static bool affinity_gone(const struct affinity *a, const struct rule_gone *g)
{
    uint32_t ip = __builtin_bswap32(g->ip), to = __builtin_bswap32(g->endpoint.ip);
    uint16_t port = __builtin_bswap16(g->port), eport = __builtin_bswap16(g->endpoint.port);
    return g->affinity && a->key[0] == g->proto && (!g->ip || memcmp(a->key + 4, &ip, 4) == 0) &&
           memcmp(a->key + 8, &port, 2) == 0 && memcmp(a->data, &to, 4) == 0 && memcmp(a->data + 4, &eport, 2) == 0;
}

static bool affinity_kept(const struct affinity *a, const struct map *kept)
{
    struct rule_element e = {.map = RULE_EPS}; /* but for its last field the key of aff is that of eps */
    char buf[RULE_PAIR_N];
    (void)memcpy(e.key, a->key, sizeof e.key);
    (void)memcpy(e.data, a->data, sizeof e.data);
    struct rule_gone pair = rule_pair_in(&e);
    if (map_get(kept, rule_pair_key(&pair, buf)))
        return true;
    pair.ip = 0; /* a node port, at whichever address */
    return map_get(kept, rule_pair_key(&pair, buf)) != NULL;
}

static void elements_each(const struct nlmsghdr *h, void (*fn)(const struct nlattr *elem, void *arg), void *arg)
{
    const struct nlattr *a, *elem;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(a) != NFTA_SET_ELEM_LIST_ELEMENTS)
            continue;
        mnl_attr_for_each_nested(elem, a)
        {
            fn(elem, arg);
        }
    }
}

static void copy_value(const struct nlattr *nest, void *out, size_t max, size_t *n)
{
    const struct nlattr *a;
    *n = 0;
    mnl_attr_for_each_nested(a, nest)
    {
        if (mnl_attr_get_type(a) != NFTA_DATA_VALUE || mnl_attr_get_payload_len(a) > max)
            continue;
        *n = mnl_attr_get_payload_len(a);
        (void)memcpy(out, mnl_attr_get_payload(a), *n);
    }
}

static void affinity_one(const struct nlattr *elem, void *arg)
{
    struct affinities *s = arg;
    struct affinity x = {0};
    const struct nlattr *a;
    size_t key_n = 0, data_n = 0;
    mnl_attr_for_each_nested(a, elem)
    {
        if (mnl_attr_get_type(a) == NFTA_SET_ELEM_KEY)
            copy_value(a, x.key, sizeof x.key, &key_n);
        else if (mnl_attr_get_type(a) == NFTA_SET_ELEM_DATA)
            copy_value(a, x.data, sizeof x.data, &data_n);
    }
    if (key_n != sizeof x.key || data_n != sizeof x.data)
        return;
    if (s->d->sweep && !affinity_kept(&x, &s->kept)) {
        array_push(&s->stale, x);
        return;
    }
    for (size_t i = 0; i < s->d->gone.n; i++) {
        if (affinity_gone(&x, &s->d->gone.p[i])) {
            array_push(&s->stale, x);
            return;
        }
    }
}

static void affinity_each(const struct nlmsghdr *h, void *arg)
{
    elements_each(h, affinity_one, arg);
}

static void affinity_again(void *arg)
{
    array_clear(&((struct affinities *)arg)->stale);
}

static void get_elements(struct nlbuf *b, const char *table, const char *set)
{
    message_begin(b, NFT_MSG_GETSETELEM, 0);
    nlbuf_put_strz(b, NFTA_SET_ELEM_LIST_TABLE, table);
    nlbuf_put_strz(b, NFTA_SET_ELEM_LIST_SET, set);
    nlbuf_end(b);
}

static bool affinity_delete(struct nft *n, const char *table, const struct affinities *s, struct err *err)
{
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    struct element_list l = {.b = &b, .table = table, .op = NFT_MSG_DELSETELEM};
    batch_mark(&b, NFNL_MSG_BATCH_BEGIN);
    for (size_t i = 0; i < s->stale.n; i++) {
        if (l.n == ELEMENTS_PER_MSG)
            elements_close(&l);
        elements_open(&l, "aff");
        size_t elem = nlbuf_nest(&b, NFTA_LIST_ELEM);
        put_key(&b, s->stale.p[i].key, sizeof s->stale.p[i].key);
        nlbuf_nest_end(&b, elem);
    }
    elements_close(&l);
    return batch_send(n, &b, err);
}

static bool affinity_forget(struct nft *n, const char *table, const struct rules_diff *d, struct err *err)
{
    bool any = d->sweep;
    AUTO(map_fini) struct map kept = MAP;
    char buf[RULE_PAIR_N];
    for (size_t i = 0; i < d->gone.n; i++)
        any |= d->gone.p[i].affinity;
    for (size_t i = 0; i < d->kept.n; i++)
        (void)map_put(&kept, rule_pair_key(&d->kept.p[i], buf), (void *)&d->kept.p[i]);
    for (int i = 0; any && i < AFFINITY_TRIES; i++) {
        AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
        struct affinities s = {.d = d, .kept = kept};
        struct err e = ERR;
        get_elements(&b, table, "aff");
        bool ok = netlink_dump(&n->nl, &b, affinity_each, affinity_again, &s, &e);
        if (ok && s.stale.n)
            ok = affinity_delete(n, table, &s, &e);
        array_fini(&s.stale);
        if (ok)
            return true;
        if (e.sys != ENOENT || i + 1 == AFFINITY_TRIES) { /* else one ran out between reading and deleting */
            *err = e;
            return err_wrap(err, "session affinity");
        }
    }
    return true;
}

static bool datagrams_forget(struct nft *n, const struct rules_diff *d, struct err *err)
{
    AUTO(map_fini) struct map pairs = MAP;
    char buf[RULE_PAIR_N];
    for (size_t i = 0; i < d->kept_udp.n; i++)
        (void)map_put(&pairs, rule_pair_key(&d->kept_udp.p[i], buf), (void *)&d->kept_udp.p[i]);
    struct conntrack_keep keep = {&pairs, n->config.pods, n->config.services};
    return conntrack_forget(d->gone.p, d->gone.n, d->sweep ? &keep : NULL, NULL, err);
}

bool nft_apply(struct nft *n, const struct rules_diff *d, bool *in_kernel, struct err *err)
{
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    char table[16], name[RULE_CHAIN_N];
    rules_table_name(n->config.instance, table);
    *in_kernel = false;
    if (!nft_reopen(n, err))
        return false;
    *in_kernel = true;
    if (!rules_diff_empty(d)) {
        batch_mark(&b, NFNL_MSG_BATCH_BEGIN);
        for (size_t i = 0; i < d->chains.n; i++)
            put_chain_for_elements(&b, table, d->chains.p[i]);
        put_changes(&b, table, d, NFT_MSG_DELSETELEM);
        put_changes(&b, table, d, NFT_MSG_NEWSETELEM);
        for (size_t i = 0; i < d->idle_chains.n; i++) {
            rule_chain_name(d->idle_chains.p[i], name);
            put_chain(&b, table, name, NFT_MSG_DELCHAIN, 0);
        }
        *in_kernel = !fault("nft.apply", EBUSY) && batch_send(n, &b, err);
        if (!*in_kernel)
            return err_wrap(err, "service rules");
    }
    return affinity_forget(n, table, d, err) && datagrams_forget(n, d, err);
}

/* ---- reading ---- */

struct nft_reading {
    const char *table;
    struct nft_state *out;
    uint64_t hash;
    char marker[64];
    bool dormant, there, interrupted;
    struct map rules; /* spreading chain -> number of its rules, as a pointer */
    int map;
};

static uint64_t hash_more(uint64_t h, const void *p, size_t n)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3u;
    return h;
}

static const char *text_attr(const struct nlattr *a)
{
    return mnl_attr_validate(a, MNL_TYPE_NUL_STRING) < 0 ? "" : mnl_attr_get_str(a);
}

static void read_table(const struct nlmsghdr *h, void *arg)
{
    struct nft_reading *r = arg;
    const struct nlattr *a;
    bool ours = false;
    uint32_t flags = 0;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(a) == NFTA_TABLE_NAME)
            ours = strcmp(text_attr(a), r->table) == 0;
        else if (mnl_attr_get_type(a) == NFTA_TABLE_FLAGS && mnl_attr_get_payload_len(a) == 4)
            flags = __builtin_bswap32(mnl_attr_get_u32(a));
    }
    if (ours) {
        r->there = true;
        r->dormant = flags & NFT_TABLE_F_DORMANT;
    }
}

static void read_chain(const struct nlmsghdr *h, void *arg)
{
    struct nft_reading *r = arg;
    const struct nlattr *a, *hook = NULL, *policy = NULL;
    const char *table = "", *name = "";
    struct rule_chain c;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        switch (mnl_attr_get_type(a)) {
        case NFTA_CHAIN_TABLE: table = text_attr(a); break;
        case NFTA_CHAIN_NAME: name = text_attr(a); break;
        case NFTA_CHAIN_HOOK: hook = a; break;
        case NFTA_CHAIN_POLICY: policy = a; break;
        }
    }
    if (strcmp(table, r->table) != 0)
        return;
    if (rule_chain_parse(name, &c)) {
        (void)map_put(&r->out->chains, str_of(name), r);
    } else if (strncmp(name, "v-", 2) == 0) {
        (void)snprintf(r->marker, sizeof r->marker, "%s", name);
    } else {
        r->hash = hash_more(r->hash, name, strlen(name));
        if (hook)
            r->hash = hash_more(r->hash, hook, hook->nla_len);
        if (policy)
            r->hash = hash_more(r->hash, policy, policy->nla_len);
    }
}

static void read_rule(const struct nlmsghdr *h, void *arg)
{
    struct nft_reading *r = arg;
    const struct nlattr *a, *exprs = NULL;
    const char *table = "", *chain = "";
    struct rule_chain c;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        switch (mnl_attr_get_type(a)) {
        case NFTA_RULE_TABLE: table = text_attr(a); break;
        case NFTA_RULE_CHAIN: chain = text_attr(a); break;
        case NFTA_RULE_EXPRESSIONS: exprs = a; break;
        }
    }
    if (strcmp(table, r->table) != 0)
        return;
    if (rule_chain_parse(chain, &c)) {
        uintptr_t n = (uintptr_t)map_get(&r->rules, str_of(chain));
        (void)map_put(&r->rules, str_of(chain), (void *)(n + 1)); /* a count, not an address */
        return;
    }
    r->hash = hash_more(r->hash, chain, strlen(chain));
    if (exprs)
        r->hash = hash_more(r->hash, exprs, exprs->nla_len);
}

static void read_verdict(const struct nlattr *data, struct rule_chain *c)
{
    const struct nlattr *v, *a;
    mnl_attr_for_each_nested(v, data)
    {
        if (mnl_attr_get_type(v) != NFTA_DATA_VERDICT)
            continue;
        mnl_attr_for_each_nested(a, v)
        {
            /* a name that is none of ours stays the empty chain: a difference, so it is repaired */
            if (mnl_attr_get_type(a) == NFTA_VERDICT_CHAIN)
                (void)rule_chain_parse(text_attr(a), c);
        }
    }
}

static void read_one(const struct nlattr *elem, void *arg)
{
    struct nft_reading *r = arg;
    struct rule_element e = {.map = (uint8_t)r->map};
    const struct nlattr *a;
    size_t n;
    mnl_attr_for_each_nested(a, elem)
    {
        int type = mnl_attr_get_type(a);
        if (type == NFTA_SET_ELEM_KEY) {
            copy_value(a, e.key, sizeof e.key, &n);
            e.key_n = (uint8_t)n;
        } else if (type == NFTA_SET_ELEM_DATA && rule_map_is_verdict(r->map)) {
            read_verdict(a, &e.chain);
        } else if (type == NFTA_SET_ELEM_DATA) {
            copy_value(a, e.data, sizeof e.data, &n);
            e.data_n = (uint8_t)n;
        }
    }
    array_push(&r->out->elements, e);
}

static void read_elements(const struct nlmsghdr *h, void *arg)
{
    elements_each(h, read_one, arg);
}

void nft_state_fini(struct nft_state *s)
{
    array_fini(&s->elements);
    map_fini(&s->chains);
    *s = (struct nft_state){0};
}

static void read_again(void *arg)
{
    ((struct nft_reading *)arg)->interrupted =
        true; /* what was read fits together only if nothing changed meanwhile */
}

static void read_fresh(struct nft_reading *r)
{
    r->hash = 0xcbf29ce484222325u;
    r->there = r->dormant = r->interrupted = false;
    r->marker[0] = 0;
    map_fini(&r->rules);
    r->rules = MAP;
    nft_state_fini(r->out);
}

static bool read_kind(struct nft *n, struct nft_reading *r, int op, void (*fn)(const struct nlmsghdr *h, void *arg),
                      struct err *err)
{
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    message_begin(&b, op, 0);
    nlbuf_end(&b);
    return netlink_dump(&n->nl, &b, fn, read_again, r, err);
}

static void marker_of(const struct nft *n, uint64_t hash, char marker[64])
{
    (void)snprintf(marker, 64, "v-%016llx-%016llx", (unsigned long long)rules_base_version(&n->config),
                   (unsigned long long)hash);
}

static bool read_chains(struct nft *n, struct nft_reading *r, struct err *err)
{
    return read_kind(n, r, NFT_MSG_GETTABLE, read_table, err) && read_kind(n, r, NFT_MSG_GETCHAIN, read_chain, err) &&
           read_kind(n, r, NFT_MSG_GETRULE, read_rule, err);
}

static bool chains_whole(const struct nft_reading *r)
{
    struct rule_chain c;
    map_each (it, &r->out->chains)
        if (!rule_chain_parse(it->key.p, &c) || (uintptr_t)map_get(&r->rules, it->key) != rules_in(c))
            return false;
    return true;
}

static bool read_maps(struct nft *n, struct nft_reading *r, struct err *err)
{
    for (int map = 0; r->out->whole && map < RULE_MAPS; map++) {
        AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
        struct err e = ERR;
        get_elements(&b, r->table, rule_map_name(map));
        r->map = map;
        if (netlink_dump(&n->nl, &b, read_elements, read_again, r, &e))
            continue;
        r->out->whole = false;
        if (e.sys != ENOENT) { /* a map that is gone is repaired like any other damage */
            *err = e;
            return false;
        }
    }
    return true;
}

static bool read_once(struct nft *n, struct nft_reading *r, struct err *err)
{
    char marker[64];
    read_fresh(r);
    if (!read_chains(n, r, err))
        return false;
    marker_of(n, r->hash, marker);
    r->out->whole = r->there && !r->dormant && strcmp(marker, r->marker) == 0 && chains_whole(r);
    return read_maps(n, r, err);
}

bool nft_read(struct nft *n, struct nft_state *out, struct err *err)
{
    char table[16];
    struct nft_reading r = {.table = table, .out = out};
    *out = (struct nft_state){0};
    rules_table_name(n->config.instance, table);
    bool ok = nft_reopen(n, err);
    for (int i = 0; ok && (i == 0 || r.interrupted); i++) {
        ok = i < READ_TRIES
                 ? read_once(n, &r, err)
                 : err_set(err, E_UNAVAILABLE, "the rule set changed during each of %d reads of it", READ_TRIES);
    }
    map_fini(&r.rules);
    if (!ok)
        nft_state_fini(out);
    return ok || err_wrap(err, "read the service rules");
}

bool nft_load(struct nft *n, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT), answer = STRBUF(STRBUF_TEXT);
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    const char *argv[] = {"nft", "-f", "-", NULL};
    char table[16], marker[64];
    rules_base_text(&n->config, &text);
    if (!nft_reopen(n, err))
        return false;
    if (!command_run(argv, strbuf_str(&text), &answer, NFT_TIMEOUT_MS, err))
        return err_wrap(err, "load the service rules");
    struct nft_state state = {0};
    struct nft_reading r = {.table = table, .out = &state};
    rules_table_name(n->config.instance, table);
    batch_mark(&b, NFNL_MSG_BATCH_BEGIN);
    put_learn_rules(&b, table);
    if (!batch_send(n, &b, err))
        return err_wrap(err, "load the service rules");
    nlbuf_reset(&b);
    read_fresh(&r);
    bool ok = read_chains(n, &r, err);
    map_fini(&r.rules);
    nft_state_fini(&state);
    if (!ok)
        return false;
    marker_of(n, r.hash, marker);
    batch_mark(&b, NFNL_MSG_BATCH_BEGIN);
    put_chain(&b, table, marker, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    return batch_send(n, &b, err) || err_wrap(err, "mark the service rules");
}

bool nft_unload(struct nft *n, struct err *err)
{
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    struct err e = ERR;
    char table[16];
    if (!nft_reopen(n, err))
        return false;
    rules_table_name(n->config.instance, table);
    batch_mark(&b, NFNL_MSG_BATCH_BEGIN);
    message_begin(&b, NFT_MSG_DELTABLE, 0);
    nlbuf_put_strz(&b, NFTA_TABLE_NAME, table);
    nlbuf_end(&b);
    if (batch_send(n, &b, &e) || e.sys == ENOENT)
        return true;
    *err = e;
    return err_wrap(err, "remove the service rules");
}

/* ---- watching ---- */

int nft_watch_open(struct err *err)
{
    AUTO(fd_close) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
    struct sockaddr_nl addr = {.nl_family = AF_NETLINK};
    int group = NFNLGRP_NFTABLES;
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 ||
        setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
        return err_errno(err, "watch the rule set"), -1;
    return TAKE_FD(fd);
}

static bool message_touches(const struct nlmsghdr *h, const char *table, uint32_t own_port)
{
    const struct nlattr *a;
    int op = NFNL_MSG_TYPE(h->nlmsg_type);
    if (NFNL_SUBSYS_ID(h->nlmsg_type) != NFNL_SUBSYS_NFTABLES || h->nlmsg_pid == own_port || op == NFT_MSG_NEWGEN)
        return false;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        /* attribute 1 is the name of the table in every kind of message */
        if (mnl_attr_get_type(a) == NFTA_TABLE_NAME)
            return strcmp(text_attr(a), table) == 0;
    }
    return false;
}

bool nft_watch_read(int fd, struct instance in, uint32_t own_port)
{
    AUTO_FREE uint8_t *buf = mem_alloc(65536);
    char table[16];
    bool touched = false;
    rules_table_name(in, table);
    for (;;) {
        ssize_t got = recv(fd, buf, 65536, 0);
        if (got < 0 && errno == ENOBUFS) {
            touched = true;
            continue;
        }
        if (got <= 0)
            return touched;
        int left = (int)got;
        for (const struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
            touched |= message_touches(h, table, own_port);
    }
}
