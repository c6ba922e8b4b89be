/* nft_test.c - the service rules in a kernel: who reaches what, and what holds when they change. */
#include "base/fault.h"
#include "net/nft_world_test.h"
#include "net/vip.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

TEST(clients_everywhere_reach_a_service)
{
    table_enter();
    struct net_service s = web_service(2);
    service_commit(&s);
    int seen[3] = {0};
    for (int i = 0; i < 40; i++) {
        struct reached r = TCP(NO_NS, vip, 80);
        check_reached(r, "host to ClusterIP");
        CHECK_INT(r.client, NODE_IP);
        seen[r.server]++;
    }
    CHECK(seen[0] > 5 && seen[1] > 5 && seen[2] == 0);
    struct reached r = TCP(w.pods[2].ns, vip, 80);
    check_reached(r, "pod to ClusterIP");
    CHECK_INT(r.client, w.pods[2].ip);
    for (int i = 0; i < 20; i++)
        check_reached(TCP(w.pods[0].ns, vip, 80), "an endpoint to its own Service");
    r = TCP(NO_NS, IP4(127, 0, 0, 1), 30080);
    check_reached(r, "127.0.0.1:NodePort");
    CHECK_INT(r.client, IP4_GATEWAY); /* not NODE_IP, see rules.c */
    check_reached(TCP(NO_NS, IP4(192, 0, 2, 2), 30080), "host to its own NodePort");
    check_reached(TCP(w.pods[2].ns, IP4(192, 0, 2, 2), 30080), "pod to a NodePort");
    check_reached(TCP(w.pods[0].ns, IP4(192, 0, 2, 2), 30080), "endpoint to a NodePort");
    r = TCP(w.outside, IP4(192, 0, 2, 2), 30080);
    check_reached(r, "outside to a NodePort");
    CHECK_INT(r.client, IP4(192, 0, 2, 1)); /* its own address: the endpoint is here and answers by way of us */
    table_leave();
}

/* A hostPort, or an external address that is this machine's: with endpoints it would take connections to the API,
 * without it would refuse them. */
TEST(the_port_of_the_api_is_its_own)
{
    table_enter();
    static const uint32_t here = IP4(192, 0, 2, 2);
    int api = world_listen(NO_NS, SOCK_STREAM, 0, INADDR_ANY, 6443);
    for (size_t n = 3; n-- > 1;) {
        struct net_service s = web_service(n == 2 ? 2 : 0);
        s.port_number = s.node_port = 6443;
        s.external_ips = &here;
        s.nexternal_ips = 1;
        service_commit(&s);
        int clients[] = {w.outside, NO_NS, w.pods[2].ns};
        for (size_t i = 0; i < countof(clients); i++)
            CHECK_INT(world_tcp(clients[i], here, 6443, &api, 1).error, 0);
        CHECK_INT(world_tcp(NO_NS, IP4(127, 0, 0, 1), 6443, &api, 1).error, 0);
        if (s.nendpoints)
            CHECK_INT(TCP(w.pods[2].ns, vip, 6443).error, 0); /* a Service's own address has all ports */
    }
    fd_close(api);
    table_leave();
}

