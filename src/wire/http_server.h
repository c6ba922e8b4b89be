/* http_server.h - the server's side of HTTP, one loop. A handler sees exchanges - a request and the answer that it
 * writes to it - and never a connection: whatever version of HTTP carries them, they are the same (http_session.h).
 *
 * Every request is given to the service once and stays valid until the service ends it, exactly once, by
 * http_respond, http_end, http_abort or http_upgrade - also when the client has gone in between: then writing does
 * nothing. No callback comes from inside a call, and none after the end. */
#pragma once
#include "base/buf.h"
#include "sys/stream.h"
#include "wire/http.h"

struct http_server;
struct http_session_type;
extern const struct http_session_type http1_session, http2_session; /* what may be spoken (http_session.h) */

/* On a connection of HTTP/2 at a time. Upstream's 250 would be too few for the watches of one who has all of its
 * informers on one connection; the bounds of an address and of all together hold beside it. */
#define HTTP2_STREAMS_MOST 2500

/* Who is asking; lives as long as the connection. */
struct http_peer {
    struct str address; /* "10.0.0.7:4242"; "unix" */
    bool is_unix;
    struct peer_cred cred; /* with is_unix */
    bool is_tls;
    struct tls_peer tls; /* the client's certificate */
};

struct http_request {
    struct arena arena; /* until the end; the handler's too */
    struct http_server *server;
    void *service_arg;
    struct str method, target; /* as sent: "GET", "/api/v1/pods?watch=1" */
    struct str path, query;    /* of the target, still escaped; without '?' */
    struct str host;           /* lower case, with the port if one was sent */
    struct http_headers headers;
    const struct http_peer *peer; /* address "gone" and nothing else once the client has gone */
    struct str body;              /* collected; empty when streamed */
    int64_t came;                 /* clock_mono ns */
    bool gone;                    /* nobody reads the response any more */
    bool unread;                  /* there was a body that is not here */
    bool streamed;                /* the body follows by on_data */
    void *user;                   /* the handler's */
    /* Set by the handler where it wants to know: */
    /* The client went away; ending it is still up to the handler. Comes when the client ends its side (`gone` is not
     * set: it may still read), and again when the line is cut. An answer in pieces must have it. */
    void (*on_gone)(struct http_request *r);
    void (*on_drained)(struct http_request *r); /* what was queued fell to the low mark after it was over the high */
    void (*on_data)(struct http_request *r, struct str bytes); /* a streamed body: borrowed */
    void (*on_data_end)(struct http_request *r);
    /* of the answer */
    struct http_headers answer; /* what http_set added */
    int status;                 /* of the response, once started; 0 before */
    uint64_t sent;              /* bytes of the response's body */
};

enum http_body {
    HTTP_COLLECT, /* first, up to the server's limit */
    HTTP_STREAM,  /* by on_data */
    HTTP_LITTLE,  /* collected as long as it is small, out of a bound of its own; else as HTTP_NOTHING */
    HTTP_NOTHING, /* read, as the client will read no answer before, and thrown away: `unread` is set */
};
struct http_service {
    /* The head is there, and a body will come: what becomes of it? NULL: collected. Must not respond. What it makes
     * lives in the request's arena: where the client leaves before the body has come, nobody hears of the request. */
    enum http_body (*head)(struct http_request *r, void *arg);
    /* The request; a streamed body follows by on_data. */
    void (*request)(struct http_request *r, void *arg);
    /* A response has ended, for logs and counters; runs inside http_end and its like. May be NULL. */
    void (*ended)(const struct http_request *r, void *arg);
    struct str too_large; /* JSON, static: the body of a 413; empty: a sentence as text */
    void *arg;
};

/* ---- responses */
void http_set(struct http_request *r, struct str name,
              struct str value); /* a header field; before the start; copied */
