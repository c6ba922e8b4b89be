/* describe.h - objects as text for people. Pure: the object, its kind and the time are all it needs. */
#pragma once
#include "api/type.h"

/* One block a kind that has a row (describe_kinds.c), else every field by its name; of a Secret's data the sizes.
 * type: of the object, tells names of fields from keys that somebody chose; NULL: not built in. */
void describe_object(struct arena *a, struct str kind, const struct type *type, const struct val *object,
                     int64_t now_ns, struct strbuf *out);
void describe_events(struct arena *a, const struct val *list, int64_t now_ns, struct strbuf *out);
