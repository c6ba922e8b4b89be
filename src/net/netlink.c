/* netlink.c - building netlink messages, and conversations with the kernel that wait for the answer.
 *
 * Several messages go out in one system call and are answered one by one. Each has a sequence number: an answer
 * belongs to the conversation if its number is among those just sent; anything else is left from an earlier
 * conversation that failed, and is passed over. netlink_send is done when every message that asked for an
 * acknowledgment has one, or at the first error (a transaction of nf_tables is then not in the kernel at all; of
 * other families each message holds or fails by itself).
 *
 * A dump may be interrupted: the kernel says so when its table changed while it was read. Then it is begun again,
 * and the caller forgets what it has.
 *
 * When an answer does not come, or is lost, the socket is `broken`: later answers could be taken for those of the
 * next question, so it must be closed. The kernel's own words for a refusal (extended acknowledgments) go into the
 * error.
 *
 * Costs: a system call each way; buffers of 8 MiB are asked for, as a batch of some thousand Services is a megabyte.
 */
#include "net/netlink.h"
#include "base/fault.h"
#include "net/link.h"
#include <errno.h>
#include <libmnl/libmnl.h>
#include <sys/socket.h>
#include <sys/time.h>

#define ANSWER_S    10        /* the rtnl lock is held for tens of ms at worst; beyond that something is broken */
#define SEND_BUFFER (8 << 20) /* a thousand services with five endpoints each are 1 MiB */
#define RECV_BUFFER 65536
#define DUMP_TRIES  5

void nlbuf_fini(struct nlbuf *b)
{
    mem_free(b->p);
    *b = NLBUF;
}

void nlbuf_reset(struct nlbuf *b)
{
    b->n = b->at = 0;
    b->count = 0;
}

static void *nlbuf_room(struct nlbuf *b, size_t n) /* zeroed, padded to 4 bytes */
{
    size_t padded = NLMSG_ALIGN(n);
    if (b->n + padded > b->cap) {
        b->cap = MAX(b->n + padded, b->cap ? b->cap * 2 : 4096);
        b->p = mem_grow(b->p, b->cap);
    }
    void *p = b->p + b->n;
    (void)memset(p, 0, padded);
    b->n += padded;
    return p;
}

void nlbuf_begin(struct nlbuf *b, uint16_t type, uint16_t flags, const void *head, size_t head_n)
{
    b->at = b->n;
    struct nlmsghdr *h = nlbuf_room(b, NLMSG_HDRLEN);
    h->nlmsg_type = type;
    h->nlmsg_flags = NLM_F_REQUEST | flags;
    (void)memcpy(nlbuf_room(b, head_n), head, head_n);
    b->count++;
}

void nlbuf_end(struct nlbuf *b)
{
    struct nlmsghdr *h = (struct nlmsghdr *)(b->p + b->at);
    h->nlmsg_len = (uint32_t)(b->n - b->at);
}

void nlbuf_put(struct nlbuf *b, uint16_t type, const void *p, size_t n)
{
    struct nlattr *a = nlbuf_room(b, NLA_HDRLEN);
    a->nla_len = (uint16_t)(NLA_HDRLEN + n);
    a->nla_type = type;
    if (n)
        (void)memcpy(nlbuf_room(b, n), p, n);
}

void nlbuf_raw(struct nlbuf *b, const void *p, size_t n)
{
    (void)memcpy(nlbuf_room(b, n), p, n);
}

void nlbuf_put_u8(struct nlbuf *b, uint16_t type, uint8_t v)
{
    nlbuf_put(b, type, &v, sizeof v);
}

void nlbuf_put_u16(struct nlbuf *b, uint16_t type, uint16_t v)
{
    nlbuf_put(b, type, &v, sizeof v);
}

void nlbuf_put_u32(struct nlbuf *b, uint16_t type, uint32_t v)
{
    nlbuf_put(b, type, &v, sizeof v);
}

