/* backup.h - all keys at one revision in one file, independent of the engine: format version, checksum, sealed values
 * stay sealed (their keys are needed to use it). Both functions block: run them in a job or before a store is open.
 */
#pragma once
#include "store/store.h"

/* Writes path (mode 0600) by way of path.tmp: it is there whole or not at all, and on disk when this returns. The
 * snapshot is read in the calling thread; the store goes on meanwhile.
 */
MUST_USE bool store_backup(const struct store_snapshot *snap, const struct store_options *o, const char *path,
                           struct err *err);

/* What goes before a backup's bytes so that the file brings `bundle` along; its secrecy and integrity are the
 * bundle's own affair. */
#define BACKUP_BUNDLE_MAX (64 << 10)
void store_backup_front(struct str bundle, struct strbuf *out);
/* The bundle of the backup in this file; empty where it brings none. */
MUST_USE bool store_backup_bundle(const char *path, struct strbuf *out, struct err *err);

/* Makes the SQLite store o->path from a backup. Its revisions begin above every revision the backup knew, above those
 * of a store that stands at o->path (which must not be in use; it is kept as PATH.before-restore and is refused
 * unless `replace`), and above what the lost store may have given since the backup: 10^9 further. Older watches get
 * EXPIRED. Refused with a sentence, o->path untouched: a damaged or cut file, one of a newer format. */
MUST_USE bool store_restore(const struct store_options *o, const char *path, bool replace, int64_t *rev,
                            struct err *err);
