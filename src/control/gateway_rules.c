/* What the rules of a route ask for: which can be done, and which of their references may be followed. */
#include "base/regex.h"
#include "control/gateway_int.h"

#define HEADER_NAME_MAX 64
#define UNSUPPORTED     "UnsupportedValue"

bool gateway_duration(struct str text, int64_t *ns)
{
    static const struct {
        const char *unit;
        int64_t ns;
    } units[] = {{"ms", NS_PER_MS}, {"h", 3600 * NS_PER_S}, {"m", 60 * NS_PER_S}, {"s", NS_PER_S}};
    int64_t sum = 0;
    int parts = 0;
    for (size_t at = 0; at < text.n; parts++) {
        size_t from = at, unit = countof(units);
        int64_t n = 0;
        for (; at < text.n && text.p[at] >= '0' && text.p[at] <= '9'; at++)
            if (at - from < 5)
                n = n * 10 + (text.p[at] - '0');
        for (size_t i = countof(units); i-- > 0;)
            if (str_starts(str_sub(text, at, text.n), str_of(units[i].unit)))
                unit = i;
        if (at == from || at - from > 5 || unit == countof(units) || parts == 4)
            return false;
        sum += n * units[unit].ns;
        at += strlen(units[unit].unit);
    }
    if (parts > 0)
        *ns = sum;
    return parts > 0;
}

/* --- references --- */

static const struct val *service_port(const struct obj *service, int64_t port)
{
    val_each_item (it, val_get(obj_spec(service), N(ports)))
        if (val_num_at(it, 0, N(port)) == port && !str_eqz(val_text_at(it, N(protocol)), "UDP"))
            return it;
    return NULL;
}

static struct gateway_fault service_fault(struct arena *a, const struct obj *service, const struct route_ref *r)
{
    if (!service)
        return fault_make(a, "BackendNotFound", "there is no Service " STR_FMT "/" STR_FMT, STR_ARG(r->ns),
                          STR_ARG(r->service));
    if (str_eqz(val_text_at(obj_spec(service), N(type)), "ExternalName"))
        return fault_make(a, "InvalidKind",
                          "Service " STR_FMT "/" STR_FMT " is of type ExternalName, which routes may not name",
                          STR_ARG(r->ns), STR_ARG(r->service));
    const struct val *port = service_port(service, r->port);
    if (!port)
        return fault_make(a, "BackendNotFound", "Service " STR_FMT "/" STR_FMT " has no port %lld (TCP)",
                          STR_ARG(r->ns), STR_ARG(r->service), (long long)r->port);
    static const char *const known[] = {"kubernetes.io/h2c", "kubernetes.io/ws", "kubernetes.io/wss"};
    struct str protocol = val_text_at(port, N(appProtocol));
    for (size_t i = 0; i < countof(known); i++)
        if (str_eqz(protocol, known[i]))
            return (struct gateway_fault){0};
    if (str_starts(protocol, S("kubernetes.io/")))
        return fault_make(a, "UnsupportedProtocol",
                          "appProtocol " STR_FMT " of Service " STR_FMT "/" STR_FMT " is not supported",
                          STR_ARG(protocol), STR_ARG(r->ns), STR_ARG(r->service));
    return (struct gateway_fault){0};
}

void route_ref_read(const struct view *v, struct arena *a, const struct obj *route, enum route_kind kind,
                    const struct val *ref, struct route_ref *out)
{
    struct str group = text_of(ref, "group"), to = text_or(ref, "kind", "Service"), ns = text_of(ref, "namespace");
    *out = (struct route_ref){
        .ns = ns.n ? ns : route->ns,
        .service = text_of(ref, "name"),
        .port = val_num(field_of(ref, "port"), 0),
        .weight = val_num(field_of(ref, "weight"), 1),
    };
    if (group.n || !str_eqz(to, "Service"))
        out->fault = fault_make(a, "InvalidKind",
                                "backendRefs: " STR_FMT "%s" STR_FMT " is not supported, only Service", STR_ARG(to),
                                group.n ? "." : "", STR_ARG(group));
    else if (!reference_granted(v, route_rows[kind].kind, route->ns, S(""), S("Service"), out->ns, out->service))
        out->fault = fault_make(a, "RefNotPermitted",
                                "no ReferenceGrant in namespace " STR_FMT " permits Service " STR_FMT "/" STR_FMT,
                                STR_ARG(out->ns), STR_ARG(out->ns), STR_ARG(out->service));
    else
        out->fault = service_fault(a, view_get(v, K(Service), out->ns, out->service), out);
}

