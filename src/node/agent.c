/* The agent makes the pods of this node true. Everything in it belongs to one loop, and nothing waits in the middle
 * of a function: whatever happens becomes a fact about a pod, and what a pod needs next is worked out anew from all
 * facts.
 *
 *   news of the object (cache) ----+
 *   answers of the runtime, jobs --+--> pod_saw_..., pod_wanted --> agent_pod_kick
 *   probes, Services, timers ------+                                      |
 *            ^                                                            v  once for all that came in one turn
 *            |          begins, and comes back                          agent_step()
 *        agent_do(action) <------------------- pod_step (pure): actions, and when to look again
 *
 * agent_step() carries the actions out, writes the status if it is another one than the server has, and sets the
 * timer.
 *
 * How a pod starts. The cache tells of it (pod_here). It is taken in or refused by what our own Node has room for
 * (agent_admit); refused, it is only told so. Then, each when the one before has been answered:
 *
 *   VOLUMES_SETUP     hostPaths are looked at, an address is taken, volumes and the files hosts, hostname and
 *                     resolv.conf are written (hostpaths.c, volumes_do.c)
 *   SANDBOX_START     the shim in its namespaces, its fence (fences.c), the link, volumes in memory, host ports
 *                     (agent_sandbox.c)
 *   IMAGE_ENSURE      for each container in its turn: is the image here? Else it is pulled (images.c)
 *   CONTAINER_START   files, root file system, crun (agent_container.c); then POSTSTART and probes (probe_do.c)
 *
 * Init containers go one after another, each after the end of the one before; so do main containers, but there the
 * next waits for no more than the start of the one before, its postStart hook included (pod_step.c).
 *
 * How it goes. The object gets a deletionTimestamp; LEAVE and DRAIN (services.c: no connection of a Service is lost),
 * PRESTOP, TERM, KILL for each container, SANDBOX_STOP, VOLUMES_TEARDOWN. The final status is written, and only then
 * DELETE_OBJECT: who waits for the pod to be gone may rely on it that nothing of it is left on the node.
 *
 * The status. One write is under way at a time, against the version of the object that is known; a conflict means
 * that a newer one is coming. Not each state is worth a write: containers that come up together are told of together
 * (is_settling), and so are those that go (is_stopping), as a kubelet does.
 *
 * After the agent was killed (agent_adopt.c). Nothing is kept on disk for that: what runs is asked of the shims, what
 * was told stands in the objects, and the same facts make the same pod. So nothing may be decided before all pods and
 * all Services are known: a pod not heard of yet would be taken for an orphan, and one that is to stop would not
 * leave its Services first (agent_heard).
 *
 * Memory. An agent_pod that goes is `dead` first, and freed once it has ended and no job or call points to it
 * (`pending`); all callbacks that come home hold one reference.
 */
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "net/model.h"
#include "node/admit.h"
#include "node/agent_int.h"
#include "node/csi.h"
#include "node/disk_use.h"
#include "node/fences.h"
#include "node/figures_int.h"
#include "node/podspec.h"
#include "node/pressure_plan.h"
#include "node/shutdown.h"
#include "node/static_manifest.h"
#include "node/static_pods.h"
#include "sys/file.h"
#include "sys/pulse.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

/* --- one pod -------------------------------------------------------------------------------------------------- */

struct agent_pod *agent_pod_of(struct agent *g, struct str uid)
{
    return map_get(&g->by_uid, uid);
}

void agent_event(struct agent_pod *ap, int i, bool warning, const char *reason, struct str message)
{
    struct strbuf path = STRBUF(300);
    if (i >= 0) {
        const struct pod_container *c = &ap->pod->containers.p[i];
        const char *list = c->role == CONTAINER_MAIN        ? "containers"
                           : c->role == CONTAINER_EPHEMERAL ? "ephemeralContainers"
                                                            : "initContainers";
        strbuf_addf(&path, "spec.%s{" STR_FMT "}", list, STR_ARG(c->name));
    }
    events_record(ap->agent->events, ap->pod->obj, strbuf_str(&path), warning ? "Warning" : "Normal", reason, NULL,
                  message);
    strbuf_fini(&path);
}

void agent_eventf(struct agent_pod *ap, int i, bool warning, const char *reason, const char *fmt, ...)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    va_list args;
    va_start(args, fmt);
    strbuf_addvf(&b, fmt, args);
    va_end(args);
    agent_event(ap, i, warning, reason, strbuf_str(&b));
}

