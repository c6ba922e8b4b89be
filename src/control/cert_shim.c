/* Certificates for Ingresses and Gateways that ask for them by annotation (cert-manager: pkg/controller/
 * certificate-shim). One for each Secret that their tls entries name, owned by the Ingress or Gateway, kept as the
 * annotations say, and taken away when no entry names it any more. */
#include "control/cert_shim.h"
#include "api/codec.h"
#include "control/cert.h"
#include <arpa/inet.h>

#define GATEWAYS      "gateways.gateway.networking.k8s.io"
#define LISTENER_SETS "listenersets.gateway.networking.k8s.io"

static bool note_is_true(const struct obj *o, const char *note)
{
    static const char *const words[] = {"1", "t", "T", "true", "TRUE", "True"};
    for (size_t i = 0; i < countof(words); i++)
        if (str_eqz(obj_note(o, note), words[i]))
            return true;
    return false;
}

bool cert_is_asked(const struct obj *o)
{
    return obj_has_note(o, NOTE_WANT_ISSUER) || obj_has_note(o, NOTE_WANT_CLUSTER) ||
           note_is_true(o, NOTE_TLS_ACME) || note_is_true(o, NOTE_WHERRY_ACME);
}

struct str cert_tls_secret(struct arena *a, const struct obj *ingress, const struct val *entry, size_t i)
{
    struct str named = val_text_at(entry, N(secretName)), base = str_sub(ingress->name, 0, 240);
    if (named.n || !cert_is_asked(ingress))
        return named;
    return i == 0 ? arena_fmt(a, STR_FMT "-tls", STR_ARG(base)) : arena_fmt(a, STR_FMT "-tls-%zu", STR_ARG(base), i);
}

bool cert_tls_implied(const struct obj *ingress)
{
    return note_is_true(ingress, NOTE_WHERRY_ACME) && val_len(val_get(obj_spec(ingress), N(tls))) == 0;
}

/* --- one Ingress or Gateway --- */

struct cert_wish {
    struct str secret;
    struct val hosts; /* texts */
};

struct cert_shim {
    const struct view *v;
    struct plan *out;
    struct arena *a;
    const struct obj *o;
    struct cert_issuer issuer;
    ARRAY(struct cert_wish) wishes;
    const struct kind *certs;
};

static void shim_complain(struct cert_shim *s, struct str message)
{
    bool first = !s->out->why.n;
    plan_why(s->out, STR_FMT, STR_ARG(message));
    if (!first || !str_eq(s->v->why, s->out->why))
        plan_event(s->out, (struct obj *)(uintptr_t)s->o, "Warning", "BadConfig", STR_FMT, STR_ARG(message));
}

static void wish_add(struct cert_shim *s, struct str secret, const struct val *hosts)
{
    struct cert_wish *w = NULL;
    array_each (it, &s->wishes)
        if (str_eq(it->secret, secret))
            w = it;
    if (!w) {
        array_push(&s->wishes, ((struct cert_wish){secret, val_list()}));
        w = &s->wishes.p[s->wishes.n - 1];
    }
    val_each_item (h, hosts)
        if (!val_has_text(&w->hosts, val_text(h)))
            val_add(s->a, &w->hosts, val_str(s->a, val_text(h)));
}

/* The default issuer: of several that say so, the oldest. */
static struct str default_issuer(const struct view *v)
{
    const struct kind *k = view_defined(v, CLUSTER_ISSUERS);
    const struct obj *o, *best = NULL;
    if (!k)
        return S("");
    for (struct objset_iter it = view_all(v, k); (o = objset_next(&it));) { /* a cluster has a handful */
        int age = best ? str_cmp(val_text_at(obj_meta(o), N(creationTimestamp)),
                                 val_text_at(obj_meta(best), N(creationTimestamp)))
                       : -1;
        if (note_is_true(o, NOTE_DEFAULT_ISSUER) && (age < 0 || (age == 0 && str_cmp(o->name, best->name) < 0)))
            best = o;
    }
    return best ? best->name : S("");
}

