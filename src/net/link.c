/* link.c - a pod's link: a pair of veths, set up over rtnetlink, and network namespaces by descriptor.
 *
 * One pair is some ten messages in three conversations: make it with its far end already in the pod's namespace (and
 * ask for the indexes in the same breath), set up the host's end, set up the pod's. Every step names what it made by
 * index. If one fails the host's end is deleted, which takes the other with it. A link of that name that stands
 * there already is half a pod of an earlier life and is replaced.
 *
 * The name holds the pod's address ("wINST-AABBCCDD"), so that the kernel alone tells after a restart which
 * addresses are taken and by whom; the alias tells people.
 *
 * Entering another network namespace changes the calling thread. It is done for as short as can be - to open a
 * socket, which then stays in that namespace, or to write one file - and coming home cannot fail without ending the
 * process: a thread in a stranger's network must not go on.
 *
 * Deleting a link waits for the kernel to let go of it (13 ms and more), so pods that leave only lose their route;
 * the pair goes with their namespace.
 */
#include "net/link.h"
#include "base/fault.h"
#include "net/route.h"
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct instance instance_of(struct str root)
{
    while (root.n > 1 && root.p[root.n - 1] == '/')
        root.n--;
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a: names, not secrets */
    for (size_t i = 0; i < root.n; i++)
        h = (h ^ (uint8_t)root.p[i]) * 0x100000001b3u;
    struct instance in;
    (void)snprintf(in.id, sizeof in.id, "%05x", (unsigned)((h ^ h >> 20 ^ h >> 40) & 0xfffff));
    return in;
}

static int own_netns(struct err *err)
{
    int fd = fault("netns.open", EMFILE) ? -1 : open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "open /proc/thread-self/ns/net"), -1;
    return fd;
}

int netns_new(struct err *err)
{
    AUTO(fd_close) int home = own_netns(err);
    if (home < 0)
        return -1;
    if (fault("netns.new", ENOSPC) || unshare(CLONE_NEWNET) < 0)
        return err_errno(err, "make a network namespace"), -1;
    int fd = own_netns(err);
    netns_leave(home);
    return fd;
}

int netns_enter(int netns_fd, struct err *err)
{
    AUTO(fd_close) int home = own_netns(err);
    if (home < 0)
        return -1;
    if (fault("netns.enter", EPERM) || setns(netns_fd, CLONE_NEWNET) < 0)
        return err_errno(err, "enter a network namespace"), -1;
    return TAKE_FD(home);
}

void netns_leave(int home_fd)
{
    ASSERT(setns(home_fd, CLONE_NEWNET) == 0); /* a thread in a stranger's network must not go on */
}

void pod_link_name(struct instance in, uint32_t ip, char name[IFNAMSIZ])
{
    (void)snprintf(name, IFNAMSIZ, "w%s-%08x", in.id, ip);
}

/* The address of a link that is ours by its name; false for everybody else's. */
static bool name_ours(struct instance in, const char *name, uint32_t *ip)
{
    char *end;
    if (name[0] != 'w' || strncmp(name + 1, in.id, INSTANCE_ID_N) != 0 || name[1 + INSTANCE_ID_N] != '-' ||
        strlen(name) != INSTANCE_ID_N + 10)
        return false;
    unsigned long v = strtoul(name + INSTANCE_ID_N + 2, &end, 16);
    *ip = (uint32_t)v;
    return *end == 0;
}

static void put_veth(struct nlbuf *b, const char *name, const struct pod_link_spec *spec)
{
    /* neither is up yet: no_ipv6 comes first; and the kernel brings a peer up before the pair is joined and fails
     * with ENOTCONN */
    struct ifinfomsg none = {.ifi_family = AF_UNSPEC};
    nlbuf_begin(b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, &none, sizeof none);
    nlbuf_put_strz(b, IFLA_IFNAME, name);
    if (spec->mtu)
        nlbuf_put_u32(b, IFLA_MTU, (uint32_t)spec->mtu);
    size_t info = nlbuf_nest(b, IFLA_LINKINFO);
    nlbuf_put_strz(b, IFLA_INFO_KIND, "veth");
    size_t data = nlbuf_nest(b, IFLA_INFO_DATA);
    size_t peer = nlbuf_nest(b, VETH_INFO_PEER);
    nlbuf_raw(b, &none, sizeof none);
    nlbuf_put_strz(b, IFLA_IFNAME, "eth0");
    nlbuf_put_u32(b, IFLA_NET_NS_FD, (uint32_t)spec->netns_fd);
    if (spec->mtu)
        nlbuf_put_u32(b, IFLA_MTU, (uint32_t)spec->mtu);
    nlbuf_nest_end(b, peer);
    nlbuf_nest_end(b, data);
    nlbuf_nest_end(b, info);
    nlbuf_end(b);
}

