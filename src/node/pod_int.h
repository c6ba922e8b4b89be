/* pod_int.h - what pod.c (facts in) and pod_step.c (actions out) share. */
#pragma once
#include "node/pod.h"

void pod_move(struct pod *p, enum pod_state to); /* one that pod_moves allows */
const struct val *pod_spec(const struct pod *p);
/* The container's own restartPolicy wins over the pod's. */
bool pod_policy_is(const struct pod *p, const struct pod_container *c, struct str policy);
/* A pod that fails for weeks makes new texts all the time: those that nothing points to any more go. */
void pod_tidy(struct pod *p);

/* pod_resize.c. The object with the resources that are allocated, in p->obj; what is wanted, in p->wanted. The caller
 * holds on to the earlier one: `spec` of the containers points into it. */
void pod_take_object(struct pod *p, struct obj *obj);
void pod_resize_recall(struct pod *p); /* what an earlier agent told of it */
/* Asks for what there is to do. True: no container is to be started meanwhile. */
bool pod_resize_step(struct pod *p, int64_t now, struct pod_actions *out);
