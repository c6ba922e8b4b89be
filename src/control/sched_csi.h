/* sched_csi.h - what drivers of storage say of nodes to the scheduler: how many of their volumes a node takes, and
 * how much room there is for new ones near it. Pure. Upstream: pkg/scheduler/framework/plugins/nodevolumelimits,
 * volumebinding (hasEnoughCapacity). */
#pragma once
#include "control/sched.h"

/* With the pod's volumes the node has no more of any driver's than its CSINode says that it takes. */
bool csi_volumes_fit(const struct view *v, const struct obj *pod, const struct sched_node *n, struct arena *a);
/* Near the node there is room for a volume of the class and size that the claim asks for, as far as its driver tells.
 */
bool csi_has_room(const struct view *v, const struct obj *claim, const struct obj *class, const struct obj *node);
