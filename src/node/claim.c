#include "node/claim.h"
#include "api/csi_source.h"
#include "api/placement.h"
#include "node/volume_gone.h"

void claim_names(const struct sources *s, const struct obj *pod,
                 void (*fn)(void *arg, const struct kind *kind, struct str name), void *arg)
{
    AUTO(arena_fini) struct arena a = ARENA;
    val_each_item (v, val_get(obj_spec(pod), N(volumes))) {
        struct str name = pod_claim(&a, pod, v);
        enum source_state state;
        if (!name.n)
            continue;
        fn(arg, K(PersistentVolumeClaim), name);
        const struct obj *claim = s->get(s->arg, K(PersistentVolumeClaim), pod->ns, name, &state);
        struct str bound = claim ? val_text_at(obj_spec(claim), N(volumeName)) : STR_NONE;
        if (bound.n)
            fn(arg, K(PersistentVolume), str_dup(&a, bound));
    }
}

/* Whether a container of the pod has the volume in this list of its own. */
static bool is_named_in(const struct obj *pod, const struct name *list, struct str volume)
{
    static const struct name *const lists[] = {N(initContainers), N(containers), N(ephemeralContainers)};
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(obj_spec(pod), lists[i]))
            if (val_find(val_get(c, list), N(name), volume))
                return true;
    return false;
}

static bool owner_is(const struct obj *claim, const struct obj *pod)
{
    val_each_item (o, val_get(obj_meta(claim), N(ownerReferences)))
        if (val_true(val_get(o, N(controller))) && str_eq(val_text_at(o, N(uid)), pod->uid))
            return true;
    return false;
}

static bool claim_unheard(const char *what, struct str name, struct err *err)
{
    return err_set(err, E_UNAVAILABLE, "%s \"" STR_FMT "\" has not been heard of yet", what, STR_ARG(name));
}

static bool claim_find(const struct sources *s, const struct obj *pod, const struct val *volume, struct str name,
                       const struct obj **out, struct err *err)
{
    enum source_state state = SOURCE_UNKNOWN;
    const struct obj *claim = *out = s->get(s->arg, K(PersistentVolumeClaim), pod->ns, name, &state);
    if (!claim && state == SOURCE_UNKNOWN)
        return claim_unheard("persistentvolumeclaim", name, err);
    if (!claim)
        return err_set(err, E_NOT_FOUND,
                       "failed to fetch PVC from API server: persistentvolumeclaims \"" STR_FMT "\" not found",
                       STR_ARG(name));
    if (val_get(volume, N(ephemeral)) && !owner_is(claim, pod))
        return err_set(err, E_INVALID,
                       "PVC " STR_FMT "/" STR_FMT " was not created for pod " STR_FMT "/" STR_FMT
                       " (pod is not owner)",
                       STR_ARG(claim->ns), STR_ARG(claim->name), STR_ARG(pod->ns), STR_ARG(pod->name));
    if (obj_deleting(claim))
        return err_set(err, E_INVALID, "PVC is being deleted");
    struct str phase = val_text_at(obj_status(claim), N(phase));
    if (val_text_at(obj_spec(claim), N(volumeName)).n && !str_eq(phase, S("Bound")) && !str_eq(phase, S("Lost")) &&
        val_get_str(val_get(obj_meta(claim), N(annotations)), S("pv.kubernetes.io/bind-completed")))
        return claim_unheard("binding of persistentvolumeclaim", name, err); /* its status comes after its spec */
    if (!str_eq(phase, S("Bound")))
        return err_set(err, E_INVALID, "PVC is not bound");
    return val_text_at(obj_spec(claim), N(volumeName)).n ||
           err_set(err, E_INVALID, "PVC has empty pvc.Spec.VolumeName");
}

static bool owner_find(const struct sources *s, const struct obj *claim, const struct obj **out, struct err *err)
{
    enum source_state state = SOURCE_UNKNOWN;
    struct str name = val_text_at(obj_spec(claim), N(volumeName));
    const struct obj *owner = *out = s->get(s->arg, K(PersistentVolume), S(""), name, &state);
    if (!owner && state == SOURCE_UNKNOWN)
        return claim_unheard("persistentvolume", name, err);
    if (!owner)
        return err_set(err, E_NOT_FOUND,
                       "failed to fetch PV " STR_FMT " from API server: persistentvolumes \"" STR_FMT "\" not found",
                       STR_ARG(name), STR_ARG(name));
    const struct val *ref = val_get(obj_spec(owner), N(claimRef));
    if (!ref)
        return err_set(err, E_INVALID,
                       "found PV object " STR_FMT
                       " but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim",
                       STR_ARG(name));
    return str_eq(val_text_at(ref, N(uid)), claim->uid) ||
           err_set(err, E_INVALID,
                   "found PV object " STR_FMT " but its pv.Spec.ClaimRef.UID " STR_FMT
                   " does not point to claim.UID " STR_FMT,
                   STR_ARG(name), STR_ARG(val_text_at(ref, N(uid))), STR_ARG(claim->uid));
}

