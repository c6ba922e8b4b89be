/* patch.h - the patches of the API over trees. Pure. */
#pragma once
#include "api/type.h"

/* RFC 6902. What is no list is E_BAD_REQUEST, an operation that is malformed or does not apply E_INVALID, too many of
 * them or too much work E_TOO_LARGE. */
MUST_USE bool patch_json(struct arena *a, const struct val *doc, const struct val *patch, struct val *out,
                         struct err *err);
/* RFC 7386; members come out sorted. E_BAD_REQUEST where it is nested too deep. */
MUST_USE bool patch_merge(struct arena *a, const struct val *doc, const struct val *patch, struct val *out,
                          struct err *err);
/* Strategic merge by the type's patch strategies: $patch, $deleteFromPrimitiveList, $setElementOrder, $retainKeys.
 * A wrong directive, a missing merge key and a wrong order are E_INTERNAL (upstream: 500 without a reason), lists of
 * lists E_INVALID; a directive that is no list, or deeper than 1000 levels, is E_BAD_REQUEST. */
MUST_USE bool patch_strategic(struct arena *a, const struct type *t, const struct val *doc, const struct val *patch,
                              struct val *out, struct err *err);
/* What a client sends: the two-way merge patch from one tree to another, and the three-way strategic patch. */
struct val diff_merge(struct arena *a, const struct val *from, const struct val *to);
MUST_USE bool diff_strategic3(struct arena *a, const struct type *t, const struct val *original,
                              const struct val *modified, const struct val *current, struct val *out,
                              struct err *err);
/* Why Go could not put a patched tree into the type, in the words of runtime.FromUnstructured ("cannot restore slice
 * from map"); false where it could, or where the value's own parser is the one that complains. */
bool patch_restore_error(const struct type *t, const struct val *v, struct strbuf *out);
/* "object", "array", "string", "number", "bool", "null": as encoding/json names what it found. */
const char *val_json_name(const struct val *v);
/* As Go prints it with %v: "map[a:1 b:[x y]]". In messages about patches. */
void val_go_text(struct strbuf *b, const struct val *v);
