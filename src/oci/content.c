#include "oci/content.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/map.h"
#include "oci/image.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>

#define PARTIAL        "partial-" /* in tmp: the beginning of a blob whose digest is known */
#define PARTIAL_KEEP_S (24 * 3600)
#define PATIENCE_MS    30000
#define LOOK_MS        50

static bool write_piece(int fd, const void *p, size_t n, struct err *err, const char *what)
{
    const char *at = p;
    while (n) {
        ssize_t done = fault("content.write", ENOSPC) ? -1 : write(fd, at, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return err_errno(err, "write %s", what);
        at += done;
        n -= (size_t)done;
    }
    return true;
}

static bool sync_dir(const struct content *c, const char *dir, struct err *err)
{
    AUTO(fd_close) int fd = openat(c->fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fault("content.syncdir", EIO) || fd < 0 || fsync(fd) < 0)
        return err_errno(err, "sync %s/%s", c->dir, dir);
    return true;
}

static bool read_whole(int fd, size_t max, struct strbuf *out, struct err *err, const char *what)
{
    for (;;) {
        char *room = strbuf_room(out, 65536);
        char last[65536];
        ssize_t n = read(fd, room ? room : last, room ? 65536 : MIN(sizeof last, out->max - out->n + 1));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, "read %s", what);
        if (n == 0) {
            out->over = false;
            return true;
        }
        if (!room) { /* less room than asked for: what fits goes in by hand */
            out->over = false;
            strbuf_add(out, (struct str){last, (size_t)n});
        } else {
            strbuf_used(out, (size_t)n);
        }
        if (out->over || out->n > max)
            return err_set(err, E_TOO_LARGE, "%s is over %zu bytes", what, max);
    }
}

/* ---- opening ---- */

struct content *content_open(const char *dir, struct err *err)
{
    static const char *const dirs[] = {"", "blobs", "blobs/sha256", "layers", "images", "refs", "uses", "tmp"};
    if (dir[0] != '/' || strlen(dir) >= sizeof((struct content *)0)->dir)
        return err_set(err, E_INVALID, "image store: \"%s\" must be an absolute path below 200 bytes", dir), NULL;
    char path[300];
    for (size_t i = 0; i < countof(dirs); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, dirs[i]);
        if (mkdir(path, i == 0 ? 0711 : 0700) < 0 && errno != EEXIST)
            return err_errno(err, "mkdir %s", path), NULL;
        if (i > 0 && chmod(path, 0700) < 0) /* layers have setuid programs */
            return err_errno(err, "chmod %s", path), NULL;
    }
    AUTO(content_free) struct content *c = NEW(struct content);
    (void)snprintf(c->dir, sizeof c->dir, "%s", dir);
    c->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->fd < 0)
        return err_errno(err, "open %s", dir), NULL;
    c->patience_ms = PATIENCE_MS;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(256);
    struct err missing = ERR;
    char want[40];
    (void)snprintf(want, sizeof want, "wherry-content %d\n", CONTENT_FORMAT);
    if (!content_file_get(c, "format", 200, &b, &missing)) {
        if (missing.kind != E_NOT_FOUND)
            return *err = missing, NULL;
        if (!content_file_put(c, "format", str_of(want), err))
            return NULL;
    } else if (!str_eqz(strbuf_str(&b), want)) {
        return err_set(err, E_INVALID,
                       "the image store %s has format \"" STR_FMT "\", this wherry reads \"%s %d\": use the newer "
                       "wherry that made it, or move the folder away and load the images again",
                       dir, STR_ARG(str_trim(strbuf_str(&b))), "wherry-content", CONTENT_FORMAT),
               NULL;
    }
    return TAKE(c);
}

void content_free(struct content *c)
{
    if (!c)
        return;
    fd_close(c->fd);
    mem_free(c);
}

