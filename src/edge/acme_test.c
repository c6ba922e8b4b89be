#include "base/clock.h"
#include "base/test.h"
#include "edge/acme_dns.h"
#include "edge/acme_wire.h"
#include "sys/cert.h"

static void refusal_add(struct strbuf *out, bool ok, const struct err *err)
{
    if (!ok)
        strbuf_addf(out, "refused: %s\n", err->text);
}

static void line_add(struct strbuf *out, const char *key, struct str value)
{
    if (value.n)
        strbuf_addf(out, "%s " STR_FMT "\n", key, STR_ARG(value));
}

static void directory_case(struct arena *a, struct str text, struct strbuf *out)
{
    struct acme_directory d;
    struct err err = ERR;
    bool ok = acme_directory_read(a, text, &d, &err);
    refusal_add(out, ok, &err);
    if (!ok)
        return;
    line_add(out, "newOrder", d.newOrder);
    line_add(out, "renewalInfo", d.renewalInfo);
    line_add(out, "terms", d.terms);
    line_add(out, "profiles", d.profiles);
    strbuf_addz(out, d.eab_required ? "external account required\n" : "");
}

static void order_case(struct arena *a, struct str text, struct strbuf *out)
{
    struct acme_order o;
    struct err err = ERR;
    bool ok = acme_order_read(a, text, &o, &err);
    refusal_add(out, ok, &err);
    if (!ok)
        return;
    line_add(out, "status", o.status);
    line_add(out, "certificate", o.certificate);
    line_add(out, "error", o.error);
    for (size_t i = 0; i < o.nauthorizations; i++)
        line_add(out, "authorization", o.authorizations[i]);
}

static void authorization_case(struct arena *a, struct str text, struct strbuf *out)
{
    struct acme_authorization z;
    struct err err = ERR;
    bool ok = acme_authorization_read(a, text, &z, &err);
    refusal_add(out, ok, &err);
    if (!ok)
        return;
    strbuf_addf(out, "%s " STR_FMT "%s\n", z.identifier.ip ? "ip" : "dns", STR_ARG(z.identifier.value),
                z.wildcard ? " and all below" : "");
    for (size_t i = 0; i < z.nchallenges; i++)
        strbuf_addf(out, STR_FMT " " STR_FMT " " STR_FMT "\n", STR_ARG(z.challenges[i].type),
                    STR_ARG(z.challenges[i].token), STR_ARG(z.challenges[i].error));
}

static void problem_case(struct arena *a, struct str text, struct strbuf *out)
{
    struct acme_answer r = {0};
    struct str status, rest;
    uint64_t http = 0;
    CHECK(str_split(text, ' ', &status, &rest) && str_to_u64(status, 599, &http));
    acme_problem_read(a, rest, (int)http, &r);
    strbuf_addf(out, "%s (" STR_FMT ") %s\n", err_reason(r.err.kind), STR_ARG(r.type), r.err.text);
}

static void payload_case(struct arena *a, struct str text, struct strbuf *out)
{
    struct acme_request r;
    struct err err = ERR;
    CHECK_OK(acme_request_decode(a, text, &r, &err), err);
    acme_payload_account(a, &r, S(""), out);
    strbuf_addc(out, '\n');
    acme_payload_order(&r, out);
    strbuf_addc(out, '\n');
}

/* The first word of a case says what its rest is. */
static void acme_case(struct str input, struct strbuf *out)
{
    static const struct {
        const char *word;
        void (*run)(struct arena *a, struct str text, struct strbuf *out);
    } runs[] = {{"directory", directory_case},
                {"order", order_case},
                {"authorization", authorization_case},
                {"problem", problem_case},
                {"payload", payload_case}};
    AUTO(arena_fini) struct arena a = ARENA;
    struct str word, rest;
    CHECK(str_split(input, ' ', &word, &rest));
    for (size_t i = 0; i < countof(runs); i++)
        if (str_eqz(word, runs[i].word))
            runs[i].run(&a, str_trim(rest), out);
    CHECK(out->n);
}

TEST(acme_reads_and_says)
{
    test_transcript("tests/edge/acme.txt", acme_case);
}

TEST(acme_retry_after_is_seconds_or_a_date)
{
    int64_t now;
    CHECK(time_parse(S("2026-11-24T10:00:00Z"), &now));
    CHECK_INT(acme_retry_after(S(" 120"), now), 120);
    CHECK_INT(acme_retry_after(S("Tue, 24 Nov 2026 10:00:30 GMT"), now), 31);
    CHECK_INT(acme_retry_after(S("Tue, 24 Nov 2026 09:00:30 GMT"), now), 0);
    CHECK_INT(acme_retry_after(S("99999999999"), now), 31 * 86400);
    CHECK_INT(acme_retry_after(S("soon"), now), 0);
    CHECK_INT(acme_retry_after(S("-5"), now), 0);
}

