/* netpolicy.c - what a NetworkPolicy says.
 *
 * Nothing here trusts that the object was validated: policies of older servers are stored, too. What cannot be read
 * allows nothing.
 *
 * An absent selector and an empty one differ: a peer without podSelector means all pods of its namespaces, one
 * without namespaceSelector those of the policy's own. An absent list of rules, of peers or of ports and an empty one
 * do not differ - but for rules, where neither allows anything, and peers and ports, where both allow all.
 */
#include "api/netpolicy.h"
#include "api/netip.h"
#include "api/selector.h"
#include <netinet/in.h>

static const struct val everything = {.type = VAL_MAP};

const struct val *netpolicy_rules(const struct obj *policy, bool egress)
{
    return val_get(obj_spec(policy), egress ? N(egress) : N(ingress));
}

const struct val *netpolicy_peers(const struct val *rule, bool egress)
{
    return val_get(rule, egress ? N(to) : N(from));
}

const struct val *netpolicy_subjects(const struct obj *policy)
{
    const struct val *s = val_get(obj_spec(policy), N(podSelector));
    return val_is(s, VAL_MAP) ? s : &everything;
}

bool netpolicy_is_about(const struct obj *policy, bool egress)
{
    const struct val *types = val_get(obj_spec(policy), N(policyTypes));
    if (val_len(types))
        return val_has_text(types, egress ? S("Egress") : S("Ingress"));
    return !egress || val_len(netpolicy_rules(policy, true));
}

bool netpolicy_isolates(const struct obj *policy, struct str pod_ns, const struct val *pod_labels, bool egress)
{
    return netpolicy_is_about(policy, egress) && str_eq(policy->ns, pod_ns) &&
           label_selector_matches(netpolicy_subjects(policy), pod_labels);
}

/* ---- ports ---- */

bool netpolicy_port_of(const struct val *port, struct netpolicy_port *out)
{
    const struct val *number = val_get(port, N(port)), *end = val_get(port, N(endPort));
    struct str proto = val_text(val_get(port, N(protocol)));
    *out = (struct netpolicy_port){.proto = IPPROTO_TCP, .to = UINT16_MAX};
    if (str_eqz(proto, "UDP"))
        out->proto = IPPROTO_UDP;
    else if (str_eqz(proto, "SCTP"))
        out->proto = IPPROTO_SCTP;
    else if (proto.n && !str_eqz(proto, "TCP"))
        return false;
    if (val_is(number, VAL_STRING)) {
        out->name = val_text(number);
        return out->name.n > 0;
    }
    if (!val_is(number, VAL_INT))
        return true;
    int64_t from = val_num(number, 0), to = val_num(end, from);
    if (from < 1 || to < from || to > UINT16_MAX)
        return false;
    out->from = (uint16_t)from;
    out->to = (uint16_t)to;
    return true;
}

static bool container_has_port(const struct val *containers, const struct netpolicy_port *p, uint16_t port)
{
    val_each_item (c, containers) {
        val_each_item (it, val_get(c, N(ports))) {
            struct str proto = val_text(val_get(it, N(protocol)));
            uint8_t number = str_eqz(proto, "UDP")    ? IPPROTO_UDP
                             : str_eqz(proto, "SCTP") ? IPPROTO_SCTP
                                                      : IPPROTO_TCP;
            if (number == p->proto && str_eq(val_text(val_get(it, N(name))), p->name) &&
                val_num(val_get(it, N(containerPort)), 0) == port)
                return true;
        }
    }
    return false;
}

static bool port_allows(const struct val *port, const struct netpolicy_end *to, uint8_t proto, uint16_t number)
{
    struct netpolicy_port p;
    if (!netpolicy_port_of(port, &p) || p.proto != proto)
        return false;
    if (p.name.n)
        return to->ns.n && container_has_port(to->containers, &p, number);
    return number >= p.from && number <= p.to;
}

/* ---- addresses ---- */

static bool range_of(const struct val *cidr, struct netpolicy_range *out)
{
    struct netip_prefix p;
    struct err err = ERR; /* what is no range of IPv4 has no address that pods could meet */
    if (!netip_prefix_parse(val_text(cidr), &p, &err) || !p.ip.v4)
        return false;
    uint32_t mask = p.bits ? UINT32_MAX << (32 - p.bits) : 0;
    const uint8_t *b = p.ip.bytes;
    out->from = ((uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3]) & mask;
    out->to = out->from | ~mask;
    return true;
}

