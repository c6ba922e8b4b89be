/* Certificates: when one is to be issued, the key for it, the request, the Secret; renewal, and what stands of all
 * that in the status. One plan does what cert-manager's controllers trigger, keymanager, requestmanager, issuing,
 * readiness and revisionmanager do, with their conditions and events:
 *
 *   Issuing=True -> a Secret with the next key -> CertificateRequest NAME-REVISION -> it is Ready -> the Secret is
 *   written, then status.revision, and Issuing is gone -> the next key's Secret is taken away
 *
 * What is served stays until its successor is signed. Each step is seen before the next, so a server that dies in
 * between goes on where it was; the key's Secret is found by its owner and label. */
#include "control/cert.h"
#include "api/codec.h"
#include "control/acme.h"

#define BACKOFF_FIRST (3600 * NS_PER_S)
#define BACKOFF_MOST  (32 * 3600 * NS_PER_S)
#define JITTER_MOST   (3600 * NS_PER_S)

struct certificate {
    const struct view *v;
    struct plan *out;
    struct arena *a;
    const struct obj *cert, *secret, *current; /* the request of status.revision */
    const struct val *spec;
    struct val status;      /* that is to be */
    bool issuing;           /* as the plan found it */
    int64_t revision, next; /* of status; of the issuance under way */
    struct val facts, key;  /* of what is in the Secret */
    bool has_facts;
    ARRAY(const struct obj *) requests; /* that it owns */
    ARRAY(const struct obj *) keys;     /* Secrets with a next key that it owns */
    struct plan_event said;             /* once the status is written */
};

struct verdict {
    const char *reason;
    struct str message;
};

static struct verdict verdict_of(const char *reason, struct str message)
{
    return (struct verdict){reason, message};
}

/* --- what is there --- */

static void certificate_gather(struct certificate *c)
{
    const struct kind *requests = view_defined(c->v, CERT_REQUESTS);
    const struct obj *o;
    for (struct objset_iter it = view_with(c->v, requests, &index_owner, c->cert->uid); (o = objset_next(&it));) {
        if (!owned_by(o, c->cert) || obj_deleting(o))
            continue;
        array_push(&c->requests, o);
        if (c->revision && cert_revision(o) == c->revision)
            c->current = o;
    }
    for (struct objset_iter it = view_with(c->v, K(Secret), &index_owner, c->cert->uid); (o = objset_next(&it));)
        if (owned_by(o, c->cert) && !obj_deleting(o) &&
            str_eqz(val_text(val_get_str(obj_labels(o), S(LABEL_NEXT_KEY))), "true"))
            array_push(&c->keys, o);
}

/* Of several that name the same Secret the one that its annotation names has it, else the oldest. *other: who has it.
 */
static bool secret_is_ours(const struct certificate *c, const struct obj **other)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    struct str name = cert_text(c->spec, "secretName"), noted = c->secret ? obj_note(c->secret, NOTE_CERT) : S("");
    const struct obj *o, *first = c->cert;
    for (struct objset_iter it =
             view_with(c->v, c->cert->kind, &index_cert_secret, objset_key(&key, c->cert->ns, name));
         (o = objset_next(&it));) {
        if (!str_eq(cert_text(obj_spec(o), "secretName"), name))
            continue;
        int age = str_cmp(val_text_at(obj_meta(o), N(creationTimestamp)),
                          val_text_at(obj_meta(first), N(creationTimestamp)));
        bool by_note = str_eq(o->name, noted), first_by_note = str_eq(first->name, noted);
        if (by_note || (!first_by_note && (age < 0 || (age == 0 && str_cmp(o->name, first->name) < 0))))
            first = o;
    }
    *other = first;
    return first == c->cert;
}

/* --- policies --- */

static struct str time_rfc1123(struct arena *a, int64_t ns)
{
    char text[64];
    time_t s = (time_t)(ns / NS_PER_S);
    struct tm tm;
    gmtime_r(&s, &tm);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S UTC", &tm);
    return str_dup(a, str_of(text));
}

