/* The node defends itself: looks at what is left, tells it as conditions, and where something is short lets go of
 * what nobody needs, then of one pod at a time (kubelet: eviction manager). What is decided stands in
 * pressure_plan.h.
 *
 *   timer, PSI ---> look (a job) ---> pressure_decide ---> conditions, events
 *                     ^                    | something is to go
 *                     |                    v
 *                     |   of a disk: logs of pods that have ended, images --> look again
 *                     |                    | it was not enough
 *                     |                    v
 *                     +--- it has ended <- who goes? (their disk use is counted first, if it is about that)
 *
 * Nothing polls: the kernel tells when tasks wait for memory (PSI), and the timer's distance follows from what is
 * left and how fast it went. */
#include "node/pressure.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "node/agent_int.h"
#include "node/disk_use.h"
#include "node/image_gc_plan.h"
#include "node/pressure_plan.h"
#include "node/pressure_sample.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>

#define STALL        "some 50000 1000000" /* tasks have waited for memory for 50 ms of the last second */
#define CLEANUP_MOST (30 * NS_PER_S)      /* a victim that has not ended by then is not waited for */
#define TELL_MOST    (2 * NS_PER_S)       /* so long the first victim of a disk waits for the taint to be there */
#define TELL_LOOK    (50 * NS_PER_MS)
#define NOBODY_AGAIN (10 * NS_PER_S)
#define IMAGES_EVERY (300 * NS_PER_S)
#define DISK_FRESH   (2 * NS_PER_S)

enum pressure_doing {
    DOING_NOTHING,
    DOING_RECLAIM, /* what nobody needs goes */
    DOING_COUNT,   /* pods' disks are being counted */
    DOING_EVICT,   /* a pod is on its way out */
};
struct pressure {
    struct agent *agent;
    struct pressure_state state;
    struct pressure_decision decision;
    struct pressure_sample samples[PRESSURE_SIGNALS], before[PRESSURE_SIGNALS];
    int64_t looked_at;
    bool image_disk; /* images lie on a disk of their own */
    bool looking, reclaimed, halted;
    struct timer timer;
    struct poll stall;
    int stall_fd;
    enum pressure_doing doing;
    int counts; /* of disks, under way */
    struct agent_pod *victim;
    int64_t victim_most; /* mono */
    int64_t images_at;   /* mono, when images were last images_collected for want of space; 0: never */
    int64_t told_since;  /* mono, since when there are conditions; 0: there are none */
    struct {
        const char *signal;
        int64_t n;
    } evictions[PRESSURE_SIGNALS + 3];
};

static void look_start(struct pressure *p);

/* --- what is told --------------------------------------------------------------------------------------------- */

static const struct obj *own_node(const struct pressure *p)
{
    return cache_peek(p->agent->nodes, S(""), str_of(p->agent->cfg.name));
}

static void node_tell(struct pressure *p, bool warning, const char *reason, struct str message)
{
    const struct obj *node = own_node(p);
    if (node) /* who has no Node yet has nobody to tell */
        events_record(p->agent->events, node, S(""), warning ? "Warning" : "Normal", reason, NULL, message);
}

static void conditions_tell(struct pressure *p, unsigned was, unsigned now)
{
    static const char *const words[PRESSURE_CONDITIONS][2] = {
        {"NodeHasSufficientMemory", "NodeHasInsufficientMemory"},
        {"NodeHasNoDiskPressure", "NodeHasDiskPressure"},
        {"NodeHasSufficientPID", "NodeHasInsufficientPID"},
    };
    AUTO(arena_fini) struct arena a = ARENA;
    for (int k = 0; k < PRESSURE_CONDITIONS; k++) {
        bool is = now >> k & 1;
        if ((was >> k & 1) == is)
            continue;
        log_info("node.pressure", "condition=%s status=%s", pressure_condition_name(1U << k), is ? "True" : "False");
        node_tell(p, false, words[k][is],
                  arena_fmt(&a, "Node %s status is now: %s", p->agent->cfg.name, words[k][is]));
    }
    if (!now)
        p->told_since = 0;
    else if (!p->told_since)
        p->told_since = clock_mono();
    node_object_news(p->agent->node);
}

unsigned pressure_conditions(const struct pressure *p)
{
    return p ? p->state.conditions : 0;
}

