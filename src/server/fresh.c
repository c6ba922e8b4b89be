#include "server/fresh.h"
#include "server/limits.h"

struct fresh {
    struct list node; /* in server->fresh */
    struct request *r;
    struct timer timer;
    int64_t rev;
    void (*again)(struct request *r);
};

int64_t revision_published(struct server *s)
{
    pthread_mutex_lock(&s->published_lock);
    int64_t rev = s->published.objects.rev;
    pthread_mutex_unlock(&s->published_lock);
    return rev;
}

static void fresh_go(void *arg)
{
    struct fresh *f = arg;
    f->again(f->r);
}

static void fresh_over(struct fresh *f)
{
    list_del(&f->node);
    timer_stop(&f->timer);
    loop_post(f->r->loop, fresh_go, f);
}

static void timed_out(struct timer *t)
{
    fresh_over(container_of(t, struct fresh, timer));
}

bool fresh_wait(struct request *r, int64_t rev, void (*again)(struct request *r))
{
    if (r->waited || r->loop != r->server->loop)
        return false;
    r->waited = true;
    struct fresh *f = ARENA_NEW(&r->arena, struct fresh);
    *f = (struct fresh){.r = r, .rev = rev, .again = again};
    timer_init(&f->timer, r->loop, timed_out);
    timer_set(&f->timer, LIMIT_REVISION_WAIT_MS * NS_PER_MS);
    list_add_tail(&r->server->fresh, &f->node);
    return true;
}

void fresh_published(struct server *s)
{
    int64_t rev = revision_published(s);
    list_each (f, &s->fresh, struct fresh, node)
        if (f->rev <= rev)
            fresh_over(f);
}
