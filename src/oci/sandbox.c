/* sandbox.c - one pod: its shim, its beginning and its end.
 *
 * How a sandbox begins (sandbox_start):
 *   1. start_prepare     on the loop: the message SHIM_SANDBOX is filled in, or the spec is refused.
 *   2. start_blocking    a job: STATE/pods/ID with `note` and, last, `about`; the pod's cgroup; a socket pair; the
 *                        shim is spawned with one end of it as descriptor 3. It forks itself away, so that it is
 *                        nobody's child (shim_spawn waits for its parent half, which ends at once).
 *   3. SHIM_SANDBOX      the shim makes the namespaces and moves into them, mounts /dev/shm, and listens on `sock`
 *                        in the pod's folder.
 *      SHIM_WATCH        it sends events from now on.
 *      SHIM_HELLO        it says who it is: the process whose /proc/PID/ns are the pod's. Then the owner is told.
 *   The three of step 3 are sent at once; answers come in order. A failure of the first is told by its own words.
 *
 * How it ends (sandbox_stop): SHIM_QUIT kills all containers; the shim answers when the last has ended, and ends.
 * Then one job (clean_blocking) makes sure that the shim is gone, empties and removes the cgroup, and removes
 * folders: those of containers, and the sandbox's own last. It waits until no container has a job of its own under
 * way (sandbox_stop_on): two would remove, and make, the same folders.
 *
 * Its messages: sandbox_link.c.
 */
#include "base/fault.h"
#include "base/log.h"
#include "oci/runtime_int.h"
#include "sys/child.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define DELETE_MS 10000 /* for another runtime to forget a container; then its groups are emptied all the same */

/* ---- life ---- */

struct sandbox *sandbox_make(struct runtime *rt, struct str id, struct str name, struct str note, struct str cgroup)
{
    struct sandbox *s = NEW(struct sandbox);
    char path[PATH_MAX];
    s->rt = rt;
    s->fd = -1;
    s->id = str_dupz(id);
    s->name = str_dupz(name);
    s->note = str_dupz(note);
    s->cgroup = str_dupz(cgroup);
    s->program = mem_dupz("");
    s->label = mem_dupz("");
    (void)snprintf(path, sizeof path, "%s/pods/%s", rt->state, s->id);
    s->dir = mem_dupz(path);
    (void)snprintf(path, sizeof path, "%s/shm", s->dir);
    s->shm = mem_dupz(path);
    timer_init(&s->silent, rt->loop, sandbox_silent);
    list_init(&s->requests);
    list_init(&s->unsent);
    list_init(&s->execs);
    list_init(&s->attaches);
    map_put(&rt->sandboxes, id, s);
    return s;
}

void sandbox_free(struct sandbox *s)
{
    if (s->fd >= 0)
        poll_stop(&s->poll);
    timer_stop(&s->silent);
    fd_close(s->fd);
    if (s->settling)
        timer_stop(&s->settle);
    mem_free(s->settling);
    sandbox_link_drop(s);
    execs_lost(s);
    map_fini(&s->containers);
    char *const texts[] = {s->id, s->name, s->note, s->cgroup, s->dir, s->shm, s->program, s->label};
    for (size_t i = 0; i < countof(texts); i++)
        mem_free(texts[i]);
    mem_free(s->wanted);
    mem_free(s->failure);
    arena_fini(&s->arena);
    mem_free(s);
}

static void sandbox_gone(struct sandbox *s)
{
    while (map_len(&s->containers)) {
        struct container *c = container_next(s, NULL);
        (void)map_del(&s->rt->containers, str_of(c->id));
        (void)map_del(&s->containers, str_of(c->id));
        container_free(c);
    }
    (void)map_del(&s->rt->sandboxes, str_of(s->id));
    sandbox_free(s);
}

/* The shim, from a pool thread: it forks itself away, into `group` (v2; NULL: it stays in ours), and its parent ends
 * at once. */
static bool shim_spawn(const char *shim, const char *name, const char *group, int fd, struct err *err)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&files, 0, 1);
    posix_spawn_file_actions_adddup2(&files, fd, 3);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    static char shim_name[] = "wherry-shim";
    char *argv[] = {shim_name, (char *)(uintptr_t)name, (char *)(uintptr_t)group, NULL};
    char *env[] = {NULL};
    pid_t pid;
    int rc = posix_spawn(&pid, shim, &files, &attr, argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    int status = 0;
    if (rc == 0)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
    errno = rc;
    if (rc != 0)
        return err_errno(err, "start %s", shim);
    if (status != 0)
        return err_set(err, E_INTERNAL, "%s ended with status %d", shim, status);
    return true;
}

