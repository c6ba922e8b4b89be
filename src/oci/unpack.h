/* unpack.h - layers and archives, for wherry-job alone: everything here reads what strangers wrote, by libarchive.
 * Blocking. The caller has taken its rights away first (confine.h). */
#pragma once
#include "oci/manifest.h"

struct unpack_limits {
    int64_t bytes;   /* of one layer, unpacked; also stops decompression bombs */
    int64_t entries; /* of one layer */
};
#define UNPACK_LIMITS ((struct unpack_limits){.bytes = 64LL << 30, .entries = 4 << 20})

/* One layer (tar, plain, gzip or zstd) into the empty folder `into`, as overlayfs wants a lower layer with userxattr:
 * whiteouts become devices 0:0, opaque folders get user.overlay.opaque. Every path is resolved by the kernel inside
 * `into` (openat2 RESOLVE_IN_ROOT); "..", targets of hard links outside and attributes of overlayfs's own are
 * refused. diff_id: of the uncompressed tar, checked. */
MUST_USE bool layer_unpack(int blob, int into, const struct digest *diff_id, const struct unpack_limits *limits,
                           struct err *err);

/* Manifest, config and layers are blobs of the store: unpacks what is missing and writes the record. */
MUST_USE bool image_finish(struct content *c, const struct digest *manifest, const struct unpack_limits *limits,
                           struct err *err);

/* An OCI archive or a docker-archive (tar, also gzip or zstd) from a descriptor into the store. name: for an archive
 * that says no name (or only a tag); may be empty. names: what it is called now, normalised. */
MUST_USE bool archive_load(struct content *c, int fd, struct str name, struct arena *a, struct strs *names,
                           struct digest *manifest, struct err *err);
