/* sched.h - the pure part of the scheduler: the state of nodes and pods, kept by events, and the decision.
 *
 * Invariant: node->requested is the sum over node->pods of what they ask for. A pod counts on its node from the
 * moment sched_pod_set says so until it is over or gone. */
#pragma once
#include "control/plan.h"

#define SCHED_RESOURCES 64 /* distinct resource names in a cluster; a further one fits nowhere */
enum { RES_CPU, RES_MEMORY, RES_EPHEMERAL, RES_PODS, RES_EXTENDED };

struct sched_amount {
    int id; /* of the resource */
    int64_t n;
};
struct sched_pod {
    struct obj *obj; /* counted */
    struct sched_node *node;
    int64_t priority;
    struct sched_amount *asks; /* what it asks for, without zeros */
    size_t nasks;
    bool port;        /* it has host ports */
    bool sent;        /* it was chosen to make room for another, and its budgets may not know yet ... */
    int64_t sent_rev; /* ... until they are of this revision or later; 0: it is not written yet */
    bool refused;     /* it was to go, and the API refused that: nobody's victim while its object is this one */
    bool anti;        /* it has required anti-affinity, which concerns those who come ... */
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
    ARRAY(struct sched_pod *) nominated; /* have no node yet, and are to come here: not in the sums */
    size_t ports;                        /* pods on it with host ports */
};
struct sched {
    struct map nodes;     /* name -> struct sched_node */
    struct map pods;      /* "ns/name" -> struct sched_pod; those with a node, alive */
    struct map nominated; /* the same of those that are to come to a node */
    struct map resources; /* name -> index + 1 */
    struct map promised;  /* name of a PersistentVolume -> "ns/name" of the claim that is about to get it */
    struct map destined;  /* "ns/name" of a claim -> the node for which its volume is being made */
    ARRAY(struct sched_rank {
        int64_t priority;
        size_t pods;
    })
    ranks; /* how many pods have a priority; without order, and few */
    size_t nresources, nnodes, nanti, nsent;
};
void sched_init(struct sched *s);
void sched_fini(struct sched *s);
void sched_node_set(struct sched *s, struct obj *now); /* added or changed */
void sched_node_del(struct sched *s, struct str name);
/* What is known of the pod now: on which node it counts, if any. NULL now: it is gone. */
void sched_pod_set(struct sched *s, struct str ns, struct str name, struct obj *now, struct str node);
/* On which node a pod without one is to come: pods that are no more important leave it the room. node "": on none. */
void sched_nominate(struct sched *s, struct obj *pod, struct str node);
struct str sched_nominee(const struct sched *s, const struct obj *pod); /* that node's name; "" */
/* The pod is about to be deleted for another's sake, or (rev) that was written. */
void sched_pod_sent(struct sched *s, const struct obj *pod, int64_t rev);
void sched_pod_spared(struct sched *s, const struct obj *pod, bool refused); /* it does not go after all */
/* What a pod asks for, by resource: containers, the greatest init container, sidecars, overhead, pod level. */
void sched_requests(struct sched *s, const struct obj *pod, int64_t *ask);
/* Of two versions of a pod. What a resize leaves over is told by the status alone: until then a pod counts with what
 * it still has. */
bool sched_asks_same(const struct obj *x, const struct obj *y);

/* What could make an unschedulable pod fit. */
enum { WAKE_NODE = 1, WAKE_POD_GONE = 2, WAKE_POD_CAME = 4, WAKE_CLAIM = 8, WAKE_VOLUME = 16 };
struct claim_choice;
struct decision {
    struct sched_node *node; /* NULL: fits nowhere */
    struct str message;      /* then: upstream's text, as in the condition and the event */
    unsigned wake;
    size_t feasible;             /* nodes that fit */
    struct claim_choice *claims; /* what is to be bound before the pod goes there (sched_volume.h) */
    size_t nclaims;
    /* It fits nowhere, but will on this node when its victims are gone; NULL: nobody's end would help. */
    struct sched_node *nominee;
    struct sched_pod **victims; /* the most important first; in the arena, as long as the state does not change */
    size_t nvictims, nbroken;   /* victims that no budget allows */
    bool waits;                 /* its earlier victims are ending: what it is nominated for stays */
};
/* Pure: reads the state and, for default spreading and disruption budgets, the view (NULL: none). */
void sched_place(struct sched *s, const struct view *v, const struct obj *pod, struct arena *a, struct decision *out);

/* Why no node helps: a PersistentVolumeClaim that the pod names is missing or not bound, in upstream's words; NULL:
 * none, or no view. */
const char *claim_missing(struct sched *s, const struct view *v, const struct obj *pod, struct arena *a);
