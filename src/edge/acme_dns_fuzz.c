/* What a server says to a signed update: nothing but what the key has signed is taken. */
#include "edge/acme_dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t mac[32] = {1};
    struct tsig_key key;
    struct err err = ERR;
    ASSERT(tsig_key_parse(S("key.example.org"), S("HMACSHA256"), S("c2VjcmV0IG9mIDE2IGJ5dGVz"), &key, &err));
    if (size < 2 || size > DNS_TCP_MAX)
        return 0;
    uint16_t id = (uint16_t)(data[0] << 8 | data[1]);
    ASSERT(!dns_update_answer(data, size, id, &key, mac, sizeof mac, 1800000000, &err));
    err = ERR;
    ASSERT(dns_update_answer(data, size, id, NULL, NULL, 0, 1800000000, &err) || err.kind);
    return 0;
}
