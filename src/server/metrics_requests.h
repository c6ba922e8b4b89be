/* metrics_requests.h - requests over HTTP, counted by what they asked for, in the names and labels of upstream's API
 * server. The labels are the server's own words: a request for what is not served is counted without a resource, and
 * of more than REQUEST_SERIES_MOST combinations the rest is counted together. The store's loop. */
#pragma once
#include "api/kindset.h"
#include "wire/http_server.h"

#define REQUEST_SERIES_MOST 1000

struct request_counts;
struct request_counts *request_counts_new(void) __attribute__((returns_nonnull));
void request_counts_free(struct request_counts *c); /* NULL is fine */
void request_counts_began(struct request_counts *c, const struct http_request *h);
/* It answers for as long as somebody listens: counted now, and at its end no more. */
void request_counts_watch(struct request_counts *c, const struct kind_set *set, const struct http_request *h);
void request_counts_ended(struct request_counts *c, const struct kind_set *set, const struct http_request *h);
void request_counts_text(const struct request_counts *c, struct strbuf *out);
