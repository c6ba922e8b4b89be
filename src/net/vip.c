#include "net/vip.h"
#include "base/fault.h"
#include "net/route.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_ether.h>
#include <linux/inet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netpacket/packet.h>
#include <sys/socket.h>

#define LO_INDEX    1
#define PORTS_MOST  200
#define CLIENTS_UDP 32768 /* from here on UDP ports are mostly those of clients */

static void label_of(struct instance in, char label[static IFNAMSIZ])
{
    (void)snprintf(label, IFNAMSIZ, "lo:v%s", in.id);
}

static void interfaces_free(struct ifaddrs **list)
{
    if (*list)
        freeifaddrs(*list);
}

static bool interfaces_get(struct ifaddrs **list, struct err *err)
{
    *list = NULL;
    if (fault("vip.list", ENOMEM) || getifaddrs(list) < 0)
        return err_errno(err, "list the machine's addresses");
    return true;
}

static uint32_t sockaddr_ip(const struct sockaddr *sa)
{
    struct sockaddr_in in;
    (void)memcpy(&in, sa, sizeof in);
    return ntohl(in.sin_addr.s_addr);
}

bool vip_list(struct instance in, struct vips *out, struct err *err)
{
    __attribute__((cleanup(interfaces_free))) struct ifaddrs *all = NULL;
    char label[IFNAMSIZ];
    *out = (struct vips){0};
    label_of(in, label);
    if (!interfaces_get(&all, err))
        return false;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) /* an address has its label for a name */
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && strcmp(i->ifa_name, label) == 0)
            array_push(&out->list, sockaddr_ip(i->ifa_addr));
    return true;
}

static bool vip_change(struct instance in, uint16_t type, uint32_t ip, int fine, struct err *err)
{
    AUTO(netlink_close) struct netlink nl = NETLINK;
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    struct err e = ERR;
    char label[IFNAMSIZ];
    label_of(in, label);
    if (!netlink_open(&nl, NETLINK_ROUTE, err))
        return false;
    /* for this host alone: it is never the source of what the machine sends by itself */
    addr_put(&b, type, LO_INDEX, ip, RT_SCOPE_HOST, label);
    if (netlink_send(&nl, &b, NULL, NULL, NULL, &e) || e.sys == fine)
        return true;
    *err = e;
    return err_wrap(err, "address " IP4_FMT " on lo", IP4_ARG(ip));
}

bool vip_add(struct instance in, uint32_t ip, struct err *err)
{
    return vip_change(in, RTM_NEWADDR, ip, EEXIST, err);
}

bool vip_del(struct instance in, uint32_t ip, struct err *err)
{
    return vip_change(in, RTM_DELADDR, ip, EADDRNOTAVAIL, err);
}

/* --- telling neighbours --- */

struct arp_frame { /* Ethernet II and ARP (RFC 826), as on the wire */
    uint8_t to[ETH_ALEN], from[ETH_ALEN];
    uint16_t type, hardware, protocol;
    uint8_t hardware_n, protocol_n;
    uint16_t op;
    uint8_t sender[ETH_ALEN], sender_ip[4], target[ETH_ALEN], target_ip[4];
} __attribute__((packed));

static bool frame_send(int fd, const struct sockaddr_ll *link, uint32_t ip, uint16_t op)
{
    struct arp_frame f = {.type = htons(ETH_P_ARP),
                          .hardware = htons(ARPHRD_ETHER),
                          .protocol = htons(ETH_P_IP),
                          .hardware_n = ETH_ALEN,
                          .protocol_n = 4,
                          .op = htons(op)};
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_ifindex = link->sll_ifindex,
                             .sll_halen = ETH_ALEN,
                             .sll_protocol = htons(ETH_P_ARP)};
    uint32_t wire = htonl(ip);
    (void)memset(f.to, 0xff, sizeof f.to);
    (void)memset(to.sll_addr, 0xff, ETH_ALEN);
    (void)memcpy(f.from, link->sll_addr, ETH_ALEN);
    (void)memcpy(f.sender, link->sll_addr, ETH_ALEN);
    (void)memcpy(f.sender_ip, &wire, 4);
    (void)memcpy(f.target_ip, &wire, 4);
    if (op == ARPOP_REPLY)
        (void)memset(f.target, 0xff, sizeof f.target);
    return sendto(fd, &f, sizeof f, 0, (const struct sockaddr *)&to, sizeof to) == (ssize_t)sizeof f;
}

