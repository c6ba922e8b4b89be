/* disk_use.h - what a pod takes of this node's disks: its containers' writable layers and logs, its volumes on the
 * node's own disk; and how full what is mounted for it is. Counted in jobs that keep no thread from others, a few at
 * once; links are not followed, and what lies deeper or is more than anybody counts is `hidden` (any size). A folder
 * with a project quota is not walked: the kernel knows. Answers are kept: asking again within `fresh_ns` costs
 * nothing. What is mounted may never answer (NFS): nobody waits for it, and the last that was seen is told. */
#pragma once
#include "base/array.h"
#include "base/str.h"

struct agent;
struct agent_pod;

/* A file system's. */
struct disk_room {
    int64_t capacity, available, used; /* bytes; 0: not known */
    int64_t inodes, inodes_free, inodes_used;
};
struct disk_use_part {
    enum { DISK_ROOTFS, DISK_LOGS, DISK_VOLUME } what;
    struct str name; /* of the container or the volume */
    int64_t bytes, inodes;
    bool hidden;
    bool local;            /* on the node's disk: counts to ephemeral-storage */
    bool mounted;          /* a file system of its own: bytes and inodes are what is used of it */
    bool by_driver;        /* as its driver (CSI) says */
    bool sick, sick_known; /* its driver says that there is something wrong with it */
    struct disk_room room; /* of a volume */
};
struct disk_use {
    int64_t at, at_real; /* clock_mono, clock_real of the count */
    ARRAY(struct disk_use_part) parts;
};
/* done: later, once, in the agent's loop; `use` is borrowed for that call; NULL: the pod has gone meanwhile. */
typedef void disk_use_done(void *arg, struct agent_pod *ap, const struct disk_use *use);
void disk_use_ask(struct agent_pod *ap, int64_t fresh_ns, disk_use_done *done, void *arg);
/* What was counted last; NULL: nothing yet. */
const struct disk_use *disk_use_last(const struct agent_pod *ap);
/* The same of what is mounted for it; begins to look again where it is older than `fresh_ns`. */
const struct disk_use *disk_use_mounts(struct agent_pod *ap, int64_t fresh_ns);
void disk_use_forget(struct agent_pod *ap); /* it is freed */
/* Bytes of ephemeral-storage: all that is local. *hidden: any size. */
int64_t disk_use_local(const struct disk_use *use, bool *hidden);

/* Of the file system at `path`. Blocking. */
MUST_USE bool disk_room_read(const char *path, struct disk_room *out);
