/* slow.h - what waits for watchers that do not read has a bound over all of them, besides that of each: above it
 * those go for whom most waits, until a quarter is free. They list again. One loop's. */
#pragma once
#include "base/list.h"
#include "sys/loop.h"

struct slow;
/* Embedded in its owner. */
struct slow_watch {
    size_t (*queued)(const struct slow_watch *w); /* bytes that its client has not taken yet */
    void (*cut)(struct slow_watch *w);            /* ends it, slow_del included; from the loop, never inside a call */
    struct list node;
};
struct slow {
    struct list watches;
    size_t most, waiting; /* waiting: at most so much; what was taken since the last look is in it */
    uint64_t ncut;
    struct soon look;
};
void slow_init(struct slow *s, struct loop *l, size_t most);
void slow_fini(struct slow *s); /* no look comes any more */
void slow_add(struct slow *s, struct slow_watch *w);
void slow_del(struct slow_watch *w);
void slow_sent(struct slow *s, size_t bytes); /* to one of them */
