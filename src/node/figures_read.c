/* figures_read.c - the measuring of a view: kernel files and netlink, in a job. */
#include "base/clock.h"
#include "base/map.h"
#include "node/figures_int.h"
#include "node/node_facts.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>

#define OUT_PIECE 32768

static void group_read(struct figures_view *v, struct figures_group *g, unsigned parts)
{
    struct err gone = ERR; /* it ended meanwhile: it is not shown */
    if (!g->path || !parts)
        return;
    g->at = clock_mono();
    g->at_real = clock_real();
    /* all that is asked for, or none: what is read anew comes as a whole */
    unsigned known = (LIMITS_ALL & parts & ~g->limits_known) ? 0 : LIMITS_ALL & parts;
    if (known & CGROUP_LIMITS && !g->limits.cpu_quota_us)
        parts &= ~(unsigned)CGROUP_THROTTLE; /* nothing is counted then */
    g->ok = cgroup_stats_of(&v->cgroups, g->path, parts & ~known, &g->s, &gone);
    if (known) {
        g->s.limits = g->limits;
        g->s.has |= known;
    }
    int64_t window = g->at - g->base.at;
    if (!g->ok || !g->base.at || window <= 0 || g->s.cpu_ns < g->base.cpu_ns)
        return; /* a group of the same name that is another one begins anew */
    g->window = window;
    g->nanocores = (uint64_t)((double)(g->s.cpu_ns - g->base.cpu_ns) * 1e9 / (double)window);
}

/* --- processes ----------------------------------------------------------------------------------------------- */

#define PROCESSES_MOST 2000
#define FILES_MOST     4096

/* "Max open files            1024                 1048576              files" */
static uint64_t files_limit(pid_t pid)
{
    char path[64], text[4096];
    (void)snprintf(path, sizeof path, "/proc/%d/limits", (int)pid);
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    struct str all = {text, n < 0 ? 0 : (size_t)n}, what = S("Max open files"), word;
    ptrdiff_t at = str_find(all, what);
    uint64_t limit = 0;
    if (at < 0)
        return 0; /* it has ended */
    all = str_trim(str_sub(all, (size_t)at + what.n, all.n));
    return str_cut(&all, ' ', &word) && str_to_u64(word, UINT64_MAX, &limit) ? limit : 0;
}

static void process_read(void *arg, pid_t pid)
{
    struct figures_processes *p = arg;
    char path[64], to[16];
    if (!p->processes)
        p->files_limit = files_limit(pid);
    p->processes++;
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    if (!d)
        return; /* it has ended */
    uint64_t files = 0;
    for (struct dirent *e; files < FILES_MOST && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        files++;
        ssize_t n = readlinkat(dirfd(d), e->d_name, to, sizeof to);
        p->sockets += n >= 7 && memcmp(to, "socket:", 7) == 0;
    }
    p->files += files;
    (void)closedir(d);
}

/* --- the machine --------------------------------------------------------------------------------------------- */

/* When it was booted: "btime SECONDS" of /proc/stat, which says the same each time. */
static int64_t boot_read(void)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    struct err none = ERR; /* then it is not known */
    struct str rest = file_read(AT_FDCWD, "/proc/stat", &b, &none) ? strbuf_str(&b) : STR_NONE, line, name, value;
    int64_t s = 0;
    while (rest.p && str_cut(&rest, '\n', &line))
        if (str_split(line, ' ', &name, &value) && str_eqz(name, "btime") &&
            str_to_i64(value, 0, INT32_MAX * 4LL, &s))
            return s * NS_PER_S;
    return 0;
}

static void machine_read(struct figures_view *v)
{
    struct figures_machine *m = &v->machine;
    struct sysinfo s;
    m->cpus = sysconf(_SC_NPROCESSORS_ONLN);
    m->memory = node_memory();
    m->pids_most = node_pids();
    m->boot = boot_read();
    if (sysinfo(&s) == 0) {
        m->swap = (int64_t)s.totalswap * s.mem_unit;
        m->processes = s.procs;
    }
}

