/* netpol_table_test.c - what policies mean, as tables: nine pods in three namespaces and one address outside, who
 * tries to reach each other (tests/net/netpol.txt). Both who explains policies (api/netpolicy.h) and who enforces
 * them must know the same answer.
 *
 *   policy NS/NAME SPEC | delete NS/NAME | pod NS/POD LABEL=VALUE | namespace NS [LABEL=VALUE]
 *   try PROTOCOL PORT: FROM > TO yes|no; ...    everybody may, but for these, of which the last one that fits counts
 */
#include "api/netpolicy.h"
#include "net/fence_world_test.h"
#include <netinet/in.h>

enum { ENDS = 10, OUT = 9 };
static const char namespaces_of[] = "xyz", pods_of[] = "abc";
static const struct fence_port served[] = {{S_INIT("serve-80-tcp"), NET_TCP, 80},
                                           {S_INIT("serve-81-tcp"), NET_TCP, 81},
                                           {S_INIT("serve-80-udp"), NET_UDP, 80},
                                           {S_INIT("serve-81-udp"), NET_UDP, 81}};
static const char containers[] = "[{'ports':[{'name':'serve-80-tcp','containerPort':80},{'name':'serve-81-tcp','"
                                 "containerPort':81,'protocol':'TCP'}]},"
                                 "{'ports':[{'name':'serve-80-udp','containerPort':80,'protocol':'UDP'},"
                                 "{'name':'serve-81-udp','containerPort':81,'protocol':'UDP'}]}]";

struct table {
    struct fences *fences;
    const struct val *pods[9], *namespaces[3]; /* labels */
    struct map policies;                       /* NS/NAME -> struct obj */
};

static uint32_t end_ip(int i)
{
    return i == OUT ? IP4(192, 0, 2, 1) : IP4(10, 42, 0, 10) + (uint32_t)i;
}

static const struct val *labels_with(const char *key, char name, struct str more)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1000);
    struct str k, v;
    strbuf_addf(&b, "{'%s':'%c'", key, name);
    if (str_split(more, '=', &k, &v))
        strbuf_addf(&b, ",'" STR_FMT "':'" STR_FMT "'", STR_ARG(k), STR_ARG(v));
    strbuf_addz(&b, "}");
    return fence_val(b.p);
}

static void pod_set(struct table *t, int i, struct str more)
{
    char name[] = {namespaces_of[i / 3], '/', pods_of[i % 3], 0};
    t->pods[i] = labels_with("pod", pods_of[i % 3], more);
    fences_put_pod(t->fences, &(struct fence_pod){.uid = str_of(name),
                                                  .ns = {name, 1},
                                                  .name = {name + 2, 1},
                                                  .labels = t->pods[i],
                                                  .ip = end_ip(i),
                                                  .local = true,
                                                  .ports = served,
                                                  .nports = countof(served)});
}

static void namespace_set(struct table *t, int i, struct str more)
{
    t->namespaces[i] = labels_with("kubernetes.io/metadata.name", namespaces_of[i], more);
    fences_put_namespace(t->fences, (struct str){&namespaces_of[i], 1}, t->namespaces[i]);
}

/* "x/a", "x", "*", "out" */
static bool end_fits(struct str s, int i)
{
    if (str_eqz(s, "*"))
        return i != OUT;
    if (i == OUT)
        return str_eqz(s, "out");
    return s.n && s.p[0] == namespaces_of[i / 3] && (s.n == 1 || (s.n == 3 && s.p[2] == pods_of[i % 3]));
}

static bool is_expected(struct str rows, int from, int to)
{
    struct str row, a, b, verdict, rest = rows;
    bool yes = true;
    while (str_cut(&rest, ';', &row)) {
        row = str_trim(row);
        if (!row.n)
            continue;
        CHECK(str_cut(&row, ' ', &a) && str_cut(&row, ' ', &b) && str_eqz(b, ">") && str_cut(&row, ' ', &b) &&
              str_cut(&row, ' ', &verdict));
        if (end_fits(a, from) && end_fits(b, to))
            yes = str_eqz(verdict, "yes");
    }
    return yes;
}

static struct netpolicy_end end_of(const struct table *t, int i)
{
    struct netpolicy_end e = {.ip = end_ip(i)};
    if (i == OUT)
        return e;
    e.ns = (struct str){&namespaces_of[i / 3], 1};
    e.ns_labels = t->namespaces[i / 3];
    e.labels = t->pods[i];
    e.containers = fence_val(containers);
    return e;
}

