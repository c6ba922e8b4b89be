/* fence_nft.c - the fences in the kernel.
 *
 * The fixed part is text for nft -f: three base chains, the maps that lead from a pod's address to its group, and how
 * is refused. Loading it flushes the fixed chains and fills them again, in one transaction; elements stay. So it is
 * loaded whenever a generation begins, and whatever somebody did to it is undone.
 *
 * Egress and ingress are base chains of their own: `accept` ends the one and not the other. Both see a packet after
 * Services were translated (DNAT at prerouting) and before its source is (postrouting). What the machine itself sends
 * to its pods passes neither: a node always reaches its pods. What pods send to the machine's own addresses passes
 * `input`.
 *
 * Established connections pass by their first rule. A pod's new connections must come from the link that its address
 * is routed to, or a fence by address would keep nobody out.
 *
 * Refused is by a reset or an ICMP error, not by silence: who is not let in knows at once, and k3s does so, too.
 */
#include "net/fence_nft.h"
#include "base/fault.h"
#include "net/nft_int.h"
#include "sys/child.h"
#include <errno.h>
#include <linux/netfilter.h>

enum { TYPE_IP4 = 7, TYPE_PROTO = 12, TYPE_PORT = 13, TYPE_BITS = 6 }; /* of nft, so that it can list the sets */

void fence_table_name(struct instance in, char name[FENCE_TABLE_N])
{
    (void)snprintf(name, FENCE_TABLE_N, "wherry-%s-fence", in.id);
}

static const char base[] =
    "table ip $TABLE {\n"
    "\tcomment \"Network policies of Wherry. Changes made here by hand are undone.\"\n"
    "\tmap egress { type ipv4_addr : verdict; }\n"
    "\tmap ingress { type ipv4_addr : verdict; }\n"
    "\tset own { type ipv4_addr . ipv4_addr; }\n"
    "\tchain cut { }\n"
    "\tchain refuse { }\n"
    "\tchain forward-egress { type filter hook forward priority 10; policy accept; }\n"
    "\tchain forward-ingress { type filter hook forward priority 11; policy accept; }\n"
    "\tchain input { type filter hook input priority 10; policy accept; }\n"
    "\tchain output { type filter hook output priority 10; policy accept; }\n"
    "}\n"
    "flush chain ip $TABLE cut\n"
    "flush chain ip $TABLE refuse\n"
    "flush chain ip $TABLE forward-egress\n"
    "flush chain ip $TABLE forward-ingress\n"
    "flush chain ip $TABLE input\n"
    "flush chain ip $TABLE output\n"
    "table ip $TABLE {\n"
    /* a connection that was cut goes on in its midst, from either end; conntrack takes that for a new one, which
     * might be let through where the end that speaks first is the other one */
    "\tchain cut {\n"
    "\t\tip saddr . ip saddr @own reject with tcp reset\n"
    "\t\tip daddr . ip daddr @own reject with tcp reset\n"
    "\t}\n"
    "\tchain refuse {\n"
    "\t\tmeta l4proto tcp reject with tcp reset\n"
    "\t\tmeta l4proto sctp reject with icmp prot-unreachable\n"
    "\t\treject with icmp admin-prohibited\n"
    "\t}\n"
    "\tchain forward-egress {\n"
    "\t\tct state established,related accept\n"
    "\t\tiifname \"$LINKS*\" fib saddr . iif oif missing drop\n"
    "\t\tip saddr . ip daddr @own accept\n"
    "\t\ttcp flags & (fin | syn | rst | ack) != syn jump cut\n"
    "\t\tip saddr vmap @egress\n"
    "\t}\n"
    "\tchain forward-ingress {\n"
    "\t\tct state established,related accept\n"
    "\t\tip saddr . ip daddr @own accept\n"
    "\t\tip daddr vmap @ingress\n"
    "\t}\n"
    "\tchain input {\n"
    "\t\tct state established,related accept\n"
    "\t\tiifname \"$LINKS*\" fib saddr . iif oif missing drop\n"
    "\t\ttcp flags & (fin | syn | rst | ack) != syn jump cut\n"
    "\t\tip saddr vmap @egress\n"
    "\t}\n"
    "\tchain output {\n"
    "\t\tct state established,related accept\n"
    "\t\ttcp flags & (fin | syn | rst | ack) != syn jump cut\n"
    "\t}\n"
    "}\n";

