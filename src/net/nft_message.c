/* nft_message.c - messages of nf_tables: chains that spread over endpoints, elements of maps, one transaction around
 * them.
 *
 * Two things are made here because nft has no words for them: the chains that spread (expressions with numgen and a
 * lookup), and those that learn session affinity from conntrack's original address (see README).
 */
#include "net/nft_int.h"
#include <linux/netfilter.h>

#define OUTSIDE_SLOT 32768

#define DATA_REG REG(4) /* address and port of the endpoint: two registers */

void nft_message_begin(struct nlbuf *b, int op, uint16_t flags)
{
    struct nfgenmsg g = {.nfgen_family = AF_INET, .version = NFNETLINK_V0};
    nlbuf_begin(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | op), flags, &g, sizeof g);
}

void nft_batch_mark(struct nlbuf *b, uint16_t type)
{
    struct nfgenmsg g = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0};
    g.res_id = __builtin_bswap16(NFNL_SUBSYS_NFTABLES);
    nlbuf_begin(b, type, 0, &g, sizeof g);
    nlbuf_end(b);
}

/* Closes a transaction. Only its last message is acknowledged: the answer comes after the commit, and any message may
 * answer with an error before. */
bool nft_batch_send(struct nft *n, struct nlbuf *b, struct err *err)
{
    struct nlmsghdr *last = (struct nlmsghdr *)(b->p + b->at);
    last->nlmsg_flags |= NLM_F_ACK;
    nft_batch_mark(b, NFNL_MSG_BATCH_END);
    return netlink_send(&n->nl, b, NULL, NULL, NULL, err);
}

size_t nft_expr_begin(struct nlbuf *b, const char *name, size_t *data)
{
    size_t nest = nlbuf_nest(b, NFTA_LIST_ELEM);
    nlbuf_put_strz(b, NFTA_EXPR_NAME, name);
    *data = nlbuf_nest(b, NFTA_EXPR_DATA);
    return nest;
}

void nft_expr_end(struct nlbuf *b, size_t nest, size_t data)
{
    nlbuf_nest_end(b, data);
    nlbuf_nest_end(b, nest);
}

void nft_expr_l4proto(struct nlbuf *b, uint32_t reg)
{
    size_t data, nest = nft_expr_begin(b, "meta", &data);
    nlbuf_put_be32(b, NFTA_META_KEY, NFT_META_L4PROTO);
    nlbuf_put_be32(b, NFTA_META_DREG, reg);
    nft_expr_end(b, nest, data);
}

void nft_expr_payload(struct nlbuf *b, uint32_t header, uint32_t offset, uint32_t len, uint32_t reg)
{
    size_t data, nest = nft_expr_begin(b, "payload", &data);
    nlbuf_put_be32(b, NFTA_PAYLOAD_DREG, reg);
    nlbuf_put_be32(b, NFTA_PAYLOAD_BASE, header);
    nlbuf_put_be32(b, NFTA_PAYLOAD_OFFSET, offset);
    nlbuf_put_be32(b, NFTA_PAYLOAD_LEN, len);
    nft_expr_end(b, nest, data);
}

static void expr_numgen(struct nlbuf *b, uint32_t modulus, uint32_t offset, uint32_t reg)
{
    size_t data, nest = nft_expr_begin(b, "numgen", &data);
    nlbuf_put_be32(b, NFTA_NG_DREG, reg);
    nlbuf_put_be32(b, NFTA_NG_MODULUS, modulus);
    nlbuf_put_be32(b, NFTA_NG_TYPE, NFT_NG_RANDOM);
    nlbuf_put_be32(b, NFTA_NG_OFFSET, offset);
    nft_expr_end(b, nest, data);
}

void nft_expr_lookup(struct nlbuf *b, const char *set, uint32_t sreg, uint32_t dreg)
{
    size_t data, nest = nft_expr_begin(b, "lookup", &data);
    nlbuf_put_strz(b, NFTA_LOOKUP_SET, set);
    nlbuf_put_be32(b, NFTA_LOOKUP_SREG, sreg);
    if (dreg != NO_REG)
        nlbuf_put_be32(b, NFTA_LOOKUP_DREG, dreg);
    nlbuf_put_be32(b, NFTA_LOOKUP_FLAGS, 0);
    nft_expr_end(b, nest, data);
}

