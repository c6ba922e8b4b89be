#include "api/csi_source.h"
#include "api/placement.h"
#include "api/selector.h"
#include "server/int.h"
#include "server/rbac_int.h"

/* What a node may read beyond its role: the secrets and config maps of the pods that are bound to it, one by one, and
 * tokens of their service accounts. A role cannot say that (its resourceNames stand still), so this does, as
 * upstream's Node authorizer. A taken node gives away what runs on it, not the cluster. */

static const struct str node_prefix = S_INIT("system:node:");

static bool names_claim(struct str resource)
{
    return str_eq(resource, S("persistentvolumeclaims")) || str_eq(resource, S("persistentvolumes"));
}

bool node_limited(const struct attributes *x)
{
    if (!x->is_resource || x->group.n || !user_in_group(x->user, S("system:nodes")))
        return false;
    if (str_eq(x->resource, S("serviceaccounts")))
        return str_eq(x->sub, S("token"));
    return !x->sub.n &&
           (str_eq(x->resource, S("secrets")) || str_eq(x->resource, S("configmaps")) || names_claim(x->resource));
}

bool node_follows(const struct attributes *x)
{
    return x->is_resource && !x->group.n && !x->sub.n && names_claim(x->resource) &&
           (str_eq(x->verb, S("list")) || str_eq(x->verb, S("watch")));
}

struct str node_of(const struct user *u)
{
    bool node = user_in_group(u, S("system:nodes")) && str_starts(u->name, node_prefix) && u->name.n > node_prefix.n;
    return node ? str_sub(u->name, node_prefix.n, u->name.n) : STR_NONE;
}

static bool pod_is_on(struct server *s, struct str ns, struct str name, struct str node)
{
    AUTO(obj_unref) struct obj *pod = object_get(s, K(Pod), ns, name);
    /* what is not there (any more) is not found by what comes after this */
    return !pod || str_eq(val_text_at(obj_spec(pod), N(nodeName)), node);
}

/* Whether a list or watch reads only where the field has this value, or only where it has not. */
static bool field_term_is(struct arena *a, const struct attributes *x, const char *field, bool equal,
                          struct str value)
{
    struct field_term *terms;
    size_t n;
    struct err err = ERR; /* what cannot be read selects nothing, and is refused later */
    if (!x->fields.n || !field_selector_parse(a, x->fields, &terms, &n, &err))
        return false;
    for (size_t i = 0; i < n; i++)
        if (terms[i].equal == equal && str_eqz(terms[i].path, field) && str_eq(terms[i].value, value))
            return true;
    return false;
}

static bool field_selects(struct arena *a, const struct attributes *x, const char *field, struct str value)
{
    return field_term_is(a, x, field, true, value);
}

static bool object_is(struct obj *o, void *arg)
{
    (void)o;
    *(bool *)arg = true;
    return false;
}

static bool has_policies(struct server *s)
{
    bool any = false;
    objects_each(s, K(NetworkPolicy), STR_NONE, object_is, &any);
    return any;
}

/* The pods of other nodes that have an address, for network policies, which speak of them by their labels. Only while
 * there are policies: a cluster without one shows each node its own pods alone. */
static bool reads_peers(struct server *s, struct arena *a, const struct attributes *x, struct str node)
{
    return field_term_is(a, x, "spec.nodeName", false, node) && field_term_is(a, x, "status.podIP", false, S("")) &&
           has_policies(s);
}

/* The claim's volume is made on the node, or the volume was. */
static bool claim_is_sent(struct server *s, const struct attributes *x, struct str node)
{
    bool claim = str_eq(x->resource, S("persistentvolumeclaims"));
    const struct kind *k = claim ? K(PersistentVolumeClaim) : K(PersistentVolume);
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(obj_unref) struct obj *o = object_get(s, k, x->ns, x->name);
    return o && str_eq(kind_field_value(&a, k, &o->tree, S("wherry.dev/node")), node);
}

/* A node reads itself and the pods that are bound to it (upstream: AuthorizeNodeWithSelectors). What pods of others
 * are given to begin with is in their specs. */
