/* shim_launch.c - programs, from the start through crun to their end. */
#include "oci/shim_int.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>

#define ORPHANS     64
#define NODE_FAILED 125 /* exit code of a start that failed before crun began */

static struct {
    pid_t pid;
    int status;
} orphans[ORPHANS]; /* ended before crun told us their pid */

static uint64_t oom_kills(const struct kept_container *c)
{
    char text[2048];
    if (!c->oom_file[0] || read_file(AT_FDCWD, c->oom_file, text, sizeof text) <= 0)
        return 0;
    const char *at = strstr(text, "oom_kill ");
    return at ? strtoull(at + 9, NULL, 10) : 0;
}

/* Each line of `list`: "FILE VALUE", or "FILE" alone with the value 0, which in cgroup files means "me". */
static bool write_lines(const char *list)
{
    while (*list) {
        char path[SHIM_PATH * 2];
        size_t n = strcspn(list, "\n"), space = n;
        for (size_t i = 0; i < n; i++)
            if (list[i] == ' ')
                space = i;
        if (space >= sizeof path)
            return errno = ENAMETOOLONG, false;
        memcpy(path, list, space);
        path[space] = 0;
        bool bare = space == n;
        if (!write_file(AT_FDCWD, path, 0, bare ? "0" : list + space + 1, bare ? 1 : n - space - 1))
            return false;
        list += n + (list[n] == '\n');
    }
    return true;
}

static void error_save(const char *id, const char *name, const char *what)
{
    char path[2 * SHIM_ID + 16], body[SHIM_TEXT];
    struct shim_text t = TEXT(body);
    text_add(&t, what);
    text_add(&t, ": ");
    text_add(&t, strerror(errno));
    write_file(here, in_folder(path, sizeof path, id, name), O_CREAT | O_TRUNC, body, strlen(body));
}

/* Puts a process into all groups of a container. */
bool join_as(const struct kept_container *c, pid_t pid)
{
    char number[16], path[SHIM_PATH * 2];
    struct shim_text t = TEXT(number);
    add_number(&t, pid);
    for (const char *list = c->join; *list;) {
        size_t n = strcspn(list, "\n");
        if (n >= sizeof path)
            return errno = ENAMETOOLONG, false;
        memcpy(path, list, n);
        path[n] = 0;
        if (!write_file(AT_FDCWD, path, 0, number, strlen(number)))
            return false;
        list += n + (list[n] == '\n');
    }
    return true;
}

