/* Gateways and their routes: told from the conditions that the controllers write, which read what an asker may not
 * (Secrets, grants of other namespaces); then from what stands behind a route. */
#include "control/gateway.h"
#include "control/why_int.h"

/* The way out, by the reason of a condition. */
static const struct gateway_way {
    const char *reason, *way;
} ways[] = {
    {"UnsupportedProtocol", "Give the listener another protocol: HTTP, HTTPS, TLS or TCP"},
    {"HostnameConflict", "Give one of the two another hostname or port, or the Gateway an address of its own (an "
                         "AddressPool)"},
    {"ProtocolConflict", "Give one of the two another port, or the Gateway an address of its own (an AddressPool)"},
    {"InvalidCertificateRef", "Make a Secret of type kubernetes.io/tls of that name, or name another in "
                              "tls.certificateRefs"},
    {"RefNotPermitted", "Make a ReferenceGrant in that namespace, or refer to something of the own one"},
    {"InvalidRouteKinds", "Take the kind out of allowedRoutes.kinds"},
    {"InvalidParameters", "Take the parametersRef out"},
    {"UnsupportedAddress", "Ask for an address of type IPAddress, or for none"},
    {"AddressNotUsable", "Ask for another address in spec.addresses, or for none"},
    {"NoMatchingParent", "Name a listener of the Gateway in parentRefs (sectionName, port), or none for all"},
    {"NotAllowedByListeners", "Let it in: protocol, allowedRoutes.kinds and allowedRoutes.namespaces.from of the "
                              "listener"},
    {"NoMatchingListenerHostname", "Name a hostname that a listener has, or give a listener this one"},
    {"BackendNotFound", "Make the Service, or name another in backendRefs"},
    {"InvalidKind", "Name a Service in backendRefs, and no ExtensionRef"},
    {"UnsupportedValue", "Change that field: docs/gateway.md says what is supported"},
    {"IncompatibleFilters", "Take one of the two filters out"},
    {"NoValidCACertificate", "Put the certificates (PEM) into ca.crt of that ConfigMap or Secret"},
    {"InvalidCACertificateRef", "Put the certificates (PEM) into ca.crt of that ConfigMap or Secret"},
    {"InvalidClientCertificateRef", "Make a Secret of type kubernetes.io/tls of that name, or name another in "
                                    "tls.backend.clientCertificateRef"},
    {"Conflicted", "Delete one of the two, or let it be about another port (sectionName)"},
    {"TargetNotFound", "Make the Service with such a port, or name another in targetRefs"},
    {"Invalid", "Change that field: docs/gateway.md says what is supported"},
    {"NotAllowed", "Let it in: spec.allowedListeners.namespaces.from of the Gateway"},
};

static bool say_condition(struct question *q, struct finding *f, struct str about, const struct val *c)
{
    struct str reason = val_text_at(c, N(reason)), message = val_text_at(c, N(message));
    const struct gateway_way *way = NULL;
    for (size_t i = 0; i < countof(ways); i++)
        if (str_eqz(reason, ways[i].reason))
            way = &ways[i];
    if (!why_found(q, f, way ? way->reason : "NotServed", STR_FMT STR_FMT, STR_ARG(about), STR_ARG(message)))
        return false;
    if (way)
        why_way(q, f, "%s", way->way);
    return true;
}

static const struct val *condition_false(const struct val *holder, const char *type)
{
    const struct val *c = condition_get(holder, type);
    return str_eqz(val_text_at(c, N(status)), "False") ? c : NULL;
}

/* ---- Gateways ---- */

struct str gateway_head(struct question *q, const struct obj *o)
{
    struct str at = val_text_at(val_item(field_of(obj_status(o), "addresses"), 0), N(value));
    return at.n ? arena_fmt(q->a, STR_FMT " " STR_FMT " is at " STR_FMT, STR_ARG(o->kind->kind), STR_ARG(o->name),
                            STR_ARG(at))
                : arena_fmt(q->a, STR_FMT " " STR_FMT, STR_ARG(o->kind->kind), STR_ARG(o->name));
}

