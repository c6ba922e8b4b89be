/* loop.h - the event loop. One loop belongs to one thread and owns all mutable state of that thread.
 *
 * A source (timer, poll, job) lives embedded in its owner; a callback may remove any source, its own included; no
 * function here calls a callback from inside your call; nothing may block. Only loop_post may be called from
 * another thread. Two implementations stand behind this header: libuv, and a simulated clock with a seed
 * (loop_new_simulated); loop_test.c is the contract of both.
 *
 * A callback that uses more than 50 ms of the thread's CPU (500 ms under sanitizers) aborts in debug builds and is
 * logged as a warning in release. */
#pragma once
#include "base/clock.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/list.h"

struct loop;

struct loop *loop_new(struct err *err) MUST_USE;
/* Installs its clock and randomness (clock.h) until it is freed. Time stands still while callbacks run and jumps to
 * the next timer; jobs run in the loop's thread, in a later turn; polls do not exist here. What falls on the same
 * instant runs in the order it was set with seed 0, else in an order that the seed chooses. */
struct loop *loop_new_simulated(uint64_t seed);
/* Its process sleeps between two turns: stopped by itself, or (suspended) with the machine, which only the real clock
 * tells. */
void loop_simulate_sleep(struct loop *l, int64_t ns, bool suspended);
/* Every source must be gone and every job done; what is posted and has not run is dropped. NULL is fine. */
void loop_free(struct loop *l);
AUTO_POINTER(loop_free, struct loop);
/* Runs until loop_stop, or until nothing is left that could happen. */
void loop_run(struct loop *l);
/* One turn: runs what is due, and where nothing is, waits for it at most wait_ns (0: does not wait; < 0: without
 * end). True while something is left that could happen. */
bool loop_run_once(struct loop *l, int64_t wait_ns);
void loop_stop(struct loop *l);
int64_t loop_now(const struct loop *l); /* clock_mono() at the start of this turn, ns */
/* This turn has lasted as long as one may (LOOP_TURN): whoever has much to do leaves the rest to the next one. Each
 * does one thing at least, or nobody would come on. */
bool loop_turn_spent(const struct loop *l);
#define LOOP_TURN (5 * NS_PER_MS)
/* Any thread: fn(arg) runs in the loop's thread, in order of posting. From the loop's own thread: after this turn's
 * callbacks. The loop stays alive for what was posted. */
void loop_post(struct loop *l, void (*fn)(void *arg), void *arg);
/* The same for the loop's own thread, embedded and revocable: runs once, after this turn's callbacks. Set while set:
 * nothing changes. */
struct soon {
    struct list node;
    struct loop *loop;
    void (*fn)(struct soon *s);
};
void soon_init(struct soon *s, struct loop *l, void (*fn)(struct soon *s));
void soon_set(struct soon *s);
void soon_stop(struct soon *s);
/* Something may still be posted from another thread: loop_run goes on until as many releases. */
void loop_hold(struct loop *l);
void loop_release(struct loop *l);

/* One-shot timer; set again in the callback to repeat. */
struct timer {
    struct heap_node node;
    struct loop *loop;
    int64_t at; /* clock_mono ns; meaningful while set */
    uint64_t order, turn;
    void (*fn)(struct timer *t);
};
void timer_init(struct timer *t, struct loop *l, void (*fn)(struct timer *t));
void timer_set(struct timer *t, int64_t delay_ns); /* from now; replaces an earlier setting; <= 0: next turn */
void timer_stop(struct timer *t);                  /* not set: nothing happens */
bool timer_is_set(const struct timer *t);

/* Readiness of a descriptor, which stays the owner's; level-triggered. One poll a descriptor. What cannot be polled
 * (a regular file) is always ready. */
enum { POLL_READ = 1, POLL_WRITE = 2, POLL_HANGUP = 4, POLL_URGENT = 8 /* POLLPRI: PSI, events of the kernel */ };
struct poll {
    struct loop *loop;
    void *impl; /* the implementation's; NULL when not watching */
    int fd;
    int want;
    void (*fn)(struct poll *p, int ready); /* ready: a set of POLL_*; errors show as READ|WRITE */
};
void poll_init(struct poll *p, struct loop *l, int fd, void (*fn)(struct poll *p, int ready));
void poll_want(struct poll *p, int events); /* 0 stops */
void poll_stop(struct poll *p);             /* before the descriptor is closed */

/* Signals of the process: fn runs in the loop. One handler a signal. */
struct signal_source {
    struct loop *loop;
    void *impl;
    void (*fn)(struct signal_source *s, int signo);
};
MUST_USE bool signal_start(struct signal_source *s, struct loop *l, int signo,
                           void (*fn)(struct signal_source *s, int signo), struct err *err);
void signal_stop(struct signal_source *s);

/* Blocking work off the loop. `work` runs in a pool thread and may touch only the job; `done` runs later in the
 * loop's thread. A job cannot be taken back: an owner that goes away first marks it and lets `done` free it. */
struct job {
    struct loop *loop;
    void (*work)(struct job *j);
    void (*done)(struct job *j);
    void *impl;
};
void job_start(struct job *j, struct loop *l, void (*work)(struct job *j), void (*done)(struct job *j));

/* A thread of its own, for jobs that must not wait for anybody else's: a dead disk or a silent name server can hold
 * every thread of the pool. A lane's jobs run one after the other, in order. The thread is there from lane_new on, so
 * that no job finds none to be had; on a simulated loop there is none, and its jobs run as others do. */
struct lane;
struct lane *lane_new(struct loop *l, struct err *err) MUST_USE;
void lane_start(struct lane *n, struct job *j, void (*work)(struct job *j), void (*done)(struct job *j));
void lane_free(struct lane *n); /* all its jobs are home; may be called in `done` of the last. NULL is fine */

/* A job that looks at what may never answer (a file system that is not ours), in a thread of its own that ends with
 * it: it holds up nobody but who waits for it. False: APART_MOST of them have not come back, or no thread is to be
 * had; then neither `work` nor `done` is called. */
#define APART_MOST 256
MUST_USE bool job_start_apart(struct job *j, struct loop *l, void (*work)(struct job *j), void (*done)(struct job *j),
                              struct err *err);
