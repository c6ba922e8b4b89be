/* dataplane.h - the loop's side of the service rules of one node: takes Services as they change, brings the kernel to
 * them in jobs, one transaction at a time, and says which revision is in force. Watches for others who touch the
 * table and repairs it.
 *
 *   struct dataplane *dp = dataplane_new(loop, &config, &events, arg, &err);
 *   dataplane_put(dp, service) for all that exist; dataplane_apply(dp, revision)   the first time: everything
 *   dataplane_put / dataplane_del for what changed; dataplane_apply(dp, revision)  from then on
 *
 * Until the first dataplane_apply the kernel is left as an earlier run left it, so a restart drops no connection. */
#pragma once
#include "net/conntrack.h"
#include "net/nft.h"
#include "sys/loop.h"

struct dataplane;
struct dataplane_events {
    /* Everything put and deleted before dataplane_apply(revision) is in the kernel; affinity and datagrams to what is
     * gone are forgotten. Once for each revision that is newer than the last one told. */
    void (*applied)(void *arg, uint64_t revision);
    /* The kernel does not take it; tried again (0.1 s to 5 s) until it does, and told once a reason. */
    void (*failed)(void *arg, const struct err *err);
    /* Somebody else changed our table; it has been put right. May be NULL. */
    void (*repaired)(void *arg);
};
MUST_USE struct dataplane *dataplane_new(struct loop *l, const struct rules_config *c,
                                         const struct dataplane_events *events, void *arg, struct err *err);
/* Stops; the kernel keeps its rules. Safe while a transaction runs. */
void dataplane_free(struct dataplane *dp);
/* False: see rules_put; the others are not affected. */
MUST_USE bool dataplane_put(struct dataplane *dp, const struct net_service *s, struct err *err);
void dataplane_del(struct dataplane *dp, struct str ns, struct str name, struct str port);
void dataplane_apply(struct dataplane *dp, uint64_t revision);
/* Connections through Services to a pod (conntrack.h), asked in a job. fn runs later in the loop's thread, also with
 * an error; arg outlives it. */
void dataplane_drain(struct dataplane *dp, uint32_t pod_ip,
                     void (*fn)(void *arg, const struct drain_sample *sample, const struct err *err), void *arg);

/* The same without a loop, where a thread may wait: reads the kernel if `read`, loads what is missing, applies. For
 * tests of the rules and for bench/net_bench.c, which look at one step after the other. */
MUST_USE bool rules_commit(struct nft *n, struct rules *r, bool read, bool *repaired, struct err *err);
