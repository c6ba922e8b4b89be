/* Addresses of load balancers: who may reach them, and that nothing else of the machine answers at them. */
#include "net/nft_world_test.h"
#include <errno.h>

#define POOL_IP IP4(192, 0, 2, 50)

static const uint32_t pool_ip = POOL_IP;

static struct net_service balancer_service(void)
{
    struct net_service s = web_service(2);
    s.external_ips = s.balancer_ips = &pool_ip;
    s.nexternal_ips = s.nbalancer_ips = 1;
    s.pooled = true;
    return s;
}

static void balancer_enter(void)
{
    table_enter();
    world_run("ip addr add 192.0.2.50/32 dev lo");
}

static void check_silence(struct reached r, const char *what)
{
    if (r.error != ETIMEDOUT)
        test_failed(__FILE__, __LINE__, "%s: %s instead of silence", what, r.error ? strerror(r.error) : "reached");
}

static struct reached outside_tries(uint32_t ip, uint16_t port)
{
    return world_reach(w.outside, SOCK_STREAM, 0, ip, port, w.servers, 3, 300);
}

TEST(a_load_balancers_address_is_its_services_alone)
{
    balancer_enter();
    struct net_service s = balancer_service();
    int any = world_listen(NO_NS, SOCK_STREAM, 0, INADDR_ANY, 22);
    service_commit(&s);
    check_reached(TCP(w.outside, POOL_IP, 80), "outside");
    check_reached(TCP(NO_NS, POOL_IP, 80), "the host");
    check_reached(TCP(w.pods[0].ns, POOL_IP, 80), "a pod");
    check_refused(TCP(w.outside, POOL_IP, 22), "what listens on all addresses");
    check_refused(TCP(w.outside, POOL_IP, 30080), "a node port");
    check_refused(TCP(w.outside, POOL_IP, 6443), "what nobody listens on");
    check_reached(TCP(w.outside, IP4(192, 0, 2, 2), 30080), "the node port at the node's address");
    CHECK_INT(world_reach(w.outside, SOCK_STREAM, 0, IP4(192, 0, 2, 2), 22, &any, 1, 500).error, 0);
    fd_close(any);
    table_leave();
}

TEST(the_policy_local_keeps_the_clients_address)
{
    balancer_enter();
    struct net_service s = balancer_service();
    s.external_local = true;
    w.eps[1].local = false; /* told so */
    service_commit(&s);
    for (int i = 0; i < 8; i++) {
        struct reached r = TCP(w.outside, POOL_IP, 80);
        check_reached(r, "outside");
        CHECK_INT(r.server, 0);
        CHECK_INT(r.client, IP4(192, 0, 2, 1));
    }
    w.eps[0].local = false;
    service_commit(&s);
    check_refused(TCP(w.outside, POOL_IP, 80), "no endpoint is here");
    table_leave();
}

TEST(the_port_of_the_api_may_be_a_load_balancers)
{
    balancer_enter();
    struct net_service s = balancer_service();
    s.port_number = 6443;
    service_commit(&s);
    check_reached(TCP(w.outside, POOL_IP, 6443), "outside");
    table_leave();
}

TEST(a_process_serves_its_own_ports_of_an_address)
{
    balancer_enter();
    struct net_service s = {.ns = S("kube-system"),
                            .name = S("front"),
                            .port = S("http"),
                            .proto = NET_TCP,
                            .port_number = 80,
                            .balancer_ips = &pool_ip,
                            .nbalancer_ips = 1,
                            .pooled = true,
                            .process = true};
    int front[3] = {world_listen(NO_NS, SOCK_STREAM, 0, INADDR_ANY, 80),
                    world_listen(NO_NS, SOCK_STREAM, 0, INADDR_ANY, 81), -1};
    service_commit(&s);
    CHECK_INT(world_tcp(w.outside, POOL_IP, 80, front, 2).server, 0);
    check_refused(world_tcp(w.outside, POOL_IP, 81, front, 2), "another port of it");
    fd_close(front[0]);
    fd_close(front[1]);
    table_leave();
}

