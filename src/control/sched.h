/* sched.h - the pure part of the scheduler: the state of nodes and pods, kept by events, and the decision.
 *
 * Invariant: node->requested is the sum over node->pods of what they ask for. A pod counts on its node from the
 * moment sched_pod_set says so until it is over or gone. */
#pragma once
#include "control/plan.h"

#define SCHED_RESOURCES 64 /* distinct resource names in a cluster; a further one fits nowhere */
enum { RES_CPU, RES_MEMORY, RES_EPHEMERAL, RES_PODS, RES_EXTENDED };

struct sched_pod {
    struct obj *obj; /* counted */
    struct sched_node *node;
    bool anti; /* it has required anti-affinity, which concerns those who come ... */
    struct arena arena;
    struct term *terms; /* ... as it was read when the pod came */
    size_t nterms;
    bool abroad; /* they may speak of pods of other namespaces */
};
struct sched_node {
    struct obj *obj; /* counted; NULL: pods name it, but it is not there */
    char *name;
    int64_t allocatable[SCHED_RESOURCES], requested[SCHED_RESOURCES];
    int64_t asked[2]; /* cpu and memory as scores see them: 100m and 200 MB where a container asks for nothing */
    ARRAY(struct sched_pod *) pods;
    size_t ports; /* pods on it with host ports */
};
struct sched {
    struct map nodes;     /* name -> struct sched_node */
    struct map pods;      /* "ns/name" -> struct sched_pod; those with a node, alive */
    struct map resources; /* name -> index + 1 */
    size_t nresources, nnodes, nanti;
};
void sched_init(struct sched *s);
void sched_fini(struct sched *s);
void sched_node_set(struct sched *s, struct obj *now); /* added or changed */
void sched_node_del(struct sched *s, struct str name);
/* What is known of the pod now: on which node it counts, if any. NULL now: it is gone. */
void sched_pod_set(struct sched *s, struct str ns, struct str name, struct obj *now, struct str node);
/* What a pod asks for, by resource: containers, the greatest init container, sidecars, overhead, pod level. */
void sched_requests(struct sched *s, const struct obj *pod, int64_t *ask);

/* What could make an unschedulable pod fit. */
enum { WAKE_NODE = 1, WAKE_POD_GONE = 2, WAKE_POD_CAME = 4, WAKE_CLAIM = 8 };
struct decision {
    struct sched_node *node; /* NULL: fits nowhere */
    struct str message;      /* then: upstream's text, as in the condition and the event */
    unsigned wake;
    size_t feasible; /* nodes that fit */
};
/* Pure: reads the state and, for default spreading, the view (NULL: none). */
void sched_place(struct sched *s, const struct view *v, const struct obj *pod, struct arena *a, struct decision *out);

/* Why no node helps: a PersistentVolumeClaim that the pod names is missing or not bound, in upstream's words; NULL:
 * none, or no view. */
const char *claim_missing(const struct view *v, const struct obj *pod, struct arena *a);

/* Innards, by file. */
/* What a pod that is there says of those who come: in texts of its own, since its object may be replaced by one that
 * says the same. */
void sched_terms_keep(struct sched_pod *q);
struct pre; /* what is computed once a pod: sched_topology.c */
struct pre *pre_make(struct sched *s, const struct view *v, const struct obj *pod, struct arena *a);
void pre_free(struct pre *p);
/* The first reason why the topology rules forbid the node, or NULL. */
const char *pre_filter(const struct pre *p, const struct sched_node *n, bool *resolvable);
void pre_score(const struct pre *p, struct sched_node *const *nodes, size_t n, int64_t *spread, int64_t *affinity);
