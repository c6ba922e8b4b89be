/* sqlite.c - the SQLite engine: a log in WAL mode, one row a change. A row names the revision that it replaces, so no
 * index by key is needed: live is what no later row replaces, and compaction finds its work in the rows it walks
 * over.
 *
 * - log: rev, key, created, prev (the revision replaced; 0: the key was new), value (in its envelope; NULL: deleted),
 *   sum (CRC-32 of all that)
 * - meta: ceiling (revisions up to here may have been given), floor (compacted up to), clean (1: closed, and nothing
 *   above ceiling was given)
 * - gap: after, upto: revisions that may have been given and lost
 *
 * A commit (commit_run) is one transaction: a row for each change of the batch, the ceiling where it moves, and in
 * the first one of a life the gap that the end before left. SQLite appends the pages to its WAL and syncs it once;
 * that sync is the commit, and the batch is answered for after it. When the WAL has grown to WAL_PAGES, its pages are
 * copied into the file between two commits (checkpoint). If anything fails the transaction is rolled back as a whole:
 * a batch is in the log or it is not.
 *
 * Compaction forgets what no one may ask for any more, COMPACT_ROWS rows a transaction, behind the commits that came
 * meanwhile: of the rows up to the floor those that a later row, also up to the floor, replaces, and those that say
 * "deleted". The row that replaces is in the log before the one it replaces goes.
 *
 * Nothing is written at open: a ceiling is reserved with the first commit, and only then are lazy writes shown before
 * they are logged. All statements run in the worker (worker.h), a thread of this engine alone, one after the other,
 * on one connection; the loop looks at no field that the worker writes while it is at work. */
#include "store/sqlite.h"
#include "store/sqlite_int.h"
#include "store/vfs.h"
#include "store/worker.h"
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>

enum {
    PAGE_SIZE = 4096,
    WAL_PAGES = 1000,        /* after which pages go from the WAL to the file */
    COMPACT_ROWS = 500,      /* in one transaction, */
    COMPACT_BYTES = 8 << 20, /* and of the values that go */
    ROOM = 256 << 10,        /* a disk that was full has room again from here on */
};

struct sqlite {
    struct engine base; /* first */
    struct db db;
    struct worker *worker;
    struct work commit, checkpoint, compact;
    struct batch *batch;
    struct strbuf plain, sealed; /* the commit's scratch */
    bool checkpointing, compacting;
    bool started;         /* something was committed: meta says so */
    bool clean;           /* what meta said at open */
    struct gap gap;       /* made by the end before this start; to be recorded with the first commit */
    int64_t logged;       /* highest revision committed */
    int64_t floor;        /* in meta: compacted up to */
    int64_t compact_upto; /* where the compaction under way is to end */
    int64_t floor_wanted; /* the loop's: what was asked for meanwhile */
    bool compact_failed;
    bool full; /* the last commits met a full disk, and there is hardly any room yet */
    uint64_t syncs_before;
    atomic_uint_fast64_t file_bytes, wal_bytes;
};

/* --- opening --- */

struct meta {
    int64_t ceiling, floor, last;
    bool clean;
};

static bool read_meta(struct db *d, struct meta *m, struct err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(d, Q_META, &st);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        *m = (struct meta){sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 3),
                           sqlite3_column_int64(st, 2) == 1};
        (void)sqlite3_reset(st);
        if (m->floor >= 1 && m->ceiling >= m->floor && m->ceiling >= m->last)
            return true;
        rc = SQLITE_DONE;
    } else if (st) {
        (void)sqlite3_reset(st);
    }
    if (rc == SQLITE_DONE)
        return err_set(err, E_IO, "%s is damaged (its revisions contradict each other): restore a backup", d->path);
    return db_err(d, rc, "read it", err);
}

static bool read_gaps(struct sqlite *q, struct err *err)
{
    sqlite3_stmt *st;
    int rc = db_prepare(&q->db, Q_GAPS, &st);
    if (rc != SQLITE_OK)
        return db_err(&q->db, rc, "read it", err);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW)
        array_push(&q->base.store->gaps, ((struct gap){sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1)}));
    (void)sqlite3_reset(st);
    return rc == SQLITE_DONE || db_err(&q->db, rc, "read it", err);
}

