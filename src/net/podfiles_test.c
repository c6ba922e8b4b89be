#include "base/test.h"
#include "net/podfiles.h"

static const struct node_dns node = {
    .cluster_ip = S_INIT("10.43.0.10"),
    .domain = S_INIT("cluster.local"),
    .resolv_conf = S_INIT(
        "# host\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch corp.example. x\noptions edns0 timeout:2\n")};

static void resolv_check(struct pod_dns pod, const struct node_dns *n, const char *want, const char *want_warning)
{
    AUTO(strbuf_fini) struct strbuf out = STRBUF(65536), warning = STRBUF(4096);
    pod_resolv_conf(&pod, n, &out, &warning);
    CHECK_STR(strbuf_str(&out), str_of(want));
    CHECK(want_warning ? str_has(strbuf_str(&warning), str_of(want_warning)) : warning.n == 0);
}

TEST(resolv_conf_by_policy)
{
    resolv_check((struct pod_dns){.ns = S("default")}, &node,
                 "search default.svc.cluster.local svc.cluster.local cluster.local corp.example x\nnameserver "
                 "10.43.0.10\noptions ndots:5\n",
                 NULL);
    resolv_check((struct pod_dns){.ns = S("default"), .host_network = true}, &node,
                 "search corp.example x\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions edns0 timeout:2\n",
                 NULL);
    resolv_check((struct pod_dns){.ns = S("default"), .policy = DNS_DEFAULT}, &node,
                 "search corp.example x\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions edns0 timeout:2\n",
                 NULL);
    resolv_check(
        (struct pod_dns){.ns = S("a"), .host_network = true, .policy = DNS_CLUSTER_FIRST_WITH_HOST_NET}, &node,
        "search a.svc.cluster.local svc.cluster.local cluster.local corp.example x\nnameserver 10.43.0.10\noptions "
        "ndots:5\n",
        NULL);
    resolv_check((struct pod_dns){.policy = DNS_NONE}, &node, "", NULL);
}

TEST(resolv_conf_merges_dns_config)
{
    static const struct str ns[] = {S_INIT("1.1.1.1"), S_INIT("10.43.0.10"), S_INIT("8.8.8.8"), S_INIT("9.9.9.9")};
    static const struct str search[] = {S_INIT("my.dns"), S_INIT("cluster.local")};
    static const struct dns_option options[] = {{S_INIT("ndots"), S_INIT("2")}, {S_INIT("edns0"), {NULL, 0}}};
    struct pod_dns pod = {.ns = S("default"),
                          .nameservers = ns,
                          .nnameservers = 2,
                          .searches = search,
                          .nsearches = 2,
                          .options = options,
                          .noptions = 2};
    struct node_dns bare = node;
    bare.resolv_conf = S("nameserver 192.0.2.1");
    resolv_check(
        pod, &bare,
        "search default.svc.cluster.local svc.cluster.local cluster.local my.dns\nnameserver 10.43.0.10\nnameserver "
        "1.1.1.1\noptions ndots:2 edns0\n",
        NULL);
    pod.nnameservers = 4;
    resolv_check(
        pod, &bare,
        "search default.svc.cluster.local svc.cluster.local cluster.local my.dns\nnameserver 10.43.0.10\nnameserver "
        "1.1.1.1\nnameserver 8.8.8.8\noptions ndots:2 edns0\n",
        "Nameserver limits were exceeded");
    pod.policy = DNS_NONE;
    pod.nnameservers = 1;
    pod.noptions = 0;
    resolv_check(pod, &bare, "search my.dns cluster.local\nnameserver 1.1.1.1\n", NULL);
}

