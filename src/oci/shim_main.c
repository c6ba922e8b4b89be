/* wherry-shim NS/POD: one per pod. Holds what must outlive everything above it: the pod's namespaces (it lives in
 * them itself, so there is no pause container), the containers' stdio, their logs, their exit status. Serves
 * shim_proto.h on STATE/sock and on descriptor 3, where its first connection waits.
 *
 * One thread, one poll, no heap: all memory is in arrays, whose pages the kernel gives only when they are
 * touched. A descriptor is -1 when there is none. Nothing here blocks on a stranger: pipes, terminals and clients are
 * non-blocking, and who does not read in time is dropped (clients) or given STALL_MS (attached terminals).
 *
 * Its life. It is started by the node, forks itself away and leaves the node's session. Until SHIM_SANDBOX has made
 * it one (sandbox_set_up: namespaces, mounts of its own, the pod's host name and sysctls, /dev/shm, PID 1 where the
 * pod shares one, the socket) it ends with who started it; from then on it ends by SHIM_QUIT alone, when the last
 * container has ended (quit_when_empty). All its children and what they leave behind are its own to wait for (it is a
 * subreaper).
 *
 * How a container starts (do_start). Its log is opened, pipes or the socket for a terminal are made, and crun is
 * forked off: the child puts itself into the container's cgroup, takes the pipes for its stdio and becomes `crun run
 * --detach`, which makes the container's own namespaces, forks the program, writes its pid into a file and ends.
 * SIGCHLD says that crun has ended (container_launched), and only then SHIM_START is answered: with the pid, or with
 * crun's last words. The CPU quota is written now and not before, or crun would crawl under it. A start is answered
 * once, and no other request waits for it.
 *
 * Hard places:
 * - The program may end before crun has told its pid. crun's child has become ours by then, so its end comes by
 * SIGCHLD under a number nobody knows yet: such ends are kept (`orphans`) until crun has told whose it was.
 * - A kill that comes while crun is at work waits for the pid (kill_early).
 * - At an exit what is left in the pipes is read first, as far as it is there (streams_drain), then the status file
 * is written, then watchers are told: who reads the log after the event misses nothing.
 * - Who could trace crun must not run while crun does: see shim_guard.c.
 * - What takes its time (start, exec, remove, quit) is answered when it is over, and others meanwhile; each answer
 * has its request's number and goes to the connection that asked (`serial`, as places of clients are used again), if
 * that is still there. */
#include "oci/shim_int.h"
#include <fcntl.h>
#include <linux/sched.h> /* struct clone_args */
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define STALL_MS 10000

enum what { LISTENER, SIGNALS, CLIENT, STREAM_OUT, STREAM_ERR, INPUT, CONSOLE, EXEC_CONSOLE, ATTACH_IN, ATTACH_OUT };
#define POLLS (2 + SHIM_CLIENTS + 4 * SHIM_CONTAINERS + SHIM_EXECS + 3 * SHIM_ATTACHES)
static struct pollfd polls[POLLS];
static struct {
    uint8_t what, index;
} owners[POLLS];
static nfds_t npolls;

static void fd_want(int fd, short events, enum what what, ptrdiff_t index)
{
    if (fd < 0)
        return;
    polls[npolls] = (struct pollfd){fd, events, 0};
    owners[npolls].what = (uint8_t)what;
    owners[npolls++].index = (uint8_t)index;
}

static int polls_collect(void) /* what to wait for; returns the time to wait in ms, -1: for ever */
{
    npolls = 0;
    int wait = -1;
    fd_want(listener, POLLIN, LISTENER, 0);
    fd_want(signals, POLLIN, SIGNALS, 0);
    every (k, clients)
        fd_want(k->fd, POLLIN, CLIENT, k - clients);
    every (c, containers) {
        if (!c->state)
            continue;
        ptrdiff_t i = c - containers;
        bool tty = c->flags & SHIM_TTY, held = container_is_stalled(c);
        if (!held) {
            fd_want(c->streams[OUT].fd, POLLIN, STREAM_OUT, i);
            fd_want(c->streams[ERR_].fd, POLLIN, STREAM_ERR, i);
        }
        if (c->in_used)
            fd_want(tty ? c->streams[OUT].fd : c->in, POLLOUT, INPUT, i);
        fd_want(c->console, POLLIN, CONSOLE, i);
    }
    every (x, execs)
        if (x->id[0])
            fd_want(x->console, POLLIN, EXEC_CONSOLE, x - execs);
    every (a, attaches) {
        if (!a->container)
            continue;
        ptrdiff_t i = a - attaches;
        if (!a->container->in_used)
            fd_want(a->in, POLLIN, ATTACH_IN, i);
        fd_want(a->out, a->stalled == OUT ? POLLOUT : 0, ATTACH_OUT, i);
        fd_want(a->err, a->stalled == ERR_ ? POLLOUT : 0, ATTACH_OUT, i);
        if (a->stalled >= 0)
            wait = STALL_MS;
    }
    if (any_launch() && wait < 0)
        wait = STALL_MS;
    return wait;
}

