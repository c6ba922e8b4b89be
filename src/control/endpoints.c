/* The Endpoints object of a Service, for clients that still read it: ready and not ready addresses by ports.
 * Upstream: pkg/controller/endpoint. */
#include "control/pods.h"
#include "control/services.h"

#define MOST_ADDRESSES 1000
#define LABEL_MANAGER  S("endpoints.kubernetes.io/managed-by")
#define MANAGER        S("endpoint-controller")
#define OVER_CAPACITY  S("endpoints.kubernetes.io/over-capacity")
#define LABEL_HEADLESS S("service.kubernetes.io/headless")

static struct val address_of(struct arena *a, const struct obj *svc, const struct backend *b)
{
    struct val v = val_map();
    val_set(a, &v, N(ip), val_str(a, b->ip));
    struct str hostname = val_text_at(obj_spec(b->pod), N(hostname));
    if (hostname.n > 0 && str_eq(val_text_at(obj_spec(b->pod), N(subdomain)), svc->name))
        val_set(a, &v, N(hostname), val_str(a, hostname));
    if (pod_node(b->pod).n > 0)
        val_set(a, &v, N(nodeName), val_str(a, pod_node(b->pod)));
    struct val *ref = val_set(a, &v, N(targetRef), val_map());
    val_set_text(a, ref, N(kind), S("Pod"));
    val_set_text(a, ref, N(namespace), b->pod->ns);
    val_set_text(a, ref, N(name), b->pod->name);
    val_set_text(a, ref, N(uid), b->pod->uid);
    return v;
}

static struct val plain_ports(struct arena *a, const struct val *ports)
{
    struct val list = val_copy(a, ports);
    for (size_t i = 0; i < list.n; i++)
        if (val_text_at(&list.list[i], N(name)).n == 0)
            val_del(&list.list[i], N(name));
    return list;
}

/* Of the ports of backends, as they are. */
struct of_ports {
    const struct val **list; /* of the subsets, in their order */
    size_t n;
};

static struct val *subset_for(struct arena *a, struct val *subsets, struct of_ports *have, const struct val *ports)
{
    for (size_t i = 0; i < have->n; i++)
        if (have->list[i] == ports)
            return &subsets->list[i];
    have->list[have->n++] = ports;
    struct val *s = val_add(a, subsets, val_map());
    val_set(a, s, N(ports), plain_ports(a, ports));
    return s;
}

static int by_ip(const void *pa, const void *pb)
{
    return str_cmp(((const struct backend *)pa)->ip, ((const struct backend *)pb)->ip);
}

static struct val subsets_of(struct plan *out, const struct obj *svc, struct backends *backends, bool *over)
{
    struct arena *a = &out->arena;
    bool unready_too = val_true(val_get(obj_spec(svc), N(publishNotReadyAddresses)));
    struct val subsets = val_list();
    struct of_ports have = {.list = arena_alloc(a, (MIN(backends->n, MOST_ADDRESSES) + 1) * sizeof *have.list)};
    size_t n = 0;
    if (backends->n > 0)
        qsort(backends->p, backends->n, sizeof *backends->p, by_ip);
    array_each (b, backends) {
        if (b->terminating && !unready_too)
            continue;
        if (n++ >= MOST_ADDRESSES) {
            *over = true;
            break;
        }
        if (b->ports->n == 0 && !service_is_headless(svc))
            continue;
        struct val *s = subset_for(a, &subsets, &have, b->ports);
        const struct name *list = b->ready ? N(addresses) : N(notReadyAddresses);
        struct val *to = val_get_mut(s, list);
        if (!to)
            to = val_set(a, s, list, val_list());
        val_add(a, to, address_of(a, svc, b));
    }
    for (size_t i = 0; i < subsets.n; i++)
        if (val_len(val_get(&subsets.list[i], N(ports))) == 0)
            val_del(&subsets.list[i], N(ports));
    return subsets;
}

static void content_set(struct plan *out, const struct obj *svc, struct val *tree, struct backends *backends)
{
    struct arena *a = &out->arena;
    bool over = false;
    struct val subsets = subsets_of(out, svc, backends, &over);
    struct val *meta = val_need_map(a, tree, N(metadata)), labels = val_map();
    val_each_member (it, obj_labels(svc))
        val_set_str(a, &labels, it->name->s, val_copy(a, &it->v));
    if (service_is_headless(svc))
        val_set_str(a, &labels, LABEL_HEADLESS, val_str_borrowed(S("")));
    val_set_str(a, &labels, LABEL_MANAGER, val_str_borrowed(MANAGER));
    val_set(a, meta, N(labels), labels);
    struct val *annotations = val_get_mut(meta, N(annotations));
    if (over)
        val_set_str(a, val_need_map(a, meta, N(annotations)), OVER_CAPACITY, val_str_borrowed(S("truncated")));
    else if (annotations && val_get_str(annotations, OVER_CAPACITY))
        val_del_str(annotations, OVER_CAPACITY);
    if (subsets.n > 0)
        val_set(a, tree, N(subsets), subsets);
    else
        val_del(tree, N(subsets));
}

static void endpoints_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *svc = view_get(v, K(Service), key.ns, key.name);
    const struct obj *have = view_get(v, K(Endpoints), key.ns, key.name);
    if (!svc) {
        if (have && str_eq(val_text(val_get_str(obj_labels(have), LABEL_MANAGER)), MANAGER))
            plan_delete(out, have);
        return;
    }
    struct str family = val_text(val_item(val_get(obj_spec(svc), N(ipFamilies)), 0));
    struct backends backends = {0};
    if (service_backends(v, svc, family.n > 0 ? family : S("IPv4"), out, &backends)) {
        struct val tree = have ? plan_edit(out, have) : val_map();
        content_set(out, svc, &tree, &backends);
        if (have)
            plan_update(out, have, S(""), tree);
        else
            plan_create(out, K(Endpoints), svc->ns, svc->name, tree)->failed = plan_event_of(
                out, svc, "Warning", "FailedToCreateEndpoint",
                "Failed to create endpoint for service " STR_FMT "/" STR_FMT ": ", STR_ARG(svc->ns),
                STR_ARG(svc->name));
    }
    array_fini(&backends);
}

static const struct controller_watch watches[] = {
    {K(Service), keys_self}, {K(Pod), keys_of_services}, {K(Endpoints), keys_self}, {0}};
const struct controller endpoints_controller = {
    .name = "endpoints",
    .component = "endpoint-controller",
    .account = "endpoint-controller",
    .watches = watches,
    .plan = endpoints_plan,
};
