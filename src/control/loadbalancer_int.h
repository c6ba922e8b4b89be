/* loadbalancer_int.h - addresses of Services of type LoadBalancer: what the plan knows of pools, nodes and Services.
 * Texts and objects are borrowed from the view, or in the plan's arena. IPv4 addresses are in host order; the rules
 * of the network (net/rules.h) know no others, so those of IPv6 are told of and passed over. */
#pragma once
#include "control/manager.h"

#define BALANCER_CLASS     "wherry.dev/lb" /* spec.loadBalancerClass that is ours, beside none */
#define BALANCER_FINALIZER "service.kubernetes.io/load-balancer-cleanup"
#define BALANCER_ADDRESS   "wherry.dev/assigned-address" /* annotations: what was given, should the status be lost */
#define BALANCER_POOL      "wherry.dev/assigned-from"
#define BALANCER_EDGE      "wherry.dev-edge" /* service-proxy-name of what the front door serves */
#define POOL_NODES         "nodes"           /* asked for as a pool: the nodes' own addresses */

/* Conditions of a Service. The node reads both (net/model.c): a user who may not write a status cannot ask for them.
 */
#define CONDITION_ASSIGNED  "wherry.dev/AddressAssigned" /* reasons: enum balancer_reason */
#define CONDITION_ANNOUNCED "wherry.dev/Announced"       /* message: "NODE answers on INTERFACES" */

struct address_range {
    uint32_t from, to; /* both in it */
};
struct address_ranges {
    struct address_range *p;
    size_t n, cap;
}; /* an ARRAY with a name */
bool ranges_have(const struct address_ranges *r, uint32_t ip);

struct balancer_pool {
    const struct obj *obj;        /* AddressPool, or MetalLB's IPAddressPool */
    bool ours;                    /* the former */
    bool automatic;               /* autoAssign */
    bool avoids;                  /* avoidBuggyIPs */
    int64_t priority;             /* the lowest first; 0: after all others */
    bool pinned;                  /* serviceAllocation is there */
    struct address_ranges ranges; /* in order, none overlaps another */
    struct str bad;               /* the first of its addresses that is no range of ours, and why; "": none */
    uint32_t assigned;
};
struct balancer_pools {
    ARRAY(struct balancer_pool) list; /* in the order in which they are tried */
    bool unknown;                     /* the definition is there, but its objects are not in yet */
};
void balancer_pools_read(const struct view *v, struct arena *a, struct balancer_pools *out);
void balancer_pools_fini(struct balancer_pools *p);
AUTO_VALUE(balancer_pools_fini, struct balancer_pools);
struct balancer_pool *balancer_pool_named(const struct balancer_pools *p, struct str name);
struct balancer_pool *balancer_pool_of(const struct balancer_pools *p, uint32_t ip);
bool balancer_pool_has(const struct balancer_pool *p, uint32_t ip); /* and may give it */
uint64_t balancer_pool_size(const struct balancer_pool *p);
/* Whether its serviceAllocation lets this Service in. */
bool balancer_pool_takes(const struct view *v, const struct balancer_pool *p, const struct obj *svc);
/* The range in "10.0.0.0/24", "10.0.0.1-10.0.0.9" or "10.0.0.1". False: *why says what it is instead. */
bool address_range_parse(struct str text, struct address_range *out, const char **why);
bool address_parse(struct str text, uint32_t *ip); /* IPv4 alone */
struct str address_text(struct arena *a, uint32_t ip);

/* --- Services --- */

bool balancer_is_metallbs(const struct view *v); /* MetalLB runs: Services without a class are its own */
/* Of type LoadBalancer, and of a class that is ours. */
bool balancer_is_ours(const struct view *v, const struct obj *svc);
struct str balancer_note(const struct obj *svc, const char *ours, const char *metallb); /* metallb: behind the '/' */
bool service_is_local(const struct obj *svc);                                           /* externalTrafficPolicy */
bool service_is_edge(const struct obj *svc);                       /* the front door serves it, and not the rules */
int64_t service_cmp_age(const struct obj *a, const struct obj *b); /* < 0: a is older; never 0 of two */
bool ports_meet(const struct obj *a, const struct obj *b);         /* a port and protocol that both have */

/* --- nodes --- */

bool node_may_serve(const struct obj *node); /* ready, not going, not excluded from load balancers */
/* No node may serve now, but some one would (the one of that name, if not "") if it were ready: what it has is left
 * to it, as nobody could take it over. */
bool nodes_are_away(const struct view *v, struct str name);
/* Nodes with a ready endpoint of the Service, by name: name -> anything. */
void service_nodes(const struct view *v, const struct obj *svc, struct map *out);
/* The addresses by which nodes serve it themselves, as status.loadBalancer.ingress has them. */
struct val node_addresses(const struct view *v, struct arena *a, const struct obj *svc);
/* Which of these Services has one of its ports; "": none. */
struct str port_service(struct arena *a, const struct obj *svc, const struct obj *const *holders, size_t n);
/* Which pod or process has one of its ports on the nodes' own addresses, of those that it has not yet; "": none. What
 * processes listen on is known when nodes_have_looked at a Service as it is now. */
struct str port_holder(const struct view *v, struct arena *a, const struct obj *svc);
bool nodes_have_looked(const struct view *v, const struct obj *svc);
/* Which node answers for the address; "": none, and *why says the reason. *interfaces: "" for all. now: who does. */
struct str announcer_of(const struct view *v, struct arena *a, const struct obj *svc,
                        const struct balancer_pool *pool, uint32_t ip, struct str now, struct str *interfaces,
                        struct str *why);
extern const struct objindex index_balancers;  /* Services: "" for all that may concern us */
extern const struct objindex index_host_ports; /* Pods: "TCP/80" */
extern const struct objindex index_metallb;    /* Deployments: "" for its controller */

/* --- the plan at work: loadbalancer.c decides, loadbalancer_write.c writes --- */

struct balancer {
    const struct obj *svc;
    uint32_t asked; /* 0: any */
    struct str asked_pool, sharing;
    bool nodes; /* by the nodes' own addresses */
    bool waits; /* for nodes to look whether its ports are free there */
    uint32_t ip;
    struct val ingress;
    const char *reason;
    struct str message;
    bool failed;
    struct balancer_pool *pool;
};
struct balancers {
    const struct view *v;
    struct plan *out;
    struct arena *a;
    struct balancer_pools pools;
    struct address_ranges taboo;        /* the cluster's own ranges, and addresses of nodes */
    struct address_ranges nodes;        /* the latter alone */
    ARRAY(struct balancer) list;        /* the oldest first */
    ARRAY(const struct obj *) on_nodes; /* Services that have the nodes' addresses; */
    ARRAY(const struct obj *) shown;    /* whose status says so, be they theirs any more or not */
    struct map used;                    /* address (4 bytes) -> struct holders */
    size_t writes;
};
struct holders {
    ARRAY(struct balancer *) list;
    ARRAY(const struct obj *) shown; /* whose status has it, be it theirs any more or not */
};
struct holders *holders_of(struct balancers *x, uint32_t ip); /* made where there is none */
void balancer_write(struct balancers *x, const struct balancer *b);
void balancer_release(struct balancers *x, const struct obj *svc); /* it ends, or is another's now */
void pool_status_write(struct balancers *x, const struct balancer_pool *p);
