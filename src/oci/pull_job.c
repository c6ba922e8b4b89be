#include "base/clock.h"
#include "oci/pull.h"
#include "oci/registry.h"
#include "wire/json.h"
#include <curl/curl.h>
#include <errno.h>
#include <poll.h>

#define ACCEPT                                                                                                       \
    "Accept: " MEDIA_OCI_INDEX ", " MEDIA_OCI_MANIFEST ", " MEDIA_DOCKER_LIST ", " MEDIA_DOCKER_MANIFEST ", */*"
#define TOKEN_MAX   (64 << 10)
#define ERROR_MAX   (64 << 10)
#define RETRIES     5
#define BACKOFF_MS  500
#define BACKOFF_MAX 30000
#define STALL_S     60 /* a transfer that brings nothing for so long is dead */
#define REDIRECTS   5L
#define CONNECT_MS  15000L

struct puller {
    CURL *curl;
    struct arena *a;
    const struct pull_request *request;
    struct pull_credential credential; /* the one being tried */
    struct image_name name;
    struct str host; /* registry of the endpoint in use, for messages */
    struct str base;
    char *authorization; /* header line, or NULL */
    bool unchecked;      /* no certificate check */
    int64_t done, total;
    void (*progress)(void *arg, int64_t done, int64_t total);
    void *arg;
};

struct pull_answer {
    struct puller *p;
    long status;
    struct strbuf text;    /* small bodies, and errors */
    struct ingest *ingest; /* where a blob goes */
    int64_t most;          /* of its bytes */
    struct str challenge, digest;
    struct str form; /* posted, where there is one */
    int64_t retry_after_ms;
    bool restarted;
    struct err err;
    char problem[CURL_ERROR_SIZE];
};

/* ---- one request ---- */

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct pull_answer *w = arg;
    struct str line = {p, size * n}, key, value;
    if (str_starts(line, S("HTTP/"))) { /* of a redirect before: forget it */
        w->challenge = w->digest = S("");
        w->retry_after_ms = 0;
        return size * n;
    }
    if (!str_split(line, ':', &key, &value))
        return size * n;
    value = str_trim(value);
    uint64_t seconds;
    if (str_ieq(key, S("WWW-Authenticate"))) /* several are as one with commas between (RFC 9110, 5.3) */
        w->challenge = arena_fmt(w->p->a, STR_FMT "%s" STR_FMT, STR_ARG(w->challenge), w->challenge.n ? ", " : "",
                                 STR_ARG(value));
    else if (str_ieq(key, S("Docker-Content-Digest")))
        w->digest = str_dup(w->p->a, value);
    else if (str_ieq(key, S("Retry-After")) && str_to_u64(value, 3600, &seconds))
        w->retry_after_ms = (int64_t)seconds * 1000;
    return size * n;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct pull_answer *w = arg;
    (void)curl_easy_getinfo(w->p->curl, CURLINFO_RESPONSE_CODE, &w->status);
    if (!w->ingest || w->status / 100 != 2) {
        strbuf_add(&w->text, (struct str){p, size * n});
        return w->text.over && w->status / 100 == 2 ? 0 : size * n;
    }
    /* asked for the rest and got the whole: begin again */
    if (w->status != 206 && w->ingest->size > 0 && !w->restarted) {
        w->p->done -= w->ingest->size;
        if (!ingest_restart(w->ingest, &w->err))
            return 0;
    }
    w->restarted = true;
    if ((int64_t)(size * n) > w->most - w->ingest->size) {
        (void)err_set(&w->err, E_INVALID, "has more bytes than its manifest says (%lld): nothing of it is kept",
                      (long long)w->most);
        return 0;
    }
    if (!ingest_write(w->ingest, p, size * n, &w->err))
        return 0;
    w->p->done += (int64_t)(size * n);
    if (w->p->progress)
        w->p->progress(w->p->arg, w->p->done, w->p->total);
    return size * n;
}