static void free_pod(struct agent_pod *ap)
{
    pressure_pod_ended(ap);
    services_forget(ap);
    agent_fence_gone(ap);
    images_forget(ap);
    hostpaths_forget(ap);
    csi_forget(ap);
    disk_use_forget(ap);
    configs_drop(ap);
    timer_stop(&ap->wake);
    timer_stop(&ap->refresh);
    timer_stop(&ap->usage);
    call_cancel(&ap->status_call);
    call_cancel(&ap->delete_call);
    call_cancel(&ap->look_call);
    call_cancel(&ap->class_call);
    array_each (ac, &ap->containers) {
        probes_stop(*ac);
        for (size_t k = 0; k < countof((*ac)->probed); k++)
            mem_free((*ac)->probed[k]);
        mem_free(*ac);
    }
    array_fini(&ap->containers);
    if (ap->sandbox)
        sandbox_data_set(ap->sandbox, NULL);
    arena_fini(&ap->written_arena);
    arena_fini(&ap->arena);
    pod_free(ap->facts);
    mem_free(ap);
}

void agent_job_long(struct agent *g, struct job *j, void (*work)(struct job *j), void (*done)(struct job *j))
{
    struct err err = ERR; /* so many are under way already: then as all others */
    if (!job_start_apart(j, g->cfg.loop, work, done, &err))
        job_start(j, g->cfg.loop, work, done);
}

void agent_pod_release(struct agent_pod *ap)
{
    ASSERT(ap->pending > 0);
    ap->pending--;
    agent_pod_kick(ap);
}

void agent_pod_kick(struct agent_pod *ap)
{
    ap->kicked = true;
    timer_set(&ap->wake, 0);
}

/* --- stepping -------------------------------------------------------------------------------------------------- */

static void delete_done(struct call *c)
{
    struct agent_pod *ap = container_of(c, struct agent_pod, delete_call);
    if (c->ok || c->err.kind == E_NOT_FOUND || c->err.kind == E_CONFLICT)
        return; /* gone, or another pod of that name: the cache will say so */
    log_warn("pod.delete", "pod=" NAMED_FMT " retry_s=1 error=\"%s\"", NAMED_ARG(ap->pod), c->err.text);
    ap->delete_sent = false;
    timer_set(&ap->wake, NS_PER_S);
}

static void send_delete(struct agent_pod *ap)
{
    const struct pod *p = ap->pod;
    fault_pass("node.before.DELETE_OBJECT");
    ap->delete_sent = true;
    if (ap->of_file) {
        statics_over(ap);
        return;
    }
    call_start(
        &ap->delete_call, ap->agent->cfg.transport,
        &(struct call_options){
            .verb = CALL_DELETE, .kind = K(Pod), .ns = p->ns, .name = p->name, .grace_s = 0, .expect_uid = p->uid});
    fault_pass("node.after.DELETE_OBJECT");
}

void agent_delete(struct agent_pod *ap)
{
    ap->delete_wanted = true; /* step sends it */
}

static void agent_step(struct agent_pod *ap)
{
    const struct pod *p = ap->pod;
    AUTO(pod_actions_fini) struct pod_actions out = {0};
    ap->kicked = false;
    if (!ap->admitted && !p->deleted)
        return; /* admission kicks it */
    pod_saw_service(ap->facts, services_serves(ap));
    agent_drop_told(ap);
    pulse_doing("pod " NAMED_FMT, NAMED_ARG(p));
    fault_pass("node.step");
    bool was_here = p->state < POD_CLEANING;
    pod_step(ap->facts, clock_mono(), &out);
    if (was_here && p->state >= POD_CLEANING) { /* for others there is room now */
        shutdown_look(ap->agent->shutdown);
        timer_set(&ap->agent->resizes, 0);
        qos_news(ap->agent->qos);
    }
    array_each (x, &out.list)
        agent_do(ap, x);
    if (pod_is_to_end(p))
        agent_fence_let_go(ap);
    if (pod_is_to_end(p) && (csi_let_go(ap) || hostpaths_let_go(ap) || volumes_let_go(ap))) {
        pod_saw_volumes(ap->facts, false, S("the pod is going"), clock_mono());
        agent_pod_kick(ap);
    }
    if (p->state == POD_ENDED)
        pressure_pod_ended(ap);
    if (ap->dead && p->state == POD_ENDED && !ap->pending) {
        if (ap->logs_removed)
            free_pod(ap);
        else
            volumes_teardown(ap); /* it had ended before it was deleted, and its logs stayed */
        return;
    }
    if (!ap->dead)
        agent_send_status(ap);
    if (!ap->dead && ap->delete_wanted && !ap->delete_sent && agent_status_written(ap))
        send_delete(ap);
    agent_wake_later(ap, out.wake_at);
}

