/* doors.h - what front doors say of themselves: each that serves publishes, in a Lease with the label
 * wherry.dev/edge, up to which EndpointSlice it has forgotten who left (annotation wherry.dev/applied, a
 * resourceVersion; edge/leaving.c). */
#pragma once
#include "client/transport.h"

struct doors;
/* own: the node's name where this machine runs a front door, else "": what one of an earlier life left is passed
 * over. changed: later, when one of them has said something. */
struct doors *doors_new(struct transport *t, struct str node, bool own, void (*changed)(void *arg), void *arg)
    __attribute__((returns_nonnull));
void doors_start(struct doors *d);
void doors_free(struct doors *d); /* NULL is fine */
bool doors_synced(const struct doors *d);
/* Some have not come to this slice yet; their nodes' names are added to who (may be NULL), by commas. */
bool doors_behind(const struct doors *d, int64_t rev, struct strbuf *who);
