/* What a pod needs next: a function of what is wanted, what was seen, and the time that is given. No clock, no memory
 * besides struct pod: the same facts at the same time give the same actions.
 *
 *   PREPARING --> ACTIVE --> LEAVING --> DRAINING --> STOPPING --> CLEANING --> ENDED
 *
 * is the whole way; ACTIVE goes back to PREPARING where the sandbox is lost, and on to STOPPING where all containers
 * have ended or no Service sends it connections; PREPARING goes there where the pod is to go before it ran. All moves
 * stand in pod_moves (pod.c).
 *
 * Each state has a step function. It asks for what can be begun now and marks that as BUSY (or STARTING), so that it
 * is asked for once; the answer is a fact that takes the mark away. What it waits for by time it names
 * (actions_wake), and a wait whose time has come is simply not in the way any more when it looks again. A move that
 * needs no answer is followed at once (pod_step).
 *
 * How a pod starts (PREPARING, ACTIVE). Volumes, then the sandbox. Then the list of containers is walked from the
 * beginning, each time: one may start where every init container before it has ended well and every sidecar before it
 * is up and past its startup probe (lets_next_start); a main one waits besides for the one before it to be on its way
 * (is_starting). A container that may start goes image, start, and is then left alone; one that has ended waits for
 * its back-off and goes the same way again, where its policy says so (container_restarts).
 *
 * How a pod goes. `stop_since` is the moment from which its grace counts, whatever it is spent on:
 *
 * - LEAVING: until every Service that sent it connections has forgotten it, in the kernel (pod_saw_left); no longer
 *   than LEAVE_MOST, nor than the grace. The containers know of nothing and go on serving.
 * - DRAINING: until its connections have carried nothing for a while (pod_saw_drained); no longer than half
 *   the grace.
 * - STOPPING: preStop hooks, SIGTERM, and SIGKILL when the grace is over; sidecars after all others, the last one
 *   started first (step_stop). SIGTERM comes at least GRACE_LEAST before SIGKILL, even where the hook took all the
 *   time there was.
 * - CLEANING: the sandbox, then volumes: what a container may still hold is not taken away.
 * - ENDED: where its object is to go, its logs, then the object.
 *
 * `forced` (grace 0, or the object is gone) skips the waits, not the order. Only a pod that a Service sends
 * connections to at that moment leaves and drains; others go to STOPPING at once.
 */
#include "base/clock.h"
#include "node/pod_int.h"

#define LEAVE_MOST        (5 * NS_PER_S)
#define IMAGE_ERROR_SHOWN (1 * NS_PER_S) /* then it is ImagePullBackOff */
#define GRACE_LEAST       (2 * NS_PER_S) /* between SIGTERM and SIGKILL, also after a preStop hook that took all */

void pod_actions_fini(struct pod_actions *a)
{
    array_fini(&a->list);
}

static void actions_add(struct pod_actions *out, enum pod_action_kind what, int c)
{
    array_push(&out->list, ((struct pod_action){.what = what, .container = c}));
}

static void actions_tell(struct pod_actions *out, int c, bool warning, const char *reason, struct str message)
{
    array_push(&out->list, ((struct pod_action){DO_EVENT, c, warning, reason, message}));
}

static void actions_wake(struct pod_actions *out, int64_t at)
{
    if (at && (!out->wake_at || at < out->wake_at))
        out->wake_at = at;
}

/* --- which containers may run ------------------------------------------------------------------------------- */

static bool ended_well(const struct pod_container *c)
{
    return c->run == RUN_EXITED && c->end.exit_code == 0 && !c->again;
}

/* KEP-5307. */
struct str pod_container_rule(const struct pod_container *c, int exit_code)
{
    val_each_item (r, val_get(c->spec, N(restartPolicyRules))) {
        bool listed = false, in = str_eq(val_text_at(r, N(exitCodes), N(operator)), S("In"));
        val_each_item (code, val_at(r, N(exitCodes), N(values)))
            listed = listed || val_num(code, -1) == exit_code;
        if (listed == in)
            return val_text_at(r, N(action));
    }
    return S("");
}

/* It has ended in a way after which all are to begin anew (KEP-5532), and they have not been told to yet. */
static bool restarts_all(const struct pod_container *c)
{
    return c->run == RUN_EXITED && c->role != CONTAINER_EPHEMERAL && !c->again &&
           str_eqz(pod_container_rule(c, c->end.exit_code), "RestartAllContainers");
}

