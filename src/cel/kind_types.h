/* kind_types.h - the types that a kind declares to expressions: of a built-in one as its table says (upstream takes
 * them from OpenAPI), of a definition's as its schema does. */
#pragma once
#include "api/type.h"
#include "cel/type.h"

const struct cel_type *cel_type_of_kind(struct arena *a, const struct type *t);
