/* conntrack.c - questions to the kernel's table of connections, over nfnetlink: what still runs to a pod that
 * drains, and removing entries that would lead to an endpoint that is gone.
 *
 * Every function reads the table in one dump and decides here, entry by entry. The kernel is asked to filter
 * (CTA_FILTER, 5.8) by the pod's address or by the protocol; older kernels refuse or ignore that, so what comes is
 * looked at again, and a refused dump is made once more without the filter. A dump that the kernel interrupts begins
 * anew, and forgets what it had gathered.
 *
 * Draining counts a Service's connections to a pod: those whose answers come from the pod's address and whose
 * destination was translated. The sum of bytes of two samples says whether any was used in between.
 *
 * Forgetting is for UDP. A TCP connection ends by itself, or is reset; a datagram's entry is renewed by each
 * datagram and would lead a client to an endpoint that is gone for as long as it keeps sending. Two ways to know
 * them: by the list of pairs that left (rule_gone), and after a time in which nobody looked by all that is still
 * right (`keep`). An entry with a question that is not answered yet is spared for a moment (under_way), because its
 * answer needs the entry to come home.
 *
 * An entry is deleted by the tuple of the side that holds the dead address, as the comment at delete_entry says.
 *
 * Costs: a dump goes over all entries of the kernel's table, so it is done in jobs. Not here: when to ask
 * (nft.c, node).
 */
#include "net/conntrack.h"
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <poll.h>
#include <sys/socket.h>

#define ANSWER_TRIES  30       /* looks at a datagram under way before its connection is forgotten all the same, */
#define ANSWER_MS     10       /* and what lies between them */
#define FILTER_IP_SRC (1 << 0) /* CTA_FILTER_F_CTA_IP_SRC, kernel 5.8; older ones ignore it and we look ourselves */
#define FILTER_PROTO  (1 << 3) /* CTA_FILTER_F_CTA_PROTO_NUM */

struct tuple {
    uint32_t src, dst;
    uint16_t sport, dport;
    uint8_t proto;
};

struct conntrack_entry {
    struct tuple orig, reply;
    uint32_t status, id;
    int tcp_state;                   /* -1: not TCP */
    uint64_t bytes, asked, answered; /* the latter two are packets */
};

static void read_tuple(const struct nlattr *nest, struct tuple *t)
{
    const struct nlattr *a, *b;
    mnl_attr_for_each_nested(a, nest)
    {
        int part = mnl_attr_get_type(a);
        mnl_attr_for_each_nested(b, a)
        {
            int type = mnl_attr_get_type(b), n = (int)mnl_attr_get_payload_len(b);
            if (part == CTA_TUPLE_IP && n == 4) {
                uint32_t ip = __builtin_bswap32(mnl_attr_get_u32(b));
                *(type == CTA_IP_V4_SRC ? &t->src : &t->dst) = ip;
            } else if (part == CTA_TUPLE_PROTO && type == CTA_PROTO_NUM && n == 1) {
                t->proto = mnl_attr_get_u8(b);
            } else if (part == CTA_TUPLE_PROTO && n == 2) {
                uint16_t port = __builtin_bswap16(mnl_attr_get_u16(b));
                if (type == CTA_PROTO_SRC_PORT)
                    t->sport = port;
                else if (type == CTA_PROTO_DST_PORT)
                    t->dport = port;
            }
        }
    }
}

static uint64_t read_counter(const struct nlattr *nest, int counter)
{
    const struct nlattr *a;
    mnl_attr_for_each_nested(a, nest)
    {
        if (mnl_attr_get_type(a) == counter && mnl_attr_get_payload_len(a) == 8)
            return __builtin_bswap64(mnl_attr_get_u64(a));
    }
    return 0;
}

