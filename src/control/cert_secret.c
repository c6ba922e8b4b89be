/* The Secret of a Certificate: the pair, whom to trust, further forms of them, and what tells of them in labels and
 * annotations (cert-manager: pkg/controller/certificates/issuing/internal/secret.go, policies). */
#include "control/cert.h"

#define TEMPLATE_NOTE "wherry.dev/secret-template" /* which labels and annotations the template made: "l:a,a:b" */

bool cert_secret_foreign(const struct obj *secret, const struct obj *cert)
{
    const struct val *ref = obj_controller(secret);
    return ref && !str_eq(val_text_at(ref, N(uid)), cert->uid);
}

/* --- annotations --- */

/* One line of CSV, as encoding/csv writes it. */
static struct str csv_line(struct arena *a, const struct val *list)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    bool more = false;
    val_each_item (it, list) {
        struct str s = val_text(it);
        bool quote = s.n == 0 || str_find_char(s, ',') >= 0 || str_find_char(s, '"') >= 0 ||
                     str_find_char(s, '\n') >= 0 || s.p[0] == ' ';
        if (more)
            strbuf_addc(&b, ',');
        more = true;
        if (quote)
            strbuf_addc(&b, '"');
        for (size_t i = 0; i < s.n; i++) {
            if (s.p[i] == '"')
                strbuf_addc(&b, '"');
            strbuf_addc(&b, s.p[i]);
        }
        if (quote)
            strbuf_addc(&b, '"');
    }
    return str_dup(a, strbuf_str(&b));
}

static void note_set(struct arena *a, struct val *notes, const char *name, struct str text)
{
    val_set_str(a, notes, str_of(name), val_str(a, text));
}

static void details_add(struct arena *a, const struct val *facts, struct val *notes)
{
    static const struct {
        const char *field, *note;
    } subjects[] = {{"organizations", "cert-manager.io/subject-organizations"},
                    {"organizationalUnits", "cert-manager.io/subject-organizationalunits"},
                    {"countries", "cert-manager.io/subject-countries"},
                    {"provinces", "cert-manager.io/subject-provinces"},
                    {"localities", "cert-manager.io/subject-localities"},
                    {"postalCodes", "cert-manager.io/subject-postalcodes"},
                    {"streetAddresses", "cert-manager.io/subject-streetaddresses"}};
    const struct val *subject = cert_field(facts, "subject"), *emails = cert_field(facts, "emailAddresses");
    note_set(a, notes, NOTE_CN, cert_text(facts, "commonName"));
    if (cert_text(subject, "serialNumber").n)
        note_set(a, notes, "cert-manager.io/subject-serialnumber", cert_text(subject, "serialNumber"));
    for (size_t i = 0; i < countof(subjects); i++)
        if (val_len(cert_field(subject, subjects[i].field)))
            note_set(a, notes, subjects[i].note, csv_line(a, cert_field(subject, subjects[i].field)));
    if (val_len(emails))
        note_set(a, notes, NOTE_EMAILS, csv_line(a, emails));
    note_set(a, notes, NOTE_ALT, csv_line(a, cert_field(facts, "dnsNames")));
    note_set(a, notes, NOTE_IPS, csv_line(a, cert_field(facts, "ipAddresses")));
    note_set(a, notes, NOTE_URIS, csv_line(a, cert_field(facts, "uris")));
}

struct secret_meta {
    struct val labels, notes;
};

static void template_add(struct arena *a, const struct val *texts, const char *mark, struct val *to,
                         struct strbuf *kept)
{
    val_each_member (m, texts) {
        val_set_str(a, to, m->name->s, val_copy(a, &m->v));
        strbuf_addf(kept, "%s%s" STR_FMT, kept->n ? "," : "", mark, STR_ARG(m->name->s));
    }
}

static struct secret_meta meta_wanted(struct arena *a, const struct obj *cert, const struct val *facts,
                                      const struct cert_issuer *issuer)
{
    struct secret_meta m = {val_map(), val_map()};
    AUTO(strbuf_fini) struct strbuf kept = STRBUF(STRBUF_TEXT);
    const struct val *template = cert_field(obj_spec(cert), "secretTemplate");
    template_add(a, cert_field(template, "labels"), "l:", &m.labels, &kept);
    template_add(a, cert_field(template, "annotations"), "a:", &m.notes, &kept);
    details_add(a, facts, &m.notes);
    note_set(a, &m.notes, NOTE_CERT, cert->name);
    if (issuer) {
        note_set(a, &m.notes, NOTE_ISSUER, issuer->name);
        note_set(a, &m.notes, NOTE_ISSUER_KIND, issuer->kind);
        note_set(a, &m.notes, NOTE_ISSUER_GROUP, issuer->group);
    }
    if (kept.n)
        note_set(a, &m.notes, TEMPLATE_NOTE, strbuf_str(&kept));
    val_set_str(a, &m.labels, S(LABEL_CERT_MANAGER), val_str_borrowed(S("true")));
    return m;
}

