/* figures_summary.c - /stats/summary: what a kubelet calls stats/v1alpha1 Summary. */
#include "base/clock.h"
#include "node/figures_int.h"
#include "wire/json.h"

/* A member of the object that is being written: a comma before all but the first. (So nothing is handed on before the
 * text is whole: what stands before is looked at. It is some 2 KB a pod.) */
static void member_add(struct strbuf *b, const char *name)
{
    if (b->n && b->p[b->n - 1] != '{')
        strbuf_addc(b, ',');
    strbuf_addf(b, "\"%s\":", name);
}

static void object_begin(struct strbuf *b, const char *name)
{
    member_add(b, name);
    strbuf_addc(b, '{');
}

static void item_begin(struct strbuf *b)
{
    if (b->n && b->p[b->n - 1] != '[')
        strbuf_addc(b, ',');
    strbuf_addc(b, '{');
}

static void text_add(struct strbuf *b, const char *name, struct str text)
{
    member_add(b, name);
    json_add_string(b, text);
}

static void number_add(struct strbuf *b, const char *name, uint64_t n)
{
    member_add(b, name);
    prom_whole(b, n);
}

static void moment_add(struct strbuf *b, const char *name, int64_t real)
{
    member_add(b, name);
    strbuf_addc(b, '"');
    time_add(b, real);
    strbuf_addc(b, '"');
}

static void stall_add(struct strbuf *b, const char *name, const struct cgroup_stall *s)
{
    object_begin(b, name);
    number_add(b, "total", s->total_us);
    member_add(b, "avg10");
    json_add_double(b, s->avg10);
    member_add(b, "avg60");
    json_add_double(b, s->avg60);
    member_add(b, "avg300");
    json_add_double(b, s->avg300);
    strbuf_addc(b, '}');
}

static void psi_add(struct strbuf *b, const struct cgroup_pressure *p)
{
    if (!p->known)
        return;
    object_begin(b, "psi");
    stall_add(b, "full", &p->full);
    stall_add(b, "some", &p->some);
    strbuf_addc(b, '}');
}

static void cpu_add(struct strbuf *b, const struct figures_group *g)
{
    if (!(g->s.has & CGROUP_CPU))
        return;
    object_begin(b, "cpu");
    moment_add(b, "time", g->at_real);
    if (g->window)
        number_add(b, "usageNanoCores", g->nanocores);
    number_add(b, "usageCoreNanoSeconds", g->s.cpu_ns);
    psi_add(b, &g->s.pressure[PRESSURE_CPU]);
    strbuf_addc(b, '}');
}

static void memory_add(struct strbuf *b, const struct figures_group *g, uint64_t limit)
{
    const struct cgroup_stats *s = &g->s;
    if (!(s->has & CGROUP_MEMORY))
        return;
    object_begin(b, "memory");
    moment_add(b, "time", g->at_real);
    if (limit)
        number_add(b, "availableBytes", limit > s->memory_working_set ? limit - s->memory_working_set : 0);
    number_add(b, "usageBytes", s->memory);
    number_add(b, "workingSetBytes", s->memory_working_set);
    number_add(b, "rssBytes", s->memory_rss);
    number_add(b, "pageFaults", s->page_faults);
    number_add(b, "majorPageFaults", s->major_faults);
    psi_add(b, &s->pressure[PRESSURE_MEMORY]);
    strbuf_addc(b, '}');
}

static void io_add(struct strbuf *b, const struct figures_group *g)
{
    if (!g->s.pressure[PRESSURE_IO].known)
        return;
    object_begin(b, "io");
    moment_add(b, "time", g->at_real);
    psi_add(b, &g->s.pressure[PRESSURE_IO]);
    strbuf_addc(b, '}');
}

static void swap_add(struct strbuf *b, const struct figures_group *g, bool limited, uint64_t limit)
{
    if (!(g->s.has & CGROUP_MEMORY))
        return;
    object_begin(b, "swap");
    moment_add(b, "time", g->at_real);
    if (limited)
        number_add(b, "swapAvailableBytes", limit > g->s.swap ? limit - g->s.swap : 0);
    number_add(b, "swapUsageBytes", g->s.swap);
    strbuf_addc(b, '}');
}