static bool shim_issuer(struct cert_shim *s)
{
    const struct obj *o = s->o;
    bool issuer = obj_has_note(o, NOTE_WANT_ISSUER), cluster = obj_has_note(o, NOTE_WANT_CLUSTER);
    struct str kind = obj_note(o, "cert-manager.io/issuer-kind"), group = obj_note(o, "cert-manager.io/issuer-group");
    AUTO(strbuf_fini) struct strbuf bad = STRBUF(STRBUF_TEXT);
    s->issuer.name = cluster  ? obj_note(o, NOTE_WANT_CLUSTER)
                     : issuer ? obj_note(o, NOTE_WANT_ISSUER)
                              : default_issuer(s->v);
    s->issuer.kind = kind.n ? kind : issuer && !cluster ? S("Issuer") : S("ClusterIssuer");
    s->issuer.group = group.n ? group : S(CERT_GROUP);
    if (!s->issuer.name.n)
        strbuf_addz(&bad, "failed to determine issuer name to be used for ingress resource");
    if (!s->issuer.name.n && !issuer && !cluster)
        strbuf_addz(&bad, " (no ClusterIssuer is the default one, which the annotation " NOTE_DEFAULT_ISSUER
                          ": \"true\" makes it; wherry acme set --email ADDRESS makes one)");
    if (issuer && cluster)
        strbuf_addf(&bad, "%sboth \"%s\" and \"%s\" may not be set", bad.n ? ", " : "", NOTE_WANT_ISSUER,
                    NOTE_WANT_CLUSTER);
    if (cluster && group.n)
        strbuf_addf(&bad, "%sboth \"%s\" and \"cert-manager.io/issuer-group\" may not be set", bad.n ? ", " : "",
                    NOTE_WANT_CLUSTER);
    if (cluster && kind.n)
        strbuf_addf(&bad, "%sboth \"%s\" and \"cert-manager.io/issuer-kind\" may not be set", bad.n ? ", " : "",
                    NOTE_WANT_CLUSTER);
    if (bad.n)
        shim_complain(s, arena_fmt(s->a, "Could not determine issuer for ingress due to bad annotations: " STR_FMT,
                                   STR_ARG(strbuf_str(&bad))));
    return bad.n == 0;
}

/* --- what annotations say of a Certificate --- */

enum note_is { NOTE_TEXT, NOTE_COMMAS, NOTE_CSV, NOTE_SPAN, NOTE_NUMBER, NOTE_USAGES };
static const struct {
    const char *note, *parent, *field;
    enum note_is is;
    bool more; /* added to what is there */
} shim_notes[] = {
    {NOTE_CN, NULL, "commonName", NOTE_TEXT, false},
    {NOTE_ALT, NULL, "dnsNames", NOTE_COMMAS, true},
    {NOTE_IPS, NULL, "ipAddresses", NOTE_COMMAS, true},
    {NOTE_URIS, NULL, "uris", NOTE_COMMAS, true},
    {NOTE_EMAILS, NULL, "emailAddresses", NOTE_COMMAS, false},
    {"cert-manager.io/subject-organizations", "subject", "organizations", NOTE_CSV, false},
    {"cert-manager.io/subject-organizationalunits", "subject", "organizationalUnits", NOTE_CSV, false},
    {"cert-manager.io/subject-countries", "subject", "countries", NOTE_CSV, false},
    {"cert-manager.io/subject-provinces", "subject", "provinces", NOTE_CSV, false},
    {"cert-manager.io/subject-localities", "subject", "localities", NOTE_CSV, false},
    {"cert-manager.io/subject-postalcodes", "subject", "postalCodes", NOTE_CSV, false},
    {"cert-manager.io/subject-streetaddresses", "subject", "streetAddresses", NOTE_CSV, false},
    {"cert-manager.io/subject-serialnumber", "subject", "serialNumber", NOTE_TEXT, false},
    {"cert-manager.io/duration", NULL, "duration", NOTE_SPAN, false},
    {"cert-manager.io/renew-before", NULL, "renewBefore", NOTE_SPAN, false},
    {"cert-manager.io/renew-before-percentage", NULL, "renewBeforePercentage", NOTE_NUMBER, false},
    {"cert-manager.io/usages", NULL, "usages", NOTE_USAGES, false},
    {"cert-manager.io/revision-history-limit", NULL, "revisionHistoryLimit", NOTE_NUMBER, false},
    {"cert-manager.io/private-key-algorithm", "privateKey", "algorithm", NOTE_TEXT, false},
    {"cert-manager.io/private-key-encoding", "privateKey", "encoding", NOTE_TEXT, false},
    {"cert-manager.io/private-key-size", "privateKey", "size", NOTE_NUMBER, false},
    {"cert-manager.io/private-key-rotation-policy", "privateKey", "rotationPolicy", NOTE_TEXT, false},
};

