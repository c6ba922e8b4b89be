/* A pod: from its scheduling over its volumes to its containers, the first thing that it waits for. What is said
 * begins with a verb: "cannot pull ...", "does not fit on ...". */
#include "control/why_int.h"

struct str pod_head(struct question *q, const struct obj *pod)
{
    return arena_fmt(q->a, "Pod " STR_FMT, STR_ARG(pod->name));
}

static struct str phase_of(const struct obj *pod)
{
    return val_text_at(obj_status(pod), N(phase));
}

/* ---- going ---- */

static bool say_leaving(struct question *q, const struct obj *pod, struct finding *f)
{
    if (!obj_deleting(pod))
        return false;
    int64_t until = val_time(val_get(obj_meta(pod), N(deletionTimestamp)));
    const struct val *finalizers = val_get(obj_meta(pod), N(finalizers));
    if (val_len(finalizers) > 0 && pod_is_over(pod)) {
        why_found(q, f, "Finalizer", "was deleted and waits for its finalizer " STR_FMT,
                  STR_ARG(val_text(val_item(finalizers, 0))));
        why_way(q, f,
                "Whoever set it has to take it away; by hand: kubectl patch pod/" STR_FMT STR_FMT
                " --type=merge -p '{\"metadata\":{\"finalizers\":null}}'",
                STR_ARG(pod->name), STR_ARG(why_ns_flag(q, pod->ns)));
        return true;
    }
    if (until + 30 * NS_PER_S < q->v->now && !why_unmount(q, pod, f)) {
        why_found(q, f, "PodStays", "was deleted and its node " STR_FMT " has not ended it", STR_ARG(pod_node(pod)));
        why_way(q, f, "See whether the node runs: kubectl get node " STR_FMT, STR_ARG(pod_node(pod)));
        return true;
    }
    return f->state != WHY_FINE || why_unmount(q, pod, f) || why_preempted(q, pod, f) ||
           why_coming(q, f, "PodLeaving", "is being stopped");
}

/* ---- over ---- */

static const struct saying failures[] = {
    {"NodeShutdown", "NodeShutdown", "was refused by node {node}, which was shutting down",
     "Its maker makes another one; of one that nobody made: kubectl replace --force -f FILE, once that node is back"},
    {"Terminated", "NodeShutdown", "was ended by node {node}, which was shutting down",
     "Its maker makes another one; of one that nobody made: kubectl replace --force -f FILE, once that node is back"},
    {"UnsupportedField", "UnsupportedField", "is refused by node {node}: {message}", "Change that field: {edit}"},
    {"SysctlForbidden", "SysctlForbidden", "is refused by node {node}: {message}",
     "Leave it out of {spec}securityContext.sysctls: {edit}, or allow it there: wherry up --set "
     "allowed-unsafe-sysctls={quoted}"},
    {"AppArmor", "AppArmor", "is refused by node {node}: {message}",
     "Enable AppArmor there, or take appArmorProfile out of {spec}securityContext and its containers: {edit}"},
    {"DeadlineExceeded", "DeadlineExceeded", "was ended after {seconds} s, as {spec}activeDeadlineSeconds says",
     "Give it more time, or make it faster: {edit}"},
    {"", "PodFailed", "has failed: {why}{message}", "Mend that and make it anew: {edit}"},
};

static void say_failed_container(struct question *q, const struct obj *pod, struct finding *f)
{
    const struct name *const lists[] = {N(initContainerStatuses), N(containerStatuses)};
    for (size_t i = 0; i < countof(lists) && f->state == WHY_FINE; i++)
        val_each_item (s, val_get(obj_status(pod), lists[i])) {
            const struct val *ended = val_at(s, N(state), N(terminated));
            struct str name = val_text_at(s, N(name));
            if (!ended || val_num_at(ended, 0, N(exitCode)) == 0)
                continue;
            struct contained c = {.pod = pod, .status = s, .name = name};
            c.spec = val_find(val_get(obj_spec(pod), i == 0 ? N(initContainers) : N(containers)), N(name), name);
            c.about = arena_fmt(q->a, "%s " STR_FMT, i == 0 ? "init container" : "container", STR_ARG(name));
            why_exit(q, &c, ended, f);
            return;
        }
}

/* What stands in the first quotes of a sentence. */
static struct str first_quoted(struct str text)
{
    ptrdiff_t from = str_find_char(text, '"');
    struct str rest = from < 0 ? S("") : str_sub(text, (size_t)from + 1, text.n);
    ptrdiff_t end = str_find_char(rest, '"');
    return end < 0 ? S("") : str_sub(rest, 0, (size_t)end);
}

