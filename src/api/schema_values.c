/* schema_values.c - what is made of the values of a schema: pruning and defaults. */
#include "api/schema.h"

bool schema_prune(struct arena *a, const struct schema_node *root, struct val *v, struct decode_notes *notes,
                  struct err *err)
{
    (void)a, (void)root, (void)v, (void)notes, (void)err;
    return true;
}

void schema_default(struct arena *a, const struct schema_node *root, struct val *v)
{
    (void)a, (void)root, (void)v;
}
