/* schema_int.h - what the files that judge objects by a schema share. */
#pragma once
#include "api/rules_int.h"
#include "api/schema.h"

/* schema_parts.c; resource: the value is an embedded one whatever the schema says */
void schema_check_resources(ERRS, const struct schema_node *n, const struct val *v, bool resource);
void schema_check_lists(ERRS, const struct schema_node *n, const struct val *v);
