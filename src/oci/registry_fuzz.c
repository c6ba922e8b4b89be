#include "oci/registry.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct challenge c;
    struct str text = {(const char *)data, size};
    challenge_parse(&a, text, &c);
    ASSERT(c.scheme != CHALLENGE_BEARER || c.realm.n);
    ASSERT(registry_error(&a, text).n < 1000);
    (void)registry_base(&a, text);
    return 0;
}
