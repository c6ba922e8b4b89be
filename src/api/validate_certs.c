/* cert-manager.io, as its webhook checks it (internal/apis/certmanager/validation). */
#include "api/cert_rules.h"
#include "api/cron.h"
#include "api/rules_int.h"
#include "base/clock.h"

#define MEMBER(v, field) val_get_str((v), S(field))
#define WORD(v, field)   val_text(MEMBER(v, field))

#define HOUR        (3600 * NS_PER_S)
#define LEAST_SPAN  HOUR             /* of a certificate */
#define LEAST_RENEW (300 * NS_PER_S) /* before its end */

static bool span_of(const struct val *v, int64_t *ns)
{
    struct err err = ERR;
    return val_text(v).n && goduration_parse(val_text(v), ns, &err);
}

static void check_issuer_ref(ERRS, const struct val *ref)
{
    struct str kind = WORD(ref, "kind"), group = WORD(ref, "group");
    bool ours = !group.n || str_eqz(group, "cert-manager.io");
    if (!WORD(ref, "name").n)
        bad_required(e, AT(at, "name"), "must be specified");
    if (ours && kind.n && !str_eqz(kind, "Issuer") && !str_eqz(kind, "ClusterIssuer"))
        bad_text(e, AT(at, "kind"), kind, "must be one of Issuer or ClusterIssuer%s",
                 group.n ? "" : " (did you forget to set spec.issuerRef.kind.group?)");
}

static bool subject_is_set(const struct val *subject)
{
    val_each_member (m, subject)
        if (val_len(&m->v) || val_text(&m->v).n)
            return true;
    return false;
}

static void check_names(ERRS, const struct val *spec)
{
    static const char *const lists[] = {"dnsNames", "uris", "emailAddresses", "ipAddresses", "otherNames"};
    struct str cn = WORD(spec, "commonName"), literal = WORD(spec, "literalSubject");
    bool any = cn.n || str_has(literal, S("CN=")) || str_has(literal, S("cn="));
    for (size_t i = 0; i < countof(lists); i++)
        any |= val_len(val_get_str(spec, str_of(lists[i]))) > 0;
    if (literal.n && cn.n)
        bad_text(e, AT(at, "commonName"), cn, "When providing a `LiteralSubject` no `commonName` may be provided.");
    if (literal.n && subject_is_set(MEMBER(spec, "subject")))
        bad_value(e, AT(at, "subject"), MEMBER(spec, "subject"),
                  "When providing a `LiteralSubject` no `Subject` properties may be provided.");
    if (literal.n && str_find_char(literal, '=') < 0)
        bad_text(e, AT(at, "literalSubject"), literal, "it is written TYPE=VALUE,TYPE=VALUE (RFC 4514)");
    if (!any)
        bad_text(
            e, at, S(""),
            "at least one of commonName (from the commonName field or from a literalSubject), dnsNames, emailSANs, "
            "ipAddresses, otherNames, or uriSANs must be set");
    if (cn.n > 64)
        bad_too_long(e, AT(at, "commonName"), 64);
    each (it, MEMBER(spec, "ipAddresses"))
        if (!is_ip(val_text(it)))
            bad_text(e, ITEM(AT(at, "ipAddresses"), INDEX(MEMBER(spec, "ipAddresses"), it)), val_text(it),
                     "invalid IP address");
    each (it, MEMBER(spec, "emailAddresses")) {
        struct str s = val_text(it);
        ptrdiff_t sign = str_find_char(s, '@');
        if (sign <= 0 || (size_t)sign + 1 >= s.n || str_find_char(s, ' ') >= 0 || str_find_char(s, '<') >= 0)
            bad_text(e, ITEM(AT(at, "emailAddresses"), INDEX(MEMBER(spec, "emailAddresses"), it)), s,
                     "invalid email address: make sure the supplied value only contains the email address itself");
    }
}

static void check_other_names(ERRS, const struct val *list)
{
    each (it, list) {
        const struct at *here = ITEM(at, INDEX(list, it));
        struct str oid = WORD(it, "oid");
        bool dotted = oid.n > 0 && str_find_char(oid, '.') > 0;
        for (size_t i = 0; i < oid.n; i++)
            dotted &= (oid.p[i] >= '0' && oid.p[i] <= '9') ||
                      (oid.p[i] == '.' && i + 1 < oid.n && oid.p[i + 1] != '.');
        if (!oid.n)
            bad_required(e, AT(here, "oid"), "must be specified");
        else if (!dotted)
            bad_text(e, AT(here, "oid"), oid, "invalid oid syntax");
        if (!WORD(it, "utf8Value").n)
            bad_required(e, AT(here, "utf8Value"), "must be set to a valid non-empty UTF8 string");
    }
}

