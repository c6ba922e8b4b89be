/* model.h - from API objects to what the data planes know: a Service (core/v1) and its EndpointSlices
 * (discovery.k8s.io/v1) become service.h's and dns_zone.h's structs. Pure; the result lives in the arena and borrows
 * the trees. IPv4 only: slices and addresses of other families are passed over. Rules as kube-proxy 1.36 has them
 * (pkg/proxy/servicechangetracker, topology): an endpoint without a ready condition is ready; where none is ready,
 * those that terminate but still serve are used, for the whole cluster and, with the Local policies, for this node.
 */
#pragma once
#include "api/tree.h"
#include "base/array.h"
#include "net/dns_zone.h"
#include "net/service.h"

struct net_services {
    ARRAY(struct net_service) list; /* array_fini */
};
/* What the cluster itself gives away: ClusterIPs, and addresses of pods and nodes. An external address (externalIPs,
 * status.loadBalancer, hostIP) in there would be somebody else's, the API's and the DNS's among them: it is passed
 * over, as is one that is no machine's (loopback, multicast). */
struct net_own {
    struct cidr4 services, pods;
};
/* Appends one for each port. Nothing for ExternalName, headless, and what another proxy serves (label
 * service.kubernetes.io/service-proxy-name). */
void model_services(struct arena *a, const struct net_own *own, const struct val *service,
                    const struct val *const *slices, size_t nslices, struct str node_name, struct net_services *out);
/* The port on which the node says whether it has endpoints (healthCheckNodePort), and how many; 0: none. */
uint16_t model_health(const struct val *service, const struct val *const *slices, size_t nslices,
                      struct str node_name, size_t *endpoints);
/* Whether it is a load balancer with ports that it would have on the nodes, and has not yet. */
bool model_wants_ports(const struct val *service);
/* Whether the node is to answer for the address of this load balancer, one of a pool; on which links, by commas
 * ("": on those of its subnet). */
bool model_announced(const struct val *service, struct str node_name, uint32_t *ip, struct str *interfaces);
/* The hostPorts of a pod with an address (status.podIP) that is not on the host's network. */
void model_host_ports(struct arena *a, const struct net_own *own, const struct val *pod, uint32_t pod_ip,
                      struct net_services *out);
/* False: it has no name in DNS. */
bool model_dns(struct arena *a, const struct val *service, const struct val *const *slices, size_t nslices,
               struct dns_service *out);
