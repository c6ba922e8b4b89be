/* spdy.h - the part of SPDY/3.1 that kubectl speaks (exec and attach before 1.31, port-forward): streams with header
 * blocks, data, half-close, reset, ping, flow control. A state machine over bytes, server and client side: it reads
 * what it is given and appends what is to be sent. Draft: spdy-protocol-draft3-1.
 *
 * kubectl's library (moby/spdystream) sends no WINDOW_UPDATE and heeds none, so windows are kept only with a side
 * that announces one (SETTINGS_INITIAL_WINDOW_SIZE); otherwise the transport below is what holds back. It drops data
 * that comes before the reply: reply first. */
#pragma once
#include "wire/http.h"

#define SPDY_CHUNK (1u << 20)

struct spdy;
struct spdy_fns {
    /* A stream of the other side's; headers are valid during the call. Answer with spdy_reply or spdy_reset. */
    void (*opened)(struct spdy *s, uint32_t stream, const struct http_headers *headers);
    void (*replied)(struct spdy *s, uint32_t stream, const struct http_headers *headers); /* to ours; may be NULL */
    void (*data)(struct spdy *s, uint32_t stream, struct str bytes);                      /* then spdy_consumed */
    void (*ended)(struct spdy *s, uint32_t stream);             /* the other side sends no more on it */
    void (*reset)(struct spdy *s, uint32_t stream, int status); /* gone, both ways */
    void (*room)(struct spdy *s, uint32_t stream);              /* the window opened after spdy_room was 0 */
    void (*goaway)(struct spdy *s);                             /* no new streams; may be NULL */
};
struct spdy_config {
    bool server;
    bool no_windows;     /* whatever is announced: for protocols whose clients keep none */
    size_t streams_most; /* at once, of the other side's; 0: 1,000 */
    struct spdy_fns fns;
    void *arg;
};
struct spdy *spdy_new(const struct spdy_config *c) __attribute__((returns_nonnull));
void spdy_mute(struct spdy *s); /* from now on no callback; what comes is dropped */
void spdy_free(struct spdy *s); /* not from its callbacks; NULL is fine */
AUTO_POINTER(spdy_free, struct spdy);
void *spdy_arg(const struct spdy *s);

/* Callbacks come from inside. False: the session is broken; a GOAWAY is in the output. */
MUST_USE bool spdy_read(struct spdy *s, struct str bytes, struct err *err);
/* What is to be sent; take it after every call here (strbuf_reset). */
struct strbuf *spdy_output(struct spdy *s);

uint32_t spdy_open(struct spdy *s, const struct http_headers *headers,
                   bool end); /* ours; 0: no number is left. As a client: tests */
void spdy_reply(struct spdy *s, uint32_t stream, const struct http_headers *headers, bool end);
/* Bytes that may be sent now on a stream (SPDY_CHUNK without windows); what goes beyond is kept by the caller until
 * `room`. 0 for one that is gone. */
size_t spdy_room(const struct spdy *s, uint32_t stream);
void spdy_send(struct spdy *s, uint32_t stream, struct str bytes); /* at most spdy_room */
void spdy_end(struct spdy *s, uint32_t stream);                    /* no more from us */
void spdy_reset(struct spdy *s, uint32_t stream, int status);      /* 5: cancelled, 3: refused, ... */
void spdy_consumed(struct spdy *s, uint32_t stream, size_t n);     /* of `data`: opens the window again */
void spdy_goaway(struct spdy *s);                                  /* the same */
