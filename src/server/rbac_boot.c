#include "server/boot.h"

/* The roles that upstream's API server makes (plugin/pkg/auth/authorizer/rbac/bootstrappolicy), in a notation of our
 * own. "role NAME [label...]" begins one, each line after it is a rule:
 *
 *   VERBS GROUPS RESOURCES [NAMES]      lists by commas; the core group is written core
 *   VERBS /PATH[,/PATH]
 *
 * "bind NAME ROLE SUBJECT[,SUBJECT]": a ClusterRoleBinding; g:GROUP, u:USER, s:NAMESPACE/ACCOUNT.
 * "ctrl ACCOUNT" begins the role system:controller:ACCOUNT of that account of kube-system, bound to it. Telling
 * events is everyone's. */
#define READ  "get,list,watch"
#define WRITE "create,delete,deletecollection,patch,update"
#define ALL   "create,delete,deletecollection,get,list,patch,update,watch"
#define WORKLOADS                                                                                                    \
    "daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,"      \
    "statefulsets/scale"
#define VIEW_RULES                                                                                                   \
    " " READ " core configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,"                 \
    "replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status\n"                 \
    " " READ " core bindings,events,limitranges,namespaces/status,pods/log,pods/status,"                             \
    "replicationcontrollers/status,resourcequotas,resourcequotas/status\n"                                           \
    " " READ " core namespaces\n"                                                                                    \
    " " READ " discovery.k8s.io endpointslices\n"                                                                    \
    " " READ " apps controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,"                 \
    "deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,"           \
    "statefulsets/status\n"                                                                                          \
    " " READ " autoscaling horizontalpodautoscalers,horizontalpodautoscalers/status\n"                               \
    " " READ " batch cronjobs,cronjobs/status,jobs,jobs/status\n"                                                    \
    " " READ " policy poddisruptionbudgets,poddisruptionbudgets/status\n"                                            \
    " " READ " networking.k8s.io ingresses,ingresses/status,networkpolicies\n"                                       \
    " " READ " resource.k8s.io resourceclaims,resourceclaims/status,resourceclaimtemplates\n"
#define EDIT_RULES                                                                                                   \
    " " READ " core pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy\n"                      \
    " impersonate core serviceaccounts\n"                                                                            \
    " " WRITE " core pods,pods/attach,pods/exec,pods/portforward,pods/proxy\n"                                       \
    " create core pods/eviction\n"                                                                                   \
    " " WRITE " core configmaps,events,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,"  \
    "secrets,serviceaccounts,services,services/proxy\n"                                                              \
    " create core serviceaccounts/token\n"                                                                           \
    " " WRITE " apps " WORKLOADS "\n"                                                                                \
    " " WRITE " autoscaling horizontalpodautoscalers\n"                                                              \
    " " WRITE " batch cronjobs,jobs\n"                                                                               \
    " " WRITE " policy poddisruptionbudgets\n"                                                                       \
    " " WRITE " networking.k8s.io ingresses,networkpolicies\n"                                                       \
    " " ALL " coordination.k8s.io leases\n"                                                                          \
    " " WRITE " resource.k8s.io resourceclaims,resourceclaimtemplates\n"
#define ADMIN_RULES                                                                                                  \
    " create authorization.k8s.io localsubjectaccessreviews\n"                                                       \
    " " ALL " rbac.authorization.k8s.io rolebindings,roles\n"

