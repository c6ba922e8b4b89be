#include "server/admit.h"
#include "server/fail.h"
#include "server/int.h"
#include "server/rbac_int.h"

/* What a node may write, as far as the object says it (upstream's NodeRestriction; what the name says: node_reaches).
 * A taken node gives away what runs on it: it makes no pods whose accounts it would become, and draws none to itself.
 */

static bool admission_refuse(struct admission *x, struct str why)
{
    struct request *r = x->r;
    struct str was = r->name;
    r->name = x->name;
    (void)fail_forbidden(r, STR_FMT, STR_ARG(why));
    r->name = was;
    return false;
}
#define NO(x, ...) admission_refuse((x), arena_fmt(&(x)->r->arena, __VA_ARGS__))

static bool make_pod(struct admission *x, struct str node)
{
    const struct val *meta = val_get(x->obj, N(metadata)), *spec = val_get(x->obj, N(spec)),
                     *owners = val_get(meta, N(ownerReferences)), *owner = val_item(owners, 0);
    if (!val_get_str(val_get(meta, N(annotations)), S("kubernetes.io/config.mirror")))
        return NO(x,
                  "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"" STR_FMT
                  "\" can only create mirror pods",
                  STR_ARG(node));
    if (!str_eq(val_text_at(spec, N(nodeName)), node))
        return NO(x, "node \"" STR_FMT "\" can only create pods with spec.nodeName set to itself", STR_ARG(node));
    AUTO(obj_unref) struct obj *self = object_get(x->r->server, K(Node), S(""), node);
    if (val_len(owners) != 1 || !str_eqz(val_text_at(owner, N(kind)), "Node") ||
        !str_eq(val_text_at(owner, N(name)), node) || !val_true(val_get(owner, N(controller))) ||
        val_true(val_get(owner, N(blockOwnerDeletion))) || !self || !str_eq(val_text_at(owner, N(uid)), self->uid))
        return NO(x, "node \"" STR_FMT "\" can only create pods with a controller owner reference set to itself",
                  STR_ARG(node));
    struct str used = pod_refers(spec); /* the account is looked at by ServiceAccount, which gives mirror pods none */
    return !used.n ||
           NO(x, "node \"" STR_FMT "\" can not create pods that reference " STR_FMT, STR_ARG(node), STR_ARG(used));
}

/* A label by which a node could draw pods to itself that others keep away from it. */
static bool label_is_the_nodes(struct str key)
{
    static const struct str allowed[] = {
        S_INIT("kubernetes.io/hostname"),
        S_INIT("kubernetes.io/arch"),
        S_INIT("kubernetes.io/os"),
        S_INIT("beta.kubernetes.io/arch"),
        S_INIT("beta.kubernetes.io/os"),
        S_INIT("beta.kubernetes.io/instance-type"),
        S_INIT("node.kubernetes.io/instance-type"),
        S_INIT("failure-domain.beta.kubernetes.io/region"),
        S_INIT("failure-domain.beta.kubernetes.io/zone"),
        S_INIT("failure-domain.kubernetes.io/region"),
        S_INIT("failure-domain.kubernetes.io/zone"),
        S_INIT("topology.kubernetes.io/region"),
        S_INIT("topology.kubernetes.io/zone"),
    };
    static const struct str domains[] = {S_INIT("kubernetes.io"), S_INIT("k8s.io")},
                            open[] = {S_INIT("kubelet.kubernetes.io"), S_INIT("node.kubernetes.io")};
    struct str prefix, name;
    for (size_t i = 0; i < countof(allowed); i++)
        if (str_eq(key, allowed[i]))
            return true;
    if (!str_split(key, '/', &prefix, &name))
        return true;
    for (size_t i = 0; i < countof(open); i++)
        if (str_eq(prefix, open[i]) || (str_ends(prefix, open[i]) && prefix.p[prefix.n - open[i].n - 1] == '.'))
            return true;
    for (size_t i = 0; i < countof(domains); i++)
        if (str_eq(prefix, domains[i]) ||
            (str_ends(prefix, domains[i]) && prefix.p[prefix.n - domains[i].n - 1] == '.'))
            return false;
    return true;
}

/* A label of `one` that the node may not change and that is another in `other`. */
static struct str changed_label(const struct val *one, const struct val *other)
{
    val_each_member (m, one)
        if (!label_is_the_nodes(m->name->s) && !val_equal(&m->v, val_get_str(other, m->name->s)))
            return m->name->s;
    return S("");
}

