#include "base/fault.h"
#include "base/map.h"
#include "oci/jsonout.h"
#include "oci/name.h"
#include "oci/unpack.h"
#include "sys/file.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <zlib.h>
#include <zstd.h>

#define BLOCK     65536
#define XATTR_MAX 65536
#define TIMES_MAX (64 << 20) /* bytes of names of folders whose times are set; others have the time of unpacking */

/* ---- a stream of bytes: plain, gzip or zstd by its first bytes; what comes out is summed ---- */

enum packing { PLAIN, GZIP, ZSTD };
struct unpack_source {
    int fd;
    enum packing packing;
    bool started, ended;
    z_stream gz;
    ZSTD_DStream *zstd;
    unsigned char in[BLOCK], out[BLOCK];
    size_t have, at; /* of in */
    struct sha256 sum;
    int64_t size, max;
    struct err err;
};

static void source_init(struct unpack_source *s, int fd, int64_t max)
{
    memset(s, 0, sizeof *s);
    s->fd = fd;
    s->max = max;
    sha256_init(&s->sum);
}

static void source_fini(struct unpack_source *s)
{
    if (s->packing == GZIP)
        (void)inflateEnd(&s->gz);
    if (s->zstd)
        ZSTD_freeDStream(s->zstd);
    sha256_fini(&s->sum);
}
AUTO_VALUE(source_fini, struct unpack_source);

static bool source_fill(struct unpack_source *s)
{
    if (s->at < s->have)
        return true;
    ssize_t n;
    do
        n = read(s->fd, s->in, sizeof s->in);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(&s->err, "read");
    s->at = 0;
    s->have = (size_t)n;
    return true;
}

static bool source_start(struct unpack_source *s)
{
    s->started = true;
    if (!source_fill(s))
        return false;
    if (s->have >= 2 && s->in[0] == 0x1f && s->in[1] == 0x8b) {
        if (inflateInit2(&s->gz, 16 + MAX_WBITS) != Z_OK)
            return err_set(&s->err, E_INTERNAL, "zlib");
        s->packing = GZIP;
    } else if (s->have >= 4 && memcmp(s->in, "\x28\xb5\x2f\xfd", 4) == 0) {
        s->packing = ZSTD;
        s->zstd = ZSTD_createDStream();
        ASSERT(s->zstd);
    }
    return true;
}

static ssize_t source_gunzip(struct unpack_source *s)
{
    s->gz.next_out = s->out;
    s->gz.avail_out = sizeof s->out;
    while (s->gz.avail_out == sizeof s->out) {
        if (!source_fill(s))
            return -1;
        if (s->have == 0)
            return s->ended ? 0 : (err_set(&s->err, E_INVALID, "gzip: the data end too early"), -1);
        if (s->ended) { /* several members one after the other are one stream; padding of zeros ends it */
            if (s->in[s->at] != 0x1f) {
                s->at = s->have;
                continue;
            }
            (void)inflateReset(&s->gz);
            s->ended = false;
        }
        s->gz.next_in = s->in + s->at;
        s->gz.avail_in = (unsigned)(s->have - s->at);
        int rc = inflate(&s->gz, Z_NO_FLUSH);
        s->at = s->have - s->gz.avail_in;
        if (rc == Z_STREAM_END)
            s->ended = true;
        else if (rc != Z_OK && rc != Z_BUF_ERROR)
            return err_set(&s->err, E_INVALID, "gzip: %s", s->gz.msg ? s->gz.msg : "the data are damaged"), -1;
    }
    return (ssize_t)(sizeof s->out - s->gz.avail_out);
}

