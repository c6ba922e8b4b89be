/* schema_types.h - the types that a schema declares to expressions (upstream's SchemaDeclType): what is not declared
 * cannot be seen. */
#pragma once
#include "api/schema.h"
#include "cel/type.h"

/* NULL: expressions do not see it. root: a whole object, or an embedded one, which has apiVersion, kind and
 * metadata.name. */
const struct cel_type *cel_type_of_schema(struct arena *a, const struct schema_node *n, bool root);
/* A property's name as expressions spell it: __in__, my__dash__field. False: they cannot. */
bool cel_escape(struct arena *a, struct str name, struct str *out);
bool cel_reserved(struct str word);
/* Of the items, the values of a map or a property of what has the type t; NULL: none is declared. */
const struct cel_type *cel_type_below(struct arena *a, const struct cel_type *t, const struct schema_node *below,
                                      struct str property);
