/* tell.h - errors about expressions, as upstream's field.Error shows them. */
#pragma once
#include "api/rules.h"

/* "Invalid value: VALUE: DETAIL" at a field; a value without text is not shown. */
void cel_error_tell(struct field_errors *e, enum field_error_type type, struct str field, struct str value,
                    struct str detail);