bool is_null(int fd)
{
    struct stat st;
    return fd < 0 || (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

/* A null device that nobody else has: crun gives what stands on 0 to 2 to the container's user, who may then close
 * it to all others. */
static int null_open(void)
{
    int fs = fsopen("tmpfs", FSOPEN_CLOEXEC), fd = -1;
    int dir = fs >= 0 && fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0 ? fsmount(fs, FSMOUNT_CLOEXEC, 0) : -1;
    if (dir >= 0 && mknodat(dir, "null", S_IFCHR | 0666, makedev(1, 3)) == 0 && fchmodat(dir, "null", 0666, 0) == 0)
        fd = openat(dir, "null", O_RDWR | O_CLOEXEC);
    return fd; /* the others go with the program that is begun */
}

static void crun_become(const struct kept_container *c, bool join, const char *log, const char *const *args, int in,
                        int out, int err);

/* crun in a child that has joined the container's cgroup by itself (which is quick, and needs no cgroup manager).
 * log: where crun writes what went wrong, ID/log. -1 with errno. */
pid_t crun_start(struct kept_container *c, bool exec, const char *log, const char *const *args, int in, int out,
                 int err)
{
    struct launch *l = NULL;
    int go[2] = {-1, -1};
    if (!runtime_is_other() && !launch_begin(c, exec && c->guard[0], &l))
        return -1;
    pid_t pid = l && pipe2(go, O_CLOEXEC) < 0 ? -1 : fork();
    if (pid == 0) {
        char byte;
        fd_drop(&go[1]);
        if (l && read(go[0], &byte, 1) != 1) /* until it is traced */
            _exit(NODE_FAILED);
        crun_become(c, !(l && l->joins), log, args, in, out, err);
    }
    fd_drop(&go[0]);
    bool ok = pid > 0 && (!l || (crun_trace(l, pid) && write(go[1], "", 1) == 1));
    int keep = errno;
    fd_drop(&go[1]);
    if (!ok && l)
        launch_over(l);
    if (!ok && pid > 0) { /* it ends itself, unheard; nobody waits for it by its number */
        errno = keep;
        return -1;
    }
    errno = keep;
    return pid;
}

/* What is run in a container goes with it when memory is short: it has its oom_score_adj, not ours (crun gives that
 * only to a container's first process). */
static void score_as(pid_t pid)
{
    char path[64], score[32];
    struct shim_text t = TEXT(path);
    text_add(&t, "/proc/");
    add_number(&t, pid);
    text_add(&t, "/oom_score_adj");
    ssize_t n = read_file(AT_FDCWD, path, score, sizeof score);
    if (n > 0) /* it may have ended, and then crun says so; lowering it may not be ours to do */
        (void)write_file(AT_FDCWD, "/proc/self/oom_score_adj", 0, score, (size_t)n);
}

static void signals_default(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    static const unsigned long dfl[4]; /* the kernel's sigaction; the library's call leaves its own two signals out */
    for (int sig = 1; sig < NSIG; sig++)
        syscall(SYS_rt_sigaction, sig, dfl, NULL, (size_t)8);
}

bool runtime_is_other(void)
{
    return pod.flags & SHIM_OTHER_RUNTIME;
}

static void runtime_exec(const char *const *argv)
{
    static const char *const env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC); /* `here` is needed where it cannot be executed */
    execve(pod.crun, (char **)argv, (char **)env);
}

bool runtime_kill(const struct kept_container *c, int sig)
{
    char number[16];
    struct shim_text t = TEXT(number);
    add_number(&t, sig);
    pid_t pid = fork();
    if (pid != 0)
        return pid > 0;
    const char *argv[] = {pod.crun, "--root", pod.crun_root, "kill", c->id, number, NULL};
    signals_default();
    runtime_exec(argv);
    _exit(NODE_FAILED);
}

static void crun_become(const struct kept_container *c, bool join, const char *log, const char *const *args, int in,
                        int out, int err)
{
    signals_default();
    char log_option[64 + SHIM_PATH + 2 * SHIM_ID];
    struct shim_text t = TEXT(log_option);
    text_add(&t, "--log=");
    text_add(&t, pod.state);
    text_add(&t, "/");
    text_add(&t, c->id);
    text_add(&t, "/");
    text_add(&t, log);
    bool other = runtime_is_other();
    const char *argv[24] = {other ? pod.crun : "crun", "--root", pod.crun_root, log_option,
                            other ? "--log-format=json" : "--cgroup-manager=disabled"};
    for (size_t i = 5; i < sizeof argv / sizeof argv[0] - 1 && *args;)
        argv[i++] = *args++;
    if (c->state == SHIM_RUNNING)
        score_as(c->pid);
    int from[3] = {in, out, err}, null = null_open(); /* in the node's group, where devices may be made */
    if (null < 0) {
        error_save(c->id, log, "making a null device");
        _exit(NODE_FAILED);
    }
    if (join && !other && !write_lines(c->join)) {
        error_save(c->id, log, "joining the container's cgroup");
        _exit(NODE_FAILED);
    }
    /* sources may be 0..2 themselves when nothing was passed: lift them out of the way first */
    for (int i = 0; i < 3; i++)
        from[i] = fcntl(is_null(from[i]) ? null : from[i], F_DUPFD, 10);
    for (int i = 0; i < 3; i++)
        dup2(from[i], i);
    runtime_exec(argv);
    char what[SHIM_PATH + 64];
    struct shim_text w = TEXT(what);
    text_add(&w, "the runtime ");
    text_add(&w, pod.crun);
    text_add(&w, " cannot be executed");
    error_save(c->id, log, what);
    _exit(NODE_FAILED);
}

/* The message in a line of JSON, as other runtimes write them. */
static bool json_message(const char *line, struct shim_text *to)
{
    static const char key[] = "\"msg\":\"";
    const char *at = strstr(line, key);
    if (!at)
        return false;
    for (at += sizeof key - 1; *at && *at != '"'; at++) {
        bool escaped = *at == '\\' && at[1];
        char text[2] = {escaped ? *++at : *at, 0};
        text_add(to, escaped && text[0] == 'n' ? " " : text);
    }
    return true;
}

/* The last thing that crun said; crun puts a time before it. */
static void error_read(const char *id, const char *log, char text[SHIM_TEXT])
{
    char path[2 * SHIM_ID + 16], body[2048];
    ssize_t n = read_file(here, in_folder(path, sizeof path, id, log), body, sizeof body);
    struct shim_text t = {text, text + SHIM_TEXT - 1};
    if (n <= 0) {
        text_add(&t, "the container runtime failed and did not say why");
        return;
    }
    while (n > 0 && body[n - 1] == '\n')
        body[--n] = 0;
    char *from = strrchr(body, '\n');
    from = from ? from + 1 : body;
    if (runtime_is_other() && json_message(from, &t))
        return;
    char *after = strstr(from, "Z: ");
    if (from[0] == '2' && after && after - from < 40)
        from = after + 3;
    text_add(&t, from);
}

/* A socket on which crun hands over the master of a terminal; `name` is in the state folder. crun gets a short way to
 * it, as the names of sockets are limited to 107 bytes. */
int console_listen(const char *name, char *path, size_t size)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct shim_text n = TEXT(at.sun_path), p = {path, path + size - 1};
    text_add(&n, name);
    text_add(&p, "/proc/");
    add_number(&p, getpid());
    text_add(&p, "/cwd/");
    text_add(&p, name);
    unlinkat(here, name, 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 1) < 0))
        fd_drop(&fd);
    return fd;
}