/* Whole responses; content_type may be empty. */
void http_respond(struct http_request *r, int status, struct str content_type, struct str body);
void http_respond_buf(struct http_request *r, int status, struct str content_type,
                      struct buf *body); /* a reference */
/* In pieces: length -1 is unknown (chunked). A HEAD's body is left out for the handler. */
void http_start(struct http_request *r, int status, struct str content_type, int64_t length);
void http_write(struct http_request *r, struct str bytes);
void http_write_buf(struct http_request *r, struct buf *b);
size_t http_queued(const struct http_request *r);  /* bytes the client has not taken yet */
bool http_over_high(const struct http_request *r); /* wait for on_drained before writing more */
void http_end(struct http_request *r);
void http_abort(struct http_request *r); /* the client sees that the response is not whole */
/* A streamed request body: no on_data while paused; on_data_end still comes where all of it has been given. */
void http_body_pause(struct http_request *r, bool pause);
/* What was asked is not needed any more, as the answer lasts long: but for the method all texts, and the arena, are
 * empty. After the start. */
void http_forget(struct http_request *r);
/* HTTP/1.1 only (RFC 9110 7.8): 101 with the fields of http_set; ends the request. The stream is the caller's, to be
 * given its functions at once. NULL: the client is gone, or was told that its version of HTTP has no upgrades. */
struct stream *http_upgrade(struct http_request *r, struct str protocol);

/* ---- the server */
struct http_server_config {
    struct http_service service;
    struct tls_server *tls; /* NULL: plain. Borrowed; tls_server_reload changes it while running */
    /* The versions of HTTP that are spoken, NULL-terminated, borrowed: the one whose name the TLS handshake agreed
     * on; the last one where nothing was agreed on. NULL: HTTP/1.1. What `tls` offers must be among them. */
    const struct http_session_type *const *sessions;
    size_t body_most;             /* collected bodies; over it 413. 0: 3 MiB */
    size_t connections_most;      /* further ones wait in the backlog. 0: 10,000 */
    size_t peer_connections_most; /* of one address; more are closed at once, and when all are taken the longest idle
                                   * one makes room. 0: no such bound */
    size_t bodies_most;           /* bytes of all collected bodies; over it large ones get 503. 0: 256 MiB. A
                                   * sixteenth of it is for those of HTTP_LITTLE */
    size_t answers_most;          /* bytes of answers that clients have not taken, above which who takes none is given
                                   * no further request on the same connection. 0: 256 MiB */
    int64_t head_ns, idle_ns;     /* 0: 10 s, 3 min */
    int64_t stall_ns;             /* a body or a response makes no progress for so long: cut. 0: 1 min */
    int64_t body_ns;              /* a collected body takes longer than this altogether: 408. 0: 1 min */
};
struct http_server_counts {
    size_t connections, requests;                   /* now */
    uint64_t accepted, answered, refused, timeouts; /* ever; refused: malformed or over a limit */
    uint64_t turned_away,
        evicted; /* ever: over the bound of an address (connections, streams); idle ones that made room */
};
struct http_server *http_server_new(struct loop *l, const struct http_server_config *c)
    __attribute__((returns_nonnull));
void http_server_listen(struct http_server *s, int own_fd); /* any number of sockets */
void http_server_accept(struct http_server *s,
                        int own_fd); /* a connection that came from elsewhere: of a test, a fuzzer */
const struct http_server_counts *http_server_counts(const struct http_server *s);
size_t http_server_bodies(const struct http_server *s); /* bytes of collected bodies now */
size_t http_server_queued(const struct http_server *s); /* bytes that clients have not taken yet; walks all */
/* Stops listening, closes idle connections, answers what is under way with Connection: close; then `done`, once. */
void http_server_drain(struct http_server *s, void (*done)(struct http_server *s, void *arg), void *arg);
/* Cuts every connection. Requests under way are gone without on_gone, and stay their handlers' to end. */
void http_server_free(struct http_server *s);
AUTO_POINTER(http_server_free, struct http_server);
