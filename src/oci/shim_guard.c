/* shim_guard.c - who could trace crun does not run while crun does.
 *
 * crun's process in a container's pid namespace has the host's root, descriptors and all capabilities until it has
 * become the program. A container that has SYS_PTRACE and sees it would be root on the host. So such containers are
 * frozen from before crun starts until the program's first instruction: that moment is told by ptrace, which follows
 * crun and what it forks. A command that is run in such a container cannot begin in its frozen group: it is put there
 * at that moment. */
#include "oci/shim_int.h"
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#define HELD_MAX  (30 * 1000000000LL) /* then what is being started is killed */
#define LAUNCHES  16
#define TRACED    256
#define FREEZE_MS 2000

static struct launch launches[LAUNCHES];
static struct traced {
    pid_t pid;             /* 0: the place is free */
    pid_t parent;          /* that forked it; 0: not told yet */
    struct launch *launch; /* NULL: over, or not known yet */
    bool known;
    bool at_exec, gone; /* has become the program, or ended, before it was known */
} traced[TRACED];

static bool container_freeze(const struct kept_container *c, bool frozen)
{
    const char *slash = strrchr(c->guard, '/');
    bool v1 = slash && strcmp(slash, "/freezer.state") == 0;
    const char *word = v1 ? (frozen ? "FROZEN" : "THAWED") : frozen ? "1" : "0";
    if (!write_file(AT_FDCWD, c->guard, 0, word, strlen(word)))
        return false;
    char path[SHIM_PATH * 2 + 16], now_is[256];
    struct shim_text t = TEXT(path);
    text_add(&t, c->guard);
    if (!v1)
        memcpy(path + (slash - c->guard), "/cgroup.events", sizeof "/cgroup.events");
    for (int ms = 0; frozen; ms++) {
        if (read_file(AT_FDCWD, path, now_is, sizeof now_is) > 0 && strstr(now_is, v1 ? "FROZEN" : "frozen 1"))
            return true;
        if (ms == FREEZE_MS)
            return errno = EBUSY, false;
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    return true;
}

/* Its program runs, or may. */
static bool is_guard(const struct kept_container *c)
{
    return c->guard[0] && c->began && (c->state == SHIM_STARTING || c->state == SHIM_RUNNING);
}

bool any_launch(void)
{
    every (l, launches)
        if (l->container)
            return true;
    return false;
}

void launch_over(struct launch *l)
{
    l->container = NULL;
    every (t, traced)
        if (t->launch == l)
            t->launch = NULL;
    if (any_launch())
        return;
    every (t, traced)
        if (t->gone) /* nobody will tell any more whose it was */
            t->pid = 0;
    every (c, containers)
        if (is_guard(c))
            (void)container_freeze(c, false); /* its group is gone: so is whoever was in it */
}

/* Freezes who must not see it. *out stays NULL where there never can be anybody. */
bool launch_begin(struct kept_container *c, bool joins, struct launch **out)
{
    bool any = pod.flags & SHIM_NEW_PID; /* one that can trace may come while this one is not over */
    every (g, containers)
        any |= g->state && g->guard[0];
    if (!any)
        return true;
    struct launch *l = NULL;
    every (place, launches)
        if (!place->container && !l)
            l = place;
    if (!l)
        return errno = EBUSY, false;
    *l = (struct launch){c, joins, clock_now(CLOCK_MONOTONIC)};
    every (g, containers)
        if (is_guard(g) && !container_freeze(g, true)) {
            int keep = errno;
            launch_over(l);
            errno = keep;
            return false;
        }
    *out = l;
    return true;
}

static struct traced *traced_by(pid_t pid)
{
    struct traced *place = NULL;
    every (t, traced) {
        if (t->pid == pid)
            return t;
        if (!t->pid && !place)
            place = t;
    }
    if (place)
        *place = (struct traced){.pid = pid};
    return place;
}

bool crun_trace(struct launch *l, pid_t crun)
{
    long options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC |
                   PTRACE_O_EXITKILL;
    struct traced *t = traced_by(crun);
    if (!t)
        return false;
    if (ptrace(PTRACE_SEIZE, crun, NULL, options) < 0) {
        t->pid = 0; /* or the others would wait for it to become known */
        return false;
    }
    t->launch = l;
    t->known = true;
    return true;
}

/* It has become the program and has not done anything yet. */
static void program_began(struct traced *t)
{
    struct launch *l = t->launch;
    pid_t pid = t->pid;
    t->pid = 0;
    if (l) {
        struct kept_container *c = l->container;
        bool ok = !l->joins || join_as(c, pid);
        c->began = true;
        launch_over(l);
        if (c->guard[0] && any_launch()) /* it is stopped by us yet, and freezes when it goes on */
            ok = ok && (container_freeze(c, true) || errno == EBUSY);
        if (!ok)
            kill(pid, SIGKILL);
    }
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
}

/* One whose processes are gone without one of them becoming the program is over. */
static void launch_look(struct launch *l)
{
    if (!l || !l->container)
        return;
    every (t, traced)
        if (t->pid && (t->launch == l || !t->known))
            return;
    launch_over(l);
}

/* What they tell comes in any order: a child's news before its parent's that there is a child. So a process is one of
 * a launch as soon as its parent is, and those that it has forked with it. */
static void traced_know(struct traced *t, struct launch *l)
{
    pid_t pid = t->pid;
    t->launch = l;
    t->known = true;
    if (t->gone)
        t->pid = 0;
    else if (t->at_exec)
        program_began(t);
    every (child, traced)
        if (child->pid && !child->known && child->parent == pid)
            traced_know(child, l && l->container ? l : NULL);
    launch_look(l);
}

void trace_stopped(pid_t pid, int status)
{
    struct traced *t = traced_by(pid);
    int event = status >> 16, sig = WSTOPSIG(status);
    unsigned long born = 0;
    if (!t) {
        kill(pid, SIGKILL);
        return;
    }
    switch (event) {
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK:
    case PTRACE_EVENT_CLONE:
        if (ptrace(PTRACE_GETEVENTMSG, pid, NULL, &born) == 0) {
            struct traced *child = traced_by((pid_t)born);
            if (child)
                child->parent = pid;
            if (child && t->known)
                traced_know(child, t->launch);
        }
        sig = 0;
        break;
    case PTRACE_EVENT_EXEC: /* crun executes itself once more, from memory; what it forks executes the program */
        sig = 0;
        if (is_crun(pid))
            break;
        t->at_exec = true;
        if (t->known)
            program_began(t);
        return;
    case PTRACE_EVENT_STOP: sig = 0; break;
    default: break; /* a signal of its own */
    }
    ptrace(PTRACE_CONT, pid, NULL, (long)sig);
}

void trace_ended(pid_t pid)
{
    struct launch *l = NULL;
    every (t, traced) {
        if (t->pid != pid)
            continue;
        t->gone = true;
        l = t->launch;
        if (t->known)
            t->pid = 0;
    }
    launch_look(l);
}

void launches_check(void)
{
    int64_t t = clock_now(CLOCK_MONOTONIC);
    bool held = false, any;
    every (c, containers)
        held |= is_guard(c);
    every (l, launches) {
        if (!held || !l->container || t - l->since < HELD_MAX)
            continue;
        any = false;
        every (x, traced)
            if (x->pid && !x->gone && x->launch == l)
                any |= kill(x->pid, SIGKILL) == 0; /* traced, so it is not reaped by anybody else */
        if (!any)
            launch_over(l);
        l->since = t;
    }
}

void launches_end(void)
{
    every (l, launches)
        if (l->container)
            launch_over(l);
}
