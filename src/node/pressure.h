/* pressure.h - the node defends itself against want of memory, disk and processes. Belongs to the agent's loop. */
#pragma once
#include "api/obj.h"

struct agent;
struct agent_pod;
struct pressure;

struct pressure *pressure_new(struct agent *g);
void pressure_start(struct pressure *p); /* all pods are known now */
void pressure_halt(struct pressure *p);  /* pods are about to be freed: none is chosen any more. NULL is fine */
void pressure_free(struct pressure *p);
/* The conditions that the node has: a set of PRESSURE_ON_... NULL: none. */
unsigned pressure_conditions(const struct pressure *p);
/* Our Node as an agent before this one left it: its conditions stay for their transition. */
void pressure_restore(struct pressure *p, const struct obj *node);
/* Tells it by an event and ends the pod; false: it is one that is spared. signal: a literal, what it is counted as.
 * disrupted: for the node's sake, not its own fault. */
bool pressure_evict(struct agent_pod *ap, const char *signal, struct str message, int64_t grace_s, bool disrupted);
void pressure_pod_ended(struct agent_pod *ap); /* nothing of it is left, or it is about to be freed */
/* kubelet_evictions of its /metrics, without HELP and TYPE: a line for each signal that pods went for. */
void pressure_counts(const struct pressure *p, struct strbuf *out);