static void on_wake(struct timer *t)
{
    agent_step(container_of(t, struct agent_pod, wake));
}

static void on_usage(struct timer *t)
{
    struct agent_pod *ap = container_of(t, struct agent_pod, usage);
    if (ap->pod->state == POD_ACTIVE)
        usage_look(ap);
}

static void on_refresh(struct timer *t) /* what could not be written is tried again */
{
    volumes_refresh(container_of(t, struct agent_pod, refresh));
}

static struct str dir_of(struct agent_pod *ap, const char *base, const char *sub)
{
    return arena_fmt(&ap->arena, "%s/%s/" STR_FMT, base, sub, STR_ARG(ap->pod->uid));
}

/* To as many as the pod has: ephemeral ones are added while it runs. */
static void grow_containers(struct agent_pod *ap)
{
    while (ap->containers.n < ap->pod->containers.n) {
        struct agent_container *ac = NEW(struct agent_container);
        *ac = (struct agent_container){.ap = ap, .index = (int)ap->containers.n};
        array_push(&ap->containers, ac);
    }
}

/* --- admission ------------------------------------------------------------------------------------------------- */

static void agent_refuse(struct agent_pod *ap, const char *reason, struct str event, struct str message)
{
    counted_reason_add(ap->agent->counts.rejections, reason, -1);
    agent_event(ap, -1, true, reason, event);
    pod_fail(ap->facts, reason, message, true, clock_mono());
    ap->admitted = true;
    agent_pod_kick(ap);
}

/* In a kubelet's words. */
static void agent_reject(struct agent_pod *ap, const char *reason, struct str message)
{
    AUTO(arena_fini) struct arena a = ARENA;
    agent_refuse(ap, reason, message, arena_fmt(&a, "Pod was rejected: " STR_FMT, STR_ARG(message)));
}

/* Pods that have been taken in and are not over. */
static const struct obj **pods_in(struct agent *g, struct arena *a, size_t *n)
{
    const struct obj **in = arena_alloc(a, (map_len(&g->by_uid) + 1) * sizeof *in);
    *n = 0;
    map_each (e, &g->by_uid) {
        const struct agent_pod *ap = e->value;
        if (ap->admitted && !ap->pod->rejected && ap->pod->state < POD_CLEANING)
            in[(*n)++] = ap->pod->obj;
    }
    return in;
}

static void take_in(struct agent_pod *ap)
{
    ap->admitted = true;
    qos_news(ap->agent->qos);
    configs_need(ap); /* only now: of one that is refused there may be too many */
}

/* As `node` says, which is the newest there is or (final false) the newest that has been heard of. */
static void agent_judge(struct agent_pod *ap, const struct obj *node, bool final)
{
    struct agent *g = ap->agent;
    AUTO(arena_fini) struct arena a = ARENA;
    struct refusal why;
    struct err err = ERR;
    struct strs sysctls;
    size_t n;
    struct str pressed = pressure_refuses(&a, pressure_conditions(g->pressure), ap->pod->obj);
    const struct obj **others = pods_in(g, &a, &n);
    if (shutdown_is_on(g->shutdown)) {
        agent_reject(ap, "NodeShutdown", S("Pod was rejected as the node is shutting down."));
    } else if (!podspec_sysctls(&a, ap->pod->obj, str_of(g->cfg.unsafe_sysctls ? g->cfg.unsafe_sysctls : ""),
                                &sysctls, &err)) {
        agent_reject(ap, "SysctlForbidden", str_of(err.text));
    } else if (pressed.n) {
        agent_reject(ap, "Evicted", pressed);
    } else if (!admit_pod(&a, ap->pod->obj, node, others, n, &why)) {
        if (why.by_node_fields && !final)
            call_start(&ap->look_call, g->cfg.transport,
                       &CALL_OPTIONS(.verb = CALL_GET, .kind = K(Node), .name = str_of(g->cfg.name)));
        else
            agent_reject(ap, arena_strz(&ap->arena, str_of(why.reason)), why.message);
    } else if (!g->apparmor && podspec_wants_apparmor(ap->pod->obj)) {
        agent_reject(ap, "AppArmor", S("Cannot enforce AppArmor: AppArmor is not enabled on the host"));
    } else if (!podspec_supported(ap->pod->obj, &err)) {
        agent_refuse(ap, "UnsupportedField", str_of(err.text), str_of(err.text));
    } else {
        take_in(ap);
        agent_pod_kick(ap);
    }
}

