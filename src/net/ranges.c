#include "net/ranges.h"
#include "base/fault.h"
#include "net/ipam.h"
#include "net/route.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#define STATE_MAX 16384
#define VALUE_MAX 256
#define LO_INDEX  1

/* Everything we change in the kernel's settings; per-link ones go with their links (link.c). */
static const struct kernel_setting {
    const char *name, *want;
} settings[] = {
    {"net/ipv4/ip_forward", "1"},
    {"net/netfilter/nf_conntrack_acct", "1"}, /* how a draining pod is seen to be idle */
    /* after an endpoint's reset a client's port is free at once, but its next SYN would be taken for a part of the
     * old connection, and go where that went, for as long as that is remembered */
    {"net/netfilter/nf_conntrack_tcp_timeout_close", "0"},
};

static bool file_read(const char *path, struct strbuf *b, struct err *err)
{
    AUTO(fd_close) int fd = fault("ranges.read", EIO) ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "open %s", path);
    for (;;) {
        char *p = strbuf_room(b, 4096);
        if (!p)
            return err_set(err, E_TOO_LARGE, "%s is larger than %zu bytes", path, b->max);
        ssize_t n = read(fd, p, 4096);
        if (n < 0)
            return err_errno(err, "read %s", path);
        strbuf_used(b, (size_t)n);
        if (n == 0)
            return true;
    }
}

static bool file_write(const char *path, int flags, struct str text, struct err *err)
{
    AUTO(fd_close)
    int fd = fault("ranges.write", EROFS) ? -1 : open(path, O_WRONLY | O_CLOEXEC | flags, 0600);
    if (fd < 0)
        return err_errno(err, "open %s", path);
    if (write(fd, text.p, text.n) != (ssize_t)text.n)
        return err_errno(err, "write %s", path);
    return true;
}

static const char *setting_path(const char *name, char path[static 128])
{
    (void)snprintf(path, 128, "/proc/sys/%s", name);
    return path;
}

static bool state_has(struct str state, const char *name)
{
    struct str line, head, tail;
    while (str_cut(&state, '\n', &line))
        if (str_split(line, ' ', &head, &tail) && str_eqz(head, name))
            return true;
    return false;
}

static void remember_one(struct strbuf *lines, const char *name, const char *implied_by_off)
{
    AUTO(strbuf_fini) struct strbuf have = STRBUF(VALUE_MAX * 32);
    struct err ignored = ERR; /* says only which */
    char path[128];
    if (!file_read(setting_path(name, path), &have, &ignored))
        return; /* a link that has gone meanwhile */
    struct str old = str_trim(strbuf_str(&have));
    if (!str_eqz(old, implied_by_off))
        strbuf_addf(lines, "%s " STR_FMT " %s\n", name, STR_ARG(old), implied_by_off);
}

/* Writing ip_forward also writes forwarding of every link and accept_redirects. What was not as switching it off will
 * leave it is put back after that. */
static void remember_forwarding(struct strbuf *lines)
{
    DIR *d = opendir("/proc/sys/net/ipv4/conf");
    remember_one(lines, "net/ipv4/conf/all/accept_redirects", "1");
    for (struct dirent *e; d && (e = readdir(d));) {
        char name[100];
        if (e->d_name[0] == '.' || strcmp(e->d_name, "all") == 0 || strlen(e->d_name) >= IFNAMSIZ)
            continue;
        (void)snprintf(name, sizeof name, "net/ipv4/conf/%.*s/forwarding", IFNAMSIZ, e->d_name);
        remember_one(lines, name, "0");
    }
    if (d)
        (void)closedir(d);
}

static bool setting_up(const struct ranges *r, struct str state, const struct kernel_setting *s, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf have = STRBUF(VALUE_MAX * 32), line = STRBUF(STATE_MAX);
    char path[128];
    if (!file_read(setting_path(s->name, path), &have, err))
        return err_wrap(err, "setting %s", s->name);
    struct str old = str_trim(strbuf_str(&have));
    if (str_eqz(old, s->want))
        return true;
    /* remembered before it is changed: a crash in between restores what is already so */
    strbuf_addf(&line, "%s " STR_FMT " %s\n", s->name, STR_ARG(old), s->want);
    if (s == &settings[0])
        remember_forwarding(&line);
    if (!state_has(state, s->name) && !file_write(r->state_path, O_CREAT | O_APPEND, strbuf_str(&line), err))
        return false;
    if (!file_write(path, 0, str_of(s->want), err))
        return err_wrap(err, "setting %s to %s", s->name, s->want);
    return true;
}

