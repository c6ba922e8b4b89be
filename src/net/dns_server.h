/* dns_server.h - the cluster's DNS server on a loop: UDP and TCP, the cluster's names from a zone (dns_zone.h), all
 * others from upstreams, each asked with a random id from a port of its own; over TCP where the answer is cut.
 * Limits: 512 questions waiting for upstreams, 64 of one address, and 128 TCP connections, 16 of one address. An
 * address that has its share gets SERVFAIL, or its connection closed, and one line in the log. Where all are taken,
 * whoever takes most makes room for one with less. */
#pragma once
#include "net/dns_upstream.h"
#include "net/dns_zone.h"
#include "sys/loop.h"

struct dns_server;
struct dns_server_config {
    int udp_fd, tcp_fd;          /* bound, tcp listening, non-blocking; the server's from now on; -1: none */
    const struct dns_zone *zone; /* borrowed; may change between callbacks */
    struct dns_upstreams upstreams;
};
struct dns_stats {
    uint64_t queries, own, cached, forwarded, failed, dropped;
    uint64_t refused; /* connections and questions over somebody's share */
};
/* Takes the descriptors. */
struct dns_server *dns_server_new(struct loop *l, const struct dns_server_config *c);
void dns_server_free(struct dns_server *s); /* for tests: the role ends with its process */
/* The host's resolv.conf changed: they are asked from now on, and what the old ones said is forgotten. */
void dns_server_upstreams(struct dns_server *s, const struct dns_upstreams *u);
const struct dns_stats *dns_server_stats(const struct dns_server *s); /* for tests */
/* A bound pair of sockets for dns_server_config. */
MUST_USE bool dns_server_bind(uint32_t ip, uint16_t port, int *udp_fd, int *tcp_fd, struct err *err);
