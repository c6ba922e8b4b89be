/* sched_victims.h - ends the pods that were chosen to make room for another: each is told why (its condition
 * DisruptionTarget), deleted with its own time to end, and an event says for whom. Belongs to the loop of its
 * transport. */
#pragma once
#include "client/events.h"
#include "control/sched.h"

struct victims;

struct victims_options { /* all borrowed */
    struct transport *transport;
    const struct view *view;
    struct events *events;
    struct sched *state;   /* is told who was sent away, and when that was written */
    struct obj *preemptor; /* whose sake it is for */
    struct str node;
    void (*done)(void *arg, const struct err *err); /* once, in the loop; err NULL: every one of them is ending */
    void *arg;
};
struct victims *victims_new(const struct victims_options *o, struct sched_pod *const *pods, size_t n);
void victims_go(struct victims *v);   /* once. `done` may be called from inside: when all are ending already */
void victims_free(struct victims *v); /* what is under way is cancelled; NULL is fine; also from inside `done` */
