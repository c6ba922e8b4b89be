#include "net/preflight.h"
#include "net/ranges.h"
#include "net/world_test.h"
#include <sys/socket.h>

static const struct preflight_port ports[] = {{.port = 6443, .what = "the API server"},
                                              {.udp = true, .port = 5353, .what = "cluster DNS"}};
static const struct preflight_config config = {
    .net = {{"1f3a9"}, {IP4(10, 42, 0, 0), 16}, {IP4(10, 42, 0, 0), 24}, {IP4(10, 43, 0, 0), 16}},
    .ports = ports,
    .nports = 2};

/* All findings, a line each; "!" before the fatal ones. */
static struct str findings_text(const struct preflight_config *c)
{
    static char out[8192];
    struct preflight p;
    struct err err = ERR;
    size_t n = 0;
    CHECK_OK(preflight_run(c, &p, &err), err);
    array_each (f, &p.found)
        n += (size_t)snprintf(out + n, sizeof out - n, "%s%s\n", f->fatal ? "!" : "", f->text);
    array_fini(&p.found);
    return (struct str){out, n};
}

TEST(a_clean_machine_has_nothing_in_the_way)
{
    world_enter();
    CHECK_STR(findings_text(&config), S(""));
}

TEST(a_taken_port_names_its_holder)
{
    world_enter();
    (void)world_listen(NO_NS, SOCK_STREAM, 0, IP4(127, 0, 0, 1), 6443);
    (void)world_listen(NO_NS, SOCK_DGRAM, 0, INADDR_ANY, 5353);
    struct str f = findings_text(&config);
    char pid[32];
    (void)snprintf(pid, sizeof pid, "(pid %d)", (int)getpid());
    CHECK(str_has(f, S("!port 6443/tcp, where the API server wants to listen, is taken by test-net")) &&
          str_has(f, str_of(pid)));
    CHECK(str_has(f, S("!port 5353/udp, where cluster DNS")));
}

TEST(an_address_that_is_not_there_is_named)
{
    world_enter();
    const struct preflight_port far[] = {
        {.ip = IP4(192, 0, 2, 9), .port = 6443, .what = "the API server"},
        {.later = true, .ip = IP4(10, 42, 0, 1), .port = 53, .what = "cluster DNS"},
        {.udp = true, .later = true, .ip = IP4(10, 42, 0, 1), .port = 53, .what = "cluster DNS"}};
    struct preflight_config c = config;
    c.ports = far;
    c.nports = countof(far);
    CHECK_STR(findings_text(&c),
              S("!this machine has no address 192.0.2.9, where the API server wants to listen; choose one of "
                "its own (ip address), or 0.0.0.0 for all of them\n"));
    world_run("ip addr add 192.0.2.9/32 dev lo");
    CHECK_STR(findings_text(&c), S(""));
}

TEST(an_overlapping_route_is_named)
{
    world_enter();
    world_run("ip link add cni0 type veth; ip link set cni0 up; ip route add 10.42.3.0/24 dev cni0; ip route add "
              "default dev cni0; "
              "ip route add 172.16.0.0/12 dev cni0");
    CHECK_STR(
        findings_text(&config),
        S("!the route 10.42.3.0/24 dev cni0 overlaps the pod range 10.42.0.0/16: packets would go astray; choose "
          "another range (--set pod-cidr=...), or remove that route\n"));
}

TEST(a_foreign_policy_is_seen_and_left_alone)
{
    world_enter();
    world_run("nft 'table inet fw { chain f { type filter hook forward priority 0; policy drop; }; "
              "chain o { type filter hook output priority 0; policy drop; }; }'");
    struct str f = findings_text(&config);
    CHECK(str_starts(f, S("the nftables chain \"f\" of table \"fw\" drops forwarded packets")));
    CHECK(!str_has(f, S("chain \"o\"")));
    CHECK(world_has("nft list ruleset", "policy drop"));
}

TEST(a_second_cluster_is_refused)
{
    world_enter();
    world_run("nft add table ip wherry-abcde");
    CHECK(str_has(findings_text(&config),
                  S("!another Wherry node (table \"wherry-abcde\") lives in this network namespace")));
    world_run("nft flush ruleset; nft add table ip wherry-1f3a9; nft add table ip wherry-1f3a9-fence");
    CHECK(str_has(findings_text(&config), S("though no node role runs")));
    struct preflight_config again = config;
    again.adopting = true;
    CHECK_STR(findings_text(&again), S(""));
}

TEST(our_own_network_is_not_in_the_way)
{
    char path[200];
    struct err err = ERR;
    world_enter();
    (void)snprintf(path, sizeof path, "%s/settings", test_dir());
    struct ranges r = {config.net.instance, config.net.pods, config.net.node_pods, config.net.services, path};
    CHECK_OK(ranges_up(&r, &err), err);
    (void)world_pod(IP4(10, 42, 0, 5));
    CHECK_STR(findings_text(&config), S(""));
}

TEST(forwarding_that_cannot_be_set_is_told)
{
    world_enter();
    world_run("mount -o bind,ro /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys");
    CHECK(
        str_has(findings_text(&config), S("!net.ipv4.ip_forward is off and cannot be set (Read-only file system)")));
}

TEST(forwarding_that_is_on_need_not_be_set)
{
    world_enter();
    world_run("echo 1 > /proc/sys/net/ipv4/ip_forward; mount -o bind,ro /proc/sys /proc/sys && mount -o "
              "remount,bind,ro /proc/sys");
    CHECK(!str_has(findings_text(&config), S("ip_forward")));
}