static void put_get(struct nlbuf *b, const char *name)
{
    struct ifinfomsg m = {0};
    nlbuf_begin(b, RTM_GETLINK, NLM_F_ACK, &m, sizeof m);
    nlbuf_put_strz(b, IFLA_IFNAME, name);
    nlbuf_end(b);
}

struct made {
    int host, pod; /* ifindex */
};

static void made_read(const struct nlmsghdr *h, void *arg)
{
    struct made *made = arg;
    if (h->nlmsg_type != RTM_NEWLINK)
        return;
    const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
    const struct nlattr *a;
    made->host = m->ifi_index;
    mnl_attr_for_each(a, h, sizeof *m)
    {
        if (mnl_attr_get_type(a) == IFLA_LINK && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
            made->pod = (int)mnl_attr_get_u32(a);
    }
}

static void put_up(struct nlbuf *b, int ifindex)
{
    struct ifinfomsg m = {.ifi_index = ifindex, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    nlbuf_begin(b, RTM_NEWLINK, NLM_F_ACK, &m, sizeof m);
    nlbuf_end(b);
}

/* Answers to 127.0.0.1:NODEPORT come back by this link with a loopback address once conntrack has translated them
 * (rules.c drops what a pod itself sends there); a pod sends with its own address only. */
static void put_conf(struct nlbuf *b, int ifindex, const char *alias)
{
    struct ifinfomsg m = {.ifi_index = ifindex};
    nlbuf_begin(b, RTM_NEWLINK, NLM_F_ACK, &m, sizeof m);
    if (alias)
        nlbuf_put(b, IFLA_IFALIAS, alias, MIN(strlen(alias), POD_LINK_ALIAS_MAX));
    size_t spec = nlbuf_nest(b, IFLA_AF_SPEC), inet = nlbuf_nest(b, AF_INET), conf = nlbuf_nest(b, IFLA_INET_CONF);
    nlbuf_put_u32(b, IPV4_DEVCONF_ROUTE_LOCALNET, 1);
    nlbuf_put_u32(b, IPV4_DEVCONF_RP_FILTER, 1);
    nlbuf_nest_end(b, conf);
    nlbuf_nest_end(b, inet);
    nlbuf_nest_end(b, spec);
    nlbuf_end(b);
}

/* Pods have IPv4 alone. With IPv6 a pod would reach by link-local addresses what the host serves, be taken for its
 * router (a router advertisement needs NET_RAW alone), and fill the table of neighbours, which all namespaces share.
 */
static bool no_ipv6(const char *name, struct err *err)
{
    char path[100];
    (void)snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) /* a kernel without it */
        return true;
    return (fd >= 0 && !fault("link.ipv6", EROFS) && write(fd, "1", 1) == 1) || err_errno(err, "write %s", path);
}

/* The other end is in a namespace that is the pod's alone, and so is this thread while it writes there. */
static bool no_ipv6_in(int netns_fd, const char *name, struct err *err)
{
    AUTO(fd_close) int home = netns_enter(netns_fd, err);
    if (home < 0)
        return false;
    bool ok = no_ipv6(name, err);
    netns_leave(home);
    return ok;
}

static bool setup_host(struct netlink *nl, const struct pod_link_spec *spec, int ifindex, struct err *err)
{
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    put_conf(&b, ifindex, spec->alias);
    put_up(&b, ifindex);
    addr_put(&b, RTM_NEWADDR, ifindex, IP4_GATEWAY, RT_SCOPE_LINK, NULL);
    route_put(&b, RTM_NEWROUTE, &(struct route){.to = {spec->ip, 32}, .ifindex = ifindex, .src = spec->node_ip});
    return netlink_send(nl, &b, NULL, NULL, NULL, err) || err_wrap(err, "host side");
}

static bool setup_pod(const struct pod_link_spec *spec, int ifindex, struct err *err)
{
    AUTO(netlink_close) struct netlink nl = NETLINK;
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    if (!netlink_open_in(&nl, NETLINK_ROUTE, spec->netns_fd, err))
        return err_wrap(err, "pod side");
    put_up(&b, 1);
    put_up(&b, ifindex);
    addr_put(&b, RTM_NEWADDR, ifindex, spec->ip, RT_SCOPE_UNIVERSE, NULL);
    route_put(&b, RTM_NEWROUTE, &(struct route){.to = {IP4_GATEWAY, 32}, .ifindex = ifindex});
    route_put(&b, RTM_NEWROUTE, &(struct route){.ifindex = ifindex, .via = IP4_GATEWAY});
    return netlink_send(&nl, &b, NULL, NULL, NULL, err) || err_wrap(err, "pod side");
}

static bool link_del(struct netlink *nl, const char *name, struct err *err)
{
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    struct err e = ERR;
    struct ifinfomsg m = {0};
    nlbuf_begin(&b, RTM_DELLINK, NLM_F_ACK, &m, sizeof m);
    nlbuf_put_strz(&b, IFLA_IFNAME, name);
    nlbuf_end(&b);
    if (!netlink_send(nl, &b, NULL, NULL, NULL, &e) && e.sys != ENODEV) {
        *err = e;
        return err_wrap(err, "delete link %s", name);
    }
    return true;
}

bool pod_link_add(const struct pod_link_spec *spec, struct pod_link *out, struct err *err)
{
    AUTO(netlink_close) struct netlink nl = NETLINK;
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    struct pod_link link = {.ip = spec->ip};
    struct made made = {0};
    struct err e = ERR, ignored = ERR;
    pod_link_name(spec->instance, spec->ip, link.name);
    (void)snprintf(link.alias, sizeof link.alias, "%s", spec->alias ? spec->alias : "");
    if (!netlink_open(&nl, NETLINK_ROUTE, err))
        return err_wrap(err, "link of a pod");
    put_veth(&b, link.name, spec);
    put_get(&b, link.name);
    bool ok = netlink_send(&nl, &b, made_read, &made, NULL, &e);
    if (!ok && e.sys == EEXIST)
        ok = link_del(&nl, link.name, &e) && netlink_send(&nl, &b, made_read, &made, NULL, &e);
    ok = ok && no_ipv6(link.name, &e) && no_ipv6_in(spec->netns_fd, "eth0", &e) &&
         setup_host(&nl, spec, made.host, &e) && setup_pod(spec, made.pod, &e);
    if (!ok) {
        (void)link_del(&nl, link.name, &ignored);
        *err = e;
        return err_wrap(err, "link %s of a pod", link.name);
    }
    link.ifindex = made.host;
    *out = link;
    return true;
}

bool pod_link_unroute(struct instance in, uint32_t ip, struct err *err)
{
    AUTO(netlink_close) struct netlink nl = NETLINK;
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    struct err e = ERR;
    struct made made = {0};
    char name[IFNAMSIZ];
    pod_link_name(in, ip, name);
    if (!netlink_open(&nl, NETLINK_ROUTE, err))
        return err_wrap(err, "route of a pod");
    put_get(&b, name);
    if (!netlink_send(&nl, &b, made_read, &made, NULL, &e)) {
        if (e.sys == ENODEV)
            return true;
        *err = e;
        return err_wrap(err, "find link %s", name);
    }
    nlbuf_reset(&b);
    route_put(&b, RTM_DELROUTE, &(struct route){.to = {ip, 32}, .ifindex = made.host});
    if (!netlink_send(&nl, &b, NULL, NULL, NULL, &e) && e.sys != ESRCH && e.sys != ENODEV) {
        *err = e;
        return err_wrap(err, "remove the route to " IP4_FMT, IP4_ARG(ip));
    }
    return true;
}

bool pod_link_del(struct instance in, uint32_t ip, struct err *err)
{
    AUTO(netlink_close) struct netlink nl = NETLINK;
    char name[IFNAMSIZ];
    pod_link_name(in, ip, name);
    return netlink_open(&nl, NETLINK_ROUTE, err) && link_del(&nl, name, err);
}

struct link_listing {
    struct instance in;
    struct pod_links *out;
};

static void list_each_link(const struct nlmsghdr *h, void *arg)
{
    struct link_listing *l = arg;
    const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
    struct pod_link link = {.ifindex = m->ifi_index};
    const struct nlattr *a;
    if (h->nlmsg_type != RTM_NEWLINK)
        return;
    mnl_attr_for_each(a, h, sizeof *m)
    {
        int type = mnl_attr_get_type(a), n = (int)mnl_attr_get_payload_len(a);
        if (type == IFLA_IFNAME)
            (void)snprintf(link.name, sizeof link.name, "%.*s", n, mnl_attr_get_str(a));
        else if (type == IFLA_IFALIAS)
            (void)snprintf(link.alias, sizeof link.alias, "%.*s", n, mnl_attr_get_str(a));
    }
    if (name_ours(l->in, link.name, &link.ip))
        array_push(&l->out->links, link);
}

static void list_again(void *arg)
{
    array_clear(&((struct link_listing *)arg)->out->links);
}

/* All links of this network, each to fn; again: they are told anew, from the first one. */
static bool links_dump(void (*fn)(const struct nlmsghdr *h, void *arg), void (*again)(void *arg), void *arg,
                       struct err *err)
{
    AUTO(netlink_close) struct netlink nl = NETLINK;
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    struct ifinfomsg m = {0};
    if (!netlink_open(&nl, NETLINK_ROUTE, err))
        return false;
    nlbuf_begin(&b, RTM_GETLINK, 0, &m, sizeof m);
    nlbuf_end(&b);
    return netlink_dump(&nl, &b, fn, again, arg, err);
}

bool pod_link_list(struct instance in, struct pod_links *out, struct err *err)
{
    struct link_listing l = {in, out};
    *out = (struct pod_links){0};
    if (links_dump(list_each_link, list_again, &l, err))
        return true;
    array_fini(&out->links);
    return err_wrap(err, "list links of pods");
}

struct link_counting {
    struct instance in;
    struct link_counts *out;
};

static void count_each_link(const struct nlmsghdr *h, void *arg)
{
    struct link_counting *l = arg;
    const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
    struct link_count c = {.loopback = m->ifi_flags & IFF_LOOPBACK};
    struct rtnl_link_stats64 st = {0};
    const struct nlattr *a;
    if (h->nlmsg_type != RTM_NEWLINK)
        return;
    mnl_attr_for_each(a, h, sizeof *m)
    {
        int type = mnl_attr_get_type(a), n = (int)mnl_attr_get_payload_len(a);
        if (type == IFLA_IFNAME)
            (void)snprintf(c.name, sizeof c.name, "%.*s", n, mnl_attr_get_str(a));
        else if (type == IFLA_STATS64)
            memcpy(&st, mnl_attr_get_payload(a), MIN((size_t)n, sizeof st));
    }
    (void)name_ours(l->in, c.name, &c.ip);
    c.rx_bytes = st.rx_bytes;
    c.rx_packets = st.rx_packets;
    c.rx_errors = st.rx_errors;
    c.rx_dropped = st.rx_dropped;
    c.tx_bytes = st.tx_bytes;
    c.tx_packets = st.tx_packets;
    c.tx_errors = st.tx_errors;
    c.tx_dropped = st.tx_dropped;
    array_push(&l->out->links, c);
}

static void count_again(void *arg)
{
    array_clear(&((struct link_counting *)arg)->out->links);
}

bool link_counts_read(struct instance in, struct link_counts *out, struct err *err)
{
    struct link_counting l = {in, out};
    *out = (struct link_counts){0};
    if (links_dump(count_each_link, count_again, &l, err))
        return true;
    array_fini(&out->links);
    return err_wrap(err, "counters of links");
}
