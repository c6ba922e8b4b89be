/* Addresses of Services of type LoadBalancer.
 *
 * One plan gives out all of them, so that no two Services can get the same: whatever it decides is seen before it
 * runs again. Who has an address keeps it: first those whose status says so, the oldest first, then those whose
 * annotation says so (a status may be lost), then those that ask for one, then all others. An address that no pool
 * has any more stays its Service's until that asks for another, as MetalLB has it. What is to be given is written
 * into the annotation (with the finalizer) before it is in the status.
 *
 * Without any pool the nodes' own addresses serve (as k3s' ServiceLB): then ports are what there is one of.
 *
 * Upstream: pkg/controller of cloud-provider (service), MetalLB's controller and internal/allocator. */
#include "control/loadbalancer_int.h"
#include "control/pods.h"

/* --- what a Service asks for --- */

struct str balancer_note(const struct obj *svc, const char *ours, const char *metallb)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(256);
    struct str text = obj_note(svc, ours);
    static const char *const groups[] = {"metallb.io/", "metallb.universe.tf/"};
    for (size_t i = 0; i < countof(groups) && !text.n; i++) {
        strbuf_reset(&key);
        strbuf_addf(&key, "%s%s", groups[i], metallb);
        text = obj_note(svc, key.p);
    }
    return str_trim(text);
}

bool balancer_is_metallbs(const struct view *v)
{
    struct objset_iter it = view_with(v, K(Deployment), &index_metallb, S(""));
    return objset_next(&it) != NULL;
}

bool balancer_is_ours(const struct view *v, const struct obj *svc)
{
    const struct val *class = val_get(obj_spec(svc), N(loadBalancerClass));
    if (!str_eqz(val_text_at(obj_spec(svc), N(type)), "LoadBalancer"))
        return false;
    return val_text(class).n ? str_eqz(val_text(class), BALANCER_CLASS) : !balancer_is_metallbs(v);
}

bool service_is_local(const struct obj *svc)
{
    return str_eqz(val_text_at(obj_spec(svc), N(externalTrafficPolicy)), "Local");
}

bool service_is_edge(const struct obj *svc)
{
    return str_eqz(val_text(val_get_str(obj_labels(svc), S("service.kubernetes.io/service-proxy-name"))),
                   BALANCER_EDGE);
}

int64_t service_cmp_age(const struct obj *a, const struct obj *b)
{
    int64_t x = obj_created(a), y = obj_created(b);
    int ns = str_cmp(a->ns, b->ns);
    return x != y ? (x < y ? -1 : 1) : ns ? ns : str_cmp(a->name, b->name);
}

bool ports_meet(const struct obj *a, const struct obj *b)
{
    val_each_item (x, val_get(obj_spec(a), N(ports)))
        val_each_item (y, val_get(obj_spec(b), N(ports)))
            if (val_num_at(x, 0, N(port)) == val_num_at(y, 0, N(port)) &&
                str_eq(val_text_at(x, N(protocol)), val_text_at(y, N(protocol))))
                return true;
    return false;
}

static void balancer_fails(struct balancer *b, const char *reason, struct str message)
{
    b->failed = true;
    b->reason = reason;
    b->message = message;
}

/* spec.loadBalancerIP and the annotations; there is one address, as there is one family. */
static void asked_read(struct balancers *x, struct balancer *b)
{
    struct str field = val_text_at(obj_spec(b->svc), N(loadBalancerIP));
    struct str note = balancer_note(b->svc, "wherry.dev/addresses", "loadBalancerIPs"), one, rest;
    b->asked_pool = balancer_note(b->svc, "wherry.dev/address-pool", "address-pool");
    b->sharing = balancer_note(b->svc, "wherry.dev/allow-shared-ip", "allow-shared-ip");
    if (field.n && note.n && !str_eq(field, note)) {
        balancer_fails(b, "BadAddress",
                       arena_fmt(x->a,
                                 "spec.loadBalancerIP asks for " STR_FMT " and the annotation for " STR_FMT
                                 ": leave one of them out",
                                 STR_ARG(field), STR_ARG(note)));
        return;
    }
    rest = note.n ? note : field;
    while (rest.n && str_cut(&rest, ',', &one)) {
        uint32_t ip;
        one = str_trim(one);
        if (!address_parse(one, &ip))
            balancer_fails(b, "BadAddress",
                           arena_fmt(x->a, "\"" STR_FMT "\" is no IPv4 address, and Services have no others here",
                                     STR_ARG(one)));
        else if (b->asked && b->asked != ip)
            balancer_fails(b, "BadAddress", S("it asks for two addresses of one family: leave one of them out"));
        else
            b->asked = ip;
    }
}

