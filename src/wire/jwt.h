/* jwt.h - JSON Web Tokens: compact JWS (RFC 7515, 7519) with ES256 and nothing else. Claims are JSON text, read and
 * written by whoever knows them. */
#pragma once
#include "base/err.h"
#include "sys/cert.h"

#define JWT_MOST 16384 /* bytes of a token */
/* Adds header.claims.signature; kid may be empty. */
MUST_USE bool jwt_sign(const struct cert_key *k, struct str kid, struct str claims, struct strbuf *out,
                       struct err *err);
/* What a token says before anything is believed: the key id (empty: none), to choose the key by. Text in the arena.
 */
MUST_USE bool jwt_kid(struct arena *a, struct str token, struct str *kid, struct err *err);
/* The claims of a token whose signature is good; E_UNAUTHORIZED otherwise. Times are the caller's to check. */
MUST_USE bool jwt_verify(struct arena *a, const struct cert_key *k, struct str token, struct str *claims,
                         struct err *err);

/* Tokens whose signature was found good, by their SHA-256: most requests bring the token of the request before, and
 * the signature is most of what a small one costs. One key, one thread, as long as that key. */
struct jwt_seen {
    uint8_t good[256][32];
};
/* As jwt_verify with the same key each time; the signature of a token in `seen` is not computed again. */
MUST_USE bool jwt_verify_seen(struct arena *a, const struct cert_key *k, struct jwt_seen *seen, struct str token,
                              struct str *claims, struct err *err);
