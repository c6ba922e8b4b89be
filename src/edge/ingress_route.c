/* Routes and pools of one Ingress.
 *
 * Each path is a route on the listener "http" and one on "https" (of a host whose clients must show a certificate:
 * "https/HOST"). A canary has no routes of its own: what it says of a host and path of its main becomes weights in
 * the main's pool, and routes of the main's with a header or a cookie. */
#include "edge/ingress_route.h"
#include "base/regex.h"
#include "control/pods.h"

void ingress_wish_fini(struct ingress_wish *w)
{
    door_part_fini(&w->part);
    array_fini(&w->pools);
    array_fini(&w->needs);
    arena_fini(&w->arena);
}

struct ingress_routing {
    const struct view *v;
    struct arena *a;
    const struct ingress *i;
    struct ingress_wish *out;
    struct str owner;
    int64_t created; /* s */
    int index;
    struct str ca, own; /* keys of certificates, of proxy-ssl-secret */
    struct str errors_pool, mirror_pool;
    const struct door_auth *auth;
    const struct door_cors *cors;
    const struct door_mirror *mirrors;
    bool closed; /* what guards it cannot be had */
};

static void need_add(struct ingress_routing *r, const struct kind *k, struct str name)
{
    array_push(&r->out->needs, ((struct ingress_need){.kind = k, .ns = r->i->o->ns, .name = name}));
}

/* ---- pools ---- */

struct ingress_pool_part {
    const struct ingress_backend *backend;
    uint32_t weight;
    bool backup;
};

static struct door_server server_as(const struct ingress_routing *r, const struct ingress_backend *b, bool backup)
{
    const struct ingress_settings *s = &r->i->set;
    bool tls = s->protocol == INGRESS_HTTPS || s->protocol == INGRESS_GRPCS;
    struct door_server as = {.backup = backup, .tls = tls};
    if (s->protocol == INGRESS_GRPC || s->protocol == INGRESS_GRPCS)
        as.protocol = DOOR_TO_HTTP2;
    if (!tls)
        return as;
    if (s->ssl_name.n > 0)
        as.tls_name = s->ssl_name;
    else if (s->ssl_sni || s->ssl_verify)
        as.tls_name = STR_JOIN(r->a, b->service, S("."), r->i->o->ns, S(".svc"));
    if (!s->ssl_sni && !s->ssl_verify)
        as.tls_name = S("");
    if (s->ssl_verify)
        as.tls_ca = r->ca;
    as.tls_own = r->own;
    return as;
}

/* Its policy and what it is made of: two of one key are the same pool. */
static struct str pool_key(const struct ingress_routing *r, const struct pool_want *w)
{
    const struct door_pool *b = &w->base;
    AUTO(strbuf_fini) struct strbuf k = STRBUF(STRBUF_TEXT);
    strbuf_addf(&k, "Ingress/" STR_FMT, STR_ARG(r->i->o->ns));
    for (size_t n = 0; n < w->nrefs; n++) {
        const struct pool_ref *p = &w->refs[n];
        strbuf_addf(&k, "/" STR_FMT ":" STR_FMT ":%u*%u%s", STR_ARG(p->service), STR_ARG(p->port_name),
                    (unsigned)p->port, (unsigned)p->weight, p->as.backup ? "b" : "");
        if (p->as_is)
            strbuf_addf(&k, " as %d%d " STR_FMT " " STR_FMT " " STR_FMT, (int)p->as.protocol, p->as.tls,
                        STR_ARG(p->as.tls_name), STR_ARG(p->as.tls_ca), STR_ARG(p->as.tls_own));
    }
    strbuf_addf(&k, "/%d " STR_FMT " %lld %lld", (int)b->balance, STR_ARG(b->hash_on), (long long)b->connect_ns,
                (long long)b->server_ns);
    if (b->cookie.n > 0)
        strbuf_addf(&k, "/" STR_FMT " " STR_FMT " " STR_FMT " " STR_FMT " %lld %d", STR_ARG(b->cookie),
                    STR_ARG(b->cookie_path), STR_ARG(b->cookie_domain), STR_ARG(b->cookie_samesite),
                    (long long)b->cookie_s, b->cookie_secure);
    return str_dup(r->a, strbuf_str(&k));
}

