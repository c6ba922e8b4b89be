/* sched_csi.h - what drivers of storage say of nodes to the scheduler: how many of their volumes a node takes, and
 * how much room there is for new ones near it. Pure. Upstream: pkg/scheduler/framework/plugins/nodevolumelimits,
 * volumebinding (hasEnoughCapacity). */
#pragma once
#include "control/sched.h"

/* With the pod's volumes the node has no more of any driver's than its CSINode says that it takes. */
bool csi_volumes_fit(const struct view *v, const struct obj *pod, const struct sched_node *n, struct arena *a);
/* A volume that stands in the pod and that no driver can have: why, in the arena. NULL: there is none. */
const char *csi_inline_refused(const struct view *v, const struct obj *pod, struct str node, struct arena *a);
/* The volume's spec on the node: in its driver's words where it is of a type that the node leaves to a driver. NULL:
 * no driver can have it. */
const struct val *csi_spec_on(const struct view *v, struct arena *a, const struct obj *volume, struct str node,
                              struct err *err);
/* The same of where it may be used; a volume that no driver can have may not. */
bool csi_volume_takes_node(const struct view *v, struct arena *a, const struct obj *volume, const struct obj *node);
/* Near the node there is room for a volume of the class and size that the claim asks for, as far as its driver tells.
 */
bool csi_has_room(const struct view *v, const struct obj *claim, const struct obj *class, const struct obj *node);
