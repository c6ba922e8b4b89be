/* world_test.h - controllers and scheduler over the fake API on simulated time, with nodes that only pretend: a pod
 * that is bound becomes ready some time later, one that is deleted is gone some time later. */
#pragma once
#include "base/test.h"
#include "client/fake.h"
#include "control/manager.h"

struct loop;
struct world {
    struct loop *loop;
    struct transport *api;
    struct manager *manager;
    struct kubelet *kubelet;
    void (*check)(struct world *w); /* after every write; NULL: none */
    /* The same, with what was written; was or now may be NULL. */
    void (*written)(struct world *w, const struct obj *was, const struct obj *now);
    /* With which exit code a pod that runs will end; -1: not by itself. NULL: none does. */
    int (*fate)(struct world *w, const struct obj *pod);
    bool (*starts)(const struct obj *pod); /* whether it ever becomes ready; NULL: all do */
    int64_t start_ns, stop_ns;             /* most time that a pod takes to become ready, to be gone */
    int64_t run_ns;                        /* and to end by itself */
    size_t ips;
    size_t renewals; /* writes of leases so far */
};
void world_init(struct world *w, uint64_t seed, int64_t delay_ns);
void world_fini(struct world *w);
void world_start(struct world *w);
void world_restart(struct world *w); /* controllers and scheduler: what they knew is forgotten */
/* Runs until `until` holds; fails the test after so much simulated time. */
void world_run(struct world *w, bool (*until)(struct world *w), int64_t limit_ns);
void world_run_for(struct world *w, int64_t ns);
void world_node(struct world *w, const char *name, const char *cpu); /* it renews its lease */
struct obj *world_put(struct world *w, const char *yaml); /* one document, generation moves where spec changed */
/* A merge patch from outside, as a user would send it. */
void world_patch(struct world *w, const struct kind *k, const char *name, const char *sub, const char *json);
void world_disturb(struct world *w); /* by chance: lines break, calls fail, or older revisions are gone */
size_t world_events(struct world *w, const char *reason);
