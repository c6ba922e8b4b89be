/* controllers.h - controllers and scheduler of the server's process, on a loop and a thread of their own: a plan that
 * takes long keeps no request waiting. All that they share with the server passes the process transport (process.h).
 */
#pragma once
#include "server/server.h"

struct controllers;
struct controllers_options {
    bool certificates;     /* those of cert-manager.io run here */
    int64_t hpa_period_ns; /* between two looks of a HorizontalPodAutoscaler */
};
/* Once the server is ready, in its loop; it must outlive them. NULL: no thread could be had. */
struct controllers *controllers_start(struct server *s, const struct controllers_options *o,
                                      struct err *err) MUST_USE;
/* Before server_close_store: nothing is begun any more once it returns. What is under way is left as a kill would
 * leave it, and so is the memory; one that does not come to the end of its turn within a second is let be. NULL is
 * fine. */
void controllers_stop(struct controllers *c);
