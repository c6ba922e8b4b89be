/* stream.h - byte streams that never block, over TCP, unix sockets and TLS on either.
 *
 * A stream belongs to its owner, who frees it with stream_free or stream_close; after that no callback comes. No
 * callback comes from inside a call. A stream that fails or is ended by both sides says so once by `closed`, and
 * stays until its owner frees it. What is written goes out at the end of the loop's turn, in one call where it can.
 */
#pragma once
#include "base/buf.h"
#include "sys/loop.h"
#include "sys/tls.h"
#include <sys/socket.h>
#include <sys/un.h>

/* ---- addresses: "127.0.0.1:80", "[::1]:80", "unix:/run/x.sock"; a unix path of 1 to 107 bytes */
struct addr {
    union {
        struct sockaddr sa;
        struct sockaddr_storage storage;
        struct sockaddr_un un;
    };
    socklen_t n;
};
MUST_USE bool addr_parse(struct str text, struct addr *out, struct err *err); /* numeric; names are refused */
void addr_text(const struct addr *a, struct strbuf *out);
int addr_port(const struct addr *a); /* 0: a unix socket */

/* ---- sockets; descriptors are non-blocking and close-on-exec */
/* A unix path that exists and that nobody listens on is replaced; mode: of the new socket file. */
MUST_USE int socket_listen(const struct addr *a, mode_t mode, struct err *err);
MUST_USE bool socket_addr(int fd, struct addr *out, struct err *err); /* where it is bound: port 0 was chosen */
struct peer_cred {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};
MUST_USE bool socket_peer_cred(int fd, struct peer_cred *out, struct err *err); /* SO_PEERCRED, unix sockets */
/* Descriptors beside bytes (SCM_RIGHTS), on a blocking or ready unix socket; at most 64. Received ones are
 * close-on-exec and the caller's; *nfds: room, then how many came. Returns bytes, 0 at the end, -1 with err. */
MUST_USE bool socket_send_fds(int fd, struct str bytes, const int *fds, size_t nfds, struct err *err);
MUST_USE ssize_t socket_recv_fds(int fd, void *p, size_t n, int *fds, size_t *nfds, struct err *err);

/* ---- listening */
struct listener {
    struct loop *loop;
    int fd;
    struct poll poll;
    struct timer again; /* out of descriptors: tries again after 100 ms */
    bool paused;
    void (*fn)(struct listener *l, int own_fd, const struct addr *peer);
};
/* fd: listening already, made here or inherited; it becomes the listener's. */
void listener_start(struct listener *l, struct loop *loop, int own_fd,
                    void (*fn)(struct listener *l, int own_fd, const struct addr *peer));
void listener_pause(struct listener *l, bool pause);
void listener_stop(struct listener *l); /* closes it; not started: nothing happens */

/* ---- streams */
struct stream;
struct stream_fns {                                    /* any may be NULL; `closed` should not be */
    void (*opened)(struct stream *s);                  /* connected, the TLS handshake is over */
    void (*data)(struct stream *s, struct str bytes);  /* borrowed; all of it is taken, see stream_unread */
    void (*drained)(struct stream *s);                 /* the queue fell to the low mark after it was over the high */
    void (*ended)(struct stream *s);                   /* the other side writes no more; ours still can */
    void (*closed)(struct stream *s, struct err *err); /* err->kind E_NONE: ended by both sides in good order */
};
/* Over a connected socket, which becomes the stream's. tls: the server's side of TLS, or NULL. */
struct stream *stream_new(struct loop *l, int own_fd, struct tls_server *tls, const struct stream_fns *fns,
                          void *arg);
struct stream_connect {
    struct str address;      /* as addr_parse, or "name:port", looked up off the loop */
    struct tls_client *tls;  /* NULL: plain */
    struct str server_name;  /* what the certificate must be for; empty: the host of the address */
    const char *const *alpn; /* as tls.h; NULL: what `tls` says. Borrowed until opened */
    int64_t timeout_ns;      /* until opened; 0: 10 s */
};
#define STREAM_LOOKUP "look up " /* so begins the sentence where a name was not found */
/* Failure, a wrong address included, comes by `closed`. */
struct stream *stream_connect(struct loop *l, const struct stream_connect *c, const struct stream_fns *fns,
                              void *arg);
void stream_fns_set(struct stream *s, const struct stream_fns *fns, void *arg); /* handing a stream over */
void *stream_arg(const struct stream *s);
struct loop *stream_loop(const struct stream *s);

void stream_write(struct stream *s, struct str copied);
void stream_write_buf(struct stream *s, struct buf *b); /* takes a reference of its own */
size_t stream_queued(const struct stream *s);           /* bytes not yet with the kernel */
bool stream_over_high(const struct stream *s);          /* 256 KiB; the low mark is 64 KiB */

void stream_read_pause(struct stream *s, bool pause); /* while paused only a break or a reset is noticed */
/* And that the other side has written its last: all that may still be read is with the kernel. fn must not free s;
 * stream_fns_set takes it back. */
void stream_on_hangup(struct stream *s, void (*fn)(struct stream *s));
void stream_unread(struct stream *s, struct str bytes); /* these come again, before anything else */
void stream_end(struct stream *s);                      /* writes no more: half-close after what is queued */
/* Closed with E_TIMEOUT when no byte came or went for so long; 0: never. stall: only while something is queued. */
void stream_idle(struct stream *s, int64_t ns);
void stream_stall(struct stream *s, int64_t ns);

void stream_close(struct stream *s); /* frees; what is queued still goes out, for at most 5 s */
void stream_free(struct stream *s);  /* at once; NULL is fine */
AUTO_POINTER(stream_free, struct stream);

/* The certificate of the other end; texts in the arena. shown is false without TLS or without one. */
void stream_peer(struct stream *s, struct arena *a, struct tls_peer *out);
bool stream_is_tls(const struct stream *s);
/* What the handshake agreed to speak (RFC 7301); borrowed from the stream. Empty: nothing, or no TLS. */
struct str stream_alpn(const struct stream *s);
