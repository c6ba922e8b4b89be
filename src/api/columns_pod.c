/* columns_pod.c - the cells of a pod.
 *
 * The hard one is its status (view_of). It goes over phase, reason, conditions and the states of all containers in
 * upstream's order, in which later findings replace earlier ones. Three columns need it (Ready, Status, Restarts),
 * and each works it out anew: three short walks are simpler than a place to keep the result.
 */
#include "api/columns_int.h"
#include "api/strategy.h"
#include "base/clock.h"

static bool container_restarts_always(const struct val *container)
{
    return str_eq(TEXT(container, restartPolicy), S("Always"));
}

static struct str end_text(struct arena *a, const struct val *terminated, const char *prefix)
{
    if (TEXT(terminated, reason).n)
        return arena_fmt(a, "%s" STR_FMT, prefix, STR_ARG(TEXT(terminated, reason)));
    if (NUM(terminated, signal))
        return arena_fmt(a, "%sSignal:%lld", prefix, (long long)NUM(terminated, signal));
    return arena_fmt(a, "%sExitCode:%lld", prefix, (long long)NUM(terminated, exitCode));
}

struct pod_view {
    size_t total, ready;
    struct str status;
    int64_t restarts;
    struct str last_restart; /* RFC 3339 */
};

static void count_restart(struct pod_view *p, const struct val *status, int64_t *restarts, struct str *last)
{
    (void)p;
    struct str at = val_text_at(status, N(lastState), N(terminated), N(finishedAt));
    *restarts += NUM(status, restartCount);
    if (at.n && (!last->n || str_cmp(at, *last) > 0))
        *last = at;
}

static struct pod_view view_of(struct arena *a, const struct val *pod)
{
    const struct val *spec = V(pod, spec), *status = V(pod, status), *inits = V(spec, initContainers);
    const struct val *init_statuses = V(status, initContainerStatuses), *statuses = V(status, containerStatuses);
    struct str phase = TEXT(status, phase), reason = TEXT(status, reason);
    struct pod_view p = {.total = val_len(V(spec, containers)), .status = reason.n ? reason : phase};
    int64_t sidecar_restarts = 0;
    struct str sidecar_last = STR_NONE;
    bool initializing = false;
    size_t index = 0;
    val_each_item (c, inits)
        p.total += container_restarts_always(c);
    if (str_eq(TEXT(condition_val(pod, "PodScheduled"), reason), S("SchedulingGated")))
        p.status = S("SchedulingGated");
    /* The first init container that is neither done nor a sidecar that has started is the one that the pod waits for.
     */
    val_each_item (c, init_statuses) {
        const struct val *terminated = val_at(c, N(state), N(terminated)), *waiting = val_at(c, N(state), N(waiting));
        bool sidecar = container_restarts_always(val_find(inits, N(name), TEXT(c, name)));
        count_restart(&p, c, &p.restarts, &p.last_restart);
        if (sidecar)
            count_restart(&p, c, &sidecar_restarts, &sidecar_last);
        if (terminated && NUM(terminated, exitCode) == 0) {
            index++;
            continue;
        }
        if (sidecar && val_true(V(c, started))) {
            p.ready += val_true(V(c, ready));
            index++;
            continue;
        }
        initializing = true;
        if (terminated)
            p.status = end_text(a, terminated, "Init:");
        else if (TEXT(waiting, reason).n && !str_eq(TEXT(waiting, reason), S("PodInitializing")))
            p.status = arena_fmt(a, "Init:" STR_FMT, STR_ARG(TEXT(waiting, reason)));
        else
            p.status = arena_fmt(a, "Init:%zu/%zu", index, val_len(inits));
        break;
    }
    if (!initializing || condition_holds(pod, "Initialized")) {
        bool running = false;
        struct str error = STR_NONE;
        /* From the last to the first, so that of several with something to tell the first one is shown. Restarts of
         * ordinary init containers do not count any more. */
        p.restarts = sidecar_restarts;
        p.last_restart = sidecar_last;
        for (size_t i = val_len(statuses); i-- > 0;) {
            const struct val *c = val_item(statuses, i), *terminated = val_at(c, N(state), N(terminated));
            const struct val *waiting = val_at(c, N(state), N(waiting));
            count_restart(&p, c, &p.restarts, &p.last_restart);
            if (TEXT(waiting, reason).n) {
                p.status = TEXT(waiting, reason);
            } else if (terminated) {
                p.status = end_text(a, terminated, "");
                if (NUM(terminated, exitCode) != 0)
                    error = p.status;
            } else if (val_true(V(c, ready)) && val_at(c, N(state), N(running))) {
                running = true;
                p.ready++;
            }
        }
        if (str_eq(p.status, S("Completed"))) {
            if (running && condition_holds(pod, "Ready"))
                p.status = S("Running");
            else if (error.n)
                p.status = error;
            else if (running)
                p.status = S("NotReady");
        }
    }
    if (val_at(pod, N(metadata), N(deletionTimestamp))) {
        if (str_eq(reason, S("NodeLost")))
            p.status = S("Unknown");
        else if (!pod_has_ended(pod))
            p.status = S("Terminating");
    }
    return p;
}

struct val cell_pod_ready(SOURCE)
{
    struct pod_view p = view_of(s->a, s->v);
    (void)path;
    return cell_of(s, arena_fmt(s->a, "%zu/%zu", p.ready, p.total));
}
struct val cell_pod_status(SOURCE)
{
    (void)path;
    return cell_of(s, view_of(s->a, s->v).status);
}
struct val cell_pod_restarts(SOURCE)
{
    struct pod_view p = view_of(s->a, s->v);
    int64_t at;
    (void)path;
    if (p.restarts > 0 && p.last_restart.n && time_parse(p.last_restart, &at))
        return cell_of(s, arena_fmt(s->a, "%lld (" STR_FMT " ago)", (long long)p.restarts,
                                    STR_ARG(human_duration(s->a, s->now - at))));
    return cell_of(s, arena_fmt(s->a, "%lld", (long long)p.restarts));
}
struct val cell_pod_ip(SOURCE)
{
    struct str ip = TEXT(val_item(val_at(s->v, N(status), N(podIPs)), 0), ip);
    (void)path;
    return cell_of(s, ip.n ? ip : S("<none>"));
}
struct val cell_pod_gates(SOURCE)
{
    const struct val *gates = val_at(s->v, N(spec), N(readinessGates));
    size_t met = 0;
    (void)path;
    if (val_len(gates) == 0)
        return cell_of(s, S("<none>"));
    val_each_item (gate, gates)
        met += str_eq(
            TEXT(val_find(val_at(s->v, N(status), N(conditions)), N(type), TEXT(gate, conditionType)), status),
            S("True"));
    return cell_of(s, arena_fmt(s->a, "%zu/%zu", met, val_len(gates)));
}
