#include "base/clock.h"
#include "edge/acme_int.h"
#include "wire/json.h"
#include <curl/curl.h>
#include <errno.h>
#include <poll.h>

#define NONCE_TRIES  24 /* a server may refuse each nonce once with some chance */
#define CONNECT_MS   10000L
#define REQUEST_MS   30000L /* of one request, from its begin to the end of its answer */
#define RUN_MS       120000 /* of all of a step */
#define REDIRECTS    3L
#define PROCESSING   6 /* looks at an order that the server works on, before the step leaves it for later */
#define PAUSE_MOST_S 5
#define PAUSE_MS     100 /* doubled with each look */
#define ALTERNATES   4
#define HOST_FMT     "%.*s"

struct acme_run {
    CURL *curl;
    struct arena *a;
    const struct acme_request *r;
    struct acme_answer *out;
    struct acme_directory dir;
    struct jws_key *key;
    struct str nonce;
    int64_t until;
    /* the answer to the request that was made last */
    long status;
    struct strbuf body;
    struct str location;
    int64_t retry_after_s;
    struct str alternates[ALTERNATES];
    size_t nalternates;
    size_t most; /* of the body */
    char problem[CURL_ERROR_SIZE];
};

/* ---- one request ---- */

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct acme_run *x = arg;
    struct str line = {p, size * n}, key, value;
    if (!str_split(line, ':', &key, &value))
        return size * n;
    value = str_trim(value);
    if (str_ieq(key, S("Replay-Nonce"))) {
        x->nonce = acme_base64url_ok(value) ? str_dup(x->a, value) : S("");
    } else if (str_ieq(key, S("Location"))) {
        x->location = acme_url_ok(value) ? str_dup(x->a, value) : S("");
    } else if (str_ieq(key, S("Retry-After"))) {
        x->retry_after_s = acme_retry_after(value, clock_real());
    } else if (str_ieq(key, S("Link")) && x->nalternates < ALTERNATES) {
        struct str url = acme_link(value, S("alternate"));
        if (acme_url_ok(url))
            x->alternates[x->nalternates++] = str_dup(x->a, url);
    }
    return size * n;
}

/* What is beyond the limit ends the transfer: an answer of 64 MB costs as much as the limit. */
static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct acme_run *x = arg;
    if (size * n > x->most - x->body.n)
        return 0;
    strbuf_add(&x->body, (struct str){p, size * n});
    return size * n;
}

static struct str host_of(struct str url)
{
    ptrdiff_t at = str_find(url, S("://"));
    struct str host = str_sub(url, at < 0 ? 0 : (size_t)at + 3, url.n), rest;
    (void)str_split(host, '/', &host, &rest); /* without a path it is all */
    return host;
}

static bool transport_failed(struct acme_run *x, CURLcode rc, struct str url, struct err *err)
{
    struct str host = host_of(url);
    long sys = 0;
    (void)curl_easy_getinfo(x->curl, CURLINFO_OS_ERRNO, &sys);
    switch ((int)rc) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return err_set(err, E_UNAVAILABLE, HOST_FMT ": there is no host of that name in DNS, or DNS does not answer",
                       STR_ARG(host));
    case CURLE_COULDNT_CONNECT:
        return err_set(err, E_UNAVAILABLE, HOST_FMT ": cannot be reached: %s", STR_ARG(host),
                       sys ? strerror((int)sys) : x->problem);
    case CURLE_OPERATION_TIMEDOUT: return err_set(err, E_TIMEOUT, HOST_FMT ": did not answer in time", STR_ARG(host));
    case CURLE_PEER_FAILED_VERIFICATION:
        return err_set(err, E_FORBIDDEN,
                       HOST_FMT ": its certificate is not one to believe (%s); spec.acme.caBundle names other "
                                "authorities",
                       STR_ARG(host), x->problem);
    case CURLE_WRITE_ERROR:
        return err_set(err, E_TOO_LARGE, HOST_FMT ": its answer is over %zu bytes", STR_ARG(host), x->most);
    default:
        return err_set(err, E_UNAVAILABLE, HOST_FMT ": %s", STR_ARG(host),
                       x->problem[0] ? x->problem : curl_easy_strerror(rc));
    }
}

