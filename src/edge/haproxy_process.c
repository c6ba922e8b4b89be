/* haproxy_process.c - a HAProxy: started with a listening socket for its commands (fd@3, at admin/GENERATION.sock),
 * so that its first answer says that it serves; or one that an earlier process of ours has started. It runs in the
 * foreground (-db) in a session of its own: nothing of it ends with us. */
#include "base/log.h"
#include "edge/haproxy_int.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAID_MOST   (16 << 10)
#define START_MOST  (60 * NS_PER_S) /* thousands of keys take seconds to be read */
#define START_AGAIN (50 * NS_PER_MS)
#define START_TRIES 20
#define FOUND_MOST  64

static void proc_free(struct haproxy_proc *p)
{
    list_del(&p->node);
    timer_stop(&p->again);
    child_forget(&p->child);
    if (p->found.fd >= 0) {
        poll_stop(&p->found);
        fd_close(p->found.fd);
    }
    if (p->said_fd >= 0) {
        poll_stop(&p->said_poll);
        fd_close(p->said_fd);
    }
    talk_free(p->talk);
    strbuf_fini(&p->said);
    buf_unref(p->mark);
    names_unref(p->names);
    mem_free(p);
}

void proc_forget(struct haproxy_proc *p)
{
    if (p)
        proc_free(p);
}

void proc_signal(struct haproxy_proc *p, int signo)
{
    if (p->child.pid)
        child_kill(&p->child, signo);
    else if (p->found.fd >= 0)
        (void)pidfd_send_signal(p->found.fd, signo, NULL, 0); /* it may have ended */
}

/* The last line that says what was wrong, without what stands before the reason. */
static struct str said_reason(const struct haproxy_proc *p)
{
    struct str rest = str_trim(strbuf_str(&p->said)), line, best = STR_NONE;
    while (str_cut(&rest, '\n', &line)) {
        if (!str_starts(line, S("[ALERT]")))
            continue;
        bool sums_up = str_has(line, S("Error(s) found")) || str_has(line, S("Fatal errors")) ||
                       str_has(line, S("Some protocols failed"));
        ptrdiff_t at = str_find(line, S(") : "));
        if (!best.n && !sums_up)
            best = at < 0 ? line : str_sub(line, (size_t)at + 4, line.n);
    }
    return best.n ? best : str_trim(strbuf_str(&p->said));
}

/* Once it serves: what it says of each server and each end is ours to know; the rest is about a bug, or a limit. */
static void said_log(struct str said)
{
    struct str line;
    while (str_cut(&said, '\n', &line)) {
        if (str_starts(line, S("[NOTICE]")) || str_starts(line, S("[WARNING]")))
            log_debug("haproxy", STR_FMT, STR_ARG(line));
        else if (line.n)
            log_warn("haproxy", STR_FMT, STR_ARG(line));
    }
}

