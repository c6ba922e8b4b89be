/* What a route asks for beside a backend, as letters and as entries of maps (door_shape.c reads both).
 *
 *   V the name of the connection is the request's host; N a client's certificate was shown
 *   S to https    A ranges of addresses    L rates and connections    U asked for a name (door_auth)    B size of a
 * body C CORS; a any origin, w origins with a star, k credentials, m and e: methods and headers as they were asked
 * for P a prefix gives way, F the whole path, W what a pattern gives    O host    t time R1 R2 R3 R7 R8 redirect with
 * 301, 302 ...; M copies, E pages for errors (spoa.h, as U); D to the request's own host, u with its path and query,
 * x as it is    T404 status H headers of the request, h of the answer */
#include "edge/door_int.h"

#define VALUE_MOST  6000
#define FIELDS_MOST 64 /* headers that one route changes */

struct rule_maker {
    struct door_rule *rule;
    const struct door_route *route;
    const struct door_action *action;
    const struct door_place *place;
    struct strbuf letters;
    struct err *err;
};

static void letter_add(struct rule_maker *m, const char *letters)
{
    strbuf_addz(&m->letters, letters);
}

static void prop_add(struct rule_maker *m, const char *map, struct str key, struct str value)
{
    struct arena *a = &m->rule->own;
    array_push(&m->rule->props, ((struct door_prop){map, str_dup(a, key), str_dup(a, value)}));
}

/* A text of the user as a value: behind a mark, as a value may neither be empty nor begin with a space. */
static bool prop_text(struct rule_maker *m, const char *map, struct str text)
{
    text = str_trim(text);
    for (size_t i = 0; i < text.n; i++)
        if (((uint8_t)text.p[i] < ' ' && text.p[i] != '\t') || text.p[i] == 0x7f)
            return err_set(m->err, E_INVALID, "a control character in \"" STR_FMT "\"", STR_ARG(str_sub(text, 0, i)));
    if (text.n > VALUE_MOST)
        return err_set(m->err, E_TOO_LARGE, "a text of over %d bytes", VALUE_MOST);
    AUTO(arena_fini) struct arena a = ARENA;
    prop_add(m, map, S(""), STR_JOIN(&a, S("="), text));
    return true;
}

static void prop_number(struct rule_maker *m, const char *map, int64_t n)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)n);
    prop_add(m, map, S(""), str_of(text));
}

/* --- who may --- */

struct range_maker {
    struct rule_maker *m;
    const char *value;
    ARRAY(struct str) denied;
};

static void range_collect(void *arg, struct str prefix)
{
    struct range_maker *r = arg;
    array_push(&r->denied, str_dup(&r->m->rule->own, prefix));
}

static void range_prop(void *arg, struct str prefix)
{
    struct range_maker *r = arg;
    AUTO(arena_fini) struct arena a = ARENA;
    array_each (d, &r->denied) /* what is denied is so within what is allowed, too */
        if (str_starts(prefix, *d))
            return;
    prop_add(r->m, "src", STR_JOIN(&a, S(":"), prefix), str_of(r->value));
}

static bool ranges_make(struct rule_maker *m)
{
    struct str allow = str_trim(m->action->allow), deny = str_trim(m->action->deny);
    if (!allow.n && !deny.n)
        return true;
    letter_add(m, "A");
    prop_add(m, "src", S(":"), allow.n ? S("deny") : S("allow"));
    struct range_maker r = {.m = m, .value = "allow"};
    bool ok = door_ranges_each(deny, range_collect, &r, m->err) && door_ranges_each(allow, range_prop, &r, m->err);
    AUTO(arena_fini) struct arena a = ARENA;
    array_each (d, &r.denied)
        prop_add(m, "src", STR_JOIN(&a, S(":"), *d), S("deny"));
    array_fini(&r.denied);
    return ok;
}

static void limits_make(struct rule_maker *m)
{
    const struct door_action *a = m->action;
    if (a->rate_s || a->rate_min || a->connections)
        letter_add(m, "L");
    if (a->rate_s) { /* at once as many as the burst allows, in ten seconds as many as ten seconds do */
        prop_number(m, "rate1", (int64_t)a->rate_s + a->rate_burst);
        prop_number(m, "rate10", 10 * (int64_t)a->rate_s + a->rate_burst);
    }
    if (a->rate_min)
        prop_number(m, "rate60", (int64_t)a->rate_min + (a->rate_s ? 0 : a->rate_burst));
    if (a->connections)
        prop_number(m, "conns", a->connections);
    if (a->body_most > 0) {
        letter_add(m, "B");
        prop_number(m, "body", a->body_most);
    }
}

