#include "edge/cert_int.h"
#include <openssl/core_names.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>

bool cert_failed(struct err *err, const char *what)
{
    unsigned long e = ERR_peek_error(); /* the first is the cause */
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return err_set(err, E_INVALID, "%s%s%s", what, reason ? ": " : "", reason ? reason : "");
}

BIO *cert_bio(struct str text)
{
    BIO *b = BIO_new_mem_buf(text.n ? text.p : "", (int)MIN(text.n, (size_t)INT32_MAX));
    ASSERT(b);
    return b;
}

void cert_bio_take(BIO *own_b, struct strbuf *out)
{
    char *p;
    long n = BIO_get_mem_data(own_b, &p);
    strbuf_add(out, (struct str){p, (size_t)n});
    if (n > 0)
        mem_wipe(p, (size_t)n);
    BIO_free(own_b);
}

struct str cert_bytes(struct arena *a, const struct val *v)
{
    if (val_is(v, VAL_BYTES))
        return val_raw(v);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(PEM_MOST);
    if (!strbuf_add_unbase64(&b, val_text(v)))
        return S("");
    return str_dup(a, strbuf_str(&b));
}

void cert_set_bytes(struct arena *a, struct val *map, const char *name, struct str bytes)
{
    val_set_str(a, map, str_of(name), val_bytes(a, bytes));
}

void cert_set_base64(struct arena *a, struct val *map, const char *name, struct str bytes)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(2 * PEM_MOST);
    strbuf_add_base64(&b, bytes.p, bytes.n);
    val_set_str(a, map, str_of(name), val_str(a, strbuf_str(&b)));
}

EVP_PKEY *cert_key_new(struct str algorithm, int64_t size, struct err *err)
{
    EVP_PKEY *k = NULL;
    if (str_eqz(algorithm, "Ed25519"))
        k = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    else if (str_eqz(algorithm, "ECDSA") && (size == 0 || size == 256 || size == 384 || size == 521))
        k = EVP_EC_gen(size == 521 ? "P-521" : size == 384 ? "P-384" : "P-256");
    else if ((!algorithm.n || str_eqz(algorithm, "RSA")) && (size == 0 || (size >= 2048 && size <= 8192)))
        k = EVP_RSA_gen((unsigned)(size ? size : 2048));
    else
        (void)err_set(err, E_INVALID, "no key of %lld bits is made for \"" STR_FMT "\"", (long long)size,
                      STR_ARG(algorithm));
    if (!k && !err->kind)
        (void)cert_failed(err, "make a private key");
    return k;
}

EVP_PKEY *cert_key_parse(struct str pem, struct err *err)
{
    BIO *b = cert_bio(pem);
    EVP_PKEY *k = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
    BIO_free(b);
    if (!k)
        (void)cert_failed(err, "error decoding private key PEM block");
    ERR_clear_error();
    return k;
}

void cert_key_pem(EVP_PKEY *k, bool pkcs1, struct strbuf *out)
{
    BIO *b = BIO_new(BIO_s_mem());
    int type = EVP_PKEY_get_base_id(k);
    if (pkcs1 && (type == EVP_PKEY_RSA || type == EVP_PKEY_EC))
        ASSERT(b && PEM_write_bio_PrivateKey_traditional(b, k, NULL, NULL, 0, NULL, NULL) == 1);
    else
        ASSERT(b && PEM_write_bio_PKCS8PrivateKey(b, k, NULL, NULL, 0, NULL, NULL) == 1);
    cert_bio_take(b, out);
}

const EVP_MD *cert_digest_of(EVP_PKEY *k, struct str signature)
{
    int type = EVP_PKEY_get_base_id(k), bits = EVP_PKEY_get_bits(k);
    if (type != EVP_PKEY_RSA && type != EVP_PKEY_EC)
        return NULL;
    if (str_has(signature, S("SHA512")) || str_has(signature, S("SHA384")) || str_has(signature, S("SHA256")))
        return str_has(signature, S("SHA512"))   ? EVP_sha512()
               : str_has(signature, S("SHA384")) ? EVP_sha384()
                                                 : EVP_sha256();
    if (type == EVP_PKEY_RSA)
        return bits >= 4096 ? EVP_sha512() : bits >= 3072 ? EVP_sha384() : EVP_sha256();
    return bits > 384 ? EVP_sha512() : bits > 256 ? EVP_sha384() : EVP_sha256();
}

STACK_OF(X509) * cert_chain_read(struct str pem)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    BIO *b = cert_bio(pem);
    for (X509 *x; (x = PEM_read_bio_X509(b, NULL, NULL, NULL));)
        ASSERT(sk_X509_push(chain, x) > 0);
    BIO_free(b);
    ERR_clear_error();
    return chain;
}

void cert_chain_pem(const STACK_OF(X509) * chain, struct strbuf *out)
{
    for (int i = 0; i < sk_X509_num(chain); i++) {
        BIO *b = BIO_new(BIO_s_mem());
        ASSERT(b && PEM_write_bio_X509(b, sk_X509_value(chain, i)) == 1);
        cert_bio_take(b, out);
    }
}
