/* sqlite_db.c - the log as a database: opening it, its statements by name, its rows with their sums, and SQLite's
 * failures as our errors. Used by one thread at a time, as sqlite.c says.
 */
#include "store/sqlite_int.h"
#include "store/vfs.h"
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <zlib.h>

enum {
    FORMAT = 1,
    APPLICATION = 0x57485259, /* "WHRY" */
};

static const char *const texts[] = {
#define X(name, text) text,
    STATEMENTS(X)
#undef X
};

uint64_t db_room(const char *path)
{
    struct statvfs v;
    return statvfs(path, &v) == 0 ? (uint64_t)v.f_bavail * v.f_frsize : 0;
}

bool db_err(struct db *d, int rc, const char *doing, struct err *err)
{
    int sys = d->db ? sqlite3_system_errno(d->db) : 0;
    if ((rc & 0xff) == SQLITE_FULL || ((rc & 0xff) == SQLITE_IOERR && (sys == ENOSPC || sys == EDQUOT))) {
        (void)err_set(err, E_UNAVAILABLE,
                      "%s: %s (%" PRIu64 " KiB are free): nothing can be changed until there is room, so free some; "
                      "everything can still be read",
                      d->path, sys == EDQUOT ? "the quota of its user is used up" : "the disk is full",
                      db_room(d->path) >> 10);
        err->sys = sys == EDQUOT ? EDQUOT : ENOSPC;
        return false;
    }
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(err, E_UNAVAILABLE, "%s is in use by another process: only one may have it open", d->path);
    case SQLITE_NOTADB:
        return err_set(err, E_IO, "%s is not a store of Wherry, or its beginning is damaged: restore a backup",
                       d->path);
    case SQLITE_CORRUPT:
        return err_set(err, E_IO, "%s is damaged (%s): restore a backup", d->path,
                       d->db ? sqlite3_errmsg(d->db) : sqlite3_errstr(rc));
    case SQLITE_READONLY:
    case SQLITE_PERM: return err_set(err, E_FORBIDDEN, "%s may not be written by this user", d->path);
    case SQLITE_CANTOPEN: {
        (void)err_set(err, E_IO, "%s cannot be opened: %s", d->path, sys ? strerror(sys) : sqlite3_errstr(rc));
        err->sys = sys;
        return false;
    }
    default:
        (void)err_set(err, E_UNAVAILABLE,
                      "%s: cannot %s: the disk fails (%s%s%s): nothing can be changed until it works, see dmesg for "
                      "what it has; everything can still be read",
                      d->path, doing, sqlite3_errstr(d->db ? sqlite3_extended_errcode(d->db) : rc), sys ? ", " : "",
                      sys ? strerror(sys) : "");
        err->sys = sys;
        return false;
    }
}

int db_prepare(struct db *d, enum statement q, sqlite3_stmt **out)
{
    if (!d->statements[q]) {
        int rc = sqlite3_prepare_v3(d->db, texts[q], -1, SQLITE_PREPARE_PERSISTENT, &d->statements[q], NULL);
        if (rc != SQLITE_OK)
            return rc;
    }
    *out = d->statements[q];
    return SQLITE_OK;
}