static bool names_have(struct str names, const char *name)
{
    struct str one;
    while (names.n && str_cut(&names, ',', &one))
        if (str_eqz(one, name))
            return true;
    return false;
}

static bool is_within(const struct ifaddrs *i, uint32_t ip)
{
    if (!i->ifa_addr || !i->ifa_netmask || i->ifa_addr->sa_family != AF_INET)
        return false;
    uint32_t mask = sockaddr_ip(i->ifa_netmask);
    return mask != UINT32_MAX && (sockaddr_ip(i->ifa_addr) & mask) == (ip & mask);
}

/* The name of an address may be a label "eth0:1". */
static bool is_of_link(const char *label, const char *link)
{
    size_t n = strlen(link);
    return strncmp(label, link, n) == 0 && (label[n] == 0 || label[n] == ':');
}

static bool link_is_meant(const struct ifaddrs *all, const struct ifaddrs *link, uint32_t ip, struct str interfaces)
{
    if (interfaces.n)
        return names_have(interfaces, link->ifa_name);
    for (const struct ifaddrs *i = all; i; i = i->ifa_next)
        if (is_within(i, ip) && is_of_link(i->ifa_name, link->ifa_name))
            return true;
    return false;
}

bool vip_tell(uint32_t ip, struct str interfaces, struct err *err)
{
    __attribute__((cleanup(interfaces_free))) struct ifaddrs *all = NULL;
    AUTO(fd_close) int fd = fault("vip.socket", EMFILE) ? -1 : socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    bool ok = true;
    if (fd < 0)
        return err_errno(err, "open a packet socket");
    if (!interfaces_get(&all, err))
        return false;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        struct sockaddr_ll link;
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_PACKET || !(i->ifa_flags & IFF_UP) ||
            !link_is_meant(all, i, ip, interfaces))
            continue;
        (void)memcpy(&link, i->ifa_addr, sizeof link);
        if (link.sll_hatype == ARPHRD_ETHER && ok)
            ok = frame_send(fd, &link, ip, ARPOP_REQUEST) && frame_send(fd, &link, ip, ARPOP_REPLY);
    }
    return ok || err_errno(err, "tell the neighbours of " IP4_FMT, IP4_ARG(ip));
}

static int arp_ignore(const char *link)
{
    char path[100], text[8] = "";
    (void)snprintf(path, sizeof path, "/proc/sys/net/ipv4/conf/%s/arp_ignore", link);
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
        return 0; /* a link that has gone meanwhile */
    return text[0] - '0';
}

bool vip_is_heard(uint32_t ip, struct str interfaces, char deaf[static IFNAMSIZ], struct err *err)
{
    __attribute__((cleanup(interfaces_free))) struct ifaddrs *all = NULL;
    bool everywhere = arp_ignore("all") > 0;
    deaf[0] = 0;
    if (!interfaces_get(&all, err))
        return false;
    for (const struct ifaddrs *i = all; i && !deaf[0]; i = i->ifa_next)
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_PACKET && link_is_meant(all, i, ip, interfaces) &&
            (everywhere || arp_ignore(i->ifa_name) > 0))
            (void)snprintf(deaf, IFNAMSIZ, "%s", i->ifa_name);
    return true;
}

/* --- what the machine is --- */

static int mask_bits(uint32_t mask)
{
    return __builtin_popcount(mask);
}