TEST(what_is_not_there_is_refused_at_once)
{
    table_enter();
    struct net_service s = web_service(0);
    service_commit(&s);
    int hosts_own = world_listen(NO_NS, SOCK_STREAM, 0, INADDR_ANY, 30080);
    int outsiders[] = {w.outside, NO_NS, w.pods[0].ns};
    for (size_t i = 1; i < 3; i++) {
        int from = outsiders[i];
        check_refused(TCP(from, vip, 80), "Service without endpoints");
        check_refused(UDP(from, vip, 80), "another protocol");
        check_refused(TCP(from, IP4(10, 43, 7, 7), 443), "an address that no Service has");
        for (int j = 0; j < 20; j++) /* the kernel limits its ICMP errors; clients that retry must not hang */
            check_refused(TCP(from, vip, 80), "and again");
    }
    for (size_t i = 0; i < 3; i++)
        check_refused(world_tcp(outsiders[i], IP4(192, 0, 2, 2), 30080, &hosts_own, 1), "NodePort without endpoints");
    for (int j = 0; j < 20; j++)
        check_refused(TCP(w.pods[0].ns, IP4(10, 42, 0, 99), 80), "a pod that is not there");
    int nodes_own = world_listen(NO_NS, SOCK_STREAM, 0, INADDR_ANY, 22);
    check_refused(world_tcp(w.pods[0].ns, vip, 22, &nodes_own, 1),
                  "what listens on the node, by a Service's address");
    check_refused(world_tcp(NO_NS, vip, 22, &nodes_own, 1), "what listens on the node, by a Service's address");
    s = web_service(1);
    service_commit(&s);
    check_refused(TCP(NO_NS, vip, 30080), "a NodePort by a Service's address");
    for (size_t i = 1; i < 3; i++) {
        check_reached(TCP(outsiders[i], vip, 80), "its first endpoint has come");
        check_refused(TCP(outsiders[i], vip, 81), "a port that the Service has not");
        check_refused(UDP(outsiders[i], vip, 80), "another protocol");
    }
    table_leave();
}

TEST(udp_moves_when_its_endpoint_goes)
{
    table_enter();
    struct net_service s = web_service(1);
    s.proto = NET_UDP;
    service_commit(&s);
    /* one socket all along, so that conntrack has an entry to go stale */
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = htonl(vip)};
    CHECK(connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    char byte;
    for (int i = 0; i < 3; i++) {
        struct pollfd p = {w.udp[i], POLLIN, 0};
        CHECK(send(fd, "?", 1, 0) == 1);
        CHECK(poll(&p, 1, 2000) == 1 && recv(w.udp[i], &byte, 1, 0) == 1);
        struct net_endpoint next = w.eps[(i + 1) % 3];
        s.endpoints = &next;
        service_commit(&s);
    }
    s.nendpoints = 0;
    service_commit(&s);
    (void)send(fd, "?", 1, 0);
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(poll(&p, 1, 2000) == 1);
    CHECK(recv(fd, &byte, 1, 0) < 0 && errno == ECONNREFUSED);
    s.nendpoints = 1;
    s.endpoints = w.eps;
    service_commit(&s);
    p.fd = w.udp[0];
    CHECK(send(fd, "?", 1, 0) == 1);
    CHECK(poll(&p, 1, 2000) == 1);
    fd_close(fd);
    table_leave();
}

/* The node role was killed after it had taken an endpoint out of the rules, and before it had the kernel forget who
 * went there; nothing but conntrack knows of it any more. */
TEST(a_restart_moves_datagrams_whose_endpoint_nobody_knows)
{
    table_enter();
    struct err err = ERR;
    struct net_service s = web_service(2);
    s.proto = NET_UDP;
    s.nendpoints = 1;
    service_commit(&s);
    struct sockaddr_in to[2] = {
        {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = htonl(vip)},
        {.sin_family = AF_INET, .sin_port = htons(30080), .sin_addr.s_addr = htonl(IP4(192, 0, 2, 2))}};
    int fds[2];
    char byte;
    struct pollfd p = {w.udp[0], POLLIN, 0};
    for (int i = 0; i < 2; i++) {
        fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        CHECK(connect(fds[i], (struct sockaddr *)&to[i], sizeof to[i]) == 0 && send(fds[i], "?", 1, 0) == 1);
        CHECK(poll(&p, 1, 2000) == 1 && recv(w.udp[0], &byte, 1, 0) == 1);
    }
    table_leave();
    world_run("nft delete table ip wherry-1f3a9");
    for (int there = 1; there >= 0; there--) { /* one that stays keeps its clients */
        CHECK_OK(nft_open(&w.nft, &nft_config, &err), err);
        CHECK_OK(nft_load(&w.nft, &err), err);
        rules_init(&w.rules);
        s.endpoints = &w.eps[!there];
        CHECK_OK(rules_put(&w.rules, &s, &err), err);
        CHECK_OK(rules_commit(&w.nft, &w.rules, true, NULL, &err), err);
        p.fd = w.udp[!there];
        for (int i = 0; i < 2; i++) {
            CHECK(send(fds[i], "?", 1, 0) == 1);
            CHECK(poll(&p, 1, 2000) == 1 && recv(p.fd, &byte, 1, 0) == 1);
        }
        table_leave();
        if (there)
            world_run("nft delete table ip wherry-1f3a9");
    }
    fd_close(fds[0]);
    fd_close(fds[1]);
}

