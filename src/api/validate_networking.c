/* validate_networking.c - Ingress, IngressClass, NetworkPolicy, ServiceCIDR, IPAddress
 * (pkg/apis/networking/validation of upstream). Shapes alone are checked: that a backend, a class or a parent exists
 * is nobody's business here.
 *
 * An IPAddress is named by its address, so its name must be in canonical form, or one address could be taken twice
 * (format_address_name). A ServiceCIDR may only grow from one family to two.
 */
#include "api/rules_int.h"

static void check_backend(ERRS, const struct val *backend)
{
    const struct val *service = V(backend, service), *resource = V(backend, resource), *port = V(service, port);
    if (is_set(resource) && is_set(service))
        return bad_text(e, at, S(""), "cannot set both resource and service backends");
    if (is_set(resource)) {
        REQUIRED(e, AT(at, "resource"), resource, kind);
        REQUIRED(e, AT(at, "resource"), resource, name);
        return;
    }
    if (!is_set(service))
        return bad_text(e, at, S(""), "resource or service backend is required");
    const struct at *here = AT(at, "service"), *port_at = AT(here, "port");
    if (REQUIRED(e, here, service, name))
        check_format(e, AT(here, "name"), TEXT(service, name), format_dns1123_label);
    bool named = TEXT(port, name).n > 0, numbered = NUM(port, number) != 0;
    if (named && numbered)
        bad_text(e, at, S(""), "cannot set both port name & port number");
    else if (named)
        check_format(e, AT(port_at, "name"), TEXT(port, name), format_port_name);
    else if (numbered)
        check_port(e, AT(port_at, "number"), NUM(port, number));
    else
        bad_required(e, at, "port name or number is required");
}

static void check_path(ERRS, const struct val *path)
{
    static const char *const forbidden[] = {"//", "/./", "/../", "%2f", "%2F"}, *const ends[] = {"/..", "/."};
    struct str p = TEXT(path, path), type = TEXT(path, pathType);
    if (!HAS(path, pathType))
        return bad_required(e, AT(at, "pathType"), "pathType must be specified");
    if (str_eq(type, S("Exact")) || str_eq(type, S("Prefix"))) {
        if (p.n == 0 || p.p[0] != '/')
            bad_text(e, AT(at, "path"), p, "must be an absolute path");
        for (size_t i = 0; p.n > 0 && i < countof(forbidden); i++)
            if (str_has(p, str_of(forbidden[i])))
                bad_text(e, AT(at, "path"), p, "must not contain '%s'", forbidden[i]);
        for (size_t i = 0; i < countof(ends); i++)
            if (str_ends(p, str_of(ends[i])))
                bad_text(e, AT(at, "path"), p, "cannot end with '%s'", ends[i]);
    } else if (str_eq(type, S("ImplementationSpecific"))) {
        if (p.n > 0 && p.p[0] != '/')
            bad_text(e, AT(at, "path"), p, "must be an absolute path");
    } else {
        bad_enum(e, AT(at, "pathType"), type, SET("Exact", "ImplementationSpecific", "Prefix"));
    }
    check_backend(e, AT(at, "backend"), V(path, backend));
}

static void check_host(ERRS, struct str host)
{
    check_format(e, at, host, str_find_char(host, '*') >= 0 ? format_wildcard_subdomain : format_dns1123_subdomain);
}

