/* admit.h - whether this node takes in a pod that was bound to it, by a scheduler or by hand (kubelet: lifecycle's
 * predicates). Pure. Reasons and sentences are a kubelet's. */
#pragma once
#include "api/obj.h"

struct refusal {
    const char *reason;  /* OutOfcpu, NodeAffinity ...; of the status and of the event */
    struct str message;  /* of the event; the status says "Pod was rejected: " before it */
    bool by_node_fields; /* by labels or taints: a newer Node may say otherwise */
};
/* `others`: the pods that have been taken in and are not over. False: refused, and why. */
bool admit_pod(struct arena *a, const struct obj *pod, const struct obj *node, const struct obj *const *others,
               size_t nothers, struct refusal *why);
