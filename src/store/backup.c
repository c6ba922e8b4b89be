#include "store/backup.h"
#include "base/fault.h"
#include "store/backup_int.h"
#include "store/sqlite.h"
#include "store/store_int.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#define MAGIC S("WHERRYBACKUP")
enum { DIGEST = 32, CHUNK = 65536, RECORD = 22, LEAP = 1000000000 };

AUTO_POINTER(EVP_MD_CTX_free, EVP_MD_CTX);

static EVP_MD_CTX *sha256_new(void)
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    ASSERT(c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1);
    return c;
}

static void add_number(struct strbuf *b, uint64_t v, int bytes)
{
    while (bytes-- > 0)
        strbuf_addc(b, (char)(v >> 8 * bytes));
}

/* --- writing --- */

struct backup_writer {
    int fd;
    const char *path;
    EVP_MD_CTX *sum;
    struct strbuf out;
};

static bool writer_flush(struct backup_writer *w, struct err *err)
{
    struct str rest = strbuf_str(&w->out);
    while (rest.n) {
        ssize_t n = fault("backup.write", ENOSPC) ? -1 : write(w->fd, rest.p, rest.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, "write %s", w->path);
        rest = str_sub(rest, (size_t)n, rest.n);
    }
    strbuf_reset(&w->out);
    return true;
}

static bool writer_add(struct backup_writer *w, struct str s, struct err *err)
{
    ASSERT(EVP_DigestUpdate(w->sum, s.p, s.n) == 1);
    strbuf_add(&w->out, s);
    return w->out.n < CHUNK || writer_flush(w, err);
}

static bool write_entry(struct backup_writer *w, const struct seal *seal, struct store_entry *e, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf plain = STRBUF(STORE_VALUE_MAX);
    AUTO(strbuf_fini) struct strbuf value = STRBUF(STORE_VALUE_MAX + SEAL_OVERHEAD), head = STRBUF(RECORD + 1);
    struct store_change c = {.ev.now = e, .key = store_entry_key(e)};
    if (!store_bytes(seal, e->type, &c, &plain, &value, err))
        return false;
    add_number(&head, 1, 1);
    add_number(&head, e->key_n, 2);
    add_number(&head, (uint64_t)e->create_rev, 8);
    add_number(&head, (uint64_t)e->mod_rev, 8);
    add_number(&head, value.n, 4);
    return writer_add(w, strbuf_str(&head), err) && writer_add(w, c.key, err) &&
           writer_add(w, strbuf_str(&value), err);
}

static bool write_backup(struct backup_writer *w, const struct store_snapshot *snap, const struct seal *seal,
                         struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64);
    unsigned char digest[DIGEST];
    strbuf_add(&b, MAGIC);
    add_number(&b, BACKUP_VERSION, 4);
    add_number(&b, (uint64_t)snap->rev, 8);
    if (!writer_add(w, strbuf_str(&b), err))
        return false;
    struct store_iter it;
    for (struct store_entry *e = store_first(&it, snap, S(""), STR_NONE); e; e = store_next(&it))
        if (!write_entry(w, seal, e, err))
            return false;
    strbuf_reset(&b);
    add_number(&b, 0, 1);
    add_number(&b, pmap_len(&snap->map), 8);
    if (!writer_add(w, strbuf_str(&b), err))
        return false;
    ASSERT(EVP_DigestFinal_ex(w->sum, digest, NULL) == 1);
    strbuf_add(&w->out, (struct str){(char *)digest, DIGEST});
    return writer_flush(w, err) &&
           ((!fault("backup.sync", EIO) && fsync(w->fd) == 0) || err_errno(err, "write %s to the disk", w->path));
}

static char *with_suffix(const char *path, const char *suffix)
{
    struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addz(&b, path);
    strbuf_addz(&b, suffix);
    return strbuf_take(&b);
}

