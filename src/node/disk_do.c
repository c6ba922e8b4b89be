#include "node/disk_do.h"
#include "api/codec.h"
#include "base/fault.h"
#include "node/volume_mount.h"
#include "sys/mount.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>

bool disk_task_of(struct arena *a, const char *kubelet, const struct csi_record *r, struct disk_task *out,
                  struct err *err)
{
    struct val *source = arena_alloc(a, sizeof *source);
    bool iscsi = str_eqz(r->driver, "kubernetes.io/iscsi");
    if (!json_decode(a, r->source, source, err))
        return false;
    *out = (struct disk_task){
        .disk = {.type = disk_type_of(iscsi ? N(iscsi) : N(fc)), .source = source, .volume = r->spec, .root = ""},
        .places = csi_places(
            a, kubelet,
            &(struct csi_record){.driver = r->driver, .spec = r->spec, .block = r->block, .place = r->place}),
        .called = r->spec,
        .fs_type = val_text_at(source, N(fsType)),
        .block = r->block,
    };
    out->disk.folder = arena_fmt(a, "%s/plugins/" STR_FMT, kubelet, STR_ARG(r->driver));
    out->disk.own = STR_JOIN(a, r->block ? S("volumeDevices/") : S(""), r->place);
    return true;
}

bool disk_do_attach(struct disk_task *t, struct err *err)
{
    if (!t->block && mount_is_point(t->places.target.p))
        return true;
    disk_lock(&t->disk);
    fault_pass("node.disk.attach");
    bool ok = !disk_stopped(&t->disk, err) && t->disk.type->attach(&t->disk, &t->device, err);
    fault_pass("node.disk.attached");
    disk_unlock(&t->disk);
    return ok;
}

static struct str device_path(char path[sizeof(struct device_name) + 5], const struct disk_task *t)
{
    (void)snprintf(path, sizeof(struct device_name) + 5, "/dev/%s", t->device.z);
    return str_of(path);
}

bool disk_do_mount(const struct disk_task *t, struct err *err)
{
    char path[sizeof(struct device_name) + 5];
    if (t->block || !t->device.z[0])
        return true;
    const struct volume_mount m = {.called = t->called,
                                   .how = MOUNT_LOCAL,
                                   .path = device_path(path, t),
                                   .fs_type = t->fs_type,
                                   .options = t->options,
                                   .target = t->places.target,
                                   .read_only = t->read_only,
                                   .fs_group = -1};
    return volume_mount(&m, err);
}

bool disk_do_bind(const struct disk_task *t, const struct csi_places *pod, struct err *err)
{
    char path[sizeof(struct device_name) + 5];
    if (mount_is_point(pod->target.p))
        return true;
    if (t->block) {
        const struct volume_mount m = {.called = t->called,
                                       .how = MOUNT_LOCAL,
                                       .path = device_path(path, t),
                                       .target = pod->target,
                                       .block = true,
                                       .fs_group = -1};
        return volume_mount(&m, err);
    }
    AUTO(fd_close) int fd = open(t->places.target.p, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "open %s", t->places.target.p);
    return mount_bind(fd, false, t->read_only ? MOUNT_RO : 0, pod->target.p, err);
}

/* Not lazily: what is still to be written would find no disk. */
static bool task_unmount(const struct disk_task *t, struct err *err)
{
    const char *at = t->places.target.p;
    for (int i = 0; i < 100 && !t->block && mount_is_point(at); i++)
        if (umount2(at, UMOUNT_NOFOLLOW) < 0 && errno != EINVAL)
            return err_errno(err, "unmount %s", at);
    fault_pass("node.disk.unmounted");
    return true;
}

bool disk_do_end(const struct disk_task *t, struct err *err)
{
    if (!task_unmount(t, err))
        return false;
    disk_lock(&t->disk);
    bool ok = t->disk.type->detach(&t->disk, err);
    fault_pass("node.disk.detached");
    ok = ok && csi_record_remove(&t->places, err); /* before another one asks who has the target */
    disk_unlock(&t->disk);
    return ok;
}
