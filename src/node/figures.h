/* figures.h - what this node and its pods use, as the texts that a kubelet gives. Measured when asked; while somebody
 * asks, earlier samples give the rates. Belongs to the agent's loop; what is slow is read in jobs. */
#pragma once
#include "base/err.h"
#include "base/str.h"

struct agent;

enum figures_kind {
    FIGURES_SUMMARY,       /* /stats/summary: kubelet's stats/v1alpha1 Summary, JSON */
    FIGURES_SUMMARY_SHORT, /* ?only_cpu_and_memory=true */
    FIGURES_RESOURCE,      /* /metrics/resource: Prometheus text, as metrics-server reads it */
    FIGURES_CADVISOR,      /* /metrics/cadvisor */
    FIGURES_PROBES,        /* /metrics/probes */
    FIGURES_KUBELET,       /* /metrics of the kubelet: what the agent counts of itself (kubelet_running_pods ...) */
    FIGURES_PODS,          /* /pods: v1 PodList, JSON: all that are bound to this node */
    FIGURES_RUNNING_PODS,  /* /runningpods: v1 PodList, JSON: those of which a container runs, names and images */
    /* For metrics.k8s.io, JSON: {"time":RFC3339,"window":SECONDS(float),"cpu":NANOCORES,"memory":BYTES(working set),
     * "pods":[{"ns":,"name":,"time":,"window":,"containers":[{"name":,"cpu":,"memory":}]}]}. Rates are always there:
     * where no earlier sample is of use, a second one is taken shortly after the first (a second). */
    FIGURES_USAGE,
    FIGURES_KINDS
};
/* done is called once, later, in the agent's loop; text is borrowed for that call. arg outlives it. */
typedef void figures_done(void *arg, struct str text, const struct err *err);
void figures_text(struct agent *g, enum figures_kind kind, figures_done *done, void *arg);
/* The same, written to own_fd (a pipe or a socket; closed at the end) as it is made, so that it is never in memory as
 * a whole: /metrics/cadvisor is some 40 KB a pod. Who reads takes it at his own pace, but for FIGURES_WAIT without a
 * byte taken. done: with an empty text, or err where it broke off. */
#define FIGURES_WAIT_MS 10000
void figures_write(struct agent *g, enum figures_kind kind, int own_fd, figures_done *done, void *arg);
