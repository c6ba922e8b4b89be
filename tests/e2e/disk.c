/* disk.c - for LD_PRELOAD: what a process does to the files below a folder, told to a journal, so that a test can make
 * the disk as a power cut at any moment may leave it (disk.py); and calls to the disk that fail when a test says so.
 *
 *   DISK_FOLDER   what is watched: paths below it
 *   DISK_JOURNAL  the journal, appended to after each call that has worked
 *   DISK_FAIL     a file; while it is there, syncs (its first word is "sync") or writes ("write") below the folder fail
 *                 with EIO
 *
 * A record is {u32 operation, u32 length of the path, i64 at, i64 length of the data}, path, data. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum operation { MAKE = 1, WRITE, TRUNCATE, SYNC, SYNC_FOLDER, UNLINK, RENAME, LINK, FOLDER };
struct head {
    uint32_t operation, path_n;
    int64_t at, n;
};

static int journal = -1;
static const char *folder, *failing;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a call and its record are one */

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("DISK_JOURNAL");
    folder = getenv("DISK_FOLDER");
    failing = getenv("DISK_FAIL");
    if (path && folder)
        journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static bool watched(const char *path)
{
    size_t n = folder ? strlen(folder) : 0;
    return n && strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == 0);
}

/* The absolute path of a name below a folder; false: not one of ours. */
static bool path_at(int dirfd, const char *name, char out[PATH_MAX])
{
    if (name[0] == '/') {
        (void)snprintf(out, PATH_MAX, "%s", name);
        return watched(out);
    }
    char dir[PATH_MAX - 300], link[64];
    (void)snprintf(link, sizeof link, dirfd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", dirfd);
    ssize_t n = readlink(link, dir, sizeof dir - 1);
    if (n < 0)
        return false;
    dir[n] = 0;
    (void)snprintf(out, PATH_MAX, "%s/%.255s", dir, name);
    return watched(out);
}

static bool path_fd(int fd, char out[PATH_MAX])
{
    char link[64];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = fd == journal ? -1 : readlink(link, out, PATH_MAX - 1);
    if (n < 0)
        return false;
    out[n] = 0;
    return watched(out);
}

static void put(const void *p, size_t n)
{
    while (n) {
        ssize_t k = syscall(SYS_write, journal, p, n);
        if (k < 0)
            abort(); /* a journal with a hole would prove nothing */
        p = (const char *)p + k;
        n -= (size_t)k;
    }
}

static void tell(enum operation o, const char *path, int64_t at, const void *p, size_t n)
{
    char all[PATH_MAX + sizeof(struct head)];
    struct head h = {o, (uint32_t)strlen(path), at, (int64_t)n};
    if (journal < 0)
        return;
    memcpy(all, &h, sizeof h);
    memcpy(all + sizeof h, path, h.path_n);
    put(all, sizeof h + h.path_n);
    put(p, n);
}

static bool fails(const char *what)
{
    char word[16] = "";
    int fd = failing ? (int)syscall(SYS_openat, AT_FDCWD, failing, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return false;
    (void)!syscall(SYS_read, fd, word, sizeof word - 1);
    (void)syscall(SYS_close, fd);
    if (strncmp(word, what, strlen(what)) != 0)
        return false;
    errno = EIO;
    return true;
}

#define LOCKED(type, call, told)                                                                                      \
    do {                                                                                                              \
        pthread_mutex_lock(&lock);                                                                                    \
        type rc_ = (type)(call);                                                                                      \
        int keep_ = errno;                                                                                            \
        if (rc_ >= 0) {                                                                                               \
            told;                                                                                                     \
        }                                                                                                             \
        errno = keep_;                                                                                                \
        pthread_mutex_unlock(&lock);                                                                                  \
        return rc_;                                                                                                   \
    } while (0)

/* --- files --- */

static int open_at(int dirfd, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX];
    struct stat st;
    if (!path_at(dirfd, name, path) || (flags & O_ACCMODE) == O_RDONLY)
        return (int)syscall(SYS_openat, dirfd, name, flags, mode);
    pthread_mutex_lock(&lock);
    bool was = lstat(path, &st) == 0;
    int fd = (int)syscall(SYS_openat, dirfd, name, flags, mode), keep = errno;
    if (fd >= 0 && !was)
        tell(MAKE, path, 0, NULL, 0);
    else if (fd >= 0 && (flags & O_TRUNC))
        tell(TRUNCATE, path, 0, NULL, 0);
    errno = keep;
    pthread_mutex_unlock(&lock);
    return fd;
}
#define OPEN(name)                                                                                                    \
    int name(const char *path, int flags, ...);                                                                       \
    int name(const char *path, int flags, ...)                                                                        \
    {                                                                                                                 \
        va_list ap;                                                                                                   \
        va_start(ap, flags);                                                                                          \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;                                       \
        va_end(ap);                                                                                                   \
        return open_at(AT_FDCWD, path, flags, mode);                                                                  \
    }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                                                                                  \
    int name(int dirfd, const char *path, int flags, ...);                                                            \
    int name(int dirfd, const char *path, int flags, ...)                                                             \
    {                                                                                                                 \
        va_list ap;                                                                                                   \
        va_start(ap, flags);                                                                                          \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;                                       \
        va_end(ap);                                                                                                   \
        return open_at(dirfd, path, flags, mode);                                                                     \
    }
OPENAT(openat)
OPENAT(openat64)

static ssize_t write_at(int fd, const void *p, size_t n, off_t at)
{
    char path[PATH_MAX];
    if (!path_fd(fd, path))
        return at < 0 ? syscall(SYS_write, fd, p, n) : syscall(SYS_pwrite64, fd, p, n, at);
    if (fails("write"))
        return -1;
    off_t from = at < 0 ? lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR) : at;
    LOCKED(ssize_t, at < 0 ? syscall(SYS_write, fd, p, n) : syscall(SYS_pwrite64, fd, p, n, at),
           tell(WRITE, path, from, p, (size_t)rc_));
}
ssize_t write(int fd, const void *p, size_t n)
{
    return write_at(fd, p, n, -1);
}
ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    return write_at(fd, p, n, at);
}
ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    return write_at(fd, p, n, at);
}

