#include "base/fault.h"
#include "net/world_test.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>

TEST(instance_ids_are_stable_and_differ)
{
    CHECK_STR(str_of(instance_of(S("/")).id), str_of(instance_of(S("/")).id));
    CHECK(strcmp(instance_of(S("/")).id, instance_of(S("/tmp/a")).id) != 0);
    CHECK_STR(str_of(instance_of(S("/tmp/a/")).id), str_of(instance_of(S("/tmp/a")).id));
    CHECK_INT(strlen(instance_of(S("/")).id), INSTANCE_ID_N);
}

TEST(a_pod_and_its_host_reach_each_other)
{
    world_enter();
    world_run("ip addr add 10.42.0.1/32 dev lo");
    struct world_pod pod = world_pod(IP4(10, 42, 0, 5));
    int server = world_listen(pod.ns, SOCK_STREAM, 0, INADDR_ANY, 80);
    struct reached r = world_tcp(NO_NS, pod.ip, 80, &server, 1);
    CHECK_INT(r.error, 0);
    CHECK_INT(r.client, NODE_IP); /* not the link's own 169.254.1.1 */
    int host = world_listen(NO_NS, SOCK_STREAM, 0, INADDR_ANY, 80);
    r = world_tcp(pod.ns, NODE_IP, 80, &host, 1);
    CHECK_INT(r.error, 0);
    CHECK_INT(r.client, pod.ip);
}

TEST(two_pods_reach_each_other_and_a_pod_itself)
{
    world_enter();
    world_run("ip addr add 10.42.0.1/32 dev lo; echo 1 > /proc/sys/net/ipv4/ip_forward");
    struct world_pod a = world_pod(IP4(10, 42, 0, 5)), b = world_pod(IP4(10, 42, 0, 6));
    int server = world_listen(b.ns, SOCK_STREAM, 0, INADDR_ANY, 80);
    struct reached r = world_tcp(a.ns, b.ip, 80, &server, 1);
    CHECK_INT(r.error, 0);
    CHECK_INT(r.client, a.ip);
    CHECK_INT(world_tcp(b.ns, b.ip, 80, &server, 1).error, 0);
    CHECK_INT(world_tcp(b.ns, IP4(127, 0, 0, 1), 80, &server, 1).error, 0);
}

/* By IPv6 a pod could make itself the router of its host. Its own loopback stays. */
TEST(nothing_but_ipv4_goes_through_a_link)
{
    world_enter();
    world_run("ip addr add 10.42.0.1/32 dev lo");
    struct world_pod pod = world_pod(IP4(10, 42, 0, 5));
    struct err err = ERR;
    if (access("/proc/sys/net/ipv6", F_OK) < 0)
        return;
    CHECK(world_has("ip -6 addr show dev lo", "::1/128"));
    CHECK_STR(world_output("ip -6 addr show dev w1f3a9-0a2a0005; ip -6 route show dev w1f3a9-0a2a0005"), S(""));
    AUTO(fd_close) int home = netns_enter(pod.ns, &err);
    CHECK_OK(home >= 0, err);
    bool loopback = world_has("ip -6 addr show dev lo", "::1/128");
    struct str own = world_output("ip -6 addr show dev eth0; ip -6 route show dev eth0");
    netns_leave(home);
    CHECK(loopback);
    CHECK_STR(own, S(""));
}

TEST(links_are_known_after_a_restart)
{
    world_enter();
    world_run(
        "ip addr add 10.42.0.1/32 dev lo; ip link add w99999-0a2a0007 type veth; ip link add w1f3a9-zz type veth");
    (void)world_pod(IP4(10, 42, 0, 9));
    struct world_pod b = world_pod(IP4(10, 42, 0, 5));
    struct pod_links links;
    struct err err = ERR;
    CHECK_OK(pod_link_list(world_instance, &links, &err), err);
    CHECK_INT(links.links.n, 2);
    struct pod_link *last = &links.links.p[0];
    array_each (l, &links.links)
        if (l->ifindex > last->ifindex)
            last = l;
    CHECK_INT(last->ip, b.ip);
    CHECK_STR(str_of(last->alias), S("default/web 1234"));
    CHECK_STR(str_of(last->name), S("w1f3a9-0a2a0005"));
    array_fini(&links.links);
}

