/* Key stores: PKCS#12 (RFC 7292) by OpenSSL, and Java's own (JKS): a key under Sun's key stream of SHA-1,
 * certificates in the clear, a digest over all with the password in it. */
#include "base/clock.h"
#include "edge/cert_int.h"
#include "sys/crypto.h"
#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>

#define TRUSTED "2.16.840.1.113894.746875.1.1" /* Java's trustedKeyUsage: an entry without it is not trusted */

struct pkcs12_profile {
    const char *name;
    int key, cert; /* NIDs */
    int rounds;
    const EVP_MD *(*mac)(void);
    bool legacy; /* asks for ciphers that OpenSSL keeps apart */
};
static const struct pkcs12_profile profiles[] = {
    {"", NID_pbe_WithSHA1And3_Key_TripleDES_CBC, NID_pbe_WithSHA1And3_Key_TripleDES_CBC, 2048, EVP_sha1, false},
    {"LegacyDES", NID_pbe_WithSHA1And3_Key_TripleDES_CBC, NID_pbe_WithSHA1And3_Key_TripleDES_CBC, 2048, EVP_sha1,
     false},
    {"LegacyRC2", NID_pbe_WithSHA1And3_Key_TripleDES_CBC, NID_pbe_WithSHA1And40BitRC2_CBC, 2048, EVP_sha1, true},
    {"Modern2023", NID_aes_256_cbc, NID_aes_256_cbc, 2048, EVP_sha256, false},
    {"Modern2026", NID_aes_256_cbc, NID_aes_256_cbc, 10000, EVP_sha256, false},
};

static bool safe_add_key(STACK_OF(PKCS7) * *safes, EVP_PKEY *k, const struct pkcs12_profile *p, const char *password,
                         X509 *leaf, OSSL_LIB_CTX *lib)
{
    STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
    unsigned char id[20];
    unsigned n = 0;
    PKCS12_SAFEBAG *bag = PKCS12_add_key_ex(&bags, k, 0, p->rounds, p->key, password, lib, NULL);
    bool ok = bag && X509_digest(leaf, EVP_sha1(), id, &n) == 1 && PKCS12_add_localkeyid(bag, id, (int)n) == 1 &&
              PKCS12_add_safe_ex(safes, bags, -1, 0, NULL, lib, NULL) == 1;
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    return ok;
}

static bool bag_add(STACK_OF(PKCS12_SAFEBAG) * *bags, X509 *x, bool leaf, bool trusted)
{
    unsigned char id[20];
    unsigned n = 0;
    PKCS12_SAFEBAG *bag = PKCS12_add_cert(bags, x);
    if (bag && leaf)
        return X509_digest(x, EVP_sha1(), id, &n) == 1 && PKCS12_add_localkeyid(bag, id, (int)n) == 1;
    if (!bag || !trusted)
        return bag != NULL;
    X509_ATTRIBUTE *attr = X509_ATTRIBUTE_new();
    ASN1_OBJECT *any = OBJ_txt2obj("2.5.29.37.0", 1), *type = OBJ_txt2obj(TRUSTED, 1);
    bool ok = attr && any && type && X509_ATTRIBUTE_set1_object(attr, type) == 1 &&
              X509_ATTRIBUTE_set1_data(attr, V_ASN1_OBJECT, any, -1) == 1;
    ASN1_OBJECT_free(any);
    ASN1_OBJECT_free(type);
    STACK_OF(X509_ATTRIBUTE) *attrs = (STACK_OF(X509_ATTRIBUTE) *)(uintptr_t)PKCS12_SAFEBAG_get0_attrs(bag);
    if (ok && !attrs) { /* the first attribute makes the set */
        char name[32] = "";
        (void)X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, name, sizeof name);
        ok = PKCS12_add_friendlyname_utf8(bag, name[0] ? name : "ca", -1) == 1;
        attrs = (STACK_OF(X509_ATTRIBUTE) *)(uintptr_t)PKCS12_SAFEBAG_get0_attrs(bag);
    }
    if (ok && attrs && sk_X509_ATTRIBUTE_push(attrs, attr) > 0)
        return true;
    X509_ATTRIBUTE_free(attr);
    return false;
}

static bool safe_add_certs(STACK_OF(PKCS7) * *safes, const STACK_OF(X509) * chain, const STACK_OF(X509) * ca,
                           bool key, const struct pkcs12_profile *p, const char *password, OSSL_LIB_CTX *lib)
{
    STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
    bool ok = true;
    for (int i = 0; ok && i < sk_X509_num(chain); i++)
        ok = bag_add(&bags, sk_X509_value(chain, i), key && i == 0, false);
    for (int i = 0; ok && i < sk_X509_num(ca); i++)
        ok = bag_add(&bags, sk_X509_value(ca, i), false, !key);
    ok = ok && PKCS12_add_safe_ex(safes, bags, p->cert, p->rounds, password, lib, NULL) == 1;
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    return ok;
}

