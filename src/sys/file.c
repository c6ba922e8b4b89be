#include "sys/file.h"
#include "base/clock.h"
#include "base/fault.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

bool file_read(int dirfd, const char *path, struct strbuf *out, struct err *err)
{
    AUTO(fd_close) int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? err_errno(err, "open %s", path) : file_read_fd(fd, path, out, err);
}

bool file_read_fd(int fd, const char *path, struct strbuf *out, struct err *err)
{
    for (;;) {
        char room[16384];
        ssize_t n = read(fd, room, sizeof room);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, "read %s", path);
        if (n == 0)
            return true;
        strbuf_add(out, (struct str){room, (size_t)n});
        if (out->over)
            return err_set(err, E_TOO_LARGE, "%s is over %zu bytes", path, out->max);
    }
}

bool write_all(int fd, struct str b, struct err *err)
{
    while (b.n) {
        ssize_t n = fault("file.write", ENOSPC) ? -1 : write(fd, b.p, b.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, "write");
        b = str_sub(b, (size_t)n, b.n);
    }
    return true;
}

bool folder_sync(int dirfd, const char *path, struct err *err)
{
    struct str name = str_of(path);
    ptrdiff_t slash = str_rfind_char(name, '/');
    AUTO_FREE char *folder = slash < 0 ? mem_dupz(".") : str_dupz(str_sub(name, 0, slash ? (size_t)slash : 1));
    AUTO(fd_close) int fd = openat(dirfd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fault("file.sync", EIO) || fsync(fd) < 0)
        return err_errno(err, "sync the folder of %s", path);
    return true;
}

