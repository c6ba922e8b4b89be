#include "sys/inotify.h"
#include <errno.h>
#include <sys/inotify.h>

static void inotify_ready(struct poll *p, UNUSED int events)
{
    struct inotify *i = container_of(p, struct inotify, poll);
    char room[4096] __attribute__((aligned(8)));
    ssize_t n = read(i->fd, room, sizeof room);
    for (char *at = room; at < room + MAX(n, 0) && i->fd >= 0;) {
        struct inotify_event *e = (struct inotify_event *)(void *)at;
        i->fn(i, e->wd, e->mask, e->len ? str_of(e->name) : S("")); /* may stop it */
        at += sizeof *e + e->len;
    }
}

bool inotify_start(struct inotify *i, struct loop *l,
                   void (*fn)(struct inotify *i, int watch, uint32_t mask, struct str name), struct err *err)
{
    *i = (struct inotify){.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), .fn = fn};
    if (i->fd < 0)
        return err_errno(err, "watch files (inotify; fs.inotify.max_user_instances may be too low)");
    poll_init(&i->poll, l, i->fd, inotify_ready);
    poll_want(&i->poll, POLL_READ);
    return true;
}

int inotify_add(struct inotify *i, const char *path, uint32_t mask, struct err *err)
{
    int watch = inotify_add_watch(i->fd, path, mask);
    if (watch < 0)
        (void)err_errno(err, "watch %s", path);
    return watch;
}

void inotify_del(struct inotify *i, int watch)
{
    (void)inotify_rm_watch(i->fd, watch);
}

void inotify_stop(struct inotify *i)
{
    if (!i->poll.loop || i->fd < 0)
        return;
    poll_stop(&i->poll);
    fd_close(i->fd);
    i->fd = -1;
}