static struct verdict pair_verdict(struct certificate *c)
{
    struct err err = ERR;
    struct str key = secret_bytes(c->secret, "tls.key"), chain = secret_bytes(c->secret, "tls.crt");
    if (!c->secret)
        return verdict_of("DoesNotExist", S("Issuing certificate as Secret does not exist"));
    if (!val_len(val_get(&c->secret->tree, N(data))))
        return verdict_of("MissingData", S("Issuing certificate as Secret does not contain any data"));
    if (!key.n)
        return verdict_of("MissingData", S("Issuing certificate as Secret does not contain a private key"));
    if (!chain.n)
        return verdict_of("MissingData", S("Issuing certificate as Secret does not contain a certificate"));
    c->has_facts = cert_facts(c->v, c->a, X509_CERTIFICATE, chain, &c->facts, &err);
    struct err why = ERR;
    if (!cert_facts(c->v, c->a, X509_KEY, key, &c->key, &why))
        return verdict_of(
            "InvalidKeyPair",
            arena_fmt(c->a, "Issuing certificate as Secret contains invalid private key data: %s", why.text));
    if (!c->has_facts)
        return verdict_of(
            "InvalidCertificate",
            arena_fmt(c->a, "Issuing certificate as Secret contains an invalid certificate: %s", err.text));
    if (!str_eq(cert_text(&c->facts, "publicKey"), cert_text(&c->key, "publicKey")))
        return verdict_of(
            "InvalidKeyPair",
            S("Issuing certificate as Secret contains a private key that does not match the certificate"));
    return verdict_of(NULL, S(""));
}

static struct verdict spec_verdict(struct certificate *c)
{
    struct arena *a = c->a;
    struct cert_issuer want = cert_issuer_of(c->spec);
    struct cert_issuer had = {obj_note(c->secret, NOTE_ISSUER), obj_note(c->secret, NOTE_ISSUER_KIND),
                              obj_note(c->secret, NOTE_ISSUER_GROUP)};
    struct str noted = obj_note(c->secret, NOTE_CERT), misfits;
    had.kind = had.kind.n ? had.kind : S("Issuer");
    had.group = had.group.n ? had.group : S(CERT_GROUP);
    if (!cert_issuer_same(&want, &had))
        return verdict_of("IncorrectIssuer",
                          arena_fmt(a,
                                    "Issuing certificate as Secret was previously issued by \"" STR_FMT "." STR_FMT
                                    "/" STR_FMT "\"",
                                    STR_ARG(had.kind), STR_ARG(had.group), STR_ARG(had.name)));
    if (noted.n && !str_eq(noted, c->cert->name))
        return verdict_of("IncorrectCertificate",
                          arena_fmt(a,
                                    "Secret was issued for \"" STR_FMT
                                    "\". If this message is not transient, you might have two conflicting "
                                    "Certificates pointing to the same secret.",
                                    STR_ARG(noted)));
    misfits = cert_key_misfits(a, c->spec, &c->key);
    if (misfits.n)
        return verdict_of("SecretMismatch", arena_fmt(a, "Existing private key is not up to date for spec: " STR_FMT,
                                                      STR_ARG(misfits)));
    if (c->current) {
        struct val asked;
        struct err err = ERR;
        struct str text = cert_base64(a, cert_field(obj_spec(c->current), "request"));
        if (!cert_facts(c->v, a, X509_REQUEST, text, &asked, &err))
            return verdict_of("InvalidCertificateRequest",
                              arena_fmt(a, "Failed to decode current CertificateRequest: %s", err.text));
        if (!str_eq(cert_text(&asked, "publicKey"), cert_text(&c->key, "publicKey")))
            return verdict_of("SecretMismatch",
                              S("Secret contains a private key that does not match the current CertificateRequest"));
        if (cert_request_misfits(c->v, a, c->spec, c->current, &misfits) && misfits.n)
            return verdict_of("RequestChanged",
                              arena_fmt(a, "Fields on existing CertificateRequest resource not up to date: " STR_FMT,
                                        STR_ARG(misfits)));
        return verdict_of(NULL, S(""));
    }
    misfits = cert_names_misfit(a, c->spec, &c->facts);
    return misfits.n ? verdict_of("SecretMismatch",
                                  arena_fmt(a,
                                            "Issuing certificate as Existing issued Secret is not up to date for "
                                            "spec: " STR_FMT,
                                            STR_ARG(misfits)))
                     : verdict_of(NULL, S(""));
}

static int64_t fact_num(const struct certificate *c, const char *name)
{
    return val_num(cert_field(&c->facts, name), 0);
}

/* Many that were issued at once are not renewed at once: a part of what is left of each one's life, by its uid. */
static int64_t jitter_of(const struct certificate *c, int64_t renewal)
{
    int64_t most = MIN((fact_num(c, "notAfter") - renewal) / 20, JITTER_MOST), told;
    if (time_parse(obj_note(c->cert, ACME_RENEW_AT_NOTE), &told) && told == renewal)
        return 0; /* it was drawn from a window already */
    return most > NS_PER_S ? (int64_t)(stable_hash(c->cert->uid, (uint64_t)renewal) % (uint64_t)most) : 0;
}

/* --- what the status says --- */

static void status_time(struct certificate *c, const char *name, int64_t at)
{
    if (at)
        val_set_str(c->a, &c->status, str_of(name), val_str(c->a, time_text(c->a, at)));
    else
        (void)val_del_str(&c->status, str_of(name));
}

