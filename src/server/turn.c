#include "server/fail.h"
#include "server/int.h"
#include "server/limits.h"

struct turn {
    struct list waiters; /* of struct request.waiting */
};

void turn_take(struct request *r, struct str key, void (*step)(struct request *r))
{
    struct server *s = r->server;
    ASSERT(!r->lock_key.n);
    struct turn *t = map_get(&s->turns, key);
    r->step = step;
    if (!t) {
        t = NEW(struct turn);
        list_init(&t->waiters);
        map_put(&s->turns, key, t);
        r->lock_key = key;
        step(r);
        return;
    }
    if (s->writes_waiting >= LIMIT_WRITES_WAITING) {
        fail_too_many(r, 1, "%d writes are waiting for their turn; try again later", LIMIT_WRITES_WAITING);
        request_finish(r);
        return;
    }
    s->writes_waiting++;
    r->lock_key = key;
    list_add_tail(&t->waiters, &r->waiting);
}

static void next(void *arg)
{
    struct request *r = arg;
    r->step(r);
}

void turn_done(struct request *r)
{
    if (!r->lock_key.n)
        return;
    struct server *s = r->server;
    struct turn *t = map_get(&s->turns, r->lock_key);
    struct request *w = list_first(&t->waiters, struct request, waiting);
    if (w) {
        list_del(&w->waiting);
        s->writes_waiting--;
        loop_post(s->loop, next, w);
    } else {
        map_del(&s->turns, r->lock_key);
        mem_free(t);
    }
    r->lock_key = STR_NONE;
}