/* By the agent before this one. */
bool agent_was_admitted(const struct agent_pod *ap)
{
    return ap->pod->concluded || val_get(obj_status(ap->pod->obj), N(startTime));
}

/* A pod that somebody has bound to this node is taken in or refused, once. Until our own Node is known nothing is
 * decided. */
void agent_admit(struct agent_pod *ap)
{
    struct agent *g = ap->agent;
    const struct obj *node = cache_peek(g->nodes, S(""), str_of(g->cfg.name));
    if (agent_was_admitted(ap))
        take_in(ap);
    else if (node && !ap->admitted && !call_active(&ap->look_call))
        agent_judge(ap, node, false);
}

static void look_done(struct call *c)
{
    struct agent_pod *ap = container_of(c, struct agent_pod, look_call);
    struct agent *g = ap->agent;
    AUTO(obj_unref) struct obj *node = c->ok ? call_take_obj(c) : NULL;
    if (!node) /* the server is away, or the Node is: as it is known here */
        node = cache_get(g->nodes, S(""), str_of(g->cfg.name));
    if (node && !ap->dead && !ap->admitted)
        agent_judge(ap, node, true);
}

static void on_node(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct agent *g = container_of(h, struct agent, on_nodes);
    (void)was;
    if (!now)
        return;
    csi_node_changed(g->csi, now);
    if (!g->adopted)
        return;
    statics_begin(g->statics); /* mirrors are owned by it */
    map_each (e, &g->by_uid) {
        struct agent_pod *ap = e->value;
        if (!ap->admitted)
            agent_admit(ap);
    }
    timer_set(&g->resizes, 0);
}

/* The uid tells pods apart: of a name that no file name has room for, the beginning is enough. */
static struct str log_dir_of(struct arena *a, const char *log, const struct obj *pod)
{
    size_t others = pod->ns.n + pod->uid.n + 2;
    struct str name = str_sub(pod->name, 0, others < NAME_MAX ? NAME_MAX - others : 0);
    return arena_fmt(a, "%s/pods/" STR_FMT "_" STR_FMT "_" STR_FMT, log, STR_ARG(pod->ns), STR_ARG(name),
                     STR_ARG(pod->uid));
}

static struct agent_pod *add_pod(struct agent *g, struct obj *o)
{
    struct agent_pod *ap = NEW(struct agent_pod);
    ap->agent = g;
    ap->pod = ap->facts = pod_new(o, str_of(g->cfg.host_ip), clock_mono(), clock_real());
    grow_containers(ap);
    timer_init(&ap->wake, g->cfg.loop, on_wake);
    timer_init(&ap->refresh, g->cfg.loop, on_refresh);
    timer_init(&ap->usage, g->cfg.loop, on_usage);
    ap->status_call.done = agent_status_done;
    ap->delete_call.done = delete_done;
    ap->look_call.done = look_done;
    ap->class_call.done = agent_class_done;
    list_init(&ap->config_refs);
    list_init(&ap->leave_node);
    list_init(&ap->fence_node);
    ap->dir = dir_of(ap, g->cfg.data, "pods");
    ap->tmpfs_dir = dir_of(ap, g->cfg.run, "volumes");
    ap->mounts_dir = dir_of(ap, g->cfg.run, "mounts");
    ap->log_dir = log_dir_of(&ap->arena, g->cfg.log, o);
    (void)map_put(&g->by_uid, o->uid, ap);
    return ap;
}

/* --- the agent ------------------------------------------------------------------------------------------------- */

