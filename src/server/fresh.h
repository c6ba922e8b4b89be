/* fresh.h - reads of a revision that is not there yet: they wait a little for it (another reader has heard of it from
 * a write that is on its way). The server's loop. */
#pragma once
#include "server/int.h"

int64_t revision_published(struct server *s); /* any thread */
/* True: `again` is called, once, when the revision is there or after LIMIT_REVISION_WAIT_MS; false: r has waited
 * already, or is not of the server's loop. */
MUST_USE bool fresh_wait(struct request *r, int64_t rev, void (*again)(struct request *r));
void fresh_published(struct server *s); /* there is a new revision */
