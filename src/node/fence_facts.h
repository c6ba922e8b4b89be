/* fence_facts.h - what fences need of API objects, and their counts as Prometheus text. Pure. */
#pragma once
#include "net/fencing.h"

#define FENCE_PORTS 256 /* named ports of one pod; what is beyond has no name for policies */
/* What texts and labels point to is the object's; `local` is the caller's to set. False: it is nobody's peer (it is
 * over, on its host's network, or has no address yet). */
bool fence_facts_pod(const struct obj *pod, struct fence_port ports[FENCE_PORTS], struct fence_pod *out);
/* A Pod with no more in it than fence_facts_pod reads, a Namespace with its labels: of a cluster's pods a tenth. */
struct obj *fence_facts_trim(const struct obj *o);
void fence_facts_counts(struct strbuf *out, const struct fence_count *list, size_t n);
