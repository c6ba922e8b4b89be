/* link.h - the links of pods: a routed pair of veths, no bridge. In the pod: eth0 with the pod's address as /32, a
 * scope-link route to 169.254.1.1 and the default route by it. On the host: a link named after the instance and the
 * address, with 169.254.1.1/32 and a route to the pod's /32. Nothing depends on bridge-nf; what a pod sends passes
 * the host's routing table, conntrack and rules.
 *
 * Everything here blocks (about 1.5 ms for a pod) and belongs in a job. The kernel is the only memory: after a
 * restart pod_link_list says what exists. */
#pragma once
#include "base/array.h"
#include "net/addr.h"
#include <net/if.h>

/* Names in the kernel carry it, so that clusters on one machine know their own: links "wINST-AABBCCDD" (the pod's
 * address in hex), nft table "wherry-INST". */
#define INSTANCE_ID_N 5
struct instance {
    char id[INSTANCE_ID_N + 1]; /* hex */
};
struct instance instance_of(struct str root); /* of the root folder ("/" by default); the same on every start */

/* Network namespaces by descriptor. netns_new: a fresh one with only a lo that is down; it lives as long as a
 * descriptor, a process or a bind mount does. */
MUST_USE int netns_new(struct err *err);
/* For the calling thread: enters, and gives the descriptor to go home with (-1: still at home). */
MUST_USE int netns_enter(int netns_fd, struct err *err);
void netns_leave(int home_fd); /* aborts where the thread cannot go home; the descriptor stays the caller's */

#define POD_LINK_ALIAS_MAX 200
struct pod_link {
    char name[IFNAMSIZ];
    char alias[POD_LINK_ALIAS_MAX + 1]; /* what the maker wrote: "NAMESPACE/NAME UID"; `ip link` shows it */
    uint32_t ip;
    int ifindex; /* later links have higher ones */
};

struct pod_link_spec {
    struct instance instance;
    uint32_t ip;       /* of the pod */
    uint32_t node_ip;  /* the host's address in the pod range: the source of what the host sends to the pod */
    int netns_fd;      /* borrowed */
    int mtu;           /* 0: the kernel's (1500) */
    const char *alias; /* may be NULL */
};
/* Makes the pair, without IPv6, and brings up lo and eth0. A link of that name that is there already (a half-made one
 * of an earlier try) is replaced. False: nothing is left. */
MUST_USE bool pod_link_add(const struct pod_link_spec *spec, struct pod_link *out, struct err *err);
/* Removes the host's route to the pod: what is sent to it is refused at once. The link itself goes with the pod's
 * namespace. Not there: true. */
MUST_USE bool pod_link_unroute(struct instance in, uint32_t ip, struct err *err);
/* Removes the link now (13 ms and more: only where nobody waits). Not there: true. */
MUST_USE bool pod_link_del(struct instance in, uint32_t ip, struct err *err);
struct pod_links {
    ARRAY(struct pod_link) links;
};
MUST_USE bool pod_link_list(struct instance in, struct pod_links *out, struct err *err); /* out->links: array_fini */
void pod_link_name(struct instance in, uint32_t ip, char name[IFNAMSIZ]);

/* What has passed the links of this namespace since each was made, as its own end sees it: of a pod's link (ip set),
 * the other way round than the pod sees it. */
struct link_count {
    char name[IFNAMSIZ];
    uint32_t ip; /* 0: not a pod's */
    bool loopback;
    uint64_t rx_bytes, rx_packets, rx_errors, rx_dropped;
    uint64_t tx_bytes, tx_packets, tx_errors, tx_dropped;
};
struct link_counts {
    ARRAY(struct link_count) links;
};
MUST_USE bool link_counts_read(struct instance in, struct link_counts *out, struct err *err); /* array_fini(links) */
