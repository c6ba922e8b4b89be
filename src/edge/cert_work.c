#include "base/clock.h"
#include "edge/cert_int.h"
#include <openssl/err.h>
#include <openssl/pem.h>

static struct str ask_text(const struct val *ask, const char *field)
{
    return val_text(val_get_str(ask, str_of(field)));
}

static EVP_PKEY *ask_key(struct arena *a, const struct val *ask, struct err *err)
{
    return cert_key_parse(cert_bytes(a, val_get_str(ask, S("key"))), err);
}

static void buf_wipe(struct strbuf *b)
{
    if (b->p)
        mem_wipe(b->p, b->n);
    strbuf_fini(b);
}

static struct val *data_of(struct arena *a, struct val *body)
{
    return val_need_map(a, body, N(data));
}

static bool do_key(struct arena *a, const struct val *ask, struct val *body, struct err *err)
{
    EVP_PKEY *k = cert_key_new(ask_text(ask, "algorithm"), val_num(val_get_str(ask, S("size")), 0), err);
    if (!k)
        return false;
    struct strbuf pem = STRBUF(STRBUF_TEXT);
    cert_key_pem(k, false, &pem);
    cert_set_bytes(a, data_of(a, body), "tls.key", strbuf_str(&pem));
    buf_wipe(&pem);
    EVP_PKEY_free(k);
    return true;
}

static bool do_request(struct arena *a, const struct val *ask, struct val *body, struct err *err)
{
    EVP_PKEY *k = ask_key(a, ask, err);
    X509_REQ *r = k ? cert_request_make(val_get_str(ask, S("spec")), k, err) : NULL;
    EVP_PKEY_free(k);
    if (!r)
        return false;
    AUTO(strbuf_fini) struct strbuf pem = STRBUF(PEM_MOST);
    BIO *b = BIO_new(BIO_s_mem());
    ASSERT(b && PEM_write_bio_X509_REQ(b, r) == 1);
    cert_bio_take(b, &pem);
    X509_REQ_free(r);
    cert_set_base64(a, val_need_map(a, body, N(spec)), "request", strbuf_str(&pem));
    return true;
}

static bool do_sign(struct arena *a, const struct val *ask, struct val *body, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf chain = STRBUF(PEM_MOST), ca = STRBUF(PEM_MOST);
    if (!cert_sign(a, ask, &chain, &ca, err))
        return err_wrap(err, "cannot be signed");
    struct val *status = val_need_map(a, body, N(status));
    cert_set_base64(a, status, "certificate", strbuf_str(&chain));
    cert_set_base64(a, status, "ca", strbuf_str(&ca));
    return true;
}

/* By the cluster's own authority, whose key and certificate were put beside what was asked. */
static bool do_sign_csr(struct arena *a, const struct val *ask, struct val *body, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf chain = STRBUF(PEM_MOST), ca = STRBUF(PEM_MOST);
    if (!cert_sign(a, ask, &chain, &ca, err))
        return err_wrap(err, "error auto signing csr");
    cert_set_bytes(a, val_need_map(a, body, N(status)), "certificate", strbuf_str(&chain));
    return true;
}

/* --- what stands in a certificate's Secret --- */

struct cert_bundle {
    struct arena *a;
    const struct val *ask;
    struct val *data;
    EVP_PKEY *key;
    STACK_OF(X509) * chain, *ca;
    struct str key_pem, chain_pem, ca_pem;
};

static bool format_asked(const struct cert_bundle *b, const char *type)
{
    return val_has_text(val_get_str(b->ask, S("formats")), str_of(type));
}

static void formats_set(const struct cert_bundle *b)
{
    if (format_asked(b, "DER")) {
        BIO *mem = cert_bio(b->key_pem);
        char *name = NULL, *header = NULL;
        unsigned char *der = NULL;
        long n = 0;
        if (PEM_read_bio(mem, &name, &header, &der, &n) == 1)
            cert_set_bytes(b->a, b->data, "key.der", (struct str){(char *)der, (size_t)n});
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, (size_t)n);
        BIO_free(mem);
    }
    if (format_asked(b, "CombinedPEM"))
        cert_set_bytes(b->a, b->data, "tls-combined.pem", STR_JOIN(b->a, b->key_pem, S("\n"), b->chain_pem));
}

