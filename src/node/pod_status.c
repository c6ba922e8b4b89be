#include "api/quantity.h"
#include "api/usage.h"
#include "base/clock.h"
#include "node/condition.h"
#include "node/pod.h"
#include "node/podspec.h"

#define RUNTIME "wherry"

struct status_view { /* what is used by every part below */
    const struct pod *p;
    struct arena *a;
    int64_t real, generation;
    const struct val *old;
};

static bool stopped_all(const struct pod *p)
{
    return p->state == POD_CLEANING || p->state == POD_ENDED;
}

static bool never_up(const struct pod_container *c)
{
    return !pod_container_up(c) && !c->end.reason && !c->has_last;
}

static bool is_init(enum container_role r)
{
    return r == CONTAINER_INIT || r == CONTAINER_SIDECAR;
}

/* Something was tried in the sandbox: from then on its address is shown. */
static bool any_tried(const struct pod *p)
{
    array_each (c, &p->containers)
        if (!never_up(c) || c->config_reason.n || c->image_reason.n)
            return true;
    return false;
}

/* An init container as it is shown: of one that runs again in a new sandbox the earlier end, until it is up. */
static bool init_is_through(const struct pod_container *c)
{
    return !pod_container_up(c) && c->end.reason && c->end.exit_code == 0 && !c->again;
}

static bool init_pending(const struct pod *p)
{
    array_each (c, &p->containers) {
        if (c->role == CONTAINER_INIT && !init_is_through(c))
            return true;
        if (c->role == CONTAINER_SIDECAR && never_up(c))
            return true;
    }
    return false;
}

static bool any_main_was_up(const struct pod *p)
{
    array_each (c, &p->containers)
        if (c->role == CONTAINER_MAIN && !never_up(c) && !c->again)
            return true;
    return false;
}

static bool has_init(const struct pod *p)
{
    return p->containers.n && p->containers.p[0].role != CONTAINER_MAIN;
}

const char *pod_phase(const struct pod *p)
{
    size_t running = 0, waiting = 0, ended = 0, well = 0;
    array_each (c, &p->containers) {
        if (c->role != CONTAINER_MAIN)
            continue;
        if (pod_container_up(c))
            running++;
        else if (c->again)
            waiting++;
        else if (c->end.reason)
            ended++, well += c->run == RUN_EXITED && c->end.exit_code == 0;
        else if (c->has_last)
            ended++;
        else
            waiting++;
    }
    if (p->told_phase)
        return p->told_phase;
    if (p->rejected)
        return "Failed";
    if (stopped_all(p) && (p->deleted || p->fail_reason))
        return !p->fail_reason && ended && well == ended && !waiting ? "Succeeded" : "Failed";
    if (stopped_all(p))
        return init_pending(p) || well < ended ? "Failed" : "Succeeded";
    if (init_pending(p) || waiting)
        return "Pending";
    return "Running";
}

static void text_put(struct status_view *v, struct val *m, const struct name *name, const char *text)
{
    val_set_text(v->a, m, name, str_of(text));
}

static void put_time(struct status_view *v, struct val *m, const struct name *name, int64_t real)
{
    if (real)
        val_set(v->a, m, name, val_str(v->a, time_text(v->a, real)));
    else
        val_set(v->a, m, name, VAL_NONE);
}

/* --- conditions ---------------------------------------------------------------------------------------------- */

static void add_condition(struct status_view *v, struct val *list, const char *type, bool yes, const char *reason,
                          struct str message)
{
    struct val c = condition_of(v->a, val_get(v->old, N(conditions)),
                                &(struct status_condition){type, yes, reason, message}, v->real);
    val_set_num(v->a, &c, N(observedGeneration), v->generation);
    val_set(v->a, &c, N(lastProbeTime), VAL_NONE);
    val_add(v->a, list, c);
}

static struct str names_of(struct status_view *v, bool (*is)(const struct pod_container *c), bool init,
                           const char *what)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    array_each (c, &v->p->containers) {
        if (c->role == CONTAINER_EPHEMERAL || !is(c) || (init ? !is_init(c->role) : c->role == CONTAINER_INIT))
            continue;
        if (b.n)
            strbuf_addc(&b, ' ');
        strbuf_add(&b, c->name);
    }
    return b.n ? arena_fmt(v->a, "containers with %s status: [" STR_FMT "]", what, STR_ARG(strbuf_str(&b)))
               : STR_NONE;
}

