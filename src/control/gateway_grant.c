/* ReferenceGrants, and the indexes by which it is found whom a change concerns. */
#include "control/gateway_int.h"

static bool grant_says(const struct obj *grant, const char *kind, struct str ns, struct str group, struct str to_kind,
                       struct str name)
{
    bool from = false;
    val_each_item (it, field_of(obj_spec(grant), "from"))
        from |= str_eqz(text_of(it, "group"), GATEWAY_GROUP) && str_eqz(text_of(it, "kind"), kind) &&
                str_eq(text_of(it, "namespace"), ns);
    if (from)
        val_each_item (it, field_of(obj_spec(grant), "to")) {
            struct str only = text_of(it, "name");
            if (str_eq(text_of(it, "group"), group) && str_eq(text_of(it, "kind"), to_kind) &&
                (only.n == 0 || str_eq(only, name)))
                return true;
        }
    return false;
}

bool reference_granted(const struct view *v, const char *kind, struct str ns, struct str group, struct str to_kind,
                       struct str to_ns, struct str name)
{
    const struct kind *k = view_defined(v, GATEWAYS_GRANTS);
    struct obj *o;
    if (str_eq(ns, to_ns))
        return true;
    if (!k)
        return false;
    for (struct objset_iter it = view_with(v, k, &index_namespace, to_ns); (o = objset_next(&it));)
        if (grant_says(o, kind, ns, group, to_kind, name))
            return true;
    return false;
}

const struct route_row route_rows[ROUTE_KINDS] = {
    [ROUTE_HTTP] = {"HTTPRoute", "httproutes." GATEWAY_GROUP, 1u << GATEWAY_HTTP | 1u << GATEWAY_HTTPS, true},
    [ROUTE_GRPC] = {"GRPCRoute", "grpcroutes." GATEWAY_GROUP, 1u << GATEWAY_HTTP | 1u << GATEWAY_HTTPS, true},
    [ROUTE_TLS] = {"TLSRoute", "tlsroutes." GATEWAY_GROUP, 1u << GATEWAY_TLS, true},
    [ROUTE_TCP] = {"TCPRoute", "tcproutes." GATEWAY_GROUP, 1u << GATEWAY_TCP, false},
    [ROUTE_UDP] = {"UDPRoute", "udproutes." GATEWAY_GROUP, 0, false},
};

enum route_kind route_of(const struct kind *k)
{
    for (enum route_kind r = 0; r < ROUTE_KINDS; r++)
        if (str_eqz(k->group, GATEWAY_GROUP) && str_eqz(k->kind, route_rows[r].kind))
            return r;
    return ROUTE_KINDS;
}

typedef void index_add_fn(void *arg, struct str key);

static void keys_of_parents(const struct obj *o, index_add_fn *add, void *arg)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_item (ref, field_of(obj_spec(o), "parentRefs")) {
        struct str ns = text_of(ref, "namespace"), kind = text_or(ref, "kind", "Gateway");
        b.n = 0;
        strbuf_add(&b, kind);
        strbuf_addc(&b, '/');
        strbuf_add(&b, ns.n ? ns : o->ns);
        strbuf_addc(&b, '/');
        strbuf_add(&b, text_of(ref, "name"));
        add(arg, strbuf_str(&b));
    }
}
const struct objindex index_route_parent = {"route-parent", keys_of_parents};

static void backend_key(const struct obj *o, const struct val *ref, index_add_fn *add, void *arg)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str ns = text_of(ref, "namespace"), name = text_of(ref, "name");
    if (!name.n || text_of(ref, "group").n || !str_eqz(text_or(ref, "kind", "Service"), "Service"))
        return;
    ns = ns.n ? ns : o->ns;
    add(arg, objset_key(&b, ns, name));
    if (!str_eq(ns, o->ns))
        add(arg, objset_key(&b, ns, S("")));
}

static void keys_of_filters(const struct obj *o, const struct val *filters, index_add_fn *add, void *arg)
{
    val_each_item (f, filters)
        backend_key(o, field_of(field_of(f, "requestMirror"), "backendRef"), add, arg);
}

static void keys_of_backends(const struct obj *o, index_add_fn *add, void *arg)
{
    val_each_item (rule, field_of(obj_spec(o), "rules")) {
        keys_of_filters(o, field_of(rule, "filters"), add, arg);
        val_each_item (ref, field_of(rule, "backendRefs")) {
            backend_key(o, ref, add, arg);
            keys_of_filters(o, field_of(ref, "filters"), add, arg);
        }
    }
}
const struct objindex index_route_backend = {"route-backend", keys_of_backends};

static void keys_of_class(const struct obj *o, index_add_fn *add, void *arg)
{
    add(arg, text_of(obj_spec(o), "gatewayClassName"));
}
const struct objindex index_gateway_class = {"gateway-class", keys_of_class};

static void keys_of_its_gateway(const struct obj *o, index_add_fn *add, void *arg)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    const struct val *ref = field_of(obj_spec(o), "parentRef");
    struct str ns = text_of(ref, "namespace");
    if (str_eqz(text_or(ref, "kind", "Gateway"), "Gateway") &&
        str_eqz(text_or(ref, "group", GATEWAY_GROUP), GATEWAY_GROUP))
        add(arg, objset_key(&b, ns.n ? ns : o->ns, text_of(ref, "name")));
}
const struct objindex index_set_parent = {"set-parent", keys_of_its_gateway};

static void keys_of_refs(const struct obj *o, const struct val *refs, index_add_fn *add, void *arg)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_item (ref, refs) {
        struct str ns = text_of(ref, "namespace");
        add(arg, objset_key(&b, ns.n ? ns : o->ns, text_of(ref, "name")));
    }
}

static void keys_of_secrets(const struct obj *o, index_add_fn *add, void *arg)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    const struct val *shown = field_of(field_of(field_of(obj_spec(o), "tls"), "backend"), "clientCertificateRef");
    struct str ns = text_of(shown, "namespace");
    val_each_item (l, field_of(obj_spec(o), "listeners"))
        keys_of_refs(o, field_of(field_of(l, "tls"), "certificateRefs"), add, arg);
    if (shown)
        add(arg, objset_key(&b, ns.n ? ns : o->ns, text_of(shown, "name")));
}
const struct objindex index_gateway_secret = {"gateway-secret", keys_of_secrets};

static void keys_of_cas(const struct obj *o, index_add_fn *add, void *arg)
{
    const struct val *frontend = field_of(field_of(obj_spec(o), "tls"), "frontend");
    keys_of_refs(o, field_of(field_of(field_of(frontend, "default"), "validation"), "caCertificateRefs"), add, arg);
    val_each_item (it, field_of(frontend, "perPort"))
        keys_of_refs(o, field_of(field_of(field_of(it, "tls"), "validation"), "caCertificateRefs"), add, arg);
}
const struct objindex index_gateway_ca = {"gateway-ca", keys_of_cas};
