#include "sys/child.h"
#include "base/clock.h"
#include "base/fault.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_SIZE (256 * 1024)

/* At the low end of the child's stack, in memory that both see: why the child did not reach exec. */
struct birth {
    const struct child_spec *spec;
    int devnull, highest;
    int *lifted; /* room for each of spec->fds */
    pid_t parent;
    int bad; /* errno */
    const char *step;
};

/* ---- in the child: raw system calls and nothing that allocates or takes a lock; with CLONE_VM its memory is the
 * parent's */

static NORETURN void died_at(struct birth *b, const char *step)
{
    b->step = step;
    b->bad = errno;
    _exit(127);
}

static void signals_reset(void)
{
    /* the kernel's struct sigaction, all zero: SIG_DFL. glibc's call refuses its own two signals, 32 and 33 */
    static const unsigned long dfl[4];
    for (int i = 1; i < NSIG; i++)
        (void)syscall(SYS_rt_sigaction, i, dfl, NULL, (size_t)8); /* of SIGKILL and SIGSTOP it is refused */
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Out of the way of every target first, then to its place: the pairs may be any permutation. A lifted one takes a
 * number that is free, never one that is named: that may be the source of a later pair. */
static void fds_place(struct birth *b)
{
    const struct child_spec *spec = b->spec;
    int std[3] = {spec->in, spec->out, spec->err};
    for (int i = 0; i < 3; i++)
        if ((std[i] = fcntl(std[i] < 0 ? b->devnull : std[i], F_DUPFD_CLOEXEC, b->highest + 1)) < 0)
            died_at(b, "duplicate a standard descriptor");
    for (size_t i = 0; i < spec->nfds; i++)
        if ((b->lifted[i] = fcntl(spec->fds[i][0], F_DUPFD_CLOEXEC, b->highest + 1)) < 0)
            died_at(b, "duplicate a descriptor");
    if (syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */) < 0)
        died_at(b, "close_range");
    for (int i = 0; i < 3; i++)
        if (dup2(std[i], i) < 0)
            died_at(b, "place a standard descriptor");
    for (size_t i = 0; i < spec->nfds; i++)
        if (dup2(b->lifted[i], spec->fds[i][1]) < 0)
            died_at(b, "place a descriptor");
}

/* After setuid, which has left what is permitted and taken what is effective. */
static void capabilities_keep(struct birth *b)
{
    uint64_t keep = b->spec->capabilities;
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    for (int i = 0; i < 2; i++)
        data[i].effective = data[i].permitted = data[i].inheritable = (uint32_t)(keep >> (32 * i));
    if (syscall(SYS_capset, &head, data) < 0)
        died_at(b, "capset");
    for (unsigned long cap = 0; cap < 64; cap++)
        if ((keep >> cap & 1) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
            died_at(b, "PR_CAP_AMBIENT_RAISE");
}

static void user_become(struct birth *b)
{
    const struct child_spec *spec = b->spec;
    if (spec->uid == 0 && spec->gid == 0)
        return;
    if (spec->capabilities && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) /* until it executes its program */
        died_at(b, "PR_SET_KEEPCAPS");
    /* not glibc's wrappers: they would change every thread of the parent */
    if (syscall(SYS_setgroups, 0, NULL) < 0)
        died_at(b, "setgroups");
    if (syscall(SYS_setresgid, spec->gid, spec->gid, spec->gid) < 0)
        died_at(b, "setgid");
    if (syscall(SYS_setresuid, spec->uid, spec->uid, spec->uid) < 0)
        died_at(b, "setuid");
    if (spec->capabilities)
        capabilities_keep(b);
}

static int child_main(void *arg)
{
    struct birth *b = arg;
    const struct child_spec *spec = b->spec;
    if (spec->new_session && setsid() < 0)
        died_at(b, "setsid");
    if (spec->in_netns >= 0 && setns(spec->in_netns, CLONE_NEWNET) < 0)
        died_at(b, "enter the network namespace");
    if (spec->in_mntns >= 0 && setns(spec->in_mntns, CLONE_NEWNS) < 0)
        died_at(b, "enter the mount namespace");
    if (spec->dir && chdir(spec->dir) < 0)
        died_at(b, "change to its folder");
    fds_place(b);
    user_become(b);
    if (spec->die_with_parent) { /* after setuid, which clears it */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
            died_at(b, "PR_SET_PDEATHSIG");
        if (getppid() != b->parent)
            _exit(127);
    }
    signals_reset();
    (void)execvpe(spec->path ? spec->path : spec->argv[0], (char *const *)(uintptr_t)spec->argv,
                  spec->env ? (char *const *)(uintptr_t)spec->env : environ);
    died_at(b, "execute");
}

/* ---- in the parent */

static bool birth_failed(const struct birth *b, struct err *err)
{
    errno = b->bad;
    if (strcmp(b->step, "execute") == 0)
        return err_errno(err, "execute %s", b->spec->path ? b->spec->path : b->spec->argv[0]);
    return err_errno(err, "start %s: %s", b->spec->argv[0], b->step);
}

static pid_t child_birth(const struct child_spec *spec, int *pidfd, struct err *err)
{
    if (fault("child.start", EAGAIN))
        return err_errno(err, "start %s", spec->argv[0]), -1;
    AUTO(fd_close) int devnull = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (devnull < 0)
        return err_errno(err, "open /dev/null"), -1;
    char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED)
        return err_errno(err, "start %s: a stack", spec->argv[0]), -1;
    struct birth *b = (struct birth *)(void *)stack;
    AUTO_FREE int *lifted = mem_alloc((spec->nfds + 1) * sizeof *lifted);
    *b = (struct birth){.spec = spec, .devnull = devnull, .highest = 2, .lifted = lifted, .parent = getpid()};
    for (size_t i = 0; i < spec->nfds; i++)
        b->highest = MAX(b->highest, spec->fds[i][1]);
    sigset_t all, old;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old); /* no handler of ours may run in the child */
    int flags = CLONE_VFORK | CLONE_PIDFD | SIGCHLD;
