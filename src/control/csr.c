/* CertificateSigningRequests: once somebody has approved one, it is signed by the cluster's certificate authority, if
 * it names one of the signers that are built in and asks for what these give; and all go when they are old (upstream:
 * pkg/controller/certificates/signer, cleaner). Requests to other signers are left to those. */
#include "control/cert.h"

enum {
    SECONDS_DEFAULT = 365 * 86400,
    SECONDS_LEAST = 600,
    SECONDS_SHORT = 8 * 3600, /* a shorter life is given in full, whatever it begins before now */
    SECONDS_BEFORE = 300      /* so much a certificate begins before now, for clocks that are late */
};
#define AFTER_ANSWER (3600 * NS_PER_S)
#define AFTER_WAIT   (24 * 3600 * NS_PER_S)

static const struct val *csr_conditions(const struct obj *csr)
{
    return val_get(obj_status(csr), N(conditions));
}

static struct str csr_certificate(const struct obj *csr)
{
    return val_raw(val_get(obj_status(csr), N(certificate)));
}

/* --- how long one stays --- */

static void ends_by(int64_t *ends, struct str since, int64_t after)
{
    int64_t at;
    if (time_parse(since, &at) && (!*ends || at + after < *ends))
        *ends = at + after;
}

/* ns since 1970; 0: it stays. */
static int64_t csr_end(const struct view *v, struct arena *a, const struct obj *csr)
{
    const struct val *conditions = csr_conditions(csr);
    struct str certificate = csr_certificate(csr);
    struct val facts;
    struct err ignored = ERR; /* what cannot be read does not expire */
    int64_t ends = 0;
    if (!val_len(conditions))
        ends_by(&ends, val_text_at(&csr->tree, N(metadata), N(creationTimestamp)), AFTER_WAIT);
    val_each_item (c, conditions) {
        struct str type = val_text_at(c, N(type)), since = val_text_at(c, N(lastUpdateTime));
        bool approved = str_eqz(type, "Approved");
        ends_by(&ends, since, approved && !certificate.n ? AFTER_WAIT : AFTER_ANSWER);
        if (approved && certificate.n && cert_facts(v, a, X509_CERTIFICATE, certificate, &facts, &ignored)) {
            int64_t over = val_num(val_get_str(&facts, S("notAfter")), 0);
            ends = over && over < ends ? over : ends;
        }
    }
    return ends;
}

/* --- what each signer gives --- */

struct csr_asked {
    struct arena *a;
    const struct val *usages, *facts; /* facts: of the request, as in x509.h */
};

static bool usages_are(const struct csr_asked *r, const char *last)
{
    bool encipherment = val_has_text(r->usages, S("key encipherment"));
    return val_has_text(r->usages, S("digital signature")) && val_has_text(r->usages, str_of(last)) &&
           val_len(r->usages) == (encipherment ? 3 : 2);
}

static bool is_of_nodes(const struct csr_asked *r)
{
    const struct val *orgs = val_get_str(val_get_str(r->facts, S("subject")), S("organizations"));
    return val_len(orgs) == 1 && val_has_text(orgs, S("system:nodes"));
}

static bool csr_has(const struct csr_asked *r, const char *what)
{
    return val_len(val_get_str(r->facts, str_of(what)));
}

static bool is_named_as_node(const struct csr_asked *r)
{
    return str_starts(val_text(val_get_str(r->facts, S("commonName"))), S("system:node:"));
}

/* Each says what is wrong; "": nothing. */
static struct str client_misfit(const struct csr_asked *r)
{
    val_each_item (u, r->usages)
        if (!str_eqz(val_text(u), "digital signature") && !str_eqz(val_text(u), "key encipherment") &&
            !str_eqz(val_text(u), "client auth"))
            return arena_fmt(r->a, "invalid usage for client certificate: " STR_FMT, STR_ARG(val_text(u)));
    return val_has_text(r->usages, S("client auth"))
               ? S("")
               : S("missing required usage for client certificate: client auth");
}

static struct str kubelet_client_misfit(const struct csr_asked *r)
{
    return !is_of_nodes(r)                ? S("subject organization is not system:nodes")
           : csr_has(r, "dnsNames")       ? S("DNS subjectAltNames are not allowed")
           : csr_has(r, "emailAddresses") ? S("Email subjectAltNames are not allowed")
           : csr_has(r, "ipAddresses")    ? S("IP subjectAltNames are not allowed")
           : csr_has(r, "uris")           ? S("URI subjectAltNames are not allowed")
           : !is_named_as_node(r)         ? S("subject common name does not begin with system:node:")
           : !usages_are(r, "client auth")
               ? S("usages did not match [client auth digital signature key encipherment]")
               : S("");
}

