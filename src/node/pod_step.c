#include "base/clock.h"
#include "node/pod.h"

#define BACKOFF_FIRST       (10 * NS_PER_S)
#define BACKOFF_MOST        (300 * NS_PER_S)
#define BACKOFF_FORGET      (600 * NS_PER_S) /* a run this long makes the next crash a first one */
#define VOLUMES_RETRY_FIRST (500 * NS_PER_MS)
#define VOLUMES_RETRY_MOST  (122 * NS_PER_S)
#define SANDBOX_RETRY_MOST  (16 * NS_PER_S)
#define LEAVE_MOST          (5 * NS_PER_S)
#define IMAGE_ERROR_SHOWN   (1 * NS_PER_S) /* then it is ImagePullBackOff */
#define TIDY_AT             (32 << 10)     /* bytes of texts; the live ones are usually much less */
#define GRACE_LEAST         (2 * NS_PER_S) /* between SIGTERM and SIGKILL, also after a preStop hook that took all */

/* The moves a pod may make. Everything else is a bug of ours. */
static const unsigned pod_moves[POD_STATES] = {
    [POD_PREPARING] = 1u << POD_ACTIVE | 1u << POD_STOPPING | 1u << POD_CLEANING,
    [POD_ACTIVE] = 1u << POD_PREPARING | 1u << POD_LEAVING | 1u << POD_STOPPING | 1u << POD_CLEANING,
    [POD_LEAVING] = 1u << POD_DRAINING | 1u << POD_STOPPING,
    [POD_DRAINING] = 1u << POD_STOPPING,
    [POD_STOPPING] = 1u << POD_CLEANING,
    [POD_CLEANING] = 1u << POD_ENDED | 1u << POD_PREPARING,
    [POD_ENDED] = 0,
};

static void move(struct pod *p, enum pod_state to)
{
    ASSERT(pod_moves[p->state] & 1u << to);
    p->state = to;
}

void pod_actions_fini(struct pod_actions *a)
{
    array_fini(&a->list);
}

static void act(struct pod_actions *out, enum pod_action_kind what, int c)
{
    array_push(&out->list, ((struct pod_action){.what = what, .container = c}));
}

static void tell(struct pod_actions *out, int c, bool warning, const char *reason, struct str message)
{
    array_push(&out->list, ((struct pod_action){DO_EVENT, c, warning, reason, message}));
}

static void wake(struct pod_actions *out, int64_t at)
{
    if (at && (!out->wake_at || at < out->wake_at))
        out->wake_at = at;
}

static const struct val *spec_of(const struct pod *p)
{
    return obj_spec(p->obj);
}

/* The container's own restartPolicy wins over the pod's. */
static bool policy_is(const struct pod *p, const struct pod_container *c, struct str policy)
{
    struct str own = val_text_at(c->spec, N(restartPolicy));
    return str_eq(own.n ? own : val_text_at(spec_of(p), N(restartPolicy)), policy);
}

static const struct val *spec_container(const struct val *spec, enum container_role role, struct str name)
{
    const struct name *list = role == CONTAINER_MAIN        ? N(containers)
                              : role == CONTAINER_EPHEMERAL ? N(ephemeralContainers)
                                                            : N(initContainers);
    return val_find(val_get(spec, list), N(name), name);
}

static void add_containers(struct pod *p, const struct val *list, enum container_role role)
{
    val_each_item (c, list) {
        struct str name = val_text_at(c, N(name));
        if (pod_container_find(p, name) >= 0)
            continue;
        enum container_role its = role;
        if (role == CONTAINER_INIT && str_eq(val_text_at(c, N(restartPolicy)), S("Always")))
            its = CONTAINER_SIDECAR;
        array_push(&p->containers,
                   ((struct pod_container){.name = str_dup(&p->arena, name), .spec = c, .role = its}));
    }
}

int pod_container_find(const struct pod *p, struct str name)
{
    for (size_t i = 0; i < p->containers.n; i++)
        if (str_eq(p->containers.p[i].name, name))
            return (int)i;
    return -1;
}

bool pod_container_up(const struct pod_container *c)
{
    return c->run == RUN_RUNNING && c->poststart == HOOK_DONE;
}

int pod_run_number(const struct pod_container *c)
{
    return c->restarts + (c->end.reason != NULL);
}

