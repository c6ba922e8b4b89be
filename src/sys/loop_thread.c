#include "sys/loop_thread.h"
#include "sys/pulse.h"
#include <pthread.h>
#include <signal.h>
#include <time.h>

#define STACK_SIZE (1 << 20)

struct loop_thread {
    struct loop *loop;
    pthread_t thread;
    bool runs;
};

static void *thread_run(void *arg)
{
    struct loop_thread *t = arg;
    pulse_join_second();
    loop_run(t->loop);
    return NULL;
}

struct loop_thread *loop_thread_new(struct err *err)
{
    struct loop *l = loop_new(err);
    if (!l)
        return NULL;
    struct loop_thread *t = NEW(struct loop_thread);
    t->loop = l;
    return t;
}

bool loop_thread_start(struct loop_thread *t, void (*begin)(void *arg), void *arg, struct err *err)
{
    pthread_attr_t attr;
    sigset_t all, old;
    loop_hold(t->loop); /* what is posted to it comes from other threads */
    if (begin)
        loop_post(t->loop, begin, arg);
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK_SIZE);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int bad = pthread_create(&t->thread, &attr, thread_run, t);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    (void)pthread_attr_destroy(&attr);
    t->runs = !bad;
    if (bad)
        loop_release(t->loop);
    return !bad || err_set(err, E_UNAVAILABLE, "start a thread: %s", strerror(bad));
}

struct loop *loop_thread_loop(struct loop_thread *t)
{
    return t->loop;
}

static void thread_last(void *arg)
{
    struct loop_thread *t = arg;
    loop_release(t->loop);
    loop_stop(t->loop);
}

bool loop_thread_stop(struct loop_thread *t, int64_t wait_ns)
{
    struct timespec until;
    loop_post(t->loop, thread_last, t);
    (void)clock_gettime(CLOCK_REALTIME, &until);
    int64_t at = until.tv_sec * NS_PER_S + until.tv_nsec + wait_ns;
    until = (struct timespec){.tv_sec = at / NS_PER_S, .tv_nsec = at % NS_PER_S};
    t->runs = pthread_timedjoin_np(t->thread, NULL, &until) != 0;
    return !t->runs;
}

void loop_thread_free(struct loop_thread *t)
{
    if (!t)
        return;
    ASSERT(!t->runs);
    loop_free(t->loop);
    mem_free(t);
}
