/* feed.h - what the front door's role knows of the API: caches of the kinds that it reads, seen as one view
 * (control/plan.h), so that the functions that decide run here as they do in controllers.
 *
 * Ingresses, their classes and the definitions of the kinds it knows are watched from the start. The rest - Services,
 * EndpointSlices, Namespaces, Secrets of type kubernetes.io/tls, and the kinds of those definitions - from the moment
 * that somebody wants them (feed_want), so that a cluster without a front door pays for three watches. Other Secrets
 * and ConfigMaps are watched one by one, by name, while somebody wants them. */
#pragma once
#include "client/transport.h"
#include "control/plan.h"

struct feed;
struct feed_events {
    /* After it is in the view; was NULL: added, now NULL: deleted. */
    void (*changed)(void *arg, const struct kind *k, const struct obj *was, const struct obj *now);
    /* Everything that is wanted is in; again each time that more was wanted. Decide nothing before the first. */
    void (*synced)(void *arg);
};
struct feed *feed_new(struct transport *t, const struct feed_events *e, void *arg) __attribute__((returns_nonnull));
void feed_free(struct feed *f);
const struct view *feed_view(struct feed *f); /* of this moment */
bool feed_synced(const struct feed *f);
void feed_want(struct feed *f, const struct kind *k); /* all objects of a built-in kind */
void feed_want_defined(struct feed *f,
                       const char *definition); /* "gateways.gateway.networking.k8s.io", if it is there */
/* One object by its name: in the view like the others. Counted: as often as it is wanted it is to be dropped. */
void feed_want_object(struct feed *f, const struct kind *k, struct str ns, struct str name);
void feed_drop_object(struct feed *f, const struct kind *k, struct str ns, struct str name);