int db_run(struct db *d, enum statement q, int64_t a, int64_t b)
{
    sqlite3_stmt *st;
    int rc = db_prepare(d, q, &st);
    if (rc != SQLITE_OK)
        return rc;
    int n = sqlite3_bind_parameter_count(st);
    if (n > 0)
        (void)sqlite3_bind_int64(st, 1, a);
    if (n > 1)
        (void)sqlite3_bind_int64(st, 2, b);
    rc = sqlite3_step(st);
    (void)sqlite3_reset(st);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

int db_rollback(struct db *d, int rc)
{
    if (!sqlite3_get_autocommit(d->db))
        (void)db_run(d, Q_ROLLBACK, 0, 0);
    return rc;
}

int64_t db_pragma(struct db *d, const char *text, int *rc)
{
    sqlite3_stmt *st = NULL;
    int64_t v = 0;
    if (*rc != SQLITE_OK)
        return 0;
    *rc = sqlite3_prepare_v2(d->db, text, -1, &st, NULL);
    if (*rc == SQLITE_OK) {
        *rc = sqlite3_step(st);
        if (*rc == SQLITE_ROW)
            v = sqlite3_column_int64(st, 0);
        if (*rc == SQLITE_ROW || *rc == SQLITE_DONE)
            *rc = SQLITE_OK;
    }
    (void)sqlite3_finalize(st);
    return v;
}

static int on_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
    (void)db, (void)name;
    ((struct db *)arg)->wal_pages = pages;
    return SQLITE_OK;
}

void db_close(struct db *d)
{
    for (int i = 0; i < Q_COUNT; i++)
        (void)sqlite3_finalize(d->statements[i]);
    (void)sqlite3_close(d->db);
    mem_free(d->path);
    *d = (struct db){0};
}

