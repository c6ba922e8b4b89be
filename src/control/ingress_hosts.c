/* Several Ingresses that share a host: who comes first, and which is the canary of which. */
#include "control/cert_shim.h"
#include "control/ingress.h"
#include "control/pods.h"

static void hosts_of(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    const struct val *rules = val_get(obj_spec(o), N(rules));
    bool all = val_get(obj_spec(o), N(defaultBackend)) != NULL;
    val_each_item (rule, rules) {
        struct str host = val_text_at(rule, N(host));
        if (host.n > 0)
            add(arg, host);
        all |= host.n == 0;
    }
    val_each_item (t, val_get(obj_spec(o), N(tls)))
        val_each_item (h, val_get(t, N(hosts)))
            add(arg, val_text(h));
    struct str rest = obj_note(o, INGRESS_PREFIX_NGINX "server-alias"), alias;
    while (rest.n > 0 && str_cut(&rest, ',', &alias))
        if (str_trim(alias).n > 0)
            add(arg, str_trim(alias));
    if (all)
        add(arg, S(""));
}
const struct objindex index_ingress_host = {"ingress-host", hosts_of};

static void name_add(const struct obj *o, const char *kind, struct str name, void (*add)(void *arg, struct str key),
                     void *arg)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    ptrdiff_t slash = str_find_char(name, '/');
    if (slash >= 0) /* of another namespace it is refused */
        name = str_sub(name, (size_t)slash + 1, name.n);
    if (name.n > 0)
        add(arg, ingress_names_key(&b, kind, o->ns, name));
}

struct str ingress_names_key(struct strbuf *b, const char *kind, struct str ns, struct str name)
{
    strbuf_reset(b);
    strbuf_addf(b, "%s/" STR_FMT "/" STR_FMT, kind, STR_ARG(ns), STR_ARG(name));
    return strbuf_str(b);
}

static void names_of(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    static const struct {
        const char *annotation, *kind;
    } notes[] = {{"auth-secret", "Secret"},
                 {"auth-tls-secret", "Secret"},
                 {"proxy-ssl-secret", "Secret"},
                 {"custom-headers", "ConfigMap"},
                 {"default-backend", "Service"}};
    const struct val *spec = obj_spec(o);
    name_add(o, "Service", val_text_at(spec, N(defaultBackend), N(service), N(name)), add, arg);
    val_each_item (rule, val_get(spec, N(rules)))
        val_each_item (p, val_at(rule, N(http), N(paths)))
            name_add(o, "Service", val_text_at(p, N(backend), N(service), N(name)), add, arg);
    AUTO(arena_fini) struct arena a = ARENA;
    size_t at = 0;
    val_each_item (t, val_get(spec, N(tls)))
        name_add(o, "Secret", cert_tls_secret(&a, o, t, at++), add, arg);
    if (cert_tls_implied(o))
        name_add(o, "Secret", cert_tls_secret(&a, o, NULL, 0), add, arg);
    for (size_t i = 0; i < countof(notes); i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        strbuf_addf(&b, INGRESS_PREFIX_NGINX "%s", notes[i].annotation);
        name_add(o, notes[i].kind, str_trim(obj_note(o, b.p)), add, arg);
    }
    struct str mirror = str_trim(obj_note(o, INGRESS_PREFIX_NGINX "mirror-target")), name, ns, rest;
    if (!str_starts(mirror, S("http://")) || !str_split(str_sub(mirror, 7, mirror.n), '.', &name, &rest))
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (ns.n = 0, ns.p = rest.p; ns.n < rest.n && !strchr(".:/$", rest.p[ns.n]);)
        ns.n++;
    add(arg, ingress_names_key(&b, "Service", ns, name));
}
const struct objindex index_ingress_names = {"ingress-names", names_of};

bool ingress_is_older(const struct obj *a, const struct obj *b)
{
    int64_t ta = val_time(val_get(obj_meta(a), N(creationTimestamp))),
            tb = val_time(val_get(obj_meta(b), N(creationTimestamp)));
    if (ta != tb)
        return ta < tb;
    int ns = str_cmp(a->ns, b->ns);
    return ns ? ns < 0 : str_cmp(a->name, b->name) < 0;
}

static bool is_canary(const struct obj *o)
{
    return str_eqz(obj_note(o, INGRESS_PREFIX_NGINX "canary"), "true");
}

static bool may_be_pattern(const struct obj *o)
{
    return str_eqz(obj_note(o, INGRESS_PREFIX_NGINX "use-regex"), "true") ||
           obj_has_note(o, INGRESS_PREFIX_NGINX "rewrite-target");
}

