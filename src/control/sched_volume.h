/* sched_volume.h - a pod's claims in the scheduler: which nodes its volumes allow, which free volumes its claims are
 * to get there, and their binding before the pod's own. Upstream: pkg/scheduler/framework/plugins/volumebinding,
 * volumerestrictions, volumezone. */
#pragma once
#include "control/sched.h"

/* ---- the decision: pure ---- */

/* What is looked up once a pod. */
struct pod_volumes;
/* Why no node helps (*before, in upstream's words), else NULL there. The answer is in the arena. */
struct pod_volumes *pod_volumes_make(struct sched *s, const struct view *v, const struct obj *pod, struct arena *a,
                                     const char **before);
/* What the node has against the pod's volumes: calls `say` for each reason. False: there was one. *resolvable becomes
 * false where no other pod's going would help. */
bool pod_volumes_fit(struct pod_volumes *p, const struct sched_node *n, bool *resolvable,
                     void (*say)(void *arg, const char *reason), void *arg);
/* What is to be written before the pod goes to the node, which fits: for each claim that has no volume yet the free
 * one that it gets, or NULL: one is provisioned. Borrowed objects. */
struct claim_choice {
    struct obj *claim, *volume;
};
size_t pod_volumes_choose(struct pod_volumes *p, const struct sched_node *n, struct claim_choice *out, size_t max);
#define POD_CLAIMS_MAX 1000 /* of one pod; more are not looked at */

/* ---- binding ---- */

/* Belongs to the loop of its transport. Until it is over its volumes and its node count for other pods as well. */
struct volume_binding {
    struct transport *t;
    struct sched *sched;
    const struct view *view;
    /* NULL: all claims are bound; "": somebody else wrote meanwhile, so it is to be looked at again */
    void (*done)(struct volume_binding *b, const char *error);
    struct str node;
    ARRAY(struct volume_wish) wishes;
    size_t written; /* so many were begun */
    struct call call;
    bool under_way;
    struct arena arena;
};
struct volume_wish {
    struct obj *claim, *volume; /* counted; volume NULL: provisioned */
    int64_t rev;                /* of what was written */
};
/* Takes the choices; false: there is nothing to bind. */
bool volume_binding_start(struct volume_binding *b, const struct claim_choice *choices, size_t n);
void volume_binding_look(struct volume_binding *b); /* something changed that may concern it */
void volume_binding_fini(struct volume_binding *b); /* also while it is under way */
