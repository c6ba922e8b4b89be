/* Values of annotations, by the rules of ingress-nginx's parsers where it has such, and no looser than what is done
 * with them here allows: names of headers and cookies are of [A-Za-z0-9_-], texts are of one line. */
#include "control/ingress_values.h"
#include "api/formats.h"
#include "api/netip.h"
#include "api/url.h"
#include "base/clock.h"
#include "base/regex.h"

/* What each of them takes (ingress_value_fn). */
#define READ struct ingress_reading *r UNUSED, struct str value, void *member UNUSED, struct err *err UNUSED

static bool value_bad(struct err *err, struct str value, const char *must)
{
    return err_set(err, E_INVALID, "\"" STR_FMT "\" %s", STR_ARG(str_sub(value, 0, 200)), must);
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_name_char(s.p[i]))
            return false;
    return s.n > 0 && s.n <= 64;
}

static bool is_line(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return false;
    return s.n <= 4096 && str_utf8_ok(s);
}

/* ---- of one word ---- */

static bool word_is_true(struct str v)
{
    return str_eqz(v, "1") || str_eqz(v, "t") || str_eqz(v, "T") || str_eqz(v, "true") || str_eqz(v, "TRUE") ||
           str_eqz(v, "True");
}

static bool word_is_false(struct str v)
{
    return str_eqz(v, "0") || str_eqz(v, "f") || str_eqz(v, "F") || str_eqz(v, "false") || str_eqz(v, "FALSE") ||
           str_eqz(v, "False");
}

bool value_bool(READ)
{
    if (!word_is_true(value) && !word_is_false(value))
        return value_bad(err, value, "is neither true nor false");
    *(bool *)member = word_is_true(value);
    return true;
}

bool value_on_off(READ)
{
    if (!str_eqz(value, "on") && !str_eqz(value, "off"))
        return value_bad(err, value, "is neither on nor off");
    *(bool *)member = str_eqz(value, "on");
    return true;
}

bool value_affinity(READ)
{
    if (!str_eqz(value, "cookie"))
        return value_bad(err, value, "is no affinity that there is");
    *(bool *)member = true;
    return true;
}

bool value_affinity_mode(READ)
{
    return str_eqz(value, "balanced") || str_eqz(value, "persistent") ||
           value_bad(err, value, "is neither balanced nor persistent");
}

bool value_canary_behavior(READ)
{
    return str_eqz(value, "sticky") || value_bad(err, value, "is not kept: sessions stay with the canary (sticky)");
}

bool value_auth_type(READ)
{
    if (str_eqz(value, "digest"))
        return value_bad(err, value, "is not kept, as it rests on MD5: use basic over https");
    if (!str_eqz(value, "basic"))
        return value_bad(err, value, "is no authentication that there is");
    *(bool *)member = true;
    return true;
}

bool value_secret_type(READ)
{
    if (!str_eqz(value, "auth-file") && !str_eqz(value, "auth-map"))
        return value_bad(err, value, "is neither auth-file nor auth-map");
    *(bool *)member = str_eqz(value, "auth-map");
    return true;
}

bool value_verify_client(READ)
{
    if (str_eqz(value, "optional_no_ca"))
        return value_bad(err, value, "is not kept: a certificate that nobody signed would pass");
    if (!str_eqz(value, "on") && !str_eqz(value, "off") && !str_eqz(value, "optional"))
        return value_bad(err, value, "is neither on, off nor optional");
    *(bool *)member = str_eqz(value, "optional");
    r->i->set.client_off = str_eqz(value, "off");
    return true;
}

bool value_balance(READ)
{
    if (!str_eqz(value, "round_robin") && !str_eqz(value, "ewma"))
        return value_bad(err, value, "is neither round_robin nor ewma");
    *(enum ingress_balance *)member = str_eqz(value, "ewma") ? INGRESS_LEAST : INGRESS_ROUND_ROBIN;
    return true;
}

