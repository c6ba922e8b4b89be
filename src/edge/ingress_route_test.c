#include "api/codec.h"
#include "api/rules.h"
#include "base/test.h"
#include "edge/ingress_route.h"

/* Objects as YAML in; what the front door is to do, as lines. The first object that is an Ingress is the one asked
 * of.
 */
struct fixture {
    struct objset *sets[KIND_IDS];
    const struct objset *view_sets[KIND_IDS];
    struct view view;
    const struct obj *first;
};

static void fixture_init(struct fixture *f)
{
    *f = (struct fixture){0};
    for (size_t i = 0; i < nkinds; i++) {
        f->sets[i] = NEW(struct objset);
        objset_init(f->sets[i], kinds[i], kind_indexes(kinds[i]));
        f->view_sets[i] = f->sets[i];
    }
    f->view = (struct view){.sets = f->view_sets, .now = 1767225600 * NS_PER_S};
}

static void fixture_fini(struct fixture *f)
{
    for (size_t i = 0; i < nkinds; i++) {
        objset_fini(f->sets[i]);
        mem_free(f->sets[i]);
    }
}

static void fixture_put(struct fixture *f, struct arena *a, const struct val *any)
{
    struct err err = ERR;
    struct val v;
    const struct kind *k = kind_of_api_version(val_text_at(any, N(apiVersion)), val_text_at(any, N(kind)));
    CHECK(k);
    CHECK_OK(type_decode_val(a, k->type, any, &v, NULL, &err), err);
    kind_default(a, k, &v);
    struct val *meta = val_need_map(a, &v, N(metadata));
    if (k->namespaced && !val_get(meta, N(namespace)))
        val_set_text(a, meta, N(namespace), S("default"));
    if (!val_get(meta, N(creationTimestamp)))
        val_set_text(a, meta, N(creationTimestamp), S("2026-01-01T00:00:00Z"));
    struct obj *o = obj_new(k, &v, 1);
    obj_unref(objset_put(f->sets[k->id], o));
    if (k == K(Ingress) && !f->first)
        f->first = o;
    obj_unref(o);
}

static void text_add(struct strbuf *out, const char *what, struct str text)
{
    if (text.n > 0)
        strbuf_addf(out, " %s=" STR_FMT, what, STR_ARG(text));
}

static void number_add(struct strbuf *out, const char *what, int64_t n)
{
    if (n)
        strbuf_addf(out, " %s=%lld", what, (long long)n);
}

static void path_add(struct strbuf *out, const char *what, const struct door_path *p)
{
    static const char *const changes[] = {"", "full", "prefix", "regex"};
    if (p->change != DOOR_PATH_KEEP)
        strbuf_addf(out, " %s=%s:" STR_FMT, what, changes[p->change], STR_ARG(p->text));
}

static void fields_add(struct strbuf *out, const char *what, const struct door_field_match *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        strbuf_addf(out, " %s[" STR_FMT "]%s" STR_FMT, what, STR_ARG(m[i].name),
                    m[i].kind == DOOR_MATCH_REGEX ? "~" : "=", STR_ARG(m[i].value));
}

static void headers_add(struct strbuf *out, const char *what, const struct door_headers *h)
{
    for (size_t i = 0; i < h->nset; i++)
        strbuf_addf(out, " %s[" STR_FMT "]=" STR_FMT, what, STR_ARG(h->set[i].name), STR_ARG(h->set[i].value));
}

static void auth_add(struct strbuf *out, const struct door_auth *a)
{
    if (!a)
        return;
    strbuf_addf(out, " auth%s", a->broken ? "=broken" : "");
    text_add(out, "realm", a->realm);
    for (struct str rest = a->users, line; rest.n > 0 && str_cut(&rest, '\n', &line);)
        text_add(out, "user", line);
    text_add(out, "url", a->url);
    text_add(out, "signin", a->signin);
    text_add(out, "method", a->method);
    for (size_t i = 0; i < a->nheaders; i++)
        text_add(out, "gives", a->headers[i]);
    number_add(out, "cache", a->cache_s);
}

static void action_add(struct strbuf *out, const struct door_action *a)
{
    if (a->end == DOOR_TO_POOL)
        strbuf_addf(out, " -> " STR_FMT, STR_ARG(a->pool));
    else
        strbuf_addf(out, " -> %s %d", a->end == DOOR_REDIRECT ? "redirect" : "status", a->code);
    text_add(out, "host", a->to_host);
    text_add(out, "scheme", a->to_scheme);
    text_add(out, "url", a->to_url);
    path_add(out, "path", &a->to_path);
    text_add(out, "Host", a->rewrite_host);
    path_add(out, "rewrite", &a->rewrite);
    headers_add(out, "request", &a->request);
    headers_add(out, "response", &a->response);
    number_add(out, "https", a->to_https);
    number_add(out, "body", a->body_most);
    text_add(out, "allow", a->allow);
    text_add(out, "deny", a->deny);
    number_add(out, "rps", a->rate_s);
    number_add(out, "rpm", a->rate_min);
    number_add(out, "connections", a->connections);
    number_add(out, "tries", a->tries_more);
    for (size_t i = 0; i < a->nretry_on; i++)
        number_add(out, "on", a->retry_on[i]);
    number_add(out, "unsafe", a->retry_unsafe);
    auth_add(out, a->auth);
    for (size_t i = 0; a->cors && i < a->cors->norigins; i++)
        text_add(out, "origin", a->cors->origins[i]);
    if (a->cors)
        strbuf_addf(out, " credentials=%d age=%lld methods=" STR_FMT, a->cors->credentials,
                    (long long)a->cors->max_age_s, STR_ARG(a->cors->methods));
    for (size_t i = 0; i < a->nmirrors; i++)
        text_add(out, "mirror", a->mirrors[i].pool);
    for (size_t i = 0; i < a->nerrors; i++)
        number_add(out, "error", a->errors[i]);
    text_add(out, "errors", a->nerrors ? a->errors_pool : S(""));
}

