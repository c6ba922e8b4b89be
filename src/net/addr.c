#include "net/addr.h"

bool ip4_parse(struct str s, uint32_t *ip)
{
    uint32_t v = 0;
    struct str part;
    int n = 0;
    while (str_cut(&s, '.', &part)) {
        uint64_t byte;
        if (++n > 4 || (part.n > 1 && part.p[0] == '0') || !str_to_u64(part, 255, &byte))
            return false;
        v = v << 8 | (uint32_t)byte;
    }
    if (n != 4)
        return false;
    *ip = v;
    return true;
}

uint32_t cidr4_mask(struct cidr4 c)
{
    return c.bits == 0 ? 0 : ~0u << (32 - c.bits);
}

uint32_t cidr4_last(struct cidr4 c)
{
    return c.ip | ~cidr4_mask(c);
}

bool cidr4_has(struct cidr4 c, uint32_t ip)
{
    return (ip & cidr4_mask(c)) == c.ip;
}

bool cidr4_overlap(struct cidr4 a, struct cidr4 b)
{
    return cidr4_has(a, b.ip) || cidr4_has(b, a.ip);
}

bool cidr4_parse(struct str s, struct cidr4 *c, struct err *err)
{
    struct str ip, bits;
    uint64_t n;
    struct cidr4 r;
    if (!str_split(s, '/', &ip, &bits) || !ip4_parse(ip, &r.ip) || !str_to_u64(bits, 32, &n))
        return err_set(err, E_INVALID, "\"" STR_FMT "\" is not an IPv4 range; it looks like 10.42.0.0/16",
                       STR_ARG(s));
    if (bits.n > 1 && bits.p[0] == '0') /* "/08": some read that as octal */
        return err_set(err, E_INVALID, "\"" STR_FMT "\": a prefix length has no leading zero", STR_ARG(s));
    r.bits = (int)n;
    if (r.ip & ~cidr4_mask(r))
        return err_set(err, E_INVALID, "\"" STR_FMT "\" has bits after its first %d; did you mean " CIDR_FMT "?",
                       STR_ARG(s), r.bits, IP4_ARG(r.ip & cidr4_mask(r)), r.bits);
    *c = r;
    return true;
}
