/* websocket.h - WebSocket (RFC 6455) over a stream, both sides, framing by wslay. Whole messages up to a limit.
 *
 * The owner frees it with websocket_close (says goodbye first) or websocket_free; no callback comes after that, none
 * from inside a call. `closed` comes once when the other side or the line ends it; the owner still frees it. */
#pragma once
#include "wire/http_client.h"
#include "wire/http_server.h"

enum { WEBSOCKET_TEXT = 1, WEBSOCKET_BINARY = 2 };
struct websocket;
struct websocket_fns {
    void (*message)(struct websocket *w, int kind, struct str bytes); /* borrowed */
    void (*drained)(struct websocket *w);                             /* may be NULL */
    /* code as RFC 6455 7.4 (1006: the line broke); reason: what the other side said, or what broke */
    void (*closed)(struct websocket *w, int code, struct str reason);
};
struct websocket_config {
    const char *const *protocols; /* NULL-terminated; a client's in order of preference. NULL: none */
    size_t message_most;          /* 0: 1 MiB; a bigger one ends it with 1009 */
    int64_t ping_ns;              /* sends a ping this often and gives up after two without a byte; 0: never */
};
bool websocket_wanted(const struct http_request *r); /* the request asks for one */
/* The server's side; ends the request in any case: NULL means that it was answered with 400, or is gone. Where the
 * client offers protocols and none is ours, that is 403 with the names of ours. Of several, the first of the client's
 * that is ours. */
struct websocket *websocket_accept(struct http_request *r, const struct websocket_config *c,
                                   const struct websocket_fns *fns, void *arg);
/* The client's side. opened: w, or NULL with err; an answer other than 101 is an error with its status's kind and
 * its body's beginning. */
struct websocket_dial;
struct websocket_dial *
websocket_connect(struct http_client *c, struct str target, const struct http_headers *headers,
                  const struct websocket_config *config, const struct websocket_fns *fns, void *arg,
                  void (*opened)(struct websocket *w, const struct http_answer *refused, struct err *err, void *arg));
void websocket_dial_cancel(struct websocket_dial *d); /* before opened; NULL is fine */

void *websocket_arg(const struct websocket *w);
struct loop *websocket_loop(const struct websocket *w);
struct str websocket_protocol(const struct websocket *w); /* agreed; empty: none */
void websocket_send(struct websocket *w, int kind, struct str bytes);
/* One message of two parts, such as a channel byte and its data. */
void websocket_send2(struct websocket *w, int kind, struct str first, struct str second);
size_t websocket_queued(const struct websocket *w);
bool websocket_over_high(const struct websocket *w);   /* wait for drained before sending more */
void websocket_pause(struct websocket *w, bool pause); /* messages within 4 KiB read before may still come */
void websocket_close(struct websocket *w, int code, struct str reason); /* frees */
void websocket_free(struct websocket *w);                               /* at once; NULL is fine */
/* Says goodbye and lives on, without callbacks, until the other side has answered it or gone, or takes nothing for a
 * minute: who closes first while the other still sends loses, by a reset, what is on its way to it. */
void websocket_finish(struct websocket *w, int code, struct str reason);
AUTO_POINTER(websocket_free, struct websocket);
