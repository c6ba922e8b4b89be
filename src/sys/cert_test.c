#include "base/clock.h"
#include "base/test.h"
#include "sys/cert.h"
#include "sys/crypto.h"

TEST(cert_authority_and_leaf)
{
    struct err err = ERR;
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(key_free) struct cert_key *ca_key = key_new(), *leaf_key = key_new();
    AUTO(strbuf_fini) struct strbuf ca = STRBUF(STRBUF_TEXT), leaf = STRBUF(STRBUF_TEXT);
    int64_t now = clock_real(), end = now / NS_PER_S * NS_PER_S + 365 * 86400 * NS_PER_S;
    CHECK_OK(cert_make(&(struct cert_spec){.cn = S("wherry-ca"), .ca = true, .not_after = end}, ca_key, STR_NONE,
                       NULL, &ca, &err),
             err);
    const struct str orgs[] = {S_INIT("system:masters"), S_INIT("ops")}, dns[] = {S_INIT("kubernetes.default.svc")},
                     ips[] = {S_INIT("10.43.0.1"), S_INIT("::1")};
    struct cert_spec spec = {
        .cn = S("admin"), .orgs = orgs, .norgs = 2, .dns = dns, .ndns = 1, .ips = ips, .nips = 2};
    spec.client = spec.server = true;
    spec.not_after = end;
    CHECK_OK(cert_make(&spec, leaf_key, strbuf_str(&ca), ca_key, &leaf, &err), err);
    struct cert_info i;
    CHECK_OK(cert_read(&a, strbuf_str(&leaf), &i, &err), err);
    CHECK_STR(i.cn, S("admin"));
    CHECK_STR(i.issuer_cn, S("wherry-ca"));
    CHECK_INT(i.norgs, 2);
    CHECK_STR(i.orgs[0], S("system:masters"));
    CHECK_STR(i.dns[0], S("kubernetes.default.svc"));
    CHECK_STR(i.ips[0], S("10.43.0.1"));
    CHECK_STR(i.ips[1], S("::1"));
    CHECK_INT(i.not_after, end);
    CHECK(i.not_before < now && !i.ca && i.serial_hex.n == 32 && i.sha256hex.n == 64);
    CHECK_OK(cert_fits_key(strbuf_str(&leaf), leaf_key, &err), err);
    CHECK(!cert_fits_key(strbuf_str(&leaf), ca_key, &err));
    CHECK_STR(str_sub(str_of(err.text), 0, 46), S("the key does not belong to the certificate: ke"));
    CHECK(!cert_make(&spec, leaf_key, strbuf_str(&ca), leaf_key, &leaf, &err));
}

TEST(cert_of_a_node_with_a_long_name)
{
    struct err err = ERR;
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(key_free) struct cert_key *k = key_new();
    AUTO(strbuf_fini) struct strbuf cn = STRBUF(300), out = STRBUF(STRBUF_TEXT);
    strbuf_addz(&cn, "system:node:");
    while (cn.n < 12 + 253)
        strbuf_addc(&cn, 'n');
    struct cert_spec spec = {.cn = strbuf_str(&cn), .not_after = clock_real() + NS_PER_S * 100};
    CHECK_OK(cert_make(&spec, k, STR_NONE, NULL, &out, &err), err);
    struct cert_info i;
    CHECK_OK(cert_read(&a, strbuf_str(&out), &i, &err), err);
    CHECK_STR(i.cn, strbuf_str(&cn));
}

TEST(cert_refuses_what_cannot_be_written)
{
    struct err err = ERR;
    AUTO(key_free) struct cert_key *k = key_new();
    AUTO(strbuf_fini) struct strbuf out = STRBUF(STRBUF_TEXT);
    int64_t end = clock_real() + NS_PER_S * 100;
    const struct str bad_ip = S_INIT("10.43.0");
    CHECK(!cert_make(&(struct cert_spec){.cn = S("x"), .ips = &bad_ip, .nips = 1, .not_after = end}, k, STR_NONE,
                     NULL, &out, &err));
    CHECK_STR(str_of(err.text), S("certificate: \"10.43.0\" is not an IP address"));
    CHECK(!cert_make(&(struct cert_spec){.cn = S(""), .not_after = end}, k, STR_NONE, NULL, &out, &err));
    CHECK(!cert_make(&(struct cert_spec){.cn = S("\xff"), .not_after = end}, k, STR_NONE, NULL, &out, &err));
    CHECK(!cert_make(&(struct cert_spec){.cn = S("x"), .not_after = 1}, k, STR_NONE, NULL, &out, &err));
    CHECK_INT(out.n, 0);
}

