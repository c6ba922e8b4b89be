#include "base/clock.h"
#include "base/log.h"
#include "node/agent_int.h"
#include "node/csi.h"
#include "node/fences.h"
#include "node/shutdown.h"
#include "node/static_pods.h"
#include "node/volume_mount.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* --- what an earlier agent left running ------------------------------------------------------------------------- */

/* Its program has been started, as far as anybody was told. */
static bool has_run(const struct container_status *st)
{
    return st->state == CONTAINER_RUNNING || (st->state == CONTAINER_EXITED && (!st->lost || st->started_ns));
}

/* The agent ended in the midst of making it where nothing has run in it and no status speaks of its address: then its
 * link or its mounts may be missing, and it is made again. */
static bool half_made(struct agent_pod *ap, struct sandbox *s)
{
    for (struct container *c = container_next(s, NULL); c; c = container_next(s, c)) {
        struct container_status st;
        container_status(c, &st);
        if (has_run(&st))
            return false;
    }
    struct str told = val_text_at(obj_status(ap->pod->obj), N(podIP));
    return ap->pod->host_network ? !told.n : !ap->ip || !str_eqz(told, agent_ip(ap).z);
}

/* Which container of the pod it is a run of, and of what number; -1: of none. */
static int run_of(const struct pod *p, const struct container *c, int64_t *number)
{
    struct str name, count;
    (void)str_split(container_note(c), ' ', &name, &count);
    int i = pod_container_find(p, name);
    return i >= 0 && str_to_i64(count, 0, INT32_MAX, number) ? i : -1;
}

void agent_drop_told(struct agent_pod *ap)
{
    array_each (p, &ap->containers) {
        int64_t number;
        struct agent_container *ac = *p;
        if (ac->earlier && run_of(ap->pod, ac->earlier, &number) >= 0 &&
            val_num_at(pod_container_told(ap->pod, ac->index), -1, N(restartCount)) > number)
            agent_drop_earlier(ac);
    }
}

/* Its latest run that anybody was told of, and the one before, where the agent ended before that was put away. */
static void find_runs(struct agent_pod *ap, struct sandbox *s)
{
    for (struct container *c = container_next(s, NULL); c; c = container_next(s, c)) {
        struct container_status st;
        int64_t number, other = -1;
        container_status(c, &st);
        int i = run_of(ap->pod, c, &number);
        struct agent_container *ac = i >= 0 ? ap->containers.p[i] : NULL;
        if (!ac || !has_run(&st)) {
            container_remove(c, agent_run_removed, NULL);
            continue;
        }
        if (ac->run)
            (void)run_of(ap->pod, ac->run, &other);
        struct container *older = number > other ? ac->run : c;
        if (number > other)
            ac->run = c;
        if (older) {
            agent_drop_earlier(ac);
            ac->earlier = older;
        }
    }
}

/* Where no resize was under way the groups are as they should be; where one was, they are read. */
static void force_recall(struct agent_pod *ap, int c)
{
    struct cgroup_bounds bounds = pod_bounds(ap->pod, c);
    if (!ap->pod->resize.in_progress)
        pod_saw_force(ap->facts, c, &bounds);
}

static void adopt_container(struct agent_container *ac)
{
    const struct pod *p = ac->ap->pod;
    struct pod *facts = ac->ap->facts;
    struct container_status st;
    int64_t number = 0;
    if (ac->earlier) { /* maybe nobody was told how it ended */
        container_status(ac->earlier, &st);
        pod_saw_earlier_exit(facts, ac->index, container_id(ac->earlier), st.code, st.oom, st.started_ns,
                             st.finished_ns);
    }
    (void)run_of(p, ac->run, &number);
    container_status(ac->run, &st);
    container_data_set(ac->run, ac);
    pod_saw_adopted_run(facts, ac->index, container_id(ac->run), number, st.started_ns, clock_mono());
    force_recall(ac->ap, ac->index);
    if (st.state == CONTAINER_EXITED)
        agent_container_exited(ac, WORDS_AT_ONCE);
    else
        probes_start(ac);
}

