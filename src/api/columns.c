/* columns.c - how a kind is printed as a table: one table of columns for each kind, then which kind has which.
 *
 * A column is a row of data: a name and a type, a cell function, and a path which that function follows from the
 * root of the object. So most columns need no code of their own: `cell_text`, `cell_age` and their like are
 * shared (columns_cell.c). What has to be worked out - the status of a pod, the address of a Service - has a
 * function that does not look at the path (columns_pod.c, _workload.c, _network.c, _other.c). Names, types,
 * priorities and the texts of cells are upstream's (k8s.io/kubernetes, pkg/printers/internalversion), because
 * scripts read them; the descriptions are our own.
 *
 * Costs: a call for each cell and a walk over some 55 rows for each object; texts live in the caller's arena, and
 * nothing is kept from one object to the next. Columns that a definition declares
 * are made with its kinds (custom.c). Not here: sorting, hiding of wide columns (the client does both).
 */
#include "api/columns_int.h"
#include "api/custom.h"
#include "api/strategy.h"

#define C(name, type, text_, priority, ...)                                                                          \
    {                                                                                                                \
        (name), (type), "", (text_), (priority), __VA_ARGS__                                                         \
    }
#define NAME                                                                                                         \
    {                                                                                                                \
        "Name", "string", "name", "The name, unique within its namespace.", 0, cell_text, "metadata.name"            \
    }
#define NAME_BY(fn)                                                                                                  \
    {                                                                                                                \
        "Name", "string", "name", "The name.", 0, fn, "metadata.name"                                                \
    }
#define AGE C("Age", "string", "Time since the object was created.", 0, cell_age, "metadata.creationTimestamp")
#define CONTAINERS(at)                                                                                               \
    C("Containers", "string", "Names of the containers of the template.", 1, cell_container_names, at),              \
        C("Images", "string", "Images of the containers of the template.", 1, cell_container_images, at)

#define TABLE(k) static const struct column table_##k[]
TABLE(pod) = {
    NAME,
    C("Ready", "string", "Ready containers of all.", 0, cell_pod_ready, ""),
    C("Status", "string", "What the pod is doing.", 0, cell_pod_status, ""),
    C("Restarts", "string", "How often containers were restarted, and when last.", 0, cell_pod_restarts, ""),
    AGE,
    C("IP", "string", "Address of the pod.", 1, cell_pod_ip, ""),
    C("Node", "string", "Node that runs the pod.", 1, cell_text_none, "spec.nodeName"),
    C("Nominated Node", "string", "Node on which room is being made.", 1, cell_text_none, "status.nominatedNodeName"),
    C("Readiness Gates", "string", "Gates that are met, of all.", 1, cell_pod_gates, "")};
#define USAGE(name_, cell_, path_)                                                                                   \
    {                                                                                                                \
        (name_), "string", "quantity", "", 0, (cell_), (path_)                                                       \
    }
#define WINDOW                                                                                                       \
    {                                                                                                                \
        "Window", "string", "duration", "", 0, cell_text, "window"                                                   \
    }
TABLE(nodemetrics) = {NAME, USAGE("cpu", cell_text, "usage.cpu"), USAGE("memory", cell_text, "usage.memory"), WINDOW};
TABLE(podmetrics) = {NAME, USAGE("cpu", cell_usage, "cpu"), USAGE("memory", cell_usage, "memory"), WINDOW};
TABLE(podtemplate) = {
    NAME, C("Containers", "string", "Names of the containers.", 0, cell_container_names, "template.spec.containers"),
    C("Images", "string", "Images of the containers.", 0, cell_container_images, "template.spec.containers"),
    C("Pod Labels", "string", "Labels of the pods made of it.", 0, cell_labels, "template.metadata.labels")};
TABLE(pdb) = {
    NAME, C("Min Available", "string", "Pods that must stay available.", 0, cell_text_na, "spec.minAvailable"),
    C("Max Unavailable", "string", "Pods that may be unavailable.", 0, cell_text_na, "spec.maxUnavailable"),
    C("Allowed Disruptions", "integer", "Pods that may be evicted now.", 0, cell_num, "status.disruptionsAllowed"),
    AGE};
#define REPLICAS                                                                                                     \
    C("Desired", "integer", "Pods wanted.", 0, cell_num, "spec.replicas"),                                           \
        C("Current", "integer", "Pods there.", 0, cell_num, "status.replicas"),                                      \
        C("Ready", "integer", "Pods ready.", 0, cell_num, "status.readyReplicas"), AGE
