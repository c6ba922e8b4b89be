/* A bound claim that asks for more than it has grows by who made its volume; here it is only said that he is waited
 * for. Upstream: pkg/controller/volume/expand, of which nothing else is left without plugins that are built in. */
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

static void expand_plan(const struct view *v, struct key key, struct plan *out)
{
    static const char waits[] = "waiting for an external controller to expand this PVC";
    const struct obj *claim = view_get(v, K(PersistentVolumeClaim), key.ns, key.name);
    if (!claim || obj_deleting(claim) || !claim_is_to_grow(v, claim))
        return;
    plan_why(out, "%s", waits);
    if (!str_eqz(v->why, waits))
        plan_event(out, (struct obj *)claim, "Normal", "ExternalExpanding", "%s", waits);
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