bool store_backup(const struct store_snapshot *snap, const struct store_options *o, const char *path, struct err *err)
{
    AUTO_FREE char *tmp = with_suffix(path, ".tmp");
    AUTO(EVP_MD_CTX_free) EVP_MD_CTX *sum = sha256_new();
    AUTO(fd_close)
    int fd = fault("backup.open", EIO) ? -1 : open(tmp, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(err, "make %s", tmp);
    struct seal seal;
    struct backup_writer w = {fd, tmp, sum, STRBUF(STORE_VALUE_MAX + 2 * CHUNK)};
    bool ok = seal_init(&seal, o, err) && write_backup(&w, snap, &seal, err);
    seal_fini(&seal);
    strbuf_fini(&w.out);
    if (ok && (fault("backup.rename", EIO) || rename(tmp, path) < 0))
        ok = err_errno(err, "rename %s to %s", tmp, path);
    if (!ok)
        (void)unlink(tmp); /* it may not be there; what stays is written over or is told by rename */
    return ok && folder_sync(AT_FDCWD, path, err);
}

/* --- reading --- */

struct backup_reader {
    const struct backup_input *in;
    EVP_MD_CTX *sum;
    struct strbuf buf;
};

static bool cut_off(struct err *err)
{
    return err_set(err, E_INVALID, "the backup is damaged: it ends in the middle");
}

static bool reader_need(struct backup_reader *r, size_t n, struct err *err)
{
    while (r->buf.n < n) {
        char *room = strbuf_room(&r->buf, CHUNK);
        ptrdiff_t got = r->in->fill(r->in->arg, room, CHUNK);
        if (got < 0)
            return err_errno(err, "read the backup");
        if (got == 0)
            return cut_off(err);
        strbuf_used(&r->buf, (size_t)got);
    }
    return true;
}

static void reader_eat(struct backup_reader *r, size_t n)
{
    ASSERT(EVP_DigestUpdate(r->sum, r->buf.p, n) == 1);
    strbuf_drop(&r->buf, n);
}

static uint64_t reader_number(const struct backup_reader *r, size_t at, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | (unsigned char)r->buf.p[at + i];
    return v;
}

static bool read_version(struct backup_reader *r, uint64_t *version, struct err *err)
{
    if (!reader_need(r, MAGIC.n + 12, err))
        return false;
    if (!str_starts(strbuf_str(&r->buf), MAGIC))
        return err_set(err, E_INVALID, "this is not a backup of a Wherry store");
    *version = reader_number(r, MAGIC.n, 4);
    return (*version >= BACKUP_VERSION && *version <= BACKUP_NEWEST) ||
           err_set(err, E_INVALID,
                   "the backup was written by a newer Wherry (backup format %llu, this program knows %d): use that "
                   "one",
                   (unsigned long long)*version, BACKUP_NEWEST);
}

/* Past the bundle, if there is one, to where the backup proper begins. */
static bool read_bundle(struct backup_reader *r, struct strbuf *out, struct err *err)
{
    uint64_t version;
    if (!read_version(r, &version, err))
        return false;
    if (version != BACKUP_BUNDLED)
        return true;
    size_t n = reader_number(r, MAGIC.n + 4, 4), head = MAGIC.n + 8;
    if (n > BACKUP_BUNDLE_MAX)
        return err_set(err, E_INVALID, "the backup is damaged: a bundle of %zu bytes", n);
    if (!reader_need(r, head + n, err))
        return false;
    if (out)
        strbuf_add(out, (struct str){r->buf.p + head, n});
    strbuf_drop(&r->buf, head + n); /* the checksum is of the backup proper */
    return true;
}

static bool read_head(struct backup_reader *r, int64_t *rev, struct err *err)
{
    uint64_t version;
    if (!read_bundle(r, NULL, err) || !read_version(r, &version, err))
        return false;
    uint64_t at = reader_number(r, MAGIC.n + 4, 8);
    if (version != BACKUP_VERSION)
        return err_set(err, E_INVALID, "the backup is damaged: one bundle in another");
    if (at < 1 || at > INT64_MAX / 2)
        return err_set(err, E_INVALID, "the backup is damaged: no such revision");
    *rev = (int64_t)at;
    reader_eat(r, MAGIC.n + 12);
    return true;
}

static bool read_end(struct backup_reader *r, uint64_t count, struct err *err)
{
    unsigned char digest[DIGEST];
    char more;
    if (!reader_need(r, 9 + DIGEST, err))
        return false;
    if (reader_number(r, 1, 8) != count)
        return err_set(err, E_INVALID, "the backup is damaged: it has %llu keys and says %llu",
                       (unsigned long long)count, (unsigned long long)reader_number(r, 1, 8));
    reader_eat(r, 9);
    ASSERT(EVP_DigestFinal_ex(r->sum, digest, NULL) == 1);
    if (memcmp(digest, r->buf.p, DIGEST) != 0)
        return err_set(err, E_INVALID, "the backup is damaged: its checksum is wrong");
    if (r->buf.n > DIGEST || r->in->fill(r->in->arg, &more, 1) != 0)
        return err_set(err, E_INVALID, "the backup is damaged: something follows its end");
    return true;
}

bool backup_read(const struct backup_input *in, int64_t *rev,
                 bool (*fn)(void *arg, struct str key, struct str stored, int64_t create_rev, int64_t mod_rev,
                            struct err *err),
                 void *arg, struct err *err)
{
    AUTO(EVP_MD_CTX_free) EVP_MD_CTX *sum = sha256_new();
    AUTO(strbuf_fini) struct strbuf last = STRBUF(STORE_KEY_MAX);
    struct backup_reader r = {in, sum, STRBUF(STORE_VALUE_MAX + SEAL_OVERHEAD + STORE_KEY_MAX + RECORD + 2 * CHUNK)};
    bool ok = read_head(&r, rev, err);
    for (uint64_t count = 0; ok; count++) {
        ok = reader_need(&r, 1, err);
        if (ok && r.buf.p[0] == 0) {
            ok = read_end(&r, count, err);
            break;
        }
        if (!ok || !(ok = reader_need(&r, RECORD + 1, err)))
            break;
        size_t key_n = reader_number(&r, 1, 2), value_n = reader_number(&r, 19, 4);
        uint64_t create = reader_number(&r, 3, 8), mod = reader_number(&r, 11, 8);
        if (r.buf.p[0] != 1 || key_n < 1 || key_n > STORE_KEY_MAX || value_n < 1 ||
            value_n > STORE_VALUE_MAX + SEAL_OVERHEAD || create < 1 || create > mod || mod > (uint64_t)*rev) {
            ok = err_set(err, E_INVALID, "the backup is damaged: entry %llu makes no sense",
                         (unsigned long long)count);
            break;
        }
        if (!(ok = reader_need(&r, RECORD + 1 + key_n + value_n, err)))
            break;
        struct str key = {r.buf.p + RECORD + 1, key_n}, value = {key.p + key_n, value_n};
        ok = count == 0 || str_cmp(strbuf_str(&last), key) < 0 ||
             err_set(err, E_INVALID, "the backup is damaged: its keys are not in order");
        ok = ok && fn(arg, key, value, (int64_t)create, (int64_t)mod, err);
        strbuf_reset(&last);
        strbuf_add(&last, key);
        reader_eat(&r, RECORD + 1 + key_n + value_n);
    }
    strbuf_fini(&r.buf);
    return ok;
}

/* --- restoring --- */

static ptrdiff_t fill_from_file(void *arg, char *p, size_t n)
{
    ssize_t got;
    do
        got = fault("backup.read", EIO) ? -1 : read(*(int *)arg, p, n);
    while (got < 0 && errno == EINTR);
    return got;
}

void store_backup_front(struct str bundle, struct strbuf *out)
{
    strbuf_add(out, MAGIC);
    add_number(out, BACKUP_BUNDLED, 4);
    add_number(out, bundle.n, 4);
    strbuf_add(out, bundle);
}

bool store_backup_bundle(const char *path, struct strbuf *out, struct err *err)
{
    AUTO(fd_close) int fd = fault("backup.open", EIO) ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "open %s", path);
    struct backup_input in = {fill_from_file, &fd};
    struct backup_reader r = {&in, NULL, STRBUF(BACKUP_BUNDLE_MAX + 2 * CHUNK)};
    bool ok = read_bundle(&r, out, err) || err_wrap(err, "%s", path);
    strbuf_fini(&r.buf);
    return ok;
}

