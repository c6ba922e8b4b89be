/* validate_service.c - Service, Endpoints, EndpointSlice (ValidateService in pkg/apis/core/validation,
 * ValidateEndpointSlice in pkg/apis/discovery/validation of upstream).
 *
 * A Service is judged as a whole, after addresses and ports were allocated: what its type must have and may not
 * have, the two lists of families and addresses against each other, ports that are there twice by name, by number
 * and by node port. On an update the primary address and family stay once they are set, unless the type moves to or
 * from ExternalName.
 *
 * Whether an address or port is free is not asked here: the server took them before (server/alloc.c).
 */
#include "api/rules_int.h"

#define SOURCE_RANGES "service.beta.kubernetes.io/load-balancer-source-ranges"

static bool spec_has_type(const struct val *spec, const char *type)
{
    return str_eqz(TEXT(spec, type), type);
}

static bool spec_is_headless(const struct val *spec)
{
    return str_eq(TEXT(spec, clusterIP), S("None"));
}

static void check_port_of_service(ERRS, const struct val *port, bool named, bool is_headless)
{
    const struct val *target = V(port, targetPort);
    struct str name = TEXT(port, name);
    if (named && name.n == 0)
        bad_required(e, AT(at, "name"), "");
    else if (name.n > 0)
        check_format(e, AT(at, "name"), name, format_dns1123_label);
    check_port(e, AT(at, "port"), NUM(port, port));
    if (REQUIRED(e, at, port, protocol))
        check_enum(e, AT(at, "protocol"), TEXT(port, protocol), "SCTP", "TCP", "UDP");
    if (val_is(target, VAL_STRING))
        check_format(e, AT(at, "targetPort"), val_text(target), format_port_name);
    else
        check_port(e, AT(at, "targetPort"), val_num(target, 0));
    (void)is_headless;
    if (HAS(port, appProtocol))
        check_format(e, AT(at, "appProtocol"), TEXT(port, appProtocol), format_qualified_name);
}

static void check_cluster_ips(ERRS, const struct val *spec)
{
    const struct val *ips = V(spec, clusterIPs);
    const struct at *here = AT(at, "clusterIPs");
    struct str single = TEXT(spec, clusterIP);
    size_t families[2] = {0, 0};
    if (spec_has_type(spec, "ExternalName")) {
        if (val_len(ips) > 0)
            bad_forbidden(e, here, "may not be set for ExternalName services");
        if (val_len(V(spec, ipFamilies)) > 0)
            bad_forbidden(e, AT(at, "ipFamilies"), "may not be set for ExternalName services");
        if (HAS(spec, ipFamilyPolicy))
            bad_forbidden(e, AT(at, "ipFamilyPolicy"), "may not be set for ExternalName services");
        return;
    }
    if (single.n == 0 && val_len(ips) > 0)
        bad_value(e, here, ips, "must be empty when `clusterIP` is not specified");
    else if (single.n > 0 && val_len(ips) > 0 && !str_eq(single, val_text(val_item(ips, 0))))
        bad_value(e, here, ips, "first value must match `clusterIP`");
    bool has_none = false;
    each (ip, ips)
        has_none |= str_eq(val_text(ip), S("None"));
    if (has_none && val_len(ips) > 1)
        bad_value(e, here, ips, "'None' must be the first and only value");
    each (ip, ips) {
        size_t i = (size_t)INDEX(ips, ip);
        if (i == 0 && str_eq(val_text(ip), S("None")))
            continue;
        check_format(e, ITEM(here, i), val_text(ip), format_ip);
        families[is_ip6(val_text(ip))] += is_ip(val_text(ip));
    }
    if (val_len(ips) > 2)
        bad_value(e, here, ips, "may only hold up to 2 values");
    if (families[0] > 1 || families[1] > 1)
        bad_value(e, here, ips, "may specify no more than one IP for each IP family");
}

