/* options.h - the options of a request: out of the query (or the body of a delete), checked as upstream checks
 * ListOptions, CreateOptions, UpdateOptions, PatchOptions and DeleteOptions. */
#pragma once
#include "server/request.h"

/* Fills r->options for r->verb. False: the request is answered with 400 or 422. */
MUST_USE bool options_of_query(struct request *r, struct str query);
/* A tree of T(meta_v1_DeleteOptions) takes the place of what the query said. */
MUST_USE bool options_of_delete_body(struct request *r, const struct val *v);