static bool container_restarts(const struct pod *p, const struct pod_container *c)
{
    if (pod_is_to_end(p) || c->role == CONTAINER_EPHEMERAL)
        return false;
    if (c->role == CONTAINER_SIDECAR || c->redefined || c->again || restarts_all(c))
        return true;
    if (str_eqz(pod_container_rule(c, c->end.exit_code), "Restart"))
        return c->role != CONTAINER_INIT || c->end.exit_code != 0;
    if (c->role == CONTAINER_INIT)
        return c->end.exit_code != 0 && !pod_policy_is(p, c, S("Never"));
    return pod_policy_is(p, c, S("Always")) || (pod_policy_is(p, c, S("OnFailure")) && c->end.exit_code != 0);
}

/* Whether the next container of the list may start: an init container has ended well, a sidecar has started. */
static bool lets_next_start(const struct pod_container *c)
{
    if (c->role == CONTAINER_INIT)
        return ended_well(c);
    if (c->role == CONTAINER_SIDECAR)
        return pod_container_up(c) && c->passed_startup;
    return true;
}

/* On its way up: the main container after it waits, as a kubelet starts one after another. A pull holds the next one
 * back only where a postStart hook may prepare something for it; what fails holds nobody back. */
static bool is_starting(const struct pod_container *c, int64_t now)
{
    if (c->run == RUN_RUNNING)
        return c->poststart == HOOK_BUSY;
    if (c->run == RUN_STARTING)
        return true;
    bool hooked = val_at(c->spec, N(lifecycle), N(postStart)) && !c->image_reason.n;
    return c->image == PART_BUSY && (hooked || c->image_asked_at == now);
}

/* Every container that decides the pod's end has ended for good. */
static bool pod_is_finished(const struct pod *p)
{
    bool any = false;
    array_each (c, &p->containers) {
        if (c->role == CONTAINER_INIT && c->run == RUN_EXITED && c->end.exit_code != 0 && !container_restarts(p, c))
            return true;
        if (c->role != CONTAINER_MAIN)
            continue;
        any = true;
        if (c->run != RUN_EXITED || container_restarts(p, c))
            return false;
    }
    return any;
}

static void step_restart_wait(struct pod *p, int i, struct pod_actions *out)
{
    struct pod_container *c = &p->containers.p[i];
    actions_wake(out, c->retry_at);
    if (c->backing_off || c->run != RUN_EXITED)
        return;
    c->backing_off = true;
    actions_tell(out, i, true, "BackOff",
                 arena_fmt(&p->arena,
                           "Back-off restarting failed container " STR_FMT " in pod " STR_FMT "_" STR_FMT "(" STR_FMT
                           ")",
                           STR_ARG(c->name), STR_ARG(p->name), STR_ARG(p->ns), STR_ARG(p->uid)));
}

static void step_image(struct pod *p, int i, int64_t now, struct pod_actions *out)
{
    struct pod_container *c = &p->containers.p[i];
    if (c->image == PART_FAILED && now < c->image_retry_at) {
        actions_wake(out, c->image_retry_at);
        int64_t shown = c->image_retry_at - c->image_backoff + IMAGE_ERROR_SHOWN;
        if (!c->image_backing_off && now < shown) {
            actions_wake(out, shown);
        } else if (!c->image_backing_off && str_eq(c->image_reason, S("ErrImagePull"))) {
            c->image_backing_off = true;
            actions_tell(out, i, false, "BackOff",
                         arena_fmt(&p->arena, "Back-off pulling image \"" STR_FMT "\"", STR_ARG(pod_asked_image(c))));
            actions_tell(out, i, true, "Failed", S("Error: ImagePullBackOff"));
        }
        return;
    }
    if (c->image != PART_BUSY) {
        c->image = PART_BUSY;
        c->image_asked_at = now;
        actions_wake(out, now + 1); /* by then it is known whether it is here or must be pulled */
        actions_add(out, DO_IMAGE_ENSURE, i);
    }
}

