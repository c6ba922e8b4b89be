/* The annotations of ingress-nginx, one row each: what is kept of it, how its value is read, and what docs/ingress.md
 * says of it (the page's table is this one). Facts: that project's documentation and parsers
 * (internal/ingress/annotations). A value that it would pass over in silence, or take a default for, is a remark. */
#include "api/formats.h"
#include "api/netip.h"
#include "base/regex.h"
#include "control/ingress.h"
#include "control/ingress_values.h"

#define M(member) offsetof(struct ingress_settings, member)
#define KEPT(name, read, member, values, says)                                                                       \
    {                                                                                                                \
        name, INGRESS_KEPT, false, value_##read, M(member), values, says                                             \
    }
#define GUARD(name, read, member, values, says)                                                                      \
    {                                                                                                                \
        name, INGRESS_KEPT, true, value_##read, M(member), values, says                                              \
    }
#define CHECKED(name, read, values, says)                                                                            \
    {                                                                                                                \
        name, INGRESS_KEPT, false, value_##read, 0, values, says                                                     \
    }
#define NEEDLESS(name, says)                                                                                         \
    {                                                                                                                \
        name, INGRESS_NEEDLESS, false, NULL, 0, "", says                                                             \
    }
#define NOT_KEPT(name, says)                                                                                         \
    {                                                                                                                \
        name, INGRESS_NOT_KEPT, false, NULL, 0, "", says                                                             \
    }
#define NOT_KEPT_GUARD(name, says)                                                                                   \
    {                                                                                                                \
        name, INGRESS_NOT_KEPT, true, NULL, 0, "", says                                                              \
    }
#define BUFFERS    "the front door passes bodies on as they come and holds none back"
#define SNIPPET    "text for nginx's own configuration; whoever may write an Ingress could read all that the proxy reads"
#define TRACING    "the front door traces nothing"
#define KEPT_ALIVE "how the front door keeps connections to who is asked is its own"