bool value_protocol(READ)
{
    static const struct {
        const char *name;
        enum ingress_protocol is;
    } known[] = {{"HTTP", INGRESS_HTTP},
                 {"HTTPS", INGRESS_HTTPS},
                 {"AUTO_HTTP", INGRESS_AUTO_HTTP},
                 {"GRPC", INGRESS_GRPC},
                 {"GRPCS", INGRESS_GRPCS}};
    for (size_t i = 0; i < countof(known); i++)
        if (str_ieq(value, str_of(known[i].name))) {
            *(enum ingress_protocol *)member = known[i].is;
            return true;
        }
    return value_bad(err, value, "is no protocol that is spoken to backends");
}

bool value_samesite(READ)
{
    if (!str_eqz(value, "None") && !str_eqz(value, "Lax") && !str_eqz(value, "Strict"))
        return value_bad(err, value, "is neither None, Lax nor Strict");
    *(struct str *)member = value;
    return true;
}

bool value_satisfy(READ)
{
    return str_eqz(value, "all") || value_bad(err, value, "is not kept: all that is asked for must hold");
}

bool value_http_version(READ)
{
    return str_eqz(value, "1.1") || value_bad(err, value, "is not spoken to backends: HTTP/1.1 is, or HTTP/2 (GRPC)");
}

static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"};

bool value_method(READ)
{
    for (size_t i = 0; i < countof(methods); i++)
        if (str_eqz(value, methods[i])) {
            *(struct str *)member = value;
            return true;
        }
    return value_bad(err, value, "is no method of HTTP");
}

/* ---- numbers ---- */

static bool number_read(struct str value, int64_t least, int64_t most, int64_t *out, struct err *err)
{
    if (!str_to_i64(value, 0, most, out) || *out < least)
        return err_set(err, E_INVALID, "\"" STR_FMT "\" is no number from %lld to %lld",
                       STR_ARG(str_sub(value, 0, 40)), (long long)least, (long long)most);
    return true;
}

bool value_number(READ)
{
    int64_t n;
    if (!number_read(value, 0, 1000000000, &n, err))
        return false;
    *(int64_t *)member = n;
    return true;
}

bool value_number_1(READ)
{
    int64_t n;
    if (!number_read(value, 1, 1000000000, &n, err))
        return false;
    *(int64_t *)member = n;
    return true;
}

/* Upstream knows whole seconds alone; nginx's own "60s" is what many write. */
bool value_seconds(READ)
{
    int64_t n;
    struct str digits = str_ends(value, S("s")) ? str_sub(value, 0, value.n - 1) : value;
    if (!number_read(digits, 1, 86400 * 365, &n, err))
        return false;
    *(int64_t *)member = n * NS_PER_S;
    return true;
}

/* "-1" ends a cookie at once, for upstream: here it is one of the browser's session. */
bool value_seconds_plain(READ)
{
    int64_t n = 0;
    if (!str_eqz(value, "-1") && !number_read(value, 0, INT32_MAX, &n, err))
        return false;
    *(int64_t *)member = n;
    return true;
}

bool value_size(READ)
{
    static const char units[] = "bkmg";
    char last = value.n ? (char)(value.p[value.n - 1] | 0x20) : 0;
    const char *unit = last ? strchr(units, last) : NULL;
    int64_t n;
    if (!str_to_i64(unit ? str_sub(value, 0, value.n - 1) : value, 0, INT64_C(1) << 32, &n))
        return value_bad(err, value, "is no size such as 8m (b, k, m, g)");
    for (const char *u = units; unit && u < unit; u++)
        n *= 1024;
    *(int64_t *)member = n;
    return true;
}

bool value_redirect_code(READ)
{
    static const int64_t known[] = {301, 302, 303, 307, 308};
    int64_t n = 0;
    bool is = str_to_i64(value, 0, 999, &n), found = false;
    for (size_t i = 0; i < countof(known); i++)
        found |= known[i] == n;
    if (!is || !found)
        return value_bad(err, value, "is no code of a redirect (301, 302, 303, 307, 308)");
    *(int64_t *)member = n;
    return true;
}

