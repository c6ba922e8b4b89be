/* http_client_session.h - the client's side of HTTP behind http_client.h, in the same three parts as the server's
 * (http_session.h). For the files of this room that are one of them; users see calls alone.
 *
 *   line       one connection to the target, and the calls that are on it (http_client.c)
 *   session    one version of HTTP, spoken on a line: how a request is written and an answer read, and whether
 *              another call may begin. A table of functions: http1_client.c, http2_client.c
 *   call       one request and its answer: what the user was promised (http_call.c)
 *
 * The pool gives waiting calls to lines that have room, the one used last first, and makes new lines up to a limit. A
 * line owns its session. A session tells a call's news by http_call_head, _body, _whole, _broken and _upgraded; each
 * may run the user's callback, in which anything may be cancelled or freed: after it a session looks whether it is
 * over.
 */
#pragma once
#include "base/list.h"
#include "wire/http_client.h"

struct http_client_line;
struct http_client_session;

struct http_client_session_type {
    const char *alpn; /* by which it is agreed on in the TLS handshake */
    bool upgrades;    /* a call that wants to become another protocol may go on it */
    bool many;        /* it has room for several calls at a time */
    struct http_client_session *(*open)(struct http_client_line *l); /* never NULL */
    /* What the line says. Each may end the line, and so the session. */
    void (*data)(struct http_client_session *s, struct str bytes);
    void (*drained)(struct http_client_session *s);
    void (*ended)(struct http_client_session *s);
    void (*over)(struct http_client_session *s); /* there is no line and no call any more. Frees the session */
    /* What the pool says. */
    bool (*has_room)(const struct http_client_session *s);             /* for another call, now */
    void (*begin)(struct http_client_session *s, struct http_call *k); /* writes it, with what is there of its body */
    /* What a call says that has begun. */
    void (*write)(struct http_call *k, struct str bytes);
    void (*end)(struct http_call *k); /* of the streamed body */
    bool (*over_high)(const struct http_call *k);
    void (*pause)(struct http_call *k, bool pause);
    void (*cancel)(struct http_client_session *s, struct http_call *k); /* it is off the line already */
};
struct http_client_session { /* the first member of a session's own struct */
    const struct http_client_session_type *type;
    struct http_client_line *line; /* NULL: over */
};

#define HTTP_CLIENT_SESSIONS 4 /* types that a client may speak */

struct http_client {
    struct loop *loop;
    struct http_client_config c; /* no zeros in it */
    char *address, *server_name, *host;
    const char *alpn[HTTP_CLIENT_SESSIONS + 1], *alpn_upgrade[HTTP_CLIENT_SESSIONS + 1]; /* what is offered */
    struct list room, full; /* lines with room for a call, the last used first; and those without */
    struct list waiting;    /* calls without a line */
    struct list failed;     /* calls that are told so in a turn to come */
    size_t lines;
    uint64_t opened;                               /* lines, ever */
    const struct http_client_session_type *spoken; /* on the line that was opened last; NULL: none was yet */
    bool greeted;                                  /* a session has heard what its protocol begins with */
    struct soon soon;                              /* gives waiting calls lines */
};
void http_client_pump(struct http_client *c); /* in a later turn: calls may have become able to begin */

/* ---- lines */
struct http_client_line {
    struct list node; /* of room or full */
    struct http_client *client;
    struct stream *stream;
    struct http_client_session *session; /* NULL: not open yet */
    struct list calls;
    uint64_t number;    /* of all that were ever opened */
    bool kept, upgrade; /* a call has been answered on it before; it is for one that becomes something else */
};
void http_client_line_end(struct http_client_line *l); /* at once. No call is on it. Frees */
/* The line broke under its calls: they are told, or go on another line (http_call_broken). Frees it first. */
void http_client_line_broken(struct http_client_line *l, struct err *err);
/* A call has left it: it has room, or rests until the next one. keep: not if false: then it ends after what is
 * queued. */
void http_client_line_left(struct http_client_line *l, bool keep);
void http_client_line_changed(struct http_client_line *l); /* whether it has room */
struct stream *
http_client_line_take(struct http_client_line *l); /* its stream, without anybody who listens; ends it */

/* ---- calls */
struct http_call {
    struct list node; /* of waiting, failed, or of its line's */
    struct http_client *client;
    struct http_client_line *line; /* NULL: waiting, or over */
    const struct http_call_fns *fns;
    void *arg;
    struct arena arena; /* of the answer's head */
    struct {            /* its texts stand behind the struct */
        struct str method, target, content_type, upgrade;
        struct http_headers headers;
        struct buf *body;
        int64_t length; /* of the body; -1: streamed until its end */
    } request;
    struct strbuf early, body;                             /* early: written before the call began */
    bool streamed, stream_ended, answer_streamed, no_body; /* no_body: of the answer, to HEAD */
    bool begun, on_kept, heard; /* on_kept: its line has answered others; heard: a byte of the answer has come */
    bool again;                 /* it is tried once more */
    uint64_t after;             /* on a line that is opened after this one */
    bool refused;               /* a session says before http_call_broken: the server has not looked at it */
    int refusals;               /* how often that was so */
    bool paused, head_told, cancelled;
    int busy;
    int64_t stall_ns, written; /* written: of a streamed body */
    void *of_session;          /* what the session has of it */
    struct http_answer answer;
    struct timer timer;
    struct err err;
    char what[128]; /* for messages: "GET /version" */
    struct http_header fields[];
};
/* By sessions; borrowed texts of the head are in the arena, which moves. */
void http_call_head(struct http_call *k, int status, struct http_headers headers, struct arena *own_arena);
void http_call_body(struct http_call *k, struct str bytes);
void http_call_whole(struct http_call *k);                          /* off its line already */
void http_call_upgraded(struct http_call *k, struct stream *own_s); /* the same */
/* err->kind E_NONE: the line was closed. The call is off its line. It begins anew where that is safe: the server has
 * refused to look at it; or a kept line was closed from the other side before the first byte of an answer, and
 * nothing is done twice by asking twice. */
void http_call_broken(struct http_call *k, struct err *err, bool later);
void http_call_drained(struct http_call *k);
void http_call_detach(struct http_call *k); /* off its line, or not waiting any more */
