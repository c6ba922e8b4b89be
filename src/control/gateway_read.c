/* A Gateway with its listeners and those of its ListenerSets: which are supported, which want the same, what they
 * refer to. */
#include "api/selector.h"
#include "control/gateway_int.h"
#include "control/pods.h"

struct gateway_fault fault_make(struct arena *a, const char *reason, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    struct gateway_fault f = {reason, arena_vfmt(a, fmt, args)};
    va_end(args);
    return f;
}

int obj_age_cmp(const struct obj *a, const struct obj *b)
{
    int64_t x = obj_created(a), y = obj_created(b);
    if (x != y)
        return x < y ? -1 : 1;
    int order = str_cmp(a->ns, b->ns);
    return order ? order : str_cmp(a->name, b->name);
}

bool gateway_class_is_ours(const struct obj *class)
{
    return str_eqz(text_of(obj_spec(class), "controllerName"), GATEWAY_CONTROLLER);
}

static const struct obj *class_of(const struct view *v, const struct obj *gateway)
{
    const struct kind *k = view_defined(v, GATEWAYS_CLASSES);
    return k ? view_get(v, k, S(""), text_of(obj_spec(gateway), "gatewayClassName")) : NULL;
}

bool gateway_is_ours(const struct view *v, const struct obj *gateway)
{
    const struct obj *class = class_of(v, gateway);
    return class && gateway_class_is_ours(class) && !obj_deleting(gateway);
}

struct str gateway_service_name(struct arena *a, const struct obj *gateway)
{
    struct str name = gateway->name;
    bool fits = name.n + strlen("-wherry") <= 63; /* a Service's name is a label of DNS, a Gateway's is longer */
    return fits ? arena_fmt(a, STR_FMT "-wherry", STR_ARG(name))
                : arena_fmt(a, STR_FMT "-" STR_FMT "-wherry", STR_ARG(str_sub(name, 0, 50)),
                            STR_ARG(name_suffix(a, name, 0)));
}

struct str gateway_listener_key(struct arena *a, const struct gateway_listener *l)
{
    return arena_fmt(a, STR_FMT "/" STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(l->holder->kind->kind),
                     STR_ARG(l->holder->ns), STR_ARG(l->holder->name), STR_ARG(l->name));
}

bool namespaces_allow(const struct view *v, const struct val *namespaces, struct str otherwise, struct str own,
                      struct str ns)
{
    struct str from = text_of(namespaces, "from");
    from = from.n ? from : otherwise;
    if (str_eqz(from, "Selector")) {
        const struct obj *o = view_get(v, K(Namespace), S(""), ns);
        return o && label_selector_matches(field_of(namespaces, "selector"), obj_labels(o));
    }
    return str_eqz(from, "All") || (str_eqz(from, "Same") && str_eq(own, ns));
}

/* --- one listener --- */

static void protocol_read(struct arena *a, struct gateway_listener *l)
{
    static const struct {
        const char *text;
        enum gateway_protocol protocol;
    } rows[] = {{"HTTP", GATEWAY_HTTP}, {"HTTPS", GATEWAY_HTTPS}, {"TLS", GATEWAY_TLS}, {"TCP", GATEWAY_TCP}};
    struct str text = text_of(l->spec, "protocol");
    l->protocol = GATEWAY_OTHER;
    for (size_t i = 0; i < countof(rows); i++)
        if (str_eqz(text, rows[i].text))
            l->protocol = rows[i].protocol;
    l->terminate = l->protocol == GATEWAY_HTTPS ||
                   (l->protocol == GATEWAY_TLS && str_eqz(text_of(field_of(l->spec, "tls"), "mode"), "Terminate"));
    if (l->protocol == GATEWAY_OTHER)
        fault_keep(&l->accepted,
                   fault_make(a, "UnsupportedProtocol",
                              "protocol " STR_FMT " is not supported; use HTTP, HTTPS, TLS or TCP", STR_ARG(text)));
    if (l->protocol == GATEWAY_TCP)
        l->hostname = S("");
}

