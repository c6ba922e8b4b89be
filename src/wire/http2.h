/* http2.h - HTTP/2 (RFC 9113) over nghttp2: what its two sessions, http2_server.c and http2_client.c, have in common.
 * For the files of this room that are one of them.
 *
 * nghttp2 knows frames, windows and HPACK, and holds no bytes of bodies: what waits to be sent on a stream is in its
 * http2_queue, and goes to the line as fast as both windows and the line itself take it. */
#pragma once
#include "base/array.h"
#include "base/buf.h"
#include "sys/stream.h"
#include "wire/http.h"
#include <nghttp2/nghttp2.h>

/* ---- heads that come. One at a time on a line (RFC 9113 4.3) */
struct http2_field { /* in the text; the value follows the name */
    size_t name, value, nvalue;
};
struct http2_fields {
    struct strbuf text;
    ARRAY(struct http2_field) all;
    size_t size; /* as it would be in HTTP/1.1 */
    bool too_large;
};
struct http2_head {
    struct str method, target, authority, scheme; /* of the pseudo header fields, which are not among the others */
    int status;
    struct http_headers headers;
};
void http2_fields_fini(struct http2_fields *f);
void http2_fields_begin(struct http2_fields *f);
/* Over the bounds of http1.h it is noted as too large, and no more is kept. False: it is so large that nobody should
 * go on reading it. */
MUST_USE bool http2_fields_add(struct http2_fields *f, struct str name, struct str value);
void http2_fields_take(const struct http2_fields *f, struct arena *a, struct http2_head *out); /* copies */

/* ---- heads that go: names in lower case; what is about one connection is left out (8.2.2); CR, LF and NUL in values
 * are spaces */
struct http2_nvs {
    struct arena arena;
    ARRAY(nghttp2_nv) all;
};
void http2_nvs_add(struct http2_nvs *n, struct str name, struct str value);
void http2_nvs_fini(struct http2_nvs *n);
AUTO_VALUE(http2_nvs_fini, struct http2_nvs);

/* ---- bytes that wait to be sent on a stream */
struct http2_queue {
    ARRAY(struct buf *) bufs;
    size_t first, sent, bytes; /* sent: of bufs.p[first] */
};
void http2_queue_add(struct http2_queue *q, struct str copied);
void http2_queue_add_buf(struct http2_queue *q, struct buf *b); /* takes a reference of its own */
void http2_queue_send(struct http2_queue *q, struct stream *to, size_t n);
void http2_queue_clear(struct http2_queue *q);

/* ---- a line's bytes */
struct http2 { /* a session's; the user_data of its nghttp2_session */
    nghttp2_session *ng;
    struct stream *stream; /* borrowed; NULL: the line is over */
    struct http2_fields fields;
    int calm; /* frames that may come without meaning anything */
    int64_t calm_at;
    uint8_t head[9]; /* of a frame that comes: what there is of it; then so many bytes until the next one */
    size_t nhead, skip;
    bool broken;   /* nothing is read any more; the line ends when what is queued is with it */
    bool flooding; /* because of too much of that */
    int busy;      /* calls of nghttp2 under way, from which callbacks come */
};
void http2_begin(struct http2 *h, nghttp2_session *own_ng, struct stream *s,
                 size_t greeting); /* bytes before frames */
/* Both sides' functions for bytes, and the options for what a stranger may do. */
nghttp2_session_callbacks *http2_callbacks_new(void) __attribute__((returns_nonnull));
nghttp2_option *http2_option_new(void) __attribute__((returns_nonnull));
nghttp2_mem *http2_mem(void);
/* What has come; the rest of a turn that is spent comes again in the next one. False: broken. In its callbacks the
 * line may end. */
bool http2_feed(struct http2 *h, struct str bytes);
/* To the line, as much as it takes. False: broken. */
MUST_USE bool http2_flush(struct http2 *h);
/* Something that costs more to look at than to send has come. Too much of it, and the line is broken. */
void http2_cost(struct http2 *h, int much);
void http2_fini(struct http2 *h);
