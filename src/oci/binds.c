#include "oci/binds.h"
#include "base/fault.h"
#include "base/log.h"
#include "sys/mount.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define RENAMES_MOST 1000 /* looks at a path in which somebody keeps renaming */

static int open_beneath(int root, const char *path)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd = -1;
    for (int i = 0; i < RENAMES_MOST && fd < 0 && (i == 0 || errno == EAGAIN); i++)
        fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    return fd;
}

/* Folder by folder; each is opened from the root again, so that links are followed as they will be. The mode is given
 * at birth (no umask is in force): by its name the next call might reach another. */
static bool make_beneath(int root, const char *path, mode_t mode)
{
    AUTO_FREE char *part = str_dupz(str_of(path));
    char *at = part;
    AUTO(fd_close) int parent = fcntl(root, F_DUPFD_CLOEXEC, 0);
    for (;;) {
        char *slash = strchr(at, '/');
        if (slash)
            *slash = 0;
        if (*at && mkdirat(parent, at, mode & 03777) < 0 && errno != EEXIST)
            return false;
        if (!slash)
            return true;
        fd_close(parent);
        parent = open_beneath(root, part);
        if (parent < 0)
            return false;
        *slash = '/';
        at = slash + 1;
    }
}

/* As a kubelet words it; what was met on the host is for its owner. */
static bool bind_refuse(const struct oci_bind *b, const char *what, struct err *err)
{
    log_warn("bind.refused", "root=" STR_FMT " beneath=\"" STR_FMT "\" error=\"%s\"", STR_ARG(b->root),
             STR_ARG(b->beneath), strerror(errno));
    return err_set(err, E_INVALID, "failed to %s for " STR_FMT, what, STR_ARG(b->called));
}

static int bind_resolve(const struct oci_bind *b, struct err *err)
{
    AUTO_FREE char *path = str_dupz(b->root), *inside = str_dupz(b->beneath);
    struct stat st;
    AUTO(fd_close) int root = open(path, O_PATH | O_CLOEXEC);
    if (root < 0 || fstat(root, &st) < 0)
        return err_errno(err, "open %s", path), -1;
    if (!inside[0])
        return TAKE_FD(root);
    AUTO(fd_close) int fd = open_beneath(root, inside);
    if (fd < 0 && errno == ENOENT) {
        if (!make_beneath(root, inside, st.st_mode))
            return bind_refuse(b, "create subPath directory", err), -1;
        fd = open_beneath(root, inside);
    }
    if (fd < 0)
        bind_refuse(b, "prepare subPath", err);
    return TAKE_FD(fd);
}

static bool is_folder(const struct oci_inner *in, const char *called, bool *folder, struct err *err)
{
    struct stat st;
    const struct oci_bind b = {.root = in->root, .beneath = in->beneath, .called = str_of(called)};
    AUTO(fd_close) int fd = in->root.n ? bind_resolve(&b, err) : -1;
    *folder = true;
    if (in->root.n && (fd < 0 || fstat(fd, &st) < 0))
        return false;
    *folder = !in->root.n || S_ISDIR(st.st_mode);
    return true;
}

static bool make_file(int root, const char *path)
{
    AUTO_FREE char *folder = mem_dupz(path);
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = 0;
    if (slash && !make_beneath(root, folder, 0755))
        return false;
    AUTO(fd_close) int at = slash ? open_beneath(root, folder) : fcntl(root, F_DUPFD_CLOEXEC, 0);
    AUTO(fd_close)
    int fd = at < 0 ? -1 : openat(at, slash ? slash + 1 : path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    return fd >= 0;
}

static bool make_inner(int fd, const struct oci_bind *b, struct err *err)
{
    for (size_t i = 0; i < b->ninner; i++) {
        bool folder;
        AUTO_FREE char *path = str_dupz(b->inner[i].path), *called = str_dupz(b->called);
        AUTO(fd_close) int there = open_beneath(fd, path);
        if (there >= 0)
            continue;
        if (!is_folder(&b->inner[i], called, &folder, err))
            return false;
        if (!(folder ? make_beneath(fd, path, 0755) : make_file(fd, path)))
            return err_errno(err, "make %s in " STR_FMT ", for what is mounted there", path, STR_ARG(b->root));
    }
    return true;
}

static bool bind_seal(int tree, const struct oci_bind *b, struct err *err)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    unsigned deep = b->seal == OCI_SEALED_DEEP ? AT_RECURSIVE : 0;
    return b->seal == OCI_OPEN || mount_setattr(tree, "", AT_EMPTY_PATH | deep, &attr, sizeof attr) == 0 ||
           err_errno(err, "make " STR_FMT " read-only", STR_ARG(b->root));
}

