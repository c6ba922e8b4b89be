#include "node/volume_mount.h"
#include "base/fault.h"
#include "base/log.h"
#include "node/ownership.h"
#include "node/volume.h"
#include "node/volume_nfs.h"
#include "sys/child.h"
#include "sys/file.h"
#include "sys/loopdev.h"
#include "sys/mount.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/major.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* of the kernel; no header has it */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, __u64)

#define OPTIONS_MOST     64
#define LOOK_BYTES       (128 << 10) /* of a device: where file systems say what they are */
#define MKFS_MOST_MS     (30 * 60 * 1000)
#define FSCK_UNCORRECTED 4 /* of its exit status */
#define MOUNTS_MOST      (64 << 20)

/* --- places ---------------------------------------------------------------------------------------------------- */

/* A folder or a file for what is mounted over it; everything above it is ours. */
static bool target_make(const char *target, bool folder, struct err *err)
{
    AUTO_FREE char *above = mem_dupz(target);
    char *slash = strrchr(above, '/');
    ASSERT(slash && slash > above);
    *slash = 0;
    if (!dir_make(above, 0700, err))
        return false;
    if (folder)
        return mkdir(target, 0700) == 0 || errno == EEXIST || err_errno(err, "mkdir %s", target);
    AUTO(fd_close) int fd = open(target, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd >= 0 || err_errno(err, "create %s", target);
}

/* --- options --------------------------------------------------------------------------------------------------- */

/* Those of the mount itself; the others are for the file system. */
static const struct {
    const char *word;
    int flag;
} mount_words[] = {
    {"ro", MOUNT_RO},
    {"nosuid", MOUNT_NOSUID},
    {"nodev", MOUNT_NODEV},
    {"noexec", MOUNT_NOEXEC},
    {"rw", 0},
    {"suid", 0},
    {"dev", 0},
    {"exec", 0},
    {"defaults", 0},
    {"bind", 0},
    {"noatime", MOUNT_NOATIME},
    {"relatime", 0},
};

struct options {
    int flags;
    const char *rest[OPTIONS_MOST + 1]; /* for the file system, up to NULL */
    size_t n;
};

static bool options_read(struct arena *a, const struct volume_mount *m, struct options *out, struct err *err)
{
    out->flags = m->read_only ? MOUNT_RO : 0;
    for (size_t i = 0; i < m->options.n; i++) {
        struct str rest = m->options.p[i], one;
        while (str_cut(&rest, ',', &one)) {
            bool known = !one.n;
            for (size_t k = 0; k < countof(mount_words) && !known; k++)
                if ((known = str_eqz(one, mount_words[k].word)))
                    out->flags |= mount_words[k].flag;
            if (known)
                continue;
            if (out->n == OPTIONS_MOST)
                return err_set(err, E_INVALID, "mountOptions: more than %d", OPTIONS_MOST);
            out->rest[out->n++] = arena_strz(a, one);
        }
    }
    return true;
}

/* --- devices --------------------------------------------------------------------------------------------------- */

struct look {
    const char *type; /* "": nothing is there; NULL: something that is not known here */
};

/* What lies on a device. Only where its beginning is all zeros there is nothing. */
static bool device_look(int fd, struct look *out, struct err *err)
{
    static const struct {
        const char *type, *magic;
        size_t at, n;
    } rows[] = {{"xfs", "XFSB", 0, 4}, {"btrfs", "_BHRfS_M", 65600, 8}, {"squashfs", "hsqs", 0, 4}};
    AUTO_FREE unsigned char *b = mem_alloc(LOOK_BYTES);
    ssize_t n = pread(fd, b, LOOK_BYTES, 0);
    if (n < 0)
        return err_errno(err, "read the device");
    out->type = "";
    for (ssize_t i = 0; i < n && !out->type[0]; i++)
        if (b[i]) {
            out->type = NULL;
            break;
        }
    if (out->type || n < LOOK_BYTES)
        return true;
    if (b[1080] == 0x53 && b[1081] == 0xEF)
        out->type = b[1120] & 0x40 /* extents */ ? "ext4" : b[1116] & 4 /* a journal */ ? "ext3" : "ext2";
    for (size_t i = 0; i < countof(rows) && !out->type; i++)
        if (memcmp(b + rows[i].at, rows[i].magic, rows[i].n) == 0)
            out->type = rows[i].type;
    return true;
}

bool device_format(const char *device, const char *type, struct err *err)
{
    char program[40];
    AUTO(strbuf_fini) struct strbuf said = STRBUF(1 << 16);
    (void)snprintf(program, sizeof program, "mkfs.%s", type);
    bool ext = strncmp(type, "ext", 3) == 0;
    /* what is laid out later is laid out when it is needed: a large volume is there at once */
    const char *const argv_ext[] = {program, "-q", "-F", "-m", "0", "-E", "nodiscard,lazy_itable_init=1",
                                    device,  NULL};
    const char *const argv_other[] = {program, "-q", device, NULL};
    fault_pass("node.volume.mkfs");
    if (command_run(ext ? argv_ext : argv_other, S(""), &said, MKFS_MOST_MS, err))
        return true;
    if (err->sys == ENOENT)
        return err_set(err, E_NOT_FOUND, "%s is missing (Debian: apt-get install %s)", program,
                       ext                        ? "e2fsprogs"
                       : strcmp(type, "xfs") == 0 ? "xfsprogs"
                                                  : "btrfs-progs");
    return false;
}

static uint32_t read_u32(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Blocks of an ext4 and their size, by its superblock; 0: it is none. */
static bool ext4_blocks(int device, uint64_t *blocks, uint64_t *block)
{
    unsigned char b[512];
    if (pread(device, b, sizeof b, 1024) != sizeof b || b[56] != 0x53 || b[57] != 0xEF || read_u32(b + 24) > 6)
        return false;
    bool wide = read_u32(b + 0x60) & 0x80; /* 64bit */
    *blocks = read_u32(b + 4) | (wide ? (uint64_t)read_u32(b + 0x150) << 32 : 0);
    *block = 1024ULL << read_u32(b + 24);
    return true;
}

static bool grow_mounted(const char *device, uint64_t blocks, struct err *err)
{
    AUTO(fd_close) int root = mount_detached("ext4", device, err); /* the one that is mounted already */
    __u64 wanted = blocks;
    if (root < 0)
        return false;
    return (!fault("node.volume.fill", EIO) && ioctl(root, EXT4_IOC_RESIZE_FS, &wanted) == 0) ||
           err_errno(err, "grow the file system");
}

static bool grow_apart(const char *device, struct err *err)
{
    const char *const check[] = {"e2fsck", "-f", "-p", device, NULL}, *const grow[] = {"resize2fs", device, NULL};
    AUTO(strbuf_fini) struct strbuf said = STRBUF(1 << 16);
    struct err ignored = ERR; /* its status also tells of what it mended; what it could not, the next one refuses */
    (void)!command_run(check, S(""), &said, MKFS_MOST_MS, &ignored);
    said.n = 0;
    if (command_run(grow, S(""), &said, MKFS_MOST_MS, err))
        return true;
    return err->sys == ENOENT ? err_set(err, E_NOT_FOUND, "resize2fs is missing (Debian: apt-get install e2fsprogs)")
                              : err_wrap(err, "grow the file system");
}

bool device_fill(const char *device, struct err *err)
{
    uint64_t bytes = 0, blocks, block;
    AUTO(fd_close) int fd = open(device, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes) < 0)
        return err_errno(err, "open %s", device);
    if (!ext4_blocks(fd, &blocks, &block) || bytes / block <= blocks)
        return true; /* others are grown by those who make them */
    AUTO(fd_close) int alone = open(device, O_RDONLY | O_EXCL | O_CLOEXEC);
    bool mounted = alone < 0;
    fd_close(TAKE_FD(alone));
    return mounted ? grow_mounted(device, bytes / block, err) : grow_apart(device, err);
}

/* What was not unmounted is mended as far as that can be done without asking. Only where nobody has it mounted. */
static bool device_check(const char *device, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf said = STRBUF(1 << 16);
    struct err failed = ERR;
    AUTO(fd_close) int alone = open(device, O_RDONLY | O_EXCL | O_CLOEXEC);
    if (alone < 0)
        return true;
    fd_close(TAKE_FD(alone)); /* it wants it for itself */
    int status = command_status((const char *const[]){"fsck", "-a", device, NULL}, S(""), &said, MKFS_MOST_MS,
                                &failed);
    if (status == FSCK_UNCORRECTED)
        return err_set(err, E_IO, "'fsck' found errors on device %s but could not correct them: " STR_FMT, device,
                       STR_ARG(str_trim(strbuf_str(&said))));
    if (status) /* errors that it has mended, or none of that type: it is mounted all the same, as with a kubelet */
        log_warn("volume.fsck", "device=%s error=\"%s\"", device, failed.text);
    return true;
}

static bool device_mount(const struct volume_mount *m, int device, const char *path, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct options o = {0};
    struct look look = {0};
    const char *target = arena_strz(&a, m->target), *wanted = arena_strz(&a, m->fs_type);
    if (!options_read(&a, m, &o, err) || !target_make(target, true, err) || !device_look(device, &look, err))
        return false;
    if (!look.type && !wanted[0])
        return err_set(err, E_INVALID,
                       "what lies on %s is not known here: fsType must say what it is, or its beginning be zeros",
                       path);
    if (look.type && !look.type[0]) {
        if (m->read_only)
            return err_set(err, E_INVALID, "%s has no file system, and a read-only volume gets none", path);
        look.type = wanted[0] ? wanted : "ext4";
        if (!device_format(path, look.type, err))
            return false;
    } else if (look.type && wanted[0] && strcmp(look.type, wanted) != 0) {
        return err_set(err, E_INVALID, "%s has a file system %s, and the volume says %s", path, look.type, wanted);
    } else if (!m->read_only && !m->fills && !device_check(path, err)) {
        return false;
    }
    struct err grow = ERR;
    if (!m->read_only && m->fills && !device_fill(path, &grow))
        log_warn("volume.grow", "volume=" STR_FMT " error=\"%s\"", STR_ARG(m->called), grow.text);
    return mount_fs(look.type ? look.type : wanted, path, o.rest, o.flags, target, err);
}

/* The node of a device, at a place of the pod's. */
static bool device_bind(const struct volume_mount *m, const char *path, struct err *err)
{
    AUTO_FREE char *target = str_dupz(m->target);
    AUTO(fd_close) int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "open %s", path);
    return target_make(target, false, err) && mount_bind(fd, false, 0, target, err);
}

