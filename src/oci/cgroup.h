/* cgroup.h - control groups of pods and containers on cgroup v1, v2 and hybrid hosts. Paths are relative to the root
 * of the hierarchy and begin with '/'. Blocking, short (kernel only); create and limits take about a millisecond on
 * v1, so they belong in a job. */
#pragma once
#include "oci/spec.h"

enum cgroup_mode { CGROUP_V1, CGROUP_V2, CGROUP_HYBRID };
enum { /* hierarchies we know; on v2 there is one, at index 0 */
       CG_CPU,
       CG_CPUACCT,
       CG_CPUSET,
       CG_MEMORY,
       CG_DEVICES,
       CG_FREEZER,
       CG_BLKIO,
       CG_PIDS,
       CG_HUGETLB,
       CG_SYSTEMD,
       CG_NET_CLS,
       CG_NET_PRIO,
       CG_PERF,
       CG_RDMA,
       CG_MISC,
       CG_N
};
struct cgroups {
    enum cgroup_mode mode;
    char mount[CG_N][64]; /* v1: where each is mounted, "" if not (co-mounted ones share); v2: mount[0] */
    char unified[64];     /* hybrid: the v2 mount */
    bool unified_hugetlb; /* hybrid: huge pages are counted there */
};
MUST_USE bool cgroups_detect(struct cgroups *g, struct err *err);

/* Makes the group (and parents) in every hierarchy and writes its limits. leaf: of a container, not of a pod: it gets
 * its CPU quota later (cgroup_quota_lines), as crun starts in it, and on v2 it dies whole when it is out of memory.
 * devices: NULL leaves devices alone (groups of pods); else only those and the usual ones may be used; `all` for
 * privileged. */
struct cgroup_devices {
    const struct oci_device *list;
    size_t n;
    bool all;
};
MUST_USE bool cgroup_create(const struct cgroups *g, const char *path, const struct oci_limits *limits, bool leaf,
                            const struct cgroup_devices *devices, struct err *err);
/* What may change of a group while it is used, as it stands in the kernel. */
struct cgroup_bounds {
    uint64_t cpu_shares;  /* v1 scale, 2..262144 */
    int64_t cpu_quota_us; /* of 100000; 0: none */
    int64_t memory;       /* bytes; 0: no limit */
};
enum { CGROUP_SHARES = 1, CGROUP_QUOTA = 2, CGROUP_BYTES = 4 };
/* What `like` would have written reads as `like`: a weight of v2 holds less than shares do, a limit whole pages. */
MUST_USE bool cgroup_bounds_read(const struct cgroups *g, const char *path, const struct cgroup_bounds *like,
                                 struct cgroup_bounds *out, struct err *err);
/* which: a set of CGROUP_...; what is 0 is lifted. */
MUST_USE bool cgroup_bounds_write(const struct cgroups *g, const char *path, unsigned which,
                                  const struct cgroup_bounds *b, struct err *err);
uint64_t cgroup_bounds_written(void); /* how often: who remembers limits looks again. Any thread */
int64_t cgroup_memory_used(const struct cgroups *g, const char *path); /* bytes; 0: not counted */
/* Files into which a process writes "0" to join, one a line (v1: tasks, which skips the kernel's slow lock). */
void cgroup_join_lines(const struct cgroups *g, const char *path, struct strbuf *out);
/* "PATH VALUE\n" for each write that sets the CPU quota. */
void cgroup_quota_lines(const struct cgroups *g, const char *path, const struct oci_limits *limits,
                        struct strbuf *out);
/* The file that freezes a group; "": there is none. */
void cgroup_freeze_file(const struct cgroups *g, const char *path, char *out, size_t size);
void cgroup_oom_file(const struct cgroups *g, const char *path, char *out, size_t size); /* has "oom_kill N" */
void cgroup_signal(const struct cgroups *g, const char *path, int signo);                /* to all there are now */
MUST_USE bool cgroup_kill(const struct cgroups *g, const char *path); /* SIGKILL to all; true: nobody was left */
/* Waits (by pidfds) until nobody is left, at most timeout_ms. */
MUST_USE bool cgroup_wait_empty(const struct cgroups *g, const char *path, int timeout_ms);
bool cgroup_empty(const struct cgroups *g, const char *path);
/* Removes the group with its children, everywhere. False with CONFLICT while a process is left. */
MUST_USE bool cgroup_remove(const struct cgroups *g, const char *path, struct err *err);
