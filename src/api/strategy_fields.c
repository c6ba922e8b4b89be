/* strategy_fields.c - which fields of a kind a list may be selected by, and the text that a selector compares with.
 */
#include "api/custom.h"
#include "api/strategy_int.h"

struct selectable {
    const struct kind *kind;
    const char *paths[12];
};
#define EVENT_FIELDS(prefix)                                                                                         \
    prefix ".kind", prefix ".namespace", prefix ".name", prefix ".uid", prefix ".apiVersion",                        \
        prefix ".resourceVersion", prefix ".fieldPath"
/* The node that a claim's volume is to be made on, and that a volume which was made there belongs to: what a node may
 * read of them, which upstream has no field for. */
#define NODE_FIELD "wherry.dev/node"
static const struct selectable selectables[] = {
    {K(Pod),
     {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
      "status.phase", "status.podIP", "status.nominatedNodeName", "status.podIPs", "spec.host"}},
    {K(ReplicationController), {"status.replicas"}},
    {K(Service), {"spec.clusterIP", "spec.type"}},
    {K(Event), {EVENT_FIELDS("involvedObject"), "reason", "reportingComponent", "source", "type"}},
    {K(events_k8s_io_Event), {EVENT_FIELDS("regarding"), "reason", "reportingController", "type"}},
    {K(Namespace), {"status.phase", "name"}},
    {K(Node), {"spec.unschedulable"}},
    {K(PersistentVolume), {"name", NODE_FIELD}},
    {K(PersistentVolumeClaim), {"name", NODE_FIELD}},
    {K(Secret), {"type"}},
    {K(Job), {"status.successful"}},
    {K(CertificateSigningRequest), {"spec.signerName"}},
    {K(ResourceSlice), {"spec.nodeName", "spec.driver"}},
};

bool kind_field_supported(const struct kind *k, struct str path)
{
    if (str_eq(path, S("metadata.name")) || str_eq(path, S("metadata.namespace")))
        return true;
    for (size_t i = 0; i < countof(selectables); i++)
        for (size_t j = 0; selectables[i].kind == k && j < countof(selectables[i].paths); j++)
            if (selectables[i].paths[j] && str_eqz(path, selectables[i].paths[j]))
                return true;
    for (size_t i = 0; k->custom && i < k->custom->nfields; i++)
        if (str_eq(k->custom->fields[i], path))
            return true;
    return false;
}

static const struct val *path_follow(const struct val *v, struct str path)
{
    struct str part;
    while (v && str_cut(&path, '.', &part))
        v = val_get_str(v, part);
    return v;
}

static struct str scalar_text(struct arena *a, const struct val *v)
{
    if (val_is(v, VAL_INT))
        return arena_fmt(a, "%lld", (long long)v->i);
    if (val_is(v, VAL_BOOL))
        return v->b ? S("true") : S("false");
    return val_text(v);
}

static struct str note_of(const struct val *tree, const char *key)
{
    return val_text(val_get_str(val_at(tree, N(metadata), N(annotations)), str_of(key)));
}

/* A volume is a node's if the node made it, and it can be had nowhere else. */
static struct str node_field(const struct kind *k, const struct val *tree)
{
    const struct val *terms = val_at(tree, N(spec), N(nodeAffinity), N(required), N(nodeSelectorTerms)),
                     *list = val_get(val_item(terms, 0), N(matchExpressions)), *e = val_item(list, 0),
                     *values = val_get(e, N(values));
    if (k == K(PersistentVolumeClaim))
        return note_of(tree, "volume.kubernetes.io/selected-node");
    bool one = val_len(terms) == 1 && val_len(list) == 1 && val_len(values) == 1 &&
               str_eq(val_text_at(e, N(key)), S("kubernetes.io/hostname")) &&
               str_eq(val_text_at(e, N(operator)), S("In"));
    return one && str_eq(note_of(tree, "pv.kubernetes.io/provisioned-by"), S("wherry.dev/local"))
               ? val_text(val_item(values, 0))
               : S("");
}

struct str kind_field_value(struct arena *a, const struct kind *k, const struct val *tree, struct str path)
{
    const struct val *v;
    if (k->custom)
        return scalar_text(a, path_follow(tree, path));
    if (str_eq(path, S(NODE_FIELD)))
        return node_field(k, tree);
    if (str_eq(path, S("spec.host")))
        path = S("spec.nodeName");
    if (str_eq(path, S("name")))
        path = S("metadata.name");
    if (str_eq(path, S("status.successful")))
        path = S("status.succeeded");
    if (str_eq(path, S("source"))) {
        struct str source = val_text_at(tree, N(source), N(component));
        return source.n ? source : TEXT(tree, reportingComponent);
    }
    v = path_follow(tree, path);
    if (!v && k->storage) { /* the tree may have the form of the other group */
        if (str_starts(path, S("regarding.")))
            v = path_follow(V(tree, involvedObject), str_sub(path, 10, path.n));
        else if (str_starts(path, S("involvedObject.")))
            v = path_follow(V(tree, regarding), str_sub(path, 15, path.n));
        else if (str_eq(path, S("reportingController")))
            v = V(tree, reportingComponent);
        else if (str_eq(path, S("reportingComponent")))
            v = V(tree, reportingController);
    }
    if (val_is(v, VAL_STRING) || val_is(v, VAL_INT) || val_is(v, VAL_BOOL))
        return scalar_text(a, v);
    if (str_eq(path, S("spec.hostNetwork")) || str_eq(path, S("spec.unschedulable")))
        return S("false");
    if (str_eq(path, S("status.replicas")) || str_eq(path, S("status.succeeded")))
        return S("0");
    return S("");
}
