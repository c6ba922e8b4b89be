/* sqlite_int.h - the log as a database: what sqlite_db.c does for the engine and for who makes a log (sqlite.c). */
#pragma once
#include "store/store_int.h"
#include <sqlite3.h>

#define STATEMENTS(X)                                                                                                \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                                      \
    X(COMMIT, "COMMIT")                                                                                              \
    X(ROLLBACK, "ROLLBACK")                                                                                          \
    X(INSERT, "INSERT INTO log(rev, key, created, prev, value, sum) VALUES(?1, ?2, ?3, ?4, ?5, ?6)")                 \
    X(CEILING, "UPDATE meta SET ceiling = ?1, clean = ?2")                                                           \
    X(GAP, "INSERT OR REPLACE INTO gap(after, upto) VALUES(?1, ?2)")                                                 \
    X(META, "SELECT ceiling, floor, clean, (SELECT coalesce(max(rev), 0) FROM log) FROM meta")                       \
    X(GAPS, "SELECT after, upto FROM gap ORDER BY after")                                                            \
    X(LIVE, "SELECT rev, key, created, prev, value, sum FROM log "                                                   \
            "WHERE value IS NOT NULL AND rev NOT IN (SELECT prev FROM log WHERE rev > ?1)")                          \
    X(SINCE, "SELECT rev, key, created, prev, value, sum FROM log WHERE rev > ?1 AND rev <= ?2 ORDER BY rev")        \
    X(ONE, "SELECT rev, key, created, prev, value, sum FROM log WHERE rev = ?1")                                     \
    X(REPLACED, "SELECT rev, (SELECT length(p.value) FROM log p WHERE p.rev = l.prev) FROM log l "                   \
                "WHERE l.rev > ?1 AND l.rev <= ?2 ORDER BY l.rev")                                                   \
    X(FORGET_OLD, "DELETE FROM log WHERE rev IN (SELECT prev FROM log WHERE rev > ?1 AND rev <= ?2 AND prev > 0)")   \
    X(FORGET_DELETED, "DELETE FROM log WHERE rev > ?1 AND rev <= ?2 AND value IS NULL")                              \
    X(FLOOR, "UPDATE meta SET floor = ?1")                                                                           \
    X(FORGET_GAPS, "DELETE FROM gap WHERE upto <= ?1")                                                               \
    X(PAGES, "PRAGMA page_count")
enum statement {
#define X(name, text) Q_##name,
    STATEMENTS(X)
#undef X
        Q_COUNT
};

struct db {
    sqlite3 *db;
    sqlite3_stmt *statements[Q_COUNT]; /* prepared on first use */
    char *path;
    int wal_pages;
};
struct sqlite_row {
    int64_t rev, created, prev;
    struct str key, value; /* value.p NULL: deleted */
    uint32_t sum;
};

/* Looks at what is there before changing anything. */
MUST_USE bool db_open(struct db *d, const char *path, bool create, struct err *err);
void db_close(struct db *d);
uint64_t db_room(const char *path);                                    /* bytes of the disk that we may take */
bool db_err(struct db *d, int rc, const char *doing, struct err *err); /* false; err says what SQLite said */

/* What answers with an int gives SQLite's code. db_run: a statement without rows; db_query: one with, to be stepped
 * and reset by the caller. Both take up to two numbers. */
int db_prepare(struct db *d, enum statement q, sqlite3_stmt **out);
int db_run(struct db *d, enum statement q, int64_t a, int64_t b);
int db_query(struct db *d, enum statement q, int64_t a, int64_t b, sqlite3_stmt **out);
int db_rollback(struct db *d, int rc); /* where a transaction is open; rc again */
int64_t db_pragma(struct db *d, const char *text, int *rc);

int row_insert(struct db *d, const struct sqlite_row *r);
/* Its texts stand until the statement is stepped or reset. False: damaged. */
MUST_USE bool row_read(struct db *d, sqlite3_stmt *st, struct sqlite_row *r, struct err *err);
struct str row_text(sqlite3_stmt *st, int i);
