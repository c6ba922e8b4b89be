/* figures_cadvisor.c - /metrics/cadvisor: the families that a kubelet's cadvisor gives for containerd, and that
 * dashboards read, with its labels. A family is written for all groups before the next one begins, as the format
 * asks.
 */
#include "base/clock.h"
#include "node/figures_int.h"

enum cadvisor_unit { WHOLE, OF_NS, OF_US };

/* A family of one value a group. */
struct cadvisor_row {
    const char *name, *help, *type;
    unsigned part; /* of the reading that it needs */
    enum cadvisor_unit unit;
    size_t at;         /* of a uint64_t in struct cgroup_stats */
    const char *extra; /* a further label; or NULL */
};
#define ROW(name, help, type, part, unit, member)                                                                    \
    {                                                                                                                \
        name, help, type, part, unit, offsetof(struct cgroup_stats, member), NULL                                    \
    }
#define STALL(what, kind, index, help)                                                                               \
    ROW("container_pressure_" what "_seconds_total", help, "counter", CGROUP_PRESSURE, OF_US,                        \
        pressure[index].kind.total_us)

static const struct cadvisor_row group_rows[] = {
    {"container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", "counter", CGROUP_CPU, OF_NS,
     offsetof(struct cgroup_stats, cpu_ns), ",cpu=\"total\""},
    ROW("container_cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds.", "counter",
        CGROUP_CPU_SPLIT, OF_NS, user_ns),
    ROW("container_cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds.", "counter",
        CGROUP_CPU_SPLIT, OF_NS, system_ns),
    ROW("container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.", "counter",
        CGROUP_THROTTLE, WHOLE, periods),
    ROW("container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals.", "counter",
        CGROUP_THROTTLE, WHOLE, throttled_periods),
    ROW("container_cpu_cfs_throttled_seconds_total", "Total time duration the container has been throttled.",
        "counter", CGROUP_THROTTLE, OF_NS, throttled_ns),
    ROW("container_memory_cache", "Number of bytes of page cache memory.", "gauge", CGROUP_MEMORY, WHOLE,
        memory_cache),
    ROW("container_memory_rss", "Size of RSS in bytes.", "gauge", CGROUP_MEMORY, WHOLE, memory_rss),
    ROW("container_memory_kernel_usage", "Size of kernel memory allocated in bytes.", "gauge", CGROUP_MEMORY, WHOLE,
        memory_kernel),
    ROW("container_memory_mapped_file", "Size of memory mapped files in bytes.", "gauge", CGROUP_MEMORY, WHOLE,
        memory_mapped),
    ROW("container_memory_swap", "Container swap usage in bytes.", "gauge", CGROUP_MEMORY, WHOLE, swap),
    ROW("container_memory_failcnt", "Number of memory usage hits limits", "counter", CGROUP_MEMORY_MORE, WHOLE,
        memory_failures),
    ROW("container_memory_usage_bytes",
        "Current memory usage in bytes, including all memory regardless of when it was accessed", "gauge",
        CGROUP_MEMORY, WHOLE, memory),
    ROW("container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes", "gauge", CGROUP_MEMORY_MORE,
        WHOLE, memory_peak),
    ROW("container_memory_working_set_bytes", "Current working set in bytes.", "gauge", CGROUP_MEMORY, WHOLE,
        memory_working_set),
    ROW("container_memory_total_active_file_bytes", "Current total active file in bytes.", "gauge", CGROUP_MEMORY,
        WHOLE, memory_active_file),
    ROW("container_memory_total_inactive_file_bytes", "Current total inactive file in bytes.", "gauge", CGROUP_MEMORY,
        WHOLE, memory_inactive_file),
    ROW("container_oom_events_total", "Count of out of memory events observed for the container", "counter",
        CGROUP_MEMORY_MORE, WHOLE, oom_kills),
    ROW("container_threads", "Number of threads running inside the container", "gauge", CGROUP_PIDS, WHOLE, pids),
    ROW("container_threads_max", "Maximum number of threads allowed inside the container, infinity if value is zero",
        "gauge", CGROUP_PIDS, WHOLE, limits.pids),
    STALL("cpu_waiting", some, PRESSURE_CPU, "Total time duration tasks in the container have waited for CPU time."),
    STALL("cpu_stalled", full, PRESSURE_CPU,
          "Total time duration no tasks in the container could make progress due "
          "to CPU congestion."),
    STALL("memory_waiting", some, PRESSURE_MEMORY,
          "Total time duration tasks in the container have waited due to "
          "memory congestion."),
    STALL("memory_stalled", full, PRESSURE_MEMORY,
          "Total time duration no tasks in the container could make "
          "progress due to memory congestion."),
    STALL("io_waiting", some, PRESSURE_IO,
          "Total time duration tasks in the container have waited due to IO "
          "congestion."),
    STALL("io_stalled", full, PRESSURE_IO,
          "Total time duration no tasks in the container could make progress due to "
          "IO congestion."),
};