/* --- matches --- */

static bool header_name_ok(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '-' || c == '_'))
            return false;
    }
    return name.n > 0 && name.n <= HEADER_NAME_MAX;
}

static struct gateway_fault name_fault(struct arena *a, const char *where, struct str name)
{
    return header_name_ok(name)
               ? (struct gateway_fault){0}
               : fault_make(a, UNSUPPORTED,
                            "%s: \"" STR_FMT "\" is not a name of letters, digits, - and _, at most %d", where,
                            STR_ARG(name), HEADER_NAME_MAX);
}

static struct gateway_fault pattern_fault(struct arena *a, const char *where, struct str pattern)
{
    AUTO(arena_fini) struct arena own = ARENA;
    struct err err = ERR;
    return regex_compile(&own, pattern, &err) ? (struct gateway_fault){0}
                                              : fault_make(a, UNSUPPORTED, "%s: %s", where, err.text);
}

static struct gateway_fault fields_fault(struct arena *a, const char *where, const struct val *fields)
{
    struct gateway_fault f = {0};
    val_each_item (it, fields) {
        fault_keep(&f, name_fault(a, where, text_of(it, "name")));
        struct str type = text_or(it, "type", "Exact");
        if (str_eqz(type, "RegularExpression"))
            fault_keep(&f, pattern_fault(a, where, text_of(it, "value")));
        else if (!str_eqz(type, "Exact"))
            fault_keep(&f, fault_make(a, UNSUPPORTED, "%s: type " STR_FMT, where, STR_ARG(type)));
    }
    return f;
}

struct gateway_fault route_match_fault(struct arena *a, enum route_kind kind, const struct val *match)
{
    struct gateway_fault f = fields_fault(a, "matches.headers", field_of(match, "headers"));
    if (kind == ROUTE_GRPC) {
        const struct val *method = field_of(match, "method");
        bool pattern = str_eqz(text_of(method, "type"), "RegularExpression");
        if (pattern && text_of(method, "service").n)
            fault_keep(&f, pattern_fault(a, "matches.method.service", text_of(method, "service")));
        if (pattern && text_of(method, "method").n)
            fault_keep(&f, pattern_fault(a, "matches.method.method", text_of(method, "method")));
        return f;
    }
    const struct val *path = field_of(match, "path");
    struct str type = text_or(path, "type", "PathPrefix");
    fault_keep(&f, fields_fault(a, "matches.queryParams", field_of(match, "queryParams")));
    if (str_eqz(type, "RegularExpression"))
        fault_keep(&f, pattern_fault(a, "matches.path", text_of(path, "value")));
    else if (!str_eqz(type, "Exact") && !str_eqz(type, "PathPrefix"))
        fault_keep(&f, fault_make(a, UNSUPPORTED, "matches.path: type " STR_FMT, STR_ARG(type)));
    return f;
}

/* --- filters --- */

static struct gateway_fault modifier_fault(struct arena *a, const char *where, const struct val *m)
{
    struct gateway_fault f = {0};
    val_each_item (it, field_of(m, "set"))
        fault_keep(&f, name_fault(a, where, text_of(it, "name")));
    val_each_item (it, field_of(m, "add"))
        fault_keep(&f, name_fault(a, where, text_of(it, "name")));
    val_each_item (it, field_of(m, "remove"))
        fault_keep(&f, name_fault(a, where, val_text(it)));
    return f;
}

static bool prefixes_only(const struct val *rule)
{
    val_each_item (m, field_of(rule, "matches"))
        if (!str_eqz(text_or(field_of(m, "path"), "type", "PathPrefix"), "PathPrefix"))
            return false;
    return true;
}

