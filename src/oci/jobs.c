#include "oci/jobs.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/child.h"
#include "wire/json.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#define LINE_MAX_BYTES (1 << 20)
#define SILENT_LOOK    (20 * NS_PER_S)

static struct strs names_of(struct json *j, struct arena *a)
{
    ARRAY(struct str) list = {0};
    json_enter(j);
    while (json_more(j)) {
        if (json_type(j) == JSON_STRING)
            array_push(&list, json_string(j, a));
        else
            (void)json_skip(j);
    }
    struct strs out = {list.n ? arena_dup(a, list.p, list.n * sizeof *list.p) : NULL, list.n};
    array_fini(&list);
    return out;
}

static int64_t number_of(struct json *j)
{
    int64_t v = 0;
    if (json_type(j) != JSON_NUMBER)
        (void)json_skip(j);
    else if (!json_int(json_number(j), &v))
        v = 0;
    return v;
}

static void error_of(struct json *j, struct arena *a, struct err *err)
{
    struct str reason = S(""), message = S("");
    int64_t code = 500;
    json_enter(j);
    while (json_more(j)) {
        struct str key = json_key(j, a);
        if (str_eqz(key, "code"))
            code = number_of(j);
        else if (json_type(j) != JSON_STRING)
            (void)json_skip(j);
        else if (str_eqz(key, "reason"))
            reason = json_string(j, a);
        else if (str_eqz(key, "message"))
            message = json_string(j, a);
        else
            (void)json_skip(j);
    }
    (void)err_set(err, err_kind_of(reason, (int)code), STR_FMT, STR_ARG(message));
}

void job_line_decode(struct arena *a, struct str line, struct job_line *out)
{
    struct err ignored = ERR; /* no JSON: noise, which is logged */
    *out = (struct job_line){.kind = JOB_NOISE};
    if (!json_check(line, &ignored))
        return;
    struct json j = json_of(line);
    if (json_type(&j) != JSON_OBJECT)
        return;
    json_enter(&j);
    while (json_more(&j)) {
        struct str key = json_key(&j, a);
        if (str_eqz(key, "error") && json_type(&j) == JSON_OBJECT) {
            out->kind = JOB_ERROR;
            error_of(&j, a, &out->err);
        } else if (str_eqz(key, "progress") && json_type(&j) == JSON_OBJECT) {
            out->kind = JOB_PROGRESS;
            json_enter(&j);
            while (json_more(&j)) {
                struct str name = json_key(&j, a);
                int64_t v = number_of(&j);
                *(str_eqz(name, "done") ? &out->done : &out->total) = v;
            }
        } else if (str_eqz(key, "digest") && json_type(&j) == JSON_STRING) {
            if (digest_parse(json_string(&j, a), &out->manifest, &ignored))
                out->kind = JOB_IMAGE;
        } else if (str_eqz(key, "names") && json_type(&j) == JSON_ARRAY) {
            out->names = names_of(&j, a);
        } else {
            (void)json_skip(&j);
        }
    }
}

/* ---- asynchronous ---- */

struct image_pull {
    struct loop *loop;
    struct child child;
    struct poll out, in;
    int out_fd, in_fd;
    struct strbuf request, line;
    struct arena arena;
    struct job_line last; /* the answer, when it came */
    bool ended, cancelled;
    struct image_pull_events on;
    void *arg;
    struct err failure;
    struct timer silent; /* since it said anything */
};

static void pull_free(struct image_pull *p)
{
    timer_stop(&p->silent);
    if (p->out_fd >= 0)
        poll_stop(&p->out);
    if (p->in_fd >= 0)
        poll_stop(&p->in);
    fd_close(p->out_fd);
    fd_close(p->in_fd);
    if (p->request.p)
        mem_wipe(p->request.p, p->request.n);
    strbuf_fini(&p->request);
    strbuf_fini(&p->line);
    arena_fini(&p->arena);
    mem_free(p);
}

static void pull_finish(struct image_pull *p)
{
    if (!p->ended || p->out_fd >= 0)
        return;
    if (!p->cancelled) {
        if (p->last.kind == JOB_IMAGE)
            p->on.done(p->arg, &p->last.manifest, &p->last.names, NULL);
        else
            p->on.done(p->arg, NULL, NULL, p->last.kind == JOB_ERROR ? &p->last.err : &p->failure);
    }
    pull_free(p);
}

static void pull_line(struct image_pull *p, struct str line)
{
    struct job_line l;
    job_line_decode(&p->arena, line, &l);
    if (l.kind == JOB_PROGRESS && p->on.progress && !p->cancelled)
        p->on.progress(p->arg, l.done, l.total);
    if (l.kind == JOB_ERROR || l.kind == JOB_IMAGE)
        p->last = l;
    else
        arena_fini(&p->arena);
}

/* The network's silence, and an unpacking without end, the job has bounds for; but not one that does not run. */
static void on_silent(struct timer *t)
{
    struct image_pull *p = container_of(t, struct image_pull, silent);
    struct process_stat st;
    if (!p->child.pid || !process_stat(p->child.pid, &st))
        return; /* it has ended, and pull_ended says how */
    if (st.state == 'T') {
        log_error("job.hangs", "pid=%d it is stopped by a signal, and ended", (int)p->child.pid);
        child_kill(&p->child, SIGKILL);
    }
    timer_set(&p->silent, SILENT_LOOK);
}

