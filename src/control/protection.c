/* A claim that a pod uses, a volume that is bound and a class of attributes that either names stay until they are
 * free: they carry a finalizer from their creation on (admission), which is taken away here once they are deleted and
 * unused. Upstream: pkg/controller/volume/pvcprotection, pvprotection, vacprotection. */
#include "control/manager.h"
#include "control/pods.h"
#include "control/volumes.h"

static void finalizer_release(struct plan *out, const struct obj *o, struct str finalizer)
{
    struct arena *a = &out->arena;
    const struct val *have = val_get(obj_meta(o), N(finalizers));
    struct val left = val_list();
    val_each_item (it, have)
        if (!str_eq(val_text(it), finalizer))
            val_add(a, &left, val_copy(a, it));
    if (val_len(&left) == val_len(have))
        return;
    struct val tree = plan_edit(out, o), *meta = val_need_map(a, &tree, N(metadata));
    if (val_len(&left))
        val_set(a, meta, N(finalizers), left);
    else
        val_del(meta, N(finalizers));
    plan_update(out, o, S(""), tree);
}

/* A pod that has a node, even one that is over: as long as it is there, its volumes may be mounted. An ephemeral
 * claim goes with its pod, which is not waited for once nobody does any more. */
static bool pod_holds(const struct obj *pod, const struct obj *claim)
{
    bool shut = obj_deleting(pod) && val_num_at(obj_meta(pod), 1, N(deletionGracePeriodSeconds)) == 0;
    return pod_node(pod).n > 0 && !(shut && claim_is_for_pod(claim, pod));
}

static void pvcprotection_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *claim = view_get(v, K(PersistentVolumeClaim), key.ns, key.name);
    if (!claim || !obj_deleting(claim))
        return;
    struct obj *pod;
    for (struct objset_iter it =
             view_with(v, K(Pod), &index_pod_claims, claim_key(&out->arena, claim->ns, claim->name));
         (pod = objset_next(&it));)
        if (pod_holds(pod, claim)) {
            plan_why(out, "pod " STR_FMT " uses the claim", STR_ARG(pod->name));
            return;
        }
    finalizer_release(out, claim, S("kubernetes.io/pvc-protection"));
}

static void keys_of_claims(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                           void *arg)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct obj *pod = now ? now : was;
    (void)v;
    val_each_item (volume, val_get(obj_spec(pod), N(volumes))) {
        struct str claim = pod_claim(&a, pod, volume);
        if (claim.n > 0)
            add(arg, pod->ns, claim);
    }
}

static const struct controller_watch claim_watches[] = {
    {K(PersistentVolumeClaim), keys_self}, {K(Pod), keys_of_claims}, {0}};
const struct controller pvcprotection_controller = {
    .name = "pvcprotection",
    .component = "pvc-protection-controller",
    .account = "pvc-protection-controller",
    .watches = claim_watches,
    .plan = pvcprotection_plan,
};

static void pvprotection_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *volume = view_get(v, K(PersistentVolume), S(""), key.name);
    if (!volume || !obj_deleting(volume))
        return;
    if (str_eqz(val_text_at(obj_status(volume), N(phase)), "Bound"))
        plan_why(out, "the volume is bound to a claim");
    else
        finalizer_release(out, volume, S("kubernetes.io/pv-protection"));
}

static const struct controller_watch volume_watches[] = {{K(PersistentVolume), keys_self}, {0}};
const struct controller pvprotection_controller = {
    .name = "pvprotection",
    .component = "pv-protection-controller",
    .account = "pv-protection-controller",
    .watches = volume_watches,
    .plan = pvprotection_plan,
};

static struct str class_of(const struct obj *claim_or_volume)
{
    return val_text_at(obj_spec(claim_or_volume), N(volumeAttributesClassName));
}

static const struct obj *user_of_class(const struct view *v, struct str name)
{
    const struct kind *const users[] = {K(PersistentVolumeClaim), K(PersistentVolume)};
    for (size_t i = 0; i < countof(users); i++) {
        struct obj *o;
        for (struct objset_iter it = view_all(v, users[i]); (o = objset_next(&it));)
            if (str_eq(class_of(o), name) ||
                str_eq(val_text_at(obj_status(o), N(currentVolumeAttributesClassName)), name))
                return o;
    }
    return NULL;
}

static void vacprotection_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *class = view_get(v, K(VolumeAttributesClass), S(""), key.name);
    if (!class || !obj_deleting(class))
        return;
    const struct obj *user = user_of_class(v, key.name);
    if (user)
        plan_why(out, STR_FMT " " STR_FMT " uses the class", STR_ARG(user->kind->kind), STR_ARG(user->name));
    else
        finalizer_release(out, class, S("kubernetes.io/vac-protection"));
}

static void keys_of_classes(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                            void *arg)
{
    (void)v;
    const struct obj *const both[] = {was, now};
    for (size_t i = 0; i < countof(both); i++) {
        if (!both[i])
            continue;
        struct str current = val_text_at(obj_status(both[i]), N(currentVolumeAttributesClassName));
        if (class_of(both[i]).n)
            add(arg, S(""), class_of(both[i]));
        if (current.n)
            add(arg, S(""), current);
    }
}

static const struct controller_watch class_watches[] = {{K(VolumeAttributesClass), keys_self},
                                                        {K(PersistentVolumeClaim), keys_of_classes},
                                                        {K(PersistentVolume), keys_of_classes},
                                                        {0}};
const struct controller vacprotection_controller = {
    .name = "vacprotection",
    .component = "volumeattributesclass-protection-controller",
    .account = "volumeattributesclass-protection-controller",
    .watches = class_watches,
    .plan = vacprotection_plan,
};
