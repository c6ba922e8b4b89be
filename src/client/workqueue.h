/* workqueue.h - which keys want work: client-go's three sets. A key that is added while it is worked on waits until
 * that is done; a key is never worked on twice at once. With delays, and a back-off per key that grows with failures.
 * Namespaces take turns ("NS/NAME", a key each), so that one with many keys does not keep the others waiting; within
 * one, first come first served. Belongs to one loop. */
#pragma once
#include "base/err.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"

struct loop;
struct workqueue;

struct workqueue_options {
    struct loop *loop;
    /* Work on it. Called from the loop, with at most `workers` keys between this and workqueue_done. */
    void (*work)(void *arg, struct str key);
    void *arg;
    /* A delayed key came so much too late that this process cannot have run meanwhile; before work on it. NULL: fine.
     */
    void (*overslept)(void *arg);
    /* A key that was worked on for some time rests for so many times as long, 100 ms at most, before it is worked on
     * again: what comes meanwhile is gathered. 0: it does not. */
    int rest;
    int workers;                        /* 0: 16 */
    int64_t backoff_ns, backoff_max_ns; /* after the first failure, and the most; 0: 5 ms and 100 s */
};
struct workqueue *workqueue_new(const struct workqueue_options *o);
void workqueue_free(struct workqueue *q); /* NULL is fine */
AUTO_POINTER(workqueue_free, struct workqueue);
void workqueue_start(struct workqueue *q); /* keys may be added before */
void workqueue_add(struct workqueue *q, struct str key);
void workqueue_add_after(struct workqueue *q, struct str key, int64_t delay_ns); /* the earliest wish counts */
/* What waits for its time is worked on now: the clock that it was told by was set. */
void workqueue_hurry(struct workqueue *q);
/* The work on the key is over. ok resets its back-off; otherwise it comes again after it. */
void workqueue_done(struct workqueue *q, struct str key, bool ok);
/* The loop's turn has lasted as long as one may: work that has more to do adds its key again, for the rest. */
bool workqueue_turn_spent(const struct workqueue *q);
int workqueue_failures(const struct workqueue *q, struct str key); /* in a row; for tests of the back-off */
size_t workqueue_len(const struct workqueue *q); /* waiting to be worked on now; delayed ones do not count */
