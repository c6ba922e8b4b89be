/* haproxy_hand.c - listening sockets by HAProxy's own way of handing them over: whoever connects to an admin socket
 * with "expose-fd listeners" and says "_getsocks" gets their number (an int), then messages with descriptors, whose
 * bytes say of each its namespace, its interface and its options, and which the receiver acknowledges. The next
 * process asks so where -x points; here we ask, keep copies, and answer. */
#include "base/clock.h"
#include "edge/haproxy_int.h"
#include "sys/file.h"
#include <errno.h>
#include <sys/time.h>
#include <unistd.h>

#define WORDS_MOST (1 << 20)

void hand_fini(struct haproxy_hand *h)
{
    for (size_t i = 0; i < h->n; i++)
        fd_close(h->fds[i]);
    buf_unref(h->words);
    *h = (struct haproxy_hand){0};
}

static bool hand_message(int fd, struct haproxy_hand *h, struct strbuf *words, struct err *err)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * HAND_MOST)];
    } control;
    char bytes[16384];
    struct iovec io = {bytes, sizeof bytes};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    if (n < 0)
        return err_errno(err, "receive HAProxy's sockets");
    if (n == 0)
        return err_set(err, E_IO, "HAProxy ends while it hands over its sockets");
    strbuf_add(words, (struct str){bytes, (size_t)n});
    size_t had = h->n;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < k; i++) {
            int one;
            memcpy(&one, CMSG_DATA(c) + i * sizeof one, sizeof one);
            if (h->n < HAND_MOST)
                h->fds[h->n++] = one;
            else
                fd_close(one);
        }
    }
    int got = (int)(h->n - had);
    if (m.msg_flags & MSG_CTRUNC || words->over)
        return err_set(err, E_TOO_LARGE, "HAProxy has more than %d listening sockets", HAND_MOST);
    (void)send(fd, &got, sizeof got, MSG_NOSIGNAL); /* who has sent its last message may not wait for this */
    return true;
}

bool hand_fetch(const char *path, struct haproxy_hand *out, struct err *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct timeval most = {.tv_sec = 1};
    AUTO(strbuf_fini) struct strbuf words = STRBUF(WORDS_MOST);
    int want = 0;
    *out = (struct haproxy_hand){0};
    if (strlen(path) >= sizeof to.sun_path)
        return err_set(err, E_INVALID, "the path of a socket is too long: %s", path);
    memcpy(to.sun_path, path, strlen(path));
    AUTO(fd_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most) == 0 &&
              setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most) == 0 &&
              connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
              send(fd, "_getsocks\n", 10, MSG_NOSIGNAL) == 10 &&
              recv(fd, &want, sizeof want, MSG_WAITALL) == sizeof want;
    if (!ok)
        return err_errno(err, "ask HAProxy for its sockets");
    if (want < 0 || want > HAND_MOST)
        return err_set(err, E_TOO_LARGE, "HAProxy has %d listening sockets; more than %d are not kept", want,
                       HAND_MOST);
    while (ok && out->n < (size_t)want)
        ok = hand_message(fd, out, &words, err);
    out->words = buf_new(strbuf_str(&words));
    if (!ok)
        hand_fini(out);
    return ok;
}

bool hand_give(int fd, const struct haproxy_hand *h, struct err *err)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * HAND_MOST)];
    } control = {0};
    int n = (int)h->n;
    struct iovec io = {h->words->p, h->words->n};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = &control};
    m.msg_controllen = CMSG_SPACE(sizeof(int) * h->n);
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * h->n);
    memcpy(CMSG_DATA(c), h->fds, sizeof(int) * h->n);
    if (send(fd, &n, sizeof n, MSG_NOSIGNAL) != sizeof n || sendmsg(fd, &m, MSG_NOSIGNAL) != (ssize_t)h->words->n)
        return err_errno(err, "hand over listening sockets");
    return true;
}
