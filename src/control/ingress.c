/* Ingresses read: class, rules, TLS; and which of several that share a host comes first. */
#include "control/ingress.h"
#include "base/regex.h"
#include "control/cert_shim.h"

#define NOTE_CLASS   "kubernetes.io/ingress.class"
#define NOTE_DEFAULT "ingressclass.kubernetes.io/is-default-class"

void ingress_fini(struct ingress *i)
{
    array_fini(&i->paths);
    array_fini(&i->tls);
    array_fini(&i->remarks);
    map_fini(&i->tls_hosts);
}

struct ingress_remark *ingress_remark(struct ingress *i, const char *reason, struct str field, struct str text,
                                      struct str way)
{
    array_push(&i->remarks, ((struct ingress_remark){.reason = reason, .field = field, .text = text, .way = way}));
    return &i->remarks.p[i->remarks.n - 1];
}

/* ---- class ---- */

/* Of several defaults the newest, as admission takes it (server/admit.c). */
static const struct obj *default_class(const struct view *v)
{
    const struct obj *best = NULL;
    struct obj *o;
    for (struct objset_iter it = view_all(v, K(IngressClass)); (o = objset_next(&it));) {
        if (!str_eqz(obj_note(o, NOTE_DEFAULT), "true"))
            continue;
        int newer = best ? str_cmp(val_text_at(obj_meta(o), N(creationTimestamp)),
                                   val_text_at(obj_meta(best), N(creationTimestamp)))
                         : 1;
        if (newer > 0 || (newer == 0 && str_cmp(o->name, best->name) < 0))
            best = o;
    }
    return best;
}

struct ingress_class ingress_class_of(const struct view *v, const struct obj *o)
{
    struct ingress_class c = {.name = obj_note(o, NOTE_CLASS)};
    const struct obj *class;
    c.by_annotation = c.name.n > 0;
    if (!c.by_annotation)
        c.name = val_text_at(obj_spec(o), N(ingressClassName));
    if (c.name.n > 0) {
        class = view_get(v, K(IngressClass), S(""), c.name);
    } else {
        class = default_class(v);
        c.by_default = true;
        c.name = class ? class->name : S("");
    }
    c.controller = class ? val_text_at(obj_spec(class), N(controller)) : S("");
    if (!v->sets[K(IngressClass)->id]) /* nobody who decides; who asks and may not read classes hears of the rest */
        return c;
    /* the annotation is older than the kind: it names who serves, whether there is an object or not */
    if (str_eq(c.controller, INGRESS_CONTROLLER) || (!class && c.by_annotation && str_eq(c.name, INGRESS_CLASS)))
        c.server = INGRESS_OURS;
    else
        c.server = class ? INGRESS_OTHERS : INGRESS_NOBODYS;
    return c;
}

bool ingress_is_ours(const struct view *v, const struct obj *o)
{
    return !obj_deleting(o) && ingress_class_of(v, o).server == INGRESS_OURS;
}

/* ---- rules ---- */

static bool has_pattern_letters(struct str path)
{
    for (size_t i = 0; i < path.n; i++)
        if (strchr("^$[](){}*+?|\\", path.p[i]))
            return true;
    return false;
}

struct str ingress_field(struct arena *a, const struct ingress_path *p)
{
    if (p->fallback)
        return S("spec.defaultBackend");
    return arena_fmt(a, "spec.rules[%zu].http.paths[%zu]", p->rule, p->at);
}

static void backend_read(struct arena *a, struct ingress *i, const struct val *backend, struct ingress_path *p)
{
    const struct val *service = val_get(backend, N(service)), *port = val_get(service, N(port));
    p->backend = (struct ingress_backend){.service = val_text_at(service, N(name)),
                                          .port_name = val_text_at(port, N(name)),
                                          .port = (uint16_t)val_num_at(port, 0, N(number))};
    const struct val *resource = val_get(backend, N(resource));
    if (!resource || p->alias)
        return;
    p->refused = true;
    struct str field = ingress_field(a, p);
    ingress_remark(i, "BackendRefused", field,
                   arena_fmt(a,
                             STR_FMT " names the %s " STR_FMT " as its backend, and only Services are served; it "
                                     "answers 500",
                             STR_ARG(field), val_text_at(resource, N(kind)).n ? "resource" : "object",
                             STR_ARG(arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(val_text_at(resource, N(kind))),
                                               STR_ARG(val_text_at(resource, N(name)))))),
                   S("Name a Service in its place"));
}

