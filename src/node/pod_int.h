/* pod_int.h - what pod.c (facts in) and pod_step.c (actions out) share. */
#pragma once
#include "node/pod.h"

void pod_move(struct pod *p, enum pod_state to); /* one that pod_moves allows */
const struct val *pod_spec(const struct pod *p);
/* The container's own restartPolicy wins over the pod's. */
bool pod_policy_is(const struct pod *p, const struct pod_container *c, struct str policy);
/* A pod that fails for weeks makes new texts all the time: those that nothing points to any more go. */
void pod_tidy(struct pod *p);
