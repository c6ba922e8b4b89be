/* http.h - what HTTP's versions have in common (RFC 9110): header fields, tokens, targets. */
#pragma once
#include "base/err.h"

struct http_header {
    struct str name, value; /* as sent; names are compared without case */
};
struct http_headers {
    struct http_header *p;
    size_t n, cap; /* in an arena */
};
struct str http_header(const struct http_headers *h, struct str name);                   /* the first; empty: none */
bool http_header_has(const struct http_headers *h, struct str name);                     /* even if empty */
bool http_header_token(const struct http_headers *h, struct str name, struct str token); /* in any of its lists */
/* The first of its lists' tokens that is one of ours (NULL-terminated); NULL: none is. */
const char *http_header_choose(const struct http_headers *h, struct str name, const char *const *ours);
void http_header_add(struct arena *a, struct http_headers *h, struct str name, struct str value); /* copies */
const char *http_reason(int status);                                                              /* "Not Found" */

/* "%41" to "A"; '+' stays. False: a bad escape or a NUL. */
MUST_USE bool http_unescape(struct arena *a, struct str s, struct str *out);
/* One after another of "a=1&b=x%20y"; '+' is a space here. False at the end or, with err, at a bad escape. */
bool http_query_next(struct arena *a, struct str *rest, struct str *name, struct str *value, struct err *err);
/* Adds the text with everything but unreserved characters escaped (RFC 3986 2.3). */
void http_escape(struct strbuf *b, struct str s);
