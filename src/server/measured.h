/* measured.h - metrics.k8s.io: what nodes and pods use, as metrics-server answers, with nothing installed. The node
 * is asked when somebody asks, once for all who do within MEASURED_KEPT. An APIService with a Service takes the group
 * over as any other (aggregate.h). Belongs to the loop of the store. */
#pragma once
#include "server/request.h"

#define MEASURED_KEPT (2 * NS_PER_S)
#define MEASURED_ANEW (200 * NS_PER_MS) /* the same, where a pod has begun to run since */

struct measured;
bool measured_serves(const struct request *r);
/* Answers get and list of NodeMetrics and PodMetrics, now or later, then request_finish. */
void measured_answer(struct request *r);
void measured_free(struct measured *m); /* who waits is told that the server ends; NULL is fine */

/* What a node says of itself (node/figures.h, FIGURES_USAGE). */
struct measured_usage {
    struct arena arena;
    struct val tree;
    struct map pods; /* "NS/NAME" -> const struct val */
};
/* In its arena. False: it is none, or more than MEASURED_MOST bytes. */
#define MEASURED_MOST (4 << 20)
MUST_USE bool measured_read(struct measured_usage *u, struct str text, struct err *err);
void measured_usage_fini(struct measured_usage *u);
AUTO_VALUE(measured_usage_fini, struct measured_usage);
/* The object of metrics.k8s.io/v1beta1: of (a node or pod) with its labels, and what is known of it. */
struct val measured_node(struct arena *a, const struct obj *node, const struct val *usage, int64_t now);
struct val measured_pod(struct arena *a, const struct obj *pod, const struct val *usage, int64_t now);