void fence_base_text(struct instance in, struct strbuf *out)
{
    char table[FENCE_TABLE_N];
    fence_table_name(in, table);
    for (const char *p = base; *p;) {
        if (strncmp(p, "$TABLE", 6) == 0) {
            strbuf_addz(out, table);
            p += 6;
        } else if (strncmp(p, "$LINKS", 6) == 0) {
            strbuf_addf(out, "w%s-", in.id);
            p += 6;
        } else {
            strbuf_addc(out, *p++);
        }
    }
}

/* ---- rules ---- */

static void expr_verdict(struct nlbuf *b, uint32_t code, const char *chain)
{
    size_t data, nest = nft_expr_begin(b, "immediate", &data);
    nlbuf_put_be32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    size_t value = nlbuf_nest(b, NFTA_IMMEDIATE_DATA), verdict = nlbuf_nest(b, NFTA_DATA_VERDICT);
    nlbuf_put_be32(b, NFTA_VERDICT_CODE, code);
    if (chain)
        nlbuf_put_strz(b, NFTA_VERDICT_CHAIN, chain);
    nlbuf_nest_end(b, verdict);
    nlbuf_nest_end(b, value);
    nft_expr_end(b, nest, data);
}

static void expr_counter(struct nlbuf *b, const char *name)
{
    size_t data, nest = nft_expr_begin(b, "objref", &data);
    nlbuf_put_be32(b, NFTA_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
    nlbuf_put_strz(b, NFTA_OBJREF_IMM_NAME, name);
    nft_expr_end(b, nest, data);
}

static void expr_address(struct nlbuf *b, bool destination, uint32_t reg)
{
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, destination ? IP_DADDR : IP_SADDR, 4, reg);
}

static void expr_ports(struct nlbuf *b, uint32_t reg)
{
    nft_expr_l4proto(b, reg);
    nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_DPORT, 2, reg + 1);
}

static void match_addresses(struct nlbuf *b, struct fence_name set, bool destination, uint32_t gen)
{
    char name[FENCE_NAME_N];
    if (!set.kind)
        return;
    fence_name_text(set, gen, name);
    expr_address(b, destination, REG(0));
    if (set.kind == FENCE_NAMED || set.kind == FENCE_HOSTED)
        expr_ports(b, REG(1));
    nft_expr_lookup(b, name, REG(0), NO_REG);
}

static void put_rule(struct nlbuf *b, const char *table, const struct fence_op *op, uint32_t gen)
{
    const struct fence_rule *r = &op->rule;
    char chain[FENCE_NAME_N], name[FENCE_NAME_N];
    fence_name_text(op->on, gen, chain);
    struct rule_text rule = nft_rule_begin(b, table, chain);
    match_addresses(b, r->peers, r->egress, gen);
    match_addresses(b, r->named, true, gen);
    if (r->ports.kind) {
        fence_name_text(r->ports, gen, name);
        expr_ports(b, REG(0));
        nft_expr_lookup(b, name, REG(0), NO_REG);
    }
    fence_name_text(r->target, gen, name);
    switch ((enum fence_act)r->act) {
    case FENCE_ACCEPT: expr_verdict(b, NF_ACCEPT, NULL); break;
    case FENCE_JUMP: expr_verdict(b, (uint32_t)NFT_JUMP, name); break;
    case FENCE_COUNT: expr_counter(b, name); break;
    case FENCE_REFUSE: expr_verdict(b, (uint32_t)NFT_GOTO, "refuse"); break;
    }
    nft_rule_end(b, rule);
}

/* ---- sets ---- */

static void put_fields(struct nlbuf *b, const uint32_t *lengths, size_t n)
{
    size_t desc = nlbuf_nest(b, NFTA_SET_DESC), concat = nlbuf_nest(b, NFTA_SET_DESC_CONCAT);
    for (size_t i = 0; i < n; i++) {
        size_t field = nlbuf_nest(b, NFTA_LIST_ELEM);
        nlbuf_put_be32(b, NFTA_SET_FIELD_LEN, lengths[i]);
        nlbuf_nest_end(b, field);
    }
    nlbuf_nest_end(b, concat);
    nlbuf_nest_end(b, desc);
}