static bool is_unready(const struct pod_container *c)
{
    return !(pod_container_up(c) && c->ready);
}

static bool is_incomplete(const struct pod_container *c)
{
    return c->role == CONTAINER_INIT ? !init_is_through(c) : !c->passed_startup;
}

static bool gates_open(struct status_view *v, struct strbuf *closed)
{
    val_each_item (g, val_at(obj_spec(v->p->obj), N(readinessGates))) {
        struct str type = val_text_at(g, N(conditionType));
        const struct val *c = val_find(val_get(v->old, N(conditions)), N(type), type);
        if (c && str_eq(val_text_at(c, N(status)), S("True")))
            continue;
        if (closed->n)
            strbuf_addz(closed, ", ");
        if (c)
            strbuf_addf(closed, "the status of pod readiness gate \"" STR_FMT "\" is not \"True\", but " STR_FMT,
                        STR_ARG(type), STR_ARG(val_text_at(c, N(status))));
        else
            strbuf_addf(closed, "corresponding condition of pod readiness gate \"" STR_FMT "\" does not exist.",
                        STR_ARG(type));
    }
    return closed->n == 0;
}

static bool is_own_condition(struct str type)
{
    static const char *const own[] = {"PodReadyToStartContainers",
                                      "Initialized",
                                      "Ready",
                                      "ContainersReady",
                                      "PodScheduled",
                                      "PodResizePending",
                                      "PodResizeInProgress",
                                      "AllContainersRestarting"};
    for (size_t i = 0; i < countof(own); i++)
        if (str_eqz(type, own[i]))
            return true;
    return false;
}

/* Told to go before a container of it had run: it failed for want of that, and its conditions say no more than
 * before, as a kubelet's, which fails it last of all. */
static bool ended_unborn(const struct pod *p)
{
    array_each (c, &p->containers)
        if (c->role == CONTAINER_MAIN && never_up(c) && !p->fail_reason)
            return p->deleted;
    return false;
}

/* They are of the generation that was looked at, whatever has come since. */
static void add_resize_conditions(struct status_view *v, struct val *list)
{
    const struct pod_resize *r = &v->p->resize;
    if (r->pending) {
        add_condition(v, list, "PodResizePending", true, r->pending, r->pending_message);
        val_set_num(v->a, &list->list[list->n - 1], N(observedGeneration), r->pending_generation);
    }
    if (r->in_progress) {
        add_condition(v, list, "PodResizeInProgress", true, r->error.n ? "Error" : NULL, r->error);
        val_set_num(v->a, &list->list[list->n - 1], N(observedGeneration), r->progress_generation);
    }
}

/* Some container has a rule that says so. */
static bool may_restart_all(const struct pod *p)
{
    array_each (c, &p->containers)
        val_each_item (r, val_get(c->spec, N(restartPolicyRules)))
            if (str_eqz(val_text_at(r, N(action)), "RestartAllContainers"))
                return true;
    return false;
}

