#include "wire/pb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pb m = pb_of((struct str){(const char *)data, size});
    struct pb_field f;
    struct err err = ERR;
    size_t sum = 0;
    int more;
    while ((more = pb_next(&m, &f, &err)) == 1)
        for (size_t i = 0; i < f.bytes.n; i++)
            sum += (size_t)f.bytes.p[i];
    ASSERT(more == 0 || err.text[0]);
    return sum == 1; /* reads what it was given */
}