static void kinds_read(struct arena *a, struct gateway_listener *l)
{
    unsigned may = 0;
    for (size_t i = 0; i < ROUTE_KINDS; i++)
        if (route_rows[i].protocols & 1u << l->protocol)
            may |= 1u << i;
    const struct val *told = field_of(field_of(l->spec, "allowedRoutes"), "kinds");
    l->kinds = may;
    l->kinds_told = val_len(told) > 0;
    if (!l->kinds_told)
        return;
    l->kinds = 0;
    val_each_item (it, told) {
        struct str group = text_or(it, "group", GATEWAY_GROUP), kind = text_of(it, "kind");
        unsigned bit = 0;
        for (size_t i = 0; i < ROUTE_KINDS; i++)
            if (str_eqz(group, GATEWAY_GROUP) && str_eqz(kind, route_rows[i].kind))
                bit = 1u << i;
        l->kinds |= bit & may;
        if (!(bit & may))
            fault_keep(&l->resolved, fault_make(a, "InvalidRouteKinds",
                                                "allowedRoutes.kinds: " STR_FMT "%s" STR_FMT
                                                " cannot attach to a listener of protocol " STR_FMT,
                                                STR_ARG(kind), group.n ? "." : "", STR_ARG(group),
                                                STR_ARG(text_of(l->spec, "protocol"))));
    }
}

/* PEM: one block at least of that label, with something of base64 between its lines. Whether it is a certificate and
 * fits its key, TLS finds out. */
static bool pem_has(struct str text, const char *label)
{
    struct str rest = text, line;
    bool inside = false, content = false;
    while (str_cut(&rest, '\n', &line)) {
        line = str_trim(line);
        bool edge = str_starts(line, S("-----"));
        if (edge && inside && str_starts(line, S("-----END ")) && content)
            return true;
        if (edge) {
            inside = str_starts(line, S("-----BEGIN ")) && str_has(line, str_of(label));
            content = false;
        } else if (inside && line.n) {
            AUTO(strbuf_fini) struct strbuf raw = STRBUF(STRBUF_TEXT);
            if (!strbuf_add_unbase64(&raw, line))
                return false;
            content = true;
        }
    }
    return false;
}

static struct gateway_fault certificate_fault(struct arena *a, const struct obj *secret, struct str ns,
                                              struct str name)
{
    if (!secret)
        return fault_make(a, "InvalidCertificateRef", "there is no Secret " STR_FMT "/" STR_FMT, STR_ARG(ns),
                          STR_ARG(name));
    const struct val *data = val_get(&secret->tree, N(data));
    struct str type = val_text_at(&secret->tree, N(type));
    if (!str_eqz(type, "kubernetes.io/tls"))
        return fault_make(a, "InvalidCertificateRef",
                          "Secret " STR_FMT "/" STR_FMT " is of type " STR_FMT ", not kubernetes.io/tls", STR_ARG(ns),
                          STR_ARG(name), STR_ARG(type));
    if (!pem_has(val_raw(field_of(data, "tls.crt")), "CERTIFICATE"))
        return fault_make(a, "InvalidCertificateRef",
                          "tls.crt of Secret " STR_FMT "/" STR_FMT " holds no certificate (PEM)", STR_ARG(ns),
                          STR_ARG(name));
    if (!pem_has(val_raw(field_of(data, "tls.key")), "PRIVATE KEY"))
        return fault_make(a, "InvalidCertificateRef",
                          "tls.key of Secret " STR_FMT "/" STR_FMT " holds no private key (PEM)", STR_ARG(ns),
                          STR_ARG(name));
    return (struct gateway_fault){0};
}

static struct gateway_fault not_permitted(struct arena *a, const char *what, struct str kind, struct str ns,
                                          struct str name)
{
    return fault_make(a, "RefNotPermitted",
                      "%s: no ReferenceGrant in namespace " STR_FMT " permits " STR_FMT " " STR_FMT "/" STR_FMT, what,
                      STR_ARG(ns), STR_ARG(kind), STR_ARG(ns), STR_ARG(name));
}