static bool transport_failed(struct pull_answer *w, CURLcode rc, const char *url, struct err *err)
{
    long sys = 0;
    (void)curl_easy_getinfo(w->p->curl, CURLINFO_OS_ERRNO, &sys);
    const char *host = strstr(url, "://") ? strstr(url, "://") + 3 : url;
    int n = (int)strcspn(host, "/");
    if (w->err.kind)
        return *err = w->err, false;
    switch ((int)rc) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return err_set(err, E_UNAVAILABLE, "failed to do request: Get \"%s\": dial tcp: lookup %.*s: no such host",
                       url, (int)strcspn(host, "/:"), host);
    case CURLE_COULDNT_CONNECT:
        return err_set(err, E_UNAVAILABLE, "failed to do request: Get \"%s\": dial tcp %.*s: connect: %s", url, n,
                       host,
                       sys == ECONNREFUSED ? "connection refused"
                       : sys               ? strerror((int)sys)
                                           : w->problem);
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(err, E_TIMEOUT, "failed to do request: Get \"%s\": dial tcp %.*s: i/o timeout", url, n, host);
    case CURLE_PEER_FAILED_VERIFICATION:
        return err_set(err, E_FORBIDDEN, "failed to do request: Get \"%s\": tls: failed to verify certificate: %s",
                       url, w->problem);
    case CURLE_SSL_CONNECT_ERROR:
        return err_set(err, E_UNAVAILABLE, "failed to do request: Get \"%s\": tls: %s", url, w->problem);
    case CURLE_WRITE_ERROR: return err_set(err, E_TOO_LARGE, "Get \"%s\": the answer is too large", url);
    default:
        return err_set(err, E_UNAVAILABLE, "failed to do request: Get \"%s\": %s", url,
                       w->problem[0] ? w->problem : curl_easy_strerror(rc));
    }
}