static struct gateway_fault path_fault(struct arena *a, const char *where, const struct val *rule,
                                       const struct val *path)
{
    struct str type = text_of(path, "type");
    if (!path || str_eqz(type, "ReplaceFullPath"))
        return (struct gateway_fault){0};
    if (!str_eqz(type, "ReplacePrefixMatch"))
        return fault_make(a, UNSUPPORTED, "%s.path: type " STR_FMT, where, STR_ARG(type));
    return prefixes_only(rule)
               ? (struct gateway_fault){0}
               : fault_make(a, UNSUPPORTED, "%s.path: ReplacePrefixMatch needs matches of type PathPrefix", where);
}

static struct gateway_fault redirect_fault(struct arena *a, const struct val *rule, const struct val *r)
{
    static const int codes[] = {301, 302, 303, 307, 308};
    struct str scheme = text_of(r, "scheme");
    int64_t code = val_num(field_of(r, "statusCode"), 302);
    bool known = false;
    for (size_t i = 0; i < countof(codes); i++)
        known |= codes[i] == code;
    if (!known)
        return fault_make(a, UNSUPPORTED, "requestRedirect.statusCode: %lld", (long long)code);
    if (scheme.n && !str_eqz(scheme, "http") && !str_eqz(scheme, "https"))
        return fault_make(a, UNSUPPORTED, "requestRedirect.scheme: " STR_FMT, STR_ARG(scheme));
    return path_fault(a, "requestRedirect", rule, field_of(r, "path"));
}

static struct gateway_fault filter_fault(struct arena *a, const struct val *rule, const struct val *filter)
{
    struct str type = text_of(filter, "type");
    if (str_eqz(type, "RequestHeaderModifier"))
        return modifier_fault(a, "requestHeaderModifier", field_of(filter, "requestHeaderModifier"));
    if (str_eqz(type, "ResponseHeaderModifier"))
        return modifier_fault(a, "responseHeaderModifier", field_of(filter, "responseHeaderModifier"));
    if (str_eqz(type, "RequestRedirect"))
        return redirect_fault(a, rule, field_of(filter, "requestRedirect"));
    if (str_eqz(type, "URLRewrite"))
        return path_fault(a, "urlRewrite", rule, field_of(field_of(filter, "urlRewrite"), "path"));
    if (str_eqz(type, "RequestMirror") || str_eqz(type, "CORS"))
        return (struct gateway_fault){0};
    if (str_eqz(type, "ExtensionRef")) {
        const struct val *ref = field_of(filter, "extensionRef");
        return fault_make(a, "InvalidKind",
                          "extensionRef: " STR_FMT "." STR_FMT " is not known here; its requests are "
                          "answered 500",
                          STR_ARG(text_of(ref, "kind")), STR_ARG(text_of(ref, "group")));
    }
    return fault_make(a, UNSUPPORTED, "filter " STR_FMT " is not supported; its requests are answered 500",
                      STR_ARG(type));
}

static struct gateway_fault filters_fault(struct arena *a, const struct val *rule, const struct val *filters)
{
    static const char *const once[] = {"RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect",
                                       "URLRewrite", "CORS"};
    struct gateway_fault f = {0};
    bool redirect = false, rewrite = false;
    val_each_item (it, filters) {
        fault_keep(&f, filter_fault(a, rule, it));
        struct str type = text_of(it, "type");
        redirect |= str_eqz(type, "RequestRedirect");
        rewrite |= str_eqz(type, "URLRewrite");
        for (size_t i = 0; i < countof(once); i++)
            for (const struct val *before = filters->list; str_eqz(type, once[i]) && before < it; before++)
                if (str_eq(text_of(before, "type"), type))
                    fault_keep(&f, fault_make(a, "IncompatibleFilters", "filter %s stands there twice", once[i]));
    }
    if (redirect && rewrite)
        fault_keep(&f, fault_make(a, "IncompatibleFilters", "RequestRedirect and URLRewrite exclude each other"));
    return f;
}

/* --- rules --- */

static struct gateway_fault times_fault(struct arena *a, const struct val *rule)
{
    static const char *const members[] = {"request", "backendRequest"};
    struct gateway_fault f = {0};
    int64_t ns;
    for (size_t i = 0; i < countof(members); i++) {
        const struct val *t = field_of(field_of(rule, "timeouts"), members[i]);
        if (t && !gateway_duration(val_text(t), &ns))
            fault_keep(&f, fault_make(a, UNSUPPORTED, "timeouts.%s: \"" STR_FMT "\" is no duration", members[i],
                                      STR_ARG(val_text(t))));
    }
    return f;
}

