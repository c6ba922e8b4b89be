#include "api/codec.h"
#include "base/clock.h"
#include "edge/acme_wire.h"
#include "sys/cert.h"
#include "wire/json.h"

#define TOKEN_MOST  512 /* bytes; of a nonce, too */
#define VALUES_MOST 20000
#define RETRY_MOST  (31 * 86400)
#define CERTS_MOST  16
#define SAID_MOST   600 /* bytes of a stranger's words in a sentence of ours */
#define PAGE_MOST   160 /* of a page that is no problem document */
#define ERROR_URN   "urn:ietf:params:acme:error:"

bool acme_url_ok(struct str url)
{
    if (url.n > ACME_URL_MOST || url.n < sizeof "https://x" - 1 || !str_starts(url, S("https://")))
        return false;
    for (size_t i = 0; i < url.n; i++)
        if (url.p[i] <= ' ' || url.p[i] >= 0x7f || url.p[i] == '"' || url.p[i] == '\\')
            return false;
    return true;
}

bool acme_base64url_ok(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return s.n && s.n <= TOKEN_MOST;
}

static bool object_read(struct arena *a, struct str text, struct val *v, const char *what, struct err *err)
{
    struct err bad = ERR;
    if (text.n > ACME_TEXT_MOST)
        return err_set(err, E_TOO_LARGE, "%s is over %d bytes", what, ACME_TEXT_MOST);
    if (json_values(text) > VALUES_MOST)
        return err_set(err, E_TOO_LARGE, "%s has more than %d values", what, VALUES_MOST);
    if (!json_decode(a, text, v, &bad) || !val_is(v, VAL_MAP))
        return err_set(err, E_INVALID, "%s is no JSON object: %s", what, bad.kind ? bad.text : "it is another value");
    return true;
}

static struct str member_text(const struct val *v, const char *key)
{
    return val_text(val_get_str(v, str_of(key)));
}

/* A URL that must be one of https where it is there at all. */
static bool member_url(const struct val *v, const char *key, const char *what, struct str *out, struct err *err)
{
    *out = member_text(v, key);
    return !out->n || acme_url_ok(*out) ||
           err_set(err, E_INVALID, "%s: %s is no URL of https: \"%.*s\"", what, key, (int)MIN(out->n, 100u), out->p);
}

/* Words for a status field: one line, no bytes that a terminal obeys, not too long. */
static struct str words_of(struct arena *a, struct str s)
{
    AUTO(strbuf_fini) struct strbuf shown = STRBUF(STRBUF_TEXT);
    bool cut = s.n > SAID_MOST;
    size_t n = cut ? SAID_MOST : s.n;
    while (cut && n && ((uint8_t)s.p[n] & 0xc0) == 0x80)
        n--;
    strbuf_add_shown(&shown, str_sub(s, 0, n));
    for (size_t i = 0; i < shown.n; i++)
        if ((uint8_t)shown.p[i] < ' ')
            shown.p[i] = ' ';
    strbuf_addz(&shown, cut ? " ..." : "");
    return str_dup(a, str_trim(strbuf_str(&shown)));
}