static void add_conditions(struct status_view *v, struct val *status, const char *phase)
{
    const struct pod *p = v->p;
    struct val list = val_list();
    add_resize_conditions(v, &list);
    val_each_item (c, val_get(v->old, N(conditions))) {
        if (!is_own_condition(val_text_at(c, N(type))))
            val_add(v->a, &list, val_copy(v->a, c));
    }
    if (p->disrupted && !val_find(val_get(v->old, N(conditions)), N(type), S("DisruptionTarget")))
        add_condition(v, &list, "DisruptionTarget", true, "TerminationByKubelet", p->fail_message);
    bool over = strcmp(phase, "Succeeded") == 0, failed = strcmp(phase, "Failed") == 0 && !ended_unborn(p);
    const char *end_reason = over ? "PodCompleted" : failed || p->fail_reason ? "PodFailed" : NULL;
    struct str incomplete = names_of(v, is_incomplete, true, "incomplete");
    struct str unready = names_of(v, is_unready, false, "unready");
    add_condition(v, &list, "PodReadyToStartContainers", p->sandbox == PART_READY && !stopped_all(p), NULL, STR_NONE);
    if (over || !incomplete.n || any_main_was_up(p))
        add_condition(v, &list, "Initialized", true, over ? "PodCompleted" : NULL, STR_NONE);
    else
        add_condition(v, &list, "Initialized", false, "ContainersNotInitialized", incomplete);
    AUTO(strbuf_fini) struct strbuf closed = STRBUF(STRBUF_TEXT);
    if (end_reason) {
        add_condition(v, &list, "Ready", false, end_reason, STR_NONE);
        add_condition(v, &list, "ContainersReady", false, end_reason, STR_NONE);
    } else if (unready.n) {
        add_condition(v, &list, "Ready", false, "ContainersNotReady", unready);
        add_condition(v, &list, "ContainersReady", false, "ContainersNotReady", unready);
    } else {
        bool open = gates_open(v, &closed);
        add_condition(v, &list, "Ready", open, open ? NULL : "ReadinessGatesNotReady", strbuf_str(&closed));
        add_condition(v, &list, "ContainersReady", true, NULL, STR_NONE);
    }
    const struct val *scheduled = val_find(val_get(v->old, N(conditions)), N(type), S("PodScheduled"));
    bool by_hand = !scheduled; /* nodeName set by the maker, not by a scheduler */
    add_condition(v, &list, "PodScheduled", by_hand || str_eq(val_text_at(scheduled, N(status)), S("True")), NULL,
                  STR_NONE);
    if (may_restart_all(p) && !end_reason && p->restarting_all)
        add_condition(v, &list, "AllContainersRestarting", true, "RestartAllContainersStarted",
                      S("container exited with restart policy rule"));
    else if (may_restart_all(p))
        add_condition(v, &list, "AllContainersRestarting", false, end_reason, STR_NONE);
    val_set(v->a, status, N(conditions), list);
}

/* --- containers ---------------------------------------------------------------------------------------------- */

static struct val state_terminated(struct status_view *v, const struct ending *e)
{
    struct val t = val_map(), state = val_map();
    val_set_num(v->a, &t, N(exitCode), e->exit_code);
    text_put(v, &t, N(reason), e->reason);
    if (e->message.n)
        val_set(v->a, &t, N(message), val_str(v->a, e->message));
    put_time(v, &t, N(startedAt), e->started);
    put_time(v, &t, N(finishedAt), e->finished);
    if (e->id.n)
        val_set(v->a, &t, N(containerID), val_str(v->a, arena_fmt(v->a, RUNTIME "://" STR_FMT, STR_ARG(e->id))));
    val_set(v->a, &state, N(terminated), t);
    return state;
}

static struct val state_waiting(struct status_view *v, const char *reason, struct str message)
{
    struct val w = val_map(), state = val_map();
    text_put(v, &w, N(reason), reason);
    if (message.n)
        val_set(v->a, &w, N(message), val_str(v->a, message));
    val_set(v->a, &state, N(waiting), w);
    return state;
}

/* Why it cannot run now, beyond a crash loop; false: nothing of that kind. */
static bool state_trouble(struct status_view *v, const struct pod_container *c, struct val *state)
{
    if (c->config_reason.n)
        *state = state_waiting(v, str_dup(v->a, c->config_reason).p, c->config_message);
    else if (c->image_reason.n && c->image_backing_off)
        *state = state_waiting(v, "ImagePullBackOff",
                               arena_fmt(v->a, "Back-off pulling image \"" STR_FMT "\": " STR_FMT ": " STR_FMT,
                                         STR_ARG(pod_asked_image(c)), STR_ARG(c->image_reason),
                                         STR_ARG(c->image_message)));
    else if (c->image_reason.n)
        *state = state_waiting(v, str_dup(v->a, c->image_reason).p, c->image_message);
    else if (c->poststart_message.n && (c->end.reason || c->run != RUN_RUNNING)) /* told once that run has ended */
        *state = state_waiting(v, "PostStartHookError", c->poststart_message);
    else
        return false;
    return true;
}

