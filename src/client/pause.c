#include "client/pause.h"
#include "base/clock.h"

#define FIRST NS_PER_MS
#define MOST  (5 * NS_PER_S)

static void pause_due(struct timer *t)
{
    struct pause *p = container_of(t, struct pause, timer);
    p->due(p);
}

void pause_begin(struct pause *p, struct loop *l, void (*due)(struct pause *p))
{
    timer_init(&p->timer, l, pause_due);
    p->due = due;
    p->length = p->length ? MIN(2 * p->length, MOST) : FIRST;
    timer_set(&p->timer, p->length);
}

void pause_end(struct pause *p)
{
    if (p->length)
        timer_stop(&p->timer);
}
