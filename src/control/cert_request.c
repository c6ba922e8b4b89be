/* CertificateRequests: approved, where nobody has denied them, and signed by the issuers that are here: SelfSigned,
 * and CA; those of ACME become Orders (acme.h). Requests to issuers of other groups are left to those (cert-manager:
 * pkg/controller/certificaterequests). */
#include "control/cert.h"

#define DEFAULT_SECONDS (90 * 86400)
#define CANNOT_SIGN     "cannot be signed: " /* how the work's errors begin */

struct signing {
    const struct view *v;
    struct plan *out;
    struct arena *a;
    const struct obj *request, *issuer;
    const struct val *spec;
    struct val status; /* that is to be */
    struct val work;   /* what completes it */
    struct plan_event said;
};

static bool ready_reason_is(const struct val *status, const char *reason)
{
    return str_eqz(val_text_at(condition_get(status, "Ready"), N(reason)), reason);
}

static void event_say(struct signing *s, const char *type, const char *reason, struct str message)
{
    obj_unref(s->said.about);
    s->said = plan_event_of(s->out, s->request, type, reason, STR_FMT, STR_ARG(message));
}

static void ready_set(struct signing *s, const char *state, const char *reason, struct str message)
{
    cert_condition(s->a, &s->status, "Ready", state, reason, message, 0, s->v->now);
}

static void request_pending(struct signing *s, const char *reason, struct str message)
{
    if (!ready_reason_is(&s->status, "Pending"))
        event_say(s, "Normal", reason, message);
    ready_set(s, "False", "Pending", message);
    plan_why(s->out, STR_FMT, STR_ARG(message));
}

static void failure_time(struct signing *s)
{
    if (!cert_text(&s->status, "failureTime").n)
        val_set_str(s->a, &s->status, S("failureTime"), val_str(s->a, time_text(s->a, s->v->now)));
}

static void request_failed(struct signing *s, const char *reason, struct str message)
{
    failure_time(s);
    event_say(s, "Warning", reason, message);
    ready_set(s, "False", "Failed", message);
}

static void request_ready(struct signing *s)
{
    static const struct str message = S_INIT("Certificate fetched from issuer successfully");
    event_say(s, "Normal", "CertificateIssued", message);
    ready_set(s, "True", "Issued", message);
}

/* --- signing here --- */

static void text_list(struct signing *s, struct val *ask, const char *name, const struct val *list)
{
    if (val_len(list))
        val_set_str(s->a, ask, str_of(name), val_copy(s->a, list));
}

/* What signers of both types are told; the status that is planned with it says that it is done. */
static void request_sign_here(struct signing *s, struct str key, const struct val *urls)
{
    struct val ask = val_map();
    int64_t ns;
    if (str_starts(s->v->trouble, S(CANNOT_SIGN))) {
        struct str why = str_sub(s->v->trouble, sizeof CANNOT_SIGN - 1, s->v->trouble.n);
        request_failed(s, "SigningError", arena_fmt(s->a, "Error signing certificate: " STR_FMT, STR_ARG(why)));
        return;
    }
    bool given = cert_duration(cert_field(s->spec, "duration"), &ns);
    val_set_str(s->a, &ask, S("do"), val_str_borrowed(S("sign")));
    val_set_str(s->a, &ask, S("key"), val_bytes(s->a, key));
    val_set_str(s->a, &ask, S("request"), val_bytes(s->a, cert_base64(s->a, cert_field(s->spec, "request"))));
    val_set_str(s->a, &ask, S("isCA"), val_bool(val_true(cert_field(s->spec, "isCA"))));
    val_set_str(s->a, &ask, S("seconds"), val_int(given ? ns / NS_PER_S : DEFAULT_SECONDS));
    text_list(s, &ask, "usages", cert_field(s->spec, "usages"));
    text_list(s, &ask, "crl", cert_field(urls, "crlDistributionPoints"));
    text_list(s, &ask, "ocsp", cert_field(urls, "ocspServers"));
    text_list(s, &ask, "urls", cert_field(urls, "issuingCertificateURLs"));
    s->work = ask;
    request_ready(s);
}