static void check_families(ERRS, const struct val *spec)
{
    const struct val *families = V(spec, ipFamilies), *ips = V(spec, clusterIPs);
    if (spec_has_type(spec, "ExternalName"))
        return;
    AUTO(seen_fini) struct seen seen = SEEN;
    each (family, families) {
        const struct at *here = ITEM(AT(at, "ipFamilies"), INDEX(families, family));
        struct str name = val_text(family);
        check_enum(e, here, name, "IPv4", "IPv6");
        if (seen_before(&seen, name))
            bad_duplicate(e, here, name);
    }
    if (HAS(spec, ipFamilyPolicy)) {
        struct str policy = TEXT(spec, ipFamilyPolicy);
        check_enum(e, AT(at, "ipFamilyPolicy"), policy, "PreferDualStack", "RequireDualStack", "SingleStack");
    }
    for (size_t i = 0; i < val_len(ips) && i < val_len(families); i++) {
        struct str ip = val_text(val_item(ips, i)), family = val_text(val_item(families, i));
        if (str_eq(ip, S("None")) || !is_ip(ip))
            continue;
        if (is_ip4(ip) != str_eq(family, S("IPv4")))
            bad_text(e, ITEM(AT(at, "clusterIPs"), i), ip,
                     "expected an " STR_FMT " value as indicated by `ipFamilies[%zu]`", STR_ARG(family), i);
    }
}

static void check_ranges(ERRS, const struct val *v, const struct val *spec)
{
    const struct val *ranges = V(spec, loadBalancerSourceRanges);
    const struct val *old = val_get_str(val_at(v, N(metadata), N(annotations)), S(SOURCE_RANGES));
    const struct at *meta = KEY(AT(AT(NULL, "metadata"), "annotations"), S(SOURCE_RANGES));
    if (val_len(ranges) > 0) {
        if (!spec_has_type(spec, "LoadBalancer"))
            bad_forbidden(e, AT(at, "LoadBalancerSourceRanges"), "may only be used when `type` is 'LoadBalancer'");
        each (range, ranges)
            check_format(e, ITEM(AT(at, "LoadBalancerSourceRanges"), INDEX(ranges, range)), str_trim(val_text(range)),
                         format_cidr);
    } else if (old) {
        struct str rest = str_trim(val_text(old)), part;
        if (!spec_has_type(spec, "LoadBalancer"))
            bad_forbidden(e, meta, "may only be used when `type` is 'LoadBalancer'");
        while (rest.n > 0 && str_cut(&rest, ',', &part))
            check_format(e, meta, str_trim(part), format_cidr);
    }
}

static void add_only(struct arena *a, struct val *into, const struct val *from, const struct name *name)
{
    if (val_get(from, name))
        val_set(a, into, name, *val_get(from, name));
}