/* *renewal: when the next is due, 0: never. */
static void readiness_tell(struct certificate *c, struct verdict found, int64_t *renewal)
{
    struct err err = ERR;
    int64_t from = c->has_facts ? fact_num(c, "notBefore") : 0, to = c->has_facts ? fact_num(c, "notAfter") : 0;
    int64_t suggested = 0;
    *renewal = 0;
    if (!found.reason && c->v->now > to)
        found = verdict_of("Expired",
                           arena_fmt(c->a, "Certificate expired on " STR_FMT, STR_ARG(time_rfc1123(c->a, to))));
    if (c->has_facts && !cert_renewal_time(c->v, c->spec, from, to, renewal, &err)) {
        struct str message = arena_fmt(c->a, "Could not calculate renewal time: %s", err.text);
        found = verdict_of("WindowError", message);
        if (!cert_condition_says(obj_status(c->cert), "Ready", "False", S("WindowError"), message))
            plan_event(c->out, (struct obj *)(uintptr_t)c->cert, "Warning", "WindowError", STR_FMT, STR_ARG(message));
    }
    /* Where the CA has told when (RFC 9773; noted by who speaks to it), that goes before. */
    if (*renewal && time_parse(obj_note(c->cert, ACME_RENEW_AT_NOTE), &suggested) && suggested > from &&
        cert_field(cert_field(&c->status, "acme"), "ari"))
        *renewal = suggested;
    status_time(c, "notBefore", from);
    status_time(c, "notAfter", to);
    status_time(c, "renewalTime", *renewal);
    cert_condition(c->a, &c->status, "Ready", found.reason ? "False" : "True", found.reason ? found.reason : "Ready",
                   found.reason ? found.message : S("Certificate is up to date and has not expired"),
                   obj_generation(c->cert), c->v->now);
    if (c->has_facts && c->v->now <= to)
        plan_again(c->out, to + NS_PER_S);
}

/* --- the next key --- */

static void number_set(struct certificate *c, const char *name, int64_t n)
{
    if (n)
        val_set_str(c->a, &c->status, str_of(name), val_int(n));
    else
        (void)val_del_str(&c->status, str_of(name));
}

static struct obj *event_about(const struct certificate *c)
{
    return (struct obj *)(uintptr_t)c->cert;
}

/* A function of what is being issued: two plans that saw the same make one Secret. */
static struct str next_key_name(const struct certificate *c)
{
    int64_t tries = val_num(cert_field(obj_status(c->cert), "failedIssuanceAttempts"), 0);
    struct str seed = arena_fmt(c->a, STR_FMT "/%lld/%lld/%lld", STR_ARG(c->cert->uid), (long long)c->next,
                                (long long)tries, (long long)obj_generation(c->cert));
    struct str suffix = name_suffix(c->a, seed, 0);
    return arena_fmt(c->a, STR_FMT "-" STR_FMT, STR_ARG(str_sub(c->cert->name, 0, 247)), STR_ARG(suffix));
}

static struct action *next_key_create(struct certificate *c, struct str name)
{
    struct val body = val_map(), owners = val_list();
    struct val *meta = val_need_map(c->a, &body, N(metadata)), *labels = val_need_map(c->a, meta, N(labels));
    val_set_str(c->a, labels, S(LABEL_NEXT_KEY), val_str_borrowed(S("true")));
    val_set_str(c->a, labels, S(LABEL_CERT_MANAGER), val_str_borrowed(S("true")));
    val_add(c->a, &owners, owner_ref(c->a, c->cert));
    val_set(c->a, meta, N(ownerReferences), owners);
    val_set_text(c->a, &body, N(type), S("Opaque"));
    return plan_create(c->out, K(Secret), c->cert->ns, name, body);
}

/* The key that is served goes on being used (rotationPolicy Never). False: it does not suit, and nobody may change
 * it.
 */
