/* service.h - what the rules know of a Service: one of its ports with its endpoints, in numbers. Made from API
 * objects elsewhere; here nothing is parsed. Borrowed for the call that takes it.
 *
 * A pod's hostPort is one too: node_port (any address of the node) or an external address (hostIP), one endpoint. */
#pragma once
#include "net/addr.h"

enum { NET_TCP = 6, NET_UDP = 17, NET_SCTP = 132 };

#define AFFINITY_S_MAX          86400 /* sessionAffinityConfig.clientIP.timeoutSeconds */
#define SERVICE_ENDPOINTS_MAX   32000 /* slots of a frontend; see rules.c */
#define SERVICE_ENDPOINTS_LIMIT "32000"

struct net_endpoint {
    uint32_t ip;
    uint16_t port;
    bool local;    /* on this node */
    bool fallback; /* for the Local policies alone: terminating but serving, where none on this node is ready */
};

struct net_range {
    uint32_t from, to; /* both in it */
};

struct net_service {
    struct str ns, name, port; /* together the key; port is the port's name */
    uint8_t proto;             /* NET_* */
    uint16_t port_number;
    const uint32_t *cluster_ips; /* none for headless: then there are no rules */
    size_t ncluster_ips;
    const uint32_t *external_ips; /* spec.externalIPs and status.loadBalancer addresses */
    size_t nexternal_ips;
    const uint32_t *balancer_ips; /* the latter alone */
    size_t nbalancer_ips;
    bool pooled;            /* these are addresses of a pool: at them nothing else of this machine answers */
    bool process;           /* a process of this machine serves the port (the front door): nothing is translated */
    bool guarded;           /* loadBalancerSourceRanges: balancer_ips are for clients within `sources` alone */
    bool node_port_guarded; /* so is the node port */
    const struct net_range *sources; /* in order, none overlaps another */
    size_t nsources;
    uint16_t node_port;  /* 0: none */
    bool balances;       /* that port is a load balancer's: at all addresses of the machine but those of loopback */
    uint32_t affinity_s; /* ClientIP affinity; 0: none */
    bool internal_local; /* internalTrafficPolicy Local */
    bool external_local; /* externalTrafficPolicy Local: for clients that are neither pods nor this node */
    const struct net_endpoint
        *endpoints; /* those that serve: ready, or terminating and serving where none is ready */
    size_t nendpoints;
};
