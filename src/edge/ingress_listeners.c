/* What all Ingresses share: where connections come in, and which certificate is shown for which host. */
#include "edge/ingress_route.h"

/* A Secret that is shown, for the hosts that are its own. */
struct ingress_shown {
    struct str key, ns, name;
    const struct obj *secret;
    struct str chain, private;
    ARRAY(struct str) hosts;
    struct map known; /* these */
    bool all;         /* for whatever it names */
};
struct ingress_gathering {
    const struct view *v;
    struct arena *a;
    struct ingress_wish *out;
    ARRAY(struct ingress_shown) shown;
    ARRAY(struct str) guarded; /* hosts whose clients show a certificate */
    struct map *checked, now;  /* "NS/NAME@REVISION": what came of reading it */
    bool any, passes;
};

/* Whether the Secret can be shown, by what was found when this revision of it was read. */
static bool secret_check(struct ingress_gathering *g, struct ingress_shown *s)
{
    static char good, bad;
    struct err err = ERR; /* told by ingress_check */
    if (!s->secret || !str_eqz(val_text_at(&s->secret->tree, N(type)), "kubernetes.io/tls"))
        return false;
    struct str key = arena_fmt(g->a, STR_FMT "/" STR_FMT "@%lld", STR_ARG(s->ns), STR_ARG(s->name),
                               (long long)s->secret->rev);
    void *known = g->checked ? map_get(g->checked, key) : NULL;
    if (!known)
        known = ingress_certificate(s->secret, &s->chain, &s->private, &err) ? &good : &bad;
    (void)map_put(&g->now, key, known); /* it is asked once a Secret */
    const struct val *data = val_get(&s->secret->tree, N(data));
    s->chain = val_raw(val_get_str(data, S("tls.crt")));
    s->private = val_raw(val_get_str(data, S("tls.key")));
    return known == &good;
}

static struct ingress_shown *shown_get(struct ingress_gathering *g, struct str ns, struct str name)
{
    array_each (it, &g->shown)
        if (str_eq(it->ns, ns) && str_eq(it->name, name))
            return it;
    struct ingress_shown one = {.ns = ns, .name = name, .secret = view_get(g->v, K(Secret), ns, name)};
    if (!secret_check(g, &one))
        one.secret = NULL;
    one.key = STR_JOIN(g->a, S("Secret/"), ns, S("/"), name);
    array_push(&g->shown, one);
    return &g->shown.p[g->shown.n - 1];
}

static void host_show(struct ingress_shown *s, struct str host)
{
    if (!map_put(&s->known, host, s))
        array_push(&s->hosts, host);
}

/* www.HOST of a redirect, and aliases, are of the same certificate where it names them. */
static void extras_show(struct ingress_gathering *g, const struct ingress *i, struct ingress_shown *s,
                        struct str host)
{
    if (i->set.www_redirect && !str_starts(host, S("*.")))
        host_show(s, str_starts(host, S("www.")) ? str_sub(host, 4, host.n) : STR_JOIN(g->a, S("www."), host));
    for (size_t n = 0; n < i->set.naliases; n++)
        if (!ingress_host_of(g->v, i->o, i->set.aliases[n]))
            host_show(s, i->set.aliases[n]);
}

static void tls_gather(struct ingress_gathering *g, const struct ingress *i)
{
    array_each (t, &i->tls) {
        if (t->secret.n == 0)
            continue;
        struct ingress_shown *s = shown_get(g, i->o->ns, t->secret);
        s->all |= t->nhosts == 0;
        for (size_t h = 0; h < t->nhosts; h++) {
            if (ingress_tls_taken_by(g->v, i, t->secret, t->hosts[h]))
                continue;
            host_show(s, t->hosts[h]);
            extras_show(g, i, s, t->hosts[h]);
        }
    }
}

static bool is_guarded(const struct ingress_gathering *g, struct str host)
{
    array_each (it, &g->guarded)
        if (str_eq(*it, host))
            return true;
    return false;
}