size_t take_fds(struct msghdr *h, int *fds, size_t room)
{
    size_t got = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (got < room)
                fds[got++] = fd;
            else
                close(fd);
        }
    }
    return got;
}

int console_take(int *console) /* the master, or -1: not there yet */
{
    int from = accept4(*console, NULL, NULL, SOCK_CLOEXEC), master = -1;
    if (from < 0)
        return -1;
    struct timeval wait = {1, 0}; /* crun sends at once */
    setsockopt(from, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    char name[256], room[CMSG_SPACE(4 * sizeof(int))];
    struct iovec io = {name, sizeof name};
    struct msghdr h = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    if (recvmsg(from, &h, MSG_CMSG_CLOEXEC) >= 0)
        take_fds(&h, &master, 1);
    close(from);
    fd_drop(console);
    return master;
}

void path_numbered(char *to, size_t size, const char *prefix, ptrdiff_t number)
{
    struct shim_text t = {to, to + size - 1};
    text_add(&t, prefix);
    add_number(&t, number);
}

void set_size(int fd, uint16_t rows, uint16_t columns)
{
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    if (fd >= 0 && rows && columns)
        ioctl(fd, TIOCSWINSZ, &size);
}

static pid_t pid_read(const char *id, const char *name)
{
    char path[2 * SHIM_ID + 16], body[32];
    if (read_file(here, in_folder(path, sizeof path, id, name), body, sizeof body) <= 0)
        return 0;
    return (pid_t)strtol(body, NULL, 10);
}

bool kept_container_start(struct kept_container *c, const char **why)
{
    int out[2] = {-1, -1}, err[2] = {-1, -1}, in[2] = {-1, -1};
    char tty[32], tty_path[64], bundle[SHIM_PATH + SHIM_ID], pid_file[SHIM_PATH + SHIM_ID + 8];
    struct shim_text b = TEXT(bundle), p = TEXT(pid_file);
    text_add(&b, pod.state);
    text_add(&b, "/");
    text_add(&b, c->id);
    text_add(&p, bundle);
    text_add(&p, "/pid");
    log_open(c);
    if (c->log_path[0] && c->log < 0)
        return *why = "the log file cannot be opened", false;
    const char *args[12] = {"run", "--detach", "--bundle", bundle, "--pid-file", pid_file};
    size_t n = 6;
    if (c->flags & SHIM_TTY) {
        path_numbered(tty, sizeof tty, "tty.", c - containers);
        c->console = console_listen(tty, tty_path, sizeof tty_path);
        if (c->console < 0)
            return *why = "no socket for the terminal", false;
        args[n++] = "--console-socket";
        args[n++] = tty_path;
    } else if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0 ||
               (c->flags & SHIM_STDIN && pipe2(in, O_CLOEXEC) < 0)) {
        *why = "no pipes for its output";
    }
    args[n] = c->id;
    c->oom_before = oom_kills(c);
    if (!*why && (c->crun = crun_start(c, false, "error", args, in[0], out[1], err[1])) < 0)
        *why = "starting crun";
    fd_drop(&in[0]);
    fd_drop(&out[1]);
    fd_drop(&err[1]);
    if (*why) {
        fd_drop(&in[1]);
        fd_drop(&out[0]);
        fd_drop(&err[0]);
        fd_drop(&c->console);
        return false;
    }
    c->in = in[1];
    c->streams[OUT].fd = out[0];
    c->streams[ERR_].fd = err[0];
    int mine[] = {in[1], out[0], err[0]};
    every (fd, mine)
        if (*fd >= 0)
            fcntl(*fd, F_SETFL, O_NONBLOCK);
    c->state = SHIM_STARTING;
    return true;
}

