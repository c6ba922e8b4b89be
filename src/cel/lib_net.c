/* Addresses and networks: the API server's cel/library/ip.go and cidr.go. */
#include "api/formats.h"
#include "api/netip.h"
#include "cel/libraries.h"

static bool ip_equal(const void *a, const void *b)
{
    return netip_equal(a, b);
}

static size_t ip_size(const void *data)
{
    const struct netip *ip = data;
    return ip->v4 ? 4 : 16;
}

static bool cidr_equal(const void *a, const void *b)
{
    const struct netip_prefix *x = a, *y = b;
    return x->bits == y->bits && netip_equal(&x->ip, &y->ip);
}

static size_t cidr_size(const void *data)
{
    const struct netip_prefix *net = data;
    return ip_size(&net->ip);
}

static const struct cel_opaque ip_type = {"net.IP", ip_equal, ip_size};
static const struct cel_opaque cidr_type = {"net.CIDR", cidr_equal, cidr_size};

static bool quoted_fail(struct err *err, const char *before, struct str text, const char *after)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    add_quoted(&b, text);
    return err_set(err, E_INVALID, "%s" STR_FMT "%s", before, STR_ARG(strbuf_str(&b)), after);
}

static bool ip_read(struct str text, struct netip *out, struct err *err)
{
    struct err why = ERR;
    if (!netip_parse(text, out, &why)) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        strbuf_addf(&b, " parse error during conversion from string: %s", why.text);
        return quoted_fail(err, "IP Address ", text, b.p);
    }
    if (out->zone.n)
        return quoted_fail(err, "IP address ", text, " with zone value is not allowed");
    return !netip_is_mapped(out) || quoted_fail(err, "IPv4-mapped IPv6 address ", text, " is not allowed");
}

static bool cidr_read(struct str text, struct netip_prefix *out, struct err *err)
{
    if (!netip_prefix_parse(text, out, err))
        return err_wrap(err, "network address parse error during conversion from string");
    return !netip_is_mapped(&out->ip) || quoted_fail(err, "IPv4-mapped IPv6 address ", text, " is not allowed");
}

static struct cel_value ip_value(struct cel_run *run, const struct netip *ip)
{
    return cel_opaque_of(&ip_type, arena_dup(cel_arena(run), ip, sizeof *ip));
}

static struct cel_value cidr_value(struct cel_run *run, const struct netip_prefix *net)
{
    return cel_opaque_of(&cidr_type, arena_dup(cel_arena(run), net, sizeof *net));
}

static struct cel_value ip_of_text(CEL_RUN)
{
    struct netip ip;
    struct err err = ERR;
    return ip_read(cel_text(a[0]), &ip, &err) ? ip_value(run, &ip) : cel_error(run, "%s", err.text);
}

static struct cel_value ip_is_valid(CEL_RUN)
{
    struct netip ip;
    struct err err = ERR;
    return cel_bool(ip_read(cel_text(a[0]), &ip, &err));
}

static struct cel_value ip_is_canonical(CEL_RUN)
{
    struct netip ip;
    struct err err = ERR;
    if (!ip_read(cel_text(a[0]), &ip, &err))
        return cel_error(run, "%s", err.text);
    return cel_bool(str_eq(netip_text(cel_arena(run), &ip), cel_text(a[0])));
}

static struct cel_value ip_to_text(CEL_RUN)
{
    return cel_string(netip_text(cel_arena(run), a[0].data));
}

static struct cel_value ip_family(CEL_RUN)
{
    const struct netip *ip = a[0].data;
    return cel_int(ip->v4 ? 4 : 6);
}

static bool bytes_are_zero(const uint8_t *p, size_t n)
{
    while (n && !p[n - 1])
        n--;
    return !n;
}

static bool is_loopback(const struct netip *ip)
{
    return ip->v4 ? ip->bytes[0] == 127 : bytes_are_zero(ip->bytes, 15) && ip->bytes[15] == 1;
}

static bool is_link_local(const struct netip *ip)
{
    const uint8_t *p = ip->bytes;
    return ip->v4 ? p[0] == 169 && p[1] == 254 : p[0] == 0xfe && (p[1] & 0xc0) == 0x80;
}

static bool is_multicast(const struct netip *ip)
{
    return ip->v4 ? (ip->bytes[0] & 0xf0) == 0xe0 : ip->bytes[0] == 0xff;
}

static struct cel_value ip_is_unspecified(CEL_RUN)
{
    const struct netip *ip = a[0].data;
    return cel_bool(bytes_are_zero(ip->bytes, 16));
}

static struct cel_value ip_is_loopback(CEL_RUN)
{
    return cel_bool(is_loopback(a[0].data));
}

static struct cel_value ip_is_link_local_multicast(CEL_RUN)
{
    const struct netip *ip = a[0].data;
    const uint8_t *p = ip->bytes;
    return cel_bool(ip->v4 ? p[0] == 224 && !p[1] && !p[2] : p[0] == 0xff && (p[1] & 0x0f) == 2);
}

static struct cel_value ip_is_link_local_unicast(CEL_RUN)
{
    return cel_bool(is_link_local(a[0].data));
}

static struct cel_value ip_is_global_unicast(CEL_RUN)
{
    static const uint8_t all[4] = {255, 255, 255, 255};
    const struct netip *ip = a[0].data;
    bool none = bytes_are_zero(ip->bytes, 16) || (ip->v4 && !memcmp(ip->bytes, all, sizeof all));
    return cel_bool(!none && !is_loopback(ip) && !is_multicast(ip) && !is_link_local(ip));
}

