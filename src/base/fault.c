#include "base/fault.h"
#include <errno.h>
#include <stdatomic.h>

static atomic_int countdown;
static atomic_bool fired;
static const char *only; /* armed from the environment: this place alone */
static size_t only_len;

__attribute__((constructor)) static void arm_from_environment(void)
{
    const char *spec = getenv("WHERRY_FAULT");
    const char *colon = spec ? strrchr(spec, ':') : NULL;
    if (!colon)
        return;
    only = spec;
    only_len = (size_t)(colon - spec);
    atomic_store(&countdown, (int)strtol(colon + 1, NULL, 10));
}

bool fault(const char *place, int errno_value)
{
    if (atomic_load_explicit(&countdown, memory_order_relaxed) <= 0)
        return false;
    if (only && (strlen(place) != only_len || memcmp(place, only, only_len) != 0))
        return false;
    if (atomic_fetch_sub(&countdown, 1) != 1)
        return false;
    atomic_store(&fired, true);
    errno = errno_value;
    return true;
}

void fault_at(int n)
{
    atomic_store(&fired, false);
    atomic_store(&countdown, n);
}

bool fault_fired(void)
{
    return atomic_load(&fired);
}
