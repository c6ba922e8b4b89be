/* seccomp_int.h - the rules of RuntimeDefault, as data (seccomp_default.c), for who compiles them (seccomp.c). */
#pragma once
#include "oci/spec.h"
#include <errno.h>
#include <seccomp.h>

struct default_rule {
    uint64_t with, without; /* capabilities: all of these, none of those */
    uint32_t action;
    const char *names; /* separated by spaces */
    unsigned nargs;
    struct scmp_arg_cmp arg;
};
extern const struct default_rule seccomp_default_rules[];
extern const size_t seccomp_ndefault_rules;
/* Numbers of calls that are allowed besides; from the first of them on every other number is "not there", so that
 * libraries newer than this program take the older call. */
extern const uint32_t seccomp_default_newer[];
extern const size_t seccomp_ndefault_newer;