const struct val *pod_container_told(const struct pod *p, int i)
{
    const struct pod_container *c = &p->containers.p[i];
    const struct name *list = c->role == CONTAINER_MAIN        ? N(containerStatuses)
                              : c->role == CONTAINER_EPHEMERAL ? N(ephemeralContainerStatuses)
                                                               : N(initContainerStatuses);
    return val_find(val_get(obj_status(p->obj), list), N(name), c->name);
}

static struct ending ending_of(struct pod *p, const struct val *state) /* `running` or `terminated` */
{
    struct ending e = {
        .exit_code = (int)val_num_at(state, 0, N(exitCode)),
        .reason = arena_strz(&p->arena, val_text_at(state, N(reason))),
        .message = str_dup(&p->arena, val_text_at(state, N(message))),
    };
    struct str id = val_text_at(state, N(containerID));
    ptrdiff_t slashes = str_find(id, S("://"));
    e.id = str_dup(&p->arena, slashes < 0 ? id : str_sub(id, (size_t)slashes + 3, id.n));
    (void)!time_parse(val_text_at(state, N(startedAt)), &e.started);
    (void)!time_parse(val_text_at(state, N(finishedAt)), &e.finished);
    return e;
}

static struct container_user user_of(struct pod *p, const struct val *told)
{
    const struct val *groups = val_get(told, N(supplementalGroups));
    uint32_t *ids = arena_alloc(&p->arena, (val_len(groups) + 1) * sizeof *ids);
    struct container_user user = {.known = told != NULL,
                                  .uid = (uint32_t)val_num_at(told, 0, N(uid)),
                                  .gid = (uint32_t)val_num_at(told, 0, N(gid)),
                                  .groups = ids};
    val_each_item (g, groups)
        ids[user.ngroups++] = (uint32_t)val_num(g, 0);
    return user;
}

/* What an earlier agent wrote: restart counts, the ends of earlier runs, the start time of the pod. */
static void recall(struct pod *p, int i)
{
    struct pod_container *c = &p->containers.p[i];
    const struct val *was = pod_container_told(p, i), *ended = val_at(was, N(lastState), N(terminated));
    if (!was)
        return;
    c->restarts = (int)val_num_at(was, 0, N(restartCount));
    c->user = user_of(p, val_at(was, N(user), N(linux)));
    if (!ended)
        return;
    c->has_last = true;
    c->last = ending_of(p, ended);
}

struct pod *pod_new(struct obj *obj, struct str host_ip, int64_t now, int64_t real)
{
    struct pod *p = NEW(struct pod);
    p->obj = obj_ref(obj);
    p->uid = str_dup(&p->arena, obj->uid);
    p->ns = str_dup(&p->arena, obj->ns);
    p->name = str_dup(&p->arena, obj->name);
    p->host_ip = str_dup(&p->arena, host_ip);
    p->host_network = val_true(val_at(spec_of(p), N(hostNetwork)));
    p->started_mono = now;
    p->started_real = real;
    if (time_parse(val_text_at(obj_status(obj), N(startTime)), &p->started_real))
        p->started_mono -= MAX(real - p->started_real, 0); /* an earlier agent began with it */
    add_containers(p, val_at(spec_of(p), N(initContainers)), CONTAINER_INIT);
    add_containers(p, val_at(spec_of(p), N(containers)), CONTAINER_MAIN);
    add_containers(p, val_at(spec_of(p), N(ephemeralContainers)), CONTAINER_EPHEMERAL);
    for (size_t i = 0; i < p->containers.n; i++)
        recall(p, (int)i);
    struct str phase = val_text_at(obj_status(obj), N(phase));
    if (str_eq(phase, S("Failed")) || str_eq(phase, S("Succeeded"))) {
        p->state = POD_CLEANING; /* what an earlier agent concluded stays so */
        p->concluded = true;
    }
    pod_wanted(p, obj, now);
    return p;
}

void pod_free(struct pod *p)
{
    obj_unref(p->obj);
    array_fini(&p->containers);
    arena_fini(&p->arena);
    mem_free(p);
}