static void step_start(struct pod *p, int i, int64_t now, struct pod_actions *out)
{
    struct pod_container *c = &p->containers.p[i];
    if (c->run == RUN_STARTING || c->run == RUN_RUNNING)
        return;
    if (c->run == RUN_EXITED && !container_restarts(p, c))
        return;
    if (now < c->retry_at) {
        step_restart_wait(p, i, out);
        return;
    }
    if (c->image != PART_READY) {
        step_image(p, i, now, out);
        return;
    }
    c->run = RUN_STARTING;
    c->redefined = c->again = false;
    actions_add(out, DO_CONTAINER_START, i);
}

/* --- stopping one container --------------------------------------------------------------------------------- */

static int64_t stop_deadline(const struct pod *p, const struct pod_container *c, int64_t now)
{
    if (p->stop_since)
        return p->forced ? now : p->stop_since + ns_of_seconds(p->grace_s);
    int64_t grace = val_num_at(pod_spec(p), 30, N(terminationGracePeriodSeconds));
    const struct val *probe = val_at(c->spec, c->passed_startup ? N(livenessProbe) : N(startupProbe));
    return now + ns_of_seconds(val_num_at(probe, grace, N(terminationGracePeriodSeconds)));
}

/* Brings one running container down; false once it is. The event and the preStop hook come at once, SIGTERM when it
 * is its turn (or its grace is over). */
static bool step_stop(struct pod *p, int i, bool turn, int64_t now, struct pod_actions *out)
{
    struct pod_container *c = &p->containers.p[i];
    if (c->run != RUN_RUNNING)
        return c->run == RUN_STARTING; /* its start ends first */
    if (!c->stopping) {
        c->stopping = c->unhealthy_why ? c->unhealthy_why : "";
        c->kill_at = stop_deadline(p, c, now);
        if (!c->unhealthy_why)
            actions_tell(out, i, false, "Killing",
                         arena_fmt(&p->arena, "Stopping container " STR_FMT, STR_ARG(c->name)));
        else if (strncmp(c->unhealthy_why, "Failed", 6) == 0)
            actions_tell(out, i, false, "Killing", str_of(c->unhealthy_why));
        else if (strncmp(c->unhealthy_why, "definition", 10) == 0)
            actions_tell(out, i, false, "Killing",
                         arena_fmt(&p->arena, "Container " STR_FMT " definition changed, will be restarted",
                                   STR_ARG(c->name)));
        else if (strncmp(c->unhealthy_why, "resize", 6) == 0)
            actions_tell(out, i, false, "Killing",
                         arena_fmt(&p->arena, "Container " STR_FMT " %s", STR_ARG(c->name), c->unhealthy_why));
        else if (pod_policy_is(p, c, S("Never")) && c->role != CONTAINER_SIDECAR)
            actions_tell(out, i, false, "Killing",
                         arena_fmt(&p->arena, "Stopping container " STR_FMT, STR_ARG(c->name)));
        else
            actions_tell(out, i, false, "Killing",
                         arena_fmt(&p->arena, "Container " STR_FMT " %s, will be restarted", STR_ARG(c->name),
                                   c->unhealthy_why));
    }
    if (p->forced)
        c->kill_at = MIN(c->kill_at, now);
    bool hooked = val_at(c->spec, N(lifecycle), N(preStop)) && !p->forced;
    if (hooked && c->prestop == HOOK_NONE) {
        c->prestop = HOOK_BUSY;
        actions_add(out, DO_PRESTOP, i);
    }
    bool waits = ((hooked && c->prestop == HOOK_BUSY) || !turn) && now < c->kill_at;
    if (!waits && !c->termed && !p->forced) {
        c->termed = true;
        actions_add(out, DO_TERM, i);
        c->kill_at = MAX(c->kill_at, now + GRACE_LEAST);
    }
    if (now >= c->kill_at && !c->killed) {
        c->killed = true;
        actions_add(out, DO_KILL, i);
    }
    if (!c->killed)
        actions_wake(out, c->kill_at);
    return true;
}

/* --- the states ----------------------------------------------------------------------------------------------- */

/* The pod's time is over, whether it has come to run or not. */
static bool step_deadline(struct pod *p, int64_t now, struct pod_actions *out)
{
    int64_t deadline = val_num_at(pod_spec(p), 0, N(activeDeadlineSeconds));
    if (!deadline || pod_is_to_end(p))
        return false;
    if (now < p->started_mono + ns_of_seconds(deadline)) {
        actions_wake(out, p->started_mono + ns_of_seconds(deadline));
        return false;
    }
    pod_fail(p, "DeadlineExceeded", S("Pod was active on the node longer than the specified deadline"), false, now);
    actions_tell(out, -1, false, "DeadlineExceeded", p->fail_message);
    return true;
}