static int content_lock(const struct content *c, int how, struct err *err)
{
    AUTO(fd_close) int fd = openat(c->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int rc = -1;
    if (fd >= 0)
        do
            rc = flock(fd, how);
        while (rc < 0 && errno == EINTR);
    if (rc < 0)
        return err_errno(err, "lock %s/lock", c->dir), -1;
    return TAKE_FD(fd);
}

int content_lock_shared(const struct content *c, struct err *err)
{
    return content_lock(c, LOCK_SH, err);
}

/* ---- small files ---- */

bool content_file_put(struct content *c, const char *path, struct str text, struct err *err)
{
    char tmp[80], dir[80];
    uint64_t salt;
    random_bytes(&salt, sizeof salt);
    (void)snprintf(tmp, sizeof tmp, "tmp/file-%016llx", (unsigned long long)salt);
    AUTO(fd_close) int fd = openat(c->fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, "create %s/%s", c->dir, tmp);
    bool ok = write_piece(fd, text.p, text.n, err, path);
    if (ok && (fault("content.sync", EIO) || fsync(fd) < 0))
        ok = err_errno(err, "sync %s/%s", c->dir, path);
    if (ok && (fault("content.rename", EIO) || renameat(c->fd, tmp, c->fd, path) < 0))
        ok = err_errno(err, "rename to %s/%s", c->dir, path);
    if (!ok) {
        (void)unlinkat(c->fd, tmp, 0); /* the collector takes what is left */
        return false;
    }
    (void)snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash)
        *slash = 0;
    return sync_dir(c, slash ? dir : ".", err);
}

bool content_file_get(const struct content *c, const char *path, size_t max, struct strbuf *out, struct err *err)
{
    AUTO(fd_close) int fd = openat(c->fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "open %s/%s", c->dir, path);
    return read_whole(fd, max, out, err, path);
}

/* ---- blobs ---- */

static void blob_path(const struct digest *d, char out[100])
{
    (void)snprintf(out, 100, "blobs/sha256/%s", d->hex);
}

bool content_has_blob(const struct content *c, const struct digest *d)
{
    return content_blob_size(c, d) >= 0;
}

int64_t content_blob_size(const struct content *c, const struct digest *d)
{
    char path[100];
    struct stat st;
    blob_path(d, path);
    return fstatat(c->fd, path, &st, 0) == 0 ? st.st_size : -1;
}

int content_blob_open(const struct content *c, const struct digest *d, struct err *err)
{
    char path[100];
    blob_path(d, path);
    int fd = openat(c->fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        err_errno(err, "blob sha256:%s", d->hex);
    return fd;
}

bool content_blob_read(const struct content *c, const struct digest *d, size_t max, struct strbuf *out,
                       struct err *err)
{
    AUTO(fd_close) int fd = content_blob_open(c, d, err);
    return fd >= 0 && read_whole(fd, max, out, err, d->hex);
}

static bool resume_sum(struct ingest *in, struct err *err)
{
    char buf[65536];
    ssize_t n;
    while ((n = read(in->fd, buf, sizeof buf)) > 0) {
        sha256_add(&in->sum, (struct str){buf, (size_t)n});
        in->size += n;
    }
    return n == 0 || err_errno(err, "read %s/%s", in->content->dir, in->tmp);
}

static void ingest_end(struct ingest *in)
{
    fd_close(in->fd);
    in->fd = -1;
    sha256_fini(&in->sum);
}

/* Two that fetch the same blob: the second waits, then finds it there. EWOULDBLOCK: it has waited long enough. */
static bool lock_soon(const struct content *c, int fd)
{
    for (int ms = 0;; ms += LOOK_MS) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        if ((errno != EWOULDBLOCK && errno != EINTR) || ms >= c->patience_ms)
            return false;
        (void)poll(NULL, 0, LOOK_MS);
    }
}