static bool say_over(struct question *q, const struct obj *pod, struct finding *f)
{
    if (str_eqz(phase_of(pod), "Succeeded"))
        return f->reason = S("it has run to its end"), true;
    if (!str_eqz(phase_of(pod), "Failed"))
        return false;
    struct str reason = val_text_at(obj_status(pod), N(reason)), message = val_text_at(obj_status(pod), N(message));
    if (why_evicted(q, pod, f))
        return true;
    if (reason.n == 0)
        say_failed_container(q, pod, f);
    const struct word words[] = {
        {"node", pod_node(pod)},
        {"message", message},
        {"quoted", first_quoted(message)},
        {"why", reason.n > 0 && message.n > 0 ? arena_fmt(q->a, STR_FMT ": ", STR_ARG(reason)) : reason},
        {"seconds", arena_fmt(q->a, "%lld", (long long)val_num_at(obj_spec(pod), 0, N(activeDeadlineSeconds)))}};
    why_saying(q, f, failures, reason, words, countof(words));
    return true;
}

/* ---- not begun ---- */

static bool say_unscheduled(struct question *q, const struct obj *pod, struct finding *f)
{
    if (pod_node(pod).n > 0)
        return false;
    struct str scheduler = val_text_at(obj_spec(pod), N(schedulerName));
    const struct val *gate = val_item(val_get(obj_spec(pod), N(schedulingGates)), 0);
    if (gate) {
        why_found(q, f, "SchedulingGated", "is not scheduled before its scheduling gate " STR_FMT " is lifted",
                  STR_ARG(val_text_at(gate, N(name))));
        why_way(q, f,
                "Whoever set it lifts it; by hand: kubectl patch pod/" STR_FMT STR_FMT
                " --type=json -p '[{\"op\":\"remove\",\"path\":\"/spec/schedulingGates\"}]'",
                STR_ARG(pod->name), STR_ARG(why_ns_flag(q, pod->ns)));
    } else if (scheduler.n > 0 && !str_eqz(scheduler, "default-scheduler")) {
        why_found(q, f, "OtherScheduler", "asks for the scheduler " STR_FMT ", and Wherry's is default-scheduler",
                  STR_ARG(scheduler));
        why_way(q, f, "Run that scheduler, or leave " STR_FMT "schedulerName out: " STR_FMT,
                STR_ARG(why_spec_path(q)), STR_ARG(why_edit(q)));
    } else {
        why_unscheduled(q, pod, f);
    }
    return true;
}

static bool say_node(struct question *q, const struct obj *pod, struct finding *f)
{
    const struct objset *nodes = q->v->sets[K(Node)->id];
    const struct obj *node = nodes ? objset_get(nodes, S(""), pod_node(pod)) : NULL;
    if (!nodes)
        return false;
    if (!node)
        why_found(q, f, "NodeMissing", "is meant for node " STR_FMT ", which is not there", STR_ARG(pod_node(pod)));
    else if (!condition_is(obj_status(node), "Ready", "True"))
        why_found(q, f, "NodeNotReady", "is on node " STR_FMT ", which is not ready: " STR_FMT, STR_ARG(node->name),
                  STR_ARG(val_text_at(condition_get(obj_status(node), "Ready"), N(message))));
    if (!node)
        why_way(q, f, "Let that node come back, or delete the pod: kubectl delete pod/" STR_FMT STR_FMT,
                STR_ARG(pod->name), STR_ARG(why_ns_flag(q, pod->ns)));
    if (f->state == WHY_BLOCKED)
        why_way(q, f, "See what the node says: wherry why node/" STR_FMT, STR_ARG(pod_node(pod)));
    return f->state == WHY_BLOCKED;
}

static bool any_tried(const struct obj *pod)
{
    const struct name *const lists[] = {N(initContainerStatuses), N(containerStatuses)};
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (s, val_get(obj_status(pod), lists[i])) {
            struct str reason = val_text_at(s, N(state), N(waiting), N(reason));
            if (val_at(s, N(state), N(running)) || val_at(s, N(state), N(terminated)) ||
                val_at(s, N(lastState), N(terminated)) ||
                (reason.n > 0 && !str_eqz(reason, "ContainerCreating") && !str_eqz(reason, "PodInitializing")))
                return true;
        }
    return false;
}

/* The node tells what stands before the first container by events alone, as a kubelet does. */
static bool say_preparing(struct question *q, const struct obj *pod, struct finding *f)
{
    if (any_tried(pod))
        return false;
    const struct obj *failed = why_event(q, pod, "FailedMount", S(""), S("")),
                     *device = why_event(q, pod, "FailedMapVolume", S(""), S(""));
    if (device && (!failed || why_event_time(failed) < why_event_time(device)))
        failed = device;
    struct str mount = why_event_text(failed);
    struct str sandbox = why_event_text(why_event(q, pod, "FailedCreatePodSandBox", S(""), S("")));
    if (why_attach(q, pod, f) || (mount.n > 0 && (why_driver(q, pod, mount, f) || why_mount(q, pod, mount, f))))
        return true;
    if (sandbox.n == 0)
        return false;
    struct str head = S("Failed to create pod sandbox: ");
    sandbox = str_sub(sandbox, str_starts(sandbox, head) ? head.n : 0, sandbox.n);
    why_sandbox(q, pod, sandbox, f);
    return true;
}

