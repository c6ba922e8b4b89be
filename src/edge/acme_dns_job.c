#include "base/clock.h"
#include "edge/acme_dns.h"
#include "edge/acme_int.h"
#include "net/dns_upstream.h"
#include "sys/file.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>

#define TRIES    3
#define WAIT_S   4 /* for one answer */
#define CNAMES   8
#define SERVERS  16 /* of a zone that are asked */
#define DNS_PORT "53"

struct dns_peer {
    struct sockaddr_storage addr;
    socklen_t n;
    char text[NI_MAXHOST + 8];
};
struct dns_run {
    const struct acme_request *r;
    struct arena *a;
    struct err *err;
    struct dns_peer resolver;
    uint8_t reply[DNS_TCP_MAX];
    size_t nreply;
};

/* ---- one exchange ---- */

/* "192.0.2.1", "192.0.2.1:53", "[2001:db8::1]:53", "ns.example.org" */
static bool peer_find(struct dns_run *x, struct str text, struct dns_peer *out)
{
    struct str host = text, port = S(DNS_PORT), rest;
    if (str_starts(text, S("[")) && str_split(str_sub(text, 1, text.n), ']', &host, &rest))
        port = str_starts(rest, S(":")) ? str_sub(rest, 1, rest.n) : port;
    else if (str_find_char(text, ':') == str_rfind_char(text, ':'))
        (void)(str_split(text, ':', &host, &rest) && (port = rest, true)); /* no port: that of DNS */
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found = NULL;
    int rc = getaddrinfo(arena_strz(x->a, host), arena_strz(x->a, port), &hints, &found);
    if (rc != 0 || !found)
        return err_set(x->err, E_UNAVAILABLE, "nameserver " STR_FMT ": %s", STR_ARG(text), gai_strerror(rc));
    memcpy(&out->addr, found->ai_addr, found->ai_addrlen);
    out->n = found->ai_addrlen;
    freeaddrinfo(found);
    (void)snprintf(out->text, sizeof out->text, "%.*s", (int)MIN(text.n, sizeof out->text - 1), text.p);
    return true;
}

/* The machine's own, from resolv.conf. */
static bool resolver_find(struct dns_run *x)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT), behind = STRBUF(STRBUF_TEXT);
    struct err ignored = ERR; /* systemd-resolved need not be there */
    struct dns_upstreams up;
    if (x->r->nameserver.n)
        return peer_find(x, x->r->nameserver, &x->resolver);
    if (!file_read(AT_FDCWD, "/etc/resolv.conf", &text, x->err))
        return false;
    if (!file_read(AT_FDCWD, "/run/systemd/resolve/resolv.conf", &behind, &ignored))
        strbuf_reset(&behind);
    dns_upstreams_parse(strbuf_str(&text), strbuf_str(&behind), NULL, 0, 53, &up);
    if (!up.n)
        return err_set(x->err, E_UNAVAILABLE, "/etc/resolv.conf names no nameserver");
    x->resolver.addr = up.addr[0];
    x->resolver.n = up.addr[0].ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    (void)getnameinfo((struct sockaddr *)&x->resolver.addr, x->resolver.n, x->resolver.text, sizeof x->resolver.text,
                      NULL, 0, NI_NUMERICHOST);
    return true;
}

static int socket_to(const struct dns_peer *peer, int type)
{
    int fd = socket(peer->addr.ss_family, type | SOCK_CLOEXEC, 0);
    struct timeval wait = {.tv_sec = WAIT_S};
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) < 0 ||
        connect(fd, (const struct sockaddr *)&peer->addr, peer->n) < 0) {
        fd_close(fd);
        return -1;
    }
    return fd;
}