static ssize_t source_unzstd(struct unpack_source *s)
{
    ZSTD_outBuffer out = {s->out, sizeof s->out, 0};
    while (out.pos == 0) {
        if (!source_fill(s))
            return -1;
        if (s->have == 0)
            return s->ended ? 0 : (err_set(&s->err, E_INVALID, "zstd: the data end too early"), -1);
        ZSTD_inBuffer in = {s->in, s->have, s->at};
        size_t rc = ZSTD_decompressStream(s->zstd, &out, &in);
        s->at = in.pos;
        if (ZSTD_isError(rc))
            return err_set(&s->err, E_INVALID, "zstd: %s", ZSTD_getErrorName(rc)), -1;
        s->ended = rc == 0;
    }
    return (ssize_t)out.pos;
}

static ssize_t source_read(struct unpack_source *s, const void **p)
{
    if (!s->started && !source_start(s))
        return -1;
    ssize_t n = 0;
    *p = s->out;
    switch (s->packing) {
    case PLAIN:
        if (!source_fill(s))
            return -1;
        n = (ssize_t)(s->have - s->at);
        *p = s->in + s->at;
        s->at = s->have;
        break;
    case GZIP: n = source_gunzip(s); break;
    case ZSTD: n = source_unzstd(s); break;
    }
    if (n > 0) {
        sha256_add(&s->sum, (struct str){*p, (size_t)n});
        s->size += n;
        if (s->size > s->max)
            return err_set(&s->err, E_TOO_LARGE, "over %lld bytes unpacked", (long long)s->max), -1;
    }
    return n;
}

static la_ssize_t archive_more(struct archive *a, void *arg, const void **p)
{
    struct unpack_source *s = arg;
    ssize_t n = source_read(s, p);
    if (n < 0)
        archive_set_error(a, EINVAL, "%s", s->err.text);
    return n;
}

static void auto_archive(struct archive **a)
{
    if (*a)
        (void)archive_read_free(*a);
}

static struct archive *archive_begin(struct unpack_source *s, struct err *err)
{
    struct archive *a = archive_read_new();
    ASSERT(a);
    (void)archive_read_support_format_tar(a);
    (void)archive_read_support_format_empty(a);
    if (archive_read_open(a, s, NULL, archive_more, NULL) != ARCHIVE_OK) {
        err_set(err, E_INVALID, "not a tar archive: %s", archive_error_string(a));
        (void)archive_read_free(a);
        return NULL;
    }
    return a;
}

static bool archive_failed(struct archive *a, const struct unpack_source *s, struct err *err)
{
    if (s->err.kind)
        return *err = s->err, false;
    const char *why = archive_error_string(a);
    return err_set(err, E_INVALID, "tar: %s", why ? why : "the archive is damaged");
}

/* Every entry of the archive, in order. False: `take` said so, or it is none or damaged. */
static bool archive_each(struct unpack_source *s,
                         bool (*take)(void *arg, struct archive *a, const struct unpack_source *s,
                                      struct archive_entry *e, const char *raw, struct err *err),
                         void *arg, struct err *err)
{
    __attribute__((cleanup(auto_archive))) struct archive *a = archive_begin(s, err);
    struct archive_entry *e;
    int rc = ARCHIVE_EOF;
    if (!a) {
        if (s->err.kind) /* it could not be read: that says more */
            *err = s->err;
        return false;
    }
    while ((rc = archive_read_next_header(a, &e)) >= ARCHIVE_WARN && rc != ARCHIVE_EOF) {
        const char *raw = archive_entry_pathname(e);
        if (!raw)
            return err_set(err, E_INVALID, "an entry whose name is not UTF-8");
        if (!take(arg, a, s, e, raw, err))
            return err_wrap(err, "\"%.300s\"", raw);
    }
    return rc == ARCHIVE_EOF || archive_failed(a, s, err);
}

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