static const char *const usage_words[] = {"signing",
                                          "digital signature",
                                          "content commitment",
                                          "key encipherment",
                                          "key agreement",
                                          "data encipherment",
                                          "cert sign",
                                          "crl sign",
                                          "encipher only",
                                          "decipher only",
                                          "any",
                                          "server auth",
                                          "client auth",
                                          "code signing",
                                          "email protection",
                                          "s/mime",
                                          "ipsec end system",
                                          "ipsec tunnel",
                                          "ipsec user",
                                          "timestamping",
                                          "ocsp signing",
                                          "microsoft sgc",
                                          "netscape sgc"};

/* A line of CSV: parts in quotes may hold commas, and quotes twice. */
static struct val csv_read(struct arena *a, struct str line)
{
    struct val list = val_list();
    AUTO(strbuf_fini) struct strbuf part = STRBUF(STRBUF_TEXT);
    bool quoted = false;
    for (size_t i = 0; i <= line.n; i++) {
        char c = i < line.n ? line.p[i] : ',';
        if (c == '"' && quoted && i + 1 < line.n && line.p[i + 1] == '"')
            strbuf_addc(&part, line.p[i++]);
        else if (c == '"')
            quoted = !quoted;
        else if (c == ',' && (!quoted || i == line.n)) {
            val_add(a, &list, val_str(a, strbuf_str(&part)));
            strbuf_reset(&part);
        } else
            strbuf_addc(&part, c);
    }
    return list;
}

static bool usages_read(struct arena *a, struct str text, struct val *out)
{
    struct str rest = text, part;
    *out = val_list();
    while (str_cut(&rest, ',', &part)) {
        bool known = false;
        for (size_t i = 0; i < countof(usage_words); i++)
            known |= str_eqz(str_trim(part), usage_words[i]);
        if (!known)
            return false;
        val_add(a, out, val_str(a, str_trim(part)));
    }
    return true;
}

/* *out: what the field becomes. False: the annotation cannot be so; *why. */
static bool note_read(struct arena *a, size_t i, struct str text, struct val *out, struct str *why)
{
    int64_t n;
    struct str rest = text, part;
    *why = arena_fmt(a, "invalid value \"" STR_FMT "\"", STR_ARG(text));
    switch (shim_notes[i].is) {
    case NOTE_TEXT: *out = val_str(a, text); return true;
    case NOTE_COMMAS:
        *out = val_list();
        while (text.n && str_cut(&rest, ',', &part))
            val_add(a, out, val_str(a, part));
        return true;
    case NOTE_CSV: *out = csv_read(a, text); return true;
    case NOTE_SPAN: *out = val_str(a, text); return cert_duration(out, &n);
    case NOTE_NUMBER:
        if (!str_to_i64(text, 1, INT32_MAX, &n))
            return false;
        *out = val_int(n);
        return true;
    case NOTE_USAGES:
        *why = arena_fmt(a, "invalid key usage name in \"" STR_FMT "\"", STR_ARG(text));
        return usages_read(a, text, out);
    }
    return false;
}