static void adopt_running(struct agent_pod *ap, struct sandbox *s, uint32_t ip)
{
    ap->sandbox = s;
    sandbox_data_set(s, ap);
    ap->ip = ip;
    if (half_made(ap, s)) {
        ap->ip = 0;
        pod_saw_half_made(ap->facts, clock_real(), clock_mono());
        return;
    }
    bool cut_off = !ap->ip && !ap->pod->host_network; /* its link went with its shim, or somebody took it away */
    if (ap->ip)
        services_host_ports(ap, true);
    timer_set(&ap->usage, USAGE_FIRST);
    pod_saw_adopted(ap->facts, str_of(ap->ip ? agent_ip(ap).z : ap->agent->cfg.host_ip));
    force_recall(ap, -1);
    find_runs(ap, s);
    array_each (ac, &ap->containers) {
        if ((*ac)->run)
            adopt_container(*ac);
        else
            (void)pod_saw_missing(ap->facts, (*ac)->index, clock_real());
    }
    if (cut_off)
        pod_saw_cut_off(ap->facts, clock_real(), clock_mono());
    else if (sandbox_lost(s))
        pod_saw_sandbox_lost(ap->facts, clock_real(), clock_mono());
}

/* --- and what it left behind ------------------------------------------------------------------------------------ */

/* Folders of pods that are gone: their volumes, their logs, and links to logs. One job lists what there is, the loop
 * says which of it is nobody's, and another job removes that. A pod that comes in between is known by then, and one
 * that goes has no folders. */
#define MOUNTS 3 /* of `bases`: what lies there is mounted */
#define CLAIMS 4

struct adopt_found {
    struct str path, uid;
    bool mounts;
};
struct adopt_sweep {
    struct job job;
    struct agent *agent;
    struct arena arena;
    int64_t began;       /* real ns; links that are younger are of containers that are just being started */
    struct str bases[5]; /* folders in them are called "...UID"; claims on images "pod_UID" */
    const char *links;
    ARRAY(struct adopt_found) found;
};

static void list_work(struct job *j)
{
    struct adopt_sweep *w = container_of(j, struct adopt_sweep, job);
    for (size_t i = 0; i < countof(w->bases); i++) {
        DIR *dir = opendir(w->bases[i].p);
        for (struct dirent *e; dir && (e = readdir(dir));) {
            struct str name = str_dup(&w->arena, str_of(e->d_name));
            struct str uid = str_sub(name, (size_t)(str_rfind_char(name, '_') + 1), name.n);
            struct str path = arena_fmt(&w->arena, STR_FMT "/%s", STR_ARG(w->bases[i]), e->d_name);
            if (name.p[0] != '.' && (i != CLAIMS || str_starts(name, S("pod_"))))
                array_push(&w->found, ((struct adopt_found){path, uid, i == MOUNTS}));
        }
        if (dir)
            (void)closedir(dir);
    }
}

static void sweep_work(struct job *j)
{
    struct adopt_sweep *w = container_of(j, struct adopt_sweep, job);
    struct err err = ERR;
    array_each (f, &w->found)
        if (!(f->mounts ? volume_mounts_remove(f->path.p, &err) : tree_remove(AT_FDCWD, f->path.p, &err)))
            log_warn("pod.leftover", "error=\"%s\"", err.text);
    DIR *dir = opendir(w->links);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct stat st;
        bool old = fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                   st.st_mtim.tv_sec < w->began / NS_PER_S;
        if (old && faccessat(dirfd(dir), e->d_name, F_OK, 0) < 0 && errno == ENOENT)
            (void)unlinkat(dirfd(dir), e->d_name, 0); /* a link that leads nowhere; it is looked at again */
    }
    if (dir)
        (void)closedir(dir);
}

static void sweep_done(struct job *j)
{
    struct adopt_sweep *w = container_of(j, struct adopt_sweep, job);
    array_fini(&w->found);
    arena_fini(&w->arena);
    mem_free(w);
}

static void list_done(struct job *j)
{
    struct adopt_sweep *w = container_of(j, struct adopt_sweep, job);
    for (size_t i = 0; i < w->found.n;)
        if (agent_pod_of(w->agent, w->found.p[i].uid))
            array_del(&w->found, i);
        else
            i++;
    agent_job_long(w->agent, &w->job, sweep_work, sweep_done);
}

