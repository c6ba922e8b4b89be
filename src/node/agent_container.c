#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "node/agent_int.h"
#include "node/env.h"
#include "node/exec_words.h"
#include "node/hooks.h"
#include "node/podspec.h"
#include "node/relay_link.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#define LOG_MAX               (10 << 20) /* a kubelet's containerLogMaxSize */
#define TERMINATION_MOST      4096       /* bytes of a termination message from a file */
#define TERMINATIONS_MOST     (12 << 10) /* and of those of all containers of a pod together */
#define TERMINATION_LOG_MOST  2048       /* and of one from the log */
#define TERMINATION_LOG_LINES 80

const struct pod_container *agent_wanted(struct agent_container *ac)
{
    return &ac->ap->pod->containers.p[ac->index];
}

static struct str termination_file(struct agent_container *ac, struct arena *a)
{
    return arena_fmt(a, STR_FMT "/containers/" STR_FMT "/termination-log", STR_ARG(ac->ap->dir),
                     STR_ARG(agent_wanted(ac)->name));
}

/* The end of a file, however long the container made it; empty where there is none. */
static struct str file_tail(struct arena *a, struct str path, size_t most)
{
    AUTO(fd_close) int fd = open(path.p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return S("");
    char *to = arena_alloc(a, most);
    ssize_t n = pread(fd, to, most, MAX(st.st_size - (off_t)most, 0));
    return n > 0 ? (struct str){to, (size_t)n} : S("");
}

/* The container's last words: from its file, or, where asked for and it failed, the end of its log. */
static struct str last_words(struct agent_container *ac, struct arena *a, bool failed)
{
    size_t most = MIN(TERMINATION_MOST, TERMINATIONS_MOST / MAX(ac->ap->containers.n, 1));
    struct str file = file_tail(a, termination_file(ac, a), most);
    if (file.n)
        return file;
    if (!failed ||
        !str_eq(val_text_at(agent_wanted(ac)->spec, N(terminationMessagePolicy)), S("FallbackToLogsOnError")) ||
        !ac->run)
        return S("");
    return hooks_log_tail(a, container_log(ac->run), TERMINATION_LOG_LINES, MIN(most, TERMINATION_LOG_MOST));
}

void agent_container_exited(struct agent_pod *ap, struct agent_container *ac)
{
    fault_pass("node.saw.exit");
    struct container_status s;
    container_status(ac->run, &s);
    probes_stop(ac);
    relay_container_ended(container_id(ac->run));
    struct arena a = ARENA;
    struct str words = last_words(ac, &a, s.code != 0);
    pod_saw_exit(ap->facts, ac->index, s.code, s.oom, words, s.started_ns, s.finished_ns, clock_mono());
    arena_fini(&a);
    agent_pod_kick(ap);
}

static void start_failed(struct agent_container *ac, const char *reason, const char *text, bool config)
{
    struct agent_pod *ap = ac->ap;
    ac->starting = false;
    agent_eventf(ap, ac->index, true, "Failed", "Error: %s", text);
    pod_saw_start_failed(ap->facts, ac->index, reason, str_of(text), config, clock_real(), clock_mono());
    arena_fini(&ac->scratch); /* `text` may be in it */
}

static void started(struct container *c, const struct err *err, void *arg)
{
    fault_pass("node.saw.started");
    struct agent_container *ac = arg;
    struct agent_pod *ap = ac->ap;
    struct container_status s;
    if (err && err->kind == E_UNAVAILABLE) { /* the node's own reasons: again, as if it had never been tried */
        start_failed(ac, "CreateContainerError", err->text, true);
    } else if (err) {
        start_failed(ac, "RunContainerError", start_words(&ac->scratch, str_of(err->text), ac->program).p, false);
    } else {
        container_status(c, &s);
        ac->starting = false;
        arena_fini(&ac->scratch);
        agent_event(ap, ac->index, false, "Started", S("Container started"));
        pod_saw_running(ap->facts, ac->index, container_id(c), s.started_ns, clock_mono());
        if (s.state == CONTAINER_EXITED)
            agent_container_exited(ap, ac);
        else
            probes_start(ac);
    }
    agent_pod_release(ap);
}

static void link_log(struct agent_container *ac, struct str id)
{
    struct agent_pod *ap = ac->ap;
    char dir[600], link[900];
    (void)snprintf(dir, sizeof dir, "%s/containers", ap->agent->cfg.log);
    (void)snprintf(link, sizeof link, "%s/" STR_FMT "_" STR_FMT "_" STR_FMT "-" STR_FMT ".log", dir,
                   STR_ARG(ap->pod->name), STR_ARG(ap->pod->ns), STR_ARG(agent_wanted(ac)->name), STR_ARG(id));
    struct str log = container_log(ac->run);
    AUTO_FREE char *to = str_dupz(log);
    if (symlink(to, link) < 0)
        log_debug("log.link", "link=%s", link);
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
    return arena_fmt(&ac->scratch,
                     "unable to start container process: container init was OOM-killed (memory limit too low?): "
                     "resources.limits.memory is " STR_FMT,
                     STR_ARG(limit))
        .p;
}

static void created(struct container *c, const struct err *err, void *arg)
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
        agent_pod_release(ap);
        return;
    }
    const struct oci_notices *n = container_notices(c);
    for (size_t i = 0; n && i < n->n; i++)
        agent_event(ap, ac->index, true, "Clamped", n->list[i]);
    agent_event(ap, ac->index, false, "Created", S("Container created"));
    link_log(ac, container_id(c));
    container_start(c, started, ac);
    fault_pass("node.saw.starting");
}

