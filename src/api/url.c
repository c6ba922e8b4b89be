#include "api/url.h"
#include "api/formats.h"
#include "api/netip.h"

enum url_part { PART_PATH, PART_HOST, PART_ZONE, PART_USER, PART_QUERY, PART_FRAGMENT };

static bool is_unreserved(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-_.~", c));
}

static bool is_host_char(uint8_t c)
{
    return is_unreserved(c) || (c && strchr("!$&'()*+,;=:[]<>\"", c));
}

static bool is_path_char(uint8_t c)
{
    return is_unreserved(c) || (c && strchr("$&+,/:;=@", c));
}

static bool quoted_fail(struct err *err, const char *before, struct str what, const char *after)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addz(&b, before);
    add_quoted(&b, what);
    strbuf_addz(&b, after);
    return err_set(err, E_INVALID, STR_FMT, STR_ARG(strbuf_str(&b)));
}

/* Whether the escape at s.p[i] may stand in this part. */
static bool escape_is_fine(struct str s, size_t i, enum url_part part)
{
    if (i + 2 >= s.n || hex_digit(s.p[i + 1]) < 0 || hex_digit(s.p[i + 2]) < 0)
        return false;
    bool percent = s.p[i + 1] == '2' && s.p[i + 2] == '5';
    int value = hex_digit(s.p[i + 1]) << 4 | hex_digit(s.p[i + 2]);
    if (part == PART_HOST)
        return percent || value >= 0x80;
    return part != PART_ZONE || percent || value == ' ' || is_host_char((uint8_t)value);
}

static bool part_unescape(struct arena *a, struct str s, enum url_part part, struct str *out, struct err *err)
{
    bool change = false;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = (uint8_t)s.p[i];
        change = change || c == '%' || (c == '+' && part == PART_QUERY);
        if (c == '%' && !escape_is_fine(s, i, part))
            return quoted_fail(err, "invalid URL escape ", str_sub(s, i, i + 3), "");
        if (c == '%')
            i += 2;
        else if ((part == PART_HOST || part == PART_ZONE) && c < 0x80 && !is_host_char(c))
            return quoted_fail(err, "invalid character ", str_sub(s, i, i + 1), " in host name");
    }
    *out = s;
    if (!change)
        return true;
    char *p = arena_alloc(a, s.n + 1);
    *out = (struct str){p, 0};
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '%') {
            p[out->n++] = (char)(hex_digit(s.p[i + 1]) << 4 | hex_digit(s.p[i + 2]));
            i += 2;
        } else {
            p[out->n++] = s.p[i] == '+' && part == PART_QUERY ? ' ' : s.p[i];
        }
    }
    return true;
}

static struct str path_escape(struct arena *a, struct str path)
{
    char *p = arena_alloc(a, 3 * path.n + 1);
    struct str out = {p, 0};
    for (size_t i = 0; i < path.n; i++) {
        uint8_t c = (uint8_t)path.p[i];
        if (is_path_char(c)) {
            p[out.n++] = (char)c;
            continue;
        }
        p[out.n++] = '%';
        p[out.n++] = "0123456789ABCDEF"[c >> 4];
        p[out.n++] = "0123456789ABCDEF"[c & 15];
    }
    return out;
}

/* False: it begins with a colon. Without a scheme, that is empty and the rest all. */
static bool scheme_cut(struct arena *a, struct str *rest, struct str *scheme, struct err *err)
{
    for (size_t i = 0; i < rest->n; i++) {
        char c = rest->p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (letter || (i && c && ((c >= '0' && c <= '9') || strchr("+-.", c))))
            continue;
        if (c != ':')
            return true;
        if (!i)
            return err_set(err, E_INVALID, "missing protocol scheme");
        char *low = arena_strz(a, str_sub(*rest, 0, i));
        for (size_t k = 0; k < i; k++)
            low[k] = low[k] >= 'A' && low[k] <= 'Z' ? (char)(low[k] + 32) : low[k];
        *scheme = (struct str){low, i};
        *rest = str_sub(*rest, i + 1, rest->n);
        return true;
    }
    return true;
}

