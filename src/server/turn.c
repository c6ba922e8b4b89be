#include "server/fail.h"
#include "server/limits.h"
#include "server/write.h"

/* One writer a key at a time, so that reading, changing and writing are one step. */
struct write_turn {
    struct list waiters; /* of struct write.queue */
};

enum write_next turn_take(struct write *w)
{
    struct server *s = w->r->server;
    if (w->has_turn)
        return WRITE_ON;
    struct write_turn *t = map_get(&s->turns, w->key);
    if (!t) {
        t = NEW(struct write_turn);
        list_init(&t->waiters);
        map_put(&s->turns, w->key, t);
        w->has_turn = true;
        return WRITE_ON;
    }
    if (s->writes_waiting >= LIMIT_WRITES_WAITING) {
        fail_too_many(w->r, 1, "%d writes are waiting for their turn; try again later", LIMIT_WRITES_WAITING);
        return WRITE_OVER;
    }
    s->writes_waiting++;
    list_add_tail(&t->waiters, &w->queue);
    return WRITE_LATER;
}

static void turn_next(void *arg)
{
    write_turn_came(arg);
}

void turn_done(struct write *w)
{
    if (!w->has_turn)
        return;
    w->has_turn = false;
    struct server *s = w->r->server;
    struct write_turn *t = map_get(&s->turns, w->key);
    struct write *following = list_first(&t->waiters, struct write, queue);
    if (following) {
        list_del(&following->queue);
        s->writes_waiting--;
        following->has_turn = true;
        loop_post(s->loop, turn_next, following);
    } else {
        map_del(&s->turns, w->key);
        mem_free(t);
    }
}