static void put_set(struct nlbuf *b, const char *table, const struct fence_op *op, uint32_t gen)
{
    static const uint32_t lengths[] = {1, 2};
    char name[FENCE_NAME_N];
    uint32_t flags = op->range ? NFT_SET_INTERVAL : 0, type = TYPE_IP4, size = 4;
    if (op->on.kind == FENCE_PORTS) {
        type = TYPE_PROTO << TYPE_BITS | TYPE_PORT;
        size = 8;
    } else if (op->on.kind == FENCE_NAMED || op->on.kind == FENCE_HOSTED) {
        type = (TYPE_IP4 << TYPE_BITS | TYPE_PROTO) << TYPE_BITS | TYPE_PORT;
        size = 12;
    }
    if (op->range && op->on.kind == FENCE_PORTS)
        flags |= NFT_SET_CONCAT;
    fence_name_text(op->on, gen, name);
    nft_message_begin(b, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL);
    nlbuf_put_strz(b, NFTA_SET_TABLE, table);
    nlbuf_put_strz(b, NFTA_SET_NAME, name);
    nlbuf_put_be32(b, NFTA_SET_FLAGS, flags);
    nlbuf_put_be32(b, NFTA_SET_KEY_TYPE, type);
    nlbuf_put_be32(b, NFTA_SET_KEY_LEN, size);
    nlbuf_put_be32(b, NFTA_SET_ID, op->on.id);
    if (flags & NFT_SET_CONCAT)
        put_fields(b, lengths, countof(lengths));
    nlbuf_end(b);
}

static void put_key(struct nlbuf *b, uint16_t type, const void *p, size_t n)
{
    size_t nest = nlbuf_nest(b, type);
    nlbuf_put(b, NFTA_DATA_VALUE, p, n);
    nlbuf_nest_end(b, nest);
}

static void put_target(struct nlbuf *b, struct fence_name to, uint32_t gen)
{
    char name[FENCE_NAME_N];
    fence_name_text(to, gen, name);
    size_t data = nlbuf_nest(b, NFTA_SET_ELEM_DATA), verdict = nlbuf_nest(b, NFTA_DATA_VERDICT);
    nlbuf_put_be32(b, NFTA_VERDICT_CODE, (uint32_t)NFT_GOTO);
    nlbuf_put_strz(b, NFTA_VERDICT_CHAIN, name);
    nlbuf_nest_end(b, verdict);
    nlbuf_nest_end(b, data);
}

