/* disk_use.h - what a pod takes of this node's disks: its containers' writable layers and logs, its volumes on the
 * node's own disk. Counted in a job that keeps no thread from others; links are not followed, and what lies deeper or
 * is more than anybody counts is `hidden` (any size). Answers are kept: asking again within `fresh_ns` costs nothing.
 */
#pragma once
#include "base/array.h"
#include "base/str.h"

struct agent_pod;

struct disk_use_part {
    enum { DISK_ROOTFS, DISK_LOGS, DISK_VOLUME } what;
    struct str name; /* of the container or the volume */
    int64_t bytes, inodes;
    bool hidden;
    bool local; /* a volume of the pod's own: emptyDir on disk, configMap ...: counts to ephemeral-storage */
};
struct disk_use {
    int64_t at; /* clock_mono of the count */
    ARRAY(struct disk_use_part) parts;
};
/* done: later, once, in the agent's loop; `use` is borrowed for that call; NULL: the pod has gone meanwhile. */
typedef void disk_use_done(void *arg, struct agent_pod *ap, const struct disk_use *use);
void disk_use_ask(struct agent_pod *ap, int64_t fresh_ns, disk_use_done *done, void *arg);
/* What was counted last; NULL: nothing yet. */
const struct disk_use *disk_use_last(const struct agent_pod *ap);