void pressure_restore(struct pressure *p, const struct obj *node)
{
    for (int k = 0; k < PRESSURE_CONDITIONS; k++) {
        const char *type = pressure_condition_name(1U << k);
        const struct val *c = val_find(val_get(obj_status(node), N(conditions)), N(type), str_of(type));
        if (!str_eqz(val_text_at(c, N(status)), "True") || p->state.seen_at[k])
            continue;
        p->state.seen_at[k] = clock_mono();
        p->state.conditions |= 1U << k;
    }
}

void pressure_counts(const struct pressure *p, struct strbuf *out)
{
    for (size_t i = 0; p && i < countof(p->evictions) && p->evictions[i].signal; i++)
        strbuf_addf(out, "kubelet_evictions{eviction_signal=\"%s\"} %lld\n", p->evictions[i].signal,
                    (long long)p->evictions[i].n);
}

static void count_eviction(struct pressure *p, const char *signal)
{
    for (size_t i = 0; p && i < countof(p->evictions); i++) {
        if (p->evictions[i].signal && strcmp(p->evictions[i].signal, signal) != 0)
            continue;
        p->evictions[i].signal = signal;
        p->evictions[i].n++;
        return;
    }
}

bool pressure_evict(struct agent_pod *ap, const char *signal, struct str message, int64_t grace_s, bool disrupted)
{
    if (pressure_spares(ap->pod->obj)) {
        log_warn("pod.evict", "pod=" NAMED_FMT " signal=%s cannot evict a critical pod", NAMED_ARG(ap->pod), signal);
        return false;
    }
    log_info("pod.evict", "pod=" NAMED_FMT " signal=%s", NAMED_ARG(ap->pod), signal);
    fault_pass("node.before.evict");
    agent_event(ap, -1, true, "Evicted", message);
    pod_evict(ap->facts, message, grace_s, disrupted, clock_mono());
    count_eviction(ap->agent->pressure, signal);
    agent_pod_kick(ap);
    return true;
}

/* --- when to look --------------------------------------------------------------------------------------------- */

static void look_in(struct pressure *p, int64_t delay)
{
    timer_set(&p->timer, delay);
}

/* Nothing is to be done now. */
static void look_later(struct pressure *p)
{
    int64_t now = clock_mono();
    int64_t pause = pressure_pause(p->agent->cfg.pressure, p->samples, p->before,
                                   p->looked_at ? now - p->looked_at : 0);
    p->doing = DOING_NOTHING;
    if (p->decision.wake_at)
        pause = MIN(pause, MAX(p->decision.wake_at - now, 0));
    look_in(p, pause);
}

static void on_timer(struct timer *t)
{
    struct pressure *p = container_of(t, struct pressure, timer);
    if (p->doing == DOING_EVICT) {
        log_warn("pod.evict", "pod=" NAMED_FMT " has not ended in time: looking again", NAMED_ARG(p->victim->pod));
        p->victim = NULL;
        p->doing = DOING_NOTHING;
    }
    look_start(p);
}

static void on_stall(struct poll *x, int ready)
{
    struct pressure *p = container_of(x, struct pressure, stall);
    (void)ready;
    if (p->doing == DOING_NOTHING)
        look_start(p);
}