const struct ingress_annotation ingress_annotations[] = {
    KEPT("affinity", affinity, affinity, "cookie", "a client stays with its server"),
    CHECKED("affinity-mode", affinity_mode, "balanced, persistent",
            "both are persistent: a session moves only when its server goes"),
    KEPT("affinity-canary-behavior", canary_behavior, affinity_legacy_canary, "sticky, legacy",
         "sticky: a session stays with the canary, or without it; legacy is not kept"),
    KEPT("app-root", path, app_root, "path", "302 there for who asks for /"),
    NEEDLESS("auth-always-set-cookie", "cookies of who is asked are passed on whenever it lets through"),
    KEPT("auth-cache-duration", cache_duration, auth_cache_s, "200 202 401 5m",
         "how long an answer of auth-url counts; the shortest of several, and only answers that let through"),
    KEPT("auth-cache-key", cache_key, auth_cached, "any",
         "answers of auth-url are kept; by the request's Authorization and Cookie, whatever is named"),
    NEEDLESS("auth-keepalive", KEPT_ALIVE),
    NEEDLESS("auth-keepalive-requests", KEPT_ALIVE),
    NEEDLESS("auth-keepalive-share-vars", KEPT_ALIVE),
    NEEDLESS("auth-keepalive-timeout", KEPT_ALIVE),
    GUARD("auth-method", method, auth_method, "GET, HEAD, POST ...",
          "with which auth-url is asked; GET where it is not set"),
    NOT_KEPT("auth-proxy-set-headers", "who is asked gets the request's own headers"),
    KEPT("auth-realm", text, auth_realm, "text", "of Basic authentication"),
    NOT_KEPT("auth-request-redirect", "who is asked gets X-Auth-Request-Redirect with the path that was asked for"),
    GUARD("auth-response-headers", header_list, auth_headers, "names",
          "headers of auth-url's answer that the backend gets"),
    GUARD("auth-secret", secret, auth_secret, "secret, namespace/secret",
          "Secret of the same namespace with users and hashes (crypt, {SHA}, apr1)"),
    GUARD("auth-secret-type", secret_type, auth_map, "auth-file, auth-map",
          "auth-file: a file of htpasswd in the key auth; auth-map: a user a key"),
    GUARD("auth-signin", url_variables, auth_signin, "URL", "302 there for whom auth-url answers 401"),
    KEPT("auth-signin-redirect-param", header_name, auth_signin_param, "name",
         "the argument that tells auth-signin where to go on; rd where it is not set"),
    NOT_KEPT_GUARD("auth-snippet", SNIPPET),
    NOT_KEPT("auth-tls-error-page", "who shows no certificate gets no connection, and so no page"),
    NOT_KEPT_GUARD("auth-tls-match-cn", "every certificate of these authorities would pass"),
    NOT_KEPT("auth-tls-pass-certificate-to-upstream", "backends are not told the certificate"),
    GUARD("auth-tls-secret", secret, client_ca, "secret, namespace/secret",
          "Secret of the same namespace whose ca.crt signs the certificates that clients must show; who has none "
          "gets no "
          "connection (ingress-nginx: 400)"),
    GUARD("auth-tls-verify-client", verify_client, client_optional, "on, off, optional",
          "optional: may be missing; optional_no_ca is refused"),
    NEEDLESS("auth-tls-verify-depth", "chains may be of any length; all of it must be signed by auth-tls-secret"),
    GUARD("auth-type", auth_type, auth_basic, "basic", "digest is refused"),
    GUARD(
        "auth-url", url_variables, auth_url, "URL",
        "asked with each request's method, path and headers; 2xx lets it through; over https its certificate must be "
        "of an authority that the node trusts (ingress-nginx: any)"),
    KEPT("backend-protocol", protocol, protocol, "HTTP, HTTPS, AUTO_HTTP, GRPC, GRPCS",
         "how backends are spoken to; AUTO_HTTP, and where it is not set: as appProtocol of the Service says. FCGI "
         "is not kept"),
    KEPT("canary", bool, canary, "true, false",
         "its backends stand beside those of the Ingress with the same host and path, of the same namespace"),
    KEPT("canary-by-cookie", cookie_name, canary_cookie, "name", "always: the canary; never: not"),
    KEPT("canary-by-header", header_name, canary_header, "name", "always: the canary; never: not"),
    KEPT("canary-by-header-pattern", pattern, canary_pattern, "pattern",
         "instead of always; found anywhere in the value"),
    KEPT("canary-by-header-value", text, canary_value, "text", "instead of always"),
    KEPT("canary-weight", number, canary_weight, "0 to canary-weight-total", "share of the requests"),
    KEPT("canary-weight-total", number_1, canary_total, "number", "100 where it is not set"),
    NEEDLESS("client-body-buffer-size", BUFFERS),
    NOT_KEPT("configuration-snippet", SNIPPET),
    NEEDLESS("connection-proxy-header", "the front door keeps connections to backends by itself"),
    KEPT("cors-allow-credentials", bool, cors_credentials, "true, false", "true where it is not set"),
    KEPT("cors-allow-headers", header_text, cors_headers, "names", "those of ingress-nginx where it is not set"),
    KEPT("cors-allow-methods", method_list, cors_methods, "GET, PUT ...",
         "GET, PUT, POST, DELETE, PATCH, OPTIONS where it is not set"),
    KEPT("cors-allow-origin", origins, cors_origins, "https://a.example, https://*.example, *",
         "* where it is not set"),
    KEPT("cors-expose-headers", header_text, cors_expose, "names", "Access-Control-Expose-Headers"),
    KEPT("cors-max-age", number, cors_max_age_s, "seconds", "1728000 where it is not set"),
    KEPT("custom-headers", configmap, headers_map, "configmap, namespace/configmap",
         "ConfigMap of the same namespace with headers that answers get; 64 at most, and no list of allowed ones is "
         "asked for"),
    KEPT("custom-http-errors", codes, errors, "404,503",
         "the page for these codes is had from default-backend (12,000 bytes at most; 128 lines at most), "
         "without one it is not kept"),
    KEPT("default-backend", service, default_backend, "service",
         "a Service of the same namespace, its first port: while the path's own has no server"),
    GUARD("denylist-source-range", ranges, deny, "10.0.0.0/8,192.0.2.1", "403 for these"),
    NEEDLESS("disable-proxy-intercept-errors",
             "answers of backends are left alone where custom-http-errors names no code"),
    NOT_KEPT("enable-access-log", "the front door logs all or nothing (access-log)"),
    KEPT("enable-cors", bool, cors, "true, false", "Access-Control headers, and preflight requests are answered"),
    NEEDLESS("enable-global-auth", "there is no authentication for all"),
    NOT_KEPT_GUARD("enable-modsecurity", "there is no such firewall here"),
    NOT_KEPT("enable-opentelemetry", TRACING),
    NOT_KEPT("enable-opentracing", TRACING),
    NOT_KEPT_GUARD("enable-owasp-core-rules", "there is no such firewall here"),
    NEEDLESS("enable-rewrite-log", "rewrites are not logged"),
    NOT_KEPT("fastcgi-index", "FastCGI is not spoken"),
    NOT_KEPT("fastcgi-params-configmap", "FastCGI is not spoken"),
    KEPT("force-ssl-redirect", bool, force_ssl_redirect, "true, false", "308 to https, also for hosts without TLS"),
    KEPT("from-to-www-redirect", bool, www_redirect, "true, false",
         "308 from www.HOST to HOST, or the other way round, unless somebody has a rule for that"),
    NOT_KEPT_GUARD("global-rate-limit", "counts are of one front door: limit-rps, limit-rpm"),
    NOT_KEPT("global-rate-limit-ignored-cidrs", "counts are of one front door: limit-rps, limit-rpm"),
    NOT_KEPT("global-rate-limit-key", "counts are of one front door: limit-rps, limit-rpm"),
    NOT_KEPT("global-rate-limit-window", "counts are of one front door: limit-rps, limit-rpm"),
    NEEDLESS("http2-push-preload", "no browser takes pushes any more"),
    NOT_KEPT("influxdb-host", "metrics are Prometheus'"),
    NOT_KEPT("influxdb-measurement", "metrics are Prometheus'"),
    NOT_KEPT("influxdb-port", "metrics are Prometheus'"),
    NOT_KEPT("influxdb-server-name", "metrics are Prometheus'"),
    NOT_KEPT("enable-influxdb", "metrics are Prometheus'"),
    GUARD("limit-allowlist", ranges, limit_allow, "ranges", "who is not limited; also limit-whitelist"),
    GUARD("limit-whitelist", ranges, limit_allow, "ranges", "as limit-allowlist"),
    KEPT("limit-burst-multiplier", number_1, limit_burst, "number",
         "how many times the rate may come at once; 5 where it is not set"),
    GUARD("limit-connections", number, limit_connections, "number", "at once, of one address; 503 beyond it"),
    NOT_KEPT("limit-rate", "bytes a second are not limited"),
    NOT_KEPT("limit-rate-after", "bytes a second are not limited"),
    GUARD("limit-rpm", number, limit_rpm, "number", "requests a minute of one address; 503 beyond it"),
    GUARD("limit-rps", number, limit_rps, "number", "requests a second of one address; 503 beyond it"),
    KEPT("load-balance", balance, balance, "round_robin, ewma",
         "ewma: the server with the fewest requests under way"),
    NOT_KEPT("mirror-host", "what is mirrored keeps its Host"),
    NEEDLESS("mirror-request-body", "bodies are mirrored, as far as they are held"),
    KEPT("mirror-target", mirror, mirror, "http://SERVICE.NAMESPACE[.svc...][:PORT]$request_uri",
         "requests are also sent there, and its answers dropped; only Services of the cluster"),
    NOT_KEPT("modsecurity-snippet", SNIPPET),
    NOT_KEPT("modsecurity-transaction-id", "there is no such firewall here"),
    NOT_KEPT("opentelemetry-operation-name", TRACING),
    NOT_KEPT("opentelemetry-trust-incoming-span", TRACING),
    NOT_KEPT("opentracing-trust-incoming-span", TRACING),
    KEPT("permanent-redirect", redirect, permanent_redirect, "URL, with $request_uri", "301 there"),
    KEPT("permanent-redirect-code", redirect_code, permanent_code, "301, 302, 303, 307, 308", "instead of 301"),
    NEEDLESS("preserve-trailing-slash", "a redirect to https keeps the path as it was"),
    KEPT("proxy-body-size", size, body_most, "8m", "413 beyond it; no bound where it is not set (ingress-nginx: 1m)"),
    NEEDLESS("proxy-buffer-size", BUFFERS),
    NEEDLESS("proxy-buffering", BUFFERS),
    NEEDLESS("proxy-buffers-number", BUFFERS),
    NEEDLESS("proxy-busy-buffers-size", BUFFERS),
    KEPT("proxy-connect-timeout", seconds, connect_ns, "seconds", "5 where it is not set"),
    NOT_KEPT("proxy-cookie-domain", "cookies of backends are left alone"),
    NOT_KEPT("proxy-cookie-path", "cookies of backends are left alone"),
    CHECKED("proxy-http-version", http_version, "1.1", "1.0 is not spoken to backends"),
    NEEDLESS("proxy-max-temp-file-size", BUFFERS),
    KEPT("proxy-next-upstream", next_upstream, next_set, "error timeout http_502 non_idempotent off ...",
         "when another server is tried; a request that was never sent is always tried again"),
    NOT_KEPT("proxy-next-upstream-timeout", "tries are bounded by their number"),
    KEPT("proxy-next-upstream-tries", number, next_tries, "number",
         "tries of one request, with the first; 3 where it is not set"),
    KEPT("proxy-read-timeout", seconds, read_ns, "seconds",
         "how long a backend may say nothing; 60 where it is not set"),
    NOT_KEPT("proxy-redirect-from", "Location of backends is left alone"),
    NOT_KEPT("proxy-redirect-to", "Location of backends is left alone"),
    NEEDLESS("proxy-request-buffering", BUFFERS),
    KEPT("proxy-send-timeout", seconds, send_ns, "seconds",
         "counts with proxy-read-timeout: one clock for both ways"),
    NOT_KEPT("proxy-ssl-ciphers", "the ciphers are OpenSSL's own"),
    KEPT("proxy-ssl-name", host_name, ssl_name, "name",
         "the name that a backend's certificate must have; SERVICE.NAMESPACE.svc where it is not set"),
    NOT_KEPT("proxy-ssl-protocols", "TLS 1.2 and 1.3"),
    GUARD("proxy-ssl-secret", secret, ssl_secret, "secret, namespace/secret",
          "Secret of the same namespace: tls.crt and tls.key are shown to backends, ca.crt verifies them"),
    KEPT("proxy-ssl-server-name", on_off, ssl_sni, "on, off", "the name is told to the backend (SNI)"),
    GUARD("proxy-ssl-verify", on_off, ssl_verify, "on, off",
          "the backend's certificate must be signed by ca.crt of proxy-ssl-secret"),
    NEEDLESS("proxy-ssl-verify-depth", "chains may be of any length"),
    KEPT("rewrite-target", rewrite, rewrite, "path, with $1 to $9",
         "the path that the backend gets; paths of such an Ingress may be patterns"),
    CHECKED("satisfy", satisfy, "all", "any is not kept: all that is asked for must hold"),
    KEPT("server-alias", host_list, aliases, "hosts", "more hosts with the same paths; patterns are not kept"),
    NOT_KEPT("server-snippet", SNIPPET),
    NEEDLESS("service-upstream",
             "a server that goes is left before it ends, so that its Service's own address is not needed"),
    NEEDLESS("session-cookie-change-on-failure",
             "a session whose server cannot be reached goes on with another, and stays there"),
    NEEDLESS("session-cookie-conditional-samesite-none", "for browsers of before 2020"),
    KEPT("session-cookie-domain", host_name, cookie_domain, "name", "Domain of the cookie"),
    KEPT("session-cookie-expires", seconds_plain, cookie_expires_s, "seconds", "as session-cookie-max-age"),
    KEPT("session-cookie-max-age", seconds_plain, cookie_max_age_s, "seconds", "how long a session lasts"),
    KEPT("session-cookie-name", cookie_name, cookie, "name", "INGRESSCOOKIE where it is not set"),
    NOT_KEPT("session-cookie-partitioned", "the cookie is not partitioned"),
    KEPT("session-cookie-path", cookie_path, cookie_path, "path",
         "Path of the cookie; the rule's path where it is not set; / where that has other letters"),
    KEPT("session-cookie-samesite", samesite, cookie_samesite, "None, Lax, Strict", "SameSite of the cookie"),
    KEPT("session-cookie-secure", bool, cookie_secure, "true, false", "Secure of the cookie"),
    NOT_KEPT("ssl-ciphers", "the ciphers are OpenSSL's own"),
    KEPT("ssl-passthrough", bool, passthrough, "true, false",
         "connections with the host's name go to the backend of its first path as they are; nothing of HTTP counts "
         "then"),
    NOT_KEPT("ssl-prefer-server-ciphers", "the ciphers are OpenSSL's own"),
    KEPT("ssl-redirect", bool, ssl_redirect, "true, false",
         "308 to https for hosts with TLS; true where it is not set"),
    NOT_KEPT("stream-snippet", SNIPPET),
    KEPT("temporal-redirect", redirect, temporal_redirect, "URL, with $request_uri",
         "302 there; comes before permanent-redirect"),
    KEPT("temporal-redirect-code", redirect_code, temporal_code, "301, 302, 303, 307, 308", "instead of 302"),
    KEPT("upstream-hash-by", hash_by, hash_on, "$request_uri, $remote_addr, $http_NAME, $cookie_NAME, $arg_NAME",
         "requests with the same go to the same server; one such variable, not several"),
    NOT_KEPT("upstream-hash-by-subset", "one server is chosen, not a few"),
    NOT_KEPT("upstream-hash-by-subset-size", "one server is chosen, not a few"),
    KEPT("upstream-vhost", host_name, upstream_vhost, "name", "Host of what the backend gets"),
    NEEDLESS("use-port-in-redirects",
             "redirects name the port that was asked for, if it is another than the scheme's"),
    KEPT("use-regex", bool, use_regex, "true, false",
         "paths (not Exact ones) are patterns of RE2's syntax from the path's begin, whatever the case of letters"),
    GUARD("allowlist-source-range", ranges, allow, "10.0.0.0/8,192.0.2.1",
          "403 for others; also whitelist-source-range"),
    GUARD("whitelist-source-range", ranges, allow, "ranges", "as allowlist-source-range"),
    KEPT("x-forwarded-prefix", path, forwarded_prefix, "path", "X-Forwarded-Prefix of what the backend gets"),
};
const size_t ningress_annotations = countof(ingress_annotations);

