#include "net/dns_server.h"
#include "net/world_test.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

static struct dns_zone zone;
static const uint32_t web_ip = IP4(10, 43, 0, 10), dns_ip = IP4(10, 43, 0, 2);
static const struct dns_port http[] = {{S_INIT("http"), S_INIT("tcp"), 80}, {S_INIT("dns"), S_INIT("udp"), 53}};

static void zone_make(void)
{
    static const struct dns_endpoint eps[] = {{IP4(10, 42, 0, 5), S_INIT("db-0"), http, 1},
                                              {IP4(10, 42, 0, 6), S_INIT("db-1"), http, 1},
                                              {IP4(10, 42, 0, 7), S_INIT(""), http, 1}};
    struct err err = ERR;
    CHECK_OK(dns_zone_init(&zone, S("cluster.local"), (struct cidr4){IP4(10, 42, 0, 0), 16},
                           (struct cidr4){IP4(10, 43, 0, 0), 16}, dns_ip, &err),
             err);
    dns_zone_namespace(&zone, S("default"), true);
    dns_zone_put(&zone, &(struct dns_service){.ns = S("default"),
                                              .name = S("web"),
                                              .cluster_ips = &web_ip,
                                              .ncluster_ips = 1,
                                              .ports = http,
                                              .nports = 2});
    dns_zone_put(&zone,
                 &(struct dns_service){.ns = S("default"), .name = S("db"), .endpoints = eps, .nendpoints = 3});
    dns_zone_put(&zone, &(struct dns_service){.ns = S("default"), .name = S("none")});
    dns_zone_put(&zone,
                 &(struct dns_service){.ns = S("default"), .name = S("ext"), .external_name = S("api.example.com")});
    dns_zone_put(&zone, &(struct dns_service){.ns = S("default"),
                                              .name = S("in"),
                                              .external_name = S("web.default.svc.cluster.local")});
}

static struct dns_query query_of(const char *name, uint16_t type)
{
    struct dns_query q = {.id = 7, .type = type, .class = DNS_IN, .rd = true, .udp_size = DNS_UDP_MIN};
    CHECK(dns_name_parse(str_of(name), &q.name));
    return q;
}

static const char *type_name(uint16_t t)
{
    switch (t) {
    case DNS_A: return "A";
    case DNS_AAAA: return "AAAA";
    case DNS_SRV: return "SRV";
    case DNS_PTR: return "PTR";
    case DNS_CNAME: return "CNAME";
    case DNS_SOA: return "SOA";
    case DNS_NS: return "NS";
    case DNS_TXT: return "TXT";
    case DNS_OPT: return "OPT";
    }
    return "?";
}

/* "NOERROR A 10.43.0.10" and so on, records separated by "; " */
static struct str reply_text(const uint8_t *p, size_t n)
{
    static char out[65536];
    static const char *const rcodes[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};
    AUTO(strbuf_fini) struct strbuf b = STRBUF(sizeof out - 1);
    char name[DNS_TEXT_MAX];
    size_t at = 12;
    CHECK(n >= 12 && (p[3] & 15) < 6);
    strbuf_addf(&b, "%s%s%s", rcodes[p[3] & 15], p[2] & 4 ? " aa" : "", p[2] & 2 ? " tc" : "");
    struct dns_name q;
    if (p[5])
        CHECK(dns_name_read(p, n, &at, &q)), at += 4;
    int total = (p[6] << 8 | p[7]) + (p[8] << 8 | p[9]) + (p[10] << 8 | p[11]);
    for (int i = 0; i < total; i++) {
        struct dns_rr rr;
        CHECK(dns_rr_read(p, n, &at, &rr));
        size_t inside = rr.rdata_at + (rr.type == DNS_SRV ? 6 : 0);
        strbuf_addf(&b, "; %s", type_name(rr.type));
        if (rr.type == DNS_A)
            strbuf_addf(&b, " %u.%u.%u.%u", rr.rdata[0], rr.rdata[1], rr.rdata[2], rr.rdata[3]);
        if (rr.type == DNS_SRV)
            strbuf_addf(&b, " %u", (unsigned)(rr.rdata[4] << 8 | rr.rdata[5]));
        if (rr.type == DNS_SRV || rr.type == DNS_PTR || rr.type == DNS_CNAME || rr.type == DNS_NS) {
            CHECK(dns_name_read(p, n, &inside, &q));
            strbuf_addf(&b, " " STR_FMT, STR_ARG(dns_name_text(&q, name)));
        }
        if (rr.type == DNS_TXT)
            strbuf_addf(&b, " %.*s", rr.rdata[0], (const char *)rr.rdata + 1);
    }
    CHECK(at == n);
    (void)memcpy(out, b.p, b.n);
    return (struct str){out, b.n};
}

