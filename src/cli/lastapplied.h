/* lastapplied.h - what apply wrote last, kept in an annotation that kubectl apply reads and writes too. Pure. */
#pragma once
#include "api/type.h"

#define LAST_APPLIED S("kubectl.kubernetes.io/last-applied-configuration")
/* The object with the annotation that says what it is, as kubectl writes it: JSON with sorted keys. */
struct val last_applied_put(struct arena *a, const struct val *object);
/* What the annotation of a live object says; false with err where it is no JSON. Without one: *out is no map. */
MUST_USE bool last_applied_get(struct arena *a, const struct val *live, struct val *out, struct err *err);
/* The patch from live to wanted that also removes what was applied before and is not wanted any more. Strategic where
 * the type is known (*strategic), else a merge patch. An empty map: nothing to do. */
MUST_USE bool apply_patch(struct arena *a, const struct type *t, const struct val *last, const struct val *wanted,
                          const struct val *live, struct val *patch, bool *strategic, struct err *err);
