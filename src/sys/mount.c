#include "sys/mount.h"
#include "base/fault.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

static unsigned attributes_of(int flags)
{
    return (flags & MOUNT_RO ? MOUNT_ATTR_RDONLY : 0) | (flags & MOUNT_NOSUID ? MOUNT_ATTR_NOSUID : 0) |
           (flags & MOUNT_NODEV ? MOUNT_ATTR_NODEV : 0) | (flags & MOUNT_NOEXEC ? MOUNT_ATTR_NOEXEC : 0) |
           (flags & MOUNT_NOATIME ? MOUNT_ATTR_NOATIME : 0);
}

/* What the kernel has to say beyond errno: the last line of the context's log. */
static bool fs_failed(int fs, const char *what, const char *to, struct err *err)
{
    int keep = errno;
    char said[512];
    struct str last = STR_NONE;
    char line[512];
    for (ssize_t n; fs >= 0 && (n = read(fs, said, sizeof said - 1)) > 0;) {
        memcpy(line, said, (size_t)n);
        last = str_trim((struct str){line, (size_t)n});
    }
    errno = keep;
    if (!last.n)
        return err_errno(err, "mount %s at %s", what, to);
    if (last.n > 2 && last.p[1] == ' ') /* "e overlay: ..." */
        last = str_sub(last, 2, last.n);
    return err_errno(err, "mount %s at %s: " STR_FMT, what, to, STR_ARG(last));
}

static bool mount_attach(int fs, int flags, const char *what, const char *to, struct err *err)
{
    if (fault("mount", EIO) || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return fs_failed(fs, what, to, err);
    AUTO(fd_close) int mnt = fsmount(fs, FSMOUNT_CLOEXEC, attributes_of(flags));
    if (mnt < 0 || move_mount(mnt, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return fs_failed(fs, what, to, err);
    return true;
}

static bool option_set(int fs, const char *key, const char *value, const char *what, const char *to, struct err *err)
{
    return fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0) == 0 || fs_failed(fs, what, to, err);
}

bool mount_tmpfs(const char *to, uint64_t size, unsigned mode, int flags, struct err *err)
{
    AUTO(fd_close) int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
    if (fs < 0)
        return err_errno(err, "mount tmpfs at %s: fsopen", to);
    char text[32];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)size);
    if (size && !option_set(fs, "size", text, "tmpfs", to, err))
        return false;
    (void)snprintf(text, sizeof text, "%o", mode);
    return option_set(fs, "mode", text, "tmpfs", to, err) && option_set(fs, "source", "tmpfs", "tmpfs", to, err) &&
           mount_attach(fs, flags, "tmpfs", to, err);
}

static bool option_add(int fs, const char *option, const char *source, const char *to, struct err *err)
{
    AUTO_FREE char *key = mem_dupz(option);
    char *value = strchr(key, '=');
    if (value)
        *value++ = 0;
    if (fsconfig(fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0) == 0)
        return true;
    return fs_failed(fs, source, to, err) || err_wrap(err, "mount option \"%s\"", option);
}

static int fs_open(const char *type, const char *source, const char *const *options, const char *to, struct err *err)
{
    AUTO(fd_close) int fs = fsopen(type, FSOPEN_CLOEXEC);
    if (fs < 0)
        return err_errno(err, "mount %s at %s: file system \"%s\"", source, to, type), -1;
    if (!option_set(fs, "source", source, source, to, err))
        return -1;
    for (; options && *options; options++)
        if (!option_add(fs, *options, source, to, err))
            return -1;
    return TAKE_FD(fs);
}

bool mount_fs(const char *type, const char *source, const char *const *options, int flags, const char *to,
              struct err *err)
{
    AUTO(fd_close) int fs = fs_open(type, source, options, to, err);
    return fs >= 0 && mount_attach(fs, flags, source, to, err);
}

int mount_detached(const char *type, const char *source, struct err *err)
{
    AUTO(fd_close) int fs = fs_open(type, source, NULL, "a descriptor", err);
    if (fs < 0)
        return -1;
    AUTO(fd_close)
    int mnt = fault("mount", EIO) || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0
                  ? -1
                  : fsmount(fs, FSMOUNT_CLOEXEC, 0);
    int root = mnt < 0 ? -1 : openat(mnt, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* it holds the mount */
    if (root < 0)
        (void)fs_failed(fs, source, "a descriptor", err);
    return root;
}

bool mount_bind(int fd, bool deep, int flags, const char *to, struct err *err)
{
    struct mount_attr attr = {.attr_set = attributes_of(flags),
                              .attr_clr = flags & MOUNT_NOATIME ? MOUNT_ATTR__ATIME : 0};
    unsigned recursive = deep ? AT_RECURSIVE : 0;
    AUTO(fd_close)
    int tree = fault("mount", EIO)
                   ? -1
                   : open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | recursive);
    if (tree < 0 || (flags && mount_setattr(tree, "", AT_EMPTY_PATH | recursive, &attr, sizeof attr) < 0) ||
        move_mount(tree, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return err_errno(err, "mount at %s", to);
    return true;
}

bool mount_remove(const char *at, struct err *err)
{
    if (umount2(at, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT)
        return true;
    return err_errno(err, "unmount %s", at);
}

bool mount_is_point(const char *at)
{
    struct statx st;
    return statx(AT_FDCWD, at, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st) == 0 &&
           st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT && st.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

bool mount_is_shared(int fd)
{
    struct statx st;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(16 << 20);
    struct err ignored = ERR; /* what cannot be found out is told as not shared */
    if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0 || !(st.stx_mask & STATX_MNT_ID) ||
        !file_read(AT_FDCWD, "/proc/thread-self/mountinfo", &b, &ignored))
        return false;
    struct str rest = strbuf_str(&b), line, id, optional;
    uint64_t v;
    while (str_cut(&rest, '\n', &line)) {
        ptrdiff_t end = str_find(line, S(" - "));
        if (end < 0 || !str_split(line, ' ', &id, &optional) || !str_to_u64(id, UINT64_MAX, &v) || v != st.stx_mnt_id)
            continue;
        return str_has(str_sub(line, 0, (size_t)end), S(" shared:"));
    }
    return false;
}

bool mount_elsewhere(int mntns, bool (*fn)(void *arg, struct err *err), void *arg, struct err *err)
{
    AUTO(fd_close) int home = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (home < 0 || unshare(CLONE_FS) < 0 || setns(mntns, CLONE_NEWNS) < 0)
        return err_errno(err, "enter a mount namespace");
    mode_t mask = umask(0);
    bool ok = fn(arg, err);
    (void)umask(mask);
    ASSERT(setns(home, CLONE_NEWNS) == 0); /* the next job of this thread must not run there */
    return ok;
}