static bool say_class(struct question *q, const struct obj *o, struct finding *f)
{
    const struct kind *k = view_defined(q->v, GATEWAYS_CLASSES);
    struct str name = text_of(obj_spec(o), "gatewayClassName");
    const struct obj *class = k ? view_get(q->v, k, S(""), name) : NULL;
    if (class && gateway_class_is_ours(class))
        return false;
    if (class)
        return why_found(q, f, "ClassOfAnother",
                         "it is of class " STR_FMT ", which the controller " STR_FMT " serves", STR_ARG(name),
                         STR_ARG(text_of(obj_spec(class), "controllerName")));
    why_found(q, f, "ClassMissing", "there is no GatewayClass " STR_FMT ", so nobody serves it", STR_ARG(name));
    why_way(q, f,
            "Let the front door serve it: kubectl patch gateway/" STR_FMT STR_FMT
            " --type=merge -p '{\"spec\":{\"gatewayClassName\":\"" GATEWAY_CLASS "\"}}'",
            STR_ARG(o->name), STR_ARG(why_ns_flag(q, o->ns)));
    return true;
}

/* Whether a route's parentRef is about this listener; NULL: about all. */
static bool is_asked_of(const struct obj *o, const struct val *ref, struct str name)
{
    struct str section = text_of(ref, "sectionName");
    int64_t port = val_num(field_of(ref, "port"), 0);
    val_each_item (l, field_of(obj_spec(o), "listeners"))
        if (port && str_eq(text_of(l, "name"), name) && val_num(field_of(l, "port"), 0) != port)
            return false;
    return section.n == 0 || str_eq(section, name);
}

static void say_listeners(struct question *q, const struct obj *o, const struct val *ref, struct finding *f)
{
    static const char *const types[] = {"Accepted", "ResolvedRefs", "Programmed"};
    val_each_item (l, field_of(obj_status(o), "listeners")) {
        struct str name = val_text_at(l, N(name));
        if (!is_asked_of(o, ref, name))
            continue;
        int64_t routes = val_num(field_of(l, "attachedRoutes"), 0);
        why_chain(q, f, "listener " STR_FMT ": %lld route%s", STR_ARG(name), (long long)routes,
                  routes == 1 ? "" : "s");
        for (size_t i = 0; i < countof(types); i++) {
            const struct val *c = condition_false(l, types[i]);
            if (c && !str_eqz(val_text_at(c, N(reason)), "Pending"))
                say_condition(q, f, arena_fmt(q->a, "listener " STR_FMT ": ", STR_ARG(name)), c);
        }
    }
}

/* Of a Gateway and of a ListenerSet alike. For a route that names a listener or a port the others do not matter, nor
 * what the whole says of them. */
static void say_conditions(struct question *q, const struct obj *o, const struct val *ref, struct finding *f)
{
    static const char *const types[] = {"Accepted", "Programmed", "ResolvedRefs"};
    const struct val *accepted = condition_get(obj_status(o), "Accepted");
    if (val_num_at(accepted, 0, N(observedGeneration)) != obj_generation(o)) {
        why_coming(q, f, "NotSeenYet", "what it is now has not been looked at yet");
        return;
    }
    bool one = text_of(ref, "sectionName").n > 0 || field_of(ref, "port");
    bool listeners = str_eqz(val_text_at(accepted, N(reason)), "ListenersNotValid");
    if (!listeners && condition_false(obj_status(o), "Accepted"))
        say_condition(q, f, S(""), accepted);
    say_listeners(q, o, ref, f);
    for (size_t i = 0; i < countof(types); i++) {
        const struct val *c = condition_false(obj_status(o), types[i]);
        if (str_eqz(val_text_at(c, N(reason)), "AddressNotAssigned"))
            why_coming(q, f, "AddressPending", STR_FMT, STR_ARG(val_text_at(c, N(message))));
        else if (c && !(one && str_starts(val_text_at(c, N(reason)), S("ListenersNot"))))
            say_condition(q, f, S(""), c);
    }
    if (f->state == WHY_FINE)
        f->reason = S("it is served");
}

void why_gateway(struct question *q, const struct obj *o, struct finding *f)
{
    if (!say_class(q, o, f))
        say_conditions(q, o, NULL, f);
}

void why_listenerset(struct question *q, const struct obj *o, struct finding *f)
{
    say_conditions(q, o, NULL, f);
}

/* ---- BackendTLSPolicies ---- */

