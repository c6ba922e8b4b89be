/* aim.h - where a request that goes to a node, a pod or a Service has to go: which ones do, whether what they ask is
 * in order, and the address. None leads to this machine's loopback, to its links, or to a pod that has ended. */
#pragma once
#include "server/int.h"

struct aim_row {
    struct str resource, sub, path; /* path: of the kubelet API; "": the client says it */
    bool upgrade, container;
};
const struct aim_row *aim_row_of(const struct request *r);               /* NULL: it goes to no node */
bool aim_proxies(struct str group, struct str resource, struct str sub); /* the client says path and method */

/* Where a request goes. */
struct aim {
    struct strbuf target; /* path and query; empty: there is nothing to ask for */
    struct str uid;       /* of the pod */
    struct str address;   /* "": the relay */
    struct str host;
    struct str prefix; /* of a pod or Service: its proxy's path */
    bool tls;
};
void aim_fini(struct aim *a);
AUTO_VALUE(aim_fini, struct aim);

/* r: one with a row; rest: what stands behind proxy/. aim->target is empty and has its bound. False: r failed. */
MUST_USE bool aim_find(struct request *r, struct http_request *h, struct str rest, struct aim *aim);
