#include "oci/runtime_int.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <signal.h>

#define OUTPUT_MAX 10240 /* of a probe's output; the kubelet keeps as much */
#define EXEC_MAX   (4 << 20)

struct exec {
    struct list node; /* of the sandbox's execs */
    struct sandbox *sandbox;
    char id[SHIM_ID], process[2 * SHIM_PATH];
    uint32_t seq;
    bool running, kill_early;
    struct exec_events on; /* none: forgotten */
    void *arg;
};

struct attach {
    struct list node;
    struct sandbox *sandbox;
    uint32_t seq;
    void (*done)(void *arg, const struct err *err);
    void *arg;
};

static void exec_over(struct exec *x, int code, const struct err *err)
{
    struct exec_events on = x->on;
    void *arg = x->arg;
    if (x->sandbox->rt->dying)
        on = (struct exec_events){0};
    list_del(&x->node);
    mem_free(x);
    if (on.ended)
        on.ended(arg, code, err);
}

static void exec_signal(struct exec *x, int signo);

static void exec_answered(struct shim_request *q, const struct shim_answer *a, int fd)
{
    struct exec *x = q->arg;
    struct err err = ERR;
    (void)unlink(x->process); /* it goes with the folder of its container */
    x->seq = q->seq;
    mem_free(q);
    if (!answer_ok(a, "exec", &err)) {
        fd_close(fd);
        exec_over(x, -1, &err);
        return;
    }
    x->running = true;
    if (x->kill_early)
        exec_signal(x, SIGKILL);
    if (x->on.started)
        x->on.started(x->arg, fd);
    else
        fd_close(fd);
}

struct exec *container_exec(struct container *c, const struct exec_spec *spec, const struct exec_events *on,
                            void *arg)
{
    struct exec *x = NEW(struct exec);
    struct shim_exec m = {.rows = spec->rows, .columns = spec->columns, .flags = spec->terminal ? SHIM_TTY : 0};
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf base = STRBUF(EXEC_MAX), json = STRBUF(EXEC_MAX);
    uint64_t salt[2];
    char path[PATH_MAX];
    random_bytes(salt, sizeof salt);
    x->sandbox = c->sandbox;
    x->on = *on;
    x->arg = arg;
    list_add_tail(&c->sandbox->execs, &x->node);
    (void)snprintf(x->id, sizeof x->id, "%016llx%016llx", (unsigned long long)salt[0], (unsigned long long)salt[1]);
    (void)snprintf(x->process, sizeof x->process, "%s/%s.json", c->dir, x->id);
    struct shim_request *q = NEW(struct shim_request);
    q->sandbox = c->sandbox;
    q->container = c;
    q->fn = exec_answered;
    q->arg = x;
    (void)snprintf(path, sizeof path, "%s/exec.base", c->dir);
    /* two small files in memory (STATE is a tmpfs): quicker than a job */
    if (small_read(path, EXEC_MAX, &base, &err))
        oci_exec_json(strbuf_str(&base), spec->args,
                      spec->terminal ? &(struct oci_terminal){spec->rows, spec->columns} : NULL, &json);
    if (!small_write(x->process, strbuf_str(&json), &err))
        (void)unlink(x->process); /* crun will say that it is not there */
    memcpy(m.id, x->id, strlen(x->id));
    memcpy(m.container, c->id, strlen(c->id));
    (void)snprintf(m.process, sizeof m.process, "%s", x->process);
    /* the kernel wants descriptors: -1 becomes /dev/null here */
    AUTO(fd_close) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    const int fds[3] = {spec->in >= 0 ? spec->in : null, spec->out >= 0 ? spec->out : null,
                        spec->err >= 0 ? spec->err : null};
    sandbox_send(c->sandbox, SHIM_EXEC, &m, spec->terminal ? NULL : fds, q);
    return x;
}

static void answer_ignore(struct shim_request *q, const struct shim_answer *a, int fd)
{
    (void)a;
    fd_close(fd);
    mem_free(q);
}

static void exec_signal(struct exec *x, int signo)
{
    struct shim_kill m = {.signal = signo};
    struct shim_request *q = NEW(struct shim_request);
    memcpy(m.id, x->id, strlen(x->id));
    q->sandbox = x->sandbox;
    q->fn = answer_ignore;
    sandbox_send(x->sandbox, SHIM_EXEC_KILL, &m, NULL, q);
}

void exec_kill(struct exec *x, int signo)
{
    if (!x->running)
        x->kill_early = true; /* as soon as it is one */
    else
        exec_signal(x, signo);
}

void exec_forget(struct exec *x)
{
    x->on = (struct exec_events){0};
}

void execs_event(struct sandbox *s, const struct shim_answer *a)
{
    list_each (x, &s->execs, struct exec, node)
        if (a->head.op == SHIM_EVENT_EXEC_EXIT && strcmp(x->id, a->u.exec_exit.id) == 0) {
            exec_over(x, a->u.exec_exit.code, NULL);
            return;
        }
    list_each (t, &s->attaches, struct attach, node)
        if (a->head.op == SHIM_EVENT_ATTACH_END && t->seq == a->head.seq) {
            list_del(&t->node);
            if (t->done)
                t->done(t->arg, NULL);
            mem_free(t);
            return;
        }
}

