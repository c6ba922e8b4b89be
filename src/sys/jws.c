#include "sys/jws.h"
#include "sys/crypto.h"
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#define RSA_LEAST 2048 /* bits */
#define RSA_MOST  8192
#define PART_MOST 1024 /* bytes of one number of a key */

struct jws_key {
    EVP_PKEY *pkey;
    const struct jws_kind *kind;
};
struct jws_kind {
    const char *alg, *group, *crv; /* group: OpenSSL's name of an EC curve */
    int type, half;                /* half: bytes of a coordinate */
    const EVP_MD *(*md)(void);
};
static const struct jws_kind jws_kinds[] = {
    {"ES256", "prime256v1", "P-256", EVP_PKEY_EC, 32, EVP_sha256},
    {"ES384", "secp384r1", "P-384", EVP_PKEY_EC, 48, EVP_sha384},
    {"ES512", "secp521r1", "P-521", EVP_PKEY_EC, 66, EVP_sha512},
    {"RS256", NULL, NULL, EVP_PKEY_RSA, 0, EVP_sha256},
    {"EdDSA", NULL, "Ed25519", EVP_PKEY_ED25519, 32, NULL},
};

static const struct jws_kind *jws_kind_of(EVP_PKEY *pkey)
{
    char group[64] = "";
    size_t n;
    int type = EVP_PKEY_get_base_id(pkey);
    if (type == EVP_PKEY_EC &&
        EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, &n) != 1)
        return NULL;
    int bits = EVP_PKEY_get_bits(pkey);
    if (type == EVP_PKEY_RSA && (bits < RSA_LEAST || bits > RSA_MOST))
        return NULL;
    for (size_t i = 0; i < countof(jws_kinds); i++)
        if (jws_kinds[i].type == type && (!jws_kinds[i].group || strcmp(jws_kinds[i].group, group) == 0))
            return &jws_kinds[i];
    return NULL;
}

/* A key under a passphrase is no key for us: nobody is here to be asked. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    (void)buf, (void)size, (void)rwflag, (void)arg;
    return -1;
}

struct jws_key *jws_key_parse(struct str pem, struct err *err)
{
    BIO *b = BIO_new_mem_buf(pem.n ? pem.p : "", (int)MIN(pem.n, (size_t)INT32_MAX));
    ASSERT(b);
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(b, NULL, no_passphrase, NULL);
    BIO_free(b);
    ERR_clear_error();
    if (!pkey) {
        (void)err_set(err, E_INVALID, "it is no private key in PEM without a passphrase");
        return NULL;
    }
    const struct jws_kind *kind = jws_kind_of(pkey);
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(pkey, NULL);
    bool whole = kind && c && EVP_PKEY_pairwise_check(c) == 1;
    EVP_PKEY_CTX_free(c);
    ERR_clear_error();
    if (!whole) {
        (void)err_set(err, E_INVALID, "%s",
                      kind ? "its two halves do not belong together"
                           : "it is none of EC (P-256, P-384, P-521), RSA (2048 to 8192 bits) and Ed25519");
        EVP_PKEY_free(pkey);
        return NULL;
    }
    struct jws_key *k = NEW(struct jws_key);
    k->pkey = pkey;
    k->kind = kind;
    return k;
}

void jws_key_free(struct jws_key *k)
{
    if (!k)
        return;
    EVP_PKEY_free(k->pkey);
    mem_free(k);
}

const char *jws_alg(const struct jws_key *k)
{
    return k->kind->alg;
}

/* A number of the key as base64url: `size` bytes with zeros before it, or (0) as many as it has. */
static void part_add(const struct jws_key *k, const char *param, int size, struct strbuf *out)
{
    BIGNUM *n = NULL;
    uint8_t bytes[PART_MOST];
    ASSERT(EVP_PKEY_get_bn_param(k->pkey, param, &n) == 1);
    int len = size ? size : BN_num_bytes(n);
    ASSERT(len <= PART_MOST && BN_bn2binpad(n, bytes, len) == len);
    BN_free(n);
    strbuf_add_base64url(out, bytes, (size_t)len);
}

