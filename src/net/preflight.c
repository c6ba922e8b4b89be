/* preflight.c - looks for what stands in the way of a node's network before anything is changed. One function a
 * question, each appending sentences; a finding stops none of the others.
 *
 * - Ports: by trying to listen. If it is taken, /proc tells by whom: the port's inode in /proc/net, then the process
 *   that holds that socket.
 * - Routes: any of the main table that overlaps the pod or service range and is not ours.
 * - Foreign rules: tables of other instances and of kube-proxy, and chains of the forward hook that drop by default,
 *   in nftables and in the older iptables (whose policy is the verdict at the hook's end; it is only asked where the
 *   table exists, because asking would make it).
 * - The kernel: everything is tried for real, a pair of links and the whole table, in network namespaces that nobody
 *   else sees and that are gone afterwards. That tests what is needed without a list of kernel options.
 *
 * A finding is fatal where a start would fail or do harm, and else a warning. Not here: repairing any of it.
 */
#include "net/preflight.h"
#include "net/fence_nft.h"
#include "net/netlink.h"
#include "net/nft.h"
#include "net/route.h"
#include <netinet/in.h> /* before the kernel's own, which give way to it */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#define PROC_MAX  (4 << 20)
#define SMALL_MAX 8192 /* beyond the piece that is read at once */

static void finding_add(struct preflight *p, bool fatal, const char *fmt, ...) PRINTF(3, 4);
static void finding_add(struct preflight *p, bool fatal, const char *fmt, ...)
{
    struct preflight_finding f = {.fatal = fatal};
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(f.text, sizeof f.text, fmt, args);
    va_end(args);
    array_push(&p->found, f);
}

static bool read_file(const char *path, struct strbuf *b)
{
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (;;) {
        char *room = fd < 0 ? NULL : strbuf_room(b, 4096);
        ssize_t n = room ? read(fd, room, 4096) : -1;
        if (n < 0)
            return false;
        strbuf_used(b, (size_t)n);
        if (n == 0)
            return true;
    }
}

/* ---- ports ---- */

static bool next_field(struct str *rest, struct str *field)
{
    while (rest->n && rest->p[0] == ' ')
        *rest = str_sub(*rest, 1, rest->n);
    size_t n = 0;
    while (n < rest->n && rest->p[n] != ' ')
        n++;
    *field = str_sub(*rest, 0, n);
    *rest = str_sub(*rest, n, rest->n);
    return n > 0;
}

/* The inode of the socket that holds the port, from /proc/net/tcp or udp; 0: not found. */
static uint64_t port_inode(const char *path, bool tcp, uint16_t port)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(PROC_MAX);
    char want[6];
    if (!read_file(path, &b))
        return 0;
    (void)snprintf(want, sizeof want, "%04X", port);
    struct str rest = strbuf_str(&b), line, f[10];
    while (str_cut(&rest, '\n', &line)) {
        int n = 0;
        while (n < 10 && next_field(&line, &f[n]))
            n++;
        uint64_t inode;
        if (n == 10 && str_ends(f[1], str_of(want)) && f[1].n > 4 && f[1].p[f[1].n - 5] == ':' &&
            (!tcp || str_eq(f[3], S("0A"))) && str_to_u64(f[9], UINT64_MAX, &inode) && inode)
            return inode;
    }
    return 0;
}

static bool process_holds(const char *pid, const char *socket_name)
{
    char dir[300], path[600], link[64];
    (void)snprintf(dir, sizeof dir, "/proc/%s/fd", pid);
    DIR *d = opendir(dir);
    bool found = false;
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        ssize_t n = readlink(path, link, sizeof link - 1);
        link[n > 0 ? n : 0] = 0;
        found = strcmp(link, socket_name) == 0;
    }
    if (d)
        (void)closedir(d);
    return found;
}

