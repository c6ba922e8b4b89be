/* cgroup_stats.h - what a control group uses: its figures on cgroup v1, v2 and hybrid hosts, read from the kernel's
 * files. Blocking, short (some 10 us a file); many groups are read in a job. What a kernel or a group has not (the
 * root of v2 has no memory.current) is 0, and `has` says so. */
#pragma once
#include "oci/cgroup.h"

enum {
    CGROUP_CPU = 1,       /* cpu_ns */
    CGROUP_CPU_SPLIT = 2, /* user and system */
    CGROUP_THROTTLE = 4,  /* periods */
    CGROUP_MEMORY = 8,
    CGROUP_MEMORY_MORE = 16, /* its peak, how often it was at its limit, swap, kills */
    CGROUP_PIDS = 32,
    CGROUP_MEMORY_LIMITS = 64, /* of memory and swap */
    CGROUP_LIMITS = 128,       /* the others */
    CGROUP_IO = 256,
    CGROUP_PRESSURE = 512, /* PSI; v2 alone */
    CGROUP_ALL = 1023,
};
#define CGROUP_DISKS_MOST 8
struct cgroup_io {
    uint32_t major, minor;
    uint64_t read_bytes, write_bytes, reads, writes;
};
/* Pressure stall information: of some and of all (full) tasks. Averages in percent. */
struct cgroup_stall {
    uint64_t total_us;
    double avg10, avg60, avg300;
};
struct cgroup_pressure {
    bool known;
    struct cgroup_stall some, full;
};
enum { PRESSURE_CPU, PRESSURE_MEMORY, PRESSURE_IO, PRESSURES };

/* 0: none; swap without memory. */
struct cgroup_limits {
    uint64_t memory, memory_soft, swap, pids;
    uint64_t cpu_shares, cpu_quota_us, cpu_period_us;
    bool swap_limited; /* `swap` holds, 0 too */
};

struct cgroup_stats {
    unsigned has;    /* of the parts that were asked for, those that were there */
    uint64_t cpu_ns; /* used since creation */
    uint64_t user_ns, system_ns;
    uint64_t throttled_ns, throttled_periods, periods;
    /* Bytes, of the group and all below it. The working set is what cannot be had back at once: what is used, without
     * pages of files that were not touched lately (as cadvisor counts). */
    uint64_t memory, memory_working_set, memory_rss, memory_cache, memory_mapped, memory_kernel;
    uint64_t memory_inactive_file, memory_active_file;
    uint64_t memory_peak, memory_failures, swap;
    uint64_t page_faults, major_faults, own_page_faults, own_major_faults; /* own: without groups below (v1) */
    uint64_t pids, oom_kills;
    struct cgroup_limits limits;
    struct cgroup_io io[CGROUP_DISKS_MOST];
    size_t nio;
    struct cgroup_pressure pressure[PRESSURES];
};
/* Parts: a set of CGROUP_...; false: there is no such group. */
MUST_USE bool cgroup_stats_of(const struct cgroups *g, const char *path, unsigned parts, struct cgroup_stats *out,
                              struct err *err);
MUST_USE bool cgroup_stats(const struct cgroups *g, const char *path, struct cgroup_stats *out, struct err *err);
/* Processes in the group and below: fn for each, at most `most`. */
void cgroup_pids_each(const struct cgroups *g, const char *path, size_t most, void (*fn)(void *arg, pid_t pid),
                      void *arg);
/* A file of pressures (/proc/pressure/cpu, io.pressure of a group); pure. False: it is none. */
MUST_USE bool cgroup_pressure_read(struct str text, struct cgroup_pressure *out);
/* A line of v2's io.stat; and v1's blkio.throttle.io_service_bytes or (operations) io_serviced, which add to what is
 * there already. Pure. */
void cgroup_io_v2(struct str text, struct cgroup_stats *out);
void cgroup_io_v1(struct str text, bool operations, struct cgroup_stats *out);