void pod_wanted(struct pod *p, struct obj *obj, int64_t now)
{
    AUTO(obj_unref) struct obj *was = p->obj; /* what `spec` of the containers points into until they move on */
    p->obj = obj_ref(obj);
    add_containers(p, val_at(spec_of(p), N(ephemeralContainers)), CONTAINER_EPHEMERAL);
    array_each (c, &p->containers) {
        const struct val *spec = spec_container(spec_of(p), c->role, c->name);
        if (!spec) { /* no server takes a container away; nothing may point into the old object */
            c->spec = arena_dup(&p->arena, &(struct val){0}, sizeof(struct val));
            continue;
        }
        /* the one thing of a container that may change while it runs: another image is another run */
        if (!str_eq(val_text_at(spec, N(image)), val_text_at(c->spec, N(image)))) {
            c->image = PART_NONE;
            c->image_reason = STR_NONE;
            c->image_retry_at = c->image_backoff = 0;
            c->retry_at = c->backoff = c->ended_mono = 0; /* a kubelet counts by what the container is */
            if (c->run == RUN_RUNNING && !c->unhealthy_why) {
                c->unhealthy = true;
                c->unhealthy_why = "definition changed";
                c->redefined = c->role == CONTAINER_MAIN;
            }
        }
        c->spec = spec;
    }
    if (obj_deleting(obj)) {
        int64_t grace = val_num_at(obj_meta(obj), 30, N(deletionGracePeriodSeconds));
        if (!p->deleted || grace < p->grace_s) /* a shorter grace counts from the first wish */
            p->grace_s = grace;
        if (!p->deleted)
            p->stop_since = now;
        p->deleted = true;
        if (grace == 0 && p->state < POD_CLEANING)
            p->forced = true;
        array_each (c, &p->containers)
            if (c->kill_at)
                c->kill_at = MIN(c->kill_at, p->stop_since + ns_of_seconds(p->grace_s));
    }
}

void pod_gone(struct pod *p, int64_t now)
{
    if (!p->deleted)
        p->stop_since = now;
    p->deleted = p->forced = true;
    p->delete_asked = true;
    p->grace_s = 0;
}

void pod_fail(struct pod *p, const char *reason, struct str message, bool rejected, int64_t now)
{
    if (p->fail_reason || p->state == POD_ENDED)
        return;
    p->fail_reason = reason;
    p->fail_message = str_dup(&p->arena, message);
    p->rejected = rejected;
    p->grace_s = val_num_at(spec_of(p), 30, N(terminationGracePeriodSeconds));
    p->stop_since = now;
}

void pod_saw_volumes(struct pod *p, bool ok, struct str message, int64_t now)
{
    p->volumes = ok ? PART_READY : PART_FAILED;
    p->volumes_message = str_dup(&p->arena, message);
    if (!ok) {
        p->volumes_backoff = p->volumes_backoff ? MIN(p->volumes_backoff * 2, VOLUMES_RETRY_MOST)
                                                : VOLUMES_RETRY_FIRST;
        p->volumes_retry_at = now + p->volumes_backoff;
    }
}

void pod_saw_sandbox(struct pod *p, bool ok, struct str ip_or_message, int64_t now)
{
    p->sandbox = ok ? PART_READY : PART_FAILED;
    if (ok) {
        p->ip = str_dup(&p->arena, ip_or_message);
        p->sandbox_backoff = 0;
        return;
    }
    p->sandbox_message = str_dup(&p->arena, ip_or_message);
    p->sandbox_backoff = p->sandbox_backoff ? MIN(p->sandbox_backoff * 2, SANDBOX_RETRY_MOST) : NS_PER_S;
    p->sandbox_retry_at = now + p->sandbox_backoff;
}

void pod_saw_sandbox_lost(struct pod *p, int64_t now)
{
    p->sandbox = PART_FAILED; /* what is left of it is to be put away, by the next one's start or by the end */
    p->sandbox_retry_at = 0;
    p->sandbox_lost = true;
    array_each (c, &p->containers) {
        if (c->role == CONTAINER_INIT && c->run == RUN_EXITED && !policy_is(p, c, S("Never"))) {
            c->run = RUN_NONE; /* what it prepared may be gone: the new sandbox begins with it */
            c->retry_at = 0;
        }
    }
    for (size_t i = 0; i < p->containers.n; i++)
        if (p->containers.p[i].run == RUN_RUNNING || p->containers.p[i].run == RUN_STARTING)
            pod_saw_exit(p, (int)i, 137, false, S(""), p->containers.p[i].started_real, clock_real(), now);
}

void pod_saw_sandbox_stopped(struct pod *p)
{
    p->sandbox = PART_NONE;
}

void pod_saw_volumes_removed(struct pod *p)
{
    p->volumes = PART_NONE;
}