static void certificates_read(const struct view *v, struct arena *a, struct gateway_listener *l)
{
    const struct val *tls = field_of(l->spec, "tls"), *refs = field_of(tls, "certificateRefs");
    if (val_len(field_of(tls, "options")) > 0)
        fault_keep(&l->accepted, fault_make(a, "UnsupportedValue",
                                            "tls.options: " STR_FMT " is not known here; there are no options yet",
                                            STR_ARG(field_of(tls, "options")->map->name->s)));
    if (!l->terminate)
        return;
    l->certificates = arena_many(a, const struct obj *, val_len(refs) + 1);
    val_each_item (ref, refs) {
        struct str group = text_of(ref, "group"), kind = text_or(ref, "kind", "Secret"), name = text_of(ref, "name");
        struct str ns = text_of(ref, "namespace");
        ns = ns.n ? ns : l->holder->ns;
        struct gateway_fault f;
        const struct obj *secret = NULL;
        if (group.n || !str_eqz(kind, "Secret")) {
            f = fault_make(a, "InvalidCertificateRef",
                           "certificateRefs: " STR_FMT "%s" STR_FMT " is not supported, only Secret", STR_ARG(kind),
                           group.n ? "." : "", STR_ARG(group));
        } else if (!reference_granted(v, l->holder->kind->kind.p, l->holder->ns, S(""), S("Secret"), ns, name)) {
            f = not_permitted(a, "certificateRefs", kind, ns, name);
        } else {
            secret = view_get(v, K(Secret), ns, name);
            f = certificate_fault(a, secret, ns, name);
        }
        if (is_fault(&f))
            fault_keep(&l->resolved, f);
        else
            l->certificates[l->ncertificates++] = secret;
    }
    if (val_len(refs) == 0)
        fault_keep(&l->resolved, fault_make(a, "InvalidCertificateRef",
                                            "tls.certificateRefs names no Secret of type kubernetes.io/tls"));
}

/* What clients are to show on this port; NULL: nothing. */
static const struct val *validation_of(const struct obj *gateway, uint16_t port)
{
    const struct val *frontend = field_of(field_of(obj_spec(gateway), "tls"), "frontend");
    val_each_item (it, field_of(frontend, "perPort"))
        if (val_num(field_of(it, "port"), 0) == port)
            return field_of(field_of(it, "tls"), "validation");
    return field_of(field_of(frontend, "default"), "validation");
}

static void validation_read(const struct view *v, struct arena *a, const struct obj *gateway,
                            struct gateway_listener *l)
{
    const struct val *validation = l->protocol == GATEWAY_HTTPS ? validation_of(gateway, l->port) : NULL;
    const struct val *refs = field_of(validation, "caCertificateRefs");
    if (!validation)
        return;
    l->verifies = true;
    l->insecure = str_eqz(text_of(validation, "mode"), "AllowInsecureFallback");
    l->cas = arena_many(a, const struct obj *, val_len(refs) + 1);
    val_each_item (ref, refs) {
        struct str group = text_of(ref, "group"), kind = text_of(ref, "kind"), name = text_of(ref, "name");
        struct str ns = text_of(ref, "namespace");
        ns = ns.n ? ns : gateway->ns;
        struct gateway_fault f = {0};
        const struct obj *o = NULL;
        if (group.n || !str_eqz(kind, "ConfigMap")) {
            f = fault_make(a, "InvalidCACertificateKind",
                           "caCertificateRefs: " STR_FMT "%s" STR_FMT " is not supported, only ConfigMap",
                           STR_ARG(kind), group.n ? "." : "", STR_ARG(group));
        } else if (!reference_granted(v, "Gateway", gateway->ns, S(""), S("ConfigMap"), ns, name)) {
            f = not_permitted(a, "caCertificateRefs", kind, ns, name);
        } else if (!(o = view_get(v, K(ConfigMap), ns, name))) {
            f = fault_make(a, "InvalidCACertificateRef", "there is no ConfigMap " STR_FMT "/" STR_FMT, STR_ARG(ns),
                           STR_ARG(name));
        } else if (!pem_has(text_of(val_get(&o->tree, N(data)), "ca.crt"), "CERTIFICATE")) {
            f = fault_make(a, "InvalidCACertificateRef",
                           "ca.crt of ConfigMap " STR_FMT "/" STR_FMT " holds no certificate (PEM)", STR_ARG(ns),
                           STR_ARG(name));
        }
        if (is_fault(&f))
            fault_keep(&l->resolved, f);
        else
            l->cas[l->ncas++] = o;
    }
    if (l->ncas == 0)
        fault_keep(&l->accepted,
                   fault_make(a, "NoValidCACertificate", "none of caCertificateRefs can be used to verify clients"));
}