static bool read_live(struct sqlite *q, struct err *err)
{
    sqlite3_stmt *st;
    bool ok = true;
    int rc = db_query(&q->db, Q_LIVE, q->floor, 0, &st);
    if (rc != SQLITE_OK)
        return db_err(&q->db, rc, "read it", err);
    while (ok && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct sqlite_row r;
        ok = row_read(&q->db, st, &r, err) && store_load(q->base.store, r.key, r.value, r.created, r.rev, err);
    }
    (void)sqlite3_reset(st);
    return ok && (rc == SQLITE_DONE || db_err(&q->db, rc, "read it", err));
}

/* Where revisions go on. After an end without a close, those above the last in the log and up to the ceiling may have
 * been seen: they are a gap, and so that nobody can have seen the first one of this life, it is above the ceiling. */
static void take_up(struct sqlite *q, const struct meta *m)
{
    struct store *s = q->base.store;
    q->clean = m->clean;
    q->floor = s->floor = m->floor;
    q->logged = MAX(m->last, m->floor);
    s->rev = m->ceiling;
    if (!m->clean) {
        q->gap = (struct gap){q->logged, m->ceiling};
        s->rev = m->ceiling + 1;
        if (s->gaps.n && s->gaps.p[s->gaps.n - 1].after == q->gap.after) /* nothing was logged in between */
            (void)array_pop(&s->gaps);
        array_push(&s->gaps, q->gap);
    }
    s->ceiling = s->rev;
}

/* --- committing --- */

static int log_changes(struct sqlite *q, struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        struct store_change *c = b->changes[i];
        struct sqlite_row r = {.rev = c->ev.rev, .key = c->key, .prev = c->ev.was ? c->ev.was->mod_rev : 0};
        if (c->ev.now) {
            strbuf_reset(&q->sealed);
            if (!store_bytes(&q->base.store->seal, q->base.store->type, c, &q->plain, &q->sealed, &b->err)) {
                b->bad = (ptrdiff_t)i;
                return SQLITE_ABORT;
            }
            r.value = strbuf_str(&q->sealed);
            r.created = c->ev.now->create_rev;
            b->bytes += r.value.n;
        }
        int rc = row_insert(&q->db, &r);
        if (rc != SQLITE_OK)
            return rc;
    }
    return SQLITE_OK;
}

static void sizes_read(struct sqlite *q)
{
    sqlite3_stmt *st;
    if (db_prepare(&q->db, Q_PAGES, &st) == SQLITE_OK) {
        if (sqlite3_step(st) == SQLITE_ROW)
            atomic_store(&q->file_bytes, (uint64_t)sqlite3_column_int64(st, 0) * PAGE_SIZE);
        (void)sqlite3_reset(st);
    }
    atomic_store(&q->wal_bytes, (uint64_t)q->db.wal_pages * (PAGE_SIZE + 24));
}

static void commit_run(struct work *w)
{
    struct sqlite *q = container_of(w, struct sqlite, commit);
    struct batch *b = q->batch;
    int64_t start = clock_mono();
    q->plain = STRBUF(STORE_VALUE_MAX);
    q->sealed = STRBUF(STORE_VALUE_MAX + SEAL_OVERHEAD);
    int rc = db_run(&q->db, Q_BEGIN, 0, 0);
    if (rc == SQLITE_OK)
        rc = log_changes(q, b);
    if (rc == SQLITE_OK && b->ceiling)
        rc = db_run(&q->db, Q_CEILING, b->ceiling, 0);
    if (rc == SQLITE_OK && !q->started && q->gap.upto)
        rc = db_run(&q->db, Q_GAP, q->gap.after, q->gap.upto);
    if (rc == SQLITE_OK)
        rc = db_run(&q->db, Q_COMMIT, 0, 0);
    b->ok = rc == SQLITE_OK;
    if (!b->ok && b->bad < 0)
        (void)db_err(&q->db, rc, "write to it", &b->err);
    (void)db_rollback(&q->db, rc);
    /* small writes may fit into the WAL as it is, so a commit alone does not show that there is room */
    q->full = b->err.sys == ENOSPC || (q->full && db_room(q->db.path) < ROOM);
    b->tight = b->ok && q->full;
    if (b->ok) {
        q->started = true;
        q->logged = b->n ? MAX(q->logged, b->changes[b->n - 1]->ev.rev) : q->logged;
    }
    sizes_read(q);
    strbuf_fini(&q->plain);
    strbuf_fini(&q->sealed);
    b->ns = clock_mono() - start;
}

