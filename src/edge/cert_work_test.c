/* What the pool makes for Certificates, without an API: every kind of key, what a signer refuses, key stores,
 * subjects as people write them. */
#include "api/codec.h"
#include "base/test.h"
#include "edge/cert_int.h"
#include <openssl/err.h>
#include <openssl/pkcs12.h>

static struct val yaml_of(struct arena *a, const char *text)
{
    struct val v;
    struct err err = ERR;
    CHECK_OK(yaml_decode(a, str_of(text), &v, &err), err);
    return v;
}

static struct str made_key(struct arena *a, const char *algorithm, int64_t size)
{
    struct val body = val_map(), ask = val_map();
    struct err err = ERR;
    val_set_str(a, &ask, S("do"), val_str(a, S("key")));
    val_set_str(a, &ask, S("algorithm"), val_str(a, str_of(algorithm)));
    val_set_str(a, &ask, S("size"), val_int(size));
    CHECK_OK(cert_work(a, &ask, &body, &err), err);
    return val_raw(val_get_str(val_get(&body, N(data)), S("tls.key")));
}

static struct str made_request(struct arena *a, struct str key, const char *spec)
{
    struct val body = val_map(), ask = val_map();
    struct err err = ERR;
    val_set_str(a, &ask, S("do"), val_str(a, S("request")));
    val_set_str(a, &ask, S("key"), val_bytes(a, key));
    val_set_str(a, &ask, S("spec"), yaml_of(a, spec));
    CHECK_OK(cert_work(a, &ask, &body, &err), err);
    return cert_bytes(a, val_get_str(val_get(&body, N(spec)), S("request")));
}

/* *err: why not, where the answer is "". */
static struct str signed_by(struct arena *a, struct str key, struct str chain, struct str request, const char *more,
                            struct err *err)
{
    struct val body = val_map(), ask = yaml_of(a, more);
    val_set_str(a, &ask, S("do"), val_str(a, S("sign")));
    val_set_str(a, &ask, S("key"), val_bytes(a, key));
    val_set_str(a, &ask, S("request"), val_bytes(a, request));
    if (chain.n)
        val_set_str(a, &ask, S("certificate"), val_bytes(a, chain));
    if (!cert_work(a, &ask, &body, err))
        return S("");
    return cert_bytes(a, val_get_str(val_get(&body, N(status)), S("certificate")));
}

static struct str bundle_made(struct arena *a, struct str key, struct str chain, const char *more, const char *member,
                              struct err *err)
{
    struct val body = val_map(), ask = yaml_of(a, more);
    val_set_str(a, &ask, S("do"), val_str(a, S("bundle")));
    val_set_str(a, &ask, S("key"), val_bytes(a, key));
    val_set_str(a, &ask, S("certificate"), val_bytes(a, chain));
    val_set_str(a, &ask, S("ca"), val_bytes(a, chain));
    if (!cert_work(a, &ask, &body, err))
        return S("");
    return val_raw(val_get_str(val_get(&body, N(data)), str_of(member)));
}

#define ROOT "{commonName: root, isCA: true}"

TEST(every_kind_of_key_signs_and_is_signed)
{
    static const struct {
        const char *algorithm;
        int64_t size, bits;
    } made[] = {{"RSA", 0, 2048},    {"RSA", 3072, 3072}, {"ECDSA", 256, 256},
                {"ECDSA", 384, 384}, {"ECDSA", 521, 521}, {"Ed25519", 0, 253}};
    for (size_t i = 0; i < countof(made); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct err err = ERR;
        struct val facts, leaf;
        struct str key = made_key(&a, made[i].algorithm, made[i].size), own = made_key(&a, "ECDSA", 256);
        CHECK_OK(cert_facts_read(&a, X509_KEY, key, &facts, &err), err);
        CHECK(str_eqz(val_text(val_get_str(&facts, S("algorithm"))), made[i].algorithm));
        if (i < 5)
            CHECK_INT(val_num(val_get_str(&facts, S("size")), 0), made[i].bits);
        struct str root = signed_by(&a, key, S(""), made_request(&a, key, ROOT), "{isCA: true, seconds: 86400}",
                                    &err);
        CHECK_OK(root.n, err);
        struct str crt = signed_by(&a, key, root, made_request(&a, own, "{dnsNames: [a.example]}"), "{seconds: 3600}",
                                   &err);
        CHECK_OK(crt.n && cert_facts_read(&a, X509_CERTIFICATE, crt, &leaf, &err), err);
        CHECK(val_has_text(val_get_str(&leaf, S("dnsNames")), S("a.example")));
        CHECK(!val_get_str(&leaf, S("isCA")) && !val_get_str(&leaf, S("root")));
    }
}

