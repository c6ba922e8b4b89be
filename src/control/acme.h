/* acme.h - certificates by ACME (RFC 8555), as cert-manager's objects ask for them: what is to be done next for an
 * Issuer, an Order, a Challenge or a Certificate, and what follows from how it went. Pure: the front door's role
 * (edge/acme_role.c) carries it out, as it may start programs; one step is a request to wherry-job and its answer. */
#pragma once
#include "control/plan.h"

/* --- one step with a server --- */

#define ACME_IDENTIFIERS_MOST 250         /* of an order */
#define ACME_CHALLENGES_MOST  32          /* of an authorization; further ones are passed over */
#define ACME_URL_MOST         2048        /* bytes */
#define ACME_TEXT_MOST        (256 << 10) /* bytes of an answer of a server */
#define ACME_CHAIN_MOST       (512 << 10) /* of a chain */

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

/* --- what is to be done --- */

/* Accounts' keys and other secrets of ClusterIssuers lie here, as with cert-manager; made where it is not there. */
#define ACME_CLUSTER_NS "cert-manager"
#define ACME_FINALIZER  "acme.cert-manager.io/finalizer"
/* On an Issuer or ClusterIssuer: its http01 solvers are answered over TLS, on port 443 (RFC 8737); on a Challenge the
 * same, whose type stays HTTP-01 as cert-manager knows no other. */
#define ACME_CHALLENGE_NOTE "wherry.dev/acme-challenge"
#define ACME_TLS_ALPN       "tls-alpn-01"
#define ACME_RENEW_AT_NOTE                                                                                           \
    "wherry.dev/renew-at" /* on a Certificate, RFC 3339: when its authority wants it renewed                         \
                           */
/* On an Issuer or ClusterIssuer: when a person asked for it; another one is tried at once, and told anew. */
#define ACME_ASKED_NOTE "wherry.dev/asked-at"
/* On an Issuer or ClusterIssuer: others of the same kind, comma separated, that are asked where it fails. */
#define ACME_FALLBACK_NOTE   "wherry.dev/fallback-issuers"
#define ACME_CHALLENGES_DONE 60 /* Challenges that are worked on at once */

extern const char acme_issuers[], acme_cluster_issuers[], acme_orders[], acme_challenges[], acme_certificates[],
    acme_certificate_requests[];

/* What is known besides the objects; "" and 0 where it is not. */
struct acme_facts {
    bool solved;        /* Challenge: the proxy answers for it */
    bool checked;       /* Challenge by DNS: is asked for at the zone's own servers before the authority is */
    size_t under_way;   /* Challenges that are worked on */
    struct str new_key; /* Issuer: PEM, for one that has no key */
    struct str
        old_key; /* Issuer: PEM, the one that its account has at the server, where the Secret holds another now */
    bool asked;  /* Issuer: somebody waits to be told, even if it is the same again */
    struct str key_hash;   /* Issuer: of the key in the Secret and the server */
    struct str thumbprint; /* Order: of the account's key */
    struct str replaces;   /* Order: the certificate that it takes the place of, as ARI names it */
    struct str ari;        /* Certificate: how ARI names it */
    const struct val *csr; /* CertificateRequest: what it asks for (control/x509.h); NULL: it cannot be read */
    struct str hook;       /* path of the administrator's program for DNS; "": there is none */
    /* SHA-256: this room has none. */
    void (*digest)(struct str text, uint8_t out[32]);
    int tries;          /* in a row that came to nothing */
    int64_t rest_until; /* the server asked for rest; ns since 1970 */
};
struct acme_todo {
    enum acme_how { ACME_NOTHING, ACME_BY_JOB, ACME_BY_WEBHOOK, ACME_BY_HOOK } how;
    struct acme_request request; /* BY_JOB; of the others DNS_PRESENT or DNS_CLEANUP with fqdn and value */
    struct str group, solver;    /* BY_WEBHOOK */
    struct str ns;               /* in which what its configuration names lies */
    struct str uid;              /* of the Challenge */
    const struct val *config;    /* borrowed */
    struct str dns_name;         /* without the star */
    struct str key;              /* of the Challenge */
};
/* What is to be done now for an object of one of the kinds above: writes in `out`, and/or one step. out->again: when
 * to look again, at the latest. */
void acme_plan(const struct view *v, const struct obj *o, const struct acme_facts *f, struct plan *out,
               struct acme_todo *todo);
/* The step was done; o as it is now. The writes that follow, and when to look again. */
void acme_heard(const struct view *v, const struct obj *o, const struct acme_facts *f, const struct acme_todo *did,
                const struct acme_answer *answer, struct plan *out);

/* The Issuer or ClusterIssuer that a spec's issuerRef names, where it is one for ACME; NULL: it is not there, or of
 * another kind. */
struct obj *acme_issuer_of(const struct view *v, struct str ns, const struct val *spec);
struct str acme_secret_ns(const struct obj *issuer);
/* The name of the Secret with the account's key, and the key of its data. */
struct str acme_key_secret(const struct obj *issuer, struct str *key);
/* All Secrets (in acme_secret_ns) that an issuer names: of its account, of its solvers. */
void acme_secrets_each(const struct obj *issuer, void (*fn)(void *arg, struct str name), void *arg);
/* What the door answers for a Challenge that is worked on by HTTP or TLS. */
struct acme_solving {
    struct str host, path, body; /* http-01 */
    bool alpn;                   /* over TLS instead: host, and the digest of body in the certificate */
};
bool acme_solving_of(struct arena *a, const struct obj *challenge, struct acme_solving *out); /* false: nothing */