void why_backend_policy(struct question *q, const struct obj *o, struct finding *f)
{
    static const char *const types[] = {"Accepted", "ResolvedRefs"};
    const struct val *entry = NULL, *c = NULL;
    val_each_item (it, field_of(obj_status(o), "ancestors"))
        if (str_eqz(text_of(it, "controllerName"), GATEWAY_CONTROLLER))
            entry = entry ? entry : it; /* what is said of it is the same for all Gateways */
    if (!entry) {
        why_found(q, f, "NoGateway",
                  "no route of a Gateway that is served here leads to the Service that it is about");
        why_way(q, f, "Name the Service in a route's backendRefs, or another in targetRefs");
        return;
    }
    for (size_t i = 0; i < countof(types) && !c; i++)
        if ((c = condition_false(entry, types[i])))
            say_condition(q, f, S(""), c);
    if (!c)
        f->reason = S("it is kept");
}

/* ---- routes ---- */

static const struct val *entry_of(const struct obj *route, const struct val *ref)
{
    val_each_item (it, field_of(obj_status(route), "parents"))
        if (str_eqz(text_of(it, "controllerName"), GATEWAY_CONTROLLER) && val_equal(field_of(it, "parentRef"), ref))
            return it;
    return NULL;
}

static void say_parent(struct question *q, const struct obj *route, const struct val *ref, struct finding *f)
{
    const struct kind *gateways = view_defined(q->v, GATEWAYS);
    const struct val *entry = entry_of(route, ref), *c;
    struct str ns = text_of(ref, "namespace"), name = text_of(ref, "name");
    struct str kind = text_or(ref, "kind", "Gateway");
    ns = ns.n ? ns : route->ns;
    const struct obj *gateway = gateways && str_eqz(kind, "Gateway") ? view_get(q->v, gateways, ns, name) : NULL;
    struct str about = arena_fmt(q->a, STR_FMT " " STR_FMT ": ", STR_ARG(kind), STR_ARG(name));
    if (entry) {
        if ((c = condition_false(entry, "Accepted")))
            say_condition(q, f, about, c);
        if ((c = condition_false(entry, "ResolvedRefs")))
            say_condition(q, f, S(""), c);
        c = condition_get(entry, "PartiallyInvalid");
        if (c)
            say_condition(q, f, S(""), c);
    } else if (gateways && !gateway && str_eqz(kind, "Gateway")) {
        why_found(q, f, "GatewayMissing", "there is no Gateway " STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
        why_way(q, f, "Make it, or name another in parentRefs");
    }
    if (!gateway)
        return;
    struct finding own = {0};
    struct question other = why_about(q, gateway);
    if (!say_class(&other, gateway, &own))
        say_conditions(&other, gateway, ref, &own);
    if (own.state != WHY_FINE)
        why_behind(q, f, arena_fmt(q->a, "Gateway " STR_FMT ":", STR_ARG(name)), &own);
    else
        array_fini(&own.chain);
    if (!entry && f->state == WHY_FINE)
        why_coming(q, f, "NotSeenYet", "Gateway " STR_FMT " has said nothing of it yet", STR_ARG(name));
}

static void say_backend(struct question *q, const struct obj *route, const struct val *ref, struct finding *f)
{
    struct str ns = text_of(ref, "namespace"), name = text_of(ref, "name");
    const struct obj *svc = str_eqz(text_or(ref, "kind", "Service"), "Service")
                                ? view_get(q->v, K(Service), ns.n ? ns : route->ns, name)
                                : NULL;
    struct finding one = {0};
    if (!svc)
        return;
    struct question other = why_about(q, svc);
    why_service(&other, svc, &one);
    if (one.state != WHY_FINE && !str_eqz(str_of(one.cause), "NoLoadBalancer"))
        why_behind(q, f, arena_fmt(q->a, "Service " STR_FMT ":", STR_ARG(name)), &one);
    else
        array_fini(&one.chain);
}

void why_route(struct question *q, const struct obj *o, struct finding *f)
{
    const struct val *parents = field_of(obj_spec(o), "parentRefs");
    if (val_len(parents) == 0) {
        why_found(q, f, "NoParent", "it names no Gateway, so nobody serves it");
        why_way(q, f, "Name one in spec.parentRefs");
    }
    val_each_item (ref, parents)
        say_parent(q, o, ref, f);
    val_each_item (rule, field_of(obj_spec(o), "rules"))
        val_each_item (ref, field_of(rule, "backendRefs"))
            say_backend(q, o, ref, f);
    if (f->state == WHY_FINE)
        f->reason = S("it is served");
}
