/* cert.h - keys and certificates: EC P-256 keys, X.509 v3 (RFC 5280), PEM. */
#pragma once
#include "base/err.h"

struct cert_key;                                                             /* a private key, or a public one */
struct cert_key *key_new(void) __attribute__((returns_nonnull));             /* P-256 */
struct cert_key *key_parse(struct str pem, struct err *err) MUST_USE;        /* private: PKCS#8 or SEC1 */
struct cert_key *key_parse_public(struct str pem, struct err *err) MUST_USE; /* "PUBLIC KEY", or of a certificate */
void key_pem(const struct cert_key *k, struct strbuf *out);                  /* PKCS#8 */
void key_pem_public(const struct cert_key *k, struct strbuf *out);           /* SubjectPublicKeyInfo */
void key_free(struct cert_key *k);
AUTO_POINTER(key_free, struct cert_key);
/* The point, for a JWK (RFC 7518 6.2): 32 bytes each. False: not P-256. */
MUST_USE bool key_point(const struct cert_key *k, uint8_t x[32], uint8_t y[32]);
/* ES256 (RFC 7518 3.4): ECDSA over P-256 with SHA-256, r and s of 32 bytes each. */
#define ES256_SIZE 64
MUST_USE bool key_sign(const struct cert_key *k, struct str data, uint8_t out[ES256_SIZE], struct err *err);
bool key_verify(const struct cert_key *k, struct str data, struct str signature);

struct cert_spec {
    struct str cn;          /* of the subject; 1 to 1024 bytes of UTF-8, as each of orgs */
    const struct str *orgs; /* subject O */
    size_t norgs;
    const struct str *dns; /* subject alternative names */
    size_t ndns;
    const struct str *ips; /* the same, addresses as text */
    size_t nips;
    bool ca, server, client;       /* basic constraints; extended key usage */
    int64_t not_before, not_after; /* real ns; whole seconds are kept. not_before 0: five minutes ago */
};
/* Adds PEM. issuer and issuer_key NULL/empty: signs itself. */
MUST_USE bool cert_make(const struct cert_spec *spec, const struct cert_key *subject, struct str issuer_pem,
                        const struct cert_key *issuer_key, struct strbuf *out, struct err *err);

struct cert_info {
    struct str cn, issuer_cn;
    struct str *orgs, *dns, *ips;
    size_t norgs, ndns, nips;
    int64_t not_before, not_after; /* real ns */
    bool ca;
    struct str serial_hex, sha256hex; /* sha256 of the DER */
};
/* The first certificate of the PEM; texts in the arena. */
MUST_USE bool cert_read(struct arena *a, struct str pem, struct cert_info *out, struct err *err);
/* The organizations (subject O) of all certificate requests in the PEM, whichever of them a signer takes; texts in
 * the arena. False: there is none, or one that cannot be read. */
MUST_USE bool request_orgs(struct arena *a, struct str pem, struct str **orgs, size_t *norgs, struct err *err);
/* What a TLS server is given: all certificates of the PEM, its own first, and its key (private "": certificates
 * alone), written anew without whatever else stands in the two. False: they cannot be read, do not belong together,
 * or are too weak for TLS here (RSA of 1024 bits, SHA-1). */
MUST_USE bool cert_serves(struct str pem, struct str private, struct strbuf *chain, struct strbuf *key,
                          struct err *err);
/* Whether the key belongs to the certificate. */
MUST_USE bool cert_fits_key(struct str cert_pem, const struct cert_key *k, struct err *err);