/* A range of addresses is two elements: its first, and behind its last one that ends it. */
static void put_block_end(struct nlbuf *b, const struct fence_op *op)
{
    uint32_t last;
    (void)memcpy(&last, op->end, 4);
    last = __builtin_bswap32(last);
    if (last == UINT32_MAX)
        return;
    last = __builtin_bswap32(last + 1);
    size_t elem = nlbuf_nest(b, NFTA_LIST_ELEM);
    put_key(b, NFTA_SET_ELEM_KEY, &last, 4);
    nlbuf_put_be32(b, NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
    nlbuf_nest_end(b, elem);
}

static void put_element(struct element_list *l, const struct fence_op *op, uint32_t gen)
{
    char set[FENCE_NAME_N];
    fence_name_text(op->on, gen, set);
    nft_elements_open(l, set);
    size_t elem = nlbuf_nest(l->b, NFTA_LIST_ELEM);
    put_key(l->b, NFTA_SET_ELEM_KEY, op->key, op->key_n);
    if (op->range && op->on.kind == FENCE_PORTS)
        put_key(l->b, NFTA_SET_ELEM_KEY_END, op->end, op->key_n);
    if (op->to.kind)
        put_target(l->b, op->to, gen);
    nlbuf_nest_end(l->b, elem);
    if (op->range && op->on.kind == FENCE_BLOCKS)
        put_block_end(l->b, op);
}

static bool same_run(const struct fence_op *a, const struct fence_op *b)
{
    return a->what == b->what && a->on.kind == b->on.kind && a->on.id == b->on.id;
}

static size_t put_elements(struct nlbuf *b, const char *table, const struct fence_op *ops, size_t n, uint32_t gen)
{
    struct element_list l = {.b = b, .table = table};
    size_t i = 0;
    l.op = ops[0].what == FENCE_ADD ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM;
    for (; i < n && same_run(&ops[0], &ops[i]); i++) {
        if (l.n >= ELEMENTS_PER_MSG)
            nft_elements_close(&l);
        put_element(&l, &ops[i], gen);
    }
    nft_elements_close(&l);
    return i;
}

/* ---- transactions ---- */

static void put_named(struct nlbuf *b, int msg, uint16_t flags, const char *table, struct fence_name n, uint32_t gen)
{
    char name[FENCE_NAME_N];
    fence_name_text(n, gen, name);
    if (n.kind == FENCE_CHAIN || n.kind == FENCE_GROUP) {
        nft_put_chain(b, table, name, (uint16_t)msg, flags);
        return;
    }
    nft_message_begin(b, msg, flags);
    if (n.kind == FENCE_COUNTER) {
        nlbuf_put_strz(b, NFTA_OBJ_TABLE, table);
        nlbuf_put_strz(b, NFTA_OBJ_NAME, name);
        nlbuf_put_be32(b, NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
        if (msg == NFT_MSG_NEWOBJ)
            nlbuf_nest_end(b, nlbuf_nest(b, NFTA_OBJ_DATA));
    } else {
        nlbuf_put_strz(b, NFTA_SET_TABLE, table);
        nlbuf_put_strz(b, NFTA_SET_NAME, name);
    }
    nlbuf_end(b);
}

static void put_flush(struct nlbuf *b, const char *table, struct fence_name n, uint32_t gen)
{
    char name[FENCE_NAME_N];
    fence_name_text(n, gen, name);
    nft_message_begin(b, NFT_MSG_DELRULE, 0);
    nlbuf_put_strz(b, NFTA_RULE_TABLE, table);
    nlbuf_put_strz(b, NFTA_RULE_CHAIN, name);
    nlbuf_end(b);
}

static void put_ops(struct nlbuf *b, const char *table, const struct fence_op *ops, size_t n, uint32_t gen)
{
    for (size_t i = 0; i < n; i++) {
        const struct fence_op *op = &ops[i];
        switch ((enum fence_do)op->what) {
        case FENCE_SET_NEW: put_set(b, table, op, gen); break;
        case FENCE_COUNTER_NEW: put_named(b, NFT_MSG_NEWOBJ, NLM_F_CREATE | NLM_F_EXCL, table, op->on, gen); break;
        case FENCE_CHAIN_NEW: put_named(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, table, op->on, gen); break;
        case FENCE_CHAIN_FLUSH: put_flush(b, table, op->on, gen); break;
        case FENCE_RULE: put_rule(b, table, op, gen); break;
        case FENCE_ADD:
        case FENCE_DEL: i += put_elements(b, table, op, n - i, gen) - 1; break;
        case FENCE_CHAIN_DEL: put_named(b, NFT_MSG_DELCHAIN, 0, table, op->on, gen); break;
        case FENCE_SET_DEL: put_named(b, NFT_MSG_DELSET, 0, table, op->on, gen); break;
        case FENCE_COUNTER_DEL: put_named(b, NFT_MSG_DELOBJ, 0, table, op->on, gen); break;
        }
    }
}

/* Who refers to others goes before them. */
static void put_stale(struct nlbuf *b, const char *table, const struct fence_diff *d)
{
    static const char order[] = {FENCE_GROUP,  FENCE_CHAIN, FENCE_COUNTER, FENCE_ADDRS,
                                 FENCE_HOSTED, FENCE_NAMED, FENCE_BLOCKS,  FENCE_PORTS};
    for (size_t i = 0; i < countof(order); i++) {
        for (size_t j = 0; j < d->stale.n; j++) {
            struct fence_name n = d->stale.p[j].name;
            int msg = n.kind == FENCE_COUNTER                          ? NFT_MSG_DELOBJ
                      : n.kind == FENCE_CHAIN || n.kind == FENCE_GROUP ? NFT_MSG_DELCHAIN
                                                                       : NFT_MSG_DELSET;
            if (n.kind == order[i])
                put_named(b, msg, 0, table, n, d->stale.p[j].gen);
        }
    }
}

static bool has_new_chain(const struct fence_diff *d)
{
    array_each (op, &d->first)
        if (op->what == FENCE_CHAIN_NEW)
            return true;
    return false;
}

bool fence_nft_apply(struct nft *n, const struct fence_diff *d, struct err *err)
{
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    char table[FENCE_TABLE_N];
    fence_table_name(n->config.instance, table);
    if (fence_diff_empty(d))
        return true;
    if (!nft_reopen(n, err))
        return false;
    nft_batch_mark(&b, NFNL_MSG_BATCH_BEGIN);
    put_ops(&b, table, d->first.p, d->first.n, d->gen);
    if (has_new_chain(d)) {
        if (fault("fence.first", EBUSY) || !nft_batch_send(n, &b, err))
            return err_wrap(err, "network policies");
        nlbuf_reset(&b);
        nft_batch_mark(&b, NFNL_MSG_BATCH_BEGIN);
    }
    put_ops(&b, table, d->then.p, d->then.n, d->gen);
    put_stale(&b, table, d);
    if (b.count == 1)
        return true;
    return (!fault("fence.then", EBUSY) && nft_batch_send(n, &b, err)) || err_wrap(err, "network policies");
}

/* ---- reading ---- */

struct fence_names {
    const char *table;
    struct fence_kernel *out;
    struct fence_counters *counters;
    uint8_t set; /* whose elements are read */
};

static void name_seen(struct fence_names *r, const char *text)
{
    struct fence_stale s;
    if (!fence_name_parse(text, &s.name, &s.gen))
        return;
    array_push(&r->out->stale, s);
    r->out->gen = MAX(r->out->gen, s.gen + 1);
}

/* Table and name of chains, sets and objects are their attributes 1 and 2 or 3. */
static void read_named(const struct nlmsghdr *h, struct fence_names *r, int table_attr, int name_attr)
{
    const struct nlattr *a;
    const char *table = "", *name = "";
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(a) == table_attr)
            table = nft_attr_text(a);
        else if (mnl_attr_get_type(a) == name_attr)
            name = nft_attr_text(a);
    }
    if (strcmp(table, r->table) == 0)
        name_seen(r, name);
}

