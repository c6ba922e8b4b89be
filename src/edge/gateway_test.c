/* Rules of routes in transcripts: a route and Services as YAML, and what the door is asked for on one listener. */
#include "api/codec.h"
#include "base/test.h"
#include "edge/gateway_route_int.h"
#include "wire/yaml.h"

static void fields_text(struct strbuf *b, const char *what, const struct door_field_match *f, size_t n)
{
    for (size_t i = 0; i < n; i++)
        strbuf_addf(b, " %s %s" STR_FMT "=" STR_FMT, what, f[i].kind == DOOR_MATCH_REGEX ? "~" : "",
                    STR_ARG(f[i].name), STR_ARG(f[i].value));
}

static void headers_text(struct strbuf *b, const char *what, const struct door_headers *h)
{
    for (size_t i = 0; i < h->nset; i++)
        strbuf_addf(b, " %s.set %s" STR_FMT ":" STR_FMT, what, "", STR_ARG(h->set[i].name), STR_ARG(h->set[i].value));
    for (size_t i = 0; i < h->nadd; i++)
        strbuf_addf(b, " %s.add " STR_FMT ":" STR_FMT, what, STR_ARG(h->add[i].name), STR_ARG(h->add[i].value));
    for (size_t i = 0; i < h->nremove; i++)
        strbuf_addf(b, " %s.remove " STR_FMT, what, STR_ARG(h->remove[i]));
}

static void path_text(struct strbuf *b, const char *what, const struct door_path *p)
{
    static const char *const changes[] = {"", "full", "prefix", "regex"};
    if (p->change != DOOR_PATH_KEEP)
        strbuf_addf(b, " %s %s \"" STR_FMT "\"", what, changes[p->change], STR_ARG(p->text));
}

static void action_text(struct strbuf *b, const struct door_action *a)
{
    switch (a->end) {
    case DOOR_TO_POOL: strbuf_addf(b, " -> " STR_FMT, STR_ARG(a->pool)); break;
    case DOOR_REDIRECT:
        strbuf_addf(b, " -> %d " STR_FMT "://" STR_FMT ":%u", a->code, STR_ARG(a->to_scheme), STR_ARG(a->to_host),
                    a->to_port);
        path_text(b, "path", &a->to_path);
        break;
    case DOOR_STATUS: strbuf_addf(b, " -> %d", a->code); break;
    }
    if (a->rewrite_host.n)
        strbuf_addf(b, " host " STR_FMT, STR_ARG(a->rewrite_host));
    path_text(b, "rewrite", &a->rewrite);
    if (a->request_ns || a->backend_ns)
        strbuf_addf(b, " times %lld/%lld ms", (long long)(a->request_ns / NS_PER_MS),
                    (long long)(a->backend_ns / NS_PER_MS));
    if (a->tries_more)
        strbuf_addf(b, " tries %d", a->tries_more);
    for (size_t i = 0; i < a->nretry_on; i++)
        strbuf_addf(b, " on %d", a->retry_on[i]);
    headers_text(b, "request", &a->request);
    headers_text(b, "response", &a->response);
    for (size_t i = 0; a->cors && i < a->cors->norigins; i++)
        strbuf_addf(b, " cors " STR_FMT, STR_ARG(a->cors->origins[i]));
    if (a->cors)
        strbuf_addf(b, " [" STR_FMT "] [" STR_FMT "] [" STR_FMT "] %d %lld", STR_ARG(a->cors->methods),
                    STR_ARG(a->cors->headers), STR_ARG(a->cors->expose), a->cors->credentials,
                    (long long)a->cors->max_age_s);
    for (size_t i = 0; i < a->nmirrors; i++)
        strbuf_addf(b, " mirror " STR_FMT " %u/%u", STR_ARG(a->mirrors[i].pool), a->mirrors[i].numerator,
                    a->mirrors[i].denominator);
}

static void route_text(struct strbuf *b, const struct door_route *r)
{
    static const char *const kinds_of_match[] = {"exact", "prefix", "pattern"};
    const struct door_match *m = &r->match;
    strbuf_addf(b, "%d %s " STR_FMT, r->index, kinds_of_match[m->path_kind], STR_ARG(m->path));
    if (m->method.n)
        strbuf_addf(b, " method " STR_FMT, STR_ARG(m->method));
    fields_text(b, "header", m->headers, m->nheaders);
    fields_text(b, "query", m->queries, m->nqueries);
    if (m->percent)
        strbuf_addf(b, " %d%%", m->percent);
    action_text(b, &r->action);
    strbuf_addc(b, '\n');
}

static void pool_text(struct strbuf *b, const struct pool_want *w)
{
    strbuf_addf(b, "pool " STR_FMT, STR_ARG(w->base.key));
    if (w->base.cookie.n)
        strbuf_addf(b, " cookie " STR_FMT " " STR_FMT " %lld s", STR_ARG(w->base.cookie),
                    STR_ARG(w->base.cookie_path), (long long)w->base.cookie_s);
    if (w->base.persist_header.n)
        strbuf_addf(b, " header " STR_FMT, STR_ARG(w->base.persist_header));
    for (size_t i = 0; i < w->nrefs; i++)
        strbuf_addf(b, " " STR_FMT "/" STR_FMT ":%u=%u%s%s", STR_ARG(w->refs[i].ns), STR_ARG(w->refs[i].service),
                    w->refs[i].port, w->refs[i].weight, w->refs[i].as.protocol == DOOR_TO_HTTP2 ? " h2" : "",
                    w->refs[i].refused ? " refused" : "");
    strbuf_addc(b, '\n');
}

static void rules_answer(struct str input, struct strbuf *out)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct door_part part = {0};
    const struct objset *sets[KIND_IDS] = {0};
    AUTO(objset_fini) struct objset services;
    AUTO(obj_unref) struct obj *route = NULL;
    struct err err = ERR;
    struct val docs = val_list();
    objset_init(&services, K(Service), NULL);
    sets[K(Service)->id] = &services;
    CHECK_OK(yaml_decode_all(&a, input, &docs, &err), err);
    val_each_item (it, &docs) {
        bool service = str_eqz(val_text_at(it, N(kind)), "Service");
        struct obj *o = obj_new(service ? K(Service) : K(ConfigMap), it, 1);
        if (service)
            obj_unref(objset_put(&services, o));
        else
            route = obj_ref(o);
        obj_unref(o);
    }
    struct view view = {.sets = sets};
    bool grpc = str_eqz(val_text_at(&route->tree, N(kind)), "GRPCRoute");
    struct gateway_rules g = {.view = &view,
                              .arena = &a,
                              .route = route,
                              .kind = grpc ? ROUTE_GRPC : ROUTE_HTTP,
                              .owner = S("R"),
                              .listener = S("L"),
                              .part = &part};
    gateway_rules_add(&g);
    array_each (r, &part.routes)
        route_text(out, r);
    array_each (w, &g.pools)
        pool_text(out, w);
    array_fini(&g.pools);
    array_fini(&part.routes);
}

TEST(gateway_rules_are_as_in_their_transcript)
{
    test_transcript("tests/edge/gateway.txt", rules_answer);
}