static enum ingress_path_kind kind_of_path(const struct ingress_settings *s, struct str type, struct str path)
{
    if (str_eqz(type, "Exact"))
        return INGRESS_EXACT;
    /* of a path that may be a pattern and has nothing of one, a prefix by whole elements is meant */
    return (s->use_regex || s->rewrite.n > 0) && has_pattern_letters(path) ? INGRESS_PATTERN : INGRESS_PREFIX;
}

/* One pattern that no engine takes is left out, and told; the others serve. */
static bool pattern_is_good(struct arena *a, struct ingress *i, const struct ingress_path *p)
{
    struct err err = ERR;
    struct str field = ingress_field(a, p);
    const struct regex *re = regex_compile(a, p->path, &err);
    if (!re) {
        if (!p->alias)
            ingress_remark(i, "PathInvalid", field,
                           arena_fmt(a, STR_FMT " is no pattern, and is left out: %s", STR_ARG(field), err.text),
                           S("Patterns are of RE2's syntax"));
        return false;
    }
    for (size_t k = 0; k + 1 < i->set.rewrite.n && !p->alias; k++)
        if (i->set.rewrite.p[k] == '$' && (unsigned)(i->set.rewrite.p[k + 1] - '0') > regex_groups(re))
            ingress_remark(i, "AnnotationInvalid", S(INGRESS_PREFIX_NGINX "rewrite-target"),
                           arena_fmt(a,
                                     "rewrite-target names $%c, and the pattern of " STR_FMT " has %u group%s: it is "
                                     "empty",
                                     i->set.rewrite.p[k + 1], STR_ARG(field), regex_groups(re),
                                     regex_groups(re) == 1 ? "" : "s"),
                           S("Put what is to be kept of the path in round brackets"));
    return true;
}

static void path_add(struct arena *a, struct ingress *i, const struct ingress_path *p)
{
    if (p->kind != INGRESS_PATTERN || pattern_is_good(a, i, p))
        array_push(&i->paths, *p);
}

static void rule_read(struct arena *a, struct ingress *i, const struct val *rule, size_t at, struct str host,
                      bool alias)
{
    const struct val *paths = val_at(rule, N(http), N(paths));
    struct ingress_path p = {.host = host, .rule = at, .alias = alias};
    val_each_item (it, paths) {
        p.path = val_text_at(it, N(path));
        p.kind = kind_of_path(&i->set, val_text_at(it, N(pathType)), p.path);
        if (p.path.n == 0)
            p.path = S("/");
        p.index = (int)i->paths.n;
        p.refused = false;
        backend_read(a, i, val_get(it, N(backend)), &p);
        path_add(a, i, &p);
        p.at++;
    }
    if (val_len(paths) > 0 || !val_get(obj_spec(i->o), N(defaultBackend)))
        return;
    /* a rule that is a host alone sends all of it to the default backend */
    p.path = S("/");
    p.kind = INGRESS_PREFIX;
    p.index = (int)i->paths.n;
    p.fallback = true;
    backend_read(a, i, val_get(obj_spec(i->o), N(defaultBackend)), &p);
    array_push(&i->paths, p);
}

const struct str *ingress_hosts(const struct ingress *i, struct arena *a, size_t *n)
{
    AUTO(map_fini) struct map seen = MAP;
    struct str *hosts = arena_alloc(a, (i->paths.n + 1) * sizeof *hosts);
    *n = 0;
    for (size_t k = 0; k < i->paths.n; k++)
        if (!map_put(&seen, i->paths.p[k].host, hosts))
            hosts[(*n)++] = i->paths.p[k].host;
    return hosts;
}