static void check_key(ERRS, const struct val *spec)
{
    const struct val *key = MEMBER(spec, "privateKey");
    struct str algorithm = WORD(key, "algorithm"), signature = WORD(spec, "signatureAlgorithm");
    int64_t size = val_num(MEMBER(key, "size"), 0);
    algorithm = algorithm.n ? algorithm : S("RSA");
    if (str_eqz(algorithm, "RSA") && size > 0 && (size < 2048 || size > 8192))
        bad_num(e, AT(AT(at, "privateKey"), "size"), size, "must be between 2048 and 8192 for rsa keyAlgorithm");
    if (str_eqz(algorithm, "ECDSA") && size > 0 && size != 256 && size != 384 && size != 521)
        bad_num(e, AT(AT(at, "privateKey"), "size"), size, "supported values: \"256\", \"384\", \"521\"");
    struct str want = str_eqz(algorithm, "RSA")     ? S("WithRSA")
                      : str_eqz(algorithm, "ECDSA") ? S("ECDSAWith")
                                                    : S("PureEd25519");
    if (signature.n && !str_has(signature, want))
        bad_text(e, AT(at, "signatureAlgorithm"), signature,
                 "for key algorithm " STR_FMT " it must be one of its own", STR_ARG(algorithm));
}

static void check_spans(ERRS, const struct val *spec)
{
    const struct val *percent = MEMBER(spec, "renewBeforePercentage");
    int64_t life = 90 * 24 * HOUR, renew;
    struct str before = WORD(spec, "renewBefore");
    if (WORD(spec, "duration").n && !span_of(MEMBER(spec, "duration"), &life)) {
        bad_text(e, AT(at, "duration"), WORD(spec, "duration"), "is no duration such as 2160h or 90m");
        return;
    }
    if (life < LEAST_SPAN)
        bad_text(e, AT(at, "duration"), WORD(spec, "duration"), "certificate duration must be greater than 1h0m0s");
    if (before.n && percent) {
        bad_text(e, AT(at, "renewBefore"), before,
                 "renewBefore and renewBeforePercentage are mutually exclusive and cannot both be set");
        bad_value(e, AT(at, "renewBeforePercentage"), percent,
                  "renewBefore and renewBeforePercentage are mutually exclusive and cannot both be set");
    }
    if (before.n && !span_of(MEMBER(spec, "renewBefore"), &renew))
        bad_text(e, AT(at, "renewBefore"), before, "is no duration such as 360h or 90m");
    else if (before.n && renew < LEAST_RENEW)
        bad_text(e, AT(at, "renewBefore"), before, "certificate renewBefore must be greater than 5m0s");
    else if (before.n && renew >= life)
        bad_text(e, AT(at, "renewBefore"), before, "certificate duration must be greater than renewBefore " STR_FMT,
                 STR_ARG(before));
    if (!percent)
        return;
    double left = (double)life * (double)(100 - val_num(percent, 0)) / 100;
    if (left < (double)LEAST_RENEW)
        bad_value(e, AT(at, "renewBeforePercentage"), percent,
                  "certificate renewBeforePercentage must result in a renewBefore greater than 5m0s");
    if (left >= (double)life)
        bad_value(e, AT(at, "renewBeforePercentage"), percent,
                  "certificate renewBeforePercentage must result in a renewBefore less than duration");
}

static void check_renewal(ERRS, const struct val *renewal)
{
    const struct val *windows = MEMBER(renewal, "windows");
    if (str_eqz(WORD(renewal, "policy"), "Disabled") && val_len(windows))
        bad_forbidden(e, AT(at, "windows"), "windows may not be set when the policy is Disabled");
    each (it, windows) {
        AUTO(arena_fini) struct arena a = ARENA;
        const struct at *here = ITEM(AT(at, "windows"), INDEX(windows, it));
        struct cron cron;
        struct str why = S("");
        int64_t span;
        if (!cron_read(&a, WORD(it, "cron"), &cron, &why))
            bad_text(e, AT(here, "cron"), WORD(it, "cron"), STR_FMT, STR_ARG(why));
        if (!span_of(MEMBER(it, "windowDuration"), &span) || span <= 0)
            bad_text(e, AT(here, "windowDuration"), WORD(it, "windowDuration"), "must be a positive duration");
    }
}