static void listener_read(const struct view *v, struct arena *a, const struct obj *gateway, const struct obj *holder,
                          const struct val *spec, struct gateway_listener *l)
{
    *l = (struct gateway_listener){
        .holder = holder,
        .spec = spec,
        .name = text_of(spec, "name"),
        .hostname = text_of(spec, "hostname"),
        .port = (uint16_t)val_num(field_of(spec, "port"), 0),
    };
    protocol_read(a, l);
    if (val_len(field_of(field_of(spec, "filters"), "requests")) > 0)
        fault_keep(&l->accepted, fault_make(a, "UnsupportedValue", "filters of a listener are not supported"));
    kinds_read(a, l);
    if (l->protocol == GATEWAY_OTHER)
        return;
    certificates_read(v, a, l);
    validation_read(v, a, gateway, l);
}

/* --- which want the same --- */

/* On one port: HTTP, what begins with TLS, and bytes exclude each other. */
static int family_of(enum gateway_protocol p)
{
    return p == GATEWAY_HTTP ? 0 : p == GATEWAY_TCP ? 2 : 1;
}

static const char *conflict_of(const struct gateway_listener *x, const struct gateway_listener *y)
{
    if (x->port != y->port || x->protocol == GATEWAY_OTHER || y->protocol == GATEWAY_OTHER)
        return NULL;
    if (family_of(x->protocol) != family_of(y->protocol))
        return "ProtocolConflict";
    if (x->protocol == GATEWAY_TCP)
        return "ProtocolConflict";
    return str_ieq(x->hostname, y->hostname) ? "HostnameConflict" : NULL;
}

/* Another holder's object is named, so that who is told knows where to look; nothing else of it is. */
static void conflict_tell(struct arena *a, struct gateway_listener *l, const char *reason,
                          const struct gateway_listener *with)
{
    bool same = with->holder == l->holder;
    struct gateway_fault f = fault_make(
        a, reason, "port %u%s" STR_FMT " is wanted by listener " STR_FMT "%s" STR_FMT "%s" STR_FMT "%s" STR_FMT,
        l->port, str_eqz(str_of(reason), "HostnameConflict") && l->hostname.n ? " of " : "",
        STR_ARG(str_eqz(str_of(reason), "HostnameConflict") ? l->hostname : S("")), STR_ARG(with->name),
        same ? "" : " of ", STR_ARG(same ? S("") : with->holder->kind->kind), same ? "" : " ",
        STR_ARG(same ? S("") : with->holder->ns), same ? "" : "/", STR_ARG(same ? S("") : with->holder->name));
    fault_keep(&l->conflicted, f);
    fault_keep(&l->accepted, f);
}

/* The first of these that the listener cannot be beside; out: which are out of it already. */
static void conflict_find(struct arena *a, struct gateway_model *g, size_t at, size_t from, size_t to,
                          const bool *out)
{
    struct gateway_listener *l = &g->listeners[at];
    for (size_t j = from; j < to && !is_fault(&l->conflicted); j++) {
        const char *reason = j != at && !out[j] ? conflict_of(l, &g->listeners[j]) : NULL;
        if (reason)
            conflict_tell(a, l, reason, &g->listeners[j]);
    }
}

/* Of two holders the first wins, which is the Gateway or the older; of what is left, in one holder nobody does. */
static void conflicts_inside(struct arena *a, struct gateway_model *g)
{
    bool *out = arena_many(a, bool, g->nlisteners + 1);
    size_t from = 0, to;
    for (; from < g->nlisteners; from = to) {
        for (to = from; to < g->nlisteners && g->listeners[to].holder == g->listeners[from].holder; to++) {
            conflict_find(a, g, to, 0, from, out);
            out[to] = is_fault(&g->listeners[to].accepted);
        }
        for (size_t i = from; i < to; i++)
            if (!out[i])
                conflict_find(a, g, i, from, to, out);
        for (size_t i = from; i < to; i++)
            out[i] = is_fault(&g->listeners[i].accepted);
    }
    for (size_t i = 0; i < g->nlisteners; i++)
        for (size_t j = 0; j < g->nlisteners; j++) {
            struct gateway_listener *x = &g->listeners[i], *y = &g->listeners[j];
            struct str both;
            if (i != j && x->port == y->port && x->protocol == GATEWAY_HTTPS && y->protocol == GATEWAY_HTTPS &&
                hostnames_meet(x->hostname, y->hostname, &both))
                x->overlaps = true;
        }
}

