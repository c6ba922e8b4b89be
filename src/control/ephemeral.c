/* The claims of ephemeral volumes: made for a pod under its name, owned by it, so that they go with it. Upstream:
 * pkg/controller/volume/ephemeral. */
#include "control/pods.h"
#include "control/volumes.h"

/* One of the name is there, and it is somebody else's. */
static void tell_conflict(const struct view *v, struct plan *out, const struct obj *pod, struct str volume,
                          struct str claim)
{
    struct str text = arena_fmt(&out->arena,
                                "ephemeral volume " STR_FMT ": PVC " STR_FMT "/" STR_FMT
                                " was not created for pod " STR_FMT "/" STR_FMT " (pod is not owner)",
                                STR_ARG(volume), STR_ARG(pod->ns), STR_ARG(claim), STR_ARG(pod->ns),
                                STR_ARG(pod->name));
    plan_why(out, STR_FMT, STR_ARG(text));
    if (!str_eq(v->why, text))
        plan_event(out, (struct obj *)pod, "Warning", "FailedBinding", STR_FMT, STR_ARG(text));
}

static void claim_create(struct plan *out, const struct obj *pod, const struct val *volume, struct str name)
{
    struct arena *a = &out->arena;
    const struct val *template = val_at(volume, N(ephemeral), N(volumeClaimTemplate));
    struct val tree = val_map(), owners = val_list();
    struct val *meta = val_need_map(a, &tree, N(metadata));
    const struct name *const kept[] = {N(labels), N(annotations)};
    for (size_t i = 0; i < countof(kept); i++)
        if (val_at(template, N(metadata), kept[i]))
            val_set(a, meta, kept[i], val_copy(a, val_at(template, N(metadata), kept[i])));
    val_add(a, &owners, owner_ref(a, pod));
    val_set(a, meta, N(ownerReferences), owners);
    val_set(a, &tree, N(spec), val_copy(a, val_get(template, N(spec))));
    struct action *action = plan_create(out, K(PersistentVolumeClaim), pod->ns, name, tree);
    action->failed = plan_event_of(out, pod, "Warning", "FailedBinding",
                                   "ephemeral volume " STR_FMT ": create PVC " STR_FMT ": ",
                                   STR_ARG(val_text_at(volume, N(name))), STR_ARG(name));
}

static void ephemeral_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *pod = view_get(v, K(Pod), key.ns, key.name);
    if (!pod || obj_deleting(pod) || pod_is_over(pod))
        return;
    val_each_item (volume, val_get(obj_spec(pod), N(volumes))) {
        if (!val_get(volume, N(ephemeral)))
            continue;
        struct str name = pod_claim(&out->arena, pod, volume);
        const struct obj *claim = view_get(v, K(PersistentVolumeClaim), pod->ns, name);
        if (!claim)
            claim_create(out, pod, volume, name);
        else if (!claim_is_for_pod(claim, pod))
            tell_conflict(v, out, pod, val_text_at(volume, N(name)), name);
    }
}

static void keys_of_pod(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    (void)v;
    if (!now || was) /* its volumes never change */
        return;
    val_each_item (volume, val_get(obj_spec(now), N(volumes)))
        if (val_get(volume, N(ephemeral))) {
            add(arg, now->ns, now->name);
            return;
        }
}

/* Who waits for that name: its own that went, or another's that was in the way. */
static void keys_of_claim(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                          void *arg)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct obj *pod;
    if (now)
        return;
    for (struct objset_iter it = view_with(v, K(Pod), &index_pod_claims, claim_key(&a, was->ns, was->name));
         (pod = objset_next(&it));)
        add(arg, pod->ns, pod->name);
}

static const struct controller_watch watches[] = {
    {K(Pod), keys_of_pod}, {K(PersistentVolumeClaim), keys_of_claim}, {0}};
const struct controller ephemeral_controller = {
    .name = "ephemeral",
    .component = "ephemeral_volume",
    .account = "ephemeral-volume-controller",
    .watches = watches,
    .plan = ephemeral_plan,
};
