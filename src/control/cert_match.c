/* Whether keys, requests and certificates are what a Certificate's spec says (cert-manager: pkg/util/pki/match.go).
 */
#include "api/formats.h"
#include "control/cert.h"
#include <arpa/inet.h>

static int text_order(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static struct str *texts_sorted(struct arena *a, const struct val *list, bool ips, size_t *n)
{
    struct str *out = arena_alloc(a, (val_len(list) + 1) * sizeof *out);
    *n = 0;
    val_each_item (it, list) {
        unsigned char bytes[16];
        char text[INET6_ADDRSTRLEN];
        struct str s = val_text(it);
        AUTO_FREE char *z = ips ? str_dupz(s) : NULL;
        int family = ips && strchr(z, ':') ? AF_INET6 : AF_INET;
        if (ips && inet_pton(family, z, bytes) == 1 && inet_ntop(family, bytes, text, sizeof text))
            s = str_dup(a, str_of(text));
        out[(*n)++] = s;
    }
    qsort(out, *n, sizeof *out, text_order);
    return out;
}

static bool lists_same(const struct val *x, const struct val *y, bool ips)
{
    AUTO(arena_fini) struct arena a = ARENA;
    size_t nx, ny;
    struct str *sx = texts_sorted(&a, x, ips, &nx), *sy = texts_sorted(&a, y, ips, &ny);
    bool same = nx == ny;
    for (size_t i = 0; same && i < nx; i++)
        same = str_eq(sx[i], sy[i]);
    return same;
}

bool cert_lists_same(const struct val *a, const struct val *b)
{
    return lists_same(a, b, false);
}

static bool other_names_same(const struct val *x, const struct val *y)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val lists[2] = {val_list(), val_list()};
    for (int i = 0; i < 2; i++)
        val_each_item (it, i ? y : x)
            val_add(&a, &lists[i],
                    val_str(&a, STR_JOIN(&a, cert_text(it, "oid"), S("="), cert_text(it, "utf8Value"))));
    return lists_same(&lists[0], &lists[1], false);
}

/* --- what does not fit, gathered --- */

struct misfits {
    struct strbuf text;
};

static void misfit_add(struct misfits *m, bool fits, const char *field)
{
    if (!fits)
        strbuf_addf(&m->text, "%s%s", m->text.n ? " " : "", field);
}

static struct str misfits_text(struct arena *a, struct misfits *m)
{
    struct str s = m->text.n ? arena_fmt(a, "[" STR_FMT "]", STR_ARG(strbuf_str(&m->text))) : S("");
    strbuf_fini(&m->text);
    return s;
}

struct str cert_key_misfits(struct arena *a, const struct val *spec, const struct val *facts)
{
    const struct val *want = cert_field(spec, "privateKey");
    struct str algorithm = cert_text(want, "algorithm");
    struct misfits m = {STRBUF(STRBUF_TEXT)};
    int64_t size = val_num(cert_field(want, "size"), 0);
    algorithm = algorithm.n ? algorithm : S("RSA");
    bool same = str_eq(algorithm, cert_text(facts, "algorithm"));
    misfit_add(&m, same, "spec.privateKey.algorithm");
    if (same && !str_eqz(algorithm, "Ed25519")) {
        size = size > 0 ? size : str_eqz(algorithm, "RSA") ? 2048 : 256;
        misfit_add(&m, size == val_num(cert_field(facts, "size"), 0), "spec.privateKey.size");
    }
    return misfits_text(a, &m);
}

static void subject_misfits(struct misfits *m, const struct val *spec, const struct val *facts)
{
    static const struct {
        const char *field, *told;
    } rows[] = {{"organizations", "spec.subject.organizations"},
                {"countries", "spec.subject.countries"},
                {"localities", "spec.subject.localities"},
                {"organizationalUnits", "spec.subject.organizationalUnits"},
                {"postalCodes", "spec.subject.postCodes"},
                {"provinces", "spec.subject.provinces"},
                {"streetAddresses", "spec.subject.streetAddresses"}};
    const struct val *want = cert_field(spec, "subject"), *have = cert_field(facts, "subject");
    misfit_add(m, str_eq(cert_text(spec, "commonName"), cert_text(facts, "commonName")), "spec.commonName");
    misfit_add(m, str_eq(cert_text(want, "serialNumber"), cert_text(have, "serialNumber")),
               "spec.subject.serialNumber");
    for (size_t i = 0; i < countof(rows); i++)
        misfit_add(m, cert_lists_same(cert_field(want, rows[i].field), cert_field(have, rows[i].field)),
                   rows[i].told);
}

