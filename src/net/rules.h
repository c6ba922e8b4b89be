/* rules.h - the service rules as data. Pure: no kernel, clock or thread.
 *
 * One nft table per instance. Its chains never name a Service; what changes are elements of data maps:
 *   svc    proto . address . port -> goto CHAIN       a frontend: where its connections are spread
 *   np     proto . port           -> goto CHAIN       the same for any local address (NodePort, hostPort)
 *   lb     proto . port           -> goto CHAIN       and for any but loopback (load balancers without an address)
 *   eps    proto . address . port . slot -> endpoint address . port;    npeps: the same without the address
 *   svcx, npx, lbx   what clients from outside meet where externalTrafficPolicy is Local; their slots begin at 32768
 *   hairpin     endpoint . endpoint: an endpoint of this node that reaches itself; kept as long as the table stands
 *   dead, npdead   frontends without endpoints that no range covers: refused at once
 *   guard, npguard   frontends that only some clients may reach; allow, npallow: proto . address . port . which.
 * Their keys end with the first and the last address of a range vips           addresses of load balancers' pools,
 * which are local where this node answers for them; vipports: proto . address . port of those at which a process of
 * this machine listens aff    proto . address . port . client -> endpoint, with a time limit: written by the packet
 * path (ClientIP) learn, nplearn   frontends whose new connections go into aff A CHAIN spreads over a number of
 * slots: "s3" over three by address, "n3" over three by port, "x" for outside, "a600" with affinity for 600 s
 * ("sx3a600"); "t600" writes into aff. It is made when first needed and knows no Service either.
 *
 * `struct rules` holds what is wanted and what the kernel has, element by element; their difference is a batch. */
#pragma once
#include "base/array.h"
#include "base/list.h"
#include "base/map.h"
#include "net/link.h"
#include "net/service.h"

#define RULE_MAP_TABLE(X)                                                                                            \
    X(SVC, "svc", 12, 0)                                                                                             \
    X(SVCX, "svcx", 12, 0)                                                                                           \
    X(NP, "np", 8, 0)                                                                                                \
    X(NPX, "npx", 8, 0)                                                                                              \
    X(LB, "lb", 8, 0)                                                                                                \
    X(LBX, "lbx", 8, 0)                                                                                              \
    X(LEARN, "learn", 12, 0)                                                                                         \
    X(NPLEARN, "nplearn", 8, 0)                                                                                      \
    X(EPS, "eps", 16, 8)                                                                                             \
    X(NPEPS, "npeps", 12, 8)                                                                                         \
    X(HAIRPIN, "hairpin", 8, 0)                                                                                      \
    X(DEAD, "dead", 12, 0)                                                                                           \
    X(NPDEAD, "npdead", 8, 0)                                                                                        \
    X(GUARD, "guard", 12, 0)                                                                                         \
    X(NPGUARD, "npguard", 8, 0)                                                                                      \
    X(ALLOW, "allow", 20, 0)                                                                                         \
    X(NPALLOW, "npallow", 16, 0)                                                                                     \
    X(VIPS, "vips", 4, 0)                                                                                            \
    X(VIPPORTS, "vipports", 12, 0)
enum rule_map {
#define X(id, name, key, data) RULE_##id,
    RULE_MAP_TABLE(X)
#undef X
        RULE_MAPS
};
#define RULE_KEY_MAX 20
#define RULE_CHAIN_N 24

/* A frontend's chain; count 0 is "accept": leave the packet as it is, so that it is refused where it arrives. */
struct rule_chain {
    bool outside, by_address; /* by_address: s, else n */
    bool learns;              /* t: only affinity_s counts */
    uint16_t count;
    uint32_t affinity_s;
};
bool rule_chain_is(struct rule_chain c); /* not "accept" */
void rule_chain_name(struct rule_chain c, char name[RULE_CHAIN_N]);
bool rule_chain_parse(const char *name, struct rule_chain *c);

