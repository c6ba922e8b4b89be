/* Threads beside the pool. A lane: one thread, one queue; its loop hands jobs in under the lock, the thread takes
 * them in order. A job apart: one thread, one job. */
#include "sys/loop_int.h"
#include <errno.h>
#include <stdatomic.h>

struct lane {
    struct loop *loop;
    pthread_t thread; /* none where the loop has no threads */
    pthread_mutex_t lock;
    pthread_cond_t news;
    struct job *first, *last; /* under lock, linked by job.impl */
    bool over;                /* under lock */
};

static struct job *lane_take(struct lane *n) /* NULL: the lane is freed */
{
    (void)pthread_mutex_lock(&n->lock);
    while (!n->first && !n->over)
        (void)pthread_cond_wait(&n->news, &n->lock);
    struct job *j = n->first;
    if (j)
        n->first = j->impl;
    (void)pthread_mutex_unlock(&n->lock);
    return j;
}

static void *lane_run(void *arg)
{
    struct lane *n = arg;
    for (struct job *j; (j = lane_take(n));) {
        j->work(j);
        job_over(j);
    }
    return NULL;
}

static void lane_end(struct lane *n)
{
    (void)pthread_mutex_destroy(&n->lock);
    (void)pthread_cond_destroy(&n->news);
    mem_free(n);
}

struct lane *lane_new(struct loop *l, struct err *err)
{
    struct lane *n = NEW(struct lane);
    n->loop = l;
    (void)pthread_mutex_init(&n->lock, NULL);
    (void)pthread_cond_init(&n->news, NULL);
    int bad = l->ops->threads ? thread_start(lane_run, n, &n->thread) : 0;
    if (!bad)
        return n;
    lane_end(n);
    errno = bad;
    (void)err_errno(err, "start a thread");
    return NULL;
}

void lane_start(struct lane *n, struct job *j, void (*work)(struct job *j), void (*done)(struct job *j))
{
    if (!n->loop->ops->threads) {
        job_start(j, n->loop, work, done);
        return;
    }
    *j = (struct job){.loop = n->loop, .work = work, .done = done};
    loop_hold(n->loop);
    (void)pthread_mutex_lock(&n->lock);
    if (n->first)
        n->last->impl = j;
    else
        n->first = j;
    n->last = j;
    (void)pthread_cond_signal(&n->news);
    (void)pthread_mutex_unlock(&n->lock);
}

void lane_free(struct lane *n)
{
    if (!n)
        return;
    (void)pthread_mutex_lock(&n->lock);
    ASSERT(!n->first);
    n->over = true;
    (void)pthread_cond_signal(&n->news);
    (void)pthread_mutex_unlock(&n->lock);
    if (n->loop->ops->threads)
        (void)pthread_join(n->thread, NULL); /* at rest, or a few instructions from it */
    lane_end(n);
}

static atomic_int apart;

static void *run_apart(void *arg)
{
    struct job *j = arg;
    j->work(j);
    (void)atomic_fetch_sub(&apart, 1);
    job_over(j);
    return NULL;
}

bool job_start_apart(struct job *j, struct loop *l, void (*work)(struct job *j), void (*done)(struct job *j),
                     struct err *err)
{
    if (!l->ops->threads) {
        job_start(j, l, work, done);
        return true;
    }
    if (atomic_fetch_add(&apart, 1) >= APART_MOST) {
        (void)atomic_fetch_sub(&apart, 1);
        return err_set(err, E_UNAVAILABLE, "%d looks at file systems have not come back: one of them is dead",
                       APART_MOST);
    }
    *j = (struct job){.loop = l, .work = work, .done = done};
    loop_hold(l);
    int bad = thread_start(run_apart, j, NULL);
    if (!bad)
        return true;
    loop_release(l);
    (void)atomic_fetch_sub(&apart, 1);
    errno = bad;
    return err_errno(err, "start a thread");
}