TABLE(rc) = {NAME, REPLICAS, CONTAINERS("spec.template.spec.containers"),
             C("Selector", "string", "Labels of its pods.", 1, cell_labels, "spec.selector")};
TABLE(replicaset) = {NAME, REPLICAS, CONTAINERS("spec.template.spec.containers"),
                     C("Selector", "string", "Labels of its pods.", 1, cell_selector, "spec.selector")};
TABLE(daemonset) = {
    NAME,
    C("Desired", "integer", "Nodes that should run the pod.", 0, cell_num, "status.desiredNumberScheduled"),
    C("Current", "integer", "Nodes that run it.", 0, cell_num, "status.currentNumberScheduled"),
    C("Ready", "integer", "Pods ready.", 0, cell_num, "status.numberReady"),
    C("Up-to-date", "integer", "Pods of the newest template.", 0, cell_num, "status.updatedNumberScheduled"),
    C("Available", "integer", "Pods available.", 0, cell_num, "status.numberAvailable"),
    C("Node Selector", "string", "Labels of the nodes.", 0, cell_labels, "spec.template.spec.nodeSelector"),
    AGE,
    CONTAINERS("spec.template.spec.containers"),
    C("Selector", "string", "Labels of its pods.", 1, cell_selector, "spec.selector")};
TABLE(job) = {NAME,
              C("Status", "string", "How far the job is.", 0, cell_job_status, ""),
              C("Completions", "string", "Pods that succeeded, of those wanted.", 0, cell_job_completions, ""),
              C("Duration", "string", "From start to end, or until now.", 0, cell_job_duration, ""),
              AGE,
              CONTAINERS("spec.template.spec.containers"),
              C("Selector", "string", "Labels of its pods.", 1, cell_selector, "spec.selector")};
TABLE(cronjob) = {
    NAME,
    C("Schedule", "string", "When it runs.", 0, cell_text, "spec.schedule"),
    C("Timezone", "string", "Time zone of the schedule.", 0, cell_text_none, "spec.timeZone"),
    C("Suspend", "boolean", "Whether it pauses.", 0, cell_cron_suspend, "spec.suspend"),
    C("Active", "integer", "Jobs that run.", 0, cell_count, "status.active"),
    C("Last Schedule", "string", "Time since the last start.", 0, cell_age_none, "status.lastScheduleTime"),
    AGE,
    CONTAINERS("spec.jobTemplate.spec.template.spec.containers"),
    C("Selector", "string", "Labels of its pods.", 1, cell_selector, "spec.jobTemplate.spec.selector")};
TABLE(service) = {NAME,
                  C("Type", "string", "How it is reached.", 0, cell_text, "spec.type"),
                  C("Cluster-IP", "string", "Address within the cluster.", 0, cell_service_ip, ""),
                  C("External-IP", "string", "Addresses from outside.", 0, cell_service_external, ""),
                  C("Port(s)", "string", "Ports, and node ports.", 0, cell_service_ports, ""),
                  AGE,
                  C("Selector", "string", "Labels of the pods behind it.", 1, cell_labels, "spec.selector")};
TABLE(ingress) = {NAME,
                  C("Class", "string", "Ingress class.", 0, cell_text_none, "spec.ingressClassName"),
                  C("Hosts", "string", "Hosts of its rules.", 0, cell_ingress_hosts, ""),
                  C("Address", "string", "Addresses of the load balancer.", 0, cell_addresses, ""),
                  C("Ports", "string", "Ports it listens on.", 0, cell_ingress_ports, ""),
                  AGE};
TABLE(ingressclass) = {NAME_BY(cell_ingressclass_name),
                       C("Controller", "string", "Controller of the class.", 0, cell_text, "spec.controller"),
                       C("Parameters", "string", "Where its settings are.", 0, cell_ingressclass_parameters, ""),
                       AGE};
TABLE(statefulset) = {NAME, C("Ready", "string", "Ready pods of those wanted.", 0, cell_ready_of_wanted, ""), AGE,
                      CONTAINERS("spec.template.spec.containers")};
