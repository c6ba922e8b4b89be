/* volume_mount.h - volumes that are mounted for a pod, each at RUN/mounts/POD/VOLUME: folders and devices of this
 * machine, exports of NFS servers. What is mounted there is all that is remembered of them. Blocking, and what is
 * mounted may never answer: for jobs apart. */
#pragma once
#include "oci/image.h"
#include <sys/types.h>

enum mount_source {
    MOUNT_HOST,  /* a path of the host, as it is */
    MOUNT_LOCAL, /* a folder, a block device, or a file that is the image of one */
    MOUNT_NFS,
};
struct volume_mount {
    struct str name, called; /* the pod's volume; what errors call it */
    enum mount_source how;
    struct str path;      /* of the host, or of the export */
    struct str host_type; /* of a hostPath: "", Directory, DirectoryOrCreate, File ... */
    struct str server;
    struct str fs_type;  /* of a device; empty: what it has, and ext4 where it has none */
    struct strs options; /* mountOptions */
    struct str target;
    bool read_only, block;
    bool fills;            /* its file system grows to the size of its device */
    int64_t fs_group;      /* -1: none */
    bool on_root_mismatch; /* fsGroupChangePolicy */
};
/* Done already: nothing happens. A device is bound to the target, a file. */
MUST_USE bool volume_mount(const struct volume_mount *m, struct err *err);
/* Unmounts and removes what stands below RUN/mounts/POD, which need not be there. */
MUST_USE bool volume_mounts_remove(const char *folder, struct err *err);
/* Makes a file system on a device or a file by mkfs.TYPE, a program that may be missing. */
MUST_USE bool device_format(const char *device, const char *type, struct err *err);
/* An ext4 that is smaller than its device grows: where it is mounted, by the kernel, which takes CAP_SYS_RESOURCE
 * (err->sys EPERM: the node has not got it); else by e2fsck and resize2fs. */
MUST_USE bool device_fill(const char *device, struct err *err);
