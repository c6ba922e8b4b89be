/* sqlite.h - the log on disk, for what makes or inspects one without a store: restore. Blocking. */
#pragma once
#include "store/store.h"

/* The highest revision that the store at path may have given; 0: there is no file. UNAVAILABLE: it is in use. */
MUST_USE bool sqlite_ceiling(const char *path, int64_t *rev, struct err *err);

/* A new log, from rows that are all live. The file must not exist. */
struct sqlite_writer;
struct sqlite_writer *sqlite_writer_new(const char *path, struct err *err) MUST_USE;
MUST_USE bool sqlite_writer_add(struct sqlite_writer *w, struct str key, struct str stored, int64_t create_rev,
                                int64_t mod_rev, struct err *err); /* stored: in its envelope (seal.h) */
/* Everything is on disk; the store will begin at rev, with no history before. */
MUST_USE bool sqlite_writer_end(struct sqlite_writer *w, int64_t rev, struct err *err);
void sqlite_writer_free(struct sqlite_writer *w);
AUTO_POINTER(sqlite_writer_free, struct sqlite_writer);