static bool port_is_valid(struct str s) /* with its colon; none is fine */
{
    for (size_t i = 1; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return !s.n || s.p[0] == ':';
}

/* "[...]:80" */
static bool literal_parse(struct arena *a, struct str host, struct str *out, struct err *err)
{
    struct netip ip;
    struct err why = ERR;
    ptrdiff_t end = str_rfind_char(host, ']');
    if (end < 0)
        return err_set(err, E_INVALID, "missing ']' in host");
    struct str port = str_sub(host, (size_t)end + 1, host.n), name = str_sub(host, 1, (size_t)end), zone = STR_NONE;
    if (!port_is_valid(port))
        return quoted_fail(err, "invalid port ", port, " after host");
    ptrdiff_t percent = str_find(name, S("%25"));
    if (percent >= 0) {
        zone = str_sub(name, (size_t)percent, name.n);
        name = str_sub(name, 0, (size_t)percent);
    }
    if (!part_unescape(a, name, PART_HOST, &name, err) || !part_unescape(a, zone, PART_ZONE, &zone, err))
        return false;
    name = arena_fmt(a, STR_FMT STR_FMT, STR_ARG(name), STR_ARG(zone));
    if (!netip_parse(name, &ip, &why))
        return err_set(err, E_INVALID, "invalid host: %s", why.text);
    if (ip.v4)
        return err_set(err, E_INVALID, "invalid IP-literal");
    *out = arena_fmt(a, "[" STR_FMT "]" STR_FMT, STR_ARG(name), STR_ARG(port));
    return true;
}

static bool host_parse(struct arena *a, struct str scheme, struct str host, struct str *out, struct err *err)
{
    ptrdiff_t open = str_rfind_char(host, '['), colon = str_find_char(host, ':');
    if (open > 0)
        return err_set(err, E_INVALID, "invalid IP-literal");
    if (open == 0)
        return literal_parse(a, host, out, err);
    if (colon >= 0 && !str_eqz(scheme, "http") && !str_eqz(scheme, "https"))
        colon = str_rfind_char(host, ':');
    if (colon >= 0 && !port_is_valid(str_sub(host, (size_t)colon, host.n)))
        return quoted_fail(err, "invalid port ", str_sub(host, (size_t)colon, host.n), " after host");
    return part_unescape(a, host, PART_HOST, out, err);
}

static bool authority_parse(struct arena *a, struct str text, struct url *out, struct err *err)
{
    ptrdiff_t at = str_rfind_char(text, '@');
    if (!host_parse(a, out->scheme, str_sub(text, (size_t)(at + 1), text.n), &out->host, err))
        return false;
    if (at < 0)
        return true;
    struct str user = str_sub(text, 0, (size_t)at), unused;
    out->user = user;
    for (size_t i = 0; i < user.n; i++)
        if (!is_unreserved((uint8_t)user.p[i]) && !(user.p[i] && strchr(":!$&'()*+,;=%@", user.p[i])))
            return err_set(err, E_INVALID, "net/url: invalid userinfo");
    struct str password;
    str_split(user, ':', &user, &password);
    return part_unescape(a, user, PART_USER, &unused, err) && part_unescape(a, password, PART_USER, &unused, err);
}

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.p[i] < ' ' || s.p[i] == 0x7f)
            return true;
    return false;
}