/* What upstream refuses of a key. */
static bool key_is_known(const struct val *key, const char **note)
{
    static const struct {
        const char *field, *note, *words[3];
    } rows[] = {{"algorithm", "cert-manager.io/private-key-algorithm", {"RSA", "ECDSA", "Ed25519"}},
                {"encoding", "cert-manager.io/private-key-encoding", {"PKCS1", "PKCS8", NULL}},
                {"rotationPolicy", "cert-manager.io/private-key-rotation-policy", {"Never", "Always", NULL}}};
    for (size_t i = 0; i < countof(rows); i++) {
        struct str has = cert_text(key, rows[i].field);
        bool known = !has.n;
        for (size_t w = 0; w < 3 && rows[i].words[w]; w++)
            known |= str_eqz(has, rows[i].words[w]);
        *note = rows[i].note;
        if (!known)
            return false;
    }
    int64_t size = val_num(cert_field(key, "size"), 0);
    struct str algorithm = cert_text(key, "algorithm");
    *note = "cert-manager.io/private-key-size";
    if (!size || str_eqz(algorithm, "Ed25519"))
        return true;
    return str_eqz(algorithm, "ECDSA") ? size == 256 || size == 384 || size == 521 : size >= 2048 && size <= 8192;
}

static bool template_read(struct cert_shim *s, struct val *spec, struct str *why)
{
    struct val v;
    struct err err = ERR;
    struct str text = obj_note(s->o, "cert-manager.io/secret-template");
    if (!obj_has_note(s->o, "cert-manager.io/secret-template"))
        return true;
    if (!json_decode(s->a, text, &v, &err) || !val_is(&v, VAL_MAP)) {
        *why = arena_fmt(s->a, "error parsing secret template JSON: %s", err.text);
        return false;
    }
    val_each_member (m, &v)
        if (!str_eqz(m->name->s, "annotations") && !str_eqz(m->name->s, "labels")) {
            *why = arena_fmt(s->a, "error parsing secret template JSON: json: unknown field \"" STR_FMT "\"",
                             STR_ARG(m->name->s));
            return false;
        }
    val_each_member (m, val_get(&v, N(annotations)))
        if (str_starts(m->name->s, S("cert-manager.io/"))) {
            *why = arena_fmt(s->a, "secretTemplate must not have cert-manager.io/ annotations: \"" STR_FMT "\"",
                             STR_ARG(m->name->s));
            return false;
        }
    if (v.n)
        val_set_str(s->a, spec, S("secretTemplate"), v);
    return true;
}

static bool notes_translate(struct cert_shim *s, struct val *spec)
{
    struct str why = S("");
    const char *note = "cert-manager.io/secret-template";
    bool ok = true;
    for (size_t i = 0; ok && i < countof(shim_notes); i++) {
        struct val v;
        note = shim_notes[i].note;
        if (!obj_has_note(s->o, note) || !(ok = note_read(s->a, i, obj_note(s->o, note), &v, &why)))
            continue;
        struct val *to = spec;
        if (shim_notes[i].parent && !(to = val_get_str_mut(spec, str_of(shim_notes[i].parent))))
            to = val_set_str(s->a, spec, str_of(shim_notes[i].parent), val_map());
        struct val *list = shim_notes[i].more ? val_get_str_mut(to, str_of(shim_notes[i].field)) : NULL;
        val_each_item (it, list ? &v : NULL)
            val_add(s->a, list, *it);
        if (!list && (!val_is(&v, VAL_LIST) || v.n))
            val_set_str(s->a, to, str_of(shim_notes[i].field), v);
    }
    if (ok && !(ok = key_is_known(cert_field(spec, "privateKey"), &note)))
        why = arena_fmt(s->a, "invalid value \"" STR_FMT "\"", STR_ARG(obj_note(s->o, note)));
    if (ok && !(ok = template_read(s, spec, &why)))
        note = "cert-manager.io/secret-template";
    if (!ok)
        shim_complain(s, arena_fmt(s->a, "invalid ingress annotation \"%s\": " STR_FMT, note, STR_ARG(why)));
    return ok;
}

/* --- the Certificates --- */

static void hosts_set(struct cert_shim *s, const struct val *hosts, struct val *spec)
{
    struct val dns = val_list(), ips = val_list();
    val_each_item (h, hosts) {
        unsigned char bytes[16];
        AUTO_FREE char *z = str_dupz(val_text(h));
        bool ip = inet_pton(AF_INET, z, bytes) == 1 || inet_pton(AF_INET6, z, bytes) == 1;
        val_add(s->a, ip ? &ips : &dns, *h);
    }
    if (dns.n)
        val_set_str(s->a, spec, S("dnsNames"), dns);
    if (ips.n)
        val_set_str(s->a, spec, S("ipAddresses"), ips);
}

