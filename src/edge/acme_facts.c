#include "edge/acme_role_int.h"
#include "edge/cert_work.h"
#include "sys/cert.h"
#include "sys/crypto.h"
#include "sys/jws.h"

static struct str secret_value(const struct view *v, struct str ns, struct str name, struct str key)
{
    const struct obj *secret = name.n ? view_get(v, K(Secret), ns, name) : NULL;
    return secret ? val_raw(val_get_str(val_get(&secret->tree, N(data)), key)) : S("");
}

static struct str account_key(const struct view *v, const struct obj *issuer)
{
    struct str key, name = acme_key_secret(issuer, &key);
    return secret_value(v, acme_secret_ns(issuer), name, key);
}

static struct str hash_text(struct arena *a, struct str text)
{
    uint8_t digest[SHA256_SIZE];
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64);
    sha256_of(text, digest);
    strbuf_add_base64(&b, digest, sizeof digest);
    return str_dup(a, strbuf_str(&b));
}

/* What the status remembers of the account: whose key, at which server. */
struct str acme_account_hash(struct arena *a, const struct obj *issuer, struct str key)
{
    struct str server = val_text(val_get_str(val_get_str(obj_spec(issuer), S("acme")), S("server")));
    return hash_text(a, STR_JOIN(a, key, S("\n"), server));
}

struct str acme_account_told(const struct obj *issuer)
{
    return val_text(val_get_str(val_get_str(obj_status(issuer), S("acme")), S("lastPrivateKeyHash")));
}

static void issuer_facts(struct acme_item *i, const struct view *v, const struct obj *o, struct arena *a,
                         struct acme_facts *f)
{
    struct str have = account_key(v, o);
    if (have.n) {
        f->key_hash = acme_account_hash(a, o, have);
    } else {
        if (!i->new_key) {
            AUTO(key_free) struct cert_key *k = key_new();
            struct strbuf b = STRBUF(STRBUF_TEXT);
            key_pem(k, &b);
            i->new_key = strbuf_take(&b);
        }
        f->new_key = str_of(i->new_key);
    }
    if (i->old_key && str_eq(acme_account_told(o), acme_account_hash(a, o, str_of(i->old_key))))
        f->old_key = str_of(i->old_key);
    f->asked = i->asked;
}

/* The certificate in the Secret of a Certificate, as ARI names it. */
static struct str ari_of(const struct view *v, const struct obj *certificate, struct arena *a)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct err ignored = ERR; /* one of another authority has no such name */
    struct str secret = val_text(val_get_str(obj_spec(certificate), S("secretName")));
    struct str pem = secret_value(v, certificate->ns, secret, S("tls.crt"));
    return pem.n && cert_ari_id(pem, &b, &ignored) ? str_dup(a, strbuf_str(&b)) : S("");
}

/* What an Order takes the place of, where its authority speaks ARI: what its Certificate has now. */
static struct str replaced_by(const struct view *v, const struct obj *order, struct arena *a)
{
    const struct val *owner = obj_controller(order);
    const struct kind *requests = view_defined(v, acme_certificate_requests), *k = view_defined(v, acme_certificates);
    const struct obj *request = owner && requests && k ? view_get(v, requests, order->ns, val_text_at(owner, N(name)))
                                                       : NULL;
    const struct obj *certificate = request ? view_get(v, k, order->ns, obj_note(request, ACME_NAME_NOTE)) : NULL;
    const struct val *ari = val_get_str(val_get_str(certificate ? obj_status(certificate) : NULL, S("acme")),
                                        S("ari"));
    return val_get_str(ari, S("suggestedWindow")) ? ari_of(v, certificate, a) : S("");
}

static void order_facts(const struct view *v, const struct obj *o, struct arena *a, struct acme_facts *f)
{
    const struct obj *issuer = acme_issuer_of(v, o->ns, obj_spec(o));
    struct err ignored = ERR; /* the issuer says that its key is none */
    AUTO(jws_key_free) struct jws_key *k = issuer ? jws_key_parse(account_key(v, issuer), &ignored) : NULL;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(128);
    if (k)
        jws_thumbprint(k, &b);
    f->thumbprint = str_dup(a, strbuf_str(&b));
    f->replaces = replaced_by(v, o, a);
}

static size_t challenges_under_way(const struct view *v)
{
    const struct kind *k = view_defined(v, acme_challenges);
    size_t n = 0;
    if (!k)
        return 0;
    struct objset_iter it = view_all(v, k);
    for (struct obj *o; (o = objset_next(&it));)
        n += val_true(val_get_str(obj_status(o), S("processing")));
    return n;
}

static int64_t issuer_rests(struct acme_role *r, const struct obj *issuer)
{
    const char *definition = issuer && issuer->ns.n ? acme_issuers : acme_cluster_issuers;
    struct acme_item *i = issuer ? acme_item_get(r, definition, issuer->ns, issuer->name, false) : NULL;
    return i ? i->rest_until : 0;
}

/* What a CertificateRequest asks for. */
static const struct val *request_read(const struct obj *o, struct arena *a)
{
    struct err ignored = ERR; /* the plan says so */
    struct val *facts = ARENA_NEW(a, struct val);
    AUTO(strbuf_fini) struct strbuf pem = STRBUF(1 << 20);
    const struct val *request = val_get_str(obj_spec(o), S("request"));
    if (val_is(request, VAL_BYTES))
        strbuf_add(&pem, val_raw(request));
    else if (!strbuf_add_unbase64(&pem, val_text(request)))
        return NULL;
    return cert_facts_read(a, X509_REQUEST, strbuf_str(&pem), facts, &ignored) ? facts : NULL;
}

void acme_facts_gather(struct acme_item *i, const struct view *v, const struct obj *o, struct arena *a,
                       struct acme_facts *f)
{
    struct acme_role *r = i->role;
    *f = (struct acme_facts){.solved = i->solved,
                             .checked = r->edge->config->acme_check,
                             .hook = r->tools.hook,
                             .digest = sha256_of,
                             .tries = i->tries};
    if (acme_item_is_issuer(i)) {
        issuer_facts(i, v, o, a, f);
        f->rest_until = i->rest_until;
        return;
    }
    f->rest_until = issuer_rests(r, acme_issuer_of(v, o->ns, obj_spec(o)));
    if (i->definition == acme_orders)
        order_facts(v, o, a, f);
    else if (i->definition == acme_challenges)
        f->under_way = challenges_under_way(v);
    else if (i->definition == acme_certificate_requests)
        f->csr = request_read(o, a);
    else
        f->ari = ari_of(v, o, a);
}
