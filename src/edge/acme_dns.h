/* acme_dns.h - dns-01 by RFC 2136: messages that change a zone, signed by RFC 8945 (TSIG), and reading what servers
 * say to them. Pure; no allocation but the caller's buffer. */
#pragma once
#include "net/dns_packet.h"
#include "sys/jws.h"

#define DNS_UPDATE_MOST 1400 /* bytes of a message of ours */
#define TSIG_FUDGE_S    300

struct tsig_key {
    struct dns_name name;
    enum mac mac;
    uint8_t secret[512];
    size_t nsecret;
};
/* algorithm: HMACMD5, HMACSHA1, HMACSHA224, HMACSHA256, HMACSHA384, HMACSHA512, or as TSIG names them
 * ("hmac-sha256");
 * "" is HMACMD5, as cert-manager has it. secret: base64. */
MUST_USE bool tsig_key_parse(struct str name, struct str algorithm, struct str secret, struct tsig_key *out,
                             struct err *err);
/* An update of the zone that adds (or removes) the TXT record with this value, whatever others of that name there
 * are. How long it is; 0: it does not fit. */
size_t dns_update_write(uint8_t p[DNS_UPDATE_MOST], uint16_t id, const struct dns_name *zone,
                        const struct dns_name *owner, struct str value, bool add);
/* Signs a message of n bytes; mac: what the answer's signature begins with. Its new length; 0: it does not fit. */
size_t tsig_sign(uint8_t p[DNS_UPDATE_MOST], size_t n, const struct tsig_key *k, int64_t now_s, uint8_t mac[MAC_MOST],
                 size_t *nmac);
/* What a server said to an update with that id: fails where it refused, where it is no answer to it, or (k not NULL)
 * where it does not carry a good signature. */
MUST_USE bool dns_update_answer(const uint8_t *p, size_t n, uint16_t id, const struct tsig_key *k, const uint8_t *mac,
                                size_t nmac, int64_t now_s, struct err *err);
const char *dns_rcode_text(int rcode);