static void pod_here(struct agent *g, struct obj *o)
{
    struct agent_pod *ap = agent_pod_of(g, o->uid);
    if (!ap) {
        ap = add_pod(g, o);
        if (g->adopted)
            agent_admit(ap);
    } else if (o->rev > ap->pod->obj->rev) {
        agent_take_news(ap, o);
        grow_containers(ap);
        if (ap->admitted && !ap->pod->rejected)
            configs_need(ap);
    }
    if (ap->pod->wanted)
        timer_set(&g->resizes, 0);
    if (g->adopted)
        agent_pod_kick(ap);
}

static void pod_went(struct agent_pod *ap)
{
    struct agent *g = ap->agent;
    pod_gone(ap->facts, clock_mono());
    ap->dead = true;
    (void)map_del(&g->by_uid, ap->pod->uid);
    timer_set(&g->resizes, 0);
    qos_news(g->qos);
    agent_pod_kick(ap);
}

static void on_pod(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct agent *g = container_of(h, struct agent, on_pods);
    if (static_is_mirror(now ? now : was)) {
        statics_mirror(g->statics, was, now);
        return;
    }
    struct agent_pod *ap = now ? NULL : agent_pod_of(g, was->uid);
    if (ap)
        pod_went(ap);
    if (now)
        pod_here(g, now);
}

struct agent_pod *agent_add_static(struct agent *g, struct obj *o)
{
    struct agent_pod *ap = add_pod(g, o);
    if (g->adopted)
        agent_admit(ap);
    if (ap->admitted)
        agent_pod_kick(ap);
    return ap;
}

void agent_static_gone(struct agent_pod *ap)
{
    pod_went(ap);
}

static void on_service(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct agent *g = container_of(h, struct agent, on_services);
    services_changed(g->endpoints, was, now);
    announce_changed(g->announce, was, now);
    if (now && model_wants_ports(&now->tree))
        node_object_news(g->node); /* what listens on them here is to be known */
}

static void on_services_synced(struct cache_handler *h)
{
    services_heard(container_of(h, struct agent, on_services)->endpoints);
}

static void on_pods_synced(struct cache_handler *h)
{
    agent_heard(container_of(h, struct agent, on_pods));
}

static void on_runtime_adopted(void *arg)
{
    struct agent *g = arg;
    /* sandboxes are known before pods are: only then can it be told which are nobody's */
    struct pod_links links = {0};
    struct err err = ERR;
    if (pod_link_list(g->cfg.instance, &links, &err))
        ipam_restore(&g->ipam, &links);
    else
        log_warn("net.links", "error=\"%s\"", err.text);
    array_fini(&links.links);
    cache_start(g->pods);
    cache_start(g->services);
    cache_start(g->nodes);
    services_start(g->endpoints);
    agent_fences_start(g->fences);
}

static void on_exit_seen(void *arg, struct container *c)
{
    (void)arg;
    struct agent_container *ac = container_data(c);
    if (ac && ac->run == c && !ac->start) /* else `started` sees it, and tells both */
        agent_container_exited(ac, WORDS_LATER);
}

static void on_sandbox_lost(void *arg, struct sandbox *s)
{
    (void)arg;
    struct agent_pod *ap = sandbox_data(s);
    if (!ap)
        return;
    log_warn("pod.sandbox_lost", "pod=" NAMED_FMT, NAMED_ARG(ap->pod));
    files_words_unread(ap);
    pod_saw_sandbox_lost(ap->facts, clock_real(), clock_mono());
    agent_pod_kick(ap);
}

void agent_address_came_back(struct agent *g)
{
    map_each (e, &g->by_uid) {
        struct agent_pod *ap = e->value;
        if (ap->pod->volumes != PART_FAILED || !ap->wants_address)
            continue;
        pod_retry(ap->facts);
        agent_pod_kick(ap);
    }
}

void agent_config_news(struct agent *g, struct agent_pod *ap)
{
    (void)g;
    pod_retry(ap->facts);
    images_retry(ap);
    if (ap->volumes_waiting) {
        ap->volumes_waiting = false;
        volumes_setup(ap);
    } else {
        volumes_refresh(ap);
    }
    agent_pod_kick(ap);
}