void container_console(struct kept_container *c)
{
    int master = console_take(&c->console);
    if (master < 0)
        return;
    fcntl(master, F_SETFL, O_NONBLOCK);
    c->streams[OUT].fd = master;
}

void quit_when_empty(void)
{
    if (!quitting)
        return;
    every (c, containers)
        if (c->state == SHIM_STARTING || c->state == SHIM_RUNNING)
            return;
    unlinkat(here, "sock", 0);
    answer_text(quit_client, SHIM_QUIT, quit_seq, "", 0, "");
    _exit(0);
}

static void container_ended(struct kept_container *c, int32_t code, int32_t sig)
{
    c->finished = clock_now(CLOCK_REALTIME);
    c->code = code;
    c->signal = sig;
    c->oom = oom_kills(c) > c->oom_before;
    c->state = SHIM_EXITED;
    c->pid = 0;
    fd_drop(&c->in);
    streams_drain(c);
    status_save(c);
    quit_when_empty();
}

static void container_exit(struct kept_container *c, int status)
{
    int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    container_ended(c, sig ? 128 + sig : WEXITSTATUS(status), sig);
    fill_status(c);
    tell_watchers(SHIM_EVENT_EXIT);
}

static void exec_end(struct kept_exec *x, int status)
{
    int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    out_msg.u.exec_exit = (struct shim_exec_exit){.code = sig ? 128 + sig : WEXITSTATUS(status), .signal = sig};
    memcpy(out_msg.u.exec_exit.id, x->id, sizeof x->id);
    send_to(client_by(x->client), SHIM_EVENT_EXEC_EXIT, x->seq, 0, -1);
    fd_drop(&x->console);
    fd_drop(&x->master);
    x->id[0] = 0;
}

/* What crun started as `pid` has ended before it told us so. One of that number that is still our child is another
 * one, whose number was somebody's before. */
static bool orphan_take(pid_t pid, int *status)
{
    siginfo_t unused;
    bool there = pid > 0 && waitid(P_PID, (id_t)pid, &unused, WEXITED | WNOHANG | WNOWAIT) == 0;
    bool found = false;
    every (o, orphans)
        if (pid > 0 && o->pid == pid) {
            *status = o->status;
            o->pid = 0;
            found = true;
        }
    return found && !there;
}

/* crun has ended: the container runs, or it said why not. */
static void container_launched(struct kept_container *c, int status)
{
    char text[SHIM_TEXT];
    int ended;
    c->crun = 0;
    if (c->console >= 0)
        container_console(c);
    fd_drop(&c->console);
    pid_t pid = status == 0 ? pid_read(c->id, "pid") : 0;
    if (pid <= 0) {
        error_read(c->id, "error", text);
        container_ended(c, 128, 0);
        bool node = WIFEXITED(status) && WEXITSTATUS(status) == NODE_FAILED;
        answer_text(c->start_client, SHIM_START, c->start_seq, c->id, node ? EAGAIN : EIO, text);
        return;
    }
    c->pid = pid;
    c->state = SHIM_RUNNING;
    c->started = clock_now(CLOCK_REALTIME);
    (void)write_lines(c->after); /* the quota of a container that is over already has nowhere to go */
    bool over = orphan_take(pid, &ended);
    status_save(c);
    memset(&out_msg.u.target, 0, sizeof out_msg.u.target);
    memcpy(out_msg.u.target.id, c->id, sizeof c->id);
    out_msg.u.target.pid = (uint32_t)pid;
    send_to(client_by(c->start_client), SHIM_START, c->start_seq, 0, -1);
    if (over)
        container_exit(c, ended);
    else if (c->kill_early)
        kill(pid, SIGKILL);
}

