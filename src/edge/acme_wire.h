/* acme_wire.h - what is said to an ACME server, and reading what it says. Pure. */
#pragma once
#include "edge/acme.h"
#include "sys/jws.h"

/* --- said --- */

/* A request's body: a flattened JWS of the payload ("" : POST-as-GET). account "": with the key itself in it. */
MUST_USE bool acme_jws(const struct jws_key *k, struct str account, struct str nonce, struct str url,
                       struct str payload, struct strbuf *out, struct err *err);
void acme_payload_account(struct arena *a, const struct acme_request *r, struct str binding, struct strbuf *out);
/* The external account binding of RFC 8555 7.3.4: a JWS of the account's key under the MAC key. */
MUST_USE bool acme_binding(const struct jws_key *k, const struct acme_request *r, struct str url, struct strbuf *out,
                           struct err *err);
/* The inner JWS of a change of the key (7.3.5), signed by the new one. */
MUST_USE bool acme_payload_rekey(const struct jws_key *old, const struct jws_key *new_key, struct str account,
                                 struct str url, struct strbuf *out, struct err *err);
void acme_payload_order(const struct acme_request *r, struct strbuf *out);
/* csr, certificate: PEM, whose first block is handed in as DER. */
MUST_USE bool acme_payload_finalize(struct str csr, struct strbuf *out, struct err *err);
MUST_USE bool acme_payload_revoke(struct str certificate, int64_t reason, struct strbuf *out, struct err *err);

/* The name that a server asks for in TLS (tls-alpn-01): of an address its reverse one (RFC 8738 6). */
struct str acme_sni(struct arena *a, struct str host);

/* --- read; texts in the arena --- */

#define ACME_PLACES(X) X(newNonce) X(newAccount) X(newOrder) X(revokeCert) X(keyChange) X(renewalInfo)
struct acme_directory {
#define X(name) struct str name;
    ACME_PLACES(X)
#undef X
    struct str terms, profiles;
    bool eab_required;
};
MUST_USE bool acme_url_ok(struct str url);     /* https, printable, not too long */
MUST_USE bool acme_base64url_ok(struct str s); /* a nonce, a token: its letters alone, not too long */
MUST_USE bool acme_directory_read(struct arena *a, struct str text, struct acme_directory *out, struct err *err);
struct acme_order {
    struct str status, finalize, certificate, expires, error;
    struct str *authorizations;
    size_t nauthorizations;
};
MUST_USE bool acme_order_read(struct arena *a, struct str text, struct acme_order *out, struct err *err);
MUST_USE bool acme_authorization_read(struct arena *a, struct str text, struct acme_authorization *out,
                                      struct err *err);
MUST_USE bool acme_account_read(struct arena *a, struct str text, struct str *status, struct str *email,
                                struct err *err);
MUST_USE bool acme_renewal_read(struct arena *a, struct str text, struct acme_answer *out, struct err *err);
/* A refusal: the problem document (RFC 7807, with subproblems), or what there is of words. Fills err, type, http. */
void acme_problem_read(struct arena *a, struct str text, int http, struct acme_answer *out);
/* The target of a Link header with this rel ("alternate"); "": it is another. */
struct str acme_link(struct str header, struct str rel);
/* Retry-After: seconds, or a date of HTTP; at most a month. `now`: ns since 1970. 0: it is neither, or over. */
int64_t acme_retry_after(struct str header, int64_t now);
/* Whether a chain (PEM) leads to the authority of that common name: the issuer of its last certificate. */
bool acme_chain_leads(struct arena *a, struct str pem, struct str authority);
/* Whether it is certificates in PEM and nothing else; how many. 0: it is not. */
size_t acme_chain_check(struct arena *a, struct str pem);
