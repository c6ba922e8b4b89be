/* From where to where: whether network policies let a connection of a pod through, which of them refuse it, and what
 * would have to be allowed. A connection is let through by both of its ends: by the policies that isolate the pod for
 * egress where it begins, by those that isolate the other for ingress where it ends; each end needs one policy that
 * allows it. Policies see a connection as it is after Services were translated: the address and the port of the pod
 * behind. */
#include "api/netip.h"
#include "api/netpolicy.h"
#include "control/services.h"
#include "control/why_policy_int.h"

extern const struct objindex index_slices;
enum { PROTO_TCP = 6, PROTO_UDP = 17, PROTO_SCTP = 132 };

struct ends {
    struct question *q;
    const struct obj *from, *to; /* `to` NULL: an address */
    struct str where;            /* "pod b", "10.0.0.5" */
    uint32_t ip;
    uint8_t proto;
    uint16_t port;
    bool is_role;          /* `to` is cluster DNS: a role of the node that policies take for a pod */
    uint16_t service_port; /* it was translated from this one; 0: no Service, or the same */
};

static const char *proto_text(uint8_t proto)
{
    return proto == PROTO_UDP ? "UDP" : proto == PROTO_SCTP ? "SCTP" : "TCP";
}

static bool ip_of(struct str text, uint32_t *out)
{
    struct netip ip;
    struct err err = ERR; /* none that policies could name */
    if (!netip_parse(text, &ip, &err) || !ip.v4)
        return false;
    *out = (uint32_t)ip.bytes[0] << 24 | (uint32_t)ip.bytes[1] << 16 | (uint32_t)ip.bytes[2] << 8 | ip.bytes[3];
    return true;
}

static bool on_host(const struct obj *pod)
{
    return val_true(val_get(obj_spec(pod), N(hostNetwork)));
}

/* A pod as policies see it; one on the host's network has no address of its own, so it is none. */
static struct netpolicy_end end_of(struct question *q, const struct obj *pod, uint32_t ip)
{
    struct netpolicy_end e = {.ns = S(""), .ip = ip};
    if (!pod || on_host(pod))
        return e;
    const struct obj *ns = view_get(q->v, K(Namespace), S(""), pod->ns);
    static const struct val none = {.type = VAL_MAP};
    e.ns = pod->ns;
    e.labels = obj_labels(pod);
    e.ns_labels = ns && obj_labels(ns) ? obj_labels(ns) : ns ? &none : NULL;
    e.containers = val_get(obj_spec(pod), N(containers));
    return e;
}

/* ---- why a rule does not let it through ---- */

static bool ports_fit(const struct val *rule, const struct netpolicy_end *to, uint8_t proto, uint16_t port)
{
    const struct val *ports = val_get(rule, N(ports));
    val_each_item (it, ports) {
        struct netpolicy_port p;
        if (!netpolicy_port_of(it, &p) || p.proto != proto)
            continue;
        if (!p.name.n && port >= p.from && port <= p.to)
            return true;
        val_each_item (c, p.name.n ? to->containers : NULL) {
            const struct val *named = val_find(val_get(c, N(ports)), N(name), p.name);
            if (named && val_num_at(named, 0, N(containerPort)) == port)
                return true;
        }
    }
    return val_len(ports) == 0;
}

static bool block_has(const struct val *block, uint32_t ip)
{
    AUTO(netpolicy_ranges_fini) struct netpolicy_ranges r = {0};
    netpolicy_block_add(block, &r);
    array_each (it, &r.list)
        if (ip >= it->from && ip <= it->to)
            return true;
    return false;
}

static bool peers_fit(struct question *q, const struct obj *policy, const struct val *rule, bool egress,
                      const struct obj *other, uint32_t ip)
{
    const struct val *peers = netpolicy_peers(rule, egress);
    val_each_item (it, peers)
        if (val_get(it, N(ipBlock)) ? block_has(val_get(it, N(ipBlock)), ip)
                                    : other && !on_host(other) && policy_peer_has(q, policy, it, other))
            return true;
    return val_len(peers) == 0;
}