struct rule_element {
    uint8_t map; /* enum rule_map */
    uint8_t key_n, data_n;
    uint8_t key[RULE_KEY_MAX]; /* as the kernel has it: each field padded to four bytes */
    uint8_t data[8];           /* eps, npeps */
    struct rule_chain chain;   /* svc, svcx, np, npx */
};
const char *rule_map_name(int map);
bool rule_map_is_ranges(int map); /* allow, npallow */
bool rule_map_is_shared(int map); /* several Services may want the same element */
bool rule_map_is_verdict(int map);

struct rules_config {
    struct instance instance;
    struct cidr4 pods, node_pods, services;
    uint16_t own_port; /* TCP, of the API server on this machine; 0: none */
};
void rules_table_name(struct instance in, char name[16]);
/* The table without elements, as text for nft -f: replaces what is there. */
void rules_base_text(const struct rules_config *c, struct strbuf *out);
uint64_t rules_base_version(const struct rules_config *c);

struct rule_elements {
    ARRAY(struct rule_element) list;
};
/* What one Service needs. */
void rules_of_service(const struct net_service *s, struct rule_elements *out);

/* An endpoint that left a frontend: conntrack and affinity entries to it go after the rules have changed. With
 * endpoint.ip 0: the frontend is new, and entries that were made while nothing translated for it go. */
struct rule_gone {
    uint8_t proto;
    uint32_t ip; /* 0: any local address */
    uint16_t port;
    struct net_endpoint endpoint;
    bool affinity;
};

/* A frontend and an endpoint as a key of maps. */
#define RULE_PAIR_N 16
struct str rule_pair_key(const struct rule_gone *g, char buf[RULE_PAIR_N]);
struct rule_gone rule_pair_in(const struct rule_element *e); /* of eps or npeps */

struct rules {
    struct map services; /* key -> struct rule_service */
    struct map slots;    /* map id and key -> struct rule_slot */
    struct map chains;   /* name -> struct rule_chain_state: what the kernel has */
    struct list dirty;
    ARRAY(struct rule_gone) gone;
    bool unsure; /* the kernel was read: endpoints may have left while nobody looked */
};
void rules_init(struct rules *r);
void rules_fini(struct rules *r);
AUTO_VALUE(rules_fini, struct rules);
/* Puts what a Service needs in the place of what it needed. False: another Service holds one of its frontends (named
 * in err) - it has its others then, unless it is a ClusterIP - or it has too many endpoints and no rules at all. To
 * be put again when the other may be gone. */
MUST_USE bool rules_put(struct rules *r, const struct net_service *s, struct err *err);
void rules_del(struct rules *r, struct str ns, struct str name, struct str port);
size_t rules_elements(const struct rules *r); /* wanted: for tests of what a change costs */

struct rule_change {
    struct rule_element e;
    bool add, del; /* both: another value for the same key */
};
struct rules_diff {
    ARRAY(struct rule_change) changes;
    ARRAY(struct rule_chain) chains;      /* to make first */
    ARRAY(struct rule_chain) idle_chains; /* to remove last */
    ARRAY(struct rule_gone) gone;
    bool sweep; /* affinity entries but those of `kept`, datagrams but those of `kept_udp` go, whoever left them */
    ARRAY(struct rule_gone) kept, kept_udp;
};
/* What would make the kernel as wanted; moves `gone` out. */
void rules_diff(struct rules *r, struct rules_diff *out);
void rules_diff_fini(struct rules_diff *d);
bool rules_diff_empty(const struct rules_diff *d);
/* The kernel took it. Where it did not: rules_forget, rules_seen for all that is there, and another rules_diff; what
 * was `gone` comes back with rules_gone_again. */
void rules_applied(struct rules *r, const struct rules_diff *d);
void rules_gone_again(struct rules *r, const struct rules_diff *d);
/* Whether these n elements are exactly what the kernel is believed to have. */
bool rules_believed(const struct rules *r, const struct rule_element *e, size_t n);
void rules_forget(struct rules *r); /* the kernel has nothing */
void rules_seen(struct rules *r, const struct rule_element *e);
void rules_seen_chain(struct rules *r, const char *name);

/* For people and tests: "eps tcp 10.43.0.1:80 #0 -> 10.42.0.5:8080". */
void rule_element_text(const struct rule_element *e, struct strbuf *out);
