/* Issuers and ClusterIssuers: whether they can sign (cert-manager: pkg/issuer). Those of ACME are kept by who speaks
 * to the CA; Vault and Venafi are refused, and say so. */
#include "control/cert.h"

struct readiness {
    const char *state, *reason;
    struct str message;
};

static struct readiness ca_bad(struct arena *a, const char *reason, struct str ns, struct str name, const char *what)
{
    return (struct readiness){"False", reason,
                              arena_fmt(a,
                                        "Error getting keypair for CA issuer: %s in secret '" STR_FMT "/" STR_FMT "'",
                                        what, STR_ARG(ns), STR_ARG(name))};
}

static struct readiness ca_readiness(const struct view *v, struct arena *a, const struct obj *issuer)
{
    struct str ns = cert_issuer_namespace(issuer), name = cert_text(cert_field(obj_spec(issuer), "ca"), "secretName");
    const struct obj *secret = view_get(v, K(Secret), ns, name);
    struct val facts, key;
    struct err err = ERR;
    if (!secret)
        return (struct readiness){
            "False", "ErrGetKeyPair",
            arena_fmt(a, "Error getting keypair for CA issuer: secret \"" STR_FMT "\" not found", STR_ARG(name))};
    static const char *const members[] = {"tls.crt", "tls.key"};
    for (size_t i = 0; i < countof(members); i++)
        if (!secret_bytes(secret, members[i]).n)
            return ca_bad(a, "ErrGetKeyPair", ns, name, i ? "no data for \"tls.key\"" : "no data for \"tls.crt\"");
    if (!cert_facts(v, a, X509_CERTIFICATE, secret_bytes(secret, "tls.crt"), &facts, &err) ||
        !cert_facts(v, a, X509_KEY, secret_bytes(secret, "tls.key"), &key, &err))
        return ca_bad(a, "ErrGetKeyPair", ns, name, err.text);
    if (!val_true(cert_field(&facts, "isCA")))
        return (struct readiness){"False", "ErrInvalidKeyPair",
                                  S("Error getting keypair for CA issuer: certificate is not a CA")};
    if (!str_eq(cert_text(&facts, "publicKey"), cert_text(&key, "publicKey")))
        return ca_bad(a, "ErrInvalidKeyPair", ns, name, "the private key does not belong to the certificate");
    return (struct readiness){"True", "KeyPairVerified", S("Signing CA verified")};
}

static struct readiness readiness_of(const struct view *v, struct arena *a, const struct obj *issuer,
                                     const char *type)
{
    if (type && str_eqz(str_of(type), "ca"))
        return ca_readiness(v, a, issuer);
    if (type && str_eqz(str_of(type), "selfSigned"))
        return (struct readiness){"True", "IsReady", S("")};
    if (!type)
        return (struct readiness){"False", "NoIssuerType",
                                  S("spec names no issuer; it has one of acme, ca and selfSigned")};
    return (struct readiness){
        "False", "NotSupported",
        arena_fmt(a,
                  "spec.%s: issuers of this type are not here; acme, ca and selfSigned are, and an external issuer "
                  "may be installed under a group of its own",
                  type)};
}

/* Where the Secrets of ClusterIssuers are. */
static void namespace_need(const struct view *v, struct plan *out)
{
    if (!view_get(v, K(Namespace), S(""), S(CERT_NAMESPACE)))
        plan_create(out, K(Namespace), S(""), S(CERT_NAMESPACE), val_map())->exists_ok = true;
}

static void issuer_decide(const struct view *v, const char *definition, struct key key, struct plan *out)
{
    const struct kind *k = view_defined(v, definition);
    const struct obj *issuer = k ? view_get(v, k, k->namespaced ? key.ns : S(""), key.name) : NULL;
    if (cert_waits(v, out) || !issuer || obj_deleting(issuer))
        return;
    const char *type = cert_issuer_type(issuer);
    if (!k->namespaced && type && !str_eqz(str_of(type), "selfSigned"))
        namespace_need(v, out);
    if (type && str_eqz(str_of(type), "acme"))
        return;
    struct readiness r = readiness_of(v, &out->arena, issuer, type);
    struct val tree = plan_edit(out, issuer);
    struct val *status = val_need_map(&out->arena, &tree, N(status));
    bool says = cert_condition_says(status, "Ready", r.state, str_of(r.reason), r.message);
    cert_condition(&out->arena, status, "Ready", r.state, r.reason, r.message, obj_generation(issuer), v->now);
    struct action *told = plan_update(out, issuer, S("status"), tree);
    if (told && !says && r.message.n)
        told->done = plan_event_of(out, issuer, str_eqz(str_of(r.state), "True") ? "Normal" : "Warning", r.reason,
                                   STR_FMT, STR_ARG(r.message));
    if (!str_eqz(str_of(r.state), "True"))
        plan_why(out, STR_FMT, STR_ARG(r.message));
}

static void issuer_plan(const struct view *v, struct key key, struct plan *out)
{
    issuer_decide(v, ISSUERS, key, out);
}

static void cluster_plan(const struct view *v, struct key key, struct plan *out)
{
    issuer_decide(v, CLUSTER_ISSUERS, key, out);
}

static void keys_by_secret(const struct view *v, const char *definition, const struct obj *secret, keys_add_fn *add,
                           void *arg)
{
    const struct kind *k = view_defined(v, definition);
    const struct obj *o;
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    if (!k)
        return;
    for (struct objset_iter it = view_with(v, k, &index_issuer_secret, objset_key_of(&key, secret));
         (o = objset_next(&it));)
        add(arg, o->ns, o->name);
}

static void keys_issuer(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    keys_by_secret(v, ISSUERS, now ? now : was, add, arg);
}

static void keys_cluster(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                         void *arg)
{
    keys_by_secret(v, CLUSTER_ISSUERS, now ? now : was, add, arg);
}

static const struct controller_watch issuer_watches[] = {{K(Secret), keys_issuer}, {K(Lease), keys_none}, {0}};
static const struct defined_watch issuer_defined[] = {{ISSUERS, keys_self}, {0}};
const struct controller issuer_controller = {
    .name = "issuer",
    .component = "cert-manager-issuers",
    .account = "cert-manager",
    .setting = "certificates",
    .watches = issuer_watches,
    .defined = issuer_defined,
    .plan = issuer_plan,
};

static const struct controller_watch cluster_watches[] = {
    {K(Secret), keys_cluster}, {K(Namespace), keys_none}, {K(Lease), keys_none}, {0}};
static const struct defined_watch cluster_defined[] = {{CLUSTER_ISSUERS, keys_self}, {0}};
const struct controller clusterissuer_controller = {
    .name = "clusterissuer",
    .component = "cert-manager-clusterissuers",
    .account = "cert-manager",
    .setting = "certificates",
    .watches = cluster_watches,
    .defined = cluster_defined,
    .plan = cluster_plan,
};
