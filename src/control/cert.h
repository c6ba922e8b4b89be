/* cert.h - what the controllers of cert-manager.io share: its kinds by the names of their definitions, its
 * annotations, references to issuers, and what a Certificate asks of keys, requests and certificates. Pure. The
 * behaviour is that of cert-manager: pkg/controller/certificates, certificaterequests, issuers. */
#pragma once
#include "control/manager.h"

#define CERTS           "certificates.cert-manager.io"
#define CERT_REQUESTS   "certificaterequests.cert-manager.io"
#define ISSUERS         "issuers.cert-manager.io"
#define CLUSTER_ISSUERS "clusterissuers.cert-manager.io"
#define ORDERS          "orders.acme.cert-manager.io"
#define CERT_GROUP      "cert-manager.io"
/* Where a ClusterIssuer's Secrets are: cert-manager's --cluster-resource-namespace, whose own default is the
 * namespace that it is installed in. */
#define CERT_NAMESPACE "cert-manager"

#define NOTE_CERT          "cert-manager.io/certificate-name"
#define NOTE_REVISION      "cert-manager.io/certificate-revision"
#define NOTE_KEY_SECRET    "cert-manager.io/private-key-secret-name"
#define NOTE_ISSUER        "cert-manager.io/issuer-name"
#define NOTE_ISSUER_KIND   "cert-manager.io/issuer-kind"
#define NOTE_ISSUER_GROUP  "cert-manager.io/issuer-group"
#define NOTE_TEMPORARY     "cert-manager.io/issue-temporary-certificate"
#define NOTE_CN            "cert-manager.io/common-name"
#define NOTE_ALT           "cert-manager.io/alt-names"
#define NOTE_IPS           "cert-manager.io/ip-sans"
#define NOTE_URIS          "cert-manager.io/uri-sans"
#define NOTE_EMAILS        "cert-manager.io/email-sans"
#define LABEL_NEXT_KEY     "cert-manager.io/next-private-key"
#define LABEL_CERT_MANAGER "controller.cert-manager.io/fao"

/* Nothing is to be done now: kinds have come whose objects are not in yet, or a cert-manager of the user's own runs
 * here (cert_other.h). The plan is made again later. */
bool cert_waits(const struct view *v, struct plan *out);

/* --- reading --- */

const struct val *cert_field(const struct val *v, const char *name);
struct str cert_text(const struct val *v, const char *name);
/* The bytes of a Secret's member; "": it has none. */
struct str secret_bytes(const struct obj *secret, const char *member);
/* What a defined kind has in base64; "" where it is none. */
struct str cert_base64(struct arena *a, const struct val *v);
bool cert_duration(const struct val *v, int64_t *ns); /* of a Go duration */
/* The revision that a CertificateRequest is for; 0: it says none. */
int64_t cert_revision(const struct obj *request);
bool cert_facts(const struct view *v, struct arena *a, enum x509_what what, struct str text, struct val *facts,
                struct err *err);
bool owned_by(const struct obj *o, const struct obj *owner); /* is its controller, by uid */

struct cert_issuer {
    struct str name, kind, group; /* with the defaults: Issuer, cert-manager.io */
};
struct cert_issuer cert_issuer_of(const struct val *spec);
bool cert_issuer_same(const struct cert_issuer *a, const struct cert_issuer *b);
const struct obj *cert_issuer_find(const struct view *v, struct str ns, const struct cert_issuer *i);
const char *
cert_issuer_type(const struct obj *issuer); /* "acme", "ca", "selfSigned", "vault", "venafi"; NULL: none */
/* Where the Secrets are that it names. */
struct str cert_issuer_namespace(const struct obj *issuer);

/* --- indexes --- */

extern const struct objindex index_cert_secret;    /* Certificates: NS/NAME of Secrets that they write or read */
extern const struct objindex index_cert_issuer;    /* CertificateRequests: GROUP/KIND/NAME of their issuer */
extern const struct objindex index_issuer_secret;  /* Issuers of either kind: NS/NAME of the Secret of a CA */
extern const struct objindex index_request_secret; /* CertificateRequests: NS/NAME of the Secret of their key */
struct str cert_issuer_key(struct strbuf *b, const struct cert_issuer *i);

/* --- what a Certificate asks --- */

/* The fields of the spec that it does not fit, as "[spec.dnsNames spec.usages]"; "": it fits. */
struct str cert_key_misfits(struct arena *a, const struct val *spec, const struct val *key_facts);
/* False: its spec.request, or the literal subject, cannot be read. */
bool cert_request_misfits(const struct view *v, struct arena *a, const struct val *spec, const struct obj *request,
                          struct str *out);
struct str cert_names_misfit(struct arena *a, const struct val *spec, const struct val *facts);
/* When it is to be renewed, ns since 1970; 0: never (renewal.policy Disabled). False: windows that cannot be met or
 * read; *out is the time without them. */
bool cert_renewal_time(const struct view *v, const struct val *spec, int64_t from, int64_t to, int64_t *out,
                       struct err *err);
/* Another list that has the same texts, in whatever order. */
bool cert_lists_same(const struct val *a, const struct val *b);

/* --- conditions --- */

/* In its place among the others, with observedGeneration where `generation` is not 0. */
void cert_condition(struct arena *a, struct val *status, const char *type, const char *state, const char *reason,
                    struct str message, int64_t generation, int64_t now);
/* The same condition, whenever it came to be. */
/* Whether a CertificateSigningRequest names a signer that is built in (csr.c). */
bool csr_signed_here(const struct obj *csr);
bool cert_condition_says(const struct val *status, const char *type, const char *state, struct str reason,
                         struct str message);

/* --- Secrets of Certificates (cert_secret.c) --- */

struct cert_data { /* PEM */
    struct str key, chain, ca;
};
/* Writes the pair into spec.secretName, with everything else that the Certificate wants there. False: what a key
 * store needs is not there; *why. */
bool cert_secret_write(const struct view *v, const struct obj *cert, const struct obj *have,
                       const struct cert_data *d, const struct cert_issuer *issuer, struct plan *out,
                       struct action **made, struct str *why);
/* What is there is kept as the Certificate wants it: labels, annotations, further forms. */
bool cert_secret_keep(const struct view *v, const struct obj *cert, const struct obj *have, const struct val *facts,
                      struct plan *out, struct str *why);
/* It is another's: of a controller that is not the Certificate. */
bool cert_secret_foreign(const struct obj *secret, const struct obj *cert);