/* Those of other controllers, whose users would look for their effect in vain. */
static const struct {
    const char *prefix, *of;
} strangers[] = {
    {"traefik.ingress.kubernetes.io/", "Traefik"},
    {"haproxy.org/", "HAProxy's own controller"},
    {"ingress.kubernetes.io/", "old controllers"},
    {"haproxy-ingress.github.io/", "haproxy-ingress"},
    {"nginx.org/", "nginx's own controller"},
    {"nginx.com/", "nginx's own controller"},
    {"konghq.com/", "Kong"},
    {"alb.ingress.kubernetes.io/", "AWS"},
    {"projectcontour.io/", "Contour"},
};

static const struct ingress_annotation *row_of(struct str name)
{
    for (size_t i = 0; i < countof(ingress_annotations); i++)
        if (str_eqz(name, ingress_annotations[i].name))
            return &ingress_annotations[i];
    return NULL;
}

/* What closes an Ingress is only what asks for something: "off" and "false" of a guard ask for nothing. */
static bool says_no(struct str value)
{
    return str_ieq(value, S("false")) || str_eqz(value, "0") || str_ieq(value, S("off"));
}

static void close_it(struct arena *a, struct ingress *i, struct str name, const char *why)
{
    if (i->closed.n == 0)
        i->closed = arena_fmt(a, STR_FMT " %s", STR_ARG(name), why);
}