static bool addresses_shared(const struct gateway_model *x, const struct gateway_model *y)
{
    if (x->everywhere || y->everywhere)
        return !x->own_address && !y->own_address;
    for (size_t i = 0; i < x->naddresses; i++)
        for (size_t j = 0; j < y->naddresses; j++)
            if (str_eq(x->addresses[i], y->addresses[j]))
                return true;
    return false;
}

/* --- the whole --- */

static int set_cmp(const void *x, const void *y)
{
    return obj_age_cmp(((const struct gateway_set *)x)->set, ((const struct gateway_set *)y)->set);
}

static void sets_read(const struct view *v, struct arena *a, struct gateway_model *g)
{
    const struct kind *k = view_defined(v, GATEWAYS_SETS);
    if (!k)
        return;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    struct str key = objset_key_of(&text, g->gateway);
    size_t n = 0;
    struct obj *o;
    for (struct objset_iter it = view_with(v, k, &index_set_parent, key); objset_next(&it);)
        n++;
    g->sets = arena_many(a, struct gateway_set, n + 1);
    const struct val *allowed = field_of(field_of(obj_spec(g->gateway), "allowedListeners"), "namespaces");
    for (struct objset_iter it = view_with(v, k, &index_set_parent, key); (o = objset_next(&it));) {
        struct gateway_set *s = &g->sets[g->nsets];
        s->set = o;
        if (obj_deleting(o))
            continue;
        g->nsets++;
        if (!namespaces_allow(v, allowed, S("None"), g->gateway->ns, o->ns))
            s->refused = fault_make(a, "NotAllowed",
                                    "allowedListeners of the Gateway does not take ListenerSets of "
                                    "this namespace");
        else if (is_fault(&g->accepted))
            s->refused = fault_make(a, "ParentNotAccepted", "the Gateway is not accepted");
    }
    qsort(g->sets, g->nsets, sizeof *g->sets, set_cmp);
}

static void listeners_read(const struct view *v, struct arena *a, struct gateway_model *g)
{
    const struct val *own = field_of(obj_spec(g->gateway), "listeners");
    size_t n = val_len(own);
    sets_read(v, a, g);
    for (size_t i = 0; i < g->nsets; i++)
        n += val_len(field_of(obj_spec(g->sets[i].set), "listeners"));
    g->listeners = arena_many(a, struct gateway_listener, n + 1);
    val_each_item (it, own)
        listener_read(v, a, g->gateway, g->gateway, it, &g->listeners[g->nlisteners++]);
    g->nown = g->nlisteners;
    for (size_t i = 0; i < g->nsets; i++)
        if (!is_fault(&g->sets[i].refused))
            val_each_item (it, field_of(obj_spec(g->sets[i].set), "listeners"))
                listener_read(v, a, g->gateway, g->sets[i].set, it, &g->listeners[g->nlisteners++]);
    conflicts_inside(a, g);
}

static void parameters_read(const struct view *v, struct arena *a, struct gateway_model *g)
{
    const struct obj *class = class_of(v, g->gateway);
    if (class && field_of(obj_spec(class), "parametersRef"))
        fault_keep(&g->accepted, fault_make(a, "InvalidParameters",
                                            "GatewayClass " STR_FMT " has a parametersRef; there are no parameters",
                                            STR_ARG(class->name)));
    if (field_of(field_of(obj_spec(g->gateway), "infrastructure"), "parametersRef"))
        fault_keep(&g->accepted,
                   fault_make(a, "InvalidParameters", "infrastructure.parametersRef: there are no parameters"));
    if (text_of(obj_spec(g->gateway), "defaultScope").n &&
        !str_eqz(text_of(obj_spec(g->gateway), "defaultScope"), "None"))
        fault_keep(&g->accepted, fault_make(a, "Invalid",
                                            "defaultScope is not supported; name the Gateway in "
                                            "each route's parentRefs"));
}

