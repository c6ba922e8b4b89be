/* Certificates and their requests: at which step one is, and who is to take the next. Told from conditions, the
 * request of the revision under way, and what the issuer or the Order behind it says; Secrets are not read. */
#include "api/codec.h"
#include "control/cert.h"
#include "control/why_int.h"

static struct str said_of(const struct obj *o, const char *type)
{
    return val_text_at(condition_get(obj_status(o), type), N(message));
}

static const struct obj *order_of(struct question *q, const struct obj *request)
{
    const struct kind *k = view_defined(q->v, ORDERS);
    struct obj *o;
    if (k)
        for (struct objset_iter it = view_with(q->v, k, &index_owner, request->uid); (o = objset_next(&it));)
            if (owned_by(o, request))
                return o;
    return NULL;
}

static bool say_issuer(struct question *q, const struct obj *o, struct finding *f)
{
    struct cert_issuer i = cert_issuer_of(obj_spec(o));
    const struct obj *issuer = cert_issuer_find(q->v, o->ns, &i);
    struct finding one = {0};
    if (!str_eqz(i.group, CERT_GROUP))
        return why_coming(q, f, "ExternalIssuer",
                          "it waits for " STR_FMT " \"" STR_FMT "\" of " STR_FMT
                          ", which a controller of that group signs for",
                          STR_ARG(i.kind), STR_ARG(i.name), STR_ARG(i.group));
    if (!issuer) {
        why_found(q, f, "IssuerMissing", "its " STR_FMT " \"" STR_FMT "\" is not there", STR_ARG(i.kind),
                  STR_ARG(i.name));
        why_way(q, f, "Make it, or name another in spec.issuerRef (kind is Issuer where it is not set): %s",
                "kubectl get issuers,clusterissuers -A");
        return true;
    }
    struct question other = why_about(q, issuer);
    why_issuer(&other, issuer, &one);
    if (one.state == WHY_FINE) {
        array_fini(&one.chain);
        return false;
    }
    why_behind(q, f, arena_fmt(q->a, "its " STR_FMT " " STR_FMT ":", STR_ARG(i.kind), STR_ARG(i.name)), &one);
    return true;
}

void why_cert_request(struct question *q, const struct obj *o, struct finding *f)
{
    const struct val *status = obj_status(o), *ready = condition_get(status, "Ready");
    struct str reason = val_text_at(ready, N(reason));
    if (condition_is(status, "Ready", "True"))
        return;
    why_chain(q, f, "request " STR_FMT ": " STR_FMT, STR_ARG(o->name), STR_ARG(reason.n ? reason : S("new")));
    if (condition_is(status, "Denied", "True")) {
        why_found(q, f, "RequestDenied", "it was denied: " STR_FMT, STR_ARG(said_of(o, "Denied")));
        why_way(q, f, "Ask who denied it; a request that is changed is a new one");
    } else if (condition_is(status, "InvalidRequest", "True")) {
        why_found(q, f, "RequestInvalid", "its issuer cannot sign that: " STR_FMT,
                  STR_ARG(said_of(o, "InvalidRequest")));
    }
    const struct obj *order = order_of(q, o);
    if (order) {
        struct finding one = {0};
        struct question other = why_about(q, order);
        why_order(&other, order, &one);
        if (one.state != WHY_FINE)
            why_behind(q, f, arena_fmt(q->a, "its Order " STR_FMT ":", STR_ARG(order->name)), &one);
        else
            array_fini(&one.chain);
    }
    if (str_eqz(reason, "Failed"))
        why_found(q, f, "SigningFailed", STR_FMT, STR_ARG(said_of(o, "Ready")));
    if (f->state == WHY_FINE && say_issuer(q, o, f))
        return;
    if (str_eqz(reason, "Pending"))
        why_found(q, f, "RequestPending", STR_FMT, STR_ARG(said_of(o, "Ready")));
    why_coming(q, f, "BeingSigned", "its issuer is about to sign it");
}

static const struct obj *request_under_way(struct question *q, const struct obj *cert)
{
    const struct kind *k = view_defined(q->v, CERT_REQUESTS);
    int64_t next = val_num(cert_field(obj_status(cert), "revision"), 0) + 1;
    struct obj *o;
    if (k)
        for (struct objset_iter it = view_with(q->v, k, &index_owner, cert->uid); (o = objset_next(&it));)
            if (owned_by(o, cert) && cert_revision(o) == next)
                return o;
    return NULL;
}

void why_certificate(struct question *q, const struct obj *o, struct finding *f)
{
    const struct val *status = obj_status(o), *issuing = condition_get(status, "Issuing");
    struct str reason = val_text_at(condition_get(status, "Ready"), N(reason));
    const struct obj *request = request_under_way(q, o);
    bool failed = str_eqz(val_text_at(issuing, N(status)), "False");
    struct finding one = {0};
    if (condition_is(status, "Ready", "True") && !issuing)
        return;
    if (str_eqz(reason, "IncorrectCertificate")) {
        why_found(q, f, "SecretOfAnother", STR_FMT, STR_ARG(said_of(o, "Ready")));
        why_way(q, f, "kubectl edit certificate/" STR_FMT STR_FMT ": spec.secretName", STR_ARG(o->name),
                STR_ARG(why_ns_flag(q, o->ns)));
        return;
    }
    if (!condition_get(status, "Ready")) {
        why_coming(q, f, "NotLookedAt", "nobody has looked at it yet");
        return;
    }
    if (request) {
        struct question other = why_about(q, request);
        why_cert_request(&other, request, &one);
        if (one.state != WHY_FINE)
            why_behind(q, f, arena_fmt(q->a, "request " STR_FMT ":", STR_ARG(request->name)), &one);
        else
            array_fini(&one.chain);
    }
    if (failed) {
        why_chain(q, f, "tried %lld times", (long long)val_num(cert_field(status, "failedIssuanceAttempts"), 0));
        why_found(q, f, "IssuanceFailed", STR_FMT, STR_ARG(said_of(o, "Issuing")));
    }
    if (!issuing && say_issuer(q, o, f))
        return;
    why_coming(q, f, "BeingIssued", "it is being issued: " STR_FMT,
               STR_ARG(issuing ? said_of(o, "Issuing") : said_of(o, "Ready")));
}
