/* libraries.h - the libraries, each the table of a file lib_NAME.c. */
#pragma once
#include "cel/func.h"

extern const struct cel_library cel_lib_core, cel_lib_time, cel_lib_optional, cel_lib_authz;
