/* fence_nft_test.c - policies tried with packets. */
#include "net/fence_world_test.h"
#include <errno.h>

static struct fences *f;

/* web 10.42.0.5, client 10.42.0.6 in default; other 10.42.0.7 in other; all serve on 8080 */
static void fence_enter(void)
{
    table_enter();
    service_commit(&(struct net_service){.ns = S("default"),
                                         .name = S("web"),
                                         .port = S("http"),
                                         .proto = NET_TCP,
                                         .port_number = 80,
                                         .cluster_ips = &vip,
                                         .ncluster_ips = 1,
                                         .node_port = 30080,
                                         .endpoints = w.eps,
                                         .nendpoints = 1});
    f = fences_new();
    put_ns(f, "default", "{'kubernetes.io/metadata.name':'default'}");
    put_ns(f, "other", "{'kubernetes.io/metadata.name':'other','team':'b'}");
    put_pod(f, "default", "web", w.pods[0].ip, "{'app':'web'}");
    put_pod(f, "default", "client", w.pods[1].ip, "{'app':'client'}");
    put_pod(f, "other", "other", w.pods[2].ip, "{'app':'client'}");
    fences_load(f, &w.nft);
}

static void fence_leave(void)
{
    fences_free(f);
    table_leave();
}

static void policy_try(const char *name, const char *spec)
{
    put_policy(f, "default", name, spec);
    fences_commit(f, &w.nft);
}

static void policy_gone(const char *name)
{
    fences_del_policy(f, S("default"), str_of(name));
    fences_commit(f, &w.nft);
}

static int pod_reach(int from, int to)
{
    return TCP(w.pods[from].ns, w.pods[to].ip, 8080).error;
}

static int pod_reach_udp(int from, int to)
{
    return UDP(w.pods[from].ns, w.pods[to].ip, 8080).error;
}

TEST(pods_are_fenced_and_free_again)
{
    fence_enter();
    CHECK_INT(pod_reach(1, 0), 0);
    policy_try("deny", "{'podSelector':{'matchLabels':{'app':'web'}}}");
    CHECK_INT(pod_reach(1, 0), ECONNREFUSED);
    CHECK_INT(pod_reach(2, 0), ECONNREFUSED);
    CHECK_INT(pod_reach_udp(1, 0), EHOSTUNREACH);
    CHECK_INT(pod_reach(0, 1), 0);                             /* what it begins itself, answers included */
    CHECK_INT(pod_reach(1, 2), 0);                             /* nobody else is meant */
    CHECK_INT(TCP(NO_NS, w.pods[0].ip, 8080).error, 0);        /* the node */
    CHECK_INT(TCP(NO_NS, vip, 80).error, 0);                   /* by a Service, too */
    CHECK_INT(TCP(w.pods[1].ns, vip, 80).error, ECONNREFUSED); /* a Service does not help a pod */
    CHECK_INT(TCP(w.pods[0].ns, vip, 80).error, 0);            /* itself, by its own Service */
    CHECK_INT(TCP(w.outside, IP4(192, 0, 2, 2), 30080).error, ECONNREFUSED);
    policy_try("deny", "{'podSelector':{'matchLabels':{'app':'web'}},'ingress':[{'from':[{'podSelector':{}}]}]}");
    CHECK_INT(pod_reach(1, 0), 0);
    CHECK_INT(pod_reach_udp(1, 0), 0);
    CHECK_INT(pod_reach(2, 0), ECONNREFUSED);
    CHECK_INT(TCP(w.pods[1].ns, vip, 80).error, 0);
    policy_try("team", "{'podSelector':{},'ingress':[{'from':[{'namespaceSelector':{'matchLabels':{'team':'b'}}}],"
                       "'ports':[{'port':'http'}]}]}");
    CHECK_INT(pod_reach(2, 0), 0);
    CHECK_INT(pod_reach_udp(2, 0), EHOSTUNREACH);
    CHECK_INT(pod_reach(0, 1), ECONNREFUSED);
    policy_gone("deny");
    CHECK_INT(pod_reach(1, 0), ECONNREFUSED);
    policy_try("block", "{'podSelector':{},'ingress':[{'from':[{'ipBlock':{'cidr':'192.0.2.0/24','except':"
                        "['192.0.2.128/25']}}],'ports':[{'port':8000,'endPort':9000}]}]}");
    CHECK_INT(TCP(w.outside, IP4(192, 0, 2, 2), 30080).error, 0);
    policy_gone("team");
    policy_gone("block");
    CHECK_INT(pod_reach(1, 0), 0);
    CHECK_INT(pod_reach(2, 0), 0);
    struct fence_kernel k;
    struct err err = ERR;
    CHECK_OK(fence_nft_load(&w.nft, &k, &err), err);
    CHECK_INT(k.elements.n, 0); /* nothing is left behind */
    CHECK_INT(k.stale.n, 0);
    fence_kernel_fini(&k);
    fence_leave();
}

