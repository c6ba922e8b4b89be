/* Rules of HTTPRoutes and GRPCRoutes. A rule whose backends have filters of their own is several routes, each with
 * its share of the requests. */
#include "control/pods.h"
#include "edge/stream_route.h"

#define many(g, type, n) ((type *)arena_alloc((g)->arena, (n) * sizeof(type)))
#define NEVER_NS         (24 * 3600 * NS_PER_S) /* a timeout that is switched off */
#define INDEX_RULE       100000                 /* of door_route.index: rule, match, part */
#define INDEX_MATCH      100

/* --- matches --- */

static void fields_read(struct gateway_rules *g, const struct val *fields, const struct door_field_match **out,
                        size_t *n)
{
    struct door_field_match *list = many(g, struct door_field_match, val_len(fields) + 1);
    val_each_item (it, fields) {
        bool again = false; /* of two of one name the first counts */
        for (const struct val *before = fields->list; before < it; before++)
            again |= str_ieq(text_of(before, "name"), text_of(it, "name"));
        if (!again)
            list[(*n)++] = (struct door_field_match){
                .name = text_of(it, "name"),
                .value = text_of(it, "value"),
                .kind = str_eqz(text_of(it, "type"), "RegularExpression") ? DOOR_MATCH_REGEX : DOOR_MATCH_EXACT,
            };
    }
    *out = list;
}

/* /SERVICE/METHOD, either of which may be left out. */
static void grpc_path(struct gateway_rules *g, const struct val *method, struct door_match *m)
{
    struct str service = text_of(method, "service"), name = text_of(method, "method");
    m->path_kind = DOOR_MATCH_PREFIX;
    m->path = S("/");
    if (str_eqz(text_of(method, "type"), "RegularExpression")) {
        m->path_kind = DOOR_MATCH_REGEX;
        m->path = arena_fmt(g->arena, "/(?:" STR_FMT ")/(?:" STR_FMT ")$", STR_ARG(service.n ? service : S("[^/]+")),
                            STR_ARG(name.n ? name : S("[^/]+")));
    } else if (service.n && name.n) {
        m->path_kind = DOOR_MATCH_EXACT;
        m->path = STR_JOIN(g->arena, S("/"), service, S("/"), name);
    } else if (service.n) {
        m->path = STR_JOIN(g->arena, S("/"), service);
    } else if (name.n) { /* letters, digits and _ alone */
        m->path_kind = DOOR_MATCH_REGEX;
        m->path = STR_JOIN(g->arena, S("/[^/]+/"), name, S("$"));
    }
}

static struct door_match match_read(struct gateway_rules *g, const struct val *match)
{
    struct door_match m = {.path_kind = DOOR_MATCH_PREFIX, .path = S("/")};
    fields_read(g, field_of(match, "headers"), &m.headers, &m.nheaders);
    if (g->kind == ROUTE_GRPC) {
        grpc_path(g, field_of(match, "method"), &m);
        m.method = S("POST");
        return m;
    }
    const struct val *path = field_of(match, "path");
    struct str type = text_or(path, "type", "PathPrefix");
    m.path_kind = str_eqz(type, "Exact")               ? DOOR_MATCH_EXACT
                  : str_eqz(type, "RegularExpression") ? DOOR_MATCH_REGEX
                                                       : DOOR_MATCH_PREFIX;
    m.path = text_or(path, "value", "/");
    m.method = text_of(match, "method");
    fields_read(g, field_of(match, "queryParams"), &m.queries, &m.nqueries);
    return m;
}

/* --- filters --- */

static const struct door_header *headers_read(struct gateway_rules *g, const struct door_header *have, size_t *n,
                                              const struct val *more)
{
    struct door_header *list = many(g, struct door_header, *n + val_len(more) + 1);
    if (*n)
        memcpy(list, have, *n * sizeof *list);
    val_each_item (it, more)
        list[(*n)++] = (struct door_header){text_of(it, "name"), text_of(it, "value")};
    return list;
}

