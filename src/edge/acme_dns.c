#include "edge/acme_dns.h"

enum { DNS_TSIG = 250, DNS_CLASS_NONE = 254, DNS_CLASS_ANY = 255, DNS_UPDATE = 5 };
#define HEAD       12
#define RECORD_TTL 60
#define TXT_MOST   255

static const struct tsig_alg {
    const char *name, *wire;
    enum mac mac;
} tsig_algs[] = {
    {"HMACMD5", "hmac-md5.sig-alg.reg.int", MAC_MD5}, {"HMACSHA1", "hmac-sha1", MAC_SHA1},
    {"HMACSHA224", "hmac-sha224", MAC_SHA224},        {"HMACSHA256", "hmac-sha256", MAC_SHA256},
    {"HMACSHA384", "hmac-sha384", MAC_SHA384},        {"HMACSHA512", "hmac-sha512", MAC_SHA512},
};

static const struct tsig_alg *alg_of(enum mac m)
{
    const struct tsig_alg *a = tsig_algs;
    while (a->mac != m)
        a++;
    return a;
}

bool tsig_key_parse(struct str name, struct str algorithm, struct str secret, struct tsig_key *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf bytes = STRBUF(sizeof out->secret);
    const struct tsig_alg *found = NULL;
    for (size_t i = 0; i < countof(tsig_algs); i++)
        if (str_ieq(algorithm.n ? algorithm : S("HMACMD5"), str_of(tsig_algs[i].name)) ||
            str_ieq(algorithm, str_of(tsig_algs[i].wire)))
            found = &tsig_algs[i];
    if (!found)
        return err_set(err, E_INVALID,
                       "tsigAlgorithm: \"" STR_FMT
                       "\" is none of HMACMD5, HMACSHA1, HMACSHA224, HMACSHA256, HMACSHA384 and HMACSHA512",
                       STR_ARG(algorithm));
    if (!dns_name_parse(name, &out->name))
        return err_set(err, E_INVALID, "tsigKeyName: \"" STR_FMT "\" is no name", STR_ARG(name));
    if (!strbuf_add_unbase64(&bytes, str_trim(secret)) || bytes.over || !bytes.n)
        return err_set(err, E_INVALID, "the TSIG secret is not base64, as key files have it");
    out->mac = found->mac;
    out->nsecret = bytes.n;
    memcpy(out->secret, bytes.p, bytes.n);
    mem_wipe(bytes.p, bytes.n);
    return true;
}

/* --- writing --- */

struct dns_out {
    uint8_t *p;
    size_t n, max;
    bool over;
};

static void bytes_put(struct dns_out *o, const void *p, size_t n)
{
    if (n > o->max - o->n) {
        o->over = true;
        return;
    }
    if (n)
        memcpy(o->p + o->n, p, n);
    o->n += n;
}

static void u16_put(struct dns_out *o, uint16_t v)
{
    bytes_put(o, (uint8_t[]){(uint8_t)(v >> 8), (uint8_t)v}, 2);
}

static void u32_put(struct dns_out *o, uint32_t v)
{
    u16_put(o, (uint16_t)(v >> 16));
    u16_put(o, (uint16_t)v);
}

static void name_put(struct dns_out *o, const struct dns_name *name)
{
    bytes_put(o, name->wire, name->n);
}

/* Names in what is signed are in lower case (RFC 8945 4.3.3). */
static void name_put_lower(struct dns_out *o, const struct dns_name *name)
{
    struct dns_name lower = *name;
    for (size_t at = 0; at < lower.n; at += (size_t)lower.wire[at] + 1)
        for (size_t i = 1; i <= lower.wire[at] && at + i < lower.n; i++)
            if (lower.wire[at + i] >= 'A' && lower.wire[at + i] <= 'Z')
                lower.wire[at + i] |= 0x20;
    name_put(o, &lower);
}