static bool wish_spec(struct cert_shim *s, const struct cert_wish *w, struct val *spec)
{
    struct val ref = val_map(), usages = val_list();
    *spec = val_map();
    hosts_set(s, &w->hosts, spec);
    val_set_str(s->a, spec, S("secretName"), val_str(s->a, w->secret));
    val_set_str(s->a, &ref, S("group"), val_str(s->a, s->issuer.group));
    val_set_str(s->a, &ref, S("kind"), val_str(s->a, s->issuer.kind));
    val_set_str(s->a, &ref, S("name"), val_str(s->a, s->issuer.name));
    val_set_str(s->a, spec, S("issuerRef"), ref);
    val_add(s->a, &usages, val_str_borrowed(S("digital signature")));
    val_add(s->a, &usages, val_str_borrowed(S("key encipherment")));
    val_set_str(s->a, spec, S("usages"), usages);
    return notes_translate(s, spec);
}

static void note_to(struct cert_shim *s, struct val *notes, const char *note, struct str text)
{
    val_set_str(s->a, notes, str_of(note), val_str(s->a, text));
}

/* Where a solver's route would hang. */
static void parent_note(struct cert_shim *s, struct val *notes)
{
    const struct val *parent = cert_field(obj_spec(s->o), "parentRef");
    struct str ns = cert_text(parent, "namespace");
    bool falls = parent && note_is_true(s->o, "acme.cert-manager.io/http01-parentreffallback");
    note_to(s, notes, "acme.cert-manager.io/http01-parentrefkind", falls ? S("Gateway") : s->o->kind->kind);
    note_to(s, notes, "acme.cert-manager.io/http01-parentrefname", falls ? cert_text(parent, "name") : s->o->name);
    if (falls)
        note_to(s, notes, "acme.cert-manager.io/http01-parentrefnamespace", ns.n ? ns : s->o->ns);
}

/* What solvers of ACME are to know. */
static struct val wish_notes(struct cert_shim *s)
{
    struct val notes = val_map();
    struct str class = obj_note(s->o, "acme.cert-manager.io/http01-ingress-class");
    struct str class_name = obj_note(s->o, "acme.cert-manager.io/http01-ingress-ingressclassname");
    if (str_eqz(obj_note(s->o, "acme.cert-manager.io/http01-edit-in-place"), "true")) {
        note_to(s, &notes, "acme.cert-manager.io/http01-override-ingress-name", s->o->name);
        note_to(s, &notes, NOTE_TEMPORARY, S("true"));
    }
    if (class.n)
        note_to(s, &notes, "acme.cert-manager.io/http01-override-ingress-class", class);
    if (class_name.n)
        note_to(s, &notes, "acme.cert-manager.io/http01-override-ingress-ingressclassname", class_name);
    if (s->o->kind != K(Ingress))
        parent_note(s, &notes);
    return notes;
}

static struct val wish_labels(struct cert_shim *s)
{
    struct val labels = val_map();
    val_each_member (m, obj_labels(s->o))
        if (!str_eqz(m->name->s, "applyset.kubernetes.io/part-of"))
            val_set_str(s->a, &labels, m->name->s, val_copy(s->a, &m->v));
    return labels;
}

/* In what annotations and entries say; a user may add the rest. */
static bool wish_stands(const struct obj *cert, const struct val *spec, const struct val *labels)
{
    static const char *const fields[] = {"commonName",     "dnsNames",
                                         "ipAddresses",    "secretName",
                                         "issuerRef",      "revisionHistoryLimit",
                                         "privateKey",     "duration",
                                         "renewBefore",    "renewBeforePercentage",
                                         "usages",         "subject",
                                         "emailAddresses", "uris"};
    const struct val *have = obj_labels(cert);
    for (size_t i = 0; i < countof(fields); i++)
        if (!val_equal(cert_field(spec, fields[i]), cert_field(obj_spec(cert), fields[i])) &&
            (cert_field(spec, fields[i]) || i < 7))
            return false;
    return val_len(labels) == val_len(have) && (val_len(labels) == 0 || val_equal(labels, have));
}

