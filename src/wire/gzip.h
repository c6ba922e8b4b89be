/* gzip.h - text made small: for the way (RFC 1952), at zlib's fastest, and to be kept. Pure. */
#pragma once
#include "base/err.h"

void gzip_add(struct strbuf *b, struct str plain);
/* The same piece by piece: each adds what is ready to `b`, the last one the rest. */
struct gzip;
struct gzip *gzip_new(void) __attribute__((returns_nonnull));
void gzip_piece(struct gzip *g, struct strbuf *b, struct str plain, bool last);
void gzip_free(struct gzip *g); /* NULL is fine */
AUTO_POINTER(gzip_free, struct gzip);
/* And back: piece by piece what was sent so. False: that is no such thing, or b is over. */
struct gunzip;
struct gunzip *gunzip_new(void) __attribute__((returns_nonnull));
MUST_USE bool gunzip_piece(struct gunzip *g, struct strbuf *b, struct str small);
void gunzip_free(struct gunzip *g); /* NULL is fine */
/* The bare form (RFC 1951), for what is kept small here: a little slower and smaller. How long the text was, who
 * keeps it must know; false: that was no such thing. */
void deflate_add(struct strbuf *b, struct str plain);
MUST_USE bool inflate_add(struct strbuf *b, struct str deflated, size_t plain);
/* Whether an Accept-Encoding takes it (RFC 9110 12.5.3). */
bool gzip_accepted(struct str accept_encoding);
