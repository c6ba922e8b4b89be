/* pressure_plan.h - when this node is short of something, and which pod goes for it (kubelet: pkg/kubelet/eviction).
 * Pure: samples and times come in, decisions go out. Reasons, messages and the order are a kubelet's. */
#pragma once
#include "base/err.h"

struct obj;

enum pressure_signal {
    SIGNAL_MEMORY,      /* memory.available */
    SIGNAL_ALLOCATABLE, /* allocatableMemory.available: of the group that all pods are in */
    SIGNAL_NODEFS,      /* nodefs.available: the disk of volumes, writable layers and records */
    SIGNAL_NODEFS_INODES,
    SIGNAL_IMAGEFS, /* imagefs.available: the disk of images */
    SIGNAL_IMAGEFS_INODES,
    SIGNAL_CONTAINERFS, /* writable layers: here always the same disk as nodefs */
    SIGNAL_CONTAINERFS_INODES,
    SIGNAL_PIDS, /* pid.available */
    PRESSURE_SIGNALS,
};
const char *pressure_signal_name(enum pressure_signal s);
const char *pressure_resource(enum pressure_signal s); /* memory, ephemeral-storage, inodes, pids */

/* The conditions of a node, as a set; pressure_condition_name takes one of them. */
enum { PRESSURE_ON_MEMORY = 1, PRESSURE_ON_DISK = 2, PRESSURE_ON_PIDS = 4 };
#define PRESSURE_CONDITIONS 3
const char *pressure_condition_name(unsigned one);
unsigned pressure_condition(enum pressure_signal s);

/* --- what is set ---------------------------------------------------------------------------------------------- */

struct pressure_amount {
    bool is_part;
    float part; /* of the capacity */
    int64_t quantity;
    char text[32]; /* of a quantity, canonical */
};
struct pressure_threshold {
    enum pressure_signal signal;
    struct pressure_amount value, reclaim; /* reclaim: so much more is to be free before it counts as over */
    int64_t grace_ns;                      /* 0: hard */
};
#define PRESSURE_THRESHOLDS 32
struct pressure_rules {
    struct pressure_threshold list[PRESSURE_THRESHOLDS];
    size_t n;
    int64_t transition_ns; /* a condition stays so long after it was last seen */
    int64_t grace_most_s;  /* for pods that go for a soft threshold */
};
/* As a kubelet's flags: "SIGNAL<AMOUNT,..." and "SIGNAL=VALUE,..."; empty: none. Errors name what is wrong. */
struct pressure_texts {
    struct str hard, soft, soft_grace, reclaim, transition, grace_most;
};
MUST_USE bool pressure_rules_read(const struct pressure_texts *t, struct pressure_rules *out, struct err *err);
/* What is not for pods because of hard thresholds, of a capacity: memory for SIGNAL_MEMORY, disk for
 * SIGNAL_NODEFS. */
int64_t pressure_reserved(const struct pressure_rules *r, enum pressure_signal s, int64_t capacity);

/* --- what is seen, and what follows --------------------------------------------------------------------------- */

struct pressure_sample {
    bool known;
    int64_t available, capacity;
};
/* Zeroed: nothing has been seen yet. Times are clock_mono, ns. */
struct pressure_state {
    uint32_t met;                          /* thresholds that are in force: not over before their reclaim is free */
    int64_t first_at[PRESSURE_THRESHOLDS]; /* when each was first met, without a pause since; 0: it is not */
    int64_t seen_at[PRESSURE_CONDITIONS];  /* 0: never */
    unsigned conditions;
};
struct pressure_decision {
    uint32_t active;     /* thresholds that ask for something to go now */
    int reclaim;         /* the one to begin with, or -1 */
    unsigned conditions; /* that the node has now */
    int64_t wake_at;     /* a grace or a transition ends then; 0: none runs */
};
void pressure_decide(const struct pressure_rules *r, struct pressure_state *s, const struct pressure_sample *samples,
                     int64_t now, struct pressure_decision *out);
/* Nothing is short any more, what is to be reclaimed included. */
bool pressure_is_over(const struct pressure_rules *r, const struct pressure_sample *samples);
/* How long nobody need look, ns: what is left, by how fast it can go and how fast it went (`before`, so long ago). */
int64_t pressure_pause(const struct pressure_rules *r, const struct pressure_sample *samples,
                       const struct pressure_sample *before, int64_t since_ns);

/* "": it may be taken in under these conditions; else the sentence that refuses it. */
struct str pressure_refuses(struct arena *a, unsigned conditions, const struct obj *pod);
/* Pods of the system and static ones: neither refused nor evicted. */
bool pressure_spares(const struct obj *pod);

/* --- who goes ------------------------------------------------------------------------------------------------- */

struct pressure_space {
    int64_t bytes, inodes;
};
struct pressure_container {
    struct str name;
    bool memory_known, disk_known;
    int64_t memory;
    struct pressure_space rootfs, logs;
};
struct pressure_pod {
    const struct obj *pod;
    bool known;           /* it was measured */
    int64_t memory, pids; /* working set, bytes */
    struct pressure_space volumes;
    struct pressure_container *containers;
    size_t ncontainers;
    void *data; /* the caller's */
};
/* In the order in which they go. image_disk: images lie on a disk of their own. */
void pressure_rank(struct pressure_pod *pods, size_t n, enum pressure_signal s, bool image_disk);
struct str pressure_message(struct arena *a, const struct pressure_rules *r, const struct pressure_decision *d,
                            const struct pressure_sample *samples, const struct pressure_pod *p);

/* --- limits of a pod's own ------------------------------------------------------------------------------------ */

struct disk_use;
/* The sentence for a pod that has more on the disk than it may, and the signal that it is counted as; "": it has not.
 */
struct str pressure_over_limit(struct arena *a, const struct obj *pod, const struct disk_use *use,
                               const char **signal);
/* It has a limit that somebody must look at. */
bool pressure_has_limit(const struct obj *pod);
