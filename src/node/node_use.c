#include "node/node_use.h"
#include "node/node_facts.h"
#include <sys/stat.h>
#include <sys/sysinfo.h>

bool node_use_read(const struct cgroups *g, const char *pods, const char *data, const char *content,
                   struct node_use *out, struct err *err)
{
    struct cgroup_stats all, ours;
    struct err none = ERR;
    struct sysinfo s;
    struct stat a, b;
    *out = (struct node_use){.memory_capacity = node_memory(), .pids_capacity = node_pids()};
    if (!cgroup_stats_of(g, "/", CGROUP_MEMORY, &all, err))
        return false;
    out->memory_available = MAX(out->memory_capacity - (int64_t)all.memory_working_set, 0);
    if (cgroup_stats_of(g, pods, CGROUP_MEMORY, &ours, &none)) /* there are none before the first pod */
        out->pods_memory = (int64_t)ours.memory_working_set;
    if (sysinfo(&s) < 0)
        return err_errno(err, "sysinfo");
    out->pids_used = s.procs;
    if (!disk_room_read(data, &out->fs) || stat(data, &a) < 0)
        return err_errno(err, "the file system of %s", data);
    if (!disk_room_read(content, &out->image_fs) || stat(content, &b) < 0)
        return err_errno(err, "the file system of %s", content);
    out->own_image_fs = a.st_dev != b.st_dev;
    return true;
}
