/* fence_model_test.c - see fence_model_test.h */
#include "net/fence_model_test.h"
#include "api/netpolicy.h"

const char *const model_namespaces[MODEL_NAMESPACES] = {"x", "y", "z"};
const uint32_t model_outside[3] = {IP4(192, 0, 2, 1), IP4(192, 0, 2, 200), IP4(10, 42, 0, 1)};
static const char *const labels_of[] = {"{}",        "{'a':'1'}",         "{'a':'2'}",
                                        "{'b':'1'}", "{'a':'1','b':'1'}", "{'a':'2','b':'2'}"};
static const char *const selectors[] = {
    "{}",
    "{'matchLabels':{'a':'1'}}",
    "{'matchLabels':{'a':'2'}}",
    "{'matchLabels':{'a':'1','b':'1'}}",
    "{'matchExpressions':[{'key':'a','operator':'In','values':['1','2']}]}",
    "{'matchExpressions':[{'key':'a','operator':'NotIn','values':['1']}]}",
    "{'matchExpressions':[{'key':'b','operator':'Exists'}]}",
    "{'matchExpressions':[{'key':'b','operator':'DoesNotExist'}]}",
    "{'matchLabels':{'b':'1'},'matchExpressions':[{'key':'a','operator':'Exists'}]}",
};
static const char *const blocks[] = {
    "{'cidr':'0.0.0.0/0'}",
    "{'cidr':'192.0.2.0/24','except':['192.0.2.128/25']}",
    "{'cidr':'10.42.0.0/16','except':['10.42.0.2/31','10.42.0.3/32']}",
    "{'cidr':'10.42.0.7/30'}",
    "{'cidr':'192.0.2.0/24','except':['192.0.2.0/24']}",
    "{'cidr':'fd00::/8'}",
};
static const char *const ports[] = {
    "{'port':80}",
    "{'port':'http'}",
    "{'port':53,'protocol':'UDP'}",
    "{'port':'dns','protocol':'UDP'}",
    "{'port':70,'endPort':100}",
    "{'protocol':'SCTP'}",
    "{'port':8080,'endPort':8081}",
};
static const struct fence_port ports_of[2][2] = {{{S_INIT("http"), NET_TCP, 80}},
                                                 {{S_INIT("http"), NET_TCP, 8080}, {S_INIT("dns"), NET_UDP, 53}}};
static const char *const containers_of[] = {"[]", "[{'ports':[{'name':'http','containerPort':80}]}]",
                                            "[{'ports':[{'name':'http','containerPort':8080,'protocol':'TCP'}]},"
                                            "{'ports':[{'name':'dns','containerPort':53,'protocol':'UDP'}]}]"};

uint32_t model_draw(struct model *m, uint32_t below)
{
    m->seed = m->seed * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)(m->seed >> 4) * below >> 28);
}

#define DRAW(m, list) (list)[model_draw((m), countof(list))]

static void peers_draw(struct model *m, struct strbuf *b, const char *name)
{
    uint32_t n = model_draw(m, 4);
    if (n == 3)
        return;
    strbuf_addf(b, ",'%s':[", name);
    for (uint32_t i = 0; i < n; i++) {
        static const char *const kinds_of_peer[] = {"P", "N", "NP", "B"};
        const char *kind = DRAW(m, kinds_of_peer);
        strbuf_addz(b, i ? ",{" : "{");
        if (*kind == 'B')
            strbuf_addf(b, "'ipBlock':%s", DRAW(m, blocks));
        if (*kind == 'N')
            strbuf_addf(b, "'namespaceSelector':%s%s", DRAW(m, selectors), kind[1] ? "," : "");
        if (*kind == 'P' || kind[1])
            strbuf_addf(b, "'podSelector':%s", DRAW(m, selectors));
        strbuf_addz(b, "}");
    }
    strbuf_addz(b, "]");
}

static void rules_draw(struct model *m, struct strbuf *b, bool egress)
{
    uint32_t n = model_draw(m, 4);
    if (n == 3)
        return;
    strbuf_addf(b, ",'%s':[", egress ? "egress" : "ingress");
    for (uint32_t i = 0; i < n; i++) {
        strbuf_addf(b, "%s{'ports':[", i ? "," : "");
        for (uint32_t j = 0, k = model_draw(m, 3); j < k; j++)
            strbuf_addf(b, "%s%s", j ? "," : "", DRAW(m, ports));
        strbuf_addz(b, "]");
        peers_draw(m, b, egress ? "to" : "from");
        strbuf_addz(b, "}");
    }
    strbuf_addz(b, "]");
}

