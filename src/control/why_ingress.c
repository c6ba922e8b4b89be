/* An Ingress: who serves it, what of it cannot be served as it was asked for, by the same reading as the front
 * door's, and what stands behind it. */
#include "control/cert_shim.h"
#include "control/ingress.h"
#include "control/why_int.h"

#define CERTIFICATES "certificates.cert-manager.io"

struct str ingress_head(struct question *q, const struct obj *o)
{
    struct str address = val_text_at(val_item(val_at(obj_status(o), N(loadBalancer), N(ingress)), 0), N(ip));
    if (address.n == 0)
        address = val_text_at(val_item(val_at(obj_status(o), N(loadBalancer), N(ingress)), 0), N(hostname));
    return address.n
               ? arena_fmt(q->a, "Ingress " STR_FMT " is served at " STR_FMT, STR_ARG(o->name), STR_ARG(address))
               : arena_fmt(q->a, "Ingress " STR_FMT " has no address", STR_ARG(o->name));
}

/* ---- class ---- */

/* Where our class is not there either it is made; else the Ingress is sent to it. */
static struct str way_to_class(struct question *q, const struct obj *o, const struct ingress_class *c)
{
    const struct obj *ours = view_get(q->v, K(IngressClass), S(""), S("wherry"));
    if (!ours && c->server == INGRESS_NOBODYS)
        return arena_fmt(
            q->a,
            "Let the front door serve that class: kubectl apply -f - <<< "
            "'{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"IngressClass\",\"metadata\":{\"name\":\"" STR_FMT
            "\"%s},\"spec\":{\"controller\":\"wherry.dev/ingress\"}}'",
            STR_ARG(c->name.n ? c->name : S("wherry")),
            c->name.n ? "" : ",\"annotations\":{\"ingressclass.kubernetes.io/is-default-class\":\"true\"}");
    return arena_fmt(q->a,
                     "Let the front door serve it: kubectl patch " STR_FMT
                     " --type=merge -p '{\"spec\":{\"ingressClassName\":\"wherry\"}}'",
                     STR_ARG(why_target(q, o)));
}

static bool say_class(struct question *q, const struct obj *o, const struct ingress_class *c, struct finding *f)
{
    const char *field = c->by_annotation ? "the annotation kubernetes.io/ingress.class" : "spec.ingressClassName";
    struct str way = way_to_class(q, o, c);
    if (c->server == INGRESS_OURS)
        return false;
    const struct val *at = val_at(obj_status(o), N(loadBalancer), N(ingress));
    if (c->server == INGRESS_OTHERS && val_len(at) > 0) {
        f->reason = arena_fmt(q->a, "the controller " STR_FMT " serves it", STR_ARG(c->controller));
    } else if (c->server == INGRESS_OTHERS) {
        why_found(q, f, "ClassOfAnother", "it is of class " STR_FMT ", which the controller " STR_FMT " serves",
                  STR_ARG(c->name), STR_ARG(c->controller));
        why_way(q, f, "See whether that runs. " STR_FMT, STR_ARG(way));
    } else if (c->name.n > 0) {
        why_found(q, f, "ClassMissing", "%s names the class " STR_FMT ", and there is no such IngressClass", field,
                  STR_ARG(c->name));
        why_way(q, f, STR_FMT, STR_ARG(way));
    } else {
        why_found(q, f, "ClassMissing", "it names no class, and no IngressClass is the default, so nobody serves it");
        why_way(q, f, STR_FMT, STR_ARG(way));
    }
    return true;
}

/* ---- certificates ---- */

/* A Secret that is not there yet, as somebody is still getting the certificate for it. */
static bool say_pending(struct question *q, const struct obj *o, struct str secret, struct finding *f)
{
    const struct kind *k = view_defined(q->v, CERTIFICATES);
    const struct obj *c = k ? view_get(q->v, k, o->ns, secret) : NULL;
    struct finding one = {0};
    if (!cert_is_asked(o))
        return false;
    if (!c)
        return why_coming(q, f, "CertificatePending", "the certificate for Secret " STR_FMT " is not there yet",
                          STR_ARG(secret));
    struct question other = why_about(q, c);
    why_certificate(&other, c, &one);
    if (one.state == WHY_FINE)
        array_fini(&one.chain);
    else
        why_behind(q, f, arena_fmt(q->a, "Certificate " STR_FMT ":", STR_ARG(c->name)), &one);
    return why_coming(q, f, "CertificatePending", "Certificate " STR_FMT " is not ready yet", STR_ARG(c->name)) ||
           true;
}

static struct str secret_of(const struct ingress *i, struct str field)
{
    struct str at;
    int64_t n;
    if (!str_starts(field, S("spec.tls[")) || !str_split(str_sub(field, 9, field.n), ']', &at, &(struct str){0}) ||
        !str_to_i64(at, 0, 1000000, &n) || (size_t)n >= i->tls.n)
        return S("");
    return i->tls.p[n].secret;
}

/* ---- backends ---- */

