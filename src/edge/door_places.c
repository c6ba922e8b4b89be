/* Where routes belong: sockets of listeners, hosts of sockets. A host is a node of its socket: exact, all that is one
 * label below a name, all that is any number below it, or all. */
#include "edge/door_state.h"
#include <arpa/inet.h>

/* --- hosts --- */

static struct door_host_name host_name_of(struct str host, bool deep)
{
    if (!host.n || str_eqz(host, "*"))
        return (struct door_host_name){DOOR_HOST_ALL, S("")};
    if (str_starts(host, S("*.")))
        return (struct door_host_name){deep ? DOOR_HOST_DEEP : DOOR_HOST_ONE, str_sub(host, 2, host.n)};
    return (struct door_host_name){DOOR_HOST_EXACT, host};
}

static bool is_below(struct str host, struct str suffix)
{
    return host.n > suffix.n + 1 && str_ends(host, suffix) && host.p[host.n - suffix.n - 1] == '.';
}

static bool name_covers(struct door_host_name wide, struct door_host_name narrow)
{
    switch (wide.kind) {
    case DOOR_HOST_ALL: return narrow.kind != DOOR_HOST_ALL;
    case DOOR_HOST_EXACT: return false;
    case DOOR_HOST_ONE:
        return narrow.kind == DOOR_HOST_EXACT && is_below(narrow.suffix, wide.suffix) &&
               str_find_char(str_sub(narrow.suffix, 0, narrow.suffix.n - wide.suffix.n - 1), '.') < 0;
    case DOOR_HOST_DEEP: break;
    }
    return narrow.kind != DOOR_HOST_ALL && (is_below(narrow.suffix, wide.suffix) ||
                                            (narrow.kind == DOOR_HOST_ONE && str_eq(narrow.suffix, wide.suffix)));
}

static struct door_host_name host_name(const struct door_host *h)
{
    return (struct door_host_name){h->kind, str_of(h->suffix)};
}

static struct str host_key(struct strbuf *b, const char *socket, enum door_host_kind kind, struct str suffix)
{
    strbuf_reset(b);
    strbuf_addf(b, "%s %d " STR_FMT, socket, kind, STR_ARG(suffix));
    return strbuf_str(b);
}

struct door_host *door_host_get(struct door *d, const char *socket, enum door_host_kind kind, struct str suffix)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    return map_get(&d->hosts, host_key(&b, socket, kind, suffix));
}

/* By its name's ends, not by a look at all hosts: there may be thousands, and all of them come at once. */
void door_host_widers(struct door *d, const struct door_host *h, struct door_wider *out)
{
    struct door_host *w;
    out->n = 0;
    if (h->kind == DOOR_HOST_ALL)
        return;
    if ((w = door_host_get(d, h->socket.z, DOOR_HOST_ALL, S(""))))
        out->p[out->n++] = w;
    struct str rest = str_of(h->suffix);
    for (enum door_host_kind kind = DOOR_HOST_ONE; out->n < countof(out->p); kind = DOOR_HOST_DEEP) {
        ptrdiff_t dot = str_find_char(rest, '.');
        bool itself = kind == DOOR_HOST_ONE && h->kind == DOOR_HOST_ONE; /* all below a name have what is one below */
        if (dot < 0 && !itself)
            return;
        struct str end = itself ? rest : str_sub(rest, (size_t)dot + 1, rest.n);
        if (kind == DOOR_HOST_ONE && h->kind == DOOR_HOST_EXACT &&
            (w = door_host_get(d, h->socket.z, DOOR_HOST_ONE, end)) && name_covers(host_name(w), host_name(h)))
            out->p[out->n++] = w;
        if (out->n < countof(out->p) && (w = door_host_get(d, h->socket.z, DOOR_HOST_DEEP, end)) &&
            name_covers(host_name(w), host_name(h)))
            out->p[out->n++] = w;
        rest = end;
    }
}

void door_host_mark(struct door *d, struct door_host *h)
{
    if (h->dirty)
        return;
    h->dirty = true;
    array_push(&d->dirty, h);
}

void door_host_mark_all(struct door *d)
{
    map_each (e, &d->hosts)
        door_host_mark(d, e->value);
}

/* A host changed: so did those that fall back to it, which are marked once for all such (door_hosts_spread). */
static void host_changed(struct door *d, struct door_host *h)
{
    door_host_mark(d, h);
    h->spreads = h->kind != DOOR_HOST_EXACT;
    d->spreads |= h->spreads;
}