/* What no rule takes: for its own hosts, and for hosts that nobody has. */
static void fallbacks_add(const struct view *v, struct arena *a, struct ingress *i)
{
    const struct val *backend = val_get(obj_spec(i->o), N(defaultBackend));
    if (!backend || i->set.canary)
        return;
    size_t n;
    const struct str *hosts = ingress_hosts(i, a, &n);
    AUTO(map_fini) struct map have = MAP; /* hosts whose rule is a fallback already */
    bool told = false, all = false;
    for (size_t k = 0; k < i->paths.n; k++) {
        all |= i->paths.p[k].host.n == 0;
        if (i->paths.p[k].fallback)
            (void)map_put(&have, i->paths.p[k].host, i); /* one or several */
    }
    for (size_t h = 0; h < n + !all; h++) {
        struct str host = h < n ? hosts[h] : S("");
        if (map_get(&have, host) || ingress_root_is_taken(v, host))
            continue;
        struct ingress_path p = {
            .host = host, .kind = INGRESS_PREFIX, .path = S("/"), .fallback = true, .index = (int)i->paths.n};
        p.alias = told; /* remarked once */
        backend_read(a, i, backend, &p);
        p.alias = false;
        told = true;
        array_push(&i->paths, p);
    }
}

static void rules_read(const struct view *v, struct arena *a, struct ingress *i)
{
    const struct val *rules = val_get(obj_spec(i->o), N(rules));
    size_t at = 0;
    val_each_item (rule, rules)
        rule_read(a, i, rule, at++, val_text_at(rule, N(host)), false);
    for (size_t n = 0; n < i->set.naliases && !i->set.canary; n++) {
        struct str alias = i->set.aliases[n];
        const struct obj *other = ingress_host_of(v, i->o, alias);
        if (other) {
            ingress_remark(i, "HostTaken", S(INGRESS_PREFIX_NGINX "server-alias"),
                           arena_fmt(a, "server-alias " STR_FMT " is the host of Ingress " STR_FMT "/" STR_FMT,
                                     STR_ARG(alias), STR_ARG(other->ns), STR_ARG(other->name)),
                           S("Take it out of the annotation"));
            continue;
        }
        at = 0;
        val_each_item (rule, rules)
            rule_read(a, i, rule, at++, alias, true);
    }
    fallbacks_add(v, a, i);
}

static void tls_read(struct arena *a, struct ingress *i)
{
    size_t at = 0;
    val_each_item (it, val_get(obj_spec(i->o), N(tls))) {
        const struct val *hosts = val_get(it, N(hosts));
        struct str *list = arena_alloc(a, (val_len(hosts) + 1) * sizeof *list);
        struct ingress_tls t = {.secret = cert_tls_secret(a, i->o, it, at++), .hosts = list};
        val_each_item (h, hosts)
            list[t.nhosts++] = val_text(h);
        if (t.nhosts == 0) {
            t.hosts = ingress_hosts(i, a, &t.nhosts);
            if (t.nhosts == 1 && t.hosts[0].n == 0)
                t.nhosts = 0; /* a rule for all hosts: whatever the certificate names */
        }
        array_push(&i->tls, t);
    }
    if (cert_tls_implied(i->o)) {
        struct ingress_tls t = {.secret = cert_tls_secret(a, i->o, NULL, 0)};
        t.hosts = ingress_hosts(i, a, &t.nhosts);
        array_push(&i->tls, t);
    }
}

bool ingress_host_matches(struct str pattern, struct str host)
{
    if (!str_starts(pattern, S("*.")) || str_starts(host, S("*.")))
        return str_ieq(pattern, host);
    ptrdiff_t dot = str_find_char(host, '.');
    return dot > 0 && str_ieq(str_sub(pattern, 1, pattern.n), str_sub(host, (size_t)dot, host.n));
}

