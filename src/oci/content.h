/* content.h - the content store: blobs by digest, unpacked layers, image records, names. Several processes use one
 * store at a time (node, jobs, `wherry image`); every change is temp + fsync + rename, so that a crash at any point
 * leaves nothing half-visible. Blocking: for jobs, not for the loop, except where said.
 *
 *   DIR/format              "wherry-content 1"
 *   DIR/lock                flock: shared while something is added, exclusive while garbage is collected
 *   DIR/blobs/sha256/HEX    manifests, configs, layers as they came
 *   DIR/layers/HEX          one layer unpacked, by chain id (image-spec, config.md), as overlayfs wants it
 *   DIR/images/HEX          what the node reads of an image (image.h), by manifest digest
 *   DIR/refs/HEX            one name (HEX: its sha256) -> manifest digest
 *   DIR/uses/ID             a container's claim on an image, or a pod's on several, one a line
 *   DIR/tmp                 what is on its way; emptied when nobody adds
 */
#pragma once
#include "base/array.h"
#include "base/err.h"
#include "oci/digest.h"

#define CONTENT_FORMAT       1
#define CONTENT_MANIFEST_MAX (4 << 20) /* bytes of a manifest, an index, a config */

struct content {
    char dir[200];   /* absolute */
    int fd;          /* of dir */
    int patience_ms; /* see ingest_begin; 30000 */
};
/* Makes the folders where they are missing. Refuses a store of another format with a sentence. */
struct content *content_open(const char *dir, struct err *err) MUST_USE;
void content_free(struct content *c);
AUTO_POINTER(content_free, struct content);

/* While a thing is added: keeps garbage collection away (blocks while it runs). The lock is the descriptor: closing
 * it gives it back. */
int content_lock_shared(const struct content *c, struct err *err) MUST_USE; /* -1: failed */

bool content_has_blob(const struct content *c, const struct digest *d);
int content_blob_open(const struct content *c, const struct digest *d, struct err *err) MUST_USE; /* -1: failed */
MUST_USE bool content_blob_read(const struct content *c, const struct digest *d, size_t max, struct strbuf *out,
                                struct err *err);
int64_t content_blob_size(const struct content *c, const struct digest *d); /* -1: not there */

/* One blob on its way in. A partial one with a known digest survives the process (resumed pulls). */
struct ingest {
    struct content *content;
    struct sha256 sum;
    int fd;
    int64_t size;
    char tmp[120]; /* relative to the store */
    bool keep;     /* on abort: leave it for the next try */
};
/* resume: take up what an earlier try left of `want`; in->size says how much is there already. Another one that
 * fetches the same blob is waited for, but not beyond the store's patience: its registry may be slow on purpose. */
MUST_USE bool ingest_begin(struct content *c, struct ingest *in, const struct digest *want, bool resume,
                           struct err *err);
MUST_USE bool ingest_write(struct ingest *in, const void *p, size_t n, struct err *err);
MUST_USE bool ingest_restart(struct ingest *in, struct err *err); /* back to nothing */
/* want NULL: whatever it is. A wrong digest is INVALID and nothing is kept. Ends the ingest either way. */
MUST_USE bool ingest_commit(struct ingest *in, const struct digest *want, struct digest *got, struct err *err);
void ingest_abort(struct ingest *in);
MUST_USE bool content_put(struct content *c, const void *p, size_t n, struct digest *got, struct err *err);

/* Layers: unpacked into a folder below tmp, then moved to their place at once (after syncfs by the caller). */
bool content_has_layer(const struct content *c, const struct digest *chain);
int content_layer_tmp(struct content *c, char name[80], struct err *err) MUST_USE; /* a new folder, opened; -1 */
MUST_USE bool content_layer_commit(struct content *c, const char *tmp, const struct digest *chain, struct err *err);
void content_tmp_remove(struct content *c, const char *tmp); /* recursively; never follows a link */

/* Small files of ours, by rename after fsync: "images/HEX", "refs/..". */
MUST_USE bool content_file_put(struct content *c, const char *path, struct str text, struct err *err);
MUST_USE bool content_file_get(const struct content *c, const char *path, size_t max, struct strbuf *out,
                               struct err *err);

/* Names. `name` is normalised (struct image_name.full). Fast enough for the loop: one small file. pulled: a registry
 * gave the image under this name, and may give it again; what somebody loaded by hand, nobody else has. */
MUST_USE bool content_ref_set(struct content *c, struct str name, const struct digest *manifest, bool pulled,
                              struct err *err);
MUST_USE bool content_ref_get(const struct content *c, struct str name, struct digest *out, struct err *err);
MUST_USE bool content_ref_del(struct content *c, struct str name, struct err *err);
struct content_ref {
    struct str name; /* in the arena */
    struct digest manifest;
    bool pulled;
    int64_t set_at; /* ns since 1970 */
};
struct content_refs {
    ARRAY(struct content_ref) list;
};
/* Sorted by name. */
MUST_USE bool content_refs(const struct content *c, struct arena *a, struct content_refs *out, struct err *err);

/* Claims: an image that a container uses is not collected. Made before the container's first mount, taken back when
 * its files are gone. NOT_FOUND: the image is not (any more) there. `id` is a container id. */
MUST_USE bool content_use(struct content *c, struct str id, const struct digest *manifest, struct err *err);
/* The same for one that may use several images; those that it claimed before stay claimed. `id` has a '_' in it,
 * which tells it from containers: who made the claim takes it back, content_uses_sweep's `keep` is not asked. */
MUST_USE bool content_use_also(struct content *c, struct str id, const struct digest *manifest, struct err *err);
void content_unuse(struct content *c, struct str id);
/* When the image came or a container last let go of it, whichever is later: ns since 1970; 0: it is not there. */
int64_t content_used_at(const struct content *c, const struct digest *manifest);
/* Takes back the claims of containers that are gone (after a reboot): keep(id) says which still live. */
void content_uses_sweep(struct content *c, bool (*keep)(void *arg, struct str id), void *arg);
bool content_used(const struct content *c, const struct digest *manifest); /* true, too, where nobody can tell */

/* Removes every blob, layer and record that neither a name nor a claim leads to. Waits for jobs that add. */
MUST_USE bool content_gc(struct content *c, int64_t *freed_bytes, struct err *err);
/* For want of space: takes the names of these images away, of each that no container uses and that only registries
 * gave, as they are when nobody adds any more, and collects what is garbage then, pulls that broke off included.
 * Stops once `enough` bytes are free. UNAVAILABLE: something is still being added after `patience`. */
struct content_collect {
    const struct digest *images;
    size_t n;
    int64_t enough;
    int patience_ms;
    int64_t freed;  /* out: bytes */
    size_t removed; /* out: images */
};
MUST_USE bool content_collect(struct content *c, struct content_collect *x, struct err *err);
