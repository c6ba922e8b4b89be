#include "base/test.h"
#include "sys/cert.h"
#include "sys/jws.h"
#include "sys/tls.h"

/* RFC 8037, A.1 to A.4 */
static const char ed25519[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
                              "-----END PRIVATE KEY-----\n";
static const char ari_leaf[] = "-----BEGIN CERTIFICATE-----\n"
                               "MIIBVjCB/aADAgECAgUAh2VDITAKBggqhkjOPQQDAjARMQ8wDQYDVQQDDAZhcmkt\n"
                               "Y2EwIBcNMjYxMTMwMjExMjQ1WhgPMjEyNjExMDYyMTEyNDVaMA8xDTALBgNVBAMM\n"
                               "BGxlYWYwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATluiVTUnAZ4cv3rIUttvfo\n"
                               "ONfKxs8cygikZYhG3NtKOY2FZ5esoL2VX2MqNlDaApFq6RaDX3nDrartpbMu/XrC\n"
                               "o0IwQDAfBgNVHSMEGDAWgBRFBPBndtQ+2X4UivQXFtwwg2rXezAdBgNVHQ4EFgQU\n"
                               "LdTRAaNnm8NqQeQqhj7Phh15pzAwCgYIKoZIzj0EAwIDSAAwRQIgZECdTueQZ9xs\n"
                               "akIWuSWH8WFBKV45IWruq73GjRdQyN4CIQDHS08oe5FJHm1iGg72fqCcPl32FMnX\n"
                               "qT0VAWuGvMgyDA==\n"
                               "-----END CERTIFICATE-----\n";

TEST(jws_of_ed25519_is_that_of_the_rfc)
{
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf jwk = STRBUF(4096), print = STRBUF(4096), raw = STRBUF(4096), b = STRBUF(4096);
    AUTO(jws_key_free) struct jws_key *k = jws_key_parse(str_of(ed25519), &err);
    CHECK_OK(k, err);
    CHECK_STR(str_of(jws_alg(k)), S("EdDSA"));
    jws_jwk(k, &jwk);
    CHECK_STR(strbuf_str(&jwk),
              S("{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"));
    jws_thumbprint(k, &print);
    CHECK_STR(strbuf_str(&print), S("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
    CHECK_OK(jws_sign(k, S("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"), &raw, &err), err);
    strbuf_add_base64url(&b, raw.p, raw.n);
    CHECK_STR(strbuf_str(&b),
              S("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"));
}

TEST(jws_of_p256_is_verified_by_its_key)
{
    struct err err = ERR;
    AUTO(key_free) struct cert_key *key = key_new();
    AUTO(strbuf_fini) struct strbuf pem = STRBUF(4096), raw = STRBUF(4096);
    key_pem(key, &pem);
    AUTO(jws_key_free) struct jws_key *k = jws_key_parse(strbuf_str(&pem), &err);
    CHECK_OK(k, err);
    CHECK_OK(jws_sign(k, S("text"), &raw, &err), err);
    CHECK(key_verify(key, S("text"), strbuf_str(&raw)) && !key_verify(key, S("texs"), strbuf_str(&raw)));
}

TEST(jws_takes_no_other_keys)
{
    struct err err = ERR;
    CHECK(!jws_key_parse(S("nothing"), &err));
    CHECK_STR(str_of(err.text), S("it is no private key in PEM without a passphrase"));
}

/* RFC 2202 and RFC 4231, the second case of each */
TEST(hmac_of_the_rfcs)
{
    static const struct {
        enum mac m;
        const char *hex;
    } cases[] = {
        {MAC_MD5, "750c783e6ab0b503eaa86e310a5db738"},
        {MAC_SHA1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
        {MAC_SHA256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {MAC_SHA512,
         "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdc"
         "aeab1a34d4a6b4b636e070a38bce737"},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        uint8_t mac[MAC_MOST];
        AUTO(strbuf_fini) struct strbuf b = STRBUF(256);
        size_t n = hmac_of(cases[i].m, S("Jefe"), S("what do ya want for nothing?"), mac);
        strbuf_add_hex(&b, mac, n);
        CHECK_STR(strbuf_str(&b), str_of(cases[i].hex));
    }
}

TEST(certificates_are_named_as_ari_does)
{
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(256);
    CHECK_OK(cert_ari_id(str_of(ari_leaf), &b, &err), err);
    /* the serial 87654321 has a zero before it, as its first bit is set */
    CHECK_STR(strbuf_str(&b), S("RQTwZ3bUPtl-FIr0FxbcMINq13s.AIdlQyE"));
    CHECK(!cert_ari_id(S("x"), &b, &err));
}

TEST(certificates_for_alpn_name_one_host)
{
    static const struct str hosts[] = {S_INIT("shop.example.org"), S_INIT("192.0.2.1"), S_INIT("2001:db8::1")};
    for (size_t i = 0; i < countof(hosts); i++) {
        struct err err = ERR;
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini) struct strbuf chain = STRBUF(STRBUF_TEXT), key = STRBUF(STRBUF_TEXT);
        struct cert_info info;
        CHECK_OK(cert_make_alpn(hosts[i], (const uint8_t *)"0123456789abcdef0123456789abcdef", &chain, &key, &err),
                 err);
        CHECK_OK(cert_read(&a, strbuf_str(&chain), &info, &err), err);
        CHECK_INT(info.ndns + info.nips, 1);
        CHECK_STR(i ? info.ips[0] : info.dns[0], hosts[i]);
        AUTO(key_free) struct cert_key *k = key_parse(strbuf_str(&key), &err);
        CHECK(k && cert_fits_key(strbuf_str(&chain), k, &err));
    }
}
