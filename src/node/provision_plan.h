/* provision_plan.h - the built-in provisioner (wherry.dev/local): what claims and volumes ask of it, and the objects
 * that it writes. Pure. Upstream: external-provisioner, external-resizer. */
#pragma once
#include "api/obj.h"
#include "node/volume_store.h"

#define PROVISIONER           "wherry.dev/local"
#define PROVISIONER_FINALIZER "wherry.dev/local-volume" /* of volumes: their files go before they do */

/* The claim waits for a volume of this provisioner on this node (the one that was selected for it). */
bool claim_wants_volume(const struct obj *claim);
/* dir (which the class may not name: then it stays) and by. False: a parameter is not known, or its value is wrong.
 */
MUST_USE bool class_parameters(const struct obj *class, struct store_wish *out, struct err *err);
/* What is asked for; percent and dir are the node's own, the class may name another dir. False with a sentence for
 * ProvisioningFailed: what cannot be had here. */
MUST_USE bool provision_wish(struct arena *a, const struct obj *claim, const struct obj *class, struct str dir,
                             int64_t percent, struct store_wish *out, struct err *err);
struct val provision_volume(struct arena *a, const struct obj *claim, const struct obj *class, struct str node,
                            struct str path, int64_t size);

/* The volume's claim asks for more than it has got. */
bool claim_wants_growth(const struct obj *claim, const struct obj *volume);
/* Of a claim whose volume grows: its status, while it does and once it has. */
struct val growth_begun(struct arena *a, const struct obj *claim, int64_t now);
/* Its file system is to grow once it is mounted anew. */
bool growth_is_pending(const struct obj *claim);
struct val growth_pending(struct arena *a, const struct obj *claim, int64_t now);
struct val growth_over(struct arena *a, const struct obj *claim, const struct obj *volume_grown);

enum volume_fate {
    VOLUME_STAYS,
    VOLUME_DROPS /* its files, then its object */,
    VOLUME_LEAVES /* its object alone */
};
enum volume_fate volume_fate(const struct obj *volume);
/* The finalizers that stay. */
struct val finalizers_without(struct arena *a, const struct obj *o, struct str finalizer);