static void pull_readable(struct poll *poll, int ready)
{
    struct image_pull *p = container_of(poll, struct image_pull, out);
    (void)ready;
    char *room = strbuf_room(&p->line, 4096);
    ssize_t n = room ? read(p->out_fd, room, 4096) : 0;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        poll_stop(&p->out);
        fd_close(p->out_fd);
        p->out_fd = -1;
        pull_finish(p);
        return;
    }
    strbuf_used(&p->line, (size_t)n);
    timer_set(&p->silent, SILENT_LOOK);
    for (ptrdiff_t end; (end = str_find_char(strbuf_str(&p->line), '\n')) >= 0;) {
        pull_line(p, str_sub(strbuf_str(&p->line), 0, (size_t)end));
        strbuf_drop(&p->line, (size_t)end + 1);
    }
}

static void pull_writable(struct poll *poll, int ready)
{
    struct image_pull *p = container_of(poll, struct image_pull, in);
    (void)ready;
    ssize_t n = write(p->in_fd, p->request.p, p->request.n);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        strbuf_drop(&p->request, (size_t)n);
    if (n > 0 && p->request.n)
        return;
    poll_stop(&p->in);
    fd_close(p->in_fd);
    p->in_fd = -1;
}

static void pull_ended(struct child *child, int status)
{
    struct image_pull *p = container_of(child, struct image_pull, child);
    p->ended = true;
    if (WIFSIGNALED(status))
        (void)err_set(&p->failure, E_INTERNAL, "wherry-job was killed by signal %d", WTERMSIG(status));
    else
        (void)err_set(&p->failure, E_INTERNAL, "wherry-job ended with status %d and no answer", WEXITSTATUS(status));
    pull_finish(p);
}

static void pull_not_started(void *arg)
{
    struct image_pull *p = arg;
    p->ended = true;
    pull_finish(p);
}

struct image_pull *image_pull_start(struct loop *l, const char *job_program, const struct pull_request *request,
                                    const struct image_pull_events *on, void *arg)
{
    struct image_pull *p = NEW(struct image_pull);
    p->loop = l;
    p->on = *on;
    p->arg = arg;
    timer_init(&p->silent, l, on_silent);
    p->line = STRBUF(LINE_MAX_BYTES);
    p->request = STRBUF(LINE_MAX_BYTES);
    p->out_fd = p->in_fd = -1;
    pull_request_encode(request, &p->request);
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    const char *const argv[] = {job_program, "pull", NULL};
    bool ok = pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0;
    if (!ok)
        (void)err_errno(&p->failure, "pipe");
    struct child_spec spec = CHILD_SPEC;
    spec.argv = argv;
    spec.in = in[0];
    spec.out = out[1];
    spec.err = 2;
    ok = ok && child_start(&p->child, l, &spec, pull_ended, &p->failure);
    fd_close(in[0]);
    fd_close(out[1]);
    if (!ok) {
        fd_close(in[1]);
        fd_close(out[0]);
        loop_post(l, pull_not_started, p);
        return p;
    }
    p->in_fd = in[1];
    p->out_fd = out[0];
    (void)fcntl(p->in_fd, F_SETFL, O_NONBLOCK); /* a descriptor of ours: cannot fail */
    (void)fcntl(p->out_fd, F_SETFL, O_NONBLOCK);
    timer_set(&p->silent, SILENT_LOOK);
    poll_init(&p->in, l, p->in_fd, pull_writable);
    poll_init(&p->out, l, p->out_fd, pull_readable);
    poll_want(&p->in, POLL_WRITE);
    poll_want(&p->out, POLL_READ);
    return p;
}

void image_pull_cancel(struct image_pull *p)
{
    p->cancelled = true;
    if (p->child.pid)
        child_kill(&p->child, SIGKILL);
}

/* ---- blocking ---- */

bool image_load(const char *job_program, const char *store, const char *archive, struct str name, struct arena *a,
                struct strs *names, struct digest *manifest, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(LINE_MAX_BYTES);
    AUTO(fd_close) int from = strcmp(archive, "-") == 0 ? dup(0) : open(archive, O_RDONLY | O_CLOEXEC);
    int out[2];
    if (from < 0 || pipe2(out, O_CLOEXEC) < 0)
        return err_errno(err, "%s", archive);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, from, 0);
    posix_spawn_file_actions_adddup2(&files, out[1], 1);
    char *argv[] = {mem_dupz(job_program), mem_dupz("load"), mem_dupz(store), name.n ? str_dupz(name) : NULL, NULL};
    pid_t pid;
    int rc = posix_spawn(&pid, job_program, &files, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    for (size_t i = 0; i < 4; i++)
        mem_free(argv[i]);
    fd_close(out[1]);
    errno = rc;
    if (rc != 0) {
        fd_close(out[0]);
        return err_errno(err, "start %s", job_program);
    }
    char buf[4096];
    for (ssize_t n; (n = read(out[0], buf, sizeof buf)) > 0 || (n < 0 && errno == EINTR);)
        strbuf_add(&text, (struct str){buf, (size_t)MAX(n, 0)});
    fd_close(out[0]);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    struct str rest = strbuf_str(&text), line;
    while (str_cut(&rest, '\n', &line)) {
        struct job_line l;
        job_line_decode(a, line, &l);
        if (l.kind == JOB_ERROR) {
            *err = l.err;
            return err_wrap(err, "%s", archive);
        }
        if (l.kind == JOB_IMAGE) {
            *manifest = l.manifest;
            *names = l.names;
            return true;
        }
    }
    return err_set(err, E_INTERNAL, "%s: wherry-job ended (status %d) without an answer", archive, status);
}
