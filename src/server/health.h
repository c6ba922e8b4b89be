/* health.h - how the checks of /healthz, /livez and /readyz have ended (/metrics/slis). The store's loop. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { HEALTH_PATHS = 3, HEALTH_CHECKS_MOST = 32 };
struct health_count {
    uint64_t good, bad;
    bool last; /* of the newest: whether it was good */
};
struct health_results {
    struct health_count counts[HEALTH_PATHS][HEALTH_CHECKS_MOST]; /* zeroed is right to begin with */
};
