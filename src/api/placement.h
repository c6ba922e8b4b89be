/* placement.h - which node suits a pod, as far as objects alone tell: selectors, affinity, taints, ports. Pure; the
 * scheduler asks it before it chooses, a node before it takes in what somebody else chose for it. */
#pragma once
#include "api/obj.h"

/* nodeSelector and required node affinity. */
bool node_selected(const struct obj *pod, const struct obj *node);
bool node_term_matches(const struct val *term, const struct obj *node);
bool taint_tolerated(const struct val *tolerations, const struct val *taint);
/* Every taint with one of the two effects is tolerated. */
bool taints_tolerated(const struct obj *pod, const struct obj *node, const char *effect, const char *or_effect);
bool pod_has_host_port(const struct obj *pod);
/* They want the same port of the node. */
bool pod_ports_clash(const struct obj *pod, const struct obj *other);
/* An amount out of a ResourceList: thousandths of cpu, whole units of everything else. */
int64_t resource_amount(const struct val *amounts, struct str resource);
/* What the pod asks for, as pod_resources has it (usage.h: flags), of one resource and without an arena. */
int64_t pod_request(const struct obj *pod, struct str resource, int flags);
/* The claim that a volume of a pod stands for, "" for none. For one that is made for the pod alone (ephemeral) the
 * name is in the arena. */
struct str pod_claim(struct arena *a, const struct obj *pod, const struct val *volume);