static struct str zone_ask(const char *name, uint16_t type)
{
    static uint8_t out[DNS_TCP_MAX];
    struct dns_query q = query_of(name, type);
    struct dns_name target;
    size_t len = 0;
    switch (dns_zone_answer(&zone, &q, true, 0, out, sizeof out, &len, &target)) {
    case DNS_DONE: return reply_text(out, len);
    case DNS_CHASE: return S("chase");
    case DNS_FORWARD: return S("forward");
    }
    return STR_NONE;
}

TEST(names_of_the_cluster)
{
    static const struct {
        const char *name;
        uint16_t type;
        const char *want;
    } rows[] = {
        {"web.default.svc.cluster.local", DNS_A, "NOERROR aa; A 10.43.0.10"},
        {"WEB.Default.svc.cluster.local", DNS_A, "NOERROR aa; A 10.43.0.10"},
        {"web.default.svc.cluster.local", DNS_AAAA,
         "NOERROR aa; SOA"}, /* no data: not NXDOMAIN, musl would give up */
        {"web.default.svc.cluster.local", DNS_TXT, "NOERROR aa; SOA"},
        {"web.default.svc.cluster.local", DNS_SRV,
         "NOERROR aa; SRV 80 web.default.svc.cluster.local; SRV 53 web.default.svc.cluster.local; A 10.43.0.10"},
        {"_http._tcp.web.default.svc.cluster.local", DNS_SRV,
         "NOERROR aa; SRV 80 web.default.svc.cluster.local; A 10.43.0.10"},
        {"_http._udp.web.default.svc.cluster.local", DNS_SRV, "NXDOMAIN aa; SOA"},
        {"_http._tcp.web.default.svc.cluster.local", DNS_A, "NOERROR aa; SOA"},
        {"db.default.svc.cluster.local", DNS_A, "NOERROR aa; A 10.42.0.5; A 10.42.0.6; A 10.42.0.7"},
        {"db-1.db.default.svc.cluster.local", DNS_A, "NOERROR aa; A 10.42.0.6"},
        {"db-1.db.default.svc.cluster.local", DNS_AAAA, "NOERROR aa; SOA"},
        {"10-42-0-7.db.default.svc.cluster.local", DNS_A, "NOERROR aa; A 10.42.0.7"},
        {"10-42-0-5.db.default.svc.cluster.local", DNS_A, "NXDOMAIN aa; SOA"}, /* it has a hostname */
        {"_http._tcp.db.default.svc.cluster.local", DNS_SRV,
         "NOERROR aa; SRV 80 db-0.db.default.svc.cluster.local; SRV 80 db-1.db.default.svc.cluster.local; "
         "SRV 80 10-42-0-7.db.default.svc.cluster.local; A 10.42.0.5; A 10.42.0.6; A 10.42.0.7"},
        {"none.default.svc.cluster.local", DNS_A, "NXDOMAIN aa; SOA"},
        {"nope.default.svc.cluster.local", DNS_A, "NXDOMAIN aa; SOA"},
        {"db-1.web.default.svc.cluster.local", DNS_A, "NXDOMAIN aa; SOA"},
        {"web.other.svc.cluster.local", DNS_A, "NXDOMAIN aa; SOA"},
        {"web.default.svc.cluster.local.default.svc.cluster.local", DNS_A, "NXDOMAIN aa; SOA"}, /* a search path */
        {"default.svc.cluster.local", DNS_A, "NOERROR aa; SOA"},
        {"other.svc.cluster.local", DNS_A, "NXDOMAIN aa; SOA"},
        {"svc.cluster.local", DNS_A, "NOERROR aa; SOA"},
        {"cluster.local", DNS_A, "NOERROR aa; SOA"},
        {"cluster.local", DNS_SOA, "NOERROR aa; SOA"},
        {"cluster.local", DNS_NS, "NOERROR aa; NS ns.dns.cluster.local; A 10.43.0.2"},
        {"ns.dns.cluster.local", DNS_A, "NOERROR aa; A 10.43.0.2"},
        {"dns-version.cluster.local", DNS_TXT, "NOERROR aa; TXT 1.1.0"},
        {"ext.default.svc.cluster.local", DNS_A, "chase"},
        {"ext.default.svc.cluster.local", DNS_CNAME, "NOERROR aa; CNAME api.example.com"},
        {"10-42-0-9.default.pod.cluster.local", DNS_A, "NOERROR aa; A 10.42.0.9"},
        {"10-42-0-9.default.pod.cluster.local", DNS_AAAA, "NOERROR aa; SOA"},
        {"10-42-0.default.pod.cluster.local", DNS_A, "NXDOMAIN aa; SOA"},
        {"10-42-0-9.other.pod.cluster.local", DNS_A, "NXDOMAIN aa; SOA"},
        {"10.0.43.10.in-addr.arpa", DNS_PTR, "NXDOMAIN aa; SOA"}, /* 10.43.0.10 backwards is below */
        {"10.0.43.10.in-addr.arpa", DNS_A, "NXDOMAIN aa; SOA"},
        {"6.0.42.10.in-addr.arpa", DNS_PTR, "NOERROR aa; PTR db-1.db.default.svc.cluster.local"},
        {"7.0.42.10.in-addr.arpa", DNS_PTR, "NOERROR aa; PTR 10-42-0-7.db.default.svc.cluster.local"},
        {"99.0.42.10.in-addr.arpa", DNS_PTR, "NXDOMAIN aa; SOA"},
        {"1.1.1.1.in-addr.arpa", DNS_PTR, "forward"},
        {"example.com", DNS_A, "forward"},
        {"xcluster.local", DNS_A, "forward"},
    };
    zone_make();
    for (size_t i = 0; i < countof(rows); i++) {
        struct str want = str_of(rows[i].want);
        if (strcmp(rows[i].name, "10.0.43.10.in-addr.arpa") == 0) /* that is 10.43.0.10 */
            want = rows[i].type == DNS_PTR ? S("NOERROR aa; PTR web.default.svc.cluster.local")
                                           : S("NOERROR aa; SOA");
        struct str have = zone_ask(rows[i].name, rows[i].type);
        if (!str_eq(have, want))
            test_failed(__FILE__, __LINE__, "%s %s: " STR_FMT ", want " STR_FMT, rows[i].name,
                        type_name(rows[i].type), STR_ARG(have), STR_ARG(want));
    }
    dns_zone_del(&zone, S("default"), S("db"));
    CHECK_STR(zone_ask("6.0.42.10.in-addr.arpa", DNS_PTR), S("NXDOMAIN aa; SOA"));
    CHECK_STR(zone_ask("db.default.svc.cluster.local", DNS_A), S("NXDOMAIN aa; SOA"));
    dns_zone_fini(&zone);
}