TABLE(endpoints) = {NAME, C("Endpoints", "string", "Addresses and ports.", 0, cell_endpoints, ""), AGE};
TABLE(node) = {NAME,
               C("Status", "string", "Whether it is ready.", 0, cell_node_status, ""),
               C("Roles", "string", "Roles, from labels.", 0, cell_node_roles, ""),
               AGE,
               C("Version", "string", "Version of the node agent.", 0, cell_text, "status.nodeInfo.kubeletVersion"),
               C("Internal-IP", "string", "Address within the cluster.", 1, cell_node_address, "InternalIP"),
               C("External-IP", "string", "Address from outside.", 1, cell_node_address, "ExternalIP"),
               C("OS-Image", "string", "Operating system.", 1, cell_text_unknown, "status.nodeInfo.osImage"),
               C("Kernel-Version", "string", "Kernel and architecture.", 1, cell_node_kernel, ""),
               C("Container-Runtime", "string", "Container runtime.", 1, cell_text_unknown,
                 "status.nodeInfo.containerRuntimeVersion")};
TABLE(event) = {C("Last Seen", "string", "Time since it happened last.", 0, cell_event_last_seen, ""),
                C("Type", "string", "Normal or Warning.", 0, cell_text, "type"),
                C("Reason", "string", "Why, in one word.", 0, cell_text, "reason"),
                C("Object", "string", "What it is about.", 0, cell_event_object, ""),
                C("Subobject", "string", "Part of the object.", 1, cell_event_subobject, ""),
                C("Source", "string", "Who reports it.", 1, cell_event_source, ""),
                C("Message", "string", "What happened.", 0, cell_event_message, ""),
                C("First Seen", "string", "Time since it happened first.", 1, cell_event_first_seen, ""),
                C("Count", "string", "How often.", 1, cell_event_count, ""),
                {"Name", "string", "name", "The name.", 1, cell_text, "metadata.name"}};
TABLE(namespace) = {NAME, C("Status", "string", "Active or Terminating.", 0, cell_text, "status.phase"), AGE};
TABLE(secret) = {NAME, C("Type", "string", "What kind of secret.", 0, cell_text, "type"),
                 C("Data", "string", "How many entries.", 0, cell_count, "data"), AGE};
TABLE(named) = {NAME, AGE};
TABLE(pv) = {NAME,
             C("Capacity", "string", "Size.", 0, cell_text, "spec.capacity.storage"),
             C("Access Modes", "string", "How it may be mounted.", 0, cell_modes, "spec.accessModes"),
             C("Reclaim Policy", "string", "What happens after its claim.", 0, cell_text,
               "spec.persistentVolumeReclaimPolicy"),
             C("Status", "string", "Phase.", 0, cell_phase, ""),
             C("Claim", "string", "Claim that has it.", 0, cell_pv_claim, ""),
             C("StorageClass", "string", "Storage class.", 0, cell_storage_class, ""),
             C("VolumeAttributesClass", "string", "Class of its attributes.", 0, cell_text_unset,
               "spec.volumeAttributesClassName"),
             C("Reason", "string", "Why it is in this phase.", 0, cell_text, "status.reason"),
             AGE,
             C("VolumeMode", "string", "Filesystem or block.", 1, cell_text_unset, "spec.volumeMode")};
TABLE(pvc) = {NAME,
              C("Status", "string", "Phase.", 0, cell_phase, ""),
              C("Volume", "string", "Volume it has.", 0, cell_text, "spec.volumeName"),
              C("Capacity", "string", "Size.", 0, cell_pvc_capacity, ""),
              C("Access Modes", "string", "How it may be mounted.", 0, cell_pvc_modes, ""),
              C("StorageClass", "string", "Storage class.", 0, cell_storage_class, ""),
              C("VolumeAttributesClass", "string", "Class of its attributes.", 0, cell_text_unset,
                "spec.volumeAttributesClassName"),
              AGE,
              C("VolumeMode", "string", "Filesystem or block.", 1, cell_text_unset, "spec.volumeMode")};
TABLE(deployment) = {NAME,
                     C("Ready", "string", "Ready pods of those wanted.", 0, cell_ready_of_wanted, ""),
                     C("Up-to-date", "string", "Pods of the newest template.", 0, cell_num, "status.updatedReplicas"),
                     C("Available", "string", "Pods available.", 0, cell_num, "status.availableReplicas"),
                     AGE,
                     CONTAINERS("spec.template.spec.containers"),
                     C("Selector", "string", "Labels of its pods.", 1, cell_selector_plain, "spec.selector")};
