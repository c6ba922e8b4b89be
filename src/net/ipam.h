/* ipam.h - which pod has which address of this node's range. Round robin: the search
 * goes on behind the address given last, so one that was given back mostly rests for a round, and stale connections
 * and cache entries do not meet a new pod. Pure: what survives a restart is the links that exist (link.h); their
 * order of making says where to go on. One thread. */
#pragma once
#include "net/addr.h"
#include "net/link.h"

struct ipam {
    struct cidr4 range;
    uint32_t next; /* offset from range.ip where the search goes on */
    uint32_t size, used;
    uint64_t *taken; /* bits */
};
/* The first address (the network's), the second (the node's own, ipam_node_ip) and the last are never given.
 * /16 to /29. */
MUST_USE bool ipam_init(struct ipam *p, struct cidr4 range, struct err *err);
void ipam_fini(struct ipam *p);
AUTO_VALUE(ipam_fini, struct ipam);
uint32_t ipam_node_ip(struct cidr4 range);
/* After a restart: what exists is taken; the search goes on after the one made last. */
void ipam_restore(struct ipam *p, const struct pod_links *links);
MUST_USE bool ipam_take(struct ipam *p, uint32_t *ip, struct err *err); /* E_UNAVAILABLE: the range is full */
bool ipam_mark(struct ipam *p, uint32_t ip);                            /* false: not in the range, or taken */
void ipam_give_back(struct ipam *p, uint32_t ip);                       /* not taken: nothing happens */
