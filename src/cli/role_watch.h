/* role_watch.h - the supervisor's eye on one role: by its pulse (sys/pulse.h) and by what the kernel says of its
 * process. A role that does not come on for 20 s is told of in the log, with what it was at, and killed; whoever
 * started it sees it end and starts it again. One that a debugger holds, or that gets no processor, is let be. */
#pragma once
#include "sys/loop.h"
#include "sys/pulse.h"
#include <sys/types.h>

struct role_watch {
    const char *role; /* NULL: watches nobody */
    pid_t pid;
    int pidfd; /* borrowed */
    int page, bell;
    struct pulse pulse;
    struct poll rung;
    struct timer look;
    int64_t cpu; /* that it had used when it was last seen to come on */
    bool killed;
};
void role_watch_init(struct role_watch *w, struct loop *l);
/* own_page, own_bell: the same descriptors as the role's; -1: it is of a build that has none, and is not watched. */
void role_watch_start(struct role_watch *w, const char *role, pid_t pid, int pidfd, int own_page, int own_bell);
void role_watch_stop(struct role_watch *w);
void role_watch_sigchld(struct role_watch *w); /* some child was stopped, it may be this one */
