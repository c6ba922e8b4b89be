#include "node/flex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a driver prints is read, or refused with a sentence. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = ARENA;
    struct err err = ERR;
    struct flex_answer answer;
    struct str said = {(const char *)data, size}, path;
    if (!flex_answer_read(&a, "mount", said, &answer, &err))
        ASSERT(err.kind && err.text[0]);
    if (flex_program(&a, "/d", said, &path)) /* two parts below the folder, and none that leads out of it */
        ASSERT(str_starts(path, S("/d/")) && !str_has(path, S("/.")) &&
               str_eq(flex_unescape(&a, flex_escape(&a, said)), said));
    arena_fini(&a);
    return 0;
}