/* What is mounted stays; a pod that waits for it is tried again. */
void agent_claim_news(struct agent_pod *ap)
{
    configs_need(ap); /* a claim may name its volume now */
    csi_claim_news(ap);
    pod_retry(ap->facts);
    if (ap->volumes_waiting) {
        ap->volumes_waiting = false;
        volumes_setup(ap);
    }
    agent_pod_kick(ap);
}

struct agent *agent_new(const struct agent_config *config, struct err *err)
{
    AUTO(agent_free) struct agent *g = NEW(struct agent);
    g->cfg = *config;
    g->began = clock_real();
    list_init(&g->disk_queue);
    if (gethostname(g->hostname, sizeof g->hostname - 1) < 0) {
        (void)err_errno(err, "gethostname");
        return NULL;
    }
    g->selinux = selinux_policy_here(&g->arena, &g->labels); /* files in memory, but for two small ones */
    g->apparmor = apparmor_here();
    struct arena *a = &g->arena;
    struct runtime_config rc = {
        .loop = config->loop,
        .state = config->run,
        .data = config->data,
        .content = config->content,
        .shim = config->shim,
        .crun = config->crun,
        .cgroup = config->cgroup,
        .on = {.container_exited = on_exit_seen, .container_log_full = logs_full, .sandbox_lost = on_sandbox_lost},
        .arg = g,
    };
    g->files = lane_new(config->loop, err);
    if (!g->files || !ipam_init(&g->ipam, config->node_pods, err))
        return NULL;
    g->runtime = runtime_new(&rc, err);
    if (!g->runtime)
        return NULL;
    g->events = events_new(config->transport, "kubelet", config->name);
    timer_init(&g->resizes, config->loop, agent_resizes_look);
    struct str mine = arena_fmt(a, "spec.nodeName=%s", config->name);
    struct str own = arena_fmt(a, "metadata.name=%s", config->name);
    g->pods = cache_new(config->transport, &(struct cache_options){.kind = K(Pod), .field_selector = mine});
    g->nodes = cache_new(config->transport, &(struct cache_options){.kind = K(Node), .field_selector = own});
    g->services = cache_new(config->transport, &(struct cache_options){.kind = K(Service)});
    g->on_pods = (struct cache_handler){.changed = on_pod, .synced = on_pods_synced};
    g->images = images_new(g);
    g->endpoints = services_new(g, err);
    if (!g->endpoints)
        return NULL;
    g->fences = agent_fences_new(g, err);
    if (!g->fences)
        return NULL;
    g->announce = announce_new(g);
    g->pressure = pressure_new(g);
    g->node = node_object_new(g);
    g->qos = qos_new(g);
    g->provisioner = provisioner_new(g);
    g->on_services = (struct cache_handler){.changed = on_service, .synced = on_services_synced};
    g->on_nodes = (struct cache_handler){.changed = on_node};
    cache_handler_add(g->pods, &g->on_pods);
    cache_handler_add(g->services, &g->on_services);
    cache_handler_add(g->nodes, &g->on_nodes);
    hostpaths_start(g);
    g->csi = csi_new(g);
    g->statics = statics_new(g, config->manifests);
    g->shutdown = shutdown_new(g, config->shutdown);
    return runtime_adopt(g->runtime, on_runtime_adopted, g, err) ? TAKE(g) : NULL;
}

void agent_free(struct agent *g)
{
    if (g->pods) {
        cache_handler_del(&g->on_pods);
        cache_handler_del(&g->on_services);
        cache_handler_del(&g->on_nodes);
    }
    figures_free(g->figures);
    statics_free(g->statics);
    pressure_halt(g->pressure);
    shutdown_free(g->shutdown);
    map_each (e, &g->by_uid)
        free_pod(e->value);
    map_fini(&g->by_uid);
    hostpaths_stop(g);
    timer_stop(&g->resizes);
    qos_free(g->qos);
    csi_free(g->csi);
    provisioner_free(g->provisioner);
    node_object_free(g->node);
    pressure_free(g->pressure);
    announce_free(g->announce);
    services_free(g->endpoints);
    agent_fences_free(g->fences);
    images_free(g->images);
    configs_free(g);
    cache_free(g->pods);
    cache_free(g->services);
    cache_free(g->nodes);
    events_free(g->events);
    if (g->runtime)
        runtime_free(g->runtime);
    ipam_fini(&g->ipam);
    lane_free(g->files);
    arena_fini(&g->arena);
    mem_free(g);
}
