/* columns_int.h - the cells that the tables of columns.c are made of, and what cells share. */
#pragma once
#include "api/columns.h"
#include "api/kind.h"

#define V(v, field)    val_get((v), N(field))
#define TEXT(v, field) val_text(V(v, field))
#define NUM(v, field)  val_num(V(v, field), 0)
#define SOURCE         const struct column_source *s, const char *path

/* The value at a path of members, "spec.nodeName"; NULL: there is none. */
const struct val *column_value(const struct val *v, const char *path);
struct val cell_of(const struct column_source *s, struct str t);
/* The text or number at the path, or `otherwise`. */
struct val cell_or_else(SOURCE, const char *otherwise);
/* The object's name, marked where an annotation makes it the default; older: NULL, or another annotation that does.
 */
struct val cell_marked_default(const struct column_source *s, const char *annotation, const char *older);
/* How long ago an RFC 3339 time was; "<unknown>". */
struct str age_shown(const struct column_source *s, const struct val *time);
/* The texts, sorted and each once if wanted, with a separator. */
struct str texts_join(struct arena *a, struct str *texts, size_t n, const char *sep, bool sorted);
/* The items of a list, or a member of each. */
struct str *texts_of(struct arena *a, const struct val *list, const struct name *member);
/* empty: where there is none; bad: where it cannot be read. */
struct str selector_shown(const struct column_source *s, const struct val *v, const char *empty, const char *bad);
const struct val *condition_val(const struct val *v, const char *type);
bool condition_holds(const struct val *v, const char *type);

/* what many kinds share (columns_cell.c) */
column_cell cell_text, cell_text_none, cell_text_unset, cell_text_unknown, cell_text_na, cell_num, cell_num_none,
    cell_yes, cell_yes_unless_no, cell_count, cell_age, cell_age_none, cell_joined, cell_joined_none,
    cell_container_names, cell_container_images, cell_labels, cell_selector, cell_selector_plain;
/* columns_pod.c */
column_cell cell_pod_ready, cell_pod_status, cell_pod_restarts, cell_pod_ip, cell_pod_gates;
/* columns_workload.c */
column_cell cell_ready_of_wanted, cell_job_status, cell_job_completions, cell_job_duration, cell_cron_suspend,
    cell_revision_owner, cell_hpa_targets, cell_hpa_v1_targets, cell_hpa_reference;
/* columns_network.c */
column_cell cell_addresses, cell_service_ip, cell_service_external, cell_service_ports, cell_endpoints,
    cell_slice_ports, cell_slice_endpoints, cell_ingress_hosts, cell_ingress_ports, cell_ingressclass_name,
    cell_ingressclass_parameters;
/* columns_other.c */
column_cell cell_node_status, cell_node_roles, cell_node_address, cell_node_kernel, cell_phase, cell_modes,
    cell_pvc_capacity, cell_pvc_modes, cell_pv_claim, cell_storage_class, cell_configmap_data, cell_storageclass_name,
    cell_event_first_seen, cell_event_last_seen, cell_event_object, cell_event_subobject, cell_event_source,
    cell_event_message, cell_event_count, cell_role, cell_subjects, cell_quota, cell_usage, cell_csr_condition,
    cell_csr_duration, cell_param_kind, cell_param_ref, cell_dangling, cell_claim_state, cell_parent_ref,
    cell_apiservice_service, cell_apiservice_available, cell_audiences, cell_or_delete, cell_or_immediate,
    cell_created;