bool value_codes(READ)
{
    ARRAY(int) list = {0};
    struct str rest = value, part;
    bool good = true;
    while (good && str_cut(&rest, ',', &part)) {
        int64_t n = 0;
        part = str_trim(part);
        if (part.n == 0)
            continue;
        good = str_to_i64(part, 0, 599, &n) && n >= 300 && list.n < 64;
        array_push(&list, (int)n);
    }
    if (good && list.n > 0) {
        *(const int **)member = arena_dup(r->a, list.p, list.n * sizeof *list.p);
        r->i->set.nerrors = list.n;
    }
    array_fini(&list);
    return good || value_bad(err, value, "is no list of codes from 300 to 599");
}

/* ---- texts ---- */

bool value_text(READ)
{
    if (!is_line(value))
        return value_bad(err, value, "is no text of one line");
    *(struct str *)member = value;
    return true;
}

bool value_path(READ)
{
    if (!is_line(value) || value.p[0] != '/' || str_find_char(value, ' ') >= 0)
        return value_bad(err, value, "is no path from the root");
    *(struct str *)member = value;
    return true;
}

bool ingress_is_cookie_path(struct str path)
{
    for (size_t i = 0; i < path.n; i++)
        if (!is_name_char(path.p[i]) && !strchr("/.~", path.p[i]))
            return false;
    return path.n > 0 && path.n <= 1024 && path.p[0] == '/';
}

bool value_cookie_path(READ)
{
    if (!ingress_is_cookie_path(value))
        return value_bad(err, value, "is no path of [A-Za-z0-9/_.~-] from the root");
    *(struct str *)member = value;
    return true;
}

bool value_rewrite(READ)
{
    struct str path = value;
    if (!is_line(value) || str_find_char(value, ' ') >= 0)
        return value_bad(err, value, "is no path");
    if (path.p[0] != '/' && path.p[0] != '$')
        path = STR_JOIN(r->a, S("/"), path);
    for (size_t i = 0; i < path.n; i++)
        if (path.p[i] == '$' && (i + 1 == path.n || path.p[i + 1] < '1' || path.p[i + 1] > '9'))
            return value_bad(err, value, "has a $ that is not one of $1 to $9");
    *(struct str *)member = path;
    return true;
}

bool value_header_name(READ)
{
    if (!is_name(value))
        return value_bad(err, value, "is no name of a header ([A-Za-z0-9_-], at most 64)");
    *(struct str *)member = value;
    return true;
}

bool value_cookie_name(READ)
{
    if (!is_name(value))
        return value_bad(err, value, "is no name of a cookie ([A-Za-z0-9_-], at most 64)");
    *(struct str *)member = value;
    return true;
}

bool value_host_name(READ)
{
    struct str host = value, port;
    (void)str_split(value, ':', &host, &port);
    if (!format_ok(format_dns1123_subdomain, str_starts(host, S(".")) ? str_sub(host, 1, host.n) : host))
        return value_bad(err, value, "is no host's name");
    *(struct str *)member = value;
    return true;
}

bool value_service(READ)
{
    if (!format_ok(format_dns1123_label, value))
        return value_bad(err, value, "is no name of a Service");
    *(struct str *)member = value;
    return true;
}

/* "NAME" or "NAMESPACE/NAME" of the Ingress's own namespace. */
static bool object_name_read(struct ingress_reading *r, struct str value, struct str *out, struct err *err)
{
    struct str ns, name = value;
    if (str_split(value, '/', &ns, &name) && !str_eq(ns, r->i->o->ns))
        return value_bad(err, value, "is of another namespace, and an Ingress reads none but its own");
    if (str_find_char(value, '/') < 0)
        name = value;
    if (!format_ok(format_dns1123_subdomain, name))
        return value_bad(err, value, "is no name of an object");
    *out = name;
    return true;
}

bool value_secret(READ)
{
    return object_name_read(r, value, member, err);
}

bool value_configmap(READ)
{
    return object_name_read(r, value, member, err);
}

