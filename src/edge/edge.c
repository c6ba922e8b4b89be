/* What changes is told to every source in the turn in which it is heard; deciding is once a turn, after all of that
 * turn's news, so that a burst of changes is one commit. Nothing is put before everything that is wanted is in: the
 * proxy of an earlier life goes on with what it had. */
#include "edge/edge.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/events.h"
#include "control/gateway.h"
#include "control/ingress.h"

#define TOLD_MOST 50 /* objects that are told of one failure */

extern const struct edge_source edge_ingress, edge_gateway, edge_backends, edge_acme, edge_leaving;
static const struct edge_source *const edge_sources[] = {&edge_ingress, &edge_gateway, &edge_backends,
                                                         &edge_acme,    &edge_leaving, NULL};

void edge_decide(struct edge *e)
{
    timer_set(&e->decide, 0);
}

static const struct kind *gateways_of(const struct edge *e)
{
    return view_defined(feed_view(e->feed), "gateways.gateway.networking.k8s.io");
}

/* To who asked for the front door: what they see of it is that nobody answers; and when that is over. */
static bool trouble_tell(struct edge *e, const struct kind *k, const struct obj *o, const struct err *why)
{
    const struct view *v = feed_view(e->feed);
    if (!(k == K(Ingress) && ingress_is_ours(v, o)) &&
        !(k != K(Ingress) && k == gateways_of(e) && gateway_is_ours(v, o)))
        return false;
    if (why->kind == E_NONE)
        events_record(e->events, o, S(""), "Normal", "FrontDoorServes", NULL, S("The front door serves again"));
    else
        events_record(e->events, o, S(""), "Warning", "FrontDoorFailed", NULL, str_of(why->text));
    return true;
}

static void trouble_tell_all(struct edge *e, const struct kind *k, const struct err *why)
{
    struct objset_iter it = view_all(feed_view(e->feed), k);
    size_t told = 0;
    for (struct obj *o; told < TOLD_MOST && (o = objset_next(&it));)
        told += trouble_tell(e, k, o, why);
}

static void on_changed(void *arg, const struct kind *k, const struct obj *was, const struct obj *now)
{
    struct edge *e = arg;
    for (size_t i = 0; edge_sources[i]; i++)
        edge_sources[i]->changed(e->states[i], k, was, now);
    pools_changed(e->pools, k, was, now);
    if (e->trouble.kind != E_NONE && now && !was)
        (void)trouble_tell(e, k, now, &e->trouble);
    edge_decide(e);
}

static void on_synced(void *arg)
{
    struct edge *e = arg;
    edge_decide(e);
    e->ready(e->arg);
}

static void on_decide(struct timer *t)
{
    struct edge *e = container_of(t, struct edge, decide);
    if (!feed_synced(e->feed))
        return;
    e->put |= e->revision == 0;
    e->revision++;
    for (size_t i = 0; edge_sources[i]; i++)
        e->put |= edge_sources[i]->decide(e->states[i]);
    if (!feed_synced(e->feed)) { /* somebody came to want more: that first */
        e->revision--;
        return;
    }
    e->put |= pools_put(e->pools);
    if (e->put)
        door_commit(e->door, e->revision);
    else
        e->revision--;
    e->put = false;
}

static void on_applied(void *arg, uint64_t revision)
{
    struct edge *e = arg;
    if (e->trouble.kind != E_NONE) {
        e->trouble = ERR;
        trouble_tell_all(e, K(Ingress), &e->trouble);
        if (gateways_of(e))
            trouble_tell_all(e, gateways_of(e), &e->trouble);
    }
    for (size_t i = 0; edge_sources[i]; i++)
        if (edge_sources[i]->applied)
            edge_sources[i]->applied(e->states[i], revision);
}

