/* csi_source.h - a volume as a CSI driver sees it. One of a type that was built into Kubernetes once (a disk of a
 * cloud) is told in the words of the driver that took over from it, as upstream's csi-translation-lib says, so that
 * whoever attaches, mounts, counts or places volumes knows one kind of source only. Pure. */
#pragma once
#include "api/obj.h"

struct csi_source {
    struct str name; /* of the PersistentVolume; what stands in a pod has one that upstream makes up, which is its own
                        on a node and may hold any letter but NUL */
    const struct val *spec; /* a PersistentVolumeSpec; its member csi is the source */
    struct str driver, handle;
};

/* `spec`: of a PersistentVolume, or a volume of a pod (of which csi is an ephemeral one). "": of no driver. */
struct str csi_driver_of(const struct val *spec);
/* The plugin that the source's type belonged to ("kubernetes.io/aws-ebs"); "": no driver took over from it. */
struct str csi_plugin_before(const struct val *spec);
/* The same by names: who took over from a plugin; "": nobody did. */
struct str csi_driver_after(struct str plugin);
/* The plugins that a node of ours leaves to drivers, as CSINodes have them
 * (storage.alpha.kubernetes.io/migrated-plugins): sorted, with commas. */
struct str csi_plugins_text(struct arena *a);
#define ANN_MIGRATED_PLUGINS "storage.alpha.kubernetes.io/migrated-plugins"
/* A scheduler reads volumes of the plugin as their driver's where the CSINode lists it; of NULL: it does not. */
bool csi_plugin_is_scheduled(struct str plugin, const struct obj *csi_node);
/* A volume of a pod is of such a type, and says that its containers may only read it. */
bool csi_inline_reads_only(const struct val *volume);

/* Borrows from the volume, the rest is in the arena. E_NOT_FOUND: it is of no driver. E_INVALID: no driver's words
 * can say it; upstream's sentence. */
MUST_USE bool csi_source_of(struct arena *a, const struct obj *volume, struct csi_source *out, struct err *err);
/* Of a volume of a pod in that namespace. Of csi itself: E_NOT_FOUND, as that is no PersistentVolume's. */
MUST_USE bool csi_source_inline(struct arena *a, struct str ns, const struct val *volume, struct csi_source *out,
                                struct err *err);
