#include "api/codec.h"
#include "base/test.h"
#include "net/model.h"

static struct arena arena;
static const struct net_own own = {{IP4(10, 43, 0, 0), 16}, {IP4(10, 42, 0, 0), 16}};

static const struct val *json_val(const char *text)
{
    struct err err = ERR;
    struct val *v = ARENA_NEW(&arena, struct val);
    CHECK_OK(json_decode(&arena, str_of(text), v, &err), err);
    return v;
}

static struct str rules_text(const char *service, const struct val *const *slices, size_t n)
{
    static char out[8192];
    struct net_services s = {0};
    size_t len = 0;
    model_services(&arena, &own, json_val(service), slices, n, S("node-a"), &s);
    array_each (it, &s.list) {
        len += (size_t)snprintf(out + len, sizeof out - len,
                                STR_FMT "/" STR_FMT ":" STR_FMT " %u/%u np %u aff %u%s%s [", STR_ARG(it->ns),
                                STR_ARG(it->name), STR_ARG(it->port), it->port_number, it->proto, it->node_port,
                                it->affinity_s, it->internal_local ? " il" : "", it->external_local ? " el" : "");
        for (size_t i = 0; i < it->ncluster_ips; i++)
            len += (size_t)snprintf(out + len, sizeof out - len, " " IP4_FMT, IP4_ARG(it->cluster_ips[i]));
        for (size_t i = 0; i < it->nexternal_ips; i++)
            len += (size_t)snprintf(out + len, sizeof out - len, " x" IP4_FMT, IP4_ARG(it->external_ips[i]));
        len += (size_t)snprintf(out + len, sizeof out - len, " ]");
        for (size_t i = 0; i < it->nendpoints; i++)
            len += (size_t)snprintf(out + len, sizeof out - len, " " IP4_FMT ":%u%s%s", IP4_ARG(it->endpoints[i].ip),
                                    it->endpoints[i].port, it->endpoints[i].local ? "*" : "",
                                    it->endpoints[i].fallback ? "?" : "");
        len += (size_t)snprintf(out + len, sizeof out - len, "\n");
    }
    array_fini(&s.list);
    return (struct str){out, len};
}

#define SLICE(endpoints)                                                                                             \
    "{\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"http\",\"port\":8080,\"protocol\":\"TCP\"},{\"name\":\"dns\"," \
    "\"port\":53,"                                                                                                   \
    "\"protocol\":\"UDP\"}],\"endpoints\":[" endpoints "]}"
#define EP(ip, cond, node) "{\"addresses\":[\"" ip "\"],\"conditions\":{" cond "},\"nodeName\":\"" node "\"}"
#define READY              "\"ready\":true,\"serving\":true,\"terminating\":false"
#define LEAVING            "\"ready\":false,\"serving\":true,\"terminating\":true"
#define NOT_READY          "\"ready\":false,\"serving\":false,\"terminating\":false"
#define SERVICE(more)                                                                                                \
    "{\"metadata\":{\"name\":\"web\",\"namespace\":\"default\"},\"spec\":{\"clusterIP\":\"10.43.0.10\","             \
    "\"clusterIPs\":"                                                                                                \
    "[\"10.43.0.10\",\"fd00::1\"],\"ports\":[{\"name\":\"http\",\"port\":80,\"protocol\":\"TCP\",\"nodePort\":"      \
    "30080}]" more "}}"

