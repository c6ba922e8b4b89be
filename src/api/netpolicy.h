/* netpolicy.h - what a NetworkPolicy (networking/v1) says, in numbers and selectors. Pure; shared by those who
 * enforce policies (net/fence.h) and those who explain them (control/why_policy.c). Protocols are IP's numbers. */
#pragma once
#include "api/obj.h"
#include "base/array.h"

/* Whether it is about a direction at all (policyTypes with their defaults). */
bool netpolicy_is_about(const struct obj *policy, bool egress);
/* Whom a policy is about: whether it isolates the pod for the direction (policyTypes with their defaults,
 * podSelector, namespace). */
bool netpolicy_isolates(const struct obj *policy, struct str pod_ns, const struct val *pod_labels, bool egress);

/* One end of a connection, as far as policies ask. */
struct netpolicy_end {
    struct str ns;                        /* empty: not a pod of this cluster (ipBlock alone can name it) */
    const struct val *ns_labels, *labels; /* ns_labels NULL: nobody has heard of the namespace */
    uint32_t ip;                          /* host order */
    const struct val *containers;         /* of the pod that is connected to: for named ports; may be NULL */
};
/* Whether a rule of the policy (which isolates `self` in that direction) allows the connection with the other end.
 * proto: NET_TCP ...; port: of the destination, after Services were translated; of protocols without ports 0. */
bool netpolicy_allows(const struct obj *policy, const struct netpolicy_end *self, const struct netpolicy_end *other,
                      bool egress, uint8_t proto, uint16_t port);

/* ---- its parts ---- */

/* The rules of a direction (`ingress` or `egress`); of a rule: its peers (`from` or `to`). No peers, no ports: all.
 */
const struct val *netpolicy_rules(const struct obj *policy, bool egress);
const struct val *netpolicy_peers(const struct val *rule, bool egress);
/* metav1.LabelSelector of the pods it is about; an empty one where it has none. */
const struct val *netpolicy_subjects(const struct obj *policy);

struct netpolicy_port {
    uint8_t proto;
    uint16_t from, to; /* both in it; all: 0 to 65535 */
    struct str name;   /* not empty: a port of the destination pod that is called so, and no numbers */
};
/* False: no connection can have it (a port above 65535, a range that ends before it begins, an unknown protocol). */
bool netpolicy_port_of(const struct val *port, struct netpolicy_port *out);

struct netpolicy_range {
    uint32_t from, to; /* addresses in host order, both in it */
};
struct netpolicy_ranges {
    ARRAY(struct netpolicy_range) list;
};
void netpolicy_ranges_fini(struct netpolicy_ranges *r);
AUTO_VALUE(netpolicy_ranges_fini, struct netpolicy_ranges);
/* Adds the IPv4 addresses of an ipBlock without its exceptions. IPv6, which pods have not, adds nothing. */
void netpolicy_block_add(const struct val *block, struct netpolicy_ranges *r);
void netpolicy_ranges_merge(struct netpolicy_ranges *r); /* in order, none overlaps or touches another */
