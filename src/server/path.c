#include "server/path.h"
#include "wire/http.h"

static const char *verb_of(struct str method)
{
    static const struct {
        struct str method;
        const char *verb;
    } verbs[] = {{S_INIT("POST"), "create"}, {S_INIT("GET"), "get"},     {S_INIT("HEAD"), "get"},
                 {S_INIT("PUT"), "update"},  {S_INIT("PATCH"), "patch"}, {S_INIT("DELETE"), "delete"}};
    for (size_t i = 0; i < countof(verbs); i++)
        if (str_eq(verbs[i].method, method))
            return verbs[i].verb;
    return "";
}

bool path_parse(struct arena *a, struct str method, struct str path, struct path_info *out)
{
    *out = (struct path_info){.verb = verb_of(method)};
    enum { MOST = 12 };
    struct str part[MOST], segment, rest = path, rests[MOST + 1] = {0};
    size_t n = 0;
    if (rest.n && rest.p[0] == '/')
        rest = str_sub(rest, 1, rest.n);
    while (n < MOST && str_cut(&rest, '/', &segment)) {
        if (!segment.n)
            continue; /* a double or trailing slash */
        if (!http_unescape(a, segment, &part[n]))
            return false;
        rests[++n] = rest.p ? rest : S("");
    }
    size_t i = 0;
    if (n < 3 || (!str_eq(part[0], S("api")) && !str_eq(part[0], S("apis"))))
        return true;
    out->prefix = part[i++];
    if (str_eq(out->prefix, S("apis"))) {
        if (n < 4)
            return true;
        out->group = part[i++];
    }
    out->version = part[i++];
    out->is_resource = true;
    if (str_eq(part[i], S("watch")) && n > i + 1) {
        out->watch_path = true;
        out->verb = "watch";
        i++;
    }
    if (str_eq(part[i], S("namespaces"))) {
        if (n > i + 1) {
            out->ns = part[i + 1];
            /* the namespace itself, or one of its subresources */
            if (n > i + 2 && !str_eq(part[i + 2], S("status")) && !str_eq(part[i + 2], S("finalize")))
                i += 2, out->in_namespace = true;
        }
    }
    out->resource = part[i++];
    if (i < n)
        out->name = part[i++];
    if (i < n) {
        out->sub = part[i++];
        out->rest = rests[i];
    }
    if (!out->name.n) {
        if (str_eqz(str_of(out->verb), "get"))
            out->verb = "list";
        else if (str_eqz(str_of(out->verb), "delete"))
            out->verb = "deletecollection";
    }
    return true;
}
