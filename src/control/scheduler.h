/* scheduler.h - which node a pod goes to. `schedule` is pure: what fits, what is preferred, and where nothing fits,
 * why, in upstream's words. Around it a queue (active, backing off, unschedulable) that is woken by what could help,
 * and the assumed cache: a pod counts on its node from the moment it was chosen.
 *
 * What nodes have and what is asked of them is kept as sums, changed by each event, never scanned per pod. */
#pragma once
#include "control/plan.h"

struct scheduler;
extern const struct kind *const scheduler_kinds[]; /* what it reads; NULL-terminated */

struct scheduler *scheduler_new(struct transport *t, const struct view *view); /* borrowed; its `now` is not read */
void scheduler_start(struct scheduler *s);                                     /* the sets are in */
void scheduler_changed(struct scheduler *s, struct obj *was, struct obj *now); /* any object of those kinds */
void scheduler_free(struct scheduler *s);                                      /* NULL is fine */
bool scheduler_idle(const struct scheduler *s); /* nothing active, nothing being bound: for tests */
