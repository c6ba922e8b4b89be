/* gzip.h - text made small for the way (RFC 1952), at zlib's fastest. Pure. */
#pragma once
#include "base/err.h"

void gzip_add(struct strbuf *b, struct str plain);
/* The same piece by piece: each adds what is ready to `b`, the last one the rest. */
struct gzip;
struct gzip *gzip_new(void) __attribute__((returns_nonnull));
void gzip_piece(struct gzip *g, struct strbuf *b, struct str plain, bool last);
void gzip_free(struct gzip *g); /* NULL is fine */
AUTO_POINTER(gzip_free, struct gzip);
/* Whether an Accept-Encoding takes it (RFC 9110 12.5.3). */
bool gzip_accepted(struct str accept_encoding);