static bool all_received(int fd, uint8_t *p, size_t n)
{
    while (n) {
        ssize_t got = recv(fd, p, n, 0);
        if (got <= 0)
            return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

static bool ask_tcp(struct dns_run *x, const struct dns_peer *peer, const uint8_t *p, size_t n)
{
    AUTO(fd_close) int fd = socket_to(peer, SOCK_STREAM);
    uint8_t framed[DNS_UPDATE_MOST + 2] = {(uint8_t)(n >> 8), (uint8_t)n}, size[2];
    memcpy(framed + 2, p, n);
    if (fd < 0 || send(fd, framed, n + 2, MSG_NOSIGNAL) != (ssize_t)n + 2 || !all_received(fd, size, 2))
        return false;
    x->nreply = (size_t)(size[0] << 8 | size[1]);
    return x->nreply >= 12 && all_received(fd, x->reply, x->nreply);
}

static bool ask_udp(struct dns_run *x, const struct dns_peer *peer, const uint8_t *p, size_t n)
{
    AUTO(fd_close) int fd = socket_to(peer, SOCK_DGRAM);
    if (fd < 0 || send(fd, p, n, 0) != (ssize_t)n)
        return false;
    for (;;) { /* what answers something else is passed over */
        ssize_t got = recv(fd, x->reply, sizeof x->reply, 0);
        if (got < 0)
            return false;
        x->nreply = (size_t)got;
        if (got >= 12 && memcmp(x->reply, p, 2) == 0)
            return true;
    }
}

static bool ask_peer(struct dns_run *x, const struct dns_peer *peer, const uint8_t *p, size_t n)
{
    for (int i = 0; i < TRIES; i++) {
        bool cut = false;
        if (!x->r->tcp && ask_udp(x, peer, p, n)) {
            cut = x->reply[2] & 2;
            if (!cut)
                return true;
        }
        if ((x->r->tcp || cut) && ask_tcp(x, peer, p, n))
            return true;
    }
    return err_set(x->err, E_UNAVAILABLE, "nameserver %s: does not answer%s%s", peer->text, errno ? ": " : "",
                   errno ? strerror(errno) : "");
}

static uint16_t id_new(void)
{
    return (uint16_t)random_below(65536);
}

static bool question_ask(struct dns_run *x, const struct dns_peer *peer, const struct dns_name *name, uint16_t type,
                         struct dns_reply *out)
{
    uint8_t p[DNS_UPDATE_MOST];
    struct dns_query q = {.type = type, .class = DNS_IN, .name = *name, .rd = true, .udp_size = DNS_UDP_MIN};
    uint16_t id = id_new();
    size_t n = dns_ask(p, sizeof p, &q, id);
    if (!ask_peer(x, peer, p, n))
        return false;
    if (!dns_reply_read(x->reply, x->nreply, &q, id, out))
        return err_set(x->err, E_INVALID, "nameserver %s: what it says answers something else", peer->text);
    return out->rcode == DNS_NOERROR || out->rcode == DNS_NXDOMAIN ||
           err_set(x->err, E_UNAVAILABLE, "nameserver %s: %s", peer->text, dns_rcode_text(out->rcode));
}

/* ---- what is asked ---- */

/* Whether some record is of that type; the first one. */
static bool record_find(struct dns_run *x, const struct dns_reply *reply, uint16_t type, struct dns_rr *out)
{
    for (size_t at = reply->question_end; at < x->nreply && dns_rr_read(x->reply, x->nreply, &at, out);)
        if (out->type == type)
            return true;
    return false;
}

static bool cnames_follow(struct dns_run *x, struct dns_name *name)
{
    struct dns_reply reply;
    struct dns_rr rr;
    for (int i = 0; i < CNAMES; i++) {
        if (!question_ask(x, &x->resolver, name, DNS_CNAME, &reply))
            return false;
        if (!record_find(x, &reply, DNS_CNAME, &rr) || !dns_name_eq(&rr.owner, name))
            return true;
        size_t at = rr.rdata_at;
        if (!dns_name_read(x->reply, x->nreply, &at, name))
            return err_set(x->err, E_INVALID, "a CNAME record that cannot be read");
    }
    return err_set(x->err, E_INVALID, "more than %d CNAME records in a row", CNAMES);
}

/* The zone that holds the name: whose SOA is told, going up label by label. */
static bool zone_find(struct dns_run *x, const struct dns_name *name, struct dns_name *zone)
{
    struct dns_reply reply;
    struct dns_rr rr;
    char text[DNS_TEXT_MAX];
    struct dns_name at = *name;
    while (at.n > 1) {
        if (!question_ask(x, &x->resolver, &at, DNS_SOA, &reply))
            return false;
        if (record_find(x, &reply, DNS_SOA, &rr)) {
            *zone = rr.owner;
            return true;
        }
        size_t label = (size_t)at.wire[0] + 1;
        memmove(at.wire, at.wire + label, at.n - label);
        at.n = (uint8_t)(at.n - label);
    }
    struct str said = dns_name_text(name, text);
    return err_set(x->err, E_NOT_FOUND, "nameserver %s: knows no zone that " STR_FMT " lies in", x->resolver.text,
                   STR_ARG(said));
}

static struct str name_words(struct dns_run *x, const struct dns_name *name)
{
    char text[DNS_TEXT_MAX];
    return str_dup(x->a, dns_name_text(name, text));
}

static bool step_update(struct dns_run *x, const struct dns_name *name, const struct dns_name *zone, bool add)
{
    uint8_t p[DNS_UPDATE_MOST], mac[MAC_MOST];
    struct tsig_key key;
    size_t nmac = 0;
    int64_t now = clock_real() / NS_PER_S;
    bool is_signed = x->r->tsig_name.n;
    uint16_t id = id_new();
    size_t n = dns_update_write(p, id, zone, name, x->r->value, add);
    if (is_signed && !tsig_key_parse(x->r->tsig_name, x->r->tsig_alg, x->r->tsig_secret, &key, x->err))
        return false;
    if (n && is_signed)
        n = tsig_sign(p, n, &key, now, mac, &nmac);
    if (!n)
        return err_set(x->err, E_TOO_LARGE, "the update is over %d bytes", DNS_UPDATE_MOST);
    bool ok = ask_peer(x, &x->resolver, p, n) &&
              dns_update_answer(x->reply, x->nreply, id, is_signed ? &key : NULL, mac, nmac, now, x->err);
    mem_wipe(&key, sizeof key);
    return ok || err_wrap(x->err, "zone " STR_FMT, STR_ARG(name_words(x, zone)));
}

static bool text_is_there(struct dns_run *x, const struct dns_reply *reply, struct str value)
{
    struct dns_rr rr;
    for (size_t at = reply->question_end; at < x->nreply && dns_rr_read(x->reply, x->nreply, &at, &rr);)
        if (rr.type == DNS_TXT && rr.rdata_n == value.n + 1 && rr.rdata[0] == value.n &&
            memcmp(rr.rdata + 1, value.p, value.n) == 0)
            return true;
    return false;
}

/* The first address of a server, as the resolver knows it. */
static bool address_find(struct dns_run *x, const struct dns_name *server, struct dns_peer *out)
{
    struct dns_reply reply;
    struct dns_rr rr;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(53)};
    if (!question_ask(x, &x->resolver, server, DNS_A, &reply))
        return false;
    struct str host = name_words(x, server);
    if (!record_find(x, &reply, DNS_A, &rr) || rr.rdata_n != 4)
        return err_set(x->err, E_NOT_FOUND, "nameserver " STR_FMT ": has no address", STR_ARG(host));
    memcpy(&in.sin_addr, rr.rdata, 4);
    memcpy(&out->addr, &in, sizeof in);
    out->n = sizeof in;
    (void)snprintf(out->text, sizeof out->text, "%.*s", (int)MIN(host.n, sizeof out->text - 1), host.p);
    return true;
}

/* Every server that the zone names has the record. */
static bool step_look(struct dns_run *x, const struct dns_name *name, const struct dns_name *zone)
{
    struct dns_reply reply;
    struct dns_rr rr;
    struct dns_name servers[SERVERS];
    size_t n = 0;
    if (!question_ask(x, &x->resolver, zone, DNS_NS, &reply))
        return false;
    for (size_t at = reply.question_end;
         n < SERVERS && at < x->nreply && dns_rr_read(x->reply, x->nreply, &at, &rr);) {
        size_t from = rr.rdata_at;
        n += rr.type == DNS_NS && dns_name_read(x->reply, x->nreply, &from, &servers[n]);
    }
    for (size_t i = 0; i < n; i++) {
        struct dns_peer peer;
        if (!address_find(x, &servers[i], &peer) || !question_ask(x, &peer, name, DNS_TXT, &reply))
            return false;
        if (!text_is_there(x, &reply, x->r->value))
            return err_set(x->err, E_UNAVAILABLE, "nameserver %s does not have the record yet", peer.text);
    }
    return n || err_set(x->err, E_NOT_FOUND, "zone " STR_FMT ": has no nameservers", STR_ARG(name_words(x, zone)));
}

void acme_dns_run(struct arena *a, const struct acme_request *r, struct acme_answer *out)
{
    struct dns_run *x = ARENA_NEW(a, struct dns_run);
    struct dns_name name, zone;
    *x = (struct dns_run){.r = r, .a = a, .err = &out->err};
    if (!dns_name_parse(r->fqdn, &name)) {
        (void)err_set(x->err, E_INVALID, "\"" STR_FMT "\" is no name of DNS", STR_ARG(r->fqdn));
        return;
    }
    if (!resolver_find(x) || (r->follow && !cnames_follow(x, &name)) || !zone_find(x, &name, &zone))
        return;
    out->target = name_words(x, &name);
    out->zone = name_words(x, &zone);
    if (r->op == ACME_DNS_PRESENT || r->op == ACME_DNS_CLEANUP)
        (void)step_update(x, &name, &zone, r->op == ACME_DNS_PRESENT); /* told in out->err */
    else if (r->op == ACME_DNS_LOOK)
        (void)step_look(x, &name, &zone); /* the same */
}
