/* One container of a pod: how it is started, what is told when it has ended, and its hooks.
 *
 * A start goes through stages, each of which comes home to the loop before the next begins; the table below is the
 * order. Between DO_CONTAINER_START and its answer (pod_saw_running or pod_saw_start_failed) the pod has the
 * container as RUN_STARTING and asks nothing else of it, so a stage finds everything as the one before left it -
 * except the pod's object, which may be a newer one: what is taken from it is taken in the one stage
 * container_prepare.
 *
 * An end goes the other way: the runtime says that the process is gone (agent_container_exited), its last words are
 * read from its files (agent_files.c), and only then the pod is told, all at once. So what is restarted has been told
 * of with its message.
 */
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "node/agent_int.h"
#include "node/env.h"
#include "node/exec_words.h"
#include "node/hooks.h"
#include "node/image_volumes.h"
#include "node/podspec.h"
#include "node/relay_link.h"
#include <errno.h>
#include <signal.h>

const struct pod_container *agent_wanted(struct agent_container *ac)
{
    return &ac->ap->pod->containers.p[ac->index];
}

/* --- starting --- */

static void make_files(struct agent_container *ac);
static void mount_images(struct agent_container *ac);
static void read_variables(struct agent_container *ac);
static void container_prepare(struct agent_container *ac);
static void link_log(struct agent_container *ac);
static void container_run(struct agent_container *ac);

static void (*const stages[])(struct agent_container *ac) = {
    make_files,        /* its termination message's file, the folder of its logs */
    mount_images,      /* volumes that are images */
    read_variables,    /* files of its pod's volumes that its environment is taken from */
    container_prepare, /* what the pod says, as the runtime wants it; cgroup, config.json and root by the runtime */
    link_log,          /* LOG/containers/POD_NS_CONTAINER-ID.log, by which log collectors find it */
    container_run,     /* crun: its program runs (oci) */
};

/* A start under way; its arena goes with it. */
struct container_start {
    size_t stage;
    struct arena arena;
    struct str termination; /* path of its message's file */
    struct str program;     /* the first word of its command */
    struct env_file *variables;
    size_t nvariables;
};

static void stage_over(struct agent_container *ac)
{
    stages[++ac->start->stage](ac);
}

static void start_over(struct agent_container *ac)
{
    struct container_start *s = TAKE(ac->start);
    arena_fini(&s->arena);
    mem_free(s);
    if (ac->ap->teardown_waits)
        volumes_teardown(ac->ap);
    agent_pod_release(ac->ap);
}

/* Somebody has removed it since it was looked for (wherry image rm). */
static bool image_is_gone(struct agent_container *ac)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct image image;
    struct err err = ERR;
    return !images_read(ac->ap->agent, &a, val_text_at(agent_wanted(ac)->spec, N(image)), &image, &err) &&
           err.kind == E_NOT_FOUND;
}

void agent_count_ending(struct agent_container *ac)
{
    const struct pod_container *c = agent_wanted(ac);
    counted_ending_add(ac->ap->agent->counts.endings, c->end.reason, (int)c->role, c->end.exit_code);
}

static void start_failed(struct agent_container *ac, const char *reason, const char *text, bool config)
{
    struct agent_pod *ap = ac->ap;
    agent_eventf(ap, ac->index, true, "Failed", "Error: %s", text);
    counted_reason_add(ap->agent->counts.failures, reason, (int)agent_wanted(ac)->role);
    if (!podspec_host_users(ap->pod->obj) && !ap->users_failed) {
        ap->users_failed = true; /* one sandbox, one error */
        ap->agent->counts.users_errors++;
    }
    pod_saw_start_failed(ap->facts, ac->index, reason, str_of(text), config, clock_real(), clock_mono());
    if (!config)
        agent_count_ending(ac);
    if (image_is_gone(ac))
        pod_saw_image_gone(ap->facts, ac->index);
    start_over(ac); /* `text` may be in its arena */
}

static struct str log_folder(struct agent_container *ac, struct arena *a)
{
    return arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(ac->ap->log_dir), STR_ARG(agent_wanted(ac)->name));
}

static void files_made(struct agent_container *ac, const struct err *err)
{
    if (err)
        start_failed(ac, "CreateContainerConfigError", err->text, true);
    else
        stage_over(ac);
}

static void make_files(struct agent_container *ac)
{
    struct arena *a = &ac->start->arena;
    ac->start->termination = agent_termination_file(ac, a);
    files_make(ac, ac->start->termination, log_folder(ac, a), files_made);
}

static void mount_images(struct agent_container *ac)
{
    image_volumes_mount(ac, files_made);
}

static void variables_read(struct agent_container *ac, struct env_file *files, size_t n)
{
    ac->start->variables = files;
    ac->start->nvariables = n;
    stage_over(ac);
}

