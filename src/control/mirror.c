/* Endpoints that somebody wrote by hand for a Service without selector become EndpointSlices, which is what data
 * planes read. Upstream: pkg/controller/endpointslicemirroring. */
#include "control/manager.h"

#define MOST_ENDPOINTS 100
#define MANAGER        S("endpointslicemirroring-controller.k8s.io")
#define LABEL_SERVICE  S("kubernetes.io/service-name")
#define LABEL_MANAGER  S("endpointslice.kubernetes.io/managed-by")
#define LABEL_SKIP     S("endpointslice.kubernetes.io/skip-mirror")

struct mirrored { /* one slice as it is to be */
    struct str family;
    struct val ports, endpoints;
    struct obj *have;
};
struct mirror {
    const struct view *view;
    const struct obj *endpoints;
    struct plan *out;
    ARRAY(struct mirrored) slices;
    size_t last[2]; /* of IPv4, of IPv6: 1 + the slice that took the last address of this subset; 0: none yet */
};

static struct val endpoint_of(struct arena *a, const struct val *address, bool ready)
{
    struct val e = val_map(), list = val_list();
    val_add(a, &list, val_copy(a, val_get(address, N(ip))));
    val_set(a, &e, N(addresses), list);
    val_set_bool(a, val_set(a, &e, N(conditions), val_map()), N(ready), ready);
    const struct name *const kept[] = {N(hostname), N(targetRef), N(nodeName)};
    for (size_t i = 0; i < countof(kept); i++)
        if (val_get(address, kept[i]))
            val_set(a, &e, kept[i], val_copy(a, val_get(address, kept[i])));
    return e;
}

static void address_add(struct mirror *m, const struct val *ports, const struct val *address, bool ready)
{
    struct arena *a = &m->out->arena;
    bool v6 = str_find_char(val_text_at(address, N(ip)), ':') >= 0;
    struct str family = v6 ? S("IPv6") : S("IPv4");
    struct mirrored *to = m->last[v6] ? &m->slices.p[m->last[v6] - 1] : NULL;
    if (!to || to->endpoints.n >= MOST_ENDPOINTS) { /* ports may be many: they are not compared for each address */
        to = NULL;
        array_each (it, &m->slices)
            if (it->endpoints.n < MOST_ENDPOINTS && str_eq(it->family, family) && val_equal(&it->ports, ports))
                to = it;
    }
    if (!to) {
        array_push(&m->slices,
                   ((struct mirrored){.family = family, .ports = val_copy(a, ports), .endpoints = val_list()}));
        to = &m->slices.p[m->slices.n - 1];
    }
    m->last[v6] = (size_t)(to - m->slices.p) + 1;
    val_add(a, &to->endpoints, endpoint_of(a, address, ready));
}

/* Ports of Endpoints may leave their name out; those of slices have one, if an empty one. */
static struct val ports_of(struct arena *a, const struct val *subset)
{
    struct val list = val_list();
    val_each_item (it, val_get(subset, N(ports))) {
        struct val p = val_map();
        val_set(a, &p, N(name), val_str(a, val_text_at(it, N(name))));
        val_set(a, &p, N(port), val_copy(a, val_get(it, N(port))));
        val_set(a, &p, N(protocol), val_str(a, val_text_at(it, N(protocol))));
        if (val_get(it, N(appProtocol)))
            val_set(a, &p, N(appProtocol), val_copy(a, val_get(it, N(appProtocol))));
        val_add(a, &list, p);
    }
    return list;
}

static struct val slice_tree(struct mirror *m, const struct mirrored *s)
{
    struct arena *a = &m->out->arena;
    struct val tree = s->have ? plan_edit(m->out, s->have) : val_map(), labels = val_map();
    struct val *meta = val_need_map(a, &tree, N(metadata));
    val_each_member (it, obj_labels(m->endpoints))
        val_set_str(a, &labels, it->name->s, val_copy(a, &it->v));
    val_set_str(a, &labels, LABEL_SERVICE, val_str(a, m->endpoints->name));
    val_set_str(a, &labels, LABEL_MANAGER, val_str_borrowed(MANAGER));
    val_set(a, meta, N(labels), labels);
    if (!s->have) {
        struct val owners = val_list();
        val_add(a, &owners, owner_ref(a, m->endpoints));
        val_set(a, meta, N(ownerReferences), owners);
        val_set(a, &tree, N(addressType), val_str(a, s->family));
    }
    val_set(a, &tree, N(endpoints), s->endpoints);
    val_set(a, &tree, N(ports), s->ports);
    return tree;
}