static void checkpoint_run(struct work *w)
{
    struct sqlite *q = container_of(w, struct sqlite, checkpoint);
    int in_wal, done;
    /* nobody else reads, so everything goes, and the WAL is written from its beginning again; where it fails, the
     * next commit asks again */
    if (sqlite3_wal_checkpoint_v2(q->db.db, NULL, SQLITE_CHECKPOINT_RESTART, &in_wal, &done) == SQLITE_OK)
        q->db.wal_pages = 0;
    sizes_read(q);
}

static void checkpoint_done(struct work *w)
{
    container_of(w, struct sqlite, checkpoint)->checkpointing = false;
}

static void commit_done(struct work *w)
{
    struct sqlite *q = container_of(w, struct sqlite, commit);
    bool much = q->db.wal_pages >= WAL_PAGES;
    store_committed(q->base.store, TAKE(q->batch));
    if (much && !q->checkpointing) {
        q->checkpointing = true;
        q->checkpoint = (struct work){.run = checkpoint_run, .done = checkpoint_done};
        worker_put(q->worker, &q->checkpoint);
    }
}

static void sqlite_commit(struct engine *e, struct batch *b)
{
    struct sqlite *q = container_of(e, struct sqlite, base);
    q->batch = b;
    if (!q->started && !b->ceiling) /* the first commit says that this life is not closed */
        b->ceiling = MAX(e->store->ceiling, b->n ? b->changes[b->n - 1]->ev.rev : 0);
    q->commit = (struct work){.run = commit_run, .done = commit_done};
    worker_put_urgent(q->worker, &q->commit); /* readers of history may be many */
}

/* --- compaction --- */

