#include "base/fault.h"
#include "net/ipam.h"
#include "net/ranges.h"
#include "net/world_test.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

static struct ranges ranges_own(void)
{
    static char path[200];
    (void)snprintf(path, sizeof path, "%s/settings", test_dir());
    return (struct ranges){
        world_instance, {IP4(10, 42, 0, 0), 16}, {IP4(10, 42, 0, 0), 24}, {IP4(10, 43, 0, 0), 16}, path};
}

TEST(ipam_goes_round_and_fills_up)
{
    AUTO(ipam_fini) struct ipam p;
    struct err err = ERR;
    uint32_t ip, seen = 0;
    CHECK_OK(ipam_init(&p, (struct cidr4){IP4(10, 42, 3, 0), 29}, &err), err);
    CHECK_OK(ipam_take(&p, &ip, &err), err);
    CHECK_INT(ip, IP4(10, 42, 3, 2));
    ipam_give_back(&p, ip);
    for (int i = 0; i < 5; i++) {
        CHECK_OK(ipam_take(&p, &ip, &err), err);
        CHECK(ip >= IP4(10, 42, 3, 2) && ip <= IP4(10, 42, 3, 6));
        CHECK(i > 0 || ip == IP4(10, 42, 3, 3)); /* not the one that was just given back */
        CHECK(!(seen & 1u << (ip & 7)));
        seen |= 1u << (ip & 7);
    }
    CHECK(!ipam_take(&p, &ip, &err));
    CHECK(strstr(err.text, "all 5 addresses") && strstr(err.text, "10.42.3.0/29"));
    ipam_give_back(&p, IP4(10, 42, 3, 4));
    CHECK_OK(ipam_take(&p, &ip, &err), err);
    CHECK_INT(ip, IP4(10, 42, 3, 4));
    CHECK(!ipam_mark(&p, IP4(10, 42, 3, 4)) && !ipam_mark(&p, IP4(10, 42, 3, 1)) &&
          !ipam_mark(&p, IP4(10, 42, 4, 2)));
    CHECK(!ipam_init(&p, (struct cidr4){IP4(10, 0, 0, 0), 8}, &err));
}

TEST(ipam_goes_on_after_the_last_made_link)
{
    AUTO(ipam_fini) struct ipam p;
    struct err err = ERR;
    uint32_t ip;
    struct pod_link made[] = {{.ip = IP4(10, 42, 0, 3), .ifindex = 90}, {.ip = IP4(10, 42, 0, 80), .ifindex = 7}};
    struct pod_links links = {{made, 2, 2}};
    CHECK_OK(ipam_init(&p, (struct cidr4){IP4(10, 42, 0, 0), 24}, &err), err);
    ipam_restore(&p, &links);
    CHECK_OK(ipam_take(&p, &ip, &err), err);
    CHECK_INT(ip, IP4(10, 42, 0, 4));
}

TEST(addresses_parse_strictly)
{
    uint32_t ip;
    struct cidr4 c;
    struct err err = ERR;
    CHECK(ip4_parse(S("10.42.0.1"), &ip) && ip == NODE_IP);
    CHECK(!ip4_parse(S("10.42.0"), &ip) && !ip4_parse(S("10.42.0.256"), &ip) && !ip4_parse(S("10.42.0.01"), &ip) &&
          !ip4_parse(S("10.42.0.1.2"), &ip) && !ip4_parse(S(""), &ip));
    CHECK(!cidr4_parse(S("10.0.0.0/08"), &c, &err) && str_find(str_of(err.text), S("leading zero")) > 0);
    CHECK_OK(cidr4_parse(S("10.42.0.0/16"), &c, &err), err);
    CHECK(!cidr4_parse(S("10.42.1.0/16"), &c, &err));
    CHECK(strstr(err.text, "did you mean 10.42.0.0/16"));
    CHECK(!cidr4_parse(S("10.42.0.0"), &c, &err) && !cidr4_parse(S("10.42.0.0/33"), &c, &err));
}

/* An outside network: whatever a packet socket there sees has left the machine. */
static int outside_new(void)
{
    struct err err = ERR;
    int ns = netns_new(&err);
    world_run("ip link add eth0 type veth peer name wan netns /proc/%d/fd/%d", (int)getpid(), ns);
    world_run("ip addr add 192.0.2.2/24 dev eth0 && ip link set eth0 up && ip route add default via 192.0.2.1 && "
              "ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent");
    int home = netns_enter(ns, &err);
    CHECK_OK(home >= 0, err);
    world_run("ip addr add 192.0.2.1/24 dev wan && ip link set wan up address 02:00:00:00:00:01");
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(0x0800));
    netns_leave(home);
    fd_close(home);
    CHECK(fd >= 0);
    return fd;
}

