/* unpack_job.c - layers into folders, and what makes an image of them.
 *
 * A layer is walked once, in its order (entry_unpack). Every path is opened below the layer's folder by the kernel
 * (openat2, RESOLVE_IN_ROOT), so neither ".." nor a link leaves it; the parent that was opened last is kept, as
 * archives list folder by folder. Whiteouts become what overlayfs wants. Times of folders are set at the end, as
 * every entry below would change them again.
 */
#include "base/fault.h"
#include "oci/unpack_int.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define XATTR_MAX 65536
#define TIMES_MAX (64 << 20) /* bytes of names of folders whose times are set; others have the time of unpacking */

/* ---- paths ---- */

struct unpack {
    int root;
    char parent_path[4096]; /* the folder that was used last */
    int parent;
    int64_t entries;
    const struct unpack_limits *limits;
    ARRAY(struct late {
        char *path;
        struct timespec at;
    })
    folders;     /* their times are set at the end */
    size_t held; /* bytes of that list */
};

static int open_inside(int root, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

/* Makes what is missing of a path of folders; each step is resolved inside the root. */
static int folders_make(int root, char *path)
{
    int at = dup(root);
    for (char *part = path, *end = path; at >= 0 && *end; part = end + 1) {
        end = part + strcspn(part, "/");
        char keep = *end;
        *end = 0;
        int next = open_inside(root, path, O_RDONLY | O_DIRECTORY);
        if (next < 0 && errno == ENOENT && mkdirat(at, part, 0755) == 0)
            next = openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        fd_close(at);
        at = next;
        *end = keep;
    }
    return at;
}

/* The folder of `path` (made where missing), and its last part. The descriptor stays the unpack's. */
static int parent_of(struct unpack *u, char *path, char **name, struct err *err)
{
    char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    if (!slash)
        return u->root;
    *slash = 0;
    if (u->parent >= 0 && strcmp(u->parent_path, path) == 0)
        return *slash = '/', u->parent;
    int fd = open_inside(u->root, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0 && errno == ENOENT)
        fd = folders_make(u->root, path);
    if (fd < 0) {
        err_errno(err, "the folder of entry \"%.300s/%.200s\"", path, slash + 1);
        *slash = '/';
        return -1;
    }
    fd_close(u->parent);
    u->parent = fd;
    (void)snprintf(u->parent_path, sizeof u->parent_path, "%s", path);
    *slash = '/';
    return fd;
}

static void forget_parent(struct unpack *u)
{
    fd_close(u->parent);
    u->parent = -1;
}

/* ---- entries ---- */

static bool times_set(int at, const char *name, struct archive_entry *e)
{
    const struct timespec t[2] = {{archive_entry_mtime(e), archive_entry_mtime_nsec(e)},
                                  {archive_entry_mtime(e), archive_entry_mtime_nsec(e)}};
    return utimensat(at, name, t, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool xattrs_set(int fd, struct archive_entry *e, struct err *err)
{
    const char *name;
    const void *value;
    size_t n;
    (void)archive_entry_xattr_reset(e);
    while (archive_entry_xattr_next(e, &name, &value, &n) == ARCHIVE_OK) {
        struct str s = str_of(name);
        if (str_starts(s, S("user.overlay.")) || str_starts(s, S("trusted.")))
            return err_set(err, E_INVALID, "attribute %s belongs to overlayfs or the system; layers may not set it",
                           name);
        /* labels of another host's security module mean nothing here */
        if (!str_starts(s, S("user.")) && !str_eqz(s, "security.capability"))
            continue;
        if (n > XATTR_MAX || fsetxattr(fd, name, value, n, 0) < 0)
            return err_errno(err, "attribute %s", name);
    }
    return true;
}

static bool data_write(struct archive *a, const struct unpack_source *s, struct archive_entry *e, int fd,
                       struct err *err)
{
    const void *p;
    size_t n;
    la_int64_t at;
    int rc;
    while ((rc = archive_read_data_block(a, &p, &n, &at)) == ARCHIVE_OK)
        for (const char *from = p; n;) {
            ssize_t done = fault("unpack.write", ENOSPC) ? -1 : pwrite(fd, from, n, at);
            if (done < 0 && errno == EINTR)
                continue;
            if (done < 0)
                return err_errno(err, "write");
            from += done;
            at += done;
            n -= (size_t)done;
        }
    if (rc != ARCHIVE_EOF)
        return archive_failed(a, s, err);
    /* sparse files may end in a hole */
    if (archive_entry_size(e) > 0 && ftruncate(fd, archive_entry_size(e)) < 0)
        return err_errno(err, "truncate");
    return true;
}

/* Owner first (that takes setuid bits away), then mode, attributes, time. */
static bool attributes_set(int fd, struct archive_entry *e, bool times, struct err *err)
{
    struct timespec t[2] = {{archive_entry_mtime(e), archive_entry_mtime_nsec(e)},
                            {archive_entry_mtime(e), archive_entry_mtime_nsec(e)}};
    if (fchown(fd, (uid_t)archive_entry_uid(e), (gid_t)archive_entry_gid(e)) < 0 ||
        fchmod(fd, archive_entry_perm(e)) < 0)
        return err_errno(err, "owner and mode");
    return xattrs_set(fd, e, err) && (!times || futimens(fd, t) == 0 || err_errno(err, "time"));
}

static bool is_whiteout(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

static bool opaque_set(int fd, struct err *err)
{
    return fsetxattr(fd, "user.overlay.opaque", "y", 1, 0) == 0 ||
           err_errno(err, "opaque folder: the file system of the image store must have user attributes");
}

static bool whiteout_make(int at, const char *name, struct err *err)
{
    struct stat st;
    if (strcmp(name, ".wh..opq") == 0)
        return opaque_set(at, err);
    if (strncmp(name, ".wh.", 4) == 0) /* ".wh..wh.plnk" and the like: of AUFS itself, mean nothing */
        return true;
    if (!*name)
        return err_set(err, E_INVALID, "a whiteout without a name");
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) /* the folder itself, or one that is not this layer's */
        return err_set(err, E_INVALID, "a whiteout of \"%s\", which is no file's name", name);
    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        /* it hides what lies below, not what this layer brings itself: a folder then hides all of below */
        if (!S_ISDIR(st.st_mode))
            return true;
        AUTO(fd_close) int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd >= 0 ? opaque_set(fd, err) : err_errno(err, "open");
    }
    return mknodat(at, name, S_IFCHR, makedev(0, 0)) == 0 || err_errno(err, "whiteout");
}

static bool hardlink_make(struct unpack *u, struct archive_entry *e, int at, const char *name, struct err *err)
{
    char target[4096];
    if (!archive_path(str_of(archive_entry_hardlink(e)), target, err))
        return err_wrap(err, "hard link");
    char *slash = strrchr(target, '/');
    AUTO(fd_close) int dir = -1;
    if (slash) {
        *slash = 0;
        dir = open_inside(u->root, target, O_RDONLY | O_DIRECTORY);
        *slash = '/';
    } else {
        dir = dup(u->root);
    }
    struct stat st;
    const char *last = slash ? slash + 1 : target;
    if (dir < 0 || !*last || fstatat(dir, last, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(st.st_mode) ||
        is_whiteout(&st))
        return err_set(err, E_INVALID, "hard link to \"%.300s\", which is not in this layer", target);
    return linkat(dir, last, at, name, 0) == 0 || err_errno(err, "hard link to \"%.300s\"", target);
}

static bool folder_make(struct unpack *u, struct archive_entry *e, int at, const char *name, const char *path,
                        struct err *err)
{
    struct stat st;
    bool was = fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0, hidden = was && is_whiteout(&st);
    if (was && !S_ISDIR(st.st_mode)) {
        if (!tree_remove(at, name, err))
            return false;
        was = false;
    }
    if (!was && mkdirat(at, name, 0700) < 0)
        return err_errno(err, "mkdir");
    AUTO(fd_close) int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "open");
    if (!attributes_set(fd, e, false, err) || (hidden && !opaque_set(fd, err)))
        return false;
    u->held += sizeof(struct late) + strlen(path);
    if (u->held > TIMES_MAX)
        return true;
    struct late late = {mem_dupz(path), {archive_entry_mtime(e), archive_entry_mtime_nsec(e)}};
    array_push(&u->folders, late);
    return true;
}

static bool node_make(struct archive *a, const struct unpack_source *s, struct archive_entry *e, int at,
                      const char *name, struct err *err)
{
    mode_t type = archive_entry_filetype(e);
    uid_t uid = (uid_t)archive_entry_uid(e);
    gid_t gid = (gid_t)archive_entry_gid(e);
    switch (type) {
    case AE_IFREG: {
        AUTO(fd_close) int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
            return err_errno(err, "create");
        return data_write(a, s, e, fd, err) && attributes_set(fd, e, true, err);
    }
    case AE_IFLNK:
        if (!archive_entry_symlink(e))
            return err_set(err, E_INVALID, "a link without a target");
        if (symlinkat(archive_entry_symlink(e), at, name) < 0 ||
            fchownat(at, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
            return err_errno(err, "link");
        return times_set(at, name, e) || err_errno(err, "time");
    case AE_IFCHR:
    case AE_IFBLK:
    case AE_IFIFO: {
        dev_t dev = type == AE_IFIFO ? 0 : makedev(archive_entry_rdevmajor(e), archive_entry_rdevminor(e));
        if (type == AE_IFCHR && dev == 0)
            return err_set(err, E_INVALID,
                           "device 0:0 is overlayfs's own way to hide a file; layers may not have it");
        if (mknodat(at, name, type | 0600, dev) < 0) {
            /* without the right to make devices (a user namespace): /dev is mounted over in every container */
            if (errno == EPERM && type != AE_IFIFO)
                return true;
            return err_errno(err, "device");
        }
        if (fchownat(at, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 || fchmodat(at, name, archive_entry_perm(e), 0) < 0)
            return err_errno(err, "owner and mode");
        return times_set(at, name, e) || err_errno(err, "time");
    }
    default: return err_set(err, E_INVALID, "a kind of file that layers cannot have (%o)", (unsigned)type);
    }
}

static bool entry_unpack(void *arg, struct archive *a, const struct unpack_source *s, struct archive_entry *e,
                         const char *raw, struct err *err)
{
    struct unpack *u = arg;
    char path[4096], *name;
    if (++u->entries > u->limits->entries)
        return err_set(err, E_TOO_LARGE, "more than %lld entries", (long long)u->limits->entries);
    if (!archive_path(str_of(raw), path, err))
        return false;
    if (!path[0]) {
        if (archive_entry_filetype(e) != AE_IFDIR)
            return err_set(err, E_INVALID, "the root must be a folder");
        return attributes_set(u->root, e, true, err);
    }
    int at = parent_of(u, path, &name, err);
    if (at < 0)
        return false;
    if (strncmp(name, ".wh.", 4) == 0)
        return whiteout_make(at, name + 4, err);
    if (archive_entry_filetype(e) == AE_IFDIR && !archive_entry_hardlink(e))
        return folder_make(u, e, at, name, path, err);
    struct stat st;
    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0) { /* the later entry wins */
        if (S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode))     /* the folder used last may lie behind it */
            u->parent_path[0] = '/', u->parent_path[1] = 0;
        if (!tree_remove(at, name, err))
            return false;
    }
    if (archive_entry_hardlink(e))
        return hardlink_make(u, e, at, name, err);
    return node_make(a, s, e, at, name, err);
}

bool layer_unpack(int blob, int into, const struct digest *diff_id, const struct unpack_limits *limits,
                  struct err *err)
{
    AUTO_FREE struct unpack_source *s = NEW(struct unpack_source);
    source_init(s, blob, limits->bytes);
    struct unpack u = {.root = into, .parent = -1, .limits = limits};
    bool ok = archive_each(s, entry_unpack, &u, err);
    const void *rest; /* padding after the end is part of what the digest covers */
    ssize_t n = 0;
    while (ok && (n = source_read(s, &rest)) > 0) {
    }
    if (ok && n < 0)
        ok = (*err = s->err, false);
    struct digest have = digest_end(&s->sum);
    if (ok && !digest_eq(&have, diff_id))
        ok = err_set(err, E_INVALID, "the layer unpacks to sha256:%s, its config says sha256:%s", have.hex,
                     diff_id->hex);
    for (size_t i = u.folders.n; i-- > 0;) { /* innermost last made: their times are not touched any more */
        struct late *l = &u.folders.p[i];
        AUTO(fd_close) int fd = ok ? open_inside(into, l->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) : -1;
        const struct timespec t[2] = {l->at, l->at};
        if (fd >= 0)
            (void)futimens(fd, t);
        mem_free(l->path);
    }
    array_fini(&u.folders);
    forget_parent(&u);
    source_fini(s);
    return ok;
}

/* ---- images ---- */

static bool layer_bring(struct content *c, const struct digest *blob, const struct digest *diff_id,
                        const struct unpack_limits *limits, char tmp[80], struct err *err)
{
    AUTO(fd_close) int from = content_blob_open(c, blob, err);
    if (from < 0)
        return false;
    AUTO(fd_close) int into = content_layer_tmp(c, tmp, err);
    if (into < 0)
        return false;
    if (layer_unpack(from, into, diff_id, limits, err))
        return true;
    content_tmp_remove(c, tmp);
    return err_wrap(err, "layer sha256:%s", blob->hex);
}

/* A file of the whole image: of the upmost layer that has it (or hides it). */
static struct str file_of(struct content *c, const struct image *im, const char *path, struct arena *a)
{
    for (size_t i = im->nlayers; i-- > 0;) {
        char dir[100];
        struct stat st;
        (void)snprintf(dir, sizeof dir, "layers/%s", im->layers[i].hex);
        AUTO(fd_close) int root = openat(c->fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        AUTO(fd_close) int probe = root < 0 ? -1 : open_inside(root, path, O_PATH);
        if (probe < 0 || fstat(probe, &st) < 0)
            continue;
        if (!S_ISREG(st.st_mode))
            return S("");
        AUTO(fd_close) int fd = open_inside(root, path, O_RDONLY | O_NONBLOCK);
        AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
        char buf[4096];
        for (ssize_t n; fd >= 0 && (n = read(fd, buf, sizeof buf)) > 0;)
            strbuf_add(&b, (struct str){buf, (size_t)n});
        return str_dup(a, strbuf_str(&b));
    }
    return S("");
}

bool image_finish(struct content *c, const struct digest *manifest, const struct unpack_limits *limits,
                  struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini)
    struct strbuf text = STRBUF(CONTENT_MANIFEST_MAX + 65536), config = STRBUF(CONTENT_MANIFEST_MAX + 65536);
    struct manifest m;
    struct image im = {.manifest = *manifest};
    struct digest *diff_ids;
    size_t n;
    if (!content_blob_read(c, manifest, CONTENT_MANIFEST_MAX, &text, err) ||
        !manifest_decode(&a, strbuf_str(&text), &m, err))
        return false;
    if (m.index)
        return err_set(err, E_INVALID, "manifest sha256:%s is an index, an image was wanted", manifest->hex);
    if (!content_blob_read(c, &m.config.digest, CONTENT_MANIFEST_MAX, &config, err) ||
        !config_decode(&a, strbuf_str(&config), &im, &diff_ids, &n, err))
        return false;
    if (n != m.n)
        return err_set(err, E_INVALID, "the manifest has %zu layers, the config %zu", m.n, n);
    im.config = m.config.digest;
    im.layers = arena_alloc(&a, (n + 1) * sizeof *im.layers);
    im.nlayers = n;
    im.blobs = arena_alloc(&a, (n + 2) * sizeof *im.blobs);
    im.blobs[im.nblobs++] = *manifest;
    im.blobs[im.nblobs++] = im.config;
    im.size = (int64_t)text.n + (int64_t)config.n;
    char(*tmp)[80] = arena_alloc(&a, (n + 1) * sizeof *tmp);
    bool ok = true, any = false;
    for (size_t i = 0; ok && i < n; i++) {
        im.layers[i] = diff_ids[i];
        if (i) { /* image-spec, config.md, "Layer ChainID" */
            struct str both = arena_fmt(&a, "sha256:%s sha256:%s", im.layers[i - 1].hex, diff_ids[i].hex);
            im.layers[i] = digest_of(both.p, both.n);
        }
        im.blobs[im.nblobs++] = m.list[i].digest;
        im.size += MAX(content_blob_size(c, &m.list[i].digest), 0);
        if (content_has_layer(c, &im.layers[i]))
            continue;
        ok = layer_bring(c, &m.list[i].digest, &diff_ids[i], limits, tmp[i], err);
        any = true;
    }
    /* everything is on disk before anything gets its name */
    if (ok && any && (fault("unpack.sync", EIO) || syncfs(c->fd) < 0))
        ok = err_errno(err, "sync %s", c->dir);
    for (size_t i = 0; i < n; i++) {
        if (tmp[i][0] && ok)
            ok = content_layer_commit(c, tmp[i], &im.layers[i], err);
        else if (tmp[i][0])
            content_tmp_remove(c, tmp[i]);
    }
    if (!ok)
        return false;
    accounts_decode(&a, file_of(c, &im, "etc/passwd", &a), file_of(c, &im, "etc/group", &a), &im);
    AUTO(strbuf_fini) struct strbuf record = STRBUF(IMAGE_RECORD_MAX);
    char path[100];
    image_encode(&im, &record);
    if (record.over)
        return err_set(err, E_TOO_LARGE, "the image's configuration is over %d bytes", IMAGE_RECORD_MAX);
    (void)snprintf(path, sizeof path, "images/%s", manifest->hex);
    return content_file_put(c, path, strbuf_str(&record), err);
}