/* In the words that runtimes have for it. */
static bool bind_map_ids(int tree, int users, const struct oci_bind *b, struct err *err)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)users};
    if (!b->ids || mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof attr) == 0)
        return true;
    return err_set(err, E_INVALID,
                   "failed to set MOUNT_ATTR_IDMAP on " STR_FMT
                   ": %s (maybe the filesystem used doesn't support idmap mounts on this kernel?)",
                   STR_ARG(b->called.n ? b->called : b->root), strerror(errno));
}

/* What was resolved, as a mount that is nowhere yet. */
static int bind_take(const struct oci_bind *b, int users, struct err *err)
{
    AUTO(fd_close) int fd = bind_resolve(b, err);
    if (fd < 0)
        return -1;
    if (b->shared && !mount_is_shared(fd))
        return err_set(err, E_INVALID,
                       "path \"" STR_FMT "\" is not on a shared mount: mount --make-rshared / on the node",
                       STR_ARG(b->root)),
               -1;
    if (!make_inner(fd, b, err))
        return -1;
    AUTO(fd_close)
    int tree = fault("binds.take", EIO)
                   ? -1
                   : open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    if (tree < 0)
        return err_errno(err, "take " STR_FMT " for a mount", STR_ARG(b->root)), -1;
    return bind_map_ids(tree, users, b, err) && bind_seal(tree, b, err) ? TAKE_FD(tree) : -1;
}

static bool bind_put(int tree, const char *folder, size_t i, struct err *err)
{
    char place[PATH_MAX];
    struct stat st;
    (void)snprintf(place, sizeof place, "%s/%zu", folder, i);
    if (fstat(tree, &st) < 0)
        return err_errno(err, "mount at %s", place);
    AUTO(fd_close) int file = -1;
    if (S_ISDIR(st.st_mode) ? mkdir(place, 0711) < 0
                            : (file = open(place, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        return err_errno(err, "make %s", place);
    if (fault("binds.put", EIO) || move_mount(tree, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return err_errno(err, "mount at %s", place);
    return true;
}

struct binds {
    int users;
    const char *folder;
    const struct oci_bind *list;
    int *trees; /* taken before, on this side; -1: to be taken there */
    size_t n;
};

static bool put_all(void *arg, struct err *err)
{
    const struct binds *b = arg;
    for (size_t i = 0; i < b->n; i++) {
        if (b->trees[i] < 0)
            b->trees[i] = bind_take(&b->list[i], b->users, err);
        if (b->trees[i] < 0 || !bind_put(b->trees[i], b->folder, i, err))
            return false;
    }
    return true;
}

bool binds_attach(int mntns, int users, const char *folder, const struct oci_bind *list, size_t n, struct err *err)
{
    AUTO_FREE int *trees = mem_alloc((n + 1) * sizeof *trees);
    struct binds b = {users, folder, list, trees, n};
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        trees[i] = ok && list[i].shared ? bind_take(&list[i], users, err) : -1;
        ok = ok && (!list[i].shared || trees[i] >= 0);
    }
    if (ok && mkdir(folder, 0711) < 0)
        ok = err_errno(err, "mkdir %s", folder);
    ok = ok && mount_elsewhere(mntns, put_all, &b, err);
    for (size_t i = 0; i < n; i++)
        fd_close(trees[i]);
    return ok;
}
