/* figures_read.c - the measuring of a view: kernel files and netlink, in a job. */
#include "base/clock.h"
#include "node/figures_int.h"
#include "node/node_facts.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/sysinfo.h>

#define OUT_PIECE 32768

static void group_read(struct figures_view *v, struct figures_group *g, unsigned parts)
{
    struct err gone = ERR; /* it ended meanwhile: it is not shown */
    if (!g->path)
        return;
    g->at = clock_mono();
    g->at_real = clock_real();
    g->ok = cgroup_stats_of(&v->cgroups, g->path, parts, &g->s, &gone);
    int64_t window = g->at - g->base.at;
    if (!g->ok || !g->base.at || window <= 0 || g->s.cpu_ns < g->base.cpu_ns)
        return; /* a group of the same name that is another one begins anew */
    g->window = window;
    g->nanocores = (uint64_t)((double)(g->s.cpu_ns - g->base.cpu_ns) * 1e9 / (double)window);
}

/* --- processes ----------------------------------------------------------------------------------------------- */

#define PROCESSES_MOST 2000
#define FILES_MOST     4096

static void process_read(void *arg, pid_t pid)
{
    struct figures_processes *p = arg;
    char path[64], to[16];
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

void figures_view_measure(struct figures_view *v)
{
    machine_read(v);
    group_read(v, &v->machine_group, v->parts);
    group_read(v, &v->all_pods, v->parts);
    group_read(v, &v->self, v->parts);
    v->wants_second = !v->machine_group.window;
    for (size_t i = 0; i < v->npods; i++) {
        struct figures_pod *p = &v->pods[i];
        group_read(v, &p->g, v->parts);
        for (size_t k = 0; k < p->ncontainers; k++) {
            struct figures_container *c = &p->containers[k];
            group_read(v, &c->g, v->parts);
            v->wants_second = v->wants_second || (c->g.ok && !c->g.window && c->age >= NS_PER_S);
            if (v->want_processes && c->g.ok) {
                c->procs.counted = true;
                cgroup_pids_each(&v->cgroups, c->g.path, PROCESSES_MOST, process_read, &c->procs);
            }
        }
    }
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