static bool next_key_reuse(struct certificate *c, struct str name, bool *reused)
{
    struct val facts;
    struct err err = ERR;
    struct str key = secret_bytes(c->secret, "tls.key");
    *reused = false;
    if (!key.n)
        return true;
    if (!cert_facts(c->v, c->a, X509_KEY, key, &facts, &err)) {
        plan_event(c->out, event_about(c), "Warning", "DecodeFailed",
                   "Failed to decode private key stored in Secret \"" STR_FMT "\" - generating new key",
                   STR_ARG(c->secret->name));
        return true;
    }
    struct str misfits = cert_key_misfits(c->a, c->spec, &facts);
    if (misfits.n) {
        plan_why(c->out,
                 "existing private key in Secret \"" STR_FMT
                 "\" does not match requirements on Certificate resource, "
                 "mismatching fields: " STR_FMT "; spec.privateKey.rotationPolicy: Always lets a new one be made",
                 STR_ARG(c->secret->name), STR_ARG(misfits));
        if (!str_eq(c->v->why, c->out->why))
            plan_event(c->out, event_about(c), "Warning", "CannotRegenerateKey",
                       "User intervention required: existing private key in Secret \"" STR_FMT
                       "\" does not match requirements on Certificate resource, mismatching fields: " STR_FMT
                       ", but cert-manager cannot create new private key as the Certificate's "
                       ".spec.privateKey.rotationPolicy is unset or set to Never. To allow cert-manager to create a "
                       "new private key you can set .spec.privateKey.rotationPolicy to 'Always' (this will result in "
                       "the private key being regenerated every time a cert is renewed) ",
                       STR_ARG(c->secret->name), STR_ARG(misfits));
        return false;
    }
    *reused = true;
    struct action *made = next_key_create(c, name);
    val_set_str(c->a, val_need_map(c->a, &made->body, N(data)), S("tls.key"), val_bytes(c->a, key));
    made->done = plan_event_of(c->out, c->cert, "Normal", "Reused",
                               "Reusing private key stored in existing Secret resource \"" STR_FMT "\"",
                               STR_ARG(c->secret->name));
    return true;
}

static void next_key_make(struct certificate *c)
{
    const struct val *want = cert_field(c->spec, "privateKey");
    struct str name = next_key_name(c), algorithm = cert_text(want, "algorithm");
    bool reused = false;
    if (c->v->trouble.n)
        plan_why(c->out, "its next key cannot be made or stored: " STR_FMT, STR_ARG(c->v->trouble));
    if (str_eqz(cert_text(want, "rotationPolicy"), "Never") && !next_key_reuse(c, name, &reused))
        return;
    if (!reused) {
        struct action *made = next_key_create(c, name);
        struct val ask = val_map();
        val_set_str(c->a, &ask, S("do"), val_str_borrowed(S("key")));
        val_set_str(c->a, &ask, S("algorithm"), val_str(c->a, algorithm.n ? algorithm : S("RSA")));
        val_set_str(c->a, &ask, S("size"), val_int(val_num(cert_field(want, "size"), 0)));
        made->work = ask;
        made->done = plan_event_of(c->out, c->cert, "Normal", "Generated",
                                   "Stored new private key in temporary Secret resource \"" STR_FMT "\"",
                                   STR_ARG(name));
    }
    plan_step(c->out);
    val_set_str(c->a, &c->status, S("nextPrivateKeySecretName"), val_str(c->a, name));
}

/* The Secret with a key that suits; NULL: it is being made, or is taken away first. */
static const struct obj *next_key(struct certificate *c, struct val *facts)
{
    struct str name = cert_text(&c->status, "nextPrivateKeySecretName");
    const struct obj *found = NULL;
    struct err err = ERR;
    array_each (it, &c->keys)
        if (!found || str_eq((*it)->name, name))
            found = *it;
    array_each (it, &c->keys)
        if (*it != found)
            plan_delete(c->out, *it);
    if (!found) {
        next_key_make(c);
        return NULL;
    }
    val_set_str(c->a, &c->status, S("nextPrivateKeySecretName"), val_str(c->a, found->name));
    if (!cert_facts(c->v, c->a, X509_KEY, secret_bytes(found, "tls.key"), facts, &err)) {
        plan_delete(c->out, found);
        (void)val_del_str(&c->status, S("nextPrivateKeySecretName"));
        return NULL;
    }
    struct str misfits = cert_key_misfits(c->a, c->spec, facts);
    if (!misfits.n)
        return found;
    plan_event(c->out, event_about(c), "Normal", "Deleted",
               "Regenerating private key due to change in fields: " STR_FMT, STR_ARG(misfits));
    plan_delete(c->out, found);
    (void)val_del_str(&c->status, S("nextPrivateKeySecretName"));
    return NULL;
}

/* --- the request --- */

/* NAME, or what is left of it with a hash where it is too long for a name with a number. */
static struct str request_name(struct certificate *c)
{
    struct str name = c->cert->name;
    if (name.n > 233)
        name = arena_fmt(c->a, STR_FMT "-%08llx", STR_ARG(str_sub(name, 0, 224)),
                         (unsigned long long)(stable_hash(name, 0) & 0xffffffff));
    return arena_fmt(c->a, STR_FMT "-%lld", STR_ARG(name), (long long)c->next);
}