/* It is to be begun, for the first time or again; not before its wait is over. */
static bool is_due(enum part part, int64_t retry_at, int64_t now, struct pod_actions *out)
{
    if (part == PART_FAILED && now < retry_at) {
        actions_wake(out, retry_at);
        return false;
    }
    return part == PART_NONE || part == PART_FAILED;
}

static void step_preparing(struct pod *p, int64_t now, struct pod_actions *out)
{
    if (p->volumes == PART_READY && p->sandbox == PART_READY) {
        pod_move(p, POD_ACTIVE);
        return;
    }
    (void)step_deadline(p, now, out);
    if (pod_is_to_end(p)) {
        if (p->volumes != PART_BUSY && p->sandbox != PART_BUSY) /* what was begun is waited for, then undone */
            pod_move(p, POD_STOPPING);
        return;
    }
    if (is_due(p->volumes, p->volumes_retry_at, now, out)) {
        p->volumes = PART_BUSY;
        actions_add(out, DO_VOLUMES_SETUP, -1);
    } else if (p->volumes == PART_READY && is_due(p->sandbox, p->sandbox_retry_at, now, out)) {
        p->sandbox = PART_BUSY;
        actions_add(out, DO_SANDBOX_START, -1);
    }
}

static bool step_unhealthy(struct pod *p, int i, int64_t now, struct pod_actions *out)
{
    struct pod_container *c = &p->containers.p[i];
    if (!c->unhealthy || c->run != RUN_RUNNING)
        return false;
    return step_stop(p, i, true, now, out);
}

static void step_begin_stop(struct pod *p)
{
    if (p->in_service && !p->forced && !p->rejected)
        pod_move(p, POD_LEAVING);
    else
        pod_move(p, POD_STOPPING);
}

/* Everything that runs is killed, without hooks and grace, and when the last has ended all begin anew, init
 * containers first. Who asked for it waits as one that crashes does, so that this goes round no faster than a crash
 * loop. */
static bool step_restart_all(struct pod *p, struct pod_actions *out)
{
    bool busy = false;
    array_each (c, &p->containers)
        p->restarting_all |= restarts_all(c);
    for (size_t i = 0; p->restarting_all && i < p->containers.n; i++) {
        struct pod_container *c = &p->containers.p[i];
        busy |= c->run == RUN_STARTING || c->run == RUN_RUNNING;
        if (c->run != RUN_RUNNING || c->killed)
            continue;
        c->stopping = "";
        c->termed = c->killed = true;
        actions_tell(out, (int)i, false, "Killing",
                     arena_fmt(&p->arena, "Stopping container " STR_FMT, STR_ARG(c->name)));
        actions_add(out, DO_KILL, (int)i);
    }
    if (busy || !p->restarting_all)
        return busy;
    array_each (c, &p->containers) {
        if (c->run != RUN_EXITED || c->role == CONTAINER_EPHEMERAL)
            continue;
        if (!restarts_all(c))
            c->retry_at = c->backoff = 0;
        c->again = true;
    }
    p->restarting_all = false;
    return false;
}

static void step_active(struct pod *p, int64_t now, struct pod_actions *out)
{
    if (pod_is_to_end(p)) {
        step_begin_stop(p);
        return;
    }
    if (step_deadline(p, now, out)) {
        step_begin_stop(p);
        return;
    }
    if (step_restart_all(p, out))
        return;
    if (pod_is_finished(p)) {
        p->finished_at = now;
        pod_move(p, POD_STOPPING); /* sidecars may still run */
        return;
    }
    if (p->sandbox == PART_FAILED) {
        actions_tell(out, -1, false, "SandboxChanged", S("Pod sandbox changed, it will be killed and re-created."));
        pod_move(p, POD_PREPARING);
        return;
    }
    bool may_start = !pod_resize_step(p, now, out), starting = false;
    for (size_t i = 0; i < p->containers.n; i++) {
        struct pod_container *c = &p->containers.p[i];
        bool init_done = c->role == CONTAINER_INIT && ended_well(c);
        bool ending = step_unhealthy(p, (int)i, now, out);
        if (!ending && may_start && !init_done && !(c->role == CONTAINER_MAIN && starting))
            step_start(p, (int)i, now, out);
        if (c->run == RUN_RUNNING && c->poststart == HOOK_NONE && !ending) {
            c->poststart = HOOK_BUSY;
            actions_add(out, DO_POSTSTART, (int)i);
        }
        starting = starting || (c->role == CONTAINER_MAIN && is_starting(c, now));
        may_start = may_start && lets_next_start(c) && !(ending && c->role == CONTAINER_SIDECAR);
    }
}

