/* defaults.c - what a decoded object gets where it says nothing, and the normal forms of the wire, in which one
 * member mirrors another (podIP and podIPs, serviceAccount and serviceAccountName, clusterIP and clusterIPs).
 *
 * Two passes. First `declared_walk` goes over the whole tree by its type: it sets the defaults that the tables
 * declare, and rounds the quantities of resource lists to thousandths. Then the kind's own function follows, in the
 * order of upstream's SetDefaults functions (pkg/apis/GROUP/VERSION/defaults.go), because one default rests on
 * another. They are written by hand because nearly all depend on other fields of the object (defaults_pod.c,
 * defaults_workload.c, defaults_other.c).
 *
 * It runs on every write, also on what an update or a patch made, so each function must leave alone what is there.
 * Not here: what depends on other objects (storage class, priority, tolerations: the server's admission) and what
 * the server computes whatever the client says (strategy.c).
 */
#include "api/defaults_int.h"
#include "api/quantity.h"
#include "api/schema.h"

/* Declared defaults, and quantities of resource lists in whole thousandths: everywhere in the tree. */
static void declared_walk(struct arena *a, const struct type *t, struct val *v)
{
    if (t->kind == TYPE_LIST) {
        each_mut (item, v)
            declared_walk(a, t->of, item);
    } else if (t->kind == TYPE_MAP) {
        each_member_mut (m, v) {
            if (t->of->kind != TYPE_QUANTITY)
                declared_walk(a, t->of, &m->v);
            else if (quantity_cmp(val_text(&m->v), S("0")) != 0)
                m->v = val_str(a, quantity_round_milli(a, val_text(&m->v)));
        }
    } else if (t->kind == TYPE_STRUCT && val_is(v, VAL_MAP)) {
        type_fields_each (f, t) {
            if (f->flags & FIELD_INLINE) {
                declared_walk(a, f->type, v);
                continue;
            }
            struct val *m = val_get_mut(v, f->name);
            const char *d = f->x->dflt;
            bool empty = !m || m->type == VAL_NULL ||
                         (!(f->flags & FIELD_POINTER) && m->type == VAL_STRING && m->n == 0);
            if (d && empty) {
                struct str text = str_of(d);
                int64_t n;
                if (*d == '"')
                    val_set(a, v, f->name, val_str_borrowed(str_sub(text, 1, text.n - 1)));
                else if (*d == 't' || *d == 'f')
                    val_set_bool(a, v, f->name, *d == 't');
                else if (str_to_i64(text, INT64_MIN, INT64_MAX, &n))
                    val_set_num(a, v, f->name, n);
                if (*d == '"') { /* NUL-terminated, which a part of a literal is not */
                    m = val_get_mut(v, f->name);
                    *m = val_str(a, val_text(m));
                }
            } else if (m) {
                declared_walk(a, f->type, m);
            }
        }
    }
}

static const struct {
    const struct kind *kind;
    kind_defaults *fill;
} rows[] = {
    {K(Pod), default_pod},
    {K(PodTemplate), default_podtemplate},
    {K(ReplicationController), default_rc},
    {K(Service), default_service},
    {K(Endpoints), default_endpoints},
    {K(Namespace), default_namespace},
    {K(Secret), default_secret},
    {K(PersistentVolume), default_pv},
    {K(PersistentVolumeClaim), default_pvc},
    {K(Node), default_node},
    {K(LimitRange), default_limitrange},
    {K(Deployment), default_deployment},
    {K(ReplicaSet), default_replicaset},
    {K(DaemonSet), default_daemonset},
    {K(StatefulSet), default_statefulset},
    {K(Job), default_job},
    {K(CronJob), default_cronjob},
    {K(NetworkPolicy), default_networkpolicy},
    {K(IngressClass), default_ingressclass},
    {K(RoleBinding), default_binding},
    {K(ClusterRoleBinding), default_binding},
    {K(HorizontalPodAutoscaler), default_hpa},
    {K(autoscaling_v1_HorizontalPodAutoscaler), default_hpa_v1},
    {K(StorageClass), default_storageclass},
    {K(CSIDriver), default_csidriver},
    {K(ResourceSlice), default_resourceslice},
    {K(PriorityClass), default_priorityclass},
    {K(EndpointSlice), default_endpointslice},
    {K(MutatingWebhookConfiguration), default_webhooks},
    {K(ValidatingWebhookConfiguration), default_webhooks},
    {K(ValidatingAdmissionPolicy), default_policy},
    {K(MutatingAdmissionPolicy), default_policy},
    {K(ValidatingAdmissionPolicyBinding), default_policy_binding},
    {K(MutatingAdmissionPolicyBinding), default_policy_binding},
    {K(FlowSchema), default_flowschema},
    {K(PriorityLevelConfiguration), default_prioritylevel},
    {K(ResourceClaim), default_resourceclaim},
    {K(ResourceClaimTemplate), default_resourceclaimtemplate},
    {K(CustomResourceDefinition), default_crd},
    {K(APIService), default_apiservice},
};

void kind_default(struct arena *a, const struct kind *k, struct val *v)
{
    if (!val_is(v, VAL_MAP))
        return;
    if (k->custom) {
        schema_default(a, schema_node(kind_type(k)), v);
        return;
    }
    declared_walk(a, kind_type(k), v);
    for (size_t i = 0; i < countof(rows); i++)
        if (rows[i].kind == k)
            rows[i].fill(a, v);
}