static void check_stores(ERRS, const struct val *stores)
{
    static const char *const called[] = {"jks", "pkcs12"};
    for (size_t i = 0; i < countof(called); i++) {
        const struct val *store = val_get_str(stores, str_of(called[i])), *password = MEMBER(store, "password");
        const char *shown = i ? "PKCS#12" : "JKS";
        bool ref = WORD(MEMBER(store, "passwordSecretRef"), "name").n > 0;
        if (!store)
            continue;
        if (password && ref)
            bad_forbidden(
                e, AT(at, called[i]),
                "exactly one of passwordSecretRef and password must be provided for %s keystores; cannot set "
                "both",
                shown);
        if (!password && !ref)
            bad_forbidden(e, AT(at, called[i]),
                          "must set exactly one of passwordSecretRef and password must for %s keystores", shown);
        if (password && !val_text(password).n)
            bad_forbidden(e, AT(AT(at, called[i]), "password"),
                          "literal password cannot be empty if set on %s keystores", shown);
    }
}

static void check_secret_template(ERRS, const struct val *template)
{
    check_labels(e, AT(at, "labels"), MEMBER(template, "labels"));
    val_each_member (m, MEMBER(template, "annotations"))
        if (str_starts(m->name->s, S("cert-manager.io/")) &&
            !str_eqz(m->name->s, "cert-manager.io/allow-direct-injection"))
            bad_text(e, AT(at, "annotations"), m->name->s, "cert-manager.io/* annotations are not allowed");
    check_annotations(e, AT(at, "annotations"), MEMBER(template, "annotations"));
}

static void check_certificate(struct field_errors *e, const struct val *spec)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *constraints = MEMBER(spec, "nameConstraints"), *limit = MEMBER(spec, "revisionHistoryLimit");
    AUTO(seen_fini) struct seen seen = SEEN;
    if (!WORD(spec, "secretName").n)
        bad_required(e, AT(at, "secretName"), "must be specified");
    else
        check_format(e, AT(at, "secretName"), WORD(spec, "secretName"), format_dns1123_subdomain);
    check_issuer_ref(e, AT(at, "issuerRef"), MEMBER(spec, "issuerRef"));
    check_names(e, at, spec);
    check_other_names(e, AT(at, "otherNames"), MEMBER(spec, "otherNames"));
    check_key(e, at, spec);
    check_spans(e, at, spec);
    if (limit && val_num(limit, 0) < 1)
        bad_value(e, AT(at, "revisionHistoryLimit"), limit, "must not be less than 1");
    if (MEMBER(spec, "secretTemplate"))
        check_secret_template(e, AT(at, "secretTemplate"), MEMBER(spec, "secretTemplate"));
    if (constraints && !val_true(MEMBER(spec, "isCA")))
        bad_value(e, AT(at, "nameConstraints"), constraints, "isCa should be true when nameConstraints is set");
    if (constraints && !MEMBER(constraints, "permitted") && !MEMBER(constraints, "excluded"))
        bad_value(e, AT(at, "nameConstraints"), constraints, "either permitted or excluded must be set");
    each (it, MEMBER(spec, "additionalOutputFormats"))
        if (seen_before(&seen, WORD(it, "type")))
            bad_duplicate(e, AT(AT(at, "additionalOutputFormats"), "type"), WORD(it, "type"));
    check_stores(e, AT(at, "keystores"), MEMBER(spec, "keystores"));
    check_renewal(e, AT(at, "renewal"), MEMBER(spec, "renewal"));
}

/* --- requests --- */

static void check_notes_kept(ERRS, const struct val *notes, const struct val *others)
{
    val_each_member (m, notes)
        if ((str_starts(m->name->s, S("cert-manager.io")) || str_starts(m->name->s, S("acme.cert-manager.io"))) &&
            !val_equal(&m->v, val_get_str(others, m->name->s)))
            bad_forbidden(e, KEY(at, m->name->s), "cannot change cert-manager annotation after creation");
}