static struct str ports_text(struct question *q, const struct val *rule)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_item (it, val_get(rule, N(ports)))
        strbuf_addf(&b, "%s" STR_FMT, b.n ? ", " : "", STR_ARG(policy_port_text(q, it)));
    return str_dup(q->a, strbuf_str(&b));
}

static struct str peers_text(struct question *q, const struct obj *policy, const struct val *rule, bool egress)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_item (it, netpolicy_peers(rule, egress))
        strbuf_addf(&b, "%s" STR_FMT, b.n ? "; " : "", STR_ARG(policy_peer_text(q, policy, it)));
    return str_dup(q->a, strbuf_str(&b));
}

/* One that would fit, were it not for the namespace: a podSelector alone means pods of the policy's own. */
static bool only_namespace(const struct obj *policy, const struct val *rule, bool egress, const struct obj *other)
{
    val_each_item (it, netpolicy_peers(rule, egress))
        if (val_get(it, N(podSelector)) && !val_get(it, N(namespaceSelector)) && !str_eq(other->ns, policy->ns) &&
            val_len(val_get(it, N(podSelector))) &&
            label_selector_matches(val_get(it, N(podSelector)), obj_labels(other)))
            return true;
    return false;
}

/* What is closest to letting it through, of all rules of all policies: the first cause that is found counts. */
static bool say_nearly(struct ends *x, const struct obj *policy, bool egress, bool ports, struct finding *f)
{
    struct question *q = x->q;
    const struct obj *other = egress ? x->to : x->from;
    struct netpolicy_end to = end_of(q, x->to, x->ip);
    uint32_t ip = x->ip;
    if (!egress)
        (void)ip_of(val_text_at(obj_status(x->from), N(podIP)), &ip);
    val_each_item (rule, netpolicy_rules(policy, egress)) {
        bool port = ports_fit(rule, &to, x->proto, x->port), peer = peers_fit(q, policy, rule, egress, other, ip);
        if (ports && peer && !port && x->service_port && ports_fit(rule, &to, x->proto, x->service_port))
            why_found(q, f, "PolicyNamesServicePort",
                      STR_FMT " allows port %u, which is the Service's: policies see the port of the pod behind, %u",
                      STR_ARG(policy_word(q, policy)), x->service_port, x->port);
        else if (ports && peer && !port)
            why_found(q, f, "PolicyRefusesPort", STR_FMT " allows this on " STR_FMT " alone",
                      STR_ARG(policy_word(q, policy)), STR_ARG(ports_text(q, rule)));
        else if (!ports && port && !peer && other && only_namespace(policy, rule, egress, other))
            why_found(q, f, "PolicyPeerNamespace",
                      STR_FMT " has these labels in a podSelector without namespaceSelector, which means pods of its "
                              "own namespace " STR_FMT ", and pod " STR_FMT " is in " STR_FMT,
                      STR_ARG(policy_word(q, policy)), STR_ARG(policy->ns), STR_ARG(other->name), STR_ARG(other->ns));
        else if (!ports && port && !peer)
            why_found(q, f, "PolicyRefusesPeer", STR_FMT " allows it %s " STR_FMT " alone",
                      STR_ARG(policy_word(q, policy)), egress ? "to" : "from",
                      STR_ARG(peers_text(q, policy, rule, egress)));
    }
    return f->state != WHY_FINE;
}

/* ---- what would have to be allowed ---- */

/* Labels that the same workload's next pod has as well. */
static bool label_lasts(struct str key)
{
    static const char *const passing[] = {"pod-template-hash",
                                          "controller-revision-hash",
                                          "pod-template-generation",
                                          "controller-uid",
                                          "batch.kubernetes.io/controller-uid",
                                          "statefulset.kubernetes.io/pod-name",
                                          "apps.kubernetes.io/pod-index"};
    for (size_t i = 0; i < countof(passing); i++)
        if (str_eqz(key, passing[i]))
            return false;
    return true;
}

