#include "node/shutdown.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/agent_int.h"
#include "node/static_pods.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>

#define TERMINATED "Pod was terminated in response to imminent node shutdown."

struct shutdown {
    struct agent *agent;
    struct shutdown_rules rules;
    struct inotify notify;
    bool notifying, on, told_done;
    size_t group;  /* that is being ended; rules.n: all have been */
    int64_t until; /* mono: the next one is begun then */
    struct timer timer;
};

bool shutdown_is_on(const struct shutdown *s)
{
    return s && s->on;
}

static struct str file_of(struct arena *a, const struct shutdown *s, const char *name)
{
    return arena_fmt(a, "%s/%s", s->agent->cfg.run, name);
}

static bool is_over(const struct pod *p)
{
    return p->state >= POD_CLEANING || p->rejected;
}

static bool is_in_group(const struct shutdown *s, const struct pod *p, size_t group)
{
    return shutdown_group_of(&s->rules, val_num_at(obj_spec(p->obj), 0, N(priority))) == group;
}

/* Ends those of the range that are not ending yet; whether any runs. */
static bool end_group(struct shutdown *s)
{
    bool any = false;
    map_each (e, &s->agent->by_uid) {
        struct agent_pod *ap = e->value;
        const struct pod *p = ap->pod;
        if (is_over(p) || !is_in_group(s, p, s->group))
            continue;
        any = true;
        int64_t own = val_num_at(obj_spec(p->obj), 30, N(terminationGracePeriodSeconds));
        int64_t priority = val_num_at(obj_spec(p->obj), 0, N(priority));
        if (!pod_is_to_end(p)) {
            pod_shut_down(ap->facts, S(TERMINATED), shutdown_grace_s(&s->rules, priority, own), clock_mono());
            agent_pod_kick(ap);
        }
    }
    return any;
}

static void tell_done(struct shutdown *s)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    s->told_done = true;
    if (!file_replace(AT_FDCWD, file_of(&a, s, SHUTDOWN_DONE_FILE).p, S(""), 0600, &err)) /* a tmpfs */
        log_warn("node.shutdown", "error=\"%s\"", err.text);
    log_info("node.shutdown", "all pods have ended");
}

void shutdown_look(struct shutdown *s)
{
    if (!shutdown_is_on(s) || !s->agent->adopted || s->told_done)
        return;
    int64_t now = clock_mono();
    for (; s->group < s->rules.n; s->group++, s->until = 0) {
        if (!s->until)
            s->until = now + s->rules.groups[s->group].period_s * NS_PER_S;
        if (end_group(s) && now < s->until) {
            timer_set(&s->timer, s->until - now);
            return;
        }
    }
    tell_done(s);
}

static void on_timer(struct timer *t)
{
    shutdown_look(container_of(t, struct shutdown, timer));
}

static void shutdown_set(struct shutdown *s, bool on)
{
    struct agent *g = s->agent;
    if (on == s->on) { /* somebody else asks, too, and waits for an answer */
        s->told_done = false;
        shutdown_look(s);
        return;
    }
    s->on = on;
    s->group = 0;
    s->until = 0;
    s->told_done = false;
    timer_stop(&s->timer);
    const struct obj *node = cache_peek(g->nodes, S(""), str_of(g->cfg.name));
    if (node) /* an agent that starts in the midst has none yet, and the one before it has told */
        events_record(g->events, node, S(""), "Normal", "NodeShutdown", NULL,
                      on ? S("Shutdown manager detected shutdown event")
                         : S("Shutdown manager detected shutdown cancellation"));
    log_info("node.shutdown", on ? "the machine shuts down: ending pods" : "it does not shut down after all");
    node_object_news(g->node);
    if (!on)
        statics_look(g->statics);
    shutdown_look(s);
}

static void look_at_file(struct shutdown *s)
{
    AUTO(arena_fini) struct arena a = ARENA;
    shutdown_set(s, s->rules.n && access(file_of(&a, s, SHUTDOWN_FILE).p, F_OK) == 0); /* a tmpfs */
}

static void say_grace(const struct shutdown *s)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct str file = file_of(&a, s, SHUTDOWN_GRACE_FILE);
    struct str seconds = arena_fmt(&a, "%lld\n", (long long)shutdown_longest_s(&s->rules));
    if (s->rules.n ? !file_replace(AT_FDCWD, file.p, seconds, 0600, &err)
                   : unlink(file.p) < 0 && errno != ENOENT && !err_errno(&err, "remove %s", file.p))
        log_warn("node.shutdown", "error=\"%s\"", err.text);
}

static void on_file(struct inotify *i, int watch, uint32_t mask, struct str name)
{
    (void)watch, (void)mask;
    if (str_eqz(name, SHUTDOWN_FILE) || !name.n)
        look_at_file(container_of(i, struct shutdown, notify));
}

struct shutdown *shutdown_new(struct agent *g, const struct shutdown_rules *rules)
{
    struct err err = ERR;
    struct shutdown *s = NEW(struct shutdown);
    s->agent = g;
    if (rules)
        s->rules = *rules;
    timer_init(&s->timer, g->cfg.loop, on_timer);
    s->notifying = inotify_start(&s->notify, g->cfg.loop, on_file, &err);
    if (!s->notifying ||
        inotify_add(&s->notify, g->cfg.run, IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM, &err) < 0)
        log_warn("node.shutdown", "it will not be noticed: error=\"%s\"", err.text);
    say_grace(s);
    look_at_file(s);
    return s;
}

void shutdown_free(struct shutdown *s)
{
    if (!s)
        return;
    if (s->notifying)
        inotify_stop(&s->notify);
    timer_stop(&s->timer);
    mem_free(s);
}