static void sign_ca(struct signing *s)
{
    const struct val *ca = cert_field(obj_spec(s->issuer), "ca");
    struct str ns = cert_issuer_namespace(s->issuer), name = cert_text(ca, "secretName");
    const struct obj *secret = view_get(s->v, K(Secret), ns, name);
    struct str key = secret_bytes(secret, "tls.key"), chain = secret_bytes(secret, "tls.crt");
    if (!secret) {
        request_pending(
            s, "SecretMissing",
            arena_fmt(s->a, "Referenced secret " STR_FMT "/" STR_FMT " not found: secret \"" STR_FMT "\" not found",
                      STR_ARG(ns), STR_ARG(name), STR_ARG(name)));
        return;
    }
    if (!key.n || !chain.n) {
        request_pending(s, "SecretInvalidData",
                        arena_fmt(s->a,
                                  "Failed to parse signing CA keypair from secret " STR_FMT "/" STR_FMT
                                  ": no data for \"%s\" in secret '" STR_FMT "/" STR_FMT "'",
                                  STR_ARG(ns), STR_ARG(name), key.n ? "tls.crt" : "tls.key", STR_ARG(ns),
                                  STR_ARG(name)));
        return;
    }
    request_sign_here(s, key, ca);
    if (!val_is(&s->work, VAL_MAP))
        return;
    val_set_str(s->a, &s->work, S("certificate"), val_bytes(s->a, chain));
    if (secret_bytes(secret, "ca.crt").n)
        val_set_str(s->a, &s->work, S("ca"), val_bytes(s->a, secret_bytes(secret, "ca.crt")));
}

static void sign_self(struct signing *s)
{
    struct str ns = s->request->ns, name = obj_note(s->request, NOTE_KEY_SECRET);
    const struct obj *secret = view_get(s->v, K(Secret), ns, name);
    struct val key, asked;
    struct err err = ERR;
    if (!name.n) {
        request_failed(s, "MissingAnnotation",
                       S("Annotation \"" NOTE_KEY_SECRET "\" missing or reference empty: secret name missing"));
        return;
    }
    if (!secret) {
        request_pending(
            s, "MissingSecret",
            arena_fmt(s->a, "Referenced secret " STR_FMT "/" STR_FMT " not found: secret \"" STR_FMT "\" not found",
                      STR_ARG(ns), STR_ARG(name), STR_ARG(name)));
        return;
    }
    if (!cert_facts(s->v, s->a, X509_KEY, secret_bytes(secret, "tls.key"), &key, &err)) {
        request_pending(
            s, "ErrorParsingKey",
            arena_fmt(s->a, "Failed to get key \"" STR_FMT "\" referenced in annotation \"" NOTE_KEY_SECRET "\": %s",
                      STR_ARG(name), err.text));
        return;
    }
    if (!cert_facts(s->v, s->a, X509_REQUEST, cert_base64(s->a, cert_field(s->spec, "request")), &asked, &err)) {
        request_failed(s, "ErrorGenerating", arena_fmt(s->a, "Error generating certificate template: %s", err.text));
        return;
    }
    if (!str_eq(cert_text(&key, "publicKey"), cert_text(&asked, "publicKey"))) {
        request_failed(s, "ErrorKeyMatch",
                       S("Error generating certificate template: CSR not signed by referenced private key"));
        return;
    }
    request_sign_here(s, secret_bytes(secret, "tls.key"), cert_field(obj_spec(s->issuer), "selfSigned"));
    if (str_eqz(cert_text(&asked, "literal"), "3000") && val_is(&s->work, VAL_MAP))
        plan_event(s->out, (struct obj *)(uintptr_t)s->request, "Warning", "BadConfig",
                   "Certificate will be issued with an empty Issuer DN, which contravenes RFC 5280 and could break "
                   "some strict clients");
}

/* --- all of them --- */

/* Orders are made and followed by who speaks to the authority (acme.h). */
static void order_wait(struct signing *s)
{
    struct str told = val_text_at(condition_get(&s->status, "Ready"), N(message));
    plan_why(s->out, "waits for its Order%s" STR_FMT, told.n ? ": " : "", STR_ARG(told));
}

static void request_sign(struct signing *s)
{
    struct cert_issuer ref = cert_issuer_of(s->spec);
    s->issuer = cert_issuer_find(s->v, s->request->ns, &ref);
    const char *type = s->issuer ? cert_issuer_type(s->issuer) : NULL;
    if (!s->issuer)
        request_pending(
            s, "IssuerNotFound",
            arena_fmt(s->a, "Referenced \"" STR_FMT "\" not found: %s.cert-manager.io \"" STR_FMT "\" not found",
                      STR_ARG(ref.kind), str_eqz(ref.kind, "ClusterIssuer") ? "clusterissuer" : "issuer",
                      STR_ARG(ref.name)));
    else if (!type)
        request_pending(s, "IssuerTypeMissing",
                        arena_fmt(s->a,
                                  "Missing issuer type: no issuer specified for Issuer '" STR_FMT "/" STR_FMT "'",
                                  STR_ARG(s->issuer->ns), STR_ARG(s->issuer->name)));
    else if (str_eqz(str_of(type), "acme"))
        order_wait(s);
    else if (!condition_is(obj_status(s->issuer), "Ready", "True")) {
        const struct val *why = condition_get(obj_status(s->issuer), "Ready");
        request_pending(s, "IssuerNotReady", S("Referenced issuer does not have a Ready status condition"));
        if (why)
            plan_why(s->out, STR_FMT, STR_ARG(val_text_at(why, N(message))));
    } else if (str_eqz(str_of(type), "ca"))
        sign_ca(s);
    else if (str_eqz(str_of(type), "selfSigned"))
        sign_self(s);
}