static void wish_grant(struct cert_shim *s, const struct cert_wish *w)
{
    struct val spec, labels = wish_labels(s), notes = wish_notes(s), tree = val_map(), owners = val_list();
    const struct obj *have = view_get(s->v, s->certs, s->o->ns, w->secret);
    if (!wish_spec(s, w, &spec))
        return;
    if (have && !owned_by(have, s->o)) {
        shim_complain(s,
                      arena_fmt(s->a,
                                "certificate resource \"" STR_FMT
                                "\" is not owned by this object. refusing to update non-owned certificate resource",
                                STR_ARG(have->name)));
        return;
    }
    if (have && (obj_deleting(have) || wish_stands(have, &spec, &labels)))
        return;
    if (have)
        tree = plan_edit(s->out, have);
    struct val *meta = val_need_map(s->a, &tree, N(metadata));
    if (labels.n)
        val_set(s->a, meta, N(labels), labels);
    else
        (void)val_del(meta, N(labels));
    if (notes.n) {
        struct val *to = val_need_map(s->a, meta, N(annotations));
        val_each_member (m, &notes)
            val_set_str(s->a, to, m->name->s, m->v);
    }
    val_set(s->a, &tree, N(spec), spec);
    if (have) {
        struct action *made = plan_update(s->out, have, S(""), tree);
        if (made)
            made->done = plan_event_of(s->out, s->o, "Normal", "UpdateCertificate",
                                       "Successfully updated Certificate \"" STR_FMT "\"", STR_ARG(have->name));
        return;
    }
    val_add(s->a, &owners, owner_ref(s->a, s->o));
    val_set(s->a, meta, N(ownerReferences), owners);
    plan_create(s->out, s->certs, s->o->ns, w->secret, tree)->done = plan_event_of(
        s->out, s->o, "Normal", "CreateCertificate", "Successfully created Certificate \"" STR_FMT "\"",
        STR_ARG(w->secret));
}

static void shim_tidy(struct cert_shim *s)
{
    const struct obj *c;
    for (struct objset_iter it = view_with(s->v, s->certs, &index_owner, s->o->uid); (c = objset_next(&it));) {
        bool used = !owned_by(c, s->o) || obj_deleting(c);
        array_each (w, &s->wishes)
            used |= str_eq(w->secret, cert_text(obj_spec(c), "secretName"));
        if (!used)
            plan_delete(s->out, c)->done = plan_event_of(
                s->out, s->o, "Normal", "DeleteCertificate",
                "Successfully deleted unrequired Certificate \"" STR_FMT "\"", STR_ARG(c->name));
    }
}

static void shim_go(struct cert_shim *s)
{
    if (shim_issuer(s)) {
        array_each (w, &s->wishes)
            if (w->hosts.n)
                wish_grant(s, w);
        shim_tidy(s);
    }
    array_fini(&s->wishes);
}

/* --- Ingresses --- */

static bool rule_hosts(struct cert_shim *s, struct val *out)
{
    *out = val_list();
    val_each_item (rule, val_get(obj_spec(s->o), N(rules)))
        if (val_text_at(rule, N(host)).n)
            val_add(s->a, out, val_str(s->a, val_text_at(rule, N(host))));
    return out->n > 0;
}

/* Two entries for one Secret: false, and told. */
static bool secrets_differ(struct cert_shim *s, const struct val *tls)
{
    for (size_t i = 0; i < val_len(tls); i++)
        for (size_t n = i + 1; n < val_len(tls); n++)
            if (str_eq(cert_tls_secret(s->a, s->o, val_item(tls, i), i),
                       cert_tls_secret(s->a, s->o, val_item(tls, n), n))) {
                shim_complain(s, arena_fmt(s->a,
                                           "spec.tls[%zu].secretName: Invalid value: \"" STR_FMT
                                           "\": this secret name must only appear in a single TLS entry but is also "
                                           "used in spec.tls[%zu].secretName",
                                           i, STR_ARG(cert_tls_secret(s->a, s->o, val_item(tls, i), i)), n));
                return false;
            }
    return true;
}