static struct str back_off_text(struct status_view *v, const struct pod_container *c)
{
    /* `backoff` is already the next wait; the one being waited is half of it, and never under the first */
    int64_t s = MAX(c->backoff / 2, 10 * NS_PER_S) / NS_PER_S;
    struct str wait = s < 60 ? arena_fmt(v->a, "%llds", (long long)s)
                             : arena_fmt(v->a, "%lldm%llds", (long long)s / 60, (long long)s % 60);
    return arena_fmt(
        v->a, "back-off " STR_FMT " restarting failed container=" STR_FMT " pod=" STR_FMT "_" STR_FMT "(" STR_FMT ")",
        STR_ARG(wait), STR_ARG(c->name), STR_ARG(v->p->name), STR_ARG(v->p->ns), STR_ARG(v->p->uid));
}

/* Its absence at the end is a loss: of init containers up to the last that ever ran, and of the first; of the others
 * after all of those. */
static bool had_its_turn(const struct pod *p, const struct pod_container *c)
{
    size_t last = 0;
    if (c->role == CONTAINER_MAIN)
        return !init_pending(p) || any_main_was_up(p);
    for (size_t i = 0; i < p->containers.n; i++)
        if (is_init(p->containers.p[i].role) && !never_up(&p->containers.p[i]))
            last = i;
    return is_init(c->role) && c <= &p->containers.p[last];
}

static struct val state_of(struct status_view *v, const struct pod_container *c, struct val *last)
{
    static const struct ending never = {
        .exit_code = 137,
        .reason = "ContainerStatusUnknown",
        .message = S_INIT("The container could not be located when the pod was terminated")};
    const struct pod *p = v->p;
    struct val state = val_map();
    if (c->has_last)
        *last = state_terminated(v, &c->last);
    if (pod_container_up(c)) {
        struct val r = val_map();
        put_time(v, &r, N(startedAt), c->started_real);
        val_set(v->a, &state, N(running), r);
        return state;
    }
    if (c->again && c->end.reason && !stopped_all(p)) {
        *last = state_terminated(v, &c->end);
        if (c->backing_off)
            return state_waiting(v, "CrashLoopBackOff", back_off_text(v, c));
        return state_trouble(v, c, &state)
                   ? state
                   : state_waiting(v, has_init(p) ? "PodInitializing" : "ContainerCreating", STR_NONE);
    }
    if (c->end.reason) { /* until the next run is up it is what is shown */
        bool start_error = strcmp(c->end.reason, "StartError") == 0, troubled = state_trouble(v, c, &state);
        if (stopped_all(p) || !(c->backing_off || troubled))
            return state_terminated(v, &c->end);
        *last = state_terminated(v, &c->end);
        if (c->backing_off && (start_error || !troubled))
            return state_waiting(v, "CrashLoopBackOff", back_off_text(v, c));
        return state;
    }
    if (stopped_all(p) && !p->rejected && had_its_turn(p, c))
        return state_terminated(v, &never);
    if (!stopped_all(p) && state_trouble(v, c, &state))
        return state;
    return state_waiting(v, has_init(p) ? "PodInitializing" : "ContainerCreating", STR_NONE);
}

static void add_mounts(struct status_view *v, struct val *status, const struct pod_container *c)
{
    const struct val *mounts = val_get(c->spec, N(volumeMounts));
    struct val list = val_list();
    val_each_item (m, mounts) {
        struct val out = val_map();
        val_set(v->a, &out, N(name), val_str(v->a, val_text_at(m, N(name))));
        val_set(v->a, &out, N(mountPath), val_str(v->a, val_text_at(m, N(mountPath))));
        if (val_true(val_get(m, N(readOnly)))) {
            val_set_bool(v->a, &out, N(readOnly), true);
            val_set_text(v->a, &out, N(recursiveReadOnly), podspec_deep(m) ? S("Enabled") : S("Disabled"));
        }
        val_add(v->a, &list, out);
    }
    if (list.n)
        val_set(v->a, status, N(volumeMounts), list);
}

/* As it is in force, where that is not what it should be. */
static void amount_put(struct status_view *v, struct val *list, const char *resource, struct str amount)
{
    if (list && val_get_str(list, str_of(resource)))
        val_set_str(v->a, list, str_of(resource), val_str(v->a, amount));
}