static void exec_launched(struct kept_exec *x, int status)
{
    char text[SHIM_TEXT], name[32], path[2 * SHIM_ID];
    int ended;
    x->crun = 0;
    if (x->console >= 0)
        x->master = console_take(&x->console);
    fd_drop(&x->console);
    path_numbered(name, sizeof name, "exec.", x - execs);
    pid_t pid = status == 0 ? pid_read(x->container->id, name) : 0;
    unlinkat(here, in_folder(path, sizeof path, x->container->id, name), 0);
    path_numbered(name, sizeof name, "exec-error.", x - execs);
    if (pid <= 0) {
        error_read(x->container->id, name, text);
        answer_text(x->client, SHIM_EXEC, x->seq, x->id, EIO, text);
        unlinkat(here, in_folder(path, sizeof path, x->container->id, name), 0);
        fd_drop(&x->master);
        x->id[0] = 0;
        return;
    }
    unlinkat(here, in_folder(path, sizeof path, x->container->id, name), 0);
    x->pid = pid;
    bool over = orphan_take(pid, &ended);
    set_size(x->master, x->rows, x->columns);
    memset(&out_msg.u.target, 0, sizeof out_msg.u.target);
    memcpy(out_msg.u.target.id, x->id, sizeof x->id);
    send_to(client_by(x->client), SHIM_EXEC, x->seq, 0, x->master);
    fd_drop(&x->master); /* the terminal is the asker's now */
    if (over)
        exec_end(x, ended);
    else if (x->container->removing)
        kill(pid, SIGKILL);
}

/* For who finds the folder and cannot talk to us: "PID STARTED", the latter in ticks since the boot. */
bool pid_save(void)
{
    char line[1024], body[64];
    if (read_file(AT_FDCWD, "/proc/self/stat", line, sizeof line) <= 0)
        return false;
    char *at = strrchr(line, ')'); /* the name before may have anything in it; field 3 follows */
    for (int field = 3; at && field <= 22; field++)
        at = strchr(at + 1, ' ');
    if (!at)
        return false;
    at[1 + strcspn(at + 1, " ")] = 0;
    struct shim_text t = TEXT(body);
    add_number(&t, getpid());
    text_add(&t, at);
    return write_file(here, "shim", O_CREAT | O_TRUNC, body, strlen(body));
}

static bool crun_is_running(void)
{
    every (c, containers)
        if (c->crun)
            return true;
    every (x, execs)
        if (x->id[0] && x->crun)
            return true;
    return false;
}

bool is_crun(pid_t pid)
{
    every (c, containers)
        if (c->state && c->crun == pid)
            return true;
    every (x, execs)
        if (x->id[0] && x->crun == pid)
            return true;
    return false;
}

static void child_ended(pid_t pid, int status)
{
    trace_ended(pid);
    every (c, containers) {
        if (c->state && c->crun == pid) {
            container_launched(c, status);
            return;
        }
        if (c->state == SHIM_RUNNING && c->pid == pid) {
            container_exit(c, status);
            return;
        }
    }
    every (x, execs) {
        if (x->id[0] && x->crun == pid) {
            exec_launched(x, status);
            return;
        }
        if (x->id[0] && x->pid == pid) {
            exec_end(x, status);
            return;
        }
    }
    if (pid == pod_init)
        pod_init = 0;
    /* perhaps one whose crun has not told us its pid yet; else a stray that was left to us */
    static unsigned next;
    if (crun_is_running()) {
        orphans[next % ORPHANS].pid = pid;
        orphans[next++ % ORPHANS].status = status;
    }
}

void children_reap(void)
{
    struct signalfd_siginfo info;
    while (read(signals, &info, sizeof info) > 0) {
    }
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0)
        if (WIFSTOPPED(status))
            trace_stopped(pid, status);
        else
            child_ended(pid, status);
    containers_remove();
}