static void request_decide(struct signing *s)
{
    struct val *st = &s->status;
    if (condition_is(st, "Denied", "True")) {
        failure_time(s);
        ready_set(s, "False", "Denied", S("The CertificateRequest was denied by an approval controller"));
        return;
    }
    if (condition_is(st, "InvalidRequest", "True") || ready_reason_is(st, "Failed") ||
        ready_reason_is(st, "Issued") || ready_reason_is(st, "Denied"))
        return;
    if (!condition_is(st, "Approved", "True")) {
        static const struct str message = S_INIT("Certificate request has been approved by cert-manager.io");
        cert_condition(s->a, st, "Approved", "True", "cert-manager.io", message, 0, s->v->now);
        plan_event(s->out, (struct obj *)(uintptr_t)s->request, "Normal", "cert-manager.io", STR_FMT,
                   STR_ARG(message));
    }
    if (!cert_text(st, "certificate").n)
        request_sign(s);
}

static void request_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct kind *k = view_defined(v, CERT_REQUESTS);
    const struct obj *request = k ? view_get(v, k, key.ns, key.name) : NULL;
    struct cert_issuer ref = request ? cert_issuer_of(obj_spec(request)) : (struct cert_issuer){0};
    if (cert_waits(v, out) || !request || obj_deleting(request) || !str_eqz(ref.group, CERT_GROUP))
        return;
    struct signing s = {.v = v, .out = out, .a = &out->arena, .request = request, .spec = obj_spec(request)};
    struct val tree = plan_edit(out, request);
    s.status = *val_need_map(s.a, &tree, N(status));
    request_decide(&s);
    val_set(s.a, &tree, N(status), s.status);
    struct action *told = plan_update(out, request, S("status"), tree);
    if (told) {
        told->done = s.said;
        told->work = s.work;
    } else {
        obj_unref(s.said.about);
    }
}

/* --- who is asked again --- */

static void waiting_add(const struct obj *o, keys_add_fn *add, void *arg)
{
    if (!ready_reason_is(obj_status(o), "Issued") && !ready_reason_is(obj_status(o), "Failed"))
        add(arg, o->ns, o->name);
}

static void keys_of_issuer(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                           void *arg)
{
    const struct kind *requests = view_defined(v, CERT_REQUESTS);
    const struct obj *o = now ? now : was, *r;
    struct cert_issuer i = {o->name, o->kind->kind, o->kind->group};
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    if (!requests)
        return;
    for (struct objset_iter it = view_with(v, requests, &index_cert_issuer, cert_issuer_key(&key, &i));
         (r = objset_next(&it));)
        if (!o->kind->namespaced || str_eq(r->ns, o->ns))
            waiting_add(r, add, arg);
}

static void keys_of_secret(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                           void *arg)
{
    static const char *const kinds_of[] = {ISSUERS, CLUSTER_ISSUERS};
    const struct kind *requests = view_defined(v, CERT_REQUESTS);
    const struct obj *o = now ? now : was, *found;
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    struct str name = objset_key_of(&key, o);
    if (!requests)
        return;
    for (struct objset_iter it = view_with(v, requests, &index_request_secret, name); (found = objset_next(&it));)
        waiting_add(found, add, arg);
    for (size_t i = 0; i < countof(kinds_of); i++) {
        const struct kind *k = view_defined(v, kinds_of[i]);
        if (!k)
            continue;
        for (struct objset_iter it = view_with(v, k, &index_issuer_secret, name); (found = objset_next(&it));)
            keys_of_issuer(v, NULL, found, add, arg);
    }
}

static const struct controller_watch watches[] = {{K(Secret), keys_of_secret}, {K(Lease), keys_none}, {0}};
static const struct defined_watch defined[] = {{CERT_REQUESTS, keys_self},
                                               {ISSUERS, keys_of_issuer},
                                               {CLUSTER_ISSUERS, keys_of_issuer},

                                               {0}};
const struct controller certificaterequest_controller = {
    .name = "certificaterequest",
    .component = "cert-manager-certificaterequests",
    .account = "cert-manager",
    .setting = "certificates",
    .watches = watches,
    .defined = defined,
    .plan = request_plan,
};
