/* rbac_int.h - the life of the index of bindings. */
#pragma once
#include "base/mem.h"
#include "server/rbac.h"

struct rbac *rbac_new(void) __attribute__((returns_nonnull));
void rbac_free(struct rbac *r); /* NULL is fine */
/* A binding was written (other objects are passed over); NULL: it was not there, or is gone. The store's loop; costs
 * what the binding's subjects do, however many others there are. */
void rbac_changed(struct rbac *r, const struct obj *was, const struct obj *now);
/* Nodes: what a rule alone does not give them (node_limited), and whether a pod of theirs has use for it. */
bool node_limited(const struct attributes *x);
struct str node_of(const struct user *u); /* its name; p NULL: it is no node */
struct str
pod_refers(const struct val *spec); /* "secrets", "configmaps", "persistentvolumeclaims"; "": none of them */
/* Whether a node may at all; false: why. */
MUST_USE bool node_reaches(struct server *s, struct arena *a, const struct attributes *x, struct str *why);
/* A claim, or the volume of one, that a node wants to be told of. */
bool node_follows(const struct attributes *x);
MUST_USE bool node_uses(struct server *s, const struct attributes *x);