/* openssl req -new -key K -subj /O=ops/O=system:masters/CN=a, and the same without the second O */
#define REQUEST_OF_TWO                                                                                               \
    "-----BEGIN CERTIFICATE REQUEST-----\n"                                                                          \
    "MIHuMIGVAgEAMDMxDDAKBgNVBAoMA29wczEXMBUGA1UECgwOc3lzdGVtOm1hc3Rl\n"                                             \
    "cnMxCjAIBgNVBAMMAWEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARHdHForvuA\n"                                             \
    "gYWd0GrEO8+hdX7T3M1QflTSU4YFnzunFeWBrWQH0k5fBqbqY9IKlcdvHEgSIlcQ\n"                                             \
    "Pbi5405vzR+EoAAwCgYIKoZIzj0EAwIDSAAwRQIhAMlQf+oZvUSfQcsgr7c6vsH9\n"                                             \
    "V/jECCou4fIx8gz/3f8rAiBBrOsM798GEZIfnAjNKcBshqiUyvBtwO/wEkq8MStu\n"                                             \
    "Zg==\n"                                                                                                         \
    "-----END CERTIFICATE REQUEST-----\n"
#define REQUEST_OF_ONE                                                                                               \
    "-----BEGIN CERTIFICATE REQUEST-----\n"                                                                          \
    "MIHTMHwCAQAwGjEMMAoGA1UECgwDb3BzMQowCAYDVQQDDAFhMFkwEwYHKoZIzj0C\n"                                             \
    "AQYIKoZIzj0DAQcDQgAER3RxaK77gIGFndBqxDvPoXV+09zNUH5U0lOGBZ87pxXl\n"                                             \
    "ga1kB9JOXwam6mPSCpXHbxxIEiJXED24ueNOb80fhKAAMAoGCCqGSM49BAMCA0cA\n"                                             \
    "MEQCID2f0UhfxZ/CKkPdRUFRVcnrZ5+3pA/UvZmT+eL7v+X/AiBxNxyGYiCpQItV\n"                                             \
    "SaZtIbaoYiW4Tc5IKU4rDKF6MRKP4Q==\n"                                                                             \
    "-----END CERTIFICATE REQUEST-----\n"

TEST(cert_request_tells_the_organizations_of_all_that_it_may_be)
{
    static const struct {
        const char *pem, *orgs; /* NULL: not readable */
    } rows[] = {
        {REQUEST_OF_TWO, "ops system:masters "},
        {REQUEST_OF_ONE, "ops "},
        {REQUEST_OF_ONE REQUEST_OF_TWO, "ops ops system:masters "},
        {"text before\n" REQUEST_OF_ONE "text behind\n", "ops "},
        {"", NULL},
        {"no request", NULL},
        {REQUEST_OF_ONE "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", NULL},
        {"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", NULL},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini) struct strbuf have = STRBUF(STRBUF_TEXT);
        struct str *orgs;
        struct err err = ERR;
        size_t n;
        bool ok = request_orgs(&a, str_of(rows[i].pem), &orgs, &n, &err);
        CHECK(ok == (rows[i].orgs != NULL));
        CHECK(ok || err.text[0]);
        for (size_t k = 0; ok && k < n; k++)
            strbuf_addf(&have, STR_FMT " ", STR_ARG(orgs[k]));
        if (ok)
            CHECK_STR(strbuf_str(&have), str_of(rows[i].orgs));
    }
}

TEST(cert_keys_survive_pem_and_sign)
{
    struct err err = ERR;
    AUTO(key_free) struct cert_key *k = key_new();
    AUTO(strbuf_fini) struct strbuf pem = STRBUF(STRBUF_TEXT), public = STRBUF(STRBUF_TEXT);
    key_pem(k, &pem);
    key_pem_public(k, &public);
    CHECK(str_starts(strbuf_str(&pem), S("-----BEGIN PRIVATE KEY-----")));
    AUTO(key_free) struct cert_key *again = key_parse(strbuf_str(&pem), &err);
    AUTO(key_free) struct cert_key *pub = key_parse_public(strbuf_str(&public), &err);
    CHECK(again && pub);
    uint8_t sig[ES256_SIZE];
    CHECK_OK(key_sign(again, S("data"), sig, &err), err);
    CHECK(key_verify(pub, S("data"), (struct str){(char *)sig, sizeof sig}));
    CHECK(!key_verify(pub, S("dat4"), (struct str){(char *)sig, sizeof sig}));
    sig[10] ^= 1;
    CHECK(!key_verify(pub, S("data"), (struct str){(char *)sig, sizeof sig}));
    uint8_t x[32], y[32];
    CHECK(key_point(pub, x, y));
    CHECK(!key_parse(S("no key"), &err));
    CHECK(!key_parse_public(S("no key"), &err));
}

