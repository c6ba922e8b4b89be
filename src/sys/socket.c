#include "base/fault.h"
#include "base/log.h"
#include "sys/stream.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>

#define ACCEPT_MOST 64 /* in one turn, so that a rush does not starve the rest */

static bool parse_unix(struct str path, struct addr *out, struct err *err)
{
    if (path.n == 0 || path.n >= sizeof out->un.sun_path || str_find_char(path, 0) >= 0)
        return err_set(err, E_INVALID, "unix socket path must have 1 to %zu bytes: \"" STR_FMT "\"",
                       sizeof out->un.sun_path - 1, STR_ARG(path));
    *out = (struct addr){.un = {.sun_family = AF_UNIX}, .n = sizeof out->un};
    memcpy(out->un.sun_path, path.p, path.n);
    return true;
}

bool addr_parse(struct str text, struct addr *out, struct err *err)
{
    if (str_starts(text, S("unix:")))
        return parse_unix(str_sub(text, 5, text.n), out, err);
    ptrdiff_t colon = str_rfind_char(text, ':');
    struct str host = str_sub(text, 0, colon < 0 ? 0 : (size_t)colon);
    uint64_t port;
    if (colon < 0 || !str_to_u64(str_sub(text, (size_t)colon + 1, text.n), 65535, &port))
        return err_set(err, E_INVALID, "\"" STR_FMT "\" is not an address: want IP:PORT, [IPv6]:PORT or unix:PATH",
                       STR_ARG(text));
    char ip[INET6_ADDRSTRLEN + 1] = "";
    bool bracketed = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (bracketed)
        host = str_sub(host, 1, host.n - 1);
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    if (host.n < sizeof ip && host.n)
        memcpy(ip, host.p, host.n);
    *out = (struct addr){0};
    if (bracketed && inet_pton(AF_INET6, ip, &v6.sin6_addr) == 1) {
        memcpy(&out->storage, &v6, out->n = sizeof v6);
        return true;
    }
    if (!bracketed && inet_pton(AF_INET, ip, &v4.sin_addr) == 1) {
        memcpy(&out->storage, &v4, out->n = sizeof v4);
        return true;
    }
    return err_set(err, E_INVALID, "\"" STR_FMT "\" is not an address: \"" STR_FMT "\" is not an IP", STR_ARG(text),
                   STR_ARG(host));
}

void addr_text(const struct addr *a, struct strbuf *out)
{
    char ip[INET6_ADDRSTRLEN] = "";
    if (a->sa.sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)&a->storage;
        (void)inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof ip);
        strbuf_addf(out, "%s:%d", ip, ntohs(v4->sin_port));
    } else if (a->sa.sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)&a->storage;
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof ip);
        strbuf_addf(out, "[%s]:%d", ip, ntohs(v6->sin6_port));
    } else {
        strbuf_addz(out, "unix:");
        strbuf_add(out, (struct str){a->un.sun_path, strnlen(a->un.sun_path, sizeof a->un.sun_path)});
    }
}

int addr_port(const struct addr *a)
{
    if (a->sa.sa_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)&a->storage)->sin_port);
    if (a->sa.sa_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)&a->storage)->sin6_port);
    return 0;
}

static bool wrong_addr(struct err *err, const struct addr *a, const char *what)
{
    int keep = errno;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    addr_text(a, &text);
    errno = keep;
    return err_errno(err, "%s %s", what, text.p);
}