bool value_pattern(READ)
{
    if (!is_line(value) || !regex_compile(r->a, value, err))
        return err->kind != E_NONE ? err_wrap(err, "\"" STR_FMT "\"", STR_ARG(value))
                                   : value_bad(err, value, "is no text of one line");
    *(struct str *)member = value;
    return true;
}

/* ---- lists ---- */

static size_t list_read(struct ingress_reading *r, struct str value, const struct str **out)
{
    ARRAY(struct str) list = {0};
    struct str part;
    while (str_cut(&value, ',', &part))
        if (str_trim(part).n > 0)
            array_push(&list, str_trim(part));
    size_t n = list.n;
    *out = arena_dup(r->a, list.p ? list.p : (struct str[]){STR_NONE}, MAX(n, 1) * sizeof(struct str));
    array_fini(&list);
    return n;
}

bool value_header_list(READ)
{
    const struct str *list;
    size_t n = list_read(r, value, &list);
    for (size_t i = 0; i < n; i++)
        if (!is_name(list[i]))
            return value_bad(err, list[i], "is no name of a header ([A-Za-z0-9_-], at most 64)");
    *(const struct str **)member = list;
    r->i->set.nauth_headers = n;
    return true;
}

static bool names_read(struct ingress_reading *r, struct str value, struct str *out, const char *must,
                       struct err *err)
{
    const struct str *list;
    size_t n = list_read(r, value, &list);
    struct strbuf b = STRBUF(STRBUF_TEXT);
    bool good = n > 0;
    for (size_t i = 0; good && i < n; i++) {
        good = is_name(list[i]) || str_eqz(list[i], "*");
        strbuf_addf(&b, "%s" STR_FMT, i ? ", " : "", STR_ARG(list[i]));
    }
    if (good)
        *out = str_dup(r->a, strbuf_str(&b));
    strbuf_fini(&b);
    return good || value_bad(err, value, must);
}

bool value_header_text(READ)
{
    return names_read(r, value, member, "is no list of headers", err);
}

bool value_method_list(READ)
{
    return names_read(r, value, member, "is no list of methods", err);
}

static bool is_origin(struct str s)
{
    struct str host;
    if (str_eqz(s, "*"))
        return true;
    ptrdiff_t at = str_find(s, S("://"));
    if (at <= 0 || s.n > 300)
        return false;
    host = str_sub(s, (size_t)at + 3, s.n);
    for (size_t i = 0; i < (size_t)at; i++)
        if (!is_name_char(s.p[i]) && s.p[i] != '.' && s.p[i] != '+')
            return false;
    if (str_starts(host, S("*.")))
        host = str_sub(host, 2, host.n);
    for (size_t i = 0; i < host.n; i++)
        if (!is_name_char(host.p[i]) && !strchr(".:[]", host.p[i]))
            return false;
    return host.n > 0;
}

bool value_origins(READ)
{
    const struct str *list;
    size_t n = list_read(r, value, &list);
    for (size_t i = 0; i < n; i++)
        if (!is_origin(list[i]))
            return value_bad(err, list[i], "is no origin such as https://a.example or https://*.example");
    *(const struct str **)member = list;
    r->i->set.ncors_origins = n;
    return true;
}

bool value_host_list(READ)
{
    const struct str *list;
    size_t n = list_read(r, value, &list);
    struct str *hosts = arena_alloc(r->a, (n + 1) * sizeof *hosts);
    for (size_t i = 0; i < n; i++) {
        bool star = str_starts(list[i], S("*."));
        if (!format_ok(star ? format_wildcard_subdomain : format_dns1123_subdomain, list[i]))
            return value_bad(err, list[i], "is no host's name in small letters (patterns are not kept)");
        hosts[i] = list[i];
    }
    *(const struct str **)member = hosts;
    r->i->set.naliases = n;
    return true;
}

