/* The sandbox of a pod: the namespaces, mounts and network in which its containers run. It is made in stages, each of
 * which comes home to the loop before the next begins; the table below is the order. Whatever stage fails, the pod is
 * told, and asks again after a while: what is there of a half-made sandbox is then removed first.
 */
#include "api/usage.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "net/addr.h"
#include "node/agent_int.h"
#include "node/fences.h"
#include "node/podspec.h"

struct link_job {
    struct job job;
    struct agent_pod *ap;
    struct pod_link_spec spec;
    char alias[POD_LINK_ALIAS_MAX + 1];
    int netns;
    bool ok;
    struct err err;
};

struct ip_text agent_ip(const struct agent_pod *ap)
{
    struct ip_text t;
    (void)snprintf(t.z, sizeof t.z, IP4_FMT, IP4_ARG(ap->ip));
    return t;
}

static void sandbox_failed(struct agent_pod *ap, const char *what)
{
    AUTO(strbuf_fini) struct strbuf message = STRBUF(STRBUF_TEXT);
    strbuf_addf(&message, "Failed to create pod sandbox: %s", what);
    if (!pod_is_to_end(ap->pod))
        agent_event(ap, -1, true, "FailedCreatePodSandBox", strbuf_str(&message));
    pod_saw_sandbox(ap->facts, false, strbuf_str(&message), clock_mono());
}

/* --- and removing it --- */

static void sandbox_gone(struct sandbox *s, const struct err *err, void *arg)
{
    (void)s;
    fault_pass("node.saw.sandbox_gone");
    struct agent_pod *ap = arg;
    if (err)
        log_warn("pod.sandbox_stop", "pod=" NAMED_FMT " error=\"%s\"", NAMED_ARG(ap->pod), err->text);
    ap->sandbox = NULL;
    ap->sandbox_leaving = false;
    array_each (ac, &ap->containers)
        (*ac)->run = (*ac)->earlier = NULL; /* they went with it */
    pod_saw_sandbox_stopped(ap->facts);
    agent_pod_release(ap);
}

static void put_away(struct agent_pod *ap)
{
    ap->pending++;
    ap->sandbox_leaving = true;
    sandbox_data_set(ap->sandbox, NULL);
    sandbox_stop(ap->sandbox, sandbox_gone, ap);
}

void agent_sandbox_stop(struct agent_pod *ap)
{
    struct err err = ERR;
    if (!ap->sandbox) {
        pod_saw_sandbox_stopped(ap->facts);
        agent_pod_kick(ap);
        return;
    }
    if (ap->sandbox_leaving)
        return; /* sandbox_gone says so */
    services_host_ports(ap, false);
    if (ap->ip && !pod_link_unroute(ap->agent->cfg.instance, ap->ip, &err))
        log_warn("pod.unroute", "error=\"%s\"", err.text);
    put_away(ap);
}

/* --- making it --- */

static void find_runtime(struct agent_pod *ap);
static void sandbox_create(struct agent_pod *ap);
static void fence_pod(struct agent_pod *ap);
static void link_pod(struct agent_pod *ap);
static void mount_memory(struct agent_pod *ap);
static void open_ports(struct agent_pod *ap);

static void (*const stages[])(struct agent_pod *ap) = {
    find_runtime,   /* what its RuntimeClass names */
    sandbox_create, /* its folders, its cgroup and its shim, which is in the namespaces (oci) */
    fence_pod,      /* network policies that are about it are in force */
    link_pod,       /* a veth with the pod's address; routes to it. None on the host's network */
    mount_memory,   /* a tmpfs for each emptyDir of medium Memory */
    open_ports,     /* hostPorts lead to it from now on */
};

/* A stage is over; err NULL: it went well. One reference (`pending`) is held from the first stage to here. */
static void stage_over(struct agent_pod *ap, const struct err *err)
{
    if (!err && ++ap->sandbox_stage < countof(stages)) {
        stages[ap->sandbox_stage](ap);
        return;
    }
    if (err) {
        ap->agent->counts.pod_errors++;
        if (!podspec_host_users(ap->pod->obj))
            ap->agent->counts.users_errors++;
        sandbox_failed(ap, err->text);
    } else {
        ap->agent->counts.pods++;
        pod_saw_sandbox(ap->facts, true, str_of(ap->ip ? agent_ip(ap).z : ap->agent->cfg.host_ip), clock_mono());
        timer_set(&ap->usage, USAGE_FIRST);
    }
    agent_pod_release(ap);
}