static const char table[] =
    "role cluster-admin\n * * *\n * /*\n"
    "bind cluster-admin cluster-admin g:system:masters\n"
    "role system:discovery\n get "
    "/api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/\n"
    "bind system:discovery system:discovery g:system:authenticated\n"
    "role system:basic-user\n create authorization.k8s.io selfsubjectaccessreviews,selfsubjectrulesreviews\n"
    " create authentication.k8s.io selfsubjectreviews\n"
    "bind system:basic-user system:basic-user g:system:authenticated\n"
    "role system:public-info-viewer\n get /healthz,/livez,/readyz,/version,/version/\n"
    "bind system:public-info-viewer system:public-info-viewer g:system:authenticated,g:system:unauthenticated\n"
    "role system:service-account-issuer-discovery\n"
    " get /.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,/openid/v1/jwks/\n"
    "bind system:service-account-issuer-discovery system:service-account-issuer-discovery g:system:serviceaccounts\n"
    "role system:monitoring\n get /healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*\n"
    "bind system:monitoring system:monitoring g:system:monitoring\n"
    "role system:heapster\n " READ " core events,namespaces,nodes,pods\n " READ " apps deployments\n"
    "role system:aggregate-to-view rbac.authorization.k8s.io/aggregate-to-view\n" VIEW_RULES
    "role system:aggregate-to-edit rbac.authorization.k8s.io/aggregate-to-edit\n" EDIT_RULES
    "role system:aggregate-to-admin rbac.authorization.k8s.io/aggregate-to-admin\n" ADMIN_RULES
    "role system:aggregated-metrics-reader rbac.authorization.k8s.io/aggregate-to-view "
    "rbac.authorization.k8s.io/aggregate-to-edit rbac.authorization.k8s.io/aggregate-to-admin\n"
    " " READ " metrics.k8s.io nodes,pods\n"
    /* as cert-manager's cert-manager-view and cert-manager-edit; those names are its own installer's */
    "role wherry:certificates-view rbac.authorization.k8s.io/aggregate-to-view "
    "rbac.authorization.k8s.io/aggregate-to-edit rbac.authorization.k8s.io/aggregate-to-admin\n"
    " " READ " cert-manager.io certificaterequests,certificates,issuers\n"
    " " READ " acme.cert-manager.io challenges,orders\n"
    "role wherry:certificates-edit rbac.authorization.k8s.io/aggregate-to-edit "
    "rbac.authorization.k8s.io/aggregate-to-admin\n"
    " " WRITE " cert-manager.io certificaterequests,certificates,issuers\n update cert-manager.io "
    "certificates/status\n"
    "role view rbac.authorization.k8s.io/aggregate-to-edit +rbac.authorization.k8s.io/aggregate-to-view\n" VIEW_RULES
    "role edit rbac.authorization.k8s.io/aggregate-to-admin +rbac.authorization.k8s.io/aggregate-to-edit\n" EDIT_RULES
        VIEW_RULES "role admin +rbac.authorization.k8s.io/aggregate-to-admin\n" EDIT_RULES VIEW_RULES ADMIN_RULES
    "role system:auth-delegator\n create authentication.k8s.io tokenreviews\n"
    " create authorization.k8s.io subjectaccessreviews\n"
    "role system:kube-aggregator\n " READ " core endpoints,services\n"
    "role system:certificates.k8s.io:certificatesigningrequests:nodeclient\n"
    " create certificates.k8s.io certificatesigningrequests/nodeclient\n"
    "role system:certificates.k8s.io:certificatesigningrequests:selfnodeclient\n"
    " create certificates.k8s.io certificatesigningrequests/selfnodeclient\n"
    "role system:node\n create authentication.k8s.io tokenreviews\n"
    " create authorization.k8s.io localsubjectaccessreviews,subjectaccessreviews\n"
    " " READ " core services\n create,get,list,watch core nodes\n patch,update core nodes/status\n"
    " patch,update core nodes\n create,delete,get,list,watch core pods\n patch,update core pods/status\n"
    " create core pods/eviction\n get,list,watch core configmaps,secrets\n"
    " get core persistentvolumeclaims,persistentvolumes\n get core endpoints\n"
    " create,get,list,watch certificates.k8s.io certificatesigningrequests\n"
    " create,delete,get,patch,update coordination.k8s.io leases\n"
    " get storage.k8s.io volumeattachments\n create core serviceaccounts/token\n"
    " get,patch,update core persistentvolumeclaims/status\n " READ " storage.k8s.io csidrivers\n"
    " create,delete,get,patch,update storage.k8s.io csinodes\n " READ " node.k8s.io runtimeclasses\n"
    " get resource.k8s.io resourceclaims\n " ALL " resource.k8s.io resourceslices\n"
    " create,patch,update core events\n " READ " discovery.k8s.io endpointslices\n " READ " core namespaces\n"
    "role system:node-problem-detector\n get core nodes\n patch core nodes/status\n"
    " create,patch,update core events\n create,patch,update events.k8s.io events\n"
    "role system:node-proxier\n list,watch core services,endpoints\n get,list,watch core nodes\n"
    " create,patch,update core events\n create,patch,update events.k8s.io events\n"
    " list,watch discovery.k8s.io endpointslices\n"
    "bind system:node-proxier system:node-proxier u:system:kube-proxy\n"
    "role system:node-bootstrapper\n create,get,list,watch certificates.k8s.io certificatesigningrequests\n"
    "role system:kubelet-api-admin\n get,list,watch core nodes\n proxy core nodes\n"
    " * core nodes/configz,nodes/healthz,nodes/log,nodes/metrics,nodes/pods,nodes/proxy,nodes/stats\n"
    "role system:persistent-volume-provisioner\n create,delete,get,list,watch core persistentvolumes\n"
    " get,list,update,watch core persistentvolumeclaims\n " READ
    " storage.k8s.io storageclasses\n watch core events\n"
    " create,patch,update core events\n"
    "role system:kube-scheduler\n create,patch,update core,events.k8s.io events\n create coordination.k8s.io leases\n"
    " get,list,update,watch coordination.k8s.io leases kube-scheduler\n " READ " core nodes\n"
    " delete,get,list,watch core pods\n create core bindings,pods/binding\n patch,update core pods/status\n"
    " " READ " core replicationcontrollers,services,namespaces\n " READ " apps replicasets,statefulsets\n"
    " " READ
    " policy poddisruptionbudgets\n get,list,patch,update,watch core persistentvolumeclaims,persistentvolumes\n"
    " create authentication.k8s.io tokenreviews\n create authorization.k8s.io subjectaccessreviews\n"
    " " READ " storage.k8s.io csidrivers,csinodes,csistoragecapacities,storageclasses,volumeattachments\n"
    " " READ " resource.k8s.io deviceclasses,resourceclaims,resourceslices\n"
    " patch,update resource.k8s.io resourceclaims/status\n"
    "bind system:kube-scheduler system:kube-scheduler u:system:kube-scheduler,s:kube-system/kube-scheduler\n"
    "bind system:volume-scheduler system:volume-scheduler u:system:kube-scheduler\n"
    "role system:volume-scheduler\n get,list,patch,update,watch core persistentvolumes\n"
    " " READ " storage.k8s.io storageclasses\n get,list,patch,update,watch core persistentvolumeclaims\n"
    "role system:kube-dns\n list,watch core endpoints,services\n"
    "bind system:kube-dns system:kube-dns s:kube-system/kube-dns\n"
    "role system:kube-controller-manager\n create,patch,update core,events.k8s.io events\n"
    " create coordination.k8s.io leases\n get,list,update,watch coordination.k8s.io leases\n"
    " create,get,update core secrets,serviceaccounts\n delete core secrets\n get core configmaps,namespaces\n"
    " create authentication.k8s.io tokenreviews\n create authorization.k8s.io subjectaccessreviews\n"
    " list,watch * *\n create core serviceaccounts/token\n"
    "bind system:kube-controller-manager system:kube-controller-manager u:system:kube-controller-manager\n"
    /* the roles of this system's own processes */
    "role wherry:manager\n list,watch * *\n"
    "bind wherry:manager wherry:manager s:kube-system/wherry-manager\n"
    "bind wherry:root-ca system:controller:root-ca-cert-publisher s:kube-system/service-account-controller\n"
    "role wherry:node\n " READ " core nodes,pods,services\n"
    " " READ " discovery.k8s.io endpointslices\n create,patch,update core nodes\n"
    " patch,update core nodes/status,pods/status\n delete core pods\n"
    " create,patch,update core,events.k8s.io events\n create,get,patch,update coordination.k8s.io leases\n"
    /* network policies, and whom they speak of; pods of other nodes: rbac_node.c */
    " list,watch networking.k8s.io networkpolicies\n list,watch core namespaces\n"
    /* volumes: those of claims that were sent to it (rbac_node.c) */
    " list,watch core persistentvolumeclaims\n create,delete,list,patch,watch core persistentvolumes\n"
    " patch core persistentvolumeclaims/status\n " READ " storage.k8s.io storageclasses\n"
    "bind wherry:node wherry:node g:system:nodes\n"
    /* it writes one EndpointSlice of kube-system: boot.c */
    "role wherry:dns\n list,watch core namespaces,services\n list,watch discovery.k8s.io endpointslices\n"
    "bind wherry:dns wherry:dns u:system:wherry-dns\n"
    /* the node's own HTTPS port: who asks there, and whether they may */
    "role wherry:relay\n create authentication.k8s.io tokenreviews\n create authorization.k8s.io "
    "subjectaccessreviews\n"
    " get /wherry.dev/node-certificate\n"
    "bind wherry:relay wherry:relay u:system:wherry-relay\n"
    /* the front door: certificates are in Secrets, and what it says of the API's objects is in their status */
    "role wherry:edge\n list,watch core configmaps,namespaces,nodes,secrets,services\n"
    " list,watch discovery.k8s.io endpointslices\n list,watch networking.k8s.io ingressclasses,ingresses\n"
    " list,watch coordination.k8s.io leases cert-manager-controller\n"
    " list,watch apiextensions.k8s.io customresourcedefinitions\n"
    " list,watch gateway.networking.k8s.io *\n list,watch wherry.dev addresspools\n"
    " list,watch metallb.io ipaddresspools\n list,watch cert-manager.io,acme.cert-manager.io *\n"
    " create,patch,update core,events.k8s.io events\n"
    /* ACME: accounts' keys, what becomes of orders, when to renew */
    " create core namespaces\n create,update core secrets\n patch cert-manager.io certificates\n"
    " update cert-manager.io certificaterequests/status,certificates/status,clusterissuers/status,issuers/status\n"
    " create,delete,update acme.cert-manager.io challenges\n create acme.cert-manager.io orders\n"
    " update acme.cert-manager.io challenges/status,orders/status\n"
    " create,delete,patch coordination.k8s.io leases\n"
    "bind wherry:edge wherry:edge u:system:wherry-edge\n"
    /* the controllers, each an account of kube-system */
    "ctrl cert-manager\n create,delete,patch core secrets\n create core namespaces\n"
    " create,delete,update cert-manager.io certificates\n create,delete cert-manager.io certificaterequests\n"
    " update cert-manager.io "
    "certificaterequests/status,certificates/status,clusterissuers/status,issuers/status\n"
    " update cert-manager.io certificaterequests/finalizers,certificates/finalizers\n"
    " create,delete acme.cert-manager.io orders\n update networking.k8s.io ingresses/finalizers\n"
    " update gateway.networking.k8s.io gateways/finalizers,listenersets/finalizers\n"
    " update admissionregistration.k8s.io mutatingwebhookconfigurations,validatingwebhookconfigurations\n"
    " patch apiregistration.k8s.io apiservices\n patch apiextensions.k8s.io customresourcedefinitions\n"
    "ctrl attachdetach-controller\n list,watch core persistentvolumeclaims,persistentvolumes\n " READ
    " core nodes,pods\n"
    " patch,update core nodes/status\n create,delete,get,list,patch,update,watch storage.k8s.io volumeattachments\n"
    "ctrl clusterrole-aggregation-controller\n escalate,get,list,patch,update,watch rbac.authorization.k8s.io "
    "clusterroles\n"
    "ctrl cronjob-controller\n get,list,patch,update,watch batch cronjobs\n"
    " create,delete,get,list,patch,update,watch batch jobs\n update batch cronjobs/finalizers,cronjobs/status\n"
    " delete,list core pods\n"
    "ctrl daemon-set-controller\n get,list,watch apps daemonsets\n update apps "
    "daemonsets/finalizers,daemonsets/status\n"
    " list,watch core nodes\n create,delete,list,patch,watch core pods\n create core pods/binding\n"
    " create,delete,get,list,patch,update,watch apps controllerrevisions\n"
    "ctrl deployment-controller\n get,list,update,watch apps deployments\n"
    " update apps deployments/finalizers,deployments/status\n create,delete,get,list,patch,update,watch apps "
    "replicasets\n"
    " get,list,update,watch core pods\n"
    "ctrl disruption-controller\n " READ " apps deployments,replicasets,statefulsets\n " READ
    " core replicationcontrollers\n"
    " " READ " policy poddisruptionbudgets\n " READ " core pods\n update policy poddisruptionbudgets/status\n"
    " get * */scale\n patch,update core pods/status\n"
    "ctrl endpoint-controller\n " READ " core pods,services\n create,delete,get,list,update,watch core endpoints\n"
    " create core endpoints/restricted\n"
    "ctrl endpointslice-controller\n " READ " core nodes,pods,services\n update core services/finalizers\n"
    " create,delete,get,list,update,watch discovery.k8s.io endpointslices\n create core endpoints/restricted\n"
    "ctrl endpointslicemirroring-controller\n " READ " core endpoints,services\n update core services/finalizers\n"
    " update core endpoints/finalizers\n create,delete,get,list,update,watch discovery.k8s.io endpointslices\n"
    "ctrl expand-controller\n get,list,patch,update,watch core persistentvolumes\n"
    " patch,update core persistentvolumeclaims/status\n " READ " core persistentvolumeclaims\n"
    "ctrl ephemeral-volume-controller\n " READ " core pods\n update core pods/finalizers\n"
    " create,get,list,watch core persistentvolumeclaims\n"
    "ctrl gateway-controller\n create gateway.networking.k8s.io gatewayclasses\n"
    " patch,update gateway.networking.k8s.io gatewayclasses/status,gateways/status,listenersets/status,"
    "httproutes/status,grpcroutes/status,tlsroutes/status,tcproutes/status,udproutes/status,"
    "backendtlspolicies/status\n"
    " update gateway.networking.k8s.io gateways/finalizers\n create,delete,patch,update core services\n"
    "ctrl generic-garbage-collector\n delete,get,list,patch,update,watch * *\n"
    "ctrl horizontal-pod-autoscaler\n " READ " autoscaling horizontalpodautoscalers\n"
    " update autoscaling horizontalpodautoscalers/status\n get,update * */scale\n list core pods\n"
    " list metrics.k8s.io pods\n get,list custom.metrics.k8s.io *\n get,list external.metrics.k8s.io *\n"
    "ctrl ingress-controller\n update networking.k8s.io ingresses/status\n"
    "ctrl job-controller\n get,list,patch,update,watch batch jobs\n update batch jobs/finalizers,jobs/status\n"
    " create,delete,list,patch,watch core pods\n"
    "ctrl namespace-controller\n delete,get,list,watch core namespaces\n update core "
    "namespaces/finalize,namespaces/status\n"
    " delete,deletecollection,get,list * *\n"
    "ctrl node-controller\n get,list,patch,update,watch core nodes\n patch,update core nodes/status\n"
    " patch,update core pods/status\n delete,get,list,watch core pods\n " READ " coordination.k8s.io leases\n"
    "ctrl persistent-volume-binder\n create,delete,get,list,update,watch core persistentvolumes\n"
    " update core persistentvolumes/status\n get,list,update,watch core persistentvolumeclaims\n"
    " update core persistentvolumeclaims/status\n create,delete,get,list,watch core pods\n"
    " " READ " storage.k8s.io storageclasses\n"
    "ctrl pod-garbage-collector\n delete,list,watch core pods\n get,list core nodes\n patch core pods/status\n"
    "ctrl pv-protection-controller\n get,list,update,watch core persistentvolumes\n"
    "ctrl pvc-protection-controller\n get,list,update,watch core persistentvolumeclaims\n " READ " core pods\n"
    "ctrl volumeattributesclass-protection-controller\n " READ " core persistentvolumeclaims,persistentvolumes\n"
    " get,list,update,watch storage.k8s.io volumeattributesclasses\n"
    "ctrl replicaset-controller\n get,list,update,watch apps replicasets\n"
    " update apps replicasets/finalizers,replicasets/status\n create,delete,list,patch,watch core pods\n"
    "ctrl replication-controller\n get,list,update,watch core replicationcontrollers\n"
    " update core replicationcontrollers/finalizers,replicationcontrollers/status\n"
    " create,delete,list,patch,watch core pods\n"
    "ctrl resourcequota-controller\n list,watch * *\n update core resourcequotas/status\n"
    /* upstream's definitions are looked after inside its server, by who may do anything */
    "ctrl crd-controller\n update apiextensions.k8s.io customresourcedefinitions/status\n deletecollection,list * *\n"
    " create,delete,update apiregistration.k8s.io apiservices\n update apiregistration.k8s.io apiservices/status\n"
    "ctrl root-ca-cert-publisher\n create,update core configmaps\n list,watch core namespaces,configmaps\n"
    "ctrl route-controller\n list,watch core nodes\n patch core nodes/status\n"
    /* it publishes the ConfigMaps kube-root-ca.crt too, which upstream gives to an account of its own */
    "ctrl service-account-controller\n create core serviceaccounts\n create,update core configmaps\n"
    "ctrl service-controller\n " READ " core services\n patch,update core services/status\n list,watch core nodes\n"
    " create,patch,update core services\n patch,update wherry.dev addresspools/status\n"
    "ctrl statefulset-controller\n list,watch core pods\n get,list,watch apps statefulsets\n"
    " update apps statefulsets/finalizers,statefulsets/status\n create,delete,get,patch,update core pods\n"
    " create,delete,get,list,patch,update,watch apps controllerrevisions\n"
    " create,delete,get,list,update,watch core persistentvolumeclaims\n"
    "ctrl ttl-after-finished-controller\n delete,get,list,watch batch jobs\n"
    "ctrl ttl-controller\n list,patch,update,watch core nodes\n"
    "ctrl certificate-controller\n delete,get,list,watch certificates.k8s.io certificatesigningrequests\n"
    " update certificates.k8s.io certificatesigningrequests/approval,certificatesigningrequests/status\n"
    " create authorization.k8s.io subjectaccessreviews\n"
    " approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client-kubelet\n"
    " sign certificates.k8s.io signers kubernetes.io/kube-apiserver-client,"
    "kubernetes.io/kube-apiserver-client-kubelet,kubernetes.io/kubelet-serving,kubernetes.io/legacy-unknown\n"
    "ctrl validatingadmissionpolicy-status-controller\n " READ
    " admissionregistration.k8s.io validatingadmissionpolicies\n"
    " get,patch,update admissionregistration.k8s.io validatingadmissionpolicies/status\n";

