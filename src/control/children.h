/* children.h - the pods that a workload makes and keeps: which are its own, how one is made of a template, and many
 * in growing batches. Shared by the controllers of all kinds that have a pod template. Pure. */
#pragma once
#include "control/manager.h"

/* The pods of one owner, by its selector and by who owns them. */
struct children {
    ARRAY(struct obj *) mine;   /* all of them */
    ARRAY(struct obj *) active; /* of these, who neither is over nor goes */
    int64_t terminating;        /* going, and not over */
    struct str finalizer;       /* to be set before: who is adopted gets it, who is released loses it; "": none */
};
void children_fini(struct children *c);
AUTO_VALUE(children_fini, struct children);
/* Upstream's ClaimPods: adopts orphans that the selector takes and releases what it takes no more, unless the owner
 * is being deleted. wants: which orphans are worth it; NULL: the active ones. False: the selector cannot be read,
 * which plan_why says. The selector is the kind's: spec.selector, a LabelSelector or (ReplicationController) a plain
 * map. */
bool children_claim(const struct view *v, const struct obj *owner, bool (*wants)(const struct obj *pod),
                    struct plan *out, struct children *c);
/* A pod as the template (PodTemplateSpec) says, owned by `owner`: its labels, annotations, finalizers and spec.
 * Neither name nor generateName is set. In the plan's arena, to be changed further. */
struct val pod_of_template(struct plan *out, const struct obj *owner, const struct val *template);
/* The name of the n-th child under generateName `prefix`: a function of the seed, so that the same plan twice
 * collides instead of making two. A seed is of what the plan saw, such as "UID/REVISION". */
struct str child_name(struct arena *a, struct str prefix, struct str seed, int64_t n);
/* Plans n pods (generateName "NAME-"): one, then two, then four: where creating fails (a quota, an admission rule)
 * few calls find that out. With the events SuccessfulCreate and FailedCreate about the owner. each: called for every
 * one before it is planned, with its number from 0 on, and may give it another generateName;
 * NULL: nothing to add. */
void children_create(const struct view *v, const struct obj *owner, const struct val *template, size_t n,
                     void (*each)(void *arg, struct plan *out, size_t i, struct val *pod), void *arg,
                     struct plan *out);
/* Deletes one, with the events SuccessfulDelete and FailedDelete about the owner. */
struct action *child_delete(struct plan *out, const struct obj *owner, const struct obj *pod);

/* A pod concerns its controller of the kind `owner`; an orphan all of its namespace whose selector takes it. */
void keys_of_child(const struct view *v, const struct obj *was, const struct obj *now, const struct kind *owner,
                   keys_add_fn *add, void *arg);