static bool write_node(struct admission *x, struct str node)
{
    const struct val *meta = val_get(x->obj, N(metadata)), *was = val_get(x->old, N(metadata)),
                     *labels = val_get(meta, N(labels)), *before = val_get(was, N(labels));
    if (!str_eq(x->name, node))
        return NO(x, "node \"" STR_FMT "\" is not allowed to modify node \"" STR_FMT "\"", STR_ARG(node),
                  STR_ARG(x->name));
    struct str bad = changed_label(labels, before);
    bad = bad.n ? bad : changed_label(before, labels);
    if (bad.n)
        return NO(x, "node \"" STR_FMT "\" is not allowed to modify labels: " STR_FMT, STR_ARG(node), STR_ARG(bad));
    if (!x->old)
        return true;
    if (!val_equal(val_at(x->obj, N(spec), N(taints)), val_at(x->old, N(spec), N(taints))))
        return NO(x, "node \"" STR_FMT "\" is not allowed to modify taints", STR_ARG(node));
    return val_equal(val_get(meta, N(ownerReferences)), val_get(was, N(ownerReferences))) ||
           NO(x, "node \"" STR_FMT "\" is not allowed to modify ownerReferences", STR_ARG(node));
}

/* Authorization looked at what was there then; this is what is written on. */
static bool write_pod(struct admission *x, struct str node)
{
    if (!str_eq(val_text_at(x->old, N(spec), N(nodeName)), node))
        return NO(x, "node \"" STR_FMT "\" can only %s pods with spec.nodeName set to itself", STR_ARG(node),
                  verb_name(x->verb));
    return x->verb == VERB_DELETE ||
           val_equal(val_at(x->obj, N(metadata), N(labels)), val_at(x->old, N(metadata), N(labels))) ||
           NO(x, "node \"" STR_FMT "\" cannot update labels through pod status", STR_ARG(node));
}

static bool write_slice(struct admission *x, struct str node)
{
    const struct val *const both[] = {x->obj, x->old};
    for (size_t i = 0; i < countof(both); i++)
        if (both[i] && !str_eq(val_text_at(both[i], N(spec), N(nodeName)), node))
            return NO(x, "can only %s ResourceSlice with the same NodeName as the requesting node",
                      verb_name(x->verb));
    return true;
}

static struct str node_of_volume(struct admission *x, const struct val *tree)
{
    return kind_field_value(&x->r->arena, K(PersistentVolume), tree, S("wherry.dev/node"));
}

/* A node makes volumes of the built-in provisioner that are its own, for claims that were sent to it; a path of
 * another node's would be another pod's files. */
static bool write_volume(struct admission *x, struct str node)
{
    const struct val *spec = val_get(x->obj, N(spec)), *ref = val_get(spec, N(claimRef));
    if (!str_eq(node_of_volume(x, x->obj), node) || !val_get(spec, N(local)))
        return NO(x,
                  "node \"" STR_FMT "\" can only %s local volumes of provisioner wherry.dev/local with node affinity "
                  "to itself",
                  STR_ARG(node), verb_name(x->verb));
    if (x->verb != VERB_CREATE)
        return true;
    AUTO(obj_unref)
    struct obj *claim = object_get(x->r->server, K(PersistentVolumeClaim), val_text_at(ref, N(namespace)),
                                   val_text_at(ref, N(name)));
    return (claim && str_eq(claim->uid, val_text_at(ref, N(uid))) &&
            str_eq(kind_field_value(&x->r->arena, K(PersistentVolumeClaim), &claim->tree, S("wherry.dev/node")),
                   node)) ||
           NO(x, "node \"" STR_FMT "\" can only create volumes for claims whose selected node it is", STR_ARG(node));
}

bool admit_node(struct admission *x)
{
    struct str node = node_of(x->r->user);
    if (!node.p)
        return true;
    bool create = x->verb == VERB_CREATE;
    if (x->kind == K(Pod) && create)
        return make_pod(x, node);
    if (x->kind == K(Pod))
        return write_pod(x, node);
    if (x->kind == K(ResourceSlice))
        return write_slice(x, node);
    if (x->kind == K(Node) && x->verb != VERB_DELETE)
        return write_node(x, node);
    if (create && x->kind == K(Lease) && !(str_eq(x->name, node) && str_eq(x->ns, S("kube-node-lease"))))
        return NO(x, "can only access node lease with the same name as the requesting node");
    if (x->kind == K(PersistentVolume) && x->verb != VERB_DELETE)
        return write_volume(x, node);
    if (create && x->kind == K(CSINode) && !str_eq(x->name, node))
        return NO(x, "can only access CSINode with the same name as the requesting node");
    return true;
}
