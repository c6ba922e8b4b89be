/* daemonset_int.h - what the files of the DaemonSet controller share, and why asks: which nodes a DaemonSet is for,
 * what its pods look like, and which of them there are. Pure. */
#pragma once
#include "control/children.h"
#include "control/history.h"
#include "control/pods.h"

/* What a DaemonSet asks of nodes, read once; in the arena. */
struct daemon_rules {
    struct obj pod;       /* what placement looks at of its pods: selector, affinity, tolerations; not counted */
    struct str node_name; /* of the template; "" any */
};
struct daemon_rules daemon_rules_of(struct arena *a, const struct obj *ds);
/* Whether a node is to have a pod; or may keep one that it has (a taint that only new ones must tolerate). Upstream:
 * NodeShouldRunDaemonPod. */
enum daemon_wish { DAEMON_NOT, DAEMON_STAYS, DAEMON_RUNS };
enum daemon_wish daemon_wish(const struct daemon_rules *r, const struct obj *node);
/* The node that a pod is on, or that its affinity names; "": none. */
struct str daemon_node(const struct obj *pod);

/* Pods by node, on each the scheduled first, then the oldest. */
struct daemon_pods {
    ARRAY(struct daemon_pod {
        struct str node;
        struct obj *pod;
    })
    all;
};
void daemon_pods_sort(struct daemon_pods *d, const struct children *c);
const struct daemon_pod *daemon_pods_on(const struct daemon_pods *d, struct str node, size_t *n);
/* By its hash, or the generation of the template, which pods of clusters before hashes have alone. */
bool daemon_pod_is_new(const struct obj *ds, const struct obj *pod, struct str hash);

/* How many pods may be missing, and how many may be on a node beside another, of so many nodes. */
void daemon_bounds(const struct obj *ds, int64_t nodes, int64_t *surge, int64_t *unavailable);

/* One plan. */
struct daemon_work {
    const struct view *v;
    struct obj *ds;
    struct plan *out;
    struct daemon_rules rules;
    struct daemon_pods pods;
    struct str hash;
    int64_t surge, unavailable, desired, min_ready;
    ARRAY(struct obj *) leave; /* pods that are deleted, without doubles */
    ARRAY(struct daemon_start {
        struct str node;
        int64_t failures; /* of the pods before it there, in a row */
    })
    starts;
};
bool daemon_pod_available(struct daemon_work *w, const struct obj *pod);
void daemon_leave(struct daemon_work *w, struct obj *pod);
void daemon_start(struct daemon_work *w, struct str node, int64_t failures);
/* Replaces pods of an old template within the bounds (daemonset_update.c). */
void daemon_roll(struct daemon_work *w);
/* The pods of w->starts, made (daemonset_pods.c). */
void daemon_pods_make(struct daemon_work *w);
/* How often in a row a node's pod had failed before this one; as its creator wrote it down. */
int64_t daemon_failures(const struct obj *pod);