#ifndef WHERRY_SANITIZED
    flags |= CLONE_VM;
#endif
    pid_t pid = clone(child_main, stack + STACK_SIZE, flags, b, pidfd);
    int keep = errno;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = keep;
    if (pid < 0) {
        (void)err_errno(err, "start %s", spec->argv[0]);
    } else if (b->bad) {
        (void)birth_failed(b, err);
        fd_close(*pidfd);
        (void)waitpid(pid, NULL, 0); /* it told why and ended */
        pid = -1;
    }
    (void)munmap(stack, STACK_SIZE);
    return pid;
}

static void child_ended(struct poll *p, UNUSED int ready)
{
    struct child *c = container_of(p, struct child, poll);
    int status = 0;
    pid_t got = waitpid(c->pid, &status, WNOHANG);
    if (got == 0)
        return;
    child_forget(c);
    c->fn(c, status);
}

bool child_start(struct child *c, struct loop *l, const struct child_spec *spec,
                 void (*fn)(struct child *c, int status), struct err *err)
{
    int pidfd = -1;
    *c = (struct child){.loop = l, .pidfd = -1, .fn = fn};
    pid_t pid = child_birth(spec, &pidfd, err);
    if (pid < 0)
        return false;
    c->pid = pid;
    c->pidfd = pidfd;
    poll_init(&c->poll, l, pidfd, child_ended);
    poll_want(&c->poll, POLL_READ);
    return true;
}

bool process_stat(pid_t pid, struct process_stat *out)
{
    char path[40];
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096);
    struct err ignored = ERR; /* there is none: false */
    *out = (struct process_stat){0};
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (!file_read(AT_FDCWD, path, &b, &ignored))
        return false;
    struct str rest = strbuf_str(&b), part;
    ptrdiff_t from = str_find_char(rest, '('), to = str_rfind_char(rest, ')'); /* a name may have anything in it */
    if (from < 0 || to < from)
        return false;
    (void)snprintf(out->name, sizeof out->name, STR_FMT, STR_ARG(str_sub(rest, (size_t)from + 1, (size_t)to)));
    rest = str_trim(str_sub(rest, (size_t)to + 1, rest.n));
    int64_t v, tick = NS_PER_S / sysconf(_SC_CLK_TCK);
    for (int field = 3; field <= 22; field++) {
        if (!str_cut(&rest, ' ', &part))
            return false;
        if (field == 3)
            out->state = part.n ? part.p[0] : 0;
        else if ((field == 14 || field == 15) && str_to_i64(part, 0, INT64_MAX / tick / 2, &v))
            out->cpu += v * tick;
    }
    return str_to_u64(part, UINT64_MAX, &out->started);
}

void child_kill(struct child *c, int signo)
{
    if (c->pidfd >= 0)
        (void)syscall(SYS_pidfd_send_signal, c->pidfd, signo, NULL, 0); /* it may have ended */
}

void child_forget(struct child *c)
{
    if (c->pidfd < 0 || c->pid == 0)
        return;
    poll_stop(&c->poll);
    fd_close(c->pidfd);
    c->pidfd = -1;
    c->pid = 0;
}

/* ---- command_run */

struct run {
    struct str input;
    int in, out, pidfd; /* ours; -1 once done with */
    pid_t pid;
    struct strbuf *to;
    struct strbuf last; /* the end of what it wrote, for the message */
    int64_t until;      /* mono ns; 0: no end */
};

static void close_in(struct run *r)
{
    if (r->in >= 0)
        fd_close(r->in);
    r->in = -1;
}

