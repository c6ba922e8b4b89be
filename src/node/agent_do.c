/* Actions of a pod (pod_step) and who carries them out. Each begins something and comes back; what came of it is told
 * to the pod later, from the loop, by the pod_saw_... that the row names. Nothing here waits. */
#include "base/fault.h"
#include "node/agent_int.h"
#include <signal.h>

static void event_tell(struct agent_pod *ap, const struct pod_action *x)
{
    agent_event(ap, x->container, x->warning, x->reason, x->message);
}

static void ensure_image(struct agent_container *ac)
{
    images_ensure(ac->ap, ac->index);
}

static void post_start(struct agent_container *ac)
{
    agent_hook(ac, true);
}

static void pre_stop(struct agent_container *ac)
{
    agent_hook(ac, false);
}

static void container_term(struct agent_container *ac)
{
    container_kill(ac->run, agent_stop_signal(ac));
}

static void kill_now(struct agent_container *ac)
{
    container_kill(ac->run, SIGKILL);
}

/* The places are where a test ends this process, to see what the next one makes of it. */
struct deed {
    const char *before, *after;
    void (*pod)(struct agent_pod *ap);
    void (*container)(struct agent_container *ac);
    void (*told)(struct agent_pod *ap, const struct pod_action *x);
};
#define DEED(what, ...) [DO_##what] = {"node.before." #what, "node.after." #what, __VA_ARGS__}
static const struct deed deeds[] = {
    DEED(VOLUMES_SETUP, .pod = volumes_setup),                 /* pod_saw_volumes */
    DEED(VOLUMES_TEARDOWN, .pod = volumes_teardown),           /* pod_saw_volumes_removed */
    DEED(SANDBOX_START, .pod = agent_sandbox_start),           /* pod_saw_sandbox */
    DEED(SANDBOX_STOP, .pod = agent_sandbox_stop),             /* pod_saw_sandbox_stopped */
    DEED(IMAGE_ENSURE, .container = ensure_image),             /* pod_saw_image */
    DEED(CONTAINER_START, .container = agent_container_start), /* pod_saw_running, pod_saw_start_failed */
    DEED(POSTSTART, .container = post_start),                  /* pod_saw_hook */
    DEED(PRESTOP, .container = pre_stop),                      /* pod_saw_hook */
    DEED(TERM, .container = container_term),                   /* pod_saw_exit, when it has ended */
    DEED(KILL, .container = kill_now),                         /* pod_saw_exit */
    DEED(LEAVE, .pod = services_leave),                        /* pod_saw_left */
    DEED(DRAIN, .pod = services_drain),                        /* pod_saw_drained */
    DEED(RESIZE, .pod = agent_resize),                         /* pod_saw_resized */
    DEED(EVENT, .told = event_tell),                           /* nothing */
    [DO_DELETE_OBJECT] = {.pod = agent_delete}, /* pod_gone, when the API says so; its places are where it is sent */
};

void agent_do(struct agent_pod *ap, const struct pod_action *x)
{
    const struct deed *d = &deeds[x->what];
    if (d->before)
        fault_pass(d->before);
    if (d->pod)
        d->pod(ap);
    else if (d->container)
        d->container(ap->containers.p[x->container]);
    else
        d->told(ap, x);
    if (d->after)
        fault_pass(d->after);
}