static void check_ingress_spec(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec), *rules = V(spec, rules), *tls = V(spec, tls);
    if (val_len(rules) == 0 && !HAS(spec, defaultBackend))
        bad_value(e, at, rules, "either `defaultBackend` or `rules` must be specified");
    if (HAS(spec, defaultBackend))
        check_backend(e, AT(at, "defaultBackend"), V(spec, defaultBackend));
    each (rule, rules) {
        const struct at *here = ITEM(AT(at, "rules"), INDEX(rules, rule)), *paths_at = AT(AT(here, "http"), "paths");
        struct str host = TEXT(rule, host);
        if (host.n > 0) {
            if (is_ip(host))
                bad_text(e, AT(here, "host"), host, "must be a DNS name, not an IP address");
            check_host(e, AT(here, "host"), host);
        }
        if (!HAS(rule, http))
            continue;
        const struct val *paths = V(V(rule, http), paths);
        if (val_len(paths) == 0)
            bad_required(e, paths_at, "");
        each (path, paths)
            check_path(e, ITEM(paths_at, INDEX(paths, path)), path);
    }
    each (entry, tls) {
        const struct at *here = ITEM(AT(at, "tls"), INDEX(tls, entry));
        const struct val *hosts = V(entry, hosts);
        each (host, hosts)
            check_host(e, ITEM(AT(here, "hosts"), INDEX(hosts, host)), val_text(host));
        FORMAT_IF_SET(e, here, entry, secretName, format_dns1123_subdomain);
    }
    if (HAS(spec, ingressClassName))
        check_format(e, AT(at, "ingressClassName"), TEXT(spec, ingressClassName), format_dns1123_subdomain);
}

static void create_ingress(struct field_errors *e, const struct val *v)
{
    const struct val *class = val_get_str(val_at(v, N(metadata), N(annotations)), S("kubernetes.io/ingress.class"));
    check_ingress_spec(e, v);
    if (class && HAS(V(v, spec), ingressClassName) && !str_eq(val_text(class), TEXT(V(v, spec), ingressClassName)))
        bad_text(e, AT(AT(NULL, "annotations"), "kubernetes.io/ingress.class"), val_text(class),
                 "must match `ingressClassName` when both are specified");
}

static void update_ingress(struct field_errors *e, const struct val *v, const struct val *old)
{
    (void)old;
    check_ingress_spec(e, v);
}

static void status_ingress(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(AT(AT(NULL, "status"), "loadBalancer"), "ingress");
    const struct val *list = V(V(V(v, status), loadBalancer), ingress);
    (void)old;
    each (ingress, list) {
        const struct at *here = ITEM(at, INDEX(list, ingress));
        if (TEXT(ingress, ip).n > 0)
            check_format(e, AT(here, "ip"), TEXT(ingress, ip), format_ip);
        if (TEXT(ingress, hostname).n > 0) {
            check_format(e, AT(here, "hostname"), TEXT(ingress, hostname), format_dns1123_subdomain);
            if (is_ip(TEXT(ingress, hostname)))
                bad_text(e, AT(here, "hostname"), TEXT(ingress, hostname), "must be a DNS name, not an IP address");
        }
    }
}

static void check_ingressclass(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec"), *here = AT(at, "parameters");
    const struct val *spec = V(v, spec), *p = V(spec, parameters);
    struct str controller = TEXT(spec, controller), host, path;
    if (controller.n > 250)
        bad_too_long(e, AT(at, "controller"), 250);
    if (controller.n == 0)
        bad_required(e, AT(at, "controller"), "");
    else if (!str_split(controller, '/', &host, &path) || host.n == 0 || path.n == 0)
        bad_text(e, AT(at, "controller"), controller, "must be a domain-prefixed path (such as \"acme.io/foo\")");
    else
        check_format(e, AT(at, "controller"), host, format_dns1123_subdomain);
    if (!is_set(p))
        return;
    if (HAS(p, apiGroup))
        check_format(e, AT(here, "apiGroup"), TEXT(p, apiGroup), format_dns1123_subdomain);
    if (REQUIRED(e, here, p, kind))
        check_format(e, AT(here, "kind"), TEXT(p, kind), format_path_segment);
    if (REQUIRED(e, here, p, name))
        check_format(e, AT(here, "name"), TEXT(p, name), format_path_segment);
    struct str scope = TEXT(p, scope);
    if (!HAS(p, scope))
        return bad_required(e, AT(here, "scope"), "");
    check_enum(e, AT(here, "scope"), scope, "Cluster", "Namespace");
    if (str_eq(scope, S("Namespace"))) {
        if (TEXT(p, namespace).n == 0)
            bad_required(e, AT(here, "namespace"), "`parameters.scope` is set to 'Namespace'");
        else
            check_format(e, AT(here, "namespace"), TEXT(p, namespace), format_dns1123_label);
    } else if (str_eq(scope, S("Cluster")) && HAS(p, namespace)) {
        bad_forbidden(e, AT(here, "namespace"), "`parameters.scope` is set to 'Cluster'");
    }
}