static void poll_dispatch(enum what what, size_t i, short events)
{
    switch (what) {
    case LISTENER: {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            client_add(fd);
        break;
    }
    case SIGNALS: children_reap(); break;
    case CLIENT:
        if (clients[i].fd >= 0)
            client_read(&clients[i]);
        break;
    case STREAM_OUT:
        if (containers[i].streams[OUT].fd >= 0 && !container_is_stalled(&containers[i]))
            stream_read(&containers[i], OUT);
        break;
    case STREAM_ERR:
        if (containers[i].streams[ERR_].fd >= 0 && !container_is_stalled(&containers[i]))
            stream_read(&containers[i], ERR_);
        break;
    case INPUT: input_flush(&containers[i]); break;
    case CONSOLE:
        if (containers[i].console >= 0)
            container_console(&containers[i]);
        break;
    case EXEC_CONSOLE:
        if (execs[i].console >= 0)
            execs[i].master = console_take(&execs[i].console);
        break;
    case ATTACH_IN:
        if (attaches[i].container && attaches[i].in >= 0 && !attaches[i].container->in_used)
            attach_input(&attaches[i]);
        break;
    case ATTACH_OUT:
        if (!attaches[i].container)
            break;
        if (events & (POLLERR | POLLHUP))
            attach_end(&attaches[i]);
        else if (attaches[i].stalled >= 0)
            attach_unstall(&attaches[i]);
        break;
    }
}

static void loop_once(void)
{
    int wait = polls_collect();
    int n = poll(polls, npolls, wait);
    launches_check();
    for (nfds_t i = 0; n > 0 && i < npolls; i++)
        if (polls[i].revents)
            poll_dispatch(owners[i].what, owners[i].index, polls[i].revents);
    every (a, attaches)
        if (a->container && a->stalled >= 0 && clock_now(CLOCK_MONOTONIC) - a->stalled_since > STALL_MS * 1000000LL)
            attach_end(a);
}

/* A fork whose child begins in another control group (which costs nothing, unlike joining it later). */
static long fork_into(const char *group)
{
    int fd = group ? open(group, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    struct clone_args how = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)fd};
    long pid = fd < 0 ? -1 : syscall(SYS_clone3, &how, sizeof how);
    return pid < 0 ? fork() : pid;
}

/* wherry-pods.service: somebody must be in the group that systemd gave it, or it takes the group away; and not in its
 * top, as that has groups of pods below it. So one waits in a group of its own. */
static int group_hold(void)
{
    static const char prefix[] = "0::", top[] = "/sys/fs/cgroup";
    char own[SHIM_PATH], body[sizeof top + SHIM_PATH + 8];
    ssize_t n = read_file(AT_FDCWD, "/proc/self/cgroup", own, sizeof own);
    struct shim_text t = TEXT(body);
    char *at = n > 0 ? strstr(own, prefix) : NULL; /* hybrid hosts have other lines too, and no such folder */
    if (at) {
        at[strcspn(at, "\n")] = 0;
        text_add(&t, top);
        text_add(&t, at + sizeof prefix - 1);
        text_add(&t, "/hold");
        mkdir(body, 0755);
    }
    if (fork_into(at ? body : NULL) != 0)
        return 0;
    setsid();
    prctl(PR_SET_NAME, "wherry-pods");
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--hold") == 0)
        return group_hold();
    if (argc == 2 && strcmp(argv[1], "--init") == 0 && getpid() == 1)
        return init_main();
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        static const char text[] = "wherry-shim protocol 3\n";
        return write(1, text, sizeof text - 1) < 0;
    }
    struct stat st;
    if (argc < 2 || argc > 3 || fstat(3, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        static const char text[] = "wherry-shim NS/POD [GROUP]: started by the node, with its first connection on "
                                   "descriptor 3\n";
        (void)!write(2, text, sizeof text - 1);
        return 2;
    }
    if (fork_into(argv[2]) != 0) /* the node need not wait for us */
        _exit(0);
    setsid();
    umask(0022);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_NAME, "wherry-shim");
    int null = open("/dev/null", O_RDWR);
    for (int i = 0; i < 3; i++)
        dup2(null, i);
    close_range(4, ~0U, 0);
    fcntl(3, F_SETFD, FD_CLOEXEC);
    /* SIGTERM is for the containers: who ends us says SHIM_QUIT */
    const int ignored[] = {SIGPIPE, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
    every (sig, ignored)
        signal(*sig, SIG_IGN);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    every (k, clients)
        k->fd = -1;
    client_add(3);
    while (ready || clients[0].fd >= 0) /* before it is a sandbox, it ends with who started it */
        loop_once();
    return 0;
}