static bool way_says(const struct table *t, int self, int other, bool egress, uint8_t proto, uint16_t port)
{
    struct netpolicy_end s = end_of(t, self), o = end_of(t, other);
    bool isolated = false;
    map_each (it, &t->policies) {
        if (self == OUT || !netpolicy_isolates(it->value, s.ns, s.labels, egress))
            continue;
        isolated = true;
        if (netpolicy_allows(it->value, &s, &o, egress, proto, port))
            return true;
    }
    return !isolated;
}

static void pairs_try(struct table *t, struct str line, struct strbuf *out)
{
    struct str head, rows, proto, number;
    uint64_t port;
    CHECK(str_split(line, ':', &head, &rows) && str_split(head, ' ', &proto, &number));
    CHECK(str_to_u64(number, UINT16_MAX, &port));
    uint8_t p = str_eqz(proto, "tcp") ? IPPROTO_TCP : str_eqz(proto, "udp") ? IPPROTO_UDP : IPPROTO_SCTP;
    if (str_eqz(proto, "icmp"))
        p = IPPROTO_ICMP;
    struct fence_diff d;
    fences_diff(t->fences, &d);
    fence_diff_fini(&d);
    size_t refused = 0;
    for (int i = 0; i < ENDS; i++) {
        for (int j = 0; j < ENDS; j++) {
            bool want = is_expected(rows, i, j);
            bool says = way_says(t, i, j, true, p, (uint16_t)port) && way_says(t, j, i, false, p, (uint16_t)port);
            bool does = fences_allow(t->fences, end_ip(i), end_ip(j), p, (uint16_t)port);
            if (i == j || (i == OUT && !str_has(rows, S("out >"))) || (j == OUT && !str_has(rows, S("> out"))))
                continue; /* a pod to itself, and outside where the case does not speak of it */
            refused += !want;
            if (says != want || does != want)
                strbuf_addf(out, "%d to %d should be %s; policies say %s, fences %s\n", i, j, want ? "yes" : "no",
                            says ? "yes" : "no", does ? "yes" : "no");
        }
    }
    strbuf_addf(out, STR_FMT ": %zu refused\n", STR_ARG(head), refused);
}

static int pod_named(struct str s)
{
    for (int i = 0; i < 9; i++)
        if (s.n == 3 && end_fits(s, i))
            return i;
    CHECK(!"a pod");
    return -1;
}

static void step_run(struct table *t, struct str line, struct strbuf *out)
{
    struct str verb, name, rest, ns, last;
    (void)str_split(line, ' ', &verb, &line); /* every line has a verb and more */
    if (str_eqz(verb, "try")) {
        pairs_try(t, line, out);
        return;
    }
    if (!str_split(line, ' ', &name, &rest))
        rest = S("");
    if (str_eqz(verb, "pod")) {
        pod_set(t, pod_named(name), rest);
    } else if (str_eqz(verb, "namespace")) {
        namespace_set(t, name.p[0] - 'x', rest);
    } else {
        CHECK(str_split(name, '/', &ns, &last));
        AUTO_FREE char *n = str_dupz(ns), *l = str_dupz(last), *spec = str_dupz(rest);
        struct obj *o = str_eqz(verb, "policy") ? fence_policy_obj(n, l, spec) : NULL;
        struct err err = ERR;
        if (o)
            CHECK_OK(fences_put_policy(t->fences, o, &err), err);
        else
            fences_del_policy(t->fences, ns, last);
        obj_unref(o ? map_put(&t->policies, name, o) : map_del(&t->policies, name));
    }
}

static void table_answer(struct str input, struct strbuf *out)
{
    struct table t = {.fences = fences_new()};
    struct str line;
    for (int i = 0; i < 3; i++)
        namespace_set(&t, i, S(""));
    for (int i = 0; i < 9; i++)
        pod_set(&t, i, S(""));
    while (str_cut(&input, '\n', &line))
        if (line.n)
            step_run(&t, line, out);
    map_each (it, &t.policies)
        obj_unref(it->value);
    map_fini(&t.policies);
    fences_free(t.fences);
}

TEST(policies_mean_what_tables_say)
{
    test_transcript("tests/net/netpol.txt", table_answer);
}
