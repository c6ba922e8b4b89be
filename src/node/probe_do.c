#include "base/clock.h"
#include "node/agent_int.h"
#include "node/exec_words.h"
#include "node/hooks.h"
#include "node/probe.h"
#include "node/relay_link.h"

/* One probe of one running container. A probe under way when the container ends answers into nothing: the prober
 * lives until then, without its container. */
struct prober {
    struct agent_container *ac; /* NULL: stopped */
    struct probe_state state;
    struct timer timer;
    int64_t first_at, asked_at; /* mono; first_at 0: not asked yet */
    bool asking;
    struct str command, program; /* all of an exec's words and the first, for messages, in `arena` */
    struct arena arena;
};

static struct pod_container *container_of_prober(const struct prober *p)
{
    return &p->ac->ap->pod->containers.p[p->ac->index];
}

static const struct prober *of_kind(const struct agent_container *ac, enum probe_kind k)
{
    return ac->probers[k];
}

static void prober_tell(struct prober *p)
{
    struct agent_container *ac = p->ac;
    const struct prober *startup = of_kind(ac, PROBE_STARTUP), *ready = of_kind(ac, PROBE_READINESS);
    bool started = !startup || startup->state.good;
    bool is_ready = !ready || ready->state.good;
    const char *why = !probe_exhausted(&p->state)       ? NULL
                      : p->state.kind == PROBE_LIVENESS ? "failed liveness probe"
                      : p->state.kind == PROBE_STARTUP  ? "failed startup probe"
                                                        : NULL;
    pod_saw_probe(ac->ap->facts, ac->index, started, is_ready, why);
    agent_pod_kick(ac->ap);
}

/* The first question, initialDelaySeconds after the container's start, whenever this agent came. */
static void prober_begin(struct prober *p)
{
    int64_t delay = p->state.spec.initial_delay_ns, ran = clock_real() - container_of_prober(p)->started_real;
    timer_set(&p->timer, MIN(MAX(delay - ran, 0), delay));
}

static void begin_others(struct agent_container *ac) /* liveness and readiness wait for startup */
{
    for (int k = PROBE_LIVENESS; k < PROBE_KINDS; k++)
        if (ac->probers[k])
            prober_begin(ac->probers[k]);
}

static void prober_free(struct prober *p)
{
    timer_stop(&p->timer);
    arena_fini(&p->arena);
    mem_free(p);
}

/* A pod on its way out is not asked any more whether it lives. */
static bool is_over(const struct prober *p)
{
    return p->state.kind != PROBE_READINESS && p->ac->ap->pod->state > POD_ACTIVE;
}

static void prober_answered(struct prober *p, enum probe_outcome outcome, struct str message)
{
    bool ok = outcome == PROBED_OK || outcome == PROBED_WARNING;
    p->asking = false;
    if (!p->ac) {
        prober_free(p);
        return;
    }
    probe_count(p->ac, (int)p->state.kind,
                ok                          ? PROBE_COUNTED_GOOD
                : outcome == PROBED_UNKNOWN ? PROBE_COUNTED_UNKNOWN
                                            : PROBE_COUNTED_FAILED,
                clock_mono() - p->asked_at);
    if (is_over(p))
        return;
    struct agent_container *ac = p->ac;
    if (outcome == PROBED_WARNING)
        agent_eventf(ac->ap, ac->index, true, "ProbeWarning", "%s probe warning: " STR_FMT, probe_name(p->state.kind),
                     STR_ARG(message));
    else if (!ok)
        agent_eventf(ac->ap, ac->index, true, "Unhealthy", "%s probe %s: " STR_FMT, probe_name(p->state.kind),
                     outcome == PROBED_ERRORED   ? "errored and resulted in failure state"
                     : outcome == PROBED_UNKNOWN ? "errored and resulted in unknown state"
                                                 : "failed",
                     STR_ARG(message));
    /* What went wrong with the asking says nothing of the container, and no answer is counted (kubelet's worker). */
    bool counts = outcome != PROBED_ERRORED && outcome != PROBED_UNKNOWN;
    bool news = counts && probe_answer(&p->state, ok);
    bool over = p->state.kind == PROBE_STARTUP && p->state.good;
    if (news)
        prober_tell(p);
    if (over)
        begin_others(ac);
    else if (!probe_exhausted(&p->state))
        timer_set(&p->timer, probe_gap(&p->state, clock_mono() - p->first_at, clock_mono() - p->asked_at));
}