/* About the object that a source is named after: "HTTPRoute/NS/NAME". */
static void source_tell(struct edge *e, struct str kind, struct str key, const char *reason, struct str what,
                        const char *why)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct view *v = feed_view(e->feed);
    struct str ns, name;
    if (!str_split(key, '/', &ns, &name) || kind.n > 40)
        return;
    char *plural = arena_strz(&a, STR_JOIN(&a, kind, S("s.gateway.networking.k8s.io")));
    for (char *c = plural; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    const struct kind *k = str_eqz(kind, "Ingress") ? K(Ingress) : view_defined(v, plural);
    const struct obj *o = k ? view_get(v, k, ns, name) : NULL;
    if (o)
        events_record(e->events, o, S(""), "Warning", reason, NULL,
                      arena_fmt(&a, STR_FMT ": %s", STR_ARG(what), why));
}

static void on_unasked(void *arg, struct str owner, const char *why)
{
    struct str kind, key;
    if (str_split(owner, '/', &kind, &key))
        source_tell(arg, kind, key, "AuthUnreachable", S("Nobody is let in, as auth-url cannot be asked"), why);
}

static void on_refused(void *arg, struct str source, struct str what, const struct err *why)
{
    struct edge *e = arg;
    struct str kind = source, rest = STR_NONE;
    (void)str_split(source, '/', &kind, &rest); /* what has no slash is a kind as it stands */
    log_warn("edge.refused", "source=" STR_FMT " what=" STR_FMT " error=\"%s\"", STR_ARG(source), STR_ARG(what),
             why->text);
    if (str_eqz(source, "Ingress")) /* what all of them share: a port */
        trouble_tell_all(e, K(Ingress), why);
    else
        source_tell(e, kind, rest, "RouteRefused", what, why->text);
    for (size_t i = 0; edge_sources[i]; i++)
        if (edge_sources[i]->refused && str_eqz(kind, edge_sources[i]->name))
            edge_sources[i]->refused(e->states[i], source, what, why);
}

static void on_failed(void *arg, const struct err *err)
{
    struct edge *e = arg;
    log_error("edge.proxy", "error=\"%s\"", err->text);
    e->trouble = *err;
    trouble_tell_all(e, K(Ingress), err);
    if (gateways_of(e))
        trouble_tell_all(e, gateways_of(e), err);
}

/* "auth.shop.svc" and "auth.shop.svc.cluster.local": the machine's own resolver knows nothing of them. */
static bool on_resolve(void *arg, struct str host, struct strbuf *out)
{
    struct edge *e = arg;
    struct str name, ns, svc, domain;
    bool ours = str_split(host, '.', &name, &ns) && str_split(ns, '.', &ns, &svc) &&
                (!str_split(svc, '.', &svc, &domain) || str_eq(domain, e->config->domain)) && str_eqz(svc, "svc");
    const struct obj *o = ours ? view_get(feed_view(e->feed), K(Service), ns, name) : NULL;
    struct str ip = o ? val_text_at(obj_spec(o), N(clusterIP)) : STR_NONE;
    if (!ip.n || str_eqz(ip, "None"))
        return false;
    strbuf_add(out, ip);
    return !out->over;
}

struct edge *edge_new(struct loop *l, const struct edge_config *c, void (*ready)(void *arg), void *arg,
                      struct err *err)
{
    static const struct feed_events heard = {on_changed, on_synced};
    static const struct door_events told = {on_applied, on_refused, on_failed, on_resolve, on_unasked};
    struct edge *e = NEW(struct edge);
    *e = (struct edge){.config = c, .loop = l, .ready = ready, .arg = arg};
    e->door = door_new(l, &c->door, &told, e, err);
    if (!e->door) {
        mem_free(e);
        return NULL;
    }
    e->events = events_new(c->transport, "wherry-edge", "");
    timer_init(&e->decide, l, on_decide);
    e->feed = feed_new(c->transport, &heard, e);
    e->pools = pools_new(e->feed, e->door);
    e->states = mem_alloc((countof(edge_sources) + 1) * sizeof *e->states);
    for (size_t i = 0; edge_sources[i]; i++)
        e->states[i] = edge_sources[i]->start(e);
    return e;
}

void edge_free(struct edge *e)
{
    if (!e)
        return;
    timer_stop(&e->decide);
    for (size_t i = 0; edge_sources[i]; i++)
        edge_sources[i]->stop(e->states[i]);
    pools_free(e->pools);
    feed_free(e->feed);
    events_free(e->events);
    door_free(e->door);
    mem_free(e->states);
    mem_free(e);
}
