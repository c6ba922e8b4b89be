/* front_watch.h - a watch over HTTP, or over a WebSocket, from its start to its end. The store's loop. */
#pragma once
#include "server/encode.h"
#include "server/negotiate.h"
#include "wire/http_server.h"

/* r: as of watching_start; its user is who is counted. From here on h is the watch's. False: r is answered with why
 * not, and h is the caller's. */
MUST_USE bool front_watch_start(struct request *r, struct http_request *h, const struct negotiated *form,
                                enum include include);
void front_watches_end(struct server *s); /* all of them, in order: their clients go on where they were */