#define HPA(fn)                                                                                                      \
    {                                                                                                                \
        NAME, C("Reference", "string", "What it scales.", 0, cell_hpa_reference, ""),                                \
            C("Targets", "string", "Metrics: now and aimed at.", 0, fn, ""),                                         \
            C("MinPods", "string", "Fewest pods.", 0, cell_text_unset, "spec.minReplicas"),                          \
            C("MaxPods", "string", "Most pods.", 0, cell_num, "spec.maxReplicas"),                                   \
            C("Replicas", "string", "Pods now.", 0, cell_num, "status.currentReplicas"), AGE                         \
    }
TABLE(hpa) = HPA(cell_hpa_targets);
TABLE(hpa_v1) = HPA(cell_hpa_v1_targets);
TABLE(configmap) = {NAME, C("Data", "string", "How many entries.", 0, cell_configmap_data, ""), AGE};
TABLE(networkpolicy) = {NAME, C("Pod-Selector", "string", "Pods it holds for.", 0, cell_selector, "spec.podSelector"),
                        AGE};
TABLE(binding) = {
    NAME,
    C("Role", "string", "Role that is granted.", 0, cell_role, ""),
    AGE,
    C("Users", "string", "Users that get it.", 1, cell_subjects, "User"),
    C("Groups", "string", "Groups that get it.", 1, cell_subjects, "Group"),
    C("ServiceAccounts", "string", "Service accounts that get it.", 1, cell_subjects, "ServiceAccount")};
TABLE(csr) = {NAME,
              AGE,
              C("SignerName", "string", "Who should sign.", 0, cell_text_none, "spec.signerName"),
              C("Requestor", "string", "Who asks.", 0, cell_text, "spec.username"),
              C("RequestedDuration", "string", "For how long.", 0, cell_csr_duration, "spec.expirationSeconds"),
              C("Condition", "string", "What was decided.", 0, cell_csr_condition, "")};
TABLE(lease) = {NAME, C("Holder", "string", "Who holds it.", 0, cell_text, "spec.holderIdentity"), AGE};
TABLE(storageclass) = {
    NAME_BY(cell_storageclass_name),
    C("Provisioner", "string", "Who makes volumes.", 0, cell_text, "provisioner"),
    C("ReclaimPolicy", "string", "What happens to released volumes.", 0, cell_or_delete, "reclaimPolicy"),
    C("VolumeBindingMode", "string", "When claims are bound.", 0, cell_or_immediate, "volumeBindingMode"),
    C("AllowVolumeExpansion", "string", "Whether volumes may grow.", 0, cell_yes, "allowVolumeExpansion"),
    AGE};
TABLE(attributesclass) = {NAME, C("DriverName", "string", "Driver.", 0, cell_text, "driverName"), AGE};
TABLE(revision) = {NAME, C("Controller", "string", "Whose it is.", 0, cell_revision_owner, ""),
                   C("Revision", "string", "Number.", 0, cell_num, "revision"), AGE};
TABLE(quota) = {NAME, C("Request", "string", "Used and allowed.", 0, cell_quota, "requests"),
                C("Limit", "string", "Used and allowed limits.", 0, cell_quota, "limits"), AGE};
TABLE(priorityclass) = {
    NAME, C("Value", "integer", "Priority.", 0, cell_num, "value"),
    C("Global-Default", "boolean", "Whether it holds where none is named.", 0, cell_yes, "globalDefault"), AGE,
    C("PreemptionPolicy", "string", "Whether others may be pushed out.", 0, cell_text, "preemptionPolicy")};
TABLE(runtimeclass) = {NAME, C("Handler", "string", "Name of the runtime.", 0, cell_text, "handler"), AGE};
TABLE(attachment) = {NAME,
                     {"Attacher", "string", "name", "Driver.", 0, cell_text, "spec.attacher"},
                     C("PV", "string", "Volume.", 0, cell_text, "spec.source.persistentVolumeName"),
                     C("Node", "string", "Node.", 0, cell_text, "spec.nodeName"),
                     C("Attached", "boolean", "Whether it is attached.", 0, cell_yes, "status.attached"),
                     AGE};
TABLE(slice) = {NAME, C("AddressType", "string", "Kind of addresses.", 0, cell_text, "addressType"),
                C("Ports", "string", "Ports.", 0, cell_slice_ports, ""),
                C("Endpoints", "string", "Addresses.", 0, cell_slice_endpoints, ""), AGE};
