/* model.c - from API objects to what rules and names are made of. Pure, and nothing here remembers: a Service and
 * its slices go in, structs of numbers come out, in the caller's arena.
 *
 * Which endpoints a port has is kube-proxy's rule (pkg/proxy/topology.go): those that are ready; where there is
 * none, those that terminate but still serve; and where a Local policy holds and no ready one is on this node, the
 * latter of this node besides, marked as `fallback` so that only the Local way uses them. A slice's port is found by
 * the name and protocol of the Service's port. An endpoint that is in two slices while the controller moves it
 * counts once.
 *
 * What is left out is left out silently, as it is in kube-proxy: other address families, slices of headless
 * Services, Services and slices that another proxy has claimed. External addresses are taken only where nobody else
 * can be meant by them: not from the cluster's own ranges, not loopback or multicast.
 *
 * A pod's hostPort becomes a Service too, with one endpoint and a name that no Service can have.
 */
#include "net/model.h"
#include "api/formats.h"

#define AFFINITY_S_DEFAULT 10800 /* SessionAffinityConfig.clientIP.timeoutSeconds */

static uint8_t proto_of(const struct val *port)
{
    struct str s = val_text_at(port, N(protocol));
    return str_eq(s, S("UDP")) ? NET_UDP : str_eq(s, S("SCTP")) ? NET_SCTP : NET_TCP;
}

static struct str proto_label(const struct val *port)
{
    uint8_t p = proto_of(port);
    return p == NET_UDP ? S("udp") : p == NET_SCTP ? S("sctp") : S("tcp");
}

struct ips {
    uint32_t *p;
    size_t n;
};

static void add_ip(struct arena *a, struct ips *out, size_t room, struct str text)
{
    uint32_t ip;
    if (!ip4_parse(text, &ip))
        return;
    if (!out->p)
        out->p = arena_alloc(a, MAX(room, 1) * sizeof *out->p);
    for (size_t i = 0; i < out->n; i++)
        if (out->p[i] == ip)
            return;
    if (out->n < room)
        out->p[out->n++] = ip;
}

static struct ips cluster_ips(struct arena *a, const struct val *spec)
{
    struct ips out = {0};
    const struct val *list = val_get(spec, N(clusterIPs));
    size_t room = val_len(list) + 1;
    add_ip(a, &out, room, val_text_at(spec, N(clusterIP)));
    val_each_item (it, list)
        add_ip(a, &out, room, val_text(it));
    return out;
}

static int range_cmp(const void *x, const void *y)
{
    const struct net_range *a = x, *b = y;
    return a->from < b->from ? -1 : a->from > b->from;
}

/* loadBalancerSourceRanges, those of IPv4. Where there are only others, nobody may. */
static void sources_read(struct arena *a, const struct val *spec, struct net_service *out)
{
    const struct val *ranges = val_get(spec, N(loadBalancerSourceRanges));
    struct net_range *list = arena_alloc(a, (val_len(ranges) + 1) * sizeof *list);
    size_t n = 0, joined = 0;
    val_each_item (it, ranges) {
        uint8_t b[16];
        int bits;
        bool v4;
        if (!cidr_parse(str_trim(val_text(it)), b, &bits, &v4) || !v4)
            continue;
        uint32_t mask = cidr4_mask((struct cidr4){.bits = bits}), ip = IP4(b[12], b[13], b[14], b[15]);
        list[n++] = (struct net_range){ip & mask, ip | ~mask};
    }
    qsort(list, n, sizeof *list, range_cmp);
    for (size_t i = 0; i < n; i++) {
        if (joined && list[i].from <= list[joined - 1].to)
            list[joined - 1].to = MAX(list[joined - 1].to, list[i].to);
        else
            list[joined++] = list[i];
    }
    out->guarded = val_len(ranges) && !(joined == 1 && list[0].from == 0 && list[0].to == UINT32_MAX);
    out->sources = list;
    out->nsources = out->guarded ? joined : 0;
}

static bool is_ours(const struct net_own *own, struct str text)
{
    uint32_t ip;
    return ip4_parse(text, &ip) && (cidr4_has(own->services, ip) || cidr4_has(own->pods, ip));
}

static void add_external(struct arena *a, const struct net_own *own, struct ips *out, size_t room, struct str text)
{
    uint32_t ip;
    if (ip4_parse(text, &ip) && !is_ours(own, text) && ip >> 24 != 0 && ip >> 24 != 127 && ip >> 24 < 224)
        add_ip(a, out, room, text);
}