/* A socket file that a killed process left behind: nobody answers there. */
static void remove_stale(const struct addr *a)
{
    struct stat st;
    if (lstat(a->un.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return;
    AUTO(fd_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, &a->sa, a->n) < 0 && errno == ECONNREFUSED)
        (void)unlink(a->un.sun_path); /* bind tells */
}

int socket_listen(const struct addr *a, mode_t mode, struct err *err)
{
    if (fault("socket.listen", EADDRINUSE))
        return wrong_addr(err, a, "listen on"), -1;
    AUTO(fd_close) int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return wrong_addr(err, a, "make a socket for"), -1;
    int on = 1;
    bool is_unix = a->sa.sa_family == AF_UNIX;
    if (is_unix)
        remove_stale(a);
    else if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return wrong_addr(err, a, "set SO_REUSEADDR for"), -1;
    /* the mode before anybody can connect: bind makes the file, listen opens the door */
    if (bind(fd, &a->sa, a->n) < 0 || (is_unix && chmod(a->un.sun_path, mode) < 0) || listen(fd, 4096) < 0)
        return wrong_addr(err, a, "listen on"), -1;
    return TAKE_FD(fd);
}

bool socket_addr(int fd, struct addr *out, struct err *err)
{
    *out = (struct addr){.n = sizeof out->storage};
    if (getsockname(fd, &out->sa, &out->n) < 0)
        return err_errno(err, "getsockname");
    return true;
}

bool socket_peer_cred(int fd, struct peer_cred *out, struct err *err)
{
    struct ucred c;
    socklen_t n = sizeof c;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n) < 0)
        return err_errno(err, "SO_PEERCRED");
    *out = (struct peer_cred){c.pid, c.uid, c.gid};
    return true;
}

#define FDS_MOST 64

bool socket_send_fds(int fd, struct str bytes, const int *fds, size_t nfds, struct err *err)
{
    ASSERT(bytes.n > 0 && nfds <= FDS_MOST);
    char control[CMSG_SPACE(FDS_MOST * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec iov = {(void *)(uintptr_t)bytes.p, bytes.n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (nfds) {
        m.msg_control = control;
        m.msg_controllen = CMSG_SPACE(nfds * sizeof *fds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(nfds * sizeof *fds)};
        memcpy(CMSG_DATA(c), fds, nfds * sizeof *fds);
    }
    ssize_t n;
    do
        n = sendmsg(fd, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(err, "send descriptors");
    if ((size_t)n != bytes.n)
        return err_set(err, E_IO, "send descriptors: only %zd of %zu bytes went", n, bytes.n);
    return true;
}

ssize_t socket_recv_fds(int fd, void *p, size_t size, int *fds, size_t *nfds, struct err *err)
{
    char control[CMSG_SPACE(FDS_MOST * sizeof(int))] __attribute__((aligned(8)));
    struct iovec iov = {p, size};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    size_t room = *nfds;
    *nfds = 0;
    ssize_t n;
    do
        n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(err, "receive descriptors"), -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int one;
            memcpy(&one, CMSG_DATA(c) + i * sizeof one, sizeof one);
            if (*nfds < room)
                fds[(*nfds)++] = one;
            else
                fd_close(one); /* more than was asked for is not kept */
        }
    }
    return n;
}

static void listener_want(struct listener *l)
{
    poll_want(&l->poll, l->paused || timer_is_set(&l->again) ? 0 : POLL_READ);
}

static void listener_ready(struct poll *p, UNUSED int ready)
{
    struct listener *l = container_of(p, struct listener, poll);
    int fd = l->fd;
    for (int i = 0; i < ACCEPT_MOST && l->poll.want; i++) {
        struct addr peer = {.n = sizeof peer.storage};
        int got = accept4(fd, &peer.sa, &peer.n, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (got >= 0) {
            l->fn(l, got, &peer); /* may stop the listener: want is 0 then */
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_warn("accept.full", "error=%s", strerror(errno));
            timer_set(&l->again, 100 * NS_PER_MS);
            listener_want(l);
        }
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

static void listener_again(struct timer *t)
{
    listener_want(container_of(t, struct listener, again));
}

void listener_start(struct listener *l, struct loop *loop, int own_fd,
                    void (*fn)(struct listener *l, int own_fd, const struct addr *peer))
{
    *l = (struct listener){.loop = loop, .fd = own_fd, .fn = fn};
    (void)fcntl(own_fd, F_SETFL, fcntl(own_fd, F_GETFL) | O_NONBLOCK); /* a descriptor of ours: cannot fail */
    (void)fcntl(own_fd, F_SETFD, FD_CLOEXEC);
    timer_init(&l->again, loop, listener_again);
    poll_init(&l->poll, loop, own_fd, listener_ready);
    listener_want(l);
}

void listener_pause(struct listener *l, bool pause)
{
    l->paused = pause;
    listener_want(l);
}

void listener_stop(struct listener *l)
{
    if (!l->loop)
        return;
    poll_stop(&l->poll);
    timer_stop(&l->again);
    fd_close(l->fd);
    l->fd = -1;
    l->loop = NULL;
}