static void not_kept(struct arena *a, struct ingress *i, struct str name, const struct ingress_annotation *row)
{
    bool closes = row->guards;
    ingress_remark(i, "AnnotationNotKept", name,
                   arena_fmt(a, "annotation " STR_FMT " is not kept: %s%s", STR_ARG(name), row->says,
                             closes ? "; so its paths answer 503" : ""),
                   S("Take it away, or see docs/ingress.md for what does the same"));
    if (closes)
        close_it(a, i, name, "is not kept");
}

static void annotation_read(struct ingress_reading *r, struct str name, struct str value)
{
    struct ingress *i = r->i;
    const struct ingress_annotation *row = row_of(str_sub(name, sizeof INGRESS_PREFIX_NGINX - 1, name.n));
    struct err err = ERR;
    if (!row) {
        ingress_remark(i, "AnnotationUnknown", name,
                       arena_fmt(r->a, "annotation " STR_FMT " is none of ingress-nginx", STR_ARG(name)),
                       S("See docs/ingress.md for those that there are"));
    } else if (value.n == 0 || (!row->read && says_no(value))) {
        return;
    } else if (row->kept == INGRESS_NOT_KEPT) {
        not_kept(r->a, i, name, row);
    } else if (row->read && !row->read(r, value, (char *)&i->set + row->member, &err)) {
        ingress_remark(i, "AnnotationInvalid", name,
                       arena_fmt(r->a, "annotation " STR_FMT " is not kept: %s%s", STR_ARG(name), err.text,
                                 row->guards ? "; so its paths answer 503" : ""),
                       arena_fmt(r->a, "It may be: %s", row->values));
        if (row->guards)
            close_it(r->a, i, name, "cannot be read");
    }
}