static struct str peer_for(struct ends *x, const struct obj *policy, const struct obj *other, uint32_t ip)
{
    struct question *q = x->q;
    if (!other || on_host(other))
        return arena_fmt(q->a, "{ipBlock: {cidr: %u.%u.%u.%u/32}}", ip >> 24, ip >> 16 & 255, ip >> 8 & 255,
                         ip & 255);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addf(&b, "{");
    if (!str_eq(other->ns, policy->ns))
        strbuf_addf(&b, "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: " STR_FMT "}}, ",
                    STR_ARG(other->ns));
    strbuf_addf(&b, "podSelector: {");
    bool any = false;
    val_each_member (m, obj_labels(other)) {
        if (!label_lasts(m->name->s))
            continue;
        strbuf_addf(&b, "%s" STR_FMT ": " STR_FMT, any ? ", " : "matchLabels: {", STR_ARG(m->name->s),
                    STR_ARG(val_text(&m->v)));
        any = true;
    }
    strbuf_addf(&b, "%s}}", any ? "}" : "");
    return str_dup(q->a, strbuf_str(&b));
}

static void say_way(struct ends *x, const struct obj *policy, bool egress, struct finding *f)
{
    struct question *q = x->q;
    const struct obj *other = egress ? x->to : x->from;
    why_way(q, f, "Add to spec.%s: {%s: [" STR_FMT "], ports: [{port: %u%s%s}]}: kubectl edit " STR_FMT,
            egress ? "egress" : "ingress", egress ? "to" : "from", STR_ARG(peer_for(x, policy, other, x->ip)),
            x->port, x->proto == PROTO_TCP ? "" : ", protocol: ", x->proto == PROTO_TCP ? "" : proto_text(x->proto),
            STR_ARG(why_target(q, policy)));
}

/* ---- the two ends ---- */

struct reach_judged {
    ARRAY(const struct obj *) isolate;
    const struct obj *allows; /* the first that does; NULL: none */
};

static void end_judge(struct ends *x, bool egress, struct reach_judged *j)
{
    const struct obj *self = egress ? x->from : x->to, *other = egress ? x->to : x->from;
    uint32_t from_ip = 0;
    (void)ip_of(val_text_at(obj_status(x->from), N(podIP)), &from_ip);
    *j = (struct reach_judged){0};
    if (!self || on_host(self))
        return;
    struct netpolicy_end me = end_of(x->q, self, egress ? from_ip : x->ip),
                         you = end_of(x->q, other, egress ? x->ip : from_ip);
    struct obj *o;
    for (struct objset_iter it = view_with(x->q->v, K(NetworkPolicy), &index_namespace, self->ns);
         (o = objset_next(&it));) {
        if (!netpolicy_isolates(o, self->ns, obj_labels(self), egress))
            continue;
        array_push(&j->isolate, o);
        if (!j->allows && netpolicy_allows(o, &me, &you, egress, x->proto, x->port))
            j->allows = o;
    }
}

static struct str names_of(struct question *q, const struct reach_judged *j)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    array_each (o, &j->isolate)
        strbuf_addf(&b, "%s" STR_FMT, b.n ? ", " : "", STR_ARG((*o)->name));
    return str_dup(q->a, strbuf_str(&b));
}

