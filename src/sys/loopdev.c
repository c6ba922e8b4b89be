#include "sys/loopdev.h"
#include "base/fault.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define TRIES_MOST 100 /* others take free devices, too */

void loopdev_close(struct loopdev *d)
{
    fd_close(d->fd);
    d->fd = -1;
}

/* Where nobody makes nodes of devices as they come (no udev, a /dev of its own), it is made here. */
static int device_open(struct loopdev *d, int number)
{
    (void)snprintf(d->path, sizeof d->path, "/dev/loop%d", number);
    d->fd = open(d->path, O_RDWR | O_CLOEXEC);
    if (d->fd < 0 && errno == ENOENT &&
        (mknod(d->path, S_IFBLK | 0660, makedev(LOOP_MAJOR, (unsigned)number)) == 0 || errno == EEXIST))
        d->fd = open(d->path, O_RDWR | O_CLOEXEC);
    return d->fd;
}

static bool is_of(const struct loopdev *d, const struct stat *file)
{
    struct loop_info64 info;
    return ioctl(d->fd, LOOP_GET_STATUS64, &info) == 0 && info.lo_device == file->st_dev &&
           info.lo_inode == file->st_ino;
}

static bool number_of(const char *name, int64_t *number)
{
    struct str rest = str_of(name);
    return str_starts(rest, S("loop")) && str_to_i64(str_sub(rest, 4, rest.n), 0, INT32_MAX, number);
}

bool loopdev_find(int file, struct loopdev *out)
{
    struct stat st;
    bool found = false;
    *out = (struct loopdev){.fd = -1};
    DIR *dir = fstat(file, &st) == 0 ? opendir("/sys/block") : NULL;
    for (struct dirent *e; dir && !found && (e = readdir(dir));) {
        char in_use[300];
        int64_t number;
        (void)snprintf(in_use, sizeof in_use, "/sys/block/%s/loop", e->d_name);
        if (!number_of(e->d_name, &number) || access(in_use, F_OK) < 0 || device_open(out, (int)number) < 0)
            continue;
        found = is_of(out, &st);
        if (!found)
            loopdev_close(out);
    }
    if (dir)
        (void)closedir(dir);
    return found;
}

/* False with errno. EBUSY: somebody else was faster. */
static bool device_configure(const struct loopdev *d, int file, bool autoclear)
{
    struct loop_config c = {.fd = (unsigned)file};
    char own[40], path[LO_NAME_SIZE];
    (void)snprintf(own, sizeof own, "/proc/self/fd/%d", file);
    ssize_t n = readlink(own, path, sizeof path - 1); /* what losetup shows; cut, where it is longer */
    memcpy(c.info.lo_file_name, path, (size_t)MAX(n, 0));
    c.info.lo_flags = (autoclear ? LO_FLAGS_AUTOCLEAR : 0) | LO_FLAGS_DIRECT_IO;
    if (ioctl(d->fd, LOOP_CONFIGURE, &c) == 0)
        return true;
    c.info.lo_flags &= ~(unsigned)LO_FLAGS_DIRECT_IO; /* not every file system has it */
    return errno == EINVAL && ioctl(d->fd, LOOP_CONFIGURE, &c) == 0;
}

bool loopdev_attach(int file, bool autoclear, struct loopdev *out, struct err *err)
{
    if (loopdev_find(file, out))
        return true;
    AUTO(fd_close) int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0)
        return err_errno(err, "no loop device is to be had: open /dev/loop-control (is the module \"loop\" there?)");
    for (int i = 0; i < TRIES_MOST; i++) {
        int number = fault("loopdev.free", ENOSPC) ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0 || device_open(out, number) < 0)
            return err_set(err, E_UNAVAILABLE, "no loop device is free: %s; `losetup -a` lists those in use",
                           strerror(errno));
        if (device_configure(out, file, autoclear))
            return true;
        int why = errno;
        loopdev_close(out);
        errno = why;
        if (why != EBUSY)
            return err_errno(err, "attach a file to %s", out->path);
    }
    return err_set(err, E_UNAVAILABLE, "no loop device is free: each was taken by somebody else meanwhile");
}

bool loopdev_release(int device, struct err *err)
{
    return ioctl(device, LOOP_CLR_FD, 0) == 0 || errno == ENXIO || err_errno(err, "release a loop device");
}

bool loopdev_resize(int device, struct err *err)
{
    return ioctl(device, LOOP_SET_CAPACITY, 0) == 0 || err_errno(err, "resize a loop device");
}

void loopdev_each(struct str below, void (*fn)(void *arg, const char *path, struct str file), void *arg)
{
    DIR *dir = opendir("/sys/block");
    for (struct dirent *e; dir && (e = readdir(dir));) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(8192);
        struct err ignored = ERR; /* one that went meanwhile, or is free */
        char path[300];
        int64_t number;
        (void)snprintf(path, sizeof path, "/sys/block/%s/loop/backing_file", e->d_name);
        if (!number_of(e->d_name, &number) || !file_read(AT_FDCWD, path, &b, &ignored) ||
            !str_starts(strbuf_str(&b), below))
            continue;
        (void)snprintf(path, sizeof path, "/dev/loop%d", (int)number);
        fn(arg, path, str_trim(strbuf_str(&b)));
    }
    if (dir)
        (void)closedir(dir);
}
