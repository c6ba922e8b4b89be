/* loop_thread.h - a second loop, on a thread of its own, for what may take long and shares nothing with the first but
 * what is posted and what is immutable. One a process: its turns are the second ones of the process's pulse. */
#pragma once
#include "sys/loop.h"

struct loop_thread;
struct loop_thread *loop_thread_new(struct err *err) MUST_USE;
/* Until it is started, who made it may set sources on it; then it is for loop_post, and all else is that thread's. */
struct loop *loop_thread_loop(struct loop_thread *t);
/* begin(arg) is the first thing that runs there; NULL: nothing. Every signal stays with the other threads. */
MUST_USE bool loop_thread_start(struct loop_thread *t, void (*begin)(void *arg), void *arg, struct err *err);
/* Ends it after the turn that is under way. False: that did not end within wait_ns; the thread is then let be. */
bool loop_thread_stop(struct loop_thread *t, int64_t wait_ns);
/* Not started, or stopped; and as loop_free: every source must be gone. NULL is fine. */
void loop_thread_free(struct loop_thread *t);
AUTO_POINTER(loop_thread_free, struct loop_thread);