bool value_ranges(READ)
{
    const struct str *list;
    size_t n = list_read(r, value, &list);
    struct strbuf b = STRBUF(STRBUF_TEXT);
    bool good = n > 0;
    for (size_t i = 0; good && i < n; i++) {
        struct netip ip;
        struct netip_prefix net;
        struct err bad = ERR; /* said in our own words */
        good = netip_parse(list[i], &ip, &bad) ? ip.zone.n == 0 : netip_prefix_parse(list[i], &net, &bad);
        if (!good)
            value_bad(err, list[i], "is no address and no range such as 10.0.0.0/8");
        strbuf_addf(&b, "%s" STR_FMT, i ? "," : "", STR_ARG(list[i]));
    }
    if (b.over)
        good = value_bad(err, value, "is too long");
    if (good)
        *(struct str *)member = str_dup(r->a, strbuf_str(&b));
    strbuf_fini(&b);
    return good || (err->kind == E_NONE && value_bad(err, value, "is empty"));
}

/* ---- URLs ---- */

/* What may stand for a variable of nginx; the rest would be sent as it is written. */
static bool variables_are(struct str text, const char *const *known, size_t nknown)
{
    for (size_t i = 0; i < text.n; i++) {
        bool found = text.p[i] != '$';
        for (size_t k = 0; !found && k < nknown; k++)
            found = str_starts(str_sub(text, i, text.n), str_of(known[k]));
        if (!found)
            return false;
    }
    return true;
}

bool value_redirect(READ)
{
    static const char *const known[] = {"$request_uri"};
    if (!is_line(value) || (!str_starts(value, S("http://")) && !str_starts(value, S("https://"))))
        return value_bad(err, value, "is no URL of http or https");
    if (str_find_char(value, ' ') >= 0 || !variables_are(value, known, countof(known)))
        return value_bad(err, value, "has a variable that is not $request_uri, or a space");
    *(struct str *)member = value;
    return true;
}

bool value_url_variables(READ)
{
    static const char *const known[] = {
        "$escaped_request_uri", "$request_uri",       "$http_host", "$host", "$scheme",
        "$best_http_host",      "$pass_access_scheme"};
    if (!is_line(value) || (!str_starts(value, S("http://")) && !str_starts(value, S("https://")) &&
                            !str_starts(value, S("$scheme://")) && !str_starts(value, S("/"))))
        return value_bad(err, value, "is no URL of http or https");
    if (str_find_char(value, ' ') >= 0 || !variables_are(value, known, countof(known)))
        return value_bad(err, value,
                         "has a variable that is not known here ($host, $scheme, $escaped_request_uri ...)");
    *(struct str *)member = value;
    return true;
}

/* http://NAME.NAMESPACE[.svc[.cluster.local]][:PORT][$request_uri] */
bool value_mirror(READ)
{
    static const char *const ends[] = {"$request_uri", "/"};
    struct str at = value, host, port = STR_NONE, name, ns;
    uint64_t number = 80;
    if (!str_starts(at, S("http://")))
        return value_bad(err, value, "is no http:// URL of a Service in the cluster");
    at = str_sub(at, 7, at.n);
    for (size_t i = 0; i < countof(ends); i++)
        if (str_ends(at, str_of(ends[i])))
            at = str_sub(at, 0, at.n - strlen(ends[i]));
    if (str_split(at, ':', &host, &port) && (!str_to_u64(port, 65535, &number) || number == 0))
        return value_bad(err, value, "names no port");
    if (!str_split(host, '.', &name, &ns))
        return value_bad(err, value, "is no http:// URL of a Service in the cluster (SERVICE.NAMESPACE.svc)");
    struct str space, behind;
    (void)str_split(ns, '.', &space, &behind);
    if ((behind.n > 0 && !str_eqz(behind, "svc") && !str_starts(behind, S("svc."))) ||
        !format_ok(format_dns1123_label, name) || !format_ok(format_dns1123_label, space))
        return value_bad(err, value, "is no http:// URL of a Service in the cluster (SERVICE.NAMESPACE.svc)");
    *(struct str *)member = STR_JOIN(r->a, space, S("/"), name);
    r->i->set.mirror_port = (uint16_t)number;
    return true;
}

/* ---- of several words ---- */