static void end_say(struct ends *x, bool egress, struct finding *f)
{
    struct question *q = x->q;
    const struct obj *self = egress ? x->from : x->to;
    const char *direction = egress ? "egress" : "ingress";
    struct reach_judged j;
    end_judge(x, egress, &j);
    if (!self)
        why_chain(q, f, STR_FMT ": no pod, so no policy of this cluster restricts its ingress", STR_ARG(x->where));
    else if (on_host(self))
        why_chain(q, f, "pod " STR_FMT ": on its host's network, where no policy holds", STR_ARG(self->name));
    else if (!j.isolate.n)
        why_chain(q, f, "pod " STR_FMT ": no policy restricts its %s", STR_ARG(self->name), direction);
    else if (j.allows)
        why_chain(q, f,
                  "pod " STR_FMT ": its %s is restricted by NetworkPolicy " STR_FMT ", and " STR_FMT " allows this",
                  STR_ARG(self->name), direction, STR_ARG(names_of(q, &j)), STR_ARG(j.allows->name));
    else
        why_chain(q, f, "pod " STR_FMT ": its %s is restricted by NetworkPolicy " STR_FMT ", and %s allows this",
                  STR_ARG(self->name), direction, STR_ARG(names_of(q, &j)),
                  j.isolate.n == 1 ? "nothing in it" : "none");
    if (j.isolate.n && !j.allows) {
        bool before = f->state != WHY_FINE;
        const struct obj *near = NULL;
        for (int ports = 1; ports >= 0 && !before; ports--)
            array_each (o, &j.isolate)
                if (!near && say_nearly(x, *o, egress, ports, f))
                    near = *o;
        why_found(q, f, egress ? "PolicyRefusesEgress" : "PolicyRefusesIngress",
                  "NetworkPolicy " STR_FMT " restrict%s the %s of pod " STR_FMT ", and no rule allows this",
                  STR_ARG(names_of(q, &j)), j.isolate.n == 1 ? "s" : "", direction, STR_ARG(self->name));
        if (!before)
            say_way(x, near ? near : j.isolate.p[0], egress, f);
    }
    array_fini(&j.isolate);
}

/* The kernel lets a node's own processes reach its pods (probes), and a pod itself. */
static void ends_say(struct ends *x, struct finding *f)
{
    if (x->to && str_eq(x->to->ns, x->from->ns) && str_eq(x->to->name, x->from->name)) {
        why_chain(x->q, f, "pod " STR_FMT ": it may always reach itself", STR_ARG(x->from->name));
        return;
    }
    end_say(x, true, f);
    if (x->is_role)
        why_chain(x->q, f, "cluster DNS: no policy restricts its ingress");
    else if (on_host(x->from) && x->to && !on_host(x->to) && str_eq(pod_node(x->from), pod_node(x->to)))
        why_chain(x->q, f, "pod " STR_FMT ": the node " STR_FMT " itself may always reach its pods",
                  STR_ARG(x->to->name), STR_ARG(pod_node(x->to)));
    else
        end_say(x, false, f);
}

/* ---- what is asked for ---- */

static const struct obj *pod_at(struct question *q, struct str ip)
{
    struct obj *pod;
    for (struct objset_iter it = view_all(q->v, K(Pod)); (pod = objset_next(&it));)
        if (pod_is_active(pod) && !on_host(pod) && str_eq(val_text_at(obj_status(pod), N(podIP)), ip))
            return pod;
    return NULL;
}

static bool is_dns(struct question *q, struct str ip, uint16_t port)
{
    struct obj *slice;
    bool at = false, on = false;
    for (struct objset_iter it = view_with(q->v, K(EndpointSlice), &index_slices, S("kube-system/kube-dns"));
         (slice = objset_next(&it));) {
        val_each_item (e, val_get(&slice->tree, N(endpoints)))
            at |= !val_get(e, N(targetRef)) && str_eq(val_text(val_item(val_get(e, N(addresses)), 0)), ip);
        val_each_item (p, val_get(&slice->tree, N(ports)))
            on |= val_num_at(p, 0, N(port)) == port;
    }
    return at && on;
}

/* The pod that policies take cluster DNS for (node/fences.c). */
static struct obj *dns_pod(struct arena *a, struct str ip)
{
    struct val v = val_map(), ports = val_list(), container = val_map(), containers = val_list();
    for (int tcp = 0; tcp < 2; tcp++) {
        struct val port = val_map();
        val_set_text(a, &port, N(name), tcp ? S("dns-tcp") : S("dns"));
        val_set_text(a, &port, N(protocol), tcp ? S("TCP") : S("UDP"));
        val_set_num(a, &port, N(containerPort), 53);
        val_add(a, &ports, port);
    }
    val_set(a, &container, N(ports), ports);
    val_add(a, &containers, container);
    val_set_text(a, &v, N(apiVersion), S("v1"));
    val_set_text(a, &v, N(kind), S("Pod"));
    struct val *meta = val_need_map(a, &v, N(metadata));
    val_set_text(a, meta, N(name), S("kube-dns"));
    val_set_text(a, meta, N(namespace), S("kube-system"));
    struct val *labels = val_need_map(a, meta, N(labels));
    val_set_str(a, labels, S("k8s-app"), val_str_borrowed(S("kube-dns")));
    val_set(a, val_need_map(a, &v, N(spec)), N(containers), containers);
    val_set_text(a, val_need_map(a, &v, N(status)), N(podIP), ip);
    return obj_new(K(Pod), &v, 0);
}

