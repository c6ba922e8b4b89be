#include "sys/cert.h"
#include "base/clock.h"
#include "sys/tls_int.h"
#include <arpa/inet.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>

struct cert_key {
    EVP_PKEY *pkey;
};

static bool openssl_failed(struct err *err, const char *what)
{
    unsigned long e = ERR_peek_last_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return err_set(err, E_INVALID, "%s%s%s", what, reason ? ": " : "", reason ? reason : "");
}

static BIO *bio_of(struct str s)
{
    BIO *b = BIO_new_mem_buf(s.n ? s.p : "", (int)MIN(s.n, (size_t)INT32_MAX));
    ASSERT(b);
    return b;
}

static void bio_take(BIO *own_b, struct strbuf *out)
{
    char *p;
    long n = BIO_get_mem_data(own_b, &p);
    strbuf_add(out, (struct str){p, (size_t)n});
    if (n > 0)
        mem_wipe(p, (size_t)n);
    BIO_free(own_b);
}

static struct cert_key *key_of(EVP_PKEY *own_pkey)
{
    struct cert_key *k = NEW(struct cert_key);
    k->pkey = own_pkey;
    return k;
}

struct cert_key *key_new(void)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    ASSERT(pkey);
    return key_of(pkey);
}

/* The public half that a file carries is that of the private one: a damaged key would sign what nobody verifies. */
static bool signature_fits(EVP_PKEY *pkey)
{
    static const unsigned char text[] = "both halves";
    unsigned char sig[2048]; /* RSA of 16384 bits, OpenSSL's most */
    size_t n = sizeof sig;
    EVP_MD_CTX *sign = EVP_MD_CTX_new(), *check = EVP_MD_CTX_new();
    bool ok = (size_t)EVP_PKEY_get_size(pkey) <= n && EVP_DigestSignInit(sign, NULL, EVP_sha256(), NULL, pkey) == 1 &&
              EVP_DigestSign(sign, sig, &n, text, sizeof text) == 1 &&
              EVP_DigestVerifyInit(check, NULL, EVP_sha256(), NULL, pkey) == 1 &&
              EVP_DigestVerify(check, sig, n, text, sizeof text) == 1;
    EVP_MD_CTX_free(sign);
    EVP_MD_CTX_free(check);
    return ok;
}

/* RSA's own check looks for primes, which takes a hundred times as long as a signature. */
static bool halves_fit(EVP_PKEY *pkey)
{
    if (EVP_PKEY_is_a(pkey, "RSA"))
        return signature_fits(pkey);
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(pkey, NULL);
    bool ok = c && EVP_PKEY_pairwise_check(c) == 1;
    EVP_PKEY_CTX_free(c);
    return ok;
}

struct cert_key *key_parse(struct str pem, struct err *err)
{
    BIO *b = bio_of(pem);
    /* one that is locked is tried with no word: OpenSSL would ask at the terminal */
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(b, NULL, NULL, (void *)"");
    BIO_free(b);
    if (!pkey) {
        (void)openssl_failed(err, "not a PEM private key");
        return NULL;
    }
    if (!halves_fit(pkey)) {
        EVP_PKEY_free(pkey);
        (void)openssl_failed(err, "a damaged private key: its two halves do not belong together");
        return NULL;
    }
    return key_of(pkey);
}

static X509 *first_cert(struct str pem)
{
    BIO *b = bio_of(pem);
    X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);
    BIO_free(b);
    return x;
}

struct cert_key *key_parse_public(struct str pem, struct err *err)
{
    BIO *b = bio_of(pem);
    EVP_PKEY *pkey = PEM_read_bio_PUBKEY(b, NULL, NULL, NULL);
    BIO_free(b);
    X509 *x = pkey ? NULL : first_cert(pem);
    if (x)
        pkey = X509_get_pubkey(x);
    X509_free(x);
    if (!pkey) {
        (void)openssl_failed(err, "not a PEM public key or certificate");
        return NULL;
    }
    ERR_clear_error();
    return key_of(pkey);
}