static void request_make(struct certificate *c, const struct obj *key)
{
    static const char *const copied[] = {"duration", "issuerRef", "isCA", "usages"};
    struct val body = val_map(), owners = val_list(), ask = val_map();
    struct val *meta = val_need_map(c->a, &body, N(metadata)), *notes = val_need_map(c->a, meta, N(annotations));
    val_each_member (m, val_get(obj_meta(c->cert), N(annotations)))
        if (!str_starts(m->name->s, S("kubectl.kubernetes.io/")) && !str_starts(m->name->s, S("fluxcd.io/")) &&
            !str_starts(m->name->s, S("argocd.argoproj.io/")))
            val_set_str(c->a, notes, m->name->s, val_copy(c->a, &m->v));
    val_set_str(c->a, notes, S(NOTE_REVISION), val_str(c->a, arena_fmt(c->a, "%lld", (long long)c->next)));
    val_set_str(c->a, notes, S(NOTE_KEY_SECRET), val_str(c->a, key->name));
    val_set_str(c->a, notes, S(NOTE_CERT), val_str(c->a, c->cert->name));
    if (obj_labels(c->cert))
        val_set(c->a, meta, N(labels), val_copy(c->a, obj_labels(c->cert)));
    val_add(c->a, &owners, owner_ref(c->a, c->cert));
    val_set(c->a, meta, N(ownerReferences), owners);
    struct val *spec = val_need_map(c->a, &body, N(spec));
    for (size_t i = 0; i < countof(copied); i++) {
        const struct val *v = cert_field(c->spec, copied[i]);
        if (v)
            val_set_str(c->a, spec, str_of(copied[i]), val_copy(c->a, v));
    }
    val_set_str(c->a, &ask, S("do"), val_str_borrowed(S("request")));
    val_set_str(c->a, &ask, S("key"), val_bytes(c->a, secret_bytes(key, "tls.key")));
    val_set_str(c->a, &ask, S("spec"), val_copy(c->a, c->spec));
    struct str name = request_name(c);
    struct action *made = plan_create(c->out, view_defined(c->v, CERT_REQUESTS), c->cert->ns, name, body);
    made->work = ask;
    made->done = plan_event_of(c->out, c->cert, "Normal", "Requested",
                               "Created new CertificateRequest resource \"" STR_FMT "\"", STR_ARG(name));
    made->failed = plan_event_of(c->out, c->cert, "Warning", "RequestFailed",
                                 "Failed to create CertificateRequest: ");
    if (c->v->trouble.n)
        plan_why(c->out, "its request cannot be made: " STR_FMT, STR_ARG(c->v->trouble));
}

static bool request_failed_before(const struct certificate *c, const struct obj *request)
{
    const struct val *ready = condition_get(obj_status(request), "Ready");
    const struct val *issuing = condition_get(&c->status, "Issuing");
    int64_t failed, begun;
    return str_eqz(val_text_at(ready, N(status)), "False") && str_eqz(val_text_at(ready, N(reason)), "Failed") &&
           time_parse(cert_text(obj_status(request), "failureTime"), &failed) &&
           time_parse(val_text_at(issuing, N(lastTransitionTime)), &begun) && failed < begun;
}

/* The request of this issuance; NULL: it is being made, or another stands in its way and is taken away first. */
static const struct obj *request_of(struct certificate *c, const struct obj *key, const struct val *key_facts)
{
    const struct obj *found = NULL;
    bool away = false;
    array_each (it, &c->requests) {
        struct str misfits = S("");
        struct val asked;
        struct err err = ERR;
        if (cert_revision(*it) && cert_revision(*it) != c->next)
            continue;
        bool fits = cert_revision(*it) && !found && cert_request_misfits(c->v, c->a, c->spec, *it, &misfits) &&
                    !misfits.n &&
                    cert_facts(c->v, c->a, X509_REQUEST, cert_base64(c->a, cert_field(obj_spec(*it), "request")),
                               &asked, &err) &&
                    str_eq(cert_text(&asked, "publicKey"), cert_text(key_facts, "publicKey")) &&
                    !request_failed_before(c, *it);
        if (fits)
            found = *it;
        else
            plan_delete(c->out, *it);
        away |= !fits;
    }
    if (!found && !away)
        request_make(c, key);
    return away ? NULL : found;
}

/* --- issuing --- */

static void issuing_failed(struct certificate *c, struct str reason, struct str why)
{
    struct str message = arena_fmt(
        c->a, "The certificate request has failed to complete and will be retried: " STR_FMT, STR_ARG(why));
    char *z = arena_strz(c->a, reason);
    status_time(c, "lastFailureTime", c->v->now);
    number_set(c, "failedIssuanceAttempts", val_num(cert_field(&c->status, "failedIssuanceAttempts"), 0) + 1);
    cert_condition(c->a, &c->status, "Issuing", "False", z, message, obj_generation(c->cert), c->v->now);
    c->said = plan_event_of(c->out, c->cert, "Warning", z, STR_FMT, STR_ARG(message));
}

