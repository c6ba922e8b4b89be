/* fences.h - NetworkPolicies, Namespaces and pods of the API to the fences of this node (net/fencing.h), so that each
 * is in force before the first packet of a pod that it is about. Belongs to the agent's loop. */
#pragma once
#include "node/figures.h"

struct agent_pod;
struct agent_fences;

struct agent_fences *agent_fences_new(struct agent *g, struct err *err) MUST_USE;
void agent_fences_free(struct agent_fences *f); /* the kernel keeps them; NULL is fine */
void agent_fences_start(struct agent_fences *f);
void agent_fences_heard(struct agent_fences *f); /* all pods of this node are known, with their addresses */

/* The pod has got an address that it did not have. */
void agent_fence_expect(struct agent_pod *ap);
/* fn once, later: its fence is in force; err: the pod goes, and it is none. */
void agent_fence_wait(struct agent_pod *ap, void (*fn)(struct agent_pod *ap, const struct err *err));
void agent_fence_let_go(struct agent_pod *ap); /* it is to end: whoever waits for its fence is told */
void agent_fence_news(struct agent_pod *ap);   /* its labels may have changed */
void agent_fence_gone(struct agent_pod *ap);   /* its address is about to be given back, or it is forgotten */

bool agent_fence_isolates(const struct agent_pod *ap); /* a policy that is known here does, in some direction */

/* Of the kubelet's /metrics: wherry_network_policy_refused_packets_total and ..._bytes_total by namespace, policy and
 * direction; nothing where there is no policy. */
void agent_fences_metrics(struct agent *g, figures_done *done, void *arg);
