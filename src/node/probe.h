/* probe.h - when a container is probed and what the answers mean (core/v1 Probe; kubelet's prober). Pure. */
#pragma once
#include "api/tree.h"

enum probe_kind { PROBE_STARTUP, PROBE_LIVENESS, PROBE_READINESS, PROBE_KINDS };
struct probe_spec {
    int64_t initial_delay_ns, period_ns, timeout_ns;
    int success_threshold, failure_threshold;
};
struct probe_spec probe_spec_of(const struct val *probe);

struct probe_state {
    struct probe_spec spec;
    enum probe_kind kind;
    int in_a_row; /* same answers */
    bool last_ok, any;
    bool good;  /* what the probe says now: started, alive, ready */
    bool since; /* it has been good since the container started */
};
void probe_begin(struct probe_state *s, enum probe_kind kind, const struct val *probe);
/* Takes one answer; true when `good` has changed or (liveness, startup) the failures are enough to act. */
bool probe_answer(struct probe_state *s, bool ok);
bool probe_exhausted(const struct probe_state *s); /* failed often enough: startup and liveness end the container */
/* From an answer to the next question. `waited`: since the container was first asked; `took`: this question alone.
 * What is not ready yet is asked again after a quarter of the time that it has taken so far, so that it is in service
 * soon after it answers; from then on (and for what decides on life) the period counts. */
int64_t probe_gap(const struct probe_state *s, int64_t waited, int64_t took);
const struct val *probe_of(const struct val *container, enum probe_kind kind); /* NULL: not configured */
const char *probe_name(enum probe_kind kind);                                  /* "Readiness" */
