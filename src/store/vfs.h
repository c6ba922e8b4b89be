/* vfs.h - SQLite's disk: the file system of the host behind a place where each kind of call can be failed
 * (base/fault.h: store.open, store.read, store.write, store.sync, store.truncate, store.delete) and is counted. It
 * has no shared memory, so databases on it must be in locking_mode=EXCLUSIVE. Time and chance come from base/clock.h.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define VFS_NAME "wherry"
void vfs_register(void);  /* any thread, any number of times */
uint64_t vfs_syncs(void); /* so far, in this process */

/* For tests that cut the power: sees every change of a file after it was made, in the thread that makes it. */
enum vfs_change { VFS_WRITE, VFS_TRUNCATE, VFS_SYNC, VFS_DELETE };
struct vfs_observer {
    void (*fn)(void *arg, enum vfs_change what, const char *path, int64_t at, const void *p, size_t n);
    void *arg;
};
void vfs_observe(const struct vfs_observer *o); /* while nothing is open; borrowed; NULL ends it */
