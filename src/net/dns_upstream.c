#include "net/dns_upstream.h"
#include "base/clock.h"
#include "net/addr.h"
#include <arpa/inet.h>

#define LINES_MAX 256

static bool is_loopback(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24) == 127;
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static bool is_own(const struct sockaddr_storage *a, const uint32_t *own, size_t nown)
{
    for (size_t i = 0; i < nown && a->ss_family == AF_INET; i++)
        if (ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) == own[i])
            return true;
    return false;
}

static bool address_parse(struct str s, uint16_t port, struct sockaddr_storage *out)
{
    char z[64];
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    if (s.n == 0 || s.n >= sizeof z)
        return false;
    (void)snprintf(z, sizeof z, STR_FMT, STR_ARG(s));
    *out = (struct sockaddr_storage){0};
    if (inet_pton(AF_INET, z, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return true;
    }
    if (inet_pton(AF_INET6, z, &v6->sin6_addr) != 1) /* with a zone (fe80::1%eth0) it is no use from elsewhere */
        return false;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    return true;
}

static void parse_lines(struct str text, bool stubs, const uint32_t *own, size_t nown, uint16_t port,
                        struct dns_upstreams *out)
{
    struct str line;
    for (int i = 0; i < LINES_MAX && out->n < DNS_UPSTREAMS_MAX && str_cut(&text, '\n', &line); i++) {
        struct sockaddr_storage a;
        line = str_trim(line);
        if (!str_starts(line, S("nameserver")) || line.n < 12 || (line.p[10] != ' ' && line.p[10] != '\t'))
            continue;
        struct str value = str_trim(str_sub(line, 10, line.n));
        for (size_t j = 0; j < value.n; j++)
            if (value.p[j] == ' ' || value.p[j] == '\t' || value.p[j] == '#' || value.p[j] == ';')
                value.n = j;
        if (address_parse(value, port, &a) && !is_own(&a, own, nown) && is_loopback(&a) == stubs)
            out->addr[out->n++] = a;
    }
}

void dns_upstreams_parse(struct str resolv_conf, struct str behind, const uint32_t *own, size_t nown, uint16_t port,
                         struct dns_upstreams *out)
{
    *out = (struct dns_upstreams){0};
    parse_lines(resolv_conf, false, own, nown, port, out);
    if (out->n == 0)
        parse_lines(behind, false, own, nown, port, out);
    if (out->n == 0)
        parse_lines(resolv_conf, true, own, nown, port, out);
}

/* ---- cache ---- */

struct dns_cached {
    struct list by_use;
    char key_buf[DNS_NAME_MAX + 8];
    struct str key; /* in key_buf */
    int64_t since, until;
    struct dns_reply reply;
    size_t n;
    uint8_t msg[];
};

static struct str cache_key(const struct dns_query *q, char buf[DNS_NAME_MAX + 8])
{
    size_t n = 0;
    for (; n < q->name.n; n++) {
        uint8_t c = q->name.wire[n];
        buf[n] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    buf[n++] = (char)(q->type >> 8);
    buf[n++] = (char)q->type;
    buf[n++] = (char)(q->class >> 8);
    buf[n++] = (char)q->class;
    buf[n++] = (char)(q->edns | q->dnssec << 1 | q->cd << 2);
    return (struct str){buf, n};
}

void dns_cache_init(struct dns_cache *c)
{
    *c = (struct dns_cache){0};
    list_init(&c->by_use);
}

static size_t cached_size(const struct dns_cached *e)
{
    return sizeof *e + e->n + e->key.n + sizeof(struct map_entry);
}

static void cached_forget(struct dns_cache *c, struct dns_cached *e)
{
    c->bytes -= cached_size(e);
    list_del(&e->by_use);
    (void)map_del(&c->entries, e->key);
    mem_free(e);
}

void dns_cache_fini(struct dns_cache *c)
{
    while (!list_empty(&c->by_use))
        cached_forget(c, list_first(&c->by_use, struct dns_cached, by_use));
    map_fini(&c->entries);
}

size_t dns_cache_get(struct dns_cache *c, const struct dns_query *q, int64_t now_ns, uint8_t *out, size_t max)
{
    char buf[DNS_NAME_MAX + 8];
    struct dns_cached *e = map_get(&c->entries, cache_key(q, buf));
    if (!e || e->n > max)
        return 0;
    if (now_ns >= e->until) {
        cached_forget(c, e);
        return 0;
    }
    list_del(&e->by_use);
    list_add_tail(&c->by_use, &e->by_use);
    (void)memcpy(out, e->msg, e->n);
    (void)memcpy(out + 12, q->name.wire, q->name.n); /* the letters as this client wrote them */
    dns_age(out, &e->reply, (uint32_t)((now_ns - e->since) / NS_PER_S));
    return e->n;
}

void dns_cache_put(struct dns_cache *c, const struct dns_query *q, int64_t now_ns, const uint8_t *msg, size_t n,
                   const struct dns_reply *reply)
{
    char buf[DNS_NAME_MAX + 8];
    struct str key = cache_key(q, buf);
    struct dns_cached *e = map_get(&c->entries, key);
    if (e)
        cached_forget(c, e);
    if (reply->ttl == 0 || n > DNS_CACHE_BYTES / 8)
        return;
    e = mem_alloc(sizeof *e + n);
    e->since = now_ns;
    e->until = now_ns + MIN(reply->ttl, DNS_CACHE_TTL) * NS_PER_S;
    e->reply = *reply;
    e->n = n;
    (void)memcpy(e->msg, msg, n);
    e->msg[0] = e->msg[1] = 0;
    e->key = cache_key(q, e->key_buf);
    (void)map_put(&c->entries, e->key, e);
    list_add_tail(&c->by_use, &e->by_use);
    c->bytes += cached_size(e);
    while (c->bytes > DNS_CACHE_BYTES)
        cached_forget(c, list_first(&c->by_use, struct dns_cached, by_use));
}
