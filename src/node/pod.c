/* The facts about a pod. Each function takes one in and changes nothing else in the world; what follows from it,
 * pod_step works out later from the whole. So a fact may come at any time, twice, or after the pod has gone on
 * without it, and each function says what it is then: most of them look whether the run or the state they speak of is
 * still the one at hand (pod_saw_exit by the run's id, pod_saw_probe and pod_saw_hook by the container running).
 *
 * What is not obvious:
 *
 * - Restarts are counted when the next run is up, and not when the last one ended: until then `end` is the state that
 *   is shown, and `restarts` the number of the run that is over (count_run). A postStart hook is a part of coming up.
 * - A wait belongs to what failed: volumes, sandbox, an image, a container's configuration, a crash each have their
 * own
 *   `..._retry_at` and grow by their own rule. A fact that takes away the reason sets it to 0.
 * - A run that the node itself ended is counted otherwise than one that crashed (back_off), as a kubelet does.
 * - After a reboot or a lost sandbox what the object says is all there is. Containers that ran by it have ended, how
 * is not known (pod_saw_missing); init containers run again, as what they prepared may be gone
 * (pod_saw_sandbox_lost).
 * - A newer object replaces the older one in place (pod_wanted): every `spec` of a container points into the object,
 * so all of them move on before the older one may go.
 */
#include "base/clock.h"
#include "node/pod_int.h"

#define BACKOFF_FIRST       (10 * NS_PER_S)
#define BACKOFF_MOST        (300 * NS_PER_S)
#define BACKOFF_FORGET      (600 * NS_PER_S) /* a run this long makes the next crash a first one */
#define VOLUMES_RETRY_FIRST (500 * NS_PER_MS)
#define VOLUMES_RETRY_MOST  (122 * NS_PER_S)
#define SANDBOX_RETRY_MOST  (16 * NS_PER_S)
#define TIDY_AT             (32 << 10) /* bytes of texts; the live ones are usually much less */

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

void pod_move(struct pod *p, enum pod_state to)
{
    ASSERT(pod_moves[p->state] & 1u << to);
    p->state = to;
}

const struct val *pod_spec(const struct pod *p)
{
    return obj_spec(p->obj);
}

