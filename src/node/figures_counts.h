/* figures_counts.h - what the agent counts of its own doings, for who asks for /metrics and /metrics/probes: numbers
 * alone, since it began. Belongs to the agent's loop. */
#pragma once
#include <stdint.h>

struct agent_container;

#define COUNTED_REASONS 24 /* further ones are not told apart */
struct counted_reason {
    char reason[48]; /* "": none any more */
    int role;        /* of pod.h; -1: of a pod */
    uint64_t n;
};
#define COUNTED_ENDINGS 96 /* further ones are not told apart */
struct counted_ending {
    const char *reason; /* lives for ever; NULL: none any more */
    int role, code;
    uint64_t n;
};
struct figures_counts {
    uint64_t pods, pod_errors;                         /* sandboxes that were started; that could not be */
    uint64_t users_pods, users_errors;                 /* those with users of their own; what failed of them */
    uint64_t containers[4];                            /* by role */
    struct counted_reason failures[COUNTED_REASONS];   /* of starts of containers */
    struct counted_reason rejections[COUNTED_REASONS]; /* of pods */
    struct counted_ending endings[COUNTED_ENDINGS];    /* of containers */
};
void counted_ending_add(struct counted_ending *list, const char *reason, int role, int code);
void counted_reason_add(struct counted_reason *list, const char *reason, int role);

#define PROBE_BUCKETS 11
struct probe_counts {
    uint64_t good, failed, unknown;
    uint64_t buckets[PROBE_BUCKETS]; /* of those that took no longer, and longer than the one before */
    uint64_t timed, sum_ns;
};
extern const int64_t probe_buckets_ms[PROBE_BUCKETS];
/* kind: of probe.h. One answer of a container's probe; took: ns. */
enum probe_counted { PROBE_COUNTED_GOOD, PROBE_COUNTED_FAILED, PROBE_COUNTED_UNKNOWN };
void probe_count(struct agent_container *ac, int kind, enum probe_counted how, int64_t took);
