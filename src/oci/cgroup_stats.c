#include "oci/cgroup_stats.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define TEXT_MOST   8192
#define PATH_MOST   640
#define GROUPS_DEEP 20

/* --- the kernel's files: small, and read in one go ----------------------------------------------------------- */

struct small_text {
    char z[TEXT_MOST];
};

static struct str text_at(const char *dir, const char *file, struct small_text *t)
{
    char path[PATH_MOST];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, t->z, sizeof t->z);
    return n < 0 ? STR_NONE : (struct str){t->z, (size_t)n};
}

/* "max", and what v1 says for it, is 0: none. */
static uint64_t number_of(struct str text)
{
    uint64_t v = 0;
    return str_to_u64(str_trim(text), UINT64_MAX, &v) && v < (uint64_t)1 << 62 ? v : 0;
}

static uint64_t number_at(const char *dir, const char *file)
{
    struct small_text t;
    return number_of(text_at(dir, file, &t));
}

struct wanted {
    const char *name;
    uint64_t *to, times;
};

/* "NAME NUMBER" a line. */
static bool numbers_at(const char *dir, const char *file, const struct wanted *want, size_t n)
{
    struct small_text t;
    struct str rest = text_at(dir, file, &t), line, name, value;
    bool any = rest.p;
    while (rest.p && str_cut(&rest, '\n', &line)) {
        uint64_t v;
        if (!str_split(line, ' ', &name, &value))
            continue;
        for (size_t i = 0; i < n; i++)
            if (str_eqz(name, want[i].name) && str_to_u64(value, UINT64_MAX, &v))
                *want[i].to = v * want[i].times;
    }
    return any;
}

/* --- pure: texts of several values --------------------------------------------------------------------------- */

/* "avg10=0.12" */
static void average_read(struct str value, double *out)
{
    char z[32];
    (void)snprintf(z, sizeof z, STR_FMT, STR_ARG(str_sub(value, 0, sizeof z - 1)));
    *out = strtod(z, NULL);
}

bool cgroup_pressure_read(struct str text, struct cgroup_pressure *out)
{
    struct str line, word, key, value;
    *out = (struct cgroup_pressure){0};
    while (text.p && str_cut(&text, '\n', &line)) {
        if (!str_cut(&line, ' ', &word) || (!str_eqz(word, "some") && !str_eqz(word, "full")))
            continue;
        struct cgroup_stall *s = str_eqz(word, "some") ? &out->some : &out->full;
        out->known = true;
        while (line.p && str_cut(&line, ' ', &word)) {
            if (!str_split(word, '=', &key, &value))
                continue;
            if (str_eqz(key, "total"))
                s->total_us = number_of(value);
            else if (str_eqz(key, "avg10"))
                average_read(value, &s->avg10);
            else if (str_eqz(key, "avg60"))
                average_read(value, &s->avg60);
            else if (str_eqz(key, "avg300"))
                average_read(value, &s->avg300);
        }
    }
    return out->known;
}

/* "8:16" */
static struct cgroup_io *io_disk(struct cgroup_stats *out, struct str device)
{
    struct str major, minor;
    int64_t a, b;
    if (!str_split(device, ':', &major, &minor) || !str_to_i64(major, 0, UINT32_MAX, &a) ||
        !str_to_i64(minor, 0, UINT32_MAX, &b))
        return NULL;
    for (size_t i = 0; i < out->nio; i++)
        if (out->io[i].major == a && out->io[i].minor == b)
            return &out->io[i];
    if (out->nio == CGROUP_DISKS_MOST)
        return NULL;
    out->io[out->nio] = (struct cgroup_io){.major = (uint32_t)a, .minor = (uint32_t)b};
    return &out->io[out->nio++];
}

void cgroup_io_v2(struct str text, struct cgroup_stats *out)
{
    struct str line, word, key, value;
    while (text.p && str_cut(&text, '\n', &line)) {
        struct cgroup_io *io = str_cut(&line, ' ', &word) ? io_disk(out, word) : NULL;
        while (io && line.p && str_cut(&line, ' ', &word)) {
            if (!str_split(word, '=', &key, &value))
                continue;
            if (str_eqz(key, "rbytes"))
                io->read_bytes = number_of(value);
            else if (str_eqz(key, "wbytes"))
                io->write_bytes = number_of(value);
            else if (str_eqz(key, "rios"))
                io->reads = number_of(value);
            else if (str_eqz(key, "wios"))
                io->writes = number_of(value);
        }
    }
}

