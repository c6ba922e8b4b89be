/* unpack_int.h - what the files that read archives share: a stream that unpacks itself, and the entries of a tar in
 * it.
 */
#pragma once
#include "oci/digest.h"
#include "oci/unpack.h"
#include <archive.h>
#include <archive_entry.h>
#include <zlib.h>
#include <zstd.h>

#define BLOCK 65536
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
void source_init(struct unpack_source *s, int fd, int64_t max); /* max: bytes that come out */
void source_fini(struct unpack_source *s);
AUTO_VALUE(source_fini, struct unpack_source);
/* What comes next, at *p until the next call. 0: the end; -1: see err. */
ssize_t source_read(struct unpack_source *s, const void **p);

/* Every entry of the archive, in order. False: `take` said so, or it is none or damaged. */
MUST_USE bool archive_each(struct unpack_source *s,
                           bool (*take)(void *arg, struct archive *a, const struct unpack_source *s,
                                        struct archive_entry *e, const char *raw, struct err *err),
                           void *arg, struct err *err);
/* "./a//b/" -> "a/b"; "" is the root. Refuses ".." and what is too long: the rest is the kernel's to confine. */
MUST_USE bool archive_path(struct str path, char out[4096], struct err *err);
bool archive_failed(struct archive *a, const struct unpack_source *s, struct err *err); /* false; err says why */
