#include "base/clock.h"
#include "sys/jws.h"
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define ACME_IDENTIFIER "1.3.6.1.5.5.7.1.31" /* RFC 8737 6.1 */
#define ALPN_DAYS       7

static void pem_take(BIO *own_b, struct strbuf *out)
{
    char *p;
    long n = BIO_get_mem_data(own_b, &p);
    strbuf_add(out, (struct str){p, (size_t)n});
    if (n > 0)
        mem_wipe(p, (size_t)n);
    BIO_free(own_b);
}

/* The one name that such a certificate may have: a DNS name, or an address as four or sixteen bytes. */
static bool alt_name_add(X509 *x, struct str host)
{
    uint8_t address[16];
    AUTO_FREE char *z = str_dupz(host);
    size_t n = inet_pton(AF_INET, z, address) == 1 ? 4 : inet_pton(AF_INET6, z, address) == 1 ? 16 : 0;
    ASN1_STRING *s = n ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    ASSERT(s && name && names && ASN1_STRING_set(s, n ? (void *)address : (void *)z, (int)(n ? n : host.n)) == 1);
    GENERAL_NAME_set0_value(name, n ? GEN_IPADD : GEN_DNS, s);
    ASSERT(sk_GENERAL_NAME_push(names, name));
    bool ok = X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(names);
    return ok;
}

static bool acme_identifier_add(X509 *x, const uint8_t digest[32])
{
    uint8_t der[34] = {0x04, 32}; /* an OCTET STRING in the extension's own */
    memcpy(der + 2, digest, 32);
    ASN1_OBJECT *id = OBJ_txt2obj(ACME_IDENTIFIER, 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    ASSERT(id && value && ASN1_OCTET_STRING_set(value, der, sizeof der) == 1);
    X509_EXTENSION *e = X509_EXTENSION_create_by_OBJ(NULL, id, 1, value);
    bool ok = e && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(id);
    return ok;
}

bool cert_make_alpn(struct str host, const uint8_t digest[32], struct strbuf *chain, struct strbuf *key,
                    struct err *err)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    BIO *pem = BIO_new(BIO_s_mem()), *private = BIO_new(BIO_s_mem());
    ASSERT(pkey && x && pem && private);
    time_t now = (time_t)(clock_real() / NS_PER_S);
    ASN1_TIME_set(X509_getm_notBefore(x), now - 3600);
    ASN1_TIME_set(X509_getm_notAfter(x), now + ALPN_DAYS * 86400);
    bool ok = X509_set_version(x, 2) == 1 && ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1 &&
              X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                                         (const uint8_t *)"ACME challenge", -1, -1, 0) == 1 &&
              X509_set_issuer_name(x, X509_get_subject_name(x)) == 1 && X509_set_pubkey(x, pkey) == 1 &&
              alt_name_add(x, host) && acme_identifier_add(x, digest) && X509_sign(x, pkey, EVP_sha256()) > 0 &&
              PEM_write_bio_X509(pem, x) == 1 &&
              PEM_write_bio_PKCS8PrivateKey(private, pkey, NULL, NULL, 0, NULL, NULL) == 1;
    pem_take(pem, chain);
    pem_take(private, key);
    X509_free(x);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return ok || err_set(err, E_INVALID, "there is no certificate for the name " STR_FMT, STR_ARG(host));
}

bool cert_ari_id(struct str pem, struct strbuf *out, struct err *err)
{
    BIO *b = BIO_new_mem_buf(pem.n ? pem.p : "", (int)MIN(pem.n, (size_t)INT32_MAX));
    ASSERT(b);
    X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);
    BIO_free(b);
    const ASN1_OCTET_STRING *authority = x ? X509_get0_authority_key_id(x) : NULL;
    /* the serial's DER without tag and length: with the zero before a first bit that is set */
    unsigned char *der = NULL;
    int n = x ? i2d_ASN1_INTEGER(X509_get0_serialNumber(x), &der) : 0;
    bool ok = authority && n > 2 && n < 128;
    if (ok) {
        strbuf_add_base64url(out, ASN1_STRING_get0_data(authority), (size_t)ASN1_STRING_length(authority));
        strbuf_addc(out, '.');
        strbuf_add_base64url(out, der + 2, (size_t)n - 2);
    }
    OPENSSL_free(der);
    X509_free(x);
    ERR_clear_error();
    return ok || err_set(err, E_INVALID, "%s",
                         x ? "the certificate names no key of its authority" : "it is no certificate in PEM");
}