static bool image_mount(const struct volume_mount *m, const char *path, struct err *err)
{
    /* held while the device has no other user; by a descriptor of its own, as the device keeps the other one open */
    AUTO(fd_close) int lock = open(path, O_RDONLY | O_CLOEXEC);
    AUTO(fd_close) int file = open(path, O_RDWR | O_CLOEXEC);
    AUTO(loopdev_close) struct loopdev d = {.fd = -1};
    if (lock < 0 || file < 0 || flock(lock, LOCK_EX) < 0)
        return err_errno(err, "open %s", path);
    if (!loopdev_attach(file, !m->block, &d, err))
        return false;
    struct volume_mount own = *m;
    own.fills = true; /* an image is a file system's alone */
    return m->block ? device_bind(m, d.path, err) : device_mount(&own, d.fd, d.path, err);
}

/* --- sources --------------------------------------------------------------------------------------------------- */

static bool folder_mount(const struct volume_mount *m, const char *path, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct options o = {0};
    struct stat st;
    const char *target = arena_strz(&a, m->target);
    AUTO(fd_close) int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(err, "open %s", path);
    if (!options_read(&a, m, &o, err))
        return false;
    if (o.n)
        return err_set(err, E_INVALID, "mountOptions: a folder has no \"%s\"", o.rest[0]);
    return target_make(target, S_ISDIR(st.st_mode), err) &&
           mount_bind(fd, m->how == MOUNT_HOST, o.flags, target, err);
}

