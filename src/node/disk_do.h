/* disk_do.h - what is done with a disk that the node attaches itself, for all pods that have it and for one of them:
 * the same steps for all types. Each finds out what is done already, so that a step that was cut off is done again.
 * Blocking: for jobs apart. */
#pragma once
#include "node/csi_records.h"
#include "node/disk.h"
#include "oci/image.h"

struct disk_task {
    struct disk disk;
    struct csi_places places; /* of the disk itself */
    struct str called;        /* the volume, in errors */
    struct str fs_type;
    struct strs options; /* mountOptions */
    bool block, read_only;
    struct device_name device; /* found by disk_do_attach; empty: not looked for, as it is mounted */
};
/* What a record says. False: nothing that is known here. */
MUST_USE bool disk_task_of(struct arena *a, const char *kubelet, const struct csi_record *r, struct disk_task *out,
                           struct err *err);
MUST_USE bool disk_do_attach(struct disk_task *t, struct err *err); /* E_NOT_FOUND: as disk_type.attach */
/* At the place that all pods share. A blank disk gets a file system, another one is checked. A device: nothing. */
MUST_USE bool disk_do_mount(const struct disk_task *t, struct err *err);
MUST_USE bool disk_do_bind(const struct disk_task *t, const struct csi_places *pod, struct err *err);
/* No pod has it any more: unmounted, detached, and its record gone. */
MUST_USE bool disk_do_end(const struct disk_task *t, struct err *err);