/* ---- containers ---- */

static bool say_container(struct question *q, const struct obj *pod, const struct val *spec, bool init,
                          struct finding *f)
{
    struct contained c = {.pod = pod, .spec = spec, .name = val_text_at(spec, N(name))};
    const struct name *list = init ? N(initContainerStatuses) : N(containerStatuses);
    c.status = val_find(val_get(obj_status(pod), list), N(name), c.name);
    c.about = arena_fmt(q->a, "%s " STR_FMT, init ? "init container" : "container", STR_ARG(c.name));
    if (!c.status)
        return false;
    bool sidecar = init && str_eqz(val_text_at(spec, N(restartPolicy)), "Always");
    const struct val *ended = val_at(c.status, N(state), N(terminated));
    if (init && !sidecar && ended && val_num_at(ended, 0, N(exitCode)) == 0)
        return false;
    why_container(q, &c, f);
    if (init && !sidecar && val_at(c.status, N(state), N(running)) && f->state == WHY_FINE) {
        why_coming(q, f, "InitRuns", "waits for its " STR_FMT ", which runs since " STR_FMT, STR_ARG(c.about),
                   STR_ARG(val_text_at(c.status, N(state), N(running), N(startedAt))));
        why_way(q, f, "See what it does: kubectl logs pod/" STR_FMT STR_FMT " -c " STR_FMT, STR_ARG(pod->name),
                STR_ARG(why_ns_flag(q, pod->ns)), STR_ARG(c.name));
    }
    struct str held = f->state != WHY_FINE ? why_throttled(q, pod, spec) : S("");
    if (held.n) /* a probe that is late, a start that takes long */
        why_chain(q, f, STR_FMT, STR_ARG(held));
    return f->state != WHY_FINE;
}

static void say_containers(struct question *q, const struct obj *pod, struct finding *f)
{
    val_each_item (c, val_get(obj_spec(pod), N(initContainers)))
        if (say_container(q, pod, c, true, f))
            return;
    struct finding worst = {0};
    val_each_item (c, val_get(obj_spec(pod), N(containers))) {
        struct finding one = {0};
        say_container(q, pod, c, false, &one);
        if (why_worse(&one, &worst)) {
            array_fini(&worst.chain);
            worst = one;
        } else {
            array_fini(&one.chain);
        }
    }
    why_behind(q, f, S(""), &worst);
    array_fini(&worst.chain);
}

static void say_gates(struct question *q, const struct obj *pod, struct finding *f)
{
    const struct val *ready = condition_get(obj_status(pod), "Ready");
    val_each_item (g, val_get(obj_spec(pod), N(readinessGates))) {
        struct str type = val_text_at(g, N(conditionType));
        const struct val *c = val_find(val_get(obj_status(pod), N(conditions)), N(type), type);
        if (c && str_eqz(val_text_at(c, N(status)), "True"))
            continue;
        why_found(q, f, "ReadinessGate", "runs, but nobody has set its readiness gate " STR_FMT " to True",
                  STR_ARG(type));
        why_way(q, f,
                "Whoever is to set that condition on the pod has not, or take the gate out of " STR_FMT
                "readinessGates: " STR_FMT,
                STR_ARG(why_spec_path(q)), STR_ARG(why_edit(q)));
        return;
    }
    why_coming(q, f, "PodComing", "is not ready yet: " STR_FMT, STR_ARG(val_text_at(ready, N(message))));
}

static void pod_chain(struct question *q, const struct obj *pod, struct finding *f)
{
    struct str reason = val_text_at(obj_status(pod), N(reason));
    why_chain(q, f, "Pod " STR_FMT ": " STR_FMT "%s" STR_FMT ", %s" STR_FMT, STR_ARG(pod->name),
              STR_ARG(phase_of(pod)), reason.n ? ", " : "", STR_ARG(reason),
              pod_node(pod).n ? "on node " : "on no node", STR_ARG(pod_node(pod)));
}

void why_pod(struct question *q, const struct obj *pod, struct finding *f)
{
    bool ready = pod_is_ready(pod) && !obj_deleting(pod);
    if (ready && why_resize(q, pod, f)) {
        pod_chain(q, pod, f);
        return;
    }
    if (ready) {
        if (!why_throttled_pod(q, pod, f))
            f->reason = S("it is ready");
        why_isolated(q, pod, f);
        return;
    }
    pod_chain(q, pod, f);
    why_isolated(q, pod, f);
    if (say_leaving(q, pod, f) || say_over(q, pod, f) || say_unscheduled(q, pod, f) || say_node(q, pod, f) ||
        say_preparing(q, pod, f))
        return;
    say_containers(q, pod, f);
    if (f->state == WHY_FINE)
        say_gates(q, pod, f);
}
