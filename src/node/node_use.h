/* node_use.h - what is left on this node, as a kubelet counts it for evictions and conditions. Blocking, short: some
 * kernel files and two statfs of the node's own folders. */
#pragma once
#include "node/disk_use.h"
#include "oci/cgroup_stats.h"

struct node_use {
    /* Bytes. Available is the capacity without the working set of the root of all groups; that of all pods together
     * is what allocatable is held against. */
    int64_t memory_capacity, memory_available, pods_memory;
    int64_t pids_capacity, pids_used; /* numbers there are for processes and threads; threads there are */
    struct disk_room fs, image_fs;    /* of the node's folders (nodefs); of the images */
    bool own_image_fs;                /* images have a file system of their own */
};
/* pods: the group below which they are. data, content: folders (agent_config). */
MUST_USE bool node_use_read(const struct cgroups *g, const char *pods, const char *data, const char *content,
                            struct node_use *out, struct err *err);
