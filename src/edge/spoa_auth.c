/* Who may come in: by a password, by asking an address, or both. */
#include "api/url.h"
#include "base/log.h"
#include "edge/htpasswd.h"
#include "edge/spoa_int.h"
#include "sys/crypto.h"

#define KNOWN_MOST 20000 /* results that are remembered */
#define KNOWN_GOOD (300 * NS_PER_S)
#define KNOWN_BAD  (10 * NS_PER_S)

/* A password under comparison: who asks about the same waits for the same job. */
struct spoa_check {
    struct spoa *agent;
    struct job job;
    char *lines, *name, *password, *key;
    bool ok;
    struct err err;
    struct list waiting; /* struct spoa_question by node */
};
struct spoa_known {
    int64_t until;
    bool ok;
};
static void verdict_say(struct spoa_question *q, uint32_t verdict, struct str realm)
{
    struct spoa_answer x = answer_begin(q);
    spop_ack_number(&x.out, S("verdict"), verdict);
    if (verdict == 401 && realm.n) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(1024);
        strbuf_add(&b, S("Basic realm=\""));
        for (size_t i = 0; i < realm.n; i++)
            if (realm.p[i] != '"' && realm.p[i] != '\\' && (unsigned char)realm.p[i] >= ' ')
                strbuf_addc(&b, realm.p[i]);
        strbuf_add(&b, S("\", charset=\"UTF-8\""));
        spop_ack_text(&x.out, S("challenge"), strbuf_str(&b));
    }
    answer_end(&x, q);
}

/* --- what is remembered --- */

static void known_put(struct spoa *a, struct str key, bool ok, int64_t for_ns)
{
    if (map_len(&a->known) >= KNOWN_MOST) { /* all at once: it is seldom, and no order needs to be kept for it */
        map_each (it, &a->known)
            mem_free(it->value);
        map_fini(&a->known);
    }
    struct spoa_known *k = NEW(struct spoa_known);
    *k = (struct spoa_known){clock_mono() + for_ns, ok};
    mem_free(map_put(&a->known, key, k));
}

static const struct spoa_known *known_get(struct spoa *a, struct str key)
{
    const struct spoa_known *k = map_get(&a->known, key);
    return k && k->until > clock_mono() ? k : NULL;
}

/* Of all that the result depends on: secrets leave no trace in it. */
static struct str key_of(struct arena *a, struct str one, struct str two, struct str three)
{
    uint8_t sum[SHA256_SIZE];
    AUTO(sha256_fini) struct sha256 s;
    struct str parts[] = {one, two, three};
    sha256_init(&s);
    for (size_t i = 0; i < countof(parts); i++) {
        uint64_t n = parts[i].n;
        sha256_add(&s, (struct str){(const char *)&n, sizeof n});
        sha256_add(&s, parts[i]);
    }
    sha256_end(&s, sum);
    return str_dup(a, (struct str){(const char *)sum, sizeof sum});
}

/* --- who may come in: passwords --- */

static void check_free(struct spoa_check *c)
{
    mem_free(c->lines);
    mem_free(c->name);
    mem_wipe(c->password, strlen(c->password));
    mem_free(c->password);
    mem_free(c->key);
    mem_free(c);
}

static void check_work(struct job *j)
{
    struct spoa_check *c = container_of(j, struct spoa_check, job);
    c->ok = htpasswd_check(str_of(c->lines), str_of(c->name), str_of(c->password), &c->err);
}

static void auth_ask_url(struct spoa_question *q, const struct spoa_rule *r);

/* With or without a password: what stands after it. */
static void password_told(struct spoa_question *q, bool ok)
{
    const struct spoa_rule *r = spoa_rule_of(q->agent, q->rule);
    if (!r || !r->auth || r->auth->broken)
        verdict_say(q, 503, S(""));
    else if (!ok)
        verdict_say(q, 401, r->auth->realm.n ? r->auth->realm : S("Authentication Required"));
    else if (r->auth->url.n)
        auth_ask_url(q, r);
    else
        verdict_say(q, 200, S(""));
}

static void check_done(struct job *j)
{
    struct spoa_check *c = container_of(j, struct spoa_check, job);
    struct spoa *a = c->agent;
    struct str key = {c->key, SHA256_SIZE};
    (void)map_del(&a->checks, key);
    if (a->over) {
        check_free(c);
        spoa_release(a);
        return;
    }
    known_put(a, key, c->ok, c->ok ? KNOWN_GOOD : KNOWN_BAD);
    if (!c->ok && c->err.kind != E_FORBIDDEN && c->err.kind != E_NOT_FOUND)
        log_warn("edge.password", "name=%s error=\"%s\"", c->name, c->err.text);
    list_each (q, &c->waiting, struct spoa_question, node) {
        list_del(&q->node);
        password_told(q, c->ok);
    }
    check_free(c);
}