static void read_variables(struct agent_container *ac)
{
    files_variables(ac, &ac->start->arena, variables_read);
}

void agent_run_removed(struct container *c, const struct err *err, void *arg)
{
    (void)arg;
    fault_pass("node.saw.removed");
    if (err)
        log_warn("container.remove", "container=" STR_FMT " error=\"%s\"", STR_ARG(container_id(c)), err->text);
}

void agent_drop_earlier(struct agent_container *ac)
{
    if (ac->earlier)
        container_remove(ac->earlier, agent_run_removed, NULL);
    ac->earlier = NULL;
}

/* Nothing can be made in a group whose limit is used up by the group itself. */
static const char *creation_words(struct agent_container *ac, const struct err *err)
{
    struct str limit = val_text(val_get_str(val_at(agent_wanted(ac)->spec, N(resources), N(limits)), S("memory")));
    if (err->sys != ENOMEM || !limit.n)
        return err->text;
    return arena_fmt(&ac->start->arena,
                     "unable to start container process: container init was OOM-killed (memory limit too low?): "
                     "resources.limits.memory is " STR_FMT,
                     STR_ARG(limit))
        .p;
}

static void container_created(struct container *c, const struct err *err, void *arg)
{
    fault_pass("node.saw.created");
    struct agent_container *ac = arg;
    struct agent_pod *ap = ac->ap;
    if (err) {
        ac->run = NULL;
        /* what the pod itself asks for and cannot have: a subPath that leads out, say */
        bool asked = err->kind == E_INVALID;
        start_failed(ac, asked ? "CreateContainerConfigError" : "CreateContainerError", creation_words(ac, err),
                     true);
        return;
    }
    const struct oci_notices *n = container_notices(c);
    for (size_t i = 0; n && i < n->n; i++)
        agent_event(ap, ac->index, true, "Clamped", n->list[i]);
    agent_event(ap, ac->index, false, "Created", S("Container created"));
    stage_over(ac);
}

static bool volume_path(void *arg, struct str name, struct str *path, bool *read_only)
{
    struct agent_container *ac = arg;
    return volumes_path(ac->ap, &ac->start->arena, name, path, read_only);
}

static bool volume_relabel(void *arg, struct str name)
{
    struct agent_container *ac = arg;
    return podspec_is_first_with(ac->ap->pod->obj, agent_wanted(ac)->spec, name) && volumes_relabel(ac->ap, name);
}

static bool volume_device_of(void *arg, struct str name, struct oci_device *out, struct err *err)
{
    struct agent_container *ac = arg;
    return claims_device(ac->ap, name, out, err);
}

/* A process of the container whose processes an ephemeral one wants to see (targetContainerName); 0: of none. */
static bool target_pid(struct agent_container *ac, pid_t *pid, struct err *err)
{
    struct agent_pod *ap = ac->ap;
    struct str name = val_text_at(agent_wanted(ac)->spec, N(targetContainerName));
    *pid = 0;
    if (!name.n)
        return true;
    int i = pod_container_find(ap->pod, name);
    struct container_status st = {0};
    if (i >= 0 && ap->containers.p[i]->run)
        container_status(ap->containers.p[i]->run, &st);
    if (st.state != CONTAINER_RUNNING)
        return err_set(err, E_INVALID, "unable to find target container \"" STR_FMT "\": it does not run",
                       STR_ARG(name));
    *pid = st.pid;
    return true;
}

static bool labels_known(const struct oci_container *oci, struct err *err)
{
    return (!oci->process_label.n || selinux_known(oci->process_label, err)) &&
           (!oci->mount_label.n || selinux_known(oci->mount_label, err));
}