static struct str pool_put(struct ingress_routing *r, struct pool_want *w)
{
    w->base.key = pool_key(r, w);
    array_each (have, &r->out->pools)
        if (str_eq(have->base.key, w->base.key))
            return w->base.key;
    array_push(&r->out->pools, *w);
    return w->base.key;
}

static void affinity_add(const struct ingress_routing *r, const struct ingress_path *p, struct door_pool *b)
{
    const struct ingress_settings *s = &r->i->set;
    if (!s->affinity)
        return;
    b->cookie = s->cookie;
    b->cookie_path = s->cookie_path;
    if (b->cookie_path.n == 0)
        b->cookie_path = ingress_is_cookie_path(p->path) ? p->path : S("/");
    b->cookie_domain = s->cookie_domain;
    b->cookie_samesite = s->cookie_samesite;
    b->cookie_s = s->cookie_max_age_s ? s->cookie_max_age_s : s->cookie_expires_s;
    b->cookie_secure = s->cookie_secure;
}

/* One clock for both ways: a backend that may be silent for longer than it may be slow to take counts by the first.
 */
static int64_t server_timeout(const struct ingress_settings *s)
{
    const int64_t usual = 60 * NS_PER_S;
    return s->read_ns ? s->read_ns : s->send_ns ? MAX(s->send_ns, usual) : 0;
}

static struct str pool_make(struct ingress_routing *r, const struct ingress_path *p,
                            const struct ingress_pool_part *parts, size_t n)
{
    const struct ingress_settings *s = &r->i->set;
    struct pool_ref *refs = arena_alloc(r->a, (n + 1) * sizeof *refs);
    struct pool_want w = {.refs = refs};
    w.base.balance = s->hash_on.n                  ? DOOR_HASH
                     : s->balance == INGRESS_LEAST ? DOOR_LEAST_CONNECTIONS
                                                   : DOOR_ROUND_ROBIN;
    w.base.hash_on = s->hash_on;
    w.base.connect_ns = s->connect_ns;
    w.base.server_ns = server_timeout(s);
    affinity_add(r, p, &w.base);
    for (size_t k = 0; k < n; k++)
        refs[w.nrefs++] = (struct pool_ref){.ns = r->i->o->ns,
                                            .service = parts[k].backend->service,
                                            .port_name = parts[k].backend->port_name,
                                            .port = parts[k].backend->port,
                                            .weight = parts[k].weight,
                                            .as = server_as(r, parts[k].backend, parts[k].backup),
                                            .as_is = s->protocol != INGRESS_AUTO_HTTP};
    if (s->default_backend.n > 0)
        refs[w.nrefs++] = (struct pool_ref){
            .ns = r->i->o->ns, .service = s->default_backend, .weight = 1, .as = {.backup = true}};
    return pool_put(r, &w);
}

/* Of a Service alone, with nothing of the path's policy. */
static struct str pool_plain(struct ingress_routing *r, struct str ns, struct str service, uint16_t port)
{
    struct pool_ref *ref = ARENA_NEW(r->a, struct pool_ref);
    *ref = (struct pool_ref){.ns = ns, .service = service, .port = port, .weight = 1};
    struct pool_want w = {.refs = ref, .nrefs = 1};
    w.base.key = arena_fmt(r->a, "Ingress/plain/" STR_FMT "/" STR_FMT ":%u", STR_ARG(ns), STR_ARG(service),
                           (unsigned)port);
    array_push(&r->out->pools, w);
    return w.base.key;
}

/* ---- what is made once for all paths ---- */

static void certificate_add(struct ingress_routing *r, struct str key, struct str chain, struct str private)
{
    array_push(&r->out->part.certificates,
               ((struct door_certificate){.key = key, .chain = chain, .private = private}));
}

static void backend_tls(struct ingress_routing *r)
{
    const struct ingress_settings *s = &r->i->set;
    struct err err = ERR; /* told by ingress_check */
    struct str chain, key;
    if (s->ssl_secret.n == 0 || (s->protocol != INGRESS_HTTPS && s->protocol != INGRESS_GRPCS))
        return;
    need_add(r, K(Secret), s->ssl_secret);
    const struct obj *secret = view_get(r->v, K(Secret), r->i->o->ns, s->ssl_secret);
    if (secret && ingress_authorities(secret, &chain, &err)) {
        r->ca = STR_JOIN(r->a, r->owner, S("/ca"));
        certificate_add(r, r->ca, chain, S(""));
    } else if (s->ssl_verify) {
        r->closed = true;
    }
    if (secret && ingress_certificate(secret, &chain, &key, &err)) {
        r->own = STR_JOIN(r->a, r->owner, S("/own"));
        certificate_add(r, r->own, chain, key);
    }
}