void model_random_policy(struct model *m, struct fences *f, int i)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    static const char *const types[] = {"", ",'policyTypes':['Ingress']", ",'policyTypes':['Egress']",
                                        ",'policyTypes':['Ingress','Egress']"};
    struct err err = ERR;
    char name[8];
    strbuf_addf(&b, "{'podSelector':%s", model_draw(m, 2) ? "{}" : DRAW(m, selectors));
    strbuf_addz(&b, DRAW(m, types));
    rules_draw(m, &b, false);
    rules_draw(m, &b, true);
    strbuf_addz(&b, "}");
    (void)snprintf(name, sizeof name, "p%d", i);
    obj_unref(m->policies[i]);
    m->policies[i] = fence_policy_obj(model_namespaces[i % MODEL_NAMESPACES], name, b.p);
    CHECK_OK(fences_put_policy(f, m->policies[i], &err), err);
}

void model_put_pod(const struct model *m, struct fences *f, int i)
{
    const struct model_pod *p = &m->pods[i];
    char uid[8];
    (void)snprintf(uid, sizeof uid, "u%d", i);
    struct fence_pod pod = {.uid = str_of(uid),
                            .ns = str_of(model_namespaces[p->ns]),
                            .name = str_of(uid),
                            .labels = fence_val(labels_of[p->labels]),
                            .ip = p->ip ? p->ip : p->lost,
                            .local = p->local,
                            .only_ports = p->only_ports,
                            .ports = p->ports ? ports_of[p->ports - 1] : NULL,
                            .nports = (size_t)p->ports};
    fences_put_pod(f, &pod);
}

static void pod_takes(struct model *m, int i, uint32_t ip)
{
    for (int j = 0; j < MODEL_PODS && ip; j++) {
        if (j == i || !m->pods[j].there || m->pods[j].ip != ip)
            continue;
        m->pods[j].ip = 0;
        m->pods[j].lost = ip;
    }
    m->pods[i].ip = ip;
    m->pods[i].lost = 0;
    m->pods[i].since = ++m->comings;
}

static bool ip_is_held(const struct model *m, uint32_t ip)
{
    for (int j = 0; j < MODEL_PODS; j++)
        if (m->pods[j].there && m->pods[j].ip == ip)
            return true;
    return false;
}

static void step_pod(struct model *m, struct fences *f)
{
    int i = (int)model_draw(m, MODEL_PODS);
    struct model_pod *p = &m->pods[i];
    char uid[8];
    (void)snprintf(uid, sizeof uid, "u%d", i);
    if (p->there && model_draw(m, 4) == 0) {
        p->there = false;
        fences_del_pod(f, str_of(uid));
        return;
    }
    if (!p->there || model_draw(m, 6) == 0) {
        struct model_pod was = *p;
        *p = (struct model_pod){.there = true,
                                .local = model_draw(m, 4) > 0,
                                .only_ports = model_draw(m, 6) == 0,
                                .ns = (int)model_draw(m, MODEL_NAMESPACES),
                                .ports = (int)model_draw(m, 3),
                                .since = was.there ? was.since : ++m->comings};
        if (was.there && was.lost)
            p->lost = was.lost;
        uint32_t ip = model_draw(m, 8) ? IP4(10, 42, 0, 2) + (uint32_t)i : model_draw(m, 2) ? IP4(10, 42, 0, 3) : 0;
        if (p->lost)
            ip = p->lost; /* it says so still */
        bool holds = was.there && was.ip == ip;
        if (holds)
            p->ip = ip;
        else if (!(ip && ip == p->lost && ip_is_held(m, ip)))
            pod_takes(m, i, ip);
    } else if (p->lost && !ip_is_held(m, p->lost)) {
        pod_takes(m, i, p->lost);
    }
    p->labels = (int)model_draw(m, countof(labels_of));
    model_put_pod(m, f, i);
}

void model_step(struct model *m, struct fences *f)
{
    uint32_t what = model_draw(m, 10);
    if (what < 5) {
        step_pod(m, f);
    } else if (what < 6) {
        int i = (int)model_draw(m, MODEL_NAMESPACES);
        m->namespaces[i].known = model_draw(m, 6) > 0;
        m->namespaces[i].labels = (int)model_draw(m, countof(labels_of));
        if (m->namespaces[i].known)
            put_ns(f, model_namespaces[i], labels_of[m->namespaces[i].labels]);
        else
            fences_del_namespace(f, str_of(model_namespaces[i]));
    } else {
        int i = (int)model_draw(m, MODEL_POLICIES);
        if (m->policies[i] && model_draw(m, 3) == 0) {
            fences_del_policy(f, m->policies[i]->ns, m->policies[i]->name);
            obj_unref(m->policies[i]);
            m->policies[i] = NULL;
        } else {
            model_random_policy(m, f, i);
        }
    }
}