TEST(an_answer_that_does_not_fit_is_cut_at_a_record)
{
    zone_make();
    static uint8_t out[DNS_TCP_MAX];
    struct dns_endpoint many[100];
    struct dns_name target;
    size_t len;
    for (int i = 0; i < 100; i++)
        many[i] = (struct dns_endpoint){.ip = IP4(10, 42, 1, i)};
    dns_zone_put(&zone,
                 &(struct dns_service){.ns = S("default"), .name = S("big"), .endpoints = many, .nendpoints = 100});
    struct dns_query q = query_of("big.default.svc.cluster.local", DNS_A);
    CHECK_INT(dns_zone_answer(&zone, &q, false, 5, out, sizeof out, &len, &target), DNS_DONE);
    CHECK(len <= 512 && len > 480);
    CHECK(str_starts(reply_text(out, len), S("NOERROR aa tc; A 10.42.1.5")));
    q.edns = true;
    q.udp_size = 1232;
    CHECK_INT(dns_zone_answer(&zone, &q, false, 0, out, sizeof out, &len, &target), DNS_DONE);
    CHECK(len <= 1232 && len > 1200 && str_ends(reply_text(out, len), S("; OPT")));
    CHECK_INT(dns_zone_answer(&zone, &q, true, 0, out, sizeof out, &len, &target), DNS_DONE);
    CHECK(str_starts(reply_text(out, len), S("NOERROR aa; A")) && str_has(reply_text(out, len), S("10.42.1.99")));
    dns_zone_fini(&zone);
}

