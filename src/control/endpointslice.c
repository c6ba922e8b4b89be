/* The EndpointSlices of a Service: every selected pod with an address, as ready, serving and terminating, 100 to a
 * slice, in the place where it stands already. A pod that is being deleted stops being ready in the same plan that
 * first sees its deletionTimestamp; the revision of that write is what data planes acknowledge before the pod is told
 * to stop. Upstream: pkg/controller/endpointslice, KEP-752, KEP-1669. */
#include "control/pods.h"
#include "control/services.h"

#define MOST_ENDPOINTS 100
#define MANAGER        S("endpointslice-controller.k8s.io")
#define LABEL_SERVICE  S("kubernetes.io/service-name")
#define LABEL_MANAGER  S("endpointslice.kubernetes.io/managed-by")
#define LABEL_HEADLESS S("service.kubernetes.io/headless")

static void keys_slice(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    struct str svc = val_text(val_get_str(obj_labels(o), LABEL_SERVICE));
    if (svc.n == 0)
        return;
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    add(arg, objset_key(&key, o->ns, svc));
}
extern const struct objindex index_slices;
const struct objindex index_slices = {"service", keys_slice};

struct slot {         /* one slice, as it is to be */
    struct obj *have; /* NULL: new */
    struct val endpoints;
    const struct val *ports; /* of the endpoints in it; NULL: any */
    bool changed;
};
struct slices {
    const struct view *view;
    const struct obj *svc;
    struct plan *out;
    struct str family;
    struct backends backends;
    ARRAY(struct slot) slots;
};

static void hint_add(struct arena *a, struct val *hints, const struct name *list, struct str name)
{
    struct val list_of = val_list(), one = val_map();
    val_set(a, &one, N(name), val_str(a, name));
    val_add(a, &list_of, one);
    val_set(a, hints, list, list_of);
}

/* For whom a Service's trafficDistribution means the endpoint first. */
static void hints_set(const struct slices *s, struct val *endpoint, const struct backend *b, struct str zone)
{
    struct arena *a = &s->out->arena;
    struct str how = val_text_at(obj_spec(s->svc), N(trafficDistribution));
    bool by_node = str_eqz(how, "PreferSameNode");
    bool by_zone = by_node || str_eqz(how, "PreferSameZone") || str_eqz(how, "PreferClose");
    struct val hints = val_map();
    if (!b->ready)
        return;
    if (by_zone && zone.n > 0)
        hint_add(a, &hints, N(forZones), zone);
    if (by_node && pod_node(b->pod).n > 0)
        hint_add(a, &hints, N(forNodes), pod_node(b->pod));
    if (hints.n > 0)
        val_set(a, endpoint, N(hints), hints);
}

static struct val endpoint_of(const struct slices *s, const struct backend *b)
{
    struct arena *a = &s->out->arena;
    struct val e = val_map(), addresses = val_list();
    val_add(a, &addresses, val_str(a, b->ip));
    val_set(a, &e, N(addresses), addresses);
    struct val *c = val_set(a, &e, N(conditions), val_map());
    val_set_bool(a, c, N(ready), b->ready);
    val_set_bool(a, c, N(serving), b->serving);
    val_set_bool(a, c, N(terminating), b->terminating);
    struct str hostname = val_text_at(obj_spec(b->pod), N(hostname));
    if (hostname.n > 0 && str_eq(val_text_at(obj_spec(b->pod), N(subdomain)), s->svc->name))
        val_set(a, &e, N(hostname), val_str(a, hostname));
    struct val *ref = val_set(a, &e, N(targetRef), val_map());
    val_set_text(a, ref, N(kind), S("Pod"));
    val_set_text(a, ref, N(namespace), b->pod->ns);
    val_set_text(a, ref, N(name), b->pod->name);
    val_set_text(a, ref, N(uid), b->pod->uid);
    struct str node = pod_node(b->pod);
    if (node.n > 0)
        val_set(a, &e, N(nodeName), val_str(a, node));
    const struct obj *n = node.n > 0 ? view_get(s->view, K(Node), S(""), node) : NULL;
    struct str zone = n ? val_text(val_get_str(obj_labels(n), S("topology.kubernetes.io/zone"))) : S("");
    if (zone.n > 0)
        val_set(a, &e, N(zone), val_str(a, zone));
    hints_set(s, &e, b, zone);
    return e;
}