/* "nginx (pid 12)", or "another process" where /proc does not tell */
static void port_owner(const struct preflight_port *port, char *out, size_t max)
{
    const char *paths[] = {port->udp ? "/proc/net/udp" : "/proc/net/tcp",
                           port->udp ? "/proc/net/udp6" : "/proc/net/tcp6"};
    uint64_t inode = port_inode(paths[0], !port->udp, port->port);
    inode = inode ? inode : port_inode(paths[1], !port->udp, port->port);
    (void)snprintf(out, max, "another process");
    char name[64];
    (void)snprintf(name, sizeof name, "socket:[%llu]", (unsigned long long)inode);
    DIR *d = inode ? opendir("/proc") : NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[300];
        if (e->d_name[0] < '1' || e->d_name[0] > '9' || !process_holds(e->d_name, name))
            continue;
        AUTO(strbuf_fini) struct strbuf comm = STRBUF(SMALL_MAX);
        (void)snprintf(path, sizeof path, "/proc/%s/comm", e->d_name);
        bool ok = read_file(path, &comm);
        (void)snprintf(out, max, STR_FMT " (pid %.10s)", STR_ARG(ok ? str_trim(strbuf_str(&comm)) : S("?")),
                       e->d_name);
        break;
    }
    if (d)
        (void)closedir(d);
}

static void check_port(const struct preflight_port *port, struct preflight *p)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port->port), .sin_addr.s_addr = htonl(port->ip)};
    AUTO(fd_close) int fd = socket(AF_INET, (port->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    int one = 1;
    char owner[128];
    if (!port->udp)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one); /* bind tells */
    if (port->later)
        (void)setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof one); /* bind tells */
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && (port->udp || listen(fd, 1) == 0);
    if (ok)
        return;
    if (errno == EADDRNOTAVAIL) {
        finding_add(p, true,
                    "this machine has no address " IP4_FMT
                    ", where %s wants to listen; choose one of its own (ip address), "
                    "or 0.0.0.0 for all of them",
                    IP4_ARG(port->ip), port->what);
        return;
    }
    if (errno != EADDRINUSE && errno != EACCES) {
        finding_add(p, true, "port %u of %s cannot be opened: %s", port->port, port->what, strerror(errno));
        return;
    }
    if (errno == EACCES) {
        finding_add(p, true, "port %u of %s cannot be opened: %s; run as root, or choose a port above 1023",
                    port->port, port->what, strerror(errno));
        return;
    }
    port_owner(port, owner, sizeof owner);
    finding_add(p, true, "port %u/%s, where %s wants to listen, is taken by %s; stop that, or choose another port",
                port->port, port->udp ? "udp" : "tcp", port->what, owner);
}

/* ---- routes ---- */

static void check_route(const struct preflight_config *c, const struct route *r, struct preflight *p)
{
    const struct {
        struct cidr4 range;
        const char *name, *key;
    } ranges[] = {{c->net.pods, "pod", "pod-cidr"}, {c->net.services, "service", "service-cidr"}};
    char dev[IFNAMSIZ] = "?", ours[IFNAMSIZ];
    if (r->to.bits == 0 || r->protocol == ROUTE_PROTOCOL)
        return;
    if (r->ifindex && !if_indextoname((unsigned)r->ifindex, dev))
        (void)snprintf(dev, sizeof dev, "?");
    (void)snprintf(ours, sizeof ours, "w%s-", c->net.instance.id);
    if (strncmp(dev, ours, strlen(ours)) == 0)
        return;
    for (size_t i = 0; i < countof(ranges); i++)
        if (cidr4_overlap(r->to, ranges[i].range))
            finding_add(p, true,
                        "the route " CIDR_FMT " dev %s overlaps the %s range " CIDR_FMT
                        ": packets would go astray; choose another range (--set %s=...), or remove that route",
                        CIDR_ARG(r->to), dev, ranges[i].name, CIDR_ARG(ranges[i].range), ranges[i].key);
}

static bool check_routes(const struct preflight_config *c, struct preflight *p, struct err *err)
{
    AUTO(netlink_close) struct netlink nl = NETLINK;
    struct routes routes;
    if (!netlink_open(&nl, NETLINK_ROUTE, err) || !route_list(&nl, &routes, err))
        return false;
    for (size_t i = 0; i < routes.list.n; i++)
        check_route(c, &routes.list.p[i], p);
    array_fini(&routes.list);
    return true;
}

/* ---- foreign rules ---- */

struct looking {
    const struct preflight_config *c;
    struct preflight *p;
};