bool acme_directory_read(struct arena *a, struct str text, struct acme_directory *out, struct err *err)
{
    struct val v;
    *out = (struct acme_directory){0};
    if (!object_read(a, text, &v, "the directory", err))
        return false;
#define X(name)                                                                                                      \
    if (!member_url(&v, #name, "the directory", &out->name, err))                                                    \
        return false;
    ACME_PLACES(X)
#undef X
    if (!out->newNonce.n || !out->newAccount.n || !out->newOrder.n)
        return err_set(err, E_INVALID,
                       "it is no directory of ACME (RFC 8555): newNonce, newAccount or newOrder is missing");
    const struct val *meta = val_get_str(&v, S("meta"));
    out->terms = words_of(a, member_text(meta, "termsOfService"));
    out->eab_required = val_true(val_get_str(meta, S("externalAccountRequired")));
    AUTO(strbuf_fini) struct strbuf list = STRBUF(1024);
    val_each_member (m, val_get_str(meta, S("profiles"))) {
        strbuf_addz(&list, list.n ? ", " : "");
        strbuf_add(&list, words_of(a, m->name->s));
    }
    out->profiles = str_dup(a, strbuf_str(&list));
    return true;
}

/* "429 urn:ietf:params:acme:error:rateLimited: too many certificates ...", as Go's client words it. */
static struct str problem_words(struct arena *a, const struct val *v, int64_t http)
{
    struct str type = words_of(a, member_text(v, "type")), detail = words_of(a, member_text(v, "detail"));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(sizeof((struct err *)0)->text);
    if (http)
        strbuf_addf(&b, "%lld ", (long long)http);
    strbuf_addf(&b, STR_FMT ": " STR_FMT, STR_ARG(type), STR_ARG(detail));
    val_each_item (sub, val_get_str(v, S("subproblems"))) {
        struct str who = words_of(a, member_text(val_get_str(sub, S("identifier")), "value"));
        struct str said = words_of(a, member_text(sub, "detail"));
        if (b.n + who.n + said.n + 8 < b.max)
            strbuf_addf(&b, "; " STR_FMT "%s" STR_FMT, STR_ARG(who), who.n ? ": " : "", STR_ARG(said));
    }
    return str_dup(a, strbuf_str(&b));
}

static enum err_kind kind_of_status(int http)
{
    switch (http) {
    case 401: return E_UNAUTHORIZED;
    case 403: return E_FORBIDDEN;
    case 404: return E_NOT_FOUND;
    case 409: return E_CONFLICT;
    case 429: return E_TOO_MANY_REQUESTS;
    default: return http >= 500 ? E_UNAVAILABLE : E_BAD_REQUEST;
    }
}

void acme_problem_read(struct arena *a, struct str text, int http, struct acme_answer *out)
{
    struct val v = VAL_NONE;
    struct err bad = ERR;
    out->http = http;
    bool read = object_read(a, text, &v, "the answer", &bad);
    struct str type = read ? member_text(&v, "type") : S("");
    if (!type.n) {
        struct str said = words_of(a, str_sub(text, 0, PAGE_MOST));
        (void)err_set(&out->err, kind_of_status(http), "%d%s" STR_FMT, http, said.n ? ": " : " without a word",
                      STR_ARG(said));
        return;
    }
    out->type = words_of(a, str_starts(type, S(ERROR_URN)) ? str_sub(type, sizeof ERROR_URN - 1, type.n) : type);
    (void)err_set(&out->err, str_eqz(out->type, "rateLimited") ? E_TOO_MANY_REQUESTS : kind_of_status(http), STR_FMT,
                  STR_ARG(problem_words(a, &v, http)));
}

static bool status_ok(struct str s)
{
    static const char *const all[] = {"pending",     "ready",   "processing", "valid",
                                      "deactivated", "expired", "invalid",    "revoked"};
    for (size_t i = 0; i < countof(all); i++)
        if (str_eqz(s, all[i]))
            return true;
    return false;
}

bool acme_order_read(struct arena *a, struct str text, struct acme_order *out, struct err *err)
{
    struct val v;
    *out = (struct acme_order){0};
    if (!object_read(a, text, &v, "the order", err) ||
        !member_url(&v, "finalize", "the order", &out->finalize, err) ||
        !member_url(&v, "certificate", "the order", &out->certificate, err))
        return false;
    out->status = member_text(&v, "status");
    out->expires = words_of(a, member_text(&v, "expires"));
    if (!status_ok(out->status) || !out->finalize.n)
        return err_set(err, E_INVALID, "the order has no status, or no place to finalize it");
    const struct val *problem = val_get_str(&v, S("error"));
    if (val_is(problem, VAL_MAP))
        out->error = problem_words(a, problem, val_num(val_get_str(problem, S("status")), 0));
    const struct val *list = val_get_str(&v, S("authorizations"));
    if (val_len(list) > ACME_IDENTIFIERS_MOST)
        return err_set(err, E_TOO_LARGE, "the order has more than %d authorizations", ACME_IDENTIFIERS_MOST);
    out->authorizations = arena_alloc(a, (val_len(list) + 1) * sizeof *out->authorizations);
    val_each_item (item, list) {
        if (!acme_url_ok(val_text(item)))
            return err_set(err, E_INVALID, "the order: an authorization is no URL of https");
        out->authorizations[out->nauthorizations++] = val_text(item);
    }
    return true;
}

static bool challenge_read(struct arena *a, const struct val *v, struct acme_challenge *out, struct err *err)
{
    struct str type = member_text(v, "type");
    *out = (struct acme_challenge){
        .type = type, .status = member_text(v, "status"), .token = member_text(v, "token")};
    if (!member_url(v, "url", "a challenge", &out->url, err))
        return false;
    /* the token becomes part of a path that the door answers */
    if (out->token.n && !acme_base64url_ok(out->token))
        return err_set(err, E_INVALID, "a challenge: its token has letters that none may have");
    const struct val *problem = val_get_str(v, S("error"));
    if (val_is(problem, VAL_MAP))
        out->error = problem_words(a, problem, val_num(val_get_str(problem, S("status")), 0));
    return true;
}

bool acme_authorization_read(struct arena *a, struct str text, struct acme_authorization *out, struct err *err)
{
    struct val v;
    *out = (struct acme_authorization){0};
    if (!object_read(a, text, &v, "an authorization", err))
        return false;
    const struct val *id = val_get_str(&v, S("identifier"));
    struct str type = member_text(id, "type");
    out->status = member_text(&v, "status");
    out->identifier = (struct acme_identifier){str_eqz(type, "ip"), words_of(a, member_text(id, "value"))};
    out->wildcard = val_true(val_get_str(&v, S("wildcard")));
    if (!status_ok(out->status) || !out->identifier.value.n)
        return err_set(err, E_INVALID, "an authorization has no status, or no identifier");
    const struct val *list = val_get_str(&v, S("challenges"));
    size_t n = MIN(val_len(list), ACME_CHALLENGES_MOST);
    out->challenges = arena_alloc(a, (n + 1) * sizeof *out->challenges);
    for (size_t i = 0; i < n; i++) {
        struct acme_challenge *c = &out->challenges[out->nchallenges];
        if (!challenge_read(a, val_item(list, i), c, err))
            return false;
        out->nchallenges += c->url.n && c->token.n && c->type.n && c->type.n < 64;
    }
    return true;
}

bool acme_account_read(struct arena *a, struct str text, struct str *status, struct str *email, struct err *err)
{
    struct val v;
    if (!object_read(a, text, &v, "the account", err))
        return false;
    struct str contact = val_text(val_item(val_get_str(&v, S("contact")), 0));
    *status = words_of(a, member_text(&v, "status"));
    *email = str_starts(contact, S("mailto:")) ? words_of(a, str_sub(contact, 7, contact.n)) : S("");
    return true;
}

bool acme_renewal_read(struct arena *a, struct str text, struct acme_answer *out, struct err *err)
{
    struct val v;
    int64_t start, end;
    if (!object_read(a, text, &v, "the renewal information", err))
        return false;
    const struct val *window = val_get_str(&v, S("suggestedWindow"));
    struct str from = member_text(window, "start"), to = member_text(window, "end");
    if (!time_parse(from, &start) || !time_parse(to, &end) || end <= start)
        return err_set(err, E_INVALID, "the renewal information has no window that begins before it ends");
    out->start = time_text(a, start);
    out->end = time_text(a, end);
    struct str url = member_text(&v, "explanationURL");
    out->explanation = acme_url_ok(url) ? url : S("");
    return true;
}

struct str acme_link(struct str header, struct str rel)
{
    struct str target, rest, parameter;
    header = str_trim(header);
    if (!str_starts(header, S("<")) || !str_split(str_sub(header, 1, header.n), '>', &target, &rest))
        return S("");
    while (str_cut(&rest, ';', &parameter)) {
        struct str key, value;
        parameter = str_trim(parameter);
        if (!str_split(parameter, '=', &key, &value) || !str_ieq(str_trim(key), S("rel")))
            continue;
        value = str_trim(value);
        if (value.n >= 2 && value.p[0] == '"')
            value = str_sub(value, 1, value.n - 1);
        if (str_eq(value, rel))
            return target;
    }
    return S("");
}

/* "Tue, 24 Nov 2026 10:00:00 GMT" (RFC 9110 5.6.7), as RFC 3339 would have it. */
static bool http_date(struct str s, int64_t *ns)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (s.n != 29 || !str_ends(s, S(" GMT")))
        return false;
    int month = 0;
    while (month < 12 && memcmp(months + month * 3, s.p + 8, 3) != 0)
        month++;
    char iso[32];
    (void)snprintf(iso, sizeof iso, "%.4s-%02d-%.2sT%.8sZ", s.p + 12, month + 1, s.p + 5, s.p + 17);
    return month < 12 && time_parse(str_of(iso), ns);
}

int64_t acme_retry_after(struct str header, int64_t now)
{
    uint64_t seconds;
    int64_t at;
    header = str_trim(header);
    if (str_to_u64(header, UINT64_MAX, &seconds))
        return (int64_t)MIN(seconds, (uint64_t)RETRY_MOST);
    if (!http_date(header, &at) || at <= now)
        return 0;
    return MIN((at - now) / NS_PER_S + 1, RETRY_MOST);
}

/* Cuts the next certificate off a chain. False: no further one. */
static bool pem_cut(struct str *rest, struct str *one)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----", end[] = "-----END CERTIFICATE-----";
    ptrdiff_t from = str_find(*rest, str_of(begin));
    if (from < 0)
        return false;
    *rest = str_sub(*rest, (size_t)from, rest->n);
    ptrdiff_t to = str_find(*rest, str_of(end));
    if (to < 0)
        return false;
    *one = str_sub(*rest, 0, (size_t)to + sizeof end - 1);
    *rest = str_sub(*rest, (size_t)to + sizeof end - 1, rest->n);
    return true;
}

bool acme_chain_leads(struct arena *a, struct str pem, struct str authority)
{
    struct str one, last = S("");
    struct cert_info info;
    struct err ignored = ERR; /* what cannot be read leads nowhere */
    while (pem_cut(&pem, &one))
        last = one;
    return last.n && cert_read(a, last, &info, &ignored) && str_eq(info.issuer_cn, authority);
}

size_t acme_chain_check(struct arena *a, struct str pem)
{
    struct str one;
    struct cert_info info;
    struct err ignored = ERR; /* it is no certificate: that is the answer */
    size_t n = 0;
    while (pem_cut(&pem, &one)) {
        if (++n > CERTS_MOST || !cert_read(a, one, &info, &ignored))
            return 0;
    }
    return str_trim(pem).n ? 0 : n;
}
