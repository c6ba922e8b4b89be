/* The rows: which controllers there are, and the indexes that plans may ask for. */
#include "api/custom.h"
#include "control/backend_tls.h"
#include "control/cert.h"
#include "control/gateway.h"
#include "control/manager.h"
#include "control/pods.h"
#include "control/volumes.h"

#define ROWS(X)                                                                                                      \
    X(deployment)                                                                                                    \
    X(replicaset)                                                                                                    \
    X(statefulset)                                                                                                   \
    X(replication)                                                                                                   \
    X(daemonset)                                                                                                     \
    X(cronjob)                                                                                                       \
    X(endpointslice)                                                                                                 \
    X(endpoints)                                                                                                     \
    X(mirror)                                                                                                        \
    X(rootca)                                                                                                        \
    X(serviceaccount)                                                                                                \
    X(namespace)                                                                                                     \
    X(garbage)                                                                                                       \
    X(node)                                                                                                          \
    X(eviction)                                                                                                      \
    X(podgc)                                                                                                         \
    X(disruption)                                                                                                    \
    X(staletarget)                                                                                                   \
    X(policies)                                                                                                      \
    X(clusterroles)                                                                                                  \
    X(crdnames)                                                                                                      \
    X(crdfinalizer)                                                                                                  \
    X(apiservices)                                                                                                   \
    X(claims)                                                                                                        \
    X(volumes)                                                                                                       \
    X(hpa)                                                                                                           \
    X(expand)                                                                                                        \
    X(ephemeral)                                                                                                     \
    X(volumematch)                                                                                                   \
    X(attach)                                                                                                        \
    X(attached)                                                                                                      \
    X(pvcprotection)                                                                                                 \
    X(pvprotection)                                                                                                  \
    X(vacprotection)                                                                                                 \
    X(job)                                                                                                           \
    X(joborphans)                                                                                                    \
    X(jobttl)                                                                                                        \
    X(gatewayclass)                                                                                                  \
    X(gateway)                                                                                                       \
    X(listenerset)                                                                                                   \
    X(httproute)                                                                                                     \
    X(grpcroute)                                                                                                     \
    X(tlsroute)                                                                                                      \
    X(tcproute)                                                                                                      \
    X(udproute)                                                                                                      \
    X(ingress)                                                                                                       \
    X(loadbalancer)                                                                                                  \
    X(frontservice)                                                                                                  \
    X(backendtls)                                                                                                    \
    X(csr)                                                                                                           \
    X(certificate)                                                                                                   \
    X(certificaterequest)                                                                                            \
    X(issuer)                                                                                                        \
    X(clusterissuer)                                                                                                 \
    X(ingressshim)                                                                                                   \
    X(listenersetshim)                                                                                               \
    X(gatewayshim)                                                                                                   \
    X(cainjector)

#define X(name) extern const struct controller name##_controller;
ROWS(X)
#undef X

const struct controller *const controllers[] = {
#define X(name) &name##_controller,
    ROWS(X)
#undef X
        NULL};

bool kind_is_watched(const struct kind *k)
{
    const unsigned need = VERB_LIST | VERB_WATCH | VERB_DELETE;
    bool one = k->custom ? str_eq(k->custom->main, k->version) : !k->storage || k->storage == k;
    return (k->verbs & need) == need && one && k != K(Event) && k != K(events_k8s_io_Event);
}

extern const struct objindex index_inject; /* cert_inject.c */
extern const struct objindex index_slices, index_group, index_job_selector;
extern const struct objindex index_ingress_host, index_ingress_names;
extern const struct objindex index_balancers, index_host_ports, index_metallb;
extern const struct objindex index_attachment_volume, index_volume_driver, index_pod_inline, index_capacity_class;
extern const struct objindex index_volume_disk, index_node_disk;

static const struct objindex *const *cert_indexes(const struct kind *k)
{
    static const struct objindex *const certs[] = {&index_namespace, &index_owner, &index_cert_secret, NULL};
    static const struct objindex *const requests[] = {&index_namespace, &index_owner, &index_cert_issuer,
                                                      &index_request_secret, NULL};
    static const struct objindex *const issuers[] = {&index_namespace, &index_owner, &index_issuer_secret, NULL};
    static const struct objindex *const cluster_issuers[] = {&index_owner, &index_issuer_secret, NULL};
    struct str d = k->custom->definition;
    return str_eqz(d, CERTS)             ? certs
           : str_eqz(d, CERT_REQUESTS)   ? requests
           : str_eqz(d, ISSUERS)         ? issuers
           : str_eqz(d, CLUSTER_ISSUERS) ? cluster_issuers
                                         : NULL;
}

