/* http_client.h - outgoing HTTP to one target, over TCP, TLS or a unix socket, with kept connections. One loop.
 *
 *   struct http_client *c = http_client_new(l, &(struct http_client_config){.address = S("unix:/run/w.sock")});
 *   http_send(c, &(struct http_outgoing){.method = S("GET"), .target = S("/version")}, &fns, me);
 *
 * A call ends once: by `done`, by `upgraded`, or by http_cancel, after which no callback comes. No callback comes
 * from inside a call. A GET, HEAD, PUT, DELETE or OPTIONS that meets a kept connection which the other side closes
 * before the first byte of an answer is sent again, once, on a new one, unless its body was streamed. */
#pragma once
#include "base/buf.h"
#include "sys/stream.h"
#include "wire/http.h"

/* What an error says where the head of an answer came, and not all of its body. */
#define HTTP_CUT "in the middle of its answer"

struct http_client;
struct http_client_session_type;
extern const struct http_client_session_type http1_client_session, http2_client_session; /* what may be spoken */
struct http_call;

struct http_client_config {
    struct str address;      /* "host:port", "1.2.3.4:80", "[::1]:80" or "unix:/path"; copied */
    struct tls_client *tls;  /* NULL: plain; borrowed */
    struct str server_name;  /* for the certificate; empty: the host */
    struct str host;         /* the Host header; empty: from the address */
    size_t connections_most; /* at once; further calls wait. 0: 64. Upgraded ones count no more */
    int64_t idle_ns;         /* kept connections. 0: 90 s */
    int64_t connect_ns;      /* 0: 10 s */
    /* The versions of HTTP that are spoken, at most 4, NULL-terminated, borrowed: the one that the TLS handshake
     * agreed on; the last one where nothing was agreed on. NULL: HTTP/1.1 (http_client_session.h). */
    const struct http_client_session_type *const *sessions;
    /* A connected socket instead of one to the address, which names it alone; the client's. -1: none is to be had. */
    int (*dial)(void *arg, struct err *err);
    void *dial_arg;
};
struct http_client *http_client_new(struct loop *l, const struct http_client_config *c)
    __attribute__((returns_nonnull));
/* A server has said something: of HTTP/2, the frame that it begins with. */
bool http_client_greeted(const struct http_client *c);
void http_client_free(struct http_client *c); /* cancels what is under way; NULL is fine */
AUTO_POINTER(http_client_free, struct http_client);

struct http_outgoing {
    struct str method, target;
    const struct http_headers *headers; /* beside Host, Content-Length, Transfer-Encoding; NULL: none. Copied */
    struct str content_type;
    struct str body;      /* copied */
    struct buf *buf;      /* or this one, by reference */
    bool body_streamed;   /* or by http_call_write and http_call_end */
    int64_t length;       /* of a streamed one, all of which is written before its end; 0: not known (chunked) */
    struct str upgrade;   /* "websocket": a 101 is wanted */
    bool answer_streamed; /* the answer's body comes by `data`; else it is collected */
    size_t answer_most;   /* collected; over it E_TOO_LARGE. 0: 64 MiB */
    int64_t head_ns;      /* until the answer's head is there. 0: 60 s; < 0: no limit */
    int64_t stall_ns;     /* no byte of the body for so long. 0: no limit */
};
struct http_answer {
    int status;
    struct http_headers headers;
    struct str body;              /* collected */
    struct http_headers trailers; /* what came behind the body, of HTTP/2 alone */
};
struct http_call_fns { /* any may be NULL but done */
    void (*head)(struct http_call *c, const struct http_answer *a);
    void (*data)(struct http_call *c, struct str bytes); /* borrowed */
    void (*drained)(
        struct http_call *c); /* of a streamed request body little waits, after it was over the high mark */
    /* 101: the stream is the callee's; ends the call, instead of done */
    void (*upgraded)(struct http_call *c, const struct http_answer *a, struct stream *own_s);
    /* a: NULL where it failed; everything is gone when this returns. A failure after `head` ends here too. */
    void (*done)(struct http_call *c, const struct http_answer *a, struct err *err);
};
struct http_call *http_send(struct http_client *c, const struct http_outgoing *o, const struct http_call_fns *fns,
                            void *arg);
void *http_call_arg(const struct http_call *c);
void http_call_write(struct http_call *c, struct str bytes);
void http_call_end(struct http_call *c);
bool http_call_over_high(const struct http_call *c);   /* wait for drained before writing more */
void http_call_pause(struct http_call *c, bool pause); /* no `data` while paused; `done` may come */
void http_cancel(struct http_call *c);                 /* NULL is fine */
AUTO_POINTER(http_cancel, struct http_call);
