/* conntrack.h - the kernel's table of connections: removing what would go on to an endpoint that is gone, and
 * counting what still runs to a pod that drains. Blocking; a job's. */
#pragma once
#include "net/netlink.h"
#include "net/rules.h"

/* Connections through a Service to a pod, and those that this machine itself (own_ip: the front door) has made to it,
 * that are not closing, and the bytes both ways they have carried so far. A
 * pod is idle when there are none, or two samples a second apart are equal. Bytes need nf_conntrack_acct (ranges.h
 * sets it) from before the connection began. */
struct drain_sample {
    unsigned connections;
    uint64_t bytes;
};
MUST_USE bool conntrack_drain(uint32_t pod_ip, uint32_t own_ip, struct drain_sample *out, struct err *err);
bool drain_idle(struct drain_sample before, struct drain_sample now); /* nothing was carried in between */

/* What is right of all there is, for after a time in which nobody looked: entries to pods in `pods` but by these
 * pairs of frontend and endpoint (rule_pair_key), and those to `services` that nothing translated, are of endpoints
 * gone. */
struct conntrack_keep {
    const struct map *pairs;
    struct cidr4 pods, services;
};
/* Deletes UDP entries of frontends to endpoints that are gone, and those that nothing translated; with `keep` (else
 * NULL) also all that it does not name. *deleted may be NULL. Takes up to 0.3 s where a datagram waits for its
 * answer, which needs the entry to come home. */
MUST_USE bool conntrack_forget(const struct rule_gone *gone, size_t n, const struct conntrack_keep *keep,
                               unsigned *deleted, struct err *err);
/* Deletes every TCP, UDP and SCTP entry from or to a pod whose link is gone. A client may use its port again while
 * the kernel still holds what it did with it: a SYN that is taken for a part of a connection to a pod that vanished
 * in its midst goes nowhere, and so would packets to the next pod with that address. */
MUST_USE bool conntrack_leave(uint32_t pod_ip, unsigned *deleted, struct err *err);

/* A connection as policies see it. */
#define CONNECTION_TUPLE_MAX 96
struct connection {
    uint32_t from, to; /* who began it, and whom it reached after Services were translated */
    uint8_t proto;
    uint16_t port; /* of the destination; 0: the protocol has none */
    uint32_t id;   /* the kernel's, with the tuple it goes by */
    uint16_t tuple_n;
    uint8_t tuple[CONNECTION_TUPLE_MAX];
};
struct connections {
    ARRAY(struct connection) list;
};
/* Those with one end among n addresses; n 0: all there are. Those that are over are left out. */
MUST_USE bool conntrack_list(const uint32_t *ips, size_t n, struct connections *out, struct err *err);
/* What is over meanwhile is passed over. */
MUST_USE bool conntrack_cut(const struct connection *list, size_t n, struct err *err);
