/* What a webhook answers. */
#include "server/int.h"
#include "server/review.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    for (int i = 0; i < 4; i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct review v = {.uid = S("1"), .beta = i & 1};
        struct review_answer answer;
        struct err err = ERR;
        if (review_read(&a, &v, i & 2, text, &answer, &err))
            ASSERT(!answer.patch || ((i & 2) && answer.allowed));
        else
            ASSERT(err.kind && err.text[0]);
    }
    return 0;
}
