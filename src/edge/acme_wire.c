#include "edge/acme_wire.h"
#include "wire/json.h"
#include <arpa/inet.h>

#define DER_MOST (64 << 10)

static void json_pair(struct strbuf *b, const char *key, struct str value)
{
    json_add_string(b, str_of(key));
    strbuf_addc(b, ':');
    json_add_string(b, value);
}

/* The three parts of a flattened JWS; signed by the key, or with a MAC. */
static bool jws_flat(const struct jws_key *k, struct str header, struct str payload, struct strbuf *out,
                     struct err *err)
{
    AUTO(strbuf_fini) struct strbuf input = STRBUF(ACME_LINE_MOST), signature = STRBUF(4096);
    strbuf_add_base64url(&input, header.p, header.n);
    size_t dot = input.n;
    strbuf_addc(&input, '.');
    strbuf_add_base64url(&input, payload.p, payload.n);
    if (!jws_sign(k, strbuf_str(&input), &signature, err))
        return false;
    struct str text = strbuf_str(&input);
    strbuf_addz(out, "{\"protected\":\"");
    strbuf_add(out, str_sub(text, 0, dot));
    strbuf_addz(out, "\",\"payload\":\"");
    strbuf_add(out, str_sub(text, dot + 1, text.n));
    strbuf_addz(out, "\",\"signature\":\"");
    strbuf_add_base64url(out, signature.p, signature.n);
    strbuf_addz(out, "\"}");
    return (!input.over && !out->over) ||
           err_set(err, E_TOO_LARGE, "a request of more than %d bytes", ACME_LINE_MOST);
}

bool acme_jws(const struct jws_key *k, struct str account, struct str nonce, struct str url, struct str payload,
              struct strbuf *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf header = STRBUF(STRBUF_TEXT);
    strbuf_addf(&header, "{\"alg\":\"%s\",", jws_alg(k));
    if (account.n) {
        json_pair(&header, "kid", account);
    } else {
        strbuf_addz(&header, "\"jwk\":");
        jws_jwk(k, &header);
    }
    if (nonce.n) {
        strbuf_addc(&header, ',');
        json_pair(&header, "nonce", nonce);
    }
    strbuf_addc(&header, ',');
    json_pair(&header, "url", url);
    strbuf_addc(&header, '}');
    return jws_flat(k, strbuf_str(&header), payload, out, err);
}

void acme_payload_account(struct arena *a, const struct acme_request *r, struct str binding, struct strbuf *out)
{
    strbuf_addz(out, "{\"termsOfServiceAgreed\":true");
    if (r->existing)
        strbuf_addz(out, ",\"onlyReturnExisting\":true");
    strbuf_addz(out, ",\"contact\":[");
    if (r->email.n)
        json_add_string(out, arena_fmt(a, "mailto:" STR_FMT, STR_ARG(r->email)));
    strbuf_addc(out, ']');
    if (binding.n) {
        strbuf_addz(out, ",\"externalAccountBinding\":");
        strbuf_add(out, binding);
    }
    strbuf_addc(out, '}');
}

bool acme_binding(const struct jws_key *k, const struct acme_request *r, struct str url, struct strbuf *out,
                  struct err *err)
{
    static const struct {
        const char *alg;
        enum mac mac;
    } algs[] = {{"HS256", MAC_SHA256}, {"HS384", MAC_SHA384}, {"HS512", MAC_SHA512}};
    AUTO(strbuf_fini)
    struct strbuf secret = STRBUF(4096), header = STRBUF(STRBUF_TEXT), jwk = STRBUF(STRBUF_TEXT),
                  input = STRBUF(STRBUF_TEXT);
    size_t i = 0;
    while (i < countof(algs) && !str_eqz(r->eab_alg.n ? r->eab_alg : S("HS256"), algs[i].alg))
        i++;
    if (i == countof(algs))
        return err_set(err, E_INVALID, "externalAccountBinding: the algorithm is HS256, HS384 or HS512");
    if (!strbuf_add_unbase64url(&secret, r->eab_key) || secret.over || !secret.n)
        return err_set(err, E_INVALID, "externalAccountBinding: the key is not base64url");
    strbuf_addf(&header, "{\"alg\":\"%s\",", algs[i].alg);
    json_pair(&header, "kid", r->eab_kid);
    strbuf_addc(&header, ',');
    json_pair(&header, "url", url);
    strbuf_addc(&header, '}');
    jws_jwk(k, &jwk);
    strbuf_addz(out, "{\"protected\":\"");
    strbuf_add_base64url(&input, header.p, header.n);
    strbuf_add(out, strbuf_str(&input));
    strbuf_addz(out, "\",\"payload\":\"");
    strbuf_add_base64url(out, jwk.p, jwk.n);
    strbuf_addc(&input, '.');
    strbuf_add_base64url(&input, jwk.p, jwk.n);
    uint8_t mac[MAC_MOST];
    size_t n = hmac_of(algs[i].mac, strbuf_str(&secret), strbuf_str(&input), mac);
    mem_wipe(secret.p, secret.n);
    strbuf_addz(out, "\",\"signature\":\"");
    strbuf_add_base64url(out, mac, n);
    strbuf_addz(out, "\"}");
    return !(header.over || input.over) || err_set(err, E_TOO_LARGE, "externalAccountBinding: too long");
}

