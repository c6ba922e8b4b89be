/* door_state.h - what the front door keeps: sources with their routes, sockets and hosts, pools with their backends,
 * rules by name. Belongs to the door's loop. */
#pragma once
#include "edge/counters.h"
#include "edge/door_int.h"
#include "edge/haproxy.h"

struct door_host;
struct door_source { /* one door_part; whole and copied */
    struct str name;
    struct door_part part;
    ARRAY(struct door_placed *) placed;
    struct arena own;
};
struct door_placed { /* a route where it belongs */
    const struct door_route *route;
    const struct door_listener *listener;
    struct door_source *source;
    struct door_host *host;
    struct door_rule *rule; /* referenced; NULL: not made yet, or refused */
    bool refused;
};
struct door_socket {
    struct door_bind bind;
    ARRAY(const struct door_listener *) listeners;
    struct arena own;
};
enum door_host_kind { DOOR_HOST_EXACT, DOOR_HOST_ONE, DOOR_HOST_DEEP, DOOR_HOST_ALL };
struct door_host { /* of a socket; kept by "SOCKET KIND SUFFIX" */
    char *key;
    struct door_name socket, table;
    enum door_host_kind kind;
    char *suffix; /* the host, or what follows the star and its dot */
    ARRAY(struct door_placed *) routes;
    bool wanted; /* a listener is for it */
    bool dirty;
    bool spreads; /* those that it covers are to be marked, too */
    unsigned shard;
    struct door_table made;
    ARRAY(struct door_rule *) rules; /* referenced by `made` */
};
struct door_backend { /* a pool in a slot */
    struct str pool;  /* keys */
    struct str retry;
    size_t slot; /* index + 1; 0: none yet */
    struct map servers;
    size_t users; /* rules */
    struct arena own;
};
struct door_pool_state {
    struct door_pool pool;
    struct arena own;
};
struct door_field_count {
    struct door_field_use use;
    size_t refs;
    bool written; /* in the newest shape */
};
struct door {
    struct loop *loop;
    struct door_config config;
    struct counters counters;
    struct door_events events;
    void *arg;
    struct haproxy *proxy;
    struct spoa *agent;
    struct arena own;
    struct map sources, pools, sockets, hosts, backends, rules, fields;
    ARRAY(struct door_source *) fresh, gone; /* since the last commit */
    ARRAY(struct door_host *) dirty;
    ARRAY(struct door_slot) slots;
    ARRAY(int) statuses;
    struct map certs, lists, answers, streams; /* what is in the proxy */
    struct map stream_users;                   /* backends' keys */
    char *none_pem;                            /* for who names no host that is known */
    size_t nfields;                            /* of `fields` those that a rule has */
    size_t depth;
    unsigned shards;
    bool slots_changed; /* since they were written */
    bool shape_changed, answers_ever, agent_ever, ipv6, kinds_changed;
    bool spreads; /* one of the hosts does */
};

void door_refused(struct door *d, struct door_placed *p, const struct err *why);

/* door_copy.c */
void door_part_copy(struct arena *a, struct door_part *out, const struct door_part *p);
void door_pool_copy(struct arena *a, struct door_pool *out, const struct door_pool *p);
bool door_listeners_same(const struct door_part *a, const struct door_part *b);

/* door_places.c */
void door_places_make(struct door *d);                         /* listeners changed: all anew */
void door_place_source(struct door *d, struct door_source *s); /* its routes to their hosts */
void door_unplace_source(struct door *d, struct door_source *s);
void door_host_mark(struct door *d, struct door_host *h);
void door_host_mark_all(struct door *d);
void door_hosts_spread(struct door *d); /* marks those that fall back to one that changed */
/* Those of its socket that cover it; a host of 253 bytes has at most 127 names. */
struct door_wider {
    struct door_host *p[132];
    size_t n;
};
void door_host_widers(struct door *d, const struct door_host *h, struct door_wider *out);
struct door_host *door_host_get(struct door *d, const char *socket, enum door_host_kind kind, struct str suffix);
struct door_socket *door_socket_of(struct door *d, const struct door_listener *l);
void door_places_fini(struct door *d);
const struct door_listener *door_listener_find(struct door *d, struct str key);
struct door_host_name {
    enum door_host_kind kind;
    struct str suffix;
};
/* The narrower of what a listener and a host of a route are for. */
bool door_host_within(const struct door_listener *l, struct str host, bool deep, struct door_host_name *out,
                      struct err *err);

/* door_streams.c */
void door_streams_put(struct door *d);
void door_streams_use(struct door *d); /* counts the backends that streams go to */

/* door_emit.c: hosts that changed to maps */
void door_hosts_emit(struct door *d);
void door_rule_unref(struct door *d, struct door_rule *r);
void door_hosts_fini(struct door *d);

/* door_backends.c */
const char *door_backend_for(struct door *d, struct str pool, struct str retry); /* its name; "-" without a pool */
void door_backends_put(struct door *d, struct str pool);                         /* its servers, or another kind */
void door_backends_verify(struct door *d); /* certificates came or went: servers that rest on such */
void door_backends_sweep(struct door *d);
void door_backends_fini(struct door *d);
int64_t door_pool_server_ns(const struct door *d, struct str pool);

/* door_slots.c: numbers from 1 */
struct door_slot *door_slot_of(struct door *d, size_t slot);
size_t door_slot_take(struct door *d, struct str key,
                      struct str kind); /* the one that it had, a free one, a new one */
void door_slot_leave(struct door *d, size_t slot);
void door_spares_keep(struct door *d);
void door_slots_committed(struct door *d, uint64_t revision);
void door_slots_applied(struct door *d, uint64_t revision);
void door_slots_keep(struct door *d); /* into a file of the run folder */
void door_slots_load(struct door *d);

/* door_tls.c: certificates, lists, answers */
void door_certs_put(struct door *d);
/* Takes out, and tells of, what the proxy could not read. */
void door_certificates_judge(struct door *d, struct door_source *s);
