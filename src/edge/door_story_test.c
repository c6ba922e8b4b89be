#include "edge/door_test.h"
#include "sys/cert.h"

static struct str text_plain(struct arena *a, struct str s)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '\\' && i + 1 < s.n && strchr("sntr", s.p[i + 1])) {
            c = s.p[++i];
            c = c == 's' ? ' ' : c == 'n' ? '\n' : c == 't' ? '\t' : '\r';
        }
        strbuf_addc(&b, c);
    }
    return str_dup(a, strbuf_str(&b));
}

static struct str word_next(struct arena *a, struct str *line)
{
    struct str w;
    *line = str_trim(*line);
    str_split(*line, ' ', &w, line);
    return text_plain(a, w);
}

static bool word_is(struct str w, const char *name, struct str *value)
{
    if (!str_starts(w, str_of(name)))
        return false;
    *value = str_sub(w, strlen(name), w.n);
    return true;
}

static int64_t number_of(struct str s)
{
    int64_t n = 0;
    CHECK(str_to_i64(s, 0, INT64_MAX, &n));
    return n;
}

/* --- listeners, certificates, pools --- */

static void listener_read(struct door_story *t, struct str line)
{
    struct door_listener l = {.key = word_next(&t->own, &line)};
    struct str *certs = arena_alloc(&t->own, 8 * sizeof *certs), v;
    l.port = (uint16_t)number_of(word_next(&t->own, &line));
    l.certificates = certs;
    for (struct str w; (w = word_next(&t->own, &line)).n;)
        if (str_eqz(w, "https"))
            l.protocol = DOOR_HTTPS;
        else if (str_eqz(w, "tcp"))
            l.protocol = DOOR_TCP;
        else if (str_eqz(w, "tls"))
            l.protocol = DOOR_TLS;
        else if (str_eqz(w, "terminate"))
            l.terminate = true;
        else if (str_eqz(w, "isolated"))
            l.isolated = true;
        else if (word_is(w, "hostname=", &v))
            l.hostname = v;
        else if (word_is(w, "cert=", &v))
            certs[l.ncertificates++] = v;
        else if (word_is(w, "ca=", &v))
            l.client_ca = v;
        else if (word_is(w, "address=", &v))
            l.address = v;
        else
            test_failed(__FILE__, __LINE__, "listener: " STR_FMT, STR_ARG(w));
    array_push(&t->part.listeners, l);
}

static void cert_read_line(struct door_story *t, struct str line)
{
    struct door_certificate c = {.key = word_next(&t->own, &line)};
    struct str *hosts = arena_alloc(&t->own, 8 * sizeof *hosts);
    size_t n = 0;
    for (struct str w; (w = word_next(&t->own, &line)).n;)
        hosts[n++] = w;
    AUTO(strbuf_fini) struct strbuf pem = STRBUF(65536), keys = STRBUF(65536);
    AUTO(key_free) struct cert_key *key = key_new();
    struct cert_spec spec = {
        .cn = c.key, .dns = hosts, .ndns = n, .server = true, .not_after = clock_real() + 3600 * NS_PER_S};
    struct err err = ERR;
    CHECK_OK(cert_make(&spec, key, S(""), NULL, &pem, &err), err);
    key_pem(key, &keys);
    c.chain = str_dup(&t->own, strbuf_str(&pem));
    c.private = str_dup(&t->own, strbuf_str(&keys));
    array_push(&t->part.certificates, c);
}

static void pool_read(struct door_story *t, struct str line)
{
    struct door_pool p = {.key = word_next(&t->own, &line)};
    struct door_server *servers = arena_alloc(&t->own, 16 * sizeof *servers);
    p.servers = servers;
    struct str v, weight;
    enum door_backend_protocol protocol = DOOR_TO_HTTP1;
    for (struct str w; (w = word_next(&t->own, &line)).n;)
        if (str_eqz(w, "h2"))
            protocol = DOOR_TO_HTTP2;
        else if (word_is(w, "cookie=", &v))
            p.cookie = v;
        else if (word_is(w, "header=", &v))
            p.persist_header = v;
        else if (word_is(w, "lost=", &v))
            p.lost_weight = (uint32_t)number_of(v);
        else if (word_is(w, "time=", &v))
            p.server_ns = number_of(v) * NS_PER_MS;
        else if (word_is(w, "hash=", &v)) {
            p.balance = DOOR_HASH;
            p.hash_on = v;
        } else {
            bool weighed = str_split(w, '*', &v, &weight);
            servers[p.nservers++] = (struct door_server){.host = S("127.0.0.1"),
                                                         .port = (uint16_t)number_of(v),
                                                         .weight = weighed ? (uint32_t)number_of(weight) : 1,
                                                         .protocol = protocol};
        }
    array_push(&t->pools, p);
}

/* --- routes --- */

