/* supervisor_int.h - what `wherry up` (up.c) hands to the supervisor that it becomes (supervisor.c). */
#pragma once
#include "cli/role_watch.h"
#include "cli/supervisor.h"
#include "sys/child.h"
#include "sys/loop.h"

enum { SUPERVISOR_SOCKETS = 9, SUPERVISOR_ROLES = 5 };

struct role {
    struct supervisor *sup;
    const char *name;
    unsigned uid;
    uint64_t capabilities;
    struct child child;  /* started by us */
    struct poll adopted; /* or found running: its pidfd */
    pid_t pid;           /* 0: not running */
    struct timer again;
    int64_t started, wait;
    bool wanted, ready;
    bool renewing; /* was told to end, to be started again */
    int notify;    /* our end of the pair by which it is told to begin and tells that it is ready; -1 */
    struct poll notify_poll;
    int sockets[SUPERVISOR_SOCKETS]; /* by row; -1 */
    struct role_watch watch;
};

struct supervisor {
    struct loop *loop;
    struct settings settings;
    struct role roles[SUPERVISOR_ROLES];
    int argc;
    char **argv; /* as given after the verb: handed to each role */
    bool ending, privileged;
    struct signal_source on_term, on_int, on_hup, on_chld;
    struct timer end_timer;
    struct poll addresses; /* the kernel's word of addresses and routes */
    struct timer settle;
    int detach_pipe; /* told when all is ready; -1 */
    int lock;        /* uplock.h */
};

/* Until its end. s: settings, argc, argv, privileged, detach_pipe and lock are given. */
int supervisor_run(struct supervisor *s);