static bool ingest_resume(struct ingest *in, const struct digest *want, struct err *err)
{
    struct content *c = in->content;
    (void)snprintf(in->tmp, sizeof in->tmp, "tmp/" PARTIAL "%s", want->hex);
    in->fd = openat(c->fd, in->tmp, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (in->fd < 0)
        return err_errno(err, "create %s/%s", c->dir, in->tmp);
    if (!lock_soon(c, in->fd))
        return err_errno(err, "lock %s/%s", c->dir, in->tmp);
    return resume_sum(in, err);
}

bool ingest_begin(struct content *c, struct ingest *in, const struct digest *want, bool resume, struct err *err)
{
    struct err why = ERR;
    *in = (struct ingest){.content = c, .fd = -1, .keep = resume};
    sha256_init(&in->sum);
    if (resume && ingest_resume(in, want, &why))
        return true;
    if (resume && why.sys != EWOULDBLOCK) {
        *err = why;
        ingest_end(in); /* what is there stays for the next try */
        return false;
    }
    uint64_t salt;
    random_bytes(&salt, sizeof salt);
    fd_close(in->fd);
    in->keep = false;
    (void)snprintf(in->tmp, sizeof in->tmp, "tmp/blob-%016llx", (unsigned long long)salt);
    in->fd = openat(c->fd, in->tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (in->fd >= 0)
        return true;
    sha256_fini(&in->sum);
    return err_errno(err, "create %s/%s", c->dir, in->tmp);
}

bool ingest_write(struct ingest *in, const void *p, size_t n, struct err *err)
{
    if (!write_piece(in->fd, p, n, err, in->tmp))
        return false;
    sha256_add(&in->sum, (struct str){p, n});
    in->size += (int64_t)n;
    return true;
}

bool ingest_restart(struct ingest *in, struct err *err)
{
    sha256_fini(&in->sum);
    sha256_init(&in->sum);
    in->size = 0;
    if (ftruncate(in->fd, 0) < 0 || lseek(in->fd, 0, SEEK_SET) < 0)
        return err_errno(err, "truncate %s/%s", in->content->dir, in->tmp);
    return true;
}

void ingest_abort(struct ingest *in)
{
    if (in->fd < 0)
        return;
    if (!in->keep)
        (void)unlinkat(in->content->fd, in->tmp, 0); /* the collector takes what is left */
    ingest_end(in);
}

bool ingest_commit(struct ingest *in, const struct digest *want, struct digest *got, struct err *err)
{
    struct content *c = in->content;
    struct digest have = digest_end(&in->sum);
    char path[100];
    bool ok = true;
    if (want && !digest_eq(&have, want)) {
        in->keep = false;
        ok = err_set(err, E_INVALID, "content is sha256:%s, wanted sha256:%s: nothing of it is kept", have.hex,
                     want->hex);
    }
    blob_path(&have, path);
    if (ok && (fault("content.sync", EIO) || fdatasync(in->fd) < 0))
        ok = err_errno(err, "sync %s/%s", c->dir, in->tmp);
    if (ok && (fault("content.rename", EIO) || renameat(c->fd, in->tmp, c->fd, path) < 0))
        ok = err_errno(err, "rename to %s/%s", c->dir, path);
    if (!ok) {
        ingest_abort(in);
        return false;
    }
    ingest_end(in);
    if (got)
        *got = have;
    return sync_dir(c, "blobs/sha256", err);
}

bool content_put(struct content *c, const void *p, size_t n, struct digest *got, struct err *err)
{
    struct ingest in;
    if (!ingest_begin(c, &in, NULL, false, err))
        return false;
    if (!ingest_write(&in, p, n, err)) {
        ingest_abort(&in);
        return false;
    }
    return ingest_commit(&in, NULL, got, err);
}

/* ---- layers ---- */

bool content_has_layer(const struct content *c, const struct digest *chain)
{
    char path[100];
    (void)snprintf(path, sizeof path, "layers/%s", chain->hex);
    return faccessat(c->fd, path, F_OK, 0) == 0;
}

int content_layer_tmp(struct content *c, char name[80], struct err *err)
{
    uint64_t salt;
    random_bytes(&salt, sizeof salt);
    (void)snprintf(name, 80, "tmp/layer-%016llx", (unsigned long long)salt);
    if (mkdirat(c->fd, name, 0755) < 0)
        return err_errno(err, "mkdir %s/%s", c->dir, name), -1;
    int fd = openat(c->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        err_errno(err, "open %s/%s", c->dir, name);
    return fd;
}

bool content_layer_commit(struct content *c, const char *tmp, const struct digest *chain, struct err *err)
{
    char path[100];
    (void)snprintf(path, sizeof path, "layers/%s", chain->hex);
    if (fault("content.rename", EIO) || renameat(c->fd, tmp, c->fd, path) < 0) {
        if (errno != EEXIST && errno != ENOTEMPTY)
            return err_errno(err, "rename to %s/%s", c->dir, path);
        content_tmp_remove(c, tmp); /* another process was first; it is the same by its name */
    }
    return sync_dir(c, "layers", err);
}

void content_tmp_remove(struct content *c, const char *tmp)
{
    struct err ignored = ERR; /* what stays is collected later */
    (void)!tree_remove(c->fd, tmp, &ignored);
}

/* ---- names ---- */

static void ref_path(struct str name, char out[100])
{
    struct digest d = digest_of(name.p, name.n);
    (void)snprintf(out, 100, "refs/%s", d.hex);
}

#define REF_PULLED "pulled"

bool content_ref_set(struct content *c, struct str name, const struct digest *manifest, bool pulled, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096);
    char path[100];
    strbuf_addf(&b, "wherry-ref 1\n" STR_FMT "\nsha256:%s\n%s", STR_ARG(name), manifest->hex,
                pulled ? REF_PULLED "\n" : "");
    if (b.over || str_find_char(name, '\n') >= 0)
        return err_set(err, E_INVALID, "image name \"" STR_FMT "\" is too long or has a line end in it",
                       STR_ARG(str_sub(name, 0, 200)));
    ref_path(name, path);
    return content_file_put(c, path, strbuf_str(&b), err);
}

static bool ref_decode(struct str text, struct content_ref *out, struct err *err)
{
    struct str format, name, digest, origin = STR_NONE;
    if (!str_cut(&text, '\n', &format) || !str_eqz(format, "wherry-ref 1") || !str_cut(&text, '\n', &name) ||
        !str_cut(&text, '\n', &digest))
        return err_set(err, E_INVALID, "not a name of an image store of format 1");
    out->name = name;
    out->pulled = text.n && str_cut(&text, '\n', &origin) && str_eqz(origin, REF_PULLED);
    return digest_parse(digest, &out->manifest, err);
}

bool content_ref_get(const struct content *c, struct str name, struct digest *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(8192);
    char path[100];
    struct content_ref r;
    struct err why = ERR;
    ref_path(name, path);
    if (!content_file_get(c, path, 4096, &b, &why)) {
        if (why.kind == E_NOT_FOUND)
            return err_set(err, E_NOT_FOUND, "image \"" STR_FMT "\" is not present", STR_ARG(name));
        return *err = why, false;
    }
    if (!ref_decode(strbuf_str(&b), &r, err))
        return err_wrap(err, "%s/%s", c->dir, path);
    *out = r.manifest;
    return true;
}

bool content_ref_del(struct content *c, struct str name, struct err *err)
{
    char path[100];
    ref_path(name, path);
    if (unlinkat(c->fd, path, 0) < 0)
        return errno == ENOENT ? err_set(err, E_NOT_FOUND, "image \"" STR_FMT "\" is not present", STR_ARG(name))
                               : err_errno(err, "remove %s/%s", c->dir, path);
    return sync_dir(c, "refs", err);
}

/* Calls fn for each entry of a folder of the store; false ends it. */
static bool each_entry(const struct content *c, const char *path, bool (*fn)(void *arg, const char *name), void *arg,
                       struct err *err)
{
    int fd = openat(c->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        fd_close(fd);
        return err_errno(err, "open %s/%s", c->dir, path);
    }
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(dir));)
        if (e->d_name[0] != '.')
            ok = fn(arg, e->d_name);
    (void)closedir(dir);
    return ok;
}