static bool node_reads(struct server *s, struct arena *a, const struct attributes *x, struct str node,
                       struct str *why)
{
    if (str_eq(x->group, S("storage.k8s.io")) && str_eq(x->resource, S("volumeattachments"))) {
        AUTO(obj_unref) struct obj *attached = x->name.n ? object_get(s, K(VolumeAttachment), S(""), x->name) : NULL;
        if (attached && !str_eq(val_text_at(obj_spec(attached), N(nodeName)), node))
            *why = arena_fmt(a, "no relationship found between node '" STR_FMT "' and this object", STR_ARG(node));
        return !why->n;
    }
    if (x->group.n)
        return true;
    if (str_eq(x->resource, S("nodes")) && !str_eq(x->name, node) &&
        !(!x->name.n && field_selects(a, x, "metadata.name", node)))
        *why = x->name.n ? arena_fmt(a, "node '" STR_FMT "' cannot read '" STR_FMT "', only its own Node object",
                                     STR_ARG(node), STR_ARG(x->name))
                         : arena_fmt(a, "node '" STR_FMT "' cannot read all nodes, only its own Node object",
                                     STR_ARG(node));
    else if (str_eq(x->resource, S("pods")) && str_eq(x->verb, S("get")) && !pod_is_on(s, x->ns, x->name, node))
        *why = arena_fmt(a, "node '" STR_FMT "' can only read pods with spec.nodeName set to itself", STR_ARG(node));
    else if (names_claim(x->resource) && !x->sub.n &&
             !(x->name.n ? node_uses(s, x) || claim_is_sent(s, x, node)
                         : field_selects(a, x, "wherry.dev/node", node)))
        *why = arena_fmt(a, "node '" STR_FMT "' can only read the claims of its pods and of volumes that it makes",
                         STR_ARG(node));
    else if (str_eq(x->resource, S("pods")) && !str_eq(x->verb, S("get")) &&
             !field_selects(a, x, "spec.nodeName", node) &&
             !reads_peers(s, a, x, node)) /* a name alone may be nobody's yet, and another's then */
        *why = S("can only list/watch pods with spec.nodeName field selector");
    return !why->n;
}

/* What a node may write, as far as the name says it (upstream's NodeRestriction; what the body says: admit_node): its
 * own Node, lease and CSINode, and its own pods. */
bool node_reaches(struct server *s, struct arena *a, const struct attributes *x, struct str *why)
{
    struct str node = node_of(x->user);
    bool reads = str_eq(x->verb, S("get")) || str_eq(x->verb, S("list")) || str_eq(x->verb, S("watch")),
         creates = str_eq(x->verb, S("create")) && !x->sub.n;
    if (!node.p || !x->is_resource || creates)
        return true;
    if (reads)
        return node_reads(s, a, x, node, why);
    if (!x->group.n && names_claim(x->resource)) {
        struct attributes read = *x; /* the status of what its pods use is the node's, too */
        read.verb = S("get");
        read.sub = S("");
        if (!claim_is_sent(s, x, node) && !(x->sub.n && node_uses(s, &read)))
            *why = arena_fmt(a, "node \"" STR_FMT "\" can only " STR_FMT " " STR_FMT " of its own", STR_ARG(node),
                             STR_ARG(x->verb), STR_ARG(x->resource));
        return !why->n;
    }
    bool lease = str_eq(x->resource, S("leases")), own = str_eq(x->name, node);
    if (!x->group.n && str_eq(x->resource, S("nodes")) && !own)
        *why = arena_fmt(a, "node \"" STR_FMT "\" is not allowed to modify node \"" STR_FMT "\"", STR_ARG(node),
                         STR_ARG(x->name));
    else if (!x->group.n && str_eq(x->resource, S("pods")) && !(x->name.n && pod_is_on(s, x->ns, x->name, node)))
        *why = arena_fmt(a, "node \"" STR_FMT "\" can only " STR_FMT " pods with spec.nodeName set to itself",
                         STR_ARG(node), STR_ARG(str_eq(x->sub, S("eviction")) ? S("evict") : x->verb));
    else if (lease && !(own && str_eq(x->ns, S("kube-node-lease"))))
        *why = arena_fmt(a, "can only access node lease with the same name as the requesting node");
    else if (str_eq(x->resource, S("csinodes")) && !own)
        *why = arena_fmt(a, "can only access CSINode with the same name as the requesting node");
    return !why->n;
}

