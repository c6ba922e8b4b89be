/* counters.h - what the front door has served, by route: from the lines that its proxy writes, one a request. Pure.
 */
#pragma once
#include "base/map.h"

#define COUNTERS_MOST 10000 /* routes; what others do is counted under the name "" */

struct counters {
    struct map by_owner; /* "Ingress/NS/NAME" */
};
void counters_fini(struct counters *c);
AUTO_VALUE(counters_fini, struct counters);
/* "OWNER STATUS BYTES-OUT BYTES-IN MS[ REST]"; OWNER "-": no route took it. rest: what stands behind it. False: it is
 * no such line, and nothing is counted. */
bool counters_line(struct counters *c, struct str line, struct str *rest);
void counters_text(const struct counters *c, struct strbuf *out); /* Prometheus' exposition format */