/* Routes are on "http" and another listener alike: one line for both. */
static void routes_add(struct strbuf *out, const struct door_part *p)
{
    static const char *const marks[] = {"=", "", "~"};
    for (size_t i = 0; i < p->routes.n; i++) {
        const struct door_route *r = &p->routes.p[i];
        const struct door_route *next = i + 1 < p->routes.n ? &p->routes.p[i + 1] : NULL;
        CHECK(r->host_deep == false && r->host_falls == false);
        if (next && next->index == r->index && str_eqz(r->listener, "http")) {
            strbuf_addf(out, "%s+" STR_FMT, "http", STR_ARG(next->listener));
            i++;
        } else {
            strbuf_addf(out, STR_FMT, STR_ARG(r->listener));
        }
        strbuf_addf(out, " " STR_FMT " %s" STR_FMT, STR_ARG(r->host.n ? r->host : S("*")), marks[r->match.path_kind],
                    STR_ARG(r->match.path));
        text_add(out, "from", r->match.source);
        fields_add(out, "header", r->match.headers, r->match.nheaders);
        fields_add(out, "cookie", r->match.cookies, r->match.ncookies);
        action_add(out, &r->action);
        strbuf_addc(out, '\n');
    }
    array_each (s, &p->streams)
        strbuf_addf(out, "stream " STR_FMT " " STR_FMT " -> " STR_FMT "\n", STR_ARG(s->listener), STR_ARG(s->host),
                    STR_ARG(s->pool));
}

static void pools_add(struct strbuf *out, const struct ingress_wish *w)
{
    static const char *const balances[] = {"", " least", " random", " hash"}, *const protocols[] = {"", " h2",
                                                                                                    " tcp"};
    array_each (p, &w->pools) {
        strbuf_addf(out, "pool " STR_FMT ":%s", STR_ARG(p->base.key), balances[p->base.balance]);
        text_add(out, "on", p->base.hash_on);
        text_add(out, "cookie", p->base.cookie);
        text_add(out, "path", p->base.cookie_path);
        text_add(out, "domain", p->base.cookie_domain);
        text_add(out, "samesite", p->base.cookie_samesite);
        number_add(out, "age", p->base.cookie_s);
        number_add(out, "secure", p->base.cookie_secure);
        number_add(out, "connect", p->base.connect_ns / NS_PER_S);
        number_add(out, "server", p->base.server_ns / NS_PER_S);
        for (size_t i = 0; i < p->nrefs; i++) {
            const struct pool_ref *r = &p->refs[i];
            strbuf_addf(out, " [" STR_FMT "/" STR_FMT " " STR_FMT "%u *%u%s%s%s", STR_ARG(r->ns), STR_ARG(r->service),
                        STR_ARG(r->port_name), (unsigned)r->port, (unsigned)r->weight, protocols[r->as.protocol],
                        r->as.tls ? " tls" : "", r->as.backup ? " backup" : "");
            text_add(out, "name", r->as.tls_name);
            text_add(out, "ca", r->as.tls_ca);
            text_add(out, "own", r->as.tls_own);
            strbuf_addf(out, "%s]", r->as_is ? "!" : "");
        }
        strbuf_addc(out, '\n');
    }
}

static void shared_add(struct strbuf *out, const struct door_part *p)
{
    static const char *const protocols[] = {"http", "https", "tls", "tcp"};
    array_each (l, &p->listeners) {
        strbuf_addf(out, "listener " STR_FMT " %s:%u", STR_ARG(l->key), protocols[l->protocol], (unsigned)l->port);
        text_add(out, "host", l->hostname);
        text_add(out, l->client_ca_optional ? "client-ca-optional" : "client-ca", l->client_ca);
        for (size_t i = 0; i < l->ncertificates; i++)
            text_add(out, "shows", l->certificates[i]);
        strbuf_addc(out, '\n');
    }
    array_each (c, &p->certificates) {
        strbuf_addf(out, "certificate " STR_FMT "%s", STR_ARG(c->key), c->private.n ? "" : " (authorities)");
        for (size_t i = 0; i < c->nhosts; i++)
            text_add(out, "for", c->hosts[i]);
        strbuf_addc(out, '\n');
    }
}

static void wish_answer(struct str input, struct strbuf *out)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct fixture f;
    struct val docs = val_list();
    struct err err = ERR;
    fixture_init(&f);
    CHECK_OK(yaml_decode_all(&a, input, &docs, &err), err);
    val_each_item (it, &docs)
        fixture_put(&f, &a, it);
    CHECK(f.first);
    AUTO(ingress_wish_fini) struct ingress_wish one = {0}, all = {0};
    ingress_wish_of(&f.view, f.first, &one);
    routes_add(out, &one.part);
    pools_add(out, &one);
    array_each (c, &one.part.certificates)
        strbuf_addf(out, "certificate " STR_FMT "%s\n", STR_ARG(c->key), c->private.n ? "" : " (authorities)");
    array_each (n, &one.needs)
        strbuf_addf(out, "needs " STR_FMT " " STR_FMT "/" STR_FMT "\n", STR_ARG(n->kind->kind), STR_ARG(n->ns),
                    STR_ARG(n->name));
    ingress_wish_shared(&f.view, NULL, &all);
    if (str_has(input, S("# shared")))
        shared_add(out, &all.part);
    if (out->n == 0)
        strbuf_addz(out, "nothing\n");
    fixture_fini(&f);
}

TEST(wishes_are_as_in_their_transcript)
{
    test_transcript("tests/edge/ingress_route.txt", wish_answer);
}
