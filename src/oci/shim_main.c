/* wherry-shim NS/POD: one per pod. Holds what must outlive everything above it: the pod's namespaces (it lives in
 * them itself, so there is no pause container), the containers' stdio, their logs, their exit status. Serves
 * shim_proto.h on STATE/sock and on descriptor 3, where its first connection waits.
 *
 * One thread, one poll, no heap: all memory is in the arrays below, whose pages the kernel gives only when they are
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
 * - Who could trace crun must not run while crun does: see the text above `launches`.
 * - What takes its time (start, exec, remove, quit) is answered when it is over, and others meanwhile; each answer
 * has its request's number and goes to the connection that asked (`serial`, as places of clients are used again), if
 * that is still there. */
#include "oci/shim_proto.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/sched.h> /* struct clone_args */
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h> /* rename */
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h> /* makedev */
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JUST_NOW  (10 * 1000000000ll)
#define LINE      16384 /* a longer line is written in pieces, tagged P (CRI log format) */
#define HEAD      48    /* time, stream and tag before a line */
#define STALL_MS  10000
#define PIPE_MOST (1 << 20) /* what a pipe holds whose owner may not raise /proc/sys/fs/pipe-max-size */
#define ORPHANS   64

#define NODE_FAILED 125 /* exit code of a start that failed before crun began */

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif
#if defined(__x86_64__)
#define SHIM_AUDIT_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define SHIM_AUDIT_ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv)
#define SHIM_AUDIT_ARCH AUDIT_ARCH_RISCV64
#elif defined(__powerpc64__)
#define SHIM_AUDIT_ARCH AUDIT_ARCH_PPC64LE
#elif defined(__s390x__)
#define SHIM_AUDIT_ARCH AUDIT_ARCH_S390X
#endif

enum { OUT, ERR_, STREAMS };

struct kept_stream {
    int fd;
    uint32_t used;  /* bytes of an unfinished line in lines[][] */
    bool continued; /* the unfinished line has pieces in the log already */
};

struct kept_container {
    char id[SHIM_ID];
    uint8_t state;                            /* 0: the place is free */
    bool oom, kill_early, log_full, attached; /* attached: somebody was, once */
    bool began;                               /* its program runs; known where launches are followed */
    bool removing;                            /* asked for; waits for its start and its execs to end */
    uint32_t flags;
    pid_t crun, pid; /* crun while STARTING; pid while RUNNING */
    int32_t code, signal;
    int64_t started, finished;
    uint64_t oom_before;
    struct kept_stream streams[STREAMS]; /* with a terminal: OUT alone, its master */
    int in;                              /* writing end of stdin; with a terminal -1 (the master is) */
    int console;                         /* socket on which crun hands over the master */
    uint32_t in_used, in_sent;           /* of input[] */
    int log, lock;
    uint64_t log_size, log_max, log_lost;
    uint32_t start_client, start_seq, remove_client, remove_seq;
    /* last, and never cleared whole: pages that no text needs stay untouched */
    char log_path[SHIM_LOG_PATH], oom_file[SHIM_PATH], after[SHIM_AFTER], join[SHIM_CGROUP];
    char guard[SHIM_PATH * 2]; /* file that freezes it, where its processes may trace others */
};

struct kept_exec {
    char id[SHIM_ID]; /* id[0] == 0: the place is free */
    struct kept_container *container;
    pid_t crun, pid;
    int console, master;
    uint32_t client, seq;
    uint16_t rows, columns;
    bool answered;
};

struct kept_attach {
    struct kept_container *container; /* NULL: the place is free */
    int in, out, err;
    int stalled; /* out or err: has bytes waiting in spill[]; -1: neither */
    uint32_t spill_used, spill_sent;
    int64_t stalled_since;
    uint32_t client, seq;
};

struct kept_client {
    int fd;
    uint32_t serial; /* names this connection for ever: places are used again */
    bool watching;
};

static struct kept_container containers[SHIM_CONTAINERS];
static struct kept_exec execs[SHIM_EXECS];
static struct kept_attach attaches[SHIM_ATTACHES];
static struct kept_client clients[SHIM_CLIENTS];
static struct {
    pid_t pid;
    int status;
} orphans[ORPHANS]; /* ended before crun told us their pid */
static _Alignas(4096) char lines[SHIM_CONTAINERS][STREAMS][LINE];
static _Alignas(4096) char spill[SHIM_ATTACHES][LINE];
static _Alignas(4096) char input[SHIM_CONTAINERS][4096];
static _Alignas(4096) char log_out[2 * LINE + HEAD];
static size_t log_used;
static struct shim_msg in_msg;
static struct shim_answer out_msg;
static struct shim_sandbox pod;
static bool ready, quitting;
static uint32_t serials, quit_client, quit_seq;
static pid_t pod_init;
static int listener = -1, signals = -1, here = -1; /* here: the state folder */

#define every(it, array)                                                                                             \
    for (__typeof__(&(array)[0]) it = (array); it < (array) + sizeof(array) / sizeof((array)[0]); it++)

/* ---- small tools ---- */

struct shim_text { /* appends within a fixed field; what does not fit is cut */
    char *p, *end;
};
#define TEXT(field)                                                                                                  \
    {                                                                                                                \
        field, field + sizeof(field) - 1                                                                             \
    }

static void text_add(struct shim_text *t, const char *s)
{
    while (*s && t->p < t->end)
        *t->p++ = *s++;
    *t->p = 0;
}

static void add_number(struct shim_text *t, int64_t v)
{
    char digits[24], *d = digits + sizeof digits;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    *--d = 0;
    do
        *--d = (char)('0' + u % 10);
    while (u /= 10);
    if (v < 0)
        *--d = '-';
    text_add(t, d);
}

static int64_t clock_now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fd_drop(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static ssize_t read_file(int dir, const char *path, char *to, size_t size)
{
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, to, size - 1);
    close(fd);
    to[n > 0 ? n : 0] = 0;
    return n;
}

static bool write_file(int dir, const char *path, int flags, const char *p, size_t n)
{
    int fd = openat(dir, path, O_WRONLY | O_CLOEXEC | flags, 0600);
    if (fd < 0)
        return false;
    bool ok = write(fd, p, n) == (ssize_t)n;
    int keep = errno;
    close(fd);
    errno = keep;
    return ok;
}

static char *in_folder(char *to, size_t size, const char *id, const char *name) /* ID/name, relative to `here` */
{
    struct shim_text t = {to, to + size - 1};
    text_add(&t, id);
    text_add(&t, "/");
    text_add(&t, name);
    return to;
}

static struct kept_container *container_by(const char *id)
{
    every (c, containers)
        if (c->state && strcmp(c->id, id) == 0)
            return c;
    return NULL;
}

/* ---- answers and events ---- */

static struct kept_client *client_by(uint32_t serial)
{
    every (c, clients)
        if (c->fd >= 0 && c->serial == serial)
            return c;
    return NULL;
}