TEST(a_signer_takes_no_request_that_says_something_else)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str key = made_key(&a, "ECDSA", 256), other = made_key(&a, "ECDSA", 256);
    struct err err = ERR;
    struct str root = signed_by(&a, key, S(""), made_request(&a, key, ROOT), "{isCA: true, seconds: 86400}", &err);
    static const struct {
        const char *spec, *ask, *says;
    } cases[] = {{"{dnsNames: [a], usages: [server auth]}", "{usages: [client auth]}", "ExtKeyUsages"},
                 {"{dnsNames: [a], isCA: true}", "{}", "KeyUsages"},
                 {"{dnsNames: [a]}", "{usages: [flying]}", "unknown key usage"}};
    for (size_t i = 0; i < countof(cases); i++) {
        struct err why = ERR;
        CHECK(!signed_by(&a, key, root, made_request(&a, other, cases[i].spec), cases[i].ask, &why).n);
        CHECK(str_has(str_of(why.text), str_of(cases[i].says)));
    }
    struct err why = ERR;
    CHECK(!signed_by(&a, other, root, made_request(&a, other, "{dnsNames: [a]}"), "{}", &why).n);
    CHECK(str_has(str_of(why.text), S("does not belong")));
    why = ERR;
    CHECK(!signed_by(&a, other, S(""), made_request(&a, key, "{dnsNames: [a]}"), "{}", &why).n);
    why = ERR;
    CHECK(!bundle_made(&a, other, root, "{}", "tls.crt", &why).n && str_has(str_of(why.text), S("does not belong")));
    CHECK(!str_has(str_of(why.text), S("PRIVATE")));
}

TEST(key_stores_of_every_profile_open_with_their_password)
{
    static const char *const profiles[] = {"", "LegacyDES", "LegacyRC2", "Modern2023", "Modern2026"};
    for (size_t i = 0; i < countof(profiles); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct err err = ERR;
        struct str key = made_key(&a, "ECDSA", 256);
        struct str root = signed_by(&a, key, S(""),
                                    made_request(&a, key, i % 2 ? ROOT : "{dnsNames: [a.example], isCA: true}"),
                                    "{isCA: true, seconds: 86400}", &err);
        struct str more = arena_fmt(&a, "{pkcs12: {password: cHc=%s%s}}", profiles[i][0] ? ", profile: " : "",
                                    profiles[i]);
        struct str store = bundle_made(&a, key, root, more.p, "keystore.p12", &err);
        if (!store.n && str_has(str_of(err.text), S("legacy provider")))
            continue; /* not on this machine */
        CHECK_OK(store.n, err);
        const unsigned char *p = (const unsigned char *)store.p;
        PKCS12 *opened = d2i_PKCS12(NULL, &p, (long)store.n);
        CHECK(opened && PKCS12_verify_mac(opened, "pw", -1) == 1 && PKCS12_verify_mac(opened, "no", -1) != 1);
        PKCS12_free(opened);
        ERR_clear_error();
    }
}

TEST(a_subject_is_read_as_rfc_4514_writes_it)
{
    static const struct {
        const char *text, *says; /* the error; NULL: it is one */
    } cases[] = {{"CN=a", NULL},
                 {"CN=a,OU=b\\, c+L=d,DC=example,DC=org", NULL},
                 {"CN=\\41\\42", NULL},
                 {"2.5.4.3=a", NULL},
                 {"cn=a,street=b", NULL},
                 {"a", "TYPE=VALUE"},
                 {"", "TYPE=VALUE"},
                 {"CN=", "1 to 1024 bytes"},
                 {"NOPE=a", "unrecognized attribute type"},
                 {"CN=a\\", "not escaped"},
                 {"CN=\"a\"", "not escaped"}};
    for (size_t i = 0; i < countof(cases); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct err err = ERR;
        struct val facts;
        bool ok = cert_facts_read(&a, X509_SUBJECT, str_of(cases[i].text), &facts, &err);
        if (ok != !cases[i].says || (!ok && !str_has(str_of(err.text), str_of(cases[i].says))))
            test_failed(__FILE__, __LINE__, "%s: %s", cases[i].text, ok ? "taken" : err.text);
    }
    AUTO(arena_fini) struct arena a = ARENA;
    struct val facts;
    struct err err = ERR;
    CHECK(cert_facts_read(&a, X509_SUBJECT, S("CN=AB"), &facts, &err));
    struct str one = val_text(val_get_str(&facts, S("literal")));
    CHECK(cert_facts_read(&a, X509_SUBJECT, S(" CN = \\41\\42 "), &facts, &err));
    CHECK(str_eq(val_text(val_get_str(&facts, S("literal"))), one));
}
