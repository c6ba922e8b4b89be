/* clock_watch.h - says when the machine's clock was set, or when the machine was suspended and goes on: what waits
 * for a time of the day waits by a clock that counts alone. The kernel tells; nothing is polled. Belongs to one loop.
 */
#pragma once
#include "sys/loop.h"

struct clock_watch {
    struct poll poll;
    int fd; /* -1: not watching */
    void (*fn)(struct clock_watch *w);
};
MUST_USE bool clock_watch_start(struct clock_watch *w, struct loop *l, void (*fn)(struct clock_watch *w),
                                struct err *err);
void clock_watch_stop(struct clock_watch *w);
