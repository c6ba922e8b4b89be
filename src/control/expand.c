/* A bound claim that asks for more than it has grows by who made its volume; here it is only said that he is waited
 * for, and by his name where a driver took over from who made it. Upstream: pkg/controller/volume/expand, of which
 * nothing else is left without plugins that are built in. */
#include "api/csi_source.h"
#include "api/quantity.h"
#include "control/volumes.h"

static bool claim_is_to_grow(const struct view *v, const struct obj *claim)
{
    const struct val *wanted = val_at(obj_spec(claim), N(resources), N(requests)),
                     *has = val_get(obj_status(claim), N(capacity));
    struct str now = val_text(val_get_str(has, S("storage")));
    const struct obj *volume = claim_is_bound(claim) ? view_get(v, K(PersistentVolume), S(""), claim_volume(claim))
                                                     : NULL;
    return volume && now.n > 0 && quantity_cmp(val_text(val_get_str(wanted, S("storage"))), now) > 0 &&
           str_eq(val_text_at(volume_claim(volume), N(uid)), claim->uid);
}

/* The driver's resizer looks for its name. */
static void resizer_name(struct plan *out, const struct obj *claim, struct str driver)
{
    struct arena *a = &out->arena;
    struct val patch = val_map();
    if (str_eq(obj_note(claim, ANN_RESIZER), driver))
        return;
    val_set_str(a, val_need_map(a, &patch, N(metadata), N(annotations)), S(ANN_RESIZER), val_str(a, driver));
    plan_patch(out, claim, S("status"), patch)->expect_rev = claim->rev;
}

static void expand_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *claim = view_get(v, K(PersistentVolumeClaim), key.ns, key.name);
    if (!claim || obj_deleting(claim) || !claim_is_to_grow(v, claim))
        return;
    const struct obj *volume = view_get(v, K(PersistentVolume), S(""), claim_volume(claim));
    struct str plugin = csi_plugin_before(obj_spec(volume)),
               waits = plugin.n ? arena_fmt(&out->arena,
                                            "CSI migration enabled for " STR_FMT
                                            "; waiting for external resizer to expand the pvc",
                                            STR_ARG(plugin))
                                : S("waiting for an external controller to expand this PVC");
    plan_why(out, STR_FMT, STR_ARG(waits));
    if (!str_eq(v->why, waits))
        plan_event(out, (struct obj *)claim, "Normal", "ExternalExpanding", STR_FMT, STR_ARG(waits));
    if (plugin.n)
        resizer_name(out, claim, csi_driver_after(plugin));
}

static const struct controller_watch watches[] = {
    {K(PersistentVolumeClaim), keys_self}, {K(PersistentVolume), keys_none}, {0}};
const struct controller expand_controller = {
    .name = "expand",
    .component = "volume_expand",
    .account = "expand-controller",
    .watches = watches,
    .plan = expand_plan,
};
