#include "sys/clock_watch.h"
#include "base/log.h"
#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* A timer for a day that does not come, and that the kernel cancels when the clock jumps. */
static bool watch_arm(struct clock_watch *w, struct err *err)
{
    struct itimerspec never = {.it_value = {.tv_sec = INT32_MAX * 4LL}};
    return timerfd_settime(w->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) == 0 ||
           err_errno(err, "watch the clock");
}

static void clock_jumped(struct poll *p, int ready UNUSED)
{
    struct clock_watch *w = container_of(p, struct clock_watch, poll);
    struct err err = ERR;
    uint64_t times;
    if (read(w->fd, &times, sizeof times) >= 0 || errno != ECANCELED)
        return;
    if (!watch_arm(w, &err))
        log_warn("clock.watch", "error=%s", err.text);
    w->fn(w);
}

bool clock_watch_start(struct clock_watch *w, struct loop *l, void (*fn)(struct clock_watch *w), struct err *err)
{
    *w = (struct clock_watch){.fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK), .fn = fn};
    if (w->fd < 0)
        return err_errno(err, "watch the clock");
    poll_init(&w->poll, l, w->fd, clock_jumped);
    if (watch_arm(w, err)) {
        poll_want(&w->poll, POLL_READ);
        return true;
    }
    clock_watch_stop(w);
    return false;
}

void clock_watch_stop(struct clock_watch *w)
{
    if (w->fd < 0)
        return;
    poll_stop(&w->poll);
    (void)close(w->fd); /* nothing was written */
    w->fd = -1;
}
