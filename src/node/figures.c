/* figures.c - who asks for figures, and when what is measured. The loop makes a view (what there is: pods, groups,
 * folders), a job measures and writes the text, and back in the loop the readings become history, from which the next
 * one's rates are. History is kept while somebody asks: a timer drops it HISTORY_KEPT after the last question, and
 * nothing runs then. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "node/agent_int.h"
#include "node/fences.h"
#include "node/figures_int.h"
#include "node/pressure.h"
#include "oci/name.h"
#include <errno.h>
#include <fcntl.h>

#define HISTORY_KEPT  (180 * NS_PER_S)
#define SETS_MOST     16
#define SET_APART     (5 * NS_PER_S)  /* earlier readings that are kept are so far from each other */
#define BASE_WANTED   (10 * NS_PER_S) /* a rate is of so long, where there is such a reading */
#define BASE_LEAST    (NS_PER_S)
#define SECOND_AFTER  NS_PER_S
#define YOUNG         (30 * NS_PER_S) /* the rate of what is no older is that since its start */
#define LIMITS_FRESH  (60 * NS_PER_S)
#define DISK_FRESH    (60 * NS_PER_S)
#define DISK_PATIENCE NS_PER_S /* so long a summary waits for pods whose disk use was never counted */

struct reading_at {
    uint64_t key, cpu_ns;
    int64_t at;
};
struct reading_set {
    int64_t at;
    ARRAY(struct reading_at) readings; /* by key */
};
/* Limits as they were read: they change only when we change them, or somebody by hand. */
struct limits_at {
    uint64_t key;
    unsigned has;
    struct cgroup_limits limits;
};
struct figures {
    struct agent *agent;
    struct timer drop;
    ARRAY(struct reading_set) sets; /* the oldest first */
    ARRAY(struct limits_at) limits; /* by key */
    uint64_t limits_changes;        /* cgroup_bounds_written, when they were read; */
    int64_t limits_at;              /* and when */
    struct list asks;
    struct arena arena;
    struct str self; /* the group that we are in, where that says anything; else empty */
};
/* One question under way. */
struct figures_ask {
    struct list node;
    struct figures *figures; /* NULL: nobody waits any more */
    struct agent *agent;
    enum figures_kind kind;
    figures_done *done;
    void *arg;
    struct job job;
    struct timer second;
    struct figures_view *view;
    struct figures_out out;
    int disks; /* counts that are awaited */
    bool again, ready;
};

/* --- history ------------------------------------------------------------------------------------------------- */