static void update_ingressclass(struct field_errors *e, const struct val *v, const struct val *old)
{
    struct str now = TEXT(V(v, spec), controller);
    if (!str_eq(now, TEXT(V(old, spec), controller)))
        bad_text(e, AT(AT(NULL, "spec"), "controller"), now, "field is immutable");
}

static bool strict_subset(struct str inner, struct str outer)
{
    uint8_t in[16], out[16];
    int in_bits, out_bits;
    bool in4, out4;
    if (!cidr_parse(inner, in, &in_bits, &in4) || !cidr_parse(outer, out, &out_bits, &out4) || in4 != out4 ||
        in_bits <= out_bits)
        return false;
    for (int i = 0; i < out_bits; i++) {
        int bit = i + (in4 ? 96 : 0);
        if ((in[bit / 8] ^ out[bit / 8]) & (0x80 >> (bit % 8)))
            return false;
    }
    return true;
}

static void check_peer(ERRS, const struct val *peer)
{
    const struct val *block = V(peer, ipBlock), *except = V(block, except);
    const struct at *block_at = AT(at, "ipBlock");
    size_t n = 0;
    if (HAS(peer, podSelector) && ++n)
        check_label_selector(e, AT(at, "podSelector"), V(peer, podSelector));
    if (HAS(peer, namespaceSelector) && ++n)
        check_label_selector(e, AT(at, "namespaceSelector"), V(peer, namespaceSelector));
    if (is_set(block)) {
        struct str cidr = TEXT(block, cidr);
        n++;
        if (cidr.n == 0) {
            bad_required(e, AT(block_at, "cidr"), "");
        } else if (check_format(e, AT(block_at, "cidr"), cidr, format_cidr)) {
            each (x, except) {
                const struct at *here = ITEM(AT(block_at, "except"), INDEX(except, x));
                if (check_format(e, here, val_text(x), format_cidr) && !strict_subset(val_text(x), cidr))
                    bad_text(e, here, val_text(x), "must be a strict subset of `cidr`");
            }
        }
    }
    if (n == 0)
        bad_required(e, at, "must specify a peer");
    else if (n > 1 && is_set(block))
        bad_forbidden(e, at, "may not specify both ipBlock and another peer");
}

static void check_policy_port(ERRS, const struct val *p)
{
    const struct val *port = V(p, port), *end = V(p, endPort);
    if (HAS(p, protocol))
        check_enum(e, AT(at, "protocol"), TEXT(p, protocol), "TCP", "UDP", "SCTP");
    if (val_is(port, VAL_INT)) {
        check_port(e, AT(at, "port"), port->i);
        if (val_is(end, VAL_INT)) {
            if (end->i < port->i)
                bad_num(e, AT(at, "endPort"), port->i, "must be greater than or equal to `port`");
            check_port(e, AT(at, "endPort"), end->i);
        }
    } else if (val_is(port, VAL_STRING)) {
        if (is_set(end))
            bad_value(e, AT(at, "endPort"), end, "may not be specified when `port` is non-numeric");
        check_format(e, AT(at, "port"), val_text(port), format_port_name);
    } else if (is_set(end)) {
        bad_value(e, AT(at, "endPort"), end, "may not be specified when `port` is not specified");
    }
}

static void check_policy_rules(ERRS, const struct val *rules, const struct name *peers)
{
    each (rule, rules) {
        const struct at *here = ITEM(at, INDEX(rules, rule));
        const struct val *ports = V(rule, ports), *list = val_get(rule, peers);
        each (port, ports)
            check_policy_port(e, ITEM(AT(here, "ports"), INDEX(ports, port)), port);
        each (peer, list)
            check_peer(e, ITEM(AT(here, peers->s.p), INDEX(list, peer)), peer);
    }
}

