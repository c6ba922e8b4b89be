/* acme.h - ACME (RFC 8555) as the front door's role speaks it: one step at a time, each a run of wherry-job, which
 * gets a request and gives an answer, both a line of JSON of ours. What a server says is read in the job alone. Pure,
 * but for acme_run. */
#pragma once
#include "base/err.h"

#define ACME_IDENTIFIERS_MOST 250         /* of an order */
#define ACME_CHALLENGES_MOST  32          /* of an authorization; further ones are passed over */
#define ACME_URL_MOST         2048        /* bytes */
#define ACME_TEXT_MOST        (256 << 10) /* bytes of an answer of a server */
#define ACME_CHAIN_MOST       (512 << 10) /* of a chain */
#define ACME_LINE_MOST        (1 << 20)   /* of a request, of an answer of the job */

#define ACME_OPS(X)                                                                                                  \
    X(DIRECTORY, "directory")     /* what the server offers */                                                       \
    X(ACCOUNT, "account")         /* finds or makes the account of the key; its contact becomes `email` */           \
    X(REKEY, "rekey")             /* the account's key becomes new_key */                                            \
    X(ORDER, "order")             /* makes an order, or (url) looks at one; its authorizations, its certificate */   \
    X(CHALLENGE, "challenge")     /* says that `url` of `authorization` is prepared, or (look) only looks */         \
    X(FINALIZE, "finalize")       /* hands in csr at `url`, waits a little, looks at `order` */                      \
    X(REVOKE, "revoke")           /* the certificate */                                                              \
    X(RENEWAL, "renewal")         /* when the certificate `ari` had best be renewed (RFC 9773) */                    \
    X(DNS_PRESENT, "dns-present") /* adds a TXT record by RFC 2136 */                                                \
    X(DNS_CLEANUP, "dns-cleanup") /* removes it */                                                                   \
    X(DNS_TARGET, "dns-target")   /* where CNAME records lead from fqdn, and the zone of that */                     \
    X(DNS_LOOK, "dns-look")       /* whether every authoritative server has it */
enum acme_op {
#define X(name, text) ACME_##name,
    ACME_OPS(X)
#undef X
};

struct acme_identifier {
    bool ip; /* RFC 8738 */
    struct str value;
};
/* Texts that a step does not need are "". */
#define ACME_REQUEST_TEXTS(X)                                                                                        \
    X(directory) /* URL */                                                                                           \
    X(ca)        /* PEM of authorities to believe instead of the machine's */                                        \
    X(key)       /* of the account, PEM */                                                                           \
    X(account)   /* its URL */                                                                                       \
    X(email)                                                                                                         \
    X(eab_kid) /* external account binding: */                                                                       \
    X(eab_key) /* its MAC key, bytes as base64url */                                                                 \
    X(eab_alg) /* "HS256", "HS384", "HS512" */                                                                       \
    X(new_key) /* PEM */                                                                                             \
    X(url)                                                                                                           \
    X(authorization) /* URL */                                                                                       \
    X(order)         /* URL */                                                                                       \
    X(not_after)     /* RFC 3339 */                                                                                  \
    X(profile)                                                                                                       \
    X(replaces)    /* the certificate that the order takes the place of, as ARI names it */                          \
    X(csr)         /* PEM */                                                                                         \
    X(preferred)   /* common name of the authority that the chain is to lead to */                                   \
    X(certificate) /* PEM, to revoke */                                                                              \
    X(ari)                                                                                                           \
    X(nameserver) /* "192.0.2.1:53"; "": the machine's own, where one only asks */                                   \
    X(tsig_name)                                                                                                     \
    X(tsig_alg)    /* "HMACSHA256" */                                                                                \
    X(tsig_secret) /* base64, as key files have it */                                                                \
    X(fqdn)        /* of the record: "_acme-challenge.example.org" */                                                \
    X(value)
struct acme_request {
    enum acme_op op;
#define X(name) struct str name;
    ACME_REQUEST_TEXTS(X)
#undef X
    bool insecure; /* the server's certificate is not looked at */
    bool existing; /* an account is found, none is made */
    bool look;
    bool follow;    /* DNS: through CNAME records */
    bool tcp;       /* DNS: not by UDP */
    int64_t reason; /* of a revocation (RFC 5280 5.3.1) */
    struct acme_identifier *identifiers;
    size_t nidentifiers;
};
void acme_request_encode(const struct acme_request *r, struct strbuf *out); /* with a line's end */
MUST_USE bool acme_request_decode(struct arena *a, struct str text, struct acme_request *out, struct err *err);

struct acme_challenge {
    struct str type, url, token, status, error; /* token: base64url alone; error: the server's words */
};
struct acme_authorization {
    struct str url, status;
    struct acme_identifier identifier;
    bool wildcard;
    struct acme_challenge *challenges;
    size_t nchallenges;
};
#define ACME_ANSWER_TEXTS(X)                                                                                         \
    X(url)      /* of the account, of the order */                                                                   \
    X(status)   /* "valid", "pending", "ready", "processing", "invalid", ... */                                      \
    X(finalize) /* URL */                                                                                            \
    X(expires)                                                                                                       \
    X(chain)    /* PEM, the leaf first */                                                                            \
    X(why)      /* what became invalid, in the server's words */                                                     \
    X(terms)    /* of service, URL */                                                                                \
    X(profiles) /* their names, comma separated */                                                                   \
    X(target)   /* DNS: where CNAME records led */                                                                   \
    X(zone)                                                                                                          \
    X(start) /* RENEWAL: the window, RFC 3339 */                                                                     \
    X(end)                                                                                                           \
    X(explanation) /* URL */                                                                                         \
    X(type)        /* of a failure: "rateLimited", "badNonce" ..., the rest of urn:ietf:params:acme:error: */
struct acme_answer {
    struct err err; /* E_NONE: it went well. Else the server's sentence, or why there is none */
#define X(name) struct str name;
    ACME_ANSWER_TEXTS(X)
#undef X
    int64_t http;           /* status of the refusal; 0: the server gave no answer */
    int64_t retry_after_s;  /* what the server asked for; 0: nothing */
    bool eab_required, ari; /* DIRECTORY, ACCOUNT */
    struct acme_authorization *authorizations;
    size_t nauthorizations;
};
void acme_answer_encode(const struct acme_answer *r, struct strbuf *out); /* with a line's end */
/* What is no answer of the job becomes an error in it. */
void acme_answer_decode(struct arena *a, struct str text, struct acme_answer *out);

/* One step, to its end: straight-line, blocking, in the job alone. */
void acme_run(struct arena *a, const struct acme_request *r, struct acme_answer *out);
