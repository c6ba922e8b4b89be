#include "server/admit.h"
#include "server/fail.h"
#include "server/int.h"
#include "server/policies.h"
#include "server/webhook.h"

#define EVERY_VERB (VERB_CREATE | VERB_UPDATE | VERB_DELETE | ADMIT_CONNECT)

/* In upstream's order: what is on by default. Webhooks, policies and topology labels alone are asked of what is no
 * object, too: what a node may evict and whose tokens it gets is said by the name (node_reaches), and a namespace
 * that goes still lets its pods be bound and evicted, so that they go in order. */
static const struct admit_row rows[] = {
    {"NamespaceLifecycle", VERB_CREATE | VERB_DELETE, NULL, admit_namespace, admit_namespace},
    {"LimitRanger", VERB_CREATE | VERB_UPDATE, K(Pod), admit_limit_defaults, admit_limit_bounds},
    {"LimitRanger", VERB_CREATE | VERB_UPDATE, K(PersistentVolumeClaim), NULL, admit_limit_bounds},
    {"ServiceAccount", VERB_CREATE, K(Pod), admit_service_account, NULL},
    {"ServiceAccount", VERB_UPDATE, K(Pod), NULL, admit_ephemeral},
    {"NodeRestriction", VERB_CREATE | VERB_UPDATE | VERB_DELETE, NULL, NULL, admit_node},
    {"TaintNodesByCondition", VERB_CREATE, K(Node), admit_new_node, NULL},
    {"PodSecurity", VERB_CREATE | VERB_UPDATE, K(Namespace), NULL, admit_pod_security_labels},
    {"PodSecurity", VERB_CREATE | VERB_UPDATE, NULL, NULL, admit_pod_security},
    {"Priority", VERB_CREATE | VERB_UPDATE, K(Pod), admit_priority_pod, NULL},
    {"Priority", VERB_CREATE | VERB_UPDATE, K(PriorityClass), NULL, admit_priority_class},
    {"DefaultTolerationSeconds", VERB_CREATE | VERB_UPDATE, K(Pod), admit_tolerations, NULL},
    {"DefaultStorageClass", VERB_CREATE, K(PersistentVolumeClaim), admit_storage_class, NULL},
    {"StorageObjectInUseProtection", VERB_CREATE, NULL, admit_storage_protection, NULL},
    {"PersistentVolumeClaimResize", VERB_UPDATE, K(PersistentVolumeClaim), NULL, admit_claim_resize},
    {"RuntimeClass", VERB_CREATE, K(Pod), admit_runtime_class, admit_overhead},
    {"PodResizeValidator", VERB_UPDATE, K(Pod), NULL, admit_resize},
    {"requester", VERB_CREATE, K(CertificateSigningRequest), admit_requester, NULL},
    {"CertificateApproval", VERB_UPDATE, K(CertificateSigningRequest), NULL, admit_approval},
    {"CertificateSigning", VERB_UPDATE, K(CertificateSigningRequest), NULL, admit_signing},
    {"CertificateSubjectRestriction", VERB_CREATE, K(CertificateSigningRequest), NULL, admit_subject},
    {"cert-manager.io", VERB_CREATE, NULL, admit_cert_requester, NULL},
    {"cert-manager.io", VERB_CREATE | VERB_UPDATE, NULL, NULL, admit_cert_rules},
    {"DefaultIngressClass", VERB_CREATE, K(Ingress), admit_ingress_class, NULL},
    {"PodTopologyLabels", VERB_CREATE | ADMIT_APART, NULL, admit_topology, NULL},
    {"RBAC escalation", VERB_CREATE | VERB_UPDATE, K(Role), NULL, admit_escalation},
    {"RBAC escalation", VERB_CREATE | VERB_UPDATE, K(ClusterRole), NULL, admit_escalation},
    {"RBAC binding", VERB_CREATE | VERB_UPDATE, K(RoleBinding), NULL, admit_binding_escalation},
    {"RBAC binding", VERB_CREATE | VERB_UPDATE, K(ClusterRoleBinding), NULL, admit_binding_escalation},
    {"MutatingAdmissionPolicy", EVERY_VERB | ADMIT_APART, NULL, admit_policies_mutate, NULL},
    {"MutatingAdmissionWebhook", EVERY_VERB | ADMIT_APART, NULL, admit_webhooks_mutate, NULL},
    {"ValidatingAdmissionPolicy", EVERY_VERB | ADMIT_APART, NULL, NULL, admit_policies_validate},
    {"ValidatingAdmissionWebhook", EVERY_VERB | ADMIT_APART, NULL, NULL, admit_webhooks_validate},
    {"ResourceQuota", VERB_CREATE | VERB_UPDATE, NULL, NULL, admit_quota},
};

