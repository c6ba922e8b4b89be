/* netip.h - addresses and prefixes as Go's net/netip reads them, with its words where they are none. formats.h judges
 * addresses of API fields, which follow other rules. Pure. */
#pragma once
#include "base/err.h"

struct netip {
    uint8_t bytes[16]; /* of IPv4 the first four */
    bool v4;
    struct str zone; /* of the text that was read */
};
struct netip_prefix {
    struct netip ip; /* as it was written: not masked */
    uint8_t bits;
};
/* E_INVALID: ParseAddr("1.2.3"): IPv4 address too short */
MUST_USE bool netip_parse(struct str text, struct netip *out, struct err *err);
/* E_INVALID: netip.ParsePrefix("10.0.0.0"): no '/' */
MUST_USE bool netip_prefix_parse(struct str text, struct netip_prefix *out, struct err *err);
bool netip_is_mapped(const struct netip *ip); /* ::ffff:1.2.3.4 */
bool netip_equal(const struct netip *a, const struct netip *b);
struct netip netip_masked(const struct netip *ip, unsigned bits);
bool netip_in(const struct netip_prefix *net, const struct netip *ip);
struct str netip_text(struct arena *a, const struct netip *ip); /* its canonical form (RFC 5952) */
