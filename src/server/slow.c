#include "server/slow.h"
#include "base/array.h"

struct slow_waiting {
    struct slow_watch *watch;
    size_t bytes;
};

static int most_first(const void *pa, const void *pb)
{
    const struct slow_waiting *a = pa, *b = pb;
    return (a->bytes < b->bytes) - (a->bytes > b->bytes);
}

/* A walk over all: made once for what is sent between the bound and what really waits, so it is seldom. */
static void slow_look(struct soon *soon)
{
    struct slow *s = container_of(soon, struct slow, look);
    ARRAY(struct slow_waiting) all = {0};
    s->waiting = 0;
    list_each (w, &s->watches, struct slow_watch, node) {
        size_t bytes = w->queued(w);
        s->waiting += bytes;
        if (bytes)
            array_push(&all, ((struct slow_waiting){w, bytes}));
    }
    if (s->waiting > s->most) {
        qsort(all.p, all.n, sizeof *all.p, most_first);
        for (size_t i = 0; i < all.n && s->waiting > s->most / 4 * 3; i++) {
            s->waiting -= all.p[i].bytes;
            s->ncut++;
            all.p[i].watch->cut(all.p[i].watch);
        }
    }
    array_fini(&all);
}

void slow_init(struct slow *s, struct loop *l, size_t most)
{
    *s = (struct slow){.most = most};
    list_init(&s->watches);
    soon_init(&s->look, l, slow_look);
}

void slow_fini(struct slow *s)
{
    soon_stop(&s->look);
}

void slow_add(struct slow *s, struct slow_watch *w)
{
    list_add_tail(&s->watches, &w->node);
}

void slow_del(struct slow_watch *w)
{
    list_del(&w->node);
}

void slow_sent(struct slow *s, size_t bytes)
{
    s->waiting += bytes;
    if (s->waiting > s->most)
        soon_set(&s->look);
}