static int read_tcp_state(const struct nlattr *protoinfo)
{
    const struct nlattr *a, *b;
    mnl_attr_for_each_nested(a, protoinfo)
    {
        if (mnl_attr_get_type(a) != CTA_PROTOINFO_TCP)
            continue;
        mnl_attr_for_each_nested(b, a)
        {
            if (mnl_attr_get_type(b) == CTA_PROTOINFO_TCP_STATE && mnl_attr_get_payload_len(b) == 1)
                return mnl_attr_get_u8(b);
        }
    }
    return -1;
}

static void read_entry(const struct nlmsghdr *h, struct conntrack_entry *e)
{
    const struct nlattr *a;
    *e = (struct conntrack_entry){.tcp_state = -1};
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        bool word = mnl_attr_get_payload_len(a) == 4;
        switch (mnl_attr_get_type(a)) {
        case CTA_TUPLE_ORIG: read_tuple(a, &e->orig); break;
        case CTA_TUPLE_REPLY: read_tuple(a, &e->reply); break;
        case CTA_STATUS: e->status = word ? __builtin_bswap32(mnl_attr_get_u32(a)) : 0; break;
        case CTA_ID: e->id = word ? __builtin_bswap32(mnl_attr_get_u32(a)) : 0; break;
        case CTA_COUNTERS_ORIG:
            e->bytes += read_counter(a, CTA_COUNTERS_BYTES);
            e->asked = read_counter(a, CTA_COUNTERS_PACKETS);
            break;
        case CTA_COUNTERS_REPLY:
            e->bytes += read_counter(a, CTA_COUNTERS_BYTES);
            e->answered = read_counter(a, CTA_COUNTERS_PACKETS);
            break;
        case CTA_PROTOINFO: e->tcp_state = read_tcp_state(a); break;
        }
    }
}

static void message_begin(struct nlbuf *b, uint8_t op, uint16_t flags)
{
    struct nfgenmsg g = {.nfgen_family = AF_INET, .version = NFNETLINK_V0};
    nlbuf_begin(b, (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | op), flags, &g, sizeof g);
}

static void put_tuple(struct nlbuf *b, uint16_t type, const struct tuple *t)
{
    size_t nest = nlbuf_nest(b, type), ip = nlbuf_nest(b, CTA_TUPLE_IP);
    nlbuf_put_be32(b, CTA_IP_V4_SRC, t->src);
    nlbuf_put_be32(b, CTA_IP_V4_DST, t->dst);
    nlbuf_nest_end(b, ip);
    size_t proto = nlbuf_nest(b, CTA_TUPLE_PROTO);
    nlbuf_put_u8(b, CTA_PROTO_NUM, t->proto);
    nlbuf_put_be16(b, CTA_PROTO_SRC_PORT, t->sport);
    nlbuf_put_be16(b, CTA_PROTO_DST_PORT, t->dport);
    nlbuf_nest_end(b, proto);
    nlbuf_nest_end(b, nest);
}

/* The dump of entries whose tuple of this side (CTA_TUPLE_ORIG or _REPLY) has this source, or where that is 0 this
 * protocol, where both are, all; the kernel may give more. */
static bool table_dump(struct netlink *nl, uint16_t side, uint32_t src, uint8_t proto,
                       void (*fn)(const struct nlmsghdr *h, void *arg), void (*again)(void *arg), void *arg,
                       struct err *err)
{
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    struct err e = ERR;
    for (int filtered = src || proto; filtered >= 0; filtered--) {
        nlbuf_reset(&b);
        message_begin(&b, IPCTNL_MSG_CT_GET, 0);
        if (filtered) {
            uint32_t by = src ? FILTER_IP_SRC : FILTER_PROTO;
            put_tuple(&b, side, &(struct tuple){.src = src, .proto = proto});
            size_t nest = nlbuf_nest(&b, CTA_FILTER);
            nlbuf_put_u32(&b, CTA_FILTER_ORIG_FLAGS, side == CTA_TUPLE_ORIG ? by : 0);
            nlbuf_put_u32(&b, CTA_FILTER_REPLY_FLAGS, side == CTA_TUPLE_REPLY ? by : 0);
            nlbuf_nest_end(&b, nest);
        }
        nlbuf_end(&b);
        if (netlink_dump(nl, &b, fn, again, arg, &e))
            return true;
        if (e.sys != EINVAL && e.sys != EOPNOTSUPP)
            break;
        again(arg);
    }
    *err = e;
    return err_wrap(err, "read the table of connections");
}