void pod_saw_image(struct pod *p, int i, bool ok, struct str id_or_reason, struct str message, int64_t now)
{
    struct pod_container *c = &p->containers.p[i];
    if (ok) {
        c->image = PART_READY;
        c->image_id = str_dup(&p->arena, id_or_reason);
        c->image_backoff = c->image_retry_at = 0;
        c->image_backing_off = false;
        c->image_reason = STR_NONE;
        return;
    }
    c->image = PART_FAILED;
    c->redefined = false; /* a kubelet counts it as ended now */
    c->image_reason = str_dup(&p->arena, id_or_reason);
    c->image_message = str_dup(&p->arena, message);
    c->image_backing_off = false;
    c->image_backoff = c->image_backoff ? MIN(c->image_backoff * 2, BACKOFF_MOST) : BACKOFF_FIRST;
    c->image_retry_at = now + c->image_backoff;
}

/* The next run is up: what was the latest run's end is now the last state. */
static void count_run(struct pod_container *c)
{
    if (!c->end.reason)
        return;
    c->last = c->end;
    c->has_last = true;
    c->end = (struct ending){0};
    c->restarts++;
}

void pod_saw_running(struct pod *p, int i, struct str id, int64_t real, int64_t now)
{
    struct pod_container *c = &p->containers.p[i];
    c->run = RUN_RUNNING;
    c->id = str_dup(&p->arena, id);
    c->started_real = real;
    c->started_mono = now;
    c->config_reason = c->config_message = STR_NONE;
    c->replacing = false;
    c->node_backoff = 0;
    c->poststart = val_at(c->spec, N(lifecycle), N(postStart)) ? HOOK_NONE : HOOK_DONE;
    if (c->poststart == HOOK_DONE) {
        c->backing_off = false;
        count_run(c);
    }
    /* without a probe the answer is known; with one the prober says */
    c->passed_startup = !val_at(c->spec, N(startupProbe));
    c->ready = c->passed_startup && !val_at(c->spec, N(readinessProbe));
}

/* When it may run again. A run that ended by itself waits from its end on. One that the node ended, for a probe or
 * for another image, is counted from the end of the run before, as a kubelet does, which looks when it ends it: what
 * ran longer than the wait begins again at once, and the first such run counts nothing. */
static void back_off(struct pod_container *c, bool ended_by_node, int64_t now)
{
    int64_t from = ended_by_node ? c->ended_mono : now;
    c->ended_mono = now;
    c->retry_at = now;
    if (!from)
        return;
    if (c->started_mono && now - c->started_mono >= BACKOFF_FORGET)
        c->backoff = 0;
    c->retry_at = c->backoff ? MAX(from + c->backoff, now) : now;
    c->backoff = c->backoff ? MIN(c->backoff * 2, BACKOFF_MOST) : BACKOFF_FIRST;
}

static void end_run(struct pod *p, struct pod_container *c, struct ending end, int64_t now)
{
    count_run(c); /* it came up, if not for long */
    c->run = RUN_EXITED;
    c->backing_off = false;
    c->image = PART_NONE; /* looked for again, as the pull policy says */
    c->end = end;
    c->end.id = str_dup(&p->arena, end.id);
    c->end.message = str_dup(&p->arena, end.message);
    bool ended_by_node = c->unhealthy && c->poststart != HOOK_FAILED;
    c->replacing = c->unhealthy;
    c->ready = c->passed_startup = c->unhealthy = false;
    c->unhealthy_why = NULL;
    c->stopping = NULL;
    c->termed = c->killed = false;
    c->kill_at = 0;
    c->prestop = c->poststart = HOOK_NONE;
    back_off(c, ended_by_node, now);
}

void pod_saw_start_failed(struct pod *p, int i, const char *reason, struct str message, bool config, int64_t real,
                          int64_t now)
{
    struct pod_container *c = &p->containers.p[i];
    c->config_reason = str_dup(&p->arena, str_of(reason));
    c->config_message = str_dup(&p->arena, message);
    if (config) { /* its own configuration is tried again when that changes, and every ten seconds; the node's
                     failures soon */
        bool by_node = strcmp(reason, "CreateContainerError") == 0;
        c->node_backoff = by_node ? MIN(MAX(2 * c->node_backoff, NS_PER_S), BACKOFF_FIRST) : 0;
        c->run = RUN_NONE;
        c->backing_off = false;
        c->retry_at = now + (by_node ? c->node_backoff : BACKOFF_FIRST);
        return;
    }
    end_run(p, c, (struct ending){c->id, 128, "StartError", message, real, real}, now);
}