void key_pem(const struct cert_key *k, struct strbuf *out)
{
    BIO *b = BIO_new(BIO_s_mem());
    ASSERT(b && PEM_write_bio_PKCS8PrivateKey(b, k->pkey, NULL, NULL, 0, NULL, NULL) == 1);
    bio_take(b, out);
}

void key_pem_public(const struct cert_key *k, struct strbuf *out)
{
    BIO *b = BIO_new(BIO_s_mem());
    ASSERT(b && PEM_write_bio_PUBKEY(b, k->pkey) == 1);
    bio_take(b, out);
}

void key_free(struct cert_key *k)
{
    if (!k)
        return;
    EVP_PKEY_free(k->pkey);
    mem_free(k);
}

static bool is_p256(const struct cert_key *k)
{
    char name[32] = "";
    size_t n;
    return EVP_PKEY_get_base_id(k->pkey) == EVP_PKEY_EC &&
           EVP_PKEY_get_utf8_string_param(k->pkey, OSSL_PKEY_PARAM_GROUP_NAME, name, sizeof name, &n) == 1 &&
           strcmp(name, "prime256v1") == 0;
}

bool key_point(const struct cert_key *k, uint8_t x[32], uint8_t y[32])
{
    if (!is_p256(k))
        return false;
    BIGNUM *bx = NULL, *by = NULL;
    bool ok = EVP_PKEY_get_bn_param(k->pkey, OSSL_PKEY_PARAM_EC_PUB_X, &bx) == 1 &&
              EVP_PKEY_get_bn_param(k->pkey, OSSL_PKEY_PARAM_EC_PUB_Y, &by) == 1 && BN_bn2binpad(bx, x, 32) == 32 &&
              BN_bn2binpad(by, y, 32) == 32;
    BN_free(bx);
    BN_free(by);
    return ok;
}

bool key_sign(const struct cert_key *k, struct str data, uint8_t out[ES256_SIZE], struct err *err)
{
    if (!is_p256(k))
        return err_set(err, E_INVALID, "signing with ES256 needs a P-256 key");
    unsigned char der[256];
    size_t n = sizeof der;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool ok = c && EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, k->pkey) == 1 &&
              EVP_DigestSign(c, der, &n, (const unsigned char *)data.p, data.n) == 1;
    EVP_MD_CTX_free(c);
    const unsigned char *at = der;
    ECDSA_SIG *sig = ok ? d2i_ECDSA_SIG(NULL, &at, (long)n) : NULL;
    ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, 32) == 32 &&
         BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + 32, 32) == 32;
    ECDSA_SIG_free(sig);
    return ok || openssl_failed(err, "sign");
}

bool key_verify(const struct cert_key *k, struct str data, struct str signature)
{
    if (signature.n != ES256_SIZE || !is_p256(k))
        return false;
    const unsigned char *p = (const unsigned char *)signature.p;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    ASSERT(sig && ECDSA_SIG_set0(sig, BN_bin2bn(p, 32, NULL), BN_bin2bn(p + 32, 32, NULL)) == 1);
    unsigned char *der = NULL;
    int n = i2d_ECDSA_SIG(sig, &der);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool ok = n > 0 && c && EVP_DigestVerifyInit(c, NULL, EVP_sha256(), NULL, k->pkey) == 1 &&
              EVP_DigestVerify(c, der, (size_t)n, (const unsigned char *)data.p, data.n) == 1;
    EVP_MD_CTX_free(c);
    OPENSSL_free(der);
    ECDSA_SIG_free(sig);
    ERR_clear_error();
    return ok;
}

/* ---- certificates */