TEST(queries_are_read_strictly)
{
    static const struct {
        const char *bytes;
        size_t n;
        int want;
    } rows[] = {
#define ROW(s, want) {s, sizeof(s) - 1, want}
        ROW("\0\1\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1", DNS_NOERROR),
        ROW("\0\1\1\0\0\1\0\0\0\0\0\1\1a\0\0\1\0\1\0\0\51\20\0\0\0\200\0\0\0", DNS_NOERROR),
        ROW("\0\1\1\0\0\1\0\0\0\0\0\1\1a\0\0\1\0\1\0\0\51\20\0\0\1\0\0\0\0", DNS_BADVERS),
        ROW("\0\1\1\0\0\1\0\0\0\0\0\1\1a\0\0\1\0\1\0\0\51\20\0\0\0\0\0\0\3\0\1\0", DNS_FORMERR), /* cut option */
        ROW("\0\1\1\0\0\1\0\0\0\0\0\2\1a\0\0\1\0\1\0\0\51\20\0\0\0\0\0\0\0\0\0\51\20\0\0\0\0\0\0\0", DNS_FORMERR),
        ROW("\0\1\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1x", DNS_FORMERR),             /* more behind */
        ROW("\0\1\1\0\0\1\0\0\0\0\0\0\1a\300\14\0\1\0\1", DNS_FORMERR),         /* a pointer in the question */
        ROW("\0\1\1\0\0\1\0\0\0\0\0\0\1a\0\0\1", DNS_FORMERR),                  /* cut */
        ROW("\0\1\1\0\0\1\0\0\0\0\0\0\100a\0\0\1\0\1", DNS_FORMERR),            /* label type 01 */
        ROW("\0\1\1\0\0\2\0\0\0\0\0\0\1a\0\0\1\0\1\1a\0\0\1\0\1", DNS_FORMERR), /* two questions */
        ROW("\0\1\1\0\0\0\0\0\0\0\0\0", DNS_FORMERR),                           /* none */
        ROW("\0\1\50\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1", DNS_NOTIMP),              /* UPDATE */
        ROW("\0\1\201\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1", -1),                     /* an answer */
        ROW("\0\1\1\0\0\1", -1),
    };
    struct dns_query q;
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO_FREE uint8_t *exact = mem_dup(rows[i].bytes, rows[i].n);
        int have = dns_query_read(exact, rows[i].n, &q);
        if (have != rows[i].want)
            test_failed(__FILE__, __LINE__, "row %zu: %d, want %d", i, have, rows[i].want);
    }
}

TEST(names_keep_their_limits)
{
    struct dns_name name;
    char buf[DNS_TEXT_MAX];
    CHECK(dns_name_parse(S("a.b."), &name) && str_eq(dns_name_text(&name, buf), S("a.b")));
    CHECK(dns_name_parse(S(""), &name) && name.n == 1);
    CHECK(!dns_name_parse(S("a..b"), &name) && !dns_name_parse(S(".a"), &name));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1000);
    for (int i = 0; i < 64; i++)
        strbuf_addc(&b, 'a');
    CHECK(!dns_name_parse(strbuf_str(&b), &name));
    strbuf_reset(&b);
    for (int i = 0; i < 126; i++)
        strbuf_addz(&b, "a.");
    CHECK(dns_name_parse(strbuf_str(&b), &name) && name.n == 253);
    strbuf_addz(&b, "bb");
    CHECK(!dns_name_parse(strbuf_str(&b), &name));
    static const uint8_t odd[] = {3, 'A', '.', 0xff, 0};
    size_t at = 0;
    CHECK(dns_name_read(odd, sizeof odd, &at, &name) && str_eq(dns_name_text(&name, buf), S("a\\046\\255")));
    static const uint8_t loop_[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 'a', 0xc0, 12};
    at = 12;
    CHECK(!dns_name_read(loop_, sizeof loop_, &at, &name));
}

static struct str upstream_list(const char *conf, const char *behind)
{
    static char out[500];
    static const uint32_t own[] = {IP4(10, 43, 0, 10)};
    struct dns_upstreams u;
    size_t n = 0;
    dns_upstreams_parse(str_of(conf), str_of(behind), own, 1, 53, &u);
    for (size_t i = 0; i < u.n; i++) {
        const struct sockaddr_in *a = (void *)&u.addr[i];
        if (a->sin_family == AF_INET)
            n += (size_t)snprintf(out + n, sizeof out - n, IP4_FMT " ", IP4_ARG(ntohl(a->sin_addr.s_addr)));
        else
            n += (size_t)snprintf(out + n, sizeof out - n, "v6 ");
    }
    return (struct str){out, n};
}

TEST(a_stub_of_the_host_is_replaced_by_what_stands_behind_it)
{
    CHECK_STR(upstream_list("nameserver 192.0.2.1\nnameserver 192.0.2.2 # two\nsearch x\n", ""),
              S("192.0.2.1 192.0.2.2 "));
    CHECK_STR(upstream_list("# c\nnameserver 127.0.0.53\noptions edns0\n",
                            "nameserver 192.0.2.9\nnameserver 2001:db8::1\n"),
              S("192.0.2.9 v6 "));
    CHECK_STR(upstream_list("nameserver 127.0.0.53\n", ""), S("127.0.0.53 "));
    CHECK_STR(upstream_list("nameserver 127.0.0.53\n", "nameserver 127.0.0.53\n"), S("127.0.0.53 "));
    CHECK_STR(
        upstream_list("nameserver 10.43.0.10\nnameserver 192.0.2.1\nnameserver nonsense\nnameservers 1.2.3.4\n", ""),
        S("192.0.2.1 "));
    CHECK_STR(upstream_list("", ""), S(""));
}