static bool store_set(const struct cert_bundle *b, const struct val *how, bool jks, struct err *err)
{
    struct str password = cert_bytes(b->a, val_get_str(how, S("password"))), alias = ask_text(how, "alias");
    for (int trust = 0; trust <= (sk_X509_num(b->ca) > 0); trust++) {
        static const char *const files[2][2] = {{"keystore.p12", "truststore.p12"},
                                                {"keystore.jks", "truststore.jks"}};
        struct strbuf out = STRBUF(PEM_MOST);
        STACK_OF(X509) *none = sk_X509_new_null();
        bool ok = jks ? cert_jks(password, alias.n ? alias : S("certificate"), trust ? NULL : b->key,
                                 trust ? none : b->chain, b->ca, clock_real() / NS_PER_MS, &out, err)
                      : cert_pkcs12(password, ask_text(how, "profile"), trust ? NULL : b->key,
                                    trust ? none : b->chain, b->ca, &out, err);
        if (ok)
            cert_set_bytes(b->a, b->data, files[jks][trust], strbuf_str(&out));
        sk_X509_free(none);
        buf_wipe(&out);
        if (!ok)
            return false;
    }
    return true;
}

static bool bundle_fill(struct cert_bundle *b, struct err *err)
{
    struct strbuf pem = STRBUF(STRBUF_TEXT);
    const struct val *pkcs12 = val_get_str(b->ask, S("pkcs12")), *jks = val_get_str(b->ask, S("jks"));
    cert_key_pem(b->key, str_eqz(ask_text(b->ask, "encoding"), "PKCS1") || !ask_text(b->ask, "encoding").n, &pem);
    b->key_pem = str_dup(b->a, strbuf_str(&pem));
    buf_wipe(&pem);
    if (sk_X509_num(b->chain) == 0)
        return cert_failed(err, "error decoding certificate PEM block");
    if (X509_check_private_key(sk_X509_value(b->chain, 0), b->key) != 1)
        return cert_failed(err, "the private key does not belong to the certificate");
    cert_set_bytes(b->a, b->data, "tls.key", b->key_pem);
    cert_set_bytes(b->a, b->data, "tls.crt", b->chain_pem);
    if (b->ca_pem.n)
        cert_set_bytes(b->a, b->data, "ca.crt", b->ca_pem);
    formats_set(b);
    return (!pkcs12 || store_set(b, pkcs12, false, err)) && (!jks || store_set(b, jks, true, err));
}

static bool bundle_with(struct arena *a, const struct val *ask, EVP_PKEY *own_key, struct str chain, struct val *body,
                        struct err *err)
{
    struct cert_bundle b = {.a = a, .ask = ask, .data = data_of(a, body), .key = own_key, .chain_pem = chain};
    b.ca_pem = cert_bytes(a, val_get_str(ask, S("ca")));
    b.chain = cert_chain_read(chain);
    b.ca = cert_chain_read(b.ca_pem);
    bool ok = bundle_fill(&b, err);
    sk_X509_pop_free(b.chain, X509_free);
    sk_X509_pop_free(b.ca, X509_free);
    EVP_PKEY_free(own_key);
    return ok;
}

static bool do_bundle(struct arena *a, const struct val *ask, struct val *body, struct err *err)
{
    EVP_PKEY *k = ask_key(a, ask, err);
    return k && bundle_with(a, ask, k, cert_bytes(a, val_get_str(ask, S("certificate"))), body, err);
}

/* Signed by its own key, until the issuer's is there. */
static bool do_temporary(struct arena *a, const struct val *ask, struct val *body, struct err *err)
{
    struct val signing = val_map(), request = val_map();
    const struct val *spec = val_get_str(ask, S("spec")), *usages = val_get_str(spec, S("usages"));
    AUTO(strbuf_fini) struct strbuf chain = STRBUF(PEM_MOST), ca = STRBUF(PEM_MOST);
    if (!do_request(a, ask, &request, err))
        return false;
    val_set_str(a, &signing, S("request"), *val_get_str(val_get(&request, N(spec)), S("request")));
    val_set_str(a, &signing, S("key"), *val_get_str(ask, S("key")));
    val_set_str(a, &signing, S("isCA"), val_bool(val_true(val_get_str(spec, S("isCA")))));
    val_set_str(a, &signing, S("seconds"), val_int(90 * 86400));
    if (usages)
        val_set_str(a, &signing, S("usages"), *usages);
    EVP_PKEY *k = cert_sign(a, &signing, &chain, &ca, err) ? ask_key(a, ask, err) : NULL;
    return k && bundle_with(a, ask, k, str_dup(a, strbuf_str(&chain)), body, err);
}

bool cert_work(struct arena *a, const struct val *ask, struct val *body, struct err *err)
{
    static const struct {
        const char *what;
        bool (*fn)(struct arena *a, const struct val *ask, struct val *body, struct err *err);
    } rows[] = {{"key", do_key},           {"request", do_request}, {"sign", do_sign},
                {"sign-csr", do_sign_csr}, {"bundle", do_bundle},   {"temporary", do_temporary}};
    for (size_t i = 0; i < countof(rows); i++)
        if (str_eqz(ask_text(ask, "do"), rows[i].what))
            return rows[i].fn(a, ask, body, err);
    return err_set(err, E_INVALID, "nobody here makes \"" STR_FMT "\"", STR_ARG(ask_text(ask, "do")));
}
