/* Services and EndpointSlices to the kernel's rules (net/dataplane.h), and how a pod gets out of them without a lost
 * connection.
 *
 * Each change of a Service or of one of its slices marks the Service (`dirty`). Once a turn all marked ones are
 * worked out again into ports and endpoints, put into the model of the data plane, and applied in one transaction;
 * `asked` counts what was asked for, `applied` what the kernel has taken. Nothing is applied before all Services and
 * slices are known: what an earlier agent had put into the kernel would go, to come again. A Service that lacks what
 * another one holds is worked out again with every other (`waiting`), until it has it.
 *
 * Leaving (services_leave). The API marks a pod as going, and the controller of EndpointSlices says of its endpoint
 * that it is not ready. From then on new connections go to others - as soon as that is in the kernel, and no sooner.
 * So a pod has left when (has_left)
 *   - every Service that selects it has a slice in which it stands as not ready, and
 *   - no Service is marked, and all that was asked for has been applied, and
 *   - every front door says that it has taken in that slice, or a later one (doors.h).
 * It is looked at when a transaction was applied, as that is what both wait for. Slices that never say so (no
 * controller runs) are no reason to wait for ever: pod_step ends the wait after LEAVE_MOST.
 *
 * Draining (services_drain). What was begun before goes on: the kernel remembers where a connection was sent. Once a
 * second the data plane counts the connections through Services and from the front door to the pod's address that are
 * not closing, and the
 * bytes they have carried so far (net/conntrack.c). None, or as many as a second before and not a byte more: the pod
 * is quiet, and may be told to end. A keep-alive connection at rest does not hold it up; one that always carries
 * something does, until pod_step ends the wait at half of the grace. Where counting fails the pod is stopped without;
 * a pod on the host's network has no address of its own to count by.
 */
#include "base/clock.h"
#include "base/log.h"
#include "net/dataplane.h"
#include "net/model.h"
#include "node/agent_int.h"
#include "node/doors.h"
#include "node/health.h"

#define QUIET (NS_PER_S) /* no bytes for this long: a connection is at rest */

static void slice_service(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    struct str name = val_text(val_get_str(obj_labels(o), S("kubernetes.io/service-name")));
    struct arena a = ARENA;
    add(arg, arena_fmt(&a, STR_FMT "/" STR_FMT, STR_ARG(o->ns), STR_ARG(name)));
    arena_fini(&a);
}
static const struct objindex index_service = {"service", slice_service};
static const struct objindex *const slice_indexes[] = {&index_service, NULL};

struct services {
    struct agent *agent;
    struct dataplane *plane;
    struct net_own own;
    struct cache *slices;
    struct cache_handler handler;
    struct map dirty;   /* "NS/NAME" of Services to be worked out again */
    struct map waiting; /* the same, of those that lack what another holds: worked out with every other */
    struct timer timer;
    struct health *health;
    struct map ports;        /* "NS/NAME" -> struct known: the ports that were put */
    struct list leaving;     /* struct agent_pod by leave_node */
    uint64_t asked, applied; /* our own counter of dataplane_apply */
    struct doors *doors;
    bool synced, complained;
};
struct known {
    char *ports; /* their names, each ended by '\n' */
};
struct drain {
    struct agent_pod *ap; /* NULL: forgotten */
    struct timer timer;
    struct drain_sample last;
    bool any;
};

/* --- from objects to the model --- */

static struct str service_key(struct arena *a, struct str ns, struct str name)
{
    return arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
}

static bool condition_flag(const struct val *endpoint, const struct name *name, bool otherwise)
{
    const struct val *v = val_at(endpoint, N(conditions), name);
    return v ? val_true(v) : otherwise;
}

static bool service_put(struct services *d, const struct net_service *s, bool told)
{
    struct err err = ERR;
    if (dataplane_put(d->plane, s, &err))
        return true;
    if (!told)
        log_warn("service.rules", "service=" NAMED_FMT " error=\"%s\"", NAMED_ARG(s), err.text);
    return false;
}

