/* disk_id.h - volumes that nodes attach by themselves, without a driver (iscsi, fc): the names by which the attach
 * controller and the nodes know them without asking each other, as upstream makes them. Pure. */
#pragma once
#include "api/obj.h"

struct disk_id {
    const struct name *source; /* N(iscsi), N(fc) */
    struct str driver;         /* "kubernetes.io/iscsi": upstream's plugin, and no name that a CSI driver can have */
    struct str handle;         /* "10.0.0.1:3260:iqn.2001-04.com.example:a:0", "[50060e801049cfd1]:0", "[WWID]" */
};
/* spec: a volume of a pod, or the spec of a PersistentVolume. False: it is of another type. */
bool disk_id(struct arena *a, const struct val *spec, struct disk_id *out);
