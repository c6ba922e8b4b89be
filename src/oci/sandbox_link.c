/* sandbox_link.c - the messages to a pod's shim.
 *
 * One packet a message, numbered; an answer has the number of its request. Requests are kept until they are
 * answered or the connection ends: then each is told so, once (sandbox_link_down), after the owner has heard that the
 * sandbox is lost. What the socket has no room for waits in `unsent`. A shim that is silent for SILENT_MOST with a
 * request before it is looked at: one that a signal has stopped is killed, as it would hold its pod for ever; another
 * is only complained of.
 */
#include "base/fault.h"
#include "base/log.h"
#include "oci/runtime_int.h"
#include "sys/child.h"
#include "sys/file.h"
#include <errno.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>

#define SILENT_MOST (20 * NS_PER_S)

void sandbox_silent(struct timer *t)
{
    struct sandbox *s = container_of(t, struct sandbox, silent);
    const struct shim_request *q = list_empty(&s->requests) ? NULL
                                                            : list_first(&s->requests, struct shim_request, node);
    if (s->fd < 0 || !q)
        return;
    struct ucred peer = {0}; /* who listens there: one that has not said hello yet is not known otherwise */
    socklen_t n = sizeof peer;
    if (!s->pid && getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
        return;
    pid_t pid = s->pid ? s->pid : peer.pid;
    AUTO(fd_close) int pidfd = pidfd_open(pid, 0);
    struct process_stat st;
    /* Stopped by a signal it answers nobody, and neither ends nor lets its pod end. Others that are silent may have
     * much to do: what they work at has its own bounds. */
    bool stopped = pidfd >= 0 && process_stat(pid, &st) && st.state == 'T' && strcmp(st.name, "wherry-shim") == 0;
    if (stopped && pidfd_send_signal(pidfd, SIGKILL, NULL, 0) == 0) {
        log_error("shim.hangs", "pod=%s pid=%d it is stopped by a signal, and ended: operation=%d", s->name, (int)pid,
                  q->op);
        return;
    }
    log_warn("shim.silent", "pod=%s pid=%d operation=%d", s->name, (int)pid, q->op);
    timer_set(&s->silent, SILENT_MOST);
}

void request_fail(void *arg)
{
    struct shim_request *q = arg;
    q->fn(q, NULL, -1);
}

/* A message that its socket had no room for yet. */
struct unsent {
    struct list node;
    size_t size;
    int fds[3]; /* own; -1: none come with it */
    struct shim_msg m;
};

static void unsent_free(struct unsent *u)
{
    list_del(&u->node);
    for (size_t i = 0; i < countof(u->fds); i++)
        fd_close(u->fds[i]);
    mem_free(u);
}

static bool message_send(int fd, const struct shim_msg *m, size_t size, const int fds[3])
{
    struct iovec io = {(void *)(uintptr_t)m, size};
    char room[CMSG_SPACE(3 * sizeof(int))] = {0};
    struct msghdr h = {.msg_iov = &io, .msg_iovlen = 1};
    if (fds) {
        h.msg_control = room;
        h.msg_controllen = sizeof room;
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        *c = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(3 * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(c), fds, 3 * sizeof(int));
    }
    if (fault("oci.send", EAGAIN))
        return false;
    return sendmsg(fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static bool is_full(int error)
{
    return error == EAGAIN || error == ENOBUFS || error == ENOMEM || error == EINTR;
}

/* All containers of a pod may be made at once, and that is more than a socket holds: the rest waits for room. */
static bool message_keep(struct sandbox *s, const struct shim_msg *m, size_t size, const int fds[3])
{
    struct unsent *u = NEW(struct unsent);
    list_add_tail(&s->unsent, &u->node);
    u->size = size;
    memcpy(&u->m, m, size);
    for (size_t i = 0; i < countof(u->fds); i++)
        u->fds[i] = fds ? fcntl(fds[i], F_DUPFD_CLOEXEC, 0) : -1;
    for (size_t i = 0; fds && i < countof(u->fds); i++)
        if (u->fds[i] < 0) {
            unsent_free(u);
            return false;
        }
    poll_want(&s->poll, POLL_READ | POLL_WRITE);
    return true;
}

static void unsent_flush(struct sandbox *s)
{
    while (!list_empty(&s->unsent)) {
        struct unsent *u = list_first(&s->unsent, struct unsent, node);
        if (!message_send(s->fd, &u->m, u->size, u->fds[0] >= 0 ? u->fds : NULL) && is_full(errno))
            return;
        unsent_free(u); /* sent, or there is nobody: what is read next says so */
    }
    poll_want(&s->poll, POLL_READ);
}

void sandbox_send(struct sandbox *s, uint16_t op, const void *payload, const int fds[3], struct shim_request *q)
{
    static struct shim_msg m; /* one thread, sent or copied before the next call */
    size_t size = (size_t)shim_request_size(op);
    m.head = (struct shim_head){SHIM_MAGIC, SHIM_VERSION, op, ++s->seq ? s->seq : ++s->seq, 0};
    if (payload)
        memcpy(&m.u, payload, size);
    else
        memset(&m.u, 0, size);
    size += sizeof m.head;
    q->seq = m.head.seq;
    q->op = op;
    bool sent = s->fd >= 0 && list_empty(&s->unsent) && message_send(s->fd, &m, size, fds);
    bool waits = s->fd >= 0 && !sent && (!list_empty(&s->unsent) || is_full(errno));
    if (!sent && !(waits && message_keep(s, &m, size, fds))) {
        list_init(&q->node);
        loop_post(s->rt->loop, request_fail, q); /* never from inside the call */
        return;
    }
    list_add_tail(&s->requests, &q->node);
    if (!timer_is_set(&s->silent))
        timer_set(&s->silent, SILENT_MOST);
}

/* Something was heard of it. */
static void not_silent(struct sandbox *s)
{
    if (list_empty(&s->requests))
        timer_stop(&s->silent);
    else
        timer_set(&s->silent, SILENT_MOST);
}

bool answer_ok(const struct shim_answer *a, const char *what, struct err *err)
{
    if (!a)
        return err_set(err, E_UNAVAILABLE, "%s: the pod's shim is gone", what);
    if (a->head.status == 0)
        return true;
    bool has_text = shim_answer_size(a->head.op) == sizeof(struct shim_target) && a->u.target.text[0];
    if (a->head.status == EPROTO && a->head.version < SHIM_VERSION)
        return err_set(
            err, E_NOT_IMPLEMENTED,
            "%s: this pod runs under an older wherry-shim (protocol %d, this is %d): delete the pod to get a "
            "new one",
            what, a->head.version, SHIM_VERSION);
    if (has_text)
        return err_set(err, E_IO, "%s: %s", what, a->u.target.text);
    errno = a->head.status;
    return err_errno(err, "%s", what);
}

void sandbox_link_down(struct sandbox *s)
{
    if (s->fd < 0)
        return;
    poll_stop(&s->poll);
    fd_close(s->fd);
    s->fd = -1;
    while (!list_empty(&s->unsent))
        unsent_free(list_first(&s->unsent, struct unsent, node));
    bool was_ready = s->ready && !s->stopping;
    struct list waiting;
    list_init(&waiting);
    while (!list_empty(&s->requests)) { /* an answer's callback may send again, or free */
        struct shim_request *q = list_first(&s->requests, struct shim_request, node);
        list_del(&q->node);
        list_add_tail(&waiting, &q->node);
    }
    if (was_ready) {
        s->lost = true;
        map_each (e, &s->containers)
            container_lost(e->value);
        execs_lost(s);
    }
    struct runtime *rt = s->rt;
    if (was_ready && rt->on.sandbox_lost)
        rt->on.sandbox_lost(rt->arg, s);
    while (!list_empty(&waiting)) {
        struct shim_request *q = list_first(&waiting, struct shim_request, node);
        list_del(&q->node);
        q->fn(q, NULL, -1);
    }
}

static void event_heard(struct sandbox *s, const struct shim_answer *a)
{
    struct container *c;
    struct runtime *rt = s->rt;
    switch (a->head.op) {
    case SHIM_EVENT_EXIT:
        c = map_get(&s->containers, str_of(a->u.status.id));
        if (!c || c->status.state == CONTAINER_EXITED)
            return;
        container_seen(c, &a->u.status);
        if (rt->adopting == 0 && rt->on.container_exited) /* until then the owner has not seen it run */
            rt->on.container_exited(rt->arg, c);
        return;
    case SHIM_EVENT_LOG_FULL:
        c = map_get(&s->containers, str_of(a->u.target.id));
        if (c && rt->on.container_log_full)
            rt->on.container_log_full(rt->arg, c);
        return;
    default: execs_event(s, a); return;
    }
}

static void request_answered(struct sandbox *s, const struct shim_answer *a, int fd)
{
    list_each (q, &s->requests, struct shim_request, node)
        if (q->seq == a->head.seq) {
            /* a list has many answers under one number */
            if (a->head.op != SHIM_LIST || a->head.status != 0)
                list_del(&q->node);
            q->fn(q, a, fd);
            return;
        }
    fd_close(fd);
}

static void sandbox_readable(struct poll *p, int ready)
{
    struct sandbox *s = container_of(p, struct sandbox, poll);
    bool reset = false;
    if (ready & POLL_WRITE)
        unsent_flush(s);
    for (int i = 0; i < 64; i++) { /* others have their turn too */
        struct shim_answer a;
        char room[CMSG_SPACE(sizeof(int))];
        struct iovec io = {&a, sizeof a};
        struct msghdr h = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
        ssize_t n = recvmsg(s->fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0 && errno == ECONNRESET &&
            !reset) { /* it ended with a request unread; what it said is still there */
            reset = true;
            continue;
        }
        int fd = -1;
        struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&h) : NULL;
        if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            memcpy(&fd, CMSG_DATA(c), sizeof fd);
        if (n <= 0 || !shim_answer_ok(&a, (size_t)n)) {
            fd_close(fd);
            sandbox_link_down(s);
            return;
        }
        struct runtime *rt = s->rt;
        char id[SHIM_ID];
        (void)snprintf(id, sizeof id, "%s", s->id);
        if (a.head.op >= SHIM_EVENT_EXIT)
            event_heard(s, &a);
        else
            request_answered(s, &a, fd);
        if (rt->dying || map_get(&rt->sandboxes, str_of(id)) != s || s->fd < 0) /* freed by its owner meanwhile */
            return;
        not_silent(s);
    }
}

void sandbox_connect(struct sandbox *s, int own_fd)
{
    s->fd = own_fd;
    if (own_fd < 0)
        return;
    poll_init(&s->poll, s->rt->loop, own_fd, sandbox_readable);
    poll_want(&s->poll, POLL_READ);
}

void sandbox_link_drop(struct sandbox *s)
{
    while (!list_empty(&s->unsent))
        unsent_free(list_first(&s->unsent, struct unsent, node));
    while (!list_empty(&s->requests)) {
        struct shim_request *q = list_first(&s->requests, struct shim_request, node);
        list_del(&q->node);
        mem_free(q);
    }
}