/* "Basic BASE64(NAME:PASSWORD)". False: it is none. */
static bool credentials_read(struct arena *m, struct str text, struct str *name, struct str *password)
{
    struct str scheme, code;
    AUTO(strbuf_fini) struct strbuf plain = STRBUF(2048);
    if (!str_split(text, ' ', &scheme, &code) || !str_ieq(scheme, S("Basic")) ||
        !strbuf_add_unbase64(&plain, str_trim(code)) || plain.over)
        return false;
    return str_split(str_dup(m, strbuf_str(&plain)), ':', name, password);
}

static void auth_ask_password(struct spoa_question *q, const struct spoa_rule *r, struct str credentials)
{
    struct spoa *a = q->agent;
    struct str name, password;
    if (!credentials_read(&q->arena, credentials, &name, &password)) {
        password_told(q, false);
        return;
    }
    q->key = key_of(&q->arena, r->auth->users, name, password);
    const struct spoa_known *known = known_get(a, q->key);
    if (known) {
        password_told(q, known->ok);
        return;
    }
    struct spoa_check *c = map_get(&a->checks, q->key);
    if (!c) {
        c = NEW(struct spoa_check);
        *c = (struct spoa_check){.agent = a,
                                 .lines = str_dupz(r->auth->users),
                                 .name = str_dupz(name),
                                 .password = str_dupz(password),
                                 .key = str_dupz(q->key)};
        list_init(&c->waiting);
        (void)map_put(&a->checks, q->key, c); /* none was there */
        job_start(&c->job, a->loop, check_work, check_done);
    }
    list_add_tail(&c->waiting, &q->node);
}

/* --- who may come in: an address that is asked --- */

/* $host, $scheme, $request_uri, $escaped_request_uri in an address that a user wrote. */
static struct str address_fill(const struct spoa_question *q, struct arena *m, struct str text)
{
    AUTO(strbuf_fini) struct strbuf out = STRBUF(16384), uri = STRBUF(16384);
    http_escape(&uri, q->uri);
    const struct {
        const char *name;
        struct str value;
    } known[] = {{"$scheme", str_of(q->secure ? "https" : "http")},
                 {"$http_host", q->host},
                 {"$host", q->host},
                 {"$best_http_host", q->host},
                 {"$request_uri", q->uri},
                 {"$escaped_request_uri", strbuf_str(&uri)}};
    for (size_t i = 0; i < text.n;) {
        size_t k = 0;
        while (k < countof(known) && !str_starts(str_sub(text, i, text.n), str_of(known[k].name)))
            k++;
        if (k == countof(known)) {
            strbuf_addc(&out, text.p[i++]);
            continue;
        }
        strbuf_add(&out, known[k].value);
        i += strlen(known[k].name);
    }
    return str_dup(m, strbuf_str(&out));
}

static struct str location_of(const struct spoa_question *q, struct arena *m, struct str signin)
{
    AUTO(strbuf_fini) struct strbuf out = STRBUF(16384);
    struct str to = address_fill(q, m, signin);
    strbuf_add(&out, to);
    if (str_find(to, S("rd=")) < 0) {
        strbuf_addf(&out, "%srd=", str_find_char(to, '?') >= 0 ? "&" : "?");
        http_escape(&out, arena_fmt(m, "%s://" STR_FMT STR_FMT, q->secure ? "https" : "http", STR_ARG(q->host),
                                    STR_ARG(q->uri)));
    }
    return str_dup(m, strbuf_str(&out));
}

/* Any stranger's request may be the cause, so it is said once a minute. */
static void unasked_say(struct spoa *a, struct str rule, const char *why)
{
    struct spoa_held *h = map_get(&a->rules, rule);
    int64_t now = clock_mono();
    if (!h || (h->told && now - h->told < 60 * NS_PER_S))
        return;
    h->told = now;
    log_warn("edge.auth", "owner=" STR_FMT " error=\"%s\"", STR_ARG(h->rule.owner), why);
    if (a->config.unasked)
        a->config.unasked(a->config.arg, h->rule.owner, why);
}