/* A part of a file system: what is used of it is the part's, all else that of the whole. */
static void fs_members(struct strbuf *b, int64_t at, const struct disk_room *room, int64_t bytes, int64_t inodes)
{
    moment_add(b, "time", at);
    if (room->capacity) {
        number_add(b, "availableBytes", (uint64_t)room->available);
        number_add(b, "capacityBytes", (uint64_t)room->capacity);
    }
    number_add(b, "usedBytes", (uint64_t)bytes);
    if (room->inodes) {
        number_add(b, "inodesFree", (uint64_t)room->inodes_free);
        number_add(b, "inodes", (uint64_t)room->inodes);
    }
    if (inodes)
        number_add(b, "inodesUsed", (uint64_t)inodes);
}

static void fs_add(struct strbuf *b, const char *name, int64_t at, const struct disk_room *room, int64_t bytes,
                   int64_t inodes)
{
    object_begin(b, name);
    fs_members(b, at, room, bytes, inodes);
    strbuf_addc(b, '}');
}

/* --- networks ------------------------------------------------------------------------------------------------ */

/* turned: as the other end of the pair sees it. */
static void link_members(struct strbuf *b, const char *name, const struct link_count *c, bool turned)
{
    text_add(b, "name", str_of(name));
    number_add(b, "rxBytes", turned ? c->tx_bytes : c->rx_bytes);
    number_add(b, "rxErrors", turned ? c->tx_errors : c->rx_errors);
    number_add(b, "txBytes", turned ? c->rx_bytes : c->tx_bytes);
    number_add(b, "txErrors", turned ? c->rx_errors : c->tx_errors);
}

static void pod_network_add(struct strbuf *b, const struct figures_pod *p)
{
    if (!p->link)
        return;
    object_begin(b, "network");
    moment_add(b, "time", p->g.at_real);
    link_members(b, "eth0", p->link, true);
    strbuf_addz(b, ",\"interfaces\":[");
    item_begin(b);
    link_members(b, "eth0", p->link, true);
    strbuf_addz(b, "}]}");
}

static void node_network_add(struct strbuf *b, const struct figures_view *v)
{
    if (!v->links.links.n)
        return;
    object_begin(b, "network");
    moment_add(b, "time", v->machine_group.at_real);
    array_each (l, &v->links.links)
        if (strcmp(l->name, "eth0") == 0) /* a kubelet's default interface */
            link_members(b, l->name, l, false);
    member_add(b, "interfaces");
    strbuf_addc(b, '[');
    array_each (l, &v->links.links) {
        if (figures_link_is_pods(l))
            continue;
        item_begin(b);
        link_members(b, l->name, l, false);
        strbuf_addc(b, '}');
    }
    strbuf_addz(b, "]}");
}

/* --- pods ---------------------------------------------------------------------------------------------------- */

static void container_add(struct strbuf *b, const struct figures_view *v, const struct figures_pod *p,
                          const struct figures_container *c, bool brief)
{
    item_begin(b);
    text_add(b, "name", c->name);
    moment_add(b, "startTime", c->started);
    cpu_add(b, &c->g);
    memory_add(b, &c->g, c->g.s.limits.memory);
    if (!brief)
        io_add(b, &c->g);
    if (!brief && p->disk_known) {
        fs_add(b, "rootfs", p->disk_at, &v->image_fs, c->rootfs.bytes, c->rootfs.inodes);
        fs_add(b, "logs", p->disk_at, &v->fs, c->logs.bytes, c->logs.inodes);
    }
    swap_add(b, &c->g, c->g.s.limits.swap_limited, c->g.s.limits.swap);
    strbuf_addc(b, '}');
}

static void volumes_add(struct strbuf *b, const struct figures_pod *p)
{
    if (!p->nvolumes)
        return;
    member_add(b, "volume");
    strbuf_addc(b, '[');
    for (size_t i = 0; i < p->nvolumes; i++) {
        const struct figures_volume *w = &p->volumes[i];
        item_begin(b);
        fs_members(b, w->part.mounted ? p->mounts_at : p->disk_at, &w->part.room, w->part.bytes, w->part.inodes);
        text_add(b, "name", w->part.name);
        if (w->claim.n) {
            object_begin(b, "pvcRef");
            text_add(b, "name", w->claim);
            text_add(b, "namespace", p->ns);
            strbuf_addc(b, '}');
        }
        if (w->part.sick_known) {
            object_begin(b, "volumeHealthStats");
            member_add(b, "abnormal");
            strbuf_addz(b, w->part.sick ? "true" : "false");
            strbuf_addc(b, '}');
        }
        strbuf_addc(b, '}');
    }
    strbuf_addc(b, ']');
}