static void modifier_read(struct gateway_rules *g, const struct val *m, struct door_headers *h)
{
    const struct val *remove = field_of(m, "remove");
    h->set = headers_read(g, h->set, &h->nset, field_of(m, "set"));
    h->add = headers_read(g, h->add, &h->nadd, field_of(m, "add"));
    struct str *list = many(g, struct str, h->nremove + val_len(remove) + 1);
    if (h->nremove)
        memcpy(list, h->remove, h->nremove * sizeof *list);
    val_each_item (it, remove)
        list[h->nremove++] = val_text(it);
    h->remove = list;
}

static struct door_path path_read(const struct val *path)
{
    struct str type = text_of(path, "type");
    if (str_eqz(type, "ReplaceFullPath"))
        return (struct door_path){DOOR_PATH_FULL, text_of(path, "replaceFullPath")};
    if (str_eqz(type, "ReplacePrefixMatch"))
        return (struct door_path){DOOR_PATH_PREFIX, text_of(path, "replacePrefixMatch")};
    return (struct door_path){0};
}

static void redirect_read(const struct val *r, struct door_action *a)
{
    a->end = DOOR_REDIRECT;
    a->code = (int)val_num(field_of(r, "statusCode"), 302);
    a->to_scheme = text_of(r, "scheme");
    a->to_host = text_of(r, "hostname");
    a->to_port = (uint16_t)val_num(field_of(r, "port"), 0);
    a->to_path = path_read(field_of(r, "path"));
}

static struct str texts_join(struct gateway_rules *g, const struct val *list)
{
    struct str out = S("");
    val_each_item (it, list)
        out = STR_JOIN(g->arena, out, out.n ? S(", ") : S(""), val_text(it));
    return out;
}

static void cors_read(struct gateway_rules *g, const struct val *c, struct door_action *a)
{
    struct door_cors *cors = many(g, struct door_cors, 1);
    const struct val *origins = field_of(c, "allowOrigins");
    struct str *list = many(g, struct str, val_len(origins) + 1);
    val_each_item (it, origins)
        list[cors->norigins++] = val_text(it);
    cors->origins = list;
    cors->methods = texts_join(g, field_of(c, "allowMethods"));
    cors->headers = texts_join(g, field_of(c, "allowHeaders"));
    cors->expose = texts_join(g, field_of(c, "exposeHeaders"));
    cors->credentials = val_true(field_of(c, "allowCredentials"));
    cors->max_age_s = val_num(field_of(c, "maxAge"), 5);
    a->cors = cors;
}

static struct pool_ref ref_of(const struct gateway_rules *g, const struct route_ref *r)
{
    struct pool_ref out = {
        .ns = r->ns,
        .service = r->service,
        .port = (uint16_t)r->port,
        .weight = (uint32_t)r->weight,
        .as.protocol = g->kind == ROUTE_GRPC ? DOOR_TO_HTTP2 : DOOR_TO_HTTP1,
        .refused = is_fault(&r->fault) && !str_eqz(str_of(r->fault.reason), "BackendNotFound"),
    };
    backend_as(g, &out);
    return out;
}

static void mirror_read(struct gateway_rules *g, const struct val *m, struct door_action *a)
{
    struct route_ref r;
    route_ref_read(g->view, g->arena, g->route, g->kind, field_of(m, "backendRef"), &r);
    const struct val *percent = field_of(m, "percent"), *fraction = field_of(m, "fraction");
    uint32_t numerator = 1, denominator = 1;
    if (percent) {
        numerator = (uint32_t)val_num(percent, 100);
        denominator = 100;
    } else if (fraction) {
        numerator = (uint32_t)val_num(field_of(fraction, "numerator"), 0);
        denominator = (uint32_t)val_num(field_of(fraction, "denominator"), 100);
    }
    if (is_fault(&r.fault) || !numerator || !denominator)
        return;
    r.weight = 1;
    struct pool_ref *ref = many(g, struct pool_ref, 1);
    *ref = ref_of(g, &r);
    struct str key = arena_fmt(g->arena, "Mirror/" STR_FMT "/" STR_FMT "/%lld%s%s" STR_FMT, STR_ARG(r.ns),
                               STR_ARG(r.service), (long long)r.port, g->kind == ROUTE_GRPC ? "/h2" : "",
                               g->shown.n ? "@" : "", STR_ARG(g->shown));
    array_push(&g->pools, ((struct pool_want){.base.key = key, .refs = ref, .nrefs = 1}));
    struct door_mirror *list = many(g, struct door_mirror, a->nmirrors + 1);
    if (a->nmirrors)
        memcpy(list, a->mirrors, a->nmirrors * sizeof *list);
    list[a->nmirrors++] = (struct door_mirror){key, numerator, denominator};
    a->mirrors = list;
}