/* What is said of a group's limits, of no moment. */
static const struct cadvisor_row spec_rows[] = {
    ROW("container_spec_cpu_period", "CPU period of the container.", "gauge", CGROUP_LIMITS, WHOLE,
        limits.cpu_period_us),
    ROW("container_spec_cpu_quota", "CPU quota of the container.", "gauge", CGROUP_LIMITS, WHOLE,
        limits.cpu_quota_us),
    ROW("container_spec_cpu_shares", "CPU share of the container.", "gauge", CGROUP_LIMITS, WHOLE, limits.cpu_shares),
    ROW("container_spec_memory_limit_bytes", "Memory limit for the container.", "gauge", CGROUP_LIMITS, WHOLE,
        limits.memory),
    ROW("container_spec_memory_reservation_limit_bytes", "Memory reservation limit for the container.", "gauge",
        CGROUP_LIMITS, WHOLE, limits.memory_soft),
    ROW("container_spec_memory_swap_limit_bytes", "Memory swap limit for the container.", "gauge", CGROUP_LIMITS,
        WHOLE, limits.swap),
};

/* A group of the view with its labels, made once. */
struct labelled {
    const struct figures_group *g;
    struct str labels; /* without braces */
    const struct figures_container *c;
    int64_t started;
};
struct labelling {
    struct labelled *list;
    size_t n;
};

static struct str labels_of(struct arena *a, const char *id, const struct figures_pod *p, struct str container,
                            struct str image, struct str name)
{
    struct strbuf b = STRBUF(STRBUF_TEXT);
    const struct str values[] = {container, str_of(id), image, name, p ? p->ns : STR_NONE, p ? p->name : STR_NONE};
    static const char *const keys[] = {"container=", ",id=", ",image=", ",name=", ",namespace=", ",pod="};
    for (size_t i = 0; i < countof(keys); i++) {
        strbuf_addz(&b, keys[i]);
        prom_label_value(&b, values[i]);
    }
    struct str out = str_dup(a, strbuf_str(&b));
    strbuf_fini(&b);
    return out;
}

static void labelled_add(struct labelling *l, const struct figures_group *g, struct str labels,
                         const struct figures_container *c, int64_t started)
{
    if (g->ok)
        l->list[l->n++] = (struct labelled){g, labels, c, started};
}

static struct labelling label_all(const struct figures_view *v, struct arena *a)
{
    size_t n = 3 + FIGURES_QOS;
    for (size_t i = 0; i < v->npods; i++)
        n += 1 + v->pods[i].ncontainers;
    struct labelling l = {arena_alloc(a, n * sizeof *l.list), 0};
    const struct figures_group *own[] = {&v->machine_group, &v->all_pods, &v->self, &v->qos[0], &v->qos[1]};
    for (size_t i = 0; i < countof(own); i++)
        if (own[i]->ok)
            labelled_add(&l, own[i], labels_of(a, own[i]->path, NULL, STR_NONE, STR_NONE, STR_NONE), NULL,
                         v->machine.boot);
    for (size_t i = 0; i < v->npods; i++) {
        const struct figures_pod *p = &v->pods[i];
        if (p->g.ok)
            labelled_add(&l, &p->g, labels_of(a, p->g.path, p, STR_NONE, STR_NONE, STR_NONE), NULL, p->started);
        for (size_t k = 0; k < p->ncontainers; k++) {
            const struct figures_container *c = &p->containers[k];
            if (c->g.ok)
                labelled_add(&l, &c->g, labels_of(a, c->g.path, p, c->name, c->image, c->id), c, c->started);
        }
    }
    return l;
}

/* --- series -------------------------------------------------------------------------------------------------- */

