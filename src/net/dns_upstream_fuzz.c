/* The host's resolv.conf; and answers of any bytes in the cache: what comes out is what went in. */
#include "base/clock.h"
#include "net/addr.h"
#include "net/dns_upstream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer_remember(const uint8_t *data, size_t size)
{
    static uint8_t out[DNS_TCP_MAX];
    struct dns_query q = {.type = DNS_A, .class = DNS_IN};
    struct dns_reply reply;
    struct dns_cache c;
    ASSERT(dns_name_parse(S("example.com"), &q.name));
    if (!dns_reply_read(data, size, &q, size > 1 ? (uint16_t)(data[0] << 8 | data[1]) : 0, &reply))
        return;
    dns_cache_init(&c);
    dns_cache_put(&c, &q, NS_PER_S, data, size, &reply);
    size_t n = dns_cache_get(&c, &q, 2 * NS_PER_S, out, sizeof out);
    ASSERT(n == 0 || n == size);
    ASSERT(dns_cache_get(&c, &q, NS_PER_S * (2 + DNS_CACHE_TTL), out, sizeof out) == 0);
    dns_cache_fini(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size}, first = text, behind = S("");
    uint32_t own = IP4(10, 42, 0, 1);
    struct dns_upstreams up;
    ptrdiff_t cut = str_find(text, S("\n\n"));
    if (cut >= 0) {
        first = str_sub(text, 0, (size_t)cut);
        behind = str_sub(text, (size_t)cut + 2, text.n);
    }
    dns_upstreams_parse(first, behind, &own, 1, 53, &up);
    ASSERT(up.n <= DNS_UPSTREAMS_MAX);
    if (size <= DNS_TCP_MAX)
        answer_remember(data, size);
    return 0;
}