static void filters_read(struct gateway_rules *g, const struct val *filters, struct door_action *a)
{
    val_each_item (f, filters) {
        const struct val *m;
        if ((m = field_of(f, "requestHeaderModifier")))
            modifier_read(g, m, &a->request);
        if ((m = field_of(f, "responseHeaderModifier")))
            modifier_read(g, m, &a->response);
        if ((m = field_of(f, "requestRedirect")))
            redirect_read(m, a);
        if ((m = field_of(f, "urlRewrite"))) {
            a->rewrite_host = text_of(m, "hostname").n ? text_of(m, "hostname") : a->rewrite_host;
            a->rewrite = field_of(m, "path") ? path_read(field_of(m, "path")) : a->rewrite;
        }
        if ((m = field_of(f, "requestMirror")))
            mirror_read(g, m, a);
        if ((m = field_of(f, "cors")))
            cors_read(g, m, a);
    }
}

/* --- how it is tried, and how long --- */

static void times_read(struct gateway_rules *g, const struct val *rule, struct door_action *a)
{
    const struct val *times = field_of(rule, "timeouts"), *retry = field_of(rule, "retry");
    int64_t ns;
    if (gateway_duration(text_of(times, "request"), &ns))
        a->request_ns = ns ? ns : NEVER_NS;
    if (gateway_duration(text_of(times, "backendRequest"), &ns))
        a->backend_ns = ns ? ns : NEVER_NS;
    if (!retry)
        return;
    const struct val *codes = field_of(retry, "codes");
    int *list = many(g, int, val_len(codes) + 1);
    val_each_item (it, codes)
        list[a->nretry_on++] = (int)val_num(it, 0);
    a->retry_on = list;
    a->tries_more = (int)val_num(field_of(retry, "attempts"), 1);
}

static void persistence_read(struct gateway_rules *g, const struct val *rule, size_t index, struct door_pool *p)
{
    const struct val *s = field_of(rule, "sessionPersistence"), *cookie = field_of(s, "cookie");
    int64_t ns = 0;
    if (!s)
        return;
    if (!gateway_duration(text_of(s, "absoluteTimeout"), &ns))
        ns = 0;
    if (str_eqz(text_of(s, "type"), "Header")) {
        struct str name = text_of(field_of(s, "header"), "name");
        name = name.n ? name : text_of(s, "sessionName");
        p->persist_header = name.n ? name : S("X-Wherry-Session");
        return;
    }
    struct str name = text_of(cookie, "name");
    name = name.n ? name : text_of(s, "sessionName");
    uint64_t hash = stable_hash(g->owner, index);
    p->cookie = name.n ? name : arena_fmt(g->arena, "wherry-%08x", (unsigned)hash);
    p->cookie_path = text_or(cookie, "path", "/");
    if (str_eqz(text_of(cookie, "lifetimeType"), "Permanent"))
        p->cookie_s = ns / NS_PER_S;
}

/* --- rules --- */

struct rule_part { /* a rule's backends that have the same filters: all of them, or one */
    const struct val *refs;
    size_t from, to;
    int percent; /* 0: the rest */
};

