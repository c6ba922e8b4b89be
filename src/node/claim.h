/* claim.h - what a volume of a pod is in the end: its own source, or that of the volume to which its claim is bound
 * (kubelet: desired_state_of_world_populator). Pure. */
#pragma once
#include "api/placement.h"
#include "base/array.h"
#include "node/sources.h"
#include "node/volume_mount.h"

/* Every claim and every volume of one that the pod needs, as far as they are known. */
void claim_names(const struct sources *s, const struct obj *pod,
                 void (*fn)(void *arg, const struct kind *kind, struct str name), void *arg);

struct volume_source {
    const struct val *spec; /* a member of it is the source: the pod's volume, or a PersistentVolumeSpec, in the words
                               of a CSI driver where one took over (api/csi_source.h) */
    const struct obj *claim, *owner; /* the claim and its PersistentVolume; NULL: the pod names its source itself */
    struct str name;                 /* of the PersistentVolume, also one that is made up; else the pod's for it */
    bool persistent;                 /* spec is a PersistentVolumeSpec */
    bool read_only, block;
};
/* E_UNAVAILABLE: not all is heard of yet. Else the error is a kubelet's, of a volume that cannot be processed. */
MUST_USE bool claim_resolve(const struct sources *s, struct arena *a, const struct obj *pod, const struct val *volume,
                            struct volume_source *out, struct err *err);
/* Whether a container of the pod mounts the volume, or has it as a device. */
bool claim_is_used(const struct obj *pod, struct str volume);
/* It is a driver's, or a disk that the node attaches itself: csi_want. */
bool claim_is_attached(const struct val *spec);
/* For this pod: its claim says so, or the source of the pod's own. */
bool claim_is_read_only(const struct val *volume, const struct volume_source *source);
/* Whether the PersistentVolume is there for one pod alone (ReadWriteOncePod). */
bool claim_is_for_one(const struct obj *owner);
/* A PersistentVolume of that spec may be used on the node. */
bool claim_suits_node(const struct val *spec, const struct obj *node);
/* How it is mounted at `target`. False with a sentence: nothing here can mount that type. */
MUST_USE bool claim_mount(struct arena *a, const struct obj *pod, const struct volume_source *source,
                          struct str target, struct volume_mount *out, struct err *err);