static struct ips balancer_ips(struct arena *a, const struct net_own *own, const struct val *service)
{
    struct ips out = {0};
    const struct val *ingress = val_at(service, N(status), N(loadBalancer), N(ingress));
    val_each_item (it, ingress)
        if (!str_eq(val_text_at(it, N(ipMode)), S("Proxy")))
            add_external(a, own, &out, val_len(ingress), val_text_at(it, N(ip)));
    return out;
}

static struct ips external_ips(struct arena *a, const struct net_own *own, const struct val *service,
                               struct ips balancer)
{
    struct ips out = {0};
    const struct val *list = val_at(service, N(spec), N(externalIPs));
    size_t room = val_len(list) + balancer.n;
    val_each_item (it, list)
        add_external(a, own, &out, room, val_text(it));
    for (size_t i = 0; i < balancer.n; i++)
        add_ip(a, &out, room, arena_fmt(a, IP4_FMT, IP4_ARG(balancer.p[i])));
    return out;
}

static bool is_ipv4(const struct val *slice)
{
    return str_eq(val_text_at(slice, N(addressType)), S("IPv4"));
}

/* Slices that say themselves that they are of a headless Service, or another's to route, are left out, whatever the
 * Service is by now. */
static bool is_routed(const struct val *slice)
{
    const struct val *labels = val_at(slice, N(metadata), N(labels));
    return is_ipv4(slice) && !val_get_str(labels, S("service.kubernetes.io/headless")) &&
           !val_get_str(labels, S("service.kubernetes.io/service-proxy-name"));
}

/* ready, and whether it may stand in where none is */
static bool is_ready(const struct val *endpoint)
{
    const struct val *ready = val_at(endpoint, N(conditions), N(ready));
    return !val_is(ready, VAL_BOOL) || ready->b;
}

static bool stands_in(const struct val *endpoint)
{
    const struct val *c = val_get(endpoint, N(conditions));
    return val_true(val_get(c, N(serving))) && val_true(val_get(c, N(terminating)));
}

static const struct val *port_named(const struct val *slice, struct str name)
{
    val_each_item (port, val_get(slice, N(ports)))
        if (str_eq(val_text_at(port, N(name)), name) && val_num_at(port, 0, N(port)) > 0)
            return port;
    return NULL;
}

struct endpoints {
    ARRAY(struct net_endpoint) list;
    struct map seen;
};

static void add_endpoint(struct endpoints *e, struct net_endpoint ep)
{
    char key[6];
    (void)memcpy(key, &ep.ip, 4);
    (void)memcpy(key + 4, &ep.port, 2);
    if (map_put(&e->seen, (struct str){key, sizeof key}, e))
        return; /* in two slices while the controller moves it */
    array_push(&e->list, ep);
}

enum pick { PICK_READY, PICK_STAND_IN, PICK_STAND_IN_HERE };

static void pick_endpoints(struct endpoints *e, const struct val *const *slices, size_t n, const struct val *port,
                           struct str node, enum pick pick)
{
    for (size_t i = 0; i < n; i++) {
        const struct val *p = is_routed(slices[i]) ? port_named(slices[i], val_text_at(port, N(name))) : NULL;
        if (!p || proto_of(p) != proto_of(port))
            continue;
        val_each_item (it, val_get(slices[i], N(endpoints))) {
            struct net_endpoint ep = {.port = (uint16_t)val_num_at(p, 0, N(port)),
                                      .local = str_eq(val_text_at(it, N(nodeName)), node)};
            ep.fallback = pick == PICK_STAND_IN_HERE;
            if ((pick == PICK_READY ? is_ready(it) : stands_in(it)) && (!ep.fallback || ep.local) &&
                ip4_parse(val_text(val_item(val_get(it, N(addresses)), 0)), &ep.ip))
                add_endpoint(e, ep);
        }
    }
}

static bool any_local(const struct endpoints *e)
{
    for (size_t i = 0; i < e->list.n; i++)
        if (e->list.p[i].local)
            return true;
    return false;
}

static void service_endpoints(struct arena *a, const struct val *const *slices, size_t n, const struct val *port,
                              struct str node, struct net_service *out)
{
    struct endpoints e = {0};
    pick_endpoints(&e, slices, n, port, node, PICK_READY);
    if (e.list.n == 0)
        pick_endpoints(&e, slices, n, port, node, PICK_STAND_IN);
    else if ((out->internal_local || out->external_local) && !any_local(&e))
        pick_endpoints(&e, slices, n, port, node, PICK_STAND_IN_HERE);
    out->nendpoints = e.list.n;
    out->endpoints = arena_dup(a, e.list.n ? (const void *)e.list.p : "", e.list.n * sizeof *e.list.p);
    array_fini(&e.list);
    map_fini(&e.seen);
}

