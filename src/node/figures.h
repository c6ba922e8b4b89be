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
    FIGURES_PODS,          /* /pods, /runningpods: v1 PodList, JSON */
    /* For metrics.k8s.io, JSON: {"time":RFC3339,"window":SECONDS(float),"cpu":NANOCORES,"memory":BYTES(working set),
     * "pods":[{"ns":,"name":,"time":,"window":,"containers":[{"name":,"cpu":,"memory":}]}]}. Rates are always there:
     * where no earlier sample is of use, a second one is taken shortly after the first. */
    FIGURES_USAGE,
};
/* done is called once, later, in the agent's loop; text is borrowed for that call. arg outlives it. */
typedef void figures_done(void *arg, struct str text, const struct err *err);
void figures_text(struct agent *g, enum figures_kind kind, figures_done *done, void *arg);