struct use {
    const struct attributes *x;
    struct str node;
    bool secret, token, found;
    bool any;         /* whatever its name */
    struct str claim; /* a claim of this name, of the pod's namespace; empty: no claim is asked for */
};

static bool is_name(const struct use *u, const struct val *ref)
{
    return ref && (u->any || str_eq(val_text(val_get(ref, N(name))), u->x->name));
}

static bool container_uses(const struct use *u, const struct val *c)
{
    val_each_item (from, val_get(c, N(envFrom)))
        if (is_name(u, u->secret ? val_get(from, N(secretRef)) : val_get(from, N(configMapRef))))
            return true;
    val_each_item (env, val_get(c, N(env)))
        if (is_name(u, u->secret ? val_at(env, N(valueFrom), N(secretKeyRef))
                                 : val_at(env, N(valueFrom), N(configMapKeyRef))))
            return true;
    return false;
}

static bool volume_uses(const struct use *u, const struct val *v)
{
    struct str secret = val_text_at(v, N(secret), N(secretName));
    struct str share = val_text_at(v, N(azureFile), N(secretName));
    const struct val *own[] = {val_at(v, N(csi), N(nodePublishSecretRef)), val_at(v, N(iscsi), N(secretRef)),
                               val_at(v, N(flexVolume), N(secretRef))};
    for (size_t i = 0; u->secret && i < countof(own); i++)
        if (is_name(u, own[i]))
            return true;
    if (u->secret && share.n && (u->any || str_eq(share, u->x->name)))
        return true;
    if (u->secret ? (u->any ? secret.n > 0 : str_eq(secret, u->x->name)) : is_name(u, val_get(v, N(configMap))))
        return true;
    val_each_item (source, val_at(v, N(projected), N(sources)))
        if (is_name(u, u->secret ? val_get(source, N(secret)) : val_get(source, N(configMap))))
            return true;
    return false;
}

/* By its name, or made for a volume of the pod (ephemeral), whose name says both. */
static bool claim_used(const struct use *u, struct str pod_name, const struct val *spec)
{
    val_each_item (v, val_get(spec, N(volumes))) {
        struct str name = val_text_at(v, N(name));
        if (str_eq(val_text_at(v, N(persistentVolumeClaim), N(claimName)), u->claim))
            return true;
        if (val_get(v, N(ephemeral)) && u->claim.n == pod_name.n + 1 + name.n && str_starts(u->claim, pod_name) &&
            u->claim.p[pod_name.n] == '-' && str_ends(u->claim, name))
            return true;
    }
    return false;
}

static bool spec_uses(const struct use *u, struct str pod_name, const struct val *spec)
{
    const struct name *const lists[] = {N(containers), N(initContainers), N(ephemeralContainers)};
    if (u->claim.n)
        return claim_used(u, pod_name, spec);
    if (u->token)
        return str_eq(val_text_at(spec, N(serviceAccountName)), u->x->name);
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(spec, lists[i]))
            if (container_uses(u, c))
                return true;
    val_each_item (v, val_get(spec, N(volumes)))
        if (volume_uses(u, v))
            return true;
    val_each_item (pull, val_get(spec, N(imagePullSecrets)))
        if (u->secret && is_name(u, pull))
            return true;
    return false;
}

struct str pod_refers(const struct val *spec)
{
    struct use u = {.any = true, .secret = true};
    if (spec_uses(&u, STR_NONE, spec))
        return S("secrets");
    u.secret = false;
    if (spec_uses(&u, STR_NONE, spec))
        return S("configmaps");
    val_each_item (v, val_get(spec, N(volumes)))
        if (val_get(v, N(persistentVolumeClaim)))
            return S("persistentvolumeclaims");
    return S("");
}

static bool pod_look(struct obj *pod, void *arg)
{
    struct use *u = arg;
    u->found = str_eq(val_text_at(obj_spec(pod), N(nodeName)), u->node) && spec_uses(u, pod->name, obj_spec(pod));
    return !u->found;
}

/* What a volume says of its claim anybody who makes volumes may have written; the claim must name it, too. */
static bool claim_binds(struct server *s, struct str ns, struct str claim, struct str volume)
{
    AUTO(obj_unref) struct obj *o = object_get(s, K(PersistentVolumeClaim), ns, claim);
    return o && str_eq(val_text_at(obj_spec(o), N(volumeName)), volume);
}

