/* libraries.h - the libraries, each the table of a file lib_NAME.c. */
#pragma once
#include "cel/func.h"

extern const struct cel_library cel_lib_core, cel_lib_time, cel_lib_urls, cel_lib_regex, cel_lib_lists, cel_lib_authz,
    cel_lib_optional, cel_lib_quantity, cel_lib_strings, cel_lib_sets, cel_lib_ip, cel_lib_cidr, cel_lib_format,
    cel_lib_semver, cel_lib_list_extension, cel_lib_patch;

cel_function_run cel_text_format; /* "...".format(): lib_text_format.c */
