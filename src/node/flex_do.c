#include "node/flex_do.h"
#include "base/fault.h"
#include "base/log.h"
#include "node/ownership.h"
#include "node/volume_mount.h"
#include "sys/file.h"
#include "sys/mount.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define OPTIONS_MOST (8 << 20)

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The options as one argument. whole: with those that only `mount` is told. False: they are too large. */
static bool options_of(struct arena *a, const struct flex_task *t, bool whole, const char **out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(OPTIONS_MOST);
    struct flex_options o = t->options;
    if (!whole) {
        o.pod = NULL;
        o.secrets = NULL;
    }
    flex_options_write(&b, &o);
    if (b.over || b.n > 120 << 10) /* of one argument the kernel takes 128 KiB */
        return err_set(err, E_TOO_LARGE, "options and secrets of the volume come to more than 120 KiB");
    *out = str_dup(a, strbuf_str(&b)).p;
    return true;
}

static bool is_usual(const struct err *err)
{
    return err->kind == E_NOT_IMPLEMENTED;
}

/* A folder for what is mounted there. */
static bool place_make(struct str path, struct err *err)
{
    return mkdir(path.p, 0750) == 0 || errno == EEXIST || err_errno(err, "mkdir %s", path.p);
}

static bool is_there(struct str path)
{
    struct stat st;
    return lstat(path.p, &st) == 0 || errno != ENOENT;
}

void flex_task_init(struct flex_task *t, struct arena *a, const char *plugins, const char *kubelet,
                    const struct csi_record *r)
{
    struct csi_record stage = *r;
    stage.uid = S("");
    *t = (struct flex_task){.driver = flex_unescape(a, r->driver),
                            .volume = str_dup(a, r->spec),
                            .node = str_dup(a, r->node),
                            .stage = csi_places(a, kubelet, &stage),
                            .pod = csi_places(a, kubelet, r)};
    t->options = (struct flex_options){.volume = t->volume, .fs_group = -1};
    if (!flex_program(a, plugins, t->driver, &t->program))
        t->program = S("/"); /* no program: what is told of one that is missing */
}

bool flex_do_init(struct flex_task *t, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct flex_answer answer;
    struct err said = ERR;
    if (flex_call(&a, t->program, "init", ARGS(NULL), &answer, &said)) {
        t->can = answer.can;
        return true;
    }
    if (said.kind != E_NOT_FOUND)
        log_warn("flex.init", "driver=" STR_FMT " error=\"%s\"", STR_ARG(t->driver), said.text);
    return err_set(err, E_NOT_FOUND, "no volume plugin matched name: " STR_FMT, STR_ARG(t->driver));
}

/* ---- for all pods of the node */

/* What is mounted already may be attached no more: this node was lost, say, and another has it. */
static bool is_attached(struct flex_task *t, const char *options)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct flex_answer answer;
    struct err err = ERR;
    const char *node = arena_strz(&a, t->node);
    if (flex_call(&a, t->program, "isattached", ARGS(options, node), &answer, &err))
        return answer.attached;
    if (!is_usual(&err))
        log_warn("flex.attached", "driver=" STR_FMT " volume=" STR_FMT " error=\"%s\"", STR_ARG(t->driver),
                 STR_ARG(t->volume), err.text);
    return true;
}

static bool device_mount(struct flex_task *t, struct str device, const char *options, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct flex_answer answer;
    struct err said = ERR;
    const char *at = t->stage.target.p, *dev = arena_strz(&a, device);
    t->what = "MountVolume.MountDevice";
    if (mount_is_point(at))
        return true;
    if (!place_make(t->stage.target, err))
        return false;
    if (flex_call(&a, t->program, "mountdevice", ARGS(at, dev, options), &answer, &said))
        return true;
    if (!is_usual(&said)) {
        *err = said;
        return false;
    }
    const struct volume_mount m = {.name = t->volume,
                                   .called = t->volume,
                                   .how = MOUNT_LOCAL,
                                   .path = device,
                                   .fs_type = val_text_at(t->options.source, N(fsType)),
                                   .target = t->stage.target,
                                   .read_only = t->options.read_only,
                                   .fs_group = -1};
    return !device.n || volume_mount(&m, err);
}