/* What is there by an earlier template, or of an earlier certificate, and is wanted no more: null in a merge patch.
 */
static void meta_drop_old(struct arena *a, const struct obj *have, struct secret_meta *m)
{
    static const char *const details[] = {"cert-manager.io/subject-organizations",
                                          "cert-manager.io/subject-organizationalunits",
                                          "cert-manager.io/subject-countries",
                                          "cert-manager.io/subject-provinces",
                                          "cert-manager.io/subject-localities",
                                          "cert-manager.io/subject-postalcodes",
                                          "cert-manager.io/subject-serialnumber",
                                          "cert-manager.io/subject-streetaddresses",
                                          NOTE_EMAILS,
                                          TEMPLATE_NOTE};
    struct str rest = obj_note(have, TEMPLATE_NOTE), part;
    for (size_t i = 0; i < countof(details); i++)
        if (obj_has_note(have, details[i]) && !val_get_str(&m->notes, str_of(details[i])))
            val_set_str(a, &m->notes, str_of(details[i]), VAL_NONE);
    while (rest.n && str_cut(&rest, ',', &part)) {
        struct val *to = str_starts(part, S("l:")) ? &m->labels : &m->notes;
        struct str name = str_sub(part, 2, part.n);
        if (name.n && !val_get_str(to, name))
            val_set_str(a, to, str_dup(a, name), VAL_NONE);
    }
}

/* --- further forms --- */

static bool store_wanted(const struct obj *cert, const char *which)
{
    return val_true(cert_field(cert_field(cert_field(obj_spec(cert), "keystores"), which), "create"));
}

static bool format_wanted(const struct obj *cert, const char *type)
{
    val_each_item (it, cert_field(obj_spec(cert), "additionalOutputFormats"))
        if (str_eqz(cert_text(it, "type"), type))
            return true;
    return false;
}

/* What the work is to know of one key store. */
static bool store_ask(const struct view *v, const struct obj *cert, const char *which, struct plan *out,
                      struct val *ask, struct str *why)
{
    struct arena *a = &out->arena;
    const struct val *store = cert_field(cert_field(obj_spec(cert), "keystores"), which);
    const struct val *ref = cert_field(store, "passwordSecretRef"), *literal = cert_field(store, "password");
    struct val how = val_map();
    struct str name = cert_text(ref, "name"), key = cert_text(ref, "key"), profile = cert_text(store, "profile");
    if (!store_wanted(cert, which))
        return true;
    if (name.n) {
        const struct obj *secret = view_get(v, K(Secret), cert->ns, name);
        struct str bytes = secret_bytes(secret, arena_strz(a, key));
        if (!bytes.n) {
            *why = secret
                       ? arena_fmt(a, "%s keystore password Secret contains no data for key \"" STR_FMT "\"", which,
                                   STR_ARG(key))
                       : arena_fmt(a, "%s keystore password Secret \"" STR_FMT "\" not found", which, STR_ARG(name));
            return false;
        }
        val_set_str(a, &how, S("password"), val_bytes(a, bytes));
    } else if (val_text(literal).n) {
        val_set_str(a, &how, S("password"), val_bytes(a, val_text(literal)));
    } else {
        *why = arena_fmt(a, "either passwordSecretRef or password must be set for the %s keystore", which);
        return false;
    }
    if (profile.n)
        val_set_str(a, &how, S("profile"), val_str(a, profile));
    if (cert_text(store, "alias").n)
        val_set_str(a, &how, S("alias"), val_str(a, cert_text(store, "alias")));
    val_set_str(a, ask, str_of(which), how);
    return true;
}

static const struct {
    const char *member, *store, *format;
} forms[] = {{"key.der", NULL, "DER"},         {"tls-combined.pem", NULL, "CombinedPEM"},
             {"keystore.p12", "pkcs12", NULL}, {"truststore.p12", "pkcs12", NULL},
             {"keystore.jks", "jks", NULL},    {"truststore.jks", "jks", NULL}};

static bool form_wanted(const struct obj *cert, size_t i, bool ca)
{
    if (forms[i].format)
        return format_wanted(cert, forms[i].format);
    return store_wanted(cert, forms[i].store) && (ca || !str_starts(str_of(forms[i].member), S("truststore")));
}

