/* vfs.h - SQLite's disk: the file system of the host behind a place where each kind of call can be failed
 * (base/fault.h: store.open, store.read, store.write, store.sync, store.truncate, store.delete) and is counted. It
 * has no shared memory, so databases on it must be in locking_mode=EXCLUSIVE. Time and chance come from base/clock.h.
 */
#pragma once
#include <stdint.h>

#define VFS_NAME "wherry"
void vfs_register(void);  /* any thread, any number of times */
uint64_t vfs_syncs(void); /* so far, in this process */