static bool mode_suits(const struct obj *pod, const struct val *volume, bool block, struct err *err)
{
    struct str name = val_text_at(volume, N(name));
    if (block ? !is_named_in(pod, N(volumeMounts), name) : !is_named_in(pod, N(volumeDevices), name))
        return true;
    return err_set(err, E_INVALID, "volume " STR_FMT " has volumeMode %s, but is specified in %s", STR_ARG(name),
                   block ? "Block" : "Filesystem", block ? "volumeMounts" : "volumeDevices");
}

/* What is a driver's by now, in the driver's words. */
static bool source_of_driver(struct arena *a, const struct obj *pod, const struct val *volume,
                             struct volume_source *out, struct err *err)
{
    struct csi_source source;
    if (!csi_plugin_before(out->spec).n)
        return true;
    if (out->owner ? !csi_source_of(a, out->owner, &source, err)
                   : !csi_source_inline(a, pod->ns, volume, &source, err))
        return false;
    out->spec = source.spec;
    out->name = source.name;
    out->persistent = true;
    return true;
}

bool claim_resolve(const struct sources *s, struct arena *a, const struct obj *pod, const struct val *volume,
                   struct volume_source *out, struct err *err)
{
    struct str name = pod_claim(a, pod, volume);
    *out = (struct volume_source){.spec = volume, .name = val_text_at(volume, N(name))};
    if (!name.n)
        return source_of_driver(a, pod, volume, out, err);
    if (!claim_find(s, pod, volume, name, &out->claim, err) || !owner_find(s, out->claim, &out->owner, err)) {
        enum err_kind kind = err->kind;
        (void)err_wrap(err, "error processing PVC " STR_FMT "/" STR_FMT, STR_ARG(pod->ns), STR_ARG(name));
        err->kind = kind;
        return false;
    }
    out->spec = obj_spec(out->owner);
    out->name = out->owner->name;
    out->persistent = true;
    if (!source_of_driver(a, pod, volume, out, err))
        return false;
    out->block = str_eq(val_text_at(out->spec, N(volumeMode)), S("Block"));
    out->read_only = val_true(val_at(volume, N(persistentVolumeClaim), N(readOnly)));
    return mode_suits(pod, volume, out->block, err);
}

bool claim_is_used(const struct obj *pod, struct str volume)
{
    return is_named_in(pod, N(volumeMounts), volume) || is_named_in(pod, N(volumeDevices), volume);
}

static const struct name *const attached_sources[] = {N(csi), N(iscsi), N(fc), N(flexVolume)};

bool claim_is_attached(const struct val *spec)
{
    for (size_t i = 0; i < countof(attached_sources); i++)
        if (val_get(spec, attached_sources[i]))
            return true;
    return false;
}

bool claim_is_read_only(const struct val *volume, const struct volume_source *source)
{
    bool read_only = source->read_only || val_true(val_at(source->spec, N(flexVolume), N(readOnly)));
    for (size_t i = 0; i < countof(attached_sources); i++)
        read_only = read_only || val_true(val_at(volume, attached_sources[i], N(readOnly)));
    return read_only;
}

bool claim_is_for_one(const struct obj *owner)
{
    val_each_item (m, val_get(obj_spec(owner), N(accessModes)))
        if (str_eq(val_text(m), S("ReadWriteOncePod")))
            return true;
    return false;
}

bool claim_suits_node(const struct val *spec, const struct obj *node)
{
    const struct val *required = val_at(spec, N(nodeAffinity), N(required));
    val_each_item (term, val_get(required, N(nodeSelectorTerms)))
        if (node_term_matches(term, node))
            return true;
    return !required;
}

/* --- how it is mounted ----------------------------------------------------------------------------------------- */

