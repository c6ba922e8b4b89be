/* netlink.h - building netlink messages and blocking conversations with the kernel. A conversation belongs to one
 * thread at a time; every call waits for the kernel's answer (microseconds, milliseconds under a busy rtnl lock, at
 * most 10 s: E_TIMEOUT), so calls happen in a job or where a role starts. */
#pragma once
#include "base/err.h"
#include <linux/netlink.h>

/* Messages under construction: any number, sent together. Grows; what goes in is ours, so it needs no limit. */
struct nlbuf {
    uint8_t *p;
    size_t n, cap;
    size_t at;      /* offset of the open message */
    unsigned count; /* messages in it */
};
#define NLBUF ((struct nlbuf){0})
void nlbuf_fini(struct nlbuf *b);
AUTO_VALUE(nlbuf_fini, struct nlbuf);
void nlbuf_reset(struct nlbuf *b); /* empty again; keeps the memory */
/* Opens a message: flags beside NLM_F_REQUEST, then the protocol's own header. The sequence number is set when sent.
 */
void nlbuf_begin(struct nlbuf *b, uint16_t type, uint16_t flags, const void *head, size_t head_n);
void nlbuf_end(struct nlbuf *b);
void nlbuf_put(struct nlbuf *b, uint16_t type, const void *p, size_t n);
void nlbuf_raw(struct nlbuf *b, const void *p, size_t n); /* bytes without an attribute around them */
void nlbuf_put_u8(struct nlbuf *b, uint16_t type, uint8_t v);
void nlbuf_put_u16(struct nlbuf *b, uint16_t type, uint16_t v);
void nlbuf_put_u32(struct nlbuf *b, uint16_t type, uint32_t v);
void nlbuf_put_be16(struct nlbuf *b, uint16_t type, uint16_t v);
void nlbuf_put_be32(struct nlbuf *b, uint16_t type, uint32_t v);
void nlbuf_put_be64(struct nlbuf *b, uint16_t type, uint64_t v);
void nlbuf_put_strz(struct nlbuf *b, uint16_t type, const char *z);
size_t nlbuf_nest(struct nlbuf *b, uint16_t type); /* what nlbuf_nest_end wants */
void nlbuf_nest_end(struct nlbuf *b, size_t nest);

struct netlink {
    int fd;
    uint32_t seq; /* of the last message sent */
    bool broken;  /* an answer was missed: the kernel may still be busy with it; close and open again */
};
#define NETLINK ((struct netlink){.fd = -1})
MUST_USE bool netlink_open(struct netlink *nl, int protocol, struct err *err);
/* In another network namespace; the calling thread is back in its own when this returns. */
MUST_USE bool netlink_open_in(struct netlink *nl, int protocol, int netns_fd, struct err *err);
void netlink_close(struct netlink *nl); /* closed already: nothing happens */
AUTO_VALUE(netlink_close, struct netlink);

/* Sends all messages in one go and waits until each that carries NLM_F_ACK is answered, or one failed. False: err.sys
 * is the kernel's errno, *failed (may be NULL) the number of the message in the buffer. Answers that are not
 * acknowledgments go to fn(), which may be NULL. */
MUST_USE bool netlink_send(struct netlink *nl, struct nlbuf *b, void (*fn)(const struct nlmsghdr *h, void *arg),
                           void *arg, unsigned *failed, struct err *err);
/* Sends the one message in b as a dump and hands each answer to fn(). A dump that the kernel interrupted because
 * the table changed is begun again, up to four times; `again` (may be NULL) is called before, to forget what was
 * collected. */
MUST_USE bool netlink_dump(struct netlink *nl, struct nlbuf *b, void (*fn)(const struct nlmsghdr *h, void *arg),
                           void (*again)(void *arg), void *arg, struct err *err);
