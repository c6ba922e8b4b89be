/* shim_stream.c - what containers write and read: their logs, and the clients that are attached to them. */
#include "oci/shim_int.h"
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define JUST_NOW  (10 * 1000000000ll)
#define LINE      16384     /* a longer line is written in pieces, tagged P (CRI log format) */
#define HEAD      48        /* time, stream and tag before a line */
#define PIPE_MOST (1 << 20) /* what a pipe holds whose owner may not raise /proc/sys/fs/pipe-max-size */

static _Alignas(4096) char lines[SHIM_CONTAINERS][STREAMS][LINE];
static _Alignas(4096) char spill[SHIM_ATTACHES][LINE];
static _Alignas(4096) char input[SHIM_CONTAINERS][4096];
static _Alignas(4096) char log_out[2 * LINE + HEAD];
static size_t log_used;

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

void log_open(struct kept_container *c)
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

void attach_end(struct kept_attach *a)
{
    memset(&out_msg.u.target, 0, sizeof out_msg.u.target);
    memcpy(out_msg.u.target.id, a->container->id, sizeof a->container->id);
    send_to(client_by(a->client), SHIM_EVENT_ATTACH_END, a->seq, 0, -1);
    fd_drop(&a->in);
    fd_drop(&a->out);
    fd_drop(&a->err);
    a->container = NULL;
}

bool container_is_stalled(const struct kept_container *c)
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

void attach_unstall(struct kept_attach *a)
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

void input_flush(struct kept_container *c)
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

void attach_input(struct kept_attach *a)
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

size_t stream_read(struct kept_container *c, int which)
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
void streams_drain(struct kept_container *c)
{
    for (int which = 0; which < STREAMS; which++)
        for (size_t n = 1, all = 0; n && all <= PIPE_MOST && c->streams[which].fd >= 0 && !container_is_stalled(c);
             all += n)
            n = stream_read(c, which);
}

/* Who is the first to attach to a container with stdin sees what it wrote before, as long as that is little:
 * something short is over in the moment between its start and the attach (kubectl run -i). */
void attach_catch_up(struct kept_attach *a)
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

void streams_forget(struct kept_container *c)
{
    madvise(lines[c - containers], sizeof lines[0], MADV_DONTNEED);
    madvise(input[c - containers], sizeof input[0], MADV_DONTNEED);
}
