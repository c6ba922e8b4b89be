/* confine.h - what a role without privileges gives up for good: new privileges, programs, and the parts of the kernel
 * that none of its duties need. So a breach of a parser cannot start a shell, look into other processes or reach for
 * rarely used kernel code. */
#pragma once
#include "base/err.h"

enum role_confinement {
    ROLE_IS_FREE,
    ROLE_STARTS_PROGRAMS, /* which are confined in the same way, and touch no mounts and namespaces */
    ROLE_STARTS_NOTHING,
};
/* Once, before the role reads anything that came from outside. Threads made later inherit it. */
MUST_USE bool role_confine(enum role_confinement c, struct err *err);