static int truncate_fd(int fd, off_t n)
{
    char path[PATH_MAX];
    if (!path_fd(fd, path))
        return (int)syscall(SYS_ftruncate, fd, n);
    LOCKED(int, syscall(SYS_ftruncate, fd, n), tell(TRUNCATE, path, n, NULL, 0));
}
int ftruncate(int fd, off_t n)
{
    return truncate_fd(fd, n);
}
int ftruncate64(int fd, off64_t n)
{
    return truncate_fd(fd, n);
}

static int sync_fd(int fd)
{
    char path[PATH_MAX];
    struct stat st;
    if (!path_fd(fd, path))
        return (int)syscall(SYS_fdatasync, fd);
    if (fails("sync"))
        return -1;
    bool dir = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
    LOCKED(int, syscall(SYS_fdatasync, fd), tell(dir ? SYNC_FOLDER : SYNC, path, 0, NULL, 0));
}
int fsync(int fd)
{
    return sync_fd(fd);
}
int fdatasync(int fd)
{
    return sync_fd(fd);
}

/* --- folders --- */

static int make_folder(int dirfd, const char *name, mode_t mode)
{
    char path[PATH_MAX];
    if (!path_at(dirfd, name, path))
        return (int)syscall(SYS_mkdirat, dirfd, name, mode);
    LOCKED(int, syscall(SYS_mkdirat, dirfd, name, mode), tell(FOLDER, path, 0, NULL, 0));
}
int mkdir(const char *name, mode_t mode)
{
    return make_folder(AT_FDCWD, name, mode);
}
int mkdirat(int dirfd, const char *name, mode_t mode)
{
    return make_folder(dirfd, name, mode);
}

int unlinkat(int dirfd, const char *name, int flags)
{
    char path[PATH_MAX];
    if (!path_at(dirfd, name, path))
        return (int)syscall(SYS_unlinkat, dirfd, name, flags);
    LOCKED(int, syscall(SYS_unlinkat, dirfd, name, flags), tell(UNLINK, path, 0, NULL, 0));
}
int unlink(const char *name)
{
    return unlinkat(AT_FDCWD, name, 0);
}

static int two_names(enum operation o, int fromfd, const char *from, int tofd, const char *to)
{
    char a[PATH_MAX], b[PATH_MAX];
    bool ours = path_at(fromfd, from, a);
    if (!path_at(tofd, to, b) || !ours)
        return (int)(o == RENAME ? syscall(SYS_renameat2, fromfd, from, tofd, to, 0)
                                 : syscall(SYS_linkat, fromfd, from, tofd, to, 0));
    LOCKED(int,
           o == RENAME ? syscall(SYS_renameat2, fromfd, from, tofd, to, 0)
                       : syscall(SYS_linkat, fromfd, from, tofd, to, 0),
           tell(o, a, 0, b, strlen(b)));
}
int rename(const char *from, const char *to)
{
    return two_names(RENAME, AT_FDCWD, from, AT_FDCWD, to);
}
int renameat(int fromfd, const char *from, int tofd, const char *to)
{
    return two_names(RENAME, fromfd, from, tofd, to);
}
int link(const char *from, const char *to)
{
    return two_names(LINK, AT_FDCWD, from, AT_FDCWD, to);
}