static bool file_put(int dirfd, const char *path, struct str content, mode_t mode, bool sync, struct err *err)
{
    uint64_t chance;
    random_bytes(&chance, sizeof chance);
    AUTO(strbuf_fini) struct strbuf fresh = STRBUF(STRBUF_TEXT);
    strbuf_addf(&fresh, "%s.new.%016llx", path, (unsigned long long)chance);
    AUTO(fd_close) int fd = openat(dirfd, fresh.p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return err_errno(err, "create %s", path);
    bool ok = (fchmod(fd, mode) == 0 || err_errno(err, "chmod %s", path)) &&
              (write_all(fd, content, err) || err_wrap(err, "%s", path)) &&
              (!sync || (!fault("file.sync", EIO) && fsync(fd) == 0) || err_errno(err, "sync %s", path)) &&
              ((!fault("file.rename", EIO) && renameat(dirfd, fresh.p, dirfd, path) == 0) ||
               err_errno(err, "put %s in place", path));
    if (!ok) {
        (void)unlinkat(dirfd, fresh.p, 0); /* the reason is told; what is left has a name of its own */
        return false;
    }
    return !sync || folder_sync(dirfd, path, err);
}

bool file_write(int dirfd, const char *path, struct str content, mode_t mode, struct err *err)
{
    return file_put(dirfd, path, content, mode, true, err);
}

bool file_replace(int dirfd, const char *path, struct str content, mode_t mode, struct err *err)
{
    return file_put(dirfd, path, content, mode, false, err);
}

/* ---- a file that a person named */

#define LINKS_MOST 40 /* as the kernel's own bound */

/* Where its links lead, also where nothing is at their end. */
static char *link_follow(const char *path)
{
    AUTO_FREE char *at = mem_dupz(path);
    for (int i = 0; i < LINKS_MOST; i++) {
        char to[PATH_MAX];
        ssize_t n = readlink(at, to, sizeof to - 1);
        if (n < 0)
            return TAKE(at);
        to[n] = 0;
        char *slash = to[0] == '/' ? NULL : strrchr(at, '/');
        AUTO(strbuf_fini) struct strbuf next = STRBUF(2 * PATH_MAX);
        if (slash)
            strbuf_add(&next, (struct str){at, (size_t)(slash - at) + 1});
        strbuf_addz(&next, to);
        mem_free(at);
        at = mem_dupz(next.p);
    }
    return TAKE(at); /* the kernel will say ELOOP */
}

/* /dev/stdout and its kin name a descriptor of this process. Opened by its name a file would be written from its
 * start, over what others have put there. -1: it is no such name. */
static int own_descriptor(const char *path)
{
    static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/"};
    int64_t fd;
    if (strcmp(path, "/dev/stdout") == 0)
        return STDOUT_FILENO;
    if (strcmp(path, "/dev/stderr") == 0)
        return STDERR_FILENO;
    for (size_t i = 0; i < countof(folders); i++)
        if (strncmp(path, folders[i], strlen(folders[i])) == 0 &&
            str_to_i64(str_of(path + strlen(folders[i])), 0, INT32_MAX, &fd))
            return (int)fd;
    return -1;
}

static bool open_fresh(struct file_out *o, const char *path, mode_t mode, struct err *err)
{
    uint64_t chance;
    AUTO(strbuf_fini) struct strbuf fresh = STRBUF(2 * PATH_MAX);
    o->path = link_follow(path);
    random_bytes(&chance, sizeof chance);
    strbuf_addf(&fresh, "%s.new.%016llx", o->path, (unsigned long long)chance);
    o->fd = open(fresh.p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (o->fd < 0)
        return err_errno(err, "make %s", path);
    o->fresh = mem_dupz(fresh.p);
    return fchmod(o->fd, mode) == 0 || err_errno(err, "chmod %s", path);
}

bool file_out_open(struct file_out *o, const char *path, mode_t mode, struct err *err)
{
    struct stat st;
    int own = own_descriptor(path);
    *o = (struct file_out){.fd = -1};
    if (own >= 0) {
        o->fd = fcntl(own, F_DUPFD_CLOEXEC, 3);
        return o->fd >= 0 || err_errno(err, "write to %s", path);
    }
    if (stat(path, &st) < 0 ? errno == ENOENT : S_ISREG(st.st_mode))
        return open_fresh(o, path, mode, err);
    o->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    return o->fd >= 0 || err_errno(err, "write to %s", path);
}

bool file_out_done(struct file_out *o, struct err *err)
{
    /* EINVAL: a pipe, a terminal; there is no disk behind it */
    if ((fault("file.sync", EIO) || fsync(o->fd) < 0) && (o->path || (errno != EINVAL && errno != EROFS)))
        return err_errno(err, "write %s", o->path ? o->path : "to the end");
    if (!o->path)
        return true;
    if (fault("file.rename", EIO) || rename(o->fresh, o->path) < 0)
        return err_errno(err, "put %s in place", o->path);
    mem_free(o->fresh);
    o->fresh = NULL;
    return folder_sync(AT_FDCWD, o->path, err);
}

void file_out_fini(struct file_out *o)
{
    if (o->fresh)
        (void)unlink(o->fresh); /* the error that is told is the one before */
    if (o->fd >= 0)
        fd_close(o->fd);
    mem_free(o->path);
    mem_free(o->fresh);
    *o = (struct file_out){.fd = -1};
}

static bool make_all(const char *path, mode_t mode, bool sync, struct err *err)
{
    AUTO_FREE char *p = mem_dupz(path);
    for (char *at = p + 1;; at++) {
        if (*at && *at != '/')
            continue;
        char keep = *at;
        *at = 0;
        struct stat st;
        bool made = mkdir(p, mode) == 0;
        if (!made && errno != EEXIST)
            return err_errno(err, "make the folder %s", p);
        if (made && sync && !folder_sync(AT_FDCWD, p, err))
            return false;
        if (!keep && stat(p, &st) == 0 && !S_ISDIR(st.st_mode))
            return err_set(err, E_CONFLICT, "make the folder %s: it exists and is not a folder", p);
        *at = keep;
        if (!keep)
            return true;
    }
}

#define SMALL (64 << 10)

bool folder_has_room(int fd, uint64_t need)
{
    struct statfs fs;
    if (need <= SMALL || fstatfs(fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC || !fs.f_blocks)
        return true;
    uint64_t size = (uint64_t)fs.f_bsize;
    return fs.f_bavail >= fs.f_blocks / 4 + (need + size - 1) / size;
}

int file_open_below(const char *path, int parts, int flags, mode_t mode)
{
    struct open_how how = {
        .flags = (uint64_t)(flags | O_CLOEXEC), .mode = mode, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    size_t n = strlen(path);
    for (; n > 1 && parts > 0; parts--)
        while (n > 1 && path[--n] != '/') {
        }
    AUTO_FREE char *above = mem_dup(path, n + 1);
    above[n] = 0;
    AUTO(fd_close) int dir = open(above, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, path + n + (path[n] == '/'), &how, sizeof how);
}

bool dir_make(const char *path, mode_t mode, struct err *err)
{
    return make_all(path, mode, false, err);
}

bool dir_make_private(const char *path, struct err *err)
{
    return dir_make(path, 0700, err) && (chmod(path, 0700) == 0 || err_errno(err, "chmod %s", path));
}

bool dir_make_synced(const char *path, mode_t mode, struct err *err)
{
    return make_all(path, mode, true, err);
}

/* A folder deeper than this is moved up before it is emptied: depth costs a descriptor and a frame each. */
#define REMOVE_DEPTH 64

struct removal {
    dev_t dev;
    int top; /* of the tree; -1: the tree is one file */
    unsigned moved;
    int64_t freed;
};

static bool remove_below(struct removal *r, int own_fd, int depth, const char *name, struct err *err);

static bool remove_folder(struct removal *r, int dirfd, int depth, const char *name, struct err *err)
{
    struct stat st;
    char up[40];
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT || err_errno(err, "remove %s", name);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, E_FORBIDDEN, "remove %s: not permitted", name);
    if (st.st_dev != r->dev)
        return err_set(err, E_CONFLICT, "remove %s: something is mounted there", name);
    if (depth > REMOVE_DEPTH) { /* the top is read again until it is empty */
        int rc;
        do {
            (void)snprintf(up, sizeof up, ".removed-%u", r->moved++);
            rc = renameat(dirfd, name, r->top, up);
        } while (rc < 0 && (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR)); /* a stranger's own name */
        return rc == 0 || errno == ENOENT || err_errno(err, "move %s", name);
    }
    AUTO(fd_close) int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || err_errno(err, "open %s", name);
    if (depth == 0)
        r->top = fd;
    for (unsigned before = r->moved + 1; before != r->moved;) {
        before = r->moved;
        AUTO(fd_close) int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (again < 0)
            return err_errno(err, "open %s", name);
        if (!remove_below(r, TAKE_FD(again), depth, name, err))
            return false;
        if (depth > 0)
            break;
    }
    if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT) {
        if (errno == EBUSY)
            return err_set(err, E_CONFLICT, "remove %s: something is mounted there", name);
        return err_errno(err, "remove %s", name);
    }
    return true;
}

/* Under these flags (chattr +i, +a) not even root removes anything; a pod with LINUX_IMMUTABLE may have set them. */
static bool unlock_one(int fd)
{
    int flags, held = FS_IMMUTABLE_FL | FS_APPEND_FL;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 || !(flags & held))
        return false;
    flags &= ~held;
    return ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
}

/* True: something may be otherwise now. */
static bool attributes_unlock(int dirfd, const char *name)
{
    struct stat st;
    bool any = dirfd >= 0 && unlock_one(dirfd);
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
        return any;
    AUTO(fd_close) int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    return (fd >= 0 && unlock_one(fd)) || any;
}

static bool remove_entry(struct removal *r, int dirfd, int depth, const char *name, struct err *err)
{
    struct stat st;
    bool counts = fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1;
    int rc = unlinkat(dirfd, name, 0);
    if (rc < 0 && errno == EPERM)
        rc = attributes_unlock(dirfd, name) ? unlinkat(dirfd, name, 0) : (errno = EPERM, -1);
    if (rc == 0) {
        r->freed += counts ? st.st_blocks * 512 : 0;
        return true;
    }
    if (errno == ENOENT)
        return true;
    if (errno != EISDIR && errno != EPERM)
        return err_errno(err, "remove %s", name);
    return remove_folder(r, dirfd, depth, name, err);
}

static bool remove_below(struct removal *r, int own_fd, int depth, const char *name, struct err *err)
{
    DIR *d = fdopendir(own_fd);
    if (!d) {
        (void)err_errno(err, "read %s", name);
        fd_close(own_fd);
        return false;
    }
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            ok = remove_entry(r, own_fd, depth + 1, e->d_name, err);
    (void)closedir(d);
    return ok || err_wrap(err, "%s", name);
}

bool tree_remove_counted(int dirfd, const char *path, int64_t *freed, struct err *err)
{
    struct stat st;
    if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT || err_errno(err, "remove %s", path);
    struct removal r = {.dev = st.st_dev, .top = -1};
    bool ok = remove_entry(&r, dirfd, 0, path, err);
    *freed += r.freed;
    return ok;
}

bool tree_remove(int dirfd, const char *path, struct err *err)
{
    int64_t freed = 0;
    return tree_remove_counted(dirfd, path, &freed, err);
}