/* --- CORS --- */

static bool has_star(struct str list)
{
    return str_find_char(list, '*') >= 0;
}

static bool origin_make(struct rule_maker *m, struct str origin, struct strbuf *key)
{
    for (size_t i = 0; i < origin.n; i++)
        if ((uint8_t)origin.p[i] <= ' ' || (uint8_t)origin.p[i] >= 0x7f)
            return err_set(m->err, E_INVALID, "the origin \"" STR_FMT "\" is none", STR_ARG(origin));
    ptrdiff_t star = str_find(origin, S("://*."));
    strbuf_reset(key);
    strbuf_addc(key, '|');
    if (star < 0) {
        strbuf_add(key, origin);
    } else {
        strbuf_add(key, str_sub(origin, 0, (size_t)star));
        strbuf_addz(key, ":*:");
        strbuf_add(key, str_sub(origin, (size_t)star + 5, origin.n));
    }
    prop_add(m, "cors", strbuf_str(key), S("1"));
    return true;
}

static bool cors_make(struct rule_maker *m)
{
    const struct door_cors *c = m->action->cors;
    if (!c)
        return true;
    AUTO(strbuf_fini) struct strbuf key = STRBUF(4096);
    bool any = false, wild = false;
    letter_add(m, "C");
    for (size_t i = 0; i < c->norigins; i++) {
        any = any || str_eqz(c->origins[i], "*");
        wild = wild || str_has(c->origins[i], S("://*."));
        if (!str_eqz(c->origins[i], "*") && !origin_make(m, c->origins[i], &key))
            return false;
    }
    letter_add(m, any ? "a" : wild ? "w" : "");
    letter_add(m, c->credentials ? "k" : "");
    letter_add(m, c->credentials && has_star(c->methods) ? "m" : "");
    letter_add(m, c->credentials && has_star(c->headers) ? "e" : "");
    if (c->max_age_s >= 0)
        prop_number(m, "cors_age", c->max_age_s);
    return (!c->methods.n || prop_text(m, "cors_methods", c->methods)) &&
           (!c->headers.n || prop_text(m, "cors_headers", c->headers)) &&
           (!c->expose.n || prop_text(m, "cors_expose", c->expose));
}

/* --- headers --- */

static bool name_is_plain(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_'))
            return false;
    }
    return name.n && name.n <= 64;
}

/* What says where a message ends and how it is carried is HAProxy's. */
static bool name_is_ours(struct str name)
{
    static const char *const ours[] = {"content-length", "transfer-encoding", "connection",      "keep-alive", "te",
                                       "trailer",        "upgrade",           "proxy-connection"};
    for (size_t i = 0; i < countof(ours); i++)
        if (str_ieq(name, str_of(ours[i])))
            return true;
    return false;
}

static struct str lower_of(struct arena *a, struct str s)
{
    char *p = arena_dup(a, s.p, s.n);
    for (size_t i = 0; i < s.n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] + 'a' - 'A');
    return (struct str){p, s.n};
}

static bool field_make(struct rule_maker *m, char op, bool response, struct str name, struct str value)
{
    if (!name_is_plain(name))
        return err_set(m->err, E_INVALID,
                       "the name of the header \"" STR_FMT "\" is not made of 1 to 64 letters, digits, - and _",
                       STR_ARG(str_sub(name, 0, 100)));
    if (name_is_ours(name))
        return err_set(m->err, E_INVALID, "the header " STR_FMT " belongs to the connection and cannot be changed",
                       STR_ARG(name));
    struct door_field_use use = {op, response, 0, lower_of(&m->rule->own, name)};
    array_each (f, &m->rule->fields)
        if (f->op == op && f->response == response && str_eq(f->name, use.name))
            use.nth++;
    if (use.nth && op != 'a')
        return true;
    if (m->rule->fields.n >= FIELDS_MOST)
        return err_set(m->err, E_TOO_LARGE, "it changes over %d headers", FIELDS_MOST);
    if (use.nth >= 8)
        return err_set(m->err, E_INVALID, "the header " STR_FMT " is added more than 8 times", STR_ARG(name));
    array_push(&m->rule->fields, use);
    char map[64];
    door_field_map(map, &use);
    struct str z = str_dup(&m->rule->own, str_of(map));
    return prop_text(m, z.p, op == 'd' ? S("-") : value);
}