static void said_read(struct haproxy_proc *p)
{
    char room[4096];
    ssize_t n;
    while (p->said_fd >= 0 && (n = read(p->said_fd, room, sizeof room)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return;
        if (p->ready)
            said_log((struct str){room, (size_t)n});
        else if (p->said.n < SAID_MOST / 2)
            strbuf_add(&p->said, (struct str){room, (size_t)n});
    }
    if (p->said_fd >= 0) {
        poll_stop(&p->said_poll);
        fd_close(p->said_fd);
        p->said_fd = -1;
    }
}

static void said_ready(struct poll *poll, int ready)
{
    (void)ready;
    said_read(container_of(poll, struct haproxy_proc, said_poll));
}

static void child_ended(struct child *c, int status)
{
    struct haproxy_proc *p = container_of(c, struct haproxy_proc, child);
    struct err err = ERR;
    said_read(p);
    struct str why = p->ready ? STR_NONE : said_reason(p);
    const char *sep = why.n ? ": " : "";
    if (WIFSIGNALED(status))
        (void)err_set(&err, E_IO, "HAProxy was killed by signal %d (%s)%s" STR_FMT, WTERMSIG(status),
                      strsignal(WTERMSIG(status)), sep, STR_ARG(why));
    else
        (void)err_set(&err, E_IO, "HAProxy ended with status %d%s" STR_FMT, WEXITSTATUS(status), sep, STR_ARG(why));
    haproxy_ended(p->h, p, p->ready ? STR_NONE : strbuf_str(&p->said), &err);
    proc_free(p);
}

static void found_ended(struct poll *poll, int ready)
{
    struct haproxy_proc *p = container_of(poll, struct haproxy_proc, found);
    struct err err = ERR;
    (void)ready;
    (void)waitpid(p->pid, NULL, WNOHANG); /* init's, or a child of what this process was before */
    (void)err_set(&err, E_IO, "HAProxy, started earlier, has ended");
    haproxy_ended(p->h, p, STR_NONE, &err);
    proc_free(p);
}

static void start_answered(void *arg, struct str answer, const struct err *err)
{
    struct haproxy_proc *p = arg;
    int64_t pid;
    if (!err && str_to_i64(info_field(answer, S("Pid")), 1, INT32_MAX, &pid) && pid == p->pid) {
        p->ready = true;
        haproxy_ready(p->h, p);
        return;
    }
    if (err && err->kind == E_CANCELLED)
        return;
    if (err && err->kind != E_TIMEOUT && p->tries++ < START_TRIES) { /* it ends, which is told; or it was a mishap */
        timer_set(&p->again, START_AGAIN);
        return;
    }
    log_warn("haproxy.start", "pid=%d it does not answer and is killed", (int)p->pid);
    proc_signal(p, SIGKILL);
}

static void start_again(struct timer *t)
{
    struct haproxy_proc *p = container_of(t, struct haproxy_proc, again);
    talk_ask(p->talk, S("show info\n"), start_answered, p);
}

static struct haproxy_proc *proc_new(struct haproxy *h, uint64_t generation)
{
    struct haproxy_proc *p = mem_alloc(sizeof *p);
    *p = (struct haproxy_proc){.h = h, .generation = generation, .said_fd = -1, .said = STRBUF(SAID_MOST)};
    p->found.fd = p->child.pidfd = -1;
    list_init(&p->node);
    timer_init(&p->again, h->loop, start_again);
    return p;
}

static bool path_set(struct haproxy_proc *p, struct err *err)
{
    int n = snprintf(p->path, sizeof p->path, STR_FMT "/admin/%llu.sock", STR_ARG(p->h->config.run),
                     (unsigned long long)p->generation);
    return n < (int)sizeof p->path ||
           err_set(err, E_INVALID, "the folder's name is too long for a socket in it: " STR_FMT,
                   STR_ARG(p->h->config.run));
}

static int admin_listen(struct haproxy_proc *p, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    struct addr a;
    strbuf_addf(&text, "unix:%s", p->path);
    return addr_parse(strbuf_str(&text), &a, err) ? socket_listen(&a, 0600, err) : -1;
}

static bool child_begin(struct haproxy_proc *p, struct err *err)
{
    struct haproxy *h = p->h;
    AUTO_FREE char *run = str_dupz(h->config.run), *program = str_dupz(h->config.program);
    const char *argv[] = {"haproxy",   "-db", "-C", run, "-f", "haproxy.cfg", h->handing ? "-x" : NULL,
                          "hand.sock", NULL};
    static const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    int said[2];
    AUTO(fd_close) int admin = admin_listen(p, err);
    if (admin < 0)
        return false;
    if (pipe2(said, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_errno(err, "start HAProxy: make a pipe");
    AUTO(fd_close) int said_end = said[1];
    p->said_fd = said[0];
    poll_init(&p->said_poll, h->loop, p->said_fd, said_ready);
    poll_want(&p->said_poll, POLL_READ);
    struct child_spec spec = CHILD_SPEC;
    spec.argv = argv;
    spec.path = program;
    spec.env = env;
    spec.dir = run;
    spec.err = said_end;
    spec.fds = (const int[][2]){{admin, 3}};
    spec.nfds = 1;
    spec.new_session = true;
    if (child_start(&p->child, h->loop, &spec, child_ended, err))
        return true;
    if (err->kind == E_NOT_FOUND)
        (void)err_set(err, E_NOT_FOUND, "HAProxy is not installed: there is no %s; apt-get install haproxy", program);
    return false;
}

struct haproxy_proc *proc_start(struct haproxy *h, uint64_t generation, struct buf *mark,
                                struct haproxy_names *own_names, struct err *err)
{
    struct haproxy_proc *p = proc_new(h, generation);
    p->mark = buf_ref(mark);
    p->names = own_names;
    if (!path_set(p, err) || !child_begin(p, err)) {
        proc_free(p);
        return NULL;
    }
    p->pid = p->child.pid;
    p->talk = talk_new(h->loop, str_of(p->path));
    talk_patience(p->talk, START_MOST);
    talk_ask(p->talk, S("show info\n"), start_answered, p);
    return p;
}

struct haproxy_proc *proc_found(struct haproxy *h, uint64_t generation, pid_t pid, int own_pidfd)
{
    struct haproxy_proc *p = proc_new(h, generation);
    struct err impossible = ERR; /* whoever made the socket had the same folder */
    (void)path_set(p, &impossible);
    p->pid = pid;
    p->ready = true;
    p->talk = talk_new(h->loop, str_of(p->path));
    talk_patience(p->talk, h->config.silence_ns);
    poll_init(&p->found, h->loop, own_pidfd, found_ended);
    poll_want(&p->found, POLL_READ);
    return p;
}

static bool is_haproxy_of(pid_t pid, const char *run)
{
    char link[40], at[PATH_MAX];
    struct process_stat st;
    (void)snprintf(link, sizeof link, "/proc/%d/cwd", (int)pid);
    ssize_t n = readlink(link, at, sizeof at - 1);
    return n > 0 && (size_t)n == strlen(run) && memcmp(at, run, (size_t)n) == 0 && process_stat(pid, &st) &&
           strcmp(st.name, "haproxy") == 0 && st.state != 'Z';
}

size_t proc_scan(struct str run, pid_t *out, size_t most)
{
    AUTO_FREE char *path = str_dupz(run);
    char real[PATH_MAX];
    DIR *dir = realpath(path, real) ? opendir("/proc") : NULL;
    size_t n = 0;
    for (struct dirent *e; dir && n < most && (e = readdir(dir));) {
        int64_t pid;
        if (str_to_i64(str_of(e->d_name), 2, INT32_MAX, &pid) && is_haproxy_of((pid_t)pid, real))
            out[n++] = (pid_t)pid;
    }
    if (dir)
        (void)closedir(dir);
    return n;
}

/* Sends to all that are left and waits; how many are left then. */
static size_t all_end(struct str run, int signo, int most_ms)
{
    pid_t pids[FOUND_MOST];
    struct pollfd fds[FOUND_MOST];
    char real[PATH_MAX];
    AUTO_FREE char *path = str_dupz(run);
    size_t n = proc_scan(run, pids, countof(pids)), k = 0;
    for (size_t i = 0; i < n; i++) {
        int fd = pidfd_open(pids[i], 0);
        if (fd >= 0 && realpath(path, real) && is_haproxy_of(pids[i], real)) { /* still, now that it cannot change */
            (void)pidfd_send_signal(fd, signo, NULL, 0);                       /* it may have ended */
            fds[k++] = (struct pollfd){.fd = fd, .events = POLLIN};
        } else {
            fd_close(fd);
        }
    }
    int64_t until = clock_mono() + most_ms * NS_PER_MS;
    for (size_t i = 0; i < k; i++) {
        int64_t left = (until - clock_mono()) / NS_PER_MS;
        (void)poll(&fds[i], 1, (int)MAX(0, left)); /* what is left is counted below */
        fd_close(fds[i].fd);
    }
    return k ? proc_scan(run, pids, countof(pids)) : 0;
}

bool haproxy_end_all(struct str run, struct err *err)
{
    size_t left = all_end(run, SIGTERM, 3000);
    for (int i = 0; left && i < 3; i++)
        left = all_end(run, SIGKILL, 3000);
    return !left || err_set(err, E_IO, "%zu HAProxys of " STR_FMT " do not end", left, STR_ARG(run));
}
