#include "node/env_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* A name, a line feed, a file. What was found is in the file, between quotes or nothing. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str text = {(const char *)data, size}, name, value;
    struct err err = ERR;
    bool found;
    if (size > 1 << 16 || !str_cut(&text, '\n', &name))
        return 0;
    if (!env_file_find(&a, text, name, &value, &found, &err)) {
        ASSERT(err.text[0]);
        return 0;
    }
    ASSERT(found || !value.n);
    ASSERT(value.n <= text.n && str_find_char(value, '\'') < 0);
    return 0;
}
