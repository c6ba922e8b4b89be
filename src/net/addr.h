/* addr.h - IPv4 addresses and ranges as numbers in host byte order, and their text. Pure. */
#pragma once
#include "base/err.h"

struct cidr4 {
    uint32_t ip; /* the first address of the range: host bits are zero */
    int bits;    /* 0..32 */
};
#define IP4_FMT "%u.%u.%u.%u"
#define IP4_ARG(ip)                                                                                                  \
    (unsigned)((ip) >> 24 & 255), (unsigned)((ip) >> 16 & 255), (unsigned)((ip) >> 8 & 255), (unsigned)((ip)&255)
#define CIDR_FMT    IP4_FMT "/%d"
#define CIDR_ARG(c) IP4_ARG((c).ip), (c).bits

#define IP4(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))
#define IP4_GATEWAY     IP4(169, 254, 1, 1) /* what every pod sees as its router; see link.h */

MUST_USE bool ip4_parse(struct str s, uint32_t *ip); /* exactly four decimal numbers without leading zeros */
MUST_USE bool cidr4_parse(struct str s, struct cidr4 *c,
                          struct err *err); /* refuses set host bits, naming the range */
uint32_t cidr4_mask(struct cidr4 c);
uint32_t cidr4_last(struct cidr4 c);
bool cidr4_has(struct cidr4 c, uint32_t ip);
bool cidr4_overlap(struct cidr4 a, struct cidr4 b);