/* How far one transaction goes, so that those who write are not kept waiting. */
static int compact_to(struct sqlite *q, int64_t upto, int64_t *to)
{
    sqlite3_stmt *st;
    int64_t bytes = 0;
    *to = upto;
    int rc = db_query(&q->db, Q_REPLACED, q->floor, upto, &st);
    if (rc != SQLITE_OK)
        return rc;
    for (int n = 1; (rc = sqlite3_step(st)) == SQLITE_ROW; n++) {
        bytes += sqlite3_column_int64(st, 1);
        if (n >= COMPACT_ROWS || bytes >= COMPACT_BYTES) {
            *to = sqlite3_column_int64(st, 0);
            break;
        }
    }
    (void)sqlite3_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int compact_some(struct sqlite *q, int64_t upto)
{
    int64_t to;
    int rc = compact_to(q, upto, &to);
    if (rc != SQLITE_OK)
        return rc;
    rc = db_run(&q->db, Q_BEGIN, 0, 0);
    if (rc == SQLITE_OK)
        rc = db_run(&q->db, Q_FORGET_OLD, q->floor, to);
    if (rc == SQLITE_OK)
        rc = db_run(&q->db, Q_FORGET_DELETED, q->floor, to);
    if (rc == SQLITE_OK)
        rc = db_run(&q->db, Q_FORGET_GAPS, to, 0);
    if (rc == SQLITE_OK)
        rc = db_run(&q->db, Q_FLOOR, to, 0);
    if (rc == SQLITE_OK)
        rc = db_run(&q->db, Q_COMMIT, 0, 0);
    (void)db_rollback(&q->db, rc);
    if (rc == SQLITE_OK)
        q->floor = to;
    return rc;
}

static void compact_run(struct work *w)
{
    struct sqlite *q = container_of(w, struct sqlite, compact);
    /* not beyond what is logged: the row that replaces must be there before the row that it replaces goes */
    int64_t upto = MIN(q->compact_upto, q->logged);
    q->compact_failed = q->floor < upto && compact_some(q, upto) != SQLITE_OK;
    if (q->floor >= upto)
        q->compact_upto = q->floor;
    sizes_read(q);
}

static void compact_done(struct work *w)
{
    struct sqlite *q = container_of(w, struct sqlite, compact);
    /* what failed is done with the next compaction, which begins where this one ended */
    q->compacting = q->compact_upto > q->floor && !q->compact_failed;
    if (!q->compacting && q->floor_wanted) {
        q->compacting = true;
        q->compact_upto = q->floor_wanted;
        q->floor_wanted = 0;
    }
    if (q->compacting)
        worker_put(q->worker, w); /* behind the commits that came meanwhile */
}

static void sqlite_compact(struct engine *e, int64_t floor)
{
    struct sqlite *q = container_of(e, struct sqlite, base);
    if (q->compacting) {
        q->floor_wanted = floor;
        return;
    }
    q->compacting = true;
    q->compact_upto = floor;
    q->compact = (struct work){.run = compact_run, .done = compact_done};
    worker_put(q->worker, &q->compact);
}

/* --- history --- */

struct sqlite_reading {
    struct work work;
    struct sqlite *q;
    struct history_work *history;
};

static bool row_unseal(struct sqlite *q, struct arena *a, const struct sqlite_row *r, struct str *out,
                       struct err *err)
{
    AUTO(strbuf_fini) struct strbuf plain = STRBUF(STORE_VALUE_MAX);
    if (!r->value.p)
        return true;
    if (!seal_open(&q->base.store->seal, r->key, r->value, &plain, err))
        return false;
    *out = str_dup(a, strbuf_str(&plain));
    return true;
}

static bool read_was(struct sqlite *q, struct arena *a, struct history_row *out, struct err *err)
{
    sqlite3_stmt *st;
    int rc = db_query(&q->db, Q_ONE, out->was_rev, 0, &st);
    if (rc != SQLITE_OK)
        return db_err(&q->db, rc, "read it", err);
    struct sqlite_row r;
    rc = sqlite3_step(st);
    bool ok = rc == SQLITE_ROW && row_read(&q->db, st, &r, err) && row_unseal(q, a, &r, &out->was, err);
    if (ok)
        out->was_create_rev = r.created;
    (void)sqlite3_reset(st);
    if (rc == SQLITE_DONE)
        return err_set(err, E_EXPIRED, "revision %" PRId64 " has been compacted", out->was_rev);
    return ok || (rc != SQLITE_ROW && db_err(&q->db, rc, "read it", err));
}

static bool read_history(struct sqlite *q, struct history_work *w)
{
    sqlite3_stmt *st;
    struct str prefix = str_of(w->prefix);
    size_t bytes = 0, looked = 0;
    bool ok = true;
    int rc = db_query(&q->db, Q_SINCE, w->after, w->upto, &st);
    if (rc != SQLITE_OK)
        return db_err(&q->db, rc, "read it", &w->err);
    w->reached = w->after;
    while (ok && w->rows.n < HISTORY_ROWS && bytes < HISTORY_BYTES && looked++ < HISTORY_LOOKED &&
           (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct sqlite_row r;
        w->reached = sqlite3_column_int64(st, 0);
        if (!str_starts(row_text(st, 1), prefix))
            continue;
        struct history_row out = {0};
        ok = row_read(&q->db, st, &r, &w->err) && row_unseal(q, &w->arena, &r, &out.now, &w->err);
        if (!ok)
            break;
        out.rev = r.rev;
        out.create_rev = r.created;
        out.was_rev = r.prev;
        out.key = str_dup(&w->arena, r.key);
        ok = !out.was_rev || read_was(q, &w->arena, &out, &w->err);
        bytes += out.now.n + out.was.n;
        array_push(&w->rows, out);
    }
    (void)sqlite3_reset(st);
    if (ok && rc == SQLITE_DONE)
        w->reached = w->upto;
    return ok && (rc == SQLITE_DONE || rc == SQLITE_ROW || db_err(&q->db, rc, "read it", &w->err));
}

static void reading_run(struct work *w)
{
    struct sqlite_reading *r = container_of(w, struct sqlite_reading, work);
    r->history->ok = read_history(r->q, r->history);
}

static void reading_done(struct work *w)
{
    struct sqlite_reading *r = container_of(w, struct sqlite_reading, work);
    struct history_work *h = r->history;
    mem_free(r);
    history_arrived(h);
}

static void sqlite_history(struct engine *e, struct history_work *w)
{
    struct sqlite *q = container_of(e, struct sqlite, base);
    struct sqlite_reading *r = NEW(struct sqlite_reading);
    *r = (struct sqlite_reading){.work = {.run = reading_run, .done = reading_done}, .q = q, .history = w};
    worker_put(q->worker, &r->work);
}

/* --- the engine --- */

static void sqlite_drain(struct engine *e)
{
    worker_drain(container_of(e, struct sqlite, base)->worker);
}

static void close_sqlite(struct engine *e, int64_t given)
{
    struct sqlite *q = container_of(e, struct sqlite, base);
    if (q->started && given)
        (void)db_run(&q->db, Q_CEILING, given, 1);
    worker_free(q->worker);
    db_close(&q->db);
    mem_free(q);
}

static void sqlite_stats(const struct engine *e, struct store_stats *out)
{
    const struct sqlite *q = container_of(e, const struct sqlite, base);
    out->file_bytes = atomic_load(&q->file_bytes);
    out->wal_bytes = atomic_load(&q->wal_bytes);
    out->syncs = vfs_syncs() - q->syncs_before;
}

static const struct engine_ops sqlite_ops = {
    .logs = true,
    .commit = sqlite_commit,
    .history = sqlite_history,
    .compact = sqlite_compact,
    .drain = sqlite_drain,
    .close = close_sqlite,
    .stats = sqlite_stats,
};

struct engine *sqlite_open(struct store *s, const char *path, struct err *err)
{
    struct sqlite *q = NEW(struct sqlite);
    struct meta m;
    q->base = (struct engine){&sqlite_ops, s};
    q->syncs_before = vfs_syncs();
    bool ok = db_open(&q->db, path, true, err) && read_meta(&q->db, &m, err) && read_gaps(q, err);
    if (ok) {
        bool again = false;
        take_up(q, &m);
        ok = read_live(q, err) && store_half_open(s, &again, err) && (!again || read_live(q, err)) &&
             (q->worker = worker_new(s->loop, err));
    }
    if (!ok) {
        db_close(&q->db);
        mem_free(q);
        return NULL;
    }
    sizes_read(q);
    (void)sqlite3_db_release_memory(q->db.db);
    return &q->base;
}

/* --- making one --- */

bool sqlite_ceiling(const char *path, int64_t *rev, struct err *err)
{
    struct db d = {0};
    struct meta m;
    *rev = 0;
    if (access(path, F_OK) < 0)
        return errno == ENOENT || err_errno(err, "look at %s", path);
    bool ok = db_open(&d, path, false, err) && read_meta(&d, &m, err);
    if (ok)
        *rev = m.ceiling + 1;
    db_close(&d);
    return ok;
}

struct sqlite_writer {
    struct db db;
};

struct sqlite_writer *sqlite_writer_new(const char *path, struct err *err)
{
    AUTO(sqlite_writer_free) struct sqlite_writer *w = NEW(struct sqlite_writer);
    if (!db_open(&w->db, path, true, err))
        return NULL;
    int rc = db_run(&w->db, Q_BEGIN, 0, 0);
    if (rc != SQLITE_OK) {
        (void)db_err(&w->db, rc, "write to it", err);
        return NULL;
    }
    return TAKE(w);
}

bool sqlite_writer_add(struct sqlite_writer *w, struct str key, struct str stored, int64_t create_rev,
                       int64_t mod_rev, struct err *err)
{
    int rc = row_insert(&w->db,
                        &(struct sqlite_row){.rev = mod_rev, .created = create_rev, .key = key, .value = stored});
    if (rc == SQLITE_CONSTRAINT_ROWID || rc == SQLITE_CONSTRAINT_PRIMARYKEY)
        return err_set(err, E_IO, "two keys have revision %" PRId64, mod_rev);
    return rc == SQLITE_OK || db_err(&w->db, rc, "write to it", err);
}

bool sqlite_writer_end(struct sqlite_writer *w, int64_t rev, struct err *err)
{
    int in_wal, done, rc = db_run(&w->db, Q_CEILING, rev, 1);
    if (rc == SQLITE_OK)
        rc = db_run(&w->db, Q_FLOOR, rev, 0);
    if (rc == SQLITE_OK)
        rc = db_run(&w->db, Q_COMMIT, 0, 0);
    if (rc == SQLITE_OK)
        rc = sqlite3_wal_checkpoint_v2(w->db.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, &in_wal, &done);
    return rc == SQLITE_OK || db_err(&w->db, rc, "write to it", err);
}

void sqlite_writer_free(struct sqlite_writer *w)
{
    (void)db_rollback(&w->db, 0);
    db_close(&w->db);
    mem_free(w);
}