static void ephemeral_add(struct strbuf *b, const struct figures_view *v, const struct figures_pod *p)
{
    int64_t bytes = p->other_logs, inodes = 0;
    if (!p->disk_known)
        return;
    for (size_t i = 0; i < p->ncontainers; i++) {
        bytes += p->containers[i].rootfs.bytes + p->containers[i].logs.bytes;
        inodes += p->containers[i].rootfs.inodes + p->containers[i].logs.inodes;
    }
    for (size_t i = 0; i < p->nvolumes; i++) {
        bytes += p->volumes[i].part.local ? p->volumes[i].part.bytes : 0;
        inodes += p->volumes[i].part.local ? p->volumes[i].part.inodes : 0;
    }
    fs_add(b, "ephemeral-storage", p->disk_at, &v->fs, bytes, inodes);
}

static void pod_add(struct strbuf *b, const struct figures_view *v, const struct figures_pod *p, bool brief)
{
    item_begin(b);
    object_begin(b, "podRef");
    text_add(b, "name", p->name);
    text_add(b, "namespace", p->ns);
    text_add(b, "uid", p->uid);
    strbuf_addc(b, '}');
    moment_add(b, "startTime", p->started);
    member_add(b, "containers");
    strbuf_addc(b, '[');
    for (size_t i = 0; i < p->ncontainers; i++)
        if (p->containers[i].g.ok)
            container_add(b, v, p, &p->containers[i], brief);
    strbuf_addc(b, ']');
    cpu_add(b, &p->g);
    memory_add(b, &p->g, p->g.s.limits.memory);
    if (!brief) {
        io_add(b, &p->g);
        pod_network_add(b, p);
        volumes_add(b, p);
        ephemeral_add(b, v, p);
        if (p->g.s.has & CGROUP_PIDS) {
            object_begin(b, "process_stats");
            number_add(b, "process_count", p->g.s.pids);
            strbuf_addc(b, '}');
        }
    }
    swap_add(b, &p->g, p->g.s.limits.swap_limited, p->g.s.limits.swap);
    strbuf_addc(b, '}');
}

/* --- the node ------------------------------------------------------------------------------------------------ */

static void system_container_add(struct strbuf *b, const char *name, const struct figures_group *g, int64_t started,
                                 uint64_t limit)
{
    if (!g->ok)
        return;
    item_begin(b);
    text_add(b, "name", str_of(name));
    moment_add(b, "startTime", started);
    cpu_add(b, g);
    memory_add(b, g, limit);
    swap_add(b, g, g->s.limits.swap_limited, g->s.limits.swap);
    strbuf_addc(b, '}');
}

static void node_add(struct strbuf *b, const struct figures_view *v, bool brief)
{
    const struct figures_machine *m = &v->machine;
    object_begin(b, "node");
    text_add(b, "nodeName", v->node);
    member_add(b, "systemContainers");
    strbuf_addc(b, '[');
    system_container_add(b, "kubelet", &v->self, v->self_started, v->self.s.limits.memory);
    system_container_add(b, "pods", &v->all_pods, v->machine.boot,
                         v->all_pods.s.limits.memory ? v->all_pods.s.limits.memory : (uint64_t)m->memory);
    strbuf_addc(b, ']');
    moment_add(b, "startTime", m->boot);
    cpu_add(b, &v->machine_group);
    memory_add(b, &v->machine_group, (uint64_t)m->memory);
    if (!brief) {
        io_add(b, &v->machine_group);
        node_network_add(b, v);
        fs_add(b, "fs", v->now_real, &v->fs, v->fs.used, v->fs.inodes_used);
        object_begin(b, "runtime");
        fs_add(b, "imageFs", v->now_real, &v->image_fs, v->image_bytes, 0);
        fs_add(b, "containerFs", v->now_real, &v->fs, v->containers_bytes, 0);
        strbuf_addc(b, '}');
        object_begin(b, "rlimit");
        moment_add(b, "time", v->now_real);
        number_add(b, "maxpid", (uint64_t)m->pids_most);
        number_add(b, "curproc", (uint64_t)m->processes);
        strbuf_addc(b, '}');
    }
    swap_add(b, &v->machine_group, true, (uint64_t)m->swap);
    strbuf_addc(b, '}');
}

void figures_summary_text(const struct figures_view *v, bool brief, struct figures_out *o)
{
    struct strbuf *b = &o->b;
    strbuf_addc(b, '{');
    node_add(b, v, brief);
    member_add(b, "pods");
    strbuf_addc(b, '[');
    for (size_t i = 0; i < v->npods; i++)
        pod_add(b, v, &v->pods[i], brief);
    strbuf_addz(b, "]}");
}
