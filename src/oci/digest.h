/* digest.h - "sha256:" and 64 lower-case hex digits (OCI image-spec, descriptor.md). No other algorithm is taken. */
#pragma once
#include "base/err.h"
#include "sys/crypto.h"

#define DIGEST_HEX  64
#define DIGEST_TEXT (7 + DIGEST_HEX)

struct digest { /* by value; hex is NUL-terminated, empty: none */
    char hex[DIGEST_HEX + 1];
};
MUST_USE bool digest_parse(struct str text, struct digest *out, struct err *err); /* "sha256:HEX" */
bool digest_eq(const struct digest *a, const struct digest *b);
struct str digest_hex(const struct digest *d);

struct digest digest_end(struct sha256 *s); /* ends the sum */
struct digest digest_of(const void *p, size_t n);
