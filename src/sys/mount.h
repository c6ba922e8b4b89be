/* mount.h - mounts by the new mount interface (fsopen, fsconfig, move_mount), whose errors have words. Blocking, for
 * jobs; needs CAP_SYS_ADMIN. */
#pragma once
#include "base/err.h"

enum { MOUNT_RO = 1, MOUNT_NOSUID = 2, MOUNT_NODEV = 4, MOUNT_NOEXEC = 8 };
MUST_USE bool mount_tmpfs(const char *to, uint64_t size, unsigned mode, int flags,
                          struct err *err);                  /* size 0: half of memory */
MUST_USE bool mount_remove(const char *at, struct err *err); /* the top one, lazily (MNT_DETACH); none is fine */
bool mount_is_point(const char *at);
/* Whether the mount that `fd` lies on passes on what is mounted in it (is a peer of others, or may get some). */
bool mount_is_shared(int fd);
/* Calls fn in another mount namespace, without a umask, and comes back. Only from a job: the thread has its own root
 * and working folder from then on. */
MUST_USE bool mount_elsewhere(int mntns, bool (*fn)(void *arg, struct err *err), void *arg, struct err *err);