static bool name_add(X509_NAME *name, int nid, struct str text, struct err *err)
{
    /* As it is, not by MBSTRING_UTF8, which keeps to the RFC's 64 characters: system:node:NAME may have 265. */
    if (text.n > 0 && text.n <= 1024 && str_utf8_ok(text) &&
        X509_NAME_add_entry_by_NID(name, nid, V_ASN1_UTF8STRING, (const unsigned char *)text.p, (int)text.n, -1, 0) ==
            1)
        return true;
    ERR_clear_error();
    return err_set(err, E_INVALID, "certificate: a subject may not hold \"" STR_FMT "\" (1 to 1024 bytes of UTF-8)",
                   STR_ARG(text));
}

static bool times_set(X509 *x, const struct cert_spec *spec, struct err *err)
{
    int64_t from = spec->not_before ? spec->not_before : clock_real() - 300 * NS_PER_S;
    if (spec->not_after <= from)
        return err_set(err, E_INVALID, "certificate: it would end before it begins");
    ASSERT(ASN1_TIME_set(X509_getm_notBefore(x), from / NS_PER_S) &&
           ASN1_TIME_set(X509_getm_notAfter(x), spec->not_after / NS_PER_S));
    return true;
}

static void extension_add(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ASSERT(e && X509_add_ext(x, e, -1) == 1);
    X509_EXTENSION_free(e);
}

static bool san_ip(GENERAL_NAMES *names, struct str text, struct err *err)
{
    AUTO_FREE char *z = str_dupz(text);
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(z);
    if (!ip) {
        ERR_clear_error();
        return err_set(err, E_INVALID, "certificate: \"%s\" is not an IP address", z);
    }
    GENERAL_NAME *g = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(g, GEN_IPADD, ip);
    return sk_GENERAL_NAME_push(names, g) > 0;
}

static bool san_dns(GENERAL_NAMES *names, struct str text, struct err *err)
{
    if (text.n == 0 || text.n > 253 || str_find_char(text, ' ') >= 0)
        return err_set(err, E_INVALID, "certificate: \"" STR_FMT "\" is not a DNS name", STR_ARG(text));
    ASN1_IA5STRING *s = ASN1_IA5STRING_new();
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASSERT(s && g && ASN1_STRING_set(s, text.p, (int)text.n) == 1);
    GENERAL_NAME_set0_value(g, GEN_DNS, s);
    return sk_GENERAL_NAME_push(names, g) > 0;
}

static bool names_set(X509 *x, const struct cert_spec *spec, struct err *err)
{
    if (spec->ndns + spec->nips == 0)
        return true;
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    bool ok = names != NULL;
    for (size_t i = 0; ok && i < spec->ndns; i++)
        ok = san_dns(names, spec->dns[i], err);
    for (size_t i = 0; ok && i < spec->nips; i++)
        ok = san_ip(names, spec->ips[i], err);
    if (ok)
        ASSERT(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0) == 1);
    GENERAL_NAMES_free(names);
    return ok;
}

static bool cert_fill(X509 *x, X509 *issuer, const struct cert_spec *spec, const struct cert_key *subject,
                      struct err *err)
{
    unsigned char serial[16];
    random_bytes(serial, sizeof serial);
    serial[0] = (serial[0] & 0x7f) | 0x40; /* positive, and always as long */
    BIGNUM *bn = BN_bin2bn(serial, sizeof serial, NULL);
    ASSERT(bn && X509_set_version(x, X509_VERSION_3) == 1 && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x)));
    BN_free(bn);
    X509_NAME *name = X509_get_subject_name(x);
    for (size_t i = 0; i < spec->norgs; i++)
        if (!name_add(name, NID_organizationName, spec->orgs[i], err))
            return false;
    if (!name_add(name, NID_commonName, spec->cn, err) || !times_set(x, spec, err))
        return false;
    ASSERT(X509_set_issuer_name(x, X509_get_subject_name(issuer)) == 1 && X509_set_pubkey(x, subject->pkey) == 1);
    extension_add(x, issuer, NID_basic_constraints, spec->ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    extension_add(x, issuer, NID_key_usage,
                  spec->ca ? "critical,keyCertSign,cRLSign,digitalSignature"
                           : "critical,digitalSignature,keyEncipherment");
    if (spec->server || spec->client)
        extension_add(x, issuer, NID_ext_key_usage,
                      !spec->client   ? "serverAuth"
                      : !spec->server ? "clientAuth"
                                      : "serverAuth,clientAuth");
    extension_add(x, issuer, NID_subject_key_identifier, "hash");
    extension_add(x, issuer, NID_authority_key_identifier, "keyid");
    return names_set(x, spec, err);
}