static bool add_row(void *arg, struct str key, struct str stored, int64_t create_rev, int64_t mod_rev,
                    struct err *err)
{
    return sqlite_writer_add(arg, key, stored, create_rev, mod_rev, err);
}

static bool make_store(const char *from, const char *to, int64_t given, int64_t *rev, struct err *err)
{
    AUTO(fd_close) int fd = fault("backup.open", EIO) ? -1 : open(from, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "open %s", from);
    AUTO(sqlite_writer_free) struct sqlite_writer *w = sqlite_writer_new(to, err);
    if (!w)
        return false;
    if (!backup_read(&(struct backup_input){fill_from_file, &fd}, rev, add_row, w, err))
        return err_wrap(err, "%s", from);
    *rev = MAX(*rev, given) + LEAP;
    return sqlite_writer_end(w, *rev, err);
}

static bool file_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* The old store stays under another name, then the new one takes its place at one stroke. What the old one still has
 * in its WAL must not meet the new file. */
static bool put_in_place(const char *tmp, const char *path, struct err *err)
{
    AUTO_FREE char *old = with_suffix(path, ".before-restore");
    AUTO_FREE char *old_wal = with_suffix(old, "-wal");
    AUTO_FREE char *wal = with_suffix(path, "-wal");
    if (file_exists(path)) {
        (void)unlink(old_wal); /* it may not be there; what stays is written over or is told by rename */
        if (file_exists(wal) && rename(wal, old_wal) < 0)
            return err_errno(err, "rename %s to %s", wal, old_wal);
        (void)unlink(old); /* it may not be there; what stays is written over or is told by rename */
        if (link(path, old) < 0)
            return err_errno(err, "keep %s as %s", path, old);
    }
    if (fault("backup.rename", EIO) || rename(tmp, path) < 0)
        return err_errno(err, "rename %s to %s", tmp, path);
    return folder_sync(AT_FDCWD, path, err);
}

bool store_restore(const struct store_options *o, const char *path, bool replace, int64_t *rev, struct err *err)
{
    int64_t given = 0;
    if (file_exists(o->path) && !replace)
        return err_set(err, E_ALREADY_EXISTS, "there is a store at %s already: say that it is to be replaced",
                       o->path);
    struct err why = ERR;
    if (!sqlite_ceiling(o->path, &given, &why) && why.kind != E_IO) { /* damaged: that may be why it is restored */
        *err = why;
        return false;
    }
    AUTO_FREE char *tmp = with_suffix(o->path, ".restoring");
    AUTO_FREE char *tmp_wal = with_suffix(tmp, "-wal");
    (void)unlink(tmp); /* it may not be there; what stays is written over or is told by rename */
    (void)unlink(tmp_wal);
    bool ok = make_store(path, tmp, given, rev, err) && put_in_place(tmp, o->path, err);
    if (!ok) {
        (void)unlink(tmp); /* it may not be there; what stays is written over or is told by rename */
        (void)unlink(tmp_wal);
    }
    return ok;
}