static void force_put(struct status_view *v, struct val *resources, const struct pod_force *f,
                      const struct cgroup_bounds *want)
{
    struct val *limits = val_get_mut(resources, N(limits)), *requests = val_get_mut(resources, N(requests));
    if (!f->known)
        return;
    if (f->bounds.cpu_quota_us != want->cpu_quota_us)
        amount_put(v, limits, "cpu", quantity_of_milli(v->a, f->bounds.cpu_quota_us / 100));
    if (f->bounds.memory != want->memory)
        amount_put(v, limits, "memory", quantity_of_bytes(v->a, f->bounds.memory));
    if (f->bounds.cpu_shares != want->cpu_shares)
        amount_put(v, requests, "cpu", quantity_of_milli(v->a, podspec_milli_of_shares(f->bounds.cpu_shares)));
}

static void add_running_facts(struct status_view *v, struct val *status, const struct pod_container *c)
{
    const struct val *resources = val_get(c->spec, N(resources));
    const struct val *requests = val_get(resources, N(requests));
    if (val_len(requests))
        val_set(v->a, status, N(allocatedResources), val_copy(v->a, requests));
    struct val now = resources ? val_copy(v->a, resources) : val_map();
    if (c->run == RUN_RUNNING && pod_is_resizable(c)) {
        struct cgroup_bounds want = pod_bounds(v->p, (int)(c - v->p->containers.p));
        force_put(v, &now, &c->force, &want);
    }
    val_set(v->a, status, N(resources), now);
    if (!c->user.known)
        return;
    struct val groups = val_list();
    for (size_t i = 0; i < c->user.ngroups; i++)
        val_add(v->a, &groups, val_int(c->user.groups[i]));
    struct val *linux_user = val_need_map(v->a, status, N(user), N(linux));
    val_set_num(v->a, linux_user, N(uid), c->user.uid);
    val_set_num(v->a, linux_user, N(gid), c->user.gid);
    val_set(v->a, linux_user, N(supplementalGroups), groups);
}

static struct val container_status(struct status_view *v, const struct pod_container *c)
{
    struct val s = val_map(), last = val_map();
    struct val state = state_of(v, c, &last);
    val_set(v->a, &s, N(name), val_str(v->a, c->name));
    val_set(v->a, &s, N(state), state);
    val_set(v->a, &s, N(lastState), last);
    bool ready = c->role == CONTAINER_INIT ? init_is_through(c) : !is_unready(c);
    val_set_bool(v->a, &s, N(ready), ready && c->role != CONTAINER_EPHEMERAL);
    val_set_num(v->a, &s, N(restartCount), c->restarts);
    val_set(v->a, &s, N(image), val_str(v->a, val_text_at(c->spec, N(image))));
    bool ran = !never_up(c);
    val_set(v->a, &s, N(imageID), val_str(v->a, ran ? c->image_id : S("")));
    struct str id = pod_container_up(c) ? c->id : c->end.reason ? c->end.id : c->has_last ? c->last.id : STR_NONE;
    if (id.n)
        val_set(v->a, &s, N(containerID), val_str(v->a, arena_fmt(v->a, RUNTIME "://" STR_FMT, STR_ARG(id))));
    if (c->role != CONTAINER_EPHEMERAL)
        val_set_bool(v->a, &s, N(started), pod_container_up(c) && c->passed_startup);
    if (ran)
        add_running_facts(v, &s, c);
    add_mounts(v, &s, c);
    return s;
}

static void add_containers(struct status_view *v, struct val *status, const struct name *name,
                           bool (*is)(enum container_role r), bool sorted)
{
    struct val list = val_list();
    array_each (c, &v->p->containers) {
        if (!is(c->role))
            continue;
        struct val s = container_status(v, c);
        val_add(v->a, &list, s);
        for (size_t i = list.n - 1; sorted && i > 0; i--) {
            if (str_cmp(val_text_at(&list.list[i - 1], N(name)), val_text_at(&list.list[i], N(name))) <= 0)
                break;
            struct val swap = list.list[i];
            list.list[i] = list.list[i - 1];
            list.list[i - 1] = swap;
        }
    }
    if (list.n)
        val_set(v->a, status, name, list);
}

static bool is_main(enum container_role r)
{
    return r == CONTAINER_MAIN;
}

static bool is_ephemeral(enum container_role r)
{
    return r == CONTAINER_EPHEMERAL;
}