static bool field_read(struct arena *a, struct str w, char letter, struct door_field_match *list, size_t *n)
{
    if (w.n < 3 || w.p[0] != letter || !strchr(":~!", w.p[1]))
        return false;
    struct door_field_match f = {.kind = w.p[1] == '~' ? DOOR_MATCH_REGEX : DOOR_MATCH_EXACT,
                                 .absent = w.p[1] == '!'};
    str_split(str_sub(w, 2, w.n), '=', &f.name, &f.value);
    list[(*n)++] = f;
    (void)a;
    return true;
}

static bool header_read(struct str w, const char *name, struct door_header **list, size_t *n)
{
    struct str v;
    if (!word_is(w, name, &v))
        return false;
    struct door_header h = {0};
    str_split(v, '=', &h.name, &h.value);
    (*list)[(*n)++] = h;
    return true;
}

struct route_reader { /* arrays of the route that is read */
    struct door_route r;
    struct door_field_match *headers, *queries, *cookies;
    struct door_header *set, *add, *rset, *radd;
    struct str *remove, *rremove, *origins;
    struct door_cors *cors;
    struct door_auth *auth;
    struct str *auth_headers;
    struct door_mirror *mirror;
    int *error;
};

static bool match_word(struct arena *a, struct route_reader *x, struct str w)
{
    struct str v;
    struct door_match *m = &x->r.match;
    if (field_read(a, w, 'h', x->headers, &m->nheaders) || field_read(a, w, 'q', x->queries, &m->nqueries) ||
        field_read(a, w, 'c', x->cookies, &m->ncookies))
        return true;
    if (str_eqz(w, "icase"))
        return m->ignore_case = true;
    if (str_eqz(w, "deep"))
        return x->r.host_deep = true;
    if (str_eqz(w, "falls"))
        return x->r.host_falls = true;
    if (word_is(w, "method=", &v))
        m->method = v;
    else if (word_is(w, "source=", &v))
        m->source = v;
    else if (word_is(w, "percent=", &v))
        m->percent = (int)number_of(v);
    else if (word_is(w, "created=", &v))
        x->r.created = number_of(v);
    else if (word_is(w, "owner=", &v))
        x->r.owner = v;
    else if (word_is(w, "index=", &v))
        x->r.index = (int)number_of(v);
    else
        return false;
    return true;
}

static bool path_word(struct str w, struct door_path *p)
{
    struct str v;
    if (word_is(w, "full=", &v))
        *p = (struct door_path){DOOR_PATH_FULL, v};
    else if (word_is(w, "prefix=", &v))
        *p = (struct door_path){DOOR_PATH_PREFIX, v};
    else if (word_is(w, "regex=", &v))
        *p = (struct door_path){DOOR_PATH_REGEX, v};
    else
        return false;
    return true;
}

static bool end_word(struct route_reader *x, struct str w)
{
    struct str v;
    struct door_action *c = &x->r.action;
    if (word_is(w, "pool=", &v))
        c->pool = v;
    else if (word_is(w, "redirect=", &v)) {
        c->end = DOOR_REDIRECT;
        c->code = (int)number_of(v);
    } else if (word_is(w, "status=", &v)) {
        c->end = DOOR_STATUS;
        c->code = (int)number_of(v);
    } else if (word_is(w, "scheme=", &v))
        c->to_scheme = v;
    else if (word_is(w, "tohost=", &v))
        c->to_host = v;
    else if (word_is(w, "toport=", &v))
        c->to_port = (uint16_t)number_of(v);
    else if (word_is(w, "url=", &v))
        c->to_url = v;
    else if (word_is(w, "host=", &v))
        c->rewrite_host = v;
    else if (word_is(w, "time=", &v))
        c->backend_ns = number_of(v) * NS_PER_MS;
    else if (word_is(w, "tries=", &v))
        c->tries_more = (int)number_of(v);
    else if (word_is(w, "body=", &v))
        c->body_most = number_of(v);
    else if (word_is(w, "allow=", &v))
        c->allow = v;
    else if (word_is(w, "deny=", &v))
        c->deny = v;
    else if (word_is(w, "rps=", &v))
        c->rate_s = (uint32_t)number_of(v);
    else if (word_is(w, "rpm=", &v))
        c->rate_min = (uint32_t)number_of(v);
    else if (word_is(w, "users=", &v)) {
        x->auth->users = v;
        x->auth->realm = S("harbour");
        c->auth = x->auth;
    } else if (word_is(w, "authurl=", &v)) {
        x->auth->url = v;
        c->auth = x->auth;
    } else if (word_is(w, "authheader=", &v))
        x->auth_headers[x->auth->nheaders++] = v;
    else if (str_eqz(w, "broken")) {
        x->auth->broken = true;
        c->auth = x->auth;
    } else if (word_is(w, "mirror=", &v)) {
        *x->mirror = (struct door_mirror){v, 1, 1};
        c->mirrors = x->mirror;
        c->nmirrors = 1;
    } else if (word_is(w, "errors=", &v)) {
        *x->error = 404;
        c->errors = x->error;
        c->nerrors = 1;
        c->errors_pool = v;
    } else if (str_eqz(w, "https"))
        c->to_https = true;
    else
        return path_word(w, c->end == DOOR_REDIRECT ? &c->to_path : &c->rewrite);
    return true;
}