/* --- who has which address --- */

struct holders *holders_of(struct balancers *x, uint32_t ip)
{
    struct str key = {(const char *)&ip, sizeof ip};
    struct holders *h = map_get(&x->used, key);
    if (!h) {
        h = NEW(struct holders);
        (void)map_put(&x->used, key, h);
    }
    return h;
}

/* Two Services on one address: both name the same key, and nothing that is sent to it could be meant for either. With
 * the policy Local they must have the same pods, as one node answers for both. */
static bool may_share(const struct balancer *a, const struct balancer *b)
{
    bool local = service_is_local(a->svc);
    return a->sharing.n && str_eq(a->sharing, b->sharing) && !ports_meet(a->svc, b->svc) &&
           service_is_edge(a->svc) == service_is_edge(b->svc) && local == service_is_local(b->svc) &&
           (!local || val_equal(val_get(obj_spec(a->svc), N(selector)), val_get(obj_spec(b->svc), N(selector))));
}

static bool holders_have(const struct holders *h, const struct obj *svc)
{
    array_each (it, &h->list)
        if ((*it)->svc == svc)
            return true;
    return false;
}

/* Who stands in the way of it; NULL: nobody. What somebody gives up is free once it is in no status any more, unless
 * (`has`) this one's own status has it as well. */
static const struct obj *address_holder(struct balancers *x, const struct balancer *b, uint32_t ip, bool has)
{
    struct str key = {(const char *)&ip, sizeof ip};
    struct holders *h = map_get(&x->used, key);
    if (!h)
        return NULL;
    array_each (it, &h->list)
        if (*it != b && !may_share(b, *it))
            return (*it)->svc;
    array_each (it, &h->shown)
        if (!has && *it != b->svc && !holders_have(h, *it))
            return *it;
    return NULL;
}

static void address_take(struct balancers *x, struct balancer *b, uint32_t ip)
{
    struct holders *h = holders_of(x, ip);
    b->ip = ip;
    b->pool = balancer_pool_of(&x->pools, ip);
    if (b->pool && !h->list.n)
        b->pool->assigned++;
    array_push(&h->list, b);
}

static uint32_t status_address(const struct obj *svc)
{
    uint32_t ip;
    val_each_item (it, val_at(obj_status(svc), N(loadBalancer), N(ingress)))
        if (address_parse(val_text_at(it, N(ip)), &ip))
            return ip;
    return 0;
}

/* Also while none of them serves it (NoNode): its ports stay its own. */
static bool had_nodes(const struct obj *svc)
{
    struct str reason = val_text_at(condition_get(obj_status(svc), CONDITION_ASSIGNED), N(reason));
    return str_eqz(reason, "FromNodes") || str_eqz(reason, "NoNode");
}

static void shown_note(struct balancers *x, const struct obj *svc)
{
    uint32_t ip = status_address(svc);
    if (had_nodes(svc))
        array_push(&x->shown, svc);
    else if (ip)
        array_push(&holders_of(x, ip)->shown, svc);
}

/* Whether the address that it has is still what it asks for. */
static bool still_suits(struct balancers *x, const struct balancer *b, uint32_t ip)
{
    if (b->asked && b->asked != ip)
        return false;
    if (!b->asked_pool.n)
        return true;
    const struct balancer_pool *p = balancer_pool_named(&x->pools, b->asked_pool);
    return p && balancer_pool_has(p, ip);
}

/* It asks for them, or no pool is meant for it. */
static bool wants_nodes(const struct balancers *x, const struct balancer *b)
{
    if (str_eqz(b->asked_pool, POOL_NODES) || b->asked_pool.n)
        return str_eqz(b->asked_pool, POOL_NODES);
    if (b->asked)
        return ranges_have(&x->nodes, b->asked);
    array_each (p, &x->pools.list)
        if (p->automatic && balancer_pool_takes(x->v, p, b->svc))
            return false;
    return true;
}

