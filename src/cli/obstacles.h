/* obstacles.h - before `wherry up` changes anything: what stands in the way of this node's network, told to the
 * person who typed it. */
#pragma once
#include "cli/settings.h"

/* Prints what was found on stderr, a sentence each. False: the start is refused. Ports are not looked at where roles
 * of an earlier `wherry up` still run: they hold them. Blocking, some 30 ms. */
MUST_USE bool obstacles_check(const struct settings *s, bool node);
