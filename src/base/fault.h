/* fault.h - places where a failure can be injected. Every call out of the process passes one. In a test:
 *
 *   for (int n = 1; n < 100; n++) {
 *       fault_at(n);                      // fail the n-th call out of this process from here on
 *       ... act, check that nothing is half done ...
 *       if (!fault_fired()) break;        // fewer than n calls were made: all have been failed once
 *   }
 *
 * Code under test:  if (fault("store.sync", EIO) || fdatasync(fd) < 0) return err_errno(...);
 * WHERRY_FAULT=name:n in the environment arms the n-th pass of one named place in a real process.
 *
 * WHERRY_DIE_AT=FILE in the environment: a process that passes a place looks into FILE, where "PLACE N" says that the
 * N-th one to pass it kills itself there, with SIGKILL. PLACE may end in '*'. The count goes down in FILE, so it goes
 * on over processes; who dies leaves "died PLACE" in it, and nobody dies of that. "PLACE N loop" and "PLACE N wait"
 * have it hang there for ever instead, with and without using the processor, and leave "hung PLACE". Every fault() is
 * such a place, and so are those that only fault_pass() names: before and after a deed that somebody has to finish.
 */
#pragma once
#include "base/mem.h"

void fault_pass(const char *place);

bool fault(const char *place, int errno_value); /* true: fail now; errno is set */
void fault_at(int n);                           /* 0 disarms */
bool fault_fired(void);                         /* since the last fault_at */