size_t dns_update_write(uint8_t p[DNS_UPDATE_MOST], uint16_t id, const struct dns_name *zone,
                        const struct dns_name *owner, struct str value, bool add)
{
    struct dns_out o = {.p = p, .max = DNS_UPDATE_MOST};
    u16_put(&o, id);
    u16_put(&o, DNS_UPDATE << 11);
    u16_put(&o, 1); /* zone */
    u16_put(&o, 0); /* prerequisites */
    u16_put(&o, 1); /* updates */
    u16_put(&o, 0);
    name_put(&o, zone);
    u16_put(&o, DNS_SOA);
    u16_put(&o, DNS_IN);
    name_put(&o, owner);
    u16_put(&o, DNS_TXT);
    u16_put(&o, add ? DNS_IN : DNS_CLASS_NONE);
    u32_put(&o, add ? RECORD_TTL : 0);
    uint8_t len = (uint8_t)MIN(value.n, (size_t)TXT_MOST);
    u16_put(&o, (uint16_t)(len + 1));
    bytes_put(&o, &len, 1);
    bytes_put(&o, value.p, len);
    return o.over || value.n > TXT_MOST ? 0 : o.n;
}

/* What of the signature's record is signed with the message. */
static void tsig_variables(struct dns_out *o, const struct tsig_key *k, uint64_t when, uint16_t fudge, uint16_t error,
                           const uint8_t *other, uint16_t nother)
{
    struct dns_name alg;
    ASSERT(dns_name_parse(str_of(alg_of(k->mac)->wire), &alg));
    name_put_lower(o, &k->name);
    u16_put(o, DNS_CLASS_ANY);
    u32_put(o, 0);
    name_put(o, &alg);
    u16_put(o, (uint16_t)(when >> 32));
    u32_put(o, (uint32_t)when);
    u16_put(o, fudge);
    u16_put(o, error);
    u16_put(o, nother);
    bytes_put(o, other, nother);
}

size_t tsig_sign(uint8_t p[DNS_UPDATE_MOST], size_t n, const struct tsig_key *k, int64_t now_s, uint8_t mac[MAC_MOST],
                 size_t *nmac)
{
    uint8_t text[2 * DNS_UPDATE_MOST];
    struct dns_out s = {.p = text, .max = sizeof text};
    struct dns_name alg;
    ASSERT(n >= HEAD && dns_name_parse(str_of(alg_of(k->mac)->wire), &alg));
    bytes_put(&s, p, n);
    tsig_variables(&s, k, (uint64_t)now_s, TSIG_FUDGE_S, 0, NULL, 0);
    *nmac = hmac_of(k->mac, (struct str){(const char *)k->secret, k->nsecret}, (struct str){(char *)text, s.n}, mac);
    struct dns_out o = {.p = p, .n = n, .max = DNS_UPDATE_MOST};
    name_put(&o, &k->name);
    u16_put(&o, DNS_TSIG);
    u16_put(&o, DNS_CLASS_ANY);
    u32_put(&o, 0);
    u16_put(&o, (uint16_t)(alg.n + 6 + 2 + 2 + *nmac + 2 + 2 + 2));
    name_put(&o, &alg);
    u16_put(&o, (uint16_t)((uint64_t)now_s >> 32));
    u32_put(&o, (uint32_t)now_s);
    u16_put(&o, TSIG_FUDGE_S);
    u16_put(&o, (uint16_t)*nmac);
    bytes_put(&o, mac, *nmac);
    bytes_put(&o, p, 2); /* the message's id */
    u16_put(&o, 0);
    u16_put(&o, 0);
    p[11]++; /* one more additional record: there was none */
    return o.over || s.over ? 0 : o.n;
}

/* --- reading --- */

const char *dns_rcode_text(int rcode)
{
    static const char *const texts[] = {"NOERROR",  "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
                                        "YXDOMAIN", "YXRRSET", "NXRRSET",  "NOTAUTH",  "NOTZONE"};
    static const char *const more[] = {"BADSIG", "BADKEY", "BADTIME"};
    if (rcode >= 16 && rcode < 16 + (int)countof(more))
        return more[rcode - 16];
    return rcode >= 0 && rcode < (int)countof(texts) ? texts[rcode] : "an unknown error";
}