/* ---- over the wire ---- */

static struct loop *loop;
static struct dns_server *server;
static int asked_udp, asked_tcp;
static bool deaf;

/* The world outside: answers A with 192.0.2.80; "big" is cut over UDP; ids and names come back as they came. */
static size_t outside_answer(const uint8_t *msg, size_t n, uint8_t *out, bool tcp)
{
    struct dns_query q;
    struct dns_writer w;
    char name[DNS_TEXT_MAX];
    CHECK_INT(dns_query_read(msg, n, &q), DNS_NOERROR);
    struct str text = dns_name_text(&q.name, name);
    dns_write_begin(&w, out, DNS_TCP_MAX, &q, true);
    if (str_starts(text, S("big")) && !tcp) {
        w.truncated = true;
    } else if (str_starts(text, S("big"))) {
        for (int i = 0; i < 60; i++)
            dns_write_a(&w, DNS_ANSWER, &q.name, 60, IP4(192, 0, 2, i));
    } else if (str_starts(text, S("nx"))) {
        struct dns_name zn;
        CHECK(dns_name_parse(S("example.com"), &zn));
        dns_write_soa(&w, DNS_AUTHORITY, &zn, &zn, &zn, 1, 60, 10);
        return dns_write_end(&w, DNS_NXDOMAIN, true);
    } else {
        dns_write_a(&w, DNS_ANSWER, &q.name, 60, IP4(192, 0, 2, 80));
    }
    return dns_write_end(&w, DNS_NOERROR, true);
}

static void on_outside_udp(struct poll *p, int ready)
{
    uint8_t msg[2048];
    static uint8_t out[DNS_TCP_MAX];
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    (void)ready;
    ssize_t n = recvfrom(p->fd, msg, sizeof msg, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
    if (n < 0)
        return;
    asked_udp++;
    if (deaf)
        return;
    /* somebody guesses: wrong id */
    size_t m = outside_answer(msg, (size_t)n, out, false);
    out[0] ^= 0x55;
    CHECK(sendto(p->fd, out, m, 0, (struct sockaddr *)&from, len) == (ssize_t)m);
    out[0] ^= 0x55;
    CHECK(sendto(p->fd, out, m, 0, (struct sockaddr *)&from, len) == (ssize_t)m);
}

static void on_outside_tcp(struct poll *p, int ready)
{
    static uint8_t msg[2048], out[DNS_TCP_MAX];
    (void)ready;
    int fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC);
    CHECK(fd >= 0);
    ssize_t n = recv(fd, msg, sizeof msg, 0);
    CHECK(n > 2);
    asked_tcp++;
    size_t m = outside_answer(msg + 2, (size_t)n - 2, out + 2, true);
    out[0] = (uint8_t)(m >> 8);
    out[1] = (uint8_t)m;
    CHECK(send(fd, out, m + 2, 0) == (ssize_t)m + 2);
    fd_close(fd);
}

static struct poll outside_udp, outside_tcp;

static void dns_start(void)
{
    struct err err = ERR;
    struct dns_server_config c = {.zone = &zone};
    int udp, tcp;
    world_enter();
    zone_make();
    loop = loop_new(&err);
    CHECK_OK(loop != NULL, err);
    CHECK_OK(dns_server_bind(IP4(127, 0, 0, 2), 5300, &udp, &tcp, &err), err);
    int seconds = 5; /* accepted once the question is there: one thread plays both ends */
    CHECK(setsockopt(tcp, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds) == 0);
    poll_init(&outside_udp, loop, udp, on_outside_udp);
    poll_init(&outside_tcp, loop, tcp, on_outside_tcp);
    poll_want(&outside_udp, POLL_READ);
    poll_want(&outside_tcp, POLL_READ);
    dns_upstreams_parse(S("nameserver 127.0.0.2"), STR_NONE, NULL, 0, 5300, &c.upstreams);
    CHECK_INT(c.upstreams.n, 1);
    CHECK_OK(dns_server_bind(IP4(127, 0, 0, 1), 5353, &c.udp_fd, &c.tcp_fd, &err), err);
    server = dns_server_new(loop, &c);
}