static int64_t time_of(const struct stat *st)
{
    return st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec;
}

struct content_listing {
    const struct content *c;
    struct arena *arena;
    struct content_refs *out;
    struct err *err;
};

static bool list_one(void *arg, const char *name)
{
    struct content_listing *l = arg;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(8192);
    char path[300];
    struct content_ref r;
    struct err why = ERR;
    (void)snprintf(path, sizeof path, "refs/%s", name);
    if (!content_file_get(l->c, path, 4096, &b, &why))
        return why.kind == E_NOT_FOUND || (*l->err = why, false);
    if (!ref_decode(strbuf_str(&b), &r, l->err))
        return err_wrap(l->err, "%s/%s", l->c->dir, path);
    r.name = str_dup(l->arena, r.name);
    struct stat st; /* one that went meanwhile is as old as can be */
    r.set_at = fstatat(l->c->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? time_of(&st) : 0;
    array_push(&l->out->list, r);
    return true;
}

static int by_name(const void *a, const void *b)
{
    return str_cmp(((const struct content_ref *)a)->name, ((const struct content_ref *)b)->name);
}

bool content_refs(const struct content *c, struct arena *a, struct content_refs *out, struct err *err)
{
    *out = (struct content_refs){0};
    struct content_listing l = {c, a, out, err};
    if (!each_entry(c, "refs", list_one, &l, err)) {
        array_fini(&out->list);
        return false;
    }
    if (out->list.n)
        qsort(out->list.p, out->list.n, sizeof *out->list.p, by_name);
    return true;
}

/* ---- claims ---- */

static bool id_ok(struct str id)
{
    for (size_t i = 0; i < id.n; i++)
        if (!((id.p[i] >= 'a' && id.p[i] <= 'z') || (id.p[i] >= '0' && id.p[i] <= '9') || id.p[i] == '-' ||
              id.p[i] == '_'))
            return false;
    return id.n > 0 && id.n <= 64;
}

static bool use_write(struct content *c, struct str id, const struct digest *manifest, int how, struct err *err)
{
    char path[100], record[100], line[DIGEST_HEX + 2];
    if (!id_ok(id))
        return err_set(err, E_INVALID, "\"" STR_FMT "\" is not a container id", STR_ARG(str_sub(id, 0, 100)));
    AUTO(fd_close) int held = content_lock_shared(c, err);
    if (held < 0)
        return false;
    (void)snprintf(record, sizeof record, "images/%s", manifest->hex);
    if (faccessat(c->fd, record, F_OK, 0) < 0)
        return err_set(err, E_NOT_FOUND, "image sha256:%s is not present", manifest->hex);
    (void)snprintf(path, sizeof path, "uses/" STR_FMT, STR_ARG(id));
    /* not synced: after a power cut there is no container either */
    AUTO(fd_close) int fd = openat(c->fd, path, O_WRONLY | O_CREAT | how | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, "create %s/%s", c->dir, path);
    (void)snprintf(line, sizeof line, "%s\n", manifest->hex);
    return write_piece(fd, line, DIGEST_HEX + 1, err, path);
}

bool content_use(struct content *c, struct str id, const struct digest *manifest, struct err *err)
{
    return use_write(c, id, manifest, O_TRUNC, err);
}

bool content_use_also(struct content *c, struct str id, const struct digest *manifest, struct err *err)
{
    ASSERT(str_find_char(id, '_') >= 0);
    return use_write(c, id, manifest, O_APPEND, err);
}

int64_t content_used_at(const struct content *c, const struct digest *manifest)
{
    char path[100];
    struct stat st;
    (void)snprintf(path, sizeof path, "images/%s", manifest->hex);
    return fstatat(c->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? time_of(&st) : 0;
}

void content_unuse(struct content *c, struct str id)
{
    char path[100], record[100];
    AUTO(strbuf_fini) struct strbuf b = STRBUF(256);
    struct err gone = ERR; /* there is no claim: nothing to note */
    if (!id_ok(id))
        return;
    (void)snprintf(path, sizeof path, "uses/" STR_FMT, STR_ARG(id));
    if (content_file_get(c, path, 200, &b, &gone)) {
        (void)snprintf(record, sizeof record, "images/" STR_FMT, STR_ARG(strbuf_str(&b)));
        (void)utimensat(c->fd, record, NULL,
                        AT_SYMLINK_NOFOLLOW); /* an image that looks older goes sooner, no more */
    }
    (void)unlinkat(c->fd, path, 0); /* what stays keeps an image that nobody needs */
}

struct content_sweep {
    struct content *c;
    bool (*keep)(void *arg, struct str id);
    void *arg;
};

static bool sweep_one(void *arg, const char *name)
{
    struct content_sweep *s = arg;
    if (!strchr(name, '_') && !s->keep(s->arg, str_of(name)))
        content_unuse(s->c, str_of(name));
    return true;
}

void content_uses_sweep(struct content *c, bool (*keep)(void *arg, struct str id), void *arg)
{
    struct content_sweep s = {c, keep, arg};
    struct err err = ERR;
    if (!each_entry(c, "uses", sweep_one, &s, &err)) /* what stays keeps its image until the next start */
        log_warn("content.uses", "error=\"%s\"", err.text);
}

#define USE_MOST (1 << 20) /* of one claim's file */

struct uses {
    const struct content *c;
    const struct digest *one; /* look for this one ... */
    bool found;
    struct map *all; /* ... or collect them all */
    struct err *err;
};

static bool use_one(void *arg, const char *name)
{
    struct uses *u = arg;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(USE_MOST);
    char path[300];
    struct err why = ERR;
    (void)snprintf(path, sizeof path, "uses/%s", name);
    /* a claim that cannot be read is none that may be passed over */
    if (!content_file_get(u->c, path, USE_MOST, &b, &why))
        return why.kind == E_NOT_FOUND || (*u->err = why, false);
    struct str rest = strbuf_str(&b), line;
    while (str_cut(&rest, '\n', &line)) {
        u->found |= u->one && str_eq(line, digest_hex(u->one));
        if (u->all && line.n)
            map_put(u->all, line, u);
    }
    return true;
}

bool content_used(const struct content *c, const struct digest *manifest)
{
    struct err unread = ERR;
    struct uses u = {.c = c, .one = manifest, .err = &unread};
    return !each_entry(c, "uses", use_one, &u, &unread) || u.found;
}

/* ---- garbage ---- */

struct gc {
    struct content *c;
    struct map images, layers, blobs; /* hex of what stays */
    const char *dir;
    const struct map *keep;
    bool hard; /* pulls that broke off are not taken up again */
    int64_t freed;
    struct err *err;
};

static bool sweep_garbage(void *arg, const char *name)
{
    struct gc *g = arg;
    char path[300], away[80];
    (void)snprintf(path, sizeof path, "%s/%s", g->dir, name);
    struct stat st;
    if (!g->keep) { /* tmp: nobody adds, so all but what a pull may take up again */
        if (g->hard || !str_starts(str_of(name), S(PARTIAL)) ||
            fstatat(g->c->fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            st.st_mtime + PARTIAL_KEEP_S < clock_real() / NS_PER_S)
            return tree_remove_counted(g->c->fd, path, &g->freed, g->err);
        return true;
    }
    if (map_get(g->keep, str_of(name)))
        return true;
    /* a layer goes at once or not at all */
    (void)snprintf(away, sizeof away, "tmp/gone-%.40s", name);
    return renameat(g->c->fd, path, g->c->fd, away) < 0 || tree_remove_counted(g->c->fd, away, &g->freed, g->err);
}

static bool manifest_mark(struct gc *g, struct str hex, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(IMAGE_RECORD_MAX + 65536);
    AUTO(arena_fini) struct arena a = ARENA;
    struct image im;
    char path[100];
    struct err why = ERR;
    (void)snprintf(path, sizeof path, "images/" STR_FMT, STR_ARG(hex));
    if (!content_file_get(g->c, path, IMAGE_RECORD_MAX, &b, &why))
        return why.kind == E_NOT_FOUND || (*err = why, false);
    if (!image_decode(&a, strbuf_str(&b), &im, err))
        return err_wrap(err, "%s/%s", g->c->dir, path);
    map_put(&g->images, hex, g);
    for (size_t i = 0; i < im.nlayers; i++)
        map_put(&g->layers, digest_hex(&im.layers[i]), g);
    for (size_t i = 0; i < im.nblobs; i++)
        map_put(&g->blobs, digest_hex(&im.blobs[i]), g);
    return true;
}

static bool mark_all(struct gc *g, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(map_fini) struct map used = MAP;
    struct content_refs refs;
    struct uses u = {.c = g->c, .all = &used, .err = err};
    if (!content_refs(g->c, &a, &refs, err) || !each_entry(g->c, "uses", use_one, &u, err))
        return false;
    bool ok = true;
    array_each (r, &refs.list)
        ok = ok && manifest_mark(g, digest_hex(&r->manifest), err);
    map_each (e, &used)
        ok = ok && manifest_mark(g, e->key, err);
    array_fini(&refs.list);
    return ok;
}

/* The lock is held exclusively. */
static bool garbage_sweep(struct content *c, bool hard, int64_t *freed, struct err *err)
{
    struct gc g = {.c = c, .hard = hard, .err = err};
    bool ok = mark_all(&g, err);
    const struct {
        const char *dir;
        const struct map *keep;
    } folders[] = {{"images", &g.images}, {"layers", &g.layers}, {"blobs/sha256", &g.blobs}, {"tmp", NULL}};
    for (size_t i = 0; ok && i < countof(folders); i++) { /* records first: what they lead to is whole or unseen */
        g.dir = folders[i].dir;
        g.keep = folders[i].keep;
        ok = each_entry(c, g.dir, sweep_garbage, &g, err);
    }
    map_fini(&g.images);
    map_fini(&g.layers);
    map_fini(&g.blobs);
    *freed += g.freed;
    return ok;
}

bool content_gc(struct content *c, int64_t *freed_bytes, struct err *err)
{
    AUTO(fd_close) int held = content_lock(c, LOCK_EX, err);
    int64_t freed = 0;
    if (held < 0)
        return false;
    bool ok = garbage_sweep(c, false, &freed, err);
    if (freed_bytes)
        *freed_bytes = freed;
    return ok;
}

/* ---- for want of space ---- */

static int lock_with_patience(const struct content *c, int patience_ms, struct err *err)
{
    for (int waited = 0;; waited += LOOK_MS) {
        struct err why = ERR;
        int fd = content_lock(c, LOCK_EX | LOCK_NB, &why);
        if (fd >= 0 || why.sys != EWOULDBLOCK) {
            if (fd < 0)
                *err = why;
            return fd;
        }
        if (waited >= patience_ms)
            return err_set(err, E_UNAVAILABLE, "the image store %s is being added to", c->dir), -1;
        (void)poll(NULL, 0, LOOK_MS);
    }
}

/* As things are now: a container may have begun, or somebody may have loaded it, since it was chosen. */
static bool names_remove(struct content *c, const struct digest *image, bool *removed, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct content_refs refs;
    *removed = false;
    if (content_used(c, image))
        return true;
    if (!content_refs(c, &a, &refs, err))
        return false;
    bool ok = true, given = true;
    array_each (r, &refs.list)
        given = given && (r->pulled || !digest_eq(&r->manifest, image));
    array_each (r, &refs.list) {
        if (given && ok && digest_eq(&r->manifest, image)) {
            ok = content_ref_del(c, r->name, err);
            *removed = true;
        }
    }
    array_fini(&refs.list);
    return ok;
}

bool content_collect(struct content *c, struct content_collect *x, struct err *err)
{
    x->freed = 0;
    x->removed = 0;
    AUTO(fd_close) int held = lock_with_patience(c, x->patience_ms, err);
    bool ok = held >= 0 && garbage_sweep(c, true, &x->freed, err);
    for (size_t i = 0; ok && i < x->n && x->freed < x->enough; i++) {
        bool removed;
        ok = names_remove(c, &x->images[i], &removed, err);
        x->removed += removed;
        if (ok && removed)
            ok = garbage_sweep(c, true, &x->freed, err);
    }
    return ok;
}