bool flex_do_attach(struct flex_task *t, bool again, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct flex_answer answer = {0}, waited = {0};
    struct err said = ERR, late = ERR;
    const char *options, *node = arena_strz(&a, t->node);
    t->reason = "FailedAttachVolume";
    t->what = "AttachVolume.Attach";
    if (!options_of(&a, t, false, &options, err))
        return false;
    if (again && mount_is_point(t->stage.target.p) && is_attached(t, options))
        return true;
    fault_pass("node.flex.attach");
    t->attached = flex_call(&a, t->program, "attach", ARGS(options, node), &answer, &said);
    if (!t->attached && !is_usual(&said)) {
        *err = said;
        return false;
    }
    t->reason = "FailedMount";
    t->what = "MountVolume.WaitForAttach";
    const char *device = arena_strz(&a, answer.device);
    if (!flex_call(&a, t->program, "waitforattach", ARGS(device, options), &waited, &late)) {
        if (!is_usual(&late)) {
            *err = late;
            return false;
        }
        waited.device = answer.device;
    }
    return device_mount(t, waited.device, options, err);
}

bool flex_do_detach(struct flex_task *t, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct flex_answer answer;
    struct err said = ERR;
    const char *at = t->stage.target.p, *node = arena_strz(&a, t->node), *volume = arena_strz(&a, t->volume);
    t->reason = "FailedUnmount";
    t->what = "UnmountDevice";
    if (mount_is_point(at) && !flex_call(&a, t->program, "unmountdevice", ARGS(at), &answer, &said)) {
        if (!is_usual(&said)) {
            *err = said;
            return false;
        }
        for (int i = 0; i < 100 && mount_is_point(at); i++)
            if (!mount_remove(at, err))
                return false;
    }
    if (rmdir(at) < 0 && errno != ENOENT)
        return err_errno(err, "remove %s", at);
    said = (struct err)ERR;
    t->what = "DetachVolume.Detach";
    fault_pass("node.flex.detach");
    if (flex_call(&a, t->program, "detach", ARGS(volume, node), &answer, &said) || is_usual(&said))
        return true;
    *err = said;
    return false;
}

/* ---- for one pod */

/* What the driver gives to the group is its own business; what it has not is done as far as it can be, as by a
 * kubelet: an export that refuses it is no reason to keep the pod from it. */
static void group_give(const struct flex_task *t)
{
    struct err err = ERR;
    if (t->options.read_only || !t->can.group || t->options.fs_group < 0)
        return;
    AUTO(fd_close) int fd = open(t->pod.target.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || !ownership_give(fd, (gid_t)t->options.fs_group, t->on_root_mismatch, &err))
        log_warn("flex.group", "volume=" STR_FMT " error=\"%s\"", STR_ARG(t->volume),
                 fd < 0 ? strerror(errno) : err.text);
}

/* From where its device is mounted. */
static bool bind_usual(struct flex_task *t, struct err *err)
{
    AUTO(fd_close) int fd = open(t->stage.target.p, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "open %s", t->stage.target.p);
    return mount_bind(fd, false, 0, t->pod.target.p, err);
}

bool flex_do_mount(struct flex_task *t, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct flex_answer answer;
    struct err said = ERR;
    const char *options, *at = t->pod.target.p;
    t->reason = "FailedMount";
    t->what = "MountVolume.SetUp";
    if (mount_is_point(at))
        return true;
    if (!place_make(t->pod.target, err) || !options_of(&a, t, true, &options, err))
        return false;
    fault_pass("node.flex.mount");
    if (!flex_call(&a, t->program, "mount", ARGS(at, options), &answer, &said) &&
        (!is_usual(&said) || !bind_usual(t, &said))) {
        (void)rmdir(at); /* as a kubelet does: an empty folder says that nothing is there */
        *err = said;
        return false;
    }
    group_give(t);
    return true;
}

bool flex_do_unmount(struct flex_task *t, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct flex_answer answer;
    struct err said = ERR;
    const char *at = t->pod.target.p;
    t->reason = "FailedUnmount";
    t->what = "UnmountVolume.TearDown";
    if (!is_there(t->pod.target))
        return true;
    fault_pass("node.flex.unmount");
    if (flex_call(&a, t->program, "unmount", ARGS(at), &answer, &said))
        return true;
    if (said.kind == E_NOT_FOUND && !mount_is_point(at) && rmdir(at) == 0)
        return true;     /* the driver has gone, and nothing of it is there */
    if (is_usual(&said)) /* what is mounted there is taken off with its record */
        return true;
    *err = said;
    if (said.kind == E_NOT_FOUND)
        return err_set(err, E_NOT_FOUND, "no volume plugin matched name: " STR_FMT, STR_ARG(t->driver));
    return false;
}