static void dns_stop(void)
{
    dns_server_free(server);
    poll_stop(&outside_udp);
    poll_stop(&outside_tcp);
    while (loop_run_once(loop, 0))
        ;
    loop_free(loop);
    dns_zone_fini(&zone);
}

static bool fd_is_readable(int fd)
{
    struct pollfd p = {fd, POLLIN, 0};
    for (int64_t until = clock_mono() + 10 * NS_PER_S; clock_mono() < until;) {
        if (poll(&p, 1, 0) > 0)
            return true;
        (void)loop_run_once(loop, 50 * NS_PER_MS);
    }
    return false;
}

static int asker_open(int type)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(5353), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    return fd;
}

static size_t query_write(const char *name, uint16_t type, uint8_t *out)
{
    struct dns_query q = query_of(name, type);
    return dns_ask(out, DNS_UDP_MIN, &q, q.id);
}

static struct str over_udp(const char *name, uint16_t type)
{
    static uint8_t buf[DNS_TCP_MAX];
    AUTO(fd_close) int fd = asker_open(SOCK_DGRAM);
    size_t n = query_write(name, type, buf);
    CHECK(send(fd, buf, n, 0) == (ssize_t)n && fd_is_readable(fd));
    ssize_t got = recv(fd, buf, sizeof buf, 0);
    CHECK(got > 0 && buf[0] == 0 && buf[1] == 7);
    return reply_text(buf, (size_t)got);
}

static struct str over_tcp(const char *name, uint16_t type)
{
    static uint8_t buf[DNS_TCP_MAX + 2];
    AUTO(fd_close) int fd = asker_open(SOCK_STREAM);
    size_t n = query_write(name, type, buf + 2), have = 0;
    buf[0] = 0;
    buf[1] = (uint8_t)n;
    CHECK(send(fd, buf, 1, 0) == 1); /* in two pieces */
    (void)loop_run_once(loop, 20 * NS_PER_MS);
    CHECK(send(fd, buf + 1, n + 1, 0) == (ssize_t)n + 1);
    while (have < 2 || have < 2u + (size_t)(buf[0] << 8 | buf[1])) {
        CHECK(fd_is_readable(fd));
        ssize_t got = recv(fd, buf + have, sizeof buf - have, 0);
        CHECK(got > 0);
        have += (size_t)got;
    }
    return reply_text(buf + 2, have - 2);
}

TEST(the_server_answers_over_udp_and_tcp)
{
    dns_start();
    CHECK_STR(over_udp("web.default.svc.cluster.local", DNS_A), S("NOERROR aa; A 10.43.0.10"));
    CHECK_STR(over_tcp("web.default.svc.cluster.local", DNS_A), S("NOERROR aa; A 10.43.0.10"));
    CHECK_STR(over_udp("in.default.svc.cluster.local", DNS_A),
              S("NOERROR; CNAME web.default.svc.cluster.local; A 10.43.0.10"));
    AUTO(fd_close) int fd = asker_open(SOCK_DGRAM);
    char byte[600];
    CHECK(send(fd, "\0\7\1\0\0\0\0\0\0\0\0\0", 12, 0) == 12 && fd_is_readable(fd));
    CHECK_STR(reply_text((uint8_t *)byte, (size_t)recv(fd, byte, sizeof byte, 0)), S("FORMERR"));
    CHECK(send(fd, "x", 1, 0) == 1); /* no answer, and it goes on */
    CHECK_STR(over_udp("dns-version.cluster.local", DNS_TXT), S("NOERROR aa; TXT 1.1.0"));
    CHECK_INT(dns_server_stats(server)->dropped, 1);
    dns_stop();
}

TEST(other_names_are_asked_of_upstreams)
{
    dns_start();
    CHECK_STR(over_udp("example.com", DNS_A), S("NOERROR aa; A 192.0.2.80"));
    CHECK_STR(over_udp("EXAMPLE.com", DNS_A), S("NOERROR aa; A 192.0.2.80"));
    CHECK_INT(asked_udp, 1); /* the second from memory */
    CHECK_STR(over_udp("ext.default.svc.cluster.local", DNS_A), S("NOERROR; CNAME api.example.com; A 192.0.2.80"));
    CHECK_STR(over_tcp("ext.default.svc.cluster.local", DNS_A), S("NOERROR; CNAME api.example.com; A 192.0.2.80"));
    CHECK_STR(over_udp("nx.example.com", DNS_A), S("NXDOMAIN aa; SOA"));
    CHECK_STR(over_udp("nx.example.com", DNS_A), S("NXDOMAIN aa; SOA"));
    CHECK_INT(asked_udp, 3);
    CHECK_STR(over_udp("big.example.com", DNS_A), S("NOERROR tc"));
    CHECK(str_has(over_tcp("big.example.com", DNS_A), S("192.0.2.59")));
    CHECK_INT(asked_tcp, 1);
    CHECK_INT(dns_server_stats(server)->failed, 0);
    dns_stop();
}

