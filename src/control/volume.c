/* PersistentVolumes: their phase, letting go of claims that went elsewhere, and what becomes of one whose claim is
 * gone. Upstream: pkg/controller/volume/persistentvolume (syncVolume, reclaimVolume). Volumes are deleted by who
 * provisioned them: nothing here touches a disk. */
#include "api/csi_source.h"
#include "control/volumes.h"

static void volume_phase(struct plan *out, const struct obj *volume, const char *phase, struct str message)
{
    struct arena *a = &out->arena;
    struct val tree = plan_edit_status(out, volume), *status = val_need_map(a, &tree, N(status));
    if (str_eqz(val_text_at(status, N(phase)), phase))
        return;
    val_set_text(a, status, N(phase), str_of(phase));
    val_del(status, N(message));
    if (message.n > 0)
        val_set_text(a, status, N(message), message);
    struct action *action = plan_update(out, volume, S("status"), tree);
    if (action && message.n > 0)
        action->done = plan_event_of(
            out, volume, "Warning",
            str_eqz(val_text_at(obj_spec(volume), N(persistentVolumeReclaimPolicy)), "Recycle")
                ? "VolumeFailedRecycle"
                : "VolumeFailedDelete",
            STR_FMT, STR_ARG(message));
}

static bool volume_is(const struct obj *volume, const char *phase)
{
    return str_eqz(val_text_at(obj_status(volume), N(phase)), phase);
}

/* Why nobody deletes it; "": somebody outside does. */
static struct str why_undeletable(struct plan *out, const struct obj *volume)
{
    struct arena *a = &out->arena;
    struct str by = obj_note(volume, ANN_PROVISIONED_BY);
    if (csi_driver_after(by).n > 0 || obj_note(volume, ANN_MIGRATED_TO).n > 0)
        return S("");
    if (str_starts(by, S("kubernetes.io/")))
        return arena_fmt(a, "no volume plugin matched name: " STR_FMT, STR_ARG(by));
    if (by.n > 0)
        return S("");
    struct str path = val_text_at(obj_spec(volume), N(hostPath), N(path));
    if (path.n > 0 && !str_starts(path, S("/tmp/")))
        return arena_fmt(a, "host_path deleter only supports /tmp/.+ but received provided " STR_FMT, STR_ARG(path));
    return arena_fmt(
        a, "error getting deleter volume plugin for volume \"" STR_FMT "\": no deletable volume plugin matched",
        STR_ARG(volume->name));
}

static void volume_reclaim(struct plan *out, const struct obj *volume)
{
    struct str policy = val_text_at(obj_spec(volume), N(persistentVolumeReclaimPolicy)), wrong = S("");
    if (str_eqz(policy, "Recycle"))
        wrong = S("No recycler plugin found for the volume!");
    else if (str_eqz(policy, "Delete"))
        wrong = why_undeletable(out, volume);
    if (wrong.n > 0) {
        plan_why(out, STR_FMT, STR_ARG(wrong));
        if (volume_is(volume, "Released"))
            volume_phase(out, volume, "Failed", wrong);
    }
}

/* Its claim is gone, or has another volume. A volume that failed stays so, as that says why. */
static void volume_release(struct plan *out, const struct obj *volume)
{
    if (!volume_is(volume, "Released") && !volume_is(volume, "Failed"))
        volume_phase(out, volume, "Released", S(""));
    else
        volume_reclaim(out, volume);
}

static void volume_let_go(struct plan *out, const struct obj *volume)
{
    struct arena *a = &out->arena;
    struct val tree = plan_edit(out, volume), *spec = val_need_map(a, &tree, N(spec));
    if (obj_has_note(volume, ANN_BOUND_BY_CONTROLLER)) {
        struct val *notes = val_need_map(a, &tree, N(metadata), N(annotations));
        val_del_str(notes, S(ANN_BOUND_BY_CONTROLLER));
        if (val_len(notes) == 0)
            val_del(val_need_map(a, &tree, N(metadata)), N(annotations));
        val_del(spec, N(claimRef));
    } else { /* whoever made it wants it for that claim: it stays reserved */
        val_del(val_need_map(a, spec, N(claimRef)), N(uid));
    }
    plan_update(out, volume, S(""), tree);
}

static void tell_mismatch(const struct view *v, struct plan *out, const struct obj *volume, const struct obj *claim)
{
    static const char why[] = "the volumeMode of its claim is another one";
    plan_why(out, "%s", why);
    if (str_eqz(v->why, why))
        return;
    plan_event(out, (struct obj *)volume, "Warning", "VolumeMismatch",
               "Cannot bind PersistentVolume to requested PersistentVolumeClaim \"" STR_FMT
               "\" due to incompatible volumeMode.",
               STR_ARG(claim->name));
    plan_event(out, (struct obj *)claim, "Warning", "VolumeMismatch",
               "Cannot bind PersistentVolume \"" STR_FMT
               "\" to requested PersistentVolumeClaim due to incompatible volumeMode.",
               STR_ARG(volume->name));
}

