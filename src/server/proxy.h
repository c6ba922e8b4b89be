/* proxy.h - one request passed on to a target, and the target's answer passed back: heads changed by whoever starts
 * it, bodies in pieces both ways and at the pace of who reads them, and bytes after an upgrade. One loop.
 *
 *   client --body--> http_body_pause <- over high --- call --> target
 *   client <--body-- over high -> http_call_pause --- call <-- target
 *
 * Each side that leaves takes the other along: a client that has gone cancels the call; a target that goes before its
 * answer has begun is told in words (`refused`), after that the client sees that its answer is not whole. What has
 * not been passed on yet is at most what a stream holds over its high mark (stream.h) and one read, on each way. */
#pragma once
#include "wire/http_client.h"
#include "wire/http_server.h"

#define PROXY_BODY_MOST    (16u << 20) /* bytes that stand in place of one piece of a body */
#define PROXY_REFUSAL_MOST 50000       /* bytes of a target's sentence, as upstream reads */

struct proxy_target {           /* texts copied */
    struct str address;         /* as in http_client.h: a unix socket, or a host and a port */
    struct str host;            /* the Host field; empty: from the address */
    struct tls_client *tls;     /* NULL: plain. Borrowed until `over` */
    struct str server_name;     /* whom its certificate must be for; empty: the host of the address */
    struct http_client *client; /* connections that are kept, of others too, in place of all this: borrowed until
                                   `over`; NULL: one of its own */
};
struct proxy;
struct proxy_fns {
    /* The head of the answer is there: what of its fields the client gets is set on h (http_set); with 101 just
     * before the upgrade. *length: of the body, -1: not known; may be changed to that. False: the client gets none of
     * this answer, but what `refused` says. */
    bool (*head)(struct proxy *p, const struct http_answer *a, struct http_request *h, int64_t *length);
    /* Answers h, which is the callee's: status and text are the target's, where `head` did not want its answer; or
     * status is 0 and err says why there is none. */
    void (*refused)(struct proxy *p, struct http_request *own_h, int status, struct str text, const struct err *err);
    void (*over)(struct proxy *p); /* the last; frees p's owner */
    /* Where `head` has set p->exchanges: what the client gets in place of these bytes of the body; last: there are no
     * more. False: the answer ends here, and the client sees that it is not whole. NULL: nobody sets it. */
    bool (*body)(struct proxy *p, struct str bytes, bool last, struct strbuf *out);
};
struct proxy { /* embedded in its owner, who may not move */
    const struct proxy_fns *fns;
    struct http_client *client; /* its own; NULL: it is the target's */
    struct http_call *call;     /* until it ended */
    struct http_request *http;  /* the same */
    bool exchanges;             /* the answer's body goes through fns->body; its length is not known then */
    int refused;                /* the status of an answer that `head` did not want; 0: none */
    struct strbuf refusal;      /* and its body */
    struct stream *up, *down;   /* after an upgrade: the target's, the client's */
};
/* h: the request, its body collected or streamed; its callbacks and `user` become the proxy's. asked: method, target
 * and headers; what else there is of it follows from h. */
void proxy_start(struct proxy *p, struct loop *l, const struct proxy_target *t, struct http_request *own_h,
                 const struct http_outgoing *asked, const struct proxy_fns *fns);
/* Ends it from here, before an upgrade: the target is cut off. The request, which may be answered already in part, is
 * the caller's again; `over` comes no more. */
struct http_request *proxy_stop(struct proxy *p);