static bool local_mount(const struct volume_mount *m, struct err *err)
{
    AUTO_FREE char *path = str_dupz(m->path);
    struct stat st;
    if (stat(path, &st) < 0 && errno == ENOENT)
        return err_set(err, E_NOT_FOUND, "path \"%s\" does not exist", path);
    AUTO(fd_close) int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(err, "open %s", path);
    if (S_ISREG(st.st_mode))
        return image_mount(m, path, err);
    if (S_ISDIR(st.st_mode) && !m->block)
        return folder_mount(m, path, err);
    if (!S_ISBLK(st.st_mode))
        return err_set(err, E_INVALID, "path \"%s\" is %s", path,
                       S_ISDIR(st.st_mode) ? "a folder, and the volume's volumeMode is Block"
                                           : "neither a folder nor a block device nor a file");
    if (m->block)
        return device_bind(m, path, err);
    AUTO(fd_close) int device = open(path, (m->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (device < 0 || flock(device, LOCK_EX) < 0) /* one alone finds it empty */
        return err_errno(err, "open %s", path);
    return device_mount(m, device, path, err);
}

static bool host_mount(const struct volume_mount *m, struct err *err)
{
    AUTO_FREE char *path = str_dupz(m->path);
    const struct volume_work w = {.place = VOLUME_HOST, .path = m->path, .host_type = m->host_type};
    return volume_setup(&w, err) && folder_mount(m, path, err);
}

static bool nfs_mount(const struct volume_mount *m, struct err *err)
{
    AUTO_FREE char *target = str_dupz(m->target);
    return target_make(target, true, err) && volume_nfs_mount(m, target, err);
}

static bool group_give(const struct volume_mount *m, const char *target, struct err *err)
{
    if (m->fs_group < 0 || m->read_only)
        return true;
    AUTO(fd_close) int fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOTDIR || err_errno(err, "open %s", target);
    return ownership_give(fd, (gid_t)m->fs_group, m->on_root_mismatch, err) ||
           err_wrap(err, "applyFSGroup failed for vol " STR_FMT, STR_ARG(m->called));
}

bool volume_mount(const struct volume_mount *m, struct err *err)
{
    static bool (*const hows[])(const struct volume_mount *m, struct err *err) = {
        [MOUNT_HOST] = host_mount, [MOUNT_LOCAL] = local_mount, [MOUNT_NFS] = nfs_mount};
    AUTO_FREE char *target = str_dupz(m->target);
    fault_pass("node.volume.mount");
    if (!mount_is_point(target) && !hows[m->how](m, err))
        return false;
    fault_pass("node.volume.mounted");
    return group_give(m, target, err);
}

/* --- going ----------------------------------------------------------------------------------------------------- */

/* A device of ours goes with the last place at which it is bound; where another pod has it, too, that one's end finds
 * it. The kernel keeps it while somebody has it open. */
static void device_let_go(const char *path)
{
    struct err err = ERR;
    AUTO(fd_close) int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && !loopdev_release(fd, &err))
        log_warn("volume.device", "error=\"%s\"", err.text);
}

/* Whether the device is bound at another place, too: for another pod, or by who made it, a driver of storage say,
 * whose it is then. Where that cannot be read, it is. */
static bool is_bound_elsewhere(const char *at, dev_t device)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(MOUNTS_MOST);
    struct err ignored = ERR; /* as above */
    char root[32];
    (void)snprintf(root, sizeof root, "/loop%u", minor(device));
    if (!file_read(AT_FDCWD, "/proc/self/mountinfo", &b, &ignored))
        return true;
    struct str rest = strbuf_str(&b), line;
    while (str_cut(&rest, '\n', &line)) { /* ID PARENT MAJOR:MINOR ROOT PLACE ... */
        struct str words[5] = {{0}};
        for (size_t i = 0; i < countof(words) && str_cut(&line, ' ', &words[i]);)
            i++;
        if (str_eqz(words[3], root) && !str_eqz(words[4], at))
            return true;
    }
    return false;
}

