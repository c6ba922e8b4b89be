/* hpa_int.h - what the files of HorizontalPodAutoscaler share (autoscaling/v2; upstream:
 * pkg/controller/podautoscaler).
 *
 *   hpa.c          the plan: the target and its scale, conditions, status, the write
 *   hpa_metrics.c  which paths have to be asked for the metrics of a spec, and what the answers say
 *   hpa_count.c    from what pods use to how many there should be (ReplicaCalculator)
 *   hpa_pace.c     how fast: windows, policies, bounds; what is remembered for that from one look to the next
 *
 * Quantities are in thousandths, times ns since 1970. Pure. */
#pragma once
#include "api/selector.h"
#include "control/manager.h"

#define HPA_PERIOD      (5 * NS_PER_S)      /* between two looks */
#define HPA_TOLERANCE   0.1                 /* of the ratio of use and target, where the behavior names none */
#define HPA_DOWN_WINDOW (300 * NS_PER_S)    /* of recommendations that bound scaling down, likewise */
#define HPA_CPU_INITIAL (5 * 60 * NS_PER_S) /* of a pod, in which its use of cpu counts only while it is ready */
#define HPA_READY_DELAY (30 * NS_PER_S)     /* after its start; not ready since then: it was never ready */

/* --- from pods to a number: hpa_count.c --- */

int64_t hpa_milli_add(int64_t a, int64_t b); /* saturates: whoever answers may say anything */

/* A pod that the target's selector takes. */
struct hpa_pod {
    const struct obj *pod;
    bool known; /* there is a metric of it */
    int64_t milli, at, window;
    int64_t request; /* in thousandths, where use is compared with it */
    enum { HPA_COUNTED, HPA_MISSING, HPA_UNREADY, HPA_IGNORED } group;
};
/* In: the pods with their metrics, and the target. Out: the rest. */
struct hpa_count {
    struct hpa_pod *pods;
    size_t n;
    int64_t now, current; /* current: replicas of the scale's spec */
    struct str resource;  /* "cpu", "memory"; "": no resource */
    struct str container; /* "": the whole pod */
    bool utilization;     /* target is percent of what is requested; else thousandths a pod */
    int64_t target;
    double up, down; /* tolerances */
    int64_t replicas, percent, milli;
};
/* False: err is upstream's sentence. */
MUST_USE bool hpa_count_pods(struct hpa_count *c, struct err *err);
/* Of one value for all: target is for all of them (ratio against those that are ready), or for each. */
MUST_USE bool hpa_count_value(struct hpa_count *c, int64_t value, struct err *err);
void hpa_count_average(struct hpa_count *c, int64_t value, int64_t status_replicas);

/* --- pace: hpa_pace.c --- */

struct hpa_noted {
    int64_t at, n; /* n -1: so many that nobody knows (it was before this process) */
};
struct hpa_memory {
    ARRAY(struct hpa_noted) wished;     /* what the metrics said, before any bound */
    ARRAY(struct hpa_noted) ups, downs; /* by how much the scale was changed */
    int64_t told;                       /* when figures of metrics were last written; 0: not known */
    bool pending;                       /* a scale was to be written, and whether it was is not known yet: */
    struct hpa_noted from, to;
    struct str reason; /* why; borrowed from the view, or the plan's */
};
void hpa_memory_fini(struct hpa_memory *m);
AUTO_VALUE(hpa_memory_fini, struct hpa_memory);
/* Of the object in the view; what is not known any more is made up from its status, so that no promise of its
 * behavior is broken after a restart. current: replicas of the scale's spec now. */
void hpa_memory_read(const struct view *v, const struct obj *hpa, int64_t current, struct hpa_memory *m);
struct val hpa_memory_write(struct arena *a, const struct obj *hpa, const struct hpa_memory *m);

struct hpa_pace {
    int64_t now, current, least, most;
    const struct val *behavior; /* NULL: none */
    /* out */
    bool stabilized, limited;
    const char *stable_reason, *stable_message, *limit_reason, *limit_message;
};
/* How many there are to be now, of what the metrics wish; the wish is noted. */
int64_t hpa_pace(struct hpa_pace *p, struct hpa_memory *m, int64_t wish);

/* What it scales, in the view. NULL: *error says why there is none. */
const struct obj *hpa_target(const struct view *v, struct arena *a, const struct obj *hpa, struct str *error);

/* --- metrics: hpa_metrics.c --- */

struct hpa_look {
    const struct view *v;
    struct arena *a;
    const struct obj *hpa;
    const struct val *spec;
    struct hpa_pod *pods; /* that the selector takes, by their names */
    size_t n;
    struct str selector;       /* the target's, as text */
    int64_t current, existing; /* replicas of the scale's spec and status */
    int64_t since;             /* answers from before are too old */
};
/* What there is to know of one metric of the spec. */
struct hpa_found {
    struct str path; /* to be asked; "": nothing is */
    bool asked;      /* it is answered, or needs no answer */
    bool ok;
    int64_t replicas;
    struct str name;    /* "cpu resource utilization (percentage of request)" */
    struct val status;  /* its MetricStatus */
    const char *reason; /* not ok: of the condition and the event */
    struct str told;    /* the event's message; in the condition behind "the HPA was unable to ..." */
    struct str error;   /* what the whole look says of it */
};
/* The metric's path, or what it comes to. */
void hpa_metric_find(const struct hpa_look *l, const struct val *metric, struct hpa_found *f);
/* metav1.LabelSelector as Go prints it (%+v). */
struct str hpa_selector_text(struct arena *a, const struct val *selector);
