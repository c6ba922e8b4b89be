#include "base/test.h"
#include "wire/jwt.h"

/* RFC 7515 appendix A.3, its key as SubjectPublicKeyInfo. */
static const char rfc_key[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
                              "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
                              "-----END PUBLIC KEY-----\n";
static const char rfc_token[] =
    "eyJhbGciOiJFUzI1NiJ9."
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

TEST(jwt_reads_the_example_of_the_rfc)
{
    struct err err = ERR;
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(key_free) struct cert_key *k = key_parse_public(str_of(rfc_key), &err);
    CHECK(k);
    struct str claims;
    CHECK_OK(jwt_verify(&a, k, NULL, str_of(rfc_token), &claims, &err), err);
    CHECK(str_has(claims, S("\"iss\":\"joe\"")));
}

TEST(jwt_signed_and_read_back)
{
    struct err err = ERR;
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(key_free) struct cert_key *k = key_new(), *other = key_new();
    AUTO(strbuf_fini) struct strbuf token = STRBUF(STRBUF_TEXT);
    struct str claims;
    CHECK_OK(jwt_sign(k, S("key-1"), S("{\"sub\":\"a\"}"), &token, &err), err);
    CHECK_OK(jwt_verify(&a, k, NULL, strbuf_str(&token), &claims, &err), err);
    CHECK_STR(claims, S("{\"sub\":\"a\"}"));
    CHECK(!jwt_verify(&a, other, NULL, strbuf_str(&token), &claims, &err) && err.kind == E_UNAUTHORIZED);
    for (size_t i = 0; i < token.n; i++) { /* no byte can be changed */
        char keep = token.p[i];
        token.p[i] = keep == 'A' ? 'B' : 'A';
        CHECK(!jwt_verify(&a, k, NULL, strbuf_str(&token), &claims, &err));
        token.p[i] = keep;
    }
}

TEST(jwt_a_token_that_was_seen_is_known_and_no_other)
{
    struct err err = ERR;
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(key_free) struct cert_key *k = key_new();
    AUTO(strbuf_fini) struct strbuf token = STRBUF(STRBUF_TEXT);
    struct jwt_seen seen = {0};
    struct str claims;
    CHECK_OK(jwt_sign(k, S(""), S("{\"sub\":\"a\"}"), &token, &err), err);
    char *last = token.p + token.n - 10, keep = *last;
    *last = keep == 'A' ? 'B' : 'A';
    CHECK(!jwt_verify(&a, k, &seen, strbuf_str(&token), &claims, &err) && err.kind == E_UNAUTHORIZED);
    *last = keep;
    for (int i = 0; i < 2; i++) {
        CHECK_OK(jwt_verify(&a, k, &seen, strbuf_str(&token), &claims, &err), err);
        CHECK_STR(claims, S("{\"sub\":\"a\"}"));
    }
    for (size_t i = 0; i < token.n; i++) { /* no byte can be changed, the signature's included */
        keep = token.p[i];
        token.p[i] = keep == 'A' ? 'B' : 'A';
        CHECK(!jwt_verify(&a, k, &seen, strbuf_str(&token), &claims, &err));
        token.p[i] = keep;
    }
}

TEST(jwt_refuses_other_algorithms_and_shapes)
{
    static const struct {
        const char *header, *rest, *want;
    } rows[] = {
        {"{\"alg\":\"none\"}", ".e30.", "token: signed with \"none\", want ES256"},
        {"{\"alg\":\"HS256\"}", ".e30.AAAA", "token: signed with \"HS256\", want ES256"},
        {"{}", ".e30.AAAA", "token: signed with \"\", want ES256"},
        {"[]", ".e30.AAAA", "token: malformed header"},
        {"{\"alg\":\"ES256\",\"crit\":[\"b64\"]}", ".e30.AAAA",
         "token: its header has critical extensions, and none is known here"},
        {"{\"alg\":\"ES256\"}", ".e30.AAAA", "token: the signature is not good"},
        {"{\"alg\":\"ES256\"}", ".e30", "token: not three parts between dots"},
        {"{\"alg\":\"ES256\"}", ".e30.AA.AA", "token: not three parts between dots"},
    };
    AUTO(key_free) struct cert_key *k = key_new();
    for (size_t i = 0; i < countof(rows); i++) {
        struct err err = ERR;
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini) struct strbuf token = STRBUF(STRBUF_TEXT);
        struct str claims;
        strbuf_add_base64url(&token, rows[i].header, strlen(rows[i].header));
        strbuf_addz(&token, rows[i].rest);
        CHECK(!jwt_verify(&a, k, NULL, strbuf_str(&token), &claims, &err));
        CHECK_STR(str_of(err.text), str_of(rows[i].want));
    }
}
