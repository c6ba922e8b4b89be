/* volume_store.h - volumes of the built-in provisioner on the node's disk: DIR/pvc-UID with
 *
 *   about       what it is: size, how that is held to, whose claim
 *   data/       its files, or
 *   image       its file system or block device as a sparse file
 *   published   there: a PersistentVolume of it has been made
 *
 * One that is being made is called .new-NAME, one that goes .gone-NAME; only a rename makes the one from the other,
 * so what a crash leaves is told by its name. DIR is root's alone. Blocking; one job at a time works on a DIR. */
#pragma once
#include "base/array.h"
#include "base/err.h"
#include "oci/image.h"

enum size_by {
    SIZE_ANY,   /* quota, where the file system has it, else an image */
    SIZE_QUOTA, /* a project quota of the file system */
    SIZE_IMAGE, /* a file of that size, with a file system in it */
    SIZE_NONE,  /* nothing holds it to its size */
};
bool size_by_read(struct str word, enum size_by *out);
const char *size_by_word(enum size_by by);

struct stored_volume {
    struct str name, claim; /* "pvc-UID"; "NS/NAME" */
    enum size_by by;
    bool block, published;
    int64_t size, used; /* bytes; used: of the disk; -1: it was not looked at (SIZE_NONE) */
};
/* What is asked for. */
struct store_wish {
    struct str dir, name, claim;
    enum size_by by;
    bool block;
    int64_t size;
    int64_t percent; /* of the room that may be promised */
    /* other folders of volumes: what is promised there is promised of the same disk, where they lie on it */
    struct strs beside;
};
/* One that is there already stays as it is. *path: of its files or image, in the arena; *size: at least the size that
 * was asked for. E_UNAVAILABLE: there is no room, err has the figures. */
MUST_USE bool volume_store_make(struct arena *a, const struct store_wish *w, struct str *path, int64_t *size,
                                struct err *err);
/* With all that is in use of it. *size as above; err->sys EPERM: but for its file system, which grows when no pod has
 * it mounted (device_fill). */
MUST_USE bool volume_store_grow(const struct store_wish *w, int64_t *size, struct err *err);
MUST_USE bool volume_store_publish(struct str dir, struct str name, struct err *err);
/* Takes it out of the way; *gone (in the arena) is then to be removed, which may take long. Not there: empty.
 * E_CONFLICT: it is in use. */
MUST_USE bool volume_store_drop(struct arena *a, struct str dir, struct str name, struct str *gone, struct err *err);
/* What is there, each in the arena; not there is none. left: what has to be removed, of a crash. */
struct volume_list {
    ARRAY(struct stored_volume) list;
    ARRAY(struct str) left;
};
void volume_list_fini(struct volume_list *l);
AUTO_VALUE(volume_list_fini, struct volume_list);
MUST_USE bool volume_store_list(struct arena *a, struct str dir, struct volume_list *out, struct err *err);

/* DIR and NAME of the path that a volume was given out under; false: it is none of such. Pure. */
bool volume_store_split(struct str path, struct str *dir, struct str *name);
/* The figures of a refusal: bytes of the disk, those of others than volumes, those that are promised. Pure. */
struct volume_room {
    int64_t whole, others, promised;
    size_t volumes;
};
MUST_USE bool volume_room_fits(const struct volume_room *r, int64_t percent, struct str dir, int64_t more,
                               struct err *err);
