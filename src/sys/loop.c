#include "base/log.h"
#include "sys/loop_int.h"

#ifdef WHERRY_SANITIZED
#define CALLBACK_CPU_MOST (500 * NS_PER_MS)
#else
#define CALLBACK_CPU_MOST (50 * NS_PER_MS)
#endif

static bool timer_less(const struct heap_node *a, const struct heap_node *b)
{
    const struct timer *x = container_of(a, struct timer, node), *y = container_of(b, struct timer, node);
    return x->at != y->at ? x->at < y->at : x->order < y->order;
}

void loop_init(struct loop *l, const struct loop_ops *ops)
{
    l->ops = ops;
    l->timers.less = timer_less;
    list_init(&l->soon);
    (void)pthread_mutex_init(&l->lock, NULL);
    l->now = clock_mono();
}

void loop_fini(struct loop *l)
{
    heap_fini(&l->timers);
    array_fini(&l->posted);
    (void)pthread_mutex_destroy(&l->lock);
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    ASSERT(!heap_top(&l->timers));
    ASSERT(l->active == 0);
    ASSERT(list_empty(&l->soon));
    l->ops->free(l);
}

void loop_callback_done(struct loop *l, const char *kind)
{
    int64_t cpu = clock_thread_cpu(), used = cpu - l->cpu;
    l->cpu = cpu;
    if (used <= CALLBACK_CPU_MOST)
        return;
    AUTO(strbuf_fini) struct strbuf what = STRBUF(STRBUF_TEXT);
    pulse_words(&what);
    log_warn("loop.held", "by=%s ms=%lld " STR_FMT, kind, (long long)(used / NS_PER_MS), STR_ARG(strbuf_str(&what)));
#ifndef WHERRY_RELEASE
    ASSERT(!"a callback held the loop for too long");
#endif
}

static void run_timers(struct loop *l)
{
    for (struct heap_node *top; !l->stop && (top = heap_top(&l->timers));) {
        struct timer *t = container_of(top, struct timer, node);
        if (t->at > l->now || t->turn == l->turn)
            return;
        heap_del(&l->timers, top);
        loop_callback(t->fn);
        t->fn(t);
        loop_callback_done(l, "timer");
    }
}

static size_t posts_waiting(struct loop *l)
{
    (void)pthread_mutex_lock(&l->lock);
    size_t n = l->posted.n;
    (void)pthread_mutex_unlock(&l->lock);
    return n;
}

/* As many as a turn has time for: who posts thousands keeps no descriptor waiting. The others stay in front. */
static void run_posts(struct loop *l)
{
    (void)pthread_mutex_lock(&l->lock);
    __typeof__(l->posted) batch = l->posted;
    l->posted = (__typeof__(l->posted)){0};
    (void)pthread_mutex_unlock(&l->lock);
    size_t n = 0;
    while (n < batch.n && (n == 0 || !loop_turn_spent(l))) {
        struct post *p = &batch.p[n++];
        loop_callback(p->fn);
        p->fn(p->arg);
        loop_callback_done(l, "post");
    }
    if (n < batch.n) {
        (void)pthread_mutex_lock(&l->lock);
        memmove(batch.p, batch.p + n, (batch.n - n) * sizeof *batch.p);
        batch.n -= n;
        array_each (p, &l->posted)
            array_push(&batch, *p);
        array_fini(&l->posted);
        l->posted = batch;
        (void)pthread_mutex_unlock(&l->lock);
        return;
    }
    array_fini(&batch);
}

/* What sets itself again waits for the next turn. */
static void run_soon(struct loop *l)
{
    struct list turn;
    list_init(&turn);
    if (!list_empty(&l->soon)) {
        list_add(&l->soon, &turn); /* the head stands in for l->soon ... */
        list_del(&l->soon);        /* ... whose elements now hang on `turn` */
    }
    while (!list_empty(&turn)) {
        struct soon *s = list_first(&turn, struct soon, node);
        list_del(&s->node);
        loop_callback(s->fn);
        s->fn(s);
        loop_callback_done(l, "soon");
    }
}

static bool something_left(struct loop *l)
{
    return !list_empty(&l->soon) || heap_top(&l->timers) || l->active || posts_waiting(l);
}