/* Both Services lose the endpoint at once. The connection is the draining's business. */
TEST(a_connection_outlives_its_endpoint_beside_datagrams_that_do_not)
{
    table_enter();
    struct err err = ERR;
    struct drain_sample open;
    struct net_service tcp = web_service(1), udp = web_service(1);
    tcp.affinity_s = 600;
    udp.proto = NET_UDP;
    udp.name = S("datagrams");
    udp.node_port = 0;
    CHECK_OK(rules_put(&w.rules, &udp, &err), err);
    service_commit(&tcp);
    struct reached r = world_reach(NO_NS, SOCK_STREAM, 0, vip, 80, w.servers, 3, 2000);
    check_reached(r, "the endpoint");
    check_reached(UDP(NO_NS, vip, 80), "by UDP");
    tcp.endpoints++;
    udp.endpoints++;
    CHECK_OK(rules_put(&w.rules, &udp, &err), err);
    service_commit(&tcp);
    CHECK_OK(conntrack_drain(w.pods[0].ip, NODE_IP, &open, &err), err);
    CHECK_INT(open.connections, 1);
    fd_close(r.fd), fd_close(r.peer);
    table_leave();
}

/* The endpoint that leaves has it already; its answer comes home though the next datagram goes elsewhere. */
TEST(a_datagram_under_way_is_answered)
{
    table_enter();
    struct net_service s = web_service(1);
    s.proto = NET_UDP;
    service_commit(&s);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = htonl(vip)};
    CHECK(connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    CHECK(send(fd, "?", 1, 0) == 1);
    pid_t pid = fork();
    if (pid == 0) {
        struct sockaddr_in from;
        socklen_t n = sizeof from;
        char byte;
        (void)poll(NULL, 0, 50); /* thinks */
        bool ok = recvfrom(w.udp[0], &byte, 1, 0, (struct sockaddr *)&from, &n) == 1 &&
                  sendto(w.udp[0], "!", 1, 0, (struct sockaddr *)&from, n) == 1;
        _exit(ok ? 0 : 1);
    }
    s.endpoints++;
    service_commit(&s);
    struct pollfd home = {fd, POLLIN, 0}, next = {w.udp[1], POLLIN, 0};
    CHECK(poll(&home, 1, 2000) == 1);
    char byte = 0;
    CHECK(recv(fd, &byte, 1, 0) == 1 && byte == '!');
    CHECK(send(fd, "?", 1, 0) == 1);
    CHECK(poll(&next, 1, 2000) == 1);
    int status = 1;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    fd_close(fd);
    table_leave();
}

TEST(affinity_sticks_until_the_endpoint_goes)
{
    table_enter();
    struct net_service s = web_service(3);
    s.affinity_s = 600;
    service_commit(&s);
    int from[] = {NO_NS, w.pods[0].ns, w.pods[1].ns};
    for (size_t i = 0; i < countof(from); i++) {
        int first = TCP(from[i], vip, 80).server;
        CHECK(first >= 0);
        for (int j = 0; j < 12; j++)
            CHECK_INT(TCP(from[i], vip, 80).server, first);
        int by_node = TCP(from[i], IP4(192, 0, 2, 2), 30080).server;
        CHECK(by_node >= 0);
        for (int j = 0; j < 8; j++)
            CHECK_INT(TCP(from[i], IP4(192, 0, 2, 2), 30080).server, by_node);
    }
    int stuck = TCP(NO_NS, vip, 80).server;
    struct net_endpoint left[2];
    for (int i = 0, n = 0; i < 3; i++)
        if (i != stuck)
            left[n++] = w.eps[i];
    s.endpoints = left;
    s.nendpoints = 2;
    service_commit(&s);
    int now = TCP(NO_NS, vip, 80).server;
    CHECK(now >= 0 && now != stuck);
    for (int j = 0; j < 8; j++)
        CHECK_INT(TCP(NO_NS, vip, 80).server, now);
    CHECK(world_has("nft list table ip wherry-1f3a9", "update @aff")); /* nft can show what we made */
    table_leave();
}