bool cert_make(const struct cert_spec *spec, const struct cert_key *subject, struct str issuer_pem,
               const struct cert_key *issuer_key, struct strbuf *out, struct err *err)
{
    X509 *issuer = issuer_key ? first_cert(issuer_pem) : NULL;
    if (issuer_key && !issuer)
        return openssl_failed(err, "issuer: not a PEM certificate");
    if (issuer && X509_check_private_key(issuer, issuer_key->pkey) != 1) {
        X509_free(issuer);
        return openssl_failed(err, "issuer: the key does not belong to the certificate");
    }
    X509 *x = X509_new();
    ASSERT(x);
    bool ok = cert_fill(x, issuer ? issuer : x, spec, subject, err);
    if (ok) {
        ASSERT(X509_sign(x, issuer_key ? issuer_key->pkey : subject->pkey, EVP_sha256()) > 0);
        BIO *b = BIO_new(BIO_s_mem());
        ASSERT(b && PEM_write_bio_X509(b, x) == 1);
        bio_take(b, out);
    }
    X509_free(x);
    X509_free(issuer);
    return ok;
}

static void read_names(X509 *x, struct arena *a, struct cert_info *out)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    int n = names ? sk_GENERAL_NAME_num(names) : 0;
    out->dns = arena_alloc(a, (size_t)MAX(n, 1) * sizeof *out->dns);
    out->ips = arena_alloc(a, (size_t)MAX(n, 1) * sizeof *out->ips);
    for (int i = 0; i < n; i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
        char ip[INET6_ADDRSTRLEN];
        if (g->type == GEN_DNS) {
            const ASN1_STRING *s = g->d.dNSName;
            out->dns[out->ndns++] = str_dup(
                a, (struct str){(const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)});
        } else if (g->type == GEN_IPADD &&
                   (ASN1_STRING_length(g->d.iPAddress) == 4 || ASN1_STRING_length(g->d.iPAddress) == 16)) {
            (void)inet_ntop(ASN1_STRING_length(g->d.iPAddress) == 4 ? AF_INET : AF_INET6,
                            ASN1_STRING_get0_data(g->d.iPAddress), ip, sizeof ip);
            out->ips[out->nips++] = str_dup(a, str_of(ip));
        }
    }
    GENERAL_NAMES_free(names);
}

bool cert_read(struct arena *a, struct str pem, struct cert_info *out, struct err *err)
{
    X509 *x = first_cert(pem);
    if (!x)
        return openssl_failed(err, "not a PEM certificate");
    *out = (struct cert_info){0};
    (void)x509_subject(x, a, &out->cn, &out->orgs, &out->norgs); /* only told here, nobody is let in by it */
    char issuer[256] = "";
    (void)X509_NAME_get_text_by_NID(X509_get_issuer_name(x), NID_commonName, issuer, sizeof issuer);
    out->issuer_cn = str_dup(a, str_of(issuer));
    out->not_before = x509_time(X509_get0_notBefore(x));
    out->not_after = x509_time(X509_get0_notAfter(x));
    out->ca = X509_check_ca(x) == 1;
    read_names(x, a, out);
    x509_sha256hex(x, a, &out->sha256hex);
    AUTO(strbuf_fini) struct strbuf hex = STRBUF(1024);
    const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
    strbuf_add_hex(&hex, ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial));
    out->serial_hex = str_dup(a, strbuf_str(&hex));
    X509_free(x);
    ERR_clear_error();
    return true;
}

