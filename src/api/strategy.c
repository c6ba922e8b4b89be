/* strategy.c - what a write to a kind does besides validation: the table of all kinds, then what every write does by
 * its row. Source: the strategies in pkg/registry of upstream.
 *
 * A row says whether a PUT creates, whether an update needs a resourceVersion, what a DELETE answers and does to
 * dependents, when the generation moves, whether status is the server's alone (STATUS_RESET), and names the
 * functions of the kind (strategy_pod.c, strategy_service.c, strategy_other.c). Most kinds have none.
 *
 * What a client may not set is not refused but put back: on create it is removed, on update copied from the stored
 * object. Of a write to a subresource only the part that it may change is taken over: `status` here, for all kinds
 * alike, the others in the functions of their kinds.
 *
 * The generation counts what a client wants. It moves when the part that the row names differs from what is stored,
 * empty and absent being the same; a write to status never moves it.
 *
 * Further down: the Scale of what can be scaled. Hazard: val_set moves the members of a map, so a pointer to a member
 * must be taken after its siblings are set.
 */
#include "api/custom.h"
#include "api/managed.h"
#include "api/selector.h"
#include "api/strategy_int.h"

enum generation {
    GEN_NONE,             /* what the client says stays */
    GEN_SPEC,             /* 1, and one more when spec changes */
    GEN_SPEC_ANNOTATIONS, /* ... or annotations */
    GEN_SPEC_LATER,       /* only counted from the first change on */
    GEN_TEMPLATE,
    GEN_BODY, /* everything but metadata, and labels */
    GEN_WEBHOOKS,
    GEN_ONCE,  /* 1 on create */
    GEN_WHOLE, /* everything but metadata: an empty list is another thing than none */
};
enum { STATUS_RESET = 1, STATUS_META_FROM_OLD = 2 };

void member_keep(struct arena *a, struct val *v, const struct val *old, const struct name *name)
{
    const struct val *was = val_get(old, name);
    if (was)
        val_set(a, v, name, *was);
    else
        val_del(v, name);
}

bool member_same(const struct val *x, const struct val *y, const struct name *name)
{
    const struct val *p = val_get(x, name), *q = val_get(y, name);
    size_t np = p && p->type != VAL_NULL ? 1 : 0, nq = q && q->type != VAL_NULL ? 1 : 0;
    if (np != nq) { /* an empty list, map or text is as good as none */
        const struct val *one = np ? p : q;
        return (one->type == VAL_LIST || one->type == VAL_MAP || one->type == VAL_STRING) && one->n == 0;
    }
    return np == 0 || val_equal(p, q);
}

struct strategy_row {
    struct strategy s;
    enum generation generation;
    unsigned flags;
    strategy_create *create;
    strategy_update *update;
};

