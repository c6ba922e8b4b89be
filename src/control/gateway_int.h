/* gateway_int.h - what the files that read the Gateway API share. */
#pragma once
#include "control/gateway.h"

#define arena_many(a, type, n) ((type *)arena_alloc((a), (n) * sizeof(type)))

/* Whether `namespaces` (of allowedRoutes, or of allowedListeners) of somebody in `own` takes objects of `ns`;
 * otherwise: what counts where it says nothing. */
bool namespaces_allow(const struct view *v, const struct val *namespaces, struct str otherwise, struct str own,
                      struct str ns);
/* What the Gateway asks for in spec.addresses, and what it has. */
void gateway_addresses_read(const struct view *v, struct arena *a, struct gateway_model *g);
/* Condition `type` in a list of meta/v1 Conditions, which keeps its place where it stands there; of other types
 * nothing is touched. f set: `otherwise` ("False") with its reason; else True with `reason`. */
struct gateway_condition {
    const char *type, *status, *reason;
    struct str message;
};
void gateway_condition_put(struct arena *a, struct val *list, const struct gateway_condition *c, int64_t generation,
                           int64_t now);
#define SETTLE_NS (100 * NS_PER_MS)
/* Kinds have come whose objects are not all in yet: looks again soon. */
bool gateway_settles(const struct view *v, struct plan *out);