static bool is_local(const struct val *spec, const struct name *field)
{
    return str_eq(val_text(val_get(spec, field)), S("Local"));
}

static const struct val *condition_of(const struct val *service, const char *type)
{
    return val_find(val_at(service, N(status), N(conditions)), N(type), str_of(type));
}

/* How a load balancer has its addresses (control/loadbalancer.c): reasons of its condition. */
static bool is_assigned(const struct val *service, const char *reason)
{
    const struct val *c = condition_of(service, "wherry.dev/AddressAssigned");
    return str_eq(val_text_at(service, N(spec), N(type)), S("LoadBalancer")) &&
           (reason ? str_eqz(val_text_at(c, N(reason)), reason) : c && val_text_at(c, N(reason)).n);
}

/* The condition's message is "NODE answers on INTERFACES", and may go on behind a semicolon. */
bool model_announced(const struct val *service, struct str node_name, uint32_t *ip, struct str *interfaces)
{
    const struct val *c = condition_of(service, "wherry.dev/Announced");
    const struct val *first = val_item(val_at(service, N(status), N(loadBalancer), N(ingress)), 0);
    struct str node, rest, says;
    if (!c || !str_eqz(val_text_at(c, N(status)), "True") || !is_assigned(service, NULL) ||
        is_assigned(service, "FromNodes") || !ip4_parse(val_text_at(first, N(ip)), ip))
        return false;
    (void)str_split(val_text_at(c, N(message)), ';', &says, &rest);
    if (!str_split(says, ' ', &node, &rest) || !str_eq(node, node_name) || !str_starts(rest, S("answers on ")))
        return false;
    *interfaces = str_sub(rest, S("answers on ").n, rest.n);
    if (str_eqz(*interfaces, "all-interfaces"))
        *interfaces = S("");
    return true;
}

/* Whether it may leave its pool for the nodes: it says so, or its address is no longer in the annotation, or it asks
 * for another. */
static bool leaves_pool(const struct val *service, const struct val *first)
{
    static const char *const pools[] = {"wherry.dev/address-pool", "metallb.io/address-pool",
                                        "metallb.universe.tf/address-pool"},
                             *const asks[] = {"wherry.dev/addresses", "metallb.io/loadBalancerIPs",
                                              "metallb.universe.tf/loadBalancerIPs"};
    const struct val *notes = val_at(service, N(metadata), N(annotations));
    struct str has = val_text_at(first, N(ip)), asked = val_text_at(service, N(spec), N(loadBalancerIP));
    if (!val_get_str(notes, S("wherry.dev/assigned-address")) || (asked.n && !str_eq(asked, has)))
        return true;
    for (size_t i = 0; i < countof(pools); i++) {
        asked = val_text(val_get_str(notes, str_of(asks[i])));
        if (str_eqz(val_text(val_get_str(notes, str_of(pools[i]))), "nodes") || (asked.n && !str_eq(asked, has)))
            return true;
    }
    return false;
}

bool model_wants_ports(const struct val *service)
{
    const struct val *first = val_item(val_at(service, N(status), N(loadBalancer), N(ingress)), 0);
    struct str class = val_text_at(service, N(spec), N(loadBalancerClass));
    bool wants = false;
    if (!str_eqz(val_text_at(service, N(spec), N(type)), "LoadBalancer") ||
        (is_assigned(service, "FromPool") && !leaves_pool(service, first)) ||
        (class.n && !str_eqz(class, "wherry.dev/lb")))
        return false;
    val_each_item (port, val_at(service, N(spec), N(ports))) {
        bool has = false;
        val_each_item (it, val_get(first, N(ports)))
            has |= val_num_at(it, 0, N(port)) == val_num_at(port, 0, N(port)) &&
                   str_eq(val_text_at(it, N(protocol)), val_text_at(port, N(protocol)));
        wants |= !has;
    }
    return wants;
}

static bool has_proxy(const struct val *meta, const char *name)
{
    const struct val *v = val_get_str(val_get(meta, N(labels)), S("service.kubernetes.io/service-proxy-name"));
    return name ? str_eqz(val_text(v), name) : v != NULL;
}

