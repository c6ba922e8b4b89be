/* What nodes do for a Service of type LoadBalancer: serve it by their own addresses where there is no pool (as k3s'
 * ServiceLB), or answer for an address of a pool, one node for each address (as MetalLB's layer 2 mode). */
#include "api/selector.h"
#include "control/loadbalancer_int.h"
#include "control/pods.h"

#define NOTE_SUBNETS   "wherry.dev/subnets"   /* of a Node: "eth0=192.0.2.0/24,..." (node/node_net.c) */
#define NOTE_LISTENING "wherry.dev/listening" /* "TCP/22,UDP/68": what listens on its addresses */
#define NOTE_LOOKED    "wherry.dev/looked"    /* up to which revision of Services it has looked at that */
#define LABEL_EXCLUDED S("node.kubernetes.io/exclude-from-external-load-balancers")
#define NODES_SHOWN    100 /* addresses in a status */

extern const struct objindex index_slices;

static void balancer_keys(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    bool kept = val_has_text(val_get(obj_meta(o), N(finalizers)), S(BALANCER_FINALIZER));
    if (kept || str_eqz(val_text_at(obj_spec(o), N(type)), "LoadBalancer"))
        add(arg, S(""));
}
const struct objindex index_balancers = {"balancers", balancer_keys};

static void host_port_keys_of(const struct val *container, void (*add)(void *arg, struct str key), void *arg)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(64);
    val_each_item (p, val_get(container, N(ports))) {
        struct str proto = val_text_at(p, N(protocol));
        if (val_num_at(p, 0, N(hostPort)) <= 0)
            continue;
        strbuf_reset(&key);
        strbuf_addf(&key, STR_FMT "/%lld", STR_ARG(proto.n ? proto : S("TCP")),
                    (long long)val_num_at(p, 0, N(hostPort)));
        add(arg, strbuf_str(&key));
    }
}

static void host_port_keys(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    val_each_item (c, val_get(obj_spec(o), N(containers)))
        host_port_keys_of(c, add, arg);
    val_each_item (c, val_get(obj_spec(o), N(initContainers)))
        host_port_keys_of(c, add, arg);
}
const struct objindex index_host_ports = {"host-ports", host_port_keys};

static void metallb_keys(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    struct str app = val_text(val_get_str(obj_labels(o), S("app.kubernetes.io/name")));
    struct str old = val_text(val_get_str(obj_labels(o), S("app")));
    struct str part = val_text(val_get_str(obj_labels(o), S("app.kubernetes.io/component")));
    struct str component = val_text(val_get_str(obj_labels(o), S("component")));
    if ((str_eqz(app, "metallb") || str_eqz(old, "metallb")) &&
        (str_eqz(part, "controller") || str_eqz(component, "controller")))
        add(arg, S(""));
}
const struct objindex index_metallb = {"metallb", metallb_keys};

/* --- which nodes --- */

static bool node_is_meant_to(const struct obj *node)
{
    return !obj_deleting(node) && !val_get_str(obj_labels(node), LABEL_EXCLUDED);
}

bool node_may_serve(const struct obj *node)
{
    return node_is_meant_to(node) && condition_is(obj_status(node), "Ready", "True");
}

bool nodes_are_away(const struct view *v, struct str name)
{
    struct obj *node;
    bool away = false;
    for (struct objset_iter it = view_all(v, K(Node)); (node = objset_next(&it));) {
        if (node_may_serve(node))
            return false;
        away |= node_is_meant_to(node) && (!name.n || str_eq(node->name, name));
    }
    return away;
}

void service_nodes(const struct view *v, const struct obj *svc, struct map *out)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    struct obj *slice;
    for (struct objset_iter it = view_with(v, K(EndpointSlice), &index_slices, objset_key_of(&key, svc));
         (slice = objset_next(&it));)
        val_each_item (e, val_get(&slice->tree, N(endpoints))) {
            const struct val *ready = val_at(e, N(conditions), N(ready));
            struct str node = val_text_at(e, N(nodeName));
            if (node.n && (!val_is(ready, VAL_BOOL) || ready->b) && !map_get(out, node))
                (void)map_put(out, node, slice);
        }
}

struct nodes {
    const struct obj **p;
    size_t n, cap;
}; /* an ARRAY with a name */

static int node_cmp(const void *x, const void *y)
{
    const struct obj *const *a = x, *const *b = y;
    return str_cmp((*a)->name, (*b)->name);
}

/* Those that may serve it, by name: with the policy Local those with an endpoint. What the front door serves has
 * none: each node has the door. */
static void nodes_for(const struct view *v, const struct obj *svc, struct nodes *out)
{
    AUTO(map_fini) struct map with = MAP;
    bool local = service_is_local(svc) && !service_is_edge(svc);
    struct obj *node;
    if (local)
        service_nodes(v, svc, &with);
    for (struct objset_iter it = view_all(v, K(Node)); (node = objset_next(&it));)
        if (node_may_serve(node) && (!local || map_get(&with, node->name)))
            array_push(out, node);
    if (out->n)
        qsort(out->p, out->n, sizeof *out->p, node_cmp);
}

