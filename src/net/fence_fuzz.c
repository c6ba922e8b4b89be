/* fence_fuzz.c - any NetworkPolicies, one a line, whether the API would take them or not: who enforces them and who
 * explains them must agree for every pair of three pods and two addresses outside, and nothing may be left of them
 * when they have gone. */
#include "api/codec.h"
#include "api/netpolicy.h"
#include "net/fence_diff.h"
#include "net/service.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { POLICIES_MOST = 4, PODS = 3, ENDS = 5 };

static const struct {
    const char *ns, *labels, *containers;
    uint32_t ip;
} ends[ENDS] = {
    {"x", "{\"pod\":\"a\"}", "[{\"ports\":[{\"name\":\"http\",\"containerPort\":80}]}]", IP4(10, 42, 0, 2)},
    {"x", "{\"pod\":\"b\",\"app\":\"web\"}", "[{\"ports\":[{\"name\":\"http\",\"containerPort\":80}]}]",
     IP4(10, 42, 0, 3)},
    {"y", "{}", "[{\"ports\":[{\"name\":\"http\",\"containerPort\":80}]}]", IP4(10, 42, 0, 4)},
    {"", "{}", "[]", IP4(192, 0, 2, 1)},
    {"", "{}", "[]", IP4(255, 255, 255, 255)},
};

static const struct val *json_of(struct arena *a, const char *text)
{
    struct err err = ERR;
    struct val *v = ARENA_NEW(a, struct val);
    ASSERT(json_decode(a, str_of(text), v, &err));
    return v;
}

static const struct val *namespace_labels(struct arena *a, const char *ns)
{
    return json_of(a, *ns == 'x' ? "{\"name\":\"x\"}" : "{\"name\":\"y\",\"team\":\"b\"}");
}

static struct obj *policy_read(struct arena *a, struct str line)
{
    struct err err = ERR;
    struct val tree;
    if (!type_decode_json(a, K(NetworkPolicy)->type, line, &tree, NULL, &err))
        return NULL;
    struct val *meta = val_need_map(a, &tree, N(metadata));
    val_set_text(a, meta, N(name), S("p"));
    val_set_text(a, meta, N(namespace), S("x"));
    return obj_new(K(NetworkPolicy), &tree, 1);
}

static struct netpolicy_end end_of(struct arena *a, int i)
{
    struct netpolicy_end e = {.ns = str_of(ends[i].ns), .ip = ends[i].ip, .labels = json_of(a, ends[i].labels)};
    e.containers = json_of(a, ends[i].containers);
    e.ns_labels = i < PODS ? namespace_labels(a, ends[i].ns) : NULL;
    return e;
}

static bool way_says(struct arena *a, const struct obj *o, int self, int other, bool egress, uint8_t proto,
                     uint16_t port)
{
    struct netpolicy_end s = end_of(a, self), t = end_of(a, other);
    return self >= PODS || !netpolicy_isolates(o, s.ns, s.labels, egress) ||
           netpolicy_allows(o, &s, &t, egress, proto, port);
}

static void pairs_compare(struct arena *a, const struct fences *f, const struct obj *o)
{
    static const struct {
        uint8_t proto;
        uint16_t port;
    } tried[] = {{NET_TCP, 80}, {NET_UDP, 53}, {NET_SCTP, 65535}, {1, 0}};
    for (int i = 0; i < ENDS; i++)
        for (int j = 0; j < ENDS; j++)
            for (size_t k = 0; k < countof(tried) && i != j; k++) {
                bool says = way_says(a, o, i, j, true, tried[k].proto, tried[k].port) &&
                            way_says(a, o, j, i, false, tried[k].proto, tried[k].port);
                ASSERT(says == fences_allow(f, ends[i].ip, ends[j].ip, tried[k].proto, tried[k].port));
            }
}

static void pods_put(struct arena *a, struct fences *f)
{
    static const struct fence_port port = {S_INIT("http"), NET_TCP, 80};
    for (int i = 0; i < PODS; i++) {
        fences_put_namespace(f, str_of(ends[i].ns), namespace_labels(a, ends[i].ns));
        fences_put_pod(f, &(struct fence_pod){.uid = arena_fmt(a, "u%d", i),
                                              .ns = str_of(ends[i].ns),
                                              .labels = json_of(a, ends[i].labels),
                                              .ip = ends[i].ip,
                                              .local = true,
                                              .ports = &port,
                                              .nports = 1});
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(fences_free) struct fences *f = fences_new();
    struct str rest = {(const char *)data, size}, line;
    struct fence_diff d;
    if (size > 1 << 16)
        return 0;
    fences_begin(f, &(struct fence_kernel){.gen = 1});
    pods_put(&a, f);
    for (int n = 0; n < POLICIES_MOST && str_cut(&rest, '\n', &line); n++) {
        AUTO(obj_unref) struct obj *o = policy_read(&a, line);
        struct err err = ERR;
        if (!o)
            continue;
        bool ok = fences_put_policy(f, o, &err);
        ASSERT(ok || err.text[0]);
        fences_diff(f, &d);
        fence_diff_fini(&d);
        if (ok)
            pairs_compare(&a, f, o);
    }
    fences_del_policy(f, S("x"), S("p"));
    fences_diff(f, &d);
    fence_diff_fini(&d);
    ASSERT(fences_elements(f) == 0);
    return 0;
}
