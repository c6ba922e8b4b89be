#include "api/codec.h"
#include "api/formats.h"
#include "control/cert.h"
#include "control/cert_other.h"

#define FORGOTTEN  (3600 * NS_PER_S)
#define LOOK_AGAIN (300 * NS_PER_S)

struct str cert_manager_running(const struct view *v)
{
    const struct obj *lease = view_get(v, K(Lease), S(CERT_MANAGER_LEASE_NS), S(CERT_MANAGER_LEASE));
    int64_t renewed;
    if (!lease || !time_parse(val_text_at(obj_spec(lease), N(renewTime)), &renewed) || v->now - renewed > FORGOTTEN)
        return S("");
    return val_text_at(obj_spec(lease), N(holderIdentity));
}

bool cert_waits(const struct view *v, struct plan *out)
{
    struct str other = cert_manager_running(v);
    if (v->settling)
        plan_again(out, v->now + NS_PER_S / 5);
    if (other.n) {
        plan_again(out, v->now + LOOK_AGAIN);
        plan_why(out,
                 "a cert-manager of your own runs here (Lease " CERT_MANAGER_LEASE_NS "/" CERT_MANAGER_LEASE
                 " is held by " STR_FMT "), and it acts; certificates: off says so to this program",
                 STR_ARG(other));
    }
    return v->settling || other.n > 0;
}

const struct val *cert_field(const struct val *v, const char *name)
{
    return val_get_str(v, str_of(name));
}

struct str cert_text(const struct val *v, const char *name)
{
    return val_text(cert_field(v, name));
}

struct str secret_bytes(const struct obj *secret, const char *member)
{
    return secret ? val_raw(val_get_str(val_get(&secret->tree, N(data)), str_of(member))) : S("");
}

struct str cert_base64(struct arena *a, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    if (val_is(v, VAL_BYTES))
        return val_raw(v);
    return strbuf_add_unbase64(&b, val_text(v)) ? str_dup(a, strbuf_str(&b)) : S("");
}

bool cert_duration(const struct val *v, int64_t *ns)
{
    struct err err = ERR;
    return val_text(v).n && goduration_parse(val_text(v), ns, &err);
}

int64_t cert_revision(const struct obj *request)
{
    int64_t n;
    return str_to_i64(obj_note(request, NOTE_REVISION), 1, INT32_MAX, &n) ? n : 0;
}

bool cert_facts(const struct view *v, struct arena *a, enum x509_what what, struct str text, struct val *facts,
                struct err *err)
{
    *facts = val_map();
    return v->x509 ? v->x509(a, what, text, facts, err)
                   : err_set(err, E_UNAVAILABLE, "nobody here reads certificates");
}

bool owned_by(const struct obj *o, const struct obj *owner)
{
    return str_eq(val_text_at(obj_controller(o), N(uid)), owner->uid);
}

/* --- issuers --- */

struct cert_issuer cert_issuer_of(const struct val *spec)
{
    const struct val *ref = cert_field(spec, "issuerRef");
    struct cert_issuer i = {cert_text(ref, "name"), cert_text(ref, "kind"), cert_text(ref, "group")};
    i.kind = i.kind.n ? i.kind : S("Issuer");
    i.group = i.group.n ? i.group : S(CERT_GROUP);
    return i;
}

bool cert_issuer_same(const struct cert_issuer *a, const struct cert_issuer *b)
{
    return str_eq(a->name, b->name) && str_eq(a->kind, b->kind) && str_eq(a->group, b->group);
}

const struct obj *cert_issuer_find(const struct view *v, struct str ns, const struct cert_issuer *i)
{
    bool cluster = str_eqz(i->kind, "ClusterIssuer");
    const struct kind *k = view_defined(v, cluster ? CLUSTER_ISSUERS : ISSUERS);
    if (!k || !str_eqz(i->group, CERT_GROUP) || (!cluster && !str_eqz(i->kind, "Issuer")))
        return NULL;
    return view_get(v, k, cluster ? S("") : ns, i->name);
}

const char *cert_issuer_type(const struct obj *issuer)
{
    static const char *const types[] = {"acme", "ca", "selfSigned", "vault", "venafi"};
    for (size_t i = 0; i < countof(types); i++)
        if (cert_field(obj_spec(issuer), types[i]))
            return types[i];
    return NULL;
}

struct str cert_issuer_namespace(const struct obj *issuer)
{
    return issuer->kind->namespaced ? issuer->ns : S(CERT_NAMESPACE);
}

struct str cert_issuer_key(struct strbuf *b, const struct cert_issuer *i)
{
    strbuf_reset(b);
    strbuf_addf(b, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(i->group), STR_ARG(i->kind), STR_ARG(i->name));
    return strbuf_str(b);
}

/* --- indexes --- */

static void secret_key(const struct obj *o, struct str name, void (*add)(void *arg, struct str key), void *arg)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    if (name.n)
        add(arg, objset_key(&key, o->ns, name));
}

static void cert_secrets(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    const struct val *stores = cert_field(obj_spec(o), "keystores");
    secret_key(o, cert_text(obj_spec(o), "secretName"), add, arg);
    secret_key(o, cert_text(cert_field(cert_field(stores, "jks"), "passwordSecretRef"), "name"), add, arg);
    secret_key(o, cert_text(cert_field(cert_field(stores, "pkcs12"), "passwordSecretRef"), "name"), add, arg);
}

static void request_issuer(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    struct cert_issuer i = cert_issuer_of(obj_spec(o));
    add(arg, cert_issuer_key(&key, &i));
}

static void request_secret(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    secret_key(o, obj_note(o, NOTE_KEY_SECRET), add, arg);
}

static void issuer_secrets(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    struct str name = cert_text(cert_field(obj_spec(o), "ca"), "secretName");
    if (name.n)
        add(arg, objset_key(&key, cert_issuer_namespace(o), name));
}

const struct objindex index_cert_secret = {"cert-secret", cert_secrets};
const struct objindex index_cert_issuer = {"cert-issuer", request_issuer};
const struct objindex index_request_secret = {"request-secret", request_secret};
const struct objindex index_issuer_secret = {"issuer-secret", issuer_secrets};

/* --- conditions --- */

bool cert_condition_says(const struct val *status, const char *type, const char *state, struct str reason,
                         struct str message)
{
    const struct val *c = condition_get(status, type);
    return c && str_eqz(val_text_at(c, N(status)), state) && str_eq(val_text_at(c, N(reason)), reason) &&
           str_eq(val_text_at(c, N(message)), message);
}

void cert_condition(struct arena *a, struct val *status, const char *type, const char *state, const char *reason,
                    struct str message, int64_t generation, int64_t now)
{
    struct condition c = {.type = type,
                          .status = state,
                          .reason = reason,
                          .message = message,
                          .observed = generation ? OBSERVED : NOT_OBSERVED,
                          .generation = generation};
    struct val *was = condition_get_mut(status, type);
    struct val made = condition_make(a, &c, was, now);
    if (was)
        *was = made;
    else
        conditions_set(a, status, conditions_with(a, status, &c, now));
}