static void nfs_mount(struct arena *a, const struct val *v, struct volume_mount *out)
{
    out->server = str_dup(a, val_text_at(v, N(server)));
    out->path = str_dup(a, val_text_at(v, N(path)));
    out->read_only = out->read_only || val_true(val_get(v, N(readOnly)));
}

static void local_mount(struct arena *a, const struct val *v, struct volume_mount *out)
{
    out->path = str_dup(a, val_text_at(v, N(path)));
    out->fs_type = str_dup(a, val_text_at(v, N(fsType)));
}

static void host_mount(struct arena *a, const struct val *v, struct volume_mount *out)
{
    out->path = str_dup(a, val_text_at(v, N(path)));
    out->host_type = str_dup(a, val_text_at(v, N(type)));
}

static const struct claim_source {
    const struct name *source;
    enum mount_source how;
    bool block, options, group; /* it can be a device; has mountOptions; its files are given to fsGroup */
    void (*read)(struct arena *a, const struct val *source, struct volume_mount *out);
} claim_sources[] = {
    {N(hostPath), MOUNT_HOST, false, false, false, host_mount},
    {N(local), MOUNT_LOCAL, true, true, true, local_mount},
    {N(nfs), MOUNT_NFS, false, true, false, nfs_mount},
};

static bool refuse_source(const struct volume_source *s, struct err *err)
{
    static const struct name *const others[] = {N(capacity),
                                                N(accessModes),
                                                N(claimRef),
                                                N(persistentVolumeReclaimPolicy),
                                                N(storageClassName),
                                                N(mountOptions),
                                                N(volumeMode),
                                                N(nodeAffinity),
                                                N(name),
                                                N(volumeAttributesClassName)};
    struct str asked = S("a volume of no type");
    AUTO(strbuf_fini) struct strbuf have = STRBUF(1000);
    val_each_member (m, s->spec) {
        bool other = false;
        for (size_t i = 0; i < countof(others); i++)
            other = other || m->name == others[i];
        if (!other)
            asked = m->name->s;
    }
    for (size_t i = 0; i < countof(claim_sources); i++)
        strbuf_addf(&have, STR_FMT ", ", STR_ARG(claim_sources[i].source->s));
    for (size_t i = 0; i < countof(attached_sources); i++)
        strbuf_addf(&have, "%s" STR_FMT, i ? ", " : "", STR_ARG(attached_sources[i]->s));
    return err_set(err, E_NOT_IMPLEMENTED, STR_FMT " is not supported yet; volumes of claims are: " STR_FMT,
                   STR_ARG(asked), STR_ARG(strbuf_str(&have)));
}

static struct strs options_of(struct arena *a, const struct val *list)
{
    struct str *p = arena_alloc(a, (val_len(list) + 1) * sizeof *p);
    size_t n = 0;
    val_each_item (o, list)
        p[n++] = str_dup(a, val_text(o));
    return (struct strs){p, n};
}

bool claim_mount(struct arena *a, const struct obj *pod, const struct volume_source *source, struct str target,
                 struct volume_mount *out, struct err *err)
{
    const struct claim_source *row = NULL;
    const struct val *security = val_get(obj_spec(pod), N(securityContext)),
                     *options = val_get(source->spec, N(mountOptions));
    for (size_t i = 0; i < countof(claim_sources); i++)
        if (val_get(source->spec, claim_sources[i].source))
            row = &claim_sources[i];
    if (volume_is_gone(source->spec)) {
        volume_no_plugin(source->owner ? source->owner->name : val_text_at(source->spec, N(name)), err);
        return false;
    }
    if (!row)
        return refuse_source(source, err);
    if (source->block && !row->block)
        return err_set(err, E_NOT_IMPLEMENTED, "volumeMode Block: " STR_FMT " is no block device: use local",
                       STR_ARG(row->source->s));
    if (val_len(options) && !row->options)
        return err_set(err, E_INVALID, "Mount options are not supported for this volume type");
    *out = (struct volume_mount){.how = row->how, .target = target, .block = source->block, .fs_group = -1};
    out->read_only = source->read_only;
    out->options = options_of(a, options);
    if (row->group && !source->block)
        out->fs_group = val_num_at(security, -1, N(fsGroup));
    out->on_root_mismatch = str_eq(val_text_at(security, N(fsGroupChangePolicy)), S("OnRootMismatch"));
    row->read(a, val_get(source->spec, row->source), out);
    return true;
}