TEST(affinity_ends_after_its_time)
{
    table_enter();
    struct net_service s = web_service(3);
    s.affinity_s = 1;
    service_commit(&s);
    (void)TCP(NO_NS, vip, 80);
    CHECK(world_has("nft list map ip wherry-1f3a9 aff", "timeout 1s"));
    table_leave();
}

TEST(local_policies_hold)
{
    table_enter();
    struct net_service s = web_service(2);
    w.eps[1].local = false; /* told so; it answers all the same */
    s.external_local = s.internal_local = true;
    service_commit(&s);
    int seen[3] = {0};
    for (int i = 0; i < 12; i++) {
        CHECK_INT(TCP(w.pods[2].ns, vip, 80).server, 0);
        CHECK_INT(TCP(w.outside, IP4(192, 0, 2, 2), 30080).server, 0);
        struct reached r = TCP(w.pods[2].ns, IP4(192, 0, 2, 2), 30080);
        check_reached(r, "a pod goes anywhere by NodePort");
        seen[r.server]++;
    }
    CHECK(seen[0] && seen[1]);
    w.eps[0].local = false;
    service_commit(&s);
    check_refused(TCP(w.pods[2].ns, vip, 80), "no endpoint here");
    check_refused(TCP(w.outside, IP4(192, 0, 2, 2), 30080), "no endpoint here, from outside");
    table_leave();
}

TEST(outbound_is_masqueraded_and_pod_to_pod_is_not)
{
    table_enter();
    struct net_service s = web_service(1);
    service_commit(&s);
    int away = world_listen(w.outside, SOCK_STREAM, 0, INADDR_ANY, 80);
    struct reached r = world_tcp(w.pods[0].ns, IP4(192, 0, 2, 1), 80, &away, 1);
    check_reached(r, "pod to the outside");
    CHECK_INT(r.client, IP4(192, 0, 2, 2));
    r = TCP(w.pods[0].ns, w.pods[1].ip, 8080);
    check_reached(r, "pod to pod");
    CHECK_INT(r.client, w.pods[0].ip);
    int here = world_listen(NO_NS, SOCK_STREAM, 0, INADDR_ANY, 9000);
    r = world_tcp(w.pods[0].ns, IP4(192, 0, 2, 2), 9000, &here, 1);
    check_reached(r, "pod to its node");
    CHECK_INT(r.client, w.pods[0].ip);
    check_reached(world_tcp(w.pods[0].ns, NODE_IP, 9000, &here, 1), "pod to the node's address in the pod range");
    /* an endpoint of a Service that is not a pod */
    struct net_endpoint ext = {IP4(192, 0, 2, 1), 80, false, false};
    s.name = S("ext");
    s.cluster_ips = &vip2;
    s.node_port = 0;
    s.endpoints = &ext;
    service_commit(&s);
    r = world_tcp(w.pods[0].ns, vip2, 80, &away, 1);
    check_reached(r, "pod to an endpoint outside");
    CHECK_INT(r.client, IP4(192, 0, 2, 2));
    check_reached(world_tcp(NO_NS, vip2, 80, &away, 1), "host to an endpoint outside");
    table_leave();
}