void execs_lost(struct sandbox *s)
{
    struct err err = ERR;
    (void)err_set(&err, E_UNAVAILABLE, "the pod's shim is gone");
    struct list over;
    list_init(&over);
    list_each (x, &s->execs, struct exec, node)
        if (x->running || s->rt->dying) { /* those not answered yet end with their request */
            list_del(&x->node);
            list_add_tail(&over, &x->node);
        }
    while (!list_empty(&over))
        exec_over(list_first(&over, struct exec, node), -1, &err);
    list_init(&over);
    list_each (t, &s->attaches, struct attach, node)
        if (t->seq) {
            list_del(&t->node);
            list_add_tail(&over, &t->node);
        }
    while (!list_empty(&over)) {
        struct attach *t = list_first(&over, struct attach, node);
        list_del(&t->node);
        if (t->done && !s->rt->dying)
            t->done(t->arg, &err);
        mem_free(t);
    }
}

/* ---- output wanted ---- */

struct exec_output {
    struct loop *loop;
    struct exec *exec; /* NULL: ended */
    struct poll poll;
    struct timer timer;
    int fd, code;
    struct strbuf text;
    struct err err;
    void (*done)(void *arg, int code, struct str output, const struct err *err);
    void *arg;
};

static void output_end(struct exec_output *o)
{
    poll_stop(&o->poll);
    timer_stop(&o->timer);
    if (o->exec)
        exec_forget(o->exec);
    o->done(o->arg, o->err.kind ? -1 : o->code, strbuf_str(&o->text), o->err.kind ? &o->err : NULL);
    fd_close(o->fd);
    strbuf_fini(&o->text);
    mem_free(o);
}

/* false: the other side has closed it */
static bool output_read(struct exec_output *o)
{
    char buf[4096];
    for (int i = 0; i < 16; i++) {
        ssize_t n = read(o->fd, buf, sizeof buf);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if (n == 0)
            return false;
        /* what does not fit is dropped, and still read: the program must not wait for us */
        strbuf_add(&o->text, (struct str){buf, MIN((size_t)n, o->text.max - o->text.n)});
    }
    return true;
}

static void output_readable(struct poll *p, int ready)
{
    struct exec_output *o = container_of(p, struct exec_output, poll);
    (void)ready;
    if (!output_read(o))
        poll_want(p, 0);
}

static void output_ended(void *arg, int code, const struct err *err)
{
    struct exec_output *o = arg;
    o->exec = NULL;
    o->code = code;
    if (err && !o->err.kind)
        o->err = *err;
    (void)output_read(o); /* what it left; children that it left behind are not waited for */
    output_end(o);
}

static void output_late(struct timer *t)
{
    struct exec_output *o = container_of(t, struct exec_output, timer);
    if (!o->err.kind)
        (void)err_set(&o->err, E_TIMEOUT, "command timed out");
    if (o->exec)
        exec_kill(o->exec, SIGKILL);
    output_end(o);
}

void container_exec_output(struct container *c, struct strs args, int64_t timeout_ns,
                           void (*done)(void *arg, int code, struct str output, const struct err *err), void *arg)
{
    struct exec_output *o = NEW(struct exec_output);
    int pipes[2] = {-1, -1};
    static const struct exec_events on = {.ended = output_ended};
    o->done = done;
    o->arg = arg;
    o->text = STRBUF(OUTPUT_MAX);
    timer_init(&o->timer, c->rt->loop, output_late);
    if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK) < 0) {
        (void)err_errno(&o->err, "a pipe for the command's output");
        o->fd = -1;
        poll_init(&o->poll, c->rt->loop, -1, output_readable);
        timer_set(&o->timer, 0); /* not from inside the call */
        return;
    }
    o->fd = pipes[0];
    (void)fcntl(pipes[1], F_SETFL, 0); /* a descriptor of ours: cannot fail */
    poll_init(&o->poll, c->rt->loop, o->fd, output_readable);
    poll_want(&o->poll, POLL_READ);
    timer_set(&o->timer, timeout_ns);
    const struct exec_spec spec = {.args = args, .in = -1, .out = pipes[1], .err = pipes[1]};
    o->exec = container_exec(c, &spec, &on, o);
    fd_close(pipes[1]);
}

/* ---- attach ---- */

static void attach_answered(struct shim_request *q, const struct shim_answer *a, int fd)
{
    struct attach *t = q->arg;
    struct err err = ERR;
    fd_close(fd);
    t->seq = q->seq;
    mem_free(q);
    if (answer_ok(a, "attach", &err))
        return;
    list_del(&t->node);
    if (t->done)
        t->done(t->arg, &err);
    mem_free(t);
}

struct attach *container_attach(struct container *c, int in, int out, int err,
                                void (*done)(void *arg, const struct err *err), void *arg)
{
    struct attach *t = NEW(struct attach);
    struct shim_attach m = {0};
    t->sandbox = c->sandbox;
    t->done = done;
    t->arg = arg;
    list_init(&t->node);
    memcpy(m.container, c->id, strlen(c->id));
    struct shim_request *q = NEW(struct shim_request);
    q->sandbox = c->sandbox;
    q->container = c;
    q->fn = attach_answered;
    q->arg = t;
    AUTO(fd_close) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    const int fds[3] = {in >= 0 ? in : null, out >= 0 ? out : null, err >= 0 ? err : null};
    sandbox_send(c->sandbox, SHIM_ATTACH, &m, fds, q);
    if (c->sandbox->fd >= 0)
        list_add_tail(&c->sandbox->attaches, &t->node);
    return t;
}

void attach_forget(struct attach *a)
{
    a->done = NULL;
}
