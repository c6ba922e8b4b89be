/* BackendTLSPolicies: what one asks for, and which of several counts. */
#include "control/backend_tls.h"
#include "control/pods.h"
#include "sys/cert.h"

#define AUTHORITIES_MOST (1u << 20)
typedef void index_add_fn(void *arg, struct str key);

static void keys_of_targets(const struct obj *o, index_add_fn *add, void *arg)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_item (it, field_of(obj_spec(o), "targetRefs"))
        if (!text_of(it, "group").n && str_eqz(text_of(it, "kind"), "Service"))
            add(arg, objset_key(&b, o->ns, text_of(it, "name")));
}
const struct objindex index_policy_target = {"policy-target", keys_of_targets};

static void keys_of_authorities(const struct obj *o, index_add_fn *add, void *arg)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_item (it, field_of(field_of(obj_spec(o), "validation"), "caCertificateRefs")) {
        b.n = 0;
        strbuf_addf(&b, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(text_of(it, "kind")), STR_ARG(o->ns),
                    STR_ARG(text_of(it, "name")));
        if (!text_of(it, "group").n)
            add(arg, strbuf_str(&b));
    }
}
const struct objindex index_policy_ca = {"policy-ca", keys_of_authorities};

/* --- one policy --- */

/* The ca.crt of a ConfigMap or Secret; "": it has none that is a certificate. */
static struct str authorities_in(const struct obj *o)
{
    const struct val *at = o ? field_of(val_get(&o->tree, N(data)), "ca.crt") : NULL;
    struct str pem = o && o->kind == K(Secret) ? val_raw(at) : val_text(at);
    AUTO(arena_fini) struct arena a = ARENA;
    struct cert_info info;
    struct err ignored = ERR; /* what is wrong with it, its owner sees by looking */
    return pem.n && cert_read(&a, pem, &info, &ignored) ? pem : S("");
}

static void authority_read(const struct view *v, struct arena *a, const struct obj *policy, const struct val *ref,
                           struct backend_policy *out)
{
    struct str group = text_of(ref, "group"), kind = text_of(ref, "kind"), name = text_of(ref, "name");
    bool secret = str_eqz(kind, "Secret");
    if (group.n || (!secret && !str_eqz(kind, "ConfigMap"))) {
        fault_keep(&out->resolved, fault_make(a, "InvalidKind",
                                              "caCertificateRefs: " STR_FMT "%s" STR_FMT
                                              " is not supported, only ConfigMap and Secret",
                                              STR_ARG(kind), group.n ? "." : "", STR_ARG(group)));
        return;
    }
    const struct obj *o = view_get(v, secret ? K(Secret) : K(ConfigMap), policy->ns, name);
    struct str pem = authorities_in(o);
    if (!pem.n || out->authorities.n + pem.n > AUTHORITIES_MOST) {
        fault_keep(&out->resolved, fault_make(a, "InvalidCACertificateRef", STR_FMT " " STR_FMT "/" STR_FMT " %s",
                                              STR_ARG(kind), STR_ARG(policy->ns), STR_ARG(name),
                                              !o      ? "is not there"
                                              : pem.n ? "is too much: all together may be 1 MiB"
                                                      : "has no certificate (PEM) as ca.crt"));
        return;
    }
    out->authorities = STR_JOIN(a, out->authorities, pem, S("\n"));
}

/* HAProxy verifies the name that it asks for, and no other. */
static void names_read(struct arena *a, const struct val *validation, struct backend_policy *out)
{
    const struct val *wanted = field_of(validation, "subjectAltNames");
    out->name = text_of(validation, "hostname");
    if (val_len(wanted) > 1 || (val_len(wanted) == 1 && !str_eq(text_of(val_item(wanted, 0), "hostname"), out->name)))
        fault_keep(&out->invalid,
                   fault_make(a, "Invalid",
                              "subjectAltNames: only one is supported, a Hostname that is validation.hostname; "
                              "leave it out where that is meant"));
}

void backend_policy_read(const struct view *v, struct arena *a, const struct obj *policy, struct backend_policy *out)
{
    const struct val *validation = field_of(obj_spec(policy), "validation"),
                     *options = field_of(obj_spec(policy), "options");
    const struct val *refs = field_of(validation, "caCertificateRefs");
    struct str known = text_of(validation, "wellKnownCACertificates");
    *out = (struct backend_policy){.authorities = S("")};
    names_read(a, validation, out);
    if (val_len(options) > 0)
        fault_keep(&out->invalid,
                   fault_make(a, "Invalid", "options: " STR_FMT " is not known here; there are none yet",
                              STR_ARG(options->map->name->s)));
    val_each_item (it, refs)
        authority_read(v, a, policy, it, out);
    out->system = val_len(refs) == 0 && str_eqz(known, "System");
    if (val_len(refs) > 0 && !out->authorities.n)
        fault_keep(&out->invalid, fault_make(a, "NoValidCACertificate", STR_FMT, STR_ARG(out->resolved.message)));
    else if (val_len(refs) == 0 && !out->system)
        fault_keep(&out->invalid,
                   fault_make(a, "Invalid", "wellKnownCACertificates: \"" STR_FMT "\" is not supported, only System",
                              STR_ARG(known)));
}

/* --- which counts --- */

static bool policy_names(const struct obj *policy, struct str service, struct str port)
{
    val_each_item (it, field_of(obj_spec(policy), "targetRefs"))
        if (!text_of(it, "group").n && str_eqz(text_of(it, "kind"), "Service") &&
            str_eq(text_of(it, "name"), service) && str_eq(text_of(it, "sectionName"), port))
            return true;
    return false;
}

static const struct obj *oldest_naming(const struct view *v, const struct kind *k, struct str ns, struct str service,
                                       struct str port)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    const struct obj *best = NULL, *o;
    struct objset_iter it = view_with(v, k, &index_policy_target, objset_key(&b, ns, service));
    while ((o = objset_next(&it)))
        if (policy_names(o, service, port) && (!best || obj_age_cmp(o, best) < 0))
            best = o;
    return best;
}

const struct obj *backend_policy_of(const struct view *v, struct str ns, struct str service, struct str port)
{
    const struct kind *k = view_defined(v, GATEWAYS_TLS_POLICIES);
    const struct obj *own = k && port.n ? oldest_naming(v, k, ns, service, port) : NULL;
    return own || !k ? own : oldest_naming(v, k, ns, service, S(""));
}

struct str service_port_name(const struct view *v, struct str ns, struct str service, int64_t port)
{
    const struct obj *o = view_get(v, K(Service), ns, service);
    val_each_item (it, o ? val_get(obj_spec(o), N(ports)) : NULL)
        if (val_num_at(it, 0, N(port)) == port && !str_eqz(val_text_at(it, N(protocol)), "UDP"))
            return val_text_at(it, N(name));
    return S("");
}