static struct val list_of(struct arena *a, struct str text)
{
    struct val list = val_list();
    struct str part;
    while (str_cut(&text, ',', &part))
        val_add(a, &list, val_str_borrowed(str_eq(part, S("core")) ? S("") : part));
    return list;
}

static void add_rule(struct arena *a, struct val *rules, struct str line)
{
    struct str verbs, groups, resources, only;
    struct val *rule = val_add(a, rules, val_map());
    str_split(str_trim(line), ' ', &verbs, &groups);
    if (str_eq(verbs, S("ALL")))
        verbs = S(ALL);
    if (groups.n && groups.p[0] == '/') {
        val_set(a, rule, N(nonResourceURLs), list_of(a, str_eq(groups, S("/*")) ? S("*") : groups));
        val_set(a, rule, N(verbs), list_of(a, verbs));
        return;
    }
    str_split(groups, ' ', &groups, &resources);
    if (str_split(resources, ' ', &resources, &only))
        val_set(a, rule, N(resourceNames), list_of(a, only));
    val_set(a, rule, N(apiGroups), list_of(a, groups));
    val_set(a, rule, N(resources), list_of(a, resources));
    val_set(a, rule, N(verbs), list_of(a, verbs));
}

static struct val *object_begin(struct arena *a, struct val *tree, const struct kind *k, struct str name)
{
    *tree = val_map();
    val_set_text(a, tree, N(kind), k->kind);
    val_set_text(a, tree, N(apiVersion), k->api_version);
    struct val *meta = val_set(a, tree, N(metadata), val_map());
    val_set_text(a, meta, N(name), name);
    val_set_str(a, val_need_map(a, meta, N(annotations)), S("rbac.authorization.kubernetes.io/autoupdate"),
                val_str_borrowed(S("true")));
    val_set_str(a, val_need_map(a, meta, N(labels)), S("kubernetes.io/bootstrapping"),
                val_str_borrowed(S("rbac-defaults")));
    return val_get_mut(tree, N(metadata));
}

