/* jsonpath.h - kubectl's JSONPath as the columns of a definition (additionalPrinterColumns) and people use it:
 * .a.b, .a\.b, ['a.b'], [0], [-1:], [1:5:2], [*], .*, ..a, [0,2], ['a','b'], [?(@.type=="Ready")], and $ or @ for
 * what is looked at. Compiled once, read by any thread. Pure. https://kubernetes.io/docs/reference/kubectl/jsonpath
 */
#pragma once
#include "api/tree.h"

enum { JSONPATH_MOST = 10000 }; /* bytes of a path, and values that one step may find */
struct jsonpath;
/* Of one path, without the braces; it lives in the arena, as its texts do. */
MUST_USE bool jsonpath_compile(struct arena *a, struct str text, const struct jsonpath **out, struct err *err);
/* What it leads to, in order: borrowed from v; the list is in the arena. 0 where nothing is there, and where a step
 * does not fit (a list as long as it takes, a comparison of what cannot be compared). */
size_t jsonpath_find(struct arena *a, const struct jsonpath *p, const struct val *v, const struct val *const **out);
/* A value as kubectl and the cells of columns show it: text as it is, lists and maps as JSON, numbers as Go prints
 * them.
 */
void jsonpath_text(struct strbuf *b, const struct val *v);
/* The value at a plain path of names (.spec.replicas), as scale and selectableFields have them; NULL: nothing. */
const struct val *jsonpath_plain(const struct val *v, struct str path);