static void ports_add(struct arena *a, struct net_service base, const struct val *spec,
                      const struct val *const *slices, size_t nslices, struct str node_name, bool nodes_serve,
                      struct net_services *out)
{
    val_each_item (port, val_get(spec, N(ports))) {
        struct net_service s = base;
        s.port = val_text_at(port, N(name));
        s.proto = proto_of(port);
        s.port_number = (uint16_t)val_num_at(port, 0, N(port));
        s.node_port = (uint16_t)val_num_at(port, 0, N(nodePort));
        if (!s.process)
            service_endpoints(a, slices, nslices, port, node_name, &s);
        else
            s.node_port = nodes_serve ? s.port_number : 0;
        s.node_port_guarded = s.process && s.guarded;
        array_push(&out->list, s);
        if (!nodes_serve || s.process)
            continue;
        s.port = arena_fmt(a, STR_FMT " of the node", STR_ARG(s.port)); /* no port has such a name */
        s.ncluster_ips = s.nexternal_ips = s.nbalancer_ips = 0;
        s.node_port = s.port_number;
        s.balances = true;
        s.node_port_guarded = s.guarded;
        array_push(&out->list, s);
    }
}

void model_services(struct arena *a, const struct net_own *own, const struct val *service,
                    const struct val *const *slices, size_t nslices, struct str node_name, struct net_services *out)
{
    const struct val *meta = val_get(service, N(metadata)), *spec = val_get(service, N(spec));
    struct ips cluster = cluster_ips(a, spec), balancer = balancer_ips(a, own, service);
    struct ips external = external_ips(a, own, service, balancer);
    bool nodes_serve = is_assigned(service, "FromNodes"), door = has_proxy(meta, "wherry.dev-edge");
    if (str_eq(val_text_at(spec, N(type)), S("ExternalName")) || (cluster.n == 0 && !door) ||
        (has_proxy(meta, NULL) && !door))
        return;
    struct net_service base = {.ns = val_text_at(meta, N(namespace)),
                               .name = val_text_at(meta, N(name)),
                               .cluster_ips = cluster.p,
                               .ncluster_ips = cluster.n,
                               .external_ips = external.p,
                               .nexternal_ips = external.n,
                               .balancer_ips = balancer.p,
                               .nbalancer_ips = balancer.n,
                               .pooled = is_assigned(service, NULL) && !nodes_serve,
                               .internal_local = is_local(spec, N(internalTrafficPolicy)),
                               .external_local = is_local(spec, N(externalTrafficPolicy))};
    sources_read(a, spec, &base);
    if (door) {
        base.process = true;
        base.ncluster_ips = base.nexternal_ips = 0;
        base.nbalancer_ips = nodes_serve ? 0 : base.nbalancer_ips;
    }
    if (str_eq(val_text_at(spec, N(sessionAffinity)), S("ClientIP")))
        base.affinity_s = (uint32_t)val_num_at(spec, AFFINITY_S_DEFAULT, N(sessionAffinityConfig), N(clientIP),
                                               N(timeoutSeconds));
    ports_add(a, base, spec, slices, nslices, node_name, nodes_serve, out);
}

uint16_t model_health(const struct val *service, const struct val *const *slices, size_t nslices,
                      struct str node_name, size_t *endpoints)
{
    const struct val *spec = val_get(service, N(spec)), *meta = val_get(service, N(metadata));
    bool door = has_proxy(meta, "wherry.dev-edge");
    AUTO(map_fini) struct map seen = MAP;
    *endpoints = 0;
    if (!str_eqz(val_text_at(spec, N(type)), "LoadBalancer") || !is_local(spec, N(externalTrafficPolicy)) ||
        (has_proxy(meta, NULL) && !door))
        return 0;
    for (size_t i = 0; i < nslices; i++) {
        if (!is_routed(slices[i]))
            continue;
        val_each_item (it, val_get(slices[i], N(endpoints)))
            if (is_ready(it) && str_eq(val_text_at(it, N(nodeName)), node_name))
                (void)map_put(&seen, val_text(val_item(val_get(it, N(addresses)), 0)), &seen);
    }
    *endpoints = door ? 1 : map_len(&seen); /* each node has the front door */
    return (uint16_t)val_num_at(spec, 0, N(healthCheckNodePort));
}