void cgroup_io_v1(struct str text, bool operations, struct cgroup_stats *out)
{
    struct str line, device, what;
    while (text.p && str_cut(&text, '\n', &line)) {
        if (!str_cut(&line, ' ', &device) || !str_cut(&line, ' ', &what) || !line.p)
            continue; /* "Total 0" */
        bool read = str_eqz(what, "Read");
        if (!read && !str_eqz(what, "Write"))
            continue;
        struct cgroup_io *io = io_disk(out, device);
        if (io && operations)
            *(read ? &io->reads : &io->writes) += number_of(line);
        else if (io)
            *(read ? &io->read_bytes : &io->write_bytes) += number_of(line);
    }
}

/* --- one group ----------------------------------------------------------------------------------------------- */

struct group_reading {
    const struct cgroups *g;
    const char *path;
    unsigned parts;
    struct cgroup_stats *out;
    char dir[PATH_MOST];
};

static const char *group_dir(struct group_reading *r, int controller)
{
    const struct cgroups *g = r->g;
    (void)snprintf(r->dir, sizeof r->dir, "%s%s", g->mode == CGROUP_V2 ? g->mount[0] : g->mount[controller],
                   strcmp(r->path, "/") == 0 ? "" : r->path);
    return r->dir;
}

static void cpu_v2(struct group_reading *r)
{
    struct cgroup_stats *o = r->out;
    const struct wanted want[] = {
        {"usage_usec", &o->cpu_ns, 1000},           {"user_usec", &o->user_ns, 1000},
        {"system_usec", &o->system_ns, 1000},       {"nr_periods", &o->periods, 1},
        {"nr_throttled", &o->throttled_periods, 1}, {"throttled_usec", &o->throttled_ns, 1000}};
    if (numbers_at(group_dir(r, CG_CPU), "cpu.stat", want, countof(want)))
        o->has |= r->parts & (CGROUP_CPU | CGROUP_CPU_SPLIT | CGROUP_THROTTLE);
}

static void cpu_v1(struct group_reading *r)
{
    struct cgroup_stats *o = r->out;
    const struct wanted want[] = {{"nr_periods", &o->periods, 1},
                                  {"nr_throttled", &o->throttled_periods, 1},
                                  {"throttled_time", &o->throttled_ns, 1}};
    struct small_text t;
    if (r->parts & CGROUP_THROTTLE && numbers_at(group_dir(r, CG_CPU), "cpu.stat", want, countof(want)))
        o->has |= CGROUP_THROTTLE;
    const char *acct = group_dir(r, CG_CPUACCT);
    struct str usage = text_at(acct, "cpuacct.usage", &t);
    if (!usage.p)
        return;
    o->has |= CGROUP_CPU;
    o->cpu_ns = number_of(usage);
    if (r->parts & CGROUP_CPU_SPLIT) {
        o->has |= CGROUP_CPU_SPLIT;
        o->user_ns = MIN(number_at(acct, "cpuacct.usage_user"), o->cpu_ns);
        o->system_ns = o->cpu_ns - o->user_ns; /* which is what cpuacct.usage_sys says, and one file less */
    }
}

/* The root of v2 counts no memory of its own: what is not free is used. */
static void memory_of_machine(struct cgroup_stats *o)
{
    struct small_text t;
    struct str rest = text_at("/proc", "meminfo", &t), line;
    uint64_t total = 0, unused = 0;
    while (rest.p && str_cut(&rest, '\n', &line)) {
        struct str name, value, unit;
        if (!str_split(line, ':', &name, &value))
            continue;
        (void)str_split(str_trim(value), ' ', &value, &unit); /* HugePages_Total has none */
        if (str_eqz(name, "MemTotal"))
            total = number_of(value) * 1024;
        else if (str_eqz(name, "MemFree"))
            unused = number_of(value) * 1024;
    }
    o->memory = total > unused ? total - unused : 0;
}