TEST(a_service_and_its_slices_in_numbers)
{
    const struct val *slices[] = {
        json_val(SLICE(EP("10.42.0.5", READY, "node-a") "," EP("10.42.1.6", "",
                                                               "node-b") "," EP("10.42.1.7", NOT_READY, "node-b"))),
        json_val(SLICE(EP("10.42.0.5", READY, "node-a") "," EP("10.42.0.8", LEAVING, "node-a"))),
        json_val(
            "{\"addressType\":\"IPv6\",\"ports\":[{\"name\":\"http\",\"port\":80}],\"endpoints\":[{\"addresses\":["
            "\"fd00::5\"]}]}")};
    CHECK_STR(rules_text(SERVICE(""), slices, 3),
              S("default/web:http 80/6 np 30080 aff 0 [ 10.43.0.10 ] 10.42.0.5:8080* 10.42.1.6:8080\n"));
    CHECK_STR(
        rules_text(SERVICE(",\"sessionAffinity\":\"ClientIP\",\"externalTrafficPolicy\":\"Local\",\"externalIPs\":["
                           "\"192.0.2.7\"]"),
                   slices, 3),
        S("default/web:http 80/6 np 30080 aff 10800 el [ 10.43.0.10 x192.0.2.7 ] 10.42.0.5:8080* 10.42.1.6:8080\n"));
    arena_fini(&arena);
}

TEST(those_that_leave_stand_in_where_none_is_ready)
{
    const struct val *leaving = json_val(
        SLICE(EP("10.42.0.8", LEAVING, "node-a") "," EP("10.42.1.7", NOT_READY, "node-b")));
    CHECK_STR(rules_text(SERVICE(""), &leaving, 1),
              S("default/web:http 80/6 np 30080 aff 0 [ 10.43.0.10 ] 10.42.0.8:8080*\n"));
    const struct val *elsewhere = json_val(
        SLICE(EP("10.42.0.8", LEAVING, "node-a") "," EP("10.42.1.7", READY, "node-b")));
    CHECK_STR(rules_text(SERVICE(""), &elsewhere, 1),
              S("default/web:http 80/6 np 30080 aff 0 [ 10.43.0.10 ] 10.42.1.7:8080\n"));
    CHECK_STR(rules_text(SERVICE(",\"internalTrafficPolicy\":\"Local\""), &elsewhere, 1),
              S("default/web:http 80/6 np 30080 aff 0 il [ 10.43.0.10 ] 10.42.1.7:8080 10.42.0.8:8080*?\n"));
    arena_fini(&arena);
}

TEST(services_without_rules)
{
    CHECK_STR(rules_text("{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\"},\"spec\":{\"clusterIP\":\"None\","
                         "\"ports\":[{\"port\":1}]}}",
                         NULL, 0),
              S(""));
    CHECK_STR(
        rules_text("{\"metadata\":{\"name\":\"a\"},\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"x\"}}",
                   NULL, 0),
        S(""));
    CHECK_STR(
        rules_text(
            "{\"metadata\":{\"name\":\"a\",\"labels\":{\"service.kubernetes.io/service-proxy-name\":\"x\"}},\"spec\":"
            "{\"clusterIP\":\"10.43.0.1\",\"ports\":[{\"port\":1}]}}",
            NULL, 0),
        S(""));
    arena_fini(&arena);
}

