/* A container by what its status says: rows by the reason for which it waits. */
#include "control/why_int.h"

static void say_exit(struct question *q, const struct contained *c, struct str message, struct finding *f)
{
    (void)message;
    const struct val *ended = val_at(c->status, N(lastState), N(terminated));
    if (!why_probe_killed(q, c, ended, f))
        why_exit(q, c, ended, f);
}

static void say_create(struct question *q, const struct contained *c, struct str message, struct finding *f)
{
    ptrdiff_t at = str_find(message, S("the runtime "));
    if (at >= 0 && str_has(message, S(" cannot be executed: "))) { /* as the shim says it (oci/shim_launch.c) */
        why_found(q, f, "RuntimeProgramMissing", "cannot start its " STR_FMT ": " STR_FMT, STR_ARG(c->about),
                  STR_ARG(str_sub(message, (size_t)at, message.n)));
        why_way(q, f, "Put that program back on the node, which tries again by itself");
        return;
    }
    why_found(q, f, "CreateContainerError", "cannot make its " STR_FMT ": " STR_FMT, STR_ARG(c->about),
              STR_ARG(message));
    why_way(q, f, "Mend it in " STR_FMT "containers: " STR_FMT, STR_ARG(why_spec_path(q)), STR_ARG(why_edit(q)));
}

static void say_hook(struct question *q, const struct contained *c, struct str message, struct finding *f)
{
    ptrdiff_t at = str_find(message, S("failed - error: "));
    struct str why = at >= 0 ? str_sub(message, (size_t)at + 16, message.n) : message;
    if (str_ends(why, S(": , message: \"\""))) /* it said nothing */
        why = str_sub(why, 0, why.n - 15);
    why_found(q, f, "PostStartHook", "ends its " STR_FMT " again and again, as its postStart hook fails: " STR_FMT,
              STR_ARG(c->about), STR_ARG(why));
    why_way(q, f, "Mend lifecycle.postStart: " STR_FMT, STR_ARG(why_edit(q)));
}

static void say_coming(struct question *q, const struct contained *c, struct str message, struct finding *f)
{
    (void)message;
    why_coming(q, f, "ContainerComing", "is starting its " STR_FMT, STR_ARG(c->about));
}

static const struct {
    const char *reason;
    void (*say)(struct question *q, const struct contained *c, struct str message, struct finding *f);
} waiting[] = {
    {"ErrImagePull", why_image},
    {"ImagePullBackOff", why_image},
    {"InvalidImageName", why_image},
    {"ErrImageNeverPull", why_image},
    {"CreateContainerConfigError", why_config},
    {"CreateContainerError", say_create},
    {"RunContainerError", say_exit},
    {"CrashLoopBackOff", say_exit},
    {"PostStartHookError", say_hook},
    {"ContainerCreating", say_coming},
    {"PodInitializing", say_coming},
};

static void say_waiting(struct question *q, const struct contained *c, const struct val *w, struct finding *f)
{
    struct str reason = val_text_at(w, N(reason)), message = val_text_at(w, N(message));
    why_chain(q, f, STR_FMT ": " STR_FMT "%s" STR_FMT, STR_ARG(c->about), STR_ARG(reason), message.n ? ": " : "",
              STR_ARG(message));
    for (size_t i = 0; i < countof(waiting); i++)
        if (str_eqz(reason, waiting[i].reason)) {
            waiting[i].say(q, c, message, f);
            return;
        }
    why_found(q, f, "ContainerWaits", "has its " STR_FMT " waiting: " STR_FMT "%s" STR_FMT, STR_ARG(c->about),
              STR_ARG(reason), message.n ? ": " : "", STR_ARG(message));
}

static void say_running(struct question *q, const struct contained *c, struct finding *f)
{
    bool started = val_true(val_get(c->status, N(started)));
    if (val_true(val_get(c->status, N(ready))))
        return;
    why_chain(q, f, STR_FMT ": runs since " STR_FMT "%s, restarted %lld times", STR_ARG(c->about),
              STR_ARG(val_text_at(c->status, N(state), N(running), N(startedAt))),
              started ? ", not ready" : ", not started", (long long)val_num_at(c->status, 0, N(restartCount)));
    if (!started && val_get(c->spec, N(startupProbe)))
        why_probe(q, c, N(startupProbe), f);
    const struct val *ended = val_at(c->status, N(lastState), N(terminated));
    if (f->state == WHY_FINE && ended && val_num_at(c->status, 0, N(restartCount)) > 1)
        why_probe_killed(q, c, ended, f);
    if (f->state == WHY_FINE && val_get(c->spec, N(readinessProbe)))
        why_probe(q, c, N(readinessProbe), f);
}

void why_container(struct question *q, const struct contained *c, struct finding *f)
{
    const struct val *state = val_get(c->status, N(state)), *ended = val_get(state, N(terminated));
    if (val_get(state, N(waiting))) {
        say_waiting(q, c, val_get(state, N(waiting)), f);
    } else if (ended) { /* between two runs */
        why_chain(q, f, STR_FMT ": ended with exit code %lld, " STR_FMT, STR_ARG(c->about),
                  (long long)val_num_at(ended, 0, N(exitCode)), STR_ARG(val_text_at(ended, N(reason))));
        if (!why_probe_killed(q, c, ended, f))
            why_exit(q, c, ended, f);
    } else {
        say_running(q, c, f);
    }
}