static bool header_word(struct route_reader *x, struct str w)
{
    struct str v;
    struct door_action *c = &x->r.action;
    if (header_read(w, "set:", &x->set, &c->request.nset) || header_read(w, "add:", &x->add, &c->request.nadd) ||
        header_read(w, "rset:", &x->rset, &c->response.nset) || header_read(w, "radd:", &x->radd, &c->response.nadd))
        return true;
    if (word_is(w, "del:", &v))
        x->remove[c->request.nremove++] = v;
    else if (word_is(w, "rdel:", &v))
        x->rremove[c->response.nremove++] = v;
    else if (word_is(w, "origin=", &v)) {
        x->origins[x->cors->norigins++] = v;
        c->cors = x->cors;
    } else if (word_is(w, "methods=", &v))
        x->cors->methods = v;
    else if (word_is(w, "headers=", &v))
        x->cors->headers = v;
    else if (word_is(w, "expose=", &v))
        x->cors->expose = v;
    else if (str_eqz(w, "credentials"))
        x->cors->credentials = true;
    else if (word_is(w, "age=", &v))
        x->cors->max_age_s = number_of(v);
    else
        return false;
    return true;
}

#define ROOM(p) ((p) = arena_alloc(a, 16 * sizeof *(p)))
static void route_read(struct door_story *t, struct str line)
{
    struct arena *a = &t->own;
    struct route_reader x = {.r.owner = S("test"), .cors = ARENA_NEW(a, struct door_cors)};
    struct door_action *c = &x.r.action;
    x.cors->max_age_s = -1;
    x.auth = ARENA_NEW(a, struct door_auth);
    x.auth->headers = ROOM(x.auth_headers);
    ROOM(x.mirror);
    ROOM(x.error);
    x.cors->origins = ROOM(x.origins);
    x.r.match.headers = ROOM(x.headers);
    x.r.match.queries = ROOM(x.queries);
    x.r.match.cookies = ROOM(x.cookies);
    c->request.set = ROOM(x.set);
    c->request.add = ROOM(x.add);
    c->request.remove = ROOM(x.remove);
    c->response.set = ROOM(x.rset);
    c->response.add = ROOM(x.radd);
    c->response.remove = ROOM(x.rremove);
    x.r.index = (int)t->part.routes.n;
    x.r.listener = word_next(a, &line);
    x.r.host = word_next(a, &line);
    if (str_eqz(x.r.host, "*"))
        x.r.host = S("");
    struct str path = word_next(a, &line);
    bool marked = path.n && strchr("=~", path.p[0]);
    x.r.match.path_kind = !marked ? DOOR_MATCH_PREFIX : path.p[0] == '=' ? DOOR_MATCH_EXACT : DOOR_MATCH_REGEX;
    x.r.match.path = str_sub(path, marked, path.n);
    for (struct str w; (w = word_next(a, &line)).n;)
        if (!match_word(a, &x, w) && !end_word(&x, w) && !header_word(&x, w))
            test_failed(__FILE__, __LINE__, "route: " STR_FMT, STR_ARG(w));
    array_push(&t->part.routes, x.r);
}

static void answer_read(struct door_story *t, struct str line)
{
    struct door_answer w = {.host = word_next(&t->own, &line)};
    w.path = word_next(&t->own, &line);
    w.body = word_next(&t->own, &line);
    if (str_eqz(w.host, "*"))
        w.host = S("");
    array_push(&t->part.answers, w);
}

static void stream_read(struct door_story *t, struct str line)
{
    struct door_stream s = {.listener = word_next(&t->own, &line), .owner = S("test")};
    s.host = word_next(&t->own, &line);
    s.pool = word_next(&t->own, &line);
    s.host_deep = true;
    if (str_eqz(s.host, "*"))
        s.host = S("");
    array_push(&t->part.streams, s);
}

static void alpn_read(struct door_story *t, struct str line)
{
    struct door_alpn x = {.host = word_next(&t->own, &line), .protocol = S("acme-tls/1")};
    x.certificate = word_next(&t->own, &line);
    array_push(&t->part.alpns, x);
}

void door_story_read(struct door_story *t, struct str line)
{
    struct str kind, rest;
    str_split(line, ' ', &kind, &rest);
    if (str_eqz(kind, "listener"))
        listener_read(t, rest);
    else if (str_eqz(kind, "cert"))
        cert_read_line(t, rest);
    else if (str_eqz(kind, "pool"))
        pool_read(t, rest);
    else if (str_eqz(kind, "route"))
        route_read(t, rest);
    else if (str_eqz(kind, "stream"))
        stream_read(t, rest);
    else if (str_eqz(kind, "alpn"))
        alpn_read(t, rest);
    else if (str_eqz(kind, "answer"))
        answer_read(t, rest);
    else
        test_failed(__FILE__, __LINE__, "no such line: " STR_FMT, STR_ARG(line));
}

void door_story_fini(struct door_story *t)
{
    door_part_fini(&t->part);
    array_fini(&t->pools);
    arena_fini(&t->own);
}