static void memory_read(struct group_reading *r, bool v2)
{
    struct cgroup_stats *o = r->out;
    uint64_t v1_swap = 0;
    const struct wanted two[] = {
        {"anon", &o->memory_rss, 1},
        {"file", &o->memory_cache, 1},
        {"kernel", &o->memory_kernel, 1},
        {"file_mapped", &o->memory_mapped, 1},
        {"inactive_file", &o->memory_inactive_file, 1},
        {"active_file", &o->memory_active_file, 1},
        {"pgfault", &o->page_faults, 1},
        {"pgmajfault", &o->major_faults, 1},
    };
    const struct wanted one[] = {
        {"total_rss", &o->memory_rss, 1},
        {"total_cache", &o->memory_cache, 1},
        {"total_mapped_file", &o->memory_mapped, 1},
        {"total_swap", &v1_swap, 1},
        {"total_inactive_file", &o->memory_inactive_file, 1},
        {"total_active_file", &o->memory_active_file, 1},
        {"total_pgfault", &o->page_faults, 1},
        {"total_pgmajfault", &o->major_faults, 1},
        {"pgfault", &o->own_page_faults, 1},
        {"pgmajfault", &o->own_major_faults, 1},
    };
    const char *dir = group_dir(r, CG_MEMORY);
    struct small_text t;
    if (!numbers_at(dir, "memory.stat", v2 ? two : one, v2 ? countof(two) : countof(one)))
        return;
    struct str used = text_at(dir, v2 ? "memory.current" : "memory.usage_in_bytes", &t);
    if (used.p)
        o->memory = number_of(used);
    else if (v2)
        memory_of_machine(o);
    if (v2) {
        o->own_page_faults = o->page_faults;
        o->own_major_faults = o->major_faults;
    }
    o->memory_working_set = o->memory > o->memory_inactive_file ? o->memory - o->memory_inactive_file : 0;
    o->swap = v2 ? number_at(dir, "memory.swap.current") : v1_swap;
    o->has |= CGROUP_MEMORY;
}

static void memory_more(struct group_reading *r, bool v2)
{
    struct cgroup_stats *o = r->out;
    const struct wanted events[] = {{"oom_kill", &o->oom_kills, 1}, {"max", &o->memory_failures, 1}};
    const char *dir = group_dir(r, CG_MEMORY);
    if (!numbers_at(dir, v2 ? "memory.events" : "memory.oom_control", events, countof(events)) && !v2)
        return;
    o->memory_peak = number_at(dir, v2 ? "memory.peak" : "memory.max_usage_in_bytes");
    if (!v2) {
        o->memory_failures = number_at(dir, "memory.failcnt");
        o->memory_kernel = number_at(dir, "memory.kmem.usage_in_bytes");
    }
    o->has |= CGROUP_MEMORY_MORE;
}

static void pids_read(struct group_reading *r)
{
    struct small_text t;
    struct str now = text_at(group_dir(r, CG_PIDS), "pids.current", &t);
    if (!now.p)
        return; /* the root has none */
    r->out->pids = number_of(now);
    r->out->has |= CGROUP_PIDS;
}

/* Shares of a weight, as KEP-2254 turns one into the other. */
static uint64_t shares_of(uint64_t weight)
{
    return weight ? 2 + (weight - 1) * 262142 / 9999 : 0;
}

static void memory_limits(struct group_reading *r, bool v2)
{
    struct cgroup_limits *l = &r->out->limits;
    struct small_text t;
    const char *dir = group_dir(r, CG_MEMORY);
    struct str memory = text_at(dir, v2 ? "memory.max" : "memory.limit_in_bytes", &t);
    if (!memory.p)
        return; /* the root of v2 has none */
    r->out->has |= CGROUP_MEMORY_LIMITS;
    l->memory = number_of(memory);
    if (v2) {
        struct str swap = text_at(dir, "memory.swap.max", &t);
        l->swap_limited = swap.p && !str_starts(swap, S("max"));
        l->swap = number_of(swap);
    } else {
        uint64_t both = number_at(dir, "memory.memsw.limit_in_bytes");
        l->swap_limited = both != 0;
        l->swap = both > l->memory ? both - l->memory : 0;
    }
}

static void limits_read(struct group_reading *r, bool v2)
{
    struct cgroup_limits *l = &r->out->limits;
    struct small_text t;
    const char *dir = group_dir(r, CG_CPU);
    if (v2) {
        struct str max = text_at(dir, "cpu.max", &t), quota, period;
        if (max.p && str_split(str_trim(max), ' ', &quota, &period)) {
            l->cpu_quota_us = number_of(quota);
            l->cpu_period_us = number_of(period);
        }
        l->cpu_shares = shares_of(number_at(dir, "cpu.weight"));
    } else {
        l->cpu_quota_us = number_at(dir, "cpu.cfs_quota_us"); /* -1: none */
        l->cpu_period_us = number_at(dir, "cpu.cfs_period_us");
        l->cpu_shares = number_at(dir, "cpu.shares");
    }
    l->memory_soft = number_at(group_dir(r, CG_MEMORY), v2 ? "memory.low" : "memory.soft_limit_in_bytes");
    l->pids = number_at(group_dir(r, CG_PIDS), "pids.max");
    r->out->has |= CGROUP_LIMITS;
}