TEST(what_pods_send_is_fenced)
{
    fence_enter();
    int dns = world_listen(NO_NS, SOCK_DGRAM, 0, NODE_IP, 53),
        api = world_listen(NO_NS, SOCK_STREAM, 0, NODE_IP, 6443);
    struct fence_port dns_ports[] = {{S("dns"), NET_UDP, 53}, {S("dns-tcp"), NET_TCP, 53}};
    put_ns(f, "kube-system", "{'kubernetes.io/metadata.name':'kube-system'}");
    fences_put_pod(f, &(struct fence_pod){.uid = S("role/dns"),
                                          .ns = S("kube-system"),
                                          .labels = fence_val("{'k8s-app':'kube-dns'}"),
                                          .ip = NODE_IP,
                                          .only_ports = true,
                                          .ports = dns_ports,
                                          .nports = 2});
    policy_try("deny", "{'podSelector':{'matchLabels':{'app':'client'}},'policyTypes':['Egress']}");
    CHECK_INT(pod_reach(1, 0), ECONNREFUSED);
    CHECK_INT(pod_reach(2, 0), 0);
    CHECK_INT(pod_reach(0, 1), 0);
    CHECK_INT(TCP(NO_NS, w.pods[1].ip, 8080).error, 0);
    CHECK_INT(world_udp(w.pods[1].ns, NODE_IP, 53, &dns, 1).error, EHOSTUNREACH);
    CHECK_INT(world_tcp(w.pods[1].ns, NODE_IP, 6443, &api, 1).error, ECONNREFUSED);
    CHECK_INT(world_udp(w.pods[0].ns, NODE_IP, 53, &dns, 1).error, 0);
    policy_try("dns", "{'podSelector':{},'policyTypes':['Egress'],'egress':[{'to':[{'namespaceSelector':{}}]}]}");
    CHECK_INT(world_udp(w.pods[1].ns, NODE_IP, 53, &dns, 1).error, 0);
    CHECK_INT(world_tcp(w.pods[1].ns, NODE_IP, 6443, &api, 1).error, ECONNREFUSED); /* it is no pod */
    CHECK_INT(pod_reach(1, 0), 0);
    policy_try("dns",
               "{'podSelector':{},'policyTypes':['Egress'],'egress':[{'to':[{'namespaceSelector':{'matchLabels':"
               "{'kubernetes.io/metadata.name':'kube-system'}},'podSelector':{'matchLabels':{'k8s-app':'kube-dns'}}"
               "}],'ports':[{'port':53,'protocol':'UDP'}]}]}");
    CHECK_INT(world_udp(w.pods[1].ns, NODE_IP, 53, &dns, 1).error, 0);
    CHECK_INT(pod_reach(1, 0), ECONNREFUSED);
    policy_try("api",
               "{'podSelector':{},'egress':[{'to':[{'ipBlock':{'cidr':'10.42.0.1/32'}}],'ports':[{'port':6443}]}]}");
    CHECK_INT(world_tcp(w.pods[1].ns, NODE_IP, 6443, &api, 1).error, 0);
    fences_del_pod(f, S("role/dns"));
    fences_commit(f, &w.nft);
    CHECK_INT(world_udp(w.pods[1].ns, NODE_IP, 53, &dns, 1).error, EHOSTUNREACH);
    fence_leave();
}