static void ingress_plan(const struct view *v, struct key key, struct plan *out)
{
    struct cert_shim s = {.v = v, .out = out, .a = &out->arena, .certs = view_defined(v, CERTS)};
    struct val hosts;
    s.o = view_get(v, K(Ingress), key.ns, key.name);
    if (cert_waits(v, out) || !s.o || !s.certs || obj_deleting(s.o) || !cert_is_asked(s.o))
        return;
    const struct val *tls = val_get(obj_spec(s.o), N(tls));
    if (!secrets_differ(&s, tls))
        return;
    for (size_t i = 0; i < val_len(tls); i++) {
        const struct val *named = val_get(val_item(tls, i), N(hosts));
        if (!val_len(named) && rule_hosts(&s, &hosts))
            named = &hosts;
        if (!val_len(named))
            shim_complain(&s, arena_fmt(s.a, "Skipped a TLS block: spec.tls[%zu].hosts: Required value", i));
        wish_add(&s, cert_tls_secret(s.a, s.o, val_item(tls, i), i), named);
    }
    if (cert_tls_implied(s.o) && rule_hosts(&s, &hosts))
        wish_add(&s, cert_tls_secret(s.a, s.o, NULL, 0), &hosts);
    shim_go(&s);
}

/* --- Gateways --- */

static bool listener_is_ignored(const struct obj *o, struct str name)
{
    struct str rest = obj_note(o, "cert-manager.io/ignore-tls-listeners"), part;
    while (rest.n && str_cut(&rest, ',', &part))
        if (str_eq(str_trim(part), name))
            return true;
    return false;
}

/* Why a listener has no certificate of ours; NULL: it may have one. */
static const char *listener_bad(const struct cert_shim *s, const struct val *l)
{
    const struct val *tls = cert_field(l, "tls"), *refs = cert_field(tls, "certificateRefs");
    if (!cert_text(l, "hostname").n)
        return "hostname: Required value: the hostname cannot be empty";
    if (!tls)
        return "tls: Required value: the TLS block cannot be empty";
    if (!val_len(refs))
        return "tls.certificateRef: Required value: listener has no certificateRefs";
    val_each_item (ref, refs) {
        struct str group = cert_text(ref, "group"), kind = cert_text(ref, "kind"), ns = cert_text(ref, "namespace");
        if (group.n && !str_eqz(group, "core"))
            return "tls.certificateRef[].group: Unsupported value: supported values: \"core\", \"\"";
        if (kind.n && !str_eqz(kind, "Secret"))
            return "tls.certificateRef[].kind: Unsupported value: supported values: \"Secret\", \"\"";
        if (ns.n && !str_eq(ns, s->o->ns))
            return "tls.certificateRef[].namespace: Invalid value: cross-namespace secret references are not allowed "
                   "in listeners";
    }
    return NULL;
}

static void listeners_plan(const struct view *v, const char *definition, struct key key, struct plan *out)
{
    const struct kind *k = view_defined(v, definition);
    struct cert_shim s = {.v = v, .out = out, .a = &out->arena, .certs = view_defined(v, CERTS)};
    s.o = k ? view_get(v, k, key.ns, key.name) : NULL;
    if (cert_waits(v, out) || !s.o || !s.certs || obj_deleting(s.o) || !cert_is_asked(s.o))
        return;
    const struct val *listeners = cert_field(obj_spec(s.o), "listeners");
    for (size_t i = 0; i < val_len(listeners); i++) {
        const struct val *l = val_item(listeners, i), *tls = cert_field(l, "tls");
        struct str protocol = cert_text(l, "protocol");
        if ((!str_eqz(protocol, "HTTPS") && !str_eqz(protocol, "TLS")) ||
            str_eqz(cert_text(tls, "mode"), "Passthrough") || listener_is_ignored(s.o, cert_text(l, "name")))
            continue;
        const char *bad = listener_bad(&s, l);
        if (bad) {
            shim_complain(&s, arena_fmt(s.a, "Skipped a listener block: spec.listeners[%zu].%s", i, bad));
            continue;
        }
        struct val host = val_list();
        val_add(s.a, &host, val_str(s.a, cert_text(l, "hostname")));
        val_each_item (ref, cert_field(tls, "certificateRefs"))
            wish_add(&s, cert_text(ref, "name"), &host);
    }
    shim_go(&s);
}

