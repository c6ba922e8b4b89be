#include "base/fault.h"
#include "node/agent_int.h"
#include <signal.h>

/* Where a test ends this process, to see what the next one makes of it. */
#define AROUND(what) [DO_##what] = {"node.before." #what, "node.after." #what}
static const char *const around[][2] = {
    AROUND(VOLUMES_SETUP), AROUND(VOLUMES_TEARDOWN),
    AROUND(SANDBOX_START), AROUND(SANDBOX_STOP),
    AROUND(IMAGE_ENSURE),  AROUND(CONTAINER_START),
    AROUND(POSTSTART),     AROUND(PRESTOP),
    AROUND(TERM),          AROUND(KILL),
    AROUND(LEAVE),         AROUND(DRAIN),
    AROUND(EVENT),         AROUND(DELETE_OBJECT),
};

static void carry_out(struct agent_pod *ap, const struct pod_action *x)
{
    struct agent_container *ac = x->container >= 0 ? ap->containers.p[x->container] : NULL;
    switch (x->what) {
    case DO_VOLUMES_SETUP: volumes_setup(ap); break;
    case DO_VOLUMES_TEARDOWN: volumes_teardown(ap); break;
    case DO_SANDBOX_START: agent_sandbox_start(ap); break;
    case DO_SANDBOX_STOP: agent_sandbox_stop(ap); break;
    case DO_IMAGE_ENSURE: images_ensure(ap, x->container); break;
    case DO_CONTAINER_START: agent_container_start(ac); break;
    case DO_POSTSTART: agent_hook(ac, true); break;
    case DO_PRESTOP: agent_hook(ac, false); break;
    case DO_TERM: container_kill(ac->run, agent_stop_signal(ac)); break;
    case DO_KILL: container_kill(ac->run, SIGKILL); break;
    case DO_LEAVE: services_leave(ap); break;
    case DO_DRAIN: services_drain(ap); break;
    case DO_EVENT: agent_event(ap, x->container, x->warning, x->reason, x->message); break;
    case DO_DELETE_OBJECT: break; /* the agent's own: after the final status */
    }
}

void agent_do(struct agent_pod *ap, const struct pod_action *x)
{
    fault_pass(around[x->what][0]);
    carry_out(ap, x);
    fault_pass(around[x->what][1]);
}