static void on_relay(void *arg, enum probe_outcome outcome, struct str message)
{
    prober_answered(arg, outcome, message);
}

static void on_exec(void *arg, int code, struct str output, const struct err *err)
{
    struct prober *p = arg;
    if (err && err->kind == E_TIMEOUT)
        prober_answered(p, PROBED_FAILED,
                        arena_fmt(&p->arena, "command timed out: \"" STR_FMT "\" timed out after %llds",
                                  STR_ARG(p->command), (long long)(p->state.spec.timeout_ns / NS_PER_S)));
    else if (err && err->kind == E_UNAVAILABLE)
        prober_answered(p, PROBED_UNKNOWN, str_of(err->text));
    else if (err)
        prober_answered(p, PROBED_UNKNOWN, exec_words(&p->arena, str_of(err->text), p->program, SEEN_UNKNOWN));
    else
        prober_answered(p, code == 0 ? PROBED_OK : PROBED_STATUS, output);
}

static void on_timer(struct timer *t)
{
    struct prober *p = container_of(t, struct prober, timer);
    const struct val *spec = container_of_prober(p)->spec, *probe = probe_of(spec, p->state.kind);
    const struct val *exec = val_get(probe, N(exec)), *http = val_get(probe, N(httpGet)),
                     *tcp = val_get(probe, N(tcpSocket)), *grpc = val_get(probe, N(grpc));
    struct str ip = p->ac->ap->pod->ip;
    if (is_over(p))
        return;
    p->asked_at = clock_mono();
    if (!p->first_at)
        p->first_at = p->asked_at;
    arena_fini(&p->arena);
    p->asking = true;
    if (exec) {
        struct strs args = {
            .p = arena_alloc(&p->arena, (val_len(val_get(exec, N(command))) + 1) * sizeof(struct str))};
        AUTO(strbuf_fini) struct strbuf words = STRBUF(STRBUF_TEXT);
        val_each_item (a, val_get(exec, N(command))) {
            args.p[args.n++] = str_dup(&p->arena, val_text(a));
            strbuf_addf(&words, "%s" STR_FMT, words.n ? " " : "", STR_ARG(val_text(a)));
        }
        p->command = str_dup(&p->arena, strbuf_str(&words));
        p->program = args.n ? args.p[0] : S("");
        container_exec_output(p->ac->run, args, p->state.spec.timeout_ns, on_exec, p);
    } else if (http || tcp || grpc) {
        relay_probe(http  ? RELAY_PROBE_HTTP
                    : tcp ? RELAY_PROBE_TCP
                          : RELAY_PROBE_GRPC,
                    http  ? http
                    : tcp ? tcp
                          : grpc,
                    spec, ip, p->state.spec.timeout_ns, on_relay, p);
    } else { /* validation asks for one of them */
        prober_answered(p, PROBED_UNKNOWN, S("missing probe handler"));
    }
}

void probes_start(struct agent_container *ac)
{
    struct pod_container *c = &ac->ap->pod->containers.p[ac->index];
    probes_stop(ac);
    for (enum probe_kind k = 0; k < PROBE_KINDS; k++) {
        const struct val *probe = probe_of(c->spec, k);
        if (!probe)
            continue;
        struct prober *p = NEW(struct prober);
        p->ac = ac;
        probe_begin(&p->state, k, probe);
        timer_init(&p->timer, ac->ap->agent->cfg.loop, on_timer);
        if (k == PROBE_STARTUP && c->passed_startup)
            p->state.good = true; /* adopted: it has passed before */
        if (k == PROBE_READINESS && c->ready)
            p->state.good = p->state.since = true;
        ac->probers[k] = p;
        bool waits = k != PROBE_STARTUP && ac->probers[PROBE_STARTUP] && !ac->probers[PROBE_STARTUP]->state.good;
        bool needless = k == PROBE_STARTUP && p->state.good;
        if (!waits && !needless)
            prober_begin(p);
    }
}

void probes_stop(struct agent_container *ac)
{
    for (int k = 0; k < PROBE_KINDS; k++) {
        struct prober *p = ac->probers[k];
        ac->probers[k] = NULL;
        if (!p)
            continue;
        timer_stop(&p->timer);
        p->ac = NULL;
        if (!p->asking)
            prober_free(p);
    }
}
