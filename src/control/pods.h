/* pods.h - what several controllers ask of pods. Pure. */
#pragma once
#include "api/selector.h"
#include "control/plan.h"

bool pod_is_ready(const struct obj *pod);   /* condition Ready is True */
bool pod_is_over(const struct obj *pod);    /* phase Succeeded or Failed */
bool pod_is_active(const struct obj *pod);  /* neither over nor being deleted */
struct str pod_node(const struct obj *pod); /* spec.nodeName */
/* Its node said that it will never run this pod. */
bool pod_is_refused_for_good(const struct obj *pod);
int pod_phase_rank(const struct obj *pod);      /* how far it has come: Pending 0, Unknown 1, others 2 */
int64_t pod_restarts(const struct obj *pod);    /* of that container which was started again most often */
int64_t pod_ready_since(const struct obj *pod); /* ns since 1970; 0: not ready */
/* Ready for min_ready_s by now; otherwise *at becomes the earlier of itself and the time when it will be. */
bool pod_is_available(const struct obj *pod, int64_t min_ready_s, int64_t now, int64_t *at);
/* Puts the pod's conditions into `status`, with DisruptionTarget: it is about to be deleted, and why. */
void pod_disrupted(struct arena *a, struct val *status, const struct obj *pod, const char *reason, struct str message,
                   int64_t now);
int64_t obj_created(const struct obj *o); /* creationTimestamp, ns since 1970 */
int64_t val_time(const struct val *v);    /* of an RFC 3339 text; 0: absent */

/* Pods of a namespace that no controller owns. */
extern const struct objindex index_orphans;
/* Gives the orphan pod to the owner, or takes it away from it: a patch bound to the pod's revision. */
struct action *plan_adopt(struct plan *p, const struct obj *child, const struct obj *owner);
struct action *plan_release(struct plan *p, const struct obj *child, const struct obj *owner);
/* intstr.GetScaledValueFromIntOrPercent; absent: 0. */
int64_t int_or_percent(const struct val *v, int64_t total, bool round_up);