TEST(an_upstream_that_is_silent_or_gone_ends_in_servfail)
{
    dns_start();
    struct dns_upstreams u;
    dns_upstreams_parse(S("nameserver 127.0.0.3\nnameserver 127.0.0.2"), STR_NONE, NULL, 0, 5300, &u);
    dns_server_upstreams(server, &u); /* the first refuses connections */
    CHECK_STR(over_udp("a.example.com", DNS_A), S("NOERROR aa; A 192.0.2.80"));
    deaf = true;
    AUTO(fd_close) int fd = asker_open(SOCK_DGRAM);
    uint8_t buf[DNS_UDP_MIN];
    size_t n = query_write("b.example.com", DNS_A, buf);
    CHECK(send(fd, buf, n, 0) == (ssize_t)n && fd_is_readable(fd));
    CHECK_STR(reply_text(buf, (size_t)recv(fd, buf, sizeof buf, 0)), S("SERVFAIL"));
    dns_server_upstreams(server, &(struct dns_upstreams){.n = 0});
    CHECK_STR(over_udp("c.example.com", DNS_A), S("SERVFAIL"));
    dns_stop();
}

TEST(the_cache_forgets_by_time_and_by_size)
{
    struct dns_cache c;
    struct dns_query q = query_of("example.com", DNS_A);
    static uint8_t msg[DNS_TCP_MAX], out[DNS_TCP_MAX];
    struct dns_writer w;
    struct dns_reply reply;
    dns_cache_init(&c);
    dns_write_begin(&w, msg, sizeof msg, &q, true);
    dns_write_a(&w, DNS_ANSWER, &q.name, 20, IP4(192, 0, 2, 1));
    size_t n = dns_write_end(&w, DNS_NOERROR, true);
    CHECK(dns_reply_read(msg, n, &q, 7, &reply) && reply.ttl == 20);
    dns_cache_put(&c, &q, 0, msg, n, &reply);
    CHECK_INT(dns_cache_get(&c, &q, 5 * NS_PER_S, out, sizeof out), n);
    CHECK_INT(out[n - 7], 15); /* its TTL has grown less */
    CHECK_INT(dns_cache_get(&c, &q, 20 * NS_PER_S, out, sizeof out), 0);
    for (int i = 0; i < 20000; i++) {
        char name[40];
        (void)snprintf(name, sizeof name, "n%d.example.com", i);
        q = query_of(name, DNS_A);
        dns_cache_put(&c, &q, 0, msg, n, &reply);
        CHECK(c.bytes <= DNS_CACHE_BYTES);
    }
    CHECK(dns_cache_get(&c, &q, 0, out, sizeof out) > 0);
    q = query_of("n0.example.com", DNS_A);
    CHECK_INT(dns_cache_get(&c, &q, 0, out, sizeof out), 0);
    dns_cache_fini(&c);
}

static void external_put(const char *name, const char *to)
{
    dns_zone_put(&zone, &(struct dns_service){.ns = S("default"), .name = str_of(name), .external_name = str_of(to)});
}

TEST(external_names_lead_on_and_circles_end)
{
    dns_start();
    external_put("one", "two.default.svc.cluster.local");
    external_put("two", "three.default.svc.cluster.local");
    external_put("three", "web.default.svc.cluster.local");
    external_put("out", "ext.default.svc.cluster.local");
    external_put("lost", "gone.default.svc.cluster.local");
    external_put("far", "lost.default.svc.cluster.local");
    external_put("left", "right.default.svc.cluster.local");
    external_put("right", "left.default.svc.cluster.local");
    CHECK_STR(over_udp("one.default.svc.cluster.local", DNS_A),
              S("NOERROR; CNAME two.default.svc.cluster.local; CNAME three.default.svc.cluster.local; "
                "CNAME web.default.svc.cluster.local; A 10.43.0.10"));
    for (int i = 0; i < 2; i++) /* from outside, then from memory */
        CHECK_STR(over_udp("out.default.svc.cluster.local", DNS_A),
                  S("NOERROR; CNAME ext.default.svc.cluster.local; CNAME api.example.com; A 192.0.2.80"));
    CHECK_STR(over_udp("far.default.svc.cluster.local", DNS_A),
              S("NXDOMAIN; CNAME lost.default.svc.cluster.local; CNAME gone.default.svc.cluster.local"));
    CHECK(str_starts(over_tcp("left.default.svc.cluster.local", DNS_A), S("SERVFAIL; CNAME right.default")));
    dns_stop();
}