extern const struct objindex index_slices;

static void slices_write(struct mirror *m)
{
    struct arena *a = &m->out->arena;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    struct str key = objset_key_of(&text, m->endpoints);
    struct obj *o;
    for (struct objset_iter it = view_with(m->view, K(EndpointSlice), &index_slices, key); (o = objset_next(&it));) {
        if (!str_eq(val_text(val_get_str(obj_labels(o), LABEL_MANAGER)), MANAGER) || obj_deleting(o))
            continue;
        struct mirrored *to = NULL;
        for (size_t i = m->slices.n; i-- > 0;)
            if (!m->slices.p[i].have && str_eq(m->slices.p[i].family, val_text_at(&o->tree, N(addressType))))
                to = &m->slices.p[i];
        if (to)
            to->have = o;
        else
            plan_delete(m->out, o);
    }
    int64_t salt = 0;
    array_each (it, &m->slices) {
        struct val tree = slice_tree(m, it);
        if (it->have) {
            plan_update(m->out, it->have, S(""), tree);
            continue;
        }
        struct str name;
        do {
            struct str suffix = name_suffix(a, m->endpoints->uid, salt++);
            name = arena_fmt(a, STR_FMT "-" STR_FMT, STR_ARG(m->endpoints->name), STR_ARG(suffix));
        } while (view_get(m->view, K(EndpointSlice), m->endpoints->ns, name));
        plan_create(m->out, K(EndpointSlice), m->endpoints->ns, name, tree);
    }
}

static bool is_mirrored(const struct view *v, const struct obj *endpoints)
{
    const struct obj *svc = view_get(v, K(Service), endpoints->ns, endpoints->name);
    return svc && !obj_deleting(svc) && val_len(val_get(obj_spec(svc), N(selector))) == 0 &&
           !str_eqz(val_text(val_get_str(obj_labels(endpoints), LABEL_SKIP)), "true") &&
           !obj_has_note(endpoints, "control-plane.alpha.kubernetes.io/leader");
}

static void mirror_plan(const struct view *v, struct key key, struct plan *out)
{
    struct mirror m = {.view = v, .endpoints = view_get(v, K(Endpoints), key.ns, key.name), .out = out};
    if (!m.endpoints)
        return; /* the slices go with their owner */
    if (is_mirrored(v, m.endpoints))
        val_each_item (subset, val_get(&m.endpoints->tree, N(subsets))) {
            struct val ports = ports_of(&out->arena, subset);
            m.last[0] = m.last[1] = 0;
            val_each_item (it, val_get(subset, N(addresses)))
                address_add(&m, &ports, it, true);
            val_each_item (it, val_get(subset, N(notReadyAddresses)))
                address_add(&m, &ports, it, false);
        }
    slices_write(&m);
    array_fini(&m.slices);
}

static void keys_of_slice(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                          void *arg)
{
    const struct obj *o = now ? now : was;
    struct str name = val_text(val_get_str(obj_labels(o), LABEL_SERVICE));
    (void)v;
    if (name.n > 0 && str_eq(val_text(val_get_str(obj_labels(o), LABEL_MANAGER)), MANAGER))
        add(arg, o->ns, name);
}

static const struct controller_watch watches[] = {
    {K(Endpoints), keys_self}, {K(Service), keys_self}, {K(EndpointSlice), keys_of_slice}, {0}};
const struct controller mirror_controller = {
    .name = "mirror",
    .component = "endpoint-slice-mirroring-controller",
    .account = "endpointslicemirroring-controller",
    .watches = watches,
    .plan = mirror_plan,
};