TEST(addresses_of_a_load_balancer)
{
    static const struct {
        const char *ingress, *ranges, *want;
    } rows[] = {
        {"{\"ip\":\"192.0.2.9\"}", "[]", "10.43.0.10 x192.0.2.9"},
        {"{\"ip\":\"192.0.2.9\",\"ipMode\":\"VIP\"},{\"hostname\":\"lb.example\"}", "[]", "10.43.0.10 x192.0.2.9"},
        {"{\"ip\":\"192.0.2.9\",\"ipMode\":\"Proxy\"}", "[]", "10.43.0.10"},
        {"{\"ip\":\"192.0.2.9\"}", "[\"198.51.100.0/24\"]", "10.43.0.10 x192.0.2.9"},
        {"{\"ip\":\"192.0.2.9\"}", "[\"198.51.100.0/24\",\" 0.0.0.0/0 \"]", "10.43.0.10 x192.0.2.9"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct str service = arena_fmt(
            &arena,
            "{\"metadata\":{\"name\":\"lb\",\"namespace\":\"n\"},\"spec\":{\"type\":\"LoadBalancer\",\"clusterIP\":"
            "\"10.43.0.10\",\"loadBalancerSourceRanges\":%s,\"ports\":[{\"port\":1}]},\"status\":{\"loadBalancer\":{"
            "\"ingress\":[%s]}}}",
            rows[i].ranges, rows[i].ingress);
        struct str want = arena_fmt(&arena, "n/lb: 1/6 np 0 aff 0 [ %s ]\n", rows[i].want);
        CHECK_STR(rules_text(service.p, NULL, 0), want);
    }
    arena_fini(&arena);
}

TEST(what_the_nodes_serve_has_its_ports_on_all_of_their_addresses)
{
    static const char service[] =
        "{\"metadata\":{\"name\":\"lb\",\"namespace\":\"n\"},\"spec\":{\"type\":\"LoadBalancer\",\"clusterIP\":"
        "\"10.43.0.10\",\"ports\":[{\"port\":80,\"nodePort\":30001}]},\"status\":{\"loadBalancer\":{\"ingress\":[{"
        "\"ip\":\"192.0.2.9\"}]},\"conditions\":[{\"type\":\"wherry.dev/AddressAssigned\",\"status\":\"True\","
        "\"reason\":\"FromNodes\"}]}}";
    CHECK_STR(rules_text(service, NULL, 0), S("n/lb: 80/6 np 30001 aff 0 [ 10.43.0.10 x192.0.2.9 ]\n"
                                              "n/lb: of the node 80/6 np 80 aff 0 [ ]\n"));
    arena_fini(&arena);
}

#define FRONT(labels, ranges, reason)                                                                                \
    "{\"metadata\":{\"name\":\"front\",\"namespace\":\"n\",\"labels\":{" labels                                      \
    "}},\"spec\":{\"type\":\"LoadBalancer\",\"clusterIP\":\"10.43.0.10\",\"loadBalancerSourceRanges\":[" ranges      \
    "],\"ports\":[{\"port\":80,\"nodePort\":30001}]},\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":"            \
    "\"192.0.2.9\"}]},\"conditions\":[{\"type\":\"wherry.dev/"                                                       \
    "AddressAssigned\",\"status\":\"True\",\"reason\":\"" reason "\"}]}}"
#define EDGE "\"service.kubernetes.io/service-proxy-name\":\"wherry.dev-edge\""

static struct str guard_text(const char *service)
{
    static char out[8192];
    struct net_services s = {0};
    size_t len = 0;
    model_services(&arena, &own, json_val(service), NULL, 0, S("node-a"), &s);
    array_each (it, &s.list) {
        len += (size_t)snprintf(out + len, sizeof out - len, "np %u%s%s%s%s b%zu:", it->node_port,
                                it->pooled ? " pooled" : "", it->process ? " process" : "",
                                it->guarded ? " guarded" : "", it->node_port_guarded ? " np-guarded" : "",
                                it->nbalancer_ips);
        for (size_t i = 0; i < it->nsources; i++)
            len += (size_t)snprintf(out + len, sizeof out - len, " " IP4_FMT "-" IP4_FMT,
                                    IP4_ARG(it->sources[i].from), IP4_ARG(it->sources[i].to));
        len += (size_t)snprintf(out + len, sizeof out - len, "\n");
    }
    array_fini(&s.list);
    return (struct str){out, len};
}

TEST(who_may_reach_a_load_balancer)
{
    static const struct {
        const char *service, *want;
    } rows[] = {
        {FRONT("", "", "FromPool"), "np 30001 pooled b1:\n"},
        {FRONT("", "", "PoolGone"), "np 30001 pooled b1:\n"},
        {FRONT("", "\"198.51.100.7/24\",\" 10.0.0.0/8 \",\"10.1.0.0/16\",\"2001:db8::/32\"", "FromPool"),
         "np 30001 pooled guarded b1: 10.0.0.0-10.255.255.255 198.51.100.0-198.51.100.255\n"},
        {FRONT("", "\"2001:db8::/32\"", "FromPool"), "np 30001 pooled guarded b1:\n"},
        {FRONT("", "\"0.0.0.0/0\",\"10.0.0.0/8\"", "FromPool"), "np 30001 pooled b1:\n"},
        {FRONT("", "\"10.0.0.0/8\"", "FromNodes"), "np 30001 guarded b1: 10.0.0.0-10.255.255.255\n"
                                                   "np 80 guarded np-guarded b0: 10.0.0.0-10.255.255.255\n"},
        {FRONT(EDGE, "\"10.0.0.0/8\"", "FromPool"), "np 0 pooled process guarded np-guarded b1: "
                                                    "10.0.0.0-10.255.255.255\n"},
        {FRONT(EDGE, "\"10.0.0.0/8\"", "FromNodes"), "np 80 process guarded np-guarded b0: "
                                                     "10.0.0.0-10.255.255.255\n"},
        {FRONT("\"service.kubernetes.io/service-proxy-name\":\"other\"", "", "FromPool"), ""},
    };
    for (size_t i = 0; i < countof(rows); i++)
        CHECK_STR(guard_text(rows[i].service), str_of(rows[i].want));
    arena_fini(&arena);
}

TEST(endpoints_of_this_node_are_told_on_the_port_for_that)
{
    static const char *const services[] = {
        "\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Local\",\"healthCheckNodePort\":31000",
        "\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Cluster\"",
        "\"type\":\"NodePort\",\"externalTrafficPolicy\":\"Local\"",
    };
    const struct val *slices[] = {
        json_val(SLICE(EP("10.42.0.5", READY, "node-a") "," EP("10.42.1.6", READY, "node-b"))),
        json_val(SLICE(EP("10.42.0.5", READY, "node-a") "," EP("10.42.0.7", READY, "node-a"))),
        json_val(SLICE(EP("10.42.0.8", NOT_READY, "node-a") "," EP("10.42.0.9", LEAVING, "node-a")))};
    for (size_t i = 0; i < countof(services); i++) {
        size_t here;
        struct str service = arena_fmt(&arena, "{\"metadata\":{\"name\":\"lb\",\"namespace\":\"n\"},\"spec\":{%s}}",
                                       services[i]);
        CHECK_INT(model_health(json_val(service.p), slices, 3, S("node-a"), &here), i == 0 ? 31000 : 0);
        CHECK_INT(here, i == 0 ? 2 : 0);
    }
    arena_fini(&arena);
}

/* Who may make a Service in one namespace takes nobody's address elsewhere. */
TEST(external_addresses_are_none_of_the_clusters_own)
{
    static const struct {
        const char *address, *want;
    } rows[] = {
        {"192.0.2.9", " x192.0.2.9"},
        {"8.8.8.8", " x8.8.8.8"},
        {"10.43.0.1", ""}, /* the API */
        {"10.43.0.10", ""},
        {"10.43.255.255", ""},
        {"10.42.0.1", ""}, /* the node's, where DNS listens */
        {"10.42.3.7", ""},
        {"10.44.0.1", " x10.44.0.1"},
        {"127.0.0.1", ""},
        {"0.0.0.0", ""},
        {"224.0.0.1", ""},
        {"255.255.255.255", ""},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct str said[] = {
            arena_fmt(&arena, "\"externalIPs\":[\"%s\"]}", rows[i].address),
            arena_fmt(&arena,
                      "\"type\":\"LoadBalancer\"},\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"%s\"}]}}",
                      rows[i].address),
        };
        struct str want = arena_fmt(&arena, "n/x: 1/6 np 0 aff 0 [ 10.43.0.77%s ]\n", rows[i].want);
        for (size_t k = 0; k < countof(said); k++) {
            struct str service = arena_fmt(&arena,
                                           "{\"metadata\":{\"name\":\"x\",\"namespace\":\"n\"},\"spec\":{"
                                           "\"clusterIP\":\"10.43.0.77\",\"ports\":[{\"port\":1}]," STR_FMT "}",
                                           STR_ARG(said[k]));
            CHECK_STR(rules_text(service.p, NULL, 0), want);
        }
    }
    arena_fini(&arena);
}

TEST(host_ports_are_at_no_address_of_the_clusters_own)
{
    static const char *const addresses[] = {"10.43.0.10", "10.43.0.1", "10.42.0.1", "10.42.0.9"};
    for (size_t i = 0; i < countof(addresses); i++) {
        struct net_services s = {0};
        model_host_ports(
            &arena, &own,
            json_val(arena_fmt(&arena,
                               "{\"spec\":{\"containers\":[{\"ports\":[{\"containerPort\":53,\"hostPort\":53,"
                               "\"hostIP\":\"%s\"}]}]}}",
                               addresses[i])
                         .p),
            IP4(10, 42, 0, 5), &s);
        CHECK_INT(s.list.n, 0);
    }
    arena_fini(&arena);
}

TEST(slices_that_say_that_they_are_not_routed)
{
    static const char *const labels[] = {"headless", "service-proxy-name"};
    for (size_t i = 0; i < countof(labels); i++) {
        const struct val *one = json_val(
            arena_fmt(&arena,
                      "{\"metadata\":{\"labels\":{\"service.kubernetes.io/%s\":\"\"}},\"addressType\":"
                      "\"IPv4\",\"ports\":[{\"name\":\"http\",\"port\":8080,\"protocol\":\"TCP\"}],"
                      "\"endpoints\":[{\"addresses\":[\"10.42.0.8\"]}]}",
                      labels[i])
                .p);
        CHECK_STR(rules_text(SERVICE(""), &one, 1), S("default/web:http 80/6 np 30080 aff 0 [ 10.43.0.10 ]\n"));
    }
    arena_fini(&arena);
}

TEST(host_ports_of_a_pod)
{
    struct net_services s = {0};
    model_host_ports(
        &arena, &own,
        json_val(
            "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\"},\"spec\":{\"containers\":[{\"ports\":[{"
            "\"containerPort\":80,"
            "\"hostPort\":8080},{\"containerPort\":53,\"hostPort\":53,\"hostIP\":\"192.0.2.2\",\"protocol\":\"UDP\"},"
            "{\"containerPort\":1},{\"containerPort\":2,\"hostPort\":2,\"hostIP\":\"::1\"}]}]}}"),
        IP4(10, 42, 0, 5), &s);
    CHECK_INT(s.list.n, 2);
    CHECK_INT(s.list.p[0].node_port, 8080);
    CHECK_INT(s.list.p[0].endpoints[0].port, 80);
    CHECK(s.list.p[1].node_port == 0 && s.list.p[1].external_ips[0] == IP4(192, 0, 2, 2) &&
          s.list.p[1].proto == NET_UDP);
    CHECK(!str_eq(s.list.p[0].port, s.list.p[1].port));
    array_fini(&s.list);
    arena_fini(&arena);
}

TEST(names_of_a_service)
{
    struct dns_service d;
    const struct val *slice = json_val(
        SLICE("{\"addresses\":[\"10.42.0.5\"],\"hostname\":\"db-0\",\"conditions\":{}}," EP("10.42.0.8", LEAVING,
                                                                                            "node-a")));
    CHECK(model_dns(&arena, json_val(SERVICE("")), &slice, 1, &d));
    CHECK(d.ncluster_ips == 1 && d.nports == 1 && d.nendpoints == 0 && str_eq(d.ports[0].name, S("http")));
    CHECK(model_dns(
        &arena, json_val("{\"metadata\":{\"name\":\"db\",\"namespace\":\"n\"},\"spec\":{\"clusterIP\":\"None\"}}"),
        &slice, 1, &d));
    CHECK(d.ncluster_ips == 0 && d.nendpoints == 1 && str_eq(d.endpoints[0].hostname, S("db-0")) &&
          d.endpoints[0].nports == 2);
    CHECK(model_dns(&arena,
                    json_val("{\"metadata\":{\"name\":\"e\",\"namespace\":\"n\"},\"spec\":{\"type\":\"ExternalName\","
                             "\"externalName\":\"x.example\"}}"),
                    NULL, 0, &d));
    CHECK_STR(d.external_name, S("x.example"));
    arena_fini(&arena);
}
