#include "wire/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cert_key *k;
    if (!k)
        k = key_new();
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct str token = {(const char *)data, size}, claims;
    ASSERT(!jwt_verify(&a, k, NULL, token, &claims, &err)); /* nobody guesses a signature */
    ASSERT(err.kind == E_UNAUTHORIZED);
    return 0;
}