static void series_begin(struct figures_out *o, const char *name, struct str labels, const char *extra)
{
    struct strbuf *b = &o->b;
    strbuf_addz(b, name);
    strbuf_addc(b, '{');
    strbuf_add(b, labels);
    if (extra)
        strbuf_addz(b, extra);
    strbuf_addz(b, "} ");
}

/* Without a moment: what is read is of now, and Prometheus takes a series that ends for ended only where it gave the
 * moment itself. */
static void series_end(struct figures_out *o)
{
    strbuf_addc(&o->b, '\n');
    figures_flush(o, false);
}

static void series_whole(struct figures_out *o, const char *name, struct str labels, const char *extra, uint64_t n)
{
    series_begin(o, name, labels, extra);
    prom_whole(&o->b, n);
    series_end(o);
}

static void value_add(struct strbuf *b, const struct cadvisor_row *row, const struct cgroup_stats *s)
{
    uint64_t n;
    memcpy(&n, (const char *)s + row->at, sizeof n);
    switch (row->unit) {
    case WHOLE: prom_whole(b, n); break;
    case OF_NS: prom_seconds(b, n); break;
    case OF_US: prom_seconds(b, n * 1000); break;
    }
}

/* Periods are counted of who has a quota, and pressures where the kernel tells all three. */
static bool row_is_of(const struct cadvisor_row *row, const struct cgroup_stats *s)
{
    return s->has & row->part && (row->part != CGROUP_THROTTLE || s->limits.cpu_quota_us);
}

static void rows_write(struct figures_out *o, const struct labelling *l, const struct cadvisor_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct cadvisor_row *row = &rows[i];
        prom_family(o, row->name, row->help, row->type);
        for (size_t k = 0; k < l->n; k++) {
            const struct labelled *x = &l->list[k];
            if (!row_is_of(row, &x->g->s) ||
                (row->at == offsetof(struct cgroup_stats, limits.cpu_quota_us) && !x->g->s.limits.cpu_quota_us))
                continue;
            series_begin(o, row->name, x->labels, row->extra);
            value_add(&o->b, row, &x->g->s);
            series_end(o);
        }
    }
}

static void failures_write(struct figures_out *o, const struct labelling *l)
{
    static const char name[] = "container_memory_failures_total";
    prom_family(o, name, "Cumulative count of memory allocation failures.", "counter");
    for (size_t k = 0; k < l->n; k++) {
        const struct figures_group *g = l->list[k].g;
        const struct cgroup_stats *s = &g->s;
        struct str labels = l->list[k].labels;
        if (!(s->has & CGROUP_MEMORY))
            continue;
        series_whole(o, name, labels, ",failure_type=\"pgfault\",scope=\"container\"", s->own_page_faults);
        series_whole(o, name, labels, ",failure_type=\"pgfault\",scope=\"hierarchy\"", s->page_faults);
        series_whole(o, name, labels, ",failure_type=\"pgmajfault\",scope=\"container\"", s->own_major_faults);
        series_whole(o, name, labels, ",failure_type=\"pgmajfault\",scope=\"hierarchy\"", s->major_faults);
    }
}

static void processes_write(struct figures_out *o, const struct labelling *l)
{
    static const struct {
        const char *name, *help, *extra;
        size_t at;
    } rows[] = {
        {"container_processes", "Number of processes running inside the container.", NULL,
         offsetof(struct figures_processes, processes)},
        {"container_file_descriptors", "Number of open file descriptors for the container.", NULL,
         offsetof(struct figures_processes, files)},
        {"container_sockets", "Number of open sockets for the container.", NULL,
         offsetof(struct figures_processes, sockets)},
        {"container_ulimits_soft",
         "Soft ulimit values for the container root process. Unlimited if -1, except "
         "priority and nice",
         ",ulimit=\"max_open_files\"", offsetof(struct figures_processes, files_limit)},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        prom_family(o, rows[i].name, rows[i].help, "gauge");
        for (size_t k = 0; k < l->n; k++) {
            const struct labelled *x = &l->list[k];
            uint64_t n;
            if (!x->c || !x->c->procs.processes)
                continue;
            memcpy(&n, (const char *)&x->c->procs + rows[i].at, sizeof n);
            series_whole(o, rows[i].name, x->labels, rows[i].extra, n);
        }
    }
}

