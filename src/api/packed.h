/* packed.h - the large parts of an object that is seldom read whole, deflated and counted apart from it: of a
 * CustomResourceDefinition the schemas of its versions, and what a client noted of all of it in an annotation. They
 * are a tenth of what they are as a tree, two versions of an object share those that are equal, and a kind that is
 * made of the definition holds the one of its version. The object's tree has something empty in their places, marked;
 * who needs the whole asks obj_tree. Pure; any thread. */
#pragma once
#include "api/kind.h"
#include "base/buf.h"

/* A part; bytes NULL: there is none, what stands in its place is all. */
struct packed_part {
    struct buf *bytes;
    uint32_t plain; /* its length as text */
};
/* The annotation, whose text is packed as it is, and then one part for each of spec.versions, as JSON. */
enum { PACKED_ANNOTATION, PACKED_VERSIONS };
struct packed {
    int refs; /* atomic */
    size_t n;
    struct packed_part parts[];
};
const struct packed *packed_ref(const struct packed *p); /* NULL is fine, here and below */
void packed_unref(const struct packed *p);
AUTO_POINTER(packed_unref, const struct packed);
size_t packed_bytes(const struct packed *p);

/* Takes the parts out of a tree: *rest is what is left, in the arena and as far as it can of the tree's own values.
 * Parts that are equal to those of `was` are shared. NULL: there is nothing to pack. */
const struct packed *packed_take(struct arena *a, const struct kind *k, const struct val *tree,
                                 const struct packed *was, struct val *rest);
/* The tree of which `rest` was left, as far as it is in the first n parts; and marks their places in one that was
 * read. */
struct val packed_put(struct arena *a, const struct val *rest, const struct packed *p, size_t n);
struct val packed_mark(struct arena *a, const struct val *rest, const struct packed *p);
/* Adds the part as it stands in JSON that is next, from *part on, and counts it. */
void packed_json(struct strbuf *b, const struct packed *p, size_t *part);
/* The schemas are equal in both. */
bool packed_same_schemas(const struct packed *a, const struct packed *b);

/* A schema by itself (CustomResourceValidation). */
struct packed_part part_make(const struct val *schema);
struct packed_part part_ref(const struct packed_part *part);
bool part_read(struct arena *a, const struct packed_part *part, struct val *schema);

/* As it is stored. False: cut short. */
void packed_store(struct strbuf *b, const struct packed *p);
MUST_USE bool packed_load(struct str *rest, const struct packed **out);