TABLE(csinode) = {NAME, C("Drivers", "integer", "How many drivers.", 0, cell_count, "spec.drivers"), AGE};
TABLE(csidriver) = {
    NAME,
    C("AttachRequired", "boolean", "Whether volumes are attached first.", 0, cell_yes_unless_no,
      "spec.attachRequired"),
    C("PodInfoOnMount", "boolean", "Whether it learns of the pod.", 0, cell_yes, "spec.podInfoOnMount"),
    C("StorageCapacity", "boolean", "Whether it reports capacity.", 0, cell_yes, "spec.storageCapacity"),
    C("TokenRequests", "string", "Audiences of tokens it gets.", 0, cell_audiences, "spec.tokenRequests"),
    C("RequiresRepublish", "boolean", "Whether it is called again.", 0, cell_yes, "spec.requiresRepublish"),
    C("Modes", "string", "Modes of volumes.", 0, cell_joined_none, "spec.volumeLifecycleModes"),
    AGE};
TABLE(webhooks) = {NAME, C("Webhooks", "integer", "How many webhooks.", 0, cell_count, "webhooks"), AGE};
TABLE(policy) = {NAME, C("Validations", "integer", "How many validations.", 0, cell_count, "spec.validations"),
                 C("ParamKind", "string", "Kind of its parameters.", 0, cell_param_kind, ""), AGE};
TABLE(mutatingpolicy) = {NAME, C("Mutations", "integer", "How many mutations.", 0, cell_count, "spec.mutations"),
                         C("ParamKind", "string", "Kind of its parameters.", 0, cell_param_kind, ""), AGE};
TABLE(policybinding) = {NAME, C("PolicyName", "string", "Policy that is bound.", 0, cell_text, "spec.policyName"),
                        C("ParamRef", "string", "Parameters.", 0, cell_param_ref, ""), AGE};
TABLE(flowschema) = {
    NAME,
    C("PriorityLevel", "string", "Level that requests get.", 0, cell_text, "spec.priorityLevelConfiguration.name"),
    C("MatchingPrecedence", "string", "Order of matching.", 0, cell_num, "spec.matchingPrecedence"),
    C("DistinguisherMethod", "string", "How flows are told apart.", 0, cell_text_none,
      "spec.distinguisherMethod.type"),
    AGE,
    C("MissingPL", "string", "Whether its level is missing.", 0, cell_dangling, "")};
TABLE(prioritylevel) = {
    NAME,
    C("Type", "string", "Exempt or Limited.", 0, cell_text, "spec.type"),
    C("NominalConcurrencyShares", "string", "Shares.", 0, cell_num_none, "spec.limited.nominalConcurrencyShares"),
    C("Queues", "string", "Queues.", 0, cell_num_none, "spec.limited.limitResponse.queuing.queues"),
    C("HandSize", "string", "Queues a flow is dealt.", 0, cell_num_none,
      "spec.limited.limitResponse.queuing.handSize"),
    C("QueueLengthLimit", "string", "Longest queue.", 0, cell_num_none,
      "spec.limited.limitResponse.queuing.queueLengthLimit"),
    AGE};
TABLE(claim) = {NAME, C("State", "string", "What became of it.", 0, cell_claim_state, ""), AGE};
TABLE(resourceslice) = {NAME, C("Node", "string", "Node.", 0, cell_text, "spec.nodeName"),
                        C("Driver", "string", "Driver.", 0, cell_text, "spec.driver"),
                        C("Pool", "string", "Pool.", 0, cell_text, "spec.pool.name"), AGE};
TABLE(servicecidr) = {NAME, C("CIDRs", "string", "Ranges.", 0, cell_joined, "spec.cidrs"), AGE};
TABLE(ipaddress) = {NAME, C("ParentRef", "string", "Who has it.", 0, cell_parent_ref, "")};
TABLE(apiservice) = {NAME, C("Service", "string", "Service that answers.", 0, cell_apiservice_service, ""),
                     C("Available", "string", "Whether it answers.", 0, cell_apiservice_available, ""), AGE};
TABLE(live) = {NAME, AGE};
TABLE(other) = {NAME, C("Created At", "date", "When it was created.", 0, cell_created, "metadata.creationTimestamp")};