/* "./a//b/" -> "a/b"; "" is the root. Refuses ".." and what is too long: the rest is the kernel's to confine. */
static bool path_clean(struct str path, char out[4096], struct err *err)
{
    size_t n = 0;
    struct str part, rest = path;
    out[0] = 0;
    while (str_cut(&rest, '/', &part)) {
        if (!part.n || str_eqz(part, "."))
            continue;
        if (str_eqz(part, ".."))
            return err_set(err, E_INVALID, "entry \"" STR_FMT "\" has \"..\" in its path",
                           STR_ARG(str_sub(path, 0, 300)));
        if (n + part.n + 2 > 4096 || part.n > 255)
            return err_set(err, E_INVALID, "entry \"" STR_FMT "...\": the path is too long",
                           STR_ARG(str_sub(path, 0, 200)));
        if (n)
            out[n++] = '/';
        memcpy(out + n, part.p, part.n);
        n += part.n;
        out[n] = 0;
    }
    return true;
}

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
    if (!path_clean(str_of(archive_entry_hardlink(e)), target, err))
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
    if (!path_clean(str_of(raw), path, err))
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

/* ---- archives ---- */

struct loading {
    struct content *c;
    struct arena *a;
    struct map files; /* path -> struct digest * of what was no blob by its name */
    struct map links; /* path -> target text: docker-archives link equal layers */
    struct str index, docker;
    int64_t entries;
};

static bool data_ingest(struct loading *l, struct archive *a, const struct unpack_source *s,
                        const struct digest *want, struct digest *got, struct err *err)
{
    struct ingest in;
    const void *p;
    size_t n;
    la_int64_t at;
    int rc;
    if (!ingest_begin(l->c, &in, want, false, err))
        return false;
    while ((rc = archive_read_data_block(a, &p, &n, &at)) == ARCHIVE_OK) {
        if (at != in.size) {
            ingest_abort(&in);
            return err_set(err, E_INVALID, "sparse files cannot be blobs");
        }
        if (!ingest_write(&in, p, n, err)) {
            ingest_abort(&in);
            return false;
        }
    }
    if (rc != ARCHIVE_EOF) {
        ingest_abort(&in);
        return archive_failed(a, s, err);
    }
    return ingest_commit(&in, want, got, err);
}

static bool data_read(struct loading *l, struct archive *a, const struct unpack_source *s, struct str *out,
                      struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(CONTENT_MANIFEST_MAX);
    char buf[16384];
    la_ssize_t n;
    while ((n = archive_read_data(a, buf, sizeof buf)) > 0)
        strbuf_add(&b, (struct str){buf, (size_t)n});
    if (n < 0)
        return archive_failed(a, s, err);
    if (b.over)
        return err_set(err, E_TOO_LARGE, "over %d bytes", CONTENT_MANIFEST_MAX);
    *out = str_dup(l->a, strbuf_str(&b));
    return true;
}

static bool archive_entry_take(void *arg, struct archive *a, const struct unpack_source *s, struct archive_entry *e,
                               const char *raw, struct err *err)
{
    struct loading *l = arg;
    char path[4096];
    struct digest d;
    if (++l->entries > 20000)
        return err_set(err, E_TOO_LARGE, "more than 20000 files: not an image archive");
    if (!path_clean(str_of(raw), path, err))
        return false;
    struct str p = str_of(path);
    if (archive_entry_filetype(e) == AE_IFLNK && archive_entry_symlink(e)) {
        map_put(&l->links, p, arena_strz(l->a, str_of(archive_entry_symlink(e))));
        return true;
    }
    if (archive_entry_filetype(e) != AE_IFREG || archive_entry_hardlink(e))
        return true;
    if (str_eqz(p, "index.json"))
        return data_read(l, a, s, &l->index, err);
    if (str_eqz(p, "manifest.json"))
        return data_read(l, a, s, &l->docker, err);
    if (str_starts(p, S("blobs/sha256/"))) {
        struct str text = arena_fmt(l->a, "sha256:" STR_FMT, STR_ARG(str_sub(p, 13, p.n)));
        if (!digest_parse(text, &d, err))
            return false;
        if (!content_has_blob(l->c, &d) && !data_ingest(l, a, s, &d, NULL, err))
            return false;
        map_put(&l->files, p, arena_dup(l->a, &d, sizeof d));
        return true;
    }
    if (str_eqz(p, "oci-layout") || str_eqz(p, "repositories") || str_ends(p, S("/VERSION")) ||
        str_ends(p, S("/json")))
        return true;
    if (!data_ingest(l, a, s, NULL, &d, err))
        return false;
    map_put(&l->files, p, arena_dup(l->a, &d, sizeof d));
    return true;
}

