/* front_ask.h - from the path and query of HTTP to what a request asks for. */
#pragma once
#include "server/int.h"
#include "server/path.h"

/* What the path says, and what of the query authorization looks at. */
void front_ask(struct request *r, const struct http_request *h, const struct path_info *p);
/* There is something that may answer at the path, and be it with a refusal: a group that is built in, or exactly what
 * a definition defines. */
bool front_has_route(const struct request *r, const struct path_info *p);
/* The kind, and that the verb is one of it or of the subresource; false: there is none, answered. */
MUST_USE bool front_find_kind(struct request *r, const struct http_request *h, const struct path_info *p);
struct str front_query(struct request *r, const struct http_request *h, const char *name); /* the last one counts */
/* How long the answer may take, as the query's timeout asks for and the server allows; 0: it is to last (a watch, a
 * stream). False: r failed. */
MUST_USE bool front_timeout(struct request *r, const struct http_request *h, int64_t *ns);