void admit_begin(struct admission *x, struct request *r, unsigned verb, struct val *obj, const struct val *old)
{
    *x = (struct admission){.r = r,
                            .verb = verb,
                            .kind = r->kind,
                            .ns = r->ns,
                            .name = r->name,
                            .sub = r->sub,
                            .obj = obj,
                            .old = old,
                            .kept = x->kept};
}

void **admit_kept(struct admission *x)
{
    const struct server *s = x->r->server;
    if (!x->kept)
        x->kept = arena_alloc(&x->r->arena, (countof(rows) + s->nadmit_more) * 2 * sizeof *x->kept);
    return &x->kept[x->at];
}

static bool row_concerns(const struct admit_row *row, const struct admission *x)
{
    return (row->verbs & x->verb) && (!row->kind || row->kind == x->kind) && (!x->apart || row->verbs & ADMIT_APART);
}

/* Mutating rows from 0, validating ones from `all`: at tells them apart where a row keeps something. */
static bool rows_run(struct admission *x, bool mutate)
{
    const struct server *s = x->r->server;
    size_t all = countof(rows) + s->nadmit_more, first = mutate ? 0 : all;
    if (x->r->admitted)
        return true;
    for (x->at = MAX(x->at, first); x->at < first + all; x->at++) {
        size_t i = x->at - first;
        const struct admit_row *row = i < countof(rows) ? &rows[i] : &s->admit_more[i - countof(rows)];
        admit_fn *fn = mutate ? row->mutate : row->validate;
        if (fn && row_concerns(row, x) && !fn(x))
            return false;
    }
    return true;
}

bool admit_mutate(struct admission *x)
{
    if (!rows_run(x, true))
        return false;
    if (x->again || (!webhooks_changed_it(x) && !policies_changed_it(x)))
        return true;
    x->again = true;
    webhooks_once_more(x);
    policies_once_more(x);
    x->at = 0;
    return rows_run(x, true);
}

bool admit_validate(struct admission *x)
{
    return rows_run(x, false);
}

/* --- NamespaceLifecycle --- */

bool admit_namespace(struct admission *x)
{
    struct request *r = x->r;
    if (x->verb == VERB_DELETE) {
        static const struct str kept[] = {S_INIT("default"), S_INIT("kube-system"), S_INIT("kube-public")};
        for (size_t i = 0; x->kind == K(Namespace) && i < countof(kept); i++)
            if (str_eq(kept[i], x->name))
                return fail_forbidden(r, "this namespace may not be deleted");
        return true;
    }
    if (!x->kind->namespaced)
        return true;
    AUTO(obj_unref) struct obj *ns = object_get(r->server, K(Namespace), S(""), x->ns);
    if (!ns)
        return fail_named_not_found(r, S(""), S("namespaces"), x->ns);
    if (!obj_deleting(ns) && !str_eq(val_text_at(obj_status(ns), N(phase)), S("Terminating")))
        return true;
    struct str was = r->name;
    if (!r->name.n)
        r->name = x->name;
    fail_forbidden(r, "unable to create new content in namespace " STR_FMT " because it is being terminated",
                   STR_ARG(x->ns));
    r->name = was;
    fail_add_cause(r, "NamespaceTerminating",
                   arena_fmt(&r->arena, "namespace " STR_FMT " is being terminated", STR_ARG(x->ns)),
                   S("metadata.namespace"));
    return false;
}

/* --- nodes --- */

