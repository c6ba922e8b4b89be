/* observe.h - waiting for one object by a watch, without polling. */
#pragma once
#include "cli/resource.h"

enum observed { OBSERVE_ON, OBSERVE_DONE, OBSERVE_FAILED };
/* Is called with the object as it is, and after each change; NULL: it is not there (any more). OBSERVE_FAILED fills
 * err. */
typedef enum observed observe_fn(const struct val *object, void *arg, struct err *err);
/* E_TIMEOUT after timeout_ns (< 0: never). */
MUST_USE bool object_observe(struct client *c, const struct resource *r, struct str ns, struct str name,
                             observe_fn *see, void *arg, int64_t timeout_ns, struct err *err);