static void issuing_done(struct certificate *c, const struct obj *key, const struct obj *request)
{
    struct cert_data d = {.key = secret_bytes(key, "tls.key"),
                          .chain = cert_base64(c->a, cert_field(obj_status(request), "certificate")),
                          .ca = cert_base64(c->a, cert_field(obj_status(request), "ca"))};
    struct cert_issuer issuer = cert_issuer_of(obj_spec(request));
    struct action *made;
    struct str why = S("");
    if (!cert_secret_write(c->v, c->cert, c->secret, &d, &issuer, c->out, &made, &why)) {
        plan_why(c->out, "what was issued cannot be written: " STR_FMT, STR_ARG(why));
        if (!str_eq(c->v->why, c->out->why))
            plan_event(c->out, event_about(c), "Warning", "KeystorePasswordSecretNotFound", STR_FMT, STR_ARG(why));
        return;
    }
    made->done = plan_event_of(c->out, c->cert, "Normal", "Issuing", "The certificate has been successfully issued");
    if (c->v->trouble.n)
        plan_why(c->out, "what was issued cannot be written: " STR_FMT, STR_ARG(c->v->trouble));
    if (c->v->trouble.n && !str_eq(c->v->why, c->out->why))
        plan_event(c->out, event_about(c), "Warning", "WriteFailed", STR_FMT, STR_ARG(c->out->why));
    plan_step(c->out);
    number_set(c, "revision", c->next);
    number_set(c, "failedIssuanceAttempts", 0);
    status_time(c, "lastFailureTime", 0);
    conditions_set(c->a, &c->status, conditions_without(c->a, &c->status, "Issuing"));
}

/* Something to serve until the issuer has signed, for who asked for it by annotation. */
static void temporary_issue(struct certificate *c, const struct obj *key)
{
    struct action *made;
    struct val body = val_map(), ask = val_map();
    if (!str_eqz(obj_note(c->cert, NOTE_TEMPORARY), "true") || (c->secret && !pair_verdict(c).reason))
        return;
    struct val *meta = val_need_map(c->a, &body, N(metadata));
    val_set_str(c->a, val_need_map(c->a, meta, N(annotations)), S(NOTE_CERT), val_str(c->a, c->cert->name));
    val_set_str(c->a, val_need_map(c->a, meta, N(labels)), S(LABEL_CERT_MANAGER), val_str_borrowed(S("true")));
    if (!c->secret)
        val_set_text(c->a, &body, N(type), S("kubernetes.io/tls"));
    made = c->secret ? plan_patch(c->out, c->secret, S(""), body)
                     : plan_create(c->out, K(Secret), c->cert->ns, cert_text(c->spec, "secretName"), body);
    val_set_str(c->a, &ask, S("do"), val_str_borrowed(S("temporary")));
    val_set_str(c->a, &ask, S("key"), val_bytes(c->a, secret_bytes(key, "tls.key")));
    val_set_str(c->a, &ask, S("spec"), val_copy(c->a, c->spec));
    made->work = ask;
    made->done = plan_event_of(c->out, c->cert, "Normal", "Issuing", "Issued temporary certificate");
}

/* What the issuer answered can be served: NULL, or why not. */
static const char *answer_bad(struct certificate *c, const struct obj *request, const struct val *key_facts,
                              struct str *message)
{
    struct val facts;
    struct err err = ERR;
    struct str chain = cert_base64(c->a, cert_field(obj_status(request), "certificate"));
    if (!cert_facts(c->v, c->a, X509_CERTIFICATE, chain, &facts, &err))
        *message = arena_fmt(c->a, "Issuer returned an invalid certificate: failed to decode: %s", err.text);
    else if (!str_eq(cert_text(&facts, "publicKey"), cert_text(key_facts, "publicKey")))
        *message = S("Issuer returned a certificate with a public key that does not match the CSR. This usually "
                     "indicates a misconfigured issuer.");
    else if (c->v->now > val_num(cert_field(&facts, "notAfter"), 0))
        *message = arena_fmt(c->a,
                             "Issuer returned an already expired certificate (notAfter: " STR_FMT
                             "). This usually indicates an expired CA certificate in the issuer.",
                             STR_ARG(time_text(c->a, val_num(cert_field(&facts, "notAfter"), 0))));
    else
        return NULL;
    return "InvalidCertificate";
}

