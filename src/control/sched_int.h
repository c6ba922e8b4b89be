/* sched_int.h - what the files of the scheduler's decision share. */
#pragma once
#include "control/sched_volume.h"

/* What a pod that is there says of those who come: in texts of its own, since its object may be replaced by one that
 * says the same. */
void sched_terms_keep(struct sched_pod *q);

/* ---- sched_topology.c: what is computed once a pod ---- */

struct pre;
struct pre *pre_make(struct sched *s, const struct view *v, const struct obj *pod, struct arena *a);
void pre_free(struct pre *p);
/* As if the other pod had come to the node (1), or had left it (-1). */
void pre_shift(struct pre *p, const struct sched_pod *other, const struct obj *node, int64_t sign);
/* The first reason why the topology rules forbid the node, or NULL. */
const char *pre_filter(struct pre *p, const struct sched_node *n, bool *resolvable);
void pre_score(const struct pre *p, struct sched_node *const *nodes, size_t n, int64_t *spread, int64_t *affinity);

/* ---- sched_fit.c: one pod that asks ---- */

struct fit_asking {
    struct sched *sched;
    const struct view *view;
    const struct obj *pod;
    struct arena *arena;
    struct pre *pre;
    struct pod_volumes *volumes;
    int64_t priority;
    int64_t ask[SCHED_RESOURCES];
    bool quiet;         /* reasons are not collected */
    struct map reasons; /* text -> how many nodes say so */
    unsigned wake;
    struct sched_node **hopeful; /* nodes whose refusal others can mend by going */
    size_t nhopeful;
};
void reason_add(struct fit_asking *q, const char *text);
/* "2 Insufficient cpu, 1 node(s) were unschedulable": sorted as texts, as upstream sorts them. */
void reasons_text(struct fit_asking *q, struct strbuf *b);
void reasons_clear(struct fit_asking *q);
/* Room, ports and topology: what changes with the pods of a node. Those count too that are to come there and are as
 * important. */
bool node_has_room(struct fit_asking *q, const struct sched_node *n, bool *resolvable);

/* ---- sched_preempt.c ---- */

/* A copy of a node, from which pods are taken and to which pods are added as a trial; what pre_make counted follows.
 * Whoever makes one puts every pod back where it was. */
struct trial {
    struct pre *pre;
    struct sched_node node;
};
void trial_init(struct trial *t, struct pre *pre, const struct sched_node *n);
void trial_fini(struct trial *t);
void trial_add(struct trial *t, struct sched_pod *p);
void trial_del(struct trial *t, struct sched_pod *p);

/* Whom the pod, for which there is no room, may send away: fills nominee, victims or, if there are none, the text
 * why not. */
void sched_preempt(struct fit_asking *q, struct decision *out, struct strbuf *why);