/* What of an index is for this machine, through at most one index in the index. */
static bool index_pick(struct content *c, struct arena *a, const struct descriptor *d, struct digest *out,
                       struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(CONTENT_MANIFEST_MAX + 65536);
    struct manifest m;
    if (!content_blob_read(c, &d->digest, CONTENT_MANIFEST_MAX, &b, err) ||
        !manifest_decode(a, strbuf_str(&b), &m, err))
        return false;
    *out = d->digest;
    if (!m.index)
        return true;
    const struct descriptor *here = manifest_for_here(&m, err);
    if (!here)
        return false;
    *out = here->digest;
    return true;
}

static bool name_add(struct loading *l, struct str text, const struct digest *manifest, struct strs *names,
                     struct err *err)
{
    struct image_name n;
    if (names->n == 100)
        return err_set(err, E_TOO_LARGE, "more than 100 names");
    if (!image_name_parse(l->a, text, &n, err) || !content_ref_set(l->c, n.full, manifest, err))
        return false;
    names->p[names->n++] = n.full;
    return true;
}

static bool load_oci(struct loading *l, struct str name, struct strs *names, struct digest *manifest, struct err *err)
{
    struct manifest index;
    const struct unpack_limits limits = UNPACK_LIMITS;
    if (!manifest_decode(l->a, l->index, &index, err))
        return err_wrap(err, "index.json");
    if (!index.index || index.n == 0)
        return err_set(err, E_INVALID, "index.json: lists no image");
    bool any = false;
    for (size_t i = 0; i < index.n; i++) {
        const struct descriptor *d = &index.list[i];
        struct str called = d->full_name.n ? d->full_name : d->ref_name;
        if (name.n)
            called = str_find_char(d->ref_name, '/') < 0 && str_find_char(d->ref_name, ':') < 0 && d->ref_name.n &&
                             str_rfind_char(name, ':') <= str_rfind_char(name, '/')
                         ? arena_fmt(l->a, STR_FMT ":" STR_FMT, STR_ARG(name), STR_ARG(d->ref_name))
                         : name;
        /* entries for other machines, and attestations of builders */
        if ((d->os.n && !str_eqz(d->os, "linux")) || (d->arch.n && !str_eqz(d->arch, machine_arch())))
            continue;
        if (!index_pick(l->c, l->a, d, manifest, err) || !image_finish(l->c, manifest, &limits, err))
            return false;
        any = true;
        if (called.n && !name_add(l, called, manifest, names, err))
            return false;
    }
    if (!any)
        return err_set(err, E_NOT_FOUND, "no match for platform in manifest: nothing in the archive is for linux/%s",
                       machine_arch());
    if (!names->n)
        return err_set(err, E_INVALID, "the archive does not say what the image is called: give a name");
    return true;
}

static const struct digest *docker_file(struct loading *l, struct str path)
{
    char clean[4096];
    struct err ignored = ERR; /* a path that cannot be is not in the archive: the caller says so */
    if (!path_clean(path, clean, &ignored))
        return NULL;
    for (int hops = 0; hops < 5; hops++) {
        const struct digest *d = map_get(&l->files, str_of(clean));
        const char *link = map_get(&l->links, str_of(clean));
        if (d || !link)
            return d;
        /* "../OTHER/layer.tar", relative to the link's folder, which is one deep */
        struct str to = str_of(link);
        if (str_starts(to, S("../")))
            to = str_sub(to, 3, to.n);
        if (!path_clean(to, clean, &ignored))
            return NULL;
    }
    return NULL;
}

