/* statefulset_int.h - what the parts of the controller of StatefulSets share (statefulset.c tells how it works). */
#pragma once
#include "control/children.h"
#include "control/history.h"
#include "control/pods.h"

#define POD_NAME_LABEL  S("statefulset.kubernetes.io/pod-name")
#define POD_INDEX_LABEL S("apps.kubernetes.io/pod-index")
#define STATEFUL_BURST  500 /* pods made or removed by one plan */

struct stateful_pod {
    struct obj *pod; /* borrowed from the view */
    int64_t ordinal;
};
/* One StatefulSet as the plan sees it. Its places are the ordinals first .. first + wanted - 1. */
struct stateful {
    const struct view *view;
    struct plan *out;
    const struct obj *set;
    int64_t first, wanted, min_ready;
    bool ordered;                         /* podManagementPolicy OrderedReady */
    ARRAY(struct stateful_pod) placed;    /* those in their places, by ordinal */
    ARRAY(struct stateful_pod) condemned; /* the others, the highest ordinal first */
    struct revisions history;
    struct revision update;      /* of the template as it is now */
    const struct obj *current;   /* the revision that pods had before; NULL: the same */
    struct str current_name;     /* status.currentRevision */
    struct val current_template; /* read when it is needed first; VAL_NULL until then */
    int64_t collisions;
    int64_t made;                /* pods that this plan makes of the newest revision */
    const struct obj *waits_for; /* the pod that OrderedReady waits for; NULL: none, or something is done about it */
};
static inline bool place_is_of(const struct stateful *s, int64_t ordinal)
{
    return ordinal >= s->first && ordinal < s->first + s->wanted;
}

/* Its pods (statefulset_pods.c). */

/* The ordinal in the name of a pod of the set: "db-7" of db is 7; -1: it is no name of one. */
int64_t stateful_ordinal(const struct obj *set, struct str pod_name);
/* Adopts and releases as children_claim does, by the name too, and sorts what is the set's. False: the selector
 * cannot be read. */
bool stateful_claim(struct stateful *s);
bool stateful_pod_runs(const struct obj *pod); /* running and ready */
bool stateful_pod_serves(struct stateful *s,
                         const struct obj *pod);     /* runs, ready for minReadySeconds, and does not go */
struct str stateful_revision(const struct obj *pod); /* its label; "": none */
/* Whether a rolling update is to replace it: it is of another revision than its ordinal should have, or it lacks the
 * volumes of its claims, which no update can give it. */
bool stateful_pod_is_old(const struct stateful *s, const struct stateful_pod *p);
/* It does not serve and is not about to: it never became ready, or is held in a crash loop, or is of a revision that
 * never was rolled out. */
bool stateful_pod_is_broken(const struct stateful *s, const struct obj *pod);
bool stateful_takes_current(const struct stateful *s, int64_t ordinal); /* it is kept at the revision before */
/* Plans its claims and, once they are there, the pod. False: it cannot be made yet, which plan_why says. */
bool stateful_pod_can_be_made(struct stateful *s, int64_t ordinal);
void stateful_pod_make(struct stateful *s, int64_t ordinal);
void stateful_pod_delete(struct stateful *s, const struct obj *pod);
/* Labels that are not as they should be; the pod's name never is another. */
void stateful_identity_mend(struct stateful *s, const struct stateful_pod *p);
struct str stateful_pod_name(struct arena *a, const struct obj *set, int64_t ordinal);

/* Its claims (statefulset_claims.c). */
struct str stateful_claim_name(struct arena *a, const struct obj *set, const struct val *template, int64_t ordinal);
/* False: a claim of the pod is going, or about to, and the pod would be made in vain; plan_why says so. */
bool stateful_claims_are_firm(struct stateful *s, int64_t ordinal);
bool stateful_claims_missing(const struct stateful *s, int64_t ordinal);
void stateful_claims_make(struct stateful *s, int64_t ordinal);
/* Owner references as persistentVolumeClaimRetentionPolicy has them. True: some were not so. */
bool stateful_claims_own(struct stateful *s, const struct stateful_pod *p);
/* Whether the pod has the volumes of its claims. */
bool stateful_storage_matches(const struct obj *set, const struct obj *pod, int64_t ordinal);

/* Bounds of a rolling update (statefulset_update.c). */
int64_t stateful_max_unavailable(const struct obj *set);
int64_t stateful_partition(const struct obj *set); /* 0 where it has none */
bool stateful_rolls(const struct obj *set);        /* updateStrategy RollingUpdate */
/* Replaces what is old: what serves as far as maxUnavailable lets it and, where `all` is false, only what is broken.
 */
void stateful_update(struct stateful *s, bool all);
void stateful_status(struct stateful *s);