bool admit_new_node(struct admission *x)
{
    struct arena *a = &x->r->arena;
    struct val *spec = val_need_map(a, x->obj, N(spec)), *taints = val_get_mut(spec, N(taints));
    if (!taints)
        taints = val_set(a, spec, N(taints), val_list());
    val_each_item (it, taints) {
        if (str_eq(val_text_at(it, N(key)), S("node.kubernetes.io/not-ready")) &&
            str_eq(val_text_at(it, N(effect)), S("NoSchedule")))
            return true;
    }
    struct val *t = val_add(a, taints, val_map());
    val_set_text(a, t, N(key), S("node.kubernetes.io/not-ready"));
    val_set_text(a, t, N(effect), S("NoSchedule"));
    return true;
}

/* --- storage, ingress --- */

/* The newest object of a kind with the annotation KEY "true" (or the older one, by which it was called before), of
 * several the first by name, in whose order they come; a reference. */
struct marked {
    struct str key, older;
    struct obj *found;
};

static bool newest_marked(struct obj *o, void *arg)
{
    struct marked *m = arg;
    const struct val *notes = val_get(obj_meta(o), N(annotations));
    if (!str_eqz(val_text(val_get_str(notes, m->key)), "true") &&
        !str_eqz(val_text(val_get_str(notes, m->older)), "true"))
        return true;
    if (m->found) {
        if (str_cmp(val_text_at(obj_meta(m->found), N(creationTimestamp)),
                    val_text_at(obj_meta(o), N(creationTimestamp))) >= 0)
            return true;
        obj_unref(m->found);
    }
    m->found = obj_ref(o);
    return true;
}

static struct obj *default_of(struct server *s, const struct kind *k, const char *annotation, const char *older)
{
    struct marked m = {.key = str_of(annotation), .older = str_of(older)};
    objects_each(s, k, STR_NONE, newest_marked, &m);
    return m.found;
}

bool admit_storage_class(struct admission *x)
{
    struct arena *a = &x->r->arena;
    struct val *spec = val_need_map(a, x->obj, N(spec));
    if (val_get(spec, N(storageClassName)) ||
        val_get_str(val_at(x->obj, N(metadata), N(annotations)), S("volume.beta.kubernetes.io/storage-class")))
        return true;
    AUTO(obj_unref)
    struct obj *o = default_of(x->r->server, K(StorageClass), "storageclass.kubernetes.io/is-default-class",
                               "storageclass.beta.kubernetes.io/is-default-class");
    if (o)
        val_set_text(a, spec, N(storageClassName), str_dup(a, o->name));
    return true;
}

bool admit_ingress_class(struct admission *x)
{
    struct arena *a = &x->r->arena;
    struct val *spec = val_need_map(a, x->obj, N(spec));
    if (val_get(spec, N(ingressClassName)) ||
        val_get_str(val_at(x->obj, N(metadata), N(annotations)), S("kubernetes.io/ingress.class")))
        return true;
    AUTO(obj_unref)
    struct obj *o = default_of(x->r->server, K(IngressClass), "ingressclass.kubernetes.io/is-default-class", "");
    if (o)
        val_set_text(a, spec, N(ingressClassName), str_dup(a, o->name));
    return true;
}

bool admit_storage_protection(struct admission *x)
{
    const char *finalizer = x->kind == K(PersistentVolumeClaim)   ? "kubernetes.io/pvc-protection"
                            : x->kind == K(PersistentVolume)      ? "kubernetes.io/pv-protection"
                            : x->kind == K(VolumeAttributesClass) ? "kubernetes.io/vac-protection"
                                                                  : NULL;
    if (!finalizer)
        return true;
    struct arena *a = &x->r->arena;
    struct val *meta = val_need_map(a, x->obj, N(metadata)), *list = val_get_mut(meta, N(finalizers));
    if (!list)
        list = val_set(a, meta, N(finalizers), val_list());
    val_each_item (it, list)
        if (str_eqz(val_text(it), finalizer))
            return true;
    val_add(a, list, val_str_borrowed(str_of(finalizer)));
    return true;
}