static void sandbox_made(struct sandbox *s, const struct err *err, void *arg)
{
    fault_pass("node.saw.sandbox");
    struct agent_pod *ap = arg;
    ap->sandbox = err ? NULL : s;
    stage_over(ap, err);
}

/* A class is asked for when it is needed and not followed: its handler never changes. */
static void find_runtime(struct agent_pod *ap)
{
    struct str class = val_text_at(obj_spec(ap->pod->obj), N(runtimeClassName));
    ap->program = S("");
    if (class.n)
        call_start(&ap->class_call, ap->agent->cfg.transport,
                   &CALL_OPTIONS(.verb = CALL_GET, .kind = K(RuntimeClass), .name = class));
    else
        stage_over(ap, NULL);
}

void agent_class_done(struct call *c)
{
    fault_pass("node.saw.class");
    struct agent_pod *ap = container_of(c, struct agent_pod, class_call);
    struct err err = ERR;
    struct str handler = c->ok && c->obj ? val_text_at(&c->obj->tree, N(handler)) : S(""), program = S("");
    if (!c->ok)
        (void)err_set(&err, c->err.kind,
                      "failed to create sandbox for pod \"" STR_FMT "_" STR_FMT "(" STR_FMT ")\": %s",
                      STR_ARG(ap->pod->name), STR_ARG(ap->pod->ns), STR_ARG(ap->pod->uid), c->err.text);
    else if (!runtimes_find(str_of(ap->agent->cfg.runtimes ? ap->agent->cfg.runtimes : ""), handler, &program))
        (void)err_set(&err, E_NOT_FOUND,
                      "rpc error: code = Unknown desc = failed to get sandbox runtime: no runtime for \"" STR_FMT
                      "\" is configured",
                      STR_ARG(handler));
    ap->program = program; /* of the setting, which outlives the agent */
    stage_over(ap, err.kind ? &err : NULL);
}

static bool ids_taken(void *arg, uint32_t first)
{
    struct agent *g = arg;
    for (struct sandbox *s = sandbox_next(g->runtime, NULL); s; s = sandbox_next(g->runtime, s))
        if (sandbox_first_id(s) == first)
            return true;
    return false;
}

/* Its own ids, where the pod wants users of its own: they are its until its sandbox is gone, and sandboxes are what
 * they are remembered by. */
static bool users_of(struct agent_pod *ap, uint32_t *first, struct err *err)
{
    struct agent *g = ap->agent;
    *first = 0;
    if (podspec_host_users(ap->pod->obj))
        return true;
    if (!g->user_ids.n)
        return err_set(err, E_UNAVAILABLE,
                       "can't set `spec.hostUsers: false`, runtime does not support user namespaces: %s",
                       g->user_ids.why);
    *first = g->user_ids_last = user_ids_take(&g->user_ids, g->user_ids_last, ids_taken, g);
    return *first || err_set(err, E_UNAVAILABLE,
                             "create user namespace: could not find an empty slot to allocate a user namespace");
}

static bool level_taken(void *arg, struct str level)
{
    struct agent *g = arg;
    struct selinux_context c;
    for (struct sandbox *s = sandbox_next(g->runtime, NULL); s; s = sandbox_next(g->runtime, s))
        if (selinux_context_read(sandbox_label(s), &c) && str_eq(c.level, level))
            return true;
    map_each (e, &g->by_uid)
        if (podspec_has_level(((const struct agent_pod *)e->value)->pod->obj, level))
            return true;
    return false;
}

/* As with ids, sandboxes are what levels are remembered by. */
static bool label_of(struct agent_pod *ap, struct arena *a, struct str *label, struct err *err)
{
    struct agent *g = ap->agent;
    return podspec_pod_label(a, g->selinux ? &g->labels : NULL, ap->pod->obj, level_taken, g, label, err) &&
           (!label->n || selinux_known(*label, err));
}