static struct cel_value cidr_of_text(CEL_RUN)
{
    struct netip_prefix net;
    struct err err = ERR;
    if (cidr_read(cel_text(a[0]), &net, &err))
        return cidr_value(run, &net);
    return cel_error(run, "network address parse error during conversion from string: %s", err.text);
}

static struct cel_value cidr_is_valid(CEL_RUN)
{
    struct netip_prefix net;
    struct err err = ERR;
    return cel_bool(cidr_read(cel_text(a[0]), &net, &err));
}

static struct cel_value cidr_to_text(CEL_RUN)
{
    const struct netip_prefix *net = a[0].data;
    struct str ip = netip_text(cel_arena(run), &net->ip);
    return cel_string(arena_fmt(cel_arena(run), STR_FMT "/%d", STR_ARG(ip), net->bits));
}

static struct cel_value cidr_to_ip(CEL_RUN)
{
    const struct netip_prefix *net = a[0].data;
    return ip_value(run, &net->ip);
}

static struct cel_value cidr_length(CEL_RUN)
{
    const struct netip_prefix *net = a[0].data;
    return cel_int(net->bits);
}

static struct cel_value cidr_masked(CEL_RUN)
{
    const struct netip_prefix *net = a[0].data;
    struct netip_prefix out = {netip_masked(&net->ip, net->bits), net->bits};
    return cidr_value(run, &out);
}

static struct cel_value cidr_has_ip(CEL_RUN)
{
    return cel_bool(netip_in(a[0].data, a[1].data));
}

static struct cel_value cidr_has_ip_text(CEL_RUN)
{
    struct netip ip;
    struct err err = ERR;
    /* as upstream, which hands on what is no address */
    return ip_read(cel_text(a[1]), &ip, &err) ? cel_bool(netip_in(a[0].data, &ip)) : cel_error(run, "%s", err.text);
}

static struct cel_value net_has_net(const struct netip_prefix *net, const struct netip_prefix *part)
{
    return cel_bool(part->bits >= net->bits && netip_in(net, &part->ip));
}

static struct cel_value cidr_has_cidr(CEL_RUN)
{
    return net_has_net(a[0].data, a[1].data);
}

static struct cel_value cidr_has_cidr_text(CEL_RUN)
{
    struct netip_prefix part;
    struct err err = ERR;
    if (cidr_read(cel_text(a[1]), &part, &err))
        return net_has_net(a[0].data, &part);
    return cel_error(run, "network address parse error during conversion from string: %s", err.text);
}

static const struct cel_function ip_rows[] = {
    {"ip", "string_to_ip", "(string) net.IP", ip_of_text, CEL_COST_PARSE_FREE, 0, 0},
    {"family", "ip_family", "net.IP.() int", ip_family, CEL_COST_ONE, 0, 0},
    {"ip.isCanonical", "ip_is_canonical", "(string) bool", ip_is_canonical, CEL_COST_PARSE_TWICE, 0, 0},
    {"isUnspecified", "ip_is_unspecified", "net.IP.() bool", ip_is_unspecified, CEL_COST_ONE, 0, 0},
    {"isLoopback", "ip_is_loopback", "net.IP.() bool", ip_is_loopback, CEL_COST_ONE, 0, 0},
    {"isLinkLocalMulticast", "ip_is_link_local_multicast", "net.IP.() bool", ip_is_link_local_multicast, CEL_COST_ONE,
     0, 0},
    {"isLinkLocalUnicast", "ip_is_link_local_unicast", "net.IP.() bool", ip_is_link_local_unicast, CEL_COST_ONE, 0,
     0},
    {"isGlobalUnicast", "ip_is_global_unicast", "net.IP.() bool", ip_is_global_unicast, CEL_COST_ONE, 0, 0},
    {"isIP", "is_ip", "(string) bool", ip_is_valid, CEL_COST_PARSE_FREE, 0, 0},
    {"string", "ip_to_string", "(net.IP) string", ip_to_text, CEL_COST_ONE, 0, 0},
};
const struct cel_library cel_lib_ip = CEL_LIBRARY("kubernetes.net.ip", ip_rows);

static const struct cel_function cidr_rows[] = {
    {"cidr", "string_to_cidr", "(string) net.CIDR", cidr_of_text, CEL_COST_PARSE_FREE, 0, 0},
    {"containsIP", "cidr_contains_ip_string", "net.CIDR.(string) bool", cidr_has_ip_text, CEL_COST_CONTAINS_IP_STRING,
     0, 0},
    {"containsIP", "cidr_contains_ip_ip", "net.CIDR.(net.IP) bool", cidr_has_ip, CEL_COST_CONTAINS_IP, 0, 0},
    {"containsCIDR", "cidr_contains_cidr_string", "net.CIDR.(string) bool", cidr_has_cidr_text,
     CEL_COST_CONTAINS_CIDR_STRING, 0, 0},
    {"containsCIDR", "cidr_contains_cidr", "net.CIDR.(net.CIDR) bool", cidr_has_cidr, CEL_COST_CONTAINS_CIDR, 0, 0},
    {"ip", "cidr_ip", "net.CIDR.() net.IP", cidr_to_ip, CEL_COST_ONE, 0, 0},
    {"prefixLength", "cidr_prefix_length", "net.CIDR.() int", cidr_length, CEL_COST_ONE, 0, 0},
    {"masked", "cidr_masked", "net.CIDR.() net.CIDR", cidr_masked, CEL_COST_ONE, 0, 0},
    {"isCIDR", "is_cidr", "(string) bool", cidr_is_valid, CEL_COST_PARSE_FREE, 0, 0},
    {"string", "cidr_to_string", "(net.CIDR) string", cidr_to_text, CEL_COST_ONE, 0, 0},
};
const struct cel_library cel_lib_cidr = CEL_LIBRARY("net.cidr", cidr_rows);