/* A pod that drains. Of the table's entries those are a Service's connections to it whose answers come from the pod's
 * address and whose destination the kernel has translated, and those that this machine has made straight to the pod:
 * the front door's. Another's connection straight to the pod is nobody's promise. A TCP connection that is in
 * TIME_WAIT or closed has nothing more to say. All others count, also those that are at rest: the two samples say
 * whether they are. */
struct draining {
    uint32_t pod_ip, own_ip;
    struct drain_sample sample;
};

static bool entry_is_closing(const struct conntrack_entry *e)
{
    return e->orig.proto == NET_TCP && (e->tcp_state == TCP_CONNTRACK_TIME_WAIT ||
                                        e->tcp_state == TCP_CONNTRACK_CLOSE || e->tcp_state == TCP_CONNTRACK_NONE);
}

static void drain_each(const struct nlmsghdr *h, void *arg)
{
    struct draining *d = arg;
    struct conntrack_entry e;
    read_entry(h, &e);
    bool ours = (e.status & IPS_DST_NAT) || (e.orig.proto == NET_TCP && e.orig.src == d->own_ip);
    if (e.reply.src != d->pod_ip || !ours || entry_is_closing(&e))
        return;
    d->sample.connections++;
    d->sample.bytes += e.bytes;
}

static void drain_again(void *arg)
{
    ((struct draining *)arg)->sample = (struct drain_sample){0};
}

bool conntrack_drain(uint32_t pod_ip, uint32_t own_ip, struct drain_sample *out, struct err *err)
{
    AUTO(netlink_close) struct netlink nl = NETLINK;
    struct draining d = {.pod_ip = pod_ip, .own_ip = own_ip};
    if (!netlink_open(&nl, NETLINK_NETFILTER, err) ||
        !table_dump(&nl, CTA_TUPLE_REPLY, pod_ip, 0, drain_each, drain_again, &d, err))
        return false;
    *out = d.sample;
    return true;
}

bool drain_idle(struct drain_sample before, struct drain_sample now)
{
    return now.connections == 0 || (now.connections == before.connections && now.bytes == before.bytes);
}

struct forgetting {
    const struct rule_gone *gone;
    size_t n;
    const struct conntrack_keep *keep;
    ARRAY(struct conntrack_entry) found;
};

static bool is_gone(const struct conntrack_entry *e, const struct rule_gone *g)
{
    if (e->orig.proto != NET_UDP || g->proto != NET_UDP || g->port != e->orig.dport ||
        (g->ip && g->ip != e->orig.dst))
        return false;
    if (!g->endpoint.ip)
        return !(e->status & IPS_DST_NAT);
    return (e->status & IPS_DST_NAT) && e->reply.src == g->endpoint.ip && e->reply.sport == g->endpoint.port;
}

static bool is_stray(const struct conntrack_entry *e, const struct conntrack_keep *keep)
{
    char buf[RULE_PAIR_N];
    struct rule_gone pair = {.proto = NET_UDP,
                             .ip = e->orig.dst,
                             .port = e->orig.dport,
                             .endpoint = {.ip = e->reply.src, .port = e->reply.sport}};
    if (e->orig.proto != NET_UDP)
        return false;
    if (!(e->status & IPS_DST_NAT))
        return cidr4_has(keep->services, e->orig.dst);
    if (!cidr4_has(keep->pods, e->reply.src) || map_get(keep->pairs, rule_pair_key(&pair, buf)))
        return false;
    pair.ip = 0; /* a node port, at whichever address */
    return !map_get(keep->pairs, rule_pair_key(&pair, buf));
}

