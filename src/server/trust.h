/* trust.h - the ConfigMap extension-apiserver-authentication of kube-system, from which servers behind APIServices
 * learn whom to trust: the cluster's CA for clients, the front proxy's CA and name, and the fields in which it says
 * who asks. What the cluster needs is in it before the first request is served and after every change and deletion;
 * what others have added stays, unless it cannot be read or has expired. Upstream: clusterauthenticationtrust. */
#pragma once
#include "server/int.h"

struct trust;
struct trust *trust_new(struct server *s) __attribute__((returns_nonnull));
void trust_free(struct trust *t); /* NULL is fine */
/* Sees to it, then calls done from a later turn, be it that it could not be written; the namespace is there. */
void trust_start(struct trust *t, void (*done)(void *arg), void *arg);
void trust_changed(struct trust *t, const struct obj *o); /* a commit: what it is or was */

/* What becomes of its data, a map of texts; in the arena. Pure but for the clock. */
struct val trust_combine(struct arena *a, const struct val *have, struct str ca, struct str proxy_ca);