static void auth_make(struct ingress_routing *r)
{
    const struct ingress_settings *s = &r->i->set;
    if (!s->auth_basic && s->auth_url.n == 0)
        return;
    struct door_auth *auth = ARENA_NEW(r->a, struct door_auth);
    if (s->auth_basic) {
        struct err err = ERR; /* told by ingress_check */
        need_add(r, K(Secret), s->auth_secret);
        const struct obj *secret = view_get(r->v, K(Secret), r->i->o->ns, s->auth_secret);
        auth->realm = s->auth_realm;
        auth->broken = !secret || !ingress_users(secret, s->auth_map, r->a, &auth->users, &err);
    }
    auth->url = s->auth_url;
    auth->signin = s->auth_signin;
    if (auth->signin.n > 0 && !str_has(auth->signin, STR_JOIN(r->a, s->auth_signin_param, S("="))))
        auth->signin = STR_JOIN(r->a, auth->signin, str_find_char(auth->signin, '?') >= 0 ? S("&") : S("?"),
                                s->auth_signin_param, S("=$scheme://$http_host$escaped_request_uri"));
    auth->method = s->auth_method;
    auth->headers = s->auth_headers;
    auth->nheaders = s->nauth_headers;
    auth->cache_s = s->auth_cached ? (s->auth_cache_s ? s->auth_cache_s : 300) : 0;
    r->auth = auth;
}

static void cors_make(struct ingress_routing *r)
{
    static const struct str any[] = {S_INIT("*")};
    const struct ingress_settings *s = &r->i->set;
    if (!s->cors)
        return;
    struct door_cors *cors = ARENA_NEW(r->a, struct door_cors);
    *cors = (struct door_cors){.origins = s->ncors_origins ? s->cors_origins : any,
                               .norigins = s->ncors_origins ? s->ncors_origins : 1,
                               .methods = s->cors_methods,
                               .headers = s->cors_headers,
                               .expose = s->cors_expose,
                               .credentials = s->cors_credentials,
                               .max_age_s = s->cors_max_age_s};
    r->cors = cors;
}

static void mirror_make(struct ingress_routing *r)
{
    const struct ingress_settings *s = &r->i->set;
    struct str ns, name;
    if (s->mirror.n == 0 || !str_split(s->mirror, '/', &ns, &name))
        return;
    struct door_mirror *m = ARENA_NEW(r->a, struct door_mirror);
    *m = (struct door_mirror){.pool = pool_plain(r, ns, name, s->mirror_port), .numerator = 1, .denominator = 1};
    r->mirrors = m;
}

static void shared_make(struct ingress_routing *r)
{
    const struct ingress_settings *s = &r->i->set;
    r->closed = r->i->closed.n > 0;
    if (s->headers_map.n > 0)
        need_add(r, K(ConfigMap), s->headers_map);
    if (s->client_ca.n > 0) {
        struct err err = ERR; /* told by ingress_check */
        struct str pem;
        need_add(r, K(Secret), s->client_ca);
        const struct obj *secret = view_get(r->v, K(Secret), r->i->o->ns, s->client_ca);
        r->closed |= !secret || !ingress_authorities(secret, &pem, &err);
    }
    backend_tls(r);
    auth_make(r);
    cors_make(r);
    mirror_make(r);
    if (s->nerrors > 0)
        r->errors_pool = pool_plain(r, r->i->o->ns, s->default_backend, 0);
}

/* ---- actions ---- */

/* $N of a group that the pattern does not have is nothing. */
static struct str rewrite_text(struct ingress_routing *r, unsigned groups)
{
    struct str text = r->i->set.rewrite;
    char *out = arena_alloc(r->a, text.n + 2);
    size_t n = 0;
    for (size_t k = 0; k < text.n; k++) {
        if (text.p[k] == '$' && (unsigned)(text.p[k + 1] - '0') > groups)
            k++;
        else
            out[n++] = text.p[k];
    }
    if (n == 0)
        out[n++] = '/';
    return (struct str){out, n};
}

