/* What every namespace has: the ServiceAccount "default" and the ConfigMap kube-root-ca.crt; two controllers, because
 * they act as two accounts. Upstream: pkg/controller/serviceaccount, pkg/controller/certificates/rootcacertpublisher.
 */
#include "control/manager.h"

#define DESCRIPTION                                                                                                  \
    S("Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as "    \
      "the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "     \
      "Kubernetes clusters.")

static const struct obj *living_get(const struct view *v, struct key key)
{
    const struct obj *ns = view_get(v, K(Namespace), S(""), key.name);
    return ns && !obj_deleting(ns) && !str_eqz(val_text_at(obj_status(ns), N(phase)), "Terminating") ? ns : NULL;
}

static void serviceaccount_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *ns = living_get(v, key);
    if (ns && !view_get(v, K(ServiceAccount), ns->name, S("default")))
        plan_create(out, K(ServiceAccount), ns->name, S("default"), val_map())->exists_ok = true;
}

static void rootca_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *ns = living_get(v, key);
    if (!ns || v->root_ca.n == 0)
        return;
    struct arena *a = &out->arena;
    const struct obj *have = view_get(v, K(ConfigMap), ns->name, S("kube-root-ca.crt"));
    struct val tree = have ? plan_edit(out, have) : val_map(), data = val_map();
    val_set_str(a, &data, S("ca.crt"), val_str(a, v->root_ca));
    if (!have || !val_equal(val_get(&tree, N(data)), &data))
        val_set(a, &tree, N(data), data);
    val_set_str(a, val_need_map(a, &tree, N(metadata), N(annotations)), S("kubernetes.io/description"),
                val_str_borrowed(DESCRIPTION));
    if (have)
        plan_update(out, have, S(""), tree);
    else
        plan_create(out, K(ConfigMap), ns->name, S("kube-root-ca.crt"), tree)->exists_ok = true;
}

static void keys_of_account(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                            void *arg)
{
    (void)v;
    if (!now && str_eqz(was->name, "default"))
        add(arg, S(""), was->ns);
}

static void keys_of_bundle(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                           void *arg)
{
    const struct obj *o = now ? now : was;
    (void)v;
    if (str_eqz(o->name, "kube-root-ca.crt"))
        add(arg, S(""), o->ns);
}

static const struct controller_watch account_watches[] = {
    {K(Namespace), keys_self}, {K(ServiceAccount), keys_of_account}, {0}};
const struct controller serviceaccount_controller = {
    .name = "serviceaccount",
    .component = "service-account-controller",
    .account = "service-account-controller",
    .watches = account_watches,
    .plan = serviceaccount_plan,
};

static const struct controller_watch bundle_watches[] = {
    {K(Namespace), keys_self}, {K(ConfigMap), keys_of_bundle}, {0}};
const struct controller rootca_controller = {
    .name = "rootca",
    .component = "root-ca-cert-publisher",
    .account = "root-ca-cert-publisher",
    .watches = bundle_watches,
    .plan = rootca_plan,
};