/* Of two Ingresses of a host that ask for certificates of clients the older says whose. */
static void clients_gather(struct ingress_gathering *g, const struct ingress *i, struct str host)
{
    struct err err = ERR; /* told by ingress_check */
    struct str pem, key = STR_JOIN(g->a, S("CA/"), i->o->ns, S("/"), i->set.client_ca);
    const struct obj *secret = view_get(g->v, K(Secret), i->o->ns, i->set.client_ca);
    bool readable = secret && ingress_authorities(secret, &pem, &err), known = false;
    if (host.n == 0 || is_guarded(g, host))
        return;
    array_push(&g->guarded, host);
    array_each (c, &g->out->part.certificates)
        known |= str_eq(c->key, key);
    if (readable && !known)
        array_push(&g->out->part.certificates, ((struct door_certificate){.key = key, .chain = pem}));
    array_push(&g->out->part.listeners, ((struct door_listener){.key = STR_JOIN(g->a, S("https/"), host),
                                                                .port = 443,
                                                                .protocol = DOOR_HTTPS,
                                                                .hostname = host,
                                                                .isolated = true,
                                                                .client_ca = readable ? key : S(""),
                                                                .client_ca_optional = i->set.client_optional}));
}

static void ingress_gather(struct ingress_gathering *g, const struct obj *o)
{
    AUTO(ingress_fini) struct ingress i;
    ingress_read(g->v, o, g->a, &i);
    g->any = true;
    if (i.set.canary)
        return;
    tls_gather(g, &i);
    g->passes |= i.set.passthrough;
    size_t n;
    const struct str *hosts = ingress_hosts(&i, g->a, &n);
    for (size_t h = 0; h < n && i.set.client_ca.n > 0; h++)
        clients_gather(g, &i, hosts[h]);
}

static void shown_put(struct ingress_gathering *g)
{
    struct door_part *part = &g->out->part;
    struct str *keys = arena_alloc(g->a, (g->shown.n + 1) * sizeof *keys);
    size_t n = 0;
    array_each (s, &g->shown) {
        if (!s->secret || (s->hosts.n == 0 && !s->all))
            continue;
        keys[n++] = s->key;
        array_push(&part->certificates,
                   ((struct door_certificate){
                       .key = s->key,
                       .chain = s->chain,
                       .private = s->private,
                       .hosts = s->all ? NULL : arena_dup(g->a, s->hosts.p, s->hosts.n * sizeof *s->hosts.p),
                       .nhosts = s->all ? 0 : s->hosts.n}));
    }
    array_push(&part->listeners, ((struct door_listener){.key = S("http"), .port = 80, .protocol = DOOR_HTTP}));
    array_push(&part->listeners,
               ((struct door_listener){.key = S("https"), .port = 443, .protocol = DOOR_HTTPS, .own_default = true}));
    if (g->passes)
        array_push(&part->listeners, ((struct door_listener){.key = S("tls"), .port = 443, .protocol = DOOR_TLS}));
    array_each (l, &part->listeners)
        if (l->protocol == DOOR_HTTPS) {
            l->certificates = keys;
            l->ncertificates = n;
        }
}

static int older_first(const void *a, const void *b)
{
    const struct obj *const *x = a, *const *y = b;
    return ingress_is_older(*x, *y) ? -1 : 1;
}

void ingress_wish_shared(const struct view *v, struct map *checked, struct ingress_wish *out)
{
    *out = (struct ingress_wish){0};
    struct ingress_gathering g = {.v = v, .a = &out->arena, .out = out, .checked = checked, .now = MAP};
    ARRAY(const struct obj *) ours = {0};
    struct obj *o;
    for (struct objset_iter it = view_all(v, K(Ingress)); (o = objset_next(&it));)
        if (ingress_is_ours(v, o))
            array_push(&ours, o);
    if (ours.n > 1)
        qsort(ours.p, ours.n, sizeof *ours.p, older_first);
    array_each (it, &ours)
        ingress_gather(&g, *it);
    if (g.any)
        shown_put(&g);
    array_each (s, &g.shown) {
        array_fini(&s->hosts);
        map_fini(&s->known);
    }
    array_fini(&g.shown);
    array_fini(&g.guarded);
    array_fini(&ours);
    if (!checked) {
        map_fini(&g.now);
        return;
    }
    map_fini(checked);
    *checked = g.now;
}
