/* Which libraries Kubernetes 1.36 has (its environment/base.go): a row per library, in upstream's order, since the
 * overloads of one function may stand in several. */
#include "cel/libraries.h"
#include <stddef.h>

const struct cel_library *const cel_libraries[] = {
    &cel_lib_core, &cel_lib_time, &cel_lib_optional, &cel_lib_authz, NULL,
};