TEST(only_some_clients_reach_a_guarded_address)
{
    static const struct net_range others[] = {{IP4(198, 51, 100, 0), IP4(198, 51, 100, 255)}};
    static const struct net_range both[] = {{IP4(192, 0, 2, 1), IP4(192, 0, 2, 1)},
                                            {IP4(198, 51, 100, 0), IP4(198, 51, 100, 255)}};
    static const struct net_range wide[] = {{IP4(192, 0, 2, 0), IP4(192, 0, 2, 255)}};
    balancer_enter();
    struct net_service s = balancer_service();
    s.guarded = true;
    s.sources = others;
    s.nsources = 1;
    service_commit(&s);
    check_silence(outside_tries(POOL_IP, 80), "not in the range");
    check_reached(TCP(NO_NS, POOL_IP, 80), "the host");
    check_reached(TCP(w.outside, IP4(192, 0, 2, 2), 30080), "its node port is for all");
    s.sources = both;
    s.nsources = 2;
    service_commit(&s);
    check_reached(TCP(w.outside, POOL_IP, 80), "one address in the ranges");
    s.sources = wide;
    s.nsources = 1;
    service_commit(&s);
    check_reached(TCP(w.outside, POOL_IP, 80), "a range around it");
    s.nsources = 0;
    service_commit(&s);
    check_silence(outside_tries(POOL_IP, 80), "nobody may");
    s.guarded = false;
    service_commit(&s);
    check_reached(TCP(w.outside, POOL_IP, 80), "everybody may");
    table_leave();
}

TEST(the_nodes_port_is_guarded_as_well)
{
    static const struct net_range others[] = {{IP4(198, 51, 100, 0), IP4(198, 51, 100, 255)}};
    static const struct net_range ours[] = {{IP4(192, 0, 2, 1), IP4(192, 0, 2, 1)}};
    table_enter();
    struct net_service s = web_service(2);
    s.ncluster_ips = 0;
    s.node_port = 80;
    s.balances = true;
    s.guarded = s.node_port_guarded = true;
    s.sources = others;
    s.nsources = 1;
    service_commit(&s);
    check_silence(outside_tries(IP4(192, 0, 2, 2), 80), "not in the range");
    s.sources = ours;
    service_commit(&s);
    check_reached(TCP(w.outside, IP4(192, 0, 2, 2), 80), "in the range");
    table_leave();
}

TEST(a_port_of_the_node_leaves_what_listens_on_loopback_alone)
{
    table_enter();
    struct net_service s = web_service(2);
    s.ncluster_ips = 0;
    s.node_port = 53;
    s.balances = true;
    int own[3] = {world_listen(NO_NS, SOCK_STREAM, 0, IP4(127, 0, 0, 53), 53), -1, -1};
    service_commit(&s);
    check_reached(TCP(w.outside, IP4(192, 0, 2, 2), 53), "outside");
    check_reached(TCP(NO_NS, IP4(192, 0, 2, 2), 53), "the host");
    check_reached(TCP(w.pods[0].ns, IP4(192, 0, 2, 2), 53), "a pod");
    CHECK_INT(world_tcp(NO_NS, IP4(127, 0, 0, 53), 53, own, 1).server, 0);
    s.nendpoints = 0;
    service_commit(&s);
    CHECK_INT(world_tcp(NO_NS, IP4(127, 0, 0, 53), 53, own, 1).server, 0);
    check_refused(TCP(w.outside, IP4(192, 0, 2, 2), 53), "nothing is there");
    s.nendpoints = 2;
    w.eps[0].local = w.eps[1].local = false;
    s.external_local = true;
    service_commit(&s);
    check_refused(TCP(w.outside, IP4(192, 0, 2, 2), 53), "no endpoint is here");
    fd_close(own[0]);
    table_leave();
}

TEST(guards_are_read_again_as_they_were_written)
{
    static const struct net_range some[] = {{IP4(192, 0, 2, 1), IP4(192, 0, 2, 1)},
                                            {IP4(198, 51, 100, 0), IP4(198, 51, 100, 255)}};
    balancer_enter();
    struct err err = ERR;
    bool repaired = true;
    struct net_service s = balancer_service();
    s.guarded = s.node_port_guarded = true;
    s.sources = some;
    s.nsources = 2;
    service_commit(&s);
    CHECK_OK(rules_commit(&w.nft, &w.rules, true, &repaired, &err), err);
    CHECK(!repaired);
    world_run("nft flush set ip wherry-1f3a9 allow; nft flush set ip wherry-1f3a9 npallow");
    CHECK_OK(rules_commit(&w.nft, &w.rules, true, &repaired, &err), err);
    CHECK(repaired);
    check_reached(TCP(w.outside, POOL_IP, 80), "outside");
    table_leave();
}