static void check_service(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec), *ports = V(spec, ports), *external = V(spec, externalIPs);
    bool external_name = spec_has_type(spec, "ExternalName"), balancer = spec_has_type(spec, "LoadBalancer");
    bool node_ports = balancer || spec_has_type(spec, "NodePort");
    struct str outside = TEXT(spec, externalTrafficPolicy);
    if (val_len(ports) == 0 && !spec_is_headless(spec) && !external_name)
        bad_required(e, AT(at, "ports"), "");
    if (node_ports && spec_is_headless(spec))
        bad_text(e, ITEM(AT(at, "clusterIPs"), 0), S("None"), "may not be set to 'None' for %s services",
                 balancer ? "LoadBalancer" : "NodePort");
    if (external_name) {
        check_cluster_ips(e, at, spec);
        struct str name = TEXT(spec, externalName);
        if (str_ends(name, S(".")))
            name.n--;
        if (name.n == 0)
            bad_required(e, AT(at, "externalName"), "");
        else
            check_format(e, AT(at, "externalName"), name, format_dns1123_subdomain);
    }
    AUTO(seen_fini) struct seen seen = SEEN;
    each (port, ports) {
        const struct at *here = ITEM(AT(at, "ports"), INDEX(ports, port));
        check_port_of_service(e, here, port, val_len(ports) > 1, spec_is_headless(spec));
        if (TEXT(port, name).n > 0)
            if (seen_before(&seen, TEXT(port, name)))
                bad_duplicate(e, AT(here, "name"), TEXT(port, name));
    }
    if (val_len(V(spec, selector)) > 0)
        check_labels(e, AT(at, "selector"), V(spec, selector));
    if (REQUIRED(e, at, spec, sessionAffinity) &&
        check_enum(e, AT(at, "sessionAffinity"), TEXT(spec, sessionAffinity), "ClientIP", "None") &&
        str_eq(TEXT(spec, sessionAffinity), S("ClientIP"))) {
        const struct val *timeout = val_at(spec, N(sessionAffinityConfig), N(clientIP), N(timeoutSeconds));
        const struct at *here = AT(AT(AT(at, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds");
        if (!val_is(timeout, VAL_INT))
            bad_required(e, here, "must be specified when session affinity type is 'ClientIP'");
        else if (timeout->i <= 0 || timeout->i > 86400)
            bad_num(e, here, timeout->i, "must be greater than 0 and less than 86400");
    }
    if (!external_name)
        check_cluster_ips(e, at, spec);
    each (ip, external) {
        const struct at *here = ITEM(AT(at, "externalIPs"), INDEX(external, ip));
        if (check_format(e, here, val_text(ip), format_ip))
            check_non_special_ip(e, here, val_text(ip));
    }
    if (TEXT(spec, type).n == 0)
        bad_required(e, AT(at, "type"), "");
    else
        check_enum(e, AT(at, "type"), TEXT(spec, type), "ClusterIP", "ExternalName", "LoadBalancer", "NodePort");
    each (port, ports) {
        const struct at *here = ITEM(AT(at, "ports"), INDEX(ports, port));
        if (balancer && !check_enum(e, AT(here, "protocol"), TEXT(port, protocol), "SCTP", "TCP", "UDP"))
            continue;
        if (NUM(port, nodePort) != 0 && spec_has_type(spec, "ClusterIP"))
            bad_forbidden(e, AT(here, "nodePort"), "may not be used when `type` is 'ClusterIP'");
    }
    AUTO(seen_fini) struct seen node_numbers = SEEN;
    each (port, ports)
        if (NUM(port, nodePort) != 0 && seen_pair(&node_numbers, TEXT(port, protocol),
                                                  arena_fmt(e->arena, "%lld", (long long)NUM(port, nodePort))))
            bad_duplicate_number(e, AT(ITEM(AT(at, "ports"), INDEX(ports, port)), "nodePort"), NUM(port, nodePort));
    AUTO(seen_fini) struct seen numbers = SEEN;
    each (port, ports)
        if (seen_pair(&numbers, TEXT(port, protocol), arena_fmt(e->arena, "%lld", (long long)NUM(port, port)))) {
            struct val key = val_map();
            add_only(e->arena, &key, port, N(protocol));
            add_only(e->arena, &key, port, N(port));
            val_set_num(e->arena, &key, N(targetPort), 0);
            bad_duplicate_struct(e, ITEM(AT(at, "ports"), INDEX(ports, port)), T(core_v1_ServicePort), &key, "");
        }
    check_ranges(e, at, v, spec);
    if (HAS(spec, allocateLoadBalancerNodePorts) && !balancer)
        bad_forbidden(e, AT(at, "allocateLoadBalancerNodePorts"), "may only be used when `type` is 'LoadBalancer'");
    if (balancer && !HAS(spec, allocateLoadBalancerNodePorts))
        bad_required(e, AT(at, "allocateLoadBalancerNodePorts"), "must be specified when `type` is 'LoadBalancer'");
    if (HAS(spec, loadBalancerClass)) {
        if (!balancer)
            bad_forbidden(e, AT(at, "loadBalancerClass"), "may only be used when `type` is 'LoadBalancer'");
        check_format(e, AT(at, "loadBalancerClass"), TEXT(spec, loadBalancerClass), format_qualified_name);
    }
    /* traffic policies */
    if (outside.n > 0) {
        if (!node_ports && !(spec_has_type(spec, "ClusterIP") && val_len(external) > 0))
            bad_text(e, AT(at, "externalTrafficPolicy"), outside,
                     "may only be set for externally-accessible services");
        else
            check_enum(e, AT(at, "externalTrafficPolicy"), outside, "Cluster", "Local");
    } else if (node_ports) {
        bad_required(e, AT(at, "externalTrafficPolicy"), "");
    }
    int64_t health = NUM(spec, healthCheckNodePort);
    if (health != 0 && !(balancer && str_eq(outside, S("Local"))))
        bad_num(e, AT(at, "healthCheckNodePort"), health,
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
    else if (health != 0)
        check_port(e, AT(at, "healthCheckNodePort"), health);
    if (HAS(spec, internalTrafficPolicy))
        check_enum(e, AT(at, "internalTrafficPolicy"), TEXT(spec, internalTrafficPolicy), "Cluster", "Local");
    else if (node_ports || spec_has_type(spec, "ClusterIP"))
        bad_required(e, AT(at, "internalTrafficPolicy"), "");
    if (HAS(spec, trafficDistribution))
        check_enum(e, AT(at, "trafficDistribution"), TEXT(spec, trafficDistribution), "PreferClose", "PreferSameZone",
                   "PreferSameNode");
    check_families(e, at, spec);
    struct str one = val_text(val_item(V(spec, clusterIPs), 0)), two = val_text(val_item(V(spec, clusterIPs), 1));
    bool families = val_len(V(spec, ipFamilies)) == 2, ips = is_ip(one) && is_ip(two) && is_ip4(one) != is_ip4(two);
    if (str_eq(TEXT(spec, ipFamilyPolicy), S("SingleStack")) && (families || ips))
        bad_text(e, AT(at, "ipFamilyPolicy"), S("SingleStack"),
                 "must be 'RequireDualStack' or 'PreferDualStack' when multiple %s are specified",
                 families ? "IP families" : "cluster IPs");
}

/* The first family of a Service that has an address stays. */
static void check_families_kept(ERRS, const struct val *spec, const struct val *was)
{
    const struct val *now = V(spec, ipFamilies), *old = V(was, ipFamilies), *shown;
    const struct at *first = ITEM(AT(at, "ipFamilies"), 0);
    size_t n = val_len(now), n_was = val_len(old);
    if (spec_is_headless(spec) || spec_is_headless(was))
        return;
    if (n_was > n && val_len(V(spec, clusterIPs)) == 0)
        bad_value(e, first, now, "primary ipFamily can not be unset");
    for (size_t i = 0; i < n && i < n_was && (i == 0 || n == n_was); i++)
        if (!str_eq(val_text(&now->list[i]), val_text(&old->list[i]))) {
            shown = n == n_was ? now : V(spec, clusterIPs); /* an oddity of upstream's */
            bad_value(e, first, shown, "may not change once set");
        }
    if (n_was > n && n == 1 && !str_eq(TEXT(spec, ipFamilyPolicy), S("SingleStack")))
        bad_value(e, AT(at, "ipFamilyPolicy"), V(spec, ipFamilyPolicy),
                  "must be set to 'SingleStack' when releasing the secondary ipFamily");
}

static void update_service(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec), *was = V(old, spec);
    const struct val *ips = V(spec, clusterIPs), *ips_was = V(was, clusterIPs);
    bool kept = !spec_has_type(was, "ExternalName") && !spec_has_type(spec, "ExternalName");
    bool both_none = spec_is_headless(spec) && spec_is_headless(was);
    for (size_t i = 0; kept && i < val_len(ips) && i < val_len(ips_was); i++)
        if (!str_eq(val_text(val_item(ips, i)), val_text(val_item(ips_was, i))) && i == 0)
            bad_value(e, ITEM(AT(at, "clusterIPs"), i), ips, "may not change once set");
    if (kept && val_len(ips) == 0 && val_len(ips_was) > 0)
        bad_value(e, ITEM(AT(at, "clusterIPs"), 0), ips, "primary clusterIP can not be unset");
    if (kept && !both_none && val_len(ips) == 1 && val_len(ips_was) > 1 &&
        !str_eq(TEXT(spec, ipFamilyPolicy), S("SingleStack")))
        bad_value(e, AT(at, "ipFamilyPolicy"), V(spec, ipFamilyPolicy),
                  "must be set to 'SingleStack' when releasing the secondary clusterIP");
    if (kept)
        check_families_kept(e, at, spec, was);
    if (spec_has_type(was, "LoadBalancer") && spec_has_type(spec, "LoadBalancer") &&
        !val_unchanged(V(spec, loadBalancerClass), V(was, loadBalancerClass)))
        bad_value(e, AT(at, "loadBalancerClass"), V(spec, loadBalancerClass), "may not change once set");
    if (NUM(was, healthCheckNodePort) != 0 && NUM(spec, healthCheckNodePort) != NUM(was, healthCheckNodePort) &&
        spec_has_type(spec, "LoadBalancer") && str_eq(TEXT(spec, externalTrafficPolicy), S("Local")))
        bad_immutable(e, AT(at, "healthCheckNodePort"), V(spec, healthCheckNodePort));
    check_service(e, v);
}

static void status_service(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(AT(AT(NULL, "status"), "loadBalancer"), "ingress");
    const struct val *list = V(V(V(v, status), loadBalancer), ingress);
    (void)old;
    if (!spec_has_type(V(v, spec), "LoadBalancer") && val_len(list) > 0)
        return bad_forbidden(e, at, "may only be used when `spec.type` is 'LoadBalancer'");
    each (ingress, list) {
        const struct at *here = ITEM(at, INDEX(list, ingress));
        struct str ip = TEXT(ingress, ip), host = TEXT(ingress, hostname);
        if (ip.n > 0)
            check_format(e, AT(here, "ip"), ip, format_ip);
        if (!HAS(ingress, ipMode) && ip.n > 0)
            bad_required(e, AT(here, "ipMode"), "must be specified when `ip` is set");
        else if (HAS(ingress, ipMode) && ip.n == 0)
            bad_forbidden(e, AT(here, "ipMode"), "may not be specified when `ip` is not set");
        else if (HAS(ingress, ipMode))
            check_enum(e, AT(here, "ipMode"), TEXT(ingress, ipMode), "Proxy", "VIP");
        if (host.n > 0) {
            check_format(e, AT(here, "hostname"), host, format_dns1123_subdomain);
            if (is_ip(host))
                bad_text(e, AT(here, "hostname"), host, "must be a DNS name, not an IP address");
        }
    }
}

static void check_addresses(ERRS, const struct val *addresses)
{
    each (address, addresses) {
        const struct at *here = ITEM(at, INDEX(addresses, address));
        struct str ip = TEXT(address, ip);
        check_format(e, AT(here, "ip"), ip, format_ip);
        FORMAT_IF_SET(e, here, address, hostname, format_dns1123_label);
        FORMAT_IF_SET(e, here, address, nodeName, format_dns1123_subdomain);
        check_non_special_ip(e, AT(here, "ip"), ip);
    }
}

static void check_endpoints(struct field_errors *e, const struct val *v)
{
    const struct val *subsets = V(v, subsets);
    each (subset, subsets) {
        const struct at *here = ITEM(AT(NULL, "subsets"), INDEX(subsets, subset));
        const struct val *ports = V(subset, ports);
        if (val_len(V(subset, addresses)) + val_len(V(subset, notReadyAddresses)) == 0)
            bad_required(e, here, "must specify `addresses` or `notReadyAddresses`");
        check_addresses(e, AT(here, "addresses"), V(subset, addresses));
        check_addresses(e, AT(here, "notReadyAddresses"), V(subset, notReadyAddresses));
        each (port, ports) {
            const struct at *place = ITEM(AT(here, "ports"), INDEX(ports, port));
            if (val_len(ports) > 1 && TEXT(port, name).n == 0)
                bad_required(e, AT(place, "name"), "");
            FORMAT_IF_SET(e, place, port, name, format_dns1123_label);
            check_port(e, AT(place, "port"), NUM(port, port));
            if (REQUIRED(e, place, port, protocol))
                check_enum(e, AT(place, "protocol"), TEXT(port, protocol), "SCTP", "TCP", "UDP");
            if (HAS(port, appProtocol))
                check_format(e, AT(place, "appProtocol"), TEXT(port, appProtocol), format_qualified_name);
        }
    }
}

static void check_slice_ports(ERRS, const struct val *ports)
{
    if (val_len(ports) > 20000)
        return bad_too_many(e, at, (int64_t)val_len(ports), 20000);
    AUTO(seen_fini) struct seen seen = SEEN;
    each (port, ports) {
        const struct at *here = ITEM(at, INDEX(ports, port));
        struct str name = TEXT(port, name);
        if (name.n > 0)
            check_format(e, AT(here, "name"), name, format_dns1123_label);
        if (seen_before(&seen, name))
            bad_duplicate(e, AT(here, "name"), name);
        if (TEXT(port, protocol).n == 0)
            bad_required(e, AT(here, "protocol"), "");
        else
            check_enum(e, AT(here, "protocol"), TEXT(port, protocol), "SCTP", "TCP", "UDP");
        if (HAS(port, appProtocol))
            check_format(e, AT(here, "appProtocol"), TEXT(port, appProtocol), format_qualified_name);
    }
}

/* Zones or nodes that an endpoint is meant for. */
static void check_hints(ERRS, const struct val *hints, format_fn *format)
{
    if (val_len(hints) > 8)
        return bad_too_many(e, at, (int64_t)val_len(hints), 8);
    each (hint, hints) {
        const struct at *here = AT(ITEM(at, INDEX(hints, hint)), "name");
        for (const struct val *other = hints->list; other < hint; other++)
            if (str_eq(TEXT(other, name), TEXT(hint, name))) {
                bad_duplicate(e, here, TEXT(hint, name));
                break;
            }
        check_format(e, here, TEXT(hint, name), format);
    }
}

/* at: the list; here: the one address */
static void check_slice_address(ERRS, const struct at *here, struct str s, struct str type)
{
    if (str_eq(type, S("FQDN"))) {
        check_format(e, here, s, format_dns1123_subdomain);
    } else if (str_eq(type, S("IPv4"))) {
        if (is_ip6(s))
            bad_text(e, at, s, "must be an IPv4 address");
        else if (check_format(e, here, s, format_ip))
            check_non_special_ip(e, here, s);
    } else if (str_eq(type, S("IPv6"))) {
        struct str canonical = ip_canonical(e->arena, s);
        if (is_ip4(s))
            bad_text(e, at, s, "must be an IPv6 address");
        else if (!check_format(e, here, s, format_ip))
            return;
        else if (!str_eq(s, canonical))
            bad_text(e, here, s, "must be in canonical form (\"" STR_FMT "\")", STR_ARG(canonical));
        else
            check_non_special_ip(e, here, s);
    }
}

static void check_slice(struct field_errors *e, const struct val *v)
{
    const struct val *endpoints = V(v, endpoints);
    struct str type = TEXT(v, addressType);
    if (type.n == 0)
        bad_required(e, AT(NULL, "addressType"), "");
    else
        check_enum(e, AT(NULL, "addressType"), type, "FQDN", "IPv4", "IPv6");
    check_slice_ports(e, AT(NULL, "ports"), V(v, ports));
    if (val_len(endpoints) > 1000)
        return bad_too_many(e, AT(NULL, "endpoints"), (int64_t)val_len(endpoints), 1000);
    each (endpoint, endpoints) {
        const struct at *here = ITEM(AT(NULL, "endpoints"), INDEX(endpoints, endpoint)),
                        *list = AT(here, "addresses");
        const struct val *addresses = V(endpoint, addresses), *hints = V(endpoint, hints),
                         *topology = V(endpoint, deprecatedTopology);
        if (val_len(addresses) == 0)
            bad_required(e, list, "must contain at least 1 address");
        else if (val_len(addresses) > 100)
            bad_too_many(e, list, (int64_t)val_len(addresses), 100);
        each (address, addresses)
            check_slice_address(e, list, ITEM(list, INDEX(addresses, address)), val_text(address), type);
        FORMAT_IF_SET(e, here, endpoint, nodeName, format_dns1123_subdomain);
        if (val_len(topology) > 16)
            bad_too_many(e, AT(here, "deprecatedTopology"), (int64_t)val_len(topology), 16);
        check_labels(e, AT(here, "deprecatedTopology"), topology);
        if (HAS(endpoint, hostname))
            check_format(e, AT(here, "hostname"), TEXT(endpoint, hostname), format_dns1123_label);
        check_hints(e, AT(AT(here, "hints"), "forZones"), V(hints, forZones), format_label_value);
        check_hints(e, AT(AT(here, "hints"), "forNodes"), V(hints, forNodes), format_dns1123_subdomain);
    }
}

static void update_slice(struct field_errors *e, const struct val *v, const struct val *old)
{
    IMMUTABLE(e, NULL, v, old, addressType);
}

const struct kind_rules rules_service[] = {
    RULES(Service, format_dns1123_label, check_service, update_service, status_service, .update_alone = true),
    RULES(Endpoints, format_dns1123_subdomain, check_endpoints, NULL, NULL),
    RULES(EndpointSlice, format_dns1123_subdomain, check_slice, update_slice, NULL),
    RULES_END,
};
