/* write_managed.h - the steps of a write that have to do with managedFields, and server-side apply as a change. */
#pragma once
#include "server/write.h"

/* What the client says of managedFields, out of w->tree. */
void write_managed_take(struct write *w);
/* The step: whom the change belongs to. After defaults, before admission, whose changes are nobody's. */
enum write_next write_manage(struct write *w);
/* The object that is to be stored gets its managedFields. */
void write_managed_give(struct write *w, struct obj *o);
bool write_managed_same(struct write *w); /* nobody owns more or less than before */

/* managedFields as admission is shown them, as the write will leave them and as they are; in the request's arena,
 * NULL: none. What a webhook made of the former in the tree it gives back is taken out of that, and counts where it
 * is in order. */
const struct val *write_managed_shown(struct write *w);
const struct val *write_managed_was(struct write *w);
void write_managed_changed(struct write *w, struct val *tree, const struct val *shown);

/* Who writes, through which subresource, to a tree of this type (NULL: it is made). */
struct managing managing_of(struct write *w, const struct type *type, struct str api_version, const struct val *was);
/* write.change for server-side apply. */
MUST_USE bool change_apply(struct write *w);
/* The request's configuration, of this kind, over g->was, with w->owners; false: answered. */
MUST_USE bool apply_config(struct write *w, const struct managing *g, struct str kind, struct val *out);
