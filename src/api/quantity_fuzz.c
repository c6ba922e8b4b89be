/* A canonical form is a fixed point and equal to what it came from. */
#include "api/quantity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str text = {(const char *)data, size}, once, twice;
    struct err err = ERR;
    if (!quantity_canonical(&a, text, &once, &err))
        return 0;
    ASSERT(quantity_canonical(&a, once, &twice, &err));
    ASSERT(str_eq(once, twice) && quantity_cmp(text, once) == 0);
    quantity_add(&a, text, once);
    quantity_milli(text);
    return 0;
}
