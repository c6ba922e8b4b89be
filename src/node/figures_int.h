/* figures_int.h - what the files of figures share: a view of the node and its pods that the loop makes, a job
 * measures and the texts are written from. The texts are pure: view in, text out. */
#pragma once
#include "api/obj.h"
#include "net/link.h"
#include "node/disk_use.h"
#include "node/figures.h"
#include "node/figures_counts.h"
#include "oci/cgroup_stats.h"
#include "sys/loop.h"

/* An earlier reading of a group's CPU time. at 0: none. */
struct figures_base {
    int64_t at; /* clock_mono */
    uint64_t cpu_ns;
};
#define LIMITS_ALL (unsigned)(CGROUP_LIMITS | CGROUP_MEMORY_LIMITS)
/* A control group as it was read. */
struct figures_group {
    const char *path; /* NULL: there is none */
    uint64_t key;     /* of the history */
    bool ok;          /* it was there */
    int64_t at, at_real;
    struct figures_base base;
    unsigned limits_known; /* of CGROUP_LIMITS and CGROUP_MEMORY_LIMITS: need not be read again */
    struct cgroup_limits limits;
    struct cgroup_stats s;
    uint64_t nanocores; /* since the base */
    int64_t window;     /* ns; 0: no rate is known */
};
struct figures_processes {
    uint64_t processes, files, sockets, files_limit; /* limit: of the first one's open files */
};
struct figures_container {
    struct str name, id, image; /* id: 64 hex digits */
    int64_t started;            /* real ns */
    int64_t age;                /* ns, when the view was made */
    struct figures_group g;
    struct figures_processes procs;
    struct disk_use_part rootfs, logs; /* of the last count */
    bool disk_known;
};
struct figures_volume {
    struct disk_use_part part;
    struct str claim; /* empty: none */
};
struct figures_pod {
    struct str uid, ns, name, sandbox; /* sandbox: its id */
    int64_t started;                   /* real ns */
    bool host_network;
    uint32_t ip;
    struct figures_group g;
    const struct link_count *link; /* of its own, as its host's end counts; NULL: none is known */
    struct figures_container *containers;
    size_t ncontainers;
    bool disk_known; /* its disk use has been counted */
    int64_t disk_at; /* real ns */
    int64_t mounts_at;
    int64_t other_logs; /* bytes */
    struct figures_volume *volumes;
    size_t nvolumes;
    size_t volumes_count; /* that its spec has */
};
struct figures_machine {
    int64_t cpus, memory, swap; /* bytes */
    int64_t pids_most, processes;
    int64_t boot; /* real ns */
    /* of /metrics/cadvisor alone */
    struct str machine_id, boot_id, system_uuid, kernel, os;
    int64_t cores, sockets;
};
/* A disk, as /proc/diskstats counts. */
struct figures_disk {
    uint32_t major, minor;
    struct str name;
    uint64_t reads_merged, sectors_read, read_ns, writes_merged, sectors_written, write_ns;
    uint64_t under_way, busy_ns, weighted_ns;
};
#define FIGURES_QOS 2
/* One kind of probe of one container. */
struct figures_probe {
    struct str uid, ns, pod, container;
    int kind;
    struct probe_counts counts;
};
/* Of the agent's own process. */
struct figures_process {
    uint64_t cpu_ns, files, files_most, resident, virtual;
    int64_t started; /* real ns */
};
struct figures_view {
    struct arena arena;
    struct str node, version, host_ip, data, content;
    int64_t now_real;
    struct cgroups cgroups;
    struct instance instance;
    uint64_t limits_changes; /* cgroup_bounds_written, before they were read */
    unsigned parts;          /* of the groups, to be read */
    bool want_links, want_disk, want_processes, want_machine;
    struct figures_group machine_group;    /* "/" */
    struct figures_group all_pods, self;   /* below which pods are; our own, where it is another */
    struct figures_group qos[FIGURES_QOS]; /* of burstable and of besteffort pods */
    int64_t self_started;
    struct figures_machine machine;
    struct disk_room fs, image_fs; /* of the node's own folders, and of its images */
    bool disks_read;
    int64_t image_bytes, containers_bytes; /* of images; of what containers have written */
    uint32_t fs_major, fs_minor;
    struct figures_disk *disks;
    size_t ndisks;
    struct link_counts links;
    struct figures_pod *pods;
    size_t npods;
    /* of /metrics, /metrics/probes and /pods alone */
    struct figures_probe *probes;
    size_t nprobes;
    struct figures_counts counts;
    uint64_t created, exited, running, active, desired; /* containers by state; pods */
    struct str evictions;                               /* lines of kubelet_evictions */
    struct figures_process process;
    struct obj **objs; /* counted */
    size_t nobjs;
    bool want_process;
    bool wants_second; /* a rate is not known of something that runs */
};
void figures_view_measure(struct figures_view *v); /* blocking */
struct str figures_own_group(struct arena *a);     /* of this process, by memory; empty: the root, as good as none */
void figures_view_fini(struct figures_view *v);

/* Text that is made: gathered, or handed on as it grows. */
struct figures_out {
    struct strbuf b;
    int fd; /* -1: gathered */
    bool broken;
    struct err err;
};
#define FIGURES_TEXT_MOST (256 << 20)
void figures_flush(struct figures_out *o, bool all);

void figures_usage_text(const struct figures_view *v, struct figures_out *o);
void figures_resource_text(const struct figures_view *v, struct figures_out *o);
void figures_cadvisor_text(const struct figures_view *v, struct figures_out *o);
void figures_kubelet_text(const struct figures_view *v, struct figures_out *o);
void figures_probes_text(const struct figures_view *v, struct figures_out *o);
void figures_pods_text(const struct figures_view *v, struct figures_out *o);
void figures_running_pods_text(const struct figures_view *v, struct figures_out *o);
void figures_summary_text(const struct figures_view *v, bool brief, struct figures_out *o);

bool figures_link_is_pods(const struct link_count *l); /* or the loopback: not of the machine's own */

struct figures;
void figures_free(struct figures *f); /* nobody waits any more; NULL is fine */

/* --- writing Prometheus' text format (figures_prom.c) --- */
void prom_family(struct figures_out *o, const char *name, const char *help, const char *type);
void prom_label_value(struct strbuf *b, struct str value); /* escaped, quoted */
void prom_whole(struct strbuf *b, uint64_t n);
void prom_seconds(struct strbuf *b, uint64_t ns);
