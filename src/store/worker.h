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
/* The loop's thread. What is urgent goes before what is not, however much of that there is, but for one piece of it
 * in between, so that neither waits for ever. */
void worker_put(struct worker *w, struct work *work);
void worker_put_urgent(struct worker *w, struct work *work);
/* Ends all there is, in the caller, which is the loop's thread; `done` is called from inside. */
void worker_drain(struct worker *w);
void worker_free(struct worker *w); /* drained. Its last job may still be coming home to the loop */