static void look_chain(const struct nlmsghdr *h, void *arg)
{
    struct looking *l = arg;
    const struct nfgenmsg *g = mnl_nlmsg_get_payload(h);
    const struct nlattr *a, *b;
    const char *table = "", *chain = "";
    uint32_t policy = NF_ACCEPT, hook = UINT32_MAX;
    mnl_attr_for_each(a, h, sizeof *g)
    {
        int type = mnl_attr_get_type(a);
        if (type == NFTA_CHAIN_TABLE && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
            table = mnl_attr_get_str(a);
        else if (type == NFTA_CHAIN_NAME && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
            chain = mnl_attr_get_str(a);
        else if (type == NFTA_CHAIN_POLICY && mnl_attr_get_payload_len(a) == 4)
            policy = __builtin_bswap32(mnl_attr_get_u32(a));
        else if (type == NFTA_CHAIN_HOOK) {
            mnl_attr_for_each_nested(b, a)
            {
                if (mnl_attr_get_type(b) == NFTA_HOOK_HOOKNUM && mnl_attr_get_payload_len(b) == 4)
                    hook = __builtin_bswap32(mnl_attr_get_u32(b));
            }
        }
    }
    bool v4 = g->nfgen_family == NFPROTO_IPV4 || g->nfgen_family == NFPROTO_INET;
    if (v4 && hook == NF_INET_FORWARD && policy == NF_DROP)
        finding_add(
            l->p, false,
            "the nftables chain \"%s\" of table \"%s\" drops forwarded packets by default (firewalls and Docker set "
            "that): pods may not reach each other or the outside; allow " CIDR_FMT
            " there, for example: iptables -I FORWARD -s " CIDR_FMT " -j ACCEPT; iptables -I FORWARD -d " CIDR_FMT
            " -j ACCEPT",
            chain, table, CIDR_ARG(l->c->net.pods), CIDR_ARG(l->c->net.pods), CIDR_ARG(l->c->net.pods));
}

static void look_table(const struct nlmsghdr *h, void *arg)
{
    struct looking *l = arg;
    const struct nlattr *a;
    char own[16], fence[FENCE_TABLE_N];
    rules_table_name(l->c->net.instance, own);
    fence_table_name(l->c->net.instance, fence);
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(a) != NFTA_TABLE_NAME || mnl_attr_validate(a, MNL_TYPE_NUL_STRING) < 0)
            continue;
        const char *name = mnl_attr_get_str(a);
        bool ours = strcmp(name, own) == 0 || strcmp(name, fence) == 0;
        if (strncmp(name, "wherry-", 7) == 0 && !ours)
            finding_add(
                l->p, true,
                "another Wherry node (table \"%s\") lives in this network namespace; stop it with `wherry down "
                "--root "
                "DIR` of its folder, or start this one in a network namespace of its own",
                name);
        else if (ours && !l->c->adopting)
            finding_add(
                l->p, true,
                "the table \"%s\" of this cluster is there already, though no node role runs: it was not ended by "
                "`wherry down`; run that first",
                name);
        else if (strcmp(name, "kube-proxy") == 0)
            finding_add(
                l->p, false,
                "kube-proxy of another Kubernetes is active here (table \"%s\"); two clusters on one machine fight "
                "over "
                "node ports",
                name);
    }
}

static bool check_tables(const struct preflight_config *c, struct preflight *p, struct err *err)
{
    AUTO(netlink_close) struct netlink nl = NETLINK;
    struct looking l = {c, p};
    struct nfgenmsg g = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0};
    if (!netlink_open(&nl, NETLINK_NETFILTER, err))
        return false;
    for (int i = 0; i < 2; i++) {
        AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
        nlbuf_begin(&b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | (i ? NFT_MSG_GETCHAIN : NFT_MSG_GETTABLE)), 0, &g,
                    sizeof g);
        nlbuf_end(&b);
        if (!netlink_dump(&nl, &b, i ? look_chain : look_table, NULL, &l, err))
            return err_wrap(err, "look for foreign rules");
    }
    return true;
}

/* The policy of the legacy iptables FORWARD chain: the verdict of the entry where the hook ends. Only asked where the
 * table exists, because asking would make it. */