static void forget_each(const struct nlmsghdr *h, void *arg)
{
    struct forgetting *f = arg;
    struct conntrack_entry e;
    read_entry(h, &e);
    if (f->keep && is_stray(&e, f->keep)) {
        array_push(&f->found, e);
        return;
    }
    for (size_t i = 0; i < f->n; i++) {
        if (is_gone(&e, &f->gone[i])) {
            array_push(&f->found, e);
            return;
        }
    }
}

static void forget_again(void *arg)
{
    array_clear(&((struct forgetting *)arg)->found);
}

/* Named by the side that holds the address that is gone: a client may have used its port again since the entry was
 * read, and then the other side, and even the id, are those of a connection that lives. */
static bool delete_entry(struct netlink *nl, uint16_t side, const struct conntrack_entry *e, struct err *err)
{
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    struct err x = ERR;
    message_begin(&b, IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
    put_tuple(&b, side, side == CTA_TUPLE_ORIG ? &e->orig : &e->reply);
    nlbuf_put_be32(&b, CTA_ID, e->id);
    nlbuf_end(&b);
    if (netlink_send(nl, &b, NULL, NULL, NULL, &x) || x.sys == ENOENT)
        return true;
    *err = x;
    return err_wrap(err, "delete a connection to " IP4_FMT, IP4_ARG(e->reply.src));
}

/* A datagram was sent to the endpoint and is not answered yet: without the entry its answer would reach nobody. What
 * is never answered (logs, figures) is not waited for. */
static bool under_way(const struct conntrack_entry *e)
{
    return e->status & IPS_DST_NAT && e->answered < e->asked && (e->answered > 0 || e->asked == 1);
}

static bool forget_found(struct netlink *nl, struct forgetting *f, bool last, unsigned *deleted, bool *again,
                         struct err *err)
{
    *again = false;
    for (size_t i = 0; i < f->found.n; i++) {
        const struct conntrack_entry *e = &f->found.p[i];
        if (!last && under_way(e)) {
            *again = true;
            continue;
        }
        if (!delete_entry(nl, CTA_TUPLE_REPLY, e, err))
            return false;
        *deleted += 1;
    }
    return true;
}

bool conntrack_forget(const struct rule_gone *gone, size_t n, const struct conntrack_keep *keep, unsigned *deleted,
                      struct err *err)
{
    AUTO(netlink_close) struct netlink nl = NETLINK;
    struct forgetting f = {.gone = gone, .n = n, .keep = keep};
    bool any = keep != NULL, again = true;
    unsigned count = 0;
    for (size_t i = 0; i < n; i++)
        any |= gone[i].proto == NET_UDP;
    bool ok = !any || netlink_open(&nl, NETLINK_NETFILTER, err);
    for (int tries = 0; ok && any && again; tries++) {
        if (tries)
            (void)poll(NULL, 0, ANSWER_MS);
        array_clear(&f.found);
        ok = table_dump(&nl, CTA_TUPLE_REPLY, 0, NET_UDP, forget_each, forget_again, &f, err) &&
             forget_found(&nl, &f, tries == ANSWER_TRIES, &count, &again, err);
    }
    if (deleted)
        *deleted = count;
    array_fini(&f.found);
    return ok;
}

struct leaving {
    uint32_t ip;
    uint16_t side;
    ARRAY(struct conntrack_entry) found;
};

static void leave_each(const struct nlmsghdr *h, void *arg)
{
    struct leaving *l = arg;
    struct conntrack_entry e;
    read_entry(h, &e);
    bool ports = e.orig.proto == NET_TCP || e.orig.proto == NET_UDP || e.orig.proto == NET_SCTP;
    if (ports && (l->side == CTA_TUPLE_ORIG ? e.orig.src : e.reply.src) == l->ip)
        array_push(&l->found, e);
}

static void leave_again(void *arg)
{
    array_clear(&((struct leaving *)arg)->found);
}

bool conntrack_leave(uint32_t pod_ip, unsigned *deleted, struct err *err)
{
    static const uint16_t sides[] = {CTA_TUPLE_ORIG, CTA_TUPLE_REPLY};
    AUTO(netlink_close) struct netlink nl = NETLINK;
    bool ok = netlink_open(&nl, NETLINK_NETFILTER, err);
    *deleted = 0;
    for (size_t i = 0; ok && i < countof(sides); i++) {
        struct leaving l = {.ip = pod_ip, .side = sides[i]};
        ok = table_dump(&nl, sides[i], pod_ip, 0, leave_each, leave_again, &l, err);
        for (size_t j = 0; ok && j < l.found.n; j++)
            ok = delete_entry(&nl, sides[i], &l.found.p[j], err);
        *deleted += (unsigned)l.found.n;
        array_fini(&l.found);
    }
    return ok;
}

/* ---- what policies allow no more ---- */

#define LIST_FILTERED 4 /* addresses that are asked for one by one; for more the whole table is read */

struct conntrack_listing {
    const struct map *ips;
    struct connections *out;
    size_t start; /* of this dump */
};

static void list_each_entry(const struct nlmsghdr *h, void *arg)
{
    struct conntrack_listing *l = arg;
    struct conntrack_entry e;
    const struct nlattr *a;
    read_entry(h, &e);
    struct connection c = {.from = e.orig.src, .to = e.reply.src, .proto = e.orig.proto, .port = e.reply.sport};
    struct str from = {(const char *)&c.from, sizeof c.from}, to = {(const char *)&c.to, sizeof c.to};
    if (entry_is_closing(&e) || (map_len(l->ips) && !map_get(l->ips, from) && !map_get(l->ips, to)))
        return;
    c.id = e.id;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(a) != CTA_TUPLE_ORIG || mnl_attr_get_payload_len(a) > sizeof c.tuple)
            continue;
        c.tuple_n = mnl_attr_get_payload_len(a);
        (void)memcpy(c.tuple, mnl_attr_get_payload(a), c.tuple_n);
    }
    array_push(&l->out->list, c);
}

