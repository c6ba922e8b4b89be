/* dns_upstream.h - which resolvers stand behind this machine, and a small memory of what they said. Pure. */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "net/dns_packet.h"
#include <netinet/in.h>

#define DNS_UPSTREAMS_MAX 4 /* more than resolv.conf(5) has */

struct dns_upstreams {
    struct sockaddr_storage addr[DNS_UPSTREAMS_MAX];
    size_t n;
};
/* The nameserver lines of a resolv.conf. Those on the loopback are a stub of the host (systemd-resolved, dnsmasq)
 * that may not be reachable from where we serve and may ask us again; where only such are left, `behind` - the text
 * of /run/systemd/resolve/resolv.conf, may be empty - is read in its place, and if that names none either, the stub
 * stays. `own` (our own addresses) are left out: they would make a circle. */
void dns_upstreams_parse(struct str resolv_conf, struct str behind, const uint32_t *own, size_t nown, uint16_t port,
                         struct dns_upstreams *out);

#define DNS_CACHE_BYTES (2u << 20)
#define DNS_CACHE_TTL   30 /* seconds; an upstream's answer is kept that long at most */

struct dns_cache {
    struct map entries; /* question and flags -> struct dns_cached */
    struct list by_use; /* the least recently used first */
    size_t bytes;       /* what all take, at most DNS_CACHE_BYTES */
};
void dns_cache_init(struct dns_cache *c);
void dns_cache_fini(struct dns_cache *c);
/* Copies an answer whose id is 0 and whose TTLs are as of now_ns; its length, or 0: not there. */
size_t dns_cache_get(struct dns_cache *c, const struct dns_query *q, int64_t now_ns, uint8_t *out, size_t max);
void dns_cache_put(struct dns_cache *c, const struct dns_query *q, int64_t now_ns, const uint8_t *msg, size_t n,
                   const struct dns_reply *reply);