/* The Service that is worst off. One that is missing, or has no such port, is a remark. */
static void say_backends(struct question *q, const struct ingress *i, struct finding *f)
{
    for (size_t n = 0; n < i->paths.n; n++) {
        const struct ingress_path *p = &i->paths.p[n];
        bool seen = p->refused;
        for (size_t k = 0; k < n; k++)
            seen |= str_eq(i->paths.p[k].backend.service, p->backend.service);
        const struct obj *svc = seen ? NULL : view_get(q->v, K(Service), i->o->ns, p->backend.service);
        if (!svc)
            continue;
        struct finding one = {0};
        struct question other = why_about(q, svc);
        why_service(&other, svc, &one);
        if (one.state == WHY_FINE || str_eqz(str_of(one.cause), "NoLoadBalancer"))
            continue;
        why_behind(q, f,
                   arena_fmt(q->a, "Service " STR_FMT ", behind " STR_FMT STR_FMT ":", STR_ARG(svc->name),
                             STR_ARG(p->host.n ? p->host : S("*")), STR_ARG(p->path)),
                   &one);
    }
}

/* ---- remarks ---- */

/* What answers nothing comes before what answers otherwise than was asked for. */
static const char *const order[] = {"AddressMissing", "ServiceMissing",     "PortMissing",          "SecretInvalid",
                                    "SecretMissing",  "CertificateInvalid", "BackendRefused",       "PathInvalid",
                                    "PathTaken",      "CertificateExpired", "CertificateOfAnother", "CanaryAlone",
                                    "HostTaken",      "ConfigMapMissing"};

static void say_remark(struct question *q, const struct ingress *i, const struct ingress_remark *r, struct finding *f)
{
    struct str secret = str_eqz(str_of(r->reason), "SecretMissing") ? secret_of(i, r->field) : S("");
    if (secret.n > 0 && say_pending(q, i->o, secret, f))
        return;
    if (why_found(q, f, r->reason, STR_FMT, STR_ARG(r->text)) && r->way.n > 0)
        why_way(q, f, STR_FMT, STR_ARG(r->way));
}

static void say_remarks(struct question *q, const struct ingress *i, struct finding *f)
{
    array_each (r, &i->remarks)
        why_chain(q, f, STR_FMT ": " STR_FMT, STR_ARG(r->field), STR_ARG(r->text));
    if (i->closed.n > 0)
        array_each (r, &i->remarks)
            if (str_has(r->text, S("503")))
                say_remark(q, i, r, f);
    for (size_t n = 0; n < countof(order); n++)
        array_each (r, &i->remarks)
            if (str_eqz(str_of(r->reason), order[n]))
                say_remark(q, i, r, f);
}

/* What the front door said last of itself: it tells when it fails, and when that is over. */
static void say_door(struct question *q, const struct obj *o, struct finding *f)
{
    const struct obj *failed = why_event(q, o, "FrontDoorFailed", S(""), S("")),
                     *serves = why_event(q, o, "FrontDoorServes", S(""), S(""));
    if (!failed || (serves && why_event_time(serves) >= why_event_time(failed)))
        return;
    struct str at = val_text_at(&failed->tree, N(lastTimestamp));
    if (why_found(q, f, "FrontDoorFailed", "the front door said at " STR_FMT ": " STR_FMT, STR_ARG(at),
                  STR_ARG(why_event_text(failed))))
        why_way(q, f, "If it answers by now, that is over; else its log tells more: /var/log/wherry.log");
}

/* It is told again each minute in which somebody comes; what is older may be over. */
static void say_auth(struct question *q, const struct obj *o, struct finding *f)
{
    const struct obj *told = why_event(q, o, "AuthUnreachable", S(""), S(""));
    if (!told || q->v->now - why_event_time(told) > 5 * 60 * NS_PER_S)
        return;
    struct str at = val_text_at(&told->tree, N(lastTimestamp));
    if (why_found(q, f, "AuthUnreachable", "the front door said at " STR_FMT ": " STR_FMT, STR_ARG(at),
                  STR_ARG(why_event_text(told))))
        why_way(q, f,
                "Let it answer at the address of auth-url; over https its certificate must be of an authority that "
                "the node trusts");
}

void why_ingress(struct question *q, const struct obj *o, struct finding *f)
{
    AUTO(ingress_fini) struct ingress i;
    ingress_read(q->v, o, q->a, &i);
    if (say_class(q, o, &i.class, f))
        return;
    ingress_check(q->v, q->a, &i);
    why_chain(q, f, "Ingress " STR_FMT ": class " STR_FMT "%s, %zu path%s", STR_ARG(o->name), STR_ARG(i.class.name),
              i.class.by_default ? " (the default)" : "", i.paths.n, i.paths.n == 1 ? "" : "s");
    say_remarks(q, &i, f);
    say_backends(q, &i, f);
    array_each (r, &i.remarks) /* those of annotations */
        say_remark(q, &i, r, f);
    say_door(q, o, f);
    say_auth(q, o, f);
    if (f->state == WHY_FINE && val_len(val_at(obj_status(o), N(loadBalancer), N(ingress))) == 0)
        why_coming(q, f, "AddressPending", "no address is written to it yet");
    if (f->state == WHY_FINE)
        f->reason = arena_fmt(q->a, "it is served, with %zu path%s", i.paths.n, i.paths.n == 1 ? "" : "s");
}
