/* nft_world_test.c - see nft_world_test.h */
#include "net/nft_world_test.h"
#include <errno.h>

const struct rules_config nft_config = {
    {"1f3a9"}, {IP4(10, 42, 0, 0), 16}, {IP4(10, 42, 0, 0), 24}, {IP4(10, 43, 0, 0), 16}, 6443};
const uint32_t vip = IP4(10, 43, 0, 10), vip2 = IP4(10, 43, 0, 11);
struct nft_world w;

void table_enter(void)
{
    struct err err = ERR;
    static char path[200];
    (void)snprintf(path, sizeof path, "%s/settings", test_dir());
    struct ranges r = {nft_config.instance, nft_config.pods, nft_config.node_pods, nft_config.services, path};
    world_enter();
    w.outside = netns_new(&err);
    world_run("ip link add eth0 type veth peer name wan netns /proc/%d/fd/%d", (int)getpid(), w.outside);
    world_run("ip addr add 192.0.2.2/24 dev eth0 && ip link set eth0 up && ip route add default via 192.0.2.1");
    world_run("nsenter --net=/proc/%d/fd/%d sh -c 'ip addr add 192.0.2.1/24 dev wan && ip link set wan up'",
              (int)getpid(), w.outside);
    CHECK_OK(ranges_up(&r, &err), err);
    CHECK_OK(nft_open(&w.nft, &nft_config, &err), err);
    rules_init(&w.rules);
    for (int i = 0; i < 3; i++) {
        w.pods[i] = world_pod(IP4(10, 42, 0, 5 + i));
        w.eps[i] = (struct net_endpoint){w.pods[i].ip, 8080, true, false};
        w.servers[i] = world_listen(w.pods[i].ns, SOCK_STREAM, 0, INADDR_ANY, 8080);
        w.udp[i] = world_listen(w.pods[i].ns, SOCK_DGRAM, 0, INADDR_ANY, 8080);
    }
}

struct net_service web_service(size_t n)
{
    return (struct net_service){.ns = S("default"),
                                .name = S("web"),
                                .port = S("http"),
                                .proto = NET_TCP,
                                .port_number = 80,
                                .cluster_ips = &vip,
                                .ncluster_ips = 1,
                                .node_port = 30080,
                                .endpoints = w.eps,
                                .nendpoints = n};
}

void service_commit(const struct net_service *s)
{
    struct err err = ERR;
    if (s)
        CHECK_OK(rules_put(&w.rules, s, &err), err);
    CHECK_OK(rules_commit(&w.nft, &w.rules, map_len(&w.rules.chains) == 0, NULL, &err), err);
}

void table_leave(void)
{
    rules_fini(&w.rules);
    nft_close(&w.nft);
}

void check_reached(struct reached r, const char *what)
{
    if (r.error)
        test_failed(__FILE__, __LINE__, "%s: %s", what, strerror(r.error));
    if (r.ns > 900 * NS_PER_MS) /* TCP sends a SYN again after a second: one was lost */
        test_failed(__FILE__, __LINE__, "%s: reached after %lld ms", what, (long long)(r.ns / NS_PER_MS));
}

void check_refused(struct reached r, const char *what)
{
    if (r.error != ECONNREFUSED)
        test_failed(__FILE__, __LINE__, "%s: %s instead of refused", what, r.error ? strerror(r.error) : "reached");
    CHECK(r.ns < 500 * NS_PER_MS);
}
