/* http_session.h - the server's side of HTTP behind http_server.h, in three parts. For the files of this room that
 * are one of them; handlers see exchanges alone, as struct http_request.
 *
 *   line       one connection: the stream that carries it (bytes, flow control, TLS and what its handshake agreed
 *              on), who is at the other end, and what it counts into (http_line.c)
 *   session    one version of HTTP, spoken on a line: where messages begin and end, how many exchanges there are at
 *              a time, when the line is at rest, what waits how long. A table of functions: http1_server.c,
 * http2_server.c exchange   one request and its answer: what a handler was given, the body that is collected for it,
 * and what that counts into (http_exchange.c)
 *
 * Ownership goes down: a line owns its session, a session its exchanges until they are given to the service, which
 * ends each once. Whatever goes first tells the others: the line is cut (http_line_end): `over` of the session, which
 * says http_exchange_gone or _drop for each of its exchanges and frees itself; a session wants to end: http_line_end
 * or _close; a handler ends its exchange: the session's `end` or `abort`. All of it on the server's loop. */
#pragma once
#include "base/map.h"
#include "wire/http_server.h"
#include <time.h>

struct http_line;
struct http_session;
struct http_exchange;

struct http_server {
    struct loop *loop;
    struct http_server_config c; /* no zeros in it */
    struct http_server_counts counts;
    struct list lines, doors;
    struct list idle;      /* lines between requests, the longest so first */
    struct map shares;     /* address -> struct http_share: how many lines come from there */
    size_t bodies, little; /* bytes of bodies that are collected or being worked on; of those of HTTP_LITTLE */
    size_t waiting;        /* bytes of answers that sessions hold, not yet with their streams */
    bool draining, paused, dying;
    void (*drained)(struct http_server *s, void *arg);
    void *drained_arg;
    struct soon soon; /* all lines of a draining server may be gone */
    time_t date_of;
    char date[48];
};
const char *http_server_date(struct http_server *s);       /* the Date field (RFC 9110 6.6.1) of this second */
void http_server_pause(struct http_server *s, bool pause); /* new connections wait in the backlog */

/* ---- sessions */
struct http_session_type {
    const char *alpn; /* by which it is agreed on in the TLS handshake: "http/1.1" (RFC 7301) */
    /* The line is open: the session that begins on it. */
    struct http_session *(*open)(struct http_line *l); /* never NULL */
    /* What the line says. Each may end the line, and so the session, before it returns. */
    void (*data)(struct http_session *s, struct str bytes); /* borrowed */
    void (*drained)(struct http_session *s);                /* as in stream.h */
    void (*ended)(struct http_session *s);                  /* the client writes no more */
    void (*hangup)(struct http_session *s); /* the same, while the stream is paused (stream_on_hangup). May be NULL */
    /* What the server says. */
    void (*drain)(struct http_session *s); /* serves what is under way, then ends the line; not in the call */
    void (*over)(struct http_session *s, bool tell); /* there is no line any more: see above. Frees the session */
    /* What an exchange says that is given, and not gone. The checks of http_exchange.c are passed. */
    void (*start)(struct http_exchange *e, struct str content_type, int64_t length);
    void (*write)(struct http_exchange *e, struct str bytes);
    void (*write_buf)(struct http_exchange *e, struct buf *b);
    size_t (*queued)(const struct http_exchange *e);
    bool (*over_high)(const struct http_exchange *e);
    void (*end)(struct http_exchange *e);   /* the answer is whole; the exchange is freed after the call */
    void (*abort)(struct http_exchange *e); /* it is not; the same */
    void (*body_pause)(struct http_exchange *e, bool pause);
    /* NULL: a line of this version becomes nothing else. The line ends in it, but for its stream. */
    struct stream *(*upgrade)(struct http_exchange *e, struct str protocol);
};
struct http_session { /* the first member of a session's own struct */
    const struct http_session_type *type;
    struct http_line *line; /* NULL: over */
};

/* ---- lines */
struct http_line {
    struct list node, idle; /* idle: linked while nothing is asked */
    struct http_server *server;
    struct stream *stream;
    struct http_session *session; /* NULL: the handshake is not over */
    struct http_peer peer;
    struct arena arena;
    struct http_share *share; /* NULL: a unix socket, or nobody counts */
};
/* What comes from one address: lines, and requests under way, also those whose clients have gone. */
struct http_share {
    size_t lines, requests;
    char address[64];
};
void http_share_let_go(struct http_server *s, struct http_share *p); /* after one less of either; NULL is fine */
/* A connection that was accepted. Over the share of its address it is closed at once. */
void http_line_new(struct http_server *s, int own_fd, const struct addr *peer);
/* At rest, a line may have to make room for others. */
void http_line_rest(struct http_line *l);
void http_line_work(struct http_line *l);
/* Another request may begin on it, beside others: neither its address nor all together have as many under way as they
 * may have connections. */
bool http_line_may_ask(const struct http_line *l);
/* Cut at once. tell: handlers of what is under way hear of it (on_gone): only in callbacks, as nothing calls back
 * from inside a call. Frees the line. */
void http_line_end(struct http_line *l, bool tell);
void http_line_close(struct http_line *l); /* the same, without telling, after what is queued has gone out */
/* The stream without the line, which ends: nothing is set on it but that nobody listens. */
struct stream *http_line_take(struct http_line *l);

/* ---- exchanges */
struct http_exchange { /* the first member of what a session has of one */
    struct http_request r;
    struct http_session *session; /* NULL: the client has gone */
    struct http_share *share;     /* of its line; counted */
    struct strbuf body;
    size_t seen;    /* bytes of a body that is thrown away */
    int64_t length; /* of the answer, as started; -1: not said */
    bool collect, little, given, body_done;
};
struct http_head { /* of a request */
    struct str method, target, host;
    struct http_headers headers;
    int64_t length; /* of its body; 0: there is none; -1: not said */
};
struct http_refusal {
    int status;
    char why[96];
};
/* A head has come, with its texts in the arena, which moves. The service says what becomes of the body (`collect`).
 * own_e: of mem_alloc, zeroed. False: *refusal is all that may be answered; then http_exchange_drop. */
MUST_USE bool http_exchange_begin(struct http_exchange *own_e, struct http_session *s, const struct http_head *h,
                                  struct arena *own_arena, struct http_refusal *refusal);
/* A piece of the body: collected, given on or thrown away. False: as above. May end the exchange, where it is given.
 */
MUST_USE bool http_exchange_body(struct http_exchange *e, struct str bytes, struct http_refusal *refusal);
/* To the service: where a body is not collected, after `begin`; else after its end. May end the exchange. */
void http_exchange_give(struct http_exchange *e);
void http_exchange_drop(struct http_exchange *e); /* the service has not heard of it. Frees */
void http_exchange_gone(struct http_exchange *e,
                        bool tell); /* its client has left; from here on it is the handler's */
/* The body of a refusal and its Content-Type. */
struct str http_refusal_body(const struct http_server *s, const struct http_refusal *refusal, struct str *type);