/* "/a/" and "/a" are one prefix. */
static struct str path_trim(struct str path)
{
    while (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    return path.n ? path : S("/");
}

/* A rule of `o` for the host with this path; `fallback` counts as none. */
static bool has_path(const struct obj *o, struct str host, enum ingress_path_kind kind, struct str path)
{
    val_each_item (rule, val_get(obj_spec(o), N(rules))) {
        if (!str_ieq(val_text_at(rule, N(host)), host))
            continue;
        val_each_item (it, val_at(rule, N(http), N(paths))) {
            bool exact = str_eqz(val_text_at(it, N(pathType)), "Exact");
            struct str other = val_text_at(it, N(path));
            if (exact != (kind == INGRESS_EXACT))
                continue;
            if (exact || (kind == INGRESS_PATTERN && may_be_pattern(o))
                    ? str_eq(other, path)
                    : kind == INGRESS_PREFIX && str_eq(path_trim(other), path_trim(path)))
                return true;
        }
    }
    return false;
}

static const struct obj *first_of(const struct view *v, const struct obj * not, const struct ingress_path *p,
                                  bool canaries, struct str ns)
{
    const struct obj *best = NULL;
    struct obj *o;
    for (struct objset_iter it = view_with(v, K(Ingress), &index_ingress_host, p->host); (o = objset_next(&it));)
        if (o != not &&is_canary(o) == canaries && (ns.n == 0 || str_eq(o->ns, ns)) && ingress_is_ours(v, o) &&
            has_path(o, p->host, p->kind, p->path) && (!best || ingress_is_older(o, best)))
            best = o;
    return best;
}

/* An older one whose default backend gets what no rule takes. */
static const struct obj *default_before(const struct view *v, const struct obj *than)
{
    const struct obj *best = NULL;
    struct obj *o;
    for (struct objset_iter it = view_with(v, K(Ingress), &index_ingress_host, S("")); (o = objset_next(&it));)
        if (o != than && val_get(obj_spec(o), N(defaultBackend)) && !is_canary(o) &&
            ingress_is_older(o, best ? best : than) && ingress_is_ours(v, o))
            best = o;
    return best;
}

const struct obj *ingress_taken_by(const struct view *v, const struct ingress *i, const struct ingress_path *p)
{
    if (p->fallback)
        return p->host.n == 0 ? default_before(v, i->o) : NULL;
    const struct obj *other = first_of(v, i->o, p, i->set.canary, i->set.canary ? i->o->ns : S(""));
    return other && ingress_is_older(other, i->o) ? other : NULL;
}

const struct obj *ingress_canary_of(const struct view *v, const struct obj *o, const struct ingress_path *p)
{
    return p->fallback || p->alias ? NULL : first_of(v, o, p, true, o->ns);
}

const struct obj *ingress_main_of(const struct view *v, const struct obj *canary, const struct ingress_path *p)
{
    return first_of(v, canary, p, false, canary->ns);
}

const struct obj *ingress_host_of(const struct view *v, const struct obj * not, struct str host)
{
    const struct obj *best = NULL;
    struct obj *o;
    for (struct objset_iter it = view_with(v, K(Ingress), &index_ingress_host, host); (o = objset_next(&it));) {
        if (o == not || is_canary(o) || !ingress_is_ours(v, o))
            continue;
        bool has = false;
        val_each_item (rule, val_get(obj_spec(o), N(rules)))
            has |= str_ieq(val_text_at(rule, N(host)), host);
        if (has && (!best || ingress_is_older(o, best)))
            best = o;
    }
    return best;
}

static bool has_tls_for(const struct obj *o, struct str host)
{
    bool has = cert_tls_implied(o);
    val_each_item (t, val_get(obj_spec(o), N(tls))) {
        const struct val *hosts = val_get(t, N(hosts));
        has |= val_len(hosts) == 0; /* those of its rules, of which the host is one */
        val_each_item (h, hosts)
            has |= str_ieq(val_text(h), host);
    }
    return has;
}

bool ingress_host_has_tls(const struct view *v, const struct ingress *i, struct str host)
{
    struct obj *o;
    if (ingress_has_tls(i, host))
        return true;
    struct objset_iter it = view_with(v, K(Ingress), &index_ingress_host, host);
    while (host.n > 0 && (o = objset_next(&it)))
        if (o != i->o && !is_canary(o) && has_tls_for(o, host) && ingress_is_ours(v, o))
            return true;
    return false;
}

bool ingress_root_is_taken(const struct view *v, struct str host)
{
    struct ingress_path root = {.host = host, .kind = INGRESS_PREFIX, .path = S("/")};
    return first_of(v, NULL, &root, false, S("")) != NULL;
}

const struct obj *ingress_tls_taken_by(const struct view *v, const struct ingress *i, struct str secret,
                                       struct str host)
{
    const struct obj *best = NULL;
    struct obj *o;
    for (struct objset_iter it = view_with(v, K(Ingress), &index_ingress_host, host); (o = objset_next(&it));) {
        if (o == i->o || !ingress_is_older(o, i->o) || !ingress_is_ours(v, o))
            continue;
        bool other = false;
        val_each_item (t, val_get(obj_spec(o), N(tls))) {
            bool same = str_eq(o->ns, i->o->ns) && str_eq(val_text_at(t, N(secretName)), secret);
            val_each_item (h, val_get(t, N(hosts)))
                other |= !same && val_text_at(t, N(secretName)).n > 0 && str_ieq(val_text(h), host);
        }
        if (other && (!best || ingress_is_older(o, best)))
            best = o;
    }
    return best;
}