bool acme_payload_rekey(const struct jws_key *old, const struct jws_key *new_key, struct str account, struct str url,
                        struct strbuf *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf payload = STRBUF(STRBUF_TEXT);
    strbuf_addc(&payload, '{');
    json_pair(&payload, "account", account);
    strbuf_addz(&payload, ",\"oldKey\":");
    jws_jwk(old, &payload);
    strbuf_addc(&payload, '}');
    return acme_jws(new_key, S(""), S(""), url, strbuf_str(&payload), out, err);
}

void acme_payload_order(const struct acme_request *r, struct strbuf *out)
{
    strbuf_addz(out, "{\"identifiers\":[");
    for (size_t i = 0; i < r->nidentifiers; i++) {
        strbuf_addz(out, i ? ",{" : "{");
        json_pair(out, "type", r->identifiers[i].ip ? S("ip") : S("dns"));
        strbuf_addc(out, ',');
        json_pair(out, "value", r->identifiers[i].value);
        strbuf_addc(out, '}');
    }
    strbuf_addc(out, ']');
    const struct {
        const char *key;
        struct str value;
    } more[] = {{"notAfter", r->not_after}, {"profile", r->profile}, {"replaces", r->replaces}};
    for (size_t i = 0; i < countof(more); i++) {
        if (!more[i].value.n)
            continue;
        strbuf_addc(out, ',');
        json_pair(out, more[i].key, more[i].value);
    }
    strbuf_addc(out, '}');
}

/* The first block of a PEM as base64url, which is what PEM has between its lines, in another alphabet. */
static bool pem_add_der(struct str pem, struct strbuf *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(DER_MOST), der = STRBUF(DER_MOST);
    struct str line;
    bool inside = false, ended = false;
    while (!ended && str_cut(&pem, '\n', &line)) {
        line = str_trim(line);
        if (str_starts(line, S("-----BEGIN ")))
            inside = true;
        else if (inside && str_starts(line, S("-----END ")))
            ended = true;
        else if (inside)
            strbuf_add(&text, line);
    }
    if (!ended || !text.n || !strbuf_add_unbase64(&der, strbuf_str(&text)) || text.over || der.over)
        return err_set(err, E_INVALID, "it is not PEM, or over %d bytes", DER_MOST);
    strbuf_add_base64url(out, der.p, der.n);
    return true;
}

bool acme_payload_finalize(struct str csr, struct strbuf *out, struct err *err)
{
    strbuf_addz(out, "{\"csr\":\"");
    if (!pem_add_der(csr, out, err))
        return err_wrap(err, "the certificate request");
    strbuf_addz(out, "\"}");
    return true;
}

bool acme_payload_revoke(struct str certificate, int64_t reason, struct strbuf *out, struct err *err)
{
    strbuf_addz(out, "{\"certificate\":\"");
    if (!pem_add_der(certificate, out, err))
        return err_wrap(err, "the certificate");
    strbuf_addf(out, "\",\"reason\":%lld}", (long long)reason);
    return true;
}

struct str acme_sni(struct arena *a, struct str host)
{
    uint8_t p[16];
    AUTO_FREE char *z = str_dupz(host);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(128);
    if (inet_pton(AF_INET, z, p) == 1)
        return arena_fmt(a, "%u.%u.%u.%u.in-addr.arpa", p[3], p[2], p[1], p[0]);
    if (inet_pton(AF_INET6, z, p) != 1)
        return host;
    for (int i = 15; i >= 0; i--)
        strbuf_addf(&b, "%x.%x.", p[i] & 15u, p[i] >> 4);
    strbuf_addz(&b, "ip6.arpa");
    return str_dup(a, strbuf_str(&b));
}