static void keep_from(struct balancers *x, bool by_note)
{
    array_each (b, &x->list) {
        uint32_t ip = 0;
        if (by_note)
            (void)address_parse(obj_note(b->svc, BALANCER_ADDRESS), &ip);
        else if (!had_nodes(b->svc))
            ip = status_address(b->svc);
        /* a note alone proves nothing: a pool must have it */
        bool known = !ranges_have(&x->taboo, ip) && (!by_note || balancer_pool_of(&x->pools, ip));
        bool suits = b->failed ? !by_note /* what it asks for cannot be read: nothing changes */
                               : still_suits(x, b, ip);
        if (!b->ip && ip && known && !str_eqz(b->asked_pool, POOL_NODES) && suits &&
            !address_holder(x, b, ip, !by_note))
            address_take(x, b, ip);
    }
}

/* --- giving --- */

static void asked_take(struct balancers *x, struct balancer *b)
{
    struct balancer_pool *p = balancer_pool_of(&x->pools, b->asked);
    struct str ip = address_text(x->a, b->asked);
    const struct obj *other = address_holder(x, b, b->asked, false);
    if (!p || ranges_have(&x->taboo, b->asked))
        balancer_fails(b, "AddressNotInPool",
                       arena_fmt(x->a,
                                 p ? STR_FMT " is the cluster's or a node's own"
                                   : "no pool has " STR_FMT ": ask for another, or put it into an AddressPool",
                                 STR_ARG(ip)));
    else if (b->asked_pool.n && !str_eq(p->obj->name, b->asked_pool))
        balancer_fails(b, "AddressNotInPool",
                       arena_fmt(x->a, STR_FMT " is not in pool \"" STR_FMT "\", which it asks for as well",
                                 STR_ARG(ip), STR_ARG(b->asked_pool)));
    else if (!balancer_pool_takes(x->v, p, b->svc))
        balancer_fails(b, "PoolNotForIt",
                       arena_fmt(x->a, "pool \"" STR_FMT "\" of " STR_FMT " is for others (spec.serviceAllocation)",
                                 STR_ARG(p->obj->name), STR_ARG(ip)));
    else if (other)
        balancer_fails(b, "AddressTaken",
                       arena_fmt(x->a,
                                 STR_FMT " is Service " STR_FMT "/" STR_FMT
                                         "'s; two share one if both have the same wherry.dev/allow-shared-ip, other "
                                         "ports, and the same externalTrafficPolicy (Local: and selector)",
                                 STR_ARG(ip), STR_ARG(other->ns), STR_ARG(other->name)));
    else
        address_take(x, b, b->asked);
}

/* The first address of the pool that is free; one that it may share with somebody comes before. */
static bool pool_take(struct balancers *x, struct balancer *b, struct balancer_pool *p)
{
    if (b->sharing.n)
        array_each (o, &x->list)
            if (o != b && o->ip && o->pool == p && str_eq(o->sharing, b->sharing) &&
                !address_holder(x, b, o->ip, false)) {
                address_take(x, b, o->ip);
                return true;
            }
    array_each (r, &p->ranges)
        for (uint64_t ip = r->from; ip <= r->to; ip++) {
            struct str key = {(const char *)&(uint32_t){(uint32_t)ip}, sizeof(uint32_t)};
            const struct address_range *own = NULL;
            array_each (t, &x->taboo)
                if (ip >= t->from && ip <= t->to)
                    own = t;
            if (own) {
                ip = own->to;
                continue;
            }
            if (map_get(&x->used, key) || !balancer_pool_has(p, (uint32_t)ip))
                continue;
            address_take(x, b, (uint32_t)ip);
            return true;
        }
    return false;
}

static void named_take(struct balancers *x, struct balancer *b)
{
    struct balancer_pool *p = balancer_pool_named(&x->pools, b->asked_pool);
    if (!p)
        balancer_fails(b, "UnknownPool", arena_fmt(x->a, "there is no pool \"" STR_FMT "\"", STR_ARG(b->asked_pool)));
    else if (!balancer_pool_takes(x->v, p, b->svc))
        balancer_fails(
            b, "PoolNotForIt",
            arena_fmt(x->a, "pool \"" STR_FMT "\" is for others (spec.serviceAllocation)", STR_ARG(b->asked_pool)));
    else if (!pool_take(x, b, p))
        balancer_fails(b, "PoolFull",
                       arena_fmt(x->a, "pool \"" STR_FMT "\" has no free address (%u in use): give it more",
                                 STR_ARG(b->asked_pool), p->assigned));
}

