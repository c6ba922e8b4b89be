/* volumes.h - which PersistentVolume suits which claim, as objects alone tell: what binds them, the scheduler and who
 * explains share it. Pure; sizes in bytes. Upstream: k8s.io/component-helpers/storage/volume. */
#pragma once
#include "api/placement.h"
#include "control/manager.h"

#define ANN_BIND_COMPLETED      "pv.kubernetes.io/bind-completed"
#define ANN_BOUND_BY_CONTROLLER "pv.kubernetes.io/bound-by-controller"
#define ANN_PROVISIONED_BY      "pv.kubernetes.io/provisioned-by"
#define ANN_MIGRATED_TO         "pv.kubernetes.io/migrated-to"
#define ANN_PROVISIONER         "volume.kubernetes.io/storage-provisioner"
#define ANN_PROVISIONER_BETA    "volume.beta.kubernetes.io/storage-provisioner"
#define ANN_RESIZER             "volume.kubernetes.io/storage-resizer"
#define ANN_SELECTED_NODE       "volume.kubernetes.io/selected-node"
#define ANN_DEFAULT_CLASS       "storageclass.kubernetes.io/is-default-class"
#define ANN_CLASS_BETA          "volume.beta.kubernetes.io/storage-class"
#define LOCAL_PROVISIONER       "wherry.dev/local" /* of the nodes themselves: node/provision.h */
#define NO_PROVISIONER          "kubernetes.io/no-provisioner"

/* Class of a claim or a volume: the old annotation counts first; "" for none. */
struct str class_of_storage(const struct obj *claim_or_volume);
bool claim_has_class(const struct obj *claim); /* "" is one, too */
/* The newest of those that are marked as default; NULL: none is. */
const struct obj *class_default(const struct view *v);
/* The class waits for a pod (volumeBindingMode WaitForFirstConsumer). NULL: it does not. */
bool class_is_delayed(const struct obj *class);
const struct obj *class_get(const struct view *v, struct str name);
int64_t claim_size(const struct obj *claim);
int64_t volume_size(const struct obj *volume);
struct str claim_volume(const struct obj *claim);         /* spec.volumeName */
const struct val *volume_claim(const struct obj *volume); /* spec.claimRef; NULL: none */
bool claim_is_bound(const struct obj *claim);             /* it has a volume, and the binding was completed */
/* claimRef names the claim, by its uid where it has one. */
bool volume_names(const struct obj *volume, const struct obj *claim);
/* Nobody has it: available, unclaimed and not about to go. */
bool volume_is_free(const struct obj *volume);
/* Why they do not suit each other, in upstream's words; NULL: they do. with_class: what a claim that asks for this
 * very volume must satisfy; without, what one that the volume asks for must. */
const char *volume_mismatch(const struct obj *volume, const struct obj *claim, bool with_class, struct arena *a);
/* Its node affinity takes the node. */
bool volume_takes_node(const struct obj *volume, const struct obj *node);
bool volume_spec_takes_node(const struct val *spec, const struct obj *node);
/* allowedTopologies of a class take the node. */
bool class_takes_node(const struct obj *class, const struct obj *node);
/* A before b, where both suit a claim: fewer access modes, smaller, by name. */
bool volume_before(const struct obj *a, const struct obj *b);
/* A free volume, of the claim's class and selector, that suits it (any node). */
bool volume_suits(const struct obj *volume, const struct obj *claim, struct arena *a);
/* The volume whose claimRef names the claim and that suits it, the best of them; NULL: none. */
struct obj *claim_reserved(const struct view *v, const struct obj *claim, struct arena *a);
/* A free one that suits it, not the best. NULL: there is none. */
struct obj *claim_free(const struct view *v, const struct obj *claim, struct arena *a);
/* Whatever claim one free volume suits, the other does, too. */
bool volume_replaces(const struct obj *volume, const struct obj *other);
bool claim_is_for_pod(const struct obj *claim, const struct obj *pod); /* owned by it, as ephemeral ones are */
/* "NS/NAME" in the arena. */
struct str claim_key(struct arena *a, struct str ns, struct str name);

/* A copy of the object's tree with the annotation. */
struct val obj_tree_noted(struct arena *a, const struct obj *o, const char *key, struct str value);
/* A copy of the volume's tree in which it is the claim's. */
struct val volume_claimed_by(struct arena *a, const struct obj *volume, const struct obj *claim);
/* Plans that, at the revision that was looked at. NULL: it is so already. */
struct action *plan_volume_claimed(struct plan *out, const struct obj *volume, const struct obj *claim);
/* Says which driver took over from its provisioner; false: that is said, or none did. */
bool plan_migrated(struct plan *out, const struct obj *o, struct str provisioner);

/* Volumes by who their claimRef names ("NS/NAME"), and free ones by class. */
extern const struct objindex index_volume_claim, index_volume_free;
/* Claims without a volume by class, and others by the volume's name. */
extern const struct objindex index_claim_class, index_claim_volume;
extern const struct objindex index_pod_claims; /* pods by their claims, "NS/NAME" */
/* Every claim without a volume of that class. */
void keys_of_class(const struct view *v, struct str class, keys_add_fn *add, void *arg);