static bool setting_down(struct str line, struct err *err)
{
    struct str name, old, want, rest;
    char path[128];
    if (!str_split(line, ' ', &name, &rest) || !str_split(rest, ' ', &old, &want) || str_has(name, S("..")) ||
        name.n > 100)
        return err_set(err, E_INVALID, "\"" STR_FMT "\" is not NAME OLD NEW", STR_ARG(line));
    (void)snprintf(path, sizeof path, "/proc/sys/" STR_FMT, STR_ARG(name));
    AUTO(strbuf_fini) struct strbuf have = STRBUF(VALUE_MAX * 32);
    if (!file_read(path, &have, err))
        return false;
    if (!str_eq(str_trim(strbuf_str(&have)), want))
        return true;
    return file_write(path, 0, old, err);
}

static void label_of(const struct ranges *r, char label[static IFNAMSIZ])
{
    (void)snprintf(label, IFNAMSIZ, "lo:w%s", r->instance.id);
}

static void put_all(struct nlbuf *b, const struct ranges *r, bool up)
{
    char label[IFNAMSIZ];
    uint32_t node = ipam_node_ip(r->node_pods);
    struct route pods = {.to = r->pods, .type = RTN_UNREACHABLE, .metric = 1024};
    struct route services = {.to = r->services, .type = RTN_LOCAL, .ifindex = LO_INDEX, .src = node};
    label_of(r, label);
    if (up)
        addr_put(b, RTM_NEWADDR, LO_INDEX, node, RT_SCOPE_UNIVERSE, label);
    route_put(b, up ? RTM_NEWROUTE : RTM_DELROUTE, &pods);
    route_put(b, up ? RTM_NEWROUTE : RTM_DELROUTE, &services);
    if (!up)
        addr_put(b, RTM_DELADDR, LO_INDEX, node, RT_SCOPE_UNIVERSE, label);
}

bool ranges_up(const struct ranges *r, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf state = STRBUF(STATE_MAX);
    AUTO(netlink_close) struct netlink nl = NETLINK;
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    struct err e = ERR;
    struct ifinfomsg up = {.ifi_index = LO_INDEX, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    if (cidr4_overlap(r->pods, r->services))
        return err_set(err, E_INVALID, "the pod range " CIDR_FMT " and the service range " CIDR_FMT " overlap",
                       CIDR_ARG(r->pods), CIDR_ARG(r->services));
    if (!cidr4_has(r->pods, r->node_pods.ip) || r->node_pods.bits < r->pods.bits)
        return err_set(err, E_INVALID, "the node's range " CIDR_FMT " is not within the pod range " CIDR_FMT,
                       CIDR_ARG(r->node_pods), CIDR_ARG(r->pods));
    if (!file_read(r->state_path, &state, &e) && e.kind != E_NOT_FOUND) {
        *err = e;
        return false;
    }
    /* the routes first: from here on nothing leaves the machine, whatever fails later */
    if (!netlink_open(&nl, NETLINK_ROUTE, err))
        return false;
    nlbuf_begin(&b, RTM_NEWLINK, NLM_F_ACK, &up, sizeof up);
    nlbuf_end(&b);
    put_all(&b, r, true);
    if (!netlink_send(&nl, &b, NULL, NULL, NULL, err))
        return err_wrap(err, "routes of the pod and service ranges");
    for (size_t i = 0; i < countof(settings); i++)
        if (!setting_up(r, strbuf_str(&state), &settings[i], err))
            return false;
    return true;
}

bool ranges_down(const struct ranges *r, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf state = STRBUF(STATE_MAX);
    AUTO(netlink_close) struct netlink nl = NETLINK;
    struct err first = ERR, e = ERR;
    if (netlink_open(&nl, NETLINK_ROUTE, &first)) {
        AUTO(nlbuf_fini) struct nlbuf all = NLBUF;
        put_all(&all, r, false);
        for (size_t at = 0; at < all.n;) { /* one by one: what is gone already does not keep the rest */
            struct nlmsghdr *h = (struct nlmsghdr *)(all.p + at);
            struct nlbuf one = {.p = all.p + at, .n = h->nlmsg_len, .count = 1};
            if (!netlink_send(&nl, &one, NULL, NULL, NULL, &e) && e.sys != ESRCH && e.sys != EADDRNOTAVAIL &&
                e.sys != ENODEV && first.kind == E_NONE)
                first = e;
            at += NLMSG_ALIGN(h->nlmsg_len);
        }
    }
    e = ERR;
    if (file_read(r->state_path, &state, &e)) {
        struct str rest = strbuf_str(&state), line;
        struct err s = ERR;
        while (str_cut(&rest, '\n', &line))
            if (line.n && !setting_down(line, &s) && first.kind == E_NONE)
                first = s;
        if (first.kind == E_NONE && unlink(r->state_path) < 0)
            (void)err_errno(&first, "remove %s", r->state_path);
    } else if (e.kind != E_NOT_FOUND && first.kind == E_NONE) {
        first = e;
    }
    if (first.kind == E_NONE)
        return true;
    *err = first;
    return err_wrap(err, "put back the network");
}