static bool text_parse(struct arena *a, struct str text, bool request, struct url *out, struct err *err)
{
    struct str rest = text;
    *out = (struct url){.scheme = S(""), .host = S(""), .path = S(""), .query = S(""), .raw_path = S("")};
    out->user = out->fragment = S("");
    if (has_control(text))
        return err_set(err, E_INVALID, "net/url: invalid control character in URL");
    if (!text.n && request)
        return err_set(err, E_INVALID, "empty url");
    if (str_eqz(text, "*")) {
        out->path = out->raw_path = text;
        return true;
    }
    if (!scheme_cut(a, &rest, &out->scheme, err))
        return false;
    str_split(rest, '?', &rest, &out->query);
    if (!str_starts(rest, S("/"))) {
        struct str first = rest, later;
        if (out->scheme.n) /* "mailto:a": opaque */
            return true;
        if (request)
            return err_set(err, E_INVALID, "invalid URI for request");
        str_split(rest, '/', &first, &later);
        if (str_find_char(first, ':') >= 0)
            return err_set(err, E_INVALID, "first path segment in URL cannot contain colon");
    }
    if ((out->scheme.n || (!request && !str_starts(rest, S("///")))) && str_starts(rest, S("//"))) {
        struct str authority = str_sub(rest, 2, rest.n);
        ptrdiff_t slash = str_find_char(authority, '/');
        rest = slash < 0 ? S("") : str_sub(authority, (size_t)slash, authority.n);
        authority = slash < 0 ? authority : str_sub(authority, 0, (size_t)slash);
        if (!authority_parse(a, authority, out, err))
            return false;
    }
    out->raw_path = rest;
    return part_unescape(a, rest, PART_PATH, &out->path, err);
}

static bool parse_wrap(struct str text, struct err *err)
{
    struct err why = *err;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addz(&b, "parse ");
    add_quoted(&b, text);
    return err_set(err, E_INVALID, STR_FMT ": %s", STR_ARG(strbuf_str(&b)), why.text);
}

bool url_parse_request(struct arena *a, struct str text, struct url *out, struct err *err)
{
    struct err why = ERR;
    if (text_parse(a, text, true, out, &why))
        return true;
    *err = why;
    return parse_wrap(text, err);
}

bool url_parse(struct arena *a, struct str text, struct url *out, struct err *err)
{
    struct err why = ERR;
    struct str head, fragment, unused;
    str_split(text, '#', &head, &fragment);
    if (!text_parse(a, head, false, out, &why)) {
        *err = why;
        return parse_wrap(head, err);
    }
    out->fragment = fragment.p ? fragment : S("");
    if (part_unescape(a, fragment, PART_FRAGMENT, &unused, &why))
        return true;
    *err = why;
    return parse_wrap(text, err);
}

static void host_split(const struct url *u, struct str *name, struct str *port)
{
    ptrdiff_t colon = str_rfind_char(u->host, ':');
    *name = u->host;
    *port = S("");
    if (colon >= 0 && port_is_valid(str_sub(u->host, (size_t)colon, u->host.n))) {
        *name = str_sub(u->host, 0, (size_t)colon);
        *port = str_sub(u->host, (size_t)colon + 1, u->host.n);
    }
    if (str_starts(*name, S("[")) && str_ends(*name, S("]")))
        *name = str_sub(*name, 1, name->n - 1);
}

struct str url_hostname(const struct url *u)
{
    struct str name, port;
    host_split(u, &name, &port);
    return name;
}

struct str url_port(const struct url *u)
{
    struct str name, port;
    host_split(u, &name, &port);
    return port;
}

struct str url_escaped_path(struct arena *a, const struct url *u)
{
    bool fine = true;
    for (size_t i = 0; i < u->raw_path.n && fine; i++) {
        uint8_t c = (uint8_t)u->raw_path.p[i];
        fine = is_path_char(c) || (c && strchr("!'()*[]%", c));
    }
    return fine ? u->raw_path : path_escape(a, u->path);
}

bool url_next_parameter(struct arena *a, struct str *rest, struct str *key, struct str *value)
{
    struct str part;
    struct err ignored = ERR;
    while (rest->n && str_cut(rest, '&', &part)) {
        if (!part.n || str_find_char(part, ';') >= 0)
            continue;
        str_split(part, '=', key, value);
        if (!value->p)
            *value = S("");
        if (part_unescape(a, *key, PART_QUERY, key, &ignored) &&
            part_unescape(a, *value, PART_QUERY, value, &ignored))
            return true;
    }
    return false;
}
