/* netpolicy.h - what a NetworkPolicy (networking/v1) says, in numbers and selectors. Pure; shared by those who
 * enforce policies (net/fence.h) and those who explain them (control/why_policy.c). */
#pragma once
#include "api/obj.h"

/* Whom a policy is about: whether it isolates the pod for the direction (policyTypes with their defaults,
 * podSelector, namespace). */
bool netpolicy_isolates(const struct obj *policy, struct str pod_ns, const struct val *pod_labels, bool egress);

/* One end of a connection, as far as policies ask. */
struct netpolicy_end {
    struct str ns; /* empty: not a pod of this cluster (ipBlock alone can name it) */
    const struct val *ns_labels, *labels;
    uint32_t ip;                  /* host order */
    const struct val *containers; /* of the pod that is connected to: for named ports; may be NULL */
};
/* Whether a rule of the policy (which isolates `self` in that direction) allows the connection with the other end.
 * proto: NET_TCP ...; port: of the destination, after Services were translated. */
bool netpolicy_allows(const struct obj *policy, const struct netpolicy_end *self, const struct netpolicy_end *other,
                      bool egress, uint8_t proto, uint16_t port);