static struct door_path rewrite_of(struct ingress_routing *r, const struct ingress_path *p)
{
    const struct ingress_settings *s = &r->i->set;
    struct err err = ERR; /* read already: ingress_read leaves out what is no pattern */
    if (s->rewrite.n == 0 || str_eq(s->rewrite, p->path) || p->fallback)
        return (struct door_path){0};
    if (p->kind != INGRESS_PATTERN)
        return (struct door_path){.change = DOOR_PATH_FULL, .text = rewrite_text(r, 0)};
    const struct regex *re = regex_compile(r->a, p->path, &err);
    return (struct door_path){.change = DOOR_PATH_REGEX, .text = rewrite_text(r, re ? regex_groups(re) : 0)};
}

static void headers_add(struct ingress_routing *r, struct door_action *act)
{
    const struct ingress_settings *s = &r->i->set;
    if (s->forwarded_prefix.n > 0) {
        struct door_header *h = ARENA_NEW(r->a, struct door_header);
        *h = (struct door_header){S("X-Forwarded-Prefix"), s->forwarded_prefix};
        act->request.set = h;
        act->request.nset = 1;
    }
    struct door_header *set = arena_alloc(r->a, (s->response.n + 1) * sizeof *set);
    for (size_t k = 0; k < s->response.n; k++)
        set[k] = (struct door_header){s->response.names[k], s->response.values[k]};
    act->response.set = set;
    act->response.nset = s->response.n;
}

static uint32_t count_of(int64_t n)
{
    return (uint32_t)MIN(n, (int64_t)UINT32_MAX);
}

static bool goes_to_https(const struct ingress_routing *r, struct str host)
{
    const struct ingress_settings *s = &r->i->set;
    return s->force_ssl_redirect || s->client_ca.n > 0 || (s->ssl_redirect && ingress_host_has_tls(r->v, r->i, host));
}

/* What holds whatever becomes of the request. */
static struct door_action action_base(struct ingress_routing *r, struct str host)
{
    const struct ingress_settings *s = &r->i->set;
    struct door_action act = {.to_https = goes_to_https(r, host),
                              .body_most = s->body_most,
                              .allow = s->allow,
                              .deny = s->deny,
                              .rate_s = count_of(s->limit_rps),
                              .rate_min = count_of(s->limit_rpm),
                              .connections = count_of(s->limit_connections),
                              .rate_burst = count_of(s->limit_burst * (s->limit_rps ? s->limit_rps : s->limit_rpm)),
                              .auth = r->auth,
                              .cors = r->cors,
                              .mirrors = r->mirrors,
                              .nmirrors = r->mirrors ? 1 : 0,
                              .errors = s->errors,
                              .nerrors = s->nerrors,
                              .errors_pool = r->errors_pool};
    headers_add(r, &act);
    return act;
}

static void action_status(struct door_action *act, int code)
{
    act->end = DOOR_STATUS;
    act->code = code;
    act->nmirrors = 0;
    act->nerrors = 0;
}

/* pool "": its end is another. */
static struct door_action action_of(struct ingress_routing *r, const struct ingress_path *p, struct str pool)
{
    const struct ingress_settings *s = &r->i->set;
    struct door_action act = action_base(r, p->host);
    bool temporal = s->temporal_redirect.n > 0;
    if (r->closed) {
        action_status(&act, 503);
    } else if (temporal || s->permanent_redirect.n > 0) {
        act.end = DOOR_REDIRECT;
        act.code = (int)(temporal ? s->temporal_code : s->permanent_code);
        act.to_url = temporal ? s->temporal_redirect : s->permanent_redirect;
    } else if (p->refused) {
        action_status(&act, 500);
    } else {
        act.end = DOOR_TO_POOL;
        act.pool = pool;
        act.rewrite = rewrite_of(r, p);
        act.rewrite_host = s->upstream_vhost;
        if (s->next_set && !s->next_off) {
            act.tries_more = (int)MIN(s->next_tries > 0 ? s->next_tries - 1 : 2, 10);
            act.retry_on = s->next_codes;
            act.nretry_on = s->nnext_codes;
            act.retry_unsafe = s->next_unsafe;
        }
    }
    return act;
}

/* ---- routes ---- */

static struct str secure_listener(const struct ingress_routing *r, struct str host)
{
    return r->i->set.client_ca.n > 0 && host.n > 0 ? STR_JOIN(r->a, S("https/"), host) : S("https");
}

