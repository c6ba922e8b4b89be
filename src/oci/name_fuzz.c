#include "oci/name.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted, is accepted again in its normal form, and means the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct image_name n, again;
    struct err err = ERR;
    if (!image_name_parse(&a, (struct str){(const char *)data, size}, &n, &err))
        return 0;
    ASSERT(image_name_parse(&a, n.full, &again, &err));
    ASSERT(str_eq(n.full, again.full) && str_eq(n.registry, again.registry) &&
           str_eq(n.repository, again.repository));
    return 0;
}