static bool legacy_forward_drops(void)
{
    AUTO(strbuf_fini) struct strbuf tables = STRBUF(SMALL_MAX);
    struct ipt_getinfo info = {.name = "filter"};
    socklen_t n = sizeof info;
    if (!read_file("/proc/net/ip_tables_names", &tables) || !str_has(strbuf_str(&tables), S("filter\n")))
        return false;
    AUTO(fd_close) int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    if (fd < 0 || getsockopt(fd, IPPROTO_IP, IPT_SO_GET_INFO, &info, &n) < 0)
        return false;
    n = (socklen_t)(sizeof(struct ipt_get_entries) + info.size);
    AUTO_FREE struct ipt_get_entries *get = mem_alloc(n);
    (void)snprintf(get->name, sizeof get->name, "filter");
    get->size = info.size;
    size_t end = info.underflow[NF_INET_FORWARD];
    if (getsockopt(fd, IPPROTO_IP, IPT_SO_GET_ENTRIES, get, &n) < 0 ||
        end + sizeof(struct ipt_entry) + sizeof(struct xt_standard_target) > info.size)
        return false;
    const struct ipt_entry *e = (const void *)((const char *)get->entrytable + end);
    if (end + e->target_offset + sizeof(struct xt_standard_target) > info.size)
        return false;
    const struct xt_standard_target *t = (const void *)((const char *)e + e->target_offset);
    return t->verdict == -NF_DROP - 1;
}

/* ---- the kernel ---- */

static void check_forwarding(struct preflight *p)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(SMALL_MAX);
    static const char path[] = "/proc/sys/net/ipv4/ip_forward";
    if (read_file(path, &b) && str_starts(strbuf_str(&b), S("1")))
        return;
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        finding_add(p, true,
                    "net.ipv4.ip_forward is off and cannot be set (%s): pods could reach nothing; run `sysctl -w "
                    "net.ipv4.ip_forward=1` where that is allowed",
                    strerror(errno));
}

/* In a network namespace that nobody else sees: a pair of links and the whole table, for real. */
static void check_kernel(const struct preflight_config *c, struct preflight *p)
{
    struct err err = ERR;
    AUTO(fd_close) int ns = netns_new(&err);
    AUTO(fd_close) int pod = netns_new(&err);
    AUTO(fd_close) int home = ns < 0 || pod < 0 ? -1 : netns_enter(ns, &err);
    if (home < 0) {
        finding_add(p, true, "network namespaces cannot be made here: %s; run as root on a kernel with CONFIG_NET_NS",
                    err.text);
        return;
    }
    AUTO(nft_close) struct nft nft = NFT;
    struct pod_link link;
    struct pod_link_spec spec = {.instance = c->net.instance, .ip = c->net.node_pods.ip + 2, .netns_fd = pod};
    if (!pod_link_add(&spec, &link, &err))
        finding_add(p, true, "this kernel cannot make links for pods (%s); it needs CONFIG_VETH", err.text);
    if (!nft_open(&nft, &c->net, &err) || !nft_load(&nft, &err))
        finding_add(
            p, true,
            "this kernel or nft does not take the service rules (%s); they need nftables 1.0 and a kernel with nat, "
            "conntrack, fib, numgen and reject for nf_tables",
            err.text);
    if (access("/proc/sys/net/netfilter/nf_conntrack_acct", F_OK) < 0)
        finding_add(p, true,
                    "this kernel does not count what connections carry (CONFIG_NF_CONNTRACK): pods could not drain");
    netns_leave(home);
}

void preflight_ports(const struct preflight_config *c, struct preflight *p)
{
    for (size_t i = 0; i < c->nports; i++)
        check_port(&c->ports[i], p);
}

bool preflight_run(const struct preflight_config *c, struct preflight *p, struct err *err)
{
    *p = (struct preflight){0};
    preflight_ports(c, p);
    if (!check_routes(c, p, err) || !check_tables(c, p, err)) {
        array_fini(&p->found);
        return false;
    }
    if (legacy_forward_drops())
        finding_add(
            p, false,
            "the legacy iptables chain FORWARD drops by default: pods may not reach each other or the outside; allow "
            "them: iptables-legacy -I FORWARD -s " CIDR_FMT " -j ACCEPT; iptables-legacy -I FORWARD -d " CIDR_FMT
            " -j ACCEPT",
            CIDR_ARG(c->net.pods), CIDR_ARG(c->net.pods));
    check_forwarding(p);
    check_kernel(c, p);
    return true;
}