static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE log(rev INTEGER PRIMARY KEY, key BLOB NOT NULL, created INTEGER NOT NULL,"
    " prev INTEGER NOT NULL, value BLOB, sum INTEGER NOT NULL);"
    "CREATE TABLE meta(ceiling INTEGER NOT NULL, floor INTEGER NOT NULL, clean INTEGER NOT NULL);"
    "CREATE TABLE gap(after INTEGER PRIMARY KEY, upto INTEGER NOT NULL);"
    "INSERT INTO meta VALUES(1, 1, 1);"
    "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT;";

/* A log that is empty or gone while its WAL is there has lost what it was: SQLite would begin a new one. */
static bool log_is_lost(const char *path, struct err *err)
{
    struct stat st, wal;
    AUTO(strbuf_fini) struct strbuf beside = STRBUF(STRBUF_TEXT);
    strbuf_addf(&beside, "%s-wal", path);
    bool there = stat(path, &st) == 0 && st.st_size > 0;
    if (there || stat(beside.p, &wal) < 0 || wal.st_size == 0)
        return false;
    (void)err_set(
        err, E_IO,
        "%s is %s, but %s holds changes that belong to it: put the file back or restore a backup (or, to begin "
        "with nothing, remove that one too)",
        path, stat(path, &st) == 0 ? "empty" : "gone", beside.p);
    return true;
}

bool db_open(struct db *d, const char *path, bool create, struct err *err)
{
    vfs_register();
    d->path = mem_dupz(path);
    if (log_is_lost(path, err))
        return false;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                (create ? SQLITE_OPEN_CREATE : 0);
    int rc = sqlite3_open_v2(path, &d->db, flags, VFS_NAME);
    (void)db_pragma(d, "PRAGMA locking_mode = EXCLUSIVE", &rc);
    (void)db_pragma(d, "PRAGMA page_size = 4096", &rc);
    (void)db_pragma(d, "PRAGMA cache_size = -256", &rc); /* KiB */
    (void)db_pragma(d, "PRAGMA temp_store = MEMORY", &rc);
    int64_t application = db_pragma(d, "PRAGMA application_id", &rc);
    int64_t format = db_pragma(d, "PRAGMA user_version", &rc);
    int64_t tables = db_pragma(d, "SELECT count(*) FROM sqlite_schema", &rc);
    if (rc != SQLITE_OK)
        return db_err(d, rc, "read it", err);
    bool fresh = tables == 0 && application == 0;
    if (fresh)
        (void)chmod(path, 0600); /* the WAL takes it over */
    if (!fresh && application != APPLICATION)
        return err_set(err, E_IO, "%s is an SQLite database, but not a store of Wherry", path);
    if (!fresh && format > FORMAT)
        return err_set(err, E_INVALID,
                       "%s was written by a newer Wherry (store format %" PRId64
                       ", this program knows %d): use that one, or restore a backup",
                       path, format, FORMAT);
    (void)db_pragma(d, "PRAGMA journal_mode = WAL", &rc);
    (void)db_pragma(d, "PRAGMA synchronous = FULL", &rc);
    (void)db_pragma(d, "PRAGMA wal_autocheckpoint = 0", &rc);
    (void)db_pragma(d, "PRAGMA journal_size_limit = 8388608", &rc);
    if (rc == SQLITE_OK && fresh) {
        char text[sizeof schema + 32];
        (void)snprintf(text, sizeof text, schema, APPLICATION, FORMAT);
        rc = sqlite3_exec(d->db, text, NULL, NULL, NULL);
        if (rc != SQLITE_OK)
            (void)db_rollback(d, rc);
    }
    if (rc != SQLITE_OK)
        return db_err(d, rc, "prepare it", err);
    (void)sqlite3_wal_hook(d->db, on_wal, d);
    return true;
}

static uint32_t row_sum(const struct sqlite_row *r)
{
    int64_t head[4] = {r->rev, r->created, r->prev, r->value.p ? (int64_t)r->value.n : -1};
    unsigned long c = crc32(0, (const unsigned char *)head, sizeof head);
    c = crc32(c, (const unsigned char *)r->key.p, (unsigned)r->key.n);
    if (r->value.n)
        c = crc32(c, (const unsigned char *)r->value.p, (unsigned)r->value.n);
    return (uint32_t)c;
}

int row_insert(struct db *d, const struct sqlite_row *r)
{
    sqlite3_stmt *st;
    int rc = db_prepare(d, Q_INSERT, &st);
    if (rc != SQLITE_OK)
        return rc;
    (void)sqlite3_bind_int64(st, 1, r->rev);
    (void)sqlite3_bind_blob(st, 2, r->key.p, (int)r->key.n, SQLITE_STATIC);
    (void)sqlite3_bind_int64(st, 3, r->created);
    (void)sqlite3_bind_int64(st, 4, r->prev);
    (void)sqlite3_bind_blob(st, 5, r->value.p, (int)r->value.n, SQLITE_STATIC); /* NULL binds NULL */
    (void)sqlite3_bind_int64(st, 6, row_sum(r));
    rc = sqlite3_step(st);
    (void)sqlite3_reset(st);
    (void)sqlite3_clear_bindings(st);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

struct str row_text(sqlite3_stmt *st, int i)
{
    const char *p = sqlite3_column_blob(st, i);
    return (struct str){p, p ? (size_t)sqlite3_column_bytes(st, i) : 0};
}

/* Borrows from the statement. */
bool row_read(struct db *d, sqlite3_stmt *st, struct sqlite_row *r, struct err *err)
{
    r->rev = sqlite3_column_int64(st, 0);
    r->key = row_text(st, 1);
    r->created = sqlite3_column_int64(st, 2);
    r->prev = sqlite3_column_int64(st, 3);
    r->value = row_text(st, 4);
    r->sum = (uint32_t)sqlite3_column_int64(st, 5);
    bool sound = r->key.n > 0 && r->key.n <= STORE_KEY_MAX && r->value.n <= STORE_VALUE_MAX + SEAL_OVERHEAD &&
                 r->sum == row_sum(r);
    return sound || err_set(err, E_IO,
                            "%s is damaged (the entry at revision %" PRId64 " has a wrong checksum): "
                            "restore a backup",
                            d->path, r->rev);
}

int db_query(struct db *d, enum statement q, int64_t a, int64_t b, sqlite3_stmt **out)
{
    int rc = db_prepare(d, q, out);
    if (rc == SQLITE_OK) {
        (void)sqlite3_bind_int64(*out, 1, a);
        if (sqlite3_bind_parameter_count(*out) > 1)
            (void)sqlite3_bind_int64(*out, 2, b);
    }
    return rc;
}