static bool bundle_ask(const struct view *v, const struct obj *cert, const struct cert_data *d, struct plan *out,
                       struct val *ask, struct str *why)
{
    struct arena *a = &out->arena;
    struct val formats = val_list();
    struct str encoding = cert_text(cert_field(obj_spec(cert), "privateKey"), "encoding");
    *ask = val_map();
    val_set_str(a, ask, S("do"), val_str_borrowed(S("bundle")));
    val_set_str(a, ask, S("key"), val_bytes(a, d->key));
    val_set_str(a, ask, S("certificate"), val_bytes(a, d->chain));
    if (d->ca.n)
        val_set_str(a, ask, S("ca"), val_bytes(a, d->ca));
    if (encoding.n)
        val_set_str(a, ask, S("encoding"), val_str(a, encoding));
    for (size_t i = 0; i < countof(forms); i++)
        if (forms[i].format && format_wanted(cert, forms[i].format))
            val_add(a, &formats, val_str_borrowed(str_of(forms[i].format)));
    if (formats.n)
        val_set_str(a, ask, S("formats"), formats);
    return store_ask(v, cert, "pkcs12", out, ask, why) && store_ask(v, cert, "jks", out, ask, why);
}

/* --- writing --- */

bool cert_secret_write(const struct view *v, const struct obj *cert, const struct obj *have,
                       const struct cert_data *d, const struct cert_issuer *issuer, struct plan *out,
                       struct action **made, struct str *why)
{
    struct arena *a = &out->arena;
    struct val ask, facts, body = val_map(), data = val_map();
    struct err err = ERR;
    struct str name = cert_text(obj_spec(cert), "secretName");
    if (!bundle_ask(v, cert, d, out, &ask, why))
        return false;
    if (!cert_facts(v, a, X509_CERTIFICATE, d->chain, &facts, &err)) {
        *why = str_dup(a, str_of(err.text));
        return false;
    }
    struct secret_meta m = meta_wanted(a, cert, &facts, issuer);
    if (have)
        meta_drop_old(a, have, &m);
    struct val *meta = val_need_map(a, &body, N(metadata));
    val_set(a, meta, N(labels), m.labels);
    val_set(a, meta, N(annotations), m.notes);
    for (size_t i = 0; have && i < countof(forms); i++)
        if (secret_bytes(have, forms[i].member).n && !form_wanted(cert, i, d->ca.n > 0))
            val_set_str(a, &data, str_of(forms[i].member), VAL_NONE);
    if (have && !d->ca.n && secret_bytes(have, "ca.crt").n)
        val_set_str(a, &data, S("ca.crt"), VAL_NONE);
    if (data.n)
        val_set(a, &body, N(data), data);
    if (!have)
        val_set_text(a, &body, N(type), S("kubernetes.io/tls"));
    *made = have ? plan_patch(out, have, S(""), body) : plan_create(out, K(Secret), cert->ns, name, body);
    if (have)
        (*made)->expect_rev = have->rev;
    (*made)->work = ask;
    return true;
}

static bool texts_stand(const struct val *want, const struct val *have)
{
    val_each_member (m, want)
        if (!val_equal(&m->v, val_get_str(have, m->name->s)) &&
            !(val_is(&m->v, VAL_NULL) && !val_get_str(have, m->name->s)))
            return false;
    return true;
}

static bool forms_stand(const struct obj *cert, const struct obj *have)
{
    AUTO(arena_fini) struct arena a = ARENA;
    bool ca = secret_bytes(have, "ca.crt").n > 0;
    for (size_t i = 0; i < countof(forms); i++)
        if (form_wanted(cert, i, ca) != (secret_bytes(have, forms[i].member).n > 0))
            return false;
    struct str both = STR_JOIN(&a, secret_bytes(have, "tls.key"), S("\n"), secret_bytes(have, "tls.crt"));
    return !format_wanted(cert, "CombinedPEM") || str_eq(both, secret_bytes(have, "tls-combined.pem"));
}

bool cert_secret_keep(const struct view *v, const struct obj *cert, const struct obj *have, const struct val *facts,
                      struct plan *out, struct str *why)
{
    struct cert_issuer issuer = {obj_note(have, NOTE_ISSUER), obj_note(have, NOTE_ISSUER_KIND),
                                 obj_note(have, NOTE_ISSUER_GROUP)};
    struct secret_meta m = meta_wanted(&out->arena, cert, facts, issuer.name.n ? &issuer : NULL);
    struct action *made;
    meta_drop_old(&out->arena, have, &m);
    if (texts_stand(&m.labels, obj_labels(have)) && texts_stand(&m.notes, val_get(obj_meta(have), N(annotations))) &&
        forms_stand(cert, have))
        return true;
    struct cert_data d = {secret_bytes(have, "tls.key"), secret_bytes(have, "tls.crt"), secret_bytes(have, "ca.crt")};
    return cert_secret_write(v, cert, have, &d, issuer.name.n ? &issuer : NULL, out, &made, why);
}
