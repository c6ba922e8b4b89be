/* uplock.h - who may change what runs on this machine: the lock RUN/supervisor.lock, held by the supervisor as long
 * as it lives and by `wherry down` while it works. The file holds the pid; RUN/supervisor.state says how far it is.
 */
#pragma once
#include "cli/settings.h"
#include <sys/types.h>

enum up_state { UP_STARTING, UP_READY, UP_ENDING };
struct up_holder {
    pid_t pid;           /* 0: nobody holds it */
    enum up_state state; /* ENDING also where it was killed a moment ago and is not quite gone */
};
struct up_holder uplock_holder(const struct settings *s);
/* The descriptor that holds the lock for as long as it, or a copy, is open. -1 without an error in `other`.pid: it is
 * taken. The folder RUN is there. */
MUST_USE int uplock_try(const struct settings *s, struct up_holder *other, struct err *err);
/* In the name of this process from here on: a child that inherited the lock says so again. */
void uplock_tell(const struct settings *s, int lock, enum up_state state);
/* Until the holder has ended, is at another state, or most_ms have passed (false). For commands that people type. */
bool uplock_wait(const struct settings *s, const struct up_holder *holder, int most_ms);
/* The end of `wherry down`, which holds the lock and has emptied RUN of all else: its files go, the lock's last, and
 * the folder, if nobody has begun anew in it meanwhile. */
void uplock_remove(const struct settings *s);