static bool something_left(int outside_fd)
{
    struct pollfd p = {outside_fd, POLLIN, 0};
    char buf[2048];
    return poll(&p, 1, 0) > 0 && recv(outside_fd, buf, sizeof buf, 0) > 0;
}

TEST(nothing_for_our_ranges_leaves_the_machine)
{
    world_enter();
    int out = outside_new();
    struct ranges r = ranges_own();
    struct err err = ERR;
    bool left = false; /* the test can fail: without us it goes to the default route, once the link is up */
    for (int i = 0; i < 50 && !left; i++) {
        CHECK_INT(world_reach(NO_NS, SOCK_DGRAM, 0, IP4(10, 43, 0, 7), 53, NULL, 0, 50).error, ETIMEDOUT);
        left = something_left(out);
    }
    CHECK(left);
    while (something_left(out))
        ;
    CHECK_OK(ranges_up(&r, &err), err);
    CHECK_OK(ranges_up(&r, &err), err);
    struct world_pod pod = world_pod(IP4(10, 42, 0, 5));
    CHECK_INT(world_tcp(NO_NS, IP4(10, 42, 0, 77), 80, NULL, 0).error, EHOSTUNREACH);
    CHECK_INT(world_tcp(pod.ns, IP4(10, 42, 0, 77), 80, NULL, 0).error, EHOSTUNREACH);
    CHECK_INT(world_tcp(pod.ns, IP4(10, 42, 7, 77), 80, NULL, 0).error, EHOSTUNREACH);
    /* without any rule: refused all the same */
    int from[] = {NO_NS, pod.ns};
    for (size_t i = 0; i < countof(from); i++) {
        CHECK_INT(world_tcp(from[i], IP4(10, 43, 0, 7), 80, NULL, 0).error, ECONNREFUSED);
        CHECK_INT(world_udp(from[i], IP4(10, 43, 0, 7), 80, NULL, 0).error, ECONNREFUSED);
    }
    CHECK(!something_left(out));
}

static const char everything[] =
    "sysctl -a 2>/dev/null | grep -E 'forward|redirects|conntrack_acct|localnet' | grep -v -E 'mc_forw'; "
    "ip route show table all; ip addr show dev lo; ip rule";

TEST(down_puts_everything_back)
{
    world_enter();
    struct ranges r = ranges_own();
    struct err err = ERR;
    world_run("ip link add eth0 type veth; echo 1 > /proc/sys/net/ipv4/conf/eth0/forwarding; "
              "echo 0 > /proc/sys/net/ipv4/conf/all/accept_redirects");
    char *before = str_dupz(world_output(everything));
    CHECK_OK(ranges_up(&r, &err), err);
    CHECK(!str_eqz(world_output(everything), before));
    CHECK(world_has("cat /proc/sys/net/ipv4/ip_forward", "1"));
    CHECK_OK(ranges_up(&r, &err), err);
    CHECK_OK(ranges_down(&r, &err), err);
    CHECK_STR(world_output(everything), str_of(before));
    CHECK(access(r.state_path, F_OK) < 0);
    CHECK_OK(ranges_down(&r, &err), err);
    mem_free(before);
}

TEST(down_leaves_what_somebody_else_set_since)
{
    world_enter();
    struct ranges r = ranges_own();
    struct err err = ERR;
    world_run("echo 0 > /proc/sys/net/netfilter/nf_conntrack_acct");
    CHECK_OK(ranges_up(&r, &err), err);
    world_run("sed -i 's/nf_conntrack_acct 0 1/nf_conntrack_acct 0 2/' %s", r.state_path);
    CHECK_OK(ranges_down(&r, &err), err);
    CHECK(world_has("cat /proc/sys/net/netfilter/nf_conntrack_acct", "1"));
}

TEST(a_failed_start_can_be_taken_back)
{
    world_enter();
    struct ranges r = ranges_own();
    struct err err = ERR;
    char *before = str_dupz(world_output(everything));
    for (int n = 1; n < 100; n++) {
        fault_at(n);
        bool ok = ranges_up(&r, &err);
        bool fired = fault_fired();
        fault_at(0);
        CHECK(ok || fired);
        CHECK_OK(ranges_down(&r, &err), err);
        CHECK_STR(world_output(everything), str_of(before));
        if (!fired)
            break;
    }
    mem_free(before);
}

TEST(ranges_refuse_what_overlaps)
{
    struct ranges r = ranges_own();
    struct err err = ERR;
    r.services = (struct cidr4){IP4(10, 42, 128, 0), 24};
    CHECK(!ranges_up(&r, &err));
    CHECK(strstr(err.text, "overlap"));
    r = ranges_own();
    r.node_pods = (struct cidr4){IP4(10, 44, 0, 0), 24};
    CHECK(!ranges_up(&r, &err));
    CHECK(strstr(err.text, "not within"));
}
