#include "client/kubeconfig.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct kubeconfig k;
    struct err err = ERR;
    if (kubeconfig_parse(&a, (struct str){(const char *)p, n}, S("."), NULL, NULL, &k, &err) && k.server.n == 0)
        abort();
    return 0;
}
