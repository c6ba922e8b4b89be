/* container.c - one container: start, end, and what it is.
 *
 * How it begins: container_create.c.
 *
 * How it starts (container_start): SHIM_START. The shim forks, the child joins the cgroup and becomes `crun run
 * --detach`; when crun ends well the program runs, and that is the answer; else the answer is what crun said. There
 * is no create-then-start: that would be one exec more.
 *
 * How it ends: an event of the shim's, once, with the exit code. The files stay until container_remove, which asks
 * the shim to let go of mount and place (SHIM_REMOVE, answered when nothing of it runs any more) and has a job remove
 * the rest, `about` with the folder last.
 */
#include "base/fault.h"
#include "oci/runtime_int.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <signal.h>

struct container *container_make(struct sandbox *s, struct str id, struct str note, struct str log)
{
    struct container *c = NEW(struct container);
    char path[PATH_MAX];
    c->rt = s->rt;
    c->sandbox = s;
    c->id = str_dupz(id);
    c->note = str_dupz(note);
    c->log = str_dupz(log);
    (void)snprintf(path, sizeof path, "%s/%s", s->cgroup, c->id);
    c->cgroup = mem_dupz(path);
    (void)snprintf(path, sizeof path, "%s/%s", s->dir, c->id);
    c->dir = mem_dupz(path);
    (void)snprintf(path, sizeof path, "%s/containers/%s", s->rt->data, c->id);
    c->data_dir = mem_dupz(path);
    map_put(&s->containers, id, c);
    map_put(&s->rt->containers, id, c);
    return c;
}

void container_free(struct container *c)
{
    char *const texts[] = {c->id, c->note, c->cgroup, c->dir, c->data_dir, c->log};
    for (size_t i = 0; i < countof(texts); i++)
        mem_free(texts[i]);
    prepared_free(c->prepared);
    mem_free(c->failure);
    arena_fini(&c->arena);
    mem_free(c);
}

void container_gone(struct container *c)
{
    struct sandbox *s = c->sandbox;
    (void)map_del(&s->containers, str_of(c->id));
    (void)map_del(&c->rt->containers, str_of(c->id));
    container_free(c);
    sandbox_stop_on(s);
}

void container_seen(struct container *c, const struct shim_status *st)
{
    static const enum container_state states[] = {[SHIM_CREATED] = CONTAINER_CREATED,
                                                  [SHIM_STARTING] = CONTAINER_STARTING,
                                                  [SHIM_RUNNING] = CONTAINER_RUNNING,
                                                  [SHIM_EXITED] = CONTAINER_EXITED};
    if (st->state == 0 || st->state >= countof(states))
        return;
    c->heard = true;
    c->status = (struct container_status){.state = states[st->state],
                                          .pid = (pid_t)st->pid,
                                          .code = st->code,
                                          .signal = st->signal,
                                          .oom = st->oom,
                                          .started_ns = st->started_ns,
                                          .finished_ns = st->finished_ns};
}

static int64_t text_field(struct str text, const char *name)
{
    struct str line, key, value;
    int64_t v = 0;
    while (str_cut(&text, '\n', &line))
        if (str_split(line, ' ', &key, &value) && str_eqz(key, name) && str_to_i64(value, INT64_MIN, INT64_MAX, &v))
            return v;
    return 0;
}

/* The shim is dead: what it wrote down last, and 137 for what it had not seen end. */
void container_lost(struct container *c)
{
    char path[PATH_MAX];
    struct err ignored = ERR; /* no status was written: it was not seen to start */
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096);
    if (c->status.state == CONTAINER_EXITED)
        return;
    (void)snprintf(path, sizeof path, "%s/status", c->dir);
    bool read = small_read(path, 4000, &b, &ignored) && str_starts(strbuf_str(&b), S("wherry-status 1\n"));
    struct str text = read ? strbuf_str(&b) : S("");
    c->status.started_ns = text_field(text, "started");
    c->status.pid = 0;
    c->status.state = CONTAINER_EXITED;
    if (str_has(text, S("\nstate exited\n"))) {
        c->status.code = (int)text_field(text, "code");
        c->status.signal = (int)text_field(text, "signal");
        c->status.oom = text_field(text, "oom") != 0;
        c->status.finished_ns = text_field(text, "finished");
        return;
    }
    c->status.lost = true;
    c->status.code = 128 + SIGKILL;
    c->status.signal = SIGKILL;
    c->status.finished_ns = clock_real();
}

void container_tell(struct container *c, const struct err *err)
{
    container_done *done = c->done;
    c->done = NULL;
    done(c, err, c->done_arg);
}

void container_remove_blocking(struct runtime_work *w)
{
    struct container *c = container_of(w, struct container, work);
    struct runtime *rt = c->rt;
    runtime_delete(c->sandbox, c->id);         /* before its groups go: they are in what it knows */
    if (!cgroup_kill(&rt->cgroups, c->cgroup)) /* strays in a shared pid namespace */
        w->ok = cgroup_wait_empty(&rt->cgroups, c->cgroup, 10000); /* if not, rmdir says so */
    w->ok = cgroup_remove(&rt->cgroups, c->cgroup, &w->err);
    fault_pass("oci.remove.cgroup");
    tree_drop(c->data_dir);
    fault_pass("oci.remove.data");
    content_unuse(rt->content, str_of(c->id));
    tree_drop(c->dir); /* last: until then it is one to adopt and remove again */
}

