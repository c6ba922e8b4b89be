/* fence_nft_test.c - policies tried with packets. */
#include "net/fence_model_test.h"
#include "net/fence_world_test.h"
#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>

static struct fences *f;

/* web 10.42.0.5, client 10.42.0.6 in default; other 10.42.0.7 in other; all serve on 8080 */
static void fence_enter(void)
{
    table_enter();
    struct net_service web = web_service(1);
    service_commit(&web);
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

/* ---- no moment in between ---- */

struct hammer {
    pid_t pid;
    int from, want;
};
struct hammers_shared {
    volatile bool end;
    volatile unsigned tries[2], refused; /* refused: of who is let in */
};

static NORETURN void hammer_run(const struct hammer *h, struct hammers_shared *shared, size_t i)
{
    for (; !shared->end; shared->tries[i]++) {
        int have = pod_reach(h->from, 0);
        if (have == ECONNREFUSED && h->want == 0)
            shared->refused++;
        else if (have != h->want)
            test_failed(__FILE__, __LINE__, "pod %d, try %u: %s instead of %s", h->from, shared->tries[i],
                        have ? strerror(have) : "reached", h->want ? strerror(h->want) : "reached");
    }
    _exit(0);
}

/* Always fenced, the client always let in, the other never; how that is said changes all the time. A packet that is
 * between a chain and its sets when the kernel takes a transaction sees the chain of before and the sets of after it
 * (nft_do_chain reads the generation once, lookups read it anew), and is refused: few are, and none is let in. */
TEST(nobody_slips_through_while_policies_change)
{
    static const char *const selectors[] = {"{}", "{'matchLabels':{'app':'web'}}"};
    static const char *const peers[] = {"{'podSelector':{}}", "{'podSelector':{'matchLabels':{'app':'client'}}}",
                                        "{'ipBlock':{'cidr':'10.42.0.6/32'}}",
                                        "{'ipBlock':{'cidr':'10.42.0.0/16','except':['10.42.0.7/32']}}"};
    static const char *const ports[] = {"", "{'port':8080}", "{'port':'http'}", "{'port':1,'endPort':9000}"};
    fence_enter();
    struct hammers_shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                                         0);
    CHECK(shared != MAP_FAILED);
    struct hammer hammers[] = {{.from = 1, .want = 0}, {.from = 2, .want = ECONNREFUSED}};
    struct model m = {.seed = 7};
    char spec[1000];
    const char *storm = getenv("STORM");
    int64_t until = clock_mono() + (storm ? 20000 : 700) * NS_PER_MS;
    unsigned changes = 0;
    for (; clock_mono() < until; changes++) {
        (void)snprintf(spec, sizeof spec, "{'podSelector':%s,'ingress':[{'from':[%s],'ports':[%s]}]}",
                       selectors[model_draw(&m, 2)], peers[model_draw(&m, 4)], ports[model_draw(&m, 4)]);
        const char *now = changes % 2 ? "a" : "b", *then = changes % 2 ? "b" : "a";
        put_policy(f, "default", now, spec);
        if (model_draw(&m, 2)) /* another policy in its place, in one go */
            fences_del_policy(f, S("default"), str_of(then));
        if (model_draw(&m, 4) == 0)
            put_policy(f, "default", "deny", "{'podSelector':{'matchLabels':{'app':'web'}}}");
        else if (model_draw(&m, 4) == 0)
            fences_del_policy(f, S("default"), S("deny"));
        put_pod(f, "default", "client", w.pods[1].ip,
                model_draw(&m, 2) ? "{'app':'client','v':'1'}" : "{'app':'client'}");
        if (model_draw(&m, 30) == 0)
            fences_load(f, &w.nft); /* a new generation, as after a restart */
        else
            fences_commit(f, &w.nft);
        for (size_t i = 0; i < countof(hammers) && changes == 0; i++) {
            hammers[i].pid = fork();
            CHECK(hammers[i].pid >= 0);
            if (hammers[i].pid == 0)
                hammer_run(&hammers[i], shared, i);
        }
    }
    shared->end = true;
    for (size_t i = 0; i < countof(hammers); i++) {
        int status = -1;
        CHECK(waitpid(hammers[i].pid, &status, 0) == hammers[i].pid && status == 0);
    }
    CHECK(shared->tries[0] > 10 && shared->tries[1] > 10 && changes > 20);
    if (shared->refused > 1 + shared->tries[0] / 1000)
        test_failed(__FILE__, __LINE__, "%u of %u were refused", shared->refused, shared->tries[0]);
    fence_leave();
}

