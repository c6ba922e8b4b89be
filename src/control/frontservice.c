/* The front door's own Service, kube-system/wherry-front: its address is where Ingresses answer. It is made when the
 * first Ingress or Gateway is there that our front door serves, and is its owner's from then on: what is changed in
 * it (addresses, pools, policies) stays, and whoever deletes it gets a new one while it is needed. */
#include "control/gateway.h"
#include "control/ingress.h"
#include "control/loadbalancer_int.h"

static bool front_is_needed(const struct view *v)
{
    const struct kind *gateways = view_defined(v, GATEWAYS);
    struct obj *o;
    for (struct objset_iter it = view_all(v, K(Ingress)); (o = objset_next(&it));)
        if (ingress_is_ours(v, o))
            return true;
    if (gateways)
        for (struct objset_iter it = view_all(v, gateways); (o = objset_next(&it));)
            if (gateway_is_ours(v, o))
                return true;
    return false;
}

static void port_add(struct arena *a, struct val *ports, struct str name, int port)
{
    struct val p = val_map();
    val_set_text(a, &p, N(name), name);
    val_set_text(a, &p, N(protocol), S("TCP"));
    val_set_num(a, &p, N(port), port);
    val_set_num(a, &p, N(targetPort), port);
    val_add(a, ports, p);
}

static void frontservice_plan(const struct view *v, struct key key, struct plan *out)
{
    struct arena *a = &out->arena;
    (void)key;
    if (view_get(v, K(Service), FRONT_NS, FRONT_NAME) || !front_is_needed(v))
        return;
    struct val tree = val_map(), ports = val_list();
    struct val *labels = val_need_map(a, &tree, N(metadata), N(labels));
    val_set_str(a, labels, S("app.kubernetes.io/name"), val_str_borrowed(FRONT_NAME));
    val_set_str(a, labels, S("app.kubernetes.io/managed-by"), val_str_borrowed(S("wherry")));
    val_set_str(a, labels, S("service.kubernetes.io/service-proxy-name"), val_str_borrowed(S(BALANCER_EDGE)));
    struct val *spec = val_need_map(a, &tree, N(spec));
    val_set_text(a, spec, N(type), S("LoadBalancer"));
    val_set_bool(a, spec, N(allocateLoadBalancerNodePorts), false);
    port_add(a, &ports, S("http"), 80);
    port_add(a, &ports, S("https"), 443);
    val_set(a, spec, N(ports), ports);
    plan_create(out, K(Service), FRONT_NS, FRONT_NAME, tree)->exists_ok = true;
}

static void keys_front(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                       void *arg)
{
    (void)v;
    if (!was || !now || !val_equal(obj_spec(was), obj_spec(now)) ||
        !val_equal(val_get(obj_meta(was), N(annotations)), val_get(obj_meta(now), N(annotations)))) /* classes */
        add(arg, FRONT_NS, FRONT_NAME);
}

static void keys_of_service(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                            void *arg)
{
    const struct obj *o = now ? now : was;
    (void)v;
    if (!now && str_eq(o->ns, FRONT_NS) && str_eq(o->name, FRONT_NAME))
        add(arg, FRONT_NS, FRONT_NAME);
}

static const struct controller_watch watches[] = {
    {K(Ingress), keys_front}, {K(IngressClass), keys_front}, {K(Service), keys_of_service}, {0}};
static const struct defined_watch defined[] = {{GATEWAYS, keys_front}, {GATEWAYS_CLASSES, keys_front}, {0}};
const struct controller frontservice_controller = {
    .name = "frontservice",
    .component = "service-controller",
    .account = "service-controller",
    .watches = watches,
    .defined = defined,
    .plan = frontservice_plan,
};
