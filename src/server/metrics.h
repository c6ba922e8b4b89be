/* metrics.h - what the server counts, and /metrics in Prometheus' text format. The store's loop. */
#pragma once
#include "server/int.h"

struct metrics;
struct metrics *metrics_new(void) __attribute__((returns_nonnull));
void metrics_free(struct metrics *m);
void metrics_request(struct server *s, const struct http_request *h); /* one has ended */
void metrics_request_began(struct server *s, const struct http_request *h);
void metrics_watch_began(struct server *s, const struct http_request *h); /* before what was asked is forgotten */
void metrics_watches(struct server *s, int change);
void metrics_text(struct server *s, struct strbuf *out);
