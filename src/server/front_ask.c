/* What is asked: the verb, names and kind that the path stands for. What of it authorization looks at comes first and
 * refuses nothing, so that nobody learns what is there from a refusal; whether there is such a thing comes after. */
#include "server/front_ask.h"
#include "api/custom.h"
#include "api/formats.h"
#include "api/selector.h"
#include "server/fail.h"
#include "server/limits.h"
#include "server/nodeproxy.h"

static bool group_is_builtin(struct str group)
{
    for (size_t i = 0; i < ngroup_versions; i++)
        if (str_eq(group_versions[i].group, group))
            return true;
    return false;
}

bool front_has_route(const struct request *r, const struct path_info *p)
{
    const struct kind *k = kind_set_find_plural(r->kinds, p->group, p->version, p->resource);
    if (!k || !k->custom)
        return k || group_is_builtin(p->group);
    return k->namespaced ? p->in_namespace || (!p->name.n && !p->sub.n) : !p->in_namespace;
}

bool front_find_kind(struct request *r, const struct http_request *h, const struct path_info *p)
{
    r->kind = kind_set_find_plural(r->kinds, p->group, p->version, p->resource);
    const struct kind *k = r->kind;
    if (!k)
        return fail_no_route(r);
    if (k->custom && k->custom->warning.n)
        answer_warn(r, k->custom->warning);
    bool in_ns = p->in_namespace; /* who may do so there may it there alone: nothing else is below a namespace */
    if (!k->namespaced && in_ns)
        return fail_no_route(r);
    if (k->namespaced && !in_ns && (p->name.n || p->sub.n))
        return fail_no_route(r);
    unsigned can;
    if (p->name.n && !p->sub.n && !(k->verbs & (VERB_GET | VERB_UPDATE | VERB_DELETE)))
        return fail_no_route(r); /* reviews have no names */
    if (p->watch_path && p->sub.n)
        return fail_no_route(r);
    if (p->watch_path && !str_eq(h->method, S("GET")))
        return fail_not_allowed(r);
    if (p->sub.n) {
        for (size_t i = 0; i < k->nsubs; i++)
            if (str_eqz(p->sub, k->subs[i].name))
                r->sub_row = &k->subs[i];
        if (!r->sub_row)
            return k->custom ? fail_not_found(r) : fail_no_route(r);
        can = r->sub_row->verbs;
    } else {
        can = k->verbs;
    }
    if (k->namespaced && !in_ns) /* all namespaces can only be read */
        can &= VERB_LIST | VERB_WATCH;
    if (p->name.n && !p->sub.n)
        can &= VERB_GET | VERB_UPDATE | VERB_PATCH | VERB_DELETE | (p->watch_path ? VERB_WATCH : 0);
    else if (!p->sub.n)
        can &= VERB_LIST | VERB_WATCH | VERB_CREATE | VERB_DELETECOLLECTION;
    return (can & r->verb) || nodeproxy_any_method(r) ? true : fail_not_allowed(r);
}

static enum verb verb_find(struct str text)
{
    for (unsigned v = VERB_GET; v <= VERB_DELETECOLLECTION; v <<= 1)
        if (str_eqz(text, verb_name((enum verb)v)))
            return (enum verb)v;
    return 0;
}

struct str front_query(struct request *r, const struct http_request *h, const char *name)
{
    struct str rest = h->query, n, v, found = STR_NONE;
    struct err err = ERR;
    while (http_query_next(&r->arena, &rest, &n, &v, &err))
        if (str_eqz(n, name))
            found = v;
    return found;
}

/* A list or watch that selects one name is authorized as one of that name (upstream: for GETs; not for a
 * deletecollection, not by the old watch path, and where the name can stand in a path). filter_parse sees to it that
 * this name is what it reads. */
static struct str name_selected(struct request *r)
{
    struct str f = r->options.field_selector, name = S("");
    struct field_term *terms;
    size_t n;
    struct err err = ERR; /* a bad selector is told of when it is parsed for good, after authorization */
    if (!f.n || !field_selector_parse(&r->arena, f, &terms, &n, &err))
        return S("");
    for (size_t i = 0; i < n; i++)
        if (terms[i].equal && str_eq(terms[i].path, S("metadata.name")))
            name = terms[i].value;
    bool fits = str_find_char(name, '/') < 0 && str_find_char(name, '%') < 0 && !str_eqz(name, ".") &&
                !str_eqz(name, "..");
    return fits ? name : S("");
}

void front_ask(struct request *r, const struct http_request *h, const struct path_info *p)
{
    r->verb_text = str_of(p->verb);
    struct str watch = front_query(r, h, "watch");
    bool listing = str_eq(r->verb_text, S("list")) || str_eq(r->verb_text, S("watch"));
    if (listing && watch.p && !str_eq(watch, S("0")) && !str_ieq(watch, S("false")))
        r->verb_text = S("watch");
    r->verb = verb_find(r->verb_text);
    r->group = p->group;
    r->version = p->version;
    r->resource = p->resource;
    r->ns = p->ns;
    r->name = p->name;
    r->sub = p->sub;
    if (listing)
        r->options.field_selector = front_query(r, h, "fieldSelector"); /* options_of_query comes to the same */
    if (listing && !p->watch_path && !r->name.n)
        r->name = name_selected(r);
}

/* As upstream's list: watches, and streams of whatever has such. */
static bool may_last(const struct request *r)
{
    static const char *const subs[] = {"attach", "exec", "proxy", "log", "portforward"};
    bool may = str_eqz(r->verb_text, "watch");
    for (size_t i = 0; i < countof(subs); i++)
        may |= str_eqz(r->sub, subs[i]);
    return may;
}

bool front_timeout(struct request *r, const struct http_request *h, int64_t *ns)
{
    struct str said = front_query(r, h, "timeout");
    struct err err = ERR;
    int64_t asked = 0;
    *ns = 0;
    if (may_last(r))
        return true;
    if (said.n && !goduration_parse(said, &asked, &err))
        return fail_bad_request(r, "invalid timeout specified in the request URL - %s", err.text);
    *ns = asked > 0 ? MIN(asked, LIMIT_REQUEST_SECONDS * NS_PER_S) : LIMIT_REQUEST_SECONDS * NS_PER_S;
    return true;
}
