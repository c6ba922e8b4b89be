#include "node/probe.h"
#include "base/clock.h"

#define ASK_AGAIN (500 * NS_PER_MS) /* a container that is not ready yet, at the soonest */

struct probe_spec probe_spec_of(const struct val *p)
{
    return (struct probe_spec){
        .initial_delay_ns = ns_of_seconds(val_num_at(p, 0, N(initialDelaySeconds))),
        .period_ns = ns_of_seconds(MAX(val_num_at(p, 10, N(periodSeconds)), 1)),
        .timeout_ns = ns_of_seconds(MAX(val_num_at(p, 1, N(timeoutSeconds)), 1)),
        .success_threshold = (int)MAX(val_num_at(p, 1, N(successThreshold)), 1),
        .failure_threshold = (int)MAX(val_num_at(p, 3, N(failureThreshold)), 1),
    };
}

void probe_begin(struct probe_state *s, enum probe_kind kind, const struct val *probe)
{
    *s = (struct probe_state){.spec = probe_spec_of(probe), .kind = kind, .good = kind == PROBE_LIVENESS};
}

bool probe_answer(struct probe_state *s, bool ok)
{
    s->in_a_row = s->any && s->last_ok == ok ? s->in_a_row + 1 : 1;
    s->last_ok = ok;
    s->any = true;
    bool was = s->good;
    if (ok && s->in_a_row >= s->spec.success_threshold)
        s->good = true;
    if (!ok && s->in_a_row >= s->spec.failure_threshold)
        s->good = false;
    s->since = s->since || s->good;
    return s->good != was || probe_exhausted(s);
}

int64_t probe_gap(const struct probe_state *s, int64_t waited, int64_t took)
{
    int64_t period = s->spec.period_ns;
    if (s->kind == PROBE_READINESS && !s->since && !s->last_ok)
        return MIN(MAX(waited / 4, ASK_AGAIN), period);
    return MAX(period - took, 0);
}

bool probe_exhausted(const struct probe_state *s)
{
    return s->kind != PROBE_READINESS && s->any && !s->last_ok && s->in_a_row >= s->spec.failure_threshold;
}

const struct val *probe_of(const struct val *container, enum probe_kind kind)
{
    switch (kind) {
    case PROBE_STARTUP: return val_get(container, N(startupProbe));
    case PROBE_LIVENESS: return val_get(container, N(livenessProbe));
    case PROBE_READINESS: return val_get(container, N(readinessProbe));
    case PROBE_KINDS: break;
    }
    return NULL;
}

const char *probe_name(enum probe_kind kind)
{
    static const char *const words[] = {"Startup", "Liveness", "Readiness"};
    return words[kind];
}
