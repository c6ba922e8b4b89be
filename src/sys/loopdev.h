/* loopdev.h - files as block devices. A file has one loop device, however many ask for it: two would write over each
 * other. Blocking, for jobs; needs CAP_SYS_ADMIN. */
#pragma once
#include "base/err.h"
#include <sys/types.h>

struct loopdev {
    int fd;        /* the device; held while it is to stay, until it is mounted */
    char path[32]; /* "/dev/loop7" */
};
/* Finds the file's device or makes it. autoclear: it goes with its last user, a mount; else by loopdev_release.
 * E_UNAVAILABLE: none is to be had. Callers of the same file hold a lock (flock) on it
 * meanwhile, by another descriptor: this one is kept by the device. */
MUST_USE bool loopdev_attach(int file, bool autoclear, struct loopdev *out, struct err *err);
void loopdev_close(struct loopdev *d);
AUTO_VALUE(loopdev_close, struct loopdev);
/* The file's device: false with err untouched where it has none. */
bool loopdev_find(int file, struct loopdev *out);
/* Lets go of the file once nobody has the device open any more. */
MUST_USE bool loopdev_release(int device, struct err *err);
/* The file has another size: the device, too. */
MUST_USE bool loopdev_resize(int device, struct err *err);
/* Calls fn for each device whose file's path begins with `below`. */
void loopdev_each(struct str below, void (*fn)(void *arg, const char *path, struct str file), void *arg);
