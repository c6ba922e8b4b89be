/* jsonpath.h - the part of kubectl's JSONPath that people type: text, {.a.b}, {.a[0]}, {.a[-1]}, {.a[*].b},
 * {['k.e.y']}, {.a\.b}, {"\n"}. Anything else is refused with a sentence. Pure. */
#pragma once
#include "api/tree.h"

#define JSONPATH_MAX 4096 /* bytes of a template */
MUST_USE bool jsonpath_print(struct arena *a, struct str pattern, const struct val *v, struct strbuf *out,
                             struct err *err);
