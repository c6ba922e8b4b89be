/* preflight.h - what stands in the way of a node's network, found before anything is changed: each finding one
 * sentence that says what, why it matters, and the way out. Blocking. Changes nothing that lasts: ports are
 * opened for a moment, and what the kernel can do is tried in namespaces of its own. Nothing here repairs: foreign
 * rules and settings are the operator's. */
#pragma once
#include "base/array.h"
#include "net/rules.h"

struct preflight_port {
    bool udp;
    bool later;  /* the address is one that the node itself adds, after this look */
    uint32_t ip; /* 0: any */
    uint16_t port;
    const char *what; /* "the API server" */
};
struct preflight_config {
    struct rules_config net;
    const struct preflight_port *ports;
    size_t nports;
    bool adopting; /* a node role of this instance was here before: its own routes and table are no obstacle */
};
struct preflight_finding {
    bool fatal; /* the start is refused; otherwise a warning */
    char text[600];
};
struct preflight {
    ARRAY(struct preflight_finding) found;
};
void preflight_ports(const struct preflight_config *c, struct preflight *p); /* of all this the ports alone */
/* False only where looking itself failed. array_fini(&p->found). */
MUST_USE bool preflight_run(const struct preflight_config *c, struct preflight *p, struct err *err);