static bool volume_path(void *arg, struct str name, struct str *path, bool *read_only)
{
    struct agent_container *ac = arg;
    return volumes_path(ac->ap, &ac->scratch, name, path, read_only);
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

static bool build(struct agent_container *ac, struct oci_container *oci, struct image *image, struct err *err)
{
    struct agent_pod *ap = ac->ap;
    struct agent *g = ap->agent;
    const struct pod *p = ap->pod;
    struct arena *a = &ac->scratch;
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
        .termination_file = termination_file(ac, a),
        .volume_path = volume_path,
        .arg = ac,
    };
    AUTO(env_fini) struct env env = {0};
    in.env = &env;
    return target_pid(ac, &in.target_pid, err) && env_build(a, &ei, &env, err) && podspec_container(a, &in, oci, err);
}

/* The folder of its logs, which the relay may read: files made in it are of its group (set-group-id). */
static bool prepare_logs(struct agent_container *ac, struct err *err)
{
    struct agent_pod *ap = ac->ap;
    struct str dir = arena_fmt(&ac->scratch, STR_FMT "/" STR_FMT, STR_ARG(ap->log_dir),
                               STR_ARG(agent_wanted(ac)->name));
    if (!dir_make(dir.p, 0755, err))
        return false;
    AUTO(fd_close) int fd = file_open_below(dir.p, LOG_FOLDERS, O_RDONLY | O_DIRECTORY, 0);
    return (fd >= 0 && fchown(fd, 0, ap->agent->cfg.relay_gid) == 0 && fchmod(fd, 02755) == 0) ||
           err_errno(err, "%s", dir.p);
}

static bool prepare_files(struct agent_container *ac, struct err *err)
{
    struct str path = termination_file(ac, &ac->scratch);
    struct str dir = str_sub(path, 0, (size_t)str_rfind_char(path, '/'));
    AUTO_FREE char *z = str_dupz(dir);
    if (!dir_make(z, 0755, err))
        return false;
    AUTO(fd_close) int fd = open(path.p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0 || fchmod(fd, 0666) < 0)
        return err_errno(err, "%s", path.p);
    return true;
}

static void create(struct agent_container *ac)
{
    struct agent_pod *ap = ac->ap;
    const struct pod_container *c = agent_wanted(ac);
    struct arena *a = &ac->scratch;
    struct oci_container oci;
    struct image image;
    struct err err = ERR;
    if (!build(ac, &oci, &image, &err) || !prepare_files(ac, &err) || !prepare_logs(ac, &err)) {
        if (err.kind == E_UNAVAILABLE) { /* not heard of yet: comes again with the news, silently */
            pod_saw_start_waits(ap->facts, ac->index, clock_mono());
            ac->starting = false;
            arena_fini(a);
        } else {
            start_failed(ac, "CreateContainerConfigError", err.text, true);
        }
        agent_pod_release(ap);
        return;
    }
    ac->program = oci.args.n ? str_dup(a, oci.args.p[0]) : S("");
    unsigned char raw[32];
    AUTO(strbuf_fini) struct strbuf id = STRBUF(64);
    random_bytes(raw, sizeof raw);
    strbuf_add_hex(&id, raw, sizeof raw);
    const struct container_user user = {true, oci.uid, oci.gid, oci.groups, oci.ngroups};
    pod_saw_starting(ap->facts, ac->index, strbuf_str(&id), &user);
    struct container_spec cs = {
        .id = strbuf_str(&id),
        .note = arena_fmt(a, STR_FMT " %d", STR_ARG(c->name), pod_run_number(c)),
        .image = image.manifest,
        .oci = &oci,
        .log = arena_fmt(a, STR_FMT "/" STR_FMT "/%d.log", STR_ARG(ap->log_dir), STR_ARG(c->name), pod_run_number(c)),
        .log_max = LOG_MAX,
        .stdin_open = val_true(val_get(c->spec, N(stdin))),
        .stdin_once = val_true(val_get(c->spec, N(stdinOnce))),
    };
    ac->run = container_create(ap->sandbox, &cs, created, ac);
    container_data_set(ac->run, ac);
}

void agent_container_start(struct agent_container *ac)
{
    ac->starting = true;
    ac->ap->pending++;
    if (ac->run) {
        agent_drop_earlier(ac);
        container_data_set(ac->run, NULL);
        ac->earlier = ac->run;
        ac->run = NULL;
    }
    create(ac);
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
