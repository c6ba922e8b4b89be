/* strategy.h - what a write to a kind does besides validation: which part of the object a client may set, what the
 * server computes, when the generation moves, which fields a list may be selected by. One row a kind (strategy.c); a
 * kind without a row (a custom resource) keeps status for the server, and its generation moves with everything but
 * metadata and status, and with labels.
 *
 * The order of a create: decode, kind_default, [admission], kind_prepare_create, [addresses and ports],
 * kind_validate, [validating admission], store. An update is the same with kind_prepare_update and
 * kind_validate(old); where the result equals `old` (val_equal) nothing is written. Pure; source: the registry
 * strategies of upstream 1.36. */
#pragma once
#include "api/rules.h"

enum propagation { PROPAGATE_BACKGROUND, PROPAGATE_ORPHAN, PROPAGATE_NONE };

struct strategy {
    const struct kind *kind;
    bool put_creates;             /* PUT of a name that is not there creates it */
    bool unconditional;           /* an update without resourceVersion is taken as it is */
    bool returns_object;          /* DELETE answers with the object, not with a Status */
    enum propagation propagation; /* of a delete that does not say */
};
/* Never NULL. */
const struct strategy *kind_strategy(const struct kind *k);

/* In place, on a decoded and defaulted tree. Clears deletionTimestamp, deletionGracePeriodSeconds, selfLink,
 * managedFields (kept apart from the tree) and what else the server owns (status, but not of a Node, which registers
 * itself with one), sets the first generation and computed fields. uid, creationTimestamp, name of generateName and
 * namespace are the caller's, set before (jobs put the uid into labels). now: nanoseconds since 1970. */
void kind_prepare_create(struct arena *a, const struct kind *k, struct val *v, int64_t now);
/* v: what the client wants; old: what is stored (never changed). sub: "" or "status", "ephemeralcontainers",
 * "resize", "approval", "finalize". Copies from old what this write may not touch, metadata included (uid where
 * empty, creationTimestamp, generation, deletion fields), and moves the generation. resourceVersion is the caller's.
 */
void kind_prepare_update(struct arena *a, const struct kind *k, struct str sub, struct val *v, const struct val *old,
                         int64_t now);

/* Which fields a write to the kind, through the subresource, does not take from whoever writes: g->resets and takes.
 */
struct managing;
void kind_resets(struct arena *a, const struct kind *k, struct str sub, struct managing *g);

/* Field selectors. metadata.name and metadata.namespace hold for every kind. */
bool kind_field_supported(const struct kind *k, struct str path);
/* The value a selector compares with, as text: numbers and booleans as JSON writes them; what is absent is "", or the
 * zero that upstream's field has ("false", "0"). */
struct str kind_field_value(struct arena *a, const struct kind *k, const struct val *tree, struct str path);

/* Warnings (header `Warning: 299 - "..."`) of a create or update, in order, at most 50; the texts live in the arena.
 */
struct warnings {
    struct arena *arena;
    ARRAY(struct str) texts; /* array_fini by the caller */
};
void kind_warnings(const struct kind *k, const struct val *v, const struct val *old, struct warnings *w);

/* Seconds of grace of a delete: `asked` is DeleteOptions.gracePeriodSeconds where it was `said`. 0: at once. Only
 * pods have any, and of these not those that no node has or that have ended. */
int64_t kind_delete_grace(const struct kind *k, const struct val *tree, bool said, int64_t asked);

/* The autoscaling/v1 Scale of an object, and back: Deployment, ReplicaSet, StatefulSet, ReplicationController, and
 * those of definitions that have one. False where the kind has no scale. kind_scale_apply sets spec.replicas (0 where
 * the scale says nothing). */
bool kind_is_scaled(const struct kind *k);
MUST_USE bool kind_scale_of(struct arena *a, const struct kind *k, const struct val *tree, struct val *scale);
void kind_scale_apply(struct arena *a, const struct kind *k, struct val *tree, const struct val *scale);
/* A pod whose containers run no more and will not again: its phase is Succeeded or Failed. */
bool pod_has_ended(const struct val *pod);
/* BestEffort | Burstable | Guaranteed of a Pod (status.qosClass) */
struct str pod_qos_class(const struct val *pod);