bool value_next_upstream(READ)
{
    static const char *const plain[] = {"error", "timeout", "invalid_header"};
    struct ingress_settings *s = &r->i->set;
    int *codes = arena_alloc(r->a, 16 * sizeof *codes);
    size_t n = 0;
    struct str rest = value, word;
    bool off = false, unsafe = false;
    while (str_cut(&rest, ' ', &word)) {
        int64_t code;
        bool known = word.n == 0;
        for (size_t i = 0; i < countof(plain); i++)
            known |= str_eqz(word, plain[i]);
        off |= str_eqz(word, "off");
        unsafe |= str_eqz(word, "non_idempotent");
        if (str_starts(word, S("http_")) && str_to_i64(str_sub(word, 5, word.n), 400, 599, &code) && n < 16) {
            codes[n++] = (int)code;
            known = true;
        }
        if (!known && !str_eqz(word, "off") && !str_eqz(word, "non_idempotent"))
            return value_bad(err, word, "is no case in which another server is tried");
    }
    s->next_codes = codes;
    s->nnext_codes = off ? 0 : n;
    s->next_off = off;
    s->next_unsafe = unsafe && !off;
    *(bool *)member = true;
    return true;
}

/* "200 202 401 5m, 404 1m": the time of those that let through (2xx, or where no code is named: any). */
bool value_cache_duration(READ)
{
    static const struct {
        const char *unit;
        int64_t s;
    } units[] = {{"ms", 0},    {"s", 1},      {"m", 60},      {"h", 3600},
                 {"d", 86400}, {"w", 604800}, {"M", 2592000}, {"y", 31536000}};
    const struct str *list;
    size_t n = list_read(r, value, &list);
    int64_t least = 0;
    for (size_t i = 0; i < n; i++) {
        struct str rest = list[i], word;
        int64_t total = 0, code;
        bool codes = false, lets = false, timed = false;
        while (str_cut(&rest, ' ', &word)) {
            if (word.n == 3 && str_to_i64(word, 0, 599, &code) && code >= 100) {
                codes = true;
                lets |= code / 100 == 2;
                continue;
            }
            for (size_t u = 0; u < countof(units); u++) {
                int64_t number;
                struct str unit = str_of(units[u].unit);
                if (str_ends(word, unit) && str_to_i64(str_sub(word, 0, word.n - unit.n), 0, INT32_MAX, &number)) {
                    total += number * units[u].s;
                    timed = true;
                    break;
                }
            }
        }
        if (!timed)
            return value_bad(err, list[i], "has no time such as 5m");
        if ((lets || !codes) && (least == 0 || total < least))
            least = total;
    }
    *(int64_t *)member = least;
    return true;
}

bool value_cache_key(READ)
{
    *(bool *)member = value.n > 0;
    return value.n > 0 || value_bad(err, value, "is empty");
}

bool value_hash_by(READ)
{
    static const struct {
        const char *is, *means;
    } whole[] = {{"$request_uri", "uri"},           {"$uri", "uri"},          {"$remote_addr", "source"},
                 {"$binary_remote_addr", "source"}, {"$host", "header:host"}, {"$http_host", "header:host"}};
    static const struct {
        const char *begins, *means;
    } parts[] = {{"$http_", "header:"}, {"$cookie_", "cookie:"}, {"$arg_", "arg:"}};
    for (size_t i = 0; i < countof(whole); i++)
        if (str_eqz(value, whole[i].is)) {
            *(struct str *)member = str_of(whole[i].means);
            return true;
        }
    for (size_t i = 0; i < countof(parts); i++) {
        struct str begins = str_of(parts[i].begins), name = str_sub(value, begins.n, value.n);
        if (!str_starts(value, begins) || !is_name(name))
            continue;
        char *text = arena_strz(r->a, name);
        for (char *c = text; i == 0 && *c; c++)
            if (*c == '_')
                *c = '-'; /* as nginx writes names of headers */
        *(struct str *)member = STR_JOIN(r->a, str_of(parts[i].means), str_of(text));
        return true;
    }
    return value_bad(err, value, "is none of the variables that requests can be told apart by here");
}