static void route_put(struct ingress_routing *r, const struct door_route *route)
{
    struct door_route one = *route;
    one.owner = r->owner;
    one.created = r->created;
    one.index = r->index++;
    one.listener = S("http");
    array_push(&r->out->part.routes, one);
    one.listener = secure_listener(r, one.host);
    if (r->i->set.passthrough && one.host.n > 0)
        return;
    array_push(&r->out->part.routes, one);
}

static struct str path_text(const struct ingress_path *p)
{
    struct str path = p->path;
    while (p->kind == INGRESS_PREFIX && path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    return path;
}

static struct door_route route_of(const struct ingress_path *p, struct door_action act)
{
    static const enum door_match_kind kinds_of[] = {[INGRESS_EXACT] = DOOR_MATCH_EXACT,
                                                    [INGRESS_PREFIX] = DOOR_MATCH_PREFIX,
                                                    [INGRESS_PATTERN] = DOOR_MATCH_REGEX};
    return (struct door_route){
        .host = p->host,
        .match = {.path_kind = kinds_of[p->kind], .path = path_text(p), .ignore_case = p->kind == INGRESS_PATTERN},
        .action = act};
}

/* A route, and one before it for those who are not limited. */
static void routes_put(struct ingress_routing *r, const struct door_route *route)
{
    struct str free = r->i->set.limit_allow;
    const struct door_action *act = &route->action;
    if (free.n > 0 && (act->rate_s || act->rate_min || act->connections)) {
        struct door_route one = *route;
        one.match.source = free;
        one.action.rate_s = one.action.rate_min = one.action.connections = 0;
        route_put(r, &one);
    }
    route_put(r, route);
}

/* ---- canaries ---- */

struct ingress_canary {
    const struct ingress_settings *set;
    const struct ingress_backend *backend;
};

static bool canary_find(struct ingress_routing *r, const struct ingress_path *p, struct ingress *canary,
                        struct ingress_canary *out)
{
    const struct obj *o = ingress_canary_of(r->v, r->i->o, p);
    if (!o)
        return false;
    ingress_read(r->v, o, r->a, canary);
    out->set = &canary->set;
    array_each (c, &canary->paths)
        if (str_eq(c->host, p->host) && str_eq(path_text(c), path_text(p)) && !c->refused && !c->fallback) {
            out->backend = &c->backend;
            return true;
        }
    return false;
}

static void canary_route(struct ingress_routing *r, const struct ingress_path *p, const struct ingress_backend *to,
                         bool cookie, struct str name, struct str value, enum door_match_kind kind)
{
    struct ingress_pool_part part = {.backend = to, .weight = 1};
    struct door_field_match *m = ARENA_NEW(r->a, struct door_field_match);
    *m = (struct door_field_match){.name = name, .value = value, .kind = kind};
    struct door_route route = route_of(p, action_of(r, p, pool_make(r, p, &part, 1)));
    if (cookie) {
        route.match.cookies = m;
        route.match.ncookies = 1;
    } else {
        route.match.headers = m;
        route.match.nheaders = 1;
    }
    routes_put(r, &route);
}

/* By header, then by cookie, then by weight; the first two as routes before the path's own. */
static void canary_routes(struct ingress_routing *r, const struct ingress_path *p, const struct ingress_canary *c)
{
    const struct ingress_settings *s = c->set;
    if (s->canary_header.n > 0 && s->canary_value.n > 0) {
        canary_route(r, p, c->backend, false, s->canary_header, s->canary_value, DOOR_MATCH_EXACT);
    } else if (s->canary_header.n > 0 && s->canary_pattern.n > 0) {
        struct str found = STR_JOIN(r->a, S("(?s:.*)(?:"), s->canary_pattern, S(")(?s:.*)"));
        canary_route(r, p, c->backend, false, s->canary_header, found, DOOR_MATCH_REGEX);
    } else if (s->canary_header.n > 0) {
        canary_route(r, p, c->backend, false, s->canary_header, S("always"), DOOR_MATCH_EXACT);
        canary_route(r, p, &p->backend, false, s->canary_header, S("never"), DOOR_MATCH_EXACT);
    }
    if (s->canary_cookie.n > 0) {
        canary_route(r, p, c->backend, true, s->canary_cookie, S("always"), DOOR_MATCH_EXACT);
        canary_route(r, p, &p->backend, true, s->canary_cookie, S("never"), DOOR_MATCH_EXACT);
    }
}

static void path_routes(struct ingress_routing *r, const struct ingress_path *p)
{
    struct ingress_pool_part parts[2] = {{.backend = &p->backend, .weight = 1}};
    AUTO(ingress_fini) struct ingress other = {0};
    struct ingress_canary c = {0};
    size_t n = 1;
    bool elsewhere = r->i->set.temporal_redirect.n > 0 || r->i->set.permanent_redirect.n > 0;
    bool serves = !r->closed && !p->refused && !elsewhere;
    if (serves && canary_find(r, p, &other, &c)) {
        int64_t total = MAX(c.set->canary_total, 1), weight = MIN(c.set->canary_weight, total);
        canary_routes(r, p, &c);
        if (weight > 0) {
            parts[0].weight = count_of(total - weight);
            parts[n++] = (struct ingress_pool_part){.backend = c.backend, .weight = count_of(weight)};
        }
    }
    struct str pool = serves ? pool_make(r, p, parts, n) : S("");
    struct door_route route = route_of(p, action_of(r, p, pool));
    routes_put(r, &route);
}

/* ---- whole hosts ---- */

static void host_routes(struct ingress_routing *r, struct str host)
{
    const struct ingress_settings *s = &r->i->set;
    struct ingress_path root = {.host = host, .kind = INGRESS_EXACT, .path = S("/")};
    if (s->app_root.n > 0 && !r->closed) {
        struct door_action act = {.end = DOOR_REDIRECT,
                                  .code = 302,
                                  .to_path = {.change = DOOR_PATH_FULL, .text = s->app_root},
                                  .to_https = goes_to_https(r, host)};
        struct door_route route = route_of(&root, act);
        route_put(r, &route);
    }
    if (!s->www_redirect || host.n == 0 || str_starts(host, S("*.")))
        return;
    struct str from = str_starts(host, S("www.")) ? str_sub(host, 4, host.n) : STR_JOIN(r->a, S("www."), host);
    if (ingress_host_of(r->v, NULL, from))
        return;
    root.host = from;
    root.kind = INGRESS_PREFIX;
    struct door_route route = route_of(
        &root, (struct door_action){.end = DOOR_REDIRECT,
                                    .code = 308,
                                    .to_host = host,
                                    .to_scheme = goes_to_https(r, host) ? S("https") : S("")});
    route_put(r, &route);
}

static void stream_put(struct ingress_routing *r, struct str host)
{
    array_each (p, &r->i->paths) {
        if (!str_eq(p->host, host) || p->refused)
            continue;
        struct pool_ref *ref = ARENA_NEW(r->a, struct pool_ref);
        *ref = (struct pool_ref){.ns = r->i->o->ns,
                                 .service = p->backend.service,
                                 .port_name = p->backend.port_name,
                                 .port = p->backend.port,
                                 .weight = 1,
                                 .as = {.protocol = DOOR_TO_TCP},
                                 .as_is = true};
        struct pool_want w = {.refs = ref, .nrefs = 1};
        array_push(&r->out->part.streams, ((struct door_stream){.listener = S("tls"),
                                                                .host = host,
                                                                .pool = pool_put(r, &w),
                                                                .created = r->created,
                                                                .owner = r->owner}));
        return;
    }
}

void ingress_wish_of(const struct view *v, const struct obj *o, struct ingress_wish *out)
{
    AUTO(ingress_fini) struct ingress i;
    *out = (struct ingress_wish){0};
    if (obj_deleting(o))
        return;
    ingress_read(v, o, &out->arena, &i);
    if (i.class.server != INGRESS_OURS || i.set.canary)
        return;
    struct ingress_routing r = {.v = v, .a = &out->arena, .i = &i, .out = out};
    r.owner = STR_JOIN(r.a, S("Ingress/"), o->ns, S("/"), o->name);
    r.created = val_time(val_get(obj_meta(o), N(creationTimestamp))) / NS_PER_S;
    shared_make(&r);
    size_t n;
    const struct str *hosts = ingress_hosts(&i, r.a, &n);
    for (size_t h = 0; h < n; h++) {
        host_routes(&r, hosts[h]);
        if (i.set.passthrough && hosts[h].n > 0)
            stream_put(&r, hosts[h]);
    }
    array_each (p, &i.paths)
        if (i.set.app_root.n == 0 || p->kind != INGRESS_EXACT || !str_eqz(p->path, "/"))
            path_routes(&r, p);
}