bool link_subnets(struct instance in, struct strbuf *out, struct err *err)
{
    __attribute__((cleanup(interfaces_free))) struct ifaddrs *all = NULL;
    char pods[IFNAMSIZ];
    (void)snprintf(pods, sizeof pods, "w%s-", in.id);
    if (!interfaces_get(&all, err))
        return false;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || !i->ifa_netmask || i->ifa_addr->sa_family != AF_INET || !(i->ifa_flags & IFF_UP) ||
            (i->ifa_flags & IFF_LOOPBACK) || strncmp(i->ifa_name, pods, strlen(pods)) == 0)
            continue;
        uint32_t mask = sockaddr_ip(i->ifa_netmask), net = sockaddr_ip(i->ifa_addr) & mask;
        size_t name_n = strcspn(i->ifa_name, ":");
        if (mask != UINT32_MAX)
            strbuf_addf(out, "%s%.*s=" IP4_FMT "/%d", out->n ? "," : "", (int)name_n, i->ifa_name, IP4_ARG(net),
                        mask_bits(mask));
    }
    return true;
}

struct listening {
    uint8_t proto;
    struct cidr4 inside;
    unsigned but;
    ARRAY(uint32_t) ports; /* proto << 16 | port */
};

/* On the machine alone, or for its pods. */
static bool is_inside(const struct listening *l, const struct inet_diag_msg *m)
{
    const uint32_t mapped[3] = {0, 0, htonl(0xffff)};
    uint32_t first = ntohl(m->id.idiag_src[0]);
    if (m->idiag_family == AF_INET)
        return first >> 24 == 127 || cidr4_has(l->inside, first);
    if (memcmp(m->id.idiag_src, mapped, sizeof mapped) == 0)
        return ntohl(m->id.idiag_src[3]) >> 24 == 127;
    return !first && !m->id.idiag_src[1] && !m->id.idiag_src[2] && ntohl(m->id.idiag_src[3]) == 1;
}

static void listening_read(const struct nlmsghdr *h, void *arg)
{
    struct listening *l = arg;
    const struct inet_diag_msg *m = NLMSG_DATA(h);
    if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || h->nlmsg_len < NLMSG_LENGTH(sizeof *m))
        return;
    uint16_t port = ntohs(m->id.idiag_sport);
    if (!port || m->idiag_uid == l->but || is_inside(l, m) || (l->proto == IPPROTO_UDP && port >= CLIENTS_UDP))
        return;
    array_push(&l->ports, (uint32_t)l->proto << 16 | port);
}

static void listening_again(void *arg)
{
    (void)arg; /* what comes twice counts once */
}

static int port_cmp(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return a < b ? -1 : a > b;
}

bool ports_listening(struct cidr4 inside, unsigned but, struct strbuf *out, struct err *err)
{
    static const struct {
        uint8_t family, proto;
    } asked[] = {{AF_INET, IPPROTO_TCP}, {AF_INET6, IPPROTO_TCP}, {AF_INET, IPPROTO_UDP}, {AF_INET6, IPPROTO_UDP}};
    AUTO(netlink_close) struct netlink nl = NETLINK;
    struct listening l = {.inside = inside, .but = but};
    bool ok = netlink_open(&nl, NETLINK_SOCK_DIAG, err);
    for (size_t i = 0; i < countof(asked) && ok; i++) {
        AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
        bool tcp = asked[i].proto == IPPROTO_TCP;
        struct inet_diag_req_v2 q = {.sdiag_family = asked[i].family,
                                     .sdiag_protocol = asked[i].proto,
                                     .idiag_states = tcp ? 1U << TCP_LISTEN : 1U << TCP_CLOSE};
        l.proto = asked[i].proto;
        nlbuf_begin(&b, SOCK_DIAG_BY_FAMILY, 0, &q, sizeof q);
        nlbuf_end(&b);
        ok = netlink_dump(&nl, &b, listening_read, listening_again, &l, err);
    }
    if (l.ports.n)
        qsort(l.ports.p, l.ports.n, sizeof *l.ports.p, port_cmp);
    for (size_t i = 0, n = 0; i < l.ports.n && n < PORTS_MOST && ok; i++) {
        if (i && l.ports.p[i] == l.ports.p[i - 1])
            continue;
        strbuf_addf(out, "%s%s/%u", out->n ? "," : "", l.ports.p[i] >> 16 == IPPROTO_TCP ? "TCP" : "UDP",
                    l.ports.p[i] & 0xffff);
        n++;
    }
    array_fini(&l.ports);
    return ok;
}