static const char *exit_reason(int exit_code, bool oom)
{
    return oom ? "OOMKilled" : exit_code == 0 ? "Completed" : "Error";
}

void pod_saw_exit(struct pod *p, int i, int exit_code, bool oom, struct str message, int64_t started,
                  int64_t finished, int64_t now)
{
    struct pod_container *c = &p->containers.p[i];
    if (c->run == RUN_EXITED)
        return;
    end_run(p, c, (struct ending){c->id, exit_code, exit_reason(exit_code, oom), message, started, finished}, now);
}

void pod_saw_earlier_exit(struct pod *p, int i, struct str id, int exit_code, bool oom, int64_t started,
                          int64_t finished)
{
    struct pod_container *c = &p->containers.p[i];
    if (c->has_last && str_eq(c->last.id, id))
        return; /* told, with its message */
    c->has_last = true;
    c->last = (struct ending){
        str_dup(&p->arena, id), exit_code, exit_reason(exit_code, oom), S(""), started, finished};
}

void pod_saw_adopted(struct pod *p, struct str ip)
{
    p->sandbox = p->volumes = PART_READY;
    p->adopted = true;
    p->ip = str_dup(&p->arena, ip);
}

bool pod_saw_missing(struct pod *p, int i, int64_t real)
{
    struct pod_container *c = &p->containers.p[i];
    const struct val *was = pod_container_told(p, i), *ran = val_at(was, N(state), N(running)),
                     *ended = val_at(was, N(state), N(terminated));
    if (c->run != RUN_NONE || p->concluded || !(ran || ended || c->has_last))
        return false;
    if (ran) { /* nobody saw it end */
        c->end = ending_of(p, ran);
        c->end.id = ending_of(p, was).id;
        c->end.exit_code = 255;
        c->end.reason = "Unknown";
        c->end.finished = real;
    } else if (ended) {
        c->end = ending_of(p, ended);
    } else { /* it was waiting for its next run, and still is */
        c->end = c->last;
        c->has_last = false;
        return true;
    }
    c->id = c->end.id;
    c->run = RUN_EXITED;
    return true;
}

void pod_saw_rebooted(struct pod *p, int64_t real, int64_t now)
{
    bool any = false;
    for (size_t i = 0; i < p->containers.n; i++)
        any |= pod_saw_missing(p, (int)i, real);
    if (!any || p->state != POD_PREPARING)
        return;
    move(p, POD_ACTIVE);
    pod_saw_sandbox_lost(p, now);
}

void pod_saw_probe(struct pod *p, int i, bool passed_startup, bool ready, const char *unhealthy_why)
{
    struct pod_container *c = &p->containers.p[i];
    if (c->run != RUN_RUNNING)
        return;
    c->passed_startup = passed_startup;
    c->ready = ready && passed_startup;
    if (unhealthy_why) {
        c->unhealthy = true;
        c->unhealthy_why = unhealthy_why;
    }
}

void pod_saw_hook(struct pod *p, int i, bool poststart, bool ok, struct str message)
{
    struct pod_container *c = &p->containers.p[i];
    if (!poststart) {
        c->prestop = ok ? HOOK_DONE : HOOK_FAILED;
        return;
    }
    if (c->run != RUN_RUNNING)
        return; /* it ended first */
    c->poststart = ok ? HOOK_DONE : HOOK_FAILED;
    c->poststart_message = ok ? STR_NONE : str_dup(&p->arena, message);
    if (ok) {
        c->backing_off = false;
        count_run(c);
    } else {
        c->unhealthy = true;
        c->unhealthy_why = "FailedPostStartHook";
    }
}

void pod_saw_left(struct pod *p)
{
    p->left = true;
}

void pod_saw_drained(struct pod *p)
{
    p->drained = true;
}

void pod_retry(struct pod *p)
{
    if (p->volumes == PART_FAILED)
        p->volumes_retry_at = 0;
    array_each (c, &p->containers)
        if (c->config_reason.n && c->run == RUN_NONE)
            c->retry_at = 0;
}

/* --- which containers may run ------------------------------------------------------------------------------- */

static bool ended_well(const struct pod_container *c)
{
    return c->run == RUN_EXITED && c->end.exit_code == 0;
}

