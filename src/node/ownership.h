/* ownership.h - a volume's files are given to the group of a pod (fsGroup; kubelet: volume_linux.go). Blocking. */
#pragma once
#include "base/err.h"
#include <sys/types.h>

/* All below `root`, itself included: the group, which reads and writes; folders keep it for what is made in them.
 * Other containers may be writing there: nothing is followed, no other file system is entered. unless_root: nothing
 * is done where the root itself is the group's already (OnRootMismatch). */
MUST_USE bool ownership_give(int root, gid_t group, bool unless_root, struct err *err);
