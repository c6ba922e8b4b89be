#include "edge/acme_child.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>

static void input_end(struct acme_child *c)
{
    if (c->in_fd >= 0) {
        poll_stop(&c->in);
        fd_close(c->in_fd);
    }
    c->in_fd = -1;
    if (c->input.p)
        mem_wipe(c->input.p, c->input.cap);
    strbuf_fini(&c->input);
}

static void output_end(struct acme_child *c)
{
    if (c->out_fd >= 0) {
        poll_stop(&c->out);
        fd_close(c->out_fd);
    }
    c->out_fd = -1;
}

static void child_finish(struct acme_child *c)
{
    if (!c->ended || c->out_fd >= 0 || !c->running)
        return;
    c->running = false;
    timer_stop(&c->most);
    input_end(c);
    c->done(c);
}

static void on_readable(struct poll *poll, int ready)
{
    struct acme_child *c = container_of(poll, struct acme_child, out);
    char buf[16384];
    (void)ready;
    ssize_t n = read(c->out_fd, buf, sizeof buf);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        strbuf_add(&c->output, (struct str){buf, (size_t)n});
        return;
    }
    output_end(c);
    child_finish(c);
}

static void on_writable(struct poll *poll, int ready)
{
    struct acme_child *c = container_of(poll, struct acme_child, in);
    (void)ready;
    ssize_t n = write(c->in_fd, c->input.p, c->input.n);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        strbuf_drop(&c->input, (size_t)n);
    if (n <= 0 || !c->input.n)
        input_end(c);
}

static void on_ended(struct child *child, int status)
{
    struct acme_child *c = container_of(child, struct acme_child, child);
    c->ended = true;
    c->status = status;
    child_finish(c);
}

/* One that does not end, or hands its output to somebody who stays: what it wrote until then counts. */
static void on_most(struct timer *t)
{
    struct acme_child *c = container_of(t, struct acme_child, most);
    log_warn("acme.child", "it takes too long, and is ended pid=%d", (int)c->child.pid);
    if (c->child.pid)
        child_kill(&c->child, SIGKILL);
    output_end(c);
    child_finish(c);
}

/* It did not start: told in a later turn. */
static void on_not_started(struct timer *t)
{
    struct acme_child *c = container_of(t, struct acme_child, most);
    c->ended = true;
    child_finish(c);
}

void acme_child_start(struct acme_child *c, struct loop *l, const char *const *argv, struct strbuf *input,
                      size_t most_bytes, bool merge, int64_t most_ns, void (*done)(struct acme_child *c))
{
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    *c = (struct acme_child){.in_fd = -1, .out_fd = -1, .output = STRBUF(most_bytes), .done = done, .running = true};
    c->input = *input;
    *input = STRBUF(0);
    bool ok = pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0;
    if (!ok)
        (void)err_errno(&c->err, "pipe");
    struct child_spec spec = CHILD_SPEC;
    spec.argv = argv;
    spec.in = in[0];
    spec.out = out[1];
    spec.err = merge ? out[1] : 2;
    spec.die_with_parent = true;
    ok = ok && child_start(&c->child, l, &spec, on_ended, &c->err);
    fd_close(in[0]);
    fd_close(out[1]);
    if (!ok) {
        fd_close(in[1]);
        fd_close(out[0]);
        timer_init(&c->most, l, on_not_started);
        timer_set(&c->most, 0);
        return;
    }
    c->in_fd = in[1];
    c->out_fd = out[0];
    (void)fcntl(c->in_fd, F_SETFL, O_NONBLOCK);  /* a descriptor of ours: cannot fail */
    (void)fcntl(c->out_fd, F_SETFL, O_NONBLOCK); /* the same */
    poll_init(&c->in, l, c->in_fd, on_writable);
    poll_init(&c->out, l, c->out_fd, on_readable);
    timer_init(&c->most, l, on_most);
    timer_set(&c->most, most_ns);
    poll_want(&c->out, POLL_READ);
    if (c->input.n)
        poll_want(&c->in, POLL_WRITE);
    else
        input_end(c);
}

void acme_child_stop(struct acme_child *c)
{
    if (c->running) {
        c->running = false;
        timer_stop(&c->most);
        if (c->child.pid) {
            child_kill(&c->child, SIGKILL);
            child_forget(&c->child);
        }
        input_end(c);
        output_end(c);
    }
    strbuf_fini(&c->output);
}