void nlbuf_put_be16(struct nlbuf *b, uint16_t type, uint16_t v)
{
    nlbuf_put_u16(b, type, __builtin_bswap16(v));
}

void nlbuf_put_be32(struct nlbuf *b, uint16_t type, uint32_t v)
{
    nlbuf_put_u32(b, type, __builtin_bswap32(v));
}

void nlbuf_put_be64(struct nlbuf *b, uint16_t type, uint64_t v)
{
    v = __builtin_bswap64(v);
    nlbuf_put(b, type, &v, sizeof v);
}

void nlbuf_put_strz(struct nlbuf *b, uint16_t type, const char *z)
{
    nlbuf_put(b, type, z, strlen(z) + 1);
}

size_t nlbuf_nest(struct nlbuf *b, uint16_t type)
{
    size_t nest = b->n;
    struct nlattr *a = nlbuf_room(b, NLA_HDRLEN);
    a->nla_type = type | NLA_F_NESTED;
    return nest;
}

void nlbuf_nest_end(struct nlbuf *b, size_t nest)
{
    size_t n = b->n - nest;
    ASSERT(n <= UINT16_MAX);
    struct nlattr *a = (struct nlattr *)(b->p + nest);
    a->nla_len = (uint16_t)n;
}

bool netlink_open(struct netlink *nl, int protocol, struct err *err)
{
    AUTO(fd_close)
    int fd = fault("netlink.open", EMFILE) ? -1 : socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return err_errno(err, "netlink socket");
    struct sockaddr_nl addr = {.nl_family = AF_NETLINK};
    struct timeval patience = {.tv_sec = ANSWER_S};
    int one = 1, size = SEND_BUFFER;
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
        return err_errno(err, "netlink bind");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0)
        return err_errno(err, "netlink socket options");
    /* short errors with the kernel's own words; bigger buffers where we may: none of them is needed to work */
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one); /* as above */
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size); /* as above */
    *nl = (struct netlink){.fd = TAKE_FD(fd), .seq = 1};
    return true;
}

bool netlink_open_in(struct netlink *nl, int protocol, int netns_fd, struct err *err)
{
    AUTO(fd_close) int home = netns_enter(netns_fd, err);
    if (home < 0)
        return false;
    bool ok = netlink_open(nl, protocol, err);
    netns_leave(home);
    return ok;
}

void netlink_close(struct netlink *nl)
{
    if (nl->fd >= 0)
        fd_close(nl->fd);
    nl->fd = -1;
}

static bool send_all(struct netlink *nl, struct nlbuf *b, uint32_t *first, unsigned *acks, struct err *err)
{
    *first = nl->seq + 1;
    *acks = 0;
    for (size_t at = 0; at < b->n;) {
        struct nlmsghdr *h = (struct nlmsghdr *)(b->p + at);
        h->nlmsg_seq = ++nl->seq;
        *acks += (h->nlmsg_flags & NLM_F_ACK) != 0;
        at += NLMSG_ALIGN(h->nlmsg_len);
    }
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    struct iovec iov = {b->p, b->n};
    struct msghdr msg = {.msg_name = &kernel, .msg_namelen = sizeof kernel, .msg_iov = &iov, .msg_iovlen = 1};
    if (fault("netlink.send", ENOBUFS) || sendmsg(nl->fd, &msg, 0) < 0)
        return err_errno(err, "netlink send of %zu bytes", b->n);
    return true;
}

static const char *kernel_words(const struct nlmsghdr *h) /* of an error answer; "" without any */
{
    const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
    if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
        return "";
    size_t skip = sizeof *e;
    if (!(h->nlmsg_flags & NLM_F_CAPPED))
        skip += NLMSG_ALIGN(e->msg.nlmsg_len) - sizeof e->msg;
    const struct nlattr *a;
    mnl_attr_for_each(a, h, skip)
    {
        if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
            return mnl_attr_get_str(a);
    }
    return "";
}

