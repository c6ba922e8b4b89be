/* cert_int.h - what the files of cert_*.c share. */
#pragma once
#include "edge/cert_work.h"
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#define PEM_MOST (1u << 20) /* bytes of a chain, a store */

bool cert_failed(struct err *err, const char *what); /* with OpenSSL's reason; false */
BIO *cert_bio(struct str text);
void cert_bio_take(BIO *own_b, struct strbuf *out);
/* Bytes that a tree holds as they are, or as base64; in the arena. */
struct str cert_bytes(struct arena *a, const struct val *v);
void cert_set_bytes(struct arena *a, struct val *map, const char *name, struct str bytes);  /* of a Secret's data */
void cert_set_base64(struct arena *a, struct val *map, const char *name, struct str bytes); /* of a defined kind */

/* --- keys --- */
EVP_PKEY *cert_key_new(struct str algorithm, int64_t size, struct err *err);
EVP_PKEY *cert_key_parse(struct str pem, struct err *err);
void cert_key_pem(EVP_PKEY *k, bool pkcs1, struct strbuf *out);  /* PKCS#1 of RSA, SEC 1 of ECDSA; else PKCS#8 */
const EVP_MD *cert_digest_of(EVP_PKEY *k, struct str signature); /* NULL: the key's own (Ed25519) */

/* --- names --- */
X509_NAME *cert_subject(const struct val *spec, struct err *err);  /* of a Certificate's spec */
X509_NAME *cert_subject_literal(struct str text, struct err *err); /* RFC 4514, as written */
/* The extension of all alternative names of the spec; *out NULL: there are none. */
bool cert_sans(const struct val *spec, bool critical, X509_EXTENSION **out, struct err *err);
/* Key usages and extended ones by the words of the API, those of a CA, and the defaults where none are named. */
bool cert_usages(const struct val *usages, bool ca, STACK_OF(X509_EXTENSION) * to, struct err *err);
bool cert_constraints(const struct val *spec, STACK_OF(X509_EXTENSION) * to, struct err *err);

/* --- forms --- */
X509_REQ *cert_request_make(const struct val *spec, EVP_PKEY *k, struct err *err);
/* As cert_work's "sign": the leaf with those above it but a root, and the topmost. */
bool cert_sign(struct arena *a, const struct val *ask, struct strbuf *chain, struct strbuf *ca, struct err *err);
STACK_OF(X509) * cert_chain_read(struct str pem); /* as many as there are */
void cert_chain_pem(const STACK_OF(X509) * chain, struct strbuf *out);
bool cert_pkcs12(struct str password, struct str profile, EVP_PKEY *k, STACK_OF(X509) * chain, STACK_OF(X509) * ca,
                 struct strbuf *out, struct err *err); /* k NULL: a store of those that are trusted */
bool cert_jks(struct str password, struct str alias, EVP_PKEY *k, STACK_OF(X509) * chain, STACK_OF(X509) * ca,
              int64_t now_ms, struct strbuf *out, struct err *err);
