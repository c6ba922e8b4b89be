/* disk.h - disks of a network that the node attaches by itself, without a driver: iSCSI and Fibre Channel, as a
 * kubelet's plugins do. What is attached stands in /sys, what it is for in records (csi_records.h). Blocking, with
 * programs that may take minutes: for jobs apart. */
#pragma once
#include "client/disk_id.h"
#include "node/devices.h"
#include <stdatomic.h>

struct disk_type;
struct disk {
    const struct disk_type *type;
    const struct val *source;  /* ISCSIVolumeSource, ISCSIPersistentVolumeSource, FCVolumeSource */
    const struct val *secrets; /* data of its Secret; NULL: none */
    struct str volume;         /* the PersistentVolume, or the pod's volume */
    struct str folder;         /* KUBELET/plugins/kubernetes.io/iscsi: below it, who else has what */
    struct str own;            /* its own place in there, as its record has it */
    const char *root;          /* before paths of /sys and /dev: "", but in tests */
    const _Atomic bool *stop;  /* nobody wants it any more: attaching ends with E_CANCELLED; NULL: never */
};
struct disk_type {
    const struct name *source;
    /* Where it is below the folder: "iface-default/10.0.0.1:3260-iqn.2001-04.com.example:a-lun-0". */
    struct str (*place)(struct arena *a, const struct disk *d);
    /* What of several disks may not be done at a time ("": all may): sessions with one target are shared. */
    struct str (*key)(const struct disk *d);
    /* Already: found again. E_NOT_FOUND: nothing was begun, as a program is missing. */
    bool (*attach)(const struct disk *d, struct device_name *out, struct err *err);
    /* Nothing has it mounted or open. Not attached: fine. */
    bool (*detach)(const struct disk *d, struct err *err);
};
extern const struct disk_type disk_iscsi, disk_fc;
/* NULL: it is none. */
const struct disk_type *disk_type_of(const struct name *source);
/* Its place can be a path. */
MUST_USE bool disk_check(struct arena *a, const struct disk *d, struct err *err);

/* Holds the disk's key until the other is called; waits for whoever has it. */
void disk_lock(const struct disk *d);
void disk_unlock(const struct disk *d);

/* ---- for the types */

struct disk_command {
    const char *program, *package;
    struct strbuf said; /* of its last run */
};
/* Its exit status; -1: it did not come to one. A missing program is E_NOT_FOUND, in a kubelet's words with the way
 * out.
 */
int disk_command_run(struct disk_command *c, const char *const *argv, struct err *err);
bool disk_stopped(const struct disk *d, struct err *err); /* true: with the error */
void disk_pause(void);                                    /* a moment, before it is looked again */
#define DISK_LOOKS_A_SECOND 10
/* Another record of the disk's type, in whose place's last part this is: the same target, or the same LUN. */
bool disk_is_shared(const struct disk *d, bool (*same)(const struct disk *d, struct str last));
/* Nobody has the device mounted, on the whole machine. */
MUST_USE bool disk_is_free(const struct disk *d, const struct device_name *device, struct err *err);
/* What is written is on the disk; it goes from the kernel. */
MUST_USE bool disk_remove(const struct disk *d, const struct device_name *device, struct err *err);
/* multipath -f */
MUST_USE bool disk_flush_multipath(const struct device_name *device, struct err *err);
