/* dns_zone.h - what the cluster's own names mean: a pure function from Services, endpoints and namespaces to answers.
 * Kubernetes DNS specification 1.1.0, behaviour where it is silent as CoreDNS 1.12 with kubeadm's Corefile (pods
 * insecure, ttl 5 here). One thread. */
#pragma once
#include "base/array.h"
#include "base/map.h"
#include "net/addr.h"
#include "net/dns_packet.h"

#define DNS_ZONE_TTL 5 /* seconds; clients of a Service notice a change of address within that */

struct dns_port {
    struct str name;  /* may be empty */
    struct str proto; /* "tcp", "udp", "sctp" */
    uint16_t port;
};
struct dns_endpoint {
    uint32_t ip;
    struct str hostname; /* empty: the dashed address is its name */
    const struct dns_port *ports;
    size_t nports;
};
/* A Service as names know it; borrowed for the call that takes it. */
struct dns_service {
    struct str ns, name;
    struct str external_name;    /* ExternalName; else empty */
    const uint32_t *cluster_ips; /* none: headless */
    size_t ncluster_ips;
    const struct dns_port *ports;
    size_t nports;
    const struct dns_endpoint *endpoints; /* headless: those to publish (ready, or publishNotReadyAddresses) */
    size_t nendpoints;
};

struct dns_zone {
    struct dns_name origin; /* "cluster.local" */
    char domain[DNS_TEXT_MAX];
    struct cidr4 pods, services; /* whose reverse names are ours */
    uint32_t serial;             /* of SOA: grows with every change of a Service */
    uint32_t dns_ip;             /* address of ns.dns.DOMAIN */
    struct map by_name;          /* "name.ns" */
    struct map by_ip;            /* four bytes -> struct dns_reverse */
    struct map namespaces;       /* name -> anything */
};
/* Domain without a final dot. False: not a domain name. */
MUST_USE bool dns_zone_init(struct dns_zone *z, struct str domain, struct cidr4 pods, struct cidr4 services,
                            uint32_t dns_ip, struct err *err);
void dns_zone_fini(struct dns_zone *z);
AUTO_VALUE(dns_zone_fini, struct dns_zone);
void dns_zone_put(struct dns_zone *z, const struct dns_service *s); /* in the place of what it was */
void dns_zone_del(struct dns_zone *z, struct str ns, struct str name);
void dns_zone_namespace(struct dns_zone *z, struct str ns, bool there);

enum dns_outcome {
    DNS_DONE,    /* *len bytes stand in out */
    DNS_FORWARD, /* not ours */
    DNS_CHASE,   /* ExternalName: *target must be resolved, and the answer goes behind the CNAME (dns_zone_chased) */
};
/* rotate: where the list of addresses begins; a random number spreads clients. */
enum dns_outcome dns_zone_answer(const struct dns_zone *z, const struct dns_query *q, bool tcp, uint32_t rotate,
                                 uint8_t *out, size_t max, size_t *len, struct dns_name *target);
/* The answer for an ExternalName once there is one for the last name of the chain that it leads along (reply NULL:
 * there is none). */
size_t dns_zone_chased(const struct dns_query *q, const struct dns_name *chain, size_t nchain, const uint8_t *msg,
                       size_t n, const struct dns_reply *reply, bool tcp, uint8_t *out, size_t max);