static void read_chain(const struct nlmsghdr *h, void *arg)
{
    read_named(h, arg, NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME);
}

static void read_set(const struct nlmsghdr *h, void *arg)
{
    read_named(h, arg, NFTA_SET_TABLE, NFTA_SET_NAME);
}

static void read_object(const struct nlmsghdr *h, void *arg)
{
    read_named(h, arg, NFTA_OBJ_TABLE, NFTA_OBJ_NAME);
}

static void read_element(const struct nlattr *elem, void *arg)
{
    struct fence_names *r = arg;
    struct fence_op op = {.what = FENCE_DEL, .on = {r->set, 0}};
    const struct nlattr *a;
    size_t n = 0;
    mnl_attr_for_each_nested(a, elem)
    {
        if (mnl_attr_get_type(a) == NFTA_SET_ELEM_KEY)
            nft_value_copy(a, op.key, sizeof op.key, &n);
    }
    op.key_n = (uint8_t)n;
    array_push(&r->out->elements, op);
}

static void read_elements(const struct nlmsghdr *h, void *arg)
{
    nft_elements_each(h, read_element, arg);
}

static bool read_dump(struct nft *n, int op, const char *table, void (*fn)(const struct nlmsghdr *h, void *arg),
                      struct fence_names *r, struct err *err)
{
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    nft_message_begin(&b, op, 0);
    if (table)
        nlbuf_put_strz(&b, NFTA_TABLE_NAME, table);
    nlbuf_end(&b);
    return netlink_dump(&n->nl, &b, fn, NULL, r, err); /* what is read twice is told so below */
}

static bool read_names(struct nft *n, struct fence_names *r, struct err *err)
{
    static const uint8_t maps[] = {FENCE_MAP_EGRESS, FENCE_MAP_INGRESS, FENCE_OWN};
    char name[FENCE_NAME_N];
    if (!read_dump(n, NFT_MSG_GETCHAIN, NULL, read_chain, r, err) ||
        !read_dump(n, NFT_MSG_GETSET, r->table, read_set, r, err) ||
        !read_dump(n, NFT_MSG_GETOBJ, r->table, read_object, r, err))
        return false;
    for (size_t i = 0; i < countof(maps); i++) {
        AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
        r->set = maps[i];
        fence_name_text((struct fence_name){maps[i], 0}, 0, name);
        nft_get_elements(&b, r->table, name);
        if (!netlink_dump(&n->nl, &b, read_elements, NULL, r, err))
            return false;
    }
    return true;
}

static int stale_cmp(const void *a, const void *b)
{
    const struct fence_stale *x = a, *y = b;
    if (x->name.kind != y->name.kind)
        return x->name.kind - y->name.kind;
    if (x->name.id != y->name.id)
        return x->name.id < y->name.id ? -1 : 1;
    return (x->gen > y->gen) - (x->gen < y->gen);
}

