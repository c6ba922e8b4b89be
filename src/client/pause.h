/* pause.h - the wait before something is asked again: longer from one time to the next. Embedded in its owner, of one
 * loop; `due` is called from it. */
#pragma once
#include "sys/loop.h"

struct pause {
    struct timer timer;
    int64_t length; /* of the last one; 0: none yet */
    void (*due)(struct pause *p);
};
void pause_begin(struct pause *p, struct loop *l, void (*due)(struct pause *p));
void pause_end(struct pause *p); /* none: nothing happens */