TEST(resolv_conf_keeps_search_limits)
{
    struct str many[40];
    char text[40][100];
    for (int i = 0; i < 40; i++) {
        (void)snprintf(text[i], sizeof text[i], "d%02d.%060d", i, 0);
        many[i] = str_of(text[i]);
    }
    struct pod_dns pod = {.policy = DNS_NONE, .searches = many, .nsearches = 40};
    AUTO(strbuf_fini) struct strbuf out = STRBUF(65536), warning = STRBUF(4096);
    pod_resolv_conf(&pod, &node, &out, &warning);
    CHECK(out.n <= DNS_SEARCH_CHARS_MAX + 8 && out.n > DNS_SEARCH_CHARS_MAX - 70);
    CHECK(str_has(strbuf_str(&warning), S("Search Line limits were exceeded")));
    for (int i = 0; i < 40; i++)
        many[i] = str_sub(many[i], 0, 3);
    strbuf_reset(&out);
    strbuf_reset(&warning);
    pod_resolv_conf(&pod, &node, &out, &warning);
    CHECK(str_ends(strbuf_str(&out), S(" d31\n")) && warning.n);
}

TEST(resolv_conf_looks_behind_a_stub)
{
    struct node_dns n = node;
    n.resolv_conf = S("nameserver 127.0.0.53\noptions edns0\nsearch lan\n");
    n.behind = S("nameserver 192.0.2.53\nnameserver 127.0.0.1\n");
    resolv_check((struct pod_dns){.policy = DNS_DEFAULT}, &n, "search lan\nnameserver 192.0.2.53\noptions edns0\n",
                 NULL);
    n.behind = S("");
    resolv_check((struct pod_dns){.policy = DNS_DEFAULT}, &n, "search lan\nnameserver 127.0.0.53\noptions edns0\n",
                 NULL);
}

TEST(resolv_conf_that_cannot_be_read_is_told_to_whom_it_lacks)
{
    static const enum dns_policy lack[] = {DNS_CLUSTER_FIRST, DNS_CLUSTER_FIRST_WITH_HOST_NET, DNS_DEFAULT};
    struct node_dns n = node;
    n.resolv_conf = S("");
    n.unread = S("/etc/resolv.conf: Permission denied");
    for (size_t i = 0; i < countof(lack); i++) {
        AUTO(strbuf_fini) struct strbuf out = STRBUF(65536), warning = STRBUF(4096);
        pod_resolv_conf(&(struct pod_dns){.policy = lack[i], .ns = S("x")}, &n, &out, &warning);
        CHECK_STR(strbuf_str(&warning), S("The node's resolv.conf cannot be read, and the pod goes without it: "
                                          "/etc/resolv.conf: Permission denied"));
    }
    resolv_check((struct pod_dns){.policy = DNS_NONE}, &n, "", NULL);
}

TEST(hosts_as_kubelet_writes_it)
{
    static const struct str ip = S_INIT("10.42.0.5"), names[] = {S_INIT("foo.local"), S_INIT("bar.local")};
    static const struct host_alias alias = {S_INIT("123.45.67.89"), names, 2};
    AUTO(strbuf_fini) struct strbuf b = STRBUF(65536);
    pod_hosts(&ip, 1, S("web-0"), S("web.default.svc.cluster.local"), &alias, 1, &b);
    CHECK_STR(strbuf_str(&b),
              S("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
                "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
                "10.42.0.5\tweb-0.web.default.svc.cluster.local\tweb-0\n\n# Entries added by HostAliases.\n"
                "123.45.67.89\tfoo.local\tbar.local\n"));
    strbuf_reset(&b);
    pod_hosts(&ip, 1, S("web-0"), STR_NONE, NULL, 0, &b);
    CHECK(str_ends(strbuf_str(&b), S("ip6-allrouters\n10.42.0.5\tweb-0\n")));
    strbuf_reset(&b);
    pod_hosts_of_node(S("127.0.0.1 localhost\n"), &alias, 1, &b);
    CHECK_STR(strbuf_str(&b),
              S("# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n\n# Entries added by "
                "HostAliases.\n123.45.67.89\tfoo.local\tbar.local\n"));
}
