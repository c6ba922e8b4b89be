/* tls_int.h - what a stream needs of TLS. */
#pragma once
#include "sys/tls.h"
#include <openssl/ssl.h>

/* reads_left: how often the descriptor may be read, counted down; then reading waits (WANT_READ) although there may
 * be more. A record takes two. Borrowed for the life of the SSL, as the name: what the certificate must be for, an
 * address or a DNS name. alpn: instead of what the context says; NULL: that. */
SSL *tls_server_ssl(struct tls_server *t, int fd, int *reads_left) __attribute__((returns_nonnull));
SSL *tls_client_ssl(struct tls_client *t, int fd, int *reads_left, const char *name, const char *const *alpn,
                    struct err *err) MUST_USE;
/* Why a handshake, read or write failed, in words; `rc` as the call gave it. */
bool tls_failed(SSL *ssl, int rc, const char *what, struct err *err); /* false */
void tls_peer_of(SSL *ssl, struct arena *a, struct tls_peer *out);
struct str tls_alpn_of(const SSL *ssl); /* of the SSL; empty: nothing was agreed on */
/* Subject parts; shared with cert.c. */
bool x509_subject(X509 *x, struct arena *a, struct str *cn, struct str **orgs, size_t *norgs);
/* False: one of the texts holds a NUL, behind which others might not look; it is left out. */
bool x509_names(X509_NAME *name, struct arena *a, struct str *cn, struct str **orgs, size_t *norgs);
int64_t x509_time(const ASN1_TIME *t); /* real ns */
void x509_sha256hex(X509 *x, struct arena *a, struct str *out);