static void put_all(struct services *d, const struct obj *o, struct str key, struct strbuf *ports)
{
    struct arena a = ARENA;
    ARRAY(const struct val *) slices = {0};
    struct net_services s = {0};
    struct objset_iter it = objset_with(cache_set(d->slices), &index_service, key);
    for (struct obj *slice; (slice = objset_next(&it));)
        array_push(&slices, &slice->tree);
    model_services(&a, &d->own, &o->tree, slices.p, slices.n, str_of(d->agent->cfg.name), &s);
    bool told = map_get(&d->waiting, key), all = true;
    size_t here;
    uint16_t health = model_health(&o->tree, slices.p, slices.n, str_of(d->agent->cfg.name), &here);
    health_put(d->health, o->ns, o->name, health, here);
    array_each (one, &s.list) {
        all &= service_put(d, one, told);
        strbuf_addf(ports, STR_FMT "\n", STR_ARG(one->port));
    }
    if (!all)
        (void)map_put(&d->waiting, key, d);
    else if (told)
        (void)map_del(&d->waiting, key);
    array_fini(&slices);
    array_fini(&s.list);
    arena_fini(&a);
}

static bool has_line(struct str text, struct str line)
{
    struct str one;
    while (text.n && str_cut(&text, '\n', &one))
        if (str_eq(one, line))
            return true;
    return false;
}

/* Brings the model to what one Service is now: its ports are put, those that it no longer has are taken away. */
static void work_out(struct services *d, struct str key)
{
    struct str ns, name, port;
    (void)str_split(key, '/', &ns, &name);
    const struct obj *o = cache_peek(d->agent->services, ns, name);
    AUTO(strbuf_fini) struct strbuf now = STRBUF(1 << 20);
    if (o)
        put_all(d, o, key, &now);
    else
        (void)map_del(&d->waiting, key);
    if (!o)
        health_put(d->health, ns, name, 0, 0);
    struct known *k = map_get(&d->ports, key);
    struct str rest = str_of(k ? k->ports : "");
    while (rest.n && str_cut(&rest, '\n', &port))
        if (!has_line(strbuf_str(&now), port))
            dataplane_del(d->plane, ns, name, port);
    if (!k && now.n) {
        k = NEW(struct known);
        (void)map_put(&d->ports, key, k);
    }
    if (!k)
        return;
    mem_free(k->ports);
    k->ports = strbuf_take(&now);
    if (!k->ports[0]) {
        (void)map_del(&d->ports, key);
        mem_free(k->ports);
        mem_free(k);
    }
}

static void on_timer(struct timer *t)
{
    struct services *d = container_of(t, struct services, timer);
    if (!d->synced)
        return;
    map_each (e, &d->dirty)
        work_out(d, e->key);
    AUTO(map_fini) struct map again = MAP;
    map_each (e, &d->waiting)
        (void)map_put(&again, e->key, d);
    map_each (e, &again)
        work_out(d, e->key);
    map_fini(&d->dirty);
    dataplane_apply(d->plane, ++d->asked);
}

static void service_mark(struct services *d, struct str key)
{
    (void)map_put(&d->dirty, key, d);
    if (d->synced)
        timer_set(&d->timer, 0); /* all of this turn's news in one transaction */
}

static void mark_key(void *arg, struct str key)
{
    service_mark(arg, key);
}

void services_changed(struct services *d, struct obj *was, struct obj *now)
{
    struct arena a = ARENA;
    const struct obj *o = now ? now : was;
    service_mark(d, service_key(&a, o->ns, o->name));
    arena_fini(&a);
}

static void on_slice(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct services *d = container_of(h, struct services, handler);
    if (was)
        slice_service(was, mark_key, d);
    if (now)
        slice_service(now, mark_key, d);
}

void services_heard(struct services *d)
{
    d->synced = cache_synced(d->slices) && cache_synced(d->agent->services);
    if (d->synced) {
        timer_set(&d->timer, 0);
        announce_news(d->agent->announce);
    }
    agent_heard(d->agent);
}

bool services_synced(const struct services *d)
{
    return d->synced;
}

static void on_synced(struct cache_handler *h)
{
    services_heard(container_of(h, struct services, handler));
}

/* --- leaving --- */

static bool service_selects(const struct obj *service, const struct obj *pod)
{
    const struct val *selector = val_get(obj_spec(service), N(selector));
    val_each_member (m, selector) {
        if (!str_eq(val_text(val_get_str(obj_labels(pod), m->name->s)), val_text(&m->v)))
            return false;
    }
    return val_len(selector) > 0;
}

/* What slices call it by: of a static pod, its mirror. */
static struct str shown_uid(const struct agent_pod *ap)
{
    const struct obj *shown = agent_shown(ap);
    return shown ? shown->uid : S("");
}

/* What the slices of a Service say of the pod: 0 nothing, 1 it gets connections, 2 it has been taken out. slice: the
 * newest that says it. */