static void options_set(struct acme_run *x)
{
    CURL *c = x->curl;
    const struct acme_request *r = x->r;
    (void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
    (void)curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    (void)curl_easy_setopt(c, CURLOPT_MAXREDIRS, REDIRECTS);
    (void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    (void)curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, REQUEST_MS);
    (void)curl_easy_setopt(c, CURLOPT_USERAGENT, "wherry (ACME client)");
    (void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->problem);
    (void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(c, CURLOPT_HEADERDATA, x);
    (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(c, CURLOPT_WRITEDATA, x);
    if (r->insecure) {
        (void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
        (void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
    } else if (r->ca.n) {
        struct curl_blob blob = {.data = arena_strz(x->a, r->ca), .len = r->ca.n, .flags = CURL_BLOB_NOCOPY};
        (void)curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &blob);
        (void)curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    }
}

enum acme_method { ACME_GET, ACME_HEAD, ACME_POST };
/* True: an answer came, whatever its status. */
static bool url_ask(struct acme_run *x, enum acme_method m, struct str url, struct str body, struct err *err)
{
    struct curl_slist *headers = NULL;
    if (!acme_url_ok(url))
        return err_set(err, E_INVALID, "\"%.*s\" is no URL of https", (int)MIN(url.n, 200u), url.p);
    if (clock_mono() > x->until)
        return err_set(err, E_TIMEOUT, HOST_FMT ": answers too slowly", STR_ARG(host_of(url)));
    strbuf_reset(&x->body);
    x->status = 0;
    x->retry_after_s = 0;
    x->nalternates = 0;
    x->location = S("");
    x->problem[0] = 0;
    curl_easy_reset(x->curl);
    options_set(x);
    (void)curl_easy_setopt(x->curl, CURLOPT_URL, arena_strz(x->a, url));
    (void)curl_easy_setopt(x->curl, CURLOPT_FOLLOWLOCATION, m == ACME_GET ? 1L : 0L);
    (void)curl_easy_setopt(x->curl, CURLOPT_NOBODY, m == ACME_HEAD ? 1L : 0L);
    if (m == ACME_POST) {
        headers = curl_slist_append(headers, "Content-Type: application/jose+json");
        headers = curl_slist_append(headers, "Expect:");
        (void)curl_easy_setopt(x->curl, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(x->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
        (void)curl_easy_setopt(x->curl, CURLOPT_POSTFIELDS, body.p);
    }
    (void)curl_easy_setopt(x->curl, CURLOPT_HTTPHEADER, headers);
    CURLcode rc = curl_easy_perform(x->curl);
    curl_slist_free_all(headers);
    (void)curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &x->status);
    return rc == CURLE_OK || transport_failed(x, rc, url, err);
}

/* What the server did not like becomes the answer's error. */
static bool answer_refused(struct acme_run *x)
{
    acme_problem_read(x->a, strbuf_str(&x->body), (int)x->status, x->out);
    x->out->retry_after_s = x->retry_after_s;
    return false;
}

static bool directory_get(struct acme_run *x)
{
    struct err *err = &x->out->err;
    if (!url_ask(x, ACME_GET, x->r->directory, S(""), err))
        return false;
    if (x->status / 100 != 2)
        return answer_refused(x);
    return acme_directory_read(x->a, strbuf_str(&x->body), &x->dir, err) ||
           err_wrap(err, STR_FMT, STR_ARG(host_of(x->r->directory)));
}

static bool nonce_get(struct acme_run *x)
{
    struct err *err = &x->out->err;
    if (x->nonce.n)
        return true;
    if (!url_ask(x, ACME_HEAD, x->dir.newNonce, S(""), err))
        return false;
    return x->nonce.n || err_set(err, E_UNAVAILABLE, HOST_FMT ": gives no nonce (status %ld)",
                                 STR_ARG(host_of(x->dir.newNonce)), x->status);
}

/* A POST signed by the account's key; "" is POST-as-GET. True for 2xx; other statuses become errors. */
static bool signed_post(struct acme_run *x, struct str url, struct str account, struct str payload)
{
    struct err *err = &x->out->err;
    for (int left = NONCE_TRIES;; left--) {
        AUTO(strbuf_fini) struct strbuf body = STRBUF(ACME_LINE_MOST);
        if (!nonce_get(x) || !acme_jws(x->key, account, x->nonce, url, payload, &body, err))
            return false;
        x->nonce = S(""); /* one is good for once */
        if (!url_ask(x, ACME_POST, url, strbuf_str(&body), err))
            return false;
        if (x->status / 100 == 2)
            return true;
        (void)answer_refused(x);
        if (!str_eqz(x->out->type, "badNonce") || left <= 1)
            return false;
        x->out->err = ERR;
        x->out->type = S("");
        x->out->http = 0;
    }
}

/* As long as the server asked for, or a little longer each time. */
static void pause_for(int64_t retry_after_s, int looks)
{
    int64_t ms = retry_after_s ? MIN(retry_after_s, PAUSE_MOST_S) * 1000 : PAUSE_MS << looks;
    (void)poll(NULL, 0, (int)ms);
}

/* ---- accounts ---- */

static bool account_find(struct acme_run *x, struct str *account, struct str *email)
{
    struct err *err = &x->out->err;
    AUTO(strbuf_fini) struct strbuf payload = STRBUF(STRBUF_TEXT), binding = STRBUF(STRBUF_TEXT);
    if (x->r->eab_kid.n && !acme_binding(x->key, x->r, x->dir.newAccount, &binding, err))
        return false;
    acme_payload_account(x->a, x->r, strbuf_str(&binding), &payload);
    if (!signed_post(x, x->dir.newAccount, S(""), strbuf_str(&payload)))
        return false;
    *account = x->location;
    return acme_account_read(x->a, strbuf_str(&x->body), &x->out->status, email, err) &&
           (account->n || err_set(err, E_INVALID, HOST_FMT ": made an account and does not say where it is",
                                  STR_ARG(host_of(x->dir.newAccount))));
}

static bool step_account(struct acme_run *x)
{
    struct str account = S(""), email = S("");
    if (!account_find(x, &account, &email))
        return false;
    x->out->url = account;
    /* an account that was there already has the contact of that time */
    if (str_eqz(x->out->status, "valid") && !x->r->existing && !str_eq(email, x->r->email)) {
        struct str payload = x->r->email.n
                                 ? arena_fmt(x->a, "{\"contact\":[\"mailto:" STR_FMT "\"]}", STR_ARG(x->r->email))
                                 : S("{\"contact\":[]}");
        if (!signed_post(x, account, account, payload))
            return false;
    }
    x->out->terms = x->dir.terms;
    x->out->profiles = x->dir.profiles;
    x->out->eab_required = x->dir.eab_required;
    x->out->ari = x->dir.renewalInfo.n;
    return str_eqz(x->out->status, "valid") ||
           err_set(&x->out->err, E_FORBIDDEN, "the account is %.*s at the server", STR_ARG(x->out->status));
}

static bool step_rekey(struct acme_run *x)
{
    struct err *err = &x->out->err;
    AUTO(strbuf_fini) struct strbuf payload = STRBUF(STRBUF_TEXT);
    AUTO(jws_key_free) struct jws_key *next = jws_key_parse(x->r->new_key, err);
    if (!next)
        return err_wrap(err, "the new key");
    if (!x->dir.keyChange.n)
        return err_set(err, E_NOT_IMPLEMENTED, "the server changes no keys");
    return acme_payload_rekey(x->key, next, x->r->account, x->dir.keyChange, &payload, err) &&
           signed_post(x, x->dir.keyChange, x->r->account, strbuf_str(&payload));
}

/* ---- orders ---- */

static bool authorization_get(struct acme_run *x, struct str url, struct acme_authorization *z)
{
    if (!signed_post(x, url, x->r->account, S("")))
        return false;
    if (!acme_authorization_read(x->a, strbuf_str(&x->body), z, &x->out->err))
        return false;
    z->url = url;
    return true;
}

static void reason_note(struct acme_run *x, const struct acme_authorization *z)
{
    for (size_t i = 0; i < z->nchallenges && !x->out->why.n; i++)
        if (z->challenges[i].error.n)
            x->out->why = z->challenges[i].error;
}

static bool authorizations_get(struct acme_run *x, const struct acme_order *o)
{
    x->out->authorizations = arena_alloc(x->a, (o->nauthorizations + 1) * sizeof *x->out->authorizations);
    for (size_t i = 0; i < o->nauthorizations; i++) {
        struct acme_authorization *z = &x->out->authorizations[x->out->nauthorizations];
        if (!authorization_get(x, o->authorizations[i], z))
            return false;
        x->out->nauthorizations++;
        reason_note(x, z);
    }
    return true;
}

static bool chain_get(struct acme_run *x, struct str url)
{
    if (!signed_post(x, url, x->r->account, S("")))
        return false;
    if (!acme_chain_check(x->a, strbuf_str(&x->body)))
        return err_set(&x->out->err, E_INVALID, HOST_FMT ": what it hands out as a certificate is none",
                       STR_ARG(host_of(url)));
    x->out->chain = str_dup(x->a, strbuf_str(&x->body));
    return true;
}

/* The chain, or the one of its alternates that leads where it is wanted to. */
static bool chain_choose(struct acme_run *x, struct str url)
{
    struct str urls[ALTERNATES], first;
    x->most = ACME_CHAIN_MOST;
    bool ok = chain_get(x, url);
    size_t n = x->nalternates;
    memcpy(urls, x->alternates, sizeof urls);
    first = x->out->chain;
    for (size_t i = 0; ok && x->r->preferred.n && i < n; i++) {
        if (acme_chain_leads(x->a, x->out->chain, x->r->preferred))
            break;
        ok = chain_get(x, urls[i]);
    }
    if (ok && x->r->preferred.n && !acme_chain_leads(x->a, x->out->chain, x->r->preferred))
        x->out->chain = first; /* none of them does: the one that the server prefers */
    x->most = ACME_TEXT_MOST;
    return ok;
}

static bool order_tell(struct acme_run *x, struct acme_order *o)
{
    x->out->status = o->status;
    x->out->finalize = o->finalize;
    x->out->expires = o->expires;
    x->out->why = o->error;
    if (!str_eqz(o->status, "valid"))
        return true;
    if (!o->certificate.n)
        return err_set(&x->out->err, E_INVALID, "the order is valid, but its certificate has no place");
    return chain_choose(x, o->certificate);
}

static bool order_read(struct acme_run *x, struct acme_order *o)
{
    return acme_order_read(x->a, strbuf_str(&x->body), o, &x->out->err);
}

static bool step_order(struct acme_run *x)
{
    struct acme_order o;
    AUTO(strbuf_fini) struct strbuf payload = STRBUF(ACME_LINE_MOST);
    acme_payload_order(x->r, &payload);
    x->out->url = x->r->url;
    if (!signed_post(x, x->r->url.n ? x->r->url : x->dir.newOrder, x->r->account,
                     x->r->url.n ? S("") : strbuf_str(&payload)))
        return false;
    if (!x->r->url.n)
        x->out->url = x->location;
    if (!x->out->url.n)
        return err_set(&x->out->err, E_INVALID, "the server made an order and does not say where it is");
    x->out->retry_after_s = x->retry_after_s;
    if (!order_read(x, &o) || !order_tell(x, &o))
        return false;
    bool look = str_eqz(o.status, "pending") || str_eqz(o.status, "ready") || str_eqz(o.status, "invalid");
    return !look || authorizations_get(x, &o);
}

static bool step_challenge(struct acme_run *x)
{
    struct acme_authorization z;
    struct acme_answer before = {0};
    bool told = x->r->look || signed_post(x, x->r->url, x->r->account, S("{}"));
    int64_t wait = x->retry_after_s;
    if (!told && (x->out->http / 100 != 4 || x->out->err.kind == E_TOO_MANY_REQUESTS))
        return false;
    if (!told) { /* it may have been told before, by a run whose end nobody saw */
        before = *x->out;
        *x->out = (struct acme_answer){0};
    }
    if (!authorization_get(x, x->r->authorization, &z))
        return false;
    if (!told && str_eqz(z.status, "pending")) {
        *x->out = before;
        return false;
    }
    x->out->retry_after_s = MAX(wait, x->retry_after_s);
    x->out->status = z.status;
    reason_note(x, &z);
    return true;
}

static bool step_finalize(struct acme_run *x)
{
    struct acme_order o;
    AUTO(strbuf_fini) struct strbuf payload = STRBUF(ACME_LINE_MOST);
    if (!acme_payload_finalize(x->r->csr, &payload, &x->out->err) ||
        !signed_post(x, x->r->url, x->r->account, strbuf_str(&payload)) || !order_read(x, &o))
        return false;
    for (int i = 0; i < PROCESSING && str_eqz(o.status, "processing"); i++) {
        pause_for(x->retry_after_s, i);
        if (!signed_post(x, x->r->order, x->r->account, S("")) || !order_read(x, &o))
            return false;
    }
    x->out->retry_after_s = x->retry_after_s;
    return order_tell(x, &o);
}

static bool step_revoke(struct acme_run *x)
{
    AUTO(strbuf_fini) struct strbuf payload = STRBUF(ACME_LINE_MOST);
    if (!x->dir.revokeCert.n)
        return err_set(&x->out->err, E_NOT_IMPLEMENTED, "the server revokes nothing");
    return acme_payload_revoke(x->r->certificate, x->r->reason, &payload, &x->out->err) &&
           signed_post(x, x->dir.revokeCert, x->r->account, strbuf_str(&payload));
}

static bool step_renewal(struct acme_run *x)
{
    struct err *err = &x->out->err;
    if (!x->dir.renewalInfo.n)
        return err_set(err, E_NOT_IMPLEMENTED, "the server does not say when to renew (RFC 9773)");
    bool slash = str_ends(x->dir.renewalInfo, S("/"));
    struct str url = arena_fmt(x->a, STR_FMT "%s" STR_FMT, STR_ARG(x->dir.renewalInfo), slash ? "" : "/",
                               STR_ARG(x->r->ari));
    if (!url_ask(x, ACME_GET, url, S(""), err))
        return false;
    if (x->status / 100 != 2)
        return answer_refused(x);
    x->out->retry_after_s = x->retry_after_s;
    return acme_renewal_read(x->a, strbuf_str(&x->body), x->out, err);
}

static bool step_directory(struct acme_run *x)
{
    x->out->terms = x->dir.terms;
    x->out->profiles = x->dir.profiles;
    x->out->eab_required = x->dir.eab_required;
    x->out->ari = x->dir.renewalInfo.n;
    return true;
}

static bool step_http(struct acme_run *x)
{
    static bool (*const steps[])(struct acme_run *) = {
        [ACME_DIRECTORY] = step_directory, [ACME_ACCOUNT] = step_account,     [ACME_REKEY] = step_rekey,
        [ACME_ORDER] = step_order,         [ACME_CHALLENGE] = step_challenge, [ACME_FINALIZE] = step_finalize,
        [ACME_REVOKE] = step_revoke,       [ACME_RENEWAL] = step_renewal,
    };
    bool keyless = x->r->op == ACME_DIRECTORY || x->r->op == ACME_RENEWAL;
    if (!keyless) {
        x->key = jws_key_parse(x->r->key, &x->out->err);
        if (!x->key)
            return err_wrap(&x->out->err, "the account's key");
    }
    return directory_get(x) && steps[x->r->op](x);
}

void acme_run(struct arena *a, const struct acme_request *r, struct acme_answer *out)
{
    *out = (struct acme_answer){0};
    if (r->op >= ACME_DNS_PRESENT) {
        acme_dns_run(a, r, out);
        return;
    }
    struct acme_run x = {.a = a,
                         .r = r,
                         .out = out,
                         .until = clock_mono() + RUN_MS * NS_PER_MS,
                         .body = STRBUF(ACME_CHAIN_MOST),
                         .most = ACME_TEXT_MOST};
    x.curl = curl_easy_init();
    ASSERT(x.curl);
    if (!step_http(&x) && !out->err.kind)
        (void)err_set(&out->err, E_INTERNAL, "the step failed without a word");
    curl_easy_cleanup(x.curl);
    strbuf_fini(&x.body);
    jws_key_free(x.key);
}
