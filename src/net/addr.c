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

uint32_t cidr_mask(struct cidr c)
{
    return c.bits == 0 ? 0 : ~0u << (32 - c.bits);
}

uint32_t cidr_last(struct cidr c)
{
    return c.ip | ~cidr_mask(c);
}

bool cidr_has(struct cidr c, uint32_t ip)
{
    return (ip & cidr_mask(c)) == c.ip;
}

bool cidr_overlap(struct cidr a, struct cidr b)
{
    return cidr_has(a, b.ip) || cidr_has(b, a.ip);
}

bool cidr_parse(struct str s, struct cidr *c, struct err *err)
{
    struct str ip, bits;
    uint64_t n;
    struct cidr r;
    if (!str_split(s, '/', &ip, &bits) || !ip4_parse(ip, &r.ip) || !str_to_u64(bits, 32, &n))
        return err_set(err, E_INVALID, "\"" STR_FMT "\" is not an IPv4 range; it looks like 10.42.0.0/16",
                       STR_ARG(s));
    r.bits = (int)n;
    if (r.ip & ~cidr_mask(r))
        return err_set(err, E_INVALID, "\"" STR_FMT "\" has bits after its first %d; did you mean " CIDR_FMT "?",
                       STR_ARG(s), r.bits, IP4_ARG(r.ip & cidr_mask(r)), r.bits);
    *c = r;
    return true;
}
