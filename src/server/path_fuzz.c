#include "server/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct path_info p;
    (void)!path_parse(&a, S("GET"), (struct str){(const char *)data, size}, &p);
    return 0;
}