static void expr_dnat(struct nlbuf *b)
{
    size_t data, nest = nft_expr_begin(b, "nat", &data);
    nlbuf_put_be32(b, NFTA_NAT_TYPE, NFT_NAT_DNAT);
    nlbuf_put_be32(b, NFTA_NAT_FAMILY, NFPROTO_IPV4);
    nlbuf_put_be32(b, NFTA_NAT_REG_ADDR_MIN, DATA_REG);
    nlbuf_put_be32(b, NFTA_NAT_REG_ADDR_MAX, DATA_REG);
    nlbuf_put_be32(b, NFTA_NAT_REG_PROTO_MIN, DATA_REG + 1);
    nlbuf_put_be32(b, NFTA_NAT_REG_PROTO_MAX, DATA_REG + 1);
    nft_expr_end(b, nest, data);
}

static void expr_ct_original(struct nlbuf *b, uint32_t key, uint32_t reg)
{
    size_t data, nest = nft_expr_begin(b, "ct", &data);
    nlbuf_put_be32(b, NFTA_CT_DREG, reg);
    nlbuf_put_be32(b, NFTA_CT_KEY, key);
    nlbuf_put_u8(b, NFTA_CT_DIRECTION, 0);
    nft_expr_end(b, nest, data);
}

static void expr_update_affinity(struct nlbuf *b, uint32_t seconds)
{
    size_t data, nest = nft_expr_begin(b, "dynset", &data);
    nlbuf_put_strz(b, NFTA_DYNSET_SET_NAME, "aff");
    nlbuf_put_be32(b, NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
    nlbuf_put_be32(b, NFTA_DYNSET_SREG_KEY, REG(0));
    nlbuf_put_be32(b, NFTA_DYNSET_SREG_DATA, DATA_REG);
    nlbuf_put_be64(b, NFTA_DYNSET_TIMEOUT, (uint64_t)seconds * 1000);
    nft_expr_end(b, nest, data);
}

struct rule_text nft_rule_begin(struct nlbuf *b, const char *table, const char *chain)
{
    nft_message_begin(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    nlbuf_put_strz(b, NFTA_RULE_TABLE, table);
    nlbuf_put_strz(b, NFTA_RULE_CHAIN, chain);
    return (struct rule_text){nlbuf_nest(b, NFTA_RULE_EXPRESSIONS)};
}

void nft_rule_end(struct nlbuf *b, struct rule_text r)
{
    nlbuf_nest_end(b, r.exprs);
    nlbuf_end(b);
}

/* endpoint := eps[proto . address . port . random slot] into DATA_REG */
static void expr_endpoint(struct nlbuf *b, struct rule_chain c, uint32_t modulus)
{
    uint32_t reg = 0;
    nft_expr_l4proto(b, REG(reg++));
    if (c.by_address)
        nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP_DADDR, 4, REG(reg++));
    nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_DPORT, 2, REG(reg++));
    expr_numgen(b, modulus, c.outside ? OUTSIDE_SLOT : 0, REG(reg));
    nft_expr_lookup(b, c.by_address ? "eps" : "npeps", REG(0), DATA_REG);
}

static void expr_affinity_key(struct nlbuf *b)
{
    nft_expr_l4proto(b, REG(0));
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP_DADDR, 4, REG(1));
    nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_DPORT, 2, REG(2));
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP_SADDR, 4, REG(3));
}

void nft_put_chain(struct nlbuf *b, const char *table, const char *name, uint16_t op, uint16_t flags)
{
    nft_message_begin(b, op, flags);
    nlbuf_put_strz(b, NFTA_CHAIN_TABLE, table);
    nlbuf_put_strz(b, NFTA_CHAIN_NAME, name);
    nlbuf_end(b);
}

/* The packet has been translated: what it was sent to is known to conntrack alone, where it goes is its address. */
static void put_learning_chain(struct nlbuf *b, const char *table, const char *name, uint32_t seconds)
{
    struct rule_text r = nft_rule_begin(b, table, name);
    nft_expr_l4proto(b, REG(0));
    expr_ct_original(b, NFT_CT_DST_IP, REG(1));
    expr_ct_original(b, NFT_CT_PROTO_DST, REG(2));
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP_SADDR, 4, REG(3));
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP_DADDR, 4, DATA_REG);
    nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_DPORT, 2, DATA_REG + 1);
    expr_update_affinity(b, seconds);
    nft_rule_end(b, r);
}

/* A slot may go between the packet's reading of the chain and of the map; then the second rule takes slot 0, which is
 * there as long as any is. */
