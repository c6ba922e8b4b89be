/* Which libraries Kubernetes 1.36 has (its environment/base.go): a row per library, in upstream's order, since the
 * overloads of one function may stand in several. */
#include "cel/libraries.h"
#include <stddef.h>

const struct cel_library *const cel_libraries[] = {
    &cel_lib_core,     &cel_lib_time,     &cel_lib_urls,           &cel_lib_regex, &cel_lib_lists, &cel_lib_authz,
    &cel_lib_optional, &cel_lib_quantity, &cel_lib_strings,        &cel_lib_sets,  &cel_lib_ip,    &cel_lib_cidr,
    &cel_lib_format,   &cel_lib_semver,   &cel_lib_list_extension, &cel_lib_patch, NULL,
};