static void any_take(struct balancers *x, struct balancer *b)
{
    AUTO(strbuf_fini) struct strbuf why = STRBUF(1024);
    bool full = false;
    array_each (p, &x->pools.list) {
        bool takes = balancer_pool_takes(x->v, p, b->svc);
        if (p->automatic && takes && pool_take(x, b, p))
            return;
        full |= p->automatic && takes;
        strbuf_addf(&why, "%s\"" STR_FMT "\" %s", why.n ? ", " : "", STR_ARG(p->obj->name),
                    !takes          ? "is for others"
                    : !p->automatic ? "gives none by itself (autoAssign: false)"
                                    : "is full");
    }
    balancer_fails(b, full ? "PoolFull" : "NoPool",
                   why.over
                       ? S("no pool has a free address for it")
                       : arena_fmt(x->a, "no pool has a free address for it: " STR_FMT, STR_ARG(strbuf_str(&why))));
}

static void nodes_take(struct balancers *x, struct balancer *b)
{
    bool has_them = had_nodes(b->svc);
    struct str who = port_service(x->a, b->svc, x->on_nodes.p, x->on_nodes.n);
    if (!who.n && !has_them) /* who gives his up has them until his status says no more */
        who = port_service(x->a, b->svc, x->shown.p, x->shown.n);
    if (!who.n && !nodes_have_looked(x->v, b->svc)) {
        b->waits = b->nodes = true;
        array_push(&x->on_nodes, b->svc);
        return;
    }
    who = who.n ? who : port_holder(x->v, x->a, b->svc);
    if (who.n) {
        balancer_fails(b, "PortTaken",
                       arena_fmt(x->a,
                                 "there is no pool of addresses, and on the nodes' own its port is held by " STR_FMT
                                 ": take another port, or make an AddressPool",
                                 STR_ARG(who)));
        return;
    }
    b->nodes = true;
    b->ingress = node_addresses(x->v, x->a, b->svc);
    array_push(&x->on_nodes, b->svc);
    if (!b->ingress.n && has_them && nodes_are_away(x->v, S("")))
        b->ingress = val_copy(x->a, val_at(obj_status(b->svc), N(loadBalancer), N(ingress)));
    if (!b->ingress.n)
        balancer_fails(b, "NoNode",
                       service_is_local(b->svc) && !service_is_edge(b->svc)
                           ? S("externalTrafficPolicy is Local, and no node that is ready has an endpoint that is")
                           : S("no node is ready"));
}

/* Those that have the nodes' addresses come before those that want them. */
static void nodes_give(struct balancers *x, bool have)
{
    array_each (b, &x->list)
        if (!b->failed && !b->ip && wants_nodes(x, b) && had_nodes(b->svc) == have)
            nodes_take(x, b);
}

static void addresses_give(struct balancers *x, bool asking)
{
    array_each (b, &x->list) {
        if (b->failed || b->ip || b->nodes || wants_nodes(x, b) || (b->asked != 0) != asking)
            continue;
        if (b->asked)
            asked_take(x, b);
        else if (b->asked_pool.n)
            named_take(x, b);
        else
            any_take(x, b);
    }
}

