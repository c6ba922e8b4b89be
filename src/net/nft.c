/* nft.c - the rules in the kernel: loading them, changing them, watching over them.
 *
 * The table as a whole is text (rules.c) and is loaded by the program nft, which knows the grammar; that happens
 * once, and again when somebody has damaged the table. All changes after that are elements of maps, chains that
 * spread over a number of endpoints, and nothing else, and those are written as messages (nft_message.c) in one
 * transaction: chains first, then elements out, elements in, idle chains away. So a packet sees the rules before or
 * after it, and a change costs some microseconds an element whatever else is there.
 *
 * After the transaction come two clean-ups that cannot be part of it: affinity entries, which the packet path
 * writes, and conntrack's entries of datagrams. They run when the new rules hold, because what would be learnt in
 * between would be learnt from the old ones.
 *
 * Watching: the kernel reports changes of all tables with the port of the socket that made them; ours are passed
 * over by that.
 */
#include "base/fault.h"
#include "net/conntrack.h"
#include "net/nft_int.h"
#include "sys/child.h"
#include <errno.h>
#include <sys/socket.h>

#define AFFINITY_TRIES 5

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

bool nft_reopen(struct nft *n, struct err *err)
{
    if (n->nl.fd >= 0 && !n->nl.broken)
        return true;
    netlink_close(&n->nl);
    return netlink_open(&n->nl, NETLINK_NETFILTER, err);
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

void nft_elements_each(const struct nlmsghdr *h, void (*fn)(const struct nlattr *elem, void *arg), void *arg)
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

void nft_value_copy(const struct nlattr *nest, void *out, size_t max, size_t *n)
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
            nft_value_copy(a, x.key, sizeof x.key, &key_n);
        else if (mnl_attr_get_type(a) == NFTA_SET_ELEM_DATA)
            nft_value_copy(a, x.data, sizeof x.data, &data_n);
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
    nft_elements_each(h, affinity_one, arg);
}

static void affinity_again(void *arg)
{
    array_clear(&((struct affinities *)arg)->stale);
}

void nft_get_elements(struct nlbuf *b, const char *table, const char *set)
{
    nft_message_begin(b, NFT_MSG_GETSETELEM, 0);
    nlbuf_put_strz(b, NFTA_SET_ELEM_LIST_TABLE, table);
    nlbuf_put_strz(b, NFTA_SET_ELEM_LIST_SET, set);
    nlbuf_end(b);
}

static bool affinity_delete(struct nft *n, const char *table, const struct affinities *s, struct err *err)
{
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    struct element_list l = {.b = &b, .table = table, .op = NFT_MSG_DELSETELEM};
    nft_batch_mark(&b, NFNL_MSG_BATCH_BEGIN);
    for (size_t i = 0; i < s->stale.n; i++) {
        if (l.n == ELEMENTS_PER_MSG)
            nft_elements_close(&l);
        nft_elements_open(&l, "aff");
        size_t elem = nlbuf_nest(&b, NFTA_LIST_ELEM);
        nft_put_key(&b, s->stale.p[i].key, sizeof s->stale.p[i].key);
        nlbuf_nest_end(&b, elem);
    }
    nft_elements_close(&l);
    return nft_batch_send(n, &b, err);
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
        nft_get_elements(&b, table, "aff");
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
        nft_batch_mark(&b, NFNL_MSG_BATCH_BEGIN);
        for (size_t i = 0; i < d->chains.n; i++)
            nft_put_chain_for(&b, table, d->chains.p[i]);
        nft_put_changes(&b, table, d, NFT_MSG_DELSETELEM);
        nft_put_changes(&b, table, d, NFT_MSG_NEWSETELEM);
        for (size_t i = 0; i < d->idle_chains.n; i++) {
            rule_chain_name(d->idle_chains.p[i], name);
            nft_put_chain(&b, table, name, NFT_MSG_DELCHAIN, 0);
        }
        *in_kernel = !fault("nft.apply", EBUSY) && nft_batch_send(n, &b, err);
        if (!*in_kernel)
            return err_wrap(err, "service rules");
    }
    return affinity_forget(n, table, d, err) && datagrams_forget(n, d, err);
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
    rules_table_name(n->config.instance, table);
    nft_batch_mark(&b, NFNL_MSG_BATCH_BEGIN);
    nft_put_learn_rules(&b, table);
    if (!nft_batch_send(n, &b, err))
        return err_wrap(err, "load the service rules");
    nlbuf_reset(&b);
    if (!nft_marker_of_kernel(n, table, marker, err))
        return false;
    nft_batch_mark(&b, NFNL_MSG_BATCH_BEGIN);
    nft_put_chain(&b, table, marker, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    return nft_batch_send(n, &b, err) || err_wrap(err, "mark the service rules");
}

bool nft_table_del(struct nft *n, const char *table, struct err *err)
{
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    struct err e = ERR;
    if (!nft_reopen(n, err))
        return false;
    nft_batch_mark(&b, NFNL_MSG_BATCH_BEGIN);
    nft_message_begin(&b, NFT_MSG_DELTABLE, 0);
    nlbuf_put_strz(&b, NFTA_TABLE_NAME, table);
    nlbuf_end(&b);
    if (nft_batch_send(n, &b, &e) || e.sys == ENOENT)
        return true;
    *err = e;
    return false;
}

bool nft_unload(struct nft *n, struct err *err)
{
    char table[16];
    rules_table_name(n->config.instance, table);
    return nft_table_del(n, table, err) || err_wrap(err, "remove the service rules");
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
            return strcmp(nft_attr_text(a), table) == 0;
    }
    return false;
}

bool nft_watch_read(int fd, const char *table, uint32_t own_port)
{
    AUTO_FREE uint8_t *buf = mem_alloc(65536);
    bool touched = false;
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