static bool load_docker(struct loading *l, struct str name, struct strs *names, struct digest *manifest,
                        struct err *err)
{
    struct docker_entry *list;
    size_t n;
    const struct unpack_limits limits = UNPACK_LIMITS;
    if (!docker_manifest_decode(l->a, l->docker, &list, &n, err))
        return false;
    if (n == 0)
        return err_set(err, E_INVALID, "manifest.json: lists no image");
    for (size_t i = 0; i < n; i++) {
        const struct digest *config = docker_file(l, list[i].config);
        if (!config)
            return err_set(err, E_INVALID, "manifest.json[%zu]: Config: \"" STR_FMT "\" is not in the archive", i,
                           STR_ARG(list[i].config));
        AUTO(strbuf_fini) struct strbuf b = STRBUF(CONTENT_MANIFEST_MAX);
        jout_open(&b, '{');
        jout_key(&b, "schemaVersion");
        jout_num(&b, 2);
        jout_field(&b, "mediaType", S(MEDIA_OCI_MANIFEST));
        jout_key(&b, "config");
        jout_open(&b, '{');
        jout_field(&b, "mediaType", S(MEDIA_OCI_CONFIG));
        jout_field(&b, "digest", arena_fmt(l->a, "sha256:%s", config->hex));
        jout_key(&b, "size");
        jout_num(&b, content_blob_size(l->c, config));
        jout_close(&b, '}');
        jout_key(&b, "layers");
        jout_open(&b, '[');
        for (size_t k = 0; k < list[i].layers.n; k++) {
            const struct digest *layer = docker_file(l, list[i].layers.p[k]);
            if (!layer)
                return err_set(err, E_INVALID,
                               "manifest.json[%zu]: Layers[%zu]: \"" STR_FMT "\" is not in the archive", i, k,
                               STR_ARG(list[i].layers.p[k]));
            jout_open(&b, '{');
            jout_field(&b, "mediaType", S(MEDIA_OCI_LAYER));
            jout_field(&b, "digest", arena_fmt(l->a, "sha256:%s", layer->hex));
            jout_key(&b, "size");
            jout_num(&b, content_blob_size(l->c, layer));
            jout_close(&b, '}');
        }
        jout_close(&b, ']');
        jout_close(&b, '}');
        if (!content_put(l->c, b.p, b.n, manifest, err) || !image_finish(l->c, manifest, &limits, err))
            return false;
        if (name.n && !name_add(l, name, manifest, names, err))
            return false;
        for (size_t k = 0; !name.n && k < list[i].tags.n; k++)
            if (!name_add(l, list[i].tags.p[k], manifest, names, err))
                return false;
    }
    return names->n || err_set(err, E_INVALID, "the archive does not say what the image is called: give a name");
}

bool archive_load(struct content *c, int fd, struct str name, struct arena *arena, struct strs *names,
                  struct digest *manifest, struct err *err)
{
    AUTO(fd_close) int held = content_lock_shared(c, err);
    if (held < 0)
        return false;
    AUTO_FREE struct unpack_source *s = NEW(struct unpack_source);
    source_init(s, fd, INT64_MAX);
    struct loading l = {.c = c, .a = arena};
    *names = (struct strs){arena_alloc(arena, 100 * sizeof(struct str)), 0};
    bool ok = archive_each(s, archive_entry_take, &l, err);
    if (ok && !l.index.n && !l.docker.n)
        ok = err_set(err, E_INVALID,
                     "neither index.json nor manifest.json is in it: not an OCI archive and not a docker-archive");
    ok = ok && (l.index.n ? load_oci(&l, name, names, manifest, err) : load_docker(&l, name, names, manifest, err));
    map_fini(&l.files);
    map_fini(&l.links);
    source_fini(s);
    return ok;
}