static const struct {
    const struct kind *kind;
    const struct column *columns;
    size_t n;
} tables[] = {
#define ROW(k, t)                                                                                                    \
    {                                                                                                                \
        K(k), table_##t, countof(table_##t)                                                                          \
    }
    ROW(Pod, pod),
    ROW(PodTemplate, podtemplate),
    ROW(ReplicationController, rc),
    ROW(Service, service),
    ROW(Endpoints, endpoints),
    ROW(Node, node),
    ROW(Event, event),
    ROW(events_k8s_io_Event, event),
    ROW(Namespace, namespace),
    ROW(Secret, secret),
    ROW(ServiceAccount, named),
    ROW(ConfigMap, configmap),
    ROW(PersistentVolume, pv),
    ROW(PersistentVolumeClaim, pvc),
    ROW(ResourceQuota, quota),
    ROW(Deployment, deployment),
    ROW(ReplicaSet, replicaset),
    ROW(StatefulSet, statefulset),
    ROW(DaemonSet, daemonset),
    ROW(ControllerRevision, revision),
    ROW(Job, job),
    ROW(CronJob, cronjob),
    ROW(HorizontalPodAutoscaler, hpa),
    ROW(autoscaling_v1_HorizontalPodAutoscaler, hpa_v1),
    ROW(PodDisruptionBudget, pdb),
    ROW(Ingress, ingress),
    ROW(IngressClass, ingressclass),
    ROW(NetworkPolicy, networkpolicy),
    ROW(IPAddress, ipaddress),
    ROW(ServiceCIDR, servicecidr),
    ROW(RoleBinding, binding),
    ROW(ClusterRoleBinding, binding),
    ROW(CertificateSigningRequest, csr),
    ROW(Lease, lease),
    ROW(StorageClass, storageclass),
    ROW(VolumeAttributesClass, attributesclass),
    ROW(NodeMetrics, nodemetrics),
    ROW(PodMetrics, podmetrics),
    ROW(VolumeAttachment, attachment),
    ROW(CSINode, csinode),
    ROW(CSIDriver, csidriver),
    ROW(PriorityClass, priorityclass),
    ROW(RuntimeClass, runtimeclass),
    ROW(EndpointSlice, slice),
    ROW(MutatingWebhookConfiguration, webhooks),
    ROW(ValidatingWebhookConfiguration, webhooks),
    ROW(ValidatingAdmissionPolicy, policy),
    ROW(MutatingAdmissionPolicy, mutatingpolicy),
    ROW(ValidatingAdmissionPolicyBinding, policybinding),
    ROW(MutatingAdmissionPolicyBinding, policybinding),
    ROW(FlowSchema, flowschema),
    ROW(PriorityLevelConfiguration, prioritylevel),
    ROW(DeviceClass, named),
    ROW(ResourceClaim, claim),
    ROW(ResourceClaimTemplate, named),
    ROW(ResourceSlice, resourceslice),
    ROW(APIService, apiservice),
};

const struct column *columns_of(const struct kind *k, size_t *n)
{
    for (size_t i = 0; i < countof(tables); i++)
        if (tables[i].kind == k) {
            *n = tables[i].n;
            return tables[i].columns;
        }
    if (k->custom) {
        *n = k->custom->ncolumns;
        return k->custom->columns;
    }
    *n = k->live ? countof(table_live) : countof(table_other);
    return k->live ? table_live : table_other;
}

void columns_row(struct arena *a, const struct kind *k, const struct val *tree, int64_t now, struct val *cells)
{
    size_t n;
    const struct column *columns = columns_of(k, &n);
    struct column_source source = {a, tree, now};
    *cells = val_list();
    for (size_t i = 0; i < n; i++)
        val_add(a, cells,
                columns[i].cell ? columns[i].cell(&source, columns[i].path)
                                : custom_cell(a, k->custom, i, tree, now));
    if (k == K(IPAddress)) /* upstream's rows have an age that no column declares */
        val_add(a, cells, cell_age(&source, "metadata.creationTimestamp"));
}

bool columns_conditions(struct arena *a, const struct kind *k, const struct val *tree, struct val *conditions)
{
    if (k != K(Pod) || !pod_has_ended(tree))
        return false;
    struct str ended_as = val_text_at(tree, N(status), N(phase));
    bool succeeded = str_eq(ended_as, S("Succeeded"));
    struct val completed = val_map();
    val_set_text(a, &completed, N(type), S("Completed"));
    val_set_text(a, &completed, N(status), S("True"));
    val_set_text(a, &completed, N(reason), ended_as);
    val_set_text(a, &completed, N(message),
                 succeeded ? S("The pod has completed successfully.") : S("The pod failed."));
    *conditions = val_list();
    val_add(a, conditions, completed);
    return true;
}