static void times_write(struct figures_out *o, const struct labelling *l, int64_t now)
{
    static const char started[] = "container_start_time_seconds", seen[] = "container_last_seen";
    prom_family(o, started, "Start time of the container since unix epoch in seconds.", "gauge");
    for (size_t k = 0; k < l->n; k++)
        if (l->list[k].started)
            series_whole(o, started, l->list[k].labels, NULL, (uint64_t)(l->list[k].started / NS_PER_S));
    prom_family(o, seen, "Last time a container was seen by the exporter", "gauge");
    for (size_t k = 0; k < l->n; k++)
        series_whole(o, seen, l->list[k].labels, NULL, (uint64_t)(now / NS_PER_S));
}

/* --- disks --------------------------------------------------------------------------------------------------- */

static const char *device_label(const struct figures_view *v, uint32_t major, uint32_t minor, char *out, size_t size)
{
    for (size_t i = 0; i < v->ndisks; i++)
        if (v->disks[i].major == major && v->disks[i].minor == minor) {
            (void)snprintf(out, size, ",device=\"/dev/" STR_FMT "\"", STR_ARG(v->disks[i].name));
            return out;
        }
    (void)snprintf(out, size, ",device=\"%u:%u\"", major, minor);
    return out;
}

static void group_io_write(struct figures_out *o, const struct figures_view *v, const struct labelling *l)
{
    static const struct {
        const char *name, *help;
        size_t at;
    } rows[] = {
        {"container_fs_reads_bytes_total", "Cumulative count of bytes read", offsetof(struct cgroup_io, read_bytes)},
        {"container_fs_reads_total", "Cumulative count of reads completed", offsetof(struct cgroup_io, reads)},
        {"container_fs_writes_bytes_total", "Cumulative count of bytes written",
         offsetof(struct cgroup_io, write_bytes)},
        {"container_fs_writes_total", "Cumulative count of writes completed", offsetof(struct cgroup_io, writes)},
    };
    char device[100];
    for (size_t i = 0; i < countof(rows); i++) {
        prom_family(o, rows[i].name, rows[i].help, "counter");
        for (size_t k = 0; k < l->n; k++)
            for (size_t d = 0; d < l->list[k].g->s.nio; d++) {
                const struct cgroup_io *io = &l->list[k].g->s.io[d];
                uint64_t n;
                memcpy(&n, (const char *)io + rows[i].at, sizeof n);
                series_whole(o, rows[i].name, l->list[k].labels,
                             device_label(v, io->major, io->minor, device, sizeof device), n);
            }
    }
    static const char usage[] = "container_blkio_device_usage_total";
    prom_family(o, usage, "Blkio Device bytes usage", "counter");
    for (size_t k = 0; k < l->n; k++)
        for (size_t d = 0; d < l->list[k].g->s.nio; d++) {
            const struct cgroup_io *io = &l->list[k].g->s.io[d];
            char extra[200];
            (void)device_label(v, io->major, io->minor, device, sizeof device);
            for (int w = 0; w < 2; w++) {
                (void)snprintf(extra, sizeof extra, "%s,major=\"%u\",minor=\"%u\",operation=\"%s\"", device,
                               io->major, io->minor, w ? "Write" : "Read");
                series_whole(o, usage, l->list[k].labels, extra, w ? io->write_bytes : io->read_bytes);
            }
        }
}

