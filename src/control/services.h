/* services.h - what stands behind a Service: its pods, their addresses and ports. Pure; shared by the controllers of
 * EndpointSlices and Endpoints. */
#pragma once
#include "control/manager.h"

/* A pod behind a service, in one address family. */
struct backend {
    struct obj *pod;
    struct str ip;
    const struct val *ports; /* list of {name, port, protocol, appProtocol}; one for all pods that have the same */
    bool ready, serving, terminating;
};
struct backends {
    struct backend *p;
    size_t n, cap;
}; /* an ARRAY with a name */

/* Pods that the service selects, with an address of the family ("IPv4", "IPv6"), sorted by name. A service without
 * selector or of type ExternalName has none; then the answer is false. */
bool service_backends(const struct view *v, const struct obj *svc, struct str family, struct plan *out,
                      struct backends *backends);
bool service_is_headless(const struct obj *svc);
/* Keys of the services that select the pod, or did. */
void keys_of_services(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                      void *arg);