void door_hosts_spread(struct door *d)
{
    struct door_wider wider;
    if (!d->spreads)
        return;
    d->spreads = false;
    map_each (e, &d->hosts) {
        struct door_host *h = e->value;
        if (!h->dirty)
            door_host_widers(d, h, &wider);
        for (size_t i = 0; !h->dirty && i < wider.n; i++)
            if (wider.p[i]->spreads)
                door_host_mark(d, h);
    }
    map_each (e, &d->hosts)
        ((struct door_host *)e->value)->spreads = false;
}

static struct door_host *host_get(struct door *d, const struct door_socket *s, struct door_host_name n)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str key = host_key(&b, s->bind.name.z, n.kind, n.suffix);
    struct door_host *h = map_get(&d->hosts, key);
    if (h)
        return h;
    h = NEW(struct door_host);
    h->key = str_dupz(key);
    h->socket = s->bind.name;
    h->kind = n.kind;
    h->suffix = str_dupz(n.suffix);
    /* the shape knows the name of the table of all hosts */
    h->table = door_name_of('t', n.kind == DOOR_HOST_ALL ? STR_JOIN(&a, DOOR_NAME(s->bind.name), S(" ")) : key);
    map_put(&d->hosts, key, h);
    host_changed(d, h); /* it takes over what a wider one had */
    return h;
}

/* --- sockets --- */

static bool address_clean(struct str address, char out[INET6_ADDRSTRLEN])
{
    uint8_t bytes[16];
    char z[64];
    if (!address.n || str_eqz(address, "0.0.0.0") || str_eqz(address, "::")) {
        *out = 0;
        return true;
    }
    if (address.n >= sizeof z)
        return false;
    memcpy(z, address.p, address.n);
    z[address.n] = 0;
    int family = strchr(z, ':') ? AF_INET6 : AF_INET;
    return inet_pton(family, z, bytes) == 1 && inet_ntop(family, bytes, out, INET6_ADDRSTRLEN);
}

static struct str socket_key(struct arena *a, const struct door_listener *l)
{
    char address[INET6_ADDRSTRLEN];
    return address_clean(l->address, address) ? arena_fmt(a, "%s|%u", address, l->port) : STR_NONE;
}

struct door_socket *door_socket_of(struct door *d, const struct door_listener *l)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str key = socket_key(&a, l);
    struct door_socket *s = key.n ? map_get(&d->sockets, key) : NULL;
    if (s)
        array_each (have, &s->listeners)
            if (*have == l)
                return s;
    return NULL;
}

static unsigned socket_use(const struct door_listener *l)
{
    switch (l->protocol) {
    case DOOR_HTTP: return DOOR_HAS_HTTP;
    case DOOR_HTTPS: return DOOR_HAS_HTTPS;
    case DOOR_TCP: return DOOR_HAS_TCP;
    case DOOR_TLS: break;
    }
    return l->terminate ? DOOR_HAS_TERMINATED : DOOR_HAS_PASSED;
}

static bool socket_take(struct door *d, const struct door_listener *l, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    char address[INET6_ADDRSTRLEN];
    if (!address_clean(l->address, address))
        return err_set(err, E_INVALID, "the listener's address " STR_FMT " is none", STR_ARG(l->address));
    if (!l->port)
        return err_set(err, E_INVALID, "the listener " STR_FMT " has no port", STR_ARG(l->key));
    struct str key = socket_key(&a, l);
    struct door_socket *s = map_get(&d->sockets, key);
    bool accept_proxy = l->accept_proxy || (d->config.accept_proxy && !address[0]);
    unsigned has = socket_use(l), both = has | (s ? s->bind.has : 0);
    bool tls = both & (DOOR_HAS_HTTPS | DOOR_HAS_PASSED | DOOR_HAS_TERMINATED);
    if (s && (((both & DOOR_HAS_HTTP) != 0) + ((both & DOOR_HAS_TCP) != 0) + tls > 1 ||
              s->bind.accept_proxy != accept_proxy))
        return err_set(err, E_CONFLICT, "port %u of the listener " STR_FMT " is taken by one of another protocol",
                       l->port, STR_ARG(l->key));
    if (!s) {
        s = NEW(struct door_socket);
        s->bind = (struct door_bind){.name = door_name_of('f', key),
                                     .address = str_dup(&s->own, str_of(address)),
                                     .port = l->port,
                                     .accept_proxy = accept_proxy};
        map_put(&d->sockets, key, s);
    }
    array_push(&s->listeners, l);
    s->bind.has |= has;
    s->bind.client_lenient |= l->client_ca.n && l->client_ca_optional;
    s->bind.client_strict |= l->client_ca.n && !l->client_ca_optional;
    if (!l->hostname.n && l->client_ca.n && !s->bind.client_ca.n) {
        s->bind.client_ca = str_dup(&s->own, DOOR_NAME(door_cert_name(l->client_ca)));
        s->bind.client_ca_optional = l->client_ca_optional;
    }
    return true;
}