static struct str kubelet_serving_misfit(const struct csr_asked *r)
{
    return !is_of_nodes(r)                                         ? S("subject organization is not system:nodes")
           : !csr_has(r, "dnsNames") && !csr_has(r, "ipAddresses") ? S("DNS or IP subjectAltName is required")
           : csr_has(r, "emailAddresses")                          ? S("Email subjectAltNames are not allowed")
           : csr_has(r, "uris")                                    ? S("URI subjectAltNames are not allowed")
           : !usages_are(r, "server auth")
               ? S("usages did not match [digital signature key encipherment server auth]")
           : !is_named_as_node(r) ? S("subject common name does not begin with system:node:")
                                  : S("");
}

static const struct csr_signer {
    const char *name;
    struct str (*misfit)(const struct csr_asked *r);
} signers[] = {
    {"kubernetes.io/kube-apiserver-client", client_misfit},
    {"kubernetes.io/kube-apiserver-client-kubelet", kubelet_client_misfit},
    {"kubernetes.io/kubelet-serving", kubelet_serving_misfit},
};

static const struct csr_signer *csr_signer_of(const struct obj *csr)
{
    for (size_t i = 0; i < countof(signers); i++)
        if (str_eqz(val_text_at(obj_spec(csr), N(signerName)), signers[i].name))
            return &signers[i];
    return NULL;
}

bool csr_signed_here(const struct obj *csr)
{
    return csr_signer_of(csr);
}

/* --- signing --- */

static void csr_fail(const struct view *v, const struct obj *csr, struct str why, struct plan *out)
{
    struct val tree = plan_edit(out, csr), *status = val_need_map(&out->arena, &tree, N(status));
    struct val *conditions = val_get_mut(status, N(conditions)); /* it was approved, so there are some */
    struct val *c = val_add(&out->arena, conditions, val_map());
    struct str now = time_text(&out->arena, v->now);
    val_set_text(&out->arena, c, N(type), S("Failed"));
    val_set_text(&out->arena, c, N(status), S("True"));
    val_set_text(&out->arena, c, N(reason), S("SignerValidationFailure"));
    val_set_text(&out->arena, c, N(message), why);
    val_set_text(&out->arena, c, N(lastUpdateTime), now);
    val_set_text(&out->arena, c, N(lastTransitionTime), now);
    plan_update(out, csr, S("status"), tree);
}

static int64_t csr_seconds(const struct val *spec)
{
    int64_t wanted = val_num_at(spec, SECONDS_DEFAULT, N(expirationSeconds));
    int64_t given = MIN(MAX(wanted, SECONDS_LEAST), SECONDS_DEFAULT);
    return given < SECONDS_SHORT ? given : given - SECONDS_BEFORE;
}

static void csr_sign(const struct obj *csr, struct plan *out)
{
    struct arena *a = &out->arena;
    const struct val *spec = obj_spec(csr);
    struct val tree = plan_edit(out, csr), ask = val_map();
    val_set_str(a, &ask, S("do"), val_str_borrowed(S("sign-csr")));
    val_set_str(a, &ask, S("request"), val_bytes(a, val_raw(val_get(spec, N(request)))));
    val_set_str(a, &ask, S("usages"), val_copy(a, val_get(spec, N(usages))));
    val_set_str(a, &ask, S("seconds"), val_int(csr_seconds(spec)));
    val_set_str(a, &ask, S("before"), val_int(SECONDS_BEFORE));
    val_need_map(a, &tree, N(status));
    (void)plan_update_worked(out, csr, S("status"), tree, ask);
}

static void csr_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *csr = view_get(v, K(CertificateSigningRequest), key.ns, key.name);
    struct err err = ERR;
    struct val facts;
    if (!csr || obj_deleting(csr))
        return;
    const struct val *status = obj_status(csr);
    int64_t ends = csr_end(v, &out->arena, csr);
    if (ends && v->now > ends) {
        plan_delete(out, csr);
        return;
    }
    if (ends)
        plan_again(out, ends + 1);
    const struct csr_signer *signer = csr_signer_of(csr);
    bool open = condition_is(status, "Approved", "True") && !condition_is(status, "Denied", "True") &&
                !condition_is(status, "Failed", "True") && !csr_certificate(csr).n;
    if (!open || !signer)
        return;
    struct csr_asked asked = {.a = &out->arena, .usages = val_get(obj_spec(csr), N(usages)), .facts = &facts};
    if (!cert_facts(v, &out->arena, X509_REQUEST, val_raw(val_get(obj_spec(csr), N(request))), &facts, &err)) {
        plan_why(out, "unable to parse csr: %s", err.text);
        return;
    }
    struct str wrong = signer->misfit(&asked);
    if (wrong.n)
        csr_fail(v, csr, wrong, out);
    else
        csr_sign(csr, out);
}

static const struct controller_watch watches[] = {{K(CertificateSigningRequest), keys_self}, {0}};
const struct controller csr_controller = {
    .name = "csr",
    .component = "certificate-controller",
    .account = "certificate-controller",
    .watches = watches,
    .plan = csr_plan,
};
