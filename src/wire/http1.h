/* http1.h - reading HTTP/1.1 messages (RFC 9112), strictly: whatever two programs could read differently (bare LF,
 * folded lines, two lengths, a space before the colon, odd chunk sizes) is refused. Bytes in, events out; no I/O. */
#pragma once
#include "wire/http.h"

#define HTTP1_URI_MOST    49152 /* the request line, which carries whole scripts to an exec: 414 */
#define HTTP1_HEAD_MOST   65536 /* the whole head: 431 */
#define HTTP1_FIELDS_MOST 128   /* 431 */

struct http1_head {
    /* requests */
    struct str method, target;
    struct str host; /* of the field, or of an absolute target */
    bool expect_continue;
    /* answers */
    int status;
    /* both */
    int minor; /* HTTP/1.minor */
    struct http_headers headers;
    bool keep_alive; /* as the sender wants it */
    bool upgrade;    /* Connection: upgrade */
    bool chunked;
    int64_t length; /* -1: chunked, or until the connection ends */
};

enum http1_event {
    HTTP1_MORE, /* all bytes are taken; more are needed */
    HTTP1_HEAD, /* *head is filled */
    HTTP1_BODY, /* *body: a piece, borrowed from the bytes */
    HTTP1_END,  /* of the message; the next byte begins another */
    HTTP1_BAD,  /* refuse_status and err say why; nothing more can be read */
};
struct http1 {
    bool answers;      /* reads answers, not requests */
    bool no_body;      /* set before reading: the answer to a HEAD */
    int refuse_status; /* what a server answers to HTTP1_BAD: 400, 414, 417, 431, 501, 505 */
    int state;
    uint64_t left;      /* of the body or chunk */
    struct strbuf kept; /* a head or line that is not whole yet */
};
void http1_init(struct http1 *p, bool answers);
void http1_fini(struct http1 *p);
AUTO_VALUE(http1_fini, struct http1);
/* Takes from the front of *bytes and reports one event. Texts of the head are in the arena. */
enum http1_event http1_next(struct http1 *p, struct arena *a, struct str *bytes, struct http1_head *head,
                            struct str *body, struct err *err);
/* The connection has ended: HTTP1_END if the message may end so (an answer without a length), else HTTP1_BAD;
 * HTTP1_MORE between messages. */
enum http1_event http1_eof(struct http1 *p, struct err *err);
bool http1_between(const struct http1 *p); /* no byte of a message has come yet */
/* All that is left of the connection is `rest`: may the message's body end in it? False: it cannot. */
bool http1_may_end_in(const struct http1 *p, struct str rest);
bool http1_at_end(const struct http1 *p); /* the next event is HTTP1_END, without a further byte */

/* Writing. A value's CR, LF and NUL are written as spaces: a header field can never become two. */
void http1_add_field(struct strbuf *b, struct str name, struct str value);