TEST(a_pod_cannot_reach_the_loopback_of_its_host)
{
    table_enter();
    struct net_service s = web_service(1);
    service_commit(&s);
    int secret = world_listen(NO_NS, SOCK_STREAM, 0, IP4(127, 0, 0, 1), 9000);
    world_run(
        "nsenter --net=/proc/%d/fd/%d sh -c 'ip link set lo down; ip addr del 127.0.0.1/8 dev lo 2>/dev/null; "
        "ip route add 127.0.0.0/8 via 169.254.1.1 dev eth0; echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet'",
        (int)getpid(), w.pods[0].ns);
    struct reached r = world_reach(w.pods[0].ns, SOCK_STREAM, 0, IP4(127, 0, 0, 1), 9000, &secret, 1, 300);
    CHECK(r.error != 0);
    table_leave();
}

TEST(sctp_too)
{
    table_enter();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_SCTP);
    if (fd < 0)
        return; /* not in this kernel */
    fd_close(fd);
    struct net_service s = web_service(1);
    s.proto = NET_SCTP;
    service_commit(&s);
    int server = world_listen(w.pods[0].ns, SOCK_STREAM, IPPROTO_SCTP, INADDR_ANY, 8080);
    struct reached r = world_reach(NO_NS, SOCK_STREAM, IPPROTO_SCTP, vip, 80, &server, 1, 2000);
    check_reached(r, "SCTP");
    table_leave();
}

TEST(a_draining_pod_is_idle_when_nothing_is_carried)
{
    table_enter();
    struct net_service s = web_service(1);
    struct drain_sample none, open, again, carried, direct;
    struct err err = ERR;
    service_commit(&s);
    CHECK_OK(conntrack_drain(w.pods[0].ip, NODE_IP, &none, &err), err);
    CHECK_INT(none.connections, 0);
    struct reached r = world_reach(NO_NS, SOCK_STREAM, 0, vip, 80, w.servers, 3, 2000);
    check_reached(r, "host to ClusterIP");
    CHECK_OK(conntrack_drain(w.pods[0].ip, NODE_IP, &open, &err), err);
    CHECK_INT(open.connections, 1);
    CHECK(open.bytes > 0);
    CHECK_OK(conntrack_drain(w.pods[0].ip, NODE_IP, &again, &err), err);
    CHECK(drain_idle(open, again) && !drain_idle(none, open));
    CHECK(write(r.fd, "hello", 5) == 5);
    CHECK_OK(conntrack_drain(w.pods[0].ip, NODE_IP, &carried, &err), err);
    CHECK(carried.bytes > again.bytes && !drain_idle(again, carried));
    struct reached past = world_reach(NO_NS, SOCK_STREAM, 0, w.pods[0].ip, 8080, w.servers, 3, 2000);
    CHECK_OK(conntrack_drain(w.pods[0].ip, NODE_IP, &direct, &err), err);
    CHECK_INT(direct.connections, 2); /* one through a Service, and this machine's own */
    CHECK_OK(conntrack_drain(w.pods[0].ip, 0, &direct, &err), err);
    CHECK_INT(direct.connections, 1); /* another's would be nobody's promise */
    fd_close(past.fd), fd_close(past.peer);
    fd_close(r.fd), fd_close(r.peer);
    CHECK_OK(conntrack_drain(w.pods[0].ip, NODE_IP, &again, &err), err);
    CHECK_INT(again.connections, 0);
    table_leave();
}

/* An endpoint that ends with something unread resets its connections. Their clients' ports are free at once, and what
 * is made from one of them next must not go where the old connection went. */
