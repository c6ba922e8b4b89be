/* history.h - the templates that a StatefulSet or DaemonSet has and had, each kept as a ControllerRevision: made of
 * the current one, found again, numbered, gone back to, trimmed. Upstream: pkg/controller/history. Pure.
 *
 * A revision's data is the strategic merge patch {"spec":{"template":{"$patch":"replace",...}}}, with sorted keys and
 * the zero values that Go writes: kubectl rollout undo sends it as it is, and compares it byte by byte to see whether
 * there is anything to undo. Its name is NAME-HASH; the hash is upstream's, so that a set that comes from another
 * cluster finds its own again. */
#pragma once
#include "control/plan.h"

#define HISTORY_HASH S("controller.kubernetes.io/hash") /* the label of a StatefulSet's revisions */
#define POD_REVISION S("controller-revision-hash")      /* that of a DaemonSet's, and of the pods of both */

/* The revisions of one owner, in the view; oldest first (number, creation, name). A change of one concerns the owner
 * as one of a pod does (keys_of_child). */
struct revisions {
    const struct view *view;
    struct plan *out;
    const struct obj *owner;
    ARRAY(struct obj *) all; /* borrowed from the view */
};
void revisions_fini(struct revisions *h);
AUTO_VALUE(revisions_fini, struct revisions);
/* Those that the owner's selector takes and that it owns; orphans are adopted, and what the selector takes no more is
 * released, unless the owner is being deleted. False: the selector cannot be read, which plan_why says. */
bool revisions_collect(const struct view *v, const struct obj *owner, struct plan *out, struct revisions *h);

struct revision {
    struct str name, hash;
    int64_t number;
    const struct obj *obj; /* as it is in the view; NULL: this plan makes it */
};
/* The revision of the owner's template as it is now. Where there is none it is made, where it is an old one it gets
 * the next number; what is planned after that waits for it (plan_step). label: the key of the hash. collisions: how
 * often a name was taken (status.collisionCount); counted up where it is taken again. */
struct revision revisions_current(struct revisions *h, struct str label, int64_t *collisions);
struct obj *revisions_named(const struct revisions *h, struct str name); /* borrowed; NULL: none */
/* Revisions that nobody needs, oldest first, go until `limit` of them are left. */
void revisions_trim(struct revisions *h, int64_t limit, bool (*is_live)(void *arg, const struct obj *revision),
                    void *arg);

/* A template as the data of a revision. */
struct val revision_data(struct arena *a, const struct val *template);
/* The owner's template with the revision applied: canonical, as the API has it. False where its data is no such patch
 * (somebody else may have made it). */
MUST_USE bool revision_apply(struct arena *a, const struct obj *owner, const struct obj *revision,
                             struct val *template, struct err *err);
/* upstream's HashControllerRevision. */
struct str revision_hash(struct arena *a, const struct val *data, int64_t collisions);