bool pod_policy_is(const struct pod *p, const struct pod_container *c, struct str policy)
{
    struct str own = val_text_at(c->spec, N(restartPolicy));
    return str_eq(own.n ? own : val_text_at(pod_spec(p), N(restartPolicy)), policy);
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
static void container_recall(struct pod *p, int i)
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

static bool phase_is_final(const struct obj *obj)
{
    struct str phase = val_text_at(obj_status(obj), N(phase));
    return str_eq(phase, S("Failed")) || str_eq(phase, S("Succeeded"));
}

/* No agent concludes while one runs: then a final phase is another's word. */
static bool any_told_running(const struct obj *obj)
{
    val_each_item (c, val_get(obj_status(obj), N(initContainerStatuses)))
        if (val_at(c, N(state), N(running)))
            return true;
    val_each_item (c, val_get(obj_status(obj), N(containerStatuses)))
        if (val_at(c, N(state), N(running)))
            return true;
    return false;
}

struct pod *pod_new(struct obj *obj, struct str host_ip, int64_t now, int64_t real)
{
    struct pod *p = NEW(struct pod);
    p->obj = obj_ref(obj);
    p->uid = str_dup(&p->arena, obj->uid);
    p->ns = str_dup(&p->arena, obj->ns);
    p->name = str_dup(&p->arena, obj->name);
    p->host_ip = str_dup(&p->arena, host_ip);
    p->host_network = val_true(val_at(pod_spec(p), N(hostNetwork)));
    p->started_mono = now;
    p->started_real = real;
    if (time_parse(val_text_at(obj_status(obj), N(startTime)), &p->started_real))
        p->started_mono -= MAX(real - p->started_real, 0); /* an earlier agent began with it */
    add_containers(p, val_at(pod_spec(p), N(initContainers)), CONTAINER_INIT);
    add_containers(p, val_at(pod_spec(p), N(containers)), CONTAINER_MAIN);
    add_containers(p, val_at(pod_spec(p), N(ephemeralContainers)), CONTAINER_EPHEMERAL);
    for (size_t i = 0; i < p->containers.n; i++)
        container_recall(p, (int)i);
    pod_resize_recall(p);
    if (phase_is_final(obj) && !any_told_running(obj)) {
        p->state = POD_CLEANING; /* what an earlier agent concluded stays so */
        p->concluded = true;
    }
    pod_wanted(p, obj, now);
    return p;
}

void pod_free(struct pod *p)
{
    obj_unref(p->obj);
    obj_unref(p->wanted);
    array_fini(&p->containers);
    arena_fini(&p->arena);
    mem_free(p);
}

bool pod_is_to_end(const struct pod *p)
{
    return p->deleted || p->fail_reason || p->told_phase;
}

/* A final phase stays, whoever wrote it: a stranger's, or that of a control plane which gave this node up.
 * Controllers have counted the pod as over by then, and may have made its successor. */
static void pod_told_over(struct pod *p, const struct obj *obj, int64_t now)
{
    if (!phase_is_final(obj) || p->told_phase || p->rejected || p->state >= POD_CLEANING)
        return;
    if (!pod_is_to_end(p)) {
        p->grace_s = val_num_at(pod_spec(p), 30, N(terminationGracePeriodSeconds));
        p->stop_since = now;
    }
    p->told_phase = str_eq(val_text_at(obj_status(obj), N(phase)), S("Failed")) ? "Failed" : "Succeeded";
}

void pod_wanted(struct pod *p, struct obj *obj, int64_t now)
{
    AUTO(obj_unref) struct obj *was = p->obj; /* what `spec` of the containers points into until they move on */
    pod_take_object(p, obj);
    add_containers(p, val_at(pod_spec(p), N(ephemeralContainers)), CONTAINER_EPHEMERAL);
    array_each (c, &p->containers) {
        const struct val *spec = spec_container(pod_spec(p), c->role, c->name);
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
    pod_told_over(p, obj, now);
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
    p->grace_s = val_num_at(pod_spec(p), 30, N(terminationGracePeriodSeconds));
    p->stop_since = now;
}

void pod_shut_down(struct pod *p, struct str message, int64_t grace_s, int64_t now)
{
    pod_fail(p, "Terminated", message, false, now);
    p->disrupted = true;
    p->grace_s = MIN(p->grace_s, grace_s);
}

void pod_evict(struct pod *p, struct str message, int64_t grace_s, bool disrupted, int64_t now)
{
    if (p->state == POD_ENDED)
        return;
    if (!pod_is_to_end(p)) {
        pod_fail(p, "Evicted", message, false, now);
        p->disrupted = disrupted;
        p->grace_s = MIN(p->grace_s, grace_s);
        return;
    }
    array_each (c, &p->containers)
        if (c->kill_at)
            c->kill_at = MIN(c->kill_at, now + ns_of_seconds(grace_s));
    p->grace_s = MIN(p->grace_s, (now - p->stop_since) / NS_PER_S + grace_s);
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

void pod_saw_sandbox_lost(struct pod *p, int64_t real, int64_t now)
{
    p->sandbox = PART_FAILED; /* what is left of it is to be put away, by the next one's start or by the end */
    p->sandbox_retry_at = 0;
    p->sandbox_lost = true;
    array_each (c, &p->containers) {
        if (c->role == CONTAINER_INIT && c->run == RUN_EXITED && !pod_policy_is(p, c, S("Never"))) {
            c->run = RUN_NONE; /* what it prepared may be gone: the new sandbox begins with it */
            c->retry_at = 0;
        }
    }
    for (size_t i = 0; i < p->containers.n; i++)
        if (p->containers.p[i].run == RUN_RUNNING || p->containers.p[i].run == RUN_STARTING)
            pod_saw_exit(p, (int)i, p->containers.p[i].id, 137, false, S(""), p->containers.p[i].started_real, real,
                         now);
}

void pod_saw_sandbox_stopped(struct pod *p)
{
    if (p->state == POD_PREPARING)
        p->sandbox_retry_at = p->sandbox_backoff = 0;
    if (p->state == POD_CLEANING && p->sandbox == PART_BUSY)
        p->sandbox = PART_NONE;
}

void pod_saw_volumes_removed(struct pod *p)
{
    p->volumes = PART_NONE;
}

void pod_asks_image(struct pod *p, int i, struct str name)
{
    struct pod_container *c = &p->containers.p[i];
    if (!str_eq(c->image_asked, name))
        c->image_asked = str_dup(&p->arena, name);
}

struct str pod_asked_image(const struct pod_container *c)
{
    return c->image_asked.n ? c->image_asked : val_text_at(c->spec, N(image));
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

void pod_saw_image_gone(struct pod *p, int i)
{
    p->containers.p[i].image = PART_NONE;
}

void pod_saw_image_again(struct pod *p, int i)
{
    p->containers.p[i].image_retry_at = 0;
}

void pod_saw_starting(struct pod *p, int i, struct str id, const struct container_user *user)
{
    struct pod_container *c = &p->containers.p[i];
    c->id = str_dup(&p->arena, id);
    c->user = *user;
    c->user.groups = arena_dup(&p->arena, user->groups, user->ngroups * sizeof *user->groups);
}

void pod_saw_start_waits(struct pod *p, int i, int64_t now)
{
    struct pod_container *c = &p->containers.p[i];
    c->run = RUN_NONE;
    c->retry_at = now + NS_PER_S;
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

void pod_saw_exit(struct pod *p, int i, struct str id, int exit_code, bool oom, struct str message, int64_t started,
                  int64_t finished, int64_t now)
{
    struct pod_container *c = &p->containers.p[i];
    if (c->run == RUN_EXITED || !str_eq(c->id, id))
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

void pod_saw_unknown(struct pod *p)
{
    p->volumes = PART_FAILED;
}

void pod_saw_adopted(struct pod *p, struct str ip)
{
    p->sandbox = p->volumes = PART_READY;
    p->adopted = true;
    p->ip = str_dup(&p->arena, ip);
}

/* The status says that this run is up, which it does once its postStart hook is through. */
static bool told_running(const struct val *told, struct str id)
{
    return val_at(told, N(state), N(running)) && str_ends(val_text_at(told, N(containerID)), id);
}

void pod_saw_adopted_run(struct pod *p, int i, struct str id, int64_t number, int64_t real, int64_t now)
{
    struct pod_container *c = &p->containers.p[i];
    const struct val *was = pod_container_told(p, i);
    c->restarts = (int)number;
    c->image = PART_READY;
    c->image_id = str_dup(&p->arena, val_text_at(was, N(imageID)));
    pod_saw_running(p, i, id, real, now);
    if (!told_running(was, id))
        return; /* nobody knows whether its hook ended: it runs again, as a kubelet's */
    c->poststart = HOOK_DONE;
    if (val_true(val_get(was, N(started))))
        pod_saw_probe(p, i, true, val_true(val_get(was, N(ready))), NULL); /* until a probe says otherwise */
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
    pod_move(p, POD_ACTIVE);
    pod_saw_sandbox_lost(p, real, now);
}

void pod_saw_half_made(struct pod *p, int64_t real, int64_t now)
{
    p->sandbox = PART_FAILED;
    pod_saw_rebooted(p, real, now);
}

void pod_saw_cut_off(struct pod *p, int64_t real, int64_t now)
{
    p->volumes = PART_FAILED;
    pod_saw_sandbox_lost(p, real, now);
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

void pod_saw_service(struct pod *p, bool serves)
{
    p->in_service = serves;
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

/* --- memory --------------------------------------------------------------------------------------------------- */

static void keep_ending(struct arena *a, struct ending *e)
{
    e->id = str_dup(a, e->id);
    e->message = str_dup(a, e->message);
    if (e->reason)
        e->reason = arena_strz(a, str_of(e->reason));
}

void pod_tidy(struct pod *p)
{
    if (p->arena.used <= MAX(p->tidy_at, TIDY_AT))
        return;
    struct arena old = p->arena;
    p->arena = ARENA;
    struct str *const own[] = {
        &p->uid, &p->ns,      &p->name,         &p->volumes_message,        &p->sandbox_message,
        &p->ip,  &p->host_ip, &p->fail_message, &p->resize.pending_message, &p->resize.error};
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
        if (!spec_container(pod_spec(p), c->role, c->name))
            c->spec = arena_dup(&p->arena, c->spec, sizeof *c->spec);
    }
    arena_fini(&old);
    p->tidy_at = MAX(2 * p->arena.used, TIDY_AT);
}