TEST(acme_links)
{
    CHECK_STR(acme_link(S("<https://a/c/1>;rel=\"alternate\""), S("alternate")), S("https://a/c/1"));
    CHECK_STR(acme_link(S(" <https://a/c/1>; title=x; rel=alternate"), S("alternate")), S("https://a/c/1"));
    CHECK_STR(acme_link(S("<https://a/dir>;rel=\"index\""), S("alternate")), S(""));
    CHECK_STR(acme_link(S("<https://a/dir"), S("alternate")), S(""));
}

TEST(acme_addresses_are_asked_for_by_their_reverse_names)
{
    AUTO(arena_fini) struct arena a = ARENA;
    CHECK_STR(acme_sni(&a, S("shop.example.org")), S("shop.example.org"));
    CHECK_STR(acme_sni(&a, S("192.0.2.1")), S("1.2.0.192.in-addr.arpa"));
    CHECK_STR(acme_sni(&a, S("2001:db8::1")),
              S("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"));
}

TEST(acme_urls_are_https)
{
    CHECK(acme_url_ok(S("https://a/b?c=d")));
    CHECK(!acme_url_ok(S("http://a/b")) && !acme_url_ok(S("https://a/b c")) &&
          !acme_url_ok(S("file:///etc/passwd")) && !acme_url_ok(S("https://a/\n")) && !acme_url_ok(S("")));
}

TEST(acme_jws_names_its_key_once)
{
    struct err err = ERR;
    AUTO(key_free) struct cert_key *key = key_new();
    AUTO(strbuf_fini) struct strbuf pem = STRBUF(4096), a = STRBUF(8192), b = STRBUF(8192), head = STRBUF(8192);
    key_pem(key, &pem);
    AUTO(jws_key_free) struct jws_key *k = jws_key_parse(strbuf_str(&pem), &err);
    CHECK_OK(acme_jws(k, S(""), S("n1"), S("https://a/b"), S("{}"), &a, &err), err);
    CHECK_OK(acme_jws(k, S("https://a/k"), S("n1"), S("https://a/b"), S(""), &b, &err), err);
    CHECK(str_has(strbuf_str(&a), S("\"payload\":\"e30\"")) && str_has(strbuf_str(&b), S("\"payload\":\"\"")));
    struct str text = strbuf_str(&b), head64, rest;
    CHECK(str_split(str_sub(text, sizeof "{\"protected\":\"" - 1, text.n), '"', &head64, &rest));
    CHECK(strbuf_add_unbase64url(&head, head64));
    CHECK_STR(strbuf_str(&head),
              S("{\"alg\":\"ES256\",\"kid\":\"https://a/k\",\"nonce\":\"n1\",\"url\":\"https://a/b\"}"));
}

TEST(acme_answers_of_a_dead_job_are_errors)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct acme_answer r;
    acme_answer_decode(&a, S("{\"status\":\"val"), &r);
    CHECK_STR(str_of(r.err.text), S("wherry-job ended without an answer"));
    acme_answer_decode(&a, S(""), &r);
    CHECK(r.err.kind == E_INTERNAL);
}

/* An update that is signed; the answer is what the server would sign, made of the same parts. */
TEST(dns_updates_are_signed)
{
    struct tsig_key k;
    struct err err = ERR;
    struct dns_name zone, owner;
    uint8_t p[DNS_UPDATE_MOST], mac[MAC_MOST];
    size_t nmac;
    CHECK(dns_name_parse(S("example.org"), &zone) && dns_name_parse(S("_acme-challenge.example.org"), &owner));
    CHECK_OK(tsig_key_parse(S("Key.Example.org."), S("HMACSHA512"), S("c2VjcmV0IG9mIDE2IGJ5dGVz"), &k, &err), err);
    size_t n = dns_update_write(p, 0x1234, &zone, &owner, S("value"), true);
    CHECK_INT(n, 12 + 13 + 4 + 29 + 10 + 6);
    size_t signed_n = tsig_sign(p, n, &k, 1800000000, mac, &nmac);
    CHECK(signed_n > n && nmac == 64 && p[11] == 1);
    p[2] |= 0x80; /* what comes back with our own signature is not the server's */
    CHECK(!dns_update_answer(p, signed_n, 0x1234, &k, mac, nmac, 1800000000, &err));
    CHECK_STR(str_of(err.text), S("the answer to the update does not carry a good TSIG signature"));
    p[3] |= 5;
    CHECK(!dns_update_answer(p, signed_n, 0x1234, &k, mac, nmac, 1800000000, &err));
    CHECK_STR(str_of(err.text), S("the update is refused: REFUSED"));
    CHECK(!tsig_key_parse(S("k"), S("GSS-TSIG"), S("c2VjcmV0"), &k, &err));
    CHECK(!tsig_key_parse(S("k"), S("HMACMD5"), S("not base64!"), &k, &err));
}