bool cert_request_misfits(const struct view *v, struct arena *a, const struct val *spec, const struct obj *request,
                          struct str *out)
{
    const struct val *asked = obj_spec(request);
    struct misfits m = {STRBUF(STRBUF_TEXT)};
    struct cert_issuer want = cert_issuer_of(spec), have = cert_issuer_of(asked);
    struct err err = ERR;
    struct val facts, subject;
    int64_t d1, d2;
    struct str literal = cert_text(spec, "literalSubject");
    if (!cert_facts(v, a, X509_REQUEST, cert_base64(a, cert_field(asked, "request")), &facts, &err) ||
        (literal.n && !cert_facts(v, a, X509_SUBJECT, literal, &subject, &err)))
        return false;
    misfit_add(&m, lists_same(cert_field(&facts, "ipAddresses"), cert_field(spec, "ipAddresses"), true),
               "spec.ipAddresses");
    misfit_add(&m, cert_lists_same(cert_field(&facts, "uris"), cert_field(spec, "uris")), "spec.uris");
    misfit_add(&m, cert_lists_same(cert_field(&facts, "emailAddresses"), cert_field(spec, "emailAddresses")),
               "spec.emailAddresses");
    misfit_add(&m, cert_lists_same(cert_field(&facts, "dnsNames"), cert_field(spec, "dnsNames")), "spec.dnsNames");
    misfit_add(&m, other_names_same(cert_field(&facts, "otherNames"), cert_field(spec, "otherNames")),
               "spec.otherNames");
    if (literal.n)
        misfit_add(&m, str_eq(cert_text(&facts, "literal"), cert_text(&subject, "literal")), "spec.literalSubject");
    else
        subject_misfits(&m, spec, &facts);
    misfit_add(&m, val_true(cert_field(asked, "isCA")) == val_true(cert_field(spec, "isCA")), "spec.isCA");
    misfit_add(&m, cert_lists_same(cert_field(asked, "usages"), cert_field(spec, "usages")), "spec.usages");
    misfit_add(&m,
               !cert_duration(cert_field(asked, "duration"), &d1) ||
                   !cert_duration(cert_field(spec, "duration"), &d2) || d1 == d2,
               "spec.duration");
    misfit_add(&m, cert_issuer_same(&want, &have), "spec.issuerRef");
    *out = misfits_text(a, &m);
    return true;
}

/* All of the names are among the others, or are the common name. */
static bool names_within(const struct val *some, const struct val *others, struct str cn)
{
    val_each_item (it, some)
        if (!val_has_text(others, val_text(it)) && !str_eq(val_text(it), cn))
            return false;
    return true;
}

/* Without the request: signers may move names between the common name and the alternative ones. */
struct str cert_names_misfit(struct arena *a, const struct val *spec, const struct val *facts)
{
    struct misfits m = {STRBUF(STRBUF_TEXT)};
    struct str want = cert_text(spec, "commonName"), have = cert_text(facts, "commonName");
    const struct val *wanted = cert_field(spec, "dnsNames"), *had = cert_field(facts, "dnsNames");
    misfit_add(
        &m,
        (!want.n || str_eq(want, have) || val_has_text(had, want)) &&
            (!have.n || str_eq(want, have) || val_has_text(wanted, have) || cert_text(spec, "literalSubject").n),
        "spec.commonName");
    misfit_add(&m, names_within(wanted, had, have) && names_within(had, wanted, want), "spec.dnsNames");
    misfit_add(&m, lists_same(cert_field(facts, "ipAddresses"), cert_field(spec, "ipAddresses"), true),
               "spec.ipAddresses");
    misfit_add(&m, cert_lists_same(cert_field(facts, "uris"), cert_field(spec, "uris")), "spec.uris");
    misfit_add(&m, cert_lists_same(cert_field(facts, "emailAddresses"), cert_field(spec, "emailAddresses")),
               "spec.emailAddresses");
    return misfits_text(a, &m);
}