TEST(whole_zones_are_given_to_nobody)
{
    dns_start();
    CHECK_STR(over_tcp("cluster.local", DNS_AXFR), S("REFUSED"));
    CHECK_STR(over_udp("cluster.local", DNS_IXFR), S("REFUSED"));
    CHECK_STR(over_tcp("example.com", DNS_AXFR), S("REFUSED"));
    dns_stop();
}

static int client_from(uint32_t ip, int type)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(ip)};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(5353), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&from, sizeof from) == 0);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    (void)loop_run_once(loop, NS_PER_MS); /* it is taken out of the kernel's queue, which is short */
    return fd;
}

static bool is_closed(int fd)
{
    char c;
    for (int i = 0; i < 50; i++)
        (void)loop_run_once(loop, NS_PER_MS);
    return recv(fd, &c, 1, MSG_DONTWAIT) == 0;
}

static bool server_answers(int fd, const char *name)
{
    uint8_t buf[DNS_UDP_MIN + 2];
    size_t n = query_write(name, DNS_A, buf + 2);
    buf[0] = 0;
    buf[1] = (uint8_t)n;
    return send(fd, buf, n + 2, MSG_NOSIGNAL) == (ssize_t)n + 2 && fd_is_readable(fd) &&
           recv(fd, buf, sizeof buf, 0) > 2;
}

TEST(one_source_has_a_share_of_the_connections)
{
    int fds[40], others[13][10];
    dns_start();
    for (size_t i = 0; i < countof(fds); i++)
        fds[i] = client_from(IP4(127, 0, 7, 1), SOCK_STREAM);
    CHECK(!is_closed(fds[0]) && !is_closed(fds[15]));
    CHECK(is_closed(fds[16]) && is_closed(fds[39]));
    CHECK_INT(dns_server_stats(server)->refused, 24);
    for (size_t i = 0; i < countof(others); i++) /* many sources take all there is: who has most makes room */
        for (size_t k = 0; k < countof(others[i]); k++)
            others[i][k] = client_from(IP4(127, 0, 8, (uint32_t)i), SOCK_STREAM);
    CHECK(is_closed(fds[0]));
    AUTO(fd_close) int late = client_from(IP4(127, 0, 9, 1), SOCK_STREAM);
    CHECK(!is_closed(late) && server_answers(late, "web.default.svc.cluster.local"));
    for (size_t i = 0; i < countof(fds); i++)
        fd_close(fds[i]);
    for (size_t i = 0; i < countof(others); i++)
        for (size_t k = 0; k < countof(others[i]); k++)
            fd_close(others[i][k]);
    AUTO(fd_close) int again = client_from(IP4(127, 0, 7, 1), SOCK_STREAM); /* what was given back is there */
    CHECK(!is_closed(again) && server_answers(again, "web.default.svc.cluster.local"));
    dns_stop();
}

TEST(one_source_has_a_share_of_the_questions)
{
    uint8_t buf[DNS_TCP_MAX];
    char name[40];
    dns_start();
    deaf = true;
    AUTO(fd_close)
    int flood = client_from(IP4(127, 0, 7, 1), SOCK_DGRAM), other = client_from(IP4(127, 0, 7, 2), SOCK_DGRAM);
    for (int i = 0; i < 200; i++) {
        (void)snprintf(name, sizeof name, "n%d.example.com", i);
        size_t n = query_write(name, DNS_A, buf);
        CHECK(send(flood, buf, n, 0) == (ssize_t)n);
        (void)loop_run_once(loop, NS_PER_MS);
    }
    CHECK_INT(dns_server_stats(server)->refused, 200 - 64);
    uint64_t before = dns_server_stats(server)->forwarded;
    size_t n = query_write("mine.example.com", DNS_A, buf);
    CHECK(send(other, buf, n, 0) == (ssize_t)n);
    for (int i = 0; i < 50 && dns_server_stats(server)->forwarded == before; i++)
        (void)loop_run_once(loop, NS_PER_MS);
    CHECK_INT(dns_server_stats(server)->forwarded, before + 1);
    CHECK_STR(over_udp("web.default.svc.cluster.local", DNS_A), S("NOERROR aa; A 10.43.0.10"));
    dns_stop();
}