static void check_networkpolicy(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec), *types = V(spec, policyTypes);
    check_label_selector(e, AT(at, "podSelector"), V(spec, podSelector));
    check_policy_rules(e, AT(at, "ingress"), V(spec, ingress), N(from));
    check_policy_rules(e, AT(at, "egress"), V(spec, egress), N(to));
    if (val_len(types) > 2)
        return bad_value(e, AT(at, "policyTypes"), types, "may not specify more than two policyTypes");
    each (type, types)
        check_enum(e, ITEM(AT(at, "policyTypes"), INDEX(types, type)), val_text(type), "Ingress", "Egress");
}

static void check_cidrs(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(AT(NULL, "spec"), "cidrs");
    const struct val *cidrs = V(V(v, spec), cidrs);
    size_t families[2] = {0, 0};
    if (val_len(cidrs) == 0)
        return bad_required(e, at, "at least one CIDR required");
    if (val_len(cidrs) > 2) {
        struct val shown = val_map();
        val_set_str(e->arena, &shown, S("CIDRs"), *cidrs);
        return bad_value(e, at, &shown, "may only hold up to 2 values");
    }
    each (cidr, cidrs) {
        uint8_t ip[16];
        int bits;
        bool v4;
        if (cidr_parse(val_text(cidr), ip, &bits, &v4))
            families[v4]++;
    }
    if (families[0] > 1 || families[1] > 1)
        bad_value(e, at, cidrs,
                  "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64");
    each (cidr, cidrs)
        check_format(e, ITEM(at, INDEX(cidrs, cidr)), val_text(cidr), format_cidr);
}

static void update_cidrs(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct val *now = V(V(v, spec), cidrs), *was = V(V(old, spec), cidrs);
    const struct at *at = AT(AT(NULL, "spec"), "cidrs");
    bool grown = val_len(was) == 1 && val_len(now) == 2 && val_equal(val_item(now, 0), val_item(was, 0));
    if (!grown && !val_unchanged(now, was))
        bad_immutable(e, ITEM(at, 0), now);
}

static void check_ipaddress(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(AT(NULL, "spec"), "parentRef");
    const struct val *ref = V(V(v, spec), parentRef);
    if (!is_set(ref))
        return bad_required(e, at, "");
    FORMAT_IF_SET(e, at, ref, group, format_dns1123_subdomain);
    if (REQUIRED(e, at, ref, resource))
        check_format(e, AT(at, "resource"), TEXT(ref, resource), format_path_segment);
    if (REQUIRED(e, at, ref, name))
        check_format(e, AT(at, "name"), TEXT(ref, name), format_path_segment);
    FORMAT_IF_SET(e, at, ref, namespace, format_path_segment);
}

static void update_ipaddress(struct field_errors *e, const struct val *v, const struct val *old)
{
    if (!val_unchanged(V(V(v, spec), parentRef), V(V(old, spec), parentRef)))
        bad_struct(e, AT(AT(NULL, "spec"), "parentRef"), T(networking_v1_ParentReference), V(V(v, spec), parentRef),
                   "field is immutable");
}

static void format_address_name(struct complaints *c, struct str s)
{
    size_t before = c->n;
    format_ip(c, s);
    if (c->n > before || !c->a || c->n >= countof(c->texts))
        return;
    struct str canonical = ip_canonical(c->a, s);
    if (!str_eq(canonical, s))
        c->texts[c->n++] = arena_fmt(c->a, "must be in canonical form (\"" STR_FMT "\")", STR_ARG(canonical));
}

const struct kind_rules rules_networking[] = {
    RULES(Ingress, format_dns1123_subdomain, create_ingress, update_ingress, status_ingress, .update_alone = true),
    RULES(IngressClass, format_dns1123_subdomain, check_ingressclass, update_ingressclass, NULL,
          .update_first = true),
    RULES(NetworkPolicy, format_dns1123_subdomain, check_networkpolicy, NULL, NULL),
    RULES(ServiceCIDR, format_dns1123_subdomain, check_cidrs, update_cidrs, NULL),
    RULES(IPAddress, format_address_name, check_ipaddress, update_ipaddress, NULL),
    RULES_END,
};