static bool fields_make(struct rule_maker *m, const struct door_headers *h, bool response)
{
    for (size_t i = 0; i < h->nset; i++)
        if (!field_make(m, 's', response, h->set[i].name, h->set[i].value))
            return false;
    for (size_t i = 0; i < h->nadd; i++)
        if (!field_make(m, 'a', response, h->add[i].name, h->add[i].value))
            return false;
    for (size_t i = 0; i < h->nremove; i++)
        if (!field_make(m, 'd', response, h->remove[i], S("")))
            return false;
    if (h->nset + h->nadd + h->nremove)
        letter_add(m, response ? "h" : "H");
    return true;
}

/* --- where it goes --- */

/* The text of a new path: as requests have it; `groups`: $1 to $9 become \1 to \9, else nothing. */
static struct str path_text(struct arena *a, struct str text, bool groups)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(3 * VALUE_MOST);
    for (size_t i = 0; i < text.n; i++) {
        unsigned c = (uint8_t)text.p[i];
        bool group = c == '$' && i + 1 < text.n && text.p[i + 1] >= '1' && text.p[i + 1] <= '9';
        if (group) {
            i++;
            if (groups)
                strbuf_addf(&b, "\\%c", text.p[i]);
        } else if (c <= ' ' || c >= 0x7f || c == '\\' || c == '#' || c == '|') {
            strbuf_addf(&b, "%%%02X", c);
        } else {
            strbuf_addc(&b, (char)c);
        }
    }
    return str_dup(a, strbuf_str(&b));
}

static bool path_make(struct rule_maker *m, const struct door_path *p)
{
    const struct door_match *match = &m->route->match;
    bool pattern = match->path_kind == DOOR_MATCH_REGEX || match->ignore_case;
    struct arena *a = &m->rule->own;
    if (p->text.n > VALUE_MOST)
        return err_set(m->err, E_TOO_LARGE, "a path of over %d bytes", VALUE_MOST);
    switch (p->change) {
    case DOOR_PATH_KEEP: return true;
    case DOOR_PATH_REGEX:
        if (match->path_kind == DOOR_MATCH_REGEX) {
            letter_add(m, "W");
            m->rule->rewrite = path_text(a, p->text, true);
            return true;
        }
        letter_add(m, "F");
        return prop_text(m, "rw", path_text(a, p->text, false));
    case DOOR_PATH_FULL: letter_add(m, "F"); return prop_text(m, "rw", path_text(a, p->text, false));
    case DOOR_PATH_PREFIX: break;
    }
    struct str text = door_prefix_clean(path_text(a, p->text, false));
    if (pattern) {
        letter_add(m, "W");
        m->rule->rewrite = STR_JOIN(a, text, S("\\0")); /* door_table.c gives the rest's number */
        return true;
    }
    struct str path;
    if (!door_path_clean(a, match->path, &path, m->err))
        return false;
    letter_add(m, match->path_kind == DOOR_MATCH_EXACT ? "F" : "P");
    m->rule->depth = match->path_kind == DOOR_MATCH_EXACT ? 0 : door_path_depth(door_prefix_clean(path));
    if (match->path_kind == DOOR_MATCH_PREFIX)
        prop_number(m, "rw_n", (int64_t)m->rule->depth);
    return prop_text(m, "rw", text);
}

static bool url_make(struct rule_maker *m)
{
    static const char uri[] = "$request_uri";
    struct str url = m->action->to_url;
    ptrdiff_t at = str_find(url, str_of(uri));
    if (at >= 0) {
        letter_add(m, "u");
        if (!prop_text(m, "to_end", str_sub(url, (size_t)at + sizeof uri - 1, url.n)))
            return false;
        url = str_sub(url, 0, (size_t)at);
    } else {
        letter_add(m, "x");
    }
    return prop_text(m, "to", url);
}