static void run_feed(struct run *r)
{
    ssize_t n = write(r->in, r->input.p, r->input.n);
    if (n > 0)
        r->input = str_sub(r->input, (size_t)n, r->input.n);
    if (r->input.n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        close_in(r);
}

static bool run_drain(struct run *r) /* false: nothing more now */
{
    char room[16384];
    ssize_t n = read(r->out, room, sizeof room);
    if (n <= 0)
        return false;
    struct str got = {room, (size_t)n};
    if (r->to)
        strbuf_add(r->to, got);
    if (got.n > 1024)
        got = str_sub(got, got.n - 1024, got.n);
    if (r->last.n + got.n > 2048)
        strbuf_drop(&r->last, r->last.n);
    strbuf_add(&r->last, got);
    return true;
}

/* True once it has ended; false: the time is up. */
static bool run_through(struct run *r)
{
    for (;;) {
        int64_t left = r->until ? (r->until - clock_mono() + NS_PER_MS - 1) / NS_PER_MS : -1;
        if (r->until && left <= 0)
            return false;
        struct pollfd p[3] = {{r->pidfd, POLLIN, 0}, {r->out, POLLIN, 0}, {r->in, POLLOUT, 0}};
        int n = poll(p, 3, (int)MIN(left, 1 << 30));
        if (n < 0 && errno != EINTR)
            return false;
        if (n <= 0)
            continue;
        if (p[2].revents)
            run_feed(r);
        /* one it has left behind may hold the pipe open: what is there now is all that counts */
        bool more = p[1].revents && run_drain(r);
        if (p[0].revents && !more)
            return true;
        if (p[1].revents && !more) {
            fd_close(r->out);
            r->out = -1;
        }
    }
}

static struct str last_line(const struct strbuf *b)
{
    struct str s = str_trim(strbuf_str(b));
    ptrdiff_t at = str_rfind_char(s, '\n');
    return at < 0 ? s : str_sub(s, (size_t)at + 1, s.n);
}

static bool run_ended(const char *name, const struct run *r, bool in_time, int status, int timeout_ms,
                      struct err *err)
{
    struct str line = last_line(&r->last);
    const char *sep = line.n ? ": " : "";
    if (!in_time)
        return err_set(err, E_TIMEOUT, "%s did not end within %d ms and was killed%s" STR_FMT, name, timeout_ms, sep,
                       STR_ARG(line));
    if (WIFSIGNALED(status))
        return err_set(err, E_IO, "%s was killed by signal %d (%s)%s" STR_FMT, name, WTERMSIG(status),
                       strsignal(WTERMSIG(status)), sep, STR_ARG(line));
    if (WEXITSTATUS(status) != 0)
        return err_set(err, E_IO, "%s ended with status %d%s" STR_FMT, name, WEXITSTATUS(status), sep, STR_ARG(line));
    return true;
}

bool command_run(const char *const *argv, struct str input, struct strbuf *out, int timeout_ms, struct err *err)
{
    return command_status(argv, input, out, timeout_ms, err) == 0;
}

int command_status(const char *const *argv, struct str input, struct strbuf *out, int timeout_ms, struct err *err)
{
    int in[2], from[2];
    if (pipe2(in, O_CLOEXEC) < 0)
        return err_errno(err, "%s: make a pipe", argv[0]), -1;
    AUTO(fd_close) int in_read = in[0], in_write = in[1];
    if (pipe2(from, O_CLOEXEC) < 0)
        return err_errno(err, "%s: make a pipe", argv[0]), -1;
    AUTO(fd_close) int out_read = from[0], out_write = from[1];
    (void)fcntl(in_write, F_SETFL, O_NONBLOCK); /* a descriptor of ours: cannot fail */
    (void)fcntl(out_read, F_SETFL, O_NONBLOCK);
    struct child_spec spec = CHILD_SPEC;
    spec.argv = argv;
    spec.in = in_read;
    spec.out = spec.err = out_write;
    spec.die_with_parent = true;
    AUTO(fd_close) int pidfd = -1;
    pid_t pid = child_birth(&spec, &pidfd, err);
    if (pid < 0)
        return -1;
    fd_close(TAKE_FD(in_read));
    fd_close(TAKE_FD(out_write));
    struct run r = {.input = input, .in = TAKE_FD(in_write), .out = TAKE_FD(out_read), .pidfd = pidfd, .pid = pid};
    r.to = out;
    r.last = STRBUF(4096);
    r.until = timeout_ms ? clock_mono() + timeout_ms * NS_PER_MS : 0;
    if (input.n == 0)
        close_in(&r);
    bool in_time = run_through(&r);
    if (!in_time)
        (void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0); /* it may have ended */
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    close_in(&r);
    if (r.out >= 0)
        fd_close(r.out);
    bool ok = run_ended(argv[0], &r, in_time, status, timeout_ms, err);
    strbuf_fini(&r.last);
    return ok ? 0 : in_time && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