/* Its claim is there and has no volume yet. */
static void volume_claimed(const struct view *v, struct plan *out, const struct obj *volume, const struct obj *claim)
{
    struct str mode = val_text_at(obj_spec(volume), N(volumeMode)),
               wanted = val_text_at(obj_spec(claim), N(volumeMode));
    if (claim_reserved(v, claim, &out->arena) == volume)
        volume_phase(out, volume, "Bound", S(""));
    else if (mode.n > 0 && wanted.n > 0 && !str_eq(mode, wanted))
        tell_mismatch(v, out, volume, claim);
}

/* What kept a volume for a plugin that was built in keeps it for nobody: its driver's provisioner has its own. */
static bool finalizer_dropped(struct plan *out, const struct obj *volume)
{
    static const char in_tree[] = "kubernetes.io/pv-controller";
    struct val left = val_list(), tree;
    const struct val *all = val_get(obj_meta(volume), N(finalizers));
    if (!csi_driver_after(obj_note(volume, ANN_PROVISIONED_BY)).n || !val_has_text(all, str_of(in_tree)))
        return false;
    val_each_item (it, all)
        if (!str_eqz(val_text(it), in_tree))
            val_add(&out->arena, &left, val_copy(&out->arena, it));
    tree = plan_edit(out, volume);
    struct val *meta = val_need_map(&out->arena, &tree, N(metadata));
    if (val_len(&left))
        val_set(&out->arena, meta, N(finalizers), left);
    else
        val_del(meta, N(finalizers));
    return plan_update(out, volume, S(""), tree) != NULL;
}

static void volume_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *volume = view_get(v, K(PersistentVolume), S(""), key.name);
    const struct val *ref = volume ? volume_claim(volume) : NULL;
    struct str uid = val_text_at(ref, N(uid)), ns = val_text_at(ref, N(namespace)), name = val_text_at(ref, N(name));
    if (!volume || plan_migrated(out, volume, obj_note(volume, ANN_PROVISIONED_BY)) || finalizer_dropped(out, volume))
        return;
    if (uid.n == 0) { /* nobody has it, or it is kept for a claim that is to come */
        volume_phase(out, volume, "Available", S(""));
        return;
    }
    const struct obj *claim = view_get(v, K(PersistentVolumeClaim), ns, name);
    if (!claim || !str_eq(claim->uid, uid)) {
        if (!volume_is(volume, "Released") && !volume_is(volume, "Failed")) {
            plan_check_gone(out, K(PersistentVolumeClaim), ns, name, uid);
            plan_step(out);
        }
        volume_release(out, volume);
    } else if (claim_volume(claim).n == 0) {
        volume_claimed(v, out, volume, claim);
    } else if (str_eq(claim_volume(claim), volume->name)) {
        volume_phase(out, volume, "Bound", S(""));
    } else if (obj_has_note(volume, ANN_PROVISIONED_BY) &&
               str_eqz(val_text_at(obj_spec(volume), N(persistentVolumeReclaimPolicy)), "Delete")) {
        volume_release(out, volume); /* it was made for a claim that took another */
    } else {
        volume_let_go(out, volume);
    }
}

static void keys_of_claim(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                          void *arg)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct obj *claim = now ? now : was;
    struct obj *volume;
    if (was && claim_volume(was).n > 0)
        add(arg, S(""), claim_volume(was));
    if (now && claim_volume(now).n > 0)
        add(arg, S(""), claim_volume(now));
    for (struct objset_iter it =
             view_with(v, K(PersistentVolume), &index_volume_claim, claim_key(&a, claim->ns, claim->name));
         (volume = objset_next(&it));)
        add(arg, S(""), volume->name);
}

/* Of those that name one claim, the one that it takes depends on the others. */
static void keys_of_volume(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                           void *arg)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct obj *const both[] = {was, now};
    struct obj *volume;
    keys_self(v, was, now, add, arg);
    for (size_t i = 0; i < countof(both); i++) {
        const struct val *ref = both[i] ? volume_claim(both[i]) : NULL;
        if (!ref)
            continue;
        for (struct objset_iter it =
                 view_with(v, K(PersistentVolume), &index_volume_claim,
                           claim_key(&a, val_text_at(ref, N(namespace)), val_text_at(ref, N(name))));
             (volume = objset_next(&it));)
            add(arg, S(""), volume->name);
    }
}

static const struct controller_watch watches[] = {
    {K(PersistentVolume), keys_of_volume}, {K(PersistentVolumeClaim), keys_of_claim}, {0}};
const struct controller volumes_controller = {
    .name = "volumes",
    .component = "persistentvolume-controller",
    .account = "persistent-volume-binder",
    .watches = watches,
    .plan = volume_plan,
};