static void host_ports_of(struct arena *a, const struct net_own *own, const struct val *pod,
                          const struct val *container, uint32_t pod_ip, struct net_services *out)
{
    val_each_item (port, val_get(container, N(ports))) {
        int64_t host_port = val_num_at(port, 0, N(hostPort));
        struct str host_ip = val_text_at(port, N(hostIP));
        struct ips ips = {0};
        if (host_port <= 0 || is_ours(own, host_ip))
            continue;
        struct net_endpoint *ep = ARENA_NEW(a, struct net_endpoint);
        *ep = (struct net_endpoint){pod_ip, (uint16_t)val_num_at(port, 0, N(containerPort)), true, false};
        struct net_service s = {.ns = val_text_at(pod, N(metadata), N(namespace)),
                                .proto = proto_of(port),
                                .port_number = (uint16_t)host_port,
                                .endpoints = ep,
                                .nendpoints = 1};
        /* no Service has such a name; by uid, as a pod of the same name may follow before this one has gone */
        s.name = arena_fmt(a, "pod:" STR_FMT, STR_ARG(val_text_at(pod, N(metadata), N(uid))));
        s.port = arena_fmt(a, STR_FMT ":%u/%u", STR_ARG(host_ip), s.port_number, s.proto);
        add_ip(a, &ips, 1, host_ip);
        if (ips.n && ips.p[0]) {
            s.external_ips = ips.p;
            s.nexternal_ips = 1;
        } else if (host_ip.n == 0 || ips.n) { /* "" and 0.0.0.0: any; IPv6 is passed over */
            s.node_port = s.port_number;
        } else {
            continue;
        }
        array_push(&out->list, s);
    }
}

void model_host_ports(struct arena *a, const struct net_own *own, const struct val *pod, uint32_t pod_ip,
                      struct net_services *out)
{
    const struct val *spec = val_get(pod, N(spec));
    if (val_true(val_get(spec, N(hostNetwork))))
        return;
    val_each_item (c, val_get(spec, N(containers)))
        host_ports_of(a, own, pod, c, pod_ip, out);
    val_each_item (c, val_get(spec, N(initContainers)))
        if (str_eq(val_text_at(c, N(restartPolicy)), S("Always")))
            host_ports_of(a, own, pod, c, pod_ip, out);
}

/* ---- names ---- */

static const struct dns_port *dns_ports(struct arena *a, const struct val *ports, size_t *n)
{
    struct dns_port *out = arena_alloc(a, (val_len(ports) + 1) * sizeof *out);
    *n = 0;
    val_each_item (port, ports) {
        int64_t number = val_num_at(port, 0, N(port));
        if (number > 0)
            out[(*n)++] = (struct dns_port){val_text_at(port, N(name)), proto_label(port), (uint16_t)number};
    }
    return out;
}

static void dns_endpoints(struct arena *a, const struct val *const *slices, size_t n, struct dns_service *out)
{
    size_t room = 0;
    for (size_t i = 0; i < n; i++)
        room += val_len(val_get(slices[i], N(endpoints)));
    struct dns_endpoint *eps = arena_alloc(a, (room + 1) * sizeof *eps);
    for (size_t i = 0; i < n; i++) {
        size_t nports;
        if (!is_ipv4(slices[i]))
            continue;
        const struct dns_port *ports = dns_ports(a, val_get(slices[i], N(ports)), &nports);
        val_each_item (it, val_get(slices[i], N(endpoints))) {
            struct dns_endpoint ep = {.hostname = val_text_at(it, N(hostname)), .ports = ports, .nports = nports};
            if (is_ready(it) && ip4_parse(val_text(val_item(val_get(it, N(addresses)), 0)), &ep.ip))
                eps[out->nendpoints++] = ep;
        }
    }
    out->endpoints = eps;
}

bool model_dns(struct arena *a, const struct val *service, const struct val *const *slices, size_t nslices,
               struct dns_service *out)
{
    const struct val *meta = val_get(service, N(metadata)), *spec = val_get(service, N(spec));
    struct ips cluster = cluster_ips(a, spec);
    *out = (struct dns_service){.ns = val_text_at(meta, N(namespace)),
                                .name = val_text_at(meta, N(name)),
                                .cluster_ips = cluster.p,
                                .ncluster_ips = cluster.n};
    if (str_eq(val_text_at(spec, N(type)), S("ExternalName"))) {
        out->external_name = val_text_at(spec, N(externalName));
        out->ncluster_ips = 0;
        return out->external_name.n > 0;
    }
    out->ports = dns_ports(a, val_get(spec, N(ports)), &out->nports);
    if (str_eq(val_text_at(spec, N(clusterIP)), S("None")))
        dns_endpoints(a, slices, nslices, out);
    return cluster.n || str_eq(val_text_at(spec, N(clusterIP)), S("None"));
}