/* Cores and sockets by what the kernel tells of each CPU's place. */
static void topology_read(struct figures_machine *m)
{
    uint64_t sockets = 0;
    AUTO(map_fini) struct map cores = MAP;
    for (int64_t i = 0; i < m->cpus; i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(256);
        struct err none = ERR; /* a machine that does not tell has one of each */
        char path[120];
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/physical_package_id", (int)i);
        int64_t socket = 0;
        if (file_read(AT_FDCWD, path, &b, &none) && str_to_i64(str_trim(strbuf_str(&b)), 0, 63, &socket))
            sockets |= (uint64_t)1 << socket;
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/core_id", (int)i);
        strbuf_addc(&b, '/');
        if (file_read(AT_FDCWD, path, &b, &none))
            (void)map_put(&cores, strbuf_str(&b), m);
    }
    m->sockets = MAX(__builtin_popcountll(sockets), 1);
    m->cores = map_len(&cores) ? (int64_t)map_len(&cores) : m->cpus;
}

/* "8 0 sda READS MERGED SECTORS MS WRITES MERGED SECTORS MS UNDERWAY MS WEIGHTED ..." */
static bool disk_read(struct str line, struct figures_disk *out)
{
    uint64_t n[13] = {0};
    struct str word;
    for (size_t i = 0; i < 14 && line.p;) {
        if (!str_cut(&line, ' ', &word) || !word.n)
            continue;
        if (i == 2)
            out->name = word;
        else if (!str_to_u64(word, UINT64_MAX, &n[i < 2 ? i : i - 1]))
            return false;
        i++;
    }
    *out = (struct figures_disk){.major = (uint32_t)n[0],
                                 .minor = (uint32_t)n[1],
                                 .name = out->name,
                                 .reads_merged = n[3],
                                 .sectors_read = n[4],
                                 .read_ns = n[5] * NS_PER_MS,
                                 .writes_merged = n[7],
                                 .sectors_written = n[8],
                                 .write_ns = n[9] * NS_PER_MS,
                                 .under_way = n[10],
                                 .busy_ns = n[11] * NS_PER_MS,
                                 .weighted_ns = n[12] * NS_PER_MS};
    return out->name.n > 0;
}

#define DISKS_MOST 256

static void disks_read(struct figures_view *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    struct err none = ERR; /* then no disk is shown */
    struct str rest = file_read(AT_FDCWD, "/proc/diskstats", &b, &none) ? strbuf_str(&b) : STR_NONE, line;
    v->disks = arena_alloc(&v->arena, DISKS_MOST * sizeof *v->disks);
    while (rest.p && v->ndisks < DISKS_MOST && str_cut(&rest, '\n', &line)) {
        struct figures_disk *d = &v->disks[v->ndisks];
        if (!disk_read(str_trim(line), d) || str_starts(d->name, S("loop")) || str_starts(d->name, S("ram")))
            continue;
        d->name = str_dup(&v->arena, d->name);
        v->ndisks++;
    }
}

static void names_read(struct figures_view *v)
{
    struct figures_machine *m = &v->machine;
    struct node_facts f;
    struct stat st;
    node_facts_read(&v->arena, v->data.p, &f);
    m->machine_id = f.machine_id;
    m->boot_id = f.boot_id;
    m->system_uuid = f.system_uuid;
    m->kernel = f.kernel;
    m->os = f.os_image;
    topology_read(m);
    disks_read(v);
    if (stat(v->data.p, &st) == 0) {
        v->fs_major = major(st.st_dev);
        v->fs_minor = minor(st.st_dev);
    }
}

/* "4:memory:/system.slice/wherry.service" on v1, "0::/..." on v2. */
struct str figures_own_group(struct arena *a)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct err none = ERR; /* then there is no such line */
    struct str rest = file_read(AT_FDCWD, "/proc/self/cgroup", &b, &none) ? strbuf_str(&b) : STR_NONE, line;
    struct str best = STR_NONE;
    while (rest.p && str_cut(&rest, '\n', &line)) {
        struct str number, controllers, path;
        if (!str_split(line, ':', &number, &controllers) || !str_split(controllers, ':', &controllers, &path))
            continue;
        if (str_eqz(controllers, "memory") || (!controllers.n && !best.n))
            best = path;
    }
    return best.n > 1 ? str_dup(a, best) : STR_NONE;
}

