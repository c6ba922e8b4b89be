/* route.h - IPv4 routes and addresses over rtnetlink. Blocking where it talks to the kernel. */
#pragma once
#include "base/array.h"
#include "net/addr.h"
#include "net/netlink.h"

#define ROUTE_PROTOCOL 87 /* marks every route of ours ("proto 87" in ip route) */

struct route {
    struct cidr4 to;
    int type;          /* RTN_UNICAST (0 is taken for it), RTN_UNREACHABLE, RTN_LOCAL (table local) */
    int ifindex;       /* 0: none */
    uint32_t via, src; /* 0: none */
    uint32_t metric;
    int protocol; /* read only: what is written is ROUTE_PROTOCOL */
};
struct routes {
    ARRAY(struct route) list;
};
/* Adds a message to a batch: type is RTM_NEWROUTE (replaces) or RTM_DELROUTE; RTM_NEWADDR or RTM_DELADDR of ip/32,
 * label may be NULL. */
void route_put(struct nlbuf *b, uint16_t type, const struct route *r);
void addr_put(struct nlbuf *b, uint16_t type, int ifindex, uint32_t ip, int scope, const char *label);
/* All IPv4 routes of the main table; array_fini(&out->list). */
MUST_USE bool route_list(struct netlink *nl, struct routes *out, struct err *err);
