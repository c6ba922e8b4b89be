/* Parts and pools as the front door keeps them: whole copies, each in an arena of its own. */
#include "edge/door_state.h"

static struct str *texts_copy(struct arena *a, const struct str *p, size_t n)
{
    struct str *out = arena_alloc(a, MAX(n, 1) * sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = str_dup(a, p[i]);
    return out;
}

#define TEXT(field) ((field) = str_dup(a, field))
#define TEXTS(p, n) ((p) = texts_copy(a, p, n))
#define PLAIN(p, n) ((p) = (n) ? arena_dup(a, p, (n) * sizeof *(p)) : NULL)

static void field_matches_copy(struct arena *a, const struct door_field_match **p, size_t n)
{
    struct door_field_match *own = n ? arena_dup(a, *p, n * sizeof *own) : NULL;
    for (size_t i = 0; i < n; i++) {
        TEXT(own[i].name);
        TEXT(own[i].value);
    }
    *p = own;
}

static void headers_copy(struct arena *a, const struct door_header **p, size_t n)
{
    struct door_header *own = n ? arena_dup(a, *p, n * sizeof *own) : NULL;
    for (size_t i = 0; i < n; i++) {
        TEXT(own[i].name);
        TEXT(own[i].value);
    }
    *p = own;
}

static void header_changes_copy(struct arena *a, struct door_headers *h)
{
    headers_copy(a, &h->set, h->nset);
    headers_copy(a, &h->add, h->nadd);
    TEXTS(h->remove, h->nremove);
}

static const struct door_cors *cors_copy(struct arena *a, const struct door_cors *c)
{
    struct door_cors *own = arena_dup(a, c, sizeof *c);
    TEXTS(own->origins, own->norigins);
    TEXT(own->methods);
    TEXT(own->headers);
    TEXT(own->expose);
    return own;
}

static const struct door_auth *auth_copy(struct arena *a, const struct door_auth *auth)
{
    struct door_auth *own = arena_dup(a, auth, sizeof *auth);
    TEXT(own->realm);
    TEXT(own->users);
    TEXT(own->url);
    TEXT(own->signin);
    TEXT(own->method);
    TEXTS(own->headers, own->nheaders);
    return own;
}

static void action_copy(struct arena *a, struct door_action *c)
{
    TEXT(c->pool);
    TEXT(c->rewrite_host);
    TEXT(c->rewrite.text);
    PLAIN(c->retry_on, c->nretry_on);
    TEXT(c->to_scheme);
    TEXT(c->to_host);
    TEXT(c->to_path.text);
    TEXT(c->to_url);
    header_changes_copy(a, &c->request);
    header_changes_copy(a, &c->response);
    c->cors = c->cors ? cors_copy(a, c->cors) : NULL;
    struct door_mirror *mirrors = c->nmirrors ? arena_dup(a, c->mirrors, c->nmirrors * sizeof *mirrors) : NULL;
    for (size_t i = 0; i < c->nmirrors; i++)
        TEXT(mirrors[i].pool);
    c->mirrors = mirrors;
    TEXT(c->allow);
    TEXT(c->deny);
    c->auth = c->auth ? auth_copy(a, c->auth) : NULL;
    PLAIN(c->errors, c->nerrors);
    TEXT(c->errors_pool);
}

static struct door_route route_copy(struct arena *a, struct door_route r)
{
    TEXT(r.listener);
    TEXT(r.host);
    TEXT(r.match.path);
    TEXT(r.match.method);
    TEXT(r.match.source);
    field_matches_copy(a, &r.match.headers, r.match.nheaders);
    field_matches_copy(a, &r.match.queries, r.match.nqueries);
    field_matches_copy(a, &r.match.cookies, r.match.ncookies);
    action_copy(a, &r.action);
    TEXT(r.owner);
    return r;
}

static struct door_listener listener_copy(struct arena *a, struct door_listener l)
{
    TEXT(l.key);
    TEXT(l.address);
    TEXT(l.hostname);
    TEXTS(l.certificates, l.ncertificates);
    TEXT(l.client_ca);
    return l;
}

static struct door_certificate certificate_copy(struct arena *a, struct door_certificate c)
{
    TEXT(c.key);
    TEXT(c.chain);
    TEXT(c.private);
    TEXTS(c.hosts, c.nhosts);
    return c;
}

void door_part_copy(struct arena *a, struct door_part *out, const struct door_part *p)
{
    array_each (l, &p->listeners)
        array_push(&out->listeners, listener_copy(a, *l));
    array_each (c, &p->certificates)
        array_push(&out->certificates, certificate_copy(a, *c));
    array_each (r, &p->routes)
        array_push(&out->routes, route_copy(a, *r));
    array_each (s, &p->streams) {
        struct door_stream own = *s;
        TEXT(own.listener);
        TEXT(own.host);
        TEXT(own.pool);
        TEXT(own.owner);
        array_push(&out->streams, own);
    }
    array_each (s, &p->answers)
        array_push(&out->answers,
                   ((struct door_answer){str_dup(a, s->host), str_dup(a, s->path), str_dup(a, s->body)}));
    array_each (s, &p->alpns)
        array_push(&out->alpns,
                   ((struct door_alpn){str_dup(a, s->host), str_dup(a, s->protocol), str_dup(a, s->certificate)}));
}

void door_part_fini(struct door_part *p)
{
    array_fini(&p->listeners);
    array_fini(&p->certificates);
    array_fini(&p->routes);
    array_fini(&p->streams);
    array_fini(&p->answers);
    array_fini(&p->alpns);
}

void door_pool_copy(struct arena *a, struct door_pool *out, const struct door_pool *p)
{
    *out = *p;
    TEXT(out->key);
    TEXT(out->hash_on);
    TEXT(out->cookie);
    TEXT(out->cookie_path);
    TEXT(out->cookie_domain);
    TEXT(out->cookie_samesite);
    TEXT(out->persist_header);
    struct door_server *own = p->nservers ? arena_dup(a, p->servers, p->nservers * sizeof *own) : NULL;
    for (size_t i = 0; i < p->nservers; i++) {
        TEXT(own[i].host);
        TEXT(own[i].tls_name);
        TEXT(own[i].tls_ca);
        TEXT(own[i].tls_own);
    }
    out->servers = own;
}

bool door_listeners_same(const struct door_part *a, const struct door_part *b)
{
    if (a->listeners.n != b->listeners.n)
        return false;
    for (size_t i = 0; i < a->listeners.n; i++) {
        const struct door_listener *x = &a->listeners.p[i], *y = &b->listeners.p[i];
        bool same = str_eq(x->key, y->key) && str_eq(x->address, y->address) && x->port == y->port &&
                    x->protocol == y->protocol && x->terminate == y->terminate && str_eq(x->hostname, y->hostname) &&
                    x->isolated == y->isolated && x->accept_proxy == y->accept_proxy &&
                    str_eq(x->client_ca, y->client_ca) && x->client_ca_optional == y->client_ca_optional;
        if (!same)
            return false;
    }
    return true;
}
