#include "store/vfs.h"
#include "base/clock.h"
#include "base/fault.h"
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

struct file {
    sqlite3_file base; /* first */
    sqlite3_file *real;
    const char *path; /* SQLite's, until it is closed */
};
static sqlite3_vfs *host;
static atomic_uint_fast64_t syncs;
static const struct vfs_observer *observer;

static int change_observed(int rc, enum vfs_change what, const char *path, int64_t at, const void *p, size_t n)
{
    if (observer && rc == SQLITE_OK)
        observer->fn(observer->arg, what, path, at, p, n);
    return rc;
}

void vfs_observe(const struct vfs_observer *o)
{
    observer = o;
}

static sqlite3_file *file_real(sqlite3_file *f)
{
    return ((struct file *)(void *)f)->real;
}

static const char *path_of(sqlite3_file *f)
{
    return ((struct file *)(void *)f)->path;
}

static int file_close(sqlite3_file *f)
{
    return file_real(f)->pMethods->xClose(file_real(f));
}
static int file_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    return fault("store.read", EIO) ? SQLITE_IOERR_READ : file_real(f)->pMethods->xRead(file_real(f), p, n, at);
}
static int file_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    int rc = fault("store.write", ENOSPC) ? SQLITE_FULL : file_real(f)->pMethods->xWrite(file_real(f), p, n, at);
    return change_observed(rc, VFS_WRITE, path_of(f), at, p, (size_t)n);
}
static int file_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    int rc = fault("store.truncate", EIO) ? SQLITE_IOERR_TRUNCATE
                                          : file_real(f)->pMethods->xTruncate(file_real(f), n);
    return change_observed(rc, VFS_TRUNCATE, path_of(f), n, NULL, 0);
}
static int file_sync(sqlite3_file *f, int flags)
{
    atomic_fetch_add_explicit(&syncs, 1, memory_order_relaxed);
    int rc = fault("store.sync", EIO) ? SQLITE_IOERR_FSYNC : file_real(f)->pMethods->xSync(file_real(f), flags);
    return change_observed(rc, VFS_SYNC, path_of(f), 0, NULL, 0);
}
static int file_size(sqlite3_file *f, sqlite3_int64 *n)
{
    return file_real(f)->pMethods->xFileSize(file_real(f), n);
}
static int file_lock(sqlite3_file *f, int level)
{
    return file_real(f)->pMethods->xLock(file_real(f), level);
}
static int file_unlock(sqlite3_file *f, int level)
{
    return file_real(f)->pMethods->xUnlock(file_real(f), level);
}
static int file_reserved(sqlite3_file *f, int *out)
{
    return file_real(f)->pMethods->xCheckReservedLock(file_real(f), out);
}
static int file_control(sqlite3_file *f, int op, void *arg)
{
    return file_real(f)->pMethods->xFileControl(file_real(f), op, arg);
}
static int file_sector(sqlite3_file *f)
{
    return file_real(f)->pMethods->xSectorSize(file_real(f));
}
static int file_device(sqlite3_file *f)
{
    return file_real(f)->pMethods->xDeviceCharacteristics(file_real(f));
}

/* Version 1: no shared memory, no mmap. */
static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_device,
};

static int vfs_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
    (void)v;
    struct file *ours = (struct file *)(void *)f;
    ours->base.pMethods = NULL;
    ours->path = name;
    ours->real = (sqlite3_file *)(void *)(ours + 1);
    if (fault("store.open", EIO))
        return SQLITE_CANTOPEN;
    int rc = host->xOpen(host, name, ours->real, flags, out);
    if (ours->real->pMethods)
        ours->base.pMethods = &methods;
    return rc;
}
static int vfs_delete(sqlite3_vfs *v, const char *name, int sync_dir)
{
    (void)v;
    int rc = fault("store.delete", EIO) ? SQLITE_IOERR_DELETE : host->xDelete(host, name, sync_dir);
    return change_observed(rc, VFS_DELETE, name, 0, NULL, 0);
}
static int vfs_access(sqlite3_vfs *v, const char *name, int flags, int *out)
{
    (void)v;
    return host->xAccess(host, name, flags, out);
}
static int vfs_full_path(sqlite3_vfs *v, const char *name, int n, char *out)
{
    (void)v;
    return host->xFullPathname(host, name, n, out);
}
static int vfs_random(sqlite3_vfs *v, int n, char *out)
{
    (void)v;
    random_bytes(out, (size_t)n);
    return n;
}
static int vfs_sleep(sqlite3_vfs *v, int micro)
{
    (void)v;
    return host->xSleep(host, micro);
}
static int vfs_last_error(sqlite3_vfs *v, int n, char *out)
{
    (void)v;
    return host->xGetLastError(host, n, out);
}
static int vfs_time(sqlite3_vfs *v, sqlite3_int64 *out) /* milliseconds since noon, 24 November 4714 BC */
{
    (void)v;
    *out = clock_real() / NS_PER_MS + 210866760000000LL;
    return SQLITE_OK;
}

static void register_once(void)
{
    static sqlite3_vfs vfs = {
        .iVersion = 2,
        .zName = VFS_NAME,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = vfs_random,
        .xSleep = vfs_sleep,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_time,
    };
    host = sqlite3_vfs_find(NULL);
    vfs.szOsFile = (int)sizeof(struct file) + host->szOsFile;
    vfs.mxPathname = host->mxPathname;
    ASSERT(sqlite3_vfs_register(&vfs, 0) == SQLITE_OK);
}

void vfs_register(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, register_once);
}

uint64_t vfs_syncs(void)
{
    return atomic_load_explicit(&syncs, memory_order_relaxed);
}
