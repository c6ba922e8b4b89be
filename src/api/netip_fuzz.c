/* What is read as an address or a prefix reads back from its canonical text as the same. */
#include "api/netip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str s = {(const char *)data, size};
    struct netip ip, again;
    struct netip_prefix net;
    struct err err = ERR;
    if (netip_parse(s, &ip, &err)) {
        struct str text = netip_text(&a, &ip);
        ASSERT(netip_parse(text, &again, &err) && netip_equal(&ip, &again));
        ASSERT(str_eq(text, netip_text(&a, &again)));
    }
    if (netip_prefix_parse(s, &net, &err)) {
        again = netip_masked(&net.ip, net.bits);
        ASSERT(netip_in(&net, &net.ip) && netip_in(&net, &again));
    }
    return 0;
}