static ssize_t netlink_receive(struct netlink *nl, void *buf, size_t n, struct err *err)
{
    ssize_t got;
    do
        got = fault("netlink.receive", ENOBUFS) ? -1 : recv(nl->fd, buf, n, 0);
    while (got < 0 && errno == EINTR);
    nl->broken |= got < 0;
    if (got < 0 && errno == EAGAIN)
        return err_set(err, E_TIMEOUT, "the kernel has not answered for %d s", ANSWER_S), -1;
    if (got < 0)
        return err_errno(err, "netlink receive"), -1;
    return got;
}

static bool error_refused(const struct nlmsghdr *h, int error, struct err *err)
{
    const char *words = kernel_words(h);
    errno = error;
    (void)err_errno(err, "the kernel refused%s%s", *words ? ": " : "", words);
    return false;
}

bool netlink_send(struct netlink *nl, struct nlbuf *b, void (*fn)(const struct nlmsghdr *h, void *arg), void *arg,
                  unsigned *failed, struct err *err)
{
    uint32_t first;
    unsigned acks;
    if (failed)
        *failed = 0;
    if (b->n == 0)
        return true;
    if (!send_all(nl, b, &first, &acks, err))
        return false;
    AUTO_FREE uint8_t *buf = mem_alloc(RECV_BUFFER);
    while (acks) {
        ssize_t got = netlink_receive(nl, buf, RECV_BUFFER, err);
        if (got < 0)
            return false;
        int left = (int)got;
        for (const struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
            if (h->nlmsg_seq < first || h->nlmsg_seq > nl->seq)
                continue; /* what is left of an earlier conversation that failed */
            if (h->nlmsg_type != NLMSG_ERROR) {
                if (fn)
                    fn(h, arg);
                continue;
            }
            const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
            if (e->error) {
                if (failed)
                    *failed = h->nlmsg_seq - first;
                return error_refused(h, -e->error, err);
            }
            acks -= acks > 0;
        }
    }
    return true;
}

static bool dump_once(struct netlink *nl, struct nlbuf *b, void (*fn)(const struct nlmsghdr *h, void *arg), void *arg,
                      bool *interrupted, struct err *err)
{
    uint32_t first;
    unsigned acks;
    *interrupted = false;
    if (!send_all(nl, b, &first, &acks, err))
        return false;
    AUTO_FREE uint8_t *buf = mem_alloc(RECV_BUFFER);
    for (;;) {
        ssize_t got = netlink_receive(nl, buf, RECV_BUFFER, err);
        if (got < 0)
            return false;
        int left = (int)got;
        for (const struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
            if (h->nlmsg_seq != first)
                continue;
            if (h->nlmsg_flags & NLM_F_DUMP_INTR)
                *interrupted = true;
            if (h->nlmsg_type == NLMSG_DONE)
                return true;
            if (h->nlmsg_type == NLMSG_ERROR) {
                const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
                if (e->error == -EINTR) {
                    *interrupted = true;
                    return true;
                }
                return e->error ? error_refused(h, -e->error, err) : true;
            }
            fn(h, arg);
        }
    }
}

bool netlink_dump(struct netlink *nl, struct nlbuf *b, void (*fn)(const struct nlmsghdr *h, void *arg),
                  void (*again)(void *arg), void *arg, struct err *err)
{
    ASSERT(b->count == 1);
    ((struct nlmsghdr *)b->p)->nlmsg_flags |= NLM_F_DUMP;
    for (int i = 0; i < DUMP_TRIES; i++) {
        bool interrupted;
        if (i && again)
            again(arg);
        if (!dump_once(nl, b, fn, arg, &interrupted, err))
            return false;
        if (!interrupted)
            return true;
    }
    return err_set(err, E_UNAVAILABLE, "the kernel's table changed during each of %d reads of it", DUMP_TRIES);
}
