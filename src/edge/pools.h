/* pools.h - from Services to the servers of the front door's pools (door.h): a pool is asked for by what it is made
 * of, and kept true as Services and their EndpointSlices change. Endpoints are taken as data planes take them
 * (net/model.h): ready ones; where none is ready, those that terminate but still serve. Belongs to the loop of its
 * feed. */
#pragma once
#include "edge/door.h"
#include "edge/feed.h"

struct pools;
/* One Service's port among those of a pool. */
struct pool_ref {
    struct str ns, service;
    struct str port_name;  /* or, where it is "", */
    uint16_t port;         /* its number; both unset: the only one that it has */
    uint32_t weight;       /* share of the whole Service; 0: gets nothing */
    struct door_server as; /* how it is spoken to; host, port and weight are not read. The Service's appProtocol
                              (kubernetes.io/h2c, grpc, https, wss) counts where as_is is not set */
    bool as_is;
    bool refused; /* may not be used (a grant is missing, a kind that is no Service): its share is 500 */
};
enum pool_trouble { POOL_FINE, POOL_NO_SERVICE, POOL_NO_PORT, POOL_NO_ENDPOINT };
struct pool_want {
    struct door_pool
        base; /* key and policy; servers are made here. Two wants of one key are the same, but for count */
    const struct pool_ref *refs;
    size_t nrefs;
    bool lose; /* what has no Service or no port is answered 500 by its share (Gateway API), and not left out */
};
struct pools *pools_new(struct feed *f, struct door *d) __attribute__((returns_nonnull));
void pools_free(struct pools *p);
void pools_want(struct pools *p, const struct pool_want *w); /* counted by key */
void pools_drop(struct pools *p, struct str key);
/* By whoever gets the feed's events: marks what rests on it. */
void pools_changed(struct pools *p, const struct kind *k, const struct obj *was, const struct obj *now);
/* Puts what is marked into the door; the caller commits. False: nothing was. */
bool pools_put(struct pools *p);
bool pools_any(const struct pools *p);
/* What a want becomes, in the arena and borrowed from the view and the want. Pure. */
void pools_make(struct arena *a, const struct view *v, const struct pool_want *w, struct door_pool *out);
/* The same question without a pool: for conditions and for `wherry why`. */
enum pool_trouble pool_trouble_of(const struct view *v, const struct pool_ref *r);