static struct gateway_fault retry_fault(struct arena *a, const struct val *retry)
{
    static const int codes[] = {401, 403, 404, 408, 425, 500, 501, 502, 503, 504};
    if (text_of(retry, "backoff").n)
        return fault_make(a, UNSUPPORTED,
                          "retry.backoff is not supported: retries follow at once, on another endpoint "
                          "where there is one");
    val_each_item (it, field_of(retry, "codes")) {
        bool known = false;
        for (size_t i = 0; i < countof(codes); i++)
            known |= codes[i] == val_num(it, 0);
        if (!known)
            return fault_make(a, UNSUPPORTED,
                              "retry.codes: %lld cannot be retried, only 401, 403, 404, 408, 425, 500 to 504",
                              (long long)val_num(it, 0));
    }
    return (struct gateway_fault){0};
}

static struct gateway_fault persistence_fault(struct arena *a, const struct val *p)
{
    struct str header = text_of(field_of(p, "header"), "name"), cookie = text_of(field_of(p, "cookie"), "name");
    struct gateway_fault f = {0};
    int64_t ns;
    if (header.n)
        fault_keep(&f, name_fault(a, "sessionPersistence.header.name", header));
    if (cookie.n)
        fault_keep(&f, name_fault(a, "sessionPersistence.cookie.name", cookie));
    if (field_of(p, "absoluteTimeout") && !gateway_duration(text_of(p, "absoluteTimeout"), &ns))
        fault_keep(&f,
                   fault_make(a, UNSUPPORTED, "sessionPersistence.absoluteTimeout: \"" STR_FMT "\" is no duration",
                              STR_ARG(text_of(p, "absoluteTimeout"))));
    return f;
}

struct gateway_fault route_rule_fault(struct arena *a, enum route_kind kind, const struct val *rule)
{
    struct gateway_fault f = {0};
    if (!route_rows[kind].hosts || kind == ROUTE_TLS)
        return f;
    val_each_item (m, field_of(rule, "matches"))
        fault_keep(&f, route_match_fault(a, kind, m));
    fault_keep(&f, filters_fault(a, rule, field_of(rule, "filters")));
    val_each_item (ref, field_of(rule, "backendRefs"))
        fault_keep(&f, filters_fault(a, rule, field_of(ref, "filters")));
    fault_keep(&f, times_fault(a, rule));
    fault_keep(&f, retry_fault(a, field_of(rule, "retry")));
    fault_keep(&f, persistence_fault(a, field_of(rule, "sessionPersistence")));
    return f;
}

static void mirrors_judge(const struct view *v, struct arena *a, const struct obj *route, enum route_kind kind,
                          const struct val *filters, struct route_judgement *out)
{
    struct route_ref r;
    val_each_item (f, filters)
        if (field_of(f, "requestMirror")) {
            route_ref_read(v, a, route, kind, field_of(field_of(f, "requestMirror"), "backendRef"), &r);
            fault_keep(&out->resolved, r.fault);
        }
}

void route_judge(const struct view *v, struct arena *a, const struct obj *route, enum route_kind kind,
                 struct route_judgement *out)
{
    *out = (struct route_judgement){0};
    size_t i = 0;
    val_each_item (rule, field_of(obj_spec(route), "rules")) {
        struct gateway_fault f = route_rule_fault(a, kind, rule);
        struct route_ref r;
        if (is_fault(&f) && str_eqz(str_of(f.reason), "InvalidKind")) {
            fault_keep(&out->resolved, f);
        } else if (is_fault(&f)) {
            if (out->nfaulty == 0)
                out->first = i;
            fault_keep(&out->rules, f);
            out->faulty = arena_fmt(a, STR_FMT "%s%zu", STR_ARG(out->faulty), out->nfaulty ? ", " : "", i);
            out->nfaulty++;
        }
        mirrors_judge(v, a, route, kind, field_of(rule, "filters"), out);
        val_each_item (ref, field_of(rule, "backendRefs")) {
            route_ref_read(v, a, route, kind, ref, &r);
            fault_keep(&out->resolved, r.fault);
            mirrors_judge(v, a, route, kind, field_of(ref, "filters"), out);
        }
        i++;
    }
    out->nrules = i;
}