/*                                 PUT    without  object            */
/* kind                            makes  version  back  propagation  generation  flags  create  update */
#define ROW(kind, put, uncond, back, propagation, generation, ...)                                                   \
    {                                                                                                                \
        {K(kind), put, uncond, back, PROPAGATE_##propagation}, GEN_##generation, __VA_ARGS__                         \
    }
#define PLAIN(kind, put, uncond) ROW(kind, put, uncond, false, BACKGROUND, NONE, 0, NULL, NULL)
static const struct strategy_row rows[] = {
    ROW(Pod, false, true, true, BACKGROUND, SPEC, STATUS_RESET, strategy_create_pod, strategy_update_pod),
    ROW(PodTemplate, false, true, true, BACKGROUND, TEMPLATE, 0, NULL, NULL),
    ROW(ReplicationController, false, true, false, ORPHAN, SPEC, STATUS_RESET, NULL, NULL),
    ROW(Service, true, true, true, BACKGROUND, NONE, STATUS_RESET, strategy_create_service, strategy_update_service),
    PLAIN(Endpoints, true, true),
    ROW(Event, true, true, false, NONE, NONE, 0, NULL, NULL),
    ROW(events_k8s_io_Event, true, true, false, NONE, NONE, 0, NULL, NULL),
    ROW(Namespace, false, true, true, BACKGROUND, NONE, STATUS_RESET, strategy_create_namespace,
        strategy_update_namespace),
    ROW(Node, false, true, false, BACKGROUND, NONE, STATUS_RESET, NULL, NULL),
    ROW(PersistentVolume, false, true, true, BACKGROUND, NONE, STATUS_RESET, strategy_create_pv, strategy_update_pv),
    ROW(PersistentVolumeClaim, false, true, true, BACKGROUND, NONE, STATUS_RESET, strategy_create_pvc,
        strategy_update_pvc),
    PLAIN(ConfigMap, false, true),
    PLAIN(Secret, false, true),
    ROW(ServiceAccount, false, true, true, BACKGROUND, NONE, 0, NULL, NULL),
    ROW(ResourceQuota, false, true, true, BACKGROUND, NONE, STATUS_RESET, NULL, NULL),
    PLAIN(LimitRange, true, true),
    ROW(Deployment, false, true, false, BACKGROUND, SPEC_ANNOTATIONS, STATUS_RESET, NULL, strategy_update_deployment),
    ROW(ReplicaSet, false, true, false, BACKGROUND, SPEC, STATUS_RESET, NULL, NULL),
    ROW(StatefulSet, false, true, false, BACKGROUND, SPEC, STATUS_RESET, NULL, NULL),
    ROW(DaemonSet, false, true, false, BACKGROUND, SPEC, STATUS_RESET, strategy_create_daemonset,
        strategy_update_daemonset),
    PLAIN(ControllerRevision, false, true),
    ROW(Job, false, true, false, ORPHAN, SPEC, STATUS_RESET, strategy_create_job, NULL),
    ROW(CronJob, false, true, false, BACKGROUND, SPEC, STATUS_RESET, NULL, NULL),
    ROW(HorizontalPodAutoscaler, false, true, false, BACKGROUND, NONE, STATUS_RESET, NULL, NULL),
    ROW(autoscaling_v1_HorizontalPodAutoscaler, false, true, false, BACKGROUND, NONE, STATUS_RESET, NULL, NULL),
    ROW(PodDisruptionBudget, false, false, false, BACKGROUND, SPEC, STATUS_RESET, NULL, NULL),
    ROW(Ingress, false, true, false, BACKGROUND, SPEC, STATUS_RESET, NULL, NULL),
    ROW(IngressClass, false, true, false, BACKGROUND, SPEC, 0, NULL, NULL),
    ROW(NetworkPolicy, false, true, false, BACKGROUND, SPEC, 0, NULL, NULL),
    PLAIN(IPAddress, false, true),
    ROW(ServiceCIDR, false, true, false, BACKGROUND, NONE, STATUS_RESET | STATUS_META_FROM_OLD, NULL, NULL),
    PLAIN(Role, true, true),
    PLAIN(RoleBinding, true, true),
    PLAIN(ClusterRole, true, true),
    PLAIN(ClusterRoleBinding, true, true),
    ROW(CertificateSigningRequest, false, true, false, BACKGROUND, NONE, STATUS_RESET, strategy_create_csr,
        strategy_update_csr),
    ROW(StorageClass, false, true, true, BACKGROUND, NONE, 0, NULL, NULL),
    ROW(VolumeAttributesClass, false, true, true, BACKGROUND, NONE, 0, NULL, NULL),
    ROW(CSIDriver, false, false, true, BACKGROUND, SPEC_LATER, 0, NULL, NULL),
    ROW(CSINode, false, false, true, BACKGROUND, NONE, 0, NULL, NULL),
    PLAIN(CSIStorageCapacity, false, false),
    ROW(VolumeAttachment, false, false, true, BACKGROUND, NONE, STATUS_RESET | STATUS_META_FROM_OLD, NULL, NULL),
    ROW(PriorityClass, false, true, false, BACKGROUND, ONCE, 0, NULL, NULL),
    PLAIN(RuntimeClass, true, false),
    ROW(Lease, true, false, false, BACKGROUND, NONE, 0, strategy_create_lease, strategy_update_lease),
    ROW(EndpointSlice, false, true, false, BACKGROUND, BODY, 0, strategy_create_slice, NULL),
    ROW(FlowSchema, false, true, false, BACKGROUND, SPEC, STATUS_RESET | STATUS_META_FROM_OLD, NULL, NULL),
    ROW(PriorityLevelConfiguration, false, true, false, BACKGROUND, SPEC, STATUS_RESET | STATUS_META_FROM_OLD, NULL,
        NULL),
    ROW(MutatingWebhookConfiguration, false, false, false, BACKGROUND, WEBHOOKS, 0, NULL, NULL),
    ROW(ValidatingWebhookConfiguration, false, false, false, BACKGROUND, WEBHOOKS, 0, NULL, NULL),
    ROW(MutatingAdmissionPolicy, false, false, false, BACKGROUND, SPEC, 0, NULL, NULL),
    ROW(MutatingAdmissionPolicyBinding, false, false, false, BACKGROUND, SPEC, 0, NULL, NULL),
    ROW(ValidatingAdmissionPolicy, false, false, false, BACKGROUND, SPEC, STATUS_RESET, NULL, NULL),
    ROW(ValidatingAdmissionPolicyBinding, false, false, false, BACKGROUND, SPEC, 0, NULL, NULL),
    ROW(DeviceClass, false, true, true, BACKGROUND, SPEC, 0, NULL, NULL),
    ROW(ResourceSlice, false, true, true, BACKGROUND, SPEC, 0, NULL, NULL),
    ROW(ResourceClaim, false, true, true, BACKGROUND, NONE, STATUS_RESET, NULL, NULL),
    ROW(ResourceClaimTemplate, false, true, true, BACKGROUND, NONE, 0, NULL, NULL),
    ROW(CustomResourceDefinition, false, false, false, BACKGROUND, SPEC, STATUS_RESET, strategy_create_crd,
        strategy_update_crd),
    ROW(APIService, false, false, false, BACKGROUND, NONE, STATUS_RESET, strategy_create_apiservice, NULL),
};
static const struct strategy_row other = {{NULL, false, false, false, PROPAGATE_BACKGROUND}, GEN_BODY, 0, NULL, NULL};

/* Of a definition: with the status subresource status is the server's, without it one field of the body. */
static const struct strategy_row custom_plain = {
    {NULL, false, false, false, PROPAGATE_BACKGROUND}, GEN_WHOLE, 0, NULL, NULL};
static const struct strategy_row custom_status = {
    {NULL, false, false, false, PROPAGATE_BACKGROUND}, GEN_WHOLE, STATUS_RESET | STATUS_META_FROM_OLD, NULL, NULL};

static const struct strategy_row *row_of(const struct kind *k)
{
    if (k->custom)
        return k->custom->has_status ? &custom_status : &custom_plain;
    for (size_t i = 0; i < countof(rows); i++)
        if (rows[i].s.kind == k)
            return &rows[i];
    return &other;
}

const struct strategy *kind_strategy(const struct kind *k)
{
    return &row_of(k)->s;
}

static void reset_add(struct arena *a, struct fieldset *s, const char *first, const char *second)
{
    const char *const path[] = {first, second};
    fieldset_add_fields(a, s, path, second ? 2 : 1);
}

static bool has_status(const struct kind *k)
{
    for (const struct subresource *s = k->subs; s && s < k->subs + k->nsubs; s++)
        if (!strcmp(s->name, "status"))
            return true;
    return false;
}

static const char *const takes_ephemeral[] = {"spec", "ephemeralContainers", NULL};
static const char *const takes_resources[] = {"spec", "containers", "*", "resources", NULL};
static const char *const takes_policy[] = {"spec", "containers", "*", "resizePolicy", NULL};
static const char *const takes_init_resources[] = {"spec", "initContainers", "*", "resources", NULL};
static const char *const takes_init_policy[] = {"spec", "initContainers", "*", "resizePolicy", NULL};
static const char *const takes_pod_resources[] = {"spec", "resources", NULL};
static const char *const *const ephemeral_takes[] = {takes_ephemeral, NULL};
static const char *const *const resize_takes[] = {takes_resources,   takes_policy,        takes_init_resources,
                                                  takes_init_policy, takes_pod_resources, NULL};

void kind_resets(struct arena *a, const struct kind *k, struct str sub, struct managing *g)
{
    const struct strategy_row *row = row_of(k);
    struct fieldset *s = ARENA_NEW(a, struct fieldset);
    bool own = row == &other ? has_status(k) : row->flags & STATUS_RESET;
    bool meta = row == &other || row->flags & STATUS_META_FROM_OLD || k == K(CustomResourceDefinition) ||
                k == K(APIService) || k == K(ValidatingAdmissionPolicy) || k == K(ResourceClaim);
    g->takes = NULL;
    if (str_eqz(sub, "status")) {
        reset_add(a, s, "spec", NULL);
        if (meta)
            reset_add(a, s, "metadata", NULL);
        if (k == K(Deployment))
            reset_add(a, s, "metadata", "labels");
        if (k == K(Pod)) {
            reset_add(a, s, "metadata", "deletionTimestamp");
            reset_add(a, s, "metadata", "ownerReferences");
        }
        if (k == K(CertificateSigningRequest))
            reset_add(a, s, "status", "conditions");
    } else if (str_eqz(sub, "approval")) {
        reset_add(a, s, "spec", NULL);
        reset_add(a, s, "status", "certificate");
    } else if (str_eqz(sub, "ephemeralcontainers")) {
        g->takes = ephemeral_takes;
    } else if (str_eqz(sub, "resize")) {
        g->takes = resize_takes;
    } else if (own) {
        reset_add(a, s, "status", NULL);
    }
    g->resets = s->n ? s : NULL;
}

static bool body_changed(const struct val *v, const struct val *old)
{
    val_each_member (m, v) {
        if (m->name != N(metadata) && m->name != N(status) && m->name != N(apiVersion) && m->name != N(kind) &&
            !member_same(v, old, m->name))
            return true;
    }
    val_each_member (m, old) {
        if (m->name != N(metadata) && m->name != N(status) && !val_get(v, m->name) && !member_same(v, old, m->name))
            return true;
    }
    return false;
}

static bool whole_changed(const struct val *v, const struct val *old)
{
    val_each_member (m, v)
        if (m->name != N(metadata) && m->name != N(apiVersion) && m->name != N(kind) &&
            !val_equal(&m->v, val_get_str(old, m->name->s)))
            return true;
    return false;
}

static bool generation_counts(enum generation rule, const struct val *v, const struct val *old)
{
    switch (rule) {
    case GEN_NONE:
    case GEN_ONCE: return false;
    case GEN_SPEC:
    case GEN_SPEC_LATER: return !SAME(v, old, spec);
    case GEN_SPEC_ANNOTATIONS: return !SAME(v, old, spec) || !SAME(V(v, metadata), V(old, metadata), annotations);
    case GEN_TEMPLATE: return !SAME(v, old, template);
    case GEN_BODY: return body_changed(v, old) || !SAME(V(v, metadata), V(old, metadata), labels);
    case GEN_WEBHOOKS: return !SAME(v, old, webhooks);
    case GEN_WHOLE: return whole_changed(v, old) || whole_changed(old, v);
    }
    return false;
}

void kind_prepare_create(struct arena *a, const struct kind *k, struct val *v, int64_t now)
{
    const struct strategy_row *row = row_of(k);
    struct val *meta = val_need_map(a, v, N(metadata));
    val_del(meta, N(deletionTimestamp));
    val_del(meta, N(deletionGracePeriodSeconds));
    val_del(meta, N(selfLink));
    val_del(meta, N(managedFields));
    bool keeps_status = k == K(Node); /* nodes register themselves with it */
    if (!keeps_status && ((row->flags & STATUS_RESET) || row == &other))
        val_del(v, N(status));
    if (row->create)
        row->create(a, v, now);
    meta = MUT(v, metadata);
    if (row->generation != GEN_NONE && row->generation != GEN_SPEC_LATER)
        val_set_num(a, meta, N(generation), 1);
}

void kind_prepare_update(struct arena *a, const struct kind *k, struct str sub, struct val *v, const struct val *old,
                         int64_t now)
{
    const struct strategy_row *row = row_of(k);
    const struct val *was = V(old, metadata);
    struct val *meta = val_need_map(a, v, N(metadata));
    bool status = str_eq(sub, S("status"));
    if (status) { /* everything but status stands as it was */
        struct val wanted = *v;
        *v = val_map();
        val_each_member (m, old)
            if (m->name != N(status) && m->name != N(metadata))
                val_set(a, v, m->name, m->v);
        if (V(&wanted, status))
            val_set(a, v, N(status), *V(&wanted, status));
        val_set(a, v, N(metadata), (row->flags & STATUS_META_FROM_OLD) ? val_copy(a, was) : *meta);
        if (row->flags & STATUS_META_FROM_OLD)
            KEEP(a, MUT(v, metadata), meta, resourceVersion);
        meta = MUT(v, metadata);
    } else if (sub.n == 0 && ((row->flags & STATUS_RESET) || row == &other)) {
        KEEP(a, v, old, status);
        meta = MUT(v, metadata);
    }
    if (TEXT(meta, uid).n == 0)
        KEEP(a, meta, was, uid);
    KEEP(a, meta, was, creationTimestamp);
    if (row->generation != GEN_NONE || !V(meta, generation))
        KEEP(a, meta, was, generation);
    if (!V(meta, deletionTimestamp) || status)
        KEEP(a, meta, was, deletionTimestamp);
    if (!V(meta, deletionGracePeriodSeconds) || status)
        KEEP(a, meta, was, deletionGracePeriodSeconds);
    val_del(meta, N(selfLink));
    val_del(meta, N(managedFields));
    if (row->update)
        row->update(a, sub, v, old, now);
    if (!status && generation_counts(row->generation, v, old))
        val_set_num(a, val_need_map(a, v, N(metadata)), N(generation), val_num(V(was, generation), 0) + 1);
}

/* Scale. */

/* Of the paths that its definition names. */
static void custom_scale_of(struct arena *a, const struct custom *c, const struct val *tree, struct val *spec,
                            struct val *status)
{
    struct str by = c->scale_selector.n ? val_text(jsonpath_plain(tree, c->scale_selector)) : S("");
    val_set_num(a, spec, N(replicas), val_num(jsonpath_plain(tree, c->scale_spec), 0));
    val_set_num(a, status, N(replicas), val_num(jsonpath_plain(tree, c->scale_status), 0));
    if (by.n)
        val_set(a, status, N(selector), val_str(a, by));
}

static void builtin_scale_of(struct arena *a, const struct kind *k, const struct val *tree, struct val *spec,
                             struct val *status)
{
    val_set_num(a, spec, N(replicas), val_num_at(tree, 0, N(spec), N(replicas)));
    val_set_num(a, status, N(replicas), val_num_at(tree, 0, N(status), N(replicas)));
    const struct val *by = val_at(tree, N(spec), N(selector));
    struct selector *selector = NULL;
    struct err ignored = ERR; /* without a selector that can be read there is none to tell */
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    if (k == K(ReplicationController))
        selector = selector_of_map(a, by);
    else if (!selector_of(a, by, &selector, &ignored))
        selector = NULL;
    if (selector)
        selector_text(selector, &text);
    if (text.n > 0)
        val_set_text(a, status, N(selector), strbuf_str(&text));
}

bool kind_is_scaled(const struct kind *k)
{
    return k->custom
               ? k->custom->scale_spec.n > 0
               : k == K(Deployment) || k == K(ReplicaSet) || k == K(StatefulSet) || k == K(ReplicationController);
}

bool kind_scale_of(struct arena *a, const struct kind *k, const struct val *tree, struct val *scale)
{
    bool custom = k->custom;
    if (!kind_is_scaled(k))
        return false;
    struct val meta = val_map(), spec = val_map(), status = val_map();
    const struct name *const copied[] = {N(name), N(namespace), N(uid), N(resourceVersion), N(creationTimestamp)};
    for (size_t i = 0; i < countof(copied); i++) {
        const struct val *v = val_get(V(tree, metadata), copied[i]);
        if (v)
            val_set(a, &meta, copied[i], *v);
    }
    if (custom)
        custom_scale_of(a, k->custom, tree, &spec, &status);
    else
        builtin_scale_of(a, k, tree, &spec, &status);
    *scale = val_map();
    val_set_text(a, scale, N(kind), S("Scale"));
    val_set_text(a, scale, N(apiVersion), S("autoscaling/v1"));
    val_set(a, scale, N(metadata), meta);
    val_set(a, scale, N(spec), spec);
    val_set(a, scale, N(status), status);
    return true;
}

void kind_scale_apply(struct arena *a, const struct kind *k, struct val *tree, const struct val *scale)
{
    struct val n = val_int(val_num_at(scale, 0, N(spec), N(replicas)));
    struct str path = k->custom ? k->custom->scale_spec : S("spec.replicas"), part;
    while (str_cut(&path, '.', &part)) {
        struct val *next = val_get_str_mut(tree, part);
        if (!path.n)
            val_set_str(a, tree, part, n);
        else
            tree = next && val_is(next, VAL_MAP) ? next : val_set_str(a, tree, part, val_map());
    }
}