void netpolicy_ranges_fini(struct netpolicy_ranges *r)
{
    array_fini(&r->list);
}

static int range_cmp(const void *a, const void *b)
{
    const struct netpolicy_range *x = a, *y = b;
    return x->from != y->from ? (x->from > y->from) - (x->from < y->from) : (x->to > y->to) - (x->to < y->to);
}

void netpolicy_ranges_merge(struct netpolicy_ranges *r)
{
    size_t n = 0;
    if (!r->list.n)
        return;
    qsort(r->list.p, r->list.n, sizeof *r->list.p, range_cmp);
    for (size_t i = 1; i < r->list.n; i++) {
        struct netpolicy_range *last = &r->list.p[n], *it = &r->list.p[i];
        if (last->to == UINT32_MAX || it->from <= last->to + 1)
            last->to = MAX(last->to, it->to);
        else
            r->list.p[++n] = *it;
    }
    r->list.n = n + 1;
}

void netpolicy_block_add(const struct val *block, struct netpolicy_ranges *r)
{
    AUTO(netpolicy_ranges_fini) struct netpolicy_ranges except = {0};
    struct netpolicy_range all, one;
    uint32_t at;
    bool open = true;
    if (!range_of(val_get(block, N(cidr)), &all))
        return;
    val_each_item (it, val_get(block, N(except)))
        if (range_of(it, &one))
            array_push(&except.list, one);
    netpolicy_ranges_merge(&except);
    at = all.from;
    array_each (e, &except.list) {
        if (e->to < at || e->from > all.to)
            continue;
        if (e->from > at)
            array_push(&r->list, ((struct netpolicy_range){at, e->from - 1}));
        open = e->to < all.to;
        if (!open)
            break;
        at = e->to + 1;
    }
    if (open)
        array_push(&r->list, ((struct netpolicy_range){at, all.to}));
}

static bool block_has(const struct val *block, uint32_t ip)
{
    struct netpolicy_range r;
    if (!range_of(val_get(block, N(cidr)), &r) || ip < r.from || ip > r.to)
        return false;
    val_each_item (it, val_get(block, N(except)))
        if (range_of(it, &r) && ip >= r.from && ip <= r.to)
            return false;
    return true;
}

/* ---- rules ---- */

static bool peer_allows(const struct obj *policy, const struct val *peer, const struct netpolicy_end *other)
{
    const struct val *block = val_get(peer, N(ipBlock)), *namespaces = val_get(peer, N(namespaceSelector)),
                     *pods = val_get(peer, N(podSelector));
    if (val_is(block, VAL_MAP))
        return block_has(block, other->ip);
    if (!other->ns.n || (!val_is(namespaces, VAL_MAP) && !val_is(pods, VAL_MAP)))
        return false;
    if (val_is(namespaces, VAL_MAP) ? !other->ns_labels || !label_selector_matches(namespaces, other->ns_labels)
                                    : !str_eq(other->ns, policy->ns))
        return false;
    return !val_is(pods, VAL_MAP) || label_selector_matches(pods, other->labels);
}

static bool rule_allows(const struct obj *policy, const struct val *rule, const struct netpolicy_end *self,
                        const struct netpolicy_end *other, bool egress, uint8_t proto, uint16_t port)
{
    const struct val *ports = val_get(rule, N(ports)), *peers = netpolicy_peers(rule, egress);
    bool fits = val_len(ports) == 0;
    val_each_item (it, ports)
        fits = fits || port_allows(it, egress ? other : self, proto, port);
    if (!fits || val_len(peers) == 0)
        return fits;
    val_each_item (it, peers)
        if (peer_allows(policy, it, other))
            return true;
    return false;
}

bool netpolicy_allows(const struct obj *policy, const struct netpolicy_end *self, const struct netpolicy_end *other,
                      bool egress, uint8_t proto, uint16_t port)
{
    val_each_item (rule, netpolicy_rules(policy, egress))
        if (rule_allows(policy, rule, self, other, egress, proto, port))
            return true;
    return false;
}