static void add_subject(struct arena *a, struct val *list, struct str s)
{
    struct val *e = val_add(a, list, val_map());
    struct str name = str_sub(s, 2, s.n), ns;
    if (s.p[0] == 's') {
        str_split(name, '/', &ns, &name);
        val_set_text(a, e, N(kind), S("ServiceAccount"));
        val_set_text(a, e, N(name), name);
        val_set_text(a, e, N(namespace), ns);
        return;
    }
    val_set_text(a, e, N(kind), s.p[0] == 'g' ? S("Group") : S("User"));
    val_set_text(a, e, N(apiGroup), S("rbac.authorization.k8s.io"));
    val_set_text(a, e, N(name), name);
}

static void binding_tree(struct arena *a, struct val *tree, struct str name, struct str role, struct str subjects)
{
    object_begin(a, tree, K(ClusterRoleBinding), name);
    struct val *ref = val_need_map(a, tree, N(roleRef));
    val_set_text(a, ref, N(apiGroup), S("rbac.authorization.k8s.io"));
    val_set_text(a, ref, N(kind), S("ClusterRole"));
    val_set_text(a, ref, N(name), role);
    struct val *list = val_set(a, tree, N(subjects), val_list());
    struct str one;
    while (str_cut(&subjects, ',', &one))
        add_subject(a, list, one);
}

