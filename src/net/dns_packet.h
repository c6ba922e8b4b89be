/* dns_packet.h - DNS messages: reading what strangers sent, strictly, and writing answers. RFC 1035, 6891 (EDNS),
 * 2308 (negative answers). Pure; no allocation. ldns would build an object per record and its own errors; a server
 * that only echoes a question, writes a handful of record types and relays other messages as bytes needs far less. */
#pragma once
#include "base/err.h"

#define DNS_NAME_MAX 255  /* bytes on the wire, the root label included */
#define DNS_TEXT_MAX 1024 /* a name as text, escapes included, NUL too */
#define DNS_UDP_MIN  512  /* without EDNS */
#define DNS_UDP_MAX  1232 /* what fits every path (DNS flag day 2020) */
#define DNS_TCP_MAX  65535
#define DNS_RR_MAX   512 /* records of an answer; one with more is not taken */

enum {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_CNAME = 5,
    DNS_SOA = 6,
    DNS_PTR = 12,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_SRV = 33,
    DNS_OPT = 41,
    DNS_IXFR = 251,
    DNS_AXFR = 252,
    DNS_ANY = 255
};
enum { DNS_IN = 1 };
enum {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5,
    DNS_BADVERS = 16
};

/* As on the wire: labels with their lengths, never compressed, the letters as they came. */
struct dns_name {
    uint8_t n;
    uint8_t wire[DNS_NAME_MAX];
};
bool dns_name_eq(const struct dns_name *a, const struct dns_name *b); /* case ignored */
/* Lower case, no dot at the end ("" is the root); bytes that are not letters, digits, '-' or '_' as \DDD. */
struct str dns_name_text(const struct dns_name *name, char buf[DNS_TEXT_MAX]);
/* False: a label of 0 or over 63 bytes, or more than 255 bytes in all. A final dot is fine; no escapes. */
MUST_USE bool dns_name_parse(struct str text, struct dns_name *out);
/* Reads a name at *at of a message, following compression that points backward only; *at is behind it after. */
MUST_USE bool dns_name_read(const uint8_t *p, size_t n, size_t *at, struct dns_name *out);

struct dns_query {
    uint16_t id, type, class;
    struct dns_name name;
    bool rd, cd;       /* recursion desired, checking disabled */
    bool edns, dnssec; /* OPT was there; its DO bit */
    uint16_t udp_size; /* largest answer over UDP: 512 to 1232 */
};
/* A query of a client. Returns -1 to say nothing (not a query, or no header), an error code to answer with
 * (dns_write_error: id and flags are filled as far as they were read), or DNS_NOERROR. */
int dns_query_read(const uint8_t *p, size_t n, struct dns_query *q);

struct dns_writer {
    uint8_t *p; /* the caller's, max bytes */
    size_t n, max;
    size_t reserve; /* for OPT at the end */
    bool truncated; /* sticky: something did not fit; TC is set at the end */
    uint16_t answers, authorities, additionals;
    bool question; /* the question's name stands at offset 12 */
    const struct dns_query *q;
};
enum dns_section { DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL };
/* Header and question; the answer goes to the query's limit over UDP (tcp: to the buffer's). */
void dns_write_begin(struct dns_writer *w, uint8_t *p, size_t max, const struct dns_query *q, bool tcp);
void dns_write_a(struct dns_writer *w, enum dns_section s, const struct dns_name *owner, uint32_t ttl, uint32_t ip);
void dns_write_name(struct dns_writer *w, enum dns_section s, const struct dns_name *owner, uint16_t type,
                    uint32_t ttl, const struct dns_name *target); /* CNAME, PTR, NS */
void dns_write_srv(struct dns_writer *w, const struct dns_name *owner, uint32_t ttl, uint16_t priority,
                   uint16_t weight, uint16_t port, const struct dns_name *target);
void dns_write_txt(struct dns_writer *w, const struct dns_name *owner, uint32_t ttl, struct str text); /* 255 bytes */
void dns_write_soa(struct dns_writer *w, enum dns_section s, const struct dns_name *zone,
                   const struct dns_name *mname, const struct dns_name *rname, uint32_t serial, uint32_t ttl,
                   uint32_t minimum);
void dns_write_raw(struct dns_writer *w, enum dns_section s, const struct dns_name *owner, uint16_t type,
                   uint32_t ttl, const void *rdata, size_t n);
/* Sets flags and counts, adds OPT where the query had one. How long the message is. */
size_t dns_write_end(struct dns_writer *w, int rcode, bool authoritative);
size_t dns_write_error(uint8_t *p, size_t max, const struct dns_query *q, int rcode);

/* A query of ours to an upstream; how long it is. */
size_t dns_ask(uint8_t *p, size_t max, const struct dns_query *q, uint16_t id);

/* What an upstream answered to dns_ask(q, id). False: not the answer to that. */
struct dns_rr {
    struct dns_name owner;
    uint16_t type;
    uint32_t ttl;
    const uint8_t *rdata; /* into the message; names inside may be compressed */
    size_t rdata_n, rdata_at;
};
struct dns_reply {
    int rcode;
    bool truncated;
    uint16_t answers;
    uint32_t ttl; /* how long it may be kept: the least of all records, of SOA for a negative one; 0: not at all */
    size_t question_end; /* offset */
    uint16_t nttls;
    uint16_t ttl_at[DNS_RR_MAX]; /* offsets of the TTL fields (OPT's is none) */
};
MUST_USE bool dns_reply_read(const uint8_t *p, size_t n, const struct dns_query *q, uint16_t id,
                             struct dns_reply *out);
/* The next record at *at (begin at question_end). */
MUST_USE bool dns_rr_read(const uint8_t *p, size_t n, size_t *at, struct dns_rr *out);
void dns_age(uint8_t *p, const struct dns_reply *r, uint32_t seconds); /* every TTL less by that, at least 0 */