static void leftovers_sweep(struct agent *g)
{
    struct adopt_sweep *w = NEW(struct adopt_sweep);
    w->agent = g;
    w->began = g->began;
    w->bases[0] = arena_fmt(&w->arena, "%s/pods", g->cfg.data);
    w->bases[1] = arena_fmt(&w->arena, "%s/volumes", g->cfg.run);
    w->bases[2] = arena_fmt(&w->arena, "%s/pods", g->cfg.log);
    w->bases[MOUNTS] = arena_fmt(&w->arena, "%s/mounts", g->cfg.run);
    w->bases[CLAIMS] = arena_fmt(&w->arena, "%s/uses", g->cfg.content);
    w->links = arena_fmt(&w->arena, "%s/containers", g->cfg.log).p;
    job_start(&w->job, g->cfg.loop, list_work, list_done);
}

static void orphan_stopped(struct sandbox *s, const struct err *err, void *arg)
{
    struct agent *g = arg;
    if (err)
        log_warn("pod.orphan", "pod=" STR_FMT " error=\"%s\"", STR_ARG(sandbox_name(s)), err->text);
    if (--g->orphans == 0)
        leftovers_sweep(g);
}

static void adopt_sandbox(struct agent *g, struct sandbox *s, const struct pod_links *links)
{
    struct agent_pod *ap = agent_pod_of(g, sandbox_id(s));
    uint32_t ip = 0;
    if (!ap) {
        log_info("pod.orphan", "pod=" STR_FMT " its object is gone: stopping it", STR_ARG(sandbox_name(s)));
        g->orphans++;
        sandbox_stop(s, orphan_stopped, g);
        return;
    }
    array_each (l, &links->links)
        if (!ap->pod->host_network && str_ends(str_of(l->alias), ap->pod->uid))
            ip = l->ip;
    adopt_running(ap, s, ip);
}

/* Links of pods that are gone or will be made again: their addresses are free. */
static void drop_links(struct agent *g, const struct pod_links *links)
{
    struct err err = ERR;
    array_each (l, &links->links) {
        bool wanted = false;
        map_each (e, &g->by_uid)
            wanted = wanted || ((struct agent_pod *)e->value)->ip == l->ip;
        if (wanted)
            continue;
        if (pod_link_del(g->cfg.instance, l->ip, &err))
            ipam_give_back(&g->ipam, l->ip);
        else
            log_warn("net.links", "link=%s error=\"%s\"", l->name, err.text);
    }
}

/* Pods are looked at when all of them are known (else those not heard of yet would be taken for orphans), and
 * Services are: one that is to be stopped leaves them first. */
void agent_heard(struct agent *g)
{
    if (g->adopted || !cache_synced(g->pods) || !services_synced(g->endpoints))
        return;
    struct pod_links links = {0};
    struct err err = ERR;
    statics_begin(g->statics); /* after this what runs has an object, or is nobody's */
    g->adopted = true;
    if (!pod_link_list(g->cfg.instance, &links, &err))
        log_warn("net.links", "error=\"%s\"", err.text);
    g->orphans++; /* ours, until all have been looked at */
    map_each (e, &g->by_uid)
        pod_saw_unknown(((struct agent_pod *)e->value)->facts);
    for (struct sandbox *s = sandbox_next(g->runtime, NULL), *next; s; s = next) {
        next = sandbox_next(g->runtime, s);
        adopt_sandbox(g, s, &links);
    }
    drop_links(g, &links);
    array_fini(&links.links);
    map_each (e, &g->by_uid) {
        struct agent_pod *ap = e->value;
        if (!ap->sandbox) /* never made yet, or the machine rebooted */
            pod_saw_rebooted(ap->facts, clock_real(), clock_mono());
        ap->admitted = agent_was_admitted(ap);
        agent_pod_kick(ap);
    }
    map_each (e, &g->by_uid)
        agent_admit(e->value);
    csi_pods_heard(g->csi);
    shutdown_look(g->shutdown);
    qos_news(g->qos);
    timer_set(&g->resizes, 0); /* one may have waited while nobody was here */
    pressure_start(g->pressure);
    agent_fences_heard(g->fences);
    if (--g->orphans == 0)
        leftovers_sweep(g);
}
