/* jws.h - the keys of ACME accounts and what is signed with them: JSON Web Keys (RFC 7517, 7518, 8037), thumbprints
 * (RFC 7638), signatures of a JWS (RFC 7515), MACs; and the certificates that ACME asks questions with and about. */
#pragma once
#include "base/err.h"

/* A private key of any kind that signs: EC P-256, P-384 or P-521, RSA of 2048 to 8192 bits, Ed25519. */
struct jws_key;
struct jws_key *jws_key_parse(struct str pem, struct err *err) MUST_USE; /* PKCS#8, SEC1 or PKCS#1, unencrypted */
void jws_key_free(struct jws_key *k);
AUTO_POINTER(jws_key_free, struct jws_key);
const char *jws_alg(const struct jws_key *k); /* "ES256", "ES384", "ES512", "RS256", "EdDSA" */
/* The public half, its members in the order that a thumbprint is made of, without spaces. */
void jws_jwk(const struct jws_key *k, struct strbuf *out);
void jws_thumbprint(const struct jws_key *k, struct strbuf *out); /* base64url of SHA-256 of that */
/* The raw signature as a JWS carries it. */
MUST_USE bool jws_sign(const struct jws_key *k, struct str data, struct strbuf *out, struct err *err);

enum mac { MAC_MD5, MAC_SHA1, MAC_SHA224, MAC_SHA256, MAC_SHA384, MAC_SHA512 };
#define MAC_MOST 64
size_t hmac_of(enum mac m, struct str key, struct str data, uint8_t out[MAC_MOST]); /* how long it is */

/* A certificate that answers tls-alpn-01 (RFC 8737 3): signed by itself, for this host or address alone, with the
 * digest of the key authorization in a critical extension. Adds PEM. */
MUST_USE bool cert_make_alpn(struct str host, const uint8_t digest[32], struct strbuf *chain, struct strbuf *key,
                             struct err *err);
/* How ARI names a certificate (RFC 9773 4.1): base64url of its authority's key identifier, '.', of its serial. False:
 * it has no such identifier. */
MUST_USE bool cert_ari_id(struct str pem, struct strbuf *out, struct err *err);
