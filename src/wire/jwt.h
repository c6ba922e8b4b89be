/* jwt.h - JSON Web Tokens: compact JWS (RFC 7515, 7519) with ES256 and nothing else. Claims are JSON text, read and
 * written by whoever knows them. */
#pragma once
#include "base/err.h"
#include "sys/cert.h"

#define JWT_MOST 16384 /* bytes of a token */
/* Adds header.claims.signature; kid may be empty. */
MUST_USE bool jwt_sign(const struct cert_key *k, struct str kid, struct str claims, struct strbuf *out,
                       struct err *err);
/* Tokens whose signature was found good, by their SHA-256: most requests bring the token of the request before, and
 * the signature is most of what a small one costs. One key, one thread, as long as that key. */
struct jwt_seen {
    uint8_t good[256][32];
};
/* The claims of a token whose signature is good; E_UNAUTHORIZED otherwise. Times are the caller's to check. seen:
 * NULL, or where what was found good is remembered: its signature is not computed again. */
MUST_USE bool jwt_verify(struct arena *a, const struct cert_key *k, struct jwt_seen *seen, struct str token,
                         struct str *claims, struct err *err);
