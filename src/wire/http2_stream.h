/* http2_stream.h - the two files that are the server's side of HTTP/2: http2_server.c, the session with its turns,
 * times and end; http2_stream.c, the requests and answers on its streams. Nobody else includes it. */
#pragma once
#include "wire/http1.h"
#include "wire/http2.h"
#include "wire/http_session.h"

struct http2_exchange;
struct http2_server_session {
    struct http_session s;
    struct http2 h;
    struct http_server *server;
    struct list streams, ready, woken, drained; /* all; requests to be given; bodies to go on; queues that fell */
    size_t nstreams, queued;
    struct timer timer;
    struct soon soon;
    int busy;                    /* callbacks under way */
    int64_t opened, rested;      /* when; rested: that the last stream ended */
    int64_t heading, closing;    /* since when a head is not whole; when the line is cut. 0: it is not so */
    bool greeted, leaving, left; /* leaving: the first GOAWAY has been sent; left: the second one */
};
struct http2_stream {
    struct list node; /* of the session's streams */
    struct list wait; /* of its ready, or woken */
    struct list drained;
    struct http2_exchange *x; /* NULL: its handler is done with it, or there is none */
    struct http2_queue out;
    struct strbuf held;   /* of the body, until the handler takes it */
    int64_t began, moved; /* moved: bytes came or went */
    int32_t id;
    bool over, ended, idle, reset, sent; /* of the answer: over the high mark; all is queued; nothing to send; cut
                                          * off; all has gone */
    bool paused, body_done, end_told;    /* of the request */
};
struct http2_exchange {
    struct http_exchange e;
    struct http2_stream *stream;
};

static inline struct http2_server_session *http2_session_of(struct http_session *s)
{
    return container_of(s, struct http2_server_session, s);
}
static inline bool http2_is_over(const struct http2_server_session *c)
{
    return !c->s.line;
}
static inline const struct http_server_config *http2_config_of(const struct http2_server_session *c)
{
    return &c->server->c;
}
static inline int64_t http2_now_of(const struct http2_server_session *c)
{
    return loop_now(c->server->loop);
}

/* Something is to be done not later than this. */
static inline void http2_due_at(struct http2_server_session *c, int64_t at)
{
    if (!timer_is_set(&c->timer) || c->timer.at > at)
        timer_set(&c->timer, at - http2_now_of(c));
}

/* A session of nghttp2 whose callbacks are those of the streams. */
nghttp2_session *http2_server_ng_new(struct http2 *h) __attribute__((returns_nonnull));
/* Its exchange is nobody's any more, or its handler's alone. */
void http2_stream_leave(struct http2_stream *q, bool tell);
void http2_stream_end(struct http2_server_session *c, struct http2_stream *q, bool tell); /* frees it */
void http2_stream_reset(struct http2_server_session *c, struct http2_stream *q, uint32_t code);
/* Only an answer in words; nobody hears of the request. */
void http2_stream_refuse(struct http2_server_session *c, struct http2_stream *q, const struct http_refusal *refusal);
/* To a handler that takes it by pieces: what is held, and the end. False: the line is over. */
bool http2_body_go_on(struct http2_server_session *c, struct http2_stream *q);
/* What an exchange says, as in http_session.h. */
void http2_answer_start(struct http_exchange *e, struct str content_type, int64_t length);
void http2_answer_write(struct http_exchange *e, struct str bytes);
void http2_answer_write_buf(struct http_exchange *e, struct buf *b);
size_t http2_answer_queued(const struct http_exchange *e);
bool http2_answer_over_high(const struct http_exchange *e);
void http2_answer_end(struct http_exchange *e);
void http2_answer_abort(struct http_exchange *e);
void http2_body_pause(struct http_exchange *e, bool pause);
