/* A container whose CPU limit holds it back: it runs, and is slow. What the node counted since its start says so. */
#include "api/usage.h"
#include "control/why_int.h"

#define HELD_BACK 25 /* percent of its time, from where on it is worth saying */

static struct str limit_of(const struct obj *pod, const struct val *container)
{
    struct str own = val_text(val_get_str(val_at(container, N(resources), N(limits)), S("cpu")));
    return own.n ? own : val_text(val_get_str(val_at(obj_spec(pod), N(resources), N(limits)), S("cpu")));
}

struct str why_throttled(struct question *q, const struct obj *pod, const struct val *container)
{
    struct str limit = limit_of(pod, container), name = val_text_at(container, N(name));
    if (!limit.n || !q->ask->throttled)
        return S("");
    int percent = q->ask->throttled(q->ask->arg, pod, name);
    if (percent < HELD_BACK)
        return S("");
    return arena_fmt(q->a, "container " STR_FMT " is held back by its CPU limit of " STR_FMT " in %d %% of its time",
                     STR_ARG(name), STR_ARG(limit), percent);
}

bool why_throttled_pod(struct question *q, const struct obj *pod, struct finding *f)
{
    val_each_item (c, val_get(obj_spec(pod), N(containers))) {
        struct str said = why_throttled(q, pod, c);
        if (!said.n)
            continue;
        f->reason = arena_fmt(q->a, "it is ready, but its " STR_FMT, STR_ARG(said));
        why_way(q, f, "Give it more, while it runs: kubectl edit pod/" STR_FMT STR_FMT " --subresource=resize",
                STR_ARG(pod->name), STR_ARG(why_ns_flag(q, pod->ns)));
        return true;
    }
    return false;
}
