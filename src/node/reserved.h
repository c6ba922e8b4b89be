/* reserved.h - what of the machine is not for pods: kept for the system and for Wherry itself, in a kubelet's
 * notation (kubeReserved, systemReserved), and what follows from it. Pure. */
#pragma once
#include "base/err.h"

struct node_amounts {
    int64_t cpu_milli, memory, disk, pids; /* bytes */
};
struct reserved_rules {
    struct node_amounts kept; /* of both together */
    bool enforced;            /* pods as a whole are held to the rest by their group */
};
/* "cpu=100m,memory=200Mi,ephemeral-storage=1Gi,pid=1000"; empty: nothing. Adds to *out. Errors name what is wrong. */
MUST_USE bool reserved_read(struct str text, struct node_amounts *out, struct err *err);
/* enforce-node-allocatable: "pods" or "none". */
MUST_USE bool reserved_enforced(struct str text, bool *out, struct err *err);
/* capacity less what is kept, and less what hard thresholds of eviction keep free; nothing below 0. */
struct node_amounts reserved_allocatable(const struct node_amounts *capacity, const struct node_amounts *kept,
                                         const struct node_amounts *thresholds);