void model_put_all(struct model *m, struct fences *f)
{
    struct err err = ERR;
    for (int i = 0; i < MODEL_PODS; i++)
        m->pods[i].lost = 0;
    for (int i = 0; i < MODEL_POLICIES; i++)
        if (m->policies[i])
            CHECK_OK(fences_put_policy(f, m->policies[i], &err), err);
    for (int i = 0; i < MODEL_PODS; i++)
        if (m->pods[i].there && !m->pods[i].ip)
            model_put_pod(m, f, i);
    for (int i = 0; i < MODEL_PODS; i++) /* who has an address was put last with it */
        if (m->pods[i].there && m->pods[i].ip)
            model_put_pod(m, f, i);
    for (int i = 0; i < MODEL_NAMESPACES; i++)
        if (m->namespaces[i].known)
            put_ns(f, model_namespaces[i], labels_of[m->namespaces[i].labels]);
}

bool model_is_whole(const struct model *m)
{
    for (int i = 0; i < MODEL_PODS; i++)
        if (m->pods[i].there && !m->namespaces[m->pods[i].ns].known)
            return false;
    return true;
}

static const struct model_pod *pod_at(const struct model *m, uint32_t ip)
{
    for (int i = 0; i < MODEL_PODS; i++)
        if (m->pods[i].there && m->pods[i].ip == ip)
            return &m->pods[i];
    return NULL;
}

static bool model_pod_serves(const struct model_pod *p, uint8_t proto, uint16_t port)
{
    for (int i = 0; i < p->ports; i++)
        if (ports_of[p->ports - 1][i].proto == proto && ports_of[p->ports - 1][i].port == port)
            return true;
    return false;
}

static struct netpolicy_end end_of(const struct model *m, uint32_t ip, bool source, uint8_t proto, uint16_t port)
{
    const struct model_pod *p = pod_at(m, ip);
    struct netpolicy_end e = {.ip = ip};
    if (!p || (p->only_ports && (source || !model_pod_serves(p, proto, port))))
        return e;
    e.ns = str_of(model_namespaces[p->ns]);
    e.labels = fence_val(labels_of[p->labels]);
    e.ns_labels = m->namespaces[p->ns].known ? fence_val(labels_of[m->namespaces[p->ns].labels]) : NULL;
    e.containers = fence_val(containers_of[p->ports]);
    return e;
}

static bool way_is_allowed(const struct model *m, const struct model_pod *p, bool egress,
                           const struct netpolicy_end *other, uint8_t proto, uint16_t port)
{
    struct netpolicy_end self = {.ip = p->ip,
                                 .ns = str_of(model_namespaces[p->ns]),
                                 .labels = fence_val(labels_of[p->labels]),
                                 .containers = fence_val(containers_of[p->ports])};
    bool isolated = false;
    for (int i = 0; i < MODEL_POLICIES; i++) {
        const struct obj *o = m->policies[i];
        if (!o || !netpolicy_isolates(o, self.ns, self.labels, egress))
            continue;
        isolated = true;
        if (netpolicy_allows(o, &self, other, egress, proto, port))
            return true;
    }
    return !isolated;
}

bool model_allows(const struct model *m, uint32_t from, uint32_t to, uint8_t proto, uint16_t port)
{
    const struct model_pod *src = pod_at(m, from), *dst = pod_at(m, to);
    struct netpolicy_end a = end_of(m, from, true, proto, port), b = end_of(m, to, false, proto, port);
    if (from == to)
        return true;
    return (!src || !src->local || way_is_allowed(m, src, true, &b, proto, port)) &&
           (!dst || !dst->local || way_is_allowed(m, dst, false, &a, proto, port));
}

void model_text(const struct model *m, struct strbuf *out)
{
    for (int i = 0; i < MODEL_NAMESPACES; i++)
        strbuf_addf(out, "ns %s %s %s\n", model_namespaces[i], m->namespaces[i].known ? "" : "unknown",
                    labels_of[m->namespaces[i].labels]);
    for (int i = 0; i < MODEL_PODS; i++)
        if (m->pods[i].there)
            strbuf_addf(out, "pod u%d %s " IP4_FMT "%s%s ports %d %s\n", i, model_namespaces[m->pods[i].ns],
                        IP4_ARG(m->pods[i].ip), m->pods[i].local ? " local" : "",
                        m->pods[i].only_ports ? " only_ports" : "", m->pods[i].ports, labels_of[m->pods[i].labels]);
    for (int i = 0; i < MODEL_POLICIES; i++) {
        if (!m->policies[i])
            continue;
        strbuf_addf(out, "policy " STR_FMT " ", STR_ARG(m->policies[i]->ns));
        obj_encode(m->policies[i], ENC_JSON, out);
        strbuf_addc(out, '\n');
    }
}

void model_fini(struct model *m)
{
    for (int i = 0; i < MODEL_POLICIES; i++)
        obj_unref(m->policies[i]);
}
