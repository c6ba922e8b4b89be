/* apply.h - how server-side apply sees an object: which of its fields are one value, and which are owned one by one.
 * The type's table says so: lists are atomic, sets, or maps by keys; maps and structs are granular unless they say
 * that they are atomic; what has no type (TYPE_ANY) has granular maps and atomic lists.
 *
 * Trees come in two forms. Typed: as the codecs make them, where what Go cannot tell from its absence is left out; it
 * counts as being there where Go writes it ("status: {}"). Raw: a configuration as its JSON reads, and what is merged
 * from one; what is there is there, null included. Pure; results are in the arena and borrow from what they are made
 * of. */
#pragma once
#include "api/fieldset.h"

/* A configuration fits the type, has every key that its lists need, and none twice. E_INTERNAL with upstream's words:
 * ".data: expected map, got &{text}". */
MUST_USE bool apply_check(struct arena *a, const struct type *t, const struct val *raw, struct err *err);
/* What it names: values, elements of lists and keys of maps. */
struct fieldset apply_fields(struct arena *a, const struct type *t, const struct val *raw);

struct apply_changes {
    struct fieldset changed, removed; /* added or of another value; not there any more */
};
/* From a typed tree (NULL: of a kind that is not there yet) to another one; `raw`: that one was merged from the first
 * (apply_merge) or is a configuration. */
struct apply_changes apply_compare(struct arena *a, const struct type *t, const struct val *was,
                                   const struct val *now, bool raw);
/* Where it holds what is one value and yet a list, a map or a struct: ".spec.template.spec.tolerations"; whoever
 * merges a few fields would take away the others. Added one after another, ", " between. */
void apply_atomics(const struct type *t, const struct val *raw, struct strbuf *out);
/* A configuration over a typed tree: raw. */
struct val apply_merge(struct arena *a, const struct type *t, const struct val *live, const struct val *config);
/* Without these fields and elements. */
struct val apply_remove(struct arena *a, const struct type *t, const struct val *raw, const struct fieldset *gone);