struct driver_secret {
    struct server *server;
    const struct use *use;
    bool found;
};

/* A Secret that the driver of a bound volume, or an iSCSI target, is given by the node (upstream: those of
 * VisitPVSecretNames that a kubelet may see). */
static bool volume_gives(const struct obj *volume, struct str ns, struct str name)
{
    const struct name *const refs[] = {N(nodeStageSecretRef), N(nodePublishSecretRef), N(nodeExpandSecretRef)};
    AUTO(arena_fini) struct arena a = ARENA;
    struct csi_source source;
    struct err ignored = ERR; /* what no driver can have gives nothing */
    bool of_driver = csi_source_of(&a, volume, &source, &ignored);
    for (size_t i = 0; of_driver && i < countof(refs); i++) {
        const struct val *ref = val_at(source.spec, N(csi), refs[i]);
        if (ref && str_eq(val_text_at(ref, N(name)), name) && str_eq(val_text_at(ref, N(namespace)), ns))
            return true;
    }
    const struct val *own[] = {val_at(obj_spec(volume), N(iscsi), N(secretRef)),
                               val_at(obj_spec(volume), N(flexVolume), N(secretRef))};
    for (size_t i = 0; i < countof(own); i++) {
        struct str its = val_text_at(own[i], N(namespace));
        if (own[i] && str_eq(val_text_at(own[i], N(name)), name) &&
            str_eq(its.n ? its : val_text_at(obj_spec(volume), N(claimRef), N(namespace)), ns))
            return true;
    }
    return false;
}

static bool driver_look(struct obj *pod, void *arg)
{
    struct driver_secret *d = arg;
    if (!str_eq(val_text_at(obj_spec(pod), N(nodeName)), d->use->node))
        return true;
    val_each_item (v, val_get(obj_spec(pod), N(volumes))) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct str name = pod_claim(&a, pod, v);
        AUTO(obj_unref)
        struct obj *claim = name.n ? object_get(d->server, K(PersistentVolumeClaim), pod->ns, name) : NULL;
        struct str bound = claim ? val_text_at(obj_spec(claim), N(volumeName)) : S("");
        AUTO(obj_unref)
        struct obj *volume = bound.n ? object_get(d->server, K(PersistentVolume), S(""), bound) : NULL;
        const struct val *ref = volume ? val_get(obj_spec(volume), N(claimRef)) : NULL;
        d->found |= ref && str_eq(val_text_at(ref, N(name)), name) &&
                    str_eq(val_text_at(ref, N(namespace)), pod->ns) &&
                    volume_gives(volume, d->use->x->ns, d->use->x->name);
    }
    return !d->found;
}

bool node_uses(struct server *s, const struct attributes *x)
{
    bool token = x->sub.n > 0;
    bool asked = token ? str_eq(x->verb, S("create"))
                       : str_eq(x->verb, S("get")) || str_eq(x->verb, S("list")) || str_eq(x->verb, S("watch"));
    if (!asked || !x->name.n || !str_starts(x->user->name, node_prefix))
        return false;
    AUTO(obj_unref) struct obj *volume = NULL;
    struct str ns = x->ns, claim = str_eq(x->resource, S("persistentvolumeclaims")) ? x->name : S("");
    if (str_eq(x->resource, S("persistentvolumes"))) {
        volume = object_get(s, K(PersistentVolume), S(""), x->name);
        const struct val *ref = volume ? val_get(obj_spec(volume), N(claimRef)) : NULL;
        ns = val_text_at(ref, N(namespace));
        claim = val_text_at(ref, N(name));
        if (!claim.n || !claim_binds(s, ns, claim, x->name))
            return false;
    }
    if (!ns.n)
        return false;
    struct use u = {.x = x,
                    .node = str_sub(x->user->name, node_prefix.n, x->user->name.n),
                    .secret = str_eq(x->resource, S("secrets")),
                    .token = token,
                    .claim = claim};
    objects_each(s, K(Pod), ns, pod_look, &u);
    struct driver_secret d = {s, &u, u.found};
    if (!d.found && u.secret)
        objects_each(s, K(Pod), STR_NONE, driver_look, &d);
    return d.found;
}