static bool address_say(struct ends *x, struct str ip, struct finding *f)
{
    if (!ip_of(ip, &x->ip))
        return why_found(x->q, f, "NoAddress", STR_FMT " is no IPv4 address", STR_ARG(ip));
    x->is_role = is_dns(x->q, ip, x->port);
    AUTO(obj_unref) struct obj *dns = x->is_role ? dns_pod(x->q->a, ip) : NULL;
    x->to = dns ? dns : pod_at(x->q, ip);
    x->where = dns ? S("cluster DNS") : x->to ? arena_fmt(x->q->a, "pod " STR_FMT, STR_ARG(x->to->name)) : ip;
    ends_say(x, f);
    return true;
}

/* Its port of that name or number; proto empty: the first one, as a number may stand there for UDP and for TCP. */
static const struct val *service_port(const struct obj *svc, struct str wanted, struct str proto)
{
    const struct val *ports = val_get(obj_spec(svc), N(ports));
    int64_t number = 0;
    if (!wanted.n)
        return val_len(ports) == 1 ? val_item(ports, 0) : NULL;
    bool numbered = str_to_i64(wanted, 1, UINT16_MAX, &number);
    val_each_item (p, ports) {
        struct str its = val_text_at(p, N(protocol));
        if (numbered ? val_num_at(p, 0, N(port)) != number : !str_eq(val_text_at(p, N(name)), wanted))
            continue;
        if (!proto.n || str_eq(its.n ? its : S("TCP"), proto))
            return p;
    }
    return NULL;
}

static uint8_t proto_of(struct str text)
{
    return str_eqz(text, "UDP") ? PROTO_UDP : str_eqz(text, "SCTP") ? PROTO_SCTP : PROTO_TCP;
}

/* Behind a Service each endpoint may be chosen: one that is refused is the answer. */
static void service_say(struct ends *x, const struct obj *svc, const struct why_path *p, struct finding *f)
{
    struct question *q = x->q;
    struct str wanted = p->port;
    const struct val *port = service_port(svc, wanted, p->proto);
    size_t n = 0;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    if (!port) {
        why_found(q, f, "ServicePortUnknown", "Service " STR_FMT " has no port " STR_FMT "%s" STR_FMT,
                  STR_ARG(svc->name), STR_ARG(wanted.n ? wanted : S("(say which: its name or number)")),
                  p->proto.n ? "/" : "", STR_ARG(p->proto));
        why_way(q, f, "See which it has: kubectl get svc " STR_FMT STR_FMT, STR_ARG(svc->name),
                STR_ARG(why_ns_flag(q, svc->ns)));
        return;
    }
    struct obj *slice;
    struct str key = objset_key_of(&text, svc);
    for (struct objset_iter it = view_with(q->v, K(EndpointSlice), &index_slices, key); (slice = objset_next(&it));) {
        const struct val *here = val_find(val_get(&slice->tree, N(ports)), N(name), val_text_at(port, N(name)));
        int64_t number = val_num_at(here ? here : val_item(val_get(&slice->tree, N(ports)), 0), 0, N(port));
        val_each_item (e, val_get(&slice->tree, N(endpoints))) {
            struct ends one = *x;
            one.proto = proto_of(val_text_at(port, N(protocol)));
            one.port = (uint16_t)number;
            one.service_port = val_num_at(port, 0, N(port)) == number ? 0 : (uint16_t)val_num_at(port, 0, N(port));
            n++;
            if (f->state == WHY_FINE)
                (void)address_say(&one, val_text(val_item(val_get(e, N(addresses)), 0)), f);
        }
    }
    if (n)
        return;
    struct finding behind = {.cause = ""};
    struct question other = why_about(q, svc);
    why_of(&other, svc, &behind);
    why_behind(q, f, arena_fmt(q->a, "behind Service " STR_FMT " is nobody:", STR_ARG(svc->name)), &behind);
    why_found(q, f, "NoEndpoints", "behind Service " STR_FMT " is nobody", STR_ARG(svc->name));
}