/* A rule of the container says that this exit code is one to run again after (KEP-5307). */
static bool rule_restarts(const struct pod_container *c)
{
    val_each_item (r, val_get(c->spec, N(restartPolicyRules))) {
        bool listed = false, in = str_eq(val_text_at(r, N(exitCodes), N(operator)), S("In"));
        val_each_item (code, val_at(r, N(exitCodes), N(values)))
            listed = listed || val_num(code, -1) == c->end.exit_code;
        if (str_eq(val_text_at(r, N(action)), S("Restart")) && listed == in)
            return true;
    }
    return false;
}

static bool restarts(const struct pod *p, const struct pod_container *c)
{
    if (p->deleted || p->fail_reason || c->role == CONTAINER_EPHEMERAL)
        return false;
    if (c->role == CONTAINER_SIDECAR || c->redefined)
        return true;
    if (rule_restarts(c))
        return c->role != CONTAINER_INIT || c->end.exit_code != 0;
    if (c->role == CONTAINER_INIT)
        return c->end.exit_code != 0 && !policy_is(p, c, S("Never"));
    return policy_is(p, c, S("Always")) || (policy_is(p, c, S("OnFailure")) && c->end.exit_code != 0);
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
static bool finished(const struct pod *p)
{
    bool any = false;
    array_each (c, &p->containers) {
        if (c->role == CONTAINER_INIT && c->run == RUN_EXITED && c->end.exit_code != 0 && !restarts(p, c))
            return true;
        if (c->role != CONTAINER_MAIN)
            continue;
        any = true;
        if (c->run != RUN_EXITED || restarts(p, c))
            return false;
    }
    return any;
}

static void step_restart_wait(struct pod *p, int i, struct pod_actions *out)
{
    struct pod_container *c = &p->containers.p[i];
    wake(out, c->retry_at);
    if (c->backing_off || c->run != RUN_EXITED)
        return;
    c->backing_off = true;
    tell(out, i, true, "BackOff",
         arena_fmt(&p->arena,
                   "Back-off restarting failed container " STR_FMT " in pod " STR_FMT "_" STR_FMT "(" STR_FMT ")",
                   STR_ARG(c->name), STR_ARG(p->name), STR_ARG(p->ns), STR_ARG(p->uid)));
}

static void step_image(struct pod *p, int i, int64_t now, struct pod_actions *out)
{
    struct pod_container *c = &p->containers.p[i];
    if (c->image == PART_FAILED && now < c->image_retry_at) {
        wake(out, c->image_retry_at);
        int64_t shown = c->image_retry_at - c->image_backoff + IMAGE_ERROR_SHOWN;
        if (!c->image_backing_off && now < shown) {
            wake(out, shown);
        } else if (!c->image_backing_off && str_eq(c->image_reason, S("ErrImagePull"))) {
            c->image_backing_off = true;
            tell(out, i, false, "BackOff",
                 arena_fmt(&p->arena, "Back-off pulling image \"" STR_FMT "\"",
                           STR_ARG(val_text_at(c->spec, N(image)))));
            tell(out, i, true, "Failed", S("Error: ImagePullBackOff"));
        }
        return;
    }
    if (c->image != PART_BUSY) {
        c->image = PART_BUSY;
        c->image_asked_at = now;
        wake(out, now + 1); /* by then it is known whether it is here or must be pulled */
        act(out, DO_IMAGE_ENSURE, i);
    }
}

static void step_start(struct pod *p, int i, int64_t now, struct pod_actions *out)
{
    struct pod_container *c = &p->containers.p[i];
    if (c->run == RUN_STARTING || c->run == RUN_RUNNING)
        return;
    if (c->run == RUN_EXITED && !restarts(p, c))
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
    c->redefined = false;
    act(out, DO_CONTAINER_START, i);
}

/* --- stopping one container --------------------------------------------------------------------------------- */

static int64_t stop_deadline(const struct pod *p, const struct pod_container *c, int64_t now)
{
    if (p->stop_since)
        return p->forced ? now : p->stop_since + ns_of_seconds(p->grace_s);
    int64_t grace = val_num_at(spec_of(p), 30, N(terminationGracePeriodSeconds));
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
            tell(out, i, false, "Killing", arena_fmt(&p->arena, "Stopping container " STR_FMT, STR_ARG(c->name)));
        else if (strncmp(c->unhealthy_why, "Failed", 6) == 0)
            tell(out, i, false, "Killing", str_of(c->unhealthy_why));
        else if (strncmp(c->unhealthy_why, "definition", 10) == 0)
            tell(out, i, false, "Killing",
                 arena_fmt(&p->arena, "Container " STR_FMT " definition changed, will be restarted",
                           STR_ARG(c->name)));
        else if (policy_is(p, c, S("Never")) && c->role != CONTAINER_SIDECAR)
            tell(out, i, false, "Killing", arena_fmt(&p->arena, "Stopping container " STR_FMT, STR_ARG(c->name)));
        else
            tell(out, i, false, "Killing",
                 arena_fmt(&p->arena, "Container " STR_FMT " %s, will be restarted", STR_ARG(c->name),
                           c->unhealthy_why));
    }
    if (p->forced)
        c->kill_at = MIN(c->kill_at, now);
    bool hooked = val_at(c->spec, N(lifecycle), N(preStop)) && !p->forced;
    if (hooked && c->prestop == HOOK_NONE) {
        c->prestop = HOOK_BUSY;
        act(out, DO_PRESTOP, i);
    }
    bool waits = ((hooked && c->prestop == HOOK_BUSY) || !turn) && now < c->kill_at;
    if (!waits && !c->termed && !p->forced) {
        c->termed = true;
        act(out, DO_TERM, i);
        c->kill_at = MAX(c->kill_at, now + GRACE_LEAST);
    }
    if (now >= c->kill_at && !c->killed) {
        c->killed = true;
        act(out, DO_KILL, i);
    }
    if (!c->killed)
        wake(out, c->kill_at);
    return true;
}