static void say_assigned(struct balancers *x, struct balancer *b)
{
    struct str ip = address_text(x->a, b->ip);
    if (b->failed && !b->ip)
        return;
    if (b->nodes) {
        b->reason = "FromNodes";
        b->message = S("the nodes' own addresses serve, as there is no pool for it");
        return;
    }
    b->ingress = val_list();
    struct val one = val_map();
    val_set_text(x->a, &one, N(ip), ip);
    val_set_text(x->a, &one, N(ipMode), S("VIP"));
    val_add(x->a, &b->ingress, one);
    bool takes = b->pool && balancer_pool_takes(x->v, b->pool, b->svc);
    if (b->failed) {
        b->message = arena_fmt(x->a, STR_FMT "; until then it keeps " STR_FMT, STR_ARG(b->message), STR_ARG(ip));
        return;
    }
    b->reason = takes ? "FromPool" : "PoolGone";
    b->message = takes ? arena_fmt(x->a, STR_FMT " is of pool \"" STR_FMT "\"", STR_ARG(ip),
                                   STR_ARG(b->pool->obj->name))
                       : arena_fmt(x->a,
                                   "no pool gives " STR_FMT
                                   " to it any more; it is kept until the Service asks for another, by "
                                   "wherry.dev/address-pool or wherry.dev/addresses",
                                   STR_ARG(ip));
}

/* --- the plan --- */

static int balancer_cmp(const void *x, const void *y)
{
    return (int)service_cmp_age(((const struct balancer *)x)->svc, ((const struct balancer *)y)->svc);
}

static void taboo_add(struct address_ranges *list, struct str text)
{
    struct address_range r;
    const char *why;
    if (address_range_parse(text, &r, &why))
        array_push(list, r);
}

static void taboo_read(struct balancers *x)
{
    struct obj *o;
    for (struct objset_iter it = view_all(x->v, K(ServiceCIDR)); (o = objset_next(&it));)
        val_each_item (c, val_get(obj_spec(o), N(cidrs)))
            taboo_add(&x->taboo, val_text(c));
    for (struct objset_iter it = view_all(x->v, K(Node)); (o = objset_next(&it));) {
        taboo_add(&x->taboo, val_text_at(obj_spec(o), N(podCIDR)));
        val_each_item (i, val_get(obj_status(o), N(addresses))) {
            taboo_add(&x->taboo, val_text_at(i, N(address)));
            taboo_add(&x->nodes, val_text_at(i, N(address)));
        }
    }
}

/* Somebody else wrote the address that it has, one that nobody here could have given: it is left to them. */
static bool is_others(const struct balancers *x, const struct obj *svc)
{
    const struct val *ingress = val_at(obj_status(svc), N(loadBalancer), N(ingress));
    uint32_t ip = status_address(svc);
    return val_len(ingress) && !condition_get(obj_status(svc), CONDITION_ASSIGNED) &&
           !obj_has_note(svc, BALANCER_ADDRESS) && !ranges_have(&x->nodes, ip) && !balancer_pool_of(&x->pools, ip);
}

static void balancers_fini(struct balancers *x)
{
    map_each (it, &x->used) {
        array_fini(&((struct holders *)it->value)->list);
        array_fini(&((struct holders *)it->value)->shown);
        mem_free(it->value);
    }
    map_fini(&x->used);
    array_fini(&x->list);
    array_fini(&x->on_nodes);
    array_fini(&x->shown);
    array_fini(&x->taboo);
    array_fini(&x->nodes);
    balancer_pools_fini(&x->pools);
}

static void loadbalancer_plan(const struct view *v, struct key key, struct plan *out)
{
    struct balancers x = {.v = v, .out = out, .a = &out->arena, .used = MAP};
    struct obj *svc;
    (void)key;
    balancer_pools_read(v, x.a, &x.pools);
    if (x.pools.unknown) { /* who has which address is not known yet */
        plan_again(out, v->now + NS_PER_S);
        balancers_fini(&x);
        return;
    }
    taboo_read(&x);
    for (struct objset_iter it = view_with(v, K(Service), &index_balancers, S("")); (svc = objset_next(&it));) {
        shown_note(&x, svc);
        if (!obj_deleting(svc) && balancer_is_ours(v, svc) && !is_others(&x, svc))
            array_push(&x.list, ((struct balancer){.svc = svc, .ingress = val_list(), .message = S("")}));
        else if (val_has_text(val_get(obj_meta(svc), N(finalizers)), S(BALANCER_FINALIZER)))
            balancer_release(&x, svc);
    }
    if (x.list.n)
        qsort(x.list.p, x.list.n, sizeof *x.list.p, balancer_cmp);
    array_each (b, &x.list)
        asked_read(&x, b);
    keep_from(&x, false);
    keep_from(&x, true);
    addresses_give(&x, true);
    addresses_give(&x, false);
    nodes_give(&x, true);
    nodes_give(&x, false);
    array_each (b, &x.list) {
        say_assigned(&x, b);
        if (!b->waits && (b->ip || x.nodes.n || x.pools.list.n)) /* else there is nothing yet that could serve it */
            balancer_write(&x, b);
        if (b->failed)
            plan_why(out, STR_FMT "/" STR_FMT ": " STR_FMT, STR_ARG(b->svc->ns), STR_ARG(b->svc->name),
                     STR_ARG(b->message));
    }
    array_each (p, &x.pools.list)
        if (p->ours)
            pool_status_write(&x, p);
    balancers_fini(&x);
}

