/* validate_certificates.c - CertificateSigningRequest: what is asked, and who may write which part of the answer. */
#include "api/rules_int.h"

#define LEGACY_SIGNER "kubernetes.io/legacy-unknown"

static const char *const usages[] = {"any",
                                     "cert sign",
                                     "client auth",
                                     "code signing",
                                     "content commitment",
                                     "crl sign",
                                     "data encipherment",
                                     "decipher only",
                                     "digital signature",
                                     "email protection",
                                     "encipher only",
                                     "ipsec end system",
                                     "ipsec tunnel",
                                     "ipsec user",
                                     "key agreement",
                                     "key encipherment",
                                     "microsoft sgc",
                                     "netscape sgc",
                                     "ocsp signing",
                                     "s/mime",
                                     "server auth",
                                     "signing",
                                     "timestamping",
                                     NULL};

/* A PEM block of this kind is in it. Its DER is the signer's to read. */
static bool has_block(struct str pem, const char *kind)
{
    char begin[64], end[64];
    (void)snprintf(begin, sizeof begin, "-----BEGIN %s-----", kind);
    (void)snprintf(end, sizeof end, "-----END %s-----", kind);
    const char *from = pem.n ? memmem(pem.p, pem.n, begin, strlen(begin)) : NULL;
    return from && memmem(from, (size_t)(pem.p + pem.n - from), end, strlen(end));
}

/* Each part between dots. */
static void check_labels_of(ERRS, struct str name, format_fn *format)
{
    struct str rest = name, label;
    while (str_cut(&rest, '.', &label)) {
        struct complaints c = COMPLAINTS(e->arena);
        format(&c, label);
        if (c.n)
            bad_text(e, at, name, "validating label \"" STR_FMT "\": " STR_FMT, STR_ARG(label), STR_ARG(c.texts[0]));
    }
}

static void check_signer(ERRS, struct str name)
{
    struct str domain, path;
    if (name.n == 0)
        return bad_required(e, at, "");
    if (!str_split(name, '/', &domain, &path) || str_find_char(path, '/') >= 0)
        return bad_text(e, at, name,
                        "must be a fully qualified domain and path of the form 'example.com/signer-name'");
    check_labels_of(e, at, domain, format_dns1123_label);
    if (str_find_char(domain, '.') < 0)
        bad_text(e, at, domain, "should be a domain with at least two segments separated by dots");
    check_labels_of(e, at, path, format_dns1123_subdomain);
}

static void check_usages(ERRS, const struct val *list)
{
    if (val_len(list) == 0)
        bad_required(e, at, "");
    each (usage, list)
        check_enum_(e, ITEM(at, INDEX(list, usage)), val_text(usage), usages);
    AUTO(seen_fini) struct seen seen = SEEN;
    each (usage, list)
        if (seen_before(&seen, val_text(usage)))
            bad_duplicate(e, ITEM(at, INDEX(list, usage)), val_text(usage));
}

static bool condition_decides(struct str type)
{
    return str_eq(type, S("Approved")) || str_eq(type, S("Denied")) || str_eq(type, S("Failed"));
}

static void check_answer(ERRS, const struct val *conditions)
{
    bool approved = false, denied = false;
    AUTO(seen_fini) struct seen seen = SEEN;
    each (c, conditions) {
        const struct at *here = ITEM(at, INDEX(conditions, c));
        struct str type = TEXT(c, type), status = TEXT(c, status);
        if (type.n == 0)
            bad_required(e, AT(here, "type"), "");
        if (status.n == 0)
            bad_required(e, AT(here, "status"), "");
        else if (condition_decides(type))
            check_enum(e, AT(here, "status"), status, "True");
        else
            check_enum(e, AT(here, "status"), status, "False", "True", "Unknown");
        approved |= str_eq(type, S("Approved"));
        denied |= str_eq(type, S("Denied"));
        if (approved && denied && (str_eq(type, S("Approved")) || str_eq(type, S("Denied"))))
            bad_text(e, at, type, "Approved and Denied conditions are mutually exclusive");
        if (seen_before(&seen, type))
            bad_duplicate(e, AT(here, "type"), type);
    }
}