/* --- the states ----------------------------------------------------------------------------------------------- */

/* The pod's time is over, whether it has come to run or not. */
static bool step_deadline(struct pod *p, int64_t now, struct pod_actions *out)
{
    int64_t deadline = val_num_at(spec_of(p), 0, N(activeDeadlineSeconds));
    if (!deadline || p->fail_reason || p->deleted)
        return false;
    if (now < p->started_mono + ns_of_seconds(deadline)) {
        wake(out, p->started_mono + ns_of_seconds(deadline));
        return false;
    }
    pod_fail(p, "DeadlineExceeded", S("Pod was active on the node longer than the specified deadline"), false, now);
    tell(out, -1, false, "DeadlineExceeded", p->fail_message);
    return true;
}

static void step_preparing(struct pod *p, int64_t now, struct pod_actions *out)
{
    if (p->volumes == PART_READY && p->sandbox == PART_READY) {
        move(p, POD_ACTIVE);
        return;
    }
    (void)step_deadline(p, now, out);
    if (p->deleted || p->fail_reason) {
        if (p->volumes != PART_BUSY && p->sandbox != PART_BUSY) /* what was begun is waited for, then undone */
            move(p, POD_STOPPING);
        return;
    }
    if (p->volumes == PART_FAILED && now < p->volumes_retry_at) {
        wake(out, p->volumes_retry_at);
        return;
    }
    if (p->volumes == PART_NONE || p->volumes == PART_FAILED) {
        p->volumes = PART_BUSY;
        act(out, DO_VOLUMES_SETUP, -1);
        return;
    }
    if (p->volumes != PART_READY)
        return;
    if (p->sandbox == PART_FAILED && now < p->sandbox_retry_at) {
        wake(out, p->sandbox_retry_at);
        return;
    }
    if (p->sandbox == PART_NONE || p->sandbox == PART_FAILED) {
        p->sandbox = PART_BUSY;
        act(out, DO_SANDBOX_START, -1);
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
        move(p, POD_LEAVING);
    else
        move(p, POD_STOPPING);
}

static void step_active(struct pod *p, int64_t now, struct pod_actions *out)
{
    if (p->deleted || p->fail_reason) {
        step_begin_stop(p);
        return;
    }
    if (step_deadline(p, now, out)) {
        step_begin_stop(p);
        return;
    }
    if (finished(p)) {
        p->finished_at = now;
        move(p, POD_STOPPING); /* sidecars may still run */
        return;
    }
    if (p->sandbox == PART_FAILED) {
        tell(out, -1, false, "SandboxChanged", S("Pod sandbox changed, it will be killed and re-created."));
        move(p, POD_PREPARING);
        return;
    }
    bool may_start = true, starting = false;
    for (size_t i = 0; i < p->containers.n; i++) {
        struct pod_container *c = &p->containers.p[i];
        bool init_done = c->role == CONTAINER_INIT && ended_well(c);
        bool ending = step_unhealthy(p, (int)i, now, out);
        if (!ending && may_start && !init_done && !(c->role == CONTAINER_MAIN && starting))
            step_start(p, (int)i, now, out);
        if (c->run == RUN_RUNNING && c->poststart == HOOK_NONE && !ending) {
            c->poststart = HOOK_BUSY;
            act(out, DO_POSTSTART, (int)i);
        }
        starting = starting || (c->role == CONTAINER_MAIN && is_starting(c, now));
        may_start = may_start && lets_next_start(c) && !(ending && c->role == CONTAINER_SIDECAR);
    }
}

static void step_leaving(struct pod *p, int64_t now, struct pod_actions *out)
{
    int64_t most = p->stop_since + MIN(LEAVE_MOST, ns_of_seconds(p->grace_s));
    if (p->forced) {
        move(p, POD_STOPPING);
    } else if (p->left || now >= most) {
        move(p, POD_DRAINING);
        act(out, DO_DRAIN, -1);
    } else {
        wake(out, most);
    }
}

static void step_draining(struct pod *p, int64_t now, struct pod_actions *out)
{
    int64_t most = p->stop_since + ns_of_seconds(p->grace_s) / 2;
    if (p->drained || p->forced || now >= most)
        move(p, POD_STOPPING);
    else
        wake(out, most);
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
        move(p, POD_CLEANING);
}

static void step_cleaning(struct pod *p, struct pod_actions *out)
{
    if (p->sandbox == PART_READY || p->sandbox == PART_FAILED) {
        p->sandbox = PART_BUSY;
        act(out, DO_SANDBOX_STOP, -1);
    }
    if (p->sandbox == PART_NONE && (p->volumes == PART_READY || p->volumes == PART_FAILED)) {
        p->volumes = PART_BUSY;
        p->logs_kept = !p->deleted;
        act(out, DO_VOLUMES_TEARDOWN, -1);
    }
    if (p->sandbox == PART_NONE && p->volumes == PART_NONE)
        move(p, POD_ENDED);
}

static void step_ended(struct pod *p, struct pod_actions *out)
{
    if (!p->deleted)
        return;
    if (p->logs_kept) {
        p->logs_kept = false;
        p->volumes = PART_BUSY;
        act(out, DO_VOLUMES_TEARDOWN, -1);
    }
    if (p->volumes != PART_BUSY && !p->delete_asked) {
        p->delete_asked = true;
        act(out, DO_DELETE_OBJECT, -1);
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

/* --- memory --------------------------------------------------------------------------------------------------- */

static void keep_ending(struct arena *a, struct ending *e)
{
    e->id = str_dup(a, e->id);
    e->message = str_dup(a, e->message);
    if (e->reason)
        e->reason = arena_strz(a, str_of(e->reason));
}

/* A pod that fails for weeks makes new texts all the time: those that nothing points to any more go. */
static void tidy(struct pod *p)
{
    struct arena old = p->arena;
    p->arena = ARENA;
    struct str *const own[] = {&p->uid, &p->ns,      &p->name,        &p->volumes_message, &p->sandbox_message,
                               &p->ip,  &p->host_ip, &p->fail_message};
    for (size_t i = 0; i < countof(own); i++)
        *own[i] = str_dup(&p->arena, *own[i]);
    array_each (c, &p->containers) {
        struct str *const its[] = {&c->name, &c->image_reason,  &c->image_message,  &c->image_id,
                                   &c->id,   &c->config_reason, &c->config_message, &c->poststart_message};
        for (size_t i = 0; i < countof(its); i++)
            *its[i] = str_dup(&p->arena, *its[i]);
        c->user.groups = arena_dup(&p->arena, c->user.groups, c->user.ngroups * sizeof *c->user.groups);
        keep_ending(&p->arena, &c->end);
        keep_ending(&p->arena, &c->last);
        if (!spec_container(spec_of(p), c->role, c->name))
            c->spec = arena_dup(&p->arena, c->spec, sizeof *c->spec);
    }
    arena_fini(&old);
    p->tidy_at = MAX(2 * p->arena.used, TIDY_AT);
}

void pod_step(struct pod *p, int64_t now, struct pod_actions *out)
{
    enum pod_state was;
    if (p->arena.used > MAX(p->tidy_at, TIDY_AT))
        tidy(p);
    do { /* a move that needs no answer is followed at once */
        was = p->state;
        step_one(p, now, out);
        if (was != POD_LEAVING && p->state == POD_LEAVING)
            act(out, DO_LEAVE, -1);
    } while (p->state != was);
}
