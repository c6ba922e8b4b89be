/* defaults_int.h - what the files defaults_*.c share: shorthands that set what is absent, and the functions of kinds.
 */
#pragma once
#include "api/rules.h"

#define V(v, field)    val_get((v), N(field))
#define TEXT(v, field) val_text(V(v, field))
#define MUT(v, field)  val_get_mut((v), N(field))

/* absent: not there, null, or the empty text */
#define DEF_TEXT(a, v, field, text)                                                                                  \
    do {                                                                                                             \
        if (TEXT(v, field).n == 0)                                                                                   \
            val_set_text((a), (v), N(field), S(text));                                                               \
    } while (0)
#define DEF_NUM(a, v, field, n)                                                                                      \
    do {                                                                                                             \
        if (!val_is(V(v, field), VAL_INT))                                                                           \
            val_set_num((a), (v), N(field), (n));                                                                    \
    } while (0)
#define DEF_NUM_OF_ZERO(a, v, field, n)                                                                              \
    do {                                                                                                             \
        if (val_num(V(v, field), 0) == 0)                                                                            \
            val_set_num((a), (v), N(field), (n));                                                                    \
    } while (0)
#define DEF_BOOL(a, v, field, b)                                                                                     \
    do {                                                                                                             \
        if (!val_is(V(v, field), VAL_BOOL))                                                                          \
            val_set_bool((a), (v), N(field), (b));                                                                   \
    } while (0)
#define DEF_MAP(a, v, field)                                                                                         \
    do {                                                                                                             \
        if (!val_is(V(v, field), VAL_MAP))                                                                           \
            val_set((a), (v), N(field), val_map());                                                                  \
    } while (0)

#define each_mut(it, in)                                                                                             \
    for (struct val *it = val_is((in), VAL_LIST) ? (in)->list : NULL; it && it < (in)->list + (in)->n; it++)
#define each_member_mut(it, in)                                                                                      \
    for (struct member *it = val_is((in), VAL_MAP) ? (in)->map : NULL; it && it < (in)->map + (in)->n; it++)

void default_pod_spec(struct arena *a, struct val *spec);
void default_claim_spec(struct arena *a, struct val *spec);

typedef void kind_defaults(struct arena *a, struct val *v);
kind_defaults default_pod, default_podtemplate, default_rc, default_service, default_endpoints, default_namespace,
    default_secret, default_pv, default_pvc, default_node, default_limitrange, default_deployment, default_replicaset,
    default_daemonset, default_statefulset, default_job, default_cronjob, default_networkpolicy, default_ingressclass,
    default_binding, default_hpa, default_hpa_v1, default_storageclass, default_csidriver, default_resourceslice,
    default_priorityclass, default_endpointslice, default_webhooks, default_policy, default_policy_binding,
    default_flowschema, default_prioritylevel, default_resourceclaim, default_resourceclaimtemplate, default_crd,
    default_apiservice;
