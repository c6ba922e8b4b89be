#include "node/ownership.h"
#include "base/array.h"
#include "base/fault.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define FILE_BITS   0660
#define FOLDER_BITS (0770 | S_ISGID)

/* Folders that are still to be walked, by their paths below the root. */
struct ownership_walk {
    int root;
    gid_t group;
    ARRAY(char *) folders;
};

static void walk_fini(struct ownership_walk *w)
{
    array_each (f, &w->folders)
        mem_free(*f);
    array_fini(&w->folders);
}
AUTO_VALUE(walk_fini, struct ownership_walk);

static bool bits_differ(const struct stat *st, mode_t bits)
{
    return (st->st_mode & bits) != bits;
}

/* What a descriptor of O_PATH is: the name may mean something else by now. */
static bool one_give(int fd, gid_t group, const struct stat *st, struct err *err)
{
    mode_t bits = S_ISDIR(st->st_mode) ? FOLDER_BITS : FILE_BITS;
    char own[40];
    (void)snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    if (st->st_gid != group &&
        (fault("volume.group", EPERM) || fchownat(fd, "", (uid_t)-1, group, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0))
        return err_errno(err, "chown");
    /* giving it away takes setuid and setgid bits from it, as it does for everybody */
    if (S_ISLNK(st->st_mode) || !bits_differ(st, bits))
        return true;
    return chmod(own, (st->st_mode | bits) & 07777) == 0 || err_errno(err, "chmod");
}

static bool entry_give(struct ownership_walk *w, int dir, const char *folder, const char *name, struct err *err)
{
    struct stat st;
    AUTO(fd_close) int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return errno == ENOENT || err_errno(err, "open %s", name); /* removed meanwhile */
    if (!one_give(fd, w->group, &st, err))
        return err_wrap(err, "%s/%s", folder, name);
    if (!S_ISDIR(st.st_mode))
        return true;
    size_t n = strlen(folder) + strlen(name) + 2;
    char *path = mem_alloc(n);
    (void)snprintf(path, n, "%s%s%s", folder, folder[0] ? "/" : "", name);
    array_push(&w->folders, path);
    return true;
}

static bool folder_give(struct ownership_walk *w, const char *folder, struct err *err)
{
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
    int fd = (int)syscall(SYS_openat2, w->root, folder[0] ? folder : ".", &how, sizeof how);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int why = errno;
        fd_close(fd);
        errno = why;
        /* it is another one by now, or something else is mounted there */
        return why == ENOENT || why == ELOOP || why == EXDEV || why == ENOTDIR || err_errno(err, "open %s", folder);
    }
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            ok = entry_give(w, dirfd(dir), folder, e->d_name, err);
    (void)closedir(dir);
    return ok;
}

bool ownership_give(int root, gid_t group, bool unless_root, struct err *err)
{
    AUTO(walk_fini) struct ownership_walk w = {.root = root, .group = group};
    struct stat st;
    if (fstat(root, &st) < 0)
        return err_errno(err, "look at the volume");
    if (unless_root && st.st_gid == group && !bits_differ(&st, FOLDER_BITS))
        return true;
    array_push(&w.folders, mem_dupz(""));
    while (w.folders.n) {
        AUTO_FREE char *folder = w.folders.p[--w.folders.n];
        if (!folder_give(&w, folder, err))
            return false;
    }
    /* last: that the root is the group's says that all of it is (OnRootMismatch) */
    AUTO(fd_close) int own = openat(root, ".", O_PATH | O_CLOEXEC);
    return own < 0 ? err_errno(err, "look at the volume") : one_give(own, group, &st, err);
}