static struct backend *backend_of(const struct slices *s, const struct val *endpoint, bool *placed)
{
    struct str uid = val_text_at(endpoint, N(targetRef), N(uid));
    struct str ip = val_text(val_item(val_get(endpoint, N(addresses)), 0));
    for (size_t i = 0; i < s->backends.n; i++)
        if (!placed[i] && str_eq(s->backends.p[i].pod->uid, uid) && str_eq(s->backends.p[i].ip, ip)) {
            placed[i] = true;
            return &s->backends.p[i];
        }
    return NULL;
}

/* Those that stand somewhere already stay there, with their conditions of now. */
static void keep_places(struct slices *s, bool *placed)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    struct str svc = objset_key_of(&key, s->svc);
    struct obj *slice;
    for (struct objset_iter it = view_with(s->view, K(EndpointSlice), &index_slices, svc);
         (slice = objset_next(&it));) {
        if (!str_eq(val_text(val_get_str(obj_labels(slice), LABEL_MANAGER)), MANAGER) || obj_deleting(slice) ||
            !str_eq(val_text_at(&slice->tree, N(addressType)), s->family))
            continue;
        struct slot slot = {.have = slice, .endpoints = val_list()};
        val_each_item (e, val_get(&slice->tree, N(endpoints))) {
            struct backend *b = backend_of(s, e, placed);
            if (!b)
                continue;
            if (slot.endpoints.n == 0)
                slot.ports = b->ports;
            if (slot.ports == b->ports)
                val_add(&s->out->arena, &slot.endpoints, endpoint_of(s, b));
            else /* its ports differ from its neighbours' now: it moves */
                placed[b - s->backends.p] = false;
        }
        slot.changed = slot.endpoints.n != val_len(val_get(&slice->tree, N(endpoints)));
        array_push(&s->slots, slot);
    }
}

static struct slot *slot_for(struct slices *s, const struct val *ports)
{
    struct slot *best = NULL;
    array_each (it, &s->slots) {
        if (it->endpoints.n >= MOST_ENDPOINTS || (it->endpoints.n > 0 && it->ports != ports))
            continue;
        /* one that changes anyway first, then the fullest */
        if (!best || (it->changed && !best->changed) ||
            (it->changed == best->changed && it->endpoints.n > best->endpoints.n))
            best = it;
    }
    if (!best) {
        array_push(&s->slots, ((struct slot){.endpoints = val_list()}));
        best = &s->slots.p[s->slots.n - 1];
    }
    best->ports = ports;
    best->changed = true;
    return best;
}

static void labels_set(const struct slices *s, struct val *tree)
{
    struct arena *a = &s->out->arena;
    struct val labels = val_map();
    val_each_member (it, obj_labels(s->svc))
        if (!str_eq(it->name->s, LABEL_HEADLESS))
            val_set_str(a, &labels, it->name->s, val_copy(a, &it->v));
    val_set_str(a, &labels, LABEL_SERVICE, val_str(a, s->svc->name));
    val_set_str(a, &labels, LABEL_MANAGER, val_str_borrowed(MANAGER));
    if (service_is_headless(s->svc))
        val_set_str(a, &labels, LABEL_HEADLESS, val_str_borrowed(S("")));
    struct val *meta = val_need_map(a, tree, N(metadata));
    if (!val_equal(val_get(meta, N(labels)), &labels))
        val_set(a, meta, N(labels), labels);
}

static void content_set(const struct slices *s, const struct slot *slot, struct val *tree)
{
    struct arena *a = &s->out->arena;
    labels_set(s, tree);
    if (slot->endpoints.n > 0 || val_len(val_get(tree, N(endpoints))) > 0)
        val_set(a, tree, N(endpoints), slot->endpoints);
    if (slot->endpoints.n > 0 && !val_equal(val_get(tree, N(ports)), slot->ports))
        val_set(a, tree, N(ports), *slot->ports);
}