static bool container_build(struct agent_container *ac, struct oci_container *oci, struct image *image,
                            struct err *err)
{
    struct agent_pod *ap = ac->ap;
    struct agent *g = ap->agent;
    const struct pod *p = ap->pod;
    struct arena *a = &ac->start->arena;
    const struct pod_container *c = agent_wanted(ac);
    const struct val *spec = obj_spec(p->obj);
    if (!images_read(g, a, val_text_at(c->spec, N(image)), image, err))
        return false;
    struct sources sources = configs_sources(ap);
    struct env_input ei = {.sources = &sources, .pod = p->obj, .container = c->spec, .image_env = image->env};
    struct pod_hostname hostname;
    if (!podspec_hostname(a, p->obj, str_of(g->hostname), str_of(g->cfg.domain), &hostname, err))
        return false;
    ei.hostname = hostname.kernel;
    const struct obj **services = arena_alloc(a, (objset_len(cache_set(g->services)) + 1) * sizeof *services);
    const struct val *links = val_get(spec, N(enableServiceLinks));
    struct objset_iter it = objset_all(cache_set(g->services));
    for (struct obj *o; (o = objset_next(&it));) {
        bool master = str_eq(o->ns, S("default")) && str_eq(o->name, S("kubernetes"));
        if (master || (str_eq(o->ns, p->ns) && (!links || val_true(links))))
            services[ei.nservices++] = o;
    }
    ei.services = services;
    ei.files = ac->start->variables;
    ei.nfiles = ac->start->nvariables;
    struct podspec_input in = {
        .data = g->cfg.data,
        .sources = &sources,
        .pod = p->obj,
        .container = c->spec,
        .image = image,
        .shm = val_true(val_get(spec, N(hostIPC))) ? S("/dev/shm") : sandbox_shm(ap->sandbox),
        .hosts_file = arena_fmt(a, STR_FMT "/hosts", STR_ARG(ap->dir)),
        .hostname_file = arena_fmt(a, STR_FMT "/hostname", STR_ARG(ap->dir)),
        .resolv_file = arena_fmt(a, STR_FMT "/resolv.conf", STR_ARG(ap->dir)),
        .termination_file = ac->start->termination,
        .volume_path = volume_path,
        .volume_relabel = volume_relabel,
        .volume_device = volume_device_of,
        .selinux = g->selinux ? &g->labels : NULL,
        .pod_label = sandbox_label(ap->sandbox),
        .arg = ac,
    };
    AUTO(env_fini) struct env env = {0};
    in.env = &env;
    if (g->apparmor && podspec_wants_apparmor(p->obj) && !apparmor_profiles(g, a, &in.apparmor, err))
        return false;
    return target_pid(ac, &in.target_pid, err) && env_build(a, &ei, &env, err) &&
           podspec_container(a, &in, oci, err) && labels_known(oci, err);
}

/* The sandbox was lost while a stage was under way, and there is no other one yet. */
static bool is_homeless(const struct agent_container *ac)
{
    return !ac->ap->sandbox || ac->ap->sandbox_leaving;
}

static void container_prepare(struct agent_container *ac)
{
    struct agent_pod *ap = ac->ap;
    const struct pod_container *c = agent_wanted(ac);
    struct arena *a = &ac->start->arena;
    struct oci_container oci;
    struct image image;
    struct err err = ERR;
    if (is_homeless(ac)) {
        start_failed(ac, "CreateContainerError", "the sandbox is not running", true);
        return;
    }
    if (!container_build(ac, &oci, &image, &err)) {
        if (err.kind == E_UNAVAILABLE) { /* not heard of yet: comes again with the news, silently */
            pod_saw_start_waits(ap->facts, ac->index, clock_mono());
            start_over(ac);
        } else {
            start_failed(ac, "CreateContainerConfigError", err.text, true);
        }
        return;
    }
    ac->start->program = oci.args.n ? str_dup(a, oci.args.p[0]) : S("");
    unsigned char raw[32];
    AUTO(strbuf_fini) struct strbuf id = STRBUF(64);
    random_bytes(raw, sizeof raw);
    strbuf_add_hex(&id, raw, sizeof raw);
    const struct container_user user = {true, oci.uid, oci.gid, oci.groups, oci.ngroups};
    const struct cgroup_bounds bounds = podspec_bounds(&oci.limits);
    pod_saw_starting(ap->facts, ac->index, strbuf_str(&id), &user);
    pod_saw_force(ap->facts, ac->index, &bounds);
    struct container_spec cs = {
        .id = strbuf_str(&id),
        .note = arena_fmt(a, STR_FMT " %d", STR_ARG(c->name), pod_run_number(c)),
        .image = image.manifest,
        .oci = &oci,
        .log = arena_fmt(a, STR_FMT "/%d.log", STR_ARG(log_folder(ac, a)), pod_run_number(c)),
        .log_max = (uint64_t)ap->agent->cfg.log_bytes,
        .stdin_open = val_true(val_get(c->spec, N(stdin))),
        .stdin_once = val_true(val_get(c->spec, N(stdinOnce))),
    };
    ac->run = container_create(ap->sandbox, &cs, container_created, ac);
    container_data_set(ac->run, ac);
}

static void link_log(struct agent_container *ac)
{
    files_link_log(ac, stage_over);
}

