#include "node/pressure_sample.h"
#include "base/log.h"
#include "node/node_use.h"

static struct pressure_sample sample_of(int64_t available, int64_t capacity)
{
    return (struct pressure_sample){capacity > 0, available, capacity};
}

static void disk_put(const struct disk_room *room, struct pressure_sample *bytes, struct pressure_sample *inodes)
{
    *bytes = sample_of(room->available, room->capacity);
    *inodes = sample_of(room->inodes_free, room->inodes); /* a file system without a number of them has enough */
}

void pressure_sample_read(const struct pressure_source *from, struct pressure_sample *samples, bool *image_disk)
{
    struct node_use use = {0};
    struct cgroup_stats pods;
    struct err err = ERR, gone = ERR;
    memset(samples, 0, PRESSURE_SIGNALS * sizeof *samples);
    *image_disk = false;
    if (!node_use_read(from->cgroups, from->cgroup, from->data, from->content, &use, &err)) {
        log_warn("node.pressure", "what is left is not known: error=\"%s\"", err.text);
        return;
    }
    *image_disk = use.own_image_fs;
    samples[SIGNAL_MEMORY] = sample_of(use.memory_available, use.memory_capacity);
    samples[SIGNAL_PIDS] = sample_of(use.pids_capacity - use.pids_used, use.pids_capacity);
    disk_put(&use.fs, &samples[SIGNAL_NODEFS], &samples[SIGNAL_NODEFS_INODES]);
    disk_put(&use.image_fs, &samples[SIGNAL_IMAGEFS], &samples[SIGNAL_IMAGEFS_INODES]);
    disk_put(&use.fs, &samples[SIGNAL_CONTAINERFS], &samples[SIGNAL_CONTAINERFS_INODES]);
    /* no pod has been here yet, or their group has no limit: then the node's memory alone counts */
    if (cgroup_stats(from->cgroups, from->cgroup, &pods, &gone) && pods.limits.memory)
        samples[SIGNAL_ALLOCATABLE] = sample_of((int64_t)pods.limits.memory - (int64_t)pods.memory_working_set,
                                                (int64_t)pods.limits.memory);
}