static void send_to(struct kept_client *to, uint16_t op, uint32_t seq, int status, int fd)
{
    if (!to)
        return;
    out_msg.head = (struct shim_head){SHIM_MAGIC, SHIM_VERSION, op, seq, status};
    struct iovec io = {&out_msg, sizeof out_msg.head + shim_answer_size(op)};
    char room[CMSG_SPACE(sizeof fd)] = {0};
    struct msghdr h = {.msg_iov = &io, .msg_iovlen = 1};
    if (fd >= 0) {
        h.msg_control = room;
        h.msg_controllen = sizeof room;
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    /* a client that does not read its answers is cut off; it may connect again and list */
    if (sendmsg(to->fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        shutdown(to->fd, SHUT_RDWR);
}

static void answer_text(uint32_t client, uint16_t op, uint32_t seq, const char *id, int status, const char *text)
{
    memset(&out_msg.u.target, 0, sizeof out_msg.u.target);
    struct shim_text i = TEXT(out_msg.u.target.id), t = TEXT(out_msg.u.target.text);
    text_add(&i, id);
    text_add(&t, text);
    send_to(client_by(client), op, seq, status, -1);
}

static void fill_status(const struct kept_container *c)
{
    struct shim_status *s = &out_msg.u.status;
    *s = (struct shim_status){.state = c->state,
                              .oom = c->oom,
                              .code = c->code,
                              .signal = c->signal,
                              .pid = (uint32_t)c->pid,
                              .started_ns = c->started,
                              .finished_ns = c->finished,
                              .log_lost = c->log_lost};
    memcpy(s->id, c->id, sizeof s->id);
}

static void tell_watchers(uint16_t op)
{
    every (k, clients)
        if (k->fd >= 0 && k->watching)
            send_to(k, op, 0, 0, -1);
}

/* What a successor of a dead shim can know: ID/status, whole or not there. */
static void status_save(const struct kept_container *c)
{
    static const char *const names[] = {"", "created", "starting", "running", "exited"};
    char body[400], fresh[SHIM_ID + 16], path[SHIM_ID + 16];
    struct shim_text t = TEXT(body);
    const struct {
        const char *name;
        int64_t value;
    } fields[] = {{"pid", c->pid}, {"code", c->code},       {"signal", c->signal},
                  {"oom", c->oom}, {"started", c->started}, {"finished", c->finished}};
    text_add(&t, "wherry-status 1\nstate ");
    text_add(&t, names[c->state]);
    every (f, fields) {
        text_add(&t, "\n");
        text_add(&t, f->name);
        text_add(&t, " ");
        add_number(&t, f->value);
    }
    text_add(&t, "\n");
    in_folder(fresh, sizeof fresh, c->id, "status.new");
    in_folder(path, sizeof path, c->id, "status");
    if (write_file(here, fresh, O_CREAT | O_TRUNC, body, (size_t)(t.p - body)))
        (void)rename(fresh, path); /* the state folder is where we are */
}

/* ---- logs ---- */

static void log_flush(struct kept_container *c)
{
    size_t n = log_used;
    log_used = 0;
    if (n == 0 || c->log < 0)
        return;
    if (write(c->log, log_out, n) != (ssize_t)n) {
        /* full disk: what is there stays whole lines; the program goes on */
        (void)!ftruncate(c->log, (off_t)c->log_size);
        for (size_t i = 0; i < n; i++)
            c->log_lost += log_out[i] == '\n';
        return;
    }
    c->log_size += n;
    if (c->log_max && c->log_size > c->log_max && !c->log_full) {
        c->log_full = true;
        memset(&out_msg.u.target, 0, sizeof out_msg.u.target);
        memcpy(out_msg.u.target.id, c->id, sizeof c->id);
        tell_watchers(SHIM_EVENT_LOG_FULL);
    }
}

/* "2026-01-02T03:04:05.000000006Z ": RFC 3339 in UTC; days to civil date after H. Hinnant. */
static char *time_stamp(char *p, int64_t ns)
{
    int64_t seconds = ns / 1000000000, z = seconds / 86400 + 719468, era = z / 146097, doe = z % 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365,
            doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153, month = mp < 10 ? mp + 3 : mp - 9;
    const struct {
        int64_t value;
        int digits;
        char after;
    } parts[] = {{yoe + era * 400 + (month <= 2), 4, '-'},
                 {month, 2, '-'},
                 {doy - (153 * mp + 2) / 5 + 1, 2, 'T'},
                 {seconds / 3600 % 24, 2, ':'},
                 {seconds / 60 % 60, 2, ':'},
                 {seconds % 60, 2, '.'},
                 {ns % 1000000000, 9, 'Z'}};
    every (f, parts) {
        int64_t v = f->value;
        for (int i = f->digits - 1; i >= 0; i--, v /= 10)
            p[i] = (char)('0' + v % 10);
        p += f->digits;
        *p++ = f->after;
    }
    *p++ = ' ';
    return p;
}

static void log_line(struct kept_container *c, int which, const char *p, size_t n, bool whole, int64_t at)
{
    if (sizeof log_out - log_used < n + HEAD)
        log_flush(c);
    char *to = time_stamp(log_out + log_used, at);
    memcpy(to, which == OUT ? "stdout" : "stderr", 6);
    memcpy(to + 6, whole ? " F " : " P ", 3);
    memcpy(to + 9, p, n);
    to[9 + n] = '\n';
    log_used = (size_t)(to + 10 + n - log_out);
}

/* LOGS/pods/POD/CONTAINER/N.log: pods that ship logs have LOGS mounted, and one that may write there could put a link
 * or a pipe in the way. So below LOGS nothing is followed, and nothing is waited for. */
static int open_log(const char *path, unsigned flags)
{
    struct open_how how = {.flags = flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                           .mode = flags & O_CREAT ? 0640 : 0,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    char logs[SHIM_LOG_PATH];
    size_t n = strlen(path);
    for (int parts = 0; n > 1 && parts < 4; parts++)
        while (n > 1 && path[--n] != '/') {
        }
    memcpy(logs, path, n);
    logs[n] = 0;
    int dir = open(logs, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, path + n + (path[n] == '/'), &how, sizeof how);
    int keep = errno;
    fd_drop(&dir);
    errno = keep;
    return fd;
}

static void log_open(struct kept_container *c)
{
    fd_drop(&c->log);
    c->log_size = 0;
    c->log_full = false;
    if (!c->log_path[0])
        return;
    c->log = open_log(c->log_path, O_WRONLY | O_APPEND | O_CREAT);
    struct stat st;
    if (c->log >= 0 && (fstat(c->log, &st) < 0 || !S_ISREG(st.st_mode))) {
        fd_drop(&c->log);
        errno = EINVAL;
    }
    if (c->log >= 0)
        c->log_size = (uint64_t)st.st_size;
}

/* ---- attached clients ---- */

static void attach_end(struct kept_attach *a)
{
    memset(&out_msg.u.target, 0, sizeof out_msg.u.target);
    memcpy(out_msg.u.target.id, a->container->id, sizeof a->container->id);
    send_to(client_by(a->client), SHIM_EVENT_ATTACH_END, a->seq, 0, -1);
    fd_drop(&a->in);
    fd_drop(&a->out);
    fd_drop(&a->err);
    a->container = NULL;
}

static bool container_is_stalled(const struct kept_container *c)
{
    every (a, attaches)
        if (a->container == c && a->stalled >= 0)
            return true;
    return false;
}

static void attach_write(struct kept_attach *a, int which, const char *p, size_t n)
{
    int fd = which == OUT ? a->out : a->err;
    if (fd < 0)
        return;
    ssize_t sent = write(fd, p, n);
    if (sent < 0 && errno != EAGAIN) {
        attach_end(a);
        return;
    }
    size_t left = n - (size_t)(sent > 0 ? sent : 0);
    if (left == 0)
        return;
    /* n is at most LINE, and nothing more is read while anybody has not taken what was */
    memcpy(spill[a - attaches], p + n - left, left);
    a->stalled = which;
    a->spill_used = (uint32_t)left;
    a->spill_sent = 0;
    a->stalled_since = clock_now(CLOCK_MONOTONIC);
}

static void attach_unstall(struct kept_attach *a)
{
    int fd = a->stalled == OUT ? a->out : a->err;
    ssize_t n = write(fd, spill[a - attaches] + a->spill_sent, a->spill_used - a->spill_sent);
    if (n < 0 && errno != EAGAIN) {
        attach_end(a);
        return;
    }
    if (n > 0)
        a->stalled_since = clock_now(CLOCK_MONOTONIC);
    a->spill_sent += (uint32_t)(n > 0 ? n : 0);
    if (a->spill_sent == a->spill_used)
        a->stalled = -1;
}

static void input_flush(struct kept_container *c)
{
    int fd = c->flags & SHIM_TTY ? c->streams[OUT].fd : c->in;
    char *from = input[c - containers];
    if (fd < 0) {
        c->in_used = c->in_sent = 0;
        return;
    }
    ssize_t n = write(fd, from + c->in_sent, c->in_used - c->in_sent);
    if (n < 0 && errno != EAGAIN) { /* nobody reads it any more */
        if (!(c->flags & SHIM_TTY))
            fd_drop(&c->in);
        c->in_used = c->in_sent = 0;
        return;
    }
    c->in_sent += (uint32_t)(n > 0 ? n : 0);
    if (c->in_sent == c->in_used)
        c->in_used = c->in_sent = 0;
}

static void attach_input(struct kept_attach *a)
{
    struct kept_container *c = a->container;
    ssize_t n = read(a->in, input[c - containers], sizeof input[0]);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        fd_drop(&a->in);
        if (c->flags & SHIM_STDIN_ONCE && !(c->flags & SHIM_TTY))
            fd_drop(&c->in);
        else /* its stdin stays open: who has nothing more to say goes (kubectl run --leave-stdin-open) */
            attach_end(a);
        return;
    }
    c->in_used = (uint32_t)n;
    c->in_sent = 0;
    input_flush(c);
}

/* ---- streams of a container ---- */

static void stream_end(struct kept_container *c, int which)
{
    struct kept_stream *s = &c->streams[which];
    if (s->used) /* no newline was written: none is shown */
        log_line(c, which, lines[c - containers][which], s->used, false, clock_now(CLOCK_REALTIME));
    log_flush(c);
    s->used = 0;
    s->continued = false;
    fd_drop(&s->fd);
    if (c->streams[OUT].fd >= 0 || c->streams[ERR_].fd >= 0)
        return;
    every (a, attaches)
        if (a->container == c)
            attach_end(a);
}

/* One read: how many bytes; 0: nothing (more) to read for now. */
static size_t stream_read(struct kept_container *c, int which)
{
    struct kept_stream *s = &c->streams[which];
    char *line = lines[c - containers][which];
    ssize_t n = read(s->fd, line + s->used, LINE - s->used);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) { /* a terminal whose other side is closed says EIO */
        stream_end(c, which);
        return 0;
    }
    every (a, attaches)
        if (a->container == c)
            attach_write(a, which, line + s->used, (size_t)n);
    int64_t at = clock_now(CLOCK_REALTIME);
    char *p = line, *end = line + s->used + n, *newline;
    while ((newline = memchr(p, '\n', (size_t)(end - p)))) {
        log_line(c, which, p, (size_t)(newline - p), true, at);
        s->continued = false;
        p = newline + 1;
    }
    s->used = (uint32_t)(end - p);
    if (s->used == LINE) {
        log_line(c, which, p, LINE, false, at);
        s->continued = true;
        s->used = 0;
    } else {
        memmove(line, p, s->used);
    }
    log_flush(c);
    return (size_t)n;
}

/* What is there, which is no more than a pipe holds: somebody else may have it, who goes on writing. */
static void streams_drain(struct kept_container *c)
{
    for (int which = 0; which < STREAMS; which++)
        for (size_t n = 1, all = 0; n && all <= PIPE_MOST && c->streams[which].fd >= 0 && !container_is_stalled(c);
             all += n)
            n = stream_read(c, which);
}

/* ---- starting programs through crun ---- */

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

/* ---- who could trace crun does not run while crun does ----
 *
 * crun's process in a container's pid namespace has the host's root, descriptors and all capabilities until it has
 * become the program. A container that has SYS_PTRACE and sees it would be root on the host. So such containers are
 * frozen from before crun starts until the program's first instruction: that moment is told by ptrace, which follows
 * crun and what it forks. A command that is run in such a container cannot begin in its frozen group: it is put there
 * at that moment. */

#define HELD_MAX  (30 * 1000000000LL) /* then what is being started is killed */
#define LAUNCHES  16
#define TRACED    256
#define FREEZE_MS 2000

static struct launch {
    struct kept_container *container; /* NULL: the place is free */
    bool joins;                       /* the program is put into the container's group */
    int64_t since;
} launches[LAUNCHES];
static struct traced {
    pid_t pid;             /* 0: the place is free */
    pid_t parent;          /* that forked it; 0: not told yet */
    struct launch *launch; /* NULL: over, or not known yet */
    bool known;
    bool at_exec, gone; /* has become the program, or ended, before it was known */
} traced[TRACED];

static bool container_freeze(const struct kept_container *c, bool frozen)
{
    const char *slash = strrchr(c->guard, '/');
    bool v1 = slash && strcmp(slash, "/freezer.state") == 0;
    const char *word = v1 ? (frozen ? "FROZEN" : "THAWED") : frozen ? "1" : "0";
    if (!write_file(AT_FDCWD, c->guard, 0, word, strlen(word)))
        return false;
    char path[SHIM_PATH * 2 + 16], now_is[256];
    struct shim_text t = TEXT(path);
    text_add(&t, c->guard);
    if (!v1)
        memcpy(path + (slash - c->guard), "/cgroup.events", sizeof "/cgroup.events");
    for (int ms = 0; frozen; ms++) {
        if (read_file(AT_FDCWD, path, now_is, sizeof now_is) > 0 && strstr(now_is, v1 ? "FROZEN" : "frozen 1"))
            return true;
        if (ms == FREEZE_MS)
            return errno = EBUSY, false;
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    return true;
}

/* Its program runs, or may. */
static bool is_guard(const struct kept_container *c)
{
    return c->guard[0] && c->began && (c->state == SHIM_STARTING || c->state == SHIM_RUNNING);
}

static bool any_launch(void)
{
    every (l, launches)
        if (l->container)
            return true;
    return false;
}

static void launch_over(struct launch *l)
{
    l->container = NULL;
    every (t, traced)
        if (t->launch == l)
            t->launch = NULL;
    if (any_launch())
        return;
    every (t, traced)
        if (t->gone) /* nobody will tell any more whose it was */
            t->pid = 0;
    every (c, containers)
        if (is_guard(c))
            (void)container_freeze(c, false); /* its group is gone: so is whoever was in it */
}

/* Freezes who must not see it. *out stays NULL where there never can be anybody. */
static bool launch_begin(struct kept_container *c, bool joins, struct launch **out)
{
    bool any = pod.flags & SHIM_NEW_PID; /* one that can trace may come while this one is not over */
    every (g, containers)
        any |= g->state && g->guard[0];
    if (!any)
        return true;
    struct launch *l = NULL;
    every (place, launches)
        if (!place->container && !l)
            l = place;
    if (!l)
        return errno = EBUSY, false;
    *l = (struct launch){c, joins, clock_now(CLOCK_MONOTONIC)};
    every (g, containers)
        if (is_guard(g) && !container_freeze(g, true)) {
            int keep = errno;
            launch_over(l);
            errno = keep;
            return false;
        }
    *out = l;
    return true;
}

static struct traced *traced_by(pid_t pid)
{
    struct traced *place = NULL;
    every (t, traced) {
        if (t->pid == pid)
            return t;
        if (!t->pid && !place)
            place = t;
    }
    if (place)
        *place = (struct traced){.pid = pid};
    return place;
}

static bool crun_trace(struct launch *l, pid_t crun)
{
    long options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC |
                   PTRACE_O_EXITKILL;
    struct traced *t = traced_by(crun);
    if (!t)
        return false;
    if (ptrace(PTRACE_SEIZE, crun, NULL, options) < 0) {
        t->pid = 0; /* or the others would wait for it to become known */
        return false;
    }
    t->launch = l;
    t->known = true;
    return true;
}

static bool join_as(const struct kept_container *c, pid_t pid);

/* It has become the program and has not done anything yet. */
static void program_began(struct traced *t)
{
    struct launch *l = t->launch;
    pid_t pid = t->pid;
    t->pid = 0;
    if (l) {
        struct kept_container *c = l->container;
        bool ok = !l->joins || join_as(c, pid);
        c->began = true;
        launch_over(l);
        if (c->guard[0] && any_launch()) /* it is stopped by us yet, and freezes when it goes on */
            ok = ok && (container_freeze(c, true) || errno == EBUSY);
        if (!ok)
            kill(pid, SIGKILL);
    }
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
}

/* One whose processes are gone without one of them becoming the program is over. */
static void launch_look(struct launch *l)
{
    if (!l || !l->container)
        return;
    every (t, traced)
        if (t->pid && (t->launch == l || !t->known))
            return;
    launch_over(l);
}

/* What they tell comes in any order: a child's news before its parent's that there is a child. So a process is one of
 * a launch as soon as its parent is, and those that it has forked with it. */
static void traced_know(struct traced *t, struct launch *l)
{
    pid_t pid = t->pid;
    t->launch = l;
    t->known = true;
    if (t->gone)
        t->pid = 0;
    else if (t->at_exec)
        program_began(t);
    every (child, traced)
        if (child->pid && !child->known && child->parent == pid)
            traced_know(child, l && l->container ? l : NULL);
    launch_look(l);
}

static bool is_crun(pid_t pid);

static void trace_stopped(pid_t pid, int status)
{
    struct traced *t = traced_by(pid);
    int event = status >> 16, sig = WSTOPSIG(status);
    unsigned long born = 0;
    if (!t) {
        kill(pid, SIGKILL);
        return;
    }
    switch (event) {
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK:
    case PTRACE_EVENT_CLONE:
        if (ptrace(PTRACE_GETEVENTMSG, pid, NULL, &born) == 0) {
            struct traced *child = traced_by((pid_t)born);
            if (child)
                child->parent = pid;
            if (child && t->known)
                traced_know(child, t->launch);
        }
        sig = 0;
        break;
    case PTRACE_EVENT_EXEC: /* crun executes itself once more, from memory; what it forks executes the program */
        sig = 0;
        if (is_crun(pid))
            break;
        t->at_exec = true;
        if (t->known)
            program_began(t);
        return;
    case PTRACE_EVENT_STOP: sig = 0; break;
    default: break; /* a signal of its own */
    }
    ptrace(PTRACE_CONT, pid, NULL, (long)sig);
}

static void trace_ended(pid_t pid)
{
    struct launch *l = NULL;
    every (t, traced) {
        if (t->pid != pid)
            continue;
        t->gone = true;
        l = t->launch;
        if (t->known)
            t->pid = 0;
    }
    launch_look(l);
}

static void launches_check(void)
{
    int64_t t = clock_now(CLOCK_MONOTONIC);
    bool held = false, any;
    every (c, containers)
        held |= is_guard(c);
    every (l, launches) {
        if (!held || !l->container || t - l->since < HELD_MAX)
            continue;
        any = false;
        every (x, traced)
            if (x->pid && !x->gone && x->launch == l)
                any |= kill(x->pid, SIGKILL) == 0; /* traced, so it is not reaped by anybody else */
        if (!any)
            launch_over(l);
        l->since = t;
    }
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
static bool join_as(const struct kept_container *c, pid_t pid)
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

static void crun_become(const struct kept_container *c, bool join, const char *log, const char *const *args, int in,
                        int out, int err);

/* crun in a child that has joined the container's cgroup by itself (which is quick, and needs no cgroup manager).
 * log: where crun writes what went wrong, ID/log. -1 with errno. */
static pid_t crun_start(struct kept_container *c, bool exec, const char *log, const char *const *args, int in,
                        int out, int err)
{
    struct launch *l = NULL;
    int go[2] = {-1, -1};
    if (!launch_begin(c, exec && c->guard[0], &l))
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

static void crun_become(const struct kept_container *c, bool join, const char *log, const char *const *args, int in,
                        int out, int err)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    static const unsigned long dfl[4]; /* the kernel's sigaction; the library's call leaves its own two signals out */
    for (int sig = 1; sig < NSIG; sig++)
        syscall(SYS_rt_sigaction, sig, dfl, NULL, (size_t)8);
    char log_option[64 + SHIM_PATH + 2 * SHIM_ID];
    struct shim_text t = TEXT(log_option);
    text_add(&t, "--log=");
    text_add(&t, pod.state);
    text_add(&t, "/");
    text_add(&t, c->id);
    text_add(&t, "/");
    text_add(&t, log);
    const char *argv[24] = {"crun", "--root", pod.crun_root, "--cgroup-manager=disabled", log_option};
    for (size_t i = 5; i < sizeof argv / sizeof argv[0] - 1 && *args;)
        argv[i++] = *args++;
    if (c->state == SHIM_RUNNING)
        score_as(c->pid);
    if (join && !write_lines(c->join)) {
        error_save(c->id, log, "joining the container's cgroup");
        _exit(NODE_FAILED);
    }
    /* sources may be 0..2 themselves when nothing was passed: lift them out of the way first */
    int from[3] = {in, out, err};
    for (int i = 0; i < 3; i++)
        from[i] = from[i] < 0 ? open("/dev/null", O_RDWR) : fcntl(from[i], F_DUPFD, 10);
    for (int i = 0; i < 3; i++)
        dup2(from[i], i);
    close_range(3, ~0U, 0);
    static const char *const env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    execve(pod.crun, (char **)argv, (char **)env);
    error_save(c->id, log, pod.crun);
    _exit(NODE_FAILED);
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
    char *after = strstr(from, "Z: ");
    if (from[0] == '2' && after && after - from < 40)
        from = after + 3;
    text_add(&t, from);
}

/* A socket on which crun hands over the master of a terminal; `name` is in the state folder. crun gets a short way to
 * it, as the names of sockets are limited to 107 bytes. */
static int console_listen(const char *name, char *path, size_t size)
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

static size_t take_fds(struct msghdr *h, int *fds, size_t room)
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

static int console_take(int *console) /* the master, or -1: not there yet */
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

static void path_numbered(char *to, size_t size, const char *prefix, ptrdiff_t number)
{
    struct shim_text t = {to, to + size - 1};
    text_add(&t, prefix);
    add_number(&t, number);
}

static void set_size(int fd, uint16_t rows, uint16_t columns)
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

static bool container_start(struct kept_container *c, const char **why)
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

static void container_console(struct kept_container *c)
{
    int master = console_take(&c->console);
    if (master < 0)
        return;
    fcntl(master, F_SETFL, O_NONBLOCK);
    c->streams[OUT].fd = master;
}

static void quit_when_empty(void)
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
static bool pid_save(void)
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

static bool is_crun(pid_t pid)
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

static void containers_remove(void);

static void children_reap(void)
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

/* ---- requests ---- */

/* ---- PID 1 of a pod's own pid namespace ----
 *
 * It reaps, and takes everything with it when it or the shim goes. The pod's containers see it, and one with
 * SYS_PTRACE may make it do what it likes. So it owns nothing: its program is a copy in memory, its root is empty, it
 * is nobody without capabilities, has no descriptors, and may make no system call but those of waiting. */

#define INIT_USER 65534
enum { INIT_TELL, INIT_LIFE }; /* descriptors: says "ready"; ends with the shim */

/* A sealed copy: /proc/1/exe must not be the node's file. */
static int own_program(void)
{
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int to = memfd_create("wherry-init", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (to < 0 && errno == EINVAL) /* before 6.3 all of them may be executed */
        to = memfd_create("wherry-init", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ssize_t n = from < 0 || to < 0 ? -1 : 1;
    while (n > 0)
        n = sendfile(to, from, NULL, 1 << 20);
    if (n == 0 && fcntl(to, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        n = -1;
    if (n < 0)
        fd_drop(&to);
    fd_drop(&from);
    return to;
}

static bool empty_root(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", pod.state, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=0") == 0 &&
           chdir(pod.state) == 0 && syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 &&
           chdir("/") == 0;
}

/* Not before it waits are there containers that might see it. */
static pid_t init_start(void)
{
    int tell[2] = {-1, -1}, life[2] = {-1, -1}, program = own_program();
    if (program < 0 || pipe2(tell, O_CLOEXEC) < 0 || pipe2(life, O_CLOEXEC) < 0)
        return -1;
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        static char name[] = "wherry-init", option[] = "--init";
        char *argv[] = {name, option, NULL}, *env[] = {NULL};
        if (empty_root() && dup2(tell[1], INIT_TELL) >= 0 && dup2(life[0], INIT_LIFE) >= 0)
            syscall(SYS_execveat, program, "", argv, env, AT_EMPTY_PATH);
        _exit(1);
    }
    fd_drop(&program);
    fd_drop(&tell[1]);
    fd_drop(&life[0]);
    /* life[1] stays open as long as the shim lives */
    char byte;
    if (pid > 0 && read(tell[0], &byte, 1) != 1) {
        kill(pid, SIGKILL);
        errno = EIO;
        pid = -1;
    }
    fd_drop(&tell[0]);
    return pid;
}

static bool only_waits(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_wait4, 6, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigtimedwait, 5, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_restart_syscall, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0), /* there will be nothing to write to */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SHIM_AUDIT_ARCH, 1, 0), /* other tables have other numbers */
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

static int init_main(void)
{
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    char byte;
    bool ok = close_range(INIT_LIFE + 1, ~0U, 0) == 0 && sigprocmask(SIG_BLOCK, &child, NULL) == 0 &&
              prctl(PR_SET_NAME, "wherry-init") == 0 && setgroups(0, NULL) == 0 &&
              setresgid(INIT_USER, INIT_USER, INIT_USER) == 0 && setresuid(INIT_USER, INIT_USER, INIT_USER) == 0 &&
              prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
              prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && fcntl(INIT_LIFE, F_SETFL, O_NONBLOCK) == 0 &&
              read(INIT_LIFE, &byte, 1) < 0 && errno == EAGAIN && /* else the shim had ended before we asked */
              close(INIT_LIFE) == 0 && only_waits() && write(INIT_TELL, "", 1) == 1 && close(INIT_TELL) == 0;
    while (ok) {
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
        sigwaitinfo(&child, NULL);
    }
    return 1;
}

static const char *sysctls_write(char *list)
{
    for (char *line = list; *line;) {
        char *end = line + strcspn(line, "\n"), *value = line + strcspn(line, "=\n"), path[320];
        bool more = *end == '\n';
        if (*value != '=' || value - line > 250)
            return "a sysctl is not key=value";
        *end = *value++ = 0;
        struct shim_text t = TEXT(path);
        text_add(&t, "/proc/sys/");
        char *key = t.p;
        text_add(&t, line);
        if (!strchr(key, '/'))
            for (char *k = key; *k; k++)
                if (*k == '.')
                    *k = '/';
        if (strstr(key, ".."))
            return "a sysctl's name has .. in it";
        if (!write_file(AT_FDCWD, path, 0, value, strlen(value))) {
            static char text[SHIM_TEXT];
            struct shim_text e = TEXT(text);
            text_add(&e, "sysctl ");
            text_add(&e, line);
            text_add(&e, "=");
            text_add(&e, value);
            return text;
        }
        line = end + more;
    }
    return NULL;
}

static const char *sandbox_set_up(void)
{
    int flags = CLONE_NEWNS;
    flags |= pod.flags & SHIM_NEW_NET ? CLONE_NEWNET : 0;
    flags |= pod.flags & SHIM_NEW_IPC ? CLONE_NEWIPC : 0;
    flags |= pod.flags & SHIM_NEW_UTS ? CLONE_NEWUTS : 0;
    if (unshare(flags) < 0)
        return "making the pod's namespaces";
    /* not before: it would see no mount that is made here */
    here = open(pod.state, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (here < 0 || fchdir(here) < 0)
        return pod.state;
    if (mount("", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return "making mounts private";
    if (pod.flags & SHIM_HIDE_UNIFIED && umount2("/sys/fs/cgroup/unified", MNT_DETACH) < 0)
        return "hiding /sys/fs/cgroup/unified from crun";
    if (pod.flags & SHIM_NEW_UTS && pod.hostname[0] && sethostname(pod.hostname, strlen(pod.hostname)) < 0)
        return "setting the host name";
    if (!pid_save())
        return "writing down who it is";
    const char *why = sysctls_write(pod.sysctls);
    if (why)
        return why;
    if (pod.shm_mib) {
        char options[64];
        struct shim_text t = TEXT(options);
        text_add(&t, "mode=1777,size=");
        add_number(&t, pod.shm_mib);
        text_add(&t, "m");
        if ((mkdirat(here, "shm", 0755) < 0 && errno != EEXIST) ||
            mount("shm", "shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0)
            return "mounting /dev/shm";
    }
    if (pod.flags & SHIM_NEW_PID && (pod_init = init_start()) < 0)
        return "making the pod's pid namespace";
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "sock"};
    unlinkat(here, "sock", 0);
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 8) < 0)
        return "listening on its socket";
    return NULL;
}

static int shim_fail(const char *what) /* fills the answer's text; the status is errno */
{
    int keep = errno ? errno : EINVAL;
    struct shim_text t = TEXT(out_msg.u.target.text);
    text_add(&t, what);
    text_add(&t, ": ");
    text_add(&t, strerror(keep));
    return keep;
}

static int do_sandbox(void)
{
    if (ready)
        return EALREADY;
    pod = in_msg.u.sandbox;
    errno = 0;
    const char *why = sandbox_set_up();
    if (why)
        return shim_fail(why);
    /* Whoever asked may have ended meanwhile, and a successor found nobody listening and taken the folder away: it
     * would look for nobody here. Whoever ends from now on leaves a successor that can connect. */
    struct pollfd asker = {clients[0].fd, POLLRDHUP, 0};
    if (poll(&asker, 1, 0) > 0 && asker.revents & (POLLRDHUP | POLLHUP | POLLERR))
        _exit(1);
    ready = true;
    return 0;
}

static int do_mount(void)
{
    struct shim_mount *m = &in_msg.u.mount;
    if (mount(m->source, m->target, m->type[0] ? m->type : NULL, m->flags, m->data[0] ? m->data : NULL) < 0)
        return errno;
    /* a read-only bind takes two steps */
    if (m->flags & MS_BIND && m->flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC) &&
        mount(NULL, m->target, NULL, m->flags | MS_REMOUNT, NULL) < 0)
        return errno;
    return 0;
}

static void container_free(struct kept_container *c)
{
    for (int i = 0; i < STREAMS; i++)
        fd_drop(&c->streams[i].fd);
    fd_drop(&c->in);
    fd_drop(&c->console);
    fd_drop(&c->log);
    fd_drop(&c->lock);
    every (a, attaches)
        if (a->container == c)
            attach_end(a);
    madvise(lines[c - containers], sizeof lines[0], MADV_DONTNEED);
    madvise(input[c - containers], sizeof input[0], MADV_DONTNEED);
    memset(c, 0, offsetof(struct kept_container, log_path));
}

/* crun mounts a tmpfs where a link called /dev leads within the root, and then makes devices where it leads on the
 * host. So in the container's own layer a folder takes the link's place. */
static bool own_dev(const char *root)
{
    char dev[SHIM_ID + 32];
    struct stat st;
    in_folder(dev, sizeof dev, root, "dev");
    if (fstatat(here, dev, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT;
    return !S_ISLNK(st.st_mode) || (unlinkat(here, dev, 0) == 0 && mkdirat(here, dev, 0755) == 0);
}

static int do_create(void)
{
    const struct shim_create *m = &in_msg.u.create;
    struct kept_container *c = NULL;
    if (container_by(m->id))
        return EEXIST;
    every (free_place, containers)
        if (!free_place->state && !c)
            c = free_place;
    if (!c) {
        errno = ENOSPC;
        return shim_fail("a pod has at most 40 containers at a time");
    }
    _Static_assert(SHIM_CONTAINERS == 40, "the sentence above");
    char root[SHIM_ID + 16];
    in_folder(root, sizeof root, m->id, "rootfs");
    int lock = m->lock[0] ? open(m->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (m->lock[0] && (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)) {
        int failed = errno;
        fd_drop(&lock);
        return failed;
    }
    if (m->overlay[0]) {
        char whole[SHIM_PATH + SHIM_ID + 16];
        struct shim_text t = TEXT(whole);
        text_add(&t, pod.state);
        text_add(&t, "/");
        text_add(&t, root);
        int failed = chdir(m->layers) < 0 || mount("overlay", whole, "overlay", 0, m->overlay) < 0 ? errno : 0;
        if (fchdir(here) < 0 || failed) {
            failed = failed ? failed : errno;
            fd_drop(&lock);
            return failed;
        }
        if (!own_dev(root)) {
            failed = shim_fail("the image's /dev is a link that cannot be replaced");
            (void)umount2(root, MNT_DETACH);
            fd_drop(&lock);
            return failed;
        }
    }
    memset(c, 0, offsetof(struct kept_container, log_path));
    memcpy(c->id, m->id, sizeof c->id);
    memcpy(c->log_path, m->log, strlen(m->log) + 1);
    memcpy(c->join, m->join, strlen(m->join) + 1);
    memcpy(c->after, m->after, strlen(m->after) + 1);
    memcpy(c->oom_file, m->oom, strlen(m->oom) + 1);
    c->guard[0] = 0;
    c->flags = m->flags;
    c->log_max = m->log_max;
    c->state = SHIM_CREATED;
    c->streams[OUT].fd = c->streams[ERR_].fd = c->in = c->console = c->log = -1;
    c->lock = lock;
    status_save(c);
    return 0;
}

static int do_start(struct kept_container *c, uint32_t client)
{
    const char *why = NULL;
    if (c->state != SHIM_CREATED)
        return EALREADY;
    c->start_client = client;
    c->start_seq = in_msg.head.seq;
    if (!container_start(c, &why))
        return shim_fail(why);
    return -1; /* answered when crun has ended */
}

static int do_kill(struct kept_container *c)
{
    int sig = in_msg.u.kill.signal;
    if (sig < 0 || sig >= NSIG)
        return EINVAL;
    if (c->state == SHIM_RUNNING)
        return kill(c->pid, sig) < 0 ? errno : 0;
    if (c->state == SHIM_STARTING && sig == SIGKILL)
        c->kill_early = true;
    return c->state == SHIM_STARTING ? 0 : ESRCH;
}

static int do_exec(struct kept_container *c, uint32_t client, const int fds[3])
{
    struct shim_exec *m = &in_msg.u.exec;
    struct kept_exec *x = NULL;
    if (c->state != SHIM_RUNNING)
        return ESRCH;
    every (free_place, execs)
        if (!free_place->id[0] && !x)
            x = free_place;
    if (!x) {
        errno = EBUSY;
        return shim_fail("a pod has at most 32 execs at a time");
    }
    _Static_assert(SHIM_EXECS == 32, "the sentence above");
    char tty[32], tty_path[64], pid_name[32], log[32], pid_file[SHIM_PATH + SHIM_ID + 32];
    memset(x, 0, sizeof *x);
    x->console = x->master = -1;
    path_numbered(pid_name, sizeof pid_name, "exec.", x - execs);
    path_numbered(log, sizeof log, "exec-error.", x - execs);
    path_numbered(tty, sizeof tty, "exec-tty.", x - execs);
    struct shim_text p = TEXT(pid_file);
    text_add(&p, pod.state);
    text_add(&p, "/");
    text_add(&p, c->id);
    text_add(&p, "/");
    text_add(&p, pid_name);
    const char *args[12] = {"exec", "--detach", "--process", m->process, "--pid-file", pid_file};
    size_t n = 6;
    if (m->flags & SHIM_TTY) {
        x->console = console_listen(tty, tty_path, sizeof tty_path);
        if (x->console < 0)
            return shim_fail("no socket for the terminal");
        args[n++] = "--console-socket";
        args[n++] = tty_path;
    }
    args[n] = c->id;
    x->crun = crun_start(c, true, log, args, fds[0], fds[1], fds[2]);
    if (x->crun < 0) {
        fd_drop(&x->console);
        return shim_fail("starting crun");
    }
    memcpy(x->id, m->id, sizeof x->id);
    x->container = c;
    x->client = client;
    x->seq = in_msg.head.seq;
    x->rows = m->rows;
    x->columns = m->columns;
    return -1;
}

static int do_exec_kill(void)
{
    every (x, execs)
        if (x->id[0] && strcmp(x->id, in_msg.u.kill.id) == 0) {
            /* with what it has started, as when a terminal is closed: the session of an exec is its own */
            pid_t group = x->pid ? getpgid(x->pid) : -1;
            bool own = group > 1 && group != getpgrp() && getsid(x->pid) != getsid(0);
            return kill(own ? -group : x->pid ? x->pid : x->crun, in_msg.u.kill.signal) < 0 ? errno : 0;
        }
    return ESRCH;
}

/* Who is the first to attach to a container with stdin sees what it wrote before, as long as that is little:
 * something short is over in the moment between its start and the attach (kubectl run -i). */
static void attach_catch_up(struct kept_attach *a)
{
    struct kept_container *c = a->container;
    enum { STREAM = 31, TAG = STREAM + 7, TEXT_AT = TAG + 2 }; /* as log_line writes them */
    bool wanted = !c->attached && (c->flags & SHIM_STDIN || clock_now(CLOCK_REALTIME) - c->started < JUST_NOW);
    c->attached = true;
    if (!wanted || !c->log_path[0] || c->log_size > sizeof log_out || log_used)
        return;
    struct stat st;
    int fd = open_log(c->log_path, O_RDONLY);
    ssize_t n = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read(fd, log_out, sizeof log_out) : 0;
    fd_drop(&fd);
    char *p = log_out, *end = log_out + (n > 0 ? n : 0), *newline;
    while (a->container && a->stalled < 0 && (newline = memchr(p, '\n', (size_t)(end - p)))) {
        if (newline - p >= TEXT_AT)
            attach_write(a, p[STREAM + 3] == 'e' ? ERR_ : OUT, p + TEXT_AT,
                         (size_t)(newline - p) - TEXT_AT + (p[TAG] == 'F'));
        p = newline + 1;
    }
    for (int i = 0; i < STREAMS && a->container && a->stalled < 0; i++)
        attach_write(a, i, lines[c - containers][i], c->streams[i].used);
}

/* Who attaches without stdin gives /dev/null: there is nothing to read, and no end of it. */
static bool is_null(int fd)
{
    struct stat st;
    return fd < 0 || (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

static int do_attach(struct kept_container *c, uint32_t client, int fds[3])
{
    if (c->state != SHIM_RUNNING && c->state != SHIM_STARTING)
        return ESRCH;
    every (a, attaches) {
        if (a->container)
            continue;
        *a = (struct kept_attach){.container = c,
                                  .in = c->flags & (SHIM_STDIN | SHIM_TTY) && !is_null(fds[0]) ? fds[0] : -1,
                                  .out = fds[1],
                                  .err = fds[2],
                                  .stalled = -1,
                                  .client = client,
                                  .seq = in_msg.head.seq};
        for (int i = a->in < 0; i < 3; i++) {
            if (fds[i] >= 0)
                fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
            fds[i] = -1; /* the attachment's now */
        }
        attach_catch_up(a);
        return 0;
    }
    return EBUSY;
}

/* Gone at once, or when what is under way in it has ended. */
static bool remove_now(struct kept_container *c)
{
    if (c->state != SHIM_EXITED && c->state != SHIM_CREATED)
        return false;
    every (x, execs)
        if (x->id[0] && x->container == c)
            return false;
    streams_drain(c);
    char root[SHIM_ID + 16];
    (void)umount2(in_folder(root, sizeof root, c->id, "rootfs"), MNT_DETACH);
    container_free(c);
    return true;
}

static int do_remove(struct kept_container *c, uint32_t client)
{
    if (c->state == SHIM_RUNNING || c->removing)
        return EBUSY;
    if (remove_now(c))
        return 0;
    c->removing = c->kill_early = true;
    c->remove_client = client;
    c->remove_seq = in_msg.head.seq;
    every (x, execs)
        if (x->id[0] && x->container == c && x->pid)
            kill(x->pid, SIGKILL);
    return -1;
}

static void containers_remove(void)
{
    every (c, containers) {
        if (!c->state || !c->removing)
            continue;
        uint32_t client = c->remove_client, seq = c->remove_seq;
        char id[SHIM_ID];
        memcpy(id, c->id, sizeof id);
        if (remove_now(c))
            answer_text(client, SHIM_REMOVE, seq, id, 0, "");
    }
}

static void do_list(struct kept_client *k)
{
    every (c, containers)
        if (c->state) {
            fill_status(c);
            send_to(k, SHIM_LIST, in_msg.head.seq, 0, -1);
        }
    memset(&out_msg.u.status, 0, sizeof out_msg.u.status);
    send_to(k, SHIM_LIST, in_msg.head.seq, ENOENT, -1);
}

static void do_quit(struct kept_client *k)
{
    quitting = true;
    every (l, launches)
        if (l->container)
            launch_over(l); /* what is frozen does not end */
    quit_client = k->serial;
    quit_seq = in_msg.head.seq;
    every (c, containers) {
        c->kill_early = true;
        if (c->state == SHIM_RUNNING)
            kill(c->pid, SIGKILL);
    }
    if (pod_init > 0)
        kill(pod_init, SIGKILL);
    quit_when_empty();
}

/* ---- the operations, a row each ---- */

struct shim_turn {
    struct kept_client *client;
    struct kept_container *container; /* as its row says */
    int *fds;                         /* what came with it; what is left here is closed afterwards */
};

static int op_hello(struct shim_turn *t)
{
    (void)t;
    out_msg.u.hello = (struct shim_hello){(uint32_t)getpid(), (uint32_t)pod_init, ready, {0}};
    memcpy(out_msg.u.hello.name, pod.name, sizeof pod.name);
    return 0;
}

static int op_sandbox(struct shim_turn *t)
{
    (void)t;
    return do_sandbox();
}

static int op_mount(struct shim_turn *t)
{
    (void)t;
    return do_mount();
}

static int op_create(struct shim_turn *t)
{
    (void)t;
    return do_create();
}

static int op_start(struct shim_turn *t)
{
    return do_start(t->container, t->client->serial);
}

static int op_kill(struct shim_turn *t)
{
    return do_kill(t->container);
}

static int op_status(struct shim_turn *t)
{
    fill_status(t->container);
    return 0;
}

static int op_list(struct shim_turn *t)
{
    do_list(t->client);
    return -1;
}

static int op_exec(struct shim_turn *t)
{
    return do_exec(t->container, t->client->serial, t->fds);
}

static int op_exec_kill(struct shim_turn *t)
{
    (void)t;
    return do_exec_kill();
}

static int op_attach(struct shim_turn *t)
{
    return do_attach(t->container, t->client->serial, t->fds);
}

static int op_resize(struct shim_turn *t)
{
    if (t->container->flags & SHIM_TTY)
        set_size(t->container->streams[OUT].fd, in_msg.u.resize.rows, in_msg.u.resize.columns);
    return 0;
}

static int op_reopen(struct shim_turn *t)
{
    log_open(t->container);
    return t->container->log_path[0] && t->container->log < 0 ? errno : 0;
}

static int op_remove(struct shim_turn *t)
{
    return do_remove(t->container, t->client->serial);
}

static int op_guard(struct shim_turn *t)
{
    memcpy(t->container->guard, in_msg.u.guard.file, sizeof t->container->guard);
    return 0;
}

static int op_watch(struct shim_turn *t)
{
    t->client->watching = true;
    return 0;
}

static int op_quit(struct shim_turn *t)
{
    do_quit(t->client);
    return -1;
}

enum { BEFORE_READY = 1, ON_CONTAINER = 2, ON_EXECS_CONTAINER = 4 };
static const struct {
    int flags;
    int (*run)(struct shim_turn *t); /* 0 or an errno to answer with; -1: is answered elsewhere */
} operations[] = {
    [SHIM_HELLO] = {BEFORE_READY, op_hello},
    [SHIM_SANDBOX] = {BEFORE_READY, op_sandbox},
    [SHIM_MOUNT] = {0, op_mount},
    [SHIM_CREATE] = {0, op_create},
    [SHIM_START] = {ON_CONTAINER, op_start},
    [SHIM_KILL] = {ON_CONTAINER, op_kill},
    [SHIM_STATUS] = {ON_CONTAINER, op_status},
    [SHIM_LIST] = {0, op_list},
    [SHIM_EXEC] = {ON_EXECS_CONTAINER, op_exec},
    [SHIM_EXEC_KILL] = {0, op_exec_kill},
    [SHIM_ATTACH] = {ON_CONTAINER, op_attach},
    [SHIM_RESIZE] = {ON_CONTAINER, op_resize},
    [SHIM_REOPEN] = {ON_CONTAINER, op_reopen},
    [SHIM_REMOVE] = {ON_CONTAINER, op_remove},
    [SHIM_WATCH] = {BEFORE_READY, op_watch},
    [SHIM_QUIT] = {BEFORE_READY, op_quit},
    [SHIM_GUARD] = {ON_CONTAINER, op_guard},
};

static int turn_perform(struct shim_turn *t)
{
    int flags = operations[in_msg.head.op].flags;
    if (!(flags & BEFORE_READY) && !ready)
        return ENOTCONN;
    if (flags & (ON_CONTAINER | ON_EXECS_CONTAINER)) {
        t->container = container_by(flags & ON_CONTAINER ? in_msg.u.target.id : in_msg.u.exec.container);
        if (!t->container)
            return ENOENT;
    }
    return operations[in_msg.head.op].run(t);
}

static void client_request(struct kept_client *k, size_t size, int fds[3])
{
    struct shim_turn t = {.client = k, .fds = fds};
    const char *wrong = shim_check(&in_msg, size);
    memset(&out_msg.u.target, 0, sizeof out_msg.u.target);
    if (wrong) { /* perhaps of another protocol: nothing of it is used but the number to answer to */
        struct shim_text w = TEXT(out_msg.u.target.text);
        text_add(&w, wrong);
        send_to(k, SHIM_WATCH, size >= sizeof in_msg.head ? in_msg.head.seq : 0, EPROTO, -1);
        return;
    }
    uint16_t op = in_msg.head.op;
    int status = turn_perform(&t);
    if (status >= 0)
        send_to(k, op, in_msg.head.seq, status, -1);
    if (op == SHIM_SANDBOX && status != 0 && !ready)
        _exit(1); /* nothing worth keeping: the asker has read why */
}

static void client_read(struct kept_client *k)
{
    char room[CMSG_SPACE(8 * sizeof(int))];
    struct iovec io = {&in_msg, sizeof in_msg};
    struct msghdr h = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    ssize_t n = recvmsg(k->fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    int fds[3] = {-1, -1, -1};
    if (n > 0)
        take_fds(&h, fds, 3);
    if (n <= 0) {
        fd_drop(&k->fd);
        k->watching = false;
        return;
    }
    client_request(k, (size_t)n, fds);
    every (fd, fds)
        fd_drop(fd);
}

static void client_add(int fd)
{
    struct ucred who;
    socklen_t n = sizeof who;
    bool mine = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 && who.uid == geteuid();
    every (k, clients)
        if (mine && fd >= 0 && k->fd < 0) {
            *k = (struct kept_client){fd, ++serials, false};
            return;
        }
    close(fd);
}

/* ---- the loop ---- */

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
        static const char text[] = "wherry-shim protocol 2\n";
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
