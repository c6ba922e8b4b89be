/* dns_packet.c - DNS messages: names, reading of queries and answers, writing of answers (RFC 1035, 2308, 6891).
 *
 * Reading is strict, as the bytes are a stranger's: every length is checked before it is used, a query has exactly
 * one question and nothing behind what it announces, and compression may only point further back than any pointer
 * before, so that following it ends. A query that is wrong in itself gets its error code, one that is no query at
 * all gets no answer.
 *
 * Writing goes into the caller's buffer, up to the limit of the transport. A record that does not fit is taken back
 * as a whole and the message marked as truncated - not for additional records, without which an answer is still
 * whole (RFC 2181). Room for the OPT record is kept from the beginning. The only compression is that of names equal
 * to the question's, which are nearly all owners; names in SRV are never compressed (RFC 2782).
 *
 * Answers of an upstream are not taken apart: dns_reply_read checks that it is the answer to our question, and notes
 * where the TTLs stand, so that a cached message can be aged in place. How long it may be kept is the least of its
 * TTLs, or of SOA's minimum where it says that something is not there.
 */
#include "net/dns_packet.h"

#define HEADER 12
enum { QR = 0x8000, OPCODE = 0x7800, AA = 0x0400, TC = 0x0200, RD = 0x0100, RA = 0x0080, AD = 0x0020, CD = 0x0010 };
#define EDNS_DO  0x8000
#define OPT_SIZE 11 /* an OPT record without options */