/* What the pod has as a whole: what is set aside for it, and what its group has. */
static void add_resources(struct status_view *v, struct val *status)
{
    static const char *const shown[] = {"cpu", "memory"};
    struct val requests = pod_resources(v->a, &v->p->obj->tree, N(requests), POD_OVERHEAD), both = val_map();
    struct val limits = pod_resources(v->a, &v->p->obj->tree, N(limits), POD_OVERHEAD);
    struct cgroup_bounds want = pod_bounds(v->p, -1);
    if (!want.cpu_quota_us)
        val_del_str(&limits, S("cpu"));
    if (!want.memory)
        val_del_str(&limits, S("memory"));
    const struct val *const all[] = {&limits, &requests};
    const struct name *const sides[] = {N(limits), N(requests)};
    for (size_t i = 0; i < countof(all); i++) {
        struct val list = val_map();
        for (size_t k = 0; k < countof(shown); k++) {
            const struct val *q = val_get_str(all[i], str_of(shown[k]));
            if (q && quantity_cmp(val_text(q), S("0")) > 0)
                val_set_str(v->a, &list, str_of(shown[k]), val_copy(v->a, q));
        }
        if (list.n && all[i] == &requests)
            val_set(v->a, status, N(allocatedResources), val_copy(v->a, &list));
        if (list.n)
            val_set(v->a, &both, sides[i], list);
    }
    force_put(v, &both, &v->p->resize.force, &want);
    val_set(v->a, status, N(resources), both);
}

static void add_addresses(struct status_view *v, struct val *status)
{
    const struct pod *p = v->p;
    struct val ips = val_list(), ip = val_map();
    val_set(v->a, status, N(hostIP), val_str(v->a, p->host_ip));
    val_set(v->a, &ip, N(ip), val_str(v->a, p->host_ip));
    val_add(v->a, &ips, ip);
    val_set(v->a, status, N(hostIPs), ips);
    struct str pod_ip = p->host_network ? p->host_ip : any_tried(p) || val_get(v->old, N(podIP)) ? p->ip : STR_NONE;
    if (!pod_ip.n)
        pod_ip = val_text_at(v->old, N(podIP));
    if (!pod_ip.n)
        return;
    struct val pod_ips = val_list(), one = val_map();
    val_set(v->a, status, N(podIP), val_str(v->a, pod_ip));
    val_set(v->a, &one, N(ip), val_str(v->a, pod_ip));
    val_add(v->a, &pod_ips, one);
    val_set(v->a, status, N(podIPs), pod_ips);
}

struct val pod_status(const struct pod *p, struct arena *a, int64_t real)
{
    struct status_view v = {p, a, real, obj_generation(p->obj), obj_status(p->obj)};
    struct val status = val_map();
    const char *phase = pod_phase(p);
    val_set_num(a, &status, N(observedGeneration), v.generation);
    text_put(&v, &status, N(phase), phase);
    if (p->rejected) { /* refused by the node: nothing else is known */
        text_put(&v, &status, N(reason), p->fail_reason);
        val_set(a, &status, N(message), val_str(a, p->fail_message));
        put_time(&v, &status, N(startTime), p->started_real);
        val_set(a, &status, N(qosClass), val_str(a, val_text_at(v.old, N(qosClass))));
        return status;
    }
    add_conditions(&v, &status, phase);
    if (p->fail_reason && strcmp(phase, "Failed") == 0) {
        text_put(&v, &status, N(reason), p->fail_reason);
        val_set(a, &status, N(message), val_str(a, p->fail_message));
    } else if (p->told_phase) { /* in the words of who wrote it */
        if (val_get(v.old, N(reason)))
            val_set(a, &status, N(reason), val_copy(a, val_get(v.old, N(reason))));
        if (val_get(v.old, N(message)))
            val_set(a, &status, N(message), val_copy(a, val_get(v.old, N(message))));
    }
    add_addresses(&v, &status);
    put_time(&v, &status, N(startTime), p->started_real);
    add_containers(&v, &status, N(initContainerStatuses), is_init, false);
    add_containers(&v, &status, N(containerStatuses), is_main, true);
    add_containers(&v, &status, N(ephemeralContainerStatuses), is_ephemeral, false);
    val_set(a, &status, N(qosClass), val_str(a, val_text_at(v.old, N(qosClass))));
    add_resources(&v, &status);
    return status;
}