void nft_put_chain_for(struct nlbuf *b, const char *table, struct rule_chain c)
{
    char name[RULE_CHAIN_N];
    rule_chain_name(c, name);
    nft_put_chain(b, table, name, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL);
    if (c.learns) {
        put_learning_chain(b, table, name, c.affinity_s);
        return;
    }
    if (c.affinity_s) {
        struct rule_text r = nft_rule_begin(b, table, name);
        expr_affinity_key(b);
        nft_expr_lookup(b, "aff", REG(0), DATA_REG);
        expr_dnat(b);
        nft_rule_end(b, r);
    }
    uint32_t moduli[] = {c.count, 1};
    for (size_t i = 0; i < countof(moduli); i++) {
        struct rule_text r = nft_rule_begin(b, table, name);
        expr_endpoint(b, c, moduli[i]);
        expr_dnat(b);
        nft_rule_end(b, r);
    }
}

/* What nft's grammar has no words for (the original port of a connection in a key), though it lists it. */
void nft_put_learn_rules(struct nlbuf *b, const char *table)
{
    struct rule_text r = nft_rule_begin(b, table, "learn");
    nft_expr_l4proto(b, REG(0));
    expr_ct_original(b, NFT_CT_DST_IP, REG(1));
    expr_ct_original(b, NFT_CT_PROTO_DST, REG(2));
    nft_expr_lookup(b, rule_map_name(RULE_LEARN), REG(0), NFT_REG_VERDICT);
    nft_rule_end(b, r);
    r = nft_rule_begin(b, table, "learn");
    nft_expr_l4proto(b, REG(0));
    expr_ct_original(b, NFT_CT_PROTO_DST, REG(1));
    nft_expr_lookup(b, rule_map_name(RULE_NPLEARN), REG(0), NFT_REG_VERDICT);
    nft_rule_end(b, r);
}

void nft_elements_close(struct element_list *l)
{
    if (!l->n)
        return;
    nlbuf_nest_end(l->b, l->nest);
    nlbuf_end(l->b);
    l->n = 0;
}

void nft_elements_open(struct element_list *l, const char *set)
{
    if (l->n++)
        return;
    nft_message_begin(l->b, l->op, l->op == NFT_MSG_NEWSETELEM ? NLM_F_CREATE | NLM_F_EXCL : 0);
    nlbuf_put_strz(l->b, NFTA_SET_ELEM_LIST_TABLE, l->table);
    nlbuf_put_strz(l->b, NFTA_SET_ELEM_LIST_SET, set);
    l->nest = nlbuf_nest(l->b, NFTA_SET_ELEM_LIST_ELEMENTS);
}

void nft_put_key(struct nlbuf *b, const void *key, size_t n)
{
    size_t nest = nlbuf_nest(b, NFTA_SET_ELEM_KEY);
    nlbuf_put(b, NFTA_DATA_VALUE, key, n);
    nlbuf_nest_end(b, nest);
}

/* The key's last two fields are a range's ends; the kernel wants a whole key for each. */
static void put_key_range(struct nlbuf *b, const uint8_t *key, size_t n)
{
    uint8_t end[RULE_KEY_MAX];
    (void)memcpy(end, key, n - 8);
    (void)memcpy(end + n - 8, key + n - 4, 4);
    nft_put_key(b, key, n - 4);
    size_t nest = nlbuf_nest(b, NFTA_SET_ELEM_KEY_END);
    nlbuf_put(b, NFTA_DATA_VALUE, end, n - 4);
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
        nft_elements_close(l);
    l->map = e->map;
    nft_elements_open(l, rule_map_name(e->map));
    size_t elem = nlbuf_nest(l->b, NFTA_LIST_ELEM);
    if (rule_map_is_ranges(e->map))
        put_key_range(l->b, e->key, e->key_n);
    else
        nft_put_key(l->b, e->key, e->key_n);
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
void nft_put_changes(struct nlbuf *b, const char *table, const struct rules_diff *d, int op)
{
    for (int map = 0; map < RULE_MAPS; map++) {
        struct element_list l = {.b = b, .table = table, .op = op};
        for (size_t i = 0; i < d->changes.n; i++) {
            const struct rule_change *c = &d->changes.p[i];
            if (c->e.map == map && (op == NFT_MSG_NEWSETELEM ? c->add : c->del))
                elements_add(&l, &c->e);
        }
        nft_elements_close(&l);
    }
}