/* ---- the kernel against what policies say ---- */

static void connections_forget(void)
{
    struct connections all;
    struct err err = ERR;
    CHECK_OK(conntrack_list(NULL, 0, &all, &err), err);
    CHECK_OK(conntrack_cut(all.list.p, all.list.n, &err), err);
    array_fini(&all.list);
}

TEST(the_kernel_does_what_policies_say)
{
    fence_enter();
    world_run("echo 0 >/proc/sys/net/ipv4/icmp_ratelimit"); /* else what is refused waits for nothing */
    struct model m = {.seed = 11};
    const char *storm = getenv("STORM");
    for (int i = 0; i < 3; i++) {
        m.namespaces[i] = (struct model_ns){.known = true, .labels = i};
        m.pods[i] = (struct model_pod){
            .there = true, .local = true, .ns = i % 2, .labels = i, .ip = w.pods[i].ip, .ports = 2};
    }
    fences_free(f);
    f = fences_new();
    model_put_all(&m, f);
    fences_load(f, &w.nft);
    for (int round = 0; round < (storm ? 1000 : 40); round++) {
        for (int i = 0; i < 4; i++)
            model_random_policy(&m, f, i);
        m.pods[round % 3].labels = (int)model_draw(&m, 6);
        model_put_pod(&m, f, round % 3);
        fences_commit(f, &w.nft);
        connections_forget(); /* a datagram may have the port of one that was allowed before */
        for (int i = 0; i < 3; i++) {
            for (int j = 0; j < 3; j++) {
                bool tcp = model_allows(&m, w.pods[i].ip, w.pods[j].ip, NET_TCP, 8080);
                bool udp = model_allows(&m, w.pods[i].ip, w.pods[j].ip, NET_UDP, 8080);
                AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
                if (i == j || (tcp == (pod_reach(i, j) == 0) && udp == (pod_reach_udp(i, j) == 0)))
                    continue;
                model_text(&m, &b);
                test_failed(__FILE__, __LINE__, "%d to %d: tcp should be %d, udp %d\n" STR_FMT, i, j, tcp, udp,
                            STR_ARG(strbuf_str(&b)));
            }
        }
    }
    model_fini(&m);
    fence_leave();
}

TEST(a_pod_cannot_take_another_address_to_get_in)
{
    fence_enter();
    policy_try("a", "{'podSelector':{'matchLabels':{'app':'web'}},'ingress':[{'from':[{'podSelector':{}}]}]}");
    CHECK_INT(pod_reach_udp(2, 0), EHOSTUNREACH);
    world_run("for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done"); /* as hosts may have it */
    world_run("nsenter --net=/proc/%d/fd/%d sh -c 'ip addr add %u.%u.%u.%u/32 dev lo'", (int)getpid(), w.pods[2].ns,
              IP4_ARG(w.pods[1].ip));
    int fd = world_listen(w.pods[2].ns, SOCK_DGRAM, 0, w.pods[1].ip, 999);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(8080), .sin_addr.s_addr = htonl(w.pods[0].ip)};
    char c;
    CHECK(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to) == 1);
    struct timeval patience = {.tv_usec = 200000};
    CHECK(setsockopt(w.udp[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    CHECK(recv(w.udp[0], &c, 1, 0) < 0);
    CHECK_INT(pod_reach_udp(1, 0), 0); /* whose it is */
    fence_leave();
}