static void issuing_go_on(struct certificate *c)
{
    struct val key_facts;
    struct str message;
    const struct obj *key = next_key(c, &key_facts);
    const struct obj *request = key ? request_of(c, key, &key_facts) : NULL;
    if (!request)
        return;
    const struct val *status = obj_status(request), *ready = condition_get(status, "Ready");
    static const char *const ends[] = {"Denied", "InvalidRequest"};
    for (size_t i = 0; i < countof(ends); i++)
        if (condition_is(status, ends[i], "True")) {
            const struct val *end = condition_get(status, ends[i]);
            issuing_failed(c, val_text_at(end, N(reason)), val_text_at(end, N(message)));
            return;
        }
    struct str reason = val_text_at(ready, N(reason));
    if (str_eqz(reason, "Failed")) {
        issuing_failed(c, reason, val_text_at(ready, N(message)));
    } else if (str_eqz(reason, "Issued")) {
        const char *bad = answer_bad(c, request, &key_facts, &message);
        if (bad)
            issuing_failed(c, str_of(bad), message);
        else
            issuing_done(c, key, request);
    } else {
        temporary_issue(c, key);
        plan_why(c->out, "waits for CertificateRequest \"" STR_FMT "\"%s" STR_FMT, STR_ARG(request->name),
                 ready ? ": " : "", STR_ARG(val_text_at(ready, N(message))));
    }
}

/* --- when --- */

/* Until when nothing is tried again, after failures; 0: now. */
static int64_t backoff_until(struct certificate *c)
{
    int64_t failed, tries = val_num(cert_field(&c->status, "failedIssuanceAttempts"), 0), delay = BACKOFF_FIRST;
    struct str misfits;
    if (!time_parse(cert_text(&c->status, "lastFailureTime"), &failed))
        return 0;
    array_each (it, &c->requests)
        if (cert_revision(*it) == c->next && (!cert_request_misfits(c->v, c->a, c->spec, *it, &misfits) || misfits.n))
            return 0; /* what failed was another wish */
    for (int64_t i = 1; i < tries && delay < BACKOFF_MOST; i++)
        delay *= 2;
    return failed + MIN(delay, BACKOFF_MOST) > c->v->now ? failed + MIN(delay, BACKOFF_MOST) : 0;
}

static void issuing_begin(struct certificate *c, struct verdict found, int64_t renewal)
{
    int64_t until = backoff_until(c);
    if (until) {
        plan_again(c->out, until);
        const struct val *last = condition_get(&c->status, "Issuing");
        plan_why(c->out, "issuance has failed and is tried again at " STR_FMT ": " STR_FMT,
                 STR_ARG(time_text(c->a, until)), STR_ARG(val_text_at(last, N(message))));
        return;
    }
    int64_t due = renewal ? renewal + jitter_of(c, renewal) : 0;
    if (!found.reason && due && c->v->now >= due)
        found = verdict_of("Renewing", arena_fmt(c->a, "Renewing certificate as renewal was scheduled at " STR_FMT,
                                                 STR_ARG(time_text(c->a, renewal))));
    if (!found.reason && due)
        plan_again(c->out, due);
    if (!found.reason)
        return;
    cert_condition(c->a, &c->status, "Issuing", "True", found.reason, found.message, obj_generation(c->cert),
                   c->v->now);
    c->said = plan_event_of(c->out, c->cert, "Normal", "Issuing", STR_FMT, STR_ARG(found.message));
}

/* Nothing is being issued: no key waits, and of old requests as many are kept as are wanted. */
static void leftovers_drop(struct certificate *c)
{
    array_each (it, &c->keys)
        plan_delete(c->out, *it);
    (void)val_del_str(&c->status, S("nextPrivateKeySecretName"));
    int64_t keep = val_num(cert_field(c->spec, "revisionHistoryLimit"), 1), n = (int64_t)c->requests.n;
    if (!condition_is(obj_status(c->cert), "Ready", "True"))
        return;
    for (; n > MAX(keep, 1); n--) {
        const struct obj *oldest = NULL;
        size_t at = 0;
        array_each (it, &c->requests)
            if (*it && cert_revision(*it) && (!oldest || cert_revision(*it) < cert_revision(oldest))) {
                oldest = *it;
                at = (size_t)(it - c->requests.p);
            }
        if (!oldest)
            return;
        plan_delete(c->out, oldest);
        c->requests.p[at] = NULL;
    }
}

static void secret_keep(struct certificate *c)
{
    struct str why = S("");
    if (cert_secret_keep(c->v, c->cert, c->secret, &c->facts, c->out, &why))
        return;
    plan_why(c->out, "its Secret cannot be completed: " STR_FMT, STR_ARG(why));
    if (!str_eq(c->v->why, c->out->why))
        plan_event(c->out, event_about(c), "Warning", "KeystorePasswordSecretNotFound", STR_FMT, STR_ARG(why));
}

