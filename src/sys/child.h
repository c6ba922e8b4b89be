/* child.h - child processes, watched by pidfd. The child gets exactly the descriptors it is given (0, 1, 2 and
 * `fds`), a default signal mask and dispositions, and dies with its parent only where asked. Started by
 * clone(CLONE_VM | CLONE_VFORK): the parent's memory is not copied, and a program that cannot be executed is an error
 * of child_start, not an exit status. */
#pragma once
#include "sys/loop.h"
#include <sys/types.h>

struct child_spec {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH without '/' */
    const char *path;        /* the program's file, where it is not argv[0]; NULL: it is */
    const char *const *env;  /* NULL: the caller's */
    const char *dir;         /* NULL: the caller's */
    int in, out, err;        /* -1: /dev/null */
    const int (*fds)[2];     /* {from, to} pairs beyond 0..2; NULL: none */
    size_t nfds;
    bool die_with_parent; /* PR_SET_PDEATHSIG SIGKILL: with the thread that starts it */
    bool new_session;     /* setsid */
    uid_t uid;            /* 0: stay; else setgroups(0), setgid, setuid */
    gid_t gid;
    uint64_t
        capabilities; /* of these alone (1 << CAP_*) the one who was root keeps, and hands on (ambient); 0: none */
    int in_netns;     /* descriptor of a network namespace, or -1 */
    int in_mntns;     /* descriptor of a mount namespace, or -1 */
};
#define CHILD_SPEC ((struct child_spec){.in = -1, .out = -1, .err = -1, .in_netns = -1, .in_mntns = -1})

struct child {
    struct loop *loop;
    pid_t pid; /* 0 once it has ended */
    int pidfd;
    struct poll poll;
    void (*fn)(struct child *c, int status); /* status as wait(2) gives it; runs once */
};
/* Starts and watches. False: nothing runs (also where the program does not exist). */
MUST_USE bool child_start(struct child *c, struct loop *l, const struct child_spec *spec,
                          void (*fn)(struct child *c, int status), struct err *err);
struct process_stat {
    char name[16];    /* of its program, or what it calls itself; cut */
    char state;       /* as in /proc/PID/stat: 'R' runs, 'S' sleeps, 'T' is stopped by a signal ... */
    int64_t cpu;      /* what it has used, ns */
    uint64_t started; /* in ticks since the boot: its number with this names it for ever */
};
MUST_USE bool process_stat(pid_t pid, struct process_stat *out); /* false: there is no such process */
void child_kill(struct child *c, int signo);                     /* nothing happens once it has ended */
void child_forget(struct child *c); /* stops watching; the process goes on and is reaped elsewhere */

/* Runs a command to its end off the loop's thread or in a job: straight-line, blocking. Output (stdout and stderr,
 * one after the other as they come) goes to `out` up to its limit. True only for exit status 0; otherwise err holds
 * the command's name, how it ended and the last line it wrote. timeout_ms 0: none. */
MUST_USE bool command_run(const char *const *argv, struct str input, struct strbuf *out, int timeout_ms,
                          struct err *err);
/* The same, for programs whose exit status says what happened: that status, with err filled unless it is 0; -1: it
 * did not come to one. */
MUST_USE int command_status(const char *const *argv, struct str input, struct strbuf *out, int timeout_ms,
                            struct err *err);
