/* confine.h - what a role without privileges gives up for good: new privileges, programs, and the parts of the kernel
 * that none of its duties need. So a breach of a parser cannot start a shell, look into other processes or reach for
 * rarely used kernel code. */
#pragma once
#include "base/err.h"

/* Once, before the role reads anything that came from outside. Threads made later inherit it. */
MUST_USE bool role_confine(struct err *err);