static struct str lower_put(struct strbuf *b, struct str host)
{
    strbuf_reset(b);
    for (size_t i = 0; i < host.n; i++)
        strbuf_addc(b, host.p[i] >= 'A' && host.p[i] <= 'Z' ? (char)(host.p[i] + 'a' - 'A') : host.p[i]);
    return strbuf_str(b);
}

bool ingress_has_tls(const struct ingress *i, struct str host)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str lower = lower_put(&b, host);
    if (i->tls_all || map_get(&i->tls_hosts, lower))
        return true;
    ptrdiff_t dot = str_find_char(lower, '.');
    if (dot <= 0 || str_starts(host, S("*.")))
        return false;
    b.p[dot - 1] = '*'; /* "*" and what is behind the first dot */
    return map_get(&i->tls_hosts, str_sub(lower, (size_t)dot - 1, lower.n)) != NULL;
}

/* What ingress_has_tls asks for, once for each path. */
static void tls_index(struct ingress *i)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    array_each (t, &i->tls) {
        i->tls_all |= t->nhosts == 0;
        for (size_t h = 0; h < t->nhosts; h++)
            (void)map_put(&i->tls_hosts, lower_put(&b, t->hosts[h]), i); /* a host may be of several */
    }
}

/* Headers of the ConfigMap of custom-headers. */
static void headers_read(const struct view *v, struct arena *a, struct ingress *i)
{
    struct ingress_headers *h = &i->set.response;
    if (i->set.headers_map.n == 0 || !v->sets[K(ConfigMap)->id])
        return;
    const struct obj *map = view_get(v, K(ConfigMap), i->o->ns, i->set.headers_map);
    const struct val *data = map ? val_get(&map->tree, N(data)) : NULL;
    struct str *keys = arena_alloc(a, (val_len(data) + 1) * sizeof *keys),
               *values = arena_alloc(a, (val_len(data) + 1) * sizeof *values);
    struct str field = S(INGRESS_PREFIX_NGINX "custom-headers");
    if (!map)
        ingress_remark(i, "ConfigMapMissing", field,
                       arena_fmt(a, "there is no ConfigMap " STR_FMT ", which custom-headers names",
                                 STR_ARG(i->set.headers_map)),
                       S("Make it, or take the annotation away"));
    val_each_member (it, data) {
        struct str name = it->name->s, value = val_text(&it->v);
        bool good = name.n > 0 && name.n <= 64 && str_find_char(value, '\n') < 0 && str_find_char(value, '\r') < 0;
        for (size_t k = 0; k < name.n; k++)
            good &= (name.p[k] >= 'a' && name.p[k] <= 'z') || (name.p[k] >= 'A' && name.p[k] <= 'Z') ||
                    (name.p[k] >= '0' && name.p[k] <= '9') || name.p[k] == '-' || name.p[k] == '_';
        if (!good) {
            ingress_remark(i, "AnnotationInvalid", field,
                           arena_fmt(a, "ConfigMap " STR_FMT ": \"" STR_FMT "\" is no header of one line",
                                     STR_ARG(map->name), STR_ARG(str_sub(name, 0, 100))),
                           S("Its keys are names of headers, its values what they say"));
            continue;
        }
        keys[h->n] = name;
        values[h->n++] = value;
    }
    h->names = keys;
    h->values = values;
}

void ingress_read(const struct view *v, const struct obj *o, struct arena *a, struct ingress *out)
{
    *out = (struct ingress){.o = o, .class = ingress_class_of(v, o)};
    if (out->class.server != INGRESS_OURS)
        return;
    const struct obj *class = view_get(v, K(IngressClass), S(""), out->class.name);
    if (class && val_get(obj_spec(class), N(parameters)))
        ingress_remark(out, "ParametersNotKept", S("spec.parameters"),
                       arena_fmt(a, "IngressClass " STR_FMT " has spec.parameters, and the front door takes none",
                                 STR_ARG(class->name)),
                       S("Take them out of the class"));
    ingress_annotations_read(v, a, out);
    headers_read(v, a, out);
    rules_read(v, a, out);
    tls_read(a, out);
    tls_index(out);
}