static void role_tree(struct arena *a, struct val *tree, struct str name, struct str labels, struct str rest,
                      bool controller)
{
    struct val *meta = object_begin(a, tree, K(ClusterRole), name);
    struct str one;
    while (labels.n && str_cut(&labels, ' ', &one)) {
        if (one.p[0] != '+') {
            val_set_str(a, val_need_map(a, meta, N(labels)), one, val_str_borrowed(S("true")));
            continue;
        }
        struct val *sel = val_add(
            a, val_set(a, val_need_map(a, tree, N(aggregationRule)), N(clusterRoleSelectors), val_list()), val_map());
        val_set_str(a, val_need_map(a, sel, N(matchLabels)), str_sub(one, 1, one.n), val_str_borrowed(S("true")));
    }
    struct val rules = val_list();
    struct str line;
    while (str_cut(&rest, '\n', &line) && line.n && line.p[0] == ' ')
        add_rule(a, &rules, line);
    if (controller)
        add_rule(a, &rules, S("create,patch,update core,events.k8s.io events"));
    val_set(a, tree, N(rules), rules);
}

bool rbac_boot_next(struct arena *a, size_t i, const struct kind **k, struct str *ns, struct val *tree)
{
    struct str rest = str_of(table), line, word, args, name, more;
    *ns = S("");
    while (str_cut(&rest, '\n', &line)) {
        if (!line.n || line.p[0] == ' ')
            continue;
        str_split(line, ' ', &word, &args);
        bool bind = str_eq(word, S("bind")), controller = str_eq(word, S("ctrl"));
        str_split(args, ' ', &name, &more);
        if (i > 0 && !(controller && i == 1)) {
            i -= controller ? 2 : 1;
            continue;
        }
        if (bind) {
            struct str role_name, subjects;
            str_split(more, ' ', &role_name, &subjects);
            *k = K(ClusterRoleBinding);
            binding_tree(a, tree, name, role_name, subjects);
            return true;
        }
        struct str full = controller ? arena_fmt(a, "system:controller:" STR_FMT, STR_ARG(name)) : name;
        if (i == 1) {
            *k = K(ClusterRoleBinding);
            binding_tree(a, tree, full, full, arena_fmt(a, "s:kube-system/" STR_FMT, STR_ARG(name)));
            return true;
        }
        *k = K(ClusterRole);
        role_tree(a, tree, full, more, rest, controller);
        return true;
    }
    return false;
}