static int64_t next_due(struct loop *l, int64_t wait_ns)
{
    int64_t until = wait_ns < 0 || wait_ns > INT64_MAX - l->now ? INT64_MAX : l->now + wait_ns;
    struct heap_node *top = heap_top(&l->timers);
    if (top)
        until = MIN(until, container_of(top, struct timer, node)->at);
    return posts_waiting(l) || !list_empty(&l->soon) ? l->now : until;
}

bool loop_run_once(struct loop *l, int64_t wait_ns)
{
    l->turn++;
    l->cpu = clock_thread_cpu();
    int64_t due = next_due(l, something_left(l) ? wait_ns : 0);
    pulse_rest(due);
    l->ops->wait(l, due);
    l->now = clock_mono();
    run_timers(l);
    run_posts(l);
    run_soon(l);
    return something_left(l);
}

void loop_run(struct loop *l)
{
    for (l->stop = false; !l->stop && something_left(l);)
        (void)loop_run_once(l, -1);
}

void loop_stop(struct loop *l)
{
    l->stop = true;
}

int64_t loop_now(const struct loop *l)
{
    return l->now;
}

bool loop_turn_spent(const struct loop *l)
{
    return clock_mono() - l->now > LOOP_TURN;
}

void loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
    (void)pthread_mutex_lock(&l->lock);
    bool first = l->posted.n == 0;
    array_push(&l->posted, ((struct post){fn, arg}));
    (void)pthread_mutex_unlock(&l->lock);
    if (first)
        l->ops->wake(l);
}

void soon_init(struct soon *s, struct loop *l, void (*fn)(struct soon *s))
{
    *s = (struct soon){.loop = l, .fn = fn};
    list_init(&s->node);
}

void soon_set(struct soon *s)
{
    if (list_empty(&s->node))
        list_add_tail(&s->loop->soon, &s->node);
}

void soon_stop(struct soon *s)
{
    if (s->loop)
        list_del(&s->node);
}

void loop_hold(struct loop *l)
{
    l->active++;
}

void loop_release(struct loop *l)
{
    ASSERT(l->active > 0);
    l->active--;
}

void timer_init(struct timer *t, struct loop *l, void (*fn)(struct timer *t))
{
    *t = (struct timer){.loop = l, .fn = fn};
}

void timer_set(struct timer *t, int64_t delay_ns)
{
    struct loop *l = t->loop;
    int64_t now = clock_mono();
    t->at = delay_ns <= 0 ? l->now : delay_ns > INT64_MAX - now ? INT64_MAX : now + delay_ns;
    t->turn = l->turn;
    t->order = ++l->order;
    if (l->tie_by_chance)
        random_bytes(&t->order, sizeof t->order);
    if (t->node.at)
        heap_moved(&l->timers, &t->node);
    else
        heap_add(&l->timers, &t->node);
}

void timer_stop(struct timer *t)
{
    if (t->node.at)
        heap_del(&t->loop->timers, &t->node);
}

bool timer_is_set(const struct timer *t)
{
    return t->node.at != 0;
}

void poll_init(struct poll *p, struct loop *l, int fd, void (*fn)(struct poll *p, int ready))
{
    *p = (struct poll){.loop = l, .fd = fd, .fn = fn};
}

void poll_want(struct poll *p, int events)
{
    if (p->want == events)
        return;
    if ((p->want == 0) != (events == 0))
        p->loop->active += events ? 1 : (size_t)-1;
    p->want = events;
    p->loop->ops->poll_want(p, events);
}

void poll_stop(struct poll *p)
{
    if (p->loop)
        poll_want(p, 0);
}

bool signal_start(struct signal_source *s, struct loop *l, int signo, void (*fn)(struct signal_source *s, int signo),
                  struct err *err)
{
    *s = (struct signal_source){.loop = l, .fn = fn};
    if (!l->ops->signal_start(s, signo, err))
        return false;
    l->active++;
    return true;
}

void signal_stop(struct signal_source *s)
{
    if (!s->impl)
        return;
    s->loop->ops->signal_stop(s);
    s->impl = NULL;
    s->loop->active--;
}

void job_start(struct job *j, struct loop *l, void (*work)(struct job *j), void (*done)(struct job *j))
{
    *j = (struct job){.loop = l, .work = work, .done = done};
    l->active++;
    l->ops->job_start(j);
}