/* What stands beside the certificates and the key is left out; what a server could not show is refused. */
TEST(cert_serves_what_it_has_read_and_nothing_else)
{
    AUTO(key_free) struct cert_key *own = key_new(), *other = key_new();
    AUTO(strbuf_fini)
    struct strbuf cert = STRBUF(65536), key = STRBUF(65536), strange = STRBUF(65536), chain = STRBUF(65536),
                  private = STRBUF(65536);
    struct str name = S("a.example.org");
    struct cert_spec spec = {
        .cn = name, .dns = &name, .ndns = 1, .server = true, .not_after = clock_real() + 3600 * NS_PER_S};
    struct err err = ERR;
    CHECK_OK(cert_make(&spec, own, S(""), NULL, &cert, &err), err);
    key_pem(own, &key);
    strbuf_addz(&strange, "rubbish\n\nshow info\n\n");
    strbuf_add(&strange, strbuf_str(&cert));
    key_pem(other, &strange);
    strbuf_addz(&strange, "\n\n# between\n");
    strbuf_add(&strange, strbuf_str(&cert));
    CHECK_OK(cert_serves(strbuf_str(&strange), strbuf_str(&key), &chain, &private, &err), err);
    strbuf_reset(&strange);
    strbuf_add(&strange, strbuf_str(&cert));
    strbuf_add(&strange, strbuf_str(&cert));
    CHECK_STR(strbuf_str(&chain), strbuf_str(&strange));
    CHECK_STR(strbuf_str(&private), strbuf_str(&key));
    strbuf_reset(&key);
    key_pem(other, &key);
    CHECK(!cert_serves(strbuf_str(&cert), strbuf_str(&key), &chain, &private, &err));
    err = ERR;
    strbuf_addz(&cert, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    CHECK(!cert_serves(strbuf_str(&cert), S(""), &chain, &private, &err));
    CHECK(str_starts(str_of(err.text), S("certificate 2: ")));
}

TEST(crypto_known_answers)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    uint8_t out[32], parts[32];
    sha256_of(S("abc"), out);
    strbuf_add_hex(&b, out, sizeof out);
    CHECK_STR(strbuf_str(&b), S("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    struct sha256 s;
    sha256_init(&s);
    sha256_add(&s, S("a"));
    sha256_add(&s, S("bc"));
    sha256_end(&s, parts);
    CHECK(memcmp(out, parts, 32) == 0);
}

TEST(crypto_a_passphrase_opens_what_it_sealed_and_nothing_else)
{
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf sealed = STRBUF(STRBUF_TEXT), plain = STRBUF(STRBUF_TEXT);
    CHECK_OK(passphrase_seal(S("open sesame"), S("the keys"), &sealed, &err), err);
    CHECK_INT(sealed.n, 8 + PASSPHRASE_EXTRA);
    CHECK_OK(passphrase_unseal(S("open sesame"), strbuf_str(&sealed), &plain, &err), err);
    CHECK_STR(strbuf_str(&plain), S("the keys"));
    CHECK(!passphrase_unseal(S("open sesame "), strbuf_str(&sealed), &plain, &err) && err.kind == E_FORBIDDEN);
    sealed.p[10] ^= 1; /* the salt */
    CHECK(!passphrase_unseal(S("open sesame"), strbuf_str(&sealed), &plain, &err) && err.kind == E_FORBIDDEN);
    sealed.p[10] ^= 1;
    sealed.p[1] = 40; /* a machine's whole memory */
    CHECK(!passphrase_unseal(S("open sesame"), strbuf_str(&sealed), &plain, &err) && err.kind == E_INVALID);
    sealed.p[0] = 2;
    CHECK(!passphrase_unseal(S("open sesame"), strbuf_str(&sealed), &plain, &err) && err.kind == E_INVALID);
    CHECK(!passphrase_unseal(S("open sesame"), S("short"), &plain, &err) && err.kind == E_INVALID);
}

TEST(crypto_sealed_opens_only_unchanged)
{
    struct err err = ERR;
    uint8_t key[32], other[32];
    random_bytes(key, 32);
    random_bytes(other, 32);
    AUTO(strbuf_fini) struct strbuf sealed = STRBUF(STRBUF_TEXT), plain = STRBUF(STRBUF_TEXT);
    bytes_seal(key, S("/secrets/a"), S("hunter2"), &sealed);
    CHECK_INT(sealed.n, 7 + SEAL_EXTRA);
    CHECK_OK(bytes_unseal(key, S("/secrets/a"), strbuf_str(&sealed), &plain, &err), err);
    CHECK_STR(strbuf_str(&plain), S("hunter2"));
    CHECK(!bytes_unseal(key, S("/secrets/b"), strbuf_str(&sealed), &plain, &err));
    CHECK(!bytes_unseal(other, S("/secrets/a"), strbuf_str(&sealed), &plain, &err));
    for (size_t i = 0; i < sealed.n; i++) {
        sealed.p[i] ^= 4;
        CHECK(!bytes_unseal(key, S("/secrets/a"), strbuf_str(&sealed), &plain, &err));
        CHECK(!bytes_unseal(key, S("/secrets/a"), str_sub(strbuf_str(&sealed), 0, i), &plain, &err));
        sealed.p[i] ^= 4;
    }
    CHECK_STR(strbuf_str(&plain), S("hunter2"));
}
