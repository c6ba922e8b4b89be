#include "oci/manifest.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The same bytes as manifest, config, docker's list and accounts; a record made of them reads back. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str text = {(const char *)data, size};
    struct manifest m;
    struct image im = {.manifest = digest_of("m", 1), .config = digest_of("c", 1)}, again;
    struct digest *diffs;
    struct docker_entry *entries;
    size_t n;
    struct err err = ERR;
    if (manifest_decode(&a, text, &m, &err) && m.index)
        (void)(manifest_for_here(&m, &err) != NULL);
    err = ERR;
    (void)!docker_manifest_decode(&a, text, &entries, &n, &err);
    err = ERR;
    if (!config_decode(&a, text, &im, &diffs, &n, &err))
        im = (struct image){.manifest = digest_of("m", 1), .config = digest_of("c", 1)};
    accounts_decode(&a, text, text, &im);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(16 << 20);
    image_encode(&im, &b);
    err = ERR;
    ASSERT(b.over || image_decode(&a, strbuf_str(&b), &again, &err));
    if (!b.over)
        ASSERT(again.naccounts == im.naccounts && again.env.n == im.env.n && str_eq(again.user, im.user));
    return 0;
}
