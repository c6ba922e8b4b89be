/* worker.h - work for one engine, done one piece after the other; each comes home to the loop before the next begins.
 * It runs in a thread that is the worker's alone (a lane, sys/loop.h): whatever else of this process waits for a disk
 * or a name server, a commit does not wait with it. */
#pragma once
#include "base/list.h"
#include "sys/loop.h"

struct work {
    struct list node;
    void (*run)(struct work *w);  /* the worker's thread: may block, touches only the engine's own */
    void (*done)(struct work *w); /* the loop's thread; may free it */
};
struct worker;
struct worker *worker_new(struct loop *l, struct err *err) MUST_USE;
void worker_put(struct worker *w, struct work *work); /* the loop's thread */
/* Ends all there is, in the caller, which is the loop's thread; `done` is called from inside. */
void worker_drain(struct worker *w);
void worker_free(struct worker *w); /* drained. Its last job may still be coming home to the loop */