/* --- routes --- */

const struct door_listener *door_listener_find(struct door *d, struct str key)
{
    map_each (e, &d->sockets)
        array_each (l, &((struct door_socket *)e->value)->listeners)
            if (str_eq((*l)->key, key))
                return *l;
    return NULL;
}

static bool host_is_valid(struct str host)
{
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        bool star = c == '*' && i == 0 && (host.n == 1 || host.p[1] == '.');
        if (!star && !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '.' || c == '_'))
            return false;
    }
    return host.n <= 253;
}

bool door_host_within(const struct door_listener *l, struct str host, bool deep, struct door_host_name *out,
                      struct err *err)
{
    struct door_host_name outer = host_name_of(l->hostname, true);
    *out = host_name_of(host, deep);
    if (!host_is_valid(host))
        return err_set(err, E_INVALID, "\"" STR_FMT "\" is no host", STR_ARG(str_sub(host, 0, 260)));
    if (outer.kind == DOOR_HOST_ALL || name_covers(outer, *out) ||
        (outer.kind == out->kind && str_eq(outer.suffix, out->suffix)))
        return true;
    if (!name_covers(*out, outer))
        return err_set(err, E_INVALID, "the host " STR_FMT " is none of the listener's (" STR_FMT ")", STR_ARG(host),
                       STR_ARG(l->hostname));
    *out = outer;
    return true;
}

static void route_place(struct door *d, struct door_source *s, const struct door_route *r)
{
    struct door_placed *p = NEW(struct door_placed);
    *p = (struct door_placed){.route = r, .source = s, .listener = door_listener_find(d, r->listener)};
    array_push(&s->placed, p);
    struct err err = ERR;
    struct door_host_name name;
    if (!p->listener)
        return; /* it comes with another source, or it was told of */
    if (!door_match_check(&r->match, &err) || !door_host_within(p->listener, r->host, r->host_deep, &name, &err)) {
        door_refused(d, p, &err);
        return;
    }
    p->host = host_get(d, door_socket_of(d, p->listener), name);
    array_push(&p->host->routes, p);
    host_changed(d, p->host);
}

void door_place_source(struct door *d, struct door_source *s)
{
    array_each (r, &s->part.routes)
        route_place(d, s, r);
}

void door_unplace_source(struct door *d, struct door_source *s)
{
    for (size_t i = 0; i < s->placed.n; i++) {
        struct door_placed *p = s->placed.p[i];
        struct door_host *h = p->host;
        if (h) { /* the first of a host takes out all of this source */
            size_t kept = 0;
            for (size_t k = 0; k < h->routes.n; k++)
                if (h->routes.p[k]->source != s)
                    h->routes.p[kept++] = h->routes.p[k];
            if (kept < h->routes.n)
                host_changed(d, h);
            h->routes.n = kept;
        }
        if (p->rule)
            door_rule_unref(d, p->rule);
        mem_free(p);
    }
    array_fini(&s->placed);
}

static void sockets_clear(struct door *d)
{
    map_each (e, &d->sockets) {
        struct door_socket *s = e->value;
        array_fini(&s->listeners);
        arena_fini(&s->own);
        mem_free(s);
    }
    map_fini(&d->sockets);
    d->sockets = MAP;
}

void door_places_make(struct door *d)
{
    map_each (e, &d->sources)
        door_unplace_source(d, e->value);
    sockets_clear(d);
    map_each (e, &d->hosts)
        ((struct door_host *)e->value)->wanted = false;
    map_each (e, &d->sources) {
        struct door_source *s = e->value;
        array_each (l, &s->part.listeners) {
            struct err err = ERR;
            if (!door_listener_find(d, l->key) && !socket_take(d, l, &err) && d->events.refused)
                d->events.refused(d->arg, s->name, l->key, &err);
        }
    }
    map_each (e, &d->sockets) {
        struct door_socket *s = e->value;
        array_each (l, &s->listeners)
            host_get(d, s, host_name_of((*l)->hostname, true))->wanted = true;
    }
    map_each (e, &d->sources)
        door_place_source(d, e->value);
    door_host_mark_all(d);
    d->shape_changed = true;
}

void door_places_fini(struct door *d)
{
    sockets_clear(d);
}