bool request_orgs(struct arena *a, struct str pem, struct str **orgs, size_t *norgs, struct err *err)
{
    BIO *b = bio_of(pem);
    bool any = false, whole = true;
    *orgs = NULL;
    *norgs = 0;
    for (X509_REQ *x; (x = PEM_read_bio_X509_REQ(b, NULL, NULL, NULL)); any = true) {
        struct str cn, *some;
        size_t n;
        whole &= x509_names(X509_REQ_get_subject_name(x), a, &cn, &some, &n);
        X509_REQ_free(x);
        struct str *all = arena_alloc(a, (*norgs + n + 1) * sizeof *all);
        if (*norgs)
            memcpy(all, *orgs, *norgs * sizeof *all);
        if (n)
            memcpy(all + *norgs, some, n * sizeof *all);
        *orgs = all;
        *norgs += n;
    }
    BIO_free(b);
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (!any || !at_end)
        return openssl_failed(err, "not a PEM certificate request");
    ERR_clear_error();
    return whole || err_set(err, E_INVALID, "a name in the request's subject holds a NUL");
}

bool cert_fits_key(struct str cert_pem, const struct cert_key *k, struct err *err)
{
    X509 *x = first_cert(cert_pem);
    if (!x)
        return openssl_failed(err, "not a PEM certificate");
    bool ok = X509_check_private_key(x, k->pkey) == 1;
    X509_free(x);
    return ok || openssl_failed(err, "the key does not belong to the certificate");
}

static bool chain_read(struct str pem, STACK_OF(X509) * list, struct err *err)
{
    BIO *b = bio_of(pem);
    for (X509 *x; (x = PEM_read_bio_X509(b, NULL, NULL, NULL));)
        ASSERT(sk_X509_push(list, x) > 0);
    BIO_free(b);
    int n = sk_X509_num(list);
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (n && at_end) {
        ERR_clear_error();
        return true;
    }
    (void)openssl_failed(err, "not a PEM certificate");
    return n ? err_wrap(err, "certificate %d", n + 1) : false;
}

static SSL_CTX *server_tls;
static void server_tls_make(void)
{
    server_tls = SSL_CTX_new(TLS_server_method());
    ASSERT(server_tls);
}

/* By trying it: how strong keys and signatures must be is the library's to say, and the machine's (openssl.cnf). */
static bool chain_serves(STACK_OF(X509) * list, EVP_PKEY *key, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, server_tls_make); /* EINVAL alone, of a wrong argument */
    SSL *tls = SSL_new(server_tls);
    ASSERT(tls);
    bool ok = SSL_use_certificate(tls, sk_X509_value(list, 0)) == 1 && SSL_use_PrivateKey(tls, key) == 1;
    for (int i = 1; ok && i < sk_X509_num(list); i++)
        ok = SSL_add1_chain_cert(tls, sk_X509_value(list, i)) == 1;
    SSL_free(tls);
    if (!ok)
        return openssl_failed(err, "TLS cannot be served with it");
    ERR_clear_error();
    return true;
}

bool cert_serves(struct str pem, struct str private, struct strbuf *chain, struct strbuf *key, struct err *err)
{
    STACK_OF(X509) *list = sk_X509_new_null();
    ASSERT(list);
    bool ok = chain_read(pem, list, err);
    AUTO(key_free) struct cert_key *k = ok && private.n ? key_parse(private, err) : NULL;
    if (ok && private.n) {
        ok = k && (X509_check_private_key(sk_X509_value(list, 0), k->pkey) == 1 ||
                   openssl_failed(err, "the key does not belong to the certificate"));
        ok = ok && chain_serves(list, k->pkey, err);
    }
    for (int i = 0; ok && i < sk_X509_num(list); i++) {
        BIO *b = BIO_new(BIO_s_mem());
        ASSERT(b && PEM_write_bio_X509(b, sk_X509_value(list, i)) == 1);
        bio_take(b, chain);
    }
    if (ok && k)
        key_pem(k, key);
    sk_X509_pop_free(list, X509_free);
    return ok;
}