static int element_cmp(const void *a, const void *b)
{
    const struct fence_op *x = a, *y = b;
    return x->on.kind != y->on.kind ? x->on.kind - y->on.kind : memcmp(x->key, y->key, FENCE_KEY_MAX);
}

#define UNIQUE(list, cmp)                                                                                            \
    do {                                                                                                             \
        size_t kept_ = 0;                                                                                            \
        if ((list)->n)                                                                                               \
            qsort((list)->p, (list)->n, sizeof *(list)->p, cmp);                                                     \
        for (size_t i_ = 0; i_ < (list)->n; i_++)                                                                    \
            if (i_ == 0 || cmp(&(list)->p[i_], &(list)->p[kept_ - 1]) != 0)                                          \
                (list)->p[kept_++] = (list)->p[i_];                                                                  \
        (list)->n = kept_;                                                                                           \
    } while (0)

bool fence_nft_load(struct nft *n, struct fence_kernel *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT), answer = STRBUF(STRBUF_TEXT);
    const char *argv[] = {"nft", "-f", "-", NULL};
    char table[FENCE_TABLE_N];
    struct err e = ERR;
    *out = (struct fence_kernel){.gen = 1};
    fence_table_name(n->config.instance, table);
    fence_base_text(n->config.instance, &text);
    if (!nft_reopen(n, err))
        return false;
    if (!command_run(argv, strbuf_str(&text), &answer, NFT_TIMEOUT_MS, &e)) {
        /* somebody made another table of that name; begin with none */
        if (!nft_table_del(n, table, err) || !command_run(argv, strbuf_str(&text), &answer, NFT_TIMEOUT_MS, err))
            return err_wrap(err, "load the network policies");
    }
    struct fence_names r = {.table = table, .out = out};
    if (!read_names(n, &r, err)) {
        fence_kernel_fini(out);
        return err_wrap(err, "read the network policies");
    }
    UNIQUE(&out->stale, stale_cmp);
    UNIQUE(&out->elements, element_cmp);
    return true;
}

bool fence_nft_unload(struct nft *n, struct err *err)
{
    char table[FENCE_TABLE_N];
    fence_table_name(n->config.instance, table);
    return nft_table_del(n, table, err) || err_wrap(err, "remove the network policies");
}

static void read_counter_data(const struct nlattr *data, struct fence_counter *c)
{
    const struct nlattr *a;
    mnl_attr_for_each_nested(a, data)
    {
        if (mnl_attr_get_payload_len(a) != 8)
            continue;
        if (mnl_attr_get_type(a) == NFTA_COUNTER_BYTES)
            c->bytes = __builtin_bswap64(mnl_attr_get_u64(a));
        else if (mnl_attr_get_type(a) == NFTA_COUNTER_PACKETS)
            c->packets = __builtin_bswap64(mnl_attr_get_u64(a));
    }
}

static void read_counter(const struct nlmsghdr *h, void *arg)
{
    struct fence_names *r = arg;
    struct fence_counter c = {0};
    struct fence_name name = {0};
    const struct nlattr *a;
    const char *table = "";
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        switch (mnl_attr_get_type(a)) {
        case NFTA_OBJ_TABLE: table = nft_attr_text(a); break;
        case NFTA_OBJ_NAME: (void)fence_name_parse(nft_attr_text(a), &name, &c.gen); break; /* else kind 0 */
        case NFTA_OBJ_DATA: read_counter_data(a, &c); break;
        }
    }
    c.id = name.id;
    if (strcmp(table, r->table) == 0 && name.kind == FENCE_COUNTER)
        array_push(&r->counters->list, c);
}

static void counters_again(void *arg)
{
    array_clear(&((struct fence_names *)arg)->counters->list);
}

bool fence_nft_counters(struct nft *n, struct fence_counters *out, struct err *err)
{
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    char table[FENCE_TABLE_N];
    struct fence_names r = {.table = table, .counters = out};
    *out = (struct fence_counters){0};
    fence_table_name(n->config.instance, table);
    if (!nft_reopen(n, err))
        return false;
    nft_message_begin(&b, NFT_MSG_GETOBJ, 0);
    nlbuf_put_strz(&b, NFTA_OBJ_TABLE, table);
    nlbuf_end(&b);
    return netlink_dump(&n->nl, &b, read_counter, counters_again, &r, err) || err_wrap(err, "count refused packets");
}