/* One GET, or POST of w->form. True: an answer came, whatever its status. */
static bool get_once(struct puller *p, const char *url, const char *accept, const char *authorization,
                     struct pull_answer *w, struct err *err)
{
    struct curl_slist *headers = NULL;
    CURL *c = p->curl;
    curl_easy_reset(c);
    strbuf_reset(&w->text);
    w->status = 0;
    w->restarted = false;
    w->problem[0] = 0;
    if (accept)
        headers = curl_slist_append(headers, accept);
    if (authorization)
        headers = curl_slist_append(headers, authorization); /* curl keeps it from other hosts on a redirect */
    (void)curl_easy_setopt(c, CURLOPT_URL, url);
    (void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    (void)curl_easy_setopt(c, CURLOPT_MAXREDIRS, REDIRECTS);
    (void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    (void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
    (void)curl_easy_setopt(c, CURLOPT_USERAGENT, "wherry");
    (void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, w->problem);
    (void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(c, CURLOPT_HEADERDATA, w);
    (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(c, CURLOPT_WRITEDATA, w);
    if (w->form.n)
        (void)curl_easy_setopt(c, CURLOPT_POSTFIELDS, arena_strz(p->a, w->form));
    if (p->unchecked) {
        (void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
        (void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
    } else if (p->request->ca_file.n) {
        (void)curl_easy_setopt(c, CURLOPT_CAINFO, arena_strz(p->a, p->request->ca_file));
    }
    if (w->ingest && w->ingest->size > 0)
        (void)curl_easy_setopt(c, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)w->ingest->size);
    CURLcode rc = curl_easy_perform(c);
    curl_slist_free_all(headers);
    (void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &w->status);
    /* a server that cannot resume: what we have may be whole already, or we begin again */
    if (rc == CURLE_RANGE_ERROR || (w->status == 416 && w->ingest)) {
        p->done -= w->ingest->size;
        w->status = 0;
        return ingest_restart(w->ingest, err) &&
               err_set(err, E_UNAVAILABLE, "Get \"%s\": the server cannot resume", url);
    }
    return rc == CURLE_OK || transport_failed(w, rc, url, err);
}

/* ---- rights ---- */

static char *basic_header(struct puller *p)
{
    AUTO(strbuf_fini) struct strbuf plain = STRBUF(8192), b = STRBUF(16384);
    const struct pull_credential *r = &p->credential;
    if (!r->username.n && !r->password.n)
        return NULL;
    strbuf_addf(&plain, STR_FMT ":" STR_FMT, STR_ARG(r->username), STR_ARG(r->password));
    strbuf_addz(&b, "Authorization: Basic ");
    strbuf_add_base64(&b, plain.p, plain.n);
    return arena_strz(p->a, strbuf_str(&b));
}

static struct str token_in(struct puller *p, struct str body)
{
    struct err ignored = ERR; /* what is no JSON holds no token: the caller says so */
    struct str token = S("");
    if (!json_check(body, &ignored))
        return token;
    struct json j = json_of(body);
    if (json_type(&j) != JSON_OBJECT)
        return token;
    json_enter(&j);
    while (json_more(&j)) {
        struct str key = json_key(&j, p->a);
        bool wanted = str_eqz(key, "token") || str_eqz(key, "access_token");
        if (!wanted || json_type(&j) != JSON_STRING) {
            (void)json_skip(&j);
            continue;
        }
        struct str value = json_string(&j, p->a);
        token = value.n ? value : token;
    }
    return token;
}

/* The token service of a registry (distribution's docs/spec/auth/token.md; an identity token by oauth.md). */
static bool token_fetch(struct puller *p, const struct challenge *c, struct err *err)
{
    struct pull_answer w = {.p = p, .text = STRBUF(TOKEN_MAX)};
    char *service = curl_easy_escape(p->curl, c->service.p ? c->service.p : "", (int)c->service.n);
    struct str scope = c->scope.n ? c->scope
                                  : arena_fmt(p->a, "repository:" STR_FMT ":pull", STR_ARG(p->name.repository));
    char *scopes = curl_easy_escape(p->curl, scope.p, (int)scope.n);
    bool identity = !p->credential.username.n && p->credential.password.n;
    struct str url = arena_fmt(p->a, STR_FMT "%cservice=%s&scope=%s", STR_ARG(c->realm),
                               str_find_char(c->realm, '?') >= 0 ? '&' : '?', service, scopes);
    if (identity) {
        char *secret = curl_easy_escape(p->curl, p->credential.password.p, (int)p->credential.password.n);
        w.form = arena_fmt(p->a, "client_id=wherry&grant_type=refresh_token&refresh_token=%s&scope=%s&service=%s",
                           secret, scopes, service);
        url = c->realm;
        curl_free(secret);
    }
    curl_free(service);
    curl_free(scopes);
    bool ok = get_once(p, arena_strz(p->a, url), NULL, identity ? NULL : basic_header(p), &w, err);
    struct str token = ok && w.status == 200 ? token_in(p, strbuf_str(&w.text)) : S("");
    if (ok && !token.n) {
        struct str said = registry_error(p->a, strbuf_str(&w.text));
        ok = err_set(err, E_UNAUTHORIZED,
                     "failed to authorize: failed to fetch %s token: unexpected status from %s request to " STR_FMT
                     ": %ld%s" STR_FMT,
                     p->credential.password.n ? "oauth" : "anonymous", identity ? "POST" : "GET", STR_ARG(c->realm),
                     w.status, said.n ? ": " : "", STR_ARG(said));
    }
    strbuf_fini(&w.text);
    if (ok)
        p->authorization = arena_strz(p->a, arena_fmt(p->a, "Authorization: Bearer " STR_FMT, STR_ARG(token)));
    return ok;
}

static bool pull_denied(struct puller *p, struct pull_answer *w, struct err *err)
{
    struct str said = registry_error(p->a, strbuf_str(&w->text));
    return err_set(
        err, E_UNAUTHORIZED,
        "pull access denied, repository does not exist or may require authorization: authorization failed: " STR_FMT,
        STR_ARG(said.n ? said
                : p->credential.username.n || p->credential.password.n
                    ? S("unauthorized: the registry refused the credentials")
                    : S("no basic auth credentials")));
}

static bool may_pass(const struct err *err, long status)
{
    return status == 429 || status >= 500 || (status == 0 && (err->kind == E_UNAVAILABLE || err->kind == E_TIMEOUT));
}

static void pause_ms(int64_t ms)
{
    (void)poll(NULL, 0, (int)MIN(ms, BACKOFF_MAX));
}

/* A GET with rights and patience: true for 2xx; other statuses become errors. */
static bool url_get(struct puller *p, const char *url, const char *accept, struct pull_answer *w, struct err *err)
{
    int left = p->request->retries ? p->request->retries : RETRIES;
    int64_t wait = BACKOFF_MS;
    for (bool asked = false;;) {
        struct err why = ERR;
        bool came = get_once(p, url, accept, p->authorization, w, &why);
        if (came && w->status / 100 == 2)
            return true;
        if (came && w->status == 401 && !asked) {
            struct challenge c;
            asked = true;
            challenge_parse(p->a, w->challenge, &c);
            if (c.scheme == CHALLENGE_BEARER && !token_fetch(p, &c, err))
                return false;
            if (c.scheme == CHALLENGE_BASIC)
                p->authorization = basic_header(p);
            if (c.scheme == CHALLENGE_BEARER || p->authorization)
                continue;
        }
        if (came && (w->status == 401 || w->status == 403))
            return pull_denied(p, w, err);
        /* nobody listens, or no such name: that does not pass in seconds; the caller tries again with its own
         * patience */
        bool started = w->ingest && w->ingest->size > 0;
        bool no_use = !came && !started &&
                      (strstr(why.text, "connection refused") || strstr(why.text, "no such host") ||
                       strstr(why.text, ": tls:"));
        if (left-- > 0 && !no_use && may_pass(&why, came ? w->status : 0)) {
            pause_ms(w->retry_after_ms ? w->retry_after_ms : wait);
            wait = MIN(wait * 2, BACKOFF_MAX);
            continue;
        }
        if (!came)
            return *err = why, false;
        struct str said = registry_error(p->a, strbuf_str(&w->text));
        if (w->status == 404)
            return err_set(err, E_NOT_FOUND, STR_FMT, STR_ARG(said.n ? said : S("not found")));
        return err_set(err, w->status == 429 ? E_TOO_MANY_REQUESTS : E_UNAVAILABLE,
                       "unexpected status from GET request to %s: %ld%s" STR_FMT, url, w->status, said.n ? ": " : "",
                       STR_ARG(said));
    }
}

/* ---- the image ---- */

static bool blob_fetch(struct puller *p, struct content *c, const struct descriptor *d, struct err *err)
{
    struct ingest in;
    if (content_has_blob(c, &d->digest)) {
        p->done += d->size;
        return true;
    }
    if (!ingest_begin(c, &in, &d->digest, true, err))
        return false;
    if (content_has_blob(c, &d->digest)) { /* another pull was quicker; we waited for its lock */
        p->done += d->size;
        in.keep = false;
        ingest_abort(&in);
        return true;
    }
    struct pull_answer w = {
        .p = p, .ingest = &in, .most = d->size > 0 ? d->size : CONTENT_MANIFEST_MAX, .text = STRBUF(ERROR_MAX)};
    struct str url = arena_fmt(p->a, STR_FMT "/v2/" STR_FMT "/blobs/sha256:%s", STR_ARG(p->base),
                               STR_ARG(p->name.repository), d->digest.hex);
    p->done += in.size;
    bool ok = d->size > 0 && in.size == d->size; /* all of it was there */
    ok = ok || url_get(p, url.p, NULL, &w, err);
    strbuf_fini(&w.text);
    if (!ok) {
        in.keep = in.keep && err->kind != E_INVALID;
        ingest_abort(&in);
        return err_wrap(err, "failed to copy: blob sha256:%s", d->digest.hex);
    }
    if (d->size > 0 && in.size != d->size) {
        in.keep = false;
        int64_t have = in.size;
        ingest_abort(&in);
        return err_set(err, E_INVALID, "blob sha256:%s: has %lld bytes, its manifest says %lld", d->digest.hex,
                       (long long)have, (long long)d->size);
    }
    return ingest_commit(&in, &d->digest, NULL, err) ||
           err_wrap(err, "failed commit on ref \"sha256:%s\": unexpected commit digest", d->digest.hex);
}

/* A manifest by tag or digest, checked and put into the store. */
static bool manifest_fetch(struct puller *p, struct content *c, struct str reference, struct digest *got,
                           struct manifest *m, struct err *err)
{
    struct digest want = {0};
    struct pull_answer w = {.p = p, .text = STRBUF(CONTENT_MANIFEST_MAX)};
    struct err ignored = ERR; /* no digest: then it is a tag */
    bool by_digest = digest_parse(reference, &want, &ignored), ok = true;
    if (!by_digest || !content_has_blob(c, &want)) {
        struct str url = arena_fmt(p->a, STR_FMT "/v2/" STR_FMT "/manifests/" STR_FMT, STR_ARG(p->base),
                                   STR_ARG(p->name.repository), STR_ARG(reference));
        ok = url_get(p, url.p, ACCEPT, &w, err);
    } else {
        ok = content_blob_read(c, &want, CONTENT_MANIFEST_MAX, &w.text, err);
    }
    struct digest have = ok ? digest_of(w.text.p, w.text.n) : want;
    if (ok && !by_digest && w.digest.n && digest_parse(w.digest, &want, &ignored))
        by_digest = true; /* what the registry says it sent */
    if (ok && by_digest && !digest_eq(&have, &want))
        ok = err_set(err, E_INVALID, "manifest is sha256:%s, wanted sha256:%s: refused", have.hex, want.hex);
    ok = ok && manifest_decode(p->a, strbuf_str(&w.text), m, err) &&
         (content_has_blob(c, &have) || content_put(c, w.text.p, w.text.n, got, err));
    if (ok)
        *got = have;
    strbuf_fini(&w.text);
    return ok;
}

static bool pull_from(struct puller *p, struct content *c, struct digest *asked, struct digest *manifest,
                      struct err *err)
{
    struct manifest m;
    struct str reference = p->name.digest.n ? p->name.digest : p->name.tag;
    if (!manifest_fetch(p, c, reference, asked, &m, err)) {
        if (err->kind == E_NOT_FOUND) { /* what the registry said tells a wrong tag from a wrong name */
            struct str said = str_dup(p->a, str_of(err->text));
            (void)err_set(err, E_NOT_FOUND, STR_FMT ": not found (404 " STR_FMT ")", STR_ARG(p->name.full),
                          STR_ARG(said));
        }
        return err_wrap(err, "failed to resolve image");
    }
    *manifest = *asked;
    if (m.index) {
        const struct descriptor *here = manifest_for_here(&m, err);
        if (!here)
            return false;
        if (!manifest_fetch(p, c, arena_fmt(p->a, "sha256:%s", here->digest.hex), manifest, &m, err))
            return err_wrap(err, "failed to copy");
        if (m.index)
            return err_set(err, E_INVALID, "an index in an index");
    }
    p->total = m.config.size;
    for (size_t i = 0; i < m.n; i++)
        p->total += m.list[i].size;
    bool ok = blob_fetch(p, c, &m.config, err);
    for (size_t i = 0; ok && i < m.n; i++)
        ok = blob_fetch(p, c, &m.list[i], err);
    return ok;
}

static bool strs_has(struct strs list, struct str what)
{
    for (size_t i = 0; i < list.n; i++)
        if (str_eq(list.p[i], what) || str_eqz(list.p[i], "*"))
            return true;
    return false;
}

static bool pull_anywhere(struct puller *p, struct content *c, struct digest *asked, struct digest *manifest,
                          struct err *err)
{
    const struct pull_request *r = p->request;
    struct err why = ERR;
    for (size_t i = 0; i < r->nmirrors; i++) {
        if (!str_eq(r->mirrors[i].registry, p->name.registry) && !str_eqz(r->mirrors[i].registry, "*"))
            continue;
        p->base = r->mirrors[i].endpoint;
        while (str_ends(p->base, S("/")))
            p->base = str_sub(p->base, 0, p->base.n - 1);
        p->base = str_dup(p->a, p->base);
        p->authorization = NULL;
        p->done = 0;
        if (pull_from(p, c, asked, manifest, &why)) /* a mirror may lack it: then the next */
            return true;
    }
    p->base = str_dup(p->a, registry_base(p->a, p->name.registry));
    p->authorization = NULL;
    p->done = 0;
    p->unchecked = strs_has(r->insecure, p->name.registry);
    if (pull_from(p, c, asked, manifest, err))
        return true;
    bool plain = p->unchecked && err->kind == E_UNAVAILABLE && strstr(err->text, "tls:");
    if (!plain)
        return false;
    p->base = arena_fmt(p->a, "http://" STR_FMT, STR_ARG(p->name.registry));
    p->done = 0;
    *err = ERR;
    return pull_from(p, c, asked, manifest, err);
}

/* With each credential in turn. What others may do better with is told of all of them. */
static bool pull_as_somebody(struct puller *p, struct content *c, struct digest *asked, struct digest *manifest,
                             struct err *err)
{
    const struct pull_request *r = p->request;
    AUTO(strbuf_fini) struct strbuf said = STRBUF(STRBUF_TEXT);
    size_t different = 0;
    for (size_t i = 0; i == 0 || i < r->ncredentials; i++) {
        *err = ERR;
        if (r->ncredentials)
            p->credential = r->credentials[i];
        if (pull_anywhere(p, c, asked, manifest, err))
            return true;
        if (!str_has(strbuf_str(&said), str_of(err->text))) {
            strbuf_addf(&said, "%s%s", different ? ", " : "", err->text);
            different++;
        }
        if (err->kind != E_UNAUTHORIZED && err->kind != E_FORBIDDEN && err->kind != E_NOT_FOUND)
            return false;
    }
    return different > 1 ? err_set(err, err->kind, "[" STR_FMT "]", STR_ARG(strbuf_str(&said))) : false;
}

bool image_pull(struct content *c, const struct pull_request *r, struct arena *a, struct strs *names,
                struct digest *manifest, void (*progress)(void *arg, int64_t done, int64_t total), void *arg,
                struct err *err)
{
    struct puller p = {.a = a, .request = r, .progress = progress, .arg = arg};
    struct digest asked;
    const struct unpack_limits limits = UNPACK_LIMITS;
    if (!image_name_parse(a, r->image, &p.name, err))
        return false;
    AUTO(fd_close) int held = content_lock_shared(c, err);
    if (held < 0)
        return false;
    p.curl = curl_easy_init();
    ASSERT(p.curl);
    bool ok = pull_as_somebody(&p, c, &asked, manifest, err);
    curl_easy_cleanup(p.curl);
    ok = ok && image_finish(c, manifest, &limits, err);
    names->p = arena_alloc(a, 2 * sizeof *names->p);
    names->n = 0;
    if (ok) {
        /* the digest that was asked for (of the index, if it is one) is how others name what runs */
        names->p[names->n++] = arena_fmt(a, STR_FMT "/" STR_FMT "@sha256:%s", STR_ARG(p.name.registry),
                                         STR_ARG(p.name.repository), asked.hex);
        if (!str_eq(p.name.full, names->p[0]))
            names->p[names->n++] = p.name.full;
        for (size_t i = 0; ok && i < names->n; i++)
            ok = content_ref_set(c, names->p[i], manifest, true, err);
    }
    return ok || err_wrap(err, "failed to pull and unpack image \"" STR_FMT "\"", STR_ARG(p.name.full));
}