/* The Service that the kernel translates this address for. */
static const struct obj *service_at(struct question *q, struct str ip)
{
    struct obj *svc;
    for (struct objset_iter it = view_all(q->v, K(Service)); (svc = objset_next(&it));) {
        if (str_eq(val_text_at(obj_spec(svc), N(clusterIP)), ip))
            return svc;
        val_each_item (one, val_get(obj_spec(svc), N(externalIPs)))
            if (str_eq(val_text(one), ip))
                return svc;
        val_each_item (one, val_at(obj_status(svc), N(loadBalancer), N(ingress)))
            if (str_eq(val_text_at(one, N(ip)), ip))
                return svc;
    }
    return NULL;
}

static void port_say(struct question *q, const struct why_path *p, struct finding *f)
{
    struct str example = p->to ? arena_fmt(q->a, "pod/" STR_FMT, STR_ARG(p->to->name)) : p->address;
    if (p->port.n)
        why_found(q, f, "PortUnknown", STR_FMT " is no number of a port", STR_ARG(p->port));
    else
        why_found(q, f, "PortUnknown", "it takes a port");
    why_way(q, f, "Say one from 1 to 65535: --to " STR_FMT ":80", STR_ARG(example));
}

void why_reach(const struct why_ask *ask, const struct why_path *p, struct why *out)
{
    struct question q = {.ask = ask, .v = ask->view, .a = &out->arena, .owner = p->from};
    struct finding *f = &out->found;
    int64_t port = 0;
    struct ends x = {.q = &q, .from = p->from, .proto = proto_of(p->proto)};
    struct str to = p->to ? arena_fmt(q.a, "%s " STR_FMT, p->to->kind == K(Pod) ? "pod" : "Service",
                                      STR_ARG(p->to->name))
                          : p->address;
    const struct obj *svc = p->to && p->to->kind == K(Service) ? p->to : p->to ? NULL : service_at(&q, p->address);
    uint32_t ip;
    f->cause = "";
    if (!p->to && svc)
        to = arena_fmt(q.a, STR_FMT " (Service " STR_FMT ")", STR_ARG(p->address), STR_ARG(svc->name));
    x.port = str_to_i64(p->port, 1, UINT16_MAX, &port) ? (uint16_t)port : 0; /* a Service has names for them */
    if (svc)
        service_say(&x, svc, p, f);
    else if (!port && (p->to || ip_of(p->address, &ip)))
        port_say(&q, p, f);
    else if (p->to && !val_text_at(obj_status(p->to), N(podIP)).n)
        why_found(&q, f, "NoAddress", "pod " STR_FMT " has no address yet", STR_ARG(p->to->name));
    else
        (void)address_say(&x, p->to ? val_text_at(obj_status(p->to), N(podIP)) : p->address, f);
    struct str place = arena_fmt(q.a, STR_FMT "%s" STR_FMT "%s" STR_FMT, STR_ARG(to), p->port.n ? " port " : "",
                                 STR_ARG(p->port), p->proto.n ? "/" : "", STR_ARG(p->proto));
    out->head = arena_fmt(q.a, "Pod " STR_FMT " %s reach " STR_FMT, STR_ARG(p->from->name),
                          f->state == WHY_FINE ? "may" : "cannot", STR_ARG(place));
    if (f->state == WHY_FINE)
        f->reason = S("no network policy is in the way");
}
