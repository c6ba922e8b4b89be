/* A pod that runs, and is to have other resources than it has: what the node says of that (conditions
 * PodResizePending and PodResizeInProgress). */
#include "control/why_int.h"

static struct str smaller_way(struct question *q, const struct obj *pod)
{
    return arena_fmt(q->a, "kubectl edit pod/" STR_FMT STR_FMT " --subresource=resize", STR_ARG(pod->name),
                     STR_ARG(why_ns_flag(q, pod->ns)));
}

static bool say_pending(struct question *q, const struct obj *pod, const struct val *c, struct finding *f)
{
    struct str message = val_text_at(c, N(message));
    if (str_eqz(val_text_at(c, N(reason)), "Infeasible")) {
        why_found(q, f, "ResizeInfeasible",
                  "runs with what it had: its resize can never be done on node " STR_FMT ": " STR_FMT,
                  STR_ARG(pod_node(pod)), STR_ARG(message));
        why_way(q, f, "Ask for less: " STR_FMT "; or make the pod anew, so that it goes to a larger node",
                STR_ARG(smaller_way(q, pod)));
    } else {
        why_found(q, f, "ResizeDeferred",
                  "runs with what it had: its resize waits for room on node " STR_FMT ": " STR_FMT,
                  STR_ARG(pod_node(pod)), STR_ARG(message));
        why_way(q, f, "It is done when other pods leave or shrink; or ask for less: " STR_FMT,
                STR_ARG(smaller_way(q, pod)));
    }
    return true;
}

bool why_resize(struct question *q, const struct obj *pod, struct finding *f)
{
    const struct val *pending = condition_get(obj_status(pod), "PodResizePending");
    const struct val *progress = condition_get(obj_status(pod), "PodResizeInProgress");
    struct str message = val_text_at(progress, N(message));
    if (pending)
        return say_pending(q, pod, pending, f);
    if (progress && str_eqz(val_text_at(progress, N(reason)), "Error")) {
        why_found(q, f, "ResizeError", "cannot be resized yet: " STR_FMT, STR_ARG(message));
        why_way(q, f,
                "The node tries again by itself; a memory limit goes down only as far as what is used: " STR_FMT,
                STR_ARG(smaller_way(q, pod)));
        return true;
    }
    if (progress)
        return why_coming(q, f, "ResizeInProgress", "is being resized");
    return false;
}