/* --- their own addresses --- */

/* The ports that its status says it has on the nodes. */
static bool has_port(const struct obj *svc, const struct val *port)
{
    const struct val *first = val_item(val_at(obj_status(svc), N(loadBalancer), N(ingress)), 0);
    val_each_item (it, val_get(first, N(ports)))
        if (val_num_at(it, 0, N(port)) == val_num_at(port, 0, N(port)) &&
            str_eq(val_text_at(it, N(protocol)), val_text_at(port, N(protocol))))
            return true;
    return false;
}

static struct val ports_had(struct arena *a, const struct obj *svc)
{
    struct val list = val_list();
    val_each_item (it, val_get(obj_spec(svc), N(ports))) {
        struct val one = val_map();
        val_set_num(a, &one, N(port), val_num_at(it, 0, N(port)));
        val_set_text(a, &one, N(protocol), val_text_at(it, N(protocol)));
        val_add(a, &list, one);
    }
    return list;
}

static size_t addresses_of_type(const struct obj *node, const char *type, struct arena *a, struct val ports,
                                struct val *list)
{
    size_t n = 0;
    val_each_item (it, val_get(obj_status(node), N(addresses))) {
        uint32_t ip;
        if (!str_eqz(val_text_at(it, N(type)), type) || !address_parse(val_text_at(it, N(address)), &ip))
            continue;
        struct val one = val_map();
        n++;
        val_set_text(a, &one, N(ip), address_text(a, ip));
        val_set_text(a, &one, N(ipMode), S("VIP"));
        val_set(a, &one, N(ports), ports);
        if (!val_find(list, N(ip), val_text_at(&one, N(ip))) && list->n < NODES_SHOWN)
            val_add(a, list, one);
    }
    return n;
}

struct val node_addresses(const struct view *v, struct arena *a, const struct obj *svc)
{
    struct val list = val_list(), ports = ports_had(a, svc);
    struct nodes nodes = {0};
    nodes_for(v, svc, &nodes);
    array_each (it, &nodes)
        if (!addresses_of_type(*it, "ExternalIP", a, ports, &list))
            (void)addresses_of_type(*it, "InternalIP", a, ports, &list);
    array_fini(&nodes);
    return list;
}

/* --- who has a port of theirs --- */

static bool has_word(struct str list, struct str word)
{
    struct str one;
    while (list.n && str_cut(&list, ',', &one))
        if (str_eq(one, word))
            return true;
    return false;
}

static struct str pod_with(const struct view *v, struct arena *a, struct str port, const struct obj *svc)
{
    const struct obj *found = NULL;
    struct obj *pod;
    for (struct objset_iter it = view_with(v, K(Pod), &index_host_ports, port); (pod = objset_next(&it));)
        if (pod_node(pod).n && !pod_is_over(pod) && obj_created(pod) <= obj_created(svc) &&
            (!found || str_cmp(pod->name, found->name) < 0))
            found = pod;
    return found ? arena_fmt(a, "the hostPort of Pod " STR_FMT "/" STR_FMT, STR_ARG(found->ns), STR_ARG(found->name))
                 : S("");
}

static struct str process_with(const struct view *v, struct arena *a, struct str port)
{
    struct obj *node;
    for (struct objset_iter it = view_all(v, K(Node)); (node = objset_next(&it));)
        if (has_word(obj_note(node, NOTE_LISTENING), port))
            return arena_fmt(a, "a process that listens on node " STR_FMT, STR_ARG(node->name));
    return S("");
}

bool nodes_have_looked(const struct view *v, const struct obj *svc)
{
    struct nodes nodes = {0};
    bool looked = true, news = false;
    val_each_item (it, val_get(obj_spec(svc), N(ports)))
        news |= !has_port(svc, it);
    if (news && !service_is_edge(svc))
        nodes_for(v, svc, &nodes);
    array_each (it, &nodes) {
        int64_t rev = INT64_MAX; /* who says nothing of it is not waited for */
        struct str note = obj_note(*it, NOTE_LOOKED);
        looked &= !str_to_i64(note, 0, INT64_MAX, &rev) || rev >= svc->rev;
    }
    array_fini(&nodes);
    return looked;
}

struct str port_service(struct arena *a, const struct obj *svc, const struct obj *const *holders, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ports_meet(svc, holders[i]))
            return arena_fmt(a, "LoadBalancer Service " STR_FMT "/" STR_FMT, STR_ARG(holders[i]->ns),
                             STR_ARG(holders[i]->name));
    return S("");
}

struct str port_holder(const struct view *v, struct arena *a, const struct obj *svc)
{
    struct str who = S("");
    val_each_item (it, val_get(obj_spec(svc), N(ports))) {
        struct str port = arena_fmt(a, STR_FMT "/%lld", STR_ARG(val_text_at(it, N(protocol))),
                                    (long long)val_num_at(it, 0, N(port)));
        if (has_port(svc, it)) /* who comes now is the younger */
            continue;
        who = pod_with(v, a, port, svc);
        if (!who.n && !service_is_edge(svc))
            who = process_with(v, a, port);
        if (who.n)
            return arena_fmt(a, STR_FMT " (port " STR_FMT ")", STR_ARG(who), STR_ARG(port));
    }
    return who;
}

