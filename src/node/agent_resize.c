/* Resizing pods in place, the loop's side. Which of them get what they want is looked at for all that wait together,
 * in one turn after whatever may have made room (agent_resizes_look). What is allocated is put in force by a job: it
 * reads what the groups bound, changes what differs in an order in which no group is at any moment to hold more than
 * the one above it gives, and reads again. So what the status says is what the kernel says. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "node/agent_int.h"
#include "node/resize.h"

/* --- is there room --------------------------------------------------------------------------------------------- */

static void event_of(struct agent_pod *ap, bool warning, const char *reason, const char *what, const struct obj *obj,
                     struct str error)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str text = pod_resize_text(&a, obj_spec(obj), obj_generation(obj), error);
    agent_eventf(ap, -1, warning, reason, "Pod resize %s: " STR_FMT, what, STR_ARG(text));
}

static bool waits_for_room(const struct agent_pod *ap)
{
    return ap->admitted && ap->pod->wanted && !ap->pod->rejected && !pod_is_to_end(ap->pod) &&
           ap->pod->state < POD_CLEANING;
}

/* Pods that have been taken in and are not over, but this one. */
static const struct obj **others_of(const struct agent_pod *self, struct arena *a, size_t *n)
{
    const struct agent *g = self->agent;
    const struct obj **in = arena_alloc(a, (map_len(&g->by_uid) + 1) * sizeof *in);
    *n = 0;
    map_each (e, &g->by_uid) {
        const struct agent_pod *ap = e->value;
        if (ap != self && ap->admitted && !ap->pod->rejected && ap->pod->state < POD_CLEANING)
            in[(*n)++] = ap->pod->obj;
    }
    return in;
}

static void resize_judge(struct agent_pod *ap, const struct obj *node)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct refusal why = {0};
    size_t n;
    const struct obj **others = others_of(ap, &a, &n);
    if (resize_fits(&a, ap->pod->wanted, node, others, n, &why)) {
        pod_allocate(ap->facts);
        qos_news(ap->agent->qos);
        event_of(ap, false, "ResizeStarted", "started", ap->pod->obj, STR_NONE);
        agent_pod_kick(ap);
        return;
    }
    bool never = strcmp(why.reason, "Infeasible") == 0;
    if (pod_defer(ap->facts, never ? "Infeasible" : "Deferred", why.message, clock_real()))
        event_of(ap, true, never ? "ResizeInfeasible" : "ResizeDeferred", why.reason, ap->pod->wanted, why.message);
    agent_pod_kick(ap);
}

static int order_of(const void *x, const void *y)
{
    const struct agent_pod *const *one = x, *const *other = y;
    return resize_order((*one)->pod, (*other)->pod);
}

void agent_resizes_look(struct timer *t)
{
    struct agent *g = container_of(t, struct agent, resizes);
    const struct obj *node = cache_peek(g->nodes, S(""), str_of(g->cfg.name));
    AUTO(arena_fini) struct arena a = ARENA;
    struct agent_pod **waiting = arena_alloc(&a, (map_len(&g->by_uid) + 1) * sizeof *waiting);
    size_t n = 0;
    if (!node || !g->adopted)
        return; /* on_node and agent_heard come here again */
    map_each (e, &g->by_uid)
        if (waits_for_room(e->value))
            waiting[n++] = e->value;
    qsort(waiting, n, sizeof *waiting, order_of);
    for (size_t i = 0; i < n; i++)
        resize_judge(waiting[i], node);
}

/* --- putting it in force --------------------------------------------------------------------------------------- */

struct resize_group {
    char *path;
    int container;       /* -1: the pod's own */
    struct str id, name; /* of the run, of the container */
    struct cgroup_bounds want, now;
    bool gone;
};
struct resize_job {
    struct job job;
    struct agent_pod *ap;
    struct arena arena;
    const struct cgroups *cgroups;
    bool look;                   /* what they bound is not known: that first */
    struct resize_group *groups; /* the pod's first */
    size_t n;
    struct err err;
};

static bool groups_read(struct resize_job *r)
{
    for (size_t i = 0; i < r->n; i++) {
        struct resize_group *x = &r->groups[i];
        struct err err = ERR;
        x->gone = !cgroup_bounds_read(r->cgroups, x->path, &x->want, &x->now, &err);
        if (x->gone && i == 0)
            return r->err = err, false;
    }
    return true;
}

static int64_t limit_rank(int64_t limit)
{
    return limit ? limit : INT64_MAX;
}

