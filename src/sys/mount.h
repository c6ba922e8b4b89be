/* mount.h - mounts by the new mount interface (fsopen, fsconfig, move_mount), whose errors have words. Blocking, for
 * jobs; needs CAP_SYS_ADMIN. */
#pragma once
#include "base/err.h"

enum { MOUNT_RO = 1, MOUNT_NOSUID = 2, MOUNT_NODEV = 4, MOUNT_NOEXEC = 8, MOUNT_NOATIME = 16 };
MUST_USE bool mount_tmpfs(const char *to, uint64_t size, unsigned mode, int flags,
                          struct err *err);                  /* size 0: half of memory */
MUST_USE bool mount_remove(const char *at, struct err *err); /* the top one, lazily (MNT_DETACH); none is fine */
bool mount_is_point(const char *at);
/* A file system of a type from a device or a server. options: "key" or "key=value" for the file system itself, up to
 * a NULL. */
MUST_USE bool mount_fs(const char *type, const char *source, const char *const *options, int flags, const char *to,
                       struct err *err);
/* What the descriptor is, with what is mounted below it where deep says so. */
MUST_USE bool mount_bind(int fd, bool deep, int flags, const char *to, struct err *err);
/* A file system that is mounted nowhere, to be reached by the descriptor alone; -1. */
int mount_detached(const char *type, const char *source, struct err *err);
/* Whether the mount that `fd` lies on passes on what is mounted in it (is a peer of others, or may get some). */
bool mount_is_shared(int fd);
/* Calls fn in another mount namespace, without a umask, and comes back. Only from a job: the thread has its own root
 * and working folder from then on. */
MUST_USE bool mount_elsewhere(int mntns, bool (*fn)(void *arg, struct err *err), void *arg, struct err *err);