TEST(a_port_used_again_after_a_reset_is_a_new_connection)
{
    table_enter();
    struct linger at_once = {1, 0};
    struct net_service s = web_service(1);
    service_commit(&s);
    world_run("echo 40000 40000 > /proc/sys/net/ipv4/ip_local_port_range");
    struct reached r = world_reach(NO_NS, SOCK_STREAM, 0, vip, 80, w.servers, 3, 2000);
    check_reached(r, "the first endpoint");
    CHECK_INT(r.server, 0);
    CHECK(setsockopt(r.peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    fd_close(r.peer), fd_close(r.fd);
    s = web_service(2);
    s.endpoints++;
    s.nendpoints = 1;
    service_commit(&s);
    r = TCP(NO_NS, vip, 80);
    check_reached(r, "the second endpoint");
    CHECK_INT(r.server, 1);
    table_leave();
}

TEST(what_was_tracked_of_a_pod_goes_with_it)
{
    table_enter();
    struct err err = ERR;
    struct net_service s = web_service(1);
    struct drain_sample open;
    unsigned deleted;
    service_commit(&s);
    struct reached to = world_reach(NO_NS, SOCK_STREAM, 0, vip, 80, w.servers, 3, 2000);
    struct reached from = world_reach(w.pods[1].ns, SOCK_STREAM, 0, vip, 80, w.servers, 3, 2000);
    check_reached(to, "the pod from the host"), check_reached(from, "the pod from another");
    CHECK_OK(conntrack_leave(w.pods[2].ip, &deleted, &err), err);
    CHECK_INT(deleted, 0);
    CHECK_OK(conntrack_leave(w.pods[1].ip, &deleted, &err), err);
    CHECK_INT(deleted, 1);
    CHECK_OK(conntrack_leave(w.pods[0].ip, &deleted, &err), err);
    CHECK_INT(deleted, 1);
    CHECK_OK(conntrack_drain(w.pods[0].ip, NODE_IP, &open, &err), err);
    CHECK_INT(open.connections, 0);
    fd_close(to.fd), fd_close(to.peer), fd_close(from.fd), fd_close(from.peer);
    table_leave();
}

TEST(a_restart_takes_over_what_is_there)
{
    table_enter();
    struct net_service s = web_service(3);
    struct err err = ERR;
    bool repaired = true;
    s.affinity_s = 30;
    service_commit(&s);
    char *before = str_dupz(world_output("nft -a list ruleset | grep -v expires"));
    table_leave();
    CHECK_OK(nft_open(&w.nft, &nft_config, &err), err);
    rules_init(&w.rules);
    CHECK_OK(rules_put(&w.rules, &s, &err), err);
    CHECK_OK(rules_commit(&w.nft, &w.rules, true, &repaired, &err), err);
    CHECK(!repaired);
    CHECK_STR(world_output("nft -a list ruleset | grep -v expires"),
              str_of(before)); /* handles too: nothing was remade */
    mem_free(before);
    table_leave();
}

/* The node role was away: endpoints left, and one had left before, but its affinity was not forgotten any more. */
TEST(a_restart_forgets_affinity_to_endpoints_that_are_gone)
{
    table_enter();
    struct net_service s = web_service(3);
    struct err err = ERR;
    s.affinity_s = 600;
    service_commit(&s);
    int stuck = TCP(NO_NS, vip, 80).server, other = -1, other_from = NO_NS;
    for (size_t i = 0; i < 3 && other < 0; i++) {
        int server = TCP(w.pods[i].ns, vip, 80).server;
        if (server != stuck) {
            other = server;
            other_from = w.pods[i].ns;
        }
    }
    int by_node = TCP(NO_NS, IP4(192, 0, 2, 2), 30080).server;
    CHECK(stuck >= 0 && by_node >= 0);
    CHECK(
        world_has("nft add element ip wherry-1f3a9 aff '{ tcp . 10.43.0.10 . 80 . 192.0.2.77 : 10.42.0.99 . 8080 }'; "
                  "nft list map ip wherry-1f3a9 aff",
                  "10.42.0.99"));
    table_leave();
    CHECK_OK(nft_open(&w.nft, &nft_config, &err), err);
    rules_init(&w.rules);
    struct net_endpoint left[2];
    for (int i = 0, n = 0; i < 3; i++)
        if (i != stuck)
            left[n++] = w.eps[i];
    s.endpoints = left;
    s.nendpoints = 2;
    CHECK_OK(rules_put(&w.rules, &s, &err), err);
    CHECK_OK(rules_commit(&w.nft, &w.rules, true, NULL, &err), err);
    int now = TCP(NO_NS, vip, 80).server, now_by_node = TCP(NO_NS, IP4(192, 0, 2, 2), 30080).server;
    CHECK(now >= 0 && now != stuck);
    CHECK(now_by_node >= 0 && now_by_node != stuck && (by_node == stuck || now_by_node == by_node));
    CHECK(!world_has("nft list map ip wherry-1f3a9 aff", "10.42.0.99"));
    for (int j = 0; j < 8 && other >= 0; j++) /* who was at one that stayed is still there */
        CHECK_INT(TCP(other_from, vip, 80).server, other);
    table_leave();
}

TEST(edits_by_others_are_undone_and_their_rules_left_alone)
{
    static const char *const edits[] = {
        "nft flush ruleset",
        "nft delete table ip wherry-1f3a9",
        "nft flush chain ip wherry-1f3a9 services",
        "nft add rule ip wherry-1f3a9 services drop",
        "nft insert rule ip wherry-1f3a9 s2 drop",
        "nft flush chain ip wherry-1f3a9 s2",
        "nft 'add table ip wherry-1f3a9 { flags dormant; }'",
        "nft delete element ip wherry-1f3a9 svc { tcp . 10.43.0.10 . 80 }",
        "nft add element ip wherry-1f3a9 svc { tcp . 10.43.0.99 . 80 : goto s2 }",
        "nft flush map ip wherry-1f3a9 eps",
        "nft 'delete element ip wherry-1f3a9 eps { tcp . 10.43.0.10 . 80 . 0 }; "
        "add element ip wherry-1f3a9 eps { tcp . 10.43.0.10 . 80 . 0 : 192.0.2.9 . 1 }'",
    };
    table_enter();
    struct net_service s = web_service(2);
    struct err err = ERR;
    bool repaired;
    service_commit(&s);
    for (size_t i = 0; i < countof(edits); i++) {
        world_run("nft 'table ip foreign { chain c { counter; }; }'");
        world_run("%s", edits[i]);
        CHECK_OK(rules_commit(&w.nft, &w.rules, true, &repaired, &err), err);
        if (!repaired)
            test_failed(__FILE__, __LINE__, "not seen: %s", edits[i]);
        for (int j = 0; j < 6; j++)
            check_reached(TCP(NO_NS, vip, 80), edits[i]);
        check_refused(TCP(NO_NS, IP4(10, 43, 0, 99), 80), edits[i]);
        if (i)
            CHECK(world_has("nft list ruleset", "table ip foreign"));
        CHECK_OK(rules_commit(&w.nft, &w.rules, true, &repaired, &err), err);
        CHECK(!repaired);
    }
    CHECK_OK(nft_unload(&w.nft, &err), err);
    CHECK_OK(nft_unload(&w.nft, &err), err);
    CHECK(world_has("nft list ruleset", "table ip foreign"));
    CHECK(!str_has(world_output("nft list ruleset"), S("wherry")));
    table_leave();
}

TEST(chains_come_and_go_with_the_numbers_they_spread_over)
{
    table_enter();
    struct err err = ERR;
    struct net_endpoint many[200];
    for (int i = 0; i < 200; i++)
        many[i] = (struct net_endpoint){IP4(10, 42, 0, 5), (uint16_t)(9000 + i), true, false};
    many[0] = w.eps[0];
    for (size_t n = 200; n > 0; n--) {
        struct net_service s = web_service(n);
        s.endpoints = many;
        service_commit(&s);
    }
    check_reached(TCP(NO_NS, vip, 80), "the last endpoint");
    CHECK(map_len(&w.rules.chains) <= 70);
    bool repaired;
    CHECK_OK(rules_commit(&w.nft, &w.rules, true, &repaired, &err), err);
    CHECK(!repaired);
    table_leave();
}

/* A process of its own takes endpoints out and in, hundreds of times a second, while connections are made. */
TEST(no_connection_is_lost_while_endpoints_change)
{
    table_enter();
    struct net_service s = web_service(3);
    service_commit(&s);
    int ready[2];
    /* few client ports: connections meet what conntrack remembers of earlier ones, to endpoints that have gone */
    world_run("echo 40000 40099 > /proc/sys/net/ipv4/ip_local_port_range");
    CHECK(pipe(ready) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct err err = ERR;
        bool ok = nft_open(&w.nft, &nft_config, &err);
        for (unsigned i = 0; ok; i++) {
            struct net_endpoint some[3];
            size_t n = 0;
            for (unsigned j = 0; j < 3; j++)
                if ((i % 7 + 1) & 1u << j)
                    some[n++] = w.eps[j];
            struct net_service c = web_service(n);
            c.endpoints = some;
            ok = rules_put(&w.rules, &c, &err) && rules_commit(&w.nft, &w.rules, i == 0, NULL, &err);
            if (i == 10)
                ok = ok && write(ready[1], "x", 1) == 1;
            if (getppid() == 1)
                _exit(0);
        }
        fprintf(stderr, "%s\n", err.text);
        _exit(1);
    }
    char byte;
    CHECK(pid > 0 && read(ready[0], &byte, 1) == 1);
    for (int i = 0; i < 1500; i++) {
        check_reached(TCP(NO_NS, vip, 80), "host while endpoints change");
        if (i % 3 == 0)
            check_reached(TCP(w.pods[i % 2].ns, vip, 80), "pod while endpoints change");
    }
    CHECK(waitpid(pid, NULL, WNOHANG) == 0); /* it went on all the time */
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    table_leave();
}

TEST(a_commit_that_fails_anywhere_is_made_good_by_the_next)
{
    table_enter();
    struct err err = ERR;
    bool repaired;
    struct net_service s = web_service(3);
    s.affinity_s = 60;
    for (int n = 1; n < 200; n++) {
        s.nendpoints = 1 + (size_t)n % 3;
        CHECK_OK(rules_put(&w.rules, &s, &err), err);
        fault_at(n);
        bool ok = rules_commit(&w.nft, &w.rules, true, NULL, &err);
        bool fired = fault_fired();
        fault_at(0);
        CHECK(ok || fired);
        CHECK_OK(rules_commit(&w.nft, &w.rules, true, NULL, &err), err);
        CHECK_OK(rules_commit(&w.nft, &w.rules, true, &repaired, &err), err);
        CHECK(!repaired);
        int server = TCP(NO_NS, vip, 80).server;
        CHECK(server >= 0 && (size_t)server < s.nendpoints);
        if (!fired)
            break;
    }
    table_leave();
}

TEST(down_leaves_nothing_of_the_network)
{
    static const char everything[] = "ip -o link; ip route show table all; ip -o -4 addr; ip rule; nft list ruleset; "
                                     "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/netfilter/nf_conntrack_acct";
    struct err err = ERR;
    char path[200];
    (void)snprintf(path, sizeof path, "%s/settings", test_dir());
    struct network_config c = {nft_config, path};
    world_enter();
    world_run("nft 'table ip foreign { chain c { counter; }; }'; cat /proc/sys/net/netfilter/nf_conntrack_acct");
    char *before = str_dupz(world_output(everything));
    CHECK_OK(network_up(&c, &err), err);
    CHECK_OK(nft_open(&w.nft, &nft_config, &err), err);
    rules_init(&w.rules);
    w.pods[0] = world_pod(IP4(10, 42, 0, 5));
    w.eps[0] = (struct net_endpoint){w.pods[0].ip, 8080, true, false};
    struct net_service s = web_service(1);
    service_commit(&s);
    CHECK_OK(vip_add(nft_config.instance, IP4(192, 0, 2, 50), &err), err);
    CHECK(!str_eqz(world_output(everything), before));
    CHECK_OK(network_down(&c, &err), err);
    CHECK_STR(world_output(everything), str_of(before));
    CHECK_OK(network_down(&c, &err), err);
    mem_free(before);
    table_leave();
}
