#include "api/codec.h"
#include "node/pull_auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* A docker config.json of a Secret's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(pull_auths_fini) struct pull_auths x = {.arena = &a};
    struct err err = ERR;
    size_t n;
    if (size > 1 << 16)
        return 0;
    struct val tree = val_map(), map = val_map();
    val_set_str(&a, &map, S(".dockerconfigjson"), val_bytes(&a, (struct str){(const char *)data, size}));
    val_set(&a, &tree, N(data), map);
    AUTO(obj_unref) struct obj *secret = obj_new(K(Secret), &tree, 1);
    if (!pull_auths_add(&x, secret, &err))
        ASSERT(err.text[0]);
    (void)pull_auths_for(&x, S("docker.io"), S("library/x"), &n);
    ASSERT(n <= x.list.n);
    return 0;
}
