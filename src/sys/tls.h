/* tls.h - TLS 1.2 and 1.3 for streams: what a server shows, what a client trusts. A context is used by one loop's
 * streams; all texts are PEM and copied. Errors say in words what is wrong with a certificate. */
#pragma once
#include "base/err.h"

struct tls_server_config {
    struct str cert, key;    /* the serving certificate with its chain, and its key */
    struct str client_ca;    /* empty: no client certificate is asked for; else one is asked for and may be missing */
    const char *const *alpn; /* in order of preference, NULL-terminated; NULL: none spoken. Borrowed */
};
struct tls_server;
struct tls_server *tls_server_new(const struct tls_server_config *c, struct err *err) MUST_USE;
/* New connections see the new certificate, standing ones keep theirs. False: nothing has changed. */
MUST_USE bool tls_server_reload(struct tls_server *t, const struct tls_server_config *c, struct err *err);
void tls_server_free(struct tls_server *t); /* after its streams; NULL is fine */
AUTO_POINTER(tls_server_free, struct tls_server);

#define TLS_NOT_SPOKEN "the other side does not speak TLS here" /* in the text of such a failure */

struct tls_client_config {
    struct str ca;           /* empty: the system's */
    struct str cert, key;    /* empty: none shown */
    bool insecure;           /* trust whoever answers */
    const char *const *alpn; /* as above */
};
struct tls_client;
struct tls_client *tls_client_new(const struct tls_client_config *c, struct err *err) MUST_USE;
void tls_client_free(struct tls_client *t); /* after its streams; NULL is fine */
AUTO_POINTER(tls_client_free, struct tls_client);

/* Who is at the other end, from the certificate it showed (RFC 5280 subject). */
struct tls_peer {
    bool shown;         /* there is one */
    bool verified;      /* and it is signed by who we trust, in its time, and for this use */
    struct str problem; /* why it is not verified, in words */
    struct str cn;      /* subject CN: in Kubernetes the user */
    struct str *orgs;   /* subject O: the groups */
    size_t norgs;
    int64_t not_after;    /* real ns */
    struct str sha256hex; /* of the certificate's DER */
};