/* No limit is put below what is used: the kernel would have to kill for it, or say no. */
static bool memory_fits(struct resize_job *r)
{
    AUTO(strbuf_fini) struct strbuf why = STRBUF(STRBUF_TEXT);
    size_t errors = 0;
    for (size_t i = 0; i < r->n; i++) {
        const struct resize_group *x = &r->groups[i];
        if (x->gone || limit_rank(x->want.memory) >= limit_rank(x->now.memory))
            continue;
        int64_t used = cgroup_memory_used(r->cgroups, x->path);
        if (used < x->want.memory)
            continue;
        strbuf_addz(&why, errors++ ? ", " : "");
        if (x->container < 0)
            strbuf_addz(&why, "attempting to set pod memory limit");
        else
            strbuf_addf(&why, "attempting to set container \"" STR_FMT "\" memory limit", STR_ARG(x->name));
        strbuf_addf(&why, " (%lld) below current usage (%lld)", (long long)x->want.memory, (long long)used);
    }
    return !errors || err_set(&r->err, E_CONFLICT, errors > 1 ? "[" STR_FMT "]" : STR_FMT, STR_ARG(strbuf_str(&why)));
}

static int64_t amount_of(const struct cgroup_bounds *b, unsigned which)
{
    return which == CGROUP_SHARES  ? (int64_t)b->cpu_shares
           : which == CGROUP_QUOTA ? limit_rank(b->cpu_quota_us)
                                   : limit_rank(b->memory);
}

/* Those that grow, or those that shrink. */
static bool groups_write(struct resize_job *r, size_t from, size_t to, unsigned which, bool grow)
{
    for (size_t i = from; i < to; i++) {
        struct resize_group *x = &r->groups[i];
        int64_t want = amount_of(&x->want, which), now = amount_of(&x->now, which);
        if (!x->gone && (grow ? want > now : want < now) &&
            !cgroup_bounds_write(r->cgroups, x->path, which, &x->want, &r->err))
            return false;
    }
    return true;
}

/* What the pod gains it gets before its containers, what it loses after them; among containers those that lose first.
 */
static bool groups_change(struct resize_job *r, unsigned which)
{
    return groups_write(r, 0, 1, which, true) && groups_write(r, 1, r->n, which, false) &&
           groups_write(r, 1, r->n, which, true) && groups_write(r, 0, 1, which, false);
}

static void resize_work(struct job *j)
{
    struct resize_job *r = container_of(j, struct resize_job, job);
    if (!groups_read(r) || r->look)
        return;
    if (memory_fits(r) && groups_change(r, CGROUP_BYTES) && groups_change(r, CGROUP_QUOTA))
        (void)groups_change(r, CGROUP_SHARES);
    (void)groups_read(r); /* an error that came first is the one that is told */
}

static void group_told(struct agent_pod *ap, const struct resize_group *x)
{
    if (x->gone)
        return;
    if (x->container >= 0 && !str_eq(ap->pod->containers.p[x->container].id, x->id))
        return; /* another run has begun, and is told with its start */
    pod_saw_force(ap->facts, x->container, &x->now);
}

static void resize_done(struct job *j)
{
    fault_pass("node.saw.resized");
    struct resize_job *r = container_of(j, struct resize_job, job);
    struct agent_pod *ap = r->ap;
    struct str error = str_of(r->err.text);
    if (error.n && !str_eq(error, ap->pod->resize.error)) {
        log_warn("pod.resize", "pod=" NAMED_FMT " error=\"%s\"", NAMED_ARG(ap->pod), r->err.text);
        event_of(ap, true, "ResizeError", "error", ap->pod->obj, error);
    }
    for (size_t i = 0; i < r->n; i++)
        group_told(ap, &r->groups[i]);
    pod_saw_resized(ap->facts, error, clock_mono());
    arena_fini(&r->arena);
    mem_free(r);
    agent_pod_release(ap);
}

static void group_add(struct resize_job *r, const char *path, int container, bool known)
{
    const struct pod *p = r->ap->pod;
    struct resize_group *x = &r->groups[r->n++];
    *x = (struct resize_group){
        .path = arena_strz(&r->arena, str_of(path)), .container = container, .want = pod_bounds(p, container)};
    if (container >= 0) {
        x->id = str_dup(&r->arena, p->containers.p[container].id);
        x->name = str_dup(&r->arena, p->containers.p[container].name);
    }
    r->look = r->look || !known;
}

void agent_resize(struct agent_pod *ap)
{
    const struct pod *p = ap->pod;
    struct resize_job *r = NEW(struct resize_job);
    r->ap = ap;
    r->cgroups = runtime_cgroups(ap->agent->runtime);
    r->groups = arena_alloc(&r->arena, (p->containers.n + 1) * sizeof *r->groups);
    if (!ap->sandbox || ap->sandbox_leaving) {
        mem_free(r);
        pod_saw_resized(ap->facts, S("the sandbox is not running"), clock_mono());
        return;
    }
    group_add(r, sandbox_cgroup(ap->sandbox), -1, p->resize.force.known);
    for (size_t i = 0; i < p->containers.n; i++) {
        const struct pod_container *c = &p->containers.p[i];
        struct container *run = ap->containers.p[i]->run;
        if (c->run == RUN_RUNNING && pod_is_resizable(c) && run)
            group_add(r, container_cgroup(run), (int)i, c->force.known);
    }
    ap->pending++;
    job_start(&r->job, ap->agent->cfg.loop, resize_work, resize_done);
}
