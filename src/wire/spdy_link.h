/* spdy_link.h - a SPDY/3.1 session and what carries it: a connection that was upgraded to it (kubectl before 1.31,
 * and later ones that fall back), or the binary messages of a WebSocket (SPDY/3.1+portforward.k8s.io). The server's
 * side.
 *
 * Streams are worked with by spdy.h; after a turn of sending, spdy_link_flush. Callbacks of the streams may free the
 * link. `closed` comes once, when the other side has gone or broke the protocol; the owner still frees it. */
#pragma once
#include "wire/http_server.h"
#include "wire/spdy.h"

struct spdy_link;
struct spdy_link_fns {
    struct spdy_fns streams; /* spdy_arg gives `arg` */
    bool no_windows;         /* as in spdy_config */
    void (*drained)(void *arg);
    void (*closed)(void *arg);
};
bool spdy_link_wanted(const struct http_request *r); /* the request asks for SPDY/3.1 */
/* Both end the request in any case; NULL: it was answered, or is gone. The first takes the first protocol of
 * X-Stream-Protocol-Version that is among ours (NULL-terminated) and gives it in *chosen. */
struct spdy_link *spdy_link_accept(struct http_request *r, const char *const *ours, const char **chosen,
                                   const struct spdy_link_fns *fns, void *arg);
struct spdy_link *spdy_link_accept_websocket(struct http_request *r, const char *protocol,
                                             const struct spdy_link_fns *fns, void *arg);

struct spdy *spdy_link_session(const struct spdy_link *l);
void spdy_link_flush(struct spdy_link *l);
bool spdy_link_over_high(const struct spdy_link *l); /* wait for drained before sending more */
void spdy_link_pause(struct spdy_link *l, bool pause);
/* Frees once the other side has taken what is queued and gone, or takes nothing for a minute: who closes first while
 * the other still sends loses, by a reset, what is on its way to it. No callback comes after that. */
void spdy_link_finish(struct spdy_link *l);
void spdy_link_free(struct spdy_link *l); /* at once; NULL is fine */
