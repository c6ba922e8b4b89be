/* csi.h - names on which the attach controller and the nodes agree without asking each other: each follows from what
 * it is of, as upstream makes them. Pure. */
#pragma once
#include "base/str.h"

struct str csi_sha256(struct arena *a, struct str text); /* 64 hex digits */
/* A VolumeAttachment's: "csi-..." of the driver's name for the volume, the driver and the node. */
struct str csi_attachment_name(struct arena *a, struct str handle, struct str driver, struct str node);
/* What a driver is told as the name of a volume that stands in a pod: "csi-...". */
struct str csi_ephemeral_handle(struct arena *a, struct str pod_uid, struct str volume);
/* As node.status names it: "kubernetes.io/csi/DRIVER^HANDLE"; of disk_id.h: "kubernetes.io/iscsi/HANDLE". */
struct str csi_unique_name(struct arena *a, struct str driver, struct str handle);
