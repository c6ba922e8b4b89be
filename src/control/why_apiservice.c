/* Why the server behind an APIService is not asked: its condition Available, and behind that the Service and its
 * pods, or what the server said when it was asked for its discovery. */
#include "control/why_int.h"

/* By what stands in the message of a failed check. */
static const struct saying answers[] = {
    {"connection refused", "ServerRefuses", "nothing listens where its Service {service} leads ({address})",
     "See whether the server runs and on which port: wherry why svc/{name} -n {space}; kubectl get endpointslices "
     "-n {space} -l kubernetes.io/service-name={name}"},
    {"context deadline exceeded", "ServerSilent",
     "its server behind Service {service} does not answer within 5 seconds",
     "See the log of the pods behind it; whether its port is the right one: kubectl get svc {name} -n {space}"},
    {"no route to host", "ServerUnreachable", "no way leads to its server behind Service {service} ({address})",
     "See the pods behind it: wherry why svc/{name} -n {space}"},
    {"gave HTTP response to HTTPS client", "ServerWithoutTls",
     "its server behind Service {service} speaks no TLS, which it must",
     "Give it a certificate and the port where it speaks TLS"},
    {"certificate", "ServerCertificate",
     "its server behind Service {service} and we do not trust each other: {quoted}",
     "It has to trust the front proxy's CA: kubectl get cm extension-apiserver-authentication -n kube-system -o "
     "yaml"},
    {"bad status from", "ServerAnswersBadly",
     "its server behind Service {service} answered {status} when it was asked for its discovery",
     "401 and 403 mean that it does not trust the front proxy or cannot ask whether it may (bind it to "
     "system:auth-delegator, and to extension-apiserver-authentication-reader in kube-system); 404 that it serves "
     "another group or version; for others see its log"},
    {"", "ServerFails", "its server behind Service {service} was asked for its discovery, in vain: {quoted}",
     "See the log of the pods behind it"},
};

/* "dial tcp 10.43.0.7:443: connect: connection refused": the address. */
static struct str address_dialled(struct str message)
{
    struct str before, rest, address;
    ptrdiff_t at = str_find(message, S("dial tcp "));
    if (at < 0)
        return S("");
    rest = str_sub(message, (size_t)at + sizeof "dial tcp " - 1, message.n);
    before = str_cut(&rest, ' ', &address) ? address : S("");
    return str_ends(before, S(":")) ? str_sub(before, 0, before.n - 1) : before;
}

static void why_endpoints(struct question *q, const struct obj *service, struct finding *f)
{
    struct finding one = {0};
    struct question other = why_about(q, service);
    why_service(&other, service, &one);
    why_behind(q, f,
               arena_fmt(q->a, "its Service " STR_FMT "/" STR_FMT ":", STR_ARG(service->ns), STR_ARG(service->name)),
               &one);
}

void why_apiservice(struct question *q, const struct obj *o, struct finding *f)
{
    const struct val *ref = val_get(obj_spec(o), N(service)), *c = condition_get(obj_status(o), "Available");
    struct str reason = val_text_at(c, N(reason)), message = val_text_at(c, N(message));
    struct str space = val_text_at(ref, N(namespace)), name = val_text_at(ref, N(name));
    struct str where = arena_fmt(q->a, STR_FMT "/" STR_FMT, STR_ARG(space), STR_ARG(name));
    int port = (int)val_num_at(ref, 443, N(port));
    if (!val_is(ref, VAL_MAP)) {
        f->reason = S("what it names is served here");
        return;
    }
    if (!c) {
        why_coming(q, f, "NotChecked", "its server behind Service " STR_FMT " has not been asked yet",
                   STR_ARG(where));
        why_way(q, f, "See the log of the server (/var/log/wherry.log)");
        return;
    }
    why_chain(q, f, "APIService " STR_FMT ": Available is " STR_FMT ", " STR_FMT ": " STR_FMT, STR_ARG(o->name),
              STR_ARG(val_text_at(c, N(status))), STR_ARG(reason), STR_ARG(message));
    if (condition_is(obj_status(o), "Available", "True")) {
        f->reason = arena_fmt(q->a, "its server behind Service " STR_FMT " answers", STR_ARG(where));
        return;
    }
    const struct obj *service = view_get(q->v, K(Service), space, name);
    if (str_eqz(reason, "ServiceNotFound")) {
        why_found(q, f, "ServiceMissing", "its Service " STR_FMT " is not there", STR_ARG(where));
        why_way(q, f, "Make it, or give the group back: kubectl delete apiservice " STR_FMT, STR_ARG(o->name));
    } else if (str_eqz(reason, "ServicePortError")) {
        why_found(q, f, "ServicePort", "its Service " STR_FMT " has no port %d", STR_ARG(where), port);
        why_way(q, f,
                "Name one that is there in spec.service.port: kubectl edit apiservice " STR_FMT
                "; kubectl get svc " STR_FMT " -n " STR_FMT,
                STR_ARG(o->name), STR_ARG(name), STR_ARG(space));
    } else if (str_eqz(reason, "EndpointsNotFound") || str_eqz(reason, "MissingEndpoints")) {
        if (service)
            why_endpoints(q, service, f);
        why_found(q, f, "NoEndpoints", "nothing ready stands behind port %d of its Service " STR_FMT, port,
                  STR_ARG(where));
        why_way(q, f, "See wherry why svc/" STR_FMT " -n " STR_FMT, STR_ARG(name), STR_ARG(space));
    } else {
        ptrdiff_t colon = str_rfind_char(message, ' ');
        struct word words[] = {{"service", where},
                               {"name", name},
                               {"space", space},
                               {"address", address_dialled(message)},
                               {"status", colon < 0 ? S("") : str_sub(message, (size_t)colon + 1, message.n)},
                               {"quoted", why_quoted(q, message)}};
        why_saying(q, f, answers, message, words, countof(words));
    }
}
