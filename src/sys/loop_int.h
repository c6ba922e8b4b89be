/* loop_int.h - what the two loops share: timers, posts, the count of what could still happen, the watchdog. */
#pragma once
#include "base/array.h"
#include "sys/loop.h"
#include "sys/pulse.h"
#include <pthread.h>

struct post {
    void (*fn)(void *arg);
    void *arg;
};
struct loop_ops {
    void (*free)(struct loop *l);
    void (*wait)(struct loop *l, int64_t until); /* until: mono ns, INT64_MAX for no end; <= now: do not wait */
    void (*wake)(struct loop *l);                /* any thread */
    void (*poll_want)(struct poll *p, int events);
    bool (*signal_start)(struct signal_source *s, int signo, struct err *err);
    void (*signal_stop)(struct signal_source *s);
    void (*job_start)(struct job *j);
    bool threads; /* jobs run in threads, those of a lane in its own */
};
struct loop {
    const struct loop_ops *ops;
    struct heap timers;
    int64_t now, cpu; /* cpu: of this thread when the last callback ended */
    uint64_t turn, order;
    bool tie_by_chance, stop;
    struct list soon;
    size_t active; /* polls watching, signals, jobs under way, holds */
    pthread_mutex_t lock;
    ARRAY(struct post) posted; /* under lock */
};

void loop_init(struct loop *l, const struct loop_ops *ops);
void loop_fini(struct loop *l);
#define loop_callback(fn) pulse_runs(__extension__(const void *)(fn)) /* before every callback */
void loop_callback_done(struct loop *l, const char *kind);            /* after it: how long did it hold the loop? */

/* pool.c - the threads that run jobs: started when there is work, ended when idle, the same for every loop. */
void pool_start(struct job *j);
/* Any thread but the loop's: the job's work is done, it goes home. */
void job_over(struct job *j);
/* Every signal is blocked in it, so that signals reach the loop's thread. `t` NULL: detached. An errno, 0: it runs.
 */
int thread_start(void *(*fn)(void *arg), void *arg, pthread_t *t);
/* A test's: the process gets no processor between asking libuv for a timer and waiting, until the timer is due. */
extern bool loop_is_late;
