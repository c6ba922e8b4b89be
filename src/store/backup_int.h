/* backup_int.h - the reader of the backup file, apart from files so that it can be fuzzed.
 *
 *   "WHERRYBACKUP", version (4 bytes), revision (8)
 *   1, key length (2), create revision (8), mod revision (8), value length (4), key, value in its envelope (seal.h)
 *      ... once a key, keys ascending
 *   0, number of keys (8)
 *   SHA-256 of everything before (32)
 * or, where it brings a bundle of the layer above (keys, sealed) along:
 *   "WHERRYBACKUP", 2 (4), length (4), that many bytes, and then all of the above
 * Numbers are big-endian. Nothing may follow. */
#pragma once
#include "store/store.h"

enum { BACKUP_VERSION = 1, BACKUP_BUNDLED = 2, BACKUP_NEWEST = BACKUP_BUNDLED };

struct backup_input {
    ptrdiff_t (*fill)(void *arg, char *p, size_t n); /* bytes read; 0: the end; < 0: an error, in errno */
    void *arg;
};
/* Every key goes to `each` as it is read, so before the checksum is known: whoever gets false forgets what he got. */
MUST_USE bool backup_read(const struct backup_input *in, int64_t *rev,
                          bool (*fn)(void *arg, struct str key, struct str stored, int64_t create_rev,
                                     int64_t mod_rev, struct err *err),
                          void *arg, struct err *err);
