/* shutdown.h - the machine is about to shut down (`wherry shutdown`): pods are ended range by range of their
 * priority, told of as a kubelet tells, and none is taken in. Belongs to the agent's loop.
 *
 * What asks is a file, so that an agent which is started again in the midst goes on: RUN/shutdown, made by who asks,
 * and RUN/shutdown.done once all have ended. RUN/shutdown.grace says how many seconds
 * that may take; where it is missing nobody ends anything. Without the first one the node is as ever. */
#pragma once
#include "node/shutdown_plan.h"

#define SHUTDOWN_FILE       "shutdown"
#define SHUTDOWN_DONE_FILE  "shutdown.done"
#define SHUTDOWN_GRACE_FILE "shutdown.grace"

struct agent;
struct agent_pod;
struct shutdown;

struct shutdown *shutdown_new(struct agent *g, const struct shutdown_rules *rules);
void shutdown_free(struct shutdown *s);        /* NULL is fine */
bool shutdown_is_on(const struct shutdown *s); /* nothing is taken in any more; NULL: never */
void shutdown_look(struct shutdown *s);        /* pods are known, one has ended, or time has passed */
