/* usage.h - what an object uses of what a ResourceQuota bounds, and whether a quota is about it. A resource is named
 * as count/NAME has it: "pods", "deployments.apps". Lists of resources are maps of quantities. Upstream:
 * pkg/quota/v1/evaluator, k8s.io/component-helpers/resource. Pure. */
#pragma once
#include "api/tree.h"

enum {
    POD_OVERHEAD = 1, /* with what running it costs besides */
    POD_STATUS = 2,   /* as much as it wants or, while it is resized, still has */
};
/* What a pod needs at most at a time: its containers together, or an init container with the sidecars before it.
 * way: N(requests) or N(limits). */
struct val pod_resources(struct arena *a, const struct val *pod, const struct name *way, int flags);
/* Whether requests or limits are said of the pod as a whole. */
bool pod_resources_said(const struct val *pod);

struct usage_facts {
    bool over; /* of a pod that is being deleted: its time has passed */
    /* The extended resource that devices of a class are, "" if none; NULL: nobody knows */
    struct str (*class_resource)(void *arg, struct arena *a, struct str class);
    void *arg;
};
/* Empty for what no quota counts (events). */
struct val usage_of(struct arena *a, struct str resource, const struct val *tree, const struct usage_facts *facts);
/* Whether objects of the resource count under this name of spec.hard. */
bool usage_counts(struct str resource, struct str name);
/* The resources of which more than the number counts: NULL ends. */
extern const char *const usage_special[];
/* Of whose objects the name is the number: "configmaps" of "configmaps" and "count/configmaps"; "": of none. */
struct str usage_counted(struct str name);
/* A quota's scopes and scopeSelector take the object. */
bool usage_in_scope(const struct val *quota_spec, struct str resource, const struct val *tree);
/* A quota of CPU or memory wants each container of a pod to say it: "cpu for: a,b; memory for: b", or "". hard: the
 * names that the quota bounds are its keys. */
struct str usage_missing(struct arena *a, const struct val *hard, const struct val *pod);