static bool pkcs12_with(OSSL_LIB_CTX *lib, const struct pkcs12_profile *p, const char *password, EVP_PKEY *k,
                        const STACK_OF(X509) * chain, const STACK_OF(X509) * ca, struct strbuf *out)
{
    STACK_OF(PKCS7) *safes = NULL;
    PKCS12 *store = NULL;
    unsigned char *der = NULL;
    bool ok = safe_add_certs(&safes, chain, ca, k != NULL, p, password, lib) &&
              (!k || safe_add_key(&safes, k, p, password, sk_X509_value(chain, 0), lib)) &&
              (store = PKCS12_add_safes_ex(safes, 0, lib, NULL)) &&
              PKCS12_set_mac(store, password, -1, NULL, 0, p->rounds, p->mac()) == 1;
    int n = ok ? i2d_PKCS12(store, &der) : 0;
    if (n > 0)
        strbuf_add(out, (struct str){(char *)der, (size_t)n});
    OPENSSL_clear_free(der, n > 0 ? (size_t)n : 0);
    PKCS12_free(store);
    sk_PKCS7_pop_free(safes, PKCS7_free);
    return n > 0;
}

bool cert_pkcs12(struct str password, struct str profile, EVP_PKEY *k, STACK_OF(X509) * chain, STACK_OF(X509) * ca,
                 struct strbuf *out, struct err *err)
{
    const struct pkcs12_profile *p = NULL;
    for (size_t i = 0; i < countof(profiles) && !p; i++)
        if (str_eqz(profile, profiles[i].name))
            p = &profiles[i];
    if (!p)
        return err_set(err, E_INVALID, "there is no PKCS12 profile \"" STR_FMT "\"", STR_ARG(profile));
    OSSL_LIB_CTX *lib = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *base = lib ? OSSL_PROVIDER_load(lib, "default") : NULL;
    OSSL_PROVIDER *legacy = base && p->legacy ? OSSL_PROVIDER_load(lib, "legacy") : NULL;
    char *z = str_dupz(password);
    bool ok = base && (legacy || !p->legacy) && pkcs12_with(lib, p, z, k, chain, ca, out);
    mem_wipe(z, password.n);
    mem_free(z);
    if (!ok)
        (void)cert_failed(err, p->legacy && !legacy
                                   ? "PKCS12 profile LegacyRC2 needs OpenSSL's legacy provider, which is not there; "
                                     "LegacyDES and Modern2023 do not"
                                   : "make a PKCS12 store");
    if (legacy)
        OSSL_PROVIDER_unload(legacy);
    if (base)
        OSSL_PROVIDER_unload(base);
    OSSL_LIB_CTX_free(lib);
    return ok;
}

/* --- JKS --- */

static void add_n(struct strbuf *b, uint64_t v, int bytes)
{
    while (bytes-- > 0)
        strbuf_addc(b, (char)(v >> (8 * bytes)));
}

static void add_utf(struct strbuf *b, struct str s)
{
    add_n(b, s.n, 2);
    strbuf_add(b, s);
}

/* Java's characters: UTF-16, the high byte first. */
static void add_password(struct strbuf *b, struct str password)
{
    for (struct str rest = password; rest.n;) {
        uint32_t c = (unsigned char)rest.p[0];
        size_t n = str_rune(rest, &c);
        rest = str_sub(rest, MAX(n, 1), rest.n);
        if (c >= 0x10000) {
            add_n(b, 0xd800 + ((c - 0x10000) >> 10), 2);
            c = 0xdc00 + ((c - 0x10000) & 0x3ff);
        }
        add_n(b, c, 2);
    }
}

static void buf_wipe(struct strbuf *b)
{
    if (b->p)
        mem_wipe(b->p, b->n);
    strbuf_fini(b);
}

/* salt, the key XOR a stream of digests, a digest of the key */
static void jks_protect(struct str password, struct str plain, struct strbuf *out)
{
    struct strbuf in = STRBUF(PEM_MOST);
    uint8_t salt[20], digest[20];
    random_bytes(salt, sizeof salt);
    strbuf_add(out, (struct str){(char *)salt, sizeof salt});
    memcpy(digest, salt, sizeof salt);
    for (size_t i = 0; i < plain.n; i++) {
        if (i % 20 == 0) {
            strbuf_reset(&in);
            add_password(&in, password);
            strbuf_add(&in, (struct str){(char *)digest, 20});
            sha1_of(strbuf_str(&in), digest);
        }
        strbuf_addc(out, (char)((uint8_t)plain.p[i] ^ digest[i % 20]));
    }
    strbuf_reset(&in);
    add_password(&in, password);
    strbuf_add(&in, plain);
    sha1_of(strbuf_str(&in), digest);
    strbuf_add(out, (struct str){(char *)digest, 20});
    buf_wipe(&in);
}