static void list_again(void *arg)
{
    struct conntrack_listing *l = arg;
    l->out->list.n = l->start;
}

bool conntrack_list(const uint32_t *ips, size_t n, struct connections *out, struct err *err)
{
    static const uint16_t sides[] = {CTA_TUPLE_ORIG, CTA_TUPLE_REPLY};
    AUTO(netlink_close) struct netlink nl = NETLINK;
    AUTO(map_fini) struct map wanted = MAP;
    struct conntrack_listing l = {&wanted, out, 0};
    *out = (struct connections){0};
    for (size_t i = 0; i < n; i++)
        (void)map_put(&wanted, (struct str){(const char *)&ips[i], sizeof ips[i]}, &l);
    bool ok = netlink_open(&nl, NETLINK_NETFILTER, err);
    if (ok && (n == 0 || n > LIST_FILTERED))
        return table_dump(&nl, CTA_TUPLE_ORIG, 0, 0, list_each_entry, list_again, &l, err);
    for (size_t i = 0; ok && i < n; i++) {
        for (size_t j = 0; ok && j < countof(sides); j++) {
            l.start = out->list.n;
            ok = table_dump(&nl, sides[j], ips[i], 0, list_each_entry, list_again, &l, err);
        }
    }
    return ok;
}

bool conntrack_cut(const struct connection *list, size_t n, struct err *err)
{
    AUTO(netlink_close) struct netlink nl = NETLINK;
    if (n && !netlink_open(&nl, NETLINK_NETFILTER, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
        struct err x = ERR;
        message_begin(&b, IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
        nlbuf_put(&b, CTA_TUPLE_ORIG | NLA_F_NESTED, list[i].tuple, list[i].tuple_n);
        nlbuf_put_be32(&b, CTA_ID, list[i].id);
        nlbuf_end(&b);
        if (netlink_send(&nl, &b, NULL, NULL, NULL, &x) || x.sys == ENOENT)
            continue;
        *err = x;
        return err_wrap(err, "cut a connection from " IP4_FMT " to " IP4_FMT, IP4_ARG(list[i].from),
                        IP4_ARG(list[i].to));
    }
    return true;
}