static void check_verdicts(struct field_errors *e, const struct val *status, const struct val *old)
{
    static const char *const types[] = {"Approved", "Denied"};
    const struct at *at = AT(AT(NULL, "status"), "conditions");
    const struct val *had = V(old, conditions), *has = V(status, conditions);
    size_t verdicts = 0;
    for (size_t i = 0; i < countof(types); i++) {
        const struct val *was = val_find(had, N(type), str_of(types[i]));
        const struct val *is = val_find(has, N(type), str_of(types[i]));
        if (was && !val_equal(was, is))
            bad_forbidden(e, at, "'%s' condition may not be modified once set", types[i]);
        if (is && !str_eqz(TEXT(is, status), "True"))
            bad_text(e, AT(at, types[i]), TEXT(is, status), "\"%s\" condition may only be set to True", types[i]);
        verdicts += is != NULL;
    }
    if (verdicts > 1)
        bad_forbidden(e, at, "both 'Denied' and 'Approved' conditions cannot coexist");
}

static void check_request(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct val *spec = V(v, spec);
    const struct at *notes = AT(AT(NULL, "metadata"), "annotations");
    check_verdicts(e, V(v, status), V(old, status));
    if (old) {
        check_notes_kept(e, notes, val_at(v, N(metadata), N(annotations)), val_at(old, N(metadata), N(annotations)));
        check_notes_kept(e, notes, val_at(old, N(metadata), N(annotations)), val_at(v, N(metadata), N(annotations)));
        if (!val_equal(spec, V(old, spec)))
            bad_forbidden(e, AT(NULL, "spec"), "cannot change spec after creation");
        return;
    }
    check_issuer_ref(e, AT(AT(NULL, "spec"), "issuerRef"), MEMBER(spec, "issuerRef"));
    if (!WORD(spec, "request").n)
        bad_required(e, AT(AT(NULL, "spec"), "request"), "must be specified");
}

/* --- issuers --- */

static void check_acme_issuer(ERRS, const struct val *acme)
{
    if (WORD(acme, "caBundle").n && val_true(MEMBER(acme, "skipTLSVerify")))
        bad_text(e, AT(at, "caBundle"), S(""),
                 "caBundle and skipTLSVerify are mutually exclusive and cannot both be set");
    if (!WORD(MEMBER(acme, "privateKeySecretRef"), "name").n)
        bad_required(e, AT(AT(at, "privateKeySecretRef"), "name"), "private key secret name is a required field");
    if (!WORD(acme, "server").n)
        bad_required(e, AT(at, "server"), "acme server URL is a required field");
    each (it, MEMBER(acme, "solvers")) {
        const struct at *here = ITEM(AT(at, "solvers"), INDEX(MEMBER(acme, "solvers"), it));
        const struct val *http = MEMBER(it, "http01"), *dns = MEMBER(it, "dns01");
        if (http && dns)
            bad_forbidden(e, here, "may not specify more than one solver type in a single solver");
        if (!http && !dns)
            bad_required(e, here, "no solver type configured");
        if (http && !MEMBER(http, "ingress") && !MEMBER(http, "gatewayHTTPRoute"))
            bad_required(e, AT(here, "http01"), "no HTTP01 solver type configured");
        if (http && MEMBER(http, "ingress") && MEMBER(http, "gatewayHTTPRoute"))
            bad_required(e, AT(here, "http01"), "only 1 HTTP01 solver type may be configured");
    }
}

static void check_issuer(struct field_errors *e, const struct val *spec)
{
    static const char *const types[] = {"acme", "ca", "selfSigned", "vault", "venafi"};
    const struct at *at = AT(NULL, "spec");
    size_t n = 0;
    for (size_t i = 0; i < countof(types); i++) {
        if (!val_get_str(spec, str_of(types[i])))
            continue;
        if (n++)
            bad_forbidden(e, AT(at, types[i]), "may not specify more than one issuer type");
    }
    if (!n)
        bad_required(e, at, "at least one issuer must be configured");
    if (MEMBER(spec, "ca") && !WORD(MEMBER(spec, "ca"), "secretName").n)
        bad_required(e, AT(AT(at, "ca"), "secretName"), "");
    if (MEMBER(spec, "acme"))
        check_acme_issuer(e, AT(at, "acme"), MEMBER(spec, "acme"));
}

void cert_kind_check(const struct kind *k, const struct val *v, const struct val *old, struct field_errors *e)
{
    if (!str_eqz(k->group, "cert-manager.io"))
        return;
    if (str_eqz(k->kind, "Certificate"))
        check_certificate(e, V(v, spec));
    else if (str_eqz(k->kind, "CertificateRequest"))
        check_request(e, v, old);
    else if (str_eqz(k->kind, "Issuer") || str_eqz(k->kind, "ClusterIssuer"))
        check_issuer(e, V(v, spec));
}