/* Where the kernel has no PSI the timer alone is there. */
static void stall_watch(struct pressure *p)
{
    p->stall_fd = open("/proc/pressure/memory", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (p->stall_fd >= 0 && write(p->stall_fd, STALL, sizeof STALL) < 0) {
        log_debug("node.pressure", "stalls cannot be watched: error=\"%s\"", strerror(errno));
        fd_close(p->stall_fd);
        p->stall_fd = -1;
    }
    if (p->stall_fd < 0)
        return;
    poll_init(&p->stall, p->agent->cfg.loop, p->stall_fd, on_stall);
    poll_want(&p->stall, POLL_URGENT);
}

/* --- a pod has to go ------------------------------------------------------------------------------------------ */

static bool is_candidate(const struct agent_pod *ap)
{
    return ap->admitted && !ap->dead && !ap->pod->rejected && ap->pod->state < POD_CLEANING && ap->sandbox;
}

static void memory_measure(struct arena *a, struct pressure_pod *x)
{
    struct agent_pod *ap = x->data;
    struct cgroup_stats s;
    struct err gone = ERR; /* it ends just now: it is not known what it has, and goes first, which costs nobody */
    x->known = sandbox_stats(ap->sandbox, &s, &gone);
    if (!x->known)
        return;
    x->memory = (int64_t)s.memory_working_set;
    x->pids = (int64_t)s.pids;
    x->containers = arena_alloc(a, (ap->containers.n + 1) * sizeof *x->containers);
}

/* Of the one that goes, for what is said of it. */
static void containers_measure(struct pressure_pod *x)
{
    struct agent_pod *ap = x->data;
    array_each (ac, &ap->containers) {
        struct cgroup_stats s;
        struct err gone = ERR; /* it has ended: nothing is said of it */
        if ((*ac)->run && x->containers && container_stats((*ac)->run, &s, &gone))
            x->containers[x->ncontainers++] = (struct pressure_container){
                .name = agent_wanted(*ac)->name, .memory_known = true, .memory = (int64_t)s.memory_working_set};
    }
}

static struct pressure_container *container_at(struct pressure_pod *x, struct str name)
{
    for (size_t i = 0; i < x->ncontainers; i++)
        if (str_eq(x->containers[i].name, name))
            return &x->containers[i];
    x->containers[x->ncontainers] = (struct pressure_container){.name = name};
    return &x->containers[x->ncontainers++];
}

static void disk_measure(struct arena *a, struct pressure_pod *x)
{
    const struct disk_use *use = disk_use_last(x->data);
    x->known = use != NULL;
    if (!use)
        return;
    x->containers = arena_alloc(a, (use->parts.n + 1) * sizeof *x->containers);
    array_each (part, &use->parts) {
        int64_t bytes = part->hidden ? INT64_MAX / 1024 : part->bytes;
        if (part->what == DISK_VOLUME && part->local) {
            x->volumes.bytes += bytes;
            x->volumes.inodes += part->inodes;
        } else if (part->what != DISK_VOLUME) {
            struct pressure_container *c = container_at(x, part->name);
            struct pressure_space *to = part->what == DISK_ROOTFS ? &c->rootfs : &c->logs;
            c->disk_known = true;
            to->bytes += bytes;
            to->inodes += part->inodes;
        }
    }
}

static const struct pressure_threshold *threshold_of(const struct pressure *p)
{
    return &p->agent->cfg.pressure->list[p->decision.reclaim];
}

static bool is_about_disk(const struct pressure *p)
{
    return pressure_condition(threshold_of(p)->signal) == PRESSURE_ON_DISK;
}

static bool victim_take(struct pressure *p, struct arena *a, struct pressure_pod *x)
{
    struct agent_pod *ap = x->data;
    const struct pressure_threshold *t = threshold_of(p);
    if (!is_about_disk(p))
        containers_measure(x);
    struct str message = pressure_message(a, p->agent->cfg.pressure, &p->decision, p->samples, x);
    if (!pressure_evict(ap, pressure_signal_name(t->signal), message,
                        t->grace_ns ? p->agent->cfg.pressure->grace_most_s : 1, true))
        return false;
    p->victim = ap;
    p->doing = DOING_EVICT;
    look_in(p, CLEANUP_MOST);
    return true;
}

static void victim_choose(struct pressure *p)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct agent *g = p->agent;
    struct pressure_pod *pods = arena_alloc(&a, (map_len(&g->by_uid) + 1) * sizeof *pods);
    size_t n = 0;
    map_each (e, &g->by_uid) {
        struct agent_pod *ap = e->value;
        if (!is_candidate(ap))
            continue;
        struct pressure_pod *x = &pods[n++];
        *x = (struct pressure_pod){.pod = ap->pod->obj, .data = ap};
        is_about_disk(p) ? disk_measure(&a, x) : memory_measure(&a, x);
    }
    pressure_rank(pods, n, threshold_of(p)->signal, p->image_disk);
    for (size_t i = 0; i < n; i++)
        if (victim_take(p, &a, &pods[i]))
            return;
    log_warn("pod.evict", "signal=%s unable to evict any pods from the node",
             pressure_signal_name(threshold_of(p)->signal));
    p->doing = DOING_NOTHING;
    look_in(p, NOBODY_AGAIN);
}

