/* image.h - an image as the node needs it: its layers and how to start it. A job (which alone reads what strangers
 * wrote) turns manifest, config, /etc/passwd and /etc/group of the image into a record of our own; the node reads
 * only records. Records are text, a field a line, versioned; image_decode is total over any input. */
#pragma once
#include "oci/content.h"

#define IMAGE_FORMAT      1
#define IMAGE_LAYERS_MAX  500 /* the kernel's limit for overlayfs */
#define IMAGE_RECORD_MAX  (1 << 20)
#define IMAGE_VOLUMES_MAX 256

struct strs { /* borrowed texts, in an arena */
    struct str *p;
    size_t n;
};

/* One line of the image's passwd with the groups it is in (passwd(5), group(5)). */
struct image_account {
    struct str name, home;
    uint32_t uid, gid;
    uint32_t *groups; /* of /etc/group, without the primary */
    size_t ngroups;
};
struct image_group {
    struct str name;
    uint32_t gid;
};

struct image {
    struct digest manifest, config;
    struct str os, arch, created; /* created: RFC 3339 or empty */
    int64_t size;                 /* of blobs, compressed, bytes */
    struct digest *layers;        /* chain ids, lowest first */
    size_t nlayers;
    struct digest *blobs; /* every blob it needs: manifest, config, layers */
    size_t nblobs;
    struct str user; /* as the config says: "", "1000", "name", "name:group" */
    struct strs entrypoint, cmd, env;
    struct str workdir, stop_signal;
    struct strs ports;   /* "80/tcp" */
    struct strs labels;  /* "key=value" */
    struct strs volumes; /* absolute paths */
    struct image_account *accounts;
    size_t naccounts;
    struct image_group *groups;
    size_t ngroups;
};
void image_encode(const struct image *im, struct strbuf *out);
MUST_USE bool image_decode(struct arena *a, struct str text, struct image *out, struct err *err);

/* By normalised name, or "sha256:HEX" of the manifest, or the config digest ("image ID"). NOT_FOUND if it is not
 * there whole. Some small files: fit for the loop. */
MUST_USE bool image_read(const struct content *c, struct arena *a, struct str name, struct image *out,
                         struct err *err);

struct image_user {
    uint32_t uid, gid;
    uint32_t groups[64]; /* supplementary, of the image's /etc/group */
    size_t ngroups;
    struct str home; /* empty: unknown */
};
/* `user` as in a config's User ("" means the image's own). Names are looked up in the image; NOT_FOUND names what is
 * missing. A numeric user need not exist in the image; its group is then 0. */
MUST_USE bool image_user_find(const struct image *im, struct str user, struct image_user *out, struct err *err);

/* Removes a name (or, by digest, all names of an image) and collects garbage. CONFLICT while a container uses it.
 * The name may be short. Blocking. For `wherry image rm`. */
MUST_USE bool image_remove(struct content *c, struct str name, int64_t *freed_bytes, struct err *err);
struct image_row {
    struct strs names;
    struct image image;
};
struct image_rows {
    ARRAY(struct image_row) list;
};
/* One row per manifest, all its names; for `wherry image ls` and Node.status.images. */
MUST_USE bool image_list(const struct content *c, struct arena *a, struct image_rows *out, struct err *err);
