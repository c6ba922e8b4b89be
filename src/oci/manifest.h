/* manifest.h - image manifests, indexes and configs as registries and archives have them (OCI image-spec 1.1, Docker
 * schema 2), and docker-archive's manifest.json. Written by strangers: only jobs call this. Pure; texts in the arena.
 */
#pragma once
#include "oci/image.h"

#define MEDIA_OCI_MANIFEST    "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_OCI_INDEX       "application/vnd.oci.image.index.v1+json"
#define MEDIA_OCI_CONFIG      "application/vnd.oci.image.config.v1+json"
#define MEDIA_OCI_LAYER       "application/vnd.oci.image.layer.v1.tar"
#define MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define MEDIA_DOCKER_LIST     "application/vnd.docker.distribution.manifest.list.v2+json"

struct descriptor {
    struct str media_type;
    struct digest digest;
    int64_t size;
    struct str os, arch, variant;   /* in an index; empty: not said */
    struct str ref_name, full_name; /* annotations org.opencontainers.image.ref.name, io.containerd.image.name */
};
struct manifest {
    bool index;               /* list: manifests; else layers, lowest first */
    struct descriptor config; /* not of an index */
    struct descriptor *list;
    size_t n;
};
/* INVALID with a sentence; schema 1 is refused by name. */
MUST_USE bool manifest_decode(struct arena *a, struct str text, struct manifest *out, struct err *err);
/* The entry for linux and this machine's architecture; NULL: NOT_FOUND "no match for platform in manifest". */
const struct descriptor *manifest_for_here(const struct manifest *index, struct err *err) MUST_USE;
const char *machine_arch(void); /* as Go names it: "amd64" */

/* The config: fills what the record takes from it; diff_ids are of the layers, lowest first. */
MUST_USE bool config_decode(struct arena *a, struct str text, struct image *out, struct digest **diff_ids,
                            size_t *ndiff_ids, struct err *err);

struct docker_entry {
    struct str config; /* path in the archive */
    struct strs tags, layers;
};
MUST_USE bool docker_manifest_decode(struct arena *a, struct str text, struct docker_entry **out, size_t *n,
                                     struct err *err);

/* passwd(5) and group(5) of an image into the record; lines that are none are passed over, as getpwent does. */
#define ACCOUNTS_MAX 1000
void accounts_decode(struct arena *a, struct str passwd, struct str group, struct image *out);