static bool mount_go(const char *at, struct err *err)
{
    fault_pass("node.volume.unmount");
    if (umount2(at, UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT)
        return true;
    /* somebody of the host is in it, or its server is gone: nobody finds it here any more */
    return umount2(at, UMOUNT_NOFOLLOW | MNT_FORCE | MNT_DETACH) == 0 || errno == EINVAL || mount_remove(at, err);
}

/* `mntns` is the mount namespace of the node: the pod's own went with its shim. */
static bool place_remove(const char *folder, const char *name, struct err *err)
{
    char at[800];
    struct stat st;
    (void)snprintf(at, sizeof at, "%s/%s", folder, name);
    struct statx look;
    /* a server that is gone is not asked */
    bool block = statx(AT_FDCWD, at, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_TYPE, &look) == 0 &&
                 S_ISBLK(look.stx_mode) && stat(at, &st) == 0;
    if (block && !is_bound_elsewhere(at, st.st_rdev) && major(st.st_rdev) == LOOP_MAJOR)
        device_let_go(at);
    for (int i = 0; i < 100 && mount_is_point(at); i++) /* one over the other: of one who was killed in between */
        if (!mount_go(at, err))
            return false;
    if (unlink(at) == 0 || errno == ENOENT || rmdir(at) == 0)
        return true;
    return err_errno(err, "remove %s", at);
}

bool volume_mounts_remove(const char *folder, struct err *err)
{
    DIR *dir = opendir(folder);
    bool ok = dir || errno == ENOENT || err_errno(err, "open %s", folder);
    if (!dir)
        return ok;
    for (struct dirent *e; (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            ok = place_remove(folder, e->d_name, err) && ok;
    (void)closedir(dir);
    return ok && (rmdir(folder) == 0 || errno == ENOENT || err_errno(err, "remove %s", folder));
}
