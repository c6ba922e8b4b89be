/* strategic_int.h - what applying a strategic merge patch (strategic.c) and making one (strategic_diff.c) share. */
#pragma once
#include "api/patch.h"
#include "api/places.h"

/* One merge, or the making of one patch. */
struct merge {
    struct arena *a;
    struct err *err;
    int depth;
    bool sends; /* what is merged are two halves of a patch: directives about lists stay in it, nulls too */
};

#define S_PATCH       S("$patch")
#define S_RETAIN_KEYS S("$retainKeys")
#define S_DELETE_FROM S("$deleteFromPrimitiveList")
#define S_SET_ORDER   S("$setElementOrder")

/* The type and field of a member; NULL where the type does not say. */
const struct type *member_type(const struct type *t, const struct name *name, const struct field **field);
/* What sort the elements of two lists are; false where they are of several sorts, null, or lists. */
enum element_sort { ELEMENTS_NONE, ELEMENTS_SCALARS, ELEMENTS_MAPS };
MUST_USE bool elements_sort(struct merge *m, const struct val *x, const struct val *y, enum element_sort *out);
/* Every element is a map that has the key. */
MUST_USE bool elements_keyed(struct merge *m, const struct val *list, const struct name *key);
/* The list in the order of `order`, stably; then those that it does not hold, and last those that $patch deletes. */
MUST_USE bool list_sort(struct merge *m, const struct val *list, const struct places *order, bool maps,
                        struct val *out);
MUST_USE bool map_merge(struct merge *m, const struct type *t, const struct val *original, const struct val *patch,
                        struct val *out);
bool element_deletes(const struct val *element); /* it says $patch: delete */