/* whole: of the weights that can be served; 0: all of it would be lost. */
static struct str pool_make(struct gateway_rules *g, const struct val *rule, size_t index, const struct rule_part *p,
                            size_t part, int64_t *whole)
{
    struct pool_ref *refs = many(g, struct pool_ref, p->to - p->from + 1);
    struct pool_want w = {.refs = refs, .lose = true};
    for (size_t i = p->from; i < p->to; i++) {
        struct route_ref r;
        route_ref_read(g->view, g->arena, g->route, g->kind, val_item(p->refs, i), &r);
        refs[w.nrefs++] = ref_of(g, &r);
        *whole += is_fault(&r.fault) ? 0 : r.weight;
    }
    w.base.key = arena_fmt(g->arena, STR_FMT "/%zu/%zu%s" STR_FMT, STR_ARG(g->owner), index, part,
                           g->shown.n ? "@" : "", STR_ARG(g->shown));
    persistence_read(g, rule, index, &w.base);
    array_push(&g->pools, w);
    return w.base.key;
}

static void part_add(struct gateway_rules *g, const struct val *rule, size_t index, const struct rule_part *p,
                     size_t part)
{
    struct door_action a = {0};
    int64_t whole = 0;
    filters_read(g, field_of(rule, "filters"), &a);
    if (p->to - p->from == 1)
        filters_read(g, field_of(val_item(p->refs, p->from), "filters"), &a);
    if (a.end == DOOR_TO_POOL) {
        a.pool = p->to > p->from ? pool_make(g, rule, index, p, part, &whole) : S("");
        times_read(g, rule, &a);
    }
    struct gateway_fault f = route_rule_fault(g->arena, g->kind, rule);
    if (is_fault(&f) || (a.end == DOOR_TO_POOL && whole == 0))
        a = (struct door_action){.end = DOOR_STATUS, .code = g->kind == ROUTE_GRPC ? 503 : 500};
    const struct val *matches = field_of(rule, "matches");
    static const struct val any = {.type = VAL_MAP};
    for (size_t i = 0; i < MAX(val_len(matches), 1); i++) {
        const struct val *match = val_len(matches) ? val_item(matches, i) : &any;
        f = route_match_fault(g->arena, g->kind, match);
        if (is_fault(&f))
            continue;
        struct door_route r = {
            .listener = g->listener,
            .host = g->host,
            .host_deep = true,
            .host_falls = true,
            .match = match_read(g, match),
            .action = a,
            .created = obj_created(g->route) / NS_PER_S,
            .owner = g->owner,
            .index = (int)(index * INDEX_RULE + i * INDEX_MATCH + part),
        };
        r.match.percent = p->percent;
        array_push(&g->part->routes, r);
    }
}

static bool has_filters(const struct val *refs)
{
    val_each_item (it, refs)
        if (val_len(field_of(it, "filters")) > 0)
            return true;
    return false;
}

/* Of what is left when those before have had their share. */
static int percent_of(const struct val *refs, size_t at)
{
    int64_t rest = 0, own = val_num(field_of(val_item(refs, at), "weight"), 1);
    for (size_t i = at; i < val_len(refs); i++)
        rest += val_num(field_of(val_item(refs, i), "weight"), 1);
    return rest > own && own > 0 ? (int)MIN(MAX((own * 100 + rest / 2) / rest, 1), 99) : 0;
}

static void rule_add(struct gateway_rules *g, const struct val *rule, size_t index)
{
    const struct val *refs = field_of(rule, "backendRefs");
    size_t n = val_len(refs), part = 0;
    if (n < 2 || !has_filters(refs)) {
        part_add(g, rule, index, &(struct rule_part){refs, 0, n, 0}, 0);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        int64_t weight = val_num(field_of(val_item(refs, i), "weight"), 1);
        int percent = percent_of(refs, i);
        if (weight > 0)
            part_add(g, rule, index, &(struct rule_part){refs, i, i + 1, percent}, part++);
        if (weight > 0 && percent == 0)
            break; /* it takes all that is left */
    }
    if (part == 0) /* all of them have the weight 0 */
        part_add(g, rule, index, &(struct rule_part){refs, 0, 1, 0}, 0);
}

void gateway_rules_add(struct gateway_rules *g)
{
    size_t i = 0;
    const struct val *rules = field_of(obj_spec(g->route), "rules");
    val_each_item (rule, rules)
        rule_add(g, rule, i++);
    if (val_len(rules) == 0) { /* a GRPCRoute may have none */
        static const struct val none = {.type = VAL_MAP};
        rule_add(g, &none, 0);
    }
}