static uint16_t u16_at(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

struct tsig_record {
    struct dns_name owner, alg;
    size_t at; /* where it begins in the message */
    uint64_t when;
    uint16_t fudge, error, nother;
    const uint8_t *mac, *other, *id;
    size_t nmac;
};

/* Passes over a record; *type, and where its data lies. */
static bool record_pass(const uint8_t *p, size_t n, size_t *at, struct dns_name *owner, uint16_t *type, size_t *data,
                        size_t *ndata)
{
    if (!dns_name_read(p, n, at, owner) || n - *at < 10)
        return false;
    *type = u16_at(p + *at);
    *ndata = u16_at(p + *at + 8);
    *data = *at + 10;
    *at = *data + *ndata;
    return *at <= n;
}

/* The signature is the last record of all. False: there is none, or it is damaged. */
static bool tsig_find(const uint8_t *p, size_t n, struct tsig_record *t)
{
    size_t at = HEAD, data = 0, ndata = 0;
    struct dns_name name;
    uint16_t type = 0;
    for (size_t i = u16_at(p + 4); i > 0; i--) {
        if (!dns_name_read(p, n, &at, &name) || n - at < 4)
            return false;
        at += 4;
    }
    for (size_t i = (size_t)u16_at(p + 6) + u16_at(p + 8) + u16_at(p + 10); i > 0; i--) {
        t->at = at;
        if (!record_pass(p, n, &at, &t->owner, &type, &data, &ndata))
            return false;
    }
    size_t end = data + ndata;
    if (type != DNS_TSIG || at != n || !dns_name_read(p, end, &data, &t->alg) || end - data < 10)
        return false;
    t->when = (uint64_t)u16_at(p + data) << 32 | (uint32_t)u16_at(p + data + 2) << 16 | u16_at(p + data + 4);
    t->fudge = u16_at(p + data + 6);
    t->nmac = u16_at(p + data + 8);
    t->mac = p + data + 10;
    data += 10;
    if (end - data < t->nmac || end - data - t->nmac < 6)
        return false;
    data += t->nmac;
    t->id = p + data;
    t->error = u16_at(p + data + 2);
    t->nother = u16_at(p + data + 4);
    t->other = p + data + 6;
    return end - data - 6 == t->nother;
}

static bool tsig_good(const uint8_t *p, const struct tsig_record *t, const struct tsig_key *k, const uint8_t *mac,
                      size_t nmac, int64_t now_s)
{
    static const size_t room = DNS_TCP_MAX + 1024;
    struct dns_name alg;
    uint8_t want[MAC_MOST];
    ASSERT(dns_name_parse(str_of(alg_of(k->mac)->wire), &alg));
    if (!dns_name_eq(&t->owner, &k->name) || !dns_name_eq(&t->alg, &alg))
        return false;
    int64_t apart = now_s - (int64_t)t->when;
    if (apart > t->fudge || apart < -(int64_t)t->fudge)
        return false;
    AUTO_FREE uint8_t *text = mem_alloc(room);
    struct dns_out s = {.p = text, .max = room};
    u16_put(&s, (uint16_t)nmac);
    bytes_put(&s, mac, nmac);
    size_t head = s.n;
    bytes_put(&s, p, t->at);
    if (s.over)
        return false;
    memcpy(text + head, t->id, 2);
    uint16_t more = (uint16_t)(u16_at(text + head + 10) - 1);
    text[head + 10] = (uint8_t)(more >> 8);
    text[head + 11] = (uint8_t)more;
    tsig_variables(&s, k, t->when, t->fudge, t->error, t->other, t->nother);
    size_t n = hmac_of(k->mac, (struct str){(const char *)k->secret, k->nsecret}, (struct str){(char *)text, s.n},
                       want);
    uint8_t differs = 0;
    for (size_t i = 0; i < n && t->nmac == n; i++)
        differs |= want[i] ^ t->mac[i];
    return !s.over && t->nmac == n && !differs;
}

bool dns_update_answer(const uint8_t *p, size_t n, uint16_t id, const struct tsig_key *k, const uint8_t *mac,
                       size_t nmac, int64_t now_s, struct err *err)
{
    struct tsig_record t = {0};
    if (n < HEAD || u16_at(p) != id || !(p[2] & 0x80))
        return err_set(err, E_INVALID, "it is no answer to the update");
    int rcode = p[3] & 15;
    bool found = k && tsig_find(p, n, &t);
    if (found && t.error)
        return err_set(err, E_FORBIDDEN, "%s: the TSIG signature is refused (%s)", dns_rcode_text(rcode),
                       dns_rcode_text(t.error));
    if (rcode)
        return err_set(err, rcode == DNS_SERVFAIL ? E_UNAVAILABLE : E_FORBIDDEN, "the update is refused: %s",
                       dns_rcode_text(rcode));
    if (k && !(found && tsig_good(p, &t, k, mac, nmac, now_s)))
        return err_set(err, E_FORBIDDEN, "the answer to the update does not carry a good TSIG signature");
    return true;
}
