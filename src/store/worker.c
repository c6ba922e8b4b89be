#include "store/worker.h"
#include <pthread.h>

struct worker {
    struct lane *lane;
    struct job job;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    struct list queue, urgent; /* the loop's */
    bool was_urgent;           /* the last piece */
    struct work *current;      /* under lock: to be run by the job, running, or run */
    bool running;              /* under lock: the job is in current->run */
    bool ran;                  /* under lock: current->run has returned */
    bool active;               /* the job was started and is not home yet */
    bool draining, freed;
};

struct worker *worker_new(struct loop *l, struct err *err)
{
    struct lane *lane = lane_new(l, err);
    if (!lane)
        return NULL;
    struct worker *w = NEW(struct worker);
    w->lane = lane;
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->ended, NULL);
    list_init(&w->queue);
    list_init(&w->urgent);
    return w;
}

static void worker_run(struct job *j)
{
    struct worker *w = container_of(j, struct worker, job);
    (void)pthread_mutex_lock(&w->lock);
    if (w->current && !w->ran) {
        w->running = true;
        (void)pthread_mutex_unlock(&w->lock);
        w->current->run(w->current);
        (void)pthread_mutex_lock(&w->lock);
        w->running = false;
        w->ran = true;
        (void)pthread_cond_signal(&w->ended);
    }
    (void)pthread_mutex_unlock(&w->lock);
}

static void worker_next(struct worker *w);

static void worker_home(struct job *j)
{
    struct worker *w = container_of(j, struct worker, job);
    w->active = false;
    if (w->freed) {
        lane_free(w->lane);
        (void)pthread_mutex_destroy(&w->lock);
        (void)pthread_cond_destroy(&w->ended);
        mem_free(w);
        return;
    }
    struct work *work = w->current; /* NULL: drained meanwhile */
    w->current = NULL;
    w->ran = false;
    if (work)
        work->done(work);
    worker_next(w);
}

static struct work *worker_take(struct worker *w)
{
    bool urgent = !list_empty(&w->urgent) && !(w->was_urgent && !list_empty(&w->queue));
    struct work *work = list_first(urgent ? &w->urgent : &w->queue, struct work, node);
    if (work)
        list_del(&work->node);
    w->was_urgent = urgent;
    return work;
}

static void worker_next(struct worker *w)
{
    if (w->active || w->draining || (list_empty(&w->queue) && list_empty(&w->urgent)))
        return;
    w->current = worker_take(w);
    w->active = true;
    lane_start(w->lane, &w->job, worker_run, worker_home);
}

void worker_put(struct worker *w, struct work *work)
{
    list_add_tail(&w->queue, &work->node);
    worker_next(w);
}

void worker_put_urgent(struct worker *w, struct work *work)
{
    list_add_tail(&w->urgent, &work->node);
    worker_next(w);
}

void worker_drain(struct worker *w)
{
    (void)pthread_mutex_lock(&w->lock);
    while (w->running)
        (void)pthread_cond_wait(&w->ended, &w->lock);
    struct work *work = w->current;
    bool ran = w->ran;
    w->current = NULL;
    w->ran = false;
    (void)pthread_mutex_unlock(&w->lock);
    for (w->draining = true;; ran = false) {
        if (!work && !(work = worker_take(w)))
            break;
        if (!ran)
            work->run(work);
        struct work *over = TAKE(work);
        over->done(over);
    }
    w->draining = false;
}

void worker_free(struct worker *w)
{
    w->freed = true;
    if (!w->active)
        worker_home(&w->job);
}
