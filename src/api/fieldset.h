/* fieldset.h - sets of paths through an object, as server-side apply notes who owns what: FieldsV1 of managedFields.
 * A path is a list of steps: a field, an element of a list by its keys or by its value, an index. A set holds paths
 * ("members"); a path in it does not mean that what it leads through is in it.
 *
 * A set is a tree of nodes in an arena, sorted as upstream sorts them, without nodes that hold nothing. While it is
 * being built it may be unsorted (fieldset_step, then fieldset_done, from the leaves up); after that it never
 * changes, and what is made of sets shares their parts. Pure. */
#pragma once
#include "api/type.h"

enum step_kind { STEP_FIELD, STEP_KEY, STEP_VALUE, STEP_INDEX }; /* in this order */
/* text: a field's name; the JSON object of keys, sorted; the JSON of a value; a number */
struct step {
    const char *p;
    uint32_t n;
    uint8_t kind; /* enum step_kind */
    bool member;  /* the path that ends here is in the set */
};
struct fieldset_node;
struct fieldset {
    struct fieldset_node *nodes;
    uint32_t n, room;
};
struct fieldset_node {
    struct step step;
    struct fieldset below;
};
#define FIELDSET_DEPTH 500 /* levels of what is read; deeper is refused */

static inline bool fieldset_empty(const struct fieldset *s)
{
    return s->n == 0;
}
int step_cmp(const struct step *a, const struct step *b);
struct step step_field(struct str name);
struct step step_value(struct arena *a, const struct val *scalar);
/* Of keys and values in this order, which is by name. */
struct step step_keys(struct arena *a, const struct str *keys, const struct val *const *values, size_t n);
/* ".spec", "[name=\"web\"]", "[=\"x\"]", "[3]". */
void step_text(struct strbuf *b, const struct step *s);

/* --- building --- */

/* A node at the end; the pointer is good until the next one. */
struct fieldset_node *fieldset_step(struct arena *a, struct fieldset *s, struct step step);
/* All steps of this level are there, and what is below them is done: sorts, joins what is there twice, drops what
 * holds nothing. */
void fieldset_done(struct arena *a, struct fieldset *s);
/* The path is a member, too: fields one below the other. Of a set that is done, and stays so. */
void fieldset_add_fields(struct arena *a, struct fieldset *s, const char *const *path, size_t n);

/* --- FieldsV1 --- */

/* From JSON text that was checked. What a later version may mean (steps of unknown kinds) is left out. */
MUST_USE bool fieldset_read(struct arena *a, struct str json, struct fieldset *out, struct err *err);
void fieldset_write(struct strbuf *b, const struct fieldset *s);

/* --- reckoning; results are in the arena and share what does not change --- */

struct fieldset fieldset_union(struct arena *a, const struct fieldset *s, const struct fieldset *t);
struct fieldset fieldset_common(struct arena *a, const struct fieldset *s, const struct fieldset *t);
/* Members of s that are none of t. */
struct fieldset fieldset_without(struct arena *a, const struct fieldset *s, const struct fieldset *t);
/* And nothing below a member of t. */
struct fieldset fieldset_without_below(struct arena *a, const struct fieldset *s, const struct fieldset *t);
struct fieldset fieldset_leaves(struct arena *a, const struct fieldset *s);
bool fieldset_equal(const struct fieldset *s, const struct fieldset *t);
size_t fieldset_size(const struct fieldset *s); /* members */
/* With the fields of structs that lead to members, but no keys of maps: what is taken away whole. */
struct fieldset fieldset_with_fields(struct arena *a, const struct fieldset *s, const struct type *t);

/* The node of a step; NULL: there is none. */
const struct fieldset_node *fieldset_find(const struct fieldset *s, const struct step *step);
/* Each member in order, parents before what is below them: path is ".spec.ports[port=80]". */
void fieldset_each(const struct fieldset *s, void (*fn)(void *arg, struct str path), void *arg);