static void io_read(struct group_reading *r, bool v2)
{
    struct small_text t;
    const char *dir = group_dir(r, CG_BLKIO);
    if (v2) {
        struct str text = text_at(dir, "io.stat", &t);
        cgroup_io_v2(text, r->out);
        r->out->has |= text.p ? CGROUP_IO : 0;
        return;
    }
    struct str text = text_at(dir, "blkio.throttle.io_service_bytes_recursive", &t);
    cgroup_io_v1(text, false, r->out);
    r->out->has |= text.p ? CGROUP_IO : 0;
    if (r->out->nio) /* most groups have read nothing */
        cgroup_io_v1(text_at(dir, "blkio.throttle.io_serviced_recursive", &t), true, r->out);
}

static void pressure_read(struct group_reading *r, bool v2)
{
    static const char *const files[PRESSURES] = {"cpu.pressure", "memory.pressure", "io.pressure"};
    static const char *const machine[PRESSURES] = {"cpu", "memory", "io"};
    bool root = strcmp(r->path, "/") == 0;
    struct small_text t;
    for (int i = 0; i < PRESSURES && (v2 || root); i++)
        if (cgroup_pressure_read(root ? text_at("/proc/pressure", machine[i], &t)
                                      : text_at(group_dir(r, CG_CPU), files[i], &t),
                                 &r->out->pressure[i]))
            r->out->has |= CGROUP_PRESSURE;
}

bool cgroup_stats_of(const struct cgroups *g, const char *path, unsigned parts, struct cgroup_stats *out,
                     struct err *err)
{
    struct group_reading r = {.g = g, .path = path, .parts = parts, .out = out};
    bool v2 = g->mode == CGROUP_V2;
    *out = (struct cgroup_stats){0};
    if (parts & (CGROUP_CPU | CGROUP_CPU_SPLIT | CGROUP_THROTTLE))
        (v2 ? cpu_v2 : cpu_v1)(&r);
    if (parts & CGROUP_MEMORY)
        memory_read(&r, v2);
    if (!out->has) { /* usually all is there: so looked at only where nothing was */
        struct stat st;
        if (stat(group_dir(&r, CG_MEMORY), &st) < 0)
            return err_errno(err, "cgroup %s", r.dir);
    }
    if (parts & CGROUP_MEMORY_MORE)
        memory_more(&r, v2);
    if (parts & CGROUP_PIDS)
        pids_read(&r);
    if (parts & CGROUP_MEMORY_LIMITS)
        memory_limits(&r, v2);
    if (parts & CGROUP_LIMITS)
        limits_read(&r, v2);
    if (parts & CGROUP_IO)
        io_read(&r, v2);
    if (parts & CGROUP_PRESSURE)
        pressure_read(&r, v2);
    return true;
}

bool cgroup_stats(const struct cgroups *g, const char *path, struct cgroup_stats *out, struct err *err)
{
    return cgroup_stats_of(g, path, CGROUP_ALL & ~(CGROUP_IO | CGROUP_PRESSURE), out, err);
}

/* --- who is in it -------------------------------------------------------------------------------------------- */

struct pids_walk {
    size_t left;
    void (*fn)(void *arg, pid_t pid);
    void *arg;
};

static void pids_below(const char *dir, int depth, struct pids_walk *w)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    char path[PATH_MOST + 260];
    (void)snprintf(path, sizeof path, "%s/cgroup.procs", dir);
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (char *room; fd >= 0 && (room = strbuf_room(&b, 4096));) {
        ssize_t n = read(fd, room, 4096);
        if (n <= 0)
            break;
        strbuf_used(&b, (size_t)n);
    }
    struct str rest = strbuf_str(&b), line;
    int64_t pid;
    while (w->left && str_cut(&rest, '\n', &line)) {
        if (!str_to_i64(line, 1, INT32_MAX, &pid))
            continue;
        w->left--;
        w->fn(w->arg, (pid_t)pid);
    }
    struct stat st; /* a leaf has two links: most are */
    if (!w->left || depth == GROUPS_DEEP || stat(dir, &st) < 0 || st.st_nlink <= 2)
        return;
    DIR *d = opendir(dir);
    if (!d)
        return; /* it went meanwhile */
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_type != DT_DIR || e->d_name[0] == '.')
            continue;
        int n = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (n > 0 && (size_t)n < PATH_MOST)
            pids_below(path, depth + 1, w);
    }
    (void)closedir(d);
}

void cgroup_pids_each(const struct cgroups *g, const char *path, size_t most, void (*fn)(void *arg, pid_t pid),
                      void *arg)
{
    struct group_reading r = {.g = g, .path = path};
    struct pids_walk w = {most, fn, arg};
    pids_below(group_dir(&r, g->mode == CGROUP_V2 || g->mount[CG_PIDS][0] ? CG_PIDS : CG_MEMORY), 0, &w);
}