static void on_counted(void *arg, struct agent_pod *ap, const struct disk_use *use)
{
    struct pressure *p = arg;
    (void)ap, (void)use; /* it is kept, and read when all are there */
    if (--p->counts == 0 && !p->halted)
        victim_choose(p);
}

/* The scheduler is to know before a pod goes, or it would send the next one here at once. Memory goes too fast for
 * that. */
static bool taint_awaited(const struct pressure *p)
{
    static const char *const keys[PRESSURE_CONDITIONS] = {"", "node.kubernetes.io/disk-pressure",
                                                          "node.kubernetes.io/pid-pressure"};
    const struct obj *node = own_node(p);
    unsigned one = pressure_condition(threshold_of(p)->signal);
    if (one == PRESSURE_ON_MEMORY || !node || clock_mono() - p->told_since > TELL_MOST)
        return false;
    const char *key = keys[one == PRESSURE_ON_DISK ? 1 : 2];
    return !val_find(val_get(obj_spec(node), N(taints)), N(key), str_of(key));
}

static void victim_seek(struct pressure *p)
{
    struct agent *g = p->agent;
    if (taint_awaited(p)) {
        p->doing = DOING_NOTHING;
        p->reclaimed = true; /* that has been done */
        look_in(p, TELL_LOOK);
        return;
    }
    if (!is_about_disk(p)) {
        victim_choose(p);
        return;
    }
    p->doing = DOING_COUNT;
    p->counts = 1;
    map_each (e, &g->by_uid) {
        struct agent_pod *ap = e->value;
        if (!is_candidate(ap))
            continue;
        p->counts++;
        disk_use_ask(ap, DISK_FRESH, on_counted, p);
    }
    on_counted(p, NULL, NULL);
}

void pressure_pod_ended(struct agent_pod *ap)
{
    struct pressure *p = ap->agent->pressure;
    if (!p || p->victim != ap)
        return;
    p->victim = NULL;
    p->doing = DOING_NOTHING;
    look_in(p, 0);
}

/* --- what nobody needs goes first ----------------------------------------------------------------------------- */

/* Logs of pods that have ended: nothing else of them is left, and nothing of earlier runs of a container. */
struct dead_logs {
    struct job job;
    struct pressure *p;
    struct arena arena;
    struct strs folders;
    int64_t freed;
};

static void images_gone(void *arg, bool ok, int64_t freed)
{
    struct pressure *p = arg;
    (void)ok, (void)freed; /* it has been told; what counts is what the disk has now */
    p->reclaimed = true;
    p->doing = DOING_NOTHING;
    look_in(p, 0);
}

static void dead_logs_work(struct job *j)
{
    struct dead_logs *x = container_of(j, struct dead_logs, job);
    for (size_t i = 0; i < x->folders.n; i++) {
        struct err err = ERR;
        if (!tree_remove_counted(AT_FDCWD, x->folders.p[i].p, &x->freed, &err))
            log_warn("pod.logs", "folder=%s error=\"%s\"", x->folders.p[i].p, err.text);
    }
}

static void dead_logs_done(struct job *j)
{
    struct dead_logs *x = container_of(j, struct dead_logs, job);
    struct pressure *p = x->p;
    if (x->freed)
        log_info("node.pressure", "logs of pods that have ended: freed=%lld", (long long)x->freed);
    arena_fini(&x->arena);
    mem_free(x);
    p->images_at = clock_mono();
    if (!image_gc_start(p->agent, INT64_MAX, false, images_gone, p))
        images_gone(p, true, 0); /* one is under way */
}

static void reclaim_start(struct pressure *p)
{
    struct dead_logs *x = NEW(struct dead_logs);
    struct agent *g = p->agent;
    x->p = p;
    x->folders.p = arena_alloc(&x->arena, (map_len(&g->by_uid) + 1) * sizeof *x->folders.p);
    map_each (e, &g->by_uid) {
        struct agent_pod *ap = e->value;
        if (ap->pod->state == POD_ENDED && !ap->logs_removed)
            x->folders.p[x->folders.n++] = str_dup(&x->arena, ap->log_dir);
    }
    p->doing = DOING_RECLAIM;
    agent_job_long(g, &x->job, dead_logs_work, dead_logs_done);
}

