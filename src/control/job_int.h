/* job_int.h - what the files of the Job controller share: one Job and its pods as a plan sees them. Pure.
 * Upstream: pkg/controller/job. */
#pragma once
#include "control/children.h"
#include "control/pods.h"

#define JOB_FINALIZER     S("batch.kubernetes.io/job-tracking")
#define JOB_INDEX         S("batch.kubernetes.io/job-completion-index") /* annotation and label */
#define JOB_INDEX_FAILED  S("batch.kubernetes.io/job-index-failure-count")
#define JOB_INDEX_IGNORED S("batch.kubernetes.io/job-index-ignored-failure-count")
#define JOB_BURST         500 /* pods made or taken away by one plan, as upstream */

bool job_is_finished(const struct obj *job);   /* Complete or Failed */
struct str job_manager(const struct obj *job); /* spec.managedBy of somebody else; "": the Job is ours */
bool job_condition_is(const struct obj *job, const char *type);
bool pod_is_tracked(const struct obj *pod); /* has the finalizer: its end is not counted yet */
/* Takes the finalizer away; whatever else stands in the list is let be. */
struct action *plan_untrack(struct plan *out, const struct obj *pod);
/* The Job that the pod's controller reference names, by uid too; NULL: gone. *is_job: it names a Job. */
const struct obj *job_of_pod(const struct view *v, const struct obj *pod, bool *is_job);
extern const struct objindex index_job_selector; /* Jobs by what pods without a controller can be found by */

/* ---- completion indexes, as status has them: "1,3-5" ---- */

struct interval {
    int64_t first, last;
};
struct indexes { /* ascending, none touches another; in an arena */
    struct interval *p;
    size_t n;
};
struct indexes indexes_parse(struct arena *a, struct str text, int64_t completions); /* those below completions */
struct indexes indexes_of(struct arena *a, int64_t *list, size_t n);                 /* sorts the list */
struct indexes indexes_merge(struct arena *a, struct indexes x, struct indexes y);
int64_t indexes_total(struct indexes x);
int64_t indexes_common(struct indexes x, struct indexes y); /* how many are in both */
bool indexes_have(struct indexes x, int64_t index);
struct str indexes_text(struct arena *a, struct indexes x);

/* ---- one Job ---- */

enum policy_action { POLICY_NONE, POLICY_COUNT, POLICY_IGNORE, POLICY_FAIL_INDEX, POLICY_FAIL_JOB };
struct policy_match {
    enum policy_action action;
    struct str message; /* of FailJob */
};

struct job_pod {
    struct obj *pod;
    int64_t index; /* -1: none, or none that can be read */
    bool valid;    /* its index is one of the Job's; of a Job without indexes always */
    bool tracked;  /* its end is not counted yet */
    bool active, succeeded;
    bool failed;                /* or is taken for one that did, since it goes */
    bool listed;                /* its uid stands in status.uncountedTerminatedPods */
    bool held;                  /* keeps its finalizer until there is the pod that takes its place */
    struct policy_match policy; /* of those that failed */
};

enum job_end { JOB_GOES_ON, JOB_FAILS, JOB_SUCCEEDS };
struct job_state {
    const struct view *v;
    const struct obj *job;
    const struct val *spec, *status;
    struct plan *out;
    bool indexed, per_index; /* per_index: backoffLimitPerIndex */
    bool only_failed;        /* a pod is replaced when it has ended, not when it goes */
    bool suspended;
    bool troubled;       /* the last plan could not be applied: nothing is taken for done before it is seen */
    int64_t completions; /* -1: any success is enough */
    int64_t parallelism;
    struct job_pod *pods;
    size_t n;
    int64_t start;                            /* startTime; 0: none */
    int64_t active, ready, terminating;       /* as they will be when the plan is done */
    int64_t succeeded, failed;                /* those that wait to be counted included */
    struct indexes were_done, done, given_up; /* completedIndexes as it stands; as it is; failedIndexes */
    enum job_end end;
    bool end_said; /* by a condition that stands */
    struct str reason, message;
};

/* job_pods.c: what a pod is to its Job, and which are taken away. */
void job_pods_read(struct job_state *s, const struct children *pods);
void job_pods_hold(struct job_state *s); /* marks those that are held; done and given_up are known */
void job_pods_manage(struct job_state *s);
void job_pods_stop(struct job_state *s); /* all that are active, the Job has come to its end */
int64_t pod_annotation_num(const struct obj *pod, struct str key, int64_t otherwise);
int64_t pod_index_of(const struct obj *pod); /* -1: none */
/* How many pods of its index failed before it, ignored ones included. */
int64_t pod_index_failures(const struct obj *pod);
int64_t pod_end_time(const struct obj *pod); /* ns since 1970 */
/* How many failed since the last success; *last: when the last one did, ns since 1970. */
int64_t job_failures(const struct job_state *s, int64_t *last);

/* job_make.c: as many more, or as many as may be now. */
void job_pods_make(struct job_state *s, size_t n);

/* job_policy.c */
struct policy_match policy_of_pod(struct arena *a, const struct val *policy, const struct obj *pod);
bool success_policy_holds(struct arena *a, const struct val *policy, int64_t completions, struct indexes done,
                          struct str *message);

/* job_status.c: counts, writes status, lets go of what is counted. */
void job_status_plan(struct job_state *s);
