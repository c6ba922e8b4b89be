/* ranges.h - what stands before any pod or rule: where packets for the pod and service ranges go. The pod range is
 * unreachable below the /32s of pods. The service range is routed to lo as local, with the node's address as source:
 * nat of the output hook runs after routing, so an unreachable route would kill host to Service; and the kernel
 * answers for what no rule translated (a plain route to lo cannot: its ICMP errors would come from an address that is
 * not ours), also while the rules are not there. So nothing meant for either range leaves the machine, and what is
 * not there is refused at once. And the settings of the kernel that pods need, each remembered so that `down` puts it
 * back. Blocking. */
#pragma once
#include "net/addr.h"
#include "net/link.h"

struct ranges {
    struct instance instance;
    struct cidr4 pods;      /* of the cluster */
    struct cidr4 node_pods; /* this node's part of it; its second address becomes the node's, on lo */
    struct cidr4 services;  /* of the cluster */
    const char *state_path; /* where changed settings are remembered: lines "NAME OLD NEW" */
};
/* Idempotent: a second call repairs what is missing. */
MUST_USE bool ranges_up(const struct ranges *r, struct err *err);
/* Removes routes and address, and puts back each setting that is still as we made it; one that somebody else changed
 * since stays. Goes on after an error and reports the first. */
MUST_USE bool ranges_down(const struct ranges *r, struct err *err);