/* --- what concerns it --- */

static void keys_all(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, void *arg)
{
    (void)v, (void)was, (void)now;
    add(arg, S(""), S("addresses"));
}

static bool is_balancer(const struct obj *o)
{
    return o && (str_eqz(val_text_at(obj_spec(o), N(type)), "LoadBalancer") ||
                 val_has_text(val_get(obj_meta(o), N(finalizers)), S(BALANCER_FINALIZER)));
}

static void keys_of_service(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                            void *arg)
{
    if (is_balancer(was) || is_balancer(now))
        keys_all(v, was, now, add, arg);
}

static bool node_shows(const struct obj *was, const struct obj *now)
{
    return !was || !now || node_may_serve(was) != node_may_serve(now) ||
           !val_equal(val_get(obj_status(was), N(addresses)), val_get(obj_status(now), N(addresses))) ||
           !val_equal(obj_labels(was), obj_labels(now)) ||
           !val_equal(val_get(obj_meta(was), N(annotations)), val_get(obj_meta(now), N(annotations)));
}

static void keys_of_node(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                         void *arg)
{
    if (node_shows(was, now))
        keys_all(v, was, now, add, arg);
}

/* Only a Service with the policy Local looks at its endpoints. */
static void keys_of_slice(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                          void *arg)
{
    struct str name = val_text(val_get_str(obj_labels(now ? now : was), S("kubernetes.io/service-name")));
    const struct obj *svc = view_get(v, K(Service), (now ? now : was)->ns, name);
    if (svc && is_balancer(svc) && service_is_local(svc))
        keys_all(v, was, now, add, arg);
}

static bool has_host_port(const struct obj *pod)
{
    const struct name *const lists[] = {N(containers), N(initContainers)};
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(obj_spec(pod), lists[i]))
            val_each_item (p, val_get(c, N(ports)))
                if (val_num_at(p, 0, N(hostPort)) > 0)
                    return true;
    return false;
}

static void keys_of_pod(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    bool same = was && now && str_eq(pod_node(was), pod_node(now)) && pod_is_over(was) == pod_is_over(now);
    if (!same && has_host_port(now ? now : was))
        keys_all(v, was, now, add, arg);
}

static void keys_of_labels(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                           void *arg)
{
    if (!was || !now || !val_equal(obj_labels(was), obj_labels(now)))
        keys_all(v, was, now, add, arg);
}

static void nothing_add(void *arg, struct str key)
{
    (void)key;
    *(bool *)arg = true;
}

static void keys_of_metallb(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                            void *arg)
{
    bool is = false;
    index_metallb.keys(now ? now : was, nothing_add, &is);
    if (is && (!was || !now))
        keys_all(v, was, now, add, arg);
}

static const struct controller_watch watches[] = {{K(Service), keys_of_service},
                                                  {K(Node), keys_of_node},
                                                  {K(EndpointSlice), keys_of_slice},
                                                  {K(Pod), keys_of_pod},
                                                  {K(Namespace), keys_of_labels},
                                                  {K(Deployment), keys_of_metallb},
                                                  {K(ServiceCIDR), keys_all},
                                                  {K(CustomResourceDefinition), keys_none},
                                                  {0}};
static const struct defined_watch defined[] = {{"addresspools.wherry.dev", keys_all},
                                               {"ipaddresspools.metallb.io", keys_all},
                                               {"l2advertisements.metallb.io", keys_all},
                                               {0}};
const struct controller loadbalancer_controller = {
    .name = "loadbalancer",
    .component = "service-controller",
    .account = "service-controller",
    .watches = watches,
    .defined = defined,
    .plan = loadbalancer_plan,
};
