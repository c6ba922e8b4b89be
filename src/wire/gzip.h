/* gzip.h - text made small for the way (RFC 1952), at zlib's fastest. Pure. */
#pragma once
#include "base/err.h"

void gzip_add(struct strbuf *b, struct str plain);
/* Whether an Accept-Encoding takes it (RFC 9110 12.5.3). */
bool gzip_accepted(struct str accept_encoding);