static void add_certificate(struct strbuf *b, X509 *x)
{
    unsigned char *der = NULL;
    int n = i2d_X509(x, &der);
    add_utf(b, S("X.509"));
    add_n(b, n > 0 ? (uint64_t)n : 0, 4);
    strbuf_add(b, (struct str){(char *)der, n > 0 ? (size_t)n : 0});
    OPENSSL_free(der);
}

static void add_der(struct strbuf *b, unsigned char tag, struct str content) /* of less than 64 KiB */
{
    add_n(b, tag, 1);
    if (content.n >= 128)
        add_n(b, content.n < 256 ? 0x81 : 0x82, 1);
    add_n(b, content.n, content.n < 256 ? 1 : 2);
    strbuf_add(b, content);
}

static bool add_key(struct strbuf *b, struct str password, EVP_PKEY *k)
{
    /* EncryptedPrivateKeyInfo under 1.3.6.1.4.1.42.2.17.1.1 */
    static const unsigned char algorithm[] = {0x30, 0x0e, 0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04,
                                              0x01, 0x2a, 0x02, 0x11, 0x01, 0x01, 0x05, 0x00};
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(k);
    unsigned char *der = NULL;
    int n = info ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : 0;
    PKCS8_PRIV_KEY_INFO_free(info);
    if (n <= 0)
        return false;
    struct strbuf sealed = STRBUF(PEM_MOST);
    jks_protect(password, (struct str){(char *)der, (size_t)n}, &sealed);
    OPENSSL_clear_free(der, (size_t)n);
    struct strbuf octets = STRBUF(PEM_MOST), all = STRBUF(PEM_MOST);
    strbuf_add(&octets, (struct str){(const char *)algorithm, sizeof algorithm});
    add_der(&octets, 0x04, strbuf_str(&sealed));
    add_der(&all, 0x30, strbuf_str(&octets));
    add_n(b, all.n, 4);
    strbuf_add(b, strbuf_str(&all));
    buf_wipe(&sealed);
    buf_wipe(&octets);
    buf_wipe(&all);
    return true;
}

static void add_lower(struct strbuf *b, struct str alias)
{
    add_n(b, alias.n, 2);
    for (size_t i = 0; i < alias.n; i++) /* Java compares aliases in lower case */
        strbuf_addc(b, alias.p[i] >= 'A' && alias.p[i] <= 'Z' ? (char)(alias.p[i] + 32) : alias.p[i]);
}

bool cert_jks(struct str password, struct str alias, EVP_PKEY *k, STACK_OF(X509) * chain, STACK_OF(X509) * ca,
              int64_t now_ms, struct strbuf *out, struct err *err)
{
    struct strbuf all = STRBUF(PEM_MOST);
    uint8_t digest[20];
    add_n(out, 0xfeedfeed, 4);
    add_n(out, 2, 4);
    add_n(out, (uint64_t)(k != NULL) + (uint64_t)sk_X509_num(ca), 4);
    bool ok = true;
    if (k) {
        add_n(out, 1, 4);
        add_lower(out, alias);
        add_n(out, (uint64_t)now_ms, 8);
        ok = add_key(out, password, k);
        add_n(out, (uint64_t)sk_X509_num(chain), 4);
        for (int i = 0; i < sk_X509_num(chain); i++)
            add_certificate(out, sk_X509_value(chain, i));
    }
    for (int i = 0; i < sk_X509_num(ca); i++) {
        char name[16];
        (void)snprintf(name, sizeof name, i ? "ca-%d" : "ca", i);
        add_n(out, 2, 4);
        add_utf(out, str_of(name));
        add_n(out, (uint64_t)now_ms, 8);
        add_certificate(out, sk_X509_value(ca, i));
    }
    add_password(&all, password);
    strbuf_addz(&all, "Mighty Aphrodite");
    strbuf_add(&all, strbuf_str(out));
    sha1_of(strbuf_str(&all), digest);
    buf_wipe(&all);
    strbuf_add(out, (struct str){(char *)digest, sizeof digest});
    return (ok && !out->over) || cert_failed(err, "make a JKS store");
}