/* --- who answers for an address --- */

static bool has_subnet(const struct obj *node, uint32_t ip, struct str interfaces)
{
    struct str rest = obj_note(node, NOTE_SUBNETS), one, name, net;
    const char *why;
    struct address_range r;
    while (rest.n && str_cut(&rest, ',', &one))
        if (str_split(one, '=', &name, &net) && (!interfaces.n || has_word(interfaces, name)) &&
            address_range_parse(net, &r, &why) && ip >= r.from && ip <= r.to)
            return true;
    return false;
}

/* By whom and on what a pool is announced. */
struct announcing {
    bool any;                    /* somebody says that it is */
    bool everywhere;             /* some advertisement names no nodes */
    const struct val *nodes[16]; /* lists of label selectors */
    size_t nnodes;
    bool all_interfaces;
    struct strbuf interfaces; /* comma separated */
};

static void announcing_add(struct announcing *x, const struct val *nodes, const struct val *interfaces)
{
    x->any = true;
    if (!val_len(nodes))
        x->everywhere = true;
    else if (x->nnodes < countof(x->nodes))
        x->nodes[x->nnodes++] = nodes;
    x->all_interfaces |= !val_len(interfaces);
    val_each_item (it, interfaces)
        if (!has_word(strbuf_str(&x->interfaces), val_text(it)))
            strbuf_addf(&x->interfaces, "%s" STR_FMT, x->interfaces.n ? "," : "", STR_ARG(val_text(it)));
}

static bool pool_is_advertised(const struct obj *advertisement, const struct obj *pool)
{
    const struct val *spec = obj_spec(advertisement), *pools = val_get_str(spec, S("ipAddressPools"));
    const struct val *selectors = val_get_str(spec, S("ipAddressPoolSelectors"));
    if (!val_len(pools) && !val_len(selectors))
        return true;
    val_each_item (it, selectors)
        if (label_selector_matches(it, obj_labels(pool)))
            return true;
    return val_has_text(pools, pool->name);
}

static void announcing_of(const struct view *v, const struct balancer_pool *pool, struct announcing *x)
{
    const struct val *spec = pool ? obj_spec(pool->obj) : NULL;
    const struct kind *k = view_defined(v, "l2advertisements.metallb.io");
    struct obj *o;
    if (!pool || pool->ours) {
        struct val *none = NULL;
        const struct val *selector = val_get_str(spec, S("nodeSelector"));
        announcing_add(x, none, val_get_str(spec, S("interfaces")));
        if (val_len(selector)) {
            x->everywhere = false;
            x->nodes[x->nnodes++] = selector;
        }
        return;
    }
    if (k)
        for (struct objset_iter it = view_all(v, k); (o = objset_next(&it));)
            if (!obj_deleting(o) && str_eq(o->ns, pool->obj->ns) && pool_is_advertised(o, pool->obj))
                announcing_add(x, val_get_str(obj_spec(o), S("nodeSelectors")),
                               val_get_str(obj_spec(o), S("interfaces")));
}

static bool node_is_meant(const struct announcing *x, const struct obj *node)
{
    if (x->everywhere)
        return true;
    for (size_t i = 0; i < x->nnodes; i++) {
        if (val_is(x->nodes[i], VAL_MAP) && label_selector_matches(x->nodes[i], obj_labels(node)))
            return true;
        val_each_item (it, x->nodes[i])
            if (label_selector_matches(it, obj_labels(node)))
                return true;
    }
    return false;
}

struct str announcer_of(const struct view *v, struct arena *a, const struct obj *svc,
                        const struct balancer_pool *pool, uint32_t ip, struct str now, struct str *interfaces,
                        struct str *why)
{
    struct announcing x = {.interfaces = STRBUF(STRBUF_TEXT)};
    struct nodes nodes = {0};
    const struct obj *best = NULL;
    bool best_near = false;
    uint64_t best_hash = 0;
    announcing_of(v, pool, &x);
    *interfaces = x.all_interfaces ? S("") : str_dup(a, strbuf_str(&x.interfaces));
    nodes_for(v, svc, &nodes);
    array_each (it, &nodes) {
        bool near = has_subnet(*it, ip, *interfaces);
        uint64_t hash = str_eq((*it)->name, now) ? 0 : stable_hash((*it)->name, ip);
        if (!node_is_meant(&x, *it) || (best && (best_near > near || (best_near == near && best_hash <= hash))))
            continue;
        best = *it;
        best_near = near;
        best_hash = hash;
    }
    *why = !x.any    ? S("no L2Advertisement names its pool")
           : best    ? best_near ? S("") : S("no node has an interface on its subnet: a router must send it here")
              : nodes.n ? S("the pool's selectors of nodes take none of those that are ready")
           : service_is_local(svc) && !service_is_edge(svc)
               ? S("externalTrafficPolicy is Local, and no node that is ready has an endpoint that is")
               : S("no node is ready");
    strbuf_fini(&x.interfaces);
    array_fini(&nodes);
    return best ? best->name : S("");
}
