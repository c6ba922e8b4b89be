/* inotify.h - changes of files, told in the loop. */
#pragma once
#include "sys/loop.h"

struct inotify {
    struct poll poll;
    int fd;
    /* mask: IN_* of inotify(7); name: within a watched folder, else empty; IN_Q_OVERFLOW comes with watch -1 */
    void (*fn)(struct inotify *i, int watch, uint32_t mask, struct str name);
};
MUST_USE bool inotify_start(struct inotify *i, struct loop *l,
                            void (*fn)(struct inotify *i, int watch, uint32_t mask, struct str name),
                            struct err *err);
MUST_USE int inotify_add(struct inotify *i, const char *path, uint32_t mask, struct err *err); /* watch, or -1 */
void inotify_del(struct inotify *i, int watch);
void inotify_stop(struct inotify *i);