static void check_certificate(ERRS, struct str pem)
{
    if (!has_block(pem, "CERTIFICATE"))
        return bad_text(e, at, S("<certificate data>"), "must contain at least one CERTIFICATE PEM block");
    ptrdiff_t from = str_find(pem, S("-----BEGIN CERTIFICATE-----"));
    struct str inside = str_trim(str_sub(pem, (size_t)from + 27, pem.n));
    if (str_starts(inside, S("-----END")))
        bad_text(e, at, S("<certificate data>"), "found CERTIFICATE PEM block containing 0 certificates");
}

static void check_csr(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec), *status = V(v, status), *seconds = V(spec, expirationSeconds);
    struct str signer = TEXT(spec, signerName);
    if (!has_block(val_raw(V(spec, request)), "CERTIFICATE REQUEST"))
        bad_value(e, AT(at, "request"), V(spec, request), "PEM block type must be CERTIFICATE REQUEST");
    check_usages(e, AT(at, "usages"), V(spec, usages));
    if (str_eq(signer, S(LEGACY_SIGNER)))
        bad_text(e, AT(at, "signerName"), signer, "the legacy signerName is not allowed via this API version");
    else
        check_signer(e, AT(at, "signerName"), signer);
    if (val_is(seconds, VAL_INT) && seconds->i < 600)
        bad_num(e, AT(at, "expirationSeconds"), seconds->i,
                "may not specify a duration less than 600 seconds (10 minutes)");
    check_answer(e, AT(AT(NULL, "status"), "conditions"), V(status, conditions));
    if (HAS(status, certificate))
        check_certificate(e, AT(AT(NULL, "status"), "certificate"), val_raw(V(status, certificate)));
}

enum { MAY_DECIDE = 1, MAY_SIGN = 2 };

static void check_change(struct field_errors *e, const struct val *v, const struct val *old, unsigned may)
{
    static const char *const types[] = {"Approved", "Denied", "Failed"};
    const struct at *at = AT(AT(NULL, "status"), "conditions");
    const struct val *now = val_at(v, N(status), N(conditions)), *was = val_at(old, N(status), N(conditions));
    check_csr(e, v);
    for (size_t i = 0; i < countof(types); i++) {
        const struct val *x = val_find(was, N(type), str_of(types[i])), *y = val_find(now, N(type), str_of(types[i]));
        bool approval = i < 2 && !(may & MAY_DECIDE);
        if (x && !y)
            bad_forbidden(e, at, "updates may not remove a condition of type \"%s\"", types[i]);
        else if (approval && y && !x)
            bad_forbidden(e, at, "updates may not add a condition of type \"%s\"", types[i]);
        else if (approval && !val_unchanged(x, y))
            bad_forbidden(e, at, "updates may not modify a condition of type \"%s\"", types[i]);
    }
    struct str certificate = val_raw(val_at(v, N(status), N(certificate))),
               had = val_raw(val_at(old, N(status), N(certificate)));
    if (str_eq(certificate, had))
        return;
    if (!(may & MAY_SIGN))
        bad_forbidden(e, AT(AT(NULL, "status"), "certificate"), "updates may not set certificate content");
    else if (had.n)
        bad_forbidden(e, AT(AT(NULL, "status"), "certificate"),
                      "updates may not modify existing certificate content");
}

static void update_csr(struct field_errors *e, const struct val *v, const struct val *old)
{
    check_change(e, v, old, 0);
}

static void status_csr(struct field_errors *e, const struct val *v, const struct val *old)
{
    check_change(e, v, old, MAY_SIGN);
}

void check_approval(struct field_errors *e, const struct val *v, const struct val *old)
{
    check_change(e, v, old, MAY_DECIDE);
}

const struct kind_rules rules_certificates[] = {
    RULES(CertificateSigningRequest, format_path_segment, check_csr, update_csr, status_csr, .update_alone = true),
    RULES_END,
};
