/* Volumes of types that Kubernetes has no more: since when, and what came after them. */
#include "control/volumes.h"
#include "control/why_int.h"

static const struct gone_type {
    const struct name *source;
    const char *cause, *gone, *way;
} gone_types[] = {
    {N(gitRepo), "GitRepo", "disabled since v1.33 and for good since v1.36",
     "Clone the repository in an init container into an emptyDir volume, or ship its files in an image (a volume of "
     "type image): {edit}"},
    {N(glusterfs), "VolumeTypeGone", "gone since v1.26",
     "Reach it by a CSI driver (Kadalu's), or export it by NFS (volume type nfs): {edit}"},
    {N(rbd), "VolumeTypeGone", "gone since v1.31",
     "Reach it by Ceph's CSI driver (rbd.csi.ceph.com): a PersistentVolume of type csi and a claim: {edit}"},
    {N(cephfs), "VolumeTypeGone", "gone since v1.31",
     "Reach it by Ceph's CSI driver (cephfs.csi.ceph.com): a PersistentVolume of type csi and a claim: {edit}"},
    {N(quobyte), "VolumeTypeGone", "gone since v1.25",
     "Reach it by Quobyte's CSI driver (csi.quobyte.com): a PersistentVolume of type csi and a claim: {edit}"},
    {N(storageos), "VolumeTypeGone", "gone since v1.25",
     "Reach it by StorageOS' CSI driver (csi.storageos.com): a PersistentVolume of type csi and a claim: {edit}"},
    {N(scaleIO), "VolumeTypeGone", "gone since v1.22",
     "Reach it by the CSI driver of Dell PowerFlex, as ScaleIO is called now (csi-vxflexos.dellemc.com): a "
     "PersistentVolume of type csi and a claim: {edit}"},
    {N(flocker), "VolumeTypeGone", "gone since v1.25, and no driver took its place",
     "Take the data to a volume of another type, and name that: {edit}"},
    {N(photonPersistentDisk), "VolumeTypeGone", "gone since v1.16, and no driver took its place",
     "Take the data to a volume of another type, and name that: {edit}"},
};

/* The pod's volume, or the spec of the PersistentVolume to which its claim is bound; NULL: not to be seen. */
static const struct val *source_of(struct question *q, const struct obj *pod, const struct val *volume,
                                   const struct obj **owner)
{
    struct str claim_name = pod_claim(q->a, pod, volume);
    *owner = NULL;
    if (!claim_name.n)
        return volume;
    const struct obj *claim = view_get(q->v, K(PersistentVolumeClaim), pod->ns, claim_name);
    *owner = claim ? view_get(q->v, K(PersistentVolume), S(""), claim_volume(claim)) : NULL;
    return *owner ? obj_spec(*owner) : NULL;
}

/* A driver of FlexVolumes that the node has not. */
static bool say_flex(struct question *q, const struct obj *pod, struct str name, struct str told,
                     const struct val *source, struct str message, struct finding *f)
{
    struct str driver = val_text_at(source, N(flexVolume), N(driver));
    if (!driver.n)
        return false;
    why_chain(q, f, "volume " STR_FMT ": " STR_FMT, STR_ARG(name), STR_ARG(why_quoted(q, message)));
    if (why_found(q, f, "DriverMissing",
                  "cannot have its volume " STR_FMT ": node " STR_FMT " has no FlexVolume driver " STR_FMT
                  ", or it fails at init",
                  STR_ARG(told), STR_ARG(pod_node(pod)), STR_ARG(driver)))
        why_way(q, f,
                "Put the driver's program there, by default into "
                "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/VENDOR~DRIVER/DRIVER (`wherry up "
                "--set volume-plugin-dir=FOLDER`): it is found at once");
    return true;
}

bool why_volume_type(struct question *q, const struct obj *pod, struct str message, struct finding *f)
{
    if (str_find(message, S("no volume plugin matched")) < 0 &&
        str_find(message, S("git-repo volume plugin has been disabled")) < 0)
        return false;
    val_each_item (volume, val_get(obj_spec(pod), N(volumes))) {
        const struct obj *owner;
        const struct val *source = source_of(q, pod, volume, &owner);
        struct str name = val_text_at(volume, N(name)), told = owner ? owner->name : name;
        if (!source || str_find(message, arena_fmt(q->a, "olume \"" STR_FMT "\"", STR_ARG(told))) < 0)
            continue;
        if (say_flex(q, pod, name, told, source, message, f))
            return true;
        for (size_t i = 0; i < countof(gone_types); i++) {
            const struct gone_type *row = &gone_types[i];
            if (!val_get(source, row->source))
                continue;
            const struct word words[] = {
                {"edit", owner ? arena_fmt(q->a, "kubectl get pv/" STR_FMT " -o yaml", STR_ARG(told)) : why_edit(q)}};
            why_chain(q, f, "volume " STR_FMT ": " STR_FMT, STR_ARG(name), STR_ARG(why_quoted(q, message)));
            if (why_found(q, f, row->cause, "cannot have its volume " STR_FMT ": volumes of type " STR_FMT " are %s",
                          STR_ARG(told), STR_ARG(row->source->s), row->gone))
                why_way(q, f, STR_FMT, STR_ARG(why_fill(q, row->way, words, countof(words))));
            return true;
        }
    }
    return false;
}