static int pod_standing(struct services *d, const struct obj *service, struct str uid, int64_t *slice)
{
    struct arena a = ARENA;
    int found = 0;
    struct objset_iter it = objset_with(cache_set(d->slices), &index_service,
                                        service_key(&a, service->ns, service->name));
    for (struct obj *o; (o = objset_next(&it));) {
        val_each_item (e, val_get(&o->tree, N(endpoints))) {
            if (!str_eq(val_text_at(e, N(targetRef), N(uid)), uid))
                continue;
            found = condition_flag(e, N(ready), true) ? 1 : 2;
            *slice = MAX(*slice, o->rev);
        }
    }
    arena_fini(&a);
    return found;
}

static bool is_ready(const struct pod *p)
{
    array_each (c, &p->containers) {
        if (c->role == CONTAINER_MAIN && !(pod_container_up(c) && c->ready))
            return false;
    }
    return p->containers.n > 0;
}

bool services_serves(struct agent_pod *ap)
{
    struct services *d = ap->agent->endpoints;
    if (!d->synced)
        return false;
    int64_t slice = 0;
    struct objset_iter it = objset_all(cache_set(ap->agent->services));
    for (struct obj *o; (o = objset_next(&it));)
        if (str_eq(o->ns, ap->pod->ns) && service_selects(o, ap->pod->obj) &&
            (is_ready(ap->pod) || pod_standing(d, o, shown_uid(ap), &slice) == 1))
            return true;
    return false;
}

/* The newest slice in which it stands as taken out; 0: a Service that selects it does not say so yet. */
static int64_t left_slice(struct services *d, struct agent_pod *ap)
{
    int64_t slice = 1; /* no Service selects it: there is nothing to wait for */
    struct objset_iter it = objset_all(cache_set(ap->agent->services));
    for (struct obj *o; (o = objset_next(&it));)
        if (str_eq(o->ns, ap->pod->ns) && service_selects(o, ap->pod->obj) &&
            pod_standing(d, o, shown_uid(ap), &slice) != 2)
            return 0;
    return slice;
}

/* Out of every Service: each that selects it has seen that it ends, and that is in the kernel and in the front doors.
 */
static bool has_left(struct services *d, struct agent_pod *ap)
{
    int64_t slice = left_slice(d, ap);
    return slice && d->applied == d->asked && !map_len(&d->dirty) && doors_synced(d->doors) &&
           !doors_behind(d->doors, slice, NULL);
}

static void look_at_leaving(struct services *d)
{
    list_each (ap, &d->leaving, struct agent_pod, leave_node) {
        if (!has_left(d, ap))
            continue;
        list_del(&ap->leave_node);
        pod_saw_left(ap->facts);
        agent_pod_kick(ap);
    }
}

void services_leave(struct agent_pod *ap)
{
    struct services *d = ap->agent->endpoints;
    list_del(&ap->leave_node);
    list_add_tail(&d->leaving, &ap->leave_node);
    if (has_left(d, ap)) { /* known already: the news came before the pod's own */
        list_del(&ap->leave_node);
        pod_saw_left(ap->facts);
        agent_pod_kick(ap);
    }
}

static void doors_changed(void *arg)
{
    look_at_leaving(arg);
}

/* It is told to end all the same: a front door that hangs keeps no pod. */
static void tell_who_is_behind(struct services *d, struct agent_pod *ap)
{
    AUTO(strbuf_fini) struct strbuf who = STRBUF(STRBUF_TEXT);
    int64_t slice = left_slice(d, ap);
    bool waited = ap->leave_node.next != &ap->leave_node;
    if (waited && slice && doors_behind(d->doors, slice, &who))
        agent_eventf(ap, -1, true, "FrontDoorBehind",
                     "The front door of node " STR_FMT
                     " has not said that it sends nothing more; requests may be lost",
                     STR_ARG(strbuf_str(&who)));
}

static void on_applied(void *arg, uint64_t revision)
{
    struct services *d = arg;
    d->applied = revision;
    d->complained = false;
    health_rules(d->health, true);
    look_at_leaving(d);
}

static void on_failed(void *arg, const struct err *err)
{
    struct services *d = arg;
    if (!d->complained)
        log_error("service.rules", "the kernel does not take them; trying on: error=\"%s\"", err->text);
    d->complained = true;
    health_rules(d->health, false);
}

static void on_repaired(void *arg)
{
    (void)arg;
    log_warn("service.rules", "somebody changed the rules of Services; they have been put right");
}

/* --- draining --- */

static void drain_ask(struct drain *x);

static void drain_over(struct drain *x)
{
    struct agent_pod *ap = x->ap;
    timer_stop(&x->timer);
    mem_free(x);
    if (!ap)
        return;
    ap->drain = NULL;
    pod_saw_drained(ap->facts);
    agent_pod_kick(ap);
}