static int reading_order(const void *a, const void *b)
{
    const struct reading_at *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

static int limits_order(const void *a, const void *b)
{
    const struct limits_at *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

static void limits_view(const struct figures *f, struct figures_group *g)
{
    struct limits_at *l = bsearch(&(struct limits_at){.key = g->key}, f->limits.p, f->limits.n, sizeof *f->limits.p,
                                  limits_order);
    if (l) {
        g->limits_known = l->has;
        g->limits = l->limits;
    }
}

static void set_del(struct figures *f, size_t i)
{
    array_fini(&f->sets.p[i].readings);
    array_del(&f->sets, i);
}

static void limits_add(void *arg, const struct figures_group *g)
{
    struct figures *f = arg;
    unsigned has = g->s.has & LIMITS_ALL;
    if (g->ok && has & ~g->limits_known)
        array_push(&f->limits, ((struct limits_at){g->key, has, g->s.limits}));
    else if (g->ok && g->limits_known)
        array_push(&f->limits, ((struct limits_at){g->key, g->limits_known, g->limits}));
}

static void set_add(void *arg, const struct figures_group *g)
{
    struct reading_set *s = arg;
    if (g->ok && g->s.has & CGROUP_CPU)
        array_push(&s->readings, ((struct reading_at){g->key, g->s.cpu_ns, g->at}));
}

static void each_group(const struct figures_view *v, void (*fn)(void *arg, const struct figures_group *g), void *arg)
{
    const struct figures_group *own[] = {&v->machine_group, &v->all_pods, &v->self, &v->qos[0], &v->qos[1]};
    for (size_t i = 0; i < countof(own); i++)
        fn(arg, own[i]);
    for (size_t i = 0; i < v->npods; i++) {
        fn(arg, &v->pods[i].g);
        for (size_t k = 0; k < v->pods[i].ncontainers; k++)
            fn(arg, &v->pods[i].containers[k].g);
    }
}

/* Readings that are close together say little: of such, the last one alone is kept. */
static void history_add(struct figures *f, const struct figures_view *v)
{
    struct reading_set s = {.at = clock_mono()};
    if (v->limits_changes == f->limits_changes) {
        array_clear(&f->limits);
        each_group(v, limits_add, f);
        qsort(f->limits.p, f->limits.n, sizeof *f->limits.p, limits_order);
    }
    if (!(v->parts & CGROUP_CPU))
        return;
    each_group(v, set_add, &s);
    qsort(s.readings.p, s.readings.n, sizeof *s.readings.p, reading_order);
    size_t n = f->sets.n;
    if (n >= 2 && f->sets.p[n - 1].at - f->sets.p[n - 2].at < SET_APART)
        set_del(f, n - 1);
    while (f->sets.n && (f->sets.n == SETS_MOST || s.at - f->sets.p[0].at > HISTORY_KEPT))
        set_del(f, 0);
    array_push(&f->sets, s);
}

/* The youngest that is old enough for a steady rate, else the oldest that is old enough for any. */
static struct figures_base base_of(const struct figures *f, uint64_t key, int64_t now)
{
    struct figures_base best = {0};
    for (size_t i = 0; i < f->sets.n; i++) {
        const struct reading_set *s = &f->sets.p[i];
        if (now - s->at < BASE_LEAST || (best.at && now - s->at < BASE_WANTED))
            break;
        const struct reading_at *r = bsearch(&(struct reading_at){.key = key}, s->readings.p, s->readings.n,
                                             sizeof *s->readings.p, reading_order);
        if (r)
            best = (struct figures_base){r->at, r->cpu_ns};
    }
    return best;
}

/* --- the view ------------------------------------------------------------------------------------------------ */

/* What the texts need to be read. */
struct kind_row {
    unsigned parts;
    bool links, disk, processes, second, own, objects;
};
static const struct kind_row kind_rows[FIGURES_KINDS] = {
    [FIGURES_SUMMARY] = {.parts = CGROUP_CPU | CGROUP_MEMORY | CGROUP_PIDS | CGROUP_MEMORY_LIMITS | CGROUP_PRESSURE,
                         .links = true,
                         .disk = true},
    [FIGURES_SUMMARY_SHORT] = {.parts = CGROUP_CPU | CGROUP_MEMORY | CGROUP_MEMORY_LIMITS | CGROUP_PRESSURE},
    [FIGURES_RESOURCE] = {.parts = CGROUP_CPU | CGROUP_MEMORY | CGROUP_MEMORY_LIMITS},
    [FIGURES_CADVISOR] = {.parts = CGROUP_ALL, .links = true, .disk = true, .processes = true},
    [FIGURES_KUBELET] = {.disk = true, .own = true},
    [FIGURES_PODS] = {.objects = true},
    [FIGURES_USAGE] = {.parts = CGROUP_CPU | CGROUP_MEMORY, .second = true},
};

static void group_view(struct figures *f, struct figures_view *v, struct figures_group *g, const char *path)
{
    g->path = arena_strz(&v->arena, str_of(path));
    g->key = str_hash(str_of(path));
    g->base = base_of(f, g->key, clock_mono());
    limits_view(f, g);
}

static const struct disk_use_part *part_find(const struct disk_use *use, int what, struct str name)
{
    if (use)
        array_each (p, &use->parts)
            if ((int)p->what == what && str_eq(p->name, name))
                return p;
    return NULL;
}

static struct disk_use_part part_view(struct arena *a, const struct disk_use *use, int what, struct str name)
{
    const struct disk_use_part *p = part_find(use, what, name);
    struct disk_use_part out = p ? *p : (struct disk_use_part){0};
    out.name = str_dup(a, name);
    return out;
}

/* As a runtime calls it. */
static struct str image_view(struct arena *a, const struct val *container)
{
    struct image_name n;
    struct err ignored = ERR; /* one that runs has a name that could be read */
    struct str text = val_text_at(container, N(image));
    return image_name_parse(a, text, &n, &ignored) ? n.full : str_dup(a, text);
}

static void container_view(struct figures *f, struct figures_view *v, struct agent_pod *ap,
                           struct agent_container *ac, struct figures_container *out)
{
    const struct pod_container *c = &ap->pod->containers.p[ac->index];
    struct arena *a = &v->arena;
    const struct disk_use *use = v->want_disk ? disk_use_last(ap) : NULL;
    out->name = str_dup(a, c->name);
    out->id = str_dup(a, container_id(ac->run));
    out->image = image_view(a, c->spec);
    out->started = c->started_real;
    out->age = clock_mono() - c->started_mono;
    group_view(f, v, &out->g, container_cgroup(ac->run));
    if (!out->g.base.at && out->age <= YOUNG && out->age >= BASE_LEAST)
        out->g.base.at = c->started_mono;
    out->disk_known = use != NULL;
    out->rootfs = part_view(a, use, DISK_ROOTFS, c->name);
    out->logs = part_view(a, use, DISK_LOGS, c->name);
}

static struct str claim_of(struct agent_pod *ap, struct arena *a, const struct val *volume)
{
    if (val_get(volume, N(ephemeral)))
        return arena_fmt(a, STR_FMT "-" STR_FMT, STR_ARG(ap->pod->name), STR_ARG(val_text_at(volume, N(name))));
    return str_dup(a, val_text_at(volume, N(persistentVolumeClaim), N(claimName)));
}

static void volumes_view(struct figures_view *v, struct agent_pod *ap, struct figures_pod *out)
{
    struct arena *a = &v->arena;
    const struct val *volumes = val_get(obj_spec(ap->pod->obj), N(volumes));
    const struct disk_use *own = disk_use_last(ap), *mounts = disk_use_mounts(ap, DISK_FRESH);
    out->volumes = arena_alloc(a, (val_len(volumes) + 1) * sizeof *out->volumes);
    out->mounts_at = mounts ? mounts->at_real : 0;
    val_each_item (it, volumes) {
        struct str name = val_text_at(it, N(name));
        const struct disk_use_part *p = part_find(own, DISK_VOLUME, name);
        p = p ? p : part_find(mounts, DISK_VOLUME, name);
        if (!p || (p->mounted && p->hidden))
            continue; /* not counted yet, or of a kind that is nobody's to count */
        struct figures_volume *o = &out->volumes[out->nvolumes++];
        o->part = *p;
        o->part.name = str_dup(a, name);
        o->claim = claim_of(ap, a, it);
    }
}

static void pod_view(struct figures *f, struct figures_view *v, struct agent_pod *ap, struct figures_pod *out)
{
    struct arena *a = &v->arena;
    const struct pod *p = ap->pod;
    out->uid = str_dup(a, p->uid);
    out->ns = str_dup(a, p->ns);
    out->name = str_dup(a, p->name);
    out->sandbox = str_dup(a, sandbox_id(ap->sandbox));
    out->started = p->started_real;
    out->host_network = p->host_network;
    out->ip = ap->ip;
    group_view(f, v, &out->g, sandbox_cgroup(ap->sandbox));
    out->containers = arena_alloc(a, (ap->containers.n + 1) * sizeof *out->containers);
    array_each (ac, &ap->containers)
        if ((*ac)->run && p->containers.p[(*ac)->index].run == RUN_RUNNING)
            container_view(f, v, ap, *ac, &out->containers[out->ncontainers++]);
    if (!v->want_disk)
        return;
    const struct disk_use *use = disk_use_last(ap);
    out->disk_known = use != NULL;
    out->disk_at = use ? use->at_real : 0;
    if (use)
        array_each (part, &use->parts)
            if (part->what == DISK_LOGS)
                out->other_logs += part->bytes;
    array_each (c, &ap->pod->containers) /* those of runs that are over, and of containers that do not run */
        if (use && c->run == RUN_RUNNING)
            out->other_logs -= part_view(a, use, DISK_LOGS, c->name).bytes;
    volumes_view(v, ap, out);
}

static void probes_view(struct figures_view *v, struct agent_pod *ap)
{
    array_each (ac, &ap->containers)
        for (int k = 0; k < (int)countof((*ac)->probed); k++) {
            if (!(*ac)->probed[k])
                continue;
            struct figures_probe *p = &v->probes[v->nprobes++];
            *p = (struct figures_probe){.kind = k, .counts = *(*ac)->probed[k]};
            p->uid = str_dup(&v->arena, ap->pod->uid);
            p->ns = str_dup(&v->arena, ap->pod->ns);
            p->pod = str_dup(&v->arena, ap->pod->name);
            p->container = str_dup(&v->arena, ap->pod->containers.p[(*ac)->index].name);
        }
}

static void states_view(struct figures_view *v, struct agent_pod *ap)
{
    v->desired++;
    v->active += ap->admitted && ap->pod->state < POD_CLEANING;
    array_each (c, &ap->pod->containers) {
        v->created += c->run == RUN_STARTING;
        v->running += c->run == RUN_RUNNING;
        v->exited += c->run == RUN_EXITED;
    }
}

/* Of the agent itself. */
static void own_view(struct figures_view *v, struct agent *g, const struct kind_row *row)
{
    AUTO(strbuf_fini) struct strbuf evictions = STRBUF(STRBUF_TEXT);
    size_t containers = 0;
    map_each (e, &g->by_uid)
        containers += ((struct agent_pod *)e->value)->containers.n;
    v->probes = arena_alloc(&v->arena, (3 * containers + 1) * sizeof *v->probes);
    v->objs = arena_alloc(&v->arena, (map_len(&g->by_uid) + 1) * sizeof(struct obj *));
    map_each (e, &g->by_uid) {
        struct agent_pod *ap = e->value;
        probes_view(v, ap);
        states_view(v, ap);
        if (row->objects)
            v->objs[v->nobjs++] = obj_ref(ap->pod->obj);
    }
    pressure_counts(g->pressure, &evictions);
    v->evictions = str_dup(&v->arena, strbuf_str(&evictions));
    v->counts = g->counts;
    v->want_process = row->own;
}

static bool pod_is_seen(const struct agent_pod *ap)
{
    return ap->sandbox && ap->pod->sandbox == PART_READY && !ap->sandbox_leaving;
}

/* As the Node tells them. */
static int64_t images_bytes(struct agent *g)
{
    int64_t bytes = 0;
    const struct obj *node = cache_peek(g->nodes, S(""), str_of(g->cfg.name));
    if (node)
        val_each_item (image, val_get(obj_status(node), N(images)))
            bytes += val_num_at(image, 0, N(sizeBytes));
    return bytes;
}

static struct figures_view *view_new(struct figures *f, enum figures_kind kind)
{
    struct agent *g = f->agent;
    const struct kind_row *row = &kind_rows[kind];
    struct figures_view *v = NEW(struct figures_view);
    struct arena *a = &v->arena;
    v->node = str_dup(a, str_of(g->cfg.name));
    v->version = str_dup(a, str_of(g->cfg.version));
    v->host_ip = str_dup(a, str_of(g->cfg.host_ip));
    v->data = str_dup(a, str_of(g->cfg.data));
    v->content = str_dup(a, str_of(g->cfg.content));
    v->cgroups = *runtime_cgroups(g->runtime);
    v->instance = g->cfg.instance;
    v->self_started = g->began;
    v->parts = row->parts;
    v->want_links = row->links;
    v->want_disk = row->disk;
    v->want_processes = v->want_machine = row->processes;
    v->now_real = clock_real();
    if (f->limits_changes != cgroup_bounds_written() || clock_mono() - f->limits_at > LIMITS_FRESH) {
        array_clear(&f->limits);
        f->limits_changes = cgroup_bounds_written();
        f->limits_at = clock_mono();
    }
    v->limits_changes = f->limits_changes;
    group_view(f, v, &v->machine_group, "/");
    group_view(f, v, &v->all_pods, g->cfg.cgroup);
    group_view(f, v, &v->qos[0], STR_JOIN(a, str_of(g->cfg.cgroup), S("/burstable")).p);
    group_view(f, v, &v->qos[1], STR_JOIN(a, str_of(g->cfg.cgroup), S("/besteffort")).p);
    if (f->self.n)
        group_view(f, v, &v->self, f->self.p);
    if (row->own || row->objects || kind == FIGURES_PROBES)
        own_view(v, g, row);
    v->pods = arena_alloc(a, (map_len(&g->by_uid) + 1) * sizeof *v->pods);
    map_each (e, &g->by_uid)
        if (pod_is_seen(e->value))
            pod_view(f, v, e->value, &v->pods[v->npods++]);
    if (v->want_disk)
        v->image_bytes = images_bytes(g);
    for (size_t i = 0; i < v->npods; i++)
        for (size_t k = 0; k < v->pods[i].ncontainers; k++)
            v->containers_bytes += v->pods[i].containers[k].rootfs.bytes;
    return v;
}

void figures_view_fini(struct figures_view *v)
{
    for (size_t i = 0; i < v->nobjs; i++)
        obj_unref(v->objs[i]);
    array_fini(&v->links.links);
    arena_fini(&v->arena);
}

/* --- one question -------------------------------------------------------------------------------------------- */

static void ask_free(struct figures_ask *q)
{
    list_del(&q->node);
    timer_stop(&q->second);
    if (q->view)
        figures_view_fini(q->view);
    mem_free(q->view);
    strbuf_fini(&q->out.b);
    if (q->out.fd >= 0)
        fd_close(q->out.fd);
    mem_free(q);
}

static void ask_write(struct figures_ask *q)
{
    switch (q->kind) {
    case FIGURES_SUMMARY: figures_summary_text(q->view, false, &q->out); break;
    case FIGURES_SUMMARY_SHORT: figures_summary_text(q->view, true, &q->out); break;
    case FIGURES_RESOURCE: figures_resource_text(q->view, &q->out); break;
    case FIGURES_USAGE: figures_usage_text(q->view, &q->out); break;
    case FIGURES_CADVISOR: figures_cadvisor_text(q->view, &q->out); break;
    case FIGURES_PROBES: figures_probes_text(q->view, &q->out); break;
    case FIGURES_KUBELET: figures_kubelet_text(q->view, &q->out); break;
    case FIGURES_PODS: figures_pods_text(q->view, &q->out); break;
    case FIGURES_RUNNING_PODS: figures_running_pods_text(q->view, &q->out); break;
    case FIGURES_KINDS: break;
    }
    figures_flush(&q->out, true);
}

static void ask_work(struct job *j)
{
    struct figures_ask *q = container_of(j, struct figures_ask, job);
    figures_view_measure(q->view);
    q->again = q->view->wants_second && kind_rows[q->kind].second && !q->again;
    if (!q->again)
        ask_write(q);
}

static void ask_tell(struct figures_ask *q)
{
    const struct err *err = q->out.broken ? &q->out.err : NULL;
    struct err over = ERR;
    if (!err && q->out.b.over) {
        (void)err_set(&over, E_TOO_LARGE, "the figures are more than %d bytes", FIGURES_TEXT_MOST);
        err = &over;
    }
    q->done(q->arg, err || q->out.fd >= 0 ? STR_NONE : strbuf_str(&q->out.b), err);
}

static void ask_done(struct job *j)
{
    struct figures_ask *q = container_of(j, struct figures_ask, job);
    if (!q->figures) {
        ask_free(q);
        return;
    }
    history_add(q->figures, q->view);
    if (q->again) {
        timer_set(&q->second, SECOND_AFTER);
        return;
    }
    ask_tell(q);
    ask_free(q);
}

static void ask_begin(struct figures_ask *q)
{
    struct agent *g = q->agent;
    if (q->view)
        figures_view_fini(q->view);
    mem_free(q->view);
    q->view = view_new(q->figures, q->kind);
    if (q->out.fd >= 0) /* its reader may take his time */
        agent_job_long(g, &q->job, ask_work, ask_done);
    else
        job_start(&q->job, g->cfg.loop, ask_work, ask_done);
}

static void on_second(struct timer *t)
{
    struct figures_ask *q = container_of(t, struct figures_ask, second);
    q->ready = true;
    ask_begin(q);
}

/* A count that a summary waits for has come. What waits is found by the pod: the question may be answered already. */
static void disk_counted(void *arg, struct agent_pod *ap, const struct disk_use *use)
{
    struct agent *g = ap->agent;
    struct figures_ask *q = NULL;
    (void)use;
    if (g->figures)
        list_each (it, &g->figures->asks, struct figures_ask, node)
            q = it == arg ? it : q;
    if (q && !q->ready && q->disks > 0 && --q->disks == 0) {
        timer_stop(&q->second);
        q->ready = true;
        ask_begin(q);
    }
}

/* Disk use is of the last minute; a pod that was never counted is waited for, but not long. */
static void ask_disks(struct figures_ask *q)
{
    struct agent *g = q->agent;
    map_each (e, &g->by_uid) {
        struct agent_pod *ap = e->value;
        const struct disk_use *use = disk_use_last(ap);
        if (!pod_is_seen(ap) || (use && clock_mono() - use->at < DISK_FRESH))
            continue;
        q->disks += !use;
        disk_use_ask(ap, DISK_FRESH, disk_counted, use ? NULL : q);
    }
}

static void on_drop(struct timer *t)
{
    struct figures *f = container_of(t, struct figures, drop);
    if (!list_empty(&f->asks)) {
        timer_set(&f->drop, HISTORY_KEPT);
        return;
    }
    f->agent->figures = NULL;
    figures_free(f);
}

static struct figures *figures_of(struct agent *g)
{
    if (!g->figures) {
        struct figures *f = g->figures = NEW(struct figures);
        f->agent = g;
        list_init(&f->asks);
        timer_init(&f->drop, g->cfg.loop, on_drop);
        f->self = figures_own_group(&f->arena);
    }
    timer_set(&g->figures->drop, HISTORY_KEPT);
    return g->figures;
}

void figures_free(struct figures *f)
{
    if (!f)
        return;
    timer_stop(&f->drop);
    list_each (q, &f->asks, struct figures_ask, node) {
        q->figures = NULL;
        list_del(&q->node);
        if (timer_is_set(&q->second))
            ask_free(q); /* else its job is under way, and frees it */
    }
    while (f->sets.n)
        set_del(f, f->sets.n - 1);
    array_fini(&f->sets);
    array_fini(&f->limits);
    arena_fini(&f->arena);
    mem_free(f);
}

static void ask_start(struct figures_ask *q)
{
    if (kind_rows[q->kind].disk)
        ask_disks(q);
    if (q->disks) {
        timer_set(&q->second, DISK_PATIENCE);
        return;
    }
    q->ready = true;
    ask_begin(q);
}

/* What network policies refused; where the kernel does not say it the rest is told without. */
static void fences_counted(void *arg, struct str text, const struct err *err)
{
    struct figures_ask *q = arg;
    if (err)
        log_warn("figures.policies", "error=\"%s\"", err->text);
    strbuf_add(&q->out.b, text);
    if (q->figures)
        ask_start(q);
    else
        ask_free(q);
}

void figures_write(struct agent *g, enum figures_kind kind, int own_fd, figures_done *done, void *arg)
{
    struct figures *f = figures_of(g);
    struct figures_ask *q = NEW(struct figures_ask);
    *q = (struct figures_ask){.figures = f, .agent = g, .kind = kind, .done = done, .arg = arg};
    q->out = (struct figures_out){.b = STRBUF(FIGURES_TEXT_MOST), .fd = own_fd};
    if (own_fd >= 0 && fcntl(own_fd, F_SETFL, fcntl(own_fd, F_GETFL) | O_NONBLOCK) < 0)
        log_warn("figures", "who does not take them is waited for: error=\"%s\"", strerror(errno));
    timer_init(&q->second, g->cfg.loop, on_second);
    list_add_tail(&f->asks, &q->node);
    if (kind == FIGURES_KUBELET)
        agent_fences_metrics(g, fences_counted, q);
    else
        ask_start(q);
}

void figures_text(struct agent *g, enum figures_kind kind, figures_done *done, void *arg)
{
    figures_write(g, kind, -1, done, arg);
}
