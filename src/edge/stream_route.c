/* TLSRoutes and TCPRoutes, whose backends get bytes; and how any route's backend is spoken to where a
 * BackendTLSPolicy is about it. */
#include "edge/stream_route.h"
#include "control/backend_tls.h"
#include "control/pods.h"

struct str backend_ca_key(struct arena *a, const struct obj *policy)
{
    return arena_fmt(a, "BackendTLSPolicy/" STR_FMT "/" STR_FMT, STR_ARG(policy->ns), STR_ARG(policy->name));
}

void backend_as(const struct gateway_rules *g, struct pool_ref *r)
{
    const struct view *v = g->view;
    struct arena *a = g->arena;
    struct str port = service_port_name(v, r->ns, r->service, r->port);
    const struct obj *policy = backend_policy_of(v, r->ns, r->service, port);
    struct backend_policy p;
    r->as.tls_own = g->shown;
    if (!policy)
        return;
    backend_policy_read(v, a, policy, &p);
    r->refused |= is_fault(&p.invalid); /* in the clear, or unverified, is not what was asked for */
    r->as.tls = true;
    r->as.tls_name = p.name;
    r->as.tls_ca = backend_ca_key(a, policy);
}

/* A stream ends where TLS does: what is passed through is the client's own, and nobody's to wrap again. */
static bool is_passed_through(const struct gateway_rules *g)
{
    return g->kind == ROUTE_TLS && !g->terminates;
}

static struct str pool_add(struct gateway_rules *g, const struct val *rule, size_t index)
{
    const struct val *list = field_of(rule, "backendRefs");
    struct pool_ref *refs = arena_alloc(g->arena, (val_len(list) + 1) * sizeof *refs);
    struct pool_want w = {.refs = refs, .lose = true};
    val_each_item (it, list) {
        struct route_ref r;
        route_ref_read(g->view, g->arena, g->route, g->kind, it, &r);
        struct pool_ref *ref = &refs[w.nrefs++];
        *ref = (struct pool_ref){.ns = r.ns,
                                 .service = r.service,
                                 .port = (uint16_t)r.port,
                                 .weight = (uint32_t)r.weight,
                                 .as.protocol = DOOR_TO_TCP,
                                 .as_is = true,
                                 .refused = is_fault(&r.fault)};
        if (!is_passed_through(g))
            backend_as(g, ref);
    }
    w.base.key = arena_fmt(g->arena, STR_FMT "/%zu%s%s" STR_FMT, STR_ARG(g->owner), index,
                           is_passed_through(g) ? "/through" : "", g->shown.n ? "@" : "", STR_ARG(g->shown));
    array_push(&g->pools, w);
    return w.base.key;
}

void stream_rules_add(struct gateway_rules *g)
{
    size_t i = 0;
    val_each_item (rule, field_of(obj_spec(g->route), "rules")) { /* nothing tells them apart: the first counts */
        if (i++ > 0)
            return;
        array_push(&g->part->streams, ((struct door_stream){
                                          .listener = g->listener,
                                          .host = g->host,
                                          .host_deep = true,
                                          .pool = pool_add(g, rule, 0),
                                          .created = obj_created(g->route) / NS_PER_S,
                                          .owner = g->owner,
                                      }));
    }
}