static bool redirect_make(struct rule_maker *m)
{
    const struct door_action *a = m->action;
    static const char *const codes[] = {"R1", "R2", "R3", 0, 0, 0, "R7", "R8"};
    if (a->code < 301 || a->code > 308 || !codes[a->code - 301])
        return err_set(m->err, E_INVALID, "a redirect with %d; 301, 302, 303, 307 and 308 are there", a->code);
    letter_add(m, codes[a->code - 301]);
    if (a->to_url.n)
        return url_make(m);
    struct str scheme = a->to_scheme.n ? a->to_scheme : m->place->tls ? S("https") : S("http");
    if (!str_eqz(scheme, "http") && !str_eqz(scheme, "https"))
        return err_set(m->err, E_INVALID, "a redirect to the scheme " STR_FMT "; http and https are there",
                       STR_ARG(scheme));
    uint16_t usual = str_eqz(scheme, "https") ? 443 : 80;
    uint16_t port = a->to_port ? a->to_port : a->to_scheme.n ? usual : m->place->port;
    char end[16] = "";
    if (port != usual)
        snprintf(end, sizeof end, ":%u", port);
    letter_add(m, a->to_host.n ? "" : "D");
    return prop_text(m, "to",
                     STR_JOIN(&m->rule->own, scheme, S("://"), a->to_host, a->to_host.n ? str_of(end) : S(""))) &&
           prop_text(m, "to_end", a->to_host.n ? S("") : str_of(end)) && path_make(m, &a->to_path);
}

static bool retry_make(struct rule_maker *m)
{
    static const int known[] = {401, 403, 404, 408, 425, 500, 501, 502, 503, 504};
    const struct door_action *a = m->action;
    if (a->tries_more <= 0)
        return true;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1024);
    strbuf_addf(&b, " retries %d\n retry-on conn-failure empty-response junk-response response-timeout",
                MIN(a->tries_more, 100));
    for (size_t i = 0; i < a->nretry_on; i++) {
        bool found = false;
        for (size_t k = 0; k < countof(known); k++)
            found = found || known[k] == a->retry_on[i];
        if (!found)
            return err_set(m->err, E_INVALID,
                           "a try again after status %d; 401, 403, 404, 408, 425 and 500 to 504 are there",
                           a->retry_on[i]);
        strbuf_addf(&b, " %d", a->retry_on[i]);
    }
    strbuf_addz(&b, "\n");
    if (!a->retry_unsafe)
        strbuf_addz(&b, " http-request disable-l7-retry unless { method GET HEAD OPTIONS TRACE PUT DELETE }\n");
    m->rule->retry = str_dup(&m->rule->own, strbuf_str(&b));
    return true;
}

static bool pool_make(struct rule_maker *m)
{
    const struct door_action *a = m->action;
    m->rule->pool = str_dup(&m->rule->own, a->pool);
    int64_t ns = m->place->server_ns;
    if (a->backend_ns > 0)
        ns = a->backend_ns;
    if (a->request_ns > 0)
        ns = ns > 0 ? MIN(ns, a->request_ns) : a->request_ns;
    if (ns > 0) {
        letter_add(m, "t");
        prop_number(m, "time", MAX(ns / NS_PER_MS, 1));
    }
    if (a->rewrite_host.n) {
        letter_add(m, "O");
        if (!prop_text(m, "host", a->rewrite_host))
            return false;
    }
    return path_make(m, &a->rewrite) && retry_make(m);
}

static bool end_make(struct rule_maker *m)
{
    switch (m->action->end) {
    case DOOR_TO_POOL: return pool_make(m);
    case DOOR_REDIRECT: return redirect_make(m);
    case DOOR_STATUS: break;
    }
    int code = m->action->code;
    if (code < 200 || code > 599)
        return err_set(m->err, E_INVALID, "an answer with status %d; 200 to 599 are there", code);
    m->rule->status = code;
    strbuf_addf(&m->letters, "T%d", code);
    return true;
}

/* --- the whole --- */

static void text_sum(struct strbuf *b, struct str s)
{
    strbuf_addf(b, "%zu:", s.n);
    strbuf_add(b, s);
}

/* All that the agent is to know of a rule: where it changes the rule is another one. */
static void asks_sum(struct strbuf *b, const struct door_action *a)
{
    if (!a)
        return;
    if (a->auth) {
        const struct door_auth *u = a->auth;
        struct str texts[] = {u->realm, u->users, u->url, u->signin, u->method};
        for (size_t i = 0; i < countof(texts); i++)
            text_sum(b, texts[i]);
        for (size_t i = 0; i < u->nheaders; i++)
            text_sum(b, u->headers[i]);
        strbuf_addf(b, "%d %lld", u->broken, (long long)u->cache_s);
    }
    for (size_t i = 0; i < a->nmirrors; i++) {
        text_sum(b, a->mirrors[i].pool);
        strbuf_addf(b, "%u/%u", a->mirrors[i].numerator, a->mirrors[i].denominator);
    }
    text_sum(b, a->nerrors ? a->errors_pool : S(""));
}