static void gateway_plan(const struct view *v, struct key key, struct plan *out)
{
    listeners_plan(v, GATEWAYS, key, out);
}

static void set_plan(const struct view *v, struct key key, struct plan *out)
{
    listeners_plan(v, LISTENER_SETS, key, out);
}

/* --- who is asked again --- */

static void keys_of_cert(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                         void *arg)
{
    keys_of_controller(v, was, now, K(Ingress), add, arg);
}

static void keys_of_gateway_cert(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                                 void *arg)
{
    const struct kind *k = view_defined(v, GATEWAYS);
    if (k)
        keys_of_controller(v, was, now, k, add, arg);
}

static void keys_of_set_cert(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                             void *arg)
{
    const struct kind *k = view_defined(v, LISTENER_SETS);
    if (k)
        keys_of_controller(v, was, now, k, add, arg);
}

/* The default one may be another now. */
static void keys_asking(const struct view *v, const struct obj *was, const struct obj *now, const struct kind *k,
                        keys_add_fn *add, void *arg)
{
    const struct obj *o;
    if (!k || !v->sets[k->id] ||
        (was && now && note_is_true(was, NOTE_DEFAULT_ISSUER) == note_is_true(now, NOTE_DEFAULT_ISSUER)) ||
        (!was && !note_is_true(now, NOTE_DEFAULT_ISSUER)) || (!now && !note_is_true(was, NOTE_DEFAULT_ISSUER)))
        return;
    for (struct objset_iter it = view_all(v, k); (o = objset_next(&it));)
        if (cert_is_asked(o))
            add(arg, o->ns, o->name);
}

static void keys_ingress_default(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                                 void *arg)
{
    keys_asking(v, was, now, K(Ingress), add, arg);
}

static void keys_gateway_default(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                                 void *arg)
{
    keys_asking(v, was, now, view_defined(v, GATEWAYS), add, arg);
}

static void keys_set_default(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                             void *arg)
{
    keys_asking(v, was, now, view_defined(v, LISTENER_SETS), add, arg);
}

static const struct controller_watch ingress_watches[] = {{K(Ingress), keys_self}, {K(Lease), keys_none}, {0}};
static const struct defined_watch ingress_defined[] = {
    {CERTS, keys_of_cert}, {CLUSTER_ISSUERS, keys_ingress_default}, {0}};
const struct controller ingressshim_controller = {
    .name = "ingressshim",
    .component = "cert-manager-ingress-shim",
    .account = "cert-manager",
    .setting = "certificates",
    .watches = ingress_watches,
    .defined = ingress_defined,
    .plan = ingress_plan,
};

static const struct controller_watch gateway_watches[] = {{K(Lease), keys_none}, {0}};
static const struct defined_watch gateway_defined[] = {
    {GATEWAYS, keys_self}, {CERTS, keys_of_gateway_cert}, {CLUSTER_ISSUERS, keys_gateway_default}, {0}};
const struct controller gatewayshim_controller = {
    .name = "gatewayshim",
    .component = "cert-manager-gateway-shim",
    .account = "cert-manager",
    .setting = "certificates",
    .watches = gateway_watches,
    .defined = gateway_defined,
    .plan = gateway_plan,
};

static const struct defined_watch set_defined[] = {
    {LISTENER_SETS, keys_self}, {CERTS, keys_of_set_cert}, {CLUSTER_ISSUERS, keys_set_default}, {0}};
const struct controller listenersetshim_controller = {
    .name = "listenersetshim",
    .component = "cert-manager-gateway-shim",
    .account = "cert-manager",
    .setting = "certificates",
    .watches = gateway_watches,
    .defined = set_defined,
    .plan = set_plan,
};
