/* Addresses, ranges, names of hosts and of our chains: what is read is written back as it was. */
#include "net/addr.h"
#include "net/dns_packet.h"
#include "net/rules.h"
#include "sys/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str s = {(const char *)data, size};
    struct err err = ERR;
    uint32_t ip;
    struct cidr4 c;
    struct addr at;
    struct dns_name name;
    char again[64];
    if (ip4_parse(s, &ip)) {
        (void)snprintf(again, sizeof again, IP4_FMT, IP4_ARG(ip));
        ASSERT(str_eqz(s, again));
    }
    if (cidr4_parse(s, &c, &err)) {
        ASSERT(c.bits >= 0 && c.bits <= 32 && cidr4_has(c, c.ip) && cidr4_has(c, cidr4_last(c)));
        (void)snprintf(again, sizeof again, CIDR_FMT, CIDR_ARG(c));
        ASSERT(str_eqz(s, again));
    } else {
        ASSERT(err.text[0]);
    }
    if (addr_parse(s, &at, &err)) {
        addr_text(&at, &b);
        struct addr back;
        ASSERT(addr_parse(strbuf_str(&b), &back, &err) && back.n == at.n && addr_port(&back) == addr_port(&at));
    }
    (void)!dns_name_parse(s, &name);
    struct rule_chain chain;
    if (size < RULE_CHAIN_N && (size == 0 || !memchr(data, 0, size))) {
        (void)snprintf(again, sizeof again, STR_FMT, STR_ARG(s));
        if (rule_chain_parse(again, &chain)) {
            char out[RULE_CHAIN_N];
            rule_chain_name(chain, out);
            ASSERT(strcmp(out, again) == 0);
        }
    }
    return 0;
}
