/* deployment.h - the arithmetic of rollouts, for its tests and for whoever explains one. Pure. */
#pragma once
#include "control/plan.h"

/* maxSurge (rounded up) and maxUnavailable (rounded down) in pods; both 0 gives unavailable 1. */
void deployment_bounds(const struct obj *d, int64_t *surge, int64_t *unavailable);
/* The pod-template-hash of a template: the same for the same template, whatever it was decoded from. */
struct str template_hash(struct arena *a, const struct val *template, int64_t collisions);