TEST(a_link_goes_with_its_namespace_or_at_once)
{
    world_enter();
    world_run("ip addr add 10.42.0.1/32 dev lo; ip route add unreachable 10.42.0.0/16");
    struct world_pod pod = world_pod(IP4(10, 42, 0, 5));
    struct err err = ERR;
    int server = world_listen(pod.ns, SOCK_STREAM, 0, INADDR_ANY, 80);
    CHECK_INT(world_tcp(NO_NS, pod.ip, 80, &server, 1).error, 0);
    CHECK_OK(pod_link_unroute(world_instance, pod.ip, &err), err);
    CHECK_INT(world_tcp(NO_NS, pod.ip, 80, &server, 1).error, EHOSTUNREACH);
    CHECK_OK(pod_link_unroute(world_instance, pod.ip, &err), err);
    CHECK_OK(pod_link_del(world_instance, pod.ip, &err), err);
    CHECK_OK(pod_link_del(world_instance, pod.ip, &err), err);
    CHECK_OK(pod_link_unroute(world_instance, pod.ip, &err), err);
    CHECK(!str_has(world_output("ip link"), S("w1f3a9")));
    int host_ns = netns_new(&err);
    CHECK_OK(host_ns >= 0, err);
}

TEST(a_link_replaces_a_half_made_one)
{
    world_enter();
    world_run("ip addr add 10.42.0.1/32 dev lo; ip link add w1f3a9-0a2a0005 type veth");
    struct world_pod pod = world_pod(IP4(10, 42, 0, 5));
    int server = world_listen(pod.ns, SOCK_STREAM, 0, INADDR_ANY, 80);
    CHECK_INT(world_tcp(NO_NS, pod.ip, 80, &server, 1).error, 0);
}

TEST(a_link_that_fails_half_way_leaves_nothing)
{
    world_enter();
    world_run("ip addr add 10.42.0.1/32 dev lo");
    struct err err = ERR;
    AUTO(fd_close) int ns = netns_new(&err);
    struct pod_link_spec spec = {
        .instance = world_instance, .ip = IP4(10, 42, 0, 5), .node_ip = NODE_IP, .netns_fd = ns, .mtu = 1400};
    struct pod_link link;
    for (int n = 1; n < 100; n++) {
        err = ERR;
        fault_at(n);
        bool ok = pod_link_add(&spec, &link, &err);
        bool fired = fault_fired();
        fault_at(0);
        if (!ok)
            CHECK(fired && !str_has(world_output("ip link"), S("w1f3a9")));
        if (!fired) {
            CHECK_OK(ok, err);
            CHECK(world_has("ip link", "mtu 1400"));
            return;
        }
        if (ok)
            CHECK_OK(pod_link_del(world_instance, spec.ip, &err), err);
    }
    CHECK(false);
}

/* One side: pods come and go, and the last one stays in the namespace that the parent holds. */
static bool pods_come_and_go(uint32_t side, int last_ns)
{
    bool ok = true;
    for (uint32_t i = 0; i < 13 && ok; i++) {
        struct err err = ERR;
        struct pod_link made;
        AUTO(fd_close) int ns = i < 12 ? netns_new(&err) : dup(last_ns);
        struct pod_link_spec spec = {.instance = world_instance,
                                     .ip = IP4(10, 42, 0, 2) + side * 13 + i,
                                     .node_ip = NODE_IP,
                                     .netns_fd = ns,
                                     .alias = "default/web 1234"};
        ok = ns >= 0 && pod_link_add(&spec, &made, &err) && pod_link_add(&spec, &made, &err) && /* replaces */
             (i % 3 != 1 || pod_link_unroute(world_instance, spec.ip, &err)) &&
             (i == 12 || pod_link_del(world_instance, spec.ip, &err));
        if (!ok)
            fprintf(stderr, "side %u, pod %u: %s\n", side, i, err.text);
    }
    return ok;
}

TEST(links_are_made_and_taken_away_from_sixteen_sides)
{
    world_enter();
    world_run("ip addr add 10.42.0.1/32 dev lo");
    pid_t sides[16];
    struct pod_links links;
    struct err err = ERR;
    for (uint32_t i = 0; i < countof(sides); i++) {
        int ns = netns_new(&err);
        CHECK_OK(ns >= 0, err);
        sides[i] = fork();
        if (sides[i] == 0)
            _exit(pods_come_and_go(i, ns) ? 0 : 1);
    }
    for (size_t i = 0; i < countof(sides); i++) {
        int status = -1;
        CHECK(waitpid(sides[i], &status, 0) == sides[i]);
        CHECK_INT(status, 0);
    }
    CHECK_OK(pod_link_list(world_instance, &links, &err), err);
    CHECK_INT(links.links.n, countof(sides));
    bool seen[countof(sides)] = {false};
    array_each (l, &links.links) {
        uint32_t at = l->ip - IP4(10, 42, 0, 2);
        CHECK(at % 13 == 12 && at / 13 < countof(sides) && !seen[at / 13]);
        seen[at / 13] = true;
    }
    array_fini(&links.links);
    CHECK(world_has("ip route show | grep -c 'dev w1f3a9-'", "16"));
}