bool figures_link_is_pods(const struct link_count *l)
{
    return l->loopback || l->ip || str_starts(str_of(l->name), S("veth"));
}

static void links_read(struct figures_view *v)
{
    struct err none = ERR; /* then no network is shown */
    if (!link_counts_read(v->instance, &v->links, &none))
        return;
    for (size_t i = 0; i < v->npods; i++)
        array_each (l, &v->links.links)
            if (l->ip && l->ip == v->pods[i].ip)
                v->pods[i].link = l;
}

static void own_process_read(struct figures_process *out, int64_t started)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096);
    struct err none = ERR; /* /proc is there, or nothing is shown */
    struct figures_processes files = {0};
    struct rusage u;
    out->started = started;
    if (getrusage(RUSAGE_SELF, &u) == 0)
        out->cpu_ns = (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * NS_PER_S +
                      (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000;
    process_read(&files, getpid());
    out->files = files.files;
    out->files_most = files.files_limit;
    if (!file_read(AT_FDCWD, "/proc/self/statm", &b, &none))
        return;
    struct str rest = strbuf_str(&b), size, resident;
    uint64_t pages = 0;
    if (str_cut(&rest, ' ', &size) && str_cut(&rest, ' ', &resident) && str_to_u64(size, UINT64_MAX, &pages)) {
        out->virtual = pages * (uint64_t)sysconf(_SC_PAGESIZE);
        out->resident = str_to_u64(resident, UINT64_MAX, &pages) ? pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
    }
}

void figures_view_measure(struct figures_view *v)
{
    if (v->want_process)
        own_process_read(&v->process, v->self_started);
    if (!v->parts && !v->want_disk)
        return;
    machine_read(v);
    group_read(v, &v->machine_group, v->parts);
    group_read(v, &v->all_pods, v->parts);
    group_read(v, &v->self, v->parts);
    for (int i = 0; i < FIGURES_QOS && v->want_machine; i++)
        group_read(v, &v->qos[i], v->parts);
    v->wants_second = !v->machine_group.window;
    for (size_t i = 0; i < v->npods; i++) {
        struct figures_pod *p = &v->pods[i];
        group_read(v, &p->g, v->parts);
        for (size_t k = 0; k < p->ncontainers; k++) {
            struct figures_container *c = &p->containers[k];
            group_read(v, &c->g, v->parts & ~(v->want_machine ? 0u : (unsigned)CGROUP_PIDS));
            v->wants_second = v->wants_second || (c->g.ok && !c->g.window && c->age >= NS_PER_S);
            if (v->want_processes && c->g.ok) {
                cgroup_pids_each(&v->cgroups, c->g.path, PROCESSES_MOST, process_read, &c->procs);
            }
        }
    }
    if (v->want_machine)
        names_read(v);
    if (v->want_links)
        links_read(v);
    if (v->want_disk) {
        v->disks_read = disk_room_read(v->data.p, &v->fs) && disk_room_read(v->content.p, &v->image_fs);
    }
}

/* --- handing on what is made --------------------------------------------------------------------------------- */

static bool piece_write(struct figures_out *o, struct str piece)
{
    while (piece.n) {
        struct pollfd p = {o->fd, POLLOUT, 0};
        ssize_t n = write(o->fd, piece.p, piece.n);
        if (n < 0 && errno == EAGAIN && poll(&p, 1, FIGURES_WAIT_MS) <= 0)
            return err_set(&o->err, E_TIMEOUT, "who asked for figures does not take them");
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return err_errno(&o->err, "write figures");
        if (n > 0)
            piece = str_sub(piece, (size_t)n, piece.n);
    }
    return true;
}

void figures_flush(struct figures_out *o, bool all)
{
    if (o->fd < 0 || (!all && o->b.n < OUT_PIECE))
        return;
    if (!o->broken)
        o->broken = !piece_write(o, strbuf_str(&o->b));
    strbuf_reset(&o->b);
}
