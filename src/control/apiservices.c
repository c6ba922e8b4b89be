/* APIServices of what is served here: each version that a definition serves has one, and each without a Service is
 * available. Those of the built-in groups are made at the start (server/boot.c), those with a Service are looked at
 * by the server itself (server/aggregate_check.c). One that somebody else made, without the label, is left alone: it
 * may lead the group elsewhere. Upstream: pkg/controlplane/controller/crdregistration, and kube-aggregator's
 * controllers/autoregister and controllers/status/local. */
#include "control/manager.h"

#define MANAGED        "kube-aggregator.kubernetes.io/automanaged"
#define GROUP_PRIORITY 1000 /* of all definitions: below what is built in */
#define VERSION_ORDER  100  /* the same: they are ordered by their names then */

extern const struct objindex index_group;

static bool version_is_served(const struct view *v, struct str group, struct str version)
{
    struct obj *o;
    for (struct objset_iter it = view_with(v, K(CustomResourceDefinition), &index_group, group);
         (o = objset_next(&it));)
        val_each_item (e, val_get(obj_spec(o), N(versions)))
            if (str_eq(val_text_at(e, N(name)), version) && val_true(val_get(e, N(served))))
                return true;
    return false;
}

static struct val spec_of(struct arena *a, struct str group, struct str version)
{
    struct val spec = val_map();
    val_set_text(a, &spec, N(group), group);
    val_set_text(a, &spec, N(version), version);
    val_set_num(a, &spec, N(groupPriorityMinimum), GROUP_PRIORITY);
    val_set_num(a, &spec, N(versionPriority), VERSION_ORDER);
    return spec;
}

static void made_plan(struct plan *out, struct str name, struct str group, struct str version)
{
    struct arena *a = &out->arena;
    struct val tree = val_map();
    struct val *meta = val_need_map(a, &tree, N(metadata));
    val_set_text(a, meta, N(name), name);
    val_set_str(a, val_need_map(a, meta, N(labels)), S(MANAGED), val_str_borrowed(S("true")));
    val_set(a, &tree, N(spec), spec_of(a, group, version));
    plan_create(out, K(APIService), S(""), name, tree)->exists_ok = true;
}

static void available_plan(const struct view *v, const struct obj *o, struct plan *out)
{
    struct arena *a = &out->arena;
    const struct condition is = {.type = "Available",
                                 .status = "True",
                                 .reason = "Local",
                                 .message = S("Local APIServices are always available")};
    const struct val *was = condition_get(obj_status(o), is.type);
    if (val_is(val_get(obj_spec(o), N(service)), VAL_MAP) ||
        (was && condition_is(obj_status(o), is.type, is.status) && str_eqz(val_text_at(was, N(reason)), is.reason) &&
         str_eq(val_text_at(was, N(message)), is.message)))
        return;
    struct val tree = plan_edit(out, o);
    struct val *status = val_need_map(a, &tree, N(status));
    conditions_set(a, status, conditions_with(a, obj_status(o), &is, v->now));
    plan_update(out, o, S("status"), tree);
}

static void apiservices_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *o = view_get(v, K(APIService), S(""), key.name);
    struct str version, group;
    bool wanted = str_split(key.name, '.', &version, &group) && version_is_served(v, group, version);
    struct str managed = o ? val_text(val_get_str(obj_labels(o), S(MANAGED))) : S("");
    if (!o && wanted)
        made_plan(out, str_dup(&out->arena, key.name), str_dup(&out->arena, group), str_dup(&out->arena, version));
    if (!o || obj_deleting(o))
        return;
    if (!str_eqz(managed, "true")) {
        available_plan(v, o, out);
        return;
    }
    if (!wanted) {
        plan_delete(out, o);
        return;
    }
    struct val spec = spec_of(&out->arena, group, version);
    if (val_equal(obj_spec(o), &spec)) {
        available_plan(v, o, out);
        return;
    }
    struct val tree = plan_edit(out, o);
    val_set(&out->arena, &tree, N(spec), spec);
    plan_update(out, o, S(""), tree);
}

static void versions_add(const struct obj *definition, keys_add_fn *add, void *arg)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str group = definition ? val_text_at(obj_spec(definition), N(group)) : S("");
    val_each_item (e, definition ? val_get(obj_spec(definition), N(versions)) : NULL)
        add(arg, S(""), arena_fmt(&a, STR_FMT "." STR_FMT, STR_ARG(val_text_at(e, N(name))), STR_ARG(group)));
}

static void keys_of_versions(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                             void *arg)
{
    (void)v;
    if (was && now && val_equal(obj_spec(was), obj_spec(now)))
        return;
    versions_add(was, add, arg);
    versions_add(now, add, arg);
}

static const struct controller_watch watches[] = {
    {K(APIService), keys_self}, {K(CustomResourceDefinition), keys_of_versions}, {0}};
const struct controller apiservices_controller = {
    .name = "apiservices",
    .component = "crd-registration-controller",
    .account = "crd-controller",
    .watches = watches,
    .plan = apiservices_plan,
};