/* What one annotation asks of another. */
static void annotations_join(struct ingress_reading *r)
{
    struct ingress *i = r->i;
    struct ingress_settings *s = &i->set;
    static const struct str headers = S_INIT(
        "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,"
        "Authorization");
    if (s->cors_headers.n == 0)
        s->cors_headers = headers;
    if (s->auth_basic && s->auth_secret.n == 0) {
        ingress_remark(i, "AnnotationInvalid", S(INGRESS_PREFIX_NGINX "auth-secret"),
                       S("annotation " INGRESS_PREFIX_NGINX
                         "auth-type asks for users and no auth-secret names them; so "
                         "its paths answer 503"),
                       S("Name a Secret in " INGRESS_PREFIX_NGINX "auth-secret"));
        close_it(r->a, i, S("auth-type"), "has no auth-secret");
    }
    if (s->nerrors > 0 && s->default_backend.n == 0) {
        s->nerrors = 0;
        ingress_remark(i, "AnnotationNotKept", S(INGRESS_PREFIX_NGINX "custom-http-errors"),
                       S("annotation " INGRESS_PREFIX_NGINX
                         "custom-http-errors is not kept: no default-backend tells where such answers are had from"),
                       S("Name a Service in " INGRESS_PREFIX_NGINX "default-backend"));
    }
    if (s->ssl_verify && s->ssl_secret.n == 0 && (s->protocol == INGRESS_HTTPS || s->protocol == INGRESS_GRPCS)) {
        ingress_remark(i, "AnnotationInvalid", S(INGRESS_PREFIX_NGINX "proxy-ssl-verify"),
                       S("annotation " INGRESS_PREFIX_NGINX
                         "proxy-ssl-verify has no proxy-ssl-secret to verify by; so its paths answer 503"),
                       S("Name a Secret with ca.crt in " INGRESS_PREFIX_NGINX "proxy-ssl-secret"));
        close_it(r->a, i, S("proxy-ssl-verify"), "has no proxy-ssl-secret");
    }
    bool canary = s->canary_weight > 0 || s->canary_header.n > 0 || s->canary_cookie.n > 0;
    if (canary && !s->canary)
        ingress_remark(i, "AnnotationInvalid", S(INGRESS_PREFIX_NGINX "canary"),
                       S("annotations of a canary are there, and " INGRESS_PREFIX_NGINX "canary is not \"true\""),
                       S("Set it to \"true\", or take the others away"));
    if (s->client_off)
        s->client_ca = S("");
}

