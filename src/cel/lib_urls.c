/* URLs: the API server's cel/library/urls.go. */
#include "api/url.h"
#include "cel/libraries.h"

#define PARAMETERS_MAX 10000 /* of a query; more are none, as in Go */

struct cel_url {
    struct url url;
    struct str text;
};

/* As Go compares what it would write for them; of a text without changes that is the text. */
static bool url_equal(const void *a, const void *b)
{
    const struct cel_url *x = a, *y = b;
    return str_eq(x->text, y->text);
}

static size_t url_size(const void *data)
{
    const struct cel_url *u = data;
    return u->text.n;
}

static const struct cel_opaque url_type = {"kubernetes.URL", url_equal, url_size};

static struct cel_value url_of_text(CEL_RUN)
{
    struct err err = ERR;
    struct url unused;
    struct cel_url *u = ARENA_NEW(cel_arena(run), struct cel_url);
    u->text = cel_text(a[0]);
    if (!url_parse_request(cel_arena(run), u->text, &unused, &err) ||
        !url_parse(cel_arena(run), u->text, &u->url, &err))
        return cel_error(run, "URL parse error during conversion from string: %s", err.text);
    return cel_opaque_of(&url_type, u);
}

static struct cel_value url_is_valid(CEL_RUN)
{
    struct err err = ERR;
    struct url unused;
    return cel_bool(url_parse_request(cel_arena(run), cel_text(a[0]), &unused, &err));
}

static const struct url *url_in(struct cel_value v)
{
    const struct cel_url *u = v.data;
    return &u->url;
}

static struct cel_value get_scheme(CEL_RUN)
{
    return cel_string(url_in(a[0])->scheme);
}

static struct cel_value get_host(CEL_RUN)
{
    return cel_string(url_in(a[0])->host);
}

static struct cel_value get_hostname(CEL_RUN)
{
    return cel_string(url_hostname(url_in(a[0])));
}

static struct cel_value get_port(CEL_RUN)
{
    return cel_string(url_port(url_in(a[0])));
}

static struct cel_value get_escaped_path(CEL_RUN)
{
    return cel_string(url_escaped_path(cel_arena(run), url_in(a[0])));
}

static bool query_is_long(struct str query)
{
    size_t n = 1;
    for (size_t i = 0; i < query.n; i++)
        n += query.p[i] == '&';
    return n > PARAMETERS_MAX;
}

static struct cel_value get_query(CEL_RUN)
{
    struct str rest = url_in(a[0])->query, key, value;
    struct cel_map *map = cel_map_new(run, 0);
    struct cel_value out = cel_map_of(map), have;
    if (query_is_long(rest))
        return out;
    while (url_next_parameter(cel_arena(run), &rest, &key, &value)) {
        if (!cel_map_find(run, out, cel_string(key), &have)) {
            have = cel_list_of(cel_list_new(run, 1));
            cel_map_add(run, map, cel_string(key), have);
        }
        cel_list_add(run, have.list, cel_string(value));
    }
    return out;
}

static const struct cel_function rows[] = {
    {"url", "string_to_url", "(string) kubernetes.URL", url_of_text, CEL_COST_PARSE, 0, 0},
    {"getScheme", "url_get_scheme", "kubernetes.URL.() string", get_scheme, CEL_COST_ONE, 0, 0},
    {"getHost", "url_get_host", "kubernetes.URL.() string", get_host, CEL_COST_ONE, 0, 0},
    {"getHostname", "url_get_hostname", "kubernetes.URL.() string", get_hostname, CEL_COST_ONE, 0, 0},
    {"getPort", "url_get_port", "kubernetes.URL.() string", get_port, CEL_COST_ONE, 0, 0},
    {"getEscapedPath", "url_get_escaped_path", "kubernetes.URL.() string", get_escaped_path, CEL_COST_ONE, 0, 0},
    {"getQuery", "url_get_query", "kubernetes.URL.() map(string, list(string))", get_query, CEL_COST_ONE, 0, 0},
    {"isURL", "is_url_string", "(string) bool", url_is_valid, CEL_COST_ONE, 0, 0},
};
const struct cel_library cel_lib_urls = CEL_LIBRARY("kubernetes.urls", rows);