static void step_leaving(struct pod *p, int64_t now, struct pod_actions *out)
{
    int64_t most = p->stop_since + MIN(LEAVE_MOST, ns_of_seconds(p->grace_s));
    if (p->forced) {
        pod_move(p, POD_STOPPING);
    } else if (p->left || now >= most) {
        pod_move(p, POD_DRAINING);
        actions_add(out, DO_DRAIN, -1);
    } else {
        actions_wake(out, most);
    }
}

static void step_draining(struct pod *p, int64_t now, struct pod_actions *out)
{
    int64_t most = p->stop_since + ns_of_seconds(p->grace_s) / 2;
    if (p->drained || p->forced || now >= most)
        pod_move(p, POD_STOPPING);
    else
        actions_wake(out, most);
}

/* Main and ephemeral containers first, all at once; then sidecars, last started first. Ordinary init containers that
 * still run go with the first. */
static void step_stopping(struct pod *p, int64_t now, struct pod_actions *out)
{
    bool busy = false;
    for (size_t i = 0; i < p->containers.n; i++)
        if (p->containers.p[i].role != CONTAINER_SIDECAR)
            busy |= step_stop(p, (int)i, true, now, out);
    for (size_t i = p->containers.n; i-- > 0;)
        if (p->containers.p[i].role == CONTAINER_SIDECAR)
            busy |= step_stop(p, (int)i, !busy, now, out);
    if (!busy)
        pod_move(p, POD_CLEANING);
}

static void step_cleaning(struct pod *p, struct pod_actions *out)
{
    if (p->sandbox == PART_READY || p->sandbox == PART_FAILED) {
        p->sandbox = PART_BUSY;
        actions_add(out, DO_SANDBOX_STOP, -1);
    }
    if (p->sandbox == PART_NONE && (p->volumes == PART_READY || p->volumes == PART_FAILED)) {
        p->volumes = PART_BUSY;
        p->logs_kept = !p->deleted;
        actions_add(out, DO_VOLUMES_TEARDOWN, -1);
    }
    if (p->sandbox == PART_NONE && p->volumes == PART_NONE)
        pod_move(p, POD_ENDED);
}

static void step_ended(struct pod *p, struct pod_actions *out)
{
    if (!p->deleted)
        return;
    if (p->logs_kept) {
        p->logs_kept = false;
        p->volumes = PART_BUSY;
        actions_add(out, DO_VOLUMES_TEARDOWN, -1);
    }
    if (p->volumes != PART_BUSY && !p->delete_asked) {
        p->delete_asked = true;
        actions_add(out, DO_DELETE_OBJECT, -1);
    }
}

static void step_one(struct pod *p, int64_t now, struct pod_actions *out)
{
    switch (p->state) {
    case POD_PREPARING: step_preparing(p, now, out); break;
    case POD_ACTIVE: step_active(p, now, out); break;
    case POD_LEAVING: step_leaving(p, now, out); break;
    case POD_DRAINING: step_draining(p, now, out); break;
    case POD_STOPPING: step_stopping(p, now, out); break;
    case POD_CLEANING: step_cleaning(p, out); break;
    case POD_ENDED: step_ended(p, out); break;
    case POD_STATES: break;
    }
}

void pod_step(struct pod *p, int64_t now, struct pod_actions *out)
{
    enum pod_state was;
    pod_tidy(p);
    do { /* a move that needs no answer is followed at once */
        was = p->state;
        step_one(p, now, out);
        if (was != POD_LEAVING && p->state == POD_LEAVING)
            actions_add(out, DO_LEAVE, -1);
    } while (p->state != was);
}