void ingress_annotations_read(const struct view *v, struct arena *a, struct ingress *i)
{
    struct ingress_settings *s = &i->set;
    struct ingress_reading r = {.v = v, .a = a, .i = i};
    s->ssl_redirect = true;
    s->cors_credentials = true;
    s->cors_max_age_s = 1728000;
    s->permanent_code = 301;
    s->temporal_code = 302;
    s->next_tries = 3;
    s->limit_burst = 5;
    s->canary_total = 100;
    s->cors_methods = S("GET, PUT, POST, DELETE, PATCH, OPTIONS");
    s->auth_signin_param = S("rd");
    s->cookie = S("INGRESSCOOKIE");
    val_each_member (it, val_get(obj_meta(i->o), N(annotations))) {
        struct str name = it->name->s;
        if (str_starts(name, S(INGRESS_PREFIX_NGINX)))
            annotation_read(&r, name, str_trim(val_text(&it->v)));
        for (size_t n = 0; n < countof(strangers); n++)
            if (str_starts(name, str_of(strangers[n].prefix)))
                ingress_remark(
                    i, "AnnotationNotKept", name,
                    arena_fmt(a, "annotation " STR_FMT " is not kept: it is of %s", STR_ARG(name), strangers[n].of),
                    S("See docs/ingress.md for the annotations that are"));
    }
    annotations_join(&r);
}