static void sandbox_create(struct agent_pod *ap)
{
    struct agent *g = ap->agent;
    const struct pod *p = ap->pod;
    const struct val *spec = obj_spec(p->obj);
    AUTO(arena_fini) struct arena a = ARENA;
    struct pod_hostname hostname;
    struct strs sysctls;
    struct str label;
    uint32_t first_id;
    struct err err = ERR;
    if (!podspec_hostname(&a, p->obj, str_of(g->hostname), str_of(g->cfg.domain), &hostname, &err) ||
        !users_of(ap, &first_id, &err) || !label_of(ap, &a, &label, &err) ||
        !podspec_sysctls(&a, p->obj, str_of(g->cfg.unsafe_sysctls ? g->cfg.unsafe_sysctls : ""), &sysctls, &err)) {
        struct err why = ERR;
        (void)err_set(&why, err.kind,
                      "failed to generate sandbox config for pod \"" STR_FMT "_" STR_FMT "(" STR_FMT ")\": %s",
                      STR_ARG(p->name), STR_ARG(p->ns), STR_ARG(p->uid), err.text);
        stage_over(ap, &why);
        return;
    }
    struct sandbox_spec ss = {
        .id = p->uid,
        .name = arena_fmt(&a, NAMED_FMT, NAMED_ARG(p)),
        .note = p->uid,
        .hostname = p->host_network ? S("") : hostname.kernel,
        .cgroup = arena_fmt(&a, "%s/pod" STR_FMT, podspec_qos_folder(p->obj), STR_ARG(p->uid)),
        .sysctls = sysctls,
        .host_net = p->host_network,
        .host_ipc = val_true(val_get(spec, N(hostIPC))),
        .host_pid = val_true(val_get(spec, N(hostPID))),
        .share_pid = val_true(val_get(spec, N(shareProcessNamespace))),
        .program = ap->program,
        .first_id = first_id,
        .label = label,
    };
    podspec_pod_limits(&p->obj->tree, &ss.limits);
    struct val most = pod_resources(&a, &p->obj->tree, N(limits), POD_OVERHEAD);
    podspec_hugepages(&a, &most, NULL, &ss.limits);
    ss.limits.pids = g->pod_pids;
    const struct cgroup_bounds bounds = podspec_bounds(&ss.limits);
    pod_saw_force(ap->facts, -1, &bounds);
    ap->sandbox = sandbox_start(g->runtime, &ss, sandbox_made, ap);
    sandbox_data_set(ap->sandbox, ap);
}

static void fence_in_force(struct agent_pod *ap, const struct err *err)
{
    fault_pass("node.saw.fence");
    stage_over(ap, err);
}

static void fence_pod(struct agent_pod *ap)
{
    if (ap->pod->host_network)
        stage_over(ap, NULL);
    else
        agent_fence_wait(ap, fence_in_force);
}

static void link_work(struct job *j)
{
    struct link_job *l = container_of(j, struct link_job, job);
    struct pod_link out;
    l->ok = pod_link_add(&l->spec, &out, &l->err);
}

static void link_done(struct job *j)
{
    fault_pass("node.saw.link");
    struct link_job *l = container_of(j, struct link_job, job);
    fd_close(l->netns);
    stage_over(l->ap, l->ok ? NULL : &l->err);
    mem_free(l);
}

static void link_pod(struct agent_pod *ap)
{
    struct agent *g = ap->agent;
    struct err err = ERR;
    if (ap->pod->host_network) {
        stage_over(ap, NULL);
        return;
    }
    int netns = sandbox_netns(ap->sandbox, &err);
    if (netns < 0) {
        stage_over(ap, &err);
        return;
    }
    struct link_job *l = NEW(struct link_job);
    l->ap = ap;
    l->netns = netns;
    (void)snprintf(l->alias, sizeof l->alias, NAMED_FMT " " STR_FMT, NAMED_ARG(ap->pod), STR_ARG(ap->pod->uid));
    l->spec = (struct pod_link_spec){.instance = g->cfg.instance,
                                     .ip = ap->ip,
                                     .node_ip = ipam_node_ip(g->cfg.node_pods),
                                     .netns_fd = l->netns,
                                     .alias = l->alias};
    job_start(&l->job, g->cfg.loop, link_work, link_done);
}

static void memory_mounted(struct agent_pod *ap, const struct err *err)
{
    fault_pass("node.saw.memory");
    stage_over(ap, err);
}

static void mount_memory(struct agent_pod *ap)
{
    volumes_memory(ap, memory_mounted);
}

static void open_ports(struct agent_pod *ap)
{
    services_host_ports(ap, true);
    stage_over(ap, NULL);
}

void agent_sandbox_start(struct agent_pod *ap)
{
    if (!ap->sandbox) {
        ap->pending++;
        ap->sandbox_stage = 0;
        ap->agent->counts.users_pods += !podspec_host_users(ap->pod->obj);
        ap->users_failed = false;
        stages[0](ap);
        return;
    }
    /* a lost or half-made one: away with it, then again */
    pod_saw_sandbox(ap->facts, false, S("an earlier sandbox is being removed"), clock_mono());
    if (!ap->sandbox_leaving)
        put_away(ap);
}