/* On v2 the shims have a group beside those of pods: in the node's own they would be left over when systemd ends its
 * unit, and in a pod's there may be none, as it has groups below it. */
static bool shims_group(struct runtime *rt, char *dir, size_t size, struct err *err)
{
    char path[512];
    const struct oci_limits none = {0};
    (void)snprintf(path, sizeof path, "%s/shims", rt->cgroup);
    (void)snprintf(dir, size, "%s%s", rt->cgroups.mount[0], path);
    return cgroup_create(&rt->cgroups, path, &none, false, NULL, err);
}

static void start_blocking(struct runtime_work *w)
{
    struct sandbox *s = container_of(w, struct sandbox, work);
    char path[PATH_MAX], group[PATH_MAX];
    AUTO(strbuf_fini) struct strbuf about = STRBUF(8000);
    int pair[2] = {-1, -1};
    bool v2 = s->rt->cgroups.mode == CGROUP_V2;
    strbuf_addf(&about, "%s\n%s\n", s->name, s->cgroup);
    if (s->first_id)
        strbuf_addf(&about, "ids %u\n", s->first_id);
    if (s->program[0])
        strbuf_addf(&about, "program %s\n", s->program);
    if (s->label[0])
        strbuf_addf(&about, "label %s\n", s->label);
    w->ok = dirs_make(s->dir, 0711, &w->err);
    fault_pass("oci.sandbox.dir");
    (void)snprintf(path, sizeof path, "%s/note", s->dir);
    w->ok = w->ok && small_write(path, str_of(s->note), &w->err);
    (void)snprintf(path, sizeof path, "%s/about", s->dir); /* last: from now on it is one to adopt */
    w->ok = w->ok && small_write(path, strbuf_str(&about), &w->err);
    fault_pass("oci.sandbox.about");
    w->ok = w->ok && cgroup_create(&s->rt->cgroups, s->cgroup, &s->limits, false, NULL, &w->err);
    if (w->ok && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        w->ok = err_errno(&w->err, "socketpair");
    fault_pass("oci.sandbox.cgroup");
    w->ok = w->ok && (!v2 || shims_group(s->rt, group, sizeof group, &w->err)) &&
            shim_spawn(s->rt->shim, s->name, v2 ? group : NULL, pair[1], &w->err);
    fault_pass("oci.sandbox.shim");
    fd_close(pair[1]);
    if (w->ok)
        s->fd = pair[0];
    else
        fd_close(pair[0]);
}

static void start_told(struct sandbox *s, const struct err *err)
{
    sandbox_done *done = s->done;
    s->done = NULL;
    mem_free(s->wanted);
    s->wanted = NULL;
    done(s, err, s->done_arg);
}

/* A shim that is there and does not talk to us any more would stay for ever once its folder is gone. */
static bool shim_end(const struct sandbox *s, struct err *err)
{
    char path[PATH_MAX];
    AUTO(strbuf_fini) struct strbuf b = STRBUF(256);
    struct err ignored =
        ERR; /* an older one does not say who it is; nor one that did not get that far, which ends itself */
    struct str pid, start;
    int64_t number;
    uint64_t started;
    struct process_stat now;
    (void)snprintf(path, sizeof path, "%s/shim", s->dir);
    if (!small_read(path, 200, &b, &ignored) || !str_split(str_trim(strbuf_str(&b)), ' ', &pid, &start) ||
        !str_to_i64(pid, 1, INT32_MAX, &number) || !str_to_u64(start, UINT64_MAX, &started))
        return true;
    AUTO(fd_close) int fd = (int)syscall(SYS_pidfd_open, (pid_t)number, 0);
    if (fd < 0 || !process_stat((pid_t)number, &now) || now.started != started)
        return true; /* it is gone, or its number is somebody else's: looked at after the descriptor was had */
    struct pollfd p = {fd, POLLIN, 0};
    if (poll(&p, 1, 0) == 0 && syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
        return err_errno(err, "end the shim of %s", s->name);
    return poll(&p, 1, 10000) > 0 || err_set(err, E_TIMEOUT, "the shim of %s does not end", s->name);
}

void runtime_delete(const struct sandbox *s, const char *id)
{
    char root[PATH_MAX], path[PATH_MAX + SHIM_ID + 1];
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf said = STRBUF(4096);
    (void)snprintf(root, sizeof root, "%s/crun", s->rt->state);
    (void)snprintf(path, sizeof path, "%s/%s", root, id);
    const char *const argv[] = {s->program, "--root", root, "delete", "--force", id, NULL};
    if (s->program[0] && access(path, F_OK) == 0 && !command_run(argv, S(""), &said, DELETE_MS, &err))
        log_warn("runtime.delete", "pod=%s container=%s error=\"%s\"", s->name, id, err.text);
    tree_drop(path);
}

static void clean_blocking(struct runtime_work *w)
{
    struct sandbox *s = container_of(w, struct sandbox, work);
    struct runtime *rt = s->rt;
    if (!shim_end(s, &w->err)) {
        w->ok = false; /* its folder stays, and is found at the next adoption */
        return;
    }
    if (!cgroup_kill(&rt->cgroups, s->cgroup))
        w->ok = cgroup_wait_empty(&rt->cgroups, s->cgroup, 10000); /* if not, rmdir says so */
    map_each (e, &s->containers) {
        struct container *c = e->value;
        runtime_delete(s, c->id);
        fault_pass("oci.clean.crun");
        tree_drop(c->data_dir);
        content_unuse(rt->content, str_of(c->id));
    }
    fault_pass("oci.clean.containers");
    w->ok = cgroup_remove(&rt->cgroups, s->cgroup, &w->err);
    fault_pass("oci.clean.cgroup");
    tree_drop(s->dir);
}

static void start_failed_cleaned(struct runtime_work *w)
{
    struct sandbox *s = container_of(w, struct sandbox, work);
    struct err *why = s->failure;
    start_told(s, why);
    sandbox_gone(s);
}

static void start_failed(struct sandbox *s, const struct err *err)
{
    s->stopping = true;
    s->failure = mem_dup(err, sizeof *err);
    sandbox_link_down(s);
    work_start_long(&s->work, s->rt, clean_blocking, start_failed_cleaned);
}

static void start_ready(struct shim_request *q, const struct shim_answer *a, int fd)
{
    struct sandbox *s = q->sandbox;
    struct err err = ERR;
    fd_close(fd);
    mem_free(q);
    if (s->stopping)
        return; /* the answer to SHIM_SANDBOX told already */
    if (!answer_ok(a, "starting the pod's shim", &err)) {
        start_failed(s, &err);
        return;
    }
    s->pid = (pid_t)a->u.hello.pid;
    s->init_pid = (pid_t)a->u.hello.init_pid;
    s->ready = true;
    start_told(s, NULL);
}

static void start_sandboxed(struct shim_request *q, const struct shim_answer *a, int fd)
{
    struct sandbox *s = q->sandbox;
    struct err err = ERR;
    fd_close(fd);
    mem_free(q);
    if (!s->stopping && !answer_ok(a, "making the pod's sandbox", &err))
        start_failed(s, &err);
}

static void answer_ignore(struct shim_request *q, const struct shim_answer *a, int fd)
{
    (void)a;
    fd_close(fd);
    mem_free(q);
}

static struct shim_request *request_for(struct sandbox *s,
                                        void (*fn)(struct shim_request *q, const struct shim_answer *a, int fd))
{
    struct shim_request *q = NEW(struct shim_request);
    q->sandbox = s;
    q->fn = fn;
    return q;
}

static void start_spawned(struct runtime_work *w)
{
    struct sandbox *s = container_of(w, struct sandbox, work);
    if (!w->ok) {
        start_failed(s, &w->err);
        return;
    }
    sandbox_connect(s, s->fd);
    bool more = s->first_id || s->program[0]; /* than an older shim has heard of */
    sandbox_send(s, more ? SHIM_POD : SHIM_SANDBOX, s->wanted, NULL, request_for(s, start_sandboxed));
    sandbox_send(s, SHIM_WATCH, NULL, NULL, request_for(s, answer_ignore));
    sandbox_send(s, SHIM_HELLO, NULL, NULL, request_for(s, start_ready));
}

static void start_refused(void *arg)
{
    struct sandbox *s = arg;
    struct err *why = s->failure;
    start_told(s, why);
    sandbox_gone(s);
}

static bool copy_text(char *to, size_t size, struct str from, const char *field, struct err *err)
{
    if (from.n >= size || memchr(from.p ? from.p : "", 0, from.n))
        return err_set(err, E_INVALID, "%s: over %zu bytes, or has a NUL byte", field, size - 1);
    if (from.n)
        memcpy(to, from.p, from.n);
    to[from.n] = 0;
    return true;
}

static bool start_prepare(struct sandbox *s, const struct sandbox_spec *spec, struct err *err)
{
    struct shim_sandbox *m;
    struct runtime *rt = s->rt;
    s->wanted = NEW(struct shim_pod);
    m = &s->wanted->sandbox;
    mem_free(s->program);
    s->program = str_dupz(spec->program);
    mem_free(s->label);
    s->label = str_dupz(spec->label);
    s->first_id = s->wanted->first_id = spec->first_id;
    s->wanted->ids = OCI_IDS;
    AUTO(strbuf_fini) struct strbuf sysctls = STRBUF(sizeof m->sysctls);
    for (size_t i = 0; i < spec->sysctls.n; i++) {
        if (str_find_char(spec->sysctls.p[i], '\n') >= 0)
            return err_set(err, E_INVALID, "sysctls: a line in each, not more");
        strbuf_addf(&sysctls, STR_FMT "\n", STR_ARG(spec->sysctls.p[i]));
    }
    if (sysctls.over)
        return err_set(err, E_TOO_LARGE, "sysctls: over %zu bytes", sizeof m->sysctls - 1);
    m->flags = (spec->host_net ? 0 : SHIM_NEW_NET) | (spec->host_ipc ? 0 : SHIM_NEW_IPC) |
               (spec->hostname.n ? SHIM_NEW_UTS : 0) | (spec->share_pid && !spec->host_pid ? SHIM_NEW_PID : 0) |
               (rt->cgroups.mode == CGROUP_HYBRID ? SHIM_HIDE_UNIFIED : 0) |
               (spec->program.n ? SHIM_OTHER_RUNTIME : 0) | (spec->first_id ? SHIM_NEW_USER : 0);
    m->shm_mib = spec->shm_mib ? spec->shm_mib : 64;
    char crun_root[PATH_MAX];
    (void)snprintf(crun_root, sizeof crun_root, "%s/crun", rt->state);
    if (!id_valid(spec->id))
        return err_set(err, E_INVALID, "id: \"" STR_FMT "\" must be 1 to 64 of a-z, 0-9 and -",
                       STR_ARG(str_sub(spec->id, 0, 100)));
    if (spec->cgroup.n < 2 || spec->cgroup.p[0] != '/' || str_has(spec->cgroup, S("..")) || spec->cgroup.n > 300)
        return err_set(err, E_INVALID, "cgroup: \"" STR_FMT "\" must be an absolute path of at most 300 bytes",
                       STR_ARG(str_sub(spec->cgroup, 0, 100)));
    if (spec->note.n > 65536)
        return err_set(err, E_INVALID, "note: over 65536 bytes");
    return copy_text(m->name, sizeof m->name, spec->name, "name", err) &&
           copy_text(m->state, sizeof m->state, str_of(s->dir), "state folder", err) &&
           copy_text(m->crun, sizeof m->crun, spec->program.n ? spec->program : str_of(rt->crun), "crun", err) &&
           copy_text(m->crun_root, sizeof m->crun_root, str_of(crun_root), "state folder", err) &&
           copy_text(m->hostname, sizeof m->hostname, spec->hostname, "hostname", err) &&
           copy_text(m->sysctls, sizeof m->sysctls, strbuf_str(&sysctls), "sysctls", err);
}

struct sandbox *sandbox_start(struct runtime *rt, const struct sandbox_spec *spec, sandbox_done *done, void *arg)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str cgroup = arena_fmt(&a, "%s" STR_FMT, rt->cgroup, STR_ARG(spec->cgroup));
    struct err err = ERR;
    bool twin = sandbox_find(rt, spec->id) != NULL;
    struct str id = twin || !id_valid(spec->id) ? arena_fmt(&a, "refused-%p", (void *)spec) : spec->id;
    struct sandbox *s = sandbox_make(rt, id, spec->name, spec->note, cgroup);
    s->done = done;
    s->done_arg = arg;
    limits_copy(&s->arena, &s->limits, &spec->limits);
    if (twin)
        (void)err_set(&err, E_ALREADY_EXISTS, "there is a sandbox " STR_FMT " already", STR_ARG(spec->id));
    if (twin || !start_prepare(s, spec, &err)) {
        s->failure = mem_dup(&err, sizeof err);
        loop_post(rt->loop, start_refused, s);
        return s;
    }
    work_start(&s->work, rt, start_blocking, start_spawned);
    return s;
}

/* ---- stopping ---- */

static void stop_cleaned(struct runtime_work *w)
{
    struct sandbox *s = container_of(w, struct sandbox, work);
    sandbox_done *done = s->done;
    done(s, w->ok ? NULL : &w->err, s->done_arg);
    sandbox_gone(s);
}

static void stop_quit(struct shim_request *q, const struct shim_answer *a, int fd)
{
    struct sandbox *s = q->sandbox;
    (void)a;
    fd_close(fd);
    mem_free(q);
    sandbox_link_down(s);
    s->stop_waits = true;
    sandbox_stop_on(s);
}

void sandbox_stop_on(struct sandbox *s)
{
    if (!s->stop_waits)
        return;
    map_each (e, &s->containers)
        if (((struct container *)e->value)->work.started)
            return;
    s->stop_waits = false;
    work_start_long(&s->work, s->rt, clean_blocking, stop_cleaned);
}

void sandbox_stop(struct sandbox *s, sandbox_done *done, void *arg)
{
    s->stopping = true;
    s->ready = false;
    s->done = done;
    s->done_arg = arg;
    sandbox_send(s, SHIM_QUIT, NULL, NULL, request_for(s, stop_quit));
}

/* ---- mounts ---- */

static void mount_done(struct shim_request *q, const struct shim_answer *a, int fd)
{
    struct err err = ERR;
    bool ok = answer_ok(a, "mount in the pod", &err);
    fd_close(fd);
    q->done.sandbox_done(q->sandbox, ok ? NULL : &err, q->arg);
    mem_free(q);
}

void sandbox_mount(struct sandbox *s, const char *type, const char *source, const char *target, uint64_t flags,
                   const char *data, sandbox_done *done, void *arg)
{
    static struct shim_mount m;
    struct err err = ERR;
    m = (struct shim_mount){.flags = flags};
    struct shim_request *q = request_for(s, mount_done);
    q->done.sandbox_done = done;
    q->arg = arg;
    if (!copy_text(m.type, sizeof m.type, str_of(type), "type", &err) ||
        !copy_text(m.source, sizeof m.source, str_of(source), "source", &err) ||
        !copy_text(m.target, sizeof m.target, str_of(target), "target", &err) ||
        !copy_text(m.data, sizeof m.data, str_of(data), "data", &err)) {
        list_init(&q->node);
        loop_post(s->rt->loop, request_fail, q);
        return;
    }
    sandbox_send(s, SHIM_MOUNT, &m, NULL, q);
}

/* ---- what it is ---- */

struct sandbox *sandbox_next(struct runtime *rt, struct sandbox *prev)
{
    bool next = prev == NULL;
    map_each (e, &rt->sandboxes) {
        if (next)
            return e->value;
        next = e->value == prev;
    }
    return NULL;
}

struct sandbox *sandbox_find(struct runtime *rt, struct str id)
{
    return map_get(&rt->sandboxes, id);
}

struct str sandbox_id(const struct sandbox *s)
{
    return str_of(s->id);
}

struct str sandbox_name(const struct sandbox *s)
{
    return str_of(s->name);
}

struct str sandbox_note(const struct sandbox *s)
{
    return str_of(s->note);
}

pid_t sandbox_pid(const struct sandbox *s)
{
    return s->pid;
}

uint32_t sandbox_first_id(const struct sandbox *s)
{
    return s->first_id;
}

struct str sandbox_label(const struct sandbox *s)
{
    return str_of(s->label);
}

bool sandbox_lost(const struct sandbox *s)
{
    return s->lost;
}

struct str sandbox_shm(const struct sandbox *s)
{
    return str_of(s->shm);
}

int sandbox_netns(const struct sandbox *s, struct err *err)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/ns/net", (int)s->pid);
    int fd = s->pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        err_errno(err, "the network namespace of %s", s->name);
    return fd;
}

void *sandbox_data(const struct sandbox *s)
{
    return s->data;
}

void sandbox_data_set(struct sandbox *s, void *data)
{
    s->data = data;
}

const char *sandbox_cgroup(const struct sandbox *s)
{
    return s->cgroup;
}

bool sandbox_stats(const struct sandbox *s, struct cgroup_stats *out, struct err *err)
{
    return cgroup_stats(&s->rt->cgroups, s->cgroup, out, err);
}
