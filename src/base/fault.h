/* fault.h - places where a failure can be injected. Every call out of the process passes one. In a test:
 *
 *   for (int n = 1; n < 100; n++) {
 *       fault_at(n);                      // fail the n-th call out of this process from here on
 *       ... act, check that nothing is half done ...
 *       if (!fault_fired()) break;        // fewer than n calls were made: all have been failed once
 *   }
 *
 * Code under test:  if (fault("store.sync", EIO) || fdatasync(fd) < 0) return err_errno(...);
 * WHERRY_FAULT=name:n in the environment arms the n-th pass of one named place in a real process. */
#pragma once
#include "base/mem.h"

bool fault(const char *place, int errno_value); /* true: fail now; errno is set */
void fault_at(int n);                           /* 0 disarms */
bool fault_fired(void);                         /* since the last fault_at */
