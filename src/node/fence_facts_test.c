#include "api/codec.h"
#include "base/test.h"
#include "net/service.h"
#include "node/fence_facts.h"

static struct obj *pod_of(struct arena *a, const char *spec, const char *status)
{
    struct err err = ERR;
    struct val v;
    CHECK_OK(json_decode(
                 a,
                 arena_fmt(a,
                           "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":"
                           "\"shop\",\"uid\":\"u\",\"labels\":{\"app\":\"web\"},\"annotations\":{\"long\":\"text\"}},"
                           "\"spec\":%s,\"status\":%s}",
                           spec, status),
                 &v, &err),
             err);
    return obj_new(K(Pod), &v, 7);
}

#define RUNS                                                                                                         \
    "{\"phase\":\"Running\",\"podIP\":\"10.42.0.7\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}"

TEST(who_is_a_peer)
{
    static const struct {
        const char *spec, *status;
        bool is;
    } rows[] = {
        {"{}", RUNS, true},
        {"{\"hostNetwork\":true}", RUNS, false},
        {"{\"hostNetwork\":false}", RUNS, true},
        {"{}", "{\"phase\":\"Pending\"}", false},
        {"{}", "{\"phase\":\"Pending\",\"podIP\":\"10.42.0.7\"}", true},
        {"{}", "{\"phase\":\"Succeeded\",\"podIP\":\"10.42.0.7\"}", false},
        {"{}", "{\"phase\":\"Failed\",\"podIP\":\"10.42.0.7\"}", false},
        {"{}", "{\"phase\":\"Running\",\"podIP\":\"fd00::7\"}", false},
        {"{}", "{\"phase\":\"Running\",\"podIP\":\"10.42.0.07\"}", false},
    };
    AUTO(arena_fini) struct arena a = ARENA;
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(obj_unref) struct obj *o = pod_of(&a, rows[i].spec, rows[i].status);
        AUTO(obj_unref) struct obj *small = fence_facts_trim(o);
        struct fence_port ports[FENCE_PORTS];
        struct fence_pod p;
        if (fence_facts_pod(o, ports, &p) != rows[i].is || fence_facts_pod(small, ports, &p) != rows[i].is)
            test_failed(__FILE__, __LINE__, "row %zu", i);
        CHECK(!rows[i].is || p.ip == 0x0a2a0007);
    }
}

TEST(ports_by_name_of_what_runs_beside_each_other)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(obj_unref)
    struct obj *o = pod_of(
        &a,
        "{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"env\":[{\"name\":\"SECRET\",\"value\":\"x\"}],"
        "\"ports\":[{\"name\":\"web\",\"containerPort\":80},{\"containerPort\":81},"
        "{\"name\":\"dns\",\"containerPort\":53,\"protocol\":\"UDP\"}]},{\"name\":\"plain\"}],"
        "\"initContainers\":[{\"name\":\"first\",\"ports\":[{\"name\":\"gone\",\"containerPort\":1}]},"
        "{\"name\":\"side\",\"restartPolicy\":\"Always\",\"ports\":[{\"name\":\"proxy\","
        "\"containerPort\":15001,\"protocol\":\"TCP\"}]}]}",
        RUNS);
    AUTO(obj_unref) struct obj *small = fence_facts_trim(o);
    struct fence_port ports[FENCE_PORTS];
    struct fence_pod p;
    for (int trimmed = 0; trimmed < 2; trimmed++) {
        CHECK(fence_facts_pod(trimmed ? small : o, ports, &p));
        CHECK_INT(p.nports, 3);
        CHECK_STR(p.ports[0].name, S("web"));
        CHECK_INT(p.ports[1].proto, NET_UDP);
        CHECK_INT(p.ports[2].port, 15001);
        CHECK_STR(p.uid, S("u"));
        CHECK_STR(val_text(val_get_str(p.labels, S("app"))), S("web"));
    }
    CHECK_INT(small->rev, 7);
    CHECK(!val_get(obj_meta(small), N(annotations)));
    CHECK(!val_at(val_item(val_get(obj_spec(small), N(containers)), 0), N(env)));
    CHECK(small->bytes < o->bytes);
}

TEST(counts_as_prometheus_reads_them)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096);
    const struct fence_count counts[] = {{S("shop"), S("deny"), false, 3, 180}, {S("x"), S("out"), true, 1, 60}};
    fence_facts_counts(&b, counts, 0);
    CHECK_INT(b.n, 0);
    fence_facts_counts(&b, counts, 2);
    CHECK(str_has(strbuf_str(&b), S("# TYPE wherry_network_policy_refused_packets_total counter\n"
                                    "wherry_network_policy_refused_packets_total{namespace=\"shop\",policy=\"deny\","
                                    "direction=\"ingress\"} 3\n")));
    CHECK(str_has(strbuf_str(&b), S("wherry_network_policy_refused_bytes_total{namespace=\"x\",policy=\"out\","
                                    "direction=\"egress\"} 60\n")));
}
