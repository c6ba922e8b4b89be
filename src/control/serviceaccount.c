/* What every namespace has: the ServiceAccount "default" and the ConfigMap kube-root-ca.crt.
 * Upstream: pkg/controller/serviceaccount, pkg/controller/certificates/rootcacertpublisher. */
#include "control/manager.h"

#define DESCRIPTION                                                                                                  \
    S("Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as "    \
      "the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "     \
      "Kubernetes clusters.")

static void bundle_plan(const struct view *v, struct str ns, struct plan *out)
{
    struct arena *a = &out->arena;
    const struct obj *have = view_get(v, K(ConfigMap), ns, S("kube-root-ca.crt"));
    struct val tree = have ? plan_edit(out, have) : val_map(), data = val_map();
    val_set_str(a, &data, S("ca.crt"), val_str(a, v->root_ca));
    if (!have || !val_equal(val_get(&tree, N(data)), &data)) /* order of members as it stands */
        val_set(a, &tree, N(data), data);
    val_set_str(a, val_need_map(a, &tree, N(metadata), N(annotations)), S("kubernetes.io/description"),
                val_str_borrowed(DESCRIPTION));
    if (have)
        plan_update(out, have, S(""), tree);
    else
        plan_create(out, K(ConfigMap), ns, S("kube-root-ca.crt"), tree)->exists_ok = true;
}

static void serviceaccount_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *ns = view_get(v, K(Namespace), S(""), key.name);
    if (!ns || obj_deleting(ns) || str_eqz(val_text_at(obj_status(ns), N(phase)), "Terminating"))
        return;
    if (!view_get(v, K(ServiceAccount), ns->name, S("default")))
        plan_create(out, K(ServiceAccount), ns->name, S("default"), val_map())->exists_ok = true;
    if (v->root_ca.n > 0)
        bundle_plan(v, ns->name, out);
}

static void keys_of_namespace(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                              void *arg)
{
    const struct obj *o = now ? now : was;
    (void)v;
    if (str_eqz(o->name, o->kind == K(ConfigMap) ? "kube-root-ca.crt" : "default"))
        add(arg, S(""), o->ns);
}

static const struct controller_watch watches[] = {
    {K(Namespace), keys_self}, {K(ServiceAccount), keys_of_namespace}, {K(ConfigMap), keys_of_namespace}, {0}};
const struct controller serviceaccount_controller = {
    .name = "serviceaccount",
    .component = "service-account-controller",
    .account = "service-account-controller",
    .watches = watches,
    .plan = serviceaccount_plan,
};
