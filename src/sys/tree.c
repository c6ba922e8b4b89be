#include "sys/tree.h"
#include "base/array.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

struct tree_walk {
    int root;
    tree_visit *visit;
    void *arg;
    ARRAY(char *) folders; /* still to be walked, by their paths below the root */
};

static void tree_walk_fini(struct tree_walk *t)
{
    array_each (f, &t->folders)
        mem_free(*f);
    array_fini(&t->folders);
}
AUTO_VALUE(tree_walk_fini, struct tree_walk);

static bool entry_visit(struct tree_walk *t, int dir, const char *folder, const char *name, struct err *err)
{
    struct stat st;
    AUTO(fd_close) int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return errno == ENOENT || err_errno(err, "open %s", name); /* removed meanwhile */
    if (!t->visit(t->arg, fd, &st, err))
        return err_wrap(err, "%s/%s", folder, name);
    if (!S_ISDIR(st.st_mode))
        return true;
    size_t n = strlen(folder) + strlen(name) + 2;
    char *path = mem_alloc(n);
    (void)snprintf(path, n, "%s%s%s", folder, folder[0] ? "/" : "", name);
    array_push(&t->folders, path);
    return true;
}

static bool folder_visit(struct tree_walk *t, const char *folder, struct err *err)
{
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
    int fd = (int)syscall(SYS_openat2, t->root, folder[0] ? folder : ".", &how, sizeof how);
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
            ok = entry_visit(t, dirfd(dir), folder, e->d_name, err);
    (void)closedir(dir);
    return ok;
}

bool tree_each(int root, tree_visit *visit, void *arg, struct err *err)
{
    AUTO(tree_walk_fini) struct tree_walk t = {.root = root, .visit = visit, .arg = arg};
    struct stat st;
    if (fstat(root, &st) < 0)
        return err_errno(err, "look at it");
    if (S_ISDIR(st.st_mode))
        array_push(&t.folders, mem_dupz(""));
    while (t.folders.n) {
        AUTO_FREE char *folder = t.folders.p[--t.folders.n];
        if (!folder_visit(&t, folder, err))
            return false;
    }
    return visit(arg, root, &st, err);
}