struct shim_request *container_request(struct container *c, container_done *done, void *arg,
                                       void (*fn)(struct shim_request *q, const struct shim_answer *a, int fd))
{
    struct shim_request *q = NEW(struct shim_request);
    q->sandbox = c->sandbox;
    q->container = c;
    q->done.container_done = done;
    q->arg = arg;
    q->fn = fn;
    return q;
}

/* ---- start, kill, remove ---- */

static void start_answered(struct shim_request *q, const struct shim_answer *a, int fd)
{
    struct container *c = q->container;
    struct err err = ERR;
    bool ok = answer_ok(a, "starting the container", &err);
    if (!ok && a && a->head.status != EIO) /* before crun began: nothing of the program's was tried */
        err.kind = E_UNAVAILABLE;
    fd_close(fd);
    if (ok && c->status.state != CONTAINER_EXITED) {
        c->status.state = CONTAINER_RUNNING;
        c->status.pid = (pid_t)a->u.target.pid;
        c->status.started_ns = clock_real();
    } else if (!ok && c->status.state != CONTAINER_EXITED) {
        c->status = (struct container_status){.state = CONTAINER_EXITED, .code = 128, .finished_ns = clock_real()};
    }
    q->done.container_done(c, ok ? NULL : &err, q->arg);
    mem_free(q);
}

void container_start(struct container *c, container_done *done, void *arg)
{
    struct shim_target m = {0};
    memcpy(m.id, c->id, strlen(c->id));
    if (c->status.state == CONTAINER_CREATED)
        c->status.state = CONTAINER_STARTING;
    sandbox_send(c->sandbox, SHIM_START, &m, NULL, container_request(c, done, arg, start_answered));
}

static void answer_ignore(struct shim_request *q, const struct shim_answer *a, int fd)
{
    (void)a;
    fd_close(fd);
    mem_free(q);
}

void container_kill(struct container *c, int signo)
{
    struct shim_kill m = {.signal = signo};
    memcpy(m.id, c->id, strlen(c->id));
    if (c->status.state != CONTAINER_RUNNING && c->status.state != CONTAINER_STARTING)
        return;
    sandbox_send(c->sandbox, SHIM_KILL, &m, NULL, container_request(c, NULL, NULL, answer_ignore));
    /* in a shared pid namespace its children live on; those that fork meanwhile go when it is removed */
    if (signo == SIGKILL && !cgroup_empty(&c->rt->cgroups, c->cgroup))
        cgroup_signal(&c->rt->cgroups, c->cgroup, SIGKILL);
}

static void remove_over(struct runtime_work *w)
{
    struct container *c = container_of(w, struct container, work);
    container_tell(c, w->ok ? NULL : &w->err);
    container_gone(c);
}

static void remove_answered(struct shim_request *q, const struct shim_answer *a, int fd)
{
    struct container *c = q->container;
    struct err err = ERR;
    fd_close(fd);
    mem_free(q);
    /* without a shim, or unknown to it, there is nothing but files left */
    if (a && a->head.status != 0 && a->head.status != ENOENT) {
        (void)answer_ok(a, "removing the container", &err);
        container_tell(c, &err);
        return;
    }
    work_start_long(&c->work, c->rt, container_remove_blocking, remove_over);
}

void container_remove(struct container *c, container_done *done, void *arg)
{
    struct shim_target m = {0};
    memcpy(m.id, c->id, strlen(c->id));
    c->done = done;
    c->done_arg = arg;
    sandbox_send(c->sandbox, SHIM_REMOVE, &m, NULL, container_request(c, NULL, NULL, remove_answered));
}

void container_log_reopen(struct container *c)
{
    struct shim_target m = {0};
    memcpy(m.id, c->id, strlen(c->id));
    sandbox_send(c->sandbox, SHIM_REOPEN, &m, NULL, container_request(c, NULL, NULL, answer_ignore));
}

void container_resize(struct container *c, uint16_t rows, uint16_t columns)
{
    struct shim_resize m = {.rows = rows, .columns = columns};
    memcpy(m.container, c->id, strlen(c->id));
    sandbox_send(c->sandbox, SHIM_RESIZE, &m, NULL, container_request(c, NULL, NULL, answer_ignore));
}

/* ---- what it is ---- */

struct container *container_next(struct sandbox *s, struct container *prev)
{
    bool next = prev == NULL;
    map_each (e, &s->containers) {
        if (next)
            return e->value;
        next = e->value == prev;
    }
    return NULL;
}

struct container *container_find(struct runtime *rt, struct str id)
{
    return map_get(&rt->containers, id);
}

struct str container_id(const struct container *c)
{
    return str_of(c->id);
}

struct str container_note(const struct container *c)
{
    return str_of(c->note);
}

struct str container_log(const struct container *c)
{
    return str_of(c->log);
}

void container_status(const struct container *c, struct container_status *out)
{
    *out = c->status;
}

const struct oci_notices *container_notices(const struct container *c)
{
    return &c->notices;
}

void *container_data(const struct container *c)
{
    return c->owner_data;
}

void container_data_set(struct container *c, void *data)
{
    c->owner_data = data;
}

bool container_stats(const struct container *c, struct cgroup_stats *out, struct err *err)
{
    return cgroup_stats(&c->rt->cgroups, c->cgroup, out, err);
}

const char *container_cgroup(const struct container *c)
{
    return c->cgroup;
}

struct str container_folder(const struct container *c, struct arena *a)
{
    return str_dup(a, str_of(c->data_dir));
}