/* Of kinds that definitions define; NULL: none of their own. */
static const struct objindex *const *defined_indexes(const struct kind *k)
{
    static const struct objindex *const routes[] = {&index_namespace, &index_owner, &index_route_parent,
                                                    &index_route_backend, NULL};
    static const struct objindex *const gateways[] = {&index_namespace,      &index_owner,      &index_gateway_class,
                                                      &index_gateway_secret, &index_gateway_ca, NULL};
    static const struct objindex *const sets[] = {&index_namespace, &index_owner, &index_set_parent,
                                                  &index_gateway_secret, NULL};
    static const struct objindex *const policies[] = {&index_namespace, &index_owner, &index_policy_target,
                                                      &index_policy_ca, NULL};
    if (!k->custom)
        return NULL;
    if (!str_eqz(k->group, GATEWAY_GROUP))
        return cert_indexes(k);
    return route_of(k) != ROUTE_KINDS             ? routes
           : str_eqz(k->kind, "Gateway")          ? gateways
           : str_eqz(k->kind, "ListenerSet")      ? sets
           : str_eqz(k->kind, "BackendTLSPolicy") ? policies
                                                  : NULL;
}

const struct objindex *const *kind_indexes(const struct kind *k)
{
    static const struct objindex *const pods[] = {&index_namespace,  &index_owner,      &index_controller,
                                                  &index_orphans,    &index_node,       &index_pod_claims,
                                                  &index_host_ports, &index_pod_inline, NULL};
    static const struct objindex *const services[] = {&index_namespace, &index_owner, &index_balancers, NULL};
    static const struct objindex *const deployments[] = {&index_namespace, &index_owner, &index_metallb, NULL};
    static const struct objindex *const sets[] = {&index_namespace, &index_owner, &index_controller, &index_orphans,
                                                  NULL};
    static const struct objindex *const jobs[] = {&index_namespace, &index_owner,        &index_controller,
                                                  &index_orphans,   &index_job_selector, NULL};
    static const struct objindex *const slices[] = {&index_namespace, &index_owner, &index_slices, NULL};
    static const struct objindex *const plain[] = {&index_namespace, &index_owner, NULL};
    static const struct objindex *const definitions[] = {&index_owner, &index_group, &index_inject, NULL};
    static const struct objindex *const injected[] = {&index_owner, &index_inject, NULL};
    static const struct objindex *const claims[] = {&index_namespace, &index_owner, &index_claim_class,
                                                    &index_claim_volume, NULL};
    static const struct objindex *const volumes[] = {&index_owner,         &index_volume_claim, &index_volume_free,
                                                     &index_volume_driver, &index_volume_disk,  NULL};
    static const struct objindex *const nodes[] = {&index_owner, &index_node_disk, NULL};
    static const struct objindex *const capacities[] = {&index_namespace, &index_owner, &index_capacity_class, NULL};
    static const struct objindex *const attachments[] = {&index_owner, &index_node, &index_attachment_volume, NULL};
    static const struct objindex *const ingresses[] = {&index_namespace, &index_owner, &index_ingress_host,
                                                       &index_ingress_names, NULL};
    static const struct objindex *const cluster[] = {&index_owner, NULL};
    if (defined_indexes(k))
        return defined_indexes(k);
    return k == K(Pod)                                                                         ? pods
           : k == K(ReplicaSet) || k == K(ReplicationController) || k == K(ControllerRevision) ? sets
           : k == K(Job)                                                                       ? jobs
           : k == K(Service)                                                                   ? services
           : k == K(Deployment)                                                                ? deployments
           : k == K(EndpointSlice)                                                             ? slices
           : k == K(PersistentVolumeClaim)                                                     ? claims
           : k == K(PersistentVolume)                                                          ? volumes
           : k == K(VolumeAttachment)                                                          ? attachments
           : k == K(Node)                                                                      ? nodes
           : k == K(ValidatingWebhookConfiguration) || k == K(MutatingWebhookConfiguration) || k == K(APIService)
               ? injected
           : k == K(CustomResourceDefinition) ? definitions
           : k == K(CSIStorageCapacity)       ? capacities
           : k == K(Ingress)                  ? ingresses
           : k->namespaced                    ? plain
                                              : cluster;
}