static void on_sample(void *arg, const struct drain_sample *now, const struct err *err)
{
    struct drain *x = arg;
    if (err)
        log_warn("pod.drain", "cannot count its connections, stopping without: error=\"%s\"", err->text);
    if (err || !x->ap || !now->connections || (x->any && drain_idle(x->last, *now))) {
        drain_over(x);
        return;
    }
    x->last = *now;
    x->any = true;
    timer_set(&x->timer, QUIET);
}

static void drain_ask(struct drain *x)
{
    struct agent_pod *ap = x->ap;
    dataplane_drain(ap->agent->endpoints->plane, ap->ip, on_sample, x);
}

static void on_drain_timer(struct timer *t)
{
    struct drain *x = container_of(t, struct drain, timer);
    if (x->ap)
        drain_ask(x);
    else
        drain_over(x);
}

void services_drain(struct agent_pod *ap)
{
    tell_who_is_behind(ap->agent->endpoints, ap);
    if (ap->pod->host_network || !ap->ip) { /* its connections are the host's own: they cannot be told apart */
        pod_saw_drained(ap->facts);
        agent_pod_kick(ap);
        return;
    }
    struct drain *x = NEW(struct drain);
    x->ap = ap;
    ap->drain = x;
    timer_init(&x->timer, ap->agent->cfg.loop, on_drain_timer);
    drain_ask(x);
}

/* --- host ports --- */

void services_host_ports(struct agent_pod *ap, bool up)
{
    struct services *d = ap->agent->endpoints;
    struct arena a = ARENA;
    struct net_services ports = {0};
    if (ap->host_ports == up || ap->pod->host_network)
        return;
    model_host_ports(&a, &d->own, &ap->pod->obj->tree, ap->ip, &ports);
    array_each (s, &ports.list) {
        if (up)
            (void)service_put(d, s, false); /* a pod whose port is somebody's already goes without; it is told */
        else
            dataplane_del(d->plane, s->ns, s->name, s->port);
    }
    ap->host_ports = up;
    if (!up && d->synced && map_len(&d->waiting))
        timer_set(&d->timer, 0); /* perhaps for what this pod held */
    /* before the Services are known nothing may be applied: what an earlier run put into the kernel would go */
    if (ports.list.n && d->synced)
        dataplane_apply(d->plane, ++d->asked);
    array_fini(&ports.list);
    arena_fini(&a);
}

void services_forget(struct agent_pod *ap)
{
    list_del(&ap->leave_node);
    if (ap->drain)
        ap->drain->ap = NULL; /* its sample or timer under way frees it */
    ap->drain = NULL;
    services_host_ports(ap, false);
}

/* --- beginning and end --- */

struct services *services_new(struct agent *g, struct err *err)
{
    static const struct dataplane_events events = {on_applied, on_failed, on_repaired};
    struct services *d = NEW(struct services);
    d->agent = g;
    d->own = (struct net_own){g->cfg.services, g->cfg.cluster_pods};
    list_init(&d->leaving);
    timer_init(&d->timer, g->cfg.loop, on_timer);
    d->health = health_new(g->cfg.loop);
    struct rules_config rc = {g->cfg.instance, g->cfg.cluster_pods, g->cfg.node_pods, g->cfg.services,
                              g->cfg.api_port};
    d->plane = dataplane_new(g->cfg.loop, &rc, &events, d, err);
    if (!d->plane) {
        health_free(d->health);
        mem_free(d);
        return NULL;
    }
    d->slices = cache_new(g->cfg.transport,
                          &(struct cache_options){.kind = K(EndpointSlice), .indexes = slice_indexes});
    d->doors = doors_new(g->cfg.transport, str_of(g->cfg.name), g->cfg.front_door, doors_changed, d);
    d->handler = (struct cache_handler){.changed = on_slice, .synced = on_synced};
    cache_handler_add(d->slices, &d->handler);
    return d;
}

void services_start(struct services *d)
{
    cache_start(d->slices);
    doors_start(d->doors);
}

void services_free(struct services *d)
{
    if (!d)
        return;
    cache_handler_del(&d->handler);
    cache_free(d->slices);
    doors_free(d->doors);
    timer_stop(&d->timer);
    dataplane_free(d->plane);
    health_free(d->health);
    map_each (e, &d->ports) {
        struct known *k = e->value;
        mem_free(k->ports);
        mem_free(k);
    }
    map_fini(&d->ports);
    map_fini(&d->dirty);
    map_fini(&d->waiting);
    mem_free(d);
}
