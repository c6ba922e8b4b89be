/* shim_state.c - what all parts of the shim look at: what it keeps, answers and events, the file of a status. */
#include "oci/shim_int.h"
#include <fcntl.h>
#include <stdio.h> /* rename */
#include <unistd.h>

struct kept_container containers[SHIM_CONTAINERS];
struct kept_exec execs[SHIM_EXECS];
struct kept_attach attaches[SHIM_ATTACHES];
struct kept_client clients[SHIM_CLIENTS];
struct shim_msg in_msg;
struct shim_answer out_msg;
struct shim_sandbox pod;
uint32_t pod_first_id, pod_ids;
bool ready, quitting;
uint32_t quit_client, quit_seq;
pid_t pod_init;
int listener = -1, signals = -1, here = -1;

void text_add(struct shim_text *t, const char *s)
{
    while (*s && t->p < t->end)
        *t->p++ = *s++;
    *t->p = 0;
}

void add_number(struct shim_text *t, int64_t v)
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

int64_t clock_now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

void fd_drop(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

ssize_t read_file(int dir, const char *path, char *to, size_t size)
{
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, to, size - 1);
    close(fd);
    to[n > 0 ? n : 0] = 0;
    return n;
}

bool write_file(int dir, const char *path, int flags, const char *p, size_t n)
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

char *in_folder(char *to, size_t size, const char *id, const char *name) /* ID/name, relative to `here` */
{
    struct shim_text t = {to, to + size - 1};
    text_add(&t, id);
    text_add(&t, "/");
    text_add(&t, name);
    return to;
}

struct kept_container *container_by(const char *id)
{
    every (c, containers)
        if (c->state && strcmp(c->id, id) == 0)
            return c;
    return NULL;
}

/* ---- answers and events ---- */

struct kept_client *client_by(uint32_t serial)
{
    every (c, clients)
        if (c->fd >= 0 && c->serial == serial)
            return c;
    return NULL;
}

void send_to(struct kept_client *to, uint16_t op, uint32_t seq, int status, int fd)
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

void answer_text(uint32_t client, uint16_t op, uint32_t seq, const char *id, int status, const char *text)
{
    memset(&out_msg.u.target, 0, sizeof out_msg.u.target);
    struct shim_text i = TEXT(out_msg.u.target.id), t = TEXT(out_msg.u.target.text);
    text_add(&i, id);
    text_add(&t, text);
    send_to(client_by(client), op, seq, status, -1);
}

void fill_status(const struct kept_container *c)
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

void tell_watchers(uint16_t op)
{
    every (k, clients)
        if (k->fd >= 0 && k->watching)
            send_to(k, op, 0, 0, -1);
}

/* What a successor of a dead shim can know: ID/status, whole or not there. */
void status_save(const struct kept_container *c)
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
