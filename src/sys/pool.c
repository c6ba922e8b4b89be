/* The pool: up to POOL_MOST threads a process, made when a job finds none idle, ended after IDLE_S without one, so
 * that a role at rest keeps no stacks. Jobs run in the order they were started. */
#include "base/log.h"
#include "sys/loop_int.h"
#include <errno.h>
#include <signal.h>
#include <time.h>

#define POOL_MOST  8
#define IDLE_S     10
#define STACK_SIZE (1 << 20)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work_came = PTHREAD_COND_INITIALIZER;
static struct job *first, *last; /* linked by job.impl */
static int threads, idle;
static uint64_t begun;
static uint32_t queued;

static void job_home(void *arg)
{
    struct job *j = arg;
    j->loop->active--;
    j->done(j);
}

void job_over(struct job *j)
{
    loop_post(j->loop, job_home, j);
}

static struct job *job_take(void) /* NULL: nothing came for IDLE_S; the thread is no longer counted */
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += IDLE_S;
    (void)pthread_mutex_lock(&lock);
    idle++;
    for (int rc = 0; !first && rc != ETIMEDOUT;)
        rc = pthread_cond_timedwait(&work_came, &lock, &until);
    idle--;
    struct job *j = first;
    if (j) {
        first = j->impl;
        j->impl = NULL;
        pulse_jobs(++begun, --queued);
    } else {
        threads--;
    }
    (void)pthread_mutex_unlock(&lock);
    return j;
}

static void *thread_run(UNUSED void *arg)
{
    for (struct job *j; (j = job_take());) {
        j->work(j);
        job_over(j);
    }
    return NULL;
}

int thread_start(void *(*fn)(void *arg), void *arg, pthread_t *t)
{
    pthread_attr_t attr;
    sigset_t all, old;
    pthread_t own;
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setdetachstate(&attr, t ? PTHREAD_CREATE_JOINABLE : PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attr, STACK_SIZE);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int bad = pthread_create(t ? t : &own, &attr, fn, arg);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    (void)pthread_attr_destroy(&attr);
    if (bad)
        log_warn("pool.thread", "error=%s", strerror(bad));
    return bad;
}

void pool_start(struct job *j)
{
    (void)pthread_mutex_lock(&lock);
    j->impl = NULL;
    if (first)
        last->impl = j;
    else
        first = j;
    last = j;
    pulse_jobs(begun, ++queued);
    bool more = queued > (uint32_t)idle && threads < POOL_MOST;
    threads += more;
    (void)pthread_cond_signal(&work_came);
    (void)pthread_mutex_unlock(&lock);
    if (more && thread_start(thread_run, NULL, NULL) != 0) {
        (void)pthread_mutex_lock(&lock);
        threads--;
        bool none = threads == 0;
        (void)pthread_mutex_unlock(&lock);
        ASSERT(!none); /* nobody would ever run it */
    }
}