/* Of the machine's disks, by the kernel's own counts of them. */
static void disks_write(struct figures_out *o, const struct figures_view *v, struct str labels)
{
    static const struct {
        const char *name, *help, *type;
        size_t at;
        enum cadvisor_unit unit;
    } rows[] = {
        {"container_fs_io_current", "Number of I/Os currently in progress", "gauge",
         offsetof(struct figures_disk, under_way), WHOLE},
        {"container_fs_io_time_seconds_total", "Cumulative count of seconds spent doing I/Os", "counter",
         offsetof(struct figures_disk, busy_ns), OF_NS},
        {"container_fs_io_time_weighted_seconds_total", "Cumulative weighted I/O time in seconds", "counter",
         offsetof(struct figures_disk, weighted_ns), OF_NS},
        {"container_fs_read_seconds_total", "Cumulative count of seconds spent reading", "counter",
         offsetof(struct figures_disk, read_ns), OF_NS},
        {"container_fs_reads_merged_total", "Cumulative count of reads merged", "counter",
         offsetof(struct figures_disk, reads_merged), WHOLE},
        {"container_fs_sector_reads_total", "Cumulative count of sector reads completed", "counter",
         offsetof(struct figures_disk, sectors_read), WHOLE},
        {"container_fs_sector_writes_total", "Cumulative count of sector writes completed", "counter",
         offsetof(struct figures_disk, sectors_written), WHOLE},
        {"container_fs_write_seconds_total", "Cumulative count of seconds spent writing", "counter",
         offsetof(struct figures_disk, write_ns), OF_NS},
        {"container_fs_writes_merged_total", "Cumulative count of writes merged", "counter",
         offsetof(struct figures_disk, writes_merged), WHOLE},
    };
    char device[100];
    for (size_t i = 0; i < countof(rows); i++) {
        prom_family(o, rows[i].name, rows[i].help, rows[i].type);
        for (size_t d = 0; d < v->ndisks; d++) {
            const struct figures_disk *x = &v->disks[d];
            uint64_t n;
            memcpy(&n, (const char *)x + rows[i].at, sizeof n);
            series_begin(o, rows[i].name, labels, device_label(v, x->major, x->minor, device, sizeof device));
            if (rows[i].unit == WHOLE)
                prom_whole(&o->b, n);
            else
                prom_seconds(&o->b, n);
            series_end(o);
        }
    }
}

/* Of the node's own file system, and what containers have written to it. */
static void fs_write(struct figures_out *o, const struct figures_view *v, const struct labelling *l)
{
    enum { INODES_FREE, INODES, LIMIT, USAGE };
    static const struct {
        const char *name, *help;
    } rows[] = {
        [INODES_FREE] = {"container_fs_inodes_free", "Number of available Inodes"},
        [INODES] = {"container_fs_inodes_total", "Number of Inodes"},
        [LIMIT] = {"container_fs_limit_bytes", "Number of bytes that can be consumed by the container on this "
                                               "filesystem."},
        [USAGE] = {"container_fs_usage_bytes", "Number of bytes that are consumed by the container on this "
                                               "filesystem."},
    };
    char device[100];
    (void)device_label(v, v->fs_major, v->fs_minor, device, sizeof device);
    for (int i = 0; i < (int)countof(rows); i++) {
        prom_family(o, rows[i].name, rows[i].help, "gauge");
        for (size_t k = 0; k < l->n; k++) {
            const struct labelled *x = &l->list[k];
            const int64_t of_fs[] = {v->fs.inodes_free, v->fs.inodes, v->fs.capacity, v->fs.used};
            bool machine = x->g == &v->machine_group;
            if (!machine && (!x->c || !x->c->disk_known || i < LIMIT))
                continue;
            int64_t n = machine || i != USAGE ? of_fs[i] : x->c->rootfs.bytes;
            series_whole(o, rows[i].name, x->labels, device, (uint64_t)n);
        }
    }
}

/* --- networks ------------------------------------------------------------------------------------------------ */

static const struct {
    const char *name, *help;
    size_t at, turned; /* as the other end of the pair sees it */
} network_rows[] = {
#define LINK(name, help, mine, other)                                                                                \
    {                                                                                                                \
        "container_network_" name "_total", help, offsetof(struct link_count, mine),                                 \
            offsetof(struct link_count, other)                                                                       \
    }
    LINK("receive_bytes", "Cumulative count of bytes received", rx_bytes, tx_bytes),
    LINK("receive_errors", "Cumulative count of errors encountered while receiving", rx_errors, tx_errors),
    LINK("receive_packets_dropped", "Cumulative count of packets dropped while receiving", rx_dropped, tx_dropped),
    LINK("receive_packets", "Cumulative count of packets received", rx_packets, tx_packets),
    LINK("transmit_bytes", "Cumulative count of bytes transmitted", tx_bytes, rx_bytes),
    LINK("transmit_errors", "Cumulative count of errors encountered while transmitting", tx_errors, rx_errors),
    LINK("transmit_packets_dropped", "Cumulative count of packets dropped while transmitting", tx_dropped,
         rx_dropped),
    LINK("transmit_packets", "Cumulative count of packets transmitted", tx_packets, rx_packets),
#undef LINK
};