/* Another has the Secret: it is not touched, and the status says so. */
static void secret_foreign(struct certificate *c, struct str whose)
{
    struct str message = arena_fmt(
        c->a, "Secret \"" STR_FMT "\" belongs to " STR_FMT ", and is not touched; give spec.secretName another name",
        STR_ARG(cert_text(c->spec, "secretName")), STR_ARG(whose));
    plan_why(c->out, STR_FMT, STR_ARG(message));
    if (!cert_condition_says(obj_status(c->cert), "Ready", "False", S("IncorrectCertificate"), message))
        plan_event(c->out, event_about(c), "Warning", "IncorrectCertificate", STR_FMT, STR_ARG(message));
    cert_condition(c->a, &c->status, "Ready", "False", "IncorrectCertificate", message, obj_generation(c->cert),
                   c->v->now);
}

static void certificate_decide(struct certificate *c)
{
    const struct obj *other;
    int64_t renewal;
    if (c->secret && cert_secret_foreign(c->secret, c->cert)) {
        const struct val *ref = obj_controller(c->secret);
        secret_foreign(c, arena_fmt(c->a, STR_FMT " \"" STR_FMT "\"", STR_ARG(val_text_at(ref, N(kind))),
                                    STR_ARG(val_text_at(ref, N(name)))));
        return;
    }
    if (!secret_is_ours(c, &other)) {
        secret_foreign(c, arena_fmt(c->a, "Certificate \"" STR_FMT "\"", STR_ARG(other->name)));
        return;
    }
    struct verdict found = pair_verdict(c);
    if (!found.reason)
        found = spec_verdict(c);
    if (c->issuing)
        issuing_go_on(c);
    readiness_tell(c, found, &renewal);
    if (c->issuing)
        return;
    leftovers_drop(c);
    issuing_begin(c, found, renewal);
    bool whole = c->has_facts && str_eq(cert_text(&c->facts, "publicKey"), cert_text(&c->key, "publicKey"));
    if (whole && !condition_is(&c->status, "Issuing", "True"))
        secret_keep(c);
}

static void certificate_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct kind *k = view_defined(v, CERTS);
    const struct obj *cert = k ? view_get(v, k, key.ns, key.name) : NULL;
    if (cert_waits(v, out) || !cert || obj_deleting(cert) || !view_defined(v, CERT_REQUESTS))
        return;
    struct certificate c = {.v = v,
                            .out = out,
                            .a = &out->arena,
                            .cert = cert,
                            .spec = obj_spec(cert),
                            .revision = val_num(cert_field(obj_status(cert), "revision"), 0),
                            .issuing = condition_is(obj_status(cert), "Issuing", "True")};
    c.next = c.revision + 1;
    c.secret = view_get(v, K(Secret), cert->ns, cert_text(c.spec, "secretName"));
    struct val tree = plan_edit(out, cert);
    struct val *status = val_need_map(c.a, &tree, N(status));
    c.status = *status;
    certificate_gather(&c);
    certificate_decide(&c);
    val_set(c.a, &tree, N(status), c.status);
    struct action *told = plan_update(out, cert, S("status"), tree);
    if (told)
        told->done = c.said;
    else
        obj_unref(c.said.about);
    array_fini(&c.requests);
    array_fini(&c.keys);
}

/* --- who is asked again --- */

static void keys_of_secret(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                           void *arg)
{
    const struct kind *certs = view_defined(v, CERTS);
    const struct obj *o = now ? now : was, *c;
    if (!certs)
        return;
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    for (struct objset_iter it = view_with(v, certs, &index_cert_secret, objset_key_of(&key, o));
         (c = objset_next(&it));)
        add(arg, c->ns, c->name);
    keys_of_controller(v, was, now, certs, add, arg);
}

static void keys_of_request(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                            void *arg)
{
    const struct kind *certs = view_defined(v, CERTS);
    if (certs)
        keys_of_controller(v, was, now, certs, add, arg);
}

/* Others that want the same Secret, too: it may be theirs now. */
static void keys_of_cert(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                         void *arg)
{
    const struct obj *o = now ? now : was, *c;
    keys_self(v, was, now, add, arg);
    if (was && now && val_equal(obj_spec(was), obj_spec(now)))
        return;
    for (int i = 0; i < 2; i++) {
        const struct obj *each = i ? was : now;
        AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
        if (!each || !v->sets[o->kind->id])
            continue;
        struct str name = objset_key(&key, o->ns, cert_text(obj_spec(each), "secretName"));
        for (struct objset_iter it = view_with(v, o->kind, &index_cert_secret, name); (c = objset_next(&it));)
            add(arg, c->ns, c->name);
    }
}

static const struct controller_watch watches[] = {{K(Secret), keys_of_secret}, {K(Lease), keys_none}, {0}};
static const struct defined_watch defined[] = {{CERTS, keys_of_cert}, {CERT_REQUESTS, keys_of_request}, {0}};
const struct controller certificate_controller = {
    .name = "certificate",
    .component = "cert-manager-certificates",
    .account = "cert-manager",
    .setting = "certificates",
    .watches = watches,
    .defined = defined,
    .plan = certificate_plan,
};