/* --- looking -------------------------------------------------------------------------------------------------- */

struct pressure_look {
    struct job job;
    struct pressure *p;
    struct pressure_source source;
    struct pressure_sample samples[PRESSURE_SIGNALS];
    bool image_disk;
};

static void shortage_act(struct pressure *p)
{
    const char *resource = pressure_resource(threshold_of(p)->signal);
    bool reclaimed = p->reclaimed;
    p->reclaimed = false;
    if (reclaimed) {
        if (pressure_is_over(p->agent->cfg.pressure, p->samples))
            look_later(p);
        else
            victim_seek(p);
        return;
    }
    AUTO(arena_fini) struct arena a = ARENA;
    log_info("node.pressure", "signal=%s attempting to reclaim %s", pressure_signal_name(threshold_of(p)->signal),
             resource);
    node_tell(p, true, "EvictionThresholdMet", arena_fmt(&a, "Attempting to reclaim %s", resource));
    if (is_about_disk(p))
        reclaim_start(p);
    else
        victim_seek(p);
}

static void images_collected(void *arg, bool ok, int64_t freed)
{
    (void)arg, (void)ok, (void)freed; /* told already, and seen by the next look */
}

/* Before anything is short: a disk that fills up, and images that have been unused for too long. */
static void images_tidy(struct pressure *p)
{
    const struct pressure_sample *s = &p->samples[SIGNAL_IMAGEFS];
    int64_t now = clock_mono(),
            wanted = s->known ? image_gc_wanted(p->agent->cfg.image_gc, s->capacity, s->available) : 0;
    if ((!wanted && !p->agent->cfg.image_gc->age_most_ns) || (p->images_at && now - p->images_at < IMAGES_EVERY))
        return;
    p->images_at = now;
    if (!image_gc_start(p->agent, wanted ? wanted : INT64_MAX, !wanted, images_collected, p))
        log_debug("images.gc", "one is under way");
}

static void look_work(struct job *j)
{
    struct pressure_look *l = container_of(j, struct pressure_look, job);
    pressure_sample_read(&l->source, l->samples, &l->image_disk);
}

static void look_done(struct job *j)
{
    struct pressure_look *l = container_of(j, struct pressure_look, job);
    struct pressure *p = l->p;
    int64_t now = clock_mono();
    unsigned was = p->state.conditions;
    p->looking = false;
    memcpy(p->before, p->samples, sizeof p->before);
    memcpy(p->samples, l->samples, sizeof p->samples);
    p->image_disk = l->image_disk;
    mem_free(l);
    pressure_decide(p->agent->cfg.pressure, &p->state, p->samples, now, &p->decision);
    if (p->decision.conditions != was)
        conditions_tell(p, was, p->decision.conditions);
    if (p->decision.reclaim >= 0) {
        shortage_act(p);
    } else {
        p->reclaimed = false;
        look_later(p);
        images_tidy(p);
    }
    p->looked_at = now;
}

static void look_start(struct pressure *p)
{
    struct agent *g = p->agent;
    if (p->looking || p->doing != DOING_NOTHING)
        return;
    struct pressure_look *l = NEW(struct pressure_look);
    *l = (struct pressure_look){.p = p,
                                .source = {.data = g->cfg.data,
                                           .content = g->cfg.content,
                                           .cgroups = runtime_cgroups(g->runtime),
                                           .cgroup = g->cfg.cgroup}};
    p->looking = true;
    timer_stop(&p->timer);
    job_start(&l->job, g->cfg.loop, look_work, look_done);
}

struct pressure *pressure_new(struct agent *g)
{
    struct pressure *p = NEW(struct pressure);
    p->agent = g;
    timer_init(&p->timer, g->cfg.loop, on_timer);
    stall_watch(p);
    return p;
}

void pressure_start(struct pressure *p)
{
    look_in(p, 0);
}

void pressure_halt(struct pressure *p)
{
    if (p)
        p->halted = true;
}

void pressure_free(struct pressure *p)
{
    if (!p)
        return;
    timer_stop(&p->timer);
    if (p->stall_fd >= 0) {
        poll_stop(&p->stall);
        fd_close(p->stall_fd);
    }
    mem_free(p);
}