/* A runtime's sandbox has the pod's network, and an image by which old dashboards tell it from a bare group. */
static void network_write(struct figures_out *o, const struct figures_view *v, struct arena *a, struct str machine)
{
    struct str *pods = arena_alloc(a, (v->npods + 1) * sizeof *pods);
    for (size_t i = 0; i < v->npods; i++)
        pods[i] = v->pods[i].link ? labels_of(a, v->pods[i].g.path, &v->pods[i], STR_NONE, S("wherry.dev/sandbox"),
                                              v->pods[i].sandbox)
                                  : STR_NONE;
    for (size_t r = 0; r < countof(network_rows); r++) {
        uint64_t n;
        prom_family(o, network_rows[r].name, network_rows[r].help, "counter");
        array_each (x, &v->links.links) {
            char extra[60];
            if (figures_link_is_pods(x))
                continue;
            (void)snprintf(extra, sizeof extra, ",interface=\"%s\"", x->name);
            memcpy(&n, (const char *)x + network_rows[r].at, sizeof n);
            series_whole(o, network_rows[r].name, machine, extra, n);
        }
        for (size_t i = 0; i < v->npods; i++) {
            const struct figures_pod *p = &v->pods[i];
            if (!p->link)
                continue;
            memcpy(&n, (const char *)p->link + network_rows[r].turned, sizeof n);
            series_whole(o, network_rows[r].name, pods[i], ",interface=\"eth0\"", n);
        }
    }
}

/* --- the machine --------------------------------------------------------------------------------------------- */

static void machine_write(struct figures_out *o, const struct figures_view *v, struct arena *a)
{
    const struct figures_machine *m = &v->machine;
    const struct {
        const char *name, *help;
        int64_t n;
    } rows[] = {
        {"machine_cpu_cores", "Number of logical CPU cores.", m->cpus},
        {"machine_cpu_physical_cores", "Number of physical CPU cores.", m->cores},
        {"machine_cpu_sockets", "Number of CPU sockets.", m->sockets},
        {"machine_memory_bytes", "Amount of memory installed on the machine.", m->memory},
        {"machine_swap_bytes", "Amount of swap memory available on the machine.", m->swap},
    };
    struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addz(&b, "boot_id=");
    prom_label_value(&b, m->boot_id);
    strbuf_addz(&b, ",machine_id=");
    prom_label_value(&b, m->machine_id);
    strbuf_addz(&b, ",system_uuid=");
    prom_label_value(&b, m->system_uuid);
    struct str labels = str_dup(a, strbuf_str(&b));
    strbuf_fini(&b);
    for (size_t i = 0; i < countof(rows); i++) {
        prom_family(o, rows[i].name, rows[i].help, "gauge");
        series_whole(o, rows[i].name, labels, NULL, (uint64_t)rows[i].n);
    }
    prom_family(o, "machine_scrape_error", "1 if there was an error while getting machine metrics, 0 otherwise.",
                "gauge");
    strbuf_addz(&o->b, "machine_scrape_error 0\n");
    prom_family(o, "cadvisor_version_info",
                "A metric with a constant '1' value labeled by kernel version, OS version, docker version, cadvisor "
                "version & cadvisor revision.",
                "gauge");
    strbuf_addz(&o->b, "cadvisor_version_info{cadvisorRevision=\"\",cadvisorVersion=");
    prom_label_value(&o->b, v->version);
    strbuf_addz(&o->b, ",dockerVersion=\"\",kernelVersion=");
    prom_label_value(&o->b, m->kernel);
    strbuf_addz(&o->b, ",osVersion=");
    prom_label_value(&o->b, m->os);
    strbuf_addz(&o->b, "} 1\n");
}

void figures_cadvisor_text(const struct figures_view *v, struct figures_out *o)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct labelling l = label_all(v, &a);
    struct str machine = labels_of(&a, "/", NULL, STR_NONE, STR_NONE, STR_NONE);
    rows_write(o, &l, group_rows, countof(group_rows));
    failures_write(o, &l);
    processes_write(o, &l);
    group_io_write(o, v, &l);
    disks_write(o, v, machine);
    fs_write(o, v, &l);
    network_write(o, v, &a, machine);
    rows_write(o, &l, spec_rows, countof(spec_rows));
    times_write(o, &l, v->now_real);
    prom_family(o, "container_scrape_error", "1 if there was an error while getting container metrics, 0 otherwise",
                "gauge");
    strbuf_addf(&o->b, "container_scrape_error %d\n", !v->machine_group.ok);
    machine_write(o, v, &a);
}