/* What the Gateway shows to backends that are spoken to with TLS. */
static void backend_read(const struct view *v, struct arena *a, struct gateway_model *g)
{
    const struct obj *own = g->gateway;
    const struct val *ref = field_of(field_of(field_of(obj_spec(own), "tls"), "backend"), "clientCertificateRef");
    struct str group = text_of(ref, "group"), kind = text_or(ref, "kind", "Secret"), name = text_of(ref, "name");
    struct str ns = text_of(ref, "namespace");
    struct gateway_fault f = {0};
    if (!ref)
        return;
    ns = ns.n ? ns : own->ns;
    g->shows = true;
    const struct obj *secret = view_get(v, K(Secret), ns, name);
    if (group.n || !str_eqz(kind, "Secret"))
        f = fault_make(a, "InvalidClientCertificateRef",
                       "clientCertificateRef: " STR_FMT "%s" STR_FMT " is not supported, only Secret", STR_ARG(kind),
                       group.n ? "." : "", STR_ARG(group));
    else if (!reference_granted(v, "Gateway", own->ns, S(""), S("Secret"), ns, name))
        f = not_permitted(a, "clientCertificateRef", kind, ns, name);
    else
        f = certificate_fault(a, secret, ns, name);
    if (!is_fault(&f))
        g->shown = secret;
    else if (str_eqz(str_of(f.reason), "InvalidCertificateRef")) /* of a listener's it is called so */
        f.reason = "InvalidClientCertificateRef";
    fault_keep(&g->resolved, f);
}

static void alone_read(const struct view *v, struct arena *a, const struct obj *gateway, struct gateway_model *g)
{
    *g = (struct gateway_model){.gateway = gateway};
    parameters_read(v, a, g);
    backend_read(v, a, g);
    gateway_addresses_read(v, a, g);
    listeners_read(v, a, g);
}

static int model_cmp(const void *x, const void *y)
{
    return obj_age_cmp(((const struct gateway_model *)x)->gateway, ((const struct gateway_model *)y)->gateway);
}

/* Those of older Gateways at the same addresses come first; what lost against one older still is nobody's rival. */
static void conflicts_outside(const struct view *v, struct arena *a, struct gateway_model *g)
{
    const struct kind *k = g->gateway->kind;
    ARRAY(struct gateway_model) older = {0};
    struct obj *o;
    if (g->own_address)
        return;
    for (struct objset_iter it = view_all(v, k); (o = objset_next(&it));)
        if (o != g->gateway && gateway_is_ours(v, o) && obj_age_cmp(o, g->gateway) < 0) {
            struct gateway_model other;
            alone_read(v, a, o, &other);
            if (!is_fault(&other.accepted) && addresses_shared(&other, g))
                array_push(&older, other);
        }
    if (older.n > 1)
        qsort(older.p, older.n, sizeof *older.p, model_cmp);
    array_push(&older, *g);
    for (size_t i = 1; i < older.n; i++)
        for (size_t l = 0; l < older.p[i].nlisteners; l++)
            for (size_t j = 0; j < i; j++)
                for (size_t m = 0; m < older.p[j].nlisteners; m++) {
                    struct gateway_listener *mine = &older.p[i].listeners[l];
                    const struct gateway_listener *other = &older.p[j].listeners[m];
                    const char *reason = is_fault(&other->accepted) || is_fault(&mine->accepted) ||
                                                 !addresses_shared(&older.p[i], &older.p[j])
                                             ? NULL
                                             : conflict_of(mine, other);
                    if (reason)
                        conflict_tell(a, mine, reason, other);
                }
    array_fini(&older);
}

void gateway_read(const struct view *v, struct arena *a, const struct obj *gateway, struct gateway_model *out)
{
    alone_read(v, a, gateway, out);
    conflicts_outside(v, a, out);
    for (size_t i = 0; i < out->nlisteners; i++) {
        struct gateway_listener *l = &out->listeners[i];
        l->serves = !is_fault(&out->accepted) && !is_fault(&l->accepted) && !is_fault(&l->conflicted) &&
                    l->kinds != 0 && (!l->terminate || l->ncertificates > 0);
    }
}
