/* resize.h - whether there is room on this node for what a pod is to be resized to, and who comes first (kubelet:
 * allocation manager). Pure. */
#pragma once
#include "node/admit.h"
#include "node/pod.h"

/* `others`: the pods that have been taken in and are not over, without this one. False: why->reason is "Infeasible"
 * where the node could never do it; else what it is short of, for now. */
bool resize_fits(struct arena *a, const struct obj *wanted, const struct obj *node, const struct obj *const *others,
                 size_t nothers, struct refusal *why);
/* Below 0: x comes first. What asks for no more than it has, then priority, guaranteed before burstable, then who has
 * waited longest. */
int resize_order(const struct pod *x, const struct pod *y);