static void rule_name(struct door_rule *r)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(SIZE_MAX / 2);
    struct str texts[] = {str_of(r->letters), r->pool, r->retry, r->owner, r->rewrite};
    for (size_t i = 0; i < countof(texts); i++)
        text_sum(&b, texts[i]);
    array_each (p, &r->props) {
        text_sum(&b, str_of(p->map));
        text_sum(&b, p->key);
        text_sum(&b, p->value);
    }
    asks_sum(&b, r->asks);
    r->name = door_name_of('r', strbuf_str(&b));
    struct str name = DOOR_NAME(r->name);
    array_each (p, &r->props)
        p->key = STR_JOIN(&r->own, name, p->key);
}

/* Headers that the agent gives are the agent's alone: what a client says of them goes first. */
static bool asks_make(struct rule_maker *m)
{
    const struct door_action *a = m->action;
    struct door_rule *r = m->rule;
    if (a->auth || a->nmirrors || a->nerrors)
        r->asks = a;
    if (a->nmirrors)
        letter_add(m, "M");
    if (a->nerrors)
        letter_add(m, "E");
    for (size_t i = 0; i < a->nerrors; i++)
        prop_add(m, "errs", arena_fmt(&r->own, ":%d", a->errors[i]), S("1"));
    if (!a->auth)
        return true;
    letter_add(m, "U");
    r->variables = arena_alloc(&r->own, (a->auth->nheaders + 1) * sizeof *r->variables);
    bool ok = true;
    for (size_t i = 0; i < a->auth->nheaders && ok; i++) {
        struct door_field_use given = {.op = 'n', .name = lower_of(&r->own, a->auth->headers[i])};
        struct door_name variable = door_name_of('n', given.name);
        ok = field_make(m, 'd', false, given.name, S(""));
        array_push(&r->fields, given);
        r->variables[i] = str_dup(&r->own, DOOR_NAME(variable));
    }
    if (a->auth->nheaders && !(a->request.nset + a->request.nadd + a->request.nremove))
        letter_add(m, "H");
    return ok;
}

static bool rule_make(struct rule_maker *m)
{
    const struct door_action *a = m->action;
    if (a->to_https && !m->place->tls)
        letter_add(m, "S");
    if (m->place->verifies)
        letter_add(m, "V");
    if (m->place->requires)
        letter_add(m, "N");
    limits_make(m);
    return asks_make(m) && ranges_make(m) && cors_make(m) && fields_make(m, &a->request, false) &&
           fields_make(m, &a->response, true) && end_make(m);
}

/* As it may stand in a map and in a line of the log. */
static struct str owner_clean(struct arena *a, struct str owner)
{
    char *p = arena_dup(a, owner.p ? owner.p : "", owner.n);
    for (size_t i = 0; i < owner.n; i++)
        if ((uint8_t)p[i] <= ' ' || p[i] == 0x7f)
            p[i] = '?';
    return (struct str){p, MIN(owner.n, (size_t)1000)};
}

struct door_rule *door_rule_new(const struct door_route *r, const struct door_place *p, struct err *err)
{
    struct door_rule *rule = NEW(struct door_rule);
    struct rule_maker m = {.rule = rule,
                           .route = r,
                           .action = &r->action,
                           .place = p,
                           .letters = STRBUF(sizeof rule->letters - 1),
                           .err = err};
    rule->owner = owner_clean(&rule->own, r->owner);
    bool ok = rule_make(&m);
    memcpy(rule->letters, m.letters.p ? m.letters.p : "", m.letters.n);
    ASSERT(!m.letters.over);
    strbuf_fini(&m.letters);
    if (!ok) {
        door_rule_free(rule);
        return NULL;
    }
    rule_name(rule);
    return rule;
}

void door_rule_free(struct door_rule *r)
{
    array_fini(&r->props);
    array_fini(&r->fields);
    arena_fini(&r->own);
    mem_free(r);
}
