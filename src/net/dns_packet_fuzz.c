#include "net/dns_zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A client's query against a small zone, and the same bytes as an upstream's answer to it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t vip = IP4(10, 43, 0, 10);
    static const struct dns_port port = {S_INIT("http"), S_INIT("tcp"), 80};
    static const struct dns_endpoint ep = {IP4(10, 42, 0, 5), S_INIT("a"), &port, 1};
    static uint8_t out[DNS_TCP_MAX];
    struct dns_zone z;
    struct err err = ERR;
    struct dns_query q;
    struct dns_reply reply;
    struct dns_name target;
    size_t len = 0;
    if (dns_query_read(data, size, &q) != DNS_NOERROR) {
        q = (struct dns_query){.type = DNS_A, .class = DNS_IN};
        ASSERT(dns_name_parse(S("example.com"), &q.name));
        if (dns_reply_read(data, size, &q, 1, &reply) && size <= sizeof out) {
            (void)memcpy(out, data, size);
            dns_age(out, &reply, 7);
            static uint8_t chased[DNS_TCP_MAX];
            ASSERT(dns_zone_chased(&q, &q.name, 1, data, size, &reply, false, chased, sizeof chased) <=
                   DNS_UDP_MIN + 512);
        }
        return 0;
    }
    ASSERT(dns_zone_init(&z, S("cluster.local"), (struct cidr4){IP4(10, 42, 0, 0), 16},
                         (struct cidr4){IP4(10, 43, 0, 0), 16}, vip, &err));
    dns_zone_namespace(&z, S("default"), true);
    dns_zone_put(&z, &(struct dns_service){.ns = S("default"),
                                           .name = S("web"),
                                           .cluster_ips = &vip,
                                           .ncluster_ips = 1,
                                           .ports = &port,
                                           .nports = 1});
    dns_zone_put(&z, &(struct dns_service){.ns = S("default"), .name = S("db"), .endpoints = &ep, .nendpoints = 1});
    dns_zone_put(&z, &(struct dns_service){.ns = S("default"), .name = S("ext"), .external_name = S("example.com")});
    for (int tcp = 0; tcp < 2; tcp++) {
        if (dns_zone_answer(&z, &q, tcp, 3, out, sizeof out, &len, &target) != DNS_DONE)
            continue;
        ASSERT(len <= (tcp ? sizeof out : q.udp_size));
        if (q.class == DNS_IN) /* what we write, we can read */
            ASSERT(dns_reply_read(out, len, &q, q.id, &reply));
    }
    dns_zone_fini(&z);
    return 0;
}
