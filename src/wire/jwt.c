#include "wire/jwt.h"
#include "sys/crypto.h"
#include "wire/json.h"

#define HEADER_MOST 1024 /* bytes, decoded */

bool jwt_sign(const struct cert_key *k, struct str kid, struct str claims, struct strbuf *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf header = STRBUF(HEADER_MOST), token = STRBUF(JWT_MOST);
    strbuf_addz(&header, "{\"alg\":\"ES256\"");
    if (kid.n) {
        strbuf_addz(&header, ",\"kid\":");
        json_add_string(&header, kid);
    }
    strbuf_addz(&header, ",\"typ\":\"JWT\"}");
    if (header.over)
        return err_set(err, E_TOO_LARGE, "token: the key id is over its limit");
    strbuf_add_base64url(&token, header.p, header.n);
    strbuf_addc(&token, '.');
    strbuf_add_base64url(&token, claims.p, claims.n);
    uint8_t signature[ES256_SIZE];
    if (!key_sign(k, strbuf_str(&token), signature, err))
        return err_wrap(err, "token");
    strbuf_addc(&token, '.');
    strbuf_add_base64url(&token, signature, sizeof signature);
    if (token.over)
        return err_set(err, E_TOO_LARGE, "token: over %d bytes", JWT_MOST);
    strbuf_add(out, strbuf_str(&token));
    return true;
}

struct jwt_parts {
    struct str header, claims, signature, signed_text;
};

static bool token_cut(struct str token, struct jwt_parts *p, struct err *err)
{
    struct str rest;
    if (token.n > JWT_MOST)
        return err_set(err, E_UNAUTHORIZED, "token: over %d bytes", JWT_MOST);
    if (!str_split(token, '.', &p->header, &rest) || !str_split(rest, '.', &p->claims, &p->signature) ||
        str_find_char(p->signature, '.') >= 0)
        return err_set(err, E_UNAUTHORIZED, "token: not three parts between dots");
    p->signed_text = str_sub(token, 0, p->header.n + 1 + p->claims.n);
    return true;
}

/* The header's say on the algorithm; "crit" names extensions that must be understood, and none is. */
static bool read_header(struct arena *a, struct str encoded, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(HEADER_MOST);
    if (!strbuf_add_unbase64url(&text, encoded) || text.over || !json_check(strbuf_str(&text), err))
        return err_set(err, E_UNAUTHORIZED, "token: malformed header");
    struct json j = json_of(strbuf_str(&text));
    if (json_type(&j) != JSON_OBJECT)
        return err_set(err, E_UNAUTHORIZED, "token: malformed header");
    struct str alg = S("");
    bool crit = false;
    for (json_enter(&j); json_more(&j);) {
        struct str key = json_key(&j, a);
        bool is_string = json_type(&j) == JSON_STRING;
        crit |= str_eq(key, S("crit"));
        if (is_string && str_eq(key, S("alg")))
            alg = json_string(&j, a);
        else
            (void)json_skip(&j);
    }
    if (!str_eq(alg, S("ES256")))
        return err_set(err, E_UNAUTHORIZED, "token: signed with \"" STR_FMT "\", want ES256", STR_ARG(alg));
    if (crit)
        return err_set(err, E_UNAUTHORIZED, "token: its header has critical extensions, and none is known here");
    return true;
}

static bool signature_is_good(const struct cert_key *k, const struct jwt_parts *p)
{
    AUTO(strbuf_fini) struct strbuf signature = STRBUF(256);
    return strbuf_add_unbase64url(&signature, p->signature) && key_verify(k, p->signed_text, strbuf_str(&signature));
}

/* The whole token is what is remembered, so one that differs in a byte is not found. */
static bool seen_before(const struct cert_key *k, struct jwt_seen *seen, struct str token, const struct jwt_parts *p)
{
    uint8_t digest[SHA256_SIZE];
    static const uint8_t none[SHA256_SIZE];
    sha256_of(token, digest);
    uint8_t *slot = seen->good[digest[0]];
    if (memcmp(slot, digest, sizeof digest) == 0 && memcmp(digest, none, sizeof digest) != 0)
        return true;
    if (!signature_is_good(k, p))
        return false;
    memcpy(slot, digest, sizeof digest);
    return true;
}

bool jwt_verify(struct arena *a, const struct cert_key *k, struct jwt_seen *seen, struct str token,
                struct str *claims, struct err *err)
{
    struct jwt_parts p;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(JWT_MOST);
    if (!token_cut(token, &p, err) || !read_header(a, p.header, err))
        return false;
    if (!(seen ? seen_before(k, seen, token, &p) : signature_is_good(k, &p)))
        return err_set(err, E_UNAUTHORIZED, "token: the signature is not good");
    if (!strbuf_add_unbase64url(&text, p.claims) || text.over || !json_check(strbuf_str(&text), err))
        return err_set(err, E_UNAUTHORIZED, "token: malformed claims");
    *claims = str_dup(a, strbuf_str(&text));
    return true;
}
