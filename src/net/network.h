/* network.h - the network of one node as a whole: what a node role does when it starts, and what `down` undoes.
 * Blocking, in this order: preflight_run (preflight.h), network_up, then dataplane_new (dataplane.h) and pods
 * (link.h). */
#pragma once
#include "net/link.h"
#include "net/ranges.h"
#include "net/rules.h"

struct network_config {
    struct rules_config net;
    const char *state_path; /* see ranges.h */
};
/* Routes, settings, the node's address. Whatever of an earlier run is there stays. */
MUST_USE bool network_up(const struct network_config *c, struct err *err);
/* Removes the table, links of pods, routes, address, and puts settings back. Goes on after an error and reports the
 * first; what is not there is no error. */
MUST_USE bool network_down(const struct network_config *c, struct err *err);
