/* obj.h - one API object at one revision: immutable, counted, shared by every reader and watcher of every thread.
 * A change makes a new one. Holds a compact copy of its tree in one allocation, without resourceVersion (which is
 * `rev`) and without managedFields (which are `managed`): both are spliced in when it is encoded. And those of its
 * encodings that were asked for more than once, while there is room for them. */
#pragma once
#include "api/kind.h"
#include "api/managed.h"
#include "api/packed.h"
#include "base/buf.h"

struct obj {
    int refs;                      /* atomic */
    const struct kind *kind;       /* held, where it came at run time */
    int64_t rev;                   /* resourceVersion; 0: not stored yet */
    struct str ns, name, uid;      /* borrowed from the tree */
    struct val tree;               /* VAL_MAP with apiVersion and kind, metadata without resourceVersion */
    const struct managed *managed; /* counted; NULL: none, or they are not looked at (clients) */
    const struct packed *packed;   /* counted; parts that are not in the tree, but deflated (packed.h); mostly NULL */
    size_t bytes;                  /* of this allocation, for accounting; encodings are counted apart */
};
/* Copies the tree. rev 0 where the store has not numbered it yet. */
struct obj *obj_new(const struct kind *kind, const struct val *tree, int64_t rev);
/* The same, with its large parts deflated, where its kind has such (packed.h); those that are as in `was` are shared.
 */
struct obj *obj_new_packed(const struct kind *kind, const struct val *tree, int64_t rev, const struct obj *was);
/* Of a tree that lacks these parts, which was left of one or read from where it was stored. */
struct obj *obj_of_packed(const struct kind *kind, const struct val *rest, int64_t rev, const struct packed *p);
struct obj *obj_again(const struct obj *o, int64_t rev); /* the same at another revision */
/* The tree with all parts in it: the object's own where it has none packed, else made in the arena, which shares what
 * it can with the object. */
struct val obj_tree(struct arena *a, const struct obj *o);
struct val obj_tree_of_meta(struct arena *a, const struct obj *o); /* its metadata is whole */
struct obj *obj_whole(struct obj *o); /* itself, or another that has nothing packed; a reference of the caller's */
struct obj *obj_ref(struct obj *o);
void obj_unref(struct obj *o);
AUTO_POINTER(obj_unref, struct obj);
/* Only its maker, before it is shared. */
void obj_set_rev(struct obj *o, int64_t rev);
void obj_set_managed(struct obj *o, const struct managed *m); /* takes a reference of its own */

/* metadata, read often */
const struct val *obj_meta(const struct obj *o);
const struct val *obj_labels(const struct obj *o);
struct str obj_note(const struct obj *o, const char *key); /* an annotation; "" where it has none such */
bool obj_has_note(const struct obj *o, const char *key);
const struct val *obj_spec(const struct obj *o);
const struct val *obj_status(const struct obj *o);
int64_t obj_generation(const struct obj *o);
bool obj_deleting(const struct obj *o); /* deletionTimestamp is set */
/* The owner reference with controller=true; NULL: none. */
const struct val *obj_controller(const struct obj *o);

/* The encodings, with resourceVersion; JSON without a line end, protobuf without the k8s\0 envelope. A counted
 * reference for the caller. Any thread. What is asked for a second time is kept with the object and shared, as long
 * as there is room among all that are kept in the process (obj_encoded_max); what was not asked for lately goes
 * first. */
enum encoding { ENC_JSON, ENC_PROTOBUF, ENC_MAX };
struct buf *obj_encoded(struct obj *o, enum encoding enc) __attribute__((returns_nonnull));
/* The one that is kept, or one that is not: for who goes through more objects than there is room for, and would push
 * out what others ask for, and his own before he comes again. */
struct buf *obj_encoded_once(struct obj *o, enum encoding enc) __attribute__((returns_nonnull));
/* Into a buffer. */
void obj_encode(const struct obj *o, enum encoding enc, struct strbuf *b);
size_t obj_encoded_bytes(void);         /* of those that are kept */
size_t obj_encoded_room(void);          /* for all that are kept */
void obj_encoded_max(size_t new_bytes); /* 16 MiB where it is never set */