void jws_jwk(const struct jws_key *k, struct strbuf *out)
{
    uint8_t raw[32];
    size_t n = sizeof raw;
    switch (k->kind->type) {
    case EVP_PKEY_EC:
        strbuf_addf(out, "{\"crv\":\"%s\",\"kty\":\"EC\",\"x\":\"", k->kind->crv);
        part_add(k, OSSL_PKEY_PARAM_EC_PUB_X, k->kind->half, out);
        strbuf_addz(out, "\",\"y\":\"");
        part_add(k, OSSL_PKEY_PARAM_EC_PUB_Y, k->kind->half, out);
        break;
    case EVP_PKEY_RSA:
        strbuf_addz(out, "{\"e\":\"");
        part_add(k, OSSL_PKEY_PARAM_RSA_E, 0, out);
        strbuf_addz(out, "\",\"kty\":\"RSA\",\"n\":\"");
        part_add(k, OSSL_PKEY_PARAM_RSA_N, 0, out);
        break;
    default:
        ASSERT(EVP_PKEY_get_raw_public_key(k->pkey, raw, &n) == 1);
        strbuf_addz(out, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"");
        strbuf_add_base64url(out, raw, n);
        break;
    }
    strbuf_addz(out, "\"}");
}

void jws_thumbprint(const struct jws_key *k, struct strbuf *out)
{
    AUTO(strbuf_fini) struct strbuf jwk = STRBUF(STRBUF_TEXT);
    uint8_t digest[SHA256_SIZE];
    jws_jwk(k, &jwk);
    sha256_of(strbuf_str(&jwk), digest);
    strbuf_add_base64url(out, digest, sizeof digest);
}

/* OpenSSL's ECDSA signature is DER; a JWS has r and s one after the other (RFC 7518 3.4). */
static bool ecdsa_flat(const struct jws_key *k, const uint8_t *der, size_t n, struct strbuf *out)
{
    uint8_t flat[2 * 66];
    int half = k->kind->half;
    const unsigned char *p = der;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
    bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), flat, half) == half &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), flat + half, half) == half;
    ECDSA_SIG_free(sig);
    if (ok)
        strbuf_add(out, (struct str){(char *)flat, (size_t)half * 2});
    return ok;
}

bool jws_sign(const struct jws_key *k, struct str data, struct strbuf *out, struct err *err)
{
    uint8_t raw[RSA_MOST / 8 + 64];
    size_t n = sizeof raw;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool ok = c && EVP_DigestSignInit(c, NULL, k->kind->md ? k->kind->md() : NULL, NULL, k->pkey) == 1 &&
              EVP_DigestSign(c, raw, &n, (const uint8_t *)data.p, data.n) == 1;
    EVP_MD_CTX_free(c);
    if (ok && k->kind->type == EVP_PKEY_EC)
        ok = ecdsa_flat(k, raw, n, out);
    else if (ok)
        strbuf_add(out, (struct str){(char *)raw, n});
    ERR_clear_error();
    return ok || err_set(err, E_INTERNAL, "the key does not sign");
}

size_t hmac_of(enum mac m, struct str key, struct str data, uint8_t out[MAC_MOST])
{
    static const EVP_MD *(*const mds[])(void) = {
        [MAC_MD5] = EVP_md5,       [MAC_SHA1] = EVP_sha1,     [MAC_SHA224] = EVP_sha224,
        [MAC_SHA256] = EVP_sha256, [MAC_SHA384] = EVP_sha384, [MAC_SHA512] = EVP_sha512};
    unsigned n = 0;
    ASSERT(HMAC(mds[m](), key.n ? key.p : "", (int)key.n, (const uint8_t *)data.p, data.n, out, &n));
    return n;
}