static void container_started(struct container *c, const struct err *err, void *arg)
{
    fault_pass("node.saw.started");
    struct agent_container *ac = arg;
    struct agent_pod *ap = ac->ap;
    struct container_status s;
    if (err && err->kind == E_UNAVAILABLE) { /* the node's own reasons: again, as if it had never been tried */
        start_failed(ac, "CreateContainerError", err->text, true);
        return;
    }
    if (err) {
        struct str why = start_words(&ac->start->arena, str_of(err->text), ac->start->program);
        start_failed(ac, "RunContainerError", why.p, false);
        return;
    }
    container_status(c, &s);
    agent_event(ap, ac->index, false, "Started", S("Container started"));
    ap->agent->counts.containers[agent_wanted(ac)->role]++;
    if (s.state == CONTAINER_EXITED) { /* that it ran is told together with its end */
        agent_container_exited(ac, WORDS_WITH_START);
    } else {
        pod_saw_running(ap->facts, ac->index, container_id(c), s.started_ns, clock_mono());
        probes_start(ac);
    }
    start_over(ac);
}

static void container_run(struct agent_container *ac)
{
    if (!ac->run || is_homeless(ac)) {
        start_failed(ac, "CreateContainerError", "the sandbox is not running", true);
        return;
    }
    container_start(ac->run, container_started, ac);
    fault_pass("node.saw.starting");
}

void agent_container_start(struct agent_container *ac)
{
    if (ac->start) /* in a sandbox that was lost meanwhile: it goes on in this one, or is told to have failed */
        return;
    ac->ap->pending++;
    if (ac->run) {
        agent_drop_earlier(ac);
        container_data_set(ac->run, NULL);
        ac->earlier = ac->run;
        ac->run = NULL;
    }
    ac->start = NEW(struct container_start);
    stages[0](ac);
}

/* --- ending --- */

void agent_container_exited(struct agent_container *ac, enum words_how how)
{
    fault_pass("node.saw.exit");
    probes_stop(ac);
    relay_container_ended(container_id(ac->run));
    files_last_words(ac, how);
}

int agent_stop_signal(struct agent_container *ac)
{
    struct arena a = ARENA;
    struct image image;
    struct err err = ERR;
    int signo = SIGTERM;
    struct str named = val_text_at(agent_wanted(ac)->spec, N(lifecycle), N(stopSignal));
    if (named.n)
        signo = hooks_signal(named);
    else if (images_read(ac->ap->agent, &a, val_text_at(agent_wanted(ac)->spec, N(image)), &image, &err))
        signo = hooks_signal(image.stop_signal);
    arena_fini(&a);
    return signo;
}

/* --- hooks ------------------------------------------------------------------------------------------------------ */

struct hook_run {
    struct agent_pod *ap;
    int index;
    bool poststart;
};

static void hook_done(void *arg, bool ok, struct str message)
{
    fault_pass("node.saw.hook");
    struct hook_run *h = arg;
    struct agent_pod *ap = h->ap;
    if (!ok) {
        const char *reason = h->poststart ? "FailedPostStartHook" : "FailedPreStopHook";
        agent_event(ap, h->index, true, reason, h->poststart ? S("PostStartHook failed") : S("PreStopHook failed"));
    }
    struct arena a = ARENA;
    const struct pod *p = ap->pod;
    const struct pod_container *c = &p->containers.p[h->index];
    const struct val *exec = val_at(c->spec, N(lifecycle), N(postStart), N(exec), N(command));
    if (!ok && h->poststart && exec)
        message = arena_fmt(&a,
                            "Exec lifecycle hook ([" STR_FMT "]) for Container \"" STR_FMT "\" in Pod \"" STR_FMT
                            "_" STR_FMT "(" STR_FMT ")\" failed - error: " STR_FMT,
                            STR_ARG(hooks_words(&a, exec)), STR_ARG(c->name), STR_ARG(p->name), STR_ARG(p->ns),
                            STR_ARG(p->uid), STR_ARG(message));
    const struct val *http = val_at(c->spec, N(lifecycle), N(postStart), N(httpGet));
    if (!ok && h->poststart && http)
        message = arena_fmt(&a,
                            "HTTP lifecycle hook (" STR_FMT ") for Container \"" STR_FMT "\" in Pod \"" STR_FMT
                            "_" STR_FMT "(" STR_FMT ")\" failed - error: " STR_FMT,
                            STR_ARG(val_text_at(http, N(path))), STR_ARG(c->name), STR_ARG(p->name), STR_ARG(p->ns),
                            STR_ARG(p->uid), STR_ARG(message));
    pod_saw_hook(ap->facts, h->index, h->poststart, ok, message);
    arena_fini(&a);
    agent_pod_release(ap);
    mem_free(h);
}

void agent_hook(struct agent_container *ac, bool poststart)
{
    struct hook_run *h = NEW(struct hook_run);
    *h = (struct hook_run){ac->ap, ac->index, poststart};
    const struct val *handler = val_at(agent_wanted(ac)->spec, N(lifecycle), poststart ? N(postStart) : N(preStop));
    ac->ap->pending++;
    hooks_run(ac->ap->agent->cfg.loop, ac->run, handler, agent_wanted(ac)->spec, ac->ap->pod->ip, hook_done, h);
}