static void slot_create(const struct slices *s, const struct slot *slot, int64_t *salt)
{
    struct arena *a = &s->out->arena;
    struct str seed = arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(s->svc->uid), STR_ARG(s->family)), name;
    struct str prefix = arena_fmt(a, STR_FMT "-", STR_ARG(s->svc->name));
    do {
        struct str suffix = name_suffix(a, seed, (*salt)++);
        name = arena_fmt(a, STR_FMT STR_FMT, STR_ARG(prefix), STR_ARG(suffix));
    } while (view_get(s->view, K(EndpointSlice), s->svc->ns, name));
    struct val tree = val_map();
    struct val *meta = val_set(a, &tree, N(metadata), val_map());
    val_set(a, meta, N(generateName), val_str(a, prefix));
    struct val owners = val_list();
    val_add(a, &owners, owner_ref(a, s->svc));
    val_set(a, meta, N(ownerReferences), owners);
    val_set(a, &tree, N(addressType), val_str(a, s->family));
    val_set(a, &tree, N(endpoints), val_list());
    content_set(s, slot, &tree);
    struct action *act = plan_create(s->out, K(EndpointSlice), s->svc->ns, name, tree);
    act->failed = plan_event_of(s->out, s->svc, "Warning", "FailedToUpdateEndpointSlices",
                                "Error updating Endpoint Slices for Service " STR_FMT "/" STR_FMT ": ",
                                STR_ARG(s->svc->ns), STR_ARG(s->svc->name));
}

static void family_plan(struct slices *s)
{
    if (!service_backends(s->view, s->svc, s->family, s->out, &s->backends))
        return;
    bool *placed = arena_alloc(&s->out->arena, s->backends.n + 1);
    keep_places(s, placed);
    for (size_t i = 0; i < s->backends.n; i++)
        if (!placed[i]) {
            struct slot *slot = slot_for(s, s->backends.p[i].ports);
            val_add(&s->out->arena, &slot->endpoints, endpoint_of(s, &s->backends.p[i]));
        }
    size_t used = 0;
    array_each (it, &s->slots)
        used += it->endpoints.n > 0;
    if (s->slots.n == 0) /* a service has a slice, even if nothing stands in it */
        array_push(&s->slots, ((struct slot){.endpoints = val_list()}));
    int64_t salt = 0;
    for (size_t i = 0; i < s->slots.n; i++) {
        struct slot *slot = &s->slots.p[i];
        if (!slot->have) {
            slot_create(s, slot, &salt);
        } else if (slot->endpoints.n == 0 && (used > 0 || i > 0)) {
            plan_delete(s->out, slot->have);
        } else {
            struct val tree = plan_edit(s->out, slot->have);
            content_set(s, slot, &tree);
            plan_update(s->out, slot->have, S(""), tree);
        }
    }
    array_fini(&s->backends);
    array_fini(&s->slots);
}

static bool has_family(const struct obj *svc, struct str family)
{
    const struct val *list = val_get(obj_spec(svc), N(ipFamilies));
    if (val_len(list) == 0) /* set by the server; a headless one without selector may lack it */
        return str_eqz(family, "IPv4");
    val_each_item (it, list)
        if (str_eq(val_text(it), family))
            return true;
    return false;
}

static void endpointslice_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *svc = view_get(v, K(Service), key.ns, key.name);
    if (!svc || obj_deleting(svc))
        return; /* slices go with their owner */
    const struct str families[] = {S("IPv4"), S("IPv6")};
    for (size_t i = 0; i < countof(families); i++) {
        struct slices s = {.view = v, .svc = svc, .out = out, .family = families[i]};
        if (has_family(svc, families[i]))
            family_plan(&s);
    }
}

static void keys_of_slice(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                          void *arg)
{
    const struct obj *o = now ? now : was;
    struct str svc = val_text(val_get_str(obj_labels(o), LABEL_SERVICE));
    (void)v;
    if (svc.n > 0 && str_eq(val_text(val_get_str(obj_labels(o), LABEL_MANAGER)), MANAGER))
        add(arg, o->ns, svc);
}

static const struct controller_watch watches[] = {{K(Service), keys_self},
                                                  {K(Pod), keys_of_services},
                                                  {K(EndpointSlice), keys_of_slice},
                                                  {K(Node), keys_none},
                                                  {0}};
const struct controller endpointslice_controller = {
    .name = "endpointslice",
    .component = "endpoint-slice-controller",
    .account = "endpointslice-controller",
    .watches = watches,
    .plan = endpointslice_plan,
};