static uint16_t u16_get(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t u32_get(const uint8_t *p)
{
    return (uint32_t)u16_get(p) << 16 | u16_get(p + 2);
}

static void u16_set(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void u32_set(uint8_t *p, uint32_t v)
{
    u16_set(p, (uint16_t)(v >> 16));
    u16_set(p + 2, (uint16_t)v);
}

static uint8_t byte_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* ---- names ---- */

bool dns_name_eq(const struct dns_name *a, const struct dns_name *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) /* lengths are below 64 and no letters */
        if (byte_lower(a->wire[i]) != byte_lower(b->wire[i]))
            return false;
    return true;
}

struct str dns_name_text(const struct dns_name *name, char buf[DNS_TEXT_MAX])
{
    size_t n = 0;
    for (size_t at = 0; at < name->n && name->wire[at];) {
        size_t len = name->wire[at++];
        if (n)
            buf[n++] = '.';
        for (size_t i = 0; i < len; i++) {
            uint8_t c = byte_lower(name->wire[at++]);
            if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')
                buf[n++] = (char)c;
            else
                n += (size_t)snprintf(buf + n, 5, "\\%03u", c);
        }
    }
    buf[n] = 0;
    return (struct str){buf, n};
}

bool dns_name_parse(struct str text, struct dns_name *out)
{
    struct str label;
    size_t n = 0;
    if (text.n && text.p[text.n - 1] == '.')
        text.n--;
    while (text.n && str_cut(&text, '.', &label)) {
        if (label.n == 0 || label.n > 63 || n + 1 + label.n + 1 > DNS_NAME_MAX)
            return false;
        out->wire[n++] = (uint8_t)label.n;
        (void)memcpy(out->wire + n, label.p, label.n);
        n += label.n;
    }
    out->wire[n++] = 0;
    out->n = (uint8_t)n;
    return true;
}

bool dns_name_read(const uint8_t *p, size_t n, size_t *at, struct dns_name *out)
{
    size_t i = *at, limit = *at, len = 0;
    bool jumped = false;
    for (;;) {
        if (i >= n)
            return false;
        uint8_t c = p[i];
        if ((c & 0xc0) == 0xc0) {
            if (i + 2 > n)
                return false;
            size_t to = u16_get(p + i) & 0x3fff;
            if (!jumped)
                *at = i + 2;
            jumped = true;
            if (to >= limit || to < HEADER) /* always further back, so it ends */
                return false;
            i = limit = to;
            continue;
        }
        if (c & 0xc0 || i + 1 + c > n || len + 1 + c > DNS_NAME_MAX - (c ? 1 : 0))
            return false;
        (void)memcpy(out->wire + len, p + i, c + 1u);
        len += c + 1u;
        i += c + 1u;
        if (c == 0)
            break;
    }
    out->n = (uint8_t)len;
    if (!jumped)
        *at = i;
    return true;
}

/* ---- queries ---- */

static bool read_opt(const uint8_t *rr, size_t rdlen, struct dns_query *q, int *rcode)
{
    const uint8_t *opt = rr + 10;
    q->edns = true;
    q->udp_size = MIN(MAX(u16_get(rr + 2), DNS_UDP_MIN), DNS_UDP_MAX);
    q->dnssec = u16_get(rr + 6) & EDNS_DO;
    if (rr[5] != 0)
        *rcode = DNS_BADVERS;
    for (size_t at = 0; at < rdlen;) { /* well-formed; no option is ours */
        if (rdlen - at < 4 || rdlen - at - 4 < u16_get(opt + at + 2))
            return false;
        at += 4u + u16_get(opt + at + 2);
    }
    return true;
}

int dns_query_read(const uint8_t *p, size_t n, struct dns_query *q)
{
    *q = (struct dns_query){.udp_size = DNS_UDP_MIN};
    if (n < HEADER || u16_get(p + 2) & QR)
        return -1;
    uint16_t flags = u16_get(p + 2);
    q->id = u16_get(p);
    q->rd = flags & RD;
    q->cd = flags & CD;
    if (flags & OPCODE)
        return DNS_NOTIMP;
    if (u16_get(p + 4) != 1 || u16_get(p + 6) || u16_get(p + 8) || flags & (TC | AA))
        return DNS_FORMERR;
    size_t at = HEADER, label = HEADER;
    struct dns_name name;
    for (; label < n && p[label]; label += p[label] + 1u)
        if (p[label] & 0xc0) /* nothing stands before the question that it could point to */
            return DNS_FORMERR;
    if (!dns_name_read(p, n, &at, &name) || n - at < 4)
        return DNS_FORMERR;
    q->name = name;
    q->type = u16_get(p + at);
    q->class = u16_get(p + at + 2);
    at += 4;
    int rcode = DNS_NOERROR;
    for (unsigned i = 0, more = u16_get(p + 10); i < more; i++) {
        struct dns_name owner;
        if (!dns_name_read(p, n, &at, &owner) || n - at < 10 || n - at - 10 < u16_get(p + at + 8))
            return DNS_FORMERR;
        size_t rdlen = u16_get(p + at + 8);
        if (u16_get(p + at) == DNS_OPT && (q->edns || owner.n != 1 || !read_opt(p + at, rdlen, q, &rcode)))
            return DNS_FORMERR;
        at += 10 + rdlen;
    }
    return at == n ? rcode : DNS_FORMERR;
}

/* ---- writing ---- */

static bool writer_add(struct dns_writer *w, const void *p, size_t n)
{
    if (w->truncated || w->n + n + w->reserve > w->max) {
        w->truncated = true;
        return false;
    }
    (void)memcpy(w->p + w->n, p, n);
    w->n += n;
    return true;
}

static void writer_add16(struct dns_writer *w, uint16_t v)
{
    uint8_t b[2];
    u16_set(b, v);
    (void)writer_add(w, b, 2);
}

static void writer_add32(struct dns_writer *w, uint32_t v)
{
    uint8_t b[4];
    u32_set(b, v);
    (void)writer_add(w, b, 4);
}

static void add_name(struct dns_writer *w, const struct dns_name *name)
{
    if (w->question && dns_name_eq(name, &w->q->name))
        writer_add16(w, 0xc000 | HEADER);
    else
        (void)writer_add(w, name->wire, name->n);
}

void dns_write_begin(struct dns_writer *w, uint8_t *p, size_t max, const struct dns_query *q, bool tcp)
{
    *w = (struct dns_writer){.p = p, .max = tcp ? max : MIN(max, q->udp_size), .q = q};
    w->reserve = q->edns ? OPT_SIZE : 0;
    ASSERT(max >= DNS_UDP_MIN);
    (void)memset(p, 0, HEADER);
    w->n = HEADER;
    if (q->name.n == 0)
        return;
    (void)writer_add(w, q->name.wire, q->name.n);
    writer_add16(w, q->type);
    writer_add16(w, q->class);
    w->question = true;
}

struct record { /* one under construction */
    size_t start, rdata;
    bool full; /* already before it */
};

static struct record rr_begin(struct dns_writer *w, const struct dns_name *owner, uint16_t type, uint32_t ttl)
{
    struct record r = {.start = w->n, .full = w->truncated};
    add_name(w, owner);
    writer_add16(w, type);
    writer_add16(w, DNS_IN);
    writer_add32(w, ttl);
    writer_add16(w, 0);
    r.rdata = w->n;
    return r;
}

/* Whole records only: what does not fit is taken back. */
static void rr_end(struct dns_writer *w, enum dns_section s, struct record r)
{
    if (w->truncated) {
        w->n = r.start;
        w->truncated = r.full || s != DNS_ADDITIONAL; /* an answer without its extras is whole, RFC 2181 section 9 */
        return;
    }
    u16_set(w->p + r.rdata - 2, (uint16_t)(w->n - r.rdata));
    switch (s) {
    case DNS_ANSWER: w->answers++; break;
    case DNS_AUTHORITY: w->authorities++; break;
    case DNS_ADDITIONAL: w->additionals++; break;
    }
}

void dns_write_raw(struct dns_writer *w, enum dns_section s, const struct dns_name *owner, uint16_t type,
                   uint32_t ttl, const void *rdata, size_t n)
{
    struct record r = rr_begin(w, owner, type, ttl);
    (void)writer_add(w, rdata, n);
    rr_end(w, s, r);
}

void dns_write_a(struct dns_writer *w, enum dns_section s, const struct dns_name *owner, uint32_t ttl, uint32_t ip)
{
    uint8_t b[4];
    u32_set(b, ip);
    dns_write_raw(w, s, owner, DNS_A, ttl, b, 4);
}

void dns_write_name(struct dns_writer *w, enum dns_section s, const struct dns_name *owner, uint16_t type,
                    uint32_t ttl, const struct dns_name *target)
{
    dns_write_raw(w, s, owner, type, ttl, target->wire, target->n);
}

void dns_write_srv(struct dns_writer *w, const struct dns_name *owner, uint32_t ttl, uint16_t priority,
                   uint16_t weight, uint16_t port, const struct dns_name *target)
{
    struct record r = rr_begin(w, owner, DNS_SRV, ttl);
    writer_add16(w, priority);
    writer_add16(w, weight);
    writer_add16(w, port);
    (void)writer_add(w, target->wire, target->n); /* RFC 2782: never compressed */
    rr_end(w, DNS_ANSWER, r);
}

void dns_write_txt(struct dns_writer *w, const struct dns_name *owner, uint32_t ttl, struct str text)
{
    struct record r = rr_begin(w, owner, DNS_TXT, ttl);
    uint8_t n = (uint8_t)MIN(text.n, 255);
    (void)writer_add(w, &n, 1);
    (void)writer_add(w, text.p, n);
    rr_end(w, DNS_ANSWER, r);
}

void dns_write_soa(struct dns_writer *w, enum dns_section s, const struct dns_name *zone,
                   const struct dns_name *mname, const struct dns_name *rname, uint32_t serial, uint32_t ttl,
                   uint32_t minimum)
{
    struct record r = rr_begin(w, zone, DNS_SOA, ttl);
    (void)writer_add(w, mname->wire, mname->n);
    (void)writer_add(w, rname->wire, rname->n);
    writer_add32(w, serial);
    writer_add32(w, 7200);  /* refresh */
    writer_add32(w, 1800);  /* retry */
    writer_add32(w, 86400); /* expire */
    writer_add32(w, minimum);
    rr_end(w, s, r);
}

size_t dns_write_end(struct dns_writer *w, int rcode, bool authoritative)
{
    const struct dns_query *q = w->q;
    if (q->edns) {
        uint8_t opt[OPT_SIZE] = {0};
        u16_set(opt + 1, DNS_OPT);
        u16_set(opt + 3, DNS_UDP_MAX);
        opt[5] = (uint8_t)(rcode >> 4);
        u16_set(opt + 7, q->dnssec ? EDNS_DO : 0);
        (void)memcpy(w->p + w->n, opt, OPT_SIZE);
        w->n += OPT_SIZE;
        w->additionals++;
    }
    u16_set(w->p, q->id);
    u16_set(w->p + 2, (uint16_t)(QR | RA | (authoritative ? AA : 0) | (w->truncated ? TC : 0) | (q->rd ? RD : 0) |
                                 (q->cd ? CD : 0) | (rcode & 15)));
    u16_set(w->p + 4, w->question);
    u16_set(w->p + 6, w->answers);
    u16_set(w->p + 8, w->authorities);
    u16_set(w->p + 10, w->additionals);
    return w->n;
}

size_t dns_write_error(uint8_t *p, size_t max, const struct dns_query *q, int rcode)
{
    struct dns_writer w;
    dns_write_begin(&w, p, max, q, false);
    return dns_write_end(&w, rcode, false);
}

/* ---- upstream ---- */

size_t dns_ask(uint8_t *p, size_t max, const struct dns_query *q, uint16_t id)
{
    struct dns_writer w;
    dns_write_begin(&w, p, max, q, true);
    size_t n = dns_write_end(&w, 0, false);
    u16_set(p, id);
    u16_set(p + 2, (uint16_t)(RD | (q->cd ? CD : 0)));
    return n;
}

bool dns_rr_read(const uint8_t *p, size_t n, size_t *at, struct dns_rr *out)
{
    size_t i = *at;
    if (!dns_name_read(p, n, &i, &out->owner) || n - i < 10 || n - i - 10 < u16_get(p + i + 8))
        return false;
    out->type = u16_get(p + i);
    out->ttl = u32_get(p + i + 4);
    out->rdata_n = u16_get(p + i + 8);
    out->rdata_at = i + 10;
    out->rdata = p + i + 10;
    *at = i + 10 + out->rdata_n;
    return true;
}

static uint32_t soa_minimum(const uint8_t *p, size_t n, const struct dns_rr *rr)
{
    size_t at = rr->rdata_at, end = rr->rdata_at + rr->rdata_n;
    struct dns_name name;
    if (!dns_name_read(p, n, &at, &name) || !dns_name_read(p, n, &at, &name) || at > end || end - at != 20)
        return 0;
    return MIN(rr->ttl, u32_get(p + at + 16));
}

bool dns_reply_read(const uint8_t *p, size_t n, const struct dns_query *q, uint16_t id, struct dns_reply *out)
{
    size_t at = HEADER;
    struct dns_name name;
    *out = (struct dns_reply){.ttl = UINT32_MAX};
    if (n < HEADER || u16_get(p) != id || !(u16_get(p + 2) & QR) || u16_get(p + 2) & OPCODE || u16_get(p + 4) != 1)
        return false;
    if (!dns_name_read(p, n, &at, &name) || n - at < 4 || !dns_name_eq(&name, &q->name) ||
        u16_get(p + at) != q->type || u16_get(p + at + 2) != q->class)
        return false;
    out->rcode = u16_get(p + 2) & 15;
    out->truncated = u16_get(p + 2) & TC;
    out->answers = u16_get(p + 6);
    out->question_end = at + 4;
    at += 4;
    unsigned records = (unsigned)u16_get(p + 6) + u16_get(p + 8) + u16_get(p + 10);
    bool negative = out->answers == 0, soa = false;
    if (records > DNS_RR_MAX)
        return false;
    for (unsigned i = 0; i < records; i++) {
        struct dns_rr rr;
        if (!dns_rr_read(p, n, &at, &rr))
            return out->truncated; /* cut in the middle: the answer will be asked for by TCP */
        if (rr.type == DNS_OPT)
            continue;
        out->ttl_at[out->nttls++] = (uint16_t)(rr.rdata_at - 6);
        uint32_t ttl = rr.ttl > INT32_MAX ? 0 : rr.ttl; /* RFC 2181 section 8 */
        if (negative && rr.type == DNS_SOA) {
            ttl = soa_minimum(p, n, &rr);
            soa = true;
        }
        out->ttl = MIN(out->ttl, ttl);
    }
    if (out->nttls == 0 || (negative && !soa) || out->truncated ||
        (out->rcode != DNS_NOERROR && out->rcode != DNS_NXDOMAIN))
        out->ttl = 0;
    return true;
}

void dns_age(uint8_t *p, const struct dns_reply *r, uint32_t seconds)
{
    for (unsigned i = 0; i < r->nttls; i++) {
        uint32_t ttl = u32_get(p + r->ttl_at[i]);
        u32_set(p + r->ttl_at[i], ttl > seconds ? ttl - seconds : 0);
    }
}