static void url_told(struct http_call *call, const struct http_answer *answer, struct err *err)
{
    struct spoa_question *q = http_call_arg(call);
    struct spoa *a = q->agent;
    const struct spoa_rule *r = spoa_rule_of(a, q->rule);
    q->call = NULL;
    if (!answer || !r || !r->auth) {
        if (!answer)
            unasked_say(a, q->rule, err->text);
        verdict_say(q, 503, S(""));
        return;
    }
    bool ok = answer->status >= 200 && answer->status < 300;
    struct spoa_answer x = answer_begin(q);
    struct str challenge = http_header(&answer->headers, S("www-authenticate")),
               cookie = http_header(&answer->headers, S("set-cookie"));
    bool signin = answer->status == 401 && r->auth->signin.n;
    if (!ok && answer->status != 401 && answer->status != 403) {
        char says[40];
        (void)snprintf(says, sizeof says, "it answered %d", answer->status); /* fits */
        unasked_say(a, q->rule, says);
    }
    spop_ack_number(&x.out, S("verdict"),
                    ok                                               ? 200
                    : signin                                         ? 302
                    : answer->status == 401 || answer->status == 403 ? (uint32_t)answer->status
                                                                     : 503);
    if (signin)
        spop_ack_text(&x.out, S("location"), location_of(q, &q->arena, r->auth->signin));
    if (answer->status == 401 && challenge.n)
        spop_ack_text(&x.out, S("challenge"), challenge);
    if (cookie.n)
        spop_ack_text(&x.out, S("cookie"), cookie);
    for (size_t i = 0; ok && i < r->auth->nheaders; i++) {
        struct str value = http_header(&answer->headers, r->auth->headers[i]);
        if (value.n)
            spop_ack_text(&x.out, r->variables[i], value);
    }
    if (ok && r->auth->cache_s > 0 && !r->auth->nheaders && !cookie.n)
        known_put(a, q->key, true, r->auth->cache_s * NS_PER_S);
    answer_end(&x, q);
}

static void auth_ask_url(struct spoa_question *q, const struct spoa_rule *r)
{
    static const struct http_call_fns fns = {.done = url_told};
    struct spoa *a = q->agent;
    struct arena *m = &q->arena;
    struct err err = ERR;
    struct url url;
    struct http_headers headers = {0};
    struct str text = address_fill(q, m, r->auth->url);
    bool fine = url_parse(m, text, &url, &err) && (str_eqz(url.scheme, "http") || str_eqz(url.scheme, "https"));
    bool tls = fine && str_eqz(url.scheme, "https");
    spoa_headers(m, q->headers, &headers);
    q->key = key_of(m, r->auth->url, http_header(&headers, S("authorization")), http_header(&headers, S("cookie")));
    const struct spoa_known *known = r->auth->cache_s > 0 ? known_get(a, q->key) : NULL;
    if (known) {
        verdict_say(q, 200, S(""));
        return;
    }
    struct str port = fine && url_port(&url).n ? url_port(&url) : str_of(tls ? "443" : "80");
    struct http_client *c = fine ? spoa_peer(a, tls, url_hostname(&url), port, &err) : NULL;
    if (!c) {
        unasked_say(a, q->rule, fine ? err.text : "auth-url is not an address that begins with http:// or https://");
        verdict_say(q, 503, S(""));
        return;
    }
    http_header_add(
        m, &headers, S("X-Original-URL"),
        arena_fmt(m, "%s://" STR_FMT STR_FMT, q->secure ? "https" : "http", STR_ARG(q->host), STR_ARG(q->uri)));
    http_header_add(m, &headers, S("X-Original-Method"), q->method);
    http_header_add(m, &headers, S("X-Auth-Request-Redirect"), q->uri);
    struct str path = url_escaped_path(m, &url);
    struct http_outgoing o = {.method = r->auth->method.n ? r->auth->method : S("GET"),
                              .target = arena_fmt(m, STR_FMT "%s" STR_FMT, STR_ARG(path.n ? path : S("/")),
                                                  url.query.n ? "?" : "", STR_ARG(url.query)),
                              .headers = &headers,
                              .answer_most = 64 << 10,
                              .head_ns = CALL_MOST};
    q->call = http_send(c, &o, &fns, q);
}

static bool variables_known(const struct spoa_rule *r, struct str known)
{
    AUTO(arena_fini) struct arena a = ARENA;
    for (size_t i = 0; i < r->auth->nheaders; i++)
        if (!str_has(known, STR_JOIN(&a, S(","), r->variables[i], S(","))))
            return false;
    return true;
}

void auth_asked(struct spoa_question *q, struct str credentials, struct str known)
{
    const struct spoa_rule *r = spoa_rule_of(q->agent, q->rule);
    if (r && r->auth && !variables_known(r, known))
        verdict_say(q, 503, S(""));
    else if (r && r->auth && !r->auth->broken && r->auth->users.n)
        auth_ask_password(q, r, credentials);
    else
        password_told(q, true);
}
